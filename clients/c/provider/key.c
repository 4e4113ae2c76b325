/*
 * The key object: one key of the agent, counted by its owners (libcrypto's key and every running operation).
 */
#include <stdlib.h>
#include "provider.h"

kp_key *kp_key_new(kp_provider *provider) {
    kp_key *key = calloc(1, sizeof(*key));
    if (key == NULL) {
        kp_raise(provider, KA_ERR_NO_MEMORY, "no memory for a key");
        return NULL;
    }
    atomic_init(&key->owners, 1);
    key->provider = provider;
    return key;
}

kp_key *kp_key_open(kp_provider *provider, const char *uri) {
    ka_client *client = kp_provider_client(provider);
    kp_key *key = client == NULL ? NULL : kp_key_new(provider);
    if (key == NULL) return NULL;
    ka_error error;
    if (ka_key_open(client, uri, &key->handle, &error) != KA_OK) {
        kp_raise_loading(provider, error.code, "%s", error.message);
        kp_key_free(key);
        return NULL;
    }
    kp_slice spki;
    spki.data = ka_key_spki(key->handle, &spki.len);
    key->algorithm = ka_key_algorithm(key->handle);
    if (!kp_public_key_read(key->algorithm, spki, &key->public_key)) {
        kp_raise(provider, KA_ERR_MALFORMED, "the agent sent a public key that cannot be read");
        kp_key_free(key);
        return NULL;
    }
    return key;
}

bool kp_key_require_usable(const kp_key *key) {
    if (ka_key_usable(key->handle)) return true;
    kp_raise_loading(
        key->provider, KA_ERR_DENIED,
        "no rule lets anybody use %s; name it in a [[rule]] of keyagent.toml, then run keyagent reload",
        ka_key_uri(key->handle));
    return false;
}

kp_key *kp_key_ref(kp_key *key) {
    atomic_fetch_add_explicit(&key->owners, 1, memory_order_relaxed);
    return key;
}

void kp_key_free(kp_key *key) {
    if (key == NULL || atomic_fetch_sub_explicit(&key->owners, 1, memory_order_acq_rel) != 1) return;
    ka_key_free(key->handle);
    free(key);
}

bool kp_key_is_ec(const kp_key *key) {
    return key->algorithm == KA_ALG_EC_P256 || key->algorithm == KA_ALG_EC_P384 ||
           key->algorithm == KA_ALG_EC_P521;
}

const char *kp_key_type(const kp_key *key) {
    if (key->algorithm == KA_ALG_RSA) return "RSA";
    return kp_key_is_ec(key) ? "EC" : "ED25519";
}
