/* Nests: builder, parser and verifier errors, and the interpreter against plain C on the small
 * golden nests. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/property/random_nest.h"
#include "tests/unit/golden.h"

static Cx cx;
static Nest *nest;
static void **buffers;
static int64_t dims[2];
static NestRun io;

static void setup(void)
{
    cx_init(&cx, NULL, 0);
}

static void teardown(void)
{
    cx_finish(&cx);
}

TestSuite(nest, .init = setup, .fini = teardown);

static void parse(const char *text)
{
    nest = nest_parse(&cx, "test", text);
    if (nest)
        nest_verify(nest);
}

/* Parses a golden nest, makes data (quarters, so that exp and erf have work) and runs it. */
static void run_golden(const char *name)
{
    char file[100];
    snprintf(file, sizeof file, "nest/%s.nest", name);
    char *text = golden_named(file);
    parse(text);
    cr_assert(!cx_failed(&cx), "%s", cx.message);
    buffers = random_nest_buffers(&cx, nest, dims, 7, NULL);
    for (uint32_t b = 0; b < nest->buffer_count; b++) {
        const Buffer *buffer = nest->buffers[b];
        for (int64_t i = 0; buffer->dtype == DT_f32 && buffer->role != BUF_out &&
                            i < buffer_reach(nest, buffer, dims);
             i++)
            ((float *)buffers[b])[i] = ((float *)buffers[b])[i] * 0.25f + (float)(i % 5) * 0.01f;
    }
    io = (NestRun){.buffers = buffers, .dims = dims};
    cr_assert(nest_run(&cx, nest, &io), "%s", cx.message);
    free(text);
}

static float *memory(const char *name)
{
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        if (strcmp(nest->buffers[i]->name, name) == 0)
            return buffers[i];
    cr_assert(false, "no buffer %s", name);
    return NULL;
}

static void near(double got, double want)
{
    cr_expect(fabs(got - want) <= 1e-5 * (1 + fabs(want)), "got %.9g, want %.9g", got, want);
}

/* ---- interpreter */

static void check_gemm(int m_count, int n_count, int k_count)
{
    const float *a = memory("a"), *b = memory("b"), *bias = memory("bias"), *r = memory("r");
    const float *y = memory("y");
    for (int m = 0; m < m_count; m++) {
        for (int n = 0; n < n_count; n++) {
            double sum = bias[n];
            for (int k = 0; k < k_count; k++)
                sum += (double)a[m * k_count + k] * b[k * n_count + n];
            double gelu = 0.5 * sum * (1 + erf(sum / sqrt(2)));
            near(y[m * n_count + n], gelu + r[m * n_count + n]);
        }
    }
}

Test(nest, gemm)
{
    run_golden("gemm_const_small");
    check_gemm(7, 19, 13);
}

Test(nest, gemm_with_a_symbol)
{
    dims[0] = 3;
    run_golden("gemm_sym_small");
    check_gemm(3, 17, 5);
    dims[0] = 10;
    cr_expect(!nest_run(&cx, nest, &io) && strstr(cx.message, "dim M is 10, not in 1..9"));
}

Test(nest, convolution)
{
    run_golden("conv3x3s2_small");
    const float *x = memory("x"), *w = memory("w"), *b = memory("b"), *r = memory("r");
    const float *y = memory("y");
    for (int h = 0; h < 4; h++) {
        for (int q = 0; q < 4; q++) {
            for (int o = 0; o < 5; o++) {
                double sum = b[o];
                for (int t = 0; t < 27; t++) {
                    int kh = t / 9, kw = t / 3 % 3, c = t % 3, ih = 2 * h + kh - 1;
                    int iw = 2 * q + kw - 1;
                    if (ih >= 0 && ih < 7 && iw >= 0 && iw < 7)
                        sum += (double)x[(ih * 7 + iw) * 3 + c] * w[o * 27 + t];
                }
                int at = (h * 4 + q) * 5 + o;
                near(y[at], fmax(sum + r[at], 0));
            }
        }
    }
}

Test(nest, softmax)
{
    run_golden("softmax_middle_small");
    const float *x = memory("x"), *y = memory("y");
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 10; k++) {
            double sum = 0;
            for (int j = 0; j < 7; j++)
                sum += exp((double)x[(i * 7 + j) * 10 + k]);
            for (int j = 0; j < 7; j++)
                near(y[(i * 7 + j) * 10 + k], exp((double)x[(i * 7 + j) * 10 + k]) / sum);
        }
    }
}

