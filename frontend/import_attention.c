/* Importers: Attention and RotaryEmbedding, as the compositions their definitions give.
 *
 * Attention, over q [b, heads, s, size] and k, v [b, groups, t, size]:
 *   scores = scale q k', soft-capped, masked; y = softmax(scores) v
 * Heads that share keys are an axis of their own in the products: q [b, groups, heads / groups, s,
 * size] by k [b, groups, 1, size, t]. What is not allowed (causal, window, padding, a mask of false
 * or -inf) is selected to -inf; a row with nothing allowed gives 0. Everything is computed in
 * float32 or float64, also where softmax_precision is absent and ONNX names the inputs' type: sums
 * of many probabilities in 8 or 11 bits stop growing. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

static Tensor *transpose(Import *im, Tensor *x, const int64_t *perm)
{
    return graph_transpose(im->graph, x, perm);
}

Tensor *split_heads(Import *im, Tensor *x, int64_t heads)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    if (tensor_is_poison(x) || x->rank == 4)
        return x;
    const Expr *count = expr_const(im->cx, heads);
    const Expr *size = x->rank == 3 ? graph_share(im->graph, x->shape[2], count) : NULL;
    if (!size)
        return fail(im, ST_bad_model, "%lld heads in %s", (long long)heads,
                    tensor_shape_text(im->cx, x));
    const Expr *shape[] = {x->shape[0], x->shape[1], count, size};
    Tensor *split = reshape(im, x, 4, shape);
    return tensor_is_poison(split) ? split : transpose(im, split, perm);
}

static Tensor *join_heads(Import *im, Tensor *x)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    if (tensor_is_poison(x))
        return x;
    const Expr *shape[] = {x->shape[0], x->shape[2], expr_mul(im->cx, x->shape[1], x->shape[3])};
    return reshape(im, transpose(im, x, perm), 3, shape);
}

/* x [b, groups * each, m, n] times y [b, groups, n, o]. */
static Tensor *grouped_product(Import *im, Tensor *x, Tensor *y)
{
    if (tensor_is_poison(x) || tensor_is_poison(y))
        return graph_poison(im->graph);
    const Expr *heads = x->shape[1], *groups = y->shape[1];
    if (heads == groups)
        return graph_matmul(im->graph, x, y);
    const Expr *each = graph_share(im->graph, heads, groups);
    if (!each)
        return fail(im, ST_bad_model, "heads of %s and %s", tensor_shape_text(im->cx, x),
                    tensor_shape_text(im->cx, y));
    const Expr *apart[] = {x->shape[0], groups, each, x->shape[2], x->shape[3]};
    Tensor *product_of = graph_matmul(im->graph, reshape(im, x, 5, apart), unsqueeze(im, y, 2));
    const Expr *joined[] = {x->shape[0], heads, dim(im, product_of, -2), dim(im, product_of, -1)};
    return reshape(im, product_of, 4, joined);
}

Tensor *head_scale(Import *im, Dtype dtype, const Expr *size)
{
    if (size->kind == EX_const)
        return graph_scalar(im->graph, dtype, 1 / sqrt((double)size->value));
    Tensor *root = ew1(im, S_sqrt, expr_scalar(im, dtype, size));
    return ew(im, S_div, graph_scalar(im->graph, dtype, 1), root);
}

static Tensor *scale_of(Import *im, const OnnxNode *n, const Expr *size, Dtype compute)
{
    return attr(im, n, "scale") ? graph_scalar(im->graph, compute, attr_f(im, n, "scale", 1))
                                : head_scale(im, compute, size);
}

typedef struct Mask {
    Tensor *allowed; /* bool, or NULL = everything */
    Tensor *bias;    /* added, or NULL */
    bool row_may_be_empty;
} Mask;

static void allow(Import *im, Mask *m, Tensor *condition)
{
    m->allowed = m->allowed ? ew(im, S_and, m->allowed, condition) : condition;
}

/* The mask with the extents of the scores, but where it is plainly 1: what is open may be 1 or the
 * same, and the scores would else be as large as the larger. */
static Tensor *as_scores(Import *im, Tensor *mask, const Expr *const *scores)
{
    const Expr *shape[4];
    if (tensor_is_poison(mask) || mask->rank > 4)
        return mask;
    for (int d = 0; d < mask->rank; d++) {
        bool one = expr_is_const(mask->shape[d], 1);
        shape[d] = one ? mask->shape[d] : scores[4 - mask->rank + d];
    }
    return graph_expand(im->graph, mask, mask->rank, shape);
}

