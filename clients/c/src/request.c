/* ka_request: a call that the program waits for itself. What starts one: key.c, sign.c, signer.c, decrypt.c.
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

struct ka_request {
    struct ka_key *key; /* whose, and for ka_key_open_start the one that was found */
    bool finished;
    bool has_result;
    struct ka_call call;
    uint8_t storage[]; /* what the call may not borrow from the program: URI, payload */
};

static struct ka_span keep(uint8_t **at, struct ka_span span) {
    uint8_t *copy = *at;
    if (span.len > 0) memcpy(copy, span.data, span.len);
    *at += span.len;
    return (struct ka_span){copy, span.len};
}

ka_status ka_request_new(struct ka_client *client, struct ka_key *key, const struct ka_params *params,
                         struct ka_request **out, ka_error *err) {
    struct ka_params kept = *params;
    struct ka_request *request = malloc(sizeof *request + params->uri.len + params->payload.len);
    if (request == NULL) return ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a request");
    uint8_t *at = request->storage;
    kept.uri = keep(&at, params->uri);
    kept.payload = keep(&at, params->payload);
    request->key = key == NULL ? NULL : ka_key_ref(key);
    request->finished = request->has_result = false;
    ka_call_begin(&request->call, ka_client_ref(client), key, &kept);
    *out = request;
    return KA_OK;
}

ka_status ka_request_continue(ka_request *request, ka_error *err) {
    if (request->finished) return ka_error_set(err, KA_ERR_INVALID, "this request is finished already");
    ka_status status = ka_call_continue(&request->call, err);
    if (status == KA_PENDING) return status;
    request->finished = true;
    if (status == KA_OK && request->call.params.method == KA_METHOD_KEY)
        status = ka_key_new(request->call.client, &request->call.reply.key, &request->key, err);
    request->has_result = status == KA_OK;
    return status;
}

int ka_request_fd(const ka_request *request) {
    return request->finished ? -1 : ka_call_fd(&request->call);
}

short ka_request_events(const ka_request *request) {
    return request->finished ? 0 : ka_call_events(&request->call);
}

int ka_request_timeout_ms(const ka_request *request) {
    return request->finished ? 0 : ka_call_timeout_ms(&request->call);
}

const uint8_t *ka_request_bytes(const ka_request *request, size_t *len) {
    if (!request->has_result || request->call.params.method == KA_METHOD_KEY) return NULL;
    *len = request->call.reply.bytes.len;
    return request->call.reply.bytes.data;
}

ka_key *ka_request_key(const ka_request *request) {
    return request->has_result && request->call.params.method == KA_METHOD_KEY ? request->key : NULL;
}

void ka_request_free(ka_request *request) {
    if (request == NULL) return;
    ka_call_abandon(&request->call);
    if (request->call.params.method == KA_METHOD_DECRYPT)
        explicit_bzero(&request->call.exchange.inbox, sizeof request->call.exchange.inbox);
    ka_key_free(request->key);
    ka_client_free(request->call.client);
    free(request);
}
