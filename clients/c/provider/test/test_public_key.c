/* SubjectPublicKeyInfos: good ones, and every one of them cut, stretched and bent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "public_key.h"

/* RFC 8410 10.1; RFC 8017 form with n = 0x00c1 02, e = 0x03; a P-256 point of 0x11 bytes. */
static const uint8_t ed25519[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21,
                                  0x00, 0x19, 0xbf, 0x44, 0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41,
                                  0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30,
                                  0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1};
static const uint8_t rsa[] = {0x30, 0x1b, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                              0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x0a, 0x00,
                              0x30, 0x07, 0x02, 0x02, 0x00, 0xc1, 0x02, 0x01, 0x03};
static const uint8_t p256_header[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                      0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};

static bool reads(ka_algorithm algorithm, const uint8_t *spki, size_t len, kp_public_key *out) {
    /* A copy of exactly this length, for the sanitizers. */
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, spki, len);
    bool read = kp_public_key_read(algorithm, (kp_slice){copy, len}, out);
    free(copy);
    return read;
}

static void the_numbers_are_found(void **state) {
    (void)state;
    kp_public_key key;
    assert_true(kp_public_key_read(KA_ALG_RSA, (kp_slice){rsa, sizeof(rsa)}, &key));
    assert_int_equal(key.modulus.len, 1);
    assert_int_equal(key.modulus.data[0], 0xc1);
    assert_int_equal(key.exponent.len, 1);
    assert_int_equal(key.exponent.data[0], 3);

    assert_true(kp_public_key_read(KA_ALG_ED25519, (kp_slice){ed25519, sizeof(ed25519)}, &key));
    assert_true(key.point.data == ed25519 + 12 && key.point.len == 32);

    uint8_t p256[sizeof(p256_header) + 64];
    memset(p256, 0x11, sizeof(p256));
    memcpy(p256, p256_header, sizeof(p256_header));
    assert_true(kp_public_key_read(KA_ALG_EC_P256, (kp_slice){p256, sizeof(p256)}, &key));
    assert_true(key.point.data == p256 + 26 && key.point.len == 65);
    p256[26] = 0x02; /* a compressed point's mark */
    assert_false(kp_public_key_read(KA_ALG_EC_P256, (kp_slice){p256, sizeof(p256)}, &key));
}

static void a_key_of_another_algorithm_is_refused(void **state) {
    (void)state;
    static const ka_algorithm algorithms[] = {KA_ALG_EC_P256, KA_ALG_EC_P384, KA_ALG_EC_P521, KA_ALG_RSA};
    kp_public_key key;
    for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
        assert_false(reads(algorithms[i], ed25519, sizeof(ed25519), &key));
    assert_false(reads(KA_ALG_ED25519, rsa, sizeof(rsa), &key));
}

static void a_key_cut_short_or_followed_by_more_is_refused(void **state) {
    (void)state;
    kp_public_key key;
    uint8_t longer[sizeof(ed25519) + 1] = {0};
    memcpy(longer, ed25519, sizeof(ed25519));
    assert_false(reads(KA_ALG_ED25519, longer, sizeof(longer), &key));
    for (size_t len = 0; len < sizeof(ed25519); len++)
        assert_false(reads(KA_ALG_ED25519, ed25519, len, &key));
    for (size_t len = 0; len < sizeof(rsa); len++)
        assert_false(reads(KA_ALG_RSA, rsa, len, &key));
}

/* Whatever one byte becomes, nothing outside is read (ASan), and what is accepted lies inside. */
static void no_byte_leads_the_reader_outside(void **state) {
    (void)state;
    for (size_t at = 0; at < sizeof(rsa); at++) {
        for (unsigned value = 0; value < 256; value++) {
            kp_public_key key = {0};
            uint8_t bent[sizeof(rsa)];
            memcpy(bent, rsa, sizeof(rsa));
            bent[at] = (uint8_t)value;
            if (reads(KA_ALG_RSA, bent, sizeof(bent), &key))
                assert_in_range(key.modulus.len + key.exponent.len, 2, 4);
        }
    }
}

static void zero_negative_and_padded_numbers_are_refused(void **state) {
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
    } cases[] = {
        {28, 0x00}, /* exponent 0 */
        {28, 0x83}, /* a negative exponent */
        {24, 0x80}, /* a negative modulus */
        {25, 0x00}, /* modulus 0, written in two bytes */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        kp_public_key key;
        uint8_t bent[sizeof(rsa)];
        memcpy(bent, rsa, sizeof(rsa));
        bent[cases[i].at] = cases[i].value;
        assert_false(reads(KA_ALG_RSA, bent, sizeof(bent), &key));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_numbers_are_found),
        cmocka_unit_test(a_key_of_another_algorithm_is_refused),
        cmocka_unit_test(a_key_cut_short_or_followed_by_more_is_refused),
        cmocka_unit_test(no_byte_leads_the_reader_outside),
        cmocka_unit_test(zero_negative_and_padded_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
