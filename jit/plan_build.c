/* Plans from graphs. A tensor's place follows from what it is:
 *
 *   input           PP_input
 *   constant        PP_weight: where it lies in a file of the model; literals are carried by the
 * plan output          PP_output: the first name of a tensor that a kernel computes; kernels write
 * it in place. What else is an output (a second name, an input, a constant) is copied at the end
 *   weights only    PP_init
 *   the rest        PP_slab
 *
 * Kernels are named by the hash of their text, so names say what the code is and nothing of the
 * model. */
#include "jit/plan_build.h"

#include <string.h>

#include "base/hash.h"
#include "codegen/c_print.h"

/* --- expressions --- */

typedef struct Slots {
    const Expr *const *syms;
    uint32_t count;
} Slots;

static int find_slot(void *user, const Expr *sym)
{
    const Slots *slots = user;
    for (uint32_t i = 0; i < slots->count; i++)
        if (slots->syms[i] == sym)
            return (int)i;
    return -1;
}

static ExprCode code_of(PlanBuild *b, const Expr *e)
{
    Slots slots = {b->graph->dims, b->graph->dim_count};
    return expr_compile(b->cx, e, find_slot, &slots);
}

/* --- tensors --- */

static uint32_t add_tensor(PlanBuild *b, PlanPlace place, uint32_t index, Dtype dtype, int rank,
                           const Expr *const *shape)
{
    PlanTensor tensor = {.dtype = dtype, .place = place, .index = index, .rank = rank};
    for (int d = 0; d < rank; d++)
        tensor.shape[d] = code_of(b, shape[d]);
    Plan *plan = b->plan;
    VEC_PUSH(b->cx->arena, plan->tensors, plan->tensor_count, b->tensor_cap, tensor);
    return plan->tensor_count - 1;
}

static uint32_t add_weight(PlanBuild *b, const Tensor *tensor)
{
    const char *data = tensor->data;
    PlanWeight weight = {PLAN_INLINE, 0, tensor->bytes, data ? data : ""};
    for (uint32_t f = 0; f < b->file_count && data && tensor->bytes > 0; f++) {
        uintptr_t base = (uintptr_t)b->files[f].data, at = (uintptr_t)data;
        if (at >= base && at - base < b->files[f].size)
            weight = (PlanWeight){f, (int64_t)(at - base), tensor->bytes, NULL};
    }
    Plan *plan = b->plan;
    if (tensor->bytes < 0 || (!data && tensor->bytes))
        cx_fail(b->cx, ST_unsupported, "constant '%s' of type %s has no plain data",
                tensor->name ? tensor->name : "", dtype_name(tensor->dtype));
    VEC_PUSH(b->cx->arena, plan->weights, plan->weight_count, b->weight_cap, weight);
    return plan->weight_count - 1;
}

uint32_t plan_build_tensor(PlanBuild *b, const Tensor *tensor)
{
    uint32_t *slot = &b->tensors[tensor->id];
    if (*slot)
        return *slot - 1;
    bool constant = tensor->producer->op == OP_constant;
    uint32_t index = constant ? add_weight(b, tensor) : 0;
    PlanPlace place = constant ? PP_weight : b->init[tensor->id] ? PP_init : PP_slab;
    uint32_t made = add_tensor(b, place, index, tensor->dtype, tensor->rank,
                               (const Expr *const *)tensor->shape);
    *slot = made + 1;
    return made;
}

uint32_t plan_build_buffer(PlanBuild *b, const Buffer *buffer, bool init)
{
    return add_tensor(b, init ? PP_init : PP_slab, 0, buffer->dtype, buffer->rank,
                      (const Expr *const *)buffer->shape);
}

/* --- the plan without steps --- */

static void set_port(PlanBuild *b, PlanPort *port, const char *name, const Tensor *tensor,
                     uint32_t made)
{
    *port = (PlanPort){.name = name ? name : "", .tensor = made};
    for (int d = 0; d < tensor->rank; d++)
        port->symbols[d] = tensor->shape[d]->kind == EX_sym ? tensor->shape[d]->name : "";
    if (dtype_bits(tensor->dtype) <= 0)
        cx_fail(b->cx, ST_unsupported, "'%s' is of type %s, which has no plain data", port->name,
                dtype_name(tensor->dtype));
}

