/*
 * The connections of one client, each used by one thread at a time. No lock: a fork may come while any thread
 * is at any point here, and a mutex that another thread held would stay locked in the child for ever. A slot
 * instead changes hands by one compare-and-swap, and says which process it belongs to.
 */
#ifndef KEYAGENT_POOL_H
#define KEYAGENT_POOL_H

#include <stdatomic.h>

#include "connection.h"

/* As many connections stay open between requests; where more threads ask at once, theirs are opened anew. */
#define KA_POOL_SLOTS 64

struct ka_pool_slot {
    struct ka_connection connection;
    _Atomic uint64_t owner; /* pid and state, see pool.c */
};

struct ka_pool {
    _Atomic pid_t pid; /* whose connections these are */
    struct ka_pool_slot slots[KA_POOL_SLOTS];
};

void ka_pool_init(struct ka_pool *pool);
/* Closes what is open. Nobody may be using the pool. */
void ka_pool_clear(struct ka_pool *pool);

/* An idle connection of this process, or one that is not open (fd < 0): where no slot is free, *spare. Give
 * it back with ka_pool_return by the same thread. */
struct ka_connection *ka_pool_take(struct ka_pool *pool, struct ka_connection *spare);
/* Keeps it if it is open and has a slot, or closes it. */
void ka_pool_return(struct ka_pool *pool, struct ka_connection *connection, struct ka_connection *spare);

#endif
