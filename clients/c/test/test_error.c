/* Error texts: one line, harmless, never cut inside a character; and URIs that are refused here. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "error.h"
#include "uri.h"
#include "utf8.h"

static void no_place_for_an_error_is_allowed(void **state) {
    (void)state;
    assert_int_equal(ka_error_set(NULL, KA_ERR_BUSY, "%d", 1), KA_ERR_BUSY);
    assert_int_equal(ka_error_set_errno(NULL, KA_ERR_BUSY, "x"), KA_ERR_BUSY);
    assert_int_equal(ka_error_set_reply(NULL, KA_ERR_BUSY, BYTES("x"), NULL, 0), KA_ERR_BUSY);
}

static void errno_follows_the_text(void **state) {
    ka_error err;
    (void)state;
    errno = ENOENT;
    assert_int_equal(ka_error_set_errno(&err, KA_ERR_UNAVAILABLE, "no %s", "agent"), KA_ERR_UNAVAILABLE);
    assert_string_equal(err.message, "no agent: No such file or directory");
    assert_int_equal(err.code, KA_ERR_UNAVAILABLE);
}

static void control_characters_become_blanks(void **state) {
    ka_error err;
    (void)state;
    ka_error_set_reply(&err, KA_ERR_DENIED, BYTES("a\nb\r\x1b[31m\x7f\xc2\x9b\xc2\xa0z"), NULL, 0);
    assert_string_equal(err.message, "a b  [31m   \xc2\xa0z");
}

static void text_that_is_not_utf8_keeps_its_ascii(void **state) {
    ka_error err;
    (void)state;
    ka_error_set(&err, KA_ERR_INVALID, "%s", "/tmp/\xff\xc3\xa9/x");
    assert_string_equal(err.message, "/tmp/\?\?\?/x");
}

static void long_text_is_cut_between_characters(void **state) {
    uint8_t text[1024];
    ka_error err;
    (void)state;
    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    ka_error_set_reply(&err, KA_ERR_INTERNAL, (struct ka_span){text, 1023}, NULL, 0);
    assert_int_equal(strlen(err.message), 510);
    assert_memory_equal(err.message, text, 510);
}

static void candidates_follow_while_they_fit(void **state) {
    static uint8_t long_uri[400];
    const struct ka_span candidates[] = {BYTES("pkcs11:object=a"), {long_uri, 400}, {long_uri, 400}};
    ka_error err;
    (void)state;
    memset(long_uri, 'u', sizeof long_uri);
    ka_error_set_reply(&err, KA_ERR_AMBIGUOUS, BYTES("2 keys match"), candidates, 3);
    assert_int_equal(strncmp(err.message, "2 keys match: pkcs11:object=a, uuuu", 35), 0);
    assert_int_equal(strlen(err.message), strlen("2 keys match: pkcs11:object=a, ") + 400);
}

static void candidates_that_the_text_names_are_not_said_again(void **state) {
    const struct ka_span candidates[] = {BYTES("pkcs11:object=a"), BYTES("pkcs11:object=b")};
    ka_error err;
    (void)state;
    ka_error_set_reply(&err, KA_ERR_AMBIGUOUS, BYTES("use pkcs11:object=a"), candidates, 2);
    assert_string_equal(err.message, "use pkcs11:object=a, pkcs11:object=b");
}

static void every_status_has_its_name(void **state) {
    (void)state;
    assert_string_equal(ka_status_name(KA_OK), "OK");
    assert_string_equal(ka_status_name(KA_ERR_LOCKED), "LOCKED");
    assert_string_equal(ka_status_name(KA_ERR_PIN_BLOCKED), "PIN_BLOCKED");
    assert_string_equal(ka_status_name(KA_ERR_NO_MEMORY), "NO_MEMORY");
    assert_string_equal(ka_status_name(-9999), "UNKNOWN");
    assert_string_equal(ka_status_name(5), "UNKNOWN");
}

static void uris_may_not_bring_a_pin_or_a_module(void **state) {
    const struct ka_span refused[] = {
        BYTES("pkcs11:object=a?pin-value=1234"),
        BYTES("pkcs11:?pin-source=file:/x"),
        BYTES("pkcs11:object=a?x=y&module-path=/x.so"),
        BYTES("pkcs11:object=a?module-name=x&y=z"),
        BYTES("pkcs11:?pin-value"),
        BYTES("pkcs11:?&pin-value=1"),
        BYTES("pkcs11:\xff"),
        BYTES("\xef\xbb\xbfpkcs11:"),
    };
    const struct ka_span passed[] = {
        BYTES(""),
        BYTES("pkcs11:object=pin-value=1"),
        BYTES("pkcs11:object=a?"),
        BYTES("pkcs11:object=a?pin-values=1&xpin-value=2&"),
        BYTES("keyagent:www"),
    };
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        ka_error err;
        assert_int_equal(ka_uri_check(refused[i], &err), KA_ERR_INVALID);
        assert_null(strstr(err.message, "1234"));
    }
    for (size_t i = 0; i < COUNT(passed); i++)
        assert_int_equal(ka_uri_check(passed[i], NULL), KA_OK);
}

static void uris_have_a_limit(void **state) {
    uint8_t uri[1025];
    (void)state;
    memset(uri, 'a', sizeof uri);
    assert_int_equal(ka_uri_check((struct ka_span){uri, 1024}, NULL), KA_OK);
    assert_int_equal(ka_uri_check((struct ka_span){uri, 1025}, NULL), KA_ERR_TOO_LARGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_place_for_an_error_is_allowed),
        cmocka_unit_test(errno_follows_the_text),
        cmocka_unit_test(control_characters_become_blanks),
        cmocka_unit_test(text_that_is_not_utf8_keeps_its_ascii),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(candidates_follow_while_they_fit),
        cmocka_unit_test(candidates_that_the_text_names_are_not_said_again),
        cmocka_unit_test(every_status_has_its_name),
        cmocka_unit_test(uris_may_not_bring_a_pin_or_a_module),
        cmocka_unit_test(uris_have_a_limit),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
