/* One call and its connection: pipelining, reuse, loss and repeat, deadlines, and agents that misbehave. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "connection.h"
#include "fake_agent.h"

static struct fake_agent agent;
static ka_client *client;
static ka_key *key;

/* What the agent saw. */
static _Atomic unsigned signs, repeats, last_connection;
static _Atomic uint32_t last_deadline_ms;

static void note(const struct fake_request *request) {
    signs++;
    repeats += request->repeat;
    last_deadline_ms = request->deadline_ms;
    last_connection = request->from->number;
}

static void note_and_answer(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method == KA_METHOD_SIGN) note(request);
    fake_answer(fake, request);
}

static int start(void **state) {
    (void)state;
    signs = repeats = 0;
    fake_agent_start(&agent, note_and_answer, NULL);
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

/* Signs "m"; the fake signature begins with it. */
static ka_status sign(ka_error *err) {
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    uint8_t sig[256] = {0};
    size_t sig_len = sizeof sig;
    ka_status status = ka_key_sign(key, &params, (const uint8_t *)"m", 1, sig, &sig_len, err);
    if (status == KA_OK) assert_memory_equal(sig, "m\0", 2);
    return status;
}

static void calls_one_after_another_share_a_connection(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++)
        assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(agent.accepted, 1);
    assert_int_equal(signs, 10);
    assert_int_equal(repeats, 0);
}

/* hello is answered only once the request behind it is there: a client that waited for the answer would wait
 * for ever. */
static struct fake_request held_hello;

static void hold_hello(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    held_hello = *request;
}

static void answer_hello_then_request(struct fake_agent *fake, const struct fake_request *request) {
    fake_answer(fake, &held_hello);
    fake_answer(fake, request);
}

static void hello_and_the_first_request_go_together(void **state) {
    ka_client *other;
    ka_key *opened;
    (void)state;
    agent.hello = hold_hello;
    agent.handler = answer_hello_then_request;
    assert_int_equal(ka_client_new(agent.path, &other, NULL), KA_OK);
    assert_int_equal(ka_key_open(other, "keyagent:rsa", &opened, NULL), KA_OK);
    ka_key_free(opened);
    ka_client_free(other);
}

static void the_deadline_is_sent(void **state) {
    (void)state;
    assert_int_equal(ka_client_set_timeout(client, 5000), KA_OK);
    assert_int_equal(sign(NULL), KA_OK);
    assert_in_range(last_deadline_ms, 1, 5000);
    assert_true(last_deadline_ms > 2000);
}

static void close_first_sign(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method == KA_METHOD_SIGN) note(request);
    if (request->method == KA_METHOD_SIGN && signs == 1)
        fake_close(request->from);
    else
        fake_answer(fake, request);
}

static void a_request_lost_unanswered_is_repeated_once(void **state) {
    (void)state;
    agent.handler = close_first_sign;
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(signs, 2);
    assert_int_equal(repeats, 1);
    assert_int_equal(last_connection, 2);
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(repeats, 1);
}

/* Keys are answered two at a time; then those two connections end when they are used. */
static void answer_pairs_and_close(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method == KA_METHOD_SIGN) {
        note(request);
        if (request->from->number <= 2)
            fake_close(request->from);
        else
            fake_answer(fake, request);
        return;
    }
    struct fake_request *first = fake->context;
    if (first->from != NULL) {
        fake_answer_key(first, "rsa", 2048);
        fake_answer_key(request, "rsa", 2048);
    }
    *first = *request;
}

