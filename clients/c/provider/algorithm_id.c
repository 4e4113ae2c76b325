/*
 * AlgorithmIdentifiers of signatures in DER, for what libcrypto signs with their help: certificates,
 * requests, CMS. Sources: RFC 8017 A.2, RFC 4055 3.1 (PSS; hash identifiers with NULL), RFC 5758 3.2, RFC
 * 8410 3.
 */
#include <string.h>
#include "hash.h"
#include "signature.h"

/* The last byte of OIDs that differ in it alone: `first` for SHA-256, and on from there. */
static uint8_t hash_arc(ka_hash hash, uint8_t first) {
    return (uint8_t)(first + (hash - KA_HASH_SHA256));
}

static size_t rsa_pkcs1_id(ka_hash hash, uint8_t *out) {
    const uint8_t der[] = {
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, hash_arc(hash, 0x0b),
        0x05, 0x00};
    memcpy(out, der, sizeof(der));
    return sizeof(der);
}

static size_t rsa_pss_id(ka_hash hash, uint8_t *out) {
    uint8_t arc = hash_arc(hash, 0x01), salt = (uint8_t)kp_hash_size(hash);
#define HASH_ID 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, arc, 0x05, 0x00
    const uint8_t der[] = {0x30, 0x41, 0x06,    0x09, 0x2a, 0x86, 0x48,    0x86, 0xf7,
                           0x0d, 0x01, 0x01,    0x0a, /* id-RSASSA-PSS */
                           0x30, 0x34,                /* RSASSA-PSS-params */
                           0xa0, 0x0f, HASH_ID,       /* hashAlgorithm */
                           0xa1, 0x1c, 0x30,    0x1a, 0x06, 0x09, 0x2a,    0x86, 0x48,
                           0x86, 0xf7, 0x0d,    0x01, 0x01, 0x08, HASH_ID, /* maskGenAlgorithm: id-mgf1 */
                           0xa2, 0x03, 0x02,    0x01, salt};               /* saltLength */
#undef HASH_ID
    memcpy(out, der, sizeof(der));
    return sizeof(der);
}

static size_t ecdsa_id(ka_hash hash, uint8_t *out) {
    const uint8_t der[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
                           0x48, 0xce, 0x3d, 0x04, 0x03, hash_arc(hash, 0x02)};
    memcpy(out, der, sizeof(der));
    return sizeof(der);
}

size_t kp_algorithm_id(const ka_sign_params *params, uint8_t out[KP_ALGORITHM_ID_MAX]) {
    static const uint8_t ed25519[] = {0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70};
    switch (params->scheme) {
    case KA_RSA_PKCS1:
        return rsa_pkcs1_id(params->hash, out);
    case KA_RSA_PSS:
        return rsa_pss_id(params->hash, out);
    case KA_ECDSA:
        return ecdsa_id(params->hash, out);
    case KA_ED25519:
        memcpy(out, ed25519, sizeof(ed25519));
        return sizeof(ed25519);
    }
    return 0;
}
