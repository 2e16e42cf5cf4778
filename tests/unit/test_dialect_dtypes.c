/* Loads, stores and casts of every narrow dtype in every dialect that can run here, against
 * base/dtype.c: all codes are read, and special values, rounding ties and overflows are written. */
#include <float.h>
#include <stdio.h>

#include "dialect_run.h"
#include "opencl_job.h"

enum { POINTS = 4096 };

static const Dtype narrow[] = {
    DT_f16, DT_bf16, DT_f8e4m3, DT_f8e4m3fnuz, DT_f8e5m2, DT_f8e5m2fnuz, DT_f4e2m1, DT_e8m0, DT_u8,
    DT_i8,  DT_u16,  DT_i16,    DT_bool,       DT_u4,     DT_i4,         DT_u2,     DT_i2};
enum { NARROW = sizeof narrow / sizeof *narrow };

/* x: codes of the narrow type, read into y; z: values of the compute type, stored into w; v: f32
 * cast to the narrow type. */
static const char *program(Cx *cx, Dtype dtype, const char *target)
{
    Text text;
    const char *type = dtype_name(dtype), *compute = dtype_name(dtype_compute(dtype));
    text_init(&text, cx->arena);
    text_add(&text,
             "tile narrow %s { in x %s [%d] in z %s [%d] in f f32 [%d] out y %s [%d] out w %s [%d] "
             "out v %s [%d]\n",
             target, type, POINTS, compute, POINTS, POINTS, compute, POINTS, type, POINTS, compute,
             POINTS);
    text_add(&text, "grid (g %d) { map (l 16) {\n%%0 = load x[16*g + l]\n%%1 = load z[16*g + l]\n",
             POINTS / 16);
    text_add(&text, "%%2 = load f[16*g + l]\n%%3 = cast %s %%2\n", type);
    text_add(&text, "store y[16*g + l] %%0\nstore w[16*g + l] %%1\nstore v[16*g + l] %%3\n} } }\n");
    return text.data;
}

static double float_at(int i, uint64_t *seed)
{
    static const double special[] = {
        0.0,       -0.0,     INFINITY, -INFINITY, NAN,      FLT_MAX,    -FLT_MAX, 1e-40,
        65504,     65519.99, 65520,    448,       464,      465,        480,      240,
        248,       249,      57344,    61440,     61441,    6,          7,        -7,
        0.25,      0.75,     1.25,     3.5,       5,        2.5,        0x1p-24,  0x1p-25,
        0x1.8p-25, 0x1p-9,   0x1p-10,  0x1.8p-10, 0x1p-127, 0x1.8p-127, 255.5,    256,
        -1,        -128.5,   127.9,    3e9,       -3e9,     1e20};
    if (i < (int)(sizeof special / sizeof *special))
        return special[i];
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    double mantissa = (double)(*seed >> 52) / 1024 - 2; /* many ties at few bits */
    return ldexp(mantissa, (int)(*seed >> 20 & 31) - 16);
}

static void start(Cx *cx, TestRun *run, const TileCase *c, Dtype dtype, const char *target)
{
    *run = (TestRun){.c = c, .prog = tile_parse(cx, "narrow", program(cx, dtype, target))};
    cr_assert(run->prog, "%s", cx->message);
    uint64_t seed = 11;
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        Dtype type = run->prog->buffers[b]->dtype;
        run->counts[b] = POINTS;
        run->bytes[b] = (dtype_bytes(type, POINTS) + 63) / 64 * 64;
        run->want[b] = aligned_alloc(64, (size_t)run->bytes[b]);
        run->got[b] = aligned_alloc(64, (size_t)run->bytes[b]);
        memset(run->want[b], 0, (size_t)run->bytes[b]);
    }
    for (int64_t i = 0; i < run->bytes[0]; i++) /* all codes; a bool is 0 or 1 */
        ((unsigned char *)run->want[0])[i] =
            (unsigned char)(dtype == DT_bool                   ? i & 1
                            : dtype_bits(dtype) == 16 && i & 1 ? i / 32
                                                               : i * 37);
    Dtype compute = dtype_compute(dtype);
    for (int i = 0; i < POINTS; i++) {
        Scalar f = {.f = float_at(i, &seed)};
        dtype_store(DT_f32, run->want[2], i, f);
        f = dtype_load(DT_f32, run->want[2], i);
        dtype_store(compute, run->want[1], i, dtype_convert(compute, DT_f32, f));
        dtype_store(compute, run->want[3], i, dtype_load(dtype, run->want[0], i));
        dtype_store(dtype, run->want[4], i, dtype_load(compute, run->want[1], i));
        dtype_store(compute, run->want[5], i, dtype_convert(dtype, DT_f32, f));
    }
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        memcpy(run->got[b], run->want[b], (size_t)run->bytes[b]);
        if (b >= 3)
            memset(run->got[b], 0xA5, (size_t)run->bytes[b]);
    }
}

static void compare(const TestRun *run, const char *who)
{
    for (uint32_t b = 3; b < run->prog->buffer_count; b++) {
        Dtype type = run->prog->buffers[b]->dtype;
        for (int64_t i = 0; i < POINTS; i++) {
            Scalar want = dtype_load(type, run->want[b], i), got = dtype_load(type, run->got[b], i);
            bool nans = dtype_is_float(type) && isnan(want.f) && isnan(got.f);
            cr_assert(nans || want.i == got.i,
                      "%s: %s, %s[%d] is %a (%" PRId64 "), want %a (%" PRId64 "); f %a", who,
                      dtype_name(run->prog->buffers[0]->dtype), run->prog->buffers[b]->name, (int)i,
                      got.f, got.i, want.f, want.i, dtype_load(DT_f32, run->want[2], i).f);
        }
    }
}

static void check_c(Dtype dtype)
{
    Cx cx;
    TestRun run;
    const TileCase c = {.name = "narrow"};
    cx_init(&cx, NULL, 0);
    start(&cx, &run, &c, dtype, target_host_cpu()->name);
    run_c(&cx, &run, POINTS / 16);
    compare(&run, "c");
    test_finish(&run);
    cx_finish(&cx);
}

Test(dialect_dtypes, c)
{
    for (int i = 0; i < NARROW; i++)
        check_c(narrow[i]);
}

Test(dialect_dtypes, opencl)
{
    OpenclJob job;
    if (!opencl_open(&job))
        return;
    for (int i = 0; i < NARROW; i++) {
        Cx cx;
        TestRun run;
        const TileCase c = {.name = "narrow"};
        int32_t error = 0;
        cx_init(&cx, NULL, 0);
        start(&cx, &run, &c, narrow[i], "opencl-cpu");
        run_opencl(&job, &cx, &run, &error);
        compare(&run, "opencl");
        test_finish(&run);
        cx_finish(&cx);
    }
    opencl_close(&job);
}

/* No GPU here: every helper exists and compiles. */
Test(dialect_dtypes, cuda_compiles)
{
    if (!has_nvrtc())
        return;
    for (int i = 0; i < NARROW; i++) {
        Cx cx;
        cx_init(&cx, NULL, 0);
        compile_cuda(&cx, tile_parse(&cx, "narrow", program(&cx, narrow[i], "sm_80")));
        cx_finish(&cx);
    }
}
