/* The rules of plan.h about the order of things: a walk over the regions as a run would go, which
 * keeps what is known at each point.
 *
 *   dims       known from the inputs, or since the block after the step that bound them; those
 *              bound in a region are forgotten at its end. Every size of a step has known dims.
 *   tensors    written by a step that is no kernel (results of host steps, loops, branches; copies
 *              of strings): used after that only. The others may be used from the first block they
 *              are in, to the end of its region.
 *   regions    each is the body of one step, and at most PLAN_DEPTH are inside one another.
 *
 * So a session that follows the plan finds memory behind every tensor it comes across. */
#include <string.h>

#include "runtime/host.h"
#include "runtime/plan_check.h"

enum { NOWHERE = -1 };

typedef struct TensorState {
    int64_t home;  /* region, or NOWHERE yet */
    uint32_t dims; /* 1 + first dim it binds */
    bool told;     /* some step other than a kernel writes it */
    bool written;  /* told, and that step has been met */
    bool carried;  /* out of an iteration */
} TensorState;

typedef struct Walk {
    PlanCheckJob *c;
    const Plan *plan;
    TensorState *tensors;
    uint32_t *next_dim; /* 1 + next dim of the same tensor */
    bool *known;        /* by dim */
    bool *inside;       /* by region: the walk is in it */
    bool *seen;
    uint32_t *block, *step, *check; /* by region: first */
    uint32_t region;
    uint32_t told_count, *told; /* written so far, to be forgotten with their region */
    bool unknown;               /* met by use_slot */
} Walk;

static void use_slot(void *user, uint32_t slot)
{
    Walk *w = user;
    w->unknown |= !w->known[slot];
}

static bool code_known(Walk *w, ExprCode code)
{
    w->unknown = false;
    expr_code_slots(code, use_slot, w);
    return !w->unknown;
}

static bool shape_known(Walk *w, uint32_t tensor)
{
    const PlanTensor *t = &w->plan->tensors[tensor];
    for (int d = 0; d < t->rank; d++)
        if (!code_known(w, t->shape[d]))
            return false;
    return true;
}

/* A tensor at a step; its extents are known unless the step itself tells them. */
static bool meet(Walk *w, uint32_t tensor)
{
    if (tensor >= w->plan->tensor_count)
        return plan_wrong(w->c, "tensor of a step", tensor);
    TensorState *state = &w->tensors[tensor];
    if (state->home == NOWHERE)
        state->home = w->region;
    return w->inside[state->home] || plan_wrong(w->c, "tensor outside of its region", tensor);
}

static bool use(Walk *w, uint32_t tensor)
{
    if (!meet(w, tensor))
        return false;
    if (w->tensors[tensor].told && !w->tensors[tensor].written)
        return plan_wrong(w->c, "tensor before it is written", tensor);
    return shape_known(w, tensor) || plan_wrong(w->c, "size before its dims are bound", tensor);
}

/* A tensor that a loop or branch reads outside of its buffers: some step or table gave it a place.
 */
static bool use_placed(Walk *w, uint32_t tensor)
{
    PlanPlace place = w->plan->tensors[tensor].place;
    if (w->tensors[tensor].home == NOWHERE && (place == PP_slab || place == PP_own))
        return plan_wrong(w->c, "tensor that no step writes", tensor);
    return use(w, tensor);
}

/* The tensor is written here, and its dims are bound. */
static bool tell(Walk *w, uint32_t tensor)
{
    if (!meet(w, tensor))
        return false;
    if (w->tensors[tensor].written)
        return plan_wrong(w->c, "tensor with two origins", tensor);
    w->tensors[tensor].written = true;
    w->told[w->told_count++] = tensor;
    for (uint32_t d = w->tensors[tensor].dims; d; d = w->next_dim[d - 1])
        if (!code_known(w, w->plan->dims[d - 1].by))
            return plan_wrong(w->c, "share by a dim that is not bound", d - 1);
    for (uint32_t d = w->tensors[tensor].dims; d; d = w->next_dim[d - 1])
        w->known[d - 1] = true;
    return shape_known(w, tensor) || plan_wrong(w->c, "size before its dims are bound", tensor);
}

