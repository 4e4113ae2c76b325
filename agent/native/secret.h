/* A PIN on its way from the agent to C_Login: 2-byte big-endian length and the bytes on a descriptor, read
 * into memory that is neither swapped nor dumped. */
#ifndef KA_SECRET_H
#define KA_SECRET_H

#include <stddef.h>
#include <stdint.h>

/* limits.ts: pin */
enum { KA_SECRET_MAX = 256 };

struct ka_secret {
    /* a mapping of its own, or NULL */
    uint8_t *data;
    size_t len;
};

/** Reads one secret, waiting a few seconds at most. On failure what was read is wiped and *secret is empty.
 *  @return 0, or an errno: EPIPE if the descriptor ended, EMSGSIZE over KA_SECRET_MAX, ETIMEDOUT, ENOMEM
 * where RLIMIT_MEMLOCK forbids locked memory, ... */
int ka_secret_read(int fd, struct ka_secret *secret);

/** Wipes and unmaps; harmless on an empty secret. */
void ka_secret_free(struct ka_secret *secret);

#endif
