/* ka_client and ka_key: paths, public data, and keys that cannot be. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fake_agent.h"

static struct fake_agent agent;
static ka_client *client;

static int start(void **state) {
    (void)state;
    fake_agent_start(&agent, fake_answer, NULL);
    return ka_client_new(agent.path, &client, NULL);
}

static int end(void **state) {
    (void)state;
    ka_client_free(client);
    fake_agent_end(&agent);
    return 0;
}

static void a_new_client_connects_to_nothing(void **state) {
    (void)state;
    assert_string_equal(ka_client_socket_path(client), agent.path);
    assert_int_equal(agent.accepted, 0);
}

static void a_key_has_what_the_agent_said(void **state) {
    ka_key *key;
    size_t len;
    (void)state;
    assert_int_equal(ka_key_open(client, "pkcs11:object=rsa", &key, NULL), KA_OK);
    assert_string_equal(ka_key_uri(key), "pkcs11:token=t;object=full");
    assert_int_equal(ka_key_algorithm(key), KA_ALG_RSA);
    assert_int_equal(ka_key_bits(key), 2048);
    assert_int_equal(ka_key_signature_max(key), 256);
    assert_memory_equal(ka_key_spki(key, &len), "spki", 4);
    assert_int_equal(len, 4);
    assert_int_equal(ka_key_certificate_count(key), 2);
    assert_memory_equal(ka_key_certificate(key, 0, &len), "leaf", 4);
    assert_memory_equal(ka_key_certificate(key, 1, &len), "issuer", 6);
    assert_int_equal(len, 6);
    assert_null(ka_key_certificate(key, 2, &len));
    assert_null(ka_key_certificate(key, SIZE_MAX, &len));
    ka_key_free(key);
}

static void every_kind_of_key_has_its_signature_size(void **state) {
    static const struct {
        const char *uri;
        ka_algorithm algorithm;
        unsigned bits;
        size_t max;
    } cases[] = {
        {"keyagent:p256", KA_ALG_EC_P256, 256, 72},
        {"keyagent:p384", KA_ALG_EC_P384, 384, 104},
        {"keyagent:p521", KA_ALG_EC_P521, 521, 139},
        {"keyagent:ed25519", KA_ALG_ED25519, 255, 64},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ka_key *key;
        assert_int_equal(ka_key_open(client, cases[i].uri, &key, NULL), KA_OK);
        assert_int_equal(ka_key_algorithm(key), cases[i].algorithm);
        assert_int_equal(ka_key_bits(key), cases[i].bits);
        assert_int_equal(ka_key_signature_max(key), cases[i].max);
        ka_key_free(key);
    }
}

static void a_key_outlives_its_client_and_its_first_owner(void **state) {
    ka_key *key;
    uint8_t sig[256];
    size_t sig_len = sizeof sig;
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    (void)state;
    assert_int_equal(ka_key_open(client, "keyagent:rsa", &key, NULL), KA_OK);
    ka_client_free(client);
    client = NULL;
    assert_ptr_equal(ka_key_ref(key), key);
    ka_key_free(key);
    assert_int_equal(ka_key_sign(key, &params, (const uint8_t *)"m", 1, sig, &sig_len, NULL), KA_OK);
    ka_key_free(key);
}

static void an_unknown_key_gives_the_agents_words(void **state) {
    ka_key *key = NULL;
    ka_error err;
    (void)state;
    assert_int_equal(ka_key_open(client, "keyagent:none", &key, &err), KA_ERR_NOT_FOUND);
    assert_int_equal(err.code, KA_ERR_NOT_FOUND);
    assert_string_equal(err.message, "no such key");
    assert_null(key);
}

static void a_refused_uri_is_never_sent(void **state) {
    ka_key *key = NULL;
    (void)state;
    assert_int_equal(ka_key_open(client, "pkcs11:?pin-value=1234", &key, NULL), KA_ERR_INVALID);
    assert_int_equal(agent.accepted, 0);
    assert_null(key);
}

struct claim {
    const char *algorithm;
    uint32_t bits;
};

static void answer_claim(struct fake_agent *fake, const struct fake_request *request) {
    const struct claim *claim = fake->context;
    fake_answer_key(request, claim->algorithm, claim->bits);
}

static void a_key_that_cannot_be_is_refused(void **state) {
    static const struct claim claims[] = {
        {"rsa", 0},       {"rsa", 1023},    {"rsa", 4097},    {"rsa", UINT32_MAX},
        {"ec-p256", 384}, {"ec-p384", 256}, {"ec-p521", 528}, {"ed25519", 448},
    };
    (void)state;
    agent.handler = answer_claim;
    for (size_t i = 0; i < COUNT(claims); i++) {
        ka_key *key = NULL;
        agent.context = (void *)&claims[i];
        assert_int_equal(ka_key_open(client, "keyagent:x", &key, NULL), KA_ERR_MALFORMED);
        assert_null(key);
    }
}

static void paths_are_absolute_and_fit_an_address(void **state) {
    char path[109];
    ka_client *none = NULL;
    ka_error err;
    (void)state;
    assert_int_equal(ka_client_new("agent.sock", &none, &err), KA_ERR_INVALID);
    assert_string_equal(err.message, "the socket's path \"agent.sock\" is not absolute");
    assert_int_equal(ka_client_new("", &none, NULL), KA_ERR_INVALID);
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    path[108] = '\0';
    assert_int_equal(ka_client_new(path, &none, NULL), KA_ERR_INVALID);
    assert_null(none);
    path[107] = '\0';
    assert_int_equal(ka_client_new(path, &none, NULL), KA_OK);
    assert_string_equal(ka_client_socket_path(none), path);
    ka_client_free(none);
    ka_client_free(NULL);
    ka_key_free(NULL);
}

static void the_environment_names_the_socket(void **state) {
    ka_client *found;
    (void)state;
    setenv("KEYAGENT_SOCK", "/x/y.sock", 1);
    assert_int_equal(ka_client_new(NULL, &found, NULL), KA_OK);
    assert_string_equal(ka_client_socket_path(found), "/x/y.sock");
    ka_client_free(found);
    setenv("KEYAGENT_SOCK", "relative", 1);
    assert_int_equal(ka_client_new(NULL, &found, NULL), KA_ERR_INVALID);
    unsetenv("KEYAGENT_SOCK");
}

/* The system's agent may or may not run where the test does; both answers are then known. */
static void without_it_the_systems_socket_comes_before_the_users(void **state) {
    bool system_exists = access("/run/keyagent/agent.sock", F_OK) == 0;
    ka_client *found;
    (void)state;
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(ka_client_new(NULL, &found, NULL), KA_OK);
    assert_string_equal(ka_client_socket_path(found),
                        system_exists ? "/run/keyagent/agent.sock" : "/run/user/7/keyagent/agent.sock");
    ka_client_free(found);
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(ka_client_new(NULL, &found, NULL), KA_OK);
    assert_string_equal(ka_client_socket_path(found), "/run/keyagent/agent.sock");
    ka_client_free(found);
}

static void a_timeout_of_zero_is_refused(void **state) {
    (void)state;
    assert_int_equal(ka_client_set_timeout(client, 0), KA_ERR_INVALID);
    assert_int_equal(ka_client_set_timeout(client, 1), KA_OK);
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(a_new_client_connects_to_nothing),
        WITH_AGENT(a_key_has_what_the_agent_said),
        WITH_AGENT(every_kind_of_key_has_its_signature_size),
        WITH_AGENT(a_key_outlives_its_client_and_its_first_owner),
        WITH_AGENT(an_unknown_key_gives_the_agents_words),
        WITH_AGENT(a_refused_uri_is_never_sent),
        WITH_AGENT(a_key_that_cannot_be_is_refused),
        WITH_AGENT(a_timeout_of_zero_is_refused),
        cmocka_unit_test(paths_are_absolute_and_fit_an_address),
        cmocka_unit_test(the_environment_names_the_socket),
        cmocka_unit_test(without_it_the_systems_socket_comes_before_the_users),
    };
    return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
