/* Vector forms of the float32 functions: no tables, no branches but one (arguments of sin, cos and
 * tan from 2^28 on go to libm), valid for every float. Errors in tests/unit/test_llvm_math.c, at
 * most 2 units in the last place.
 *
 * Polynomials are our own least-maximum fits of the named remainders (Lawson's iteration;
 * coefficients rounded to float one by one, the others fitted again). sin, cos, tan and pow run in
 * float64: one rounding at the end. */
#include <math.h>

#include "codegen/llvm_emit.h"

/* (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2 */
static const double exp_poly[] = {0.4999999404, 0.1666652113, 0.04166826606, 0.00836867746,
                                  0.001382073388};
/* (log(1 + f) - f + f^2 / 2) / f^3 on [sqrt 1/2, sqrt 2] - 1 */
static const double log_poly[] = {0.3333331347,  -0.2500000894, 0.2000207156,
                                  -0.1666799039, 0.142203629,   -0.1240620837,
                                  0.1188347116,  -0.1167018339, 0.06749540567};
/* (tanh x / x - 1) / x^2 by x^2, |x| <= 0.6 */
static const double tanh_poly[] = {-0.3333329856, 0.1333193928, -0.05378512293, 0.02080031671,
                                   -0.005900179036};
/* erf x / x - 1 by x^2, |x| <= 0.95 */
static const double erf_small[] = {0.1283791661,   -0.3761262894,   0.1128362492,   -0.02685566433,
                                   0.005192210898, -0.000804756477, 7.988239668e-05};
/* -log(1 - erf x) on [0.92, 3.95] */
static const double erf_large[] = {-0.0001604003046, 1.129434109,     0.6335434318,
                                   0.1080120653,     -0.02489535138,  0.004053547978,
                                   -0.0003967304074, 1.431681358e-05, 5.213744316e-07};
/* (sin x / x - 1) / x^2 and (cos x - 1 + x^2 / 2) / x^4 by x^2, |x| <= pi / 4 */
static const double sin_poly[] = {-0.1666666666663123, 0.0083333333252061641,
                                  -0.00019841263786583071, 2.7555349896295385e-06,
                                  -2.4761073420158722e-08};
static const double cos_poly[] = {0.041666666666600571, -0.0013888888878078863,
                                  2.4801580892598206e-05, -2.7555553630233742e-07,
                                  2.0646908586042373e-09};
/* log2((1 + s) / (1 - s)) / s by s^2, s <= 0.1716; 2^r on |r| <= 1/2 */
static const double log2_poly[] = {2.8853900817778504,  0.96179669411340529, 0.57707794234605836,
                                   0.41220925428250249, 0.31990561635217574, 0.28290137386337655};
static const double exp2_poly[] = {
    0.99999999999976008,   0.69314718054640845,    0.24022650698904685,
    0.055504109397746533,  0.0096181285393528021,  0.0013333451641397119,
    0.0001540385312048774, 1.5309850619186875e-05, 1.3175759986548338e-06};

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

static const double ln2_high = 0.693359375, ln2_low = -0.00021219444005469057;
static const double half_pi_high = 1.5707963267948966, half_pi_low = 6.123233995736766e-17;

static Ref real(Ref like, double value)
{
    return const_real(LLVMTypeOf(like), value);
}

static Ref fma3(Emit *e, Ref a, Ref b, Ref c)
{
    return intrinsic3(e, "llvm.fma", a, b, c);
}

static Ref mul(Emit *e, Ref a, Ref b)
{
    return LLVMBuildFMul(e->b, a, b, "");
}

static Ref add(Emit *e, Ref a, Ref b)
{
    return LLVMBuildFAdd(e->b, a, b, "");
}

static Ref pick(Emit *e, Ref cond, Ref a, Ref b)
{
    return LLVMBuildSelect(e->b, cond, a, b, "");
}

static Ref compare(Emit *e, LLVMRealPredicate pred, Ref a, double b)
{
    return LLVMBuildFCmp(e->b, pred, a, real(a, b), "");
}

static Ref poly(Emit *e, const double *coefs, int count, Ref x)
{
    Ref sum = real(x, coefs[count - 1]);
    for (int i = count - 1; i-- > 0;)
        sum = fma3(e, sum, x, real(x, coefs[i]));
    return sum;
}

static Ref absolute(Emit *e, Ref x)
{
    return intrinsic1(e, "llvm.fabs", x);
}

/* NaN stays: comparisons with it are false. */
static Ref clamp(Emit *e, Ref x, double lo, double hi)
{
    x = pick(e, compare(e, LLVMRealOGT, x, hi), real(x, hi), x);
    return pick(e, compare(e, LLVMRealOLT, x, lo), real(x, lo), x);
}

