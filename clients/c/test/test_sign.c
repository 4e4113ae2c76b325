/* Signing: what is asked, what fits, and what is refused before anybody is asked. */
#include <string.h>

#include "check.h"
#include "fake_agent.h"

static struct fake_agent agent;
static ka_client *client;

/* The request that the agent saw last. The test reads it after its call returned. */
static struct {
    char alg[32], payload_kind[16], format[8];
    uint8_t payload[KA_MESSAGE_MAX];
    size_t payload_len;
} seen;

static void copy_text(char *to, size_t cap, struct ka_span from) {
    size_t len = from.len < cap ? from.len : cap - 1;
    if (len > 0) memcpy(to, from.data, len);
    to[len] = '\0';
}

static void note_and_answer(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method == KA_METHOD_SIGN) {
        copy_text(seen.alg, sizeof seen.alg, request->alg);
        copy_text(seen.format, sizeof seen.format, request->format);
        copy_text(seen.payload_kind, sizeof seen.payload_kind,
                  (struct ka_span){(const uint8_t *)request->payload_kind, strlen(request->payload_kind)});
        seen.payload_len = request->payload.len;
        memcpy(seen.payload, request->payload.data, request->payload.len);
    }
    fake_answer(fake, request);
}

static int start(void **state) {
    (void)state;
    fake_agent_start(&agent, note_and_answer, NULL);
    return ka_client_new(agent.path, &client, NULL);
}

static int end(void **state) {
    (void)state;
    ka_client_free(client);
    fake_agent_end(&agent);
    return 0;
}

static ka_key *open_key(const char *uri) {
    ka_key *key;
    assert_int_equal(ka_key_open(client, uri, &key, NULL), KA_OK);
    return key;
}

static const ka_sign_params pss256 = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
static const ka_sign_params ed25519 = {.scheme = KA_ED25519, .hash = KA_HASH_NONE};

static void every_scheme_and_hash_has_its_name(void **state) {
    static const struct {
        const char *uri;
        ka_sign_params params;
        size_t digest_len;
        const char *alg, *format;
    } cases[] = {
        {"keyagent:rsa", {KA_RSA_PKCS1, KA_HASH_SHA256, KA_FORMAT_DER}, 32, "rsa-pkcs1-sha256", ""},
        {"keyagent:rsa", {KA_RSA_PKCS1, KA_HASH_SHA384, KA_FORMAT_DER}, 48, "rsa-pkcs1-sha384", ""},
        {"keyagent:rsa", {KA_RSA_PKCS1, KA_HASH_SHA512, KA_FORMAT_DER}, 64, "rsa-pkcs1-sha512", ""},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 32, "rsa-pss-sha256", ""},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA384, KA_FORMAT_DER}, 48, "rsa-pss-sha384", ""},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA512, KA_FORMAT_DER}, 64, "rsa-pss-sha512", ""},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER}, 32, "ecdsa-sha256", ""},
        {"keyagent:p384", {KA_ECDSA, KA_HASH_SHA384, KA_FORMAT_DER}, 48, "ecdsa-sha384", ""},
        {"keyagent:p521", {KA_ECDSA, KA_HASH_SHA512, KA_FORMAT_DER}, 64, "ecdsa-sha512", ""},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA512, KA_FORMAT_P1363}, 64, "ecdsa-sha512", "p1363"},
    };
    static const uint8_t digest[64] = {1, 2, 3};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ka_key *key = open_key(cases[i].uri);
        uint8_t sig[256];
        size_t sig_len = sizeof sig;
        assert_int_equal(
            ka_key_sign_digest(key, &cases[i].params, digest, cases[i].digest_len, sig, &sig_len, NULL),
            KA_OK);
        assert_string_equal(seen.alg, cases[i].alg);
        assert_string_equal(seen.format, cases[i].format);
        assert_string_equal(seen.payload_kind, "digest");
        assert_int_equal(seen.payload_len, cases[i].digest_len);
        assert_int_equal(sig_len, cases[i].uri[9] == 'r' ? 256 : 64);
        assert_memory_equal(sig, digest, cases[i].digest_len);
        ka_key_free(key);
    }
}

