/* Importers: Resize and Upsample, one axis after the other.
 *
 * Every result position of an axis reads a few neighbours with weights that are known when
 * compiling: tables of indices and weights, so y = sum over taps k of gather(x, index[k]) *
 * weight[k]. Nearest is one gather, or a broadcast when it repeats each element. Axes whose extents
 * are open are in import_resize_open.c. */
#include "frontend/import_resize.h"

#include <math.h>
#include <string.h>

typedef struct Axis {
    int axis;
    int64_t in, out;
    double scale;
} Axis;

/* Position in the input of result position i. `out` is the extent that the scale gives, which need
 * not be whole. */
static double unbounded(const Resize *r, const Axis *a, int64_t i)
{
    double x = (double)i, in = (double)a->in, out = a->scale * (double)a->in,
           from = r->from[a->axis], until = r->until[a->axis];
    if (!strcmp(r->coordinates, "asymmetric"))
        return x / a->scale;
    if (!strcmp(r->coordinates, "align_corners"))
        return out == 1 ? 0 : x * (in - 1) / (out - 1);
    if (!strcmp(r->coordinates, "tf_half_pixel_for_nn"))
        return (x + 0.5) / a->scale;
    if (!strcmp(r->coordinates, "pytorch_half_pixel"))
        return out == 1 ? 0 : (x + 0.5) / a->scale - 0.5;
    if (!strcmp(r->coordinates, "tf_crop_and_resize"))
        return out > 1 ? from * (in - 1) + x * (until - from) * (in - 1) / (out - 1)
                       : 0.5 * (from + until) * (in - 1);
    double shift = 0;
    if (!strcmp(r->coordinates, "half_pixel_symmetric"))
        shift = in / 2 * (1 - (double)a->out / out);
    return shift + (x + 0.5) / a->scale - 0.5;
}

/* The same within what an index can hold; a NaN is 0. */
static double source(const Resize *r, const Axis *a, int64_t i)
{
    double x = unbounded(r, a, i), most = 4.0 * MOST_EXTENT;
    return x > -most ? (x < most ? x : most) : isnan(x) ? 0 : -most;
}

static double cubic_weight(double x, double a)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double linear_weight(double x)
{
    return fabs(x) < 1 ? 1 - fabs(x) : 0;
}

/* Taps lie at base + first .. base - first + 1, where base < x <= base + 1. */
static int first_tap(const Resize *r, double scale)
{
    double reach = !strcmp(r->mode, "cubic") ? 2 : 1;
    scale = r->antialias && scale < 1 ? scale : 1;
    return (int)floor(-reach / scale) + 1;
}

static void weigh(const Resize *r, const Axis *a, double x, int first, int taps, int64_t *at,
                  double *weights)
{
    double base = ceil(x) - 1, shrink = r->antialias && a->scale < 1 ? a->scale : 1, sum = 0;
    for (int k = 0; k < taps; k++) {
        double d = (base + first + k - x) * shrink;
        at[k] = (int64_t)base + first + k;
        weights[k] = !strcmp(r->mode, "cubic") ? cubic_weight(d, r->cubic) : linear_weight(d);
        if (r->exclude_outside && (at[k] < 0 || at[k] >= a->in))
            weights[k] = 0;
        at[k] = at[k] < 0 ? 0 : at[k] >= a->in ? a->in - 1 : at[k];
        sum += weights[k];
    }
    bool normal = r->exclude_outside || r->antialias;
    for (int k = 0; k < taps && normal; k++)
        weights[k] /= sum;
}

static Tensor *interpolate(const Resize *r, Tensor *x, const Axis *a)
{
    Import *im = r->im;
    int first = first_tap(r, a->scale), taps = 2 - 2 * first;
    if (taps > MOST_TAPS || a->scale <= 0)
        return fail(im, ST_unsupported, "antialiasing over %d elements", taps);
    int64_t *at = NEW_ARRAY(im->cx->arena, int64_t, a->out * taps + 1);
    float *weights = NEW_ARRAY(im->cx->arena, float, a->out *taps + 1);
    for (int64_t i = 0; i < a->out; i++) {
        int64_t index[MOST_TAPS];
        double weight_of[MOST_TAPS];
        weigh(r, a, source(r, a, i), first, taps, index, weight_of);
        for (int k = 0; k < taps; k++) {
            at[k * a->out + i] = index[k];
            weights[k * a->out + i] = (float)weight_of[k];
        }
    }
    Tensor *sum = NULL;
    for (int k = 0; k < taps; k++) {
        Tensor *index = graph_constant(im->graph, NULL, DT_i64, 1, &a->out, at + k * a->out);
        Tensor *w = graph_constant(im->graph, NULL, DT_f32, 1, &a->out, weights + k * a->out);
        Tensor *term = ew(im, S_mul, graph_gather(im->graph, x, index, a->axis),
                          along(im, to(im, w, x->dtype), a->axis, x->rank));
        sum = sum ? ew(im, S_add, sum, term) : term;
    }
    return sum;
}

