/* Two dims are equal when a node needs it: the K of [M, K] x [J, N] and J, a symbol and the number
 * of a weight. Shape inference notes that as a check of the run (GraphCheck) and goes on with
 * either. Lowering cannot: an index below K is not proven to be below J. So it sees a copy of the
 * graph in which one of the two stands for both.
 *
 * What stands for a symbol is known no later than the symbol itself in a run: a number, a dim of an
 * input, a dim that an earlier step binds, or an expression over such. Of two dims of inputs it is
 * the one of narrower bounds. A check that two dims are equal *or one of them is 1* says nothing
 * here.
 *
 * A dim C that has to be a multiple, as the hidden size of H heads, becomes H * c with a symbol of
 * its own for the share c: an index h * c + i, with h < H and i < c, is then seen to be below H *
 * c. */
#include "passes/equal_dims.h"

#include "passes/renew.h"

/* When a symbol gets its value: dims of the graphs around it first, then inputs, then steps. */
enum { OUTSIDE = -2, INPUT = -1, UNKNOWN = INT32_MAX };

typedef struct Equal {
    Cx *cx;
    const Graph *graph; /* whose checks are looked at now */
    const DimSource *sources;
    const Expr **dims, **with;
    uint32_t count, share_count;
    DimShare *shares;
} Equal;

static const DimShare *find_share(const Equal *q, const Expr *sym)
{
    for (uint32_t i = 0; i < q->share_count; i++)
        if (q->shares[i].sym == sym)
            return &q->shares[i];
    return NULL;
}

static int64_t time_of(const Equal *q, const Expr *sym)
{
    const DimShare *share = find_share(q, sym);
    if (share)
        sym = share->whole;
    for (uint32_t i = 0; i < q->graph->dim_count; i++) {
        const Tensor *from = q->sources[i].tensor;
        if (q->graph->dims[i] != sym || !from)
            continue;
        const GraphNode *node = from->producer;
        return node->op == OP_part ? (int64_t)node->inputs[0]->id : INPUT;
    }
    return q->graph->outer && graph_is_outer(q->graph, sym) ? OUTSIDE : UNKNOWN;
}

typedef struct Latest {
    const Equal *q;
    int64_t time;
} Latest;

static void look_at(void *user, const Expr *sym)
{
    Latest *latest = user;
    int64_t time = time_of(latest->q, sym);
    latest->time = time > latest->time ? time : latest->time;
}

static bool is_narrower(const Expr *a, const Expr *b)
{
    return a->hi != b->hi ? a->hi < b->hi : a->div != b->div ? a->div > b->div : a->id < b->id;
}

static int64_t latest_of(const Equal *q, const Expr *e)
{
    Latest latest = {q, INT64_MIN};
    expr_symbols(q->cx, e, look_at, &latest);
    return latest.time;
}

/* Whether `e` may stand for the symbol: nothing that was known of it gets lost. */
static bool may_replace(const Equal *q, const Expr *sym, const Expr *e)
{
    if (sym->kind != EX_sym || e->lo < sym->lo || expr_uses(e, sym))
        return false;
    if (e->kind == EX_const)
        return e->value <= sym->hi && (sym->div <= 1 || e->value % sym->div == 0);
    int64_t time = time_of(q, sym), latest = latest_of(q, e);
    if (time == UNKNOWN || latest > time)
        return false;
    return latest < time || e->kind != EX_sym || is_narrower(e, sym);
}

static void replace(Equal *q, const Expr *sym, const Expr *e)
{
    for (uint32_t i = 0; i < q->count; i++)
        q->with[i] = expr_subst(q->cx, q->with[i], &sym, &e, 1);
    q->dims[q->count] = sym;
    q->with[q->count++] = e;
}

/* a == b as symbol == the rest, for the first symbol of the difference that the rest may stand for.
 */
