/* PEM blocks from a text; what a malformed one is taken for, and how much of the text is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "pem.h"

#define LABEL "KEYAGENT KEY REFERENCE"
#define BEGIN "-----BEGIN " LABEL "-----\n"
#define END   "-----END " LABEL "-----\n"

/* libcrypto's BIO_gets upcall, over a stdio stream. */
static int stream_gets(OSSL_CORE_BIO *bio, char *out, int size) {
    if (fgets(out, size, (FILE *)bio) == NULL) return 0;
    return (int)strlen(out);
}

/* Reads from `text` into at most `capacity` bytes; *rest is what the reader left. */
static kp_pem read_text(const char *text, char *out, size_t capacity, const char **rest) {
    kp_provider provider = {.core.bio_gets = stream_gets};
    FILE *stream = fmemopen((void *)text, strlen(text), "r");
    assert_non_null(stream);
    size_t len = capacity;
    kp_pem found = kp_pem_read(&provider, (OSSL_CORE_BIO *)stream, LABEL, (uint8_t *)out, &len);
    if (found == KP_PEM_READ) out[len] = '\0';
    if (rest != NULL) *rest = text + ftell(stream);
    fclose(stream);
    return found;
}

static void a_block_is_read(void **state) {
    (void)state;
    static const struct {
        const char *text, *bytes;
    } cases[] = {
        {BEGIN "cGtjczExOm9iamVjdD13d3c=\n" END, "pkcs11:object=www"},
        {BEGIN "cGtjczExOm9iamVj\ndD13d3c=\n" END, "pkcs11:object=www"},
        {BEGIN "cGtjczExOm9i\r\namVjdD13d3c=\r\n-----END " LABEL "-----\r\n", "pkcs11:object=www"},
        {"a line of text\n\n" BEGIN "cGtjczExOg==\n-----END " LABEL "-----", "pkcs11:"},
        {BEGIN "Zm8=\n" END, "fo"},
        {BEGIN "+/+/\n" END, "\xfb\xff\xbf"},
        {BEGIN END, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        assert_int_equal(read_text(cases[i].text, out, 63, NULL), KP_PEM_READ);
        assert_string_equal(out, cases[i].bytes);
    }
}

static void exactly_one_block_is_consumed(void **state) {
    (void)state;
    char out[64];
    const char *rest;
    assert_int_equal(read_text(BEGIN "Zm9v\n" END "-----BEGIN CERTIFICATE-----\n", out, 63, &rest),
                     KP_PEM_READ);
    assert_string_equal(rest, "-----BEGIN CERTIFICATE-----\n");
}

static void another_label_or_no_block_is_somebody_elses(void **state) {
    (void)state;
    static const char *const cases[] = {
        "x",
        "no PEM at all\n",
        "-----BEGIN PRIVATE KEY-----\nZm9v\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n" BEGIN "Zm9v\n" END,
        "-----BEGIN " LABEL "S-----\nZm9v\n" END,
        "-----BEGIN " LABEL "----\nZm9v\n" END,
        " " BEGIN "Zm9v\n" END,
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        assert_int_equal(read_text(cases[i], out, 63, NULL), KP_PEM_OTHER);
    }
}

static void a_border_inside_a_long_line_is_none(void **state) {
    (void)state;
    char text[512], out[64];
    /* BIO_gets gives 127 characters at a time: the second piece starts like a border. */
    snprintf(text, sizeof(text), "%127s" BEGIN "Zm9v\n" END, "x");
    assert_int_equal(read_text(text, out, 63, NULL), KP_PEM_OTHER);
}

static void a_malformed_block_is_said_to_be_so(void **state) {
    (void)state;
    static const char *const cases[] = {
        BEGIN "Zm9v\n",                               /* no end */
        BEGIN "Zm9v\n-----END CERTIFICATE-----\n",    /* the end of another */
        BEGIN "Zm9\n" END,                            /* a group cut short */
        BEGIN "Zm!v\n" END,                           /* no base64 */
        BEGIN "Zg==Zg==\n" END,                       /* more after the padding */
        BEGIN "Z===\n" END,                           /* too much padding */
        BEGIN "=Zm9\n" END,                           /* padding first */
        BEGIN "Zm=v\n" END,                           /* padding in between */
        BEGIN "Proc-Type: 4,ENCRYPTED\n\nZm9v\n" END, /* PEM headers */
        BEGIN "Zm9vZm9vZm9v\n" END,                   /* longer than the buffer of the test */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        assert_int_equal(read_text(cases[i], out, 8, NULL), KP_PEM_MALFORMED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_read),
        cmocka_unit_test(exactly_one_block_is_consumed),
        cmocka_unit_test(another_label_or_no_block_is_somebody_elses),
        cmocka_unit_test(a_border_inside_a_long_line_is_none),
        cmocka_unit_test(a_malformed_block_is_said_to_be_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
