/* Shape inference: what each operation of graph.def makes of its inputs, over dims that are
 * expressions.
 *
 * Rules for dims that are not numbers: two dims that must agree are taken to agree unless their
 * bounds exclude it, and a check is noted for when they are known (graph_same_dim); a dim that may
 * be 1 broadcasts either way (graph_broadcast). Slices and gathers of the importers clamp by
 * construction; here starts and sizes are only refused when they are surely wrong. */
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

static void fail(Graph *graph, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(Graph *graph, const char *fmt, ...)
{
    char message[700];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    cx_fail(graph->cx, ST_bad_model, "%s", message);
}

static void disagree(Graph *graph, const Tensor *a, const Tensor *b)
{
    fail(graph, "shapes do not agree: %s by %s", tensor_shape_text(graph->cx, a),
         tensor_shape_text(graph->cx, b));
}

static void copy_type(const Tensor *from, Tensor *out)
{
    out->dtype = from->dtype;
    out->rank = from->rank;
    memcpy(out->shape, from->shape, (size_t)from->rank * sizeof *from->shape);
}

/* A list attribute of exactly `count` entries. */
static bool has_list(Graph *graph, const GraphNode *node, AttrName name, int count)
{
    const Attr *attr = &node->attrs[name];
    if (attr->set && attr->count == count)
        return true;
    fail(graph, "%s: an attribute lists %d numbers, not %d", graph_op_name(node->op), attr->count,
         count);
    return false;
}

static bool has_axis(Graph *graph, const GraphNode *node, int rank)
{
    const Attr *axis = &node->attrs[AT_axis];
    if (axis->set && axis->i >= 0 && axis->i < rank)
        return true;
    fail(graph, "%s: axis %lld of a tensor of rank %d", graph_op_name(node->op), (long long)axis->i,
         rank);
    return false;
}

static bool same_dtype(Graph *graph, const Tensor *a, const Tensor *b)
{
    if (a->dtype == b->dtype)
        return true;
    fail(graph, "types do not agree: %s and %s", dtype_name(a->dtype), dtype_name(b->dtype));
    return false;
}

/* Sets the result's shape from a list of expressions. */
static bool set_shape(Graph *graph, const Attr *shape, Tensor *out)
{
    if (!shape->set || shape->count > MAX_RANK) {
        fail(graph, "rank %d: tensors have at most %d dims", shape->count, MAX_RANK);
        return false;
    }
    out->rank = shape->count;
    for (int d = 0; d < out->rank; d++) {
        out->shape[d] = shape->exprs[d];
        if (shape->exprs[d]->hi < 0 && !expr_is_poison(shape->exprs[d])) {
            fail(graph, "a dim is negative: %lld", (long long)shape->exprs[d]->hi);
            return false;
        }
    }
    return true;
}

static bool indices_fit(Graph *graph, const Tensor *indices)
{
    if (indices->dtype == DT_i64 || indices->dtype == DT_i32)
        return true;
    fail(graph, "indices are %s, not int32 or int64", dtype_name(indices->dtype));
    return false;
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
        fail(graph, "fill with a tensor of rank %d", node->inputs[0]->rank);
    set_shape(graph, &node->attrs[AT_shape], out);
}

void infer_iota(Graph *graph, const GraphNode *node, Tensor *out)
{
    out->dtype = (Dtype)node->attrs[AT_dtype].i;
    if (set_shape(graph, &node->attrs[AT_shape], out) && has_axis(graph, node, out->rank) &&
        !dtype_is_int(out->dtype) && !dtype_is_float(out->dtype))
        fail(graph, "positions of type %s", dtype_name(out->dtype));
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
        if (i > first && !same_dtype(graph, node->inputs[first], node->inputs[i]))
            return;
    }
    if (types[first] == DT_none) {
        cx_fail(graph->cx, ST_unsupported, "%s has no kernel for %s", scalar_name((ScalarOp)op),
                dtype_name(node->inputs[first]->dtype));
        return;
    }
    if (scalar_result((ScalarOp)op, types) == DT_none) {
        fail(graph, "%s is not defined on %s", scalar_name((ScalarOp)op),
             dtype_name(node->inputs[first]->dtype));
        return;
    }
    out->dtype = scalar_gives_bool((ScalarOp)op) ? DT_bool : node->inputs[first]->dtype;
    for (int i = 0; i < node->input_count; i++)
        if (!broadcast_into(graph, node->inputs[i], out)) {
            disagree(graph, node->inputs[0], node->inputs[i]);
            return;
        }
}

