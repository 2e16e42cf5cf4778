/* Regions of a plan: blocks, and the steps that are no kernels.
 *
 * A scope is a graph being compiled: captures of a body are the very tensors of the plan that they
 * are outside. Where the body's outputs lie is decided before its steps are made (claims):
 *
 *   carried      memory of its own, two of which the session swaps; written by the step itself, or
 *                copied from what it also is (an input, a constant, another output)
 *   stacked      in place in the result when a kernel writes it and its size is known outside
 *   merged       wherever it is: the result of a branch is an alias
 */
#include <string.h>

#include "jit/plan_build_impl.h"
#include "runtime/host.h"

/* --- scopes and blocks --- */

void plan_build_enter(PlanBuild *b, const Graph *graph)
{
    Arena *arena = b->cx->arena;
    uint32_t count = 0, region = b->plan->region_count;
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= count)
            count = graph->nodes[i]->output->id + 1;
    PlanScope *scope = NEW(arena, PlanScope);
    *scope = (PlanScope){.around = b->scope,
                         .graph = graph,
                         .tensors = NEW_ARRAY(arena, uint32_t, count),
                         .claims = NEW_ARRAY(arena, uint8_t, count),
                         .init = NEW_ARRAY(arena, bool, count),
                         .assumed = NEW_ARRAY(arena, bool, graph->check_count),
                         .region = region,
                         .times = b->scope ? b->scope->times : expr_const(b->cx, 1),
                         .dim_count = b->plan->dim_count};
    b->scope = scope;
    VEC_PUSH(arena, b->regions, b->plan->region_count, b->region_cap,
             (RegionBuild){.closed = true});
}

static bool take_checks(PlanBuild *b)
{
    PlanScope *scope = b->scope;
    RegionBuild *region = &b->regions[scope->region];
    uint32_t before = region->check_count;
    for (uint32_t i = 0; i < scope->graph->check_count; i++) {
        const GraphCheck *c = &scope->graph->checks[i];
        if (scope->assumed[i] || !plan_build_known(b, c->a) || !plan_build_known(b, c->b))
            continue;
        PlanCheck check = {plan_build_code(b, c->a), plan_build_code(b, c->b), c->rule,
                           c->source ? c->source : ""};
        VEC_PUSH(b->cx->arena, region->checks, region->check_count, region->check_cap, check);
        scope->assumed[i] = true;
    }
    return region->check_count > before;
}

void plan_build_block(PlanBuild *b)
{
    RegionBuild *region = &b->regions[b->scope->region];
    uint32_t before = region->check_count;
    take_checks(b);
    PlanBlock block = {0, region->check_count - before};
    VEC_PUSH(b->cx->arena, region->blocks, region->block_count, region->block_cap, block);
    region->closed = false;
}

void plan_build_push(PlanBuild *b, const PlanStep *from, bool init)
{
    Plan *plan = b->plan;
    PlanStep step = *from;
    const Expr *times = init ? expr_const(b->cx, 1) : b->scope->times;
    step.times = plan_build_code(b, times ? times : expr_const(b->cx, -1));
    if (init) {
        VEC_PUSH(b->cx->arena, plan->init, plan->init_count, b->init_cap, step);
        return;
    }
    if (b->regions[b->scope->region].closed)
        plan_build_block(b);
    RegionBuild *region = &b->regions[b->scope->region];
    VEC_PUSH(b->cx->arena, region->steps, region->step_count, region->step_cap, step);
    region->blocks[region->block_count - 1].step_count++;
}

void plan_build_leave(PlanBuild *b)
{
    RegionBuild *region = &b->regions[b->scope->region];
    uint32_t before = region->check_count;
    if (take_checks(b)) { /* of the last step */
        PlanBlock block = {0, region->check_count - before};
        VEC_PUSH(b->cx->arena, region->blocks, region->block_count, region->block_cap, block);
    }
    for (uint32_t i = b->scope->dim_count; b->scope->around && i < b->plan->dim_count; i++)
        b->known[i] = false;
    b->scope = b->scope->around;
}

