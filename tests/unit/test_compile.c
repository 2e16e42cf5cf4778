/* From graphs to results: plan, machine code, session, compared with plain loops. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "jit/compile.h"
#include "jit/llvm_module.h"
#include "runtime/object.h"
#include "runtime/device_cpu.h"
#include "runtime/session.h"

enum { IN = 40, HIDDEN = 72, OUT = 10 };
static float w1[IN * HIDDEN], b1[HIDDEN], w2[OUT * HIDDEN], b2[OUT], gain[1] = {0.5f};

typedef struct Job {
    Graph *(*make)(Cx *cx);
    Compiled compiled;
    int threads;
    LlvmModule llvm;
} Job;

static Tensor *constant(Graph *g, const char *name, int rank, int64_t d0, int64_t d1,
                        const float *data)
{
    return graph_constant(g, name, DT_f32, rank, (int64_t[]){d0, d1}, data);
}

/* y = relu(x w1 + b1) (w2 * gain)^T + b2; x itself, and w2 * gain, are results too. */
static Graph *make_mlp(Cx *cx)
{
    Graph *g = graph_new(cx, "mlp");
    const Expr *shape[] = {expr_sym(cx, "N", 1, 100, 1), expr_const(cx, IN)};
    Tensor *x = graph_input(g, "x", DT_f32, 2, shape);
    g->source = "node 'fc1' (Gemm)";
    Tensor *h = graph_map(g, S_add, graph_matmul(g, x, constant(g, "w1", 2, IN, HIDDEN, w1)),
                          constant(g, "b1", 1, HIDDEN, 0, b1), NULL);
    h = graph_map(g, S_max, h, graph_scalar(g, DT_f32, 0), NULL);
    g->source = "node 'fc2' (Gemm)";
    Tensor *w = graph_map(g, S_mul, constant(g, "w2", 2, OUT, HIDDEN, w2),
                          constant(g, "gain", 1, 1, 0, gain), NULL);
    Tensor *t = graph_transpose(g, w, (int64_t[]){1, 0});
    Tensor *y = graph_map(g, S_add, graph_matmul(g, h, t), constant(g, "b2", 1, OUT, 0, b2), NULL);
    graph_output(g, y, "y");
    graph_output(g, x, "same");
    graph_output(g, y, "again");
    graph_count_uses(g);
    return g;
}

static void compile(Cx *cx, void *user)
{
    Job *job = user;
    if (!llvm_module_open(cx, &job->llvm, NULL))
        return;
    const FileRange files[] = {{w1, sizeof w1, NULL}, {w2, sizeof w2, NULL}};
    CompileOptions options = {.caps = target_host_cpu(),
                              .kind = CODE_object,
                              .llvm = job->llvm.api,
                              .file_count = 2,
                              .files = files,
                              .threads = job->threads,
                              .keep = (1u << KEEP_count) - 1};
    compile_graph(cx, job->make(cx), &options, &job->compiled);
}

static void fill(float *data, int count, uint32_t seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (float)(seed >> 20) / 4096.0f - 0.5f;
    }
}

static void reference(const float *x, float *y)
{
    double h[HIDDEN];
    for (int j = 0; j < HIDDEN; j++) {
        h[j] = (double)b1[j];
        for (int k = 0; k < IN; k++)
            h[j] += (double)x[k] * (double)w1[k * HIDDEN + j];
        h[j] = h[j] > 0 ? h[j] : 0;
    }
    for (int o = 0; o < OUT; o++) {
        double sum = (double)b2[o];
        for (int j = 0; j < HIDDEN; j++)
            sum += h[j] * (double)(w2[o * HIDDEN + j] * gain[0]);
        y[o] = (float)sum;
    }
}

