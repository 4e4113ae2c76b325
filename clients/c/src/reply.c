/* Decodes replies, see reply.h. One function per map of the schema; each takes its fields in any order. */
#include "reply.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(field)   (UINT32_C(1) << (field))

static const char *const algorithm_names[] = {
    KA_WIRE_KEY_RSA, KA_WIRE_KEY_EC_P256, KA_WIRE_KEY_EC_P384, KA_WIRE_KEY_EC_P521, KA_WIRE_KEY_ED25519,
};
static const ka_algorithm algorithms[] = {
    KA_ALG_RSA, KA_ALG_EC_P256, KA_ALG_EC_P384, KA_ALG_EC_P521, KA_ALG_ED25519,
};
static const char *const token_states[] = {
    KA_WIRE_TOKEN_ABSENT,   KA_WIRE_TOKEN_LOCKED,      KA_WIRE_TOKEN_UNLOCKING,
    KA_WIRE_TOKEN_UNLOCKED, KA_WIRE_TOKEN_PIN_BLOCKED, KA_WIRE_TOKEN_FAILED,
};
static const char *const key_states[] = {
    KA_WIRE_KEY_STATE_VERIFIED,
    KA_WIRE_KEY_STATE_UNVERIFIED,
    KA_WIRE_KEY_STATE_MISMATCH,
};
static const char *const mechanisms[] = {
    KA_WIRE_MECHANISM_RSA_PKCS1, KA_WIRE_MECHANISM_RSA_PSS,  KA_WIRE_MECHANISM_ECDSA,
    KA_WIRE_MECHANISM_ED25519,   KA_WIRE_MECHANISM_RSA_OAEP, KA_WIRE_MECHANISM_RSA_PKCS1_TLS,
};

/* A value that has to be right but that nothing here needs. */
static bool skip_uint(struct ka_reader *reader) {
    uint32_t ignored;
    return ka_read_uint(reader, &ignored);
}

static bool skip_str(struct ka_reader *reader, size_t max) {
    struct ka_span ignored;
    return ka_read_str(reader, max, &ignored);
}

static bool skip_name(struct ka_reader *reader, const char *const *names, size_t count) {
    size_t ignored;
    return ka_read_name(reader, names, count, &ignored);
}

static bool skip_mechanisms(struct ka_reader *reader, size_t max) {
    size_t count;
    if (!ka_read_array(reader, max, &count)) return false;
    while (count-- > 0) {
        if (!skip_name(reader, mechanisms, COUNT(mechanisms))) return false;
    }
    return true;
}

static ka_status status_of(uint32_t number) {
    /* From 200 they exist only inside a client and never travel. */
    bool travels = number >= -KA_ERR_MALFORMED && number <= -KA_ERR_STOPPING;
    return travels ? -(ka_status)number : KA_ERR_INTERNAL;
}

static bool read_candidates(struct ka_reader *reader, struct ka_wire_error *error) {
    if (!ka_read_array(reader, KA_WIRE_MAX_ERROR_CANDIDATES, &error->candidate_count)) return false;
    for (size_t i = 0; i < error->candidate_count; i++) {
        if (!ka_read_str(reader, KA_WIRE_MAX_ERROR_CANDIDATES_ITEM, &error->candidates[i])) return false;
    }
    return true;
}

static bool read_error(struct ka_reader *reader, struct ka_wire_error *error) {
    enum { CODE, MESSAGE, CANDIDATES, RETRY_AFTER_MS };
    static const char *const fields[] = {
        KA_WIRE_FIELD_CODE,
        KA_WIRE_FIELD_MESSAGE,
        KA_WIRE_FIELD_CANDIDATES,
        KA_WIRE_FIELD_RETRY_AFTER_MS,
    };
    size_t count, field;
    uint32_t seen = 0, number = 0;
    *error = (struct ka_wire_error){0};
    if (!ka_read_map(reader, COUNT(fields), &count)) return false;
    while (count-- > 0) {
        bool ok = ka_read_field(reader, fields, COUNT(fields), &seen, &field);
        if (ok && field == CODE) ok = ka_read_uint(reader, &number);
        if (ok && field == MESSAGE) ok = ka_read_str(reader, KA_WIRE_MAX_ERROR_MESSAGE, &error->text);
        if (ok && field == CANDIDATES) ok = read_candidates(reader, error);
        if (ok && field == RETRY_AFTER_MS) ok = skip_uint(reader);
        if (!ok) return false;
    }
    error->code = status_of(number);
    return (seen & BIT(CODE)) && (seen & BIT(MESSAGE));
}

static bool read_hello(struct ka_reader *reader, uint32_t *version) {
    enum { VERSION, AGENT };
    static const char *const fields[] = {
        KA_WIRE_FIELD_VERSION,     KA_WIRE_FIELD_AGENT,         KA_WIRE_FIELD_MAX_FRAME,
        KA_WIRE_FIELD_MAX_MESSAGE, KA_WIRE_FIELD_MAX_IN_FLIGHT,
    };
    size_t count, field;
    uint32_t seen = 0;
    if (!ka_read_map(reader, COUNT(fields), &count) || count != COUNT(fields)) return false;
    while (count-- > 0) {
        if (!ka_read_field(reader, fields, COUNT(fields), &seen, &field)) return false;
        bool ok = field == VERSION ? ka_read_uint(reader, version)
                  : field == AGENT ? skip_str(reader, KA_WIRE_MAX_HELLO_RESULT_AGENT)
                                   : skip_uint(reader);
        if (!ok) return false;
    }
    return true;
}

