/* Shape inference: what each operation of graph.def makes of its inputs, over dims that are
 * expressions.
 *
 * Rules for dims that are not numbers: two dims that must agree are taken to agree unless their
 * bounds exclude it, and a check is noted for when they are known (graph_same_dim); a dim that may
 * be 1 broadcasts either way (graph_broadcast). Slices and gathers of the importers clamp by
 * construction; here starts and sizes are only refused when they are surely wrong.
 *
 * What moves elements is in graph_infer_move.c, windows are in graph_infer_window.c. */
#include "ir/graph_infer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tensor_print_type(Text *text, const Tensor *tensor)
{
    if (tensor->dtype == DT_none) {
        text_add(text, "bundle");
        return;
    }
    text_add(text, "%s [", dtype_name(tensor->dtype));
    for (int d = 0; d < tensor->rank; d++) {
        text_add(text, d ? ", " : "");
        expr_print(text, tensor->shape[d]);
    }
    text_add(text, "]");
}

const char *tensor_shape_text(Cx *cx, const Tensor *tensor)
{
    Text text;
    text_init(&text, cx->arena);
    tensor_print_type(&text, tensor);
    return strchr(text.data, '[');
}

void infer_fail(Graph *graph, const char *fmt, ...)
{
    char message[700];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cx_fail(graph->cx, ST_bad_model, "%s", message);
}

void infer_disagree(Graph *graph, const Tensor *a, const Tensor *b)
{
    infer_fail(graph, "shapes do not agree: %s by %s", tensor_shape_text(graph->cx, a),
               tensor_shape_text(graph->cx, b));
}

void infer_copy_type(const Tensor *from, Tensor *out)
{
    out->dtype = from->dtype;
    out->rank = from->rank;
    memcpy(out->shape, from->shape, (size_t)from->rank * sizeof *from->shape);
}

bool infer_has_list(Graph *graph, const GraphNode *node, AttrName name, int count)
{
    const Attr *attr = &node->attrs[name];
    if (attr->set && attr->count == count)
        return true;
    infer_fail(graph, "%s: an attribute lists %d numbers, not %d", graph_op_name(node->op),
               attr->count, count);
    return false;
}

bool infer_has_axis(Graph *graph, const GraphNode *node, int rank)
{
    const Attr *axis = &node->attrs[AT_axis];
    if (axis->set && axis->i >= 0 && axis->i < rank)
        return true;
    infer_fail(graph, "%s: axis %lld of a tensor of rank %d", graph_op_name(node->op),
               (long long)axis->i, rank);
    return false;
}

