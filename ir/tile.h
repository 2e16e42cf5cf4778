/* The tile program: how a nest is computed. Grids of loops over operations on boxes of statically known shape.
 *
 * Unplaced, a program says what is held where (registers, shared memory) and in which order; placement adds
 * layouts, copy mechanism, ring slots and synchronisation as attributes and operations of a closed list. Emitters decide
 * nothing. On a CPU placement adds nothing: a grid point is a task, register tiles are vectors along their last dim,
 * shared tiles live in the task's scratch.
 *
 *   tile gemm_bias x86-64-v4 {
 *     dim M 1..512                         as in nests, with `equal` too
 *     in A f32 [M, 768]
 *     const B f32 [64, 768, 48] align 64
 *     out Y f32 [M, 3072]
 *     grid (jb 64, ib (M + 7) floordiv 8) {
 *       tile acc f32 [8, 48] register
 *       map (i 8, j 48) { %0 = const f32 0  store acc[i, j] %0 }
 *       for k 0..768 step 4 {
 *         mma acc (i 8, j 48, r 4) bound i M - 8*ib {
 *           a %0 = load A[8*ib + i, k + r]
 *           b %1 = load B[jb, k + r, j]
 *         }
 *       }
 *       map (i 8, j 48) bound i M - 8*ib { %0 = tile acc[i, j]  store Y[8*ib + i, 48*jb + j] %0 }
 *     }
 *   }
 *
 * Operations:
 *   for v lo..hi step s { }        v = lo, lo+s, ... < hi; lo and hi are expressions; runs 0 times when lo >= hi.
 *                                  `stages n`: ring depth wanted for the shared tiles its copies fill (GPU)
 *   if g { } [else { }]            conjunction of guards over grid ids, loop variables and dims
 *   map (coords) bound.. { }       for every point of the box inside the bounds: evaluates values, then stores. Points are
 *                                  independent. A register tile may be read and written at the same point.
 *   mma T (i m, j n, r k) { a b }  T[i, j] += sum over r of a(i, r) * b(r, j), as fused multiply-adds in ascending r.
 *                                  T is a register tile of a compute float (f32, f64) or i32. Rows at or over a bound of i hold
 *                                  garbage after; columns likewise; a bound on r ends the sum there.
 *   reduce T <- S dim d monoid     register tiles; T is S with dim d of extent 1; ascending tree over lanes
 *   copy (coords) { store load }   a map of one load to a shared tile, which placement may make asynchronous
 *   prefetch (coords) { load }     hint
 * placed only:
 *   convert T <- S via W           register to register, other layout, through the shared tile W
 *   barrier | commit | wait n      block barrier; close a group of cp.async; wait until at most n groups are open
 *
 * Thread maps (placed GPU programs): a point of a map or copy is executed by the threads that hold, by their layouts, every
 * register element the point reads or writes and, when given, the point itself in `by` (printed after the bounds:
 * `map (i 8, j 64) bound i M by lanes(1:32:2, 0:4:1) regs(1:2:1, 0:2:4) { }`). Every holder of a written element must be
 * among them. Of several threads that execute a point the first one stores to memory. With neither register tiles nor
 * `by`, point p (row-major) belongs to thread p mod threads. Neighbouring registers are one vector access where they
 * are neighbours in memory; a cp.async needs at least 4 bytes of them.
 *
 * Outside its bounds a map does nothing: it neither reads nor writes, register tiles keep their elements.
 * Loads in a copy outside the bounds write `fill` (of its load's access; without guards printed after the bounds: `fill 1`).
 * Bounds do not use the coordinates of their own box.
 *
 * A register tile is indexed by distinct coordinates of its operation, each of the extent of its dim, or by 0 where the dim
 * has extent 1; a write uses every coordinate of extent over 1. An operation that writes a register tile reads it only at the
 * point it writes. Tiles are undefined at the start of a grid point.
 *
 * Attributes of operations on boxes follow the coordinates in this order: bound.. by LAYOUT slot E fill C; `copy async`. */
#ifndef QUERN_IR_TILE_H
#define QUERN_IR_TILE_H

