/* ka_key: asks for a key's public data and keeps it. */
#include "key.h"

#include <stdlib.h>
#include <string.h>

#include "algorithm.h"
#include "call.h"
#include "error.h"
#include "request.h"
#include "uri.h"

static void store(struct ka_key *key, size_t *used, struct ka_span *span) {
    uint8_t *copy = key->storage + *used;
    if (span->len > 0) memcpy(copy, span->data, span->len);
    *used += span->len;
    span->data = copy;
}

static size_t storage_size(const struct ka_key_result *result) {
    size_t size = result->spki.len;
    for (size_t i = 0; i < result->certificate_count; i++)
        size += result->certificates[i].len;
    return size;
}

ka_status ka_key_new(struct ka_client *client, const struct ka_key_result *result, struct ka_key **out,
                     ka_error *err) {
    struct ka_key *key = malloc(sizeof *key + storage_size(result));
    if (key == NULL) return ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a key");
    atomic_init(&key->owners, 1);
    key->client = ka_client_ref(client);
    key->public_data = *result;
    memcpy(key->uri, result->uri.data, result->uri.len);
    key->uri[result->uri.len] = '\0';
    key->public_data.uri.data = (const uint8_t *)key->uri;
    size_t used = 0;
    store(key, &used, &key->public_data.spki);
    for (size_t i = 0; i < result->certificate_count; i++)
        store(key, &used, &key->public_data.certificates[i]);
    *out = key;
    return KA_OK;
}

static ka_status check_key(const struct ka_key_result *result, ka_error *err) {
    if (ka_algorithm_fits_bits(result->algorithm, result->bits) && result->spki.len > 0 &&
        result->uri.len > 0 && memchr(result->uri.data, '\0', result->uri.len) == NULL)
        return KA_OK;
    return ka_error_set(err, KA_ERR_MALFORMED, "the agent described a key that cannot be");
}

static ka_status check_signature(const struct ka_key_result *about, ka_format format, size_t len,
                                 ka_error *err) {
    if (ka_signature_fits(about->algorithm, about->bits, format, len)) return KA_OK;
    return ka_error_set(err, KA_ERR_MALFORMED,
                        "the agent's signature has %zu bytes, which is not this key's size", len);
}

/* A premaster secret has one size; what OAEP hides is shorter than the modulus. */
static ka_status check_plaintext(const struct ka_key_result *about, bool is_premaster, size_t len,
                                 ka_error *err) {
    if (is_premaster ? len == KA_TLS_PREMASTER_SIZE : len < (about->bits + 7) / 8) return KA_OK;
    return ka_error_set(err, KA_ERR_MALFORMED, "the agent's %s has %zu bytes",
                        is_premaster ? "premaster secret" : "plaintext", len);
}

ka_status ka_key_check_reply(const struct ka_key *key, const struct ka_params *params,
                             const struct ka_reply *reply, ka_error *err) {
    if (key == NULL) return check_key(&reply->key, err);
    if (params->method == KA_METHOD_SIGN)
        return check_signature(&key->public_data, params->format, reply->bytes.len, err);
    return check_plaintext(&key->public_data, params->has_versions, reply->bytes.len, err);
}

static ka_status open_params(const char *uri, struct ka_params *out, ka_error *err) {
    *out = (struct ka_params){.method = KA_METHOD_KEY, .uri = {(const uint8_t *)uri, strlen(uri)}};
    return ka_uri_check(out->uri, err);
}

ka_status ka_key_open(ka_client *client, const char *uri, ka_key **out, ka_error *err) {
    struct ka_params params;
    ka_status status = open_params(uri, &params, err);
    if (status != KA_OK) return status;
    struct ka_call call;
    ka_call_begin(&call, client, NULL, &params);
    status = ka_call_run(&call, err);
    return status == KA_OK ? ka_key_new(client, &call.reply.key, out, err) : status;
}

ka_status ka_key_open_start(ka_client *client, const char *uri, ka_request **out, ka_error *err) {
    struct ka_params params;
    ka_status status = open_params(uri, &params, err);
    return status == KA_OK ? ka_request_new(client, NULL, &params, out, err) : status;
}

ka_key *ka_key_ref(ka_key *key) {
    atomic_fetch_add(&key->owners, 1);
    return key;
}

void ka_key_free(ka_key *key) {
    if (key == NULL || atomic_fetch_sub(&key->owners, 1) != 1) return;
    ka_client_free(key->client);
    free(key);
}

const char *ka_key_uri(const ka_key *key) {
    return key->uri;
}

ka_algorithm ka_key_algorithm(const ka_key *key) {
    return key->public_data.algorithm;
}

unsigned ka_key_bits(const ka_key *key) {
    return key->public_data.bits;
}

size_t ka_key_signature_max(const ka_key *key) {
    return ka_signature_max(key->public_data.algorithm, key->public_data.bits, KA_FORMAT_DER);
}

bool ka_key_usable(const ka_key *key) {
    return key->public_data.usable;
}

const uint8_t *ka_key_spki(const ka_key *key, size_t *len) {
    *len = key->public_data.spki.len;
    return key->public_data.spki.data;
}

size_t ka_key_certificate_count(const ka_key *key) {
    return key->public_data.certificate_count;
}

const uint8_t *ka_key_certificate(const ka_key *key, size_t index, size_t *len) {
    if (index >= key->public_data.certificate_count) return NULL;
    *len = key->public_data.certificates[index].len;
    return key->public_data.certificates[index].data;
}