static void what_cannot_be_signed_is_refused_without_asking(void **state) {
    static const struct {
        const char *uri;
        ka_sign_params params;
        size_t digest_len;
        ka_status status;
    } cases[] = {
        {"keyagent:rsa", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:rsa", {KA_ED25519, KA_HASH_NONE, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:p256", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:ed25519", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:rsa", {(ka_scheme)0, KA_HASH_SHA256, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:rsa", {(ka_scheme)9, KA_HASH_SHA256, KA_FORMAT_DER}, 32, KA_ERR_MECHANISM},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA1, KA_FORMAT_DER}, 20, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_NONE, KA_FORMAT_DER}, 0, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, (ka_hash)9, KA_FORMAT_DER}, 32, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_P1363}, 32, KA_ERR_INVALID},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, (ka_format)2}, 32, KA_ERR_INVALID},
        {"keyagent:ed25519", {KA_ED25519, KA_HASH_SHA512, KA_FORMAT_DER}, 64, KA_ERR_INVALID},
        {"keyagent:ed25519", {KA_ED25519, KA_HASH_NONE, KA_FORMAT_DER}, 64, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 0, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 31, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 33, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA384, KA_FORMAT_DER}, 32, KA_ERR_INVALID},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, SIZE_MAX, KA_ERR_INVALID},
    };
    static const uint8_t digest[64];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ka_key *key = open_key(cases[i].uri);
        unsigned before = agent.requests;
        uint8_t sig[256];
        size_t sig_len = sizeof sig;
        ka_error err;
        assert_int_equal(
            ka_key_sign_digest(key, &cases[i].params, digest, cases[i].digest_len, sig, &sig_len, &err),
            cases[i].status);
        assert_int_equal(err.code, cases[i].status);
        assert_int_equal(sig_len, sizeof sig);
        assert_int_equal(agent.requests, before);
        ka_key_free(key);
    }
}

static void a_size_query_asks_nobody(void **state) {
    static const uint8_t digest[32];
    ka_key *key = open_key("keyagent:p256");
    const ka_sign_params der = {.scheme = KA_ECDSA, .hash = KA_HASH_SHA256};
    const ka_sign_params p1363 = {.scheme = KA_ECDSA, .hash = KA_HASH_SHA256, .format = KA_FORMAT_P1363};
    unsigned before = agent.requests;
    uint8_t sig[71];
    size_t sig_len = 0;
    (void)state;
    assert_int_equal(ka_key_sign_digest(key, &der, digest, 32, NULL, &sig_len, NULL), KA_ERR_BUFFER);
    assert_int_equal(sig_len, 72);
    sig_len = sizeof sig;
    assert_int_equal(ka_key_sign_digest(key, &der, digest, 32, sig, &sig_len, NULL), KA_ERR_BUFFER);
    assert_int_equal(sig_len, 72);
    sig_len = 63;
    assert_int_equal(ka_key_sign(key, &p1363, digest, 32, sig, &sig_len, NULL), KA_ERR_BUFFER);
    assert_int_equal(sig_len, 64);
    assert_int_equal(agent.requests, before);
    ka_key_free(key);
}

/* SHA-256, SHA-384 and SHA-512 of 8193 zero bytes, by sha256sum and its siblings. */
static const uint8_t sha256_of_8193[32] = {0xb1, 0xfb, 0x00, 0x79, 0x82, 0x8a, 0xb6, 0x53, 0x91, 0x90, 0x11,
                                           0xa9, 0xf8, 0xcf, 0xdd, 0x37, 0x04, 0x38, 0x7e, 0xb0, 0x8e, 0x1d,
                                           0xc9, 0x71, 0x15, 0x5b, 0x33, 0xc0, 0x3e, 0x0d, 0xa1, 0xef};
static const uint8_t sha384_of_8193[48] = {
    0x73, 0x60, 0xfd, 0xad, 0xa8, 0xb2, 0x03, 0xef, 0x21, 0xb7, 0x49, 0x6e, 0x69, 0xe8, 0xe6, 0x5d,
    0xdd, 0x56, 0xc7, 0x85, 0x57, 0x00, 0x31, 0x83, 0xd5, 0x97, 0x16, 0xbe, 0x98, 0x87, 0x51, 0xe7,
    0xc5, 0xfe, 0xff, 0x6d, 0x8d, 0xca, 0xfb, 0x07, 0xc2, 0x8b, 0xe3, 0x1c, 0xdb, 0xc9, 0x56, 0xbc};
static const uint8_t sha512_of_8193[64] = {
    0xe5, 0xa8, 0xce, 0x3e, 0xb5, 0x1c, 0xa4, 0x64, 0x09, 0xac, 0x7c, 0xe2, 0x22, 0x6a, 0xfd, 0xac,
    0xb8, 0x1c, 0x92, 0x01, 0x6c, 0x1d, 0x10, 0x7c, 0x1e, 0x82, 0xc7, 0x4a, 0xbe, 0xee, 0x2f, 0x50,
    0x00, 0xa0, 0x94, 0x65, 0xab, 0xb1, 0x21, 0xfd, 0x6e, 0x1e, 0x73, 0x06, 0x27, 0x21, 0x54, 0x80,
    0xde, 0xa5, 0x75, 0xf9, 0x2e, 0x27, 0x33, 0x2b, 0x1d, 0x58, 0xe0, 0x70, 0xd7, 0x57, 0x79, 0xea};
