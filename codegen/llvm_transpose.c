/* Transpositions: a map whose stores run along the last coordinate while a load runs along another.
 *
 * Square blocks go through registers: the load's vectors along the other coordinate, log2(side)
 * stages of shuffles, then one row of points after the other with that load's value already known.
 * Edges of known size are blocks of which only a part is loaded and stored; others go the ordinary
 * way.
 *
 *              last (v) ->
 *   across (u) [ full blocks    | right edge ]
 *              [ bottom edge, all of v       ] */
#include <string.h>

#include "codegen/llvm_emit.h"

enum { SMALLEST = 4 };

/* Where a block stands and how much of it exists. */
typedef struct Block {
    const Expr *u, *v;
    int rows, columns;
} Block;

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
        while (side / 2 >= op->box.shape[d] || side / 2 >= op->box.shape[last])
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

/* Pairs of rows `gap` apart become the even and the odd pieces of both, pieces of `size` elements
 * in stretches of `reach`: for size 1 and reach 4 that is { a0 b0 a1 b1 | a4 b4 .. } and { a2 b2 a3
 * b3 | .. }, for lanes of a wide register (reach = side) { a0 a2 b0 b2 } and { a1 a3 b1 b3 }. Each
 * is one instruction on x86. */
static void zip(Emit *e, Ref *rows, int side, int gap, int size, bool whole)
{
    enum { LANE = 4 };
    Ref low[MAX_LANES], high[MAX_LANES], by_half[MAX_LANES];
    for (int i = 0; i < side; i++) {
        int piece = i / size, within = i % size, from;
        if (whole) { /* pieces 0 2 .. of a, then of b */
            int half = side / size / 2;
            from = piece % half * 2 * size + within + (piece / half) * side;
        } else {
            int lane = i / LANE * LANE, at = i % LANE / size;
            from = lane + at / 2 * size + within + (at & 1) * side;
        }
        low[i] = LLVMConstInt(e->i32, (unsigned long long)from, false);
        int other = from + (whole ? size : LANE / 2);
        high[i] = LLVMConstInt(e->i32, (unsigned long long)other, false);
    }
    Ref masks[2] = {LLVMConstVector(low, (unsigned)side), LLVMConstVector(high, (unsigned)side)};
    for (int i = 0; i < side; i++) {
        if (i & gap)
            continue;
        Ref a = rows[i], b = rows[i + gap];
        by_half[i] = LLVMBuildShuffleVector(e->b, a, b, masks[0], "");
        by_half[i + gap] = LLVMBuildShuffleVector(e->b, a, b, masks[1], "");
    }
    memcpy(rows, by_half, (size_t)side * sizeof *rows);
}

/* Within lanes of 4 elements first (rows 1, then 2 apart), then whole lanes (4, then 8 apart).
 * After the first two steps row 4 g + j holds in its lane l column 4 l + j' of rows 4 g .. 4 g + 3,
 * where j' is j with its two bits exchanged; the lanes are then a square matrix to turn. */
static void turn_here(Emit *e, Ref *rows, int side)
{
    Ref turned[MAX_LANES];
    zip(e, rows, side, 1, 1, false);
    zip(e, rows, side, 2, 2, false);
    for (int gap = 4; gap < side; gap *= 2)
        zip(e, rows, side, gap, 4, true);
    for (int i = 0; i < side; i++)
        turned[i / 4 * 4 + i % 2 * 2 + i % 4 / 2] = rows[i];
    memcpy(rows, turned, (size_t)side * sizeof *rows);
}

/* The module's function that turns blocks of such rows: all rows in registers, all results too. */
static Ref turn_function(Emit *e, LLVMTypeRef row, int side, LLVMTypeRef *type)
{
    enum { REGCALL = 92 }; /* llvm::CallingConv::X86_RegCall: 16 vectors each way */
    LLVMTypeRef params[MAX_LANES];
    for (int i = 0; i < side; i++)
        params[i] = row;
    LLVMTypeRef result = LLVMStructTypeInContext(e->llvm, params, (unsigned)side, false);
    *type = LLVMFunctionType(result, params, (unsigned)side, false);
    char *row_name = LLVMPrintTypeToString(row);
    const char *name = arena_printf(e->arena, "turn_%s", row_name);
    LLVMDisposeMessage(row_name);
    Ref fn = LLVMGetNamedFunction(e->module, name);
    if (fn)
        return fn;
    fn = LLVMAddFunction(e->module, name, *type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    LLVMSetFunctionCallConv(fn, REGCALL);
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->llvm, nounwind, 0));
    Ref rows[MAX_LANES];
    for (int i = 0; i < side; i++)
        rows[i] = LLVMGetParam(fn, (unsigned)i);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->llvm, fn, "entry"));
    turn_here(e, rows, side);
    LLVMBuildAggregateRet(e->b, rows, (unsigned)side);
    level_at(e, e->level);
    return fn;
}

/* Selecting instructions for the shuffles costs more than all else in a kernel that moves data, and
 * each such kernel has the same ones: those of whole blocks stand in a function of the module. The
 * call costs little beside them, since rows are loaded to and stored from the registers it takes
 * and gives. Of parts of blocks most shuffles vanish; wider rows do not fit registers. */
