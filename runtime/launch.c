/* Executing steps. Everything is laid out beforehand, so that running is a walk over one array.
 *
 * A launch with one task, or on one worker, runs on the calling thread: waking others costs more
 * than most small kernels. */
#include "runtime/launch.h"

#include <string.h>

#include "runtime/float_env.h"
#include "runtime/memory.h"

/* --- layout --- */

typedef struct Counts {
    size_t buffers, dims, tasks;
} Counts;

static Counts count_steps(const Plan *plan, const PlanStep *steps, uint32_t count)
{
    Counts sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        sum.buffers += steps[i].buffer_count;
        sum.dims += steps[i].dim_count;
        if (steps[i].kind == PS_kernel)
            sum.tasks += plan->kernels[steps[i].kernel].phase_count;
    }
    return sum;
}

static void fill(Launches *list, Code code, const void *zeros)
{
    void **buffers = list->buffers;
    int64_t *dims = list->dims, *tasks = list->tasks;
    for (uint32_t i = 0; i < list->count; i++) {
        const PlanStep *step = &list->steps[i];
        Launch *launch = &list->launches[i];
        *launch = (Launch){.tasks = tasks, .args = {buffers, dims, zeros, &list->error}};
        if (step->kind == PS_kernel) {
            launch->entries = code.entries + code.first[step->kernel];
            launch->phase_count = list->plan->kernels[step->kernel].phase_count;
        }
        buffers += step->buffer_count;
        dims += step->dim_count;
        tasks += launch->phase_count;
    }
}

bool launches_init(Launches *list, const Allocator *from, const Plan *plan, const PlanStep *steps,
                   uint32_t count, Code code, const void *zeros)
{
    Counts sum = count_steps(plan, steps, count);
    size_t size = count * sizeof(Launch) + sum.buffers * sizeof(void *) +
                  (sum.dims + sum.tasks) * sizeof(int64_t) + 1;
    char *at = from->alloc(from->user, size, MEMORY_ALIGN);
    if (!at)
        return false;
    memset(at, 0, size);
    *list = (Launches){.from = from, .plan = plan, .steps = steps, .count = count};
    list->memory = at;
    list->memory_size = size;
    list->launches = (Launch *)(void *)at;
    list->buffers = (void **)(void *)(at + count * sizeof(Launch));
    list->buffer_count = (uint32_t)sum.buffers;
    list->dims = (int64_t *)(void *)(list->buffers + sum.buffers);
    list->tasks = list->dims + sum.dims;
    fill(list, code, zeros);
    return true;
}

void launches_finish(Launches *list)
{
    if (list->memory)
        list->from->release(list->from->user, list->memory, list->memory_size);
    *list = (Launches){0};
}

static bool set_copy(const Plan *plan, const PlanStep *step, Launch *launch, const int64_t *dims)
{
    launch->bytes = plan_tensor_bytes(&plan->tensors[step->buffers[0]], dims);
    return launch->bytes >= 0 &&
           launch->bytes == plan_tensor_bytes(&plan->tensors[step->buffers[1]], dims);
}

bool launches_set_dims(Launches *list, const int64_t *dims)
{
    int64_t *own = list->dims, *tasks = list->tasks;
    for (uint32_t i = 0; i < list->count; i++) {
        const PlanStep *step = &list->steps[i];
        if (step->kind == PS_copy) {
            if (!set_copy(list->plan, step, &list->launches[i], dims))
                return false;
            continue;
        }
        const PlanKernel *kernel = &list->plan->kernels[step->kernel];
        for (uint32_t d = 0; d < step->dim_count; d++)
            own[d] = dims[step->dims[d]];
        for (uint32_t p = 0; p < kernel->phase_count; p++)
            if (!expr_code_run(kernel->tasks[p], own, &tasks[p]))
                return false;
        own += step->dim_count;
        tasks += kernel->phase_count;
    }
    return true;
}

void launches_set_memory(Launches *list, void *const *tensors)
{
    void **at = list->buffers;
    for (uint32_t i = 0; i < list->count; i++)
        for (uint32_t b = 0; b < list->steps[i].buffer_count; b++)
            *at++ = tensors[list->steps[i].buffers[b]];
}

/* --- running --- */

int64_t launches_scratch(const Plan *plan)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++)
        if (plan->kernels[i].scratch > most)
            most = plan->kernels[i].scratch;
    return memory_round(most);
}

typedef struct Phase {
    KernelEntry *entry;
    const KernelArgs *args;
    const Workers *workers;
} Phase;

static void run_tasks(void *arg, int64_t begin, int64_t end, int worker)
{
    const Phase *phase = arg;
    uint64_t env = float_env_enter();
    phase->entry(phase->args, begin, end,
                 phase->workers->scratch + worker * phase->workers->stride);
    float_env_leave(env);
}

static void run_phase(const Launch *launch, uint32_t p, const Workers *workers)
{
    int64_t tasks = launch->tasks[p];
    if (tasks <= 0)
        return;
    Phase phase = {launch->entries[p], &launch->args, workers};
    if (tasks == 1 || workers->count == 1)
        phase.entry(phase.args, 0, tasks, workers->scratch);
    else
        workers->executor.parallel_for(workers->executor.user, tasks, run_tasks, &phase);
}

int64_t launches_run(Launches *list, const Workers *workers)
{
    uint64_t env = float_env_enter();
    int64_t failed = -1;
    list->error = 0;
    for (uint32_t i = 0; i < list->count && failed < 0; i++) {
        const Launch *launch = &list->launches[i];
        if (launch->entries) {
            for (uint32_t p = 0; p < launch->phase_count; p++)
                run_phase(launch, p, workers);
            if (list->error)
                failed = i;
        } else if (launch->bytes) {
            memcpy(launch->args.buffers[1], launch->args.buffers[0], (size_t)launch->bytes);
        }
    }
    float_env_leave(env);
    return failed;
}
