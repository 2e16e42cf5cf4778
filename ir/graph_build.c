/* The builders of graph.h: one function for each operation that is built in several places, which
 * puts its attributes together and calls graph_node. */
#include "ir/graph_infer.h"

Tensor *graph_map(Graph *graph, ScalarOp op, Tensor *a, Tensor *b, Tensor *c)
{
    Tensor *inputs[3] = {a, b, c};
    Attr at[AT_count] = {[AT_scalar] = attr_int(op)};
    return graph_node(graph, OP_map, c ? 3 : b ? 2 : 1, inputs, at);
}

Tensor *graph_scalar(Graph *graph, Dtype dtype, double value)
{
    Cx *cx = graph->cx;
    int64_t bytes = dtype_bytes(dtype, 1);
    if (bytes <= 0 || dtype_compute(dtype) == DT_none) {
        cx_fail(cx, ST_unsupported, "no numbers of type %s", dtype_name(dtype));
        return graph_poison(graph);
    }
    void *data = arena_alloc(cx->arena, (size_t)bytes);
    Scalar scalar = dtype_convert(dtype, DT_f64, (Scalar){.f = value});
    dtype_store(dtype, data, 0, scalar);
    return graph_constant(graph, NULL, dtype, 0, NULL, data);
}

Tensor *graph_cast(Graph *graph, Tensor *x, Dtype dtype)
{
    Attr at[AT_count] = {[AT_dtype] = attr_int(dtype)};
    return graph_node(graph, OP_cast, 1, &x, at);
}

Tensor *graph_reshape(Graph *graph, Tensor *x, int rank, const Expr *const *shape)
{
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    Attr at[AT_count] = {[AT_shape] = attr_exprs(graph->cx, rank, shape)};
    if (x->producer->op == OP_reshape && !cx_failed(graph->cx))
        x = x->producer->inputs[0];
    return graph_node(graph, OP_reshape, 1, &x, at);
}

Tensor *graph_expand(Graph *graph, Tensor *x, int rank, const Expr *const *shape)
{
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    Attr at[AT_count] = {[AT_shape] = attr_exprs(graph->cx, rank, shape)};
    return graph_node(graph, OP_expand, 1, &x, at);
}

Tensor *graph_transpose(Graph *graph, Tensor *x, const int64_t *perm)
{
    Attr at[AT_count] = {[AT_perm] = attr_ints(graph->cx, x->rank, perm)};
    return graph_node(graph, OP_transpose, 1, &x, at);
}

Tensor *graph_slice(Graph *graph, Tensor *x, const Expr *const *starts, const Expr *const *sizes,
                    const int64_t *steps)
{
    Cx *cx = graph->cx;
    Attr at[AT_count] = {[AT_starts] = attr_exprs(cx, x->rank, starts),
                         [AT_sizes] = attr_exprs(cx, x->rank, sizes),
                         [AT_steps] = attr_ints(cx, x->rank, steps)};
    return graph_node(graph, OP_slice, 1, &x, at);
}

Tensor *graph_pad(Graph *graph, Tensor *x, Tensor *fill, const Expr *const *before,
                  const Expr *const *after, const char *mode)
{
    Cx *cx = graph->cx;
    Tensor *inputs[] = {x, fill};
    Attr at[AT_count] = {[AT_before] = attr_exprs(cx, x->rank, before),
                         [AT_after] = attr_exprs(cx, x->rank, after),
                         [AT_mode] = attr_name(mode)};
    return graph_node(graph, OP_pad, 2, inputs, at);
}

Tensor *graph_concat(Graph *graph, int count, Tensor *const *inputs, int axis)
{
    Attr at[AT_count] = {[AT_axis] = attr_int(axis)};
    /* more than a row of the table admits: a tree */
    enum { MOST = 99 };
    if (count <= MOST)
        return graph_node(graph, OP_concat, count, inputs, at);
    Tensor *parts[MOST];
    int each = (count + MOST - 1) / MOST, made = 0;
    for (int i = 0; i < count; i += each)
        parts[made++] = graph_concat(graph, count - i < each ? count - i : each, inputs + i, axis);
    return graph_node(graph, OP_concat, made, parts, at);
}

Tensor *graph_gather(Graph *graph, Tensor *x, Tensor *indices, int axis)
{
    Tensor *inputs[] = {x, indices};
    Attr at[AT_count] = {[AT_axis] = attr_int(axis)};
    return graph_node(graph, OP_gather, 2, inputs, at);
}

Tensor *graph_fill(Graph *graph, Tensor *scalar, int rank, const Expr *const *shape)
{
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    Attr at[AT_count] = {[AT_shape] = attr_exprs(graph->cx, rank, shape)};
    return graph_node(graph, OP_fill, 1, &scalar, at);
}

Tensor *graph_iota(Graph *graph, Dtype dtype, int rank, const Expr *const *shape, int axis)
{
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    Attr at[AT_count] = {[AT_shape] = attr_exprs(graph->cx, rank, shape),
                         [AT_axis] = attr_int(axis),
                         [AT_dtype] = attr_int(dtype)};
    return graph_node(graph, OP_iota, 0, NULL, at);
}

Tensor *graph_reduce(Graph *graph, Monoid monoid, Tensor *x, int count, const int64_t *axes,
                     bool keep)
{
    Attr at[AT_count] = {[AT_monoid] = attr_int(monoid),
                         [AT_axes] = attr_ints(graph->cx, count, axes),
                         [AT_keep] = attr_int(keep)};
    return graph_node(graph, OP_reduce, 1, &x, at);
}

Tensor *graph_matmul(Graph *graph, Tensor *a, Tensor *b)
{
    Tensor *inputs[] = {a, b};
    return graph_node(graph, OP_matmul, 2, inputs, NULL);
}

Tensor *graph_softmax(Graph *graph, Tensor *x, int axis, bool masked)
{
    Attr at[AT_count] = {[AT_axis] = attr_int(axis)};
    if (masked)
        at[AT_masked] = attr_int(1);
    return graph_node(graph, OP_softmax, 1, &x, at);
}

Tensor *graph_elements(Graph *graph, int rank, const int64_t *shape, const Expr *const *elements)
{
    return graph_elements_of(graph, DT_i64, rank, shape, elements);
}

Tensor *graph_elements_of(Graph *graph, Dtype dtype, int rank, const int64_t *shape,
                          const Expr *const *elements)
{
    Cx *cx = graph->cx;
    if (!graph_rank_fits(graph, rank) || cx_failed(cx))
        return graph_poison(graph);
    const Expr *dims[MAX_RANK];
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        dims[d] = expr_const(cx, shape[d]);
        count *= shape[d] <= GRAPH_MAX_ELEMENTS && count <= GRAPH_MAX_ELEMENTS ? shape[d] : 1 << 16;
    }
    CHECK(count >= 0 && count <= GRAPH_MAX_ELEMENTS);
    bool constant = true;
    for (int64_t i = 0; i < count; i++)
        constant &= elements[i]->kind == EX_const;
    if (constant) {
        char *data = arena_alloc(cx->arena, (size_t)dtype_bytes(dtype, count) + 1);
        for (int64_t i = 0; i < count; i++)
            dtype_store(dtype, data, i, (Scalar){.i = elements[i]->value});
        return graph_constant(graph, NULL, dtype, rank, shape, data);
    }
    Attr at[AT_count] = {[AT_shape] = attr_exprs(cx, rank, dims),
                         [AT_elements] = attr_exprs(cx, (int)count, elements)};
    if (dtype != DT_i64)
        at[AT_dtype] = attr_int(dtype);
    return graph_node(graph, OP_dim_value, 0, NULL, at);
}
