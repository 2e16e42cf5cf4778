/* Scalar operations and monoids: the tables of scalar.def and their reference evaluation.
 *
 * Rules where C leaves room, which every backend follows:
 *   integers wrap (this file is compiled with -fwrapv, so the rows are plain C); x / 0, x mod 0 and
 * x fmod 0 are 0; MIN / -1 is MIN; a shift by the width or more gives 0; pow with a negative
 * exponent is 1/a^b truncated; min and max give NaN when either operand is; the sign of a zero they
 * return is not specified; mod has the divisor's sign, fmod the dividend's; round is half to even;
 * sign(0) is +0, sign(NaN) is NaN. Transcendental functions of f32 are computed in double and
 * rounded once. The two .inc files are the code of the overloads, instantiated for each compute
 * type. */
#include "ir/value.h"

#include <math.h>
#include <string.h>

/* On which types an operation is defined (scalar.def). */
typedef enum Domain { SD_NUM, SD_FLT, SD_INT, SD_BIT, SD_BOOL, SD_ANY, SD_CMP } Domain;

static const struct Row {
    const char *name;
    int arity;
    Domain domain;
    unsigned flags;
} rows[] = {
#define SCALAR(name, arity, domain, flags, reference) {#name, arity, SD_##domain, flags},
#include "ir/scalar.def"
#undef SCALAR
};

static const struct MonoidRow {
    const char *name;
    ScalarOp combine;
} monoids[] = {
    [M_sum] = {"sum", S_add},      [M_prod] = {"prod", S_mul},    [M_min] = {"min", S_min},
    [M_max] = {"max", S_max},      [M_and] = {"and", S_and},      [M_or] = {"or", S_or},
    [M_argmin] = {"argmin", S_lt}, [M_argmax] = {"argmax", S_lt},
};

const char *scalar_name(ScalarOp op)
{
    return rows[op].name;
}

int scalar_find(const char *name, size_t length)
{
    for (int i = 0; i < S_count; i++)
        if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0)
            return i;
    return -1;
}

int scalar_arity(ScalarOp op)
{
    return rows[op].arity;
}

unsigned scalar_flags(ScalarOp op)
{
    return rows[op].flags;
}

bool scalar_accepts(ScalarOp op, Dtype dtype)
{
    bool flt = dtype == DT_f32 || dtype == DT_f64;
    bool integer = dtype == DT_i32 || dtype == DT_i64 || dtype == DT_u32 || dtype == DT_u64;
    bool boolean = dtype == DT_bool;
    switch (rows[op].domain) {
    case SD_NUM: return flt || integer;
    case SD_FLT: return flt;
    case SD_INT: return integer;
    case SD_BIT: return integer || boolean;
    case SD_BOOL: return boolean;
    case SD_ANY:
    case SD_CMP: return flt || integer || boolean;
    }
    return false;
}

bool scalar_gives_bool(ScalarOp op)
{
    return rows[op].domain == SD_CMP || op == S_isnan || op == S_isinf;
}

Dtype scalar_result(ScalarOp op, const Dtype types[3])
{
    int first = op == S_select ? 1 : 0;
    if (op == S_select && types[0] != DT_bool)
        return DT_none;
    for (int i = first; i < rows[op].arity; i++)
        if (types[i] != types[first])
            return DT_none;
    if (!scalar_accepts(op, types[first]))
        return DT_none;
    return scalar_gives_bool(op) ? DT_bool : types[first];
}

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define FN(name) JOIN(name, TAG)

#define s_div FN(div)
#define s_fma FN(fma)
#define s_min FN(min)
#define s_max FN(max)
#define s_abs FN(abs)
#define s_sign FN(sign)
#define s_floor FN(floor)
#define s_ceil FN(ceil)
#define s_round FN(round)
#define s_trunc FN(trunc)
#define s_pow FN(pow)
#define s_mod FN(mod)
#define s_fmod FN(fmod)
#define s_not FN(invert)
#define s_shl FN(shl)
#define s_shr FN(shr)
#define s_sqrt(x) ((T)sqrt((double)(x)))
#define s_exp(x) ((T)exp((double)(x)))
#define s_log(x) ((T)log((double)(x)))
#define s_sin(x) ((T)sin((double)(x)))
#define s_cos(x) ((T)cos((double)(x)))
#define s_tan(x) ((T)tan((double)(x)))
#define s_asin(x) ((T)asin((double)(x)))
#define s_acos(x) ((T)acos((double)(x)))
#define s_atan(x) ((T)atan((double)(x)))
#define s_sinh(x) ((T)sinh((double)(x)))
#define s_cosh(x) ((T)cosh((double)(x)))
#define s_tanh(x) ((T)tanh((double)(x)))
#define s_asinh(x) ((T)asinh((double)(x)))
#define s_acosh(x) ((T)acosh((double)(x)))
#define s_atanh(x) ((T)atanh((double)(x)))
#define s_erf(x) ((T)erf((double)(x)))
#define s_isnan(x) ((T)(isnan(x) ? 1 : 0))
#define s_isinf(x) ((T)(isinf(x) ? 1 : 0))

