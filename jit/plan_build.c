/* Plans from graphs. A tensor's place follows from what it is:
 *
 *   input           PP_input
 *   constant        PP_weight: where it lies in a file of the model; the plan carries literals
 *   output          PP_output: the first name of a tensor that a step writes, in place. What else
 *                   is an output (a second name, an input, a constant) is copied at the end
 *   weights only    PP_init
 *   results of loops and branches, carried values
 *                   PP_alias, PP_own (plan_build_steps.c)
 *   the rest        PP_slab
 *
 * Kernels are named by the hash of their text, so names say what the code is and nothing of the
 * model. */
#include "jit/plan_build_impl.h"

#include <string.h>

#include "base/hash.h"
#include "codegen/c_print.h"

/* --- expressions --- */

typedef struct Slots {
    const Expr *const *syms;
    uint32_t count;
    const PlanBuild *stand_ins; /* or NULL */
} Slots;

static int find_slot(void *user, const Expr *sym)
{
    const Slots *slots = user;
    const PlanBuild *b = slots->stand_ins;
    for (uint32_t i = 0; b && i < b->stand_in_count; i++)
        if (b->stand_ins[i] == sym)
            sym = b->stood_for[i];
    for (uint32_t i = 0; i < slots->count; i++)
        if (slots->syms[i] == sym)
            return (int)i;
    return -1;
}

void plan_build_stand_in(PlanBuild *b, uint32_t count, const Expr *const *dims,
                         const Expr *const *with)
{
    b->stand_in_count = count;
    b->stood_for = dims;
    b->stand_ins = with;
}

ExprCode plan_build_code(PlanBuild *b, const Expr *e)
{
    Slots slots = {b->dims, b->plan->dim_count, b};
    return expr_compile(b->cx, e, find_slot, &slots);
}

typedef struct Known {
    const PlanBuild *b;
    bool all;
} Known;

static void look_known(void *user, const Expr *sym)
{
    Known *k = user;
    Slots slots = {k->b->dims, k->b->plan->dim_count, k->b};
    int slot = find_slot(&slots, sym);
    k->all &= slot >= 0 && k->b->known[slot];
}

bool plan_build_known(PlanBuild *b, const Expr *e)
{
    Known known = {b, true};
    expr_symbols(b->cx, e, look_known, &known);
    return known.all;
}

/* --- tensors --- */

uint32_t plan_build_add(PlanBuild *b, PlanPlace place, uint32_t index, const Tensor *like)
{
    PlanTensor tensor = {.dtype = like->dtype, .place = place, .index = index, .rank = like->rank};
    for (int d = 0; d < like->rank; d++)
        tensor.shape[d] = plan_build_code(b, like->shape[d]);
    Plan *plan = b->plan;
    VEC_PUSH(b->cx->arena, plan->tensors, plan->tensor_count, b->tensor_cap, tensor);
    return plan->tensor_count - 1;
}

static int slot_of(PlanBuild *b, const Expr *sym)
{
    Slots slots = {b->dims, b->plan->dim_count, NULL};
    return find_slot(&slots, sym);
}

static void add_dim(PlanBuild *b, const Expr *sym, const PlanDim *dim, bool is_known)
{
    uint32_t count = b->plan->dim_count, known = count;
    VEC_PUSH(b->cx->arena, b->dims, count, b->sym_cap, sym);
    VEC_PUSH(b->cx->arena, b->known, known, b->known_cap, is_known);
    VEC_PUSH(b->cx->arena, b->plan->dims, b->plan->dim_count, b->dim_cap, *dim);
}

/* Dims for the scope's shares of those that the plan has by now. */
static void add_shares(PlanBuild *b)
{
    const EqualDims *equal = b->scope->equal;
    for (uint32_t i = 0; equal && i < equal->share_count; i++) {
        const DimShare *share = &equal->shares[i];
        int whole = slot_of(b, share->whole);
        if (whole < 0 || slot_of(b, share->sym) >= 0)
            continue;
        PlanDim dim = b->plan->dims[whole];
        dim = (PlanDim){
            dim.name, 0, INT64_MAX, 1, dim.tensor, dim.axis, plan_build_code(b, share->by)};
        add_dim(b, share->sym, &dim, b->known[whole]);
    }
}

void plan_build_shares(PlanBuild *b, const EqualDims *equal)
{
    b->scope->equal = arena_copy(b->cx->arena, equal, sizeof *equal);
    add_shares(b);
}

