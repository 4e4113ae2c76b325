/*
 * An agent that does what a test tells it: a Unix socket and one thread that reads requests and passes each
 * to the test's handler, in order. The handler answers, or holds the answer back, or misbehaves. It
 * implements PROTOCOL.md and nothing behind it: there are no keys.
 */
#ifndef KEYAGENT_FAKE_AGENT_H
#define KEYAGENT_FAKE_AGENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "frame.h"
#include "params.h"

#define FAKE_CONNECTIONS 2048 /* in its whole life */

struct fake_agent;

struct fake_connection {
    struct fake_agent *agent;
    int fd;            /* -1: closed */
    unsigned number;   /* from 1, in the order of accept */
    struct ucred peer; /* who connected */
    struct ka_inbox inbox;
};

/* A request as it was read; spans live until the handler returns. */
struct fake_request {
    struct fake_connection *from;
    uint32_t id;
    enum ka_method method;
    struct ka_span uri, alg, payload, format, name;
    const char *payload_kind; /* "message", "digest", "ciphertext" */
    bool has_versions, has_deadline, repeat;
    uint32_t client_version, negotiated_version, deadline_ms;
};

typedef void fake_handler(struct fake_agent *agent, const struct fake_request *request);

struct fake_agent {
    char directory[64];
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    fake_handler *handler;
    fake_handler *hello;                 /* NULL: fake_answer */
    void *context;                       /* the test's */
    _Atomic unsigned accepted, requests; /* hello is not counted */
    int listener;
    int wake[2]; /* a pipe; a byte in it stops the thread */
    pthread_t thread;
    struct fake_connection *connections[FAKE_CONNECTIONS];
};

/* Listens in a new directory below /tmp that anybody may enter. Fails the test if it cannot. */
void fake_agent_start(struct fake_agent *agent, fake_handler *handler, void *context);
/* Ends every connection and removes the socket; the counters stay. */
void fake_agent_stop(struct fake_agent *agent);
/* Listens again after fake_agent_stop, on the same path. */
void fake_agent_resume(struct fake_agent *agent);
/* Stops and removes the directory. */
void fake_agent_end(struct fake_agent *agent);

/* What a good agent says: hello, a key that fits the end of the URI ("rsa", "p256", "p384", "p521",
 * "ed25519"; 2048 bits), a signature of the right length that begins with the payload, a plaintext that is
 * the ciphertext's first 48 bytes. */
void fake_answer(struct fake_agent *agent, const struct fake_request *request);

void fake_send(struct fake_connection *to, const void *bytes, size_t len);
void fake_close(struct fake_connection *connection);
void fake_answer_bytes(const struct fake_request *request, const char *field, const void *bytes, size_t len);
/* id 0: about the connection. */
void fake_answer_error(struct fake_connection *to, uint32_t id, ka_status status, const char *text);
void fake_answer_key(const struct fake_request *request, const char *algorithm, uint32_t bits);

bool span_is(struct ka_span span, const char *text);

#endif
