/* Importers: CenterCropPad, a slice of the axes that shrink and a pad of those that grow. */
#include "frontend/import_ops.h"

/* What is cut off or added before an axis; extents are known numbers. */
static bool crop_extents(Import *im, const Tensor *x, int count, const int64_t *axes,
                         const int64_t *sizes, const Expr **starts, const Expr **cut,
                         const Expr **before, const Expr **after)
{
    Cx *cx = im->cx;
    for (int d = 0; d < x->rank; d++) {
        starts[d] = before[d] = after[d] = expr_const(cx, 0);
        cut[d] = x->shape[d];
    }
    for (int i = 0; i < count; i++) {
        int d = (int)axes[i];
        if (x->shape[d]->kind != EX_const) {
            fail(im, ST_unsupported, "dim %d has to be a number", d);
            return false;
        }
        int64_t in = x->shape[d]->value, out = sizes[i];
        if (out < 0 || out > INT64_C(1) << 40) {
            fail(im, ST_bad_model, "size %lld of axis %d", (long long)out, d);
            return false;
        }
        if (out < in) {
            starts[d] = expr_const(cx, (in - out) / 2);
            cut[d] = expr_const(cx, out);
        } else {
            before[d] = expr_const(cx, (out - in) / 2);
            after[d] = expr_const(cx, out - in - (out - in) / 2);
        }
    }
    return true;
}

Tensor *import_center_crop_pad(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *shape = arg(im, n, 1);
    int64_t axes[MAX_RANK], sizes[2 * MAX_RANK], steps[MAX_RANK];
    const Expr *starts[MAX_RANK], *cut[MAX_RANK], *before[MAX_RANK], *after[MAX_RANK];
    const int64_t *given;
    int count, size_count;
    if (tensor_is_poison(x) || !known_ints(im, shape, "the shape", &size_count, sizes))
        return graph_poison(im->graph);
    if (attr_list(im, n, "axes", &count, &given)) {
        if (!axes_of(im, count, given, x->rank, axes))
            return graph_poison(im->graph);
    } else {
        count = x->rank;
        for (int d = 0; d < count; d++)
            axes[d] = d;
    }
    if (count != size_count)
        return fail(im, ST_bad_model, "%d sizes for %d axes", size_count, count);
    if (cx_failed(im->cx) || !crop_extents(im, x, count, axes, sizes, starts, cut, before, after))
        return graph_poison(im->graph);
    for (int d = 0; d < x->rank; d++)
        steps[d] = 1;
    Tensor *inner = graph_slice(im->graph, x, starts, cut, steps);
    return graph_pad(im->graph, inner, scalar(im, x, 0), before, after, "constant");
}
