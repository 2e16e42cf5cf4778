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
#include "passes/lower_value.h"

#include <math.h>
#include <string.h>

/* Slots beyond the nest's axes in Lower.at and .coord: row and column within the task. */
enum { ROW = MAX_AXES - 1, COLUMN = MAX_AXES - 2 };

enum { MAX_KEYS = 4096, DOT_KEYS = 8 };

static const char *const names[] = {"i", "j", "r"};

typedef struct Attend {
    Lower *lower;
    Cx *cx;
    Nest *nest;
    TileProg *prog;
    const Schedule *schedule;
    Attention a;
    Dtype dtype;
    int m_axes[MAX_AXES], m_count; /* flattened into the row number */
    uint64_t outer_m;              /* M axes that are grid dims */
    const Expr *rows;
    int width, mr, nr, keys; /* lanes; rows, columns of a register tile; keys of a block */
    int wide, c_extent;      /* extent of n, c */
    Tile *dots;              /* [keys]: one row, q and k contiguous along c; else NULL */
    Tile *turned;            /* [c, keys], or NULL: k is read where it lies */
    Tile *scores, *weights;  /* [mr, keys] */
    Tile *acc;               /* [rows of the task, wide] */
    Tile *top, *total;       /* [rows of the task] */
    Tile *refs, *decay, *best, *fresh; /* [mr] */
    const Expr *chunk_lo;              /* first row of the task */
} Attend;

/* ---- small builders */

static Value *through_casts(Value *value)
{
    while (value->op == V_cast)
        value = value->args[0];
    return value;
}

static Access *tile_access(Attend *t, Tile *tile, const Expr *first, const Expr *second)
{
    Access *access = NEW(t->cx->arena, Access);
    const Expr **index = NEW_ARRAY(t->cx->arena, const Expr *, 2);
    index[0] = first;
    index[1] = second;
    *access = (Access){.tile = tile, .rank = second ? 2 : 1, .index = index};
    return access;
}

static Value *get(Attend *t, TileOp *op, Tile *tile, const Expr *first, const Expr *second)
{
    return tile_load(t->prog, op, tile_access(t, tile, first, second));
}

static void put(Attend *t, TileOp *op, const Access *to, Value *value)
{
    tile_store(t->prog, op, to, value);
}

static Value *real(Attend *t, TileOp *op, double value)
{
    return tile_const(t->prog, op, t->dtype, (Scalar){.f = value});
}

static Value *scalar(Attend *t, TileOp *op, ScalarOp s, Value *a, Value *b)
{
    return tile_scalar(t->prog, op, s, a, b, NULL);
}

static TileOp *map(Attend *t, TileBlock *block, int rank, int rows, int columns)
{
    return tile_op(t->prog, block, TO_map, rank, names, (int[]){rows, columns});
}

static Tile *new_tile(Attend *t, const char *stem, TileScope scope, int rows, int columns)
{
    return tile_new(t->prog, t->lower->grid, lower_name(t->lower, stem), t->dtype, scope,
                    columns ? 2 : 1, (int[]){rows, columns});
}

static void fill(Attend *t, TileBlock *block, Tile *tile, double value)
{
    TileOp *op = map(t, block, tile->rank, tile->shape[0], tile->rank > 1 ? tile->shape[1] : 0);
    if (tile->scope == TS_register)
        tile_write(t->prog, op, tile, op->box.coord, real(t, op, value));
    else
        put(t, op, tile_access(t, tile, op->box.coord[0], tile->rank > 1 ? op->box.coord[1] : NULL),
            real(t, op, value));
}

/* ---- a row tile against a block of keys */

typedef struct Part {
    Attend *t;
    const Expr *key, *key_bound; /* first key of the block; NULL or how many there are */
    int keys;                    /* columns of the block in use: multiple of nr */
    const Expr *row, *row_bound; /* first row within the task */
    int mr;
    Tile *reg;          /* register tile at work */
    const Expr *column; /* of it */
} Part;

static void bind_row(const Part *p, TileOp *op)
{
    Attend *t = p->t;
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    lower_split(t->lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, row));
    op->box.bound[0] = p->row_bound;
    t->lower->at[ROW] = row;
    t->lower->coord[ROW] = op->box.coord[0];
}

