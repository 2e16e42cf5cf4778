/* Tile programs: the builder, and the interpreter against plain C on the golden programs and on
 * built ones. Inputs are small integers, so that sums are exact in any order, except where a
 * comment says otherwise. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/facts.h"
#include "ir/tile.h"
#include "tests/unit/golden.h"

static Cx cx;

static void open_job(void)
{
    cx_init(&cx, NULL, 0);
}

static void close_job(void)
{
    cx_finish(&cx);
}

TestSuite(tile, .init = open_job, .fini = close_job);

static TileProg *golden(const char *name)
{
    char file[100];
    snprintf(file, sizeof file, "tile/%s.tile", name);
    char *text = golden_named(file);
    TileProg *prog = tile_parse(&cx, file, text);
    cr_assert(prog && tile_verify(prog), "%s", cx.message);
    free(text);
    return prog;
}

static TileProg *parsed(const char *text)
{
    TileProg *prog = tile_parse(&cx, "test", text);
    cr_assert(prog, "%s", cx.message);
    return prog;
}

static int64_t run(const TileProg *prog, void *const *buffers, const int64_t *dims)
{
    NestRun io = {.buffers = buffers, .dims = dims};
    cr_assert(tile_run(&cx, prog, &io), "%s", cx.message);
    return io.bad_index;
}

static uint32_t seed = 1;

static int small(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)(seed >> 24) % 9 - 4;
}

static float *floats(int64_t count)
{
    float *data = malloc((size_t)(count + 1) * sizeof *data);
    for (int64_t i = 0; i < count; i++)
        data[i] = (float)small();
    return data;
}

static void expect_same(const float *got, const float *want, int64_t count, double tolerance)
{
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)got[i] - (double)want[i]) <= tolerance, "element %lld: %g, not %g",
                  (long long)i, (double)got[i], (double)want[i]);
}

/* ---- builder */

enum { GEMM_N = 96, GEMM_K = 24 };

static const Expr *number(int64_t value)
{
    return expr_const(&cx, value);
}

/* Y[M, 96] = A[M, 24] * B, B in panels of 48 columns; rows over M are cut by bounds. */
static TileProg *build_gemm(void)
{
    TileProg *prog = tile_prog(&cx, "gemm", target_find("x86-64-v4"));
    const Expr *m = tile_dim(prog, "M", 1, 100, 1);
    const Expr *a_shape[] = {m, number(GEMM_K)}, *y_shape[] = {m, number(GEMM_N)};
    const Expr *b_shape[] = {number(GEMM_N / 48), number(GEMM_K), number(48)};
    Buffer *a = tile_buffer(prog, "A", DT_f32, BUF_in, 2, a_shape);
    Buffer *b = tile_buffer(prog, "B", DT_f32, BUF_const, 3, b_shape);
    Buffer *y = tile_buffer(prog, "Y", DT_f32, BUF_out, 2, y_shape);
    const Expr *extents[] = {number(GEMM_N / 48), expr_divi(&cx, expr_addi(&cx, m, 7), 8)};
    Grid *grid = tile_grid(prog, 2, (const char *[]){"jb", "ib"}, extents);
    const int shape[] = {8, 48}, box[] = {8, 48, 4};
    Tile *acc = tile_new(prog, grid, "acc", DT_f32, TS_register, 2, shape);
    const Expr *row0 = expr_muli(&cx, grid->ids[1], 8), *rows = expr_sub(&cx, m, row0), *k;

    TileOp *clear = tile_op(prog, &grid->body, TO_map, 2, (const char *[]){"i", "j"}, shape);
    tile_write(prog, clear, acc, clear->box.coord, tile_const(prog, clear, DT_f32, (Scalar){0}));

    TileBlock *loop = tile_for(prog, &grid->body, "k", number(0), number(GEMM_K), 4, &k);
    TileOp *mma = tile_op(prog, loop, TO_mma, 3, (const char *[]){"i", "j", "r"}, box);
    const Expr *const *at = mma->box.coord, *deep = expr_add(&cx, k, at[2]);
    mma->dst = acc;
    mma->box.bound[0] = rows;
    Access from_a = {.buffer = a, .rank = 2};
    from_a.index = (const Expr *[]){expr_add(&cx, row0, at[0]), deep};
    mma->a = tile_load(prog, mma, &from_a);
    Access from_b = {.buffer = b, .rank = 3};
    from_b.index = (const Expr *[]){grid->ids[0], deep, at[1]};
    mma->b = tile_load(prog, mma, &from_b);
    cr_expect(tile_load(prog, mma, &from_b) == mma->b, "equal loads are one value");

    TileOp *out = tile_op(prog, &grid->body, TO_map, 2, (const char *[]){"i", "j"}, shape);
    out->box.bound[0] = rows;
    Access to_y = {.buffer = y, .rank = 2};
    to_y.index =
        (const Expr *[]){expr_add(&cx, row0, out->box.coord[0]),
                         expr_add(&cx, expr_muli(&cx, grid->ids[0], 48), out->box.coord[1])};
    tile_store(prog, out, &to_y, tile_read(prog, out, acc, out->box.coord));
    return prog;
}

