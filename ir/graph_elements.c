/* Element lists: what an operation makes of small integer tensors whose contents are known as
 * expressions.
 *
 * This is how Shape -> Gather -> Concat -> Reshape vanishes. Expressions are exact integers while
 * tensors wrap, so a result is kept only when its bounds fit the type; whatever is not certain (a
 * comparison that the bounds do not decide, a division of unknown sign) makes no list, and the
 * operation stays in the graph. Data movement is one function: for each position of the result, the
 * position in the input. */
#include "ir/graph_infer.h"

#include <string.h>

enum { MOST = GRAPH_MAX_ELEMENTS };

typedef struct Shape {
    int rank;
    int64_t dims[MAX_RANK], count;
} Shape;

static bool constant_shape(const Tensor *tensor, Shape *shape)
{
    shape->rank = tensor->rank;
    shape->count = 1;
    for (int d = 0; d < tensor->rank; d++) {
        const Expr *e = tensor->shape[d];
        if (e->kind != EX_const || e->value < 0 || e->value > MOST)
            return false;
        shape->dims[d] = e->value;
        shape->count *= e->value;
        if (shape->count > MOST)
            return false;
    }
    return true;
}

/* Whether an expression stays within the values of an integer type or bool. */
static bool fits(Dtype dtype, const Expr *e)
{
    int bits = dtype_bits(dtype);
    int64_t lo = 0, hi = INT64_MAX;
    if (expr_is_poison(e))
        return false;
    if (dtype == DT_i64)
        return true;
    if (dtype == DT_bool)
        hi = 1;
    else if (dtype_class(dtype) == DC_INT)
        lo = -(INT64_C(1) << (bits - 1)), hi = (INT64_C(1) << (bits - 1)) - 1;
    else if (bits < 64)
        hi = (INT64_C(1) << bits) - 1;
    return e->lo >= lo && e->hi <= hi;
}

const Expr **graph_data_elements(Cx *cx, Dtype dtype, int64_t count, const void *data)
{
    if ((!dtype_is_int(dtype) && dtype != DT_bool) || count > MOST || (count && !data))
        return NULL;
    const Expr **list = NEW_ARRAY(cx->arena, const Expr *, count + 1);
    for (int64_t i = 0; i < count; i++) {
        int64_t value = dtype_load(dtype, data, i).i;
        if (dtype == DT_u64 && value < 0)
            return NULL;
        list[i] = expr_const(cx, dtype == DT_bool ? value != 0 : value);
    }
    return list;
}

static void unravel(const Shape *shape, int64_t at, int64_t *index)
{
    for (int d = shape->rank - 1; d >= 0; d--) {
        index[d] = at % shape->dims[d];
        at /= shape->dims[d];
    }
}

static int64_t ravel(const Shape *shape, const int64_t *index)
{
    int64_t at = 0;
    for (int d = 0; d < shape->rank; d++)
        at = at * shape->dims[d] + index[d];
    return at;
}

/* The element of `x` that broadcasts to `index` of a shape of `rank` dims. */
static const Expr *broadcast_element(const Tensor *x, const Shape *shape, int rank,
                                     const int64_t *index)
{
    int64_t own[MAX_RANK];
    for (int d = 0; d < shape->rank; d++)
        own[d] = shape->dims[d] == 1 ? 0 : index[rank - shape->rank + d];
    return x->elements[ravel(shape, own)];
}

/* ---- scalars */

static const Expr *truth(Cx *cx, bool yes, bool no)
{
    return yes ? expr_const(cx, 1) : no ? expr_const(cx, 0) : NULL;
}

static const Expr *equal(Cx *cx, const Expr *a, const Expr *b)
{
    bool differ = expr_always_lt(cx, a, b) || expr_always_lt(cx, b, a);
    return truth(cx, a == b, differ);
}

static const Expr *negate(const Expr *e, Cx *cx)
{
    return e ? expr_const(cx, !expr_is_const(e, 1)) : NULL;
}

static const Expr *constants(Cx *cx, ScalarOp op, Dtype dtype, const Expr *const arg[3])
{
    Scalar args[3] = {{0}};
    for (int i = 0; i < scalar_arity(op); i++) {
        if (arg[i]->kind != EX_const)
            return NULL;
        args[i].i = arg[i]->value;
    }
    if (!scalar_accepts(op, dtype_compute(dtype)))
        return NULL;
    Scalar value = scalar_eval(op, dtype_compute(dtype), args);
    if (!scalar_gives_bool(op))
        value = dtype_convert(dtype, dtype_compute(dtype), value);
    return expr_const(cx, value.i);
}

