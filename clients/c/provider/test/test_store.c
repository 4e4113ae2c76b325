/* OSSL_STORE: what comes out of a URI, by its type and by what the caller expects. */
#include <string.h>
#include <openssl/store.h>
#include "harness.h"

#define KEY    "K"
#define PUBLIC "P"
#define CERT   "C"

/* The kinds of objects that a URI gives, in order: "KCC" is a key and two certificates. `expect` 0: anything.
 */
static const char *objects(const struct harness *harness, const char *uri, int expect) {
    static char kinds[16];
    size_t count = 0;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, harness->context, NULL, NULL, NULL, NULL, NULL, NULL);
    if (store == NULL) return NULL;
    if (expect != 0) assert_int_equal(OSSL_STORE_expect(store, expect), 1);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *object = OSSL_STORE_load(store);
        if (object == NULL) continue;
        int type = OSSL_STORE_INFO_get_type(object);
        kinds[count++] = *(type == OSSL_STORE_INFO_PKEY     ? KEY
                           : type == OSSL_STORE_INFO_PUBKEY ? PUBLIC
                                                            : CERT);
        OSSL_STORE_INFO_free(object);
    }
    kinds[count] = '\0';
    OSSL_STORE_close(store);
    return kinds;
}

static void the_type_of_a_uri_says_what_comes_out(void **state) {
    const struct harness *harness = *state;
    static const struct {
        const char *uri, *objects;
    } cases[] = {
        {"pkcs11:object=rsa", KEY CERT CERT},
        {"pkcs11:token=t;object=p256", KEY CERT CERT},
        {"pkcs11:object=ed25519", KEY},
        {"keyagent:rsa", KEY CERT CERT},
        {"pkcs11:object=rsa;type=private", KEY},
        {"pkcs11:type=private;object=rsa", KEY},
        {"pkcs11:object=rsa;type=public", PUBLIC},
        {"pkcs11:object=ed25519;type=public", PUBLIC},
        {"pkcs11:object=p521;type=cert", CERT},
        {"pkcs11:object=rsa?type=cert", KEY CERT CERT},
        {"pkcs11:object=rsa;x-type=cert", KEY CERT CERT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(objects(harness, cases[i].uri, 0), cases[i].objects);
}

static void a_uri_without_a_type_gives_what_is_expected(void **state) {
    const struct harness *harness = *state;
    assert_string_equal(objects(harness, "pkcs11:object=rsa", OSSL_STORE_INFO_PKEY), KEY);
    assert_string_equal(objects(harness, "pkcs11:object=rsa", OSSL_STORE_INFO_PUBKEY), PUBLIC);
    assert_string_equal(objects(harness, "pkcs11:object=rsa", OSSL_STORE_INFO_CERT), CERT CERT);
    assert_string_equal(objects(harness, "pkcs11:object=rsa", OSSL_STORE_INFO_CRL), "");
}

static void a_uri_with_a_type_gives_nothing_else(void **state) {
    const struct harness *harness = *state;
    assert_string_equal(objects(harness, "pkcs11:object=rsa;type=private", OSSL_STORE_INFO_CERT), "");
    assert_string_equal(objects(harness, "pkcs11:object=rsa;type=cert", OSSL_STORE_INFO_PKEY), "");
    ERR_clear_error();
}

static void the_first_certificate_is_the_keys_own(void **state) {
    const struct harness *harness = *state;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex("pkcs11:object=p384;type=cert", harness->context, NULL, NULL,
                                               NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *object = OSSL_STORE_load(store);
    assert_int_equal(X509_cmp(OSSL_STORE_INFO_get0_CERT(object), harness->agent.certificates[P384_KEY]), 0);
    OSSL_STORE_INFO_free(object);
    OSSL_STORE_close(store);
}

static void a_public_key_is_the_default_providers(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex("pkcs11:object=rsa;type=public", harness->context, NULL, NULL,
                                               NULL, NULL, NULL, NULL);
    OSSL_STORE_INFO *object = OSSL_STORE_load(store);
    key = OSSL_STORE_INFO_get1_PUBKEY(object);
    assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "default");
    assert_int_equal(EVP_PKEY_eq(key, harness->agent.keys[RSA_KEY]), 1);
    EVP_PKEY_free(key);
    OSSL_STORE_INFO_free(object);
    OSSL_STORE_close(store);
}

static void a_key_is_the_providers_own(void **state) {
    const struct harness *harness = *state;
    for (int which = 0; which < KEY_COUNT; which++) {
        EVP_PKEY *key = load_named(harness, which);
        assert_string_equal(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "keyagent");
        EVP_PKEY_free(key);
    }
}

static void a_uri_that_names_no_key_is_refused_with_a_reason(void **state) {
    const struct harness *harness = *state;
    assert_null(objects(harness, "pkcs11:object=none", 0));
    assert_error("NOT FOUND", "no such key");
    assert_null(objects(harness, "pkcs11:object=ed25519;type=cert", 0));
    assert_error("NOT FOUND", "no certificate");
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(the_type_of_a_uri_says_what_comes_out),
        TEST(a_uri_without_a_type_gives_what_is_expected),
        TEST(a_uri_with_a_type_gives_nothing_else),
        TEST(the_first_certificate_is_the_keys_own),
        TEST(a_public_key_is_the_default_providers),
        TEST(a_key_is_the_providers_own),
        TEST(a_uri_that_names_no_key_is_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