static int64_t nearest_index(const Resize *r, const Axis *a, double x)
{
    double base = ceil(x) - 1, ratio = x - base;
    bool left = ratio < 0.5 || (ratio == 0.5 && !strcmp(r->nearest, "round_prefer_floor"));
    if (!strcmp(r->nearest, "floor"))
        left = ratio < 1;
    if (!strcmp(r->nearest, "ceil"))
        left = false;
    int64_t at = (int64_t)base + !left;
    return at < 0 ? 0 : at >= a->in ? a->in - 1 : at;
}

/* [.., d, ..] -> [.., d, times, ..] -> [.., d * times, ..] */
Tensor *resize_repeat(Import *im, Tensor *x, int axis, int64_t times)
{
    const Expr *apart[MAX_RANK + 1], *joined[MAX_RANK];
    if (x->rank == MAX_RANK)
        return fail(im, ST_limit, "repeating in a tensor of rank %d", x->rank);
    for (int d = 0; d <= x->rank; d++)
        apart[d] = d == axis + 1 ? expr_const(im->cx, times) : x->shape[d - (d > axis)];
    for (int d = 0; d < x->rank; d++)
        joined[d] = d == axis ? expr_muli(im->cx, x->shape[d], times) : x->shape[d];
    Tensor *y = graph_expand(im->graph, unsqueeze(im, x, axis + 1), x->rank + 1, apart);
    return reshape(im, y, x->rank, joined);
}

static Tensor *nearest(const Resize *r, Tensor *x, const Axis *a)
{
    Import *im = r->im;
    int64_t *at = NEW_ARRAY(im->cx->arena, int64_t, a->out + 1), times = a->out / a->in;
    bool repeats = a->out % a->in == 0;
    for (int64_t i = 0; i < a->out; i++) {
        at[i] = nearest_index(r, a, source(r, a, i));
        repeats = repeats && at[i] == i / times;
    }
    if (repeats)
        return resize_repeat(im, x, a->axis, times);
    return graph_gather(im->graph, x, graph_constant(im->graph, NULL, DT_i64, 1, &a->out, at),
                        a->axis);
}

/* Positions outside the image, as tf_crop_and_resize has them, become one value. */
static Tensor *extrapolate(const Resize *r, Tensor *y, const Axis *a)
{
    Import *im = r->im;
    uint8_t *inside = NEW_ARRAY(im->cx->arena, uint8_t, a->out + 1);
    for (int64_t i = 0; i < a->out; i++) {
        double x = source(r, a, i);
        inside[i] = x >= 0 && x <= (double)a->in - 1;
    }
    Tensor *mask =
        along(im, graph_constant(im->graph, NULL, DT_bool, 1, &a->out, inside), a->axis, y->rank);
    return pick(im, mask, y, scalar(im, y, r->extrapolation));
}

static Tensor *resize_axis(const Resize *r, Tensor *x, int axis)
{
    Import *im = r->im;
    const Expr *extent = dim(im, x, axis);
    bool crops = !strcmp(r->coordinates, "tf_crop_and_resize"), near = !strcmp(r->mode, "nearest");
    double scale = r->scales[axis];
    if (tensor_is_poison(x) || (scale == 1 && r->sizes[axis] < 0 && !r->open[axis] && !crops))
        return x;
    if (r->open[axis] || extent->kind != EX_const)
        return resize_open(r, x, axis);
    Axis a = {axis, extent->value, r->sizes[axis], scale};
    double out = r->sizes[axis] >= 0 ? (double)r->sizes[axis] : floor((double)a.in * scale);
    if (!(out >= 0 && out <= MOST_EXTENT) || a.in < 1)
        return fail(im, ST_bad_model, "resizing axis %d from %lld to %g", axis, (long long)a.in,
                    out);
    a.out = (int64_t)out;
    if (!(a.scale > 0) && a.out)
        return fail(im, ST_bad_model, "a scale of %g", a.scale);
    if (a.in == a.out && a.scale == 1 && !crops)
        return x;
    Tensor *y = near ? nearest(r, x, &a) : interpolate(r, x, &a);
    return crops ? extrapolate(r, y, &a) : y;
}

