/* Copies of groups over dims that are not 0. Nodes and tensors keep their numbers, so what is known
 * by number (inside, layouts, tensors of the plan) holds for the copy. */
#include "passes/nonempty.h"

#include <string.h>

typedef struct Copy {
    Cx *cx;
    const Graph *graph;
    NonEmpty *out;
    Tensor **tensors; /* by number: the copy */
} Copy;

static const Expr *renew(const Copy *c, const Expr *e)
{
    return expr_subst(c->cx, e, c->out->dims, c->out->with, c->out->count);
}

static const Expr **renew_list(const Copy *c, int count, const Expr *const *list)
{
    const Expr **all = NEW_ARRAY(c->cx->arena, const Expr *, count);
    for (int i = 0; i < count; i++)
        all[i] = renew(c, list[i]);
    return all;
}

/* Whether all results are without elements when the dim is 0. */
static bool empties(Cx *cx, const Group *group, const Expr *dim)
{
    const Expr *zero = expr_const(cx, 0);
    for (uint32_t r = 0; r < group->root_count; r++) {
        bool empty = false;
        for (int d = 0; d < group->roots[r]->rank; d++)
            empty |= expr_is_const(expr_subst(cx, group->roots[r]->shape[d], &dim, &zero, 1), 0);
        if (!empty)
            return false;
    }
    return true;
}

static void find_dims(Cx *cx, const Graph *graph, const Group *group, NonEmpty *out)
{
    out->dims = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    out->with = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        const Expr *dim = graph->dims[i];
        if (dim->lo > 0 || dim->hi < 1 || !empties(cx, group, dim))
            continue;
        out->dims[out->count] = dim;
        out->with[out->count++] = expr_sym(cx, dim->name, 1, dim->hi, dim->div > 1 ? dim->div : 1);
    }
}

static Tensor *copy_tensor(Copy *c, const Tensor *tensor)
{
    Tensor **made = &c->tensors[tensor->id];
    if (*made)
        return *made;
    *made = arena_copy(c->cx->arena, tensor, sizeof *tensor);
    (*made)->shape = renew_list(c, tensor->rank, (const Expr *const *)tensor->shape);
    int64_t count = tensor->elements ? tensor_count_const(c->cx, tensor) : 0;
    if (tensor->elements)
        (*made)->elements = renew_list(c, (int)count, (const Expr *const *)tensor->elements);
    return *made;
}

static GraphNode *copy_node(Copy *c, const GraphNode *node)
{
    GraphNode *copy = arena_copy(c->cx->arena, node, sizeof *node);
    copy->inputs = NEW_ARRAY(c->cx->arena, Tensor *, node->input_count);
    for (int i = 0; i < node->input_count; i++)
        copy->inputs[i] = copy_tensor(c, node->inputs[i]);
    for (int a = 0; a < AT_count; a++)
        if (node->attrs[a].exprs)
            copy->attrs[a].exprs =
                renew_list(c, node->attrs[a].count, (const Expr *const *)node->attrs[a].exprs);
    copy->output = copy_tensor(c, node->output);
    copy->output->producer = copy;
    return copy;
}

static void copy_layouts(Copy *c, const TensorLayout *layouts, uint32_t tensors)
{
    TensorLayout *all = NEW_ARRAY(c->cx->arena, TensorLayout, tensors);
    for (uint32_t t = 0; t < tensors; t++) {
        all[t] = layouts[t];
        if (layouts[t].strides && c->tensors[t])
            all[t].strides =
                renew_list(c, c->tensors[t]->rank, (const Expr *const *)layouts[t].strides);
    }
    c->out->layouts = all;
}

void nonempty_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                    NonEmpty *out)
{
    *out = (NonEmpty){.graph = graph, .group = *group, .layouts = layouts};
    find_dims(cx, graph, group, out);
    if (!out->count)
        return;
    uint32_t tensors = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->output->id >= tensors)
            tensors = graph->nodes[i]->output->id + 1;
    Copy c = {cx, graph, out, NEW_ARRAY(cx->arena, Tensor *, tensors)};
    Graph *copy = arena_copy(cx->arena, graph, sizeof *graph);
    copy->dims = renew_list(&c, (int)graph->dim_count, (const Expr *const *)graph->dims);
    copy->nodes = NEW_ARRAY(cx->arena, GraphNode *, graph->node_count);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        GraphNode *node = graph->nodes[i];
        copy->nodes[i] = group->inside[node->output->id] ? copy_node(&c, node) : node;
    }
    Tensor **roots = NEW_ARRAY(cx->arena, Tensor *, group->root_count);
    for (uint32_t r = 0; r < group->root_count; r++)
        roots[r] = copy_tensor(&c, group->roots[r]);
    out->group.roots = roots;
    out->graph = copy;
    if (layouts)
        copy_layouts(&c, layouts, tensors);
}
