/* Importers: tensors that come from no element of another: constants, shapes, ranges, and masks by
 * position (one-hot, diagonals). */
#include "frontend/import_ops.h"

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
    if (!sizes_of(im, arg(im, n, 0), "the shape", &count, list))
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
