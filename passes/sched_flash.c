/* Attention on a GPU (skeleton `flash`): sched_attention.c's recurrence for a block of threads.
 *
 *   grid (batch and outer rows, blocks of bm rows)
 *     q -> shared [bm, c]
 *     for blocks of bn keys, `stages` slots:
 *       k -> shared [bn, c], v -> shared [bn, n]        0 outside
 *       s = q k': mma; x of it; -inf outside            registers [bm, bn]
 *       top, decay, exp(x - top), total                 registers [bm, 1]
 *       acc = acc * decay + weights * v: mma            registers [bm, n]
 *     map: epilogue, stores                             under the bound of the rows
 *
 * On tensor cores (q, k and v one 16-bit type) weights stay in registers: the result fragment of
 * the first product is laid out like the operand of the second. They are the sum of two numbers of
 * that type, the second being what rounding the first left, and so are multiplied twice: a schedule
 * does not lower precision. Else weights go through shared memory.
 *
 * Requirements for editors: as in sched_attention.c and sched_gpu.c. */
#include "passes/attention.h"

enum { CORE = 16 }; /* extents of products on tensor cores */

typedef struct Flash {
    Attend t;
    int bm, bn, depth, wide; /* depth, wide: c and n rounded up */
    bool half;
    Tile *q, *k, *v;
    Tile *weights, *rest; /* registers on tensor cores; else shared, and NULL */
    const Expr *key;      /* first of the block */
} Flash;

/* One load that a copy can do. */
static bool is_plain(const Nest *nest, const Value *value)
{
    const Access *access = value->op == V_load ? value->access : NULL;
    if (!access || !access->buffer || dtype_bits(access->buffer->dtype) < 8 || access->fill.i != 0)
        return false;
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->op == V_bind)
            return false;
    return true;
}

static Dtype stored_dtype(const Nest *nest, const Value *value)
{
    return is_plain(nest, value) ? value->access->buffer->dtype : value->dtype;
}

static const Expr *limit(const Flash *f, const Expr *extent, const Expr *base, int size)
{
    Cx *cx = f->t.cx;
    return expr_is_const(expr_modi(cx, extent, size), 0) ? NULL : expr_sub(cx, extent, base);
}

/* value at (first, second) -> tile, 0 outside the bounds. `second_axis` is c or n. */
static void fetch(Flash *f, TileBlock *block, Tile *tile, Value *value, int second_axis)
{
    static const char *const names[] = {"i", "r"};
    Attend *t = &f->t;
    bool plain = is_plain(t->nest, value), rows = value == t->a.q;
    const Expr *extent = t->nest->axes[second_axis].extent;
    const Expr *bound[2] = {rows ? limit(f, t->rows, t->chunk_lo, f->bm)
                                 : limit(f, t->nest->axes[t->a.l].extent, f->key, f->bn),
                            extent->value < tile->shape[1] ? extent : NULL};
    if (!plain && (bound[0] || bound[1]))
        attend_fill(t, block, tile, 0);
    TileOp *op = tile_op(t->prog, block, plain ? TO_copy : TO_map, 2, names, tile->shape);
    const Expr *const *at = op->box.coord;
    op->box.bound[0] = bound[0];
    op->box.bound[1] = bound[1];
    if (rows)
        lower_split(t->lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, at[0]));
    else
        t->lower->at[t->a.l] = expr_add(t->cx, f->key, at[0]);
    t->lower->at[second_axis] = at[1];
    Value *loaded = lower_value(t->lower, op, value);
    attend_put(t, op, attend_access(t, tile, at[0], at[1]), loaded);
    if (loaded->op == V_const) { /* guards that never hold: 0 everywhere */
        op->kind = TO_map;
        op->box.bound[0] = op->box.bound[1] = NULL;
    }
}

static Value *at_point(Attend *t, TileOp *op, Tile *tile)
{
    return tile_read(t->prog, op, tile, op->box.coord);
}

static Value *of_row(Attend *t, TileOp *op, Tile *tile)
{
    const Expr *at[2] = {op->box.coord[0], expr_const(t->cx, 0)};
    return tile_read(t->prog, op, tile, at);
}