/* The mask input, padded to the columns of the scores with what forbids. */
static void read_mask(Import *im, Tensor *mask, const Expr *const *scores, Dtype compute, Mask *m)
{
    const Expr *before[MAX_RANK], *after[MAX_RANK], *zero = expr_const(im->cx, 0);
    const Expr *keys = scores[3];
    if (!mask || tensor_is_poison(mask))
        return;
    if (mask->rank < 1) {
        fail(im, ST_bad_model, "a mask of rank 0");
        return;
    }
    bool boolean = mask->dtype == DT_bool;
    for (int d = 0; d < mask->rank; d++)
        before[d] = after[d] = zero;
    after[mask->rank - 1] =
        expr_max(im->cx, expr_sub(im->cx, keys, mask->shape[mask->rank - 1]), zero);
    Tensor *fill = boolean ? scalar(im, mask, 0) : scalar(im, mask, (double)-INFINITY);
    mask = as_scores(im, graph_pad(im->graph, mask, fill, before, after, "constant"), scores);
    m->row_may_be_empty = true;
    if (boolean)
        allow(im, m, mask);
    else
        m->bias = to(im, mask, compute);
    if (m->bias) /* whatever the scores are there: infinities would give NaN */
        allow(im, m, ew(im, S_lt, scalar(im, m->bias, (double)-INFINITY), m->bias));
}

/* Position of a query among the keys: [s, 1], or [b, 1, s, 1] with lengths per batch. */
static Tensor *query_positions(Import *im, const Expr *queries, Tensor *offset)
{
    const Expr *rows[] = {queries, expr_const(im->cx, 1)};
    return ew(im, S_add, graph_iota(im->graph, DT_i64, 2, rows, 0), offset);
}

static Tensor *position(Import *im, int64_t value)
{
    return expr_scalar(im, DT_i64, expr_const(im->cx, value));
}

/* Conditions on positions: causal, windows, and how many keys there are. */
static void read_positions(Import *im, const OnnxNode *n, const Expr *queries, const Expr *keys,
                           Tensor *past, Mask *m)
{
    Tensor *lengths = arg_maybe(im, n, 6);
    int64_t left = attr_i(im, n, "left_window_size", -1),
            right = attr_i(im, n, "right_window_size", -1);
    bool causal = attr_i(im, n, "is_causal", 0);
    Tensor *offset = expr_scalar(im, DT_i64, past ? dim(im, past, 2) : expr_const(im->cx, 0));
    if (lengths) {
        const Expr *one = expr_const(im->cx, 1), *columns[] = {one, one, one, keys};
        Tensor *count = along(im, to(im, lengths, DT_i64), 0, 4);
        allow(im, m, ew(im, S_lt, graph_iota(im->graph, DT_i64, 4, columns, 3), count));
        offset = past ? offset : ew(im, S_sub, count, expr_scalar(im, DT_i64, queries));
        m->row_may_be_empty = true;
    }
    if (!causal && left < 0 && right < 0)
        return;
    const Expr *columns[] = {expr_const(im->cx, 1), keys};
    Tensor *row = query_positions(im, queries, offset),
           *key = graph_iota(im->graph, DT_i64, 2, columns, 1);
    if (causal)
        allow(im, m, ew(im, S_le, key, row));
    if (left >= 0)
        allow(im, m, ew(im, S_le, row, ew(im, S_add, key, position(im, left))));
    if (right >= 0)
        allow(im, m, ew(im, S_le, key, ew(im, S_add, row, position(im, right))));
    m->row_may_be_empty |= left >= 0 || right >= 0;
}

/* The optional fourth output: the scores at one of four stages. */
static void expose(Import *im, const OnnxNode *n, int stage, Tensor *x, Dtype dtype)
{
    if (wants(n, 3) && attr_i(im, n, "qk_matmul_output_mode", 0) == stage)
        set_result(im, 3, to(im, x, dtype));
}

static Tensor *masked_scores(Import *im, const OnnxNode *n, Tensor *scores, const Mask *m,
                             Dtype dtype)
{
    double cap = attr_f(im, n, "softcap", 0);
    expose(im, n, 0, scores, dtype);
    if (cap > 0) {
        Tensor *t = ew1(im, S_tanh, ew(im, S_div, scores, scalar(im, scores, cap)));
        scores = ew(im, S_mul, t, scalar(im, scores, cap));
    }
    expose(im, n, 1, scores, dtype);
    if (m->bias)
        scores = ew(im, S_add, scores, m->bias);
    if (m->allowed)
        scores = pick(im, m->allowed, scores, scalar(im, scores, (double)-INFINITY));
    expose(im, n, 2, scores, dtype);
    return scores;
}

