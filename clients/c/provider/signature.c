/*
 * Signatures: RSA (PKCS#1 v1.5, PSS), ECDSA and Ed25519, over a message or over its digest.
 *
 * libcrypto asks for a signature's size before it asks for the signature; sizes are answered from the public
 * key, and only a signature asks the agent. Verifying is the default provider's work.
 */
#include <stdlib.h>
#include <openssl/core_names.h>
#include "hash.h"
#include "signature.h"

/* What holds at the start of each signature, until parameters say otherwise. */
static void set_defaults(kp_signature *signature) {
    if (signature->scheme == KA_RSA_PSS) signature->scheme = KA_RSA_PKCS1;
    signature->hash = signature->mgf1_hash = KA_HASH_NONE;
    signature->salt = KP_SALT_AUTO;
}

static kp_signature *new_signature(kp_provider *provider, ka_scheme scheme) {
    kp_keymgmt_operation_began();
    kp_signature *signature = calloc(1, sizeof(*signature));
    if (signature == NULL) return NULL;
    signature->provider = provider;
    signature->scheme = scheme;
    set_defaults(signature);
    return signature;
}

static OSSL_FUNC_signature_newctx_fn rsa_newctx, ecdsa_newctx, ed25519_newctx;
static void *rsa_newctx(void *provider, const char *properties) {
    (void)properties;
    return new_signature(provider, KA_RSA_PKCS1);
}

static void *ecdsa_newctx(void *provider, const char *properties) {
    (void)properties;
    return new_signature(provider, KA_ECDSA);
}

static void *ed25519_newctx(void *provider, const char *properties) {
    (void)properties;
    return new_signature(provider, KA_ED25519);
}

static OSSL_FUNC_signature_freectx_fn signature_freectx;
static void signature_freectx(void *context) {
    kp_signature *signature = context;
    if (signature == NULL) return;
    ka_signer_free(signature->signer);
    kp_key_free(signature->key);
    free(signature);
}

static OSSL_FUNC_signature_dupctx_fn signature_dupctx;
static void *signature_dupctx(void *context) {
    const kp_signature *from = context;
    kp_signature *to = malloc(sizeof(*to));
    if (to == NULL) return NULL;
    *to = *from;
    to->signer = NULL;
    if (from->signer != NULL && ka_signer_dup(from->signer, &to->signer) != KA_OK) {
        free(to);
        return NULL;
    }
    if (to->key != NULL) kp_key_ref(to->key);
    return to;
}

/* Starts over with this key; NULL keeps the one of the last init. */
static bool start(kp_signature *signature, kp_key *key) {
    ka_signer_free(signature->signer);
    signature->signer = NULL;
    set_defaults(signature);
    if (key == NULL) return signature->key != NULL;
    kp_key_ref(key);
    kp_key_free(signature->key);
    signature->key = key;
    return true;
}

static bool set_params(kp_signature *signature, const OSSL_PARAM params[]) {
    if (signature->scheme == KA_ED25519) return true;
    if (signature->scheme == KA_ECDSA) return kp_ecdsa_set_signature_params(signature, params);
    return kp_rsa_set_signature_params(signature, params);
}

/* Answers a size query. False: it was none. */
static bool tell_size(const kp_signature *signature, const unsigned char *sig, size_t *sig_len) {
    if (sig != NULL) return false;
    *sig_len = ka_key_signature_max(signature->key->handle);
    return true;
}

static OSSL_FUNC_signature_sign_init_fn signature_sign_init;
static int signature_sign_init(void *context, void *key, const OSSL_PARAM params[]) {
    kp_signature *signature = context;
    return start(signature, key) && set_params(signature, params);
}

static OSSL_FUNC_signature_sign_fn signature_sign;
static int signature_sign(void *context, unsigned char *sig, size_t *sig_len, size_t sig_size,
                          const unsigned char *digest, size_t digest_len) {
    kp_signature *signature = context;
    if (tell_size(signature, sig, sig_len)) return 1;
    /* ECDSA does without the digest's name, and so do its callers; the agent does not. */
    ka_hash hash = signature->hash;
    if (signature->scheme == KA_ECDSA && hash == KA_HASH_NONE) hash = kp_hash_by_size(digest_len);
    ka_sign_params request;
    ka_error error;
    size_t len = sig_size;
    if (!kp_signature_request(signature, hash, &request)) return 0;
    if (ka_key_sign_digest(signature->key->handle, &request, digest, digest_len, sig, &len, &error) !=
        KA_OK) {
        kp_raise_error(signature->provider, &error);
        return 0;
    }
    *sig_len = len;
    return 1;
}

