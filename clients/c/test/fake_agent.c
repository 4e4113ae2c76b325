/* The fake agent, see fake_agent.h. */
#include "fake_agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "require.h"

bool span_is(struct ka_span span, const char *text) {
    return span.len == strlen(text) && memcmp(span.data, text, span.len) == 0;
}

void fake_send(struct fake_connection *to, const void *bytes, size_t len) {
    const uint8_t *at = bytes;
    while (to->fd >= 0 && len > 0) {
        ssize_t step = send(to->fd, at, len, MSG_NOSIGNAL);
        if (step < 0 && errno == EINTR) continue;
        if (step < 0) return; /* the client may have gone; the test sees that on its side */
        at += step;
        len -= (size_t)step;
    }
}

void fake_close(struct fake_connection *connection) {
    if (connection->fd >= 0) close(connection->fd);
    connection->fd = -1;
}

static void begin_reply(struct ka_writer *writer, uint32_t id) {
    ka_frame_begin(writer);
    ka_write_array(writer, 4);
    ka_write_uint(writer, 1);
    ka_write_uint(writer, id);
}

static void write_nil(struct ka_writer *writer) {
    if (writer->len < writer->cap) writer->buf[writer->len++] = 0xc0;
}

static void send_reply(struct ka_writer *writer, struct fake_connection *to) {
    ka_frame_end(writer, 0);
    require(!writer->overflow, "a reply of the fake agent is too long");
    fake_send(to, writer->buf, writer->len);
}

void fake_answer_bytes(const struct fake_request *request, const char *field, const void *bytes, size_t len) {
    uint8_t buf[1024];
    struct ka_writer writer;
    ka_writer_init(&writer, buf, sizeof buf);
    begin_reply(&writer, request->id);
    write_nil(&writer);
    ka_write_map(&writer, 1);
    ka_write_str(&writer, field);
    ka_write_bin(&writer, (struct ka_span){bytes, len});
    send_reply(&writer, request->from);
}

void fake_answer_error(struct fake_connection *to, uint32_t id, ka_status status, const char *text) {
    uint8_t buf[2048];
    struct ka_writer writer;
    ka_writer_init(&writer, buf, sizeof buf);
    begin_reply(&writer, id);
    ka_write_map(&writer, 2);
    ka_write_str(&writer, "code");
    ka_write_uint(&writer, (uint32_t)-status);
    ka_write_str(&writer, "message");
    ka_write_str(&writer, text);
    write_nil(&writer);
    send_reply(&writer, to);
}

static void answer_hello(const struct fake_request *request) {
    uint8_t buf[256];
    struct ka_writer writer;
    ka_writer_init(&writer, buf, sizeof buf);
    begin_reply(&writer, request->id);
    write_nil(&writer);
    ka_write_map(&writer, 5);
    ka_write_str(&writer, "version");
    ka_write_uint(&writer, 1);
    ka_write_str(&writer, "agent");
    ka_write_str(&writer, "fake 1");
    ka_write_str(&writer, "max_frame");
    ka_write_uint(&writer, 16384);
    ka_write_str(&writer, "max_message");
    ka_write_uint(&writer, 8192);
    ka_write_str(&writer, "max_in_flight");
    ka_write_uint(&writer, 64);
    send_reply(&writer, request->from);
}

void fake_answer_key(const struct fake_request *request, const char *algorithm, uint32_t bits) {
    static const char *const names[] = {"uri", "token", "token_state", "state", "algorithm"};
    const char *values[] = {"pkcs11:token=t;object=full", "t", "unlocked", "verified", algorithm};
    uint8_t buf[1024];
    struct ka_writer writer;
    ka_writer_init(&writer, buf, sizeof buf);
    begin_reply(&writer, request->id);
    write_nil(&writer);
    ka_write_map(&writer, 11);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ka_write_str(&writer, names[i]);
        ka_write_str(&writer, values[i]);
    }
    ka_write_str(&writer, "bits");
    ka_write_uint(&writer, bits);
    ka_write_str(&writer, "spki");
    ka_write_bin(&writer, (struct ka_span){(const uint8_t *)"spki", 4});
    ka_write_str(&writer, "certificates");
    ka_write_array(&writer, 2);
    ka_write_bin(&writer, (struct ka_span){(const uint8_t *)"leaf", 4});
    ka_write_bin(&writer, (struct ka_span){(const uint8_t *)"issuer", 6});
    ka_write_str(&writer, "mechanisms");
    ka_write_array(&writer, 1);
    ka_write_str(&writer, "rsa-pss");
    ka_write_str(&writer, "completed");
    ka_write_array(&writer, 0);
    ka_write_str(&writer, "usable");
    ka_write_bool(&writer, true);
    send_reply(&writer, request->from);
}