static const uint8_t zeros[KA_MESSAGE_MAX + 1];

static void a_message_is_sent_whole_up_to_8192_bytes_and_hashed_beyond(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    uint8_t sig[256];
    size_t sig_len = sizeof sig;
    (void)state;
    assert_int_equal(ka_key_sign(key, &pss256, NULL, 0, sig, &sig_len, NULL), KA_OK);
    assert_string_equal(seen.payload_kind, "message");
    assert_int_equal(seen.payload_len, 0);
    assert_int_equal(ka_key_sign(key, &pss256, zeros, 8192, sig, &sig_len, NULL), KA_OK);
    assert_string_equal(seen.payload_kind, "message");
    assert_int_equal(seen.payload_len, 8192);
    assert_int_equal(ka_key_sign(key, &pss256, zeros, 8193, sig, &sig_len, NULL), KA_OK);
    assert_string_equal(seen.payload_kind, "digest");
    assert_string_equal(seen.alg, "rsa-pss-sha256");
    assert_int_equal(seen.payload_len, 32);
    assert_memory_equal(seen.payload, sha256_of_8193, 32);
    ka_key_free(key);
}

static void ed25519_signs_no_message_beyond_8192_bytes(void **state) {
    ka_key *key = open_key("keyagent:ed25519");
    ka_signer *signer;
    uint8_t sig[64];
    size_t sig_len = sizeof sig;
    (void)state;
    assert_int_equal(ka_key_sign(key, &ed25519, zeros, 8192, sig, &sig_len, NULL), KA_OK);
    assert_string_equal(seen.alg, "ed25519");
    assert_int_equal(ka_key_sign(key, &ed25519, zeros, 8193, sig, &sig_len, NULL), KA_ERR_TOO_LARGE);
    assert_int_equal(ka_signer_new(key, &ed25519, &signer, NULL), KA_OK);
    assert_int_equal(ka_signer_update(signer, zeros, 8192), KA_OK);
    assert_int_equal(ka_signer_update(signer, zeros, 1), KA_ERR_TOO_LARGE);
    assert_int_equal(ka_signer_finish(signer, sig, &sig_len, NULL), KA_OK);
    assert_int_equal(seen.payload_len, 8192);
    ka_signer_free(signer);
    ka_key_free(key);
}

static void a_signer_sends_the_pieces_as_one_message(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    ka_signer *signer;
    uint8_t sig[256];
    size_t sig_len = 0;
    ka_error err;
    (void)state;
    assert_int_equal(ka_signer_new(key, &pss256, &signer, NULL), KA_OK);
    ka_key_free(key); /* the signer holds it */
    assert_int_equal(ka_signer_update(signer, (const uint8_t *)"one", 3), KA_OK);
    assert_int_equal(ka_signer_update(signer, NULL, 0), KA_OK);
    assert_int_equal(ka_signer_update(signer, (const uint8_t *)" two", 4), KA_OK);
    assert_int_equal(ka_signer_finish(signer, NULL, &sig_len, &err), KA_ERR_BUFFER);
    assert_int_equal(sig_len, 256);
    assert_int_equal(ka_signer_finish(signer, sig, &sig_len, NULL), KA_OK);
    assert_string_equal(seen.payload_kind, "message");
    assert_int_equal(seen.payload_len, 7);
    assert_memory_equal(seen.payload, "one two", 7);
    assert_int_equal(ka_signer_finish(signer, sig, &sig_len, &err), KA_ERR_INVALID);
    assert_int_equal(ka_signer_update(signer, (const uint8_t *)"x", 1), KA_ERR_INVALID);
    ka_signer_free(signer);
    ka_signer_free(NULL);
}

static void a_signer_hashes_what_is_too_long_in_whatever_pieces(void **state) {
    static const struct {
        ka_hash hash;
        const uint8_t *digest;
        size_t len;
    } cases[] = {
        {KA_HASH_SHA256, sha256_of_8193, 32},
        {KA_HASH_SHA384, sha384_of_8193, 48},
        {KA_HASH_SHA512, sha512_of_8193, 64},
    };
    static const size_t pieces[] = {1, 63, 4096, 8192, 8193};
    ka_key *key = open_key("keyagent:rsa");
    (void)state;
    for (size_t i = 0; i < COUNT(cases) * COUNT(pieces); i++) {
        size_t at = i / COUNT(pieces), piece = pieces[i % COUNT(pieces)], left = sizeof zeros;
        const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = cases[at].hash};
        ka_signer *signer;
        uint8_t sig[256];
        size_t sig_len = sizeof sig;
        assert_int_equal(ka_signer_new(key, &params, &signer, NULL), KA_OK);
        for (; left > 0; left -= piece < left ? piece : left)
            assert_int_equal(ka_signer_update(signer, zeros, piece < left ? piece : left), KA_OK);
        assert_int_equal(ka_signer_finish(signer, sig, &sig_len, NULL), KA_OK);
        assert_string_equal(seen.payload_kind, "digest");
        assert_int_equal(seen.payload_len, cases[at].len);
        assert_memory_equal(seen.payload, cases[at].digest, cases[at].len);
        ka_signer_free(signer);
    }
    ka_key_free(key);
}

