/* quern check: every test in a process of its own, so that a crash or an endless loop fails that
 * test alone. A child sends its verdict, plain memory, through one pipe; what it prints (the text
 * of a failed assertion, a sanitizer's report) goes through another and explains a crash. The
 * parent only ever forks, polls and counts: it makes no context, hence no threads. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/utf8.h"
#include "tools/cases.h"
#include "tools/show.h"
#include "tools/verbs.h"

enum { OPT_JOBS = 1, OPT_RTOL, OPT_ATOL, OPT_FILTER, OPT_LIMIT, OPT_VERBOSE, MOST_JOBS = 64 };

static const Option options[] = {
    {OPT_JOBS, "jobs", "N", "tests at a time; default: one per processor"},
    {OPT_FILTER, "filter", "TEXT", "only tests whose name holds TEXT, or matches a pattern"},
    {OPT_RTOL, "rtol", "X", "relative tolerance of floats (1e-3)"},
    {OPT_ATOL, "atol", "X", "absolute tolerance of floats (1e-7)"},
    {OPT_LIMIT, "time-limit", "SECONDS", "of one test (60)"},
    {OPT_VERBOSE, "verbose", NULL, "name the passed and skipped tests too"},
    SETUP_DEVICE_OPTIONS,
    SETUP_GENERIC_OPTION,
    {OPT_CACHE_DIR, "cache-dir", "DIR", "keep compiled kernels here; default: no cache"},
    {0}};

/* A child at work. */
typedef struct Job {
    pid_t pid;
    int verdict_fd, text_fd; /* -1 once at their end */
    size_t index;            /* of the case */
    double deadline;         /* seconds */
    bool timed_out;
    Verdict verdict;
    size_t got; /* bytes of it */
    char text[2048];
    size_t text_length;
} Job;

typedef struct Check {
    Args args;
    Setup setup;
    Tolerance tolerance;
    Cases cases;
    Verdict *verdicts; /* by case */
    Job jobs[MOST_JOBS];
    size_t job_count, most_jobs, next, finished;
    const char *filter;
    double limit;
    bool verbose, shows; /* shows: progress on a terminal */
    int64_t counts[3];   /* by outcome */
} Check;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void child(const Check *check, const char *path, int verdict_fd, int text_fd)
{
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    dup2(text_fd, STDOUT_FILENO);
    dup2(text_fd, STDERR_FILENO);
    close(text_fd);
    static Setup setup;
    setup = check->setup;
    Verdict v = case_run(&setup, path, check->tolerance);
    bool sent = write(verdict_fd, &v, sizeof v) == (ssize_t)sizeof v;
    fflush(NULL);
    _exit(sent ? 0 : 1);
}

static bool start(Check *check, Fail *fail)
{
    int a[2], b[2];
    if (pipe2(a, O_CLOEXEC))
        return fail_set(fail, "pipe: %s", strerror(errno));
    if (pipe2(b, O_CLOEXEC)) {
        close(a[0]);
        close(a[1]);
        return fail_set(fail, "pipe: %s", strerror(errno));
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(a[0]);
        close(b[0]);
        child(check, check->cases.paths[check->next], a[1], b[1]);
    }
    int error = errno;
    close(a[1]);
    close(b[1]);
    if (pid < 0) {
        close(a[0]);
        close(b[0]);
        return fail_set(fail, "fork: %s", strerror(error));
    }
    check->jobs[check->job_count++] = (Job){.pid = pid,
                                            .verdict_fd = a[0],
                                            .text_fd = b[0],
                                            .index = check->next++,
                                            .deadline = now() + check->limit};
    return true;
}

/* Reads what there is; closes and forgets the descriptor at its end. Bytes beyond the room are
 * dropped. */
static void drain(int *fd, void *to, size_t *length, size_t room)
{
    char spare[512];
    bool full = *length >= room;
    ssize_t got =
        full ? read(*fd, spare, sizeof spare) : read(*fd, (char *)to + *length, room - *length);
    if (got > 0 && !full)
        *length += (size_t)got;
    if (got == 0 || (got < 0 && errno != EINTR)) {
        close(*fd);
        *fd = -1;
    }
}

