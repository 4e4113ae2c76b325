/* Decrypting. Plaintexts are wiped from every buffer here but the caller's. */
#include <string.h>

#include "algorithm.h"
#include "error.h"
#include "key.h"

/* Asks the agent; the plaintext of at most `cap` bytes goes to out. */
static ka_status decrypt(struct ka_key *key, struct ka_request *request, uint8_t *out, size_t cap,
                         size_t *len, ka_error *err) {
    request->method = KA_METHOD_DECRYPT;
    request->uri = key->public_data.uri;
    request->payload_kind = KA_PAYLOAD_CIPHERTEXT;
    struct ka_exchange exchange;
    struct ka_reply reply;
    ka_status status = ka_client_call(key->client, request, &exchange, &reply, err);
    if (status == KA_OK) {
        *len = reply.bytes.len;
        if (*len <= cap)
            memcpy(out, reply.bytes.data, *len);
        else
            status = ka_error_set(err, KA_ERR_BUFFER, "the plaintext takes %zu bytes", *len);
    }
    explicit_bzero(&exchange.inbox, sizeof exchange.inbox);
    return status;
}

static size_t modulus_len(const struct ka_key *key) {
    return (key->public_data.bits + 7) / 8;
}

static ka_status require_rsa(const struct ka_key *key, ka_error *err) {
    if (key->public_data.algorithm == KA_ALG_RSA) return KA_OK;
    return ka_error_set(err, KA_ERR_MECHANISM, "only an RSA key decrypts");
}

ka_status ka_key_decrypt_oaep(ka_key *key, ka_hash hash, const uint8_t *ciphertext, size_t ciphertext_len,
                              uint8_t *out, size_t *out_len, ka_error *err) {
    struct ka_request request = {.algorithm = ka_oaep_algorithm(hash),
                                 .payload = {ciphertext, ciphertext_len}};
    ka_status status = require_rsa(key, err);
    if (status != KA_OK) return status;
    if (request.algorithm == NULL) return ka_error_set(err, KA_ERR_INVALID, "OAEP needs a hash");
    size_t longest = modulus_len(key), len;
    if (out == NULL) {
        *out_len = longest;
        return ka_error_set(err, KA_ERR_BUFFER, "the plaintext takes up to %zu bytes", longest);
    }
    /* RFC 8017 7.1.2 step 1b */
    if (ciphertext_len != longest)
        return ka_error_set(err, KA_ERR_DECRYPT_FAILED, "the ciphertext does not decrypt");
    status = decrypt(key, &request, out, *out_len, &len, err);
    if (status == KA_OK || status == KA_ERR_BUFFER) *out_len = len;
    return status;
}

ka_status ka_key_decrypt_tls(ka_key *key, uint16_t client_version, uint16_t negotiated_version,
                             const uint8_t *ciphertext, size_t ciphertext_len,
                             uint8_t premaster[KA_TLS_PREMASTER_SIZE], ka_error *err) {
    struct ka_request request = {
        .algorithm = KA_WIRE_ALG_RSA_PKCS1_TLS,
        .payload = {ciphertext, ciphertext_len},
        .has_versions = true,
        .client_version = client_version,
        .negotiated_version = negotiated_version,
    };
    ka_status status = require_rsa(key, err);
    if (status != KA_OK) return status;
    /* The length is on the wire for everybody to see: refusing it tells nothing. */
    if (ciphertext_len != modulus_len(key))
        return ka_error_set(err, KA_ERR_INVALID, "the ciphertext has %zu bytes where the modulus has %zu",
                            ciphertext_len, modulus_len(key));
    uint8_t plaintext[KA_TLS_PREMASTER_SIZE];
    size_t len;
    status = decrypt(key, &request, plaintext, sizeof plaintext, &len, err);
    if (status == KA_ERR_BUFFER || (status == KA_OK && len != sizeof plaintext))
        status = ka_error_set(err, KA_ERR_MALFORMED, "the agent's premaster secret has %zu bytes", len);
    if (status == KA_OK) memcpy(premaster, plaintext, sizeof plaintext);
    explicit_bzero(plaintext, sizeof plaintext);
    return status;
}
