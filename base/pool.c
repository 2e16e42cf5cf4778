/* The thread pool.
 *
 * One job at a time. The caller that wins `busy` writes the job, opens `state`, bumps `epoch` (what
 * idle workers watch), and takes part. Tasks are handed out in chunks by an atomic counter. When
 * none is left the caller closes `state` and waits only for the workers that had joined, so a
 * sleeping worker never delays a short job.
 *
 *   state = 2 * (workers inside the job) + (job is open)
 *
 * 1. A worker reads the job only between a successful join (state, acquire) and its leave
 * (release).
 * 2. The caller changes the job only while state is 0.
 * 3. Idle threads spin for SPIN_NS, since waking a sleeper costs tens of microseconds, then sleep
 * on a futex. Before sleeping they announce it in `sleepers`, before they look at the word again;
 * who changes the word looks at the announcement after. Both are sequentially consistent, so one of
 * them sees the other. */
#include "base/pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPIN_NS = 40000, CHUNKS_PER_WORKER = 8, MAX_THREADS = 1024 };

typedef struct Worker {
    struct Pool *pool;
    pthread_t thread;
    int index;
} Worker;

struct Pool {
    const Allocator *from;
    size_t size;
    int workers; /* the caller included */

    /* the job */
    ExecutorBody *body;
    void *arg;
    uint64_t tasks, chunk;

    _Alignas(64) atomic_uint_least64_t next; /* first task not handed out */
    _Alignas(64) _Atomic uint32_t state;
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t epoch;
    _Atomic uint32_t sleepers;
    atomic_bool stop;
    _Alignas(64) atomic_flag busy;
    _Alignas(64) Worker worker[];
};

/* --- waiting --- */

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Spins until the word is not `seen`, for a while; returns whether it changed. */
static bool spin_while(_Atomic uint32_t *word, uint32_t seen)
{
    int64_t until = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(word, memory_order_acquire) != seen)
                return true;
            pause_briefly();
        }
    } while (now_ns() < until);
    return false;
}

static void wait_while(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *sleepers)
{
    if (spin_while(word, seen))
        return;
    atomic_fetch_add(sleepers, 1);
    while (atomic_load(word) == seen)
        futex_wait(word, seen);
    atomic_fetch_sub(sleepers, 1);
}

/* --- working --- */

static void run_tasks(Pool *pool, int worker)
{
    const uint64_t tasks = pool->tasks, chunk = pool->chunk;
    for (;;) {
        uint64_t begin = atomic_fetch_add_explicit(&pool->next, chunk, memory_order_relaxed);
        if (begin >= tasks)
            return;
        uint64_t end = tasks - begin < chunk ? tasks : begin + chunk;
        pool->body(pool->arg, (int64_t)begin, (int64_t)end, worker);
    }
}

static bool join(Pool *pool)
{
    uint32_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    while (state & 1)
        if (atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 2,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void leave(Pool *pool)
{
    if (atomic_fetch_sub(&pool->state, 2) == 2 && atomic_load(&pool->caller_sleeps))
        futex_wake(&pool->state, 1);
}

static void *work(void *arg)
{
    Worker *self = arg;
    Pool *pool = self->pool;
    uint32_t seen = 0;
    while (!atomic_load(&pool->stop)) {
        uint32_t epoch = atomic_load(&pool->epoch);
        if (epoch == seen) {
            wait_while(&pool->epoch, seen, &pool->sleepers);
            continue;
        }
        seen = epoch;
        if (join(pool)) {
            run_tasks(pool, self->index);
            leave(pool);
        }
    }
    return NULL;
}

/* --- calling --- */

static void wake_workers(Pool *pool, uint64_t wanted)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers))
        futex_wake(&pool->epoch, wanted > MAX_THREADS ? INT_MAX : (int)wanted);
}

/* Closes the job and waits until the workers inside have left. */
static void close_job(Pool *pool)
{
    uint32_t state = atomic_fetch_sub(&pool->state, 1) - 1;
    while (state) {
        wait_while(&pool->state, state, &pool->caller_sleeps);
        state = atomic_load(&pool->state);
    }
}

static void pool_parallel_for(void *user, int64_t tasks, ExecutorBody *body, void *arg)
{
    Pool *pool = user;
    if (tasks <= 0)
        return;
    if (tasks == 1 || pool->workers == 1 ||
        atomic_flag_test_and_set_explicit(&pool->busy, memory_order_acquire)) {
        body(arg, 0, tasks, 0);
        return;
    }
    uint64_t pieces = (uint64_t)pool->workers * CHUNKS_PER_WORKER;
    pool->body = body;
    pool->arg = arg;
    pool->tasks = (uint64_t)tasks;
    pool->chunk = pool->tasks / pieces ? pool->tasks / pieces : 1;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->state, 1, memory_order_release);
    wake_workers(pool, pool->tasks - 1);
    run_tasks(pool, 0);
    close_job(pool);
    atomic_flag_clear_explicit(&pool->busy, memory_order_release);
}

static int pool_worker_count(void *user)
{
    return ((Pool *)user)->workers;
}

Executor pool_executor(Pool *pool)
{
    return (Executor){pool, pool_worker_count, pool_parallel_for};
}

/* --- making and ending --- */

static int processors(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < MAX_THREADS ? (int)online : 1;
}

/* Signals stay with the caller's threads. */
static void start_workers(Pool *pool, int threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < threads; i++) {
        Worker *worker = &pool->worker[i - 1];
        worker->pool = pool;
        worker->index = i;
        if (pthread_create(&worker->thread, NULL, work, worker) != 0)
            break;
        pool->workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

Pool *pool_create(const Allocator *from, int threads)
{
    if (!from)
        from = &allocator_system;
    if (threads <= 0)
        threads = processors();
    if (threads > MAX_THREADS)
        threads = MAX_THREADS;
    size_t size = sizeof(Pool) + (size_t)(threads - 1) * sizeof(Worker);
    size = (size + 63) / 64 * 64;
    Pool *pool = from->alloc(from->user, size, 64);
    if (!pool)
        return NULL;
    memset((void *)pool, 0, size);
    pool->from = from;
    pool->size = size;
    pool->workers = 1;
    atomic_flag_clear(&pool->busy);
    start_workers(pool, threads);
    return pool;
}

void pool_destroy(Pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->epoch, 1);
    futex_wake(&pool->epoch, INT_MAX);
    for (int i = 1; i < pool->workers; i++)
        pthread_join(pool->worker[i - 1].thread, NULL);
    pool->from->release(pool->from->user, pool, pool->size);
}

static int inline_worker_count(void *user)
{
    (void)user;
    return 1;
}

static void inline_parallel_for(void *user, int64_t tasks, ExecutorBody *body, void *arg)
{
    (void)user;
    if (tasks > 0)
        body(arg, 0, tasks, 0);
}

const Executor executor_inline = {NULL, inline_worker_count, inline_parallel_for};