static const Expr *bound_from(Cx *cx, const Expr *bound, const Expr *start)
{
    return bound ? expr_sub(cx, bound, start) : NULL;
}

static void score_step(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    if (bound)
        size = (int)bound->value; /* the extent of c is known */
    TileOp *op = tile_op(t->prog, block, TO_mma, 3, names, (int[]){p->mr, t->nr, size});
    bind_row(p, op);
    const Expr *at = expr_add(t->cx, p->column, op->box.coord[1]);
    const Expr *c = t->lower->at[t->a.c] = expr_add(t->cx, base, op->box.coord[2]);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, at);
    op->dst = p->reg;
    op->a = lower_value(t->lower, op, t->a.q);
    if (t->turned) {
        op->b = get(t, op, t->turned, c, at);
    } else {
        op->box.bound[1] = bound_from(t->cx, p->key_bound, p->column);
        op->b = lower_value(t->lower, op, t->a.k);
    }
}

/* x of the register tile of dot products, to the scores. A long x (soft capping) is computed in a
 * loop, from memory. */
static void store_scores(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    Held held = {p->reg, {ROW, COLUMN}};
    if (lower_has_transcendental(t->a.x)) {
        held.tile = new_tile(t, "raw", TS_shared, p->mr, t->nr);
        TileOp *op = map(t, block, 2, p->mr, t->nr);
        put(t, op, tile_access(t, held.tile, op->box.coord[0], op->box.coord[1]),
            tile_read(t->prog, op, p->reg, op->box.coord));
    }
    TileOp *op = map(t, block, 2, p->mr, t->nr);
    bind_row(p, op);
    const Expr *at = expr_add(t->cx, p->column, op->box.coord[1]);
    op->box.bound[1] = bound_from(t->cx, p->key_bound, p->column);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, at);
    t->lower->at[ROW] = op->box.coord[0];
    t->lower->coord[COLUMN] = t->lower->at[COLUMN] = op->box.coord[1];
    t->lower->held[t->a.dot->id] = held;
    put(t, op, tile_access(t, t->scores, op->box.coord[0], at), lower_value(t->lower, op, t->a.x));
    t->lower->held[t->a.dot->id].tile = NULL;
}

static void score_tile(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    (void)size, (void)bound; /* keys are a multiple of nr */
    p->column = base;
    p->reg = new_tile(t, "dot", TS_register, p->mr, t->nr);
    fill(t, block, p->reg, 0);
    const Expr *c = expr_const(t->cx, t->c_extent);
    int ku = t->schedule->field[SF_ku];
    lower_boxes(t->lower, block, "c", expr_const(t->cx, 0), c, ku < t->c_extent ? ku : t->c_extent,
                score_step, p);
    store_scores(p, block);
}

/* One row only: turning the keys would cost more than the products. Lanes run over c instead, a few
 * keys at a time, and end in a sum across them. */
static void dot_step(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    TileOp *op = map(t, block, 2, p->reg->shape[0], size);
    lower_split(t->lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, p->row));
    op->box.bound[0] = bound_from(t->cx, p->key_bound, p->column);
    op->box.bound[1] = bound;
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, expr_add(t->cx, p->column, op->box.coord[0]));
    t->lower->at[t->a.c] = expr_add(t->cx, base, op->box.coord[1]);
    Value *q = lower_value(t->lower, op, t->a.q), *k = lower_value(t->lower, op, t->a.k);
    Value *sum = tile_read(t->prog, op, p->reg, op->box.coord);
    tile_write(t->prog, op, p->reg, op->box.coord, tile_scalar(t->prog, op, S_fma, q, k, sum));
}

