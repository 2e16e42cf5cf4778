/* The scatter skeleton: results + updates instead of results * updates.
 *
 *   y[.., i, ..] = select(last >= 0, the update at `last`, old[.., i, ..])
 *                  with last = max(max over u of select(at[u] == i, number of u, -1), -1)
 *   y[.., i, ..] = combine(old[.., i, ..], reduce over u of select(at[u] == i, update, identity))
 *                  or this only where any at[u] == i, and old elsewhere
 *
 * A nest says it as a search through all updates for every result. Here a task owns all results
 * with given values of the axes that no `at` is compared with: it stores the old elements, then
 * goes through the updates in order, each stored where `at` says. Positions outside the result
 * equal no i in the nest; here they become -1, which the guard of the store drops. */
#include "passes/lower_value.h"

#include <string.h>

#include "ir/value_build.h"

/* `test` and what follows it, taken apart: comparisons with an axis, other conditions. */
static void match_hit(const Nest *nest, uint64_t axes, Value *test, Scatter *s)
{
    if (test->op == V_scalar && test->scalar == S_and) {
        match_hit(nest, axes, test->args[0], s);
        match_hit(nest, axes, test->args[1], s);
        return;
    }
    for (int k = 0; k < 2 && test->op == V_scalar && test->scalar == S_eq; k++) {
        const Value *position = test->args[k];
        SymUse use = {.kind = SYM_unknown};
        if (position->op == V_index && position->index->kind == EX_sym)
            use = nest_sym(nest, position->index);
        if (use.kind != SYM_axis || !(axes >> use.axis & 1) || (s->indexed >> use.axis & 1) ||
            test->args[1 - k]->dtype != DT_i64 || s->count == MAX_RANK)
            continue;
        s->indexed |= 1ull << use.axis;
        s->axis[s->count] = use.axis;
        s->at[s->count++] = test->args[1 - k];
        return;
    }
    if (s->condition_count == MAX_CONDITIONS)
        s->has = false;
    else
        s->conditions[s->condition_count++] = test;
}

static bool is_constant(const Value *value, Scalar want)
{
    return value->op == V_const && (dtype_is_float(value->dtype) ? value->constant.f == want.f
                                                                 : value->constant.i == want.i);
}

/* select(hit, value, none) under a reduction: that value, or NULL. */
static Value *match_picked(const Value *reduce, Scalar none, Scatter *s)
{
    if (reduce->op != V_reduce)
        return NULL;
    const Value *pick = reduce->args[0];
    if (pick->op != V_scalar || pick->scalar != S_select || !is_constant(pick->args[2], none))
        return NULL;
    s->hit = pick->args[0];
    s->reduced = reduce->reduced;
    return pick->args[1];
}

/* Position of an update in the order in which loops over `axes` come to it. */
static const Expr *loop_number(const Nest *nest, uint64_t axes)
{
    const Expr *number = expr_const(nest->cx, 0);
    for (int a = 0; a < nest->axis_count; a++)
        if (axes >> a & 1)
            number = expr_add(nest->cx, expr_mul(nest->cx, number, nest->axes[a].extent),
                              nest->axes[a].sym);
    return number;
}

static const Value *bind_of(const Nest *nest, const Value *of)
{
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->op == V_bind && nest->values[i]->args[0] == of)
            return nest->values[i];
    return NULL;
}

static bool match_replace(const Nest *nest, const Value *v, Scatter *s)
{
    const Scalar none = {.i = -1};
    if (v->op != V_scalar || v->scalar != S_select)
        return false;
    const Value *any = v->args[0];
    if (any->op != V_scalar || any->scalar != S_le || !is_constant(any->args[0], (Scalar){0}))
        return false;
    const Value *last = any->args[1], *number = NULL;
    for (int k = 0; k < 2 && last->op == V_scalar && last->scalar == S_max; k++)
        if (is_constant(last->args[1 - k], none) && last->args[k]->op == V_reduce &&
            last->args[k]->monoid == M_max)
            number = match_picked(last->args[k], none, s);
    if (!number || number->op != V_index || number->index != loop_number(nest, s->reduced))
        return false;
    s->last = bind_of(nest, last);
    s->number = number->index;
    s->update = v->args[1];
    s->old = v->args[2];
    return true;
}

