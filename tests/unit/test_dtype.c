/* Element types: every code of the small floats against formulas written apart from the
 * implementation, rounding at and beside every tie, packing, conversion. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "base/dtype.h"

static double load1(Dtype dtype, uint32_t bits)
{
    unsigned char bytes[4] = {(unsigned char)bits, (unsigned char)(bits >> 8),
                              (unsigned char)(bits >> 16), (unsigned char)(bits >> 24)};
    return dtype_load(dtype, bytes, 0).f;
}

static uint32_t store1(Dtype dtype, double value)
{
    unsigned char bytes[4] = {0};
    dtype_store(dtype, bytes, 0, (Scalar){.f = value});
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

/* (-1)^s * 2^(e - bias) * (1 + m / 2^mantissa), with e = 0 subnormal. */
static double formula(uint32_t code, int exponent_bits, int mantissa_bits, int bias)
{
    uint32_t e = (code >> mantissa_bits) % (1u << exponent_bits);
    double part = (double)(code % (1u << mantissa_bits)) / (1 << mantissa_bits);
    double s = code >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
    return e ? s * exp2((int)e - bias) * (1 + part) : s * exp2(1 - bias) * part;
}

static double expected(Dtype dtype, uint32_t c)
{
    switch ((int)dtype) {
    case DT_f8e4m3: return (c & 0x7F) == 0x7F ? (double)NAN : formula(c, 4, 3, 7);
    case DT_f8e4m3fnuz: return c == 0x80 ? (double)NAN : formula(c, 4, 3, 8);
    case DT_f8e5m2fnuz: return c == 0x80 ? (double)NAN : formula(c, 5, 2, 16);
    case DT_f8e5m2:
        if ((c & 0x7F) == 0x7C)
            return c & 0x80 ? -HUGE_VAL : HUGE_VAL;
        return (c & 0x7F) > 0x7C ? (double)NAN : formula(c, 5, 2, 15);
    case DT_f4e2m1: return formula(c, 2, 1, 1);
    case DT_e8m0: return c == 255 ? (double)NAN : exp2((int)c - 127);
    case DT_f16:
        if ((c & 0x7C00) == 0x7C00)
            return c & 0x3FF ? (double)NAN : c & 0x8000 ? -HUGE_VAL : HUGE_VAL;
        return formula(c, 5, 10, 15);
    case DT_bf16:
        if ((c & 0x7F80) == 0x7F80)
            return c & 0x7F ? (double)NAN : c & 0x8000 ? -HUGE_VAL : HUGE_VAL;
        return formula(c, 8, 7, 127);
    default: cr_assert(false); return 0;
    }
}

static const Dtype small[] = {DT_f16,    DT_bf16,       DT_f8e4m3, DT_f8e4m3fnuz,
                              DT_f8e5m2, DT_f8e5m2fnuz, DT_f4e2m1, DT_e8m0};
enum { SMALL = sizeof small / sizeof *small };

Test(dtype, every_code)
{
    for (int d = 0; d < SMALL; d++) {
        bool saturates = dtype_bits(small[d]) <= 8;
        for (uint32_t c = 0; c < 1u << dtype_bits(small[d]); c++) {
            double want = expected(small[d], c), got = load1(small[d], c);
            cr_assert(same(got, want), "%s %x: %g, not %g", dtype_name(small[d]), c, got, want);
            if (isinf(want) && saturates)
                continue; /* saturated: below */
            uint32_t back = store1(small[d], want);
            cr_assert(isnan(want) ? isnan(load1(small[d], back)) : back == c, "%s %x -> %x",
                      dtype_name(small[d]), c, back);
        }
    }
}

/* Between each two neighbours: below the middle, the middle (to the even code), above it. */
static void check_gap(Dtype dtype, uint32_t code, uint32_t sign)
{
    double a = load1(dtype, code), b = load1(dtype, code + 1), middle = (a + b) / 2;
    double s = sign ? -1 : 1;
    uint32_t even = code & 1 ? code + 1 : code;
    if (even == 0 && sign && (dtype == DT_f8e4m3fnuz || dtype == DT_f8e5m2fnuz))
        sign = 0; /* no negative zero */
    cr_assert_eq(store1(dtype, s * middle), even | sign, "%s: tie above %x", dtype_name(dtype),
                 code);
    if (sign || code)
        cr_assert_eq(store1(dtype, s * nextafter(middle, 0)), code | sign);
    cr_assert_eq(store1(dtype, s * nextafter(middle, HUGE_VAL)),
                 (code + 1) | (s < 0 ? 1u << (dtype_bits(dtype) - 1) : 0));
}

