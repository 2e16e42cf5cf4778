/* Importers: DFT and STFT, as products with small matrices of roots of unity.
 *
 * A complex tensor is two tensors. The transform of length N = p M of the middle axis of z [b, N,
 * c] (Cooley and Tukey, Math. Comp. 19, 1965), with w_N = exp(-+2 pi i / N): z [b, p, M c], times
 * the p x p matrix of w_p, times w_N^(k1 n2), then each [M, c] by itself; the result's index is k =
 * k1 + p k2. Lengths up to 8 and primes are one product; long primes become a convolution of a
 * length that is a power of two (Bluestein, IEEE Trans. AU 18(4), 1970). A length that is not a
 * number when compiling is one product with a matrix computed in the run. */
#include "frontend/import_ops.h"

#include <math.h>

enum { LONG_PRIME = 256, MOST_FACTOR = 32, MOST_LENGTH = 1 << 20 };

/* `im` NULL: a real tensor. */
typedef struct Complex {
    Tensor *re, *im;
} Complex;

typedef struct Transform {
    Import *im;
    bool inverse; /* signs only; the caller divides */
} Transform;

static Tensor *constant(Import *im, Dtype dtype, int rank, const int64_t *dims, const double *from)
{
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        count *= dims[d];
    void *data = NEW_ARRAY(im->cx->arena, double, (size_t)count + 1);
    for (int64_t i = 0; i < count; i++)
        dtype_store(dtype, data, i,
                    dtype_convert(dtype_compute(dtype), DT_f64, (Scalar){.f = from[i]}));
    return graph_constant(im->graph, NULL, dtype, rank, dims, data);
}

/* exp(2 pi i k / n), exact at the quarters. */
static void root(int64_t k, int64_t n, double *re, double *im)
{
    static const double quarters[] = {1, 0, -1, 0};
    int64_t quarter = 4 * k / n, rest = 4 * k % n;
    double angle = 3.14159265358979323846 * 2 * (double)k / (double)n;
    *re = rest ? cos(angle) : quarters[quarter % 4];
    *im = rest ? sin(angle) : quarters[(quarter + 3) % 4];
}

/* w_n^(i j) for i < rows, j < columns, as [rows, columns] or, with `column`, [rows, columns, 1]. */
static Complex roots(Transform *t, Dtype dtype, int64_t rows, int64_t columns, bool column)
{
    Arena *arena = t->im->cx->arena;
    int64_t n = column ? rows * columns : rows, dims[] = {rows, columns, 1};
    double *re = NEW_ARRAY(arena, double, (size_t)(rows * columns)),
           *im = NEW_ARRAY(arena, double, (size_t)(rows * columns));
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            double *s = &im[i * columns + j];
            root(i * j % n, n, &re[i * columns + j], s);
            *s = t->inverse ? *s : -*s;
        }
    return (Complex){constant(t->im, dtype, column ? 3 : 2, dims, re),
                     constant(t->im, dtype, column ? 3 : 2, dims, im)};
}

/* The matrix for a length that is known only in the run: computed in float64 from k n mod N. */
static Complex open_roots(Transform *t, Dtype dtype, const Expr *n)
{
    Import *im = t->im;
    const Expr *shape[] = {n, n};
    Tensor *count = expr_scalar(im, DT_i64, n), *i = graph_iota(im->graph, DT_i64, 2, shape, 0);
    Tensor *turns =
        ew(im, S_mod, ew(im, S_mul, i, graph_iota(im->graph, DT_i64, 2, shape, 1)), count);
    Tensor *part = ew(im, S_div, to(im, turns, DT_f64), to(im, count, DT_f64));
    Tensor *angle = ew(im, S_mul, part, scalar(im, part, 3.14159265358979323846 * 2));
    Tensor *sine = ew1(im, S_sin, angle);
    return (Complex){to(im, ew1(im, S_cos, angle), dtype),
                     to(im, t->inverse ? sine : ew1(im, S_neg, sine), dtype)};
}

typedef Tensor *Product(Import *im, Tensor *a, Tensor *b);

