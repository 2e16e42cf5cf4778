/* Executors: who runs the tasks of a kernel. A caller's own thread system can stand behind this
 * vtable; the built-in one is a pool of threads. */
#ifndef QUERN_BASE_POOL_H
#define QUERN_BASE_POOL_H

#include "base/arena.h"

/* Work on the tasks [begin, end). `worker` is in [0, worker_count) and no two calls of body that
 * run at the same time, for one parallel_for, have the same: it may index scratch memory. */
typedef void ExecutorBody(void *arg, int64_t begin, int64_t end, int worker);

typedef struct Executor {
    void *user;
    int (*worker_count)(void *user);
    /* Calls body until every task in [0, tasks) was done exactly once, then returns; what the
     * bodies wrote is then visible to the caller. No order and no concurrency is promised: a body
     * must not wait for another. */
    void (*parallel_for)(void *user, int64_t tasks, ExecutorBody *body, void *arg);
} Executor;

/* Everything on the calling thread, as worker 0. */
extern const Executor executor_inline;

typedef struct Pool Pool;

/* `threads` counts the caller's, so threads - 1 are started (fewer when the system refuses); <= 0
 * means one for each processor this process may use. NULL when memory runs out. `from` NULL = the
 * system's allocator; it must outlive the pool. */
Pool *pool_create(const Allocator *from, int threads);
/* Joins the threads. No parallel_for may be running. NULL is allowed. */
void pool_destroy(Pool *pool);
/* Any thread may call its parallel_for at any time: while one call is running, other calls, also
 * nested ones from a body, run on their own thread. Allocates nothing; takes no lock. */
Executor pool_executor(Pool *pool);

#endif