Test(dtype, rounds_to_nearest_even)
{
    for (int d = 0; d < SMALL; d++) {
        if (small[d] == DT_e8m0)
            continue;
        uint32_t sign = 1u << (dtype_bits(small[d]) - 1);
        for (uint32_t c = 0; c + 1 < sign && isfinite(expected(small[d], c + 1)); c++) {
            check_gap(small[d], c, 0);
            check_gap(small[d], c, sign);
        }
    }
}

Test(dtype, out_of_range)
{
    static const struct {
        Dtype dtype;
        double largest, first_out;             /* the tie above the largest goes out */
        uint32_t code, nan, minus_nan, beyond; /* beyond: of infinity when not saturating */
    } cases[] = {
        {DT_f16, 65504, 65520, 0x7BFF, 0x7E00, 0xFE00, 0x7C00},
        {DT_bf16, 0x1.FEp127, 0x1.FFp127, 0x7F7F, 0x7FC0, 0xFFC0, 0x7F80},
        {DT_f8e4m3, 448, 464, 0x7E, 0x7F, 0xFF, 0x7F},
        {DT_f8e4m3fnuz, 240, 248, 0x7F, 0x80, 0x80, 0x80},
        {DT_f8e5m2, 57344, 61440, 0x7B, 0x7E, 0xFE, 0x7C},
        {DT_f8e5m2fnuz, 57344, 61440, 0x7F, 0x80, 0x80, 0x80},
        {DT_f4e2m1, 6, 7, 7, 8, 8, 7},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        Dtype t = cases[c].dtype;
        uint32_t sign = 1u << (dtype_bits(t) - 1);
        bool wide = dtype_bits(t) == 16;
        uint32_t out = wide ? cases[c].beyond : cases[c].code;
        cr_expect_eq(store1(t, cases[c].largest), cases[c].code, "%s", dtype_name(t));
        cr_expect_eq(store1(t, nextafter(cases[c].first_out, 0)), cases[c].code);
        cr_expect_eq(store1(t, cases[c].first_out), out, "%s", dtype_name(t));
        cr_expect_eq(store1(t, HUGE_VAL), out, "%s", dtype_name(t));
        cr_expect_eq(store1(t, -HUGE_VAL), out | sign, "%s", dtype_name(t));
        cr_expect_eq(store1(t, (double)NAN), cases[c].nan, "%s", dtype_name(t));
        cr_expect_eq(store1(t, copysign((double)NAN, -1)), cases[c].minus_nan);
        bool has_sign = t != DT_f8e4m3fnuz && t != DT_f8e5m2fnuz;
        cr_expect_eq(store1(t, -0.0), has_sign ? sign : 0, "%s", dtype_name(t));
        cr_expect_eq(dtype_encode(t, 1e30 * cases[c].first_out, false, DR_up), cases[c].beyond);
        cr_expect_eq(dtype_encode(t, -HUGE_VAL, false, DR_up),
                     cases[c].beyond | (has_sign ? sign : 0), "%s", dtype_name(t));
    }
}