static void answer_key(const struct fake_request *request) {
    static const struct {
        const char *ending, *algorithm;
        uint32_t bits;
    } keys[] = {{"rsa", "rsa", 2048},
                {"p256", "ec-p256", 256},
                {"p384", "ec-p384", 384},
                {"p521", "ec-p521", 521},
                {"ed25519", "ed25519", 255}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t len = strlen(keys[i].ending);
        if (request->uri.len >= len &&
            memcmp(request->uri.data + request->uri.len - len, keys[i].ending, len) == 0) {
            fake_answer_key(request, keys[i].algorithm, keys[i].bits);
            return;
        }
    }
    fake_answer_error(request->from, request->id, KA_ERR_NOT_FOUND, "no such key");
}

/* The payload's beginning, so that a test can tell whose signature it has. */
static void answer_sign(const struct fake_request *request) {
    uint8_t signature[256] = {0};
    size_t len = request->alg.data[0] == 'r' ? 256 : 64;
    memcpy(signature, request->payload.data, request->payload.len < len ? request->payload.len : len);
    fake_answer_bytes(request, "signature", signature, len);
}

void fake_answer(struct fake_agent *agent, const struct fake_request *request) {
    (void)agent;
    switch (request->method) {
    case KA_METHOD_HELLO:
        answer_hello(request);
        break;
    case KA_METHOD_KEY:
        answer_key(request);
        break;
    case KA_METHOD_SIGN:
        answer_sign(request);
        break;
    case KA_METHOD_DECRYPT:
        fake_answer_bytes(request, "plaintext", request->payload.data, 48);
        break;
    }
}

static bool read_param(struct ka_reader *reader, struct fake_request *request) {
    static const char *const kinds[] = {"message", "digest", "ciphertext"};
    struct ka_span name;
    uint32_t ignored;
    if (!ka_read_str(reader, 64, &name)) return false;
    for (size_t i = 0; i < 3; i++) {
        if (!span_is(name, kinds[i])) continue;
        request->payload_kind = kinds[i];
        return ka_read_bin(reader, KA_WIRE_LIMIT_MESSAGE, &request->payload);
    }
    if (span_is(name, "uri")) return ka_read_str(reader, KA_WIRE_LIMIT_URI, &request->uri);
    if (span_is(name, "alg")) return ka_read_str(reader, 64, &request->alg);
    if (span_is(name, "format")) return ka_read_str(reader, 64, &request->format);
    if (span_is(name, "name")) return ka_read_str(reader, 64, &request->name);
    if (span_is(name, "min") || span_is(name, "max")) return ka_read_uint(reader, &ignored);
    if (span_is(name, "repeat")) return ka_read_bool(reader, &request->repeat);
    if (span_is(name, "client_version")) return ka_read_uint(reader, &request->client_version);
    if (span_is(name, "negotiated_version")) {
        request->has_versions = true;
        return ka_read_uint(reader, &request->negotiated_version);
    }
    request->has_deadline = true;
    return span_is(name, "deadline_ms") && ka_read_uint(reader, &request->deadline_ms);
}

static bool read_request(struct ka_span body, struct fake_request *request) {
    static const char *const methods[] = {"hello", "key", "sign", "decrypt"};
    struct ka_reader reader;
    size_t count, method;
    uint32_t type;
    ka_reader_init(&reader, body);
    if (!ka_read_array(&reader, 4, &count) || count != 4 || !ka_read_uint(&reader, &type) || type != 0)
        return false;
    if (!ka_read_uint(&reader, &request->id) || !ka_read_name(&reader, methods, 4, &method)) return false;
    request->method = (enum ka_method)method;
    if (!ka_read_map(&reader, 16, &count)) return false;
    while (count-- > 0) {
        if (!read_param(&reader, request)) return false;
    }
    return ka_reader_at_end(&reader);
}

static void handle(struct fake_connection *from, struct ka_span body) {
    struct fake_agent *agent = from->agent;
    struct fake_request request = {.from = from};
    require(read_request(body, &request), "the client sent a malformed request");
    if (request.method == KA_METHOD_HELLO) {
        (agent->hello != NULL ? agent->hello : fake_answer)(agent, &request);
        return;
    }
    atomic_fetch_add(&agent->requests, 1);
    agent->handler(agent, &request);
}

