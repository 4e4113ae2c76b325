/*
 * OSSL_PARAM without libcrypto. A request is an array that ends at a NULL key; a getter receives entries to
 * fill (data may be NULL: only the size is asked), a setter receives entries to read. See OSSL_PARAM(3).
 */
#ifndef KEYAGENT_PROVIDER_PARAM_H
#define KEYAGENT_PROVIDER_PARAM_H

#include <stdbool.h>
#include <stdint.h>
#include <openssl/core.h>
#include "public_key.h"

/** The entry with this key, or NULL; params may be NULL. */
const OSSL_PARAM *kp_param_find(const OSSL_PARAM *params, const char *key);

/** Reads an integer of 1 to 8 bytes, signed or not. False: another type, or out of range. */
bool kp_param_read_int(const OSSL_PARAM *param, int64_t *out);
/** Reads text into out, NUL-terminated. False: another type, or longer than out holds. */
bool kp_param_read_text(const OSSL_PARAM *param, char *out, size_t capacity);

/* Fill the entry with this key if there is one. False: it cannot hold the value; no entry is no error. */
bool kp_param_reply_uint(OSSL_PARAM *params, const char *key, uint64_t value);
bool kp_param_reply_text(OSSL_PARAM *params, const char *key, const char *value);
bool kp_param_reply_octets(OSSL_PARAM *params, const char *key, kp_slice value);
/** A big number: `value` is big-endian, the entry is native. */
bool kp_param_reply_number(OSSL_PARAM *params, const char *key, kp_slice value);

/** Copies a big-endian number into `len` native-endian bytes; value.len <= len. */
void kp_number_to_native(kp_slice value, uint8_t *out, size_t len);

#endif
