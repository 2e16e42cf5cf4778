/* The pipeline:
 *
 *   graph -> the same with equal dims as one -> groups (fusion)
 *         -> for each group: nest -> schedule -> tile program -> kernel and step
 *            and for each constant it wants packed: a nest
 *         -> nests of the init plan, those that differ in sizes as one -> ... -> init steps
 *         -> code of the distinct kernels -> plan
 *
 * Nodes that are steps of their own (on the host, loops, branches) become that; bodies go the same
 * way, into regions of the plan. Groups that depend on weights only become init steps, unless their
 * sizes depend on dims. Before scheduling the buffers of a nest get names by position, so that
 * equal work in different places of a model is one kernel. */
#include "jit/compile_impl.h"

#include <string.h>

#include "codegen/c_print.h"
#include "passes/place_gpu.h"
#include "passes/nonempty.h"

const Expr *compile_flops(Cx *cx, const Nest *nest)
{
    const Expr *total = expr_const(cx, 0);
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_scalar && v->op != V_reduce)
            continue;
        const Expr *points = expr_const(cx, v->op == V_scalar && v->scalar == S_fma ? 2 : 1);
        for (int a = 0; a < nest->axis_count; a++)
            if ((v->axes | v->reduced) >> a & 1)
                points = expr_mul(cx, points, nest->axes[a].extent);
        total = expr_add(cx, total, points);
    }
    /* extents that depend on outer axes have no closed form here */
    for (int a = 0; a < nest->axis_count; a++)
        if (expr_uses(total, nest->axes[a].sym))
            return expr_const(cx, 0);
    return total;
}

void compile_name_buffers(Cx *cx, Nest *nest)
{
    nest->name = "k";
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        nest->buffers[i]->name = arena_printf(cx->arena, "b%u", i);
}

static const char *schedule_text(Cx *cx, const Schedule *schedule)
{
    Text text;
    text_init(&text, cx->arena);
    schedule_print(&text, schedule);
    return text.data;
}

/* Lines of a text as comments. */
static void add_comment(Text *out, const char *lines)
{
    do {
        int length = (int)strcspn(lines, "\n");
        text_add(out, "# %.*s\n", length, lines);
        lines += length + (lines[length] == '\n');
    } while (*lines);
}

static void keep_nest(Compile *c, const Nest *nest, const char *nodes)
{
    if (!(c->options->keep & KEEP_nest))
        return;
    add_comment(&c->nests, nodes);
    nest_print(&c->nests, nest);
}

/* Nest to program, and its text before placement, where that is kept. */
static bool make_program(Compile *c, Nest *nest, const Schedule *schedule, Lowered *lowered,
                         Text *unplaced)
{
    text_init(unplaced, c->cx->arena);
    if (!schedule_apply(c->cx, nest, schedule, c->options->caps, lowered))
        return false;
    if (c->options->keep & KEEP_tile)
        tile_print(unplaced, lowered->prog);
    return !target_is_gpu(c->options->caps) || place_gpu(lowered->prog);
}

static void keep_program(Compile *c, const TileProg *prog, const Text *unplaced, const char *nodes)
{
    if (c->options->keep & KEEP_tile) {
        add_comment(&c->tiles, nodes);
        text_put(&c->tiles, unplaced->data, unplaced->length);
    }
    if (prog->placed && c->options->keep & KEEP_placed) {
        add_comment(&c->placed, nodes);
        tile_print(&c->placed, prog);
    }
}

/* What was measured, if the nest takes it; else what the cost model says. Init steps are not tuned:
 * a record for equal work of a run is none for them, so that the nests which records are looked for
 * do not depend on schedules. */
static Schedule find_schedule(Compile *c, const Nest *nest, bool init)
{
    const CompileOptions *o = c->options;
    const Record *record = NULL;
    if (!init && o->records && o->records->count)
        record = records_find(o->records, record_nest(c->cx, nest), o->caps->name);
    if (record && record_fits(c->cx, nest, &record->schedule, o->caps))
        return record->schedule;
    c->out->refused += record != NULL;
    return schedule_choose(c->cx, nest, o->caps);
}

