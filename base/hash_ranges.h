/* Hashes of much memory at once, on all workers of an executor.
 *
 * The hash of a range is the hash of its size and of the hashes of its pieces of HASH_PIECE bytes,
 * so that it does not depend on the executor. It is not what hash_bytes gives. */
#ifndef QUERN_BASE_HASH_RANGES_H
#define QUERN_BASE_HASH_RANGES_H

#include "base/hash.h"
#include "base/pool.h"

enum { HASH_PIECE = 1 << 20 };

typedef struct HashRange {
    const void *data;
    size_t size;
    Hash128 hash; /* out */
} HashRange;

/* The arena holds what is between. Must not be called from a body of the executor. */
void hash_ranges(Arena *arena, const Executor *executor, HashRange *ranges, uint32_t count);

#endif
