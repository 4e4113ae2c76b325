/* A PIN on its way from the agent to a token host: 2-byte big-endian length and the bytes on a descriptor. */
#ifndef KA_SECRET_H
#define KA_SECRET_H

#include <stddef.h>
#include <stdint.h>

/* limits.ts: pin */
enum { KA_SECRET_MAX = 256 };

/** Reads one secret into a place of the arena, waiting a few seconds at most. On failure nothing is taken.
 *  @param place  the caller returns it to the arena
 *  @param len    bytes of the secret
 *  @return 0, or an errno: EPIPE if the descriptor ended, EMSGSIZE over KA_SECRET_MAX, ETIMEDOUT, those of
 *          ka_arena_take, ... */
int ka_secret_read(int fd, uint8_t **place, size_t *len);

/** Writes one. The descriptor may be non-blocking; no copy is made on the way.
 *  @return 0, or an errno: EPIPE if the host died, ETIMEDOUT, ... */
int ka_secret_write(int fd, const uint8_t *secret, size_t len);

#endif
