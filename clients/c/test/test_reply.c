/* Replies: the golden vectors of the protocol, whole, cut, and damaged. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "frame.h"
#include "reply.h"
#include "vectors_gen.h"

/* Of the methods that this library calls; false for the others. */
static bool method_of(const char *name, enum ka_method *method) {
    static const char *const names[] = {"hello", "key", "sign", "decrypt"};
    for (size_t i = 0; i < COUNT(names); i++) {
        *method = (enum ka_method)i;
        if (strcmp(names[i], name) == 0) return true;
    }
    return false;
}

/* What ka_reply_read and the check of its id make of a whole frame. The body is a copy of its exact size, so
 * that a sanitizer sees a read beyond it. */
static bool accepts(const struct ka_reply_vector *vector, enum ka_method method, size_t frame_len,
                    struct ka_reply *reply) {
    if (frame_len <= KA_FRAME_HEADER) return false;
    size_t len = frame_len - KA_FRAME_HEADER;
    uint8_t *body = malloc(len);
    assert_non_null(body);
    memcpy(body, vector->frame + KA_FRAME_HEADER, len);
    bool ok = ka_reply_read((struct ka_span){body, len}, method, reply);
    /* What the spans point to is compared with the vector's own bytes, at the same place. */
    if (ok && !reply->failed && reply->bytes.len > 0 && method >= KA_METHOD_SIGN)
        reply->bytes.data = vector->frame + KA_FRAME_HEADER + (reply->bytes.data - body);
    free(body);
    return ok && (reply->id == vector->id || (reply->id == 0 && reply->failed));
}

static void reads_every_golden_reply(void **state) {
    size_t read = 0;
    (void)state;
    for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
        const struct ka_reply_vector *vector = &ka_reply_vectors[i];
        enum ka_method method;
        struct ka_reply reply;
        if (vector->malformed || !method_of(vector->method, &method)) continue;
        if (!accepts(vector, method, vector->frame_len, &reply)) fail_msg("%s: refused", vector->name);
        if (reply.failed != (vector->code != 0)) fail_msg("%s: result and error confused", vector->name);
        if (reply.failed && reply.error.code != -vector->code)
            fail_msg("%s: status %d", vector->name, reply.error.code);
        if (vector->payload != NULL) {
            assert_int_equal(reply.bytes.len, vector->payload_len);
            assert_memory_equal(reply.bytes.data, vector->payload, vector->payload_len);
        }
        read++;
    }
    assert_true(read >= 30);
}

static void refuses_every_malformed_reply(void **state) {
    size_t refused = 0;
    (void)state;
    for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
        const struct ka_reply_vector *vector = &ka_reply_vectors[i];
        enum ka_method method;
        struct ka_reply reply;
        if (!vector->malformed || !method_of(vector->method, &method)) continue;
        if (accepts(vector, method, vector->frame_len, &reply)) fail_msg("%s: accepted", vector->name);
        refused++;
    }
    assert_true(refused >= 60);
}

static void refuses_every_golden_reply_cut_at_any_byte(void **state) {
    (void)state;
    for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
        const struct ka_reply_vector *vector = &ka_reply_vectors[i];
        enum ka_method method;
        struct ka_reply reply;
        if (vector->malformed || !method_of(vector->method, &method)) continue;
        for (size_t len = 0; len < vector->frame_len; len++) {
            if (accepts(vector, method, len, &reply))
                fail_msg("%s: accepted at %zu bytes", vector->name, len);
        }
    }
}

static void refuses_every_golden_reply_with_a_byte_behind_it(void **state) {
    static uint8_t body[KA_WIRE_LIMIT_FRAME];
    (void)state;
    for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
        const struct ka_reply_vector *vector = &ka_reply_vectors[i];
        enum ka_method method;
        struct ka_reply reply;
        if (vector->malformed || !method_of(vector->method, &method)) continue;
        size_t len = vector->frame_len - KA_FRAME_HEADER;
        memcpy(body, vector->frame + KA_FRAME_HEADER, len);
        body[len] = 0xc0;
        if (ka_reply_read((struct ka_span){body, len + 1}, method, &reply))
            fail_msg("%s: accepted", vector->name);
    }
}

