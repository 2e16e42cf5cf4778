/* Importers: views, layout, shapes, constants. What a shape input says must be known when
 * compiling: a constant, or computed from shapes (element lists). */
#include "frontend/import_ops.h"

#include <string.h>

/* ---- reshape and relatives */

/* numerator / denominator for a dim given as -1, after dims that occur on both sides are cancelled.
 */
static const Expr *remaining_dim(Import *im, const Tensor *x, int count, const Expr *const *list,
                                 int hole)
{
    Cx *cx = im->cx;
    bool used[2 * MAX_RANK] = {false};
    const Expr *above = expr_const(cx, 1), *below = expr_const(cx, 1);
    for (int d = 0; d < x->rank; d++) {
        int match = -1;
        for (int k = 0; k < count && match < 0; k++)
            if (k != hole && !used[k] && list[k] == x->shape[d] && !expr_is_const(list[k], 0))
                match = k;
        if (match >= 0)
            used[match] = true;
        else
            above = expr_mul(cx, above, x->shape[d]);
    }
    for (int k = 0; k < count; k++)
        if (k != hole && !used[k])
            below = expr_mul(cx, below, list[k]);
    if (below->lo >= 1)
        return expr_floordiv(cx, above, below);
    fail(im, ST_bad_model, "a dim of -1 beside a dim that may be 0");
    return expr_const(cx, 1);
}

Tensor *import_reshape(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *list[2 * MAX_RANK];
    const int64_t *ints;
    int count, hole = -1;
    if (n->opset < 5) {
        if (!attr_list(im, n, "shape", &count, &ints) || count > MAX_RANK)
            return fail(im, ST_bad_model, "attribute 'shape' is missing or too long");
        for (int d = 0; d < count; d++)
            list[d] = expr_const(im->cx, ints[d]);
    } else if (!known_list(im, arg(im, n, 1), "the shape", &count, list)) {
        return graph_poison(im->graph);
    }
    bool zeros = attr_i(im, n, "allowzero", 0);
    for (int d = 0; d < count; d++) {
        if (expr_is_const(list[d], 0) && !zeros)
            list[d] = dim(im, x, d);
        if (list[d]->hi < 0 && (hole >= 0 || !expr_is_const(list[d], -1)))
            return fail(im, ST_bad_model, "the shape has several dims below 0");
        if (expr_is_const(list[d], -1))
            hole = d;
    }
    if (hole >= 0)
        list[hole] = remaining_dim(im, x, count, list, hole);
    return reshape(im, x, count, list);
}

Tensor *import_flatten(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axis = attr_i(im, n, "axis", 1);
    return flatten(im, x, axis == x->rank ? x->rank : axis_of(im, axis, x->rank));
}

Tensor *import_squeeze(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t list[2 * MAX_RANK], axes[MAX_RANK];
    const Expr *shape[MAX_RANK];
    bool gone[MAX_RANK] = {false};
    int count, rank = 0;
    if (!list_or_input(im, n, "axes", 1, &count, list))
        return graph_poison(im->graph);
    for (int d = 0; d < x->rank && count < 0; d++)
        gone[d] = expr_is_const(x->shape[d], 1);
    if (count > 0 && !axes_of(im, count, list, x->rank, axes))
        return graph_poison(im->graph);
    for (int i = 0; i < count; i++) {
        gone[axes[i]] = true;
        if (x->shape[axes[i]]->kind == EX_const && x->shape[axes[i]]->value != 1)
            return fail(im, ST_bad_model, "axis %d of %s is not 1", (int)axes[i],
                        tensor_shape_text(im->cx, x));
    }
    for (int d = 0; d < x->rank; d++)
        if (!gone[d])
            shape[rank++] = x->shape[d];
    return reshape(im, x, rank, shape);
}

Tensor *import_unsqueeze(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t list[2 * MAX_RANK], axes[MAX_RANK];
    const Expr *shape[MAX_RANK];
    bool new[MAX_RANK] = {false};
    int count;
    if (!list_or_input(im, n, "axes", 1, &count, list))
        return graph_poison(im->graph);
    if (count < 0 || x->rank + count > MAX_RANK)
        return fail(im, ST_bad_model, "%d new axes for %s", count, tensor_shape_text(im->cx, x));
    int rank = x->rank + count;
    if (!axes_of(im, count, list, rank, axes))
        return graph_poison(im->graph);
    for (int i = 0; i < count; i++) {
        if (new[axes[i]])
            return fail(im, ST_bad_model, "axis %d twice", (int)axes[i]);
        new[axes[i]] = true;
    }
    for (int d = 0, from = 0; d < rank; d++)
        shape[d] = new[d] ? expr_const(im->cx, 1) : x->shape[from++];
    return reshape(im, x, rank, shape);
}

