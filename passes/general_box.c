/* General skeleton: the box that operations run over now, and tiles of its shape. A box's
 * coordinates belong to one operation: base and size are kept in BoxState and bound again for each
 * one. */
#include "passes/sched_general.h"

void general_set_box(General *g, int slot, int axis, const Expr *base, int size, const Expr *bound)
{
    g->box.axis[slot] = axis;
    g->box.base[slot] = base;
    g->box.size[slot] = size;
    g->box.bound[slot] = bound;
}

TileOp *general_box_op(General *g, TileBlock *block, bool bounded)
{
    static const char *const names[] = {"i", "j"};
    Lower *lower = g->lower;
    int shape[2] = {1, 1};
    int rank = g->box.rank ? g->box.rank : 1;
    for (int d = 0; d < g->box.rank; d++)
        shape[d] = g->box.size[d];
    TileOp *op = tile_op(lower->prog, block, TO_map, rank, names + (2 - rank), shape);
    for (int d = 0; d < g->box.rank; d++) {
        int axis = g->box.axis[d];
        lower->coord[axis] = op->box.coord[d];
        lower->at[axis] = expr_add(g->cx, g->box.base[d], op->box.coord[d]);
        op->box.bound[d] = bounded ? g->box.bound[d] : NULL;
    }
    return op;
}

void general_release(General *g, int axis)
{
    g->lower->at[axis] = NULL;
    g->lower->coord[axis] = NULL;
}

Held general_tile(General *g, Dtype dtype, const char *stem)
{
    Held held = {.axis = {-1, -1}};
    int shape[2] = {1, 1};
    for (int d = 0; d < g->box.rank; d++) {
        shape[d] = g->box.size[d];
        held.axis[d] = g->box.axis[d];
    }
    int rank = g->box.rank ? g->box.rank : 1;
    held.tile = tile_new(g->lower->prog, g->lower->grid, lower_name(g->lower, stem), dtype,
                         TS_register, rank, shape);
    return held;
}

bool *general_unseen(const General *g)
{
    return NEW_ARRAY(g->cx->arena, bool, g->nest->value_count);
}
