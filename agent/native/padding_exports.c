/* tlsPremaster, oaepDecode, pssEncode and pssVerify: arguments checked, then the pure functions. */
#define _DEFAULT_SOURCE /* explicit_bzero */
#include <errno.h>
#include <string.h>

#include "exports.h"
#include "oaep.h"
#include "pss.h"
#include "tls_premaster.h"

static bool argument_hash(napi_env env, napi_value value, const struct ka_hash **hash) {
    char name[8];
    if (!ka_argument_string(env, value, "hash", name, sizeof name)) return false;
    *hash = ka_hash_find(name);
    if (*hash == NULL)
        napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", "hash must be sha1, sha256, sha384 or sha512");
    return *hash != NULL;
}

static napi_value buffer_copy(napi_env env, const uint8_t *data, size_t len) {
    napi_value buffer;
    if (napi_create_buffer_copy(env, len, data, NULL, &buffer) != napi_ok)
        return ka_throw_errno(env, ENOMEM, "buffer");
    return buffer;
}

napi_value ka_tls_premaster(napi_env env, napi_callback_info info) {
    napi_value arguments[4];
    const uint8_t *em, *fallback;
    size_t em_len, fallback_len;
    int32_t client_version, negotiated_version;
    uint8_t secret[KA_TLS_PREMASTER_LEN];

    if (!ka_arguments_get(env, info, 4, arguments) ||
        !ka_argument_bytes(env, arguments[0], "em", KA_TLS_PREMASTER_EM_MIN, KA_OAEP_EM_MAX, &em, &em_len) ||
        !ka_argument_bytes(env, arguments[1], "fallback", sizeof secret, sizeof secret, &fallback,
                           &fallback_len) ||
        !ka_argument_integer(env, arguments[2], "clientVersion", 0, UINT16_MAX, &client_version) ||
        !ka_argument_integer(env, arguments[3], "negotiatedVersion", 0, UINT16_MAX, &negotiated_version))
        return NULL;
    ka_tls_premaster_decode(em, em_len, fallback, (uint16_t)client_version, (uint16_t)negotiated_version,
                            secret);
    napi_value result = buffer_copy(env, secret, sizeof secret);
    explicit_bzero(secret, sizeof secret);
    return result;
}

napi_value ka_oaep(napi_env env, napi_callback_info info) {
    napi_value arguments[2];
    napi_value result;
    const struct ka_hash *hash;
    const uint8_t *em;
    size_t em_len;
    uint8_t message[KA_OAEP_EM_MAX];
    size_t message_len;

    if (!ka_arguments_get(env, info, 2, arguments) || !argument_hash(env, arguments[1], &hash) ||
        !ka_argument_bytes(env, arguments[0], "em", ka_oaep_em_min(hash), KA_OAEP_EM_MAX, &em, &em_len))
        return NULL;
    if (ka_oaep_decode(em, em_len, hash, message, &message_len))
        result = buffer_copy(env, message, message_len);
    else if (napi_get_null(env, &result) != napi_ok)
        result = NULL;
    explicit_bzero(message, sizeof message);
    return result;
}

/* The part that pssEncode and pssVerify share: digest, hash and the modulus' size. */
static bool argument_digest(napi_env env, napi_value digest_value, napi_value hash_value,
                            const struct ka_hash **hash, const uint8_t **digest) {
    size_t len;
    return argument_hash(env, hash_value, hash) &&
           ka_argument_bytes(env, digest_value, "digest", (*hash)->len, (*hash)->len, digest, &len);
}

static bool fits(napi_env env, size_t modulus_bits, const struct ka_hash *hash, size_t salt_len) {
    if (ka_pss_fits(modulus_bits, hash, salt_len)) return true;
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "digest and salt do not fit into the modulus");
    return false;
}

napi_value ka_pss_encoding(napi_env env, napi_callback_info info) {
    napi_value arguments[4];
    const struct ka_hash *hash;
    const uint8_t *digest, *salt;
    size_t salt_len;
    int32_t modulus_bits;
    uint8_t em[KA_PSS_EM_MAX];

    if (!ka_arguments_get(env, info, 4, arguments) ||
        !argument_digest(env, arguments[0], arguments[1], &hash, &digest) ||
        !ka_argument_bytes(env, arguments[2], "salt", 0, KA_PSS_EM_MAX, &salt, &salt_len) ||
        !ka_argument_integer(env, arguments[3], "modulusBits", 512, 8 * KA_PSS_EM_MAX, &modulus_bits) ||
        !fits(env, (size_t)modulus_bits, hash, salt_len))
        return NULL;
    ka_pss_encode(hash, digest, salt, salt_len, (size_t)modulus_bits, em);
    return buffer_copy(env, em, ((size_t)modulus_bits + 7) / 8);
}

napi_value ka_pss_check(napi_env env, napi_callback_info info) {
    napi_value arguments[5];
    napi_value result;
    const struct ka_hash *hash;
    const uint8_t *digest, *em;
    size_t em_len;
    int32_t salt_len, modulus_bits;

    if (!ka_arguments_get(env, info, 5, arguments) ||
        !argument_digest(env, arguments[1], arguments[2], &hash, &digest) ||
        !ka_argument_integer(env, arguments[3], "saltLength", 0, KA_PSS_EM_MAX, &salt_len) ||
        !ka_argument_integer(env, arguments[4], "modulusBits", 512, 8 * KA_PSS_EM_MAX, &modulus_bits) ||
        !fits(env, (size_t)modulus_bits, hash, (size_t)salt_len))
        return NULL;
    const size_t modulus_len = ((size_t)modulus_bits + 7) / 8;
    if (!ka_argument_bytes(env, arguments[0], "em", modulus_len, modulus_len, &em, &em_len)) return NULL;
    const bool good = ka_pss_verify(hash, digest, (size_t)salt_len, (size_t)modulus_bits, em);
    return napi_get_boolean(env, good, &result) == napi_ok ? result : NULL;
}
