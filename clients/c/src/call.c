/* Calls, see call.h. */
#include "call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "error.h"
#include "guard.h"
#include "key.h"

/* How soon a full queue of the agent is tried again. */
enum { CONNECT_PAUSE_MS = 10 };

void ka_call_begin(struct ka_call *call, struct ka_client *client, const struct ka_key *key,
                   const struct ka_params *params) {
    call->client = client;
    call->key = key;
    call->params = *params;
    call->deadline = ka_deadline_in(atomic_load(&client->timeout_ms));
    call->generation = ka_generation_now(&client->pool.generation);
    call->connection = NULL;
    call->repeat = false;
}

static ka_status take_connection(struct ka_call *call, ka_error *err) {
    /* An idle one may be about to end for the same reason as the one that was lost. */
    call->connection = ka_pool_take(&call->client->pool, call->repeat);
    if (call->connection == NULL) return ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a connection");
    call->was_open = call->connection->connected;
    call->exchange.len = 0;
    return KA_OK;
}

/* One attempt, from where it stopped. Each step is skipped once it is done. */
static ka_status advance(struct ka_call *call, ka_error *err) {
    struct ka_exchange *exchange = &call->exchange;
    uint32_t left_ms = ka_deadline_left_ms(&call->deadline);
    ka_status status = KA_OK;
    if (call->connection == NULL)
        status = take_connection(call, err);
    else if (call->connection->connected && !ka_connection_intact(call->connection))
        status = KA_LOST; /* closed while the program waited */
    if (status != KA_OK) return status;
    if (exchange->len == 0 && left_ms == 0) return KA_PENDING; /* too late to begin */
    struct ka_connection *connection = call->connection;
    if (!connection->connected)
        status = ka_connection_open(connection, ka_client_socket_path(call->client), err);
    if (status == KA_OK && exchange->len == 0)
        status = ka_connection_write(connection, &call->params, left_ms, call->repeat, exchange, err);
    if (status == KA_OK) status = ka_connection_send(connection, exchange);
    if (status == KA_OK)
        status = ka_connection_receive(connection, call->params.method, exchange, &call->reply, err);
    return status;
}

static void give_back(struct ka_call *call, bool keep) {
    struct ka_connection *connection = call->connection;
    call->connection = NULL;
    if (connection == NULL) return;
    if (!keep) ka_connection_close(connection);
    ka_pool_return(connection);
}

/* After a loss. True: once more. */
static bool try_again(struct ka_call *call) {
    const struct ka_exchange *exchange = &call->exchange;
    /* An idle connection that ended meanwhile: the agent has seen nothing of this. */
    bool unseen = call->was_open && exchange->sent < exchange->len;
    if (!unseen && call->repeat) return false;
    if (!unseen) call->repeat = true;
    give_back(call, false);
    return true;
}

static ka_status lost(const struct ka_call *call, ka_error *err) {
    const char *path = ka_client_socket_path(call->client);
    if (call->connection->greeted)
        return ka_error_set(err, KA_ERR_UNAVAILABLE,
                            "the agent at %s closed the connection twice without an answer", path);
    return ka_error_set(err, KA_ERR_UNAVAILABLE,
                        "the agent at %s closes new connections: it is stopping or overloaded; "
                        "see `keyagent status`",
                        path);
}

static ka_status timed_out(const struct ka_call *call, ka_error *err) {
    if (call->connection->connected)
        return ka_error_set(err, KA_ERR_TIMEOUT, "the agent gave no answer in time; see `keyagent status`");
    return ka_error_set(err, KA_ERR_TIMEOUT, "the agent at %s accepts no connection; see `keyagent status`",
                        ka_client_socket_path(call->client));
}

/* The agent's own error, and whether what it answered can be true. */
static ka_status judge(const struct ka_call *call, ka_error *err) {
    const struct ka_reply *reply = &call->reply;
    if (!reply->failed) return ka_key_check_reply(call->key, &call->params, reply, err);
    const struct ka_wire_error *error = &reply->error;
    return ka_error_set_reply(err, error->code, error->text, error->candidates, error->candidate_count);
}

static ka_status proceed(struct ka_call *call, ka_error *err) {
    ka_status status;
    do
        status = advance(call, err);
    while (status == KA_LOST && try_again(call));
    if (status == KA_PENDING && ka_deadline_left_ms(&call->deadline) > 0) return KA_PENDING;
    if (status == KA_PENDING) status = timed_out(call, err);
    if (status == KA_LOST) status = lost(call, err);
    give_back(call, status == KA_OK);
    return status == KA_OK ? judge(call, err) : status;
}

/* In a child that was forked meanwhile the connection is the parent's, and so is the answer. */
static bool is_of_this_process(const struct ka_call *call) {
    return ka_generation_now(&call->client->pool.generation) == call->generation;
}

ka_status ka_call_continue(struct ka_call *call, ka_error *err) {
    if (!is_of_this_process(call))
        return ka_error_set(err, KA_ERR_CANCELLED, "this request was begun before the fork; begin a new one");
    struct ka_guard guard = ka_guard_enter();
    ka_status status = proceed(call, err);
    ka_guard_leave(&guard);
    return status;
}

void ka_call_abandon(struct ka_call *call) {
    if (!is_of_this_process(call)) return; /* the child's next call on this client closes it */
    struct ka_guard guard = ka_guard_enter();
    give_back(call, false);
    ka_guard_leave(&guard);
}

static ka_status wait_and_continue(struct ka_call *call, ka_error *err) {
    ka_status status;
    while ((status = ka_call_continue(call, err)) == KA_PENDING) {
        struct pollfd entry = {.fd = ka_call_fd(call), .events = ka_call_events(call)};
        if (poll(&entry, 1, ka_call_timeout_ms(call)) >= 0 || errno == EINTR) continue;
        status = ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot wait for the agent");
        ka_call_abandon(call);
        return status;
    }
    return status;
}

ka_status ka_call_run(struct ka_call *call, ka_error *err) {
    struct ka_guard guard = ka_guard_enter();
    ka_status status = wait_and_continue(call, err);
    ka_guard_leave(&guard);
    return status;
}

static bool is_connected(const struct ka_call *call) {
    return is_of_this_process(call) && call->connection != NULL && call->connection->connected;
}

int ka_call_fd(const struct ka_call *call) {
    return is_connected(call) ? call->connection->fd : -1;
}

short ka_call_events(const struct ka_call *call) {
    const struct ka_exchange *exchange = &call->exchange;
    if (!is_connected(call)) return 0;
    return exchange->sent < exchange->len && !exchange->cut ? POLLOUT : POLLIN;
}

int ka_call_timeout_ms(const struct ka_call *call) {
    if (!is_of_this_process(call) || call->connection == NULL) return 0;
    uint32_t left_ms = ka_deadline_left_ms(&call->deadline);
    if (!is_connected(call) && left_ms > CONNECT_PAUSE_MS) return CONNECT_PAUSE_MS;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}
