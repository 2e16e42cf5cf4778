/* Importers: elementwise operators, and the composed ones among them. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

Tensor *import_identity(Import *im, const OnnxNode *n)
{
    Tensor *x = arg_any(im, n, 0);
    return x ? x : arg(im, n, 0);
}

Tensor *import_unary(Import *im, const OnnxNode *n)
{
    return ew1(im, (ScalarOp)im->arg, arg(im, n, 0));
}

Tensor *import_binary(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1);
    return ew(im, (ScalarOp)im->arg, a, legacy_operand(im, n, a, b));
}

/* a > b is b < a. */
Tensor *import_swapped(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1);
    return ew(im, (ScalarOp)im->arg, legacy_operand(im, n, a, b), a);
}

/* Comparison and logic of bool only, or of integers only. */
Tensor *import_logic(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0);
    if (a->dtype != DT_bool)
        return fail(im, ST_bad_model, "operand of type %s, not bool", dtype_name(a->dtype));
    return scalar_arity((ScalarOp)im->arg) == 1 ? ew1(im, (ScalarOp)im->arg, a)
                                                : import_binary(im, n);
}

Tensor *import_bits(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0);
    if (!dtype_is_int(a->dtype))
        return fail(im, ST_bad_model, "operand of type %s, not an integer", dtype_name(a->dtype));
    return scalar_arity((ScalarOp)im->arg) == 1 ? ew1(im, (ScalarOp)im->arg, a)
                                                : import_binary(im, n);
}

Tensor *import_bit_shift(Import *im, const OnnxNode *n)
{
    const char *direction = attr_s(im, n, "direction", "");
    bool left = strcmp(direction, "LEFT") == 0;
    if (!left && strcmp(direction, "RIGHT") != 0)
        return fail(im, ST_bad_model, "attribute 'direction' is neither LEFT nor RIGHT");
    Tensor *x = arg(im, n, 0), *by = arg(im, n, 1);
    if (left || dtype_class(x->dtype) != DC_INT)
        return ew(im, left ? S_shl : S_shr, x, by);
    /* arithmetic shift: counts outside the width leave the sign */
    int most = dtype_bits(x->dtype) - 1;
    Tensor *last = scalar(im, by, most), *zero = scalar(im, by, 0);
    Tensor *beyond = ew(im, S_or, ew(im, S_lt, by, zero), ew(im, S_lt, last, by));
    return ew(im, S_shr, x, graph_map(im->graph, S_select, beyond, last, by));
}

/* Sum, Max, Min, Mean of any number of operands. */
Tensor *import_nary(Import *im, const OnnxNode *n)
{
    Tensor *all = arg(im, n, 0);
    for (uint32_t i = 1; i < n->input_count; i++)
        all = ew(im, (ScalarOp)im->arg, all, arg(im, n, i));
    return all;
}

Tensor *import_mean(Import *im, const OnnxNode *n)
{
    im->arg = S_add;
    Tensor *sum = import_nary(im, n);
    return ew(im, S_div, sum, scalar(im, sum, n->input_count));
}

Tensor *import_mod(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0);
    bool c_rule = attr_i(im, n, "fmod", 0);
    return ew(im, c_rule ? S_fmod : S_mod, a, arg(im, n, 1));
}

/* The result has the type of the base; other exponents are computed in floats. */
Tensor *import_pow(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *y = arg(im, n, 1);
    y = legacy_operand(im, n, x, y);
    if (tensor_is_poison(y) || x->dtype == y->dtype)
        return ew(im, S_pow, x, y);
    if (dtype_is_float(x->dtype) && !(y->dtype == DT_f64 && x->dtype != DT_f64))
        return ew(im, S_pow, x, to(im, y, x->dtype));
    if (dtype_is_int(x->dtype) && dtype_is_int(y->dtype))
        return to(im, ew(im, S_pow, to(im, x, DT_i64), to(im, y, DT_i64)), x->dtype);
    return to(im, ew(im, S_pow, to(im, x, DT_f64), to(im, y, DT_f64)), x->dtype);
}

Tensor *import_reciprocal(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return ew(im, S_div, scalar(im, x, 1), x);
}

/* ---- activations */

Tensor *import_relu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return ew(im, S_max, x, scalar(im, x, 0));
}

static Tensor *negative(Import *im, Tensor *x)
{
    return ew(im, S_lt, x, scalar(im, x, 0));
}

Tensor *import_leaky_relu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Tensor *alpha = scalar(im, x, attr_f(im, n, "alpha", 0.01));
    return pick(im, negative(im, x), ew(im, S_mul, x, alpha), x);
}