void plan_build_gather(PlanBuild *b)
{
    Plan *plan = b->plan;
    Arena *arena = b->cx->arena;
    uint32_t blocks = 0, steps = 0, checks = 0;
    for (uint32_t r = 0; r < plan->region_count; r++) {
        blocks += b->regions[r].block_count;
        steps += b->regions[r].step_count;
        checks += b->regions[r].check_count;
    }
    plan->regions = NEW_ARRAY(arena, uint32_t, plan->region_count);
    plan->blocks = NEW_ARRAY(arena, PlanBlock, blocks);
    plan->steps = NEW_ARRAY(arena, PlanStep, steps);
    plan->checks = NEW_ARRAY(arena, PlanCheck, checks);
    for (uint32_t r = 0; r < plan->region_count; r++) {
        const RegionBuild *from = &b->regions[r];
        plan->regions[r] = from->block_count;
        for (uint32_t i = 0; i < from->block_count; i++)
            plan->blocks[plan->block_count++] = from->blocks[i];
        for (uint32_t i = 0; i < from->step_count; i++)
            plan->steps[plan->step_count++] = from->steps[i];
        for (uint32_t i = 0; i < from->check_count; i++)
            plan->checks[plan->check_count++] = from->checks[i];
    }
}

/* --- steps --- */

static void push_control(PlanBuild *b, PlanStepKind kind, uint32_t number, uint32_t count,
                         const uint32_t *buffers, const char *nodes)
{
    PlanStep step = {.kind = kind,
                     .kernel = number,
                     .buffer_count = count,
                     .buffers = buffers,
                     .dims = buffers,
                     .flops = plan_build_code(b, expr_const(b->cx, 0)),
                     .picks = "",
                     .nodes = nodes ? nodes : "",
                     .why = "",
                     .schedule = ""};
    plan_build_push(b, &step, false);
}

/* The step has told the extents of the tensors made since `first`: sizes may use them in the next
 * block. */
static void dims_bound(PlanBuild *b, uint32_t first)
{
    for (uint32_t i = 0; i < b->plan->dim_count; i++)
        if (b->plan->dims[i].tensor >= first && !b->known[i]) {
            b->known[i] = true;
            b->regions[b->scope->region].closed = true;
        }
}

/* A tensor that is aligned to its elements: constants in files may not be. */
static uint32_t aligned_tensor(PlanBuild *b, const Tensor *tensor)
{
    uint32_t made = plan_build_tensor(b, tensor);
    const PlanTensor *t = &b->plan->tensors[made];
    if (t->place != PP_weight || b->plan->weights[t->index].file == PLAN_INLINE)
        return made;
    uintptr_t known = (uintptr_t)map_find(&b->aligned, &made, sizeof made);
    if (known)
        return (uint32_t)(known - 1);
    uint32_t copy = plan_build_add(b, PP_init, 0, tensor);
    plan_build_copy(b, made, copy, true, "");
    map_set(&b->aligned, &made, sizeof made, (void *)((uintptr_t)copy + 1));
    return copy;
}

/* Where a result lies whose extents the step tells, or that has a place already. */
static uint32_t result_tensor(PlanBuild *b, const Tensor *part)
{
    uint32_t *slot = &b->scope->tensors[part->id];
    if (*slot)
        return *slot - 1;
    bool fixed = part->dtype != DT_string;
    for (int d = 0; d < part->rank; d++)
        fixed &= plan_build_known(b, part->shape[d]);
    if (fixed)
        return plan_build_tensor(b, part);
    *slot = plan_build_binding(b, PP_own, part) + 1;
    return *slot - 1;
}

static uint32_t result_alias(PlanBuild *b, const Tensor *part)
{
    if (!part)
        return PLAN_NONE;
    uint32_t *slot = &b->scope->tensors[part->id];
    *slot = plan_build_binding(b, PP_alias, part) + 1;
    return *slot - 1;
}

bool plan_build_host(PlanBuild *b, const GraphNode *node, Tensor *const *parts)
{
    Arena *arena = b->cx->arena;
    uint32_t results = (uint32_t)node->attrs[AT_dtypes].count, first = b->plan->tensor_count;
    uint32_t inputs = (uint32_t)node->input_count;
    uint32_t *dtypes = NEW_ARRAY(arena, uint32_t, results);
    uint32_t *buffers = NEW_ARRAY(arena, uint32_t, inputs + results);
    const char *name = node->attrs[AT_host].name;
    if (!host_find(name)) {
        cx_fail(b->cx, ST_unsupported, "no host operation '%.60s'", name);
        return false;
    }
    for (uint32_t i = 0; i < inputs; i++)
        buffers[i] = aligned_tensor(b, node->inputs[i]);
    for (uint32_t i = 0; i < results; i++) {
        dtypes[i] = (uint32_t)node->attrs[AT_dtypes].ints[i];
        buffers[inputs + i] = parts[i] ? result_tensor(b, parts[i]) : PLAN_NONE;
    }
    PlanHost host = {name, inputs, results, dtypes};
    VEC_PUSH(arena, b->plan->hosts, b->plan->host_count, b->host_cap, host);
    push_control(b, PS_host, b->plan->host_count - 1, inputs + results, buffers, node->source);
    dims_bound(b, first);
    return !cx_failed(b->cx);
}

