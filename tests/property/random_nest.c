/* The generator of random nests. Every value made here has a bound on its magnitude in Gen.bounds,
 * and an operation is taken only when its result stays exact; so the choice of an operation is
 * "try, else keep the operand". */
#include "tests/property/random_nest.h"

enum { MAX_BOUNDS = 512 };
static const double exact_limit = 1 << 22;

typedef struct Gen {
    Cx *cx;
    Nest *nest;
    uint64_t state;
    Dtype dtype;
    int inputs;
    double bounds[MAX_BOUNDS];
} Gen;

uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* lo..hi, both included. */
static int64_t range(Gen *g, int64_t lo, int64_t hi)
{
    return lo + (int64_t)(random_next(&g->state) % (uint64_t)(hi - lo + 1));
}

static bool chance(Gen *g, int percent)
{
    return range(g, 0, 99) < percent;
}

static Value *bounded(Gen *g, Value *v, double bound)
{
    CHECK(v->id < MAX_BOUNDS);
    g->bounds[v->id] = bound;
    return v;
}

static double bound(const Gen *g, const Value *v)
{
    return g->bounds[v->id];
}

static const Expr *konst(Gen *g, int64_t value)
{
    return expr_const(g->cx, value);
}

/* ---- extents and leaves */

static const Expr *random_extent(Gen *g, int64_t most)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 24, 33, 40};
    int64_t size;
    do
        size = sizes[range(g, 0, 13)];
    while (size > most);
    uint32_t dims = g->nest->dim_count;
    const Expr *dim = dims ? g->nest->dims[range(g, 0, dims - 1)] : NULL;
    return dim && dim->hi <= most && chance(g, 50) ? dim : konst(g, size);
}

/* Dims come before axes, so that the text's order of symbols is the builder's. */
static void make_dims(Gen *g)
{
    static const int64_t most[] = {5, 9, 24, 40};
    for (int64_t i = range(g, -4, 2); i > 0; i--)
        nest_dim(g->nest, "D", 1, most[range(g, 0, 3)], 1);
}

static const Axis *random_axis(Gen *g, const char *name, int64_t most)
{
    return nest_axis(g->nest, name, random_extent(g, most));
}

static const Buffer *input(Gen *g, Dtype dtype, int rank, const Expr *const *shape)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    BufferRole role = chance(g, 30) ? BUF_const : BUF_in;
    Buffer *buffer = nest_buffer(g->nest, names[g->inputs++ % 8], dtype, role, rank, shape);
    if (rank > 0 && chance(g, 15)) { /* a view with longer rows and an offset */
        const Expr *stride = konst(g, 1);
        for (int i = rank; i-- > 0;) {
            buffer->strides[i] = stride;
            stride =
                expr_mul(g->cx, stride, i == rank - 1 ? expr_addi(g->cx, shape[i], 3) : shape[i]);
        }
        buffer->offset = konst(g, range(g, 0, 5));
    }
    return buffer;
}

static Scalar number(const Gen *g, double value)
{
    return dtype_is_float(g->dtype) ? (Scalar){.f = value} : (Scalar){.i = (int64_t)value};
}

/* One dimension of a random load: its size, index and perhaps guard. */
static int random_index(Gen *g, const Axis *axis, const Expr **shape, const Expr **index,
                        Guard *guard)
{
    Cx *cx = g->cx;
    int64_t shift = range(g, -2, 2);
    *shape = axis->extent;
    *index = axis->sym;
    switch (range(g, 0, 9)) {
    case 0: /* reversed */
        *index = expr_sub(cx, expr_addi(cx, axis->extent, -1), axis->sym);
        return 0;
    case 1: /* every second */
        *shape = expr_addi(cx, expr_muli(cx, axis->extent, 2), -1);
        *index = expr_muli(cx, axis->sym, 2);
        return 0;
    case 2: /* broadcast of a dimension of 1 */
        *shape = konst(g, 1);
        *index = konst(g, 0);
        return 0;
    case 3: /* shifted, with padding */
        *index = expr_addi(cx, axis->sym, shift);
        *guard = (Guard){*index, konst(g, 0), axis->extent};
        return 1;
    case 4: /* each element twice */
        *shape = expr_ceildiv(cx, axis->extent, konst(g, 2));
        *index = expr_divi(cx, axis->sym, 2);
        return 0;
    default: return 0;
    }
}

