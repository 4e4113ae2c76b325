/* Decrypting: what is asked, what is refused, and what an agent cannot make us believe. */
#include <string.h>

#include "check.h"
#include "fake_agent.h"

static struct fake_agent agent;
static ka_client *client;
static const uint8_t ciphertext[257] = "premaster";

/* The request that the agent saw last. */
static struct {
    char alg[32];
    bool has_versions;
    uint32_t client_version, negotiated_version;
    size_t ciphertext_len;
} seen;

/* How the agent answers decrypt: this many bytes, or this error. */
static size_t plaintext_len;
static ka_status refusal;

static void note_and_answer(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method != KA_METHOD_DECRYPT) {
        fake_answer(fake, request);
        return;
    }
    size_t len = request->alg.len < sizeof seen.alg ? request->alg.len : sizeof seen.alg - 1;
    memcpy(seen.alg, request->alg.data, len);
    seen.alg[len] = '\0';
    seen.has_versions = request->has_versions;
    seen.client_version = request->client_version;
    seen.negotiated_version = request->negotiated_version;
    seen.ciphertext_len = request->payload.len;
    uint8_t plaintext[512] = "plain";
    if (refusal != KA_OK)
        fake_answer_error(request->from, request->id, refusal, "the ciphertext does not decrypt");
    else
        fake_answer_bytes(request, "plaintext", plaintext, plaintext_len);
}

static int start(void **state) {
    (void)state;
    plaintext_len = 48;
    refusal = KA_OK;
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

static void oaep_has_a_name_for_each_hash(void **state) {
    static const struct {
        ka_hash hash;
        const char *alg;
    } cases[] = {
        {KA_HASH_SHA1, "rsa-oaep-sha1"},
        {KA_HASH_SHA256, "rsa-oaep-sha256"},
        {KA_HASH_SHA384, "rsa-oaep-sha384"},
        {KA_HASH_SHA512, "rsa-oaep-sha512"},
    };
    ka_key *key = open_key("keyagent:rsa");
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t out[256];
        size_t out_len = sizeof out;
        assert_int_equal(ka_key_decrypt_oaep(key, cases[i].hash, ciphertext, 256, out, &out_len, NULL),
                         KA_OK);
        assert_string_equal(seen.alg, cases[i].alg);
        assert_int_equal(seen.ciphertext_len, 256);
        assert_false(seen.has_versions);
        assert_int_equal(out_len, 48);
        assert_string_equal((char *)out, "plain");
    }
    ka_key_free(key);
}

static void oaep_says_how_long_the_plaintext_is(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    uint8_t out[48];
    size_t out_len = 0;
    unsigned before = agent.requests;
    (void)state;
    assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA256, ciphertext, 256, NULL, &out_len, NULL),
                     KA_ERR_BUFFER);
    assert_int_equal(out_len, 256);
    assert_int_equal(agent.requests, before);
    out_len = 47;
    memset(out, 0xaa, sizeof out);
    assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA256, ciphertext, 256, out, &out_len, NULL),
                     KA_ERR_BUFFER);
    assert_int_equal(out_len, 48);
    assert_int_equal(out[0], 0xaa);
    assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA256, ciphertext, 256, out, &out_len, NULL), KA_OK);
    plaintext_len = 0;
    assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA256, ciphertext, 256, out, &out_len, NULL), KA_OK);
    assert_int_equal(out_len, 0);
    ka_key_free(key);
}

static void a_ciphertext_of_another_length_does_not_decrypt(void **state) {
    static const size_t lengths[] = {0, 255, 257, SIZE_MAX};
    ka_key *key = open_key("keyagent:rsa");
    uint8_t out[256];
    size_t out_len = sizeof out;
    unsigned before = agent.requests;
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA1, ciphertext, lengths[i], out, &out_len, NULL),
                         KA_ERR_DECRYPT_FAILED);
        assert_int_equal(ka_key_decrypt_tls(key, 0x0303, 0, ciphertext, lengths[i], out, NULL),
                         KA_ERR_INVALID);
    }
    assert_int_equal(agent.requests, before);
    ka_key_free(key);
}