Tensor *import_transpose(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const int64_t *perm;
    int64_t reversed[MAX_RANK];
    int count;
    if (attr_list(im, n, "perm", &count, &perm)) {
        if (count != x->rank)
            return fail(im, ST_bad_model, "perm of %d axes for %s", count,
                        tensor_shape_text(im->cx, x));
        for (int d = 0; d < count; d++)
            reversed[d] = axis_of(im, perm[d], count);
    } else {
        for (int d = 0; d < x->rank; d++)
            reversed[d] = x->rank - 1 - d;
    }
    return graph_transpose(im->graph, x, reversed);
}

Tensor *import_expand(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *list[2 * MAX_RANK], *shape[2 * MAX_RANK];
    int count;
    if (!known_list(im, arg(im, n, 1), "the shape", &count, list))
        return graph_poison(im->graph);
    int rank = count > x->rank ? count : x->rank;
    for (int d = 0; d < rank; d++) {
        int a = d - (rank - x->rank), b = d - (rank - count);
        const Expr *one = expr_const(im->cx, 1);
        shape[d] = graph_broadcast(im->graph, a >= 0 ? x->shape[a] : one, b >= 0 ? list[b] : one);
        if (!shape[d])
            return fail(im, ST_bad_model, "%s does not expand to dim %d of the shape",
                        tensor_shape_text(im->cx, x), b);
    }
    return graph_expand(im->graph, x, rank, shape);
}

/* [d] repeated r times is [d] -> [1, d] -> [r, d] -> [r * d]. */
/* Opset 1: how often, and along which axis, as numbers of the type of x. */
static bool read_tiles(Import *im, const OnnxNode *n, const Tensor *x, int *count,
                       const Expr **repeats)
{
    double tiles, axis;
    if (n->opset >= 6)
        return known_list(im, arg(im, n, 1), "repeats", count, repeats);
    if (!known_number(im, arg(im, n, 1), "tiles", &tiles) ||
        !known_number(im, arg(im, n, 2), "axis", &axis))
        return false;
    if (!(tiles >= 0 && tiles <= INT32_MAX && axis >= 0 && axis < x->rank)) {
        fail(im, ST_bad_model, "%g tiles along axis %g", tiles, axis);
        return false;
    }
    *count = x->rank;
    for (int d = 0; d < x->rank; d++)
        repeats[d] = expr_const(im->cx, d == (int)axis ? (int64_t)tiles : 1);
    return true;
}

Tensor *import_tile(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Cx *cx = im->cx;
    const Expr *repeats[2 * MAX_RANK], *apart[2 * MAX_RANK], *spread_out[2 * MAX_RANK],
        *joined[MAX_RANK];
    int count, rank = 0;
    if (tensor_is_poison(x) || !read_tiles(im, n, x, &count, repeats))
        return graph_poison(im->graph);
    if (count != x->rank)
        return fail(im, ST_bad_model, "%d repeats for %s", count, tensor_shape_text(cx, x));
    for (int d = 0; d < x->rank; d++) {
        bool splits = !expr_is_const(repeats[d], 1) && !expr_is_const(x->shape[d], 1);
        if (splits) {
            apart[rank] = expr_const(cx, 1);
            spread_out[rank++] = repeats[d];
        }
        apart[rank] = x->shape[d];
        spread_out[rank++] = expr_is_const(x->shape[d], 1) ? repeats[d] : x->shape[d];
        joined[d] = expr_mul(cx, x->shape[d], repeats[d]);
    }
    if (rank > MAX_RANK)
        return fail(im, ST_limit, "tile of more than %d axes in all", MAX_RANK);
    Tensor *y = graph_expand(im->graph, reshape(im, x, rank, apart), rank, spread_out);
    return reshape(im, y, x->rank, joined);
}

/* ---- concat, split, slice, pad */

Tensor *import_concat(Import *im, const OnnxNode *n)
{
    Tensor **parts = NEW_ARRAY(im->cx->arena, Tensor *, n->input_count + 1);
    for (uint32_t i = 0; i < n->input_count; i++)
        parts[i] = arg(im, n, i);
    if (!n->input_count || cx_failed(im->cx))
        return fail(im, ST_bad_model, "no inputs");
    int axis = axis_of(im, attr_i(im, n, "axis", n->opset < 4), parts[0]->rank);
    return graph_concat(im->graph, (int)n->input_count, parts, axis);
}

