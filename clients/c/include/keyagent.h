/*
 * libkeyagent: use keys that keyagent holds.
 *
 * Concepts. An agent process is logged in to PKCS#11 tokens and serves their keys on a Unix socket. A
 * ka_client knows a socket; it connects at first use, keeps idle connections, and reconnects by itself. A
 * ka_key is one key of the agent, found by an RFC 7512 URI ("pkcs11:token=web;object=www"): its public
 * data is here, its private part never leaves the token. A ka_signer feeds a message to one signature. A
 * ka_request is a question on its way, for programs that wait with poll(2) themselves.
 *
 * Threads and forks. Every function may be called from any thread; one ka_signer or ka_request belongs to one
 * thread at a time. A process that forked, or changed its effective uid or gid or its groups, uses a
 * connection of its own from its next call on: the agent judges a connection by who opened it. A fork may
 * come at any moment, from a program of any number of threads; the child may use what the parent made, or
 * just free it. No atfork handler, no global state, no lock, no signal is raised. Not for signal handlers. A
 * call takes about 30 KiB of stack. No function is a cancellation point; the *_free functions leave errno
 * alone.
 *
 * Deadlines. A call ends by the client's timeout, whatever the agent does. If the connection is lost before
 * the agent has answered, the call is made once more, within that time.
 *
 * Errors. Functions return KA_OK (0) or a negative ka_status (KA_ERR_*). `err` may be NULL; otherwise it
 * receives the code and one line that says what to do. Outputs are untouched on error unless said otherwise.
 * Wire errors and their meaning: PROTOCOL.md.
 *
 * Ownership. What ka_*_new, ka_key_open and *_start store in *out is the caller's; free it with the function
 * of the same noun. Pointers that getters return live as long as their object. A ka_client may be freed
 * before its keys, a ka_key before its signers and requests: each holds what it needs.
 */
#ifndef KEYAGENT_H
#define KEYAGENT_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KA_API     __attribute__((visibility("default")))
#define KA_MUSTUSE __attribute__((warn_unused_result))
#else
#define KA_API
#define KA_MUSTUSE
#endif

/* Status. The numbers are the negated ones of PROTOCOL.md and never change. */
typedef int ka_status;
#define KA_OK                 0
#define KA_PENDING            1 /* of ka_request_continue only: not finished, and no error */
#define KA_ERR_MALFORMED      (-1)
#define KA_ERR_UNSUPPORTED    (-2)
#define KA_ERR_INVALID        (-3)
#define KA_ERR_TOO_LARGE      (-4)
#define KA_ERR_DENIED         (-5)
#define KA_ERR_NOT_FOUND      (-6)
#define KA_ERR_AMBIGUOUS      (-7)
#define KA_ERR_LOCKED         (-8)
#define KA_ERR_BUSY           (-9)
#define KA_ERR_TIMEOUT        (-10)
#define KA_ERR_CANCELLED      (-11)
#define KA_ERR_MECHANISM      (-12)
#define KA_ERR_KEY_MISMATCH   (-13)
#define KA_ERR_DECRYPT_FAILED (-14)
#define KA_ERR_TOKEN_ABSENT   (-15)
#define KA_ERR_TOKEN_ERROR    (-16)
#define KA_ERR_PIN_INCORRECT  (-17) /* this and the next three: of operators' requests only */
#define KA_ERR_PIN_BLOCKED    (-18)
#define KA_ERR_SOURCE_FAILED  (-19)
#define KA_ERR_CONFIGURATION  (-20)
#define KA_ERR_INTERNAL       (-21)
#define KA_ERR_STOPPING       (-22)
#define KA_ERR_UNAVAILABLE    (-200)
#define KA_ERR_UNTRUSTED      (-201)
#define KA_ERR_BUFFER         (-202)
#define KA_ERR_NO_MEMORY      (-203)

/* A code and its text. `message` is NUL-terminated UTF-8 of one line. */
typedef struct ka_error {
    ka_status code;
    char message[512];
} ka_error;

/* The name of a status, "LOCKED" for KA_ERR_LOCKED; never NULL; static. */
KA_API const char *ka_status_name(ka_status status);

/* Longest message that is sent whole, in bytes; longer ones are hashed here (Ed25519: KA_ERR_TOO_LARGE). */
#define KA_MESSAGE_MAX 8192

typedef struct ka_client ka_client;
typedef struct ka_key ka_key;
typedef struct ka_signer ka_signer;
typedef struct ka_request ka_request;