Tensor *import_attention(Import *im, const OnnxNode *n)
{
    static const int64_t swap[] = {0, 1, 3, 2};
    Tensor *q = arg(im, n, 0), *k = arg(im, n, 1), *v = arg(im, n, 2),
           *past[] = {arg_maybe(im, n, 4), arg_maybe(im, n, 5)};
    if (cx_failed(im->cx) || q->rank != k->rank || q->rank != v->rank ||
        (q->rank != 3 && q->rank != 4))
        return fail(im, ST_bad_model, "queries, keys and values that are not all of rank 3 or 4");
    bool joined = q->rank == 3;
    Dtype dtype = q->dtype, precision = (Dtype)attr_i(im, n, "softmax_precision", DT_f32);
    Dtype compute = precision == DT_f64 || dtype == DT_f64 ? DT_f64 : DT_f32;
    int64_t groups = attr_i(im, n, "kv_num_heads", 0);
    q = split_heads(im, q, attr_i(im, n, "q_num_heads", 0));
    k = split_heads(im, k, groups);
    v = split_heads(im, v, groups);
    if (past[0])
        k = graph_concat(im->graph, 2, (Tensor *[]){past[0], k}, 2);
    if (past[1])
        v = graph_concat(im->graph, 2, (Tensor *[]){past[1], v}, 2);
    if (wants(n, 1))
        set_result(im, 1, k);
    if (wants(n, 2))
        set_result(im, 2, v);
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    if (!graph_same_dim(im->graph, k->shape[1], v->shape[1]))
        return fail(im, ST_bad_model, "heads of %s and %s", tensor_shape_text(im->cx, k),
                    tensor_shape_text(im->cx, v));
    Tensor *scale = scale_of(im, n, q->shape[3], compute);
    Mask mask = {NULL, NULL, false};
    const Expr *queries = dim(im, q, 2), *keys = dim(im, k, 2);
    const Expr *shape[] = {q->shape[0], q->shape[1], queries, keys};
    read_mask(im, arg_maybe(im, n, 3), shape, compute, &mask);
    read_positions(im, n, queries, keys, past[0], &mask);
    Tensor *scores =
        grouped_product(im, to(im, q, compute), transpose(im, to(im, k, compute), swap));
    scores = masked_scores(im, n, ew(im, S_mul, scores, scale), &mask, dtype);
    if (tensor_is_poison(scores))
        return scores;
    Tensor *p = graph_softmax(im->graph, scores, 3, mask.row_may_be_empty);
    expose(im, n, 3, p, dtype);
    Tensor *y = to(im, grouped_product(im, p, to(im, v, compute)), dtype);
    return joined ? join_heads(im, y) : y;
}

/* ---- attention with subgraphs */

/* x through the subgraph of an attribute, which keeps its type; without the attribute x stays. */
static Tensor *modified(Import *im, const OnnxNode *n, const char *name, Tensor *x)
{
    const OnnxAttr *found = attr(im, n, name);
    if (!found || tensor_is_poison(x))
        return x;
    Tensor *y = NULL;
    if (found->type != OA_graph || found->graphs[0]->input_count != 1 ||
        found->graphs[0]->output_count != 1)
        return fail(im, ST_bad_model, "attribute '%s' is no graph from one tensor to one", name);
    import_subgraph(im, found->graphs[0], &x, &y, 1);
    if (!y || tensor_is_poison(y))
        return fail(im, ST_bad_model, "the graph '%s' gives nothing", name);
    bool same = y->dtype == x->dtype && y->rank == x->rank;
    for (int d = 0; same && d < x->rank; d++)
        same = graph_same_dim(im->graph, x->shape[d], y->shape[d]);
    return same ? y
                : fail(im, ST_bad_model, "the graph '%s' makes %s of %s", name,
                       tensor_shape_text(im->cx, y), tensor_shape_text(im->cx, x));
}

/* The scores are computed wide and handed to the subgraphs in the type softmax_precision names. */
Tensor *import_flex_attention(Import *im, const OnnxNode *n)
{
    static const int64_t swap[] = {0, 1, 3, 2};
    Tensor *q = arg(im, n, 0), *k = arg(im, n, 1), *v = arg(im, n, 2);
    if (cx_failed(im->cx) || q->rank != 4 || k->rank != 4 || v->rank != 4)
        return fail(im, ST_bad_model, "queries, keys and values that are not all of rank 4");
    bool wide_input = q->dtype == DT_f64;
    int64_t precision = attr_i(im, n, "softmax_precision", wide_input ? DT_f64 : DT_f32);
    if (precision <= 0 || precision >= DT_count || !dtype_is_float((Dtype)precision))
        return fail(im, ST_bad_model, "softmax_precision %lld", (long long)precision);
    Dtype dtype = (Dtype)precision, compute = wide_input ? DT_f64 : dtype_compute(dtype);
    if (!graph_same_dim(im->graph, k->shape[1], v->shape[1]))
        return fail(im, ST_bad_model, "heads of %s and %s", tensor_shape_text(im->cx, k),
                    tensor_shape_text(im->cx, v));
    Tensor *scale = scale_of(im, n, q->shape[3], compute);
    Tensor *scores =
        grouped_product(im, to(im, q, compute), transpose(im, to(im, k, compute), swap));
    scores = to(im, ew(im, S_mul, scores, scale), dtype);
    scores = modified(im, n, "score_mod", scores);
    if (tensor_is_poison(scores))
        return scores;
    Tensor *p = modified(im, n, "prob_mod", graph_softmax(im->graph, scores, 3, false));
    return to(im, grouped_product(im, to(im, p, compute), to(im, v, compute)), q->dtype);
}

