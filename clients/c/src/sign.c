/* Signing a digest or a message that is there as a whole. In pieces: signer.c. */
#include "sign.h"

#include <string.h>

#include "algorithm.h"
#include "error.h"
#include "hash.h"

ka_status ka_signature_room(const struct ka_key *key, const ka_sign_params *params, const uint8_t *sig,
                            size_t *sig_len, ka_error *err) {
    size_t needed = ka_signature_max(key->public_data.algorithm, key->public_data.bits, params->format);
    if (sig != NULL && *sig_len >= needed) return KA_OK;
    *sig_len = needed;
    return ka_error_set(err, KA_ERR_BUFFER, "a signature takes up to %zu bytes", needed);
}

ka_status ka_key_sign_payload(struct ka_key *key, const ka_sign_params *params, enum ka_payload kind,
                              struct ka_span payload, uint8_t *sig, size_t *sig_len, ka_error *err) {
    const struct ka_key_result *about = &key->public_data;
    struct ka_request request = {
        .method = KA_METHOD_SIGN,
        .uri = about->uri,
        .payload_kind = kind,
        .payload = payload,
        .format = params->format == KA_FORMAT_P1363 ? "p1363" : NULL,
    };
    ka_status status = ka_sign_algorithm(about->algorithm, params, &request.algorithm, err);
    if (status != KA_OK) return status;
    struct ka_exchange exchange;
    struct ka_reply reply;
    status = ka_client_call(key->client, &request, &exchange, &reply, err);
    if (status != KA_OK) return status;
    if (!ka_signature_fits(about->algorithm, about->bits, params->format, reply.bytes.len))
        return ka_error_set(err, KA_ERR_MALFORMED,
                            "the agent's signature has %zu bytes, which is not this key's size",
                            reply.bytes.len);
    memcpy(sig, reply.bytes.data, reply.bytes.len);
    *sig_len = reply.bytes.len;
    return KA_OK;
}

ka_status ka_key_sign_digest(ka_key *key, const ka_sign_params *params, const uint8_t *digest,
                             size_t digest_len, uint8_t *sig, size_t *sig_len, ka_error *err) {
    const char *name;
    ka_status status = ka_sign_algorithm(key->public_data.algorithm, params, &name, err);
    if (status != KA_OK) return status;
    if (params->scheme == KA_ED25519)
        return ka_error_set(err, KA_ERR_INVALID, "Ed25519 signs a message, not a digest");
    if (digest_len != ka_hash_size(params->hash))
        return ka_error_set(err, KA_ERR_INVALID, "the digest has %zu bytes where the hash gives %zu",
                            digest_len, ka_hash_size(params->hash));
    status = ka_signature_room(key, params, sig, sig_len, err);
    if (status != KA_OK) return status;
    return ka_key_sign_payload(key, params, KA_PAYLOAD_DIGEST, (struct ka_span){digest, digest_len}, sig,
                               sig_len, err);
}

ka_status ka_key_sign(ka_key *key, const ka_sign_params *params, const uint8_t *message, size_t message_len,
                      uint8_t *sig, size_t *sig_len, ka_error *err) {
    const char *name;
    ka_status status = ka_sign_algorithm(key->public_data.algorithm, params, &name, err);
    if (status == KA_OK) status = ka_signature_room(key, params, sig, sig_len, err);
    if (status != KA_OK) return status;
    if (message_len <= KA_MESSAGE_MAX)
        return ka_key_sign_payload(key, params, KA_PAYLOAD_MESSAGE, (struct ka_span){message, message_len},
                                   sig, sig_len, err);
    if (params->scheme == KA_ED25519)
        return ka_error_set(err, KA_ERR_TOO_LARGE, "Ed25519 signs messages of at most %d bytes here",
                            KA_MESSAGE_MAX);
    struct ka_hasher hasher;
    uint8_t digest[KA_DIGEST_MAX];
    ka_hasher_init(&hasher, params->hash);
    ka_hasher_update(&hasher, message, message_len);
    ka_hasher_final(&hasher, digest);
    return ka_key_sign_payload(key, params, KA_PAYLOAD_DIGEST,
                               (struct ka_span){digest, ka_hash_size(params->hash)}, sig, sig_len, err);
}
