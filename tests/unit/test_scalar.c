/* Scalar operations: edge rules of every type, and the tables. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "ir/value.h"

static double f(ScalarOp op, Dtype dtype, double a, double b, double c)
{
    return scalar_eval(op, dtype, (const Scalar[3]){{.f = a}, {.f = b}, {.f = c}}).f;
}

static int64_t n(ScalarOp op, Dtype dtype, int64_t a, int64_t b)
{
    return scalar_eval(op, dtype, (const Scalar[3]){{.i = a}, {.i = b}, {.i = 0}}).i;
}

static bool compare(ScalarOp op, double a, double b)
{
    return scalar_eval(op, DT_f32, (const Scalar[3]){{.f = a}, {.f = b}, {.f = 0}}).i != 0;
}

Test(scalar, names_and_arities_round_trip)
{
    for (int i = 0; i < S_count; i++) {
        const char *name = scalar_name((ScalarOp)i);
        cr_expect_eq(scalar_find(name, strlen(name)), i);
        cr_expect(scalar_arity((ScalarOp)i) >= 1 && scalar_arity((ScalarOp)i) <= 3);
    }
    for (int i = 0; i < M_count; i++)
        cr_expect_eq(monoid_find(monoid_name((Monoid)i), strlen(monoid_name((Monoid)i))), i);
    cr_expect_eq(scalar_find("sub", 2), -1);
    cr_expect_eq(monoid_find("summ", 4), -1);
}

Test(scalar, integers_wrap)
{
    cr_expect_eq(n(S_add, DT_i32, INT32_MAX, 1), INT32_MIN);
    cr_expect_eq(n(S_mul, DT_i32, 1 << 20, 1 << 20), 0);
    cr_expect_eq(n(S_neg, DT_i32, INT32_MIN, 0), INT32_MIN);
    cr_expect_eq(n(S_abs, DT_i64, INT64_MIN, 0), INT64_MIN);
    cr_expect_eq(n(S_sub, DT_u32, 0, 1), (int64_t)UINT32_MAX);
    cr_expect_eq(n(S_sub, DT_u64, 0, 1), -1);
    cr_expect_eq(n(S_add, DT_i64, INT64_MAX, 1), INT64_MIN);
}

Test(scalar, integer_division)
{
    static const Dtype types[] = {DT_i32, DT_i64, DT_u32, DT_u64};
    for (size_t i = 0; i < 4; i++) {
        cr_expect_eq(n(S_div, types[i], 7, 0), 0);
        cr_expect_eq(n(S_mod, types[i], 7, 0), 0);
        cr_expect_eq(n(S_fmod, types[i], 7, 0), 0);
        cr_expect_eq(n(S_div, types[i], 7, 2), 3);
    }
    cr_expect_eq(n(S_div, DT_i32, -7, 2), -3);
    cr_expect_eq(n(S_div, DT_i32, INT32_MIN, -1), INT32_MIN);
    cr_expect_eq(n(S_div, DT_i64, INT64_MIN, -1), INT64_MIN);
    cr_expect_eq(n(S_fmod, DT_i64, INT64_MIN, -1), 0);
    cr_expect_eq(n(S_div, DT_u64, -1, 2), INT64_MAX);
    for (int64_t a = -9; a <= 9; a++) {
        for (int64_t b = -4; b <= 4; b++) {
            if (b == 0)
                continue;
            int64_t r = n(S_mod, DT_i32, a, b);
            cr_expect((r >= 0) == (b > 0) || r == 0);
            cr_expect(r > -llabs(b) && r < llabs(b) && (a - r) % b == 0);
            cr_expect_eq(n(S_fmod, DT_i32, a, b), a % b);
        }
    }
}

Test(scalar, shifts_by_the_width_give_zero)
{
    cr_expect_eq(n(S_shl, DT_i32, 1, 31), INT32_MIN);
    cr_expect_eq(n(S_shl, DT_i32, 1, 32), 0);
    cr_expect_eq(n(S_shr, DT_i32, -8, 1), -4);
    cr_expect_eq(n(S_shr, DT_i32, -8, 32), 0);
    cr_expect_eq(n(S_shr, DT_i32, -8, -1), 0);
    cr_expect_eq(n(S_shl, DT_u64, 1, 63), INT64_MIN);
    cr_expect_eq(n(S_shr, DT_u64, -1, 63), 1);
    cr_expect_eq(n(S_shr, DT_u64, -1, 64), 0);
}

Test(scalar, integer_power)
{
    cr_expect_eq(n(S_pow, DT_i32, 3, 4), 81);
    cr_expect_eq(n(S_pow, DT_i32, -2, 31), INT32_MIN);
    cr_expect_eq(n(S_pow, DT_i64, 0, 0), 1);
    cr_expect_eq(n(S_pow, DT_i64, 1, -5), 1);
    cr_expect_eq(n(S_pow, DT_i64, -1, -5), -1);
    cr_expect_eq(n(S_pow, DT_i64, 2, -1), 0);
    cr_expect_eq(n(S_pow, DT_u32, 3, 21), (int64_t)(uint32_t)10460353203u);
}

Test(scalar, bools_and_bits)
{
    cr_expect_eq(n(S_not, DT_bool, 1, 0), 0);
    cr_expect_eq(n(S_not, DT_u32, 0, 0), (int64_t)UINT32_MAX);
    cr_expect_eq(n(S_xor, DT_bool, 1, 1), 0);
    cr_expect_eq(n(S_and, DT_i32, -1, 6), 6);
    cr_expect_eq(n(S_lt, DT_bool, 0, 1), 1);
    cr_expect_eq(n(S_lt, DT_u64, 1, -1), 1);
    cr_expect_eq(n(S_lt, DT_i64, 1, -1), 0);
    Scalar pick[3] = {{.i = 1}, {.f = 2}, {.f = NAN}};
    cr_expect_eq(scalar_eval(S_select, DT_f32, pick).f, 2);
    pick[0].i = 0;
    cr_expect(isnan(scalar_eval(S_select, DT_f32, pick).f));
}

Test(scalar, nan_spreads_through_min_and_max)
{
    static const Dtype types[] = {DT_f32, DT_f64};
    for (size_t i = 0; i < 2; i++) {
        cr_expect(isnan(f(S_min, types[i], NAN, 1, 0)));
        cr_expect(isnan(f(S_min, types[i], 1, NAN, 0)));
        cr_expect(isnan(f(S_max, types[i], NAN, 1, 0)));
        cr_expect(isnan(f(S_max, types[i], 1, NAN, 0)));
        cr_expect_eq(f(S_max, types[i], -INFINITY, 1, 0), 1);
        cr_expect(isnan(f(S_sign, types[i], NAN, 0, 0)));
        cr_expect_eq(f(S_sign, types[i], -0.5, 0, 0), -1);
    }
    cr_expect(!compare(S_eq, NAN, NAN) && compare(S_ne, NAN, NAN) && !compare(S_le, NAN, 1));
    cr_expect(compare(S_eq, 0.0, -0.0));
    cr_expect(compare(S_isnan, NAN, 0) && !compare(S_isnan, INFINITY, 0));
    cr_expect(compare(S_isinf, -INFINITY, 0) && !compare(S_isinf, 3, 0));
}

Test(scalar, float_rounding)
{
    static const double from[] = {0.5, 1.5, 2.5, -0.5, -1.5, 2.4999};
    static const double to[] = {0, 2, 2, 0, -2, 2};
    for (size_t i = 0; i < 6; i++)
        cr_expect_eq(f(S_round, DT_f32, from[i], 0, 0), to[i]);
    cr_expect_eq(f(S_mod, DT_f32, -7, 3, 0), 2);
    cr_expect_eq(f(S_mod, DT_f32, 7, -3, 0), -2);
    cr_expect_eq(f(S_fmod, DT_f32, -7, 3, 0), -1);
    cr_expect_eq(f(S_div, DT_f32, 1, 0, 0), INFINITY);
    /* f32 results are f32: 1 + 2^-30 rounds away; f64 keeps it. */
    cr_expect_eq(f(S_add, DT_f32, 1, ldexp(1, -30), 0), 1);
    cr_expect_gt(f(S_add, DT_f64, 1, ldexp(1, -30), 0), 1);
    /* fma rounds once: (1 + e)(1 - e) - 1 = -e^2. */
    double e = ldexp(1, -12);
    cr_expect_eq(f(S_fma, DT_f32, 1 + e, 1 - e, -1), -e * e);
    cr_expect_eq(f(S_erf, DT_f32, 0.5, 0, 0), (double)(float)erf(0.5));
}

