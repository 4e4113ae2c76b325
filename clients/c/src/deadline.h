/* One deadline for the whole of a call: connecting, sending, waiting, and the one repeat. Monotonic clock. */
#ifndef KEYAGENT_DEADLINE_H
#define KEYAGENT_DEADLINE_H

#include <stdint.h>

struct ka_deadline {
    int64_t at_ns;
};

struct ka_deadline ka_deadline_in(uint32_t timeout_ms);
/* Rounded up, so that a wait of this long never ends early; 0 once it has passed. */
uint32_t ka_deadline_left_ms(const struct ka_deadline *deadline);

#endif
