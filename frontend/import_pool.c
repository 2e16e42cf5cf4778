/* Importers: pooling over windows, pooling over whole images, and the inverse of maximum pooling.
 *
 * Padding is the identity of what is pooled. An average is a sum by a count of taps; the count is a
 * product of one list per spatial axis, computed here when the sizes are known and else by pooling
 * ones. */
#include "frontend/import_window.h"

#include <math.h>
#include <string.h>

enum { COUNTS_MOST = 1 << 16 };

static double lowest(Dtype dtype)
{
    if (dtype_is_float(dtype))
        return -INFINITY;
    return dtype_class(dtype) == DC_INT ? -ldexp(1, dtype_bits(dtype) - 1) : 0;
}

static Tensor *pooled(Import *im, GraphOp op, Monoid monoid, Tensor *x, const Window *w)
{
    int64_t kernel[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    for (int s = 0; s < w->spatial; s++)
        kernel[s] = w->kernel[s]->value;
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(monoid), [AT_kernel] = attr_ints(im->cx, w->spatial, kernel)};
    x = window_pad(im, x, w, monoid == M_sum ? 0 : lowest(x->dtype), at);
    return graph_node(im->graph, op, 1, &x, at);
}

/* ---- averages */

/* Taps t in [0, taps) with lo <= at + t * step < hi. */
static int64_t taps_inside(int64_t at, int64_t step, int64_t taps, int64_t lo, int64_t hi)
{
    int64_t count = 0;
    for (int64_t t = 0; t < taps; t++)
        count += at + t * step >= lo && at + t * step < hi;
    return count;
}

typedef struct Counted {
    const Expr *extent, *lo, *hi; /* of an axis of x; where taps count */
} Counted;

/* Numbers of counted taps by result along axis s, when everything is a number; NULL when it is not
 * or is too much. *same: all are equal. */
static double *known_counts(Import *im, const Window *w, int s, Counted in, int64_t results,
                            bool *same)
{
    bool known =
        in.lo->kind == EX_const && in.hi->kind == EX_const && w->before[s]->kind == EX_const;
    int64_t taps = w->kernel[s]->value;
    if (!known || results < 1 || results > COUNTS_MOST || taps > COUNTS_MOST / results)
        return NULL;
    double *counts = NEW_ARRAY(im->cx->arena, double, (size_t)results);
    *same = true;
    for (int64_t i = 0; i < results; i++) {
        int64_t at = i * w->strides[s] - w->before[s]->value;
        counts[i] = (double)taps_inside(at, w->dilations[s], taps, in.lo->value, in.hi->value);
        *same &= counts[i] == counts[0];
    }
    return counts;
}

/* The same for any sizes: pools a line of ones. */
static Tensor *pooled_counts(Import *im, const Window *w, int s, Counted in, Dtype dtype)
{
    Cx *cx = im->cx;
    Window line = {.spatial = 1,
                   .kernel = {w->kernel[s]},
                   .reach = {w->reach[s]},
                   .strides = {w->strides[s]},
                   .dilations = {w->dilations[s]},
                   .before = {expr_add(cx, w->before[s], in.lo)}};
    const Expr *one = expr_const(cx, 1), *shape[] = {one, one, expr_sub(cx, in.hi, in.lo)};
    line.last[0] = line.after[0] = expr_add(cx, w->last[s], expr_sub(cx, in.extent, in.hi));
    Tensor *ones = graph_fill(im->graph, graph_scalar(im->graph, dtype, 1), 3, shape);
    Tensor *y = pooled(im, OP_window, M_sum, ones, &line);
    return tensor_is_poison(y) ? y : reshape(im, y, 1, &y->shape[2]);
}

