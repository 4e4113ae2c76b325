/* One call: a connection, a request, a reply, and the one repeat (PROTOCOL.md "Deadlines, cancelling,
 * repeating"). */
#include "client.h"
#include "error.h"

/* Sends and receives once. *sent: the agent may have the whole request. */
static ka_status attempt(struct ka_client *client, const struct ka_request *request, bool repeat,
                         struct ka_connection *connection, struct ka_exchange *exchange,
                         struct ka_reply *reply, const struct ka_deadline *deadline, bool *sent,
                         ka_error *err) {
    *sent = false;
    ka_status status = KA_OK;
    if (connection->fd < 0)
        status = ka_connection_open(connection, ka_client_socket_path(client), deadline, err);
    if (status == KA_OK) status = ka_connection_send(connection, request, repeat, exchange, deadline, err);
    if (status != KA_OK) return status;
    *sent = true;
    return ka_connection_receive(connection, request->method, exchange, reply, deadline, err);
}

static ka_status call(struct ka_client *client, const struct ka_request *request,
                      struct ka_exchange *exchange, struct ka_reply *reply, ka_error *err) {
    struct ka_deadline deadline = ka_deadline_in(atomic_load(&client->timeout_ms));
    struct ka_connection spare;
    bool repeat = false;
    for (;;) {
        struct ka_connection *connection = ka_pool_take(&client->pool, &spare);
        bool was_open = connection->fd >= 0, sent;
        ka_status status =
            attempt(client, request, repeat, connection, exchange, reply, &deadline, &sent, err);
        ka_pool_return(&client->pool, connection, &spare);
        if (status != KA_LOST) return status;
        /* An idle connection that ended meanwhile: the agent has seen nothing of this. */
        if (was_open && !sent) continue;
        if (repeat)
            return ka_error_set(err, KA_ERR_UNAVAILABLE,
                                "the agent at %s closed the connection twice without an answer",
                                ka_client_socket_path(client));
        repeat = true;
    }
}

ka_status ka_client_call(struct ka_client *client, const struct ka_request *request,
                         struct ka_exchange *exchange, struct ka_reply *reply, ka_error *err) {
    ka_status status = call(client, request, exchange, reply, err);
    if (status != KA_OK || !reply->failed) return status;
    const struct ka_wire_error *error = &reply->error;
    return ka_error_set_reply(err, error->code, error->text, error->candidates, error->candidate_count);
}
