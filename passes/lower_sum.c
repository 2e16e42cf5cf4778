/* Pulling through operations that combine elements: reductions, contractions, windows, norms. */
#include "passes/lower_nest.h"

#include <math.h>
#include <string.h>

static bool has_axis(const Attr *axes, int d)
{
    for (int i = 0; i < axes->count; i++)
        if (axes->ints[i] == d)
            return true;
    return false;
}

/* Index into the input of a reduction: fresh axes for the reduced dims, the result's index for the
 * others. */
static uint64_t reduced_index(Pull *p, const Tensor *x, const Attr *axes, bool keep,
                              const Expr *const *index, const Expr **own)
{
    uint64_t bits = 0;
    for (int d = 0, at = 0; d < x->rank; d++) {
        if (has_axis(axes, d)) {
            own[d] = pull_axis(p, "r", x->shape[d], &bits);
            at += keep;
        } else {
            own[d] = index[at++];
        }
    }
    return bits;
}

/* The identity of min or max among the numbers of a type that is stored. */
static Scalar weakest(Monoid monoid, Dtype dtype)
{
    return monoid_identity(monoid, dtype_is_int(dtype) ? dtype : dtype_compute(dtype));
}

/* Of no element the extreme is the weakest number of the compute type, which a narrower integer
 * does not hold: the weakest of its own takes part. */
static Value *with_weakest(Pull *p, Monoid monoid, const Tensor *x, Value *extreme)
{
    Dtype wide = dtype_compute(x->dtype);
    const Expr *count = tensor_count(p->cx, x);
    if ((monoid != M_min && monoid != M_max) || x->dtype == wide || !dtype_is_int(wide) ||
        count->lo > 0)
        return extreme;
    Value *least = nest_const(p->nest, wide, weakest(monoid, x->dtype));
    return nest_scalar(p->nest, monoid_combine(monoid), extreme, least, NULL);
}

Value *lower_reduce(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Tensor *x = node->inputs[0];
    const Expr *own[MAX_RANK];
    Monoid monoid = (Monoid)node->attrs[AT_monoid].i;
    uint64_t bits = reduced_index(p, x, &node->attrs[AT_axes], node->attrs[AT_keep].i, index, own);
    Value *all = pull_reduce(p, monoid, bits, pull(p, node->inputs[0], own));
    return with_weakest(p, monoid, x, all);
}

Value *lower_arg(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Tensor *x = node->inputs[0];
    const Expr *own[MAX_RANK];
    int64_t axis = node->attrs[AT_axis].i;
    Attr axes = {.count = 1, .ints = &axis};
    uint64_t bits = reduced_index(p, x, &axes, node->attrs[AT_keep].i, index, own);
    const Expr *last = expr_addi(p->cx, x->shape[axis], -1);
    bool backwards = node->attrs[AT_last].i;
    if (backwards)
        own[axis] = expr_sub(p->cx, last, own[axis]);
    if (!bits)
        return nest_index(p->nest, DT_i64, expr_const(p->cx, 0));
    Value *value = nest_cast(p->nest, dtype_compute(x->dtype), pull(p, node->inputs[0], own));
    value = nest_reduce(p->nest, (Monoid)node->attrs[AT_monoid].i, bits, value);
    return backwards ? nest_scalar(p->nest, S_sub, nest_index(p->nest, DT_i64, last), value, NULL)
                     : value;
}

/* Each result reduces its own prefix, by definition; the scan skeleton recognises it
 * (sched_scan.c). */
Value *lower_scan(Pull *p, const GraphNode *node, const Expr *const *index)
{
    int axis = (int)node->attrs[AT_axis].i;
    Tensor *x = node->inputs[0];
    Cx *cx = p->cx;
    const Expr *own[MAX_RANK], *i = index[axis], *last = expr_addi(cx, x->shape[axis], -1);
    bool reverse = node->attrs[AT_reverse].i;
    memcpy(own, index, (size_t)x->rank * sizeof *own);
    uint64_t bits = 0;
    own[axis] = pull_axis(p, "s", x->shape[axis], &bits);
    if (!bits)
        own[axis] = expr_const(cx, 0);
    const Expr *from = reverse ? expr_sub(cx, last, own[axis]) : own[axis];
    const Expr *until = reverse ? expr_sub(cx, last, i) : i;
    Guard before = {from, expr_const(cx, 0),
                    expr_addi(cx, until, node->attrs[AT_exclusive].i ? 0 : 1)};
    Monoid monoid = (Monoid)node->attrs[AT_monoid].i;
    Value *value = pull(p, x, own);
    Value *none = nest_const(p->nest, dtype_compute(value->dtype),
                             monoid_identity(monoid, dtype_compute(value->dtype)));
    value = nest_scalar(p->nest, S_select, pull_condition(p, &before, 1), value, none);
    return pull_reduce(p, monoid, bits, value);
}

