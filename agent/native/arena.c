#define _DEFAULT_SOURCE /* explicit_bzero, MAP_ANONYMOUS */
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_LEN = 4096, PLACES = PAGE_LEN / KA_ARENA_PLACE, ALL_TAKEN = (1 << PLACES) - 1 };

struct page {
    struct page *next;
    uint8_t *data;
    /* one bit for each place */
    unsigned taken;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct page *pages;

/* @return 0 or an errno */
static int page_map(uint8_t **data) {
    void *mapping = mmap(NULL, PAGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return errno;
    /* The lock is not inherited by fork(2): a child's copy could be swapped, so it gets none. */
    if (mlock(mapping, PAGE_LEN) != 0 || madvise(mapping, PAGE_LEN, MADV_DONTDUMP) != 0 ||
        madvise(mapping, PAGE_LEN, MADV_WIPEONFORK) != 0) {
        const int error = errno;
        munmap(mapping, PAGE_LEN);
        return error;
    }
    *data = mapping;
    return 0;
}

static int page_new(struct page **page) {
    struct page *new = calloc(1, sizeof *new);
    if (new == NULL) return ENOMEM;
    const int error = page_map(&new->data);
    if (error != 0) {
        free(new);
        return error;
    }
    new->next = pages;
    pages = new;
    *page = new;
    return 0;
}

int ka_arena_take(uint8_t **place) {
    int error = 0;
    pthread_mutex_lock(&lock);
    struct page *page = pages;
    while (page != NULL && page->taken == ALL_TAKEN)
        page = page->next;
    if (page == NULL) error = page_new(&page);
    if (error == 0) {
        unsigned free_place = 0;
        while ((page->taken & 1U << free_place) != 0)
            free_place++;
        page->taken |= 1U << free_place;
        *place = page->data + (size_t)free_place * KA_ARENA_PLACE;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static struct page **page_link(const uint8_t *bytes) {
    struct page **link = &pages;
    while (*link != NULL && (uintptr_t)bytes - (uintptr_t)(*link)->data >= PAGE_LEN)
        link = &(*link)->next;
    return link;
}

bool ka_arena_holds(const uint8_t *bytes) {
    pthread_mutex_lock(&lock);
    const bool holds = *page_link(bytes) != NULL;
    pthread_mutex_unlock(&lock);
    return holds;
}

void ka_arena_return(uint8_t *place) {
    if (place == NULL) return;
    explicit_bzero(place, KA_ARENA_PLACE);
    pthread_mutex_lock(&lock);
    struct page **link = page_link(place);
    struct page *page = *link;
    page->taken &= ~(1U << (size_t)(place - page->data) / KA_ARENA_PLACE);
    if (page->taken == 0) {
        *link = page->next;
        munmap(page->data, PAGE_LEN);
        free(page);
    }
    pthread_mutex_unlock(&lock);
}