static void list_nest(Compile *c, const Nest *nest, const char *nodes)
{
    NestList *list = c->options->nests;
    Text text;
    Hash128 key = record_nest(c->cx, nest);
    for (uint32_t i = 0; i < list->count; i++)
        if (hash_equal(list->list[i].key, key)) {
            list->list[i].uses++;
            return;
        }
    text_init(&text, c->cx->arena);
    nest_print(&text, nest);
    NestUse use = {text.data, nodes, key, 1};
    VEC_PUSH(c->cx->arena, list->list, list->count, list->capacity, use);
}

/* Not all that a program reads can have guards: where such an index is not proven, as proofs know
 * only so many ways in which open extents agree, the nest is made by maps, which can. */
bool compile_nest(Compile *c, Nest *nest, StepInfo *info, Lowered *lowered)
{
    Cx *cx = c->cx;
    Text unplaced;
    if (c->options->nests && !info->init)
        list_nest(c, nest, info->nodes);
    Schedule schedule = find_schedule(c, nest, info->init);
    bool made = make_program(c, nest, &schedule, lowered, &unplaced);
    if (!made && lowered->prog->unproven) {
        cx_recover(cx);
        schedule = schedule_plain(cx, nest, c->options->caps);
        made = make_program(c, nest, &schedule, lowered, &unplaced);
    }
    if (!made)
        return false;
    info->schedule = schedule_text(cx, &schedule);
    info->flops = compile_flops(cx, nest);
    keep_nest(c, nest, info->nodes);
    keep_program(c, lowered->prog, &unplaced, info->nodes);
    return !cx_failed(cx);
}

/* --- groups --- */

/* The node that picks by a bound symbol, or the root's. */
static const char *bind_source(const GroupInfo *group, const LoweredGroup *lowered, const Expr *sym)
{
    for (uint32_t i = 0; i < lowered->bind_count; i++)
        if (strcmp(lowered->binds[i].sym->name, sym->name) == 0 && lowered->binds[i].source)
            return lowered->binds[i].source;
    const char *root = group->group.roots[0]->producer->source;
    return root ? root : "";
}

const char *compile_picks(Cx *cx, const GroupInfo *group, const LoweredGroup *lowered,
                          const TileProg *prog)
{
    Text text;
    text_init(&text, cx->arena);
    const Expr *sym;
    for (int k = 0; (sym = tile_bind_sym(prog, k)); k++)
        text_add(&text, "%s%s", k ? "\n" : "", bind_source(group, lowered, sym));
    return text.length ? text.data : "";
}

const char *compile_nodes(Cx *cx, const GroupInfo *group)
{
    Text text;
    Map seen;
    text_init(&text, cx->arena);
    map_init(&seen, cx->arena);
    for (uint32_t i = 0; i < group->node_count; i++) {
        const char *source = group->nodes[i]->source;
        if (source && !map_set_text(&seen, source, &seen))
            text_add(&text, "%s%s", text.length ? "\n" : "", source);
    }
    return text.length ? text.data : "";
}

/* What the kernel is called after: its heaviest operation. */
static const char *stem(const GroupInfo *group)
{
    GraphOp found = group->group.roots[0]->producer->op;
    for (uint32_t i = 0; i < group->node_count; i++) {
        GraphOp op = group->nodes[i]->op;
        if (op == OP_conv || op == OP_matmul || op == OP_conv_transpose)
            return graph_op_name(op);
        if (op == OP_softmax || op == OP_normalize || op == OP_reduce || op == OP_window)
            found = op;
    }
    return graph_op_name(found);
}

/* Constants may be packed at load; in what is done at load itself that would be no gain. */
static void set_roles(const Compile *c, const LoweredGroup *group, bool init)
{
    for (uint32_t i = 0; i < group->nest->buffer_count; i++) {
        Buffer *buffer = group->nest->buffers[i];
        if (init && buffer->role == BUF_const)
            buffer->role = BUF_in;
        else if (!init && buffer->role == BUF_in && c->build->scope->init[group->tensors[i]->id])
            buffer->role = BUF_const;
    }
    if (init)
        group->nest->dim_count = group->nest->equal_count = 0;
}

/* A group on its way to a kernel. */
typedef struct Kernel {
    const GroupInfo *group;
    bool init; /* noted, not lowered further */
    LoweredGroup lowered_group;
    Lowered lowered;
    StepInfo info;
} Kernel;