static Value *leaf(Gen *g, const Axis *const *axes, int count)
{
    const Expr *shape[4], *index[4];
    Guard guards[4];
    int rank = 0, guard_count = 0, start = (int)range(g, 0, 3);
    bool rotate = chance(g, 15); /* a transposed operand */
    for (int i = 0; i < count; i++) {
        const Axis *axis = axes[rotate ? (i + start) % count : i];
        if (chance(g, 80)) {
            guard_count += random_index(g, axis, &shape[rank], &index[rank], &guards[guard_count]);
            rank++;
        }
    }
    const Buffer *buffer = input(g, g->dtype, rank, shape);
    Value *v =
        nest_load(g->nest, buffer, index, guards, guard_count, number(g, (double)range(g, -2, 2)));
    return bounded(g, v, 3);
}

/* ---- operations */

static double scalar_bound(ScalarOp op, double a, double b)
{
    switch ((int)op) {
    case S_mul: return a * b;
    case S_add:
    case S_sub: return a + b;
    default: return a > b ? a : b;
    }
}

static Value *operation(Gen *g, ScalarOp op, Value *a, Value *b)
{
    double result = scalar_bound(op, bound(g, a), b ? bound(g, b) : 0);
    if (result > exact_limit / 64)
        return a;
    return bounded(g, nest_scalar(g->nest, op, a, b, NULL), result);
}

static Value *random_operation(Gen *g, Value *a, Value *b)
{
    static const ScalarOp ops[] = {S_add, S_sub, S_mul, S_min, S_max, S_neg, S_abs};
    int64_t pick = range(g, 0, 8);
    if (pick < 7)
        return operation(g, ops[pick], a, scalar_arity(ops[pick]) == 2 ? b : NULL);
    Value *test = bounded(g, nest_scalar(g->nest, pick == 7 ? S_lt : S_eq, a, b, NULL), 1);
    double result = scalar_bound(S_max, bound(g, a), bound(g, b));
    return bounded(g, nest_scalar(g->nest, S_select, test, a, b), result);
}

static Value *constant(Gen *g)
{
    int64_t value = range(g, -3, 3);
    return bounded(g, nest_const(g->nest, g->dtype, number(g, (double)value)), 3);
}

static Value *tree(Gen *g, const Axis *const *axes, int count, int depth)
{
    if (depth == 0 || g->inputs >= 6) {
        if (chance(g, 15) || g->inputs >= 6)
            return constant(g);
        return leaf(g, axes, count);
    }
    Value *a = tree(g, axes, count, depth - 1);
    return random_operation(g, a, chance(g, 20) ? a : tree(g, axes, count, depth - 1));
}

/* Number of points of an axis at most. */
static double points(const Axis *axis)
{
    return (double)axis->extent->hi;
}

static Value *reduce(Gen *g, Monoid monoid, const Axis *const *axes, int count, Value *a)
{
    uint64_t set = 0;
    double total = 1;
    for (int i = 0; i < count; i++) {
        set |= (uint64_t)1 << axes[i]->number;
        total *= points(axes[i]);
    }
    if (monoid == M_sum && total * bound(g, a) > exact_limit)
        monoid = M_max;
    double result = monoid == M_sum ? total * bound(g, a) : bound(g, a);
    return bounded(g, nest_reduce(g->nest, monoid, set, a), result);
}

static Monoid random_monoid(Gen *g)
{
    static const Monoid monoids[] = {M_sum, M_sum, M_sum, M_max, M_min};
    return monoids[range(g, 0, 4)];
}

/* Bias over the last axis, a second operand of full shape, a clamp: each by chance. */
static Value *epilogue(Gen *g, const Axis *const *axes, int count, Value *v)
{
    if (chance(g, 60) && count) {
        const Buffer *bias = input(g, g->dtype, 1, &axes[count - 1]->extent);
        Value *load = nest_load(g->nest, bias, &axes[count - 1]->sym, NULL, 0, (Scalar){0});
        v = operation(g, S_add, v, bounded(g, load, 3));
    }
    if (chance(g, 40))
        v = operation(g, S_add, v, leaf(g, axes, count));
    if (chance(g, 40))
        v = operation(g, S_max, v, bounded(g, nest_const(g->nest, g->dtype, number(g, 0)), 0));
    return v;
}

