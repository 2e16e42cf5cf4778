/* The OpenCL dialects: built and run on the first device of the machine (PoCL in CI), compared with
 * tile_run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_job.h"
#include "runtime/cache.h"

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

static Storage *kept;
static OpenclJob kept_job;
static Cx kept_cx;

/* Builds one of two texts through the storage: the kernel that the program has. */
static char build_kept(const char *source)
{
    char found = 0;
    cl_program program = opencl_build_kept(&kept_cx, kept_job.context, kept_job.device, source,
                                           strlen(source), kept);
    cr_assert(program, "%s", kept_cx.message);
    for (int i = 0; i < 2 && !found; i++) {
        static const char *const names[] = {"a", "b"};
        cl_int code;
        cl_kernel kernel = kept_job.api->clCreateKernel(program, names[i], &code);
        if (code != CL_SUCCESS)
            continue;
        found = *names[i];
        kept_job.api->clReleaseKernel(kernel);
    }
    kept_job.api->clReleaseProgram(program);
    return found;
}

static bool keep_item(void *user, const StorageItem *item)
{
    Entry *entry = user;
    cr_assert_eq(item->entry.kind, ENTRY_binary);
    cr_assert(storage_get(kept, &kept_cx, &executor_inline, entry_key(item->entry.parts), entry));
    return true;
}

/* What is kept for a text is what is used, unless the driver does not take it. */
Test(opencl_print, binaries_are_kept)
{
    static const char a[] = "__kernel void a(__global int *x) { x[0] = 7; }";
    static const char b[] = "__kernel void b(__global int *x) { x[0] = 8; }";
    char dir[] = "/tmp/quern-test-XXXXXX", command[64];
    Entry of_a = {0};
    if (!opencl_open(&kept_job))
        return;
    cr_assert_not_null(mkdtemp(dir));
    Cache cache = cache_in(dir, 1 << 24);
    kept = &cache.storage;
    cx_init(&kept_cx, NULL, 0);
    cr_assert_eq(build_kept(a), 'a');
    cr_assert_null(kept->class->list(kept, &kept_cx, keep_item, &of_a));
    cr_assert_not_null(of_a.parts);
    cr_assert_eq(build_kept(a), 'a');
    /* as if the text had given another binary */
    cl_program other = opencl_build(&kept_cx, kept_job.context, kept_job.device, b, sizeof b - 1);
    cr_assert(other, "%s", kept_cx.message);
    Entry changed = of_a;
    changed.data = opencl_build_save(&kept_cx, other, &changed.size);
    cr_assert_null(kept->class->put(kept, &kept_cx, &executor_inline, &changed));
    cr_assert_eq(build_kept(a), 'b');
    changed.data = "no binary";
    changed.size = 9;
    cr_assert_null(kept->class->put(kept, &kept_cx, &executor_inline, &changed));
    cr_assert_eq(build_kept(a), 'a');
    cr_assert_eq(build_kept(a), 'a'); /* and was kept again */
    cr_assert_eq(build_kept(b), 'b');
    kept_job.api->clReleaseProgram(other);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
    cx_finish(&kept_cx);
    opencl_close(&kept_job);
}
