/* Vectors of memory accesses, and software pipelines.
 *
 * A loop with stages n on a target with cp.async whose body begins with copies that can be
 * asynchronous becomes, for a ring of n slots:
 *
 *     for p in 0..n-2:  if lo + p*s < hi { copies of step p into slot p }  commit
 *     for k { wait n-2  barrier
 *             if k + (n-1)*s < hi { copies of step + n-1 into its slot }  commit
 *             rest of the body, reading the slot of this step }
 *     wait 0
 *
 * One barrier per step is enough: the slot written in a step was read in the step before, whose
 * threads the barrier has seen. Other loops keep one slot and get barriers like everything else. */
#include "passes/place_impl.h"

/* ---- vectors */

static Dtype place_dtype(const Access *access)
{
    return access->buffer ? access->buffer->dtype : access->tile->dtype;
}

static const Expr *split_last(Place *place, const TileOp *op, const Expr *e, const Expr *digit,
                              int vec)
{
    int last = op->box.rank - 1;
    int64_t runs = op->box.shape[last] / vec;
    const Expr *run = expr_sym(place->cx, "q", 0, runs > 0 ? runs - 1 : 0, 1);
    const Expr *with = expr_add(place->cx, digit, expr_muli(place->cx, run, vec));
    return expr_subst(place->cx, e, &op->box.coord[last], &with, 1);
}

static bool same_for_run(Place *place, const TileOp *op, const Guard *guard, const Expr *digit,
                         int vec)
{
    const Expr *e = split_last(place, op, guard->e, digit, vec), *rest;
    const Expr *lo = split_last(place, op, guard->lo, digit, vec),
               *hi = split_last(place, op, guard->hi, digit, vec);
    int64_t coef;
    if (expr_uses(lo, digit) || expr_uses(hi, digit))
        return false;
    if (!expr_uses(e, digit))
        return true;
    return expr_linear(place->cx, e, digit, &coef, &rest) && coef == 1 && rest->div % vec == 0 &&
           lo->div % vec == 0 && hi->div % vec == 0;
}

static const Expr *offset_of(Place *place, const Access *access)
{
    Cx *cx = place->cx;
    const Expr *at = access->buffer ? access->buffer->offset : expr_const(cx, 0);
    int64_t below = 1;
    for (int d = access->rank - 1; d >= 0; d--) {
        if (access->buffer) {
            at = expr_add(cx, at, expr_mul(cx, access->index[d], access->buffer->strides[d]));
        } else {
            at = expr_add(cx, at, expr_muli(cx, access->index[d], below));
            below *= access->tile->shape[d] + (d == access->rank - 1 ? access->tile->pad : 0);
        }
    }
    return at;
}

static bool is_run(Place *place, const TileOp *op, const Access *access, int vec)
{
    const Expr *digit = expr_sym(place->cx, "r", 0, vec - 1, 1), *rest;
    int bytes = dtype_bits(place_dtype(access)) / 8 * vec;
    int64_t coef;
    if (bytes != 4 && bytes != 8 && bytes != 16)
        return false;
    if (access->buffer && access->buffer->align < bytes)
        return false;
    const Expr *offset = split_last(place, op, offset_of(place, access), digit, vec);
    if (vec > 1 &&
        (!expr_linear(place->cx, offset, digit, &coef, &rest) || coef != 1 || rest->div % vec))
        return false;
    for (int g = 0; g < access->guard_count; g++)
        if (!same_for_run(place, op, &access->guards[g], digit, vec))
            return false;
    return true;
}

static bool bounds_allow(Place *place, const TileOp *op, int vec)
{
    const Expr *digit = expr_sym(place->cx, "r", 0, vec - 1, 1);
    int last = op->box.rank - 1;
    for (int d = 0; d < op->box.rank; d++) {
        Guard guard = {op->box.coord[d], expr_const(place->cx, 0), op->box.bound[d]};
        if (op->box.bound[d] && !same_for_run(place, op, &guard, digit, vec))
            return false;
    }
    return op->box.shape[last] % vec == 0;
}

static bool uses_buffers(const TileOp *op)
{
    for (uint32_t i = 0; i < place_access_count(op); i++)
        if (place_access(op, i) && place_access(op, i)->buffer)
            return true;
    return false;
}

/* Runs count in buffers when there are any: neighbouring threads read neighbouring elements else.
 */
