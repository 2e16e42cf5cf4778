/* The contraction skeleton: out[b, m, n] = epilogue(sum over k of a[b, m, k] * b[b, n, k]).
 *
 * Matrix products and convolutions are one thing here. The M axes are flattened into one row
 * number, so that a register tile of mr rows runs over output pixels; b is packed into column
 * blocks of one register tile, at load when it is constant, else in a phase of its own; a is read
 * where it lies, row by row (notes: docs/performance.md). Grid: batch axes, outer N axes, column
 * blocks, chunks of mt row tiles; a chunk's row tiles share one column block, which stays in the
 * cache.
 *
 * Requirements for editors:
 * 1. The tile is complete: the whole K runs inside it, so partial sums are never stored.
 * 2. Remainders known at compile time get register tiles of their own shape; others get bounds.
 * 3. Additions are in ascending order of the K axes for every schedule and thread count. */
#include "passes/contraction.h"

#include <string.h>

/* Slots beyond the nest's axes in Lower.coord: the box coordinates of rows and columns of the
 * accumulator. */
enum { ROW = MAX_AXES - 1, COLUMN = MAX_AXES - 2 };

Contraction nest_contraction(Cx *cx, const Nest *nest)
{
    Contraction c = {.has = false};
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->op == V_reduce) {
            if (c.sum)
                return c;
            c.sum = nest->values[i];
        }
    if (!c.sum || c.sum->monoid != M_sum || nest->store_count != 1)
        return c;
    Value *product = c.sum->args[0];
    if (product->op != V_scalar || product->scalar != S_mul ||
        !(c.sum->dtype == DT_f32 || c.sum->dtype == DT_f64 || c.sum->dtype == DT_i32))
        return c;
    c.a = product->args[0];
    c.b = product->args[1];
    c.k = c.sum->reduced;
    const Access *out = nest->stores[0].access;
    uint64_t axes = access_axes(nest, out);
    int unit = access_unit_axis(cx, nest, out, axes);
    if (unit < 0 || axes != c.sum->axes)
        return c;
    if (c.a->axes >> unit & 1) {
        Value *swap = c.a;
        c.a = c.b;
        c.b = swap;
    }
    c.batch = c.a->axes & c.b->axes & ~c.k;
    c.m = c.a->axes & ~c.b->axes & ~c.k;
    c.n = c.b->axes & ~c.a->axes & ~c.k;
    c.has = (c.n >> unit & 1) && (c.a->axes & c.b->axes & c.k) == c.k;
    for (int i = 0; i < nest->axis_count; i++)
        if (((c.sum->axes | c.k) >> i & 1) && expr_axes(nest, nest->axes[i].extent))
            c.has = false;
    return c;
}

static bool analyse(Shape *s)
{
    Nest *nest = s->nest;
    s->c = nest_contraction(s->cx, nest);
    if (!s->c.has)
        return false;
    s->n_axis = access_unit_axis(s->cx, nest, nest->stores[0].access, s->c.n);
    s->rows = expr_const(s->cx, 1);
    /* A product of symbols is no bound that quotients of the row number could be proven against:
     * only rows of known extents, or of one axis, are flattened; the outer ones become grid dims.
     */
    bool known = true;
    int last = -1;
    for (int i = 0; i < nest->axis_count; i++)
        if (s->c.m >> i & 1) {
            known &= nest->axes[i].extent->kind == EX_const;
            last = i;
        }
    for (int i = 0; i < nest->axis_count; i++) {
        if (!(s->c.m >> i & 1))
            continue;
        if (!known && i != last) {
            s->outer_m |= 1ull << i;
            continue;
        }
        s->m_axes[s->m_count++] = i;
        s->rows = expr_mul(s->cx, s->rows, nest->axes[i].extent);
    }
    s->k_axis = -1;
    const Value *a = through_casts(s->c.a);
    if (a->op == V_load)
        s->k_axis = access_unit_axis(s->cx, nest, a->access, s->c.k);
    for (int i = nest->axis_count - 1; i >= 0 && s->k_axis < 0; i--)
        if (s->c.k >> i & 1)
            s->k_axis = i;
    s->width =
        s->lower->caps->vector_bits ? s->lower->caps->vector_bits / dtype_bits(s->c.sum->dtype) : 4;
    s->nr = s->width * s->schedule->field[SF_nv];
    return true;
}

