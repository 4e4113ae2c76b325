#include "pss.h"

#include <string.h>

/* The encoded message is one bit shorter than the modulus. If that makes it a byte shorter, a zero byte
 * leads. */
struct layout {
    size_t lead;
    size_t db_len;
    /* bits of the first byte of DB that are in use */
    uint8_t mask;
};

static struct layout layout_of(const struct ka_hash *hash, size_t modulus_bits) {
    const size_t em_bits = modulus_bits - 1;
    const size_t em_len = (em_bits + 7) / 8;
    return (struct layout){
        .lead = (modulus_bits + 7) / 8 - em_len,
        .db_len = em_len - hash->len - 1,
        .mask = (uint8_t)(0xff >> (8 * em_len - em_bits)),
    };
}

/* H = Hash(eight zero bytes || digest || salt) */
static void salted_digest(const struct ka_hash *hash, const uint8_t *digest, const uint8_t *salt,
                          size_t salt_len, uint8_t *out) {
    static const uint8_t zeros[8];
    const struct ka_hash_part parts[] = {{zeros, sizeof zeros}, {digest, hash->len}, {salt, salt_len}};
    hash->digest(parts, 3, out);
}

bool ka_pss_fits(size_t modulus_bits, const struct ka_hash *hash, size_t salt_len) {
    if (modulus_bits < 2 || (modulus_bits + 7) / 8 > KA_PSS_EM_MAX || salt_len > KA_PSS_EM_MAX) return false;
    return (modulus_bits - 1 + 7) / 8 >= hash->len + salt_len + 2;
}

void ka_pss_encode(const struct ka_hash *hash, const uint8_t *digest, const uint8_t *salt, size_t salt_len,
                   size_t modulus_bits, uint8_t *em) {
    const struct layout layout = layout_of(hash, modulus_bits);
    uint8_t *db = em + layout.lead;
    uint8_t *h = db + layout.db_len;

    memset(em, 0, layout.lead + layout.db_len);
    db[layout.db_len - salt_len - 1] = 0x01;
    memcpy(h - salt_len, salt, salt_len);
    salted_digest(hash, digest, salt, salt_len, h);
    ka_mgf1_xor(hash, h, hash->len, db, layout.db_len);
    db[0] &= layout.mask;
    h[hash->len] = 0xbc;
}

bool ka_pss_verify(const struct ka_hash *hash, const uint8_t *digest, size_t salt_len, size_t modulus_bits,
                   const uint8_t *em) {
    const struct layout layout = layout_of(hash, modulus_bits);
    const uint8_t *h = em + layout.lead + layout.db_len;
    uint8_t db[KA_PSS_EM_MAX];
    uint8_t expected[KA_HASH_MAX];

    memcpy(db, em + layout.lead, layout.db_len);
    if ((layout.lead == 1 && em[0] != 0) || (db[0] & ~layout.mask) != 0 || h[hash->len] != 0xbc) return false;
    ka_mgf1_xor(hash, h, hash->len, db, layout.db_len);
    db[0] &= layout.mask;

    const size_t one = layout.db_len - salt_len - 1;
    for (size_t i = 0; i < one; i++)
        if (db[i] != 0) return false;
    salted_digest(hash, digest, db + one + 1, salt_len, expected);
    return db[one] == 0x01 && memcmp(h, expected, hash->len) == 0;
}
