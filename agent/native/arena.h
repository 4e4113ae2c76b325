/* Memory for PINs: locked (not swapped), left out of core dumps, zeroes in a child of fork(2). Places of one
 * size in pages that come and go with their use, so that a small RLIMIT_MEMLOCK serves many. Thread-safe. */
#ifndef KA_ARENA_H
#define KA_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one place: a PIN with room to see that it is too long, or what one RSA-4096 key decrypts. */
enum { KA_ARENA_PLACE = 512 };

/** KA_ARENA_PLACE zero bytes that belong to the caller until they are returned.
 *  @return 0, or an errno: ENOMEM, EPERM or EAGAIN where RLIMIT_MEMLOCK forbids locked memory */
int ka_arena_take(uint8_t **place);

/** Whether these bytes are of a place that is taken. */
bool ka_arena_holds(const uint8_t *bytes);

/** Wipes a place and gives it back; NULL is nothing. */
void ka_arena_return(uint8_t *place);

#endif
