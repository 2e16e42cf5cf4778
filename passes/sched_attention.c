/* The attention skeleton: softmax(scores) times values without the scores in memory.
 *
 *   y[b, m, n] = epilogue(sum over l of e * v[b, l, n], sum over l of e),  e = exp(x - max over l
 * of x), x[b, m, l] = function of sum over c of q[b, m, c] * k[b, l, c]
 *
 * (max, sum, accumulator) is a monoid over blocks of keys: to add a block, the old sum and
 * accumulator are multiplied by exp(old max - new max) (Milakov and Gimelshein, arXiv 1805.02867;
 * Dao et al., arXiv 2205.14135). So a task takes a chunk of rows and goes over the keys once:
 *
 *   for blocks of keys:
 *     keys of the block, turned, in the cache              [c, keys]
 *     for row tiles of the chunk:
 *       scores   mma, then x                               [mr, keys]  L1
 *       top, refs, decay = exp(old top - refs)             [mr]
 *       weights  exp(x - refs), and their sums             [mr, keys]  L1
 *       acc      acc * decay + weights * v: mma            [rows, n]
 *   epilogue and stores
 *
 * A mask `select(l <= f(m), x, -inf)` ends the loop over keys at the last key that a row of the
 * chunk may see.
 *
 * Requirements for editors:
 * 1. A row without any key so far has top -inf: refs is 0 then, so that exp gives 0 and not NaN. A
 *    row that never sees one gives 0 / 0 as the plain form does.
 * 2. Keys beyond the bound have the score -inf; their values are never read.
 * 3. Rows beyond a bound hold garbage and are never stored. */
#include "passes/attention.h"

enum { MAX_KEYS = 4096 };

/* ---- a task */

typedef void RowBody(void *user, TileBlock *block, const Expr *row, int mr, const Expr *bound);

/* Row tiles of the chunk: `first` is the chunk's first row. Known remainders get a tile of their
 * own shape in the last chunk; others a bound. */
static void for_rows(Attend *t, TileBlock *block, const Expr *chunk, RowBody *body, void *user)
{
    Cx *cx = t->cx;
    int mt = t->acc->shape[0] / t->mr; /* one more than the loop's when there is a remainder */
    const Expr *var, *zero = expr_const(cx, 0);
    if (t->rows->kind != EX_const) {
        TileBlock *loop =
            tile_for(t->prog, block, lower_name(t->lower, "m"), zero, expr_const(cx, mt), 1, &var);
        const Expr *row = expr_muli(cx, var, t->mr);
        const Expr *left = expr_sub(cx, t->rows, expr_add(cx, t->chunk_lo, row));
        Guard whole = {left, expr_const(cx, t->mr), expr_addi(cx, t->rows, 1)};
        TileOp *test = tile_if(t->prog, loop, &whole, 1);
        body(user, test->body, row, t->mr, NULL);
        Guard some = {left, expr_const(cx, 1), expr_const(cx, t->mr)};
        body(user, tile_if(t->prog, loop, &some, 1)->body, row, t->mr, left);
        return;
    }
    int64_t full = t->rows->value / t->mr, rest = t->rows->value % t->mr;
    mt -= rest && full;
    if (full) {
        TileBlock *loop = mt == 1 ? block
                                  : tile_for(t->prog, block, lower_name(t->lower, "m"), zero,
                                             expr_const(cx, mt), 1, &var);
        body(user, loop, mt == 1 ? zero : expr_muli(cx, var, t->mr), t->mr, NULL);
    }
    if (!rest)
        return;
    Guard last = {chunk, expr_const(cx, full / mt - 1), expr_const(cx, full / mt)};
    if (full > mt)
        block = tile_if(t->prog, block, &last, 1)->body;
    body(user, block, expr_const(cx, full ? mt * t->mr : 0), (int)rest, NULL);
}

typedef struct Block {
    Attend *t;
    const Expr *chunk, *key, *bound;
    int keys;
} Block;

static void block_rows(void *user, TileBlock *block, const Expr *row, int mr, const Expr *bound)
{
    Block *b = user;
    Part p = {.t = b->t,
              .key = b->key,
              .key_bound = b->bound,
              .keys = b->keys,
              .row = row,
              .row_bound = bound,
              .mr = mr};
    attention_row_tile(&p, block);
}

static void turn_keys(Block *b, TileBlock *block)
{
    Attend *t = b->t;
    TileOp *op = attend_map(t, block, 2, t->c_extent, b->keys);
    op->box.bound[1] = b->bound;
    t->lower->at[t->a.c] = op->box.coord[0];
    t->lower->at[t->a.l] = expr_add(t->cx, b->key, op->box.coord[1]);
    attend_put(t, op, attend_access(t, t->turned, op->box.coord[0], op->box.coord[1]),
               lower_value(t->lower, op, t->a.k));
}

