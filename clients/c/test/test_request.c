/* Requests that the program waits for itself: each function that starts one, what it waits for, and how it
 * ends. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "deadline.h"
#include "fake_agent.h"
#include "require.h"

static const ka_sign_params pss = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};

static struct fake_agent agent;
static ka_client *client;
static ka_key *key;

static int start(void **state) {
    (void)state;
    fake_agent_start(&agent, fake_answer, NULL);
    if (ka_client_new(agent.path, &client, NULL) != KA_OK) return -1;
    return ka_key_open(client, "keyagent:rsa", &key, NULL);
}

static int end(void **state) {
    (void)state;
    ka_key_free(key);
    ka_client_free(client);
    fake_agent_end(&agent);
    return 0;
}

/* Waits for what the request says it waits for. */
static void wait_for(const ka_request *request) {
    struct pollfd entry = {ka_request_fd(request), ka_request_events(request), 0};
    assert_true(entry.fd < 0 || entry.events != 0);
    assert_true(poll(&entry, 1, ka_request_timeout_ms(request)) >= 0);
}

static ka_status finish(ka_request *request, ka_error *err) {
    ka_status status;
    while ((status = ka_request_continue(request, err)) == KA_PENDING)
        wait_for(request);
    return status;
}

static ka_request *start_sign(const char *message) {
    ka_request *request = NULL;
    assert_int_equal(ka_key_sign_start(key, &pss, (const uint8_t *)message, strlen(message), &request, NULL),
                     KA_OK);
    return request;
}

/* The fake signature begins with the message. */
static void assert_signature_of(const ka_request *request, const char *message) {
    size_t len = 0;
    const uint8_t *signature = ka_request_bytes(request, &len);
    assert_non_null(signature);
    assert_int_equal(len, 256);
    assert_string_equal((const char *)signature, message);
}

static void a_signature_comes_without_blocking(void **state) {
    (void)state;
    ka_request *request = start_sign("m");
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_signature_of(request, "m");
    ka_request_free(request);
    assert_int_equal(agent.accepted, 1); /* the connection that opened the key served again */
}

static void starting_asks_nobody_and_waits_for_nothing(void **state) {
    (void)state;
    unsigned before = agent.requests;
    ka_request *request = start_sign("m");
    assert_int_equal(ka_request_fd(request), -1);
    assert_int_equal(ka_request_events(request), 0);
    assert_int_equal(ka_request_timeout_ms(request), 0);
    ka_request_free(request);
    assert_int_equal(agent.requests, before);
}

static void what_is_asked_is_a_copy(void **state) {
    char message[] = "before";
    (void)state;
    ka_request *request = start_sign(message);
    memcpy(message, "AFTER!", 6);
    ka_key_free(key);
    key = NULL; /* the request holds what it needs */
    ka_client_free(client);
    client = NULL;
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_signature_of(request, "before");
    ka_request_free(request);
}

static void a_key_is_found_and_outlives_its_request(void **state) {
    ka_request *request = NULL;
    size_t len;
    (void)state;
    assert_int_equal(ka_key_open_start(client, "keyagent:p256", &request, NULL), KA_OK);
    assert_null(ka_request_key(request));
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_null(ka_request_bytes(request, &len));
    ka_key *found = ka_key_ref(ka_request_key(request));
    ka_request_free(request);
    assert_int_equal(ka_key_algorithm(found), KA_ALG_EC_P256);
    ka_key_free(found);
}

/* What the agent was asked last. */
static char asked[64];

static void record(struct fake_agent *fake, const struct fake_request *request) {
    snprintf(asked, sizeof asked, "%.*s %s %zu", (int)request->alg.len, (const char *)request->alg.data,
             request->payload_kind, request->payload.len);
    fake_answer(fake, request);
}

static ka_status start_digest(ka_request **out) {
    static const uint8_t digest[32];
    return ka_key_sign_digest_start(key, &pss, digest, sizeof digest, out, NULL);
}

static ka_status start_long_message(ka_request **out) {
    static const uint8_t message[KA_MESSAGE_MAX + 1];
    return ka_key_sign_start(key, &pss, message, sizeof message, out, NULL);
}

