/* OSSL_PARAM: what ours reads and fills, beside what libcrypto's own functions do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/params.h>
#include "param.h"

static void integers_of_every_width_are_read(void **state) {
    (void)state;
    int8_t i8 = -1;
    int32_t i32 = -3, max32 = INT32_MAX;
    uint16_t u16 = 0xfffe;
    uint32_t u32 = 0xffffffff;
    int64_t i64 = INT64_MIN;
    size_t size = 77;
    const struct {
        OSSL_PARAM param;
        int64_t value;
    } cases[] = {
        {OSSL_PARAM_DEFN("x", OSSL_PARAM_INTEGER, &i8, 1), -1},
        {OSSL_PARAM_int32("x", &i32), -3},
        {OSSL_PARAM_int32("x", &max32), INT32_MAX},
        {OSSL_PARAM_DEFN("x", OSSL_PARAM_UNSIGNED_INTEGER, &u16, 2), 0xfffe},
        {OSSL_PARAM_uint32("x", &u32), 0xffffffff},
        {OSSL_PARAM_int64("x", &i64), INT64_MIN},
        {OSSL_PARAM_size_t("x", &size), 77},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 0;
        assert_true(kp_param_read_int(&cases[i].param, &value));
        assert_true(value == cases[i].value);
    }
}

static void what_is_no_integer_is_refused(void **state) {
    (void)state;
    uint64_t huge = UINT64_MAX;
    uint8_t wide[9] = {0};
    const OSSL_PARAM cases[] = {
        OSSL_PARAM_uint64("x", &huge),
        OSSL_PARAM_DEFN("x", OSSL_PARAM_INTEGER, wide, sizeof(wide)),
        OSSL_PARAM_DEFN("x", OSSL_PARAM_INTEGER, wide, 0),
        OSSL_PARAM_DEFN("x", OSSL_PARAM_INTEGER, NULL, 4),
        OSSL_PARAM_utf8_string("x", (char *)"1", 1),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value = 5;
        assert_false(kp_param_read_int(&cases[i], &value));
        assert_true(value == 5);
    }
}

static void text_is_read_with_and_without_its_nul_and_by_pointer(void **state) {
    (void)state;
    const char *pointer = "SHA256";
    const OSSL_PARAM cases[] = {
        OSSL_PARAM_utf8_string("x", (char *)"SHA256", 6),
        OSSL_PARAM_utf8_string("x", (char *)"SHA256", 7),
        OSSL_PARAM_utf8_string("x", (char *)"SHA256xyz", 6),
        OSSL_PARAM_utf8_ptr("x", &pointer, 0),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[7];
        assert_true(kp_param_read_text(&cases[i], text, sizeof(text)));
        assert_string_equal(text, "SHA256");
    }
}

static void text_that_does_not_fit_or_is_none_is_refused(void **state) {
    (void)state;
    const char *pointer = NULL;
    int number = 1;
    const OSSL_PARAM cases[] = {
        OSSL_PARAM_utf8_string("x", (char *)"SHA2567", 7),
        OSSL_PARAM_utf8_string("x", NULL, 0),
        OSSL_PARAM_utf8_ptr("x", &pointer, 0),
        OSSL_PARAM_octet_string("x", (char *)"SHA256", 6),
        OSSL_PARAM_int("x", &number),
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[7];
        assert_false(kp_param_read_text(&cases[i], text, sizeof(text)));
    }
}

static void a_number_fills_entries_of_every_width(void **state) {
    (void)state;
    int i = 0;
    unsigned u = 0;
    int64_t wide = 0;
    uint8_t tight = 0;
    int8_t tight_signed = 0;
    OSSL_PARAM params[] = {OSSL_PARAM_int("int", &i),
                           OSSL_PARAM_uint("uint", &u),
                           OSSL_PARAM_int64("wide", &wide),
                           OSSL_PARAM_DEFN("tight", OSSL_PARAM_UNSIGNED_INTEGER, &tight, 1),
                           OSSL_PARAM_DEFN("signed", OSSL_PARAM_INTEGER, &tight_signed, 1),
                           OSSL_PARAM_int("asked", NULL),
                           OSSL_PARAM_END};
    assert_true(kp_param_reply_uint(params, "int", 2048) && i == 2048);
    assert_int_equal(params[0].return_size, sizeof(i));
    assert_true(kp_param_reply_uint(params, "uint", 0xffffffff) && u == 0xffffffff);
    assert_true(kp_param_reply_uint(params, "wide", 0x80) && wide == 0x80);
    assert_true(kp_param_reply_uint(params, "tight", 0xff) && tight == 0xff);
    assert_false(kp_param_reply_uint(params, "tight", 0x100));
    assert_false(kp_param_reply_uint(params, "signed", 0x80));
    assert_true(kp_param_reply_uint(params, "signed", 0x7f) && tight_signed == 0x7f);
    assert_true(kp_param_reply_uint(params, "asked", 300));
    assert_int_equal(params[5].return_size, 2);
    assert_true(kp_param_reply_uint(params, "absent", 1));
}

static void a_big_number_reads_back_as_libcryptos(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xff};
    uint8_t buffer[16];
    OSSL_PARAM params[] = {OSSL_PARAM_BN("n", buffer, sizeof(buffer)), OSSL_PARAM_END};
    assert_true(kp_param_reply_number(params, "n", (kp_slice){bytes, sizeof(bytes)}));
    BIGNUM *expected = BN_bin2bn(bytes, sizeof(bytes), NULL), *found = NULL;
    assert_int_equal(OSSL_PARAM_get_BN(params, &found), 1);
    assert_int_equal(BN_cmp(expected, found), 0);
    BN_free(expected);
    BN_free(found);

    OSSL_PARAM small[] = {OSSL_PARAM_BN("n", buffer, 10), OSSL_PARAM_END};
    assert_false(kp_param_reply_number(small, "n", (kp_slice){bytes, sizeof(bytes)}));
    assert_int_equal(small[0].return_size, sizeof(bytes));
}

static void text_and_octets_fill_entries_or_tell_their_size(void **state) {
    (void)state;
    char text[8], exact[6];
    const char *pointer = NULL;
    uint8_t octets[4];
    OSSL_PARAM params[] = {OSSL_PARAM_utf8_string("text", text, sizeof(text)),
                           OSSL_PARAM_utf8_string("exact", exact, sizeof(exact)),
                           OSSL_PARAM_utf8_ptr("pointer", &pointer, 0),
                           OSSL_PARAM_utf8_string("asked", NULL, 0),
                           OSSL_PARAM_octet_string("octets", octets, sizeof(octets)),
                           OSSL_PARAM_END};
    assert_true(kp_param_reply_text(params, "text", "SHA256"));
    assert_string_equal(text, "SHA256");
    assert_true(kp_param_reply_text(params, "exact", "SHA256"));
    assert_memory_equal(exact, "SHA256", 6);
    assert_false(kp_param_reply_text(params, "exact", "SHA2567"));
    assert_true(kp_param_reply_text(params, "pointer", "SHA256"));
    assert_string_equal(pointer, "SHA256");
    assert_true(kp_param_reply_text(params, "asked", "SHA256"));
    assert_int_equal(params[3].return_size, 6);
    assert_false(kp_param_reply_text(params, "octets", "SHA256"));
    assert_true(kp_param_reply_octets(params, "octets", (kp_slice){(const uint8_t *)"abcd", 4}));
    assert_memory_equal(octets, "abcd", 4);
    assert_false(kp_param_reply_octets(params, "octets", (kp_slice){(const uint8_t *)"abcde", 5}));
    assert_int_equal(params[4].return_size, 5);
    assert_false(kp_param_reply_octets(params, "text", (kp_slice){(const uint8_t *)"a", 1}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(what_is_no_integer_is_refused),
        cmocka_unit_test(text_is_read_with_and_without_its_nul_and_by_pointer),
        cmocka_unit_test(text_that_does_not_fit_or_is_none_is_refused),
        cmocka_unit_test(a_number_fills_entries_of_every_width),
        cmocka_unit_test(a_big_number_reads_back_as_libcryptos),
        cmocka_unit_test(text_and_octets_fill_entries_or_tell_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
