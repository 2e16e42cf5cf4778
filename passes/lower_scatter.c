/* Lowering of scatters: an element asks which updates hit it. Tasks own destinations, so nothing
 * races. Costs results times updates as it stands; on CPUs the scatter skeleton recognises it and
 * costs their sum (sched_scatter.c). */
#include "passes/lower_nest.h"

#include <string.h>

static bool combines(const GraphNode *node)
{
    const Attr *mode = &node->attrs[AT_mode];
    return mode->set && strcmp(mode->name, "none") != 0;
}

/* The old element, or where `hit` holds for one of `bits` the update, combined if so asked. */
static Value *scatter(Pull *p, const GraphNode *node, const Expr *const *index, uint64_t bits,
                      Value *hit, Value *update)
{
    Nest *nest = p->nest;
    Value *old = pull(p, node->inputs[0], index);
    if (!combines(node))
        return nest_scalar(nest, S_select, hit, update, old);
    Monoid monoid = (Monoid)node->attrs[AT_monoid].i;
    if (!bits) {
        Value *both = nest_scalar(nest, monoid_combine(monoid), old, update, NULL);
        return nest_scalar(nest, S_select, hit, both, old);
    }
    Dtype dtype = dtype_compute(update->dtype);
    Value *none = nest_const(nest, dtype, monoid_identity(monoid, dtype));
    Value *all = nest_reduce(nest, monoid, bits, nest_scalar(nest, S_select, hit, update, none));
    Value *both = nest_scalar(nest, monoid_combine(monoid), old, all, NULL);
    if (monoid != M_sum || !dtype_is_float(dtype))
        return both;
    /* -0.0 that nothing is added to stays: with 0 added it would not */
    return nest_scalar(nest, S_select, nest_reduce(nest, M_or, bits, hit), both, old);
}

/* The last of the updates that hit, as others have it too where ONNX leaves open what several
 * updates of one place give. `own`, `count` indices that run over `bits`, become its position, to
 * be used where `inside` holds. Whether there is one. */
static Value *last_hit(Pull *p, Value *hit, uint64_t bits, int count, const Expr *const *extents,
                       const Expr **own, Guard *inside)
{
    Nest *nest = p->nest;
    Cx *cx = p->cx;
    const Expr *zero = expr_const(cx, 0), *one = expr_const(cx, 1), *none = expr_const(cx, -1);
    const Expr *number = zero, *all = one;
    for (int d = 0; d < count; d++) {
        number = expr_add(cx, expr_mul(cx, number, extents[d]), own[d]);
        all = expr_mul(cx, all, extents[d]);
    }
    Value *nowhere = nest_const(nest, DT_i64, (Scalar){.i = -1});
    Value *hits = nest_scalar(nest, S_select, hit, nest_index(nest, DT_i64, number), nowhere);
    Value *last = nest_scalar(nest, S_max, nest_reduce(nest, M_max, bits, hits), nowhere, NULL);
    const Expr *rest = pull_bind(p, "last", last, none, expr_addi(cx, all, -1), false);
    *inside = (Guard){rest, zero, all};
    for (int d = count - 1; d >= 0; d--) {
        const Expr *extent = expr_max(cx, extents[d], one);
        own[d] = d ? expr_mod(cx, rest, extent) : rest;
        rest = expr_floordiv(cx, rest, extent);
    }
    return nest_scalar(nest, S_le, nest_const(nest, DT_i64, (Scalar){.i = 0}), last, NULL);
}

/* index value == position, counting negative indices from the end */
static Value *hits(Pull *p, Value *at, const Expr *position, const Expr *extent)
{
    Value *to = nest_index(p->nest, DT_i64, pull_bound_index(p, at, extent));
    return nest_scalar(p->nest, S_eq, to, nest_index(p->nest, DT_i64, position), NULL);
}

Value *lower_scatter_elements(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Tensor *ids = node->inputs[1];
    int axis = (int)node->attrs[AT_axis].i;
    const Expr *own[MAX_RANK];
    memcpy(own, index, (size_t)ids->rank * sizeof *own);
    Guard inside[MAX_RANK];
    int count = 0;
    for (int d = 0; d < ids->rank; d++)
        if (d != axis)
            inside[count++] = (Guard){index[d], expr_const(p->cx, 0), ids->shape[d]};
    uint64_t bits = 0;
    own[axis] = pull_axis(p, "u", ids->shape[axis], &bits);
    Value *at = pull_guarded(p, node->inputs[1], own, inside, count, (Scalar){0});
    Value *hit = hits(p, at, index[axis], node->inputs[0]->shape[axis]);
    hit = nest_scalar(p->nest, S_and, hit, pull_condition(p, inside, count), NULL);
    if (bits && !combines(node))
        hit = last_hit(p, hit, bits, 1, ids->shape + axis, own + axis, &inside[count++]);
    Value *update = pull_guarded(p, node->inputs[2], own, inside, count, (Scalar){0});
    return scatter(p, node, index, bits, hit, update);
}

Value *lower_scatter_nd(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Tensor *x = node->inputs[0], *ids = node->inputs[1];
    const Expr *tuple = ids->shape[ids->rank - 1], *own[MAX_RANK];
    uint64_t bits = 0;
    int loops = ids->rank - 1;
    for (int d = 0; d < loops; d++)
        own[d] = pull_axis(p, "u", ids->shape[d], &bits);
    Value *hit = nest_const(p->nest, DT_bool, (Scalar){.i = 1});
    for (int t = 0; t < tuple->value; t++) {
        own[loops] = expr_const(p->cx, t);
        hit = nest_scalar(p->nest, S_and, hit,
                          hits(p, pull(p, node->inputs[1], own), index[t], x->shape[t]), NULL);
    }
    Guard inside;
    bool replaces = bits && !combines(node);
    if (replaces)
        hit = last_hit(p, hit, bits, loops, ids->shape, own, &inside);
    for (int d = (int)tuple->value; d < x->rank; d++)
        own[loops + d - (int)tuple->value] = index[d];
    Value *update = pull_guarded(p, node->inputs[2], own, &inside, replaces, (Scalar){0});
    return scatter(p, node, index, bits, hit, update);
}
