/* The C printer with dialect_c: what it prints is built with the system's compiler, run, and
 * compared with tile_run. */
#include <stdio.h>

#include "tile_programs.h"

#include "base/kernel_abi.h"
#include "codegen/c_print.h"
#include "jit/build_c.h"

/* Tests that make text of their own use this, too. */
static void run_c(Cx *cx, TestRun *run, int32_t *error)
{
    Text text;
    text_init(&text, cx->arena);
    cr_assert(c_print(cx, &text, run->prog, &dialect_c), "%s", cx->message);
    CModule *module = build_c(cx, text.data, run->prog->caps);
    cr_assert(module, "%s\n%s", cx->message, text.data);
    void *scratch = aligned_alloc(64, 1 << 20), *zeros = aligned_alloc(64, ABI_ZERO_PAGE);
    cr_assert(tile_scratch_bytes(run->prog) <= 1 << 20);
    memset(zeros, 0, ABI_ZERO_PAGE);
    KernelArgs args = {.buffers = run->got, .dims = run->c->dims, .zeros = zeros, .error = error};
    for (uint32_t g = 0; g < run->prog->grid_count; g++) {
        char name[80];
        snprintf(name, sizeof name, "%s_%u", run->prog->name, (unsigned)g);
        KernelEntry *entry = (KernelEntry *)(uintptr_t)build_c_find(module, name);
        cr_assert(entry);
        int64_t tasks = test_tasks(run, run->prog->grids[g]);
        entry(&args, tasks / 2, tasks, scratch); /* in any order */
        entry(&args, 0, tasks / 2, scratch);
    }
    free(scratch);
    free(zeros);
    build_c_free(module);
}

static void check(const TileCase *c)
{
    Cx cx;
    TestRun run;
    cx_init(&cx, NULL, 0);
    test_start(&cx, &run, c, target_host_cpu()->name);
    int32_t error = 0;
    run_c(&cx, &run, &error);
    test_compare(&run, "c");
    cr_assert_eq(error != 0, run.bad_index != 0);
    test_finish(&run);
    cx_finish(&cx);
}

Test(c_print, programs)
{
    for (int i = 0; i < TILE_CASES; i++)
        check(&tile_cases[i]);
}

Test(c_print, bad_index_is_reported)
{
    TileCase c = {.text = NULL};
    for (int i = 0; i < TILE_CASES; i++)
        if (strcmp(tile_cases[i].name, "gather") == 0)
            c = tile_cases[i];
    c.dims[0] = 20; /* indices reach 39 */
    Cx cx;
    TestRun run;
    cx_init(&cx, NULL, 0);
    test_start(&cx, &run, &c, target_host_cpu()->name);
    int32_t error = 0;
    run_c(&cx, &run, &error);
    cr_assert_neq(run.bad_index, 0);
    cr_assert_neq(error, 0);
    test_compare(&run, "c"); /* both clamp */
    test_finish(&run);
    cx_finish(&cx);
}

Test(c_print, unplaced_programs_are_refused_by_gpu_dialects)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    TileProg *prog = tile_parse(
        &cx, "t",
        "tile t sm_80 { out y f32 [4] grid (i 4) threads 32 { map (c 1) { %0 = const f32 1 "
        "store y[i + c] %0 } } }");
    cr_assert(prog, "%s", cx.message);
    Text text;
    text_init(&text, cx.arena);
    cr_assert_not(c_print(&cx, &text, prog, &dialect_cuda));
    cr_assert(strstr(cx.message, "not placed"));
    cx_finish(&cx);
}
