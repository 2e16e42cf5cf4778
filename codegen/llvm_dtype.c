/* Element types in LLVM IR: what is in memory, what is computed with, and the way between them.
 *
 * half goes through fpext and fptrunc; bfloat16 and 8-bit floats through integer sequences that
 * every x86 level has. The helpers for constants and intrinsics used by all of the emitter are here
 * as well. */
#include <math.h>
#include <string.h>

#include "codegen/llvm_emit.h"

LLVMTypeRef vec(LLVMTypeRef type, int width)
{
    return width == 1 ? type : LLVMVectorType(type, (unsigned)width);
}

LLVMTypeRef compute_type(Emit *e, Dtype dtype)
{
    switch ((int)dtype_compute(dtype)) {
    case DT_f32: return e->f32;
    case DT_f64: return e->f64;
    case DT_i32:
    case DT_u32: return e->i32;
    case DT_i64:
    case DT_u64: return e->i64;
    case DT_bool: return e->i1;
    default:
        emit_fail(e, ST_unsupported, "kernel %s: no kernels on %s", e->prog->name,
                  dtype_name(dtype));
    }
}

LLVMTypeRef memory_type(Emit *e, Dtype dtype)
{
    if (dtype == DT_f32 || dtype == DT_f64)
        return compute_type(e, dtype);
    if (dtype == DT_f16)
        return e->f16;
    switch (dtype_bits(dtype)) {
    case 2:
    case 4:
    case 8: return e->i8;
    case 16: return e->i16;
    case 32: return e->i32;
    case 64: return e->i64;
    default:
        emit_fail(e, ST_unsupported, "kernel %s: no kernels on %s", e->prog->name,
                  dtype_name(dtype));
    }
}

static LLVMTypeRef scalar_of(LLVMTypeRef type)
{
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

static Ref repeat(LLVMTypeRef type, Ref scalar)
{
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind)
        return scalar;
    Ref lanes[2 * MAX_LANES];
    unsigned width = LLVMGetVectorSize(type);
    for (unsigned i = 0; i < width; i++)
        lanes[i] = scalar;
    return LLVMConstVector(lanes, width);
}

Ref const_int(LLVMTypeRef type, int64_t value)
{
    return repeat(type, LLVMConstInt(scalar_of(type), (unsigned long long)value, true));
}

Ref const_real(LLVMTypeRef type, double value)
{
    return repeat(type, LLVMConstReal(scalar_of(type), value));
}

Ref const_iota(Emit *e, LLVMTypeRef scalar, int width)
{
    (void)e;
    Ref lanes[2 * MAX_LANES];
    for (int i = 0; i < width; i++)
        lanes[i] = LLVMConstInt(scalar, (unsigned long long)i, false);
    return width == 1 ? lanes[0] : LLVMConstVector(lanes, (unsigned)width);
}

Ref const_mask(Emit *e, int active, int width)
{
    Ref lanes[2 * MAX_LANES];
    for (int i = 0; i < width; i++)
        lanes[i] = LLVMConstInt(e->i1, i < active, false);
    return LLVMConstVector(lanes, (unsigned)width);
}

Ref emit_const(Emit *e, Dtype dtype, Scalar value)
{
    LLVMTypeRef type = compute_type(e, dtype);
    return dtype_is_float(dtype) ? LLVMConstReal(type, value.f)
                                 : LLVMConstInt(type, (unsigned long long)value.i, true);
}

Ref splat(Emit *e, Ref scalar, int width)
{
    if (width == 1)
        return scalar;
    LLVMTypeRef type = vec(LLVMTypeOf(scalar), width);
    if (LLVMIsConstant(scalar))
        return repeat(type, scalar);
    Ref one = LLVMBuildInsertElement(e->b, LLVMGetPoison(type), scalar,
                                     LLVMConstInt(e->i32, 0, false), "");
    return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(type), LLVMConstNull(vec(e->i32, width)),
                                  "");
}

Ref call_intrinsic(Emit *e, const char *name, LLVMTypeRef *over, int over_count, Ref *args,
                   int count)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id)
        BUG("no intrinsic %s", name);
    Ref fn = LLVMGetIntrinsicDeclaration(e->module, id, over, (size_t)over_count);
    LLVMTypeRef type = LLVMIntrinsicGetType(e->llvm, id, over, (size_t)over_count);
    return LLVMBuildCall2(e->b, type, fn, args, (unsigned)count, "");
}

