/* Placement on GPUs: placed programs are verified, run in the simulator and compared with the
 * unplaced program in tile_run; OpenCL ones run on the first device; CUDA ones compile for every SM
 * without a spill. */
#include <stdio.h>

#include "opencl_job.h"

#include "ir/tile_sim.h"
#include "jit/build_nvrtc.h"
#include "passes/place_gpu.h"

static const TileCase *case_at(int i)
{
    return i < TILE_CASES ? &tile_cases[i] : &gpu_cases[i - TILE_CASES];
}

enum { ALL_CASES = TILE_CASES + GPU_CASES };

static bool needs_tensor_cores(const TileCase *c)
{
    return strcmp(c->name, "attention") == 0; /* an operand in registers */
}

static void place(Cx *cx, TestRun *run)
{
    Text text;
    cr_assert(place_gpu(run->prog), "%s: %s", run->c->name, cx->message);
    text_init(&text, cx->arena);
    tile_print(&text, run->prog);
    cr_assert(tile_verify(run->prog), "%s: %s\n%s", run->c->name, cx->message, text.data);
    TileProg *again = tile_parse(cx, "printed", text.data);
    cr_assert(again, "%s\n%s", cx->message, text.data);
    Text twice;
    text_init(&twice, cx->arena);
    tile_print(&twice, again);
    cr_assert_str_eq(text.data, twice.data);
}

static void check_simulated(const TileCase *c, const char *target)
{
    Cx cx;
    TestRun run;
    cx_init(&cx, NULL, 0);
    test_start(&cx, &run, c, target);
    place(&cx, &run);
    NestRun args = {.buffers = run.got, .dims = c->dims};
    SimReport report;
    Text text;
    text_init(&text, cx.arena);
    tile_print(&text, run.prog);
    cr_assert(tile_sim(&cx, run.prog, &args, &report), "%s on %s: %s\n%s", c->name, target,
              cx.message, text.data);
    cr_log_info("%s %s: %lld cycles of shared memory, %lld lost, %lld bytes asynchronous", c->name,
                target, (long long)report.shared_accesses, (long long)report.shared_extra,
                (long long)report.async_bytes);
    test_compare(&run, target);
    test_finish(&run);
    cx_finish(&cx);
}

Test(place_gpu, simulated)
{
    static const char *const targets[] = {"opencl", "sm_75", "sm_80", "sm_90a"};
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < ALL_CASES; i++)
            if (t > 0 || !needs_tensor_cores(case_at(i)))
                check_simulated(case_at(i), targets[t]);
}

Test(place_gpu, register_operands_need_tensor_cores)
{
    for (int i = 0; i < ALL_CASES; i++) {
        Cx cx;
        TestRun run;
        if (!needs_tensor_cores(case_at(i)))
            continue;
        cx_init(&cx, NULL, 0);
        test_start(&cx, &run, case_at(i), "opencl");
        cr_assert_not(place_gpu(run.prog));
        cr_assert_eq(cx.status, ST_unsupported);
        cr_assert(strstr(cx.message, "tensor cores"), "%s", cx.message);
        test_finish(&run);
        cx_finish(&cx);
    }
}

Test(place_gpu, opencl_runs)
{
    OpenclJob job;
    if (!opencl_open(&job))
        return;
    for (int i = 0; i < ALL_CASES; i++) {
        Cx cx;
        TestRun run;
        int32_t error = 0;
        if (needs_tensor_cores(case_at(i)))
            continue;
        cx_init(&cx, NULL, 0);
        test_start(&cx, &run, case_at(i), "opencl");
        place(&cx, &run);
        run_opencl(&job, &cx, &run, &error);
        test_compare(&run, "opencl");
        test_finish(&run);
        cx_finish(&cx);
    }
    opencl_close(&job);
}

static void check_cuda(const TileCase *c, const char *target)
{
    Cx cx;
    TestRun run;
    Text text;
    NvrtcBuild built;
    cx_init(&cx, NULL, 0);
    test_start(&cx, &run, c, target);
    place(&cx, &run);
    text_init(&text, cx.arena);
    cr_assert(c_print(&cx, &text, run.prog, &dialect_cuda), "%s: %s", c->name, cx.message);
    cr_assert(build_nvrtc(&cx, text.data, run.prog->caps, &built), "%s: %s\n%s", c->name,
              cx.message, text.data);
    cr_assert(built.size > 0);
    cr_assert_gt(built.registers, 0, "no register count in: %s", built.log);
    cr_assert_eq(built.spill_bytes, 0, "%s on %s spills: %s", c->name, target, built.log);
    cr_log_info("%s %s: %d registers", c->name, target, built.registers);
    test_finish(&run);
    cx_finish(&cx);
}

Test(place_gpu, cuda_compiles)
{
    static const char *const targets[] = {"sm_75", "sm_80", "sm_90a"};
    int major, minor;
    const char *why = "";
    if (!build_nvrtc_version(&major, &minor, &why)) {
        cr_log_warn("skipped: %s", why);
        return;
    }
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < ALL_CASES; i++)
            check_cuda(case_at(i), targets[t]);
}
