/* Host steps of a session: operands brought to the host, results to the device, extents to the
 * dims.
 *
 * A result says its extents when the operation asks for its memory: own memory grows then, places
 * in the slab or of the caller's have their size already. */
#include <string.h>

#include "runtime/session_impl.h"

/* Puts the node in front of what a host operation says. */
static void name_step(const PlanStep *step, Report *report)
{
    char name[300], text[sizeof report->text];
    memcpy(text, report->text, sizeof text);
    report_fail(report, report->status, "%s: %s", session_step_name(step, name), text);
}

typedef struct HostRun {
    Session *s;
    const PlanStep *step;
    const PlanHost *host;
} HostRun;

/* What only a wrong operation does. */
static void *host_fail(HostCall *call, const char *what, int index)
{
    const HostRun *run = call->user;
    report_fail(call->report, ST_internal, "host operation '%s': %s (result %d)", run->host->name,
                what, index);
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
    int64_t bytes = session_bytes((Dtype)run->host->dtypes[index], rank, dims);
    if (out->given || (t && t->rank != rank))
        return host_fail(call, "given twice, or of another rank", index);
    if (bytes < 0) {
        report_fail(call->report, ST_limit, "result %d would be larger than any memory", index);
        return NULL;
    }
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
        int64_t bytes = session_bytes(tensor->dtype, tensor->rank, extents);
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
        if (!out->given) {
            host_fail(call, "it was not given", (int)i);
            name_step(run->step, call->report);
            return call->report->status;
        }
        if (out->tensor != PLAN_NONE)
            session_bind(s, out->tensor, out->extents);
    }
    for (uint32_t i = 0; i < run->host->result_count; i++) {
        const HostOut *out = &s->host_outputs[i];
        if (out->tensor == PLAN_NONE)
            continue;
        if (session_tell(s, out->tensor, out->extents, session_step_name(run->step, name),
                         call->report) != ST_ok)
            return call->report->status;
        if (!session_on_host(s, out->tensor) && out->bytes &&
            s->device->type->write(s->stream, s->address[out->tensor], out->data, out->bytes,
                                   call->report) != ST_ok)
            return call->report->status;
    }
    return s->device->type->wait(s->stream, NULL, call->report);
}

Status session_run_host(Session *s, const PlanStep *step, Report *report)
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
                     .cancel = s->cancel,
                     .user = &run};
    for (uint32_t i = 0; i < host->result_count; i++) {
        s->host_dtypes[i] = (Dtype)host->dtypes[i];
        s->host_outputs[i] = (HostOut){.tensor = step->buffers[host->input_count + i]};
    }
    report->status = ST_ok;
    Status status = bring_inputs(&call);
    if (status == ST_ok) {
        status = host_find(host->name)(&call);
        status = status == ST_ok ? report->status : status;
        if (status != ST_ok)
            name_step(step, report);
    }
    if (status == ST_ok)
        status = take_outputs(&call);
    pieces_empty(s, &s->scratch);
    return status;
}
