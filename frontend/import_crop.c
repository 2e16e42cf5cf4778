/* Importers: CenterCropPad, a slice of the axes that shrink and a pad of those that grow. */
#include "frontend/import_ops.h"

/* What is cut off or added before an axis: one of the two is 0. */
static bool crop_extents(Import *im, const Tensor *x, int count, const int64_t *axes,
                         const Expr *const *sizes, const Expr **starts, const Expr **cut,
                         const Expr **before, const Expr **after)
{
    Cx *cx = im->cx;
    const Expr *zero = expr_const(cx, 0);
    for (int d = 0; d < x->rank; d++) {
        starts[d] = before[d] = after[d] = zero;
        cut[d] = x->shape[d];
    }
    for (int i = 0; i < count; i++) {
        int d = (int)axes[i];
        const Expr *in = x->shape[d], *out = sizes[i];
        if (out->lo < 0 || out->lo > INT64_C(1) << 40) {
            fail(im, ST_bad_model, "size %lld of axis %d", (long long)out->lo, d);
            return false;
        }
        const Expr *less = expr_max(cx, expr_sub(cx, in, out), zero);
        const Expr *more = expr_max(cx, expr_sub(cx, out, in), zero);
        starts[d] = expr_divi(cx, less, 2);
        cut[d] = expr_min(cx, in, out);
        before[d] = expr_divi(cx, more, 2);
        after[d] = expr_sub(cx, more, before[d]);
    }
    return true;
}

Tensor *import_center_crop_pad(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *shape = arg(im, n, 1);
    int64_t axes[MAX_RANK], steps[MAX_RANK];
    const Expr *sizes[2 * MAX_RANK], *starts[MAX_RANK], *cut[MAX_RANK], *before[MAX_RANK],
        *after[MAX_RANK];
    const int64_t *given;
    int count, size_count;
    if (tensor_is_poison(x) || !sizes_of(im, shape, "the shape", &size_count, sizes))
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