/* The sizes of equal parts, the last one smaller. */
static bool equal_parts(Import *im, const Expr *extent, uint32_t count, const Expr **sizes)
{
    const Expr *size = expr_ceildiv(im->cx, extent, expr_const(im->cx, count));
    bool divides = extent->div % (int64_t)count == 0;
    if (!divides && extent->kind != EX_const) {
        fail(im, ST_unsupported, "split of a dim into %u parts that may not be equal", count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        sizes[i] = size;
    if (!divides)
        sizes[count - 1] = expr_sub(im->cx, extent, expr_muli(im->cx, size, (int64_t)count - 1));
    return true;
}

Tensor *import_split(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *input = arg_maybe(im, n, 1), *first = NULL;
    Cx *cx = im->cx;
    int axis = axis_of(im, attr_i(im, n, "axis", 0), x->rank), listed = 0;
    uint32_t count = n->output_count;
    const Expr **sizes = NEW_ARRAY(cx->arena, const Expr *, count + 1);
    const int64_t *list;
    if (!count || cx_failed(cx))
        return fail(im, ST_bad_model, "no outputs");
    if (input) {
        if (!input->elements || tensor_count_const(cx, input) != count)
            return unknown(im, input, "the sizes of the parts");
        memcpy(sizes, input->elements, count * sizeof *sizes);
    } else if (attr_list(im, n, "split", &listed, &list)) {
        if ((uint32_t)listed != count)
            return fail(im, ST_bad_model, "%d parts for %u outputs", listed, count);
        for (uint32_t i = 0; i < count; i++)
            sizes[i] = expr_const(cx, list[i]);
    } else if (!equal_parts(im, dim(im, x, axis), count, sizes)) {
        return graph_poison(im->graph);
    }
    const Expr *start = expr_const(cx, 0);
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i]->lo < 0)
            return fail(im, ST_bad_model, "part %u has a size below 0", i);
        Tensor *part = slice_axis(im, x, axis, start, sizes[i]);
        first = i ? first : part;
        set_result(im, i, part);
        start = expr_add(cx, start, sizes[i]);
    }
    if (!graph_same_dim(im->graph, start, dim(im, x, axis)))
        return fail(im, ST_bad_model, "the parts do not add up to %s", tensor_shape_text(cx, x));
    return first;
}

/* A bound of a slice as a position: from the end when negative, clamped to [least, most]. */
static const Expr *bound(Import *im, const Expr *e, const Expr *extent, const Expr *least,
                         const Expr *most)
{
    Cx *cx = im->cx;
    if (e->kind == EX_const && e->value >= INT32_MAX && extent->kind != EX_const)
        return most;
    if (e->kind == EX_const && e->value <= -INT32_MAX)
        return least;
    if (e->kind == EX_const &&
        e->value >= INT32_MAX) /* extents are far below; keeps the sum in range */
        return expr_min(cx, expr_const(cx, e->value), most);
    if (e->hi < 0)
        e = expr_add(cx, e, extent);
    else if (e->lo < 0) {
        fail(im, ST_unsupported, "a bound that may be below or above 0");
        return least;
    }
    return expr_min(cx, expr_max(cx, e, least), most);
}

/* Start and size of axis d; the result lies inside by construction. */
static void slice_bounds(Import *im, const Expr *extent, const Expr *from, const Expr *until,
                         int64_t step, const Expr **start, const Expr **size)
{
    Cx *cx = im->cx;
    const Expr *zero = expr_const(cx, 0), *last = expr_addi(cx, extent, -1), *length;
    if (step > 0) {
        *start = bound(im, from, extent, zero, extent);
        length = expr_sub(cx, bound(im, until, extent, zero, extent), *start);
    } else {
        *start = bound(im, from, extent, expr_const(cx, -1), last);
        length = expr_sub(cx, *start, bound(im, until, extent, expr_const(cx, -1), last));
    }
    int64_t stride = step > 0 ? step : -step;
    *size = expr_max(cx, expr_ceildiv(cx, length, expr_const(cx, stride)), zero);
}

typedef struct SliceArgs {
    int count, axes, steps; /* -1 = not given */
    const Expr *starts[2 * MAX_RANK], *ends[2 * MAX_RANK];
    int64_t axis[2 * MAX_RANK], step[2 * MAX_RANK];
} SliceArgs;

static bool slice_attrs(Import *im, const OnnxNode *n, SliceArgs *s)
{
    const int64_t *starts, *ends, *axes;
    int ends_count;
    if (!attr_list(im, n, "starts", &s->count, &starts) ||
        !attr_list(im, n, "ends", &ends_count, &ends) || s->count != ends_count ||
        s->count > MAX_RANK) {
        fail(im, ST_bad_model, "attributes 'starts' and 'ends' are missing or differ in length");
        return false;
    }
    for (int i = 0; i < s->count; i++) {
        s->starts[i] = expr_const(im->cx, starts[i]);
        s->ends[i] = expr_const(im->cx, ends[i]);
    }
    s->steps = -1;
    if (!attr_list(im, n, "axes", &s->axes, &axes))
        s->axes = -1;
    for (int i = 0; i < s->axes && i < MAX_RANK; i++)
        s->axis[i] = axes[i];
    return !cx_failed(im->cx);
}

