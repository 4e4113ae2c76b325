/* What stands behind a ka_key: the agent's `key` reply, checked, and the client that it came through. */
#ifndef KEYAGENT_KEY_H
#define KEYAGENT_KEY_H

#include "client.h"

struct ka_key {
    _Atomic unsigned owners;
    struct ka_client *client;
    struct ka_key_result public_data;         /* its spans point into storage */
    char uri[KA_WIRE_MAX_KEY_RESULT_URI + 1]; /* NUL-terminated */
    uint8_t storage[];
};

#endif
