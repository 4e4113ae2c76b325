/* What requests ask, and how that travels: from parameters to whole frames. Reading an answer: reply.h. */
#ifndef KEYAGENT_PARAMS_H
#define KEYAGENT_PARAMS_H

#include "writer.h"

enum ka_method { KA_METHOD_HELLO, KA_METHOD_KEY, KA_METHOD_SIGN, KA_METHOD_DECRYPT };

/* What the payload of a request is. */
enum ka_payload { KA_PAYLOAD_NONE, KA_PAYLOAD_MESSAGE, KA_PAYLOAD_DIGEST, KA_PAYLOAD_CIPHERTEXT };

/* A key, sign or decrypt request, without what changes when it is repeated. */
struct ka_params {
    enum ka_method method;
    struct ka_span uri;
    const char *algorithm; /* sign, decrypt: a name of PROTOCOL.md "Algorithms" */
    enum ka_payload payload_kind;
    struct ka_span payload;
    ka_format format;  /* sign with ECDSA */
    bool has_versions; /* decrypt with rsa-pkcs1-tls */
    uint16_t client_version;
    uint16_t negotiated_version;
};

/* What differs between the first time and the repeat. */
struct ka_attempt {
    uint32_t id;
    uint32_t deadline_ms;
    bool repeat; /* the connection was lost unanswered once */
};

void ka_hello_write(struct ka_writer *writer, uint32_t id);
void ka_params_write(struct ka_writer *writer, const struct ka_params *params,
                     const struct ka_attempt *attempt);

#endif
