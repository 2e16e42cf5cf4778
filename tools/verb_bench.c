/* quern bench: times of one model after another, each measured in processes of its own.
 *
 * A child with an empty cache compiles (cold); a second one starts from what the first left there
 * (warm: in it nothing was compiled, so its peak memory is that of a deployed program), runs once
 * (first), then for about half a second unrecorded and two seconds recorded (steady). The parent
 * makes the temporary cache, collects the figures and prints them. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/os_file.h"
#include "ir/target.h"
#include "jit/roofline.h"
#include "tools/bind.h"
#include "tools/json.h"
#include "tools/verbs.h"

enum { OPT_JSON = 1, OPT_DURATION, MOST_RUNS = 1 << 20 };

static const Option options[] = {
    {OPT_JSON, "json", NULL, "one JSON object a model instead of text"},
    {OPT_DURATION, "duration", "SECONDS", "of the recorded runs (2)"},
    SETUP_DIM_OPTIONS,
    SETUP_GENERIC_OPTION,
    SETUP_DEVICE_OPTIONS,
    {OPT_PACK, "pack", "FILE", "start from this pack: nothing is compiled"},
    SETUP_RECORDS_OPTION,
    {0}};

/* What a child sends back. */
typedef struct Figures {
    bool done;
    Fail fail;
    char target[64];
    int32_t threads, kernels, cached;
    int64_t runs, peak_rss_kb, plan_bytes, memory_bytes;
    double cold_ms, warm_ms, init_ms, first_ms, median_ms, p10_ms, p99_ms;
    double flops, bytes, peak_gflops, peak_gbs;
    double footprint; /* bytes a run touches, each once however often it is moved */
} Figures;

typedef struct Bench {
    Args args;
    Setup setup;
    double duration;
    bool json;
} Bench;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool cold(Bench *bench, const char *path, Figures *f)
{
    Setup *setup = &bench->setup;
    double start = now_ms();
    if (!setup_open(setup, path, &f->fail) || !setup_default_sizes(setup, &f->fail) ||
        !setup_compile(setup, &f->fail))
        return false;
    f->cold_ms = now_ms() - start;
    return true;
}

/* Runs for about `ms`; the times of the first `room` runs go to `times`. */
static bool run_for(Bench *bench, const Binding *binding, double ms, double *times, int64_t room,
                    Figures *f)
{
    double start = now_ms(), last = start;
    f->runs = 0;
    while (f->runs < room && (last < start + ms || f->runs < 3)) {
        if (bind_run(binding, bench->setup.session) != QN_OK)
            return fail_set(&f->fail, "%s", qn_session_message(bench->setup.session));
        double now = now_ms();
        times[f->runs++] = now - last;
        last = now;
    }
    return true;
}

static bool steady(Bench *bench, const Binding *binding, Figures *f)
{
    double *times = calloc(MOST_RUNS, sizeof *times);
    if (!times)
        return fail_set(&f->fail, "out of memory");
    bool done = run_for(bench, binding, 1, times, 1 << 4, f) &&
                run_for(bench, binding, bench->duration / 4 * 1e3, times, MOST_RUNS, f) &&
                run_for(bench, binding, bench->duration * 1e3, times, MOST_RUNS, f);
    if (done) {
        qsort(times, (size_t)f->runs, sizeof *times, by_value);
        f->median_ms = times[f->runs / 2];
        f->p10_ms = times[f->runs / 10];
        f->p99_ms = times[f->runs - 1 - f->runs / 100];
    }
    free(times);
    return done;
}

/* What a run touches: memory of the session, constants, inputs and outputs. */
static double footprint(const Setup *setup, const Figures *f)
{
    double all = (double)f->memory_bytes;
    qn_tensor_info info;
    for (int32_t i = 0; qn_session_input(setup->session, i, &info) == QN_OK; i++)
        all += info.bytes > 0 ? (double)info.bytes : 0;
    for (int32_t i = 0; qn_session_output(setup->session, i, &info) == QN_OK; i++)
        all += info.bytes > 0 ? (double)info.bytes : 0;
    return all < f->bytes ? all : f->bytes;
}

/* The machine's multiply-adds, and its reads of as many bytes as a run touches, by all threads at
 * once; 0 = not measured. */
static void measure_roofs(Figures *f)
{
    static const double most = 256e6; /* beyond every cache */
    const Caps *caps = target_host_cpu();
    Pool *pool = caps ? pool_create(NULL, f->threads) : NULL;
    if (!pool)
        return;
    Executor executor = pool_executor(pool);
    f->peak_gflops = roofline_fma(caps, &executor) * 1e-9;
    if (f->footprint >= 1)
        f->peak_gbs =
            roofline_read(caps, &executor, f->footprint < most ? f->footprint : most) * 1e-9;
    pool_destroy(pool);
}