static Ref as_int(Emit *e, Ref x, int width)
{
    return LLVMBuildBitCast(e->b, x, vec(e->i32, width), "");
}

static Ref as_float(Emit *e, Ref x, int width)
{
    return LLVMBuildBitCast(e->b, x, vec(e->f32, width), "");
}

static Ref int_op(Emit *e, LLVMOpcode op, Ref a, int64_t b)
{
    return LLVMBuildBinOp(e->b, op, a, const_int(LLVMTypeOf(a), b), "");
}

/* p * 2^n for |n| < 250, in two factors, so that the last multiplication alone rounds. `whole` is n
 * as a float. */
static Ref scale(Emit *e, Ref p, Ref n, Ref whole, int width)
{
    if (width == 16 && e->caps->vector_bits == 512) { /* one instruction, the same bits */
        Ref args[5] = {p, whole, p, LLVMConstAllOnes(e->i16), LLVMConstInt(e->i32, 4, false)};
        return call_intrinsic(e, "llvm.x86.avx512.mask.scalef.ps.512", NULL, 0, args, 5);
    }
    Ref half = int_op(e, LLVMAShr, n, 1), rest = LLVMBuildSub(e->b, n, half, "");
    Ref a = as_float(e, int_op(e, LLVMShl, int_op(e, LLVMAdd, half, 127), 23), width);
    Ref b = as_float(e, int_op(e, LLVMShl, int_op(e, LLVMAdd, rest, 127), 23), width);
    return mul(e, mul(e, p, a), b);
}

/* x = n ln 2 + r. Adding 1.5 * 2^23 leaves n in the low bits, whatever x is: no conversion that is
 * undefined for NaN. */
static Ref reduce_exp(Emit *e, Ref x, Ref *n, Ref *count, int width)
{
    const double magic = 12582912;
    Ref t = fma3(e, x, real(x, M_LOG2E), real(x, magic));
    Ref whole = LLVMBuildFSub(e->b, t, real(x, magic), "");
    *n = int_op(e, LLVMSub, as_int(e, t, width), 0x4b400000);
    *count = whole;
    Ref r = fma3(e, whole, real(x, -ln2_high), x);
    return fma3(e, whole, real(x, -ln2_low), r);
}

/* e^x / 2^n; n as an integer and as a float */
static Ref exp_fraction(Emit *e, Ref x, Ref *n, Ref *count, int width)
{
    Ref r = reduce_exp(e, x, n, count, width);
    Ref p = fma3(e, poly(e, exp_poly, COUNT(exp_poly), r), r, real(x, 1));
    return fma3(e, p, r, real(x, 1));
}

static Ref emit_exp(Emit *e, Ref x, int width)
{
    Ref n, count, p = exp_fraction(e, clamp(e, x, -110, 110), &n, &count, width);
    return scale(e, p, n, count, width);
}

/* For |x| < 80, where the result is normal: the exponent is added in place. NaN stays NaN only in
 * `p`. */
static Ref exp_moderate(Emit *e, Ref x, int width)
{
    Ref n, count, p = exp_fraction(e, x, &n, &count, width);
    Ref sum = LLVMBuildAdd(e->b, as_int(e, p, width), int_op(e, LLVMShl, n, 23), "");
    return as_float(e, sum, width);
}

static Ref emit_log(Emit *e, Ref x, int width)
{
    Ref small = compare(e, LLVMRealOLT, x, 0x1p-126);
    Ref bits = as_int(e, pick(e, small, mul(e, x, real(x, 0x1p23)), x), width);
    Ref over = int_op(e, LLVMSub, bits, 0x3f3504f3); /* from sqrt 1/2 */
    Ref n = int_op(e, LLVMAShr, over, 23);
    Ref f = add(e, as_float(e, LLVMBuildSub(e->b, bits, int_op(e, LLVMShl, n, 23), ""), width),
                real(x, -1));
    Ref exponent = LLVMBuildSIToFP(e->b, n, vec(e->f32, width), "");
    exponent = pick(e, small, add(e, exponent, real(x, -23)), exponent);
    Ref square = mul(e, f, f);
    Ref p = mul(e, mul(e, poly(e, log_poly, COUNT(log_poly), f), f), square);
    p = fma3(e, square, real(x, -0.5), p);
    p = fma3(e, exponent, real(x, ln2_low), p);
    Ref r = fma3(e, exponent, real(x, ln2_high), add(e, f, p));
    r = pick(e, compare(e, LLVMRealOEQ, x, (double)INFINITY), x, r);
    r = pick(e, compare(e, LLVMRealOEQ, x, 0), real(x, -(double)INFINITY), r);
    r = pick(e, compare(e, LLVMRealOLT, x, 0), real(x, (double)NAN), r);
    return pick(e, LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, ""), x, r);
}