static void key_block(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Block *b = user;
    Attend *t = b->t;
    b->key = base;
    b->keys = size;
    if (bound && bound->kind == EX_const) {
        b->keys = ((int)bound->value + t->nr - 1) / t->nr * t->nr;
        bound = bound->value == b->keys ? NULL : bound;
    }
    b->bound = bound;
    if (t->turned)
        turn_keys(b, block);
    for_rows(t, block, b->chunk, block_rows, b);
}

static void finish_rows(void *user, TileBlock *block, const Expr *row, int mr, const Expr *bound)
{
    Block *b = user;
    Attend *t = b->t;
    Lower *lower = t->lower;
    Part p = {.t = t, .row = row, .row_bound = bound, .mr = mr};
    TileOp *op = attend_map(t, block, 2, mr, t->wide);
    attention_bind_row(&p, op);
    lower->at[t->a.n] = lower->at[COLUMN] = op->box.coord[1];
    lower->held[t->a.weighted->id] = (Held){t->acc, {ROW, COLUMN}};
    lower->held[t->a.sum->id] = (Held){t->total, {ROW}};
    lower->held[t->a.max->id] = (Held){t->top, {ROW}};
    lower_stores(lower, op, access_axes(t->nest, t->nest->stores[0].access));
    lower->held[t->a.weighted->id].tile = lower->held[t->a.sum->id].tile =
        lower->held[t->a.max->id].tile = NULL;
}

const Expr *attention_key_end(Attend *t, int chunk_rows)
{
    Cx *cx = t->cx;
    const Expr *keys = t->nest->axes[t->a.l].extent;
    if (!t->a.last || t->m_count != 1)
        return keys;
    int64_t step;
    const Expr *rest, *sym = t->nest->axes[t->m_axes[0]].sym;
    if (!expr_linear(cx, t->a.last, sym, &step, &rest) || step < 0)
        return keys;
    t->lower->at[t->m_axes[0]] =
        expr_min(cx, expr_addi(cx, t->chunk_lo, chunk_rows - 1), expr_addi(cx, t->rows, -1));
    const Expr *end = expr_addi(cx, lower_expr(t->lower, t->a.last), 1);
    return expr_min(cx, keys, end->lo < 0 ? expr_max(cx, end, expr_const(cx, 0)) : end);
}

static Value *through_casts(Value *value)
{
    while (value->op == V_cast)
        value = value->args[0];
    return value;
}

/* A load, perhaps cast, that is contiguous along `axis`. */
static bool runs_along(const Attend *t, Value *value, int axis)
{
    const Value *load = through_casts(value);
    uint64_t axes = 1ull << t->a.l | 1ull << t->a.c;
    return load->op == V_load && access_unit_axis(t->cx, t->nest, load->access, axes) == axis;
}

static void make_tiles(Attend *t, int chunk_rows)
{
    bool one_row = t->rows->hi <= 1 && runs_along(t, t->a.q, t->a.c) &&
                   runs_along(t, t->a.k, t->a.c) && t->nr % DOT_KEYS == 0;
    int wide = (t->wide + t->width - 1) / t->width * t->width;
    if (one_row)
        t->dots = attend_tile(t, "dots", TS_shared, t->keys, 0);
    else if (!runs_along(t, t->a.k, t->a.l))
        t->turned = attend_tile(t, "turned", TS_shared, t->c_extent, t->keys);
    t->scores = attend_tile(t, "scores", TS_shared, t->mr, t->keys);
    t->weights = attend_tile(t, "weights", TS_shared, t->mr, t->keys);
    t->acc = attend_tile(t, "acc", TS_shared, chunk_rows, wide);
    t->top = attend_tile(t, "top", TS_shared, chunk_rows, 0);
    t->total = attend_tile(t, "total", TS_shared, chunk_rows, 0);
    t->refs = attend_tile(t, "refs", TS_shared, t->mr, 0);
    t->decay = attend_tile(t, "decay", TS_shared, t->mr, 0);
    t->best = attend_tile(t, "best", TS_shared, t->mr, 0);
    t->fresh = attend_tile(t, "fresh", TS_shared, t->mr, 0);
}

/* Only rows of known extents, or of one axis, are flattened, and of one when its position bounds
 * the keys; the outer ones become grid dims. */
static void flatten_rows(Attend *t)
{
    bool known = !t->a.last;
    int last = -1;
    t->rows = expr_const(t->cx, 1);
    for (int i = 0; i < t->nest->axis_count; i++)
        if (t->a.m >> i & 1) {
            known &= t->nest->axes[i].extent->kind == EX_const;
            last = i;
        }
    for (int i = 0; i < t->nest->axis_count; i++) {
        if (!(t->a.m >> i & 1))
            continue;
        if (!known && i != last) {
            t->outer_m |= 1ull << i;
            continue;
        }
        t->m_axes[t->m_count++] = i;
        t->rows = expr_mul(t->cx, t->rows, t->nest->axes[i].extent);
    }
}