/* What a region bound and wrote is gone after it. */
static void leave(Walk *w, uint32_t region, uint32_t around, uint32_t told_count)
{
    while (w->told_count > told_count) {
        uint32_t tensor = w->told[--w->told_count];
        for (uint32_t d = w->tensors[tensor].dims; d; d = w->next_dim[d - 1])
            w->known[d - 1] = false;
    }
    w->inside[region] = false;
    w->region = around;
}

static bool binds(const Walk *w, uint32_t tensor)
{
    return tensor != PLAN_NONE && w->tensors[tensor].dims;
}

/* --- who tells about a tensor --- */

static bool mark_told(Walk *w, uint32_t tensor)
{
    if (tensor == PLAN_NONE)
        return true;
    if (tensor >= w->plan->tensor_count || w->tensors[tensor].told)
        return plan_wrong(w->c, "tensor with two origins", tensor);
    PlanPlace place = w->plan->tensors[tensor].place;
    w->tensors[tensor].told = true;
    return (place != PP_input && place != PP_weight && place != PP_init) ||
           plan_wrong(w->c, "a step writes what it may not", tensor);
}

static bool mark_step(Walk *w, const PlanStep *step)
{
    const Plan *plan = w->plan;
    bool good = true;
    if (step->kind == PS_copy && plan->tensors[step->buffers[1]].dtype == DT_string)
        return mark_told(w, step->buffers[1]);
    if (step->kind == PS_host)
        for (uint32_t i = plan->hosts[step->kernel].input_count; good && i < step->buffer_count;
             i++)
            good = mark_told(w, step->buffers[i]);
    if (step->kind == PS_loop) {
        const PlanLoop *loop = &plan->loops[step->kernel];
        good = mark_told(w, loop->counter);
        for (uint32_t i = 0; good && i < loop->carried_count; i++)
            good = mark_told(w, loop->carried[i].in) && mark_told(w, loop->carried[i].result);
        for (uint32_t i = 0; good && i < loop->stacked_count; i++) {
            uint32_t out = loop->stacked[i].out;
            bool in_place = loop->stacked[i].in_place;
            good = mark_told(w, loop->stacked[i].result) && (!in_place || mark_told(w, out));
        }
    }
    if (step->kind == PS_branch)
        for (uint32_t i = 0; good && i < plan->branches[step->kernel].merge_count; i++)
            good = mark_told(w, plan->branches[step->kernel].merges[i].result);
    return good;
}

static bool mark_dims(Walk *w)
{
    for (uint32_t i = w->plan->dim_count; i-- > 0;) {
        TensorState *state = &w->tensors[w->plan->dims[i].tensor];
        bool input = w->plan->tensors[w->plan->dims[i].tensor].place == PP_input;
        if (!input && !state->told)
            return plan_wrong(w->c, "origin of a dim", i);
        w->known[i] = input;
        if (!input) {
            w->next_dim[i] = state->dims;
            state->dims = i + 1;
        }
    }
    for (uint32_t i = 0; i < w->plan->dim_count; i++)
        if (w->known[i] && !code_known(w, w->plan->dims[i].by))
            return plan_wrong(w->c, "share by a dim that is not bound", i);
    for (uint32_t i = 0; i < w->plan->tensor_count; i++)
        if (w->plan->tensors[i].place == PP_alias && !w->tensors[i].told)
            return plan_wrong(w->c, "tensor that stands for none", i);
    return true;
}

/* --- steps --- */

static bool walk_region(Walk *w, uint32_t region, uint32_t depth);

/* Own memory holds what its step tells the extents of; anything else has its place before. */
static bool result_placed(Walk *w, uint32_t tensor)
{
    const PlanTensor *t = &w->plan->tensors[tensor];
    bool fixed = shape_known(w, tensor) && t->dtype != DT_string;
    if (t->place == PP_own || (fixed && (t->place == PP_slab || t->place == PP_output)))
        return true;
    return plan_wrong(w->c, "place of a result", tensor);
}

static bool walk_host(Walk *w, const PlanStep *step)
{
    const PlanHost *host = &w->plan->hosts[step->kernel];
    for (uint32_t i = 0; i < step->buffer_count; i++) {
        uint32_t t = step->buffers[i];
        bool result = i >= host->input_count;
        if (result && t == PLAN_NONE)
            continue;
        if (!(result ? result_placed(w, t) && tell(w, t) : use(w, t)))
            return false;
    }
    return true;
}