Test(nest, layer_norm)
{
    run_golden("layernorm_small");
    const float *x = memory("x"), *y = memory("y"), *s = memory("scale"), *b = memory("bias");
    for (int i = 0; i < 3; i++) {
        double mean = 0, var = 0;
        for (int j = 0; j < 21; j++)
            mean += x[i * 21 + j] / 21.0;
        for (int j = 0; j < 21; j++)
            var += (x[i * 21 + j] - mean) * (x[i * 21 + j] - mean) / 21.0;
        for (int j = 0; j < 21; j++)
            near(y[i * 21 + j], (x[i * 21 + j] - mean) / sqrt(var + 1e-6) * s[j] + b[j]);
    }
}

Test(nest, attention)
{
    enum { H = 6, S = 5, D = 4, L = 8 };
    dims[0] = L;
    run_golden("attention_small");
    const float *q = memory("q"), *k = memory("k"), *v = memory("v"), *y = memory("y");
    for (int h = 0; h < H; h++) {
        for (int s = 0; s < S; s++) {
            double weight[L], total = 0, out[D] = {0};
            for (int l = 0; l < L; l++) {
                double dot = 0;
                for (int c = 0; c < D; c++)
                    dot += (double)q[(h * S + s) * D + c] * k[(h / 3 * L + l) * D + c];
                weight[l] = l <= s + L - S ? exp(dot * 0.5) : 0;
                total += weight[l];
                for (int d = 0; d < D; d++)
                    out[d] += weight[l] * v[(h / 3 * L + l) * D + d];
            }
            for (int d = 0; d < D; d++)
                near(y[(h * S + s) * D + d], out[d] / total);
        }
    }
}

Test(nest, running_sums)
{
    run_golden("causal_extent_small");
    const float *x = memory("x"), *y = memory("y");
    for (int d = 0; d < 6; d++) {
        double sum = 0;
        for (int i = 0; i < 9; i++)
            near(y[i * 6 + d], sum += x[i * 6 + d]);
    }
}

Test(nest, argmax_takes_the_first_and_nan)
{
    run_golden("argmax_small");
    float *x = memory("x");
    const int64_t *y = (const int64_t *)(void *)memory("y");
    for (int i = 0; i < 60; i++)
        x[i] = (float)(i % 4);
    x[10] = NAN;
    x[13] = NAN;
    x[20] = -INFINITY;
    cr_assert(nest_run(&cx, nest, &io));
    cr_expect_eq(y[0], 3); /* of 0 1 2 3 0 1 2 3 0 1 */
    cr_expect_eq(y[1], 0);
    cr_expect_eq(y[2], 3);
}

Test(nest, gather_reports_the_first_bad_index)
{
    run_golden("gather_small");
    const float *table = memory("table"), *y = memory("y");
    int64_t *ids = (int64_t *)(void *)memory("ids");
    static const int64_t good[7] = {0, 10, -1, -11, 5, 5, 3};
    memcpy(ids, good, sizeof good);
    cr_assert(nest_run(&cx, nest, &io));
    cr_expect_eq(io.bad_index, 0);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 5; j++)
            cr_expect_eq(y[i * 5 + j], table[(good[i] < 0 ? good[i] + 11 : good[i]) * 5 + j]);
    ids[3] = 11;
    ids[4] = -12;
    cr_assert(nest_run(&cx, nest, &io)); /* clamped, so that memory is safe */
    cr_expect_eq(io.bad_index, 2);       /* 1 + id of the bind */
    cr_expect_eq(y[15], table[50]);
    cr_expect_eq(y[20], table[0]);
}

Test(nest, narrow_types_and_strided_views)
{
    dims[0] = 4;
    run_golden("mixed_types_small");
    const uint8_t *x = (const uint8_t *)memory("x"), *mask = (const uint8_t *)memory("mask");
    const int8_t *w = (const int8_t *)memory("w"), *y = (const int8_t *)memory("y");
    const float *wide = memory("wide");
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 7; j++) {
            int sum = 0;
            for (int k = 0; k < 12; k++)
                sum += x[i * 12 + k] * w[k * 7 + j];
            cr_expect_eq(y[i * 7 + j], (int8_t)(mask[i] ? sum >> 7 : 0));
            cr_expect_eq(wide[4 + i * 8 + j], (float)sum);
        }
    }
}

