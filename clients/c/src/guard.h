/* What the library's own system calls must not do to its caller: be the place where a thread is cancelled,
 * with a connection in its hands, and change errno. */
#ifndef KEYAGENT_GUARD_H
#define KEYAGENT_GUARD_H

struct ka_guard {
    int cancel_state, number;
};

struct ka_guard ka_guard_enter(void);
void ka_guard_leave(const struct ka_guard *guard);

#endif
