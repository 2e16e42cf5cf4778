/* A bump allocator whose memory is released all at once.
 *
 * Allocation never returns NULL: when memory or the caller's limit runs out, the arena jumps to the
 * handler its owner installed (see cx.h). Do not allocate from an arena inside a foreign callback.
 * Not thread-safe: an arena belongs to one compile job. */
#ifndef QUERN_BASE_ARENA_H
#define QUERN_BASE_ARENA_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

/* The allocator a caller may hand in. `alloc` returns NULL on failure; alignment is at least 64. */
typedef struct Allocator {
    void *user;
    void *(*alloc)(void *user, size_t size, size_t align);
    void (*release)(void *user, void *ptr, size_t size);
} Allocator;

extern const Allocator allocator_system;

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    const Allocator *from;
    ArenaBlock *block;  /* newest first */
    char *at, *end;     /* free part of the newest block */
    size_t used, limit; /* bytes taken from `from`; limit 0 = none */
    jmp_buf *on_oom;    /* where to go when memory is refused; NULL = abort with a message */
} Arena;

typedef struct ArenaMark {
    ArenaBlock *block;
    char *at;
} ArenaMark;

void arena_init(Arena *arena, const Allocator *from, size_t limit, jmp_buf *on_oom);
void arena_finish(Arena *arena);

/* Zeroed memory, aligned to 16 bytes. */
void *arena_alloc(Arena *arena, size_t size);
/* For foreign callbacks, which must not be jumped through: not zeroed; NULL when memory is refused.
 */
void *arena_try_alloc(Arena *arena, size_t size);
/* Zeroed array; an overflowing count * size counts as out of memory. */
void *arena_array(Arena *arena, size_t count, size_t size);
/* Copies `size` bytes. */
void *arena_copy(Arena *arena, const void *from, size_t size);
char *arena_strdup(Arena *arena, const char *text);
char *arena_printf(Arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Scratch use: everything allocated after the mark is released by arena_reset. */
ArenaMark arena_mark(Arena *arena);
void arena_reset(Arena *arena, ArenaMark mark);

#define NEW(arena, T) ((T *)arena_alloc((arena), sizeof(T)))
#define NEW_ARRAY(arena, T, n) ((T *)arena_array((arena), (size_t)(n), sizeof(T)))

/* Growing array in an arena: VEC_PUSH(arena, list, count, capacity, item). Old storage is left
 * behind. */
void *arena_grow(Arena *arena, void *items, uint32_t *capacity, size_t item_size, uint32_t needed);
#define VEC_PUSH(arena, items, count, capacity, item)                                              \
    do {                                                                                           \
        if ((count) == (capacity))                                                                 \
            (items) = arena_grow((arena), (items), &(capacity), sizeof *(items), (count) + 1);     \
        (items)[(count)++] = (item);                                                               \
    } while (0)

#endif
