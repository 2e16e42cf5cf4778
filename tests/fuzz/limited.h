/* An allocator that refuses what is large: sizes a hostile file claims are then refused memory, not
 * taken from the machine. */
#ifndef QUERN_TESTS_FUZZ_LIMITED_H
#define QUERN_TESTS_FUZZ_LIMITED_H

#include <stdlib.h>

#include "base/arena.h"

static void *limited_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    return size > (32u << 20) ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
}

static void limited_release(void *user, void *memory, size_t size)
{
    (void)user;
    (void)size;
    free(memory);
}

static const Allocator limited = {NULL, limited_alloc, limited_release};

#endif