bool infer_same_dtype(Graph *graph, const Tensor *a, const Tensor *b)
{
    if (a->dtype == b->dtype)
        return true;
    infer_fail(graph, "types do not agree: %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
    return false;
}

bool infer_set_shape(Graph *graph, const Attr *shape, Tensor *out)
{
    if (!shape->set || shape->count > MAX_RANK) {
        infer_fail(graph, "rank %d: tensors have at most %d dims", shape->count, MAX_RANK);
        return false;
    }
    out->rank = shape->count;
    for (int d = 0; d < out->rank; d++) {
        out->shape[d] = shape->exprs[d];
        if (shape->exprs[d]->hi < 0 && !expr_is_poison(shape->exprs[d])) {
            infer_fail(graph, "a dim is negative: %lld", (long long)shape->exprs[d]->hi);
            return false;
        }
    }
    return true;
}

void infer_constant(Graph *graph, const GraphNode *node, Tensor *out)
{
    (void)node, (void)out;
    cx_fail(graph->cx, ST_internal, "constants are made by graph_constant");
}

void infer_fill(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = node->inputs[0]->dtype;
    if (node->inputs[0]->rank)
        infer_fail(graph, "fill with a tensor of rank %d", node->inputs[0]->rank);
    infer_set_shape(graph, &node->attrs[AT_shape], out);
}

void infer_iota(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = (Dtype)node->attrs[AT_dtype].i;
    if (infer_set_shape(graph, &node->attrs[AT_shape], out) &&
        infer_has_axis(graph, node, out->rank) && !dtype_is_int(out->dtype) &&
        !dtype_is_float(out->dtype))
        infer_fail(graph, "positions of type %s", dtype_name(out->dtype));
}

/* Broadcasts `x` into the shape collected so far. */
static bool broadcast_into(Graph *graph, const Tensor *x, Tensor *out)
{
    const Expr *one = expr_const(graph->cx, 1);
    int rank = x->rank > out->rank ? x->rank : out->rank;
    for (int d = 1; d <= rank; d++) {
        const Expr *a = d <= out->rank ? out->shape[out->rank - d] : one;
        const Expr *b = d <= x->rank ? x->shape[x->rank - d] : one;
        const Expr *dim = graph_broadcast(graph, a, b);
        if (!dim)
            return false;
        if (d <= out->rank) {
            out->shape[out->rank - d] = dim;
        } else {
            memmove(out->shape + 1, out->shape, (size_t)out->rank * sizeof *out->shape);
            out->shape[0] = dim;
            out->rank++;
        }
    }
    return true;
}

void infer_map(Graph *graph, const GraphNode *node, Tensor *out)
{
    int64_t op = node->attrs[AT_scalar].i;
    if (!node->attrs[AT_scalar].set || op < 0 || op >= S_count ||
        scalar_arity((ScalarOp)op) != node->input_count) {
        cx_fail(graph->cx, ST_internal, "map without a scalar operation of %d operands",
                node->input_count);
        return;
    }
    Dtype types[3] = {DT_none, DT_none, DT_none};
    int first = op == S_select;
    for (int i = 0; i < node->input_count; i++) {
        types[i] = dtype_compute(node->inputs[i]->dtype);
        if (i > first && !infer_same_dtype(graph, node->inputs[first], node->inputs[i]))
            return;
    }
    if (types[first] == DT_none) {
        cx_fail(graph->cx, ST_unsupported, "%s has no kernel for %s", scalar_name((ScalarOp)op),
                dtype_name(node->inputs[first]->dtype));
        return;
    }
    if (scalar_result((ScalarOp)op, types) == DT_none) {
        infer_fail(graph, "%s is not defined on %s", scalar_name((ScalarOp)op),
                   dtype_name(node->inputs[first]->dtype));
        return;
    }
    out->dtype = scalar_gives_bool((ScalarOp)op) ? DT_bool : node->inputs[first]->dtype;
    for (int i = 0; i < node->input_count; i++)
        if (!broadcast_into(graph, node->inputs[i], out)) {
            infer_disagree(graph, node->inputs[0], node->inputs[i]);
            return;
        }
}

void infer_cast(Graph *graph, const GraphNode *node, Tensor *out)
{
    Dtype to = (Dtype)node->attrs[AT_dtype].i;
    infer_copy_type(node->inputs[0], out);
    out->dtype = to;
    if (to <= DT_none || to >= DT_count || dtype_compute(to) == DT_none ||
        dtype_compute(node->inputs[0]->dtype) == DT_none)
        cx_fail(graph->cx, ST_unsupported, "cast from %s to %s", dtype_name(node->inputs[0]->dtype),
                to > DT_none && to < DT_count ? dtype_name(to) : "?");
}

void infer_bitcast(Graph *graph, const GraphNode *node, Tensor *out)
{
    Dtype to = (Dtype)node->attrs[AT_dtype].i, from = node->inputs[0]->dtype;
    infer_copy_type(node->inputs[0], out);
    out->dtype = to;
    if (to <= DT_none || to >= DT_count || dtype_bits(to) != dtype_bits(from) || !dtype_bits(to))
        infer_fail(graph, "bitcast from %s to a type of another size", dtype_name(from));
}

/* The set of listed axes; fails for a bad or repeated one. */
static uint32_t axis_set(Graph *graph, const GraphNode *node, int rank)
{
    const Attr *axes = &node->attrs[AT_axes];
    uint32_t set = 0;
    for (int i = 0; i < axes->count; i++) {
        if (axes->ints[i] < 0 || axes->ints[i] >= rank || (set >> axes->ints[i] & 1)) {
            infer_fail(graph, "%s: axis %lld of a tensor of rank %d (axes must differ)",
                       graph_op_name(node->op), (long long)axes->ints[i], rank);
            return 0;
        }
        set |= 1u << axes->ints[i];
    }
    return set;
}

static void remove_axes(Graph *graph, const Tensor *x, uint32_t set, bool keep, Tensor *out)
{
    out->rank = 0;
    for (int d = 0; d < x->rank; d++)
        if (!(set >> d & 1))
            out->shape[out->rank++] = x->shape[d];
        else if (keep)
            out->shape[out->rank++] = expr_const(graph->cx, 1);
}

void infer_reduce(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int64_t monoid = node->attrs[AT_monoid].i;
    out->dtype = x->dtype;
    Dtype compute = dtype_compute(x->dtype);
    if (monoid < 0 || monoid > M_or || compute == DT_none ||
        !monoid_accepts((Monoid)monoid, compute)) {
        infer_fail(graph, "this reduction is not defined on %s", dtype_name(x->dtype));
        return;
    }
    remove_axes(graph, x, axis_set(graph, node, x->rank), node->attrs[AT_keep].i, out);
}

void infer_arg(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int64_t monoid = node->attrs[AT_monoid].i;
    Dtype compute = dtype_compute(x->dtype);
    out->dtype = DT_i64;
    if (!infer_has_axis(graph, node, x->rank))
        return;
    if ((monoid != M_argmin && monoid != M_argmax) || compute == DT_none ||
        !scalar_accepts(S_lt, compute))
        infer_fail(graph, "position of the extreme of %s", dtype_name(x->dtype));
    remove_axes(graph, x, 1u << node->attrs[AT_axis].i, node->attrs[AT_keep].i, out);
}

void infer_scan(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int64_t monoid = node->attrs[AT_monoid].i;
    Dtype compute = dtype_compute(x->dtype);
    infer_copy_type(x, out);
    if (infer_has_axis(graph, node, x->rank) &&
        (monoid < 0 || monoid > M_or || compute == DT_none ||
         !monoid_accepts((Monoid)monoid, compute)))
        infer_fail(graph, "this scan is not defined on %s", dtype_name(x->dtype));
}

bool infer_multiplies(Graph *graph, const GraphNode *node)
{
    const Tensor *a = node->inputs[0], *b = node->inputs[1];
    Dtype compute = dtype_compute(a->dtype);
    if (!infer_same_dtype(graph, a, b))
        return false;
    if (compute != DT_none && scalar_accepts(S_mul, compute))
        return true;
    infer_fail(graph, "%s is not defined on %s", graph_op_name(node->op), dtype_name(a->dtype));
    return false;
}

void infer_matmul(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *a = node->inputs[0], *b = node->inputs[1];
    out->dtype = a->dtype;
    if (!infer_multiplies(graph, node))
        return;
    if (a->rank < 2 || b->rank < 2 ||
        !graph_same_dim(graph, a->shape[a->rank - 1], b->shape[b->rank - 2])) {
        infer_disagree(graph, a, b);
        return;
    }
    Tensor batch = *b;
    out->rank = a->rank - 2;
    memcpy(out->shape, a->shape, (size_t)out->rank * sizeof *out->shape);
    batch.rank -= 2;
    if (!broadcast_into(graph, &batch, out)) {
        infer_disagree(graph, a, b);
        return;
    }
    out->shape[out->rank++] = a->shape[a->rank - 2];
    out->shape[out->rank++] = b->shape[b->rank - 1];
}

static void needs_float(Graph *graph, const GraphNode *node)
{
    if (!dtype_is_float(node->inputs[0]->dtype))
        infer_fail(graph, "%s is not defined on %s", graph_op_name(node->op),
                   dtype_name(node->inputs[0]->dtype));
}

void infer_softmax(Graph *graph, const GraphNode *node, Tensor *out)
{
    infer_copy_type(node->inputs[0], out);
    if (infer_has_axis(graph, node, out->rank))
        needs_float(graph, node);
}

void infer_normalize(Graph *graph, const GraphNode *node, Tensor *out)
{
    infer_copy_type(node->inputs[0], out);
    axis_set(graph, node, out->rank);
    needs_float(graph, node);
}

void infer_shape_value(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = DT_i64;
    out->rank = 1;
    out->shape[0] = expr_const(graph->cx, node->inputs[0]->rank);
}

void infer_dim_value(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Attr *dtype = &node->attrs[AT_dtype];
    out->dtype = dtype->set ? (Dtype)dtype->i : DT_i64;
    if (!infer_set_shape(graph, &node->attrs[AT_shape], out))
        return;
    int64_t count = tensor_count_const(graph->cx, out);
    if (count < 0 || count > GRAPH_MAX_ELEMENTS || count != node->attrs[AT_elements].count)
        infer_fail(graph, "dim_value lists %d elements for %s", node->attrs[AT_elements].count,
                   tensor_shape_text(graph->cx, out));
    else if (!dtype_is_int(out->dtype) && out->dtype != DT_bool)
        infer_fail(graph, "dim_value of type %s", dtype_name(out->dtype));
}

void graph_infer(Graph *graph, const GraphNode *node, Tensor *out)
{
    static InferOp *const infers[OP_count] = {
#define GRAPH(name, least, most, attrs) [OP_##name] = infer_##name,
#include "ir/graph.def"
#undef GRAPH
    };
    out->rank = 0;
    infers[node->op](graph, node, out);
    for (int d = 0; d < out->rank && !cx_failed(graph->cx); d++)
        if (expr_is_poison(out->shape[d]))
            cx_fail(graph->cx, ST_limit, "%s: size overflows", graph_op_name(node->op));
    /* Places are computed in bytes. */
    int64_t bytes = dtype_bits(out->dtype) > 8 ? dtype_bits(out->dtype) / 8 : 1;
    if (!cx_failed(graph->cx) &&
        expr_is_poison(expr_muli(graph->cx, tensor_count(graph->cx, out), bytes)))
        cx_fail(graph->cx, ST_limit, "%s: size overflows", graph_op_name(node->op));
}
