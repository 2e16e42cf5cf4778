/* Two dims are equal when a node needs it: the K of [M, K] x [J, N] and J, a symbol and the number
 * of a weight. Shape inference notes that as a check of the run (GraphCheck) and goes on with
 * either. Lowering cannot: an index below K is not proven to be below J. So it sees a copy of the
 * graph in which one of the two stands for both.
 *
 * What stands for a symbol is known no later than the symbol itself in a run: a number, a dim of an
 * input, a dim that an earlier step binds, or an expression over such. Of two dims of inputs it is
 * the one of narrower bounds. A check that two dims are equal *or one of them is 1* says nothing
 * here. */
#include "passes/equal_dims.h"

#include "passes/renew.h"

/* When a symbol gets its value: dims of the graphs around it first, then inputs, then steps. */
enum { OUTSIDE = -2, INPUT = -1, UNKNOWN = INT32_MAX };

typedef struct Equal {
    Cx *cx;
    const Graph *graph; /* whose checks are looked at now */
    const DimSource *sources;
    const Expr **dims, **with;
    uint32_t count;
} Equal;

static int64_t time_of(const Equal *q, const Expr *sym)
{
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

/* Whether `e` may stand for the symbol: nothing that was known of it gets lost. */
static bool may_replace(const Equal *q, const Expr *sym, const Expr *e)
{
    Latest latest = {q, INT64_MIN};
    if (sym->kind != EX_sym || e->lo < sym->lo || expr_uses(e, sym))
        return false;
    if (e->kind == EX_const)
        return e->value <= sym->hi && (sym->div <= 1 || e->value % sym->div == 0);
    int64_t time = time_of(q, sym);
    expr_symbols(q->cx, e, look_at, &latest);
    if (time == UNKNOWN || latest.time > time)
        return false;
    return latest.time < time || e->kind != EX_sym || is_narrower(e, sym);
}

static void replace(Equal *q, const Expr *sym, const Expr *e)
{
    for (uint32_t i = 0; i < q->count; i++)
        q->with[i] = expr_subst(q->cx, q->with[i], &sym, &e, 1);
    q->dims[q->count] = sym;
    q->with[q->count++] = e;
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
        if (check->or_one || a == b || expr_is_poison(a) || expr_is_poison(b))
            continue;
        if (may_replace(q, a, b))
            replace(q, a, b);
        else if (may_replace(q, b, a))
            replace(q, b, a);
    }
}

static uint32_t count_checks(const Graph *graph)
{
    uint32_t count = 0;
    for (; graph; graph = graph->outer)
        count += graph->check_count;
    return count;
}

const Graph *equal_dims(Cx *cx, const Graph *graph)
{
    uint32_t most = count_checks(graph);
    Equal q = {.cx = cx,
               .dims = NEW_ARRAY(cx->arena, const Expr *, most),
               .with = NEW_ARRAY(cx->arena, const Expr *, most)};
    if (!most)
        return graph;
    look_at_checks(&q, graph);
    if (!q.count)
        return graph;
    Renew r = {.cx = cx, .graph = graph, .count = q.count, .dims = q.dims, .with = q.with};
    const Graph *copy = renew_graph(&r);
    return r.overflows ? graph : copy;
}
