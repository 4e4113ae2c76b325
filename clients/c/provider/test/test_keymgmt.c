/* What libcrypto learns of a key, what it can take of it, and where operations with other keys run. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the old structures are what is tested */
#include <stdio.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "harness.h"

/* The agent's key and, from its SubjectPublicKeyInfo, the default provider's key: they must look alike. */
static void a_key_looks_like_the_default_providers(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *ours = load_named(harness, which), *theirs = harness->agent.keys[which];
        char digests[2][32], groups[2][32];
        assert_int_equal(EVP_PKEY_get_bits(ours), EVP_PKEY_get_bits(theirs));
        assert_int_equal(EVP_PKEY_get_security_bits(ours), EVP_PKEY_get_security_bits(theirs));
        assert_int_equal(EVP_PKEY_get_size(ours), EVP_PKEY_get_size(theirs));
        assert_int_equal(EVP_PKEY_get_base_id(ours), EVP_PKEY_get_base_id(theirs));
        assert_int_equal(EVP_PKEY_get_default_digest_name(ours, digests[0], sizeof(digests[0])),
                         EVP_PKEY_get_default_digest_name(theirs, digests[1], sizeof(digests[1])));
        assert_string_equal(digests[0], digests[1]);
        int named = EVP_PKEY_get_group_name(theirs, groups[1], sizeof(groups[1]), NULL);
        assert_int_equal(EVP_PKEY_get_group_name(ours, groups[0], sizeof(groups[0]), NULL), named);
        if (named) assert_string_equal(groups[0], groups[1]);
        EVP_PKEY_free(ours);
    }
}

static void its_public_numbers_are_the_default_providers(void **state) {
    const struct harness *harness = *state;
    static const char *const names[KEY_COUNT][3] = {
        {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E},
        {OSSL_PKEY_PARAM_PUB_KEY, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY},
        {OSSL_PKEY_PARAM_PUB_KEY, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY},
        {OSSL_PKEY_PARAM_PUB_KEY, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY},
        {OSSL_PKEY_PARAM_PUB_KEY}};
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *ours = load_named(harness, which), *theirs = harness->agent.keys[which];
        for (const char *const *name = names[which]; *name != NULL; name++) {
            if (which == RSA_KEY) {
                BIGNUM *a = NULL, *b = NULL;
                assert_int_equal(EVP_PKEY_get_bn_param(ours, *name, &a), 1);
                assert_int_equal(EVP_PKEY_get_bn_param(theirs, *name, &b), 1);
                assert_int_equal(BN_cmp(a, b), 0);
                BN_free(a);
                BN_free(b);
                continue;
            }
            uint8_t a[256], b[256];
            size_t a_len, b_len;
            assert_int_equal(EVP_PKEY_get_octet_string_param(ours, *name, a, sizeof(a), &a_len), 1);
            assert_int_equal(EVP_PKEY_get_octet_string_param(theirs, *name, b, sizeof(b), &b_len), 1);
            assert_int_equal(a_len, b_len);
            assert_memory_equal(a, b, a_len);
        }
        EVP_PKEY_free(ours);
    }
}

static void the_public_key_is_written_as_the_default_provider_writes_it(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *ours = load_named(harness, which);
        unsigned char *a = NULL, *b = NULL;
        int a_len = i2d_PUBKEY(ours, &a), b_len = i2d_PUBKEY(harness->agent.keys[which], &b);
        assert_true(a_len > 0);
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a, b, (size_t)a_len);
        OPENSSL_free(a);
        OPENSSL_free(b);
        EVP_PKEY_free(ours);
    }
}

static void the_private_key_is_not_given_away(void **state) {
    const struct harness *harness = *state;
    static const char *const names[KEY_COUNT] = {OSSL_PKEY_PARAM_RSA_D, OSSL_PKEY_PARAM_PRIV_KEY,
                                                 OSSL_PKEY_PARAM_PRIV_KEY, OSSL_PKEY_PARAM_PRIV_KEY,
                                                 OSSL_PKEY_PARAM_PRIV_KEY};
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *key = load_named(harness, which);
        uint8_t octets[512];
        size_t len;
        BIGNUM *number = NULL;
        OSSL_PARAM *all = NULL;
        assert_int_not_equal(EVP_PKEY_get_bn_param(key, names[which], &number), 1);
        assert_int_not_equal(EVP_PKEY_get_octet_string_param(key, names[which], octets, sizeof(octets), &len),
                             1);
        ERR_clear_error();
        assert_int_not_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &all), 1);
        assert_error("UNSUPPORTED", "does not leave its token");
        BIO *out = BIO_new(BIO_s_mem());
        assert_int_not_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
        ERR_clear_error();
        BIO_free(out);
        EVP_PKEY_free(key);
    }
}

