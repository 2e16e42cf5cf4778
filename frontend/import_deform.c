/* Importers: DeformConv, a sampled image times a matrix, and Col2Im, which adds up overlapping
 * blocks.
 *
 * Col2Im works axis by axis, the last one first. Blocks [.., k, b, ..] of one axis, b positions of
 * k taps each, become a line of y pixels in which tap t of block i lies at i * stride + t *
 * dilation - pad. Zeros between the blocks make the stride 1; then row t has to move t * dilation
 * to the right before the rows are added up. Rows of length r (with enough zeros at their end) that
 * are read as one line and cut into rows of length r - dilation have moved just that far. */
#include "frontend/import_sample.h"
#include "frontend/import_window.h"

/* ---- deformable convolution */

typedef struct Deform {
    Import *im;
    Window window;
    int64_t groups, offset_groups;
    const Expr *batch, *channels, *taps, *points; /* taps of the kernel, pixels of the result */
    const Expr *sizes[MAX_RANK];                  /* of the result */
} Deform;

/* Where the taps lie without offsets along an axis: [taps, points]. */
static Tensor *regular_positions(Deform *d, int axis, Dtype dtype)
{
    Import *im = d->im;
    const Window *w = &d->window;
    const Expr *shape[MAX_RANK], *one = expr_const(im->cx, 1);
    int n = w->spatial;
    for (int s = 0; s < 2 * n; s++)
        shape[s] = one;
    shape[axis] = w->kernel[axis];
    Tensor *tap = graph_iota(im->graph, dtype, 2 * n, shape, axis);
    shape[axis] = one;
    shape[n + axis] = d->sizes[axis];
    Tensor *at = graph_iota(im->graph, dtype, 2 * n, shape, n + axis);
    at = ew(im, S_mul, at, scalar(im, at, (double)w->strides[axis]));
    tap = ew(im, S_mul, tap, scalar(im, tap, (double)w->dilations[axis]));
    Tensor *p = ew(im, S_sub, ew(im, S_add, at, tap), expr_scalar(im, dtype, w->before[axis]));
    for (int s = 0; s < n; s++) {
        shape[s] = w->kernel[s];
        shape[n + s] = d->sizes[s];
    }
    p = graph_expand(im->graph, p, 2 * n, shape);
    return reshape(im, p, 2, (const Expr *[]){d->taps, d->points});
}

/* The image at all taps of all pixels: [batch * offset groups, taps * points, channels]. */
static Tensor *sample_taps(Deform *d, Tensor *x, Tensor *offset)
{
    Import *im = d->im;
    Cx *cx = im->cx;
    const Expr *shape[MAX_RANK], *one = expr_const(cx, 1);
    const Expr *images = expr_muli(cx, d->batch, d->offset_groups);
    shape[0] = images;
    shape[1] = expr_divi(cx, d->channels, d->offset_groups);
    for (int s = 0; s < d->window.spatial; s++)
        shape[2 + s] = x->shape[2 + s];
    x = reshape(im, x, x->rank, shape);
    const Expr *apart[] = {images, d->taps, expr_const(cx, d->window.spatial), d->points};
    offset = reshape(im, offset, 4, apart);
    if (tensor_is_poison(x) || tensor_is_poison(offset))
        return graph_poison(im->graph);
    Sampler *s = NEW(cx->arena, Sampler);
    s->im = im;
    sampler_image(s, x, 2);
    for (int a = 0; a < s->spatial; a++) {
        Tensor *moved = squeeze(im, slice_axis(im, offset, 2, expr_const(cx, a), one), 2);
        Tensor *p = ew(im, S_add, regular_positions(d, a, offset->dtype), moved);
        const Expr *line[] = {images, expr_mul(cx, d->taps, d->points), one};
        sampler_axis(s, a, reshape(im, p, 3, line));
    }
    return sampler_read(s);
}

