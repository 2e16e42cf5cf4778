/* Groups over dims that are not 0. */
#include "passes/nonempty.h"

#include "passes/renew.h"

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