/* Products add up in float32, float64 or 32-bit integers. */
static Value *product(Pull *p, Value *a, Value *b)
{
    return nest_scalar(p->nest, S_mul, a, b, NULL);
}

/* A masked softmax gives 0 where the row has nothing but -inf. */
static Value *zero_if_masked(Pull *p, const GraphNode *softmax, Value *max, Value *value)
{
    Nest *nest = p->nest;
    if (!softmax->attrs[AT_masked].i)
        return value;
    Value *least = nest_constf(nest, max->dtype, (double)-INFINITY);
    Value *none = nest_scalar(nest, S_eq, max, least, NULL);
    return nest_scalar(nest, S_select, none, nest_constf(nest, dtype_compute(value->dtype), 0),
                       value);
}

/* A softmax in front of a matrix product, in one kernel: sum(e * v) / sum(e) for sum((e / sum(e)) *
 * v), so that both sums run over one axis (match_attention.c). At most 2 ULP of the largest term
 * apart. */
static Value *softmax_product(Pull *p, const GraphNode *node, const Expr *const *in_p,
                              const Expr *const *in_v, uint64_t bits)
{
    Nest *nest = p->nest;
    const Expr *own[MAX_RANK];
    const GraphNode *softmax = lower_softmax_inside(p->group, node);
    memcpy(own, in_p, (size_t)node->inputs[0]->rank * sizeof *own);
    for (const GraphNode *at = node->inputs[0]->producer; at != softmax;
         at = at->inputs[0]->producer)
        if (at->op == OP_reshape) {
            const Expr *outer[MAX_RANK];
            memcpy(outer, own, (size_t)at->output->rank * sizeof *own);
            if (!lower_reshape_index(p->cx, at, outer, own))
                return nest_constf(nest, dtype_compute(node->output->dtype), 0);
        }
    Value *x = pull(p, softmax->inputs[0], own);
    Value *max = pull_reduce(p, M_max, bits, x);
    Value *e = nest_scalar(nest, S_exp, nest_scalar(nest, S_sub, x, max, NULL), NULL, NULL);
    Value *sum = pull_reduce(p, M_sum, bits, e);
    Value *weighted = pull_reduce(p, M_sum, bits, product(p, e, pull(p, node->inputs[1], in_v)));
    const Expr *keys = node->inputs[1]->shape[node->inputs[1]->rank - 2];
    if (keys->lo < 1) { /* no keys: 0, as a product over nothing */
        Value *zero = nest_index(nest, DT_i64, expr_const(p->cx, 0));
        Value *none = nest_scalar(nest, S_eq, nest_index(nest, DT_i64, keys), zero, NULL);
        sum = nest_scalar(nest, S_select, none, nest_constf(nest, sum->dtype, 1), sum);
    }
    return zero_if_masked(p, softmax, max, nest_scalar(nest, S_div, weighted, sum, NULL));
}

bool lower_same_matrices(const Tensor *a, const Tensor *b)
{
    return a->rank >= 2 && b->rank >= 2 && a->shape[a->rank - 1] == b->shape[b->rank - 1] &&
           a->shape[a->rank - 2] == b->shape[b->rank - 2];
}

const GraphNode *lower_softmax_inside(const Group *group, const GraphNode *product)
{
    const Tensor *a = product->inputs[0];
    while (group->inside[a->id] && (a->producer->op == OP_cast || a->producer->op == OP_reshape))
        a = a->producer->inputs[0];
    const GraphNode *node = a->producer;
    bool rows =
        group->inside[a->id] && node->op == OP_softmax && node->attrs[AT_axis].i == a->rank - 1;
    return rows && lower_same_matrices(product->inputs[0], a) ? node : NULL;
}