/* Of the roof that binds: the larger of the shares of multiply-adds and of bandwidth; 0 = not
 * known. */
static double percent_of_peak(const Figures *f)
{
    double compute = f->peak_gflops > 0 ? f->flops / f->peak_gflops : 0;
    double memory = f->peak_gbs > 0 ? f->footprint / f->peak_gbs : 0;
    return (compute > memory ? compute : memory) / f->median_ms / 1e4;
}

static bool warm(Bench *bench, const char *path, Figures *f)
{
    Setup *setup = &bench->setup;
    Binding binding = {0};
    double start = now_ms();
    if (!setup_open(setup, path, &f->fail) || !setup_default_sizes(setup, &f->fail) ||
        !setup_compile(setup, &f->fail) || !setup_session(setup, &f->fail))
        return false;
    f->warm_ms = now_ms() - start;
    qn_program_info program;
    qn_session_info session;
    if (qn_program_describe(setup->program, &program) != QN_OK ||
        qn_session_describe(setup->session, &session) != QN_OK)
        return fail_set(&f->fail, "the program cannot be described");
    if (!bind_begin(&binding, setup, &f->fail) ||
        !bind_finish(&binding, setup, FILL_RANDOM, &f->fail))
        return false;
    start = now_ms();
    if (bind_run(&binding, setup->session) != QN_OK)
        return fail_set(&f->fail, "%s", qn_session_message(setup->session));
    f->first_ms = now_ms() - start;
    struct rusage usage; /* before our own list of times is made */
    getrusage(RUSAGE_SELF, &usage);
    if (!steady(bench, &binding, f))
        return false;
    snprintf(f->target, sizeof f->target, "%s", program.target.data);
    f->peak_rss_kb = usage.ru_maxrss;
    f->threads = qn_context_threads(setup->context);
    f->kernels = program.kernels;
    f->cached = program.cached;
    f->plan_bytes = program.plan_bytes;
    f->memory_bytes = session.memory_bytes + session.shared_bytes;
    f->init_ms = session.init_ms;
    f->flops = session.flops;
    f->bytes = session.bytes;
    f->footprint = footprint(setup, f);
    measure_roofs(f);
    bind_free(&binding);
    return true;
}

typedef bool Step(Bench *bench, const char *path, Figures *f);

