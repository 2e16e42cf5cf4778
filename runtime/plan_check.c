/* The rules of plan.h that hold between fields. */
#include "runtime/plan_check.h"

#include <string.h>

#include "runtime/host.h"

enum { MAX_PHASES = 64, MAX_THREADS = 1024, MAX_SHARED = 1 << 20 };
static const int64_t max_scratch = 1 << 30;

bool plan_wrong(PlanCheckJob *c, const char *what, uint32_t number)
{
    cx_fail(c->cx, ST_bad_file, "damaged plan: %s (number %u)", what, number);
    return false;
}

static bool check_dims(PlanCheckJob *c)
{
    const Plan *plan = c->plan;
    for (uint32_t i = 0; i < plan->dim_count; i++) {
        const PlanDim *dim = &plan->dims[i];
        if (dim->lo < 0 || dim->lo > dim->hi || dim->div < 1)
            return plan_wrong(c, "bounds of a dim", i);
        if (dim->tensor >= plan->tensor_count ||
            dim->axis >= (uint32_t)plan->tensors[dim->tensor].rank)
            return plan_wrong(c, "origin of a dim", i);
        if (!expr_code_valid(dim->by, i))
            return plan_wrong(c, "divisor of a dim", i);
    }
    for (uint32_t i = 0; i < plan->check_count; i++)
        if (plan->checks[i].rule >= SIZE_RULES ||
            !expr_code_valid(plan->checks[i].a, plan->dim_count) ||
            !expr_code_valid(plan->checks[i].b, plan->dim_count))
            return plan_wrong(c, "assumption about dims", i);
    return true;
}

static bool check_weights(PlanCheckJob *c)
{
    for (uint32_t i = 0; i < c->plan->weight_count; i++) {
        const PlanWeight *w = &c->plan->weights[i];
        if (w->bytes < 0 || w->offset < 0 || w->bytes > INT64_MAX - w->offset)
            return plan_wrong(c, "range of a weight", i);
        if ((w->file == PLAN_INLINE) != (w->data != NULL))
            return plan_wrong(c, "bytes of a weight", i);
    }
    return true;
}

static bool check_place(PlanCheckJob *c, const PlanTensor *tensor, uint32_t number)
{
    const Plan *plan = c->plan;
    switch (tensor->place) {
    case PP_input:
        return tensor->index < plan->input_count && plan->inputs[tensor->index].tensor == number;
    case PP_output:
        return tensor->index < plan->output_count && plan->outputs[tensor->index].tensor == number;
    case PP_weight:
        return tensor->index < plan->weight_count &&
               plan_tensor_bytes(tensor, NULL) == plan->weights[tensor->index].bytes;
    case PP_init: return plan_tensor_bytes(tensor, NULL) >= 0;
    case PP_slab:
    case PP_own:
    case PP_alias: return true;
    case PP_count: break;
    }
    return false;
}

static bool check_tensors(PlanCheckJob *c)
{
    for (uint32_t i = 0; i < c->plan->tensor_count; i++) {
        const PlanTensor *t = &c->plan->tensors[i];
        bool fixed = t->place == PP_weight || t->place == PP_init;
        if (plan_bytes(t->dtype, 1) <= 0 || t->rank < 0 || t->rank > PLAN_RANK)
            return plan_wrong(c, "type of a tensor", i);
        for (int d = 0; d < t->rank; d++)
            if (!expr_code_valid(t->shape[d], fixed ? 0 : c->plan->dim_count))
                return plan_wrong(c, "shape of a tensor", i);
        if (!check_place(c, t, i))
            return plan_wrong(c, "place of a tensor", i);
    }
    return true;
}

/* Contents fill an input of a known size, and no output has any. */
static bool check_contents(const PlanPort *port, const PlanTensor *tensor, PlanPlace place)
{
    return !port->contents || (place == PP_input && tensor->dtype != DT_string &&
                               plan_fixed_bytes(tensor) == port->content_bytes);
}

static bool check_ports(PlanCheckJob *c, const PlanPort *ports, uint32_t count, PlanPlace place)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ports[i].tensor >= c->plan->tensor_count)
            return plan_wrong(c, "tensor of an input or output", i);
        const PlanTensor *t = &c->plan->tensors[ports[i].tensor];
        bool sessions = place == PP_output &&
                        (t->place == PP_slab || t->place == PP_own || t->place == PP_alias);
        if (!sessions && (t->place != place || t->index != i))
            return plan_wrong(c, "place of an input or output", i);
        if (!check_contents(&ports[i], t, place))
            return plan_wrong(c, "contents of an input", i);
    }
    return true;
}

static bool is_identifier(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length < 256 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
               length;
}

static bool check_kernels(PlanCheckJob *c)
{
    for (uint32_t i = 0; i < c->plan->kernel_count; i++) {
        const PlanKernel *k = &c->plan->kernels[i];
        if (!is_identifier(k->name) || k->phase_count < 1 || k->phase_count > MAX_PHASES ||
            k->scratch < 0 || k->scratch > max_scratch || k->may_fail > 1)
            return plan_wrong(c, "kernel", i);
        for (uint32_t p = 0; p < k->phase_count; p++) {
            const PlanPhase *phase = &k->phases[p];
            if (!expr_code_valid(phase->tasks, k->dim_count) || phase->threads < 1 ||
                phase->threads > MAX_THREADS || phase->shared > MAX_SHARED)
                return plan_wrong(c, "phase of a kernel", i);
        }
    }
    return true;
}

