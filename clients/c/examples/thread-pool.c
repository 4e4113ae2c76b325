/*
 * A pool of threads that sign as fast as work comes. They share one client and one key without a lock of
 * their own: the library gives each call in flight a connection.
 *
 *     thread-pool URI THREADS MESSAGES
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "verify.h"

enum { THREADS_MAX = 256 };

struct work {
    ka_key *key;
    unsigned messages;
    _Atomic unsigned next, good;
};

static void sign_one(struct work *work, unsigned number) {
    const ka_sign_params params = params_for(work->key);
    char message[32];
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_len = sizeof signature;
    ka_error err;
    int len = snprintf(message, sizeof message, "message %u", number);
    if (ka_key_sign(work->key, &params, (uint8_t *)message, (size_t)len, signature, &signature_len, &err) !=
        KA_OK)
        fprintf(stderr, "%s: %s: %s\n", message, ka_status_name(err.code), err.message);
    else if (is_good(work->key, message, (size_t)len, signature, signature_len))
        atomic_fetch_add(&work->good, 1);
}

static void *run(void *argument) {
    struct work *work = argument;
    for (unsigned number; (number = atomic_fetch_add(&work->next, 1)) < work->messages;)
        sign_one(work, number);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_MAX];
    struct work work = {0};
    ka_client *client;
    ka_error err;
    unsigned count = argc == 4 ? (unsigned)atoi(argv[2]) : 0, started = 0;
    if (count == 0 || count > THREADS_MAX) {
        fprintf(stderr, "usage: thread-pool URI THREADS MESSAGES\n");
        return 64;
    }
    work.messages = (unsigned)atoi(argv[3]);
    if (ka_client_new(NULL, &client, &err) != KA_OK) fail("client", &err);
    if (ka_key_open(client, argv[1], &work.key, &err) != KA_OK) fail(argv[1], &err);
    while (started < count && pthread_create(&threads[started], NULL, run, &work) == 0)
        started++;
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    printf("%u threads, %u of %u signatures good\n", started, atomic_load(&work.good), work.messages);
    ka_key_free(work.key);
    ka_client_free(client);
    return started == count && atomic_load(&work.good) == work.messages ? 0 : 1;
}