static OSSL_FUNC_signature_digest_sign_init_fn signature_digest_sign_init;
static int signature_digest_sign_init(void *context, const char *digest, void *key,
                                      const OSSL_PARAM params[]) {
    kp_signature *signature = context;
    if (!start(signature, key)) return 0;
    bool named = digest != NULL && digest[0] != '\0';
    if (named && (signature->scheme == KA_ED25519 || !kp_hash_by_name(digest, &signature->hash))) {
        kp_raise(signature->provider, KA_ERR_UNSUPPORTED, "this key does not sign with %s", digest);
        return 0;
    }
    return set_params(signature, params);
}

static OSSL_FUNC_signature_digest_sign_update_fn signature_digest_sign_update;
static int signature_digest_sign_update(void *context, const unsigned char *data, size_t len) {
    kp_signature *signature = context;
    if (signature->signer == NULL) {
        ka_sign_params request;
        ka_error error;
        if (!kp_signature_request(signature, signature->hash, &request)) return 0;
        if (ka_signer_new(signature->key->handle, &request, &signature->signer, &error) != KA_OK) {
            kp_raise_error(signature->provider, &error);
            return 0;
        }
    }
    ka_status status = ka_signer_update(signature->signer, data, len);
    if (status == KA_OK) return 1;
    kp_raise(signature->provider, status, "the message cannot be taken");
    return 0;
}

/* Signs what the signer was fed. */
static int finish(kp_signature *signature, unsigned char *sig, size_t *sig_len, size_t sig_size) {
    ka_error error;
    size_t len = sig_size;
    if (ka_signer_finish(signature->signer, sig, &len, &error) != KA_OK) {
        kp_raise_error(signature->provider, &error);
        return 0;
    }
    *sig_len = len;
    return 1;
}

/* A message in one piece: no copy of it, no signer; or the last piece of one that was begun. */
static OSSL_FUNC_signature_digest_sign_fn signature_digest_sign;
static int signature_digest_sign(void *context, unsigned char *sig, size_t *sig_len, size_t sig_size,
                                 const unsigned char *message, size_t message_len) {
    kp_signature *signature = context;
    if (tell_size(signature, sig, sig_len)) return 1;
    if (signature->signer != NULL)
        return signature_digest_sign_update(context, message, message_len) &&
               finish(signature, sig, sig_len, sig_size);
    ka_sign_params request;
    ka_error error;
    size_t len = sig_size;
    if (!kp_signature_request(signature, signature->hash, &request)) return 0;
    if (ka_key_sign(signature->key->handle, &request, message, message_len, sig, &len, &error) != KA_OK) {
        kp_raise_error(signature->provider, &error);
        return 0;
    }
    *sig_len = len;
    return 1;
}

static OSSL_FUNC_signature_digest_sign_final_fn signature_digest_sign_final;
static int signature_digest_sign_final(void *context, unsigned char *sig, size_t *sig_len, size_t sig_size) {
    kp_signature *signature = context;
    if (signature->signer == NULL) /* nothing was fed: a size query, or the empty message */
        return signature_digest_sign(context, sig, sig_len, sig_size, (const unsigned char *)"", 0);
    return tell_size(signature, sig, sig_len) || finish(signature, sig, sig_len, sig_size);
}

#define COMMON_FUNCTIONS(newctx, gettable)                                                                   \
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, newctx),                                                         \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, signature_freectx),                                         \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, signature_dupctx),                                           \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signature_digest_sign_init),                       \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signature_digest_sign),                                 \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, kp_get_signature_params),                            \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, gettable)
#define HASHED_FUNCTIONS(set, settable)                                                                      \
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN_INIT, signature_sign_init),                                         \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN, signature_sign),                                               \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signature_digest_sign_update),                   \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signature_digest_sign_final),                     \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, set),                                                \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, settable)

static const OSSL_DISPATCH rsa_functions[] = {
    COMMON_FUNCTIONS(rsa_newctx, kp_rsa_gettable_signature_params),
    HASHED_FUNCTIONS(kp_rsa_set_signature_params, kp_rsa_settable_signature_params),
    KP_END,
};

static const OSSL_DISPATCH ecdsa_functions[] = {
    COMMON_FUNCTIONS(ecdsa_newctx, kp_gettable_signature_params),
    HASHED_FUNCTIONS(kp_ecdsa_set_signature_params, kp_ecdsa_settable_signature_params),
    KP_END,
};

static const OSSL_DISPATCH ed25519_functions[] = {
    COMMON_FUNCTIONS(ed25519_newctx, kp_gettable_signature_params),
    KP_END,
};

const OSSL_ALGORITHM kp_signature_algorithms[] = {
    {KP_RSA_NAMES, KP_PROPERTIES, rsa_functions, "RSA signatures by a token"},
    {"ECDSA", KP_PROPERTIES, ecdsa_functions, "ECDSA signatures by a token"},
    {KP_ED25519_NAMES, KP_PROPERTIES, ed25519_functions, "Ed25519 signatures by a token"},
    {NULL, NULL, NULL, NULL},
};
