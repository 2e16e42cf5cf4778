/* Importers: losses, from gathers, elementwise operations and sums. */
#include "frontend/import_ops.h"

#include <string.h>

static Tensor *sum_all(Import *im, Tensor *x)
{
    int64_t axes[MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        axes[d] = d;
    return reduce(im, M_sum, x, x->rank, axes, false);
}

/* Negative log likelihood of class `target` in x [n, classes, ..]; what is ignored weighs nothing.
 */
static Tensor *likelihood_loss(Import *im, const OnnxNode *n, Tensor *x, Tensor *target,
                               Tensor *weights)
{
    const char *kind = attr_s(im, n, "reduction", "mean");
    bool ignores = attr(im, n, "ignore_index") != NULL, each = !strcmp(kind, "none"),
         total = !strcmp(kind, "sum");
    if (!each && !total && strcmp(kind, "mean") != 0)
        return fail(im, ST_bad_model, "reduction '%s'", onnx_printable(im->cx->arena, kind));
    if (tensor_is_poison(x) || x->rank != target->rank + 1 || x->rank < 2)
        return fail(im, ST_bad_model, "scores and classes of rank %d and %d", x->rank,
                    target->rank);
    Tensor *ids = to(im, target, DT_i64), *ignored = NULL;
    if (ignores) {
        const Expr *index = expr_const(im->cx, attr_i(im, n, "ignore_index", 0));
        ignored = ew(im, S_eq, ids, expr_scalar(im, DT_i64, index));
        ids = pick(im, ignored, scalar(im, ids, 0), ids);
    }
    Tensor *inputs[] = {x, unsqueeze(im, ids, 1)};
    Attr at[AT_count] = {[AT_axis] = attr_int(1)};
    Tensor *loss =
        ew1(im, S_neg, squeeze(im, graph_node(im->graph, OP_gather_elements, 2, inputs, at), 1));
    Tensor *weight_of = NULL, *zero = scalar(im, x, 0);
    if (weights)
        weight_of = graph_gather(im->graph, weights, ids, 0);
    else if (ignores)
        weight_of = graph_expand(im->graph, scalar(im, x, 1), ids->rank, ids->shape);
    if (ignored)
        weight_of = pick(im, ignored, zero, weight_of);
    if (weights)
        loss = ew(im, S_mul, loss, weight_of);
    if (ignored)
        loss = pick(im, ignored, zero, loss);
    if (each || tensor_is_poison(loss))
        return loss;
    Tensor *sum = sum_all(im, loss);
    if (total)
        return sum;
    Tensor *count =
        weight_of ? sum_all(im, weight_of) : expr_scalar(im, x->dtype, tensor_count(im->cx, loss));
    return ew(im, S_div, sum, count);
}

Tensor *import_likelihood_loss(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return to(im, likelihood_loss(im, n, wide(im, x), arg(im, n, 1), arg_maybe(im, n, 2)),
              x->dtype);
}

Tensor *import_cross_entropy(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *logs = log_softmax(im, wide(im, x), 1);
    if (wants(n, 1))
        set_result(im, 1, to(im, logs, x->dtype));
    return to(im, likelihood_loss(im, n, logs, arg(im, n, 1), arg_maybe(im, n, 2)), x->dtype);
}
