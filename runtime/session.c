/* Sessions. Everything that depends on shapes is in a Frame; set_shapes fills the one that is not
 * in force and swaps when nothing failed.
 *
 * On a device that shares the process's memory the caller's inputs and outputs are bound in every
 * run by a list of patches: positions in the launches' buffers. On other devices they have places
 * in the slab, inputs from before the first step and outputs until after the last, and are copied
 * around the run. */
#include "runtime/session.h"

#include <string.h>

#include "runtime/memory.h"

typedef struct Frame {
    int64_t *dims, *bytes; /* by the plan's dims; by tensor */
    void **tensors;
    Launches launches;
    void *slab;
    int64_t slab_size;
} Frame;

typedef struct Patch {
    uint32_t at;   /* in Launches.buffers */
    uint32_t port; /* input number, or input count + output number */
} Patch;

struct Session {
    Program *program;
    const Plan *plan;
    const Allocator *from;
    Device *device;
    Stream *stream;
    Frame frames[2], *frame; /* in force, or NULL */
    MemoryItem *items;
    uint32_t *item_tensor, *work;
    bool *used; /* by input: some step reads it */
    Patch *patches;
    uint32_t patch_count;
    size_t size; /* of this block */
};

/* --- creation --- */

static uint32_t count_patches(const Plan *plan, Patch *out)
{
    uint32_t at = 0, count = 0;
    for (uint32_t i = 0; i < plan->step_count; i++)
        for (uint32_t b = 0; b < plan->steps[i].buffer_count; b++, at++) {
            const PlanTensor *t = &plan->tensors[plan->steps[i].buffers[b]];
            if (t->place != PP_input && t->place != PP_output)
                continue;
            if (out)
                out[count] =
                    (Patch){at, t->place == PP_input ? t->index : plan->input_count + t->index};
            count++;
        }
    return count;
}

static void *carve(char **at, size_t count, size_t size)
{
    void *piece = *at;
    *at += (count * size + 15) / 16 * 16;
    return piece;
}

/* Lays the arrays out behind the session; returns the end. Run twice: to measure, and to do it. */
static char *lay_out(Session *s, const Plan *plan, uint32_t patches, char *at)
{
    size_t n = plan->tensor_count;
    for (int f = 0; f < 2; f++) {
        s->frames[f].dims = carve(&at, plan->dim_count, sizeof(int64_t));
        s->frames[f].bytes = carve(&at, n, sizeof(int64_t));
        s->frames[f].tensors = carve(&at, n, sizeof(void *));
    }
    s->items = carve(&at, n, sizeof(MemoryItem));
    s->item_tensor = carve(&at, n, sizeof(uint32_t));
    s->work = carve(&at, 2 * n, sizeof(uint32_t));
    s->used = carve(&at, plan->input_count, sizeof(bool));
    s->patches = carve(&at, patches, sizeof(Patch));
    return at;
}

static Session *allocate(Program *program)
{
    const ProgramParts *parts = program_parts(program);
    const Allocator *from = parts->from ? parts->from : &allocator_system;
    uint32_t patches = count_patches(parts->plan, NULL);
    Session measure;
    char *start = (char *)&measure;
    size_t head = (sizeof(Session) + 15) / 16 * 16;
    size_t size = head + (size_t)(lay_out(&measure, parts->plan, patches, start) - start);
    Session *s = from->alloc(from->user, size, MEMORY_ALIGN);
    if (!s)
        return NULL;
    memset(s, 0, size);
    *s = (Session){.program = program, .plan = parts->plan, .from = from, .size = size};
    s->device = parts->device;
    lay_out(s, parts->plan, patches, (char *)s + head);
    s->patch_count = count_patches(parts->plan, s->patches);
    for (uint32_t i = 0; i < s->patch_count; i++)
        if (s->patches[i].port < parts->plan->input_count)
            s->used[s->patches[i].port] = true;
    return s;
}

static bool needs_shapes(const Plan *plan)
{
    for (uint32_t i = 0; i < plan->input_count; i++) {
        const PlanTensor *t = &plan->tensors[plan->inputs[i].tensor];
        for (int d = 0; d < t->rank; d++)
            if (!expr_code_valid(t->shape[d], 0))
                return true;
    }
    return false;
}

Status session_create(Program *program, Session **session, Report *report)
{
    *session = NULL;
    if (program_prepare(program, report) != ST_ok)
        return report->status;
    Session *s = allocate(program);
    if (!s)
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    const DeviceCode *code = program_parts(program)->code;
    bool ok = true;
    for (int f = 0; f < 2; f++)
        ok = ok && launches_init(&s->frames[f].launches, s->from, s->plan, s->plan->steps,
                                 s->plan->step_count, code);
    if (!ok)
        report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    else if (s->device->type->open_stream(s->device, s->plan, &s->stream, report) == ST_ok &&
             (needs_shapes(s->plan) || session_set_shapes(s, NULL, report) == ST_ok)) {
        *session = s;
        return ST_ok;
    }
    session_destroy(s);
    return report->status;
}

