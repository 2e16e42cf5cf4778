/* Importers: parts of an axis and axes of parts: Concat, Split, Slice, Pad. Bounds are known when
 * compiling (as element lists, which may hold dims), or are positions that the host works out in
 * the run. */
#include "frontend/import_ops.h"

#include <string.h>

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

/* The sizes of equal parts. With the number of parts as attribute (opset 18) the last is smaller
 * where they cannot be: those that the extent does not reach are empty. */
static bool equal_parts(Import *im, const OnnxNode *n, const Expr *extent, const Expr **sizes)
{
    Cx *cx = im->cx;
    const Expr *zero = expr_const(cx, 0), *count = expr_const(cx, n->output_count), *size;
    bool uneven = n->opset >= 18 && attr(im, n, "num_outputs");
    size = uneven ? expr_ceildiv(cx, extent, count) : graph_share(im->graph, extent, count);
    if (!size) {
        fail(im, ST_bad_model, "%u equal parts", n->output_count);
        return false;
    }
    for (uint32_t i = 0; i < n->output_count; i++) {
        const Expr *rest = expr_sub(cx, extent, expr_muli(cx, size, i));
        sizes[i] = uneven ? expr_min(cx, size, expr_max(cx, rest, zero)) : size;
    }
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
    } else if (!equal_parts(im, n, dim(im, x, axis), sizes)) {
        return graph_poison(im->graph);
    }
    const Expr *start = expr_const(cx, 0);
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i]->hi < 0)
            return fail(im, ST_bad_model, "part %u has a size below 0", i);
        if (sizes[i]->lo < 0) /* where it would be, the parts do not add up */
            sizes[i] = expr_max(cx, sizes[i], expr_const(cx, 0));
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

/* Takes positions that the host works out in the run, axis by axis. */
static Tensor *open_slice(Import *im, const OnnxNode *n, Tensor *x)
{
    Tensor *lists[3] = {arg(im, n, 1), arg(im, n, 2), arg_maybe(im, n, 4)};
    Tensor *axes = arg_maybe(im, n, 3);
    int64_t list[2 * MAX_RANK], axis[MAX_RANK];
    int64_t count = cx_failed(im->cx) ? -1 : tensor_count_const(im->cx, lists[0]);
    int axis_count = (int)count;
    for (int k = 0; k < 3; k++)
        if (lists[k])
            want_inputs(im, lists[k]);
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
        (is_open(arg_maybe(im, n, 1)) || is_open(arg_maybe(im, n, 2)) ||
         is_open(arg_maybe(im, n, 4))))
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

/* The axes that are padded. */
static bool pad_axes(Import *im, const OnnxNode *n, const Tensor *x, int *count, int *axes)
{
    int64_t list[2 * MAX_RANK];
    Tensor *input = n->opset >= 18 ? arg_maybe(im, n, 3) : NULL;
    *count = x->rank;
    for (int d = 0; d < x->rank; d++)
        list[d] = d;
    if (input && !known_ints(im, input, "axes", count, list))
        return false;
    if (*count > x->rank) {
        fail(im, ST_bad_model, "%d axes of %s", *count, tensor_shape_text(im->cx, x));
        return false;
    }
    for (int i = 0; i < *count; i++)
        axes[i] = axis_of(im, list[i], x->rank);
    return !cx_failed(im->cx);
}

static bool pad_amounts(Import *im, const OnnxNode *n, const Tensor *x, const Expr **before,
                        const Expr **after)
{
    const Expr *list[2 * MAX_RANK];
    const int64_t *ints = NULL;
    int count, padded, axes[MAX_RANK];
    if (n->opset < 11) {
        if (!attr_list(im, n, n->opset < 2 ? "paddings" : "pads", &count, &ints) ||
            count > 2 * MAX_RANK)
            count = -1;
        for (int i = 0; i < count; i++)
            list[i] = expr_const(im->cx, ints[i]);
    } else if (!known_list(im, arg(im, n, 1), "pads", &count, list)) {
        return false;
    }
    if (!pad_axes(im, n, x, &padded, axes))
        return false;
    if (count != 2 * padded) {
        fail(im, ST_bad_model, "%d pads for %d axes of %s", count, padded,
             tensor_shape_text(im->cx, x));
        return false;
    }
    for (int d = 0; d < x->rank; d++)
        before[d] = after[d] = expr_const(im->cx, 0);
    for (int i = 0; i < padded; i++) {
        before[axes[i]] = list[i];
        after[axes[i]] = list[padded + i];
    }
    return true;
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
        int64_t least = reflects ? most + 1 : 1;
        const Expr *extent = x->shape[d];
        if (none || extent->lo >= least)
            continue;
        /* an open extent is looked at in the run: it is the greater of itself and the least */
        if (extent->hi < least || most >= INT32_MAX ||
            !graph_same_dim(im->graph, expr_max(im->cx, extent, expr_const(im->cx, least)),
                            extent)) {
            fail(im, ST_unsupported, "%s padding of axis %d of %s by up to %lld", mode, d,
                 tensor_shape_text(im->cx, x), (long long)most);
            return false;
        }
    }
    return true;
}

/* Amounts below 0 take elements away, before the others repeat what is left. Gives what is left;
 * the amounts of its axes are 0 or more then. */
static Tensor *cropped(Import *im, Tensor *x, const Expr **before, const Expr **after)
{
    Cx *cx = im->cx;
    const Expr *zero = expr_const(cx, 0);
    for (int d = 0; d < x->rank && !tensor_is_poison(x); d++) {
        if (before[d]->kind != EX_const || after[d]->kind != EX_const ||
            (before[d]->value >= 0 && after[d]->value >= 0))
            continue;
        const Expr *extent = x->shape[d], *first = expr_max(cx, zero, expr_muli(cx, before[d], -1));
        const Expr *taken = expr_sub(cx, first, expr_min(cx, zero, after[d]));
        if (!graph_same_dim(im->graph, expr_max(cx, extent, taken), extent))
            return fail(im, ST_bad_model, "pads of %lld and %lld for axis %d of %s",
                        (long long)before[d]->value, (long long)after[d]->value, d,
                        tensor_shape_text(cx, x));
        const Expr *size = expr_max(cx, zero, expr_sub(cx, extent, taken));
        x = slice_axis(im, x, d, first, size);
        before[d] = expr_max(cx, zero, before[d]);
        after[d] = expr_max(cx, zero, after[d]);
    }
    return x;
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
    double fill = n->opset < 11 ? attr_f(im, n, "value", 0) : 0;
    value = value ? reshape(im, value, 0, NULL) : scalar(im, x, fill);
    if (n->opset >= 11 && is_open(arg_maybe(im, n, 1))) {
        OpenPad pad = {.x = x, .amounts = arg(im, n, 1), .fill = value, .mode = known};
        int axes[MAX_RANK];
        pad.axes = axes;
        return pad_axes(im, n, x, &pad.count, axes) ? open_pad(im, &pad) : graph_poison(im->graph);
    }
    if (!pad_amounts(im, n, x, before, after))
        return graph_poison(im->graph);
    x = cropped(im, x, before, after);
    if (tensor_is_poison(x) || !pad_fits(im, x, known, before, after))
        return graph_poison(im->graph);
    return graph_pad(im->graph, x, value, before, after, known);
}
