/* Whole frames over a connected socket. Never waits, never raises SIGPIPE. */
#ifndef KEYAGENT_FRAME_H
#define KEYAGENT_FRAME_H

#include "protocol_gen.h"
#include "reader.h"

#define KA_FRAME_HEADER 4

/* The peer is gone. Positive, because it is never returned to a caller of this library. err is not set. */
#define KA_LOST 2

/* Bytes received. There is room for the longest frame, so nothing is ever allocated for a length. */
struct ka_inbox {
    size_t start, end; /* what is in there: buf[start] to buf[end - 1] */
    uint8_t buf[KA_FRAME_HEADER + KA_WIRE_LIMIT_FRAME];
};

/* Sends what the socket takes of bytes from *sent on. KA_OK: all; KA_PENDING: wait for POLLOUT; KA_LOST. */
KA_MUSTUSE ka_status ka_frame_send(int fd, struct ka_span bytes, size_t *sent);
/* The next frame's body; it points into the inbox and lives until the next call.
 * KA_OK; KA_PENDING: wait for POLLIN; KA_LOST; KA_ERR_MALFORMED (a length of 0 or over the limit). */
KA_MUSTUSE ka_status ka_frame_receive(int fd, struct ka_inbox *inbox, struct ka_span *body, ka_error *err);

#endif
