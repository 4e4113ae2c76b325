#include <keyagent.h>

#include "signer.h"

struct target {
    ka_key *key;
    ka_sign_params params;
};

static ka_sign_params params_of(enum algorithm algorithm) {
    switch (algorithm) {
    case ALG_ECDSA_SHA256:
        return (ka_sign_params){KA_ECDSA, KA_HASH_SHA256, KA_FORMAT_DER};
    case ALG_RSA_PSS_SHA256:
        return (ka_sign_params){KA_RSA_PSS, KA_HASH_SHA256, KA_FORMAT_DER};
    case ALG_RSA_PKCS1_SHA256:
        return (ka_sign_params){KA_RSA_PKCS1, KA_HASH_SHA256, KA_FORMAT_DER};
    }
    die("no such algorithm");
}

static void *target_open(const struct options *options) {
    static struct target target;
    ka_client *client;
    ka_error err;
    if (ka_client_new(options->socket, &client, &err) != KA_OK ||
        ka_key_open(client, options->uri, &target.key, &err) != KA_OK)
        die("keyagent: %s", err.message);
    ka_client_free(client);
    target.params = params_of(options->algorithm);
    return &target;
}

/* A key serves any number of threads, each over a connection of its own while it asks. */
static void *signer_open(void *target) {
    return target;
}

static size_t sign(void *signer, const uint8_t *message, uint8_t signature[SIGNATURE_MAX]) {
    const struct target *target = signer;
    size_t len = SIGNATURE_MAX;
    ka_error err;
    if (ka_key_sign(target->key, &target->params, message, MESSAGE_LEN, signature, &len, &err) != KA_OK)
        die("keyagent: %s", err.message);
    return len;
}

const struct signer_target signer_keyagent = {target_open, signer_open, sign, NULL};
