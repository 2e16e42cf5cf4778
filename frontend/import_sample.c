/* Importers: GridSample, as gathers with weights.
 *
 * Along every spatial axis a position p gives taps: pixels floor(p) + k and their weights, which
 * are polynomials of p - floor(p). The result is the sum over all combinations of taps, added up
 * axis by axis. The image is read as [n, pixels, channels] with one row-major pixel number per tap,
 * so that a point costs one index whatever the number of channels. */
#include "frontend/import_sample.h"

#include <string.h>

/* Where a coordinate in [-1, 1] lies in an axis of `length` pixels. */
static Tensor *denormalize(const Sampler *s, Tensor *g, Tensor *length)
{
    Import *im = s->im;
    Tensor *one = scalar(im, g, 1), *half = scalar(im, g, 0.5), *shifted = ew(im, S_add, g, one);
    if (s->corners)
        return ew(im, S_mul, ew(im, S_mul, shifted, half), ew(im, S_sub, length, one));
    return ew(im, S_mul, ew(im, S_sub, ew(im, S_mul, shifted, length), one), half);
}

/* p folded at the borders lo and hi until it lies between them: with d = |p - lo| and the width w,
 * even quotients of d / w run upwards from lo and odd ones downwards from hi. */
static Tensor *reflect(Import *im, Tensor *p, Tensor *lo, Tensor *hi)
{
    Tensor *width = ew(im, S_max, ew(im, S_sub, hi, lo), scalar(im, p, 1)); /* 1 pixel: any width */
    Tensor *distance = ew1(im, S_abs, ew(im, S_sub, p, lo));
    Tensor *turns = ew1(im, S_floor, ew(im, S_div, distance, width));
    Tensor *rest = ew(im, S_sub, distance, ew(im, S_mul, turns, width));
    Tensor *half = ew(im, S_mul, turns, scalar(im, p, 0.5));
    Tensor *even = ew(im, S_eq, half, ew1(im, S_floor, half));
    return pick(im, even, ew(im, S_add, lo, rest), ew(im, S_sub, hi, rest));
}

/* Positions and pixels outside of [lo, hi] brought inside by the padding mode. */
static Tensor *fold(const Sampler *s, Tensor *p, Tensor *length)
{
    Import *im = s->im;
    double edge = s->corners ? 0 : 0.5;
    Tensor *zero = scalar(im, p, 0), *last = ew(im, S_sub, length, scalar(im, p, 1));
    Tensor *lo = scalar(im, p, -edge), *hi = ew(im, S_add, last, scalar(im, p, edge));
    Tensor *outside = ew(im, S_or, ew(im, S_lt, p, lo), ew(im, S_lt, hi, p));
    if (s->padding == PAD_zeros)
        return p;
    Tensor *moved = s->padding == PAD_border ? ew(im, S_min, ew(im, S_max, p, zero), last)
                                             : reflect(im, p, lo, hi);
    return pick(im, outside, moved, p);
}

/* Keys' cubic convolution with a = -0.75 (IEEE Trans. ASSP 29(6), 1981): weight at distance d. */
static Tensor *cubic_weight(Import *im, Tensor *d, bool near)
{
    const double a = -0.75;
    const double inner[] = {a + 2, -(a + 3), 0, 1}, outer[] = {a, -5 * a, 8 * a, -4 * a};
    const double *c = near ? inner : outer;
    Tensor *sum = scalar(im, d, c[0]);
    for (int i = 1; i < 4; i++)
        sum = ew(im, S_add, ew(im, S_mul, sum, d), scalar(im, d, c[i]));
    return sum;
}

/* Weight of pixel floor(p) + k; t = p - floor(p). */
static Tensor *tap_weight(Import *im, Tensor *t, int k, int taps)
{
    Tensor *one = scalar(im, t, 1);
    if (taps == 2)
        return k ? t : ew(im, S_sub, one, t);
    Tensor *d = k <= 0 ? ew(im, S_sub, t, scalar(im, t, k)) : ew(im, S_sub, scalar(im, t, k), t);
    return cubic_weight(im, d, k == 0 || k == 1);
}

/* What is not a number reads some pixel. */
void sampler_axis(Sampler *s, int axis, Tensor *p)
{
    Import *im = s->im;
    const Expr *extent = s->extents[axis];
    Taps *taps = &s->axes[axis];
    Tensor *length = expr_scalar(im, tensor_is_poison(p) ? DT_f32 : p->dtype, extent);
    Tensor *end = expr_scalar(im, DT_i32, extent);
    taps->count = s->taps;
    if (taps->count == 1)
        p = ew1(im, S_round, p);
    p = fold(s, p, length);
    Tensor *base = taps->count == 1 ? p : ew1(im, S_floor, p), *t = ew(im, S_sub, p, base);
    Tensor *zero = scalar(im, end, 0), *last = ew(im, S_sub, end, scalar(im, end, 1));
    for (int i = 0; i < taps->count; i++) {
        int k = taps->count == 4 ? i - 1 : i;
        Tensor *pixel = ew(im, S_add, base, scalar(im, base, k));
        if (s->padding == PAD_reflection)
            pixel = fold(s, pixel, length);
        Tensor *at = to(im, pixel, DT_i32);
        taps->inside[i] = ew(im, S_and, ew(im, S_le, zero, at), ew(im, S_lt, at, end));
        taps->at[i] = ew(im, S_min, ew(im, S_max, at, zero), last);
        taps->weight[i] = taps->count == 1 ? NULL : tap_weight(im, t, k, taps->count);
    }
}

