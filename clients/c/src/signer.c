/* ka_signer: a message in pieces. It is kept while it can be sent whole, and hashed from there on. */
#include <stdlib.h>
#include <string.h>

#include "algorithm.h"
#include "error.h"
#include "request.h"
#include "sign.h"

struct ka_signer {
    struct ka_key *key;
    ka_sign_params params;
    bool finished;
    bool hashing; /* the message is in the hasher, not in the buffer */
    struct ka_hasher hasher;
    size_t len; /* bytes in the buffer */
    uint8_t buffer[KA_MESSAGE_MAX];
};

ka_status ka_signer_new(ka_key *key, const ka_sign_params *params, ka_signer **out, ka_error *err) {
    const char *name;
    ka_status status = ka_sign_algorithm(key->public_data.algorithm, params, &name, err);
    if (status != KA_OK) return status;
    struct ka_signer *signer = malloc(sizeof *signer);
    if (signer == NULL) return ka_error_set(err, KA_ERR_NO_MEMORY, "no memory for a signer");
    signer->key = ka_key_ref(key);
    signer->params = *params;
    signer->finished = false;
    signer->hashing = false;
    signer->len = 0;
    *out = signer;
    return KA_OK;
}

ka_status ka_signer_update(ka_signer *signer, const uint8_t *data, size_t len) {
    if (signer->finished) return KA_ERR_INVALID;
    if (len == 0) return KA_OK;
    if (!signer->hashing && len <= KA_MESSAGE_MAX - signer->len) {
        memcpy(signer->buffer + signer->len, data, len);
        signer->len += len;
        return KA_OK;
    }
    if (signer->params.scheme == KA_ED25519) return KA_ERR_TOO_LARGE;
    if (!signer->hashing) {
        ka_hasher_init(&signer->hasher, signer->params.hash);
        ka_hasher_update(&signer->hasher, signer->buffer, signer->len);
        signer->hashing = true;
    }
    ka_hasher_update(&signer->hasher, data, len);
    return KA_OK;
}

ka_status ka_signer_dup(const ka_signer *signer, ka_signer **out) {
    struct ka_signer *copy = malloc(sizeof *copy);
    if (copy == NULL) return KA_ERR_NO_MEMORY;
    copy->key = ka_key_ref(signer->key);
    copy->params = signer->params;
    copy->finished = signer->finished;
    copy->hashing = signer->hashing;
    if (signer->hashing) copy->hasher = signer->hasher;
    copy->len = signer->len;
    memcpy(copy->buffer, signer->buffer, signer->len);
    *out = copy;
    return KA_OK;
}

/* Uses the signer up. `digest` takes what `out` borrows of a message that was hashed. */
static ka_status finish(struct ka_signer *signer, uint8_t digest[KA_DIGEST_MAX], struct ka_params *out,
                        ka_error *err) {
    signer->finished = true;
    if (!signer->hashing)
        return ka_sign_message_params(signer->key, &signer->params,
                                      (struct ka_span){signer->buffer, signer->len}, digest, out, err);
    ka_hasher_final(&signer->hasher, digest);
    return ka_sign_digest_params(signer->key, &signer->params,
                                 (struct ka_span){digest, ka_hash_size(signer->params.hash)}, out, err);
}

static ka_status require_unfinished(const struct ka_signer *signer, ka_error *err) {
    if (!signer->finished) return KA_OK;
    return ka_error_set(err, KA_ERR_INVALID, "this signer has signed already");
}

ka_status ka_signer_finish(ka_signer *signer, uint8_t *sig, size_t *sig_len, ka_error *err) {
    struct ka_params asked;
    uint8_t digest[KA_DIGEST_MAX];
    ka_status status = require_unfinished(signer, err);
    if (status == KA_OK) status = ka_signature_room(signer->key, &signer->params, sig, sig_len, err);
    if (status == KA_OK) status = finish(signer, digest, &asked, err);
    return status == KA_OK ? ka_sign_run(signer->key, &asked, sig, sig_len, err) : status;
}

ka_status ka_signer_finish_start(ka_signer *signer, ka_request **out, ka_error *err) {
    struct ka_params asked;
    uint8_t digest[KA_DIGEST_MAX];
    ka_status status = require_unfinished(signer, err);
    if (status == KA_OK) status = finish(signer, digest, &asked, err);
    return status == KA_OK ? ka_request_new(signer->key->client, signer->key, &asked, out, err) : status;
}

void ka_signer_free(ka_signer *signer) {
    if (signer == NULL) return;
    ka_key_free(signer->key);
    free(signer);
}
