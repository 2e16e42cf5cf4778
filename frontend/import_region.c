/* Importers: RoiAlign and MaxRoiPool: the bins of regions of an image.
 *
 * RoiAlign samples every bin at g x g points. With a fixed g the points are gathered; with g = 0 it
 * follows from the region, so that the number of points is known only in the run. A row of the
 * image is touched by few of a bin's points all the same: points lie more than half a row apart
 * unless there is only one. So their weights per row are a sum over a few candidates, and the
 * average is y[r] = A[r] X[r] B[r]', with A [bins, rows] and B [bins, columns]. ONNX's text does
 * not define `max`; its reference implementation takes the largest of the four weighted neighbours,
 * not of the interpolated values. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

/* ---- bins */

/* One axis of the regions; tensors are [regions, 1, 1]. */
typedef struct Side {
    Import *im;
    int64_t bins;
    const Expr *extent;            /* of the image */
    Tensor *length, *start, *size; /* extent and place of bin 0, as numbers */
    Tensor *points;                /* g, a whole number */
} Side;

static Tensor *number(Import *im, const Tensor *like, const Expr *e)
{
    return expr_scalar(im, tensor_is_poison(like) ? DT_f32 : like->dtype, e);
}

static Tensor *counter(Import *im, Dtype dtype, int rank, int axis, const Expr *extent)
{
    const Expr *shape[MAX_RANK];
    for (int d = 0; d < rank; d++)
        shape[d] = d == axis ? extent : expr_const(im->cx, 1);
    return graph_iota(im->graph, dtype, rank, shape, axis);
}

/* Corners `lo` and `hi` of regions [regions, 4 or 5]. */
static void read_side(Side *s, Tensor *rois, int lo, double scale, double shift, int64_t ratio)
{
    Import *im = s->im;
    const Expr *one = expr_const(im->cx, 1);
    Tensor *corner[2];
    for (int i = 0; i < 2; i++) {
        Tensor *at = slice_axis(im, rois, 1, expr_const(im->cx, lo + 2 * i), one);
        at = ew(im, S_mul, unsqueeze(im, at, 2), scalar(im, at, scale));
        corner[i] = ew(im, S_sub, at, scalar(im, at, shift));
    }
    Tensor *whole = ew(im, S_sub, corner[1], corner[0]), *bins = scalar(im, whole, (double)s->bins);
    if (!(shift > 0)) /* malformed regions count as one pixel */
        whole = ew(im, S_max, whole, scalar(im, whole, 1));
    s->length = number(im, whole, s->extent);
    s->start = corner[0];
    s->size = ew(im, S_div, whole, bins);
    s->points = ratio ? scalar(im, whole, (double)ratio) : ew1(im, S_ceil, s->size);
}

/* Points number `i` of all bins (which are axis 1); outside ones are no points of the image. */
static Tensor *point(const Side *s, Tensor *i, Tensor **inside)
{
    Import *im = s->im;
    if (tensor_is_poison(i))
        return i;
    Tensor *bin = counter(im, i->dtype, 3, 1, expr_const(im->cx, s->bins));
    Tensor *half = ew(im, S_add, i, scalar(im, i, 0.5)), *one = scalar(im, i, 1);
    Tensor *step = ew(im, S_div, ew(im, S_mul, half, s->size), ew(im, S_max, s->points, one));
    Tensor *p = ew(im, S_add, ew(im, S_add, s->start, ew(im, S_mul, bin, s->size)), step);
    *inside = ew(im, S_and, ew(im, S_le, scalar(im, p, -1), p), ew(im, S_le, p, s->length));
    Tensor *last = ew(im, S_sub, s->length, one);
    return ew(im, S_min, ew(im, S_max, p, scalar(im, p, 0)), last);
}

/* ---- a fixed number of points: gathers */

/* The two neighbours of each point along a side, [regions, bins, g], and their weights. */
typedef struct Pair {
    Tensor *at[2], *weight[2], *inside;
} Pair;

