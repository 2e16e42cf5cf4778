/* Element types: facts from the table, and the exact reading, writing and conversion of single
 * elements.
 *
 * Small floats share one decoder and one encoder over a row of facts (exponent bits, mantissa bits,
 * bias, largest finite code, what lies above it). The encoder works on the magnitude's code, in
 * which a carry out of the mantissa is the next exponent by itself. */
#include "base/dtype.h"

#include <math.h>
#include <string.h>

#include "base/cx.h"

typedef struct Row {
    const char *name;
    int bits;
    DtypeClass class;
    Dtype compute;
} Row;

static const Row rows[DT_count] = {
#define DTYPE(name, onnx, bits, class, compute) [onnx] = {#name, bits, DC_##class, DT_##compute},
#include "base/dtype.def"
#undef DTYPE
};

static const Row *row(Dtype dtype)
{
    return (unsigned)dtype < DT_count ? &rows[dtype] : &rows[DT_none];
}

const char *dtype_name(Dtype dtype)
{
    return row(dtype)->name;
}

Dtype dtype_find(const char *name, size_t length)
{
    for (int d = 0; d < DT_count; d++)
        if (strlen(rows[d].name) == length && memcmp(rows[d].name, name, length) == 0)
            return (Dtype)d;
    return DT_none;
}

int dtype_bits(Dtype dtype)
{
    return row(dtype)->bits;
}

DtypeClass dtype_class(Dtype dtype)
{
    return row(dtype)->class;
}

Dtype dtype_compute(Dtype dtype)
{
    return row(dtype)->compute;
}

int64_t dtype_bytes(Dtype dtype, int64_t count)
{
    int64_t bits;
    if (count < 0 || dtype_bits(dtype) == 0)
        return -1;
    if (dtype_bits(dtype) >= 8)
        return __builtin_mul_overflow(count, (int64_t)dtype_bits(dtype) / 8, &bits) ? -1 : bits;
    int64_t per_byte = 8 / dtype_bits(dtype);
    return count / per_byte + (count % per_byte != 0);
}

/* --- small floats --- */

typedef enum Above { INFINITY_NAN, NAN_ONLY, NAN_IS_MINUS_ZERO, NOTHING } Above;

typedef struct Format {
    int exponent, mantissa, bias;
    Above above;
    uint32_t largest; /* code of the largest finite magnitude */
    uint32_t nan;
    bool saturates;
} Format;

static const Format formats[DT_count] = {
    [DT_f16] = {5, 10, 15, INFINITY_NAN, 0x7BFF, 0x7E00, false},
    [DT_bf16] = {8, 7, 127, INFINITY_NAN, 0x7F7F, 0x7FC0, false},
    [DT_f8e4m3] = {4, 3, 7, NAN_ONLY, 0x7E, 0x7F, true},
    [DT_f8e4m3fnuz] = {4, 3, 8, NAN_IS_MINUS_ZERO, 0x7F, 0x80, true},
    [DT_f8e5m2] = {5, 2, 15, INFINITY_NAN, 0x7B, 0x7E, true},
    [DT_f8e5m2fnuz] = {5, 2, 16, NAN_IS_MINUS_ZERO, 0x7F, 0x80, true},
    [DT_f4e2m1] = {2, 1, 1, NOTHING, 0x7, 0x8, true},
};

static double decode_small(const Format *f, uint32_t bits)
{
    uint32_t sign = 1u << (f->exponent + f->mantissa), code = bits & (sign - 1);
    if (f->above == NAN_IS_MINUS_ZERO && bits == sign)
        return NAN;
    double magnitude;
    if (code > f->largest) {
        bool infinite = f->above == INFINITY_NAN && code == f->largest + 1;
        magnitude = infinite ? HUGE_VAL : (double)NAN;
    } else {
        int exponent = (int)(code >> f->mantissa);
        uint32_t mantissa = code & ((1u << f->mantissa) - 1);
        if (exponent)
            mantissa |= 1u << f->mantissa;
        else
            exponent = 1;
        magnitude = ldexp(mantissa, exponent - f->bias - f->mantissa);
    }
    return bits & sign ? -magnitude : magnitude;
}

