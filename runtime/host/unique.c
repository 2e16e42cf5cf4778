/* Distinct elements, or distinct slices along an axis.
 *
 * Items (elements or slices) are sorted by their keys, ties by index, so that the first of every
 * group is its first occurrence. What the elements are is left to a gather by `indices`. */
#include "runtime/host/order.h"

/* host_unique: x, axis (omitted: elements of the flattened x), sorted (0: in the order of first
 * occurrences) -> indices of first occurrences [u], inverse: the group of every item [n],
 * counts [u]; all i64. NaNs are equal. */
enum {
    ORDERED = TYPES_number | TYPE(bool) | TYPE(string) | TYPE(c64) | TYPE(c128),
};
static const HostParam unique_in[] = {
    {"x", ORDERED, 0, ARGS_RANK, false},
    {"axis", TYPE(i64), 0, 1, true},
    {"sorted", TYPE(i64), 0, 1, false},
};
static const HostParam unique_out[] = {
    {"indices", TYPE(i64), 1, 1, false},
    {"inverse", TYPE(i64), 1, 1, false},
    {"counts", TYPE(i64), 1, 1, false},
};
static const HostForm form = {"unique", unique_in, unique_out, 3, 3, false};

/* Slice i is the elements [o, i, k] of keys [outer, count, inner]. */
typedef struct Slices {
    const uint64_t *keys;
    int64_t outer, count, inner;
} Slices;

static int slice_tie(const void *user, int64_t a, int64_t b)
{
    const Slices *s = user;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            uint64_t x = s->keys[(o * s->count + a) * s->inner + i];
            uint64_t y = s->keys[(o * s->count + b) * s->inner + i];
            if (x != y)
                return x < y ? -1 : 1;
        }
    return 0;
}

/* In items[g].index the first item of group g, in inverse the group of every item; the number of
 * groups. */
static int64_t group_items(const Slices *s, OrderItem *items, OrderItem *spare, int64_t *inverse)
{
    bool empty = !s->outer || !s->inner;
    for (int64_t i = 0; i < s->count; i++)
        items[i] = (OrderItem){empty ? 0 : s->keys[i * s->inner], i};
    order_sort(items, spare, s->count, slice_tie, s);
    int64_t groups = 0;
    for (int64_t i = 0; i < s->count; i++) {
        OrderItem item = items[i];
        if (!i || item.key != items[groups - 1].key ||
            slice_tie(s, item.index, items[groups - 1].index))
            items[groups++] = item;
        inverse[item.index] = groups - 1;
    }
    return groups;
}

/* Groups in the order of their first items. */
static void reorder(OrderItem *items, OrderItem *spare, int64_t groups, int64_t *inverse,
                    int64_t count)
{
    for (int64_t g = 0; g < groups; g++)
        items[g] = (OrderItem){(uint64_t)items[g].index, g};
    order_sort(items, spare, groups, NULL, NULL);
    for (int64_t g = 0; g < groups; g++) {
        spare[items[g].index].index = g;
        items[g].index = (int64_t)items[g].key;
    }
    for (int64_t i = 0; i < count; i++)
        inverse[i] = spare[inverse[i]].index;
}

Status host_unique(HostCall *call)
{
    const HostTensor *x = &call->inputs[0];
    int axis = 0;
    int64_t sorted;
    if (!args_check(call, &form) || !args_int(call, &form, 2, 0, 1, &sorted))
        return args_status(call);
    bool flat = args_omitted(&call->inputs[1]);
    if (!flat && !args_axis(call, &form, 1, x->rank, &axis))
        return args_status(call);
    Slices s = {order_tensor(call, x), 1, args_count(x), 1};
    if (!flat)
        s = (Slices){s.keys, args_product(x, 0, axis), x->dims[axis],
                     args_product(x, axis + 1, x->rank)};
    OrderItem *items = s.keys ? args_scratch(call, s.count, 2 * sizeof *items) : NULL;
    int64_t *inverse = items ? call->output(call, 1, 1, &s.count) : NULL;
    if (!inverse)
        return args_status(call);
    int64_t groups = group_items(&s, items, items + s.count, inverse);
    if (!sorted)
        reorder(items, items + s.count, groups, inverse, s.count);
    int64_t *indices = call->output(call, 0, 1, &groups);
    int64_t *counts = indices ? call->output(call, 2, 1, &groups) : NULL;
    if (!counts)
        return args_status(call);
    for (int64_t g = 0; g < groups; g++) {
        indices[g] = items[g].index;
        counts[g] = 0;
    }
    for (int64_t i = 0; i < s.count; i++)
        counts[inverse[i]]++;
    return ST_ok;
}
