/* What every device must do (runtime/device.h): one set of checks, run on each of them. A new
 * device gets a line in `kinds` and one in EACH.
 *
 * The plan is compiled from a graph for the device's own target:
 *
 *   b = g * g                           at load
 *   y[N,16] = relu(x[N,24] w + b)       a result, and read again
 *   t[N,16] = y v                       intermediate
 *   s[N,16] = softmax(t)
 *   z[M,16] = s[i[M]]                   sets the error cell
 *   c[N,24] = x                         a copy
 */
#include <criterion/criterion.h>

#include <math.h>
#include <pthread.h>
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

enum { IN = 24, OUT = 16, ROWS = 50, PICKS = 64 };
static float w[IN * OUT], v[OUT * OUT], g[OUT];
static float x[ROWS * IN], want_y[ROWS * OUT], want_s[ROWS * OUT];

/* --- memory that can be refused --- */

static _Atomic int refuse_after = INT32_MAX, live;

static void *count_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    if (refuse_after-- <= 0)
        return NULL;
    void *memory = allocator_system.alloc(NULL, size, align);
    live += memory != NULL;
    return memory;
}

static void count_release(void *user, void *memory, size_t size)
{
    (void)user;
    live--;
    allocator_system.release(NULL, memory, size);
}

static const Allocator counting = {NULL, count_alloc, count_release};

/* --- devices --- */

static Report report;

static Device *open_cpu(void)
{
    return device_cpu_open(&counting, executor_inline);
}

static Device *open_null(void)
{
    return device_null_open(&counting);
}

static Device *open_sim(void)
{
    return device_sim_open(&counting);
}

static Device *open_opencl(void)
{
    return device_opencl_open(&counting, &report);
}

static Device *open_cuda(void)
{
    return device_cuda_open(&counting, &report);
}

static const char *host_target(const Device *device)
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

static Tensor *constant(Graph *graph, const char *name, int64_t rows, const float *data)
{
    return graph_constant(graph, name, DT_f32, rows ? 2 : 1,
                          rows ? (int64_t[]){rows, OUT} : (int64_t[]){OUT}, data);
}

static Graph *make_graph(void)
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

static void compile(Cx *c, void *user)
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

static void fill(float *data, int count, uint32_t seed)
{
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = (float)(seed >> 20) / 4096.0f - 0.5f;
    }
}

static void compute_row(const float *in, float *y, float *s)
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

static void make_data(void)
{
    fill(w, IN * OUT, 1);
    fill(v, OUT * OUT, 2);
    fill(g, OUT, 3);
    fill(x, ROWS * IN, 4);
    for (int n = 0; n < ROWS; n++)
        compute_row(x + n * IN, want_y + n * OUT, want_s + n * OUT);
}

/* Opens the device, compiles for it, does the test, and sees that nothing is left. */
static void on_device(const char *name, void (*test)(void))
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

/* --- memory --- */

static Stream *open_stream(void)
{
    Stream *stream = NULL;
    cr_assert_eq(job.type->open_stream(job.device, job.plan, &stream, &report), ST_ok, "%s",
                 report.text);
    cr_assert(stream && stream->device == job.device);
    cr_assert_geq(job.type->stream_bytes(stream), 0);
    return stream;
}

static void wait_for(Stream *stream)
{
    cr_assert_eq(job.type->wait(stream, NULL, &report), ST_ok, "%s", report.text);
}

enum { BIG = 1 << 20 };

