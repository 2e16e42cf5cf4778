/* Importers: matrix products, convolutions, pooling, and their quantised forms. Einsum is in
 * import_einsum.c. */
#include "frontend/import_ops.h"

#include <string.h>

/* numpy's matmul: a rank 1 operand is a row or a column whose axis goes away. */
static Tensor *matmul(Import *im, Tensor *a, Tensor *b)
{
    if (tensor_is_poison(a) || tensor_is_poison(b))
        return graph_poison(im->graph);
    if (!a->rank || !b->rank)
        return fail(im, ST_bad_model, "a product of %s by %s", tensor_shape_text(im->cx, a),
                    tensor_shape_text(im->cx, b));
    bool row = a->rank == 1, column = b->rank == 1;
    Tensor *y =
        graph_matmul(im->graph, row ? unsqueeze(im, a, 0) : a, column ? unsqueeze(im, b, 1) : b);
    if (tensor_is_poison(y))
        return y;
    if (column)
        y = squeeze(im, y, y->rank - 1);
    return row ? squeeze(im, y, y->rank - (column ? 1 : 2)) : y;
}

Tensor *import_matmul(Import *im, const OnnxNode *n)
{
    return matmul(im, arg(im, n, 0), arg(im, n, 1));
}

static Tensor *scaled(Import *im, Tensor *x, double factor)
{
    if (factor == 1 || tensor_is_poison(x))
        return x;
    if (!dtype_is_float(x->dtype) && factor != (double)(int32_t)factor)
        return fail(im, ST_unsupported, "a factor of %g for integers", factor);
    return ew(im, S_mul, x, scalar(im, x, factor));
}

Tensor *import_gemm(Import *im, const OnnxNode *n)
{
    static const int64_t swap[] = {1, 0};
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1), *c = arg_maybe(im, n, 2);
    if (cx_failed(im->cx) || a->rank != 2 || b->rank != 2)
        return fail(im, ST_bad_model, "operands that are no matrices");
    if (attr_i(im, n, "transA", 0))
        a = graph_transpose(im->graph, a, swap);
    if (attr_i(im, n, "transB", 0))
        b = graph_transpose(im->graph, b, swap);
    Tensor *y = scaled(im, graph_matmul(im->graph, a, b), attr_f(im, n, "alpha", 1));
    double beta = attr_f(im, n, "beta", 1);
    return c && beta != 0 ? ew(im, S_add, y, scaled(im, c, beta)) : y;
}

/* ---- windows */

typedef struct Window {
    int spatial;
    int64_t kernel[MAX_RANK], strides[MAX_RANK], dilations[MAX_RANK], pads[2 * MAX_RANK];
    bool symbolic_pads;                             /* `before` and `after` say it, pads are 0 */
    const Expr *before[MAX_RANK], *after[MAX_RANK]; /* by axis of the image */
} Window;

enum { WINDOW_MOST = 1 << 28 };

static bool window_list(Import *im, const OnnxNode *n, const char *name, int count, int64_t least,
                        int64_t *list)
{
    const int64_t *given;
    int length;
    if (!attr_list(im, n, name, &length, &given))
        return !cx_failed(im->cx);
    if (length != count) {
        fail(im, ST_bad_model, "attribute '%s' lists %d numbers, not %d", name, length, count);
        return false;
    }
    for (int i = 0; i < count; i++) {
        list[i] = given[i];
        if (given[i] < least || given[i] > WINDOW_MOST) {
            fail(im, ST_bad_model, "attribute '%s' holds %lld", name, (long long)given[i]);
            return false;
        }
    }
    return true;
}

static int64_t reach(const Window *w, int s)
{
    return (w->kernel[s] - 1) * w->dilations[s] + 1;
}

/* Padding such that the result has ceil(extent / stride) positions. */
static void same_pads(Import *im, const Tensor *x, bool upper, Window *w)
{
    Cx *cx = im->cx;
    const Expr *zero = expr_const(cx, 0);
    w->before[0] = w->before[1] = w->after[0] = w->after[1] = zero;
    for (int s = 0; s < w->spatial; s++) {
        const Expr *extent = x->shape[2 + s], *stride = expr_const(cx, w->strides[s]);
        const Expr *count = expr_ceildiv(cx, extent, stride);
        const Expr *total =
            expr_sub(cx, expr_muli(cx, expr_addi(cx, count, -1), w->strides[s]), extent);
        total = expr_max(cx, expr_addi(cx, total, reach(w, s)), zero);
        const Expr *less = expr_divi(cx, total, 2), *more = expr_sub(cx, total, less);
        const Expr *before = upper ? less : more, *after = upper ? more : less;
        w->before[2 + s] = before;
        w->after[2 + s] = after;
        if (before->kind == EX_const && after->kind == EX_const) {
            w->pads[s] = before->value;
            w->pads[w->spatial + s] = after->value;
        } else {
            w->symbolic_pads = true;
        }
    }
}

