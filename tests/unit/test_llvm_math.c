/* Vector functions of the LLVM emitter against libm in double: units in the last place, special
 * values. */
#include <math.h>

#include "tests/unit/llvm_run.h"

enum { N = 4099 };

static const char map[] = "tile f %s {\n"
                          "  in x f32 [%d]\n"
                          "  out y f32 [%d]\n"
                          "  grid (t 1) {\n"
                          "    map (i %d) { %%0 = load x[i]  %%1 = %s f32 %%0  store y[i] %%1 }\n"
                          "  }\n"
                          "}\n";

static float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

/* Distance in units of the last place of the exact value; huge where one is special and the other
 * is not. */
static double ulps(float got, double exact)
{
    float near = (float)exact;
    if (isnan(exact) || isinf(near) || isnan(got) || isinf(got))
        return (isnan(exact) && isnan(got)) || got == near ? 0 : 1e30;
    int exponent;
    frexp(exact, &exponent);
    double unit = exact == 0 || exponent < -125 ? 0x1p-149 : ldexp(1, exponent - 24);
    return fabs((double)got - exact) / unit;
}

static void check(const char *target, const char *name, double (*exact)(double), double limit)
{
    if (!kernel_runs(target))
        return;
    char text[1024];
    Kernel k;
    static float x[N], y[N];
    snprintf(text, sizeof text, map, target, N, N, N, name);
    cr_assert_eq(kernel_open(&k, text, target), ST_ok, "%s", k.cx.message);
    double worst = 0;
    float at = 0;
    static const float special[] = {0.0f,   -0.0f,   INFINITY, -INFINITY, NAN,
                                    1e-45f, -1e-45f, 1.0f,     -1.0f,     3.4e38f};
    uint64_t bits = 0;
    while (bits <= UINT32_MAX) {
        int n = 0;
        for (; n < 10 && bits == 0; n++)
            x[n] = special[n];
        for (; n < N; n++, bits += 2039)
            x[n] = from_bits((uint32_t)bits);
        kernel_run(&k, 0, (void *[]){x, y}, NULL, 0, 1);
        for (int i = 0; i < N; i++) {
            double off = ulps(y[i], exact((double)x[i]));
            if (off > worst) {
                worst = off;
                at = x[i];
            }
        }
    }
    cr_log_info("%s %s: %.3f ulp at %a", target, name, worst, (double)at);
    cr_expect(worst <= limit, "%s %s: %g ulp at %a", target, name, worst, (double)at);
    kernel_close(&k);
}

static void check_both(const char *name, double (*exact)(double), double limit)
{
    check("x86-64-v4", name, exact, limit);
    check("x86-64-v3", name, exact, limit);
}

Test(llvm_math, exp)
{
    check_both("exp", exp, 2);
}

Test(llvm_math, log)
{
    check_both("log", log, 2);
}

Test(llvm_math, tanh)
{
    check_both("tanh", tanh, 2);
}

Test(llvm_math, erf)
{
    check_both("erf", erf, 2);
}

Test(llvm_math, sin)
{
    check_both("sin", sin, 1);
}

Test(llvm_math, cos)
{
    check_both("cos", cos, 1);
}

Test(llvm_math, tan)
{
    check_both("tan", tan, 1);
}

static double round_even(double x)
{
    return rint(x);
}

Test(llvm_math, rounding)
{
    check_both("round", round_even, 0);
    check_both("floor", floor, 0);
    check_both("ceil", ceil, 0);
    check_both("trunc", trunc, 0);
    check_both("sqrt", sqrt, 0.5001);
}

Test(llvm_math, through_libm)
{
    check("x86-64-v4", "atan", atan, 0.5001);
    check("x86-64-v3", "asinh", asinh, 0.5001);
}

static const char pow_map[] =
    "tile f %s {\n"
    "  in x f32 [%d]\n"
    "  in p f32 [%d]\n"
    "  out y f32 [%d]\n"
    "  grid (t 1) {\n"
    "    map (i %d) { %%0 = load x[i]  %%1 = load p[i]  %%2 = pow f32 %%0, %%1  store y[i] %%2 }\n"
    "  }\n"
    "}\n";

Test(llvm_math, pow)
{
    static float x[N], p[N], y[N];
    static const float special[] = {0.0f,  -0.0f, INFINITY, -INFINITY, NAN,     1.0f,
                                    -1.0f, 2.0f,  -2.0f,    0.5f,      -0.5f,   3.0f,
                                    -3.0f, 1e30f, -1e30f,   1e-40f,    -1e-40f, 16777217.0f};
    enum { S = sizeof special / sizeof *special };
    char text[1024];
    uint64_t seed = 1;
    for (int v = 3; v <= 4; v++) {
        char target[16];
        snprintf(target, sizeof target, "x86-64-v%d", v);
        if (!kernel_runs(target))
            continue;
        Kernel k;
        snprintf(text, sizeof text, pow_map, target, N, N, N, N);
        cr_assert_eq(kernel_open(&k, text, target), ST_ok, "%s", k.cx.message);
        double worst = 0;
        for (int round = 0; round < 200; round++) {
            for (int i = 0; i < N; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                x[i] = i < S * S ? special[i / S] : from_bits((uint32_t)(seed >> 32));
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                p[i] = i < S * S ? special[i % S]
                       : i & 1   ? (float)((int)(seed >> 40) % 4000 - 2000) / 100
                                 : from_bits((uint32_t)(seed >> 32));
            }
            kernel_run(&k, 0, (void *[]){x, p, y}, NULL, 0, 1);
            for (int i = 0; i < N; i++) {
                double off = ulps(y[i], pow((double)x[i], (double)p[i]));
                cr_assert(off <= 1, "pow(%a, %a) = %a: %g ulp", (double)x[i], (double)p[i],
                          (double)y[i], off);
                worst = off > worst ? off : worst;
            }
        }
        cr_log_info("%s pow: %.3f ulp", target, worst);
        kernel_close(&k);
    }
}
