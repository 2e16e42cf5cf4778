/* Copies of graphs over other dims: shapes and contents of tensors, attributes of nodes. What is
 * not copied, as outside of a group, is shared with the graph. */
#include "passes/renew.h"

#include "ir/graph_infer.h"

static const Expr *renew(Renew *r, const Expr *e)
{
    const Expr *made = expr_subst(r->cx, e, r->dims, r->with, r->count);
    r->overflows |= expr_is_poison(made) && !expr_is_poison(e);
    return made;
}

static const Expr **renew_list(Renew *r, int count, const Expr *const *list)
{
    const Expr **all = NEW_ARRAY(r->cx->arena, const Expr *, count);
    for (int i = 0; i < count; i++)
        all[i] = renew(r, list[i]);
    return all;
}

Tensor *renew_tensor(Renew *r, const Tensor *tensor)
{
    Tensor **made = &r->tensors[tensor->id];
    if (*made)
        return *made;
    *made = arena_copy(r->cx->arena, tensor, sizeof *tensor);
    (*made)->shape = renew_list(r, tensor->rank, (const Expr *const *)tensor->shape);
    int64_t count = tensor->elements ? tensor_count_const(r->cx, tensor) : 0;
    if (tensor->elements)
        (*made)->elements = renew_list(r, (int)count, (const Expr *const *)tensor->elements);
    return *made;
}

static GraphNode *renew_node(Renew *r, const GraphNode *node)
{
    GraphNode *copy = arena_copy(r->cx->arena, node, sizeof *node);
    copy->inputs = NEW_ARRAY(r->cx->arena, Tensor *, node->input_count);
    for (int i = 0; i < node->input_count; i++)
        copy->inputs[i] = renew_tensor(r, node->inputs[i]);
    for (int a = 0; a < AT_count; a++)
        if (node->attrs[a].exprs)
            copy->attrs[a].exprs =
                renew_list(r, node->attrs[a].count, (const Expr *const *)node->attrs[a].exprs);
    copy->output = renew_tensor(r, node->output);
    copy->output->producer = copy;
    return copy;
}

static Tensor **renew_ports(Renew *r, uint32_t count, Tensor *const *list)
{
    Tensor **all = NEW_ARRAY(r->cx->arena, Tensor *, count);
    for (uint32_t i = 0; i < count; i++)
        all[i] = renew_tensor(r, list[i]);
    return all;
}

Graph *renew_graph(Renew *r)
{
    const Graph *graph = r->graph;
    r->tensor_count = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= r->tensor_count)
            r->tensor_count = graph->nodes[i]->output->id + 1;
    r->tensors = NEW_ARRAY(r->cx->arena, Tensor *, r->tensor_count);
    Graph *copy = arena_copy(r->cx->arena, graph, sizeof *graph);
    copy->dims = NULL;
    copy->dim_count = copy->dim_cap = 0;
    for (uint32_t i = 0; i < graph->dim_count; i++)
        expr_symbols(r->cx, renew(r, graph->dims[i]), graph_use_dim, copy);
    copy->checks =
        arena_copy(r->cx->arena, graph->checks, graph->check_count * sizeof *copy->checks);
    for (uint32_t i = 0; i < graph->check_count; i++) {
        copy->checks[i].a = renew(r, graph->checks[i].a);
        copy->checks[i].b = renew(r, graph->checks[i].b);
    }
    copy->nodes = NEW_ARRAY(r->cx->arena, GraphNode *, graph->node_count);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        GraphNode *node = graph->nodes[i];
        bool copied = !r->inside || r->inside[node->output->id];
        copy->nodes[i] = copied ? renew_node(r, node) : node;
    }
    if (!r->inside) {
        copy->inputs = renew_ports(r, graph->input_count, graph->inputs);
        copy->outputs = renew_ports(r, graph->output_count, graph->outputs);
    }
    return copy;
}

TensorLayout *renew_layouts(Renew *r, const TensorLayout *layouts)
{
    TensorLayout *all = NEW_ARRAY(r->cx->arena, TensorLayout, r->tensor_count);
    for (uint32_t t = 0; t < r->tensor_count; t++) {
        all[t] = layouts[t];
        if (layouts[t].strides && r->tensors[t])
            all[t].strides =
                renew_list(r, r->tensors[t]->rank, (const Expr *const *)layouts[t].strides);
    }
    return all;
}