/* a b with any product of real tensors. Sums of the real and of the imaginary parts are apart. */
static Complex multiply(Import *im, Product *product_of, Complex a, Complex b)
{
    Complex y = {product_of(im, a.re, b.re), NULL};
    if (a.im && b.im)
        y.re = ew(im, S_sub, y.re, product_of(im, a.im, b.im));
    if (b.im)
        y.im = product_of(im, a.re, b.im);
    if (a.im) {
        Tensor *cross = product_of(im, a.im, b.re);
        y.im = y.im ? ew(im, S_add, y.im, cross) : cross;
    }
    return y;
}

static Tensor *elementwise(Import *im, Tensor *a, Tensor *b)
{
    return ew(im, S_mul, a, b);
}

static Tensor *matrices(Import *im, Tensor *a, Tensor *b)
{
    return graph_matmul(im->graph, a, b);
}

static Complex shaped(Import *im, Complex z, int rank, const Expr *const *shape)
{
    return (Complex){reshape(im, z.re, rank, shape), z.im ? reshape(im, z.im, rank, shape) : NULL};
}

static Complex permuted(Import *im, Complex z, const int64_t *perm)
{
    return (Complex){graph_transpose(im->graph, z.re, perm),
                     z.im ? graph_transpose(im->graph, z.im, perm) : NULL};
}

/* The first `keep` elements of an axis, with zeros behind when there are less. */
static Tensor *fit(Import *im, Tensor *x, int axis, const Expr *keep)
{
    const Expr *before[MAX_RANK], *after[MAX_RANK], *zero = expr_const(im->cx, 0);
    if (tensor_is_poison(x) || x->shape[axis] == keep)
        return x;
    for (int d = 0; d < x->rank; d++)
        before[d] = after[d] = zero;
    after[axis] = expr_sub(im->cx, keep, x->shape[axis]);
    return graph_pad(im->graph, x, scalar(im, x, 0), before, after, "constant");
}

static Complex fitted(Import *im, Complex z, int axis, const Expr *keep)
{
    return (Complex){fit(im, z.re, axis, keep), z.im ? fit(im, z.im, axis, keep) : NULL};
}

static bool ready(Complex z)
{
    return !tensor_is_poison(z.re) && (!z.im || !tensor_is_poison(z.im));
}

/* One product; a vector per batch is a row of the left operand, the matrix is symmetric. */
static Complex transform_direct(Transform *t, Complex z, Complex w)
{
    Import *im = t->im;
    const Expr *one = expr_const(im->cx, 1), *b = z.re->shape[0], *n = z.re->shape[1];
    if (z.re->shape[2] != one)
        return multiply(im, matrices, w, z);
    Complex row = shaped(im, z, 2, (const Expr *[]){b, n});
    return shaped(im, multiply(im, matrices, row, w), 3, (const Expr *[]){b, n, one});
}

/* The largest divisor up to the square root that is at most MOST_FACTOR, so that work grows as n
 * log n; where there is none the next one; 1 for a prime. */
static int64_t first_factor(int64_t n)
{
    int64_t best = 1;
    for (int64_t p = 2; p * p <= n; p++)
        if (n % p == 0 && (p <= MOST_FACTOR || best == 1))
            best = p;
    return best;
}

static Complex transform(Transform *t, Complex z);

static Complex transform_split(Transform *t, Complex z, int64_t p)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    Import *im = t->im;
    Dtype dtype = z.re->dtype;
    const Expr *b = z.re->shape[0], *n = z.re->shape[1], *c = z.re->shape[2];
    const Expr *first = expr_const(im->cx, p), *second = expr_divi(im->cx, n, p);
    z = shaped(im, z, 3, (const Expr *[]){b, first, expr_mul(im->cx, second, c)});
    z = multiply(im, matrices, roots(t, dtype, p, p, false), z);
    z = shaped(im, z, 4, (const Expr *[]){b, first, second, c});
    z = multiply(im, elementwise, z, roots(t, dtype, p, n->value / p, true));
    z = shaped(im, z, 3, (const Expr *[]){expr_mul(im->cx, b, first), second, c});
    if (!ready(z))
        return z;
    z = shaped(im, transform(t, z), 4, (const Expr *[]){b, first, second, c});
    return shaped(im, permuted(im, z, swap), 3, (const Expr *[]){b, n, c});
}

