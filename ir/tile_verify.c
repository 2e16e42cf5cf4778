/* The verifier of tile programs: every rule of tile.h, in the order of the text. The first
 * violation ends it.
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
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/facts.h"
#include "ir/layout.h"
#include "ir/tile_impl.h"
#include "ir/value_build.h"

enum { MAX_ELEMENTS = 1 << 24, MAX_THREADS = 1024, MAX_DEPTH = 100, WARNED = 600 };

typedef struct Check {
    TileProg *prog;
    Cx *cx;
    const Grid *grid;
    const TileOp *op; /* for messages; NULL outside operations */
    Facts facts;
    uint32_t sym_count, sym_cap;
    const Expr **syms; /* in scope */
    bool thread_too;   /* the symbol of the thread may be used */
    bool may_guard;    /* loads of maps that are not proven get guards */
    int depth;
} Check;

static bool is_cpu(const Check *c)
{
    return c->prog->caps->kind == TK_cpu || c->prog->caps->kind == TK_opencl_cpu;
}

__attribute__((format(printf, 2, 3))) static bool fail(Check *c, const char *fmt, ...)
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

static bool add_sym(Check *c, const Expr *sym)
{
    if (!sym || sym->kind != EX_sym || !name_is_legal(sym->name))
        return fail(c, "a symbol has no legal name");
    for (uint32_t i = 0; i < c->sym_count; i++)
        if (strcmp(c->syms[i]->name, sym->name) == 0)
            return fail(c, "the name '%s' is used twice in a scope", sym->name);
    VEC_PUSH(c->cx->arena, c->syms, c->sym_count, c->sym_cap, sym);
    return true;
}

