/* What goes with what: keys, schemes, hashes, their names on the wire and their sizes in bytes. No I/O. */
#ifndef KEYAGENT_ALGORITHM_H
#define KEYAGENT_ALGORITHM_H

#include <stdbool.h>

#include "keyagent.h"

/* Whether a key of this algorithm can have this size. */
bool ka_algorithm_fits_bits(ka_algorithm algorithm, unsigned bits);
/* Longest signature. `format` counts for EC only. */
size_t ka_signature_max(ka_algorithm algorithm, unsigned bits, ka_format format);
/* Whether a signature of len bytes can be one: every one but ECDSA in DER has its one length. */
bool ka_signature_fits(ka_algorithm algorithm, unsigned bits, ka_format format, size_t len);
/* 0 for KA_HASH_NONE and for what is not a hash. */
size_t ka_hash_size(ka_hash hash);

/* The wire's name for params. KA_OK; KA_ERR_MECHANISM (not for this kind of key); KA_ERR_INVALID. */
KA_MUSTUSE ka_status ka_sign_algorithm(ka_algorithm algorithm, const ka_sign_params *params,
                                       const char **name, ka_error *err);
/* NULL for a hash that OAEP has no name with. */
const char *ka_oaep_algorithm(ka_hash hash);

#endif
