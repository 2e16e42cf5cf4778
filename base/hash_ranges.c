/* Pieces of all ranges are numbered in one sequence, which the executor deals out; a task finds the
 * range of its first piece by bisection and walks on from there. */
#include "base/hash_ranges.h"

typedef struct Pieces {
    const HashRange *ranges;
    const int64_t *first; /* by range: number of its first piece; one more behind the last */
    uint32_t count;
    Hash128 *hashes; /* by piece */
} Pieces;

static uint32_t range_of(const Pieces *p, int64_t piece)
{
    uint32_t low = 0, high = p->count; /* first[low] <= piece < first[high] */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (p->first[middle] <= piece)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void hash_pieces(void *arg, int64_t begin, int64_t end, int worker)
{
    const Pieces *p = arg;
    (void)worker;
    uint32_t r = begin < end ? range_of(p, begin) : 0;
    for (int64_t piece = begin; piece < end; piece++) {
        while (piece >= p->first[r + 1])
            r++;
        size_t at = (size_t)(piece - p->first[r]) * HASH_PIECE, left = p->ranges[r].size - at;
        p->hashes[piece] =
            hash_bytes((const char *)p->ranges[r].data + at, left < HASH_PIECE ? left : HASH_PIECE);
    }
}

void hash_ranges(Arena *arena, const Executor *executor, HashRange *ranges, uint32_t count)
{
    int64_t *first = NEW_ARRAY(arena, int64_t, (size_t)count + 1);
    for (uint32_t i = 0; i < count; i++)
        first[i + 1] =
            first[i] + (int64_t)(ranges[i].size / HASH_PIECE + (ranges[i].size % HASH_PIECE != 0));
    Pieces pieces = {ranges, first, count, NEW_ARRAY(arena, Hash128, first[count])};
    if (first[count])
        executor->parallel_for(executor->user, first[count], hash_pieces, &pieces);
    for (uint32_t i = 0; i < count; i++) {
        Hasher hasher;
        hash_init(&hasher);
        hash_add_int(&hasher, (int64_t)ranges[i].size);
        hash_add(&hasher, pieces.hashes + first[i],
                 (size_t)(first[i + 1] - first[i]) * sizeof(Hash128));
        ranges[i].hash = hash_finish(&hasher);
    }
}
