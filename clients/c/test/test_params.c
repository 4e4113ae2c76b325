/* Requests: their exact bytes. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "params.h"

static void assert_written(const struct ka_writer *writer, struct ka_span expected) {
    assert_false(writer->overflow);
    assert_int_equal(writer->len, expected.len);
    assert_memory_equal(writer->buf, expected.data, expected.len);
}

static void assert_request(const struct ka_params *request, struct ka_attempt attempt,
                           struct ka_span expected) {
    uint8_t buf[512];
    struct ka_writer writer;
    ka_writer_init(&writer, buf, sizeof buf);
    ka_params_write(&writer, request, &attempt);
    assert_written(&writer, expected);
}

static void hello_offers_version_1_and_names_the_program(void **state) {
    char *before = program_invocation_short_name;
    uint8_t buf[128];
    struct ka_writer writer;
    (void)state;
    program_invocation_short_name = (char[]){"apache2"};
    ka_writer_init(&writer, buf, sizeof buf);
    ka_hello_write(&writer, 1);
    assert_written(&writer, BYTES("\0\0\0\x21\x94\0\1\xa5hello\x83\xa3min\1\xa3max\1\xa4name\xa7"
                                  "apache2"));
    program_invocation_short_name = (char[]){"\xff"};
    ka_writer_init(&writer, buf, sizeof buf);
    ka_hello_write(&writer, 1);
    assert_written(&writer,
                   BYTES("\0\0\0\x25\x94\0\1\xa5hello\x83\xa3min\1\xa3max\1\xa4name\xablibkeyagent"));
    program_invocation_short_name = before;
}

static void key_carries_only_the_uri(void **state) {
    const struct ka_params request = {.method = KA_METHOD_KEY, .uri = BYTES("pkcs11:")};
    (void)state;
    assert_request(&request, (struct ka_attempt){.id = 2, .deadline_ms = 10000, .repeat = true},
                   BYTES("\0\0\0\x14\x94\0\2\xa3key\x81\xa3uri\xa7pkcs11:"));
}

static void sign_carries_a_message_and_its_deadline(void **state) {
    const struct ka_params request = {
        .method = KA_METHOD_SIGN,
        .uri = BYTES("pkcs11:"),
        .algorithm = "ed25519",
        .payload_kind = KA_PAYLOAD_MESSAGE,
        .payload = BYTES("\1\2"),
    };
    (void)state;
    assert_request(&request, (struct ka_attempt){.id = 128, .deadline_ms = 10000},
                   BYTES("\0\0\0\x3d\x94\0\xcc\x80\xa4sign\x84\xa3uri\xa7pkcs11:\xa3"
                         "alg\xa7"
                         "ed25519\xa7message\xc4\2\1\2"
                         "\xab"
                         "deadline_ms\xcd\x27\x10"));
}

static void sign_carries_a_digest_a_format_and_the_repeat(void **state) {
    const struct ka_params request = {
        .method = KA_METHOD_SIGN,
        .uri = BYTES("pkcs11:"),
        .algorithm = "ecdsa-sha256",
        .payload_kind = KA_PAYLOAD_DIGEST,
        .payload = BYTES("d"),
        .format = KA_FORMAT_P1363,
    };
    (void)state;
    assert_request(&request, (struct ka_attempt){.id = 65536, .deadline_ms = 1, .repeat = true},
                   BYTES("\0\0\0\x56\x94\0\xce\0\1\0\0\xa4sign\x86\xa3uri\xa7pkcs11:\xa3"
                         "alg\xac"
                         "ecdsa-sha256\xa6"
                         "digest\xc4\1"
                         "d\xa6"
                         "format\xa5p1363\xab"
                         "deadline_ms\1\xa6repeat\xc3"));
}

static void decrypt_carries_both_tls_versions(void **state) {
    const struct ka_params request = {
        .method = KA_METHOD_DECRYPT,
        .uri = BYTES("pkcs11:"),
        .algorithm = "rsa-pkcs1-tls",
        .payload_kind = KA_PAYLOAD_CIPHERTEXT,
        .payload = BYTES("c"),
        .has_versions = true,
        .client_version = 0x0303,
    };
    (void)state;
    assert_request(&request, (struct ka_attempt){.id = 3, .deadline_ms = 127},
                   BYTES("\0\0\0\x6b\x94\0\3\xa7"
                         "decrypt\x86\xa3uri\xa7pkcs11:\xa3"
                         "alg\xadrsa-pkcs1-tls\xaa"
                         "ciphertext\xc4\1"
                         "c\xae"
                         "client_version\xcd\3\3\xb2negotiated_version\0\xab"
                         "deadline_ms\x7f"));
}

static void long_fields_get_16_bit_lengths(void **state) {
    static uint8_t payload[300], buf[2048];
    char uri[257];
    struct ka_writer writer;
    (void)state;
    memset(uri, 'u', sizeof uri);
    ka_writer_init(&writer, buf, sizeof buf);
    ka_write_str_span(&writer, (struct ka_span){(uint8_t *)uri, sizeof uri});
    ka_write_bin(&writer, (struct ka_span){payload, sizeof payload});
    ka_write_str_span(&writer, (struct ka_span){(uint8_t *)uri, 255});
    assert_memory_equal(buf, "\xda\x01\x01u", 4);
    assert_memory_equal(buf + 260, "\xc5\x01\x2c\0", 4);
    assert_memory_equal(buf + 563, "\xd9\xffu", 3);
    assert_false(writer.overflow);
    ka_write_bin(&writer, (struct ka_span){payload, 65536});
    assert_true(writer.overflow);
}

static void a_full_buffer_is_an_overflow_at_every_size(void **state) {
    const struct ka_params request = {.method = KA_METHOD_KEY, .uri = BYTES("pkcs11:")};
    const struct ka_attempt attempt = {.id = 2};
    uint8_t buf[24];
    (void)state;
    for (size_t cap = 0; cap <= sizeof buf; cap++) {
        struct ka_writer writer;
        ka_writer_init(&writer, buf, cap);
        ka_params_write(&writer, &request, &attempt);
        assert_int_equal(writer.overflow, cap < sizeof buf);
        assert_true(writer.len <= cap);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_offers_version_1_and_names_the_program),
        cmocka_unit_test(key_carries_only_the_uri),
        cmocka_unit_test(sign_carries_a_message_and_its_deadline),
        cmocka_unit_test(sign_carries_a_digest_a_format_and_the_repeat),
        cmocka_unit_test(decrypt_carries_both_tls_versions),
        cmocka_unit_test(long_fields_get_16_bit_lengths),
        cmocka_unit_test(a_full_buffer_is_an_overflow_at_every_size),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
