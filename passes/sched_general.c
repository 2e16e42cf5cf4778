/* The general skeleton: boxes over the contiguous axis of the output, reductions in loops around or
 * before them.
 *
 * For the stores of one set of axes P: v is the axis along which they are contiguous, u a second
 * axis (the one along which the largest load is contiguous, for transposes; else the innermost
 * other one), the rest are outer. A task owns a point of the outer axes and a chunk of u (or of v,
 * when rows are long). Within it:
 *
 *   for boxes of u:                       rows points
 *     reductions that do not depend on v   (softmax, norms, plain sums): lanes run over a reduced
 * contiguous axis for boxes of v:                     vec vectors reductions that depend on v
 * (pooling, depthwise, sums over columns): lanes run over v map: values, stores
 *
 * Requirements for editors:
 * 1. A reduction is computed at the outermost block where its axes are bound, so nothing is
 * recomputed in an inner loop.
 * 2. Whatever was held inside a loop is forgotten when the loop ends; tiles live in the block that
 * made them.
 * 3. A box's coordinates belong to one operation: base and size are kept in BoxState and bound
 * again for each one. */
#include "passes/lower_value.h"

#include <string.h>

#include "ir/value_build.h"

enum { ROW_BUFFER = 16384 }; /* points of a row buffer: 64 KiB of floats, an L1 and a bit of L2 */

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
    uint64_t axes; /* P */
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

static void set_box(General *g, int slot, int axis, const Expr *base, int size, const Expr *bound)
{
    g->box.axis[slot] = axis;
    g->box.base[slot] = base;
    g->box.size[slot] = size;
    g->box.bound[slot] = bound;
}

/* An operation over the current box; `bounded` false covers the whole box. Binds the axes of the
 * box. */
static TileOp *box_op(General *g, TileBlock *block, bool bounded)
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

static void release_box_axis(General *g, int axis)
{
    g->lower->at[axis] = NULL;
    g->lower->coord[axis] = NULL;
}

static Held box_tile(General *g, Dtype dtype, const char *stem)
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

/* Values are shared: a walk over them that forgot where it was would take exponential time. */
static bool *unseen(const General *g)
{
    return NEW_ARRAY(g->cx->arena, bool, g->nest->value_count);
}

static void mark_direct(General *g, const Value *value)
{
    if (g->direct[value->id])
        return;
    g->direct[value->id] = true;
    if (value->op != V_reduce)
        for (int i = 0; i < 3; i++)
            if (value->args[i])
                mark_direct(g, value->args[i]);
}

static int find_lane_axis(const General *g, const Value *value, uint64_t among, bool *seen)
{
    if (seen[value->id])
        return -1;
    seen[value->id] = true;
    if (value->op == V_load && value->access->buffer)
        return access_unit_axis(g->cx, g->nest, value->access, among);
    for (int i = 0; i < 3 && value->op != V_reduce; i++) {
        int axis = value->args[i] ? find_lane_axis(g, value->args[i], among, seen) : -1;
        if (axis >= 0)
            return axis;
    }
    return -1;
}

/* Loads reachable from `value` without passing a reduction: the unit axis of the first that has one
 * among `among`, or -1. */
static int lane_axis(const General *g, const Value *value, uint64_t among)
{
    return find_lane_axis(g, value, among, unseen(g));
}