/* Everything but the kernel, which must be set (from the weights) or comes from kernel_shape. */
static bool read_window(Import *im, const OnnxNode *n, const Tensor *x, Window *w)
{
    w->spatial = x->rank - 2;
    if (w->spatial < 0) {
        fail(im, ST_bad_model, "expected an image [n, c, ..], got %s",
             tensor_shape_text(im->cx, x));
        return false;
    }
    for (int s = 0; s < w->spatial; s++)
        w->strides[s] = w->dilations[s] = 1;
    if (!window_list(im, n, "strides", w->spatial, 1, w->strides) ||
        !window_list(im, n, "dilations", w->spatial, 1, w->dilations) ||
        !window_list(im, n, "kernel_shape", w->spatial, 1, w->kernel))
        return false;
    const char *mode = attr_s(im, n, "auto_pad", "NOTSET");
    if (!strcmp(mode, "NOTSET") || !*mode)
        return window_list(im, n, "pads", 2 * w->spatial, -WINDOW_MOST, w->pads);
    bool upper = !strcmp(mode, "SAME_UPPER");
    if (upper || !strcmp(mode, "SAME_LOWER"))
        same_pads(im, x, upper, w);
    else if (strcmp(mode, "VALID") != 0)
        fail(im, ST_bad_model, "auto_pad '%s'", onnx_printable(im->cx->arena, mode));
    return !cx_failed(im->cx);
}

/* The kernel's extents from the weights [o, c, ..]; kernel_shape must say the same. */
static bool weight_window(Import *im, const OnnxNode *n, const Tensor *x, const Tensor *weights,
                          Window *w)
{
    if (weights->rank != x->rank || x->rank < 2) {
        fail(im, ST_bad_model, "image %s and kernel %s", tensor_shape_text(im->cx, x),
             tensor_shape_text(im->cx, weights));
        return false;
    }
    for (int s = 0; s + 2 < x->rank; s++) {
        const Expr *e = weights->shape[2 + s];
        if (e->kind != EX_const || e->value < 1 || e->value > WINDOW_MOST) {
            fail(im, ST_unsupported, "a kernel of unknown size: %s",
                 tensor_shape_text(im->cx, weights));
            return false;
        }
        w->kernel[s] = e->value;
    }
    if (!read_window(im, n, x, w))
        return false;
    for (int s = 0; s < w->spatial; s++)
        if (w->kernel[s] != weights->shape[2 + s]->value) {
            fail(im, ST_bad_model, "kernel_shape is not that of %s",
                 tensor_shape_text(im->cx, weights));
            return false;
        }
    return true;
}

static void window_attrs(Import *im, const Window *w, Attr at[AT_count])
{
    at[AT_strides] = attr_ints(im->cx, w->spatial, w->strides);
    at[AT_dilations] = attr_ints(im->cx, w->spatial, w->dilations);
    at[AT_pads] = attr_ints(im->cx, 2 * w->spatial, w->pads);
}

static Tensor *add_bias(Import *im, Tensor *y, Tensor *bias)
{
    return bias && !tensor_is_poison(y) ? ew(im, S_add, y, along(im, bias, 1, y->rank)) : y;
}

static Tensor *conv(Import *im, const OnnxNode *n, Tensor *x, Tensor *weights)
{
    Window w = {0};
    if (tensor_is_poison(x) || tensor_is_poison(weights) || !weight_window(im, n, x, weights, &w))
        return graph_poison(im->graph);
    if (w.symbolic_pads) {
        memset(w.pads, 0, sizeof w.pads);
        x = graph_pad(im->graph, x, scalar(im, x, 0), w.before, w.after, "constant");
    }
    Tensor *inputs[] = {x, weights};
    Attr at[AT_count] = {[AT_groups] = attr_int(attr_i(im, n, "group", 1))};
    window_attrs(im, &w, at);
    return graph_node(im->graph, OP_conv, 2, inputs, at);
}

