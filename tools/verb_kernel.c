/* quern kernel: compiles one nest (a text file), checks it against the interpreter, times it beside
 * the machine's peak. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ir/nest.h"
#include "jit/kernel.h"
#include "jit/kernel_data.h"
#include "jit/roofline.h"
#include "tools/json.h"
#include "tools/options.h"
#include "tools/setup.h"
#include "tools/text_file.h"
#include "tools/verbs.h"

enum {
    OPT_TARGET = 1,
    OPT_SCHEDULE,
    OPT_REPEAT,
    OPT_CHECK,
    OPT_IR,
    OPT_LLVM,
    OPT_COMPILE,
    OPT_JSON,
    MOST_SAMPLES = 1000000
};

static const Option options[] = {
    {OPT_TARGET, "target", "NAME", "x86-64-v3 or x86-64-v4; default: this CPU"},
    {OPT_SCHEDULE, "schedule", "TEXT",
     "for instance 'contraction mr=8 nv=3 ku=4'; default: the cost model's choice"},
    {OPT_THREADS, "threads", "N", "threads (1)"},
    {OPT_REPEAT, "repeat", "N", "timed samples (20); the best and the median are printed"},
    {OPT_COMPILE, "compile-only", NULL, "times the compile only"},
    {OPT_CHECK, "check", NULL, "compare with the interpreter first; slow for large nests"},
    {OPT_IR, "ir", "LEVEL", "print nest, tile, llvm or asm instead of running"},
    {OPT_LLVM, "llvm", "FILE", "the LLVM code generator to use"},
    {OPT_JSON, "json", NULL, "one JSON object a nest"},
    {0}};

typedef struct Options {
    const char *target, *schedule, *ir, *llvm;
    int64_t threads, repeat;
    bool check, compile_only, json;
    const char *file;
} Options;

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

/* What was measured, in seconds, FLOP and bytes each second. */
typedef struct Figures {
    const char *name, *target;
    int kernels; /* with those that pack its constants */
    double compile, best, median, flops, bytes, peak, copy, read;
    double least; /* seconds that the bytes take at these rates */
} Figures;

/* Per cent of what the machine does at best (roofline model, Williams, Waterman and Patterson
 * 2009): of the multiply-adds or of the bandwidth, whichever is nearer. */
static double percent(const Figures *f, bool *arithmetic)
{
    double of_peak = f->peak > 0 ? f->flops / f->peak : 0;
    double of_bandwidth = f->least / f->best;
    *arithmetic = of_peak > of_bandwidth;
    return 100 * (*arithmetic ? of_peak : of_bandwidth);
}

static void print_json(const Options *o, const Figures *f)
{
    bool arithmetic;
    Json json = {.file = stdout};
    json_open(&json, NULL, '{');
    json_text(&json, "kernel", f->name);
    json_text(&json, "target", f->target);
    json_int(&json, "threads", o->threads);
    json_int(&json, "kernels", f->kernels);
    json_number(&json, "compile_ms", f->compile * 1e3);
    if (!o->compile_only) {
        json_number(&json, "best_us", f->best * 1e6);
        json_number(&json, "median_us", f->median * 1e6);
        json_number(&json, "gflops", f->flops * 1e-9);
        json_number(&json, "gbs", f->bytes * 1e-9);
        json_number(&json, "peak_gflops", f->peak * 1e-9);
        json_number(&json, "copy_gbs", f->copy * 1e-9);
        json_number(&json, "read_gbs", f->read * 1e-9);
        json_number(&json, "percent", percent(f, &arithmetic));
    }
    json_close(&json, '}');
    putchar('\n');
}

static void print_text(const Options *o, const Figures *f)
{
    printf("%-36s", f->name);
    if (!o->compile_only) {
        bool arithmetic;
        double share = percent(f, &arithmetic);
        printf(" %9.1f us (median %9.1f)  %7.1f GFLOP/s %7.1f GB/s  %5.1f %% of %s ", f->best * 1e6,
               f->median * 1e6, f->flops * 1e-9, f->bytes * 1e-9, share,
               arithmetic ? "FMA peak " : "bandwidth");
    }
    printf(" compile %.1f ms\n", f->compile * 1e3);
}

/* A kernel on memory of its own. */
typedef struct Case {
    const Nest *nest;
    const Caps *caps;
    Kernel *kernel;
    KernelData data;
    Executor executor;
} Case;

