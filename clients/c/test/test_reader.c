/* The MessagePack reader: every type, and every way to get it wrong. */
#include <string.h>

#include "check.h"
#include "reader.h"
#include "utf8.h"

static struct ka_reader reader_of(struct ka_span bytes) {
    struct ka_reader reader;
    ka_reader_init(&reader, bytes);
    return reader;
}

static void reads_numbers_in_every_width(void **state) {
    const struct {
        struct ka_span bytes;
        uint32_t number;
    } cases[] = {
        {BYTES("\x00"), 0},
        {BYTES("\x7f"), 127},
        {BYTES("\xcc\x80"), 128},
        {BYTES("\xcc\x05"), 5},
        {BYTES("\xcd\x01\x00"), 256},
        {BYTES("\xce\xff\xff\xff\xff"), UINT32_MAX},
        {BYTES("\xce\x00\x00\x00\x01"), 1},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ka_reader reader = reader_of(cases[i].bytes);
        uint32_t number;
        assert_true(ka_read_uint(&reader, &number));
        assert_int_equal(number, cases[i].number);
        assert_true(ka_reader_at_end(&reader));
    }
}

static void refuses_what_is_not_a_32_bit_unsigned_number(void **state) {
    const struct ka_span cases[] = {
        BYTES(""),
        BYTES("\xcc"),
        BYTES("\xcd\x01"),
        BYTES("\xce\x01\x02\x03"),
        BYTES("\xff"),                                 /* -1 */
        BYTES("\xd0\x01"),                             /* int 8 */
        BYTES("\xcf\x00\x00\x00\x00\x00\x00\x00\x01"), /* uint 64 */
        BYTES("\xca\x00\x00\x00\x00"),                 /* float */
        BYTES("\xc0"),
        BYTES("\xc2"),
        BYTES("\xa1\x31"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ka_reader reader = reader_of(cases[i]);
        uint32_t number;
        assert_false(ka_read_uint(&reader, &number));
    }
}

static void reads_strings_in_every_length_form(void **state) {
    const struct ka_span cases[] = {BYTES("\xa2hi"), BYTES("\xd9\x02hi"), BYTES("\xda\x00\x02hi")};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ka_reader reader = reader_of(cases[i]);
        struct ka_span text;
        assert_true(ka_read_str(&reader, 2, &text));
        assert_int_equal(text.len, 2);
        assert_memory_equal(text.data, "hi", 2);
        assert_true(ka_reader_at_end(&reader));
    }
}

static void refuses_strings_that_are_long_cut_or_no_utf8(void **state) {
    const struct ka_span cases[] = {
        BYTES("\xa3"
              "abc"),   /* over the limit of 2 */
        BYTES("\xa2h"), /* cut */
        BYTES("\xd9"),
        BYTES("\xd9\xff"
              "ab"),
        BYTES("\xda\x00"),
        BYTES("\xda\xff\xff"),
        BYTES("\xdb\x00\x00\x00\x01"
              "a"), /* str 32 */
        BYTES("\xc4\x01"
              "a"), /* bin */
        BYTES("\x00"),
        BYTES("\xa1\x80"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct ka_reader reader = reader_of(cases[i]);
        struct ka_span text;
        assert_false(ka_read_str(&reader, 2, &text));
    }
    struct ka_reader reader = reader_of(BYTES("\xa3\xef\xbb\xbf"));
    struct ka_span text;
    assert_false(ka_read_str(&reader, 9, &text));
}

static void reads_bytes_and_refuses_other_forms(void **state) {
    const struct ka_span good[] = {BYTES("\xc4\x02\xff\x00"), BYTES("\xc5\x00\x02\xff\x00")};
    const struct ka_span bad[] = {
        BYTES("\xc4\x03\x01\x02\x03"), /* over the limit of 2 */
        BYTES("\xc4\x02\xff"),         /* cut */
        BYTES("\xc5\x00"),
        BYTES("\xc5\xff\xff"),
        BYTES("\xc6\x00\x00\x00\x01\xff"), /* bin 32 */
        BYTES("\xa2hi"),
        BYTES("\x00"),
        BYTES("\xc1"),
        BYTES("\xd4\x01\x00"), /* fixext */
    };
    struct ka_span bytes;
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct ka_reader reader = reader_of(good[i]);
        assert_true(ka_read_bin(&reader, 2, &bytes));
        assert_int_equal(bytes.len, 2);
        assert_memory_equal(bytes.data, "\xff\x00", 2);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct ka_reader reader = reader_of(bad[i]);
        assert_false(ka_read_bin(&reader, 2, &bytes));
    }
}

