/* Regions, loops and branches.
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
const char *session_step_name(const PlanStep *step, char text[300])
{
    size_t length = strcspn(step->nodes, "\n");
    length = length < 299 ? length : 299;
    memcpy(text, step->nodes, length);
    text[length] = 0;
    return length ? text : "a step";
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
            session_tell(s, m->result, extents, session_step_name(step, name), report) != ST_ok)
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
    bool steady; /* sizes are those of the iteration before */
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
        const PlanTensor *t = &s->plan->tensors[v->out];
        int64_t slice = r->steady ? session_bytes(t->dtype, t->rank, r->stacked[i])
                                  : plan_tensor_bytes(t, s->dims);
        if (place_slice(r, i, slice, &s->address[v->out]) != ST_ok)
            return r->report->status;
    }
    return set_counter(r);
}

/* What the iteration finds: the initial values, or what the one before left. */
static Status hand_over(LoopRun *r, bool first)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->carried_count && !r->steady; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (session_extents(s, first ? v->initial : v->out, r->carried[i], r->report) != ST_ok)
            return r->report->status;
    }
    for (uint32_t i = 0; i < r->loop->carried_count; i++) {
        const PlanCarried *v = &r->loop->carried[i];
        if (v->in != PLAN_NONE) {
            s->address[v->in] = s->address[first ? v->initial : v->out];
            if (!r->steady && session_tell(s, v->in, r->carried[i], r->name, r->report) != ST_ok)
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

/* The shape of this iteration's slice, which is that of all. */
static Status measure_slice(LoopRun *r, uint32_t index)
{
    Session *s = r->s;
    const PlanTensor *t = &s->plan->tensors[r->loop->stacked[index].out];
    int64_t extents[PLAN_RANK];
    if (session_extents(s, r->loop->stacked[index].out, extents, r->report) != ST_ok)
        return r->report->status;
    if (!r->done)
        memcpy(r->stacked[index], extents, sizeof extents);
    if (t->rank && memcmp(r->stacked[index], extents, (size_t)t->rank * sizeof *extents) != 0)
        return report_fail(r->report, ST_bad_argument,
                           "%s: the shape of a scan output changes between iterations", r->name);
    return ST_ok;
}

/* Slices that no kernel could write in their place. */
static Status stack(LoopRun *r)
{
    Session *s = r->s;
    for (uint32_t i = 0; i < r->loop->stacked_count; i++) {
        const PlanStacked *v = &r->loop->stacked[i];
        const PlanTensor *t = &s->plan->tensors[v->out];
        void *place;
        if (!r->steady && measure_slice(r, i) != ST_ok)
            return r->report->status;
        if (v->in_place)
            continue;
        int64_t slice = session_bytes(t->dtype, t->rank, r->stacked[i]);
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
                 .name = session_step_name(step, name),
                 .carried = s->carried_dims + s->first_carried[step->kernel],
                 .stacked = s->stacked_dims + s->first_stacked[step->kernel],
                 .report = report};
    if (read_element(s, loop->trip, &r.trip, 8, report) != ST_ok ||
        read_bool(s, loop->condition, &go, report) != ST_ok)
        return report->status;
    for (; go && r.done < r.trip; r.done++) {
        if (!session_go_on(s, report) || hand_over(&r, r.done == 0) != ST_ok ||
            begin_iteration(&r) != ST_ok || session_region(s, loop->region, report) != ST_ok ||
            stack(&r) != ST_ok)
            return report->status;
        r.steady = s->steady[step->kernel];
        if (loop->again != PLAN_NONE && read_bool(s, loop->again, &go, report) != ST_ok)
            return report->status;
    }
    return end_loop(&r);
}

/* --- regions --- */

bool session_go_on(const Session *s, Report *report)
{
    return !stream_cancelled(s->stream) || report_cancelled(report) == ST_ok;
}

static Status run_own(Session *s, const PlanStep *step, Report *report)
{
    switch (step->kind) {
    case PS_host: return session_run_host(s, step, report);
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
    return session_finish(s, &block->launches, status, report);
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
        if (run_launches(s, block, begin, i, report) != ST_ok || !session_go_on(s, report) ||
            run_own(s, step, report) != ST_ok)
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