static bool slice_inputs(Import *im, const OnnxNode *n, SliceArgs *s)
{
    Tensor *axes = arg_maybe(im, n, 3), *steps = arg_maybe(im, n, 4);
    int ends;
    s->axes = s->steps = -1;
    if (!known_list(im, arg(im, n, 1), "starts", &s->count, s->starts) ||
        !known_list(im, arg(im, n, 2), "ends", &ends, s->ends) ||
        (axes && !known_ints(im, axes, "axes", &s->axes, s->axis)) ||
        (steps && !known_ints(im, steps, "steps", &s->steps, s->step)))
        return false;
    if (ends == s->count)
        return true;
    fail(im, ST_bad_model, "%d starts but %d ends", s->count, ends);
    return false;
}

/* Whether numbers are a matter of the run: not known, and not just an input of the model, whose
 * contents the caller can give. */
static bool is_computed(const Tensor *x)
{
    return x && !tensor_is_poison(x) && !x->elements &&
           (x->producer->op != OP_input || x->producer->graph->outer);
}

/* Number i of a list, as an i64 of rank 0. */
static Tensor *list_number(Import *im, Tensor *list, int i)
{
    const Expr *one = expr_const(im->cx, 1);
    Tensor *item = list->rank ? slice_axis(im, list, 0, expr_const(im->cx, i), one) : list;
    return to(im, reshape(im, item, 0, NULL), DT_i64);
}

/* Takes positions that the host works out in the run, axis by axis. */
static Tensor *open_slice(Import *im, const OnnxNode *n, Tensor *x)
{
    Tensor *lists[3] = {arg(im, n, 1), arg(im, n, 2), arg_maybe(im, n, 4)};
    Tensor *axes = arg_maybe(im, n, 3);
    int64_t list[2 * MAX_RANK], axis[MAX_RANK];
    int64_t count = cx_failed(im->cx) ? -1 : tensor_count_const(im->cx, lists[0]);
    int axis_count = (int)count;
    if (count < 0 || count > x->rank || lists[0]->rank > 1)
        return fail(im, ST_unsupported, "starts of unknown number");
    for (int i = 0; i < (int)count; i++)
        list[i] = i;
    if ((axes && !known_ints(im, axes, "axes", &axis_count, list)) ||
        !axes_of(im, axis_count, list, x->rank, axis))
        return graph_poison(im->graph);
    for (int k = 1; k < 3; k++)
        if (axis_count != count || (lists[k] && tensor_count_const(im->cx, lists[k]) != count))
            return fail(im, ST_bad_model, "starts, ends, axes and steps differ in number");
    for (int i = 0; i < (int)count && !tensor_is_poison(x); i++) {
        const Expr *extent = x->shape[axis[i]];
        Tensor *ends[4];
        for (int k = 0; k < 3; k++)
            ends[k] = lists[k] ? list_number(im, lists[k], i)
                               : expr_scalar(im, DT_i64, expr_const(im->cx, 1));
        ends[3] = expr_scalar(im, DT_i64, extent);
        const HostResult result = {DT_i64, 1, NULL, &extent};
        x = gather_axis(im, x, host(im, "positions", 4, ends, &result), (int)axis[i]);
    }
    return x;
}

Tensor *import_slice(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    SliceArgs s;
    if (n->opset >= 10 && !tensor_is_poison(x) &&
        (is_computed(arg_maybe(im, n, 1)) || is_computed(arg_maybe(im, n, 2)) ||
         is_computed(arg_maybe(im, n, 4))))
        return open_slice(im, n, x);
    if (!(n->opset < 10 ? slice_attrs(im, n, &s) : slice_inputs(im, n, &s)))
        return graph_poison(im->graph);
    if (s.count > x->rank || (s.axes >= 0 && s.axes != s.count) ||
        (s.steps >= 0 && s.steps != s.count))
        return fail(im, ST_bad_model, "slices %d axes of %s", s.count,
                    tensor_shape_text(im->cx, x));
    const Expr *starts[MAX_RANK], *sizes[MAX_RANK];
    int64_t steps[MAX_RANK];
    for (int d = 0; d < x->rank; d++) {
        starts[d] = expr_const(im->cx, 0);
        sizes[d] = x->shape[d];
        steps[d] = 1;
    }
    for (int i = 0; i < s.count; i++) {
        int d = s.axes < 0 ? i : axis_of(im, s.axis[i], x->rank);
        steps[d] = s.steps < 0 ? 1 : s.step[i];
        if (steps[d] == 0 || steps[d] == INT64_MIN)
            return fail(im, ST_bad_model, "step %lld", (long long)steps[d]);
        slice_bounds(im, x->shape[d], s.starts[i], s.ends[i], steps[d], &starts[d], &sizes[d]);
    }
    return graph_slice(im->graph, x, starts, sizes, steps);
}

