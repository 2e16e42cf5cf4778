/* Pulling through operations that move data: other indices of the same values. Each function is the
 * definition of its operation in graph.def, read from the result backwards. */
#include "passes/lower_nest.h"

#include <string.h>

static Value *unsupported(Pull *p, const GraphNode *node, const char *why)
{
    cx_fail(p->cx, ST_unsupported, "%s %s", graph_op_name(node->op), why);
    return nest_const(p->nest, dtype_compute(node->output->dtype), (Scalar){0});
}

/* Row-major position of `index` in `shape`. */
static const Expr *linear_index(Cx *cx, int rank, const Expr *const *shape,
                                const Expr *const *index)
{
    const Expr *at = expr_const(cx, 0);
    for (int d = 0; d < rank; d++)
        at = expr_add(cx, expr_mul(cx, at, shape[d]), index[d]);
    return at;
}

/* One known expression in a dtype that index values may not have. */
static Value *known_value(Pull *p, Dtype dtype, const Expr *e)
{
    Nest *nest = p->nest;
    if (e->kind == EX_const)
        return nest_const(nest, dtype, dtype_convert(dtype, DT_i64, (Scalar){.i = e->value}));
    if (dtype == DT_i32 || dtype == DT_i64 || dtype == DT_f32 || dtype == DT_f64)
        return nest_index(nest, dtype, e);
    return nest_cast(nest, dtype, nest_index(nest, DT_i64, e));
}

bool lower_progression(const Tensor *tensor, int64_t count, int64_t *step)
{
    const Expr *const *e = tensor->elements;
    const int64_t most = (int64_t)1 << 30;
    if (count < 2 || e[0]->kind != EX_const || e[1]->kind != EX_const ||
        (tensor->dtype != DT_i64 && tensor->dtype != DT_i32))
        return false;
    *step = e[1]->value - e[0]->value;
    for (int64_t i = 0; i < count; i++)
        if (e[i]->kind != EX_const || e[i]->value < -most || e[i]->value > most ||
            e[i]->value != e[0]->value + i * *step)
            return false;
    return true;
}

/* An element of a list of known expressions: the one, a formula, or a selection. */
static Value *element_value(Pull *p, const Tensor *tensor, const Expr *const *index)
{
    Nest *nest = p->nest;
    const Expr *at = linear_index(p->cx, tensor->rank, tensor->shape, index);
    Dtype dtype = dtype_compute(tensor->dtype);
    int64_t count = 1;
    for (int d = 0; d < tensor->rank; d++)
        count *= tensor->shape[d]->value;
    if (!count)
        return nest_const(nest, dtype, (Scalar){0});
    if (at->kind == EX_const)
        return known_value(p, dtype, tensor->elements[at->value]);
    int64_t step;
    if (lower_progression(tensor, count, &step))
        return known_value(p, dtype,
                           expr_add(p->cx, tensor->elements[0], expr_muli(p->cx, at, step)));
    Value *value = known_value(p, dtype, tensor->elements[0]),
          *position = nest_index(nest, DT_i64, at);
    for (int64_t i = 1; i < count; i++) {
        Value *here =
            nest_scalar(nest, S_eq, position, nest_index(nest, DT_i64, expr_const(p->cx, i)), NULL);
        value =
            nest_scalar(nest, S_select, here, known_value(p, dtype, tensor->elements[i]), value);
    }
    return value;
}

Value *lower_constant(Pull *p, const GraphNode *node, const Expr *const *index)
{
    if (node->output->elements)
        return element_value(p, node->output, index);
    return unsupported(p, node, "is computed by no kernel");
}

Value *lower_dim_value(Pull *p, const GraphNode *node, const Expr *const *index)
{
    return element_value(p, node->output, index);
}

Value *lower_shape_value(Pull *p, const GraphNode *node, const Expr *const *index)
{
    return node->output->elements ? element_value(p, node->output, index)
                                  : unsupported(p, node, "of a shape that depends on data");
}

Value *lower_loop(Pull *p, const GraphNode *node, const Expr *const *index)
{
    (void)index;
    return unsupported(p, node, "is a step of its own, not part of a kernel");
}

Value *lower_branch(Pull *p, const GraphNode *node, const Expr *const *index)
{
    (void)index;
    return unsupported(p, node, "is a step of its own, not part of a kernel");
}

Value *lower_host(Pull *p, const GraphNode *node, const Expr *const *index)
{
    (void)index;
    return unsupported(p, node, "runs on the host, not in a kernel");
}