/** Makes a client. Nothing is connected yet.
 *  @param socket_path  absolute path; NULL: KEYAGENT_SOCK, else /run/keyagent/agent.sock if it exists, else
 *                      $XDG_RUNTIME_DIR/keyagent/agent.sock. In a set-user-ID program the environment is
 *                      ignored.
 *  @return KA_OK; KA_ERR_INVALID (relative or longer than sun_path holds); KA_ERR_NO_MEMORY */
KA_API KA_MUSTUSE ka_status ka_client_new(const char *socket_path, ka_client **out, ka_error *err);
KA_API void ka_client_free(ka_client *client); /* NULL is allowed */

/** Sets the deadline of each later call, in milliseconds; 10000 at first; 0 is refused (KA_ERR_INVALID). */
KA_API KA_MUSTUSE ka_status ka_client_set_timeout(ka_client *client, uint32_t timeout_ms);

/** The path that this client connects to: what it was told, or what it finds now (see ka_client_new). */
KA_API const char *ka_client_socket_path(const ka_client *client);

typedef enum ka_algorithm {
    KA_ALG_RSA = 1,
    KA_ALG_EC_P256,
    KA_ALG_EC_P384,
    KA_ALG_EC_P521,
    KA_ALG_ED25519
} ka_algorithm;

typedef enum ka_hash {
    KA_HASH_NONE = 0,
    KA_HASH_SHA1,
    KA_HASH_SHA256,
    KA_HASH_SHA384,
    KA_HASH_SHA512
} ka_hash;

/** Asks the agent for a key and its public data. Works while the token is locked if the agent knows the key.
 *  @param uri  RFC 7512, or "keyagent:NAME" for "pkcs11:object=NAME"; exactly one key must match. type=cert
 *              selects the key by its certificate.
 *  @return KA_OK; KA_ERR_INVALID (malformed URI, or an attribute that a client may not give: pin-value,
 *          pin-source, module-name, module-path; err does not quote it); KA_ERR_TOO_LARGE (over 1024 bytes);
 *          KA_ERR_NOT_FOUND; KA_ERR_AMBIGUOUS (candidates in err); KA_ERR_DENIED (no rule names this user, or
 *          no permission for the socket); KA_ERR_LOCKED (key unknown until the first unlock);
 *          KA_ERR_UNAVAILABLE; KA_ERR_UNTRUSTED; ... */
KA_API KA_MUSTUSE ka_status ka_key_open(ka_client *client, const char *uri, ka_key **out, ka_error *err);
KA_API ka_key *ka_key_ref(ka_key *key); /* one more owner; returns key */
KA_API void ka_key_free(ka_key *key);   /* NULL is allowed */

/** The agent's own URI of the key: full, unambiguous. */
KA_API const char *ka_key_uri(const ka_key *key);
KA_API ka_algorithm ka_key_algorithm(const ka_key *key);
/** Size in bits: RSA modulus, or curve (255 for Ed25519). */
KA_API unsigned ka_key_bits(const ka_key *key);
/** Longest signature in bytes: RSA modulus length; ECDSA in DER 72, 104, 139; 64 for Ed25519. */
KA_API size_t ka_key_signature_max(const ka_key *key);
/* Whether some rule lets anybody use the key. Not whether it lets this process: root may load a key for
 * workers that run under another user. */
KA_API bool ka_key_usable(const ka_key *key);
/** SubjectPublicKeyInfo in DER, *len bytes. */
KA_API const uint8_t *ka_key_spki(const ka_key *key, size_t *len);
/** Certificates in DER: the key's own, then issuers as far as the token holds them; NULL past the last. */
KA_API size_t ka_key_certificate_count(const ka_key *key);
KA_API const uint8_t *ka_key_certificate(const ka_key *key, size_t index, size_t *len);

typedef enum ka_scheme { KA_RSA_PKCS1 = 1, KA_RSA_PSS, KA_ECDSA, KA_ED25519 } ka_scheme;
typedef enum ka_format { KA_FORMAT_DER = 0, KA_FORMAT_P1363 } ka_format; /* ECDSA only */

typedef struct ka_sign_params {
    ka_scheme scheme;
    ka_hash hash;     /* KA_HASH_NONE for Ed25519 only; SHA-1 is refused */
    ka_format format; /* ECDSA; KA_FORMAT_DER otherwise */
} ka_sign_params;