static bool check_hosts(PlanCheckJob *c)
{
    for (uint32_t i = 0; i < c->plan->host_count; i++) {
        const PlanHost *host = &c->plan->hosts[i];
        if (!host_find(host->name)) {
            cx_fail(c->cx, ST_bad_file, "no host operation '%.60s'", host->name);
            return false;
        }
        for (uint32_t r = 0; r < host->result_count; r++)
            if (host->dtypes[r] >= DT_count || plan_bytes((Dtype)host->dtypes[r], 1) <= 0)
                return plan_wrong(c, "type of a host step's result", i);
    }
    return true;
}

static bool is_tensor(const Plan *plan, uint32_t tensor, bool or_none)
{
    return tensor < plan->tensor_count || (or_none && tensor == PLAN_NONE);
}

static bool check_loops(PlanCheckJob *c)
{
    const Plan *plan = c->plan;
    for (uint32_t i = 0; i < plan->loop_count; i++) {
        const PlanLoop *loop = &plan->loops[i];
        bool good = is_tensor(plan, loop->trip, false) && is_tensor(plan, loop->condition, false) &&
                    is_tensor(plan, loop->counter, true) && is_tensor(plan, loop->again, true);
        for (uint32_t k = 0; k < loop->carried_count; k++) {
            const PlanCarried *v = &loop->carried[k];
            good &= is_tensor(plan, v->initial, false) && is_tensor(plan, v->in, true) &&
                    is_tensor(plan, v->out, false) && is_tensor(plan, v->result, true);
        }
        for (uint32_t k = 0; k < loop->stacked_count; k++)
            good &= is_tensor(plan, loop->stacked[k].out, false) &&
                    is_tensor(plan, loop->stacked[k].result, false);
        if (!good)
            return plan_wrong(c, "tensors of a loop", i);
    }
    for (uint32_t i = 0; i < plan->branch_count; i++) {
        const PlanBranch *branch = &plan->branches[i];
        bool good = is_tensor(plan, branch->condition, false);
        for (uint32_t k = 0; k < branch->merge_count; k++)
            good &= is_tensor(plan, branch->merges[k].yes, false) &&
                    is_tensor(plan, branch->merges[k].no, false) &&
                    is_tensor(plan, branch->merges[k].result, false);
        if (!good)
            return plan_wrong(c, "tensors of a branch", i);
    }
    return true;
}

/* Operands of a host step are aligned to their elements, which weights in files are not. */
static bool host_fits(const Plan *plan, const PlanStep *step)
{
    if (step->kernel >= plan->host_count)
        return false;
    const PlanHost *host = &plan->hosts[step->kernel];
    if (host->input_count > step->buffer_count ||
        step->buffer_count - host->input_count != host->result_count)
        return false;
    for (uint32_t b = 0; b < step->buffer_count; b++) {
        if (step->buffers[b] == PLAN_NONE)
            continue;
        const PlanTensor *t = &plan->tensors[step->buffers[b]];
        if (b >= host->input_count && t->dtype != (Dtype)host->dtypes[b - host->input_count])
            return false;
        if (b < host->input_count && t->place == PP_weight &&
            plan->weights[t->index].file != PLAN_INLINE)
            return false;
    }
    return true;
}

static bool step_fits(const Plan *plan, const PlanStep *step, bool init)
{
    for (uint32_t b = 0; b < step->buffer_count; b++) {
        bool none = step->kind == PS_host && step->kernel < plan->host_count &&
                    b >= plan->hosts[step->kernel].input_count;
        if (!is_tensor(plan, step->buffers[b], none))
            return false;
        if (step->buffers[b] == PLAN_NONE)
            continue;
        const PlanTensor *t = &plan->tensors[step->buffers[b]];
        if ((init && t->place != PP_init && t->place != PP_weight) ||
            (step->kind == PS_kernel && t->dtype == DT_string))
            return false;
    }
    for (uint32_t d = 0; d < step->dim_count && !init; d++)
        if (step->dims[d] >= plan->dim_count)
            return false;
    if (step->kind == PS_copy)
        return step->buffer_count == 2 && !step->dim_count &&
               plan->tensors[step->buffers[0]].dtype == plan->tensors[step->buffers[1]].dtype;
    if (step->kind == PS_host)
        return !init && !step->dim_count && host_fits(plan, step);
    if (step->kind == PS_loop)
        return !init && !step->dim_count && step->kernel < plan->loop_count;
    if (step->kind == PS_branch)
        return !init && !step->dim_count && step->kernel < plan->branch_count;
    if (step->kernel >= plan->kernel_count)
        return false;
    const PlanKernel *kernel = &plan->kernels[step->kernel];
    if (step->buffer_count != kernel->buffer_count || step->dim_count != kernel->dim_count)
        return false;
    for (uint32_t d = 0; d < step->dim_count && init; d++)
        if (step->dims[d] < kernel->least[d])
            return false; /* what it makes would stay undefined */
    return true;
}

static bool check_steps(PlanCheckJob *c, const PlanStep *steps, uint32_t count, bool init)
{
    for (uint32_t i = 0; i < count; i++)
        if (!step_fits(c->plan, &steps[i], init) ||
            !expr_code_valid(steps[i].flops, init ? 0 : c->plan->dim_count) ||
            !expr_code_valid(steps[i].times, init ? 0 : c->plan->dim_count))
            return plan_wrong(c, init ? "init step" : "step", i);
    return true;
}

bool plan_check(Cx *cx, const Plan *plan)
{
    PlanCheckJob c = {cx, plan};
    return check_dims(&c) && check_weights(&c) && check_tensors(&c) &&
           check_ports(&c, plan->inputs, plan->input_count, PP_input) &&
           check_ports(&c, plan->outputs, plan->output_count, PP_output) && check_kernels(&c) &&
           check_steps(&c, plan->init, plan->init_count, true) && check_hosts(&c) &&
           check_loops(&c) && check_steps(&c, plan->steps, plan->step_count, false) &&
           plan_check_run(&c);
}
