/* Groups over dims that are not 0. */
#include "passes/nonempty.h"

#include "passes/renew.h"

static const Expr *without(Cx *cx, const Expr *e, const Expr *dim)
{
    const Expr *zero = expr_const(cx, 0);
    return expr_subst(cx, e, &dim, &zero, 1);
}

static bool empties(Cx *cx, const Graph *graph, const Group *group, const Expr *dim, bool look);

/* Whether the results are without elements when the product is 0: whichever factor it is. */
static bool product_empties(Cx *cx, const Graph *graph, const Group *group, const Expr *e)
{
    if (e->lo > 0 || e->kind == EX_sym)
        return e->lo > 0 || empties(cx, graph, group, e, false);
    bool multiple = e->kind == EX_sum && e->count == 1 && !e->value, all = true;
    for (uint32_t i = 0; i < e->count; i++)
        all = all && product_empties(cx, graph, group, e->args[i]);
    return all && (multiple || e->kind == EX_mul);
}

/* Whether all results are without elements when the dim is 0. With `look` also by what the graph
 * checks: a reshape of nothing gives nothing. */
static bool empties(Cx *cx, const Graph *graph, const Group *group, const Expr *dim, bool look)
{
    bool all = true;
    for (uint32_t r = 0; r < group->root_count; r++) {
        bool empty = false;
        for (int d = 0; d < group->roots[r]->rank; d++)
            empty |= expr_is_const(without(cx, group->roots[r]->shape[d], dim), 0);
        all &= empty;
    }
    for (uint32_t i = 0; i < graph->check_count && look && !all; i++) {
        const GraphCheck *c = &graph->checks[i];
        if (c->or_one)
            continue;
        bool a = expr_is_const(without(cx, c->a, dim), 0),
             b = expr_is_const(without(cx, c->b, dim), 0);
        all = a != b && product_empties(cx, graph, group, a ? c->b : c->a);
    }
    return all;
}

static void find_dims(Cx *cx, const Graph *graph, const Group *group, NonEmpty *out)
{
    out->dims = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    out->with = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        const Expr *dim = graph->dims[i];
        if (dim->lo > 0 || dim->hi < 1 || !empties(cx, graph, group, dim, true))
            continue;
        out->dims[out->count] = dim;
        out->with[out->count++] = expr_sym(cx, dim->name, 1, dim->hi, dim->div > 1 ? dim->div : 1);
    }
}

void nonempty_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                    NonEmpty *out)
{
    *out = (NonEmpty){.graph = graph, .group = *group, .layouts = layouts};
    find_dims(cx, graph, group, out);
    if (!out->count)
        return;
    Renew r = {cx, graph, group->inside, out->count, out->dims, out->with, .tensors = NULL};
    out->graph = renew_graph(&r);
    Tensor **roots = NEW_ARRAY(cx->arena, Tensor *, group->root_count);
    for (uint32_t i = 0; i < group->root_count; i++)
        roots[i] = renew_tensor(&r, group->roots[i]);
    out->group.roots = roots;
    if (layouts)
        out->layouts = renew_layouts(&r, layouts);
}
