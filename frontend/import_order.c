/* Importers: operators that sort or select by value: TopK, Unique, Compress, NonMaxSuppression.
 * They run on the host; how large a result is may be known only when it has run. */
#include "frontend/import_ops.h"

#include <string.h>

/* What a tensor of one integer holds, as an expression; NULL when it is not known. */
static const Expr *one_known(Import *im, const Tensor *x)
{
    return x->elements && tensor_count_const(im->cx, x) == 1 ? x->elements[0] : NULL;
}

static bool is_one(Import *im, const Tensor *x)
{
    int64_t count = tensor_is_poison(x) ? 1 : tensor_count_const(im->cx, x);
    return x->rank == 0 || count == 1 || count < 0;
}

/* host_topk. The order of results is that of the values also with sorted = 0, which leaves it
 * open. */
Tensor *import_topk(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int axis = axis_of(im, attr_i(im, n, "axis", -1), x->rank);
    Tensor *k = n->opset < 10 ? host_int(im, attr_i(im, n, "k", -1)) : arg(im, n, 1);
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    if (!is_one(im, k) || !dtype_is_int(k->dtype))
        return fail(im, ST_bad_model, "k is %s %s, not one integer", dtype_name(k->dtype),
                    tensor_shape_text(im->cx, k));
    const Expr *size = one_known(im, k), *most = x->shape[axis], *shape[MAX_RANK];
    if (size && (size->hi < 0 || size->lo > most->hi))
        return fail(im, ST_bad_model, "k is %lld, the axis has %lld elements",
                    (long long)(size->hi < 0 ? size->hi : size->lo), (long long)most->hi);
    memcpy(shape, x->shape, (size_t)x->rank * sizeof *shape);
    shape[axis] = size ? size : graph_fresh_dim(im->graph, most->hi);
    const HostResult results[] = {{x->dtype, x->rank, shape, NULL}, {DT_i64, x->rank, shape, NULL}};
    Tensor *inputs[] = {x, k, host_int(im, axis), host_int(im, attr_i(im, n, "largest", 1) != 0)};
    Tensor *outputs[2];
    graph_host(im->graph, "topk", 4, inputs, 2, results, outputs);
    set_result(im, 1, outputs[1]);
    return outputs[0];
}

/* host_unique gives the first occurrences; the elements are gathered by them. */
Tensor *import_unique(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *along = attr(im, n, "axis");
    int axis = along ? axis_of(im, attr_i(im, n, "axis", 0), x->rank) : 0;
    bool sorted = attr_i(im, n, "sorted", 1);
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    const Expr *count = along ? x->shape[axis] : tensor_count(im->cx, x);
    const Expr *found = graph_fresh_dim(im->graph, count->hi);
    const HostResult results[] = {
        {DT_i64, 1, &found, NULL}, {DT_i64, 1, &count, NULL}, {DT_i64, 1, &found, NULL}};
    Tensor *inputs[] = {x, along ? host_int(im, axis) : host_arg(im, NULL), host_int(im, sorted)};
    Tensor *outputs[3];
    if (!graph_host(im->graph, "unique", 3, inputs, 3, results, outputs))
        return graph_poison(im->graph);
    for (uint32_t i = 0; i < 3; i++)
        set_result(im, i + 1, outputs[i]);
    if (!along)
        x = reshape(im, x, 1, &count);
    return gather_axis(im, x, outputs[0], axis);
}

/* The elements, or slices, at the positions where the condition holds. */
Tensor *import_compress(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *condition = arg(im, n, 1);
    const OnnxAttr *along = attr(im, n, "axis");
    int axis = along ? axis_of(im, attr_i(im, n, "axis", 0), x->rank) : 0;
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    if (condition->dtype != DT_bool || condition->rank != 1)
        return fail(im, ST_bad_model, "the condition is %s %s, not a list of bool",
                    dtype_name(condition->dtype), tensor_shape_text(im->cx, condition));
    if (!along) {
        const Expr *count = tensor_count(im->cx, x);
        x = reshape(im, x, 1, &count);
    }
    const Expr *one = expr_const(im->cx, 1);
    const Expr *found = graph_fresh_dim(im->graph, condition->shape[0]->hi);
    const HostResult result = {DT_i64, 2, (const Expr *[]){one, found}, NULL};
    Tensor *positions = host(im, "nonzero", 1, &condition, &result);
    return gather_axis(im, x, squeeze(im, positions, 0), axis);
}

Tensor *import_nms(Import *im, const OnnxNode *n)
{
    Tensor *inputs[6] = {arg(im, n, 0), arg(im, n, 1)};
    for (uint32_t i = 2; i < 5; i++)
        inputs[i] = host_arg(im, arg_maybe(im, n, i));
    inputs[5] = host_int(im, attr_i(im, n, "center_point_box", 0));
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    Tensor *boxes = inputs[0], *scores = inputs[1];
    if (boxes->rank != 3 || scores->rank != 3)
        return fail(im, ST_bad_model, "boxes are %s, scores %s; both have three dims",
                    tensor_shape_text(im->cx, boxes), tensor_shape_text(im->cx, scores));
    graph_same_dim(im->graph, boxes->shape[0], scores->shape[0]);
    graph_same_dim(im->graph, boxes->shape[1], scores->shape[2]);
    const Expr *most = tensor_count(im->cx, scores), *three = expr_const(im->cx, 3);
    const HostResult result = {DT_i64, 2, (const Expr *[]){NULL, three},
                               (const Expr *[]){most, NULL}};
    return host(im, "nms", 6, inputs, &result);
}
