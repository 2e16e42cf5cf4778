/* Importers: operators of decoders that carry a state from call to call: CausalConvWithState,
 * LinearAttention, TensorScatter.
 *
 * LinearAttention is its recurrence (import_recur.c); per step t and head, with the state S [dk,
 * dv] and everything in float32:
 *
 *   S *= exp(g)           (gated)
 *   v = beta * (v - k S)  (delta)
 *   S += k' v,  o = scale * q S */
#include "frontend/import_ops.h"

#include <string.h>

/* ---- convolution */

/* x [b, c, t + k - 1] by w [c, 1, k]: each channel by itself. The number of groups of a convolution
 * is a number; open channels are a sum over windows. */
static Tensor *by_channel(Import *im, Tensor *x, Tensor *w, const Expr *length)
{
    const int64_t stride[] = {1}, pads[] = {0, 0}, last[] = {3};
    if (tensor_is_poison(x) || tensor_is_poison(w))
        return graph_poison(im->graph);
    const Expr *channels = w->shape[0], *kernel = w->shape[2], *one = expr_const(im->cx, 1);
    if (channels->kind == EX_const) {
        Attr at[AT_count] = {[AT_groups] = attr_int(channels->value),
                             [AT_strides] = attr_ints(im->cx, 1, stride),
                             [AT_dilations] = attr_ints(im->cx, 1, stride),
                             [AT_pads] = attr_ints(im->cx, 2, pads)};
        return graph_node(im->graph, OP_conv, 2, (Tensor *[]){x, w}, at);
    }
    Tensor *t = graph_iota(im->graph, DT_i64, 2, (const Expr *[]){length, one}, 0);
    Tensor *k = graph_iota(im->graph, DT_i64, 2, (const Expr *[]){one, kernel}, 1);
    Tensor *windows = graph_gather(im->graph, x, ew(im, S_add, t, k), 2);
    w = reshape(im, w, 4, (const Expr *[]){one, channels, one, kernel});
    return reduce(im, M_sum, ew(im, S_mul, windows, w), 1, last, false);
}

/* A depthwise convolution over the last k - 1 elements of the past and x. */
Tensor *import_causal_conv(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = arg(im, n, 1), *bias = arg_maybe(im, n, 2),
           *past = arg_maybe(im, n, 3);
    const char *activation = attr_s(im, n, "activation", "none");
    bool silu = !strcmp(activation, "silu") || !strcmp(activation, "swish");
    const Expr *kept = expr_addi(im->cx, dim(im, w, 2), -1);
    if (cx_failed(im->cx) || x->rank != 3 || w->rank != 3 ||
        !graph_same_dim(im->graph, x->shape[1], w->shape[0]) ||
        !graph_same_dim(im->graph, w->shape[1], expr_const(im->cx, 1)))
        return fail(im, ST_bad_model, "an input of %s with weights of %s",
                    tensor_shape_text(im->cx, x), tensor_shape_text(im->cx, w));
    if (!silu && strcmp(activation, "none") != 0)
        return fail(im, ST_bad_model, "activation '%s'", onnx_printable(im->cx->arena, activation));
    if (!past)
        past = graph_fill(im->graph, scalar(im, x, 0), 3,
                          (const Expr *[]){x->shape[0], x->shape[1], kept});
    Tensor *all = graph_concat(im->graph, 2, (Tensor *[]){past, x}, 2);
    Tensor *y = by_channel(im, wide(im, all), wide(im, w), x->shape[2]);
    if (bias)
        y = ew(im, S_add, y, along(im, wide(im, bias), 1, 3));
    if (silu)
        y = ew(im, S_mul, y, sigmoid(im, y));
    if (wants(n, 1))
        set_result(im, 1, slice_axis(im, all, 2, dim(im, x, 2), kept));
    return to(im, y, x->dtype);
}

/* ---- linear attention */

typedef struct Linear {
    Import *im;
    int64_t groups, each; /* key heads, query heads for each of them */
    Tensor *q;            /* [b, groups, each, t, dk] */
    Tensor *k, *v;        /* [b, groups, t, dk], [b, groups, t, dv] */
    Tensor *decay;        /* [b, groups, t, dk or 1], or NULL */
    Tensor *beta;         /* [b, groups or 1, t, 1], or NULL */
    double scale;         /* 0: one over the root of dk */
} Linear;