static void measure(Cx *cx, const Options *o, const Case *c, Figures *f)
{
    double once = sample(c->kernel, 3);
    long rounds = (long)(0.005 / (once + 1e-9)) + 1;
    double *times = NEW_ARRAY(cx->arena, double, o->repeat);
    double flops = contraction_flops(cx, c->nest, c->data.dims);
    double read = c->data.read, written = c->data.written, total = read + written;
    for (int64_t i = 0; i < o->repeat; i++) {
        times[i] = sample(c->kernel, rounds);
        if (flops > 0 && i % 5 == 0) {
            double now = roofline_fma(c->caps, &c->executor);
            f->peak = now > f->peak ? now : f->peak;
        }
    }
    qsort(times, (size_t)o->repeat, sizeof *times, by_time);
    f->best = times[0];
    f->median = times[o->repeat / 2];
    f->flops = flops / times[0];
    f->bytes = total / times[0];
    f->copy = roofline_copy(c->caps, &c->executor, total);
    f->read = roofline_read(c->caps, &c->executor, total);
    /* what is written goes with as much that is read at the rate of copying */
    double copied = written < read ? 2 * written : total;
    if (f->copy > 0 && f->read > 0) /* else memory for the probe was refused: nothing is known */
        f->least = copied / f->copy + (total - copied) / f->read;
}

/* Compares with the interpreter, which runs on the same contents. */
static void check(Cx *cx, const Case *c)
{
    KernelData copy;
    if (!kernel_data(cx, c->nest, &copy))
        return;
    NestRun reference = {copy.buffers, copy.dims, 0};
    kernel_run(c->kernel);
    double error =
        nest_run(cx, c->nest, &reference) ? kernel_data_difference(c->nest, &c->data, &copy) : 0;
    if (error > 1e-5 || error != error)
        cx_fail(cx, ST_internal, "%s: differs from the interpreter by %g of the largest value",
                c->nest->name, error);
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
    else
        llvm->api->assembly(cx, &prog, 1, caps, (LlvmOptions){0}, &text);
    if (!cx_failed(cx))
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
    if (!o->ir && !cpu_runs(caps->name)) {
        cx_fail(cx, ST_missing, "this machine does not run kernels for %s; --ir prints them",
                caps->name);
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
    double compile = roofline_now() - start;
    if (!kernel)
        return;
    if (o->ir) {
        print_ir(cx, o, nest, kernel, &llvm, caps);
        return;
    }
    Figures f = {.name = nest->name,
                 .target = caps->name,
                 .kernels = 1 + (int)kernel_lowered(kernel)->pack_count,
                 .compile = compile};
    Pool *pool = o->threads > 1 ? pool_create(NULL, (int)o->threads) : NULL;
    Case c = {.nest = nest,
              .caps = caps,
              .kernel = kernel,
              .executor = pool ? pool_executor(pool) : executor_inline};
    if ((!o->compile_only || o->check) && kernel_data(cx, nest, &c.data) &&
        kernel_bind(cx, kernel, c.data.buffers, c.data.dims, &c.executor)) {
        if (o->check)
            check(cx, &c);
        if (!cx_failed(cx) && !o->compile_only)
            measure(cx, o, &c, &f);
    }
    pool_destroy(pool);
    if (!cx_failed(cx))
        (o->json ? print_json : print_text)(o, &f);
}

/* EXIT_DONE to go on, -1 when the help was asked for. */
static int parse(Args *args, Options *o)
{
    Fail fail = {""};
    for (int id; (id = args_next(args)) != ARGS_END;) {
        const char *value = args->value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_TARGET: o->target = value; break;
        case OPT_SCHEDULE: o->schedule = value; break;
        case OPT_LLVM: o->llvm = value; break;
        case OPT_COMPILE: o->compile_only = true; break;
        case OPT_CHECK: o->check = true; break;
        case OPT_JSON: o->json = true; break;
        case OPT_THREADS: option_int("threads", value, 1, SETUP_THREADS, &o->threads, &fail); break;
        case OPT_REPEAT: option_int("repeat", value, 1, MOST_SAMPLES, &o->repeat, &fail); break;
        case OPT_IR:
            o->ir = value;
            if (strcmp(value, "nest") != 0 && strcmp(value, "tile") != 0 &&
                strcmp(value, "llvm") != 0 && strcmp(value, "asm") != 0)
                fail_set(&fail, "--ir takes nest, tile, llvm or asm, not '%s'", value);
            break;
        }
        if (fail.text[0])
            return args_bad(args, "%s", fail.text);
    }
    return EXIT_DONE;
}

int verb_kernel(int argc, char **argv)
{
    Options o = {.target = "cpu", .threads = 1, .repeat = 20};
    Args args = {.verb = "kernel",
                 .usage = "FILE... [OPTION...]",
                 .what = "Compiles nests (texts) for the CPU and times each on data in the cache; "
                         "prints the share of the\nmachine's multiply-add peak (contractions) or "
                         "of the bandwidth at its working set, whichever is nearer.",
                 .options = options,
                 .argc = argc,
                 .argv = argv};
    int count, status = parse(&args, &o);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    char **rest = args_rest(&args, &count);
    if (!count)
        return args_bad(&args, "no file given");
    for (int i = 0; i < count; i++) {
        Cx cx;
        cx_init(&cx, NULL, 0);
        o.file = rest[i];
        if (cx_run(&cx, run_file, &o) != ST_ok)
            status = args_failed(&args, "%s", cx.message);
        cx_finish(&cx);
    }
    return status;
}