static bool fits(const Attend *t)
{
    int nv = t->schedule->field[SF_nv], least = t->mr < nv ? t->mr : nv;
    const Caps *caps = t->lower->caps;
    return t->keys <= MAX_KEYS && (!caps->vector_bits || t->mr * nv + least <= caps->registers);
}

/* Row tiles in a task's loop: divides the number of full ones when that is known. */
static int chunk_tiles(const Attend *t)
{
    int64_t mt = t->schedule->field[SF_mt];
    if (t->rows->kind != EX_const)
        return (int)mt;
    int64_t full = t->rows->value / t->mr;
    mt = full < 1 ? 1 : mt > full ? full : mt;
    while (full > 1 && full % mt)
        mt--;
    return (int)mt;
}

static void task(Attend *t, TileBlock *block, const Expr *chunk, int mt)
{
    Cx *cx = t->cx;
    bool rest = t->rows->kind == EX_const && t->rows->value > t->mr && t->rows->value % t->mr;
    int chunk_rows = (mt + rest) * t->mr;
    t->chunk_lo = expr_muli(cx, chunk, (int64_t)mt * t->mr);
    make_tiles(t, chunk_rows);
    attend_fill(t, block, t->acc, 0);
    attend_fill(t, block, t->top, -(double)INFINITY);
    attend_fill(t, block, t->total, 0);
    Block b = {.t = t, .chunk = chunk};
    lower_boxes(t->lower, block, "keys", expr_const(cx, 0), attention_key_end(t, chunk_rows),
                t->keys, key_block, &b);
    for_rows(t, block, chunk, finish_rows, &b);
}

bool attention_begin(Attend *t, Lower *lower, const Schedule *schedule)
{
    Nest *nest = lower->nest;
    *t = (Attend){.lower = lower,
                  .cx = lower->cx,
                  .nest = nest,
                  .prog = lower->prog,
                  .schedule = schedule,
                  .a = nest_attention(lower->cx, nest)};
    if (!t->a.has || nest->axis_count > COLUMN) {
        cx_fail(t->cx, ST_unsupported, "kernel '%s' is no attention", nest->name);
        return false;
    }
    t->dtype = t->a.weighted->dtype;
    t->wide = (int)nest->axes[t->a.n].extent->value;
    t->c_extent = (int)nest->axes[t->a.c].extent->value;
    flatten_rows(t);
    return true;
}

const Expr *attention_grid(Attend *t, const Expr *row_blocks)
{
    const Nest *nest = t->nest;
    Lower *lower = t->lower;
    const char *grid_names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0;
    for (int i = 0; i < nest->axis_count; i++) {
        if (!((t->a.batch | t->outer_m) >> i & 1))
            continue;
        if (rank == MAX_GRID - 1) {
            cx_fail(t->cx, ST_unsupported, "kernel '%s': more than %d batch axes", nest->name,
                    MAX_GRID - 1);
            return NULL;
        }
        axes[rank] = i;
        grid_names[rank] = lower_name(lower, nest->axes[i].sym->name);
        extents[rank++] = nest->axes[i].extent;
    }
    grid_names[rank] = lower_name(lower, "mb");
    extents[rank] = row_blocks;
    Grid *grid = lower->grid = tile_grid(lower->prog, rank + 1, grid_names, extents);
    for (int i = 0; i < rank; i++)
        lower->at[axes[i]] = grid->ids[i];
    return grid->ids[rank];
}

bool apply_attention(Lower *lower, const Schedule *schedule)
{
    Cx *cx = lower->cx;
    Attend *t = NEW(cx->arena, Attend);
    if (!attention_begin(t, lower, schedule))
        return false;
    t->width = lower->caps->vector_bits ? lower->caps->vector_bits / dtype_bits(t->dtype) : 4;
    t->mr = schedule->field[SF_mr];
    if (t->rows->hi < t->mr)
        t->mr = t->rows->hi < 1 ? 1 : (int)t->rows->hi;
    t->nr = t->width * schedule->field[SF_nv];
    t->keys = t->nr * schedule->field[SF_keys];
    if (!fits(t)) {
        cx_fail(cx, ST_unsupported, "%s has too few registers, or a block too many keys",
                lower->caps->name);
        return false;
    }
    int mt = chunk_tiles(t);
    int64_t full = t->rows->kind == EX_const ? t->rows->value / t->mr : 0;
    const Expr *chunk =
        attention_grid(t, t->rows->kind == EX_const
                              ? expr_const(cx, full ? full / mt : 1)
                              : expr_ceildiv(cx, t->rows, expr_const(cx, (int64_t)mt * t->mr)));
    if (chunk)
        task(t, &lower->grid->body, chunk, mt);
    return !cx_failed(cx);
}