/* Step t (i64 []) of x, without the axis of time. */
static Tensor *at_step(const Linear *l, Tensor *x, int axis, Tensor *t)
{
    return gather_axis(l->im, x, t, axis);
}

/* As of a Recurrence; the state is [b, groups, dk, dv], the output [b, groups, each, dv]. */
static Tensor *step(void *user, Tensor *t, Tensor **state)
{
    const Linear *l = user;
    Import *im = l->im;
    Graph *graph = im->graph;
    Tensor *k = at_step(l, l->k, 2, t), *v = unsqueeze(im, at_step(l, l->v, 2, t), 2);
    Tensor *s = *state;
    if (l->decay)
        s = ew(im, S_mul, s, ew1(im, S_exp, unsqueeze(im, at_step(l, l->decay, 2, t), 3)));
    if (l->beta) {
        Tensor *error = ew(im, S_sub, v, graph_matmul(graph, unsqueeze(im, k, 2), s));
        v = ew(im, S_mul, unsqueeze(im, at_step(l, l->beta, 2, t), 2), error);
    }
    *state = ew(im, S_add, s, ew(im, S_mul, unsqueeze(im, k, 3), v));
    Tensor *o = graph_matmul(graph, at_step(l, l->q, 3, t), *state);
    bool given = l->scale < 0 || l->scale > 0;
    return ew(im, S_mul, o,
              given ? scalar(im, o, l->scale) : head_scale(im, DT_f32, dim(im, l->q, 4)));
}

static void enter(void *user)
{
    Linear *l = user;
    Tensor **used[] = {&l->q, &l->k, &l->v, &l->decay, &l->beta};
    for (int i = 0; i < 5; i++)
        *used[i] = import_visible(l->im, *used[i]);
}

/* decay [b, t, groups * dk] or [b, t, groups]; beta [b, t, groups] or [b, t, 1] */
static Tensor *read_gate(Linear *l, const OnnxNode *n, uint32_t input, bool wanted)
{
    Import *im = l->im;
    Tensor *gate = arg_maybe(im, n, input);
    if (!wanted && gate)
        return fail(im, ST_bad_model, "this update_rule has no input %u", input);
    if (!wanted)
        return NULL;
    gate = wide(im, arg(im, n, input));
    bool one = expr_is_const(dim(im, gate, 2), 1) && input == 5;
    return split_heads(im, gate, one ? 1 : l->groups);
}

static bool read_rule(Linear *l, const OnnxNode *n)
{
    Import *im = l->im;
    const char *rule = attr_s(im, n, "update_rule", "gated_delta");
    bool gated = !strncmp(rule, "gated", 5), delta = !!strstr(rule, "delta");
    if (strcmp(rule, "linear") && strcmp(rule, "gated") && strcmp(rule, "delta") &&
        strcmp(rule, "gated_delta"))
        fail(im, ST_bad_model, "update_rule '%s'", onnx_printable(im->cx->arena, rule));
    l->decay = read_gate(l, n, 4, gated);
    l->beta = read_gate(l, n, 5, delta);
    return !cx_failed(im->cx);
}

/* The state before the first step; NULL after a failure. */
static Tensor *read_linear(Linear *l, const OnnxNode *n)
{
    Import *im = l->im;
    Tensor *q = arg(im, n, 0), *past = arg_maybe(im, n, 3);
    int64_t heads = attr_i(im, n, "q_num_heads", 0);
    l->groups = attr_i(im, n, "kv_num_heads", 0);
    if (cx_failed(im->cx) || l->groups < 1 || heads < 1 || heads % l->groups) {
        fail(im, ST_bad_model, "%lld query heads for %lld key heads", (long long)heads,
             (long long)l->groups);
        return NULL;
    }
    l->each = heads / l->groups;
    l->k = split_heads(im, wide(im, arg(im, n, 1)), l->groups);
    l->v = split_heads(im, wide(im, arg(im, n, 2)), l->groups);
    q = split_heads(im, wide(im, q), heads);
    const Expr *shape[] = {dim(im, l->k, 0), dim(im, l->k, 1), dim(im, l->k, 3), dim(im, l->v, 3)};
    const Expr *apart[] = {dim(im, q, 0), shape[1], expr_const(im->cx, l->each), dim(im, q, 2),
                           dim(im, q, 3)};
    l->q = reshape(im, q, 5, apart);
    if (!read_rule(l, n))
        return NULL;
    Tensor **by_time[] = {&l->k, &l->v, &l->decay, &l->beta};
    for (int i = 0; i < 4; i++)
        if (*by_time[i])
            *by_time[i] = with_extent(im, *by_time[i], 2, apart[3]);
    if (!past)
        return graph_fill(im->graph, scalar(im, l->k, 0), 4, shape);
    if (past->rank != 4)
        return fail(im, ST_bad_model, "a past state of shape %s", tensor_shape_text(im->cx, past));
    past = wide(im, past);
    for (int d = 0; d < 4; d++)
        past = with_extent(im, past, d, shape[d]);
    return past;
}

