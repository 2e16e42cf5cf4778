/* Importers: matrix products, convolutions and transposed convolutions, over floats and integers.
 *
 * Quantised ones subtract the zero points first, so that padding with 0 is padding with the zero
 * point; products add up in int32, and one scale (x * w / y, folded at load) brings the sum to the
 * result's type. */
#include "frontend/import_window.h"

#include <string.h>

/* ---- matrix products */

/* numpy's matmul: a list on the left is a row, on the right a column, whose axis the result loses.
 */
static Tensor *matmul(Import *im, Tensor *a, Tensor *b)
{
    if (tensor_is_poison(a) || tensor_is_poison(b))
        return graph_poison(im->graph);
    bool row = a->rank == 1, column = b->rank == 1;
    if (!a->rank || !b->rank)
        return fail(im, ST_bad_model, "an operand is a single number: %s by %s",
                    tensor_shape_text(im->cx, a), tensor_shape_text(im->cx, b));
    if (row)
        a = unsqueeze(im, a, 0);
    if (column)
        b = unsqueeze(im, b, 1);
    Tensor *y = graph_matmul(im->graph, a, b);
    if (column && !tensor_is_poison(y))
        y = squeeze(im, y, y->rank - 1);
    if (row && !tensor_is_poison(y))
        y = squeeze(im, y, y->rank - 1 - !column);
    return y;
}

Tensor *import_matmul(Import *im, const OnnxNode *n)
{
    return matmul(im, arg(im, n, 0), arg(im, n, 1));
}

static Tensor *flipped(Import *im, Tensor *x, bool flip)
{
    static const int64_t perm[] = {1, 0};
    return flip ? graph_transpose(im->graph, x, perm) : x;
}

/* x * factor; a fraction of an integer is taken in floats and cut off. */
static Tensor *times(Import *im, Tensor *x, double factor)
{
    if (factor == 1 || tensor_is_poison(x))
        return x;
    Tensor *w = wide(im, x);
    return to(im, ew(im, S_mul, w, scalar(im, w, factor)), x->dtype);
}

/* alpha * A * B + beta * C */
Tensor *import_gemm(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1), *c = arg_maybe(im, n, 2);
    if (a->rank != 2 || b->rank != 2)
        return fail(im, ST_bad_model, "expected two matrices, got %s and %s",
                    tensor_shape_text(im->cx, a), tensor_shape_text(im->cx, b));
    a = flipped(im, a, attr_i(im, n, "transA", 0));
    b = flipped(im, b, attr_i(im, n, "transB", 0));
    Tensor *y = times(im, graph_matmul(im->graph, a, b), attr_f(im, n, "alpha", 1));
    if (!c || tensor_is_poison(y))
        return y;
    bool spreads = n->opset >= 7 || attr_i(im, n, "broadcast", 0), open = false;
    for (int d = 0; d < 2; d++) {
        int at = c->rank - 2 + d;
        const Expr *have = at >= 0 ? c->shape[at] : expr_const(im->cx, 1);
        bool may_be_one = spreads && have->lo <= 1 && have != y->shape[d];
        open |= may_be_one && have->kind != EX_const;
        if (c->rank > 2 || !(may_be_one || graph_same_dim(im->graph, have, y->shape[d])))
            return fail(im, ST_bad_model, "C of shape %s does not fit a result of shape %s",
                        tensor_shape_text(im->cx, c), tensor_shape_text(im->cx, y));
    }
    if (open)
        c = graph_expand(im->graph, c, 2, (const Expr *const *)y->shape);
    double beta = attr_f(im, n, "beta", 1);
    if (beta == 0) /* whatever is in C, as in BLAS */
        return y;
    return ew(im, S_add, y, times(im, c, beta));
}

/* ---- quantised operands */

/* A list of one is one number. */
static Tensor *plain(Import *im, Tensor *p)
{
    bool one = !tensor_is_poison(p) && p->rank == 1 && expr_is_const(p->shape[0], 1);
    return one ? reshape(im, p, 0, NULL) : p;
}

/* Parameters of the left operand, given per row: a column. */
static Tensor *per_row(Import *im, Tensor *p)
{
    p = plain(im, p);
    return !tensor_is_poison(p) && p->rank == 1 ? unsqueeze(im, p, 1) : p;
}

/* Parameters per entry of `axis`, of a tensor of this rank. */
static Tensor *per_entry(Import *im, Tensor *p, int axis, int rank)
{
    p = plain(im, p);
    return tensor_is_poison(p) || !p->rank ? p : along(im, p, axis, rank);
}

