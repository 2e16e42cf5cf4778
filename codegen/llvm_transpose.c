/* Transpositions: a map whose stores run along the last coordinate while a load runs along another
 * one.
 *
 * Square blocks go through registers: the load's vectors along the other coordinate, log2(side)
 * stages of shuffles, then one row of points after the other with that load's value already known.
 * What is left at the edges goes the ordinary way.
 *
 *              last (v) ->
 *   across (u) [ full blocks    | right edge ]
 *              [ bottom edge, all of v       ] */
#include "codegen/llvm_emit.h"

enum { SMALLEST = 4 };

/* Elements from point to point along a coordinate; false when that is not a constant. */
static bool step_along(Walk *w, const Access *access, const Expr *coord, int64_t *step)
{
    const Expr *rest, *offset = access_offset(w->e, &w->point, access);
    return expr_linear(w->e->cx, offset, coord, step, &rest);
}

static bool is_bound_here(const Walk *w)
{
    for (uint32_t i = 0; i < w->op->value_count; i++)
        if (w->op->values[i]->op == V_bind)
            return true;
    return false;
}

static bool moves_along(Walk *w, const Value *v, int dim)
{
    int64_t step;
    Dtype dtype = v->access->buffer ? v->access->buffer->dtype : v->access->tile->dtype;
    return dtype_bits(dtype) >= 8 && step_along(w, v->access, w->op->box.coord[dim], &step) &&
           step == 1;
}

void plan_transpose(Walk *w)
{
    const TileOp *op = w->op;
    int last = op->box.rank - 1;
    int64_t step;
    if (last < 1 || is_bound_here(w))
        return;
    for (uint32_t i = 0; i < op->store_count; i++)
        if (!step_along(w, op->stores[i].access, op->box.coord[last], &step) || step != 1)
            return;
    w->turned = NEW_ARRAY(w->e->arena, bool, op->value_count + 1);
    for (int d = last; d-- > 0 && !w->block;) {
        int side = w->e->lanes;
        while (side > op->box.shape[d] || side > op->box.shape[last])
            side /= 2;
        for (uint32_t i = 0; i < op->value_count && side >= SMALLEST; i++) {
            const Value *v = op->values[i];
            if (v->op != V_load || !moves_along(w, v, d) || moves_along(w, v, last) ||
                !expr_uses(access_offset(w->e, &w->point, v->access), op->box.coord[last]))
                continue;
            w->turned[v->id] = true;
            w->block = side;
            w->across = d;
        }
    }
}

/* Exchanges the off-diagonal blocks of 1, 2, 4 .. elements. */
static void turn(Emit *e, Ref *rows, int side)
{
    for (int gap = 1; gap < side; gap *= 2) {
        Ref low[MAX_LANES], high[MAX_LANES];
        for (int i = 0; i < side; i++) {
            int from_a = i & gap ? side + i - gap : i, from_b = i & gap ? side + i : i + gap;
            low[i] = LLVMConstInt(e->i32, (unsigned long long)from_a, false);
            high[i] = LLVMConstInt(e->i32, (unsigned long long)from_b, false);
        }
        Ref masks[2] = {LLVMConstVector(low, (unsigned)side),
                        LLVMConstVector(high, (unsigned)side)};
        for (int i = 0; i < side; i++) {
            if (i & gap)
                continue;
            Ref a = rows[i], b = rows[i + gap];
            rows[i] = LLVMBuildShuffleVector(e->b, a, b, masks[0], "");
            rows[i + gap] = LLVMBuildShuffleVector(e->b, a, b, masks[1], "");
        }
    }
}

static void set_lanes(Walk *w, int width)
{
    int log = 0;
    while (1 << log < width)
        log++;
    w->point.width = width;
    w->point.lane = w->e->lane_syms[log];
    w->point.mask = NULL;
}

/* One block at (u, v); known[k][value id] for its row k. */
static void emit_block_at(Walk *w, const Expr *u, const Expr *v)
{
    Emit *e = w->e;
    const TileOp *op = w->op;
    int side = w->block, last = op->box.rank - 1;
    Val *known[MAX_LANES];
    for (int k = 0; k < side; k++)
        known[k] = NEW_ARRAY(e->arena, Val, op->value_count + 1);
    set_lanes(w, side);
    for (uint32_t i = 0; i < op->value_count; i++) {
        if (!w->turned[i])
            continue;
        Ref rows[MAX_LANES];
        for (int k = 0; k < side; k++) {
            walk_set(w, w->across, expr_add(e->cx, u, w->point.lane));
            walk_set(w, last, expr_addi(e->cx, v, k));
            rows[k] = point_vector(e, &w->point, emit_load(e, &w->point, op->values[i]->access));
        }
        turn(e, rows, side);
        for (int k = 0; k < side; k++)
            known[k][i] = (Val){rows[k], true};
    }
    for (int k = 0; k < side; k++) {
        walk_set(w, w->across, expr_addi(e->cx, u, k));
        walk_set(w, last, expr_add(e->cx, v, w->point.lane));
        walk_point(w, known[k]);
    }
    walk_drop(w);
    walk_drop(w);
}

static const Expr *begin_blocks(Walk *w, Loop *loop, int dim, const Expr *full)
{
    Emit *e = w->e;
    loop_begin(e, loop, const_int(e->i64, 0), emit_expr(e, full), w->block, full->lo > 0, NULL);
    const Expr *at = expr_sym(e->cx, "block", 0, w->op->box.shape[dim] - w->block, w->block);
    sym_define(e, at, loop->var, false);
    return at;
}

/* Part of the box: [u_from, u_to) x [v_from, v_to), the ordinary way. */
static void emit_edge(const Walk *w, const Expr *u_from, const Expr *u_to, const Expr *v_from,
                      const Expr *v_to)
{
    Walk part = *w;
    Loop loop;
    Emit *e = w->e;
    if (expr_always_le(e->cx, u_to, u_from) || expr_always_le(e->cx, v_to, v_from))
        return;
    int last = w->op->box.rank - 1;
    part.block = 0;
    part.from[last] = v_from;
    part.to[last] = v_to;
    loop_begin(e, &loop, emit_expr(e, u_from), emit_expr(e, u_to), 1,
               expr_always_lt(e->cx, u_from, u_to), NULL);
    sym_define(e, w->op->box.coord[w->across], loop.var, false);
    walk_dim(&part, last);
    loop_end(e, &loop);
}

void emit_transpose(Walk *w)
{
    Cx *cx = w->e->cx;
    Loop outer, inner;
    int last = w->op->box.rank - 1;
    const Expr *zero = expr_const(cx, 0);
    const Expr *u_end = expr_max(cx, zero, walk_extent(w, w->across)),
               *v_end = expr_max(cx, zero, walk_extent(w, last));
    const Expr *u_full = expr_sub(cx, u_end, expr_modi(cx, u_end, w->block));
    const Expr *v_full = expr_sub(cx, v_end, expr_modi(cx, v_end, w->block));
    const Expr *u = begin_blocks(w, &outer, w->across, u_full);
    const Expr *v = begin_blocks(w, &inner, last, v_full);
    emit_block_at(w, u, v);
    loop_end(w->e, &inner);
    loop_end(w->e, &outer);
    emit_edge(w, zero, u_full, v_full, v_end);
    emit_edge(w, u_full, u_end, zero, v_end);
}
