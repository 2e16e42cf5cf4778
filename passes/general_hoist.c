/* General skeleton: what is computed in which block. A reduction is computed at the outermost block
 * where its axes are bound (`ensure`); values that a loop would compute again and again are
 * computed before it and kept (`hoist`). */
#include "passes/sched_general.h"

#include "ir/value_build.h"

Value *general_expensive_again(const General *g, Value *value, bool *seen)
{
    if (value->op == V_reduce || value->op == V_load || seen[value->id])
        return NULL;
    seen[value->id] = true;
    if (value->op == V_scalar && (scalar_flags(value->scalar) & TRANS) && g->direct[value->id])
        return value;
    for (int i = 0; i < 3; i++) {
        Value *found = value->args[i] ? general_expensive_again(g, value->args[i], seen) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static bool axes_bound(const General *g, uint64_t axes)
{
    for (int d = 0; d < g->box.rank; d++)
        axes &= ~(1ull << g->box.axis[d]);
    for (int i = 0; i < g->nest->axis_count; i++)
        if ((axes >> i & 1) && !g->lower->at[i])
            return false;
    return true;
}

/* A walk for reductions that can be computed in `block`. */
typedef struct Ensure {
    General *g;
    TileBlock *block;
    bool *seen;
    uint64_t *unbound; /* by value: without which axes it was seen */
} Ensure;

static void ensure_under(Ensure *e, Value *value, uint64_t unbound)
{
    General *g = e->g;
    if (g->lower->held[value->id].tile ||
        (e->seen[value->id] && !(e->unbound[value->id] & ~unbound)))
        return;
    e->seen[value->id] = true;
    e->unbound[value->id] = unbound;
    if (value->op == V_reduce) {
        if (!(value->axes & unbound) && axes_bound(g, value->axes))
            general_reduce(g, e->block, value);
        else
            ensure_under(e, value->args[0], unbound | value->reduced);
        return;
    }
    for (int i = 0; i < 3; i++)
        if (value->args[i])
            ensure_under(e, value->args[i], unbound);
    for (uint32_t i = 0; i < g->bind_count; i++)
        if (value_uses_sym(value, g->binds[i]->sym))
            ensure_under(e, g->binds[i], unbound);
}

void general_ensure(General *g, TileBlock *block, Value *value, uint64_t unbound)
{
    Ensure e = {g, block, general_unseen(g),
                NEW_ARRAY(g->cx->arena, uint64_t, g->nest->value_count)};
    ensure_under(&e, value, unbound);
}

void general_ensure_stores(General *g, TileBlock *block, uint64_t unbound)
{
    for (uint32_t i = 0; i < g->nest->store_count; i++)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes)
            general_ensure(g, block, g->nest->stores[i].value, unbound);
}

bool general_is_costly(const General *g, const Value *value)
{
    bool costly = value->op == V_reduce ||
                  (value->op == V_scalar && (value->scalar == S_div || value->scalar == S_sqrt ||
                                             (scalar_flags(value->scalar) & TRANS)));
    for (int i = 0; i < 3; i++)
        costly |= value->args[i] && g->costly[value->args[i]->id];
    return costly;
}

/* Whether computing `value` here reads memory, which a box at the edge must not do outside its
 * bound. */
static bool reads_memory(const General *g, const Value *value, bool *seen)
{
    if (g->lower->held[value->id].tile || value->op == V_reduce || seen[value->id])
        return false;
    seen[value->id] = true;
    if (value->op == V_load)
        return true;
    for (int i = 0; i < 3; i++)
        if (value->args[i] && reads_memory(g, value->args[i], seen))
            return true;
    return false;
}

static void hoist_value(General *g, TileBlock *block, Value *value)
{
    BoxState outer = g->box;
    g->box.rank = 0;
    for (int d = 0; d < outer.rank; d++)
        if (value->axes >> outer.axis[d] & 1)
            general_set_box(g, g->box.rank++, outer.axis[d], outer.base[d], outer.size[d],
                            outer.bound[d]);
    Held kept = general_tile(g, dtype_compute(value->dtype), "row");
    TileOp *op = general_box_op(g, block, reads_memory(g, value, general_unseen(g)));
    lower_write(g->lower, op, &kept, lower_value(g->lower, op, value));
    for (int d = 0; d < g->box.rank; d++)
        general_release(g, g->box.axis[d]);
    g->lower->held[value->id] = kept;
    g->box = outer;
}

static void hoist_under(General *g, TileBlock *block, Value *value, uint64_t unbound, bool *seen)
{
    if (g->lower->held[value->id].tile || value->op == V_reduce || !g->costly[value->id] ||
        seen[value->id])
        return;
    seen[value->id] = true;
    if ((value->op == V_scalar || value->op == V_cast) && !(value->axes & unbound) &&
        axes_bound(g, value->axes)) {
        hoist_value(g, block, value);
        return;
    }
    for (int i = 0; i < 3; i++)
        if (value->args[i])
            hoist_under(g, block, value->args[i], unbound, seen);
}

void general_hoist(General *g, TileBlock *block, Value *value, uint64_t unbound)
{
    hoist_under(g, block, value, unbound, general_unseen(g));
}

void general_hoist_stores(General *g, TileBlock *block, uint64_t unbound)
{
    for (uint32_t i = 0; i < g->nest->store_count; i++)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes)
            general_hoist(g, block, g->nest->stores[i].value, unbound);
}
