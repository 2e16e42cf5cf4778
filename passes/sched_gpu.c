/* Contractions on a GPU (skeleton `tiles`), and the boxes of the general skeleton there.
 *
 *   grid (batch and outer N axes, row tiles, column tiles)
 *     acc[bm, bn] = 0                       registers
 *     for steps of bk over K, `stages` slots:
 *       a -> shared [bm, bk], b -> shared [bk, bn] or [bn, bk]    as stored, 0 outside
 *       mma acc
 *     map: epilogue, stores                 under the bounds of M and N
 *
 * M axes are flattened to a row number, K axes to one loop. When the innermost K axis is long (the
 * channels of a convolution), each step lies within one point of the others, which are then the
 * same for the whole block; else K is split point by point.
 *
 * Requirements for editors:
 * 1. Shared tiles are 0 outside the operands: the mma has no bounds, as tensor cores have none.
 * 2. An operand that is one load is a copy, which placement may make asynchronous; anything else is
 * computed by a map into the shared tile.
 * 3. Additions are in ascending order of the flattened K for every schedule. */
#include "passes/lower_value.h"

#include <string.h>

/* Slots beyond the nest's axes in Lower.coord: the box coordinates of the accumulator. */
enum { ROW = MAX_AXES - 1, COLUMN = MAX_AXES - 2 };

typedef struct Operand {
    Value *value;
    const char *name; /* of the coordinate that is not k */
    bool plain;       /* one load that a copy can do */
    bool k_last;      /* memory runs along k */
    int points;       /* bm or bn */
    Tile *tile;
} Operand;

typedef struct Tiles {
    Lower *lower;
    Cx *cx;
    Nest *nest;
    const Schedule *schedule;
    Contraction c;
    int n_axis;
    int m_axes[MAX_AXES], m_count;
    int k_axes[MAX_AXES], k_count; /* the innermost last */
    const Expr *rows, *depth;      /* M and K flattened */
    const Expr *inner; /* padded extent of the innermost K axis, or NULL: split by point */
    int bm, bn, bk;
    const Expr *row_base, *column_base, *k_base;
    Operand a, b;
    Tile *acc;
} Tiles;

static const Expr *product(const Tiles *t, const int *axes, int count)
{
    const Expr *all = expr_const(t->cx, 1);
    for (int i = 0; i < count; i++)
        all = expr_mul(t->cx, all, t->nest->axes[axes[i]].extent);
    return all;
}

static const Expr *round_up(Cx *cx, const Expr *e, int to)
{
    return expr_muli(cx, expr_ceildiv(cx, e, expr_const(cx, to)), to);
}

/* Limit of a coordinate that starts at `base`, or NULL when the tiles divide the extent. */
static const Expr *bound_of(Cx *cx, const Expr *extent, const Expr *base, int size)
{
    return expr_is_const(expr_modi(cx, extent, size), 0) ? NULL : expr_sub(cx, extent, base);
}

static const Value *through_casts(const Value *value)
{
    while (value->op == V_cast)
        value = value->args[0];
    return value;
}

static void order_k(Tiles *t)
{
    const Value *a = through_casts(t->c.a);
    int last = a->op == V_load ? access_unit_axis(t->cx, t->nest, a->access, t->c.k) : -1;
    for (int i = t->nest->axis_count - 1; i >= 0 && last < 0; i--)
        if (t->c.k >> i & 1)
            last = i;
    for (int i = 0; i < t->nest->axis_count; i++)
        if ((t->c.k >> i & 1) && i != last)
            t->k_axes[t->k_count++] = i;
    const Expr *inner = t->nest->axes[last].extent;
    const Expr *outer = product(t, t->k_axes, t->k_count);
    if (t->k_count > 0 && inner->kind == EX_const && inner->value >= t->bk)
        t->inner = round_up(t->cx, inner, t->bk);
    t->depth = expr_mul(t->cx, outer, t->inner ? t->inner : inner);
    t->k_axes[t->k_count++] = last;
}