static void make_equal(Equal *q, const Expr *a, const Expr *b)
{
    Cx *cx = q->cx;
    if (may_replace(q, a, b)) {
        replace(q, a, b);
        return;
    }
    if (may_replace(q, b, a)) {
        replace(q, b, a);
        return;
    }
    const Expr *gap = expr_sub(cx, a, b);
    for (uint32_t i = 0; gap->kind == EX_sum && i < gap->count; i++) {
        const Expr *sym = gap->args[i];
        int64_t coef = gap->coefs[i];
        const Expr *rest = expr_sub(cx, expr_muli(cx, sym, coef), gap); /* coef * sym */
        if (coef < 0) {
            rest = expr_muli(cx, rest, -1);
            coef = -coef;
        }
        if (expr_is_poison(rest) || rest->div % coef)
            continue;
        rest = expr_divi(cx, rest, coef);
        if (may_replace(q, sym, rest)) {
            replace(q, sym, rest);
            return;
        }
    }
}

/* By how much the symbol has to be divisible for coef * sym to be a multiple of `by`. */
static const Expr *divisor_of(Cx *cx, int64_t coef, const Expr *by)
{
    int64_t common = coef;
    for (int64_t b = by->kind == EX_const ? by->value : by->div; b;) {
        int64_t rest = common % b;
        common = b;
        b = rest;
    }
    return by->kind == EX_const || common == coef ? expr_divi(cx, by, common) : NULL;
}

/* A symbol for sym / by. */
static void make_share(Equal *q, const Expr *sym, const Expr *by)
{
    Cx *cx = q->cx;
    const DimShare *of = find_share(q, sym);
    int64_t time = time_of(q, sym), latest = latest_of(q, by);
    bool before = latest < time || (time == INPUT && latest == INPUT);
    if (by->lo < 1 || time == UNKNOWN || !before || expr_uses(by, sym))
        return;
    int64_t lo = sym->lo > 0 ? 1 : 0, hi = sym->hi == INT64_MAX ? sym->hi : sym->hi / by->lo;
    if (hi < lo || expr_is_const(by, 1))
        return;
    const Expr *part = expr_sym(cx, sym->name, lo, hi, 1), *whole = expr_mul(cx, part, by);
    if (expr_is_poison(whole))
        return;
    q->shares[q->share_count++] =
        (DimShare){part, of ? of->whole : sym, of ? expr_mul(cx, of->by, by) : by};
    replace(q, sym, whole);
}

/* Of a multiple: only what is a symbol, or a symbol times a number. */
static void make_multiple(Equal *q, const Expr *a, const Expr *by)
{
    bool scaled = a->kind == EX_sum && a->count == 1 && !a->value;
    const Expr *sym = scaled ? a->args[0] : a;
    const Expr *divisor = divisor_of(q->cx, scaled ? a->coefs[0] : 1, by);
    if (sym->kind == EX_sym && divisor && !expr_is_poison(divisor))
        make_share(q, sym, divisor);
}

static void look_at_checks(Equal *q, const Graph *graph)
{
    if (graph->outer)
        look_at_checks(q, graph->outer);
    q->graph = graph;
    q->sources = graph_dim_sources(graph);
    for (uint32_t i = 0; i < graph->check_count; i++) {
        const GraphCheck *check = &graph->checks[i];
        const Expr *a = expr_subst(q->cx, check->a, q->dims, q->with, q->count);
        const Expr *b = expr_subst(q->cx, check->b, q->dims, q->with, q->count);
        if (expr_is_poison(a) || expr_is_poison(b))
            continue;
        switch (check->rule) {
        case SIZE_equal:
            if (a != b)
                make_equal(q, a, b);
            break;
        case SIZE_multiple: make_multiple(q, a, b); break;
        case SIZE_equal_or_one:
        case SIZE_RULES: break;
        }
    }
}

static uint32_t count_checks(const Graph *graph)
{
    uint32_t count = 0;
    for (; graph; graph = graph->outer)
        count += graph->check_count;
    return count;
}

EqualDims equal_dims(Cx *cx, const Graph *graph)
{
    const EqualDims same = {.graph = graph};
    uint32_t most = count_checks(graph);
    Equal q = {.cx = cx,
               .dims = NEW_ARRAY(cx->arena, const Expr *, most),
               .with = NEW_ARRAY(cx->arena, const Expr *, most),
               .shares = NEW_ARRAY(cx->arena, DimShare, most)};
    if (!most)
        return same;
    look_at_checks(&q, graph);
    if (!q.count)
        return same;
    Renew r = {.cx = cx, .graph = graph, .count = q.count, .dims = q.dims, .with = q.with};
    const Graph *copy = renew_graph(&r);
    return r.overflows ? same : (EqualDims){copy, q.share_count, q.shares};
}
