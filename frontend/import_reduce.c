/* Importers: reductions, positions of extremes, cumulative sums, softmax and its relatives,
 * normalisations.
 *
 * Formulas over narrow floats compute in float32 (wide) and are rounded once, at their end. */
#include "frontend/import_ops.h"

#include <math.h>

typedef struct Axes {
    int count;
    int64_t list[MAX_RANK];
    bool keep;
} Axes;

/* Axes from the attribute or from input 1; all when there are none, unless noop_with_empty_axes. */
static bool read_axes(Import *im, const OnnxNode *n, const Tensor *x, Axes *axes)
{
    int64_t list[2 * MAX_RANK];
    axes->keep = attr_i(im, n, "keepdims", 1);
    if (!list_or_input(im, n, "axes", 1, &axes->count, list))
        return false;
    if (axes->count > 0)
        return axes_of(im, axes->count, list, x->rank, axes->list);
    axes->count = attr_i(im, n, "noop_with_empty_axes", 0) ? 0 : x->rank;
    for (int d = 0; d < axes->count; d++)
        axes->list[d] = d;
    return !cx_failed(im->cx);
}

static Tensor *over(Import *im, Monoid monoid, Tensor *x, const Axes *axes)
{
    return reduce(im, monoid, x, axes->count, axes->list, axes->keep);
}

/* Max and min of bool are or and and. */
Tensor *import_reduce(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Monoid monoid = (Monoid)im->arg;
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    if (x->dtype == DT_bool)
        monoid = monoid == M_max ? M_or : monoid == M_min ? M_and : monoid;
    return over(im, monoid, x, &axes);
}

Tensor *import_reduce_mean(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    if (!dtype_is_float(x->dtype))
        return mean(im, x, axes.count, axes.list, axes.keep);
    return to(im, mean(im, wide(im, x), axes.count, axes.list, axes.keep), x->dtype);
}

Tensor *import_reduce_l1(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    return over(im, M_sum, ew1(im, S_abs, x), &axes);
}

Tensor *import_reduce_sum_square(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    if (!dtype_is_float(x->dtype))
        return over(im, M_sum, ew(im, S_mul, x, x), &axes);
    Tensor *w = wide(im, x);
    return to(im, over(im, M_sum, ew(im, S_mul, w, w), &axes), x->dtype);
}

Tensor *import_reduce_l2(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    return to(im, ew1(im, S_sqrt, over(im, M_sum, ew(im, S_mul, w, w), &axes)), x->dtype);
}

Tensor *import_reduce_log_sum(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    return to(im, ew1(im, S_log, over(im, M_sum, wide(im, x), &axes)), x->dtype);
}

/* log(sum(exp(x - m))) + m with m the maximum, or 0 where that is infinite. The maximum keeps its
 * axes for the difference. */
Tensor *import_reduce_log_sum_exp(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    Axes axes;
    if (!read_axes(im, n, x, &axes))
        return graph_poison(im->graph);
    Tensor *most = reduce(im, M_max, w, axes.count, axes.list, true);
    most = pick(im, ew1(im, S_isinf, most), scalar(im, w, 0), most);
    Tensor *sum =
        reduce(im, M_sum, ew1(im, S_exp, ew(im, S_sub, w, most)), axes.count, axes.list, true);
    Tensor *y = ew(im, S_add, ew1(im, S_log, sum), most);
    if (!axes.keep) /* the axes are 1 now: a sum over them takes them away */
        y = reduce(im, M_sum, y, axes.count, axes.list, false);
    return to(im, y, x->dtype);
}

static Tensor *position(Import *im, Monoid monoid, Tensor *x, int axis, bool keep, bool last)
{
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(monoid), [AT_axis] = attr_int(axis), [AT_keep] = attr_int(keep)};
    if (last)
        at[AT_last] = attr_int(1);
    return graph_node(im->graph, OP_arg, 1, &x, at);
}

Tensor *import_arg(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int axis = axis_of(im, attr_i(im, n, "axis", 0), x->rank);
    return position(im, (Monoid)im->arg, x, axis, attr_i(im, n, "keepdims", 1),
                    attr_i(im, n, "select_last_index", 0));
}

Tensor *import_scan(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axis[2 * MAX_RANK];
    int count;
    if (!known_ints(im, arg(im, n, 1), "axis", &count, axis))
        return graph_poison(im->graph);
    if (count != 1)
        return fail(im, ST_bad_model, "the axis is a list of %d", count);
    Attr at[AT_count] = {[AT_monoid] = attr_int(im->arg),
                         [AT_axis] = attr_int(axis_of(im, axis[0], x->rank)),
                         [AT_reverse] = attr_int(attr_i(im, n, "reverse", 0)),
                         [AT_exclusive] = attr_int(attr_i(im, n, "exclusive", 0))};
    return graph_node(im->graph, OP_scan, 1, &x, at);
}