Test(nest, an_empty_reduction_gives_the_identity)
{
    parse("nest e { dim N 0..4 in x f32 [N] out s f32 [] out m f32 [] axis i N\n"
          "%0 = load x[i] %1 = reduce sum f32 (i) %0 %2 = reduce max f32 (i) %0\n"
          "store s[] %1 store m[] %2 }");
    cr_assert(!cx_failed(&cx), "%s", cx.message);
    float x[4] = {1, 2, 3, -1}, s = -1, m = -1;
    void *all[] = {x, &s, &m};
    dims[0] = 0;
    io = (NestRun){.buffers = all, .dims = dims};
    cr_assert(nest_run(&cx, nest, &io), "%s", cx.message);
    cr_expect(s == 0 && m == -INFINITY);
    dims[0] = 4;
    cr_assert(nest_run(&cx, nest, &io));
    cr_expect(s == 5 && m == 3);
}

/* A map over an axis that may be empty stores nothing then. */
Test(nest, an_empty_axis_stores_nothing)
{
    parse("nest e { dim N 0..1 in x f32 [N] out y f32 [N] axis i N %0 = load x[i] store y[i] %0 }");
    float x = 3, y = 7;
    void *all[] = {&x, &y};
    dims[0] = 0;
    io = (NestRun){.buffers = all, .dims = dims};
    cr_assert(nest_run(&cx, nest, &io), "%s", cx.message);
    cr_expect_eq(y, 7);
    dims[0] = 1;
    cr_assert(nest_run(&cx, nest, &io), "%s", cx.message);
    cr_expect_eq(y, 3);
}

/* ---- the interpreter finds lowering bugs */

static void run_fails(const char *text, const char *message)
{
    parse(text);
    cr_assert(!cx_failed(&cx), "%s", cx.message);
    buffers = random_nest_buffers(&cx, nest, dims, 1, NULL);
    io = (NestRun){.buffers = buffers, .dims = dims};
    cr_assert(!nest_run(&cx, nest, &io));
    cr_expect(strstr(cx.message, message), "%s", cx.message);
}

Test(nest, a_load_out_of_bounds_is_found)
{
    run_fails("nest b { in x f32 [4] out y f32 [4] axis i 4 %0 = load x[i + 1] store y[i] %0 }",
              "out of bounds: x[i + 1] at i=3");
}

Test(nest, a_guard_that_is_too_wide_is_found)
{
    run_fails("nest b { in x f32 [4] out y f32 [9] axis i 9\n"
              "%0 = load x[i - 2] if 0 <= i - 2 < 5 else 0 store y[i] %0 }",
              "out of bounds: x[i - 2] if 0 <= i - 2 < 5 at i=6");
}

Test(nest, an_element_stored_twice_is_found)
{
    run_fails("nest b { in x f32 [4] out y f32 [2] axis i 4 %0 = load x[i]\n"
              "store y[i floordiv 2] %0 }",
              "stored twice");
}

/* ---- parser */

static void parse_fails(const char *text, const char *message)
{
    Cx own;
    cx_init(&own, NULL, 0);
    cr_expect(!nest_parse(&own, "test", text));
    cr_expect(own.message && strstr(own.message, message), "%s", own.message);
    cx_finish(&own);
}

Test(nest, parser_errors)
{
    parse_fails("nest a { in x f32 [2] in x f32 [2] }", "'x' is defined already");
    parse_fails("nest a {\n  in x f99 [2]\n}", "test:2:8: expected an element type");
    parse_fails("nest a { in x f99 [2] }", "expected an element type");
    parse_fails("nest a { in x f32 [1,1,1,1,1,1,1,1,1,1,1,1,1] }", "more than 12 dimensions");
    parse_fails("nest a { axis i 4 in x f32 [2] %0 = load x[i, i] }", "has 1 dimensions, not 2");
    parse_fails("nest a { axis i 4 %0 = load y[i] }", "name of a buffer or tile");
    parse_fails("nest a { in x f32 [M] }", "M");
    parse_fails("nest a { %0 = add f32 %1, %2 }", "%1 is not defined");
    parse_fails("nest a { %0 = const f32 1 %0 = const f32 1 }", "%0 is defined already");
    parse_fails("nest a { %9999999 = const f32 1 }", "expected a value");
    parse_fails("nest a { %0 = const f16 1 }", "no");
    parse_fails("nest a { %0 = const i32 3000000000 }", "does not fit i32");
    parse_fails("nest a { %0 = const i32 1 %1 = sqrt i32 %0 }", "operands do not fit");
    parse_fails("nest a { %0 = const i32 1 %1 = neg f32 %0 }", "gives i32 here, not f32");
    parse_fails("nest a { %0 = frobnicate f32 }", "unknown operation");
    parse_fails("nest a { dim N 4..2 }", "no size is in this range");
    parse_fails("nest a { dim N 1..5 mult 8 }", "no size is in this range");
    parse_fails("nest a { dim N 1..5 equal N 4 }", "expected ','");
    parse_fails("nest a { dim N 1..5 equal N, M }", "unknown name");
    parse_fails("nest a { in if f32 [2] }", "cannot be a name");
    parse_fails("nest a { in x f32 [2] align 3 }", "power of two");
    parse_fails("nest a { %0 = const f32 1 %1 = reduce sum f32 (k) %0 }", "name of an axis");
    parse_fails("nest a { in x f32 [2]", "expected dim");
    parse_fails("nest a { } nest b { }", "expected the end");
    parse_fails("", "");
}