/* ---- rotary embedding */

/* One of the two caches as [b, 1, s, size / 2]: rows picked by position, or given per batch. */
static Tensor *angles(Import *im, Tensor *cache, Tensor *positions)
{
    if (positions)
        cache = graph_gather(im->graph, cache, positions, 0);
    if (!tensor_is_poison(cache) && cache->rank != 3)
        return fail(im, ST_bad_model, "a cache of shape %s", tensor_shape_text(im->cx, cache));
    return unsqueeze(im, cache, 1);
}

static Tensor *slice_last(Import *im, Tensor *x, const Expr *from, const Expr *count)
{
    return tensor_is_poison(x) ? x : slice_axis(im, x, x->rank - 1, from, count);
}

/* x [b, heads, s, size]: pairs (a, b) of the first 2 * `half` elements turn; halves, or neighbours
 * when interleaved. */
static Tensor *rotate(Import *im, Tensor *x, const Expr *half, bool interleaved, Tensor *cosine,
                      Tensor *sine)
{
    const Expr *zero = expr_const(im->cx, 0), *one = expr_const(im->cx, 1);
    const Expr *two = expr_const(im->cx, 2), *count = expr_muli(im->cx, half, 2);
    Tensor *turned = slice_last(im, x, zero, count), *a, *b;
    if (tensor_is_poison(turned))
        return turned;
    const Expr *pairs[] = {x->shape[0], x->shape[1], x->shape[2], half, two};
    const Expr *flat[] = {x->shape[0], x->shape[1], x->shape[2], count};
    if (interleaved) {
        Tensor *apart = reshape(im, turned, 5, pairs);
        a = squeeze(im, slice_last(im, apart, zero, one), 4);
        b = squeeze(im, slice_last(im, apart, one, one), 4);
    } else {
        a = slice_last(im, turned, zero, half);
        b = slice_last(im, turned, half, half);
    }
    Tensor *real = ew(im, S_sub, ew(im, S_mul, cosine, a), ew(im, S_mul, sine, b));
    Tensor *imaginary = ew(im, S_add, ew(im, S_mul, sine, a), ew(im, S_mul, cosine, b));
    if (!interleaved)
        return graph_concat(im->graph, 2, (Tensor *[]){real, imaginary}, 3);
    Tensor *parts[] = {unsqueeze(im, real, 4), unsqueeze(im, imaginary, 4)};
    return reshape(im, graph_concat(im->graph, 2, parts, 4), 4, flat);
}

Tensor *import_rotary(Import *im, const OnnxNode *n)
{
    Tensor *given = arg(im, n, 0), *positions = arg_maybe(im, n, 3);
    Tensor *x = wide(im, split_heads(im, given, attr_i(im, n, "num_heads", 0)));
    const Expr *size = dim(im, x, 3);
    int64_t turned = attr_i(im, n, "rotary_embedding_dim", 0);
    const Expr *count = turned ? expr_const(im->cx, turned) : size;
    const Expr *half =
        cx_failed(im->cx) ? NULL : graph_share(im->graph, count, expr_const(im->cx, 2));
    const Expr *rest = expr_max(im->cx, expr_sub(im->cx, size, count), expr_const(im->cx, 0));
    /* an open size is looked at in the run: it is the greater of itself and what turns */
    if (!half || half->hi < 1 || !graph_same_dim(im->graph, expr_max(im->cx, size, count), size)) {
        Text text;
        text_init(&text, im->cx->arena);
        expr_print(&text, size);
        return fail(im, ST_bad_model, "a rotation of %lld of %s elements", (long long)turned,
                    text.data);
    }
    Tensor *cosine = angles(im, wide(im, arg(im, n, 1)), positions);
    Tensor *sine = angles(im, wide(im, arg(im, n, 2)), positions);
    Tensor *y = rotate(im, x, half, attr_i(im, n, "interleaved", 0), cosine, sine);
    if (count != size)
        y = graph_concat(im->graph, 2, (Tensor *[]){y, slice_last(im, x, count, rest)}, 3);
    y = to(im, y, given->dtype);
    return given->rank == 3 ? join_heads(im, y) : y;
}
