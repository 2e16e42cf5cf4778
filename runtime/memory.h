/* One slab for tensors that do not all live at once. */
#ifndef QUERN_RUNTIME_MEMORY_H
#define QUERN_RUNTIME_MEMORY_H

#include <stdint.h>

enum { MEMORY_ALIGN = 64 };

/* A tensor, used by the steps first..last inclusive. */
typedef struct MemoryItem {
    int64_t size;
    uint32_t first, last;
    int64_t offset; /* out: a multiple of MEMORY_ALIGN */
} MemoryItem;

/* Gives every item an offset such that items whose steps overlap do not overlap in memory; returns
 * the size of the slab, or -1 when it overflows. Greedy: the largest first, each as low as
 * possible. `work` has room for 2 * count. */
int64_t memory_assign(MemoryItem *items, uint32_t count, uint32_t *work);

/* Rounded up to a multiple of `align`, or of MEMORY_ALIGN; -1 when that overflows or size is
 * negative. Items whose sizes are multiples of `align` get such offsets. */
int64_t memory_round_to(int64_t size, int64_t align);
int64_t memory_round(int64_t size);

#endif