static void run_sizes(Program *program, Report *report)
{
    static float x[100 * IN], y[100 * OUT], again[100 * OUT], same[100 * IN], want[OUT];
    Session *s;
    cr_assert_eq(session_create(program, NULL, &s, report), ST_ok, "%s", report->text);
    fill(x, 100 * IN, 5);
    for (int64_t n = 1; n <= 100; n = n * 2 + 1) {
        SessionShape shape = {2, (int64_t[]){n, IN}};
        cr_assert_eq(session_set_shapes(s, &shape, report), ST_ok, "%s", report->text);
        cr_assert_eq(session_run(s, (const void *[]){x}, (void *[]){y, same, again}, report), ST_ok,
                     "%s", report->text);
        for (int64_t i = 0; i < n; i++) {
            reference(x + i * IN, want);
            for (int o = 0; o < OUT; o++)
                cr_assert(fabsf(y[i * OUT + o] - want[o]) < 1e-5f, "n %lld row %lld: %g, not %g",
                          (long long)n, (long long)i, (double)y[i * OUT + o], (double)want[o]);
        }
        cr_assert_eq(memcmp(again, y, (size_t)n * OUT * 4), 0);
        cr_assert_eq(memcmp(same, x, (size_t)n * IN * 4), 0);
    }
    cr_assert_gt(session_info(s).flops, 100.0 * 2 * IN * HIDDEN * 0.5);
    session_destroy(s);
}

/* Memory with guards behind, so that a kernel that writes too much is caught. */
enum { GUARD = 4096 };

static void *guarded_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    char *memory = aligned_alloc(align, (size + GUARD + align - 1) / align * align);
    if (memory)
        memset(memory + size, 0xAB, GUARD);
    return memory;
}

static void guarded_release(void *user, void *memory, size_t size)
{
    (void)user;
    for (int i = 0; i < GUARD; i++)
        cr_assert_eq(((unsigned char *)memory)[size + (size_t)i], 0xAB, "byte %d behind %zu bytes",
                     i, size);
    free(memory);
}

static const Allocator guarded = {NULL, guarded_alloc, guarded_release};

static void check_threads(int threads)
{
    Job job = {.make = make_mlp, .threads = threads};
    Cx cx;
    Report report;
    fill(w1, IN * HIDDEN, 1);
    fill(b1, HIDDEN, 2);
    fill(w2, OUT * HIDDEN, 3);
    fill(b2, OUT, 4);
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
    const Plan *plan = job.compiled.plan;
    cr_assert_eq(plan->init_count, 3, "%u", plan->init_count); /* w2 * gain, two packed weights */
    cr_assert_eq(plan->step_count, 4, "%u", plan->step_count); /* two products, two copies */
    cr_assert_str_eq(plan->steps[0].nodes, "node 'fc1' (Gemm)");
    for (int i = 0; i < KEEP_count; i++)
        cr_assert_eq(job.compiled.texts[i] != NULL, 1 << i != KEEP_placed, "text %d", i);
    const void *weights[16] = {NULL};
    for (uint32_t w = 0; w < plan->weight_count; w++)
        if (plan->weights[w].file != PLAN_INLINE)
            weights[w] = (const char *)(plan->weights[w].file ? w2 : w1) + plan->weights[w].offset;
    Pool *pool = pool_create(NULL, threads);
    Device *device = device_cpu_open(&guarded, pool_executor(pool));
    DeviceCode *code;
    cr_assert_eq(device->type->load(device, plan, &job.compiled.code, NULL, &code, &report), ST_ok,
                 "%s", report.text);
    ProgramParts parts = {
        .plan = plan, .weights = weights, .device = device, .code = code, .from = &guarded};
    Program *program;
    cr_assert_eq(program_create(&parts, &program, &report), ST_ok, "%s", report.text);
    run_sizes(program, &report);
    program_destroy(program);
    device->type->unload(code);
    device->type->close(device);
    pool_destroy(pool);
    cx_finish(&cx);
}

Test(compile, one_thread)
{
    check_threads(1);
}

Test(compile, two_threads)
{
    check_threads(2);
}

/* A session of what was compiled, whose weights are in the plan; this stays the compile's. */
typedef struct Opened {
    Device *device;
    DeviceCode *code;
    Program *program;
    Session *session;
} Opened;

