/* Threads and signals: many calls at once, interrupted or not, each with its own answer. */
#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fake_agent.h"
#include "pool.h"
#include "require.h"

enum { THREADS = 16, ROUNDS = 100 };

static struct fake_agent agent;
static ka_client *client;
static ka_key *key;

/* How long threads wait for their turn under valgrind is not what is tested; meson ends what hangs. */
enum { PATIENCE_MS = 3600 * 1000 };

static int start(void **state) {
    (void)state;
    fake_agent_start(&agent, fake_answer, NULL);
    if (ka_client_new(agent.path, &client, NULL) != KA_OK) return -1;
    if (ka_client_set_timeout(client, PATIENCE_MS) != KA_OK) return -1;
    return ka_key_open(client, "keyagent:rsa", &key, NULL);
}

static int end(void **state) {
    (void)state;
    ka_key_free(key);
    ka_client_free(client);
    fake_agent_end(&agent);
    return 0;
}

static int count_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

struct worker {
    pthread_t thread;
    unsigned number, rounds, good;
};

/* Signs messages that nobody else signs, and counts the answers that belong to them. */
static void *sign_many(void *argument) {
    struct worker *worker = argument;
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    for (unsigned round = 0; round < worker->rounds; round++) {
        char message[64];
        uint8_t sig[256] = {0};
        size_t sig_len = sizeof sig;
        int len = snprintf(message, sizeof message, "thread %u round %u", worker->number, round);
        ka_error err;
        ka_status status = ka_key_sign(key, &params, (uint8_t *)message, (size_t)len, sig, &sig_len, &err);
        if (status != KA_OK) fprintf(stderr, "%s: %s\n", message, err.message);
        worker->good += status == KA_OK && strcmp((char *)sig, message) == 0;
    }
    return NULL;
}

static void run(struct worker *workers, unsigned count, unsigned rounds) {
    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct worker){.number = i, .rounds = rounds};
        require(pthread_create(&workers[i].thread, NULL, sign_many, &workers[i]) == 0, "pthread_create");
    }
}

/* All have ended before any is judged: an assert jumps to the teardown, which frees what they use. */
static void join(struct worker *workers, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        require(pthread_join(workers[i].thread, NULL) == 0, "pthread_join");
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(workers[i].good, workers[i].rounds);
}

static void sixteen_threads_get_their_own_answers_over_as_many_connections(void **state) {
    struct worker workers[THREADS];
    (void)state;
    run(workers, THREADS, ROUNDS);
    join(workers, THREADS);
    assert_int_equal(agent.requests, 1 + THREADS * ROUNDS);
    assert_in_range(agent.accepted, 1, THREADS);
}

/* Nothing is answered until every thread has its request in flight. */
enum { CROWD = KA_POOL_KEPT + 8 };

struct crowd {
    unsigned waiting;
    struct fake_connection *from[CROWD];
    uint32_t id[CROWD];
    uint8_t signature[CROWD][256];
};

static void hold_until_all_are_there(struct fake_agent *fake, const struct fake_request *request) {
    struct crowd *crowd = fake->context;
    unsigned at = crowd->waiting++;
    require(at < CROWD, "more requests than threads");
    crowd->from[at] = request->from;
    crowd->id[at] = request->id;
    memset(crowd->signature[at], 0, 256);
    memcpy(crowd->signature[at], request->payload.data, request->payload.len);
    if (crowd->waiting < CROWD) return;
    for (unsigned i = 0; i < CROWD; i++) {
        const struct fake_request held = {.from = crowd->from[i], .id = crowd->id[i]};
        fake_answer_bytes(&held, "signature", crowd->signature[i], 256);
    }
}

static void more_threads_than_slots_are_served_and_the_rest_is_closed(void **state) {
    static struct crowd crowd;
    struct worker workers[CROWD];
    (void)state;
    int before = count_descriptors();
    agent.context = &crowd;
    agent.handler = hold_until_all_are_there;
    run(workers, CROWD, 1);
    join(workers, CROWD);
    assert_int_equal(agent.accepted, CROWD); /* the one that opened the key was used again */
    /* Every connection that is kept has two ends in this process; how many the agent has closed already is
     * its affair. */
    assert_in_range(count_descriptors() - before, 2 * (KA_POOL_KEPT - 1), 2 * (CROWD - 1));
}

static _Atomic unsigned interruptions; /* lock-free, so a handler may touch it */

static void interrupt(int number) {
    (void)number;
    interruptions++;
}

static void signals_interrupt_nothing(void **state) {
    struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */
    struct worker workers[THREADS];
    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    run(workers, THREADS, ROUNDS);
    for (unsigned wave = 0; wave < 200; wave++) {
        for (unsigned i = 0; i < THREADS; i++)
            require(pthread_kill(workers[i].thread, SIGUSR1) == 0, "pthread_kill");
    }
    join(workers, THREADS);
    assert_true(interruptions > 0);
}

/* Closes every connection after each answer: the next request on it goes to a socket that nobody reads. */
static void answer_and_close(struct fake_agent *fake, const struct fake_request *request) {
    fake_answer(fake, request);
    fake_close(request->from);
}

