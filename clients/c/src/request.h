/* How the functions that start a ka_request make one. */
#ifndef KEYAGENT_REQUEST_H
#define KEYAGENT_REQUEST_H

#include "call.h"
#include "key.h"

/* Copies what params point to. `key`: as for ka_call_begin. */
KA_MUSTUSE ka_status ka_request_new(struct ka_client *client, struct ka_key *key,
                                    const struct ka_params *params, struct ka_request **out, ka_error *err);

#endif
