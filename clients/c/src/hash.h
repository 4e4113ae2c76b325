/* SHA-2 of what is too long to send (libmd). Input: bytes in pieces. Output: the digest. */
#ifndef KEYAGENT_HASH_H
#define KEYAGENT_HASH_H

#include <sys/types.h>

#include <sha2.h>

#include "keyagent.h"

#define KA_DIGEST_MAX SHA512_DIGEST_LENGTH

struct ka_hasher {
    ka_hash hash; /* SHA-256, SHA-384 or SHA-512 */
    SHA2_CTX context;
};

void ka_hasher_init(struct ka_hasher *hasher, ka_hash hash);
void ka_hasher_update(struct ka_hasher *hasher, const uint8_t *data, size_t len);
/* Writes ka_hash_size(hash) bytes; the hasher is used up. */
void ka_hasher_final(struct ka_hasher *hasher, uint8_t digest[KA_DIGEST_MAX]);

#endif
