/* The pure padding code under ASan and UBSan: every length and every single-byte change around the edges of
 * an encoded message. What the encodings mean is tested against OpenSSL in the TypeScript tests beside this
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../native/oaep.h"
#include "../../native/pss.h"
#include "../../native/tls_premaster.h"

enum { EM_LEN = 256, MODULUS_BITS = 2048 };

static const char *const hash_names[] = {"sha1", "sha256", "sha384", "sha512"};

/* A heap block of exactly the right size, so that ASan sees the first byte beyond it. */
static uint8_t *exact(const uint8_t *bytes, size_t len) {
    uint8_t *copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    return copy;
}

static void premaster_em(uint8_t *em, size_t em_len) {
    memset(em, 0xa5, em_len);
    em[0] = 0x00;
    em[1] = 0x02;
    em[em_len - 49] = 0x00;
    em[em_len - 48] = 0x03;
    em[em_len - 47] = 0x03;
}

static void premaster_returns_the_secret_for_every_length(void **state) {
    (void)state;
    uint8_t em[EM_LEN], fallback[48], out[48];
    memset(fallback, 0x11, sizeof fallback);
    for (size_t len = KA_TLS_PREMASTER_EM_MIN; len <= EM_LEN; len++) {
        premaster_em(em, len);
        uint8_t *copy = exact(em, len);
        ka_tls_premaster_decode(copy, len, fallback, 0x0303, 0x0303, out);
        assert_memory_equal(out, em + len - 48, 48);
        free(copy);
    }
}

static void premaster_returns_the_fallback_for_any_changed_frame_byte(void **state) {
    (void)state;
    uint8_t em[EM_LEN], fallback[48], out[48];
    memset(fallback, 0x11, sizeof fallback);
    for (size_t i = 0; i < EM_LEN - 46; i++) {
        premaster_em(em, EM_LEN);
        /* Padding bytes may be anything but zero; the others have one value each. */
        em[i] = i >= 2 && i < EM_LEN - 49 ? 0x00 : (uint8_t)(em[i] + 1);
        ka_tls_premaster_decode(em, EM_LEN, fallback, 0x0303, 0x0303, out);
        assert_memory_equal(out, fallback, 48);
    }
}

static void oaep_encode(const struct ka_hash *hash, const uint8_t *message, size_t len, uint8_t *em) {
    uint8_t *seed = em + 1;
    uint8_t *db = em + 1 + hash->len;
    const size_t db_len = EM_LEN - hash->len - 1;
    memset(em, 0, EM_LEN);
    memset(seed, 0x5a, hash->len);
    hash->digest(NULL, 0, db);
    db[db_len - len - 1] = 0x01;
    memcpy(db + db_len - len, message, len);
    ka_mgf1_xor(hash, seed, hash->len, db, db_len);
    ka_mgf1_xor(hash, db, db_len, seed, hash->len);
}

static void oaep_decodes_every_message_length(void **state) {
    (void)state;
    uint8_t message[EM_LEN], em[EM_LEN];
    memset(message, 0x01, sizeof message);
    for (size_t h = 0; h < sizeof hash_names / sizeof hash_names[0]; h++) {
        const struct ka_hash *hash = ka_hash_find(hash_names[h]);
        for (size_t len = 0; len <= EM_LEN - 2 * hash->len - 2; len++) {
            size_t out_len = 0;
            oaep_encode(hash, message, len, em);
            uint8_t *copy = exact(em, EM_LEN);
            uint8_t *out = malloc(EM_LEN);
            assert_true(ka_oaep_decode(copy, EM_LEN, hash, out, &out_len));
            assert_int_equal(out_len, len);
            assert_memory_equal(out, message, len);
            free(out);
            free(copy);
        }
    }
}

