/* Carrying values of a nest into operations of a tile program: axes become expressions over grid
 * ids, loop variables and box coordinates; reductions that were computed before are read from the
 * tiles that hold them. Private to the schedules. */
#ifndef QUERN_PASSES_LOWER_VALUE_H
#define QUERN_PASSES_LOWER_VALUE_H

#include "passes/schedule.h"

/* Where a computed value is kept: tile dim d runs over axis[d] (-1: extent 1). A shared tile is
 * indexed by the axis itself, a register tile by the coordinate of the box that runs over the axis;
 * BY_COORD added to the axis: by the coordinate in any case. */
enum { BY_COORD = 64 };
typedef struct Held {
    Tile *tile;
    int axis[MAX_BOX];
} Held;

/* A constant stored with its dims in another order: dim d of `buffer` is dim order[d] of the
 * original. */
typedef struct Repacked {
    Buffer *buffer; /* NULL: as it was */
    int order[MAX_RANK];
} Repacked;

typedef struct Lower {
    Cx *cx;
    Nest *nest;
    TileProg *prog;
    Grid *grid;
    const Caps *caps;
    const Expr *at[MAX_AXES];    /* current meaning of an axis; NULL = not bound yet */
    const Expr *coord[MAX_AXES]; /* box coordinate within `at`; NULL = none */
    Held *held;                  /* by value id; tile NULL = not held */
    Value **memo;                /* by value id, for the current op */
    TileOp *memo_op;
    Repacked *repacked;    /* by buffer index */
    const Value *known;    /* a bind whose symbol is `known_as` where code is made now, or NULL */
    const Expr *known_as;
    int names;             /* counter for loop and tile names */
    const Guard **assumed; /* guards of the nest's accesses that hold where code is made now */
    int assumed_count;
} Lower;

void lower_init(Lower *lower, Cx *cx, Nest *nest, const Caps *caps, TileProg *prog);
/* `value` as a value of `op`, under the current meaning of the axes. */
Value *lower_value(Lower *lower, TileOp *op, Value *value);
/* An expression over axes under their current meaning. */
const Expr *lower_expr(Lower *lower, const Expr *e);
Access *lower_access(Lower *lower, const Access *access);
/* Reads or writes a register tile of `held` at the current coordinates. */
Value *lower_read(Lower *lower, TileOp *op, const Held *held);
void lower_write(Lower *lower, TileOp *op, const Held *held, Value *value);
/* All nest stores with these axes, as stores of `op`. */
void lower_stores(Lower *lower, TileOp *op, uint64_t axes);
/* Set of axes the index and guards of an access use. */
uint64_t access_axes(const Nest *nest, const Access *access);
uint64_t expr_axes(const Nest *nest, const Expr *e);
const char *lower_name(Lower *lower, const char *stem);

/* Emits a loop over lo..hi in boxes of `size` points: full boxes, then one box with a bound, or of
 * smaller shape when the rest is known. body(user, block, base, size, bound): `base` is the first
 * point, bound NULL or the number of valid points. */
typedef void BoxBody(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound);
void lower_boxes(Lower *lower, TileBlock *block, const char *name, const Expr *lo, const Expr *hi,
                 int size, BoxBody *body, void *user);

/* The one access that reads a constant which may be stored in another form, made at load: it has no
 * guards, no other load sees the buffer, and nothing of its shape waits for the run. Else NULL. */
const Access *lower_packable(const Nest *nest, const Buffer *buffer);
/* Constants that vary along `axis` without being contiguous along it get a copy that is, made at
 * load (depthwise weights). */
void lower_repack(Lower *lower, int axis, Lowered *out);

/* Whether a value computes a transcendental function of what is not reduced: long code. */
bool lower_has_transcendental(const Value *value);
/* Binds axes[0..count) to the digits of `number`, the last axis being the fastest. */
void lower_split(Lower *lower, const int *axes, int count, const Expr *number);

/* How the general skeleton cuts its outputs: boxes of rows x lanes points, and the chunks of u and
 * v that a task takes; v_chunk 0 = all of v. */
typedef struct Boxes {
    int rows, lanes;
    int64_t u_chunk, v_chunk;
} Boxes;
/* On a GPU. u: extent of the second axis, or NULL when boxes have one row; wide: extent of the axis
 * that lanes run over, or NULL; split: v may be cut. */
Boxes gpu_boxes(const Schedule *schedule, const Expr *u, const Expr *wide, bool split);

/* Whether a flash schedule has the shared memory and registers it needs. */
bool flash_fits(const Nest *nest, const Attention *a, const Caps *caps, const Schedule *schedule);
Schedule gpu_choose(Cx *cx, const Nest *nest, const Caps *caps);
Schedule gpu_choose_plain(Cx *cx, const Nest *nest, const Caps *caps); /* blocks */
bool gpu_candidate(const Nest *nest, const Caps *caps, int index, Schedule *schedule);

bool apply_tiles(Lower *lower, const Schedule *schedule);
bool apply_flash(Lower *lower, const Schedule *schedule);
bool apply_general(Lower *lower, const Schedule *schedule, Lowered *out);
bool apply_scan(Lower *lower, const Schedule *schedule);
bool apply_scatter(Lower *lower, const Schedule *schedule);
bool apply_attention(Lower *lower, const Schedule *schedule);
bool apply_contraction(Lower *lower, const Schedule *schedule, Lowered *out);

#endif
