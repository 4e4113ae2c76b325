/*
 * Tells a process from those that it was forked from. A pid does not: the first process of a PID namespace is
 * 1 whoever its parent is, and numbers come again. So the mark lies in a page that the kernel clears in a
 * child.
 */
#ifndef KEYAGENT_GENERATION_H
#define KEYAGENT_GENERATION_H

#include <stdatomic.h>
#include <stdint.h>

#include "keyagent.h"

struct ka_generation {
    _Atomic uint64_t *mark; /* number and pid; 0 right after a fork */
    _Atomic uint32_t last;  /* the highest number that this process or one before it has used */
};

KA_MUSTUSE ka_status ka_generation_init(struct ka_generation *generation);
void ka_generation_end(struct ka_generation *generation);
/* This process's number; not that of any it descends from. Never 0. Any thread may ask, at any time. */
uint32_t ka_generation_now(struct ka_generation *generation);

#endif