static bool match_combine(const Value *v, Scatter *s)
{
    for (int k = 0; k < 2 && v->op == V_scalar; k++) {
        Value *reduce = v->args[k];
        if (!v->args[1] || !reduce || reduce->op != V_reduce || reduce->monoid == M_argmin ||
            reduce->monoid == M_argmax || monoid_combine(reduce->monoid) != v->scalar ||
            !(s->update = match_picked(reduce, monoid_identity(reduce->monoid, reduce->dtype), s)))
            continue;
        s->old = v->args[1 - k];
        s->combine = v->scalar;
        return s->combines = true;
    }
    return false;
}

/* The same where there is an update, the old element elsewhere. */
static bool match_touched(const Value *v, Scatter *s)
{
    if (v->op != V_scalar || v->scalar != S_select || !match_combine(v->args[1], s))
        return false;
    const Value *any = v->args[0];
    return v->args[2] == s->old && any->op == V_reduce && any->monoid == M_or &&
           any->args[0] == s->hit && any->reduced == s->reduced;
}

/* Whether elements may be stored one by one: an axis that updates choose is an index of its own,
 * and where elements are combined memory holds them as they are computed. */
static bool fits_store(const Nest *nest, const Store *store, const Scatter *s)
{
    const Access *to = store->access;
    for (int d = 0; d < to->rank; d++) {
        uint64_t chosen = expr_axes(nest, to->index[d]) & s->indexed;
        if (chosen && to->index[d]->kind != EX_sym)
            return false;
    }
    Dtype dtype = to->buffer->dtype;
    return !to->guard_count &&
           (!s->combines || (store->value->op != V_cast && dtype == store->value->dtype));
}

/* The axes that `of` takes when its position among the updates is given: `s->last` stands for its
 * axes then. All of them when it depends on what else the search gives. */
static uint64_t update_axes(const Nest *nest, const Scatter *s, const Value *of)
{
    uint64_t *axes = NEW_ARRAY(nest->cx->arena, uint64_t, nest->value_count);
    for (uint32_t i = 0; i <= of->id; i++) {
        const Value *v = nest->values[i];
        if (v->op == V_reduce) {
            axes[i] = UINT64_MAX;
            continue;
        }
        if (v == s->last) {
            axes[i] = s->reduced;
            continue;
        }
        axes[i] = v->op == V_index  ? expr_axes(nest, v->index)
                  : v->op == V_load ? access_axes(nest, v->access)
                                    : 0;
        for (int k = 0; k < 3 && v->args[k]; k++)
            axes[i] |= axes[v->args[k]->id];
        for (uint32_t b = 0; b < i; b++)
            if (nest->values[b]->op == V_bind && value_uses_sym(v, nest->values[b]->sym))
                axes[i] |= axes[b];
    }
    return axes[of->id];
}

Scatter nest_scatter(const Nest *nest)
{
    Scatter s = {.has = false};
    int reduces = 0;
    if (nest->store_count != 1)
        return s;
    for (uint32_t i = 0; i < nest->value_count; i++)
        reduces += nest->values[i]->op == V_reduce;
    const Store *store = &nest->stores[0];
    const Value *v = store->value;
    while (v->op == V_cast)
        v = v->args[0];
    s.has = (reduces == 1 && (match_combine(v, &s) || match_replace(nest, v, &s))) ||
            (reduces == 2 && match_touched(v, &s));
    if (!s.has)
        return s;
    s.axes = access_axes(nest, store->access);
    match_hit(nest, s.axes, s.hit, &s);
    uint64_t free = update_axes(nest, &s, s.update), looped = 0;
    for (int k = 0; k < s.condition_count; k++)
        free |= s.conditions[k]->axes;
    for (int k = 0; k < s.count; k++) {
        free |= s.at[k]->axes;
        looped |= s.at[k]->axes;
    }
    int others = 0;
    for (int a = 0; a < nest->axis_count; a++) {
        others += (int)((s.axes & ~s.indexed) >> a & 1);
        s.has &= !expr_axes(nest, nest->axes[a].extent);
    }
    /* an element read before a loop that does not change its place would miss what the loop stores
     */
    s.has &= s.count && !(free & s.indexed) && !(s.reduced & ~looped) && !(s.reduced & s.axes) &&
             !(free & ~(s.axes | s.reduced)) && !(update_axes(nest, &s, s.old) & ~s.axes) &&
             others < MAX_GRID && fits_store(nest, store, &s);
    return s;
}

