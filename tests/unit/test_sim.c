/* The simulator on placed programs written out by hand: maps, memory, synchronisation. Right ones
 * give the numbers plain C gives, wrong ones are caught with the fault named. */
#include "tests/unit/sim_job.h"

/* ---- maps */

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

Test(sim, every_synchronisation_of_the_ring_is_needed)
{
    static float x[12 * 128], y[128];
    Job job = {.text = RING("3", "3", "1", ""), .buffers = {x, y}};
    cr_expect_eq(expect_all_needed(&job), 4);
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

Test(sim, global_memory_needs_barriers_too)
{
    static float y[32];
    const char *text = "tile f sm_80 placed {\n"
                       "  out y f32 [32]\n"
                       "  grid (b 1) threads 32 {\n"
                       "    tile r f32 [32] register lanes(0:32:1) regs()\n"
                       "    map (i 32) { %0 = index f32 i store y[i] %0 }\n"
                       "    barrier\n"
                       "    map (i 32) { %0 = load y[31 - i] store r[i] %0 }\n"
                       "    barrier\n"
                       "    map (i 32) { %0 = tile r[i] store y[i] %0 }\n"
                       "  }\n"
                       "}\n";
    Job job = {.text = text, .buffers = {y}};
    expect_right(&job);
    for (int i = 0; i < 32; i++)
        cr_assert_eq(y[i], (float)(31 - i));
    cr_expect_eq(expect_all_needed(&job), 2);
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
    cr_expect_eq(job.bad_index, 1);
    cr_expect_eq(y[7], 9);
}
