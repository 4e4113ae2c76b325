/* RSA decryption through libcrypto, of what a libcrypto that does not know the provider encrypted. */
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include "harness.h"

static const char *const hashes[] = {"SHA1", "SHA256", "SHA384", "SHA512"};

/* Encrypts with the RSA key; answers the ciphertext's length. */
static size_t encrypt(const struct harness *harness, int padding, const char *hash, const void *plaintext,
                      size_t plaintext_len, uint8_t out[256]) {
    const struct agent_with_keys *agent = &harness->agent;
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(agent->context, agent->keys[RSA_KEY], NULL);
    size_t len = 256;
    assert_int_equal(EVP_PKEY_encrypt_init(operation), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(operation, padding), 1);
    if (hash != NULL) assert_int_equal(EVP_PKEY_CTX_ctrl_str(operation, "rsa_oaep_md", hash), 1);
    assert_int_equal(EVP_PKEY_encrypt(operation, out, &len, plaintext, plaintext_len), 1);
    EVP_PKEY_CTX_free(operation);
    return len;
}

/* A decryption with the agent's key; the key is the operation's from now on. */
static EVP_PKEY_CTX *start(const struct harness *harness) {
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(harness->context, key, NULL);
    EVP_PKEY_free(key);
    assert_int_equal(EVP_PKEY_decrypt_init(operation), 1);
    return operation;
}

static EVP_PKEY_CTX *start_oaep(const struct harness *harness, const char *hash) {
    EVP_PKEY_CTX *operation = start(harness);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(operation, RSA_PKCS1_OAEP_PADDING), 1);
    if (hash != NULL) assert_int_equal(EVP_PKEY_CTX_ctrl_str(operation, "rsa_oaep_md", hash), 1);
    return operation;
}

static void oaep_with_each_hash_brings_the_plaintext_back(void **state) {
    const struct harness *harness = *state;
    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        uint8_t ciphertext[256], plaintext[256];
        size_t ciphertext_len = encrypt(harness, RSA_PKCS1_OAEP_PADDING, hashes[i], "secret", 6, ciphertext);
        size_t len = sizeof(plaintext);
        EVP_PKEY_CTX *operation = start_oaep(harness, hashes[i]);
        assert_int_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, ciphertext_len), 1);
        assert_int_equal(len, 6);
        assert_memory_equal(plaintext, "secret", 6);
        EVP_PKEY_CTX_free(operation);
    }
}

static void sha1_is_oaeps_default_as_in_libcrypto(void **state) {
    const struct harness *harness = *state;
    uint8_t ciphertext[256], plaintext[256];
    size_t len = sizeof(plaintext);
    encrypt(harness, RSA_PKCS1_OAEP_PADDING, NULL, "secret", 6, ciphertext);
    EVP_PKEY_CTX *operation = start_oaep(harness, NULL);
    assert_int_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, 256), 1);
    assert_string_equal(harness->agent.algorithm, "rsa-oaep-sha1");
    EVP_PKEY_CTX_free(operation);
}

static void a_plaintexts_size_is_told_without_asking_the_agent(void **state) {
    const struct harness *harness = *state;
    static const uint8_t ciphertext[256];
    size_t len = 0;
    EVP_PKEY_CTX *operation = start_oaep(harness, "SHA256");
    unsigned before = requests(harness);
    assert_int_equal(EVP_PKEY_decrypt(operation, NULL, &len, ciphertext, sizeof(ciphertext)), 1);
    assert_int_equal(len, 256);
    assert_int_equal(requests(harness), before);
    EVP_PKEY_CTX_free(operation);
}

static void a_plaintext_that_does_not_fit_is_refused(void **state) {
    const struct harness *harness = *state;
    uint8_t ciphertext[256], plaintext[5];
    size_t len = sizeof(plaintext);
    encrypt(harness, RSA_PKCS1_OAEP_PADDING, "SHA256", "secret", 6, ciphertext);
    EVP_PKEY_CTX *operation = start_oaep(harness, "SHA256");
    assert_int_not_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, 256), 1);
    assert_error("BUFFER TOO SMALL", "");
    EVP_PKEY_CTX_free(operation);
}

static void a_ciphertext_that_does_not_decrypt_is_said_to_be_so(void **state) {
    const struct harness *harness = *state;
    uint8_t ciphertext[256], plaintext[256];
    size_t len = sizeof(plaintext);
    encrypt(harness, RSA_PKCS1_OAEP_PADDING, "SHA256", "secret", 6, ciphertext);
    EVP_PKEY_CTX *operation = start_oaep(harness, "SHA384");
    assert_int_not_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, 256), 1);
    assert_error("DECRYPT FAILED", "");
    EVP_PKEY_CTX_free(operation);
}

static void a_copied_decryption_goes_its_own_way(void **state) {
    const struct harness *harness = *state;
    uint8_t ciphertext[256], plaintext[256];
    size_t len = sizeof(plaintext);
    encrypt(harness, RSA_PKCS1_OAEP_PADDING, "SHA256", "secret", 6, ciphertext);
    EVP_PKEY_CTX *operation = start_oaep(harness, "SHA256"), *copy = EVP_PKEY_CTX_dup(operation);
    assert_non_null(copy);
    EVP_PKEY_CTX_free(operation);
    assert_int_equal(EVP_PKEY_decrypt(copy, plaintext, &len, ciphertext, 256), 1);
    EVP_PKEY_CTX_free(copy);
}

