/*
 * The reply decoder against any bytes. With clang and -Dfuzz=true this is a libFuzzer target; otherwise
 * main() below feeds it a fixed sequence: golden replies, damaged at places that a fixed generator picks. The
 * first byte chooses the method. A read out of bounds is the sanitizer's to see; what is checked here is that
 * every span lies in the input.
 */
#include <stdlib.h>
#include <string.h>

#include "reply.h"
#include "require.h"
#include "vectors_gen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require_inside(struct ka_span span, struct ka_span body, size_t max) {
    require(span.len <= max, "a span over its limit");
    require(span.data >= body.data && span.data + span.len <= body.data + body.len,
            "a span outside the message");
}

static void check_error(const struct ka_wire_error *error, struct ka_span body) {
    require(error->code < 0 && error->code >= KA_ERR_STOPPING, "a status that is no error of the wire");
    require_inside(error->text, body, KA_WIRE_MAX_ERROR_MESSAGE);
    require(error->candidate_count <= KA_WIRE_MAX_ERROR_CANDIDATES, "too many candidates");
    for (size_t i = 0; i < error->candidate_count; i++)
        require_inside(error->candidates[i], body, KA_WIRE_MAX_ERROR_CANDIDATES_ITEM);
}

static void check_key(const struct ka_key_result *key, struct ka_span body) {
    require_inside(key->uri, body, KA_WIRE_MAX_KEY_RESULT_URI);
    require_inside(key->spki, body, KA_WIRE_MAX_KEY_RESULT_SPKI);
    require(key->algorithm >= KA_ALG_RSA && key->algorithm <= KA_ALG_ED25519,
            "an algorithm that does not exist");
    require(key->certificate_count <= KA_WIRE_MAX_KEY_RESULT_CERTIFICATES, "too many certificates");
    for (size_t i = 0; i < key->certificate_count; i++)
        require_inside(key->certificates[i], body, KA_WIRE_MAX_KEY_RESULT_CERTIFICATES_ITEM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 2) return 0;
    const struct ka_span body = {data + 1, len - 1};
    enum ka_method method = (enum ka_method)(data[0] % 4);
    struct ka_reply reply;
    if (!ka_reply_read(body, method, &reply)) return 0;
    if (reply.failed)
        check_error(&reply.error, body);
    else if (method == KA_METHOD_KEY)
        check_key(&reply.key, body);
    else if (method != KA_METHOD_HELLO)
        require_inside(reply.bytes, body, KA_WIRE_LIMIT_CIPHERTEXT);
    return 0;
}

#ifndef KEYAGENT_LIBFUZZER
/* A linear congruential generator (Knuth, TAOCP 3.3.4): the same numbers on every run. */
static uint32_t next_number(uint64_t *seed) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33);
}

/* Up to 7 bytes of the body changed, and sometimes its end cut off. */
static size_t damage(uint8_t *body, size_t len, uint64_t *seed) {
    for (uint32_t changes = next_number(seed) % 8; changes > 0; changes--)
        body[next_number(seed) % len] = (uint8_t)next_number(seed);
    return next_number(seed) % 4 == 0 ? next_number(seed) % len : len;
}

/* A copy of its exact size, so that a sanitizer sees a read beyond it. */
static void try(uint8_t method, const uint8_t *body, size_t len) {
    uint8_t *input = malloc(1 + len);
    require(input != NULL, "no memory");
    input[0] = method;
    memcpy(input + 1, body, len);
    LLVMFuzzerTestOneInput(input, 1 + len);
    free(input);
}

int main(void) {
    static uint8_t body[KA_WIRE_LIMIT_FRAME];
    uint64_t seed = 1;
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < KA_REPLY_VECTOR_COUNT; i++) {
            const struct ka_reply_vector *vector = &ka_reply_vectors[i];
            size_t len = vector->frame_len - 4;
            if (len == 0) continue; /* a frame without a body */
            for (uint8_t method = 0; method < 4; method++) {
                memcpy(body, vector->frame + 4, len);
                try(method, body, damage(body, len, &seed));
            }
        }
    }
    return 0;
}
#endif