Value *lower_matmul(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *a = node->inputs[0], *b = node->inputs[1];
    int rank = node->output->rank;
    const Expr *in_a[MAX_RANK], *in_b[MAX_RANK];
    uint64_t bits = 0;
    const Expr *k = pull_axis(p, "k", a->shape[a->rank - 1], &bits);
    pull_broadcast(p, a, rank, index, in_a);
    pull_broadcast(p, b, rank, index, in_b);
    in_a[a->rank - 2] = index[rank - 2];
    in_a[a->rank - 1] = k;
    in_b[b->rank - 2] = k;
    in_b[b->rank - 1] = index[rank - 1];
    if (lower_softmax_inside(p->group, node))
        return softmax_product(p, node, in_a, in_b, bits);
    return pull_reduce(p, M_sum, bits, product(p, pull(p, a, in_a), pull(p, b, in_b)));
}

/* Spatial index of a window: position * stride + tap * dilation - pad. Fills own[2..] and the
 * guards. */
static uint64_t window_index(Pull *p, const GraphNode *node, const Expr *const *taps_extent,
                             const Expr *const *index, const Expr **own, const Expr **taps,
                             Guard *guards)
{
    const Tensor *x = node->inputs[0];
    uint64_t bits = 0;
    for (int d = 2; d < x->rank; d++) {
        int s = d - 2;
        taps[s] = pull_axis(p, "t", taps_extent[s], &bits);
        const Expr *at =
            expr_add(p->cx, expr_muli(p->cx, index[d], node->attrs[AT_strides].ints[s]),
                     expr_muli(p->cx, taps[s], node->attrs[AT_dilations].ints[s]));
        own[d] = expr_addi(p->cx, at, -node->attrs[AT_pads].ints[s]);
        guards[s] = (Guard){own[d], expr_const(p->cx, 0), x->shape[d]};
    }
    return bits;
}

Value *lower_conv(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0], *w = node->inputs[1];
    const Expr *own[MAX_RANK], *weight[MAX_RANK], *taps[MAX_RANK];
    Guard guards[MAX_RANK];
    uint64_t bits = window_index(p, node, w->shape + 2, index, own, taps, guards);
    const Expr *c = pull_axis(p, "c", w->shape[1], &bits);
    const Expr *each = expr_divi(p->cx, w->shape[0], node->attrs[AT_groups].i);
    const Expr *group = expr_floordiv(p->cx, index[1], each);
    own[0] = index[0];
    own[1] = expr_add(p->cx, expr_mul(p->cx, group, w->shape[1]), c);
    weight[0] = index[1];
    weight[1] = c;
    memcpy(weight + 2, taps, (size_t)(w->rank - 2) * sizeof *weight);
    Value *a = pull_guarded(p, x, own, guards, x->rank - 2, (Scalar){0});
    return pull_reduce(p, M_sum, bits, product(p, a, pull(p, w, weight)));
}

/* Gathers: result position q receives x at (q + pad - tap * dilation) / stride where that divides.
 */
Value *lower_conv_transpose(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0], *w = node->inputs[1];
    Cx *cx = p->cx;
    const Expr *own[MAX_RANK], *weight[MAX_RANK];
    Guard guards[2 * MAX_RANK];
    uint64_t bits = 0;
    int count = 0;
    for (int d = 2; d < x->rank; d++) {
        int64_t stride = node->attrs[AT_strides].ints[d - 2];
        weight[d] = pull_axis(p, "t", w->shape[d], &bits);
        const Expr *at = expr_sub(cx, expr_addi(cx, index[d], node->attrs[AT_pads].ints[d - 2]),
                                  expr_muli(cx, weight[d], node->attrs[AT_dilations].ints[d - 2]));
        own[d] = expr_divi(cx, at, stride);
        guards[count++] = (Guard){own[d], expr_const(cx, 0), x->shape[d]};
        guards[count++] = (Guard){expr_modi(cx, at, stride), expr_const(cx, 0), expr_const(cx, 1)};
    }
    int64_t groups = node->attrs[AT_groups].i;
    const Expr *each = expr_divi(cx, x->shape[1], groups);
    const Expr *c = pull_axis(p, "c", each, &bits);
    const Expr *group = expr_floordiv(cx, index[1], w->shape[1]);
    own[0] = index[0];
    own[1] = weight[0] = expr_add(cx, expr_mul(cx, group, each), c);
    weight[1] = expr_mod(cx, index[1], w->shape[1]);
    Value *a = pull_guarded(p, x, own, guards, count, (Scalar){0});
    return pull_reduce(p, M_sum, bits, product(p, a, pull(p, w, weight)));
}