Tensor *import_prelu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *slope = arg(im, n, 1);
    bool channels =
        n->opset < 7 && slope->rank == 1 && x->rank > 1 && !expr_is_const(slope->shape[0], 1);
    if (channels)
        slope = along(im, slope, 1, x->rank);
    return pick(im, negative(im, x), ew(im, S_mul, x, slope), x);
}

Tensor *import_sigmoid(Import *im, const OnnxNode *n)
{
    return sigmoid(im, arg(im, n, 0));
}

/* alpha * (exp(x) - 1) */
static Tensor *exp_minus_one(Import *im, Tensor *x, double alpha)
{
    Tensor *e = ew(im, S_sub, ew1(im, S_exp, x), scalar(im, x, 1));
    return ew(im, S_mul, e, scalar(im, x, alpha));
}

Tensor *import_elu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return pick(im, negative(im, x), exp_minus_one(im, x, attr_f(im, n, "alpha", 1)), x);
}

Tensor *import_selu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    bool old = n->opset < 6;
    double alpha = attr_f(im, n, "alpha", old ? 1.6732 : 1.67326319217681884765625);
    double gamma = attr_f(im, n, "gamma", old ? 1.0507 : 1.05070102214813232421875);
    Tensor *y = pick(im, negative(im, x), exp_minus_one(im, x, alpha), x);
    return ew(im, S_mul, y, scalar(im, x, gamma));
}

Tensor *import_celu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    double alpha = attr_f(im, n, "alpha", 1);
    Tensor *below = exp_minus_one(im, ew(im, S_div, x, scalar(im, x, alpha)), alpha);
    return ew(im, S_add, ew(im, S_max, x, scalar(im, x, 0)),
              ew(im, S_min, below, scalar(im, x, 0)));
}

/* log(1 + exp(x)) without overflow: max(x, 0) + log(1 + exp(-|x|)) */
static Tensor *softplus(Import *im, Tensor *x)
{
    Tensor *small = ew1(im, S_exp, ew1(im, S_neg, ew1(im, S_abs, x)));
    Tensor *tail = ew1(im, S_log, ew(im, S_add, small, scalar(im, x, 1)));
    return ew(im, S_add, ew(im, S_max, x, scalar(im, x, 0)), tail);
}

Tensor *import_softplus(Import *im, const OnnxNode *n)
{
    return softplus(im, arg(im, n, 0));
}

Tensor *import_mish(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return ew(im, S_mul, x, ew1(im, S_tanh, softplus(im, x)));
}

Tensor *import_softsign(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    return ew(im, S_div, x, ew(im, S_add, ew1(im, S_abs, x), scalar(im, x, 1)));
}

Tensor *import_hard_sigmoid(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Tensor *line = ew(im, S_mul, x, scalar(im, x, attr_f(im, n, "alpha", 0.2)));
    return clamp(im, ew(im, S_add, line, scalar(im, x, attr_f(im, n, "beta", 0.5))), 0, 1);
}

Tensor *import_hardswish(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Tensor *t = ew(im, S_add, ew(im, S_mul, x, scalar(im, x, 1.0 / 6)), scalar(im, x, 0.5));
    return ew(im, S_mul, x, clamp(im, t, 0, 1));
}

static Tensor *swish(Import *im, Tensor *x, double alpha)
{
    return ew(im, S_mul, x, sigmoid(im, ew(im, S_mul, x, scalar(im, x, alpha))));
}

Tensor *import_swish(Import *im, const OnnxNode *n)
{
    return swish(im, arg(im, n, 0), attr_f(im, n, "alpha", 1));
}

Tensor *import_swiglu(Import *im, const OnnxNode *n)
{
    return ew(im, S_mul, swish(im, arg(im, n, 0), attr_f(im, n, "alpha", 1)), arg(im, n, 1));
}

/* 0.5 * x * (1 + erf(x / sqrt(2))), or with tanh(sqrt(2 / pi) * (x + 0.044715 x^3)) */
Tensor *import_gelu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *t;
    const char *approximate = attr_s(im, n, "approximate", "none");
    if (strcmp(approximate, "tanh") == 0) {
        Tensor *cube = ew(im, S_mul, ew(im, S_mul, x, x), x);
        t = ew(im, S_add, x, ew(im, S_mul, cube, scalar(im, x, 0.044715)));
        t = ew1(im, S_tanh, ew(im, S_mul, t, scalar(im, x, sqrt(2 / 3.14159265358979323846))));
    } else if (strcmp(approximate, "none") == 0) {
        t = ew1(im, S_erf, ew(im, S_mul, x, scalar(im, x, sqrt(0.5))));
    } else {
        return fail(im, ST_unsupported, "approximation '%s'",
                    onnx_printable(im->cx->arena, approximate));
    }
    return ew(im, S_mul, ew(im, S_mul, x, scalar(im, x, 0.5)), ew(im, S_add, t, scalar(im, x, 1)));
}

