/* Regions, and the steps that no device runs.
 *
 * Between its own steps a session hands the device the launches of a block in one call. Before a
 * step of its own it waits: such steps read results. A loop swaps the two memories of a carried
 * value instead of copying it; what a kernel stacks it writes in its place in the result, which
 * grows (half as much again) when the number of iterations is not known before. */
#include <string.h>

#include "runtime/session_impl.h"

/* --- values that decide --- */

/* One element of a tensor, brought to the host. */
static Status read_element(Session *s, uint32_t tensor, void *to, int64_t bytes, Report *report)
{
    const DeviceType *type = s->device->type;
    if (s->device->limits.host_memory) {
        memcpy(to, s->address[tensor], (size_t)bytes);
        return ST_ok;
    }
    Status status = type->read(s->stream, to, s->address[tensor], bytes, report);
    return status == ST_ok ? type->wait(s->stream, NULL, report) : status;
}

static Status read_bool(Session *s, uint32_t tensor, bool *value, Report *report)
{
    unsigned char byte = 0;
    Status status = read_element(s, tensor, &byte, 1, report);
    *value = byte != 0;
    return status;
}

/* The name of a step for messages: its first ONNX node. */
static const char *step_name(const PlanStep *step, char text[300])
{
    size_t length = strcspn(step->nodes, "\n");
    length = length < 299 ? length : 299;
    memcpy(text, step->nodes, length);
    text[length] = 0;
    return length ? text : "a step";
}

/* Puts the node in front of what a host operation says. */
static void name_step(const PlanStep *step, Report *report)
{
    char name[300], text[sizeof report->text];
    memcpy(text, report->text, sizeof text);
    report_fail(report, report->status, "%s: %s", step_name(step, name), text);
}

/* --- host steps --- */

typedef struct HostRun {
    Session *s;
    const PlanStep *step;
    const PlanHost *host;
} HostRun;

static int64_t count_bytes(Dtype dtype, int rank, const int64_t *extents)
{
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        if (extents[d] < 0 || __builtin_mul_overflow(count, extents[d], &count))
            return -1;
    return plan_bytes(dtype, count);
}

static void *host_fail(HostCall *call, const char *what, int index)
{
    const HostRun *run = call->user;
    char name[300];
    report_fail(call->report, ST_internal, "%s: host operation '%s': %s (result %d)",
                step_name(run->step, name), run->host->name, what, index);
    return NULL;
}

/* Whether the plan expects these extents of a result whose place has their size already. */
static bool fits_place(const Session *s, uint32_t tensor, const int64_t *extents)
{
    const PlanTensor *t = &s->plan->tensors[tensor];
    for (int d = 0; d < t->rank; d++) {
        int64_t want;
        if (!expr_code_run(t->shape[d], s->dims, &want) || want != extents[d])
            return false;
    }
    return true;
}

static void *give_output(HostCall *call, int index, int rank, const int64_t *dims)
{
    const HostRun *run = call->user;
    Session *s = run->s;
    if (index < 0 || (uint32_t)index >= run->host->result_count || rank < 0 || rank > PLAN_RANK)
        return host_fail(call, "no such result", index);
    HostOut *out = &s->host_outputs[index];
    const PlanTensor *t = out->tensor == PLAN_NONE ? NULL : &s->plan->tensors[out->tensor];
    int64_t bytes = count_bytes((Dtype)run->host->dtypes[index], rank, dims);
    if (out->given || bytes < 0 || (t && t->rank != rank))
        return host_fail(call, "its shape", index);
    out->given = true;
    out->bytes = bytes;
    memcpy(out->extents, dims, (size_t)rank * sizeof *dims);
    bool staged = !t || !session_on_host(s, out->tensor);
    if (t && t->place != PP_own && !fits_place(s, out->tensor, dims))
        return host_fail(call, "its shape is not what the model says", index);
    if (t && t->place == PP_own) {
        if (session_grow(s, &s->own[out->tensor], bytes, 0, session_on_host(s, out->tensor),
                         call->report) != ST_ok)
            return NULL;
        s->address[out->tensor] = s->own[out->tensor].data;
    }
    out->data = staged ? call->scratch(call, bytes ? (size_t)bytes : 1) : s->address[out->tensor];
    if (!out->data && call->report->status == ST_ok) /* an empty output of the caller's */
        out->data = call->scratch(call, 1);
    return out->data;
}