static _Atomic unsigned pipes;

static void count_pipe(int number) {
    (void)number;
    pipes++;
}

static void an_agent_that_hangs_up_raises_no_signal_and_leaks_no_descriptor(void **state) {
    struct worker worker;
    (void)state;
    int before = count_descriptors();
    assert_true(signal(SIGPIPE, count_pipe) != SIG_ERR);
    agent.handler = answer_and_close;
    run(&worker, 1, ROUNDS);
    join(&worker, 1);
    assert_int_equal(pipes, 0);
    assert_true(count_descriptors() <= before);
    assert_true(agent.accepted >= ROUNDS);
}

/* Everything at once: 64 threads, signals that interrupt each system call, and an agent that hangs up after
 * some answers and before others, so that connections end idle, in flight, and while they are written to. */
enum { STORM_THREADS = 64, STORM_ROUNDS = 20 };

static void answer_or_hang_up(struct fake_agent *fake, const struct fake_request *request) {
    unsigned number = *(unsigned *)fake->context += 1;
    if (number % 7 == 0 && !request->repeat) {
        fake_close(request->from);
        return;
    }
    fake_answer(fake, request);
    if (number % 5 == 0) fake_close(request->from);
}

static void a_storm_loses_nothing_and_leaks_nothing(void **state) {
    struct sigaction action = {.sa_handler = interrupt}; /* no SA_RESTART */
    struct worker workers[STORM_THREADS];
    unsigned number = 0;
    (void)state;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    assert_true(signal(SIGPIPE, count_pipe) != SIG_ERR);
    agent.context = &number;
    agent.handler = answer_or_hang_up;
    int before = count_descriptors();
    run(workers, STORM_THREADS, STORM_ROUNDS);
    for (unsigned wave = 0; wave < 100; wave++) {
        for (unsigned i = 0; i < STORM_THREADS; i++)
            require(pthread_kill(workers[i].thread, SIGUSR1) == 0, "pthread_kill");
    }
    join(workers, STORM_THREADS);
    assert_int_equal(pipes, 0);
    assert_true(agent.accepted > STORM_THREADS);
    ka_key_free(key);
    ka_client_free(client);
    key = NULL;
    client = NULL;
    fake_agent_stop(&agent); /* closes its ends; the pair and the listener were there before */
    assert_true(count_descriptors() < before);
    fake_agent_resume(&agent);
}

/* A thread is cancelled while its request is in flight. */
static sem_t in_flight;
static void announce_and_hold(struct fake_agent *fake, const struct fake_request *request) {
    *(struct fake_request *)fake->context = *request;
    sem_post(&in_flight);
}

static void *sign_and_be_cancelled(void *argument) {
    sign_many(argument);
    pthread_testcancel();
    return NULL;
}

static void cancelling_a_thread_waits_for_its_call(void **state) {
    struct fake_request held;
    struct worker worker, cancelled = {.rounds = 1};
    void *result;
    (void)state;
    assert_int_equal(sem_init(&in_flight, 0, 0), 0);
    agent.context = &held;
    agent.handler = announce_and_hold;
    require(pthread_create(&cancelled.thread, NULL, sign_and_be_cancelled, &cancelled) == 0,
            "pthread_create");
    require(sem_wait(&in_flight) == 0, "sem_wait");
    require(pthread_cancel(cancelled.thread) == 0, "pthread_cancel");
    uint8_t signature[256] = "thread 0 round 0";
    agent.handler = fake_answer;
    fake_answer_bytes(&held, "signature", signature, sizeof signature);
    require(pthread_join(cancelled.thread, &result) == 0, "pthread_join");
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(cancelled.good, 1);
    run(&worker, 1, 1);
    join(&worker, 1);
    assert_int_equal(agent.accepted, 1); /* its connection was given back */
    sem_destroy(&in_flight);
}

static void freeing_leaves_errno_alone(void **state) {
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    ka_client *other;
    ka_request *request;
    ka_key *opened;
    (void)state;
    assert_int_equal(ka_client_new(agent.path, &other, NULL), KA_OK);
    assert_int_equal(ka_key_open(other, "keyagent:rsa", &opened, NULL), KA_OK);
    assert_int_equal(ka_key_sign_start(opened, &params, (const uint8_t *)"m", 1, &request, NULL), KA_OK);
    (void)!ka_request_continue(request, NULL);
    /* Numbers that are closed already make the library's own calls fail. */
    close(ka_request_fd(request));
    errno = 4321;
    ka_request_free(request);
    ka_key_free(opened);
    ka_client_free(other);
    assert_int_equal(errno, 4321);
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(sixteen_threads_get_their_own_answers_over_as_many_connections),
        WITH_AGENT(more_threads_than_slots_are_served_and_the_rest_is_closed),
        WITH_AGENT(signals_interrupt_nothing),
        WITH_AGENT(an_agent_that_hangs_up_raises_no_signal_and_leaks_no_descriptor),
        WITH_AGENT(a_storm_loses_nothing_and_leaks_nothing),
        WITH_AGENT(cancelling_a_thread_waits_for_its_call),
        WITH_AGENT(freeing_leaves_errno_alone),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
