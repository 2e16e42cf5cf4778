/* Inside the LLVM emitter: the state shared by its files. See llvm_program.c for how the pieces
 * work together. */
#ifndef QUERN_CODEGEN_LLVM_EMIT_H
#define QUERN_CODEGEN_LLVM_EMIT_H

#include <llvm-c/Core.h>

#include "base/kernel_abi.h"
#include "codegen/llvm.h"

enum { MAX_LEVELS = 160, MAX_LANES = 16 };

typedef LLVMValueRef Ref;

/* Values already computed at a level, by what they stand for. */
typedef struct MemoEntry {
    const void *key[4];
    int tag;
    Ref value;
} MemoEntry;

/* A nesting level: straight-line code that runs once per entry, between which inner constructs
 * stand. Its next instruction goes to the end of `block`, before the terminator if there is one
 * already: everything emitted later inside the level is dominated by it. */
typedef struct Level {
    LLVMBasicBlockRef block;
    MemoEntry *entries;
    uint32_t count, cap;
} Level;

/* What a symbol stands for. `lanes`: a vector of i64, one per lane (bound to loaded values). */
typedef struct SymDef {
    const Expr *sym;
    int level;
    Ref value;
    bool lanes;
} SymDef;

/* Registers of a tile: `rows` (all dims but the last, row-major) times `chunks` vectors, in
 * Emit.parts from `first`. Chunk c covers elements c*lanes .. of a row; the last one may be
 * narrower: chunk_width. */
typedef struct RegTile {
    const Tile *tile;
    int rows, chunks, columns;
    uint32_t first;
    int64_t offset; /* shared tiles: byte offset in scratch */
} RegTile;

typedef struct Emit {
    Cx *cx;
    Arena *arena;
    LLVMContextRef llvm;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTypeRef f32, f64, i1, i8, i16, i32, i64, f16, ptr;
    const TileProg *prog;
    const Caps *caps;
    const Grid *grid;
    int lanes;                /* of a full vector */
    const Expr *lane_syms[5]; /* the lane number, for widths 1, 2, 4, 8, 16 */
    Ref fn, args, scratch;
    LLVMBasicBlockRef stop; /* where a cancelled kernel ends; NULL = not needed so far */
    Level levels[MAX_LEVELS];
    int level; /* current, innermost */
    SymDef *syms;
    uint32_t sym_count, sym_cap;
    RegTile *tiles;
    uint32_t tile_count;
    Ref *parts; /* registers of all register tiles */
    uint32_t part_count;
} Emit;