static bool same_type(Walk *w, uint32_t a, uint32_t b, int extra)
{
    if (a == PLAN_NONE || b == PLAN_NONE)
        return true;
    const PlanTensor *x = &w->plan->tensors[a], *y = &w->plan->tensors[b];
    return (x->dtype == y->dtype && x->rank + extra == y->rank) ||
           plan_wrong(w->c, "types of a loop or branch", a);
}

static bool is_scalar(Walk *w, uint32_t tensor, Dtype dtype)
{
    const PlanTensor *t = &w->plan->tensors[tensor];
    return (t->rank == 0 && t->dtype == dtype) ||
           plan_wrong(w->c, "type of a loop's or branch's scalar", tensor);
}

static bool enter_loop(Walk *w, const PlanLoop *loop)
{
    if (!use_placed(w, loop->trip) || !use_placed(w, loop->condition) ||
        !is_scalar(w, loop->trip, DT_i64) || !is_scalar(w, loop->condition, DT_bool))
        return false;
    for (uint32_t i = 0; i < loop->stacked_count; i++)
        if (loop->stacked[i].in_place &&
            (w->plan->tensors[loop->stacked[i].out].place != PP_alias ||
             !shape_known(w, loop->stacked[i].out)))
            return plan_wrong(w->c, "size of a slice", i);
    for (uint32_t i = 0; i < loop->carried_count; i++) {
        const PlanCarried *v = &loop->carried[i];
        TensorState *out = &w->tensors[v->out];
        if (!use_placed(w, v->initial) || !same_type(w, v->initial, v->in, 0) ||
            !same_type(w, v->initial, v->out, 0) || !same_type(w, v->initial, v->result, 0))
            return false;
        if (out->home != NOWHERE || out->carried || w->plan->tensors[v->out].place != PP_own ||
            (v->in != PLAN_NONE && w->plan->tensors[v->in].place != PP_alias) ||
            (v->result != PLAN_NONE && w->plan->tensors[v->result].place != PP_alias))
            return plan_wrong(w->c, "carried value", i);
        out->carried = true;
    }
    return true;
}

/* The body's own tensors, before its first step. */
static bool enter_body(Walk *w, const PlanLoop *loop)
{
    w->region = loop->region;
    w->inside[loop->region] = true;
    if (loop->counter != PLAN_NONE &&
        (!tell(w, loop->counter) || !is_scalar(w, loop->counter, DT_i64) ||
         w->plan->tensors[loop->counter].place != PP_own))
        return plan_wrong(w->c, "counter of a loop", loop->region);
    for (uint32_t i = 0; i < loop->carried_count; i++)
        if (loop->carried[i].in != PLAN_NONE && !tell(w, loop->carried[i].in))
            return false;
    for (uint32_t i = 0; i < loop->stacked_count; i++)
        if (loop->stacked[i].in_place && !tell(w, loop->stacked[i].out))
            return false;
    return true;
}

static bool leave_body(Walk *w, const PlanLoop *loop)
{
    if (loop->again != PLAN_NONE &&
        (!use_placed(w, loop->again) || !is_scalar(w, loop->again, DT_bool)))
        return false;
    for (uint32_t i = 0; i < loop->carried_count; i++)
        if (!use_placed(w, loop->carried[i].out) ||
            w->tensors[loop->carried[i].out].home != loop->region)
            return plan_wrong(w->c, "carried value", i);
    for (uint32_t i = 0; i < loop->stacked_count; i++)
        if (!use_placed(w, loop->stacked[i].out) ||
            !same_type(w, loop->stacked[i].out, loop->stacked[i].result, 1))
            return plan_wrong(w->c, "stacked value", i);
    return true;
}