static void dot_keys(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    const Expr *zero = expr_const(t->cx, 0);
    (void)bound; /* keys are a multiple */
    p->column = base;
    p->reg = new_tile(t, "lanes", TS_register, size, t->width);
    Tile *one = new_tile(t, "one", TS_register, size, 1);
    fill(t, block, p->reg, 0);
    lower_boxes(t->lower, block, "c", zero, expr_const(t->cx, t->c_extent), t->width, dot_step, p);
    tile_reduce(t->prog, block, one, p->reg, 1, M_sum);
    TileOp *op = map(t, block, 2, size, 1);
    put(t, op, tile_access(t, t->dots, expr_add(t->cx, base, op->box.coord[0]), NULL),
        tile_read(t->prog, op, one, op->box.coord));
}

static void dot_scores(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    Lower *lower = t->lower;
    const Expr *zero = expr_const(t->cx, 0);
    lower_boxes(lower, block, "j", zero, expr_const(t->cx, p->keys), DOT_KEYS, dot_keys, p);
    TileOp *op = map(t, block, 2, 1, p->keys);
    bind_row(p, op);
    op->box.bound[1] = p->key_bound;
    lower->at[t->a.l] = expr_add(t->cx, p->key, op->box.coord[1]);
    lower->at[COLUMN] = op->box.coord[1];
    lower->held[t->a.dot->id] = (Held){t->dots, {COLUMN}};
    put(t, op, tile_access(t, t->scores, op->box.coord[0], op->box.coord[1]),
        lower_value(lower, op, t->a.x));
    lower->held[t->a.dot->id].tile = NULL;
}

/* Registers of one vector a row, combined over the block's columns; then across lanes to `to`. */
static void row_statistic(Part *p, TileBlock *block, Monoid monoid, Tile *to)
{
    Attend *t = p->t;
    Tile *lanes = new_tile(t, "lanes", TS_register, p->mr, t->width);
    Tile *one = new_tile(t, "one", TS_register, p->mr, 1);
    const Expr *var, *zero = expr_const(t->cx, 0);
    fill(t, block, lanes, monoid_identity(monoid, t->dtype).f);
    TileBlock *loop = tile_for(t->prog, block, lower_name(t->lower, "j"), zero,
                               expr_const(t->cx, p->keys), t->width, &var);
    TileOp *op = map(t, loop, 2, p->mr, t->width);
    const Expr *i = op->box.coord[0], *j = expr_add(t->cx, var, op->box.coord[1]);
    Value *x = get(t, op, t->scores, i, j);
    if (monoid == M_sum) {
        x = scalar(t, op, S_exp, scalar(t, op, S_sub, x, get(t, op, t->refs, i, NULL)), NULL);
        put(t, op, tile_access(t, t->weights, i, j), x);
    }
    Value *old = tile_read(t->prog, op, lanes, op->box.coord);
    tile_write(t->prog, op, lanes, op->box.coord, scalar(t, op, monoid_combine(monoid), old, x));
    tile_reduce(t->prog, block, one, lanes, 1, monoid);
    op = map(t, block, 2, p->mr, 1);
    put(t, op, tile_access(t, to, op->box.coord[0], NULL),
        tile_read(t->prog, op, one, op->box.coord));
}

/* fresh -> the task's tile, at this row tile */
static void keep_fresh(Part *p, TileBlock *block, Tile *to)
{
    Attend *t = p->t;
    TileOp *op = map(t, block, 1, p->mr, 0);
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    put(t, op, tile_access(t, to, row, NULL), get(t, op, t->fresh, op->box.coord[0], NULL));
}

static void update_top(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    row_statistic(p, block, M_max, t->best);
    TileOp *op = map(t, block, 1, p->mr, 0);
    const Expr *i = op->box.coord[0];
    Value *old = get(t, op, t->top, expr_add(t->cx, p->row, i), NULL);
    Value *now = scalar(t, op, S_max, old, get(t, op, t->best, i, NULL));
    Value *none = scalar(t, op, S_eq, now, real(t, op, -(double)INFINITY));
    Value *ref = tile_scalar(t->prog, op, S_select, none, real(t, op, 0), now);
    put(t, op, tile_access(t, t->fresh, i, NULL), now);
    put(t, op, tile_access(t, t->refs, i, NULL), ref);
    put(t, op, tile_access(t, t->decay, i, NULL),
        scalar(t, op, S_exp, scalar(t, op, S_sub, old, ref), NULL));
    keep_fresh(p, block, t->top);
}