/* As when an agent restarts: every idle connection is as dead as the first. */
static void the_repeat_goes_over_a_new_connection(void **state) {
    struct fake_request first = {0};
    ka_request *requests[2];
    (void)state;
    agent.context = &first;
    agent.handler = answer_pairs_and_close;
    for (size_t i = 0; i < COUNT(requests); i++) {
        assert_int_equal(ka_key_open_start(client, "keyagent:rsa", &requests[i], NULL), KA_OK);
        ka_status status = ka_request_continue(requests[i], NULL);
        assert_true(status == KA_PENDING || (i == 1 && status == KA_OK));
    }
    for (size_t i = 0; i < COUNT(requests); i++) {
        while (ka_request_continue(requests[i], NULL) == KA_PENDING) {
            struct pollfd entry = {ka_request_fd(requests[i]), ka_request_events(requests[i]), 0};
            assert_int_equal(poll(&entry, 1, -1), 1);
        }
        assert_non_null(ka_request_key(requests[i]));
        ka_request_free(requests[i]);
    }
    assert_int_equal(agent.accepted, 2);
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(signs, 2);
    assert_int_equal(repeats, 1);
    assert_int_equal(last_connection, 3);
}

static void close_every_sign(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    note(request);
    fake_close(request->from);
}

static void and_never_twice(void **state) {
    ka_error err;
    (void)state;
    agent.handler = close_every_sign;
    assert_int_equal(sign(&err), KA_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "closed the connection twice"));
    assert_int_equal(signs, 2);
    assert_int_equal(repeats, 1);
}

/* The reply, cut at `cut` bytes; then the agent closes. */
static void cut_first_reply(struct fake_agent *fake, const struct fake_request *request) {
    static const char reply[] = "\0\0\0\x13\x94\1\3\xc0\x81\xa9signature\xc4\2ab";
    size_t cut = *(const size_t *)fake->context;
    note(request);
    if (signs > 1) {
        fake_answer(fake, request);
        return;
    }
    fake_send(request->from, reply, cut);
    fake_close(request->from);
}

static void a_reply_cut_at_any_byte_counts_as_none(void **state) {
    (void)state;
    for (size_t cut = 0; cut < 23; cut++) {
        assert_int_equal(end(NULL), 0);
        assert_int_equal(start(NULL), 0);
        agent.context = &cut;
        agent.handler = cut_first_reply;
        assert_int_equal(sign(NULL), KA_OK);
        assert_int_equal(signs, 2);
        assert_int_equal(repeats, 1);
    }
}

static void refuse(struct fake_agent *fake, const struct fake_request *request) {
    note(request);
    fake_answer_error(request->from, request->id, *(const ka_status *)fake->context, "no");
}

static void an_error_reply_is_passed_on_and_not_repeated(void **state) {
    static const ka_status statuses[] = {KA_ERR_LOCKED, KA_ERR_BUSY, KA_ERR_STOPPING, KA_ERR_TOKEN_ERROR,
                                         KA_ERR_TIMEOUT};
    (void)state;
    agent.handler = refuse;
    for (size_t i = 0; i < COUNT(statuses); i++) {
        ka_error err;
        agent.context = (void *)&statuses[i];
        assert_int_equal(sign(&err), statuses[i]);
        assert_string_equal(err.message, "no");
    }
    assert_int_equal(signs, COUNT(statuses));
    assert_int_equal(agent.accepted, 1); /* the connection lived on */
}

static void an_agent_that_restarted_while_idle_costs_no_repeat(void **state) {
    (void)state;
    assert_int_equal(sign(NULL), KA_OK);
    fake_agent_stop(&agent);
    fake_agent_resume(&agent);
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(repeats, 0);
    assert_int_equal(last_connection, 2);
}

static void a_stopped_agent_is_unavailable_and_a_started_one_is_found(void **state) {
    ka_error err;
    (void)state;
    fake_agent_stop(&agent);
    assert_int_equal(sign(&err), KA_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "start keyagentd"));
    fake_agent_resume(&agent);
    assert_int_equal(sign(NULL), KA_OK);
}

static void answer_badly(struct fake_agent *fake, const struct fake_request *request) {
    const struct ka_span *reply = fake->context;
    note(request);
    fake_send(request->from, reply->data, reply->len);
}