Ref intrinsic1(Emit *e, const char *name, Ref a)
{
    LLVMTypeRef over = LLVMTypeOf(a);
    return call_intrinsic(e, name, &over, 1, &a, 1);
}

Ref intrinsic2(Emit *e, const char *name, Ref a, Ref b)
{
    LLVMTypeRef over = LLVMTypeOf(a);
    return call_intrinsic(e, name, &over, 1, (Ref[]){a, b}, 2);
}

Ref intrinsic3(Emit *e, const char *name, Ref a, Ref b, Ref c)
{
    LLVMTypeRef over = LLVMTypeOf(a);
    return call_intrinsic(e, name, &over, 1, (Ref[]){a, b, c}, 3);
}

/* Small floats: sign, exponent and `man` mantissa bits, with this bias. */
typedef struct Small {
    int bits, man, bias;
    bool inf, fnuz; /* has infinities (IEEE); one NaN at the sign of zero, no -0 */
    int max;        /* code of the largest finite value */
} Small;

static bool small_of(Dtype dtype, Small *s)
{
    switch ((int)dtype) {
    case DT_f8e4m3: *s = (Small){8, 3, 7, false, false, 0x7e}; return true;
    case DT_f8e4m3fnuz: *s = (Small){8, 3, 8, false, true, 0x7f}; return true;
    case DT_f8e5m2: *s = (Small){8, 2, 15, true, false, 0x7b}; return true;
    case DT_f8e5m2fnuz: *s = (Small){8, 2, 16, false, true, 0x7f}; return true;
    case DT_f4e2m1: *s = (Small){4, 1, 1, false, false, 7}; return true;
    default: return false;
    }
}

static Ref ibin(Emit *e, LLVMOpcode op, Ref a, int64_t b)
{
    return LLVMBuildBinOp(e->b, op, a, const_int(LLVMTypeOf(a), b), "");
}

static Ref icmp(Emit *e, LLVMIntPredicate pred, Ref a, int64_t b)
{
    return LLVMBuildICmp(e->b, pred, a, const_int(LLVMTypeOf(a), b), "");
}

static Ref bits_of(Emit *e, Ref x, int width)
{
    return LLVMBuildBitCast(e->b, x, vec(e->i32, width), "");
}

static Ref float_of(Emit *e, Ref x, int width)
{
    return LLVMBuildBitCast(e->b, x, vec(e->f32, width), "");
}

/* Exponent and mantissa moved to float's places, rescaled by a multiplication: exact, denormals
 * included. */
static Ref small_decode(Emit *e, const Small *s, Ref raw, int width)
{
    LLVMTypeRef i = vec(e->i32, width);
    Ref x = LLVMBuildZExt(e->b, raw, i, "");
    int sign = 1 << (s->bits - 1);
    Ref mag = ibin(e, LLVMShl, ibin(e, LLVMAnd, x, sign - 1), 23 - s->man);
    Ref f = LLVMBuildFMul(e->b, float_of(e, mag, width),
                          const_real(vec(e->f32, width), ldexp(1, 127 - s->bias)), "");
    Ref top = ibin(e, LLVMShl, ibin(e, LLVMAnd, x, sign), 32 - s->bits);
    Ref bits = LLVMBuildOr(e->b, bits_of(e, f, width), top, "");
    Ref nan = const_int(i, 0x7fc00000);
    if (s->fnuz) {
        bits = LLVMBuildSelect(e->b, icmp(e, LLVMIntEQ, x, 0x80), nan, bits, "");
    } else if (s->bits == 8) {
        Ref low = ibin(e, LLVMAnd, x, 0x7f);
        bits = LLVMBuildSelect(e->b, icmp(e, LLVMIntUGT, low, s->inf ? 0x7c : 0x7e), nan, bits, "");
        if (s->inf) {
            Ref inf = ibin(e, LLVMOr, top, 0x7f800000);
            bits = LLVMBuildSelect(e->b, icmp(e, LLVMIntEQ, low, 0x7c), inf, bits, "");
        }
    }
    return float_of(e, bits, width);
}

/* Rounds half to even in integers; denormals by adding a constant whose last place is theirs;
 * saturates. */
