/* The simulator on contractions, reductions and conversions: fragments and layouts, against plain
 * C. */
#include <math.h>

#include "ir/layout.h"
#include "tests/unit/sim_job.h"

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

Test(sim_compute, mma_fragments)
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

/* What placement makes of a GEMM on sm_80: ring of three slots, cp.async two steps ahead, swizzled
 * operands, fragments. */
static const char gemm_sm80[] =
    "tile gemm sm_80 placed {\n"
    "  in A f16 [128, 256] in B f16 [256, 64] out Y f32 [128, 64]\n"
    "  grid (ib 2) threads 128 {\n"
    "    tile sa f16 [64, 32] shared slots 3 swizzle 64\n"
    "    tile sb f16 [32, 64] shared slots 3 swizzle 128\n"
    "    tile acc f32 [64, 64] register lanes(1:4:2, 0:8:1, 1:2:32, 0:2:32) "
    "regs(1:2:1, 0:2:8, 1:4:8, 0:2:16)\n"
    "    map (i 64, j 64) { %0 = const f32 0 store acc[i, j] %0 }\n"
    "    for p 0..2 {\n"
    "      copy async (i 64, r 32) by lanes(1:4:8, 0:32:1) regs(1:8:1, 0:2:32) slot p mod 3 {\n"
    "        %0 = load A[64*ib + i, 32*p + r] store sa[i, r] %0 }\n"
    "      copy async (r 32, j 64) by lanes(1:8:8, 0:16:1) regs(1:8:1, 0:2:16) slot p mod 3 {\n"
    "        %0 = load B[32*p + r, j] store sb[r, j] %0 }\n"
    "      commit\n"
    "    }\n"
    "    for k 0..8 {\n"
    "      wait 1\n"
    "      barrier\n"
    "      if 0 <= k < 6 {\n"
    "        copy async (i 64, r 32) by lanes(1:4:8, 0:32:1) regs(1:8:1, 0:2:32)\n"
    "          slot (k + 2) mod 3 {\n"
    "          %0 = load A[64*ib + i, 32*k + 64 + r] store sa[i, r] %0 }\n"
    "        copy async (r 32, j 64) by lanes(1:8:8, 0:16:1) regs(1:8:1, 0:2:16)\n"
    "          slot (k + 2) mod 3 {\n"
    "          %0 = load B[32*k + 64 + r, j] store sb[r, j] %0 }\n"
    "      }\n"
    "      commit\n"
    "      mma acc (i 64, j 64, r 32) slot k mod 3 { a %0 = load sa[i, r] b %1 = load sb[r, j] }\n"
    "    }\n"
    "    map (i 64, j 64) { %0 = tile acc[i, j] store Y[64*ib + i, j] %0 }\n"
    "  }\n"
    "}\n";

Test(sim_compute, pipelined_gemm)
{
    static uint16_t a[128 * 256], b[256 * 64];
    static float y[128 * 64];
    for (int i = 0; i < 128 * 256; i++)
        dtype_store(DT_f16, a, i, (Scalar){.f = (double)small_value(i)});
    for (int i = 0; i < 256 * 64; i++)
        dtype_store(DT_f16, b, i, (Scalar){.f = (double)small_value(i / 3)});
    Job job = {.text = gemm_sm80, .buffers = {a, b, y}};
    expect_right(&job);
    for (int i = 0; i < 128; i++)
        for (int j = 0; j < 64; j++) {
            float sum = 0;
            for (int r = 0; r < 256; r++)
                sum += small_value(i * 256 + r) * small_value((r * 64 + j) / 3);
            cr_assert_eq(y[i * 64 + j], sum, "%d %d", i, j);
        }
    cr_expect_eq(job.report.mma_warp_ops, 128 / 16 * 64 / 8 * 256 / 8);
    cr_expect_eq(job.report.shared_extra, 0, "swizzled: %s", job.report.worst_op);
    cr_expect_eq(job.report.global_sectors, job.report.global_minimum);
    cr_expect_eq(job.report.async_bytes, 2 * (128 * 256 + 2 * 256 * 64));
    cr_expect_eq(expect_all_needed(&job), 4);
}

Test(sim_compute, mma_by_threads)
{
    Job job;
    run_mma(&job, MMA("opencl", "f32", C_BLOCKED, "[r, j]", ""), DT_f32);
    cr_assert(job.ok, "%s", job.message);
    cr_expect_eq(job.report.fma_ops, 64 * 32 * 32);
    run_mma(&job, MMA("opencl", "f16", C_BLOCKED, "[r, j]", "swizzle 32"), DT_f16);
    cr_assert(job.ok, "%s", job.message);
}

Test(sim_compute, mma_rows_over_the_bound_are_garbage)
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

Test(sim_compute, operands_in_registers_must_be_fragments)
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