static void store(Gen *g, const char *name, const Axis *const *axes, int count, Value *v)
{
    const Expr *shape[6], *index[6];
    for (int i = 0; i < count; i++) {
        shape[i] = axes[i]->extent;
        index[i] = axes[i]->sym;
    }
    const Buffer *out = nest_buffer(g->nest, name, v->dtype, BUF_out, count, shape);
    nest_store(g->nest, out, index, NULL, 0, v);
}

/* ---- kinds */

static void make_map(Gen *g)
{
    static const char *const names[] = {"i", "j", "k", "l"};
    const Axis *axes[4];
    int count = (int)range(g, 1, 4);
    for (int i = 0; i < count; i++)
        axes[i] = random_axis(g, names[i], count > 2 ? 9 : 40);
    Value *v = tree(g, axes, count, (int)range(g, 1, 3));
    store(g, "y", axes, count, v);
    if (chance(g, 25))
        store(g, "z", axes, count, random_operation(g, v, constant(g)));
}

static void make_chain(Gen *g)
{
    const Axis *axes[2] = {random_axis(g, "i", 17), random_axis(g, "j", 40)};
    Value *pool[12] = {leaf(g, axes, 2), leaf(g, axes, 2), constant(g)};
    for (int i = 3; i < 12; i++)
        pool[i] = random_operation(g, pool[range(g, 0, i - 1)], pool[range(g, 0, i - 1)]);
    store(g, "y", axes, 2, pool[11]);
}

static void make_reduce(Gen *g)
{
    static const char *const names[] = {"i", "j", "k"};
    const Axis *axes[3], *kept[3], *gone[3];
    int count = (int)range(g, 1, 3), keep = 0, drop = 0;
    for (int i = 0; i < count; i++) {
        axes[i] = random_axis(g, names[i], count > 2 ? 13 : 40);
        if (chance(g, 50) && !(i == count - 1 && drop == 0))
            kept[keep++] = axes[i];
        else
            gone[drop++] = axes[i];
    }
    Value *v = tree(g, axes, count, (int)range(g, 0, 2));
    if (chance(g, 15)) {
        uint64_t set = 0;
        for (int i = 0; i < drop; i++)
            set |= (uint64_t)1 << gone[i]->number;
        Monoid monoid = chance(g, 50) ? M_argmax : M_argmin;
        store(g, "y", kept, keep, bounded(g, nest_reduce(g->nest, monoid, set, v), 0));
        return;
    }
    store(g, "y", kept, keep, epilogue(g, kept, keep, reduce(g, random_monoid(g), gone, drop, v)));
}

static void make_rowwise(Gen *g)
{
    const Axis *axes[3] = {random_axis(g, "i", 9), random_axis(g, "j", 40), random_axis(g, "k", 5)};
    int count = chance(g, 30) ? 3 : 2;
    Value *x = tree(g, axes, count, 1);
    Value *top = reduce(g, chance(g, 70) ? M_max : M_min, &axes[1], 1, x);
    Value *rest = operation(g, S_sub, x, top);
    if (chance(g, 50))
        rest = operation(g, S_mul, rest, rest);
    Value *sum = reduce(g, M_sum, &axes[1], 1, rest);
    Value *y = operation(g, S_sub, rest, sum);
    store(g, "y", axes, count, epilogue(g, axes, count, y));
    if (count == 2 && chance(g, 30))
        store(g, "row", axes, 1, sum);
}

static void make_gemm(Gen *g)
{
    bool batch = chance(g, 30), transposed = chance(g, 40);
    const Axis *m = random_axis(g, "m", 40), *n = random_axis(g, "n", 40);
    const Axis *k = random_axis(g, "k", 40);
    const Axis *b = batch ? random_axis(g, "p", 3) : NULL;
    const Axis *all[3] = {batch ? b : m, batch ? m : n, n};
    const Expr *sa[3] = {batch ? b->extent : m->extent, batch ? m->extent : k->extent, k->extent};
    const Expr *ia[3] = {batch ? b->sym : m->sym, batch ? m->sym : k->sym, k->sym};
    const Axis *first = transposed ? n : k, *second = transposed ? k : n;
    const Expr *sb[2] = {first->extent, second->extent}, *ib[2] = {first->sym, second->sym};
    int rank = batch ? 3 : 2;
    Value *x = nest_load(g->nest, input(g, g->dtype, rank, sa), ia, NULL, 0, (Scalar){0});
    Value *w = nest_load(g->nest, input(g, g->dtype, 2, sb), ib, NULL, 0, (Scalar){0});
    bounded(g, x, 3);
    bounded(g, w, 3);
    if (chance(g, 25)) /* a prologue on the left operand */
        x = operation(g, S_max, x, constant(g));
    Value *sum = reduce(g, M_sum, &k, 1, operation(g, S_mul, x, w));
    store(g, "y", all, rank, epilogue(g, all, rank, sum));
}

