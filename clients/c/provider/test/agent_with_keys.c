/* The agent with keys, see agent_with_keys.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "agent_with_keys.h"
#include "require.h"

const char *const key_names[KEY_COUNT] = {"rsa", "p256", "p384", "p521", "ed25519"};
static const char *const key_algorithms[KEY_COUNT] = {"rsa", "ec-p256", "ec-p384", "ec-p521", "ed25519"};
static const uint32_t key_bits[KEY_COUNT] = {2048, 256, 384, 521, 255};

/* The build made it: under valgrind this would take a minute. */
static EVP_PKEY *read_rsa_key(OSSL_LIB_CTX *context) {
    const char *file = getenv("KEYAGENT_TEST_RSA_KEY");
    FILE *in = file == NULL ? NULL : fopen(file, "r");
    require(in != NULL, "KEYAGENT_TEST_RSA_KEY: no such file; run this by meson test");
    EVP_PKEY *key = PEM_read_PrivateKey_ex(in, NULL, NULL, NULL, context, NULL);
    fclose(in);
    return key;
}

static EVP_PKEY *make_key(OSSL_LIB_CTX *context, int which) {
    static const char *const curves[KEY_COUNT] = {NULL, "P-256", "P-384", "P-521", NULL};
    EVP_PKEY *key = which == RSA_KEY       ? read_rsa_key(context)
                    : which == ED25519_KEY ? EVP_PKEY_Q_keygen(context, NULL, "ED25519")
                                           : EVP_PKEY_Q_keygen(context, NULL, "EC", curves[which]);
    require(key != NULL, "a key cannot be made");
    return key;
}

static X509 *make_certificate(OSSL_LIB_CTX *context, EVP_PKEY *key, const char *name, EVP_PKEY *issuer) {
    X509 *certificate = X509_new_ex(context, NULL);
    X509_NAME *subject = X509_NAME_new();
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_subject_name(certificate, subject);
    X509_set_issuer_name(certificate, subject);
    X509_NAME_free(subject);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    require(X509_sign(certificate, issuer, EVP_sha256()) > 0, "a certificate cannot be signed");
    return certificate;
}

/* The key that a URI names; KEY_COUNT if none does. */
static int find_key(struct ka_span uri) {
    char text[1100] = "", object[128] = "";
    memcpy(text, uri.data, uri.len);
    const char *at = strstr(text, "object=");
    sscanf(at != NULL ? at + 7 : text + strlen("keyagent:"), "%127[^;?]", object);
    int which = 0;
    while (which < KEY_COUNT && strcmp(object, key_names[which]) != 0)
        which++;
    return which;
}

static void write_text(struct ka_writer *writer, const char *field, const char *text) {
    ka_write_str(writer, field);
    ka_write_str(writer, text);
}

static void write_certificate(struct ka_writer *writer, X509 *certificate) {
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);
    ka_write_bin(writer, (struct ka_span){der, (size_t)len});
    OPENSSL_free(der);
}

static void answer_key(struct agent_with_keys *agent, const struct fake_request *request, int which) {
    uint8_t frame[8192];
    char uri[64];
    struct ka_writer writer;
    unsigned char *spki = NULL;
    int spki_len = i2d_PUBKEY(agent->keys[which], &spki);
    snprintf(uri, sizeof(uri), "pkcs11:token=t;object=%s", key_names[which]);
    ka_writer_init(&writer, frame, sizeof(frame));
    size_t start = ka_frame_begin(&writer);
    ka_write_array(&writer, 4);
    ka_write_uint(&writer, 1);
    ka_write_uint(&writer, request->id);
    frame[writer.len++] = 0xc0; /* no error */
    ka_write_map(&writer, 11);
    write_text(&writer, "uri", uri);
    write_text(&writer, "token", "t");
    write_text(&writer, "token_state", "unlocked");
    write_text(&writer, "state", "verified");
    write_text(&writer, "algorithm", key_algorithms[which]);
    ka_write_str(&writer, "bits");
    ka_write_uint(&writer, key_bits[which]);
    ka_write_str(&writer, "spki");
    ka_write_bin(&writer, (struct ka_span){spki, (size_t)spki_len});
    ka_write_str(&writer, "certificates");
    ka_write_array(&writer, which == ED25519_KEY ? 0 : 2);
    if (which != ED25519_KEY) {
        write_certificate(&writer, agent->certificates[which]);
        write_certificate(&writer, agent->certificates[ED25519_KEY]);
    }
    ka_write_str(&writer, "mechanisms");
    ka_write_array(&writer, 0);
    ka_write_str(&writer, "completed");
    ka_write_array(&writer, 0);
    ka_write_str(&writer, "usable");
    ka_write_bool(&writer, true);
    ka_frame_end(&writer, start);
    OPENSSL_free(spki);
    require(!writer.overflow, "a key does not fit into a frame");
    fake_send(request->from, frame, writer.len);
}

/* "rsa-pss-sha256": "sha256"; NULL for ed25519. */
static const char *hash_name(const char *algorithm) {
    return strstr(algorithm, "sha");
}