Test(sim_compute, integer_mma_with_gathered_rows)
{
    static int8_t x[10 * 8], w[8 * 16];
    static int32_t idx[32], y[32 * 16];
    for (int i = 0; i < 80; i++)
        x[i] = (int8_t)(i * 37 % 251 - 125);
    for (int i = 0; i < 128; i++)
        w[i] = (int8_t)(i * 91 % 253 - 126);
    for (int i = 0; i < 32; i++)
        idx[i] = i * 3 % 10 - (i % 2) * 10;
    Job job = {.text = "tile f sm_80 placed {\n"
                       "  in x i8 [10, 8] in idx i32 [32] in w i8 [8, 16] out y i32 [32, 16]\n"
                       "  grid (b 1) threads 64 {\n"
                       "    tile acc i32 [32, 16] register lanes(1:8:2, 0:8:1) regs(1:2:1, 0:4:8)\n"
                       "    map (i 32, j 16) { %0 = const i32 7 store acc[i, j] %0 }\n"
                       "    mma acc (i 32, j 16, r 8) {\n"
                       "      %0 = load idx[i] %1 = bind p %0 in 0..9 wrap\n"
                       "      a %2 = load x[p, r] b %3 = load w[r, j] }\n"
                       "    map (i 32, j 16) { %0 = tile acc[i, j] store y[i, j] %0 }\n"
                       "  }\n"
                       "}\n",
               .buffers = {x, idx, w, y},
               .unverified =
                   true}; /* the verifier takes a bound index to depend on every coordinate */
    expect_right(&job);
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 16; j++) {
            int32_t sum = 7;
            for (int r = 0; r < 8; r++)
                sum += x[(idx[i] + 10) % 10 * 8 + r] * w[r * 16 + j];
            cr_assert_eq(y[i * 16 + j], sum, "%d %d", i, j);
        }
    cr_expect_eq(job.report.fma_ops, 32 * 16 * 8);
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

Test(sim_compute, reduction_over_lanes_and_warps)
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

Test(sim_compute, conversion_through_shared_memory)
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

/* ---- random layouts: load, convert, reduce along a dim, store */

static uint32_t random_state = 12345;

static int random_below(int n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (int)((random_state >> 8) % (uint32_t)n);
}

static const char *const names[3] = {"i", "j", "k"};

static void move(TileProg *prog, Grid *grid, Buffer *buffer, Tile *tile, bool load)
{
    TileOp *op = tile_op(prog, &grid->body, TO_map, tile->rank, names, tile->shape);
    Access access = {.buffer = buffer, .rank = tile->rank, .index = op->box.coord};
    const Expr *index[3];
    for (int d = 0; d < tile->rank; d++)
        index[d] = tile->shape[d] == 1 ? expr_const(prog->cx, 0) : op->box.coord[d];
    if (load)
        tile_write(prog, op, tile, index, tile_load(prog, op, &access));
    else
        tile_store(prog, op, &access, tile_read(prog, op, tile, index));
}

static Tile *register_tile(TileProg *prog, Grid *grid, const char *name, int rank, const int *shape,
                           Layout *layout)
{
    Tile *tile = tile_new(prog, grid, name, DT_f32, TS_register, rank, shape);
    tile->layout = layout;
    return tile;
}

static void one_random(Cx *cx, void *user)
{
    static const int extents[] = {1, 2, 3, 4, 5, 8, 16, 24, 33};
    static float x[33 * 33 * 33], y[33 * 33 * 33];
    (void)user;
    int rank = 1 + random_below(3), shape[3], out[3], count = 1;
    for (int d = 0; d < rank; d++) {
        out[d] = shape[d] = extents[random_below(9)];
        count *= shape[d];
    }
    int dim = random_below(rank), threads = 32 << random_below(3);
    out[dim] = 1;
    for (int i = 0; i < count; i++)
        x[i] = small_value(random_below(1000));
    TileProg *prog = tile_prog(cx, "random", target_find("sm_80"));
    prog->placed = true;
    const Expr *sizes[3], *out_sizes[3], *one = expr_const(cx, 1);
    for (int d = 0; d < rank; d++) {
        sizes[d] = expr_const(cx, shape[d]);
        out_sizes[d] = expr_const(cx, out[d]);
    }
    Buffer *in = tile_buffer(prog, "x", DT_f32, BUF_in, rank, sizes);
    Buffer *to = tile_buffer(prog, "y", DT_f32, BUF_out, rank, out_sizes);
    Grid *grid = tile_grid(prog, 1, (const char *[]){"b"}, &one);
    grid->threads = threads;
    Layout *first = layout_blocked(cx, rank, shape, threads, 1 << random_below(3));
    Layout *second = layout_blocked(cx, rank, shape, threads, 1 << random_below(3));
    Tile *s = register_tile(prog, grid, "s", rank, shape, first);
    Tile *t = register_tile(prog, grid, "t", rank, shape, second);
    Tile *sum = register_tile(prog, grid, "sum", rank, out, layout_slice(cx, second, dim));
    Tile *via = tile_new(prog, grid, "w", DT_f32, TS_shared, rank, shape);
    via->pad = random_below(3);
    move(prog, grid, in, s, true);
    tile_convert(prog, &grid->body, t, s, via);
    tile_reduce(prog, &grid->body, sum, t, dim, M_sum);
    move(prog, grid, to, sum, false);
    NestRun run = {.buffers = (void *[]){x, y}};
    cr_assert(tile_sim(cx, prog, &run, NULL), "%s", cx->message);
    int stride = 1;
    for (int d = dim + 1; d < rank; d++)
        stride *= shape[d];
    for (int e = 0; e < count / shape[dim]; e++) {
        float want = 0;
        for (int k = 0; k < shape[dim]; k++)
            want += x[e / stride * stride * shape[dim] + e % stride + k * stride];
        cr_assert_eq(y[e], want, "element %d", e);
    }
}

Test(sim_compute, random_layouts)
{
    for (int i = 0; i < 300; i++) {
        Cx cx;
        cx_init(&cx, NULL, 0);
        cr_assert_eq(cx_run(&cx, one_random, NULL), ST_ok, "%d: %s", i, cx.message);
        cx_finish(&cx);
    }
}