static bool walk_loop(Walk *w, const PlanLoop *loop, uint32_t depth)
{
    uint32_t around = w->region, told = w->told_count;
    if (loop->region >= w->plan->region_count || w->inside[loop->region])
        return plan_wrong(w->c, "region", loop->region);
    if (!enter_loop(w, loop) || !enter_body(w, loop) || !walk_region(w, loop->region, depth) ||
        !leave_body(w, loop))
        return false;
    leave(w, loop->region, around, told);
    for (uint32_t i = 0; i < loop->carried_count; i++)
        if (loop->carried[i].result != PLAN_NONE && !tell(w, loop->carried[i].result))
            return false;
    for (uint32_t i = 0; i < loop->stacked_count; i++)
        if (!result_placed(w, loop->stacked[i].result) || !tell(w, loop->stacked[i].result))
            return false;
    return true;
}

static bool walk_branch(Walk *w, const PlanBranch *branch, uint32_t depth)
{
    uint32_t around = w->region, told = w->told_count;
    if (!use_placed(w, branch->condition) || !is_scalar(w, branch->condition, DT_bool))
        return false;
    for (int side = 0; side < 2; side++) {
        uint32_t region = side ? branch->no : branch->yes;
        if (region >= w->plan->region_count || w->inside[region])
            return plan_wrong(w->c, "region", region);
        w->region = region;
        w->inside[region] = true;
        if (!walk_region(w, region, depth))
            return false;
        for (uint32_t i = 0; i < branch->merge_count; i++) {
            const PlanMerge *m = &branch->merges[i];
            if (!use_placed(w, side ? m->no : m->yes) ||
                !same_type(w, side ? m->no : m->yes, m->result, 0) ||
                w->plan->tensors[m->result].place != PP_alias)
                return plan_wrong(w->c, "merged value", i);
        }
        leave(w, region, around, told);
    }
    for (uint32_t i = 0; i < branch->merge_count; i++)
        if (!tell(w, branch->merges[i].result))
            return false;
    return true;
}

/* Whether dims are bound by the step, for the blocks after it. */
static bool step_binds(const Walk *w, const PlanStep *step)
{
    const Plan *plan = w->plan;
    bool any = false;
    if (step->kind == PS_host)
        for (uint32_t i = plan->hosts[step->kernel].input_count; i < step->buffer_count; i++)
            any |= binds(w, step->buffers[i]);
    if (step->kind == PS_loop) {
        const PlanLoop *loop = &plan->loops[step->kernel];
        for (uint32_t i = 0; i < loop->carried_count; i++)
            any |= binds(w, loop->carried[i].result);
        for (uint32_t i = 0; i < loop->stacked_count; i++)
            any |= binds(w, loop->stacked[i].result);
    }
    if (step->kind == PS_branch)
        for (uint32_t i = 0; i < plan->branches[step->kernel].merge_count; i++)
            any |= binds(w, plan->branches[step->kernel].merges[i].result);
    return any;
}

static bool walk_step(Walk *w, const PlanStep *step, uint32_t depth)
{
    if (!code_known(w, step->flops) || !code_known(w, step->times))
        return plan_wrong(w->c, "dims of a step", step->kernel);
    for (uint32_t d = 0; d < step->dim_count; d++)
        if (!w->known[step->dims[d]])
            return plan_wrong(w->c, "dims of a step", step->kernel);
    if (step->kind == PS_host)
        return walk_host(w, step);
    bool told = step->kind == PS_copy && w->tensors[step->buffers[1]].told;
    for (uint32_t b = 0; b < step->buffer_count; b++)
        if (!(told && b == 1 ? tell(w, step->buffers[b]) : use(w, step->buffers[b])))
            return false;
    if (step->kind == PS_loop)
        return walk_loop(w, &w->plan->loops[step->kernel], depth + 1);
    if (step->kind == PS_branch)
        return walk_branch(w, &w->plan->branches[step->kernel], depth + 1);
    return true;
}

static bool walk_block(Walk *w, uint32_t block, uint32_t *step, uint32_t *check, uint32_t depth)
{
    const PlanBlock *b = &w->plan->blocks[block];
    for (uint32_t i = 0; i < b->check_count; i++) {
        const PlanCheck *assumed = &w->plan->checks[*check + i];
        if (!code_known(w, assumed->a) || !code_known(w, assumed->b))
            return plan_wrong(w->c, "assumption about dims", *check + i);
    }
    for (uint32_t i = 0; i < b->step_count; i++) {
        const PlanStep *s = &w->plan->steps[*step + i];
        if (step_binds(w, s) && i + 1 < b->step_count)
            return plan_wrong(w->c, "a step after the end of its block", *step + i);
        if (!walk_step(w, s, depth))
            return false;
    }
    *check += b->check_count;
    *step += b->step_count;
    return true;
}

