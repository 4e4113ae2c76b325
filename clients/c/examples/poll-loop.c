/*
 * One thread, no call that blocks: many signatures are in flight at once, and poll(2) says which can go on.
 *
 *     poll-loop URI IN_FLIGHT MESSAGES
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify.h"

enum { IN_FLIGHT_MAX = 1024 };

/* A place for one request at a time. */
struct slot {
    ka_request *request; /* NULL: free */
    char message[32];
};

struct loop {
    ka_key *key;
    unsigned slots, messages, begun, finished, good;
    struct slot slot[IN_FLIGHT_MAX];
    struct pollfd entries[IN_FLIGHT_MAX];
};

static void begin(struct loop *loop, struct slot *slot) {
    const ka_sign_params params = params_for(loop->key);
    ka_error err;
    int len = snprintf(slot->message, sizeof slot->message, "message %u", loop->begun++);
    if (ka_key_sign_start(loop->key, &params, (uint8_t *)slot->message, (size_t)len, &slot->request, &err) !=
        KA_OK)
        fail(slot->message, &err);
}

static bool is_signed(const struct loop *loop, const struct slot *slot) {
    size_t signature_len;
    const uint8_t *signature = ka_request_bytes(slot->request, &signature_len);
    return is_good(loop->key, slot->message, strlen(slot->message), signature, signature_len);
}

/* Takes the request as far as it goes now. */
static void advance(struct loop *loop, struct slot *slot) {
    ka_error err;
    ka_status status = ka_request_continue(slot->request, &err);
    if (status == KA_PENDING) return;
    if (status == KA_OK)
        loop->good += is_signed(loop, slot);
    else
        fprintf(stderr, "%s: %s: %s\n", slot->message, ka_status_name(err.code), err.message);
    ka_request_free(slot->request);
    slot->request = NULL;
    loop->finished++;
}

/* What each slot waits for; answers how long at most. poll skips a descriptor of -1. */
static int watch(struct loop *loop) {
    int timeout_ms = -1;
    for (unsigned i = 0; i < loop->slots; i++) {
        struct slot *slot = &loop->slot[i];
        if (slot->request == NULL && loop->begun < loop->messages) begin(loop, slot);
        loop->entries[i] = (struct pollfd){.fd = -1};
        if (slot->request == NULL) continue;
        loop->entries[i].fd = ka_request_fd(slot->request);
        loop->entries[i].events = ka_request_events(slot->request);
        int wait_ms = ka_request_timeout_ms(slot->request);
        if (timeout_ms < 0 || wait_ms < timeout_ms) timeout_ms = wait_ms;
    }
    return timeout_ms;
}

static void run(struct loop *loop) {
    while (loop->finished < loop->messages) {
        int timeout_ms = watch(loop);
        if (poll(loop->entries, loop->slots, timeout_ms) < 0 && errno != EINTR) {
            perror("poll");
            exit(1);
        }
        for (unsigned i = 0; i < loop->slots; i++) {
            struct slot *slot = &loop->slot[i];
            if (slot->request == NULL) continue;
            if (loop->entries[i].revents != 0 || ka_request_fd(slot->request) < 0 ||
                ka_request_timeout_ms(slot->request) == 0)
                advance(loop, slot);
        }
    }
}

int main(int argc, char **argv) {
    static struct loop loop;
    ka_client *client;
    ka_error err;
    loop.slots = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
    if (loop.slots == 0 || loop.slots > IN_FLIGHT_MAX) {
        fprintf(stderr, "usage: poll-loop URI IN_FLIGHT MESSAGES\n");
        return 64;
    }
    loop.messages = (unsigned)atoi(argv[3]);
    if (ka_client_new(NULL, &client, &err) != KA_OK) fail("client", &err);
    if (ka_key_open(client, argv[1], &loop.key, &err) != KA_OK) fail(argv[1], &err);
    run(&loop);
    printf("%u in flight, %u of %u signatures good\n", loop.slots, loop.good, loop.messages);
    ka_key_free(loop.key);
    ka_client_free(client);
    return loop.good == loop.messages ? 0 : 1;
}