static Opened open_session(const Compiled *compiled)
{
    Opened o;
    Report report;
    o.device = device_cpu_open(&guarded, executor_inline);
    cr_assert_eq(
        o.device->type->load(o.device, compiled->plan, &compiled->code, NULL, &o.code, &report),
        ST_ok, "%s", report.text);
    ProgramParts parts = {
        .plan = compiled->plan, .device = o.device, .code = o.code, .from = &guarded};
    cr_assert_eq(program_create(&parts, &o.program, &report), ST_ok, "%s", report.text);
    cr_assert_eq(session_create(o.program, NULL, &o.session, &report), ST_ok, "%s", report.text);
    return o;
}

static void close_session(Opened *o)
{
    session_destroy(o->session);
    program_destroy(o->program);
    o->device->type->unload(o->code);
    o->device->type->close(o->device);
}

/* --- which of several picks in a kernel met a bad index --- */

static Graph *make_picks(Cx *cx)
{
    Graph *g = graph_new(cx, "picks");
    const Expr *six[] = {expr_const(cx, 6)}, *four[] = {expr_const(cx, 4)};
    Tensor *x = graph_input(g, "x", DT_f32, 1, six);
    Tensor *i = graph_input(g, "i", DT_i64, 1, four), *k = graph_input(g, "k", DT_i64, 1, four);
    g->source = "node 'left' (Gather)";
    Tensor *a = graph_gather(g, x, i, 0);
    g->source = "node 'right' (Gather)";
    Tensor *b = graph_gather(g, x, k, 0);
    g->source = "node 'sum' (Add)";
    graph_output(g, graph_map(g, S_add, a, b, NULL), "y");
    graph_count_uses(g);
    return g;
}

static void run_picks(Session *s, const int64_t *i, const int64_t *k, const char *wrong)
{
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    float y[4];
    Report report;
    Status want = wrong ? ST_bad_index : ST_ok;
    cr_assert_eq(session_run(s, (const void *[]){x, i, k}, (void *[]){y}, &report), want);
    cr_assert(!wrong || strncmp(report.text, wrong, strlen(wrong)) == 0, "%s", report.text);
}

Test(compile, bad_index_names_the_node)
{
    static const int64_t good[] = {0, 1, -1, 5}, bad[] = {0, 1, 6, 5};
    Job job = {.make = make_picks, .threads = 1};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
    const Plan *plan = job.compiled.plan;
    cr_assert_eq(plan->step_count, 1);
    Opened o = open_session(&job.compiled);
    Session *s = o.session;
    run_picks(s, good, good, NULL);
    run_picks(s, bad, good, "node 'left' (Gather): an index in the data is out of range");
    run_picks(s, good, bad, "node 'right' (Gather): an index in the data is out of range");
    close_session(&o);
    cx_finish(&cx);
}

/* --- weights of several sizes, packed by one kernel --- */

enum { ROWS = 3, NARROW = 192, WIDE = 384 };
static float wide[NARROW * WIDE], narrow[WIDE * NARROW], square[NARROW * NARROW];

/* y = x wide narrow square */
static Graph *make_products(Cx *cx)
{
    Graph *g = graph_new(cx, "products");
    const Expr *shape[] = {expr_const(cx, ROWS), expr_const(cx, NARROW)};
    Tensor *t = graph_input(g, "x", DT_f32, 2, shape);
    t = graph_matmul(g, t, constant(g, "wide", 2, NARROW, WIDE, wide));
    t = graph_matmul(g, t, constant(g, "narrow", 2, WIDE, NARROW, narrow));
    t = graph_matmul(g, t, constant(g, "square", 2, NARROW, NARROW, square));
    graph_output(g, t, "y");
    graph_count_uses(g);
    return g;
}

static void product(const float *x, const float *w, int k, int n, float *y)
{
    for (int r = 0; r < ROWS; r++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += (double)x[r * k + i] * (double)w[i * n + j];
            y[r * n + j] = (float)sum;
        }
}

