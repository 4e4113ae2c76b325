/*
 * Key management for RSA, EC and Ed25519: what libcrypto may know of a key, and take of it.
 *
 * Export decides where an operation runs. libcrypto first asks the default provider for, say, an RSA
 * signature, and offers it the key: an export of everything, the private part included. If that export fails,
 * it turns to the key's own provider, which is us. So an export of everything is refused.
 *
 * It asks for the same when a program looks at a key through libcrypto's old RSA and EC structures, as Node
 * 20 does for asymmetricKeyDetails, and Node 20 ends when it gets none. Under `export = public` that is
 * answered with the public part. Only an operation asks for its own name first, on the same thread: that
 * tells the two apart (docs/adr/0018). It is no default for the sake of a third who asks, whoever writes keys
 * to files: a refusal says best why there is nothing to write.
 *
 * Import refuses, so that no other key ever moves here: it would be asked to verify or encrypt with, which we
 * do not do. Comparing (a certificate with its key) works without: libcrypto then exports our public part
 * instead. New exists for that refusal alone; without it libcrypto leaves an error behind whenever it
 * compares.
 */
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include "key_params.h"
#include "param.h"
#include "provider.h"

static OSSL_FUNC_keymgmt_new_fn keymgmt_new;
static void *keymgmt_new(void *provider) {
    return kp_key_new(provider);
}

static OSSL_FUNC_keymgmt_import_fn keymgmt_import;
static int keymgmt_import(void *keydata, int selection, const OSSL_PARAM params[]) {
    (void)keydata, (void)selection, (void)params;
    return 0;
}

static OSSL_FUNC_keymgmt_import_types_fn keymgmt_import_types;
static const OSSL_PARAM *keymgmt_import_types(int selection) {
    (void)selection;
    return NULL;
}

static OSSL_FUNC_keymgmt_free_fn keymgmt_free;
static void keymgmt_free(void *keydata) {
    kp_key_free(keydata);
}

/* A key never changes, so its copy is another owner. There is no copy of a part of it. */
static OSSL_FUNC_keymgmt_dup_fn keymgmt_dup;
static void *keymgmt_dup(const void *keydata, int selection) {
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0) return NULL;
    return kp_key_ref((kp_key *)keydata);
}

/* A reference is the address of the pointer that store and decoder hold; taking the key empties it. */
static OSSL_FUNC_keymgmt_load_fn keymgmt_load;
static void *keymgmt_load(const void *reference, size_t reference_size) {
    if (reference == NULL || reference_size != sizeof(kp_key *)) return NULL;
    kp_key **holder = (kp_key **)reference;
    kp_key *key = *holder;
    *holder = NULL;
    return key;
}

/* A key of the agent always has both halves and its parameters. */
static OSSL_FUNC_keymgmt_has_fn keymgmt_has;
static int keymgmt_has(const void *keydata, int selection) {
    (void)selection;
    const kp_key *key = keydata;
    return key != NULL && key->handle != NULL;
}

static OSSL_FUNC_keymgmt_match_fn keymgmt_match;
static int keymgmt_match(const void *keydata1, const void *keydata2, int selection) {
    const kp_key *a = keydata1, *b = keydata2;
    if (a->handle == NULL || b->handle == NULL) return 0;
    if (a->algorithm != b->algorithm) return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0) return 1;
    return kp_slice_equal(a->public_key.modulus, b->public_key.modulus) &&
           kp_slice_equal(a->public_key.exponent, b->public_key.exponent) &&
           kp_slice_equal(a->public_key.point, b->public_key.point);
}

/* The public part as OSSL_PARAMs for `sink`: what the type's own import in the default provider takes. */
static int export_rsa(const kp_public_key *public_key, OSSL_CALLBACK *sink, void *sink_context) {
    uint8_t modulus[KP_MODULUS_MAX], exponent[KP_MODULUS_MAX];
    kp_number_to_native(public_key->modulus, modulus, public_key->modulus.len);
    kp_number_to_native(public_key->exponent, exponent, public_key->exponent.len);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, modulus, public_key->modulus.len),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, exponent, public_key->exponent.len),
        OSSL_PARAM_END,
    };
    return sink(params, sink_context);
}

