/* A signature's parameters: which are taken, which are refused and why, and what is told back. */
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include "harness.h"

static const char *const hashes[] = {"SHA256", "SHA384", "SHA512"};

static void pss_salts_are_as_long_as_the_hash(void **state) {
    const struct harness *harness = *state;
    static const struct {
        const char *salt;
        bool taken;
    } cases[] = {{NULL, true},   {"digest", true}, {"auto", true}, {"32", true}, {"-1", true},
                 {"max", false}, {"0", false},     {"20", false},  {"48", false}};
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t sig[256];
        size_t len = sizeof(sig);
        EVP_PKEY_CTX *params;
        EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", &params);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING), 1);
        if (cases[i].salt != NULL)
            assert_int_equal(EVP_PKEY_CTX_ctrl_str(params, "rsa_pss_saltlen", cases[i].salt), 1);
        assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1), cases[i].taken);
        if (cases[i].taken)
            assert_true(verifies(harness, RSA_KEY, "SHA256", RSA_PKCS1_PSS_PADDING, "m", 1, sig, len));
        else
            assert_error("UNSUPPORTED", "PSS salts are as long as the hash");
        EVP_MD_CTX_free(operation);
    }
    EVP_PKEY_free(key);
}

static void what_the_agent_does_not_sign_is_refused_with_a_reason(void **state) {
    const struct harness *harness = *state;
    static const struct {
        const char *hash, *setting, *value, *text;
    } cases[] = {
        {"SHA1", NULL, NULL, "SHA-1 signatures are refused"},
        {"SHA256", "rsa_mgf1_md", "SHA512", "MGF1 hash"},
        {"SHA256", "rsa_padding_mode", "none", "PKCS#1 v1.5 or PSS"},
        {"SHA256", "rsa_padding_mode", "x931", "PKCS#1 v1.5 or PSS"},
    };
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t sig[256];
        size_t len = sizeof(sig);
        EVP_PKEY_CTX *params;
        unsigned before = requests(harness);
        EVP_MD_CTX *operation = start_signature(harness, key, cases[i].hash, &params);
        EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING);
        bool set =
            cases[i].setting == NULL || EVP_PKEY_CTX_ctrl_str(params, cases[i].setting, cases[i].value) == 1;
        assert_false(set && EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1) == 1);
        assert_error("UNSUPPORTED", cases[i].text);
        assert_int_equal(requests(harness), before);
        EVP_MD_CTX_free(operation);
    }
    EVP_PKEY_free(key);
}

static void an_unknown_digest_is_refused_at_once(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY *keys[] = {load_named(harness, RSA_KEY), load_named(harness, P256_KEY),
                        load_named(harness, ED25519_KEY)};
    static const char *const names[] = {"MD5", "SHA224", "SHA256"};
    for (size_t i = 0; i < 3; i++) {
        EVP_MD_CTX *operation = EVP_MD_CTX_new();
        assert_int_equal(
            EVP_DigestSignInit_ex(operation, NULL, names[i], harness->context, NULL, keys[i], NULL), 0);
        assert_error("UNSUPPORTED", names[i]);
        EVP_MD_CTX_free(operation);
        EVP_PKEY_free(keys[i]);
    }
}

static void parameters_after_the_first_byte_are_refused(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY_CTX *params;
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", &params);
    assert_int_equal(EVP_DigestSignUpdate(operation, "m", 1), 1);
    assert_int_not_equal(EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING), 1);
    assert_error("INVALID", "come before its message");
    EVP_MD_CTX_free(operation);
    EVP_PKEY_free(key);
}

static void the_algorithm_identifier_is_the_default_providers(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *keys[] = {load_named(harness, which), harness->agent.keys[which]};
        OSSL_LIB_CTX *contexts[] = {harness->context, harness->agent.context};
        for (size_t i = 0; i < 6; i++) {
            uint8_t ids[2][128];
            size_t lens[2];
            bool pss = i >= 3;
            if (pss && which != RSA_KEY) continue;
            for (int side = 0; side < 2; side++) {
                EVP_PKEY_CTX *params;
                EVP_MD_CTX *operation = EVP_MD_CTX_new();
                assert_int_equal(EVP_DigestSignInit_ex(operation, &params,
                                                       which == ED25519_KEY ? NULL : hashes[i % 3],
                                                       contexts[side], NULL, keys[side], NULL),
                                 1);
                if (pss) {
                    EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING);
                    EVP_PKEY_CTX_set_rsa_pss_saltlen(params, RSA_PSS_SALTLEN_DIGEST);
                }
                OSSL_PARAM ask[] = {
                    OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, ids[side], 128),
                    OSSL_PARAM_END};
                assert_int_equal(EVP_PKEY_CTX_get_params(params, ask), 1);
                lens[side] = ask[0].return_size;
                EVP_MD_CTX_free(operation);
            }
            assert_int_equal(lens[0], lens[1]);
            assert_memory_equal(ids[0], ids[1], lens[0]);
        }
        EVP_PKEY_free(keys[0]);
    }
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(pss_salts_are_as_long_as_the_hash),
        TEST(what_the_agent_does_not_sign_is_refused_with_a_reason),
        TEST(an_unknown_digest_is_refused_at_once),
        TEST(parameters_after_the_first_byte_are_refused),
        TEST(the_algorithm_identifier_is_the_default_providers),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
