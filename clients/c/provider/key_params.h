/*
 * The keymgmt functions that answer questions about a key, one set per type.
 */
#ifndef KEYAGENT_PROVIDER_KEY_PARAMS_H
#define KEYAGENT_PROVIDER_KEY_PARAMS_H

#include "provider.h"

/** The EC group in libcrypto's words; NULL for other keys. */
const char *kp_key_group(const kp_key *key);

OSSL_FUNC_keymgmt_get_params_fn kp_rsa_get_params, kp_ec_get_params, kp_ed25519_get_params;
OSSL_FUNC_keymgmt_gettable_params_fn kp_rsa_gettable_params, kp_ec_gettable_params,
    kp_ed25519_gettable_params;
OSSL_FUNC_keymgmt_export_types_fn kp_rsa_export_types, kp_ec_export_types, kp_ed25519_export_types;

#endif
