/* Tile programs to LLVM IR: functions, grids, blocks.
 *
 * The IR is in its final form: nothing but code generation runs on it. That is measured to be as
 * fast as what the IR optimiser makes of it, at a quarter of the compile time. It only works while
 * the rules below are kept.
 *
 *  1. Every value is SSA; there is no alloca. Register tiles are arrays of vectors in Emit.parts,
 * replaced when written.
 *  2. What does not change in a loop is emitted outside it, by asking for it: emit_expr,
 * emit_address and emit_guards put code at the outermost level that knows their symbols and
 * remember it there (llvm_level.c, llvm_expr.c).
 *  3. A construct that branches goes through loop_begin/end or region_begin/end, which keep levels
 * and registers right. After one, the builder stands in another block: never keep a block across
 * them.
 *  4. Code asked for at an outer level must be safe to run whether or not the inner code runs:
 * integer arithmetic only (a divisor's bounds exclude 0). Loads stay where they are asked for.
 *  5. The text of a micro-kernel keeps its order: per k step the vectors of B, then per row a
 * broadcast and its fma's.
 *  6. No fast-math flags, no undefined lanes in arithmetic that traps, no floating-point
 * reassociation the tile program does not ask for: the bits are those of the program on every
 * machine.
 *
 * Files: llvm_build (LLVM objects in and out), llvm_program (this), llvm_level and llvm_expr
 * (levels, loops, expressions, addresses), llvm_poll (ending early), llvm_map, llvm_mma, llvm_tile
 * (operations), llvm_value and llvm_access (values at a point), llvm_dtype, llvm_scalar and
 * llvm_math (element types and arithmetic). */
#include "codegen/llvm_emit.h"

static void mark_tile(Emit *e, bool *written, const Tile *tile)
{
    const RegTile *t = tile_find(e, tile);
    for (int i = 0; i < t->rows * t->chunks; i++)
        written[t->first + (uint32_t)i] = true;
}

/* Registers that a block changes. */
static void mark_written(Emit *e, bool *written, const TileBlock *block)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        mark_written(e, written, op->body);
        mark_written(e, written, op->other);
        if (op->kind == TO_mma || op->kind == TO_reduce)
            mark_tile(e, written, op->dst);
        for (uint32_t i = 0; i < op->store_count; i++) {
            const Tile *tile = op->stores[i].access->tile;
            if (tile && tile->scope == TS_register)
                mark_tile(e, written, tile);
        }
    }
}

static void emit_block(Emit *e, const TileBlock *block);

/* A loop whose turns are dealt out in strips, between which a cancelled kernel ends; the loop
 * itself is as without. */
typedef struct Strips {
    Loop outer;
    Ref lo, hi;               /* of the loop itself */
    bool nonempty, any, each; /* any: there are strips; each: they would be of one turn */
} Strips;

static void strips_begin(Emit *e, Strips *s, int64_t step, int64_t turns, const bool *written)
{
    s->each = turns == 1;
    s->any = turns > 1;
    if (!s->any)
        return;
    loop_begin(e, &s->outer, s->lo, s->hi, step * turns, s->nonempty, written);
    Ref left = LLVMBuildSub(e->b, s->hi, s->outer.var, "");
    left = intrinsic2(e, "llvm.smin", left, const_int(e->i64, step * turns));
    s->lo = s->outer.var;
    s->hi = LLVMBuildAdd(e->b, s->lo, left, "");
    s->nonempty = true;
}

static void strips_end(Emit *e, Strips *s, Loop *inner)
{
    inner->polls = s->each;
    loop_end(e, inner);
    s->outer.polls = true;
    if (s->any)
        loop_end(e, &s->outer);
}

static void emit_for(Emit *e, const TileOp *op)
{
    bool *written = NEW_ARRAY(e->arena, bool, e->part_count + 1);
    mark_written(e, written, op->body);
    Loop loop;
    Strips strips = {.nonempty = expr_always_lt(e->cx, op->lo, op->hi)};
    strips.lo = emit_expr(e, op->lo);
    strips.hi = emit_expr(e, op->hi);
    strips_begin(e, &strips, op->step, poll_loop(e, op), written);
    loop_begin(e, &loop, strips.lo, strips.hi, op->step, strips.nonempty, written);
    sym_define(e, op->var, loop.var, false);
    emit_block(e, op->body);
    strips_end(e, &strips, &loop);
}

static void emit_if(Emit *e, const TileOp *op)
{
    Ref lanes;
    int level;
    Ref cond = emit_guards(e, op->guards, op->guard_count, NULL, 1, &lanes, &level);
    if (!cond) {
        emit_block(e, op->body);
        return;
    }
    Region r;
    region_begin(e, &r, cond);
    emit_block(e, op->body);
    if (op->other && op->other->first) {
        region_else(e, &r);
        emit_block(e, op->other);
    }
    region_end(e, &r);
}