/* Records the error and leaves the emitter (llvm_build.c releases LLVM's objects). */
_Noreturn void emit_fail(Emit *e, Status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A value at a point: one scalar for all lanes, or a vector. */
typedef struct Val {
    Ref v;
    bool lanes;
} Val;

/* Where values are computed: coordinates replaced by expressions, of which one may use the lane
 * symbol. */
typedef struct Point {
    const TileOp *op;
    int count;
    const Expr *syms[MAX_BOX], *with[MAX_BOX];
    int width;        /* vector lanes; 1 = scalars */
    const Expr *lane; /* lane symbol of that width; NULL when width is 1 */
    Ref mask;         /* lanes inside the bounds: <width x i1>, or NULL = all */
    const Expr *row; /* mma: the plain coordinate of A's row, where with[0] is clamped to the bound;
                        NULL elsewhere */
    const Expr *seq; /* mma: the coordinate r, replaced by a constant; NULL elsewhere */
    const Guard *extra; /* copy: bounds, as guards of its load */
    int extra_count;
    Val *vals; /* by value id */
} Point;

/* Levels (llvm_level.c) */
void level_push(Emit *e, LLVMBasicBlockRef block);
void level_pop(Emit *e);                /* the outer level goes on where the inner one stands */
void level_at(Emit *e, int level);      /* the builder inserts at that level */
LLVMBasicBlockRef level_block(Emit *e); /* current block of the current level */
LLVMBasicBlockRef block_new(Emit *e, const char *name);
Ref memo_find(Emit *e, int level, int tag, const void *a, const void *b, const void *c,
              const void *d);
void memo_add(Emit *e, int level, int tag, const void *a, const void *b, const void *c,
              const void *d, Ref value);
void sym_define(Emit *e, const Expr *sym, Ref value, bool lanes);
const SymDef *sym_find(Emit *e, const Expr *sym);

/* A counted loop over the registers it changes; body runs for var = lo, lo+step .. < hi. */
typedef struct Loop {
    LLVMBasicBlockRef guard, body, exit;
    Ref var, hi;
    int64_t step;
    bool nonempty;
    bool polls;          /* the caller sets it before loop_end: emit_poll between two turns */
    const bool *written; /* by part */
    Ref *before, *phis;
} Loop;
void loop_begin(Emit *e, Loop *loop, Ref lo, Ref hi, int64_t step, bool nonempty,
                const bool *written);
void loop_end(Emit *e, Loop *loop);

/* Looking for the request to stop (llvm_poll.c). After how many turns of a loop, or tasks of a
 * grid, to look: 0 = never, the whole is short enough. */
int64_t poll_loop(Emit *e, const TileOp *loop);
int64_t poll_tasks(Emit *e, const Grid *grid);
void emit_poll(Emit *e); /* between two turns: returns from the kernel when it is cancelled */

/* A conditional region. region_else may be left out. */
typedef struct Region {
    LLVMBasicBlockRef then_end, other, merge, from;
    Ref *before, *then_parts;
} Region;
void region_begin(Emit *e, Region *r, Ref cond);
void region_else(Emit *e, Region *r);
void region_end(Emit *e, Region *r);

/* Expressions and addresses (llvm_expr.c) */
int expr_level(Emit *e, const Expr *x);
bool expr_has_lanes(Emit *e, const Expr *x);
Ref emit_expr(Emit *e, const Expr *x); /* i64 */
Ref emit_expr_lanes(Emit *e, const Expr *x, int width,
                    bool *is32); /* <width x i64>, or i32 when *is32 comes back true */
Ref emit_guards(Emit *e, const Guard *guards, int count, const Expr *lane, int width, Ref *lanes,
                int *level);
void guard_subst(Emit *e, const Point *p, const Guard *from, Guard *to);
const Expr *point_subst(Emit *e, const Point *p, const Expr *x);
Ref emit_base(Emit *e, const Access *access); /* base address, at level 0 */
const Expr *access_offset(Emit *e, const Point *p,
                          const Access *access); /* in elements; NULL after failing */
Ref emit_address(Emit *e, Ref base, int base_level, const Expr *offset, int64_t size);
void expr_split(Emit *e, const Expr *x, int level, const Expr **outer, const Expr **inner);
Ref emit_zeros(Emit *e);
Ref load_field(Emit *e, LLVMTypeRef type, Ref base, int64_t offset);

/* Types and small helpers (llvm_dtype.c) */
LLVMTypeRef vec(LLVMTypeRef type, int width); /* width 1: the scalar type */
LLVMTypeRef compute_type(Emit *e, Dtype dtype);
LLVMTypeRef memory_type(Emit *e, Dtype dtype); /* for 8 bits and more */
Ref splat(Emit *e, Ref scalar, int width);
Ref const_int(LLVMTypeRef type, int64_t value); /* scalars and vectors */
Ref const_real(LLVMTypeRef type, double value);
Ref const_iota(Emit *e, LLVMTypeRef scalar, int width);
Ref const_mask(Emit *e, int active, int width);
Ref emit_const(Emit *e, Dtype dtype, Scalar value);
Ref from_memory(Emit *e, Dtype dtype, Ref raw, int width);
Ref to_memory(Emit *e, Dtype dtype, Ref value, int width);
Ref emit_cast(Emit *e, Dtype to, Dtype from, Ref value, int width);
Ref intrinsic1(Emit *e, const char *name, Ref a);
Ref intrinsic2(Emit *e, const char *name, Ref a, Ref b);
Ref intrinsic3(Emit *e, const char *name, Ref a, Ref b, Ref c);
Ref call_intrinsic(Emit *e, const char *name, LLVMTypeRef *over, int over_count, Ref *args,
                   int count);

/* Scalar operations (llvm_scalar.c, llvm_math.c); operands of one width, NULL result after failing.
 */
Ref emit_scalar(Emit *e, ScalarOp op, Dtype dtype, Ref *args, int width);
Ref emit_libm(Emit *e, ScalarOp op, Dtype dtype, Ref *args, int width);
Ref emit_math(Emit *e, ScalarOp op, Ref *args,
              int width); /* f32; NULL when it has no vector form */

/* Values, loads and stores (llvm_value.c, llvm_access.c) */
Val point_value(Emit *e, Point *p, const Value *v);
Ref point_vector(Emit *e, Point *p, Val v); /* as `width` lanes */
Val emit_load(Emit *e, Point *p, const Access *access);
void emit_store(Emit *e, Point *p, const Access *access, Val value);
Ref lane_of(Emit *e, Ref vector, int lane, int width);

/* Register tiles (llvm_tile.c) */
RegTile *tile_find(Emit *e, const Tile *tile);
int chunk_width(const Emit *e, int columns, int start);
Val tile_get(Emit *e, Point *p, const Access *access);
void tile_put(Emit *e, Point *p, const Access *access, Val value);
void emit_reduce(Emit *e, const TileOp *op);

/* A box being walked (llvm_map.c): coordinates get their values one by one, then points are
 * emitted. */
typedef struct Walk {
    Emit *e;
    const TileOp *op;
    Point point;
    bool in_loops;                           /* else unrolled */
    const Expr *from[MAX_BOX], *to[MAX_BOX]; /* part of the box; NULL = 0 and the bound */
    int block, across; /* transposition: its side, 0 = none; the dim it goes over with the last */
    bool *turned;      /* by value id: loads that run along `across` */
} Walk;
void walk_set(Walk *w, int dim, const Expr *value);
void walk_drop(Walk *w);                         /* the coordinate set last */
const Expr *walk_extent(const Walk *w, int dim); /* shape and bound */
void walk_point(Walk *w, const Val *known);      /* known: by value id, NULL = none */
void walk_dim(Walk *w, int dim);                 /* dims from here on */
/* Transpositions (llvm_transpose.c): plan fills block, across, turned; emit does the last dim and
 * `across`. */
void plan_transpose(Walk *w);
void emit_transpose(Walk *w);

/* Operations */
void emit_map(Emit *e, const TileOp *op); /* map, copy, prefetch */
void emit_mma(Emit *e, const TileOp *op);
void emit_program(Emit *e, const TileProg *prog);

#endif
