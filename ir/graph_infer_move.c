/* Shape inference of operations that move elements: other shapes and orders, parts, positions. */
#include <string.h>

#include "ir/graph_infer.h"

/* Products of dims are compared after common factors are taken out. */
static bool same_count(Graph *graph, const Tensor *x, const Tensor *out)
{
    Cx *cx = graph->cx;
    bool used[MAX_RANK] = {false};
    const Expr *a = expr_const(cx, 1), *b = expr_const(cx, 1);
    for (int d = 0; d < x->rank; d++) {
        int match = -1;
        for (int k = 0; k < out->rank && match < 0; k++)
            if (!used[k] && out->shape[k] == x->shape[d] && x->shape[d]->kind != EX_const)
                match = k;
        if (match >= 0)
            used[match] = true;
        else
            a = expr_mul(cx, a, x->shape[d]);
    }
    for (int k = 0; k < out->rank; k++)
        if (!used[k])
            b = expr_mul(cx, b, out->shape[k]);
    if (expr_is_poison(a) || expr_is_poison(b)) {
        cx_fail(cx, ST_limit, "size overflows");
        return false;
    }
    if (a == b || (expr_is_const(a, 0) && expr_is_const(tensor_count(cx, out), 0)))
        return true;
    return graph_same_dim(graph, tensor_count(cx, x), tensor_count(cx, out));
}

void infer_reshape(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = node->inputs[0]->dtype;
    if (infer_set_shape(graph, &node->attrs[AT_shape], out) &&
        !same_count(graph, node->inputs[0], out) && !cx_failed(graph->cx))
        infer_fail(graph, "reshape from %s to %s changes the number of elements",
                   tensor_shape_text(graph->cx, node->inputs[0]),
                   tensor_shape_text(graph->cx, out));
}

/* numpy's broadcast_to. */
void infer_expand(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    out->dtype = x->dtype;
    if (!infer_set_shape(graph, &node->attrs[AT_shape], out))
        return;
    bool fits = x->rank <= out->rank;
    for (int d = 0; fits && d < x->rank; d++) {
        const Expr *have = x->shape[x->rank - 1 - d], *want = out->shape[out->rank - 1 - d];
        const Expr *both = graph_broadcast(graph, have, want);
        fits = both && (both == want || graph_same_dim(graph, both, want));
    }
    if (!fits)
        infer_disagree(graph, x, out);
}

void infer_transpose(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    infer_copy_type(x, out);
    if (!infer_has_list(graph, node, AT_perm, x->rank))
        return;
    uint32_t seen = 0;
    for (int d = 0; d < x->rank; d++) {
        int64_t from = node->attrs[AT_perm].ints[d];
        if (from < 0 || from >= x->rank || (seen >> from & 1)) {
            infer_fail(graph, "perm is no permutation of %d axes", x->rank);
            return;
        }
        seen |= 1u << from;
        out->shape[d] = x->shape[from];
    }
}

void infer_slice(Graph *graph, const GraphNode *node, Tensor *out)
{
    Cx *cx = graph->cx;
    const Tensor *x = node->inputs[0];
    infer_copy_type(x, out);
    if (!infer_has_list(graph, node, AT_starts, x->rank) ||
        !infer_has_list(graph, node, AT_sizes, x->rank) ||
        !infer_has_list(graph, node, AT_steps, x->rank))
        return;
    for (int d = 0; d < x->rank; d++) {
        const Expr *start = node->attrs[AT_starts].exprs[d], *size = node->attrs[AT_sizes].exprs[d];
        int64_t step = node->attrs[AT_steps].ints[d];
        out->shape[d] = size;
        if (step == 0 || step == INT64_MIN || size->hi < 0) {
            infer_fail(graph, "slice of axis %d by step %lld", d, (long long)step);
            return;
        }
        const Expr *last = expr_add(cx, start, expr_muli(cx, expr_addi(cx, size, -1), step));
        bool some = size->lo > 0;
        if (some && (start->hi < 0 || last->hi < 0 || expr_always_le(cx, x->shape[d], start) ||
                     expr_always_le(cx, x->shape[d], last))) {
            infer_fail(graph, "slice of axis %d leaves %s", d, tensor_shape_text(cx, x));
            return;
        }
    }
}