typedef struct Visit {
    const Check *check;
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

static bool check_expr(Check *c, const Expr *e, const char *what)
{
    if (!e)
        return fail(c, "%s is missing", what);
    if (expr_is_poison(e)) {
        cx_fail(c->cx, ST_limit, "tile '%s': %s overflows", c->prog->name, what);
        return false;
    }
    Visit visit = {c, NULL};
    expr_symbols(c->cx, e, visit_sym, &visit);
    return visit.foreign ? fail(c, "'%s' is not defined: used by %s", visit.foreign->name, what)
                         : true;
}

static bool check_guards(Check *c, const Guard *guards, int count)
{
    for (int i = 0; i < count; i++)
        if (!check_expr(c, guards[i].lo, "a guard") || !check_expr(c, guards[i].e, "a guard") ||
            !check_expr(c, guards[i].hi, "a guard"))
            return false;
    return true;
}

static const char *expr_text(Check *c, const Expr *e)
{
    Text text;
    text_init(&text, c->cx->arena);
    expr_print(&text, e);
    return text.data;
}

/* ---- accesses */

static bool own_tile(const Check *c, const Tile *t)
{
    return t && t->id < c->grid->tile_count && c->grid->tiles[t->id] == t;
}

static bool own_buffer(const Check *c, const Buffer *b)
{
    return b && b->index >= 0 && b->index < (int)c->prog->buffer_count &&
           c->prog->buffers[b->index] == b;
}

static void add_guard(Check *c, Access *a, Guard guard)
{
    Guard *guards = NEW_ARRAY(c->cx->arena, Guard, (size_t)a->guard_count + 1);
    for (int i = 0; i < a->guard_count; i++)
        guards[i] = a->guards[i];
    guards[a->guard_count] = guard;
    a->guards = guards;
    a->guard_count++;
}

/* `guarded`: the same access when guards may be added to it, else NULL. */
static bool check_in_bounds(Check *c, const Access *a, Access *guarded)
{
    uint32_t scope = c->facts.count;
    for (int i = 0; i < a->guard_count; i++)
        facts_add_guard(&c->facts, &a->guards[i]);
    bool good = true;
    for (int i = 0; i < a->rank && good; i++) {
        const Expr *extent = a->buffer ? a->buffer->shape[i] : expr_const(c->cx, a->tile->shape[i]);
        if (facts_prove(&c->facts, a->index[i]) && facts_prove_lt(&c->facts, a->index[i], extent))
            continue;
        if (guarded)
            add_guard(c, guarded, (Guard){a->index[i], expr_const(c->cx, 0), extent});
        else
            good = fail(c, "index %d of '%s', %s, is not proven to be in 0..%s", i,
                        a->buffer ? a->buffer->name : a->tile->name, expr_text(c, a->index[i]),
                        expr_text(c, extent));
    }
    c->facts.count = scope;
    return good;
}

/* A buffer or a shared tile. */
static bool check_access(Check *c, const Access *a, Access *guarded)
{
    if ((a->buffer != NULL) == (a->tile != NULL))
        return fail(c, "an access needs a buffer or a tile");
    if (a->buffer ? !own_buffer(c, a->buffer) : !own_tile(c, a->tile))
        return fail(c, "an access to a foreign buffer or tile");
    const char *name = a->buffer ? a->buffer->name : a->tile->name;
    if (a->tile && a->tile->scope != TS_shared)
        return fail(c, "the register tile '%s' is read by 'tile', not by 'load'", name);
    if (a->rank != (a->buffer ? a->buffer->rank : a->tile->rank))
        return fail(c, "the rank of an access to '%s' is wrong", name);
    for (int i = 0; i < a->rank; i++)
        if (!check_expr(c, a->index[i], "an index"))
            return false;
    if (!check_guards(c, a->guards, a->guard_count))
        return false;
    return c->op->kind == TO_prefetch || check_in_bounds(c, a, guarded);
}

/* Rule 1. `used`: out, the coordinates of the box that the index uses. */
static bool check_register(Check *c, const Access *a, unsigned *used)
{
    const Tile *t = a->tile;
    if (!own_tile(c, t) || t->scope != TS_register)
        return fail(c, "'%s' is not a register tile of this grid", t ? t->name : "?");
    if (a->rank != t->rank || a->guard_count)
        return fail(c, "the rank of an access to '%s' is wrong, or it has guards", t->name);
    *used = 0;
    for (int i = 0; i < a->rank; i++) {
        const Box *box = &c->op->box;
        int d = 0;
        while (d < box->rank && box->coord[d] != a->index[i])
            d++;
        bool zero = expr_is_const(a->index[i], 0) && t->shape[i] == 1;
        if (!zero && (d == box->rank || *used >> d & 1 || box->shape[d] != t->shape[i]))
            return fail(c, "index %d of the register tile '%s' is no coordinate of extent %d", i,
                        t->name, t->shape[i]);
        if (!zero)
            *used |= 1u << d;
    }
    return true;
}

static bool check_value(Check *c, const Value *v)
{
    unsigned used;
    const char *fault = value_fault(c->op->values, v);
    if (fault)
        return fail(c, "value %%%u: %s", v->id, fault);
    switch (v->op) {
    case V_const:
    case V_scalar:
    case V_cast: return true;
    case V_index: return check_expr(c, v->index, "an index value");
    case V_load:
        if (!check_access(c, v->access, c->may_guard && c->op->kind == TO_map ? v->access : NULL))
            return false;
        return v->dtype == dtype_compute(v->access->buffer ? v->access->buffer->dtype
                                                           : v->access->tile->dtype)
                   ? true
                   : fail(c, "the type of a load is wrong");
    case V_tile:
        return check_register(c, v->access, &used) &&
               (v->dtype == dtype_compute(v->access->tile->dtype) ||
                fail(c, "the type of a tile's element is wrong"));
    case V_bind:
        if (!check_expr(c, v->lo, "a range") || !check_expr(c, v->hi, "a range") ||
            !add_sym(c, v->sym))
            return false;
        facts_add(&c->facts, expr_sub(c->cx, v->sym, v->lo));
        facts_add(&c->facts, expr_sub(c->cx, v->hi, v->sym));
        return true;
    case V_reduce: return fail(c, "a value reduces: tile programs have an operation for it");
    }
    return false;
}

/* The same element of a register tile; a coordinate of extent 1 is 0. */
static bool same_element(const Access *a, const Access *b)
{
    for (int i = 0; i < a->rank; i++)
        if (a->index[i] != b->index[i] && (a->index[i]->hi > 0 || b->index[i]->hi > 0))
            return false;
    return true;
}

/* Rules 1 and 2 for a store to a register tile. */
static bool check_write(Check *c, const Access *a)
{
    unsigned used;
    if (!check_register(c, a, &used))
        return false;
    for (int d = 0; d < c->op->box.rank; d++)
        if (c->op->box.shape[d] > 1 && !(used >> d & 1))
            return fail(c, "points of different '%s' write the same element of '%s'",
                        c->op->box.coord[d]->name, a->tile->name);
    for (uint32_t i = 0; i < c->op->value_count; i++) {
        const Value *v = c->op->values[i];
        if (v->op == V_tile && v->access->tile == a->tile && !same_element(v->access, a))
            return fail(c, "'%s' is read at another point than it is written", a->tile->name);
    }
    return true;
}

static bool check_store(Check *c, const Store *s)
{
    const Access *a = s->access;
    if (!s->value || s->value->id >= c->op->value_count || c->op->values[s->value->id] != s->value)
        return fail(c, "a store of a foreign value");
    if (a->tile && a->tile->scope == TS_register) {
        if (!check_write(c, a))
            return false;
    } else if (!check_access(c, a, c->may_guard && c->op->kind == TO_map ? s->access : NULL)) {
        return false;
    }
    if (a->buffer && (a->buffer->role == BUF_in || a->buffer->role == BUF_const))
        return fail(c, "a store to the input '%s'", a->buffer->name);
    for (uint32_t i = 0; a->tile && a->tile->scope == TS_shared && i < c->op->value_count; i++) {
        const Value *v = c->op->values[i];
        if (v->op == V_load && v->access->tile == a->tile)
            return fail(c, "the shared tile '%s' is read and written", a->tile->name);
    }
    Dtype stored = a->buffer ? a->buffer->dtype : a->tile->dtype;
    return dtype_compute(s->value->dtype) == dtype_compute(stored) ||
           fail(c, "a store of %s to '%s'", dtype_name(s->value->dtype),
                a->buffer ? a->buffer->name : a->tile->name);
}

/* ---- operations on boxes */

static bool uses_coord(const TileOp *op, const Expr *e, int d)
{
    if (expr_uses(e, op->box.coord[d]))
        return true;
    for (uint32_t i = 0; i < op->value_count; i++) /* through bound values: any of them */
        if (op->values[i]->op == V_bind && expr_uses(e, op->values[i]->sym))
            return true;
    return false;
}

/* Whether the value depends on coordinate d of its operation. */
static bool depends(const TileOp *op, const Value *v, int d)
{
    for (int i = 0; i < 3; i++)
        if (v->args[i] && depends(op, v->args[i], d))
            return true;
    if (v->index && uses_coord(op, v->index, d))
        return true;
    for (int i = 0; v->access && i < v->access->rank; i++)
        if (uses_coord(op, v->access->index[i], d))
            return true;
    for (int i = 0; v->access && i < v->access->guard_count; i++) {
        const Guard *g = &v->access->guards[i];
        if (uses_coord(op, g->e, d) || uses_coord(op, g->lo, d) || uses_coord(op, g->hi, d))
            return true;
    }
    return false;
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

static bool check_mma(Check *c)
{
    const TileOp *op = c->op;
    const Tile *t = op->dst;
    if (!own_tile(c, t) || t->scope != TS_register || t->rank != 2)
        return fail(c, "an mma needs a register tile of rank 2");
    if (t->dtype != DT_f32 && t->dtype != DT_f64 && t->dtype != DT_i32)
        return fail(c, "an mma accumulates in f32, f64 or i32, not in %s", dtype_name(t->dtype));
    if (op->box.rank != 3 || op->box.shape[0] != t->shape[0] || op->box.shape[1] != t->shape[1])
        return fail(c, "the box does not fit the tile '%s'", t->name);
    if (!op->a || !op->b || op->store_count)
        return fail(c, "an mma has operands a and b and no store");
    if (dtype_compute(op->a->dtype) != t->dtype || dtype_compute(op->b->dtype) != t->dtype)
        return fail(c, "operands of %s and %s for a tile of %s", dtype_name(op->a->dtype),
                    dtype_name(op->b->dtype), dtype_name(t->dtype));
    if (depends(op, op->a, 1) || depends(op, op->b, 0))
        return fail(c, "operand a depends on '%s', or b on '%s'", op->box.coord[1]->name,
                    op->box.coord[0]->name);
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_tile && op->values[i]->access->tile == t)
            return fail(c, "the accumulator '%s' is an operand", t->name);
    int lanes = c->prog->caps->vector_bits / dtype_bits(t->dtype);
    int columns = is_cpu(c) ? ceil_div(t->shape[1], lanes) : 0, rows = t->shape[0];
    int needed = rows * columns + (rows < columns ? rows : columns);
    if (needed > c->prog->caps->registers && is_cpu(c))
        return fail(c, "'%s' needs %d vector registers, %s has %d", t->name, needed,
                    c->prog->caps->name, c->prog->caps->registers);
    return true;
}

static bool check_shape_of(Check *c)
{
    const TileOp *op = c->op;
    switch (op->kind) {
    case TO_map: return op->store_count > 0 || fail(c, "a map without a store");
    case TO_mma: return check_mma(c);
    case TO_prefetch: return op->store_count == 0 || fail(c, "a prefetch with a store");
    case TO_copy:
        return (op->value_count == 1 && op->values[0]->op == V_load && op->store_count == 1 &&
                op->stores[0].access->tile && op->stores[0].access->guard_count == 0 &&
                op->stores[0].access->tile->scope == TS_shared) ||
               fail(c, "a copy is one load and one store to a shared tile, without guards");
    case TO_for:
    case TO_if:
    case TO_reduce:
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait: break;
    }
    return fail(c, "not an operation on a box");
}

static bool check_box_bounds(Check *c)
{
    const Box *box = &c->op->box;
    int64_t points = 1;
    for (int d = 0; d < box->rank; d++) {
        if (box->shape[d] < 1 || (points *= box->shape[d]) > MAX_ELEMENTS)
            return fail(c, "the box is empty or too large");
        if (box->bound[d] && !check_expr(c, box->bound[d], "a bound"))
            return false; /* before the coordinates are in scope: rule 3 */
    }
    return true;
}

/* What holds at a point: the coordinates are under their bounds. A copy reads under its bounds but
 * writes all. */
static bool enter_box(Check *c)
{
    const Box *box = &c->op->box;
    for (int d = 0; d < box->rank; d++) {
        if (!add_sym(c, box->coord[d]))
            return false;
        if (box->coord[d]->lo < 0 || box->coord[d]->hi >= box->shape[d])
            return fail(c, "the bounds of '%s' are not those of its extent", box->coord[d]->name);
        if (box->bound[d])
            facts_add_lt(&c->facts, box->coord[d], box->bound[d]);
    }
    return true;
}

static bool check_placed_box(Check *c)
{
    const TileOp *op = c->op;
    if (op->slot && !check_expr(c, op->slot, "a slot"))
        return false;
    if (op->by && !layout_verify(c->cx, op->by, op->box.rank, op->box.shape, c->grid->threads))
        return false;
    return c->prog->placed || (!op->slot && !op->by && !op->async) ||
           fail(c, "an attribute of placed programs");
}

static bool check_box(Check *c)
{
    const TileOp *op = c->op;
    uint32_t syms = c->sym_count, facts = c->facts.count;
    bool good = check_box_bounds(c) && check_placed_box(c) && enter_box(c);
    for (uint32_t i = 0; i < op->value_count && good; i++)
        good = op->values[i]->id == i ? check_value(c, op->values[i])
                                      : fail(c, "the id of a value is not its position");
    if (op->kind == TO_copy)
        c->facts.count = facts;
    good = good && check_shape_of(c);
    for (uint32_t i = 0; i < op->store_count && good; i++)
        good = check_store(c, &op->stores[i]);
    c->sym_count = syms;
    c->facts.count = facts;
    return good;
}

/* ---- the other operations */

static bool check_block(Check *c, const TileBlock *block);

static bool check_for(Check *c)
{
    const TileOp *op = c->op;
    if (!check_expr(c, op->lo, "a loop") || !check_expr(c, op->hi, "a loop"))
        return false;
    if (op->step < 1 || op->stages < 1 || (op->stages > 1 && is_cpu(c)))
        return fail(c, "step and stages are positive; stages are for GPUs");
    if (!op->body)
        return fail(c, "a loop without a body");
    uint32_t syms = c->sym_count, facts = c->facts.count;
    if (!add_sym(c, op->var))
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

static bool check_if(Check *c)
{
    const TileOp *op = c->op;
    c->thread_too = true;
    bool good = check_guards(c, op->guards, op->guard_count);
    c->thread_too = false;
    if (!good)
        return false;
    if (op->guard_count < 1 || !op->body)
        return fail(c, "an 'if' without a guard or body");
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

static bool check_reduce(Check *c)
{
    const TileOp *op = c->op;
    const Tile *t = op->dst, *s = op->src;
    if (!own_tile(c, t) || !own_tile(c, s) || t->scope != TS_register || s->scope != TS_register ||
        t == s)
        return fail(c, "a reduce needs two register tiles of this grid");
    bool fits = t->rank == s->rank && op->dim >= 0 && op->dim < s->rank && t->dtype == s->dtype;
    for (int i = 0; i < s->rank && fits; i++)
        fits = t->shape[i] == (i == op->dim ? 1 : s->shape[i]);
    if (!fits)
        return fail(c, "'%s' is not '%s' with dim %d of extent 1", t->name, s->name, op->dim);
    bool arg = op->monoid == M_argmin || op->monoid == M_argmax;
    return (!arg && monoid_accepts(op->monoid, dtype_compute(t->dtype))) ||
           fail(c, "a register tile of %s is not reduced by %s", dtype_name(t->dtype),
                monoid_name(op->monoid));
}

static bool check_convert(Check *c)
{
    const Tile *t = c->op->dst, *s = c->op->src, *w = c->op->via;
    if (!own_tile(c, t) || !own_tile(c, s) || !own_tile(c, w) || t->scope != TS_register ||
        s->scope != TS_register || w->scope != TS_shared)
        return fail(c, "a convert needs two register tiles and a shared one");
    bool fits = t->rank == s->rank && t->rank == w->rank && t->dtype == s->dtype;
    for (int i = 0; i < t->rank && fits; i++)
        fits = t->shape[i] == s->shape[i] && t->shape[i] <= w->shape[i];
    return fits || fail(c, "the tiles differ in shape or type");
}

static bool check_op(Check *c, const TileOp *op)
{
    c->op = op;
    switch (op->kind) {
    case TO_for: return check_for(c);
    case TO_if: return check_if(c);
    case TO_map:
    case TO_mma:
    case TO_copy:
    case TO_prefetch: return check_box(c);
    case TO_reduce: return check_reduce(c);
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait:
        if (!c->prog->placed || is_cpu(c))
            return fail(c, "an operation of placed GPU programs");
        return op->kind != TO_convert || check_convert(c);
    }
    return fail(c, "unknown operation");
}

static bool check_block(Check *c, const TileBlock *block)
{
    if (++c->depth > MAX_DEPTH)
        return fail(c, "nested deeper than %d", MAX_DEPTH);
    bool good = true;
    for (const TileOp *op = block->first; op && good; op = op->next)
        good = check_op(c, op);
    c->depth--;
    c->op = NULL;
    return good;
}

/* ---- tiles, grids, the program */

static bool check_tile(Check *c, const Tile *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++)
        if (t->shape[i] < 1 || (count *= t->shape[i]) > MAX_ELEMENTS)
            return fail(c, "the tile '%s' is empty or too large", t->name);
    Dtype compute = dtype_compute(t->dtype);
    bool gpu = !is_cpu(c), placed = c->prog->placed;
    if (t->scope == TS_register) {
        bool half = t->dtype == DT_f16 || t->dtype == DT_bf16;
        if (compute == DT_none || (t->dtype != compute && !half))
            return fail(c, "the register tile '%s' of type %s", t->name, dtype_name(t->dtype));
        if (t->pad || t->slots != 1 || t->swizzle)
            return fail(c, "the register tile '%s' has attributes of shared ones", t->name);
        if ((t->layout != NULL) != (placed && gpu))
            return fail(c, "'%s': layouts belong to placed GPU programs", t->name);
        return !t->layout || layout_verify(c->cx, t->layout, t->rank, t->shape, c->grid->threads);
    }
    if (compute == DT_none || dtype_bits(t->dtype) < 8 || t->layout)
        return fail(c, "the shared tile '%s' of type %s", t->name, dtype_name(t->dtype));
    if (t->pad < 0 || t->pad > 4096 || t->slots < 1 || t->slots > 64 ||
        (t->swizzle && (!placed || (t->swizzle != 32 && t->swizzle != 64 && t->swizzle != 128))))
        return fail(c, "the shared tile '%s': pad, slots or swizzle", t->name);
    return true;
}

static bool place_name_taken(const Check *c, const char *name, uint32_t tiles)
{
    for (uint32_t i = 0; i < c->prog->buffer_count; i++)
        if (strcmp(c->prog->buffers[i]->name, name) == 0)
            return true;
    for (uint32_t i = 0; i < tiles; i++)
        if (strcmp(c->grid->tiles[i]->name, name) == 0)
            return true;
    return false;
}

static bool check_tiles(Check *c)
{
    int64_t shared = 0;
    for (uint32_t i = 0; i < c->grid->tile_count; i++) {
        const Tile *t = c->grid->tiles[i];
        if (t->id != i || !name_is_legal(t->name) || place_name_taken(c, t->name, i))
            return fail(c, "the name of the tile '%s' is taken or not legal", t->name);
        if (!check_tile(c, t))
            return false;
        shared += t->scope == TS_shared ? tile_bytes(t) * t->slots : 0;
    }
    if (!is_cpu(c) && shared > c->prog->caps->shared_bytes)
        return fail(c, "%lld bytes of shared tiles, %s has %lld", (long long)shared,
                    c->prog->caps->name, (long long)c->prog->caps->shared_bytes);
    return true;
}

static bool check_grid(Check *c)
{
    const Grid *grid = c->grid;
    uint32_t syms = c->sym_count, facts = c->facts.count;
    if (grid->threads < 1 || grid->threads > MAX_THREADS || (is_cpu(c) && grid->threads != 1))
        return fail(c, "%d threads per block", grid->threads);
    for (int i = 0; i < grid->rank; i++)
        if (!check_expr(c, grid->extents[i], "an extent of the grid"))
            return false;
    for (int i = 0; i < grid->rank; i++) {
        if (!add_sym(c, grid->ids[i]))
            return false;
        facts_add_lt(&c->facts, grid->ids[i], grid->extents[i]);
    }
    if (grid->thread && (!c->prog->placed || !add_sym(c, grid->thread)))
        return fail(c, "the symbol of the thread belongs to placed programs");
    if (!check_tiles(c) || !check_block(c, &grid->body))
        return false;
    c->sym_count = syms;
    c->facts.count = facts;
    return true;
}

static bool check_buffer(Check *c, const Buffer *b, uint32_t position)
{
    if (b->index != (int)position || b->rank < 0 || b->rank > MAX_RANK || !name_is_legal(b->name))
        return fail(c, "buffer '%s': position, rank or name", b->name);
    for (uint32_t i = 0; i < position; i++)
        if (strcmp(c->prog->buffers[i]->name, b->name) == 0)
            return fail(c, "the buffer name '%s' is used twice", b->name);
    if (dtype_compute(b->dtype) == DT_none || b->align < buffer_min_align(b->dtype) ||
        (b->align & (b->align - 1)))
        return fail(c, "buffer '%s': type or alignment", b->name);
    bool good = check_expr(c, b->offset, "an offset");
    for (int i = 0; i < b->rank && good; i++)
        good = check_expr(c, b->shape[i], "a size") && check_expr(c, b->strides[i], "a stride") &&
               (b->shape[i]->lo >= 0 || fail(c, "a size of '%s' may be negative", b->name));
    return good;
}

static bool verify(TileProg *prog, bool may_guard)
{
    Check c = {.prog = prog, .cx = prog->cx, .may_guard = may_guard};
    if (cx_failed(prog->cx))
        return false;
    Grid none = {0};
    c.grid = &none;
    facts_init(&c.facts, prog->cx);
    for (uint32_t i = 0; i < prog->dim_count; i++)
        if (!add_sym(&c, prog->dims[i]) || prog->dims[i]->lo < 0)
            return fail(&c, "dim %u is not a symbol of sizes", i);
    for (uint32_t i = 0; i < prog->buffer_count; i++)
        if (!check_buffer(&c, prog->buffers[i], i))
            return false;
    for (uint32_t i = 0; i < prog->grid_count; i++) {
        c.grid = prog->grids[i];
        if (!check_grid(&c))
            return false;
    }
    return prog->grid_count > 0 || fail(&c, "there is no grid");
}

bool tile_verify(TileProg *prog)
{
    return verify(prog, false);
}

bool tile_secure(TileProg *prog)
{
    return verify(prog, true);
}
