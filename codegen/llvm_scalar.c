/* The scalar operations of ir/scalar.def on vectors, with its rules for NaN, division by zero and
 * shifts.
 *
 * Functions without a vector form go lane by lane to libm, through symbols that the object loader
 * knows. */
#include "codegen/llvm_emit.h"

Ref lane_of(Emit *e, Ref vector, int lane, int width)
{
    if (width == 1)
        return vector;
    return LLVMBuildExtractElement(e->b, vector,
                                   LLVMConstInt(e->i32, (unsigned long long)lane, false), "");
}

static Ref call_lanes(Emit *e, const char *name, Ref *args, int count, int width)
{
    LLVMTypeRef type = LLVMTypeOf(args[0]);
    LLVMTypeRef one = width == 1 ? type : LLVMGetElementType(type);
    LLVMTypeRef params[2] = {one, one};
    LLVMTypeRef sig = LLVMFunctionType(one, params, (unsigned)count, false);
    Ref fn = LLVMGetNamedFunction(e->module, name);
    if (!fn)
        fn = LLVMAddFunction(e->module, name, sig);
    Ref result = LLVMGetPoison(type);
    for (int i = 0; i < width; i++) {
        Ref in[2];
        for (int k = 0; k < count; k++)
            in[k] = lane_of(e, args[k], i, width);
        Ref r = LLVMBuildCall2(e->b, sig, fn, in, (unsigned)count, "");
        if (width == 1)
            return r;
        result = LLVMBuildInsertElement(e->b, result, r,
                                        LLVMConstInt(e->i32, (unsigned long long)i, false), "");
    }
    return result;
}

/* libm's name of a function that reaches it. Those of f32 are computed in double and rounded once,
 * as the reference says. */
static const char *libm_name(ScalarOp op)
{
    switch ((int)op) {
    case S_exp: return "exp";
    case S_log: return "log";
    case S_sin: return "sin";
    case S_cos: return "cos";
    case S_tan: return "tan";
    case S_asin: return "asin";
    case S_acos: return "acos";
    case S_atan: return "atan";
    case S_sinh: return "sinh";
    case S_cosh: return "cosh";
    case S_tanh: return "tanh";
    case S_asinh: return "asinh";
    case S_acosh: return "acosh";
    case S_atanh: return "atanh";
    case S_erf: return "erf";
    case S_pow: return "pow";
    case S_fmod: return "fmod";
    default: return NULL;
    }
}

Ref emit_libm(Emit *e, ScalarOp op, Dtype dtype, Ref *args, int width)
{
    Ref wide[2] = {NULL, NULL};
    int arity = scalar_arity(op);
    for (int i = 0; i < arity; i++)
        wide[i] = dtype == DT_f64 ? args[i] : LLVMBuildFPExt(e->b, args[i], vec(e->f64, width), "");
    Ref r = call_lanes(e, libm_name(op), wide, arity, width);
    return dtype == DT_f64 ? r : LLVMBuildFPTrunc(e->b, r, vec(e->f32, width), "");
}

static Ref choose(Emit *e, Ref cond, Ref a, Ref b)
{
    return LLVMBuildSelect(e->b, cond, a, b, "");
}

static Ref fcmp(Emit *e, LLVMRealPredicate pred, Ref a, Ref b)
{
    return LLVMBuildFCmp(e->b, pred, a, b, "");
}

/* b > a ? b : a is the instruction, and gives a when either is NaN; then b itself where it is the
 * NaN. The second operand is the one tested, since the first one tends to be what a loop carries;
 * of a constant the test folds away. */
static Ref float_extreme(Emit *e, LLVMRealPredicate pred, Ref a, Ref b)
{
    if (LLVMIsConstant(a)) {
        Ref swap = a;
        a = b;
        b = swap;
    }
    return choose(e, fcmp(e, LLVMRealUNO, b, b), b, choose(e, fcmp(e, pred, b, a), b, a));
}

static Ref float_sign(Emit *e, Ref a)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    Ref zero = LLVMConstNull(type);
    Ref r = choose(e, fcmp(e, LLVMRealOLT, a, zero), const_real(type, -1), zero);
    r = choose(e, fcmp(e, LLVMRealOGT, a, zero), const_real(type, 1), r);
    return choose(e, fcmp(e, LLVMRealUNO, a, a), a, r);
}

