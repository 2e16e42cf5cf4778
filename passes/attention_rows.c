/* The attention skeleton, one row tile against one block of keys: scores, the statistics of their
 * rows, weights, and the weighted sum of values (sched_attention.c has the picture). */
#include "passes/attention.h"

const char *const attention_names[3] = {"i", "j", "r"};

void attention_bind_row(const Part *p, TileOp *op)
{
    Attend *t = p->t;
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    lower_split(t->lower, t->m_axes, t->m_count, expr_add(t->cx, t->chunk_lo, row));
    op->box.bound[0] = p->row_bound;
    t->lower->at[ROW] = row;
    t->lower->coord[ROW] = op->box.coord[0];
}

/* ---- a row tile against a block of keys */

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
    TileOp *op = tile_op(t->prog, block, TO_mma, 3, attention_names, (int[]){p->mr, t->nr, size});
    attention_bind_row(p, op);
    const Expr *at = expr_add(t->cx, p->column, op->box.coord[1]);
    const Expr *c = t->lower->at[t->a.c] = expr_add(t->cx, base, op->box.coord[2]);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, at);
    op->dst = p->reg;
    op->a = lower_value(t->lower, op, t->a.q);
    if (t->turned) {
        op->b = attend_get(t, op, t->turned, c, at);
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
        held.tile = attend_tile(t, "raw", TS_shared, p->mr, t->nr);
        TileOp *op = attend_map(t, block, 2, p->mr, t->nr);
        attend_put(t, op, attend_access(t, held.tile, op->box.coord[0], op->box.coord[1]),
                   tile_read(t->prog, op, p->reg, op->box.coord));
    }
    TileOp *op = attend_map(t, block, 2, p->mr, t->nr);
    attention_bind_row(p, op);
    const Expr *at = expr_add(t->cx, p->column, op->box.coord[1]);
    op->box.bound[1] = bound_from(t->cx, p->key_bound, p->column);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, at);
    t->lower->at[ROW] = op->box.coord[0];
    t->lower->coord[COLUMN] = t->lower->at[COLUMN] = op->box.coord[1];
    t->lower->held[t->a.dot->id] = held;
    attend_put(t, op, attend_access(t, t->scores, op->box.coord[0], at),
               lower_value(t->lower, op, t->a.x));
    t->lower->held[t->a.dot->id].tile = NULL;
}

static void score_tile(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    Part *p = user;
    Attend *t = p->t;
    (void)size, (void)bound; /* keys are a multiple of nr */
    p->column = base;
    p->reg = attend_tile(t, "dot", TS_register, p->mr, t->nr);
    attend_fill(t, block, p->reg, 0);
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
    TileOp *op = attend_map(t, block, 2, p->reg->shape[0], size);
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
    p->reg = attend_tile(t, "lanes", TS_register, size, t->width);
    Tile *one = attend_tile(t, "one", TS_register, size, 1);
    attend_fill(t, block, p->reg, 0);
    lower_boxes(t->lower, block, "c", zero, expr_const(t->cx, t->c_extent), t->width, dot_step, p);
    tile_reduce(t->prog, block, one, p->reg, 1, M_sum);
    TileOp *op = attend_map(t, block, 2, size, 1);
    attend_put(t, op, attend_access(t, t->dots, expr_add(t->cx, base, op->box.coord[0]), NULL),
               tile_read(t->prog, op, one, op->box.coord));
}

static void dot_scores(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    Lower *lower = t->lower;
    const Expr *zero = expr_const(t->cx, 0);
    lower_boxes(lower, block, "j", zero, expr_const(t->cx, p->keys), DOT_KEYS, dot_keys, p);
    TileOp *op = attend_map(t, block, 2, 1, p->keys);
    attention_bind_row(p, op);
    op->box.bound[1] = p->key_bound;
    lower->at[t->a.l] = expr_add(t->cx, p->key, op->box.coord[1]);
    lower->at[COLUMN] = op->box.coord[1];
    lower->held[t->a.dot->id] = (Held){t->dots, {COLUMN}};
    attend_put(t, op, attend_access(t, t->scores, op->box.coord[0], op->box.coord[1]),
               lower_value(lower, op, t->a.x));
    lower->held[t->a.dot->id].tile = NULL;
}

/* Registers of one vector a row, combined over the block's columns; then across lanes to `to`. */
static void row_statistic(Part *p, TileBlock *block, Monoid monoid, Tile *to)
{
    Attend *t = p->t;
    Tile *lanes = attend_tile(t, "lanes", TS_register, p->mr, t->width);
    Tile *one = attend_tile(t, "one", TS_register, p->mr, 1);
    const Expr *var, *zero = expr_const(t->cx, 0);
    attend_fill(t, block, lanes, monoid_identity(monoid, t->dtype).f);
    TileBlock *loop = tile_for(t->prog, block, lower_name(t->lower, "j"), zero,
                               expr_const(t->cx, p->keys), t->width, &var);
    TileOp *op = attend_map(t, loop, 2, p->mr, t->width);
    const Expr *i = op->box.coord[0], *j = expr_add(t->cx, var, op->box.coord[1]);
    Value *x = attend_get(t, op, t->scores, i, j);
    if (monoid == M_sum) {
        x = attend_scalar(t, op, S_exp,
                          attend_scalar(t, op, S_sub, x, attend_get(t, op, t->refs, i, NULL)),
                          NULL);
        attend_put(t, op, attend_access(t, t->weights, i, j), x);
    }
    Value *old = tile_read(t->prog, op, lanes, op->box.coord);
    tile_write(t->prog, op, lanes, op->box.coord,
               attend_scalar(t, op, monoid_combine(monoid), old, x));
    tile_reduce(t->prog, block, one, lanes, 1, monoid);
    op = attend_map(t, block, 2, p->mr, 1);
    attend_put(t, op, attend_access(t, to, op->box.coord[0], NULL),
               tile_read(t->prog, op, one, op->box.coord));
}