typedef struct ConvSize {
    int64_t kernel, stride, dilation, pad, out, in;
} ConvSize;

static ConvSize conv_size(Gen *g)
{
    ConvSize s = {.kernel = range(g, 1, 3), .stride = range(g, 1, 2), .dilation = range(g, 1, 2)};
    s.pad = range(g, 0, s.kernel - 1);
    s.in = range(g, (s.kernel - 1) * s.dilation + 1, 12);
    s.out = (s.in + 2 * s.pad - (s.kernel - 1) * s.dilation - 1) / s.stride + 1;
    return s;
}

static const Expr *conv_index(Gen *g, ConvSize s, const Axis *out, const Axis *tap)
{
    const Expr *at = expr_muli(g->cx, out->sym, s.stride);
    return expr_addi(g->cx, expr_add(g->cx, at, expr_muli(g->cx, tap->sym, s.dilation)), -s.pad);
}

static void make_conv(Gen *g)
{
    ConvSize s = conv_size(g), t = conv_size(g);
    int64_t groups = chance(g, 30) ? range(g, 1, 3) : 1, per_in = range(g, 1, 6);
    int64_t per_out = range(g, 1, 9);
    Nest *nest = g->nest;
    const Axis *h = nest_axis(nest, "h", konst(g, s.out)),
               *w = nest_axis(nest, "w", konst(g, t.out));
    const Axis *o = nest_axis(nest, "o", konst(g, per_out * groups));
    const Axis *gone[3] = {nest_axis(nest, "kh", konst(g, s.kernel)),
                           nest_axis(nest, "kw", konst(g, t.kernel)),
                           nest_axis(nest, "ci", konst(g, per_in))};
    const Axis *all[3] = {h, w, o};
    const Expr *ih = conv_index(g, s, h, gone[0]), *iw = conv_index(g, t, w, gone[1]);
    const Expr *group = expr_divi(g->cx, o->sym, per_out);
    const Expr *channel = expr_add(g->cx, expr_muli(g->cx, group, per_in), gone[2]->sym);
    const Expr *sx[3] = {konst(g, s.in), konst(g, t.in), konst(g, per_in * groups)};
    const Expr *sw[4] = {o->extent, gone[0]->extent, gone[1]->extent, gone[2]->extent};
    const Expr *ix[3] = {ih, iw, channel};
    const Expr *iweight[4] = {o->sym, gone[0]->sym, gone[1]->sym, gone[2]->sym};
    Guard guards[2] = {{ih, konst(g, 0), sx[0]}, {iw, konst(g, 0), sx[1]}};
    bool pool = groups == 1 && chance(g, 15); /* max over the window, negative padding */
    Value *x = nest_load(nest, input(g, g->dtype, 3, sx), ix, guards, 2, number(g, pool ? -3 : 0));
    bounded(g, x, 3);
    if (pool) {
        Value *top = reduce(g, M_max, gone, 3, x);
        store(g, "y", all, 2, top);
        return;
    }
    Value *k = nest_load(nest, input(g, g->dtype, 4, sw), iweight, NULL, 0, (Scalar){0});
    Value *sum = reduce(g, M_sum, gone, 3, operation(g, S_mul, x, bounded(g, k, 3)));
    store(g, "y", all, 3, epilogue(g, all, 3, sum));
}

