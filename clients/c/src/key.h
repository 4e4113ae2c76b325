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

/* Copies a result that ka_key_check_reply found good. */
KA_MUSTUSE ka_status ka_key_new(struct ka_client *client, const struct ka_key_result *result,
                                struct ka_key **out, ka_error *err);
/* Whether a reply, which is well-formed and no error, can be true of this key. KA_OK; KA_ERR_MALFORMED. `key`
 * is NULL where the key itself was asked for. */
KA_MUSTUSE ka_status ka_key_check_reply(const struct ka_key *key, const struct ka_params *params,
                                        const struct ka_reply *reply, ka_error *err);

#endif