static uint64_t pool_index(Pull *p, const GraphNode *node, const Expr *const *index,
                           const Expr **own, Guard *guards)
{
    const Expr *extent[MAX_RANK], *taps[MAX_RANK];
    for (int s = 0; s < node->attrs[AT_kernel].count; s++)
        extent[s] = expr_const(p->cx, node->attrs[AT_kernel].ints[s]);
    own[0] = index[0];
    own[1] = index[1];
    return window_index(p, node, extent, index, own, taps, guards);
}

Value *lower_window(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Expr *own[MAX_RANK];
    Guard guards[MAX_RANK];
    Tensor *x = node->inputs[0];
    uint64_t bits = pool_index(p, node, index, own, guards);
    Monoid monoid = (Monoid)node->attrs[AT_monoid].i;
    Scalar identity = weakest(monoid, x->dtype);
    return pull_reduce(p, monoid, bits, pull_guarded(p, x, own, guards, x->rank - 2, identity));
}

/* The number of the tap that a kernel's loops reach at `bits`, in their order. */
static const Expr *tap_number(const Pull *p, uint64_t bits)
{
    const Expr *number = expr_const(p->cx, 0);
    for (int i = 0; i < p->nest->axis_count; i++)
        if (bits >> i & 1)
            number = expr_add(p->cx, expr_mul(p->cx, number, p->nest->axes[i].extent),
                              p->nest->axes[i].sym);
    return number;
}

/* The tap of the first extreme element. Padding has the value of the weakest element, so where
 * there is padding a tap must also lie in x: the first such one whose element equals the extreme.
 */
static Value *extreme_tap(Pull *p, const GraphNode *node, const Expr *const *own,
                          const Guard *guards, uint64_t bits)
{
    Nest *nest = p->nest;
    Tensor *x = node->inputs[0];
    Monoid arg = (Monoid)node->attrs[AT_monoid].i, extreme = arg == M_argmax ? M_max : M_min;
    Value *value = pull_guarded(p, x, own, guards, x->rank - 2, weakest(extreme, x->dtype));
    Value *inside = pull_condition(p, guards, x->rank - 2);
    if (!bits)
        return nest_index(nest, DT_i64, expr_const(p->cx, 0));
    if (inside->op == V_const && inside->constant.i)
        return nest_reduce(nest, arg, bits, value);
    const Expr *number = tap_number(p, bits);
    Value *most = nest_reduce(nest, extreme, bits, value);
    Value *hit = nest_scalar(nest, S_eq, value, most, NULL);
    if (dtype_is_float(value->dtype))
        hit = nest_scalar(nest, S_or, hit, nest_scalar(nest, S_isnan, value, NULL, NULL), NULL);
    hit = nest_scalar(nest, S_and, hit, inside, NULL);
    Value *last = nest_index(nest, DT_i64, expr_const(p->cx, number->hi));
    Value *at = nest_index(nest, DT_i64, number);
    return nest_reduce(nest, M_min, bits, nest_scalar(nest, S_select, hit, at, last));
}

Value *lower_window_arg(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Expr *own[MAX_RANK];
    Guard guards[MAX_RANK];
    Tensor *x = node->inputs[0];
    Cx *cx = p->cx;
    uint64_t bits = pool_index(p, node, index, own, guards);
    const Expr *zero = expr_const(cx, 0);
    int64_t taps = 1;
    for (int s = 0; s < node->attrs[AT_kernel].count; s++)
        taps *= node->attrs[AT_kernel].ints[s];
    Value *tap = extreme_tap(p, node, own, guards, bits);
    const Expr *rest = nest_bind(p->nest, arena_printf(cx->arena, "tap%u", tap->id), tap, zero,
                                 expr_const(cx, taps - 1), false)
                           ->sym;
    for (int d = x->rank - 1; d >= 2; d--) {
        int64_t kernel = node->attrs[AT_kernel].ints[d - 2];
        const Expr *t = expr_modi(cx, rest, kernel);
        rest = expr_divi(cx, rest, kernel);
        own[d] =
            expr_addi(cx,
                      expr_add(cx, expr_muli(cx, index[d], node->attrs[AT_strides].ints[d - 2]),
                               expr_muli(cx, t, node->attrs[AT_dilations].ints[d - 2])),
                      -node->attrs[AT_pads].ints[d - 2]);
    }
    const Expr *at = zero;
    for (int d = 0; d < x->rank; d++)
        at = expr_add(cx, expr_mul(cx, at, x->shape[d]), own[d]);
    return nest_index(p->nest, DT_i64, at);
}

