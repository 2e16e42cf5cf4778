/* Groups over dims that leave something to compute. */
#include "passes/nonempty.h"

#include "passes/renew.h"

static const Expr *at_value(Cx *cx, const Expr *e, const Expr *dim, int64_t value)
{
    const Expr *number = expr_const(cx, value);
    return expr_subst(cx, e, &dim, &number, 1);
}

static bool empties(Cx *cx, const Graph *graph, const Group *group, const Expr *dim, int64_t value,
                    bool look);

/* Whether the results are without elements when the product is 0: whichever factor it is. */
static bool product_empties(Cx *cx, const Graph *graph, const Group *group, const Expr *e)
{
    if (e->lo > 0 || e->kind == EX_sym)
        return e->lo > 0 || empties(cx, graph, group, e, 0, false);
    bool multiple = e->kind == EX_sum && e->count == 1 && !e->value, all = true;
    for (uint32_t i = 0; i < e->count; i++)
        all = all && product_empties(cx, graph, group, e->args[i]);
    return all && (multiple || e->kind == EX_mul);
}

/* Whether all results are without elements when the dim has this value. With `look` also by what
 * the graph checks: a reshape of nothing gives nothing. */
static bool empties(Cx *cx, const Graph *graph, const Group *group, const Expr *dim, int64_t value,
                    bool look)
{
    bool all = true;
    for (uint32_t r = 0; r < group->root_count; r++) {
        bool empty = false;
        for (int d = 0; d < group->roots[r]->rank; d++)
            empty |= expr_is_const(at_value(cx, group->roots[r]->shape[d], dim, value), 0);
        all &= empty;
    }
    for (uint32_t i = 0; i < graph->check_count && look && !all; i++) {
        const GraphCheck *c = &graph->checks[i];
        if (c->rule != SIZE_equal)
            continue;
        bool a = expr_is_const(at_value(cx, c->a, dim, value), 0),
             b = expr_is_const(at_value(cx, c->b, dim, value), 0);
        all = a != b && product_empties(cx, graph, group, a ? c->b : c->a);
    }
    return all;
}

static bool may_vanish(const Expr *extent, const Expr *dim)
{
    return extent->lo < 1 && expr_uses(extent, dim);
}

/* Whether the dim has a say in some extent's being 0. */
static bool may_empty(const Graph *graph, const Group *group, const Expr *dim)
{
    for (uint32_t r = 0; r < group->root_count; r++)
        for (int d = 0; d < group->roots[r]->rank; d++)
            if (may_vanish(group->roots[r]->shape[d], dim))
                return true;
    for (uint32_t i = 0; i < graph->check_count; i++)
        if (may_vanish(graph->checks[i].a, dim) || may_vanish(graph->checks[i].b, dim))
            return true;
    return false;
}

/* The dims' least values with which there is something to compute: `(w + 3) floordiv 8` columns
 * want a w of 5. Looked for among small values only, each tried. */
static void find_dims(Cx *cx, const Graph *graph, const Group *group, NonEmpty *out)
{
    enum { MOST = 64 };
    out->dims = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    out->with = NEW_ARRAY(cx->arena, const Expr *, graph->dim_count);
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        const Expr *dim = graph->dims[i];
        if (dim->kind != EX_sym || !may_empty(graph, group, dim))
            continue;
        int64_t least = dim->lo;
        while (least < dim->hi && least < dim->lo + MOST &&
               empties(cx, graph, group, dim, least, true))
            least++;
        if (least == dim->lo || least == dim->hi)
            continue;
        out->dims[out->count] = dim;
        out->with[out->count++] =
            expr_sym(cx, dim->name, least, dim->hi, dim->div > 1 ? dim->div : 1);
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