/* mod: the divisor's sign. */
static Ref float_mod(Emit *e, Dtype dtype, Ref *args, int width)
{
    Ref r = emit_libm(e, S_fmod, dtype, args, width), b = args[1];
    Ref zero = LLVMConstNull(LLVMTypeOf(b));
    Ref differ =
        LLVMBuildXor(e->b, fcmp(e, LLVMRealOLT, r, zero), fcmp(e, LLVMRealOLT, b, zero), "");
    Ref fixed = choose(e, differ, LLVMBuildFAdd(e->b, r, b, ""), r);
    return choose(e, fcmp(e, LLVMRealOEQ, r, zero), intrinsic2(e, "llvm.copysign", r, b), fixed);
}

static Ref emit_float(Emit *e, ScalarOp op, Dtype dtype, Ref *args, int width)
{
    Ref a = args[0], b = args[1], c = args[2];
    switch ((int)op) {
    case S_add: return LLVMBuildFAdd(e->b, a, b, "");
    case S_sub: return LLVMBuildFSub(e->b, a, b, "");
    case S_mul: return LLVMBuildFMul(e->b, a, b, "");
    case S_div: return LLVMBuildFDiv(e->b, a, b, "");
    case S_fma: return intrinsic3(e, "llvm.fma", a, b, c);
    case S_min: return float_extreme(e, LLVMRealOLT, a, b);
    case S_max: return float_extreme(e, LLVMRealOGT, a, b);
    case S_neg: return LLVMBuildFNeg(e->b, a, "");
    case S_abs: return intrinsic1(e, "llvm.fabs", a);
    case S_sign: return float_sign(e, a);
    case S_floor: return intrinsic1(e, "llvm.floor", a);
    case S_ceil: return intrinsic1(e, "llvm.ceil", a);
    case S_round: return intrinsic1(e, "llvm.roundeven", a);
    case S_trunc: return intrinsic1(e, "llvm.trunc", a);
    case S_sqrt: return intrinsic1(e, "llvm.sqrt", a);
    case S_mod: return float_mod(e, dtype, args, width);
    case S_eq: return fcmp(e, LLVMRealOEQ, a, b);
    case S_ne: return fcmp(e, LLVMRealUNE, a, b);
    case S_lt: return fcmp(e, LLVMRealOLT, a, b);
    case S_le: return fcmp(e, LLVMRealOLE, a, b);
    case S_isnan: return fcmp(e, LLVMRealUNO, a, a);
    case S_isinf:
        return fcmp(e, LLVMRealOEQ, intrinsic1(e, "llvm.fabs", a),
                    const_real(LLVMTypeOf(a), 1.0 / 0.0));
    default: break;
    }
    Ref r = dtype == DT_f32 ? emit_math(e, op, args, width) : NULL;
    if (r)
        return r;
    if (!libm_name(op))
        BUG("kernel %s: scalar %s on %s", e->prog->name, scalar_name(op), dtype_name(dtype));
    return emit_libm(e, op, dtype, args, width);
}

/* Division: 0 divides to 0, MIN / -1 wraps, and neither traps. */
static Ref int_div(Emit *e, ScalarOp op, bool is_signed, Ref a, Ref b)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    Ref zero = LLVMConstNull(type), one = const_int(type, 1);
    Ref by_zero = LLVMBuildICmp(e->b, LLVMIntEQ, b, zero, "");
    Ref safe = choose(e, by_zero, one, b), minus = NULL;
    if (is_signed) {
        minus = LLVMBuildICmp(e->b, LLVMIntEQ, b, const_int(type, -1), "");
        safe = choose(e, minus, one, safe);
    }
    if (op == S_div) {
        Ref q = is_signed ? LLVMBuildSDiv(e->b, a, safe, "") : LLVMBuildUDiv(e->b, a, safe, "");
        if (is_signed)
            q = choose(e, minus, LLVMBuildNeg(e->b, a, ""), q);
        return choose(e, by_zero, zero, q);
    }
    Ref r = is_signed ? LLVMBuildSRem(e->b, a, safe, "") : LLVMBuildURem(e->b, a, safe, "");
    if (op == S_fmod || !is_signed)
        return r; /* by 1 it is 0 already */
    Ref signs = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, r, b, ""), zero, "");
    Ref off = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntNE, r, zero, ""), signs, "");
    return choose(e, off, LLVMBuildAdd(e->b, r, b, ""), r);
}

static Ref int_shift(Emit *e, ScalarOp op, bool is_signed, Ref a, Ref b)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMTypeRef one = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    Ref fits =
        LLVMBuildICmp(e->b, LLVMIntULT, b, const_int(type, (int64_t)LLVMGetIntTypeWidth(one)), "");
    Ref by = choose(e, fits, b, LLVMConstNull(type));
    Ref r = op == S_shl ? LLVMBuildShl(e->b, a, by, "")
            : is_signed ? LLVMBuildAShr(e->b, a, by, "")
                        : LLVMBuildLShr(e->b, a, by, "");
    return choose(e, fits, r, LLVMConstNull(type));
}