void infer_cast(Graph *graph, const GraphNode *node, Tensor *out)
{
    Dtype to = (Dtype)node->attrs[AT_dtype].i;
    copy_type(node->inputs[0], out);
    out->dtype = to;
    if (to <= DT_none || to >= DT_count || dtype_compute(to) == DT_none ||
        dtype_compute(node->inputs[0]->dtype) == DT_none)
        cx_fail(graph->cx, ST_unsupported, "cast from %s to %s", dtype_name(node->inputs[0]->dtype),
                to > DT_none && to < DT_count ? dtype_name(to) : "?");
}

void infer_bitcast(Graph *graph, const GraphNode *node, Tensor *out)
{
    Dtype to = (Dtype)node->attrs[AT_dtype].i, from = node->inputs[0]->dtype;
    copy_type(node->inputs[0], out);
    out->dtype = to;
    if (to <= DT_none || to >= DT_count || dtype_bits(to) != dtype_bits(from) || !dtype_bits(to))
        fail(graph, "bitcast from %s to a type of another size", dtype_name(from));
}

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
    if (set_shape(graph, &node->attrs[AT_shape], out) && !same_count(graph, node->inputs[0], out) &&
        !cx_failed(graph->cx))
        fail(graph, "reshape from %s to %s changes the number of elements",
             tensor_shape_text(graph->cx, node->inputs[0]), tensor_shape_text(graph->cx, out));
}

/* numpy's broadcast_to. */
void infer_expand(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    out->dtype = x->dtype;
    if (!set_shape(graph, &node->attrs[AT_shape], out))
        return;
    bool fits = x->rank <= out->rank;
    for (int d = 0; fits && d < x->rank; d++) {
        const Expr *have = x->shape[x->rank - 1 - d], *want = out->shape[out->rank - 1 - d];
        const Expr *both = graph_broadcast(graph, have, want);
        fits = both && (both == want || graph_same_dim(graph, both, want));
    }
    if (!fits)
        disagree(graph, x, out);
}

