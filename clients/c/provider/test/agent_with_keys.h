/*
 * An agent with keys: the fake agent of the library's tests, behind which libcrypto signs and decrypts. Its
 * keys are made anew for each test program; "object=NAME" in a URI, or keyagent:NAME, finds one.
 */
#ifndef KEYAGENT_PROVIDER_AGENT_WITH_KEYS_H
#define KEYAGENT_PROVIDER_AGENT_WITH_KEYS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include "fake_agent.h"

enum { RSA_KEY, P256_KEY, P384_KEY, P521_KEY, ED25519_KEY, KEY_COUNT };
extern const char *const key_names[KEY_COUNT]; /* "rsa", "p256", ... */

/* Each key has its own certificate and that of an issuer, but Ed25519 has none. */
struct agent_with_keys {
    struct fake_agent wire;
    OSSL_LIB_CTX *context; /* the agent's own libcrypto, without the provider */
    EVP_PKEY *keys[KEY_COUNT];
    X509 *certificates[KEY_COUNT];
    _Atomic int refusal; /* a ka_status that every sign and decrypt gets; KA_OK: none */
    /* The next sign is answered after the one that follows it; false again while it waits. */
    atomic_bool hold_next;
    atomic_bool holding;
    struct fake_request held;
    uint8_t held_signature[512];
    size_t held_len;
    /* The last sign or decrypt request. */
    char algorithm[32], payload_kind[16];
    size_t payload_len;
    uint32_t client_version, negotiated_version;
};

void agent_with_keys_start(struct agent_with_keys *agent);
void agent_with_keys_end(struct agent_with_keys *agent);

#endif
