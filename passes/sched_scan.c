/* The scan skeleton: cumulative sums, products, extremes in linear time.
 *
 *   y[.., i, ..] = epilogue(reduce over s of select(s <= i, x[.., s, ..], identity))
 *
 * and the same with <, and from the other end. A nest says it as a reduction of a prefix for every
 * result; here a task walks along i once, with an accumulator for each of its lanes. Lanes run over
 * the axis along which the result is contiguous, or over another one when that is i itself.
 * Elements are combined in the order of i: the bits are those of the plain form. */
#include "passes/lower_value.h"

#include <string.h>

static const Value *past_true(const Value *value)
{
    while (value->op == V_scalar && value->scalar == S_and) {
        int constant = value->args[0]->op == V_const ? 0 : 1;
        if (value->args[constant]->op != V_const || !value->args[constant]->constant.i)
            break;
        value = value->args[1 - constant];
    }
    return value;
}

/* test: whether s lies before i, or after it; both inclusive or not. */
static bool match_order(Cx *cx, const Nest *nest, const Value *test, uint64_t axes,
                        PrefixScan *scan)
{
    test = past_true(test);
    if (test->op != V_scalar || (test->scalar != S_lt && test->scalar != S_le) ||
        test->args[0]->op != V_index || test->args[1]->op != V_index)
        return false;
    const Expr *room = expr_sub(cx, test->args[1]->index, test->args[0]->index);
    room = expr_addi(cx, room, test->scalar == S_lt ? -1 : 0); /* >= 0 where s counts */
    for (int i = 0; i < nest->axis_count; i++) {
        const Expr *ahead = expr_sub(cx, nest->axes[i].sym, nest->axes[scan->s].sym);
        const Expr *back = expr_sub(cx, nest->axes[scan->s].sym, nest->axes[i].sym);
        if (!(axes >> i & 1) || nest->axes[i].extent != nest->axes[scan->s].extent)
            continue;
        scan->i = i;
        scan->reverse = room == back || room == expr_addi(cx, back, -1);
        scan->exclusive = room == expr_addi(cx, ahead, -1) || room == expr_addi(cx, back, -1);
        if (room == ahead || scan->exclusive || scan->reverse)
            return true;
    }
    return false;
}

static bool is_identity(const Value *reduce, const Value *value)
{
    Scalar none = monoid_identity(reduce->monoid, value->dtype);
    return value->op == V_const && (dtype_is_float(value->dtype) ? value->constant.f == none.f
                                                                 : value->constant.i == none.i);
}

PrefixScan nest_scan(Cx *cx, const Nest *nest)
{
    PrefixScan scan = {.has = false};
    if (nest->store_count != 1)
        return scan;
    for (uint32_t k = 0; k < nest->value_count; k++) {
        Value *v = nest->values[k];
        if (v->op == V_bind || (v->op == V_reduce && scan.reduce))
            return scan;
        if (v->op == V_reduce)
            scan.reduce = v;
    }
    const Value *r = scan.reduce, *pick = r ? r->args[0] : NULL;
    if (!r || r->monoid == M_argmin || r->monoid == M_argmax || pick->op != V_scalar ||
        pick->scalar != S_select || !is_identity(r, pick->args[2]))
        return scan;
    while (!(r->reduced >> scan.s & 1))
        scan.s++;
    uint64_t axes = access_axes(nest, nest->stores[0].access);
    scan.x = pick->args[1];
    scan.has = r->reduced == 1ull << scan.s && match_order(cx, nest, pick->args[0], axes, &scan) &&
               !(scan.x->axes >> scan.i & 1) && !(r->axes & ~axes);
    int others = 0;
    for (int a = 0; a < nest->axis_count; a++) {
        others += a != scan.i && (axes >> a & 1);
        scan.has &= !expr_axes(nest, nest->axes[a].extent);
    }
    scan.has &= others <= MAX_GRID;
    return scan;
}

typedef struct Walk {
    Lower *lower;
    PrefixScan scan;
    int lane; /* axis, or -1 */
    int lanes;
    const Expr *base;
    Held acc;
} Walk;

