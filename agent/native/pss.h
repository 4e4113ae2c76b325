/* EMSA-PSS (RFC 8017 9.1) with MGF1 over the message's hash: encoding for tokens that lack it, and the check
 * of every PSS signature before it leaves. All of it is public data; nothing here needs constant time. */
#ifndef KA_PSS_H
#define KA_PSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"

/* RSA-8192, in bytes */
enum { KA_PSS_EM_MAX = 1024 };

/** @return whether a digest of this hash and salt_len bytes of salt fit into a modulus of modulus_bits */
bool ka_pss_fits(size_t modulus_bits, const struct ka_hash *hash, size_t salt_len);

/** Encodes. ka_pss_fits() must hold.
 *  @param digest  hash->len bytes
 *  @param em      receives (modulus_bits + 7) / 8 bytes, ready for the raw private key operation */
void ka_pss_encode(const struct ka_hash *hash, const uint8_t *digest, const uint8_t *salt, size_t salt_len,
                   size_t modulus_bits, uint8_t *em);

/** Checks an encoded message that came out of the public key operation; ka_pss_fits() must hold.
 *  @param em  (modulus_bits + 7) / 8 bytes, at most KA_PSS_EM_MAX */
bool ka_pss_verify(const struct ka_hash *hash, const uint8_t *digest, size_t salt_len, size_t modulus_bits,
                   const uint8_t *em);

#endif