static void reads_container_headers_up_to_a_limit(void **state) {
    size_t count;
    (void)state;
    struct ka_reader reader = reader_of(BYTES("\x93\xdc\x00\x03\x82\xde\x00\x02"));
    assert_true(ka_read_array(&reader, 3, &count) && count == 3);
    assert_true(ka_read_array(&reader, 3, &count) && count == 3);
    assert_true(ka_read_map(&reader, 2, &count) && count == 2);
    assert_true(ka_read_map(&reader, 2, &count) && count == 2);
    reader = reader_of(BYTES("\x94"));
    assert_false(ka_read_array(&reader, 3, &count));
    reader = reader_of(BYTES("\xdc\xff\xff"));
    assert_false(ka_read_array(&reader, 3, &count));
    reader = reader_of(BYTES("\xdd\x00\x00\x00\x01"));
    assert_false(ka_read_array(&reader, 3, &count));
    reader = reader_of(BYTES("\xdf\x00\x00\x00\x01"));
    assert_false(ka_read_map(&reader, 3, &count));
    reader = reader_of(BYTES("\x81"));
    assert_false(ka_read_array(&reader, 3, &count));
    reader = reader_of(BYTES("\x00"));
    assert_false(ka_read_map(&reader, 3, &count));
}

static void reads_nil_and_bool(void **state) {
    bool value;
    (void)state;
    struct ka_reader reader = reader_of(BYTES("\xc0\xc2\xc3\x01"));
    assert_true(ka_read_nil(&reader));
    assert_false(ka_read_nil(&reader));
    assert_true(ka_read_bool(&reader, &value));
    assert_false(value);
    assert_true(ka_read_bool(&reader, &value));
    assert_true(value);
    assert_false(ka_read_bool(&reader, &value));
    assert_false(ka_read_nil(&reader));
}

static void refuses_a_field_that_is_unknown_or_there_twice(void **state) {
    static const char *const names[] = {"a", "bc"};
    uint32_t seen = 0;
    size_t index;
    (void)state;
    struct ka_reader reader = reader_of(BYTES("\xa2"
                                              "bc\xa1"
                                              "a\xa2"
                                              "bc"));
    assert_true(ka_read_field(&reader, names, 2, &seen, &index) && index == 1);
    assert_true(ka_read_field(&reader, names, 2, &seen, &index) && index == 0);
    assert_false(ka_read_field(&reader, names, 2, &seen, &index));
    seen = 0;
    reader = reader_of(BYTES("\xa1"
                             "b"));
    assert_false(ka_read_field(&reader, names, 2, &seen, &index));
    reader = reader_of(BYTES("\xa9__proto__"));
    assert_false(ka_read_field(&reader, names, 2, &seen, &index));
}

static void accepts_only_utf8_of_rfc_3629(void **state) {
    const struct ka_span good[] = {
        BYTES(""),
        BYTES("plain"),
        BYTES("\xc2\x80"),
        BYTES("\xdf\xbf"),
        BYTES("\xe0\xa0\x80"),
        BYTES("\xed\x9f\xbf"),
        BYTES("\xee\x80\x80"),
        BYTES("\xf0\x90\x80\x80"),
        BYTES("\xf4\x8f\xbf\xbf"),
    };
    const struct ka_span bad[] = {
        BYTES("\x80"),
        BYTES("\xc0\x80"),
        BYTES("\xc1\xbf"),
        BYTES("\xc2"),
        BYTES("\xc2\x41"),
        BYTES("\xe0\x9f\xbf"),
        BYTES("\xe1\x80"),
        BYTES("\xe1\x80\x41"),
        BYTES("\xed\xa0\x80"),
        BYTES("\xf0\x8f\xbf\xbf"),
        BYTES("\xf0\x90\x80"),
        BYTES("\xf1\x80\x80\x41"),
        BYTES("\xf4\x90\x80\x80"),
        BYTES("\xf5\x80\x80\x80"),
        BYTES("\xff"),
        BYTES("ok\xfe"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(ka_utf8_valid(good[i].data, good[i].len));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(ka_utf8_valid(bad[i].data, bad[i].len));
}

static void cuts_text_between_characters(void **state) {
    const uint8_t *text = (const uint8_t *)"a\xe2\x82\xac"
                                           "b";
    (void)state;
    assert_int_equal(ka_utf8_prefix(text, 5, 9), 5);
    assert_int_equal(ka_utf8_prefix(text, 5, 4), 4);
    assert_int_equal(ka_utf8_prefix(text, 5, 3), 1);
    assert_int_equal(ka_utf8_prefix(text, 5, 1), 1);
    assert_int_equal(ka_utf8_prefix(text, 5, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers_in_every_width),
        cmocka_unit_test(refuses_what_is_not_a_32_bit_unsigned_number),
        cmocka_unit_test(reads_strings_in_every_length_form),
        cmocka_unit_test(refuses_strings_that_are_long_cut_or_no_utf8),
        cmocka_unit_test(reads_bytes_and_refuses_other_forms),
        cmocka_unit_test(reads_container_headers_up_to_a_limit),
        cmocka_unit_test(reads_nil_and_bool),
        cmocka_unit_test(refuses_a_field_that_is_unknown_or_there_twice),
        cmocka_unit_test(accepts_only_utf8_of_rfc_3629),
        cmocka_unit_test(cuts_text_between_characters),
    };
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