static void make_pair(const Side *s, int64_t ratio, Pair *pair)
{
    Import *im = s->im;
    Tensor *i = counter(im, tensor_is_poison(s->start) ? DT_f32 : s->start->dtype, 3, 2,
                        expr_const(im->cx, ratio));
    Tensor *p = point(s, i, &pair->inside), *base = ew1(im, S_floor, p);
    Tensor *last = expr_scalar(im, DT_i64, expr_addi(im->cx, s->extent, -1));
    Tensor *low = to(im, base, DT_i64), *zero = scalar(im, low, 0);
    low = ew(im, S_min, ew(im, S_max, low, zero), last); /* what is not a number reads a pixel */
    pair->at[0] = low;
    pair->at[1] = ew(im, S_min, ew(im, S_add, low, scalar(im, low, 1)), last);
    pair->weight[1] = ew(im, S_sub, p, base);
    pair->weight[0] = ew(im, S_sub, scalar(im, p, 1), pair->weight[1]);
}

/* [regions, bins, g] as [regions, bins, g, 1, 1, 1] for the rows, [.., 1, 1, bins, g, 1] for the
 * columns. */
static Tensor *spread_side(Import *im, Tensor *x, bool columns)
{
    const Expr *one = expr_const(im->cx, 1);
    if (tensor_is_poison(x))
        return x;
    const Expr *rows[] = {x->shape[0], x->shape[1], x->shape[2], one, one, one};
    const Expr *across[] = {x->shape[0], one, one, x->shape[1], x->shape[2], one};
    return reshape(im, x, 6, columns ? across : rows);
}

/* x [n, c, h, w] at all points: [regions, bins, g, bins, g, c], reduced over both g. */
static Tensor *gather_points(Import *im, Tensor *x, Tensor *batch, const Pair pairs[2],
                             bool average)
{
    static const int64_t last[] = {0, 2, 3, 1}, both[] = {2, 4};
    const Expr *pixels = product(im, x, 2, 4), *all = expr_mul(im->cx, x->shape[0], pixels);
    Tensor *image =
        reshape(im, graph_transpose(im->graph, x, last), 2, (const Expr *[]){all, x->shape[1]});
    const Expr *one = expr_const(im->cx, 1), *rois[] = {dim(im, batch, 0), one, one, one, one};
    Tensor *from = ew(im, S_mul, reshape(im, batch, 5, rois), expr_scalar(im, DT_i64, pixels));
    Tensor *y = NULL, *width = expr_scalar(im, DT_i64, x->shape[3]);
    for (int i = 0; i < 4; i++) {
        Tensor *row = spread_side(im, pairs[0].at[i / 2], false);
        Tensor *at =
            ew(im, S_add, ew(im, S_mul, row, width), spread_side(im, pairs[1].at[i % 2], true));
        at = ew(im, S_add, squeeze(im, at, 5), from);
        Tensor *weight = ew(im, S_mul, spread_side(im, pairs[0].weight[i / 2], false),
                            spread_side(im, pairs[1].weight[i % 2], true));
        Tensor *value = ew(im, S_mul, weight, graph_gather(im->graph, image, at, 0));
        y = !y ? value : ew(im, average ? S_add : S_max, y, value);
    }
    Tensor *inside = ew(im, S_and, spread_side(im, pairs[0].inside, false),
                        spread_side(im, pairs[1].inside, true));
    y = pick(im, inside, y, scalar(im, y, 0));
    return average ? mean(im, y, 2, both, false) : reduce(im, M_max, y, 2, both, false);
}

/* ---- as many points as the region asks for: weights of all rows */

enum { CANDIDATES = 7 };

/* Of the points of a bin that touch a row: what their weights there are. [regions, bins, rows] */
typedef struct Rows {
    Tensor *sum, *most, *least;
    Tensor *touched; /* whether a point is there */
    Tensor *outside; /* whether a point is outside of the image: [regions, bins, 1] */
} Rows;