/* --- loops --- */

/* A step of the body writes it, wherever it is told to. */
static bool written_inside(const Tensor *tensor, bool by_kernel)
{
    const GraphNode *node = tensor->producer;
    if (node->op == OP_constant || node->op == OP_input || (by_kernel && node->op == OP_part))
        return false;
    return node->op != OP_part || node->inputs[0]->producer->op == OP_host;
}

static bool all_known(PlanBuild *b, const Tensor *tensor)
{
    for (int d = 0; d < tensor->rank; d++)
        if (!plan_build_known(b, tensor->shape[d]))
            return false;
    return true;
}

/* The tensors of captures and counter, the carried values as an iteration finds them. */
static void enter_loop_body(PlanBuild *b, const Graph *body, PlanLoop *loop,
                            const uint32_t *captures)
{
    PlanScope *scope = b->scope;
    uint32_t carried = loop->carried_count, first = b->plan->tensor_count;
    loop->counter = PLAN_NONE;
    if (body->inputs[0]->uses) {
        loop->counter = plan_build_add(b, PP_own, 0, body->inputs[0]);
        scope->tensors[body->inputs[0]->id] = loop->counter + 1;
    }
    for (uint32_t i = 0; i < carried; i++)
        loop->carried[i].in = result_alias(b, body->inputs[1 + i]);
    for (uint32_t i = 1 + carried; i < body->input_count; i++)
        scope->tensors[body->inputs[i]->id] = captures[i - 1 - carried] + 1;
    dims_bound(b, first);
    b->regions[scope->region].closed = true;
}

static void claim_outputs(PlanBuild *b, const Graph *body, const PlanLoop *loop, uint32_t until,
                          Tensor *const *parts)
{
    uint8_t *claims = b->scope->claims;
    for (uint32_t i = until; i < body->output_count; i++) {
        const Tensor *out = body->outputs[i];
        bool carried = i - until < loop->carried_count;
        if (claims[out->id] || (!carried && (!parts[i - until] || !b->slices)) ||
            !written_inside(out, !carried) || (!carried && !all_known(b, out)))
            continue;
        claims[out->id] = (uint8_t)(1 + (carried ? PP_own : PP_alias));
    }
}

static void carried_outputs(PlanBuild *b, const Graph *body, PlanLoop *loop, uint32_t until)
{
    static const char why[] = "the carried value is also something else";
    uint8_t *claims = b->scope->claims;
    for (uint32_t i = 0; i < loop->carried_count; i++) {
        const Tensor *out = body->outputs[until + i];
        uint32_t made = plan_build_tensor(b, out);
        if (claims[out->id] == 1 + PP_own) {
            claims[out->id] = 1 + PP_slab; /* the next one takes a copy */
            loop->carried[i].out = made;
        } else {
            loop->carried[i].out = plan_build_add(b, PP_own, 0, out);
            plan_build_copy(b, made, loop->carried[i].out, false, why);
        }
    }
}

static void stacked_outputs(PlanBuild *b, const Graph *body, PlanLoop *loop, uint32_t until,
                            Tensor *const *parts)
{
    uint8_t *claims = b->scope->claims;
    loop->stacked = NEW_ARRAY(b->cx->arena, PlanStacked, body->output_count);
    for (uint32_t i = until + loop->carried_count; i < body->output_count; i++) {
        const Tensor *out = body->outputs[i];
        if (!parts[i - until])
            continue;
        bool in_place = claims[out->id] == 1 + PP_alias;
        if (in_place)
            claims[out->id] = 1 + PP_slab;
        loop->stacked[loop->stacked_count++] =
            (PlanStacked){plan_build_tensor(b, out), in_place, PLAN_NONE};
    }
}

/* How often the body runs in a run. The number of iterations is known when it follows from the
 * sizes of the inputs, which are those of the graph around all bodies. */
static const Expr *body_times(PlanBuild *b, const PlanScope *around, const GraphNode *node)
{
    const Tensor *trip = node->inputs[0];
    bool fixed = trip->elements && (!around->around || trip->elements[0]->kind == EX_const);
    if (node->attrs[AT_until].i || !fixed || !around->times)
        return NULL;
    const Expr *times =
        expr_mul(b->cx, around->times, expr_max(b->cx, trip->elements[0], expr_const(b->cx, 0)));
    return expr_is_poison(times) ? NULL : times;
}