/* The outermost expensive value under `value` that the final pass needs again. */
static Value *expensive_again(const General *g, Value *value, bool *seen)
{
    if (value->op == V_reduce || value->op == V_load || seen[value->id])
        return NULL;
    seen[value->id] = true;
    if (value->op == V_scalar && (scalar_flags(value->scalar) & TRANS) && g->direct[value->id])
        return value;
    for (int i = 0; i < 3; i++) {
        Value *found = value->args[i] ? expensive_again(g, value->args[i], seen) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static void ensure(General *g, TileBlock *block, Value *value, uint64_t unbound);
static void hoist(General *g, TileBlock *block, Value *value, uint64_t unbound);

typedef struct Reduce {
    General *g;
    Value *value;
    Held acc, position; /* position: arg reductions */
    Held keep;
    Value *kept;
    int lane; /* reduced axis that lanes run over, or -1 */
    int loops[MAX_AXES], loop_count;
} Reduce;

static Value *i64_value(General *g, TileOp *op, const Expr *e)
{
    return tile_index(g->lower->prog, op, DT_i64, e);
}

static void combine_arg(Reduce *r, TileOp *op, Value *x)
{
    General *g = r->g;
    TileProg *prog = g->lower->prog;
    Value *best = lower_read(g->lower, op, &r->acc),
          *position = lower_read(g->lower, op, &r->position);
    bool largest = r->value->monoid == M_argmax;
    Value *better = largest ? tile_scalar(prog, op, S_lt, best, x, NULL)
                            : tile_scalar(prog, op, S_lt, x, best, NULL);
    if (dtype_is_float(x->dtype)) {
        Value *nan = tile_scalar(prog, op, S_isnan, x, NULL, NULL);
        Value *had = tile_scalar(prog, op, S_isnan, best, NULL, NULL);
        Value *first =
            tile_scalar(prog, op, S_and, nan, tile_scalar(prog, op, S_not, had, NULL, NULL), NULL);
        better = tile_scalar(prog, op, S_or, better, first, NULL);
    }
    Value *none =
        tile_scalar(prog, op, S_lt, position, i64_value(g, op, expr_const(g->cx, 0)), NULL);
    better = tile_scalar(prog, op, S_or, better, none, NULL);
    const Expr *linear = expr_const(g->cx, 0);
    for (int i = 0; i < r->loop_count; i++) {
        const Axis *axis = &g->nest->axes[r->loops[i]];
        linear = expr_add(g->cx, expr_mul(g->cx, linear, axis->extent), g->lower->at[axis->number]);
    }
    lower_write(g->lower, op, &r->acc, tile_scalar(prog, op, S_select, better, x, best));
    lower_write(g->lower, op, &r->position,
                tile_scalar(prog, op, S_select, better, i64_value(g, op, linear), position));
}

/* A sum of products is a chain of fused multiply-adds, as in contractions. */
static Value *combine(Reduce *r, TileOp *op, Value *sum, Value *x)
{
    TileProg *prog = r->g->lower->prog;
    bool product = x->op == V_scalar && x->scalar == S_mul && dtype_is_float(x->dtype);
    if (r->value->monoid == M_sum && product)
        return tile_scalar(prog, op, S_fma, x->args[0], x->args[1], sum);
    return tile_scalar(prog, op, monoid_combine(r->value->monoid), sum, x, NULL);
}

static void reduce_map(Reduce *r, TileBlock *block)
{
    General *g = r->g;
    TileOp *op = box_op(g, block, true);
    Value *x = lower_value(g->lower, op, r->value->args[0]);
    if (r->position.tile) {
        combine_arg(r, op, x);
        return;
    }
    Value *sum = lower_read(g->lower, op, &r->acc);
    lower_write(g->lower, op, &r->acc, combine(r, op, sum, x));
    if (r->keep.tile)
        lower_write(g->lower, op, &r->keep, lower_value(g->lower, op, r->kept));
}

static void reduce_step(Reduce *r, TileBlock *block)
{
    General *g = r->g;
    Held *held = arena_copy(g->cx->arena, g->lower->held, g->nest->value_count * sizeof *held);
    ensure(g, block, r->value->args[0], 0);
    reduce_map(r, block);
    memcpy(g->lower->held, held, g->nest->value_count * sizeof *held);
}

static void lane_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Reduce *r = user;
    set_box(r->g, r->g->box.rank - 1, r->lane, base, size, bound);
    reduce_step(r, block);
}

enum { UNROLL = 9 };

/* Whether the loops from `next` on are a small window without a lane loop: then its taps are
 * written out. */
static bool is_small_window(const Reduce *r, int next)
{
    int64_t taps = 1;
    for (int i = next; i < r->loop_count && taps <= UNROLL; i++) {
        const Expr *extent = r->g->nest->axes[r->loops[i]].extent;
        taps = extent->kind == EX_const && extent->value > 0 ? taps * extent->value : UNROLL + 1;
    }
    return r->lane < 0 && next < r->loop_count && taps <= UNROLL;
}

static void reduce_loops(Reduce *r, TileBlock *block, int next)
{
    General *g = r->g;
    Lower *lower = g->lower;
    if (is_small_window(r, next)) {
        const Axis *axis = &g->nest->axes[r->loops[next]];
        for (int64_t tap = 0; tap < axis->extent->value; tap++) {
            lower->at[axis->number] = expr_const(g->cx, tap);
            reduce_loops(r, block, next + 1);
        }
    } else if (next < r->loop_count) {
        const Axis *axis = &g->nest->axes[r->loops[next]];
        const Expr *var;
        TileBlock *inner = tile_for(lower->prog, block, lower_name(lower, axis->sym->name),
                                    expr_const(g->cx, 0), lower_expr(lower, axis->extent), 1, &var);
        lower->at[axis->number] = var;
        reduce_loops(r, inner, next + 1);
    } else if (r->lane >= 0) {
        const Expr *extent = lower_expr(lower, g->nest->axes[r->lane].extent);
        lower_boxes(lower, block, g->nest->axes[r->lane].sym->name, expr_const(g->cx, 0), extent,
                    g->lanes, lane_box, r);
    } else {
        reduce_step(r, block);
    }
}

/* Keeps the parts of the box that the reduction depends on and adds the lane axis. */
static void reduce_box(Reduce *r)
{
    General *g = r->g;
    BoxState outer = g->box;
    g->box.rank = 0;
    for (int d = 0; d < outer.rank; d++)
        if (r->value->axes >> outer.axis[d] & 1)
            set_box(g, g->box.rank++, outer.axis[d], outer.base[d], outer.size[d], outer.bound[d]);
    if (r->lane >= 0)
        set_box(g, g->box.rank++, r->lane, expr_const(g->cx, 0), g->lanes, NULL);
}

/* On a GPU, when one box holds whole rows: registers keep the outermost value that the final pass
 * needs again. */
static Value *needed_again(const Reduce *r, Value *value)
{
    bool computes = value->op == V_load || value->op == V_scalar || value->op == V_cast;
    if (value->op == V_reduce || !(value->axes >> r->lane & 1))
        return NULL;
    if (computes && r->g->direct[value->id])
        return value;
    for (int i = 0; i < 3; i++) {
        Value *found = value->args[i] ? needed_again(r, value->args[i]) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static void keep_in_registers(Reduce *r)
{
    r->kept = needed_again(r, r->value->args[0]);
    if (r->kept && !r->g->lower->held[r->kept->id].tile)
        r->keep = box_tile(r->g, dtype_compute(r->kept->dtype), "row");
}

static void start_keep(Reduce *r)
{
    General *g = r->g;
    const Caps *caps = g->lower->caps;
    bool gpu = target_is_gpu(caps);
    const Expr *extent = r->lane >= 0 ? g->nest->axes[r->lane].extent : NULL;
    if (!g->schedule->field[SF_keep] || r->lane != g->v || !extent || r->loop_count)
        return;
    if (gpu && extent->hi <= g->lanes) {
        keep_in_registers(r);
        return;
    }
    int64_t most = gpu ? caps->shared_bytes / 8 : ROW_BUFFER;
    if (extent->kind != EX_const || extent->value > most || g->box.rank != 1)
        return;
    r->kept = expensive_again(g, r->value->args[0], unseen(g));
    if (!r->kept || g->lower->held[r->kept->id].tile)
        return;
    int shape[1] = {(int)((extent->value + g->lanes - 1) / g->lanes * g->lanes)};
    r->keep = (Held){.axis = {r->lane}};
    r->keep.tile = tile_new(g->lower->prog, g->lower->grid, lower_name(g->lower, "row"),
                            r->kept->dtype, TS_shared, 1, shape);
}

static void fill_tile(General *g, TileBlock *block, const Held *held, Dtype dtype, Scalar value)
{
    TileOp *op = box_op(g, block, false);
    lower_write(g->lower, op, held, tile_const(g->lower->prog, op, dtype, value));
}

static void reduce_start(Reduce *r, TileBlock *block)
{
    General *g = r->g;
    bool arg = r->value->monoid == M_argmin || r->value->monoid == M_argmax;
    Dtype dtype = arg ? r->value->args[0]->dtype : r->value->dtype;
    r->acc = box_tile(g, dtype, "acc");
    fill_tile(g, block, &r->acc, dtype,
              arg ? (Scalar){.i = 0} : monoid_identity(r->value->monoid, dtype));
    if (arg) {
        r->position = box_tile(g, DT_i64, "pos");
        fill_tile(g, block, &r->position, DT_i64, (Scalar){.i = -1});
    } else {
        start_keep(r);
    }
}

/* Computes one reduction in `block` and marks it held. */
static void compute_reduce(General *g, TileBlock *block, Value *value)
{
    Lower *lower = g->lower;
    Reduce r = {.g = g, .value = value, .lane = -1};
    bool arg = value->monoid == M_argmin || value->monoid == M_argmax;
    bool over_v = g->box.rank && g->box.axis[g->box.rank - 1] == g->v && (value->axes >> g->v & 1);
    ensure(g, block, value->args[0], value->reduced); /* what the loops do not change */
    hoist(g, block, value->args[0], value->reduced);
    if (!over_v && !arg)
        r.lane = lane_axis(g, value->args[0], value->reduced);
    for (int i = 0; i < g->nest->axis_count; i++)
        if ((value->reduced >> i & 1) && i != r.lane)
            r.loops[r.loop_count++] = i;
    BoxState outer = g->box;
    const Expr *at[MAX_AXES], *coord[MAX_AXES];
    memcpy(at, lower->at, sizeof at);
    memcpy(coord, lower->coord, sizeof coord);
    Held *held = arena_copy(g->cx->arena, lower->held, g->nest->value_count * sizeof *held);
    reduce_box(&r);
    reduce_start(&r, block);
    reduce_loops(&r, block, 0);
    memcpy(lower->held, held, g->nest->value_count * sizeof *held);
    if (r.lane >= 0) {
        int last = r.acc.tile->rank - 1;
        int shape[2] = {r.acc.tile->shape[0], 1};
        if (last == 0)
            shape[0] = 1;
        Tile *one = tile_new(lower->prog, lower->grid, lower_name(lower, "red"), r.acc.tile->dtype,
                             TS_register, r.acc.tile->rank, shape);
        tile_reduce(lower->prog, block, one, r.acc.tile, last, value->monoid);
        r.acc.tile = one;
        r.acc.axis[last] = -1;
    }
    lower->held[value->id] = arg ? r.position : r.acc;
    if (r.keep.tile)
        lower->held[r.kept->id] = r.keep;
    g->box = outer;
    memcpy(lower->at, at, sizeof at);
    memcpy(lower->coord, coord, sizeof coord);
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
            compute_reduce(g, e->block, value);
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

/* Computes the reductions under `value` that can be computed here and do not depend on `unbound`
 * axes. */
static void ensure(General *g, TileBlock *block, Value *value, uint64_t unbound)
{
    Ensure e = {g, block, unseen(g), NEW_ARRAY(g->cx->arena, uint64_t, g->nest->value_count)};
    ensure_under(&e, value, unbound);
}

static void ensure_stores(General *g, TileBlock *block, uint64_t unbound)
{
    for (uint32_t i = 0; i < g->nest->store_count; i++)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes)
            ensure(g, block, g->nest->stores[i].value, unbound);
}

static bool is_costly(const General *g, const Value *value)
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
            set_box(g, g->box.rank++, outer.axis[d], outer.base[d], outer.size[d], outer.bound[d]);
    Held kept = box_tile(g, dtype_compute(value->dtype), "row");
    TileOp *op = box_op(g, block, reads_memory(g, value, unseen(g)));
    lower_write(g->lower, op, &kept, lower_value(g->lower, op, value));
    for (int d = 0; d < g->box.rank; d++)
        release_box_axis(g, g->box.axis[d]);
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

/* Computes what a loop over `unbound` axes would compute again and again: the largest costly values
 * that do not depend on them (a row's 1 / deviation). Reductions themselves were computed by
 * `ensure`. */
static void hoist(General *g, TileBlock *block, Value *value, uint64_t unbound)
{
    hoist_under(g, block, value, unbound, unseen(g));
}

static void hoist_stores(General *g, TileBlock *block, uint64_t unbound)
{
    for (uint32_t i = 0; i < g->nest->store_count; i++)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes)
            hoist(g, block, g->nest->stores[i].value, unbound);
}

static void v_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    General *g = user;
    Held *held = arena_copy(g->cx->arena, g->lower->held, g->nest->value_count * sizeof *held);
    if (g->v >= 0)
        set_box(g, g->box.rank++, g->v, base, size, bound);
    ensure_stores(g, block, 0);
    TileOp *op = box_op(g, block, true);
    lower_stores(g->lower, op, g->axes);
    if (g->v >= 0) {
        g->box.rank--;
        release_box_axis(g, g->v);
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
    set_box(g, g->box.rank++, g->v, base, size, bound);
    ensure_stores(g, block, 1ull << g->u);
    hoist_stores(g, block, 1ull << g->u);
    TileBlock *inner = tile_for(lower->prog, block, lower_name(lower, u->sym->name),
                                expr_const(g->cx, 0), u->extent, 1, &var);
    lower->at[g->u] = var;
    ensure_stores(g, inner, 0);
    TileOp *op = box_op(g, inner, true);
    lower_stores(lower, op, g->axes);
    g->box.rank--;
    release_box_axis(g, g->v);
    release_box_axis(g, g->u);
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
        set_box(g, g->box.rank++, g->u, base, size, bound);
    else if (g->u >= 0)
        g->lower->at[g->u] = base;
    ensure_stores(g, block, g->v >= 0 ? 1ull << g->v : 0);
    if (g->v >= 0)
        hoist_stores(g, block, 1ull << g->v);
    if (g->v >= 0)
        chunk_boxes(g, block, g->v, task->lo, task->chunk, g->lanes, v_box, g);
    else
        v_box(g, block, NULL, 1, NULL);
    if (size > 1)
        g->box.rank--;
    if (g->u >= 0)
        release_box_axis(g, g->u);
    memcpy(g->lower->held, held, g->nest->value_count * sizeof *held);
}

/* Any reduction under the stores that does not depend on v: rows stay in one task. */
static bool has_row_reduction(const General *g)
{
    for (uint32_t i = 0; i < g->nest->value_count; i++)
        if (g->nest->values[i]->op == V_reduce && g->direct[i] && g->v >= 0 &&
            !(g->nest->values[i]->axes >> g->v & 1))
            return true;
    return false;
}

/* At least 1. */
static int64_t extent_guess(const Axis *axis)
{
    const Expr *e = axis->extent;
    int64_t extent = e->kind == EX_const ? e->value : e->hi < 64 ? e->hi : 64;
    return extent > 1 ? extent : 1;
}

/* A load that moves along a reduced axis and is contiguous along v: lanes of v read it well. */
static bool streams_along(const General *g, const Value *value, uint64_t reduced)
{
    if (value->op == V_reduce)
        return false;
    if (value->op == V_load && value->access->buffer && (value->axes & reduced) &&
        access_unit_axis(g->cx, g->nest, value->access, reduced | 1ull << g->v) == g->v)
        return true;
    for (int i = 0; i < 3; i++)
        if (value->args[i] && streams_along(g, value->args[i], reduced))
            return true;
    return false;
}

/* A result along which the reduced operands are not contiguous, while they are along a reduced axis
 * (sums of rows): lanes belong to the reduced axis. */
static bool lanes_in_reduction(const General *g)
{
    for (uint32_t i = 0; i < g->nest->value_count; i++) {
        const Value *r = g->nest->values[i];
        if (r->op != V_reduce || !g->direct[i] || !(r->axes >> g->v & 1) ||
            streams_along(g, r->args[0], r->reduced))
            continue;
        int lane = lane_axis(g, r->args[0], r->reduced | r->axes);
        if (lane >= 0 && (r->reduced >> lane & 1) && r->monoid != M_argmin && r->monoid != M_argmax)
            return true;
    }
    return false;
}

static void choose_axes(General *g)
{
    const Store *store = NULL; /* the first */
    for (uint32_t i = g->nest->store_count; i-- > 0;)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes) {
            store = &g->nest->stores[i];
            mark_direct(g, store->value);
        }
    g->v = access_unit_axis(g->cx, g->nest, store->access, g->axes);
    g->u = -1;
    if (g->v >= 0 && lanes_in_reduction(g))
        g->v = -1;
    for (uint32_t i = 0; i < g->nest->value_count && g->v >= 0; i++) {
        const Value *r = g->nest->values[i];
        if (r->op == V_reduce && g->direct[i] && (r->axes >> g->v & 1) && (r->reduced & g->axes)) {
            for (g->u = 0; !((r->reduced & g->axes) >> g->u & 1);)
                g->u++;
            g->v_outer = true;
            return;
        }
    }
    uint64_t others = g->v >= 0 ? g->axes & ~(1ull << g->v) : g->axes;
    int load = lane_axis(g, store->value, g->axes);
    if (load >= 0 && (others >> load & 1))
        g->u = load;
    for (int i = g->nest->axis_count - 1; i >= 0 && g->u < 0; i--)
        if (others >> i & 1)
            g->u = i;
}

/* Opens the grid: outer axes, then chunks. Leading outer axes share one grid id when there are too
 * many. */
static TileBlock *open_grid(General *g, int64_t u_chunk, int64_t v_chunk, const Expr **u_id,
                            const Expr **v_id)
{
    Cx *cx = g->cx;
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int outer[MAX_AXES], outer_count = 0, rank = 0, folded = 0;
    for (int i = 0; i < g->nest->axis_count; i++)
        if ((g->axes >> i & 1) && i != g->u && i != g->v)
            outer[outer_count++] = i;
    if (outer_count > MAX_GRID - 2)
        folded = outer_count - (MAX_GRID - 2) + 1;
    if (folded) {
        names[0] = lower_name(g->lower, "outer");
        extents[0] = expr_const(cx, 1);
        for (int i = 0; i < folded; i++)
            extents[0] = expr_mul(cx, extents[0], g->nest->axes[outer[i]].extent);
        rank = 1;
    }
    for (int i = folded; i < outer_count; i++) {
        names[rank] = lower_name(g->lower, g->nest->axes[outer[i]].sym->name);
        extents[rank++] = g->nest->axes[outer[i]].extent;
    }
    if (u_chunk) {
        names[rank] = lower_name(g->lower, g->nest->axes[g->u].sym->name);
        extents[rank++] = expr_ceildiv(cx, g->nest->axes[g->u].extent, expr_const(cx, u_chunk));
    }
    if (v_chunk) {
        names[rank] = lower_name(g->lower, g->nest->axes[g->v].sym->name);
        extents[rank++] = expr_ceildiv(cx, g->nest->axes[g->v].extent, expr_const(cx, v_chunk));
    }
    if (!rank) {
        names[0] = lower_name(g->lower, "one");
        extents[rank++] = expr_const(cx, 1);
    }
    Grid *grid = g->lower->grid = tile_grid(g->lower->prog, rank, names, extents);
    if (target_is_gpu(g->lower->caps))
        grid->threads = g->schedule->field[SF_threads];
    int at = folded ? 1 : 0;
    const Expr *rest = folded ? grid->ids[0] : NULL;
    for (int i = folded - 1; i >= 0; i--) {
        const Expr *extent = g->nest->axes[outer[i]].extent;
        g->lower->at[outer[i]] = i ? expr_mod(cx, rest, extent) : rest;
        rest = expr_floordiv(cx, rest, extent);
    }
    for (int i = folded; i < outer_count; i++)
        g->lower->at[outer[i]] = grid->ids[at++];
    *u_id = u_chunk ? grid->ids[at++] : NULL;
    *v_id = v_chunk ? grid->ids[at] : NULL;
    return &grid->body;
}

/* Axes that the extent of another axis depends on cannot lie in a box: the loop would differ by
 * lane. */
static void unbox_axes(General *g, int *rows)
{
    uint64_t used = 0;
    for (int i = 0; i < g->nest->axis_count; i++)
        used |= expr_axes(g->nest, g->nest->axes[i].extent);
    if (g->v >= 0 && (used >> g->v & 1)) {
        g->u = g->v;
        g->v = -1;
        g->v_outer = false;
    }
    if (g->u >= 0 && (used >> g->u & 1))
        *rows = 1;
}

static Boxes cpu_boxes(const General *g, int rows)
{
    int width = g->lower->caps->vector_bits ? g->lower->caps->vector_bits / 32 : 4;
    int64_t grain = g->schedule->field[SF_grain];
    int64_t v_extent = g->v >= 0 ? extent_guess(&g->nest->axes[g->v]) : 1;
    int lanes = g->v >= 0 || rows == 1 ? width * g->schedule->field[SF_vec] : 1;
    while (lanes > width && g->v >= 0 && lanes / 2 >= v_extent)
        lanes /= 2;
    bool split_v = g->v >= 0 && v_extent > grain && !has_row_reduction(g);
    Boxes boxes = {.rows = rows, .lanes = lanes};
    boxes.v_chunk = split_v ? (grain + lanes - 1) / lanes * lanes : 0;
    boxes.u_chunk = split_v ? rows : (grain / v_extent + rows - 1) / rows * rows;
    if (boxes.u_chunk < rows)
        boxes.u_chunk = rows;
    return boxes;
}

/* What lanes run over: v, else the longest axis that sums of rows run over. */
static const Expr *wide_extent(const General *g)
{
    const Expr *wide = g->v >= 0 ? g->nest->axes[g->v].extent : NULL;
    for (uint32_t i = 0; i < g->nest->value_count && g->v < 0; i++) {
        const Value *r = g->nest->values[i];
        if (r->op != V_reduce || r->monoid == M_argmin || r->monoid == M_argmax)
            continue;
        int lane = lane_axis(g, r->args[0], r->reduced);
        if (lane >= 0 && (!wide || g->nest->axes[lane].extent->hi > wide->hi))
            wide = g->nest->axes[lane].extent;
    }
    return wide;
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
    unbox_axes(g, &rows);
    const Expr *u_extent = g->u >= 0 && rows != 1 ? g->nest->axes[g->u].extent : NULL;
    Boxes boxes = target_is_gpu(g->lower->caps) ? gpu_boxes(g->schedule, u_extent, wide_extent(g),
                                                            g->v >= 0 && !has_row_reduction(g))
                                                : cpu_boxes(g, rows);
    g->lanes = boxes.lanes;
    if (g->v_outer) {
        boxes.v_chunk = boxes.lanes;
        boxes.u_chunk = 0;
    } else if (g->u < 0) {
        boxes.u_chunk = 0;
    }
    const Expr *u_id, *v_id;
    TileBlock *block = open_grid(g, boxes.u_chunk, boxes.v_chunk, &u_id, &v_id);
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
    const Expr *lo = expr_muli(cx, u_id, boxes.u_chunk);
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
    g->direct = unseen(g);
    g->costly = unseen(g);
    g->binds = NEW_ARRAY(g->cx->arena, Value *, count);
    for (uint32_t i = 0; i < count; i++) {
        Value *value = g->nest->values[i];
        g->costly[i] = is_costly(g, value);
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
        choose_axes(g);
        if (g->v >= 0 && !target_is_gpu(lower->caps) &&
            !lower->prog->grid_count) /* earlier grids read the constants as they were */
            lower_repack(lower, g->v, out);
        general_grid(g);
    }
    return !cx_failed(lower->cx);
}
