/* Recognises attention in a nest: y = f(sum of e * v, sum of e) with e = exp(x - max of x), all
 * over one axis l, and x computed from one sum of products q * k. What lowering makes of a softmax
 * in front of a matrix product has this form (lower_sum.c); a nest written by hand may have it too.
 */
#include "passes/lower_value.h"

#include <math.h>

enum { MAX_WIDE = 512 }; /* columns of the values, depth of the scores */

static bool is_scalar(const Value *value, ScalarOp op)
{
    return value->op == V_scalar && value->scalar == op;
}

static int only_axis(uint64_t axes)
{
    int axis = 0;
    while (axes && !(axes >> axis & 1))
        axis++;
    return axes == 1ull << axis ? axis : -1;
}

/* sum over l of exp(x - max over l of x) * v */
static bool match_weighted(Value *sum, Attention *a)
{
    if (sum->op != V_reduce || sum->monoid != M_sum || !is_scalar(sum->args[0], S_mul))
        return false;
    for (int side = 0; side < 2; side++) {
        Value *e = sum->args[0]->args[side];
        if (!is_scalar(e, S_exp) || !is_scalar(e->args[0], S_sub))
            continue;
        Value *x = e->args[0]->args[0], *max = e->args[0]->args[1];
        if (max->op != V_reduce || max->monoid != M_max || max->args[0] != x ||
            max->reduced != sum->reduced)
            continue;
        a->weighted = sum;
        a->e = e;
        a->x = x;
        a->max = max;
        a->v = sum->args[0]->args[1 - side];
        return true;
    }
    return false;
}

static bool match_scores(Value *dot, Attention *a)
{
    if (dot->op != V_reduce || dot->monoid != M_sum || !is_scalar(dot->args[0], S_mul))
        return false;
    a->dot = dot;
    a->q = dot->args[0]->args[0];
    a->k = dot->args[0]->args[1];
    if (a->q->axes >> a->l & 1) {
        Value *swap = a->q;
        a->q = a->k;
        a->k = swap;
    }
    a->c = only_axis(dot->reduced);
    return a->c >= 0 && (a->k->axes >> a->l & 1) && !(a->q->axes >> a->l & 1);
}

/* A condition, or a part of a conjunction, l <= f with f free of l and c: a->last is f. */
static void match_last(Cx *cx, const Nest *nest, const Value *test, Attention *a)
{
    if (is_scalar(test, S_and)) {
        match_last(cx, nest, test->args[0], a);
        match_last(cx, nest, test->args[1], a);
        return;
    }
    bool strict = is_scalar(test, S_lt);
    if ((!is_scalar(test, S_le) && !strict) || test->args[0]->op != V_index ||
        test->args[1]->op != V_index)
        return;
    int64_t step;
    const Expr *rest, *room = expr_sub(cx, test->args[1]->index, test->args[0]->index);
    room = expr_addi(cx, room, strict ? -1 : 0); /* >= 0 where l is seen */
    if (expr_linear(cx, room, nest->axes[a->l].sym, &step, &rest) && step == -1)
        a->last = rest;
}

/* x = select(.., .., -inf) */
static void match_causal(Cx *cx, const Nest *nest, Attention *a)
{
    const Value *x = a->x;
    if (is_scalar(x, S_select) && x->args[2]->op == V_const && isinf(x->args[2]->constant.f) &&
        x->args[2]->constant.f < 0)
        match_last(cx, nest, x->args[0], a);
}

static bool match_axes(Cx *cx, const Nest *nest, Attention *a)
{
    const Access *out = nest->stores[0].access;
    uint64_t axes = access_axes(nest, out), l = 1ull << a->l;
    a->n = access_unit_axis(cx, nest, out, axes);
    if (a->n < 0 || axes != a->weighted->axes || (a->e->axes >> a->n & 1))
        return false;
    a->m = a->e->axes & ~a->v->axes & ~l;
    a->batch = axes & ~a->m & ~(1ull << a->n);
    if ((a->v->axes & ~l & ~a->batch) != 1ull << a->n || (a->k->axes & a->m) ||
        (a->e->axes & ~axes) != l)
        return false;
    for (int i = 0; i < nest->axis_count; i++)
        if (expr_axes(nest, nest->axes[i].extent))
            return false;
    const Expr *wide = nest->axes[a->n].extent, *deep = nest->axes[a->c].extent;
    return wide->kind == EX_const && wide->value <= MAX_WIDE && deep->kind == EX_const &&
           deep->value >= 1 && deep->value <= MAX_WIDE;
}

Attention nest_attention(Cx *cx, const Nest *nest)
{
    Attention a = {.has = false};
    if (nest->store_count != 1)
        return a;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        if (nest->values[i]->op == V_bind)
            return a;
        if (match_weighted(nest->values[i], &a))
            a.l = only_axis(a.weighted->reduced);
    }
    if (!a.weighted || a.l < 0)
        return a;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        Value *r = nest->values[i];
        if (r->op != V_reduce || r == a.weighted || r == a.max)
            continue;
        if (r->monoid == M_sum && r->args[0] == a.e && r->reduced == a.weighted->reduced)
            a.sum = r;
        else if (a.dot || !match_scores(r, &a))
            return a;
    }
    Dtype dtype = a.weighted->dtype;
    if (!a.sum || !a.dot || (dtype != DT_f32 && dtype != DT_f64) || a.dot->dtype != dtype ||
        a.x->dtype != dtype || !match_axes(cx, nest, &a))
        return a;
    match_causal(cx, nest, &a);
    a.has = true;
    return a;
}
