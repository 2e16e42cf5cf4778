/* Values: the scalar DAG shared by nests and tile programs.
 *
 * A nest's value is a function of the nest's axes; a tile operation's value is a function of its box coordinates. Both are
 * a DAG of constants, index expressions, loads, scalar operations and casts; reductions occur in nests
 * only, reads of tiles in tile programs only. Loads, index expressions and constants give *compute* types
 * (dtype_compute of what is stored); a V_cast to a narrower dtype rounds or wraps to what that dtype can hold
 * and stays in its compute type. Storing converts to the buffer's dtype. */
#ifndef QUERN_IR_VALUE_H
#define QUERN_IR_VALUE_H

#include "base/dtype.h"
#include "base/expr.h"

typedef enum ScalarOp {
#define SCALAR(name, arity, domain, flags, reference) S_##name,
#include "ir/scalar.def"
#undef SCALAR
    S_count
} ScalarOp;

enum ScalarFlags { COMM = 1, ASSOC = 2, TRANS = 4 };

const char *scalar_name(ScalarOp op);
int scalar_find(const char *name, size_t length); /* -1 when unknown */
int scalar_arity(ScalarOp op);
unsigned scalar_flags(ScalarOp op);
/* Reference evaluation in compute type `dtype` (of the operands; select: of b and c, with a bool). f32 results are rounded
 * to float. Comparisons, isnan, isinf give a bool (i = 0 or 1). */
Scalar scalar_eval(ScalarOp op, Dtype dtype, const Scalar args[3]);
/* Whether `op` is defined on compute type `dtype` (of the operands; select: of b and c). */
bool scalar_accepts(ScalarOp op, Dtype dtype);
/* Comparisons, isnan, isinf. */
bool scalar_gives_bool(ScalarOp op);
/* Type of the result for operands of compute types types[0..arity); DT_none when they do not agree or the operation is
 * not defined on them. */
Dtype scalar_result(ScalarOp op, const Dtype types[3]);

/* How a reduction combines. argmin and argmax reduce a value to the position (i64, the linear index over the reduced axes
 * in their order) of the first extreme element; NaN counts as the extreme. */
typedef enum Monoid { M_sum, M_prod, M_min, M_max, M_and, M_or, M_argmin, M_argmax, M_count } Monoid;
const char *monoid_name(Monoid monoid);
int monoid_find(const char *name, size_t length);
/* Identity of sum, prod, min (+inf or the largest), max, and, or in a compute type, or of a narrower
 * integer's numbers. */
Scalar monoid_identity(Monoid monoid, Dtype dtype);
/* The scalar operation that combines two partial results; not for argmin and argmax. */
ScalarOp monoid_combine(Monoid monoid);
/* Whether the monoid reduces values of compute type `dtype`. */
bool monoid_accepts(Monoid monoid, Dtype dtype);

typedef enum BufferRole { BUF_in, BUF_out, BUF_const, BUF_scratch } BufferRole;

/* A kernel argument: a view of memory. Element (i0, i1, ...) is at offset + sum(i * stride), in elements of dtype. */
typedef struct Buffer {
    const char *name;
    Dtype dtype;
    BufferRole role;
    int rank;               /* <= MAX_RANK */
    const Expr **shape;
    const Expr **strides;   /* row-major unless given */
    const Expr *offset;
    int index;              /* position among the kernel's buffers */
    int align;              /* promised alignment of the base in bytes: a power of two, >= the element size */
} Buffer;

enum { MAX_RANK = 12 };

/* lo <= e < hi must hold for the access to touch memory. */
typedef struct Guard {
    const Expr *e, *lo, *hi;
} Guard;

/* Expressions over dims that have one value whenever the kernel runs: checked before it does. What
 * lets indices below one of them be proven to be below the other. */
typedef struct DimsEqual {
    const Expr *a, *b;
} DimsEqual;

struct Tile;

/* Where an operation reads or writes: a buffer, or (tile programs) a tile in shared memory. Index expressions are over axes
 * or coordinates, dims, loop variables, and symbols bound to loaded values (V_bind). When a guard fails a load gives
 * `fill` and a store does nothing. Without guards every index is proven in bounds by construction, except those that use a
 * bound value: these are clamped by V_bind's own range. */
typedef struct Access {
    const Buffer *buffer;
    struct Tile *tile;      /* exactly one of buffer, tile */
    int rank;
    const Expr **index;
    int guard_count;
    const Guard *guards;
    Scalar fill;
} Access;

typedef enum ValueOp {
    V_const,  /* constant, in dtype */
    V_index,  /* an integer expression as a value: i64, i32 or a float dtype */
    V_load,   /* access */
    V_tile,   /* element of a register tile: index[] are the coordinates, broadcast dims are 0 */
    V_scalar, /* scalar operation on args */
    V_cast,   /* args[0] to dtype, with C's rules (dtype_convert) */
    V_bind,   /* args[0] (an integer) made available to index expressions as the symbol `sym`, whose bounds hold: a value
                 outside sets the run's error cell and is clamped; wraps = negative counts from hi + 1 */
    V_reduce  /* monoid over axes (nests) */
} ValueOp;

typedef struct Value {
    ValueOp op;
    Dtype dtype;            /* of the result; for V_load/V_const/V_index a compute type */
    uint32_t id;            /* position in the owner's list: args come before users */
    uint32_t hash;          /* of the content (value_build.c) */
    ScalarOp scalar;
    Monoid monoid;
    bool wraps;
    Scalar constant;
    const Expr *index;      /* V_index */
    const Expr *sym;        /* V_bind */
    const Expr *lo, *hi;    /* V_bind: legal range, inclusive; expressions over dims */
    Access *access;         /* V_load, V_tile (tile + index) */
    struct Value *args[3];
    uint64_t axes;          /* nests: set of axis numbers it depends on */
    uint64_t reduced;       /* V_reduce: axes removed */
} Value;

/* Symbols used by an access that are bound values must be defined by V_bind values of the same list; for ordering they count
 * as arguments of the load. */

#endif
