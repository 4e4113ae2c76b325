/*
 * RSA decryption: OAEP, and the premaster secret of a TLS 1.2 RSA key exchange. Plain PKCS#1 v1.5 is refused:
 * whoever learns whether its padding was good can decrypt. Encrypting is the default provider's work.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include "hash.h"
#include "param.h"
#include "provider.h"

typedef struct kp_cipher {
    kp_provider *provider;
    kp_key *key;                                 /* NULL until an init */
    int padding;                                 /* RSA_*_PADDING */
    ka_hash hash, mgf1_hash;                     /* OAEP; mgf1_hash KA_HASH_NONE: as `hash` */
    uint16_t client_version, negotiated_version; /* TLS */
} kp_cipher;

static OSSL_FUNC_asym_cipher_newctx_fn cipher_newctx;
static void *cipher_newctx(void *provider) {
    kp_keymgmt_operation_began();
    kp_cipher *cipher = calloc(1, sizeof(*cipher));
    if (cipher != NULL) cipher->provider = provider;
    return cipher;
}

static OSSL_FUNC_asym_cipher_freectx_fn cipher_freectx;
static void cipher_freectx(void *context) {
    kp_cipher *cipher = context;
    if (cipher == NULL) return;
    kp_key_free(cipher->key);
    free(cipher);
}

static OSSL_FUNC_asym_cipher_dupctx_fn cipher_dupctx;
static void *cipher_dupctx(void *context) {
    kp_cipher *copy = malloc(sizeof(*copy));
    if (copy == NULL) return NULL;
    *copy = *(const kp_cipher *)context;
    if (copy->key != NULL) kp_key_ref(copy->key);
    return copy;
}

static bool set_padding(kp_cipher *cipher, const OSSL_PARAM *param) {
    int64_t number = 0;
    char name[16] = "";
    if (!kp_param_read_int(param, &number) && !kp_param_read_text(param, name, sizeof(name))) return false;
    if (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_OAEP) == 0) number = RSA_PKCS1_OAEP_PADDING;
    if (strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0) number = RSA_PKCS1_PADDING;
    switch (number) {
    case RSA_PKCS1_PADDING: /* libcrypto's default; refused when it is used */
    case RSA_PKCS1_OAEP_PADDING:
    case RSA_PKCS1_WITH_TLS_PADDING:
        cipher->padding = (int)number;
        return true;
    default:
        kp_raise(cipher->provider, KA_ERR_UNSUPPORTED,
                 "keys in the agent decrypt RSA-OAEP and TLS premasters only");
        return false;
    }
}

static bool set_hash(const kp_cipher *cipher, const OSSL_PARAM *param, ka_hash *out) {
    if (param == NULL || kp_hash_from_param(param, out)) return true;
    kp_raise(cipher->provider, KA_ERR_UNSUPPORTED, "OAEP takes SHA-1, SHA-256, SHA-384 or SHA-512");
    return false;
}

static bool set_version(const OSSL_PARAM *param, uint16_t *out) {
    int64_t version;
    if (param == NULL) return true;
    if (!kp_param_read_int(param, &version) || version < 0 || version > UINT16_MAX) return false;
    *out = (uint16_t)version;
    return true;
}

static OSSL_FUNC_asym_cipher_set_ctx_params_fn cipher_set_params;
static int cipher_set_params(void *context, const OSSL_PARAM params[]) {
    kp_cipher *cipher = context;
    const OSSL_PARAM *padding = kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);
    const OSSL_PARAM *label = kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
    if (padding != NULL && !set_padding(cipher, padding)) return 0;
    if (label != NULL && label->data_size > 0) {
        kp_raise(cipher->provider, KA_ERR_UNSUPPORTED, "OAEP with a label is not offered");
        return 0;
    }
    return set_hash(cipher, kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST), &cipher->hash) &&
           set_hash(cipher, kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST), &cipher->mgf1_hash) &&
           set_version(kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION),
                       &cipher->client_version) &&
           set_version(kp_param_find(params, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION),
                       &cipher->negotiated_version);
}

