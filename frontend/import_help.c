/* Formulas: the vocabulary importers are written in. Given poison, everything here gives poison (or
 * a harmless dim). */
#include "frontend/import_ops.h"

#include <string.h>

Tensor *ew(Import *im, ScalarOp op, Tensor *a, Tensor *b)
{
    return graph_map(im->graph, op, a, b, NULL);
}

Tensor *ew1(Import *im, ScalarOp op, Tensor *a)
{
    return graph_map(im->graph, op, a, NULL, NULL);
}

Tensor *pick(Import *im, Tensor *condition, Tensor *yes, Tensor *no)
{
    return graph_map(im->graph, S_select, condition, yes, no);
}

Tensor *scalar(Import *im, const Tensor *like, double value)
{
    if (tensor_is_poison(like))
        return graph_poison(im->graph);
    return graph_scalar(im->graph, like->dtype, value);
}

Tensor *number_table(Import *im, Dtype dtype, int count, const NumberList *lists, int64_t room,
                     Scalar rest)
{
    void *data = arena_alloc(im->cx->arena, (size_t)dtype_bytes(dtype, room));
    int64_t at = 0;
    for (int k = 0; k < count; k++)
        for (int64_t i = 0; i < lists[k].count; i++)
            dtype_store(dtype, data, at++, dtype_load(lists[k].dtype, lists[k].data, i));
    while (at < room)
        dtype_store(dtype, data, at++, rest);
    return graph_constant(im->graph, NULL, dtype, 1, &room, data);
}

int64_t table_room(int64_t count)
{
    int64_t step = 4;
    while (step < count / 8)
        step *= 2;
    return (count + step - 1) / step * step;
}

Tensor *clamp(Import *im, Tensor *x, double lo, double hi)
{
    return ew(im, S_min, ew(im, S_max, x, scalar(im, x, lo)), scalar(im, x, hi));
}

Tensor *sigmoid(Import *im, Tensor *x)
{
    Tensor *e = ew1(im, S_exp, ew1(im, S_neg, x));
    return ew(im, S_div, scalar(im, x, 1), ew(im, S_add, e, scalar(im, x, 1)));
}

Tensor *to(Import *im, Tensor *x, Dtype dtype)
{
    return graph_cast(im->graph, x, dtype);
}

Tensor *wide(Import *im, Tensor *x)
{
    if (tensor_is_poison(x))
        return x;
    if (dtype_is_float(x->dtype))
        return to(im, x, dtype_compute(x->dtype));
    return to(im, x, dtype_bits(x->dtype) > 16 ? DT_f64 : DT_f32);
}

Tensor *host(Import *im, const char *name, int count, Tensor *const *inputs,
             const HostResult *result)
{
    Tensor *out;
    graph_host(im->graph, name, count, inputs, 1, result, &out);
    return out;
}

static Tensor *copied(Import *im, Dtype dtype, int rank, int64_t count, const void *data)
{
    size_t bytes = (size_t)dtype_bytes(dtype, count);
    void *copy = arena_copy(im->cx->arena, data, bytes);
    return graph_constant(im->graph, NULL, dtype, rank, &count, copy);
}

Tensor *host_arg(Import *im, Tensor *maybe)
{
    return maybe ? maybe : copied(im, DT_u8, 1, 0, "");
}

Tensor *host_text(Import *im, const char *text)
{
    return copied(im, DT_u8, 1, (int64_t)strlen(text), text);
}

Tensor *host_int(Import *im, int64_t value)
{
    return copied(im, DT_i64, 0, 1, &value);
}

Tensor *host_ints(Import *im, int count, const int64_t *values)
{
    return copied(im, DT_i64, 1, count, values);
}

const Expr *dim(Import *im, const Tensor *x, int d)
{
    int at = d < 0 ? d + x->rank : d;
    if (!tensor_is_poison(x) && at >= 0 && at < x->rank)
        return x->shape[at];
    if (!tensor_is_poison(x))
        fail(im, ST_bad_model, "dim %d of a tensor %s", d, tensor_shape_text(im->cx, x));
    return expr_const(im->cx, 1);
}