/** Signs a digest.
 *  @param digest   digest_len bytes, the output of params->hash; digest_len must equal its size. Not
 *                  for Ed25519.
 *  @param sig      receives the signature; untouched on error; NULL asks only for the size
 *  @param sig_len  in: capacity of sig; out: bytes written, or with KA_ERR_BUFFER the longest that there can
 * be in this format. Nobody is asked for a signature that might not fit. PSS uses MGF1 with the same hash and
 * a salt of the hash's length.
 *  @return KA_OK; KA_ERR_INVALID; KA_ERR_MECHANISM (not for this kind of key, or not with this token);
 *          KA_ERR_DENIED; KA_ERR_LOCKED; KA_ERR_TIMEOUT; KA_ERR_BUFFER; ... */
KA_API KA_MUSTUSE ka_status ka_key_sign_digest(ka_key *key, const ka_sign_params *params,
                                               const uint8_t *digest, size_t digest_len, uint8_t *sig,
                                               size_t *sig_len, ka_error *err);

/** Signs a message of message_len bytes: sent whole up to KA_MESSAGE_MAX, hashed here beyond. Otherwise as
 *  above; KA_ERR_TOO_LARGE for a longer message with Ed25519. */
KA_API KA_MUSTUSE ka_status ka_key_sign(ka_key *key, const ka_sign_params *params, const uint8_t *message,
                                        size_t message_len, uint8_t *sig, size_t *sig_len, ka_error *err);

/** A message in pieces. Holds up to KA_MESSAGE_MAX bytes, then a running hash. Only finish asks the agent. */
KA_API KA_MUSTUSE ka_status ka_signer_new(ka_key *key, const ka_sign_params *params, ka_signer **out,
                                          ka_error *err);
/** @return KA_OK; KA_ERR_TOO_LARGE (Ed25519), and the data is then not taken; KA_ERR_INVALID after finish */
KA_API KA_MUSTUSE ka_status ka_signer_update(ka_signer *signer, const uint8_t *data, size_t len);
/** An independent copy with the same bytes fed so far. KA_OK; KA_ERR_NO_MEMORY. */
KA_API KA_MUSTUSE ka_status ka_signer_dup(const ka_signer *signer, ka_signer **out);
/** Signs what was fed; sig and sig_len as in ka_key_sign_digest. Asks the agent once, whatever comes of it:
 *  afterwards KA_ERR_INVALID. KA_ERR_BUFFER does not use the signer up. */
KA_API KA_MUSTUSE ka_status ka_signer_finish(ka_signer *signer, uint8_t *sig, size_t *sig_len, ka_error *err);
KA_API void ka_signer_free(ka_signer *signer); /* NULL is allowed */

/** Decrypts RSA-OAEP: MGF1 with the same hash, empty label.
 *  @param out      receives the plaintext; untouched on error; NULL asks only for the size, and nobody else
 *  @param out_len  in: capacity; out: bytes written, or with KA_ERR_BUFFER bytes needed (for a NULL out the
 *                  modulus length, which is always enough)
 *  @return KA_OK; KA_ERR_DECRYPT_FAILED for every ciphertext that does not decrypt; as above */
KA_API KA_MUSTUSE ka_status ka_key_decrypt_oaep(ka_key *key, ka_hash hash, const uint8_t *ciphertext,
                                                size_t ciphertext_len, uint8_t *out, size_t *out_len,
                                                ka_error *err);

#define KA_TLS_PREMASTER_SIZE 48

/** Decrypts a TLS RSA premaster secret (RFC 5246 7.4.7.1). Bad padding or version is not an error: premaster
 *  is then random, indistinguishable from a good one.
 *  @param client_version      of the ClientHello, 0x0303 for TLS 1.2
 *  @param negotiated_version  also accepted in the premaster unless 0
 *  @param ciphertext          as long as the modulus; else KA_ERR_INVALID
 *  @param premaster           receives KA_TLS_PREMASTER_SIZE bytes; untouched on error */
KA_API KA_MUSTUSE ka_status ka_key_decrypt_tls(ka_key *key, uint16_t client_version,
                                               uint16_t negotiated_version, const uint8_t *ciphertext,
                                               size_t ciphertext_len,
                                               uint8_t premaster[KA_TLS_PREMASTER_SIZE], ka_error *err);

