/* What stands behind a ka_client: where the agent is, how long a call may take, the connections; and one
 * call. */
#ifndef KEYAGENT_CLIENT_H
#define KEYAGENT_CLIENT_H

#include <sys/un.h>

#include "pool.h"

#define KA_PATH_SIZE sizeof(((struct sockaddr_un *)0)->sun_path) /* NUL included */

struct ka_client {
    _Atomic unsigned owners; /* the caller, and each of its keys */
    _Atomic uint32_t timeout_ms;
    char path[KA_PATH_SIZE];
    char fallback[KA_PATH_SIZE]; /* used where nothing is at path; may be "" */
    struct ka_pool pool;
};

struct ka_client *ka_client_ref(struct ka_client *client);

/* Asks the agent once, and once more if the connection is lost before it answers; all inside one deadline.
 * KA_OK: `reply` is the result, whose spans point into the exchange. Otherwise the agent's error or one of
 * this side. */
KA_MUSTUSE ka_status ka_client_call(struct ka_client *client, const struct ka_request *request,
                                    struct ka_exchange *exchange, struct ka_reply *reply, ka_error *err);

#endif
