/* Deadlines, see deadline.h. */
#include "deadline.h"

#include <time.h>

static const int64_t ns_per_ms = 1000000;

static int64_t now_ns(void) {
    struct timespec now;
    /* Fails only for a clock that the system lacks; every Linux has this one. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 * ns_per_ms + now.tv_nsec;
}

struct ka_deadline ka_deadline_in(uint32_t timeout_ms) {
    return (struct ka_deadline){now_ns() + timeout_ms * ns_per_ms};
}

uint32_t ka_deadline_left_ms(const struct ka_deadline *deadline) {
    int64_t left_ns = deadline->at_ns - now_ns();
    return left_ns <= 0 ? 0 : (uint32_t)((left_ns + ns_per_ms - 1) / ns_per_ms);
}