void infer_pad(Graph *graph, const GraphNode *node, Tensor *out)
{
    static const char *const modes[] = {"constant", "edge", "reflect", "wrap"};
    Cx *cx = graph->cx;
    const Tensor *x = node->inputs[0];
    const char *mode = node->attrs[AT_mode].name;
    infer_copy_type(x, out);
    if (!infer_has_list(graph, node, AT_before, x->rank) ||
        !infer_has_list(graph, node, AT_after, x->rank) ||
        !infer_same_dtype(graph, x, node->inputs[1]))
        return;
    bool known = false;
    for (int i = 0; i < 4; i++)
        known |= mode && strcmp(mode, modes[i]) == 0;
    if (!known || node->inputs[1]->rank) {
        infer_fail(graph, "pad mode '%s' with a fill of rank %d", mode ? mode : "",
                   node->inputs[1]->rank);
        return;
    }
    for (int d = 0; d < x->rank; d++) {
        out->shape[d] = expr_add(cx, expr_add(cx, x->shape[d], node->attrs[AT_before].exprs[d]),
                                 node->attrs[AT_after].exprs[d]);
        if (out->shape[d]->hi < 0 && !expr_is_poison(out->shape[d])) {
            infer_fail(graph, "axis %d of %s is cropped below nothing", d,
                       tensor_shape_text(cx, x));
            return;
        }
    }
}

void infer_concat(Graph *graph, const GraphNode *node, Tensor *out)
{
    Cx *cx = graph->cx;
    infer_copy_type(node->inputs[0], out);
    if (!infer_has_axis(graph, node, out->rank))
        return;
    int axis = (int)node->attrs[AT_axis].i;
    for (int i = 1; i < node->input_count; i++) {
        const Tensor *x = node->inputs[i];
        bool fits = x->rank == out->rank;
        if (!infer_same_dtype(graph, node->inputs[0], x))
            return;
        for (int d = 0; fits && d < out->rank; d++)
            fits = d == axis || graph_same_dim(graph, out->shape[d], x->shape[d]);
        if (!fits) {
            infer_disagree(graph, node->inputs[0], x);
            return;
        }
        out->shape[axis] = expr_add(cx, out->shape[axis], x->shape[axis]);
    }
}

static bool indices_fit(Graph *graph, const Tensor *indices)
{
    if (indices->dtype == DT_i64 || indices->dtype == DT_i32)
        return true;
    infer_fail(graph, "indices are %s, not int32 or int64", dtype_name(indices->dtype));
    return false;
}

void infer_gather(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1];
    if (!infer_has_axis(graph, node, x->rank) || !indices_fit(graph, ids))
        return;
    int axis = (int)node->attrs[AT_axis].i;
    out->dtype = x->dtype;
    if (x->rank + ids->rank - 1 > MAX_RANK) {
        infer_fail(graph, "gather gives a tensor of rank %d", x->rank + ids->rank - 1);
        return;
    }
    for (int d = 0; d < axis; d++)
        out->shape[out->rank++] = x->shape[d];
    for (int d = 0; d < ids->rank; d++)
        out->shape[out->rank++] = ids->shape[d];
    for (int d = axis + 1; d < x->rank; d++)
        out->shape[out->rank++] = x->shape[d];
}

void infer_gather_elements(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1];
    infer_copy_type(ids, out);
    out->dtype = x->dtype;
    if (!infer_has_axis(graph, node, x->rank) || !indices_fit(graph, ids))
        return;
    bool fits = x->rank == ids->rank;
    for (int d = 0; fits && d < x->rank; d++)
        fits = d == node->attrs[AT_axis].i ||
               graph_same_dim(graph, expr_max(graph->cx, x->shape[d], ids->shape[d]), x->shape[d]);
    if (!fits)
        infer_disagree(graph, x, ids);
}