/* Everything that has arrived, frame by frame. */
static void serve(struct fake_connection *connection) {
    struct ka_inbox *inbox = &connection->inbox;
    memmove(inbox->buf, inbox->buf + inbox->start, inbox->end - inbox->start);
    inbox->end -= inbox->start;
    inbox->start = 0;
    ssize_t got = recv(connection->fd, inbox->buf + inbox->end, sizeof inbox->buf - inbox->end, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
        fake_close(connection);
        return;
    }
    inbox->end += (size_t)got;
    while (connection->fd >= 0 && inbox->end - inbox->start >= KA_FRAME_HEADER) {
        const uint8_t *at = inbox->buf + inbox->start;
        size_t len = (size_t)at[2] << 8 | at[3];
        require(at[0] == 0 && at[1] == 0 && len <= KA_WIRE_LIMIT_FRAME, "the client sent too long a frame");
        if (inbox->end - inbox->start - KA_FRAME_HEADER < len) return;
        inbox->start += KA_FRAME_HEADER + len;
        handle(connection, (struct ka_span){at + KA_FRAME_HEADER, len});
    }
}

static void accept_one(struct fake_agent *agent) {
    int fd = accept4(agent->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    unsigned number = atomic_fetch_add(&agent->accepted, 1);
    require(number < FAKE_CONNECTIONS, "too many connections for the fake agent");
    struct fake_connection *connection = calloc(1, sizeof *connection);
    require(connection != NULL, "no memory for the fake agent");
    *connection = (struct fake_connection){.agent = agent, .fd = fd, .number = number + 1};
    socklen_t len = sizeof connection->peer;
    require(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &connection->peer, &len) == 0, "SO_PEERCRED");
    agent->connections[number] = connection;
}

static void *run(void *argument) {
    struct fake_agent *agent = argument;
    for (;;) {
        struct pollfd entries[2 + FAKE_CONNECTIONS] = {{agent->wake[0], POLLIN, 0},
                                                       {agent->listener, POLLIN, 0}};
        unsigned count = atomic_load(&agent->accepted);
        for (unsigned i = 0; i < count; i++)
            entries[2 + i] = (struct pollfd){agent->connections[i]->fd, POLLIN, 0}; /* poll skips -1 */
        if (poll(entries, 2 + count, -1) < 0) continue;
        if (entries[0].revents != 0) return NULL;
        if (entries[1].revents != 0) accept_one(agent);
        for (unsigned i = 0; i < count; i++) {
            if (entries[2 + i].revents != 0 && agent->connections[i]->fd >= 0) serve(agent->connections[i]);
        }
    }
}

void fake_agent_resume(struct fake_agent *agent) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, agent->path, sizeof address.sun_path);
    agent->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(bind(agent->listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    require(chmod(agent->path, 0777) == 0, "chmod of the socket");
    require(listen(agent->listener, 128) == 0, "listen");
    require(pipe(agent->wake) == 0, "pipe");
    /* Signals of a test are for the threads that it tests. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    require(pthread_create(&agent->thread, NULL, run, agent) == 0, "pthread_create");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void fake_agent_start(struct fake_agent *agent, fake_handler *handler, void *context) {
    *agent = (struct fake_agent){.handler = handler, .context = context};
    strcpy(agent->directory, "/tmp/keyagent-test-XXXXXX");
    require(mkdtemp(agent->directory) != NULL, "mkdtemp");
    require(chmod(agent->directory, 0755) == 0, "chmod");
    snprintf(agent->path, sizeof agent->path, "%s/agent.sock", agent->directory);
    fake_agent_resume(agent);
}

void fake_agent_stop(struct fake_agent *agent) {
    require(write(agent->wake[1], "", 1) == 1, "cannot wake the fake agent");
    pthread_join(agent->thread, NULL);
    close(agent->wake[0]);
    close(agent->wake[1]);
    close(agent->listener);
    unlink(agent->path);
    for (unsigned i = 0; i < atomic_load(&agent->accepted); i++)
        fake_close(agent->connections[i]);
}

void fake_agent_end(struct fake_agent *agent) {
    fake_agent_stop(agent);
    for (unsigned i = 0; i < atomic_load(&agent->accepted); i++)
        free(agent->connections[i]);
    rmdir(agent->directory);
}