Value *lower_part(Pull *p, const GraphNode *node, const Expr *const *index)
{
    (void)index;
    return unsupported(p, node, "is computed by a step of its own, not in a kernel");
}

bool lower_gives_bits(const GraphNode *node)
{
    return node->op == OP_bitcast &&
           (!dtype_is_int(node->inputs[0]->dtype) || !dtype_is_int(node->output->dtype));
}

Value *lower_bitcast(Pull *p, const GraphNode *node, const Expr *const *index)
{
    CHECK(!lower_gives_bits(node));
    return nest_cast(p->nest, node->output->dtype, pull(p, node->inputs[0], index));
}

Value *lower_fill(Pull *p, const GraphNode *node, const Expr *const *index)
{
    (void)index;
    const Expr *zero[MAX_RANK];
    for (int d = 0; d < MAX_RANK; d++)
        zero[d] = expr_const(p->cx, 0);
    return pull(p, node->inputs[0], zero);
}

Value *lower_iota(Pull *p, const GraphNode *node, const Expr *const *index)
{
    return known_value(p, dtype_compute(node->output->dtype), index[node->attrs[AT_axis].i]);
}

Value *lower_map(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Value *args[3] = {NULL, NULL, NULL};
    for (int i = 0; i < node->input_count; i++) {
        const Expr *own[MAX_RANK];
        pull_broadcast(p, node->inputs[i], node->output->rank, index, own);
        args[i] = pull(p, node->inputs[i], own);
    }
    return nest_scalar(p->nest, (ScalarOp)node->attrs[AT_scalar].i, args[0], args[1], args[2]);
}

Value *lower_cast(Pull *p, const GraphNode *node, const Expr *const *index)
{
    return nest_cast(p->nest, node->output->dtype, pull(p, node->inputs[0], index));
}

/* The fewest dims at the ends of two shapes that have equally many elements; all of them when no
 * fewer are known to. */
static DimSegment last_segment(Cx *cx, const Tensor *x, int from, const Tensor *y, int to)
{
    for (int n = 1; n < from + to; n++)
        for (int a = n < from ? n : from; a >= 0 && n - a <= to; a--) {
            const Expr *one = expr_const(cx, 1), *left = one, *right = one;
            for (int d = from - a; d < from; d++)
                left = expr_mul(cx, left, x->shape[d]);
            for (int d = to - (n - a); d < to; d++)
                right = expr_mul(cx, right, y->shape[d]);
            if (left == right)
                return (DimSegment){from - a, a, to - (n - a), n - a};
        }
    return (DimSegment){0, from, 0, to};
}

int lower_reshape_segments(Cx *cx, const GraphNode *node, DimSegment *segments)
{
    const Tensor *x = node->inputs[0], *y = node->output;
    int count = 0;
    for (int from = x->rank, to = y->rank; from || to; count++) {
        segments[count] = last_segment(cx, x, from, y, to);
        from = segments[count].from;
        to = segments[count].to;
    }
    return count;
}

static const Expr *product(Cx *cx, int count, const Expr *const *list)
{
    const Expr *all = expr_const(cx, 1);
    for (int i = 0; i < count; i++)
        all = expr_mul(cx, all, list[i]);
    return all;
}

/* Whether the outermost quotient is seen to be in range: both sides are of one size, by their dims
 * and not only by a check of the run, and no dim is without bounds. */
static bool is_plain(Cx *cx, const Tensor *x, const Tensor *y, const DimSegment *s)
{
    bool same = product(cx, s->from_count, (const Expr *const *)x->shape + s->from) ==
                product(cx, s->to_count, (const Expr *const *)y->shape + s->to);
    bool one_to_one = s->from_count == 1 && s->to_count == 1;
    return same && (one_to_one || !s->from_count || x->shape[s->from]->hi < INT64_MAX);
}