typedef struct RowTile {
    Shape *s;
    int nr; /* columns of this tile */
    const Expr *column_bound;
    const Expr *base, *bound; /* of rows */
    int mr;
    Tile *acc;
    int k_loops[MAX_AXES], k_count;
} RowTile;

static void bind_tile(RowTile *t, TileOp *op)
{
    Shape *s = t->s;
    op->box.bound[0] = t->bound;
    op->box.bound[1] = t->column_bound;
    lower_split(s->lower, s->m_axes, s->m_count, expr_add(s->cx, t->base, op->box.coord[0]));
    s->lower->at[s->n_axis] = expr_add(s->cx, s->column_base, op->box.coord[1]);
    s->lower->coord[ROW] = s->lower->at[ROW] = op->box.coord[0];
    s->lower->coord[COLUMN] = s->lower->at[COLUMN] = op->box.coord[1];
}

static void mma_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    static const char *const names[] = {"i", "j", "r"};
    RowTile *t = user;
    Shape *s = t->s;
    if (bound && bound->kind == EX_const) {
        size = (int)bound->value;
        bound = NULL;
    }
    TileOp *op = tile_op(s->lower->prog, block, TO_mma, 3, names, (int[]){t->mr, t->nr, size});
    bind_tile(t, op);
    bool packed = contraction_is_packed(s);
    if (packed)
        op->box.bound[1] = NULL; /* padded */
    op->box.bound[2] = bound;
    s->lower->at[s->k_axis] = expr_add(s->cx, base, op->box.coord[2]);
    op->dst = t->acc;
    op->a = lower_value(s->lower, op, s->c.a);
    op->b = packed ? contraction_packed_value(s, op) : lower_value(s->lower, op, s->c.b);
}

static void k_loops(RowTile *t, TileBlock *block, int next)
{
    Shape *s = t->s;
    const Expr *zero = expr_const(s->cx, 0), *var;
    if (next < t->k_count) {
        const Axis *axis = &s->nest->axes[t->k_loops[next]];
        TileBlock *inner = tile_for(s->lower->prog, block, lower_name(s->lower, axis->sym->name),
                                    zero, axis->extent, 1, &var);
        s->lower->at[axis->number] = var;
        k_loops(t, inner, next + 1);
        return;
    }
    const Axis *axis = &s->nest->axes[s->k_axis];
    int ku = s->schedule->field[SF_ku];
    if (axis->extent->kind == EX_const && axis->extent->value < ku)
        ku = axis->extent->value < 1 ? 1 : (int)axis->extent->value;
    lower_boxes(s->lower, block, axis->sym->name, zero, axis->extent, ku, mma_box, t);
}

/* An epilogue with transcendentals is long code: over register tiles it would be unrolled for every
 * vector of the accumulator. From a tile in the L1 cache it is a loop. */
static Held spill_tile(RowTile *t, TileBlock *block, const Held *acc)
{
    static const char *const names[] = {"i", "j"};
    Lower *lower = t->s->lower;
    Held spilled = *acc;
    spilled.tile = tile_new(lower->prog, lower->grid, lower_name(lower, "spill"), acc->tile->dtype,
                            TS_shared, 2, acc->tile->shape);
    TileOp *op = tile_op(lower->prog, block, TO_map, 2, names, acc->tile->shape);
    bind_tile(t, op);
    op->box.bound[0] = op->box.bound[1] = NULL;
    lower_write(lower, op, &spilled, lower_read(lower, op, acc));
    return spilled;
}

