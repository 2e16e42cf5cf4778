/* An allocator that counts, refuses, and spoils what is given back. */
#ifndef QUERN_TESTS_COUNTING_H
#define QUERN_TESTS_COUNTING_H

#include <stdint.h>
#include <string.h>

#include "base/arena.h"

/* `refuse_after`: so many more are given, then none. */
static _Atomic int allocations, live, refuse_after = INT32_MAX;

static inline void *count_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    allocations++;
    if (refuse_after-- <= 0)
        return NULL;
    void *memory = allocator_system.alloc(NULL, size, align);
    live += memory != NULL;
    return memory;
}

static inline void count_release(void *user, void *memory, size_t size)
{
    (void)user;
    memset(memory, 0xCC, size);
    live--;
    allocator_system.release(NULL, memory, size);
}

static const Allocator counting = {NULL, count_alloc, count_release};

#endif