Tensor *import_thresholded_relu(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Tensor *above = ew(im, S_lt, scalar(im, x, attr_f(im, n, "alpha", 1)), x);
    return pick(im, above, x, scalar(im, x, 0));
}

Tensor *import_shrink(Import *im, const OnnxNode *n)
{
    Tensor *given = arg(im, n, 0), *x = given;
    double lambda = attr_f(im, n, "lambd", 0.5), bias = attr_f(im, n, "bias", 0);
    if (dtype_is_int(given->dtype))
        x = wide(im, given);
    Tensor *below = ew(im, S_lt, x, scalar(im, x, -lambda)),
           *above = ew(im, S_lt, scalar(im, x, lambda), x);
    Tensor *high = pick(im, above, ew(im, S_sub, x, scalar(im, x, bias)), scalar(im, x, 0));
    return to(im, pick(im, below, ew(im, S_add, x, scalar(im, x, bias)), high), given->dtype);
}

static Tensor *as_scalar(Import *im, Tensor *x)
{
    return x->rank == 1 && expr_is_const(x->shape[0], 1) ? reshape(im, x, 0, NULL) : x;
}

Tensor *import_clip(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    if (n->opset < 11) {
        if (attr(im, n, "min"))
            x = ew(im, S_max, x, scalar(im, x, attr_f(im, n, "min", 0)));
        if (attr(im, n, "max"))
            x = ew(im, S_min, x, scalar(im, x, attr_f(im, n, "max", 0)));
        return x;
    }
    Tensor *lo = arg_maybe(im, n, 1), *hi = arg_maybe(im, n, 2);
    if (lo)
        x = ew(im, S_max, x, as_scalar(im, lo));
    return hi ? ew(im, S_min, x, as_scalar(im, hi)) : x;
}

Tensor *import_where(Import *im, const OnnxNode *n)
{
    return pick(im, arg(im, n, 0), arg(im, n, 1), arg(im, n, 2));
}

Tensor *import_isinf(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *inf = ew1(im, S_isinf, x);
    bool below = attr_i(im, n, "detect_negative", 1), above = attr_i(im, n, "detect_positive", 1);
    Tensor *zero = scalar(im, x, 0);
    if (!below)
        inf = ew(im, S_and, inf, ew(im, S_lt, zero, x));
    if (!above)
        inf = ew(im, S_and, inf, ew(im, S_lt, x, zero));
    return inf;
}

/* ---- quantisation */

Tensor *import_quantize(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *scale = arg(im, n, 1), *zero = arg_maybe(im, n, 2);
    int axis = (int)attr_i(im, n, "axis", 1);
    Dtype result = zero ? zero->dtype : dtype_attr(im, n, "output_dtype", DT_u8);
    Dtype precision = dtype_attr(im, n, "precision", DT_none);
    if (precision != DT_none && precision != DT_f32 && precision != scale->dtype)
        return fail(im, ST_unsupported, "precision %s", dtype_name(precision));
    scale = spread(im, x, to(im, scale, DT_f32), axis);
    if (zero)
        zero = spread(im, x, to(im, zero, DT_f32), axis);
    bool open = dtype_is_float(result) && !attr_i(im, n, "saturate", 1);
    Tensor *y = quantize(im, to(im, x, DT_f32), scale, zero, open ? DT_f32 : result);
    return open ? cast_open(im, y, result) : y;
}

Tensor *import_dequantize(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *scale = arg(im, n, 1), *zero = arg_maybe(im, n, 2);
    Dtype result = dtype_attr(im, n, "output_dtype", scale->dtype);
    return dequantize(im, x, scale, zero, (int)attr_i(im, n, "axis", 1), result);
}

/* To uint8 over the range of the data, which is made to hold 0. */
Tensor *import_dynamic_quantize(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *none = scalar(im, x, 0);
    int64_t axes[MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        axes[d] = d;
    Tensor *most = ew(im, S_max, reduce(im, M_max, x, x->rank, axes, false), none);
    Tensor *least = ew(im, S_min, reduce(im, M_min, x, x->rank, axes, false), none);
    Tensor *scale = ew(im, S_div, ew(im, S_sub, most, least), scalar(im, x, 255));
    Tensor *zero = ew1(im, S_round, clamp(im, ew(im, S_div, ew1(im, S_neg, least), scale), 0, 255));
    zero = to(im, zero, DT_u8);
    set_result(im, 1, scale);
    set_result(im, 2, zero);
    return quantize(im, x, scale, zero, DT_u8);
}
