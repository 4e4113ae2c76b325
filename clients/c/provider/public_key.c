/*
 * Takes a SubjectPublicKeyInfo apart. The bytes come from the agent, whom a client does not trust with its
 * memory: every length is checked against what is left.
 */
#include <string.h>
#include "public_key.h"

enum { DER_INTEGER = 0x02, DER_BIT_STRING = 0x03, DER_SEQUENCE = 0x30 };

bool kp_slice_equal(kp_slice a, kp_slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Takes one element with this tag off `in`; its contents are `out`. Lengths below 64 KiB only. */
static bool take_element(kp_slice *in, uint8_t tag, kp_slice *out) {
    if (in->len < 2 || in->data[0] != tag) return false;
    size_t header = 2, len = in->data[1];
    if (len == 0x81 && in->len >= 3) {
        len = in->data[2];
        header = 3;
    } else if (len == 0x82 && in->len >= 4) {
        len = (size_t)in->data[2] << 8 | in->data[3];
        header = 4;
    } else if (len >= 0x80) {
        return false;
    }
    if (len > in->len - header) return false;
    *out = (kp_slice){in->data + header, len};
    in->data += header + len;
    in->len -= header + len;
    return true;
}

static bool take_positive_integer(kp_slice *in, kp_slice *out) {
    if (!take_element(in, DER_INTEGER, out) || out->len == 0 || (out->data[0] & 0x80) != 0) return false;
    if (out->data[0] == 0) {
        out->data++;
        out->len--;
    }
    return out->len > 0 && out->data[0] != 0 && out->len <= KP_MODULUS_MAX;
}

static bool read_rsa(kp_slice key, kp_public_key *out) {
    kp_slice numbers;
    return take_element(&key, DER_SEQUENCE, &numbers) && key.len == 0 &&
           take_positive_integer(&numbers, &out->modulus) &&
           take_positive_integer(&numbers, &out->exponent) && numbers.len == 0;
}

static size_t point_size(ka_algorithm algorithm) {
    switch (algorithm) {
    case KA_ALG_EC_P256:
        return 1 + 2 * 32;
    case KA_ALG_EC_P384:
        return 1 + 2 * 48;
    case KA_ALG_EC_P521:
        return 1 + 2 * 66;
    case KA_ALG_ED25519:
        return 32;
    case KA_ALG_RSA:
        break;
    }
    return 0;
}

bool kp_public_key_read(ka_algorithm algorithm, kp_slice spki, kp_public_key *out) {
    kp_slice outer, identifier, bits;
    if (!take_element(&spki, DER_SEQUENCE, &outer) || spki.len != 0) return false;
    if (!take_element(&outer, DER_SEQUENCE, &identifier)) return false;
    if (!take_element(&outer, DER_BIT_STRING, &bits) || outer.len != 0) return false;
    if (bits.len < 1 || bits.data[0] != 0) return false; /* unused bits */

    kp_slice key = {bits.data + 1, bits.len - 1};
    *out = (kp_public_key){0};
    if (algorithm == KA_ALG_RSA) return read_rsa(key, out);
    out->point = key;
    return key.len == point_size(algorithm) && (algorithm == KA_ALG_ED25519 || key.data[0] == 0x04);
}