int axis_of(Import *im, int64_t axis, int rank)
{
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    fail(im, ST_bad_model, "axis %lld of a tensor of rank %d", (long long)axis, rank);
    return 0;
}

bool axes_of(Import *im, int count, const int64_t *from, int rank, int64_t *axes)
{
    if (count > MAX_RANK) {
        fail(im, ST_bad_model, "%d axes of a tensor of rank %d", count, rank);
        return false;
    }
    for (int i = 0; i < count; i++)
        axes[i] = axis_of(im, from[i], rank);
    return !cx_failed(im->cx);
}

void want_input(Import *im, const char *name)
{
    ImportProblems *p = im->problems;
    for (uint32_t i = 0; i < p->wanted_count; i++)
        if (strcmp(p->wanted[i], name) == 0)
            return;
    VEC_PUSH(im->cx->arena, p->wanted, p->wanted_count, p->wanted_capacity, name);
}

static void want_above(Import *im, const Tensor *x, int depth)
{
    const GraphNode *node = x->producer;
    if (node->op == OP_input && x->name && !node->graph->outer)
        want_input(im, x->name);
    for (int i = 0; i < node->input_count && depth < 8 && i < 4; i++)
        want_above(im, node->inputs[i], depth + 1);
}

void want_inputs(Import *im, const Tensor *x)
{
    want_above(im, x, 0);
}

Tensor *unknown(Import *im, const Tensor *x, const char *what)
{
    if (tensor_is_poison(x))
        return graph_poison(im->graph);
    want_inputs(im, x);
    return fail(im, ST_unsupported,
                "%s must be known when compiling (a constant, or computed from shapes)", what);
}

bool known_list(Import *im, const Tensor *x, const char *what, int *count, const Expr **list)
{
    *count = 0;
    if (tensor_is_poison(x))
        return false;
    int64_t length = x->rank <= 1 ? tensor_count_const(im->cx, x) : -1;
    if (!x->elements || length < 0) {
        unknown(im, x, what);
        return false;
    }
    if (length > 2 * MAX_RANK) {
        fail(im, ST_unsupported, "%s lists %lld numbers", what, (long long)length);
        return false;
    }
    *count = (int)length;
    for (int i = 0; i < *count; i++)
        list[i] = x->elements[i];
    return true;
}

bool known_ints(Import *im, const Tensor *x, const char *what, int *count, int64_t *list)
{
    const Expr *exprs[2 * MAX_RANK];
    if (!known_list(im, x, what, count, exprs))
        return false;
    for (int i = 0; i < *count; i++) {
        if (exprs[i]->kind != EX_const) {
            fail(im, ST_unsupported, "%s must be numbers when compiling, not dims", what);
            return false;
        }
        list[i] = exprs[i]->value;
    }
    return true;
}

bool known_number(Import *im, const Tensor *x, const char *what, double *value)
{
    if (tensor_is_poison(x))
        return false;
    bool constant = x->producer->op == OP_constant && x->data && tensor_count_const(im->cx, x) == 1;
    Dtype compute = dtype_compute(x->dtype);
    if (!constant || compute == DT_none) {
        unknown(im, x, what);
        return false;
    }
    Scalar scalar = dtype_load(x->dtype, x->data, 0);
    *value = dtype_convert(DT_f64, compute, scalar).f;
    return true;
}

bool list_or_input(Import *im, const OnnxNode *n, const char *name, uint32_t i, int *count,
                   int64_t *list)
{
    const int64_t *from;
    Tensor *input = arg_maybe(im, n, i);
    if (input)
        return known_ints(im, input, name, count, list);
    if (!attr_list(im, n, name, count, &from)) {
        *count = -1;
        return !cx_failed(im->cx);
    }
    if (*count > 2 * MAX_RANK) {
        fail(im, ST_bad_model, "attribute '%s' lists %d numbers", name, *count);
        return false;
    }
    for (int k = 0; k < *count; k++)
        list[k] = from[k];
    return true;
}

Tensor *reshape(Import *im, Tensor *x, int rank, const Expr *const *shape)
{
    if (tensor_is_poison(x))
        return x;
    return graph_reshape(im->graph, x, rank, shape);
}