static bool read_deform(Deform *d, const OnnxNode *n, const Tensor *x, const Tensor *w,
                        const Tensor *offset)
{
    Import *im = d->im;
    d->groups = attr_i(im, n, "group", 1);
    d->offset_groups = attr_i(im, n, "offset_group", 1);
    if (cx_failed(im->cx) || x->rank < 3 || w->rank != x->rank || offset->rank != x->rank ||
        2 * (x->rank - 2) > MAX_RANK) {
        fail(im, ST_bad_model, "an image of %s with weights %s and offsets %s",
             tensor_shape_text(im->cx, x), tensor_shape_text(im->cx, w),
             tensor_shape_text(im->cx, offset));
        return false;
    }
    const Expr *groups = expr_const(im->cx, d->groups);
    if (d->groups < 1 || d->offset_groups < 1 || !graph_share(im->graph, x->shape[1], groups) ||
        !graph_share(im->graph, x->shape[1], expr_const(im->cx, d->offset_groups)) ||
        !graph_share(im->graph, w->shape[0], groups)) {
        fail(im, ST_bad_model, "%lld groups and %lld groups of offsets", (long long)d->groups,
             (long long)d->offset_groups);
        return false;
    }
    if (!window_read(im, n, x, w, &d->window))
        return false;
    d->batch = x->shape[0];
    d->channels = x->shape[1];
    d->taps = d->points = expr_const(im->cx, 1);
    for (int s = 0; s < d->window.spatial; s++) {
        d->sizes[s] = offset->shape[2 + s];
        d->taps = expr_mul(im->cx, d->taps, d->window.kernel[s]);
        d->points = expr_mul(im->cx, d->points, d->sizes[s]);
    }
    return true;
}

/* Zhu et al., arXiv 1811.11168: the weights times the image at positions moved by `offset`, each
 * tap scaled by `mask`. */
Tensor *import_deform_conv(Import *im, const OnnxNode *n)
{
    static const int64_t channels_first[] = {0, 1, 4, 2, 3};
    Tensor *x = arg(im, n, 0), *w = arg(im, n, 1), *offset = arg(im, n, 2);
    Tensor *bias = arg_maybe(im, n, 3), *mask = arg_maybe(im, n, 4);
    Deform *d = NEW(im->cx->arena, Deform);
    d->im = im;
    if (cx_failed(im->cx) || !read_deform(d, n, x, w, offset))
        return graph_poison(im->graph);
    Cx *cx = im->cx;
    Tensor *y = sample_taps(d, x, wide(im, offset));
    if (tensor_is_poison(y))
        return y;
    if (mask)
        y = ew(im, S_mul, y,
               reshape(im, wide(im, mask), 3,
                       (const Expr *[]){y->shape[0], y->shape[1], expr_const(cx, 1)}));
    const Expr *groups = expr_const(cx, d->groups);
    const Expr *apart[] = {d->batch, expr_const(cx, d->offset_groups), d->taps, d->points,
                           expr_divi(cx, d->channels, d->offset_groups)};
    y = reshape(im, y, 5, apart);
    const Expr *inner = expr_mul(cx, w->shape[1], d->taps);
    if (!tensor_is_poison(y))
        y = reshape(im, graph_transpose(im->graph, y, channels_first), 4,
                    (const Expr *[]){d->batch, groups, inner, d->points});
    Tensor *weights = reshape(
        im, wide(im, w), 3, (const Expr *[]){groups, expr_divi(cx, w->shape[0], d->groups), inner});
    const Expr *shape[MAX_RANK] = {d->batch, w->shape[0]};
    for (int s = 0; s < d->window.spatial; s++)
        shape[2 + s] = d->sizes[s];
    y = reshape(im, graph_matmul(im->graph, weights, y), x->rank, shape);
    if (bias)
        y = ew(im, S_add, y, along(im, wide(im, bias), 1, x->rank));
    return to(im, y, x->dtype);
}

/* ---- blocks to an image */

typedef struct Fold {
    int64_t kernel, blocks, stride, dilation, before, size;
} Fold;

