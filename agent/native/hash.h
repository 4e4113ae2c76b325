/* The hashes of OAEP and PSS over libmd, and MGF1 (RFC 8017 B.2.1). */
#ifndef KA_HASH_H
#define KA_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { KA_HASH_MAX = 64 };

struct ka_hash_part {
    const uint8_t *data;
    size_t len;
};

struct ka_hash {
    const char *name;
    /* bytes */
    size_t len;
    /* Hashes the parts one after another into out (len bytes) and wipes its state. */
    void (*digest)(const struct ka_hash_part *parts, size_t count, uint8_t *out);
};

/** @return the hash named sha1, sha256, sha384 or sha512; NULL for any other name */
const struct ka_hash *ka_hash_find(const char *name);

/** XORs MGF1(seed) into the out_len bytes of out; time depends on the lengths only. */
void ka_mgf1_xor(const struct ka_hash *hash, const uint8_t *seed, size_t seed_len, uint8_t *out,
                 size_t out_len);

#endif