static void it_matches_its_certificate_and_itself_and_no_other(void **state) {
    const struct harness *harness = *state;
    const struct agent_with_keys *agent = &harness->agent;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *key = load_named(harness, which), *again = load_named(harness, which);
        assert_int_equal(X509_check_private_key(agent->certificates[which], key), 1);
        assert_int_equal(EVP_PKEY_eq(key, again), 1);
        assert_int_equal(EVP_PKEY_eq(key, agent->keys[which]), 1);
        assert_int_equal(EVP_PKEY_eq(agent->keys[which], key), 1);
        no_error_is_left(state);
        assert_int_not_equal(EVP_PKEY_eq(key, agent->keys[(which + 1) % KEY_COUNT]), 1);
        ERR_clear_error();
        EVP_PKEY_free(key);
        EVP_PKEY_free(again);
    }
    EVP_PKEY *stranger = EVP_PKEY_Q_keygen(agent->context, NULL, "EC", "P-256");
    EVP_PKEY *key = load_named(harness, P256_KEY);
    assert_int_equal(EVP_PKEY_eq(key, stranger), 0);
    assert_int_equal(EVP_PKEY_parameters_eq(key, stranger), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(stranger);
}

/* Makes and uses key pairs that are not the agent's; the agent is not asked. The RSA key is as short as
 * libcrypto allows, for valgrind's sake. */
static void use_other_keys(const struct harness *harness, OSSL_LIB_CTX *context) {
    unsigned before = requests(harness);
    EVP_PKEY *pairs[] = {EVP_PKEY_Q_keygen(context, NULL, "RSA", (size_t)512),
                         EVP_PKEY_Q_keygen(context, NULL, "EC", "P-256"),
                         EVP_PKEY_Q_keygen(context, NULL, "ED25519")};
    for (size_t i = 0; i < 3; i++) {
        const char *hash = i == 2 ? NULL : "SHA256";
        uint8_t sig[256];
        size_t len = sizeof(sig);
        assert_non_null(pairs[i]);
        EVP_MD_CTX *operation = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestSignInit_ex(operation, NULL, hash, context, NULL, pairs[i], NULL), 1);
        assert_int_equal(EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1), 1);
        EVP_MD_CTX_free(operation);
        operation = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit_ex(operation, NULL, hash, context, NULL, pairs[i], NULL), 1);
        assert_int_equal(EVP_DigestVerify(operation, sig, len, (const uint8_t *)"m", 1), 1);
        EVP_MD_CTX_free(operation);
    }
    uint8_t ciphertext[256], plaintext[256];
    size_t len = sizeof(ciphertext), plaintext_len = sizeof(plaintext);
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(context, pairs[0], NULL);
    assert_int_equal(EVP_PKEY_encrypt_init(operation), 1);
    assert_int_equal(EVP_PKEY_encrypt(operation, ciphertext, &len, (const uint8_t *)"m", 1), 1);
    assert_int_equal(EVP_PKEY_decrypt_init(operation), 1);
    assert_int_equal(EVP_PKEY_decrypt(operation, plaintext, &plaintext_len, ciphertext, len), 1);
    EVP_PKEY_CTX_free(operation);
    for (size_t i = 0; i < 3; i++)
        EVP_PKEY_free(pairs[i]);
    assert_int_equal(requests(harness), before);
}

static void other_keys_stay_with_the_default_provider(void **state) {
    const struct harness *harness = *state;
    use_other_keys(harness, harness->context);
    EVP_PKEY *key = load_named(harness, RSA_KEY);
    use_other_keys(harness, harness->context);
    EVP_PKEY_free(key);
}

static bool signs(const struct harness *harness, OSSL_LIB_CTX *context, EVP_PKEY *key, int which) {
    uint8_t sig[256];
    size_t len = sizeof(sig);
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    const char *hash = which == ED25519_KEY ? NULL : "SHA256";
    bool good = EVP_DigestSignInit_ex(operation, NULL, hash, context, NULL, key, NULL) == 1 &&
                EVP_DigestSign(operation, sig, &len, (const uint8_t *)"m", 1) == 1 &&
                verifies(harness, which, hash, 0, "m", 1, sig, len);
    EVP_MD_CTX_free(operation);
    return good;
}

/* What a program learns that looks at the key through libcrypto's old structures, as Node 20 does. */
static bool has_old_structure(EVP_PKEY *key) {
    const BIGNUM *d = NULL;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
        const RSA *rsa = EVP_PKEY_get0_RSA(key);
        if (rsa == NULL) return false;
        d = RSA_get0_d(rsa);
        assert_int_equal(RSA_bits(rsa), EVP_PKEY_get_bits(key));
    } else {
        const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
        if (ec == NULL) return false;
        d = EC_KEY_get0_private_key(ec);
        assert_int_equal(EC_KEY_check_key(ec), 1);
    }
    assert_null(d);
    return true;
}

/* Before and after the first signature, which must stay with us; and other keys are made and used after it.
 * The key is in a libcrypto that did nothing else. */