/* exp(-+pi i k^2 / n), with k^2 mod 2n so that the angle stays exact: [size, 1], zeros behind n,
 * and with `ring` the same backwards from the end. */
static Complex chirp(Transform *t, Dtype dtype, int64_t n, int64_t size, bool ring)
{
    Arena *arena = t->im->cx->arena;
    double *re = NEW_ARRAY(arena, double, (size_t)size),
           *im = NEW_ARRAY(arena, double, (size_t)size);
    double sign = t->inverse == ring ? -1 : 1; /* the ring is the conjugate */
    for (int64_t k = 0; k < n; k++) {
        root(k * k % (2 * n), 2 * n, &re[k], &im[k]);
        im[k] *= sign;
        if (ring) {
            re[(size - k) % size] = re[k];
            im[(size - k) % size] = im[k];
        }
    }
    const int64_t dims[] = {size, 1};
    return (Complex){constant(t->im, dtype, 2, dims, re), constant(t->im, dtype, 2, dims, im)};
}

/* y_k = a_k sum_n (z_n a_n) conj(a)_(k - n) with a_n = exp(-+pi i n^2 / N): a circular convolution.
 */
static Complex transform_prime(Transform *t, Complex z)
{
    Import *im = t->im;
    Dtype dtype = z.re->dtype;
    const Expr *n = z.re->shape[1];
    int64_t size = 1;
    while (size < 2 * n->value - 1)
        size *= 2;
    Complex a = chirp(t, dtype, n->value, n->value, false),
            ring = chirp(t, dtype, n->value, size, true);
    Transform forward = {im, false}, back = {im, true};
    const Expr *shape[] = {expr_const(im->cx, 1), expr_const(im->cx, size), expr_const(im->cx, 1)};
    z = fitted(im, multiply(im, elementwise, z, a), 1, shape[1]);
    z = transform(&forward, z);
    z = multiply(im, elementwise, z, transform(&forward, shaped(im, ring, 3, shape)));
    z = fitted(im, transform(&back, z), 1, n);
    z = multiply(im, elementwise, z, a);
    Tensor *scale = scalar(im, z.re, 1 / (double)size);
    return (Complex){ew(im, S_mul, z.re, scale), ew(im, S_mul, z.im, scale)};
}

static Complex transform(Transform *t, Complex z)
{
    if (!ready(z))
        return z;
    const Expr *n = z.re->shape[1];
    Dtype dtype = z.re->dtype;
    if (n->kind != EX_const)
        return transform_direct(t, z, open_roots(t, dtype, n));
    int64_t p = n->value > 8 ? first_factor(n->value) : 1;
    if (p > 1)
        return transform_split(t, z, p);
    if (n->value > LONG_PRIME)
        return transform_prime(t, z);
    return transform_direct(t, z, roots(t, dtype, n->value, n->value, false));
}

/* The spectrum of a real signal is real at 0 and N / 2; rounding leaves something there. */
static Tensor *cleaned(Import *im, Tensor *y)
{
    if (tensor_is_poison(y))
        return y;
    const Expr *n = y->shape[1], *shape[] = {expr_const(im->cx, 1), n, expr_const(im->cx, 1)};
    Tensor *k = graph_iota(im->graph, DT_i64, 3, shape, 1), *zero = scalar(im, k, 0);
    Tensor *middle = ew(im, S_eq, ew(im, S_add, k, k), expr_scalar(im, DT_i64, n));
    return pick(im, ew(im, S_or, ew(im, S_eq, k, zero), middle), scalar(im, y, 0), y);
}