/* ---- softmax; before opset 13 over everything from `axis` on */

Tensor *log_softmax(Import *im, Tensor *x, int axis)
{
    int64_t list[] = {axis};
    Tensor *w = wide(im, x);
    Tensor *shifted = ew(im, S_sub, w, reduce(im, M_max, w, 1, list, true));
    Tensor *sum = reduce(im, M_sum, ew1(im, S_exp, shifted), 1, list, true);
    Tensor *y = ew(im, S_sub, shifted, ew1(im, S_log, sum));
    return tensor_is_poison(x) ? x : to(im, y, x->dtype);
}

static Tensor *hardmax(Import *im, Tensor *x, int axis)
{
    if (tensor_is_poison(x))
        return x;
    Tensor *most = position(im, M_argmax, x, axis, true, false);
    Tensor *here = graph_iota(im->graph, DT_i64, x->rank, x->shape, axis);
    return to(im, ew(im, S_eq, here, most), x->dtype);
}

static Tensor *softmax(Import *im, Tensor *x, int axis)
{
    return graph_softmax(im->graph, x, axis, false);
}

enum { SOFTMAX, LOG_SOFTMAX, HARDMAX };

Tensor *import_softmax(Import *im, const OnnxNode *n)
{
    static Tensor *(*const kinds[])(Import * im, Tensor * x, int axis) = {softmax, log_softmax,
                                                                          hardmax};
    Tensor *x = arg(im, n, 0);
    bool flat = n->opset < 13;
    int64_t axis = attr_i(im, n, "axis", flat ? 1 : -1);
    if (!flat)
        return kinds[im->arg](im, x, axis_of(im, axis, x->rank));
    int at = axis == x->rank ? x->rank : axis_of(im, axis, x->rank);
    if (at == x->rank - 1)
        return kinds[im->arg](im, x, at);
    return reshape(im, kinds[im->arg](im, flatten(im, x, at), 1), x->rank, x->shape);
}

/* ---- normalisations */

static Tensor *normalize(Import *im, Tensor *x, int count, const int64_t *axes, double epsilon)
{
    Attr at[AT_count] = {
        [AT_axes] = attr_ints(im->cx, count, axes), [AT_epsilon] = attr_float(epsilon)};
    return graph_node(im->graph, OP_normalize, 1, &x, at);
}

/* 1 / sqrt(x + epsilon) */
static Tensor *inverse_root(Import *im, Tensor *x, double epsilon)
{
    Tensor *root = ew1(im, S_sqrt, ew(im, S_add, x, scalar(im, x, epsilon)));
    return ew(im, S_div, scalar(im, x, 1), root);
}

static int from_axis(int axis, int rank, int64_t *axes)
{
    int count = 0;
    for (int d = axis; d < rank; d++)
        axes[count++] = d;
    return count;
}

static Tensor *variance(Import *im, Tensor *x, int count, const int64_t *axes)
{
    Tensor *d = ew(im, S_sub, x, mean(im, x, count, axes, true));
    return mean(im, ew(im, S_mul, d, d), count, axes, true);
}

/* A parameter in the type that `like` is computed in: parameters may have types of their own. */
static Tensor *as(Import *im, Tensor *x, const Tensor *like)
{
    return tensor_is_poison(like) ? graph_poison(im->graph) : to(im, x, like->dtype);
}

Tensor *import_layer_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *scale = arg(im, n, 1), *bias = arg_maybe(im, n, 2),
           *w = wide(im, x);
    int64_t axes[MAX_RANK];
    int count = from_axis(axis_of(im, attr_i(im, n, "axis", -1), x->rank), x->rank, axes);
    double epsilon = attr_f(im, n, "epsilon", 1e-5);
    Dtype stash = (Dtype)attr_i(im, n, "stash_type", DT_f32); /* the type of the statistics */
    if (wants(n, 1))
        set_result(im, 1, to(im, mean(im, w, count, axes, true), stash));
    if (wants(n, 2))
        set_result(im, 2, to(im, inverse_root(im, variance(im, w, count, axes), epsilon), stash));
    Tensor *y = ew(im, S_mul, normalize(im, w, count, axes, epsilon), as(im, scale, w));
    return to(im, bias ? ew(im, S_add, y, as(im, bias, w)) : y, x->dtype);
}