/* Rows of one side. A point p touches floor(p) with weight 1 - t and the next row with t. */
static void weigh_rows(const Side *s, Rows *rows)
{
    Import *im = s->im;
    Tensor *one = scalar(im, s->start, 1), *zero = scalar(im, s->start, 0), *inside;
    Dtype dtype = tensor_is_poison(one) ? DT_f32 : one->dtype;
    Tensor *row = counter(im, dtype, 3, 2, s->extent), *last = ew(im, S_sub, s->length, one);
    Tensor *bin = counter(im, dtype, 3, 1, expr_const(im->cx, s->bins));
    Tensor *step = ew(im, S_div, s->size, ew(im, S_max, s->points, one));
    Tensor *origin = ew(im, S_add, s->start, ew(im, S_mul, bin, s->size));
    Tensor *above = ew(im, S_sub, ew(im, S_sub, row, one), origin);
    Tensor *low = ew1(im, S_floor, ew(im, S_sub, ew(im, S_div, above, step), scalar(im, one, 0.5)));
    low = ew(im, S_max, low, zero);
    *rows = (Rows){.sum = zero, .most = scalar(im, one, -1), .least = scalar(im, one, 2)};
    for (int c = 0; c < CANDIDATES; c++) {
        Tensor *i = ew(im, S_add, low, scalar(im, low, c)), *p = point(s, i, &inside);
        Tensor *base = ew1(im, S_floor, p), *t = ew(im, S_sub, p, base);
        Tensor *there = ew(im, S_and, inside, ew(im, S_lt, i, s->points));
        Tensor *next = ew(im, S_min, ew(im, S_add, base, one), last);
        Tensor *roles[] = {base, next}, *weights[] = {ew(im, S_sub, one, t), t};
        for (int r = 0; r < 2; r++) {
            Tensor *here = ew(im, S_and, there, ew(im, S_eq, row, roles[r]));
            rows->sum = ew(im, S_add, rows->sum, pick(im, here, weights[r], zero));
            rows->most = pick(im, here, ew(im, S_max, rows->most, weights[r]), rows->most);
            rows->least = pick(im, here, ew(im, S_min, rows->least, weights[r]), rows->least);
        }
    }
    rows->touched = ew(im, S_le, zero, rows->most);
    /* the first or the last point of a bin */
    Tensor *some = ew(im, S_le, one, s->points), *begins, *ends;
    point(s, zero, &begins);
    point(s, ew(im, S_sub, s->points, one), &ends);
    rows->outside = ew(im, S_and, some, ew1(im, S_not, ew(im, S_and, begins, ends)));
}

/* A X B' / points */
static Tensor *average_rows(Import *im, Tensor *image, const Side sides[2], const Rows rows[2])
{
    static const int64_t swap[] = {0, 1, 3, 2};
    Tensor *one = scalar(im, sides[0].points, 1);
    Tensor *count = ew(im, S_max, ew(im, S_mul, sides[0].points, sides[1].points), one);
    Tensor *across = unsqueeze(im, rows[1].sum, 1);
    if (tensor_is_poison(across))
        return across;
    Tensor *y = graph_matmul(im->graph, unsqueeze(im, rows[0].sum, 1), image);
    y = graph_matmul(im->graph, y, graph_transpose(im->graph, across, swap));
    return ew(im, S_div, y, unsqueeze(im, count, 1));
}

/* [regions, bins, rows] as [regions, 1, bins, 1, rows, 1], of columns as [.., 1, bins, 1, columns].
 */
static Tensor *beside(Import *im, Tensor *x, bool columns)
{
    const Expr *one = expr_const(im->cx, 1);
    if (tensor_is_poison(x))
        return x;
    const Expr *down[] = {x->shape[0], one, x->shape[1], one, x->shape[2], one};
    const Expr *across[] = {x->shape[0], one, one, x->shape[1], one, x->shape[2]};
    return reshape(im, x, 6, columns ? across : down);
}

/* The largest weighted pixel: a negative one counts most with its least weight. Points outside
 * count as 0; where there is no point the result is 0. */