static void use_pss(EVP_PKEY_CTX *operation) {
    EVP_PKEY_CTX_set_rsa_padding(operation, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(operation, RSA_PSS_SALTLEN_DIGEST);
}

static bool sign_message(struct agent_with_keys *agent, EVP_PKEY *key, struct ka_span message, uint8_t *out,
                         size_t *len) {
    EVP_MD_CTX *operation = EVP_MD_CTX_new();
    EVP_PKEY_CTX *params;
    bool signs = EVP_DigestSignInit_ex(operation, &params, hash_name(agent->algorithm), agent->context, NULL,
                                       key, NULL) == 1;
    if (strncmp(agent->algorithm, "rsa-pss", 7) == 0) use_pss(params);
    signs = signs && EVP_DigestSign(operation, out, len, message.data, message.len) == 1;
    EVP_MD_CTX_free(operation);
    return signs;
}

static bool sign_digest(struct agent_with_keys *agent, EVP_PKEY *key, struct ka_span digest, uint8_t *out,
                        size_t *len) {
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(agent->context, key, NULL);
    EVP_MD *hash = EVP_MD_fetch(agent->context, hash_name(agent->algorithm), NULL);
    bool signs = EVP_PKEY_sign_init(operation) == 1;
    if (strncmp(agent->algorithm, "rsa-pss", 7) == 0) use_pss(operation);
    signs = signs && EVP_PKEY_CTX_set_signature_md(operation, hash) == 1 &&
            EVP_PKEY_sign(operation, out, len, digest.data, digest.len) == 1;
    EVP_MD_free(hash);
    EVP_PKEY_CTX_free(operation);
    return signs;
}

static bool decrypt(struct agent_with_keys *agent, EVP_PKEY *key, struct ka_span ciphertext, uint8_t *out,
                    size_t *len) {
    EVP_PKEY_CTX *operation = EVP_PKEY_CTX_new_from_pkey(agent->context, key, NULL);
    bool tls = strcmp(agent->algorithm, "rsa-pkcs1-tls") == 0;
    bool opens = EVP_PKEY_decrypt_init(operation) == 1;
    EVP_PKEY_CTX_set_rsa_padding(operation, tls ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING);
    if (!tls) {
        EVP_MD *hash = EVP_MD_fetch(agent->context, hash_name(agent->algorithm), NULL);
        EVP_PKEY_CTX_set_rsa_oaep_md(operation, hash);
        EVP_MD_free(hash);
    }
    opens = opens && EVP_PKEY_decrypt(operation, out, len, ciphertext.data, ciphertext.len) == 1;
    EVP_PKEY_CTX_free(operation);
    return opens;
}

static void record(struct agent_with_keys *agent, const struct fake_request *request) {
    snprintf(agent->algorithm, sizeof(agent->algorithm), "%.*s", (int)request->alg.len, request->alg.data);
    snprintf(agent->payload_kind, sizeof(agent->payload_kind), "%s", request->payload_kind);
    agent->payload_len = request->payload.len;
    agent->client_version = request->client_version;
    agent->negotiated_version = request->negotiated_version;
}

static void answer_or_hold(struct agent_with_keys *agent, const struct fake_request *request,
                           const char *field, const uint8_t *bytes, size_t len) {
    if (atomic_exchange(&agent->hold_next, false)) {
        agent->held = *request;
        memcpy(agent->held_signature, bytes, len);
        agent->held_len = len;
        atomic_store(&agent->holding, true);
        return;
    }
    fake_answer_bytes(request, field, bytes, len);
    if (atomic_exchange(&agent->holding, false))
        fake_answer_bytes(&agent->held, "signature", agent->held_signature, agent->held_len);
}

static void answer(struct fake_agent *wire, const struct fake_request *request) {
    struct agent_with_keys *agent = wire->context;
    int which = find_key(request->uri), refusal = atomic_load(&agent->refusal);
    uint8_t out[512];
    size_t len = sizeof(out);
    if (which == KEY_COUNT) {
        fake_answer_error(request->from, request->id, KA_ERR_NOT_FOUND, "no such key");
        return;
    }
    if (request->method == KA_METHOD_KEY) {
        answer_key(agent, request, which);
        return;
    }
    record(agent, request);
    EVP_PKEY *key = agent->keys[which];
    bool decrypts = request->method == KA_METHOD_DECRYPT;
    if (refusal != KA_OK)
        fake_answer_error(request->from, request->id, refusal, "refused by the test");
    else if (decrypts ? decrypt(agent, key, request->payload, out, &len)
             : strcmp(request->payload_kind, "digest") == 0
                 ? sign_digest(agent, key, request->payload, out, &len)
                 : sign_message(agent, key, request->payload, out, &len))
        answer_or_hold(agent, request, decrypts ? "plaintext" : "signature", out, len);
    else
        fake_answer_error(request->from, request->id, decrypts ? KA_ERR_DECRYPT_FAILED : KA_ERR_INVALID,
                          "cannot");
}

void agent_with_keys_start(struct agent_with_keys *agent) {
    *agent = (struct agent_with_keys){.context = OSSL_LIB_CTX_new()};
    require(OSSL_LIB_CTX_load_config(agent->context, "/dev/null") == 1,
            "the agent's libcrypto does not start");
    for (int i = 0; i < KEY_COUNT; i++)
        agent->keys[i] = make_key(agent->context, i);
    for (int i = 0; i < KEY_COUNT; i++)
        agent->certificates[i] =
            make_certificate(agent->context, agent->keys[i], key_names[i], agent->keys[RSA_KEY]);
    fake_agent_start(&agent->wire, answer, agent);
}

void agent_with_keys_end(struct agent_with_keys *agent) {
    fake_agent_end(&agent->wire);
    for (int i = 0; i < KEY_COUNT; i++) {
        X509_free(agent->certificates[i]);
        EVP_PKEY_free(agent->keys[i]);
    }
    OSSL_LIB_CTX_free(agent->context);
}
