/* Tuning, one nest after another: a climb from where the cost model starts.
 *
 *   candidates of a round   schedules one step away from the best so far, then the fixed set that
 * the property tests walk through a candidate             is lowered, compiled, compared with the
 * first results and timed beside the best so far, a run of one after a run of the other, so that
 * what else the machine does meets both at the end              the best is timed beside the first
 * once more, and kept only when it is faster by `gain` and in `most_pairs` of the pairs
 *
 * Before every run the second-level cache is filled with something else: in a model the weights of
 * a kernel were used a whole run ago. What does not fit the nest, or differs in its results, is
 * passed over. Times are of the machine as it is: who tunes should do nothing else on it. */
#include "jit/tune.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jit/kernel.h"
#include "jit/kernel_data.h"
#include "jit/roofline.h"

enum { PAIRS = 9, FEW_PAIRS = 3, LAST_PAIRS = 25, MOST_TRIED = 400, MOST_ROUNDS = 1000 };
static const double gain = 0.03, most_pairs = 0.75, worst_difference = 1e-4, shortest_s = 50e-6;

/* A nest with one schedule, ready to run. */
typedef struct Contender {
    Cx cx;
    const TuneOptions *options;
    const char *text;
    Schedule schedule; /* skeleton SK_count: the cost model's */
    Nest *nest;
    KernelData data;
    Kernel *kernel;
} Contender;

static void prepare(Cx *cx, void *user)
{
    Contender *c = user;
    LlvmModule llvm = {.api = c->options->llvm};
    c->nest = nest_parse(cx, "nest", c->text);
    if (!c->nest)
        return;
    if (c->schedule.skeleton == SK_count)
        c->schedule = schedule_choose(cx, c->nest, c->options->caps);
    c->kernel = kernel_compile(cx, c->nest, &c->schedule, c->options->caps, &llvm);
    if (c->kernel && kernel_data(cx, c->nest, &c->data) &&
        kernel_bind(cx, c->kernel, c->data.buffers, c->data.dims, c->options->executor))
        kernel_run(c->kernel);
}

static Contender *contender_new(const TuneOptions *options, const char *text,
                                const Schedule *schedule)
{
    Contender *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    cx_init(&c->cx, NULL, 0);
    c->options = options;
    c->text = text;
    c->schedule = schedule ? *schedule : (Schedule){.skeleton = SK_count};
    cx_run(&c->cx, prepare, c);
    if (!cx_failed(&c->cx))
        return c;
    cx_finish(&c->cx);
    free(c);
    return NULL;
}

static void contender_free(Contender *c)
{
    if (!c)
        return;
    cx_finish(&c->cx);
    free(c);
}

/* --- timing --- */

typedef struct Bench {
    const TuneOptions *options;
    char *junk; /* larger than the second-level caches of all workers */
    int64_t junk_bytes;
    int workers;
    double end; /* when the time is over */
} Bench;

static void touch(void *arg, int64_t begin, int64_t end, int worker)
{
    Bench *b = arg;
    (void)worker;
    int64_t piece = b->junk_bytes / 64;
    for (int64_t i = begin * piece; i < end * piece; i += 64)
        b->junk[i]++;
}

/* One thread's time is its processor time, which does not count when something else had the
 * processor. */
