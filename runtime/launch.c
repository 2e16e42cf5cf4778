/* Lists of launches. Everything is laid out beforehand, in one piece of memory, so that running is
 * a walk over one array. */
#include "runtime/launch.h"

#include <string.h>

#include "runtime/memory.h"

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

static void fill(Launches *list)
{
    void **buffers = list->buffers;
    int64_t *dims = list->dims, *tasks = list->tasks;
    for (uint32_t i = 0; i < list->count; i++) {
        const PlanStep *step = &list->steps[i];
        Launch *launch = &list->launches[i];
        *launch = (Launch){.tasks = tasks, .args = {.buffers = buffers, .dims = dims}};
        buffers += step->buffer_count;
        dims += step->dim_count;
        if (step->kind == PS_kernel) {
            launch->kernel = &list->plan->kernels[step->kernel];
            tasks += launch->kernel->phase_count;
            if (launch->kernel->may_fail)
                launch->cell = list->cell_count++;
        }
    }
}

bool launches_init(Launches *list, const Allocator *from, const Plan *plan, const PlanStep *steps,
                   uint32_t count, const DeviceCode *code)
{
    Counts sum = count_steps(plan, steps, count);
    size_t size = count * sizeof(Launch) + sum.buffers * sizeof(void *) +
                  (sum.dims + sum.tasks) * sizeof(int64_t) + 1;
    char *at = from->alloc(from->user, size, MEMORY_ALIGN);
    if (!at)
        return false;
    memset(at, 0, size);
    *list = (Launches){.from = from, .plan = plan, .code = code, .steps = steps, .count = count};
    list->cell_count = 1;
    list->memory = at;
    list->memory_size = size;
    list->launches = (Launch *)(void *)at;
    list->buffers = (void **)(void *)(at + count * sizeof(Launch));
    list->buffer_count = (uint32_t)sum.buffers;
    list->dims = (int64_t *)(void *)(list->buffers + sum.buffers);
    list->tasks = list->dims + sum.dims;
    fill(list);
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
    list->plan_dims = dims;
    for (uint32_t i = 0; i < list->count; i++) {
        const PlanStep *step = &list->steps[i];
        if (step->kind == PS_copy && !set_copy(list->plan, step, &list->launches[i], dims))
            return false;
        if (step->kind != PS_kernel)
            continue;
        const PlanKernel *kernel = &list->plan->kernels[step->kernel];
        bool nothing = false;
        for (uint32_t d = 0; d < step->dim_count; d++) {
            own[d] = dims ? dims[step->dims[d]] : step->dims[d];
            nothing |= own[d] < (int64_t)kernel->least[d];
        }
        for (uint32_t p = 0; p < kernel->phase_count; p++)
            if (nothing)
                tasks[p] = 0;
            else if (!expr_code_run(kernel->phases[p].tasks, own, &tasks[p]))
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
            *at++ =
                list->steps[i].buffers[b] == PLAN_NONE ? NULL : tensors[list->steps[i].buffers[b]];
}

bool launches_read_cells(Launches *list, const char *cells, size_t stride)
{
    for (uint32_t i = 0; i < list->count && !list->error; i++) {
        uint32_t cell = list->launches[i].cell;
        if (cell)
            memcpy(&list->error, cells + cell * stride, sizeof list->error);
        list->failed = i;
    }
    return list->error != 0;
}

int64_t launches_buffer_bytes(const Launches *list, uint32_t launch, uint32_t buffer)
{
    const PlanTensor *tensor = &list->plan->tensors[list->steps[launch].buffers[buffer]];
    return plan_tensor_bytes(tensor, list->plan_dims);
}
