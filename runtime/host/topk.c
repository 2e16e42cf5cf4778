/* The k largest or smallest elements of every line along an axis.
 *
 * Keys are such that smaller is better. A heap of the k best so far, worst on top: nearly every
 * element of a long line is turned away by one comparison with the top, so that the cost is n + k
 * log k in practice and n log k at worst. Smallest is largest of the complemented keys; NaN is
 * above all numbers. Of equal elements the one of the lower index comes first: a later one never
 * displaces it. */
#include "runtime/host/order.h"

#include <string.h>

enum { CHUNK = 512 };

/* host_topk: x, k (one integer), axis, largest -> values, indices (i64), in order. */
static const HostParam topk_in[] = {
    {"x", TYPES_number, 1, ARGS_RANK, false},
    {"k", TYPES_int, 0, 1, false},
    {"axis", TYPE(i64), 0, 1, false},
    {"largest", TYPE(i64), 0, 1, false},
};
static const HostParam topk_out[] = {
    {"values", TYPES_number, 0, ARGS_RANK, false},
    {"indices", TYPE(i64), 0, ARGS_RANK, false},
};
static const HostForm form = {"topk", topk_in, topk_out, 4, 2, false};

typedef struct Line {
    Dtype dtype;
    const void *base;
    int64_t first, stride, count;
    uint64_t flip; /* all ones for largest */
} Line;

static void select_line(const Line *line, OrderItem *heap, OrderItem *spare, int64_t k)
{
    uint64_t keys[CHUNK];
    int64_t filled = 0;
    for (int64_t at = 0; at < line->count; at += CHUNK) {
        int64_t here = line->count - at < CHUNK ? line->count - at : CHUNK, i = 0;
        order_keys(line->dtype, line->base, line->first + at * line->stride, line->stride, here,
                   keys);
        for (; i < here && filled < k; i++) {
            heap[filled++] = (OrderItem){keys[i] ^ line->flip, at + i};
            if (filled == k)
                order_heap(heap, k, true);
        }
        for (uint64_t worst = heap[0].key, flip = line->flip; i < here; i++)
            if ((keys[i] ^ flip) < worst) {
                heap[0] = (OrderItem){keys[i] ^ flip, at + i};
                order_sift(heap, k, 0, true);
                worst = heap[0].key;
            }
    }
    order_sort(heap, spare, k, NULL, NULL);
}

typedef struct Results {
    char *values;
    int64_t *indices;
    OrderItem *heap; /* k, and k more to sort */
} Results;

static bool make_results(HostCall *call, int axis, int64_t k, Results *results)
{
    const HostTensor *x = &call->inputs[0];
    int64_t dims[ARGS_RANK];
    memcpy(dims, x->dims, (size_t)x->rank * sizeof *dims);
    dims[axis] = k;
    results->values = call->output(call, 0, x->rank, dims);
    results->indices = results->values ? call->output(call, 1, x->rank, dims) : NULL;
    results->heap = results->indices ? args_scratch(call, k, 2 * sizeof(OrderItem)) : NULL;
    return results->heap;
}

Status host_topk(HostCall *call)
{
    const HostTensor *x = &call->inputs[0];
    Results to;
    int64_t k, largest;
    int axis;
    if (!args_check(call, &form) || !args_axis(call, &form, 2, x->rank, &axis) ||
        !args_int(call, &form, 1, 0, x->dims[axis], &k) ||
        !args_int(call, &form, 3, 0, 1, &largest))
        return args_status(call);
    if (call->output_dtypes[0] != x->dtype)
        return args_fail(call, &form, "values are not of the type of x");
    if (!make_results(call, axis, k, &to))
        return args_status(call);
    int64_t outer = args_product(x, 0, axis), inner = args_product(x, axis + 1, x->rank);
    size_t size = args_size(x->dtype);
    for (int64_t o = 0; o < (k ? outer : 0); o++)
        for (int64_t i = 0; i < inner; i++) {
            Line line = {x->dtype, x->data,       o * x->dims[axis] * inner + i,
                         inner,    x->dims[axis], largest ? UINT64_MAX : 0};
            if (!args_go_on(call))
                return args_status(call);
            select_line(&line, to.heap, to.heap + k, k);
            for (int64_t j = 0; j < k; j++) {
                int64_t at = (o * k + j) * inner + i;
                int64_t from = line.first + to.heap[j].index * inner;
                memcpy(to.values + at * (int64_t)size, (const char *)x->data + from * (int64_t)size,
                       size);
                to.indices[at] = to.heap[j].index;
            }
        }
    return ST_ok;
}
