/*
 * The connections of one client, each used by one thread at a time. No lock: a fork may come while any thread
 * is at any point here, and a mutex that another thread held would stay locked in the child for ever. A slot
 * instead changes hands by one compare-and-swap, and says which process it belongs to. Slots are added where
 * none is free and stay until the end, so that a child finds every connection of its parent and closes it.
 */
#ifndef KEYAGENT_POOL_H
#define KEYAGENT_POOL_H

#include <stdatomic.h>

#include "connection.h"
#include "generation.h"

/* As many connections stay open between requests; where more are in flight at once, theirs are opened anew.
 */
#define KA_POOL_KEPT 128

struct ka_pool_slot {
    struct ka_connection connection;
    _Atomic uint64_t owner; /* generation and state, see pool.c */
    unsigned number;        /* from 0, in the order in which they were added */
    struct ka_pool_slot *_Atomic next;
};

struct ka_pool {
    struct ka_generation generation;
    _Atomic uint32_t owner; /* the generation whose connections these are */
    struct ka_pool_slot *_Atomic first;
};

KA_MUSTUSE ka_status ka_pool_init(struct ka_pool *pool);
/* Closes what is open. Nobody may be using the pool. */
void ka_pool_clear(struct ka_pool *pool);

/* An idle connection of this process, unless it has to be a new one, or one that is not open (fd < 0). Give
 * it back with ka_pool_return. NULL: no memory. */
struct ka_connection *ka_pool_take(struct ka_pool *pool, bool anew);
/* Keeps it for the next request if it is open and not one too many, or closes it. */
void ka_pool_return(struct ka_connection *connection);

#endif
