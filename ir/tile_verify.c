/* The verifier of tile programs: every rule of tile.h, in the order of the text. The first
 * violation ends it. Operations on boxes are in tile_verify_box.c.
 *
 * A walk carries the symbols in scope and the facts that hold there: ranges of grid ids, loops and
 * bounds, guards of `if` and of accesses. Every index must be in bounds by these facts (facts.h);
 * prefetches may run past the end. What stays unproven in a correct program needs a guard or a
 * tighter extent from its schedule.
 *
 * Rules beyond the ones tile.h states word by word:
 *   1. A register tile is indexed by distinct coordinates of the same extent as its dim, or by 0
 * where its dim has extent 1; a write uses every coordinate of extent over 1, so that points write
 * different elements.
 *   2. An operation that writes a register tile reads it at the index it writes; it does not read a
 * shared tile it writes.
 *   3. Bounds of a box do not use its coordinates.
 *   4. `mma`: a does not depend on j, b not on i; operands and tile have one compute type.
 *   5. On a CPU the accumulators of an mma and the smaller of its two operands' slices fit the
 * registers. */
#include "ir/tile_verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/layout.h"
#include "ir/tile_impl.h"

enum { MAX_THREADS = 1024, MAX_DEPTH = 100, WARNED = 600 };

bool tile_verify_on_cpu(const TileCheck *c)
{
    return c->prog->caps->kind == TK_cpu || c->prog->caps->kind == TK_opencl_cpu;
}

bool tile_wrong(TileCheck *c, const char *fmt, ...)
{
    char text[WARNED];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    Text head;
    text_init(&head, c->cx->arena);
    if (c->op)
        tile_print_head(&head, c->op);
    cx_fail(c->cx, ST_internal, "tile '%s': %s%s%s%s", c->prog->name, text, c->op ? ": in '" : "",
            head.data, c->op ? "'" : "");
    return false;
}

/* ---- symbols and expressions */

bool tile_verify_sym(TileCheck *c, const Expr *sym)
{
    if (!sym || sym->kind != EX_sym || !name_is_legal(sym->name))
        return tile_wrong(c, "a symbol has no legal name");
    for (uint32_t i = 0; i < c->sym_count; i++)
        if (strcmp(c->syms[i]->name, sym->name) == 0)
            return tile_wrong(c, "the name '%s' is used twice in a scope", sym->name);
    VEC_PUSH(c->cx->arena, c->syms, c->sym_count, c->sym_cap, sym);
    return true;
}

typedef struct Visit {
    const TileCheck *check;
    const Expr *foreign;
} Visit;

static void visit_sym(void *user, const Expr *sym)
{
    Visit *v = user;
    for (uint32_t i = 0; i < v->check->sym_count; i++)
        if (v->check->syms[i] == sym && (v->check->thread_too || sym != v->check->grid->thread))
            return;
    v->foreign = sym;
}

bool tile_verify_expr(TileCheck *c, const Expr *e, const char *what)
{
    if (!e)
        return tile_wrong(c, "%s is missing", what);
    if (expr_is_poison(e)) {
        cx_fail(c->cx, ST_limit, "tile '%s': %s overflows", c->prog->name, what);
        return false;
    }
    Visit visit = {c, NULL};
    expr_symbols(c->cx, e, visit_sym, &visit);
    return visit.foreign
               ? tile_wrong(c, "'%s' is not defined: used by %s", visit.foreign->name, what)
               : true;
}

bool tile_verify_guards(TileCheck *c, const Guard *guards, int count)
{
    for (int i = 0; i < count; i++)
        if (!tile_verify_expr(c, guards[i].lo, "a guard") ||
            !tile_verify_expr(c, guards[i].e, "a guard") ||
            !tile_verify_expr(c, guards[i].hi, "a guard"))
            return false;
    return true;
}

bool tile_verify_owns(const TileCheck *c, const Tile *t)
{
    return t && t->id < c->grid->tile_count && c->grid->tiles[t->id] == t;
}