Test(scalar, result_types)
{
    static const Dtype flt[3] = {DT_f32, DT_f32, DT_f32}, mixed[3] = {DT_f32, DT_f64, DT_f32};
    static const Dtype pick[3] = {DT_bool, DT_i64, DT_i64};
    cr_expect_eq(scalar_result(S_add, flt), DT_f32);
    cr_expect_eq(scalar_result(S_add, mixed), DT_none);
    cr_expect_eq(scalar_result(S_lt, flt), DT_bool);
    cr_expect_eq(scalar_result(S_select, pick), DT_i64);
    cr_expect_eq(scalar_result(S_select, flt), DT_none);
    cr_expect_eq(scalar_result(S_shl, flt), DT_none);
    cr_expect(!scalar_accepts(S_add, DT_bool) && scalar_accepts(S_and, DT_bool));
}

/* combine(identity, x) = x for every monoid and type that it accepts. */
Test(scalar, identities)
{
    static const Dtype types[] = {DT_f32, DT_f64, DT_i32, DT_i64, DT_u32, DT_u64, DT_bool};
    for (int m = 0; m <= M_or; m++) {
        for (size_t i = 0; i < 7; i++) {
            Dtype dtype = types[i];
            if (!monoid_accepts((Monoid)m, dtype))
                continue;
            Scalar x = dtype_is_float(dtype) ? (Scalar){.f = -2.5} : (Scalar){.i = 1};
            Scalar args[3] = {monoid_identity((Monoid)m, dtype), x, {0}};
            cr_expect_eq(scalar_eval(monoid_combine((Monoid)m), dtype, args).i, x.i, "%s %s",
                         monoid_name((Monoid)m), dtype_name(dtype));
        }
    }
}