static void oaep_refuses_any_changed_byte_and_writes_nothing(void **state) {
    (void)state;
    const struct ka_hash *hash = ka_hash_find("sha256");
    const uint8_t message[] = "forty-two";
    uint8_t em[EM_LEN], out[EM_LEN];
    static const uint8_t zeros[EM_LEN];
    for (size_t i = 0; i < EM_LEN; i++) {
        size_t out_len = 1;
        oaep_encode(hash, message, sizeof message, em);
        em[i] ^= 0x80;
        assert_int_equal(ka_oaep_decode(em, EM_LEN, hash, out, &out_len), false);
        assert_int_equal(out_len, 0);
        assert_memory_equal(out, zeros, EM_LEN);
    }
}

static void oaep_refuses_arbitrary_bytes_of_every_length(void **state) {
    (void)state;
    uint8_t em[EM_LEN];
    for (size_t i = 0; i < sizeof em; i++)
        em[i] = (uint8_t)(i * 37 + 11);
    for (size_t h = 0; h < sizeof hash_names / sizeof hash_names[0]; h++) {
        const struct ka_hash *hash = ka_hash_find(hash_names[h]);
        for (size_t len = ka_oaep_em_min(hash); len <= EM_LEN; len++) {
            size_t out_len = 1;
            uint8_t *copy = exact(em, len);
            uint8_t *out = malloc(len);
            assert_false(ka_oaep_decode(copy, len, hash, out, &out_len));
            assert_int_equal(out_len, 0);
            free(out);
            free(copy);
        }
    }
}

static void pss_verifies_what_it_encoded_for_every_salt_and_size(void **state) {
    (void)state;
    uint8_t digest[KA_HASH_MAX], salt[EM_LEN];
    memset(digest, 0x42, sizeof digest);
    memset(salt, 0x24, sizeof salt);
    for (size_t h = 0; h < sizeof hash_names / sizeof hash_names[0]; h++) {
        const struct ka_hash *hash = ka_hash_find(hash_names[h]);
        for (size_t bits = MODULUS_BITS - 8; bits <= MODULUS_BITS; bits++)
            for (size_t salt_len = 0; ka_pss_fits(bits, hash, salt_len); salt_len += 13) {
                const size_t em_len = (bits + 7) / 8;
                uint8_t *em = malloc(em_len);
                ka_pss_encode(hash, digest, salt, salt_len, bits, em);
                assert_true(ka_pss_verify(hash, digest, salt_len, bits, em));
                free(em);
            }
    }
}

static void pss_refuses_every_changed_bit(void **state) {
    (void)state;
    const struct ka_hash *hash = ka_hash_find("sha256");
    uint8_t digest[32] = {1}, salt[32] = {2}, em[EM_LEN];
    ka_pss_encode(hash, digest, salt, sizeof salt, MODULUS_BITS, em);
    for (size_t bit = 0; bit < 8 * EM_LEN; bit++) {
        em[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(ka_pss_verify(hash, digest, sizeof salt, MODULUS_BITS, em));
        em[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    digest[31] ^= 1;
    assert_false(ka_pss_verify(hash, digest, sizeof salt, MODULUS_BITS, em));
}

static void pss_says_what_does_not_fit(void **state) {
    (void)state;
    const struct ka_hash *hash = ka_hash_find("sha512");
    assert_true(ka_pss_fits(2048, hash, 190));
    assert_false(ka_pss_fits(2048, hash, 191));
    assert_false(ka_pss_fits(2048, hash, SIZE_MAX));
    assert_false(ka_pss_fits(0, hash, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(premaster_returns_the_secret_for_every_length),
        cmocka_unit_test(premaster_returns_the_fallback_for_any_changed_frame_byte),
        cmocka_unit_test(oaep_decodes_every_message_length),
        cmocka_unit_test(oaep_refuses_any_changed_byte_and_writes_nothing),
        cmocka_unit_test(oaep_refuses_arbitrary_bytes_of_every_length),
        cmocka_unit_test(pss_verifies_what_it_encoded_for_every_salt_and_size),
        cmocka_unit_test(pss_refuses_every_changed_bit),
        cmocka_unit_test(pss_says_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
