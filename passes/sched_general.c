/* The general skeleton: boxes over the contiguous axis of the output, reductions in loops around or
 * before them.
 *
 * For the stores of one set of axes P: v is the axis along which they are contiguous, u a second
 * axis (the one along which the largest load is contiguous, for transposes; else the innermost
 * other one), the rest are outer. A task owns a point of the outer axes and a chunk of u (or of v,
 * when rows are long). Within it:
 *
 *   for boxes of u:                       rows points
 *     reductions that do not depend on v   (softmax, norms): lanes run over a reduced axis
 *     for boxes of v:                       vec vectors
 *       reductions that depend on v         (pooling, depthwise, sums over columns): lanes over v
 *       map: values, stores
 *
 * Requirements for editors:
 * 1. A reduction is computed at the outermost block where its axes are bound, so nothing is
 * recomputed in an inner loop.
 * 2. Whatever was held inside a loop is forgotten when the loop ends; tiles live in the block that
 * made them.
 * 3. A box's coordinates belong to one operation: base and size are kept in BoxState and bound
 * again for each one. */
#include "passes/sched_general.h"

#include <string.h>

static void v_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    General *g = user;
    Held *held = arena_copy(g->cx->arena, g->lower->held, g->nest->value_count * sizeof *held);
    if (g->v >= 0)
        general_set_box(g, g->box.rank++, g->v, base, size, bound);
    general_ensure_stores(g, block, 0);
    TileOp *op = general_box_op(g, block, true);
    lower_stores(g->lower, op, g->axes);
    if (g->v >= 0) {
        g->box.rank--;
        general_release(g, g->v);
    }
    memcpy(g->lower->held, held, g->nest->value_count * sizeof *held);
}

/* One box of v with the loop over u inside: reductions over u are computed once a box. */
static void v_then_u(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    General *g = user;
    Lower *lower = g->lower;
    Held *held = arena_copy(g->cx->arena, lower->held, g->nest->value_count * sizeof *held);
    const Axis *u = &g->nest->axes[g->u];
    const Expr *var;
    general_set_box(g, g->box.rank++, g->v, base, size, bound);
    general_ensure_stores(g, block, 1ull << g->u);
    general_hoist_stores(g, block, 1ull << g->u);
    TileBlock *inner = tile_for(lower->prog, block, lower_name(lower, u->sym->name),
                                expr_const(g->cx, 0), u->extent, 1, &var);
    lower->at[g->u] = var;
    general_ensure_stores(g, inner, 0);
    TileOp *op = general_box_op(g, inner, true);
    lower_stores(lower, op, g->axes);
    g->box.rank--;
    general_release(g, g->v);
    general_release(g, g->u);
    memcpy(lower->held, held, g->nest->value_count * sizeof *held);
}

typedef struct Task {
    General *g;
    const Expr *lo; /* of v */
    int64_t chunk;  /* of v; 0 = all of it */
} Task;

static void chunk_boxes(General *g, TileBlock *block, int axis, const Expr *lo, int64_t chunk,
                        int size, BoxBody *body, void *user);

static void u_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Task *task = user;
    General *g = task->g;
    Held *held = arena_copy(g->cx->arena, g->lower->held, g->nest->value_count * sizeof *held);
    if (size > 1)
        general_set_box(g, g->box.rank++, g->u, base, size, bound);
    else if (g->u >= 0)
        g->lower->at[g->u] = base;
    general_ensure_stores(g, block, g->v >= 0 ? 1ull << g->v : 0);
    if (g->v >= 0)
        general_hoist_stores(g, block, 1ull << g->v);
    if (g->v < 0)
        v_box(g, block, NULL, 1, NULL);
    else if (task->chunk || !general_segments(g, block, v_box))
        chunk_boxes(g, block, g->v, task->lo, task->chunk, g->lanes, v_box, g);
    if (size > 1)
        g->box.rank--;
    if (g->u >= 0)
        general_release(g, g->u);
    memcpy(g->lower->held, held, g->nest->value_count * sizeof *held);
}

/* Dims of a grid to be. */
typedef struct Dims {
    General *g;
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int rank;
} Dims;