static void a_label_and_a_second_hash_are_refused(void **state) {
    const struct harness *harness = *state;
    static const uint8_t ciphertext[256];
    uint8_t plaintext[256];
    size_t len = sizeof(plaintext);
    EVP_PKEY_CTX *operation = start_oaep(harness, "SHA256");
    assert_int_not_equal(EVP_PKEY_CTX_ctrl_str(operation, "rsa_oaep_label", "6162"), 1);
    assert_error("UNSUPPORTED", "label");
    assert_int_equal(EVP_PKEY_CTX_ctrl_str(operation, "rsa_mgf1_md", "SHA1"), 1);
    assert_int_not_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, 256), 1);
    assert_error("UNSUPPORTED", "MGF1 hash");
    assert_int_not_equal(EVP_PKEY_CTX_ctrl_str(operation, "rsa_oaep_md", "SHA224"), 1);
    assert_error("UNSUPPORTED", "OAEP takes");
    EVP_PKEY_CTX_free(operation);
}

/* Also when it is libcrypto's default: nobody asks the agent with it. */
static void pkcs1_and_raw_decryption_are_refused(void **state) {
    const struct harness *harness = *state;
    uint8_t ciphertext[256], plaintext[256];
    size_t len = sizeof(plaintext);
    encrypt(harness, RSA_PKCS1_PADDING, NULL, "secret", 6, ciphertext);
    EVP_PKEY_CTX *operation = start(harness);
    unsigned before = requests(harness);
    assert_int_not_equal(EVP_PKEY_decrypt(operation, plaintext, &len, ciphertext, 256), 1);
    assert_error("UNSUPPORTED", "PKCS#1 v1.5 decryption is refused");
    assert_int_not_equal(EVP_PKEY_CTX_set_rsa_padding(operation, RSA_NO_PADDING), 1);
    assert_error("UNSUPPORTED", "RSA-OAEP and TLS premasters only");
    assert_int_equal(requests(harness), before);
    EVP_PKEY_CTX_free(operation);
}

/* As libssl does it for an RSA key exchange. */
static void a_tls_premaster_is_decrypted_with_its_versions(void **state) {
    const struct harness *harness = *state;
    uint8_t premaster[KA_TLS_PREMASTER_SIZE] = {3, 3, 'p', 'r', 'e'}, ciphertext[256], out[256];
    size_t len = sizeof(out);
    unsigned client = 0x0303, negotiated = 0x0302;
    encrypt(harness, RSA_PKCS1_PADDING, NULL, premaster, sizeof(premaster), ciphertext);
    EVP_PKEY_CTX *operation = start(harness);
    OSSL_PARAM params[] = {OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &client),
                           OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, &negotiated),
                           OSSL_PARAM_END};
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(operation, RSA_PKCS1_WITH_TLS_PADDING), 1);
    assert_int_equal(EVP_PKEY_CTX_set_params(operation, params), 1);
    assert_int_equal(EVP_PKEY_decrypt(operation, NULL, &len, ciphertext, 256), 1);
    assert_int_equal(len, sizeof(premaster));
    len = sizeof(out);
    assert_int_equal(EVP_PKEY_decrypt(operation, out, &len, ciphertext, 256), 1);
    assert_int_equal(len, sizeof(premaster));
    assert_memory_equal(out, premaster, sizeof(premaster));
    assert_string_equal(harness->agent.algorithm, "rsa-pkcs1-tls");
    assert_int_equal(harness->agent.client_version, 0x0303);
    assert_int_equal(harness->agent.negotiated_version, 0x0302);

    len = sizeof(premaster) - 1;
    assert_int_not_equal(EVP_PKEY_decrypt(operation, out, &len, ciphertext, 256), 1);
    assert_error("BUFFER TOO SMALL", "48");
    EVP_PKEY_CTX_free(operation);
}

static void a_version_that_is_none_is_refused(void **state) {
    const struct harness *harness = *state;
    unsigned version = 0x10000;
    EVP_PKEY_CTX *operation = start(harness);
    OSSL_PARAM params[] = {OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, &version),
                           OSSL_PARAM_END};
    assert_int_not_equal(EVP_PKEY_CTX_set_params(operation, params), 1);
    EVP_PKEY_CTX_free(operation);
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(oaep_with_each_hash_brings_the_plaintext_back),
        TEST(sha1_is_oaeps_default_as_in_libcrypto),
        TEST(a_plaintexts_size_is_told_without_asking_the_agent),
        TEST(a_plaintext_that_does_not_fit_is_refused),
        TEST(a_ciphertext_that_does_not_decrypt_is_said_to_be_so),
        TEST(a_copied_decryption_goes_its_own_way),
        TEST(a_label_and_a_second_hash_are_refused),
        TEST(pkcs1_and_raw_decryption_are_refused),
        TEST(a_tls_premaster_is_decrypted_with_its_versions),
        TEST(a_version_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
