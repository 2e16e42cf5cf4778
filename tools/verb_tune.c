/* quern tune: other schedules for the kernels of a model, tried on this machine; what is faster is
 * kept as records. At the end the whole model runs with and without them by turns: when it is
 * slower as a whole, nothing is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/os_file.h"
#include "jit/records.h"
#include "tools/bind.h"
#include "tools/verbs.h"

enum { OPT_OUTPUT = 'o', OPT_BUDGET = 1, FEWEST_RUNS = 25, MOST_RUNS = 4000 };
static const double compare_ms = 3000;

static const Option options[] = {
    {OPT_BUDGET, "budget", "20s", "time to spend: seconds (s) or minutes (m)"},
    {OPT_OUTPUT, "output", "FILE", "where the records go, beside those it has; default: the cache"},
    SETUP_DIM_OPTIONS,
    {OPT_DEVICE, "device", "NAME", "cpu (default), or a level of it that `quern devices` lists"},
    SETUP_THREADS_OPTION,
    SETUP_RECORDS_OPTION,
    {OPT_CACHE_DIR, "cache-dir", "DIR", "whose records are used, and added to"},
    {0}};

typedef struct Work {
    Args args;
    Setup setup;
    const char *output;
    char path[4096], trial[4200]; /* where records go; where they are tried */
    double seconds;
    char *lines; /* the new records */
    size_t size;
    FILE *collect;
    int32_t better, kernels;
} Work;

/* "20", "20s", "2m". */
static bool parse_budget(const char *text, double *seconds)
{
    char number[32];
    size_t length = strlen(text);
    double unit = 1;
    if (length && (text[length - 1] == 's' || text[length - 1] == 'm'))
        unit = text[--length] == 'm' ? 60 : 1;
    if (!length || length >= sizeof number)
        return false;
    memcpy(number, text, length);
    number[length] = 0;
    bool good = parse_number(number, seconds) && *seconds > 0;
    *seconds *= unit;
    return good && *seconds <= 86400;
}

