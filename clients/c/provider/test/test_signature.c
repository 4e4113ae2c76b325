/* Signatures through libcrypto: each is verified by a libcrypto that does not know the provider. */
#include <string.h>
#include "harness.h"

static const char *const hashes[] = {"SHA256", "SHA384", "SHA512"};

static const char *hash_for(int which) {
    return which == ED25519_KEY ? NULL : "SHA256";
}

static void a_message_in_one_piece_is_signed_with_every_key(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        for (size_t i = 0; i < (which == ED25519_KEY ? 1 : 3); i++) {
            const char *hash = which == ED25519_KEY ? NULL : hashes[i];
            uint8_t sig[512];
            size_t len = sizeof(sig);
            EVP_PKEY *key = load_named(harness, which);
            EVP_MD_CTX *operation = start_signature(harness, key, hash, NULL);
            assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"message", 7), 1);
            assert_true(verifies(harness, which, hash, 0, "message", 7, sig, len));
            assert_false(verifies(harness, which, hash, 0, "messagf", 7, sig, len));
            assert_string_equal(harness->agent.payload_kind, "message");
            EVP_MD_CTX_free(operation);
            EVP_PKEY_free(key);
        }
    }
}

static void a_message_in_pieces_is_sent_whole_up_to_8_KiB_and_hashed_beyond(void **state) {
    const struct harness *harness = *state;
    static const size_t sizes[] = {0, 1, 8191, 8192, 8193, 100000};
    static uint8_t message[100000];
    memset(message, 'm', sizeof(message));
    for (int which = RSA_KEY; which <= P521_KEY; which++) {
        EVP_PKEY *key = load_named(harness, which);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint8_t sig[512];
            size_t len = sizeof(sig);
            EVP_MD_CTX *operation = start_signature(harness, key, "SHA384", NULL);
            for (size_t done = 0; done < sizes[i]; done += 1000) {
                size_t step = sizes[i] - done < 1000 ? sizes[i] - done : 1000;
                assert_int_equal(EVP_DigestSignUpdate(operation, message + done, step), 1);
            }
            assert_int_equal(EVP_DigestSignFinal(operation, sig, &len), 1);
            assert_true(verifies(harness, which, "SHA384", 0, message, sizes[i], sig, len));
            assert_string_equal(harness->agent.payload_kind, sizes[i] <= 8192 ? "message" : "digest");
            assert_int_equal(harness->agent.payload_len, sizes[i] <= 8192 ? sizes[i] : 48);
            EVP_MD_CTX_free(operation);
        }
        EVP_PKEY_free(key);
    }
}

static void the_last_piece_may_come_in_one_call_with_the_signature(void **state) {
    const struct harness *harness = *state;
    for (int which = RSA_KEY; which <= P521_KEY; which++) {
        uint8_t sig[512];
        size_t len = sizeof(sig);
        EVP_PKEY *key = load_named(harness, which);
        EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", NULL);
        assert_int_equal(EVP_DigestSignUpdate(operation, "mess", 4), 1);
        assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"age", 3), 1);
        assert_true(verifies(harness, which, "SHA256", 0, "message", 7, sig, len));
        EVP_MD_CTX_free(operation);
        EVP_PKEY_free(key);
    }
}

static void ed25519_refuses_a_message_beyond_8_KiB(void **state) {
    const struct harness *harness = *state;
    static const uint8_t message[8193];
    uint8_t sig[64];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load_named(harness, ED25519_KEY);
    EVP_MD_CTX *operation = start_signature(harness, key, NULL, NULL);
    assert_int_equal(EVP_DigestSign(operation, sig, &len, message, sizeof(message)), 0);
    assert_error("TOO LARGE", "8192");
    EVP_MD_CTX_free(operation);
    EVP_PKEY_free(key);
}

static void a_size_is_told_without_asking_the_agent(void **state) {
    const struct harness *harness = *state;
    static const size_t sizes[KEY_COUNT] = {256, 72, 104, 139, 64};
    for (int which = 0; which < KEY_COUNT; which++) {
        size_t len = 0;
        EVP_PKEY *key = load_named(harness, which);
        unsigned before = requests(harness);
        EVP_MD_CTX *operation = start_signature(harness, key, hash_for(which), NULL);
        assert_int_equal(EVP_DigestSign(operation, NULL, &len, (const uint8_t *)"m", 1), 1);
        assert_int_equal(len, sizes[which]);
        if (which != ED25519_KEY) {
            assert_int_equal(EVP_DigestSignUpdate(operation, "m", 1), 1);
            assert_int_equal(EVP_DigestSignFinal(operation, NULL, &len), 1);
            assert_int_equal(len, sizes[which]);
        }
        assert_int_equal(requests(harness), before);
        EVP_MD_CTX_free(operation);
        EVP_PKEY_free(key);
    }
}

