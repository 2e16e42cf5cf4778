/* The verifier of operations on boxes: their accesses, values and stores (rules 1 to 5 of
 * tile_verify.c). */
#include "ir/layout.h"
#include "ir/tile_verify.h"
#include "ir/value_build.h"

static const char *expr_text(TileCheck *c, const Expr *e)
{
    Text text;
    text_init(&text, c->cx->arena);
    expr_print(&text, e);
    return text.data;
}

/* ---- accesses */

static bool own_buffer(const TileCheck *c, const Buffer *b)
{
    return b && b->index >= 0 && b->index < (int)c->prog->buffer_count &&
           c->prog->buffers[b->index] == b;
}

static void add_guard(TileCheck *c, Access *a, Guard guard)
{
    Guard *guards = NEW_ARRAY(c->cx->arena, Guard, (size_t)a->guard_count + 1);
    for (int i = 0; i < a->guard_count; i++)
        guards[i] = a->guards[i];
    guards[a->guard_count] = guard;
    a->guards = guards;
    a->guard_count++;
}

/* `guarded`: the same access when guards may be added to it, else NULL. */
static bool check_in_bounds(TileCheck *c, const Access *a, Access *guarded)
{
    uint32_t scope = c->facts.count;
    for (int i = 0; i < a->guard_count; i++)
        facts_add_guard(&c->facts, &a->guards[i]);
    bool good = true;
    for (int i = 0; i < a->rank && good; i++) {
        const Expr *extent = a->buffer ? a->buffer->shape[i] : expr_const(c->cx, a->tile->shape[i]);
        if (facts_prove(&c->facts, a->index[i]) && facts_prove_lt(&c->facts, a->index[i], extent))
            continue;
        if (guarded) {
            add_guard(c, guarded, (Guard){a->index[i], expr_const(c->cx, 0), extent});
            continue;
        }
        c->prog->unproven = true;
        good = tile_wrong(c, "index %d of '%s', %s, is not proven to be in 0..%s", i,
                          a->buffer ? a->buffer->name : a->tile->name, expr_text(c, a->index[i]),
                          expr_text(c, extent));
    }
    c->facts.count = scope;
    return good;
}

/* A buffer or a shared tile. */
static bool check_access(TileCheck *c, const Access *a, Access *guarded)
{
    if ((a->buffer != NULL) == (a->tile != NULL))
        return tile_wrong(c, "an access needs a buffer or a tile");
    if (a->buffer ? !own_buffer(c, a->buffer) : !tile_verify_owns(c, a->tile))
        return tile_wrong(c, "an access to a foreign buffer or tile");
    const char *name = a->buffer ? a->buffer->name : a->tile->name;
    if (a->tile && a->tile->scope != TS_shared)
        return tile_wrong(c, "the register tile '%s' is read by 'tile', not by 'load'", name);
    if (a->rank != (a->buffer ? a->buffer->rank : a->tile->rank))
        return tile_wrong(c, "the rank of an access to '%s' is wrong", name);
    for (int i = 0; i < a->rank; i++)
        if (!tile_verify_expr(c, a->index[i], "an index"))
            return false;
    if (!tile_verify_guards(c, a->guards, a->guard_count))
        return false;
    return c->op->kind == TO_prefetch || check_in_bounds(c, a, guarded);
}

/* Rule 1. `used`: out, the coordinates of the box that the index uses. */
static bool check_register(TileCheck *c, const Access *a, unsigned *used)
{
    const Tile *t = a->tile;
    if (!tile_verify_owns(c, t) || t->scope != TS_register)
        return tile_wrong(c, "'%s' is not a register tile of this grid", t ? t->name : "?");
    if (a->rank != t->rank || a->guard_count)
        return tile_wrong(c, "the rank of an access to '%s' is wrong, or it has guards", t->name);
    *used = 0;
    for (int i = 0; i < a->rank; i++) {
        const Box *box = &c->op->box;
        int d = 0;
        while (d < box->rank && box->coord[d] != a->index[i])
            d++;
        bool zero = expr_is_const(a->index[i], 0) && t->shape[i] == 1;
        if (!zero && (d == box->rank || *used >> d & 1 || box->shape[d] != t->shape[i]))
            return tile_wrong(c, "index %d of the register tile '%s' is no coordinate of extent %d",
                              i, t->name, t->shape[i]);
        if (!zero)
            *used |= 1u << d;
    }
    return true;
}