static void *give_scratch(HostCall *call, size_t bytes)
{
    const HostRun *run = call->user;
    void *data = pieces_take(run->s, &run->s->scratch, bytes);
    if (!data)
        report_fail(call->report, ST_out_of_memory, "no memory for %zu bytes on the host", bytes);
    return data;
}

static const char *keep_text(HostCall *call, const char *bytes, size_t length)
{
    const HostRun *run = call->user;
    char *data = pieces_take(run->s, &run->s->texts, length + 1);
    if (!data) {
        report_fail(call->report, ST_out_of_memory, "no memory for %zu bytes on the host", length);
        return NULL;
    }
    if (length)
        memcpy(data, bytes, length);
    data[length] = 0;
    return data;
}

/* Operands on the host. */
static Status bring_inputs(HostCall *call)
{
    const HostRun *run = call->user;
    Session *s = run->s;
    for (uint32_t i = 0; i < run->host->input_count; i++) {
        uint32_t t = run->step->buffers[i];
        const PlanTensor *tensor = &s->plan->tensors[t];
        int64_t *extents = s->host_dims + (size_t)i * PLAN_RANK;
        if (session_extents(s, t, extents, call->report) != ST_ok)
            return call->report->status;
        int64_t bytes = count_bytes(tensor->dtype, tensor->rank, extents);
        const void *data = s->address[t];
        if (bytes <= 0 || !session_on_host(s, t)) {
            void *copy = give_scratch(call, bytes > 0 ? (size_t)bytes : 1);
            if (!copy)
                return call->report->status;
            if (bytes > 0 &&
                s->device->type->read(s->stream, copy, data, bytes, call->report) != ST_ok)
                return call->report->status;
            data = copy;
        }
        s->host_inputs[i] = (HostTensor){tensor->dtype, tensor->rank, extents, data};
    }
    return s->device->type->wait(s->stream, NULL, call->report);
}

/* Results to the device, extents to the dims. All dims are bound before any are compared. */
static Status take_outputs(HostCall *call)
{
    const HostRun *run = call->user;
    Session *s = run->s;
    char name[300];
    for (uint32_t i = 0; i < run->host->result_count; i++) {
        const HostOut *out = &s->host_outputs[i];
        if (!out->given)
            return host_fail(call, "it was not given", (int)i), call->report->status;
        for (uint32_t d = out->tensor == PLAN_NONE ? 0 : s->bound[out->tensor]; d;
             d = s->next_bound[d - 1])
            s->dims[d - 1] = out->extents[s->plan->dims[d - 1].axis];
    }
    for (uint32_t i = 0; i < run->host->result_count; i++) {
        const HostOut *out = &s->host_outputs[i];
        if (out->tensor == PLAN_NONE)
            continue;
        if (session_tell(s, out->tensor, out->extents, step_name(run->step, name), call->report) !=
            ST_ok)
            return call->report->status;
        if (!session_on_host(s, out->tensor) && out->bytes &&
            s->device->type->write(s->stream, s->address[out->tensor], out->data, out->bytes,
                                   call->report) != ST_ok)
            return call->report->status;
    }
    return s->device->type->wait(s->stream, NULL, call->report);
}

