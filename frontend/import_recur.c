/* Recurrences: a step applied again and again to values that one hands to the next, as RNN, GRU,
 * LSTM and LinearAttention are.
 *
 * A few steps are unrolled: the first one folds with a state of zeros, and the compiler sees their
 * numbers. More of them, or as many as a symbol says, are a loop whose body is the step: it
 * compiles once, its code stays in the instruction cache, and it runs as fast
 * (docs/performance.md). */
#include "frontend/import_ops.h"

enum { MOST_UNROLLED = 16 };

Tensor *with_extent(Import *im, Tensor *x, int axis, const Expr *want)
{
    if (tensor_is_poison(x) || x->shape[axis] == want)
        return x;
    if (!graph_same_dim(im->graph, x->shape[axis], want))
        return fail(im, ST_bad_model, "a state or a length of shape %s",
                    tensor_shape_text(im->cx, x));
    return slice_axis(im, x, axis, expr_const(im->cx, 0), want);
}

Tensor *arrange(Import *im, Tensor *x, int axis, bool reverse)
{
    int64_t perm[MAX_RANK], steps[MAX_RANK];
    const Expr *starts[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    for (int d = 0; d < x->rank; d++) {
        perm[d] = d < axis ? d + 1 : d == axis ? 0 : d;
        steps[d] = d ? 1 : -1;
        starts[d] = d ? expr_const(im->cx, 0) : expr_addi(im->cx, x->shape[0], -1);
    }
    if (reverse)
        x = graph_slice(im->graph, x, starts, (const Expr *const *)x->shape, steps);
    return tensor_is_poison(x) ? x : graph_transpose(im->graph, x, perm);
}

static Tensor *unroll(Import *im, const Recurrence *r, Tensor **values)
{
    int64_t steps = r->steps->value;
    Tensor *outputs[MOST_UNROLLED];
    for (int64_t i = 0; i < steps; i++) {
        int64_t t = r->reverse ? steps - 1 - i : i;
        outputs[t] = r->step(r->user, expr_scalar(im, DT_i64, expr_const(im->cx, t)), values);
        if (cx_failed(im->cx))
            return NULL;
        if (r->stacks)
            outputs[t] = unsqueeze(im, outputs[t], 0);
    }
    return r->stacks ? graph_concat(im->graph, (int)steps, outputs, 0) : NULL;
}

/* What an iteration leaves has the shape of what it found. */
static Tensor *as_before(Import *im, Tensor *after, const Tensor *before)
{
    CHECK(tensor_is_poison(after) || after->rank == before->rank);
    for (int d = 0; d < before->rank; d++)
        after = with_extent(im, after, d, before->shape[d]);
    return after;
}

static bool make_body(Import *im, const Recurrence *r, Tensor *const *initial, Body *body)
{
    Tensor *values[RECURRENCE_VALUES], *before[RECURRENCE_VALUES];
    if (!body_begin(im, body, r->name))
        return false;
    Tensor *t = graph_input(im->graph, "iteration", DT_i64, 0, NULL);
    for (int i = 0; i < r->count; i++) {
        const Tensor *v = initial[i];
        before[i] =
            graph_input(im->graph, v->name, v->dtype, v->rank, (const Expr *const *)v->shape);
        values[i] = before[i];
    }
    if (r->reverse)
        t = ew(im, S_sub, expr_scalar(im, DT_i64, expr_addi(im->cx, r->steps, -1)), t);
    r->enter(r->user);
    Tensor *output = r->step(r->user, t, values);
    for (int i = 0; i < r->count && !cx_failed(im->cx); i++)
        graph_output(im->graph, as_before(im, values[i], before[i]), NULL);
    if (r->stacks && !cx_failed(im->cx))
        graph_output(im->graph, output, NULL);
    body_end(im, body);
    return !cx_failed(im->cx);
}

Tensor *recur(Import *im, const Recurrence *r, Tensor **values)
{
    Body body;
    Tensor *results[RECURRENCE_VALUES + 1];
    if (cx_failed(im->cx))
        return NULL;
    CHECK(r->count <= RECURRENCE_VALUES);
    if (r->steps->kind == EX_const && r->steps->value >= 1 && r->steps->value <= MOST_UNROLLED)
        return unroll(im, r, values);
    const BodyLoop loop = {expr_scalar(im, DT_i64, r->steps), known_true(im), (uint32_t)r->count,
                           values, false};
    if (!make_body(im, r, values, &body) || !body_loop(im, &body, &loop, results))
        return NULL;
    for (int i = 0; i < r->count; i++)
        values[i] = results[i];
    return r->stacks ? arrange(im, results[r->count], 0, r->reverse) : NULL;
}