static void write_row(Attend *t, TileOp *op, Tile *tile, Value *value)
{
    const Expr *at[2] = {op->box.coord[0], expr_const(t->cx, 0)};
    tile_write(t->prog, op, tile, at, value);
}

/* x of the products, -inf for keys that are not there. */
static void make_scores(Flash *f, TileBlock *block)
{
    Attend *t = &f->t;
    Lower *lower = t->lower;
    TileOp *op = attend_map(t, block, 2, f->bm, f->bn);
    const Expr *const *at = op->box.coord;
    const Expr *keys = t->nest->axes[t->a.l].extent;
    lower_split(lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, at[0]));
    op->box.bound[0] = limit(f, t->rows, t->chunk_lo, f->bm);
    op->box.bound[1] = limit(f, keys, f->key, f->bn);
    lower->at[t->a.l] = expr_add(t->cx, f->key, at[1]);
    lower->at[ROW] = lower->coord[ROW] = at[0];
    lower->at[COLUMN] = lower->coord[COLUMN] = at[1];
    lower->held[t->a.dot->id] = (Held){t->scores, {ROW, COLUMN}};
    tile_write(t->prog, op, t->scores, at, lower_value(lower, op, t->a.x));
    lower->held[t->a.dot->id].tile = NULL;
    if (!op->box.bound[1])
        return;
    op = attend_map(t, block, 2, f->bm, f->bn);
    at = op->box.coord;
    Value *key = tile_index(t->prog, op, DT_i64, expr_add(t->cx, f->key, at[1]));
    Value *there = attend_scalar(t, op, S_lt, key, tile_index(t->prog, op, DT_i64, keys));
    Value *none = attend_real(t, op, -(double)INFINITY);
    tile_write(t->prog, op, t->scores, at,
               tile_scalar(t->prog, op, S_select, there, at_point(t, op, t->scores), none));
}

static void update_rows(Flash *f, TileBlock *block)
{
    Attend *t = &f->t;
    tile_reduce(t->prog, block, t->best, t->scores, 1, M_max);
    TileOp *op = attend_map(t, block, 2, f->bm, 1);
    Value *old = of_row(t, op, t->top);
    Value *now = attend_scalar(t, op, S_max, old, of_row(t, op, t->best));
    Value *none = attend_scalar(t, op, S_eq, now, attend_real(t, op, -(double)INFINITY));
    Value *ref = tile_scalar(t->prog, op, S_select, none, attend_real(t, op, 0), now);
    write_row(t, op, t->refs, ref);
    write_row(t, op, t->decay,
              attend_scalar(t, op, S_exp, attend_scalar(t, op, S_sub, old, ref), NULL));
    write_row(t, op, t->top, now);
    op = attend_map(t, block, 2, f->bm, f->bn);
    Value *x = at_point(t, op, t->scores);
    x = attend_scalar(t, op, S_sub, x, of_row(t, op, t->refs));
    Value *e = attend_scalar(t, op, S_exp, x, NULL);
    tile_write(t->prog, op, t->scores, op->box.coord, e);
    if (f->half) {
        Value *rounded = tile_cast(t->prog, op, f->weights->dtype, e);
        tile_write(t->prog, op, f->weights, op->box.coord, rounded);
        tile_write(t->prog, op, f->rest, op->box.coord,
                   attend_scalar(t, op, S_sub, e, tile_cast(t->prog, op, DT_f32, rounded)));
    } else {
        attend_put(t, op, attend_access(t, f->weights, op->box.coord[0], op->box.coord[1]), e);
    }
    tile_reduce(t->prog, block, t->best, t->scores, 1, M_sum);
    op = attend_map(t, block, 2, f->bm, 1);
    Value *total = of_row(t, op, t->total), *decay = of_row(t, op, t->decay);
    Value *sum = of_row(t, op, t->best);
    write_row(t, op, t->total, tile_scalar(t->prog, op, S_fma, total, decay, sum));
    op = attend_map(t, block, 2, f->bm, f->wide);
    Value *acc = at_point(t, op, t->acc);
    acc = attend_scalar(t, op, S_mul, acc, of_row(t, op, t->decay));
    tile_write(t->prog, op, t->acc, op->box.coord, acc);
}