Test(dtype, e8m0_rounds_as_asked)
{
    static const struct {
        double value;
        uint32_t up, down, nearest, strict; /* strict: nearest, not saturating */
    } cases[] = {
        {1, 127, 127, 127, 127},
        {1.4, 128, 127, 127, 127},
        {1.5, 128, 127, 128, 128},
        {0.124, 124, 123, 124, 124},
        {0, 0, 0, 0, 255},
        {0x1p-127, 0, 0, 0, 0},
        {0x1p-140, 0, 0, 0, 255},
        {0x1.8p127, 254, 254, 254, 255},
        {HUGE_VAL, 254, 254, 254, 255},
        {(double)NAN, 255, 255, 255, 255},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double v = cases[c].value;
        cr_expect_eq(dtype_encode(DT_e8m0, v, true, DR_up), cases[c].up, "%g", v);
        cr_expect_eq(dtype_encode(DT_e8m0, v, true, DR_down), cases[c].down, "%g", v);
        cr_expect_eq(dtype_encode(DT_e8m0, v, true, DR_nearest), cases[c].nearest, "%g", v);
        cr_expect_eq(dtype_encode(DT_e8m0, v, false, DR_nearest), cases[c].strict, "%g", v);
        cr_expect_eq(store1(DT_e8m0, v), cases[c].up, "%g", v);
    }
}

Test(dtype, packs_low_bits_first)
{
    unsigned char bytes[3] = {0xAA, 0xAA, 0xAA};
    for (int i = 0; i < 3; i++)
        dtype_store(DT_u4, bytes, i, (Scalar){.i = i + 1});
    cr_expect(bytes[0] == 0x21 && bytes[1] == 0xA3 && bytes[2] == 0xAA, "neighbours stay");
    for (int i = 0; i < 5; i++)
        dtype_store(DT_i2, bytes, i, (Scalar){.i = i - 2});
    cr_expect(bytes[0] == 0x4E && (bytes[1] & 3) == 2 && (bytes[1] & 0xFC) == 0xA0);
    for (int i = 0; i < 4; i++)
        cr_expect_eq(dtype_load(DT_i2, bytes, i).i, i - 2);
    cr_expect_eq(dtype_load(DT_u2, bytes, 0).i, 2);
    bytes[0] = 0x8F;
    cr_expect(dtype_load(DT_i4, bytes, 0).i == -1 && dtype_load(DT_i4, bytes, 1).i == -8);
    cr_expect(dtype_load(DT_f4e2m1, bytes, 0).f == -6);
    dtype_store(DT_f4e2m1, bytes, 1, (Scalar){.f = 1.5});
    cr_expect_eq(bytes[0], 0x3F);
}

Test(dtype, bytes)
{
    cr_expect_eq(dtype_bytes(DT_i4, 5), 3);
    cr_expect_eq(dtype_bytes(DT_u2, 5), 2);
    cr_expect_eq(dtype_bytes(DT_u2, 0), 0);
    cr_expect_eq(dtype_bytes(DT_u2, INT64_MAX), INT64_C(1) << 61);
    cr_expect_eq(dtype_bytes(DT_f64, 3), 24);
    cr_expect_eq(dtype_bytes(DT_c128, 3), 48);
    cr_expect_eq(dtype_bytes(DT_f32, INT64_MAX / 2), -1);
    cr_expect_eq(dtype_bytes(DT_f32, -1), -1);
    cr_expect_eq(dtype_bytes(DT_string, 3), -1);
    cr_expect_eq(dtype_bytes(DT_none, 3), -1);
    cr_expect_eq(dtype_bytes((Dtype)99, 3), -1);
}

Test(dtype, names)
{
    for (int d = 0; d < DT_count; d++)
        cr_expect_eq((int)dtype_find(dtype_name((Dtype)d), strlen(dtype_name((Dtype)d))), d);
    cr_expect_eq(dtype_find("f3", 2), DT_none);
    cr_expect_eq(dtype_find("f32x", 3), DT_f32);
    cr_expect(dtype_compute(DT_u4) == DT_u32 && dtype_compute(DT_bf16) == DT_f32);
}

static int64_t to_int(Dtype to, Dtype from, double value)
{
    return dtype_convert(to, from, (Scalar){.f = value}).i;
}

static int64_t int_to_int(Dtype to, Dtype from, int64_t value)
{
    return dtype_convert(to, from, (Scalar){.i = value}).i;
}

