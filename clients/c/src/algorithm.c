/* Algorithms, see algorithm.h. Names: PROTOCOL.md "Algorithms". */
#include "algorithm.h"

#include "error.h"
#include "protocol_gen.h"

/* A reply carries at most 512 bytes of signature; below 1024 bits PSS with SHA-512 has no room. */
enum { RSA_BITS_MIN = 1024, RSA_BITS_MAX = 4096 };

static unsigned curve_bits(ka_algorithm algorithm) {
    switch (algorithm) {
    case KA_ALG_EC_P256:
        return 256;
    case KA_ALG_EC_P384:
        return 384;
    case KA_ALG_EC_P521:
        return 521;
    default:
        return 0;
    }
}

bool ka_algorithm_fits_bits(ka_algorithm algorithm, unsigned bits) {
    if (algorithm == KA_ALG_RSA) return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
    if (algorithm == KA_ALG_ED25519) return bits == 255 || bits == 256;
    return bits == curve_bits(algorithm);
}

/* SEQUENCE of two INTEGERs, each as long as the order, with a zero byte in front if its top bit is set. */
static size_t ecdsa_der_max(unsigned bits) {
    size_t integer = 2 + bits / 8 + 1;
    size_t content = 2 * integer;
    return (content < 128 ? 2 : 3) + content;
}

size_t ka_signature_max(ka_algorithm algorithm, unsigned bits, ka_format format) {
    size_t bytes = (bits + 7) / 8;
    if (algorithm == KA_ALG_RSA) return bytes;
    if (algorithm == KA_ALG_ED25519) return 64;
    return format == KA_FORMAT_P1363 ? 2 * bytes : ecdsa_der_max(bits);
}

bool ka_signature_fits(ka_algorithm algorithm, unsigned bits, ka_format format, size_t len) {
    size_t max = ka_signature_max(algorithm, bits, format);
    bool is_der = curve_bits(algorithm) != 0 && format == KA_FORMAT_DER;
    return is_der ? len >= 8 && len <= max : len == max; /* 8: two INTEGERs of one byte */
}

size_t ka_hash_size(ka_hash hash) {
    switch (hash) {
    case KA_HASH_SHA1:
        return KA_WIRE_HASH_LENGTH_SHA1;
    case KA_HASH_SHA256:
        return KA_WIRE_HASH_LENGTH_SHA256;
    case KA_HASH_SHA384:
        return KA_WIRE_HASH_LENGTH_SHA384;
    case KA_HASH_SHA512:
        return KA_WIRE_HASH_LENGTH_SHA512;
    default:
        return 0;
    }
}

static bool is_sha2(ka_hash hash) {
    return hash == KA_HASH_SHA256 || hash == KA_HASH_SHA384 || hash == KA_HASH_SHA512;
}

static bool is_scheme_of(ka_scheme scheme, ka_algorithm algorithm) {
    switch (scheme) {
    case KA_RSA_PKCS1:
    case KA_RSA_PSS:
        return algorithm == KA_ALG_RSA;
    case KA_ECDSA:
        return curve_bits(algorithm) != 0;
    case KA_ED25519:
        return algorithm == KA_ALG_ED25519;
    }
    return false;
}

static const char *sign_name(ka_scheme scheme, ka_hash hash) {
    static const char *const names[][3] = {
        [KA_RSA_PKCS1] = {KA_WIRE_ALG_RSA_PKCS1_SHA256, KA_WIRE_ALG_RSA_PKCS1_SHA384,
                          KA_WIRE_ALG_RSA_PKCS1_SHA512},
        [KA_RSA_PSS] = {KA_WIRE_ALG_RSA_PSS_SHA256, KA_WIRE_ALG_RSA_PSS_SHA384, KA_WIRE_ALG_RSA_PSS_SHA512},
        [KA_ECDSA] = {KA_WIRE_ALG_ECDSA_SHA256, KA_WIRE_ALG_ECDSA_SHA384, KA_WIRE_ALG_ECDSA_SHA512},
    };
    return scheme == KA_ED25519 ? KA_WIRE_ALG_ED25519 : names[scheme][hash - KA_HASH_SHA256];
}

ka_status ka_sign_algorithm(ka_algorithm algorithm, const ka_sign_params *params, const char **name,
                            ka_error *err) {
    if (!is_scheme_of(params->scheme, algorithm))
        return ka_error_set(err, KA_ERR_MECHANISM, "the signature scheme is not one for this kind of key");
    if (params->scheme == KA_ED25519 ? params->hash != KA_HASH_NONE : !is_sha2(params->hash))
        return ka_error_set(err, KA_ERR_INVALID,
                            "the hash must be SHA-256, SHA-384 or SHA-512, and none for Ed25519");
    if (params->format != KA_FORMAT_DER && (params->format != KA_FORMAT_P1363 || params->scheme != KA_ECDSA))
        return ka_error_set(err, KA_ERR_INVALID, "a format can be chosen for ECDSA only");
    *name = sign_name(params->scheme, params->hash);
    return KA_OK;
}

const char *ka_oaep_algorithm(ka_hash hash) {
    switch (hash) {
    case KA_HASH_SHA1:
        return KA_WIRE_ALG_RSA_OAEP_SHA1;
    case KA_HASH_SHA256:
        return KA_WIRE_ALG_RSA_OAEP_SHA256;
    case KA_HASH_SHA384:
        return KA_WIRE_ALG_RSA_OAEP_SHA384;
    case KA_HASH_SHA512:
        return KA_WIRE_ALG_RSA_OAEP_SHA512;
    default:
        return NULL;
    }
}