/* Binds the K axes at step r of the running tile. The bound of r, or NULL. */
static const Expr *bind_k(Tiles *t, const Expr *r)
{
    Cx *cx = t->cx;
    if (!t->inner) {
        lower_split(t->lower, t->k_axes, t->k_count, expr_add(cx, t->k_base, r));
        return bound_of(cx, t->depth, t->k_base, t->bk);
    }
    int last = t->k_axes[t->k_count - 1];
    const Expr *first = expr_mod(cx, t->k_base, t->inner);
    lower_split(t->lower, t->k_axes, t->k_count - 1, expr_floordiv(cx, t->k_base, t->inner));
    t->lower->at[last] = expr_add(cx, first, r);
    return bound_of(cx, t->nest->axes[last].extent, first, t->bk);
}

/* Binds the axes of rows (of a) or of columns (of b) at x. The bound of x, or NULL. */
static const Expr *bind_points(Tiles *t, bool rows, const Expr *x)
{
    Cx *cx = t->cx;
    if (rows) {
        lower_split(t->lower, t->m_axes, t->m_count, expr_add(cx, t->row_base, x));
        return bound_of(cx, t->rows, t->row_base, t->bm);
    }
    t->lower->at[t->n_axis] = expr_add(cx, t->column_base, x);
    return bound_of(cx, t->nest->axes[t->n_axis].extent, t->column_base, t->bn);
}

/* Dtype of an operand's shared tile: as stored, or as far as the value is rounded. */
static Dtype shared_dtype(const Value *value, bool plain)
{
    if (plain)
        return value->access->buffer->dtype;
    bool half = value->op == V_cast && (value->dtype == DT_f16 || value->dtype == DT_bf16);
    return half ? value->dtype : dtype_compute(value->dtype);
}

static bool uses_bound_value(const Nest *nest, const Access *access)
{
    bool uses = false;
    for (uint32_t i = 0; i < nest->value_count; i++)
        for (int d = 0; nest->values[i]->op == V_bind && d < access->rank; d++)
            uses |= expr_uses(access->index[d], nest->values[i]->sym);
    return uses;
}

static void init_operand(Tiles *t, Operand *o, Value *value, bool is_a)
{
    const Access *access = value->op == V_load ? value->access : NULL;
    *o = (Operand){.value = value, .name = is_a ? "i" : "j", .points = is_a ? t->bm : t->bn};
    o->plain = access && dtype_bits(access->buffer->dtype) >= 8 && access->fill.i == 0 &&
               !uses_bound_value(t->nest, access);
    const Value *load = through_casts(value);
    uint64_t own = is_a ? t->c.m : t->c.n;
    int unit =
        load->op == V_load ? access_unit_axis(t->cx, t->nest, load->access, own | t->c.k) : -1;
    o->k_last = is_a ? unit < 0 || (t->c.k >> unit & 1) : unit >= 0 && (t->c.k >> unit & 1);
    Dtype dtype = shared_dtype(value, o->plain);
    int shape[2] = {o->k_last ? o->points : t->bk, o->k_last ? t->bk : o->points};
    o->tile =
        tile_new(t->lower->prog, t->lower->grid, is_a ? "As" : "Bs", dtype, TS_shared, 2, shape);
}

static Access *shared_access(Tiles *t, const Operand *o, const Expr *x, const Expr *r)
{
    Access *access = NEW(t->cx->arena, Access);
    const Expr **index = NEW_ARRAY(t->cx->arena, const Expr *, 2);
    index[o->k_last ? 0 : 1] = x;
    index[o->k_last ? 1 : 0] = r;
    *access = (Access){.tile = o->tile, .rank = 2, .index = index};
    return access;
}

/* An operation over the box of a shared tile; x and r are its coordinates. */
static TileOp *operand_op(Tiles *t, TileBlock *block, const Operand *o, TileOpKind kind,
                          const Expr **x, const Expr **r)
{
    const char *names[2] = {o->k_last ? o->name : "r", o->k_last ? "r" : o->name};
    TileOp *op = tile_op(t->lower->prog, block, kind, 2, names, o->tile->shape);
    *x = op->box.coord[o->k_last ? 0 : 1];
    *r = op->box.coord[o->k_last ? 1 : 0];
    return op;
}