static void check_gemm(const TileProg *prog, int64_t m)
{
    float *a = floats(m * GEMM_K), *b = floats(GEMM_N * GEMM_K), *y = floats(m * GEMM_N);
    float *want = calloc((size_t)(m * GEMM_N), sizeof *want);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < GEMM_N; j++)
            for (int64_t k = 0; k < GEMM_K; k++)
                want[i * GEMM_N + j] += a[i * GEMM_K + k] * b[(j / 48 * GEMM_K + k) * 48 + j % 48];
    run(prog, (void *[]){a, b, y}, &m);
    expect_same(y, want, m * GEMM_N, 0);
    free(a);
    free(b);
    free(y);
    free(want);
}

Test(tile, built_gemm_runs_and_prints_as_itself)
{
    TileProg *prog = build_gemm();
    cr_assert(tile_verify(prog), "%s", cx.message);
    for (int64_t m = 1; m <= 17; m += 4)
        check_gemm(prog, m);
    Text first, second;
    text_init(&first, cx.arena);
    text_init(&second, cx.arena);
    tile_print(&first, prog);
    TileProg *again = parsed(first.data);
    cr_assert(tile_verify(again), "%s", cx.message);
    tile_print(&second, again);
    cr_expect_str_eq(first.data, second.data);
    check_gemm(again, 9);
}

Test(tile, values_fold_and_are_shared)
{
    TileProg *prog = build_gemm();
    TileOp *op = prog->grids[0]->body.last;
    Value *two = tile_const(prog, op, DT_f32, (Scalar){.f = 2});
    Value *four = tile_scalar(prog, op, S_add, two, two, NULL);
    cr_expect(four->op == V_const && four->constant.f == 4);
    Value *x = op->stores[0].value;
    cr_expect(tile_scalar(prog, op, S_mul, x, two, NULL) ==
              tile_scalar(prog, op, S_mul, x, two, NULL));
    cr_expect(tile_cast(prog, op, DT_f32, x) == x);
    Value *half = tile_cast(prog, op, DT_f16, x);
    cr_expect(half->op == V_cast && half->dtype == DT_f16);
    cr_expect(tile_index(prog, op, DT_f32, number(3))->constant.f == 3);
    cr_expect(!cx_failed(&cx));
    tile_scalar(prog, op, S_add, two, tile_const(prog, op, DT_i32, (Scalar){.i = 1}), NULL);
    cr_expect(cx.status == ST_internal, "operands of different types are refused");
}

Test(tile, sizes_of_shared_tiles)
{
    TileProg *prog = tile_prog(&cx, "sizes", target_find("sm_80"));
    Grid *grid = tile_grid(prog, 0, NULL, NULL);
    Tile *a = tile_new(prog, grid, "a", DT_f16, TS_shared, 2, (const int[]){64, 32});
    a->pad = 8;
    a->slots = 3;
    tile_new(prog, grid, "b", DT_f32, TS_shared, 1, (const int[]){3});
    tile_new(prog, grid, "r", DT_f32, TS_register, 1, (const int[]){1000});
    cr_expect_eq(tile_bytes(a), 64 * 40 * 2);
    cr_expect_eq(tile_scratch_bytes(prog), 64 * 40 * 2 * 3 + 64);
}

/* ---- interpreter */

