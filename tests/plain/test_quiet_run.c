/* What qn_run does besides computing: it allocates nothing, and the only system call that it makes
 * is the one that wakes and parks threads; with one thread, none.
 *
 * Allocations are counted twice: by the context's allocator, and by malloc and its like, which this
 * program defines itself. System calls are ended by the kernel: a child process that has run once
 * puts a filter on all its threads, under which any other call kills it, and runs again. Whether
 * counters and filter see anything is checked with what they have to see. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/quern.h"

/* --- malloc, counted --- */

static atomic_long counted;

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

/* The C library declares them. */
void *malloc(size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_memalign(align, size);
}

int posix_memalign(void **memory, size_t align, size_t size)
{
    atomic_fetch_add(&counted, 1);
    *memory = __libc_memalign(align, size);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    atomic_fetch_add(&counted, memory != NULL);
    __libc_free(memory);
}

/* --- the context's allocator, counted --- */

static atomic_long asked;

static void *count_alloc(void *user, size_t size, size_t align)
{
    (void)user;
    atomic_fetch_add(&asked, 1);
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void count_release(void *user, void *memory, size_t size)
{
    (void)user;
    (void)size;
    atomic_fetch_add(&asked, 1);
    free(memory);
}

/* --- a model, ready to run --- */

enum { BATCH = 32, RUNS = 200, MOST = 1 << 16 };

static float x[MOST], y[MOST];

static void stop(const char *what, const char *why)
{
    printf("%s: %s\n", what, why);
    exit(1);
}

typedef struct Ready {
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
} Ready;

static Ready prepare(int threads)
{
    static const qn_allocator allocator = {NULL, count_alloc, count_release};
    qn_context_options options = {.allocator = &allocator, .threads = threads};
    Ready r = {0};
    qn_tensor_info input, output;
    if (qn_context_create(&options, &r.context) != QN_OK)
        stop("context", "not made");
    if (qn_model_open(r.context, qn_str(QUERN_SOURCE_DIR "/examples/digits/digits.onnx"), NULL,
                      &r.model) != QN_OK ||
        qn_model_input(r.model, 0, &input) != QN_OK)
        stop("model", qn_model_message(r.model));
    qn_dim_value batch = {.symbol = input.dims[0].symbol, .value = BATCH};
    qn_compile_options compile = {.dims = &batch, .dim_count = 1};
    if (qn_program_compile(r.model, &compile, &r.program) != QN_OK)
        stop("program", qn_program_message(r.program));
    if (qn_session_create(r.program, NULL, &r.session) != QN_OK ||
        qn_session_input(r.session, 0, &input) != QN_OK ||
        qn_session_output(r.session, 0, &output) != QN_OK)
        stop("session", qn_session_message(r.session));
    if (input.bytes > (int64_t)sizeof x || output.bytes > (int64_t)sizeof y)
        stop("model", "larger than this test's memory");
    return r;
}

static void finish(Ready *r)
{
    qn_session_release(r->session);
    qn_program_release(r->program);
    qn_model_release(r->model);
    qn_context_release(r->context);
}

static qn_status run(const Ready *r)
{
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = y, .bytes = sizeof y};
    return qn_run(r->session, &in, 1, &out, 1);
}

/* --- the two checks --- */

static int check_allocations(const Ready *r, int threads)
{
    if (!atomic_load(&counted) || !atomic_load(&asked))
        stop("allocations", "those of the preparation were not seen");
    long by_malloc = atomic_load(&counted), by_context = atomic_load(&asked);
    for (int i = 0; i < RUNS; i++)
        if (run(r) != QN_OK)
            stop("run", qn_session_message(r->session));
    by_malloc = atomic_load(&counted) - by_malloc;
    by_context = atomic_load(&asked) - by_context;
    printf(
        "%d threads, %d runs: %ld calls of malloc and its like, %ld of the context's allocator\n",
        threads, RUNS, by_malloc, by_context);
    return by_malloc || by_context;
}

/* From here on this process may make `call` and end, nothing else. */
static bool allow_only(long call)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/* Runs under the filter in a child with its own threads. 0: it came through; 1: it was killed for a
 * system call; 2: something else. `control`: it makes one on purpose. */
static int child_outcome(int threads, bool control)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        Ready r = prepare(threads);
        bool ok = run(&r) == QN_OK && allow_only(threads > 1 ? SYS_futex : SYS_exit_group);
        for (int i = 0; ok && i < RUNS; i++)
            ok = run(&r) == QN_OK;
        if (control)
            syscall(SYS_getppid);
        _exit(ok ? 0 : 3);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        stop("child", strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? 1 : 2;
}

static int check_calls(int threads)
{
    int outcome = child_outcome(threads, false), control = child_outcome(threads, true);
    printf("%d threads, system calls: %s\n", threads,
           outcome == 0   ? threads > 1 ? "none but futex" : "none"
           : outcome == 1 ? "OTHERS"
                          : "THE CHILD FAILED");
    if (control != 1)
        stop("filter", "a system call was not seen");
    return outcome != 0;
}

int main(void)
{
    int bad = check_calls(1) | check_calls(2); /* before this process has threads */
    for (int threads = 1; threads <= 2; threads++) {
        Ready r = prepare(threads);
        if (run(&r) != QN_OK)
            stop("run", qn_session_message(r.session));
        bad |= check_allocations(&r, threads);
        finish(&r);
    }
    return bad;
}
