/* Resize of axes whose extents are known in a run only: positions and weights are computed there,
 * by the formulas of import_resize.c as elementwise operations in float64, from a counter along the
 * axis. Neighbours are gathered at computed positions. */
#include <math.h>
#include <string.h>

#include "frontend/import_resize.h"

typedef struct Axis {
    const Resize *r;
    Import *im;
    int axis;
    const Expr *in, *out;
    Tensor *last;   /* in - 1, f64 [] */
    Tensor *scale;  /* f64 [] */
    Tensor *length; /* of the result by the scale, which need not be whole: f64 [] */
    Tensor *count;  /* i, f64 [out] */
} Axis;

static Tensor *number(const Axis *a, double value)
{
    return graph_scalar(a->im->graph, DT_f64, value);
}

static Tensor *size(const Axis *a, const Expr *e)
{
    return expr_scalar(a->im, DT_f64, e);
}

static Tensor *add(const Axis *a, Tensor *x, double value)
{
    return ew(a->im, S_add, x, number(a, value));
}

/* scale * in as an expression, rounded down: exact, since a scale is a binary fraction, of float32
 * mostly. NULL where the product would leave its range. */
static const Expr *scaled(Import *im, const Expr *in, double scale)
{
    enum { MOST_BITS = 48 };
    const double most = 1 << 25;
    int64_t below = 1;
    for (int bits = 0; bits <= MOST_BITS && scale < most; bits++, below *= 2, scale *= 2)
        if (scale == floor(scale)) {
            const Expr *product = expr_muli(im->cx, in, (int64_t)scale);
            return expr_is_poison(product) ? NULL : expr_divi(im->cx, product, below);
        }
    return NULL;
}

/* Position in the input, f64 [out]. */
static Tensor *source(const Axis *a)
{
    Import *im = a->im;
    const char *mode = a->r->coordinates;
    Tensor *one = number(a, 1), *x = a->count, *centre = ew(im, S_div, add(a, x, 0.5), a->scale);
    Tensor *single = ew(im, S_eq, a->length, one);
    if (!strcmp(mode, "asymmetric"))
        return ew(im, S_div, x, a->scale);
    if (!strcmp(mode, "align_corners")) {
        Tensor *steps = ew(im, S_max, add(a, a->length, -1), number(a, 1e-30));
        return pick(im, single, number(a, 0), ew(im, S_div, ew(im, S_mul, x, a->last), steps));
    }
    if (!strcmp(mode, "tf_half_pixel_for_nn"))
        return centre;
    if (!strcmp(mode, "pytorch_half_pixel"))
        return pick(im, single, number(a, 0), add(a, centre, -0.5));
    if (strcmp(mode, "half_pixel_symmetric"))
        return add(a, centre, -0.5);
    Tensor *off = ew(im, S_sub, one, ew(im, S_div, size(a, a->out), a->length));
    Tensor *half = ew(im, S_mul, size(a, a->in), number(a, 0.5));
    return add(a, ew(im, S_add, ew(im, S_mul, half, off), centre), -0.5);
}

static Tensor *gather_at(const Axis *a, Tensor *x, Tensor *position)
{
    Import *im = a->im;
    Tensor *inside = ew(im, S_max, ew(im, S_min, position, a->last), number(a, 0));
    return graph_gather(im->graph, x, to(im, inside, DT_i64), a->axis);
}

static Tensor *nearest(const Axis *a, Tensor *x)
{
    Import *im = a->im;
    const char *mode = a->r->nearest;
    Tensor *at = source(a);
    if (!strcmp(mode, "floor"))
        at = ew1(im, S_floor, at);
    else if (!strcmp(mode, "ceil"))
        at = ew1(im, S_ceil, at);
    else if (!strcmp(mode, "round_prefer_floor"))
        at = ew1(im, S_ceil, add(a, at, -0.5));
    else
        at = ew1(im, S_floor, add(a, at, 0.5));
    return gather_at(a, x, at);
}

/* The weight of an element at a distance d: of linear interpolation 1 - d below 1, of cubic
 * convolution two polynomials (Keys, 1981, with coefficient `cubic`). */