static void turn(Emit *e, Ref *rows, int side, bool whole)
{
    LLVMTypeRef type, row = LLVMTypeOf(rows[0]), element = LLVMGetElementType(row);
    if (!whole || (element != e->f32 && element != e->i32)) {
        turn_here(e, rows, side);
        return;
    }
    Ref fn = turn_function(e, row, side, &type);
    Ref turned = LLVMBuildCall2(e->b, type, fn, rows, (unsigned)side, "");
    LLVMSetInstructionCallConv(turned, LLVMGetFunctionCallConv(fn));
    for (int i = 0; i < side; i++)
        rows[i] = LLVMBuildExtractValue(e->b, turned, (unsigned)i, "");
}

static void set_lanes(Walk *w, int width, int active)
{
    int log = 0;
    while (1 << log < width)
        log++;
    w->point.width = width;
    w->point.lane = w->e->lane_syms[log];
    w->point.mask = active < width ? const_mask(w->e, active, width) : NULL;
}

/* The block's values of one load: rows[k] runs along v at u + k. */
static void load_turned(Walk *w, const Value *load, const Block *at, Ref *rows)
{
    Emit *e = w->e;
    set_lanes(w, w->block, at->rows);
    for (int k = 0; k < w->block; k++) {
        if (k >= at->columns) {
            rows[k] = LLVMGetPoison(LLVMTypeOf(rows[0]));
            continue;
        }
        walk_set(w, w->across, expr_add(e->cx, at->u, w->point.lane));
        walk_set(w, w->op->box.rank - 1, expr_addi(e->cx, at->v, k));
        rows[k] = point_vector(e, &w->point, emit_load(e, &w->point, load->access));
    }
    turn(e, rows, w->block, at->rows == w->block && at->columns == w->block);
}

static void emit_block_at(Walk *w, const Block *at)
{
    Emit *e = w->e;
    const TileOp *op = w->op;
    Val *known[MAX_LANES];
    for (int k = 0; k < w->block; k++)
        known[k] = NEW_ARRAY(e->arena, Val, op->value_count + 1);
    for (uint32_t i = 0; i < op->value_count; i++) {
        Ref rows[MAX_LANES];
        if (!w->turned[i])
            continue;
        load_turned(w, op->values[i], at, rows);
        for (int k = 0; k < w->block; k++)
            known[k][i] = (Val){rows[k], true};
    }
    set_lanes(w, w->block, at->columns);
    for (int k = 0; k < at->rows; k++) {
        walk_set(w, w->across, expr_addi(e->cx, at->u, k));
        walk_set(w, op->box.rank - 1, expr_add(e->cx, at->v, w->point.lane));
        walk_point(w, known[k]);
    }
    walk_drop(w);
    walk_drop(w);
}

static const Expr *begin_blocks(Walk *w, Loop *loop, int dim, const Expr *full)
{
    Emit *e = w->e;
    loop_begin(e, loop, const_int(e->i64, 0), emit_expr(e, full), w->block, full->lo > 0, NULL);
    const Expr *at = expr_sym(e->cx, "block", 0, w->op->box.shape[dim], w->block);
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

/* All blocks of `rows` rows at u. */
static void emit_blocks_at(Walk *w, const Expr *u, int rows, const Expr *full, const Expr *left)
{
    Loop loop;
    if (full->hi > 0) {
        const Expr *v = begin_blocks(w, &loop, w->op->box.rank - 1, full);
        emit_block_at(w, &(Block){u, v, rows, w->block});
        loop_end(w->e, &loop);
    }
    if (left->kind == EX_const && left->value > 0)
        emit_block_at(w, &(Block){u, full, rows, (int)left->value});
}

void emit_transpose(Walk *w)
{
    Cx *cx = w->e->cx;
    Loop loop;
    const Expr *zero = expr_const(cx, 0);
    const Expr *u_end = expr_max(cx, zero, walk_extent(w, w->across));
    const Expr *v_end = expr_max(cx, zero, walk_extent(w, w->op->box.rank - 1));
    const Expr *u_left = expr_modi(cx, u_end, w->block), *v_left = expr_modi(cx, v_end, w->block);
    const Expr *u_full = expr_sub(cx, u_end, u_left), *v_full = expr_sub(cx, v_end, v_left);
    bool u_known = u_left->kind == EX_const, v_known = v_left->kind == EX_const;
    if (u_full->hi > 0) {
        const Expr *u = begin_blocks(w, &loop, w->across, u_full);
        emit_blocks_at(w, u, w->block, v_full, v_left);
        loop_end(w->e, &loop);
    }
    if (u_known && u_left->value > 0)
        emit_blocks_at(w, u_full, (int)u_left->value, v_full, v_left);
    if (!v_known)
        emit_edge(w, zero, u_known ? u_end : u_full, v_full, v_end);
    if (!u_known)
        emit_edge(w, u_full, u_end, zero, v_end);
}