/* x - zero, in int32; float8 in float32. `zero` may be NULL. */
static Tensor *centred(Import *im, Tensor *x, Tensor *zero)
{
    if (tensor_is_poison(x))
        return x;
    Dtype dtype = dtype_is_float(x->dtype) ? DT_f32 : DT_i32;
    Tensor *y = to(im, x, dtype);
    return zero ? ew(im, S_sub, y, to(im, zero, dtype)) : y;
}

/* round(sum * factor) + zero, saturated. */
static Tensor *requantize(Import *im, Tensor *sum, Tensor *factor, Tensor *zero, Dtype result)
{
    Tensor *y = ew(im, S_mul, to(im, sum, DT_f32), factor);
    if (!dtype_is_int(result))
        return to(im, zero ? ew(im, S_add, y, to(im, zero, DT_f32)) : y, result);
    int bits = dtype_bits(result);
    if (bits > 16)
        return fail(im, ST_unsupported, "a result of type %s; quantise to 16 bits or less",
                    dtype_name(result));
    bool is_signed = dtype_class(result) == DC_INT;
    double hi = (double)((1 << (bits - is_signed)) - 1), lo = is_signed ? -hi - 1 : 0;
    y = ew1(im, S_round, y);
    if (zero)
        y = ew(im, S_add, y, to(im, zero, DT_f32));
    return to(im, clamp(im, y, lo, hi), result);
}

/* x * w / y, as float32 */
static Tensor *scale_of(Import *im, Tensor *x, Tensor *w, Tensor *y)
{
    Tensor *both = ew(im, S_mul, to(im, x, DT_f32), to(im, w, DT_f32));
    return ew(im, S_div, both, to(im, y, DT_f32));
}

Tensor *import_matmul_integer(Import *im, const OnnxNode *n)
{
    Tensor *zero_a = arg_maybe(im, n, 2), *zero_b = arg_maybe(im, n, 3);
    Tensor *a = centred(im, arg(im, n, 0), zero_a ? per_row(im, zero_a) : NULL);
    Tensor *b = centred(im, arg(im, n, 1), zero_b ? plain(im, zero_b) : NULL);
    return matmul(im, a, b);
}

/* Inputs: a, scale, zero; b, scale, zero; scale and zero of the result. */
Tensor *import_qlinear_matmul(Import *im, const OnnxNode *n)
{
    Tensor *a = centred(im, arg(im, n, 0), per_row(im, arg(im, n, 2)));
    Tensor *b = centred(im, arg(im, n, 3), plain(im, arg(im, n, 5)));
    Tensor *zero = arg(im, n, 7), *scale = plain(im, arg(im, n, 4));
    if (tensor_is_poison(zero))
        return zero;
    Tensor *factor = scale_of(im, per_row(im, arg(im, n, 1)), scale, per_row(im, arg(im, n, 6)));
    return requantize(im, matmul(im, a, b), factor, per_row(im, zero), zero->dtype);
}

/* ---- convolutions */

static Tensor *conv(Import *im, const OnnxNode *n, Tensor *x, Tensor *w, Tensor *bias)
{
    Window window;
    if (tensor_is_poison(x) || tensor_is_poison(w) || !window_read(im, n, x, w, &window))
        return graph_poison(im->graph);
    Attr at[AT_count] = {[AT_groups] = attr_int(attr_i(im, n, "group", 1))};
    x = window_pad(im, x, &window, 0, at);
    Tensor *inputs[] = {x, w}, *y = graph_node(im->graph, OP_conv, 2, inputs, at);
    return bias ? ew(im, S_add, y, along(im, bias, 1, window.spatial + 2)) : y;
}

Tensor *import_conv(Import *im, const OnnxNode *n)
{
    return conv(im, n, arg(im, n, 0), arg(im, n, 1), arg_maybe(im, n, 2));
}

static Tensor *conv_weights(Import *im, Tensor *w, Tensor *zero)
{
    return centred(im, w, zero ? per_entry(im, zero, 0, w->rank) : NULL);
}

Tensor *import_conv_integer(Import *im, const OnnxNode *n)
{
    Tensor *zero = arg_maybe(im, n, 2);
    Tensor *x = centred(im, arg(im, n, 0), zero ? plain(im, zero) : NULL);
    return conv(im, n, x, conv_weights(im, arg(im, n, 1), arg_maybe(im, n, 3)), NULL);
}

/* Inputs: x, scale, zero; w, scale, zero; scale and zero of the result; bias (in units of x scale *
 * w scale). */