Tensor *import_linear_attention(Import *im, const OnnxNode *n)
{
    Linear *l = NEW(im->cx->arena, Linear);
    Tensor *query = arg(im, n, 0), *past = arg_maybe(im, n, 3);
    l->im = im;
    Tensor *state = cx_failed(im->cx) ? NULL : read_linear(l, n);
    l->scale = attr_f(im, n, "scale", 0);
    if (!state || cx_failed(im->cx))
        return graph_poison(im->graph);
    const Recurrence r = {n->op, l->q->shape[3], false, true, 1, enter, step, l};
    Tensor *y = recur(im, &r, &state); /* [t, b, groups, each, dv] */
    if (!y)
        return graph_poison(im->graph);
    if (wants(n, 1))
        set_result(im, 1, to(im, state, past ? past->dtype : query->dtype));
    y = arrange(im, y, 1, false);
    if (tensor_is_poison(y))
        return y;
    y = reshape(im, y, 3, (const Expr *[]){y->shape[0], y->shape[1], product(im, y, 2, 5)});
    return to(im, y, query->dtype);
}

/* ---- caches */

/* Element s of the result along the axis is update[s - w] where that exists, else the past; w is
 * the write index of the batch, and circular caches wrap. */
Tensor *import_tensor_scatter(Import *im, const OnnxNode *n)
{
    Tensor *past = arg(im, n, 0), *update = arg(im, n, 1), *start = arg_maybe(im, n, 2);
    const char *mode = attr_s(im, n, "mode", "linear");
    bool circular = !strcmp(mode, "circular");
    int axis = axis_of(im, attr_i(im, n, "axis", -2), past->rank);
    bool fits = !cx_failed(im->cx) && axis > 0 && update->rank == past->rank;
    for (int d = 0; fits && d < past->rank; d++)
        fits = d == axis || graph_same_dim(im->graph, past->shape[d], update->shape[d]);
    if (!fits)
        return fail(im, ST_bad_model, "axis %d of a cache of %s and updates of %s", axis,
                    tensor_shape_text(im->cx, past), tensor_shape_text(im->cx, update));
    if (!circular && strcmp(mode, "linear") != 0)
        return fail(im, ST_bad_model, "mode '%s'", onnx_printable(im->cx->arena, mode));
    if (expr_is_const(update->shape[axis], 0))
        return past;
    const Expr *shape[MAX_RANK];
    for (int d = 0; d < past->rank; d++)
        shape[d] = d == axis ? past->shape[d] : expr_const(im->cx, 1);
    Tensor *at = graph_iota(im->graph, DT_i64, past->rank, shape, axis);
    if (start)
        at = ew(im, S_sub, at, along(im, to(im, start, DT_i64), 0, past->rank));
    if (circular)
        at = ew(im, S_mod, at, expr_scalar(im, DT_i64, past->shape[axis]));
    Tensor *zero = expr_scalar(im, DT_i64, expr_const(im->cx, 0));
    Tensor *count = expr_scalar(im, DT_i64, update->shape[axis]);
    Tensor *written = ew(im, S_and, ew(im, S_le, zero, at), ew(im, S_lt, at, count));
    Tensor *from = pick(im, written, at, zero);
    Attr attrs[AT_count] = {[AT_axis] = attr_int(axis)};
    from = graph_expand(im->graph, from, past->rank, past->shape);
    Tensor *y = graph_node(im->graph, OP_gather_elements, 2, (Tensor *[]){update, from}, attrs);
    return pick(im, written, y, past);
}