/* Shapes of gather_nd and scatter_nd: x, tuples [batch.., more.., k], and what a tuple selects. */
static bool nd_shape(Graph *graph, const Tensor *x, const Tensor *ids, int batch, Tensor *out)
{
    if (!indices_fit(graph, ids))
        return false;
    const Expr *k = ids->rank ? ids->shape[ids->rank - 1] : NULL;
    if (!k || k->kind != EX_const || k->value < 1 || batch < 0 || batch >= ids->rank ||
        batch + k->value > x->rank) {
        infer_fail(graph, "index tuples %s into %s", tensor_shape_text(graph->cx, ids),
                   tensor_shape_text(graph->cx, x));
        return false;
    }
    if (ids->rank - 1 + x->rank - batch - k->value > MAX_RANK) {
        cx_fail(graph->cx, ST_limit, "tensors have at most %d dims", MAX_RANK);
        return false;
    }
    for (int d = 0; d < batch; d++)
        if (!graph_same_dim(graph, x->shape[d], ids->shape[d])) {
            infer_disagree(graph, x, ids);
            return false;
        }
    out->rank = 0;
    for (int d = 0; d + 1 < ids->rank; d++)
        out->shape[out->rank++] = ids->shape[d];
    for (int d = batch + (int)k->value; d < x->rank; d++)
        out->shape[out->rank++] = x->shape[d];
    return true;
}

void infer_gather_nd(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = node->inputs[0]->dtype;
    nd_shape(graph, node->inputs[0], node->inputs[1], (int)node->attrs[AT_axis].i, out);
}

static bool scatter_fits(Graph *graph, const GraphNode *node)
{
    const char *mode = node->attrs[AT_mode].set ? node->attrs[AT_mode].name : "none";
    Dtype compute = dtype_compute(node->inputs[0]->dtype);
    int64_t monoid = node->attrs[AT_monoid].i;
    if (!indices_fit(graph, node->inputs[1]) ||
        !infer_same_dtype(graph, node->inputs[0], node->inputs[2]))
        return false;
    bool reduces = strcmp(mode, "reduce") == 0;
    if (!reduces && strcmp(mode, "none") != 0)
        infer_fail(graph, "scatter mode '%s'", mode);
    else if (compute == DT_none)
        cx_fail(graph->cx, ST_unsupported, "scatter of %s", dtype_name(node->inputs[0]->dtype));
    else if (reduces && (monoid < 0 || monoid > M_or || !monoid_accepts((Monoid)monoid, compute)))
        infer_fail(graph, "this reduction is not defined on %s",
                   dtype_name(node->inputs[0]->dtype));
    return !cx_failed(graph->cx);
}

void infer_scatter_elements(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1], *updates = node->inputs[2];
    infer_copy_type(x, out);
    if (!infer_has_axis(graph, node, x->rank) || !scatter_fits(graph, node))
        return;
    bool fits = x->rank == ids->rank && ids->rank == updates->rank;
    for (int d = 0; fits && d < ids->rank; d++)
        fits = graph_same_dim(graph, ids->shape[d], updates->shape[d]);
    if (!fits)
        infer_disagree(graph, ids, updates);
}

void infer_scatter_nd(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *updates = node->inputs[2];
    const Expr *shape[MAX_RANK];
    Tensor want = {.shape = shape};
    infer_copy_type(x, out);
    if (!scatter_fits(graph, node) || !nd_shape(graph, x, node->inputs[1], 0, &want))
        return;
    bool fits = want.rank == updates->rank;
    for (int d = 0; fits && d < want.rank; d++)
        fits = graph_same_dim(graph, want.shape[d], updates->shape[d]);
    if (!fits)
        infer_disagree(graph, &want, updates);
}