/* Wrong in each of the ways that a connection can see; those that the codec sees are in test_reply.c. */
static void a_malformed_reply_ends_the_connection_and_is_not_repeated(void **state) {
    const struct ka_span replies[] = {
        BYTES("\0\0\0\0"),                                          /* no body */
        BYTES("\0\0\x40\1"),                                        /* one byte too long */
        BYTES("\xff\xff\xff\xff"),                                  /* much too long */
        BYTES("\0\0\0\2\xc0\xc0"),                                  /* no message */
        BYTES("\0\0\0\5\x94\1\3\xc0\xc0"),                          /* neither error nor result */
        BYTES("\0\0\0\x13\x94\1\x63\xc0\x81\xa9signature\xc4\2ab"), /* an id that was never used */
        BYTES("\0\0\0\x13\x94\1\1\xc0\x81\xa9signature\xc4\2ab"),   /* hello's id */
        BYTES("\0\0\0\x16\x94\1\x63\x82\xa4"
              "code\5\xa7message\xa2no\xc0"), /* an error to another request */
        BYTES("\0\0\0\x1e\x93\2\xa5state\x82\xa5token\xa1t\xa5state\xa6locked"), /* nobody said notify */
    };
    (void)state;
    for (size_t i = 0; i < COUNT(replies); i++) {
        ka_error err;
        signs = 0;
        agent.context = (void *)&replies[i];
        agent.handler = answer_badly;
        unsigned connections = agent.accepted;
        assert_int_equal(sign(&err), KA_ERR_MALFORMED);
        assert_int_equal(signs, 1);
        agent.handler = note_and_answer;
        assert_int_equal(sign(NULL), KA_OK);
        assert_int_equal(agent.accepted, connections + 1);
        assert_int_equal(repeats, 0);
    }
}

static void answer_twice(struct fake_agent *fake, const struct fake_request *request) {
    note(request);
    fake_answer(fake, request);
    fake_send(request->from, "\0\0\0\1\xc0", 5);
}

/* Whether the stray bytes are seen with the reply or only later, they never reach the next request. */
static void what_follows_a_reply_never_reaches_the_next_request(void **state) {
    (void)state;
    agent.handler = answer_twice;
    assert_int_equal(sign(NULL), KA_OK);
    agent.handler = note_and_answer;
    ka_status status = sign(NULL);
    assert_true(status == KA_OK || status == KA_ERR_MALFORMED);
    assert_int_equal(sign(NULL), KA_OK);
}

/* Long enough for the agent's thread to see the request on a busy machine: what it saw is what counts. */
enum { SILENCE_MS = 1000 };

static void say_nothing(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    note(request);
}

static void silence_ends_at_the_deadline_and_ends_the_connection(void **state) {
    ka_error err;
    (void)state;
    agent.handler = say_nothing;
    assert_int_equal(ka_client_set_timeout(client, SILENCE_MS), KA_OK);
    assert_int_equal(sign(&err), KA_ERR_TIMEOUT);
    assert_int_equal(err.code, KA_ERR_TIMEOUT);
    assert_int_equal(signs, 1);
    agent.handler = note_and_answer;
    assert_int_equal(ka_client_set_timeout(client, 10000), KA_OK);
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(agent.accepted, 2); /* a late reply cannot reach it */
}

static void close_then_say_nothing(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    note(request);
    if (signs == 1) fake_close(request->from);
}

static void the_repeat_is_inside_the_first_deadline(void **state) {
    (void)state;
    agent.handler = close_then_say_nothing;
    assert_int_equal(ka_client_set_timeout(client, SILENCE_MS), KA_OK);
    assert_int_equal(sign(NULL), KA_ERR_TIMEOUT);
    assert_int_equal(signs, 2);
    assert_in_range(last_deadline_ms, 1, SILENCE_MS);
}