static Ref emit_tanh(Emit *e, Ref x, int width)
{
    Ref a = absolute(e, x), square = mul(e, x, x);
    Ref near = fma3(e, mul(e, poly(e, tanh_poly, COUNT(tanh_poly), square), square), x, x);
    Ref small = pick(e, compare(e, LLVMRealOLT, a, 10), a, real(a, 10)); /* 10 for NaN */
    Ref twice = exp_moderate(e, add(e, small, small), width);
    Ref far = LLVMBuildFDiv(e->b, real(x, 2), add(e, twice, real(x, 1)), "");
    far = LLVMBuildFSub(e->b, real(x, 1), far, "");
    far = intrinsic2(e, "llvm.copysign", far, x);
    return pick(e, compare(e, LLVMRealOGE, a, 0.6), far, near); /* near for NaN */
}

static Ref emit_erf(Emit *e, Ref x, int width)
{
    Ref a = absolute(e, x);
    Ref near = fma3(e, poly(e, erf_small, COUNT(erf_small), mul(e, x, x)), x, x);
    Ref small = pick(e, compare(e, LLVMRealOLT, a, 4), a, real(a, 4)); /* 4 for NaN */
    Ref g = poly(e, erf_large, COUNT(erf_large), small);
    Ref far =
        LLVMBuildFSub(e->b, real(x, 1), exp_moderate(e, LLVMBuildFNeg(e->b, g, ""), width), "");
    far = intrinsic2(e, "llvm.copysign", far, x);
    return pick(e, compare(e, LLVMRealOGE, a, 0.93), far, near); /* near for NaN */
}

/* sin, cos or tan of moderate arguments: x = n pi / 2 + r in float64. */
static Ref trig(Emit *e, ScalarOp op, Ref x, int width)
{
    Ref wide = LLVMBuildFPExt(e->b, x, vec(e->f64, width), "");
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    Ref t = fma3(e, wide, real(wide, M_2_PI), real(wide, magic));
    Ref whole = LLVMBuildFSub(e->b, t, real(wide, magic), "");
    Ref n = LLVMBuildBitCast(e->b, t, vec(e->i64, width), "");
    Ref r = fma3(e, whole, real(wide, -half_pi_high), wide);
    r = fma3(e, whole, real(wide, -half_pi_low), r);
    Ref square = mul(e, r, r);
    Ref s = fma3(e, mul(e, poly(e, sin_poly, COUNT(sin_poly), square), square), r, r);
    Ref c = poly(e, cos_poly, COUNT(cos_poly), square);
    c = fma3(e, mul(e, c, square), square, fma3(e, square, real(wide, -0.5), real(wide, 1)));
    Ref zero = LLVMConstNull(LLVMTypeOf(n));
    Ref odd = LLVMBuildICmp(e->b, LLVMIntNE, int_op(e, LLVMAnd, n, 1), zero, "");
    Ref result;
    if (op == S_tan) {
        Ref top = pick(e, odd, LLVMBuildFNeg(e->b, c, ""), s);
        result = LLVMBuildFDiv(e->b, top, pick(e, odd, s, c), "");
    } else {
        Ref turn = op == S_cos ? int_op(e, LLVMAdd, n, 1) : n;
        Ref minus = LLVMBuildICmp(e->b, LLVMIntNE, int_op(e, LLVMAnd, turn, 2), zero, "");
        result = op == S_cos ? pick(e, odd, s, c) : pick(e, odd, c, s);
        result = pick(e, minus, LLVMBuildFNeg(e->b, result, ""), result);
    }
    result = LLVMBuildFPTrunc(e->b, result, vec(e->f32, width), "");
    return op == S_cos ? result : pick(e, compare(e, LLVMRealOEQ, x, 0), x, result); /* -0 */
}

static Ref emit_trig(Emit *e, ScalarOp op, Ref x, int width)
{
    Ref large = compare(e, LLVMRealOGE, absolute(e, x), 0x1p28);
    Region r;
    uint32_t slot = e->part_count++; /* one more register, merged with the others */
    e->parts[slot] = LLVMConstNull(LLVMTypeOf(x));
    region_begin(e, &r, width == 1 ? large : intrinsic1(e, "llvm.vector.reduce.or", large));
    e->parts[slot] = emit_libm(e, op, DT_f32, &x, width);
    region_else(e, &r);
    e->parts[slot] = trig(e, op, x, width);
    region_end(e, &r);
    e->part_count--;
    return e->parts[slot];
}

