/* The simulator on placed programs written out by hand: right ones give the numbers plain C gives,
 * wrong ones are caught with the fault named. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/tile_sim.h"

/* ---- running a text */

typedef struct Job {
    const char *text;
    void *buffers[4];
    int64_t dims[2];
    SimReport report;
    int64_t bad_index;
    char message[1024];
    bool ok, unverified;
} Job;

static void job_body(Cx *cx, void *user)
{
    Job *job = user;
    TileProg *prog = tile_parse(cx, "test", job->text);
    if (cx_failed(cx) || (!job->unverified && !tile_verify(prog)))
        return;
    NestRun run = {.buffers = job->buffers, .dims = job->dims};
    job->ok = tile_sim(cx, prog, &run, &job->report);
    if (job->report.worst_op)
        job->report.worst_op = strdup(job->report.worst_op);
    job->bad_index = run.bad_index;
}

static void job_run(Job *job)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, job_body, job);
    snprintf(job->message, sizeof job->message, "%s", cx.message ? cx.message : "");
    cr_expect_eq(job->ok, !cx_failed(&cx));
    cx_finish(&cx);
}

static void expect_right(Job *job)
{
    job_run(job);
    cr_assert(job->ok, "%s", job->message);
}

static void expect_fault(Job *job, const char *words)
{
    job_run(job);
    cr_assert(!job->ok, "the fault was not caught");
    cr_assert(strstr(job->message, words), "wanted '%s' in: %s", words, job->message);
}

/* ---- maps */

static float small_value(int i)
{
    return (float)((i * 7 + 3) % 17 - 8);
}

Test(sim, blocked_map_with_tail)
{
    static float x[200], y[208];
    for (int i = 0; i < 200; i++)
        x[i] = small_value(i);
    memset(y, 0, sizeof y);
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  dim N 1..1000\n"
                       "  in x f32 [N]\n"
                       "  out y f32 [N]\n"
                       "  grid (b (N + 63) floordiv 64) threads 32 {\n"
                       "    tile r f32 [64] register lanes(0:32:2) regs(0:2:1)\n"
                       "    map (i 64) bound i N - 64*b { %0 = load x[64*b + i] store r[i] %0 }\n"
                       "    map (i 64) bound i N - 64*b {\n"
                       "      %0 = tile r[i] %1 = add f32 %0, %0 store y[64*b + i] %1 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y},
               .dims = {200}};
    expect_right(&job);
    for (int i = 0; i < 208; i++)
        cr_assert_eq(y[i], i < 200 ? 2 * x[i] : 0, "%d", i);
    cr_expect_eq(job.report.blocks, 4);
    cr_expect_eq(job.report.global_minimum, 50, "%lld", (long long)job.report.global_minimum);
    cr_expect_eq(job.report.global_sectors, 50, "8-byte accesses touch each sector once");
}

Test(sim, strided_access_wastes_sectors)
{
    static float x[32 * 32], y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [32, 32] out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    map (i 32) { %0 = load x[i, 3] store y[i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y}};
    expect_right(&job);
    cr_expect_eq(job.report.global_accesses, 2);
    cr_expect_eq(job.report.global_sectors, 32 + 4);
    cr_expect_eq(job.report.global_minimum, 4 + 4);
}

Test(sim, registers_of_other_threads_cannot_be_read)
{
    static float x[64], y[64];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [64] out y f32 [64]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile r f32 [64] register lanes(0:32:2) regs(0:2:1)\n"
                       "    map (i 64) { %0 = load x[i] store r[i] %0 }\n"
                       "    map (i 64) by lanes(0:32:1) regs(0:2:32) {\n"
                       "      %0 = tile r[i] store y[i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y}};
    expect_fault(&job, "no thread holds every register element");
}

Test(sim, replicas_must_all_be_written)
{
    static float x[16], y[16];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [16] out y f32 [16]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile r f32 [16] register lanes(0:16:1, -1:2:0) regs()\n"
                       "    map (i 16) by lanes(0:16:1, 0:2:16) regs() {\n"
                       "      %0 = load x[i] store r[i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y}};
    expect_fault(&job, "would not reach all replicas");
}