/* A crash in words: the signal or status, and the first line the child printed. */
static Verdict crash(const Job *job, int status, double limit)
{
    Verdict v = {.outcome = CASE_FAILED};
    if (job->timed_out)
        snprintf(v.reason, sizeof v.reason, "more than %g s", limit);
    else if (WIFSIGNALED(status))
        snprintf(v.reason, sizeof v.reason, "crash: %s", strsignal(WTERMSIG(status)));
    else
        snprintf(v.reason, sizeof v.reason, "crash: exit status %d", WEXITSTATUS(status));
    int length = (int)strcspn(job->text, "\n");
    snprintf(v.detail, sizeof v.detail, "%.*s", length, job->text);
    utf8_make_plain(v.detail, false);
    return v;
}

static void print_verdict(const char *name, const Verdict *v)
{
    static const char *const words[] = {"passed", "FAILED", "skipped"};
    printf("%s ", words[v->outcome]);
    show_all(name);
    printf("%s%s%s", *v->reason ? ": " : "", v->reason, *v->detail ? ": " : "");
    show_message(stdout, v->detail);
    putchar('\n');
}

static void report(const Check *check, const char *path, const Verdict *v)
{
    if (check->shows)
        fputs("\r\033[K", stderr);
    if (v->outcome == CASE_FAILED || check->verbose)
        print_verdict(case_name(path), v);
    if (check->shows) {
        fflush(stdout);
        fprintf(stderr, "%zu/%zu, failed %" PRId64 " ", check->finished, check->cases.count,
                check->counts[CASE_FAILED]);
        fflush(stderr);
    }
}

static void finish(Check *check, size_t at)
{
    Job *job = &check->jobs[at];
    int status = 0;
    while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR) {
    }
    Verdict *v = &check->verdicts[job->index];
    bool whole = job->got == sizeof(Verdict) && WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                 !job->timed_out;
    *v = whole ? job->verdict : crash(job, status, check->limit);
    check->counts[v->outcome]++;
    check->finished++;
    report(check, check->cases.paths[job->index], v);
    *job = check->jobs[--check->job_count];
}

/* Waits for news of the children, at most until the next deadline. */
static void wait_for_news(Check *check)
{
    struct pollfd fds[2 * MOST_JOBS];
    double soonest = now() + 60;
    for (size_t i = 0; i < check->job_count; i++) {
        const Job *job = &check->jobs[i];
        fds[2 * i] = (struct pollfd){.fd = job->verdict_fd, .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = job->text_fd, .events = POLLIN};
        soonest = job->deadline < soonest ? job->deadline : soonest;
    }
    double wait = (soonest - now()) * 1e3;
    poll(fds, 2 * check->job_count, wait > 0 ? (int)wait + 1 : 0);
    for (size_t i = 0; i < check->job_count; i++) {
        Job *job = &check->jobs[i];
        if (job->verdict_fd >= 0 && fds[2 * i].revents)
            drain(&job->verdict_fd, &job->verdict, &job->got, sizeof job->verdict);
        if (job->text_fd >= 0 && fds[2 * i + 1].revents)
            drain(&job->text_fd, job->text, &job->text_length, sizeof job->text - 1);
        if (!job->timed_out && now() >= job->deadline) {
            job->timed_out = true;
            job->deadline += 1e9;
            kill(job->pid, SIGKILL);
        }
    }
    for (size_t i = check->job_count; i-- > 0;) {
        if (check->jobs[i].verdict_fd < 0 && check->jobs[i].text_fd < 0)
            finish(check, i);
    }
}

static bool run_all(Check *check, Fail *fail)
{
    check->verdicts = calloc(check->cases.count + 1, sizeof *check->verdicts);
    if (!check->verdicts)
        return fail_set(fail, "out of memory");
    bool started = true;
    while (started && (check->next < check->cases.count || check->job_count)) {
        while (started && check->next < check->cases.count && check->job_count < check->most_jobs)
            started = start(check, fail);
        if (check->job_count)
            wait_for_news(check);
    }
    while (check->job_count)
        wait_for_news(check);
    if (check->shows)
        fputs("\r\033[K", stderr);
    return started;
}

typedef struct Sum {
    const Verdict *first;
    int64_t count;
} Sum;

static int by_count(const void *a, const void *b)
{
    const Sum *x = a, *y = b;
    if (x->first->outcome != y->first->outcome)
        return (int)x->first->outcome - (int)y->first->outcome;
    return (x->count < y->count) - (x->count > y->count);
}