Tensor *import_rms_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *scale = arg(im, n, 1), *w = wide(im, x);
    int64_t axes[MAX_RANK];
    int count = from_axis(axis_of(im, attr_i(im, n, "axis", -1), x->rank), x->rank, axes);
    Tensor *square = mean(im, ew(im, S_mul, w, w), count, axes, true);
    Tensor *y = ew(im, S_mul, w, inverse_root(im, square, attr_f(im, n, "epsilon", 1e-5)));
    return to(im, ew(im, S_mul, y, as(im, scale, w)), x->dtype);
}

/* y * scale + bias, with one of each per channel (axis 1). */
static Tensor *per_channel(Import *im, Tensor *y, Tensor *scale, Tensor *bias, int rank)
{
    y = ew(im, S_mul, y, along(im, as(im, scale, y), 1, rank));
    return ew(im, S_add, y, along(im, as(im, bias, y), 1, rank));
}

Tensor *import_instance_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    int64_t axes[MAX_RANK];
    int count = from_axis(2, x->rank, axes);
    Tensor *y = normalize(im, w, count, axes, attr_f(im, n, "epsilon", 1e-5));
    return to(im, per_channel(im, y, arg(im, n, 1), arg(im, n, 2), x->rank), x->dtype);
}

/* [n, c, ..] as [n, groups, c / groups, ..]. Scale and bias: per group in opset 18, per channel
 * later. */
Tensor *import_group_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x), *scale = arg(im, n, 1), *bias = arg(im, n, 2);
    const Expr *shape[MAX_RANK + 1];
    int64_t groups = attr_i(im, n, "num_groups", 0), axes[MAX_RANK];
    const Expr *count_of_groups = expr_const(im->cx, groups);
    const Expr *each = graph_share(im->graph, dim(im, x, 1), count_of_groups);
    if (!each || x->rank >= MAX_RANK)
        return fail(im, ST_bad_model, "%lld groups of the channels of %s", (long long)groups,
                    tensor_shape_text(im->cx, x));
    shape[0] = x->shape[0];
    shape[1] = count_of_groups;
    shape[2] = each;
    for (int d = 2; d < x->rank; d++)
        shape[d + 1] = x->shape[d];
    int count = from_axis(2, x->rank + 1, axes);
    Tensor *y = normalize(im, reshape(im, w, x->rank + 1, shape), count, axes,
                          attr_f(im, n, "epsilon", 1e-5));
    if (n->opset < 21)
        return to(im, reshape(im, per_channel(im, y, scale, bias, x->rank + 1), x->rank, x->shape),
                  x->dtype);
    return to(im, per_channel(im, reshape(im, y, x->rank, x->shape), scale, bias, x->rank),
              x->dtype);
}

/* old * momentum + now * (1 - momentum) */
static Tensor *running(Import *im, Tensor *old, Tensor *now, double momentum)
{
    Tensor *kept = ew(im, S_mul, as(im, old, now), scalar(im, now, momentum));
    return to(im, ew(im, S_add, kept, ew(im, S_mul, now, scalar(im, now, 1 - momentum))),
              old->dtype);
}

static Tensor *batch_norm_training(Import *im, const OnnxNode *n, Tensor *x)
{
    int64_t axes[MAX_RANK], count = 0;
    double momentum = attr_f(im, n, "momentum", 0.9), epsilon = attr_f(im, n, "epsilon", 1e-5);
    for (int d = 0; d < x->rank; d++)
        if (d != 1)
            axes[count++] = d;
    Tensor *w = wide(im, x), *average = mean(im, w, (int)count, axes, true);
    Tensor *spread_of = variance(im, w, (int)count, axes);
    const Expr *channels[] = {dim(im, x, 1)};
    set_result(im, 1, running(im, arg(im, n, 3), reshape(im, average, 1, channels), momentum));
    set_result(im, 2, running(im, arg(im, n, 4), reshape(im, spread_of, 1, channels), momentum));
    Tensor *y = ew(im, S_mul, ew(im, S_sub, w, average), inverse_root(im, spread_of, epsilon));
    return to(im, per_channel(im, y, arg(im, n, 1), arg(im, n, 2), x->rank), x->dtype);
}

/* x * f + (bias - mean * f) with f = scale / sqrt(variance + epsilon): what depends on weights only
 * is folded at load. */