static bool pad_amounts(Import *im, const OnnxNode *n, const Tensor *x, const Expr **before,
                        const Expr **after)
{
    const Expr *list[2 * MAX_RANK];
    const int64_t *ints = NULL;
    int64_t axes[2 * MAX_RANK];
    int count, axis_count = -1;
    Tensor *axis_input = n->opset >= 18 ? arg_maybe(im, n, 3) : NULL;
    if (n->opset < 11) {
        if (!attr_list(im, n, n->opset < 2 ? "paddings" : "pads", &count, &ints) ||
            count > 2 * MAX_RANK)
            count = -1;
        for (int i = 0; i < count; i++)
            list[i] = expr_const(im->cx, ints[i]);
    } else if (!known_list(im, arg(im, n, 1), "pads", &count, list)) {
        return false;
    }
    if (axis_input && !known_ints(im, axis_input, "axes", &axis_count, axes))
        return false;
    int padded = axis_count < 0 ? x->rank : axis_count;
    if (count != 2 * padded || padded > x->rank) {
        fail(im, ST_bad_model, "%d pads for %d axes of %s", count, padded,
             tensor_shape_text(im->cx, x));
        return false;
    }
    for (int d = 0; d < x->rank; d++)
        before[d] = after[d] = expr_const(im->cx, 0);
    for (int i = 0; i < padded; i++) {
        int d = axis_count < 0 ? i : axis_of(im, axes[i], x->rank);
        before[d] = list[i];
        after[d] = list[padded + i];
    }
    return !cx_failed(im->cx);
}

/* Mirrored and repeated data must be there: at most one reflection, and no edge of nothing. */
static bool pad_fits(Import *im, const Tensor *x, const char *mode, const Expr *const *before,
                     const Expr *const *after)
{
    if (strcmp(mode, "constant") == 0)
        return true;
    bool reflects = strcmp(mode, "reflect") == 0;
    for (int d = 0; d < x->rank; d++) {
        bool none = before[d]->hi <= 0 && after[d]->hi <= 0;
        int64_t most = before[d]->hi > after[d]->hi ? before[d]->hi : after[d]->hi;
        if (!none && (x->shape[d]->lo < 1 || (reflects && most >= x->shape[d]->lo))) {
            fail(im, ST_unsupported, "%s padding of axis %d of %s by up to %lld", mode, d,
                 tensor_shape_text(im->cx, x), (long long)most);
            return false;
        }
    }
    return true;
}

Tensor *import_pad(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *value = n->opset >= 11 ? arg_maybe(im, n, 2) : NULL;
    const char *mode = attr_s(im, n, "mode", "constant");
    const Expr *before[MAX_RANK], *after[MAX_RANK];
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    const char *known = NULL;
    for (int i = 0; i < 4; i++)
        known = strcmp(mode, modes[i]) == 0 ? modes[i] : known;
    if (!known)
        return fail(im, ST_bad_model, "mode '%s'", onnx_printable(im->cx->arena, mode));
    if (!pad_amounts(im, n, x, before, after) || !pad_fits(im, x, known, before, after))
        return graph_poison(im->graph);
    double fill = n->opset < 11 ? attr_f(im, n, "value", 0) : 0;
    value = value ? reshape(im, value, 0, NULL) : scalar(im, x, fill);
    return graph_pad(im->graph, x, value, before, after, known);
}

/* ---- gather and scatter */

/* A constant position that is surely inside is a slice; NULL when it is not. */
static Tensor *gather_one(Import *im, Tensor *x, const Tensor *ids, int axis)
{
    if (!ids->elements || ids->rank > 1 || tensor_count_const(im->cx, ids) != 1)
        return NULL;
    const Expr *at = ids->elements[0], *extent = x->shape[axis];
    if (at->hi < 0)
        at = expr_add(im->cx, at, extent);
    if (at->lo < 0 || !expr_always_lt(im->cx, at, extent))
        return NULL;
    Tensor *part = slice_axis(im, x, axis, at, expr_const(im->cx, 1));
    return ids->rank ? part : squeeze(im, part, axis);
}

Tensor *import_gather(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *ids = arg(im, n, 1);
    int axis = axis_of(im, attr_i(im, n, "axis", 0), x->rank);
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    Tensor *one = gather_one(im, x, ids, axis);
    return one ? one : graph_gather(im->graph, x, ids, axis);
}

Tensor *import_gather_elements(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1)};
    Attr at[AT_count] = {[AT_axis] =
                             attr_int(axis_of(im, attr_i(im, n, "axis", 0), inputs[0]->rank))};
    return graph_node(im->graph, OP_gather_elements, 2, inputs, at);
}

Tensor *import_gather_nd(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1)};
    Attr at[AT_count] = {[AT_axis] = attr_int(attr_i(im, n, "batch_dims", 0))};
    return graph_node(im->graph, OP_gather_nd, 2, inputs, at);
}