int place_vector(Place *place, const TileOp *op)
{
    if (op->box.rank == 0)
        return 1;
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->op == V_bind)
            return 1;
    for (int vec = 16; vec > 1; vec /= 2) {
        if (!bounds_allow(place, op, vec))
            continue;
        int runs = 0, wide = 0;
        for (uint32_t i = 0; i < place_access_count(op); i++) {
            const Access *access = place_access(op, i);
            if (access && (access->buffer || !uses_buffers(op)) && is_run(place, op, access, vec))
                runs++;
            if (access && dtype_bits(place_dtype(access)) * vec > 128)
                wide++;
        }
        if (runs > 0 && wide == 0)
            return vec;
    }
    return 1;
}

bool place_can_copy_async(Place *place, const TileOp *op, int vec)
{
    if (op->kind != TO_copy || op->value_count != 1 || op->store_count != 1 || vec <= 0)
        return false;
    const Access *from = op->values[0]->access, *to = op->stores[0].access;
    return from && from->buffer && to->tile && from->buffer->dtype == to->tile->dtype &&
           from->fill.i == 0 && to->guard_count == 0 && bounds_allow(place, op, vec) &&
           is_run(place, op, from, vec) && is_run(place, op, to, vec);
}

/* ---- rings */

typedef struct Ring {
    Place *place;
    TileOp *loop;
    int slots;
    uint32_t tile_count;
    Tile *tiles[16];
} Ring;

static int run_of(const TileOp *op)
{
    const Layout *by = op->by;
    return by && by->reg_count && by->regs[0].dim == op->box.rank - 1 && by->regs[0].stride == 1
               ? by->regs[0].extent
               : 1;
}

static bool touches(const TileOp *op, const Tile *tile)
{
    for (uint32_t i = 0; i < place_access_count(op); i++)
        if (place_access(op, i) && place_access(op, i)->tile == tile)
            return true;
    for (const TileBlock *blocks[2] = {op->body, op->other}, **b = blocks; b < blocks + 2; b++)
        for (const TileOp *at = *b ? (*b)->first : NULL; at; at = at->next)
            if (touches(at, tile))
                return true;
    return false;
}

static bool used_outside(const TileBlock *block, const TileOp *loop, const Tile *tile)
{
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        if (op == loop)
            continue;
        if (op->body ? used_outside(op->body, loop, tile) || used_outside(op->other, loop, tile)
                     : touches(op, tile))
            return true;
    }
    return false;
}

/* The leading copies of the body, all asynchronous; their tiles are used nowhere outside the loop.
 * Returns the last of them. */
static TileOp *leading_copies(Ring *ring)
{
    TileOp *last = NULL;
    for (TileOp *op = ring->loop->body->first; op && op->kind == TO_copy; op = op->next) {
        Tile *tile = op->stores[0].access->tile;
        if (!place_can_copy_async(ring->place, op, run_of(op)) || ring->tile_count == 16 ||
            used_outside(&ring->place->grid->body, ring->loop, tile))
            return last;
        ring->tiles[ring->tile_count++] = tile;
        last = op;
    }
    return last;
}

static const Expr *subst(Cx *cx, const Expr *e, const Expr *from, const Expr *to)
{
    return e ? expr_subst(cx, e, &from, &to, 1) : NULL;
}

static Access *access_subst(Cx *cx, const Access *from, const Expr *var, const Expr *to)
{
    Access *access = arena_copy(cx->arena, from, sizeof *from);
    access->index = NEW_ARRAY(cx->arena, const Expr *, from->rank + 1);
    for (int d = 0; d < from->rank; d++)
        access->index[d] = subst(cx, from->index[d], var, to);
    Guard *guards = NEW_ARRAY(cx->arena, Guard, from->guard_count + 1);
    for (int g = 0; g < from->guard_count; g++)
        guards[g] =
            (Guard){subst(cx, from->guards[g].e, var, to), subst(cx, from->guards[g].lo, var, to),
                    subst(cx, from->guards[g].hi, var, to)};
    access->guards = guards;
    return access;
}

/* The copy for another step: the loop variable replaced everywhere, into `slot`, with coordinates
 * of its own. */
static TileOp *copy_for(Ring *ring, const TileOp *from, const Expr *step, const Expr *slot)
{
    Cx *cx = ring->place->cx;
    const Expr *var = ring->loop->var;
    TileOp *op = arena_copy(cx->arena, from, sizeof *from);
    Value *value = arena_copy(cx->arena, from->values[0], sizeof *value);
    op->next = NULL;
    for (int d = 0; d < op->box.rank; d++)
        op->box.bound[d] = subst(cx, from->box.bound[d], var, step);
    value->access = access_subst(cx, value->access, var, step);
    op->values = NEW_ARRAY(cx->arena, Value *, 1);
    op->values[0] = value;
    op->value_cap = op->store_cap = 1;
    op->stores = NEW_ARRAY(cx->arena, Store, 1);
    op->stores[0] = (Store){access_subst(cx, from->stores[0].access, var, step), value};
    op->async = true;
    op->slot = slot;
    return op;
}