static void set_dim(PlanBuild *b, PlanDim *dim, const Expr *sym)
{
    for (uint32_t i = 0; i < b->graph->input_count; i++) {
        const Tensor *input = b->graph->inputs[i];
        for (int d = 0; d < input->rank; d++)
            if (input->shape[d] == sym) {
                *dim = (PlanDim){sym->name, sym->lo,    sym->hi, sym->div > 1 ? sym->div : 1,
                                 i,         (uint32_t)d};
                return;
            }
    }
    cx_fail(b->cx, ST_unsupported, "no input has the dim '%s'", sym->name);
}

static void set_ports(PlanBuild *b)
{
    const Graph *graph = b->graph;
    Plan *plan = b->plan;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const Tensor *t = graph->inputs[i];
        uint32_t made =
            add_tensor(b, PP_input, i, t->dtype, t->rank, (const Expr *const *)t->shape);
        b->tensors[t->id] = made + 1;
        set_port(b, &plan->inputs[i], t->name, t, made);
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const Tensor *t = graph->outputs[i];
        uint32_t made =
            add_tensor(b, PP_output, i, t->dtype, t->rank, (const Expr *const *)t->shape);
        if (!b->tensors[t->id] && t->producer->op != OP_constant)
            b->tensors[t->id] = made + 1;
        set_port(b, &plan->outputs[i], graph->output_names[i], t, made);
    }
}

PlanBuild *plan_build(Cx *cx, const Graph *graph, uint32_t file_count, const FileRange *files)
{
    Arena *arena = cx->arena;
    PlanBuild *b = NEW(arena, PlanBuild);
    Plan *plan = NEW(arena, Plan);
    uint32_t tensors = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= tensors)
            tensors = graph->nodes[i]->output->id + 1;
    *b = (PlanBuild){
        .cx = cx, .graph = graph, .file_count = file_count, .files = files, .plan = plan};
    b->tensors = NEW_ARRAY(arena, uint32_t, tensors);
    b->init = NEW_ARRAY(arena, bool, tensors);
    map_init(&b->kernels, arena);
    map_init(&b->packs, arena);
    plan->target = "";
    plan->dim_count = graph->dim_count;
    plan->dims = NEW_ARRAY(arena, PlanDim, graph->dim_count);
    for (uint32_t i = 0; i < graph->dim_count; i++)
        set_dim(b, &plan->dims[i], graph->dims[i]);
    plan->check_count = graph->check_count;
    plan->checks = NEW_ARRAY(arena, PlanCheck, graph->check_count);
    for (uint32_t i = 0; i < graph->check_count; i++) {
        const GraphCheck *c = &graph->checks[i];
        plan->checks[i] =
            (PlanCheck){code_of(b, c->a), code_of(b, c->b), c->or_one, c->source ? c->source : ""};
    }
    plan->input_count = graph->input_count;
    plan->inputs = NEW_ARRAY(arena, PlanPort, graph->input_count);
    plan->output_count = graph->output_count;
    plan->outputs = NEW_ARRAY(arena, PlanPort, graph->output_count);
    set_ports(b);
    return b;
}

/* --- kernels and steps --- */

static const char *kernel_name(PlanBuild *b, const char *stem, const Text *text)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(hash_bytes(text->data, text->length), hex);
    return arena_printf(b->cx->arena, "%.60s_%s", stem, hex);
}

static ExprCode tasks_of(PlanBuild *b, const TileProg *prog, const Grid *grid)
{
    Slots slots = {prog->dims, prog->dim_count};
    const Expr *tasks = expr_const(b->cx, 1);
    for (int d = 0; d < grid->rank; d++)
        tasks = expr_mul(b->cx, tasks, expr_max(b->cx, grid->extents[d], expr_const(b->cx, 0)));
    return expr_compile(b->cx, tasks, find_slot, &slots);
}

static PlanPhase phase_of(PlanBuild *b, const TileProg *prog, const Grid *grid)
{
    PlanPhase phase = {tasks_of(b, prog, grid), (uint32_t)grid->threads, 0};
    /* OpenCL kernels declare their shared memory themselves */
    if (prog->caps->kind == TK_cuda)
        phase.shared = (uint32_t)c_shared_bytes(prog, grid);
    return phase;
}

