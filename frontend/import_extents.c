/* Sizes that only a run tells: the host completes and checks them (host_extents), and the extents
 * of its result are the dims of what follows. */
#include "frontend/import_ops.h"

#include <string.h>

bool is_open(const Tensor *x)
{
    return x && !tensor_is_poison(x) && !x->elements;
}

/* Number i of a list that is put together from parts, where its part is known; else NULL. */
static const Expr *known_number_of(Import *im, const Tensor *list, int64_t i)
{
    while (!list->elements && list->producer->op == OP_concat && list->rank == 1) {
        const GraphNode *node = list->producer;
        int64_t count = -1;
        for (int k = 0; k < node->input_count; k++) {
            list = node->inputs[k];
            count = tensor_count_const(im->cx, list);
            if (count < 0 || i < count)
                break;
            i -= count;
        }
        if (count < 0)
            return NULL;
    }
    return list->elements ? list->elements[i] : NULL;
}

/* Extent d of what host_extents will give, where that is plain already; else NULL: the run binds
 * it. */
static const Expr *plain_extent(Import *im, const Tensor *sizes, const Tensor *x, const char *rule,
                                int dims, int d)
{
    bool broadcasts = strcmp(rule, "broadcast") == 0, copies = strcmp(rule, "reshape") == 0;
    int64_t i = d - (dims - tensor_count_const(im->cx, sizes));
    int at = broadcasts ? d - (dims - x->rank) : d;
    const Expr *have = x && at >= 0 && at < x->rank ? x->shape[at] : NULL;
    if (i < 0 || (broadcasts && have && have->lo >= 2))
        return have;
    const Expr *size = known_number_of(im, sizes, i);
    if (size && copies && expr_is_const(size, 0))
        return have;
    return size && size->lo >= (broadcasts ? 2 : 1) ? size : NULL;
}

static bool fits(Import *im, const Tensor *sizes, int64_t length, int64_t rank)
{
    if (length < 0 || length >= MAX_RANK || rank >= MAX_RANK)
        fail(im, ST_unsupported,
             "sizes computed in the run are a list %s: it needs a length that is known when "
             "compiling, and below %d",
             tensor_shape_text(im->cx, sizes), MAX_RANK);
    else if (sizes->dtype != DT_i64 && sizes->dtype != DT_i32)
        fail(im, ST_bad_model, "sizes of type %s", dtype_name(sizes->dtype));
    return !cx_failed(im->cx);
}

bool bound_extents(Import *im, Tensor *sizes, const Tensor *x, const char *rule, int *count,
                   const Expr **list)
{
    *count = 0;
    if (tensor_is_poison(sizes) || (x && tensor_is_poison(x)))
        return false;
    want_inputs(im, sizes);
    int64_t length = sizes->rank <= 1 ? tensor_count_const(im->cx, sizes) : -1;
    int64_t rank = x ? x->rank : 0;
    if (!fits(im, sizes, length, rank))
        return false;
    int dims = (int)(strcmp(rule, "broadcast") == 0 && rank > length ? rank : length);
    const Expr *shape[MAX_RANK] = {NULL};
    bool open = false;
    for (int d = 0; d < dims; d++)
        open |= (shape[d] = plain_extent(im, sizes, x, rule, dims, d)) == NULL;
    for (int d = 0; d < dims && !open; d++) /* else nothing would need the step, and its checks */
        shape[d] = NULL;
    shape[dims] = expr_const(im->cx, 0);
    const HostResult result = {DT_u8, dims + 1, shape, NULL};
    Tensor *inputs[] = {sizes, graph_elements(im->graph, 1, &rank, rank ? x->shape : NULL),
                        host_text(im, rule)};
    Tensor *bound = host(im, "extents", 3, inputs, &result);
    if (tensor_is_poison(bound))
        return false;
    *count = dims;
    memcpy(list, bound->shape, (size_t)dims * sizeof *list);
    return true;
}

bool sizes_of(Import *im, Tensor *sizes, const char *what, int *count, const Expr **list)
{
    return is_open(sizes) ? bound_extents(im, sizes, NULL, "plain", count, list)
                          : known_list(im, sizes, what, count, list);
}

Tensor *list_number(Import *im, Tensor *list, int i)
{
    const Expr *one = expr_const(im->cx, 1);
    Tensor *item = list->rank ? slice_axis(im, list, 0, expr_const(im->cx, i), one) : list;
    return to(im, reshape(im, item, 0, NULL), DT_i64);
}

/* With a fill behind, for there to be something to take where nothing is. */
static Tensor *one_more(Import *im, Tensor *x, int axis, Tensor *fill)
{
    const Expr *before[MAX_RANK], *after[MAX_RANK];
    for (int d = 0; d < x->rank; d++) {
        before[d] = expr_const(im->cx, 0);
        after[d] = expr_const(im->cx, d == axis);
    }
    return graph_pad(im->graph, x, fill, before, after, "constant");
}

Tensor *open_pad(Import *im, const OpenPad *pad)
{
    Tensor *x = pad->x;
    Tensor *amounts = pad->amounts;
    bool fits = amounts->rank == 1 &&
                graph_same_dim(im->graph, amounts->shape[0], expr_const(im->cx, 2 * pad->count));
    bool fills = strcmp(pad->mode, "constant") == 0;
    want_inputs(im, pad->amounts);
    if (!fits)
        return fail(im, ST_bad_model, "pads of shape %s for %d axes",
                    tensor_shape_text(im->cx, pad->amounts), pad->count);
    for (int i = 0; i < pad->count && !tensor_is_poison(x); i++) {
        int axis = pad->axes[i];
        const Expr *before = known_number_of(im, pad->amounts, i),
                   *after = known_number_of(im, pad->amounts, pad->count + i);
        if (before && after && expr_is_const(before, 0) && expr_is_const(after, 0))
            continue;
        Tensor *inputs[] = {list_number(im, pad->amounts, i),
                            list_number(im, pad->amounts, pad->count + i),
                            expr_scalar(im, DT_i64, x->shape[axis]), host_text(im, pad->mode)};
        const HostResult result = {DT_i64, 1, NULL, NULL};
        Tensor *at = host(im, "padded", 4, inputs, &result);
        Tensor *inside = fills ? ew(im, S_max, at, scalar(im, at, 0)) : at;
        bool none = fills && x->shape[axis]->lo <= 0;
        Tensor *moved = gather_axis(im, none ? one_more(im, x, axis, pad->fill) : x, inside, axis);
        Tensor *hit = along(im, ew(im, S_le, scalar(im, at, 0), at), axis, x->rank);
        x = fills ? pick(im, hit, moved, pad->fill) : moved;
    }
    return x;
}