Test(sim, divergent_replicas_are_caught)
{
    static float x[16], y[16];
    x[0] = 1;
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [16] out y f32 [16]\n"
                       "  grid (b 1) threads 32 as t {\n"
                       "    tile r f32 [16] register lanes(0:16:1, -1:2:0) regs()\n"
                       "    map (i 16) { %0 = const f32 0 store r[i] %0 }\n"
                       "    if 0 <= t < 16 { map (i 16) { %0 = load x[i] store r[i] %0 } }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y}};
    expect_fault(&job, "replicas of element 0 of tile 'r' differ between threads 0 and 16");
}

Test(sim, unwritten_registers_do_not_reach_memory)
{
    static float y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  dim N 1..32\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile r f32 [32] register lanes(0:32:1) regs()\n"
                       "    map (i 32) bound i N { %0 = const f32 3 store r[i] %0 }\n"
                       "    map (i 32) { %0 = tile r[i] %1 = add f32 %0, %0 store y[i] %1 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y},
               .dims = {32}};
    expect_right(&job);
    cr_expect_eq(y[31], 6);
    job.dims[0] = 31;
    expect_fault(&job, "y[31] is given a value computed from registers never written");
}

Test(sim, blocks_must_not_share_outputs)
{
    static float y[40];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  out y f32 [40]\n"
                       "  grid (b 2) threads 32 {\n"
                       "    map (i 32) { %0 = const f32 3 store y[8*b + i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y}};
    expect_fault(&job, "race: y[8] is written, but was written by thread 8 of another block");
}

/* ---- shared memory */

#define TRANSPOSE(tile_attributes, barrier)                                                        \
    "tile transpose sm_80 placed {\n"                                                              \
    "  in x f32 [64, 32]\n"                                                                        \
    "  out y f32 [32, 64]\n"                                                                       \
    "  grid (b 2) threads 128 {\n"                                                                 \
    "    tile s f32 [32, 32] shared " tile_attributes "\n"                                         \
    "    copy (i 32, j 32) by lanes(1:32:1, 0:4:1) regs(0:8:4) {\n"                                \
    "      %0 = load x[32*b + i, j] store s[i, j] %0 }\n"                                          \
    "    " barrier "\n"                                                                            \
    "    map (j 32, i 32) by lanes(1:32:1, 0:4:1) regs(0:8:4) {\n"                                 \
    "      %0 = load s[i, j] store y[j, 32*b + i] %0 }\n"                                          \
    "  }\n"                                                                                        \
    "}\n"

static void transpose(Job *job, const char *text)
{
    static float x[64 * 32], y[32 * 64];
    for (int i = 0; i < 64 * 32; i++)
        x[i] = (float)i;
    memset(y, 0, sizeof y);
    *job = (Job){.text = text, .buffers = {x, y}};
    job_run(job);
    for (int i = 0; job->ok && i < 64; i++)
        for (int j = 0; j < 32; j++)
            cr_assert_eq(y[j * 64 + i], x[i * 32 + j], "%d %d", i, j);
}

Test(sim, transposition_shows_bank_conflicts)
{
    Job job;
    transpose(&job, TRANSPOSE("", "barrier"));
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.shared_accesses, 2 * 64);
    cr_expect_eq(job.report.shared_extra, 2 * 32 * 31);
    cr_expect_eq(job.report.barriers, 2);
    cr_assert_not_null(job.report.worst_op);
    cr_expect(strstr(job.report.worst_op, "load s[i, j]"), "%s", job.report.worst_op);

    transpose(&job, TRANSPOSE("pad 1", "barrier"));
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.shared_accesses, 2 * 64);
    cr_expect_eq(job.report.shared_extra, 0);
    cr_expect_eq(job.report.global_sectors, job.report.global_minimum);

    transpose(&job, TRANSPOSE("swizzle 128", "barrier"));
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.shared_extra, 2 * 32 * 3, "8 chunks for 32 rows: 4 rows a bank");
}

Test(sim, missing_barrier_is_a_race)
{
    Job job;
    transpose(&job, TRANSPOSE("pad 1", ""));
    cr_assert(!job.ok);
    cr_assert(strstr(job.message, "race: s[4, 0] is read, but was written by thread 0") ||
                  strstr(job.message, "race: s["),
              "%s", job.message);
    cr_assert(strstr(job.message, "with no barrier between"), "%s", job.message);
    cr_assert(strstr(job.message, "load s[i, j]"), "%s", job.message);
}