/* Two-operand rows leave c unused, and so on; every instance names all three. */
#define CASE(name, reference)                                                                      \
    case S_##name:                                                                                 \
        result = (T)(reference);                                                                   \
        break;
#define NO_CASE(name, reference)                                                                   \
    case S_##name:                                                                                 \
        break;

#define T float
#define TAG f32
#define FMA fmaf
#include "ir/scalar_float.inc"
#undef T
#undef TAG
#undef FMA

#define T double
#define TAG f64
#define FMA fma
#include "ir/scalar_float.inc"
#undef T
#undef TAG
#undef FMA

#define T int32_t
#define U uint32_t
#define TAG i32
#include "ir/scalar_int.inc"
#undef T
#undef U
#undef TAG

#define T int64_t
#define U uint64_t
#define TAG i64
#include "ir/scalar_int.inc"
#undef T
#undef U
#undef TAG

#define T uint32_t
#define U uint32_t
#define TAG u32
#include "ir/scalar_int.inc"
#undef T
#undef U
#undef TAG

#define T uint64_t
#define U uint64_t
#define TAG u64
#include "ir/scalar_int.inc"
#undef T
#undef U
#undef TAG

/* Bool: comparisons, bit operations, select. */
#define T bool
#define TAG bool
static bool FN(invert)(bool a)
{
    return !a;
}

static Scalar eval_bool(ScalarOp op, const Scalar args[3])
{
    bool a = args[0].i != 0, b = args[1].i != 0, c = args[2].i != 0, result = false;
    switch (op) {
#define SCALAR(name, arity, domain, flags, reference) CASE_##domain(name, reference)
#define CASE_NUM NO_CASE
#define CASE_FLT NO_CASE
#define CASE_INT NO_CASE
#define CASE_BIT CASE
#define CASE_BOOL CASE
#define CASE_ANY CASE
#define CASE_CMP CASE
#include "ir/scalar.def"
#undef CASE_NUM
#undef CASE_FLT
#undef CASE_INT
#undef CASE_BIT
#undef CASE_BOOL
#undef CASE_ANY
#undef CASE_CMP
#undef SCALAR
    case S_count: break;
    }
    return (Scalar){.i = result};
}

Scalar scalar_eval(ScalarOp op, Dtype dtype, const Scalar args[3])
{
    switch ((int)dtype) {
    case DT_f32: return eval_f32(op, args);
    case DT_f64: return eval_f64(op, args);
    case DT_i32: return eval_i32(op, args);
    case DT_i64: return eval_i64(op, args);
    case DT_u32: return eval_u32(op, args);
    case DT_u64: return eval_u64(op, args);
    case DT_bool: return eval_bool(op, args);
    default: return (Scalar){0};
    }
}

const char *monoid_name(Monoid monoid)
{
    return monoids[monoid].name;
}

int monoid_find(const char *name, size_t length)
{
    for (int i = 0; i < M_count; i++)
        if (strlen(monoids[i].name) == length && memcmp(monoids[i].name, name, length) == 0)
            return i;
    return -1;
}

ScalarOp monoid_combine(Monoid monoid)
{
    return monoids[monoid].combine;
}

bool monoid_accepts(Monoid monoid, Dtype dtype)
{
    return scalar_accepts(monoids[monoid].combine, dtype);
}

static Scalar smallest(Dtype dtype)
{
    switch ((int)dtype) {
    case DT_f32:
    case DT_f64: return (Scalar){.f = -INFINITY};
    case DT_i8: return (Scalar){.i = INT8_MIN};
    case DT_i16: return (Scalar){.i = INT16_MIN};
    case DT_i32: return (Scalar){.i = INT32_MIN};
    case DT_i64: return (Scalar){.i = INT64_MIN};
    default: return (Scalar){.i = 0};
    }
}

static Scalar largest(Dtype dtype)
{
    switch ((int)dtype) {
    case DT_f32:
    case DT_f64: return (Scalar){.f = INFINITY};
    case DT_i8: return (Scalar){.i = INT8_MAX};
    case DT_i16: return (Scalar){.i = INT16_MAX};
    case DT_u8: return (Scalar){.i = UINT8_MAX};
    case DT_u16: return (Scalar){.i = UINT16_MAX};
    case DT_i32: return (Scalar){.i = INT32_MAX};
    case DT_i64: return (Scalar){.i = INT64_MAX};
    case DT_u32: return (Scalar){.i = UINT32_MAX};
    case DT_u64: return (Scalar){.i = -1};
    default: return (Scalar){.i = 1};
    }
}

Scalar monoid_identity(Monoid monoid, Dtype dtype)
{
    bool flt = dtype_is_float(dtype);
    switch (monoid) {
    case M_prod: return flt ? (Scalar){.f = 1} : (Scalar){.i = 1};
    case M_min: return largest(dtype);
    case M_max: return smallest(dtype);
    case M_and:
        if (dtype == DT_bool)
            return (Scalar){.i = 1};
        return (Scalar){.i = dtype == DT_u32 ? (int64_t)UINT32_MAX : -1};
    case M_sum: return flt ? (Scalar){.f = 0} : (Scalar){.i = 0};
    case M_or:
    case M_argmin:
    case M_argmax:
    case M_count: break;
    }
    return (Scalar){.i = 0};
}