/* What a map or a copy reads outside is the fill; an mma's operands have no outside. */
static bool may_guard_load(const TileCheck *c)
{
    return c->may_guard && (c->op->kind == TO_map || c->op->kind == TO_copy);
}

static bool check_value(TileCheck *c, const Value *v)
{
    unsigned used;
    const char *fault = value_fault(c->op->values, v);
    if (fault)
        return tile_wrong(c, "value %%%u: %s", v->id, fault);
    switch (v->op) {
    case V_const:
    case V_scalar:
    case V_cast: return true;
    case V_index: return tile_verify_expr(c, v->index, "an index value");
    case V_load:
        if (!check_access(c, v->access, may_guard_load(c) ? v->access : NULL))
            return false;
        return v->dtype == dtype_compute(v->access->buffer ? v->access->buffer->dtype
                                                           : v->access->tile->dtype)
                   ? true
                   : tile_wrong(c, "the type of a load is wrong");
    case V_tile:
        return check_register(c, v->access, &used) &&
               (v->dtype == dtype_compute(v->access->tile->dtype) ||
                tile_wrong(c, "the type of a tile's element is wrong"));
    case V_bind:
        if (!tile_verify_expr(c, v->lo, "a range") || !tile_verify_expr(c, v->hi, "a range") ||
            !tile_verify_sym(c, v->sym))
            return false;
        facts_add(&c->facts, expr_sub(c->cx, v->sym, v->lo));
        facts_add(&c->facts, expr_sub(c->cx, v->hi, v->sym));
        return true;
    case V_reduce: return tile_wrong(c, "a value reduces: tile programs have an operation for it");
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
static bool check_write(TileCheck *c, const Access *a)
{
    unsigned used;
    if (!check_register(c, a, &used))
        return false;
    for (int d = 0; d < c->op->box.rank; d++)
        if (c->op->box.shape[d] > 1 && !(used >> d & 1))
            return tile_wrong(c, "points of different '%s' write the same element of '%s'",
                              c->op->box.coord[d]->name, a->tile->name);
    for (uint32_t i = 0; i < c->op->value_count; i++) {
        const Value *v = c->op->values[i];
        if (v->op == V_tile && v->access->tile == a->tile && !same_element(v->access, a))
            return tile_wrong(c, "'%s' is read at another point than it is written", a->tile->name);
    }
    return true;
}

static bool check_store(TileCheck *c, const Store *s)
{
    const Access *a = s->access;
    if (!s->value || s->value->id >= c->op->value_count || c->op->values[s->value->id] != s->value)
        return tile_wrong(c, "a store of a foreign value");
    if (a->tile && a->tile->scope == TS_register) {
        if (!check_write(c, a))
            return false;
    } else if (!check_access(c, a, c->may_guard && c->op->kind == TO_map ? s->access : NULL)) {
        return false;
    }
    if (a->buffer && (a->buffer->role == BUF_in || a->buffer->role == BUF_const))
        return tile_wrong(c, "a store to the input '%s'", a->buffer->name);
    for (uint32_t i = 0; a->tile && a->tile->scope == TS_shared && i < c->op->value_count; i++) {
        const Value *v = c->op->values[i];
        if (v->op == V_load && v->access->tile == a->tile)
            return tile_wrong(c, "the shared tile '%s' is read and written", a->tile->name);
    }
    Dtype stored = a->buffer ? a->buffer->dtype : a->tile->dtype;
    return dtype_compute(s->value->dtype) == dtype_compute(stored) ||
           tile_wrong(c, "a store of %s to '%s'", dtype_name(s->value->dtype),
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

static bool check_mma(TileCheck *c)
{
    const TileOp *op = c->op;
    const Tile *t = op->dst;
    if (!tile_verify_owns(c, t) || t->scope != TS_register || t->rank != 2)
        return tile_wrong(c, "an mma needs a register tile of rank 2");
    if (t->dtype != DT_f32 && t->dtype != DT_f64 && t->dtype != DT_i32)
        return tile_wrong(c, "an mma accumulates in f32, f64 or i32, not in %s",
                          dtype_name(t->dtype));
    if (op->box.rank != 3 || op->box.shape[0] != t->shape[0] || op->box.shape[1] != t->shape[1])
        return tile_wrong(c, "the box does not fit the tile '%s'", t->name);
    if (!op->a || !op->b || op->store_count)
        return tile_wrong(c, "an mma has operands a and b and no store");
    if (dtype_compute(op->a->dtype) != t->dtype || dtype_compute(op->b->dtype) != t->dtype)
        return tile_wrong(c, "operands of %s and %s for a tile of %s", dtype_name(op->a->dtype),
                          dtype_name(op->b->dtype), dtype_name(t->dtype));
    if (depends(op, op->a, 1) || depends(op, op->b, 0))
        return tile_wrong(c, "operand a depends on '%s', or b on '%s'", op->box.coord[1]->name,
                          op->box.coord[0]->name);
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_tile && op->values[i]->access->tile == t)
            return tile_wrong(c, "the accumulator '%s' is an operand", t->name);
    int lanes = c->prog->caps->vector_bits / dtype_bits(t->dtype);
    int columns = tile_verify_on_cpu(c) ? ceil_div(t->shape[1], lanes) : 0, rows = t->shape[0];
    int needed = rows * columns + (rows < columns ? rows : columns);
    if (needed > c->prog->caps->registers && tile_verify_on_cpu(c))
        return tile_wrong(c, "'%s' needs %d vector registers, %s has %d", t->name, needed,
                          c->prog->caps->name, c->prog->caps->registers);
    return true;
}

static bool check_shape_of(TileCheck *c)
{
    const TileOp *op = c->op;
    switch (op->kind) {
    case TO_map: return op->store_count > 0 || tile_wrong(c, "a map without a store");
    case TO_mma: return check_mma(c);
    case TO_prefetch: return op->store_count == 0 || tile_wrong(c, "a prefetch with a store");
    case TO_copy:
        return (op->value_count == 1 && op->values[0]->op == V_load && op->store_count == 1 &&
                op->stores[0].access->tile && op->stores[0].access->guard_count == 0 &&
                op->stores[0].access->tile->scope == TS_shared) ||
               tile_wrong(c, "a copy is one load and one store to a shared tile, without guards");
    case TO_for:
    case TO_if:
    case TO_reduce:
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait: break;
    }
    return tile_wrong(c, "not an operation on a box");
}

static bool check_box_bounds(TileCheck *c)
{
    const Box *box = &c->op->box;
    int64_t points = 1;
    for (int d = 0; d < box->rank; d++) {
        if (box->shape[d] < 1 || (points *= box->shape[d]) > TILE_MAX_ELEMENTS)
            return tile_wrong(c, "the box is empty or too large");
        if (box->bound[d] && !tile_verify_expr(c, box->bound[d], "a bound"))
            return false; /* before the coordinates are in scope: rule 3 */
    }
    return true;
}

/* What holds at a point: the coordinates are under their bounds. A copy reads under its bounds but
 * writes all. */
static bool enter_box(TileCheck *c)
{
    const Box *box = &c->op->box;
    for (int d = 0; d < box->rank; d++) {
        if (!tile_verify_sym(c, box->coord[d]))
            return false;
        if (box->coord[d]->lo < 0 || box->coord[d]->hi >= box->shape[d])
            return tile_wrong(c, "the bounds of '%s' are not those of its extent",
                              box->coord[d]->name);
        if (box->bound[d])
            facts_add_lt(&c->facts, box->coord[d], box->bound[d]);
    }
    return true;
}

static bool check_placed_box(TileCheck *c)
{
    const TileOp *op = c->op;
    if (op->slot && !tile_verify_expr(c, op->slot, "a slot"))
        return false;
    if (op->by && !layout_verify(c->cx, op->by, op->box.rank, op->box.shape, c->grid->threads))
        return false;
    return c->prog->placed || (!op->slot && !op->by && !op->async) ||
           tile_wrong(c, "an attribute of placed programs");
}

bool tile_verify_box(TileCheck *c)
{
    const TileOp *op = c->op;
    uint32_t syms = c->sym_count, facts = c->facts.count;
    bool good = check_box_bounds(c) && check_placed_box(c) && enter_box(c);
    for (uint32_t i = 0; i < op->value_count && good; i++)
        good = op->values[i]->id == i ? check_value(c, op->values[i])
                                      : tile_wrong(c, "the id of a value is not its position");
    if (op->kind == TO_copy)
        c->facts.count = facts;
    good = good && check_shape_of(c);
    for (uint32_t i = 0; i < op->store_count && good; i++)
        good = check_store(c, &op->stores[i]);
    c->sym_count = syms;
    c->facts.count = facts;
    return good;
}
