/* The nest: one fused kernel as mathematics. A DAG of values over named axes; it knows no target.
 *
 * Text form (print -> parse -> print is the identity):
 *
 *   nest conv_relu {
 *     dim N 1..64                         # symbol: bounds, optional "mult 8"
 *     equal M*K, 4096                     # over dims: holds whenever the nest runs
 *     in x f32 [N, 56, 56, 64]
 *     const w f32 [64, 3, 3, 64]
 *     out y f32 [N, 28, 28, 64] align 64
 *     axis n N
 *     axis h 28
 *     axis kh 3                           # an extent may use dims and outer axes
 *     ...
 *     %0 = load x[n, 2*h + kh - 1, 2*w + kw - 1, c] if 0 <= 2*h + kh - 1 < 56, 0 <= 2*w + kw - 1 < 56 else 0
 *     %1 = load w[o, kh, kw, c]
 *     %2 = mul f32 %0, %1
 *     %3 = reduce sum f32 (kh, kw, c) %2
 *     %4 = const f32 0
 *     %5 = max f32 %3, %4
 *     store y[n, h, w, o] %5             # guards follow: if 0 <= h < 28
 *   }
 *
 * More values: `%i = index i64 2*h + 1`, `%c = cast f16 %3`, `%b = bind idx %4 in 0..N-1 wrap` (then `idx` is
 * a name usable in index expressions), `%s = select f32 %a, %b, %c`. Buffers may carry `strides [..]` and `offset e`.
 * After the operation stands the type of the result. Names of symbols and of buffers are two name spaces.
 * Roles: in, const (weights: constant between runs, may be packed), out, scratch.
 *
 * Meaning: for every point of a store's axes (those its index uses) the value is computed and stored; points are
 * independent; different stores write different elements. A reduce evaluates its argument for every point of its axes, in any
 * order, and combines; over an empty set it gives the identity. */
#ifndef QUERN_IR_NEST_H
#define QUERN_IR_NEST_H

#include "ir/value.h"

enum { MAX_AXES = 32 };

typedef struct Axis {
    const Expr *sym;    /* 0 <= sym < extent */
    const Expr *extent; /* over dims and axes of smaller number */
    int number;         /* position and bit in the sets of axes */
} Axis;

typedef struct Store {
    Access *access;
    Value *value;
} Store;

typedef struct Nest {
    Cx *cx;
    const char *name;
    uint32_t dim_count, dim_cap;
    const Expr **dims;     /* symbols: kernel arguments at run time */
    uint32_t equal_count, equal_cap;
    DimsEqual *equals;     /* what the caller promises of the dims */
    uint32_t buffer_count, buffer_cap;
    Buffer **buffers;      /* kernel argument order */
    int axis_count;
    Axis axes[MAX_AXES];
    uint32_t value_count, value_cap;
    Value **values;        /* topological */
    uint32_t store_count, store_cap;
    Store *stores;
    uint64_t scalar_ops;   /* filled by nest_finish: operations per whole nest when static, else 0 */
} Nest;

/* Builder. Values are hash-consed within a nest; simple constant folding happens on construction. A name that is taken gets
 * a suffix; existing dims must come before axes and bound values. Operands that do not fit (types, ranks) go to
 * cx_fail(ST_internal) and give a harmless constant; NULL operands of a failed job do too. */
Nest *nest_new(Cx *cx, const char *name);
const Expr *nest_dim(Nest *nest, const char *name, int64_t lo, int64_t hi, int64_t div);
void nest_use_dim(Nest *nest, const Expr *dim); /* an existing symbol; idempotent */
void nest_equal(Nest *nest, const Expr *a, const Expr *b); /* over dims; idempotent */
Buffer *nest_buffer(Nest *nest, const char *name, Dtype dtype, BufferRole role, int rank, const Expr *const *shape);
const Axis *nest_axis(Nest *nest, const char *name, const Expr *extent);
Value *nest_const(Nest *nest, Dtype dtype, Scalar value);
Value *nest_constf(Nest *nest, Dtype dtype, double value); /* converted to dtype */
Value *nest_index(Nest *nest, Dtype dtype, const Expr *index);
Value *nest_load(Nest *nest, const Buffer *buffer, const Expr *const *index, const Guard *guards, int guard_count, Scalar fill);
Value *nest_scalar(Nest *nest, ScalarOp op, Value *a, Value *b, Value *c); /* unused args NULL */
Value *nest_cast(Nest *nest, Dtype to, Value *a);
Value *nest_bind(Nest *nest, const char *name, Value *a, const Expr *lo, const Expr *hi, bool wraps);
Value *nest_reduce(Nest *nest, Monoid monoid, uint64_t axes, Value *a);
void nest_store(Nest *nest, const Buffer *buffer, const Expr *const *index, const Guard *guards, int guard_count, Value *value);

/* Counts scalar_ops: 1 for each scalar operation and combination (fma 2), at every point of its axes. */
void nest_finish(Nest *nest);

/* What a symbol is to a nest. */
typedef enum SymKind { SYM_unknown, SYM_dim, SYM_axis, SYM_bind } SymKind;
typedef struct SymUse {
    SymKind kind;
    int axis;    /* SYM_axis: its number */
    Value *bind; /* SYM_bind */
} SymUse;
SymUse nest_sym(const Nest *nest, const Expr *sym);
/* The axes an expression uses, also through bound values. */
uint64_t nest_expr_axes(const Nest *nest, const Expr *e);
/* The axes an access uses: its indices and guards. */
uint64_t nest_access_axes(const Nest *nest, const Access *access);

/* Checks every rule of this header; the first violation goes to cx_fail (ST_internal) with the value's text. */
bool nest_verify(Nest *nest);
void nest_print(Text *text, const Nest *nest);
Nest *nest_parse(Cx *cx, const char *file, const char *text);

/* The interpreter: evaluates on host memory. An index outside its buffer and an element stored twice are lowering bugs: they
 * go to cx_fail(ST_internal) with the access's text. `buffers[i]` is the memory of buffer i, `dims[i]` the value of dim i. Exact
 * semantics of dtype.h and scalar_eval, reductions in ascending order of axis values. Slow: it is the oracle, not a backend. */
typedef struct NestRun {
    void *const *buffers;
    const int64_t *dims;
    int64_t bad_index; /* out: 0, or 1 + what tells the bound value that was out of range: in a nest the id of the V_bind, in a tile program
                        tile_bind_number of its symbol */
} NestRun;
bool nest_run(Cx *cx, const Nest *nest, NestRun *run);

#endif
