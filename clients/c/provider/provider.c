/*
 * The provider's entry: takes the core's upcalls and the configuration, answers which algorithms there are.
 * Loading does no I/O and starts no thread; teardown frees memory and nothing else, for it also runs in
 * forked children that never used the provider.
 *
 * Configuration (openssl.cnf, section of the provider):
 *   socket = PATH              the agent's socket; the environment's KEYAGENT_SOCK wins
 *   export = refuse | public   what a program gets that takes a key pair apart; see keymgmt.c
 *   log = none | stderr        where it is said that a key was not loaded, beside libcrypto's error queue
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include "param.h"
#include "provider.h"

#define PROVIDER_NAME "keyagent"

ka_client *kp_provider_client(kp_provider *provider) {
    ka_client *client = atomic_load(&provider->client);
    if (client != NULL) return client;
    if (provider->bad_setting != NULL) {
        kp_raise_loading(provider, KA_ERR_INVALID, "openssl.cnf says %s", provider->bad_setting);
        return NULL;
    }

    /* The library reads the environment itself: it knows when the environment must not be trusted. */
    const char *path = secure_getenv("KEYAGENT_SOCK") != NULL ? NULL : provider->socket_path;
    ka_error error;
    if (ka_client_new(path, &client, &error) != KA_OK) {
        kp_raise_loading(provider, error.code, "%s", error.message);
        return NULL;
    }
    /* No lock: one held by another thread while the process forks would never be released in the child. */
    ka_client *winner = NULL;
    if (atomic_compare_exchange_strong(&provider->client, &winner, client)) return client;
    ka_client_free(client);
    return winner;
}

static OSSL_FUNC_provider_gettable_params_fn provider_gettable_params;
static const OSSL_PARAM *provider_gettable_params(void *context) {
    (void)context;
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_uint(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END,
    };
    return gettable;
}

static OSSL_FUNC_provider_get_params_fn provider_get_params;
static int provider_get_params(void *context, OSSL_PARAM params[]) {
    (void)context;
    return kp_param_reply_text(params, OSSL_PROV_PARAM_NAME, PROVIDER_NAME) &&
           kp_param_reply_text(params, OSSL_PROV_PARAM_VERSION, KEYAGENT_VERSION) &&
           kp_param_reply_text(params, OSSL_PROV_PARAM_BUILDINFO, KEYAGENT_VERSION) &&
           kp_param_reply_uint(params, OSSL_PROV_PARAM_STATUS, 1);
}

static OSSL_FUNC_provider_query_operation_fn provider_query_operation;
static const OSSL_ALGORITHM *provider_query_operation(void *context, int operation, int *no_store) {
    (void)context;
    *no_store = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return kp_keymgmt_algorithms;
    case OSSL_OP_SIGNATURE:
        return kp_signature_algorithms;
    case OSSL_OP_ASYM_CIPHER:
        return kp_asym_cipher_algorithms;
    case OSSL_OP_DECODER:
        return kp_decoder_algorithms;
    case OSSL_OP_STORE:
        return kp_store_algorithms;
    default:
        return NULL;
    }
}

static OSSL_FUNC_provider_get_reason_strings_fn provider_get_reason_strings;
static const OSSL_ITEM *provider_get_reason_strings(void *context) {
    (void)context;
    return kp_error_reasons();
}

static OSSL_FUNC_provider_teardown_fn provider_teardown;
static void provider_teardown(void *context) {
    kp_provider *provider = context;
    ka_client_free(atomic_load(&provider->client));
    free(provider->socket_path);
    free(provider->bad_setting);
    free(provider);
}

static const OSSL_DISPATCH provider_functions[] = {
    KP_FUNCTION(OSSL_FUNC_PROVIDER_TEARDOWN, provider_teardown),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, provider_gettable_params),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_GET_PARAMS, provider_get_params),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, provider_query_operation),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_GET_REASON_STRINGS, provider_get_reason_strings),
    KP_END,
};

static bool take_upcalls(kp_core *core, const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in) {
    core->handle = handle;
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            core->get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            core->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            core->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            core->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_BIO_GETS:
            core->bio_gets = OSSL_FUNC_BIO_gets(in);
            break;
        case OSSL_FUNC_BIO_READ_EX:
            core->bio_read_ex = OSSL_FUNC_BIO_read_ex(in);
            break;
        default:
            break;
        }
    }
    return core->get_params != NULL && core->new_error != NULL && core->set_error_debug != NULL &&
           core->vset_error != NULL && core->bio_gets != NULL && core->bio_read_ex != NULL;
}

/* Copies text that may change once we return. */
static bool copy_text(const char *text, char **out) {
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL;
}

/* Whether `word` is the second of two; another word than either is remembered. A wrong one is kept for the
 * first use of a key: libcrypto drops a provider that fails here without a word. */
static bool read_choice(kp_provider *provider, const char *name, const char *word, const char *no,
                        const char *yes, bool *chosen) {
    *chosen = strcmp(word, yes) == 0;
    if (*chosen || strcmp(word, no) == 0 || provider->bad_setting != NULL) return true;
    return asprintf(&provider->bad_setting, "%s = %s: write %s or %s", name, word, no, yes) > 0;
}

static bool read_configuration(kp_provider *provider) {
    const char *socket_path = NULL, *export = "refuse", *log = "none";
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_ptr("socket", &socket_path, 0),
        OSSL_PARAM_utf8_ptr("export", &export, 0),
        OSSL_PARAM_utf8_ptr("log", &log, 0),
        OSSL_PARAM_END,
    };
    return provider->core.get_params(provider->core.handle, params) &&
           copy_text(socket_path, &provider->socket_path) &&
           read_choice(provider, "export", export, "refuse", "public", &provider->export_public) &&
           read_choice(provider, "log", log, "none", "stderr", &provider->logs);
}

KA_API int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                              const OSSL_DISPATCH **out, void **context) {
    kp_provider *provider = calloc(1, sizeof(*provider));
    if (provider == NULL) return 0;
    if (getrandom(provider->mark, sizeof(provider->mark), 0) != (ssize_t)sizeof(provider->mark) ||
        !take_upcalls(&provider->core, handle, in) || !read_configuration(provider)) {
        provider_teardown(provider);
        return 0;
    }
    *context = provider;
    *out = provider_functions;
    return 1;
}
