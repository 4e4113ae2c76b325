/* Decrypting. Plaintexts are wiped from every buffer here but the caller's. */
#include <string.h>

#include "algorithm.h"
#include "call.h"
#include "error.h"
#include "key.h"
#include "request.h"

/* Asks the agent; the plaintext goes to out if it has room for it. */
static ka_status decrypt(struct ka_key *key, const struct ka_params *params, uint8_t *out, size_t *out_len,
                         ka_error *err) {
    struct ka_call call;
    ka_call_begin(&call, key->client, key, params);
    ka_status status = ka_call_run(&call, err);
    if (status == KA_OK) {
        struct ka_span plaintext = call.reply.bytes;
        if (plaintext.len <= *out_len)
            memcpy(out, plaintext.data, plaintext.len);
        else
            status = ka_error_set(err, KA_ERR_BUFFER, "the plaintext takes %zu bytes", plaintext.len);
        *out_len = plaintext.len;
    }
    explicit_bzero(&call.exchange.inbox, sizeof call.exchange.inbox);
    return status;
}

static size_t modulus_len(const struct ka_key *key) {
    return (key->public_data.bits + 7) / 8;
}

static ka_status common_params(const struct ka_key *key, struct ka_span ciphertext, struct ka_params *out,
                               ka_error *err) {
    *out = (struct ka_params){
        .method = KA_METHOD_DECRYPT,
        .uri = key->public_data.uri,
        .payload_kind = KA_PAYLOAD_CIPHERTEXT,
        .payload = ciphertext,
    };
    if (key->public_data.algorithm == KA_ALG_RSA) return KA_OK;
    return ka_error_set(err, KA_ERR_MECHANISM, "only an RSA key decrypts");
}

static ka_status oaep_params(const struct ka_key *key, ka_hash hash, struct ka_span ciphertext,
                             struct ka_params *out, ka_error *err) {
    ka_status status = common_params(key, ciphertext, out, err);
    if (status != KA_OK) return status;
    out->algorithm = ka_oaep_algorithm(hash);
    if (out->algorithm == NULL) return ka_error_set(err, KA_ERR_INVALID, "OAEP needs a hash");
    return KA_OK;
}

/* RFC 8017 7.1.2 step 1b */
static ka_status check_oaep_length(const struct ka_key *key, size_t ciphertext_len, ka_error *err) {
    if (ciphertext_len == modulus_len(key)) return KA_OK;
    return ka_error_set(err, KA_ERR_DECRYPT_FAILED, "the ciphertext does not decrypt");
}

static ka_status tls_params(const struct ka_key *key, uint16_t client_version, uint16_t negotiated_version,
                            struct ka_span ciphertext, struct ka_params *out, ka_error *err) {
    ka_status status = common_params(key, ciphertext, out, err);
    if (status != KA_OK) return status;
    out->algorithm = KA_WIRE_ALG_RSA_PKCS1_TLS;
    out->has_versions = true;
    out->client_version = client_version;
    out->negotiated_version = negotiated_version;
    /* The length is on the wire for everybody to see: refusing it tells nothing. */
    if (ciphertext.len == modulus_len(key)) return KA_OK;
    return ka_error_set(err, KA_ERR_INVALID, "the ciphertext has %zu bytes where the modulus has %zu",
                        ciphertext.len, modulus_len(key));
}

ka_status ka_key_decrypt_oaep(ka_key *key, ka_hash hash, const uint8_t *ciphertext, size_t ciphertext_len,
                              uint8_t *out, size_t *out_len, ka_error *err) {
    struct ka_params params;
    ka_status status = oaep_params(key, hash, (struct ka_span){ciphertext, ciphertext_len}, &params, err);
    if (status != KA_OK) return status;
    if (out == NULL) {
        *out_len = modulus_len(key);
        return ka_error_set(err, KA_ERR_BUFFER, "the plaintext takes up to %zu bytes", *out_len);
    }
    status = check_oaep_length(key, ciphertext_len, err);
    return status == KA_OK ? decrypt(key, &params, out, out_len, err) : status;
}

ka_status ka_key_decrypt_tls(ka_key *key, uint16_t client_version, uint16_t negotiated_version,
                             const uint8_t *ciphertext, size_t ciphertext_len,
                             uint8_t premaster[KA_TLS_PREMASTER_SIZE], ka_error *err) {
    struct ka_params params;
    size_t len = KA_TLS_PREMASTER_SIZE;
    ka_status status = tls_params(key, client_version, negotiated_version,
                                  (struct ka_span){ciphertext, ciphertext_len}, &params, err);
    return status == KA_OK ? decrypt(key, &params, premaster, &len, err) : status;
}

ka_status ka_key_decrypt_oaep_start(ka_key *key, ka_hash hash, const uint8_t *ciphertext,
                                    size_t ciphertext_len, ka_request **out, ka_error *err) {
    struct ka_params params;
    ka_status status = oaep_params(key, hash, (struct ka_span){ciphertext, ciphertext_len}, &params, err);
    if (status == KA_OK) status = check_oaep_length(key, ciphertext_len, err);
    return status == KA_OK ? ka_request_new(key->client, key, &params, out, err) : status;
}

ka_status ka_key_decrypt_tls_start(ka_key *key, uint16_t client_version, uint16_t negotiated_version,
                                   const uint8_t *ciphertext, size_t ciphertext_len, ka_request **out,
                                   ka_error *err) {
    struct ka_params params;
    ka_status status = tls_params(key, client_version, negotiated_version,
                                  (struct ka_span){ciphertext, ciphertext_len}, &params, err);
    return status == KA_OK ? ka_request_new(key->client, key, &params, out, err) : status;
}
