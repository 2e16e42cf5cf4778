/* What is used by what, and the order of nodes.
 *
 * A node needs its inputs, and the parts that bind the symbols of its shape and attributes: both
 * come before it. Sweeping walks from the inputs and outputs of the graph along these needs, so
 * what no output needs goes, and what remains stands in an order that depends on the graph alone.
 */
#include "ir/graph.h"

void graph_count_uses(Graph *graph)
{
    for (uint32_t i = 0; i < graph->node_count; i++)
        graph->nodes[i]->output->uses = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        for (int k = 0; k < graph->nodes[i]->input_count; k++)
            graph->nodes[i]->inputs[k]->uses++;
    for (uint32_t i = 0; i < graph->output_count; i++)
        graph->outputs[i]->uses++;
}

/* ---- symbols */

static void find_source(const Graph *graph, const Tensor *tensor, DimSource *sources)
{
    for (int d = 0; d < tensor->rank; d++)
        for (uint32_t i = 0; i < graph->dim_count && tensor->shape[d]->kind == EX_sym; i++)
            if (graph->dims[i] == tensor->shape[d] && !sources[i].tensor &&
                !(graph->outer && graph_is_outer(graph, tensor->shape[d])))
                sources[i] = (DimSource){tensor, d};
}

const DimSource *graph_dim_sources(const Graph *graph)
{
    DimSource *sources = NEW_ARRAY(graph->cx->arena, DimSource, graph->dim_count + 1);
    for (uint32_t i = 0; i < graph->input_count; i++)
        find_source(graph, graph->inputs[i], sources);
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->op == OP_part)
            find_source(graph, graph->nodes[i]->output, sources);
    return sources;
}

void graph_node_symbols(Cx *cx, const GraphNode *node, void (*visit)(void *user, const Expr *sym),
                        void *user)
{
    for (int d = 0; d < node->output->rank; d++)
        expr_symbols(cx, node->output->shape[d], visit, user);
    for (int a = 0; a < AT_count; a++)
        for (int i = 0; node->attrs[a].exprs && i < node->attrs[a].count; i++)
            expr_symbols(cx, node->attrs[a].exprs[i], visit, user);
    for (int b = 0; b < node->body_count; b++) /* what a body binds itself is its own */
        for (uint32_t i = 0; i < node->bodies[b]->dim_count; i++)
            if (graph_is_outer(node->bodies[b], node->bodies[b]->dims[i]))
                visit(user, node->bodies[b]->dims[i]);
}

/* ---- sweeping */

typedef struct Visit {
    GraphNode *node;
    uint32_t count, next; /* of needs; the one to visit next */
    Tensor **needs;
} Visit;

typedef struct Sweep {
    Graph *graph;
    const DimSource *sources; /* NULL: no part binds a dim */
    Visit *stack;
    GraphNode **order;
    uint32_t count;
} Sweep;

typedef struct Needs {
    const Sweep *sweep;
    const GraphNode *node;
    Tensor **list;
    uint32_t count, capacity;
} Needs;

static void need_source(void *user, const Expr *sym)
{
    Needs *needs = user;
    const Graph *graph = needs->sweep->graph;
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        const Tensor *from = needs->sweep->sources[i].tensor;
        if (graph->dims[i] == sym && from && from->producer->op == OP_part &&
            from->producer != needs->node)
            VEC_PUSH(graph->cx->arena, needs->list, needs->count, needs->capacity,
                     from->producer->output);
    }
}

static Visit visit(const Sweep *s, GraphNode *node)
{
    Visit all = {.node = node, .count = (uint32_t)node->input_count, .needs = node->inputs};
    if (!s->sources)
        return all;
    Needs needs = {.sweep = s, .node = node};
    for (int i = 0; i < node->input_count; i++)
        VEC_PUSH(s->graph->cx->arena, needs.list, needs.count, needs.capacity, node->inputs[i]);
    graph_node_symbols(s->graph->cx, node, need_source, &needs);
    all.needs = needs.list;
    all.count = needs.count;
    return all;
}

/* Appends what `root` needs and it itself, needs first and in their order. `uses` marks nodes that
 * are placed or on the stack. */
static void place(Sweep *s, GraphNode *root)
{
    uint32_t depth = 0;
    if (root->output->uses)
        return;
    root->output->uses = 1;
    s->stack[depth++] = visit(s, root);
    while (depth) {
        Visit *top = &s->stack[depth - 1];
        if (top->next == top->count) {
            s->order[s->count++] = top->node;
            depth--;
            continue;
        }
        Tensor *need = top->needs[top->next++];
        if (!need->uses) {
            need->uses = 1;
            s->stack[depth++] = visit(s, need->producer);
        }
    }
}

static bool any_bound(const Graph *graph, const DimSource *sources)
{
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (sources[i].tensor && sources[i].tensor->producer->op == OP_part)
            return true;
    return false;
}

/* Drops the dims that were bound by parts that are gone, and what was assumed of them. */
static void sweep_dims(Graph *graph, const DimSource *sources)
{
    uint32_t dims = 0, checks = 0;
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        if (!sources[i].tensor || sources[i].tensor->uses)
            continue;
        checks = 0;
        for (uint32_t c = 0; c < graph->check_count; c++)
            if (!expr_uses(graph->checks[c].a, graph->dims[i]) &&
                !expr_uses(graph->checks[c].b, graph->dims[i]))
                graph->checks[checks++] = graph->checks[c];
        graph->check_count = checks;
    }
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (!sources[i].tensor || sources[i].tensor->uses)
            graph->dims[dims++] = graph->dims[i];
    graph->dim_count = dims;
}

void graph_sweep(Graph *graph)
{
    Arena *arena = graph->cx->arena;
    const DimSource *sources = graph_dim_sources(graph);
    Sweep s = {.graph = graph,
               .sources = any_bound(graph, sources) ? sources : NULL,
               .stack = NEW_ARRAY(arena, Visit, graph->node_count + 1),
               .order = NEW_ARRAY(arena, GraphNode *, graph->node_count + 1)};
    for (uint32_t i = 0; i < graph->node_count; i++)
        graph->nodes[i]->output->uses = 0;
    for (uint32_t i = 0; i < graph->input_count; i++)
        place(&s, graph->inputs[i]->producer);
    for (uint32_t i = 0; i < graph->output_count; i++)
        place(&s, graph->outputs[i]->producer);
    for (uint32_t i = 0; i < s.count; i++)
        s.order[i]->id = s.order[i]->output->id = i;
    if (s.sources)
        sweep_dims(graph, sources);
    graph->nodes = s.order;
    graph->node_cap = graph->node_count + 1;
    graph->node_count = graph->tensor_count = s.count;
    graph_count_uses(graph);
}