static void add_values(Flash *f, TileBlock *block, Tile *weights)
{
    Attend *t = &f->t;
    TileOp *op =
        tile_op(t->prog, block, TO_mma, 3, attention_names, (int[]){f->bm, f->wide, f->bn});
    const Expr *at[2] = {op->box.coord[0], op->box.coord[2]};
    op->dst = t->acc;
    op->a =
        f->half ? tile_read(t->prog, op, weights, at) : attend_get(t, op, weights, at[0], at[1]);
    op->b = attend_get(t, op, f->v, op->box.coord[2], op->box.coord[1]);
}

static void key_loop(Flash *f, TileBlock *block)
{
    Attend *t = &f->t;
    Cx *cx = t->cx;
    const Expr *end =
        expr_muli(cx, expr_ceildiv(cx, attention_key_end(t, f->bm), expr_const(cx, f->bn)), f->bn);
    TileBlock *body =
        tile_for(t->prog, block, lower_name(t->lower, "k"), expr_const(cx, 0), end, f->bn, &f->key);
    block->last->stages = t->schedule->field[SF_stages];
    fetch(f, body, f->k, t->a.k, t->a.c);
    fetch(f, body, f->v, t->a.v, t->a.n);
    attend_fill(t, body, t->scores, 0);
    TileOp *op =
        tile_op(t->prog, body, TO_mma, 3, attention_names, (int[]){f->bm, f->bn, f->depth});
    op->dst = t->scores;
    op->a = attend_get(t, op, f->q, op->box.coord[0], op->box.coord[2]);
    op->b = attend_get(t, op, f->k, op->box.coord[1], op->box.coord[2]);
    make_scores(f, body);
    update_rows(f, body);
    add_values(f, body, f->weights);
    if (f->rest)
        add_values(f, body, f->rest);
}

static void finish(Flash *f, TileBlock *block)
{
    Attend *t = &f->t;
    Lower *lower = t->lower;
    TileOp *op = attend_map(t, block, 2, f->bm, f->wide);
    const Expr *const *at = op->box.coord;
    lower->at[t->a.l] = lower->at[t->a.c] = NULL;
    lower_split(lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, at[0]));
    op->box.bound[0] = limit(f, t->rows, t->chunk_lo, f->bm);
    op->box.bound[1] = t->wide < f->wide ? expr_const(t->cx, t->wide) : NULL;
    lower->at[ROW] = lower->coord[ROW] = at[0];
    lower->at[t->a.n] = at[1];
    lower->at[COLUMN] = lower->coord[COLUMN] = at[1];
    lower->held[t->a.weighted->id] = (Held){t->acc, {ROW, COLUMN}};
    lower->held[t->a.sum->id] = (Held){t->total, {ROW, -1}};
    lower->held[t->a.max->id] = (Held){t->top, {ROW, -1}};
    lower_stores(lower, op, access_axes(t->nest, t->nest->stores[0].access));
    lower->held[t->a.weighted->id].tile = lower->held[t->a.sum->id].tile =
        lower->held[t->a.max->id].tile = NULL;
}

static Tile *flash_tile(Flash *f, const char *stem, Dtype dtype, TileScope scope, int rows,
                        int columns)
{
    return tile_new(f->t.prog, f->t.lower->grid, lower_name(f->t.lower, stem), dtype, scope, 2,
                    (int[]){rows, columns});
}

static void make_tiles(Flash *f)
{
    Attend *t = &f->t;
    f->q = flash_tile(f, "q", stored_dtype(t->nest, t->a.q), TS_shared, f->bm, f->depth);
    f->k = flash_tile(f, "k", stored_dtype(t->nest, t->a.k), TS_shared, f->bn, f->depth);
    f->v = flash_tile(f, "v", stored_dtype(t->nest, t->a.v), TS_shared, f->bn, f->wide);
    t->scores = flash_tile(f, "s", t->dtype, TS_register, f->bm, f->bn);
    t->acc = flash_tile(f, "acc", t->dtype, TS_register, f->bm, f->wide);
    f->weights = flash_tile(f, "p", f->half ? f->v->dtype : t->dtype,
                            f->half ? TS_register : TS_shared, f->bm, f->bn);
    if (f->half)
        f->rest = flash_tile(f, "pr", f->v->dtype, TS_register, f->bm, f->bn);
    Tile **rows[] = {&t->top, &t->total, &t->refs, &t->decay, &t->best};
    static const char *const stems[] = {"top", "total", "refs", "decay", "best"};
    for (int i = 0; i < 5; i++)
        *rows[i] = flash_tile(f, stems[i], t->dtype, TS_register, f->bm, 1);
}

