/* The rules of plan.h that hold between fields. */
#include "runtime/plan.h"

#include <string.h>

enum { MAX_PHASES = 64, MAX_THREADS = 1024, MAX_SHARED = 1 << 20 };
static const int64_t max_scratch = 1 << 30;

typedef struct Check {
    Cx *cx;
    const Plan *plan;
} Check;

static bool wrong(Check *c, const char *what, uint32_t number)
{
    cx_fail(c->cx, ST_bad_file, "damaged plan: %s (number %u)", what, number);
    return false;
}

static bool check_dims(Check *c)
{
    const Plan *plan = c->plan;
    for (uint32_t i = 0; i < plan->dim_count; i++) {
        const PlanDim *dim = &plan->dims[i];
        if (dim->lo < 0 || dim->lo > dim->hi || dim->div < 1)
            return wrong(c, "bounds of a dim", i);
        if (dim->input >= plan->input_count ||
            plan->inputs[dim->input].tensor >= plan->tensor_count ||
            dim->axis >= (uint32_t)plan->tensors[plan->inputs[dim->input].tensor].rank)
            return wrong(c, "origin of a dim", i);
    }
    for (uint32_t i = 0; i < plan->check_count; i++)
        if (!expr_code_valid(plan->checks[i].a, plan->dim_count) ||
            !expr_code_valid(plan->checks[i].b, plan->dim_count))
            return wrong(c, "assumption about dims", i);
    return true;
}

static bool check_weights(Check *c)
{
    for (uint32_t i = 0; i < c->plan->weight_count; i++) {
        const PlanWeight *w = &c->plan->weights[i];
        if (w->bytes < 0 || w->offset < 0 || w->bytes > INT64_MAX - w->offset)
            return wrong(c, "range of a weight", i);
        if ((w->file == PLAN_INLINE) != (w->data != NULL))
            return wrong(c, "bytes of a weight", i);
    }
    return true;
}

static bool check_place(Check *c, const PlanTensor *tensor, uint32_t number)
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
    case PP_slab: return true;
    case PP_count: break;
    }
    return false;
}

static bool check_tensors(Check *c)
{
    for (uint32_t i = 0; i < c->plan->tensor_count; i++) {
        const PlanTensor *t = &c->plan->tensors[i];
        bool fixed = t->place == PP_weight || t->place == PP_init;
        if (dtype_bits(t->dtype) <= 0 || t->rank < 0 || t->rank > PLAN_RANK)
            return wrong(c, "type of a tensor", i);
        for (int d = 0; d < t->rank; d++)
            if (!expr_code_valid(t->shape[d], fixed ? 0 : c->plan->dim_count))
                return wrong(c, "shape of a tensor", i);
        if (!check_place(c, t, i))
            return wrong(c, "place of a tensor", i);
    }
    return true;
}

static bool check_ports(Check *c, const PlanPort *ports, uint32_t count, PlanPlace place)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ports[i].tensor >= c->plan->tensor_count)
            return wrong(c, "tensor of an input or output", i);
        const PlanTensor *t = &c->plan->tensors[ports[i].tensor];
        if (t->place != place || t->index != i)
            return wrong(c, "place of an input or output", i);
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

static bool check_kernels(Check *c)
{
    for (uint32_t i = 0; i < c->plan->kernel_count; i++) {
        const PlanKernel *k = &c->plan->kernels[i];
        if (!is_identifier(k->name) || k->phase_count < 1 || k->phase_count > MAX_PHASES ||
            k->scratch < 0 || k->scratch > max_scratch || k->may_fail > 1)
            return wrong(c, "kernel", i);
        for (uint32_t p = 0; p < k->phase_count; p++) {
            const PlanPhase *phase = &k->phases[p];
            if (!expr_code_valid(phase->tasks, k->dim_count) || phase->threads < 1 ||
                phase->threads > MAX_THREADS || phase->shared > MAX_SHARED)
                return wrong(c, "phase of a kernel", i);
        }
    }
    return true;
}

static bool step_fits(const Plan *plan, const PlanStep *step, bool init)
{
    for (uint32_t b = 0; b < step->buffer_count; b++) {
        if (step->buffers[b] >= plan->tensor_count)
            return false;
        PlanPlace place = plan->tensors[step->buffers[b]].place;
        if (init && place != PP_init && place != PP_weight)
            return false;
    }
    for (uint32_t d = 0; d < step->dim_count; d++)
        if (init || step->dims[d] >= plan->dim_count)
            return false;
    if (step->kind == PS_copy)
        return step->buffer_count == 2 && !step->dim_count &&
               plan->tensors[step->buffers[0]].dtype == plan->tensors[step->buffers[1]].dtype;
    if (step->kernel >= plan->kernel_count)
        return false;
    const PlanKernel *kernel = &plan->kernels[step->kernel];
    return step->buffer_count == kernel->buffer_count && step->dim_count == kernel->dim_count;
}

static bool check_steps(Check *c, const PlanStep *steps, uint32_t count, bool init)
{
    for (uint32_t i = 0; i < count; i++)
        if (!step_fits(c->plan, &steps[i], init) ||
            !expr_code_valid(steps[i].flops, init ? 0 : c->plan->dim_count))
            return wrong(c, init ? "init step" : "step", i);
    return true;
}

bool plan_check(Cx *cx, const Plan *plan)
{
    Check c = {cx, plan};
    return check_dims(&c) && check_weights(&c) && check_tensors(&c) &&
           check_ports(&c, plan->inputs, plan->input_count, PP_input) &&
           check_ports(&c, plan->outputs, plan->output_count, PP_output) && check_kernels(&c) &&
           check_steps(&c, plan->init, plan->init_count, true) &&
           check_steps(&c, plan->steps, plan->step_count, false);
}