Test(tile, softmax)
{
    enum { rows = 3, columns = 60 };
    float *x = floats(rows * columns), *y = floats(rows * columns), want[rows * columns];
    for (int row = 0; row < rows; row++) {
        double total = 0, most = -INFINITY;
        for (int j = 0; j < columns; j++)
            most = fmax(most, (double)x[row * columns + j]);
        for (int j = 0; j < columns; j++)
            total += exp((double)x[row * columns + j] - most);
        for (int j = 0; j < columns; j++)
            want[row * columns + j] = (float)(exp((double)x[row * columns + j] - most) / total);
    }
    run(golden("softmax"), (void *[]){x, y}, (const int64_t[]){rows});
    expect_same(y, want, rows * columns, 1e-7); /* rounding of the sum in float */
    free(x);
    free(y);
}

Test(tile, convolution_with_guards)
{
    enum { size = 14, in = 16, out = 32 };
    float *x = floats(size * size * in), *w = floats(9 * in * out), *bias = floats(out);
    float *y = floats(size * size * out), *want = floats(size * size * out);
    for (int p = 0; p < size * size * out; p++) {
        int h = p / out / size, v = p / out % size, o = p % out;
        float sum = bias[o];
        for (int kh = 0; kh < 3; kh++)
            for (int kw = 0; kw < 3; kw++)
                for (int c = 0; c < in; c++) {
                    int r = h + kh - 1, q = v + kw - 1;
                    if (r >= 0 && r < size && q >= 0 && q < size)
                        sum += x[(r * size + q) * in + c] * w[((kh * 3 + kw) * in + c) * out + o];
                }
        want[p] = sum > 0 ? sum : 0;
    }
    run(golden("conv"), (void *[]){x, w, bias, y}, (const int64_t[]){1});
    expect_same(y, want, size * size * out, 0);
}

Test(tile, copies_to_shared_fill_outside_bounds)
{
    enum { m = 70, n = 72, k = 40 };
    static uint16_t a[m * k], b[k * n], y[m * n];
    static float fa[m * k], fb[k * n];
    for (int i = 0; i < m * k; i++)
        dtype_store(DT_f16, a, i, (Scalar){.f = fa[i] = (float)small()});
    for (int i = 0; i < k * n; i++)
        dtype_store(DT_f16, b, i, (Scalar){.f = fb[i] = (float)small()});
    run(golden("shared_mma"), (void *[]){a, b, y}, (const int64_t[]){m, n, k});
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int r = 0; r < k; r++)
                sum += fa[i * k + r] * fb[r * n + j];
            cr_assert(dtype_load(DT_f16, y, i * n + j).f == (double)sum, "at %d, %d", i, j);
        }
    }
}

Test(tile, sum_of_rows_in_two_phases)
{
    enum { m = 21, n = 512 };
    float *x = floats(m * n), *part = floats(m * 4), *y = floats(m), want[m];
    for (int i = 0; i < m; i++) {
        want[i] = 0;
        for (int j = 0; j < n; j++)
            want[i] += x[i * n + j];
    }
    run(golden("reduce"), (void *[]){x, part, y}, (const int64_t[]){m});
    expect_same(y, want, m, 0);
}

Test(tile, gather_wraps_and_reports_bad_indices)
{
    enum { v = 10, n = 4 };
    static uint16_t table[v * 64];
    static float y[n * 64];
    for (int i = 0; i < v * 64; i++)
        dtype_store(DT_f16, table, i, (Scalar){.f = i / 64});
    int64_t idx[n] = {3, -1, 0, -10};
    TileProg *prog = golden("gather");
    cr_expect_eq(run(prog, (void *[]){table, idx, y}, (const int64_t[]){v, n}), 0);
    const float want[n] = {3, 9, 0, 0};
    for (int i = 0; i < n * 64; i++)
        cr_assert(y[i] == want[i / 64]);
    idx[2] = 10;
    cr_expect_eq(run(prog, (void *[]){table, idx, y}, (const int64_t[]){v, n}), 1,
                 "1 + number of the bound symbol");
    cr_expect(y[2 * 64] == 9, "a bad index is clamped");
}