static void reduction(Import *im, const OnnxNode *n, Attr at[AT_count])
{
    static const struct {
        const char *name;
        Monoid monoid;
    } known[] = {{"add", M_sum}, {"mul", M_prod}, {"max", M_max}, {"min", M_min}};
    const char *name = attr_s(im, n, "reduction", "none");
    at[AT_mode] = attr_name("none");
    at[AT_monoid] = attr_int(M_sum);
    if (strcmp(name, "none") == 0)
        return;
    for (int i = 0; i < 4; i++)
        if (strcmp(name, known[i].name) == 0) {
            at[AT_mode] = attr_name("reduce");
            at[AT_monoid] = attr_int(known[i].monoid);
            return;
        }
    fail(im, ST_unsupported, "reduction '%s'", onnx_printable(im->cx->arena, name));
}

Tensor *import_scatter_elements(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1), arg(im, n, 2)};
    Attr at[AT_count] = {[AT_axis] =
                             attr_int(axis_of(im, attr_i(im, n, "axis", 0), inputs[0]->rank))};
    reduction(im, n, at);
    return graph_node(im->graph, OP_scatter_elements, 3, inputs, at);
}

Tensor *import_scatter_nd(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1), arg(im, n, 2)};
    Attr at[AT_count] = {{0}};
    reduction(im, n, at);
    return graph_node(im->graph, OP_scatter_nd, 3, inputs, at);
}

/* ---- shapes and constants */

Tensor *import_shape_of(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t rank = x->rank, from = attr_i(im, n, "start", 0),
            until = attr_i(im, n, "end", INT64_MAX);
    from = from < 0 ? from + rank : from;
    until = until < 0 ? until + rank : until;
    from = from < 0 ? 0 : from > rank ? rank : from;
    until = until > rank ? rank : until < from ? from : until;
    int64_t length[] = {until - from};
    return graph_elements(im->graph, 1, length, rank ? x->shape + from : NULL);
}

Tensor *import_size_of(Import *im, const OnnxNode *n)
{
    return expr_scalar(im, DT_i64, tensor_count(im->cx, arg(im, n, 0)));
}

Tensor *import_constant(Import *im, const OnnxNode *n)
{
    enum { LITERAL = 256 };
    static const char *const names[] = {"value",        "sparse_value", "value_float",
                                        "value_floats", "value_int",    "value_ints",
                                        "value_string", "value_strings"};
    const OnnxAttr *found = NULL;
    for (int i = 0; i < 8 && !found; i++)
        found = attr(im, n, names[i]);
    if (!found)
        return fail(im, ST_bad_model, "a constant without a value");
    int64_t shape[] = {found->count};
    int rank = found->type == OA_floats || found->type == OA_ints || found->type == OA_strings;
    const char *name = found->count > LITERAL ? n->outputs[0] : NULL;
    switch ((int)found->type) {
    case OA_float:
    case OA_floats: return graph_constant(im->graph, name, DT_f32, rank, shape, found->floats);
    case OA_int:
    case OA_ints: return graph_constant(im->graph, name, DT_i64, rank, shape, found->ints);
    case OA_string:
    case OA_strings: return text_constant(im, rank, shape, found->strings);
    case OA_tensor:
    case OA_sparse:
        name = found->tensors[0].count > LITERAL ? n->outputs[0] : NULL;
        return weight(im, &found->tensors[0], name);
    default:
        return fail(im, ST_unsupported, "a constant given as %s", onnx_attr_type_name(found->type));
    }
}

Tensor *import_constant_of_shape(Import *im, const OnnxNode *n)
{
    const Expr *list[2 * MAX_RANK];
    int count;
    if (!known_list(im, arg(im, n, 0), "the shape", &count, list))
        return graph_poison(im->graph);
    for (int d = 0; d < count; d++)
        if (list[d]->lo < 0)
            return fail(im, ST_bad_model, "a dim below 0");
    const OnnxAttr *value = attr(im, n, "value");
    Tensor *fill;
    if (!value)
        fill = graph_scalar(im->graph, DT_f32, 0);
    else if (value->type != OA_tensor || value->tensors[0].count != 1)
        return fail(im, ST_bad_model, "attribute 'value' is not a tensor of one element");
    else
        fill = graph_constant(im->graph, NULL, value->tensors[0].dtype, 0, NULL,
                              value->tensors[0].data);
    return graph_fill(im->graph, fill, count, list);
}

/* Number of elements of a range of floats with constant ends. */
static bool float_range(Import *im, const Tensor *const ends[3], const Expr **count)
{
    double from, until, step;
    if (!known_number(im, ends[0], "start", &from) || !known_number(im, ends[1], "limit", &until) ||
        !known_number(im, ends[2], "delta", &step))
        return false;
    double n = step != 0 ? (until - from) / step : -1;
    if (!(n < 1e15)) {
        fail(im, ST_bad_model, "a range of too many elements");
        return false;
    }
    int64_t whole = n > 0 ? (int64_t)n : 0;
    *count = expr_const(im->cx, whole + ((double)whole < n));
    return true;
}

