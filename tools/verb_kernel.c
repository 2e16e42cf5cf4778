/* quern kernel: compiles one nest (a text file), checks it against the interpreter, times it beside
 * the machine's peak. */
#include "ir/nest.h"
#include "jit/kernel.h"
#include "jit/kernel_data.h"
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

/* Multiply-adds of the contraction times two, or 0. */
static double contraction_flops(Cx *cx, const Nest *nest, const int64_t *dims)
{
    Contraction c = nest_contraction(cx, nest);
    if (!c.has)
        return 0;
    double flops = 2;
    KernelDims known = {nest, dims};
    for (int i = 0; i < nest->axis_count; i++) {
        int64_t extent = 1;
        if (((c.sum->axes | c.k) >> i & 1) &&
            expr_eval(nest->axes[i].extent, kernel_data_dim, &known, &extent))
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

static void report(Cx *cx, const Options *o, const Nest *nest, const KernelData *m,
                   const Caps *caps, double compile_ms, Kernel *kernel)
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
    KernelData m = {0}, copy = {0};
    Pool *pool = o->threads > 1 ? pool_create(NULL, o->threads) : NULL;
    Executor executor = pool ? pool_executor(pool) : executor_inline;
    if (kernel_data(cx, nest, &m) && kernel_bind(cx, kernel, m.buffers, m.dims, &executor)) {
        if (o->check && kernel_data(cx, nest, &copy)) {
            NestRun reference = {copy.buffers, copy.dims, 0};
            kernel_run(kernel);
            double error =
                nest_run(cx, nest, &reference) ? kernel_data_difference(nest, &m, &copy) : 0;
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
