/*
 * What every file of the provider shares: its context, the key object, and how an error is said.
 *
 * The provider speaks to libcrypto through dispatch tables only and links none of it (Node carries a copy of
 * its own, whose symbols would answer). It speaks to the agent through keyagent.h only.
 */
#ifndef KEYAGENT_PROVIDER_H
#define KEYAGENT_PROVIDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include "keyagent.h"
#include "public_key.h"

/* The upcalls that we use; each is present in every core since 3.0. */
typedef struct kp_core {
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_BIO_gets_fn *bio_gets;
    OSSL_FUNC_BIO_read_ex_fn *bio_read_ex;
} kp_core;

#define KP_MARK_SIZE 16

typedef struct kp_provider {
    kp_core core;
    char *socket_path;           /* from the configuration; NULL: the library's own default */
    bool export_public;          /* `export = public`: see keymgmt.c */
    uint8_t mark[KP_MARK_SIZE];  /* random; see decoder.c */
    bool logs;                   /* `log = stderr` */
    char *bad_setting;           /* what is wrong with the configuration; NULL: nothing */
    _Atomic(ka_client *) client; /* made at first use, shared by all keys */
} kp_provider;

/** The client of this provider; NULL after an error was raised. Any thread. */
ka_client *kp_provider_client(kp_provider *provider);

/* A key as libcrypto holds it: public data here, the private part in the token. Shared by reference. */
typedef struct kp_key {
    atomic_uint owners;
    kp_provider *provider;
    ka_key *handle; /* NULL in a key that is still empty */
    ka_algorithm algorithm;
    kp_public_key public_key;
} kp_key;

/** An empty key; NULL after an error was raised. */
kp_key *kp_key_new(kp_provider *provider);
/** Opens the key that `uri` names; NULL after an error was raised. */
kp_key *kp_key_open(kp_provider *provider, const char *uri);
/** False, and an error was raised, if no rule lets anybody use the key: a server that loads it serves in
 * vain. */
bool kp_key_require_usable(const kp_key *key);
kp_key *kp_key_ref(kp_key *key);
void kp_key_free(kp_key *key); /* NULL is allowed */
bool kp_key_is_ec(const kp_key *key);
/** The name of the key's type in libcrypto: "RSA", "EC" or "ED25519". */
const char *kp_key_type(const kp_key *key);

/** Raises an error on libcrypto's queue: `status` as the reason, then the text. */
#define kp_raise(provider, status, ...)                                                                      \
    kp_error_raise(provider, status, KP_FILE, __LINE__, __func__, __VA_ARGS__)
/** Raises what the library said. */
/** The same for what goes wrong when a key is loaded: on standard error too, if the configuration says so.
 * Some servers end with no word of what is on the error queue. */
#define kp_raise_loading(provider, status, ...)                                                              \
    (kp_raise(provider, status, __VA_ARGS__), kp_error_log(provider, status, __VA_ARGS__))

#define kp_raise_error(provider, error) kp_raise(provider, (error)->code, "%s", (error)->message)
#ifdef __FILE_NAME__ /* without the folder, which is the builder's */
#define KP_FILE __FILE_NAME__
#else
#define KP_FILE __FILE__
#endif
void kp_error_raise(const kp_provider *provider, ka_status status, const char *file, int line,
                    const char *function, const char *format, ...) __attribute__((format(printf, 6, 7)));
void kp_error_log(const kp_provider *provider, ka_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const OSSL_ITEM *kp_error_reasons(void);

/* The default provider's names: libcrypto takes two keys for the same type when their names are the same. */
#define KP_RSA_NAMES     "RSA:rsaEncryption:1.2.840.113549.1.1.1"
#define KP_EC_NAMES      "EC:id-ecPublicKey:1.2.840.10045.2.1"
#define KP_ED25519_NAMES "ED25519:1.3.101.112"

#define KP_PROPERTIES "provider=keyagent"

/** An operation reached us: no export of the key will be asked for to run it elsewhere. */
void kp_keymgmt_operation_began(void);

#define KP_FUNCTION(id, function)                                                                            \
    { id, (void (*)(void))(function) }
#define KP_END                                                                                               \
    { 0, NULL }

extern const OSSL_ALGORITHM kp_keymgmt_algorithms[];
extern const OSSL_ALGORITHM kp_signature_algorithms[];
extern const OSSL_ALGORITHM kp_asym_cipher_algorithms[];
extern const OSSL_ALGORITHM kp_decoder_algorithms[];
extern const OSSL_ALGORITHM kp_store_algorithms[];

#endif
