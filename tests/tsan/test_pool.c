/* The thread pool as a plain program, for the thread sanitizer: every task exactly once, results
 * visible to the caller, distinct workers, nested calls, callers side by side, sleep and wake. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/pool.h"

enum { TASKS = 1000, WORKERS = 4 };

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef struct Job {
    int64_t tasks;
    int marks[TASKS]; /* written without atomics: a task done twice at once is a race */
    int scratch[WORKERS];
    atomic_int wrong;
    const Executor *nested;
} Job;

static void mark(void *arg, int64_t begin, int64_t end, int worker)
{
    Job *job = arg;
    if (worker < 0 || worker >= WORKERS || begin < 0 || begin >= end || end > job->tasks)
        atomic_fetch_add(&job->wrong, 1);
    for (int64_t t = begin; t < end; t++)
        job->marks[t]++;
    job->scratch[worker] += (int)(end - begin);
}

static void check_job(Job *job)
{
    int done = 0;
    for (int64_t t = 0; t < TASKS; t++)
        EXPECT(job->marks[t] == (t < job->tasks));
    for (int w = 0; w < WORKERS; w++)
        done += job->scratch[w];
    EXPECT(done == (job->tasks < 0 ? 0 : job->tasks));
    EXPECT(atomic_load(&job->wrong) == 0);
}

static void run_job(const Executor *executor, int64_t tasks)
{
    Job *job = calloc(1, sizeof *job);
    EXPECT(job);
    job->tasks = tasks;
    executor->parallel_for(executor->user, tasks, mark, job);
    check_job(job);
    free(job);
}

static void nest(void *arg, int64_t begin, int64_t end, int worker)
{
    Job *job = arg;
    (void)worker;
    for (int64_t t = begin; t < end; t++) {
        run_job(job->nested, 17);
        job->marks[t]++;
    }
}

static void test_sizes(const Executor *executor)
{
    static const int64_t sizes[] = {-1, 0, 1, 2, 3, 4, 5, 31, 32, 33, 100, 999, 1000};
    for (int round = 0; round < 300; round++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            run_job(executor, sizes[s]);
}

static void test_nested(const Executor *executor)
{
    Job *job = calloc(1, sizeof *job);
    EXPECT(job);
    job->nested = executor;
    executor->parallel_for(executor->user, 200, nest, job);
    for (int t = 0; t < 200; t++)
        EXPECT(job->marks[t] == 1);
    free(job);
}

static void *call_often(void *arg)
{
    for (int round = 0; round < 500; round++)
        run_job(arg, 1 + round % 50);
    return NULL;
}

static void test_callers(Executor *executor)
{
    pthread_t threads[3];
    for (int t = 0; t < 3; t++)
        EXPECT(pthread_create(&threads[t], NULL, call_often, executor) == 0);
    for (int t = 0; t < 3; t++)
        pthread_join(threads[t], NULL);
}

static void test_sleeping(const Executor *executor)
{
    for (int round = 0; round < 100; round++) {
        usleep(round % 2 ? 30 : 300);
        run_job(executor, 64);
    }
}

static void slow(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    for (int64_t t = begin; t < end; t++)
        usleep(t == 1 ? 2000 : 200); /* a worker outlasts the spinning caller */
    atomic_fetch_add((atomic_int *)arg, (int)(end - begin));
}

static void test_late_worker(const Executor *executor)
{
    for (int round = 0; round < 20; round++) {
        atomic_int done = 0;
        executor->parallel_for(executor->user, 4, slow, &done);
        EXPECT(atomic_load(&done) == 4);
    }
}

static void no_work(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)arg;
    (void)worker;
    EXPECT(begin >= 0 && end > begin);
}

static void *refuse(void *user, size_t size, size_t align)
{
    (void)user;
    (void)size;
    (void)align;
    return NULL;
}

int main(void)
{
    for (int threads = 1; threads <= WORKERS; threads++) {
        Pool *pool = pool_create(NULL, threads);
        EXPECT(pool);
        Executor executor = pool_executor(pool);
        EXPECT(executor.worker_count(executor.user) == threads);
        test_sizes(&executor);
        test_nested(&executor);
        test_callers(&executor);
        test_sleeping(&executor);
        test_late_worker(&executor);
        executor.parallel_for(executor.user, INT64_MAX, no_work, NULL);
        pool_destroy(pool);
    }
    for (int round = 0; round < 50; round++)
        pool_destroy(pool_create(NULL, WORKERS));
    const Allocator none = {NULL, refuse, NULL};
    EXPECT(!pool_create(&none, 2));
    pool_destroy(NULL);
    EXPECT(executor_inline.worker_count(NULL) == 1);
    test_sizes(&executor_inline);
    Pool *every = pool_create(NULL, 0);
    EXPECT(every && pool_executor(every).worker_count(every) >= 1);
    pool_destroy(every);
    return 0;
}
