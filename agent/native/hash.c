#define _DEFAULT_SOURCE /* explicit_bzero */
#include "hash.h"

#include <string.h>
#include <sys/types.h>

#include <sha1.h>
#include <sha2.h>

static void sha1_digest(const struct ka_hash_part *parts, size_t count, uint8_t *out) {
    SHA1_CTX context;
    SHA1Init(&context);
    for (size_t i = 0; i < count; i++)
        SHA1Update(&context, parts[i].data, parts[i].len);
    SHA1Final(out, &context);
    explicit_bzero(&context, sizeof context);
}

#define SHA2_DIGEST(name, NAME)                                                                              \
    static void name##_digest(const struct ka_hash_part *parts, size_t count, uint8_t *out) {                \
        SHA2_CTX context;                                                                                    \
        NAME##Init(&context);                                                                                \
        for (size_t i = 0; i < count; i++)                                                                   \
            NAME##Update(&context, parts[i].data, parts[i].len);                                             \
        NAME##Final(out, &context);                                                                          \
        explicit_bzero(&context, sizeof context);                                                            \
    }

SHA2_DIGEST(sha256, SHA256)
SHA2_DIGEST(sha384, SHA384)
SHA2_DIGEST(sha512, SHA512)

static const struct ka_hash hashes[] = {
    {"sha1", SHA1_DIGEST_LENGTH, sha1_digest},
    {"sha256", SHA256_DIGEST_LENGTH, sha256_digest},
    {"sha384", SHA384_DIGEST_LENGTH, sha384_digest},
    {"sha512", SHA512_DIGEST_LENGTH, sha512_digest},
};

const struct ka_hash *ka_hash_find(const char *name) {
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        if (strcmp(hashes[i].name, name) == 0) return &hashes[i];
    return NULL;
}

void ka_mgf1_xor(const struct ka_hash *hash, const uint8_t *seed, size_t seed_len, uint8_t *out,
                 size_t out_len) {
    uint8_t block[KA_HASH_MAX];
    uint8_t counter[4] = {0};
    const struct ka_hash_part parts[] = {{seed, seed_len}, {counter, sizeof counter}};

    for (size_t done = 0; done < out_len; done += hash->len) {
        hash->digest(parts, 2, block);
        for (size_t i = 0; i < hash->len && done + i < out_len; i++)
            out[done + i] ^= block[i];
        /* 255 blocks are at least 5100 bytes: more than any modulus has. */
        counter[3]++;
    }
    explicit_bzero(block, sizeof block);
}
