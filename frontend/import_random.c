/* Importers: random numbers, and Dropout.
 *
 * The generator is Philox 4x32 with ten rounds (Salmon et al., SC 2011): a function of a counter,
 * here the element's number, and a key, so that elements are independent and any device computes
 * the same. The key comes from the attribute `seed`, or anew for every run from the host. Words are
 * kept as u64, below 2^32. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

/* ---- the generator */

typedef struct Words {
    Tensor *word[4];
} Words;

static Tensor *low(Import *im, Tensor *x)
{
    return ew(im, S_and, x, scalar(im, x, 4294967295.0));
}

static Tensor *high(Import *im, Tensor *x)
{
    return ew(im, S_shr, x, scalar(im, x, 32));
}

/* Key [2] of a node. */
static Tensor *key_of(Import *im, const OnnxNode *n)
{
    const OnnxAttr *seed = attr(im, n, "seed");
    uint32_t bits = 0;
    int64_t two = 2;
    if (!seed) {
        const Expr *size[] = {expr_const(im->cx, 2)};
        const HostResult result = {DT_u64, 1, size, NULL};
        Tensor *salt = host_int(im, im->graph->node_count);
        return host(im, "entropy", 1, &salt, &result);
    }
    if (seed->type == OA_int && seed->count)
        bits = (uint32_t)seed->ints[0];
    else if (seed->type == OA_float && seed->count)
        memcpy(&bits, seed->floats, sizeof bits);
    else
        return fail(im, ST_bad_model, "attribute 'seed' is not a number");
    const uint64_t key[] = {bits, 0};
    const void *data = arena_copy(im->cx->arena, key, sizeof key);
    return graph_constant(im->graph, NULL, DT_u64, 1, &two, data);
}

/* Four words for every element of a tensor of this shape. */
static Words philox(Import *im, Tensor *key, int rank, const Expr *const *shape)
{
    static const double factor[] = {0xD2511F53, 0xCD9E8D57};
    static const uint64_t step[] = {0x9E3779B9, 0xBB67AE85};
    const Expr *count = expr_const(im->cx, 1), *zero = expr_const(im->cx, 0),
               *one = expr_const(im->cx, 1);
    for (int d = 0; d < rank; d++)
        count = expr_mul(im->cx, count, shape[d]);
    Tensor *number = reshape(im, graph_iota(im->graph, DT_i64, 1, &count, 0), rank, shape);
    number = to(im, number, DT_u64);
    Tensor *none = scalar(im, number, 0), *k[2];
    for (int i = 0; i < 2; i++)
        k[i] = squeeze(im, slice_axis(im, key, 0, i ? one : zero, one), 0);
    Words c = {{low(im, number), high(im, number), none, none}};
    for (uint64_t round = 0; round < 10; round++) {
        Tensor *a = ew(im, S_mul, c.word[0], scalar(im, number, factor[0]));
        Tensor *b = ew(im, S_mul, c.word[2], scalar(im, number, factor[1]));
        Tensor *key_a =
            ew(im, S_add, k[0], scalar(im, number, (double)(uint32_t)(round * step[0])));
        Tensor *key_b =
            ew(im, S_add, k[1], scalar(im, number, (double)(uint32_t)(round * step[1])));
        Tensor *first = ew(im, S_xor, ew(im, S_xor, high(im, b), c.word[1]), low(im, key_a));
        Tensor *third = ew(im, S_xor, ew(im, S_xor, high(im, a), c.word[3]), low(im, key_b));
        c = (Words){{first, low(im, b), third, low(im, a)}};
    }
    return c;
}

/* A number in [0, 1), or with `open` in (0, 1), of 24 bits from one word, or 53 bits from two. */
static Tensor *unit(Import *im, const Words *words, int which, Dtype dtype, bool open)
{
    Tensor *a = words->word[2 * which], *b = words->word[2 * which + 1], *x;
    if (dtype == DT_f64) {
        a = to(im, ew(im, S_shr, a, scalar(im, a, 5)), DT_f64);
        b = to(im, ew(im, S_shr, b, scalar(im, b, 6)), DT_f64);
        x = ew(im, S_add, ew(im, S_mul, a, scalar(im, a, 0x1p-27)),
               ew(im, S_mul, b, scalar(im, b, 0x1p-53)));
        return open ? ew(im, S_add, x, scalar(im, x, 0x1p-54)) : x;
    }
    x = to(im, to(im, ew(im, S_shr, a, scalar(im, a, 8)), DT_i32), DT_f32);
    if (open)
        x = ew(im, S_add, x, scalar(im, x, 0.5));
    return ew(im, S_mul, x, scalar(im, x, 0x1p-24));
}