static bool lower_kernel(Compile *c, Kernel *k, const NonEmpty *nonempty)
{
    LoweredGroup *lowered = &k->lowered_group;
    if (!lower_group(c->cx, nonempty->graph, &nonempty->group, nonempty->layouts, lowered))
        return false;
    /* Sizes as they are when there is nothing to compute, too. */
    for (uint32_t i = 0; i < lowered->tensor_count; i++)
        lowered->tensors[i] = c->equal->nodes[lowered->tensors[i]->producer->id]->output;
    c->cx->where = k->group->group.roots[0]->producer->source;
    c->build->scope->init[k->group->group.roots[0]->id] = k->init;
    set_roles(c, lowered, k->init);
    compile_name_buffers(c->cx, lowered->nest);
    return k->init || compile_nest(c, lowered->nest, &k->info, &k->lowered);
}

static bool compile_group(Compile *c, const GroupInfo *group)
{
    Cx *cx = c->cx;
    Kernel k = {.group = group,
                .init = compile_is_init(c, group),
                .info = {.nodes = compile_nodes(cx, group), .why = group->why ? group->why : ""}};
    NonEmpty nonempty;
    nonempty_group(cx, c->equal, &group->group, c->grouping->layouts, &nonempty);
    plan_build_stand_in(c->build, nonempty.count, nonempty.dims, nonempty.with);
    if (!lower_kernel(c, &k, &nonempty))
        return false;
    if (k.init) {
        compile_init_group(c, group, &k.lowered_group, stem(group));
        cx->where = NULL;
        return !cx_failed(cx);
    }
    TileProg *prog = k.lowered.prog;
    k.info.picks = compile_picks(cx, group, &k.lowered_group, prog);
    uint32_t *tensors = NEW_ARRAY(cx->arena, uint32_t, prog->buffer_count);
    for (uint32_t i = 0; i < prog->buffer_count; i++)
        tensors[i] = i < k.lowered_group.tensor_count
                         ? plan_build_tensor(c->build, k.lowered_group.tensors[i])
                         : plan_build_buffer(c->build, prog->buffers[i], false);
    for (int p = 0; p < k.lowered.pack_count; p++) {
        const PackedConst *pack = &k.lowered.packs[p];
        uint32_t *tensor = &tensors[pack->index];
        *tensor = compile_pack(c, pack, prog->buffers[pack->index], *tensor, k.info.nodes);
    }
    uint32_t kernel = plan_build_kernel(c->build, prog, stem(group));
    plan_build_step(c->build, kernel, prog, tensors, &k.info);
    cx->where = NULL;
    return !cx_failed(cx);
}

/* --- steps that are no kernels --- */

static bool compile_region(void *user, Graph *graph);

static bool compile_step(Compile *c, const GraphNode *node)
{
    Tensor **parts = NEW_ARRAY(c->cx->arena, Tensor *, node->attrs[AT_dtypes].count);
    for (uint32_t i = 0; i < c->graph->node_count; i++) {
        const GraphNode *part = c->graph->nodes[i];
        if (part->op == OP_part && part->inputs[0] == node->output)
            parts[part->attrs[AT_index].i] = part->output;
    }
    for (int i = 0; i < node->body_count; i++)
        graph_count_uses(node->bodies[i]);
    c->cx->where = node->source;
    bool done = node->op == OP_host   ? plan_build_host(c->build, node, parts)
                : node->op == OP_loop ? plan_build_loop(c->build, node, parts, compile_region, c)
                                      : plan_build_branch(c->build, node, parts, compile_region, c);
    c->cx->where = NULL;
    return done;
}

/* --- the whole --- */

static bool progress(const Compile *c, int64_t done, const char *what)
{
    const CompileOptions *o = c->options;
    int64_t total = (int64_t)c->grouping->count * 2;
    if (!o->progress || o->progress(o->progress_user, o->nests ? 0 : done, total, what))
        return true;
    cx_fail(c->cx, ST_cancelled, "the caller cancelled");
    return false;
}