/* Sum over the taps of `axis` and those behind it; `at` and `inside` say which taps were taken of
 * the axes in front. */
static Tensor *blend(const Sampler *s, int axis, Tensor *at, Tensor *inside)
{
    Import *im = s->im;
    if (axis == s->spatial) {
        Attr attrs[AT_count] = {[AT_axis] = attr_int(1)};
        Tensor *y = graph_node(im->graph, OP_gather_nd, 2, (Tensor *[]){s->pixels, at}, attrs);
        return s->padding == PAD_zeros ? pick(im, inside, y, scalar(im, y, 0)) : y;
    }
    const Taps *taps = &s->axes[axis];
    Tensor *sum = NULL, *extent = expr_scalar(im, s->number, s->extents[axis]);
    for (int i = 0; i < taps->count; i++) {
        Tensor *pixel = to(im, taps->at[i], s->number);
        pixel = at ? ew(im, S_add, ew(im, S_mul, at, extent), pixel) : pixel;
        Tensor *both = inside ? ew(im, S_and, inside, taps->inside[i]) : taps->inside[i];
        Tensor *y = blend(s, axis + 1, pixel, both);
        if (taps->weight[i])
            y = ew(im, S_mul, y, taps->weight[i]);
        sum = sum ? ew(im, S_add, sum, y) : y;
    }
    return sum;
}

Tensor *sampler_read(Sampler *s)
{
    return blend(s, 0, NULL, NULL);
}

void sampler_image(Sampler *s, Tensor *x, int taps)
{
    static const int64_t channels_last[] = {0, 2, 1};
    Import *im = s->im;
    const Expr *points = product(im, x, 2, x->rank);
    s->spatial = x->rank - 2;
    s->taps = taps;
    s->number = points->kind == EX_const && points->value <= INT32_MAX ? DT_i32 : DT_i64;
    Tensor *values = taps == 1 ? x : wide(im, x);
    values = reshape(im, values, 3, (const Expr *[]){x->shape[0], x->shape[1], points});
    s->pixels = graph_transpose(im->graph, values, channels_last);
    for (int a = 0; a < s->spatial; a++)
        s->extents[a] = x->shape[2 + a];
}

static int find_word(const char *word, int count, const char *const *list)
{
    for (int i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return i;
    return -1;
}

static bool read_sampler(Sampler *s, const OnnxNode *n, const Tensor *x, const Tensor *grid,
                         int *taps)
{
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    static const char *const modes[] = {"nearest", "linear", "cubic", /* opset 16: */
                                        "bilinear", "bicubic"};
    static const int counts[] = {1, 2, 4, 2, 4};
    Import *im = s->im;
    int padding = find_word(attr_s(im, n, "padding_mode", "zeros"), 3, paddings);
    int mode = find_word(attr_s(im, n, "mode", "linear"), 5, modes);
    s->corners = attr_i(im, n, "align_corners", 0) != 0;
    s->spatial = x->rank - 2;
    bool fits =
        s->spatial >= 1 && grid->rank == x->rank && dtype_is_float(grid->dtype) &&
        graph_same_dim(im->graph, x->shape[0], grid->shape[0]) &&
        graph_same_dim(im->graph, grid->shape[grid->rank - 1], expr_const(im->cx, s->spatial));
    if (!fits)
        fail(im, ST_bad_model, "a grid of %s for an image of %s", tensor_shape_text(im->cx, grid),
             tensor_shape_text(im->cx, x));
    else if (padding < 0 || mode < 0)
        fail(im, ST_bad_model, "attribute 'mode' or 'padding_mode' is none of ONNX's");
    if (cx_failed(im->cx))
        return false;
    s->padding = (Padding)padding;
    *taps = counts[mode];
    return true;
}

/* x [n, channels, spatial..] at grid [n, points.., spatial] gives [n, channels, points..]. The last
 * axis of the image comes first in the grid. ONNX's text leaves open how cubic taps treat borders;
 * this is its reference implementation: the position is folded first, then each tap. */
Tensor *import_grid_sample(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *grid = arg(im, n, 1);
    Sampler *s = NEW(im->cx->arena, Sampler);
    int taps;
    s->im = im;
    if (cx_failed(im->cx) || !read_sampler(s, n, x, grid, &taps))
        return graph_poison(im->graph);
    sampler_image(s, x, taps);
    for (int a = 0; a < s->spatial; a++) {
        Tensor *g = slice_axis(im, wide(im, grid), grid->rank - 1,
                               expr_const(im->cx, s->spatial - 1 - a), expr_const(im->cx, 1));
        if (tensor_is_poison(g))
            return g;
        sampler_axis(s, a, denormalize(s, g, expr_scalar(im, g->dtype, x->shape[2 + a])));
    }
    Tensor *y = sampler_read(s);
    if (tensor_is_poison(y))
        return y;
    int64_t perm[MAX_RANK] = {0, y->rank - 1};
    for (int d = 2; d < y->rank; d++)
        perm[d] = d - 1;
    return to(im, graph_transpose(im->graph, y, perm), x->dtype);
}