/* Index of a reduced dim whose result is spread over that dim again: the axis asked for itself
 * where it is one, so that what the reduction computed on the way serves the result too; else a
 * fresh one. Under guards always a fresh one: they speak of the axis of the result. */
static const Expr *row_axis(Pull *p, const Expr *extent, const Expr *index, uint64_t *bits)
{
    SymUse use = index->kind == EX_sym ? nest_sym(p->nest, index) : (SymUse){.kind = SYM_unknown};
    if (p->guard_count || use.kind != SYM_axis || p->nest->axes[use.axis].extent != extent)
        return pull_axis(p, "r", extent, bits);
    *bits |= 1ull << use.axis;
    return index;
}

/* Softmax over one axis, shifted by the maximum: the plain form; schedules keep the row (Milakov
 * and Gimelshein, arXiv 1805.02867, give the single-pass form, a rewrite of this one). */
Value *lower_softmax(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0];
    int axis = (int)node->attrs[AT_axis].i;
    Nest *nest = p->nest;
    const Expr *own[MAX_RANK];
    memcpy(own, index, (size_t)x->rank * sizeof *own);
    uint64_t bits = 0;
    own[axis] = row_axis(p, x->shape[axis], index[axis], &bits);
    Value *inner = pull(p, x, own);
    Value *max = pull_reduce(p, M_max, bits, inner);
    Value *sum = pull_reduce(
        p, M_sum, bits,
        nest_scalar(nest, S_exp, nest_scalar(nest, S_sub, inner, max, NULL), NULL, NULL));
    Value *here = nest_scalar(nest, S_exp, nest_scalar(nest, S_sub, pull(p, x, index), max, NULL),
                              NULL, NULL);
    /* one division a row: at most 1 ULP from dividing each element */
    Value *inverse = nest_scalar(nest, S_div, nest_constf(nest, sum->dtype, 1), sum, NULL);
    return zero_if_masked(p, node, max, nest_scalar(nest, S_mul, here, inverse, NULL));
}

/* Two passes: the mean, then the mean of squared differences; a one-pass sum of squares cancels. */
Value *lower_normalize(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0];
    Nest *nest = p->nest;
    const Expr *own[MAX_RANK], *count = expr_const(p->cx, 1);
    uint64_t bits = 0;
    for (int d = 0; d < x->rank; d++) {
        bool reduced = has_axis(&node->attrs[AT_axes], d);
        own[d] = reduced ? row_axis(p, x->shape[d], index[d], &bits) : index[d];
        count = reduced ? expr_mul(p->cx, count, x->shape[d]) : count;
    }
    Value *inner = pull(p, x, own);
    Dtype dtype = inner->dtype;
    Value *n = nest_index(nest, dtype, count);
    Value *mean = nest_scalar(nest, S_div, pull_reduce(p, M_sum, bits, inner), n, NULL);
    Value *difference = nest_scalar(nest, S_sub, inner, mean, NULL);
    Value *squares =
        pull_reduce(p, M_sum, bits, nest_scalar(nest, S_mul, difference, difference, NULL));
    Value *variance = nest_scalar(nest, S_div, squares, n, NULL);
    Value *epsilon = nest_constf(nest, dtype, node->attrs[AT_epsilon].f);
    Value *deviation =
        nest_scalar(nest, S_sqrt, nest_scalar(nest, S_add, variance, epsilon, NULL), NULL, NULL);
    Value *here = nest_scalar(nest, S_sub, pull(p, x, index), mean, NULL);
    return nest_scalar(nest, S_div, here, deviation, NULL);
}