static Tensor *largest_row(Import *im, Tensor *image, const Rows rows[2])
{
    static const int64_t pixels[] = {4, 5};
    const Expr *one = expr_const(im->cx, 1);
    const Expr *shape[] = {dim(im, image, 0), dim(im, image, 1), one, one,
                           dim(im, image, 2), dim(im, image, 3)};
    Tensor *x = reshape(im, image, 6, shape), *zero = scalar(im, x, 0);
    Tensor *most = ew(im, S_mul, beside(im, rows[0].most, false), beside(im, rows[1].most, true));
    Tensor *least =
        ew(im, S_mul, beside(im, rows[0].least, false), beside(im, rows[1].least, true));
    Tensor *weighted = ew(im, S_mul, x, pick(im, ew(im, S_le, zero, x), most, least));
    Tensor *touched =
        ew(im, S_and, beside(im, rows[0].touched, false), beside(im, rows[1].touched, true));
    Tensor *none = scalar(im, x, (double)-INFINITY);
    Tensor *y = reduce(im, M_max, pick(im, touched, weighted, none), 2, pixels, false);
    Tensor *outside =
        ew(im, S_or, beside(im, rows[0].outside, false), beside(im, rows[1].outside, true));
    outside = squeeze(im, squeeze(im, outside, 5), 4);
    y = pick(im, outside, ew(im, S_max, y, zero), y);
    return pick(im, ew(im, S_eq, y, none), zero, y);
}

/* ---- RoiAlign */

typedef struct Align {
    int64_t ratio;
    double scale, shift;
    bool average;
} Align;

static bool read_align(Import *im, const OnnxNode *n, Side sides[2], Align *a)
{
    const char *mode = attr_s(im, n, "mode", "avg");
    const char *place = attr_s(im, n, "coordinate_transformation_mode",
                               n->opset < 16 ? "output_half_pixel" : "half_pixel");
    a->average = !strcmp(mode, "avg");
    a->shift = !strcmp(place, "half_pixel") ? 0.5 : 0;
    a->ratio = attr_i(im, n, "sampling_ratio", 0);
    a->scale = attr_f(im, n, "spatial_scale", 1);
    sides[0].bins = attr_i(im, n, "output_height", 1);
    sides[1].bins = attr_i(im, n, "output_width", 1);
    if ((!a->average && strcmp(mode, "max") != 0) ||
        (strcmp(place, "half_pixel") != 0 && strcmp(place, "output_half_pixel") != 0))
        fail(im, ST_bad_model,
             "attribute 'mode' or 'coordinate_transformation_mode' is none of ONNX's");
    if (a->ratio < 0 || a->ratio > 1024 || sides[0].bins < 1 || sides[0].bins > 1 << 20 ||
        sides[1].bins < 1 || sides[1].bins > 1 << 20)
        fail(im, ST_bad_model, "%lld x %lld bins of %lld x %lld points", (long long)sides[0].bins,
             (long long)sides[1].bins, (long long)a->ratio, (long long)a->ratio);
    return !cx_failed(im->cx);
}

static bool are_regions(Import *im, const Tensor *x, const Tensor *rois, int columns)
{
    bool good = x->rank == 4 && rois->rank == 2 && dtype_is_float(x->dtype) &&
                dtype_is_float(rois->dtype) &&
                graph_same_dim(im->graph, rois->shape[1], expr_const(im->cx, columns));
    if (!good)
        fail(im, ST_bad_model, "regions %s of an image of %s", tensor_shape_text(im->cx, rois),
             tensor_shape_text(im->cx, x));
    return good;
}

Tensor *import_roi_align(Import *im, const OnnxNode *n)
{
    static const int64_t channels_first[] = {0, 3, 1, 2};
    Tensor *x = arg(im, n, 0), *rois = arg(im, n, 1), *batch = arg(im, n, 2), *y;
    Side sides[2] = {{.im = im}, {.im = im}};
    Align a;
    if (cx_failed(im->cx) || !are_regions(im, x, rois, 4) || !read_align(im, n, sides, &a))
        return graph_poison(im->graph);
    Tensor *image = wide(im, x);
    rois = to(im, rois, dtype_compute(x->dtype));
    batch = to(im, batch, DT_i64);
    for (int s = 0; s < 2; s++) {
        sides[s].extent = x->shape[2 + s];
        read_side(&sides[s], rois, 1 - s, a.scale, a.shift, a.ratio);
    }
    if (a.ratio) {
        Pair pairs[2];
        make_pair(&sides[0], a.ratio, &pairs[0]);
        make_pair(&sides[1], a.ratio, &pairs[1]);
        y = gather_points(im, image, batch, pairs, a.average);
        y = tensor_is_poison(y) ? y : graph_transpose(im->graph, y, channels_first);
    } else {
        Rows rows[2];
        weigh_rows(&sides[0], &rows[0]);
        weigh_rows(&sides[1], &rows[1]);
        image = graph_gather(im->graph, image, batch, 0);
        y = a.average ? average_rows(im, image, sides, rows) : largest_row(im, image, rows);
    }
    return to(im, y, x->dtype);
}