Test(tile, undefined_elements_are_garbage)
{
    TileProg *prog = parsed("tile t x86-64-v3 {\n"
                            "  dim M 1..8\n  in A f32 [M, 2]\n  out Y f32 [4, 8]\n"
                            "  grid () {\n    tile acc f32 [4, 8] register\n"
                            "    map (i 4, j 8) { %0 = const f32 1  store acc[i, j] %0 }\n"
                            "    mma acc (i 4, j 8, r 2) bound i M {\n"
                            "      a %0 = load A[i, r]\n      b %1 = index f32 j\n    }\n"
                            "    map (i 4, j 8) { %0 = tile acc[i, j]  store Y[i, j] %0 }\n"
                            "  }\n}\n");
    cr_assert(tile_verify(prog), "%s", cx.message);
    float a[] = {1, 2, 3, 4}, y[32];
    run(prog, (void *[]){a, y}, (const int64_t[]){2});
    for (int j = 0; j < 8; j++)
        cr_expect(y[j] == 1 + 3 * (float)j && y[8 + j] == 1 + 7 * (float)j && isnan(y[16 + j]));
}

Test(tile, interpreter_checks_every_access)
{
    TileProg *prog = parsed("tile t x86-64-v3 {\n  dim M 1..8\n  in A f32 [M]\n  out Y f32 [8]\n"
                            "  grid (b 8) { map () { %0 = load A[b]  store Y[b] %0 } }\n}\n");
    float a[8] = {0}, y[8];
    NestRun io = {.buffers = (void *[]){a, y}, .dims = (const int64_t[]){7}};
    cr_expect(!tile_run(&cx, prog, &io));
    cr_expect(strstr(cx.message, "A[b]: index 0 is 7"), "%s", cx.message);
}

Test(tile, loops_and_branches)
{
    TileProg *prog = parsed("tile t x86-64-v3 {\n  dim M 0..100\n  out Y i64 [100]\n"
                            "  grid (b 1) {\n    for k 2..M step 3 {\n"
                            "      if 8 <= k < 100, 0 <= k < 14 {\n"
                            "        map () { %0 = index i64 k  store Y[k] %0 }\n"
                            "      } else {\n"
                            "        map () { %0 = index i64 0 - k  store Y[k] %0 }\n"
                            "      }\n    }\n  }\n}\n");
    cr_assert(tile_verify(prog), "%s", cx.message);
    int64_t y[100] = {0}, want[100] = {0};
    for (int k = 2; k < 18; k += 3)
        want[k] = k >= 8 && k < 14 ? k : -k;
    run(prog, (void *[]){y}, (const int64_t[]){18});
    cr_expect_arr_eq(y, want, sizeof y);
    run(prog, (void *[]){y}, (const int64_t[]){2});
    cr_expect_arr_eq(y, want, sizeof y, "a loop of no turns");
}

Test(tile, placed_gpu_programs_are_for_the_simulator)
{
    NestRun io = {0};
    cr_expect(!tile_run(&cx, golden("placed"), &io) && cx.status == ST_unsupported);
}

/* Dims that are said to be equal prove what is below one of them to be below the other. */
Test(tile, equal_dims)
{
    const char *const with[] = {"  equal H*W, 24\n", "", "  equal H, W\n", "  equal H*W, 25\n"};
    for (int i = 0; i < 4; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "tile t x86-64-v3 {\n  dim H 1..24\n  dim W 1..24\n%s"
                 "  in x f32 [24]\n  out y f32 [H*W]\n"
                 "  grid (k H*W) { map () { %%0 = load x[k]  store y[k] %%0 } }\n}\n",
                 with[i]);
        Cx own;
        cx_init(&own, NULL, 0);
        TileProg *prog = tile_parse(&own, "test", text);
        cr_assert(prog, "%s", own.message);
        cr_expect_eq(tile_verify(prog), i == 0, "with '%s'", with[i]);
        cx_finish(&own);
    }
}

/* ---- targets and facts */

Test(tile, targets)
{
    for (int i = 0; target_at(i); i++) {
        const Caps *caps = target_at(i);
        cr_expect(target_find(caps->name) == caps && caps->triple && caps->cpu && caps->features);
        cr_expect((caps->kind == TK_cpu) == (caps->triple[0] != 0));
        cr_expect((caps->kind == TK_cuda) == (caps->sm > 0));
    }
    cr_expect(target_find("sm_90a")->cp_async && !target_find("sm_75")->cp_async);
    cr_expect_null(target_find("x86-64-v9"));
    cr_expect(target_find("cpu") == target_host_cpu());
}