/* Whether the number of elements is a matter of the run. */
static bool is_open_range(const Tensor *const ends[3])
{
    bool elements = true, constant = true;
    for (int i = 0; i < 3; i++) {
        elements &= ends[i]->elements != NULL;
        constant &= ends[i]->producer->op == OP_constant;
    }
    bool step = elements && ends[2]->elements[0]->kind == EX_const;
    return !step && !constant;
}

Tensor *import_nonzero(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *shape[] = {expr_const(im->cx, x->rank), NULL}, *most[] = {NULL, NULL};
    if (tensor_is_poison(x))
        return x;
    most[1] = tensor_count(im->cx, x);
    const HostResult result = {DT_i64, 2, shape, most};
    return host(im, "nonzero", 1, &x, &result);
}

Tensor *import_range(Import *im, const OnnxNode *n)
{
    Tensor *ends[3];
    Cx *cx = im->cx;
    for (uint32_t i = 0; i < 3; i++) {
        ends[i] = arg(im, n, i);
        if (!cx_failed(cx) && ends[i]->rank)
            ends[i] = reshape(im, ends[i], 0, NULL);
    }
    const Expr *count, *zero = expr_const(cx, 0);
    if (cx_failed(cx))
        return graph_poison(im->graph);
    if (is_open_range((const Tensor *const *)ends)) {
        const HostResult result = {ends[0]->dtype, 1, NULL, NULL};
        return host(im, "range", 3, ends, &result);
    }
    if (ends[0]->elements && ends[1]->elements && ends[2]->elements) {
        const Expr *step = ends[2]->elements[0],
                   *span = expr_sub(cx, ends[1]->elements[0], ends[0]->elements[0]);
        if (step->kind != EX_const || !step->value || step->value == INT64_MIN)
            return fail(im, ST_bad_model, "a step of 0");
        if (step->value < 0)
            span = expr_muli(cx, span, -1);
        const Expr *stride = expr_const(cx, step->value < 0 ? -step->value : step->value);
        count = expr_max(cx, expr_ceildiv(cx, span, stride), zero);
    } else if (!float_range(im, (const Tensor *const *)ends, &count)) {
        return graph_poison(im->graph);
    }
    Dtype dtype = ends[0]->dtype, compute = dtype_is_float(dtype) ? dtype_compute(dtype) : dtype;
    Tensor *at = graph_iota(im->graph, compute, 1, &count, 0);
    at = ew(im, S_mul, at, to(im, ends[2], compute));
    return to(im, ew(im, S_add, at, to(im, ends[0], compute)), dtype);
}

Tensor *import_one_hot(Import *im, const OnnxNode *n)
{
    Tensor *ids = arg(im, n, 0), *depth = arg(im, n, 1), *values = arg(im, n, 2);
    Cx *cx = im->cx;
    int axis = axis_of(im, attr_i(im, n, "axis", -1), ids->rank + 1);
    const Expr *shape[MAX_RANK], *length;
    double number;
    if (cx_failed(cx) || ids->rank >= MAX_RANK)
        return fail(im, ST_limit, "rank %d", ids->rank + 1);
    if (depth->elements && tensor_count_const(cx, depth) == 1)
        length = depth->elements[0];
    else if (known_number(im, depth, "depth", &number) && number >= 0 && number < 1e15)
        length = expr_const(cx, (int64_t)number);
    else
        return cx_failed(cx) ? graph_poison(im->graph)
                             : fail(im, ST_bad_model, "the depth is no size");
    for (int d = 0; d <= ids->rank; d++)
        shape[d] = d == axis ? length : expr_const(cx, 1);
    Tensor *at = to(im, ids, DT_i64), *extent = expr_scalar(im, DT_i64, length);
    Tensor *wrapped = ew(im, S_add, at, extent);
    at = unsqueeze(im, pick(im, ew(im, S_lt, at, scalar(im, at, 0)), wrapped, at), axis);
    Tensor *hit = ew(im, S_eq, at, graph_iota(im->graph, DT_i64, ids->rank + 1, shape, axis));
    if (values->rank != 1)
        return fail(im, ST_bad_model, "values of shape %s", tensor_shape_text(cx, values));
    Tensor *off = slice_axis(im, values, 0, expr_const(cx, 0), expr_const(cx, 1));
    Tensor *on = slice_axis(im, values, 0, expr_const(cx, 1), expr_const(cx, 1));
    return pick(im, hit, reshape(im, on, 0, NULL), reshape(im, off, 0, NULL));
}

/* Column minus row of the last two axes of x, as [rows, columns]. */
static Tensor *diagonal_of(Import *im, const Tensor *x)
{
    const Expr *one = expr_const(im->cx, 1);
    const Expr *row[] = {dim(im, x, -2), one}, *column[] = {one, dim(im, x, -1)};
    return ew(im, S_sub, graph_iota(im->graph, DT_i64, 2, column, 1),
              graph_iota(im->graph, DT_i64, 2, row, 0));
}