/* A listener whose backlog is full and who never accepts. */
static void connecting_ends_at_the_deadline(void **state) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    ka_client *other;
    ka_key *none;
    int filler[4];
    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/deaf.sock", agent.directory);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    for (size_t i = 0; i < COUNT(filler); i++) {
        filler[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(filler[i], (struct sockaddr *)&address,
                       sizeof address); /* the last ones are turned away */
    }
    assert_int_equal(ka_client_new(address.sun_path, &other, NULL), KA_OK);
    assert_int_equal(ka_client_set_timeout(other, 30), KA_OK);
    assert_int_equal(ka_key_open(other, "keyagent:rsa", &none, NULL), KA_ERR_TIMEOUT);
    ka_client_free(other);
    for (size_t i = 0; i < COUNT(filler); i++)
        close(filler[i]);
    close(listener);
    unlink(address.sun_path);
}

/* Between two tries the program closed the socket, and something else has its number. */
static void a_number_that_was_lost_while_the_queue_was_full_is_left_alone(void **state) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ka_connection connection = {.fd = -1};
    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/busy.sock", agent.directory);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(ka_connection_open(&connection, address.sun_path, NULL), KA_PENDING);
    int other = socket(AF_UNIX, SOCK_STREAM, 0), number = connection.fd;
    assert_int_equal(dup2(other, number), number);
    int accepted = accept(listener, NULL, NULL);
    assert_int_equal(ka_connection_open(&connection, address.sun_path, NULL), KA_OK);
    assert_int_not_equal(connection.fd, number);
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    assert_int_equal(getpeername(number, (struct sockaddr *)&peer, &len), -1); /* nobody connected it */
    ka_connection_close(&connection);
    const int fds[] = {other, number, accepted, first, listener};
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    unlink(address.sun_path);
}

static void refuse_hello(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    fake_answer_error(request->from, request->id, KA_ERR_UNSUPPORTED, "versions 2 to 3 only");
    fake_close(request->from);
}

static void refuse_connection(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    fake_answer_error(request->from, 0, KA_ERR_BUSY, "too many connections");
    fake_close(request->from);
}

static void choose_version_2(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    static const char reply[] = "\0\0\0\x46\x94\1\1\xc0\x85\xa7version\2\xa5"
                                "agent\xa1"
                                "a\xa9max_frame\1\xabmax_message\1\xadmax_in_flight\1";
    uint8_t frame[sizeof reply - 1];
    memcpy(frame, reply, sizeof frame);
    frame[3] = (uint8_t)(sizeof frame - 4);
    fake_send(request->from, frame, sizeof frame);
}

static void a_refused_hello_is_the_calls_error(void **state) {
    static const struct {
        fake_handler *hello;
        ka_status status;
        const char *text;
    } cases[] = {
        {refuse_hello, KA_ERR_UNSUPPORTED, "versions 2 to 3 only"},
        {refuse_connection, KA_ERR_BUSY, "too many connections"},
        {choose_version_2, KA_ERR_UNSUPPORTED, "the agent chose protocol version 2, which was not offered"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        ka_client *other;
        ka_key *none = NULL;
        ka_error err;
        agent.hello = cases[i].hello;
        assert_int_equal(ka_client_new(agent.path, &other, NULL), KA_OK);
        assert_int_equal(ka_key_open(other, "keyagent:rsa", &none, &err), cases[i].status);
        assert_string_equal(err.message, cases[i].text);
        assert_null(none);
        ka_client_free(other);
    }
}

/* Agents that refuse a connection before they have read anything from it. */
static void close_at_hello(struct fake_agent *fake, const struct fake_request *request) {
    (void)fake;
    fake_close(request->from);
}

static void an_agent_that_only_hangs_up_is_named_for_it(void **state) {
    ka_client *other;
    ka_key *none;
    ka_error err;
    (void)state;
    agent.hello = close_at_hello;
    assert_int_equal(ka_client_new(agent.path, &other, NULL), KA_OK);
    assert_int_equal(ka_key_open(other, "keyagent:rsa", &none, &err), KA_ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "closes new connections: it is stopping or overloaded"));
    ka_client_free(other);
    assert_int_equal(agent.accepted, 3); /* once more, and then no more */
}

