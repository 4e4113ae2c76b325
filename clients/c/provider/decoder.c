/*
 * PEM key references: a block labelled KEYAGENT KEY REFERENCE that holds a pkcs11: URI and nothing else, for
 * programs that read keys from files only.
 *
 * Two steps, because the openssl command takes any decoder's references for the default provider's own, and
 * so only a second decoder may give one. The first turns PEM into the key's full URI and says its type (as
 * "DER", which is libcrypto's name for whatever comes out of PEM); the second opens that URI as a key of this
 * type. Between them the URI carries the provider's random mark: bytes that a stranger hands to a DER decoder
 * never open a key.
 */
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/params.h>
#include "pem.h"

#define LABEL     "KEYAGENT KEY REFERENCE"
#define STRUCTURE "KeyagentReference"
#define SCHEME    "pkcs11:"
#define URI_MAX   1024 /* PROTOCOL.md */

/* A decoder has no state beside the provider. */
static OSSL_FUNC_decoder_newctx_fn decoder_newctx;
static void *decoder_newctx(void *provider) {
    return provider;
}

static OSSL_FUNC_decoder_freectx_fn decoder_freectx;
static void decoder_freectx(void *context) {
    (void)context;
}

static bool is_uri(const uint8_t *bytes, size_t len) {
    return len >= strlen(SCHEME) && memcmp(bytes, SCHEME, strlen(SCHEME)) == 0 &&
           memchr(bytes, '\0', len) == NULL;
}

static int give_uri(const kp_provider *provider, const kp_key *key, OSSL_CALLBACK *sink, void *sink_context) {
    int type = OSSL_OBJECT_PKEY;
    const char *name = kp_key_type(key), *uri = ka_key_uri(key->handle);
    uint8_t marked[KP_MARK_SIZE + URI_MAX];
    size_t len = strlen(uri);
    if (len > URI_MAX) return 0;
    memcpy(marked, provider->mark, KP_MARK_SIZE);
    memcpy(marked + KP_MARK_SIZE, uri, len);
    OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)name, strlen(name)),
        OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, STRUCTURE, strlen(STRUCTURE)),
        OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_DATA, marked, KP_MARK_SIZE + len),
        OSSL_PARAM_END,
    };
    return sink(params, sink_context);
}

/* Returns 1 for whatever is not ours: the next decoder looks at it. */
static OSSL_FUNC_decoder_decode_fn pem_decode;
static int pem_decode(void *context, OSSL_CORE_BIO *bio, int selection, OSSL_CALLBACK *sink,
                      void *sink_context, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_context) {
    (void)selection, (void)passphrase, (void)passphrase_context;
    kp_provider *provider = context;
    uint8_t uri[URI_MAX + 1];
    size_t len = URI_MAX;
    kp_pem found = kp_pem_read(provider, bio, LABEL, uri, &len);
    if (found == KP_PEM_OTHER) return 1;
    if (found == KP_PEM_MALFORMED || !is_uri(uri, len)) {
        kp_raise_loading(provider, KA_ERR_MALFORMED,
                         "a " LABEL " holds a pkcs11: URI in base64; write it anew with keyagent ref");
        return 0;
    }
    uri[len] = '\0';
    kp_key *key = kp_key_open(provider, (const char *)uri);
    if (key == NULL) return 0;
    int taken = kp_key_require_usable(key) && give_uri(provider, key, sink, sink_context);
    kp_key_free(key);
    return taken;
}

/* Reads all of bio; false if it is not a URI with our mark (or too long for one). */
static bool read_uri(const kp_provider *provider, OSSL_CORE_BIO *bio, char uri[URI_MAX + 1]) {
    uint8_t bytes[KP_MARK_SIZE + URI_MAX + 1];
    size_t len = 0, count;
    while (len < sizeof(bytes) && provider->core.bio_read_ex(bio, bytes + len, sizeof(bytes) - len, &count) &&
           count > 0)
        len += count;
    if (len == sizeof(bytes) || len < KP_MARK_SIZE) return false;
    if (memcmp(bytes, provider->mark, KP_MARK_SIZE) != 0) return false;
    len -= KP_MARK_SIZE;
    if (!is_uri(bytes + KP_MARK_SIZE, len)) return false;
    memcpy(uri, bytes + KP_MARK_SIZE, len);
    uri[len] = '\0';
    return true;
}

static int decode_as(kp_provider *provider, const char *type_name, OSSL_CORE_BIO *bio, OSSL_CALLBACK *sink,
                     void *sink_context) {
    char uri[URI_MAX + 1];
    if (!read_uri(provider, bio, uri)) return 1;
    kp_key *key = kp_key_open(provider, uri);
    if (key == NULL) return 0;
    int type = OSSL_OBJECT_PKEY, taken = 1;
    if (strcmp(kp_key_type(key), type_name) == 0) {
        OSSL_PARAM params[] = {
            OSSL_PARAM_int(OSSL_OBJECT_PARAM_TYPE, &type),
            OSSL_PARAM_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)type_name, strlen(type_name)),
            OSSL_PARAM_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
            OSSL_PARAM_END,
        };
        taken = sink(params, sink_context);
    }
    kp_key_free(key); /* NULL if keymgmt load took it */
    return taken;
}

#define DECODE_AS(function, type_name)                                                                       \
    static OSSL_FUNC_decoder_decode_fn function;                                                             \
    static int function(void *context, OSSL_CORE_BIO *bio, int selection, OSSL_CALLBACK *sink,               \
                        void *sink_context, OSSL_PASSPHRASE_CALLBACK *passphrase,                            \
                        void *passphrase_context) {                                                          \
        (void)selection, (void)passphrase, (void)passphrase_context;                                         \
        return decode_as(context, type_name, bio, sink, sink_context);                                       \
    }

DECODE_AS(rsa_decode, "RSA")
DECODE_AS(ec_decode, "EC")
DECODE_AS(ed25519_decode, "ED25519")

#define DECODER_FUNCTIONS(decode)                                                                            \
    {                                                                                                        \
        KP_FUNCTION(OSSL_FUNC_DECODER_NEWCTX, decoder_newctx),                                               \
            KP_FUNCTION(OSSL_FUNC_DECODER_FREECTX, decoder_freectx),                                         \
            KP_FUNCTION(OSSL_FUNC_DECODER_DECODE, decode), KP_END                                            \
    }

static const OSSL_DISPATCH pem_functions[] = DECODER_FUNCTIONS(pem_decode);
static const OSSL_DISPATCH rsa_functions[] = DECODER_FUNCTIONS(rsa_decode);
static const OSSL_DISPATCH ec_functions[] = DECODER_FUNCTIONS(ec_decode);
static const OSSL_DISPATCH ed25519_functions[] = DECODER_FUNCTIONS(ed25519_decode);

#define FROM_PEM       KP_PROPERTIES ",input=pem"
#define FROM_REFERENCE KP_PROPERTIES ",input=der,structure=" STRUCTURE

const OSSL_ALGORITHM kp_decoder_algorithms[] = {
    {"DER", FROM_PEM, pem_functions, "PEM key references"},
    {KP_RSA_NAMES, FROM_REFERENCE, rsa_functions, "References to RSA keys"},
    {KP_EC_NAMES, FROM_REFERENCE, ec_functions, "References to EC keys"},
    {KP_ED25519_NAMES, FROM_REFERENCE, ed25519_functions, "References to Ed25519 keys"},
    {NULL, NULL, NULL, NULL},
};