static void release_slab(Session *s, Frame *frame)
{
    if (frame->slab)
        s->device->type->release(s->device, frame->slab, frame->slab_size);
    frame->slab = NULL;
    frame->slab_size = 0;
}

void session_destroy(Session *s)
{
    if (!s)
        return;
    s->device->type->close_stream(s->stream);
    for (int f = 0; f < 2; f++) {
        Launches *list = &s->frames[f].launches;
        if (list->memory)
            s->device->type->unbind(list);
        launches_finish(list);
        release_slab(s, &s->frames[f]);
    }
    s->from->release(s->from->user, s, s->size);
}

/* --- shapes --- */

static Status check_rank(const Session *s, uint32_t input, const SessionShape *shape,
                         Report *report)
{
    const PlanPort *port = &s->plan->inputs[input];
    int rank = s->plan->tensors[port->tensor].rank;
    if (shape->rank != rank)
        return report_fail(report, ST_bad_argument, "input '%s' has %d dims, %d are given",
                           port->name, rank, shape->rank);
    for (int d = 0; d < rank; d++)
        if (shape->dims[d] < 0)
            return report_fail(report, ST_bad_argument, "input '%s': dim %d is negative (%lld)",
                               port->name, d, (long long)shape->dims[d]);
    return ST_ok;
}

static Status read_dims(const Session *s, const SessionShape *shapes, int64_t *dims, Report *report)
{
    for (uint32_t i = 0; i < s->plan->dim_count; i++) {
        const PlanDim *dim = &s->plan->dims[i];
        const char *input = s->plan->inputs[dim->input].name;
        if (!shapes || !shapes[dim->input].dims)
            return report_fail(
                report, ST_bad_argument,
                "the shape of input '%s' is missing: its dim %u, '%s', has no number", input,
                dim->axis, dim->name);
        int64_t value = shapes[dim->input].dims[dim->axis];
        if (value < dim->lo || value > dim->hi)
            return report_fail(report, ST_bad_argument,
                               "input '%s': dim %u, '%s', is %lld; it has to be in %lld..%lld",
                               input, dim->axis, dim->name, (long long)value, (long long)dim->lo,
                               (long long)dim->hi);
        if (value % dim->div)
            return report_fail(report, ST_bad_argument,
                               "input '%s': dim %u, '%s', is %lld; it has to be a multiple of %lld",
                               input, dim->axis, dim->name, (long long)value, (long long)dim->div);
        dims[i] = value;
    }
    return ST_ok;
}

/* What input dims must be, once symbols have values: numbers, and equal symbols equal. */
static Status compare_dims(const Session *s, uint32_t input, const SessionShape *shape,
                           const int64_t *dims, Report *report)
{
    const PlanPort *port = &s->plan->inputs[input];
    const PlanTensor *t = &s->plan->tensors[port->tensor];
    for (int d = 0; d < t->rank; d++) {
        int64_t want;
        if (!expr_code_run(t->shape[d], dims, &want))
            return report_fail(report, ST_limit, "input '%s': the size of dim %d overflows",
                               port->name, d);
        if (want == shape->dims[d])
            continue;
        const char *symbol = port->symbols[d] ? port->symbols[d] : "";
        return report_fail(report, ST_bad_argument,
                           "input '%s': dim %d is %lld; it has to be %lld%s%s%s", port->name, d,
                           (long long)shape->dims[d], (long long)want, *symbol ? ", as '" : "",
                           symbol, *symbol ? "' elsewhere" : "");
    }
    return ST_ok;
}

static Status check_assumptions(const Plan *plan, const int64_t *dims, Report *report)
{
    for (uint32_t i = 0; i < plan->check_count; i++) {
        const PlanCheck *check = &plan->checks[i];
        int64_t a, b;
        if (!expr_code_run(check->a, dims, &a) || !expr_code_run(check->b, dims, &b))
            return report_fail(report, ST_limit, "%s: the size of a dim overflows", check->source);
        if (a != b && !(check->or_one && (a == 1 || b == 1)))
            return report_fail(
                report, ST_bad_argument,
                "%s: with these shapes two dims that have to agree are %lld and %lld",
                check->source, (long long)a, (long long)b);
    }
    return ST_ok;
}