static TileOp *lane_op(Walk *w, TileBlock *block, bool bounded)
{
    static const char *const names[] = {"j"};
    Lower *lower = w->lower;
    TileOp *op = tile_op(lower->prog, block, TO_map, 1, names, &w->lanes);
    if (w->lane < 0)
        return op;
    const Expr *extent = lower->nest->axes[w->lane].extent;
    lower->coord[w->lane] = op->box.coord[0];
    lower->at[w->lane] = expr_add(lower->cx, w->base, op->box.coord[0]);
    if (bounded && !expr_is_const(expr_modi(lower->cx, extent, w->lanes), 0))
        op->box.bound[0] = expr_sub(lower->cx, extent, w->base);
    return op;
}

static void take_in(Walk *w, TileBlock *block)
{
    Lower *lower = w->lower;
    TileOp *op = lane_op(w, block, true);
    Value *sum = lower_read(lower, op, &w->acc), *x = lower_value(lower, op, w->scan.x);
    ScalarOp combine = monoid_combine(w->scan.reduce->monoid);
    lower_write(lower, op, &w->acc, tile_scalar(lower->prog, op, combine, sum, x, NULL));
}

static void give_out(Walk *w, TileBlock *block)
{
    Lower *lower = w->lower;
    TileOp *op = lane_op(w, block, true);
    lower->held[w->scan.reduce->id] = w->acc;
    lower_stores(lower, op, access_axes(lower->nest, lower->nest->stores[0].access));
    lower->held[w->scan.reduce->id].tile = NULL;
}

static void walk(Walk *w, TileBlock *block)
{
    Lower *lower = w->lower;
    Cx *cx = lower->cx;
    const PrefixScan *scan = &w->scan;
    Dtype dtype = scan->reduce->dtype;
    const Expr *extent = lower->nest->axes[scan->i].extent, *var;
    w->acc = (Held){tile_new(lower->prog, lower->grid, lower_name(lower, "acc"), dtype, TS_register,
                             1, &w->lanes),
                    {w->lane}};
    TileOp *op = lane_op(w, block, false);
    tile_write(lower->prog, op, w->acc.tile, op->box.coord,
               tile_const(lower->prog, op, dtype, monoid_identity(scan->reduce->monoid, dtype)));
    TileBlock *loop =
        tile_for(lower->prog, block, lower_name(lower, "t"), expr_const(cx, 0), extent, 1, &var);
    const Expr *here = scan->reverse ? expr_sub(cx, expr_addi(cx, extent, -1), var) : var;
    lower->at[scan->i] = lower->at[scan->s] = here;
    if (scan->exclusive)
        give_out(w, loop);
    take_in(w, loop);
    if (!scan->exclusive)
        give_out(w, loop);
}

bool apply_scan(Lower *lower, const Schedule *schedule)
{
    Cx *cx = lower->cx;
    Nest *nest = lower->nest;
    Walk w = {.lower = lower, .scan = nest_scan(cx, nest), .lane = -1, .lanes = 1};
    if (!w.scan.has) {
        cx_fail(cx, ST_unsupported, "kernel '%s' is no scan", nest->name);
        return false;
    }
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0;
    uint64_t others = access_axes(nest, nest->stores[0].access) & ~(1ull << w.scan.i);
    w.lane = access_unit_axis(cx, nest, nest->stores[0].access, others);
    for (int a = nest->axis_count - 1; a >= 0 && w.lane < 0; a--)
        w.lane = others >> a & 1 ? a : -1;
    if (w.lane >= 0) {
        int width = lower->caps->vector_bits ? lower->caps->vector_bits / 32 : 4;
        int vectors = schedule->field[SF_vec];
        while (vectors > 1 && width * (vectors - 1) >= nest->axes[w.lane].extent->hi)
            vectors--;
        w.lanes = width * vectors;
    }
    for (int a = 0; a < nest->axis_count; a++)
        if ((others >> a & 1) && a != w.lane) {
            axes[rank] = a;
            names[rank] = lower_name(lower, nest->axes[a].sym->name);
            extents[rank++] = nest->axes[a].extent;
        }
    names[rank] = lower_name(lower, "lanes");
    extents[rank] = w.lane < 0
                        ? expr_const(cx, 1)
                        : expr_ceildiv(cx, nest->axes[w.lane].extent, expr_const(cx, w.lanes));
    Grid *grid = lower->grid = tile_grid(lower->prog, rank + 1, names, extents);
    for (int k = 0; k < rank; k++)
        lower->at[axes[k]] = grid->ids[k];
    w.base = expr_muli(cx, grid->ids[rank], w.lanes);
    walk(&w, &grid->body);
    return !cx_failed(cx);
}
