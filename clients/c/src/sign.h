/* The common end of every way to sign: a payload, and where its signature goes. */
#ifndef KEYAGENT_SIGN_H
#define KEYAGENT_SIGN_H

#include "key.h"

/* Checks that a signature fits *sig_len bytes; KA_ERR_BUFFER and the size needed in *sig_len if not. */
KA_MUSTUSE ka_status ka_signature_room(const struct ka_key *key, const ka_sign_params *params,
                                       const uint8_t *sig, size_t *sig_len, ka_error *err);
/* Asks the agent, after ka_signature_room. `kind`: KA_PAYLOAD_MESSAGE (KA_MESSAGE_MAX) or KA_PAYLOAD_DIGEST.
 */
KA_MUSTUSE ka_status ka_key_sign_payload(struct ka_key *key, const ka_sign_params *params,
                                         enum ka_payload kind, struct ka_span payload, uint8_t *sig,
                                         size_t *sig_len, ka_error *err);

#endif
