/* Inside the general skeleton (sched_general.c): the state shared by its files.
 *
 *   general_axes.c    which axes are u and v, sizes of boxes
 *   general_box.c     operations over the current box, tiles of its shape
 *   general_reduce.c  one reduction
 *   general_hoist.c   what is computed in which block
 *   general_window.c  windows: interior and border
 *   general_segments.c v and u cut where guards begin and end to hold */
#ifndef QUERN_PASSES_SCHED_GENERAL_H
#define QUERN_PASSES_SCHED_GENERAL_H

#include "passes/lower_value.h"

/* The axes that boxes run over now, outer first. */
typedef struct BoxState {
    int rank;
    int axis[2], size[2];
    const Expr *base[2], *bound[2];
} BoxState;

typedef struct General {
    Lower *lower;
    Cx *cx;
    Nest *nest;
    const Schedule *schedule;
    uint64_t axes; /* P: the axes of the stores computed now */
    int u, v;      /* -1: none */
    int lanes;     /* points of a box along v */
    bool v_outer;  /* u is reduced elsewhere in the nest (softmax over an inner axis): its loop is
                      innermost */
    BoxState box;
    bool *direct; /* by value id: reachable from the stores without passing a reduction */
    bool *costly; /* by value id: takes long, or something under it does */
    uint32_t bind_count;
    Value **binds; /* all V_bind */
} General;

/* Roles (general_axes.c). Fills u, v, v_outer and `direct`. */
void general_choose_axes(General *g);
/* Axes that the extent of another axis depends on cannot lie in a box: the loop would differ by
 * lane. */
void general_unbox(General *g, int *rows);
Boxes general_cpu_boxes(const General *g, int rows);
/* Extent of what lanes run over: v, else the longest axis that sums of rows run over; NULL = none.
 */
const Expr *general_wide(const General *g);
/* Any reduction under the stores that does not depend on v: rows stay in one task. */
bool general_has_rows(const General *g);
/* Loads reachable from `value` without passing a reduction: the unit axis of the first that has one
 * among `among`, or -1. */
int general_lane_axis(const General *g, const Value *value, uint64_t among);

/* All of v in boxes, cut where guards on v begin and end to hold (general_segments.c); emits
 * nothing and gives false when there are no such places or the nest reduces. */
bool general_segments(General *g, TileBlock *block, BoxBody *body);
/* The same for the rows of u from `lo`, `chunk` of them (0 = all), one by one; pieces may be empty.
 */
bool general_row_segments(General *g, TileBlock *block, const Expr *lo, int64_t chunk,
                          BoxBody *body, void *user);

/* Boxes (general_box.c) */
void general_set_box(General *g, int slot, int axis, const Expr *base, int size, const Expr *bound);
/* An operation over the current box; `bounded` false covers the whole box. Binds the axes of the
 * box. */
TileOp *general_box_op(General *g, TileBlock *block, bool bounded);
void general_release(General *g, int axis);
Held general_tile(General *g, Dtype dtype, const char *stem);
/* Marks by value id, all false. Values are shared: a walk over them that forgot where it was would
 * take exponential time. */
bool *general_unseen(const General *g);

/* Blocks (general_hoist.c). Computes the reductions under `value` (or under the stores) that can be
 * computed in `block` and do not depend on `unbound` axes. */
void general_ensure(General *g, TileBlock *block, Value *value, uint64_t unbound);
void general_ensure_stores(General *g, TileBlock *block, uint64_t unbound);
/* Computes what a loop over `unbound` axes would compute again and again: the largest costly values
 * that do not depend on them (a row's 1 / deviation). Reductions must have been ensured. */
void general_hoist(General *g, TileBlock *block, Value *value, uint64_t unbound);
void general_hoist_stores(General *g, TileBlock *block, uint64_t unbound);
bool general_is_costly(const General *g, const Value *value);
/* The outermost expensive value under `value` that the final pass needs again; `seen` from
 * general_unseen. */
Value *general_expensive_again(const General *g, Value *value, bool *seen);

/* Windows over u (general_window.c): whether the nest is one that is worth boxes along u, and its
 * boxes, over all of u. */
bool general_is_window(General *g);
/* Points of v for which the rows of the operand that a window reaches stay in L1: divides the
 * extent. */
int64_t general_window_chunk(const General *g);
void general_window_boxes(General *g, TileBlock *block, int rows, BoxBody *body, void *user);

/* Computes one reduction in `block` and marks it held (general_reduce.c). */
void general_reduce(General *g, TileBlock *block, Value *value);

#endif
