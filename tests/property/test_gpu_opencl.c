/* GPU schedules as OpenCL, executed: small golden nests and random contractions, scheduled and
 * placed for the target `opencl`, printed, built and run by the first OpenCL device (PoCL on a CPU
 * is enough: barriers and shared memory are real there). Results are those of the nest interpreter.
 * Skipped with its reason when there is no device. */
#include "tests/unit/opencl_job.h"

#include "passes/place_gpu.h"
#include "tests/property/random_case.h"
#include "tests/unit/golden.h"

typedef struct Try {
    const Case *c;
    OpenclJob *job;
    int candidate; /* -1: the choice */
    const char *wrong;
    char text[1200];
} Try;

static void run_set(Cx *cx, Try *t, Nest *nest, TileProg *prog, int number)
{
    const DataSet *set = &t->c->sets[number];
    Fence *fence = fence_new(t->c, set, nest, true);
    cx_cleanup(cx, fence_free, fence);
    TileCase dims = {.name = prog->name};
    TestRun run = {.prog = prog, .c = &dims};
    cr_assert(nest->dim_count <= 4 && nest->buffer_count <= MAX_TEST_BUFFERS);
    memcpy(dims.dims, set->dims, nest->dim_count * sizeof *set->dims);
    for (uint32_t b = 0; b < nest->buffer_count; b++) {
        run.got[b] = fence_buffers(fence)[b];
        run.bytes[b] = set->bytes[b];
    }
    int32_t error = 0;
    run_opencl(t->job, cx, &run, &error);
    const char *wrong = fence_check(cx, fence, nest);
    if (wrong)
        snprintf(t->text + strlen(t->text), sizeof t->text - strlen(t->text), ", dims %d: %s",
                 number, wrong);
    t->wrong = wrong ? t->text : t->wrong;
    cr_expect_eq(error, 0);
}

static void try_body(Cx *cx, void *user)
{
    Try *t = user;
    const Caps *caps = target_find("opencl");
    Nest *nest = source_nest(cx, &t->c->source);
    Schedule schedule;
    Lowered lowered;
    if (!nest)
        return;
    if (t->candidate < 0)
        schedule = schedule_choose(cx, nest, caps);
    else
        cr_assert(schedule_candidate(nest, caps, t->candidate, &schedule));
    Text text;
    text_init(&text, cx->arena);
    schedule_print(&text, &schedule);
    snprintf(t->text, sizeof t->text, "%s", text.data);
    if (!schedule_apply(cx, nest, &schedule, caps, &lowered) || !place_gpu(lowered.prog) ||
        !tile_verify(lowered.prog))
        return;
    for (int s = 0; s < t->c->set_count && !t->wrong; s++)
        run_set(cx, t, nest, lowered.prog, s);
}

static void try_one(OpenclJob *job, const Case *c, int candidate)
{
    Try t = {.c = c, .job = job, .candidate = candidate};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, try_body, &t);
    cr_expect(cx.status == ST_ok, "%s, '%s': %s", c->source.name, t.text,
              cx.message ? cx.message : "?");
    cr_expect(!t.wrong, "%s, '%s'", c->source.name, t.text);
    cx_finish(&cx);
}

Test(gpu_opencl, golden)
{
    static const char *const names[] = {
        "gemm_f16_small",   "gemm_sym_small",     "conv3x3s2_small",      "depthwise3x3_small",
        "layernorm_small",  "softmax_last_small", "softmax_middle_small", "sum_all_small",
        "transpose7_small", "argmax_small",       "gather_small",         "causal_extent_small"};
    OpenclJob job;
    if (!opencl_open(&job))
        cr_skip_test("no OpenCL device");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[100];
        snprintf(file, sizeof file, "nest/%s.nest", names[i]);
        char *text = golden_named(file);
        Case *c = case_new((Source){names[i], text, i, RN_count}, false);
        cr_assert(!c->why, "%s: %s", names[i], c->why);
        try_one(&job, c, -1);
        case_free(c);
        free(text);
    }
    opencl_close(&job);
}

Test(gpu_opencl, contractions)
{
    OpenclJob job;
    if (!opencl_open(&job))
        cr_skip_test("no OpenCL device");
    for (uint64_t seed = 0; seed < 4; seed++) {
        Case *c = case_new((Source){"random", NULL, seed, seed % 2 ? RN_conv : RN_gemm}, false);
        cr_assert(!c->why, "seed %d: %s", (int)seed, c->why);
        try_one(&job, c, (int)seed % 3);
        case_free(c);
    }
    opencl_close(&job);
}