bool lower_reshape_index(Cx *cx, const GraphNode *node, const Expr *const *index, const Expr **own)
{
    const Tensor *x = node->inputs[0], *y = node->output;
    DimSegment segments[2 * MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        if (expr_is_const(x->shape[d], 0))
            return false;
    int count = lower_reshape_segments(cx, node, segments);
    for (int i = 0; i < count; i++) {
        DimSegment s = segments[i];
        const Expr *rest = linear_index(cx, s.to_count, y->shape + s.to, index + s.to);
        bool plain = is_plain(cx, x, y, &s);
        for (int d = s.from + s.from_count - 1; d >= s.from; d--) {
            /* the outermost quotient is in range by itself; a known extent makes that plain */
            bool first = d == s.from, one_to_one = s.from_count == 1 && s.to_count == 1;
            bool reduce = !one_to_one && (!first || x->shape[d]->kind == EX_const);
            /* an element is there */
            const Expr *extent = expr_max(cx, x->shape[d], expr_const(cx, 1));
            own[d] = reduce  ? expr_mod(cx, rest, extent)
                     : plain ? rest
                             : expr_min(cx, rest, expr_addi(cx, extent, -1));
            rest = first ? rest : expr_floordiv(cx, rest, extent);
        }
    }
    return true;
}

Value *lower_reshape(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0];
    const Expr *own[MAX_RANK];
    if (!lower_reshape_index(p->cx, node, index, own)) /* asked for, never read */
        return nest_const(p->nest, dtype_compute(x->dtype), (Scalar){0});
    return pull(p, x, own);
}

Value *lower_expand(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Expr *own[MAX_RANK];
    pull_broadcast(p, node->inputs[0], node->output->rank, index, own);
    return pull(p, node->inputs[0], own);
}

Value *lower_transpose(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Expr *own[MAX_RANK];
    for (int d = 0; d < node->output->rank; d++)
        own[node->attrs[AT_perm].ints[d]] = index[d];
    return pull(p, node->inputs[0], own);
}

Value *lower_slice(Pull *p, const GraphNode *node, const Expr *const *index)
{
    const Expr *own[MAX_RANK];
    for (int d = 0; d < node->output->rank; d++)
        own[d] = expr_add(p->cx, node->attrs[AT_starts].exprs[d],
                          expr_muli(p->cx, index[d], node->attrs[AT_steps].ints[d]));
    return pull(p, node->inputs[0], own);
}

/* |x| for an index expression. */
static const Expr *expr_abs(Cx *cx, const Expr *x)
{
    return expr_max(cx, x, expr_muli(cx, x, -1));
}

/* What a padded axis takes at `i`. Importers check that there is something to repeat; the divisor
 * says so, too, where bounds do not. */
static const Expr *padded_index(Cx *cx, const char *mode, const Expr *i, const Expr *extent)
{
    const Expr *last = expr_addi(cx, extent, -1);
    if (strcmp(mode, "edge") == 0)
        return expr_min(cx, expr_max(cx, i, expr_const(cx, 0)), last);
    if (strcmp(mode, "wrap") == 0)
        return expr_mod(cx, i, expr_max(cx, extent, expr_const(cx, 1)));
    if (strcmp(mode, "reflect") == 0)
        return expr_sub(cx, last, expr_abs(cx, expr_sub(cx, last, expr_abs(cx, i))));
    return i;
}

Value *lower_pad(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0];
    Cx *cx = p->cx;
    const char *mode = node->attrs[AT_mode].name;
    const Expr *own[MAX_RANK], *zero = expr_const(cx, 0);
    Guard guards[MAX_RANK];
    for (int d = 0; d < x->rank; d++) {
        const Expr *before = node->attrs[AT_before].exprs[d];
        bool kept = before->hi <= 0 && node->attrs[AT_after].exprs[d]->hi <= 0;
        own[d] = expr_sub(cx, index[d], before);
        if (!kept)
            own[d] = padded_index(cx, mode, own[d], x->shape[d]);
        guards[d] = (Guard){own[d], zero, x->shape[d]};
    }
    if (strcmp(mode, "constant") != 0)
        return pull(p, x, own);
    Value *fill = pull(p, node->inputs[1], own); /* rank 0 */
    if (fill->op == V_const)
        return pull_guarded(p, x, own, guards, x->rank, fill->constant);
    Value *value = pull_guarded(p, x, own, guards, x->rank, (Scalar){0});
    return nest_scalar(p->nest, S_select, pull_condition(p, guards, x->rank), value, fill);
}

Value *lower_concat(Pull *p, const GraphNode *node, const Expr *const *index)
{
    int axis = (int)node->attrs[AT_axis].i;
    const Expr *start = expr_const(p->cx, 0), *own[MAX_RANK];
    memcpy(own, index, (size_t)node->output->rank * sizeof *own);
    Value *value = NULL;
    for (int i = 0; i < node->input_count; i++) {
        Tensor *x = node->inputs[i];
        const Expr *end = expr_add(p->cx, start, x->shape[axis]);
        own[axis] = expr_sub(p->cx, index[axis], start);
        Guard here = {index[axis], start, end};
        Value *segment = pull_guarded(p, x, own, &here, 1, (Scalar){0});
        Guard before = {index[axis], expr_const(p->cx, 0), start};
        value = value
                    ? nest_scalar(p->nest, S_select, pull_condition(p, &before, 1), value, segment)
                    : segment;
        start = end;
    }
    return value;
}