static OSSL_FUNC_asym_cipher_settable_ctx_params_fn cipher_settable_params;
static const OSSL_PARAM *cipher_settable_params(void *context, void *provider) {
    (void)context, (void)provider;
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, NULL),
        OSSL_PARAM_END,
    };
    return settable;
}

static OSSL_FUNC_asym_cipher_decrypt_init_fn cipher_decrypt_init;
static int cipher_decrypt_init(void *context, void *key, const OSSL_PARAM params[]) {
    kp_cipher *cipher = context;
    kp_key *last = cipher->key;
    /* libcrypto's defaults, for each decryption anew; NULL keeps the key of the last init. */
    *cipher = (kp_cipher){.provider = cipher->provider, .padding = RSA_PKCS1_PADDING, .hash = KA_HASH_SHA1};
    cipher->key = key != NULL ? kp_key_ref(key) : last;
    if (key != NULL) kp_key_free(last);
    return cipher->key != NULL && cipher_set_params(cipher, params);
}

/* What the agent would not decrypt, in words; NULL if it would. */
static const char *objection(const kp_cipher *cipher) {
    if (cipher->padding == RSA_PKCS1_PADDING) return "PKCS#1 v1.5 decryption is refused: use OAEP";
    if (cipher->padding == RSA_PKCS1_OAEP_PADDING && cipher->mgf1_hash != KA_HASH_NONE &&
        cipher->mgf1_hash != cipher->hash)
        return "OAEP with an MGF1 hash that is not its hash is refused";
    return NULL;
}

static ka_status decrypt(const kp_cipher *cipher, kp_slice in, unsigned char *out, size_t *out_len,
                         ka_error *error) {
    ka_key *key = cipher->key->handle;
    if (cipher->padding == RSA_PKCS1_OAEP_PADDING)
        return ka_key_decrypt_oaep(key, cipher->hash, in.data, in.len, out, out_len, error);
    *out_len = KA_TLS_PREMASTER_SIZE;
    return ka_key_decrypt_tls(key, cipher->client_version, cipher->negotiated_version, in.data, in.len, out,
                              error);
}

static OSSL_FUNC_asym_cipher_decrypt_fn cipher_decrypt;
static int cipher_decrypt(void *context, unsigned char *out, size_t *out_len, size_t capacity,
                          const unsigned char *in, size_t in_len) {
    const kp_cipher *cipher = context;
    const char *refusal = objection(cipher);
    if (refusal != NULL) {
        kp_raise(cipher->provider, KA_ERR_UNSUPPORTED, "%s", refusal);
        return 0;
    }
    bool tls = cipher->padding == RSA_PKCS1_WITH_TLS_PADDING;
    size_t needed = tls ? KA_TLS_PREMASTER_SIZE : ka_key_signature_max(cipher->key->handle);
    if (out == NULL) {
        *out_len = needed;
        return 1;
    }
    if (tls && capacity < needed) {
        kp_raise(cipher->provider, KA_ERR_BUFFER, "a premaster secret takes %zu bytes", needed);
        return 0;
    }
    ka_error error;
    size_t len = capacity;
    if (decrypt(cipher, (kp_slice){in, in_len}, out, &len, &error) != KA_OK) {
        kp_raise_error(cipher->provider, &error);
        return 0;
    }
    *out_len = len;
    return 1;
}

static const OSSL_DISPATCH rsa_functions[] = {
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_NEWCTX, cipher_newctx),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_FREECTX, cipher_freectx),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DUPCTX, cipher_dupctx),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, cipher_decrypt_init),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT, cipher_decrypt),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, cipher_set_params),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, cipher_settable_params),
    KP_END,
};

const OSSL_ALGORITHM kp_asym_cipher_algorithms[] = {
    {KP_RSA_NAMES, KP_PROPERTIES, rsa_functions, "RSA decryption by a token"},
    {NULL, NULL, NULL, NULL},
};