Test(tile, facts_prove_by_elimination)
{
    const Expr *m = expr_sym(&cx, "M", 1, INT64_MAX, 1), *i = expr_sym(&cx, "i", 0, 7, 1);
    const Expr *b = expr_sym(&cx, "b", 0, INT64_MAX, 1),
               *row = expr_add(&cx, expr_muli(&cx, b, 8), i);
    Facts facts;
    facts_init(&facts, &cx);
    cr_expect(!facts_prove_lt(&facts, row, m));
    facts_add_lt(&facts, b, expr_divi(&cx, m, 8)); /* full blocks */
    cr_expect(facts_prove_lt(&facts, row, m));
    cr_expect(!facts_prove_lt(&facts, expr_addi(&cx, row, 1), m));
    facts.count = 0;
    facts_add_lt(&facts, i, expr_sub(&cx, m, expr_muli(&cx, b, 8))); /* a bound */
    cr_expect(facts_prove_lt(&facts, row, m));
    const Expr *least = expr_min(&cx, m, expr_addi(&cx, b, 5));
    cr_expect(facts_prove(&facts, expr_sub(&cx, m, least)));
    cr_expect(facts_prove(&facts, expr_addi(&cx, least, -1)), "both are at least 1");
    cr_expect(!facts_prove(&facts, expr_addi(&cx, least, -2)));
}

Test(tile, facts_prove_quotients)
{
    const Expr *i = expr_sym(&cx, "i", 0, 31, 1), *c = expr_sym(&cx, "c", 0, 3, 1);
    Facts facts;
    facts_init(&facts, &cx);
    const Expr *half = expr_divi(&cx, i, 2);
    cr_expect(!facts_prove_lt(&facts, half, expr_const(&cx, 12)));
    facts_add_lt(&facts, i, expr_const(&cx, 24));
    cr_expect(facts_prove_lt(&facts, half, expr_const(&cx, 12)));
    cr_expect(!facts_prove_lt(&facts, half, expr_const(&cx, 11)));
    cr_expect(facts_prove(&facts, expr_addi(&cx, expr_muli(&cx, half, -1), 11)));
    facts_add_lt(&facts, i, expr_const(&cx, 1));
    const Expr *group = expr_divi(&cx, expr_addi(&cx, i, 2), 3);
    const Expr *channel = expr_add(&cx, c, expr_muli(&cx, group, 4));
    cr_expect(facts_prove_lt(&facts, channel, expr_const(&cx, 4)));
    cr_expect(!facts_prove_lt(&facts, channel, expr_const(&cx, 3)));
    facts.count = 0;
    facts_add_lt(&facts, expr_const(&cx, 6), i);
    cr_expect(facts_prove(&facts, expr_addi(&cx, half, -3)));
    cr_expect(!facts_prove(&facts, expr_addi(&cx, half, -4)));
    facts_add_lt(&facts, i, i);
    cr_expect(facts_prove(&facts, expr_addi(&cx, half, -4)), "nothing is ever here");
    /* a last box of rows, which is there when d is odd: 0 <= i < 3*d - 6*(d floordiv 2) */
    const Expr *d = expr_sym(&cx, "d", 1, 9, 1), *full = expr_divi(&cx, d, 2);
    facts.count = 0;
    facts_add_lt(&facts, i, expr_sub(&cx, expr_muli(&cx, d, 3), expr_muli(&cx, full, 6)));
    cr_expect(facts_prove_lt(&facts, full, expr_divi(&cx, expr_addi(&cx, d, 1), 2)));
    cr_expect(!facts_prove_lt(&facts, full, expr_divi(&cx, d, 2)));
}

/* The second step, r < size - 16, of what is 8 long. */
Test(tile, facts_that_refute_one_another)
{
    const Expr *size = expr_sym(&cx, "size", 1, 100, 1), *r = expr_sym(&cx, "r", 0, 15, 1);
    const Expr *other = expr_sym(&cx, "other", 1, 100, 1), *eight = expr_const(&cx, 8);
    Facts facts;
    facts_init(&facts, &cx);
    facts_add(&facts, expr_sub(&cx, eight, size));
    cr_expect(!facts_prove_lt(&facts, expr_addi(&cx, r, 16), eight));
    facts_add_lt(&facts, r, expr_addi(&cx, size, -7));
    cr_expect(!facts_prove_lt(&facts, expr_addi(&cx, r, 1), other), "r may be 0");
    facts.count = 1;
    facts_add_lt(&facts, r, expr_addi(&cx, size, -16));
    cr_expect(facts_prove_lt(&facts, expr_addi(&cx, r, 16), eight));
    cr_expect(facts_prove_lt(&facts, expr_addi(&cx, r, 16), other), "nothing is ever here");
}

