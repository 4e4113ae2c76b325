/*
 * Hash names, as the default provider lists them: the same digest comes as "SHA256" from one caller and as
 * "SHA2-256" from the next.
 */
#include <strings.h>
#include "hash.h"
#include "param.h"

static const struct {
    ka_hash hash;
    size_t size;
    const char *names[4];
} hashes[] = {
    {KA_HASH_SHA1, 20, {"SHA1", "SHA-1", "SSL3-SHA1", "1.3.14.3.2.26"}},
    {KA_HASH_SHA256, 32, {"SHA256", "SHA2-256", "SHA-256", "2.16.840.1.101.3.4.2.1"}},
    {KA_HASH_SHA384, 48, {"SHA384", "SHA2-384", "SHA-384", "2.16.840.1.101.3.4.2.2"}},
    {KA_HASH_SHA512, 64, {"SHA512", "SHA2-512", "SHA-512", "2.16.840.1.101.3.4.2.3"}},
};
#define HASH_COUNT (sizeof(hashes) / sizeof(hashes[0]))
#define NAME_COUNT (sizeof(hashes[0].names) / sizeof(hashes[0].names[0]))

bool kp_hash_by_name(const char *name, ka_hash *out) {
    for (size_t i = 0; i < HASH_COUNT; i++) {
        for (size_t j = 0; j < NAME_COUNT; j++) {
            if (strcasecmp(name, hashes[i].names[j]) != 0) continue;
            *out = hashes[i].hash;
            return true;
        }
    }
    return false;
}

bool kp_hash_from_param(const OSSL_PARAM *param, ka_hash *out) {
    char name[64];
    return kp_param_read_text(param, name, sizeof(name)) && kp_hash_by_name(name, out);
}

ka_hash kp_hash_by_size(size_t size) {
    for (size_t i = 0; i < HASH_COUNT; i++)
        if (hashes[i].size == size) return hashes[i].hash;
    return KA_HASH_NONE;
}

const char *kp_hash_name(ka_hash hash) {
    for (size_t i = 0; i < HASH_COUNT; i++)
        if (hashes[i].hash == hash) return hashes[i].names[0];
    return "";
}

size_t kp_hash_size(ka_hash hash) {
    for (size_t i = 0; i < HASH_COUNT; i++)
        if (hashes[i].hash == hash) return hashes[i].size;
    return 0;
}
