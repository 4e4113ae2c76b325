/* PEM key references beside every other kind of PEM. */
#include <stdio.h>
#include <string.h>
#include <openssl/decoder.h>
#include <openssl/pem.h>
#include "harness.h"

/* A reference as `keyagent ref` writes it. */
static void put_reference(BIO *out, const char *uri) {
    unsigned char base64[2048];
    EVP_EncodeBlock(base64, (const unsigned char *)uri, (int)strlen(uri));
    BIO_printf(out, "-----BEGIN KEYAGENT KEY REFERENCE-----\n");
    for (const char *at = (const char *)base64; *at != '\0'; at += strlen(at) > 64 ? 64 : strlen(at))
        BIO_printf(out, "%.64s\n", at);
    BIO_printf(out, "-----END KEYAGENT KEY REFERENCE-----\n");
}

static EVP_PKEY *read_key(const struct harness *harness, BIO *in) {
    return PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, harness->context, NULL);
}

static const char *provider_of(const EVP_PKEY *key) {
    return OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key));
}

static void a_reference_of_every_type_becomes_a_key(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        char uri[64];
        BIO *pem = BIO_new(BIO_s_mem());
        snprintf(uri, sizeof(uri), "pkcs11:token=t;object=%s;type=private", key_names[which]);
        put_reference(pem, uri);
        EVP_PKEY *key = read_key(harness, pem);
        assert_non_null(key);
        assert_string_equal(provider_of(key), "keyagent");
        assert_int_equal(EVP_PKEY_eq(key, harness->agent.keys[which]), 1);
        EVP_PKEY_free(key);
        BIO_free(pem);
    }
}

static void the_blocks_around_a_reference_are_read_as_ever(void **state) {
    const struct harness *harness = *state;
    const struct agent_with_keys *agent = &harness->agent;
    BIO *pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, agent->certificates[RSA_KEY]);
    put_reference(pem, "pkcs11:object=rsa");
    PEM_write_bio_PrivateKey(pem, agent->keys[P256_KEY], NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_X509(pem, agent->certificates[P256_KEY]);

    EVP_PKEY *reference = read_key(harness, pem), *ordinary = read_key(harness, pem);
    X509 *last = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    assert_string_equal(provider_of(reference), "keyagent");
    assert_string_equal(provider_of(ordinary), "default");
    assert_int_equal(EVP_PKEY_eq(ordinary, agent->keys[P256_KEY]), 1);
    assert_int_equal(X509_cmp(last, agent->certificates[P256_KEY]), 0);
    X509_free(last);
    EVP_PKEY_free(reference);
    EVP_PKEY_free(ordinary);
    BIO_free(pem);
}

static int give_password(char *out, int size, int writing, void *context) {
    (void)writing, (void)context;
    return snprintf(out, (size_t)size, "password");
}

static void ordinary_pem_is_untouched_and_asks_no_agent(void **state) {
    const struct harness *harness = *state;
    const struct agent_with_keys *agent = &harness->agent;
    unsigned before = requests(harness);
    for (int which = 0; which < KEY_COUNT; which++) {
        BIO *pem = BIO_new(BIO_s_mem());
        EVP_PKEY *key = agent->keys[which];
        PEM_write_bio_PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL);
        if (which != ED25519_KEY) PEM_write_bio_PrivateKey_traditional(pem, key, NULL, NULL, 0, NULL, NULL);
        PEM_write_bio_PrivateKey(pem, key, EVP_aes_128_cbc(), NULL, 0, give_password, NULL);
        PEM_write_bio_PUBKEY(pem, key);
        for (int i = 0; i < (which == ED25519_KEY ? 2 : 3); i++) {
            EVP_PKEY *read =
                PEM_read_bio_PrivateKey_ex(pem, NULL, give_password, NULL, harness->context, NULL);
            assert_string_equal(provider_of(read), "default");
            assert_int_equal(EVP_PKEY_eq(read, key), 1);
            EVP_PKEY_free(read);
        }
        EVP_PKEY *public_key = PEM_read_bio_PUBKEY_ex(pem, NULL, NULL, NULL, harness->context, NULL);
        assert_int_equal(EVP_PKEY_eq(public_key, key), 1);
        EVP_PKEY_free(public_key);
        BIO_free(pem);
    }
    assert_int_equal(requests(harness), before);
}

static void a_certificate_alone_is_no_key(void **state) {
    const struct harness *harness = *state;
    BIO *pem = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(pem, harness->agent.certificates[RSA_KEY]);
    assert_null(read_key(harness, pem));
    assert_int_equal(ERR_GET_LIB(ERR_peek_last_error()), ERR_LIB_OSSL_DECODER);
    ERR_clear_error();
    BIO_free(pem);
}

static void a_reference_that_cannot_be_followed_says_why(void **state) {
    const struct harness *harness = *state;
    char long_uri[1100];
    memset(long_uri, 'a', sizeof(long_uri));
    memcpy(long_uri, "pkcs11:object=", 14);
    long_uri[1099] = '\0';
    const struct {
        const char *uri, *reason, *text;
    } cases[] = {
        {"pkcs11:object=none", "NOT FOUND", "no such key"},
        {"https://example.org/", "MALFORMED", "holds a pkcs11: URI"},
        {"", "MALFORMED", "holds a pkcs11: URI"},
        {long_uri, "MALFORMED", "holds a pkcs11: URI"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BIO *pem = BIO_new(BIO_s_mem());
        put_reference(pem, cases[i].uri);
        assert_null(read_key(harness, pem));
        assert_error(cases[i].reason, cases[i].text);
        BIO_free(pem);
    }
}

static void a_reference_is_not_taken_for_a_key_of_another_type(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY *key = NULL;
    BIO *pem = BIO_new(BIO_s_mem());
    put_reference(pem, "pkcs11:object=p256");
    OSSL_DECODER_CTX *decoder =
        OSSL_DECODER_CTX_new_for_pkey(&key, "PEM", NULL, "RSA", EVP_PKEY_KEYPAIR, harness->context, NULL);
    assert_int_not_equal(OSSL_DECODER_from_bio(decoder, pem), 1);
    assert_null(key);
    ERR_clear_error();
    OSSL_DECODER_CTX_free(decoder);
    BIO_free(pem);
}

/* Only PEM says that somebody meant a reference. */
static void bytes_that_are_not_pem_open_no_key(void **state) {
    const struct harness *harness = *state;
    static const char uri[] = "pkcs11:object=rsa";
    const unsigned asked = requests(harness);
    const unsigned char *bytes = (const unsigned char *)uri;
    assert_null(d2i_AutoPrivateKey_ex(NULL, &bytes, (long)strlen(uri), harness->context, NULL));
    assert_int_equal(requests(harness), asked);
    ERR_clear_error();
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_reference_of_every_type_becomes_a_key),
        TEST(the_blocks_around_a_reference_are_read_as_ever),
        TEST(ordinary_pem_is_untouched_and_asks_no_agent),
        TEST(a_certificate_alone_is_no_key),
        TEST(a_reference_that_cannot_be_followed_says_why),
        TEST(a_reference_is_not_taken_for_a_key_of_another_type),
        TEST(bytes_that_are_not_pem_open_no_key),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