#include "ir/nest.h"
#include "ir/target.h"

enum { MAX_BOX = 6, MAX_GRID = 6, MAX_PARTS = 16 };

typedef enum TileScope { TS_register, TS_shared } TileScope;

/* A register layout on a GPU: which thread and register hold an element. The thread number in the block, read in
 * mixed radix with the first lane part fastest, and the register number likewise over the reg parts give digits;
 * coordinate d is the sum of digit * stride over the parts of dim d. Extents of lane parts are powers of two. A part of
 * dim -1 is replication (threads that hold the same element). Printed `lanes(d:extent:stride, ..) regs(..)`. */
typedef struct LayoutPart {
    int dim, extent, stride;
} LayoutPart;

typedef struct Layout {
    int lane_count, reg_count;
    LayoutPart lanes[MAX_PARTS], regs[MAX_PARTS];
} Layout;

typedef struct Tile {
    const char *name;
    Dtype dtype;        /* register: a compute type or f16/bf16 (fragments); shared: as stored */
    TileScope scope;
    int rank;
    int shape[MAX_BOX];
    int pad;            /* shared: elements added to each row of the last dim, against bank conflicts */
    int slots;          /* shared: ring slots, 1 = no ring */
    int swizzle;        /* shared, placed: 0, 32, 64 or 128 bytes (XOR of 16-byte chunks) */
    Layout *layout;     /* register, placed on a GPU; else NULL */
    uint32_t id;
} Tile;

typedef enum TileOpKind {
    TO_for, TO_if, TO_map, TO_mma, TO_reduce, TO_copy, TO_prefetch, TO_convert, TO_barrier, TO_commit, TO_wait
} TileOpKind;

typedef struct TileBlock TileBlock;

/* A box of coordinates; bound[d] (or NULL) is an exclusive limit on coordinate d. */
typedef struct Box {
    int rank;
    int shape[MAX_BOX];
    const Expr *coord[MAX_BOX];
    const Expr *bound[MAX_BOX];
} Box;

typedef struct TileOp {
    TileOpKind kind;
    struct TileOp *next;
    /* for, if */
    const Expr *var, *lo, *hi;
    int64_t step;
    int stages;
    int guard_count;
    Guard *guards;
    TileBlock *body, *other;
    /* map, mma, copy, prefetch: values in topological order; mma: a = values[root_a], b = values[root_b] */
    Box box;
    uint32_t value_count, value_cap;
    Value **values;
    uint32_t store_count, store_cap;
    Store *stores;
    Value *a, *b;
    /* mma, reduce, convert */
    Tile *dst, *src, *via;
    int dim;
    Monoid monoid;
    Layout *by;     /* map, copy, placed: the thread map, a layout of the box; see "Thread maps"; NULL = none */
    bool async;     /* copy, placed: cp.async */
    const Expr *slot; /* copy into / mma, map from a ring: which slot (placed); NULL = 0 */
    int64_t count;  /* wait */
} TileOp;

struct TileBlock {
    TileOp *first, *last;
};

typedef struct Grid {
    int rank;
    const Expr *ids[MAX_GRID], *extents[MAX_GRID];
    int threads;        /* per block; 1 on CPUs */
    const Expr *thread; /* placed: symbol of the thread number, for guards of `if` only (roles of warps); NULL = unused.
                           Printed `grid (..) threads 128 as t` */
    TileBlock body;
    uint32_t tile_count, tile_cap;
    Tile **tiles;
} Grid;

typedef struct TileProg {
    Cx *cx;
    const char *name;
    const Caps *caps;
    bool placed;
    bool unproven; /* set by tile_verify and tile_secure: an index not proven in bounds is why they failed */
    uint32_t dim_count, dim_cap;
    const Expr **dims;
    uint32_t equal_count, equal_cap;
    DimsEqual *equals;
    uint32_t buffer_count, buffer_cap;
    Buffer **buffers;
    uint32_t grid_count, grid_cap;
    Grid **grids;
} TileProg;

/* Builder. Ops are appended to a block; nested blocks are made by tile_for and tile_if (fields without a parameter, such as
 * stages, slot or by, are set on at->last). Names are the caller's: tile_verify refuses a name used twice in a scope. */
