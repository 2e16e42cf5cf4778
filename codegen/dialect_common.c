/* Helpers in plain C that every dialect shares, unless it has its own: the edge rules of
 * ir/scalar.c, conversions of base/dtype.h. A dialect provides q_bits (f32 to its bits), q_float
 * (back), q_nan, q_inf, and the maths functions. */
#include "codegen/dialect.h"

#define FN1(name, body) "Q_FN $T q_" name "_$t($T a) { " body " }\n"
#define FN2(name, body) "Q_FN $T q_" name "_$t($T a, $T b) { " body " }\n"
#define SIGNED "(($T)-1 < ($T)1)"

/* Small floats: `top` is the largest code, which infinities and what rounds above it get. */
static const char small_from[] =
    "Q_FN u32 q_small_from(f32 v, i32 mbits, i32 bias, u32 top)\n"
    "{\n"
    "    u32 mag = q_bits(v) & 0x7fffffffu;\n"
    "    i32 e = (i32)(mag >> 23) - 127 + bias;\n"
    "    i32 shift = 23 - mbits + (e < 1 ? 1 - e : 0);\n"
    "    u32 m = (mag & 0x7fffffu) | 0x800000u;\n"
    "    if (mag >= 0x7f800000u) return top;\n"
    "    if (shift > 25) return 0u;\n"
    "    u32 rest = m & ((1u << shift) - 1u), half_ = 1u << (shift - 1), code = m >> shift;\n"
    "    code += (u32)(rest > half_ || (rest == half_ && (code & 1u)));\n"
    "    if (e > 1) code += (u32)(e - 1) << mbits;\n"
    "    return code < top ? code : top;\n"
    "}\n";

static const char small_to[] =
    "Q_FN f32 q_small_to(u32 code, i32 mbits, i32 bias)\n"
    "{\n"
    "    u32 e = code >> mbits, m = code & ((1u << mbits) - 1u);\n"
    "    if (e == 0u) return (f32)m * q_float((u32)(128 - bias - mbits) << 23);\n"
    "    return q_float(((e + (u32)(127 - bias)) << 23) | (m << (23 - mbits)));\n"
    "}\n";