static int export_point(const kp_key *key, int selection, OSSL_CALLBACK *sink, void *sink_context) {
    OSSL_PARAM params[3], *next = params;
    const char *group = kp_key_group(key);
    if (group != NULL && (selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS) != 0)
        *next++ =
            (OSSL_PARAM)OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)group, strlen(group));
    if ((selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0)
        *next++ = (OSSL_PARAM)OSSL_PARAM_octet_string(
            OSSL_PKEY_PARAM_PUB_KEY, (void *)key->public_key.point.data, key->public_key.point.len);
    if (next == params) return 0; /* libcrypto takes an empty list for a key that was taken over */
    *next = (OSSL_PARAM)OSSL_PARAM_END;
    return sink(params, sink_context);
}

/* An operation was announced on this thread, and the export that it begins with did not come yet. */
static _Thread_local bool operation_begins;

void kp_keymgmt_operation_began(void) {
    operation_begins = false;
}

/* Any thread; no I/O. */
static OSSL_FUNC_keymgmt_export_fn keymgmt_export;
static int keymgmt_export(void *keydata, int selection, OSSL_CALLBACK *sink, void *sink_context) {
    const kp_key *key = keydata;
    if (key->handle == NULL) return 0;
    bool for_operation = operation_begins;
    operation_begins = false;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 &&
        (for_operation || !key->provider->export_public)) {
        kp_raise(key->provider, KA_ERR_UNSUPPORTED, "the private key does not leave its token");
        return 0;
    }
    if (key->algorithm == KA_ALG_RSA) return export_rsa(&key->public_key, sink, sink_context);
    return export_point(key, selection, sink, sink_context);
}

#define KEYMGMT_FUNCTIONS(get, gettable, types)                                                              \
    KP_FUNCTION(OSSL_FUNC_KEYMGMT_NEW, keymgmt_new), KP_FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, keymgmt_import),  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, keymgmt_import_types),                                   \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_LOAD, keymgmt_load),                                                   \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_FREE, keymgmt_free), KP_FUNCTION(OSSL_FUNC_KEYMGMT_HAS, keymgmt_has),  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_DUP, keymgmt_dup),                                                     \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, keymgmt_match),                                                 \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, keymgmt_export),                                               \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, types), KP_FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, get),  \
        KP_FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, gettable)

/* NULL: the operation is called as the key. An operation that no provider has for such keys ends with its
 * name: no export follows that it could be told by. */
static OSSL_FUNC_keymgmt_query_operation_name_fn rsa_operation_name;
static const char *rsa_operation_name(int operation) {
    operation_begins =
        operation == OSSL_OP_SIGNATURE || operation == OSSL_OP_ASYM_CIPHER || operation == OSSL_OP_KEM;
    return NULL;
}

static OSSL_FUNC_keymgmt_query_operation_name_fn ec_operation_name;
static const char *ec_operation_name(int operation) {
    operation_begins = operation == OSSL_OP_SIGNATURE;
    return operation_begins ? "ECDSA" : NULL;
}

static OSSL_FUNC_keymgmt_query_operation_name_fn ed25519_operation_name;
static const char *ed25519_operation_name(int operation) {
    operation_begins = operation == OSSL_OP_SIGNATURE;
    return NULL;
}

static const OSSL_DISPATCH rsa_functions[] = {
    KEYMGMT_FUNCTIONS(kp_rsa_get_params, kp_rsa_gettable_params, kp_rsa_export_types),
    KP_FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, rsa_operation_name),
    KP_END,
};

static const OSSL_DISPATCH ec_functions[] = {
    KEYMGMT_FUNCTIONS(kp_ec_get_params, kp_ec_gettable_params, kp_ec_export_types),
    KP_FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, ec_operation_name),
    KP_END,
};

static const OSSL_DISPATCH ed25519_functions[] = {
    KEYMGMT_FUNCTIONS(kp_ed25519_get_params, kp_ed25519_gettable_params, kp_ed25519_export_types),
    KP_FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, ed25519_operation_name),
    KP_END,
};

const OSSL_ALGORITHM kp_keymgmt_algorithms[] = {
    {KP_RSA_NAMES, KP_PROPERTIES, rsa_functions, "RSA keys in a token"},
    {KP_EC_NAMES, KP_PROPERTIES, ec_functions, "EC keys in a token"},
    {KP_ED25519_NAMES, KP_PROPERTIES, ed25519_functions, "Ed25519 keys in a token"},
    {NULL, NULL, NULL, NULL},
};
