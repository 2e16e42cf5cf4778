/* Launches: the steps of a plan with sizes, memory and code filled in, ready to be executed. */
#ifndef QUERN_RUNTIME_LAUNCH_H
#define QUERN_RUNTIME_LAUNCH_H

#include "base/kernel_abi.h"
#include "base/pool.h"
#include "runtime/plan.h"

typedef struct Launch {
    KernelEntry *const *entries; /* by phase; NULL for a copy */
    const int64_t *tasks;        /* by phase */
    uint32_t phase_count;
    int64_t bytes; /* of a copy */
    KernelArgs args;
} Launch;

typedef struct Launches {
    const Allocator *from;
    const Plan *plan;
    const PlanStep *steps;
    uint32_t count;
    Launch *launches;
    void **buffers; /* of all launches, one after another, as in the steps */
    int64_t *dims, *tasks;
    uint32_t buffer_count;
    int32_t error; /* the error cell */
    void *memory;
    size_t memory_size;
} Launches;

/* Code of a kernel: entries[first[kernel] + phase]. */
typedef struct Code {
    KernelEntry **entries;
    const uint32_t *first;
} Code;

/* False when memory is refused; then there is nothing to finish. `zeros` is the zero page. */
bool launches_init(Launches *list, const Allocator *from, const Plan *plan, const PlanStep *steps,
                   uint32_t count, Code code, const void *zeros);
void launches_finish(Launches *list); /* all zero is allowed */
/* Sizes for these values of the plan's dims. False when one overflows, or a copy's ends differ. */
bool launches_set_dims(Launches *list, const int64_t *dims);
/* Memory of the tensors, by number; those that are bound later may be NULL. */
void launches_set_memory(Launches *list, void *const *tensors);

/* What runs them. */
typedef struct Workers {
    Executor executor;
    int count;
    char *scratch; /* stride bytes for each worker */
    int64_t stride;
} Workers;

/* Bytes for each worker that the kernels of a plan need. */
int64_t launches_scratch(const Plan *plan);
/* Allocates nothing. The number of the launch that met a bad index, with the value in list->error;
 * else -1. */
int64_t launches_run(Launches *list, const Workers *workers);

#endif