/* ---- verifier */

static void verify_fails(const char *text, const char *message)
{
    Cx own;
    cx_init(&own, NULL, 0);
    Nest *parsed = nest_parse(&own, "test", text);
    cr_assert(parsed, "%s", own.message);
    cr_expect(!nest_verify(parsed));
    cr_expect(own.message && strstr(own.message, message), "%s", own.message);
    cx_finish(&own);
}

Test(nest, verifier_errors)
{
    verify_fails("nest a { }", "nothing is stored");
    verify_fails("nest a { axis i 4 equal i, 3 }", "equal dims: symbol 'i' may not be used there");
    verify_fails("nest a { in x f32 [4] axis i 4 %0 = load x[i] store x[i] %0 }", "is an input");
    verify_fails("nest a { out x f32 [4] out y f32 [4] axis i 4 %0 = load x[i] store y[i] %0 }",
                 "an output is read");
    verify_fails("nest a { in x f32 [4] out y f32 [] axis i 4 %0 = load x[i] store y[] %0 }",
                 "needs axis 'i'");
    verify_fails("nest a { in x f32 [4] out y f32 [4] axis i 4 axis l i + 1 %0 = load x[l]\n"
                 "store y[l] %0 }",
                 "needs axis 'i'");
    verify_fails("nest a { in x f32 [4, 4] out y f32 [4] axis i 4 axis l i + 1\n"
                 "%0 = load x[i, l] %1 = reduce sum f32 (i) %0 store y[l] %1 }",
                 "depends on a reduced axis");
    verify_fails("nest a { in x i64 [4] out y f32 [9] axis i 4 %0 = load x[i]\n"
                 "%1 = bind p %0 in 0..8 %2 = const f32 1 store y[p] %2 }",
                 "symbol 'p' may not be used");
    verify_fails("nest a { axis i 4 in x f32 [i + 1] out y f32 [4] %0 = load x[0] store y[i] %0 }",
                 "symbol 'i' may not be used");
}

Test(nest, verifier_finds_what_no_text_can_say)
{
    parse("nest a { in x f32 [4] out y f32 [4] axis i 4 %0 = load x[i] %1 = neg f32 %0\n"
          "store y[i] %1 }");
    cr_assert(!cx_failed(&cx));
    nest->values[1]->axes = 0;
    cr_expect(!nest_verify(nest));
    cr_expect(strstr(cx.message, "set of axes is wrong: in '%1 = neg f32 %0'"), "%s", cx.message);
}

/* ---- builder */