Tensor *import_eye_like(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t dtype = attr_i(im, n, "dtype", x->dtype);
    if (x->rank != 2 || dtype <= 0 || dtype >= DT_count)
        return fail(im, ST_bad_model, "expected a matrix, got %s", tensor_shape_text(im->cx, x));
    Tensor *k = expr_scalar(im, DT_i64, expr_const(im->cx, attr_i(im, n, "k", 0)));
    return to(im, ew(im, S_eq, diagonal_of(im, x), k), (Dtype)dtype);
}

Tensor *import_trilu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *k = arg_maybe(im, n, 1);
    k = k ? reshape(im, k, 0, NULL) : expr_scalar(im, DT_i64, expr_const(im->cx, 0));
    Tensor *d = diagonal_of(im, x);
    Tensor *kept = attr_i(im, n, "upper", 1) ? ew(im, S_le, k, d) : ew(im, S_le, d, k);
    return pick(im, kept, x, scalar(im, x, 0));
}

/* ---- blocks of pixels */

Tensor *import_depth_to_space(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t b = attr_i(im, n, "blocksize", 0);
    static const int64_t depth_first[] = {0, 3, 4, 1, 5, 2}, column_first[] = {0, 1, 4, 2, 5, 3};
    const char *mode = attr_s(im, n, "mode", "DCR");
    bool dcr = strcmp(mode, "DCR") == 0;
    if (x->rank != 4 || b < 1 || b > 1 << 15 || (!dcr && strcmp(mode, "CRD") != 0) ||
        x->shape[1]->div % (b * b))
        return fail(im, ST_bad_model, "blocks of %lld, mode %s, for %s", (long long)b,
                    onnx_printable(im->cx->arena, mode), tensor_shape_text(im->cx, x));
    Cx *cx = im->cx;
    const Expr *e = expr_const(cx, b), *c = expr_divi(cx, x->shape[1], b * b);
    const Expr *dcr_shape[] = {x->shape[0], e, e, c, x->shape[2], x->shape[3]};
    const Expr *crd_shape[] = {x->shape[0], c, e, e, x->shape[2], x->shape[3]};
    const Expr *result[] = {x->shape[0], c, expr_muli(cx, x->shape[2], b),
                            expr_muli(cx, x->shape[3], b)};
    Tensor *t = reshape(im, x, 6, dcr ? dcr_shape : crd_shape);
    if (tensor_is_poison(t))
        return t;
    return reshape(im, graph_transpose(im->graph, t, dcr ? depth_first : column_first), 4, result);
}

Tensor *import_space_to_depth(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t b = attr_i(im, n, "blocksize", 0);
    static const int64_t dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    const int64_t *perm = strcmp(attr_s(im, n, "mode", "DCR"), "CRD") == 0 ? crd : dcr;
    if (x->rank != 4 || b < 1 || b > 1 << 15 || x->shape[2]->div % b || x->shape[3]->div % b)
        return fail(im, ST_bad_model, "blocks of %lld for %s", (long long)b,
                    tensor_shape_text(im->cx, x));
    Cx *cx = im->cx;
    const Expr *e = expr_const(cx, b), *h = expr_divi(cx, x->shape[2], b),
               *w = expr_divi(cx, x->shape[3], b);
    const Expr *apart[] = {x->shape[0], x->shape[1], h, e, w, e};
    const Expr *result[] = {x->shape[0], expr_muli(cx, x->shape[1], b * b), h, w};
    Tensor *t = reshape(im, x, 6, apart);
    return tensor_is_poison(t) ? t : reshape(im, graph_transpose(im->graph, t, perm), 4, result);
}

/* Position t of batch b reads t when t >= length[b], else length[b] - 1 - t. */
Tensor *import_reverse_sequence(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *lengths = arg(im, n, 1);
    int time = axis_of(im, attr_i(im, n, "time_axis", 0), x->rank);
    int batch = axis_of(im, attr_i(im, n, "batch_axis", 1), x->rank);
    if (x->rank < 2 || time == batch)
        return fail(im, ST_bad_model, "one axis for time and batch of %s",
                    tensor_shape_text(im->cx, x));
    Tensor *length = along(im, to(im, lengths, DT_i64), batch, x->rank);
    Tensor *t = graph_iota(im->graph, DT_i64, x->rank, x->shape, time);
    Tensor *mirrored = ew(im, S_sub, ew(im, S_sub, length, scalar(im, length, 1)), t);
    Tensor *inputs[] = {x, pick(im, ew(im, S_lt, t, length), mirrored, t)};
    Attr at[AT_count] = {[AT_axis] = attr_int(time)};
    return graph_node(im->graph, OP_gather_elements, 2, inputs, at);
}
