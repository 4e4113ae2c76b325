/* See guard.h. */
#include "guard.h"

#include <errno.h>
#include <pthread.h>

struct ka_guard ka_guard_enter(void) {
    struct ka_guard guard = {.number = errno};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &guard.cancel_state); /* fails for no valid state */
    return guard;
}

void ka_guard_leave(const struct ka_guard *guard) {
    pthread_setcancelstate(guard->cancel_state, NULL);
    errno = guard->number;
}