/* A short list of constant floats; *count = 0 for an omitted or empty input. */
static bool float_list(Import *im, const Tensor *x, const char *what, int *count, double *list)
{
    *count = 0;
    if (!x)
        return true;
    int64_t length = x->rank <= 1 ? tensor_count_const(im->cx, x) : -1;
    if (length == 0)
        return true;
    if (length < 0 || length > 2 * MAX_RANK || x->producer->op != OP_constant || !x->data ||
        !dtype_is_float(x->dtype)) {
        unknown(im, x, what);
        return false;
    }
    *count = (int)length;
    for (int i = 0; i < *count; i++)
        list[i] = dtype_load(x->dtype, x->data, i).f;
    return true;
}

/* Sizes that keep the proportions: one scale for all listed axes. */
static void keep_proportions(Resize *r, const Tensor *x, int count, const int64_t *axes)
{
    bool larger = !strcmp(r->policy, "not_smaller");
    double scale = r->scales[axes[0]];
    for (int i = 1; i < count; i++) {
        double own = r->scales[axes[i]];
        scale = larger == (own > scale) ? own : scale;
    }
    for (int i = 0; i < count; i++) {
        r->scales[axes[i]] = scale;
        r->sizes[axes[i]] = (int64_t)floor(scale * (double)x->shape[axes[i]]->value + 0.5);
    }
}

/* Sizes of which some are open: dims, or numbers for axes that are. */
static bool read_open_sizes(Resize *r, const Tensor *x, int count, const int64_t *axes,
                            const Expr *const *list)
{
    if (strcmp(r->policy, "stretch") != 0) {
        fail(r->im, ST_unsupported, "sizes that keep proportions must be numbers when compiling");
        return false;
    }
    for (int i = 0; i < count; i++) {
        const Expr *extent = x->shape[axes[i]];
        if (list[i] == extent)
            continue;
        if (list[i]->kind == EX_const && extent->kind == EX_const && extent->value > 0) {
            r->sizes[axes[i]] = list[i]->value;
            r->scales[axes[i]] = (double)list[i]->value / (double)extent->value;
        } else {
            r->open[axes[i]] = list[i];
        }
    }
    return true;
}

static bool read_sizes(Resize *r, Tensor *x, const Tensor *input, int count, const int64_t *axes)
{
    const Expr *list[2 * MAX_RANK];
    int listed;
    bool open = false;
    if (!known_list(r->im, input, "sizes", &listed, list))
        return false;
    if (listed != count) {
        fail(r->im, ST_bad_model, "%d sizes for %d axes", listed, count);
        return false;
    }
    for (int i = 0; i < count; i++)
        open |= list[i]->kind != EX_const || x->shape[axes[i]]->kind != EX_const;
    if (open)
        return read_open_sizes(r, x, count, axes, list);
    for (int i = 0; i < count; i++) {
        int64_t extent = x->shape[axes[i]]->value, size = list[i]->value;
        if (extent < 1 || size < 0 || size > MOST_EXTENT) {
            fail(r->im, ST_unsupported, "resizing axis %d of %s to %lld", (int)axes[i],
                 tensor_shape_text(r->im->cx, x), (long long)size);
            return false;
        }
        r->sizes[axes[i]] = size;
        r->scales[axes[i]] = (double)size / (double)extent;
    }
    if (count && strcmp(r->policy, "stretch") != 0)
        keep_proportions(r, x, count, axes);
    return true;
}

static bool is_one_of(Import *im, const char *what, const char *name, const char *const *list,
                      int count)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(name, list[i]))
            return true;
    fail(im, ST_unsupported, "%s '%s'", what, onnx_printable(im->cx->arena, name));
    return false;
}