/* The dims whose source the tensor is, which has or will have this number. */
static void add_dims(PlanBuild *b, const Tensor *tensor, uint32_t number)
{
    const ExprCode one = plan_build_code(b, expr_const(b->cx, 1));
    const DimSource *sources = graph_dim_sources(b->scope->graph);
    for (uint32_t i = 0; i < b->scope->graph->dim_count; i++) {
        const Expr *sym = b->scope->graph->dims[i];
        if (sources[i].tensor != tensor)
            continue;
        PlanDim dim = {sym->name, sym->lo,
                       sym->hi,   sym->div > 1 ? sym->div : 1,
                       number,    (uint32_t)sources[i].axis,
                       one};
        add_dim(b, sym, &dim, false);
    }
}

uint32_t plan_build_binding(PlanBuild *b, PlanPlace place, const Tensor *tensor)
{
    add_dims(b, tensor, b->plan->tensor_count);
    add_shares(b);
    return plan_build_add(b, place, 0, tensor);
}

static uint32_t weight_of(PlanBuild *b, const Tensor *tensor)
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

/* A constant is one tensor of the plan, in whichever graphs it is. */
static uint32_t constant_of(PlanBuild *b, const Tensor *tensor)
{
    struct {
        const void *data;
        int64_t type, shape[MAX_RANK];
    } key;
    memset(&key, 0, sizeof key);
    key.data = tensor->data;
    key.type = (int)tensor->dtype * (MAX_RANK + 1) + tensor->rank;
    for (int d = 0; d < tensor->rank; d++)
        key.shape[d] = tensor->shape[d]->value;
    uintptr_t known = tensor->data ? (uintptr_t)map_find(&b->weights, &key, sizeof key) : 0;
    if (known)
        return (uint32_t)(known - 1);
    uint32_t made = plan_build_add(b, PP_weight, weight_of(b, tensor), tensor);
    if (tensor->data)
        map_set(&b->weights, &key, sizeof key, (void *)((uintptr_t)made + 1));
    return made;
}

uint32_t plan_build_tensor(PlanBuild *b, const Tensor *tensor)
{
    uint32_t *slot = &b->scope->tensors[tensor->id];
    if (*slot)
        return *slot - 1;
    uint8_t claim = b->scope->claims[tensor->id];
    uint32_t made;
    if (tensor->producer->op == OP_constant)
        made = constant_of(b, tensor);
    else
        made = plan_build_add(b,
                              claim                        ? (PlanPlace)(claim - 1)
                              : b->scope->init[tensor->id] ? PP_init
                                                           : PP_slab,
                              0, tensor);
    *slot = made + 1;
    return made;
}

uint32_t plan_build_buffer(PlanBuild *b, const Buffer *buffer, bool init)
{
    Tensor like = {.dtype = buffer->dtype, .rank = buffer->rank, .shape = buffer->shape};
    return plan_build_add(b, init ? PP_init : PP_slab, 0, &like);
}

/* --- the plan without steps --- */

static void set_port(PlanPort *port, const char *name, const Tensor *tensor, uint32_t made)
{
    *port = (PlanPort){.name = name ? name : "", .tensor = made};
    for (int d = 0; d < tensor->rank; d++)
        port->symbols[d] = tensor->shape[d]->kind == EX_sym ? tensor->shape[d]->name : "";
}

static void set_inputs(PlanBuild *b, const Graph *graph)
{
    Plan *plan = b->plan;
    plan->input_count = graph->input_count;
    plan->inputs = NEW_ARRAY(b->cx->arena, PlanPort, graph->input_count);
    const DimSource *sources = graph_dim_sources(graph);
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (!sources[i].tensor)
            cx_fail(b->cx, ST_unsupported, "no input has the dim '%s'", graph->dims[i]->name);
    /* an extent of one input may be an expression over the dims of a later one */
    for (uint32_t i = 0; i < graph->input_count; i++)
        add_dims(b, graph->inputs[i], i);
    add_shares(b);
    for (uint32_t i = 0; i < graph->input_count && !cx_failed(b->cx); i++) {
        const Tensor *t = graph->inputs[i];
        uint32_t made = plan_build_add(b, PP_input, i, t);
        b->scope->tensors[t->id] = made + 1;
        set_port(&plan->inputs[i], t->name, t, made);
    }
    for (uint32_t i = 0; i < plan->dim_count; i++)
        b->known[i] = true;
}

/* Results of these steps are where another tensor lies. */
static bool is_alias(const Tensor *tensor)
{
    const GraphNode *node = tensor->producer;
    if (node->op != OP_part)
        return false;
    const GraphNode *from = node->inputs[0]->producer;
    return from->op == OP_branch ||
           (from->op == OP_loop && node->attrs[AT_index].i < from->attrs[AT_carried].i);
}

static bool in_memory(const Tensor *tensor)
{
    return tensor->producer->op == OP_constant || tensor->producer->op == OP_input;
}

