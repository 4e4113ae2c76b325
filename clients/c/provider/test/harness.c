/* The harness, see harness.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include "harness.h"
#include "require.h"

extern OSSL_provider_init_fn OSSL_provider_init;

OSSL_LIB_CTX *new_context(const char *socket_path, const char *lines, const char *properties) {
    char file[] = "/tmp/keyagent-test-cnf-XXXXXX";
    FILE *out = fdopen(mkstemp(file), "w");
    require(out != NULL, "no configuration file");
    fprintf(out,
            "openssl_conf = init\n[init]\nproviders = providers\nalg_section = evp\n"
            "[evp]\n%s%s\n[providers]\ndefault = default_sect\nkeyagent = keyagent_sect\n"
            "[default_sect]\nactivate = 1\n[keyagent_sect]\nactivate = 1\nsocket = %s\n%s\n",
            properties == NULL ? "" : "default_properties = ", properties == NULL ? "" : properties,
            socket_path, lines);
    fclose(out);
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    require(OSSL_PROVIDER_add_builtin(context, "keyagent", OSSL_provider_init) == 1,
            "the provider is not built in");
    int loaded = OSSL_LIB_CTX_load_config(context, file);
    unlink(file);
    if (loaded == 1) return context;
    ERR_print_errors_fp(stderr);
    OSSL_LIB_CTX_free(context);
    return NULL;
}

int harness_setup(void **state) {
    unsetenv("KEYAGENT_SOCK");
    struct harness *harness = calloc(1, sizeof(*harness));
    require(harness != NULL, "no memory for the harness");
    agent_with_keys_start(&harness->agent);
    harness->context = new_context(harness->agent.wire.path, "", NULL);
    require(harness->context != NULL, "the provider does not load");
    *state = harness;
    return 0;
}

int harness_teardown(void **state) {
    struct harness *harness = *state;
    OSSL_LIB_CTX_free(harness->context);
    agent_with_keys_end(&harness->agent);
    free(harness);
    return 0;
}

int no_error_is_left(void **state) {
    struct harness *harness = *state;
    atomic_store(&harness->agent.refusal, KA_OK);
    if (ERR_peek_error() == 0) return 0;
    ERR_print_errors_fp(stderr);
    return -1;
}

EVP_PKEY *load_key(OSSL_LIB_CTX *context, const char *uri) {
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, context, NULL, NULL, NULL, NULL, NULL, NULL);
    if (store == NULL) return NULL;
    OSSL_STORE_INFO *object = OSSL_STORE_load(store);
    if (object != NULL) key = OSSL_STORE_INFO_get1_PKEY(object);
    OSSL_STORE_INFO_free(object);
    OSSL_STORE_close(store);
    return key;
}

EVP_PKEY *load_named(const struct harness *harness, int which) {
    char uri[64];
    snprintf(uri, sizeof(uri), "pkcs11:token=t;object=%s;type=private", key_names[which]);
    EVP_PKEY *key = load_key(harness->context, uri);
    require(key != NULL, "a key of the agent does not load");
    return key;
}

EVP_MD_CTX *start_signature(const struct harness *harness, EVP_PKEY *key, const char *hash,
                            EVP_PKEY_CTX **params) {
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit_ex(operation, params, hash, harness->context, NULL, key, NULL), 1);
    return operation;
}

unsigned requests(const struct harness *harness) {
    return atomic_load(&harness->agent.wire.requests);
}

void assert_error(const char *reason, const char *text) {
    const char *data = "", *found = NULL;
    int flags;
    unsigned long code;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        const char *library = ERR_lib_error_string(code);
        if (library == NULL || strcmp(library, "keyagent") != 0) continue;
        found = ERR_reason_error_string(code);
        break;
    }
    assert_non_null(found);
    assert_string_equal(found, reason);
    if (strstr(data, text) == NULL) fail_msg("\"%s\" does not say \"%s\"", data, text);
    ERR_clear_error();
}

bool verifies(const struct harness *harness, int which, const char *hash, int padding, const void *message,
              size_t message_len, const uint8_t *sig, size_t sig_len) {
    const struct agent_with_keys *agent = &harness->agent;
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params;
    bool good = EVP_DigestVerifyInit_ex(operation, &params, hash, agent->context, NULL, agent->keys[which],
                                        NULL) == 1;
    if (padding != 0) EVP_PKEY_CTX_set_rsa_padding(params, padding);
    if (padding == RSA_PKCS1_PSS_PADDING) EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST);
    good = good && EVP_DigestVerify(operation, sig, sig_len, message, message_len) == 1;
    EVP_MD_CTX_free(operation);
    if (!good) ERR_clear_error();
    return good;
}
