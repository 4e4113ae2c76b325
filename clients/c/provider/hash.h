/*
 * The names that libcrypto and its callers use for hash functions.
 */
#ifndef KEYAGENT_PROVIDER_HASH_H
#define KEYAGENT_PROVIDER_HASH_H

#include <stdbool.h>
#include "keyagent.h"
#include <openssl/core.h>

/** "SHA256", "sha2-256", an OID, ... False: not a hash of ours; *out is untouched. */
bool kp_hash_by_name(const char *name, ka_hash *out);
/** The hash that a text parameter names. */
bool kp_hash_from_param(const OSSL_PARAM *param, ka_hash *out);
/** The hash with this output length in bytes; KA_HASH_NONE if there is none. */
ka_hash kp_hash_by_size(size_t size);
/** libcrypto's first name; "" for KA_HASH_NONE. */
const char *kp_hash_name(ka_hash hash);
/** Length of the output in bytes. */
size_t kp_hash_size(ka_hash hash);

#endif
