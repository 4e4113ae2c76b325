/* EME-OAEP decoding (RFC 8017 7.1.2 step 3) in constant time: one outcome for everything that can be wrong,
 * or the place of a wrong byte decrypts the message (Manger, CRYPTO 2001). */
#ifndef KA_OAEP_H
#define KA_OAEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash.h"

/* RSA-8192, in bytes */
enum { KA_OAEP_EM_MAX = 1024 };

/** @return the least length of an encoded message for this hash */
size_t ka_oaep_em_min(const struct ka_hash *hash);

/** Decodes with an empty label and MGF1 over the same hash.
 *  @param em       em_len bytes, the modulus' length, leading zeros kept; ka_oaep_em_min()..KA_OAEP_EM_MAX
 *  @param out      receives the message; room for em_len bytes; zeros on failure
 *  @param out_len  receives its length; 0 on failure
 *  @return false if anything is wrong */
bool ka_oaep_decode(const uint8_t *em, size_t em_len, const struct ka_hash *hash, uint8_t *out,
                    size_t *out_len);

#endif
