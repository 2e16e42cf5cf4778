/* The verifier: what every pass may rely on. A violation is a bug of Quern's (ST_internal), never
 * of the model. */
#include <string.h>

#include "ir/graph_infer.h"

typedef struct Verify {
    Graph *graph;
    GraphNode **producer; /* by tensor id, of the nodes seen so far */
    const DimSource *sources;
    const Expr *early; /* a symbol used before the part that binds it */
} Verify;

static bool bad(Verify *v, const GraphNode *node, const char *what)
{
    cx_fail(v->graph->cx, ST_internal, "graph '%s': %%%u (%s): %s", v->graph->name,
            node->output->id, graph_op_name(node->op), what);
    return false;
}

/* What inference says now is what the node holds. */
static bool check_inference(Verify *v, const GraphNode *node)
{
    Graph *graph = v->graph;
    const Expr *shape[MAX_RANK];
    Tensor again = {.shape = shape, .weight = -1};
    GraphNode copy = *node;
    copy.output = &again;
    uint32_t checks = graph->check_count;
    graph_infer(graph, &copy, &again);
    graph->check_count = checks;
    if (cx_failed(graph->cx))
        return false;
    const Tensor *out = node->output;
    if (again.dtype != out->dtype || again.rank != out->rank)
        return bad(v, node, "its type is not what inference gives");
    for (int d = 0; d < out->rank; d++)
        if (again.shape[d] != out->shape[d])
            return bad(v, node, "its shape is not what inference gives");
    return true;
}

static void check_symbol(void *user, const Expr *sym)
{
    Verify *v = user;
    for (uint32_t i = 0; i < v->graph->dim_count; i++) {
        const Tensor *from = v->sources[i].tensor;
        if (v->graph->dims[i] == sym && from && !v->producer[from->id])
            v->early = sym;
    }
}

static bool check_node(Verify *v, GraphNode *node)
{
    const Tensor *out = node->output;
    if (node->op < OP_input || node->op >= OP_count)
        return bad(v, node, "no such operation");
    if (out->producer != node)
        return bad(v, node, "its tensor names another producer");
    if (out->id >= v->graph->tensor_count || v->producer[out->id])
        return bad(v, node, "the number of its tensor is taken or too large");
    if (out->rank < 0 || out->rank > MAX_RANK || out->dtype < DT_none || out->dtype >= DT_count ||
        (out->dtype == DT_none) != tensor_is_bundle(out))
        return bad(v, node, "rank or type out of range");
    for (int i = 0; i < node->input_count; i++) {
        const Tensor *in = node->inputs[i];
        if (in->id >= v->graph->tensor_count || !v->producer[in->id] ||
            v->producer[in->id] != in->producer)
            return bad(v, node, "an input is not computed before");
        if (tensor_is_bundle(in) && node->op != OP_part)
            return bad(v, node, "it reads a bundle");
    }
    v->producer[out->id] = node;
    graph_node_symbols(v->graph->cx, node, check_symbol, v);
    if (v->early)
        return bad(v, node, "it uses a dim that is bound after it");
    if (node->op == OP_input || node->op == OP_constant)
        return node->input_count ? bad(v, node, "has inputs") : true;
    if (node->input_count < graph_op_least(node->op) ||
        (node->input_count > graph_op_most(node->op) && graph_op_most(node->op) != 99))
        return bad(v, node, "wrong number of inputs");
    for (int i = 0; i < AT_count; i++)
        if (node->attrs[i].set && !(graph_op_attrs(node->op) >> i & 1))
            return bad(v, node, "an attribute that its operation does not have");
    for (int b = 0; b < node->body_count; b++)
        if (node->bodies[b]->outer != v->graph || !graph_verify(node->bodies[b]))
            return bad(v, node, "one of its bodies");
    return check_inference(v, node);
}

bool graph_verify(Graph *graph)
{
    Verify v = {.graph = graph,
                .producer = NEW_ARRAY(graph->cx->arena, GraphNode *, graph->tensor_count + 1),
                .sources = graph_dim_sources(graph)};
    for (uint32_t i = 0; i < graph->node_count && !cx_failed(graph->cx); i++)
        if (!check_node(&v, graph->nodes[i]))
            return false;
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i]->producer->op != OP_input)
            return bad(&v, graph->inputs[i]->producer, "is listed as an input");
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const Tensor *out = graph->outputs[i];
        if (out->id >= graph->tensor_count || v.producer[out->id] != out->producer)
            return bad(&v, out->producer, "is an output but not in the graph");
        if (tensor_is_bundle(out))
            return bad(&v, out->producer, "is an output but a bundle");
    }
    return !cx_failed(graph->cx);
}