/* ---- operations */

static bool check_block(TileCheck *c, const TileBlock *block);

static bool check_for(TileCheck *c)
{
    const TileOp *op = c->op;
    if (!tile_verify_expr(c, op->lo, "a loop") || !tile_verify_expr(c, op->hi, "a loop"))
        return false;
    if (op->step < 1 || op->stages < 1 || (op->stages > 1 && tile_verify_on_cpu(c)))
        return tile_wrong(c, "step and stages are positive; stages are for GPUs");
    if (!op->body)
        return tile_wrong(c, "a loop without a body");
    uint32_t syms = c->sym_count, facts = c->facts.count;
    if (!tile_verify_sym(c, op->var))
        return false;
    const Expr *span = expr_sub(c->cx, op->hi, op->lo);
    bool whole = !expr_is_poison(span) && span->div % op->step == 0;
    facts_add(&c->facts, expr_sub(c->cx, op->var, op->lo));
    facts_add(&c->facts, expr_addi(c->cx, expr_sub(c->cx, op->hi, op->var),
                                   whole ? -op->step : -1)); /* the last step is a whole one */
    bool good = check_block(c, op->body);
    c->sym_count = syms;
    c->facts.count = facts;
    return good;
}

static bool check_if(TileCheck *c)
{
    const TileOp *op = c->op;
    c->thread_too = true;
    bool good = tile_verify_guards(c, op->guards, op->guard_count);
    c->thread_too = false;
    if (!good)
        return false;
    if (op->guard_count < 1 || !op->body)
        return tile_wrong(c, "an 'if' without a guard or body");
    uint32_t facts = c->facts.count;
    for (int i = 0; i < op->guard_count; i++)
        facts_add_guard(&c->facts, &op->guards[i]);
    good = check_block(c, op->body);
    c->facts.count = facts;
    if (!good || !op->other)
        return good;
    const Guard *g = &op->guards[0]; /* one guard with one open side: the other side holds */
    if (op->guard_count == 1 && expr_always_le(c->cx, g->lo, g->e))
        facts_add(&c->facts, expr_sub(c->cx, g->e, g->hi));
    else if (op->guard_count == 1 && expr_always_lt(c->cx, g->e, g->hi))
        facts_add_lt(&c->facts, g->e, g->lo);
    good = check_block(c, op->other);
    c->facts.count = facts;
    return good;
}

static bool check_reduce(TileCheck *c)
{
    const TileOp *op = c->op;
    const Tile *t = op->dst, *s = op->src;
    if (!tile_verify_owns(c, t) || !tile_verify_owns(c, s) || t->scope != TS_register ||
        s->scope != TS_register || t == s)
        return tile_wrong(c, "a reduce needs two register tiles of this grid");
    bool fits = t->rank == s->rank && op->dim >= 0 && op->dim < s->rank && t->dtype == s->dtype;
    for (int i = 0; i < s->rank && fits; i++)
        fits = t->shape[i] == (i == op->dim ? 1 : s->shape[i]);
    if (!fits)
        return tile_wrong(c, "'%s' is not '%s' with dim %d of extent 1", t->name, s->name, op->dim);
    bool arg = op->monoid == M_argmin || op->monoid == M_argmax;
    return (!arg && monoid_accepts(op->monoid, dtype_compute(t->dtype))) ||
           tile_wrong(c, "a register tile of %s is not reduced by %s", dtype_name(t->dtype),
                      monoid_name(op->monoid));
}

static bool check_convert(TileCheck *c)
{
    const Tile *t = c->op->dst, *s = c->op->src, *w = c->op->via;
    if (!tile_verify_owns(c, t) || !tile_verify_owns(c, s) || !tile_verify_owns(c, w) ||
        t->scope != TS_register || s->scope != TS_register || w->scope != TS_shared)
        return tile_wrong(c, "a convert needs two register tiles and a shared one");
    bool fits = t->rank == s->rank && t->rank == w->rank && t->dtype == s->dtype;
    for (int i = 0; i < t->rank && fits; i++)
        fits = t->shape[i] == s->shape[i] && t->shape[i] <= w->shape[i];
    return fits || tile_wrong(c, "the tiles differ in shape or type");
}