static uint32_t encode_overflow(const Format *f, bool saturate)
{
    if (f->above == NOTHING || (f->saturates && saturate))
        return f->largest;
    return f->above == INFINITY_NAN ? f->largest + 1 : f->nan;
}

static uint32_t encode_small(const Format *f, double value, bool saturate)
{
    uint32_t sign = signbit(value) ? 1u << (f->exponent + f->mantissa) : 0;
    if (isnan(value))
        return f->nan | sign;
    double magnitude = fabs(value);
    uint32_t code;
    if (isinf(value)) {
        code = encode_overflow(f, saturate);
    } else {
        int exponent;
        frexp(magnitude, &exponent); /* magnitude < 2^exponent */
        exponent = magnitude == 0 || exponent - 1 < 1 - f->bias ? 1 - f->bias : exponent - 1;
        int64_t wide = (int64_t)rint(ldexp(magnitude, f->mantissa - exponent));
        wide += (int64_t)(exponent + f->bias - 1) << f->mantissa;
        code = wide > f->largest ? encode_overflow(f, saturate) : (uint32_t)wide;
    }
    if (f->above == NAN_IS_MINUS_ZERO && (code == 0 || code == f->nan))
        return code;
    return code | sign;
}

/* 2^(code - 127); code 255 is NaN. */
static uint32_t encode_e8m0(double value, bool saturate, DtypeRound round)
{
    const uint32_t nan = 0xFF, largest = 0xFE;
    if (isnan(value))
        return nan;
    if (isinf(value))
        return saturate ? largest : nan;
    if (value == 0)
        return saturate ? 0 : nan;
    int exponent;
    double fraction = frexp(fabs(value), &exponent); /* in [0.5, 1) */
    int code = exponent - 1 + 127;
    bool up = round == DR_up ? fraction > 0.5 : round == DR_nearest && fraction >= 0.75;
    code += up;
    if (code >= 0 && code <= (int)largest)
        return (uint32_t)code;
    return !saturate ? nan : code < 0 ? 0 : largest;
}

uint64_t dtype_encode(Dtype dtype, double value, bool saturate, DtypeRound round)
{
    CHECK(dtype_is_float(dtype));
    if (dtype == DT_e8m0)
        return encode_e8m0(value, saturate, round);
    uint64_t bits = 0;
    if (dtype == DT_f64) {
        memcpy(&bits, &value, sizeof value);
    } else if (dtype == DT_f32) {
        float single = (float)value;
        uint32_t word;
        memcpy(&word, &single, sizeof word);
        bits = word;
    } else {
        bits = encode_small(&formats[dtype], value, saturate);
    }
    return bits;
}

double dtype_decode(Dtype dtype, uint64_t bits)
{
    CHECK(dtype_is_float(dtype));
    if (dtype == DT_e8m0)
        return (bits & 0xFF) == 0xFF ? (double)NAN : ldexp(1, (int)(bits & 0xFF) - 127);
    if (dtype == DT_f64) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (dtype == DT_f32) {
        uint32_t word = (uint32_t)bits;
        float value;
        memcpy(&value, &word, sizeof value);
        return value;
    }
    return decode_small(&formats[dtype], (uint32_t)bits);
}

/* --- elements in memory: little-endian words; below a byte, low bits first --- */

static uint64_t load_bits(Dtype dtype, const void *base, int64_t index)
{
    const unsigned char *bytes = base;
    int width = dtype_bits(dtype);
    if (width < 8) {
        int64_t per_byte = 8 / width;
        return (uint64_t)bytes[index / per_byte] >> (index % per_byte * width) &
               ((1u << width) - 1);
    }
    uint64_t bits = 0;
    for (int b = 0; b < width / 8; b++)
        bits |= (uint64_t)bytes[index * (width / 8) + b] << (8 * b);
    return bits;
}