static Status run_host(Session *s, const PlanStep *step, Report *report)
{
    const PlanHost *host = &s->plan->hosts[step->kernel];
    HostRun run = {s, step, host};
    HostCall call = {.input_count = (int)host->input_count,
                     .output_count = (int)host->result_count,
                     .inputs = s->host_inputs,
                     .output_dtypes = s->host_dtypes,
                     .report = report,
                     .output = give_output,
                     .scratch = give_scratch,
                     .keep = keep_text,
                     .customs = program_parts(s->program)->customs,
                     .user = &run};
    for (uint32_t i = 0; i < host->result_count; i++) {
        s->host_dtypes[i] = (Dtype)host->dtypes[i];
        s->host_outputs[i] = (HostOut){.tensor = step->buffers[host->input_count + i]};
    }
    report->status = ST_ok;
    Status status = bring_inputs(&call);
    if (status == ST_ok && (status = host_find(host->name)(&call)) != ST_ok)
        name_step(step, report);
    if (status == ST_ok)
        status = report->status == ST_ok ? take_outputs(&call) : report->status;
    pieces_empty(s, &s->scratch);
    return status;
}

/* --- branches --- */

static Status run_branch(Session *s, const PlanStep *step, Report *report)
{
    const PlanBranch *branch = &s->plan->branches[step->kernel];
    bool yes;
    char name[300];
    if (read_bool(s, branch->condition, &yes, report) != ST_ok ||
        session_region(s, yes ? branch->yes : branch->no, report) != ST_ok)
        return report->status;
    for (uint32_t i = 0; i < branch->merge_count; i++) {
        const PlanMerge *m = &branch->merges[i];
        uint32_t from = yes ? m->yes : m->no;
        int64_t extents[PLAN_RANK];
        s->address[m->result] = s->address[from];
        if (session_extents(s, from, extents, report) != ST_ok ||
            session_tell(s, m->result, extents, step_name(step, name), report) != ST_ok)
            return report->status;
    }
    return ST_ok;
}

/* --- loops --- */

typedef struct LoopRun {
    Session *s;
    const PlanLoop *loop;
    const char *name;
    int64_t trip, done;
    int64_t (*carried)[PLAN_RANK], (*stacked)[PLAN_RANK]; /* extents */
    Report *report;
} LoopRun;

static Status set_counter(LoopRun *r)
{
    Session *s = r->s;
    uint32_t t = r->loop->counter;
    if (t == PLAN_NONE)
        return ST_ok;
    if (session_grow(s, &s->own[t], 8, 0, session_on_host(s, t), r->report) != ST_ok)
        return r->report->status;
    s->address[t] = s->own[t].data;
    if (s->device->limits.host_memory) {
        *(int64_t *)s->address[t] = r->done;
        return ST_ok;
    }
    Status status = s->device->type->write(s->stream, s->address[t], &r->done, 8, r->report);
    return status == ST_ok ? s->device->type->wait(s->stream, NULL, r->report) : status;
}

/* The place of this iteration's slice; the result grows, or has the size that the plan says. */
static Status place_slice(LoopRun *r, uint32_t index, int64_t slice, void **place)
{
    Session *s = r->s;
    uint32_t t = r->loop->stacked[index].result;
    int64_t end, most = r->loop->again == PLAN_NONE ? r->trip : r->done + 1, whole;
    if (slice < 0 || __builtin_mul_overflow(slice, r->done + 1, &end) ||
        __builtin_mul_overflow(slice, most, &whole))
        return report_fail(r->report, ST_limit, "%s: the size of a result overflows", r->name);
    if (s->plan->tensors[t].place == PP_own) {
        if (session_grow(s, &s->own[t], whole, end - slice, session_on_host(s, t), r->report) !=
            ST_ok)
            return r->report->status;
        s->address[t] = s->own[t].data;
    } else if (end > s->bytes[t]) {
        return report_fail(r->report, ST_bad_argument, "%s: more iterations than the model says",
                           r->name);
    }
    *place = s->address[t] ? (char *)s->address[t] + (end - slice) : NULL;
    return ST_ok;
}

