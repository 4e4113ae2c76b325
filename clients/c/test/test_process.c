/* Processes: what a child of fork, a process with another uid or other groups, and a daemon that closes
 * descriptors do with connections that are not theirs. A child says by its exit status whether all was well;
 * it must not end in cmocka's asserts. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fake_agent.h"
#include "key.h"
#include "require.h"

static const uid_t worker_uid = 65534;

static struct fake_agent agent;
static ka_client *client;
static ka_key *key;

/* Where the last request came from. */
static _Atomic unsigned last_connection;
static _Atomic pid_t last_pid;
static _Atomic uid_t last_uid;
static _Atomic gid_t last_gid;

static void note_and_answer(struct fake_agent *fake, const struct fake_request *request) {
    last_pid = request->from->peer.pid;
    last_uid = request->from->peer.uid;
    last_gid = request->from->peer.gid;
    last_connection = request->from->number;
    fake_answer(fake, request);
}

static int start(void **state) {
    (void)state;
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

/* Whether signing gives a signature of this very message. */
static bool signs(const char *message) {
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    uint8_t sig[256] = {0};
    size_t sig_len = sizeof sig;
    return ka_key_sign(key, &params, (const uint8_t *)message, strlen(message), sig, &sig_len, NULL) ==
               KA_OK &&
           strcmp((char *)sig, message) == 0;
}

/* Runs `body` in a child; true if it returned true. *child: its pid. */
static bool in_child(bool (*body)(void), pid_t *child) {
    int status;
    pid_t pid = fork();
    if (pid == 0) _exit(body() ? 0 : 1);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *child = pid;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int count_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static bool sign_twice(void) {
    return signs("child") && signs("child again");
}

static void a_child_uses_a_connection_of_its_own(void **state) {
    pid_t child;
    (void)state;
    assert_true(signs("parent"));
    assert_int_equal(last_connection, 1);
    assert_true(in_child(sign_twice, &child));
    assert_int_equal(last_connection, 2);
    assert_int_equal(last_pid, child);
    assert_true(signs("parent again"));
    assert_int_equal(last_connection, 1);
    assert_int_equal(agent.accepted, 2);
}

static bool sign_in_grandchild(void) {
    pid_t grandchild;
    return signs("child") && in_child(sign_twice, &grandchild) && signs("child");
}

static void a_grandchild_too(void **state) {
    pid_t child;
    (void)state;
    assert_true(in_child(sign_in_grandchild, &child));
    assert_int_equal(agent.accepted, 3);
    assert_int_equal(last_connection, 2);
    assert_true(signs("parent"));
    assert_int_equal(last_connection, 1);
}

/* Both are process 1, each of a PID namespace of its own. */
static bool in_namespace(bool (*body)(void)) {
    int status;
    if (unshare(CLONE_NEWPID) != 0) return false;
    pid_t pid = fork();
    if (pid == 0) _exit(getpid() == 1 && body() ? 0 : 1);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool may_make_namespaces(void) {
    return unshare(CLONE_NEWPID) == 0;
}

static bool sign_as_inner_one(void) {
    return signs("inner");
}

static bool sign_as_outer_and_inner_one(void) {
    return signs("outer") && in_namespace(sign_as_inner_one) && signs("outer");
}

static bool enter_namespaces(void) {
    return in_namespace(sign_as_outer_and_inner_one);
}

static void a_child_with_its_parents_pid_is_still_another_process(void **state) {
    pid_t child;
    (void)state;
    if (!in_child(may_make_namespaces, &child)) skip();
    assert_true(in_child(enter_namespaces, &child));
    assert_int_equal(agent.accepted, 3); /* this process's, outer, inner */
    assert_int_equal(last_connection, 2);
}

static bool free_everything(void) {
    ka_key_free(key);
    ka_client_free(client);
    return true;
}

static void a_child_that_only_cleans_up_does_not_end_its_parents_connection(void **state) {
    pid_t child;
    (void)state;
    assert_true(in_child(free_everything, &child));
    assert_true(signs("parent"));
    assert_int_equal(last_connection, 1);
}

/* One thread of the parent has a request in flight, and holds a connection, while another one forks. */
static sem_t held;
static struct fake_connection *held_connection;
static uint32_t held_id;

static void hold_first(struct fake_agent *fake, const struct fake_request *request) {
    if (!span_is(request->payload, "held")) {
        note_and_answer(fake, request);
        return;
    }
    held_connection = request->from;
    held_id = request->id;
    sem_post(&held);
}

static void *sign_held(void *result) {
    *(bool *)result = signs("held");
    return NULL;
}

static bool sign_and_close_inherited(void) {
    int before = count_descriptors();
    bool ok = signs("child");
    /* The parent's busy and its idle connection are closed, one of its own is open. */
    return ok && count_descriptors() == before - 1;
}

static void a_fork_while_a_request_is_in_flight_mixes_no_replies(void **state) {
    pthread_t thread;
    bool held_ok = false;
    pid_t child;
    (void)state;
    agent.handler = hold_first;
    assert_int_equal(sem_init(&held, 0, 0), 0);
    require(pthread_create(&thread, NULL, sign_held, &held_ok) == 0, "pthread_create");
    require(sem_wait(&held) == 0, "sem_wait");
    bool parent_ok = signs("parent"); /* leaves a second connection idle */
    bool child_ok = in_child(sign_and_close_inherited, &child);
    pid_t signer = last_pid;
    uint8_t signature[256] = "held";
    const struct fake_request request = {.from = held_connection, .id = held_id};
    fake_answer_bytes(&request, "signature", signature, sizeof signature);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    assert_true(parent_ok);
    assert_true(child_ok);
    assert_int_equal(signer, child);
    assert_true(held_ok);
    assert_true(signs("parent"));
    sem_destroy(&held);
}

/* The connection is the parent's: the child must neither read its answer nor end it. */
static ka_request *begun, *waiting;

static ka_request *start_sign(const char *message) {
    const ka_sign_params params = {.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    ka_request *request = NULL;
    assert_int_equal(
        ka_key_sign_start(key, &params, (const uint8_t *)message, strlen(message), &request, NULL), KA_OK);
    return request;
}

static bool is_cancelled_here(ka_request *request) {
    ka_error err;
    bool nothing_to_watch = ka_request_fd(request) == -1 && ka_request_timeout_ms(request) == 0;
    bool cancelled = ka_request_continue(request, &err) == KA_ERR_CANCELLED;
    return nothing_to_watch && cancelled && strstr(err.message, "before the fork") != NULL;
}

static bool use_the_parents_requests(void) {
    bool good = is_cancelled_here(begun) && is_cancelled_here(waiting);
    ka_request_free(begun); /* one before, one after the child's own first call */
    good = good && signs("child");
    ka_request_free(waiting);
    return good;
}

static bool finishes_with(ka_request *request, const char *message) {
    ka_status status;
    size_t len;
    while ((status = ka_request_continue(request, NULL)) == KA_PENDING) {
        struct pollfd entry = {ka_request_fd(request), ka_request_events(request), 0};
        poll(&entry, 1, ka_request_timeout_ms(request));
    }
    bool good = status == KA_OK && strcmp((const char *)ka_request_bytes(request, &len), message) == 0;
    ka_request_free(request);
    return good;
}

static void a_request_that_was_begun_before_a_fork_stays_the_parents(void **state) {
    pid_t child;
    (void)state;
    agent.handler = hold_first;
    assert_int_equal(sem_init(&held, 0, 0), 0);
    begun = start_sign("held");
    waiting = start_sign("waiting");
    assert_int_equal(ka_request_continue(begun, NULL), KA_PENDING);
    assert_int_equal(sem_wait(&held), 0);
    assert_true(in_child(use_the_parents_requests, &child));
    uint8_t signature[256] = "held";
    const struct fake_request request = {.from = held_connection, .id = held_id};
    fake_answer_bytes(&request, "signature", signature, sizeof signature);
    assert_true(finishes_with(begun, "held"));
    assert_true(finishes_with(waiting, "waiting"));
    sem_destroy(&held);
}

/* More than the pool keeps, all in flight while the process forks. */
enum { IN_FLIGHT = KA_POOL_KEPT + 6 };

static void hold_all_but_childs(struct fake_agent *fake, const struct fake_request *request) {
    if (!span_is(request->payload, "held")) note_and_answer(fake, request);
}

static bool sign_and_close_all_inherited(void) {
    int before = count_descriptors();
    return signs("child") && count_descriptors() == before - IN_FLIGHT + 1;
}

static void a_child_closes_every_connection_of_its_parent(void **state) {
    ka_request *requests[IN_FLIGHT];
    pid_t child;
    (void)state;
    agent.handler = hold_all_but_childs;
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        requests[i] = start_sign("held");
        assert_int_equal(ka_request_continue(requests[i], NULL), KA_PENDING);
    }
    assert_true(in_child(sign_and_close_all_inherited, &child));
    for (size_t i = 0; i < IN_FLIGHT; i++)
        ka_request_free(requests[i]);
}

/* Threads sign all the while, so the forks come at every point of taking and giving back a connection. */
static _Atomic bool enough;

static void *sign_until_enough(void *good) {
    do {
        if (!signs("thread")) return NULL;
    } while (!enough);
    *(bool *)good = true;
    return NULL;
}

static void answer_only(struct fake_agent *fake, const struct fake_request *request) {
    fake_answer(fake, request);
}

static void forks_at_any_moment_leave_both_sides_working(void **state) {
    pthread_t threads[4];
    bool good[COUNT(threads)] = {false};
    (void)state;
    agent.handler = answer_only;
    enough = false;
    for (size_t i = 0; i < COUNT(threads); i++)
        require(pthread_create(&threads[i], NULL, sign_until_enough, &good[i]) == 0, "pthread_create");
    int good_children = 0;
    for (int i = 0; i < 100; i++) {
        pid_t child;
        good_children += in_child(sign_twice, &child);
    }
    enough = true;
    /* All have ended before any is judged: an assert jumps to the teardown, which frees what they use. */
    for (size_t i = 0; i < COUNT(threads); i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_true(good[i]);
    assert_int_equal(good_children, 100);
}

static bool drop_privileges_and_sign(void) {
    return setgid(worker_uid) == 0 && setuid(worker_uid) == 0 && signs("worker");
}

static void a_child_that_dropped_root_is_seen_as_what_it_is(void **state) {
    pid_t child;
    (void)state;
    if (geteuid() != 0) skip();
    assert_true(signs("root"));
    assert_int_equal(last_uid, 0);
    assert_true(in_child(drop_privileges_and_sign, &child));
    assert_int_equal(last_uid, worker_uid);
    assert_int_equal(last_gid, worker_uid);
    assert_int_equal(last_pid, child);
}

static void a_process_that_changes_its_uid_or_gid_connects_anew_each_time(void **state) {
    (void)state;
    if (geteuid() != 0) skip();
    assert_true(signs("root"));
    assert_int_equal(seteuid(worker_uid), 0);
    bool as_worker = signs("worker");
    uid_t seen = last_uid;
    assert_int_equal(seteuid(0), 0);
    assert_true(as_worker);
    assert_int_equal(seen, worker_uid);
    assert_true(signs("root"));
    assert_int_equal(last_uid, 0);
    assert_int_equal(setegid(worker_uid), 0);
    bool in_group = signs("group");
    gid_t seen_gid = last_gid;
    assert_int_equal(setegid(0), 0);
    assert_true(in_group);
    assert_int_equal(seen_gid, worker_uid);
    assert_int_equal(agent.accepted, 4);
}

static void a_process_that_changes_its_groups_connects_anew_each_time(void **state) {
    static const gid_t two[] = {1001, 1002}, other[] = {1001, 1003};
    gid_t before[64];
    (void)state;
    if (geteuid() != 0) skip();
    int count = getgroups(COUNT(before), before);
    assert_true(count >= 0);
    bool as_two = setgroups(2, two) == 0 && signs("two");
    unsigned two_connection = last_connection;
    bool again = signs("two") && last_connection == two_connection;
    bool as_other = setgroups(2, other) == 0 && signs("other");
    unsigned other_connection = last_connection;
    bool as_none = setgroups(0, NULL) == 0 && signs("none");
    unsigned none_connection = last_connection;
    assert_int_equal(setgroups((size_t)count, before), 0);
    assert_true(as_two && again && as_other && as_none);
    assert_int_equal(other_connection, two_connection + 1);
    assert_int_equal(none_connection, other_connection + 1);
}

/* More than are compared: then no connection is used twice. */
static void one_in_very_many_groups_connects_for_each_call(void **state) {
    static gid_t many[1025];
    gid_t before[64];
    (void)state;
    if (geteuid() != 0) skip();
    int count = getgroups(COUNT(before), before);
    for (size_t i = 0; i < COUNT(many); i++)
        many[i] = (gid_t)(2000 + i);
    bool set = setgroups(COUNT(many), many) == 0;
    bool good = signs("one");
    unsigned first = last_connection;
    good = good && signs("two");
    assert_int_equal(setgroups((size_t)count, before), 0);
    assert_true(set && good);
    assert_int_equal(last_connection, first + 1);
}

static void a_number_that_is_another_file_by_now_is_left_alone(void **state) {
    struct stat before, after;
    (void)state;
    assert_true(signs("one"));
    int fd = client->pool.first->connection.fd;
    int null = open("/dev/null", O_RDWR);
    assert_int_equal(dup2(null, fd), fd);
    assert_int_equal(fstat(fd, &before), 0);
    assert_true(signs("two"));
    assert_int_equal(last_connection, 2);
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal(after.st_rdev, before.st_rdev);
    close(null);
    close(fd);
}

/* The same while a request waits: nothing of it may be written to, or read from, what has the number now. */
static void a_request_leaves_alone_what_has_its_number_by_now(void **state) {
    int pipe_ends[2];
    char first;
    (void)state;
    agent.handler = hold_first;
    assert_int_equal(sem_init(&held, 0, 0), 0);
    assert_int_equal(pipe(pipe_ends), 0);
    assert_int_equal(write(pipe_ends[1], "!", 1), 1);
    ka_request *request = start_sign("held");
    assert_int_equal(ka_request_continue(request, NULL), KA_PENDING);
    assert_int_equal(sem_wait(&held), 0);
    int fd = ka_request_fd(request);
    assert_int_equal(dup2(pipe_ends[0], fd), fd);
    assert_int_equal(ka_request_continue(request, NULL), KA_PENDING); /* on a new connection */
    assert_int_equal(sem_wait(&held), 0);
    assert_int_not_equal(ka_request_fd(request), fd);
    assert_int_equal(read(fd, &first, 1), 1);
    ka_request_free(request);
    close(fd);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    sem_destroy(&held);
}

static void a_number_that_was_closed_costs_a_new_connection(void **state) {
    (void)state;
    assert_true(signs("one"));
    close(client->pool.first->connection.fd);
    assert_true(signs("two"));
    assert_int_equal(last_connection, 2);
}

static bool sign_without_standard_streams(void) {
    close(0);
    close(1);
    close(2);
    return signs("one") && client->pool.first->connection.fd > 2;
}

static void a_connection_never_becomes_a_standard_stream(void **state) {
    pid_t child;
    (void)state;
    assert_true(in_child(sign_without_standard_streams, &child));
}

int main(void) {
#define WITH_AGENT(test) cmocka_unit_test_setup_teardown(test, start, end)
    const struct CMUnitTest tests[] = {
        WITH_AGENT(a_child_uses_a_connection_of_its_own),
        WITH_AGENT(a_grandchild_too),
        WITH_AGENT(a_child_with_its_parents_pid_is_still_another_process),
        WITH_AGENT(a_child_that_only_cleans_up_does_not_end_its_parents_connection),
        WITH_AGENT(a_fork_while_a_request_is_in_flight_mixes_no_replies),
        WITH_AGENT(a_request_that_was_begun_before_a_fork_stays_the_parents),
        WITH_AGENT(a_child_closes_every_connection_of_its_parent),
        WITH_AGENT(forks_at_any_moment_leave_both_sides_working),
        WITH_AGENT(a_child_that_dropped_root_is_seen_as_what_it_is),
        WITH_AGENT(a_process_that_changes_its_uid_or_gid_connects_anew_each_time),
        WITH_AGENT(a_process_that_changes_its_groups_connects_anew_each_time),
        WITH_AGENT(one_in_very_many_groups_connects_for_each_call),
        WITH_AGENT(a_number_that_is_another_file_by_now_is_left_alone),
        WITH_AGENT(a_request_leaves_alone_what_has_its_number_by_now),
        WITH_AGENT(a_number_that_was_closed_costs_a_new_connection),
        WITH_AGENT(a_connection_never_becomes_a_standard_stream),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