static bool compile_loop_body(PlanBuild *b, const GraphNode *node, PlanLoop *loop,
                              Tensor *const *parts, const uint32_t *captures, CompileBody *compile,
                              void *user)
{
    Graph *body = node->bodies[0];
    uint32_t until = (uint32_t)node->attrs[AT_until].i;
    plan_build_enter(b, body);
    loop->region = b->scope->region;
    b->scope->times = body_times(b, b->scope->around, node);
    claim_outputs(b, body, loop, until, parts);
    enter_loop_body(b, body, loop, captures);
    if (!compile(user, body))
        return false;
    carried_outputs(b, body, loop, until);
    stacked_outputs(b, body, loop, until, parts);
    loop->again = until ? plan_build_tensor(b, body->outputs[0]) : PLAN_NONE;
    plan_build_leave(b);
    return !cx_failed(b->cx);
}

static uint32_t *tensors_of(PlanBuild *b, int count, Tensor *const *list)
{
    uint32_t *tensors = NEW_ARRAY(b->cx->arena, uint32_t, count);
    for (int i = 0; i < count; i++)
        tensors[i] = aligned_tensor(b, list[i]);
    return tensors;
}

bool plan_build_loop(PlanBuild *b, const GraphNode *node, Tensor *const *parts,
                     CompileBody *compile, void *user)
{
    PlanLoop loop = {.carried_count = (uint32_t)node->attrs[AT_carried].i};
    uint32_t count = (uint32_t)node->input_count;
    uint32_t *inputs = tensors_of(b, node->input_count, node->inputs);
    loop.trip = inputs[0];
    loop.condition = inputs[1];
    loop.carried = NEW_ARRAY(b->cx->arena, PlanCarried, loop.carried_count);
    if (!compile_loop_body(b, node, &loop, parts, inputs + 2 + loop.carried_count, compile, user))
        return false;
    uint32_t first = b->plan->tensor_count, stacked = 0;
    for (uint32_t i = 0; i < loop.carried_count; i++) {
        loop.carried[i].initial = inputs[2 + i];
        loop.carried[i].result = result_alias(b, parts[i]);
    }
    for (int i = (int)loop.carried_count; i < node->attrs[AT_dtypes].count; i++) {
        if (!parts[i])
            continue;
        if (plan_bytes(parts[i]->dtype, 2) < 2)
            cx_fail(b->cx, ST_unsupported, "a loop stacks values of type %s",
                    dtype_name(parts[i]->dtype));
        loop.stacked[stacked++].result = result_tensor(b, parts[i]);
    }
    VEC_PUSH(b->cx->arena, b->plan->loops, b->plan->loop_count, b->loop_cap, loop);
    push_control(b, PS_loop, b->plan->loop_count - 1, count, inputs, node->source);
    dims_bound(b, first);
    return !cx_failed(b->cx);
}

/* --- branches --- */

static bool compile_side(PlanBuild *b, const GraphNode *node, int side, const uint32_t *inputs,
                         Tensor *const *parts, PlanBranch *branch, CompileBody *compile, void *user)
{
    Graph *body = node->bodies[side];
    plan_build_enter(b, body);
    *(side ? &branch->no : &branch->yes) = b->scope->region;
    for (uint32_t i = 0; i < body->input_count; i++)
        b->scope->tensors[body->inputs[i]->id] = inputs[1 + i] + 1;
    if (!compile(user, body))
        return false;
    uint32_t merge = 0;
    for (uint32_t i = 0; i < body->output_count; i++)
        if (parts[i]) {
            uint32_t made = aligned_tensor(b, body->outputs[i]);
            *(side ? &branch->merges[merge].no : &branch->merges[merge].yes) = made;
            merge++;
        }
    branch->merge_count = merge;
    plan_build_leave(b);
    return !cx_failed(b->cx);
}

bool plan_build_branch(PlanBuild *b, const GraphNode *node, Tensor *const *parts,
                       CompileBody *compile, void *user)
{
    uint32_t *inputs = tensors_of(b, node->input_count, node->inputs);
    PlanBranch branch = {.condition = inputs[0]};
    branch.merges = NEW_ARRAY(b->cx->arena, PlanMerge, node->attrs[AT_dtypes].count);
    for (int side = 0; side < 2; side++)
        if (!compile_side(b, node, side, inputs, parts, &branch, compile, user))
            return false;
    uint32_t first = b->plan->tensor_count, merge = 0;
    for (int i = 0; i < node->attrs[AT_dtypes].count; i++)
        if (parts[i])
            branch.merges[merge++].result = result_alias(b, parts[i]);
    VEC_PUSH(b->cx->arena, b->plan->branches, b->plan->branch_count, b->branch_cap, branch);
    push_control(b, PS_branch, b->plan->branch_count - 1, (uint32_t)node->input_count, inputs,
                 node->source);
    dims_bound(b, first);
    return !cx_failed(b->cx);
}
