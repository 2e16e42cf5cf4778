/* Tile programs as text that a compiler takes: run as C, compiled as CUDA. OpenCL has its own
 * header, opencl_job.h. */
#ifndef QUERN_TESTS_DIALECT_RUN_H
#define QUERN_TESTS_DIALECT_RUN_H

#include <stdio.h>

#include "tile_programs.h"

#include "base/kernel_abi.h"
#include "codegen/c_print.h"
#include "jit/build_c.h"
#include "jit/build_nvrtc.h"
#include "passes/place_gpu.h"

/* Runs the first grid of the program with run->got as its buffers. */
static inline void run_c(Cx *cx, const TestRun *run, int64_t tasks)
{
    Text text;
    char name[100];
    int32_t error = 0;
    text_init(&text, cx->arena);
    cr_assert(c_print(cx, &text, run->prog, &dialect_c), "%s", cx->message);
    CModule *module = build_c(cx, text.data, run->prog->caps);
    cr_assert(module, "%s", cx->message);
    snprintf(name, sizeof name, "%s_0", run->prog->name);
    KernelEntry *entry = (KernelEntry *)(uintptr_t)build_c_find(module, name);
    cr_assert(entry);
    KernelArgs args = {.buffers = run->got, .dims = run->c->dims, .error = &error};
    entry(&args, 0, tasks, NULL);
    build_c_free(module);
}

/* False, with a warning, when there is no NVRTC. */
static inline bool has_nvrtc(void)
{
    const char *why = "";
    int major, minor;
    bool has = build_nvrtc_version(&major, &minor, &why);
    if (!has)
        cr_log_warn("skipped: %s", why);
    return has;
}

/* Places the program, which NVRTC compiles. */
static inline void compile_cuda(Cx *cx, TileProg *prog)
{
    Text text;
    NvrtcBuild built;
    cr_assert(prog && place_gpu(prog), "%s", cx->message);
    text_init(&text, cx->arena);
    cr_assert(c_print(cx, &text, prog, &dialect_cuda), "%s", cx->message);
    cr_assert(build_nvrtc(cx, text.data, prog->caps, &built), "%s\n%s", cx->message, text.data);
}

#endif