static void store_bits(Dtype dtype, void *base, int64_t index, uint64_t bits)
{
    unsigned char *bytes = base;
    int width = dtype_bits(dtype);
    if (width < 8) {
        int64_t per_byte = 8 / width;
        unsigned shift = (unsigned)(index % per_byte * width), mask = ((1u << width) - 1) << shift;
        unsigned char *byte = &bytes[index / per_byte];
        *byte = (unsigned char)((*byte & ~mask) | ((unsigned)bits << shift & mask));
        return;
    }
    for (int b = 0; b < width / 8; b++)
        bytes[index * (width / 8) + b] = (unsigned char)(bits >> (8 * b));
}

/* The integer that `bits`, cut to the dtype's width, stands for. */
static int64_t narrow(Dtype dtype, int64_t value)
{
    int unused = 64 - dtype_bits(dtype);
    uint64_t top = (uint64_t)value << unused;
    if (dtype_class(dtype) == DC_INT)
        return (int64_t)top >> unused;
    return (int64_t)(top >> unused);
}

static void check_scalar(Dtype dtype)
{
    if (dtype_compute(dtype) == DT_none)
        BUG("elements of %s are not scalars", dtype_name(dtype));
}

Scalar dtype_load(Dtype dtype, const void *base, int64_t index)
{
    check_scalar(dtype);
    uint64_t bits = load_bits(dtype, base, index);
    if (dtype_is_float(dtype))
        return (Scalar){.f = dtype_decode(dtype, bits)};
    if (dtype == DT_bool)
        return (Scalar){.i = bits != 0};
    return (Scalar){.i = narrow(dtype, (int64_t)bits)};
}

void dtype_store(Dtype dtype, void *base, int64_t index, Scalar value)
{
    check_scalar(dtype);
    uint64_t bits = (uint64_t)value.i;
    if (dtype_is_float(dtype))
        bits = dtype_encode(dtype, value.f, true, DR_up);
    else if (dtype == DT_bool)
        bits = value.i != 0;
    store_bits(dtype, base, index, bits);
}

/* Truncates and saturates to the compute type's range. */
static int64_t float_to_int(Dtype compute, double value)
{
    bool is_signed = dtype_class(compute) == DC_INT;
    int bits = dtype_bits(compute) - is_signed;
    double limit = ldexp(1, bits); /* the first value above the range */
    if (isnan(value))
        return 0;
    if (is_signed) {
        int64_t largest = (int64_t)((UINT64_C(1) << bits) - 1);
        return value >= limit ? largest : value < -limit ? -largest - 1 : (int64_t)value;
    }
    uint64_t largest = UINT64_MAX >> (64 - bits);
    return (int64_t)(value >= limit ? largest : value <= 0 ? 0 : (uint64_t)value);
}

static double int_to_float(Dtype compute, Dtype from, int64_t value)
{
    if (from == DT_u64)
        return compute == DT_f32 ? (double)(float)(uint64_t)value : (double)(uint64_t)value;
    return compute == DT_f32 ? (double)(float)value : (double)value;
}

Scalar dtype_convert(Dtype to, Dtype from, Scalar value)
{
    check_scalar(to);
    check_scalar(from);
    Dtype compute = dtype_compute(to);
    bool from_float = dtype_is_float(from);
    if (to == DT_bool)
        return (Scalar){.i = from_float ? value.f != 0 : value.i != 0};
    if (!dtype_is_float(to))
        return (Scalar){.i = narrow(to, from_float ? float_to_int(compute, value.f) : value.i)};
    double f = from_float ? value.f : int_to_float(compute, from, value.i);
    if (compute == DT_f32)
        f = (double)(float)f;
    return (Scalar){.f = dtype_decode(to, dtype_encode(to, f, true, DR_up))};
}