static void refuses_a_reply_to_another_method(void **state) {
    static const char hello[] = "\x94\1\1\xc0\x85\xa7version\1\xa5"
                                "agent\xa1"
                                "a\xa9max_frame\1\xabmax_message\1\xadmax_in_flight\1";
    const struct ka_span body = {(const uint8_t *)hello, sizeof hello - 1};
    struct ka_reply reply;
    (void)state;
    assert_true(ka_reply_read(body, KA_METHOD_HELLO, &reply));
    assert_false(ka_reply_read(body, KA_METHOD_KEY, &reply));
    assert_false(ka_reply_read(body, KA_METHOD_SIGN, &reply));
    assert_false(ka_reply_read(body, KA_METHOD_DECRYPT, &reply));
}

static void takes_an_unknown_or_a_local_error_number_for_internal(void **state) {
    static const struct {
        const char *code;
        size_t code_len;
        ka_status status;
    } cases[] = {
        {"\x00", 1, KA_ERR_INTERNAL},     {"\x01", 1, KA_ERR_MALFORMED},
        {"\x16", 1, KA_ERR_STOPPING},     {"\x17", 1, KA_ERR_INTERNAL},
        {"\xcc\xc8", 2, KA_ERR_INTERNAL}, {"\xce\xff\xff\xff\xff", 5, KA_ERR_INTERNAL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t body[64] = "\x94\1\7\x82\xa7message\xa1x\xa4"
                           "code";
        size_t len = 19;
        memcpy(body + len, cases[i].code, cases[i].code_len);
        len += cases[i].code_len;
        body[len++] = 0xc0;
        struct ka_reply reply;
        assert_true(ka_reply_read((struct ka_span){body, len}, KA_METHOD_SIGN, &reply));
        assert_int_equal(reply.error.code, cases[i].status);
    }
}

/* Every golden reply with each byte set to values that start, lengthen or break something. Nothing to assert
 * but that it ends and, under a sanitizer, reads nothing beyond; what is accepted is within its limits. */
static void survives_every_golden_reply_with_one_byte_changed(void **state) {
    static const uint8_t values[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc4,
                                     0xc5, 0xcc, 0xce, 0xcf, 0xd9, 0xda, 0xdc, 0xdd, 0xde, 0xdf, 0xff};
    (void)state;
    for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
        const struct ka_reply_vector *vector = &ka_reply_vectors[i];
        enum ka_method method;
        struct ka_reply reply;
        if (vector->malformed || !method_of(vector->method, &method)) continue;
        size_t len = vector->frame_len - KA_FRAME_HEADER;
        uint8_t *body = malloc(len);
        assert_non_null(body);
        for (size_t at = 0; at < len; at++) {
            for (size_t v = 0; v < COUNT(values); v++) {
                memcpy(body, vector->frame + KA_FRAME_HEADER, len);
                body[at] = values[v];
                if (!ka_reply_read((struct ka_span){body, len}, method, &reply) || reply.failed) continue;
                if (method >= KA_METHOD_SIGN) assert_in_range(reply.bytes.len, 0, 512);
                if (method == KA_METHOD_KEY) assert_in_range(reply.key.certificate_count, 0, 8);
            }
        }
        free(body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_golden_reply),
        cmocka_unit_test(refuses_every_malformed_reply),
        cmocka_unit_test(refuses_every_golden_reply_cut_at_any_byte),
        cmocka_unit_test(refuses_every_golden_reply_with_a_byte_behind_it),
        cmocka_unit_test(refuses_a_reply_to_another_method),
        cmocka_unit_test(takes_an_unknown_or_a_local_error_number_for_internal),
        cmocka_unit_test(survives_every_golden_reply_with_one_byte_changed),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