Tensor *import_conv(Import *im, const OnnxNode *n)
{
    return add_bias(im, conv(im, n, arg(im, n, 0), arg(im, n, 1)), arg_maybe(im, n, 2));
}

/* Extent of the result and begin of the padding for axis s, from pads, output_padding or
 * output_shape. */
static const Expr *transposed_extent(Import *im, const OnnxNode *n, const Tensor *x, Window *w,
                                     int s, int64_t extra, int64_t wanted)
{
    Cx *cx = im->cx;
    const char *mode = attr_s(im, n, "auto_pad", "NOTSET");
    bool upper = !strcmp(mode, "SAME_UPPER"), same = upper || !strcmp(mode, "SAME_LOWER");
    const Expr *extent = x->shape[2 + s];
    const Expr *full =
        expr_addi(cx, expr_muli(cx, expr_addi(cx, extent, -1), w->strides[s]), extra + reach(w, s));
    if (wanted < 0 && !same)
        return expr_addi(cx, full, -w->pads[s] - w->pads[w->spatial + s]);
    const Expr *result =
        wanted >= 0 ? expr_const(cx, wanted) : expr_muli(cx, extent, w->strides[s]);
    const Expr *total = expr_sub(cx, full, result);
    if (total->kind != EX_const) {
        fail(im, ST_unsupported, "a given result size for an image of unknown size");
        return result;
    }
    int64_t all = total->value > 0 ? total->value : 0;
    w->pads[s] = upper ? all / 2 : all - all / 2;
    w->pads[w->spatial + s] = all - w->pads[s];
    return result;
}

Tensor *import_conv_transpose(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *weights = arg(im, n, 1), *bias = arg_maybe(im, n, 2);
    Window w = {0};
    int64_t extra[MAX_RANK] = {0}, wanted[MAX_RANK], given[2 * MAX_RANK];
    const Expr *sizes[MAX_RANK];
    const int64_t *list;
    int count;
    if (!weight_window(im, n, x, weights, &w) ||
        !window_list(im, n, "output_padding", w.spatial, 0, extra))
        return graph_poison(im->graph);
    w.symbolic_pads = false;
    for (int s = 0; s < w.spatial; s++)
        wanted[s] = -1;
    if (attr_list(im, n, "output_shape", &count, &list)) {
        if (count != w.spatial && count != x->rank)
            return fail(im, ST_bad_model, "output_shape lists %d numbers", count);
        memcpy(given, list, (size_t)count * sizeof *given);
        for (int s = 0; s < w.spatial; s++)
            wanted[s] = given[count - w.spatial + s];
    }
    for (int s = 0; s < w.spatial; s++)
        sizes[s] = transposed_extent(im, n, x, &w, s, extra[s], wanted[s]);
    Tensor *inputs[] = {x, weights};
    Attr at[AT_count] = {[AT_groups] = attr_int(attr_i(im, n, "group", 1)),
                         [AT_sizes] = attr_exprs(im->cx, w.spatial, sizes)};
    window_attrs(im, &w, at);
    return add_bias(im, graph_node(im->graph, OP_conv_transpose, 2, inputs, at), bias);
}

/* ---- pooling */

/* Positions of a pooling window along axis s, with ceil_mode; -1 when the extent is not known. */
static int64_t positions(const Window *w, int s, int64_t extent, bool ceil_mode)
{
    int64_t room = extent + w->pads[s] + w->pads[w->spatial + s] - reach(w, s),
            stride = w->strides[s];
    if (room < 0)
        return 0;
    int64_t count = (ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
    if (ceil_mode && (count - 1) * stride >=
                         extent + w->pads[s]) /* a window that starts in the padding behind */
        count--;
    return count;
}

typedef struct Pool {
    Window w;
    bool ceil_mode;
    int64_t ends[MAX_RANK]; /* padding behind, as the model has it: `w.pads` may be more, for
                               ceil_mode */
} Pool;

static bool read_pool(Import *im, const OnnxNode *n, const Tensor *x, Pool *p)
{
    Window *w = &p->w;
    if (!attr(im, n, "kernel_shape")) {
        fail(im, ST_bad_model, "attribute 'kernel_shape' is missing");
        return false;
    }
    if (!window_list(im, n, "kernel_shape", x->rank - 2, 1, w->kernel) || !read_window(im, n, x, w))
        return false;
    p->ceil_mode = attr_i(im, n, "ceil_mode", 0);
    if (w->symbolic_pads) {
        fail(im, ST_unsupported, "auto_pad with strides over an image of unknown size");
        return false;
    }
    for (int s = 0; s < w->spatial; s++) {
        const Expr *extent = x->shape[2 + s];
        p->ends[s] = w->pads[w->spatial + s];
        if (!p->ceil_mode || w->strides[s] == 1)
            continue;
        if (extent->kind != EX_const) {
            fail(im, ST_unsupported, "ceil_mode over an image of unknown size");
            return false;
        }
        int64_t count = positions(w, s, extent->value, true);
        w->pads[w->spatial + s] =
            (count - 1) * w->strides[s] + reach(w, s) - extent->value - w->pads[s];
    }
    return true;
}

static Tensor *window(Import *im, GraphOp op, const Pool *p, Monoid monoid, Tensor *x)
{
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(monoid), [AT_kernel] = attr_ints(im->cx, p->w.spatial, p->w.kernel)};
    window_attrs(im, &p->w, at);
    return graph_node(im->graph, op, 1, &x, at);
}

