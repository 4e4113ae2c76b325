/*
 * One connection to the agent, used for one request at a time. It belongs to who opened it: the agent judges
 * a connection by the credentials of that moment (SO_PEERCRED).
 */
#ifndef KEYAGENT_CONNECTION_H
#define KEYAGENT_CONNECTION_H

#include <stdbool.h>
#include <sys/types.h>

#include "frame.h"
#include "reply.h"

struct ka_connection {
    int fd;       /* -1: not open */
    bool greeted; /* the agent has answered hello */
    uint32_t last_id;
    dev_t device; /* which socket fd was, to notice that the program closed it and got the number again */
    ino_t inode;
    uid_t euid; /* who opened it */
    gid_t egid;
};

/* Room for hello and the longest request: a URI, a message, and names and numbers around them. */
#define KA_OUTBOX_SIZE (512 + KA_WIRE_LIMIT_URI + KA_WIRE_LIMIT_MESSAGE)

/* What one call sends and receives. It is on the caller's stack: nothing is allocated for a request. */
struct ka_exchange {
    struct ka_inbox inbox;
    uint8_t outbox[KA_OUTBOX_SIZE];
};

/* Connects; says nothing yet. On error nothing is open. */
KA_MUSTUSE ka_status ka_connection_open(struct ka_connection *connection, const char *path,
                                        const struct ka_deadline *deadline, ka_error *err);
/* Whether it is still the socket that was opened, and opened by whom this process is now. */
bool ka_connection_usable(const struct ka_connection *connection);
/* Says no goodbye: a forked child holds copies of its parent's connections. May be closed already. */
void ka_connection_close(struct ka_connection *connection);

/* Both close a connection that cannot be used again: after an error, or if something followed the reply. */

/* Sends a request, behind hello in the same write if that was not said yet. KA_LOST: the agent cannot have
 * all of it. */
KA_MUSTUSE ka_status ka_connection_send(struct ka_connection *connection, const struct ka_request *request,
                                        bool repeat, struct ka_exchange *exchange,
                                        const struct ka_deadline *deadline, ka_error *err);
/* Receives the reply, which may be an error; its spans point into the exchange. KA_LOST: no answer. */
KA_MUSTUSE ka_status ka_connection_receive(struct ka_connection *connection, enum ka_method method,
                                           struct ka_exchange *exchange, struct ka_reply *reply,
                                           const struct ka_deadline *deadline, ka_error *err);

#endif
