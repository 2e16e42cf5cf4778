/* Maps, copies and prefetches: boxes of points.
 *
 * The last coordinate runs along vectors. A map that touches register tiles is unrolled whole,
 * since SSA values have no addresses; a conditional region per row stands for an outer bound. Any
 * other map becomes loops, the innermost over full vectors, with what does not move along the row
 * computed before it; then one masked vector for what is left. */
#include "codegen/llvm_emit.h"
#include "ir/value_build.h"

enum { MAX_UNROLL = 8192, FEW_VECTORS = 4, LINE = 64 };

static const Expr *with_const(const Walk *w, int64_t value)
{
    return expr_const(w->e->cx, value);
}

void walk_set(Walk *w, int d, const Expr *with)
{
    Point *p = &w->point;
    for (int i = 0; i < p->count; i++) {
        if (p->syms[i] == w->op->box.coord[d]) {
            p->with[i] = with;
            return;
        }
    }
    p->syms[p->count] = w->op->box.coord[d];
    p->with[p->count++] = with;
}

void walk_drop(Walk *w)
{
    w->point.count--;
}

/* Copies go over the whole box: their bounds guard the load. */
static const Expr *bound_of(const Walk *w, int d)
{
    return w->op->kind == TO_map ? w->op->box.bound[d] : NULL;
}

/* Places of stores may use symbols that no stored value needs. */
static void place_binds(Walk *w, const Access *access)
{
    const TileOp *op = w->op;
    Value user = {.op = V_load, .access = (Access *)access};
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_bind && !w->point.vals[i].v &&
            value_uses_sym(&user, op->values[i]->sym))
            point_value(w->e, &w->point, op->values[i]);
}

void walk_point(Walk *w, const Val *known)
{
    Emit *e = w->e;
    const TileOp *op = w->op;
    bool binds = false;
    for (uint32_t i = 0; i < op->value_count; i++)
        binds |= op->values[i]->op == V_bind && !(known && known[i].v);
    if (binds)
        level_push(e, level_block(e));
    w->point.vals = NEW_ARRAY(e->arena, Val, op->value_count + 1);
    for (uint32_t i = 0; known && i < op->value_count; i++)
        w->point.vals[i] = known[i];
    /* All stored values first: a store may write what another value reads at the same point. */
    Val *stored = NEW_ARRAY(e->arena, Val, op->store_count + 1);
    for (uint32_t i = 0; i < op->store_count; i++)
        stored[i] = point_value(e, &w->point, op->stores[i].value);
    for (uint32_t i = 0; i < op->store_count; i++) {
        const Access *access = op->stores[i].access;
        place_binds(w, access);
        if (access->tile && access->tile->scope == TS_register)
            tile_put(e, &w->point, access, stored[i]);
        else
            emit_store(e, &w->point, access, stored[i]);
    }
    if (binds)
        level_pop(e);
}

/* One vector of the last coordinate: `base` + lane, of which `active` lanes exist, and those under
 * `bound`. */
static void emit_chunk(Walk *w, const Expr *base, int width, int active, const Expr *bound,
                       const Val *known)
{
    Emit *e = w->e;
    Point *p = &w->point;
    int log = 0, level;
    while (1 << log < width)
        log++;
    p->width = width;
    p->lane = width > 1 ? e->lane_syms[log] : NULL;
    p->mask = active < width ? const_mask(e, active, width) : NULL;
    const Expr *at = p->lane ? expr_add(e->cx, base, p->lane) : base;
    walk_set(w, w->op->box.rank - 1, at);
    Guard inside = {at, with_const(w, 0), bound};
    if (bound && !expr_always_lt(e->cx, expr_addi(e->cx, base, active - 1), bound)) {
        Ref lanes, all = emit_guards(e, &inside, 1, p->lane, width, &lanes, &level);
        if (lanes)
            p->mask = p->mask ? LLVMBuildAnd(e->b, p->mask, lanes, "") : lanes;
        if (all) {
            Region r;
            region_begin(e, &r, all);
            walk_point(w, known);
            region_end(e, &r);
            walk_drop(w);
            return;
        }
    }
    walk_point(w, known);
    walk_drop(w);
}

static void emit_row_unrolled(Walk *w, int columns, const Expr *bound, const Val *known)
{
    Emit *e = w->e;
    for (int start = 0; start < columns; start += e->lanes) {
        int left = columns - start;
        emit_chunk(w, with_const(w, start), chunk_width(e, columns, start),
                   left < e->lanes ? left : e->lanes, bound, known);
    }
}