Test(sim, overwriting_what_others_may_still_read_is_a_race)
{
    static float y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile s f32 [32] shared\n"
                       "    for k 0..2 {\n"
                       "      map (i 32) { %0 = index f32 i + k store s[i] %0 }\n"
                       "      barrier\n"
                       "      map (i 32) { %0 = load s[31 - i] store y[i] %0 }\n"
                       "    }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y}};
    expect_fault(&job, "race: s[0] is written, but was read by thread 31");
}

Test(sim, unwritten_shared_memory_is_not_read)
{
    static float y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile s f32 [2, 16] shared\n"
                       "    map (i 16) { %0 = index f32 i store s[0, i] %0 }\n"
                       "    barrier\n"
                       "    map (i 32) { %0 = load s[i floordiv 16, i mod 16] store y[i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y}};
    expect_fault(&job, "thread 16: s[1, 0] is read but was never written");
}

Test(sim, bounds_are_checked)
{
    static float y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile s f32 [4, 8] shared\n"
                       "    map (i 4, j 8) { %0 = index f32 j store s[i, j + b + 1] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y},
               .unverified = true};
    expect_fault(&job, "s[0, 8] is out of bounds");
    job.text = "tile f sm_80 placed {\n"
               "  out y f32 [32]\n"
               "  grid (b 1) threads 32 {\n"
               "    tile s f32 [65536] shared\n"
               "    barrier\n"
               "  }\n"
               "}\n";
    expect_fault(&job, "bytes of shared memory, the target has");
}

Test(sim, a_barrier_some_threads_miss_is_a_deadlock)
{
    static float y[32];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 64 as t {\n"
                       "    if 0 <= t < 32 { barrier }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y}};
    expect_fault(&job, "deadlock: only 32 of 64 threads reach the barrier");
    job.text = "tile f sm_80 placed {\n"
               "  out y f32 [32]\n"
               "  grid (b 1) threads 64 as t {\n"
               "    if 0 <= b < 1 { barrier }\n"
               "    if 0 <= t < 64 { barrier }\n"
               "  }\n"
               "}\n";
    expect_right(&job);
    cr_expect_eq(job.report.barriers, 2);
}

/* ---- asynchronous copies */

#define ASYNC(vec, between, fill)                                                                  \
    "tile f sm_80 placed {\n"                                                                      \
    "  dim N 1..256\n"                                                                             \
    "  in x f16 [256] out y f16 [256]\n"                                                           \
    "  grid (b 1) threads 32 {\n"                                                                  \
    "    tile s f16 [256] shared\n"                                                                \
    "    copy async (i 256) bound i N by " vec fill " { %0 = load x[i] store s[i] %0 }\n"          \
    "    " between "\n"                                                                            \
    "    map (i 256) { %0 = load s[255 - i] store y[i] %0 }\n"                                     \
    "  }\n"                                                                                        \
    "}\n"
#define VEC8 "lanes(0:32:8) regs(0:8:1)"

static void run_async(Job *job, const char *text)
{
    static uint16_t x[256], y[256];
    for (int i = 0; i < 256; i++)
        x[i] = (uint16_t)(0x3c00 + i);
    *job = (Job){.text = text, .buffers = {x, y}, .dims = {256}};
    job_run(job);
    for (int i = 0; job->ok && i < 256; i++)
        cr_assert_eq(y[i], x[255 - i]);
}

Test(sim, async_copy_lands_after_wait_and_barrier)
{
    Job job;
    run_async(&job, ASYNC(VEC8, "commit wait 0 barrier", ""));
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.async_bytes, 512);
    run_async(&job, ASYNC(VEC8, "commit barrier", ""));
    cr_assert(strstr(job.message, "is the destination of a cp.async of thread"), "%s", job.message);
    run_async(&job, ASYNC(VEC8, "commit wait 1 barrier", ""));
    cr_assert(strstr(job.message, "not waited for"), "%s", job.message);
    run_async(&job, ASYNC(VEC8, "wait 0 barrier commit", ""));
    cr_assert(strstr(job.message, "not waited for"), "%s", job.message);
    run_async(&job, ASYNC(VEC8, "commit wait 0", ""));
    cr_assert(strstr(job.message, "race: s["), "%s", job.message);
}

