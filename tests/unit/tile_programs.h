/* Tile programs that every printer and device is tested with, and a harness that fills buffers and
 * compares with tile_run. */
#ifndef QUERN_TESTS_TILE_PROGRAMS_H
#define QUERN_TESTS_TILE_PROGRAMS_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/tile.h"

typedef struct TileCase {
    const char *name, *text;
    int64_t dims[4];
    double tolerance; /* relative, of float outputs: 0 when the order of operations is fixed */
} TileCase;

enum { MAX_TEST_BUFFERS = 16 };

typedef struct TestRun {
    TileProg *prog;
    const TileCase *c;
    int64_t counts[MAX_TEST_BUFFERS], bytes[MAX_TEST_BUFFERS];
    void *want[MAX_TEST_BUFFERS], *got[MAX_TEST_BUFFERS];
    int64_t bad_index; /* what tile_run says */
} TestRun;

static const TileCase tile_cases[] = {
    {"gemm",
     "tile gemm TARGET {\n"
     "  dim M 1..512\n"
     "  in A f32 [M, 20]\n"
     "  const B f32 [9, 20, 16] align 64\n"
     "  const bias f32 [144]\n"
     "  out Y f32 [M, 144]\n"
     "  grid (jb 9, ib (M + 5) floordiv 6) {\n"
     "    tile acc f32 [6, 16] register\n"
     "    map (i 6, j 16) { %0 = load bias[16*jb + j]  store acc[i, j] %0 }\n"
     "    for k 0..20 step 4 {\n"
     "      mma acc (i 6, j 16, r 4) bound i M - 6*ib {\n"
     "        a %0 = load A[6*ib + i, k + r]\n"
     "        b %1 = load B[jb, k + r, j]\n"
     "      }\n"
     "    }\n"
     "    map (i 6, j 16) bound i M - 6*ib {\n"
     "      %0 = tile acc[i, j]  %1 = const f32 0  %2 = max f32 %0, %1  store Y[6*ib + i, 16*jb + "
     "j] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {37},
     0},
    {"window",
     "tile window TARGET {\n"
     "  dim H 1..100\n"
     "  in x f32 [H, 9]\n"
     "  out y f16 [H, 9]\n"
     "  out z i8 [H, 9]\n"
     "  out w bool [H, 9]\n"
     "  out p u4 [H, 9]\n"
     "  out q f8e4m3 [H, 9]\n"
     "  grid (h H) {\n"
     "    map (c 9) {\n"
     "      %0 = load x[h - 1, 8 - c] if 0 <= h - 1 < H else 0.5\n"
     "      %1 = load x[(3*h + c) floordiv 4 mod H, (5*c + h) mod 9]\n"
     "      %2 = mul f32 %0, %1\n"
     "      %3 = cast bf16 %2\n"
     "      %4 = const f32 100  %5 = mul f32 %3, %4\n"
     "      %6 = cast i32 %5\n"
     "      %7 = index f32 3*h - 2*c\n"
     "      %8 = lt bool %7, %5\n"
     "      %9 = cast u32 %6\n"
     "      store y[h, c] %2\n"
     "      store z[h, c] %6\n"
     "      store w[h, c] %8\n"
     "      store p[h, c] %9\n"
     "      store q[h, c] %5\n"
     "    }\n"
     "  }\n"
     "}\n",
     {23},
     0},
    {"reduce",
     "tile reduce TARGET {\n"
     "  dim M 1..100\n"
     "  in x f32 [M, 70]\n"
     "  out s f32 [M]\n"
     "  out m f32 [M]\n"
     "  out p f32 [70]\n"
     "  grid (i (M + 3) floordiv 4) {\n"
     "    tile t f32 [4, 70] register\n"
     "    tile a f32 [4, 1] register\n"
     "    tile b f32 [4, 1] register\n"
     "    tile d f32 [1, 70] register\n"
     "    map (r 4, k 70) { %0 = const f32 1  store t[r, k] %0 }\n"
     "    map (r 4, k 70) bound r M - 4*i { %0 = load x[4*i + r, k]  store t[r, k] %0 }\n"
     "    reduce a <- t dim 1 sum\n"
     "    reduce b <- t dim 1 max\n"
     "    reduce d <- t dim 0 prod\n"
     "    map (r 4) bound r M - 4*i {\n"
     "      %0 = tile a[r, 0]  %1 = tile b[r, 0]\n"
     "      store s[4*i + r] %0\n"
     "      store m[4*i + r] %1\n"
     "    }\n"
     "    if 0 <= i < 1 { map (k 70) { %0 = tile d[0, k]  store p[k] %0 } }\n"
     "  }\n"
     "}\n",
     {21},
     1e-5},
    {"softmax",
     "tile softmax TARGET {\n"
     "  dim M 1..100\n"
     "  dim N 1..256\n"
     "  in x bf16 [M, N]\n"
     "  out y f32 [M, N]\n"
     "  grid (i M) {\n"
     "    tile t f32 [1, 256] register\n"
     "    tile m f32 [1, 1] register\n"
     "    tile s f32 [1, 1] register\n"
     "    map (r 1, k 256) { %0 = const f32 -inf  store t[r, k] %0 }\n"
     "    map (r 1, k 256) bound k N { %0 = load x[i + r, k]  store t[r, k] %0 }\n"
     "    reduce m <- t dim 1 max\n"
     "    map (r 1, k 256) {\n"
     "      %0 = tile t[r, k]  %1 = tile m[r, 0]  %2 = sub f32 %0, %1  %3 = exp f32 %2  store t[r, "
     "k] %3\n"
     "    }\n"
     "    reduce s <- t dim 1 sum\n"
     "    map (r 1, k 256) bound k N {\n"
     "      %0 = tile t[r, k]  %1 = tile s[r, 0]  %2 = div f32 %0, %1  store y[i + r, k] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {5, 201},
     1e-5},
    {"gather",
     "tile gather TARGET {\n"
     "  dim V 1..64\n"
     "  in x f32 [V, 8]\n"
     "  in idx i32 [31]\n"
     "  out y f32 [31, 8]\n"
     "  grid (n 31) {\n"
     "    map (c 8) {\n"
     "      %0 = load idx[n]\n"
     "      %1 = bind at %0 in 0..V - 1 wrap\n"
     "      %2 = load x[at, c]\n"
     "      store y[n, c] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {40},
     0},
    {"staged",
     "tile staged TARGET {\n"
     "  dim M 1..200\n"
     "  in A f16 [M, 40]\n"
     "  in B f16 [40, 16]\n"
     "  out Y f32 [M, 16]\n"
     "  grid (ib (M + 3) floordiv 4) {\n"
     "    tile sa f16 [4, 16] shared pad 8\n"
     "    tile sb f16 [16, 16] shared pad 8\n"
     "    tile acc f32 [4, 16] register\n"
     "    map (i 4, j 16) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    for k 0..40 step 16 {\n"
     "      copy (i 4, r 16) bound i M - 4*ib bound r 40 - k {\n"
     "        %0 = load A[4*ib + i, k + r]\n"
     "        store sa[i, r] %0\n"
     "      }\n"
     "      copy (r 16, j 16) bound r 40 - k { %0 = load B[k + r, j]  store sb[r, j] %0 }\n"
     "      mma acc (i 4, j 16, r 16) { a %0 = load sa[i, r]  b %1 = load sb[r, j] }\n"
     "    }\n"
     "    map (i 4, j 16) bound i M - 4*ib { %0 = tile acc[i, j]  store Y[4*ib + i, j] %0 }\n"
     "  }\n"
     "}\n",
     {77},
     1e-6},
    {"phases",
     "tile phases TARGET {\n"
     "  dim M 1..200\n"
     "  in x i32 [M, 3]\n"
     "  scratch w i64 [M, 3]\n"
     "  out y i32 [3, M]\n"
     "  grid (i M) { map (c 3) { %0 = load x[i, c]  %1 = mul i32 %0, %0  %2 = cast i64 %1  store "
     "w[i, c] %2 } }\n"
     "  grid (c 3) {\n"
     "    map (i 200) bound i M {\n"
     "      %0 = load w[M - 1 - i, c]  %1 = const i64 7  %2 = mod i64 %0, %1  %3 = cast i32 %2\n"
     "      store y[c, i] %3\n"
     "    }\n"
     "  }\n"
     "}\n",
     {67},
     0},
};

