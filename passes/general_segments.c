/* General skeleton: segments of v. A concatenation or a padding along v holds guards that are
 * decided everywhere but at a few points. Cut there, each box needs the loads of one segment only,
 * and no masks but the last box's. */
#include "passes/sched_general.h"

enum { MAX_CUTS = 16 };

typedef struct Cuts {
    int count;
    int64_t at[MAX_CUTS + 1]; /* ascending */
} Cuts;

static void add_cut(Cuts *cuts, int64_t at, int64_t extent)
{
    int i = cuts->count;
    if (at <= 0 || at >= extent || i >= MAX_CUTS)
        return;
    for (int k = 0; k < cuts->count; k++)
        if (cuts->at[k] == at)
            return;
    for (; i && cuts->at[i - 1] > at; i--)
        cuts->at[i] = cuts->at[i - 1];
    cuts->at[i] = at;
    cuts->count++;
}

/* Where a guard on v alone begins and ends to hold. */
static void cut_guard(const General *g, const Guard *guard, int64_t extent, Cuts *cuts)
{
    int64_t coef;
    const Expr *rest;
    if (!expr_linear(g->cx, guard->e, g->nest->axes[g->v].sym, &coef, &rest) || coef != 1 ||
        rest->kind != EX_const)
        return;
    if (guard->lo->kind == EX_const)
        add_cut(cuts, guard->lo->value - rest->value, extent);
    if (guard->hi->kind == EX_const)
        add_cut(cuts, guard->hi->value - rest->value, extent);
}

static bool find_cuts(const General *g, int64_t extent, Cuts *cuts)
{
    for (uint32_t i = 0; i < g->nest->value_count; i++) {
        const Value *v = g->nest->values[i];
        if (v->op == V_reduce)
            return false;
        for (int k = 0; v->op == V_load && k < v->access->guard_count; k++)
            cut_guard(g, &v->access->guards[k], extent, cuts);
    }
    return cuts->count > 0;
}

bool general_segments(General *g, TileBlock *block, BoxBody *body)
{
    const Axis *axis = &g->nest->axes[g->v];
    Cx *cx = g->cx;
    Cuts cuts = {.count = 0};
    if (target_is_gpu(g->lower->caps) || axis->extent->kind != EX_const ||
        !find_cuts(g, axis->extent->value, &cuts))
        return false;
    cuts.at[cuts.count] = axis->extent->value;
    int64_t from = 0;
    for (int i = 0; i <= cuts.count; i++) {
        int64_t to = cuts.at[i], rest = (to - from) % g->lanes, full = to - rest;
        if (full > from)
            lower_boxes(g->lower, block, axis->sym->name, expr_const(cx, from),
                        expr_const(cx, full), g->lanes, body, g);
        if (rest)
            body(g, block, expr_const(cx, full), (int)rest, NULL);
        from = to;
    }
    return true;
}