static void make_concat(Gen *g)
{
    Nest *nest = g->nest;
    int64_t lengths[3], at[3], total = range(g, 0, 3);
    int count = (int)range(g, 1, 3);
    for (int i = 0; i < count; i++) {
        at[i] = total;
        total += lengths[i] = range(g, 1, 12);
    }
    total += range(g, 0, 3);
    const Axis *axes[2] = {random_axis(g, "i", 9), nest_axis(nest, "j", konst(g, total))};
    Value *result = NULL;
    for (int i = count; i-- > 0;) {
        const Expr *shape[2] = {axes[0]->extent, konst(g, lengths[i])};
        const Expr *index[2] = {axes[0]->sym, expr_addi(g->cx, axes[1]->sym, -at[i])};
        Guard guard = {index[1], konst(g, 0), shape[1]};
        Value *load = nest_load(nest, input(g, g->dtype, 2, shape), index, &guard, 1, number(g, 2));
        bounded(g, load, 3);
        if (!result) {
            result = load;
            continue;
        }
        Value *end = nest_const(nest, DT_i64, (Scalar){.i = at[i] + lengths[i]});
        Value *here = nest_scalar(nest, S_lt, nest_index(nest, DT_i64, axes[1]->sym), end, NULL);
        result = bounded(g, nest_scalar(nest, S_select, here, load, result), 3);
    }
    store(g, "y", axes, 2, epilogue(g, axes, 2, result));
}

static void make_gather(Gen *g)
{
    Nest *nest = g->nest;
    const Axis *axes[3] = {random_axis(g, "i", 17), random_axis(g, "j", 24),
                           random_axis(g, "k", 5)};
    bool sum = chance(g, 40), wide = chance(g, 60);
    const Expr *table[2] = {konst(g, range(g, 2, 20)), axes[1]->extent};
    const Expr *shape[2] = {axes[0]->extent, axes[2]->extent},
               *at[2] = {axes[0]->sym, axes[2]->sym};
    const Buffer *from = input(g, g->dtype, 2, table);
    const Buffer *ids =
        nest_buffer(nest, "ids", wide ? DT_i64 : DT_i32, BUF_in, sum ? 2 : 1, shape);
    Value *id = nest_load(nest, ids, at, NULL, 0, (Scalar){0});
    Value *bind =
        nest_bind(nest, "row", id, konst(g, 0), expr_addi(g->cx, table[0], -1), chance(g, 50));
    const Expr *index[2] = {bind->sym, axes[1]->sym};
    Value *v = bounded(g, nest_load(nest, from, index, NULL, 0, (Scalar){0}), 3);
    if (sum)
        v = reduce(g, M_sum, &axes[2], 1, v);
    store(g, "y", axes, 2, epilogue(g, axes, 2, v));
}

static void make_extent(Gen *g)
{
    const Axis *axes[3] = {random_axis(g, "i", 17), random_axis(g, "j", 13)};
    axes[2] = nest_axis(g->nest, "l", expr_addi(g->cx, axes[0]->sym, range(g, 0, 1)));
    const Expr *shape[2] = {expr_addi(g->cx, axes[0]->extent, 1), axes[1]->extent};
    const Expr *index[2] = {axes[2]->sym, axes[1]->sym};
    Value *x = nest_load(g->nest, input(g, g->dtype, 2, shape), index, NULL, 0, (Scalar){0});
    Value *v = reduce(g, M_sum, &axes[2], 1, bounded(g, x, 3));
    store(g, "y", axes, 2, epilogue(g, axes, 2, v));
}

Nest *random_nest(Cx *cx, uint64_t seed, RandomKind kind)
{
    Gen g = {.cx = cx, .state = seed * 0x9E3779B97F4A7C15u + 1, .nest = nest_new(cx, "random")};
    if (kind == RN_count)
        kind = (RandomKind)range(&g, 0, RN_count - 1);
    int64_t type = range(&g, 0, 9);
    g.dtype = type < 7 ? DT_f32 : type == 7 ? DT_f64 : DT_i32;
    make_dims(&g);
    switch (kind) {
    case RN_map: make_map(&g); break;
    case RN_chain: make_chain(&g); break;
    case RN_reduce: make_reduce(&g); break;
    case RN_rowwise: make_rowwise(&g); break;
    case RN_gemm: make_gemm(&g); break;
    case RN_conv: make_conv(&g); break;
    case RN_concat: make_concat(&g); break;
    case RN_gather: make_gather(&g); break;
    case RN_extent: make_extent(&g); break;
    case RN_count: break;
    }
    nest_finish(g.nest);
    return g.nest;
}