/* Axis `axis` with zeros before and behind; negative numbers cut off. */
static Tensor *pad_axis(Import *im, Tensor *x, int axis, int64_t before, int64_t after)
{
    const Expr *front[MAX_RANK], *back[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    for (int d = 0; d < x->rank; d++)
        front[d] = back[d] = expr_const(im->cx, 0);
    front[axis] = expr_const(im->cx, before);
    back[axis] = expr_const(im->cx, after);
    return graph_pad(im->graph, x, scalar(im, x, 0), front, back, "constant");
}

/* x [outer, kernel, blocks, inner] as [outer, size, inner]. */
static Tensor *fold_axis(Import *im, Tensor *x, const Fold *f)
{
    Cx *cx = im->cx;
    if (tensor_is_poison(x))
        return x;
    const Expr *outer = x->shape[0], *inner = x->shape[3], *kernel = expr_const(cx, f->kernel);
    int64_t spaced = f->blocks * f->stride, moves = (f->kernel - 1) * f->dilation;
    int64_t line = f->before + f->size; /* what is needed of the sum */
    int64_t row = (spaced > line ? spaced : line) + moves + f->dilation;
    x = pad_axis(im, unsqueeze(im, x, 3), 3, 0, f->stride - 1);
    x = reshape(im, x, 4, (const Expr *[]){outer, kernel, expr_const(cx, spaced), inner});
    x = pad_axis(im, x, 2, 0, row - spaced);
    x = reshape(im, x, 3, (const Expr *[]){outer, expr_const(cx, f->kernel * row), inner});
    x = pad_axis(im, x, 1, 0, -f->kernel * f->dilation);
    x = reshape(im, x, 4,
                (const Expr *[]){outer, kernel, expr_const(cx, row - f->dilation), inner});
    x = reduce(im, M_sum, x, 1, (const int64_t[]){1}, false);
    return pad_axis(im, x, 1, -f->before, line - (row - f->dilation));
}

/* Blocks of every axis; their product is the number of columns. */
static bool read_folds(Import *im, const OnnxNode *n, const Tensor *x, int *count, Fold *folds)
{
    enum { MOST = 1 << 24 };
    int64_t image[2 * MAX_RANK], block[2 * MAX_RANK], strides[MAX_RANK], dilations[MAX_RANK],
        pads[2 * MAX_RANK], columns = 1;
    int blocks;
    if (!known_ints(im, arg(im, n, 1), "the image shape", count, image) ||
        !known_ints(im, arg(im, n, 2), "the block shape", &blocks, block))
        return false;
    if (x->rank != 3 || *count != blocks || *count < 1 || *count > MAX_RANK / 3) {
        fail(im, ST_bad_model, "%s as an image of %d axes from blocks of %d",
             tensor_shape_text(im->cx, x), *count, blocks);
        return false;
    }
    if (!window_list(im, n, "strides", *count, 1, strides) ||
        !window_list(im, n, "dilations", *count, 1, dilations) ||
        !window_list(im, n, "pads", 2 * *count, 0, pads))
        return false;
    for (int s = 0; s < *count; s++) {
        int64_t reach = 0, after = pads[*count + s];
        bool good = image[s] >= 1 && image[s] <= MOST && block[s] >= 1 && block[s] <= MOST &&
                    strides[s] >= 1 && dilations[s] >= 1 && pads[s] >= 0 && after >= 0;
        if (good)
            reach = image[s] + pads[s] + after - dilations[s] * (block[s] - 1) - 1;
        if (!good || reach < 0 || columns > MOST) {
            fail(im, ST_bad_model, "blocks of %lld in an image of %lld", (long long)block[s],
                 (long long)image[s]);
            return false;
        }
        folds[s] =
            (Fold){block[s], reach / strides[s] + 1, strides[s], dilations[s], pads[s], image[s]};
        columns *= folds[s].blocks;
    }
    if (graph_same_dim(im->graph, x->shape[2], expr_const(im->cx, columns)))
        return true;
    fail(im, ST_bad_model, "%s are not %lld blocks", tensor_shape_text(im->cx, x),
         (long long)columns);
    return false;
}

/* x [n, c * kernels.., blocks..] as [n, c, image..]. */
Tensor *import_col2im(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Fold folds[2 * MAX_RANK];
    Cx *cx = im->cx;
    int count;
    int64_t taps = 1;
    if (cx_failed(cx) || !read_folds(im, n, x, &count, folds))
        return graph_poison(im->graph);
    for (int s = 0; s < count; s++)
        taps = taps > INT32_MAX ? taps : taps * folds[s].kernel;
    const Expr *batch = x->shape[0];
    const Expr *channels = graph_share(im->graph, x->shape[1], expr_const(cx, taps));
    if (!channels)
        return fail(im, ST_bad_model, "%s does not hold blocks of %lld", tensor_shape_text(cx, x),
                    (long long)taps);
    const Expr *shape[MAX_RANK] = {batch, channels}, *done = expr_const(cx, 1);
    const Expr *planes = expr_mul(cx, batch, channels), *columns = x->shape[2];
    Tensor *y = x;
    for (int s = count - 1; s >= 0; s--) {
        static const int64_t next[] = {0, 2, 1, 3, 4};
        const Fold *f = &folds[s];
        taps /= f->kernel;
        columns = expr_divi(cx, columns, f->blocks);
        const Expr *outer = expr_muli(cx, planes, taps), *kernel = expr_const(cx, f->kernel);
        const Expr *blocks = expr_const(cx, f->blocks);
        y = reshape(im, y, 5, (const Expr *[]){outer, kernel, columns, blocks, done});
        if (tensor_is_poison(y))
            return y;
        outer = expr_mul(cx, outer, columns);
        y = reshape(im, graph_transpose(im->graph, y, next), 4,
                    (const Expr *[]){outer, kernel, blocks, done});
        y = fold_axis(im, y, f);
        done = expr_muli(cx, done, f->size);
        shape[2 + s] = expr_const(cx, f->size);
    }
    return reshape(im, y, 2 + count, shape);
}
