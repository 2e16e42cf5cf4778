/* General skeleton: segments of v and u. A concatenation or a padding along an axis holds guards
 * that are decided everywhere but at a few points. Cut there, each box needs the loads of one
 * segment only, and along v no masks but the last box's. */
#include "passes/sched_general.h"

enum { MAX_CUTS = 16 };

typedef struct Cuts {
    int count;
    int64_t at[MAX_CUTS + 1]; /* ascending; the extent is the last */
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

/* Where a guard on the axis alone begins and ends to hold. */
static void cut_guard(const General *g, const Axis *axis, const Guard *guard, Cuts *cuts)
{
    int64_t extent = axis->extent->value;
    int64_t coef;
    const Expr *rest;
    if (!expr_linear(g->cx, guard->e, axis->sym, &coef, &rest) || coef != 1 ||
        rest->kind != EX_const)
        return;
    if (guard->lo->kind == EX_const)
        add_cut(cuts, guard->lo->value - rest->value, extent);
    if (guard->hi->kind == EX_const)
        add_cut(cuts, guard->hi->value - rest->value, extent);
}

static bool find_cuts(const General *g, const Axis *axis, Cuts *cuts)
{
    if (target_is_gpu(g->lower->caps) || axis->extent->kind != EX_const)
        return false;
    for (uint32_t i = 0; i < g->nest->value_count; i++) {
        const Value *v = g->nest->values[i];
        if (v->op == V_reduce)
            return false;
        for (int k = 0; v->op == V_load && k < v->access->guard_count; k++)
            cut_guard(g, axis, &v->access->guards[k], cuts);
    }
    cuts->at[cuts->count] = axis->extent->value;
    return cuts->count++ > 0;
}

bool general_segments(General *g, TileBlock *block, BoxBody *body)
{
    const Axis *axis = &g->nest->axes[g->v];
    Cx *cx = g->cx;
    Cuts cuts = {.count = 0};
    if (!find_cuts(g, axis, &cuts))
        return false;
    int64_t from = 0;
    for (int i = 0; i < cuts.count; i++) {
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

bool general_row_segments(General *g, TileBlock *block, const Expr *lo, int64_t chunk,
                          BoxBody *body, void *user)
{
    const Axis *axis = &g->nest->axes[g->u];
    Cx *cx = g->cx;
    Cuts cuts = {.count = 0};
    if (!find_cuts(g, axis, &cuts))
        return false;
    const Expr *from = lo, *end = chunk ? expr_addi(cx, lo, chunk) : axis->extent;
    for (int i = 0; i < cuts.count; i++) {
        const Expr *cut = expr_const(cx, cuts.at[i]);
        lower_boxes(g->lower, block, axis->sym->name, from, expr_min(cx, cut, end), 1, body, user);
        from = expr_max(cx, lo, cut);
    }
    return true;
}