/* The agent has said why and hung up before the request is written: what it said is read all the same. */
static void a_refusal_at_accept_is_read_though_nothing_can_be_written(void **state) {
    static const char refusal[] = "\0\0\0\x24\x94\1\0\x82\xa4"
                                  "code\x09\xa7message\xb0"
                                  "too many of them\xc0";
    static struct ka_exchange exchange;
    struct ka_params params = {.method = KA_METHOD_KEY, .uri = BYTES("keyagent:rsa")};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ka_connection connection = {.fd = -1};
    struct ka_reply reply;
    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/curt.sock", agent.directory);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(ka_connection_open(&connection, address.sun_path, NULL), KA_OK);
    int accepted = accept(listener, NULL, NULL);
    assert_int_equal(write(accepted, refusal, sizeof refusal - 1), sizeof refusal - 1);
    close(accepted);
    assert_int_equal(ka_connection_write(&connection, &params, 1000, false, &exchange, NULL), KA_OK);
    assert_int_equal(ka_connection_send(&connection, &exchange), KA_OK);
    assert_true(exchange.cut);
    assert_int_equal(ka_connection_receive(&connection, KA_METHOD_KEY, &exchange, &reply, NULL), KA_OK);
    assert_true(reply.failed);
    assert_int_equal(reply.error.code, KA_ERR_BUSY);
    assert_true(span_is(reply.error.text, "too many of them"));
    assert_int_equal(connection.fd, -1);
    close(listener);
    unlink(address.sun_path);
}

static void end_connection_at_first_sign(struct fake_agent *fake, const struct fake_request *request) {
    if (request->method == KA_METHOD_SIGN) note(request);
    if (request->method != KA_METHOD_SIGN || signs > 1) {
        fake_answer(fake, request);
        return;
    }
    fake_answer_error(request->from, 0, KA_ERR_STOPPING, "bye");
    fake_close(request->from);
}

static void an_error_about_a_connection_in_use_leaves_the_request_unanswered(void **state) {
    (void)state;
    agent.handler = end_connection_at_first_sign;
    assert_int_equal(sign(NULL), KA_OK);
    assert_int_equal(signs, 2);
    assert_int_equal(repeats, 1);
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(calls_one_after_another_share_a_connection),
        WITH_AGENT(hello_and_the_first_request_go_together),
        WITH_AGENT(the_deadline_is_sent),
        WITH_AGENT(a_request_lost_unanswered_is_repeated_once),
        WITH_AGENT(and_never_twice),
        WITH_AGENT(the_repeat_goes_over_a_new_connection),
        WITH_AGENT(a_reply_cut_at_any_byte_counts_as_none),
        WITH_AGENT(an_error_reply_is_passed_on_and_not_repeated),
        WITH_AGENT(an_agent_that_restarted_while_idle_costs_no_repeat),
        WITH_AGENT(a_stopped_agent_is_unavailable_and_a_started_one_is_found),
        WITH_AGENT(a_malformed_reply_ends_the_connection_and_is_not_repeated),
        WITH_AGENT(what_follows_a_reply_never_reaches_the_next_request),
        WITH_AGENT(silence_ends_at_the_deadline_and_ends_the_connection),
        WITH_AGENT(the_repeat_is_inside_the_first_deadline),
        WITH_AGENT(connecting_ends_at_the_deadline),
        WITH_AGENT(a_number_that_was_lost_while_the_queue_was_full_is_left_alone),
        WITH_AGENT(a_refused_hello_is_the_calls_error),
        WITH_AGENT(an_agent_that_only_hangs_up_is_named_for_it),
        WITH_AGENT(a_refusal_at_accept_is_read_though_nothing_can_be_written),
        WITH_AGENT(an_error_about_a_connection_in_use_leaves_the_request_unanswered),
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
