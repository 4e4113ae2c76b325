/*
 * Replies as they travel: [1, id, error|nil, result|nil] (PROTOCOL.md). Input: the body of one frame, from an
 * agent that is not trusted to be well-behaved. Output: a reply whose spans point into the body. The schema
 * is closed: an unknown, missing, repeated or oversize field makes the whole reply malformed.
 */
#ifndef KEYAGENT_REPLY_H
#define KEYAGENT_REPLY_H

#include "protocol_gen.h"
#include "reader.h"
#include "params.h"

struct ka_wire_error {
    ka_status code; /* KA_ERR_INTERNAL for a number that this version does not know */
    struct ka_span text;
    struct ka_span candidates[KA_WIRE_MAX_ERROR_CANDIDATES];
    size_t candidate_count;
};

struct ka_key_result {
    struct ka_span uri;
    ka_algorithm algorithm;
    uint32_t bits;
    struct ka_span spki;
    struct ka_span certificates[KA_WIRE_MAX_KEY_RESULT_CERTIFICATES];
    size_t certificate_count;
    bool usable;
};

struct ka_reply {
    uint32_t id; /* 0: about the connection */
    bool failed; /* which member counts */
    union {
        struct ka_wire_error error;
        uint32_t version;         /* hello */
        struct ka_key_result key; /* key */
        struct ka_span bytes;     /* sign: the signature; decrypt: the plaintext */
    };
};

/* Decodes a reply to `method`. False: malformed. */
KA_MUSTUSE bool ka_reply_read(struct ka_span body, enum ka_method method, struct ka_reply *reply);

#endif