static Ref small_encode(Emit *e, const Small *s, Ref value, int width)
{
    Ref x = bits_of(e, value, width);
    Ref mag = ibin(e, LLVMAnd, x, 0x7fffffff);
    int shift = 23 - s->man;
    Ref odd = ibin(e, LLVMAnd, ibin(e, LLVMLShr, mag, shift), 1);
    Ref sum = LLVMBuildAdd(e->b, ibin(e, LLVMAdd, mag, (1 << (shift - 1)) - 1), odd, "");
    Ref normal =
        ibin(e, LLVMSub, ibin(e, LLVMLShr, sum, shift), (int64_t)(127 - s->bias) << s->man);
    /* The unit of a denormal is 2^(1 - bias - man); 2^23 times it has that as last place. */
    float magic = ldexpf(1, 24 - s->bias - s->man);
    uint32_t magic_bits;
    memcpy(&magic_bits, &magic, 4);
    Ref f = LLVMBuildFAdd(e->b, float_of(e, mag, width),
                          const_real(vec(e->f32, width), (double)magic), "");
    Ref denormal = ibin(e, LLVMSub, bits_of(e, f, width), magic_bits);
    Ref small = icmp(e, LLVMIntULT, mag, (int64_t)(128 - s->bias) << 23);
    Ref code = LLVMBuildSelect(e->b, small, denormal, normal, "");
    Ref max = const_int(LLVMTypeOf(code), s->max);
    code = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntUGT, code, max, ""), max, code, "");
    Ref top = ibin(e, LLVMAnd, ibin(e, LLVMLShr, x, 32 - s->bits), 1 << (s->bits - 1));
    if (s->fnuz)
        top = LLVMBuildSelect(e->b, icmp(e, LLVMIntEQ, code, 0), code, top, "");
    code = LLVMBuildOr(e->b, code, top, "");
    if (s->bits == 4) { /* NaN becomes -0 */
        Ref nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
        code = LLVMBuildSelect(e->b, nan, const_int(LLVMTypeOf(code), 8), code, "");
    } else {
        Ref nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
        Ref nan_code = s->fnuz ? const_int(LLVMTypeOf(code), 0x80)
                               : ibin(e, LLVMOr, ibin(e, LLVMAnd, top, 0x80), s->inf ? 0x7e : 0x7f);
        code = LLVMBuildSelect(e->b, nan, nan_code, code, "");
    }
    return LLVMBuildTrunc(e->b, code, vec(e->i8, width), "");
}

/* e8m0: 2^(code - 127); code 0 is 2^-127, 255 is NaN. */
static Ref scale_decode(Emit *e, Ref raw, int width)
{
    Ref x = LLVMBuildZExt(e->b, raw, vec(e->i32, width), "");
    Ref bits = ibin(e, LLVMShl, x, 23);
    bits = LLVMBuildSelect(e->b, icmp(e, LLVMIntEQ, x, 0), const_int(LLVMTypeOf(x), 0x400000), bits,
                           "");
    bits = LLVMBuildSelect(e->b, icmp(e, LLVMIntEQ, x, 255), const_int(LLVMTypeOf(x), 0x7fc00000),
                           bits, "");
    return float_of(e, bits, width);
}

/* The next power of two up, of the magnitude. */
static Ref scale_encode(Emit *e, Ref value, int width)
{
    Ref mag = ibin(e, LLVMAnd, bits_of(e, value, width), 0x7fffffff);
    Ref code = ibin(e, LLVMLShr, ibin(e, LLVMAdd, mag, 0x7fffff), 23);
    LLVMTypeRef type = LLVMTypeOf(code);
    code = LLVMBuildSelect(e->b, icmp(e, LLVMIntULE, mag, 0x400000), LLVMConstNull(type), code, "");
    code = LLVMBuildSelect(e->b, icmp(e, LLVMIntUGT, code, 254), const_int(type, 254), code, "");
    Ref nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
    code = LLVMBuildSelect(e->b, nan, const_int(type, 255), code, "");
    return LLVMBuildTrunc(e->b, code, vec(e->i8, width), "");
}

static Ref bf16_encode(Emit *e, Ref value, int width)
{
    Ref x = bits_of(e, value, width);
    Ref odd = ibin(e, LLVMAnd, ibin(e, LLVMLShr, x, 16), 1);
    Ref sum = LLVMBuildAdd(e->b, ibin(e, LLVMAdd, x, 0x7fff), odd, "");
    Ref nan = LLVMBuildFCmp(e->b, LLVMRealUNO, value, value, "");
    Ref code = LLVMBuildSelect(e->b, nan, ibin(e, LLVMOr, x, 0x400000), sum, "");
    return LLVMBuildTrunc(e->b, ibin(e, LLVMLShr, code, 16), vec(e->i16, width), "");
}