Tensor *import_max_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Pool p = {0};
    if (!read_pool(im, n, x, &p))
        return graph_poison(im->graph);
    if (wants(n, 1)) {
        if (attr_i(im, n, "storage_order", 0))
            return fail(im, ST_unsupported, "indices with storage_order = 1");
        set_result(im, 1, window(im, OP_window_arg, &p, M_argmax, x));
    }
    return window(im, OP_window, &p, M_max, x);
}

/* How many taps of the window at each position of axis s lie in [-begin, extent + end). */
static void count_taps(const Window *w, int s, int64_t extent, int64_t begin, int64_t end,
                       int64_t count, float *taps)
{
    for (int64_t i = 0; i < count; i++) {
        taps[i] = 0;
        for (int64_t k = 0; k < w->kernel[s]; k++) {
            int64_t at = i * w->strides[s] + k * w->dilations[s] - w->pads[s];
            taps[i] += at >= -begin && at < extent + end;
        }
    }
}

/* What sums are divided by: a number, or per-axis counts along each spatial axis; the padding
 * counts or not. */
static Tensor *divide_by_taps(Import *im, const Pool *p, Tensor *sum, const Tensor *x, bool include)
{
    const Window *w = &p->w;
    if (tensor_is_poison(sum))
        return sum;
    for (int s = 0; s < w->spatial; s++) {
        const Expr *extent = x->shape[2 + s];
        int64_t end = w->pads[w->spatial + s];
        bool all = include ? end == p->ends[s] : !w->pads[s] && end <= 0;
        if (all) {
            sum = ew(im, S_div, sum, scalar(im, sum, (double)w->kernel[s]));
            continue;
        }
        const Expr *count = dim(im, sum, 2 + s);
        if (extent->kind != EX_const || count->kind != EX_const || count->value > 1 << 20 ||
            w->kernel[s] > 1 << 12)
            return fail(im, ST_unsupported, "averages beside the edge of an image of unknown size");
        float *taps = NEW_ARRAY(im->cx->arena, float, count->value + 1);
        count_taps(w, s, extent->value, include ? w->pads[s] : 0, include ? p->ends[s] : 0,
                   count->value, taps);
        int64_t shape[] = {count->value};
        Tensor *list = graph_constant(im->graph, NULL, DT_f32, 1, shape, taps);
        sum = ew(im, S_div, sum, along(im, to(im, list, sum->dtype), 2 + s, x->rank));
    }
    return sum;
}

Tensor *import_average_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Pool p = {0};
    if (!read_pool(im, n, x, &p))
        return graph_poison(im->graph);
    Tensor *sum = window(im, OP_window, &p, M_sum, wide(im, x));
    return to(im, divide_by_taps(im, &p, sum, x, attr_i(im, n, "count_include_pad", 0)), x->dtype);
}

/* sum(|x|^p)^(1/p) */
static Tensor *power(Import *im, Tensor *x, double p)
{
    return p == 1 ? x : p == 2 ? ew(im, S_mul, x, x) : ew(im, S_pow, x, scalar(im, x, p));
}

static Tensor *root(Import *im, Tensor *x, double p)
{
    return p == 1 ? x : p == 2 ? ew1(im, S_sqrt, x) : ew(im, S_pow, x, scalar(im, x, 1 / p));
}

static double norm_order(Import *im, const OnnxNode *n)
{
    double p = n->opset < 2 ? attr_f(im, n, "p", 2) : (double)attr_i(im, n, "p", 2);
    if (!(p >= 1))
        fail(im, ST_bad_model, "p = %g", p);
    return p;
}