Test(sim, async_copy_needs_whole_words)
{
    Job job;
    run_async(&job, ASYNC("lanes(0:32:1) regs(0:8:32)", "commit wait 0 barrier", ""));
    cr_assert(strstr(job.message, "do not make up 4, 8 or 16 aligned bytes"), "%s", job.message);
}

Test(sim, async_copy_fills_with_zero_only)
{
    static uint16_t x[256], y[256];
    for (int i = 0; i < 256; i++)
        x[i] = (uint16_t)(0x3c00 + i);
    Job job = {.text = ASYNC(VEC8, "commit wait 0 barrier", ""), .buffers = {x, y}, .dims = {99}};
    expect_right(&job);
    for (int i = 0; i < 256; i++)
        cr_assert_eq(y[255 - i], i < 99 ? x[i] : 0, "%d", i);
    job.text = ASYNC(VEC8, "commit wait 0 barrier", " fill 1");
    expect_fault(&job, "cp.async can only fill with 0");
}

/* A ring: block k is copied two steps ahead of its use. `back` is the barrier that ends a use. */
#define RING(slots, depth, open, back)                                                             \
    "tile f sm_80 placed {\n"                                                                      \
    "  in x f32 [12, 128] out y f32 [128]\n"                                                       \
    "  grid (b 1) threads 32 {\n"                                                                  \
    "    tile s f32 [128] shared slots " slots "\n"                                                \
    "    tile r f32 [128] register lanes(0:32:1) regs(0:4:32)\n"                                   \
    "    map (i 128) { %0 = const f32 0 store r[i] %0 }\n"                                         \
    "    for p 0..2 {\n"                                                                           \
    "      copy async (i 128) by lanes(0:32:4) regs(0:4:1) slot p mod " depth " {\n"               \
    "        %0 = load x[p, i] store s[i] %0 }\n"                                                  \
    "      commit\n"                                                                               \
    "    }\n"                                                                                      \
    "    for k 0..12 {\n"                                                                          \
    "      wait " open "\n"                                                                        \
    "      barrier\n"                                                                              \
    "      if 0 <= k < 10 {\n"                                                                     \
    "        copy async (i 128) by lanes(0:32:4) regs(0:4:1) slot (k + 2) mod " depth " {\n"       \
    "          %0 = load x[k + 2, i] store s[i] %0 }\n"                                            \
    "      }\n"                                                                                    \
    "      commit\n"                                                                               \
    "      map (i 128) slot k mod " depth " {\n"                                                   \
    "        %0 = tile r[i] %1 = load s[i] %2 = add f32 %0, %1 store r[i] %2 }\n"                  \
    "    }\n"                                                                                      \
    "    map (i 128) { %0 = tile r[i] store y[i] %0 }\n"                                           \
    "  }\n"                                                                                        \
    "}\n"

static void run_ring(Job *job, const char *text)
{
    static float x[12 * 128], y[128];
    for (int i = 0; i < 12 * 128; i++)
        x[i] = small_value(i);
    *job = (Job){.text = text, .buffers = {x, y}};
    job_run(job);
    for (int i = 0; job->ok && i < 128; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++)
            sum += x[k * 128 + i];
        cr_assert_eq(y[i], sum);
    }
}

Test(sim, ring_of_three_slots)
{
    Job job;
    run_ring(&job, RING("3", "3", "1", ""));
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.async_bytes, 12 * 512);
}

Test(sim, ring_with_one_slot_too_few)
{
    Job job;
    run_ring(&job, RING("2", "2", "1", ""));
    cr_assert(!job.ok);
    cr_assert(strstr(job.message, "not waited for"), "%s", job.message);
    run_ring(&job, RING("2", "3", "1", ""));
    cr_assert(strstr(job.message, "slot 2 of tile 's', which has 2"), "%s", job.message);
    run_ring(&job, RING("3", "3", "2", ""));
    cr_assert(strstr(job.message, "not waited for"), "%s", job.message);
}