/* Number of taps by which each sum is divided; broadcasts over the sums `y`. */
static Tensor *divisor(Import *im, const Tensor *x, const Tensor *y, const Window *w,
                       bool padding_counts)
{
    Cx *cx = im->cx;
    if (tensor_is_poison(y))
        return graph_poison(im->graph);
    double common = 1;
    Tensor *all = NULL;
    for (int s = 0; s < w->spatial; s++) {
        const Expr *results = y->shape[2 + s], *extent = x->shape[2 + s];
        Counted in = {extent, expr_const(cx, 0), extent};
        if (padding_counts)
            in = (Counted){extent, expr_sub(cx, in.lo, w->before[s]),
                           expr_add(cx, extent, w->after[s])};
        bool same = false;
        int64_t length = results->kind == EX_const ? results->value : 0;
        double *counts = known_counts(im, w, s, in, length, &same);
        if (counts && same) {
            common *= counts[0];
            continue;
        }
        Tensor *each;
        if (counts) {
            each = graph_constant(im->graph, NULL, DT_f64, 1, &length, counts);
            each = to(im, each, y->dtype);
        } else {
            each = pooled_counts(im, w, s, in, y->dtype);
        }
        each = along(im, each, 2 + s, y->rank);
        all = all ? ew(im, S_mul, all, each) : each;
    }
    if (!all)
        return scalar(im, y, common);
    return common == 1 ? all : ew(im, S_mul, all, scalar(im, y, common));
}

Tensor *import_average_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Window w;
    if (!window_read(im, n, x, NULL, &w))
        return graph_poison(im->graph);
    Tensor *sum = pooled(im, OP_window, M_sum, wide(im, x), &w);
    return to(im,
              ew(im, S_div, sum, divisor(im, x, sum, &w, attr_i(im, n, "count_include_pad", 0))),
              x->dtype);
}

/* ---- norms */

/* A float in opset 1, an integer later. */
static double read_p(Import *im, const OnnxNode *n)
{
    double p = n->opset < 2 ? attr_f(im, n, "p", 2) : (double)attr_i(im, n, "p", 2);
    if (!(p > 0))
        fail(im, ST_bad_model, "p = %g, not positive", p);
    return p;
}

static Tensor *power(Import *im, Tensor *x, double p)
{
    if (p == 1)
        return ew1(im, S_abs, x);
    if (p == 2)
        return ew(im, S_mul, x, x);
    return ew(im, S_pow, ew1(im, S_abs, x), scalar(im, x, p));
}

static Tensor *root(Import *im, Tensor *x, double p)
{
    if (p == 1)
        return x;
    return p == 2 ? ew1(im, S_sqrt, x) : ew(im, S_pow, x, scalar(im, x, 1 / p));
}

Tensor *import_lp_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    double p = read_p(im, n);
    Window w;
    if (!window_read(im, n, x, NULL, &w))
        return graph_poison(im->graph);
    Tensor *sum = pooled(im, OP_window, M_sum, power(im, wide(im, x), p), &w);
    return to(im, root(im, sum, p), x->dtype);
}

/* ---- over whole images */

static int spatial_axes(Import *im, const Tensor *x, int64_t *axes)
{
    if (x->rank < 2)
        fail(im, ST_bad_model, "expected an image [n, c, spatial..], got %s",
             tensor_shape_text(im->cx, x));
    for (int d = 2; d < x->rank; d++)
        axes[d - 2] = d;
    return x->rank < 2 ? 0 : x->rank - 2;
}

Tensor *import_global_average(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    int count = spatial_axes(im, x, axes);
    return to(im, mean(im, wide(im, x), count, axes, true), x->dtype);
}

Tensor *import_global_max(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    int count = spatial_axes(im, x, axes);
    return reduce(im, M_max, x, count, axes, true);
}

Tensor *import_global_lp(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    int count = spatial_axes(im, x, axes);
    double p = read_p(im, n);
    return to(im, root(im, reduce(im, M_sum, power(im, wide(im, x), p), count, axes, true), p),
              x->dtype);
}

/* ---- maxima and back */

/* Positions in x with the first spatial axis running fastest instead of the last. */
static Tensor *column_major(Import *im, Tensor *position, const Tensor *x)
{
    Cx *cx = im->cx;
    const Expr *image = product(im, x, 2, x->rank), *stride = expr_const(cx, 1);
    Tensor *inside = ew(im, S_mod, position, expr_scalar(im, DT_i64, image));
    Tensor *all = ew(im, S_sub, position, inside);
    for (int d = 2; d < x->rank; d++) {
        Tensor *behind = expr_scalar(im, DT_i64, product(im, x, d + 1, x->rank));
        Tensor *at = ew(im, S_div, inside, behind);
        inside = ew(im, S_mod, inside, behind);
        all = ew(im, S_add, all, ew(im, S_mul, at, expr_scalar(im, DT_i64, stride)));
        stride = expr_mul(cx, stride, dim(im, x, d));
    }
    return all;
}