/* Outputs whose size the inputs decide are the caller's memory; for the others plan_build_finish
 * finds a tensor. */
static void set_outputs(PlanBuild *b, const Graph *graph)
{
    const Graph *equal = b->scope->equal->graph;
    Plan *plan = b->plan;
    plan->output_count = graph->output_count;
    plan->outputs = NEW_ARRAY(b->cx->arena, PlanPort, graph->output_count);
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const Tensor *t = graph->outputs[i];
        if (t->producer->op != OP_part) /* which binds its own dims */
            t = equal->outputs[i];
        bool fixed = t->dtype != DT_string;
        for (int d = 0; d < t->rank; d++)
            fixed &= plan_build_known(b, t->shape[d]);
        uint32_t made = fixed ? plan_build_add(b, PP_output, i, t) : PLAN_NONE;
        if (fixed && !b->scope->tensors[t->id] && !in_memory(t) && !is_alias(t))
            b->scope->tensors[t->id] = made + 1;
        set_port(&plan->outputs[i], graph->output_names[i], t, made);
    }
}

PlanBuild *plan_build(Cx *cx, const Graph *graph, const EqualDims *equal, uint32_t file_count,
                      const FileRange *files)
{
    PlanBuild *b = NEW(cx->arena, PlanBuild);
    *b = (PlanBuild){.cx = cx, .file_count = file_count, .files = files};
    b->plan = NEW(cx->arena, Plan);
    b->plan->target = "";
    map_init(&b->kernels, cx->arena);
    map_init(&b->packs, cx->arena);
    map_init(&b->weights, cx->arena);
    map_init(&b->aligned, cx->arena);
    plan_build_enter(b, graph);
    plan_build_shares(b, equal);
    set_inputs(b, graph);
    set_outputs(b, graph);
    plan_build_block(b);
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
    Slots slots = {prog->dims, prog->dim_count, NULL};
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
    uint32_t *least = NEW_ARRAY(arena, uint32_t, prog->dim_count);
    for (uint32_t d = 0; d < prog->dim_count; d++)
        least[d] = prog->dims[d]->lo < UINT32_MAX ? (uint32_t)prog->dims[d]->lo : UINT32_MAX;
    kernel.least = least;
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

void plan_build_step(PlanBuild *b, uint32_t kernel, const TileProg *prog, const uint32_t *tensors,
                     const StepInfo *info)
{
    Arena *arena = b->cx->arena;
    Slots slots = {b->dims, b->plan->dim_count, b};
    uint32_t *dims = NEW_ARRAY(arena, uint32_t, prog->dim_count);
    for (uint32_t d = 0; d < prog->dim_count; d++) {
        int slot = info->init ? (int)info->sizes[d] : find_slot(&slots, prog->dims[d]);
        if (slot < 0)
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
                     .flops = plan_build_code(b, flops),
                     .picks = info->picks ? info->picks : "",
                     .nodes = info->nodes,
                     .why = info->why,
                     .schedule = info->schedule};
    plan_build_push(b, &step, info->init);
}

void plan_build_copy(PlanBuild *b, uint32_t from, uint32_t to, bool init, const char *why)
{
    const uint32_t buffers[] = {from, to};
    PlanStep step = {.kind = PS_copy,
                     .buffer_count = 2,
                     .buffers = arena_copy(b->cx->arena, buffers, sizeof buffers),
                     .flops = plan_build_code(b, expr_const(b->cx, 0)),
                     .picks = "",
                     .nodes = "",
                     .why = why,
                     .schedule = ""};
    step.dims = step.buffers;
    plan_build_push(b, &step, init);
}

static bool is_sessions(const PlanTensor *tensor)
{
    return tensor->place == PP_slab || tensor->place == PP_own || tensor->place == PP_alias;
}

static void finish_outputs(PlanBuild *b)
{
    static const char why[] = "the result is also an input, a constant or another result";
    const Graph *graph = b->scope->graph;
    for (uint32_t i = 0; i < graph->output_count && !cx_failed(b->cx); i++) {
        uint32_t from = plan_build_tensor(b, graph->outputs[i]), *to = &b->plan->outputs[i].tensor;
        if (*to == PLAN_NONE && is_sessions(&b->plan->tensors[from]))
            *to = from;
        else if (*to == PLAN_NONE)
            *to = plan_build_add(b, PP_own, 0, graph->outputs[i]);
        if (from != *to)
            plan_build_copy(b, from, *to, false, why);
    }
}

Plan *plan_build_finish(PlanBuild *b)
{
    finish_outputs(b);
    plan_build_leave(b);
    plan_build_gather(b);
    if (cx_failed(b->cx))
        return NULL;
    return plan_check(b->cx, b->plan) ? b->plan : NULL;
}