typedef struct Task {
    Lower *lower;
    Scatter scatter;
    int lane; /* axis of the grid that lanes run over, or -1 */
    int lanes;
    const Expr *base;
    int unit; /* axis along which the copy of the old elements runs over lanes, or -1 */
} Task;

static TileOp *lane_op(Task *t, TileBlock *block, int axis, int size)
{
    static const char *const names[] = {"j"};
    Lower *lower = t->lower;
    TileOp *op = tile_op(lower->prog, block, TO_map, 1, names, &size);
    if (axis >= 0)
        lower->coord[axis] = op->box.coord[0];
    return op;
}

/* A box of the grid's lanes, cut where the axis ends. */
static TileOp *grid_op(Task *t, TileBlock *block)
{
    Lower *lower = t->lower;
    TileOp *op = lane_op(t, block, t->lane, t->lane < 0 ? 1 : t->lanes);
    if (t->lane < 0)
        return op;
    const Expr *extent = lower->nest->axes[t->lane].extent;
    lower->at[t->lane] = expr_add(lower->cx, t->base, op->box.coord[0]);
    if (!expr_is_const(expr_modi(lower->cx, extent, t->lanes), 0))
        op->box.bound[0] = expr_sub(lower->cx, extent, t->base);
    return op;
}

/* `value` as the store wants it: its casts around it. */
static Value *as_stored(Task *t, TileOp *op, const Value *stored, Value *value)
{
    if (stored->op != V_cast)
        return value;
    return tile_cast(t->lower->prog, op, stored->dtype, as_stored(t, op, stored->args[0], value));
}

static void store_old(Task *t, TileOp *op)
{
    const Store *store = &t->lower->nest->stores[0];
    Value *old = lower_value(t->lower, op, t->scatter.old);
    tile_store(t->lower->prog, op, lower_access(t->lower, store->access),
               as_stored(t, op, store->value, old));
}

static void old_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Task *t = user;
    Lower *lower = t->lower;
    TileOp *op = lane_op(t, block, t->unit, size);
    lower->at[t->unit] = expr_add(lower->cx, base, op->box.coord[0]);
    op->box.bound[0] = bound;
    store_old(t, op);
    lower->coord[t->unit] = NULL;
}

static TileBlock *loop_over(Task *t, TileBlock *block, uint64_t axes)
{
    Lower *lower = t->lower;
    for (int a = 0; a < lower->nest->axis_count; a++)
        if (axes >> a & 1)
            block =
                tile_for(lower->prog, block, lower_name(lower, lower->nest->axes[a].sym->name),
                         expr_const(lower->cx, 0), lower->nest->axes[a].extent, 1, &lower->at[a]);
    return block;
}

static void copy_old(Task *t, TileBlock *block)
{
    Lower *lower = t->lower;
    uint64_t unit = t->unit >= 0 ? 1ull << t->unit : 0;
    block = loop_over(t, block, t->scatter.indexed & ~unit);
    if (t->unit >= 0)
        lower_boxes(lower, block, "c", expr_const(lower->cx, 0), lower->nest->axes[t->unit].extent,
                    t->lanes, old_box, t);
    else
        store_old(t, grid_op(t, block));
}

