/*
 * One PEM block (RFC 7468) from one of libcrypto's BIOs.
 */
#ifndef KEYAGENT_PROVIDER_PEM_H
#define KEYAGENT_PROVIDER_PEM_H

#include "provider.h"

typedef enum kp_pem {
    KP_PEM_READ,     /* a block with this label was read, up to the end of its last line */
    KP_PEM_OTHER,    /* the next block has another label, or there is none */
    KP_PEM_MALFORMED /* a block with this label that is not base64, has no end, or is longer than `out` holds
                      */
} kp_pem;

/** Reads the next block if it has this label.
 *  @param out      receives the bytes
 *  @param out_len  in: capacity; out: bytes read, with KP_PEM_READ */
kp_pem kp_pem_read(const kp_provider *provider, OSSL_CORE_BIO *bio, const char *label, uint8_t *out,
                   size_t *out_len);

#endif