static bool follows(Emit *e, const Value *v, const Expr *coord)
{
    const Access *a = v->access;
    if (v->op == V_index && expr_uses(v->index, coord))
        return true;
    if (v->op == V_load) {
        for (int d = 0; d < a->rank; d++)
            if (expr_uses(a->index[d], coord))
                return true;
        for (int g = 0; g < a->guard_count; g++)
            if (expr_uses(a->guards[g].e, coord) || expr_uses(a->guards[g].lo, coord) ||
                expr_uses(a->guards[g].hi, coord))
                return true;
    }
    (void)e;
    return false;
}

/* Values that are the same along the row, computed once before it. */
static Val *emit_invariants(Walk *w)
{
    Emit *e = w->e;
    const TileOp *op = w->op;
    const Expr *coord = op->box.coord[op->box.rank - 1];
    Val *known = NEW_ARRAY(e->arena, Val, op->value_count + 1);
    bool *moves = NEW_ARRAY(e->arena, bool, op->value_count + 1);
    Point p = w->point;
    p.width = 1;
    p.lane = NULL;
    p.mask = NULL;
    p.vals = known;
    for (int i = 0; i < p.extra_count; i++)
        if (expr_uses(p.extra[i].e, coord))
            return known;
    for (uint32_t i = 0; i < op->value_count; i++) {
        const Value *v = op->values[i];
        moves[i] = follows(e, v, coord);
        int arity = v->op == V_scalar                    ? scalar_arity(v->scalar)
                    : v->op == V_cast || v->op == V_bind ? 1
                                                         : 0;
        for (int k = 0; k < arity; k++)
            moves[i] |= moves[v->args[k]->id];
        for (uint32_t k = 0; k < i; k++)
            moves[i] |=
                moves[k] && op->values[k]->op == V_bind && value_uses_sym(v, op->values[k]->sym);
        if (!moves[i] && v->op != V_const)
            point_value(e, &p, v);
    }
    return known;
}

const Expr *walk_extent(const Walk *w, int d)
{
    const Expr *shape = with_const(w, w->op->box.shape[d]), *bound = bound_of(w, d);
    return bound ? expr_min(w->e->cx, shape, bound) : shape;
}

static void walk_range(const Walk *w, int d, const Expr **from, const Expr **to)
{
    *from = w->from[d] ? w->from[d] : with_const(w, 0);
    *to = w->to[d] ? w->to[d] : walk_extent(w, d);
}

static Ref positive(Emit *e, const Expr *x)
{
    return LLVMBuildICmp(e->b, LLVMIntSGT, emit_expr(e, x), const_int(e->i64, 0), "");
}

/* Full vectors from `from` on in a loop, then what is left of `total` points. */
static void emit_row_parts(Walk *w, const Expr *from, const Expr *total, const Val *known)
{
    Emit *e = w->e;
    int columns = w->op->box.shape[w->op->box.rank - 1];
    const Expr *left = expr_modi(e->cx, total, e->lanes), *full = expr_sub(e->cx, total, left);
    if (full->hi > 0) {
        Loop loop;
        loop_begin(e, &loop, const_int(e->i64, 0), emit_expr(e, full), e->lanes, full->lo > 0,
                   NULL);
        const Expr *base = expr_sym(e->cx, "row", 0, columns - e->lanes, e->lanes);
        sym_define(e, base, loop.var, false);
        emit_chunk(w, expr_add(e->cx, from, base), e->lanes, e->lanes, NULL, known);
        loop_end(e, &loop);
    }
    const Expr *start = expr_add(e->cx, from, full);
    if (left->kind == EX_const && left->value > 0) {
        int active = (int)left->value;
        emit_chunk(w, start, chunk_width(e, active, 0), active, NULL, known);
    } else if (left->kind != EX_const) {
        Region r;
        region_begin(e, &r, positive(e, left));
        emit_chunk(w, start, e->lanes, e->lanes, expr_add(e->cx, from, total), known);
        region_end(e, &r);
    }
}

static void emit_row_loop(Walk *w)
{
    Emit *e = w->e;
    const Expr *from, *to;
    walk_range(w, w->op->box.rank - 1, &from, &to);
    const Expr *total = expr_max(e->cx, with_const(w, 0), expr_sub(e->cx, to, from));
    Region some;
    bool sure = total->lo > 0;
    if (!sure)
        region_begin(e, &some, positive(e, total));
    Val *known = emit_invariants(w);
    if (total->kind == EX_const && expr_is_const(from, 0) && total->value <= FEW_VECTORS * e->lanes)
        emit_row_unrolled(w, (int)total->value, NULL, known);
    else
        emit_row_parts(w, from, total, known);
    if (!sure)
        region_end(e, &some);
}