static Tensor *uniform(Import *im, Tensor *key, int rank, const Expr *const *shape, Dtype dtype)
{
    Words words = philox(im, key, rank, shape);
    return unit(im, &words, 0, dtype_compute(dtype), false);
}

/* sqrt(-2 log u) cos(2 pi v) (Box and Muller, 1958) */
static Tensor *normal(Import *im, Tensor *key, int rank, const Expr *const *shape, Dtype dtype)
{
    Words words = philox(im, key, rank, shape);
    Tensor *u = unit(im, &words, 0, dtype_compute(dtype), true);
    Tensor *v = unit(im, &words, 1, dtype_compute(dtype), false);
    Tensor *radius = ew1(im, S_sqrt, ew(im, S_mul, ew1(im, S_log, u), scalar(im, u, -2)));
    Tensor *angle = ew(im, S_mul, v, scalar(im, v, 2 * 3.14159265358979323846));
    return ew(im, S_mul, radius, ew1(im, S_cos, angle));
}

/* ---- operators */

/* RandomUniform, RandomNormal and the same like a tensor. */
Tensor *import_random(Import *im, const OnnxNode *n)
{
    enum { NORMAL = 1, LIKE = 2 };
    Tensor *like = im->arg & LIKE ? arg(im, n, 0) : NULL;
    const Expr *shape[MAX_RANK];
    const int64_t *dims = NULL;
    int rank = like ? like->rank : 0;
    if (!like && (!attr_list(im, n, "shape", &rank, &dims) || rank > MAX_RANK))
        return fail(im, ST_bad_model, "attribute 'shape' is missing or longer than %d", MAX_RANK);
    for (int d = 0; d < rank; d++) {
        shape[d] = like ? like->shape[d] : expr_const(im->cx, dims[d]);
        if (shape[d]->kind == EX_const && shape[d]->value < 0)
            return fail(im, ST_bad_model, "a size of %lld", (long long)shape[d]->value);
    }
    Dtype dtype = dtype_attr(im, n, "dtype", like ? like->dtype : DT_f32);
    if (cx_failed(im->cx) || !dtype_is_float(dtype) || dtype_bits(dtype) < 16)
        return fail(im, ST_bad_model, "random numbers of type %s", dtype_name(dtype));
    Tensor *key = key_of(im, n);
    if (im->arg & NORMAL) {
        Tensor *x = normal(im, key, rank, shape, dtype);
        x = ew(im, S_mul, x, scalar(im, x, attr_f(im, n, "scale", 1)));
        return to(im, ew(im, S_add, x, scalar(im, x, attr_f(im, n, "mean", 0))), dtype);
    }
    double lo = attr_f(im, n, "low", 0), hi = attr_f(im, n, "high", 1);
    Tensor *x = uniform(im, key, rank, shape, dtype);
    return to(im, ew(im, S_add, ew(im, S_mul, x, scalar(im, x, hi - lo)), scalar(im, x, lo)),
              dtype);
}

Tensor *import_bernoulli(Import *im, const OnnxNode *n)
{
    Tensor *p = arg(im, n, 0);
    Dtype dtype = dtype_attr(im, n, "dtype", p->dtype);
    if (cx_failed(im->cx) || !dtype_is_float(p->dtype))
        return fail(im, ST_bad_model, "probabilities of type %s", dtype_name(p->dtype));
    p = wide(im, p);
    return to(im, ew(im, S_lt, uniform(im, key_of(im, n), p->rank, p->shape, p->dtype), p), dtype);
}

/* The class with the largest x - log(-log u) is drawn with probability softmax(x) (Gumbel). */
Tensor *import_multinomial(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t samples = attr_i(im, n, "sample_size", 1);
    Dtype dtype = dtype_attr(im, n, "dtype", DT_i32);
    if (cx_failed(im->cx) || x->rank != 2 || !dtype_is_float(x->dtype) || samples < 1 ||
        samples > 1 << 24)
        return fail(im, ST_bad_model, "%lld samples of %s", (long long)samples,
                    tensor_shape_text(im->cx, x));
    const Expr *shape[] = {x->shape[0], expr_const(im->cx, samples), x->shape[1]};
    x = unsqueeze(im, wide(im, x), 1);
    Words words = philox(im, key_of(im, n), 3, shape);
    Tensor *u = unit(im, &words, 0, x->dtype, true);
    Tensor *noise = ew1(im, S_log, ew1(im, S_neg, ew1(im, S_log, u)));
    Tensor *scores = ew(im, S_sub, x, noise);
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(M_argmax), [AT_axis] = attr_int(2), [AT_keep] = attr_int(0)};
    return to(im, graph_node(im->graph, OP_arg, 1, &scores, at), dtype);
}

