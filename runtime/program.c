/* Programs: finding code, and running the init steps once.
 *
 * Constants that run steps read get memory that stays; what only init steps use shares a slab that
 * is given back. */
#include "runtime/program.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "runtime/memory.h"

struct Program {
    ProgramParts parts;
    const Allocator *from;
    KernelEntry **entries;
    uint32_t *first;
    void **tensors;
    void *zeros;
    void *memory; /* of the four above */
    size_t memory_size;
    pthread_mutex_t lock; /* of the rest */
    bool prepared;
    void *constants;
    int64_t constants_size;
    double init_ms;
};

static double now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool allocate(Program *p, const Plan *plan)
{
    size_t entries = 0;
    for (uint32_t k = 0; k < plan->kernel_count; k++)
        entries += plan->kernels[k].phase_count;
    size_t size = ABI_ZERO_PAGE + (entries + plan->tensor_count) * sizeof(void *) +
                  plan->kernel_count * sizeof(uint32_t);
    char *at = p->from->alloc(p->from->user, size, MEMORY_ALIGN);
    if (!at)
        return false;
    memset(at, 0, size);
    p->memory = p->zeros = at;
    p->memory_size = size;
    p->entries = (KernelEntry **)(void *)(at + ABI_ZERO_PAGE);
    p->tensors = (void **)(void *)(p->entries + entries);
    p->first = (uint32_t *)(void *)(p->tensors + plan->tensor_count);
    return true;
}

static bool find_code(Program *p, Report *report)
{
    const Plan *plan = p->parts.plan;
    uint32_t at = 0;
    for (uint32_t k = 0; k < plan->kernel_count; k++) {
        p->first[k] = at;
        for (uint32_t phase = 0; phase < plan->kernels[k].phase_count; phase++) {
            char name[300];
            snprintf(name, sizeof name, "%s_%u", plan->kernels[k].name, phase);
            p->entries[at] = p->parts.find(p->parts.find_user, name);
            if (!p->entries[at++]) {
                report_fail(report, ST_bad_file, "the machine code of '%s' is missing", name);
                return false;
            }
        }
    }
    return true;
}

static void find_weights(Program *p)
{
    const Plan *plan = p->parts.plan;
    for (uint32_t t = 0; t < plan->tensor_count; t++) {
        if (plan->tensors[t].place != PP_weight)
            continue;
        uint32_t w = plan->tensors[t].index;
        const void *data = plan->weights[w].data ? plan->weights[w].data : p->parts.weights[w];
        p->tensors[t] = (void *)(uintptr_t)data; /* kernels only read it */
    }
}

Status program_create(const ProgramParts *parts, Program **program, Report *report)
{
    const Allocator *from = parts->from ? parts->from : &allocator_system;
    Program *p = from->alloc(from->user, sizeof *p, MEMORY_ALIGN);
    *program = NULL;
    if (!p)
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    *p = (Program){.parts = *parts, .from = from};
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        from->release(from->user, p, sizeof *p);
        return report_fail(report, ST_out_of_memory, "the system refuses a lock");
    }
    if (!allocate(p, parts->plan))
        report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    else if (find_code(p, report)) {
        find_weights(p);
        *program = p;
        return ST_ok;
    }
    program_destroy(p);
    return report->status;
}

void program_destroy(Program *p)
{
    if (!p)
        return;
    const Allocator *from = p->from;
    if (p->constants)
        from->release(from->user, p->constants, (size_t)p->constants_size);
    if (p->memory)
        from->release(from->user, p->memory, p->memory_size);
    pthread_mutex_destroy(&p->lock);
    from->release(from->user, p, sizeof *p);
}

/* --- init steps --- */

/* The init tensors, and what they need. */
typedef struct Prepare {
    Program *p;
    MemoryItem *items; /* by tensor; size -1: not an init tensor */
    MemoryItem *slab_items;
    uint32_t *slab_tensors, *work;
    bool *stays;
    char *slab;
    int64_t slab_size;
    Launches launches;
    Workers workers;
} Prepare;

static void find_lives(Prepare *r)
{
    const Plan *plan = r->p->parts.plan;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        r->items[t] = (MemoryItem){.size = -1, .first = UINT32_MAX};
    for (uint32_t i = 0; i < plan->init_count; i++)
        for (uint32_t b = 0; b < plan->init[i].buffer_count; b++) {
            uint32_t t = plan->init[i].buffers[b];
            MemoryItem *item = &r->items[t];
            if (plan->tensors[t].place != PP_init)
                continue;
            item->size = plan_tensor_bytes(&plan->tensors[t], NULL);
            if (item->first == UINT32_MAX)
                item->first = i;
            item->last = i;
        }
    for (uint32_t i = 0; i < plan->step_count; i++)
        for (uint32_t b = 0; b < plan->steps[i].buffer_count; b++)
            r->stays[plan->steps[i].buffers[b]] = true;
}

/* Offsets of both kinds; false when sizes overflow. */
static bool assign(Prepare *r)
{
    Program *p = r->p;
    uint32_t passing = 0;
    int64_t total = 0;
    for (uint32_t t = 0; t < p->parts.plan->tensor_count; t++) {
        MemoryItem *item = &r->items[t];
        if (p->parts.plan->tensors[t].place != PP_init)
            continue;
        if (!r->stays[t]) {
            if (item->first != UINT32_MAX) {
                r->slab_tensors[passing] = t;
                r->slab_items[passing++] = *item;
            }
            continue;
        }
        item->offset = total;
        int64_t size = memory_round(plan_tensor_bytes(&p->parts.plan->tensors[t], NULL));
        if (size < 0 || __builtin_add_overflow(total, size, &total))
            return false;
    }
    p->constants_size = total;
    r->slab_size = memory_assign(r->slab_items, passing, r->work);
    for (uint32_t i = 0; i < passing; i++)
        r->items[r->slab_tensors[i]].offset = r->slab_items[i].offset;
    return r->slab_size >= 0;
}