static int parse(Work *w)
{
    Fail fail;
    for (int id; (id = args_next(&w->args)) != ARGS_END;) {
        const char *value = w->args.value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_OUTPUT: w->output = value; break;
        case OPT_BUDGET:
            if (!parse_budget(value, &w->seconds))
                return args_bad(&w->args, "--budget takes a time such as 20s or 2m, not '%s'",
                                value);
            break;
        default:
            if (!setup_option(&w->setup, id, value, &fail))
                return args_bad(&w->args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

static int32_t show_progress(void *user, int64_t done, int64_t total, const char *what)
{
    (void)user;
    fprintf(stderr, "\r\033[K%3" PRId64 " %% %.*s", 100 * done / total,
            (int)strcspn(what, "\n") < 60 ? (int)strcspn(what, "\n") : 60, what);
    fflush(stderr);
    return 1;
}

static void show_kernel(void *user, const qn_tuned_kernel *k)
{
    Work *w = user;
    int length = (int)strcspn(k->nodes.data, "\n");
    w->kernels++;
    printf("%9.1f us x%-3d", k->before_us, k->uses);
    if (k->better)
        printf(" -> %9.1f us (%.2f times)", k->after_us, k->before_us / k->after_us);
    else
        printf(" %-25s", k->before_us > 0 ? "" : "cannot be run alone");
    printf("  %3d tried  %.*s  %s\n", k->tried, length, k->nodes.data, k->schedule.data);
    if (!k->better)
        return;
    w->better++;
    fprintf(w->collect, "%s\n", k->record.data);
}

static bool tune(Work *w, Fail *fail)
{
    qn_compile_options compile;
    if (!setup_compile_options(&w->setup, &compile, fail))
        return false;
    qn_tune_options what = {.size = sizeof what,
                            .seconds = w->seconds,
                            .kernel = show_kernel,
                            .user = w,
                            .progress = isatty(STDERR_FILENO) ? show_progress : NULL};
    qn_status status = qn_program_tune(w->setup.model, &compile, &what);
    if (what.progress)
        fputs("\r\033[K", stderr);
    return status == QN_OK || fail_set(fail, "%s", qn_model_message(w->setup.model));
}

/* --- the whole model, before and after --- */

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct Side {
    Setup setup;
    Binding binding;
    double times[MOST_RUNS];
} Side;

/* Compiles with the records given so far, and with `more` when that is a file. */
static bool open_side(const Work *w, const char *path, const char *more, Side *side, Fail *fail)
{
    Setup *s = &side->setup;
    *s = w->setup;
    s->context = NULL;
    s->model = NULL;
    if (more && s->record_count < SETUP_PACKS)
        s->records[s->record_count++] = more;
    return setup_open(s, path, fail) && setup_default_sizes(s, fail) && setup_compile(s, fail) &&
           setup_session(s, fail) && bind_begin(&side->binding, s, fail) &&
           bind_finish(&side->binding, s, FILL_RANDOM, fail);
}

static bool run_side(Side *side, int run, Fail *fail)
{
    /* a single thread's processor time does not count what else the machine does */
    bool alone = qn_context_threads(side->setup.context) == 1;
    clockid_t clock = alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    double start = now_ms(clock);
    if (bind_run(&side->binding, side->setup.session) != QN_OK)
        return fail_set(fail, "%s", qn_session_message(side->setup.session));
    side->times[run] = now_ms(clock) - start;
    return true;
}

/* Runs by turns. *slower: the one with records was, in so many of the pairs that chance (twice the
 * deviation of a fair coin) does not do it. */
static bool compare(Side *sides, bool *slower, Fail *fail)
{
    static double ratios[MOST_RUNS];
    double end = now_ms(CLOCK_MONOTONIC) + compare_ms;
    int runs = 0, wins = 0;
    if (!run_side(&sides[0], 0, fail) || !run_side(&sides[1], 0, fail))
        return false;
    while (runs < MOST_RUNS && (now_ms(CLOCK_MONOTONIC) < end || runs < FEWEST_RUNS)) {
        int first = runs % 2;
        if (!run_side(&sides[first], runs, fail) || !run_side(&sides[1 - first], runs, fail))
            return false;
        ratios[runs] = sides[1].times[runs] / sides[0].times[runs];
        wins += ratios[runs] < 1;
        runs++;
    }
    for (int i = 0; i < 2; i++)
        qsort(sides[i].times, (size_t)runs, sizeof *sides[i].times, by_value);
    qsort(ratios, (size_t)runs, sizeof *ratios, by_value);
    double less = runs / 2.0 - wins;
    *slower = less > 0 && less * less > runs;
    printf("whole model: %.3f ms before, %.3f ms after (medians of %d runs by turns; after/before "
           "%.3f, half of them in %.3f..%.3f; faster in %d %%)\n",
           sides[0].times[runs / 2], sides[1].times[runs / 2], runs, ratios[runs / 2],
           ratios[runs / 4], ratios[3 * runs / 4], 100 * wins / runs);
    return true;
}

static bool try_whole(Work *w, const char *path, const char *records, bool *slower, Fail *fail)
{
    static Side sides[2];
    bool done = open_side(w, path, NULL, &sides[0], fail) &&
                open_side(w, path, records, &sides[1], fail) && compare(sides, slower, fail);
    for (int i = 0; i < 2; i++) {
        bind_free(&sides[i].binding);
        setup_close(&sides[i].setup);
    }
    return done;
}

/* --- records --- */

/* `from` need not exist; `more` is text; nothing is written without `to`. */
typedef struct Merge {
    const char *from, *more, *to;
    int (*write)(const char *path, const OsPart *parts, size_t count);
    uint32_t count;
} Merge;

static void merge_job(Cx *cx, void *user)
{
    Merge *m = user;
    Records all;
    Text out;
    char *text;
    size_t size;
    records_init(&all, cx->arena);
    text_init(&out, cx->arena);
    int error = m->from ? os_read_file(cx->arena, m->from, RECORDS_BYTES, &text, &size) : ENOENT;
    if (!error)
        records_read(cx, &all, m->from, text);
    else if (error != ENOENT)
        cx_fail(cx, ST_io, "%s: %s", m->from, os_error_text(error));
    if (all.bad)
        cx_fail(cx, ST_bad_file, "%s is not a file of records, and is left alone: %s", m->from,
                all.first_bad);
    records_read(cx, &all, "", m->more);
    m->count = all.count;
    if (cx_failed(cx) || !m->to)
        return;
    for (uint32_t i = 0; i < all.count; i++)
        record_print(&out, &all.list[i]);
    OsPart part = {out.data, out.length};
    error = m->write(m->to, &part, 1);
    if (error)
        cx_fail(cx, ST_io, "%s: %s", m->to, os_error_text(error));
}

static bool merge(Merge *m, Fail *fail)
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    bool done = cx_run(&cx, merge_job, m) == ST_ok || fail_set(fail, "%s", cx.message);
    cx_finish(&cx);
    return done;
}

/* Where the records go: the output, or the file in the cache directory, which is made. */
static bool find_path(Work *w, Fail *fail)
{
    char dir[3900];
    if (w->output)
        return snprintf(w->path, sizeof w->path, "%s", w->output) < (int)sizeof w->path ||
               fail_set(fail, "too long a name");
    if (w->setup.cache_dir)
        snprintf(dir, sizeof dir, "%s", w->setup.cache_dir);
    else if (qn_cache_default_dir(dir, sizeof dir) != QN_OK)
        return fail_set(fail, "no cache directory: give a file with -o");
    int error = os_make_dirs(dir);
    snprintf(w->path, sizeof w->path, "%s/tuning.qnr", dir);
    return !error || fail_set(fail, "%s: %s", dir, os_error_text(error));
}

/* Finds the place of the records, and that they can be put there: before minutes are spent. */
static bool find_output(Work *w, Fail *fail)
{
    if (!find_path(w, fail))
        return false;
    snprintf(w->trial, sizeof w->trial, "%s.%ld.trial", w->path, (long)getpid());
    if (!merge(&(Merge){.from = w->path, .more = ""}, fail))
        return false;
    int error = os_output_check(w->path);
    return !error || fail_set(fail, "%s: %s", w->path, os_error_text(error));
}

/* Compares the whole model with and without the new records, which are in a file of their own
 * then; forgets them when it is slower. */
static bool judge(Work *w, const char *model, const char **lines, Fail *fail)
{
    bool slower = false;
    bool done = merge(&(Merge){.more = w->lines, .to = w->trial, .write = os_write_file}, fail) &&
                try_whole(w, model, w->trial, &slower, fail);
    unlink(w->trial);
    if (slower)
        printf("the model as a whole is slower: nothing is kept\n");
    *lines = slower ? "" : w->lines;
    return done;
}

/* Without new records an old file stays as it is; where none is there will be an empty one, since
 * what comes next (--records) will look for it. */
static bool keep(const Work *w, const char *lines, Fail *fail)
{
    OsFileId id;
    if (!*lines && os_file_id(w->path, &id) == 0)
        return true;
    Merge all = {.from = w->path, .more = lines, .to = w->path};
    all.write = w->output ? os_output_write : os_write_file;
    if (!merge(&all, fail))
        return false;
    printf("%s: %" PRIu32 " records\n", w->path, all.count);
    return true;
}

static bool work(Work *w, const char *path, Fail *fail)
{
    w->setup.no_cache = false;
    if (!setup_open(&w->setup, path, fail) || !setup_default_sizes(&w->setup, fail) ||
        !find_output(w, fail) || !tune(w, fail))
        return false;
    fflush(w->collect);
    printf("%d of %d kernels are faster\n", w->better, w->kernels);
    const char *lines = "";
    return (!w->better || judge(w, path, &lines, fail)) && keep(w, lines, fail);
}

int verb_tune(int argc, char **argv)
{
    static Work w;
    w = (Work){.args = {.verb = "tune",
                        .usage = "MODEL [OPTION...]",
                        .what = "Tries schedules for the kernels of a model on this CPU, heaviest "
                                "first, and keeps the faster ones\nas records: text for --records, "
                                "joined with cat; those in the cache are used without being asked "
                                "for.\nOpen dims without --dim or --shape are 1. Nothing else "
                                "should run meanwhile.",
                        .options = options,
                        .argc = argc,
                        .argv = argv},
               .seconds = 20};
    int count, status = parse(&w);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    char **rest = args_rest(&w.args, &count);
    if (count != 1)
        return args_bad(&w.args, count ? "one model at a time" : "no model given");
    Fail fail = {"out of memory"};
    w.collect = open_memstream(&w.lines, &w.size);
    bool done = w.collect && work(&w, rest[0], &fail);
    if (w.collect)
        fclose(w.collect);
    free(w.lines);
    setup_close(&w.setup);
    return done ? EXIT_DONE : args_failed(&w.args, "%s", fail.text);
}