static void one_tile(RowTile *t, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    static const char *const names[] = {"i", "j"};
    Shape *s = t->s;
    Lower *lower = s->lower;
    t->base = base;
    t->mr = size;
    t->bound = bound;
    int shape[2] = {t->mr, t->nr};
    t->acc = tile_new(lower->prog, lower->grid, lower_name(lower, "acc"), s->c.sum->dtype,
                      TS_register, 2, shape);
    Held held = {t->acc, {ROW, COLUMN}};
    TileOp *zero = tile_op(lower->prog, block, TO_map, 2, names, shape);
    bind_tile(t, zero);
    zero->box.bound[0] = zero->box.bound[1] = NULL;
    lower_write(lower, zero, &held, tile_const(lower->prog, zero, s->c.sum->dtype, (Scalar){0}));
    k_loops(t, block, 0);
    if (lower_has_transcendental(s->nest->stores[0].value))
        held = spill_tile(t, block, &held);
    TileOp *epilogue = tile_op(lower->prog, block, TO_map, 2, names, shape);
    bind_tile(t, epilogue);
    lower->held[s->c.sum->id] = held;
    lower_stores(lower, epilogue, access_axes(s->nest, s->nest->stores[0].access));
    lower->held[s->c.sum->id].tile = NULL;
}

/* A remainder of unknown size. One row (a decoder's step, a batch of one) would pay for all rows of
 * the tile: it gets a tile of its own. */
static void rest_tiles(RowTile *t, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Cx *cx = t->s->cx;
    Guard one = {bound, expr_const(cx, 1), expr_const(cx, 2)};
    Guard more = {bound, expr_const(cx, 2), expr_const(cx, size)};
    TileProg *prog = t->s->lower->prog;
    one_tile(t, tile_if(prog, block, &one, 1)->body, base, 1, NULL);
    one_tile(t, tile_if(prog, block, &more, 1)->body, base, size, bound);
}

static void row_tile(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    if (!bound || bound->kind == EX_const)
        one_tile(user, block, base, bound ? (int)bound->value : size, NULL);
    else if (size > 2)
        rest_tiles(user, block, base, size, bound);
    else
        one_tile(user, block, base, size, bound);
}

/* All row tiles of a chunk under one column tile. */
static void column_tile(Shape *s, TileBlock *block, const Expr *chunk, int64_t mt, int nr,
                        const Expr *bound)
{
    RowTile t = {.s = s, .nr = nr, .column_bound = bound};
    for (int i = 0; i < s->nest->axis_count; i++)
        if ((s->c.k >> i & 1) && i != s->k_axis)
            t.k_loops[t.k_count++] = i;
    contraction_fill_panel(s, block, nr, bound);
    Cx *cx = s->cx;
    int64_t mr = s->schedule->field[SF_mr];
    const Expr *lo = expr_muli(cx, chunk, mt * mr);
    if (s->rows->kind != EX_const) {
        lower_boxes(s->lower, block, "m", lo, expr_min(cx, s->rows, expr_addi(cx, lo, mt * mr)),
                    (int)mr, row_tile, &t);
        return;
    }
    int64_t full = s->rows->value / mr, rest = s->rows->value % mr;
    if (full)
        lower_boxes(s->lower, block, "m", lo, expr_addi(cx, lo, mt * mr), (int)mr, row_tile, &t);
    if (!rest)
        return;
    if (full > mt) {
        Guard last = {chunk, expr_const(cx, full / mt - 1), expr_const(cx, full / mt)};
        block = tile_if(s->lower->prog, block, &last, 1)->body;
    }
    row_tile(&t, block, expr_const(cx, full * mr), (int)rest, NULL);
}

/* Row tiles a task takes: divides the number of full tiles when that is known. */
static int64_t chunk_tiles(const Shape *s)
{
    int64_t mt = s->schedule->field[SF_mt], mr = s->schedule->field[SF_mr];
    if (s->rows->kind != EX_const)
        return mt;
    int64_t full = s->rows->value / mr;
    if (!full)
        return 1;
    while (mt > 1 && full % mt)
        mt--;
    return mt;
}

