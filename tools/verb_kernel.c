/* quern kernel: compiles one nest (a text file), checks it against the interpreter, times it beside
 * the machine's peak. */
#include "ir/nest.h"
#include "jit/kernel.h"
#include "jit/roofline.h"
#include "tools/text_file.h"
#include "tools/verbs.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Options {
    const char *target, *schedule, *ir, *llvm;
    int threads, repeat;
    bool check, json;
    const char *file;
} Options;

static const char help[] =
    "usage: quern kernel [options] FILE.nest...\n"
    "\n"
    "Compiles each nest for the CPU and times it on data in the cache; prints the share of the "
    "machine's\n"
    "multiply-add peak (contractions) or of the bandwidth at its working set (everything else).\n"
    "\n"
    "  --target T        x86-64-v3, x86-64-v4 (default: this CPU)\n"
    "  --schedule TEXT   for instance 'contraction mr=8 nv=3 ku=4' (default: the cost model's "
    "choice)\n"
    "  --threads N       threads (default 1)\n"
    "  --repeat N        timed samples (default 20); the best and the median are printed\n"
    "  --check           compare with the interpreter first (slow for large nests)\n"
    "  --ir KIND         print nest, tile, llvm or asm instead of running\n"
    "  --llvm FILE       the LLVM code generator to use\n"
    "  --json            one JSON object a nest\n"
    "  --help\n";

typedef struct Memory {
    void **buffers, **copies;
    int64_t *bytes, *dims;
    double total;
} Memory;

static bool lookup(void *user, const Expr *sym, int64_t *value)
{
    const void *const *pair = user;
    const Nest *nest = pair[0];
    const int64_t *dims = pair[1];
    for (uint32_t i = 0; i < nest->dim_count; i++)
        if (nest->dims[i] == sym) {
            *value = dims[i];
            return true;
        }
    return false;
}

/* Small integers in floats (sums are exact), legal positions in integers. */
static void fill(const Buffer *buffer, void *memory, int64_t count, uint64_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        int64_t r = (int64_t)(seed >> 40);
        Scalar s = dtype_is_float(buffer->dtype) ? (Scalar){.f = (double)(r % 9 - 4) / 4}
                                                 : (Scalar){.i = r % 8};
        dtype_store(buffer->dtype, memory, i, s);
    }
}

static bool allocate(Cx *cx, const Nest *nest, Memory *m)
{
    m->buffers = NEW_ARRAY(cx->arena, void *, nest->buffer_count);
    m->copies = NEW_ARRAY(cx->arena, void *, nest->buffer_count);
    m->bytes = NEW_ARRAY(cx->arena, int64_t, nest->buffer_count);
    m->dims = NEW_ARRAY(cx->arena, int64_t, nest->dim_count + 1);
    for (uint32_t i = 0; i < nest->dim_count; i++)
        m->dims[i] = nest->dims[i]->hi < 128 ? nest->dims[i]->hi : 128;
    const void *pair[2] = {nest, m->dims};
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        const Expr *elements = expr_addi(cx, buffer->offset, 1);
        for (int d = 0; d < buffer->rank; d++)
            elements =
                expr_add(cx, elements,
                         expr_mul(cx, expr_addi(cx, buffer->shape[d], -1), buffer->strides[d]));
        int64_t count;
        if (!expr_eval(elements, lookup, pair, &count) || count < 0 ||
            dtype_bytes(buffer->dtype, count) < 0) {
            cx_fail(cx, ST_bad_argument, "buffer '%s' has no size", buffer->name);
            return false;
        }
        m->bytes[i] = dtype_bytes(buffer->dtype, count);
        m->total += (double)m->bytes[i];
        for (int k = 0; k < 2; k++) {
            void *memory = aligned_alloc(64, ((size_t)m->bytes[i] + 127) / 64 * 64);
            if (!memory) {
                cx_fail(cx, ST_out_of_memory, "out of memory");
                return false;
            }
            cx_cleanup(cx, free, memory);
            memset(memory, 0, ((size_t)m->bytes[i] + 127) / 64 * 64);
            if (buffer->role != BUF_out)
                fill(buffer, memory, count, i + 1);
            (k ? m->copies : m->buffers)[i] = memory;
        }
    }
    return true;
}

