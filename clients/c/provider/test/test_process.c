/* The provider in a process: loading, threads, forks, and an agent that comes and goes. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "harness.h"
#include "require.h"

#define THREADS    64
#define SIGNATURES 2

/* Signs "m" with the SHA-256; no cmocka, since it runs in threads and children too. */
static bool sign_once(OSSL_LIB_CTX *context, EVP_PKEY *key, uint8_t sig[256], size_t *len) {
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    *len = 256;
    bool good = EVP_DigestSignInit_ex(operation, NULL, "SHA256", context, NULL, key, NULL) == 1 &&
                EVP_DigestSign(operation, sig, len, (const uint8_t *)"m", 1) == 1;
    EVP_MD_CTX_free(operation);
    return good;
}

static bool signs(const struct harness *harness, OSSL_LIB_CTX *context, EVP_PKEY *key, int which) {
    uint8_t sig[256];
    size_t len;
    return sign_once(context, key, sig, &len) && verifies(harness, which, "SHA256", 0, "m", 1, sig, len);
}

static void loading_and_unloading_ask_nobody(void **state) {
    const struct harness *harness = *state;
    unsigned before = atomic_load(&harness->agent.wire.accepted);
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "", NULL);
    assert_int_equal(OSSL_PROVIDER_available(context, "keyagent"), 1);
    OSSL_LIB_CTX_free(context);
    assert_int_equal(atomic_load(&harness->agent.wire.accepted), before);
}

struct job {
    const struct harness *harness;
    OSSL_LIB_CTX *context;
    unsigned good;
};

/* Loads its own key first, so that the threads race for the provider's client. */
static void *sign_many(void *argument) {
    struct job *job = argument;
    EVP_PKEY *key = load_key(job->context, "pkcs11:object=p256");
    for (int i = 0; key != NULL && i < SIGNATURES; i++)
        job->good += signs(job->harness, job->context, key, P256_KEY);
    EVP_PKEY_free(key);
    OPENSSL_thread_stop_ex(job->context);
    return NULL;
}

static void threads_sign_side_by_side_from_the_first_use_on(void **state) {
    const struct harness *harness = *state;
    OSSL_LIB_CTX *context = new_context(harness->agent.wire.path, "", NULL);
    pthread_t threads[THREADS];
    struct job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){harness, context, 0};
        require(pthread_create(&threads[i], NULL, sign_many, &jobs[i]) == 0, "pthread_create");
    }
    /* All have ended before any is judged: an assert jumps to the teardown, which frees what they use. */
    for (int i = 0; i < THREADS; i++)
        require(pthread_join(threads[i], NULL) == 0, "pthread_join");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(jobs[i].good, SIGNATURES);
    OSSL_LIB_CTX_free(context);
}

/* Runs `work` in a child; answers whether it returned true. The child ends as another program: at an exit
 * valgrind would call lost what the other threads of the parent hold. */
static bool in_child(bool (*work)(const struct harness *, EVP_PKEY *), const struct harness *harness,
                     EVP_PKEY *key) {
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        const char *end = work(harness, key) ? "true" : "false";
        execlp(end, end, (char *)NULL);
        _exit(2);
    }
    int status;
    require(waitpid(child, &status, 0) == child, "waitpid");
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool sign_in_child(const struct harness *harness, EVP_PKEY *key) {
    return signs(harness, harness->context, key, P256_KEY);
}

static bool tear_down_in_child(const struct harness *harness, EVP_PKEY *key) {
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(harness->context);
    return true;
}

static void a_child_signs_with_its_parents_key_on_a_connection_of_its_own(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY *key = load_named(harness, P256_KEY);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    unsigned before = atomic_load(&harness->agent.wire.accepted);
    assert_true(in_child(sign_in_child, harness, key));
    assert_int_equal(atomic_load(&harness->agent.wire.accepted), before + 1);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    assert_int_equal(atomic_load(&harness->agent.wire.accepted), before + 1);
    EVP_PKEY_free(key);
}

static bool load_and_sign_in_child(const struct harness *harness, EVP_PKEY *key) {
    (void)key;
    EVP_PKEY *own = load_named(harness, P256_KEY);
    bool good = signs(harness, harness->context, own, P256_KEY);
    EVP_PKEY_free(own);
    return good;
}