Tensor *import_max_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Window w;
    if (!window_read(im, n, x, NULL, &w))
        return graph_poison(im->graph);
    if (wants(n, 1)) {
        for (int s = 0; s < w.spatial; s++)
            if (w.before[s]->kind != EX_const || w.last[s]->kind != EX_const)
                return fail(
                    im, ST_unsupported,
                    "output Indices with padding that depends on the size of the image: fix "
                    "that size");
        Tensor *position = pooled(im, OP_window_arg, M_argmax, x, &w);
        set_result(im, 1,
                   attr_i(im, n, "storage_order", 0) ? column_major(im, position, x) : position);
    }
    return pooled(im, OP_window, M_max, x, &w);
}

static Tensor *scatter_max(Import *im, Tensor *x, Tensor *at, Tensor *from)
{
    Attr attrs[AT_count] = {
        [AT_axis] = attr_int(1), [AT_monoid] = attr_int(M_max), [AT_mode] = attr_name("reduce")};
    Tensor *inputs[] = {x, at, from};
    return graph_node(im->graph, OP_scatter_elements, 3, inputs, attrs);
}

/* x [p, k] to where the positions say in p images of `size` elements, zeros elsewhere. Windows that
 * overlap name a position several times, with the same value each time. */
static Tensor *unpooled(Import *im, Tensor *x, Tensor *at, const Expr *size)
{
    if (tensor_is_poison(x) || tensor_is_poison(at))
        return graph_poison(im->graph);
    const Expr *shape[] = {x->shape[0], size};
    Tensor *image = graph_iota(im->graph, DT_i64, 2, x->shape, 0);
    at = ew(im, S_sub, at, ew(im, S_mul, image, expr_scalar(im, DT_i64, size)));
    Tensor *low =
        graph_fill(im->graph, graph_scalar(im->graph, x->dtype, lowest(x->dtype)), 2, shape);
    Tensor *none = graph_fill(im->graph, graph_scalar(im->graph, DT_i32, 0), 2, shape);
    Tensor *one = graph_fill(im->graph, graph_scalar(im->graph, DT_i32, 1), 2, x->shape);
    Tensor *hit = ew(im, S_lt, scalar(im, one, 0), scatter_max(im, none, at, one));
    return pick(im, hit, scatter_max(im, low, at, x), scalar(im, x, 0));
}

/* Positions are those of the smallest image that the windows fit in; output_shape may ask for a
 * larger one. */
Tensor *import_max_unpool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *at = arg(im, n, 1), *wanted = arg_maybe(im, n, 2);
    Cx *cx = im->cx;
    const Expr *shape[MAX_RANK], *zeros[MAX_RANK], *more[MAX_RANK], *sizes[2 * MAX_RANK],
        *size = expr_const(cx, 1);
    Window w;
    int count = x->rank;
    if (!window_read(im, n, x, NULL, &w) ||
        (wanted && !known_list(im, wanted, "output_shape", &count, sizes)))
        return graph_poison(im->graph);
    if (count != x->rank)
        return fail(im, ST_bad_model, "output_shape lists %d numbers, not %d", count, x->rank);
    for (int d = 0; d < x->rank; d++) {
        int s = d - 2;
        shape[d] = x->shape[d];
        zeros[d] = expr_const(cx, 0);
        if (d >= 2) {
            const Expr *full = expr_add(
                cx, expr_muli(cx, expr_addi(cx, x->shape[d], -1), w.strides[s]), w.kernel[s]);
            shape[d] = expr_sub(cx, full, expr_add(cx, w.before[s], w.after[s]));
            size = expr_mul(cx, size, shape[d]);
        }
        more[d] = wanted ? expr_sub(cx, sizes[d], shape[d]) : zeros[d];
    }
    const Expr *flat[] = {product(im, x, 0, 2), product(im, x, 2, x->rank)};
    Tensor *y = unpooled(im, reshape(im, x, 2, flat), reshape(im, at, 2, flat), size);
    y = reshape(im, y, x->rank, shape);
    return wanted ? graph_pad(im->graph, y, scalar(im, x, 0), zeros, more, "constant") : y;
}
