/* One way to have something signed, as the benchmark drives it: the same loop over all of them.
 *
 * A process opens a target once, and each of its threads opens a signer of its own. Neither is shared with a forked
 * child. Whatever fails ends the program: a benchmark of errors says nothing. */
#ifndef BENCH_SIGNER_H
#define BENCH_SIGNER_H

#include <stddef.h>
#include <stdint.h>

enum { SIGNATURE_MAX = 512, MESSAGE_LEN = 130 };

enum algorithm { ALG_ECDSA_SHA256, ALG_RSA_PSS_SHA256, ALG_RSA_PKCS1_SHA256 };

struct options {
    enum algorithm algorithm;
    /* keyagent: RFC 7512 URI; openssl: what OSSL_STORE_open takes */
    const char *uri;
    const char *socket;
    const char *module;
    /* pkcs11: labels; the first line of pin_file is the PIN */
    const char *token;
    const char *key;
    const char *pin_file;
};

struct signer_target {
    /* @return what signer_open and the others are given; once a process */
    void *(*open)(const struct options *options);
    /* @return one thread's own */
    void *(*signer_open)(void *target);
    /* Signs MESSAGE_LEN bytes. @return bytes written to signature, DER for ECDSA */
    size_t (*sign)(void *signer, const uint8_t *message, uint8_t signature[SIGNATURE_MAX]);
    /* Nanoseconds that the login took; NULL where there is none. */
    uint64_t (*login_ns)(const void *target);
};

extern const struct signer_target signer_keyagent;
extern const struct signer_target signer_openssl;
extern const struct signer_target signer_pkcs11;

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t now_ns(void);

/* Ends the program with 1 and a line on standard error. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
