/* What the files of the printer share. Private to codegen/c_*.c. */
#ifndef QUERN_CODEGEN_C_IMPL_H
#define QUERN_CODEGEN_C_IMPL_H

#include "codegen/c_print.h"
#include "ir/layout.h"

/* A symbol in scope and how it is spelled. wide: its variable is an i64. */
typedef struct CName {
    const Expr *sym;
    const char *text;
    bool wide;
} CName;

typedef struct CPrint {
    Cx *cx;
    Text *out;
    const Dialect *dialect;
    const TileProg *prog;
    const Grid *grid;
    int depth;
    uint32_t fresh; /* numbers of local variables */
    uint32_t name_count, name_cap;
    CName *names; /* innermost last */
    /* The operation being printed: its coordinates stand for these expressions (GPU), and the
     * layout of its points. */
    const Box *box;
    const Expr *coord[MAX_BOX]; /* NULL: the coordinate is a variable itself */
    const Expr *slot;
    const char *load_if, *store_if; /* extra conditions of every load and memory store, or NULL */
    const Expr *tid;                /* GPU: the thread number, named `tid` */
    const Layout *layout;
    const Expr *digits[MAX_PARTS]; /* of the layout's register parts */
    /* Values loaded ahead as part of a vector: name of the array and the digit that selects. */
    struct CVector *vectors;
} CPrint;

/* A load hoisted into a vector: value id -> variable and the register digit that picks the element.
 */
typedef struct CVector {
    struct CVector *next;
    const Value *value;
    const char *name;
    const Expr *digit;
} CVector;

typedef struct CSubst {
    char key;
    const char *value;
} CSubst;

/* c_text.c: lines, templates, names, index expressions, constants. */
void c_line(CPrint *cp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void c_open(CPrint *cp, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* line + " {", indents */
void c_close(CPrint *cp);
void c_template(Text *out, const char *text, const CSubst *with, int count);
const char *c_fill(CPrint *cp, const char *text, const CSubst *with, int count);
const char *c_name(CPrint *cp, const Expr *sym, const char *prefix,
                   bool wide); /* brings sym into scope */
/* The spelling of an expression; after substitution of the operation's coordinates. */
const char *c_expr(CPrint *cp, const Expr *e);
const Expr *c_subst(CPrint *cp, const Expr *e);
/* Conjunction of what bounds do not prove, or NULL when nothing is left. */
const char *c_guards(CPrint *cp, const Guard *guards, int count);
const char *c_const(CPrint *cp, Dtype dtype, Scalar value);
const char *c_type(Dtype dtype);     /* of a value: compute type */
const char *c_raw_type(Dtype dtype); /* as stored */
void c_indent(CPrint *cp);

/* c_memory.c: elements of buffers and tiles, loads and stores. */
const Expr *
c_offset(CPrint *cp,
         const Access *access); /* in elements, substituted, without a shared tile's slot swizzle */
const char *c_base(CPrint *cp, const Access *access);
const char *c_element(CPrint *cp, const Access *access); /* spelled offset, swizzled */
const char *c_load_text(CPrint *cp, Dtype dtype, const char *base, const char *index);
const char *c_store_text(CPrint *cp, Dtype dtype, const char *base, const char *index,
                         const char *value, bool shared);
const char *c_from_raw(CPrint *cp, Dtype dtype, const char *raw);
const char *c_to_raw(CPrint *cp, Dtype dtype, const char *value);
const char *c_tile_name(CPrint *cp, const Tile *tile);
const char *c_tile_element(CPrint *cp,
                           const Access *access); /* index of a register tile's element */
int64_t c_row_stride(const Tile *tile, int dim);  /* of a shared tile, in elements */

/* c_value.c: values as statements that define v<id>. */
void c_values(CPrint *cp, const TileOp *op, const Value *root); /* root NULL: all that stores use */
void c_stores(CPrint *cp, const TileOp *op);
const char *c_scalar(CPrint *cp, ScalarOp op, Dtype dtype, const char *a, const char *b,
                     const char *c);
const char *c_cast(CPrint *cp, Dtype to, Dtype from, const char *value);

/* c_loops.c: operations as loops of one thread (CPU). */
/* Operations that are not control flow. */
void c_cpu_op(CPrint *cp, const TileOp *op);
/* c_vector.c: runs of neighbouring registers as one access. The width of the layout's first
 * register part when loads or stores of the operation can be vectors (or it is an asynchronous
 * copy), else 1. */
int c_vector_width(CPrint *cp, const TileOp *op);
/* Prints the points of one run; the digits of all parts but the first are set. set_coords makes
 * cp->coord from the digits, point prints one point. */
void c_vector_point(CPrint *cp, const TileOp *op);
void c_set_coords(CPrint *cp);

/* c_threads.c: operations of placed programs; c_reduce.c and c_mma.c hold two of them. */
void c_gpu_op(CPrint *cp, const TileOp *op);
void c_gpu_reduce(CPrint *cp, const TileOp *op);
void c_gpu_mma(CPrint *cp, const TileOp *op);
/* A symbol 0 <= s < extent, spelled as a new variable. */
const Expr *c_counter(CPrint *cp, const char *prefix, int extent);
/* Opens an unrolled loop over a new counter; a constant 0 without a loop when extent is 1. */
const Expr *c_unrolled(CPrint *cp, int extent, int *opened);

/* c_prelude.c: the helpers `body` uses. */
void c_prelude(Cx *cx, Text *out, const Dialect *dialect, const Caps *caps, const char *body);

#endif