static Status set_dims(const Session *s, const SessionShape *shapes, Frame *frame, Report *report)
{
    for (uint32_t i = 0; shapes && i < s->plan->input_count; i++)
        if (shapes[i].dims && check_rank(s, i, &shapes[i], report) != ST_ok)
            return report->status;
    if (read_dims(s, shapes, frame->dims, report) != ST_ok)
        return report->status;
    for (uint32_t i = 0; shapes && i < s->plan->input_count; i++)
        if (shapes[i].dims && compare_dims(s, i, &shapes[i], frame->dims, report) != ST_ok)
            return report->status;
    return check_assumptions(s->plan, frame->dims, report);
}

static bool in_slab(const Session *s, uint32_t tensor)
{
    PlanPlace place = s->plan->tensors[tensor].place;
    return place == PP_slab ||
           (!s->device->limits.host_memory && (place == PP_input || place == PP_output));
}

/* Lives of slab tensors, then offsets, kept in frame->tensors as numbers until the slab is there.
 */
static int64_t lay_out_slab(Session *s, const Frame *frame)
{
    uint32_t count = 0, *slot = s->work; /* by tensor: 1 + item */
    int64_t align = s->device->limits.align;
    memset(slot, 0, s->plan->tensor_count * sizeof *slot);
    for (uint32_t i = 0; i < s->plan->step_count; i++)
        for (uint32_t b = 0; b < s->plan->steps[i].buffer_count; b++) {
            uint32_t t = s->plan->steps[i].buffers[b];
            PlanPlace place = s->plan->tensors[t].place;
            if (!in_slab(s, t))
                continue;
            if (!slot[t]) {
                s->item_tensor[count] = t;
                s->items[count] = (MemoryItem){memory_round_to(frame->bytes[t], align),
                                               place == PP_input ? 0 : i, i, 0};
                slot[t] = ++count;
            }
            s->items[slot[t] - 1].last = place == PP_output ? s->plan->step_count : i;
        }
    for (uint32_t i = 0; i < count; i++)
        if (s->items[i].size < 0)
            return -1;
    int64_t size = memory_assign(s->items, count, s->work);
    for (uint32_t i = 0; i < count; i++) /* an offset + 1, so that NULL stays "none" */
        frame->tensors[s->item_tensor[i]] = (void *)(uintptr_t)(s->items[i].offset + 1);
    return size;
}

static void place_tensors(const Session *s, Frame *frame)
{
    void *const *fixed = program_tensors(s->program);
    for (uint32_t t = 0; t < s->plan->tensor_count; t++) {
        uintptr_t offset = (uintptr_t)frame->tensors[t];
        if (!in_slab(s, t))
            frame->tensors[t] = fixed[t];
        else if (offset)
            frame->tensors[t] = (char *)frame->slab + (offset - 1);
    }
    launches_set_memory(&frame->launches, frame->tensors);
}

/* Takes the slab of the frame in force when it is large enough. */
static bool take_slab(Session *s, Frame *next, int64_t size)
{
    Frame *now = s->frame;
    if (now && now->slab_size >= size) {
        next->slab = now->slab;
        next->slab_size = now->slab_size;
        now->slab = NULL;
        now->slab_size = 0;
        return true;
    }
    if (size <= s->device->limits.largest)
        next->slab = s->device->type->alloc(s->device, size);
    if (!next->slab)
        return false;
    next->slab_size = size;
    return true;
}

/* After a failure: the frame in force has its slab again. */
static void give_back_slab(Session *s, Frame *next, Frame *now)
{
    if (!now || now->slab) {
        release_slab(s, next);
        return;
    }
    now->slab = next->slab;
    now->slab_size = next->slab_size;
    next->slab = NULL;
    next->slab_size = 0;
}

Status session_set_shapes(Session *s, const SessionShape *shapes, Report *report)
{
    Frame *next = s->frame == &s->frames[0] ? &s->frames[1] : &s->frames[0];
    if (set_dims(s, shapes, next, report) != ST_ok)
        return report->status;
    for (uint32_t t = 0; t < s->plan->tensor_count; t++) {
        next->tensors[t] = NULL;
        next->bytes[t] = plan_tensor_bytes(&s->plan->tensors[t], next->dims);
        if (next->bytes[t] < 0)
            return report_fail(report, ST_limit,
                               "with these shapes the size of a tensor overflows");
    }
    if (!launches_set_dims(&next->launches, next->dims))
        return report_fail(report, ST_limit, "with these shapes the size of a kernel overflows");
    int64_t size = lay_out_slab(s, next);
    if (size < 0)
        return report_fail(report, ST_limit, "with these shapes the memory needed overflows");
    Frame *now = s->frame;
    if (!take_slab(s, next, size > s->device->limits.align ? size : s->device->limits.align))
        return report_fail(report, ST_out_of_memory,
                           "no memory for %lld bytes of intermediate results", (long long)size);
    place_tensors(s, next);
    if (s->device->type->bind(s->stream, &next->launches, report) != ST_ok) {
        give_back_slab(s, next, now);
        return report->status;
    }
    if (now) {
        s->device->type->unbind(&now->launches);
        release_slab(s, now);
    }
    s->frame = next;
    return ST_ok;
}