static double clock_now(const Bench *b)
{
    struct timespec t;
    if (b->workers > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        return roofline_now();
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double time_run(Bench *b, Contender *c, int rounds)
{
    const Executor *e = b->options->executor;
    e->parallel_for(e->user, 64, touch, b);
    double start = clock_now(b);
    for (int i = 0; i < rounds; i++)
        kernel_run(c->kernel);
    return (clock_now(b) - start) / rounds;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, by_time);
    return times[count / 2];
}

/* So many that they take long enough to be timed. */
static int rounds_of(Bench *b, Contender *c)
{
    double once = time_run(b, c, 3);
    int rounds = (int)(shortest_s / (once + 1e-9)) + 1;
    return rounds < MOST_ROUNDS ? rounds : MOST_ROUNDS;
}

typedef struct Comparison {
    double a, b; /* medians, in seconds */
    double wins; /* share of the pairs in which b was faster */
} Comparison;

/* Runs two by turns; gives up early on a b that is clearly slower. */
static Comparison compare(Bench *bench, Contender *a, Contender *b, int pairs)
{
    double times[2][LAST_PAIRS];
    int rounds = rounds_of(bench, a), won = 0, done = 0;
    while (done < pairs && (done != FEW_PAIRS || won)) {
        bool first = done % 2 == 0; /* neither always goes first */
        for (int turn = 0; turn < 2; turn++) {
            bool is_a = (turn == 0) == first;
            times[is_a ? 0 : 1][done] = time_run(bench, is_a ? a : b, rounds);
        }
        won += times[1][done] < times[0][done];
        done++;
    }
    return (Comparison){median(times[0], done), median(times[1], done), (double)won / done};
}

/* --- one nest --- */

typedef struct Climb {
    Bench *bench;
    Tuned *tuned;
    Contender *first, *best;
    Schedule tried[MOST_TRIED];
    uint32_t tried_count;
} Climb;

static bool is_new(Climb *c, const Schedule *schedule)
{
    for (uint32_t i = 0; i < c->tried_count; i++)
        if (schedule_equal(&c->tried[i], schedule))
            return false;
    if (c->tried_count == MOST_TRIED)
        return false;
    c->tried[c->tried_count++] = *schedule;
    return true;
}

/* Whether the candidate is the new best. */
static bool attempt(Climb *c, const Schedule *schedule)
{
    if (!is_new(c, schedule))
        return false;
    Contender *new = contender_new(c->bench->options, c->tuned->nest->text, schedule);
    if (!new)
        return false;
    c->tuned->tried++;
    bool better = false;
    if (kernel_data_difference(c->first->nest, &new->data, &c->first->data) <= worst_difference) {
        Comparison result = compare(c->bench, c->best, new, PAIRS);
        better = result.b < result.a * (1 - gain / 2) && result.wins >= most_pairs;
    }
    if (!better) {
        contender_free(new);
        return false;
    }
    if (c->best != c->first)
        contender_free(c->best);
    c->best = new;
    return true;
}

static bool in_time(const Climb *c)
{
    return roofline_now() < c->bench->end;
}

static void climb(Climb *c)
{
    Schedule next;
    bool again = true;
    while (again && in_time(c)) {
        again = false;
        Schedule from = c->best->schedule;
        for (int i = 0; in_time(c) && !again && schedule_neighbour(&from, i, &next); i++)
            again = attempt(c, &next);
        for (int i = 0; in_time(c) && !again; i++) {
            if (!schedule_candidate(c->first->nest, c->bench->options->caps, i, &next))
                break;
            again = attempt(c, &next);
        }
    }
}

static void finish(Climb *c)
{
    Tuned *t = c->tuned;
    t->record.schedule = c->best->schedule;
    if (c->best == c->first)
        return;
    Comparison last = compare(c->bench, c->first, c->best, LAST_PAIRS);
    t->record.before_ns = (int64_t)(last.a * 1e9);
    t->record.after_ns = (int64_t)(last.b * 1e9);
    t->better = last.b < last.a * (1 - gain) && last.wins >= most_pairs;
}

static const Schedule *known_schedule(const TuneOptions *o, const NestUse *nest)
{
    const Record *record = o->known ? records_find(o->known, nest->key, o->caps->name) : NULL;
    return record ? &record->schedule : NULL;
}

static Contender *first_contender(const TuneOptions *o, const NestUse *nest)
{
    const Schedule *known = known_schedule(o, nest);
    Contender *c = known ? contender_new(o, nest->text, known) : NULL;
    return c ? c : contender_new(o, nest->text, NULL);
}

static void tune_nest(Bench *bench, Tuned *tuned)
{
    static const Climb none;
    Climb *c = malloc(sizeof *c);
    if (!c)
        return;
    *c = none;
    c->bench = bench;
    c->tuned = tuned;
    c->first = c->best = first_contender(bench->options, tuned->nest);
    if (c->first) {
        is_new(c, &c->first->schedule);
        climb(c);
        finish(c);
        if (c->best != c->first)
            contender_free(c->best);
        contender_free(c->first);
    }
    free(c);
}

/* --- all nests --- */

/* Medians of the first schedules, to begin with what matters. */
static void weigh(Bench *bench, Tuned *tuned)
{
    double times[PAIRS];
    Contender *c = first_contender(bench->options, tuned->nest);
    tuned->measured = c != NULL;
    if (!c)
        return;
    int rounds = rounds_of(bench, c);
    for (int i = 0; i < PAIRS; i++)
        times[i] = time_run(bench, c, rounds);
    tuned->record.before_ns = tuned->record.after_ns = (int64_t)(median(times, PAIRS) * 1e9);
    tuned->record.schedule = c->schedule;
    contender_free(c);
}

static double weight(const Tuned *tuned)
{
    return tuned->measured ? (double)tuned->record.before_ns * tuned->nest->uses : 0;
}

static int by_weight(const void *a, const void *b)
{
    double x = weight(a), y = weight(b);
    return (x < y) - (x > y);
}

static bool go_on(Cx *cx, const TuneOptions *o, double start, const char *what)
{
    double part = (roofline_now() - start) / o->seconds;
    int64_t done = (int64_t)(1000 * (part < 1 ? part : 1));
    if (!o->progress || o->progress(o->progress_user, done, 1000, what))
        return true;
    cx_fail(cx, ST_cancelled, "the caller cancelled");
    return false;
}

bool tune_nests(Cx *cx, const NestList *nests, const TuneOptions *options, Tuned *tuned)
{
    double start = roofline_now(), stop = start + options->seconds, left = 0;
    int workers = options->executor->worker_count(options->executor->user);
    Bench bench = {.options = options,
                   .workers = workers,
                   .junk_bytes = 4 * options->caps->l2 * workers / 64 * 64};
    bench.junk = calloc(1, (size_t)bench.junk_bytes);
    if (!bench.junk) {
        cx_fail(cx, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
        return false;
    }
    for (uint32_t i = 0; i < nests->count; i++) {
        tuned[i] = (Tuned){.nest = &nests->list[i]};
        tuned[i].record =
            (Record){.nest = nests->list[i].key, .target = options->caps->name, .threads = workers};
        if (!go_on(cx, options, start, "measuring"))
            break;
        weigh(&bench, &tuned[i]);
        left += weight(&tuned[i]);
    }
    qsort(tuned, nests->count, sizeof *tuned, by_weight);
    for (uint32_t i = 0; i < nests->count && !cx_failed(cx); i++) {
        double now = roofline_now(), mine = weight(&tuned[i]);
        if (!go_on(cx, options, start, tuned[i].nest->nodes) || now >= stop || mine <= 0)
            break;
        bench.end = now + (stop - now) * mine / left;
        left -= mine;
        tune_nest(&bench, &tuned[i]);
    }
    free(bench.junk);
    return !cx_failed(cx);
}