/* Largest difference over the largest value of all results. */
static double difference(const Nest *nest, const Memory *m)
{
    double worst = 0;
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        if (buffer->role != BUF_out)
            continue;
        double largest = 1e-30, error = 0;
        int64_t count = m->bytes[i] * 8 / dtype_bits(buffer->dtype);
        for (int64_t k = 0; k < count; k++) {
            Scalar a = dtype_load(buffer->dtype, m->buffers[i], k),
                   b = dtype_load(buffer->dtype, m->copies[i], k);
            double x = dtype_is_float(buffer->dtype) ? a.f : (double)a.i,
                   y = dtype_is_float(buffer->dtype) ? b.f : (double)b.i;
            double d = x > y ? x - y : y - x, size = y < 0 ? -y : y;
            error = d > error || d != d ? d : error;
            largest = size > largest ? size : largest;
        }
        worst = error / largest > worst ? error / largest : worst;
    }
    return worst;
}

/* Multiply-adds of the contraction times two, or 0. */
static double contraction_flops(Cx *cx, const Nest *nest, const int64_t *dims)
{
    Contraction c = nest_contraction(cx, nest);
    if (!c.has)
        return 0;
    double flops = 2;
    const void *pair[2] = {nest, dims};
    for (int i = 0; i < nest->axis_count; i++) {
        int64_t extent = 1;
        if (((c.sum->axes | c.k) >> i & 1) &&
            expr_eval(nest->axes[i].extent, lookup, pair, &extent))
            flops *= (double)extent;
    }
    return flops;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sample(Kernel *kernel, long rounds)
{
    double start = roofline_now();
    for (long r = 0; r < rounds; r++)
        kernel_run(kernel);
    return (roofline_now() - start) / (double)rounds;
}

static void report(Cx *cx, const Options *o, const Nest *nest, const Memory *m, const Caps *caps,
                   double compile_ms, Kernel *kernel)
{
    double once = sample(kernel, 3);
    long rounds = (long)(0.005 / (once + 1e-9)) + 1;
    double *times = NEW_ARRAY(cx->arena, double, o->repeat), peak = 0;
    double flops = contraction_flops(cx, nest, m->dims);
    for (int i = 0; i < o->repeat; i++) {
        times[i] = sample(kernel, rounds);
        if (flops > 0 && i % 5 == 0) {
            double now = roofline_fma(caps) * o->threads;
            peak = now > peak ? now : peak;
        }
    }
    qsort(times, (size_t)o->repeat, sizeof *times, by_time);
    double best = times[0], median = times[o->repeat / 2];
    double gflops = flops / best * 1e-9, gbs = m->total / best * 1e-9;
    double copy = roofline_copy(m->total) * 1e-9, read = roofline_read(m->total) * 1e-9;
    double ceiling = copy > read ? copy : read;
    double share = peak > 0 && flops > 0 ? 100 * gflops / peak : 100 * gbs / ceiling;
    if (o->json)
        printf("{\"kernel\": \"%s\", \"target\": \"%s\", \"threads\": %d, \"compile_ms\": %.2f, "
               "\"best_us\": %.3f, "
               "\"median_us\": %.3f, \"gflops\": %.1f, \"gbs\": %.1f, \"peak_gflops\": %.1f, "
               "\"copy_gbs\": %.1f, "
               "\"read_gbs\": %.1f, \"percent\": %.1f}\n",
               nest->name, caps->name, o->threads, compile_ms, best * 1e6, median * 1e6, gflops,
               gbs, peak, copy, read, share);
    else
        printf("%-36s %9.1f us (median %9.1f)  %7.1f GFLOP/s %7.1f GB/s  %5.1f %% of %s  compile "
               "%.1f ms\n",
               nest->name, best * 1e6, median * 1e6, gflops, gbs, share,
               flops > 0 ? "FMA peak " : "bandwidth", compile_ms);
}

static void print_ir(Cx *cx, const Options *o, Nest *nest, Kernel *kernel, const LlvmModule *llvm,
                     const Caps *caps)
{
    Text text;
    text_init(&text, cx->arena);
    TileProg *prog = kernel_lowered(kernel)->prog;
    if (strcmp(o->ir, "nest") == 0)
        nest_print(&text, nest);
    else if (strcmp(o->ir, "tile") == 0)
        tile_print(&text, prog);
    else if (strcmp(o->ir, "llvm") == 0)
        llvm->api->text(cx, &prog, 1, caps, (LlvmOptions){0}, &text);
    else if (strcmp(o->ir, "asm") == 0)
        llvm->api->assembly(cx, &prog, 1, caps, (LlvmOptions){0}, &text);
    else
        cx_fail(cx, ST_bad_argument, "--ir knows nest, tile, llvm and asm, not '%s'", o->ir);
    fputs(text.data, stdout);
}

static void run_file(Cx *cx, void *user)
{
    const Options *o = user;
    const Caps *caps = strcmp(o->target, "cpu") == 0 ? target_host_cpu() : target_find(o->target);
    if (!caps || caps->kind != TK_cpu) {
        cx_fail(cx, ST_bad_argument, "'%s' is no CPU target; known: x86-64-v3, x86-64-v4",
                o->target);
        return;
    }
    char *text = text_file_read(cx, o->file);
    Nest *nest = text ? nest_parse(cx, o->file, text) : NULL;
    if (cx_failed(cx) || !nest || !nest_verify(nest))
        return;
    Schedule schedule;
    if (o->schedule) {
        Scan scan;
        scan_init(&scan, cx, "--schedule", o->schedule);
        if (!schedule_parse(&scan, &schedule))
            return;
    }
    LlvmModule llvm;
    if (!llvm_module_open(cx, &llvm, o->llvm))
        return;
    double start = roofline_now();
    Kernel *kernel = kernel_compile(cx, nest, o->schedule ? &schedule : NULL, caps, &llvm);
    double compile_ms = (roofline_now() - start) * 1e3;
    if (!kernel)
        return;
    if (o->ir) {
        print_ir(cx, o, nest, kernel, &llvm, caps);
        return;
    }
    Memory m = {0};
    Pool *pool = o->threads > 1 ? pool_create(NULL, o->threads) : NULL;
    Executor executor = pool ? pool_executor(pool) : executor_inline;
    if (allocate(cx, nest, &m) && kernel_bind(cx, kernel, m.buffers, m.dims, &executor)) {
        if (o->check) {
            NestRun reference = {m.copies, m.dims, 0};
            kernel_run(kernel);
            double error = nest_run(cx, nest, &reference) ? difference(nest, &m) : 0;
            if (error > 1e-5 || error != error)
                cx_fail(cx, ST_internal,
                        "%s: differs from the interpreter by %g of the largest value", nest->name,
                        error);
        }
        if (!cx_failed(cx))
            report(cx, o, nest, &m, caps, compile_ms, kernel);
    }
    pool_destroy(pool);
}

int verb_kernel(int argc, char **argv)
{
    static const struct option table[] = {{"target", 1, 0, 't'},  {"schedule", 1, 0, 's'},
                                          {"threads", 1, 0, 'n'}, {"repeat", 1, 0, 'r'},
                                          {"check", 0, 0, 'c'},   {"ir", 1, 0, 'i'},
                                          {"llvm", 1, 0, 'l'},    {"json", 0, 0, 'j'},
                                          {"help", 0, 0, 'h'},    {0, 0, 0, 0}};
    Options o = {.target = "cpu", .threads = 1, .repeat = 20};
    for (int c; (c = getopt_long(argc, argv, "h", table, NULL)) != -1;) {
        switch (c) {
        case 't': o.target = optarg; break;
        case 's': o.schedule = optarg; break;
        case 'n': o.threads = atoi(optarg); break;
        case 'r': o.repeat = atoi(optarg); break;
        case 'c': o.check = true; break;
        case 'i': o.ir = optarg; break;
        case 'l': o.llvm = optarg; break;
        case 'j': o.json = true; break;
        case 'h': fputs(help, stdout); return 0;
        default: return 2;
        }
    }
    if (optind == argc || o.threads < 1 || o.repeat < 1) {
        fputs(help, stderr);
        return 2;
    }
    int status = 0;
    for (int i = optind; i < argc; i++) {
        Cx cx;
        cx_init(&cx, NULL, 0);
        o.file = argv[i];
        if (cx_run(&cx, run_file, &o) != ST_ok) {
            fprintf(stderr, "quern kernel: %s\n", cx.message);
            status = 1;
        }
        cx_finish(&cx);
    }
    return status;
}