/* Whether some value of the operations is an index read from data. */
static bool has_bind(const TileBlock *block)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        for (uint32_t i = 0; i < op->value_count; i++)
            if (op->values[i]->op == V_bind)
                return true;
        if (has_bind(op->body) || has_bind(op->other))
            return true;
    }
    return false;
}

uint32_t plan_build_kernel(PlanBuild *b, TileProg *prog, const char *stem)
{
    Arena *arena = b->cx->arena;
    Text text;
    text_init(&text, arena);
    prog->name = "k";
    tile_print(&text, prog);
    uintptr_t known = (uintptr_t)map_find(&b->kernels, text.data, text.length);
    if (known)
        return (uint32_t)(known - 1);
    Plan *plan = b->plan;
    PlanPhase *phases = NEW_ARRAY(arena, PlanPhase, prog->grid_count);
    PlanKernel kernel = {.name = kernel_name(b, stem, &text),
                         .dim_count = prog->dim_count,
                         .buffer_count = prog->buffer_count,
                         .phase_count = prog->grid_count,
                         .phases = phases};
    if (prog->caps->kind == TK_cpu)
        kernel.scratch = tile_scratch_bytes(prog);
    for (uint32_t g = 0; g < prog->grid_count; g++) {
        phases[g] = phase_of(b, prog, prog->grids[g]);
        kernel.may_fail |= has_bind(&prog->grids[g]->body);
    }
    KernelText source = {kernel.name, text.data, text.length};
    VEC_PUSH(arena, b->texts, b->text_count, b->text_cap, source);
    VEC_PUSH(arena, plan->kernels, plan->kernel_count, b->kernel_cap, kernel);
    map_set(&b->kernels, text.data, text.length, (void *)(uintptr_t)plan->kernel_count);
    return plan->kernel_count - 1;
}

static void push_step(PlanBuild *b, const PlanStep *step, bool init)
{
    Plan *plan = b->plan;
    if (init)
        VEC_PUSH(b->cx->arena, plan->init, plan->init_count, b->init_cap, *step);
    else
        VEC_PUSH(b->cx->arena, plan->steps, plan->step_count, b->step_cap, *step);
}

void plan_build_step(PlanBuild *b, uint32_t kernel, const TileProg *prog, const uint32_t *tensors,
                     const StepInfo *info)
{
    Arena *arena = b->cx->arena;
    Slots slots = {b->graph->dims, b->graph->dim_count};
    uint32_t *dims = NEW_ARRAY(arena, uint32_t, prog->dim_count);
    for (uint32_t d = 0; d < prog->dim_count; d++) {
        int slot = find_slot(&slots, prog->dims[d]);
        if (slot < 0 || info->init)
            cx_fail(b->cx, ST_internal, "kernel '%s' uses the dim '%s'",
                    b->plan->kernels[kernel].name, prog->dims[d]->name);
        dims[d] = slot < 0 ? 0 : (uint32_t)slot;
    }
    const Expr *flops = expr_is_poison(info->flops) ? expr_const(b->cx, 0) : info->flops;
    PlanStep step = {.kind = PS_kernel,
                     .kernel = kernel,
                     .buffer_count = prog->buffer_count,
                     .buffers = arena_copy(arena, tensors, prog->buffer_count * sizeof *tensors),
                     .dim_count = prog->dim_count,
                     .dims = dims,
                     .flops = code_of(b, flops),
                     .nodes = info->nodes,
                     .why = info->why,
                     .schedule = info->schedule};
    push_step(b, &step, info->init);
}

Plan *plan_build_finish(PlanBuild *b)
{
    Cx *cx = b->cx;
    for (uint32_t i = 0; i < b->graph->output_count; i++) {
        uint32_t from = plan_build_tensor(b, b->graph->outputs[i]);
        uint32_t to = b->plan->outputs[i].tensor;
        if (from == to)
            continue;
        const uint32_t buffers[] = {from, to};
        PlanStep step = {.kind = PS_copy,
                         .buffer_count = 2,
                         .buffers = arena_copy(cx->arena, buffers, sizeof buffers),
                         .dims = buffers,
                         .flops = code_of(b, expr_const(cx, 0)),
                         .nodes = "",
                         .why = "the result is also an input, a constant or another result",
                         .schedule = ""};
        step.dims = step.buffers;
        push_step(b, &step, false);
    }
    if (cx_failed(cx))
        return NULL;
    return plan_check(cx, b->plan) ? b->plan : NULL;
}