/* An i64 value that is arithmetic on positions, as an expression; else NULL. */
static const Expr *position(Pull *p, const Value *value)
{
    if (value->dtype != DT_i64)
        return NULL;
    if (value->op == V_index)
        return value->index;
    if (value->op == V_const)
        return expr_const(p->cx, value->constant.i);
    if (value->op != V_scalar || (value->scalar != S_add && value->scalar != S_mul))
        return NULL;
    const Expr *a = position(p, value->args[0]), *b = a ? position(p, value->args[1]) : NULL;
    if (!b)
        return NULL;
    return value->scalar == S_add ? expr_add(p->cx, a, b) : expr_mul(p->cx, a, b);
}

/* What a guard leaves out is computed all the same. An index that is computed, not loaded under the
 * guard too, might then be any: it is 0. */
static Value *while_needed(Pull *p, Value *value)
{
    const Value *from = value;
    while (from->op == V_cast)
        from = from->args[0];
    if (!p->guard_count || from->op == V_load || from->op == V_const)
        return value;
    return nest_scalar(p->nest, S_select, pull_condition(p, p->guards, p->guard_count), value,
                       nest_const(p->nest, value->dtype, (Scalar){0}));
}

const Expr *pull_bind(Pull *p, const char *stem, Value *value, const Expr *lo, const Expr *hi,
                      bool wraps)
{
    const char *name = arena_printf(p->cx->arena, "%s%u", stem, value->id);
    BoundIndex bound = {.sym = nest_bind(p->nest, name, value, lo, hi, wraps)->sym,
                        .source = p->node->source};
    VEC_PUSH(p->cx->arena, p->out->binds, p->out->bind_count, p->bind_cap, bound);
    return bound.sym;
}

/* What can be seen to be a position in range (frames of a signal, ranges) is that position. */
const Expr *pull_bound_index(Pull *p, Value *value, const Expr *extent)
{
    const Expr *last = expr_addi(p->cx, extent, -1), *known = position(p, value);
    if (known && expr_always_le(p->cx, expr_const(p->cx, 0), known) &&
        expr_always_lt(p->cx, known, extent))
        return known;
    value = while_needed(p, value);
    return pull_bind(p, "at", value, expr_const(p->cx, 0), last, true);
}

Value *lower_gather(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0], *ids = node->inputs[1];
    int axis = (int)node->attrs[AT_axis].i;
    const Expr *own[MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        own[d] = d < axis ? index[d] : d > axis ? index[d + ids->rank - 1] : NULL;
    own[axis] = pull_bound_index(p, pull(p, ids, index + axis), x->shape[axis]);
    return pull(p, x, own);
}

Value *lower_gather_elements(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0];
    int axis = (int)node->attrs[AT_axis].i;
    const Expr *own[MAX_RANK];
    pull_broadcast(p, x, x->rank, index, own); /* indices may be fewer */
    own[axis] = pull_bound_index(p, pull(p, node->inputs[1], index), x->shape[axis]);
    return pull(p, x, own);
}

Value *lower_gather_nd(Pull *p, const GraphNode *node, const Expr *const *index)
{
    Tensor *x = node->inputs[0], *ids = node->inputs[1];
    int batch = (int)node->attrs[AT_axis].i;
    const Expr *tuple = ids->shape[ids->rank - 1];
    if (tuple->kind != EX_const)
        return unsupported(p, node, "with tuples of unknown length has no kernel");
    const Expr *own[MAX_RANK], *where[MAX_RANK];
    memcpy(where, index, (size_t)(ids->rank - 1) * sizeof *where);
    memcpy(own, index, (size_t)batch * sizeof *own);
    for (int t = 0; t < tuple->value; t++) {
        where[ids->rank - 1] = expr_const(p->cx, t);
        own[batch + t] = pull_bound_index(p, pull(p, ids, where), x->shape[batch + t]);
    }
    for (int d = batch + (int)tuple->value, from = ids->rank - 1; d < x->rank; d++)
        own[d] = index[from++];
    return pull(p, x, own);
}
