/* The premaster secret of a TLS RSA key exchange out of its PKCS#1 v1.5 encoding, without telling anybody
 * whether the encoding was right (RFC 5246 7.4.7.1). */
#ifndef KA_TLS_PREMASTER_H
#define KA_TLS_PREMASTER_H

#include <stddef.h>
#include <stdint.h>

enum {
    KA_TLS_PREMASTER_LEN = 48,
    /* 00 02, eight bytes of padding, 00, the secret */
    KA_TLS_PREMASTER_EM_MIN = 11 + KA_TLS_PREMASTER_LEN,
};

/** Chooses between the secret and the fallback in constant time.
 *  @param em                  em_len bytes, the modulus' length, leading zeros kept; at least
 * KA_TLS_PREMASTER_EM_MIN
 *  @param fallback            random bytes, chosen if padding, length or version is wrong
 *  @param client_version      the version that ClientHello offered; the secret must begin with it
 *  @param negotiated_version  accepted instead unless 0 (OpenSSL passes it only under
 * SSL_OP_TLS_ROLLBACK_BUG)
 *  @param out                 receives the secret or the fallback */
void ka_tls_premaster_decode(const uint8_t *em, size_t em_len, const uint8_t fallback[KA_TLS_PREMASTER_LEN],
                             uint16_t client_version, uint16_t negotiated_version,
                             uint8_t out[KA_TLS_PREMASTER_LEN]);

#endif