static void emit_op(Emit *e, const TileOp *op)
{
    level_at(e, e->level);
    switch (op->kind) {
    case TO_for: emit_for(e, op); return;
    case TO_if: emit_if(e, op); return;
    case TO_map:
    case TO_copy:
    case TO_prefetch: emit_map(e, op); return;
    case TO_mma: emit_mma(e, op); return;
    case TO_reduce: emit_reduce(e, op); return;
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait: break;
    }
    emit_fail(e, ST_unsupported, "kernel %s: an operation placed for a GPU", e->prog->name);
}

static void emit_block(Emit *e, const TileBlock *block)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next)
        emit_op(e, op);
}

static void add_tiles(Emit *e, const Grid *grid)
{
    e->tiles = NEW_ARRAY(e->arena, RegTile, grid->tile_count + 1);
    e->tile_count = grid->tile_count;
    e->part_count = 0;
    int64_t scratch = 0;
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        const Tile *tile = grid->tiles[i];
        RegTile *t = &e->tiles[i];
        *t = (RegTile){
            .tile = tile, .rows = 1, .columns = tile->rank ? tile->shape[tile->rank - 1] : 1};
        if (tile->scope == TS_shared) {
            t->offset = scratch;
            scratch += (tile_bytes(tile) * tile->slots + 63) / 64 * 64;
            continue;
        }
        for (int d = 0; d + 1 < tile->rank; d++)
            t->rows *= tile->shape[d];
        t->chunks = (t->columns + e->lanes - 1) / e->lanes;
        t->first = e->part_count;
        e->part_count += (uint32_t)(t->rows * t->chunks);
    }
    e->parts = NEW_ARRAY(e->arena, Ref, e->part_count + 2); /* one more for emit_trig */
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        const RegTile *t = &e->tiles[i];
        for (int k = 0; k < t->rows * t->chunks; k++) {
            int width = chunk_width(e, t->columns, k % t->chunks * e->lanes);
            e->parts[t->first + (uint32_t)k] =
                LLVMConstNull(vec(compute_type(e, t->tile->dtype), width));
        }
    }
}

static void define_dims(Emit *e)
{
    if (!e->prog->dim_count)
        return;
    Ref at = const_int(e->i64, offsetof(KernelArgs, dims));
    Ref dims = LLVMBuildLoad2(e->b, e->ptr, LLVMBuildGEP2(e->b, e->i8, e->args, &at, 1, ""), "");
    for (uint32_t i = 0; i < e->prog->dim_count; i++) {
        Ref index = const_int(e->i64, i);
        Ref p = LLVMBuildGEP2(e->b, e->i64, dims, &index, 1, "");
        sym_define(e, e->prog->dims[i], LLVMBuildLoad2(e->b, e->i64, p, ""), false);
    }
}

/* The task number in mixed radix, last grid dim fastest. */
static void define_ids(Emit *e, const Grid *grid, Ref task)
{
    Ref left = task, ids[MAX_GRID];
    for (int d = grid->rank; d-- > 0;) {
        Ref extent = emit_expr(e, grid->extents[d]);
        level_at(e, e->level);
        if (d == 0) {
            ids[d] = left;
        } else {
            Ref next = LLVMBuildUDiv(e->b, left, extent, "");
            ids[d] = LLVMBuildSub(e->b, left, LLVMBuildMul(e->b, next, extent, ""), "");
            left = next;
        }
    }
    for (int d = 0; d < grid->rank; d++)
        sym_define(e, grid->ids[d], ids[d], false);
}

static void emit_phase(Emit *e, const Grid *grid, int phase)
{
    LLVMTypeRef params[4] = {e->ptr, e->i64, e->i64, e->ptr};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->llvm), params, 4, false);
    e->fn = LLVMAddFunction(e->module, arena_printf(e->arena, "%s_%d", e->prog->name, phase), type);
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(e->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->llvm, nounwind, 0));
    e->args = LLVMGetParam(e->fn, 0);
    e->scratch = LLVMGetParam(e->fn, 3);
    e->grid = grid;
    e->level = -1;
    e->sym_count = 0;
    e->stop = NULL;
    level_push(e, block_new(e, "entry"));
    add_tiles(e, grid);
    define_dims(e);
    Loop tasks;
    Strips strips = {.lo = LLVMGetParam(e->fn, 1), .hi = LLVMGetParam(e->fn, 2)};
    strips_begin(e, &strips, 1, poll_tasks(e, grid), NULL);
    loop_begin(e, &tasks, strips.lo, strips.hi, 1, strips.nonempty, NULL);
    define_ids(e, grid, tasks.var);
    emit_block(e, &grid->body);
    strips_end(e, &strips, &tasks);
    LLVMBuildRetVoid(e->b);
}

void emit_program(Emit *e, const TileProg *prog)
{
    e->prog = prog;
    for (uint32_t i = 0; i < prog->grid_count; i++)
        emit_phase(e, prog->grids[i], (int)i);
}