/* ---- MaxRoiPool */

/* Corner `at` of the regions on the image, a whole number (halves go away from 0, as C's round):
 * [regions, 1, 1]. */
static Tensor *whole_corner(Import *im, Tensor *rois, int at, double scale)
{
    Tensor *x = slice_axis(im, rois, 1, expr_const(im->cx, at), expr_const(im->cx, 1));
    x = ew(im, S_mul, unsqueeze(im, x, 2), scalar(im, x, scale));
    Tensor *up = ew1(im, S_floor, ew(im, S_add, ew1(im, S_abs, x), scalar(im, x, 0.5)));
    return pick(im, ew(im, S_lt, x, scalar(im, x, 0)), ew1(im, S_neg, up), up);
}

/* Which rows belong to which bin: [regions, bins, rows]. Bin i of a region of k rows is from
 * floor(i k / bins) to ceil((i + 1) k / bins), so that neighbours may share a row. */
static Tensor *bin_rows(Import *im, Tensor *low, Tensor *high, int64_t bins, const Expr *extent)
{
    if (tensor_is_poison(low))
        return low;
    Tensor *one = scalar(im, low, 1), *size = ew(im, S_add, ew(im, S_sub, high, low), one);
    size = ew(im, S_div, ew(im, S_max, size, one), scalar(im, low, (double)bins));
    Tensor *i = counter(im, low->dtype, 3, 1, expr_const(im->cx, bins));
    Tensor *from = ew1(im, S_floor, ew(im, S_mul, i, size));
    Tensor *until = ew1(im, S_ceil, ew(im, S_mul, ew(im, S_add, i, one), size));
    Tensor *row = counter(im, low->dtype, 3, 2, extent);
    return ew(im, S_and, ew(im, S_le, ew(im, S_add, low, from), row),
              ew(im, S_lt, row, ew(im, S_add, low, until)));
}

/* Girshick, arXiv 1504.08083; regions are [batch, x1, y1, x2, y2]. Empty bins are 0. */
Tensor *import_max_roi_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *rois = arg(im, n, 1), *inside[2];
    const int64_t *bins, rows[] = {3}, columns[] = {4};
    int count;
    if (cx_failed(im->cx) || !are_regions(im, x, rois, 5))
        return graph_poison(im->graph);
    if (!attr_list(im, n, "pooled_shape", &count, &bins) || count != 2 || bins[0] < 1 ||
        bins[1] < 1)
        return fail(im, ST_bad_model, "attribute 'pooled_shape' is not a height and a width");
    double scale = attr_f(im, n, "spatial_scale", 1);
    const Expr *zero = expr_const(im->cx, 0), *one = expr_const(im->cx, 1);
    Tensor *image = wide(im, x);
    rois = to(im, rois, dtype_compute(x->dtype));
    Tensor *batch = to(im, squeeze(im, slice_axis(im, rois, 1, zero, one), 1), DT_i64);
    for (int s = 0; s < 2; s++)
        inside[s] = bin_rows(im, whole_corner(im, rois, 2 - s, scale),
                             whole_corner(im, rois, 4 - s, scale), bins[s], x->shape[2 + s]);
    Tensor *least = scalar(im, image, (double)-INFINITY), *down, *across;
    /* [regions, c, bins, h, w] to [.., bins, w], then [regions, c, bins, bins, w] to the result */
    down = unsqueeze(im, unsqueeze(im, inside[0], 1), 4);
    across = unsqueeze(im, unsqueeze(im, inside[1], 1), 1);
    Tensor *y = unsqueeze(im, graph_gather(im->graph, image, batch, 0), 2);
    y = reduce(im, M_max, pick(im, down, y, least), 1, rows, false);
    y = reduce(im, M_max, pick(im, across, unsqueeze(im, y, 3), least), 1, columns, false);
    Tensor *some = ew(im, S_and, reduce(im, M_or, down, 1, rows, false),
                      reduce(im, M_or, across, 1, columns, false));
    return to(im, pick(im, some, y, scalar(im, y, 0)), x->dtype);
}