void infer_transpose(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    copy_type(x, out);
    if (!has_list(graph, node, AT_perm, x->rank))
        return;
    uint32_t seen = 0;
    for (int d = 0; d < x->rank; d++) {
        int64_t from = node->attrs[AT_perm].ints[d];
        if (from < 0 || from >= x->rank || (seen >> from & 1)) {
            fail(graph, "perm is no permutation of %d axes", x->rank);
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
    copy_type(x, out);
    if (!has_list(graph, node, AT_starts, x->rank) || !has_list(graph, node, AT_sizes, x->rank) ||
        !has_list(graph, node, AT_steps, x->rank))
        return;
    for (int d = 0; d < x->rank; d++) {
        const Expr *start = node->attrs[AT_starts].exprs[d], *size = node->attrs[AT_sizes].exprs[d];
        int64_t step = node->attrs[AT_steps].ints[d];
        out->shape[d] = size;
        if (step == 0 || step == INT64_MIN || size->hi < 0) {
            fail(graph, "slice of axis %d by step %lld", d, (long long)step);
            return;
        }
        const Expr *last = expr_add(cx, start, expr_muli(cx, expr_addi(cx, size, -1), step));
        bool some = size->lo > 0;
        if (some && (start->hi < 0 || last->hi < 0 || expr_always_le(cx, x->shape[d], start) ||
                     expr_always_le(cx, x->shape[d], last))) {
            fail(graph, "slice of axis %d leaves %s", d, tensor_shape_text(cx, x));
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
    copy_type(x, out);
    if (!has_list(graph, node, AT_before, x->rank) || !has_list(graph, node, AT_after, x->rank) ||
        !same_dtype(graph, x, node->inputs[1]))
        return;
    bool known = false;
    for (int i = 0; i < 4; i++)
        known |= mode && strcmp(mode, modes[i]) == 0;
    if (!known || node->inputs[1]->rank) {
        fail(graph, "pad mode '%s' with a fill of rank %d", mode ? mode : "",
             node->inputs[1]->rank);
        return;
    }
    for (int d = 0; d < x->rank; d++) {
        out->shape[d] = expr_add(cx, expr_add(cx, x->shape[d], node->attrs[AT_before].exprs[d]),
                                 node->attrs[AT_after].exprs[d]);
        if (out->shape[d]->hi < 0 && !expr_is_poison(out->shape[d])) {
            fail(graph, "axis %d of %s is cropped below nothing", d, tensor_shape_text(cx, x));
            return;
        }
    }
}

void infer_concat(Graph *graph, const GraphNode *node, Tensor *out)
{
    Cx *cx = graph->cx;
    copy_type(node->inputs[0], out);
    if (!has_axis(graph, node, out->rank))
        return;
    int axis = (int)node->attrs[AT_axis].i;
    for (int i = 1; i < node->input_count; i++) {
        const Tensor *x = node->inputs[i];
        bool fits = x->rank == out->rank;
        if (!same_dtype(graph, node->inputs[0], x))
            return;
        for (int d = 0; fits && d < out->rank; d++)
            fits = d == axis || graph_same_dim(graph, out->shape[d], x->shape[d]);
        if (!fits) {
            disagree(graph, node->inputs[0], x);
            return;
        }
        out->shape[axis] = expr_add(cx, out->shape[axis], x->shape[axis]);
    }
}

void infer_gather(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1];
    if (!has_axis(graph, node, x->rank) || !indices_fit(graph, ids))
        return;
    int axis = (int)node->attrs[AT_axis].i;
    out->dtype = x->dtype;
    if (x->rank + ids->rank - 1 > MAX_RANK) {
        fail(graph, "gather gives a tensor of rank %d", x->rank + ids->rank - 1);
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
    copy_type(ids, out);
    out->dtype = x->dtype;
    if (has_axis(graph, node, x->rank) && indices_fit(graph, ids) && x->rank != ids->rank)
        disagree(graph, x, ids);
}

/* Shapes of gather_nd and scatter_nd: x, tuples [batch.., more.., k], and what a tuple selects. */
static bool nd_shape(Graph *graph, const Tensor *x, const Tensor *ids, int batch, Tensor *out)
{
    if (!indices_fit(graph, ids))
        return false;
    const Expr *k = ids->rank ? ids->shape[ids->rank - 1] : NULL;
    if (!k || k->kind != EX_const || k->value < 1 || batch < 0 || batch >= ids->rank ||
        batch + k->value > x->rank) {
        fail(graph, "index tuples %s into %s", tensor_shape_text(graph->cx, ids),
             tensor_shape_text(graph->cx, x));
        return false;
    }
    if (ids->rank - 1 + x->rank - batch - k->value > MAX_RANK) {
        cx_fail(graph->cx, ST_limit, "tensors have at most %d dims", MAX_RANK);
        return false;
    }
    for (int d = 0; d < batch; d++)
        if (!graph_same_dim(graph, x->shape[d], ids->shape[d])) {
            disagree(graph, x, ids);
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
        !same_dtype(graph, node->inputs[0], node->inputs[2]))
        return false;
    bool reduces = strcmp(mode, "reduce") == 0;
    if (!reduces && strcmp(mode, "none") != 0)
        fail(graph, "scatter mode '%s'", mode);
    else if (compute == DT_none)
        cx_fail(graph->cx, ST_unsupported, "scatter of %s", dtype_name(node->inputs[0]->dtype));
    else if (reduces && (monoid < 0 || monoid > M_or || !monoid_accepts((Monoid)monoid, compute)))
        fail(graph, "this reduction is not defined on %s", dtype_name(node->inputs[0]->dtype));
    return !cx_failed(graph->cx);
}

void infer_scatter_elements(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1], *updates = node->inputs[2];
    copy_type(x, out);
    if (!has_axis(graph, node, x->rank) || !scatter_fits(graph, node))
        return;
    bool fits = x->rank == ids->rank && ids->rank == updates->rank;
    for (int d = 0; fits && d < ids->rank; d++)
        fits = graph_same_dim(graph, ids->shape[d], updates->shape[d]);
    if (!fits)
        disagree(graph, ids, updates);
}

void infer_scatter_nd(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *updates = node->inputs[2];
    const Expr *shape[MAX_RANK];
    Tensor want = {.shape = shape};
    copy_type(x, out);
    if (!scatter_fits(graph, node) || !nd_shape(graph, x, node->inputs[1], 0, &want))
        return;
    bool fits = want.rank == updates->rank;
    for (int d = 0; fits && d < want.rank; d++)
        fits = graph_same_dim(graph, want.shape[d], updates->shape[d]);
    if (!fits)
        disagree(graph, &want, updates);
}

/* The set of listed axes; fails for a bad or repeated one. */
static uint32_t axis_set(Graph *graph, const GraphNode *node, int rank)
{
    const Attr *axes = &node->attrs[AT_axes];
    uint32_t set = 0;
    for (int i = 0; i < axes->count; i++) {
        if (axes->ints[i] < 0 || axes->ints[i] >= rank || (set >> axes->ints[i] & 1)) {
            fail(graph, "%s: axis %lld of a tensor of rank %d (axes must differ)",
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
        fail(graph, "this reduction is not defined on %s", dtype_name(x->dtype));
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
    if (!has_axis(graph, node, x->rank))
        return;
    if ((monoid != M_argmin && monoid != M_argmax) || compute == DT_none ||
        !scalar_accepts(S_lt, compute))
        fail(graph, "position of the extreme of %s", dtype_name(x->dtype));
    remove_axes(graph, x, 1u << node->attrs[AT_axis].i, node->attrs[AT_keep].i, out);
}

void infer_scan(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int64_t monoid = node->attrs[AT_monoid].i;
    Dtype compute = dtype_compute(x->dtype);
    copy_type(x, out);
    if (has_axis(graph, node, x->rank) && (monoid < 0 || monoid > M_or || compute == DT_none ||
                                           !monoid_accepts((Monoid)monoid, compute)))
        fail(graph, "this scan is not defined on %s", dtype_name(x->dtype));
}

static bool multiplies(Graph *graph, const GraphNode *node)
{
    const Tensor *a = node->inputs[0], *b = node->inputs[1];
    Dtype compute = dtype_compute(a->dtype);
    if (!same_dtype(graph, a, b))
        return false;
    if (compute != DT_none && scalar_accepts(S_mul, compute))
        return true;
    fail(graph, "%s is not defined on %s", graph_op_name(node->op), dtype_name(a->dtype));
    return false;
}

void infer_matmul(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *a = node->inputs[0], *b = node->inputs[1];
    out->dtype = a->dtype;
    if (!multiplies(graph, node))
        return;
    if (a->rank < 2 || b->rank < 2 ||
        !graph_same_dim(graph, a->shape[a->rank - 1], b->shape[b->rank - 2])) {
        disagree(graph, a, b);
        return;
    }
    Tensor batch = *b;
    out->rank = a->rank - 2;
    memcpy(out->shape, a->shape, (size_t)out->rank * sizeof *out->shape);
    batch.rank -= 2;
    if (!broadcast_into(graph, &batch, out)) {
        disagree(graph, a, b);
        return;
    }
    out->shape[out->rank++] = a->shape[a->rank - 2];
    out->shape[out->rank++] = b->shape[b->rank - 1];
}

enum {
    WINDOW_MOST = 1 << 28
}; /* of a stride, a tap distance, a padding, a kernel: sums of them fit */

/* Window attributes of `spatial` axes: strides and dilations >= 1, everything bounded. */
static bool window_attrs(Graph *graph, const GraphNode *node, int spatial)
{
    if (!has_list(graph, node, AT_strides, spatial) ||
        !has_list(graph, node, AT_dilations, spatial) ||
        !has_list(graph, node, AT_pads, 2 * spatial))
        return false;
    for (int s = 0; s < 2 * spatial; s++) {
        int64_t pad = node->attrs[AT_pads].ints[s];
        int64_t stride = node->attrs[AT_strides].ints[s % spatial];
        int64_t dilation = node->attrs[AT_dilations].ints[s % spatial];
        if (pad < -WINDOW_MOST || pad > WINDOW_MOST || stride < 1 || stride > WINDOW_MOST ||
            dilation < 1 || dilation > WINDOW_MOST) {
            fail(graph, "window with stride %lld, dilation %lld, padding %lld", (long long)stride,
                 (long long)dilation, (long long)pad);
            return false;
        }
    }
    return true;
}

/* floor((extent + pads - reach) / stride) + 1, where reach = (kernel - 1) * dilation + 1. */
static bool window_dim(Graph *graph, const GraphNode *node, int spatial, int s, const Expr *kernel,
                       Tensor *out)
{
    Cx *cx = graph->cx;
    const Attr *at = node->attrs;
    const Tensor *x = node->inputs[0];
    int64_t dilation = at[AT_dilations].ints[s];
    const Expr *reach = expr_addi(cx, expr_muli(cx, expr_addi(cx, kernel, -1), dilation), 1);
    const Expr *room =
        expr_addi(cx, x->shape[2 + s], at[AT_pads].ints[s] + at[AT_pads].ints[spatial + s]);
    const Expr *dim =
        expr_addi(cx, expr_divi(cx, expr_sub(cx, room, reach), at[AT_strides].ints[s]), 1);
    if (dim->hi < 0 && !expr_is_poison(dim)) {
        fail(graph, "the window is larger than %s with its padding", tensor_shape_text(cx, x));
        return false;
    }
    out->shape[2 + s] =
        dim->lo < 0 && !expr_is_poison(dim) ? expr_max(cx, dim, expr_const(cx, 0)) : dim;
    return true;
}

void infer_conv(Graph *graph, const GraphNode *node, Tensor *out)
{
    Cx *cx = graph->cx;
    const Tensor *x = node->inputs[0], *w = node->inputs[1];
    int spatial = x->rank - 2;
    int64_t groups = node->attrs[AT_groups].i;
    out->dtype = x->dtype;
    out->rank = x->rank;
    if (!multiplies(graph, node))
        return;
    if (spatial < 0 || w->rank != x->rank || groups < 1 || groups > WINDOW_MOST ||
        !graph_same_dim(graph, x->shape[1], expr_muli(cx, w->shape[1], groups)) ||
        (w->shape[0]->kind == EX_const && w->shape[0]->value % groups)) {
        fail(graph, "shapes do not agree: image %s, kernel %s, groups %lld",
             tensor_shape_text(cx, x), tensor_shape_text(cx, w), (long long)groups);
        return;
    }
    if (!window_attrs(graph, node, spatial))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = w->shape[0];
    for (int s = 0; s < spatial; s++)
        if (!window_dim(graph, node, spatial, s, w->shape[2 + s], out))
            return;
}

void infer_conv_transpose(Graph *graph, const GraphNode *node, Tensor *out)
{
    Cx *cx = graph->cx;
    const Tensor *x = node->inputs[0], *w = node->inputs[1];
    int spatial = x->rank - 2;
    int64_t groups = node->attrs[AT_groups].i;
    out->dtype = x->dtype;
    out->rank = x->rank;
    if (!multiplies(graph, node))
        return;
    if (spatial < 0 || w->rank != x->rank || groups < 1 || groups > WINDOW_MOST ||
        !graph_same_dim(graph, x->shape[1], w->shape[0]) ||
        (x->shape[1]->kind == EX_const && x->shape[1]->value % groups)) {
        fail(graph, "shapes do not agree: image %s, kernel %s, groups %lld",
             tensor_shape_text(cx, x), tensor_shape_text(cx, w), (long long)groups);
        return;
    }
    if (!window_attrs(graph, node, spatial) || !has_list(graph, node, AT_sizes, spatial))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = expr_muli(cx, w->shape[1], groups);
    for (int s = 0; s < spatial; s++) {
        out->shape[2 + s] = node->attrs[AT_sizes].exprs[s];
        if (out->shape[2 + s]->hi < 0)
            fail(graph, "the result has a negative size");
    }
}

static void pooled(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int spatial = x->rank - 2;
    out->rank = x->rank;
    if (spatial < 0) {
        fail(graph, "pooling of %s: expected [n, c, spatial..]", tensor_shape_text(graph->cx, x));
        return;
    }
    if (!window_attrs(graph, node, spatial) || !has_list(graph, node, AT_kernel, spatial))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = x->shape[1];
    for (int s = 0; s < spatial; s++) {
        int64_t kernel = node->attrs[AT_kernel].ints[s];
        if (kernel < 1 || kernel > WINDOW_MOST) {
            fail(graph, "window of %lld elements", (long long)kernel);
            return;
        }
        if (!window_dim(graph, node, spatial, s, expr_const(graph->cx, kernel), out))
            return;
    }
}

void infer_window(Graph *graph, const GraphNode *node, Tensor *out)
{
    int64_t monoid = node->attrs[AT_monoid].i;
    Dtype compute = dtype_compute(node->inputs[0]->dtype);
    out->dtype = node->inputs[0]->dtype;
    if (monoid < 0 || monoid > M_or || compute == DT_none ||
        !monoid_accepts((Monoid)monoid, compute))
        fail(graph, "this pooling is not defined on %s", dtype_name(out->dtype));
    else
        pooled(graph, node, out);
}

void infer_window_arg(Graph *graph, const GraphNode *node, Tensor *out)
{
    int64_t monoid = node->attrs[AT_monoid].i;
    out->dtype = DT_i64;
    if (monoid != M_argmin && monoid != M_argmax)
        cx_fail(graph->cx, ST_internal, "window_arg without argmin or argmax");
    else
        pooled(graph, node, out);
}

static void needs_float(Graph *graph, const GraphNode *node)
{
    if (!dtype_is_float(node->inputs[0]->dtype))
        fail(graph, "%s is not defined on %s", graph_op_name(node->op),
             dtype_name(node->inputs[0]->dtype));
}

void infer_softmax(Graph *graph, const GraphNode *node, Tensor *out)
{
    copy_type(node->inputs[0], out);
    if (has_axis(graph, node, out->rank))
        needs_float(graph, node);
}

void infer_normalize(Graph *graph, const GraphNode *node, Tensor *out)
{
    copy_type(node->inputs[0], out);
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
    if (!set_shape(graph, &node->attrs[AT_shape], out))
        return;
    int64_t count = tensor_count_const(graph->cx, out);
    if (count < 0 || count > GRAPH_MAX_ELEMENTS || count != node->attrs[AT_elements].count)
        fail(graph, "dim_value lists %d elements for %s", node->attrs[AT_elements].count,
             tensor_shape_text(graph->cx, out));
    else if (!dtype_is_int(out->dtype) && out->dtype != DT_bool)
        fail(graph, "dim_value of type %s", dtype_name(out->dtype));
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
    if (!cx_failed(graph->cx) && expr_is_poison(tensor_count(graph->cx, out)))
        cx_fail(graph->cx, ST_limit, "%s: size overflows", graph_op_name(node->op));
}