static bool check_op(TileCheck *c, const TileOp *op)
{
    c->op = op;
    switch (op->kind) {
    case TO_for: return check_for(c);
    case TO_if: return check_if(c);
    case TO_map:
    case TO_mma:
    case TO_copy:
    case TO_prefetch: return tile_verify_box(c);
    case TO_reduce: return check_reduce(c);
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait:
        if (!c->prog->placed || tile_verify_on_cpu(c))
            return tile_wrong(c, "an operation of placed GPU programs");
        return op->kind != TO_convert || check_convert(c);
    }
    return tile_wrong(c, "unknown operation");
}

static bool check_block(TileCheck *c, const TileBlock *block)
{
    if (++c->depth > MAX_DEPTH)
        return tile_wrong(c, "nested deeper than %d", MAX_DEPTH);
    bool good = true;
    for (const TileOp *op = block->first; op && good; op = op->next)
        good = check_op(c, op);
    c->depth--;
    c->op = NULL;
    return good;
}

/* ---- tiles, grids, the program */

static bool check_tile(TileCheck *c, const Tile *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] < 1 || (count *= t->shape[i]) > TILE_MAX_ELEMENTS)
            return tile_wrong(c, "the tile '%s' is empty or too large", t->name);
    Dtype compute = dtype_compute(t->dtype);
    bool gpu = !tile_verify_on_cpu(c), placed = c->prog->placed;
    if (t->scope == TS_register) {
        bool half = t->dtype == DT_f16 || t->dtype == DT_bf16;
        if (compute == DT_none || (t->dtype != compute && !half))
            return tile_wrong(c, "the register tile '%s' of type %s", t->name,
                              dtype_name(t->dtype));
        if (t->pad || t->slots != 1 || t->swizzle)
            return tile_wrong(c, "the register tile '%s' has attributes of shared ones", t->name);
        if ((t->layout != NULL) != (placed && gpu))
            return tile_wrong(c, "'%s': layouts belong to placed GPU programs", t->name);
        return !t->layout || layout_verify(c->cx, t->layout, t->rank, t->shape, c->grid->threads);
    }
    if (compute == DT_none || dtype_bits(t->dtype) < 8 || t->layout)
        return tile_wrong(c, "the shared tile '%s' of type %s", t->name, dtype_name(t->dtype));
    if (t->pad < 0 || t->pad > 4096 || t->slots < 1 || t->slots > 64 ||
        (t->swizzle && (!placed || (t->swizzle != 32 && t->swizzle != 64 && t->swizzle != 128))))
        return tile_wrong(c, "the shared tile '%s': pad, slots or swizzle", t->name);
    return true;
}

static bool place_name_taken(const TileCheck *c, const char *name, uint32_t tiles)
{
    for (uint32_t i = 0; i < c->prog->buffer_count; i++)
        if (strcmp(c->prog->buffers[i]->name, name) == 0)
            return true;
    for (uint32_t i = 0; i < tiles; i++)
        if (strcmp(c->grid->tiles[i]->name, name) == 0)
            return true;
    return false;
}

static bool check_tiles(TileCheck *c)
{
    int64_t shared = 0;
    for (uint32_t i = 0; i < c->grid->tile_count; i++) {
        const Tile *t = c->grid->tiles[i];
        if (t->id != i || !name_is_legal(t->name) || place_name_taken(c, t->name, i))
            return tile_wrong(c, "the name of the tile '%s' is taken or not legal", t->name);
        if (!check_tile(c, t))
            return false;
        shared += t->scope == TS_shared ? tile_bytes(t) * t->slots : 0;
    }
    if (!tile_verify_on_cpu(c) && shared > c->prog->caps->shared_bytes)
        return tile_wrong(c, "%lld bytes of shared tiles, %s has %lld", (long long)shared,
                          c->prog->caps->name, (long long)c->prog->caps->shared_bytes);
    return true;
}