/* Binds the chosen axes to where the update goes, or to -1 when it goes nowhere. */
static void bind_places(Task *t, TileOp *op, Guard *guards)
{
    Lower *lower = t->lower;
    TileProg *prog = lower->prog;
    Cx *cx = lower->cx;
    const Scatter *s = &t->scatter;
    const Expr *zero = expr_const(cx, 0), *nowhere = expr_const(cx, -1);
    Value *inside = tile_const(prog, op, DT_bool, (Scalar){.i = 1});
    for (int k = 0; k < s->condition_count; k++)
        inside =
            tile_scalar(prog, op, S_and, inside, lower_value(lower, op, s->conditions[k]), NULL);
    for (int k = 0; k < s->count; k++) {
        const Expr *extent = lower->nest->axes[s->axis[k]].extent;
        Value *at = lower_value(lower, op, s->at[k]);
        Value *low = tile_scalar(prog, op, S_le, tile_index(prog, op, DT_i64, zero), at, NULL);
        Value *high = tile_scalar(prog, op, S_lt, at, tile_index(prog, op, DT_i64, extent), NULL);
        inside = tile_scalar(prog, op, S_and, inside, tile_scalar(prog, op, S_and, low, high, NULL),
                             NULL);
    }
    for (int k = 0; k < s->count; k++) {
        const Axis *axis = &lower->nest->axes[s->axis[k]];
        const Expr *last = expr_addi(cx, axis->extent, -1);
        const Expr *to = expr_sym(cx, lower_name(lower, "to"), -1, last->hi < 0 ? 0 : last->hi, 1);
        Value *at = tile_scalar(prog, op, S_select, inside, lower_value(lower, op, s->at[k]),
                                tile_index(prog, op, DT_i64, nowhere));
        tile_bind(prog, op, at, to, nowhere, last, false);
        lower->at[s->axis[k]] = to;
        guards[k] = (Guard){to, zero, axis->extent};
    }
}

static void take_updates(Task *t, TileBlock *block)
{
    Lower *lower = t->lower;
    const Scatter *s = &t->scatter;
    const Store *store = &lower->nest->stores[0];
    TileOp *op = grid_op(t, loop_over(t, block, s->reduced));
    if (s->last) {
        lower->known = s->last;
        lower->known_as = lower_expr(lower, s->number);
    }
    Value *update = lower_value(lower, op, s->update);
    Guard *guards = NEW_ARRAY(lower->cx->arena, Guard, s->count);
    bind_places(t, op, guards);
    Access *to = lower_access(lower, store->access);
    to->guards = guards;
    to->guard_count = s->count;
    if (s->combines)
        update =
            tile_scalar(lower->prog, op, s->combine, tile_load(lower->prog, op, to), update, NULL);
    tile_store(lower->prog, op, to, as_stored(t, op, store->value, update));
}

static void choose_lanes(Task *t, const Schedule *schedule)
{
    Lower *lower = t->lower;
    const Nest *nest = lower->nest;
    uint64_t others = t->scatter.axes & ~t->scatter.indexed;
    int unit = access_unit_axis(lower->cx, nest, nest->stores[0].access, t->scatter.axes);
    if (unit >= 0 && (others >> unit & 1))
        t->lane = unit;
    else
        t->unit = unit;
    int width = lower->caps->vector_bits ? lower->caps->vector_bits / 32 : 4;
    int vectors = schedule->field[SF_vec];
    while (unit >= 0 && vectors > 1 && width * (vectors - 1) >= nest->axes[unit].extent->hi)
        vectors--;
    t->lanes = width * vectors;
}

bool apply_scatter(Lower *lower, const Schedule *schedule)
{
    Cx *cx = lower->cx;
    Nest *nest = lower->nest;
    Task t = {.lower = lower, .scatter = nest_scatter(nest), .lane = -1, .unit = -1};
    if (!t.scatter.has) {
        cx_fail(cx, ST_unsupported, "kernel '%s' is no scatter", nest->name);
        return false;
    }
    choose_lanes(&t, schedule);
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0;
    for (int a = 0; a < nest->axis_count; a++)
        if (((t.scatter.axes & ~t.scatter.indexed) >> a & 1) && a != t.lane) {
            axes[rank] = a;
            names[rank] = lower_name(lower, nest->axes[a].sym->name);
            extents[rank++] = nest->axes[a].extent;
        }
    names[rank] = lower_name(lower, "lanes");
    extents[rank] = expr_const(cx, 1);
    if (t.lane >= 0)
        extents[rank] = expr_ceildiv(cx, nest->axes[t.lane].extent, expr_const(cx, t.lanes));
    Grid *grid = lower->grid = tile_grid(lower->prog, rank + 1, names, extents);
    for (int k = 0; k < rank; k++)
        lower->at[axes[k]] = grid->ids[k];
    t.base = expr_muli(cx, grid->ids[rank], t.lanes);
    copy_old(&t, &grid->body);
    take_updates(&t, &grid->body);
    return !cx_failed(cx);
}
