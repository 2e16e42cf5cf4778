/* The OpenCL dialects: built and run on the first device of the machine (PoCL in CI), compared with
 * tile_run. */
#include <stdio.h>

#include "opencl_job.h"

static void check(OpenclJob *job, const TileCase *c, const char *target)
{
    Cx cx;
    TestRun run;
    cx_init(&cx, NULL, 0);
    test_start(&cx, &run, c, target);
    int32_t error = 0;
    run_opencl(job, &cx, &run, &error);
    test_compare(&run, target);
    cr_assert_eq(error != 0, run.bad_index != 0);
    test_finish(&run);
    cx_finish(&cx);
}

Test(opencl_print, cpu_programs)
{
    OpenclJob job;
    if (!opencl_open(&job))
        return;
    for (int i = 0; i < TILE_CASES; i++)
        check(&job, &tile_cases[i], "opencl-cpu");
    opencl_close(&job);
}

Test(opencl_print, binary_is_loaded_again)
{
    OpenclJob job;
    Cx cx;
    if (!opencl_open(&job))
        return;
    cx_init(&cx, NULL, 0);
    static const char good[] = "__kernel void k(__global int *x) { x[0] = 7; }";
    static const char bad[] = "__kernel void k( { }";
    cl_program first = opencl_build(&cx, job.context, job.device, good, sizeof good - 1);
    cr_assert(first, "%s", cx.message);
    size_t size = 0;
    const void *binary = opencl_build_save(&cx, first, &size);
    cr_assert(binary, "%s", cx.message);
    cl_program second = opencl_build_load(job.context, job.device, binary, size);
    cr_assert(second);
    cl_int code;
    cl_kernel kernel = job.api->clCreateKernel(second, "k", &code);
    cr_assert_eq(code, CL_SUCCESS);
    job.api->clReleaseKernel(kernel);
    job.api->clReleaseProgram(first);
    job.api->clReleaseProgram(second);
    cr_assert_null(opencl_build(&cx, job.context, job.device, bad, sizeof bad - 1));
    cr_assert(strstr(cx.message, "OpenCL build failed"), "%s", cx.message);
    cx_finish(&cx);
    opencl_close(&job);
}