/* For GPU targets only: tiles of a block, pipelines, tensor cores. */
static const TileCase gpu_cases[] = {
    {"gemm_f16",
     "tile gemm_f16 TARGET {\n"
     "  dim M 1..400\n"
     "  in A f16 [M, 200] align 64\n"
     "  in B f16 [200, 128] align 64\n"
     "  in bias f32 [128]\n"
     "  out Y f16 [M, 128] align 64\n"
     "  grid (ib (M + 63) floordiv 64, jb 2) threads 128 {\n"
     "    tile sa f16 [64, 32] shared\n"
     "    tile sb f16 [32, 64] shared\n"
     "    tile acc f32 [64, 64] register\n"
     "    map (i 64, j 64) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    for k 0..200 step 32 stages 3 {\n"
     "      copy (i 64, r 32) bound i M - 64*ib bound r 200 - k { %0 = load A[64*ib + i, k + r]  "
     "store sa[i, r] %0 }\n"
     "      copy (r 32, j 64) bound r 200 - k { %0 = load B[k + r, 64*jb + j]  store sb[r, j] %0 "
     "}\n"
     "      mma acc (i 64, j 64, r 32) { a %0 = load sa[i, r]  b %1 = load sb[r, j] }\n"
     "    }\n"
     "    map (i 64, j 64) bound i M - 64*ib {\n"
     "      %0 = tile acc[i, j]  %1 = load bias[64*jb + j]  %2 = add f32 %0, %1\n"
     "      store Y[64*ib + i, 64*jb + j] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {150},
     2e-3},
    {"gemm_f16_nt", /* b is stored with k contiguous, a with m contiguous */
     "tile gemm_f16_nt TARGET {\n"
     "  in A f16 [96, 128] align 64\n"
     "  in B f16 [64, 96] align 64\n"
     "  out Y f32 [128, 64] align 64\n"
     "  grid (ib 4) threads 64 {\n"
     "    tile sa f16 [16, 32] shared\n"
     "    tile sb f16 [64, 16] shared\n"
     "    tile acc f32 [32, 64] register\n"
     "    map (i 32, j 64) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    for k 0..96 step 16 stages 2 {\n"
     "      copy (r 16, i 32) { %0 = load A[k + r, 32*ib + i]  store sa[r, i] %0 }\n"
     "      copy (j 64, r 16) { %0 = load B[j, k + r]  store sb[j, r] %0 }\n"
     "      mma acc (i 32, j 64, r 16) { a %0 = load sa[r, i]  b %1 = load sb[j, r] }\n"
     "    }\n"
     "    map (i 32, j 64) { %0 = tile acc[i, j]  store Y[32*ib + i, j] %0 }\n"
     "  }\n"
     "}\n",
     {0},
     1e-5},
    {"gemm_f32",
     "tile gemm_f32 TARGET {\n"
     "  dim M 1..400\n"
     "  in A f32 [M, 50] align 64\n"
     "  in B f32 [50, 64] align 64\n"
     "  out Y f32 [M, 64] align 64\n"
     "  grid (ib (M + 31) floordiv 32) threads 64 {\n"
     "    tile sa f32 [32, 8] shared\n"
     "    tile sb f32 [8, 64] shared\n"
     "    tile acc f32 [32, 64] register\n"
     "    map (i 32, j 64) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    for k 0..50 step 8 stages 2 {\n"
     "      copy (i 32, r 8) bound i M - 32*ib bound r 50 - k { %0 = load A[32*ib + i, k + r]  "
     "store sa[i, r] %0 }\n"
     "      copy (r 8, j 64) bound r 50 - k { %0 = load B[k + r, j]  store sb[r, j] %0 }\n"
     "      mma acc (i 32, j 64, r 8) { a %0 = load sa[i, r]  b %1 = load sb[r, j] }\n"
     "    }\n"
     "    map (i 32, j 64) bound i M - 32*ib {\n"
     "      %0 = tile acc[i, j]  %1 = const f32 0  %2 = max f32 %0, %1  store Y[32*ib + i, j] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {70},
     1e-5},
    {"gemm_large", /* the size of tile that fills a GPU: registers must not spill */
     "tile gemm_large TARGET {\n"
     "  dim M 1..4096\n"
     "  dim K 32..4096 mult 32\n"
     "  in A bf16 [M, K] align 64\n"
     "  in B bf16 [K, 128] align 64\n"
     "  out Y bf16 [M, 128] align 64\n"
     "  grid (ib (M + 127) floordiv 128) threads 256 {\n"
     "    tile sa bf16 [128, 32] shared\n"
     "    tile sb bf16 [32, 128] shared\n"
     "    tile acc f32 [128, 128] register\n"
     "    map (i 128, j 128) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    for k 0..K step 32 stages 3 {\n"
     "      copy (i 128, r 32) bound i M - 128*ib { %0 = load A[128*ib + i, k + r]  store sa[i, r] "
     "%0 }\n"
     "      copy (r 32, j 128) { %0 = load B[k + r, j]  store sb[r, j] %0 }\n"
     "      mma acc (i 128, j 128, r 32) { a %0 = load sa[i, r]  b %1 = load sb[r, j] }\n"
     "    }\n"
     "    map (i 128, j 128) bound i M - 128*ib { %0 = tile acc[i, j]  store Y[128*ib + i, j] %0 "
     "}\n"
     "  }\n"
     "}\n",
     {140, 96},
     1e-2},
    {"two_layouts", /* a fragment meets the column statistics of a blocked tile */
     "tile two_layouts TARGET {\n"
     "  in A f16 [64, 32] align 64\n"
     "  in B f16 [32, 64] align 64\n"
     "  in X f32 [128, 64] align 64\n"
     "  out Y f32 [64, 64] align 64\n"
     "  grid (b 1) threads 128 {\n"
     "    tile sa f16 [64, 32] shared\n"
     "    tile sb f16 [32, 64] shared\n"
     "    tile acc f32 [64, 64] register\n"
     "    tile x f32 [128, 64] register\n"
     "    tile s f32 [1, 64] register\n"
     "    copy (i 64, r 32) { %0 = load A[i, r]  store sa[i, r] %0 }\n"
     "    copy (r 32, j 64) { %0 = load B[r, j]  store sb[r, j] %0 }\n"
     "    map (i 64, j 64) { %0 = const f32 0  store acc[i, j] %0 }\n"
     "    map (i 128, j 64) { %0 = load X[i, j]  store x[i, j] %0 }\n"
     "    reduce s <- x dim 0 sum\n"
     "    mma acc (i 64, j 64, r 32) { a %0 = load sa[i, r]  b %1 = load sb[r, j] }\n"
     "    map (i 64, j 64) {\n"
     "      %0 = tile acc[i, j]  %1 = tile s[0, j]  %2 = mul f32 %0, %1  store Y[i, j] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {0},
     1e-4},
    {"vector_map",
     "tile vector_map TARGET {\n"
     "  dim N 4..100000 mult 4\n"
     "  in x f32 [N] align 16\n"
     "  in y bf16 [N] align 16\n"
     "  out z f32 [N] align 16\n"
     "  out w f16 [N] align 16\n"
     "  grid (b (N + 1023) floordiv 1024) threads 256 {\n"
     "    map (i 1024) bound i N - 1024*b {\n"
     "      %0 = load x[1024*b + i]  %1 = load y[1024*b + i]  %2 = add f32 %0, %1  %3 = tanh f32 "
     "%2\n"
     "      store z[1024*b + i] %3\n"
     "      store w[1024*b + i] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {3204},
     2e-6},
    {"attention", /* scores stay in registers: result fragment, row statistics, operand fragment */
     "tile attention TARGET {\n"
     "  in Q f16 [128, 32] align 64\n"
     "  in K f16 [64, 32] align 64\n"
     "  in V f16 [64, 32] align 64\n"
     "  out O f32 [128, 32] align 64\n"
     "  grid (b 2) threads 128 {\n"
     "    tile sq f16 [64, 32] shared\n"
     "    tile sk f16 [64, 32] shared\n"
     "    tile sv f16 [64, 32] shared\n"
     "    tile s f32 [64, 64] register\n"
     "    tile m f32 [64, 1] register\n"
     "    tile l f32 [64, 1] register\n"
     "    tile p f16 [64, 64] register\n"
     "    tile o f32 [64, 32] register\n"
     "    copy (i 64, r 32) { %0 = load Q[64*b + i, r]  store sq[i, r] %0 }\n"
     "    copy (i 64, r 32) { %0 = load K[i, r]  store sk[i, r] %0 }\n"
     "    copy (i 64, r 32) { %0 = load V[i, r]  store sv[i, r] %0 }\n"
     "    map (i 64, j 64) { %0 = const f32 0  store s[i, j] %0 }\n"
     "    map (i 64, j 32) { %0 = const f32 0  store o[i, j] %0 }\n"
     "    mma s (i 64, j 64, r 32) { a %0 = load sq[i, r]  b %1 = load sk[j, r] }\n"
     "    reduce m <- s dim 1 max\n"
     "    map (i 64, j 64) {\n"
     "      %0 = tile s[i, j]  %1 = tile m[i, 0]  %2 = sub f32 %0, %1  %3 = exp f32 %2\n"
     "      store s[i, j] %3\n"
     "      store p[i, j] %3\n"
     "    }\n"
     "    reduce l <- s dim 1 sum\n"
     "    mma o (i 64, j 32, r 64) { a %0 = tile p[i, r]  b %1 = load sv[r, j] }\n"
     "    map (i 64, j 32) {\n"
     "      %0 = tile o[i, j]  %1 = tile l[i, 0]  %2 = div f32 %0, %1  store O[64*b + i, j] %2\n"
     "    }\n"
     "  }\n"
     "}\n",
     {0},
     1e-4},
};