bool session_ready(const Session *s)
{
    return s->frame != NULL;
}

int session_tensor(const Session *s, uint32_t tensor, int64_t dims[PLAN_RANK], int64_t *bytes)
{
    const PlanTensor *t = &s->plan->tensors[tensor];
    for (int d = 0; d < t->rank; d++)
        if (!expr_code_run(t->shape[d], s->frame->dims, &dims[d]))
            dims[d] = -1; /* it was computed by set_shapes: cannot be */
    *bytes = s->frame->bytes[tensor];
    return t->rank;
}

SessionInfo session_info(const Session *s)
{
    SessionInfo info = {.memory_bytes = s->device->type->stream_bytes(s->stream)};
    if (!s->frame)
        return info;
    info.memory_bytes += s->frame->slab_size;
    for (uint32_t i = 0; i < s->plan->step_count; i++) {
        const PlanStep *step = &s->plan->steps[i];
        int64_t flops;
        if (expr_code_run(step->flops, s->frame->dims, &flops))
            info.flops += (double)flops;
        for (uint32_t b = 0; b < step->buffer_count; b++)
            info.bytes += (double)s->frame->bytes[step->buffers[b]];
    }
    return info;
}

/* --- running --- */

static Status missing_buffer(const Session *s, uint32_t port, Report *report)
{
    bool input = port < s->plan->input_count;
    const PlanPort *p =
        input ? &s->plan->inputs[port] : &s->plan->outputs[port - s->plan->input_count];
    return report_fail(report, ST_bad_argument, "%s '%s' has no memory", input ? "input" : "output",
                       p->name);
}

/* Puts the caller's memory where the launches have it. */
static Status bind_ports(Session *s, const void *const *inputs, void *const *outputs,
                         Report *report)
{
    Frame *frame = s->frame;
    for (uint32_t i = 0; i < s->patch_count; i++) {
        Patch patch = s->patches[i];
        bool input = patch.port < s->plan->input_count;
        void *memory = input ? (void *)(uintptr_t)inputs[patch.port] /* kernels only read it */
                             : outputs[patch.port - s->plan->input_count];
        uint32_t tensor = input ? s->plan->inputs[patch.port].tensor
                                : s->plan->outputs[patch.port - s->plan->input_count].tensor;
        if (!memory && frame->bytes[tensor])
            return missing_buffer(s, patch.port, report);
        frame->launches.buffers[patch.at] = memory;
    }
    return ST_ok;
}

static Status write_inputs(Session *s, const void *const *inputs, void *const *outputs,
                           Report *report)
{
    for (uint32_t i = 0; i < s->plan->output_count; i++)
        if (!outputs[i] && s->frame->bytes[s->plan->outputs[i].tensor])
            return missing_buffer(s, s->plan->input_count + i, report);
    for (uint32_t i = 0; i < s->plan->input_count; i++) {
        uint32_t t = s->plan->inputs[i].tensor;
        int64_t bytes = s->frame->bytes[t];
        if (!bytes || !s->used[i])
            continue;
        if (!inputs[i])
            return missing_buffer(s, i, report);
        if (s->device->type->write(s->stream, s->frame->tensors[t], inputs[i], bytes, report) !=
            ST_ok)
            return report->status;
    }
    return ST_ok;
}

static Status read_outputs(Session *s, void *const *outputs, Report *report)
{
    for (uint32_t i = 0; i < s->plan->output_count; i++) {
        uint32_t t = s->plan->outputs[i].tensor;
        int64_t bytes = s->frame->bytes[t];
        if (bytes && s->device->type->read(s->stream, outputs[i], s->frame->tensors[t], bytes,
                                           report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

Status session_run(Session *s, const void *const *inputs, void *const *outputs, Report *report)
{
    if (!s->frame)
        return report_fail(report, ST_bad_argument, "the shapes of the inputs are not set");
    Launches *list = &s->frame->launches;
    const DeviceType *type = s->device->type;
    bool shared = s->device->limits.host_memory;
    Status status =
        shared ? bind_ports(s, inputs, outputs, report) : write_inputs(s, inputs, outputs, report);
    if (status == ST_ok)
        status = type->run(s->stream, list, 0, list->count, report);
    if (status == ST_ok && !shared)
        status = read_outputs(s, outputs, report);
    Status done = type->wait(s->stream, list, report);
    if (done == ST_bad_index)
        return program_bad_index(list, report);
    return status == ST_ok ? done : status;
}
