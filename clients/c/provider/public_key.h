/*
 * The numbers inside a SubjectPublicKeyInfo (RFC 5280 4.1, RFC 8017 A.1.1, RFC 5480, RFC 8410).
 */
#ifndef KEYAGENT_PROVIDER_PUBLIC_KEY_H
#define KEYAGENT_PROVIDER_PUBLIC_KEY_H

#include <stdbool.h>
#include "keyagent.h"

/* RSA-8192; the agent stops earlier. */
#define KP_MODULUS_MAX 1024

/* Bytes in somebody else's buffer. */
typedef struct kp_slice {
    const uint8_t *data;
    size_t len;
} kp_slice;

bool kp_slice_equal(kp_slice a, kp_slice b);

typedef struct kp_public_key {
    kp_slice modulus, exponent; /* RSA: big-endian, no leading zero, at most KP_MODULUS_MAX bytes each */
    kp_slice point;             /* EC: uncompressed, 0x04 first; Ed25519: the 32 bytes */
} kp_public_key;

/** Reads spki, which must outlive `out`. False: not such a key. */
bool kp_public_key_read(ka_algorithm algorithm, kp_slice spki, kp_public_key *out);

#endif