static int add_dim(Dims *d, const char *stem, const Expr *extent)
{
    d->names[d->rank] = lower_name(d->g->lower, stem);
    d->extents[d->rank] = extent;
    return d->rank++;
}

static int add_chunks(Dims *d, int axis, int64_t chunk)
{
    const Axis *a = &d->g->nest->axes[axis];
    return add_dim(d, a->sym->name, expr_ceildiv(d->g->cx, a->extent, expr_const(d->g->cx, chunk)));
}

/* Leading outer axes share one grid id when there are too many. Gives how many do. */
static int fold_outer(Dims *d, const int *outer, int count)
{
    General *g = d->g;
    int folded = count > MAX_GRID - 2 ? count - (MAX_GRID - 2) + 1 : 0;
    const Expr *all = expr_const(g->cx, 1);
    for (int i = 0; i < folded; i++)
        all = expr_mul(g->cx, all, g->nest->axes[outer[i]].extent);
    if (folded)
        add_dim(d, "outer", all);
    return folded;
}

static void split_outer(General *g, const int *outer, int folded, const Expr *id)
{
    for (int i = folded - 1; i >= 0; i--) {
        const Expr *extent = g->nest->axes[outer[i]].extent;
        g->lower->at[outer[i]] = i ? expr_mod(g->cx, id, extent) : id;
        id = expr_floordiv(g->cx, id, extent);
    }
}

/* Opens the grid: outer axes, then chunks of u, of v. Chunks of v come first where tasks that
 * differ in an outer axis share what they read (windows). */
static TileBlock *open_grid(General *g, const Boxes *boxes, bool v_first, const Expr **u_id,
                            const Expr **v_id)
{
    Dims d = {.g = g};
    int outer[MAX_AXES], count = 0, v = -1, u = -1;
    for (int i = 0; i < g->nest->axis_count; i++)
        if ((g->axes >> i & 1) && i != g->u && i != g->v)
            outer[count++] = i;
    if (v_first)
        v = add_chunks(&d, g->v, boxes->v_chunk);
    int folded = fold_outer(&d, outer, count), first = d.rank;
    for (int i = folded; i < count; i++)
        add_dim(&d, g->nest->axes[outer[i]].sym->name, g->nest->axes[outer[i]].extent);
    if (boxes->u_chunk)
        u = add_chunks(&d, g->u, boxes->u_chunk);
    if (boxes->v_chunk && !v_first)
        v = add_chunks(&d, g->v, boxes->v_chunk);
    if (!d.rank)
        add_dim(&d, "one", expr_const(g->cx, 1));
    Grid *grid = g->lower->grid = tile_grid(g->lower->prog, d.rank, d.names, d.extents);
    if (target_is_gpu(g->lower->caps))
        grid->threads = g->schedule->field[SF_threads];
    if (folded)
        split_outer(g, outer, folded, grid->ids[first - 1]);
    for (int i = folded; i < count; i++)
        g->lower->at[outer[i]] = grid->ids[first + i - folded];
    *u_id = u >= 0 ? grid->ids[u] : NULL;
    *v_id = v >= 0 ? grid->ids[v] : NULL;
    return &grid->body;
}

/* A chunk of an axis: in boxes, or as one box with a bound when it is one. */
static void chunk_boxes(General *g, TileBlock *block, int axis, const Expr *lo, int64_t chunk,
                        int size, BoxBody *body, void *user)
{
    Cx *cx = g->cx;
    const Expr *extent = g->nest->axes[axis].extent;
    if (target_is_gpu(g->lower->caps) && chunk == size) {
        bool whole = expr_is_const(expr_modi(cx, extent, size), 0);
        body(user, block, lo, size, whole ? NULL : expr_sub(cx, extent, lo));
        return;
    }
    const Expr *hi = chunk ? expr_min(cx, extent, expr_addi(cx, lo, chunk)) : extent;
    lower_boxes(g->lower, block, g->nest->axes[axis].sym->name, lo, hi, size, body, user);
}