/* Sub-byte codes arrive in the low bits of a byte, with anything above them. */
Ref from_memory(Emit *e, Dtype dtype, Ref raw, int width)
{
    Small s;
    LLVMTypeRef type = vec(compute_type(e, dtype), width);
    int bits = dtype_bits(dtype);
    if (small_of(dtype, &s))
        return small_decode(e, &s, s.bits < 8 ? ibin(e, LLVMAnd, raw, 15) : raw, width);
    if (dtype == DT_e8m0)
        return scale_decode(e, raw, width);
    if (dtype == DT_f16)
        return LLVMBuildFPExt(e->b, raw, type, "");
    if (dtype == DT_bf16)
        return float_of(e, ibin(e, LLVMShl, LLVMBuildZExt(e->b, raw, vec(e->i32, width), ""), 16),
                        width);
    if (dtype == DT_bool)
        return icmp(e, LLVMIntNE, raw, 0);
    if (bits >= 32)
        return raw;
    if (bits < 8)
        raw = ibin(e, LLVMShl, raw, 8 - bits);
    if (bits < 8)
        raw = ibin(e, dtype_class(dtype) == DC_INT ? LLVMAShr : LLVMLShr, raw, 8 - bits);
    return dtype_class(dtype) == DC_INT ? LLVMBuildSExt(e->b, raw, type, "")
                                        : LLVMBuildZExt(e->b, raw, type, "");
}

Ref to_memory(Emit *e, Dtype dtype, Ref value, int width)
{
    Small s;
    LLVMTypeRef type = vec(memory_type(e, dtype), width);
    if (small_of(dtype, &s))
        return small_encode(e, &s, value, width);
    if (dtype == DT_f16)
        return LLVMBuildFPTrunc(e->b, value, type, "");
    if (dtype == DT_bf16)
        return bf16_encode(e, value, width);
    if (dtype == DT_bool)
        return LLVMBuildZExt(e->b, value, type, "");
    if (dtype == DT_e8m0)
        return scale_encode(e, value, width);
    if (dtype_bits(dtype) >= 32)
        return value;
    value = LLVMBuildTrunc(e->b, value, type, "");
    return dtype_bits(dtype) < 8 ? ibin(e, LLVMAnd, value, (1 << dtype_bits(dtype)) - 1) : value;
}

static Ref to_integer(Emit *e, Dtype to, Ref value, int width)
{
    LLVMTypeRef over[2] = {vec(compute_type(e, to), width), LLVMTypeOf(value)};
    bool is_signed = dtype_class(to) == DC_INT;
    return call_intrinsic(e, is_signed ? "llvm.fptosi.sat" : "llvm.fptoui.sat", over, 2, &value, 1);
}

/* Between compute types. */
static Ref convert(Emit *e, Dtype to, Dtype from, Ref value, int width)
{
    LLVMTypeRef type = vec(compute_type(e, to), width);
    if (to == from)
        return value;
    if (to == DT_bool)
        return dtype_is_float(from)
                   ? LLVMBuildFCmp(e->b, LLVMRealUNE, value, LLVMConstNull(LLVMTypeOf(value)), "")
                   : icmp(e, LLVMIntNE, value, 0);
    bool is_signed = dtype_class(from) == DC_INT;
    if (dtype_is_float(to)) {
        if (dtype_is_float(from))
            return to == DT_f64 ? LLVMBuildFPExt(e->b, value, type, "")
                                : LLVMBuildFPTrunc(e->b, value, type, "");
        return is_signed ? LLVMBuildSIToFP(e->b, value, type, "")
                         : LLVMBuildUIToFP(e->b, value, type, "");
    }
    if (dtype_is_float(from))
        return to_integer(e, to, value, width);
    if (dtype_bits(to) < dtype_bits(from) && from != DT_bool)
        return LLVMBuildTrunc(e->b, value, type, "");
    if (dtype_bits(to) == dtype_bits(from))
        return value;
    return is_signed ? LLVMBuildSExt(e->b, value, type, "") : LLVMBuildZExt(e->b, value, type, "");
}

Ref emit_cast(Emit *e, Dtype to, Dtype from, Ref value, int width)
{
    Dtype compute = dtype_compute(to);
    value = convert(e, compute, dtype_compute(from), value, width);
    if (compute == to || to == from)
        return value;
    return from_memory(e, to, to_memory(e, to, value, width), width);
}