TileProg *tile_prog(Cx *cx, const char *name, const Caps *caps);
const Expr *tile_dim(TileProg *prog, const char *name, int64_t lo, int64_t hi, int64_t div);
void tile_use_dim(TileProg *prog, const Expr *dim); /* an existing symbol; idempotent */
Buffer *tile_buffer(TileProg *prog, const char *name, Dtype dtype, BufferRole role, int rank, const Expr *const *shape);
Buffer *tile_use_buffer(TileProg *prog, const Buffer *buffer); /* a copy of it as the next argument */
Grid *tile_grid(TileProg *prog, int rank, const char *const *names, const Expr *const *extents);
Tile *tile_new(TileProg *prog, Grid *grid, const char *name, Dtype dtype, TileScope scope, int rank, const int *shape);
TileBlock *tile_for(TileProg *prog, TileBlock *at, const char *name, const Expr *lo, const Expr *hi, int64_t step,
                    const Expr **var);
TileOp *tile_if(TileProg *prog, TileBlock *at, const Guard *guards, int count); /* fills op->body */
/* An empty map/mma/copy/prefetch whose box coordinates are made from `names`. Then add values and stores. */
TileOp *tile_op(TileProg *prog, TileBlock *at, TileOpKind kind, int rank, const char *const *names, const int *shape);
TileOp *tile_reduce(TileProg *prog, TileBlock *at, Tile *dst, Tile *src, int dim, Monoid monoid);
TileOp *tile_convert(TileProg *prog, TileBlock *at, Tile *dst, Tile *src, Tile *via);
TileOp *tile_sync(TileProg *prog, TileBlock *at, TileOpKind kind, int64_t count); /* barrier, commit, wait */
/* Values inside an op (hash-consed per op; same folding as nests). */
Value *tile_const(TileProg *prog, TileOp *op, Dtype dtype, Scalar value);
Value *tile_index(TileProg *prog, TileOp *op, Dtype dtype, const Expr *index);
Value *tile_load(TileProg *prog, TileOp *op, const Access *access);        /* buffer or shared tile */
Value *tile_read(TileProg *prog, TileOp *op, Tile *tile, const Expr *const *index); /* register tile */
Value *tile_scalar(TileProg *prog, TileOp *op, ScalarOp s, Value *a, Value *b, Value *c);
Value *tile_cast(TileProg *prog, TileOp *op, Dtype to, Value *a);
Value *tile_bind(TileProg *prog, TileOp *op, Value *a, const Expr *sym, const Expr *lo, const Expr *hi, bool wraps);
void tile_store(TileProg *prog, TileOp *op, const Access *access, Value *value);        /* buffer or shared tile */
void tile_write(TileProg *prog, TileOp *op, Tile *tile, const Expr *const *index, Value *value); /* register tile */

int64_t tile_bytes(const Tile *tile);              /* of one slot, padding included */
/* Symbols bound to loaded values, numbered by where their names first occur: the error cell gets 1 + the number of the one
 * whose value was out of range. NULL when there are not so many. */
int tile_bind_number(const TileProg *prog, const Expr *sym);
const Expr *tile_bind_sym(const TileProg *prog, int number);
int64_t tile_scratch_bytes(const TileProg *prog);  /* CPU: largest sum of shared tiles of a grid, 64-byte aligned each */

bool tile_verify(TileProg *prog);
/* As tile_verify, but a load or store of a map, or the load of a copy, with an index that is not proven to be in bounds gets
 * a guard for it instead of failing the program: proofs are incomplete, and a symbolic extent may be written in more ways
 * than they know. */
bool tile_secure(TileProg *prog);
void tile_print(Text *text, const TileProg *prog);
TileProg *tile_parse(Cx *cx, const char *file, const char *text);

/* A direct interpreter of unplaced programs on host memory, one grid point after the other, same conventions as nest_run:
 * the oracle for schedules. Placed GPU programs run in the simulator instead. */
bool tile_run(Cx *cx, const TileProg *prog, NestRun *run);

#endif