static void general_grid(General *g)
{
    Cx *cx = g->cx;
    int rows = target_is_gpu(g->lower->caps) ? 0 : g->schedule->field[SF_rows];
    general_unbox(g, &rows);
    const Expr *u_extent = g->u >= 0 && rows != 1 ? g->nest->axes[g->u].extent : NULL;
    Boxes boxes = target_is_gpu(g->lower->caps) ? gpu_boxes(g->schedule, u_extent, general_wide(g),
                                                            g->v >= 0 && !general_has_rows(g))
                                                : general_cpu_boxes(g, rows);
    g->lanes = boxes.lanes;
    if (g->v_outer) {
        boxes.v_chunk = boxes.lanes;
        boxes.u_chunk = 0;
    } else if (g->u < 0) {
        boxes.u_chunk = 0;
    }
    bool window = rows > 1 && !boxes.v_chunk && general_is_window(g);
    if (window) {
        boxes.u_chunk = g->nest->axes[g->u].extent->value;
        boxes.v_chunk = general_window_chunk(g);
    }
    const Expr *u_id, *v_id;
    TileBlock *block = open_grid(g, &boxes, window, &u_id, &v_id);
    Task task = {.g = g, .lo = expr_const(cx, 0), .chunk = boxes.v_chunk};
    if (v_id)
        task.lo = expr_muli(cx, v_id, boxes.v_chunk);
    if (g->v_outer) {
        chunk_boxes(g, block, g->v, task.lo, task.chunk, g->lanes, v_then_u, g);
        return;
    }
    if (g->u < 0) {
        u_box(&task, block, NULL, 1, NULL);
        return;
    }
    if (window) {
        general_window_boxes(g, block, boxes.rows, u_box, &task);
        return;
    }
    const Expr *lo = expr_muli(cx, u_id, boxes.u_chunk);
    if (boxes.rows > 1 || !general_row_segments(g, block, lo, boxes.u_chunk, u_box, &task))
        chunk_boxes(g, block, g->u, lo, boxes.u_chunk, boxes.rows, u_box, &task);
}

static bool axes_are_independent(const Nest *nest, uint64_t axes)
{
    for (int i = 0; i < nest->axis_count; i++)
        if ((axes >> i & 1) && expr_axes(nest, nest->axes[i].extent))
            return false;
    return true;
}

static void index_values(General *g)
{
    uint32_t count = g->nest->value_count;
    g->direct = general_unseen(g);
    g->costly = general_unseen(g);
    g->binds = NEW_ARRAY(g->cx->arena, Value *, count);
    for (uint32_t i = 0; i < count; i++) {
        Value *value = g->nest->values[i];
        g->costly[i] = general_is_costly(g, value);
        if (value->op == V_bind)
            g->binds[g->bind_count++] = value;
    }
}

bool apply_general(Lower *lower, const Schedule *schedule, Lowered *out)
{
    Nest *nest = lower->nest;
    for (uint32_t i = 0; i < nest->store_count; i++) {
        uint64_t axes = access_axes(nest, nest->stores[i].access);
        bool seen = false;
        for (uint32_t j = 0; j < i; j++)
            seen |= access_axes(nest, nest->stores[j].access) == axes;
        if (seen)
            continue;
        if (!axes_are_independent(nest, axes)) {
            cx_fail(lower->cx, ST_unsupported,
                    "kernel '%s': an output axis whose extent depends on another axis", nest->name);
            return false;
        }
        General *g = NEW(lower->cx->arena, General);
        *g = (General){
            .lower = lower, .cx = lower->cx, .nest = nest, .schedule = schedule, .axes = axes};
        index_values(g);
        memset(lower->held, 0, nest->value_count * sizeof *lower->held);
        memset(lower->at, 0, sizeof lower->at);
        memset(lower->coord, 0, sizeof lower->coord);
        general_choose_axes(g);
        if (g->v >= 0 && !target_is_gpu(lower->caps) &&
            !lower->prog->grid_count) /* earlier grids read the constants as they were */
            lower_repack(lower, g->v, out);
        general_grid(g);
    }
    return !cx_failed(lower->cx);
}