static bool check_grid(TileCheck *c)
{
    const Grid *grid = c->grid;
    uint32_t syms = c->sym_count, facts = c->facts.count;
    if (grid->threads < 1 || grid->threads > MAX_THREADS ||
        (tile_verify_on_cpu(c) && grid->threads != 1))
        return tile_wrong(c, "%d threads per block", grid->threads);
    for (int i = 0; i < grid->rank; i++)
        if (!tile_verify_expr(c, grid->extents[i], "an extent of the grid"))
            return false;
    for (int i = 0; i < grid->rank; i++) {
        if (!tile_verify_sym(c, grid->ids[i]))
            return false;
        facts_add_lt(&c->facts, grid->ids[i], grid->extents[i]);
    }
    if (grid->thread && (!c->prog->placed || !tile_verify_sym(c, grid->thread)))
        return tile_wrong(c, "the symbol of the thread belongs to placed programs");
    if (!check_tiles(c) || !check_block(c, &grid->body))
        return false;
    c->sym_count = syms;
    c->facts.count = facts;
    return true;
}

static bool check_buffer(TileCheck *c, const Buffer *b, uint32_t position)
{
    if (b->index != (int)position || b->rank < 0 || b->rank > MAX_RANK || !name_is_legal(b->name))
        return tile_wrong(c, "buffer '%s': position, rank or name", b->name);
    for (uint32_t i = 0; i < position; i++)
        if (strcmp(c->prog->buffers[i]->name, b->name) == 0)
            return tile_wrong(c, "the buffer name '%s' is used twice", b->name);
    if (dtype_compute(b->dtype) == DT_none || b->align < buffer_min_align(b->dtype) ||
        (b->align & (b->align - 1)))
        return tile_wrong(c, "buffer '%s': type or alignment", b->name);
    bool good = tile_verify_expr(c, b->offset, "an offset");
    for (int i = 0; i < b->rank && good; i++)
        good = tile_verify_expr(c, b->shape[i], "a size") &&
               tile_verify_expr(c, b->strides[i], "a stride") &&
               (b->shape[i]->lo >= 0 || tile_wrong(c, "a size of '%s' may be negative", b->name));
    return good;
}

static bool verify(TileProg *prog, bool may_guard)
{
    TileCheck c = {.prog = prog, .cx = prog->cx, .may_guard = may_guard};
    if (cx_failed(prog->cx))
        return false;
    Grid none = {0};
    c.grid = &none;
    facts_init(&c.facts, prog->cx);
    for (uint32_t i = 0; i < prog->dim_count; i++)
        if (!tile_verify_sym(&c, prog->dims[i]) || prog->dims[i]->lo < 0)
            return tile_wrong(&c, "dim %u is not a symbol of sizes", i);
    for (uint32_t i = 0; i < prog->equal_count; i++) {
        const DimsEqual *equal = &prog->equals[i];
        if (!tile_verify_expr(&c, equal->a, "equal") || !tile_verify_expr(&c, equal->b, "equal"))
            return false;
        facts_add(&c.facts, expr_sub(c.cx, equal->a, equal->b));
        facts_add(&c.facts, expr_sub(c.cx, equal->b, equal->a));
    }
    for (uint32_t i = 0; i < prog->buffer_count; i++)
        if (!check_buffer(&c, prog->buffers[i], i))
            return false;
    for (uint32_t i = 0; i < prog->grid_count; i++) {
        c.grid = prog->grids[i];
        if (!check_grid(&c))
            return false;
    }
    return prog->grid_count > 0 || tile_wrong(&c, "there is no grid");
}

bool tile_verify(TileProg *prog)
{
    return verify(prog, false);
}

bool tile_secure(TileProg *prog)
{
    return verify(prog, true);
}
