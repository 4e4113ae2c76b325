/*
 * What the tests of the provider share: an agent with keys, and a libcrypto in which the provider (linked in,
 * so that sanitizers and valgrind see it) is configured from a file as an administrator writes it.
 */
#ifndef KEYAGENT_PROVIDER_HARNESS_H
#define KEYAGENT_PROVIDER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include "agent_with_keys.h"

struct harness {
    struct agent_with_keys agent;
    OSSL_LIB_CTX *context;
};

/* cmocka's group fixtures; *state is the harness. */
int harness_setup(void **state);
int harness_teardown(void **state);
/* cmocka's test teardown: no test leaves an error on libcrypto's queue, as a server would log it. */
int no_error_is_left(void **state);

/* A libcrypto of its own. `lines` are added to the provider's section; `properties` may be NULL. */
OSSL_LIB_CTX *new_context(const char *socket_path, const char *lines, const char *properties);

/* The agent's key by its URI; the test's own from now on. */
EVP_PKEY *load_key(OSSL_LIB_CTX *context, const char *uri);
EVP_PKEY *load_named(const struct harness *harness, int which);
/* Starts to sign with a key of the agent; *params may be NULL. */
EVP_MD_CTX *start_signature(const struct harness *harness, EVP_PKEY *key, const char *hash,
                            EVP_PKEY_CTX **params);
/* What the agent was asked so far. */
unsigned requests(const struct harness *harness);

/* Fails unless the oldest error on the queue is from the provider, has this reason and holds this text; then
 * empties it. */
void assert_error(const char *reason, const char *text);

/* True if `sig` is the agent's key's signature: verified without the provider. `padding` 0: PKCS#1 or no RSA
 * key. */
bool verifies(const struct harness *harness, int which, const char *hash, int padding, const void *message,
              size_t message_len, const uint8_t *sig, size_t sig_len);

#endif
