/* bench-signer: clients that sign as fast as they are answered, for a while. Each message is another one, and every
 * thousandth signature of a client is verified against the public key.
 *
 *     bench-signer --target keyagent --socket S --uri URI --alg ALG --spki FILE
 *     bench-signer --target openssl --uri URI --alg ALG --spki FILE
 *     bench-signer --target pkcs11 --module M --token LABEL --key LABEL --pin-file FILE --alg ALG --spki FILE
 *         [--processes 1] [--threads 1] [--warm-up-ms 300] [--ms 2000]
 *
 * One line of JSON on standard output: operations and seconds of the time that is measured, their median, p99 and
 * maximum and the clients' processor time for each in microseconds; `all`: operations from the start to the end. Any
 * failure ends it with 1. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "signer.h"

enum { PROCESSES_MAX = 64, VERIFY_EVERY = 1000 };

struct plan {
    struct options options;
    const struct signer_target *target;
    const char *spki;
    unsigned processes;
    unsigned threads;
    unsigned long warm_up_ms;
    unsigned long ms;
    /* A pipe that nothing is written to: its end is the sign to begin. Hundreds that looked again and again whether it is
     * time would leave no processor to those that still connect. */
    int gate[2];
};

/* Shared by all processes. */
struct board {
    atomic_uint opened;
    atomic_uint ready;
    /* Nanoseconds of CLOCK_MONOTONIC. */
    _Atomic uint64_t begin;
    _Atomic uint64_t verified;
    _Atomic uint64_t all;
    /* User and system time of the clients while they are measured, nanoseconds. */
    _Atomic uint64_t cpu_ns;
    _Atomic uint64_t login_ns;
    struct histogram histograms[];
};

struct client {
    const struct plan *plan;
    struct board *board;
    void *target;
    EVP_PKEY *public_key;
    unsigned number;
};

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bench-signer: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

/* The CertificateVerify of a TLS 1.3 server (RFC 8446 4.4.3), with a counter in the place of the transcript's hash. */
static void message_make(uint8_t message[MESSAGE_LEN], unsigned client, uint64_t counter) {
    static const char context[] = "TLS 1.3, server CertificateVerify";
    memset(message, ' ', 64);
    memcpy(message + 64, context, sizeof context);
    memset(message + 98, 0, 32);
    memcpy(message + 98, &client, sizeof client);
    memcpy(message + 106, &counter, sizeof counter);
}

static void verify(const struct client *client, const uint8_t *message, const uint8_t *signature, size_t len) {
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    EVP_PKEY_CTX *context;
    if (EVP_DigestVerifyInit(digest, &context, EVP_sha256(), NULL, client->public_key) != 1) die("cannot verify");
    if (client->plan->options.algorithm == ALG_RSA_PSS_SHA256)
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING);
    if (EVP_DigestVerify(digest, signature, len, message, MESSAGE_LEN) != 1)
        die("a signature does not verify");
    EVP_MD_CTX_free(digest);
    client->board->verified++;
}

static void *client_run(void *argument) {
    const struct client *client = argument;
    const struct plan *plan = client->plan;
    struct histogram *histogram = &client->board->histograms[client->number];
    uint8_t message[MESSAGE_LEN];
    uint8_t signature[SIGNATURE_MAX];
    void *signer = plan->target->signer_open(client->target);

    message_make(message, client->number, 0);
    plan->target->sign(signer, message, signature);
    client->board->ready++;
    if (read(plan->gate[0], message, 1) != 0) die("gate: %s", strerror(errno));
    const uint64_t from = client->board->begin + plan->warm_up_ms * 1000000;
    const uint64_t until = from + plan->ms * 1000000;
    uint64_t cpu_from = 0;
    uint64_t start = now_ns();
    for (uint64_t counter = 1; start < until; counter++) {
        if (cpu_from == 0 && start >= from) cpu_from = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        message_make(message, client->number, counter);
        const size_t len = plan->target->sign(signer, message, signature);
        const uint64_t end = now_ns();
        if (start >= from && end <= until) histogram_add(histogram, end - start);
        start = end;
        client->board->all++;
        if (counter % VERIFY_EVERY == 1) {
            verify(client, message, signature, len);
            start = now_ns();
        }
    }
    client->board->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_from;
    return NULL;
}

static EVP_PKEY *public_key_read(const char *path) {
    FILE *file = fopen(path, "re");
    EVP_PKEY *key = file == NULL ? NULL : PEM_read_PUBKEY(file, NULL, NULL, NULL);
    if (key == NULL) die("%s: no public key", path);
    fclose(file);
    return key;
}

static _Noreturn void process_run(const struct plan *plan, struct board *board, unsigned first) {
    /* The others wait for ever if one does not start. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(plan->gate[1]);
    pthread_t threads[plan->threads];
    struct client clients[plan->threads];
    EVP_PKEY *public_key = public_key_read(plan->spki);
    void *target = plan->target->open(&plan->options);
    board->opened++;
    if (plan->target->login_ns != NULL) board->login_ns = plan->target->login_ns(target);
    for (unsigned i = 0; i < plan->threads; i++) {
        clients[i] = (struct client){plan, board, target, public_key, first + i};
        if (pthread_create(&threads[i], NULL, client_run, &clients[i]) != 0) die("no thread");
    }
    for (unsigned i = 0; i < plan->threads; i++)
        pthread_join(threads[i], NULL);
    /* Modules and providers tidy up at exit, which is not what is measured. */
    _exit(0);
}