Tensor *along(Import *im, Tensor *x, int axis, int rank)
{
    if (tensor_is_poison(x) || cx_failed(im->cx))
        return graph_poison(im->graph);
    if (x->rank != 1 || axis >= rank || rank > MAX_RANK)
        return fail(im, ST_bad_model, "expected a list of one number per channel, got %s",
                    tensor_shape_text(im->cx, x));
    const Expr *shape[MAX_RANK];
    for (int d = 0; d < rank; d++)
        shape[d] = d == axis ? x->shape[0] : expr_const(im->cx, 1);
    return reshape(im, x, rank, shape);
}

Tensor *unsqueeze(Import *im, Tensor *x, int axis)
{
    const Expr *shape[MAX_RANK + 1];
    if (tensor_is_poison(x))
        return x;
    for (int d = 0; d <= x->rank; d++)
        shape[d] = d == axis ? expr_const(im->cx, 1) : x->shape[d - (d > axis)];
    return reshape(im, x, x->rank + 1, shape);
}

Tensor *squeeze(Import *im, Tensor *x, int axis)
{
    const Expr *shape[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    int rank = 0;
    for (int d = 0; d < x->rank; d++)
        if (d != axis)
            shape[rank++] = x->shape[d];
    return reshape(im, x, rank, shape);
}

Tensor *slice_axis(Import *im, Tensor *x, int axis, const Expr *start, const Expr *size)
{
    const Expr *starts[MAX_RANK], *sizes[MAX_RANK];
    int64_t steps[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    for (int d = 0; d < x->rank; d++) {
        starts[d] = d == axis ? start : expr_const(im->cx, 0);
        sizes[d] = d == axis ? size : x->shape[d];
        steps[d] = 1;
    }
    return graph_slice(im->graph, x, starts, sizes, steps);
}

Tensor *reduce(Import *im, Monoid monoid, Tensor *x, int count, const int64_t *axes, bool keep)
{
    return graph_reduce(im->graph, monoid, x, count, axes, keep);
}

Tensor *expr_scalar(Import *im, Dtype dtype, const Expr *value)
{
    if (value->kind == EX_const && !dtype_is_int(dtype))
        return graph_scalar(im->graph, dtype, (double)value->value);
    return to(im, graph_elements(im->graph, 0, NULL, &value), dtype);
}

Tensor *known_true(Import *im)
{
    static const bool yes[1] = {true};
    return graph_constant(im->graph, NULL, DT_bool, 0, NULL, yes);
}

Tensor *count_of(Import *im, const Tensor *x, int count, const int64_t *axes, Dtype dtype)
{
    const Expr *n = expr_const(im->cx, 1);
    for (int i = 0; i < count; i++)
        n = expr_mul(im->cx, n, dim(im, x, (int)axes[i]));
    return expr_scalar(im, dtype, n);
}

Tensor *mean(Import *im, Tensor *x, int count, const int64_t *axes, bool keep)
{
    if (tensor_is_poison(x))
        return x;
    return ew(im, S_div, reduce(im, M_sum, x, count, axes, keep),
              count_of(im, x, count, axes, x->dtype));
}

const Expr *product(Import *im, const Tensor *x, int from, int until)
{
    const Expr *n = expr_const(im->cx, 1);
    for (int d = from; d < until; d++)
        n = expr_mul(im->cx, n, dim(im, x, d));
    return n;
}

Tensor *flatten(Import *im, Tensor *x, int axis)
{
    if (tensor_is_poison(x))
        return x;
    const Expr *shape[] = {product(im, x, 0, axis), product(im, x, axis, x->rank)};
    return reshape(im, x, 2, shape);
}

Tensor *legacy_operand(Import *im, const OnnxNode *n, Tensor *a, Tensor *b)
{
    if (n->opset >= 7 || n->domain[0] || tensor_is_poison(a) || tensor_is_poison(b) ||
        !attr_i(im, n, "broadcast", 0) || !attr(im, n, "axis"))
        return b;
    int axis = axis_of(im, attr_i(im, n, "axis", 0), a->rank);
    const Expr *shape[MAX_RANK];
    if (axis + b->rank > a->rank)
        return fail(im, ST_bad_model, "shapes do not agree: %s by %s at axis %d",
                    tensor_shape_text(im->cx, a), tensor_shape_text(im->cx, b), axis);
    int rank = 0;
    for (int d = 0; d < b->rank; d++)
        shape[rank++] = b->shape[d];
    while (rank + axis < a->rank)
        shape[rank++] = expr_const(im->cx, 1);
    return reshape(im, b, rank, shape);
}

Tensor *spread(Import *im, Tensor *x, Tensor *p, int axis)
{
    if (tensor_is_poison(p) || tensor_is_poison(x) || p->rank == 0)
        return p;
    if (p->rank == 1 && (expr_is_const(p->shape[0], 1) || axis >= x->rank)) /* no such axis: one */
        return reshape(im, p, 0, NULL);
    if (p->rank == 1)
        return along(im, p, axis_of(im, axis, x->rank), x->rank);
    axis = axis_of(im, axis, x->rank);
    if (p->rank != x->rank)
        return fail(im, ST_bad_model, "scale of shape %s for %s", tensor_shape_text(im->cx, p),
                    tensor_shape_text(im->cx, x));
    if (p->shape[axis] == x->shape[axis])
        return p;
    const Expr *blocks = p->shape[axis], *extent = x->shape[axis], *shape[MAX_RANK + 1];
    if (blocks->kind != EX_const || extent->kind != EX_const || blocks->value < 1 ||
        p->rank == MAX_RANK)
        return fail(im, ST_unsupported, "blocks along an axis of unknown size");
    int64_t size = (extent->value + blocks->value - 1) / blocks->value;
    Tensor *split = unsqueeze(im, p, axis + 1);
    for (int d = 0; d <= p->rank; d++)
        shape[d] = d == axis + 1 ? expr_const(im->cx, size) : p->shape[d - (d > axis)];
    Tensor *wide_blocks = graph_expand(im->graph, split, p->rank + 1, shape);
    for (int d = 0; d < p->rank; d++)
        shape[d] = d == axis ? expr_const(im->cx, size * blocks->value) : p->shape[d];
    Tensor *flat = reshape(im, wide_blocks, p->rank, shape);
    return slice_axis(im, flat, axis, expr_const(im->cx, 0), extent);
}

Tensor *dequantize(Import *im, Tensor *x, Tensor *scale, Tensor *zero, int axis, Dtype result)
{
    if (tensor_is_poison(x) || tensor_is_poison(scale))
        return graph_poison(im->graph);
    bool whole =
        dtype_is_int(x->dtype) && dtype_bits(x->dtype) == 32; /* exact differences of int32 */
    Dtype between = whole ? x->dtype : DT_f32;
    Tensor *value = to(im, x, between);
    if (zero)
        value = ew(im, S_sub, value, spread(im, x, to(im, zero, between), axis));
    Tensor *factor = spread(im, x, to(im, scale, dtype_compute(scale->dtype)), axis);
    return to(im, ew(im, S_mul, to(im, value, dtype_compute(scale->dtype)), factor), result);
}

Tensor *quantize(Import *im, Tensor *x, Tensor *scale, Tensor *zero, Dtype result)
{
    if (tensor_is_poison(x) || tensor_is_poison(scale))
        return graph_poison(im->graph);
    Tensor *q = ew(im, S_div, x, scale);
    if (!dtype_is_int(result))
        return to(im, zero ? ew(im, S_add, q, to(im, zero, DT_f32)) : q, result);
    int bits = dtype_bits(result);
    if (bits > 16)
        return fail(im, ST_unsupported, "quantising to %s", dtype_name(result));
    bool is_signed = dtype_class(result) == DC_INT;
    double lo = is_signed ? -(double)(1 << (bits - 1)) : 0;
    double hi = is_signed ? (double)((1 << (bits - 1)) - 1) : (double)((1 << bits) - 1);
    q = ew1(im, S_round, q);
    if (zero)
        q = ew(im, S_add, q, to(im, zero, DT_f32));
    return to(im, clamp(im, q, lo, hi), result);
}