static Status begin_iteration(LoopRun *r)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->stacked_count; i++) {
        const PlanStacked *v = &r->loop->stacked[i];
        if (!v->in_place)
            continue;
        int64_t slice = plan_tensor_bytes(&s->plan->tensors[v->out], s->dims);
        if (place_slice(r, i, slice, &s->address[v->out]) != ST_ok)
            return r->report->status;
    }
    return set_counter(r);
}

/* What the iteration finds: `from` is the initial value or the one before's. */
static Status hand_over(LoopRun *r, bool first)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->carried_count; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (session_extents(s, first ? v->initial : v->out, r->carried[i], r->report) != ST_ok)
            return r->report->status;
    }
    for (uint32_t i = 0; i < r->loop->carried_count; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (v->in != PLAN_NONE) {
            s->address[v->in] = s->address[first ? v->initial : v->out];
            if (session_tell(s, v->in, r->carried[i], r->name, r->report) != ST_ok)
                return r->report->status;
        }
        if (first)
            continue;
        Memory written = s->own[v->out];
        s->own[v->out] = s->spare[v->out];
        s->spare[v->out] = written;
    }
    return ST_ok;
}

/* Slices that no kernel could write in their place; all of one shape. */
static Status stack(LoopRun *r)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->stacked_count; i++) {
        const PlanStacked *v = &r->loop->stacked[i];
        const PlanTensor *t = &s->plan->tensors[v->out];
        int64_t extents[PLAN_RANK];
        if (session_extents(s, v->out, extents, r->report) != ST_ok)
            return r->report->status;
        if (!r->done)
            memcpy(r->stacked[i], extents, sizeof extents);
        if (t->rank && memcmp(r->stacked[i], extents, (size_t)t->rank * sizeof *extents) != 0)
            return report_fail(r->report, ST_bad_argument,
                               "%s: the shape of a scan output changes between iterations",
                               r->name);
        int64_t slice = count_bytes(t->dtype, t->rank, extents);
        void *place;
        if (v->in_place)
            continue;
        if (place_slice(r, i, slice, &place) != ST_ok)
            return r->report->status;
        if (slice && session_on_host(s, v->out))
            memcpy(place, s->address[v->out], (size_t)slice);
        else if (slice && s->device->type->copy(s->stream, place, s->address[v->out], slice,
                                                r->report) != ST_ok)
            return r->report->status;
    }
    return ST_ok;
}

static bool binds_axis(const Session *s, uint32_t tensor, uint32_t axis)
{
    for (uint32_t d = s->bound[tensor]; d; d = s->next_bound[d - 1])
        if (s->plan->dims[d - 1].axis == axis)
            return true;
    return false;
}

/* Extents of a stacked result; without any iteration those that only a slice would tell are 0. */
static Status stacked_extents(LoopRun *r, uint32_t index, int64_t *extents)
{
    Session *s = r->s;
    uint32_t t = r->loop->stacked[index].result;
    extents[0] = r->done;
    for (uint32_t d = 1; d < (uint32_t)s->plan->tensors[t].rank; d++) {
        extents[d] = r->stacked[index][d - 1];
        if (r->done)
            continue;
        if (binds_axis(s, t, d))
            extents[d] = 0;
        else if (!expr_code_run(s->plan->tensors[t].shape[d], s->dims, &extents[d]))
            return report_fail(r->report, ST_limit, "the size of a tensor overflows");
    }
    return ST_ok;
}