/* Square and multiply, all bits of the exponent without branches. */
static Ref int_pow(Emit *e, bool is_signed, Ref a, Ref b)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    LLVMTypeRef scalar =
        LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    Ref one = const_int(type, 1), zero = LLVMConstNull(type);
    Ref result = one, base = a, left = b;
    for (unsigned i = 0; i < LLVMGetIntTypeWidth(scalar); i++) {
        Ref odd = LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildAnd(e->b, left, one, ""), zero, "");
        result = choose(e, odd, LLVMBuildMul(e->b, result, base, ""), result);
        base = LLVMBuildMul(e->b, base, base, "");
        left = LLVMBuildLShr(e->b, left, one, "");
    }
    if (!is_signed)
        return result;
    Ref odd = LLVMBuildICmp(e->b, LLVMIntNE, LLVMBuildAnd(e->b, b, one, ""), zero, "");
    Ref minus = const_int(type, -1);
    Ref inverse =
        choose(e, LLVMBuildICmp(e->b, LLVMIntEQ, a, minus, ""), choose(e, odd, minus, one), zero);
    inverse = choose(e, LLVMBuildICmp(e->b, LLVMIntEQ, a, one, ""), one, inverse);
    return choose(e, LLVMBuildICmp(e->b, LLVMIntSLT, b, zero, ""), inverse, result);
}

static Ref int_sign(Emit *e, bool is_signed, Ref a)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    Ref zero = LLVMConstNull(type);
    Ref r = choose(e, LLVMBuildICmp(e->b, LLVMIntNE, a, zero, ""), const_int(type, 1), zero);
    return is_signed
               ? choose(e, LLVMBuildICmp(e->b, LLVMIntSLT, a, zero, ""), const_int(type, -1), r)
               : r;
}

static Ref int_compare(Emit *e, ScalarOp op, bool is_signed, Ref a, Ref b)
{
    LLVMIntPredicate pred = LLVMIntEQ;
    if (op == S_ne)
        pred = LLVMIntNE;
    else if (op == S_lt || op == S_min)
        pred = is_signed ? LLVMIntSLT : LLVMIntULT;
    else if (op == S_le)
        pred = is_signed ? LLVMIntSLE : LLVMIntULE;
    else if (op == S_max)
        pred = is_signed ? LLVMIntSGT : LLVMIntUGT;
    return LLVMBuildICmp(e->b, pred, a, b, "");
}

static Ref emit_int(Emit *e, ScalarOp op, Dtype dtype, Ref *args)
{
    bool is_signed = dtype_class(dtype) == DC_INT;
    Ref a = args[0], b = args[1];
    switch ((int)op) {
    case S_add: return LLVMBuildAdd(e->b, a, b, "");
    case S_sub: return LLVMBuildSub(e->b, a, b, "");
    case S_mul: return LLVMBuildMul(e->b, a, b, "");
    case S_div:
    case S_mod:
    case S_fmod: return int_div(e, op, is_signed, a, b);
    case S_min:
    case S_max: return choose(e, int_compare(e, op, is_signed, a, b), a, b);
    case S_neg: return LLVMBuildNeg(e->b, a, "");
    case S_abs:
        if (!is_signed)
            return a;
        return choose(e, LLVMBuildICmp(e->b, LLVMIntSLT, a, LLVMConstNull(LLVMTypeOf(a)), ""),
                      LLVMBuildNeg(e->b, a, ""), a);
    case S_sign: return int_sign(e, is_signed, a);
    case S_pow: return int_pow(e, is_signed, a, b);
    case S_eq:
    case S_ne:
    case S_lt:
    case S_le: return int_compare(e, op, is_signed, a, b);
    case S_and: return LLVMBuildAnd(e->b, a, b, "");
    case S_or: return LLVMBuildOr(e->b, a, b, "");
    case S_xor: return LLVMBuildXor(e->b, a, b, "");
    case S_not: return LLVMBuildNot(e->b, a, "");
    case S_shl:
    case S_shr: return int_shift(e, op, is_signed, a, b);
    default: BUG("kernel %s: scalar %s on %s", e->prog->name, scalar_name(op), dtype_name(dtype));
    }
}

/* `dtype`: compute type of the operands; for select, of the last two. */
Ref emit_scalar(Emit *e, ScalarOp op, Dtype dtype, Ref *args, int width)
{
    if (op == S_select)
        return choose(e, args[0], args[1], args[2]);
    return dtype_is_float(dtype) ? emit_float(e, op, dtype, args, width)
                                 : emit_int(e, op, dtype, args);
}
