/* The pool, see pool.h. */
#include "pool.h"

#include <stdlib.h>

/* The low bits of a slot's owner; the generation is above them. A free slot is 0, whatever process sees it.
 */
enum slot_state { SLOT_FREE, SLOT_IDLE, SLOT_BUSY };
enum { STATE_BITS = 2 };

static uint64_t owner_of(uint32_t generation, enum slot_state state) {
    return (uint64_t)generation << STATE_BITS | state;
}

/* Looks before it swaps: a failed swap would take the cache line from the thread that uses the slot. */
static bool change(struct ka_pool_slot *slot, uint64_t from, uint64_t to) {
    return atomic_load(&slot->owner) == from && atomic_compare_exchange_strong(&slot->owner, &from, to);
}

ka_status ka_pool_init(struct ka_pool *pool) {
    ka_status status = ka_generation_init(&pool->generation);
    if (status != KA_OK) return status;
    atomic_init(&pool->owner, ka_generation_now(&pool->generation));
    atomic_init(&pool->first, NULL);
    return KA_OK;
}

void ka_pool_clear(struct ka_pool *pool) {
    struct ka_pool_slot *next;
    for (struct ka_pool_slot *slot = atomic_load(&pool->first); slot != NULL; slot = next) {
        next = atomic_load(&slot->next);
        ka_connection_close(&slot->connection);
        free(slot);
    }
    ka_generation_end(&pool->generation);
}

/* After a fork: closes the copies of the parent's connections, busy ones too. Several threads may come here
 * at once and may meet slots that another one has taken into use again already. */
static void disown_parent(struct ka_pool *pool, uint32_t self) {
    for (struct ka_pool_slot *slot = atomic_load(&pool->first); slot != NULL;
         slot = atomic_load(&slot->next)) {
        uint64_t owner = atomic_load(&slot->owner);
        if (owner == SLOT_FREE || owner >> STATE_BITS == self) continue;
        if (!change(slot, owner, owner_of(self, SLOT_BUSY))) continue;
        ka_connection_close(&slot->connection);
        atomic_store(&slot->owner, SLOT_FREE);
    }
    atomic_store(&pool->owner, self);
}

static struct ka_pool_slot *take_idle(struct ka_pool *pool, uint32_t self) {
    for (struct ka_pool_slot *slot = atomic_load(&pool->first); slot != NULL;
         slot = atomic_load(&slot->next)) {
        if (!change(slot, owner_of(self, SLOT_IDLE), owner_of(self, SLOT_BUSY))) continue;
        if (ka_connection_usable(&slot->connection)) return slot;
        ka_connection_close(&slot->connection);
        atomic_store(&slot->owner, SLOT_FREE);
    }
    return NULL;
}

static struct ka_pool_slot *take_free(struct ka_pool *pool, uint32_t self) {
    struct ka_pool_slot *slot = atomic_load(&pool->first);
    while (slot != NULL && !change(slot, SLOT_FREE, owner_of(self, SLOT_BUSY)))
        slot = atomic_load(&slot->next);
    return slot;
}

/* At the end, so that those come first that are kept. */
static struct ka_pool_slot *add_slot(struct ka_pool *pool, uint32_t self) {
    struct ka_pool_slot *slot = malloc(sizeof *slot), *last = NULL;
    if (slot == NULL) return NULL;
    slot->connection = (struct ka_connection){.fd = -1};
    slot->number = 0;
    atomic_init(&slot->owner, owner_of(self, SLOT_BUSY));
    atomic_init(&slot->next, NULL);
    struct ka_pool_slot *_Atomic *end = &pool->first;
    while (!atomic_compare_exchange_strong(end, &last, slot)) {
        slot->number = last->number + 1;
        end = &last->next;
        last = NULL;
    }
    return slot;
}

struct ka_connection *ka_pool_take(struct ka_pool *pool, bool anew) {
    uint32_t self = ka_generation_now(&pool->generation);
    if (atomic_load(&pool->owner) != self) disown_parent(pool, self);
    struct ka_pool_slot *slot = anew ? NULL : take_idle(pool, self);
    if (slot == NULL) slot = take_free(pool, self);
    if (slot == NULL) slot = add_slot(pool, self);
    return slot == NULL ? NULL : &slot->connection;
}

void ka_pool_return(struct ka_connection *connection) {
    struct ka_pool_slot *slot = (struct ka_pool_slot *)connection; /* its first member */
    if (slot->number >= KA_POOL_KEPT) ka_connection_close(connection);
    uint32_t self = (uint32_t)(atomic_load(&slot->owner) >> STATE_BITS);
    atomic_store(&slot->owner, connection->fd >= 0 ? owner_of(self, SLOT_IDLE) : (uint64_t)SLOT_FREE);
}