static ka_status start_signer_of(size_t len, ka_request **out) {
    static const uint8_t message[KA_MESSAGE_MAX + 1];
    ka_signer *signer;
    size_t sig_len = 256;
    uint8_t sig[256];
    assert_int_equal(ka_signer_new(key, &pss, &signer, NULL), KA_OK);
    assert_int_equal(ka_signer_update(signer, message, len), KA_OK);
    ka_status status = ka_signer_finish_start(signer, out, NULL);
    assert_int_equal(ka_signer_finish(signer, sig, &sig_len, NULL), KA_ERR_INVALID);
    ka_signer_free(signer);
    return status;
}

static ka_status start_short_signer(ka_request **out) {
    return start_signer_of(7, out);
}

static ka_status start_long_signer(ka_request **out) {
    return start_signer_of(KA_MESSAGE_MAX + 1, out);
}

static const uint8_t ciphertext[256];

static ka_status start_oaep(ka_request **out) {
    return ka_key_decrypt_oaep_start(key, KA_HASH_SHA256, ciphertext, sizeof ciphertext, out, NULL);
}

static ka_status start_tls(ka_request **out) {
    return ka_key_decrypt_tls_start(key, 0x0303, 0, ciphertext, sizeof ciphertext, out, NULL);
}

static void every_way_to_start_asks_what_the_blocking_function_asks(void **state) {
    static const struct {
        ka_status (*start)(ka_request **out);
        const char *asked;
        size_t len; /* of the answer */
    } cases[] = {
        {start_digest, "rsa-pss-sha256 digest 32", 256},
        {start_long_message, "rsa-pss-sha256 digest 32", 256},
        {start_short_signer, "rsa-pss-sha256 message 7", 256},
        {start_long_signer, "rsa-pss-sha256 digest 32", 256},
        {start_oaep, "rsa-oaep-sha256 ciphertext 256", 48},
        {start_tls, "rsa-pkcs1-tls ciphertext 256", 48},
    };
    (void)state;
    agent.handler = record;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ka_request *request = NULL;
        size_t len = 0;
        assert_int_equal(cases[i].start(&request), KA_OK);
        assert_int_equal(finish(request, NULL), KA_OK);
        assert_non_null(ka_request_bytes(request, &len));
        assert_int_equal(len, cases[i].len);
        assert_string_equal(asked, cases[i].asked);
        assert_null(ka_request_key(request));
        ka_request_free(request);
    }
}

static void what_is_wrong_with_arguments_is_said_at_once(void **state) {
    static const ka_sign_params ecdsa = {.scheme = KA_ECDSA, .hash = KA_HASH_SHA256};
    ka_request *request = NULL;
    (void)state;
    assert_int_equal(ka_key_open_start(client, "pkcs11:object=a?pin-value=1", &request, NULL),
                     KA_ERR_INVALID);
    assert_int_equal(ka_key_sign_start(key, &ecdsa, ciphertext, 1, &request, NULL), KA_ERR_MECHANISM);
    assert_int_equal(ka_key_sign_digest_start(key, &pss, ciphertext, 31, &request, NULL), KA_ERR_INVALID);
    assert_int_equal(ka_key_decrypt_oaep_start(key, KA_HASH_NONE, ciphertext, 256, &request, NULL),
                     KA_ERR_INVALID);
    assert_int_equal(ka_key_decrypt_oaep_start(key, KA_HASH_SHA256, ciphertext, 255, &request, NULL),
                     KA_ERR_DECRYPT_FAILED);
    assert_int_equal(ka_key_decrypt_tls_start(key, 0x0303, 0, ciphertext, 257, &request, NULL),
                     KA_ERR_INVALID);
    assert_null(request);
}

static void a_finished_request_says_so_and_waits_for_nothing(void **state) {
    ka_error err;
    (void)state;
    ka_request *request = start_sign("m");
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_int_equal(ka_request_fd(request), -1);
    assert_int_equal(ka_request_continue(request, &err), KA_ERR_INVALID);
    assert_string_equal(err.message, "this request is finished already");
    assert_signature_of(request, "m");
    ka_request_free(request);
}

static void refuse(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    fake_answer_error(request->from, request->id, KA_ERR_LOCKED, "unlock it");
}

