/* The common end of every way to sign. What is asked for comes from one of the first two, is then sent by
 * ka_sign_run, or by ka_request_new. */
#ifndef KEYAGENT_SIGN_H
#define KEYAGENT_SIGN_H

#include "hash.h"
#include "key.h"

/* Checks what is to be signed and how; asks the agent nothing. `out` borrows what it is given. */
KA_MUSTUSE ka_status ka_sign_digest_params(const struct ka_key *key, const ka_sign_params *params,
                                           struct ka_span digest, struct ka_params *out, ka_error *err);
/* As above; a message that is too long to send is hashed, into `digest`. */
KA_MUSTUSE ka_status ka_sign_message_params(const struct ka_key *key, const ka_sign_params *params,
                                            struct ka_span message, uint8_t digest[KA_DIGEST_MAX],
                                            struct ka_params *out, ka_error *err);

/* Checks that a signature fits *sig_len bytes; KA_ERR_BUFFER and the size needed in *sig_len if not. */
KA_MUSTUSE ka_status ka_signature_room(const struct ka_key *key, const ka_sign_params *params,
                                       const uint8_t *sig, size_t *sig_len, ka_error *err);
/* Asks the agent, after ka_signature_room. */
KA_MUSTUSE ka_status ka_sign_run(const struct ka_key *key, const struct ka_params *params, uint8_t *sig,
                                 size_t *sig_len, ka_error *err);

#endif