enum { GPU_CASES = sizeof gpu_cases / sizeof *gpu_cases };
enum { TILE_CASES = sizeof tile_cases / sizeof *tile_cases };

static bool test_dim(void *user, const Expr *sym, int64_t *value)
{
    const TestRun *run = user;
    for (uint32_t i = 0; i < run->prog->dim_count; i++)
        if (run->prog->dims[i] == sym) {
            *value = run->c->dims[i];
            return true;
        }
    return false;
}

static int64_t test_value(const TestRun *run, const Expr *e)
{
    int64_t value = -1;
    cr_assert(expr_eval(e, test_dim, (void *)(uintptr_t)run, &value));
    return value;
}

static inline int64_t test_tasks(const TestRun *run, const Grid *grid)
{
    int64_t tasks = 1;
    for (int d = 0; d < grid->rank; d++)
        tasks *= test_value(run, grid->extents[d]);
    return tasks;
}

static Scalar test_element(Dtype dtype, uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    int64_t draw = (int64_t)(*seed >> 40) % 4001 - 2000;
    if (dtype_is_float(dtype))
        return (Scalar){.f = (double)draw / 1000};
    return (Scalar){.i = draw % 40};
}

/* Parses the case for a target, fills inputs, runs the oracle. */
static inline void test_start(Cx *cx, TestRun *run, const TileCase *c, const char *target)
{
    Text text;
    text_init(&text, cx->arena);
    const char *at = strstr(c->text, "TARGET");
    text_put(&text, c->text, (size_t)(at - c->text));
    text_add(&text, "%s%s", target, at + 6);
    *run = (TestRun){.c = c, .prog = tile_parse(cx, c->name, text.data)};
    cr_assert(run->prog, "%s", cx->message);
    cr_assert(tile_verify(run->prog), "%s", cx->message);
    uint64_t seed = 7;
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        const Buffer *buffer = run->prog->buffers[b];
        int64_t count = 1;
        for (int d = 0; d < buffer->rank; d++)
            count *= test_value(run, buffer->shape[d]);
        run->counts[b] = count;
        run->bytes[b] = (dtype_bytes(buffer->dtype, count) + 63) / 64 * 64;
        run->want[b] = aligned_alloc(64, (size_t)run->bytes[b]);
        run->got[b] = aligned_alloc(64, (size_t)run->bytes[b]);
        memset(run->want[b], 0, (size_t)run->bytes[b]);
        bool input = buffer->role == BUF_in || buffer->role == BUF_const;
        for (int64_t i = 0; input && i < count; i++)
            dtype_store(buffer->dtype, run->want[b], i, test_element(buffer->dtype, &seed));
        memcpy(run->got[b], run->want[b], (size_t)run->bytes[b]);
    }
    NestRun oracle = {.buffers = run->want, .dims = c->dims};
    cr_assert(tile_run(cx, run->prog, &oracle), "%s", cx->message);
    run->bad_index = oracle.bad_index;
}

static inline void test_compare(const TestRun *run, const char *who)
{
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        Dtype dtype = run->prog->buffers[b]->dtype;
        if (run->prog->buffers[b]->role != BUF_out)
            continue;
        for (int64_t i = 0; i < run->counts[b]; i++) {
            Scalar want = dtype_load(dtype, run->want[b], i),
                   got = dtype_load(dtype, run->got[b], i);
            bool same = want.i == got.i;
            if (dtype_is_float(dtype) && !same)
                same = (isnan(want.f) && isnan(got.f)) || want.f == got.f ||
                       fabs(want.f - got.f) <= run->c->tolerance * fmax(1, fabs(want.f));
            cr_assert(same,
                      "%s: %s: %s[%" PRId64 "] is %.9g (%" PRId64 "), want %.9g (%" PRId64 ")", who,
                      run->c->name, run->prog->buffers[b]->name, i, got.f, got.i, want.f, want.i);
        }
    }
}

static inline void test_finish(TestRun *run)
{
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        free(run->want[b]);
        free(run->got[b]);
    }
}

#endif