Tensor *import_qlinear_conv(Import *im, const OnnxNode *n)
{
    Tensor *x = centred(im, arg(im, n, 0), plain(im, arg(im, n, 2)));
    Tensor *w = conv_weights(im, arg(im, n, 3), arg(im, n, 5)), *zero = arg(im, n, 7);
    Tensor *sum = conv(im, n, x, w, arg_maybe(im, n, 8));
    if (tensor_is_poison(sum) || tensor_is_poison(zero))
        return graph_poison(im->graph);
    Tensor *scale = per_entry(im, arg(im, n, 4), 1, sum->rank);
    Tensor *factor = scale_of(im, plain(im, arg(im, n, 1)), scale, plain(im, arg(im, n, 6)));
    return requantize(im, sum, factor, plain(im, zero), zero->dtype);
}

typedef struct Transposed {
    int spatial, given; /* given: lengths of output_shape, 0 = none */
    int64_t extra[MAX_RANK], output[MAX_RANK], pads[2 * MAX_RANK];
} Transposed;

static bool transposed_read(Import *im, const OnnxNode *n, const Tensor *x, Transposed *t)
{
    const int64_t *output;
    int rank = x->rank;
    t->spatial = rank - 2;
    if (!window_list(im, n, "output_padding", t->spatial, 0, t->extra) ||
        !window_list(im, n, "pads", 2 * t->spatial, 0, t->pads))
        return false;
    if (!attr_list(im, n, "output_shape", &t->given, &output) || !t->given)
        return !cx_failed(im->cx);
    if (t->given != t->spatial && t->given != rank) {
        fail(im, ST_bad_model, "attribute 'output_shape' lists %d numbers for an image of %d axes",
             t->given, t->spatial);
        return false;
    }
    for (int s = 0; s < t->spatial; s++)
        t->output[s] = output[t->given - t->spatial + s];
    return true;
}

/* Padding in front of axis s, and the extent of the result. A wanted size (output_shape, or in *
 * stride for SAME) gives the padding, else the padding gives the size. */
static bool transposed_axis(Import *im, const Transposed *t, const Window *w, const Tensor *x,
                            int s, const char *mode, int64_t *before, const Expr **size)
{
    Cx *cx = im->cx;
    bool upper = strcmp(mode, "SAME_UPPER") == 0, same = upper || strcmp(mode, "SAME_LOWER") == 0;
    const Expr *in = dim(im, x, 2 + s), *full = expr_muli(cx, expr_addi(cx, in, -1), w->strides[s]);
    full = expr_addi(cx, expr_add(cx, full, w->reach[s]), t->extra[s]);
    if (!same && !t->given) {
        bool none = strcmp(mode, "VALID") == 0;
        *before = none ? 0 : t->pads[s];
        *size = expr_addi(cx, full, none ? 0 : -t->pads[s] - t->pads[t->spatial + s]);
        if ((*size)->lo < 0 && (*size)->hi >= 0) /* small images leave nothing */
            *size = expr_max(cx, *size, expr_const(cx, 0));
        return true;
    }
    *size = t->given ? expr_const(cx, t->output[s]) : expr_muli(cx, in, w->strides[s]);
    const Expr *total = expr_max(cx, expr_sub(cx, full, *size), expr_const(cx, 0));
    if (total->kind != EX_const) {
        fail(im, ST_unsupported,
             "attribute 'output_shape' with an image whose size is not known when compiling: fix "
             "that size, or export the model with pads");
        return false;
    }
    *before = upper ? total->value / 2 : total->value - total->value / 2;
    return true;
}

Tensor *import_conv_transpose(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = arg(im, n, 1), *bias = arg_maybe(im, n, 2);
    const char *mode = attr_s(im, n, "auto_pad", "NOTSET");
    const Expr *sizes[MAX_RANK];
    int64_t pads[2 * MAX_RANK] = {0};
    Transposed t;
    Window window;
    if (!window_read(im, n, x, w, &window) || !transposed_read(im, n, x, &t))
        return graph_poison(im->graph);
    for (int s = 0; s < t.spatial; s++)
        if (!transposed_axis(im, &t, &window, x, s, mode, &pads[s], &sizes[s]))
            return graph_poison(im->graph);
    Attr at[AT_count] = {[AT_groups] = attr_int(attr_i(im, n, "group", 1)),
                         [AT_strides] = attr_ints(im->cx, t.spatial, window.strides),
                         [AT_dilations] = attr_ints(im->cx, t.spatial, window.dilations),
                         [AT_pads] = attr_ints(im->cx, 2 * t.spatial, pads),
                         [AT_sizes] = attr_exprs(im->cx, t.spatial, sizes)};
    Tensor *inputs[] = {x, w}, *y = graph_node(im->graph, OP_conv_transpose, 2, inputs, at);
    return bias ? ew(im, S_add, y, along(im, bias, 1, t.spatial + 2)) : y;
}
