/* Encodes requests, see params.h. The envelope is [0, id, method, params]. */
#include "params.h"

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

static void write_envelope(struct ka_writer *writer, uint32_t id, enum ka_method method, size_t field_count) {
    ka_write_array(writer, 4);
    ka_write_uint(writer, 0);
    ka_write_uint(writer, id);
    ka_write_str(writer, method_names[method]);
    ka_write_map(writer, field_count);
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

static size_t count_fields(const struct ka_params *params, const struct ka_attempt *attempt) {
    if (params->method == KA_METHOD_KEY) return 1; /* uri */
    return 4u /* uri, alg, the payload, deadline_ms */ + (params->format == KA_FORMAT_P1363) +
           (params->has_versions ? 2u : 0u) + attempt->repeat;
}

static void write_operation(struct ka_writer *writer, const struct ka_params *params,
                            const struct ka_attempt *attempt) {
    ka_write_str(writer, KA_WIRE_FIELD_ALG);
    ka_write_str(writer, params->algorithm);
    ka_write_str(writer, payload_names[params->payload_kind]);
    ka_write_bin(writer, params->payload);
    if (params->format == KA_FORMAT_P1363) {
        ka_write_str(writer, KA_WIRE_FIELD_FORMAT);
        ka_write_str(writer, "p1363");
    }
    if (params->has_versions) {
        ka_write_str(writer, KA_WIRE_FIELD_CLIENT_VERSION);
        ka_write_uint(writer, params->client_version);
        ka_write_str(writer, KA_WIRE_FIELD_NEGOTIATED_VERSION);
        ka_write_uint(writer, params->negotiated_version);
    }
    ka_write_str(writer, KA_WIRE_FIELD_DEADLINE_MS);
    ka_write_uint(writer, attempt->deadline_ms);
    if (attempt->repeat) {
        ka_write_str(writer, KA_WIRE_FIELD_REPEAT);
        ka_write_bool(writer, true);
    }
}

void ka_params_write(struct ka_writer *writer, const struct ka_params *params,
                     const struct ka_attempt *attempt) {
    size_t start = ka_frame_begin(writer);
    write_envelope(writer, attempt->id, params->method, count_fields(params, attempt));
    ka_write_str(writer, KA_WIRE_FIELD_URI);
    ka_write_str_span(writer, params->uri);
    if (params->method != KA_METHOD_KEY) write_operation(writer, params, attempt);
    ka_frame_end(writer, start);
}