/* How often each reason came up, failures first. */
static void print_sums(const Check *check)
{
    Sum *sums = calloc(check->cases.count + 1, sizeof *sums);
    size_t count = 0;
    if (!sums)
        return;
    for (size_t i = 0; i < check->cases.count; i++) {
        const Verdict *v = &check->verdicts[i];
        size_t at = 0;
        if (v->outcome == CASE_PASSED)
            continue;
        while (at < count && (sums[at].first->outcome != v->outcome ||
                              strcmp(sums[at].first->reason, v->reason) != 0))
            at++;
        sums[at].first = v;
        sums[at].count++;
        count += at == count;
    }
    qsort(sums, count, sizeof *sums, by_count);
    for (size_t i = 0; i < count; i++)
        printf("%6" PRId64 " %s: %s\n", sums[i].count,
               sums[i].first->outcome == CASE_FAILED ? "failed" : "skipped", sums[i].first->reason);
    free(sums);
}

/* EXIT_DONE to go on, -1 when the help was asked for. */
static int parse(Check *check)
{
    Fail fail;
    int64_t jobs;
    for (int id; (id = args_next(&check->args)) != ARGS_END;) {
        const char *value = check->args.value;
        switch (id) {
        case ARGS_HELP: return -1;
        case ARGS_BAD: return EXIT_BAD_USAGE;
        case OPT_JOBS:
            if (!option_int("jobs", value, 1, MOST_JOBS, &jobs, &fail))
                return args_bad(&check->args, "%s", fail.text);
            check->most_jobs = (size_t)jobs;
            break;
        case OPT_FILTER: check->filter = value; break;
        case OPT_VERBOSE: check->verbose = true; break;
        case OPT_RTOL:
        case OPT_ATOL:
            if (!option_number(id == OPT_RTOL ? "rtol" : "atol", value, 1e30, "a tolerance",
                               id == OPT_RTOL ? &check->tolerance.rtol : &check->tolerance.atol,
                               &fail))
                return args_bad(&check->args, "%s", fail.text);
            break;
        case OPT_LIMIT:
            if (!option_number("time-limit", value, 1e6, "seconds", &check->limit, &fail))
                return args_bad(&check->args, "%s", fail.text);
            break;
        default:
            if (!setup_option(&check->setup, id, value, &fail))
                return args_bad(&check->args, "%s", fail.text);
        }
    }
    return EXIT_DONE;
}

static bool work(Check *check, char **directories, int count, Fail *fail)
{
    for (int i = 0; i < count; i++) {
        if (!cases_find(&check->cases, directories[i], check->filter, fail))
            return false;
    }
    if (!check->cases.count)
        return fail_set(fail,
                        "%s: no tests found%s; a test is a folder with model.onnx and "
                        "test_data_set_0",
                        directories[0], check->filter ? " of that name" : "");
    if (!run_all(check, fail))
        return false;
    print_sums(check);
    printf("passed %" PRId64 ", failed %" PRId64 ", skipped %" PRId64 "\n",
           check->counts[CASE_PASSED], check->counts[CASE_FAILED], check->counts[CASE_SKIPPED]);
    return true;
}

int verb_check(int argc, char **argv)
{
    static Check check;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    check =
        (Check){.args = {.verb = "check",
                         .usage = "DIR... [OPTION...]",
                         .what = "Runs the ONNX backend tests found in the folders and below, "
                                 "with the official tolerances.\nA test is skipped only when the "
                                 "compiler says that it does not support something in it, or when\n"
                                 "what it computes are random numbers.",
                         .options = options,
                         .argc = argc,
                         .argv = argv},
                .setup = {.quiet = true, .threads = 1, .no_cache = true},
                .tolerance = {COMPARE_RTOL, COMPARE_ATOL},
                .most_jobs = processors > 0 && processors < MOST_JOBS ? (size_t)processors : 1,
                .limit = 60,
                .shows = isatty(STDERR_FILENO)};
    int status = parse(&check);
    if (status)
        return status < 0 ? EXIT_DONE : status;
    check.setup.no_cache = !check.setup.cache_dir;
    int count;
    char **rest = args_rest(&check.args, &count);
    if (!count)
        return args_bad(&check.args, "no folder given");
    Fail fail = {""};
    bool done = work(&check, rest, count, &fail);
    bool failed = check.counts[CASE_FAILED] > 0;
    free(check.verdicts);
    cases_free(&check.cases);
    if (!done)
        return args_failed(&check.args, "%s", fail.text);
    return failed ? EXIT_FAILED : EXIT_DONE;
}
