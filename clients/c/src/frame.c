/* Frames, see frame.h. */
#include "frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "error.h"

static bool would_block(int number) {
    return number == EAGAIN || number == EWOULDBLOCK;
}

ka_status ka_frame_send(int fd, struct ka_span bytes, size_t *sent) {
    while (*sent < bytes.len) {
        ssize_t step = send(fd, bytes.data + *sent, bytes.len - *sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (step >= 0)
            *sent += (size_t)step;
        else if (would_block(errno))
            return KA_PENDING;
        else if (errno != EINTR)
            return KA_LOST;
    }
    return KA_OK;
}

/* Reads what there is, at least one byte. */
static ka_status fill(int fd, struct ka_inbox *inbox) {
    if (inbox->start > 0) {
        memmove(inbox->buf, inbox->buf + inbox->start, inbox->end - inbox->start);
        inbox->end -= inbox->start;
        inbox->start = 0;
    }
    for (;;) {
        ssize_t got = recv(fd, inbox->buf + inbox->end, sizeof inbox->buf - inbox->end, MSG_DONTWAIT);
        if (got > 0) {
            inbox->end += (size_t)got;
            return KA_OK;
        }
        if (got < 0 && would_block(errno)) return KA_PENDING;
        if (got == 0 || errno != EINTR) return KA_LOST;
    }
}

ka_status ka_frame_receive(int fd, struct ka_inbox *inbox, struct ka_span *body, ka_error *err) {
    for (;;) {
        size_t have = inbox->end - inbox->start;
        const uint8_t *at = inbox->buf + inbox->start;
        if (have >= KA_FRAME_HEADER) {
            uint32_t len = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
            if (len == 0 || len > KA_WIRE_LIMIT_FRAME)
                return ka_error_set(err, KA_ERR_MALFORMED, "the agent sent a frame of %lu bytes",
                                    (unsigned long)len);
            if (have - KA_FRAME_HEADER >= len) {
                *body = (struct ka_span){at + KA_FRAME_HEADER, len};
                inbox->start += KA_FRAME_HEADER + len;
                return KA_OK;
            }
        }
        ka_status status = fill(fd, inbox);
        if (status != KA_OK) return status;
    }
}
