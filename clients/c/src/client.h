/* What stands behind a ka_client: the agent's path, a timeout, the connections; and how it is asked. */
#ifndef KEYAGENT_CLIENT_H
#define KEYAGENT_CLIENT_H

#include "pool.h"
#include "trust.h"

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
