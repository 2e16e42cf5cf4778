/* Any legal schedule of a nest gives the nest's results.
 *
 * For every small golden nest and for random nests of every kind: the cost model's choice, every
 * candidate and random schedules are applied and run by the interpreter of tile programs and as
 * machine code for every level this CPU has, on one thread and on two. Results are those of the
 * nest interpreter (bit for bit where arithmetic is exact), equal between thread counts, and
 * nothing outside the buffers is touched. A schedule that does not fit is refused as unsupported.
 *
 * QUERN_LONG=N multiplies the number of random nests and schedules by N. A failure prints what
 * `quern kernel --check --schedule` needs to repeat it. */
#include <criterion/criterion.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jit/kernel.h"
#include "tests/property/random_case.h"
#include "tests/unit/golden.h"

enum { TILE_SEEDS = 50, LLVM_SEEDS = 6, CANDIDATES = 64 };

static const char *const levels[] = {"x86-64-v3", "x86-64-v4"};

/* ---- what runs now, for a crash */

static char now[256];

static void on_crash(int number, siginfo_t *info, void *context)
{
    char text[sizeof now + 80];
    (void)context;
    int length = snprintf(text, sizeof text, "signal %d at %p: %s\n", number, info->si_addr, now);
    ssize_t written = write(STDERR_FILENO, text, (size_t)length);
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_crashes(void)
{
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
    sigaction(SIGABRT, &action, NULL);
}

/* ---- one schedule */

typedef struct Try {
    const Case *c;
    const Caps *caps;
    Picked by;
    bool run_tile, run_code;
    const LlvmModule *llvm;
    const Executor *executors[2];
    char wrong[1400]; /* out: empty, or what is wrong */
} Try;

static bool find_schedule(Cx *cx, const Nest *nest, Try *t, Schedule *schedule)
{
    if (!pick_schedule(cx, nest, t->caps, &t->by, schedule))
        return false;
    snprintf(now, sizeof now, "%s, seed %llu, %s, %s", t->c->source.name,
             (unsigned long long)t->c->source.seed, t->caps->name, t->by.text);
    return true;
}

static void note(Try *t, const char *who, int set, const char *what)
{
    if (what && !t->wrong[0])
        snprintf(t->wrong, sizeof t->wrong, "%s, dims %d: %s", who, set, what);
}

static void run_tile_program(Cx *cx, Nest *nest, Try *t, const Schedule *schedule)
{
    Lowered lowered;
    if (!schedule_apply(cx, nest, schedule, t->caps, &lowered))
        return;
    for (int s = 0; s < t->c->set_count && !cx_failed(cx); s++) {
        const DataSet *set = &t->c->sets[s];
        Fence *fence = fence_new(t->c, set, nest, true);
        cx_cleanup(cx, fence_free, fence);
        void **buffers = NEW_ARRAY(cx->arena, void *, lowered.prog->buffer_count);
        memcpy(buffers, fence_buffers(fence), nest->buffer_count * sizeof *buffers);
        if (!bind_lowered(cx, nest, &lowered, set->dims, buffers))
            return;
        NestRun run = {.buffers = buffers, .dims = set->dims};
        if (!tile_run(cx, lowered.prog, &run))
            return;
        note(t, "tile program", s, fence_check(cx, fence, nest));
        if ((run.bad_index != 0) != set->bad_index)
            note(t, "tile program", s, "the error cell is wrong");
    }
}

static void run_machine_code(Cx *cx, Nest *nest, Try *t, const Schedule *schedule)
{
    Kernel *kernel = kernel_compile(cx, nest, schedule, t->caps, t->llvm);
    for (int s = 0; kernel && s < t->c->set_count && !cx_failed(cx); s++) {
        const DataSet *set = &t->c->sets[s];
        Fence *fences[2];
        for (int e = 0; e < 2; e++) {
            fences[e] = fence_new(t->c, set, nest, (t->by.number + (uint64_t)s) % 3 != 2);
            cx_cleanup(cx, fence_free, fences[e]);
            if (!kernel_bind(cx, kernel, fence_buffers(fences[e]), set->dims, t->executors[e]))
                return;
            bool bad = kernel_run(kernel) != 0;
            note(t, e ? "two threads" : "one thread", s, fence_check(cx, fences[e], nest));
            if (bad != set->bad_index)
                note(t, "machine code", s, "the error cell is wrong");
        }
        if (!fence_same(fences[0], fences[1]))
            note(t, "machine code", s, "bits depend on the number of threads");
    }
}

static void try_body(Cx *cx, void *user)
{
    Try *t = user;
    Nest *nest = source_nest(cx, &t->c->source);
    Schedule schedule;
    if (!nest || !find_schedule(cx, nest, t, &schedule))
        return;
    if (t->run_tile)
        run_tile_program(cx, nest, t, &schedule);
    if (t->run_code && !cx_failed(cx) && !t->wrong[0])
        run_machine_code(cx, nest, t, &schedule);
}

/* ---- all schedules of a nest */

typedef struct Runner {
    Cx cx;
    LlvmModule llvm;
    Pool *pool;
    Executor pooled;
    bool code;            /* run machine code too */
    uint64_t random;      /* random schedules per nest */
    int applied, refused; /* random schedules */
    int cases, failures;
    const Caps *caps[2];
    int caps_count;
} Runner;

static void open_llvm(Cx *cx, void *user)
{
    Runner *r = user;
    llvm_module_open(cx, &r->llvm, NULL);
}

static void runner_open(Runner *r, bool code, uint64_t random)
{
    *r = (Runner){.code = code, .random = random};
    watch_crashes();
    const Caps *host = target_host_cpu();
    cr_assert(host, "no x86-64-v3");
    cx_init(&r->cx, NULL, 0);
    for (int i = 0; i < 2; i++) {
        const Caps *caps = target_find(levels[i]);
        if (!code || host->vector_bits >= caps->vector_bits)
            r->caps[r->caps_count++] = caps;
    }
    if (!code)
        return;
    cr_assert(cx_run(&r->cx, open_llvm, r) == ST_ok, "%s", r->cx.message);
    r->pool = pool_create(NULL, 2);
    cr_assert(r->pool);
    r->pooled = pool_executor(r->pool);
}

static void runner_close(Runner *r)
{
    pool_destroy(r->pool);
    if (r->code)
        llvm_module_close(&r->llvm);
    cx_finish(&r->cx);
    cr_expect(r->cases > 0);
    cr_expect(!r->random || r->applied > r->cases / 4, "%d of %d random schedules were applied",
              r->applied, r->applied + r->refused);
}

static void report(Runner *r, const Case *c, const Try *t, const char *message)
{
    if (r->failures++ < 3)
        fprintf(stderr, "%s\n", c->text);
    cr_expect_fail("%s, seed %llu, %s, '%s': %s", c->source.name,
                   (unsigned long long)c->source.seed, t->caps->name, t->by.text, message);
}

/* False when there are no more candidates. */
static bool try_schedule(Runner *r, const Case *c, const Caps *caps, Pick pick, uint64_t number)
{
    Try t = {.c = c,
             .caps = caps,
             .by = {.pick = pick, .number = number},
             .run_tile = true,
             .run_code = r->code,
             .llvm = &r->llvm,
             .executors = {&executor_inline, &r->pooled}};
    Cx cx;
    cx_init(&cx, NULL, 0);
    Status status = cx_run(&cx, try_body, &t);
    if (pick == PICK_random)
        (status == ST_unsupported ? &r->refused : &r->applied)[0]++;
    if (t.wrong[0])
        report(r, c, &t, t.wrong);
    else if (status != ST_ok && (status != ST_unsupported || pick == PICK_choice))
        report(r, c, &t, cx.message);
    cx_finish(&cx);
    return !t.by.ended;
}

static void try_all(Runner *r, Source source, bool bad)
{
    Case *c = case_new(source, bad);
    snprintf(now, sizeof now, "%s, seed %llu", source.name, (unsigned long long)source.seed);
    cr_assert(!c->why, "%s, seed %llu: %s", source.name, (unsigned long long)source.seed, c->why);
    r->cases++;
    for (int i = 0; i < r->caps_count; i++) {
        try_schedule(r, c, r->caps[i], PICK_choice, 0);
        for (uint64_t k = 0; try_schedule(r, c, r->caps[i], PICK_candidate, k); k++)
            cr_assert(k < CANDIDATES);
        for (uint64_t k = 0; k < r->random; k++)
            try_schedule(r, c, r->caps[i], PICK_random, source.seed * 1000 + k);
    }
    case_free(c);
}

/* ---- golden nests */

/* Every second file, from `first` on: two tests share the work. */
static void check_golden(size_t first)
{
    Runner r;
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/nest/*_small.nest", 0, NULL, &found) == 0);
    runner_open(&r, true, effort());
    for (size_t i = first; i < found.gl_pathc; i += 2) {
        char *text = golden_read(found.gl_pathv[i]);
        try_all(&r, (Source){strrchr(found.gl_pathv[i], '/') + 1, text, i, RN_count}, false);
        free(text);
    }
    globfree(&found);
    runner_close(&r);
}

Test(schedule, golden_even)
{
    check_golden(0);
}
Test(schedule, golden_odd)
{
    check_golden(1);
}

/* ---- random nests */

static const char *const kind_names[RN_count] = {"map",  "chain",  "reduce", "rowwise", "gemm",
                                                 "conv", "concat", "gather", "extent"};

static void check_kind(RandomKind kind)
{
    Runner tile, code;
    runner_open(&tile, false, 4);
    for (uint64_t seed = 0; seed < TILE_SEEDS * effort(); seed++)
        try_all(&tile, (Source){kind_names[kind], NULL, seed, kind},
                kind == RN_gather && seed % 3 == 2);
    runner_close(&tile);
    runner_open(&code, true, 2);
    for (uint64_t seed = 0; seed < LLVM_SEEDS * effort(); seed++)
        try_all(&code, (Source){kind_names[kind], NULL, seed, kind},
                kind == RN_gather && seed % 3 == 2);
    runner_close(&code);
}

Test(schedule, map)
{
    check_kind(RN_map);
}
Test(schedule, chain)
{
    check_kind(RN_chain);
}
Test(schedule, reduce)
{
    check_kind(RN_reduce);
}
Test(schedule, rowwise)
{
    check_kind(RN_rowwise);
}
Test(schedule, gemm)
{
    check_kind(RN_gemm);
}
Test(schedule, conv)
{
    check_kind(RN_conv);
}
Test(schedule, concat)
{
    check_kind(RN_concat);
}
Test(schedule, gather)
{
    check_kind(RN_gather);
}
Test(schedule, extent)
{
    check_kind(RN_extent);
}