/* Heads h of size n in H * n elements: h * n + i < H * n. */
Test(tile, facts_prove_products)
{
    const Expr *n = expr_sym(&cx, "n", 1, 1000, 1), *heads = expr_sym(&cx, "H", 1, 50, 1);
    const Expr *i = expr_sym(&cx, "i", 0, 999, 1), *h = expr_sym(&cx, "h", 0, 11, 1);
    const Expr *g = expr_sym_below(&cx, "g", 0, 49, heads), *t = expr_sym(&cx, "t", 0, 63, 1);
    Facts facts;
    facts_init(&facts, &cx);
    facts_add_lt(&facts, i, n);
    const Expr *at = expr_add(&cx, expr_mul(&cx, h, n), i);
    cr_expect(facts_prove_lt(&facts, at, expr_muli(&cx, n, 12)));
    cr_expect(!facts_prove_lt(&facts, at, expr_muli(&cx, n, 11)));
    at = expr_add(&cx, expr_mul(&cx, g, n), i);
    cr_expect(facts_prove_lt(&facts, at, expr_mul(&cx, heads, n)));
    cr_expect(!facts_prove_lt(&facts, expr_addi(&cx, at, 1), expr_mul(&cx, heads, n)));
    at = expr_add(&cx, expr_mul(&cx, t, n), i);
    cr_expect(!facts_prove_lt(&facts, at, expr_mul(&cx, heads, n)));
    facts_add_lt(&facts, t, heads);
    cr_expect(facts_prove_lt(&facts, at, expr_mul(&cx, heads, n)));
    const Expr *inner = expr_min(&cx, t, expr_addi(&cx, heads, -1));
    facts.count = 1;
    at = expr_add(&cx, expr_mul(&cx, inner, n), i);
    cr_expect(facts_prove_lt(&facts, at, expr_mul(&cx, heads, n)));
    const Expr *any = expr_sym(&cx, "any", -5, 5, 1); /* the other factor may be below 0 */
    cr_expect(!facts_prove(&facts, expr_sub(&cx, expr_muli(&cx, any, 11), expr_mul(&cx, h, any))));
}

Test(tile, facts_prove_after_division)
{
    const Expr *k = expr_sym(&cx, "k", 0, 48, 16), *r = expr_sym(&cx, "r", 0, 15, 1);
    const Expr *h = expr_sym(&cx, "h", 0, 3, 1);
    Facts facts;
    facts_init(&facts, &cx);
    facts_add_lt(&facts, r, expr_sub(&cx, expr_const(&cx, 24), k));
    const Expr *tap = expr_divi(&cx, expr_add(&cx, k, r), 8);  /* at most 2 */
    const Expr *at = expr_muli(&cx, expr_add(&cx, h, tap), 2); /* at most 10 */
    cr_expect(facts_prove_lt(&facts, at, expr_const(&cx, 11)));
    cr_expect(!facts_prove_lt(&facts, at, expr_const(&cx, 10)));
    /* channels of groups of 4: 8*o + 4*(i floordiv 4) + j < 12 under i < 12 - 8*o */
    const Expr *o = expr_sym(&cx, "o", 0, 1, 1), *i = expr_sym(&cx, "i", 0, 7, 1);
    const Expr *j = expr_sym(&cx, "j", 0, 3, 1);
    const Expr *first = expr_muli(&cx, o, 8);
    facts_add_lt(&facts, i, expr_sub(&cx, expr_const(&cx, 12), first));
    const Expr *channel = expr_muli(&cx, expr_divi(&cx, expr_add(&cx, first, i), 4), 4);
    cr_expect(facts_prove_lt(&facts, expr_add(&cx, channel, j), expr_const(&cx, 12)));
    cr_expect(!facts_prove_lt(&facts, expr_add(&cx, channel, j), expr_const(&cx, 11)));
}
