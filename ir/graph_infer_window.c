/* Shape inference of operations with windows: convolutions, pooling. */
#include "ir/graph_infer.h"

enum {
    WINDOW_MOST = 1 << 28
}; /* of a stride, a tap distance, a padding, a kernel: sums of them fit */

/* Window attributes of `spatial` axes: strides and dilations >= 1, everything bounded. */
static bool window_attrs(Graph *graph, const GraphNode *node, int spatial)
{
    if (!infer_has_list(graph, node, AT_strides, spatial) ||
        !infer_has_list(graph, node, AT_dilations, spatial) ||
        !infer_has_list(graph, node, AT_pads, 2 * spatial))
        return false;
    for (int s = 0; s < 2 * spatial; s++) {
        int64_t pad = node->attrs[AT_pads].ints[s];
        int64_t stride = node->attrs[AT_strides].ints[s % spatial];
        int64_t dilation = node->attrs[AT_dilations].ints[s % spatial];
        if (pad < -WINDOW_MOST || pad > WINDOW_MOST || stride < 1 || stride > WINDOW_MOST ||
            dilation < 1 || dilation > WINDOW_MOST) {
            infer_fail(graph, "window with stride %lld, dilation %lld, padding %lld",
                       (long long)stride, (long long)dilation, (long long)pad);
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
        infer_fail(graph, "the window is larger than %s with its padding",
                   tensor_shape_text(cx, x));
        return false;
    }
    out->shape[2 + s] =
        dim->lo < 0 && !expr_is_poison(dim) ? expr_max(cx, dim, expr_const(cx, 0)) : dim;
    return true;
}

/* Image, kernel and groups of a convolution agree, and so do its window attributes. A transposed
 * kernel has the image's channels outermost. */
static bool conv_operands(Graph *graph, const GraphNode *node, bool transposed, Tensor *out)
{
    Cx *cx = graph->cx;
    const Tensor *x = node->inputs[0], *w = node->inputs[1];
    int spatial = x->rank - 2;
    int64_t groups = node->attrs[AT_groups].i;
    out->dtype = x->dtype;
    out->rank = x->rank;
    if (!infer_multiplies(graph, node))
        return false;
    bool agree = spatial >= 0 && w->rank == x->rank && groups >= 1 && groups <= WINDOW_MOST;
    if (agree) {
        const Expr *channels = transposed ? w->shape[0] : expr_muli(cx, w->shape[1], groups);
        const Expr *split = transposed ? x->shape[1] : w->shape[0];
        agree = graph_same_dim(graph, x->shape[1], channels) &&
                graph_share(graph, split, expr_const(cx, groups));
    }
    if (!agree) {
        infer_fail(graph, "shapes do not agree: image %s, kernel %s, groups %lld",
                   tensor_shape_text(cx, x), tensor_shape_text(cx, w), (long long)groups);
        return false;
    }
    return window_attrs(graph, node, spatial);
}

void infer_conv(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *w = node->inputs[1];
    if (!conv_operands(graph, node, false, out))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = w->shape[0];
    for (int s = 0; s < x->rank - 2; s++)
        if (!window_dim(graph, node, x->rank - 2, s, w->shape[2 + s], out))
            return;
}

void infer_conv_transpose(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0], *w = node->inputs[1];
    if (!conv_operands(graph, node, true, out) ||
        !infer_has_list(graph, node, AT_sizes, x->rank - 2))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = expr_muli(graph->cx, w->shape[1], node->attrs[AT_groups].i);
    for (int s = 0; s < x->rank - 2; s++) {
        out->shape[2 + s] = node->attrs[AT_sizes].exprs[s];
        if (out->shape[2 + s]->hi < 0)
            infer_fail(graph, "the result has a negative size");
    }
}

static void pooled(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Tensor *x = node->inputs[0];
    int spatial = x->rank - 2;
    out->rank = x->rank;
    if (spatial < 0) {
        infer_fail(graph, "pooling of %s: expected [n, c, spatial..]",
                   tensor_shape_text(graph->cx, x));
        return;
    }
    if (!window_attrs(graph, node, spatial) || !infer_has_list(graph, node, AT_kernel, spatial))
        return;
    out->shape[0] = x->shape[0];
    out->shape[1] = x->shape[1];
    for (int s = 0; s < spatial; s++) {
        int64_t kernel = node->attrs[AT_kernel].ints[s];
        if (kernel < 1 || kernel > WINDOW_MOST) {
            infer_fail(graph, "window of %lld elements", (long long)kernel);
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
        infer_fail(graph, "this pooling is not defined on %s", dtype_name(out->dtype));
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