static Tensor *weight_at(const Axis *a, Tensor *d)
{
    Import *im = a->im;
    double c = a->r->cubic;
    d = ew1(im, S_abs, d);
    if (strcmp(a->r->mode, "cubic"))
        return ew(im, S_max, ew(im, S_sub, number(a, 1), d), number(a, 0));
    Tensor *near = add(a, ew(im, S_mul, number(a, c + 2), d), -(c + 3));
    near = add(a, ew(im, S_mul, ew(im, S_mul, near, d), d), 1);
    Tensor *far = add(a, ew(im, S_mul, number(a, c), d), -5 * c);
    far = add(a, ew(im, S_mul, far, d), 8 * c);
    far = add(a, ew(im, S_mul, far, d), -4 * c);
    Tensor *none = number(a, 0);
    Tensor *outer = pick(im, ew(im, S_lt, d, number(a, 2)), far, none);
    return pick(im, ew(im, S_le, d, number(a, 1)), near, outer);
}

static Tensor *interpolate(const Axis *a, Tensor *x)
{
    Import *im = a->im;
    bool cubic = !strcmp(a->r->mode, "cubic");
    Tensor *at = source(a), *base = add(a, ew1(im, S_ceil, at), -1), *sum = NULL, *total = NULL;
    for (int k = cubic ? -1 : 0; k <= (cubic ? 2 : 1); k++) {
        Tensor *position = add(a, base, k);
        Tensor *weight = weight_at(a, ew(im, S_sub, position, at));
        if (a->r->exclude_outside) {
            Tensor *low = ew(im, S_le, number(a, 0), position);
            Tensor *inside = ew(im, S_and, low, ew(im, S_le, position, a->last));
            weight = pick(im, inside, weight, number(a, 0));
            total = total ? ew(im, S_add, total, weight) : weight;
        }
        Tensor *w = along(im, to(im, weight, x->dtype), a->axis, x->rank);
        Tensor *term = ew(im, S_mul, gather_at(a, x, position), w);
        sum = sum ? ew(im, S_add, sum, term) : term;
    }
    return total ? ew(im, S_div, sum, along(im, to(im, total, x->dtype), a->axis, x->rank)) : sum;
}

/* Whether every element is repeated the same number of times. */
static int64_t repeats(const Axis *a)
{
    const Resize *r = a->r;
    bool plain = (!strcmp(r->coordinates, "asymmetric") && !strcmp(r->nearest, "floor")) ||
                 (!strcmp(r->coordinates, "half_pixel") && !strncmp(r->nearest, "round", 5));
    for (int64_t times = 1; plain && times <= MOST_TAPS; times++)
        if (a->out == expr_muli(a->im->cx, a->in, times))
            return times;
    return 0;
}

Tensor *resize_open(const Resize *r, Tensor *x, int axis)
{
    Import *im = r->im;
    Axis a = {.r = r, .im = im, .axis = axis, .in = dim(im, x, axis), .out = r->open[axis]};
    double scale = r->scales[axis];
    bool near = !strcmp(r->mode, "nearest");
    if (r->antialias || !strcmp(r->coordinates, "tf_crop_and_resize"))
        return fail(im, ST_unsupported,
                    "resizing axis %d, whose extent is not known when compiling, %s: fix the dim",
                    axis, r->antialias ? "with antialiasing" : "by tf_crop_and_resize");
    if (!a.out && !(scale > 0 && (a.out = scaled(im, a.in, scale))))
        return fail(im, ST_unsupported,
                    "resizing axis %d, whose extent is not known when compiling, by %g: fix the "
                    "dim, or give sizes",
                    axis, scale);
    if (near && repeats(&a))
        return resize_repeat(im, x, axis, repeats(&a));
    a.last = size(&a, expr_addi(im->cx, a.in, -1));
    a.length = r->open[axis] ? size(&a, a.out) : ew(im, S_mul, size(&a, a.in), number(&a, scale));
    a.scale = r->open[axis] ? ew(im, S_div, a.length, size(&a, a.in)) : number(&a, scale);
    a.count = to(im, graph_iota(im->graph, DT_i64, 1, &a.out, 0), DT_f64);
    return near ? nearest(&a, x) : interpolate(&a, x);
}