/* ---- dropout */

/* The first numbers of numpy's generator of old, MT19937 (Matsumoto and Nishimura, 1998) seeded
 * with one word: doubles in [0, 1). */
static void mersenne_numbers(uint32_t seed, int64_t count, double *to)
{
    enum { N = 624, M = 397 };
    uint32_t state[N], pair[2];
    int at = N;
    state[0] = seed;
    for (uint32_t i = 1; i < N; i++)
        state[i] = 1812433253u * (state[i - 1] ^ state[i - 1] >> 30) + i;
    for (int64_t i = 0; i < 2 * count; i++) {
        for (int k = 0; at == N && k < N; k++) {
            uint32_t y = (state[k] & 0x80000000u) | (state[(k + 1) % N] & 0x7FFFFFFFu);
            state[k] = state[(k + M) % N] ^ y >> 1 ^ (y & 1 ? 0x9908B0DFu : 0);
        }
        at = at == N ? 0 : at;
        uint32_t y = state[at++];
        y ^= y >> 11;
        y ^= y << 7 & 0x9D2C5680u;
        y ^= y << 15 & 0xEFC60000u;
        pair[i % 2] = y ^ y >> 18;
        if (i % 2)
            to[i / 2] = ((pair[0] >> 5) * 67108864.0 + (pair[1] >> 6)) / 9007199254740992.0;
    }
}

/* ONNX does not say which numbers a seed gives. For Dropout its tests take those of its reference
 * implementation, so a seed means these where their number is known and moderate. */
static Tensor *dropout_numbers(Import *im, const OnnxNode *n, const Tensor *x)
{
    enum { MOST = 1 << 16 };
    const OnnxAttr *seed = attr(im, n, "seed");
    int64_t count = tensor_count_const(im->cx, x), dims[MAX_RANK];
    if (!seed || seed->type != OA_int || count < 0 || count > MOST)
        return uniform(im, key_of(im, n), x->rank, x->shape, DT_f32);
    for (int d = 0; d < x->rank; d++)
        dims[d] = x->shape[d]->value;
    double *numbers = NEW_ARRAY(im->cx->arena, double, (size_t)count + 1);
    mersenne_numbers((uint32_t)seed->ints[0], count, numbers);
    return graph_constant(im->graph, NULL, DT_f64, x->rank, dims, numbers);
}

/* x where its number is not below the ratio, scaled up; x itself and a mask of ones unless
 * training. */
static Tensor *dropped(Import *im, const OnnxNode *n, Tensor *x, Tensor *training, Tensor **mask)
{
    Tensor *ratio = arg_maybe(im, n, 1);
    if (tensor_is_poison(x))
        return x;
    if (n->opset < 12)
        ratio = graph_scalar(im->graph, DT_f32, attr_f(im, n, "ratio", 0.5));
    ratio = ratio ? to(im, reshape(im, ratio, 0, NULL), dtype_compute(ratio->dtype))
                  : graph_scalar(im->graph, DT_f32, 0.5);
    Tensor *numbers = dropout_numbers(im, n, x);
    if (tensor_is_poison(numbers) || tensor_is_poison(ratio))
        return graph_poison(im->graph);
    Tensor *kept = ew(im, S_le, to(im, ratio, numbers->dtype), numbers), *w = wide(im, x);
    Tensor *scale = ew(im, S_sub, scalar(im, ratio, 1), ratio);
    Tensor *y = to(im, ew(im, S_div, w, to(im, scale, w->dtype)), x->dtype);
    if (training) { /* and x itself for a ratio of 0, as ONNX says */
        training = reshape(im, training, 0, NULL);
        kept = ew(im, S_or, kept, ew1(im, S_not, training));
        y = pick(im, training, y, x);
    }
    *mask = kept;
    return pick(im, kept, y, scalar(im, x, 0));
}

Tensor *import_dropout(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *training = n->opset >= 12 ? arg_maybe(im, n, 2) : NULL,
           *mask = NULL;
    bool never = n->opset < 7 ? attr_i(im, n, "is_test", 0) != 0 : !training;
    if (training && training->elements && training->elements[0]->kind == EX_const) {
        never = !training->elements[0]->value;
        training = NULL;
    }
    if (!never)
        x = dropped(im, n, x, training, &mask);
    if (cx_failed(im->cx) || !wants(n, 1))
        return x;
    Dtype dtype = n->opset >= 10 ? DT_bool : x->dtype;
    set_result(im, 1,
               mask ? to(im, mask, dtype)
                    : graph_fill(im->graph, graph_scalar(im->graph, dtype, 1), x->rank, x->shape));
    return x;
}