/* NULL when the result is no expression. */
static const Expr *symbolic(Cx *cx, ScalarOp op, const Expr *const arg[3])
{
    const Expr *a = arg[0], *b = arg[1];
    switch ((int)op) {
    case S_add: return expr_add(cx, a, b);
    case S_sub: return expr_sub(cx, a, b);
    case S_mul: return expr_mul(cx, a, b);
    case S_min: return expr_min(cx, a, b);
    case S_max: return expr_max(cx, a, b);
    case S_div: return a->lo >= 0 && b->lo > 0 ? expr_floordiv(cx, a, b) : NULL;
    case S_mod: return b->lo > 0 || b->hi < 0 ? expr_mod(cx, a, b) : NULL;
    case S_fmod: return a->lo >= 0 && b->lo > 0 ? expr_mod(cx, a, b) : NULL;
    case S_neg: return expr_muli(cx, a, -1);
    case S_abs: return expr_max(cx, a, expr_muli(cx, a, -1));
    case S_sign: return a->lo > 0 ? expr_const(cx, 1) : NULL;
    case S_eq: return equal(cx, a, b);
    case S_ne: return negate(equal(cx, a, b), cx);
    case S_lt: return truth(cx, expr_always_lt(cx, a, b), expr_always_le(cx, b, a));
    case S_le: return truth(cx, expr_always_le(cx, a, b), expr_always_lt(cx, b, a));
    case S_select: return a->kind == EX_const ? (a->value ? b : arg[2]) : NULL;
    default: return NULL;
    }
}

static const Expr *map_element(Graph *graph, ScalarOp op, Dtype operand, Dtype result,
                               const Expr *const arg[3])
{
    const Expr *e = constants(graph->cx, op, operand, arg);
    if (!e)
        e = symbolic(graph->cx, op, arg);
    return e && fits(result, e) ? e : NULL;
}

static void fold_map(Graph *graph, const GraphNode *node, const Shape *shape, const Expr **list,
                     Tensor *out)
{
    ScalarOp op = (ScalarOp)node->attrs[AT_scalar].i;
    Dtype operand = node->inputs[op == S_select ? 1 : 0]->dtype;
    Shape own[3];
    for (int k = 0; k < node->input_count; k++)
        if (!node->inputs[k]->elements || !constant_shape(node->inputs[k], &own[k]))
            return;
    for (int64_t i = 0; i < shape->count; i++) {
        int64_t index[MAX_RANK];
        const Expr *arg[3] = {NULL, NULL, NULL};
        unravel(shape, i, index);
        for (int k = 0; k < node->input_count; k++)
            arg[k] = broadcast_element(node->inputs[k], &own[k], shape->rank, index);
        list[i] = map_element(graph, op, operand, out->dtype, arg);
        if (!list[i])
            return;
    }
    out->elements = list;
}

static void fold_cast(Graph *graph, const GraphNode *node, const Shape *shape, const Expr **list,
                      Tensor *out)
{
    const Tensor *x = node->inputs[0];
    for (int64_t i = 0; i < shape->count; i++) {
        const Expr *e = x->elements[i];
        if (e->kind == EX_const) {
            Scalar value = dtype_convert(out->dtype, x->dtype, (Scalar){.i = e->value});
            e = expr_const(graph->cx, value.i);
        } else if (out->dtype == DT_bool) {
            e = truth(graph->cx, e->lo > 0 || e->hi < 0, false);
        }
        if (!e || !fits(out->dtype, e))
            return;
        list[i] = e;
    }
    out->elements = list;
}

/* ---- data movement */

/* Position in the input for `index` of the result; false when it is not known. -1: the fill of a
 * pad. */
static bool source_index(const GraphNode *node, const Shape *in, const int64_t *index, int64_t *own)
{
    const Attr *at = node->attrs;
    for (int d = 0; d < in->rank; d++) {
        int64_t i = d < node->output->rank ? index[d] : 0;
        switch ((int)node->op) {
        case OP_transpose: own[at[AT_perm].ints[d]] = i; continue;
        case OP_expand: i = index[node->output->rank - in->rank + d] * (in->dims[d] != 1); break;
        case OP_slice: {
            const Expr *start = at[AT_starts].exprs[d];
            if (start->kind != EX_const)
                return false;
            i = start->value + i * at[AT_steps].ints[d];
            break;
        }
        case OP_pad: {
            const Expr *before = at[AT_before].exprs[d];
            if (before->kind != EX_const || strcmp(at[AT_mode].name, "constant") != 0)
                return false;
            i -= before->value;
            if (i < 0 || i >= in->dims[d])
                i = -1;
            break;
        }
        default: break;
        }
        if (i >= in->dims[d] || (i < 0 && node->op != OP_pad))
            return false;
        own[d] = i;
    }
    return true;
}

static void fold_movement(const GraphNode *node, const Shape *shape, const Expr **list, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    Shape in;
    if (!constant_shape(x, &in))
        return;
    for (int64_t i = 0; i < shape->count; i++) {
        int64_t index[MAX_RANK], own[MAX_RANK];
        bool inside = true;
        unravel(shape, i, index);
        if (!source_index(node, &in, index, own))
            return;
        for (int d = 0; d < in.rank; d++)
            inside &= own[d] >= 0;
        if (!inside && !node->inputs[1]->elements)
            return;
        list[i] = inside ? x->elements[ravel(&in, own)] : node->inputs[1]->elements[0];
    }
    out->elements = list;
}

