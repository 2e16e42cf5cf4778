/* Every scalar in every compute type, on special values, in every dialect that can run here,
 * against scalar_eval. Exact, except transcendental functions: their tolerance is in units in the
 * last place, for OpenCL what its specification grants. */
#include <float.h>
#include <stdio.h>

#include "dialect_run.h"
#include "opencl_job.h"

enum { POINTS = 1024 };

static const double floats[] = {
    0.0,  -0.0,  1,     -1,     0.5,     -0.5,    1.5,      2.5,      -2.5,      3,     -3.7,
    0.1,  -0.3,  7.25,  20,     -20,     88.5,    -103.9,   710,      1e10,      -1e10, 1e-3,
    1e30, -1e30, 1e-40, -1e-40, FLT_MIN, FLT_MAX, -FLT_MAX, INFINITY, -INFINITY, NAN};
static const int64_t integers[] = {0,          1,
                                   -1,         2,
                                   -2,         3,
                                   -7,         10,
                                   31,         32,
                                   33,         63,
                                   64,         -64,
                                   1000,       INT32_MAX,
                                   INT32_MIN,  INT32_MIN + 1,
                                   UINT32_MAX, INT64_MAX,
                                   INT64_MIN,  INT64_MIN + 1,
                                   1ll << 40,  -5};

typedef struct Tolerance {
    ScalarOp op;
    double c, opencl; /* ULP */
} Tolerance;

static const Tolerance tolerances[] = {
    {S_exp, 1, 3},   {S_log, 1, 3},   {S_sin, 1, 4},  {S_cos, 1, 4},
    {S_tan, 1, 5},   {S_asin, 1, 4},  {S_acos, 1, 4}, {S_atan, 1, 5},
    {S_sinh, 2, 4},  {S_cosh, 2, 4},  {S_tanh, 2, 5}, {S_asinh, 2, 4},
    {S_acosh, 2, 4}, {S_atanh, 2, 5}, {S_erf, 1, 16}, {S_pow, 1, 16},
};

static double tolerance_of(ScalarOp op, bool opencl)
{
    for (size_t i = 0; i < sizeof tolerances / sizeof *tolerances; i++)
        if (tolerances[i].op == op)
            return opencl ? tolerances[i].opencl : tolerances[i].c;
    return 0;
}

/* All pairs of special values come up as (a, b); c runs along. */
static Scalar special(Dtype dtype, int point, int operand)
{
    int count = dtype_is_float(dtype) ? (int)(sizeof floats / sizeof *floats)
                                      : (int)(sizeof integers / sizeof *integers);
    int index = operand == 0   ? point % count
                : operand == 1 ? point / count % count
                               : (point * 7 + point / 5) % count;
    if (dtype_is_float(dtype))
        return dtype_convert(dtype, DT_f64, (Scalar){.f = floats[index]});
    return dtype_convert(dtype, DT_i64, (Scalar){.i = integers[index]});
}

static const char *program(Cx *cx, Dtype dtype, const char *target)
{
    Text text;
    const char *type = dtype_name(dtype);
    text_init(&text, cx->arena);
    text_add(&text, "tile scalars %s { in a %s [%d] in b %s [%d] in c %s [%d] in s bool [%d] ",
             target, type, POINTS, type, POINTS, type, POINTS, POINTS);
    text_add(&text, "out y %s [%d, %d] out z bool [%d, %d] grid (g %d) { map (l 16) {\n", type,
             S_count, POINTS, S_count, POINTS, POINTS / 16);
    for (int i = 0; i < 4; i++)
        text_add(&text, "%%%d = load %c[16*g + l]\n", i, "abcs"[i]);
    for (int op = 0, id = 4; op < S_count; op++) {
        if (!scalar_accepts((ScalarOp)op, dtype))
            continue;
        bool gives_bool = scalar_gives_bool((ScalarOp)op);
        text_add(&text, "%%%d = %s %s ", id, scalar_name((ScalarOp)op), gives_bool ? "bool" : type);
        if (op == S_select)
            text_add(&text, "%%3, %%1, %%2\n");
        else
            text_add(&text, "%s\n",
                     scalar_arity((ScalarOp)op) == 1   ? "%0"
                     : scalar_arity((ScalarOp)op) == 2 ? "%0, %1"
                                                       : "%0, %1, %2");
        text_add(&text, "store %s[%d, 16*g + l] %%%d\n", gives_bool || dtype == DT_bool ? "z" : "y",
                 op, id++);
    }
    text_add(&text, "} } }\n");
    return text.data;
}