Tensor *import_lp_pool(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Pool p = {0};
    double order = norm_order(im, n);
    if (!read_pool(im, n, x, &p))
        return graph_poison(im->graph);
    Tensor *each = power(im, ew1(im, S_abs, wide(im, x)), order);
    return to(im, root(im, window(im, OP_window, &p, M_sum, each), order), x->dtype);
}

static int spatial_axes(const Tensor *x, int64_t *axes)
{
    int count = 0;
    for (int d = 2; d < x->rank; d++)
        axes[count++] = d;
    return count;
}

Tensor *import_global_average(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    int count = spatial_axes(x, axes);
    return to(im, mean(im, wide(im, x), count, axes, true), x->dtype);
}

Tensor *import_global_max(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    return reduce(im, M_max, x, spatial_axes(x, axes), axes, true);
}

Tensor *import_global_lp(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axes[MAX_RANK];
    double p = norm_order(im, n);
    int count = spatial_axes(x, axes);
    Tensor *each = power(im, ew1(im, S_abs, wide(im, x)), p);
    return to(im, root(im, reduce(im, M_sum, each, count, axes, true), p), x->dtype);
}

/* ---- integers: exact differences from the zero points, then a product of int32 */

/* A parameter of a matrix: one number, one per row or column (`axis` of x), or of x's rank already.
 */
static Tensor *beside(Import *im, Tensor *x, Tensor *p, int axis)
{
    return tensor_is_poison(x) || tensor_is_poison(p) || p->rank != 1 ? p : spread(im, x, p, axis);
}

static Tensor *difference(Import *im, Tensor *x, Tensor *zero, int axis, Dtype dtype)
{
    if (axis < 0)
        axis += x->rank;
    Tensor *value = to(im, x, dtype);
    return zero ? ew(im, S_sub, value, beside(im, x, to(im, zero, dtype), axis < 0 ? 0 : axis))
                : value;
}

Tensor *import_matmul_integer(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1);
    return matmul(im, difference(im, a, arg_maybe(im, n, 2), -2, DT_i32),
                  difference(im, b, arg_maybe(im, n, 3), -1, DT_i32));
}

Tensor *import_conv_integer(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = arg(im, n, 1);
    return conv(im, n, difference(im, x, arg_maybe(im, n, 2), 1, DT_i32),
                difference(im, w, arg_maybe(im, n, 3), 0, DT_i32));
}

Tensor *import_qlinear_matmul(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 3), *zero = arg(im, n, 7);
    if (cx_failed(im->cx) || a->rank < 2 || b->rank < 2)
        return fail(im, ST_unsupported, "operands that are no matrices");
    Dtype sums = dtype_is_int(a->dtype) ? DT_i32 : DT_f32;
    Tensor *y = matmul(im, difference(im, a, arg(im, n, 2), -2, sums),
                       difference(im, b, arg(im, n, 5), -1, sums));
    Tensor *scale_a = beside(im, a, to(im, arg(im, n, 1), DT_f32), a->rank - 2);
    Tensor *scale_b = beside(im, b, to(im, arg(im, n, 4), DT_f32), b->rank - 1);
    Tensor *real = ew(im, S_mul, to(im, y, DT_f32), ew(im, S_mul, scale_a, scale_b));
    Tensor *scale = beside(im, y, to(im, arg(im, n, 6), DT_f32), y->rank - 2);
    return quantize(im, real, scale, beside(im, y, to(im, zero, DT_f32), y->rank - 2), zero->dtype);
}

Tensor *import_qlinear_conv(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = arg(im, n, 3), *zero = arg(im, n, 7),
           *bias = arg_maybe(im, n, 8);
    Tensor *y = conv(im, n, difference(im, x, arg(im, n, 2), 1, DT_i32),
                     difference(im, w, arg(im, n, 5), 0, DT_i32));
    y = add_bias(im, y, bias);
    if (tensor_is_poison(y))
        return y;
    Tensor *scale_x = spread(im, y, to(im, arg(im, n, 1), DT_f32), 1);
    Tensor *scale_w = spread(im, y, to(im, arg(im, n, 4), DT_f32), 1);
    Tensor *real = ew(im, S_mul, to(im, y, DT_f32), ew(im, S_mul, scale_x, scale_w));
    Tensor *scale = spread(im, y, to(im, arg(im, n, 6), DT_f32), 1);
    return quantize(im, real, scale, spread(im, y, to(im, zero, DT_f32), 1), zero->dtype);
}
