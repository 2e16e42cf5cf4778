/* What a plan does at load. Its nests are noted while the groups of a graph are compiled, and made
 * kernels when all are known, so that those which differ in sizes only become one (generalise): a
 * kernel that runs once is not worth code of its own. */
#include "jit/compile_impl.h"

#include "passes/generalise.h"

static bool all_const(const Tensor *tensor)
{
    for (int d = 0; d < tensor->rank; d++)
        if (tensor->shape[d]->kind != EX_const)
            return false;
    return true;
}

bool compile_is_init(const Compile *c, const GroupInfo *group)
{
    if (!group->init)
        return false;
    for (uint32_t i = 0; i < group->node_count; i++) {
        const GraphNode *node = group->nodes[i];
        if (!all_const(node->output))
            return false;
        for (int k = 0; k < node->input_count; k++) {
            const Tensor *input = node->inputs[k];
            if (!group->group.inside[input->id] && input->producer->op != OP_constant &&
                !c->build->scope->init[input->id])
                return false;
        }
    }
    for (uint32_t o = 0; o < c->equal->output_count; o++)
        if (c->equal->outputs[o] == group->group.roots[0])
            return false; /* the caller's memory is there only in a run */
    return true;
}

void compile_init_group(Compile *c, const GroupInfo *group, const LoweredGroup *lowered,
                        const char *stem)
{
    uint32_t *tensors = NEW_ARRAY(c->cx->arena, uint32_t, lowered->tensor_count);
    for (uint32_t i = 0; i < lowered->tensor_count; i++)
        tensors[i] = plan_build_tensor(c->build, lowered->tensors[i]);
    InitNest init = {.nest = lowered->nest,
                     .tensors = tensors,
                     .stem = stem,
                     .why = group->why ? group->why : "",
                     .nodes = compile_nodes(c->cx, group),
                     .where = c->cx->where,
                     .group = group,
                     .lowered = *lowered};
    VEC_PUSH(c->cx->arena, c->init, c->init_count, c->init_cap, init);
}

uint32_t compile_pack(Compile *c, const PackedConst *pack, const Buffer *as, uint32_t from,
                      const char *nodes)
{
    Text key;
    text_init(&key, c->cx->arena);
    compile_name_buffers(c->cx, pack->nest);
    nest_print(&key, pack->nest);
    text_add(&key, "%u", from);
    uintptr_t known = (uintptr_t)map_find_text(&c->build->packs, key.data);
    if (known)
        return (uint32_t)(known - 1);
    uint32_t packed = plan_build_buffer(c->build, as, true);
    map_set_text(&c->build->packs, key.data, (void *)((uintptr_t)packed + 1));
    const uint32_t tensors[] = {from, packed};
    InitNest init = {.nest = pack->nest,
                     .tensors = arena_copy(c->cx->arena, tensors, sizeof tensors),
                     .stem = "pack",
                     .why = "",
                     .nodes = nodes,
                     .where = c->cx->where};
    VEC_PUSH(c->cx->arena, c->init, c->init_count, c->init_cap, init);
    return packed;
}

/* --- kernels and steps --- */

/* A nest that was made a kernel. */
typedef struct Made {
    uint32_t kernel;
    TileProg *prog;
    const char *schedule;
} Made;

static const Made *make_kernel(Compile *c, const InitNest *init, Nest *nest, Map *made)
{
    Made *m = map_find(made, &nest, sizeof nest);
    if (m)
        return m;
    StepInfo info = {.init = true, .nodes = init->nodes};
    Lowered lowered;
    if (!compile_nest(c, nest, &info, &lowered))
        return NULL;
    m = NEW(c->cx->arena, Made);
    *m = (Made){plan_build_kernel(c->build, lowered.prog, init->stem), lowered.prog, info.schedule};
    map_set(made, &nest, sizeof nest, m);
    return m;
}

static bool make_step(Compile *c, const InitNest *init, const Generalised *general, Map *made)
{
    Cx *cx = c->cx;
    const Made *m = make_kernel(c, init, general->nest, made);
    if (!m)
        return false;
    const TileProg *prog = m->prog;
    StepInfo info = {.init = true,
                     .sizes = general->values,
                     .nodes = init->nodes,
                     .why = init->why,
                     .schedule = m->schedule,
                     .flops = compile_flops(cx, init->nest)};
    if (init->group)
        info.picks = compile_picks(cx, init->group, &init->lowered, prog);
    uint32_t *tensors = NEW_ARRAY(cx->arena, uint32_t, prog->buffer_count);
    for (uint32_t i = 0; i < prog->buffer_count; i++)
        tensors[i] = i < init->nest->buffer_count
                         ? init->tensors[i]
                         : plan_build_buffer(c->build, prog->buffers[i], true);
    plan_build_step(c->build, m->kernel, prog, tensors, &info);
    return !cx_failed(cx);
}

bool compile_init_steps(Compile *c)
{
    Arena *arena = c->cx->arena;
    Nest **nests = NEW_ARRAY(arena, Nest *, c->init_count);
    Generalised *general = NEW_ARRAY(arena, Generalised, c->init_count);
    Map made;
    map_init(&made, arena);
    for (uint32_t i = 0; i < c->init_count; i++)
        nests[i] = c->init[i].nest;
    generalise(c->cx, c->init_count, nests, c->options->caps, general);
    for (uint32_t i = 0; i < c->init_count && !cx_failed(c->cx); i++) {
        c->cx->where = c->init[i].where;
        if (!make_step(c, &c->init[i], &general[i], &made))
            return false;
    }
    c->cx->where = NULL;
    return !cx_failed(c->cx);
}
