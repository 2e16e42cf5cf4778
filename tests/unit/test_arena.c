/* The default allocator. */
#include <criterion/criterion.h>

#include <stdint.h>
#include <string.h>

#include "base/arena.h"

Test(arena, system_memory_is_aligned)
{
    const Allocator *a = &allocator_system;
    const size_t sizes[] = {1, 63, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *ptr = a->alloc(a->user, sizes[i], 64);
        cr_assert(ptr, "%zu", sizes[i]);
        cr_expect_eq((uintptr_t)ptr % 64, 0, "%zu", sizes[i]);
        if (sizes[i] >= 2 << 20)
            cr_expect_eq((uintptr_t)ptr % (2 << 20), 0, "%zu: starts within a huge page", sizes[i]);
        memset(ptr, 1, sizes[i]);
        a->release(a->user, ptr, sizes[i]);
    }
}

Test(arena, absurd_sizes_are_refused)
{
    const Allocator *a = &allocator_system;
    cr_expect_null(a->alloc(a->user, SIZE_MAX, 64));
    cr_expect_null(a->alloc(a->user, SIZE_MAX - 64, 64));
    cr_expect_null(a->alloc(a->user, SIZE_MAX / 2, 64));
}
