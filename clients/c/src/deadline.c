/* Deadlines, see deadline.h. */
#include "deadline.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>

#include "error.h"

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

ka_status ka_deadline_wait(const struct ka_deadline *deadline, int fd, short events, ka_error *err) {
    /* Asked before each wait: a peer that sends a byte now and then must not stretch the deadline. */
    for (uint32_t left_ms; (left_ms = ka_deadline_left_ms(deadline)) > 0;) {
        struct pollfd entry = {.fd = fd, .events = events};
        int ready = poll(&entry, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        if (ready > 0) return KA_OK;
        if (ready < 0 && errno != EINTR)
            return ka_error_set_errno(err, KA_ERR_UNAVAILABLE, "cannot wait for the agent");
    }
    return ka_error_set(err, KA_ERR_TIMEOUT, "the agent gave no answer in time; see `keyagent status`");
}