/* ---- mma */

/* 64 x 32 by 32, k in steps of 16; 4 warps as 2 x 2, each 32 x 16: C fragments with registers
 * (1:2:1, 0:2:8, 1:2:8, 0:2:16). */
#define MMA(target, half, c_layout, b_load, attributes)                                            \
    "tile gemm " target " placed {\n"                                                              \
    "  in A " half " [64, 32]\n"                                                                   \
    "  in B " half " [32, 32]\n"                                                                   \
    "  out Y f32 [64, 32]\n"                                                                       \
    "  grid (b 1) threads 128 {\n"                                                                 \
    "    tile sa " half " [64, 16] shared " attributes "\n"                                        \
    "    tile sb " half " [16, 32] shared " attributes "\n"                                        \
    "    tile acc f32 [64, 32] register " c_layout "\n"                                            \
    "    map (i 64, j 32) { %0 = const f32 0 store acc[i, j] %0 }\n"                               \
    "    for k 0..32 step 16 {\n"                                                                  \
    "      copy (i 64, r 16) by lanes(1:2:8, 0:64:1) regs(1:8:1) {\n"                              \
    "        %0 = load A[i, k + r] store sa[i, r] %0 }\n"                                          \
    "      copy (r 16, j 32) by lanes(1:8:4, 0:16:1) regs(1:4:1) {\n"                              \
    "        %0 = load B[k + r, j] store sb[r, j] %0 }\n"                                          \
    "      barrier\n"                                                                              \
    "      mma acc (i 64, j 32, r 16) { a %0 = load sa[i, r] b %1 = load sb" b_load " }\n"         \
    "      barrier\n"                                                                              \
    "    }\n"                                                                                      \
    "    map (i 64, j 32) { %0 = tile acc[i, j] store Y[i, j] %0 }\n"                              \
    "  }\n"                                                                                        \
    "}\n"
#define C_FRAGMENT "lanes(1:4:2, 0:8:1, 1:2:16, 0:2:32) regs(1:2:1, 0:2:8, 1:2:8, 0:2:16)"
#define C_BLOCKED "lanes(1:8:4, 0:16:4) regs(1:4:1, 0:4:1)"

static void run_mma(Job *job, const char *text, Dtype dtype)
{
    static char a[64 * 32 * 4], b[32 * 32 * 4];
    static float y[64 * 32];
    for (int i = 0; i < 64 * 32; i++)
        dtype_store(dtype, a, i, (Scalar){.f = (double)sinf((float)i)});
    for (int i = 0; i < 32 * 32; i++)
        dtype_store(dtype, b, i, (Scalar){.f = (double)cosf((float)i * 3)});
    *job = (Job){.text = text, .buffers = {a, b, y}};
    job_run(job);
    for (int i = 0; job->ok && i < 64; i++)
        for (int j = 0; j < 32; j++) {
            float sum = 0;
            for (int r = 0; r < 32; r++)
                sum = fmaf((float)dtype_load(dtype, a, i * 32 + r).f,
                           (float)dtype_load(dtype, b, r * 32 + j).f, sum);
            cr_assert_eq(y[i * 32 + j], sum, "%d %d: %g %g", i, j, (double)y[i * 32 + j],
                         (double)sum);
        }
}

Test(sim, mma_fragments)
{
    Job job;
    run_mma(&job, MMA("sm_80", "f16", C_FRAGMENT, "[r, j]", ""), DT_f16);
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.mma_warp_ops, 64 / 16 * 32 / 8 * 32 / 8);
    cr_expect_eq(job.report.fma_ops, 0);
    /* ldmatrix, 8 rows each: 64 of A, rows 32 bytes apart (2 a bank); 32 of B, 64 bytes apart (4 a
     * bank). */
    cr_expect_eq(job.report.shared_extra, 64 * 1 + 32 * 3);
    cr_expect(strstr(job.report.worst_op, "mma acc"), "%s", job.report.worst_op);
    run_mma(&job, MMA("sm_80", "bf16", C_FRAGMENT, "[r, j]", "pad 8"), DT_bf16);
    cr_assert(job.ok, "%s", job.message);
    /* Rows 48 and 80 bytes apart: ldmatrix is free of conflicts, what is left is the copies'
     * stores. */
    cr_expect_eq(job.report.shared_extra, 32 + 16);
    cr_expect(strstr(job.report.worst_op, "store sa"), "%s", job.report.worst_op);
    /* Fragments of floats, or of half where the target has no tensor cores, are FMAs. */
    run_mma(&job, MMA("sm_80", "f32", C_FRAGMENT, "[r, j]", ""), DT_f32);
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.mma_warp_ops, 0);
    cr_expect_eq(job.report.fma_ops, 64 * 32 * 32);
}

