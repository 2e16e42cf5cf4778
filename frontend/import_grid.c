/* Importers: AffineGrid, a constant grid of positions times a matrix per batch. */
#include "frontend/import_ops.h"

enum { MOST_POINTS = 1 << 22 };

/* Positions in [-1, 1] of the points of a volume, x first, then 1: [points, spatial + 1]. */
static float *base_grid(Import *im, const int64_t *extents, int spatial, int64_t points,
                        bool corners)
{
    size_t width = (size_t)spatial + 1;
    float *grid = NEW_ARRAY(im->cx->arena, float, (size_t)points *width);
    for (int64_t p = 0; p < points; p++) {
        int64_t rest = p;
        for (int s = spatial - 1; s >= 0; s--) {
            int64_t n = extents[s];
            double i = (double)(rest % n), count = (double)n;
            double at = !corners ? (2 * i + 1) / count - 1 : n > 1 ? 2 * i / (count - 1) - 1 : -1;
            grid[(size_t)p * width + (size_t)(spatial - 1 - s)] = (float)at;
            rest /= n;
        }
        grid[(size_t)p * width + (size_t)spatial] = 1;
    }
    return grid;
}

Tensor *import_affine_grid(Import *im, const OnnxNode *n)
{
    Tensor *theta = arg(im, n, 0);
    int64_t size[2 * MAX_RANK], points = 1;
    int count;
    if (tensor_is_poison(theta) || !known_ints(im, arg(im, n, 1), "the size", &count, size))
        return graph_poison(im->graph);
    int spatial = count - 2;
    if (count < 4 || count > 5 || theta->rank != 3 || !dtype_is_float(theta->dtype))
        return fail(im, ST_bad_model, "%d sizes, and a matrix of %s", count,
                    tensor_shape_text(im->cx, theta));
    for (int s = 0; s < spatial; s++) {
        if (size[2 + s] < 1 || size[2 + s] > MOST_POINTS / points)
            return fail(im, ST_unsupported, "size %lld", (long long)size[2 + s]);
        points *= size[2 + s];
    }
    const int64_t dims[] = {points, spatial + 1}, swap[] = {0, 2, 1};
    bool corners = attr_i(im, n, "align_corners", 0) != 0;
    float *grid = base_grid(im, size + 2, spatial, points, corners);
    Tensor *base =
        to(im, graph_constant(im->graph, NULL, DT_f32, 2, dims, grid), wide(im, theta)->dtype);
    Tensor *y = graph_matmul(im->graph, base, graph_transpose(im->graph, wide(im, theta), swap));
    if (tensor_is_poison(y) ||
        !graph_same_dim(im->graph, theta->shape[0], expr_const(im->cx, size[0])) ||
        !graph_same_dim(im->graph, theta->shape[1], expr_const(im->cx, spatial)))
        return fail(im, ST_bad_model, "matrices of %s for %d axes",
                    tensor_shape_text(im->cx, theta), spatial);
    const Expr *shape[MAX_RANK];
    for (int s = 0; s < spatial; s++)
        shape[1 + s] = expr_const(im->cx, size[2 + s]);
    shape[0] = expr_const(im->cx, size[0]);
    shape[1 + spatial] = expr_const(im->cx, spatial);
    return to(im, reshape(im, y, spatial + 2, shape), theta->dtype);
}