/* Ends the program if a client ends before. */
static void counter_await(const atomic_uint *counter, unsigned wanted) {
    while (*counter < wanted) {
        if (waitpid(-1, NULL, WNOHANG) != 0) die("a client did not start");
        usleep(1000);
    }
}

/* @return whether all of them ended well */
static bool children_wait(unsigned count) {
    bool good = true;
    for (unsigned i = 0; i < count; i++) {
        int status;
        if (wait(&status) < 0) die("wait: %s", strerror(errno));
        good = good && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return good;
}

static void report(const struct plan *plan, const struct board *board, struct histogram *all) {
    for (unsigned i = 0; i < plan->processes * plan->threads; i++)
        histogram_merge(all, &board->histograms[i]);
    printf("{\"operations\":%llu,\"seconds\":%.3f,\"medianUs\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f,\"cpuUs\":%.1f,"
           "\"all\":%llu,\"verified\":%llu,\"loginUs\":%.1f}\n",
           (unsigned long long)all->count, (double)plan->ms / 1000, (double)histogram_quantile(all, 0.5) / 1000,
           (double)histogram_quantile(all, 0.99) / 1000, (double)all->max_ns / 1000,
           (double)board->cpu_ns / 1000 / (double)(all->count == 0 ? 1 : all->count), (unsigned long long)board->all,
           (unsigned long long)board->verified, (double)board->login_ns / 1000);
}

static enum algorithm algorithm_of(const char *name) {
    if (strcmp(name, "ecdsa-sha256") == 0) return ALG_ECDSA_SHA256;
    if (strcmp(name, "rsa-pss-sha256") == 0) return ALG_RSA_PSS_SHA256;
    if (strcmp(name, "rsa-pkcs1-sha256") == 0) return ALG_RSA_PKCS1_SHA256;
    die("no algorithm %s", name);
}

static const struct signer_target *target_of(const char *name) {
    if (strcmp(name, "keyagent") == 0) return &signer_keyagent;
    if (strcmp(name, "openssl") == 0) return &signer_openssl;
    if (strcmp(name, "pkcs11") == 0) return &signer_pkcs11;
    die("no target %s", name);
}

static void plan_read(struct plan *plan, int argc, char **argv) {
    static const struct option known[] = {
        {"target", required_argument, NULL, 'T'},   {"alg", required_argument, NULL, 'a'},
        {"uri", required_argument, NULL, 'u'},      {"socket", required_argument, NULL, 's'},
        {"module", required_argument, NULL, 'm'},   {"token", required_argument, NULL, 't'},
        {"key", required_argument, NULL, 'k'},      {"pin-file", required_argument, NULL, 'p'},
        {"spki", required_argument, NULL, 'S'},     {"processes", required_argument, NULL, 'P'},
        {"threads", required_argument, NULL, 'H'},  {"warm-up-ms", required_argument, NULL, 'w'},
        {"ms", required_argument, NULL, 'd'},       {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'T':
            plan->target = target_of(optarg);
            break;
        case 'a':
            plan->options.algorithm = algorithm_of(optarg);
            break;
        case 'u':
            plan->options.uri = optarg;
            break;
        case 's':
            plan->options.socket = optarg;
            break;
        case 'm':
            plan->options.module = optarg;
            break;
        case 't':
            plan->options.token = optarg;
            break;
        case 'k':
            plan->options.key = optarg;
            break;
        case 'p':
            plan->options.pin_file = optarg;
            break;
        case 'S':
            plan->spki = optarg;
            break;
        case 'P':
            plan->processes = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'H':
            plan->threads = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            plan->warm_up_ms = strtoul(optarg, NULL, 10);
            break;
        case 'd':
            plan->ms = strtoul(optarg, NULL, 10);
            break;
        default:
            _exit(64);
        }
    }
    if (plan->target == NULL || plan->spki == NULL) die("--target, --alg and --spki are needed");
    if (plan->processes == 0 || plan->processes > PROCESSES_MAX || plan->threads == 0) die("too few or too many");
}

int main(int argc, char **argv) {
    struct plan plan = {.processes = 1, .threads = 1, .warm_up_ms = 300, .ms = 2000};
    plan_read(&plan, argc, argv);
    const unsigned clients = plan.processes * plan.threads;
    const size_t size = sizeof(struct board) + clients * sizeof(struct histogram);
    struct board *board = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct histogram *all = calloc(1, sizeof *all);
    if (board == MAP_FAILED || all == NULL) die("out of memory");
    if (pipe(plan.gate) != 0) die("pipe: %s", strerror(errno));
    for (unsigned i = 0; i < plan.processes; i++) {
        const pid_t pid = fork();
        if (pid < 0) die("fork: %s", strerror(errno));
        if (pid == 0) process_run(&plan, board, i * plan.threads);
        /* One after another: a connection that p11-kit's server cannot take at once is to a client a token that is not there. */
        counter_await(&board->opened, i + 1);
    }
    counter_await(&board->ready, clients);
    board->begin = now_ns();
    close(plan.gate[1]);
    if (!children_wait(plan.processes)) die("a client failed");
    report(&plan, board, all);
    free(all);
    return 0;
}