static void an_error_is_the_requests_and_leaves_no_result(void **state) {
    ka_error err;
    size_t len = 99;
    (void)state;
    agent.handler = refuse;
    ka_request *request = start_sign("m");
    assert_int_equal(finish(request, &err), KA_ERR_LOCKED);
    assert_string_equal(err.message, "unlock it");
    assert_null(ka_request_bytes(request, &len));
    assert_int_equal(len, 99);
    ka_request_free(request);
    fake_agent_stop(&agent);
    request = start_sign("m");
    assert_int_equal(ka_request_continue(request, &err), KA_ERR_UNAVAILABLE);
    ka_request_free(request);
    fake_agent_resume(&agent);
}

/* Held until all are there, then answered in the wrong order. */
enum { CROWD = 200 };

struct crowd {
    unsigned waiting;
    struct fake_connection *from[CROWD];
    uint32_t id[CROWD];
    uint8_t signature[CROWD][256];
};

static void hold_all_and_answer_backwards(struct fake_agent *fake, const struct fake_request *request) {
    struct crowd *crowd = fake->context;
    unsigned at = crowd->waiting++;
    crowd->from[at] = request->from;
    crowd->id[at] = request->id;
    memset(crowd->signature[at], 0, 256);
    memcpy(crowd->signature[at], request->payload.data, request->payload.len);
    if (crowd->waiting < CROWD) return;
    for (unsigned i = CROWD; i-- > 0;) {
        const struct fake_request held = {.from = crowd->from[i], .id = crowd->id[i]};
        fake_answer_bytes(&held, "signature", crowd->signature[i], 256);
    }
}

static void one_thread_has_two_hundred_in_flight_and_each_gets_its_own_answer(void **state) {
    static struct crowd crowd;
    static ka_request *requests[CROWD];
    char messages[CROWD][16];
    unsigned left = CROWD;
    (void)state;
    memset(&crowd, 0, sizeof crowd);
    agent.context = &crowd;
    agent.handler = hold_all_and_answer_backwards;
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(messages[i], sizeof messages[i], "message %u", i);
        requests[i] = start_sign(messages[i]);
    }
    struct pollfd entries[CROWD];
    bool done[CROWD] = {false};
    while (left > 0) {
        for (unsigned i = 0; i < CROWD; i++) {
            if (!done[i]) {
                ka_status status = ka_request_continue(requests[i], NULL);
                assert_true(status == KA_OK || status == KA_PENDING);
                done[i] = status == KA_OK;
                left -= done[i];
            }
            entries[i] = (struct pollfd){ka_request_fd(requests[i]), ka_request_events(requests[i]), 0};
        }
        if (left > 0) assert_true(poll(entries, CROWD, 10) >= 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        assert_signature_of(requests[i], messages[i]);
        ka_request_free(requests[i]);
    }
    assert_int_equal(agent.accepted, CROWD);
}

static void close_first(struct fake_agent *fake, const struct fake_request *request) {
    unsigned *signs = fake->context;
    require(request->repeat == (*signs > 0), "only the second time is a repeat");
    if ((*signs)++ == 0)
        fake_close(request->from);
    else
        fake_answer(fake, request);
}

static void a_request_lost_unanswered_is_repeated_once(void **state) {
    unsigned signs = 0;
    (void)state;
    agent.context = &signs;
    agent.handler = close_first;
    ka_request *request = start_sign("m");
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_signature_of(request, "m");
    ka_request_free(request);
    assert_int_equal(signs, 2);
}

static void say_nothing(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    (void)request;
}

static void silence_ends_at_the_deadline(void **state) {
    ka_error err;
    (void)state;
    agent.handler = say_nothing;
    assert_int_equal(ka_client_set_timeout(client, 30), KA_OK);
    ka_request *request = start_sign("m");
    assert_int_equal(finish(request, &err), KA_ERR_TIMEOUT);
    assert_string_equal(err.message, "the agent gave no answer in time; see `keyagent status`");
    ka_request_free(request);
}

