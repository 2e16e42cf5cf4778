/* The order of elements, for every type the same: an element becomes a 64-bit key, and one stable
 * merge sort sorts keys. Shared by all host operations that compare. */
#ifndef QUERN_RUNTIME_HOST_ORDER_H
#define QUERN_RUNTIME_HOST_ORDER_H

#include "runtime/host/args.h"

/* Keys of elements first, first + stride, ...: compared as unsigned numbers they are ordered as the
 * elements are, and equal where these are equal: -0 is 0, and every NaN is the same and above all
 * else (numpy's order). For TYPES_number and bool. */
void order_keys(Dtype dtype, const void *base, int64_t first, int64_t stride, int64_t count,
                uint64_t *keys);

typedef struct OrderItem {
    uint64_t key;
    int64_t index;
} OrderItem;

/* Below 0, 0 or above 0: the order of the elements that two items of the same key stand for. */
typedef int OrderTie(const void *user, int64_t a, int64_t b);

/* Sorts by key, then by `tie` (unless NULL), then by index. `spare` has room for `count`. */
void order_sort(OrderItem *items, OrderItem *spare, int64_t count, OrderTie *tie, const void *user);

/* Heaps of items in the order of the sort without `tie`: the first of all on top or, with
 * `last_on_top`, the last. Sift restores the heap when items[at] alone may stand too high. */
void order_heap(OrderItem *items, int64_t count, bool last_on_top);
void order_sift(OrderItem *items, int64_t count, int64_t at, bool last_on_top);

/* Keys of all elements of a tensor, of any type that has whole bytes: strings (bytewise) and
 * complex numbers (real part first) get the rank of their value. NULL after report_fail. */
uint64_t *order_tensor(HostCall *call, const HostTensor *tensor);

/* Bytewise order of two strings. */
int order_text(HostString a, HostString b);
/* The first bytes of a string: two different ones are ordered as the strings are. */
uint64_t order_text_key(HostString text);

#endif