static void memory_is_kept(void)
{
    Stream *stream = open_stream();
    int64_t align = job.device->limits.align;
    cr_assert(align >= 64 && align % 64 == 0);
    char *a = job.type->alloc(job.device, BIG), *b = job.type->alloc(job.device, align);
    unsigned char *host = malloc(BIG), *back = calloc(1, BIG);
    cr_assert(a && b && host && back);
    for (int i = 0; i < BIG; i++)
        host[i] = (unsigned char)(i * 7 + i / 251);
    cr_assert_eq(job.type->write(stream, a, host, BIG, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, back, a, BIG, &report), ST_ok, "%s", report.text);
    wait_for(stream);
    cr_assert_eq(memcmp(host, back, BIG), 0);
    /* parts, at any byte */
    cr_assert_eq(job.type->read(stream, back, a + 12345, 1001, &report), ST_ok);
    wait_for(stream);
    cr_assert_eq(memcmp(host + 12345, back, 1001), 0);
    job.type->release(job.device, b, align);
    job.type->release(job.device, a, BIG);
    job.type->close_stream(stream);
    free(host);
    free(back);
}
EACH(memory_is_kept)

static void work_is_in_order(void)
{
    Stream *stream = open_stream();
    char *a = job.type->alloc(job.device, 4096), *b = job.type->alloc(job.device, 8192);
    char first[4096], second[4096], from_a[4096], from_b[4096];
    memset(first, 1, sizeof first);
    memset(second, 2, sizeof second);
    cr_assert(a && b);
    cr_assert_eq(job.type->write(stream, a, first, 4096, &report), ST_ok);
    cr_assert_eq(job.type->copy(stream, b + 4096, a, 4096, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->write(stream, a, second, 4096, &report), ST_ok);
    cr_assert_eq(job.type->read(stream, from_b, b + 4096, 4096, &report), ST_ok);
    cr_assert_eq(job.type->read(stream, from_a, a, 4096, &report), ST_ok);
    wait_for(stream);
    cr_assert_eq(memcmp(from_b, first, 4096), 0);
    cr_assert_eq(memcmp(from_a, second, 4096), 0);
    job.type->release(job.device, a, 4096);
    job.type->release(job.device, b, 8192);
    job.type->close_stream(stream);
    job.type->close_stream(NULL);
}
EACH(work_is_in_order)

static void too_much_memory(void)
{
    cr_assert_null(job.type->alloc(job.device, INT64_C(1) << 55));
}
EACH(too_much_memory)

/* --- code --- */

static DeviceCode *load_code(void)
{
    DeviceCode *code = NULL;
    cr_assert_eq(job.type->load(job.device, job.plan, &job.compiled.code, NULL, &code, &report),
                 ST_ok, "%s", report.text);
    return code;
}

static void wrong_code(void)
{
    DeviceCode *code = NULL;
    static const char nonsense[] = "no code of any kind";
    CodePiece pieces[] = {{nonsense, sizeof nonsense - 1}};
    for (int kind = 0; kind < CODE_count; kind++) {
        CodeImage image = {(CodeKind)kind, 1, pieces};
        Status status = job.type->load(job.device, job.plan, &image, NULL, &code, &report);
        cr_assert(status == ST_bad_file || (status == ST_device && image.kind == job.kind->code),
                  "kind %d: %s", kind, report.text);
        cr_assert_gt(strlen(report.text), 10);
    }
    /* every kernel has to be there */
    CodeImage none = {job.kind->code, 0, NULL};
    cr_assert_eq(job.type->load(job.device, job.plan, &none, NULL, &code, &report), ST_bad_file);
}
COMPUTING(wrong_code)

/* --- launches --- */

static void create_program(DeviceCode *code, Program **program)
{
    ProgramParts parts = {.plan = job.plan,
                          .weights = job.weights,
                          .device = job.device,
                          .code = code,
                          .from = &counting};
    cr_assert_eq(program_create(&parts, program, &report), ST_ok, "%s", report.text);
}

static bool near(const float *got, const float *want, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f))
            return false;
    return true;
}

static void set_sizes(Session *s, int64_t n, int64_t m)
{
    SessionShape shapes[] = {{2, (int64_t[]){n, IN}}, {1, (int64_t[]){m}}};
    cr_assert_eq(session_set_shapes(s, shapes, &report), ST_ok, "%s", report.text);
}