/* log2 of a positive float64 that came from a float. */
static Ref log2_wide(Emit *e, Ref a, int width)
{
    LLVMTypeRef wide = vec(e->i64, width);
    Ref bits = LLVMBuildBitCast(e->b, a, wide, "");
    Ref over = int_op(e, LLVMSub, bits, 0x3fe6a09e667f3bcd);
    Ref n = int_op(e, LLVMAShr, over, 52);
    Ref m = LLVMBuildBitCast(e->b, LLVMBuildSub(e->b, bits, int_op(e, LLVMShl, n, 52), ""),
                             vec(e->f64, width), "");
    Ref s = LLVMBuildFDiv(e->b, add(e, m, real(m, -1)), add(e, m, real(m, 1)), "");
    Ref narrow = LLVMBuildTrunc(e->b, n, vec(e->i32, width), "");
    Ref whole = LLVMBuildSIToFP(e->b, narrow, vec(e->f64, width), "");
    return fma3(e, poly(e, log2_poly, COUNT(log2_poly), mul(e, s, s)), s, whole);
}

static Ref exp2_wide(Emit *e, Ref t, int width)
{
    const double magic = 6755399441055744.0;
    Ref sum = add(e, t, real(t, magic));
    Ref r = LLVMBuildFSub(e->b, t, LLVMBuildFSub(e->b, sum, real(t, magic), ""), "");
    Ref n = LLVMBuildBitCast(e->b, sum, vec(e->i64, width), "");
    Ref power = LLVMBuildBitCast(e->b, int_op(e, LLVMShl, int_op(e, LLVMAdd, n, 1023), 52),
                                 vec(e->f64, width), "");
    return mul(e, poly(e, exp2_poly, COUNT(exp2_poly), r), power);
}

/* C's pow: the special cases come last, by selection. */
static Ref emit_pow(Emit *e, Ref x, Ref y, int width)
{
    Ref a = LLVMBuildFPExt(e->b, absolute(e, x), vec(e->f64, width), "");
    Ref wide_y = LLVMBuildFPExt(e->b, y, vec(e->f64, width), "");
    Ref log = log2_wide(e, a, width);
    log = pick(e, compare(e, LLVMRealOEQ, a, 0), real(log, -(double)INFINITY), log);
    log = pick(e, compare(e, LLVMRealOEQ, a, (double)INFINITY), a, log);
    Ref t = clamp(e, mul(e, wide_y, log), -400, 400);
    Ref r = LLVMBuildFPTrunc(e->b, exp2_wide(e, t, width), vec(e->f32, width), "");
    r = pick(e, compare(e, LLVMRealOEQ, absolute(e, x), 1), real(x, 1), r);
    /* Negative x: odd whole y give the sign, broken ones NaN. Whole = unchanged by truncation; odd
     * = half of it broken. */
    Ref whole = LLVMBuildFCmp(e->b, LLVMRealOEQ, intrinsic1(e, "llvm.trunc", y), y, "");
    Ref half = mul(e, y, real(y, 0.5));
    Ref even = LLVMBuildFCmp(e->b, LLVMRealOEQ, intrinsic1(e, "llvm.trunc", half), half, "");
    Ref odd = LLVMBuildAnd(e->b, whole, LLVMBuildNot(e->b, even, ""), "");
    r = pick(e, odd, intrinsic2(e, "llvm.copysign", r, x), r);
    Ref finite_minus = LLVMBuildAnd(e->b, compare(e, LLVMRealOLT, x, 0),
                                    compare(e, LLVMRealOGT, x, -(double)INFINITY), "");
    r = pick(e, LLVMBuildAnd(e->b, finite_minus, LLVMBuildNot(e->b, whole, ""), ""),
             real(x, (double)NAN), r);
    Ref nan = LLVMBuildFCmp(e->b, LLVMRealUNO, x, y, "");
    r = pick(e, nan, add(e, x, y), r);
    Ref one = LLVMBuildOr(e->b, compare(e, LLVMRealOEQ, x, 1), compare(e, LLVMRealOEQ, y, 0), "");
    return pick(e, one, real(x, 1), r);
}

Ref emit_math(Emit *e, ScalarOp op, Ref *args, int width)
{
    switch ((int)op) {
    case S_exp: return emit_exp(e, args[0], width);
    case S_log: return emit_log(e, args[0], width);
    case S_tanh: return emit_tanh(e, args[0], width);
    case S_erf: return emit_erf(e, args[0], width);
    case S_sin:
    case S_cos:
    case S_tan: return emit_trig(e, op, args[0], width);
    case S_pow: return emit_pow(e, args[0], args[1], width);
    default: return NULL;
    }
}