Test(sim, mma_by_threads)
{
    Job job;
    run_mma(&job, MMA("opencl", "f32", C_BLOCKED, "[r, j]", ""), DT_f32);
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.fma_ops, 64 * 32 * 32);
    run_mma(&job, MMA("opencl", "f16", C_BLOCKED, "[r, j]", "swizzle 32"), DT_f16);
    cr_assert(job.ok, "%s", job.message);
}

Test(sim, mma_rows_over_the_bound_are_garbage)
{
    static float y[32 * 8];
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  dim N 1..32\n"
                       "  out y f32 [32, 8]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile acc f32 [32, 8] register lanes(1:8:1, 0:4:8) regs(0:8:1)\n"
                       "    map (i 32, j 8) { %0 = const f32 1 store acc[i, j] %0 }\n"
                       "    mma acc (i 32, j 8, r 4) bound i 30 bound r 3 {\n"
                       "      a %0 = index f32 i + r b %1 = index f32 r - j }\n"
                       "    map (i 32, j 8) bound i N { %0 = tile acc[i, j] store y[i, j] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {y},
               .dims = {30}};
    expect_right(&job);
    for (int i = 0; i < 30; i++)
        for (int j = 0; j < 8; j++) {
            float sum = 1;
            for (int r = 0; r < 3; r++)
                sum += (float)((i + r) * (r - j));
            cr_assert_eq(y[i * 8 + j], sum);
        }
    job.dims[0] = 31;
    expect_fault(&job, "y[30, 0] is given a value computed from registers never written");
}

/* The result of one mma feeds the next as its A operand, through registers laid out as A fragments.
 */
#define CHAIN(p_layout)                                                                            \
    "tile chain sm_80 placed {\n"                                                                  \
    "  in x f16 [16, 16] in v f16 [16, 8] out y f32 [16, 8]\n"                                     \
    "  grid (b 1) threads 32 {\n"                                                                  \
    "    tile p f16 [16, 16] register " p_layout "\n"                                              \
    "    tile acc f32 [16, 8] register lanes(1:4:2, 0:8:1) regs(1:2:1, 0:2:8)\n"                   \
    "    map (i 16, r 16) { %0 = load x[i, r] store p[i, r] %0 }\n"                                \
    "    map (i 16, j 8) { %0 = const f32 0 store acc[i, j] %0 }\n"                                \
    "    mma acc (i 16, j 8, r 16) { a %0 = tile p[i, r] b %1 = load v[r, j] }\n"                  \
    "    map (i 16, j 8) { %0 = tile acc[i, j] store y[i, j] %0 }\n"                               \
    "  }\n"                                                                                        \
    "}\n"

Test(sim, operands_in_registers_must_be_fragments)
{
    static uint16_t x[16 * 16], v[16 * 8];
    static float y[16 * 8];
    for (int i = 0; i < 256; i++)
        dtype_store(DT_f16, x, i, (Scalar){.f = (double)small_value(i)});
    for (int i = 0; i < 128; i++)
        dtype_store(DT_f16, v, i, (Scalar){.f = (double)small_value(i + 5)});
    Job job = {.text = CHAIN("lanes(1:4:2, 0:8:1) regs(1:2:1, 0:2:8, 1:2:8)"),
               .buffers = {x, v, y}};
    expect_right(&job);
    cr_expect_eq(job.report.mma_warp_ops, 2);
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 8; j++) {
            float sum = 0;
            for (int r = 0; r < 16; r++)
                sum += small_value(i * 16 + r) * small_value(r * 8 + j + 5);
            cr_assert_eq(y[i * 8 + j], sum);
        }
    job.text = CHAIN("lanes(1:8:2, 0:4:1) regs(1:2:1, 0:4:4)");
    expect_fault(&job, "of tile 'p', which it does not hold");
}