/* Runs a step in a child, which hands back its figures. */
static bool in_child(Bench *bench, const char *path, Step *step, Figures *f)
{
    int fds[2];
    if (pipe(fds))
        return fail_set(&f->fail, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        f->done = step(bench, path, f);
        bool sent = write(fds[1], f, sizeof *f) == (ssize_t)sizeof *f;
        _exit(sent ? 0 : 1);
    }
    close(fds[1]);
    size_t got = 0;
    ssize_t part = 1;
    Figures result;
    while (pid > 0 && got < sizeof result && part > 0) {
        part = read(fds[0], (char *)&result + got, sizeof result - got);
        got += part > 0 ? (size_t)part : 0;
    }
    close(fds[0]);
    int status = 0;
    if (pid < 0)
        return fail_set(&f->fail, "fork: %s", strerror(errno));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (got < sizeof result)
        return fail_set(&f->fail, "%s: the process ended with %s %d", path,
                        WIFSIGNALED(status) ? "signal" : "status",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    *f = result;
    return f->done;
}

static void number_or_null(Json *json, const char *key, double value, bool known)
{
    if (known)
        json_number(json, key, value);
    else
        json_null(json, key);
}

static void print_json(const Bench *bench, const char *path, const Figures *f)
{
    Json json = {.file = stdout};
    double gflops = f->flops / f->median_ms / 1e6;
    json_open(&json, NULL, '{');
    json_text(&json, "model", path);
    json_text(&json, "device", bench->setup.device ? bench->setup.device : "cpu");
    json_int(&json, "threads", f->threads);
    number_or_null(&json, "cold_compile_ms", f->cold_ms, f->cold_ms > 0);
    number_or_null(&json, "warm_load_ms", f->warm_ms, f->cached);
    json_number(&json, "first_run_ms", f->first_ms);
    json_number(&json, "steady_median_ms", f->median_ms);
    json_number(&json, "steady_p10_ms", f->p10_ms);
    json_number(&json, "steady_p99_ms", f->p99_ms);
    json_int(&json, "runs", f->runs);
    json_int(&json, "kernels", f->kernels);
    json_int(&json, "peak_rss_kb", f->peak_rss_kb);
    json_int(&json, "plan_bytes", f->plan_bytes);
    number_or_null(&json, "gflops", gflops, f->flops > 0);
    number_or_null(&json, "gbs", f->bytes / f->median_ms / 1e6, f->bytes > 0);
    number_or_null(&json, "percent_of_peak", percent_of_peak(f), percent_of_peak(f) > 0);
    json_close(&json, '}');
    putchar('\n');
}

static void print_text(const char *path, const Figures *f)
{
    printf("%s (%s, %d threads)\n", path, f->target, f->threads);
    if (f->cold_ms > 0)
        printf("  cold compile %.1f ms, ", f->cold_ms);
    else
        printf("  from the pack, nothing compiled, ");
    if (f->cached)
        printf("%s %.1f ms", f->cold_ms > 0 ? "warm load" : "load", f->warm_ms);
    else
        printf("warm load - (nothing came from the cache)");
    printf(" of which packing %.1f ms, first run %.3f ms\n", f->init_ms, f->first_ms);
    printf("  steady %.4f ms (10 %%: %.4f, 99 %%: %.4f; %" PRId64 " runs), %d kernels\n",
           f->median_ms, f->p10_ms, f->p99_ms, f->runs, f->kernels);
    double gflops = f->flops / f->median_ms / 1e6;
    if (f->flops > 0)
        printf("  %.2f GFLOP/s of %.1f", gflops, f->peak_gflops);
    if (f->bytes > 0)
        printf("  %.2f GB/s (once: %.2f of %.1f)", f->bytes / f->median_ms / 1e6,
               f->footprint / f->median_ms / 1e6, f->peak_gbs);
    if (percent_of_peak(f) > 0)
        printf("  %.1f %% of the nearer roof", percent_of_peak(f));
    printf("\n  memory: peak %" PRId64 " kB, session %" PRId64 " kB, plan %" PRId64 " B\n",
           f->peak_rss_kb, f->memory_bytes / 1000, f->plan_bytes);
}

/* Removes a directory that this process made, with what is in it. */
static void remove_tree(const char *path, int depth)
{
    DIR *directory = opendir(path);
    if (directory) {
        for (struct dirent *e; (e = readdir(directory));) {
            char inner[4096];
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                continue;
            snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
            if (unlink(inner) && depth < 8)
                remove_tree(inner, depth + 1);
        }
        closedir(directory);
    }
    rmdir(path);
}

static bool measure(Bench *bench, const char *path, Fail *fail)
{
    const char *folder = getenv("TMPDIR");
    char cache[512];
    static Figures f;
    f = (Figures){0};
    int length =
        snprintf(cache, sizeof cache, "%s/quern-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    if (length >= (int)sizeof cache || !mkdtemp(cache))
        return fail_set(fail, "%s: no temporary folder: %s", cache, strerror(errno));
    bench->setup.cache_dir = cache;
    bool done = bench->setup.pack_count || in_child(bench, path, cold, &f);
    done = done && in_child(bench, path, warm, &f);
    remove_tree(cache, 0);
    if (!done) {
        *fail = f.fail;
        return false;
    }
    if (bench->json)
        print_json(bench, path, &f);
    else
        print_text(path, &f);
    fflush(stdout);
    return true;
}

static int parse(Bench *bench)
{
    Fail fail;
    for (int id; (id = args_next(&bench->args)) != ARGS_END;) {
        const char *value = bench->args.value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_JSON: bench->json = true; break;
        case OPT_DURATION:
            if (!option_number("duration", value, 3600, "seconds", &bench->duration, &fail))
                return args_bad(&bench->args, "%s", fail.text);
            break;
        default:
            if (!setup_option(&bench->setup, id, value, &fail))
                return args_bad(&bench->args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

int verb_bench(int argc, char **argv)
{
    static Bench bench;
    bench = (Bench){
        .args = {.verb = "bench",
                 .usage = "MODEL... [OPTION...]",
                 .what =
                     "Measures models on random inputs: compile with an empty "
                     "cache, load from a filled one, first run, steady runs.\nBeside the rates "
                     "stand this machine's, measured on as many threads: multiply-adds, and "
                     "reads of as\nmany bytes as a run touches (256 MB at most); the per cent are "
                     "of the one that is nearer, bytes\nthat a run moves several times counted "
                     "once.\nOpen dims without --dim or --shape are 1.",
                 .options = options,
                 .argc = argc,
                 .argv = argv},
        .duration = 2};
    int status = parse(&bench);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    int count;
    char **rest = args_rest(&bench.args, &count);
    if (!count)
        return args_bad(&bench.args, "no model given");
    for (int i = 0; i < count; i++) {
        Fail fail = {""};
        if (!measure(&bench, rest[i], &fail))
            status = args_failed(&bench.args, "%s", fail.text);
    }
    return status;
}
