/*
 * What libcrypto may ask of a key: sizes, default digest, group, the public numbers; and the lists that say
 * so.
 */
#include <openssl/core_names.h>
#include <openssl/params.h>
#include "key_params.h"
#include "param.h"

const char *kp_key_group(const kp_key *key) {
    switch (key->algorithm) {
    case KA_ALG_EC_P256:
        return "prime256v1";
    case KA_ALG_EC_P384:
        return "secp384r1";
    case KA_ALG_EC_P521:
        return "secp521r1";
    case KA_ALG_RSA:
    case KA_ALG_ED25519:
        break;
    }
    return NULL;
}

/* NIST SP 800-57 part 1 table 2, with the sizes between them as libcrypto counts them. */
static unsigned rsa_security_bits(unsigned bits) {
    static const unsigned table[][2] = {{8192, 200}, {7680, 192}, {6144, 176},
                                        {4096, 152}, {3072, 128}, {2048, 112}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (bits >= table[i][0]) return table[i][1];
    return 80;
}

static bool reply_size(const kp_key *key, OSSL_PARAM params[]) {
    if (key->handle == NULL) return false; /* still empty: it has no size */
    unsigned bits = ka_key_bits(key->handle), security = bits / 2;
    if (key->algorithm == KA_ALG_RSA) security = rsa_security_bits(bits);
    if (key->algorithm == KA_ALG_EC_P521) security = 256;
    if (key->algorithm == KA_ALG_ED25519) {
        bits = 256; /* of the encoded point, as libcrypto says it */
        security = 128;
    }
    return kp_param_reply_uint(params, OSSL_PKEY_PARAM_BITS, bits) &&
           kp_param_reply_uint(params, OSSL_PKEY_PARAM_SECURITY_BITS, security) &&
           kp_param_reply_uint(params, OSSL_PKEY_PARAM_MAX_SIZE, ka_key_signature_max(key->handle));
}

int kp_rsa_get_params(void *keydata, OSSL_PARAM params[]) {
    const kp_key *key = keydata;
    return reply_size(key, params) && kp_param_reply_text(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST, "SHA256") &&
           kp_param_reply_number(params, OSSL_PKEY_PARAM_RSA_N, key->public_key.modulus) &&
           kp_param_reply_number(params, OSSL_PKEY_PARAM_RSA_E, key->public_key.exponent);
}

int kp_ec_get_params(void *keydata, OSSL_PARAM params[]) {
    const kp_key *key = keydata;
    return reply_size(key, params) && kp_param_reply_text(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST, "SHA256") &&
           kp_param_reply_text(params, OSSL_PKEY_PARAM_GROUP_NAME, kp_key_group(key)) &&
           kp_param_reply_text(params, OSSL_PKEY_PARAM_EC_ENCODING, "named_curve") &&
           kp_param_reply_text(params, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed") &&
           kp_param_reply_octets(params, OSSL_PKEY_PARAM_PUB_KEY, key->public_key.point) &&
           kp_param_reply_octets(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, key->public_key.point);
}

int kp_ed25519_get_params(void *keydata, OSSL_PARAM params[]) {
    const kp_key *key = keydata;
    /* An empty mandatory digest: the algorithm hashes by itself. */
    return reply_size(key, params) && kp_param_reply_text(params, OSSL_PKEY_PARAM_MANDATORY_DIGEST, "") &&
           kp_param_reply_octets(params, OSSL_PKEY_PARAM_PUB_KEY, key->public_key.point);
}

#define SIZE_PARAMS                                                                                          \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),         \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL)
#define RSA_PUBLIC                                                                                           \
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0)
#define EC_PUBLIC                                                                                            \
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),                                             \
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0)
#define ED25519_PUBLIC OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0)

const OSSL_PARAM *kp_rsa_gettable_params(void *context) {
    (void)context;
    static const OSSL_PARAM gettable[] = {
        SIZE_PARAMS,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        RSA_PUBLIC,
        OSSL_PARAM_END,
    };
    return gettable;
}

const OSSL_PARAM *kp_ec_gettable_params(void *context) {
    (void)context;
    static const OSSL_PARAM gettable[] = {
        SIZE_PARAMS,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        EC_PUBLIC,
        OSSL_PARAM_END,
    };
    return gettable;
}

const OSSL_PARAM *kp_ed25519_gettable_params(void *context) {
    (void)context;
    static const OSSL_PARAM gettable[] = {
        SIZE_PARAMS,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        ED25519_PUBLIC,
        OSSL_PARAM_END,
    };
    return gettable;
}

/* One list for every selection: what is not selected is left out of the export. */
const OSSL_PARAM *kp_rsa_export_types(int selection) {
    static const OSSL_PARAM types[] = {RSA_PUBLIC, OSSL_PARAM_END};
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? types : NULL;
}

const OSSL_PARAM *kp_ec_export_types(int selection) {
    (void)selection;
    static const OSSL_PARAM types[] = {EC_PUBLIC, OSSL_PARAM_END};
    return types;
}

const OSSL_PARAM *kp_ed25519_export_types(int selection) {
    static const OSSL_PARAM types[] = {ED25519_PUBLIC, OSSL_PARAM_END};
    return (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0 ? types : NULL;
}
