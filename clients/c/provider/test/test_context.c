/* Keys that are copied and freed in any order; contexts and providers beside each other. */
#include <openssl/evp.h>
#include "harness.h"

static bool signs(const struct harness *harness, OSSL_LIB_CTX *context, EVP_PKEY *key, int which) {
    uint8_t sig[512];
    size_t len = sizeof(sig);
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    const char *hash = which == ED25519_KEY ? NULL : "SHA256";
    bool good = EVP_DigestSignInit_ex(operation, NULL, hash, context, NULL, key, NULL) == 1 &&
                EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1) == 1 &&
                verifies(harness, which, hash, 0, "m", 1, sig, len);
    EVP_MD_CTX_free(operation);
    return good;
}

static void a_copy_of_a_key_outlives_it_and_asks_the_agent_nothing(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *key = load_named(harness, which);
        unsigned before = requests(harness);
        EVP_PKEY *copy = EVP_PKEY_dup(key);
        assert_non_null(copy);
        assert_int_equal(requests(harness), before);
        assert_int_equal(EVP_PKEY_eq(key, copy), 1);
        EVP_PKEY_free(key);
        EVP_PKEY *second = EVP_PKEY_dup(copy);
        assert_true(signs(harness, harness->context, copy, which));
        EVP_PKEY_free(copy);
        assert_true(signs(harness, harness->context, second, which));
        EVP_PKEY_free(second);
    }
}

static void a_key_outlives_the_store_and_a_signature_the_key(void **state) {
    const struct harness *harness = *state;
    uint8_t sig[256];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", NULL);
    EVP_PKEY_free(key);
    assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1), 1);
    EVP_MD_CTX_free(operation);
}

static void contexts_use_their_keys_side_by_side_and_end_alone(void **state) {
    const struct harness *harness = *state;
    enum { CONTEXTS = 3 };
    OSSL_LIB_CTX *contexts[CONTEXTS];
    EVP_PKEY *keys[CONTEXTS];
    unsigned before = atomic_load(&harness->agent.wire.accepted);
    for (int i = 0; i < CONTEXTS; i++) {
        contexts[i] = new_context(harness->agent.wire.path, "", NULL);
        keys[i] = load_key(contexts[i], "pkcs11:object=p256");
    }
    assert_int_equal(atomic_load(&harness->agent.wire.accepted), before + CONTEXTS);
    for (int i = 0; i < CONTEXTS; i++) {
        for (int other = i; other < CONTEXTS; other++)
            assert_true(signs(harness, contexts[other], keys[other], P256_KEY));
        EVP_PKEY_free(keys[i]);
        OSSL_LIB_CTX_free(contexts[i]);
    }
    EVP_PKEY *key = load_named(harness, P256_KEY);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    EVP_PKEY_free(key);
}

/* A configuration that names the provider, and a program that asks for it by name. */
static void the_provider_is_loaded_again_and_unloaded_once(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "", NULL);
    OSSL_PROVIDER *again = OSSL_PROVIDER_load(context, "keyagent");
    assert_non_null(again);
    EVP_PKEY *key = load_key(context, "pkcs11:object=p256");
    assert_int_equal(OSSL_PROVIDER_unload(again), 1);
    assert_true(signs(harness, context, key, P256_KEY));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(context);
}

extern OSSL_provider_init_fn OSSL_provider_init;

/* Two configurations put together. The second finds the agent through KEYAGENT_SOCK or not at all. */
static void the_provider_is_loaded_under_two_names(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "", NULL);
    assert_int_equal(OSSL_PROVIDER_add_builtin(context, "second", OSSL_provider_init), 1);
    OSSL_PROVIDER *second = OSSL_PROVIDER_load(context, "second");
    assert_non_null(second);
    EVP_PKEY *key = load_key(context, "pkcs11:object=p256");
    assert_true(signs(harness, context, key, P256_KEY));
    assert_int_equal(OSSL_PROVIDER_unload(second), 1);
    assert_true(signs(harness, context, key, P256_KEY));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(context);
}

static void the_legacy_provider_works_beside_it(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "", NULL);
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t len = 0;
    EVP_PKEY *key = load_key(context, "pkcs11:object=rsa");
    assert_int_equal(EVP_Q_digest(context, "MD4", NULL, "m", 1, digest, &len), 0);
    ERR_clear_error();
    OSSL_PROVIDER *legacy = OSSL_PROVIDER_load(context, "legacy");
    assert_non_null(legacy);
    assert_int_equal(EVP_Q_digest(context, "MD4", NULL, "m", 1, digest, &len), 1);
    assert_int_equal(len, 16);
    assert_true(signs(harness, context, key, RSA_KEY));
    assert_int_equal(OSSL_PROVIDER_unload(legacy), 1);
    assert_true(signs(harness, context, key, RSA_KEY));
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(context);
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_copy_of_a_key_outlives_it_and_asks_the_agent_nothing),
        TEST(a_key_outlives_the_store_and_a_signature_the_key),
        TEST(contexts_use_their_keys_side_by_side_and_end_alone),
        TEST(the_provider_is_loaded_again_and_unloaded_once),
        TEST(the_provider_is_loaded_under_two_names),
        TEST(the_legacy_provider_works_beside_it),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
