#include "tls_premaster.h"

#include "constant_time.h"

static uint32_t version_equal(const uint8_t *secret, uint16_t version) {
    return ka_ct_equal(secret[0], version >> 8) & ka_ct_equal(secret[1], version & 0xff);
}

void ka_tls_premaster_decode(const uint8_t *em, size_t em_len, const uint8_t fallback[KA_TLS_PREMASTER_LEN],
                             uint16_t client_version, uint16_t negotiated_version,
                             uint8_t out[KA_TLS_PREMASTER_LEN]) {
    const size_t separator = em_len - KA_TLS_PREMASTER_LEN - 1;
    const uint8_t *secret = em + separator + 1;

    uint32_t good = ka_ct_is_zero(em[0]) & ka_ct_equal(em[1], 2);
    for (size_t i = 2; i < separator; i++)
        good &= ~ka_ct_is_zero(em[i]);
    good &= ka_ct_is_zero(em[separator]);

    uint32_t version = version_equal(secret, client_version);
    if (negotiated_version != 0) version |= version_equal(secret, negotiated_version);
    good &= version;

    for (size_t i = 0; i < KA_TLS_PREMASTER_LEN; i++)
        out[i] = (uint8_t)ka_ct_select(good, secret[i], fallback[i]);
}