static void the_agents_refusal_is_passed_on(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    uint8_t out[256] = {0xaa};
    size_t out_len = sizeof out;
    ka_error err;
    (void)state;
    refusal = KA_ERR_DECRYPT_FAILED;
    assert_int_equal(ka_key_decrypt_oaep(key, KA_HASH_SHA1, ciphertext, 256, out, &out_len, &err),
                     KA_ERR_DECRYPT_FAILED);
    assert_string_equal(err.message, "the ciphertext does not decrypt");
    assert_int_equal(out_len, sizeof out);
    assert_int_equal(out[0], 0xaa);
    refusal = KA_ERR_DENIED;
    assert_int_equal(ka_key_decrypt_tls(key, 0x0303, 0, ciphertext, 256, out, NULL), KA_ERR_DENIED);
    ka_key_free(key);
}

static void a_premaster_secret_is_asked_for_with_both_versions(void **state) {
    ka_key *key = open_key("keyagent:rsa");
    uint8_t premaster[KA_TLS_PREMASTER_SIZE];
    (void)state;
    assert_int_equal(ka_key_decrypt_tls(key, 0x0303, 0, ciphertext, 256, premaster, NULL), KA_OK);
    assert_string_equal(seen.alg, "rsa-pkcs1-tls");
    assert_true(seen.has_versions);
    assert_int_equal(seen.client_version, 0x0303);
    assert_int_equal(seen.negotiated_version, 0);
    assert_string_equal((char *)premaster, "plain");
    assert_int_equal(ka_key_decrypt_tls(key, 0x0303, 0x0302, ciphertext, 256, premaster, NULL), KA_OK);
    assert_int_equal(seen.negotiated_version, 0x0302);
    ka_key_free(key);
}

static void a_premaster_secret_has_48_bytes(void **state) {
    static const size_t lengths[] = {0, 47, 49, 512};
    ka_key *key = open_key("keyagent:rsa");
    uint8_t premaster[KA_TLS_PREMASTER_SIZE] = {0xaa};
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) {
        plaintext_len = lengths[i];
        assert_int_equal(ka_key_decrypt_tls(key, 0x0303, 0, ciphertext, 256, premaster, NULL),
                         KA_ERR_MALFORMED);
        assert_int_equal(premaster[0], 0xaa);
    }
    ka_key_free(key);
}

static void only_rsa_decrypts_and_only_with_a_hash(void **state) {
    ka_key *ec = open_key("keyagent:p256"), *rsa = open_key("keyagent:rsa");
    uint8_t out[256];
    size_t out_len = sizeof out;
    (void)state;
    assert_int_equal(ka_key_decrypt_oaep(ec, KA_HASH_SHA256, ciphertext, 32, out, &out_len, NULL),
                     KA_ERR_MECHANISM);
    assert_int_equal(ka_key_decrypt_tls(ec, 0x0303, 0, ciphertext, 32, out, NULL), KA_ERR_MECHANISM);
    assert_int_equal(ka_key_decrypt_oaep(rsa, KA_HASH_NONE, ciphertext, 256, out, &out_len, NULL),
                     KA_ERR_INVALID);
    assert_int_equal(ka_key_decrypt_oaep(rsa, (ka_hash)9, ciphertext, 256, out, &out_len, NULL),
                     KA_ERR_INVALID);
    ka_key_free(ec);
    ka_key_free(rsa);
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(oaep_has_a_name_for_each_hash),
        WITH_AGENT(oaep_says_how_long_the_plaintext_is),
        WITH_AGENT(a_ciphertext_of_another_length_does_not_decrypt),
        WITH_AGENT(the_agents_refusal_is_passed_on),
        WITH_AGENT(a_premaster_secret_is_asked_for_with_both_versions),
        WITH_AGENT(a_premaster_secret_has_48_bytes),
        WITH_AGENT(only_rsa_decrypts_and_only_with_a_hash),
    };
    return cmocka_run_group_tests_name("decrypt", tests, NULL, NULL);
}