static void fold_gather(const GraphNode *node, const Shape *shape, const Expr **list, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1];
    int axis = (int)node->attrs[AT_axis].i;
    Shape in, which;
    if (!ids->elements || !constant_shape(x, &in) || !constant_shape(ids, &which))
        return;
    for (int64_t i = 0; i < shape->count; i++) {
        int64_t index[MAX_RANK], own[MAX_RANK];
        unravel(shape, i, index);
        const Expr *at = ids->elements[ravel(&which, index + axis)];
        if (at->kind != EX_const || at->value < -in.dims[axis] || at->value >= in.dims[axis])
            return;
        for (int d = 0; d < in.rank; d++)
            own[d] = d < axis ? index[d] : d > axis ? index[d + which.rank - 1] : 0;
        own[axis] = at->value < 0 ? at->value + in.dims[axis] : at->value;
        list[i] = x->elements[ravel(&in, own)];
    }
    out->elements = list;
}

static void fold_concat(const GraphNode *node, const Shape *shape, const Expr **list, Tensor *out)
{
    int axis = (int)node->attrs[AT_axis].i;
    int64_t start = 0;
    for (int k = 0; k < node->input_count; k++) {
        const Tensor *x = node->inputs[k];
        Shape in;
        if (!x->elements || !constant_shape(x, &in))
            return;
        for (int64_t i = 0; i < in.count; i++) {
            int64_t index[MAX_RANK];
            unravel(&in, i, index);
            index[axis] += start;
            list[ravel(shape, index)] = x->elements[i];
        }
        start += in.dims[axis];
    }
    out->elements = list;
}

static void fold_reduce(Graph *graph, const GraphNode *node, const Shape *shape, const Expr **list,
                        Tensor *out)
{
    const Tensor *x = node->inputs[0];
    Monoid monoid = (Monoid)node->attrs[AT_monoid].i;
    const Attr *axes = &node->attrs[AT_axes];
    Shape in;
    if (!constant_shape(x, &in) || !in.count)
        return;
    for (int64_t i = 0; i < in.count; i++) {
        int64_t index[MAX_RANK], own[MAX_RANK];
        int rank = 0;
        unravel(&in, i, index);
        for (int d = 0; d < in.rank; d++) {
            bool reduced = false;
            for (int k = 0; k < axes->count; k++)
                reduced |= axes->ints[k] == d;
            if (!reduced || node->attrs[AT_keep].i)
                own[rank++] = reduced ? 0 : index[d];
        }
        int64_t at = ravel(shape, own);
        const Expr *arg[3] = {list[at], x->elements[i], NULL};
        list[at] = arg[0] ? map_element(graph, monoid_combine(monoid), x->dtype, x->dtype, arg)
                          : x->elements[i];
        if (!list[at])
            return;
    }
    out->elements = list;
}

static void fold_shape(const GraphNode *node, const Expr **list, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    memcpy(list, x->shape, (size_t)x->rank * sizeof *list);
    out->elements = list;
}

static void fold_iota(Graph *graph, const GraphNode *node, const Shape *shape, const Expr **list,
                      Tensor *out)
{
    for (int64_t i = 0; i < shape->count; i++) {
        int64_t index[MAX_RANK];
        unravel(shape, i, index);
        list[i] = expr_const(graph->cx, index[node->attrs[AT_axis].i]);
        if (!fits(out->dtype, list[i]))
            return;
    }
    out->elements = list;
}

void graph_fold_elements(Graph *graph, const GraphNode *node, Tensor *out)
{
    Shape shape;
    if ((!dtype_is_int(out->dtype) && out->dtype != DT_bool) || !constant_shape(out, &shape))
        return;
    const Tensor *x = node->input_count ? node->inputs[0] : NULL;
    const Expr **list = NEW_ARRAY(graph->cx->arena, const Expr *, shape.count + 1);
    if (x && !x->elements && node->op != OP_shape_value)
        return;
    switch ((int)node->op) {
    case OP_map: fold_map(graph, node, &shape, list, out); break;
    case OP_cast: fold_cast(graph, node, &shape, list, out); break;
    case OP_reshape: out->elements = x->elements; break;
    case OP_transpose:
    case OP_slice:
    case OP_pad:
    case OP_expand: fold_movement(node, &shape, list, out); break;
    case OP_fill:
        for (int64_t i = 0; i < shape.count; i++)
            list[i] = x->elements[0];
        out->elements = list;
        break;
    case OP_gather: fold_gather(node, &shape, list, out); break;
    case OP_concat: fold_concat(node, &shape, list, out); break;
    case OP_reduce: fold_reduce(graph, node, &shape, list, out); break;
    case OP_shape_value: fold_shape(node, list, out); break;
    case OP_iota: fold_iota(graph, node, &shape, list, out); break;
    case OP_dim_value: out->elements = node->attrs[AT_elements].exprs; break;
    default: break;
    }
}