static Status end_loop(LoopRun *r)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->carried_count; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (session_extents(s, r->done ? v->out : v->initial, r->carried[i], r->report) != ST_ok)
            return r->report->status;
    }
    for (uint32_t i = 0; i < r->loop->carried_count; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (v->result == PLAN_NONE)
            continue;
        s->address[v->result] = s->address[r->done ? v->out : v->initial];
        if (session_tell(s, v->result, r->carried[i], r->name, r->report) != ST_ok)
            return r->report->status;
    }
    for (uint32_t i = 0; i < r->loop->stacked_count; i++) {
        uint32_t t = r->loop->stacked[i].result;
        int64_t extents[PLAN_RANK];
        if (stacked_extents(r, i, extents) != ST_ok ||
            session_tell(s, t, extents, r->name, r->report) != ST_ok)
            return r->report->status;
        if (!r->done && s->plan->tensors[t].place == PP_own) {
            if (session_grow(s, &s->own[t], 0, 0, session_on_host(s, t), r->report) != ST_ok)
                return r->report->status;
            s->address[t] = s->own[t].data;
        }
    }
    return ST_ok;
}

static Status run_loop(Session *s, const PlanStep *step, Report *report)
{
    const PlanLoop *loop = &s->plan->loops[step->kernel];
    char name[300];
    bool go;
    LoopRun r = {.s = s,
                 .loop = loop,
                 .name = step_name(step, name),
                 .carried = s->carried_dims + s->first_carried[step->kernel],
                 .stacked = s->stacked_dims + s->first_stacked[step->kernel],
                 .report = report};
    if (read_element(s, loop->trip, &r.trip, 8, report) != ST_ok ||
        read_bool(s, loop->condition, &go, report) != ST_ok)
        return report->status;
    for (; go && r.done < r.trip; r.done++) {
        if (hand_over(&r, r.done == 0) != ST_ok || begin_iteration(&r) != ST_ok ||
            session_region(s, loop->region, report) != ST_ok || stack(&r) != ST_ok)
            return report->status;
        if (loop->again != PLAN_NONE && read_bool(s, loop->again, &go, report) != ST_ok)
            return report->status;
    }
    return end_loop(&r);
}

/* --- regions --- */

static Status run_own(Session *s, const PlanStep *step, Report *report)
{
    switch (step->kind) {
    case PS_host: return run_host(s, step, report);
    case PS_loop: return run_loop(s, step, report);
    case PS_branch: return run_branch(s, step, report);
    case PS_copy: { /* of strings, on a device that cannot have them */
        int64_t bytes = plan_tensor_bytes(&s->plan->tensors[step->buffers[0]], s->dims);
        if (bytes > 0)
            memcpy(s->address[step->buffers[1]], s->address[step->buffers[0]], (size_t)bytes);
        return ST_ok;
    }
    case PS_kernel:
    case PS_count: break;
    }
    return report_fail(report, ST_internal, "a step of no kind");
}

/* The device's steps from `begin` to `end`, and until they are done. */
static Status run_launches(Session *s, Block *block, uint32_t begin, uint32_t end, Report *report)
{
    const DeviceType *type = s->device->type;
    if (begin == end)
        return ST_ok;
    Status status = type->run(s->stream, &block->launches, begin, end, report);
    Status done = type->wait(s->stream, &block->launches, report);
    if (done == ST_bad_index)
        return program_bad_index(&block->launches, report);
    return status == ST_ok ? done : status;
}

static Status run_block(Session *s, Block *block, Report *report)
{
    uint32_t begin = 0;
    if (session_enter(s, block, report) != ST_ok)
        return report->status;
    for (uint32_t i = 0; i < block->step_count; i++) {
        const PlanStep *step = &s->plan->steps[block->step + i];
        if (!session_is_ours(s, step))
            continue;
        if (run_launches(s, block, begin, i, report) != ST_ok || run_own(s, step, report) != ST_ok)
            return report->status;
        begin = i + 1;
        if (begin < block->step_count && session_addresses(s, block, begin, report) != ST_ok)
            return report->status;
    }
    return run_launches(s, block, begin, block->step_count, report);
}

Status session_region(Session *s, uint32_t region, Report *report)
{
    for (uint32_t b = 0; b < s->plan->regions[region]; b++)
        if (run_block(s, &s->blocks[s->first_block[region] + b], report) != ST_ok)
            return report->status;
    return ST_ok;
}
