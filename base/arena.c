/* Blocks are taken from the allocator in growing sizes (64 KiB to 4 MiB), zeroed when handed out,
 * and kept in a list so that a mark can release the newer ones. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Packed weights are written once, right after they were allocated: faults on small pages would
 * take longer than the packing. */
enum { HUGE_PAGE = 2 << 20 };

enum { ALIGN = 16, FIRST_BLOCK = 64 << 10, LAST_BLOCK = 4 << 20 };

struct ArenaBlock {
    ArenaBlock *next;
    size_t size; /* of the whole block, header included */
};

enum { HEADER = (sizeof(ArenaBlock) + ALIGN - 1) / ALIGN * ALIGN };

static void *system_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    if (size > SIZE_MAX - HUGE_PAGE - align)
        return NULL;
    size = (size + align - 1) / align * align;
    if (size < HUGE_PAGE)
        return aligned_alloc(align, size);
    void *ptr; /* posix_memalign, since aligned_alloc wants the size to be a multiple */
    if (posix_memalign(&ptr, align < HUGE_PAGE ? HUGE_PAGE : align, size) != 0)
        return NULL;
    (void)madvise(ptr, size, MADV_HUGEPAGE); /* a wish: small pages serve as well, slower */
    return ptr;
}

static void system_release(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

const Allocator allocator_system = {NULL, system_alloc, system_release};

void arena_init(Arena *arena, const Allocator *from, size_t limit, jmp_buf *on_oom)
{
    *arena = (Arena){.from = from ? from : &allocator_system, .limit = limit, .on_oom = on_oom};
}

static void release_until(Arena *arena, ArenaBlock *stop)
{
    while (arena->block != stop) {
        ArenaBlock *block = arena->block;
        arena->block = block->next;
        arena->used -= block->size;
        arena->from->release(arena->from->user, block, block->size);
    }
}

void arena_finish(Arena *arena)
{
    release_until(arena, NULL);
    arena->at = arena->end = NULL;
}

static _Noreturn void out_of_memory(Arena *arena)
{
    if (arena->on_oom)
        longjmp(*arena->on_oom, 1);
    fputs("quern: out of memory\n", stderr);
    abort();
}

static bool add_block(Arena *arena, size_t need)
{
    size_t size = arena->block ? arena->block->size * 2 : FIRST_BLOCK;
    if (size > LAST_BLOCK)
        size = LAST_BLOCK;
    if (size < need + HEADER)
        size = (need + HEADER + ALIGN - 1) / ALIGN * ALIGN;
    size_t left = arena->limit > arena->used ? arena->limit - arena->used : 0;
    if (arena->limit && size > left) { /* the last block before the limit is a small one */
        size = (need + HEADER + ALIGN - 1) / ALIGN * ALIGN;
        if (size > left)
            return false;
    }
    ArenaBlock *block = arena->from->alloc(arena->from->user, size, 64);
    if (!block)
        return false;
    *block = (ArenaBlock){arena->block, size};
    arena->block = block;
    arena->used += size;
    arena->at = (char *)block + HEADER;
    arena->end = (char *)block + size;
    return true;
}

static void *try_take(Arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    if (size > (size_t)(arena->end - arena->at) || !arena->block) {
        if (!add_block(arena, size))
            return NULL;
    }
    char *ptr = arena->at;
    arena->at += size;
    return ptr;
}

static void *take(Arena *arena, size_t size)
{
    void *ptr = try_take(arena, size);
    if (!ptr)
        out_of_memory(arena);
    return ptr;
}

void *arena_try_alloc(Arena *arena, size_t size)
{
    return try_take(arena, size);
}

void *arena_alloc(Arena *arena, size_t size)
{
    return memset(take(arena, size), 0, size);
}

void *arena_array(Arena *arena, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        out_of_memory(arena);
    return arena_alloc(arena, count * size);
}

void *arena_copy(Arena *arena, const void *from, size_t size)
{
    void *ptr = take(arena, size);
    if (size)
        memcpy(ptr, from, size);
    return ptr;
}

char *arena_strdup(Arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text) + 1);
}

char *arena_printf(Arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = take(arena, (size_t)(length < 0 ? 0 : length) + 1);
    text[0] = 0;
    vsnprintf(text, (size_t)(length < 0 ? 0 : length) + 1, fmt, again);
    va_end(again);
    return text;
}

ArenaMark arena_mark(Arena *arena)
{
    return (ArenaMark){arena->block, arena->at};
}

void arena_reset(Arena *arena, ArenaMark mark)
{
    release_until(arena, mark.block);
    arena->at = mark.at;
    arena->end = mark.block ? (char *)mark.block + mark.block->size : NULL;
}

void *arena_grow(Arena *arena, void *items, uint32_t *capacity, size_t item_size, uint32_t needed)
{
    if (needed <= *capacity) /* the count wrapped around */
        out_of_memory(arena);
    uint32_t grown = *capacity ? *capacity * 2 : 8;
    if (grown < needed)
        grown = needed;
    void *bigger = arena_array(arena, grown, item_size);
    if (items && *capacity)
        memcpy(bigger, items, (size_t)*capacity * item_size);
    *capacity = grown;
    return bigger;
}
