/*
 * One connection to the agent, used for one request at a time. It belongs to who opened it: the agent judges
 * a connection by the credentials of that moment (SO_PEERCRED). Nothing here waits: KA_PENDING says that the
 * same call has to be made again, once the descriptor is ready.
 */
#ifndef KEYAGENT_CONNECTION_H
#define KEYAGENT_CONNECTION_H

#include "frame.h"
#include "identity.h"
#include "params.h"
#include "reply.h"

struct ka_connection {
    int fd;         /* -1: not open */
    bool connected; /* the agent's queue has it */
    bool greeted;   /* the agent has answered hello */
    uint32_t last_id;
    dev_t device; /* which socket fd was, to notice that the program closed it and got the number again */
    ino_t inode;
    struct ka_identity opener;
};

/* Room for hello and the longest request: a URI, a message, and names and numbers around them. */
#define KA_OUTBOX_SIZE (512 + KA_WIRE_LIMIT_URI + KA_WIRE_LIMIT_MESSAGE)

/* What one attempt sends and receives. */
struct ka_exchange {
    size_t len, sent; /* bytes in the outbox */
    bool cut;         /* the agent takes no more of it; what it said before it hung up is still to be read */
    struct ka_inbox inbox;
    uint8_t outbox[KA_OUTBOX_SIZE];
};

/* Connects; says nothing yet. KA_PENDING: the agent's queue is full, which nothing announces: try again in a
 * moment. On error nothing is open. */
KA_MUSTUSE ka_status ka_connection_open(struct ka_connection *connection, const char *path, ka_error *err);
/* Whether it is still the socket that was opened. */
bool ka_connection_intact(const struct ka_connection *connection);
/* Whether it is intact and was opened by whom this process is now. */
bool ka_connection_usable(const struct ka_connection *connection);
/* Says no goodbye: a forked child holds copies of its parent's connections. May be closed already. */
void ka_connection_close(struct ka_connection *connection);

/* Puts a request into the outbox, behind hello if that was not said yet. */
KA_MUSTUSE ka_status ka_connection_write(struct ka_connection *connection, const struct ka_params *params,
                                         uint32_t deadline_ms, bool repeat, struct ka_exchange *exchange,
                                         ka_error *err);
/* Sends the outbox. KA_OK: all of it, or as much as the agent took before it hung up (`cut`). */
KA_MUSTUSE ka_status ka_connection_send(struct ka_connection *connection, struct ka_exchange *exchange);
/* Receives the reply, which may be an error; its spans point into the exchange. KA_LOST: no answer. Closes a
 * connection that cannot be used again: after an error, or if something followed the reply. */
KA_MUSTUSE ka_status ka_connection_receive(struct ka_connection *connection, enum ka_method method,
                                           struct ka_exchange *exchange, struct ka_reply *reply,
                                           ka_error *err);

#endif