/* fresh -> the task's tile, at this row tile */
static void keep_fresh(Part *p, TileBlock *block, Tile *to)
{
    Attend *t = p->t;
    TileOp *op = attend_map(t, block, 1, p->mr, 0);
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    attend_put(t, op, attend_access(t, to, row, NULL),
               attend_get(t, op, t->fresh, op->box.coord[0], NULL));
}

static void update_top(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    row_statistic(p, block, M_max, t->best);
    TileOp *op = attend_map(t, block, 1, p->mr, 0);
    const Expr *i = op->box.coord[0];
    Value *old = attend_get(t, op, t->top, expr_add(t->cx, p->row, i), NULL);
    Value *now = attend_scalar(t, op, S_max, old, attend_get(t, op, t->best, i, NULL));
    Value *none = attend_scalar(t, op, S_eq, now, attend_real(t, op, -(double)INFINITY));
    Value *ref = tile_scalar(t->prog, op, S_select, none, attend_real(t, op, 0), now);
    attend_put(t, op, attend_access(t, t->fresh, i, NULL), now);
    attend_put(t, op, attend_access(t, t->refs, i, NULL), ref);
    attend_put(t, op, attend_access(t, t->decay, i, NULL),
               attend_scalar(t, op, S_exp, attend_scalar(t, op, S_sub, old, ref), NULL));
    keep_fresh(p, block, t->top);
}

static void update_total(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    row_statistic(p, block, M_sum, t->best);
    TileOp *op = attend_map(t, block, 1, p->mr, 0);
    const Expr *i = op->box.coord[0];
    Value *old = attend_get(t, op, t->total, expr_add(t->cx, p->row, i), NULL);
    Value *decay = attend_get(t, op, t->decay, i, NULL), *sum = attend_get(t, op, t->best, i, NULL);
    attend_put(t, op, attend_access(t, t->fresh, i, NULL),
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
    TileOp *op =
        tile_op(t->prog, block, TO_mma, 3, attention_names, (int[]){p->mr, p->reg->shape[1], size});
    const Expr *r = expr_add(t->cx, base, op->box.coord[2]);
    const Expr *column = expr_add(t->cx, p->column, op->box.coord[1]);
    op->box.bound[2] = bound;
    if (p->reg->shape[1] % t->width || t->wide % t->width)
        op->box.bound[1] = expr_sub(t->cx, expr_const(t->cx, t->wide), p->column);
    t->lower->at[t->a.l] = expr_add(t->cx, p->key, r);
    t->lower->at[t->a.n] = column;
    op->dst = p->reg;
    op->a = attend_get(t, op, t->weights, op->box.coord[0], r);
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
    p->reg = attend_tile(t, "sum", TS_register, p->mr, size);
    TileOp *op = attend_map(t, block, 2, p->mr, size);
    const Expr *row = expr_add(t->cx, p->row, op->box.coord[0]);
    const Expr *at[2] = {row, expr_add(t->cx, base, op->box.coord[1])};
    Value *acc = attend_get(t, op, t->acc, at[0], at[1]);
    Value *decay = attend_get(t, op, t->decay, op->box.coord[0], NULL);
    tile_write(t->prog, op, p->reg, op->box.coord, attend_scalar(t, op, S_mul, acc, decay));
    const Expr *keys = p->key_bound ? p->key_bound : expr_const(t->cx, p->keys);
    lower_boxes(t->lower, block, "l", expr_const(t->cx, 0), keys, t->schedule->field[SF_ku],
                value_step, p);
    op = attend_map(t, block, 2, p->mr, size);
    at[0] = expr_add(t->cx, p->row, op->box.coord[0]);
    at[1] = expr_add(t->cx, base, op->box.coord[1]);
    attend_put(t, op, attend_access(t, t->acc, at[0], at[1]),
               tile_read(t->prog, op, p->reg, op->box.coord));
}

void attention_row_tile(Part *p, TileBlock *block)
{
    Attend *t = p->t;
    Lower *lower = t->lower;
    const Expr *zero = expr_const(t->cx, 0);
    if (p->key_bound || p->row_bound)
        attend_fill(t, block, t->scores, -(double)INFINITY);
    if (t->dots)
        dot_scores(p, block);
    else
        lower_boxes(lower, block, "j", zero, expr_const(t->cx, p->keys), t->nr, score_tile, p);
    update_top(p, block);
    update_total(p, block);
    lower_boxes(lower, block, "n", zero, expr_const(t->cx, t->wide), t->nr, value_tile, p);
}