static bool emit_texts(Compile *c, Compiled *out)
{
    Cx *cx = c->cx;
    TileProg **progs = NEW_ARRAY(cx->arena, TileProg *, c->build->text_count);
    Text text[3];
    for (int i = 0; i < 3; i++)
        text_init(&text[i], cx->arena);
    for (uint32_t i = 0; i < c->build->text_count; i++) {
        progs[i] = tile_parse(cx, c->build->texts[i].name, c->build->texts[i].text);
        if (cx_failed(cx))
            return false;
        progs[i]->name = c->build->texts[i].name;
    }
    int count = (int)c->build->text_count;
    const CompileOptions *o = c->options;
    if (o->keep & KEEP_source && c_print_all(cx, &text[2], progs, count, dialect_for(o->caps)))
        out->texts[6] = text[2].data;
    if (o->keep & KEEP_llvm && o->llvm &&
        o->llvm->text(cx, progs, count, o->caps, (LlvmOptions){0}, &text[0]))
        out->texts[3] = text[0].data;
    if (o->keep & KEEP_asm && o->llvm &&
        o->llvm->assembly(cx, progs, count, o->caps, (LlvmOptions){0}, &text[1]))
        out->texts[4] = text[1].data;
    return !cx_failed(cx);
}

static void give_texts(Compile *c, Compiled *out)
{
    Text graph;
    if (c->options->keep & KEEP_graph) {
        text_init(&graph, c->cx->arena);
        graph_print(&graph, c->graph);
        out->texts[0] = graph.data;
    }
    if (c->options->keep & KEEP_nest)
        out->texts[1] = c->nests.length ? c->nests.data : "";
    if (c->options->keep & KEEP_tile)
        out->texts[2] = c->tiles.length ? c->tiles.data : "";
    if (c->options->keep & KEEP_placed && target_is_gpu(c->options->caps))
        out->texts[5] = c->placed.length ? c->placed.data : "";
}

static bool compile_groups(Compile *c, bool whole)
{
    for (uint32_t g = 0; g < c->grouping->count; g++) {
        const GroupInfo *group = &c->grouping->groups[g];
        const GraphNode *root = c->graph->nodes[group->group.roots[0]->producer->id];
        if (whole && !progress(c, g, "lowering"))
            return false;
        if (!(tensor_is_bundle(root->output) ? compile_step(c, root) : compile_group(c, group)))
            return false;
    }
    return true;
}

static bool group_nodes(Compile *c, Graph *graph)
{
    c->graph = graph;
    c->dims = equal_dims(c->cx, graph);
    c->equal = c->dims.graph;
    c->grouping = group_graph(c->cx, c->equal, c->options->caps);
    return !cx_failed(c->cx);
}

/* A body: a graph of its own, whose scope is set up. */
static bool compile_region(void *user, Graph *graph)
{
    Compile *c = user, around = *c;
    bool grouped = group_nodes(c, graph);
    plan_build_shares(c->build, &c->dims);
    bool done = grouped && compile_groups(c, false);
    c->graph = around.graph;
    c->dims = around.dims;
    c->equal = around.equal;
    c->grouping = around.grouping;
    return done;
}

bool compile_graph(Cx *cx, Graph *graph, const CompileOptions *options, Compiled *out)
{
    Compile *c = NEW(cx->arena, Compile);
    *c = (Compile){.cx = cx, .options = options, .out = out};
    *out = (Compiled){0};
    text_init(&c->nests, cx->arena);
    text_init(&c->tiles, cx->arena);
    text_init(&c->placed, cx->arena);
    if (!group_nodes(c, graph))
        return false;
    c->build = plan_build(cx, graph, &c->dims, options->file_count, options->files);
    c->build->plan->target = options->caps->name;
    c->build->slices = options->caps->kind == TK_cpu;
    if (cx_failed(cx) || !compile_groups(c, true) || !compile_init_steps(c))
        return false;
    give_texts(c, out);
    out->plan = plan_build_finish(c->build);
    if (out->plan && options->nests)
        return true;
    if (!out->plan || !progress(c, c->grouping->count, "generating code"))
        return false;
    if (options->keep & (KEEP_llvm | KEEP_asm | KEEP_source) && !emit_texts(c, out))
        return false;
    EmitOptions emit = {options->caps, options->kind, options->llvm, options->threads};
    return emit_code(cx, &emit, c->build->texts, c->build->text_count, &out->code);
}