const CSnippet dialect_common[] = {
    /* Scalars: floats. */
    {"min", "f", FN2("min", "return a < b || a != a ? a : b;")},
    {"max", "f", FN2("max", "return a > b || a != a ? a : b;")},
    {"sign", "f", FN1("sign", "return a > 0 ? 1 : a < 0 ? -1 : a != a ? a : 0;")},
    {"isnan", "f", "#define q_isnan_$t(a) ((i32)((a) != (a)))\n"},
    {"isinf", "f", "#define q_isinf_$t(a) ((i32)((a) == (a) && (a) - (a) != (a) - (a)))\n"},
    {"mod", "f",
     FN2("mod", "$T r = q_fmod_$t(a, b); if (r == 0) return q_copysign_$t(r, b); "
                "return (r < 0) != (b < 0) ? r + b : r;")},
    /* Scalars: integers. */
    {"min", "i", FN2("min", "return a < b ? a : b;")},
    {"max", "i", FN2("max", "return a > b ? a : b;")},
    {"abs", "i", FN1("abs", "return a < ($T)1 && a != 0 ? ($T)(0 - ($u)a) : a;")},
    {"sign", "i", FN1("sign", "return a == 0 ? ($T)0 : a < ($T)1 ? ($T)-1 : ($T)1;")},
    {"div", "i",
     FN2("div", "if (b == 0) return 0; if (" SIGNED
                " && b == ($T)-1) return ($T)(0 - ($u)a); return a / b;")},
    {"fmod", "i", FN2("fmod", "return b == 0 || (" SIGNED " && b == ($T)-1) ? 0 : a % b;")},
    {"mod", "i",
     FN2("mod", "$T r = q_fmod_$t(a, b); "
                "return r != 0 && " SIGNED " && (r < ($T)1) != (b < ($T)1) ? r + b : r;")},
    {"floordiv", "i",
     FN2("floordiv", "$T q = a / b; return a % b != 0 && (a < ($T)1) != (b < ($T)1) ? q - 1 : q;")},
    {"pow", "i",
     "Q_FN $T q_pow_$t($T a, $T b)\n"
     "{\n"
     "    $u result = 1, base = ($u)a, e = ($u)b;\n"
     "    if (" SIGNED " && b < ($T)1 && b != 0) {\n"
     "        if (a == 1) return 1;\n"
     "        return a == ($T)-1 ? (b & 1 ? ($T)-1 : 1) : 0;\n"
     "    }\n"
     "    for (; e; e >>= 1, base *= base)\n"
     "        if (e & 1) result *= base;\n"
     "    return ($T)result;\n"
     "}\n"},
    {"shl", "i", FN2("shl", "return ($u)b < sizeof($T)*8 ? ($T)(($u)a << ($u)b) : 0;")},
    {"shr", "i", FN2("shr", "return ($u)b < sizeof($T)*8 ? ($T)(a >> ($u)b) : 0;")},
    /* Floats to integers: truncation, saturation, NaN to 0. */
    {"to_i32", "f",
     "Q_FN i32 q_to_i32_$t($T a) { return a != a ? 0 : a <= -($T)2147483648.0 ? -2147483647 - 1 : "
     "a >= ($T)2147483648.0 ? 2147483647 : (i32)a; }\n"},
    {"to_u32", "f",
     "Q_FN u32 q_to_u32_$t($T a) { return !(a > 0) ? 0u : a >= ($T)4294967296.0 ? 4294967295u : "
     "(u32)a; }\n"},
    {"to_i64", "f",
     "Q_FN i64 q_to_i64_$t($T a) { return a != a ? 0 : a <= -($T)9223372036854775808.0 ? "
     "-(i64)9223372036854775807 - 1 : a >= ($T)9223372036854775808.0 ? (i64)9223372036854775807 : "
     "(i64)a; }\n"},
    {"to_u64", "f",
     "Q_FN u64 q_to_u64_$t($T a) { return !(a > 0) ? 0 : a >= ($T)18446744073709551616.0 ? ~(u64)0 "
     ": (u64)a; }\n"},
    /* Narrow floats, raw to f32 and back. */
    {"small_from", "", small_from},
    {"small_to", "", small_to},
    {"f16_to", "",
     "Q_FN f32 q_f16_to(u32 h)\n"
     "{\n"
     "    u32 mag = h & 0x7fffu;\n"
     "    f32 v = mag >= 0x7c00u ? q_float(0x7f800000u | ((mag & 0x3ffu) << 13)) : q_small_to(mag, "
     "10, 15);\n"
     "    return h & 0x8000u ? -v : v;\n"
     "}\n"},
    {"f16_from", "",
     "Q_FN u16 q_f16_from(f32 v)\n"
     "{\n"
     "    u32 sign = q_bits(v) >> 16 & 0x8000u;\n"
     "    return (u16)(sign | (v != v ? 0x7e00u : q_small_from(v, 10, 15, 0x7c00u)));\n"
     "}\n"},
    {"bf16_to", "", "Q_FN f32 q_bf16_to(u32 h) { return q_float(h << 16); }\n"},
    {"bf16_from", "",
     "Q_FN u16 q_bf16_from(f32 v)\n"
     "{\n"
     "    u32 u = q_bits(v);\n"
     "    return (u16)(v != v ? (u >> 16 & 0x8000u) | 0x7fc0u : (u + 0x7fffu + (u >> 16 & 1u)) >> "
     "16);\n"
     "}\n"},
    {"f8e4m3_to", "",
     "Q_FN f32 q_f8e4m3_to(u32 c) { f32 v = (c & 127u) == 127u ? q_nan_f32() : q_small_to(c & "
     "127u, 3, 7); "
     "return c & 128u ? -v : v; }\n"},
    {"f8e4m3_from", "",
     "Q_FN u8 q_f8e4m3_from(f32 v) { return (u8)((q_bits(v) >> 24 & 128u) | (v != v ? 127u : "
     "q_small_from(v, 3, 7, "
     "126u))); }\n"},
    {"f8e5m2_to", "",
     "Q_FN f32 q_f8e5m2_to(u32 c) { f32 v = (c & 127u) > 124u ? q_nan_f32() : (c & 127u) == 124u ? "
     "q_inf_f32() : "
     "q_small_to(c & 127u, 2, 15); return c & 128u ? -v : v; }\n"},
    {"f8e5m2_from", "",
     "Q_FN u8 q_f8e5m2_from(f32 v) { return (u8)((q_bits(v) >> 24 & 128u) | (v != v ? 126u : "
     "q_small_from(v, 2, 15, "
     "123u))); }\n"},
    {"f8e4m3fnuz_to", "",
     "Q_FN f32 q_f8e4m3fnuz_to(u32 c) { f32 v = q_small_to(c & 127u, 3, 8); return c == 128u ? "
     "q_nan_f32() : c & "
     "128u ? -v : v; }\n"},
    {"f8e4m3fnuz_from", "",
     "Q_FN u8 q_f8e4m3fnuz_from(f32 v) { u32 c = q_small_from(v, 3, 8, 127u); return (u8)(v != v ? "
     "128u : c ? c | "
     "(q_bits(v) >> 24 & 128u) : 0u); }\n"},
    {"f8e5m2fnuz_to", "",
     "Q_FN f32 q_f8e5m2fnuz_to(u32 c) { f32 v = q_small_to(c & 127u, 2, 16); return c == 128u ? "
     "q_nan_f32() : c & "
     "128u ? -v : v; }\n"},
    {"f8e5m2fnuz_from", "",
     "Q_FN u8 q_f8e5m2fnuz_from(f32 v) { u32 c = q_small_from(v, 2, 16, 127u); return (u8)(v != v "
     "? 128u : c ? c | "
     "(q_bits(v) >> 24 & 128u) : 0u); }\n"},
    {"f4e2m1_to", "",
     "Q_FN f32 q_f4e2m1_to(u32 c) { f32 v = q_small_to(c & 7u, 1, 1); return c & 8u ? -v : v; }\n"},
    {"f4e2m1_from", "",
     "Q_FN u32 q_f4e2m1_from(f32 v) { return (q_bits(v) >> 28 & 8u) | (v != v ? 8u : "
     "q_small_from(v, 1, 1, 7u)); }\n"},
    {"e8m0_to", "",
     "Q_FN f32 q_e8m0_to(u32 c) { return c == 255u ? q_nan_f32() : c == 0u ? q_float(0x400000u) : "
     "q_float(c << 23); "
     "}\n"},
    {"e8m0_from", "", /* rounds up, as dtype_store does */
     "Q_FN u8 q_e8m0_from(f32 v)\n"
     "{\n"
     "    u32 u = q_bits(v) & 0x7fffffffu, code = (u >> 23) + (u32)((u & 0x7fffffu) != 0);\n"
     "    if (v != v) return 255;\n"
     "    if (u < 0x800000u) return (u8)(u > 0x400000u);\n"
     "    return (u8)(code < 254u ? code : 254u);\n"
     "}\n"},
    /* Packed integers. */
    {"i4_to", "", "#define q_i4_to(c) ((i32)((c) ^ 8) - 8)\n"},
    {"i2_to", "", "#define q_i2_to(c) ((i32)((c) ^ 2) - 2)\n"},
    {"u4_to", "", "#define q_u4_to(c) ((u32)(c))\n"},
    {"u2_to", "", "#define q_u2_to(c) ((u32)(c))\n"},
    {"get4", "", "#define q_get4(p, i) ((u32)(p)[(i) >> 1] >> (((i) & 1) * 4) & 15u)\n"},
    {"get2", "", "#define q_get2(p, i) ((u32)(p)[(i) >> 2] >> (((i) & 3) * 2) & 3u)\n"},
    {"put4", "", "#define q_put4(p, i, v) q_putbits(p, (i) >> 1, ((i) & 1) * 4, 15u, v)\n"},
    {"put2", "", "#define q_put2(p, i, v) q_putbits(p, (i) >> 2, ((i) & 3) * 2, 3u, v)\n"},
    {"put4_shared", "",
     "#define q_put4_shared(p, i, v) q_putbits_shared(p, (i) >> 1, ((i) & 1) * 4, 15u, v)\n"},
    {"put2_shared", "",
     "#define q_put2_shared(p, i, v) q_putbits_shared(p, (i) >> 2, ((i) & 3) * 2, 3u, v)\n"},
    /* Swizzles of shared tiles: element number and element size in bytes; XOR of 16-byte chunks. */
    {"swizzle32", "", "#define q_swizzle32(i, s) ((i) ^ ((((i) * (s)) >> 7 & 1) << 4) / (s))\n"},
    {"swizzle64", "", "#define q_swizzle64(i, s) ((i) ^ ((((i) * (s)) >> 7 & 3) << 4) / (s))\n"},
    {"swizzle128", "", "#define q_swizzle128(i, s) ((i) ^ ((((i) * (s)) >> 7 & 7) << 4) / (s))\n"},
    {0},
};