static void a_copied_signature_goes_its_own_way(void **state) {
    const struct harness *harness = *state;
    uint8_t first[256], second[256];
    size_t first_len = sizeof(first), second_len = sizeof(second);
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", NULL), *copy = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignUpdate(operation, "one", 3), 1);
    assert_int_equal(EVP_MD_CTX_copy_ex(copy, operation), 1);
    assert_int_equal(EVP_DigestSignUpdate(operation, " two", 4), 1);
    assert_int_equal(EVP_DigestSignUpdate(copy, " three", 6), 1);
    assert_int_equal(EVP_DigestSignFinal(operation, first, &first_len), 1);
    EVP_MD_CTX_free(operation);
    EVP_PKEY_free(key);
    assert_int_equal(EVP_DigestSignFinal(copy, second, &second_len), 1);
    EVP_MD_CTX_free(copy);
    assert_true(verifies(harness, RSA_KEY, "SHA256", 0, "one two", 7, first, first_len));
    assert_true(verifies(harness, RSA_KEY, "SHA256", 0, "one three", 9, second, second_len));
}

/* Each by a setting of an RSA signature, "name:value", or by its digest. */
/* EVP_PKEY_sign over `digest`; NULL hash: unnamed. Answers the signature's length, 0 if it was refused. */
static size_t sign_digest(const struct harness *harness, EVP_PKEY *key, const char *hash,
                          const uint8_t *digest, size_t digest_len, uint8_t sig[512]) {
    size_t len = 512;
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(harness->context, key, NULL);
    assert_int_equal(EVP_PKEY_sign_init(operation), 1);
    if (hash != NULL) assert_int_equal(EVP_PKEY_CTX_ctrl_str(operation, "digest", hash), 1);
    bool signs = EVP_PKEY_sign(operation, sig, &len, digest, digest_len) == 1;
    EVP_PKEY_CTX_free(operation);
    return signs ? len : 0;
}

static void a_digest_is_signed(void **state) {
    const struct harness *harness = *state;
    for (int which = RSA_KEY; which <= P521_KEY; which++) {
        EVP_PKEY *key = load_named(harness, which);
        for (size_t i = 0; i < 3; i++) {
            uint8_t digest[64], sig[512];
            size_t digest_len;
            EVP_Q_digest(harness->context, hashes[i], NULL, "message", 7, digest, &digest_len);
            size_t len = sign_digest(harness, key, hashes[i], digest, digest_len, sig);
            assert_true(verifies(harness, which, hashes[i], 0, "message", 7, sig, len));
            assert_string_equal(harness->agent.payload_kind, "digest");
            if (which == RSA_KEY) continue;
            len = sign_digest(harness, key, NULL, digest, digest_len, sig); /* ECDSA: the length names it */
            assert_true(verifies(harness, which, hashes[i], 0, "message", 7, sig, len));
        }
        EVP_PKEY_free(key);
    }
}

static void raw_data_is_not_signed(void **state) {
    const struct harness *harness = *state;
    static const uint8_t data[64];
    uint8_t sig[512];
    EVP_PKEY *rsa = load_named(harness, RSA_KEY), *p256 = load_named(harness, P256_KEY);
    assert_int_equal(sign_digest(harness, rsa, NULL, data, 32, sig), 0);
    assert_error("UNSUPPORTED", "name the digest");
    assert_int_equal(sign_digest(harness, p256, NULL, data, 20, sig), 0);
    assert_error("UNSUPPORTED", "SHA-1");
    assert_int_equal(sign_digest(harness, rsa, "SHA256", data, 31, sig), 0);
    assert_error("INVALID", "");
    assert_int_equal(sign_digest(harness, p256, "SHA256", data, 48, sig), 0);
    assert_error("INVALID", "");
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(p256);
}

static void a_buffer_that_is_too_small_is_refused(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        uint8_t sig[512];
        size_t len = 40;
        EVP_PKEY *key = load_named(harness, which);
        EVP_MD_CTX *operation = start_signature(harness, key, hash_for(which), NULL);
        assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1), 0);
        assert_error("BUFFER TOO SMALL", "");
        EVP_MD_CTX_free(operation);
        EVP_PKEY_free(key);
    }
}

/* What libcrypto writes into certificates is what its own provider would have written. */
static void the_agents_refusal_is_the_reason(void **state) {
    struct harness *harness = *state;
    static const struct {
        ka_status status;
        const char *reason;
    } cases[] = {{KA_ERR_LOCKED, "LOCKED"},
                 {KA_ERR_DENIED, "DENIED"},
                 {KA_ERR_MECHANISM, "MECHANISM NOT AVAILABLE"},
                 {KA_ERR_TOKEN_ABSENT, "TOKEN ABSENT"},
                 {KA_ERR_BUSY, "BUSY"}};
    EVP_PKEY *key = load_named(harness, P256_KEY);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t sig[128];
        size_t len = sizeof(sig);
        atomic_store(&harness->agent.refusal, cases[i].status);
        EVP_MD_CTX *operation = start_signature(harness, key, "SHA256", NULL);
        assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1), 0);
        assert_error(cases[i].reason, "refused by the test");
        EVP_MD_CTX_free(operation);
    }
    EVP_PKEY_free(key);
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_message_in_one_piece_is_signed_with_every_key),
        TEST(a_message_in_pieces_is_sent_whole_up_to_8_KiB_and_hashed_beyond),
        TEST(the_last_piece_may_come_in_one_call_with_the_signature),
        TEST(ed25519_refuses_a_message_beyond_8_KiB),
        TEST(a_size_is_told_without_asking_the_agent),
        TEST(a_copied_signature_goes_its_own_way),
        TEST(a_digest_is_signed),
        TEST(raw_data_is_not_signed),
        TEST(a_buffer_that_is_too_small_is_refused),
        TEST(the_agents_refusal_is_the_reason),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