static bool read_modes(Resize *r, const OnnxNode *n)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const places[] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
        "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                            "ceil"};
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    Import *im = r->im;
    bool old = n->opset < 11;
    r->mode = attr_s(im, n, "mode", "nearest");
    if (n->opset < 7 && !strcmp(r->mode, "bilinear"))
        r->mode = "linear";
    r->coordinates =
        old ? "asymmetric" : attr_s(im, n, "coordinate_transformation_mode", "half_pixel");
    r->nearest = old ? "floor" : attr_s(im, n, "nearest_mode", "round_prefer_floor");
    r->policy = attr_s(im, n, "keep_aspect_ratio_policy", "stretch");
    r->cubic = attr_f(im, n, "cubic_coeff_a", -0.75);
    r->extrapolation = attr_f(im, n, "extrapolation_value", 0);
    r->antialias = attr_i(im, n, "antialias", 0);
    r->exclude_outside = attr_i(im, n, "exclude_outside", 0);
    return is_one_of(im, "mode", r->mode, modes, 3) &&
           is_one_of(im, "coordinate_transformation_mode", r->coordinates, places, 7) &&
           is_one_of(im, "nearest_mode", r->nearest, roundings, 4) &&
           is_one_of(im, "keep_aspect_ratio_policy", r->policy, policies, 3);
}

/* Axes that scales, sizes and the region list: those of the attribute, or all. */
static bool read_listed_axes(Import *im, const OnnxNode *n, const Tensor *x, int *count,
                             int64_t *axes)
{
    const int64_t *given;
    if (attr_list(im, n, "axes", count, &given))
        return axes_of(im, *count, given, x->rank, axes);
    *count = x->rank;
    for (int d = 0; d < x->rank; d++)
        axes[d] = d;
    return !cx_failed(im->cx);
}

/* Upsample of opset 7 has the scales as an attribute, that of opset 1 those of the last two axes.
 */
static int attribute_scales(Import *im, const OnnxNode *n, const Tensor *x, double *list)
{
    const OnnxAttr *scales = attr(im, n, "scales");
    int count = 0;
    for (; n->opset < 7 && count < x->rank; count++)
        list[count] = count == x->rank - 1   ? attr_f(im, n, "width_scale", 1)
                      : count == x->rank - 2 ? attr_f(im, n, "height_scale", 1)
                                             : 1;
    for (uint32_t i = 0; scales && scales->type == OA_floats && i < scales->count && i < MAX_RANK;
         i++)
        list[count++] = (double)scales->floats[i];
    return count;
}

Tensor *import_resize(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *y;
    bool old = n->opset < 11;
    Tensor *sizes = old ? NULL : arg_maybe(im, n, 3), *region = old ? NULL : arg_maybe(im, n, 2);
    Tensor *scales = old ? arg_maybe(im, n, 1) : region;
    Resize *r = NEW(im->cx->arena, Resize);
    double list[2 * MAX_RANK];
    int64_t axes[MAX_RANK];
    int count, listed;
    r->im = im;
    if (!read_modes(r, n) || !read_listed_axes(im, n, x, &count, axes))
        return graph_poison(im->graph);
    for (int d = 0; d < x->rank; d++) {
        r->scales[d] = r->until[d] = 1;
        r->sizes[d] = -1;
    }
    if (!old && !float_list(im, arg_maybe(im, n, 1), "roi", &listed, list))
        return graph_poison(im->graph);
    for (int i = 0; !old && i < count && listed == 2 * count; i++) {
        r->from[axes[i]] = list[i];
        r->until[axes[i]] = list[count + i];
    }
    if (!float_list(im, scales, "scales", &listed, list))
        return graph_poison(im->graph);
    if (n->opset < 9)
        listed = attribute_scales(im, n, x, list);
    if (listed && listed != count)
        return fail(im, ST_bad_model, "%d scales for %d axes", listed, count);
    for (int i = 0; i < listed; i++)
        r->scales[axes[i]] = list[i];
    if (!listed && (!sizes || !read_sizes(r, x, sizes, count, axes)))
        return cx_failed(im->cx) ? graph_poison(im->graph)
                                 : fail(im, ST_bad_model, "neither scales nor sizes");
    y = strcmp(r->mode, "nearest") ? wide(im, x) : x;
    for (int d = 0; d < x->rank; d++)
        y = resize_axis(r, y, d);
    return to(im, y, x->dtype);
}
