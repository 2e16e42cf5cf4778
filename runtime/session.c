/* Sessions: creation, what they are asked, runs. */
#include <string.h>

#include "runtime/session_impl.h"

/* --- creation --- */

static uint32_t count_patches(const Plan *plan, Patch *out)
{
    uint32_t at = 0, count = 0;
    for (uint32_t i = 0; i < plan->step_count; i++)
        for (uint32_t b = 0; b < plan->steps[i].buffer_count; b++, at++) {
            if (plan->steps[i].buffers[b] == PLAN_NONE)
                continue;
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

static void make_host_lists(Session *s)
{
    const Plan *plan = s->plan;
    uint32_t inputs = 0, results = 0;
    for (uint32_t i = 0; i < plan->host_count; i++) {
        inputs = plan->hosts[i].input_count > inputs ? plan->hosts[i].input_count : inputs;
        results = plan->hosts[i].result_count > results ? plan->hosts[i].result_count : results;
    }
    s->host_inputs = NEW_ARRAY(s->cx.arena, HostTensor, inputs);
    s->host_dims = NEW_ARRAY(s->cx.arena, int64_t, (size_t)inputs * PLAN_RANK);
    s->host_dtypes = NEW_ARRAY(s->cx.arena, Dtype, results);
    s->host_outputs = NEW_ARRAY(s->cx.arena, HostOut, results);
}

static void make_loop_lists(Session *s)
{
    const Plan *plan = s->plan;
    size_t carried = 0, stacked = 0;
    s->first_carried = NEW_ARRAY(s->cx.arena, uint32_t, plan->loop_count);
    s->first_stacked = NEW_ARRAY(s->cx.arena, uint32_t, plan->loop_count);
    s->steady = NEW_ARRAY(s->cx.arena, bool, plan->loop_count);
    for (uint32_t i = 0; i < plan->loop_count; i++) {
        s->steady[i] = session_is_steady(s, &plan->loops[i]);
        s->first_carried[i] = (uint32_t)carried;
        s->first_stacked[i] = (uint32_t)stacked;
        carried += plan->loops[i].carried_count;
        stacked += plan->loops[i].stacked_count;
    }
    s->carried_dims = arena_array(s->cx.arena, carried + 1, sizeof *s->carried_dims);
    s->stacked_dims = arena_array(s->cx.arena, stacked + 1, sizeof *s->stacked_dims);
}

static void make_lists(Cx *cx, void *user)
{
    Session *s = user;
    Arena *arena = cx->arena;
    const Plan *plan = s->plan;
    size_t n = plan->tensor_count;
    s->dims = NEW_ARRAY(arena, int64_t, plan->dim_count);
    s->before = NEW_ARRAY(arena, int64_t, plan->dim_count);
    s->bytes = NEW_ARRAY(arena, int64_t, n);
    s->address = NEW_ARRAY(arena, void *, n);
    memcpy(s->address, program_tensors(s->program), n * sizeof *s->address);
    s->own = NEW_ARRAY(arena, Memory, n);
    s->spare = NEW_ARRAY(arena, Memory, n);
    s->home = NEW_ARRAY(arena, uint32_t, n);
    s->last = NEW_ARRAY(arena, uint32_t, n);
    s->bound = NEW_ARRAY(arena, uint32_t, n);
    s->next_bound = NEW_ARRAY(arena, uint32_t, plan->dim_count);
    s->first_block = NEW_ARRAY(arena, uint32_t, plan->region_count);
    s->block_count = plan->block_count;
    s->blocks = NEW_ARRAY(arena, Block, plan->block_count);
    s->items = NEW_ARRAY(arena, MemoryItem, n);
    s->item_tensor = NEW_ARRAY(arena, uint32_t, n);
    s->work = NEW_ARRAY(arena, uint32_t, 2 * n);
    s->used = NEW_ARRAY(arena, bool, plan->input_count);
    s->outputs = NEW_ARRAY(arena, Memory, plan->output_count);
    s->patches = NEW_ARRAY(arena, Patch, count_patches(plan, NULL));
    s->patch_count = count_patches(plan, s->patches);
    for (uint32_t i = 0; i < s->patch_count; i++)
        if (s->patches[i].port < plan->input_count)
            s->used[s->patches[i].port] = true;
    session_blocks(s);
    make_host_lists(s);
    make_loop_lists(s);
    for (uint32_t b = 0; b < s->block_count; b++)
        if (!launches_init(&s->blocks[b].launches, s->from, plan, plan->steps + s->blocks[b].step,
                           s->blocks[b].step_count, program_parts(s->program)->code))
            cx_fail(cx, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
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

static Status open_stream(Session *s, Report *report)
{
    Status status = s->device->type->open_stream(s->device, s->plan, &s->stream, report);
    if (status == ST_ok)
        s->stream->cancel = s->cancel;
    return status;
}

Status session_create(Program *program, CancelFlag *cancel, Session **session, Report *report)
{
    *session = NULL;
    if (program_prepare(program, cancel, report) != ST_ok)
        return report->status;
    const ProgramParts *parts = program_parts(program);
    const Allocator *from = parts->from ? parts->from : &allocator_system;
    Session *s = from->alloc(from->user, sizeof *s, MEMORY_ALIGN);
    if (!s)
        return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
    *s = (Session){.program = program, .plan = parts->plan, .from = from, .device = parts->device};
    s->cancel = cancel ? cancel : &s->never;
    cx_init(&s->cx, from, 0);
    if (cx_run(&s->cx, make_lists, s) != ST_ok)
        report_fail(report, s->cx.status, "%s", s->cx.message);
    else if (open_stream(s, report) == ST_ok &&
             (needs_shapes(s->plan) || session_set_shapes(s, NULL, report) == ST_ok)) {
        *session = s;
        return ST_ok;
    }
    session_destroy(s);
    return report->status;
}

static void release_memory(Session *s)
{
    for (uint32_t b = 0; b < s->block_count && s->blocks; b++) {
        Launches *list = &s->blocks[b].launches;
        if (list->memory)
            s->device->type->unbind(list);
        launches_finish(list);
        session_release(s, &s->blocks[b].slab, false);
    }
    for (uint32_t t = 0; t < s->plan->tensor_count && s->own && s->spare; t++) {
        session_release(s, &s->own[t], session_on_host(s, t));
        session_release(s, &s->spare[t], session_on_host(s, t));
    }
    for (uint32_t i = 0; i < s->plan->output_count && s->outputs; i++)
        session_release(s, &s->outputs[i], true);
}

void session_destroy(Session *s)
{
    if (!s)
        return;
    s->device->type->close_stream(s->stream);
    release_memory(s);
    pieces_finish(s, &s->scratch);
    pieces_finish(s, &s->texts);
    const Allocator *from = s->from;
    cx_finish(&s->cx);
    from->release(from->user, s, sizeof *s);
}

/* --- asking --- */

bool session_ready(const Session *s)
{
    return s->shaped;
}

typedef struct Bound {
    const Plan *plan;
    bool any;
} Bound;

static void look_bound(void *user, uint32_t dim)
{
    Bound *b = user;
    b->any |= b->plan->tensors[b->plan->dims[dim].tensor].place != PP_input;
}

int session_tensor(const Session *s, uint32_t tensor, int64_t dims[PLAN_RANK], int64_t *bytes)
{
    const PlanTensor *t = &s->plan->tensors[tensor];
    int64_t count = 1;
    for (int d = 0; d < t->rank; d++) {
        Bound bound = {s->plan, false};
        expr_code_slots(t->shape[d], look_bound, &bound);
        if ((bound.any && !s->ran) || !expr_code_run(t->shape[d], s->dims, &dims[d]))
            dims[d] = -1;
        if (dims[d] < 0 || count < 0 || __builtin_mul_overflow(count, dims[d], &count))
            count = -1;
    }
    *bytes = count < 0 ? -1 : plan_bytes(t->dtype, count);
    return t->rank;
}

SessionInfo session_info(const Session *s)
{
    SessionInfo info = {.memory_bytes = s->device->type->stream_bytes(s->stream)};
    if (!s->shaped)
        return info;
    for (uint32_t b = 0; b < s->block_count; b++)
        info.memory_bytes += s->blocks[b].slab.size;
    for (uint32_t t = 0; t < s->plan->tensor_count; t++)
        info.memory_bytes += s->own[t].size + s->spare[t].size;
    for (uint32_t i = 0; i < s->plan->step_count; i++) {
        const PlanStep *step = &s->plan->steps[i];
        int64_t flops;
        double times = plan_step_times(step, s->dims);
        times = times < 0 ? 1 : times;
        if (expr_code_run(step->flops, s->dims, &flops))
            info.flops += times * (double)flops;
        for (uint32_t b = 0; b < step->buffer_count && step->kind <= PS_copy; b++) {
            int64_t bytes = plan_tensor_bytes(&s->plan->tensors[step->buffers[b]], s->dims);
            info.bytes += bytes > 0 ? times * (double)bytes : 0;
        }
    }
    return info;
}

bool session_owns_output(const Session *s, uint32_t output)
{
    return s->plan->tensors[s->plan->outputs[output].tensor].place != PP_output;
}

Status session_output(Session *s, uint32_t output, const void **data, Report *report)
{
    uint32_t t = s->plan->outputs[output].tensor;
    *data = NULL;
    if (!session_owns_output(s, output) || !s->ran)
        return report_fail(report, ST_bad_argument, "output '%s' is %s",
                           s->plan->outputs[output].name,
                           s->ran ? "in the caller's memory" : "not there before a run");
    *data = s->address[t];
    if (session_on_host(s, t))
        return ST_ok;
    int64_t bytes = plan_tensor_bytes(&s->plan->tensors[t], s->dims);
    if (session_grow(s, &s->outputs[output], bytes, 0, true, report) != ST_ok)
        return report->status;
    *data = s->outputs[output].data;
    if (bytes && s->device->type->read(s->stream, s->outputs[output].data, s->address[t], bytes,
                                       report) != ST_ok)
        return report->status;
    return s->device->type->wait(s->stream, NULL, report);
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

/* Puts the caller's memory where blocks will take it from. */
static Status set_addresses(Session *s, const void *const *inputs, void *const *outputs,
                            Report *report)
{
    for (uint32_t i = 0; i < s->plan->input_count; i++) {
        uint32_t t = s->plan->inputs[i].tensor;
        if (!inputs[i] && s->used[i] && s->bytes[t])
            return missing_buffer(s, i, report);
        s->address[t] = (void *)(uintptr_t)inputs[i]; /* it is only read */
    }
    for (uint32_t i = 0; i < s->plan->output_count; i++) {
        uint32_t t = s->plan->outputs[i].tensor;
        if (session_owns_output(s, i))
            continue;
        if (!outputs[i] && s->bytes[t])
            return missing_buffer(s, s->plan->input_count + i, report);
        s->address[t] = outputs[i];
    }
    return ST_ok;
}

/* Puts the caller's memory where the launches have it. */
static Status bind_ports(Session *s, const void *const *inputs, void *const *outputs,
                         Report *report)
{
    for (uint32_t i = 0; i < s->patch_count; i++) {
        Patch patch = s->patches[i];
        bool input = patch.port < s->plan->input_count;
        void *memory = input ? (void *)(uintptr_t)inputs[patch.port] /* kernels only read it */
                             : outputs[patch.port - s->plan->input_count];
        uint32_t tensor = input ? s->plan->inputs[patch.port].tensor
                                : s->plan->outputs[patch.port - s->plan->input_count].tensor;
        if (!memory && s->bytes[tensor])
            return missing_buffer(s, patch.port, report);
        s->blocks[0].launches.buffers[patch.at] = memory;
    }
    return ST_ok;
}

static Status write_inputs(Session *s, const void *const *inputs, void *const *outputs,
                           Report *report)
{
    for (uint32_t i = 0; i < s->plan->output_count; i++)
        if (!outputs[i] && !session_owns_output(s, i) && s->bytes[s->plan->outputs[i].tensor])
            return missing_buffer(s, s->plan->input_count + i, report);
    for (uint32_t i = 0; i < s->plan->input_count; i++) {
        uint32_t t = s->plan->inputs[i].tensor;
        int64_t bytes = s->bytes[t];
        if (!bytes || !s->used[i])
            continue;
        if (!inputs[i])
            return missing_buffer(s, i, report);
        if (session_on_host(s, t)) {
            s->address[t] = (void *)(uintptr_t)inputs[i];
            continue;
        }
        if (s->device->type->write(s->stream, s->address[t], inputs[i], bytes, report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

static Status read_outputs(Session *s, void *const *outputs, Report *report)
{
    for (uint32_t i = 0; i < s->plan->output_count; i++) {
        uint32_t t = s->plan->outputs[i].tensor;
        int64_t bytes = s->bytes[t];
        if (bytes && !session_owns_output(s, i) &&
            s->device->type->read(s->stream, outputs[i], s->address[t], bytes, report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

static Status run_plain(Session *s, Report *report)
{
    Launches *list = &s->blocks[0].launches;
    const DeviceType *type = s->device->type;
    return type->run(s->stream, list, 0, list->count, report);
}

Status session_finish(Session *s, Launches *list, Status status, Report *report)
{
    const DeviceType *type = s->device->type;
    Report later;
    Status done = type->wait(s->stream, list, status == ST_ok ? report : &later);
    if (done == ST_bad_index)
        return program_bad_index(list, report);
    if (done != ST_ok)
        type->wait(s->stream, list, &later);
    if (list)
        list->error = 0;
    return status == ST_ok ? done : status;
}

static Status run_once(Session *s, const void *const *inputs, void *const *outputs, Report *report)
{
    bool shared = s->device->limits.host_memory;
    Status status = !shared    ? write_inputs(s, inputs, outputs, report)
                    : s->plain ? bind_ports(s, inputs, outputs, report)
                               : set_addresses(s, inputs, outputs, report);
    if (!s->plain) {
        s->running = true;
        pieces_empty(s, &s->texts);
    }
    if (status == ST_ok)
        status = s->plain ? run_plain(s, report) : session_region(s, 0, report);
    if (status == ST_ok && !shared)
        status = read_outputs(s, outputs, report);
    status = session_finish(s, s->plain ? &s->blocks[0].launches : NULL, status, report);
    s->running = false;
    s->ran = status == ST_ok;
    return status;
}

Status session_run(Session *s, const void *const *inputs, void *const *outputs, Report *report)
{
    if (!s->shaped)
        return report_fail(report, ST_bad_argument, "the shapes of the inputs are not set");
    Status status = run_once(s, inputs, outputs, report);
    if (!stream_cancelled(s->stream))
        return status;
    /* Also when nobody saw it: a request is for the run it comes in. */
    atomic_store_explicit(s->cancel, 0, memory_order_relaxed);
    s->ran = false;
    return status == ST_ok ? report_cancelled(report) : status;
}
