/* GPU schedules change no result: for the small golden nests and random ones, the choice, every
 * candidate and random schedules are applied, placed and run in the simulator, for a target without
 * asynchronous copies, one with them, and plain OpenCL. Results are those of the nest interpreter
 * (bit for bit where arithmetic is exact); the simulator refuses races and what else a GPU would do
 * silently. A schedule that does not fit is refused as unsupported.
 *
 * QUERN_LONG=N multiplies the number of random nests and schedules by N. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/tile_sim.h"
#include "passes/place_gpu.h"
#include "tests/property/random_case.h"
#include "tests/unit/golden.h"

enum { SEEDS = 12, CANDIDATES = 64 };

typedef struct Try {
    const Case *c;
    const Caps *caps;
    Picked by;
    char wrong[1024]; /* out: empty, or what is wrong */
    char *program;    /* out: the placed program */
    SimReport report;
} Try;

typedef struct Tally {
    int applied, refused, failures;
    int64_t mma_warp_ops, async_bytes;
} Tally;

static void keep_program(Cx *cx, Try *t, const TileProg *prog)
{
    Text text;
    text_init(&text, cx->arena);
    tile_print(&text, prog);
    free(t->program);
    t->program = strdup(text.data);
}

static void run_set(Cx *cx, Try *t, const Nest *nest, const TileProg *prog, int number)
{
    const DataSet *set = &t->c->sets[number];
    Fence *fence = fence_new(t->c, set, nest, number % 2 == 0);
    cx_cleanup(cx, fence_free, fence);
    NestRun run = {.buffers = fence_buffers(fence), .dims = set->dims};
    if (!tile_sim(cx, prog, &run, &t->report))
        return;
    const char *wrong = fence_check(cx, fence, nest);
    if (!wrong && (run.bad_index != 0) != set->bad_index)
        wrong = "the error cell is wrong";
    if (wrong && !t->wrong[0])
        snprintf(t->wrong, sizeof t->wrong, "dims %d: %s", number, wrong);
}

static void try_body(Cx *cx, void *user)
{
    Try *t = user;
    Nest *nest = source_nest(cx, &t->c->source);
    Schedule schedule;
    Lowered lowered;
    if (!nest || !pick_schedule(cx, nest, t->caps, &t->by, &schedule))
        return;
    if (!schedule_apply(cx, nest, &schedule, t->caps, &lowered))
        return;
    if (lowered.pack_count || lowered.prog->buffer_count != nest->buffer_count)
        snprintf(t->wrong, sizeof t->wrong, "constants or scratch were added");
    keep_program(cx, t, lowered.prog);
    if (!place_gpu(lowered.prog) || !tile_verify(lowered.prog))
        return;
    keep_program(cx, t, lowered.prog);
    for (int s = 0; s < t->c->set_count && !cx_failed(cx) && !t->wrong[0]; s++)
        run_set(cx, t, nest, lowered.prog, s);
}

static void report(Tally *tally, const Try *t, const char *message)
{
    if (tally->failures++ < 1)
        fprintf(stderr, "%s\n%s\n", t->c->text, t->program ? t->program : "");
    if (tally->failures < 8)
        cr_expect_fail("%s, seed %llu, %s, '%s': %s", t->c->source.name,
                       (unsigned long long)t->c->source.seed, t->caps->name, t->by.text, message);
}

/* False when there are no more candidates. */
static bool try_schedule(Tally *tally, const Case *c, const Caps *caps, Pick pick, uint64_t number)
{
    Try t = {.c = c, .caps = caps, .by = {.pick = pick, .number = number}};
    Cx cx;
    cx_init(&cx, NULL, 0);
    Status status = cx_run(&cx, try_body, &t);
    bool refused = status == ST_unsupported || status == ST_limit;
    (refused ? &tally->refused : &tally->applied)[0]++;
    tally->mma_warp_ops += t.report.mma_warp_ops;
    tally->async_bytes += t.report.async_bytes;
    if (t.wrong[0])
        report(tally, &t, t.wrong);
    else if (status != ST_ok && (!refused || pick == PICK_choice))
        report(tally, &t, cx.message);
    cx_finish(&cx);
    free(t.program);
    return !t.by.ended;
}

static void try_all(Tally *tally, Source source, const char *target, uint64_t random, bool bad)
{
    const Caps *caps = target_find(target);
    Case *c = case_new(source, bad);
    cr_assert(!c->why, "%s, seed %llu: %s", source.name, (unsigned long long)source.seed, c->why);
    try_schedule(tally, c, caps, PICK_choice, 0);
    for (uint64_t k = 0; try_schedule(tally, c, caps, PICK_candidate, k); k++)
        cr_assert(k < CANDIDATES);
    for (uint64_t k = 0; k < random; k++)
        try_schedule(tally, c, caps, PICK_random, source.seed * 1000 + k);
    case_free(c);
}

static Tally check_golden(const char *target)
{
    Tally tally = {0};
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/nest/*_small.nest", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = golden_read(found.gl_pathv[i]);
        Source source = {strrchr(found.gl_pathv[i], '/') + 1, text, i, RN_count};
        try_all(&tally, source, target, effort() - 1, false);
        free(text);
    }
    globfree(&found);
    cr_expect(tally.applied > 2 * tally.refused, "%d schedules of %d were refused", tally.refused,
              tally.refused + tally.applied);
    return tally;
}

Test(gpu, golden_sm_75)
{
    Tally tally = check_golden("sm_75");
    cr_expect(tally.mma_warp_ops > 0, "no tensor cores");
    cr_expect(tally.async_bytes == 0);
}
Test(gpu, golden_sm_80)
{
    Tally tally = check_golden("sm_80");
    cr_expect(tally.mma_warp_ops > 0, "no tensor cores");
    cr_expect(tally.async_bytes > 0, "no asynchronous copies");
}
Test(gpu, golden_opencl)
{
    Tally tally = check_golden("opencl");
    cr_expect(tally.mma_warp_ops == 0);
}

static void check_kind(RandomKind kind)
{
    static const char *const targets[] = {"sm_80", "opencl", "sm_75"};
    Tally tally = {0};
    for (uint64_t seed = 0; seed < SEEDS * effort(); seed++) {
        Source source = {"random", NULL, seed, kind};
        try_all(&tally, source, targets[seed % 3], 2, kind == RN_gather && seed % 3 == 2);
    }
    cr_expect(tally.applied > 0);
}

Test(gpu, map)
{
    check_kind(RN_map);
}
Test(gpu, chain)
{
    check_kind(RN_chain);
}
Test(gpu, reduce)
{
    check_kind(RN_reduce);
}
Test(gpu, rowwise)
{
    check_kind(RN_rowwise);
}
Test(gpu, gemm)
{
    check_kind(RN_gemm);
}
Test(gpu, conv)
{
    check_kind(RN_conv);
}
Test(gpu, concat)
{
    check_kind(RN_concat);
}
Test(gpu, gather)
{
    check_kind(RN_gather);
}
Test(gpu, extent)
{
    check_kind(RN_extent);
}