static void update_total(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    row_statistic(p, block, M_sum, t->best);
    TileOp *op = map(t, block, 1, p->mr, 0);
    const Expr *i = op->box.coord[0];
    Value *old = get(t, op, t->total, expr_add(t->cx, p->row, i), NULL);
    Value *decay = get(t, op, t->decay, i, NULL), *sum = get(t, op, t->best, i, NULL);
    put(t, op, tile_access(t, t->fresh, i, NULL),
        tile_scalar(t->prog, op, S_fma, old, decay, sum));
    keep_fresh(p, block, t->total);
}

static void value_step(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    if (bound && bound->kind == EX_const) {
        size = (int)bound->value;
        bound = NULL;
    }
    TileOp *op = tile_op(t->prog, block, TO_mma, 3, names, (int[]){p->mr, p->reg->shape[1], size});
    const Expr *r = expr_add(t->cx, base, op->box.coord[2]);
    const Expr *column = expr_add(t->cx, p->column, op->box.coord[1]);
    op->box.bound[2] = bound;
    if (p->reg->shape[1] % t->width || t->wide % t->width)
        op->box.bound[1] = expr_sub(t->cx, expr_const(t->cx, t->wide), p->column);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, r);
    t->lower->at[t->a.n] = column;
    op->dst = p->reg;
    op->a = get(t, op, t->weights, op->box.coord[0], r);
    op->b = lower_value(t->lower, op, t->a.v);
}

/* acc * decay + weights * v, for columns of the result. */
static void value_tile(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    if (bound)
        size = ((int)bound->value + t->width - 1) / t->width * t->width;
    p->column = base;
    p->reg = new_tile(t, "sum", TS_register, p->mr, size);
    TileOp *op = map(t, block, 2, p->mr, size);
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    const Expr *at[2] = {row, expr_add(t->cx, base, op->box.coord[1])};
    Value *acc = get(t, op, t->acc, at[0], at[1]);
    Value *decay = get(t, op, t->decay, op->box.coord[0], NULL);
    tile_write(t->prog, op, p->reg, op->box.coord, scalar(t, op, S_mul, acc, decay));
    const Expr *keys = p->key_bound ? p->key_bound : expr_const(t->cx, p->keys);
    lower_boxes(t->lower, block, "l", expr_const(t->cx, 0), keys, t->schedule->field[SF_ku],
                value_step, p);
    op = map(t, block, 2, p->mr, size);
    at[0] = expr_add(t->cx, p->row, op->box.coord[0]);
    at[1] = expr_add(t->cx, base, op->box.coord[1]);
    put(t, op, tile_access(t, t->acc, at[0], at[1]), tile_read(t->prog, op, p->reg, op->box.coord));
}

static void row_tile(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    Lower *lower = t->lower;
    const Expr *zero = expr_const(t->cx, 0);
    if (p->key_bound || p->row_bound)
        fill(t, block, t->scores, -(double)INFINITY);
    if (t->dots)
        dot_scores(p, block);
    else
        lower_boxes(lower, block, "j", zero, expr_const(t->cx, p->keys), t->nr, score_tile, p);
    update_top(p, block);
    update_total(p, block);
    lower_boxes(lower, block, "n", zero, expr_const(t->cx, t->wide), t->nr, value_tile, p);
}

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
    row_tile(&p, block);
}