static void zero_operand(Tiles *t, TileBlock *block, const Operand *o)
{
    const Expr *x, *r;
    TileOp *op = operand_op(t, block, o, TO_map, &x, &r);
    Value *zero = tile_const(t->lower->prog, op, dtype_compute(o->tile->dtype), (Scalar){0});
    tile_store(t->lower->prog, op, shared_access(t, o, x, r), zero);
}

static void load_operand(Tiles *t, TileBlock *block, const Operand *o, bool is_a)
{
    const Expr *x, *r, *zero = expr_const(t->cx, 0);
    bool ragged = bind_points(t, is_a, zero) || bind_k(t, zero);
    if (!o->plain && ragged)
        zero_operand(t, block, o);
    TileOp *op = operand_op(t, block, o, o->plain ? TO_copy : TO_map, &x, &r);
    op->box.bound[o->k_last ? 0 : 1] = bind_points(t, is_a, x);
    op->box.bound[o->k_last ? 1 : 0] = bind_k(t, r);
    Value *value = lower_value(t->lower, op, o->value);
    tile_store(t->lower->prog, op, shared_access(t, o, x, r), value);
    if (value->op == V_const) { /* guards that never hold: 0 everywhere */
        op->kind = TO_map;
        op->box.bound[0] = op->box.bound[1] = NULL;
    }
}

static void k_loop(Tiles *t, TileBlock *block)
{
    static const char *const names[] = {"i", "j", "r"};
    TileProg *prog = t->lower->prog;
    const Expr *zero = expr_const(t->cx, 0);
    TileBlock *body = tile_for(prog, block, lower_name(t->lower, "k"), zero,
                               round_up(t->cx, t->depth, t->bk), t->bk, &t->k_base);
    block->last->stages = t->schedule->field[SF_stages];
    load_operand(t, body, &t->a, true);
    load_operand(t, body, &t->b, false);
    TileOp *mma = tile_op(prog, body, TO_mma, 3, names, (int[]){t->bm, t->bn, t->bk});
    const Expr *const *at = mma->box.coord;
    mma->dst = t->acc;
    mma->a = tile_load(prog, mma, shared_access(t, &t->a, at[0], at[2]));
    mma->b = tile_load(prog, mma, shared_access(t, &t->b, at[1], at[2]));
}

static void fill_acc(Tiles *t, TileBlock *block)
{
    static const char *const names[] = {"i", "j"};
    TileProg *prog = t->lower->prog;
    TileOp *op = tile_op(prog, block, TO_map, 2, names, t->acc->shape);
    const Expr **index = arena_copy(t->cx->arena, op->box.coord, 2 * sizeof *index);
    tile_write(prog, op, t->acc, index, tile_const(prog, op, t->acc->dtype, (Scalar){0}));
}

static void epilogue(Tiles *t, TileBlock *block)
{
    static const char *const names[] = {"i", "j"};
    Lower *lower = t->lower;
    TileOp *op = tile_op(lower->prog, block, TO_map, 2, names, t->acc->shape);
    for (int i = 0; i < t->k_count; i++)
        lower->at[t->k_axes[i]] = NULL;
    op->box.bound[0] = bind_points(t, true, op->box.coord[0]);
    op->box.bound[1] = bind_points(t, false, op->box.coord[1]);
    lower->coord[ROW] = op->box.coord[0];
    lower->coord[COLUMN] = op->box.coord[1];
    lower->held[t->c.sum->id] = (Held){t->acc, {ROW, COLUMN}};
    lower_stores(lower, op, access_axes(t->nest, t->nest->stores[0].access));
    lower->held[t->c.sum->id].tile = NULL;
}