/* The steps of a region; what they bound stays known, for the caller to look at. */
static bool walk_region(Walk *w, uint32_t region, uint32_t depth)
{
    if (w->seen[region] || depth > PLAN_DEPTH)
        return plan_wrong(w->c, "region", region);
    w->seen[region] = true;
    uint32_t step = w->step[region], check = w->check[region];
    for (uint32_t b = 0; b < w->plan->regions[region]; b++)
        if (!walk_block(w, w->block[region] + b, &step, &check, depth))
            return false;
    return true;
}

/* --- the whole --- */

/* Where each region begins; false when blocks, steps and checks are not divided exactly. */
static bool divide(Walk *w)
{
    const Plan *plan = w->plan;
    uint64_t block = 0, step = 0, check = 0;
    for (uint32_t r = 0; r < plan->region_count; r++) {
        w->block[r] = (uint32_t)block;
        w->step[r] = (uint32_t)step;
        w->check[r] = (uint32_t)check;
        for (uint32_t b = 0; b < plan->regions[r]; b++, block++) {
            if (block >= plan->block_count)
                return plan_wrong(w->c, "blocks of a region", r);
            step += plan->blocks[block].step_count;
            check += plan->blocks[block].check_count;
            if (step > plan->step_count || check > plan->check_count)
                return plan_wrong(w->c, "steps of a block", (uint32_t)block);
        }
    }
    return (plan->region_count && block == plan->block_count && step == plan->step_count &&
            check == plan->check_count) ||
           plan_wrong(w->c, "regions", plan->region_count);
}

static bool check_outputs(Walk *w, bool before)
{
    const Plan *plan = w->plan;
    for (uint32_t i = 0; i < plan->output_count; i++) {
        uint32_t tensor = plan->outputs[i].tensor;
        const PlanTensor *t = &plan->tensors[tensor];
        bool callers = t->place == PP_output;
        if (callers && before && (!shape_known(w, tensor) || t->dtype == DT_string))
            return plan_wrong(w->c, "an output whose size is known too late", i);
        if (!callers && !before && (w->tensors[tensor].home != 0 || !use_placed(w, tensor)))
            return plan_wrong(w->c, "an output that is not there", i);
    }
    return true;
}

bool plan_check_run(PlanCheckJob *c)
{
    const Plan *plan = c->plan;
    Arena *arena = c->cx->arena;
    uint32_t *first = NEW_ARRAY(arena, uint32_t, 3 * (size_t)plan->region_count);
    Walk *w = NEW(arena, Walk);
    *w = (Walk){.c = c,
                .plan = plan,
                .tensors = NEW_ARRAY(arena, TensorState, plan->tensor_count),
                .next_dim = NEW_ARRAY(arena, uint32_t, plan->dim_count),
                .known = NEW_ARRAY(arena, bool, plan->dim_count),
                .inside = NEW_ARRAY(arena, bool, plan->region_count),
                .seen = NEW_ARRAY(arena, bool, plan->region_count),
                .told = NEW_ARRAY(arena, uint32_t, plan->tensor_count),
                .block = first,
                .step = first + plan->region_count,
                .check = first + 2 * (size_t)plan->region_count};
    for (uint32_t t = 0; t < plan->tensor_count; t++) {
        PlanPlace place =
            plan->tensors[t].place; /* bodies side by side share what is there before */
        bool before = place == PP_input || place == PP_weight || place == PP_init;
        w->tensors[t].home = before ? 0 : NOWHERE;
    }
    for (uint32_t i = 0; i < plan->step_count; i++)
        if (!mark_step(w, &plan->steps[i]))
            return false;
    if (!mark_dims(w) || !divide(w) || !check_outputs(w, true))
        return false;
    w->inside[0] = true;
    if (!walk_region(w, 0, 0) || !check_outputs(w, false))
        return false;
    for (uint32_t r = 0; r < plan->region_count; r++)
        if (!w->seen[r])
            return plan_wrong(c, "region", r);
    return true;
}