/* Results are the caller's own, so that sessions of several threads do not meet. */
static Status run(Session *s, int64_t n, int64_t m, int64_t last_index)
{
    float y[ROWS * OUT], sm[ROWS * OUT], z[PICKS * OUT], c[ROWS * IN];
    int64_t index[PICKS];
    Report own;
    for (int64_t i = 0; i < m; i++)
        index[i] = i == m - 1 ? last_index : i * 3 % n;
    memset(y, 0xFF, sizeof y);
    Status status = session_run(s, (const void *[]){x, index}, (void *[]){y, sm, z, c}, &own);
    if (status != ST_ok) {
        if (status == ST_bad_index)
            cr_assert(strstr(own.text, "node 'pick' (Gather): an index in the data"), "%s",
                      own.text);
        return status;
    }
    cr_assert(near(y, want_y, n * OUT) && near(sm, want_s, n * OUT));
    cr_assert_eq(memcmp(c, x, (size_t)n * IN * sizeof *x), 0);
    for (int64_t i = 0; i < m; i++)
        cr_assert_eq(memcmp(z + i * OUT, sm + index[i] * OUT, OUT * sizeof *z), 0);
    return status;
}

static void sessions_compute(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, &s, &report), ST_ok, "%s", report.text);
    for (int64_t n = ROWS; n > 0; n -= 7) {
        set_sizes(s, n, n % 5 + 1);
        for (int again = 0; again < 2; again++)
            cr_assert_eq(run(s, n, n % 5 + 1, n - 1), ST_ok);
    }
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(sessions_compute)

static void empty_tensors(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, 0, 0);
    cr_assert_eq(
        session_run(s, (const void *[]){NULL, NULL}, (void *[]){NULL, NULL, NULL, NULL}, &report),
        ST_ok, "%s", report.text);
    set_sizes(s, 3, 0);
    cr_assert_eq(run(s, 3, 0, 0), ST_ok);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(empty_tensors)

static void bad_index(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, 5, 2);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(run(s, 5, 2, 4), ST_ok);
        cr_assert_eq(run(s, 5, 2, 5), ST_bad_index);
        cr_assert_eq(run(s, 5, 2, INT64_MAX), ST_bad_index);
    }
    cr_assert_eq(run(s, 5, 2, 0), ST_ok);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(bad_index)

/* A list taken by hand, in two ranges, with a write and a read between them. It is bound before its
 * memory is known, and again. */
static void ranges(void)
{
    DeviceCode *code = load_code();
    Program *program;
    create_program(code, &program);
    cr_assert_eq(program_prepare(program, &report), ST_ok, "%s", report.text);
    const Plan *plan = job.plan;
    int64_t dims[2], align = job.device->limits.align, size = 0;
    Launches list;
    void **tensors = calloc(plan->tensor_count, sizeof *tensors);
    for (uint32_t d = 0; d < plan->dim_count; d++)
        dims[d] = plan->dims[d].name[0] == 'N' ? ROWS : 1;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        size += (plan_tensor_bytes(&plan->tensors[t], dims) + align - 1) / align * align;
    char *memory = job.type->alloc(job.device, size);
    size = 0;
    for (uint32_t t = 0; t < plan->tensor_count; t++) {
        void *fixed = program_tensors(program)[t];
        tensors[t] = fixed ? fixed : memory + size;
        size += (plan_tensor_bytes(&plan->tensors[t], dims) + align - 1) / align * align;
    }
    cr_assert(launches_init(&list, &counting, plan, plan->steps, plan->step_count, code));
    cr_assert(launches_set_dims(&list, dims));
    Stream *stream = open_stream();
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "%s", report.text);
    launches_set_memory(&list, tensors);
    int64_t index = 3;
    float y[ROWS * OUT], z[OUT];
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "repeated: %s", report.text);
    job.type->write(stream, tensors[plan->inputs[0].tensor], x, sizeof x, &report);
    cr_assert_eq(job.type->run(stream, &list, 0, 1, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, y, tensors[plan->outputs[0].tensor], sizeof y, &report),
                 ST_ok);
    job.type->write(stream, tensors[plan->inputs[1].tensor], &index, sizeof index, &report);
    cr_assert_eq(job.type->run(stream, &list, 1, list.count, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, z, tensors[plan->outputs[2].tensor], sizeof z, &report),
                 ST_ok);
    cr_assert_eq(job.type->wait(stream, &list, &report), ST_ok, "%s", report.text);
    cr_assert(near(y, want_y, ROWS * OUT));
    cr_assert(near(z, want_s + 3 * OUT, OUT));
    job.type->unbind(&list);
    job.type->unbind(&list);
    job.type->close_stream(stream);
    launches_finish(&list);
    job.type->release(job.device, memory, size);
    program_destroy(program);
    job.type->unload(code);
    free(tensors);
}
COMPUTING(ranges)