Test(nest, builder_merges_and_folds)
{
    nest = nest_new(&cx, "model/layer 1");
    const Expr *four = expr_const(&cx, 4);
    const Axis *i = nest_axis(nest, "i", four);
    Buffer *x = nest_buffer(nest, "x:0", DT_f32, BUF_in, 1, &four);
    Buffer *again = nest_buffer(nest, "x:0", DT_f32, BUF_in, 1, &four);
    cr_expect_str_eq(nest->name, "model_layer_1");
    cr_expect_str_eq(x->name, "x_0");
    cr_expect_str_eq(again->name, "x_0_1");
    Value *a = nest_load(nest, x, &i->sym, NULL, 0, (Scalar){0});
    cr_expect_eq(a, nest_load(nest, x, &i->sym, NULL, 0, (Scalar){0}));
    cr_expect_eq(a->axes, 1);
    Value *one = nest_constf(nest, DT_f32, 1), *zero = nest_constf(nest, DT_f32, 0);
    cr_expect_eq(nest_scalar(nest, S_mul, a, one, NULL), a);
    cr_expect_eq(nest_scalar(nest, S_sub, a, zero, NULL), a);
    cr_expect_neq(nest_scalar(nest, S_add, a, zero, NULL), a); /* -0 + 0 is 0 */
    cr_expect_eq(nest_scalar(nest, S_add, one, zero, NULL), one);
    cr_expect_eq(nest_scalar(nest, S_neg, nest_scalar(nest, S_neg, a, NULL, NULL), NULL, NULL), a);
    cr_expect_eq(nest_scalar(nest, S_div, a, nest_constf(nest, DT_f32, 8), NULL),
                 nest_scalar(nest, S_mul, a, nest_constf(nest, DT_f32, 0.125), NULL));
    cr_expect_eq(nest_scalar(nest, S_div, a, nest_constf(nest, DT_f32, 3), NULL)->scalar, S_div);
    cr_expect_eq(nest_scalar(nest, S_div, a, zero, NULL)->scalar, S_div);
    cr_expect_neq(nest_constf(nest, DT_f32, -0.0), zero);
    cr_expect_eq(nest_constf(nest, DT_f32, NAN), nest_constf(nest, DT_f32, -NAN));
    /* Sums and comparisons of positions. */
    Value *at = nest_index(nest, DT_i64, i->sym), *last = nest_index(nest, DT_i64, four);
    Value *next = nest_index(nest, DT_i64, expr_addi(&cx, i->sym, 4));
    cr_expect_eq(nest_scalar(nest, S_add, at, last, NULL), next);
    cr_expect_eq(nest_scalar(nest, S_sub, next, last, NULL), at);
    cr_expect_eq(nest_scalar(nest, S_lt, at, last, NULL)->constant.i, 1);
    cr_expect_eq(nest_scalar(nest, S_le, next, at, NULL)->op, V_const);
    cr_expect_eq(
        nest_scalar(nest, S_lt, at, nest_index(nest, DT_i64, expr_const(&cx, 2)), NULL)->op,
        V_scalar);
    /* Guards that bounds decide vanish. */
    Guard always = {i->sym, expr_const(&cx, 0), four};
    Guard never = {i->sym, four, expr_const(&cx, 9)};
    Guard open = {i->sym, expr_const(&cx, 1), four};
    cr_expect_eq(nest_load(nest, x, &i->sym, &always, 1, (Scalar){.f = 3}), a);
    cr_expect_eq(nest_load(nest, x, &i->sym, &never, 1, (Scalar){.f = 1}), one);
    cr_expect_neq(nest_load(nest, x, &i->sym, &open, 1, (Scalar){.f = 3}), a);
    cr_expect(!cx_failed(&cx));
    /* Misuse is reported and gives a value to go on with. */
    cr_expect(nest_scalar(nest, S_and, a, a, NULL));
    cr_expect(strstr(cx.message, "operands do not fit"), "%s", cx.message);
}

Test(nest, operations_are_counted)
{
    parse("nest g { in a f32 [6, 8] in b f32 [8, 5] out y f32 [6, 5] axis m 6 axis n 5 axis k 8\n"
          "%0 = load a[m, k] %1 = load b[k, n] %2 = mul f32 %0, %1\n"
          "%3 = reduce sum f32 (k) %2 store y[m, n] %3 }");
    cr_expect_eq(nest->scalar_ops, 2 * 6 * 5 * 8);
}

Test(nest, random_text_damage_is_reported_not_crashed_on)
{
    static const char text[] =
        "nest g { dim M 1..9 mult 1 in a f32 [M, 8] strides [9, 1] offset 3 align 64 in t i64 [M]\n"
        "out y f32 [M] axis m M axis k 8 %0 = load t[m] %1 = bind r %0 in 0..M - 1 wrap\n"
        "%2 = load a[r, k] if 0 <= k - 1 < 7, 1 <= m < M else -0.5 %3 = const f32 2\n"
        "%4 = mul f32 %2, %3 %5 = reduce sum f32 (k) %4 %6 = cast f16 %5 store y[m] %6 }";
    parse(text);
    cr_assert(!cx_failed(&cx), "%s", cx.message);
    uint64_t state = 1;
    int good = 0;
    for (int round = 0; round < 4000; round++) {
        char copy[sizeof text];
        memcpy(copy, text, sizeof text);
        for (int hits = 0; hits < 1 + round % 3; hits++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t at = (size_t)(state >> 33) % (sizeof text - 1);
            size_t from = (size_t)(state >> 13) % (sizeof text - 1);
            copy[at] = round % 2 ? text[from] : (char)(32 + (state >> 50) % 95);
        }
        Cx own;
        cx_init(&own, NULL, 64 << 20);
        Nest *parsed = nest_parse(&own, "test", copy);
        good += parsed && nest_verify(parsed);
        cr_expect((parsed != NULL && !cx_failed(&own)) || own.message);
        cx_finish(&own);
    }
    cr_expect(good > 0 && good < 4000);
}