Test(compile, packing_of_several_sizes)
{
    static float x[ROWS * NARROW], a[ROWS * WIDE], b[ROWS * NARROW], want[ROWS * NARROW],
        y[ROWS * NARROW];
    Job job = {.make = make_products, .threads = 1};
    Cx cx;
    Report report;
    fill(x, ROWS * NARROW, 1);
    fill(wide, NARROW * WIDE, 2);
    fill(narrow, WIDE * NARROW, 3);
    fill(square, NARROW * NARROW, 4);
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
    const Plan *plan = job.compiled.plan;
    cr_assert_eq(plan->init_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(plan->init[i].kernel, plan->init[0].kernel);
        cr_assert_eq(plan->init[i].dim_count, 2);
    }
    Opened o = open_session(&job.compiled);
    cr_assert_eq(session_run(o.session, (const void *[]){x}, (void *[]){y}, &report), ST_ok, "%s",
                 report.text);
    product(x, wide, NARROW, WIDE, a);
    product(a, narrow, WIDE, NARROW, b);
    product(b, square, NARROW, NARROW, want);
    for (int i = 0; i < ROWS * NARROW; i++)
        cr_assert(fabsf(y[i] - want[i]) < 1e-3f * (1 + fabsf(want[i])), "%d: %g, not %g", i,
                  (double)y[i], (double)want[i]);
    close_session(&o);
    cx_finish(&cx);
}

/* --- code for named targets, without their devices --- */

typedef struct Named {
    const char *target;
    CodeKind kind;
    Compiled compiled;
} Named;

static void compile_named(Cx *cx, void *user)
{
    Named *job = user;
    CompileOptions options = {.caps = target_find(job->target), .kind = job->kind, .threads = 2};
    if (options.kind == CODE_count)
        options.kind = emit_kind(options.caps);
    compile_graph(cx, make_mlp(cx), &options, &job->compiled);
}

/* Whether the bytes of some piece hold the text. */
static bool holds(const CodeImage *code, const char *text)
{
    size_t length = strlen(text);
    for (uint32_t i = 0; i < code->count; i++) {
        const char *data = code->pieces[i].data;
        for (size_t at = 0; at + length <= code->pieces[i].size; at++)
            if (memcmp(data + at, text, length) == 0)
                return true;
    }
    return false;
}

static void check_named(const char *target, CodeKind kind, CodeKind want, bool names)
{
    Named job = {.target = target, .kind = kind};
    Cx cx;
    cx_init(&cx, NULL, 0);
    Status status = cx_run(&cx, compile_named, &job);
    if (status == ST_missing) {
        cr_log_info("skipped: %s", cx.message);
        cx_finish(&cx);
        return;
    }
    cr_assert_eq(status, ST_ok, "%s: %s", target, cx.message);
    const Plan *plan = job.compiled.plan;
    cr_assert_eq(job.compiled.code.kind, want);
    for (uint32_t k = 0; k < plan->kernel_count; k++)
        for (uint32_t p = 0; p < plan->kernels[k].phase_count; p++) {
            char name[300];
            const PlanPhase *phase = &plan->kernels[k].phases[p];
            snprintf(name, sizeof name, "%s_%u", plan->kernels[k].name, p);
            cr_assert(!names || holds(&job.compiled.code, name), "%s: no '%s'", target, name);
            bool gpu = want == CODE_cubin || strcmp(target, "opencl") == 0;
            cr_assert(gpu ? phase->threads >= 32 : phase->threads == 1, "%u", phase->threads);
            cr_assert(want == CODE_cubin || phase->shared == 0);
        }
    cx_finish(&cx);
}

Test(compile, named_targets)
{
    check_named("opencl-cpu", CODE_count, CODE_opencl, true);
    check_named("opencl", CODE_count, CODE_opencl, true);
    check_named("sm_75", CODE_count, CODE_cubin, true);
    check_named("sm_80", CODE_count, CODE_cubin, true);
    check_named("sm_90a", CODE_count, CODE_cubin, true);
    check_named("opencl", CODE_none, CODE_none, false);
}