Tensor *import_batch_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    bool old = n->opset < 7;
    if (n->opset >= 14 && attr_i(im, n, "training_mode", 0))
        return batch_norm_training(im, n, x);
    if ((old && !attr_i(im, n, "is_test", 0)) || (n->opset < 14 && wants(n, 1)))
        return fail(im, ST_unsupported, "training mode: export the model for inference");
    if (!attr_i(im, n, "spatial", 1))
        return fail(im, ST_unsupported, "spatial = 0");
    if (x->rank < 2)
        return fail(im, ST_bad_model, "expected [n, c, ..], got %s", tensor_shape_text(im->cx, x));
    for (uint32_t i = 1; i <= 4; i++)
        if (!graph_same_dim(im->graph, dim(im, x, 1), dim(im, arg(im, n, i), 0)))
            return fail(im, ST_bad_model, "input %u does not fit the channels of %s", i,
                        tensor_shape_text(im->cx, x));
    Tensor *w = wide(im, x), *scale = as(im, arg(im, n, 1), w), *bias = as(im, arg(im, n, 2), w);
    Tensor *average = as(im, arg(im, n, 3), w), *spread_of = as(im, arg(im, n, 4), w);
    Tensor *f = ew(im, S_mul, scale, inverse_root(im, spread_of, attr_f(im, n, "epsilon", 1e-5)));
    Tensor *shift = ew(im, S_sub, bias, ew(im, S_mul, average, f));
    return to(im, per_channel(im, w, f, shift, x->rank), x->dtype);
}

/* x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ^ beta */
Tensor *import_lrn(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    int64_t size = attr_i(im, n, "size", 0);
    double alpha = attr_f(im, n, "alpha", 1e-4), beta = attr_f(im, n, "beta", 0.75),
           bias = attr_f(im, n, "bias", 1);
    if (size < 1 || size > 1 << 20 || x->rank < 2)
        return fail(im, ST_bad_model, "size %lld for %s", (long long)size,
                    tensor_shape_text(im->cx, x));
    Cx *cx = im->cx;
    const Expr *shape[] = {x->shape[0], expr_const(cx, 1), x->shape[1], product(im, x, 2, x->rank)};
    int64_t kernel[] = {size, 1}, ones[] = {1, 1},
            pads[] = {(size - 1) / 2, 0, size - 1 - (size - 1) / 2, 0};
    Attr at[AT_count] = {[AT_monoid] = attr_int(M_sum),
                         [AT_kernel] = attr_ints(cx, 2, kernel),
                         [AT_strides] = attr_ints(cx, 2, ones),
                         [AT_dilations] = attr_ints(cx, 2, ones),
                         [AT_pads] = attr_ints(cx, 4, pads)};
    Tensor *square = reshape(im, ew(im, S_mul, w, w), 4, shape);
    Tensor *sum = reshape(im, graph_node(im->graph, OP_window, 1, &square, at), x->rank, x->shape);
    Tensor *base =
        ew(im, S_add, ew(im, S_mul, sum, scalar(im, w, alpha / (double)size)), scalar(im, w, bias));
    return to(im, ew(im, S_div, w, ew(im, S_pow, base, scalar(im, w, beta))), x->dtype);
}

Tensor *import_lp_norm(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    int64_t axis[] = {axis_of(im, attr_i(im, n, "axis", -1), x->rank)}, p = attr_i(im, n, "p", 2);
    if (p != 1 && p != 2)
        return fail(im, ST_bad_model, "p = %lld, not 1 or 2", (long long)p);
    Tensor *each = p == 1 ? ew1(im, S_abs, w) : ew(im, S_mul, w, w);
    Tensor *norm = reduce(im, M_sum, each, 1, axis, true);
    norm = p == 1 ? norm : ew1(im, S_sqrt, norm);
    Tensor *none = ew(im, S_eq, norm, scalar(im, w, 0));
    return to(im, pick(im, none, scalar(im, w, 0), ew(im, S_div, w, norm)), x->dtype);
}

/* (x - mean) / (standard deviation + 1e-9) */
Tensor *import_mean_variance(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    static const int64_t usual[] = {0, 2, 3};
    const int64_t *from = usual;
    int64_t axes[MAX_RANK];
    int count = 3;
    if (!attr_list(im, n, "axes", &count, &from))
        count = 3, from = usual;
    if (!axes_of(im, count, from, x->rank, axes))
        return graph_poison(im->graph);
    Tensor *deviation = ew1(im, S_sqrt, variance(im, w, count, axes));
    Tensor *d = ew(im, S_sub, w, mean(im, w, count, axes, true));
    return to(im, ew(im, S_div, d, ew(im, S_add, deviation, scalar(im, w, 1e-9))), x->dtype);
}