static void columns(Shape *s, TileBlock *block, const Expr *chunk, int64_t mt)
{
    Cx *cx = s->cx;
    const Expr *extent = s->nest->axes[s->n_axis].extent;
    s->column_base = expr_muli(cx, s->column_block, s->nr);
    if (extent->kind != EX_const) {
        column_tile(s, block, chunk, mt, s->nr, expr_sub(cx, extent, s->column_base));
        return;
    }
    int64_t full = extent->value / s->nr, rest = extent->value % s->nr;
    if (!rest) {
        column_tile(s, block, chunk, mt, s->nr, NULL);
        return;
    }
    int nr = (int)((rest + s->width - 1) / s->width) * s->width;
    TileBlock *last = block;
    if (full) {
        Guard inner = {s->column_block, expr_const(cx, 0), expr_const(cx, full)};
        column_tile(s, tile_if(s->lower->prog, block, &inner, 1)->body, chunk, mt, s->nr, NULL);
        Guard edge = {s->column_block, expr_const(cx, full), expr_const(cx, full + 1)};
        last = tile_if(s->lower->prog, block, &edge, 1)->body;
    }
    s->column_base = expr_const(cx, full * s->nr);
    column_tile(s, last, chunk, mt, nr, nr == rest ? NULL : expr_const(cx, rest));
}

/* Accumulators and one operand of a step lie in registers. */
static bool fits_registers(const Schedule *schedule, const Caps *caps)
{
    int mr = schedule->field[SF_mr], nv = schedule->field[SF_nv];
    return !caps->vector_bits || mr * nv + (mr < nv ? mr : nv) <= caps->registers;
}

bool apply_contraction(Lower *lower, const Schedule *schedule, Lowered *out)
{
    Shape *s = NEW(lower->cx->arena, Shape);
    *s = (Shape){.lower = lower, .cx = lower->cx, .nest = lower->nest, .schedule = schedule};
    if (!analyse(s) || lower->nest->axis_count > COLUMN) {
        cx_fail(lower->cx, ST_unsupported, "kernel '%s' is no contraction", lower->nest->name);
        return false;
    }
    if (!fits_registers(schedule, lower->caps)) {
        cx_fail(lower->cx, ST_unsupported,
                "%s has too few registers for tiles of %d rows by %d vectors", lower->caps->name,
                schedule->field[SF_mr], schedule->field[SF_nv]);
        return false;
    }
    contraction_pack(s, out);
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0;
    for (int i = 0; i < s->nest->axis_count; i++)
        if (((s->c.batch | s->c.n | s->outer_m) >> i & 1) && i != s->n_axis) {
            if (rank == MAX_GRID - 2) {
                cx_fail(lower->cx, ST_unsupported, "kernel '%s': more than %d batch axes",
                        lower->nest->name, MAX_GRID - 2);
                return false;
            }
            axes[rank] = i;
            names[rank] = lower_name(lower, s->nest->axes[i].sym->name);
            extents[rank++] = s->nest->axes[i].extent;
        }
    int outer = rank;
    int64_t mt = chunk_tiles(s), mr = schedule->field[SF_mr];
    names[rank] = lower_name(lower, "jb");
    extents[rank++] =
        expr_ceildiv(s->cx, s->nest->axes[s->n_axis].extent, expr_const(s->cx, s->nr));
    names[rank] = lower_name(lower, "mb");
    int64_t full = s->rows->kind == EX_const ? s->rows->value / mr : 0;
    extents[rank++] = s->rows->kind == EX_const
                          ? expr_const(s->cx, full ? full / mt : 1)
                          : expr_ceildiv(s->cx, s->rows, expr_const(s->cx, mt * mr));
    Grid *grid = lower->grid = tile_grid(lower->prog, rank, names, extents);
    for (int i = 0; i < outer; i++)
        lower->at[axes[i]] = grid->ids[i];
    s->column_block = grid->ids[outer];
    columns(s, &grid->body, grid->ids[outer + 1], mt);
    return !cx_failed(lower->cx);
}