/*
 * Requests that do not block: as the functions above, in two halves. The first checks its arguments, copies
 * what it needs and returns; then the program polls and continues until the request is finished:
 *
 *     ka_request *request;
 *     ka_status status = ka_key_sign_start(key, &params, message, message_len, &request, &err);
 *     if (status == KA_OK) {
 *         while ((status = ka_request_continue(request, &err)) == KA_PENDING) {
 *             struct pollfd entry = {ka_request_fd(request), ka_request_events(request), 0};
 *             poll(&entry, 1, ka_request_timeout_ms(request));
 *         }
 *         if (status == KA_OK) signature = ka_request_bytes(request, &len);
 *         ...
 *         ka_request_free(request);
 *     }
 *
 * Any number of them may be in flight; each has a connection of its own meanwhile, and about 30 KiB of
 * memory, all of it from its start (its connection's place in the client: a few more bytes where none is
 * free). There is no thread behind them, so they move only in ka_request_continue. That looks at the socket's
 * path and connects, sends, and receives what there is, and waits for nothing. Repeat, trust and deadline are
 * those of the blocking calls; the deadline runs from the start. After a fork a request stays its parent's:
 * in the child, ka_request_continue returns KA_ERR_CANCELLED.
 */

/** ka_key_open in two halves. Errors of the first half: KA_ERR_INVALID, KA_ERR_TOO_LARGE, KA_ERR_NO_MEMORY.
 */
KA_API KA_MUSTUSE ka_status ka_key_open_start(ka_client *client, const char *uri, ka_request **out,
                                              ka_error *err);
/** ka_key_sign, ka_key_sign_digest. Errors of the first half: what is wrong with the arguments
 * (KA_ERR_INVALID, KA_ERR_MECHANISM, KA_ERR_TOO_LARGE); KA_ERR_NO_MEMORY. */
KA_API KA_MUSTUSE ka_status ka_key_sign_start(ka_key *key, const ka_sign_params *params,
                                              const uint8_t *message, size_t message_len, ka_request **out,
                                              ka_error *err);
KA_API KA_MUSTUSE ka_status ka_key_sign_digest_start(ka_key *key, const ka_sign_params *params,
                                                     const uint8_t *digest, size_t digest_len,
                                                     ka_request **out, ka_error *err);
/** ka_signer_finish. The signer is used up, and may be freed; also by KA_ERR_NO_MEMORY. */
KA_API KA_MUSTUSE ka_status ka_signer_finish_start(ka_signer *signer, ka_request **out, ka_error *err);
/** ka_key_decrypt_oaep, ka_key_decrypt_tls. KA_ERR_DECRYPT_FAILED (OAEP) and KA_ERR_INVALID (TLS) of the
 * first half: the ciphertext is not as long as the modulus. */
KA_API KA_MUSTUSE ka_status ka_key_decrypt_oaep_start(ka_key *key, ka_hash hash, const uint8_t *ciphertext,
                                                      size_t ciphertext_len, ka_request **out, ka_error *err);
KA_API KA_MUSTUSE ka_status ka_key_decrypt_tls_start(ka_key *key, uint16_t client_version,
                                                     uint16_t negotiated_version, const uint8_t *ciphertext,
                                                     size_t ciphertext_len, ka_request **out, ka_error *err);

/** Goes on as far as it can without waiting. May always be called, whatever poll said.
 *  @return KA_PENDING; KA_OK, and the result is there; an error, as of the blocking function. After the last
 *          two the request is finished, and this returns KA_ERR_INVALID. */
KA_API KA_MUSTUSE ka_status ka_request_continue(ka_request *request, ka_error *err);

/** What to wait for; ask again after each ka_request_continue, which may change all three. The descriptor is
 *  the library's: poll it, and nothing else. It is -1 before the first ka_request_continue, while the agent
 *  takes no connection, and when the request is finished: then only the time counts. */
KA_API int ka_request_fd(const ka_request *request);
KA_API short ka_request_events(const ka_request *request); /* of poll(2): POLLIN, POLLOUT, or 0 */
/** How long to wait at most, in milliseconds, then continue: never longer than the deadline. 0: at once. */
KA_API int ka_request_timeout_ms(const ka_request *request);

/** The signature, plaintext or premaster secret, *len bytes; NULL (and *len untouched) unless it is there. */
KA_API const uint8_t *ka_request_bytes(const ka_request *request, size_t *len);
/** The key that ka_key_open_start asked for; NULL unless it is there. It goes with the request:
 *  ka_key_ref keeps it. */
KA_API ka_key *ka_request_key(const ka_request *request);

/** Frees it, plaintexts wiped. One that is not finished is cancelled: its connection is closed, which tells
 *  the agent. NULL is allowed. */
KA_API void ka_request_free(ka_request *request);

#ifdef __cplusplus
}
#endif
#endif