static void walk_loop(Walk *w, int d)
{
    Emit *e = w->e;
    const Expr *from, *to;
    walk_range(w, d, &from, &to);
    Loop loop;
    loop_begin(e, &loop, emit_expr(e, from), emit_expr(e, to), 1, expr_always_lt(e->cx, from, to),
               NULL);
    sym_define(e, w->op->box.coord[d], loop.var, false);
    walk_dim(w, d + 1);
    loop_end(e, &loop);
}

static void walk_unrolled(Walk *w, int d)
{
    Emit *e = w->e;
    const Expr *bound = bound_of(w, d);
    for (int64_t i = 0; i < w->op->box.shape[d]; i++) {
        const Expr *at = with_const(w, i);
        bool check = bound && !expr_always_lt(e->cx, at, bound);
        Region r;
        if (check)
            region_begin(
                e, &r, LLVMBuildICmp(e->b, LLVMIntSLT, emit_expr(e, at), emit_expr(e, bound), ""));
        walk_set(w, d, at);
        walk_dim(w, d + 1);
        walk_drop(w);
        if (check)
            region_end(e, &r);
    }
}

static void emit_prefetch_row(Walk *w);

void walk_dim(Walk *w, int d)
{
    const Box *box = &w->op->box;
    if (w->block && d == w->across)
        walk_dim(w, d + 1);
    else if (d + 1 < box->rank && w->in_loops && box->shape[d] > 1)
        walk_loop(w, d);
    else if (d + 1 < box->rank)
        walk_unrolled(w, d);
    else if (w->op->kind == TO_prefetch)
        emit_prefetch_row(w);
    else if (box->rank == 0)
        walk_point(w, NULL);
    else if (w->block)
        emit_transpose(w);
    else if (w->in_loops)
        emit_row_loop(w);
    else
        emit_row_unrolled(w, box->shape[d], bound_of(w, d), NULL);
}

/* One hint per cache line. */
static void emit_prefetch_row(Walk *w)
{
    Emit *e = w->e;
    Point *p = &w->point;
    int d = w->op->box.rank - 1, columns = w->op->box.rank ? w->op->box.shape[d] : 1;
    for (uint32_t i = 0; i < w->op->value_count; i++) {
        const Value *v = w->op->values[i];
        if (v->op != V_load)
            continue;
        Dtype dtype = v->access->buffer ? v->access->buffer->dtype : v->access->tile->dtype;
        int bits = dtype_bits(dtype), step = LINE * 8 / bits;
        for (int at = 0; at < columns; at += step) {
            if (d >= 0)
                walk_set(w, d, with_const(w, at));
            const Expr *offset = access_offset(e, p, v->access);
            if (bits >= 8) {
                Ref ptr = emit_address(e, emit_base(e, v->access), 0, offset, bits / 8);
                Ref args[4] = {ptr, LLVMConstInt(e->i32, 0, false), LLVMConstInt(e->i32, 3, false),
                               LLVMConstInt(e->i32, 1, false)};
                call_intrinsic(e, "llvm.prefetch", &e->ptr, 1, args, 4);
            }
            if (d >= 0)
                walk_drop(w);
        }
    }
}

static bool touches_registers(const TileOp *op)
{
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_tile)
            return true;
    for (uint32_t i = 0; i < op->store_count; i++)
        if (op->stores[i].access->tile && op->stores[i].access->tile->scope == TS_register)
            return true;
    return false;
}

/* A copy's bounds make its load give the fill. */
static void bounds_as_guards(Walk *w)
{
    const Box *box = &w->op->box;
    Guard *guards = NEW_ARRAY(w->e->arena, Guard, box->rank + 1);
    for (int d = 0; d < box->rank; d++)
        if (box->bound[d])
            guards[w->point.extra_count++] =
                (Guard){box->coord[d], with_const(w, 0), box->bound[d]};
    w->point.extra = guards;
}

void emit_map(Emit *e, const TileOp *op)
{
    Walk w = {
        .e = e, .op = op, .point = {.op = op, .width = 1}, .in_loops = !touches_registers(op)};
    int64_t points = 1;
    for (int d = 0; d + 1 < op->box.rank; d++)
        points *= op->box.shape[d];
    if (!w.in_loops && points > MAX_UNROLL)
        emit_fail(e, ST_unsupported, "kernel %s: a map over register tiles of %lld rows",
                  e->prog->name, (long long)points);
    if (op->kind == TO_prefetch)
        w.in_loops = points > 64;
    if (op->kind == TO_copy)
        bounds_as_guards(&w);
    if (op->kind != TO_prefetch && w.in_loops)
        plan_transpose(&w);
    walk_dim(&w, 0);
}
