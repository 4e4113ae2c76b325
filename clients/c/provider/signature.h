/*
 * A signature under way: what signature.c runs and signature_params.c sets and tells.
 */
#ifndef KEYAGENT_PROVIDER_SIGNATURE_H
#define KEYAGENT_PROVIDER_SIGNATURE_H

#include "provider.h"

/* Salt lengths that are not a number of bytes; numbers as in EVP_PKEY_CTX_set_rsa_pss_saltlen(3). */
enum { KP_SALT_DIGEST = -1, KP_SALT_AUTO = -2, KP_SALT_MAX = -3, KP_SALT_AUTO_DIGEST_MAX = -4 };

typedef struct kp_signature {
    kp_provider *provider;
    kp_key *key; /* NULL until an init */
    ka_scheme scheme;
    ka_hash hash;      /* KA_HASH_NONE until it is named */
    ka_hash mgf1_hash; /* KA_HASH_NONE: as `hash` */
    int64_t salt;
    ka_signer *signer; /* NULL until the first byte of a message in pieces */
} kp_signature;

/** What is asked of the agent for a signature with this hash; false after an error was raised, if the agent
 * does no such thing. */
bool kp_signature_request(const kp_signature *signature, ka_hash hash, ka_sign_params *out);

OSSL_FUNC_signature_set_ctx_params_fn kp_rsa_set_signature_params, kp_ecdsa_set_signature_params;
OSSL_FUNC_signature_settable_ctx_params_fn kp_rsa_settable_signature_params,
    kp_ecdsa_settable_signature_params;
OSSL_FUNC_signature_get_ctx_params_fn kp_get_signature_params;
OSSL_FUNC_signature_gettable_ctx_params_fn kp_rsa_gettable_signature_params, kp_gettable_signature_params;

#define KP_ALGORITHM_ID_MAX 80
/** The AlgorithmIdentifier of a signature, in DER: its length, or 0 if there is none. */
size_t kp_algorithm_id(const ka_sign_params *params, uint8_t out[KP_ALGORITHM_ID_MAX]);

#endif
