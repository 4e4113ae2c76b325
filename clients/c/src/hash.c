/* Hashing, see hash.h. */
#include "hash.h"

void ka_hasher_init(struct ka_hasher *hasher, ka_hash hash) {
    hasher->hash = hash;
    if (hash == KA_HASH_SHA256)
        SHA256Init(&hasher->context);
    else if (hash == KA_HASH_SHA384)
        SHA384Init(&hasher->context);
    else
        SHA512Init(&hasher->context);
}

void ka_hasher_update(struct ka_hasher *hasher, const uint8_t *data, size_t len) {
    if (hasher->hash == KA_HASH_SHA256)
        SHA256Update(&hasher->context, data, len);
    else if (hasher->hash == KA_HASH_SHA384)
        SHA384Update(&hasher->context, data, len);
    else
        SHA512Update(&hasher->context, data, len);
}

void ka_hasher_final(struct ka_hasher *hasher, uint8_t digest[KA_DIGEST_MAX]) {
    if (hasher->hash == KA_HASH_SHA256)
        SHA256Final(digest, &hasher->context);
    else if (hasher->hash == KA_HASH_SHA384)
        SHA384Final(digest, &hasher->context);
    else
        SHA512Final(digest, &hasher->context);
}
