/* What stands behind a ka_client: the agent's path, a timeout, the connections. Asking: call.h. */
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

#endif