static void check_old_structures(const struct harness *harness, const char *lines, const char *properties,
                                 bool signs_first, bool expected) {
    for (int which = 0; which < KEY_COUNT; which++) {
        if (which == ED25519_KEY) continue;
        char uri[64];
        snprintf(uri, sizeof(uri), "pkcs11:object=%s", key_names[which]);
        OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, lines, properties);
        EVP_PKEY *key = load_key(context, uri);
        if (signs_first) assert_true(signs(harness, context, key, which));
        assert_int_equal(has_old_structure(key), expected);
        assert_true(signs(harness, context, key, which));
        assert_int_equal(has_old_structure(key), expected);
        ERR_clear_error();
        if (properties == NULL) use_other_keys(harness, context);
        EVP_PKEY_free(key);
        OSSL_LIB_CTX_free(context);
    }
}

static void export_public_makes_old_structures_and_still_signs(void **state) {
    check_old_structures(*state, "export = public", NULL, false, true);
    check_old_structures(*state, "export = public", NULL, true, true);
}

/* What no provider does with such a key asks for its name, and not for an export. */
static void an_operation_that_there_is_not_leaves_export_public_as_it_was(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "export = public", NULL);
    for (int which = 0; which < KEY_COUNT; which++) {
        if (which == ED25519_KEY) continue;
        char uri[64];
        snprintf(uri, sizeof(uri), "pkcs11:object=%s", key_names[which]);
        for (int i = 0; i < 3; i++) {
            EVP_PKEY *key = load_key(context, uri);
            EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(context, key, NULL);
            if (i == 0 && which != RSA_KEY) assert_int_not_equal(EVP_PKEY_encrypt_init(operation), 1);
            if (i == 1) assert_int_not_equal(EVP_PKEY_derive_init(operation), 1);
            if (i == 2) assert_int_not_equal(EVP_PKEY_encapsulate_init(operation, NULL), 1);
            EVP_PKEY_CTX_free(operation);
            assert_true(has_old_structure(key));
            assert_true(signs(harness, context, key, which));
            ERR_clear_error();
            EVP_PKEY_free(key);
        }
    }
    OSSL_LIB_CTX_free(context);
}

/* The signature is ours at once: libcrypto asks for no export before it. */
static void export_public_holds_where_we_are_asked_first(void **state) {
    check_old_structures(*state, "export = public", "?provider=keyagent", true, true);
}

static void no_old_structure_is_made_by_default(void **state) {
    check_old_structures(*state, "", NULL, false, false);
    check_old_structures(*state, "export = refuse", NULL, true, false);
}

static void export_public_writes_no_private_key(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "export = public", NULL);
    for (int which = 0; which < KEY_COUNT; which++) {
        char uri[64];
        OSSL_PARAM *all = NULL;
        snprintf(uri, sizeof(uri), "pkcs11:object=%s", key_names[which]);
        EVP_PKEY *key = load_key(context, uri);
        BIO *out = BIO_new(BIO_s_mem());
        assert_int_not_equal(PEM_write_bio_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
        ERR_clear_error();
        assert_int_equal(EVP_PKEY_todata(key, EVP_PKEY_KEYPAIR, &all), 1);
        assert_null(OSSL_PARAM_locate(all, OSSL_PKEY_PARAM_RSA_D));
        assert_null(OSSL_PARAM_locate(all, OSSL_PKEY_PARAM_PRIV_KEY));
        OSSL_PARAM_free(all);
        BIO_free(out);
        EVP_PKEY_free(key);
    }
    OSSL_LIB_CTX_free(context);
}

static void another_word_for_export_is_said_at_the_first_use(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "export = all", NULL);
    assert_null(load_key(context, "pkcs11:object=rsa"));
    assert_error("INVALID", "export = all: write refuse or public");
    OSSL_LIB_CTX_free(context);
}

/* It could stay empty, and is asked for its sizes all the same. */
static void parameters_are_not_copied_into_an_empty_key(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *key = load_named(harness, which), *empty = EVP_PKEY_new();
        EVP_PKEY_copy_parameters(empty, key);
        if (which == ED25519_KEY) assert_true(EVP_PKEY_get_size(empty) <= 0);
        EVP_PKEY_free(empty);
        EVP_PKEY_free(key);
    }
    ERR_clear_error();
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_key_looks_like_the_default_providers),
        TEST(its_public_numbers_are_the_default_providers),
        TEST(the_public_key_is_written_as_the_default_provider_writes_it),
        TEST(the_private_key_is_not_given_away),
        TEST(it_matches_its_certificate_and_itself_and_no_other),
        TEST(other_keys_stay_with_the_default_provider),
        TEST(export_public_makes_old_structures_and_still_signs),
        TEST(an_operation_that_there_is_not_leaves_export_public_as_it_was),
        TEST(export_public_holds_where_we_are_asked_first),
        TEST(no_old_structure_is_made_by_default),
        TEST(export_public_writes_no_private_key),
        TEST(another_word_for_export_is_said_at_the_first_use),
        TEST(parameters_are_not_copied_into_an_empty_key),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
