/* Generations, see generation.h. */
#include "generation.h"

#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t page_size = 4096; /* at least; the kernel rounds up */

ka_status ka_generation_init(struct ka_generation *generation) {
    void *page = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return KA_ERR_NO_MEMORY;
    /* Where the kernel cannot (before Linux 4.14, some sandboxes), the pid that is part of the mark must do.
     */
    (void)!madvise(page, page_size, MADV_WIPEONFORK);
    generation->mark = page;
    atomic_init(&generation->last, 0);
    return KA_OK;
}

void ka_generation_end(struct ka_generation *generation) {
    munmap((void *)generation->mark, page_size);
}

uint32_t ka_generation_now(struct ka_generation *generation) {
    uint32_t self = (uint32_t)getpid();
    uint64_t mark = atomic_load(generation->mark);
    while (mark == 0 || (uint32_t)mark != self) {
        /* Taken before it is used: a child that is forked in between takes the next. */
        uint64_t mine = (uint64_t)(atomic_fetch_add(&generation->last, 1) + 1) << 32 | self;
        if (atomic_compare_exchange_strong(generation->mark, &mark, mine)) return (uint32_t)(mine >> 32);
    }
    return (uint32_t)(mark >> 32);
}
