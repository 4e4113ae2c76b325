/* What the examples share: how a key signs, and whether a signature is good. libcrypto is only here to check;
 * the library does without. */
#ifndef EXAMPLE_VERIFY_H
#define EXAMPLE_VERIFY_H

#include <stdbool.h>

#include "keyagent.h"

/* The longest signature that there is: RSA-4096. */
#define SIGNATURE_MAX 512

/* RSA-PSS, ECDSA or Ed25519, as the key is. */
ka_sign_params params_for(const ka_key *key);
/* Whether it is the key's signature of the message. May be called from any thread. */
bool is_good(const ka_key *key, const void *message, size_t message_len, const uint8_t *signature,
             size_t signature_len);
/* Prints "WHAT: NAME: text" and ends the program. */
_Noreturn void fail(const char *what, const ka_error *err);

#endif