static void one_that_begins_too_late_asks_nobody(void **state) {
    (void)state;
    unsigned before = agent.requests;
    assert_int_equal(ka_client_set_timeout(client, 1), KA_OK);
    ka_request *request = start_sign("m");
    const struct ka_deadline passed = ka_deadline_in(1);
    while (ka_deadline_left_ms(&passed) > 0)
        continue;
    assert_int_equal(ka_request_continue(request, NULL), KA_ERR_TIMEOUT);
    ka_request_free(request);
    assert_int_equal(agent.requests, before);
}

static void answer_next_only(struct fake_agent *fake, const struct fake_request *request) {
    if (span_is(request->payload, "next")) fake_answer(fake, request);
}

static void freeing_cancels(void **state) {
    (void)state;
    agent.handler = answer_next_only;
    ka_request *request = start_sign("m");
    assert_int_equal(ka_request_continue(request, NULL), KA_PENDING);
    assert_true(ka_request_fd(request) >= 0);
    assert_int_equal(ka_request_events(request), POLLIN);
    assert_in_range(ka_request_timeout_ms(request), 1, 10000);
    ka_request_free(request);
    request = start_sign("next"); /* on a connection that no late answer can reach */
    assert_int_equal(finish(request, NULL), KA_OK);
    assert_signature_of(request, "next");
    ka_request_free(request);
    assert_int_equal(agent.accepted, 2);
}

/* A queue of one place that is taken: nothing can be watched, and nothing blocks. */
static void a_full_queue_is_tried_again(void **state) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ka_client *other;
    ka_request *request;
    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/busy.sock", agent.directory);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(ka_client_new(address.sun_path, &other, NULL), KA_OK);
    assert_int_equal(ka_key_open_start(other, "keyagent:rsa", &request, NULL), KA_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ka_request_continue(request, NULL), KA_PENDING);
        assert_int_equal(ka_request_fd(request), -1);
        assert_in_range(ka_request_timeout_ms(request), 1, 10);
    }
    int accepted = accept(listener, NULL, NULL);
    assert_int_equal(ka_request_continue(request, NULL), KA_PENDING);
    assert_true(ka_request_fd(request) >= 0);
    ka_request_free(request);
    ka_client_free(other);
    close(accepted);
    close(first);
    close(listener);
    unlink(address.sun_path);
}

static void a_socket_of_a_stranger_is_refused(void **state) {
    ka_request *request;
    ka_client *other;
    (void)state;
    if (geteuid() != 0) skip();
    assert_int_equal(lchown(agent.path, 64123, (gid_t)-1), 0);
    assert_int_equal(ka_client_new(agent.path, &other, NULL), KA_OK);
    assert_int_equal(ka_key_open_start(other, "keyagent:rsa", &request, NULL), KA_OK);
    assert_int_equal(chmod(agent.directory, 0777), 0);
    assert_int_equal(ka_request_continue(request, NULL), KA_ERR_UNTRUSTED);
    ka_request_free(request);
    ka_client_free(other);
}

static void nothing_is_freed_where_nothing_is(void **state) {
    (void)state;
    ka_request_free(NULL);
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(a_signature_comes_without_blocking),
        WITH_AGENT(starting_asks_nobody_and_waits_for_nothing),
        WITH_AGENT(what_is_asked_is_a_copy),
        WITH_AGENT(a_key_is_found_and_outlives_its_request),
        WITH_AGENT(every_way_to_start_asks_what_the_blocking_function_asks),
        WITH_AGENT(what_is_wrong_with_arguments_is_said_at_once),
        WITH_AGENT(a_finished_request_says_so_and_waits_for_nothing),
        WITH_AGENT(an_error_is_the_requests_and_leaves_no_result),
        WITH_AGENT(one_thread_has_two_hundred_in_flight_and_each_gets_its_own_answer),
        WITH_AGENT(a_request_lost_unanswered_is_repeated_once),
        WITH_AGENT(silence_ends_at_the_deadline),
        WITH_AGENT(one_that_begins_too_late_asks_nobody),
        WITH_AGENT(freeing_cancels),
        WITH_AGENT(a_full_queue_is_tried_again),
        WITH_AGENT(a_socket_of_a_stranger_is_refused),
        cmocka_unit_test(nothing_is_freed_where_nothing_is),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