static void append(TileBlock *block, TileOp *op)
{
    place_insert(block, block->last, op);
}

/* if step < hi { copies }, then commit */
static void put_step(Ring *ring, TileBlock *to, const TileOp *last, const Expr *step,
                     const Expr *slot)
{
    Cx *cx = ring->place->cx;
    TileProg *prog = ring->place->prog;
    const TileOp *loop = ring->loop;
    TileBlock *into = to;
    if (expr_always_le(cx, loop->hi, step)) { /* past the end whatever happens */
        tile_sync(prog, to, TO_commit, 0);
        return;
    }
    if (!expr_always_lt(cx, step, loop->hi)) {
        /* Steps are whole: when they fill the range the guard says so, and the copies are in bounds
         * by it. */
        bool whole = expr_sub(cx, loop->hi, loop->lo)->div % loop->step == 0;
        const Expr *end = whole ? expr_addi(cx, loop->hi, 1 - loop->step) : loop->hi;
        Guard guard = {step, step->lo >= 0 ? expr_const(cx, 0) : step, end};
        into = tile_if(prog, to, &guard, 1)->body;
    }
    for (const TileOp *op = loop->body->first;; op = op->next) {
        append(into, copy_for(ring, op, step, slot));
        if (op == last)
            break;
    }
    tile_sync(prog, to, TO_commit, 0);
}

static void set_slots(Ring *ring, TileOp *op, const Expr *slot)
{
    for (; op; op = op->next) {
        bool uses = false;
        for (uint32_t t = 0; t < ring->tile_count; t++)
            uses = uses || touches(op, ring->tiles[t]);
        if (uses && !op->body)
            op->slot = slot;
        if (op->body)
            set_slots(ring, op->body->first, slot);
        if (op->other)
            set_slots(ring, op->other->first, slot);
    }
}

static void make_ring(Ring *ring, TileBlock *block, TileOp *last)
{
    Place *place = ring->place;
    Cx *cx = place->cx;
    TileOp *loop = ring->loop;
    int n = ring->slots;
    TileBlock before = {NULL, NULL}, body = {NULL, NULL}, after = {NULL, NULL};
    const Expr *step = expr_divi(cx, expr_sub(cx, loop->var, loop->lo), loop->step);
    for (int p = 0; p < n - 1; p++)
        put_step(ring, &before, last, expr_addi(cx, loop->lo, p * loop->step), expr_const(cx, p));
    tile_sync(place->prog, &body, TO_wait, n - 2);
    tile_sync(place->prog, &body, TO_barrier, 0);
    put_step(ring, &body, last, expr_addi(cx, loop->var, (n - 1) * loop->step),
             expr_modi(cx, expr_addi(cx, step, n - 1), n));
    set_slots(ring, last->next, expr_modi(cx, step, n));
    body.last->next = last->next;
    body.last = last->next ? loop->body->last : body.last;
    *loop->body = body;
    tile_sync(place->prog, &after, TO_wait, 0);
    tile_sync(place->prog, &after, TO_barrier, 0);
    TileOp *at = NULL;
    for (TileOp *op = block->first; op != loop; op = op->next)
        at = op;
    for (TileOp *op = before.first, *next; op; op = next) {
        next = op->next;
        place_insert(block, at, op);
        at = op;
    }
    after.last->next = NULL;
    TileOp *wait = after.first, *barrier = after.last;
    place_insert(block, loop, wait);
    place_insert(block, wait, barrier);
    for (uint32_t t = 0; t < ring->tile_count; t++)
        ring->tiles[t]->slots = n;
}

static void ring_loop(Place *place, TileBlock *block, TileOp *op)
{
    if (op->kind != TO_for || op->stages < 2)
        return;
    int stages = op->stages;
    op->stages = 1; /* said by the ring from here on */
    Ring ring = {.place = place, .loop = op, .slots = stages};
    if (!place->prog->caps->cp_async)
        return;
    TileOp *last = leading_copies(&ring);
    if (last)
        make_ring(&ring, block, last);
}

void place_rings(Place *place)
{
    if (!cx_failed(place->cx))
        place_each(place, &place->grid->body, ring_loop);
}
