/* Signing a digest or a message that is there as a whole. In pieces: signer.c. */
#include "sign.h"

#include <string.h>

#include "algorithm.h"
#include "call.h"
#include "error.h"
#include "request.h"

/* Everything but the payload. */
static ka_status common_params(const struct ka_key *key, const ka_sign_params *params, struct ka_params *out,
                               ka_error *err) {
    *out =
        (struct ka_params){.method = KA_METHOD_SIGN, .uri = key->public_data.uri, .format = params->format};
    return ka_sign_algorithm(key->public_data.algorithm, params, &out->algorithm, err);
}

ka_status ka_sign_digest_params(const struct ka_key *key, const ka_sign_params *params, struct ka_span digest,
                                struct ka_params *out, ka_error *err) {
    ka_status status = common_params(key, params, out, err);
    if (status != KA_OK) return status;
    if (params->scheme == KA_ED25519)
        return ka_error_set(err, KA_ERR_INVALID, "Ed25519 signs a message, not a digest");
    if (digest.len != ka_hash_size(params->hash))
        return ka_error_set(err, KA_ERR_INVALID, "the digest has %zu bytes where the hash gives %zu",
                            digest.len, ka_hash_size(params->hash));
    out->payload_kind = KA_PAYLOAD_DIGEST;
    out->payload = digest;
    return KA_OK;
}

ka_status ka_sign_message_params(const struct ka_key *key, const ka_sign_params *params,
                                 struct ka_span message, uint8_t digest[KA_DIGEST_MAX], struct ka_params *out,
                                 ka_error *err) {
    ka_status status = common_params(key, params, out, err);
    if (status != KA_OK) return status;
    out->payload_kind = KA_PAYLOAD_MESSAGE;
    out->payload = message;
    if (message.len <= KA_MESSAGE_MAX) return KA_OK;
    if (params->scheme == KA_ED25519)
        return ka_error_set(err, KA_ERR_TOO_LARGE, "Ed25519 signs messages of at most %d bytes here",
                            KA_MESSAGE_MAX);
    struct ka_hasher hasher;
    ka_hasher_init(&hasher, params->hash);
    ka_hasher_update(&hasher, message.data, message.len);
    ka_hasher_final(&hasher, digest);
    out->payload_kind = KA_PAYLOAD_DIGEST;
    out->payload = (struct ka_span){digest, ka_hash_size(params->hash)};
    return KA_OK;
}

ka_status ka_signature_room(const struct ka_key *key, const ka_sign_params *params, const uint8_t *sig,
                            size_t *sig_len, ka_error *err) {
    size_t needed = ka_signature_max(key->public_data.algorithm, key->public_data.bits, params->format);
    if (sig != NULL && *sig_len >= needed) return KA_OK;
    *sig_len = needed;
    return ka_error_set(err, KA_ERR_BUFFER, "a signature takes up to %zu bytes", needed);
}

ka_status ka_sign_run(const struct ka_key *key, const struct ka_params *params, uint8_t *sig, size_t *sig_len,
                      ka_error *err) {
    struct ka_call call;
    ka_call_begin(&call, key->client, key, params);
    ka_status status = ka_call_run(&call, err);
    if (status != KA_OK) return status;
    memcpy(sig, call.reply.bytes.data, call.reply.bytes.len);
    *sig_len = call.reply.bytes.len;
    return KA_OK;
}

ka_status ka_key_sign_digest(ka_key *key, const ka_sign_params *params, const uint8_t *digest,
                             size_t digest_len, uint8_t *sig, size_t *sig_len, ka_error *err) {
    struct ka_params asked;
    ka_status status = ka_sign_digest_params(key, params, (struct ka_span){digest, digest_len}, &asked, err);
    if (status == KA_OK) status = ka_signature_room(key, params, sig, sig_len, err);
    if (status == KA_OK) status = ka_sign_run(key, &asked, sig, sig_len, err);
    return status;
}

ka_status ka_key_sign(ka_key *key, const ka_sign_params *params, const uint8_t *message, size_t message_len,
                      uint8_t *sig, size_t *sig_len, ka_error *err) {
    struct ka_params asked;
    uint8_t digest[KA_DIGEST_MAX];
    /* First without the message: one that is long is not hashed only to say that the buffer is short. */
    ka_status status = common_params(key, params, &asked, err);
    if (status == KA_OK) status = ka_signature_room(key, params, sig, sig_len, err);
    if (status == KA_OK)
        status =
            ka_sign_message_params(key, params, (struct ka_span){message, message_len}, digest, &asked, err);
    if (status == KA_OK) status = ka_sign_run(key, &asked, sig, sig_len, err);
    return status;
}

ka_status ka_key_sign_digest_start(ka_key *key, const ka_sign_params *params, const uint8_t *digest,
                                   size_t digest_len, ka_request **out, ka_error *err) {
    struct ka_params asked;
    ka_status status = ka_sign_digest_params(key, params, (struct ka_span){digest, digest_len}, &asked, err);
    return status == KA_OK ? ka_request_new(key->client, key, &asked, out, err) : status;
}

ka_status ka_key_sign_start(ka_key *key, const ka_sign_params *params, const uint8_t *message,
                            size_t message_len, ka_request **out, ka_error *err) {
    struct ka_params asked;
    uint8_t digest[KA_DIGEST_MAX];
    ka_status status =
        ka_sign_message_params(key, params, (struct ka_span){message, message_len}, digest, &asked, err);
    return status == KA_OK ? ka_request_new(key->client, key, &asked, out, err) : status;
}
