/* See verify.h. */
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

ka_sign_params params_for(const ka_key *key) {
    switch (ka_key_algorithm(key)) {
    case KA_ALG_RSA:
        return (ka_sign_params){.scheme = KA_RSA_PSS, .hash = KA_HASH_SHA256};
    case KA_ALG_ED25519:
        return (ka_sign_params){.scheme = KA_ED25519};
    default:
        return (ka_sign_params){.scheme = KA_ECDSA, .hash = KA_HASH_SHA256};
    }
}

bool is_good(const ka_key *key, const void *message, size_t message_len, const uint8_t *signature,
             size_t signature_len) {
    ka_sign_params params = params_for(key);
    size_t spki_len;
    const uint8_t *spki = ka_key_spki(key, &spki_len);
    EVP_PKEY *public_key = d2i_PUBKEY(NULL, &spki, (long)spki_len);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *options;
    const EVP_MD *hash = params.scheme == KA_ED25519 ? NULL : EVP_sha256();
    bool good = public_key != NULL && context != NULL &&
                EVP_DigestVerifyInit(context, &options, hash, NULL, public_key) == 1;
    if (good && params.scheme == KA_RSA_PSS)
        good = EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestVerify(context, signature, signature_len, message, message_len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(public_key);
    return good;
}

void fail(const char *what, const ka_error *err) {
    fprintf(stderr, "%s: %s: %s\n", what, ka_status_name(err->code), err->message);
    exit(1);
}
