/* General skeleton: one reduction. Its loops run in the block where its axes are bound. Lanes run
 * over the box's contiguous axis when the result depends on it (sums of columns, windows), else
 * over the reduced axis along which the operand is contiguous (rows), and are combined at the end.
 * What the final pass over a row needs again may be kept on the way: in registers or in a row
 * buffer. */
#include "passes/sched_general.h"

#include <string.h>

enum { ROW_BUFFER = 16384 }; /* points of a row buffer: 64 KiB of floats, an L1 and a bit of L2 */

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
    TileOp *op = general_box_op(g, block, true);
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
    general_ensure(g, block, r->value->args[0], 0);
    reduce_map(r, block);
    memcpy(g->lower->held, held, g->nest->value_count * sizeof *held);
}

static void lane_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Reduce *r = user;
    general_set_box(r->g, r->g->box.rank - 1, r->lane, base, size, bound);
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

/* Dims of the box that a reduction to `axes` keeps: with both taken there is none left for lanes.
 */
static int kept_dims(const General *g, uint64_t axes)
{
    int count = 0;
    for (int d = 0; d < g->box.rank; d++)
        count += (int)(axes >> g->box.axis[d] & 1);
    return count;
}

/* Keeps the parts of the box that the reduction depends on and adds the lane axis. */
static void reduce_box(Reduce *r)
{
    General *g = r->g;
    BoxState outer = g->box;
    g->box.rank = 0;
    for (int d = 0; d < outer.rank; d++)
        if (r->value->axes >> outer.axis[d] & 1)
            general_set_box(g, g->box.rank++, outer.axis[d], outer.base[d], outer.size[d],
                            outer.bound[d]);
    if (r->lane >= 0)
        general_set_box(g, g->box.rank++, r->lane, expr_const(g->cx, 0), g->lanes, NULL);
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
        r->keep = general_tile(r->g, dtype_compute(r->kept->dtype), "row");
}

/* A box of columns whose reduction runs over u, before the loop over u that spreads it: its values
 * at every point of u are kept. */
static void keep_columns(Reduce *r)
{
    General *g = r->g;
    const Expr *extent = g->nest->axes[g->u].extent;
    bool over_u = r->lane < 0 && r->loop_count == 1 && r->loops[0] == g->u && g->box.rank == 1;
    if (!g->schedule->field[SF_keep] || !over_u || target_is_gpu(g->lower->caps) ||
        extent->kind != EX_const || extent->value < 1 || extent->value * g->lanes > ROW_BUFFER)
        return;
    r->kept = general_expensive_again(g, r->value->args[0], general_unseen(g));
    if (!r->kept || g->lower->held[r->kept->id].tile)
        return;
    int shape[2] = {(int)extent->value, g->box.size[0]};
    r->keep = (Held){.axis = {g->u, g->box.axis[0] + BY_COORD}};
    r->keep.tile = tile_new(g->lower->prog, g->lower->grid, lower_name(g->lower, "columns"),
                            r->kept->dtype, TS_shared, 2, shape);
}

static void start_keep(Reduce *r)
{
    if (r->g->v_outer) {
        keep_columns(r);
        return;
    }
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
    int rank = g->box.rank, rows = rank == 2 ? g->box.size[0] : 1;
    if (extent->kind != EX_const || extent->value * rows > most || (gpu && rank != 1))
        return;
    r->kept = general_expensive_again(g, r->value->args[0], general_unseen(g));
    if (!r->kept || g->lower->held[r->kept->id].tile)
        return;
    int padded = (int)((extent->value + g->lanes - 1) / g->lanes * g->lanes);
    int shape[2] = {rank == 2 ? rows : padded, padded};
    r->keep = rank == 2 ? (Held){.axis = {g->box.axis[0] + BY_COORD, r->lane}}
                        : (Held){.axis = {r->lane}};
    r->keep.tile = tile_new(g->lower->prog, g->lower->grid, lower_name(g->lower, "row"),
                            r->kept->dtype, TS_shared, rank, shape);
}

static void fill_tile(General *g, TileBlock *block, const Held *held, Dtype dtype, Scalar value)
{
    TileOp *op = general_box_op(g, block, false);
    lower_write(g->lower, op, held, tile_const(g->lower->prog, op, dtype, value));
}

static void reduce_start(Reduce *r, TileBlock *block)
{
    General *g = r->g;
    bool arg = r->value->monoid == M_argmin || r->value->monoid == M_argmax;
    Dtype dtype = arg ? r->value->args[0]->dtype : r->value->dtype;
    r->acc = general_tile(g, dtype, "acc");
    fill_tile(g, block, &r->acc, dtype,
              arg ? (Scalar){.i = 0} : monoid_identity(r->value->monoid, dtype));
    if (arg) {
        r->position = general_tile(g, DT_i64, "pos");
        fill_tile(g, block, &r->position, DT_i64, (Scalar){.i = -1});
    } else {
        start_keep(r);
    }
}

void general_reduce(General *g, TileBlock *block, Value *value)
{
    Lower *lower = g->lower;
    Reduce r = {.g = g, .value = value, .lane = -1};
    bool arg = value->monoid == M_argmin || value->monoid == M_argmax;
    bool over_v = g->box.rank && g->box.axis[g->box.rank - 1] == g->v && (value->axes >> g->v & 1);
    general_ensure(g, block, value->args[0], value->reduced); /* what the loops do not change */
    general_hoist(g, block, value->args[0], value->reduced);
    if (!over_v && !arg && kept_dims(g, value->axes) < 2)
        r.lane = general_lane_axis(g, value->args[0], value->reduced);
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
