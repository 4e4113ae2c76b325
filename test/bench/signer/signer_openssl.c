/* Through OpenSSL: a key of the provider by its URI, or a PEM file. OPENSSL_CONF says which providers there are. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <stdlib.h>

#include "signer.h"

struct target {
    EVP_PKEY *key;
    enum algorithm algorithm;
};

struct signer {
    const struct target *target;
    EVP_MD_CTX *digest;
};

static void *target_open(const struct options *options) {
    static struct target target;
    OSSL_STORE_CTX *store = OSSL_STORE_open(options->uri, NULL, NULL, NULL, NULL);
    while (store != NULL && target.key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL) target.key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    if (target.key == NULL) die("openssl: %s", ERR_error_string(ERR_get_error(), NULL));
    target.algorithm = options->algorithm;
    return &target;
}

static void *signer_open(void *target) {
    struct signer *signer = malloc(sizeof *signer);
    if (signer == NULL) die("out of memory");
    signer->target = target;
    signer->digest = EVP_MD_CTX_new();
    return signer;
}

/* As libssl does it: a context for each handshake, the length first. */
static size_t sign(void *opened, const uint8_t *message, uint8_t signature[SIGNATURE_MAX]) {
    const struct signer *signer = opened;
    EVP_PKEY_CTX *context;
    size_t len = 0;
    int ok = EVP_DigestSignInit_ex(signer->digest, &context, "SHA256", NULL, NULL, signer->target->key, NULL);
    if (ok == 1 && signer->target->algorithm == ALG_RSA_PSS_SHA256)
        ok = EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok == 1 && EVP_DigestSign(signer->digest, NULL, &len, message, MESSAGE_LEN) == 1 && len <= SIGNATURE_MAX &&
         EVP_DigestSign(signer->digest, signature, &len, message, MESSAGE_LEN) == 1;
    if (!ok) die("openssl: %s", ERR_error_string(ERR_get_error(), NULL));
    EVP_MD_CTX_reset(signer->digest);
    return len;
}

const struct signer_target signer_openssl = {target_open, signer_open, sign, NULL};
