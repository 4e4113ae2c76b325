#define _DEFAULT_SOURCE /* explicit_bzero */
#include "oaep.h"

#include <string.h>

#include "constant_time.h"

size_t ka_oaep_em_min(const struct ka_hash *hash) {
    return 2 * hash->len + 2;
}

/* DB = lHash || 00... || 01 || M. Sets start to the first byte of M. */
static uint32_t data_block_check(const uint8_t *db, size_t db_len, const struct ka_hash *hash,
                                 uint32_t *start) {
    uint8_t empty_label[KA_HASH_MAX];
    hash->digest(NULL, 0, empty_label);

    uint32_t difference = 0;
    for (size_t i = 0; i < hash->len; i++)
        difference |= (uint32_t)(db[i] ^ empty_label[i]);

    uint32_t looking = ~(uint32_t)0;
    uint32_t bad = 0;
    *start = 0;
    for (size_t i = hash->len; i < db_len; i++) {
        const uint32_t is_one = ka_ct_equal(db[i], 1);
        *start = ka_ct_select(looking & is_one, (uint32_t)i + 1, *start);
        bad |= looking & ~is_one & ~ka_ct_is_zero(db[i]);
        looking &= ~is_one;
    }
    return ka_ct_is_zero(difference) & ~bad & ~looking;
}

bool ka_oaep_decode(const uint8_t *em, size_t em_len, const struct ka_hash *hash, uint8_t *out,
                    size_t *out_len) {
    uint8_t seed[KA_HASH_MAX];
    uint8_t db[KA_OAEP_EM_MAX];
    const size_t db_len = em_len - hash->len - 1;
    uint32_t start = 0;

    memcpy(seed, em + 1, hash->len);
    memcpy(db, em + 1 + hash->len, db_len);
    ka_mgf1_xor(hash, db, db_len, seed, hash->len);
    ka_mgf1_xor(hash, seed, hash->len, db, db_len);

    uint32_t good = ka_ct_is_zero(em[0]) & data_block_check(db, db_len, hash, &start);
    memset(out, 0, em_len);
    *out_len = 0;
    /* From here on the outcome, and with it the length of a good message, is the caller's to see. */
    KA_CT_DECLASSIFY(good);
    if (good) {
        KA_CT_DECLASSIFY(start);
        *out_len = db_len - start;
        memcpy(out, db + start, *out_len);
    }

    explicit_bzero(seed, sizeof seed);
    explicit_bzero(db, sizeof db);
    return good != 0;
}