static void turn_keys(Block *b, TileBlock *block)
{
    Attend *t = b->t;
    TileOp *op = map(t, block, 2, t->c_extent, b->keys);
    op->box.bound[1] = b->bound;
    t->lower->at[t->a.c] = op->box.coord[0];
    t->lower->at[t->a.l] = expr_add(t->cx, b->key, op->box.coord[1]);
    put(t, op, tile_access(t, t->turned, op->box.coord[0], op->box.coord[1]),
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
    TileOp *op = map(t, block, 2, mr, t->wide);
    bind_row(&p, op);
    lower->at[t->a.n] = lower->at[COLUMN] = op->box.coord[1];
    lower->held[t->a.weighted->id] = (Held){t->acc, {ROW, COLUMN}};
    lower->held[t->a.sum->id] = (Held){t->total, {ROW}};
    lower->held[t->a.max->id] = (Held){t->top, {ROW}};
    lower_stores(lower, op, access_axes(t->nest, t->nest->stores[0].access));
    lower->held[t->a.weighted->id].tile = lower->held[t->a.sum->id].tile =
        lower->held[t->a.max->id].tile = NULL;
}

/* Keys that some row of the chunk may see. */
static const Expr *key_end(Attend *t, int chunk_rows)
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
        t->dots = new_tile(t, "dots", TS_shared, t->keys, 0);
    else if (!runs_along(t, t->a.k, t->a.l))
        t->turned = new_tile(t, "turned", TS_shared, t->c_extent, t->keys);
    t->scores = new_tile(t, "scores", TS_shared, t->mr, t->keys);
    t->weights = new_tile(t, "weights", TS_shared, t->mr, t->keys);
    t->acc = new_tile(t, "acc", TS_shared, chunk_rows, wide);
    t->top = new_tile(t, "top", TS_shared, chunk_rows, 0);
    t->total = new_tile(t, "total", TS_shared, chunk_rows, 0);
    t->refs = new_tile(t, "refs", TS_shared, t->mr, 0);
    t->decay = new_tile(t, "decay", TS_shared, t->mr, 0);
    t->best = new_tile(t, "best", TS_shared, t->mr, 0);
    t->fresh = new_tile(t, "fresh", TS_shared, t->mr, 0);
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
    fill(t, block, t->acc, 0);
    fill(t, block, t->top, -(double)INFINITY);
    fill(t, block, t->total, 0);
    Block b = {.t = t, .chunk = chunk};
    lower_boxes(t->lower, block, "keys", expr_const(cx, 0), key_end(t, chunk_rows), t->keys,
                key_block, &b);
    for_rows(t, block, chunk, finish_rows, &b);
}

bool apply_attention(Lower *lower, const Schedule *schedule)
{
    Cx *cx = lower->cx;
    Nest *nest = lower->nest;
    Attend *t = NEW(cx->arena, Attend);
    *t = (Attend){.lower = lower,
                  .cx = cx,
                  .nest = nest,
                  .prog = lower->prog,
                  .schedule = schedule,
                  .a = nest_attention(cx, nest)};
    if (!t->a.has || nest->axis_count > COLUMN) {
        cx_fail(cx, ST_unsupported, "kernel '%s' is no attention", nest->name);
        return false;
    }
    t->dtype = t->a.weighted->dtype;
    t->wide = (int)nest->axes[t->a.n].extent->value;
    t->c_extent = (int)nest->axes[t->a.c].extent->value;
    t->width = lower->caps->vector_bits ? lower->caps->vector_bits / dtype_bits(t->dtype) : 4;
    flatten_rows(t);
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
    const char *grid_names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int axes[MAX_GRID], rank = 0, mt = chunk_tiles(t);
    for (int i = 0; i < nest->axis_count; i++) {
        if (!((t->a.batch | t->outer_m) >> i & 1))
            continue;
        if (rank == MAX_GRID - 1) {
            cx_fail(cx, ST_unsupported, "kernel '%s': more than %d batch axes", nest->name,
                    MAX_GRID - 1);
            return false;
        }
        axes[rank] = i;
        grid_names[rank] = lower_name(lower, nest->axes[i].sym->name);
        extents[rank++] = nest->axes[i].extent;
    }
    int64_t full = t->rows->kind == EX_const ? t->rows->value / t->mr : 0;
    grid_names[rank] = lower_name(lower, "mb");
    extents[rank] = t->rows->kind == EX_const
                        ? expr_const(cx, full ? full / mt : 1)
                        : expr_ceildiv(cx, t->rows, expr_const(cx, (int64_t)mt * t->mr));
    Grid *grid = lower->grid = tile_grid(lower->prog, rank + 1, grid_names, extents);
    for (int i = 0; i < rank; i++)
        lower->at[axes[i]] = grid->ids[i];
    task(t, &grid->body, grid->ids[rank], mt);
    return !cx_failed(cx);
}
