/* Programs: bringing constants to where the device reads them, and running the init steps once.
 *
 * Constants that run steps read get memory that stays; what only init steps use shares a slab that
 * is given back. On a device that shares the process's memory weights are read where they lie;
 * other devices get a copy, which counts as a tensor that is there before the first init step. */
#include "runtime/program.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "runtime/memory.h"

struct Program {
    ProgramParts parts;
    const Allocator *from;
    void **tensors;
    pthread_mutex_t lock; /* of the rest */
    bool prepared;
    void *constants;
    int64_t constants_size;
    bool given; /* the constants are not ours */
    double init_ms;
};

static double now_ms(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static size_t tensors_size(const Plan *plan)
{
    return plan->tensor_count * sizeof(void *) + 1;
}

static const void *weight_data(const Program *p, uint32_t tensor)
{
    const Plan *plan = p->parts.plan;
    uint32_t w = plan->tensors[tensor].index;
    return plan->weights[w].data ? plan->weights[w].data : p->parts.weights[w];
}

static void find_weights(Program *p)
{
    const Plan *plan = p->parts.plan;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        if (plan->tensors[t].place == PP_weight) /* kernels only read it */
            p->tensors[t] = (void *)(uintptr_t)weight_data(p, t);
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
    p->tensors = from->alloc(from->user, tensors_size(parts->plan), MEMORY_ALIGN);
    if (!p->tensors) {
        program_destroy(p);
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    }
    memset(p->tensors, 0, tensors_size(parts->plan));
    if (parts->device->limits.host_memory)
        find_weights(p);
    *program = p;
    return ST_ok;
}

static void release_constants(Program *p)
{
    if (p->constants && !p->given)
        p->parts.device->type->release(p->parts.device, p->constants, p->constants_size);
    p->constants = NULL;
    p->given = false;
}

void program_destroy(Program *p)
{
    if (!p)
        return;
    release_constants(p);
    if (p->tensors)
        p->from->release(p->from->user, p->tensors, tensors_size(p->parts.plan));
    pthread_mutex_destroy(&p->lock);
    p->from->release(p->from->user, p, sizeof *p);
}

/* --- init steps --- */

/* The tensors that need memory of the device at load, and what else running the steps needs. */
typedef struct Prepare {
    Program *p;
    const Plan *plan;
    Device *device;
    MemoryItem *items; /* by tensor; first UINT32_MAX: init steps do not use it */
    MemoryItem *slab_items;
    uint32_t *slab_tensors, *work;
    bool *stays; /* by tensor: run steps use it */
    void *slab;
    int64_t slab_size;
    Launches launches;
    const CancelFlag *cancel;
    Stream *stream;
} Prepare;

static bool is_ours(const Prepare *r, uint32_t tensor)
{
    PlanPlace place = r->plan->tensors[tensor].place;
    return place == PP_init || (place == PP_weight && !r->device->limits.host_memory);
}

static bool is_used(const Prepare *r, uint32_t tensor)
{
    return is_ours(r, tensor) && (r->stays[tensor] || r->items[tensor].first != UINT32_MAX);
}

static void find_lives(Prepare *r)
{
    const Plan *plan = r->plan;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        r->items[t] = (MemoryItem){.first = UINT32_MAX};
    for (uint32_t i = 0; i < plan->init_count; i++)
        for (uint32_t b = 0; b < plan->init[i].buffer_count; b++) {
            uint32_t t = plan->init[i].buffers[b];
            MemoryItem *item = &r->items[t];
            if (item->first == UINT32_MAX)
                item->first = plan->tensors[t].place == PP_weight ? 0 : i;
            item->last = i;
        }
    plan_run_uses(plan, r->stays);
}

/* Offsets of both kinds; false when sizes overflow. */
static bool assign(Prepare *r)
{
    uint32_t passing = 0;
    int64_t total = 0, align = r->device->limits.align;
    for (uint32_t t = 0; t < r->plan->tensor_count; t++) {
        MemoryItem *item = &r->items[t];
        if (!is_used(r, t))
            continue;
        item->size = memory_round_to(plan_tensor_bytes(&r->plan->tensors[t], NULL), align);
        if (item->size < 0)
            return false;
        if (!r->stays[t]) {
            r->slab_tensors[passing] = t;
            r->slab_items[passing++] = *item;
            continue;
        }
        item->offset = total;
        if (__builtin_add_overflow(total, item->size, &total))
            return false;
    }
    r->p->constants_size = total;
    r->slab_size = memory_assign(r->slab_items, passing, r->work);
    for (uint32_t i = 0; i < passing; i++)
        r->items[r->slab_tensors[i]].offset = r->slab_items[i].offset;
    return r->slab_size >= 0;
}

/* Asks for constants that were computed before: then there is nothing else to do at load. */
static Status ask_constants(Prepare *r, Report *report)
{
    Program *p = r->p;
    const DeviceLimits *limits = &r->device->limits;
    const void *data = NULL;
    if (!p->constants_size || !p->parts.constants || !limits->host_memory ||
        limits->align > MEMORY_ALIGN)
        return ST_ok;
    Status status = p->parts.constants(p->parts.constants_user, p->constants_size, &data, report);
    p->given = status == ST_ok && data;
    if (!p->given)
        return status;
    p->constants = (void *)(uintptr_t)data; /* run steps only read them */
    for (uint32_t t = 0; t < r->plan->tensor_count; t++)
        if (r->stays[t] && is_ours(r, t))
            p->tensors[t] = (char *)p->constants + r->items[t].offset;
    return ST_ok;
}

/* Memory that is never NULL, so that empty tensors have an address too. */
static void *take(Device *device, int64_t *size)
{
    if (*size < device->limits.align)
        *size = device->limits.align;
    return *size <= device->limits.largest ? device->type->alloc(device, *size) : NULL;
}

static bool give_memory(Prepare *r)
{
    Program *p = r->p;
    bool any = false;
    for (uint32_t t = 0; t < r->plan->tensor_count; t++)
        any |= is_used(r, t);
    if (!any)
        return true;
    if (!(p->constants = take(r->device, &p->constants_size)) ||
        !(r->slab = take(r->device, &r->slab_size)))
        return false;
    for (uint32_t t = 0; t < r->plan->tensor_count; t++)
        if (is_used(r, t))
            p->tensors[t] = (char *)(r->stays[t] ? p->constants : r->slab) + r->items[t].offset;
    return true;
}

static Status write_weights(Prepare *r, Report *report)
{
    for (uint32_t t = 0; t < r->plan->tensor_count; t++) {
        const PlanTensor *tensor = &r->plan->tensors[t];
        if (tensor->place != PP_weight || !is_used(r, t))
            continue;
        int64_t bytes = r->plan->weights[tensor->index].bytes;
        if (bytes && r->device->type->write(r->stream, r->p->tensors[t], weight_data(r->p, t),
                                            bytes, report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

static Status run_init(Prepare *r, Report *report)
{
    const DeviceType *type = r->device->type;
    Launches *list = &r->launches;
    if (!launches_init(list, r->p->from, r->plan, r->plan->init, r->plan->init_count,
                       r->p->parts.code))
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    if (!launches_set_dims(list, NULL))
        return report_fail(report, ST_limit, "size of a constant overflows");
    launches_set_memory(list, r->p->tensors);
    if (type->open_stream(r->device, r->plan, &r->stream, report) != ST_ok)
        return report->status;
    if (r->cancel)
        r->stream->cancel = r->cancel;
    if (type->bind(r->stream, list, report) != ST_ok || write_weights(r, report) != ST_ok ||
        type->run(r->stream, list, 0, list->count, report) != ST_ok)
        return report->status;
    Status status = type->wait(r->stream, list, report);
    return status == ST_bad_index ? program_bad_index(list, report) : status;
}

static Status prepare_with(Prepare *r, Report *report)
{
    Program *p = r->p;
    Status status = ST_ok;
    find_lives(r);
    if (!assign(r))
        status = report_fail(report, ST_limit, "size of a constant overflows");
    else if ((status = ask_constants(r, report)) != ST_ok || p->given)
        return status;
    else if (!give_memory(r))
        status = report_fail(report, ST_out_of_memory, "no memory for %lld bytes of constants",
                             (long long)(p->constants_size + r->slab_size));
    else
        status = run_init(r, report);
    if (r->launches.memory)
        r->device->type->unbind(&r->launches);
    r->device->type->close_stream(r->stream);
    launches_finish(&r->launches);
    if (r->slab)
        r->device->type->release(r->device, r->slab, r->slab_size);
    if (status != ST_ok)
        release_constants(p);
    return status;
}

static Status prepare(Program *p, const CancelFlag *cancel, Report *report)
{
    Prepare r = {.p = p, .plan = p->parts.plan, .device = p->parts.device, .cancel = cancel};
    size_t n = r.plan->tensor_count;
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
    Status status = prepare_with(&r, report);
    p->from->release(p->from->user, memory, size);
    return status;
}

Status program_prepare(Program *p, const CancelFlag *cancel, Report *report)
{
    Status status = ST_ok;
    pthread_mutex_lock(&p->lock);
    if (!p->prepared) {
        double start = now_ms();
        status = prepare(p, cancel, report);
        p->init_ms = now_ms() - start;
        p->prepared = status == ST_ok;
    }
    pthread_mutex_unlock(&p->lock);
    return status;
}

ProgramInfo program_info(const Program *p)
{
    return (ProgramInfo){p->constants_size, p->init_ms, p->given};
}

const void *program_constants(const Program *p, int64_t *bytes)
{
    bool have = p->constants && p->parts.device->limits.host_memory;
    *bytes = have ? p->constants_size : 0;
    return have ? p->constants : NULL;
}

/* --- for sessions --- */

const ProgramParts *program_parts(const Program *p)
{
    return &p->parts;
}

void *const *program_tensors(const Program *p)
{
    return p->tensors;
}

/* Line `number` of a text, or NULL. */
static const char *line_of(const char *text, int number, int *length)
{
    const char *line = text;
    for (int k = 0; line && k < number; k++) {
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    if (!line || !*line)
        return NULL;
    const char *end = strchr(line, '\n');
    *length = (int)(end && end - line < 500 ? end - line : (ptrdiff_t)strnlen(line, 500));
    return line;
}

Status program_bad_index(Launches *list, Report *report)
{
    const PlanStep *step = &list->steps[list->failed];
    const char *name = list->plan->kernels[step->kernel].name;
    int length;
    const char *node = line_of(step->picks, (int)list->error - 1, &length);
    if (!node)
        node = line_of(step->nodes, 0, &length);
    list->error = 0;
    return report_fail(report, ST_bad_index,
                       "%.*s: an index in the data is out of range (kernel %s)", node ? length : 9,
                       node ? node : "some node", name);
}
