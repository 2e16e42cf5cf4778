/* Inside the attention skeleton: what its files share. sched_attention.c opens with the picture.
 *
 *   sched_flash.c       the same for blocks of threads on GPUs
 *   sched_attention.c   grid, tasks, blocks of keys      attention_rows.c   a row tile against a
 * block
 */
#ifndef QUERN_PASSES_ATTENTION_H
#define QUERN_PASSES_ATTENTION_H

#include <math.h>

#include "passes/lower_value.h"

/* Slots beyond the nest's axes in Lower.at and .coord: row and column within the task. */
enum { ROW = MAX_AXES - 1, COLUMN = MAX_AXES - 2 };

enum { DOT_KEYS = 8 }; /* keys whose products with one row are in registers together */

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

/* A row tile of the task against a block of keys. */
typedef struct Part {
    Attend *t;
    const Expr *key, *key_bound; /* first key of the block; NULL or how many there are */
    int keys;                    /* columns of the block in use: multiple of nr */
    const Expr *row, *row_bound; /* first row within the task */
    int mr;
    Tile *reg;          /* register tile at work */
    const Expr *column; /* of it */
} Part;

/* The axes of rows at the rows of `op`, whose first coordinate runs over the row tile; its bound.
 */
void attention_bind_row(const Part *p, TileOp *op);
/* Scores, statistics, and what the block adds to the accumulator. */
void attention_row_tile(Part *p, TileBlock *block);

/* Recognises the attention and sets what does not depend on a schedule; false after a failure. */
bool attention_begin(Attend *t, Lower *lower, const Schedule *schedule);
/* The grid: batch axes and outer rows, then blocks of rows, whose number comes back; NULL after a
 * failure. */
const Expr *attention_grid(Attend *t, const Expr *row_blocks);
/* Keys that some row of the chunk at chunk_lo may see. */
const Expr *attention_key_end(Attend *t, int chunk_rows);

/* ---- small builders */

extern const char *const attention_names[3];

/* Recognises the attention and sets what does not depend on a schedule; false after a failure. */
bool attention_begin(Attend *t, Lower *lower, const Schedule *schedule);
/* The grid: batch axes and outer rows, then blocks of rows, whose number comes back; NULL after a
 * failure. */
const Expr *attention_grid(Attend *t, const Expr *row_blocks);
/* Keys that some row of the chunk at chunk_lo may see. */
const Expr *attention_key_end(Attend *t, int chunk_rows);

/* ---- small builders */

static inline Access *attend_access(Attend *t, Tile *tile, const Expr *first, const Expr *second)
{
    Access *access = NEW(t->cx->arena, Access);
    const Expr **index = NEW_ARRAY(t->cx->arena, const Expr *, 2);
    index[0] = first;
    index[1] = second;
    *access = (Access){.tile = tile, .rank = second ? 2 : 1, .index = index};
    return access;
}

static inline Value *attend_get(Attend *t, TileOp *op, Tile *tile, const Expr *first,
                                const Expr *second)
{
    return tile_load(t->prog, op, attend_access(t, tile, first, second));
}

static inline void attend_put(Attend *t, TileOp *op, const Access *to, Value *value)
{
    tile_store(t->prog, op, to, value);
}

static inline Value *attend_real(Attend *t, TileOp *op, double value)
{
    return tile_const(t->prog, op, t->dtype, (Scalar){.f = value});
}

static inline Value *attend_scalar(Attend *t, TileOp *op, ScalarOp s, Value *a, Value *b)
{
    return tile_scalar(t->prog, op, s, a, b, NULL);
}

static inline TileOp *attend_map(Attend *t, TileBlock *block, int rank, int rows, int columns)
{
    return tile_op(t->prog, block, TO_map, rank, attention_names, (int[]){rows, columns});
}

static inline Tile *attend_tile(Attend *t, const char *stem, TileScope scope, int rows, int columns)
{
    return tile_new(t->prog, t->lower->grid, lower_name(t->lower, stem), t->dtype, scope,
                    columns ? 2 : 1, (int[]){rows, columns});
}

/* The point of a map over a register tile: 0 where the dim has extent 1. */
static inline const Expr *const *attend_point(Attend *t, const TileOp *op, const Tile *tile)
{
    const Expr **at = NEW_ARRAY(t->cx->arena, const Expr *, tile->rank);
    for (int d = 0; d < tile->rank; d++)
        at[d] = tile->shape[d] == 1 ? expr_const(t->cx, 0) : op->box.coord[d];
    return at;
}

static inline void attend_fill(Attend *t, TileBlock *block, Tile *tile, double value)
{
    TileOp *op =
        attend_map(t, block, tile->rank, tile->shape[0], tile->rank > 1 ? tile->shape[1] : 0);
    if (tile->scope == TS_register)
        tile_write(t->prog, op, tile, attend_point(t, op, tile), attend_real(t, op, value));
    else
        attend_put(
            t, op,
            attend_access(t, tile, op->box.coord[0], tile->rank > 1 ? op->box.coord[1] : NULL),
            attend_real(t, op, value));
}

#endif