/* ---- reductions and conversions */

/* Rows of 256 over 4 x 32 threads: 4 registers, 16 lanes, 2 x 2 warps (2 of columns). */
#define ROWS(sum_layout)                                                                           \
    "tile rows sm_80 placed {\n"                                                                   \
    "  in x f32 [8, 256] out y f32 [8, 256]\n"                                                     \
    "  grid (b 1) threads 128 {\n"                                                                 \
    "    tile r f32 [8, 256] register lanes(1:16:2, 0:2:1, 1:2:128, 0:2:4) regs(1:2:1, "           \
    "1:4:32, 0:2:2)\n"                                                                             \
    "    tile sum f32 [8, 1] register " sum_layout "\n"                                            \
    "    map (i 8, j 256) { %0 = load x[i, j] store r[i, j] %0 }\n"                                \
    "    reduce sum <- r dim 1 sum\n"                                                              \
    "    map (i 8, j 256) { %0 = tile r[i, j] %1 = tile sum[i, 0] %2 = div f32 %0, %1\n"           \
    "      store y[i, j] %2 }\n"                                                                   \
    "  }\n"                                                                                        \
    "}\n"

Test(sim, reduction_over_lanes_and_warps)
{
    static float x[8 * 256], y[8 * 256];
    for (int i = 0; i < 8 * 256; i++)
        x[i] = (float)(i % 23 + 1);
    Job job = {.text = ROWS("lanes(-1:16:0, 0:2:1, -1:2:0, 0:2:4) regs(0:2:2)"), .buffers = {x, y}};
    expect_right(&job);
    for (int i = 0; i < 8; i++) {
        float sum = 0;
        for (int j = 0; j < 256; j++)
            sum += x[i * 256 + j];
        for (int j = 0; j < 256; j++)
            cr_assert_eq(y[i * 256 + j], x[i * 256 + j] / sum, "%d %d", i, j);
    }
    job.text = ROWS("lanes(0:8:1, -1:16:0) regs()");
    expect_fault(&job, "but no part of what is reduced");
}

Test(sim, conversion_through_shared_memory)
{
    static float x[32 * 32], y[32 * 32];
    for (int i = 0; i < 32 * 32; i++)
        x[i] = (float)i;
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [32, 32] out y f32 [32, 32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile w f32 [32, 32] shared pad 1\n"
                       "    tile s f32 [32, 32] register lanes(1:32:1) regs(0:32:1)\n"
                       "    tile t f32 [32, 32] register lanes(0:32:1) regs(1:32:1)\n"
                       "    map (i 32, j 32) { %0 = load x[i, j] store s[i, j] %0 }\n"
                       "    convert t <- s via w\n"
                       "    map (i 32, j 32) { %0 = tile t[i, j] store y[j, i] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, y}};
    expect_right(&job);
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 32; j++)
            cr_assert_eq(y[j * 32 + i], x[i * 32 + j]);
    cr_expect_eq(job.report.shared_extra, 0);
    cr_expect_eq(job.report.global_sectors, job.report.global_minimum);
    cr_expect_eq(job.report.barriers, 1);
}

Test(sim, gather_reports_bad_indices)
{
    static float x[10], y[32];
    static int32_t idx[32];
    for (int i = 0; i < 32; i++)
        idx[i] = i % 20 - 10;
    for (int i = 0; i < 10; i++)
        x[i] = (float)i;
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x f32 [10] in idx i32 [32] out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    map (i 32) {\n"
                       "      %0 = load idx[i] %1 = bind p %0 in 0..9 wrap\n"
                       "      %2 = load x[p] store y[i] %2 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, idx, y}};
    expect_right(&job);
    cr_expect_eq(job.bad_index, 0);
    for (int i = 0; i < 32; i++)
        cr_assert_eq(y[i], (float)(i % 10));
    idx[7] = 10;
    expect_right(&job);
    cr_expect_eq(job.bad_index, 2);
    cr_expect_eq(y[7], 9);
}