static bool give_memory(Prepare *r)
{
    Program *p = r->p;
    const Plan *plan = p->parts.plan;
    if (p->constants_size)
        p->constants = p->from->alloc(p->from->user, (size_t)p->constants_size, MEMORY_ALIGN);
    if (r->slab_size)
        r->slab = p->from->alloc(p->from->user, (size_t)r->slab_size, MEMORY_ALIGN);
    if ((p->constants_size && !p->constants) || (r->slab_size && !r->slab))
        return false;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        if (plan->tensors[t].place == PP_init && (r->stays[t] || r->items[t].size >= 0)) {
            char *base = r->stays[t] ? p->constants : r->slab;
            p->tensors[t] = base ? base + r->items[t].offset : p->zeros; /* all are empty */
        }
    return true;
}

static Status run_init(Prepare *r, Report *report)
{
    Program *p = r->p;
    const Plan *plan = p->parts.plan;
    if (!launches_init(&r->launches, p->from, plan, plan->init, plan->init_count, program_code(p),
                       p->zeros) ||
        !program_workers(p, &r->workers))
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    if (!launches_set_dims(&r->launches, NULL))
        return report_fail(report, ST_limit, "size of a constant overflows");
    launches_set_memory(&r->launches, p->tensors);
    int64_t failed = launches_run(&r->launches, &r->workers);
    return failed < 0 ? ST_ok : program_bad_index(&r->launches, failed, report);
}

static Status prepare(Program *p, Report *report)
{
    Prepare r = {.p = p};
    size_t n = p->parts.plan->tensor_count;
    size_t size = n * (2 * sizeof(MemoryItem) + 3 * sizeof(uint32_t) + sizeof(bool)) + 1;
    char *memory = p->from->alloc(p->from->user, size, MEMORY_ALIGN);
    if (!memory)
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    memset(memory, 0, size);
    r.items = (MemoryItem *)(void *)memory;
    r.slab_items = r.items + n;
    r.slab_tensors = (uint32_t *)(void *)(r.slab_items + n);
    r.work = r.slab_tensors + n;
    r.stays = (bool *)(r.work + 2 * n);
    Status status;
    find_lives(&r);
    if (!assign(&r))
        status = report_fail(report, ST_limit, "size of a constant overflows");
    else if (!give_memory(&r))
        status = report_fail(report, ST_out_of_memory, "no memory for %lld bytes of constants",
                             (long long)(p->constants_size + r.slab_size));
    else
        status = run_init(&r, report);
    if (status != ST_ok && p->constants) {
        p->from->release(p->from->user, p->constants, (size_t)p->constants_size);
        p->constants = NULL;
    }
    if (r.slab)
        p->from->release(p->from->user, r.slab, (size_t)r.slab_size);
    program_workers_finish(p, &r.workers);
    launches_finish(&r.launches);
    p->from->release(p->from->user, memory, size);
    return status;
}

Status program_prepare(Program *p, Report *report)
{
    Status status = ST_ok;
    pthread_mutex_lock(&p->lock);
    if (!p->prepared) {
        double start = now_ms();
        status = prepare(p, report);
        p->init_ms = now_ms() - start;
        p->prepared = status == ST_ok;
    }
    pthread_mutex_unlock(&p->lock);
    return status;
}

ProgramInfo program_info(const Program *p)
{
    return (ProgramInfo){p->constants_size, p->init_ms};
}

/* --- for sessions --- */

const ProgramParts *program_parts(const Program *p)
{
    return &p->parts;
}

Code program_code(const Program *p)
{
    return (Code){p->entries, p->first};
}

const void *program_zeros(const Program *p)
{
    return p->zeros;
}

void *const *program_tensors(const Program *p)
{
    return p->tensors;
}

static size_t scratch_size(const Workers *workers)
{
    return (size_t)workers->count * (size_t)workers->stride;
}

bool program_workers(const Program *p, Workers *workers)
{
    *workers = (Workers){.executor = p->parts.executor};
    int count = workers->executor.worker_count(workers->executor.user);
    workers->count = count > 0 ? count : 1;
    workers->stride = launches_scratch(p->parts.plan);
    if (scratch_size(workers))
        workers->scratch = p->from->alloc(p->from->user, scratch_size(workers), MEMORY_ALIGN);
    return workers->scratch || !scratch_size(workers);
}

void program_workers_finish(const Program *p, Workers *workers)
{
    if (workers->scratch)
        p->from->release(p->from->user, workers->scratch, scratch_size(workers));
    *workers = (Workers){0};
}

Status program_bad_index(const Launches *list, int64_t launch, Report *report)
{
    const PlanStep *step = &list->steps[launch];
    const char *name = list->plan->kernels[step->kernel].name;
    const char *end = strchr(step->nodes, '\n');
    int length = (int)(end ? end - step->nodes : (ptrdiff_t)strnlen(step->nodes, 500));
    return report_fail(report, ST_bad_index,
                       "%.*s: an index in the data is out of range (kernel %s, value %d)", length,
                       step->nodes, name, (int)list->error - 1);
}