static double ulp_distance(Dtype dtype, double want, double got)
{
    if ((isnan(want) && isnan(got)) || want == got)
        return 0;
    if (!isfinite(want) || !isfinite(got))
        return INFINITY;
    double step = dtype == DT_f32
                      ? (double)nextafterf((float)fabs(want), INFINITY) - fabs((double)(float)want)
                      : nextafter(fabs(want), INFINITY) - fabs(want);
    return fabs(want - got) / step;
}

static void compare(const TestRun *run, Dtype dtype, bool opencl)
{
    for (int op = 0; op < S_count; op++) {
        if (!scalar_accepts((ScalarOp)op, dtype))
            continue;
        bool to_bool = scalar_gives_bool((ScalarOp)op) || dtype == DT_bool;
        Dtype result = to_bool ? DT_bool : dtype;
        for (int i = 0; i < POINTS; i++) {
            Scalar a[3];
            for (int k = 0; k < 3; k++)
                a[k] = op == S_select && k == 0
                           ? dtype_load(DT_bool, run->got[3], i)
                           : dtype_load(dtype, run->got[op == S_select ? k : k], i);
            Scalar want = scalar_eval((ScalarOp)op, dtype, a);
            Scalar got = dtype_load(result, run->got[to_bool ? 5 : 4], (int64_t)op * POINTS + i);
            bool same = want.i == got.i;
            bool zero_free = op == S_min || op == S_max; /* the sign of a zero is not specified */
            if (dtype_is_float(result) && !same) {
                double off = ulp_distance(result, want.f, got.f);
                bool zeros = want.f == 0 && got.f == 0;
                same = off <= tolerance_of((ScalarOp)op, opencl) && (!zeros || zero_free);
            }
            cr_assert(same,
                      "%s %s %s(%a, %a, %a | %" PRId64 ", %" PRId64 "): %a (%" PRIx64
                      "), want %a (%" PRIx64 ")",
                      opencl ? "opencl" : "c", dtype_name(dtype), scalar_name((ScalarOp)op), a[0].f,
                      a[1].f, a[2].f, a[0].i, a[1].i, got.f, (uint64_t)got.i, want.f,
                      (uint64_t)want.i);
        }
    }
}

static void start(Cx *cx, TestRun *run, const TileCase *c, Dtype dtype, const char *target)
{
    *run = (TestRun){.c = c, .prog = tile_parse(cx, "scalars", program(cx, dtype, target))};
    cr_assert(run->prog, "%s", cx->message);
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        const Buffer *buffer = run->prog->buffers[b];
        run->counts[b] = b < 4 ? POINTS : S_count * POINTS;
        run->bytes[b] = (dtype_bytes(buffer->dtype, run->counts[b]) + 63) / 64 * 64;
        run->got[b] = aligned_alloc(64, (size_t)run->bytes[b]);
        memset(run->got[b], 0, (size_t)run->bytes[b]);
        for (int i = 0; b < 4 && i < POINTS; i++)
            dtype_store(buffer->dtype, run->got[b], i,
                        b == 3 ? (Scalar){.i = i & 1} : special(dtype, i, (int)b));
    }
}

static const Dtype types[] = {DT_f32, DT_f64, DT_i32, DT_i64, DT_u32, DT_u64, DT_bool};

static void check_c(Dtype dtype)
{
    Cx cx;
    TestRun run;
    const TileCase c = {.name = "scalars"};
    cx_init(&cx, NULL, 0);
    start(&cx, &run, &c, dtype, target_host_cpu()->name);
    run_c(&cx, &run, POINTS / 16);
    compare(&run, dtype, false);
    test_finish(&run);
    cx_finish(&cx);
}

Test(dialect_scalars, c)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_c(types[i]);
}

Test(dialect_scalars, opencl)
{
    OpenclJob job;
    if (!opencl_open(&job))
        return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Cx cx;
        TestRun run;
        const TileCase c = {.name = "scalars"};
        int32_t error = 0;
        cx_init(&cx, NULL, 0);
        start(&cx, &run, &c, types[i], "opencl-cpu");
        run_opencl(&job, &cx, &run, &error);
        compare(&run, types[i], true);
        test_finish(&run);
        cx_finish(&cx);
    }
    opencl_close(&job);
}

/* No GPU here: every scalar is spelled and compiles. */
Test(dialect_scalars, cuda_compiles)
{
    if (!has_nvrtc())
        return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        Cx cx;
        cx_init(&cx, NULL, 0);
        compile_cuda(&cx, tile_parse(&cx, "scalars", program(&cx, types[i], "sm_80")));
        cx_finish(&cx);
    }
}