/* Loaded in the parent, used by its children only: what a server's master process does. */
static void a_child_is_the_first_to_use_the_provider(void **state) {
    struct harness *harness = *state;
    OSSL_LIB_CTX *used = harness->context;
    harness->context = new_context(harness->agent.wire.path, "", NULL);
    assert_true(in_child(load_and_sign_in_child, harness, NULL));
    assert_true(load_and_sign_in_child(harness, NULL));
    OSSL_LIB_CTX_free(harness->context);
    harness->context = used;
}

/* The agent answers the parent only after it has answered the child. */
static void a_fork_while_another_thread_waits_for_a_signature_disturbs_neither(void **state) {
    struct harness *harness = *state;
    struct job job = {harness, harness->context, 0};
    pthread_t thread;
    EVP_PKEY *key = load_named(harness, P256_KEY);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    atomic_store(&harness->agent.hold_next, true);
    require(pthread_create(&thread, NULL, sign_many, &job) == 0, "pthread_create");
    while (!atomic_load(&harness->agent.holding))
        sched_yield();
    bool child_ok = in_child(sign_in_child, harness, key);
    require(pthread_join(thread, NULL) == 0, "pthread_join");
    assert_true(child_ok);
    assert_int_equal(job.good, SIGNATURES);
    EVP_PKEY_free(key);
}

static void a_child_that_tears_down_does_not_disturb_its_parent(void **state) {
    const struct harness *harness = *state;
    EVP_PKEY *key = load_named(harness, P256_KEY);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    unsigned accepted = atomic_load(&harness->agent.wire.accepted);
    assert_true(in_child(tear_down_in_child, harness, key));
    assert_true(signs(harness, harness->context, key, P256_KEY));
    assert_int_equal(atomic_load(&harness->agent.wire.accepted), accepted);
    EVP_PKEY_free(key);
}

static void without_an_agent_the_reason_is_that_and_with_one_again_the_key_signs(void **state) {
    struct harness *harness = *state;
    uint8_t sig[256];
    size_t len;
    EVP_PKEY *key = load_named(harness, P256_KEY);
    fake_agent_stop(&harness->agent.wire);
    assert_false(sign_once(harness->context, key, sig, &len));
    assert_error("AGENT UNAVAILABLE", harness->agent.wire.path);
    assert_null(load_key(harness->context, "pkcs11:object=rsa"));
    assert_error("AGENT UNAVAILABLE", harness->agent.wire.path);
    fake_agent_resume(&harness->agent.wire);
    assert_true(signs(harness, harness->context, key, P256_KEY));
    EVP_PKEY_free(key);
}

static void the_environment_names_the_socket_before_the_configuration_does(void **state) {
    const struct harness *harness = *state;
    setenv("KEYAGENT_SOCK", harness->agent.wire.path, 1);
    OSSL_LIB_CTX *context = new_context("/nonexistent/agent.sock", "", NULL);
    EVP_PKEY *key = load_key(context, "pkcs11:object=rsa");
    unsetenv("KEYAGENT_SOCK");
    assert_non_null(key);
    EVP_PKEY_free(key);
    OSSL_LIB_CTX_free(context);
}

static void a_socket_path_that_is_none_is_said_at_the_first_use(void **state) {
    (void)state;
    OSSL_LIB_CTX *context = new_context("relative.sock", "", NULL);
    assert_null(load_key(context, "pkcs11:object=rsa"));
    assert_error("INVALID", "relative.sock");
    OSSL_LIB_CTX_free(context);
}

#define TEST(name) cmocka_unit_test_teardown(name, no_error_is_left)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(loading_and_unloading_ask_nobody),
        TEST(threads_sign_side_by_side_from_the_first_use_on),
        TEST(a_child_signs_with_its_parents_key_on_a_connection_of_its_own),
        TEST(a_child_is_the_first_to_use_the_provider),
        TEST(a_fork_while_another_thread_waits_for_a_signature_disturbs_neither),
        TEST(a_child_that_tears_down_does_not_disturb_its_parent),
        TEST(without_an_agent_the_reason_is_that_and_with_one_again_the_key_signs),
        TEST(the_environment_names_the_socket_before_the_configuration_does),
        TEST(a_socket_path_that_is_none_is_said_at_the_first_use),
    };
    return cmocka_run_group_tests(tests, harness_setup, harness_teardown);
}