/* The transform of one axis of z, of any rank. */
static Complex transform_axis(Transform *t, Complex z, int axis)
{
    Import *im = t->im;
    const Expr *shape[MAX_RANK];
    if (!ready(z))
        return z;
    int rank = z.re->rank;
    for (int d = 0; d < rank; d++)
        shape[d] = z.re->shape[d];
    const Expr *flat[] = {product(im, z.re, 0, axis), shape[axis],
                          product(im, z.re, axis + 1, rank)};
    Complex y = transform(t, shaped(im, z, 3, flat));
    if (!z.im && y.im)
        y.im = cleaned(im, y.im);
    return shaped(im, y, rank, shape);
}

/* x [.., 1 or 2] as real and imaginary parts [..]; where only a run knows which, the imaginary part
 * of a real one is zeros. */
static Complex apart(Import *im, Tensor *x)
{
    const Expr *zero = expr_const(im->cx, 0), *one = expr_const(im->cx, 1);
    const Expr *two = expr_const(im->cx, 2);
    Complex z = {graph_poison(im->graph), NULL};
    if (tensor_is_poison(x))
        return z;
    int last = x->rank - 1;
    if (last < 1 || x->shape[last]->hi < 1 || !graph_broadcast(im->graph, x->shape[last], two)) {
        fail(im, ST_bad_model, "the last axis of %s does not list real and imaginary parts",
             tensor_shape_text(im->cx, x));
        return z;
    }
    bool real = x->shape[last] == one;
    if (!real)
        x = fit(im, x, last, two);
    z.re = squeeze(im, slice_axis(im, x, last, zero, one), last);
    if (!real)
        z.im = squeeze(im, slice_axis(im, x, last, one, one), last);
    return z;
}

static Tensor *together(Import *im, Complex z)
{
    if (!ready(z))
        return graph_poison(im->graph);
    int rank = z.re->rank;
    Tensor *parts[] = {unsqueeze(im, z.re, rank), z.im ? unsqueeze(im, z.im, rank) : NULL};
    return graph_concat(im->graph, z.im ? 2 : 1, parts, rank);
}

static const Expr *half_of(Import *im, const Expr *length)
{
    return expr_addi(im->cx, expr_divi(im->cx, length, 2), 1);
}

/* The spectrum of length n whose first half is z: y_(n - k) = conj y_k. */
static Complex mirrored(Import *im, Complex z, int axis, const Expr *n)
{
    const Expr *half = half_of(im, n), *starts[MAX_RANK], *sizes[MAX_RANK];
    int64_t steps[MAX_RANK];
    z = fitted(im, z, axis, half);
    if (!ready(z))
        return z;
    for (int d = 0; d < z.re->rank; d++) {
        starts[d] = d == axis ? expr_sub(im->cx, n, half) : expr_const(im->cx, 0);
        sizes[d] = d == axis ? expr_sub(im->cx, n, half) : z.re->shape[d];
        steps[d] = d == axis ? -1 : 1;
    }
    Tensor *re[] = {z.re, graph_slice(im->graph, z.re, starts, sizes, steps)};
    z.re = graph_concat(im->graph, 2, re, axis);
    if (z.im) {
        Tensor *turned = graph_slice(im->graph, z.im, starts, sizes, steps);
        z.im = graph_concat(im->graph, 2, (Tensor *[]){z.im, ew1(im, S_neg, turned)}, axis);
    }
    return z;
}

/* A length or axis: a number, or a dim. */
static const Expr *known_size(Import *im, Tensor *x, const char *what)
{
    const Expr *list[2 * MAX_RANK];
    int count;
    if (!known_list(im, x, what, &count, list) || count != 1) {
        fail(im, ST_bad_model, "%s is not one number", what);
        return expr_const(im->cx, 1);
    }
    return list[0];
}

static bool sensible(Import *im, const Expr *length)
{
    bool good = length->kind != EX_const || (length->value >= 1 && length->value <= MOST_LENGTH);
    if (!good)
        fail(im, ST_unsupported, "a transform of length %lld", (long long)length->value);
    return good && !cx_failed(im->cx);
}

/* z transformed along `axis`, to `length`. One-sided: forward gives the first half of the spectrum,
 * inverse takes it and gives a real signal. */
