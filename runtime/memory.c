/* The memory planner: first fit over lifetimes, largest items first. Quadratic in the number of
 * tensors, which is in the hundreds. */
#include "runtime/memory.h"

#include <stdbool.h>

int64_t memory_round_to(int64_t size, int64_t align)
{
    if (size < 0 || size > INT64_MAX - align)
        return -1;
    return (size + align - 1) / align * align;
}

int64_t memory_round(int64_t size)
{
    return memory_round_to(size, MEMORY_ALIGN);
}

static bool at_once(const MemoryItem *a, const MemoryItem *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest free offset for `item` among the placed ones, which are in order of offset. */
static int64_t lowest(const MemoryItem *items, const MemoryItem *item, const uint32_t *placed,
                      uint32_t count)
{
    int64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        const MemoryItem *other = &items[placed[i]];
        if (!at_once(item, other))
            continue;
        if (other->offset - offset >= item->size)
            break;
        int64_t end = other->offset + memory_round(other->size);
        if (end > offset)
            offset = end;
    }
    return offset;
}

int64_t memory_assign(MemoryItem *items, uint32_t count, uint32_t *work)
{
    uint32_t *by_size = work, *placed = work + count;
    int64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at && items[by_size[at - 1]].size < items[i].size; at--)
            by_size[at] = by_size[at - 1];
        by_size[at] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        MemoryItem *item = &items[by_size[i]];
        item->offset = lowest(items, item, placed, i);
        int64_t size = memory_round(item->size), end;
        if (size < 0 || __builtin_add_overflow(item->offset, size, &end))
            return -1;
        uint32_t at = i;
        for (; at && items[placed[at - 1]].offset > item->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = by_size[i];
        if (end > total)
            total = end;
    }
    return total;
}
