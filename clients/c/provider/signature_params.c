/*
 * Padding, digest and salt of a signature: read from libcrypto's parameters, and told back to it.
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include "hash.h"
#include "param.h"
#include "signature.h"

static bool set_padding(kp_signature *signature, const OSSL_PARAM *param) {
    int64_t number = 0;
    char name[16] = "";
    if (!kp_param_read_int(param, &number) && !kp_param_read_text(param, name, sizeof(name))) return false;
    if (number == RSA_PKCS1_PADDING || strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0) {
        signature->scheme = KA_RSA_PKCS1;
    } else if (number == RSA_PKCS1_PSS_PADDING || strcmp(name, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0) {
        signature->scheme = KA_RSA_PSS;
    } else {
        kp_raise(signature->provider, KA_ERR_UNSUPPORTED,
                 "RSA keys sign with PKCS#1 v1.5 or PSS padding only");
        return false;
    }
    return true;
}

static bool read_salt(const OSSL_PARAM *param, int64_t *out) {
    static const struct {
        const char *name;
        int64_t salt;
    } words[] = {{"digest", KP_SALT_DIGEST},
                 {"auto", KP_SALT_AUTO},
                 {"max", KP_SALT_MAX},
                 {"auto-digestmax", KP_SALT_AUTO_DIGEST_MAX}};
    char text[24];
    if (kp_param_read_int(param, out)) return true;
    if (!kp_param_read_text(param, text, sizeof(text))) return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i].name) != 0) continue;
        *out = words[i].salt;
        return true;
    }
    char *end = NULL;
    *out = strtol(text, &end, 10);
    return end != text && *end == '\0';
}

static bool set_hash(const kp_signature *signature, const OSSL_PARAM *param, ka_hash *out) {
    if (kp_hash_from_param(param, out)) return true;
    kp_raise(signature->provider, KA_ERR_UNSUPPORTED,
             "keys in the agent sign SHA-256, SHA-384 and SHA-512 digests");
    return false;
}

int kp_ecdsa_set_signature_params(void *context, const OSSL_PARAM params[]) {
    kp_signature *signature = context;
    if (params == NULL || params[0].key == NULL) return 1;
    if (signature->signer != NULL) {
        kp_raise(signature->provider, KA_ERR_INVALID, "a signature's parameters come before its message");
        return 0;
    }
    const OSSL_PARAM *digest = kp_param_find(params, OSSL_SIGNATURE_PARAM_DIGEST);
    return digest == NULL || set_hash(signature, digest, &signature->hash);
}

int kp_rsa_set_signature_params(void *context, const OSSL_PARAM params[]) {
    kp_signature *signature = context;
    const OSSL_PARAM *padding = kp_param_find(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    const OSSL_PARAM *salt = kp_param_find(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    const OSSL_PARAM *mgf1 = kp_param_find(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    if (!kp_ecdsa_set_signature_params(context, params)) return 0;
    if (padding != NULL && !set_padding(signature, padding)) return 0;
    if (salt != NULL && !read_salt(salt, &signature->salt)) return 0;
    return mgf1 == NULL || set_hash(signature, mgf1, &signature->mgf1_hash);
}

/* AUTO leaves the length to the signer, since its verifier finds it out; all else is a demand. */
static bool salt_is_digest(int64_t salt, ka_hash hash) {
    switch (salt) {
    case KP_SALT_DIGEST:
    case KP_SALT_AUTO:
    case KP_SALT_AUTO_DIGEST_MAX:
        return true;
    default:
        return salt == (int64_t)kp_hash_size(hash);
    }
}

/* What the agent would not sign, in words; NULL if it would. */
static const char *objection(const kp_signature *signature, ka_hash hash) {
    if (signature->scheme == KA_ED25519) return NULL;
    if (hash == KA_HASH_NONE) return "name the digest (digest:sha256): keys in the agent sign no raw data";
    if (hash == KA_HASH_SHA1) return "SHA-1 signatures are refused: use SHA-256 or longer";
    if (signature->scheme != KA_RSA_PSS) return NULL;
    if (signature->mgf1_hash != KA_HASH_NONE && signature->mgf1_hash != hash)
        return "PSS with an MGF1 hash that is not the message's hash is refused";
    if (!salt_is_digest(signature->salt, hash))
        return "PSS salts are as long as the hash (rsa_pss_saltlen:digest)";
    return NULL;
}

bool kp_signature_request(const kp_signature *signature, ka_hash hash, ka_sign_params *out) {
    const char *refusal = objection(signature, hash);
    if (refusal != NULL) {
        kp_raise(signature->provider, KA_ERR_UNSUPPORTED, "%s", refusal);
        return false;
    }
    *out = (ka_sign_params){signature->scheme, hash, KA_FORMAT_DER};
    return true;
}

static bool reply_padding(OSSL_PARAM params[], ka_scheme scheme) {
    const OSSL_PARAM *param = kp_param_find(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    bool pss = scheme == KA_RSA_PSS;
    if (param != NULL && param->data_type == OSSL_PARAM_UTF8_STRING)
        return kp_param_reply_text(params, OSSL_SIGNATURE_PARAM_PAD_MODE,
                                   pss ? OSSL_PKEY_RSA_PAD_MODE_PSS : OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
    return kp_param_reply_uint(params, OSSL_SIGNATURE_PARAM_PAD_MODE,
                               pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING);
}

static bool reply_algorithm_id(OSSL_PARAM params[], const kp_signature *signature) {
    if (kp_param_find(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID) == NULL) return true;
    ka_sign_params request;
    uint8_t der[KP_ALGORITHM_ID_MAX];
    if (!kp_signature_request(signature, signature->hash, &request)) return false;
    kp_slice id = {der, kp_algorithm_id(&request, der)};
    return id.len > 0 && kp_param_reply_octets(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID, id);
}

int kp_get_signature_params(void *context, OSSL_PARAM params[]) {
    const kp_signature *signature = context;
    return reply_algorithm_id(params, signature) && reply_padding(params, signature->scheme) &&
           kp_param_reply_text(params, OSSL_SIGNATURE_PARAM_DIGEST, kp_hash_name(signature->hash));
}

const OSSL_PARAM *kp_rsa_settable_signature_params(void *context, void *provider) {
    (void)context, (void)provider;
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };
    return settable;
}

const OSSL_PARAM *kp_ecdsa_settable_signature_params(void *context, void *provider) {
    (void)context, (void)provider;
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };
    return settable;
}

const OSSL_PARAM *kp_rsa_gettable_signature_params(void *context, void *provider) {
    (void)context, (void)provider;
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_END,
    };
    return gettable;
}

const OSSL_PARAM *kp_gettable_signature_params(void *context, void *provider) {
    (void)context, (void)provider;
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };
    return gettable;
}