static Complex dft(Transform *t, Complex z, int axis, const Expr *length, bool onesided)
{
    Import *im = t->im;
    z = onesided && t->inverse ? mirrored(im, z, axis, length) : fitted(im, z, axis, length);
    z = transform_axis(t, z, axis);
    if (!ready(z))
        return z;
    if (t->inverse) {
        Tensor *count = expr_scalar(im, z.re->dtype, length);
        z.re = ew(im, S_div, z.re, count);
        z.im = onesided || !z.im ? NULL : ew(im, S_div, z.im, count);
    } else if (onesided) {
        z = fitted(im, z, axis, half_of(im, length));
    }
    return z;
}

Tensor *import_dft(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *length = arg_maybe(im, n, 1), *given = arg_maybe(im, n, 2);
    Transform t = {im, attr_i(im, n, "inverse", 0) != 0};
    bool onesided = attr_i(im, n, "onesided", 0) != 0;
    int64_t at = n->opset < 20 ? attr_i(im, n, "axis", 1) : -2;
    if (given) {
        const Expr *e = known_size(im, given, "the axis");
        if (e->kind != EX_const)
            return fail(im, ST_unsupported, "an axis that is a dim");
        at = e->value;
    }
    int axis = axis_of(im, at, x->rank);
    if (cx_failed(im->cx) || axis == x->rank - 1)
        return fail(im, ST_bad_model, "axis %lld lists real and imaginary parts", (long long)at);
    const Expr *size = x->shape[axis];
    if (length)
        size = known_size(im, length, "the length");
    else if (t.inverse && onesided)
        size = expr_muli(im->cx, expr_addi(im->cx, size, -1), 2);
    if (!sensible(im, size))
        return graph_poison(im->graph);
    return to(im, together(im, dft(&t, apart(im, wide(im, x)), axis, size, onesided)), x->dtype);
}

/* x [b, signal] as [b, frames, length], the frames `step` apart. */
static Tensor *framed(Import *im, Tensor *x, const Expr *frames, const Expr *length, int64_t step)
{
    const Expr *one = expr_const(im->cx, 1);
    Tensor *first = graph_iota(im->graph, DT_i64, 2, (const Expr *[]){frames, one}, 0);
    Tensor *rest = graph_iota(im->graph, DT_i64, 2, (const Expr *[]){one, length}, 1);
    return graph_gather(im->graph, x,
                        ew(im, S_add, ew(im, S_mul, first, scalar(im, first, (double)step)), rest),
                        1);
}

Tensor *import_stft(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *window = arg_maybe(im, n, 2), *given = arg_maybe(im, n, 3);
    const Expr *step = known_size(im, arg(im, n, 1), "the step"), *size = dim(im, x, 1);
    Complex z = apart(im, wide(im, x));
    if (cx_failed(im->cx) || x->rank != 3 || step->kind != EX_const || step->value < 1)
        return fail(im, ST_bad_model, "a signal of %s, in steps that are no number above 0",
                    tensor_shape_text(im->cx, x));
    const Expr *length = given    ? known_size(im, given, "the frame length")
                         : window ? dim(im, window, 0)
                                  : size;
    if (!sensible(im, length))
        return graph_poison(im->graph);
    if (size->kind == EX_const && length->kind == EX_const && length->value > size->value)
        return fail(im, ST_bad_model, "a frame is longer than the signal");
    /* an open signal that turns out to be too short fails in the run, where it is read */
    const Expr *frames = expr_divi(im->cx, expr_sub(im->cx, size, length), step->value);
    frames = expr_max(im->cx, expr_addi(im->cx, frames, 1), expr_const(im->cx, 1));
    z.re = framed(im, z.re, frames, length, step->value);
    z.im = z.im ? framed(im, z.im, frames, length, step->value) : NULL;
    if (window) {
        window = along(im, fit(im, wide(im, window), 0, length), 2, 3);
        z = multiply(im, elementwise, z, (Complex){window, NULL});
    }
    Transform t = {im, false};
    z = dft(&t, z, 2, length, attr_i(im, n, "onesided", 1) != 0);
    return to(im, together(im, z), x->dtype);
}