static bool on_cores(const Nest *nest, const Attention *a, const Caps *caps)
{
    Dtype dtype = stored_dtype(nest, a->q);
    return caps->mma_sync && is_plain(nest, a->q) && is_plain(nest, a->k) && is_plain(nest, a->v) &&
           dtype == a->k->access->buffer->dtype && dtype == a->v->access->buffer->dtype &&
           (dtype == DT_f16 || (dtype == DT_bf16 && caps->sm >= 80));
}

static int round_up(const Expr *extent)
{
    return (int)(extent->value + CORE - 1) / CORE * CORE;
}

/* Bytes of a shared tile: placement may pad rows by 16 bytes. */
static int64_t padded_bytes(Dtype dtype, int rows, int columns)
{
    return dtype_bytes(dtype, (int64_t)rows * columns) + 16 * rows + 128;
}

bool flash_fits(const Nest *nest, const Attention *a, const Caps *caps, const Schedule *schedule)
{
    const int32_t *field = schedule->field;
    int bm = field[SF_bm], bn = field[SF_bn], threads = field[SF_threads];
    int depth = round_up(nest->axes[a->c].extent), wide = round_up(nest->axes[a->n].extent);
    int words = dtype_bits(a->weighted->dtype) / 32;
    bool half = on_cores(nest, a, caps);
    int64_t shared = padded_bytes(stored_dtype(nest, a->q), bm, depth) +
                     (padded_bytes(stored_dtype(nest, a->k), bn, depth) +
                      padded_bytes(stored_dtype(nest, a->v), bn, wide)) *
                         field[SF_stages] +
                     (half ? 0 : padded_bytes(a->weighted->dtype, bm, bn));
    int64_t registers = (int64_t)bm * (bn + wide) * words / threads;
    /* on tensor cores a warp has 16 rows: its weights stay where they are */
    bool warps = !half || (bm % CORE == 0 && bn % CORE == 0 && bm / CORE == threads / 32);
    return warps && !(threads & (threads - 1)) && shared <= caps->shared_bytes &&
           registers <= caps->registers / 2;
}

bool apply_flash(Lower *lower, const Schedule *schedule)
{
    Cx *cx = lower->cx;
    Flash *f = NEW(cx->arena, Flash);
    Attend *t = &f->t;
    if (!attention_begin(t, lower, schedule))
        return false;
    if (!flash_fits(t->nest, &t->a, lower->caps, schedule)) {
        cx_fail(cx, ST_unsupported, "kernel '%s': %d rows by %d keys with %d threads do not fit %s",
                t->nest->name, schedule->field[SF_bm], schedule->field[SF_bn],
                schedule->field[SF_threads], lower->caps->name);
        return false;
    }
    f->half = on_cores(t->nest, &t->a, lower->caps);
    f->bm = schedule->field[SF_bm];
    f->bn = schedule->field[SF_bn];
    f->depth = round_up(t->nest->axes[t->a.c].extent);
    f->wide = round_up(t->nest->axes[t->a.n].extent);
    const Expr *block = attention_grid(t, expr_ceildiv(cx, t->rows, expr_const(cx, f->bm)));
    if (!block)
        return false;
    lower->grid->threads = schedule->field[SF_threads];
    t->chunk_lo = expr_muli(cx, block, f->bm);
    make_tiles(f);
    TileBlock *body = &lower->grid->body;
    fetch(f, body, f->q, t->a.q, t->a.c);
    attend_fill(t, body, t->acc, 0);
    attend_fill(t, body, t->top, -(double)INFINITY);
    attend_fill(t, body, t->total, 0);
    key_loop(f, body);
    finish(f, body);
    return !cx_failed(cx);
}