static void a_copied_signer_goes_its_own_way(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    ka_signer *first, *second, *third;
    uint8_t sig[256];
    size_t sig_len = sizeof sig;
    (void)state;
    assert_int_equal(ka_signer_new(key, &pss256, &first, NULL), KA_OK);
    assert_int_equal(ka_signer_update(first, (const uint8_t *)"same", 4), KA_OK);
    assert_int_equal(ka_signer_dup(first, &second), KA_OK);
    assert_int_equal(ka_signer_update(first, (const uint8_t *)"1", 1), KA_OK);
    assert_int_equal(ka_signer_finish(first, sig, &sig_len, NULL), KA_OK);
    assert_memory_equal(seen.payload, "same1", 5);
    ka_signer_free(first);
    assert_int_equal(ka_signer_update(second, zeros, 8189), KA_OK); /* "same" and 8189 zeros: one too many */
    assert_int_equal(ka_signer_dup(second, &third), KA_OK);
    assert_int_equal(ka_signer_finish(second, sig, &sig_len, NULL), KA_OK);
    uint8_t digest[32];
    memcpy(digest, seen.payload, 32);
    assert_string_equal(seen.payload_kind, "digest");
    ka_signer_free(second);
    assert_int_equal(ka_signer_finish(third, sig, &sig_len, NULL), KA_OK);
    assert_memory_equal(seen.payload, digest, 32);
    ka_signer_free(third);
    ka_key_free(key);
}

static void a_signer_for_another_kind_of_key_is_not_made(void **state) {
    ka_key *key = open_key("keyagent:p256");
    ka_signer *signer = NULL;
    (void)state;
    assert_int_equal(ka_signer_new(key, &pss256, &signer, NULL), KA_ERR_MECHANISM);
    assert_null(signer);
    ka_key_free(key);
}

/* A signature whose length cannot be true: the agent is not believed and the buffer is untouched. */
static void answer_wrong_length(struct fake_agent *fake, const struct fake_request *request) {
    static const uint8_t bytes[512];
    if (request->method == KA_METHOD_SIGN)
        fake_answer_bytes(request, "signature", bytes, *(const size_t *)fake->context);
    else
        fake_answer(fake, request);
}

static void a_signature_of_a_wrong_length_is_refused(void **state) {
    static const struct {
        const char *uri;
        ka_sign_params params;
        size_t len;
    } cases[] = {
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 0},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 255},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 257},
        {"keyagent:rsa", {KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER}, 512},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER}, 7},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER}, 73},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_P1363}, 63},
        {"keyagent:p256", {KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_P1363}, 65},
        {"keyagent:ed25519", {KA_ED25519, KA_HASH_NONE, KA_FORMAT_DER}, 63},
    };
    (void)state;
    agent.handler = answer_wrong_length;
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = cases[i].len, sig_len = 256;
        uint8_t sig[256], before[256];
        memset(sig, 0xaa, sizeof sig);
        memcpy(before, sig, sizeof sig);
        agent.context = &len;
        ka_key *key = open_key(cases[i].uri);
        assert_int_equal(ka_key_sign(key, &cases[i].params, zeros, 1, sig, &sig_len, NULL), KA_ERR_MALFORMED);
        assert_int_equal(sig_len, 256);
        assert_memory_equal(sig, before, sizeof sig);
        ka_key_free(key);
    }
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(every_scheme_and_hash_has_its_name),
        WITH_AGENT(what_cannot_be_signed_is_refused_without_asking),
        WITH_AGENT(a_size_query_asks_nobody),
        WITH_AGENT(a_message_is_sent_whole_up_to_8192_bytes_and_hashed_beyond),
        WITH_AGENT(ed25519_signs_no_message_beyond_8192_bytes),
        WITH_AGENT(a_signer_sends_the_pieces_as_one_message),
        WITH_AGENT(a_signer_hashes_what_is_too_long_in_whatever_pieces),
        WITH_AGENT(a_copied_signer_goes_its_own_way),
        WITH_AGENT(a_signer_for_another_kind_of_key_is_not_made),
        WITH_AGENT(a_signature_of_a_wrong_length_is_refused),
    };
    return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