/* --- threads --- */

static void *use_program(void *program)
{
    Session *s;
    Report own;
    cr_assert_eq(session_create(program, &s, &own), ST_ok, "%s", own.text);
    for (int64_t n = 1; n < ROWS; n += 12) {
        SessionShape shapes[] = {{2, (int64_t[]){n, IN}}, {1, (int64_t[]){2}}};
        cr_assert_eq(session_set_shapes(s, shapes, &own), ST_ok, "%s", own.text);
        cr_assert_eq(run(s, n, 2, 0), ST_ok);
        cr_assert_eq(run(s, n, 2, n), ST_bad_index);
    }
    session_destroy(s);
    return NULL;
}

static void threads(void)
{
    DeviceCode *code = load_code();
    Program *program;
    pthread_t all[2];
    create_program(code, &program);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&all[i], NULL, use_program, program), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(all[i], NULL);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(threads)

/* --- refused memory --- */

/* Whichever allocation is refused, there is an error, what was taken is given back, and the device
 * goes on. */
static void refused_memory(void)
{
    DeviceCode *code = load_code();
    int before = live, refused = 0;
    for (Status status = ST_out_of_memory; status != ST_ok; refused++) {
        Program *program = NULL;
        Session *s = NULL;
        SessionShape shapes[] = {{2, (int64_t[]){4, IN}}, {1, (int64_t[]){2}}};
        ProgramParts parts = {.plan = job.plan,
                              .weights = job.weights,
                              .device = job.device,
                              .code = code,
                              .from = &counting};
        refuse_after = refused;
        status = program_create(&parts, &program, &report);
        if (status == ST_ok)
            status = session_create(program, &s, &report);
        if (status == ST_ok)
            status = session_set_shapes(s, shapes, &report);
        refuse_after = INT32_MAX;
        if (status == ST_ok)
            cr_assert_eq(run(s, 4, 2, 1), ST_ok);
        session_destroy(s);
        program_destroy(program);
        cr_assert_eq(live, before, "%d refused: %d, not %d", refused, live, before);
        cr_assert(status == ST_ok || status == ST_out_of_memory, "%s", report.text);
    }
    cr_assert_gt(refused, 6);
    job.type->unload(code);
}
COMPUTING(refused_memory)

/* --- null --- */

static void gives_zeros(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    float y[ROWS * OUT], sm[ROWS * OUT], z[OUT], c[ROWS * IN];
    int64_t index = 1 << 30;
    create_program(code, &program);
    cr_assert_eq(session_create(program, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, ROWS, 1);
    memset(y, 0xFF, sizeof y);
    cr_assert_eq(session_run(s, (const void *[]){x, &index}, (void *[]){y, sm, z, c}, &report),
                 ST_ok, "%s", report.text);
    for (int i = 0; i < ROWS * OUT; i++)
        cr_assert_eq(y[i], 0);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
ON(null, gives_zeros)