/* The grid: batch and outer N axes, then tiles of rows and of columns. */
static bool open_grid(Tiles *t)
{
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0;
    for (int i = 0; i < t->nest->axis_count; i++) {
        if (!((t->c.batch | t->c.n) >> i & 1) || i == t->n_axis)
            continue;
        if (rank == MAX_GRID - 2) {
            cx_fail(t->cx, ST_unsupported, "kernel '%s': more than %d batch axes", t->nest->name,
                    MAX_GRID - 2);
            return false;
        }
        axes[rank] = i;
        names[rank] = lower_name(t->lower, t->nest->axes[i].sym->name);
        extents[rank++] = t->nest->axes[i].extent;
    }
    const Expr *columns = t->nest->axes[t->n_axis].extent;
    names[rank] = lower_name(t->lower, "ib");
    extents[rank] = expr_ceildiv(t->cx, t->rows, expr_const(t->cx, t->bm));
    names[rank + 1] = lower_name(t->lower, "jb");
    extents[rank + 1] = expr_ceildiv(t->cx, columns, expr_const(t->cx, t->bn));
    Grid *grid = t->lower->grid = tile_grid(t->lower->prog, rank + 2, names, extents);
    grid->threads = t->schedule->field[SF_threads];
    for (int i = 0; i < rank; i++)
        t->lower->at[axes[i]] = grid->ids[i];
    t->row_base = expr_muli(t->cx, grid->ids[rank], t->bm);
    t->column_base = expr_muli(t->cx, grid->ids[rank + 1], t->bn);
    return true;
}

/* Placement may pad rows by 16 bytes. */
static int64_t padded_bytes(const Tile *tile)
{
    return tile_bytes(tile) + 16 * tile->shape[0] + 128;
}

static bool fits_target(const Tiles *t)
{
    const Caps *caps = t->lower->caps;
    int threads = t->schedule->field[SF_threads];
    int64_t shared =
        (padded_bytes(t->a.tile) + padded_bytes(t->b.tile)) * t->schedule->field[SF_stages];
    int words = dtype_bits(t->acc->dtype) / 32;
    int64_t registers = (int64_t)t->bm * t->bn * words / threads;
    if (threads & (threads - 1) || shared > caps->shared_bytes ||
        registers > caps->registers * 5 / 8) {
        cx_fail(t->cx, ST_unsupported,
                "kernel '%s': tiles of %d x %d x %d with %d threads do not fit %s", t->nest->name,
                t->bm, t->bn, t->bk, threads, caps->name);
        return false;
    }
    return true;
}

bool apply_tiles(Lower *lower, const Schedule *schedule)
{
    Tiles *t = NEW(lower->cx->arena, Tiles);
    *t = (Tiles){.lower = lower, .cx = lower->cx, .nest = lower->nest, .schedule = schedule};
    t->bm = schedule->field[SF_bm];
    t->bn = schedule->field[SF_bn];
    t->bk = schedule->field[SF_bk];
    t->c = nest_contraction(t->cx, t->nest);
    if (!t->c.has || t->nest->axis_count > COLUMN) {
        cx_fail(t->cx, ST_unsupported, "kernel '%s' is no contraction", t->nest->name);
        return false;
    }
    t->n_axis = access_unit_axis(t->cx, t->nest, t->nest->stores[0].access, t->c.n);
    for (int i = 0; i < t->nest->axis_count; i++)
        if (t->c.m >> i & 1)
            t->m_axes[t->m_count++] = i;
    t->rows = product(t, t->m_axes, t->m_count);
    order_k(t);
    if (!open_grid(t))
        return false;
    TileBlock *body = &lower->grid->body;
    t->acc = tile_new(lower->prog, lower->grid, "acc", t->c.sum->dtype, TS_register, 2,
                      (int[]){t->bm, t->bn});
    init_operand(t, &t->a, t->c.a, true);
    init_operand(t, &t->b, t->c.b, false);
    if (!fits_target(t))
        return false;
    fill_acc(t, body);
    k_loop(t, body);
    epilogue(t, body);
    return !cx_failed(t->cx);
}

/* ---- boxes of the general skeleton */

static int power_for(const Expr *extent, int most)
{
    int n = 1;
    while (n < most && n < extent->hi)
        n *= 2;
    return n <= most ? n : most;
}

Boxes gpu_boxes(const Schedule *schedule, const Expr *u, const Expr *wide, bool split)
{
    int points = schedule->field[SF_threads] * schedule->field[SF_each];
    int least = u ? power_for(u, schedule->field[SF_rows]) : 1;
    Boxes boxes = {.lanes = wide ? power_for(wide, points / least) : 1};
    boxes.rows = u ? power_for(u, points / boxes.lanes) : 1;
    boxes.u_chunk = boxes.rows;
    boxes.v_chunk = split && wide->hi > boxes.lanes ? boxes.lanes : 0;
    return boxes;
}
