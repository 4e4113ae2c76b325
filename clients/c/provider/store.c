/*
 * OSSL_STORE for pkcs11: (RFC 7512) and keyagent:NAME. A URI names one key of the agent; its `type` says what
 * comes out: private the key, public its public half, cert its certificate; without a type the key and then
 * its certificates, or of all these what the caller expects (OSSL_STORE_expect).
 */
#include <stdlib.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include "param.h"
#include "provider.h"

typedef struct kp_store {
    kp_key *key;
    bool typed;                          /* the URI has a type: the caller's expectation adds nothing */
    bool give_key, give_public;          /* still to be given */
    size_t certificate, certificate_end; /* likewise */
} kp_store;

/* The value of `type` in the path of the URI; no data if there is none. RFC 7512 2.3: the path ends at '?'.
 */
static kp_slice uri_type(const char *uri) {
    const char *attribute = strchr(uri, ':');
    while (attribute != NULL) {
        attribute++; /* after ':' or ';' */
        size_t len = strcspn(attribute, ";?");
        if (len > 5 && strncmp(attribute, "type=", 5) == 0)
            return (kp_slice){(const uint8_t *)attribute + 5, len - 5};
        attribute = attribute[len] == ';' ? attribute + len : NULL;
    }
    return (kp_slice){NULL, 0};
}

static bool type_is(kp_slice type, const char *word) {
    return kp_slice_equal(type, (kp_slice){(const uint8_t *)word, strlen(word)});
}

static bool plan(kp_store *store, const char *uri) {
    size_t certificates = ka_key_certificate_count(store->key->handle);
    kp_slice type = uri_type(uri);
    store->typed = type.data != NULL;
    store->give_key = !store->typed || type_is(type, "private");
    store->give_public = type_is(type, "public");
    if (!store->typed) store->certificate_end = certificates;
    if (!type_is(type, "cert")) return true;

    store->certificate_end = 1;
    if (certificates > 0) return true;
    kp_raise_loading(store->key->provider, KA_ERR_NOT_FOUND, "the token holds no certificate for %s", uri);
    return false;
}

static OSSL_FUNC_store_close_fn store_close;
static int store_close(void *context) {
    kp_store *store = context;
    if (store == NULL) return 1;
    kp_key_free(store->key);
    free(store);
    return 1;
}

static OSSL_FUNC_store_open_fn store_open;
static void *store_open(void *context, const char *uri) {
    kp_provider *provider = context;
    kp_store *store = calloc(1, sizeof(*store));
    if (store == NULL) return NULL;
    store->key = kp_key_open(provider, uri);
    if (store->key != NULL && plan(store, uri)) return store;
    store_close(store);
    return NULL;
}

static OSSL_FUNC_store_settable_ctx_params_fn store_settable_params;
static const OSSL_PARAM *store_settable_params(void *provider) {
    (void)provider;
    static const OSSL_PARAM settable[] = {OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL), OSSL_PARAM_END};
    return settable;
}

static OSSL_FUNC_store_set_ctx_params_fn store_set_params;
static int store_set_params(void *context, const OSSL_PARAM params[]) {
    kp_store *store = context;
    int64_t expected;
    const OSSL_PARAM *param = kp_param_find(params, OSSL_STORE_PARAM_EXPECT);
    if (param == NULL || store->typed) return 1;
    if (!kp_param_read_int(param, &expected)) return 0;
    if (expected == 0) return 1;
    store->give_key = expected == OSSL_STORE_INFO_PKEY;
    store->give_public = expected == OSSL_STORE_INFO_PUBKEY;
    if (expected != OSSL_STORE_INFO_CERT) store->certificate_end = 0;
    return 1;
}

/* By reference: keymgmt load takes the key out of `key`. */
static int give_key(kp_store *store, OSSL_CALLBACK *sink, void *sink_context) {
    int type = OSSL_OBJECT_PKEY;
    kp_key *key = kp_key_ref(store->key);
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)kp_key_type(key),
                               strlen(kp_key_type(key))),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
        OSSL_PARAM_END,
    };
    int taken = sink(params, sink_context);
    kp_key_free(key);
    return taken;
}

/* By value, for the default provider to decode. */
static int give_public(kp_store *store, OSSL_CALLBACK *sink, void *sink_context) {
    int type = OSSL_OBJECT_PKEY;
    const char *name = kp_key_type(store->key), *structure = "SubjectPublicKeyInfo";
    size_t len;
    const uint8_t *spki = ka_key_spki(store->key->handle, &len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)name, strlen(name)),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, (char *)structure, strlen(structure)),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, (void *)spki, len),
        OSSL_PARAM_END,
    };
    return sink(params, sink_context);
}

static int give_certificate(kp_store *store, size_t index, OSSL_CALLBACK *sink, void *sink_context) {
    int type = OSSL_OBJECT_CERT;
    size_t len;
    const uint8_t *certificate = ka_key_certificate(store->key->handle, index, &len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, (void *)certificate, len),
        OSSL_PARAM_END,
    };
    return sink(params, sink_context);
}

static OSSL_FUNC_store_eof_fn store_eof;
static int store_eof(void *context) {
    const kp_store *store = context;
    return !store->give_key && !store->give_public && store->certificate >= store->certificate_end;
}

static OSSL_FUNC_store_load_fn store_load;
static int store_load(void *context, OSSL_CALLBACK *sink, void *sink_context,
                      OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_context) {
    (void)passphrase, (void)passphrase_context;
    kp_store *store = context;
    if (store_eof(store)) return 0;
    if (store->give_key) {
        store->give_key = false;
        if (!kp_key_require_usable(store->key)) return 0;
        return give_key(store, sink, sink_context);
    }
    if (store->give_public) {
        store->give_public = false;
        return give_public(store, sink, sink_context);
    }
    return give_certificate(store, store->certificate++, sink, sink_context);
}

static const OSSL_DISPATCH store_functions[] = {
    KP_FUNCTION(OSSL_FUNC_STORE_OPEN, store_open),
    KP_FUNCTION(OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, store_settable_params),
    KP_FUNCTION(OSSL_FUNC_STORE_SET_CTX_PARAMS, store_set_params),
    KP_FUNCTION(OSSL_FUNC_STORE_LOAD, store_load),
    KP_FUNCTION(OSSL_FUNC_STORE_EOF, store_eof),
    KP_FUNCTION(OSSL_FUNC_STORE_CLOSE, store_close),
    KP_END,
};

const OSSL_ALGORITHM kp_store_algorithms[] = {
    {"pkcs11", KP_PROPERTIES, store_functions, "Keys and certificates in tokens, by RFC 7512 URI"},
    {"keyagent", KP_PROPERTIES, store_functions, "Keys and certificates in tokens, by label"},
    {NULL, NULL, NULL, NULL},
};
