/* The pool, see pool.h. */
#include "pool.h"

#include <unistd.h>

/* The low bits of a slot's owner; the pid is above them. A free slot is 0, whatever process sees it. */
enum slot_state { SLOT_FREE, SLOT_IDLE, SLOT_BUSY };
enum { STATE_BITS = 2 };

static uint64_t owner_of(pid_t pid, enum slot_state state) {
    return (uint64_t)pid << STATE_BITS | state;
}

/* Looks before it swaps: a failed swap would take the cache line from the thread that uses the slot. */
static bool change(struct ka_pool_slot *slot, uint64_t from, uint64_t to) {
    return atomic_load(&slot->owner) == from && atomic_compare_exchange_strong(&slot->owner, &from, to);
}

void ka_pool_init(struct ka_pool *pool) {
    atomic_init(&pool->pid, getpid());
    for (size_t i = 0; i < KA_POOL_SLOTS; i++) {
        atomic_init(&pool->slots[i].owner, SLOT_FREE);
        pool->slots[i].connection.fd = -1;
    }
}

void ka_pool_clear(struct ka_pool *pool) {
    for (size_t i = 0; i < KA_POOL_SLOTS; i++)
        ka_connection_close(&pool->slots[i].connection);
}

/* After a fork: closes the copies of the parent's connections, busy ones too. Several threads may come here
 * at once and may meet slots that another one has taken into use again already. */
static void disown_parent(struct ka_pool *pool, pid_t self) {
    for (size_t i = 0; i < KA_POOL_SLOTS; i++) {
        struct ka_pool_slot *slot = &pool->slots[i];
        uint64_t owner = atomic_load(&slot->owner);
        if (owner == SLOT_FREE || owner >> STATE_BITS == (uint64_t)self) continue;
        if (!change(slot, owner, owner_of(self, SLOT_BUSY))) continue;
        ka_connection_close(&slot->connection);
        atomic_store(&slot->owner, SLOT_FREE);
    }
    atomic_store(&pool->pid, self);
}

static struct ka_connection *take_idle(struct ka_pool *pool, pid_t self) {
    for (size_t i = 0; i < KA_POOL_SLOTS; i++) {
        struct ka_pool_slot *slot = &pool->slots[i];
        if (!change(slot, owner_of(self, SLOT_IDLE), owner_of(self, SLOT_BUSY))) continue;
        if (ka_connection_usable(&slot->connection)) return &slot->connection;
        ka_connection_close(&slot->connection);
        atomic_store(&slot->owner, SLOT_FREE);
    }
    return NULL;
}

struct ka_connection *ka_pool_take(struct ka_pool *pool, struct ka_connection *spare) {
    pid_t self = getpid();
    if (atomic_load(&pool->pid) != self) disown_parent(pool, self);
    struct ka_connection *idle = take_idle(pool, self);
    if (idle != NULL) return idle;
    for (size_t i = 0; i < KA_POOL_SLOTS; i++) {
        struct ka_pool_slot *slot = &pool->slots[i];
        if (change(slot, SLOT_FREE, owner_of(self, SLOT_BUSY))) return &slot->connection;
    }
    spare->fd = -1;
    return spare;
}

void ka_pool_return(struct ka_pool *pool, struct ka_connection *connection, struct ka_connection *spare) {
    if (connection == spare) {
        ka_connection_close(spare);
        return;
    }
    struct ka_pool_slot *slot = (struct ka_pool_slot *)connection; /* its first member */
    bool keep = connection->fd >= 0;
    atomic_store(&slot->owner, keep ? owner_of(atomic_load(&pool->pid), SLOT_IDLE) : (uint64_t)SLOT_FREE);
}