Test(dtype, converts)
{
    cr_expect_eq(to_int(DT_i32, DT_f32, -1.9), -1);
    cr_expect_eq(to_int(DT_i32, DT_f64, 3e9), INT32_MAX);
    cr_expect_eq(to_int(DT_i32, DT_f64, -3e9), INT32_MIN);
    cr_expect_eq(to_int(DT_i64, DT_f64, 0x1p63), INT64_MAX);
    cr_expect_eq(to_int(DT_i64, DT_f64, -0x1p63), INT64_MIN);
    cr_expect_eq(to_int(DT_i64, DT_f64, -HUGE_VAL), INT64_MIN);
    cr_expect_eq((uint64_t)to_int(DT_u64, DT_f64, 1e30), UINT64_MAX);
    cr_expect_eq((uint64_t)to_int(DT_u64, DT_f64, 0x1.8p63), UINT64_C(3) << 62);
    cr_expect_eq(to_int(DT_u32, DT_f32, -5), 0);
    cr_expect_eq(to_int(DT_i8, DT_f32, (double)NAN), 0);
    cr_expect_eq(to_int(DT_i8, DT_f32, 200), -56, "wraps from the compute type");
    cr_expect_eq(to_int(DT_bool, DT_f32, 0.25), 1);
    cr_expect_eq(to_int(DT_bool, DT_f32, (double)NAN), 1);
    cr_expect_eq(to_int(DT_bool, DT_f32, -0.0), 0);
    cr_expect_eq(int_to_int(DT_i8, DT_i32, 200), -56);
    cr_expect_eq(int_to_int(DT_u8, DT_i32, -1), 255);
    cr_expect_eq(int_to_int(DT_u32, DT_i64, -1), UINT32_MAX);
    cr_expect_eq(int_to_int(DT_i64, DT_u32, UINT32_MAX), UINT32_MAX);
    cr_expect_eq(int_to_int(DT_i4, DT_i32, 9), -7);
    cr_expect_eq(int_to_int(DT_bool, DT_i64, INT64_C(1) << 40), 1);
    cr_expect_eq(dtype_convert(DT_f64, DT_u64, (Scalar){.i = -1}).f, 0x1p64);
    cr_expect_eq(dtype_convert(DT_f64, DT_i64, (Scalar){.i = -1}).f, -1.0);
    cr_expect_eq(dtype_convert(DT_f32, DT_i64, (Scalar){.i = (1 << 24) + 1}).f, 0x1p24);
    cr_expect_eq(dtype_convert(DT_f32, DT_f64, (Scalar){.f = 0.1}).f, (double)0.1f);
    cr_expect_eq(dtype_convert(DT_f16, DT_f32, (Scalar){.f = 0.1f}).f, 0x1.998p-4);
    cr_expect(isinf(dtype_convert(DT_f16, DT_f32, (Scalar){.f = 1e6}).f));
    cr_expect_eq(dtype_convert(DT_f8e4m3, DT_f32, (Scalar){.f = 1e6}).f, 448.0);
}

Test(dtype, memory_may_be_unaligned)
{
    static const Dtype wide[] = {DT_i16, DT_u16, DT_i32, DT_u32, DT_i64, DT_u64, DT_i8, DT_u8};
    unsigned char bytes[64];
    for (size_t w = 0; w < sizeof wide / sizeof *wide; w++) {
        memset(bytes, 0x55, sizeof bytes);
        dtype_store(wide[w], bytes + 1, 2, (Scalar){.i = -2});
        int64_t got = dtype_load(wide[w], bytes + 1, 2).i;
        int bits = dtype_bits(wide[w]);
        int64_t want = dtype_class(wide[w]) == DC_INT || bits == 64 ? -2 : (INT64_C(1) << bits) - 2;
        cr_expect_eq(got, want, "%s", dtype_name(wide[w]));
        cr_expect(bytes[2 * bits / 8] == 0x55 && bytes[3 * bits / 8 + 1] == 0x55);
    }
    dtype_store(DT_f32, bytes + 3, 1, (Scalar){.f = 1.5});
    dtype_store(DT_f64, bytes + 1, 2, (Scalar){.f = 0.1});
    cr_expect_eq(dtype_load(DT_f32, bytes + 3, 1).f, 1.5);
    cr_expect_eq(dtype_load(DT_f64, bytes + 1, 2).f, 0.1);
    bytes[0] = 7;
    cr_expect_eq(dtype_load(DT_bool, bytes, 0).i, 1, "any byte but 0 is true");
}