static bool read_algorithm(struct ka_reader *reader, ka_algorithm *algorithm) {
    size_t index;
    if (!ka_read_name(reader, algorithm_names, COUNT(algorithm_names), &index)) return false;
    *algorithm = algorithms[index];
    return true;
}

static bool read_certificates(struct ka_reader *reader, struct ka_key_result *key) {
    if (!ka_read_array(reader, KA_WIRE_MAX_KEY_RESULT_CERTIFICATES, &key->certificate_count)) return false;
    for (size_t i = 0; i < key->certificate_count; i++) {
        if (!ka_read_bin(reader, KA_WIRE_MAX_KEY_RESULT_CERTIFICATES_ITEM, &key->certificates[i]))
            return false;
    }
    return true;
}

enum key_field {
    URI,
    TOKEN,
    TOKEN_STATE,
    STATE,
    ALGORITHM,
    BITS,
    SPKI,
    CERTIFICATES,
    MECHANISMS,
    COMPLETED,
    USABLE
};

static bool read_key_field(struct ka_reader *reader, enum key_field field, struct ka_key_result *key) {
    switch (field) {
    case URI:
        return ka_read_str(reader, KA_WIRE_MAX_KEY_RESULT_URI, &key->uri);
    case TOKEN:
        return skip_str(reader, KA_WIRE_MAX_KEY_RESULT_TOKEN);
    case TOKEN_STATE:
        return skip_name(reader, token_states, COUNT(token_states));
    case STATE:
        return skip_name(reader, key_states, COUNT(key_states));
    case ALGORITHM:
        return read_algorithm(reader, &key->algorithm);
    case BITS:
        return ka_read_uint(reader, &key->bits);
    case SPKI:
        return ka_read_bin(reader, KA_WIRE_MAX_KEY_RESULT_SPKI, &key->spki);
    case CERTIFICATES:
        return read_certificates(reader, key);
    case MECHANISMS:
        return skip_mechanisms(reader, KA_WIRE_MAX_KEY_RESULT_MECHANISMS);
    case COMPLETED:
        return skip_mechanisms(reader, KA_WIRE_MAX_KEY_RESULT_COMPLETED);
    case USABLE:
        return ka_read_bool(reader, &key->usable);
    }
    return false;
}

static bool read_key(struct ka_reader *reader, struct ka_key_result *key) {
    static const char *const fields[] = {
        [URI] = KA_WIRE_FIELD_URI,
        [TOKEN] = KA_WIRE_FIELD_TOKEN,
        [TOKEN_STATE] = KA_WIRE_FIELD_TOKEN_STATE,
        [STATE] = KA_WIRE_FIELD_STATE,
        [ALGORITHM] = KA_WIRE_FIELD_ALGORITHM,
        [BITS] = KA_WIRE_FIELD_BITS,
        [SPKI] = KA_WIRE_FIELD_SPKI,
        [CERTIFICATES] = KA_WIRE_FIELD_CERTIFICATES,
        [MECHANISMS] = KA_WIRE_FIELD_MECHANISMS,
        [COMPLETED] = KA_WIRE_FIELD_COMPLETED,
        [USABLE] = KA_WIRE_FIELD_USABLE,
    };
    size_t count, field;
    uint32_t seen = 0;
    if (!ka_read_map(reader, COUNT(fields), &count) || count != COUNT(fields)) return false;
    while (count-- > 0) {
        if (!ka_read_field(reader, fields, COUNT(fields), &seen, &field)) return false;
        if (!read_key_field(reader, (enum key_field)field, key)) return false;
    }
    return true;
}

/* sign and decrypt: a map of one field. */
static bool read_bytes(struct ka_reader *reader, const char *name, size_t max, struct ka_span *bytes) {
    size_t count, field;
    uint32_t seen = 0;
    return ka_read_map(reader, 1, &count) && count == 1 && ka_read_field(reader, &name, 1, &seen, &field) &&
           ka_read_bin(reader, max, bytes);
}

static bool read_result(struct ka_reader *reader, enum ka_method method, struct ka_reply *reply) {
    switch (method) {
    case KA_METHOD_HELLO:
        return read_hello(reader, &reply->version);
    case KA_METHOD_KEY:
        return read_key(reader, &reply->key);
    case KA_METHOD_SIGN:
        return read_bytes(reader, KA_WIRE_FIELD_SIGNATURE, KA_WIRE_MAX_SIGN_RESULT_SIGNATURE, &reply->bytes);
    case KA_METHOD_DECRYPT:
        return read_bytes(reader, KA_WIRE_FIELD_PLAINTEXT, KA_WIRE_MAX_DECRYPT_RESULT_PLAINTEXT,
                          &reply->bytes);
    }
    return false;
}

bool ka_reply_read(struct ka_span body, enum ka_method method, struct ka_reply *reply) {
    struct ka_reader reader;
    size_t count;
    uint32_t type;
    ka_reader_init(&reader, body);
    if (!ka_read_array(&reader, 4, &count) || count != 4) return false;
    if (!ka_read_uint(&reader, &type) || type != 1 || !ka_read_uint(&reader, &reply->id)) return false;
    reply->failed = !ka_read_nil(&reader);
    bool ok = reply->failed ? read_error(&reader, &reply->error) && ka_read_nil(&reader)
                            : reply->id != 0 && read_result(&reader, method, reply);
    return ok && ka_reader_at_end(&reader);
}
