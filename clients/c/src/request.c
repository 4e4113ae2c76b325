/* Encodes requests, see request.h. The envelope is [0, id, method, params]. */
#include "request.h"

#include <errno.h>
#include <string.h>

#include "protocol_gen.h"
#include "utf8.h"

static const char *const method_names[] = {
    [KA_METHOD_HELLO] = KA_WIRE_METHOD_HELLO,
    [KA_METHOD_KEY] = KA_WIRE_METHOD_KEY,
    [KA_METHOD_SIGN] = KA_WIRE_METHOD_SIGN,
    [KA_METHOD_DECRYPT] = KA_WIRE_METHOD_DECRYPT,
};

static const char *const payload_names[] = {
    [KA_PAYLOAD_MESSAGE] = KA_WIRE_FIELD_MESSAGE,
    [KA_PAYLOAD_DIGEST] = KA_WIRE_FIELD_DIGEST,
    [KA_PAYLOAD_CIPHERTEXT] = KA_WIRE_FIELD_CIPHERTEXT,
};

static void write_envelope(struct ka_writer *writer, uint32_t id, enum ka_method method, size_t param_count) {
    ka_write_array(writer, 4);
    ka_write_uint(writer, 0);
    ka_write_uint(writer, id);
    ka_write_str(writer, method_names[method]);
    ka_write_map(writer, param_count);
}

/* For the operator's list of sessions; a file name need not be fit to travel. */
static const char *program_name(void) {
    const char *name = program_invocation_short_name;
    size_t len = strlen(name);
    bool fits = len <= KA_WIRE_MAX_HELLO_PARAMS_NAME && ka_str_valid((const uint8_t *)name, len);
    return fits ? name : "libkeyagent";
}

void ka_hello_write(struct ka_writer *writer, uint32_t id) {
    size_t start = ka_frame_begin(writer);
    write_envelope(writer, id, KA_METHOD_HELLO, 3);
    ka_write_str(writer, KA_WIRE_FIELD_MIN);
    ka_write_uint(writer, KA_WIRE_VERSION_MIN);
    ka_write_str(writer, KA_WIRE_FIELD_MAX);
    ka_write_uint(writer, KA_WIRE_VERSION_MAX);
    ka_write_str(writer, KA_WIRE_FIELD_NAME);
    ka_write_str(writer, program_name());
    ka_frame_end(writer, start);
}

static size_t param_count(const struct ka_request *request, const struct ka_attempt *attempt) {
    if (request->method == KA_METHOD_KEY) return 1; /* uri */
    return 4u /* uri, alg, the payload, deadline_ms */ + (request->format != NULL) +
           (request->has_versions ? 2u : 0u) + attempt->repeat;
}

static void write_operation(struct ka_writer *writer, const struct ka_request *request,
                            const struct ka_attempt *attempt) {
    ka_write_str(writer, KA_WIRE_FIELD_ALG);
    ka_write_str(writer, request->algorithm);
    ka_write_str(writer, payload_names[request->payload_kind]);
    ka_write_bin(writer, request->payload);
    if (request->format != NULL) {
        ka_write_str(writer, KA_WIRE_FIELD_FORMAT);
        ka_write_str(writer, request->format);
    }
    if (request->has_versions) {
        ka_write_str(writer, KA_WIRE_FIELD_CLIENT_VERSION);
        ka_write_uint(writer, request->client_version);
        ka_write_str(writer, KA_WIRE_FIELD_NEGOTIATED_VERSION);
        ka_write_uint(writer, request->negotiated_version);
    }
    ka_write_str(writer, KA_WIRE_FIELD_DEADLINE_MS);
    ka_write_uint(writer, attempt->deadline_ms);
    if (attempt->repeat) {
        ka_write_str(writer, KA_WIRE_FIELD_REPEAT);
        ka_write_bool(writer, true);
    }
}

void ka_request_write(struct ka_writer *writer, const struct ka_request *request,
                      const struct ka_attempt *attempt) {
    size_t start = ka_frame_begin(writer);
    write_envelope(writer, attempt->id, request->method, param_count(request, attempt));
    ka_write_str(writer, KA_WIRE_FIELD_URI);
    ka_write_str_span(writer, request->uri);
    if (request->method != KA_METHOD_KEY) write_operation(writer, request, attempt);
    ka_frame_end(writer, start);
}
