/* The devices, and the plan that the checks of test_device.c run on them. It is compiled from a
 * graph for the device's own target:
 *
 *   b = g * g                           at load
 *   y[N,16] = relu(x[N,24] w + b)       a result, and read again
 *   t[N,16] = y v                       intermediate
 *   s[N,16] = softmax(t)
 *   z[M,16] = s[i[M]]                   sets the error cell
 *   c[N,24] = x                         a copy
 */
#ifndef QUERN_TESTS_DEVICE_CASE_H
#define QUERN_TESTS_DEVICE_CASE_H

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "jit/compile.h"
#include "jit/device_sim.h"
#include "jit/llvm_module.h"
#include "runtime/device_cpu.h"
#include "runtime/device_cuda.h"
#include "runtime/device_null.h"
#include "runtime/device_opencl.h"
#include "runtime/session.h"
#include "tests/unit/counting.h"

enum { IN = 24, OUT = 16, ROWS = 50, PICKS = 64 };
static float w[IN * OUT], v[OUT * OUT], g[OUT];
static float x[ROWS * IN], want_y[ROWS * OUT], want_s[ROWS * OUT];

/* --- devices --- */

static Report report;

static inline Device *open_cpu(void)
{
    return device_cpu_open(&counting, executor_inline);
}

static inline Device *open_null(void)
{
    return device_null_open(&counting);
}

static inline Device *open_sim(void)
{
    return device_sim_open(&counting);
}

static inline Device *open_opencl(void)
{
    return device_opencl_open(&counting, &report);
}

static inline Device *open_cuda(void)
{
    return device_cuda_open(&counting, &report);
}

static inline const char *host_target(const Device *device)
{
    (void)device;
    return cpu_level();
}

typedef struct Kind {
    const char *name;
    Device *(*open)(void);
    const char *(*target)(const Device *device);
    CodeKind code;
} Kind;

static const Kind kinds[] = {
    {"cpu", open_cpu, host_target, CODE_object},
    {"opencl", open_opencl, device_opencl_target, CODE_opencl},
    {"cuda", open_cuda, device_cuda_target, CODE_cubin},
    {"sim", open_sim, device_sim_target, CODE_tile},
    {"null", open_null, host_target, CODE_none},
};

typedef struct Job {
    const Kind *kind;
    Device *device;
    const DeviceType *type;
    LlvmModule llvm;
    Compiled compiled;
    const Plan *plan;
    const void *weights[8];
} Job;

static Job job;
static Cx cx;

/* --- the plan --- */

static inline Tensor *constant(Graph *graph, const char *name, int64_t rows, const float *data)
{
    return graph_constant(graph, name, DT_f32, rows ? 2 : 1,
                          rows ? (int64_t[]){rows, OUT} : (int64_t[]){OUT}, data);
}

static inline Graph *make_graph(void)
{
    Graph *graph = graph_new(&cx, "cts");
    const Expr *n = expr_sym(&cx, "N", 0, 1000, 1), *m = expr_sym(&cx, "M", 0, PICKS, 1);
    Tensor *in = graph_input(graph, "x", DT_f32, 2, (const Expr *[]){n, expr_const(&cx, IN)});
    Tensor *at = graph_input(graph, "i", DT_i64, 1, &m);
    Tensor *gain = constant(graph, "g", 0, g);
    Tensor *b = graph_map(graph, S_mul, gain, gain, NULL);
    Tensor *y = graph_matmul(graph, in, constant(graph, "w", IN, w));
    y = graph_map(graph, S_add, y, b, NULL);
    y = graph_map(graph, S_max, y, graph_scalar(graph, DT_f32, 0), NULL);
    Tensor *s =
        graph_softmax(graph, graph_matmul(graph, y, constant(graph, "v", OUT, v)), 1, false);
    graph->source = "node 'pick' (Gather)";
    Tensor *z = graph_gather(graph, s, at, 0);
    graph_output(graph, y, "y");
    graph_output(graph, s, "s");
    graph_output(graph, z, "z");
    graph_output(graph, in, "c");
    graph_count_uses(graph);
    return graph;
}

static inline void compile(Cx *c, void *user)
{
    CompileOptions options = {
        .caps = target_find(job.kind->target(job.device)), .kind = job.kind->code, .threads = 2};
    (void)user;
    if (options.kind == CODE_object) {
        if (!llvm_module_open(c, &job.llvm, NULL))
            return;
        options.llvm = job.llvm.api;
    }
    if (compile_graph(c, make_graph(), &options, &job.compiled))
        job.plan = job.compiled.plan;
}

static inline void fill(float *data, int count, uint32_t seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (float)(seed >> 20) / 4096.0f - 0.5f;
    }
}

static inline void compute_row(const float *in, float *y, float *s)
{
    double t[OUT], sum = 0;
    for (int j = 0; j < OUT; j++) {
        double value = (double)g[j] * (double)g[j];
        for (int k = 0; k < IN; k++)
            value += (double)in[k] * (double)w[k * OUT + j];
        y[j] = value > 0 ? (float)value : 0;
    }
    for (int j = 0; j < OUT; j++) {
        t[j] = 0;
        for (int k = 0; k < OUT; k++)
            t[j] += (double)y[k] * (double)v[k * OUT + j];
        sum += exp(t[j]);
    }
    for (int j = 0; j < OUT; j++)
        s[j] = (float)(exp(t[j]) / sum);
}

static inline void make_data(void)
{
    fill(w, IN * OUT, 1);
    fill(v, OUT * OUT, 2);
    fill(g, OUT, 3);
    fill(x, ROWS * IN, 4);
    for (int n = 0; n < ROWS; n++)
        compute_row(x + n * IN, want_y + n * OUT, want_s + n * OUT);
}

/* Opens the device, compiles for it, does the test, and sees that nothing is left. */
static inline void on_device(const char *name, void (*test)(void))
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].name, name) == 0)
            job.kind = &kinds[i];
    job.device = job.kind->open();
    if (!job.device && report.status == ST_missing) {
        cr_skip_test("%s", report.text);
        return;
    }
    cr_assert(job.device, "%s", report.text);
    job.type = job.device->type;
    cr_assert_str_eq(job.type->name, name);
    cx_init(&cx, NULL, 0);
    make_data();
    cr_assert_eq(cx_run(&cx, compile, NULL), ST_ok, "%s", cx.message);
    test();
    job.type->close(job.device);
    cr_assert_eq(live, 0, "%d pieces of memory are left", live);
    cx_finish(&cx);
}

#define ON(device, test)                                                                           \
    Test(device, test)                                                                             \
    {                                                                                              \
        on_device(#device, test);                                                                  \
    }
/* Every device; and those that compute. */
#define EACH(test) COMPUTING(test) ON(null, test)
#define COMPUTING(test) ON(cpu, test) ON(opencl, test) ON(cuda, test) ON(sim, test)

#endif
