/* Integer expressions: sizes, offsets, indices, grids, predicates.
 *
 * Expressions are interned: equal expressions of one pool are the same pointer. Arithmetic is exact over the mathematical
 * integers; an expression whose bounds would leave int64 becomes *poison*, which every operation propagates
 * and drivers report ("size overflows"). Division rounds towards minus infinity (floordiv) and mod has the divisor's
 * sign; both need a divisor whose bounds exclude 0, else the result is poison.
 *
 * Canonical form, made on construction:
 *   sum  = constant + coef_1 * term_1 + ... (terms sorted by id, coefs not 0, a term is never a constant or a sum)
 *   term = symbol | product of non-constant expressions | floordiv | mod | min | max
 * Simplification uses bounds [lo, hi] and known divisors (every value of e is a multiple of e->div):
 * (a*c + b) floordiv c = a when 0 <= b < c;  (a*c + b) mod c = b likewise;  min and max fold when bounds decide;
 * x floordiv 1 = x; nested floordivs by constants merge; (x floordiv c)*c + x mod c = x.
 *
 * Expressions deeper than EXPR_MAX_DEPTH, or larger than EXPR_MAX_SIZE when written out as a tree, are poison too, so
 * that walking, printing and running them is bounded on hostile input. A subexpression whose bounds leave one value
 * is that constant; a fixed symbol stays a symbol only while it stands alone.
 *
 * A symbol is an object: two symbols of the same name are different unless they are the same pointer. The owner of a
 * text form gives its symbols distinct names. */
#ifndef QUERN_BASE_EXPR_H
#define QUERN_BASE_EXPR_H

#include "base/cx.h"
#include "base/text.h"

/* What two sizes have to be to each other. */
typedef enum SizeRule {
    SIZE_equal,
    SIZE_equal_or_one, /* equal, or one of them is 1: broadcasting */
    SIZE_multiple,     /* the first is a multiple of the second, which is more than 0 */
    SIZE_RULES
} SizeRule;
static inline bool size_rule_holds(SizeRule rule, int64_t a, int64_t b)
{
    if (rule == SIZE_multiple)
        return b > 0 && a % b == 0;
    return a == b || (rule == SIZE_equal_or_one && (a == 1 || b == 1));
}

typedef struct Expr Expr;
typedef struct ExprPool ExprPool;

typedef enum ExprKind {
    EX_const,
    EX_sym,
    EX_sum,      /* value + sum of coefs[i] * args[i] */
    EX_mul,      /* args[0] * args[1], both not constant */
    EX_floordiv, /* args[0] floordiv args[1] */
    EX_mod,
    EX_min,
    EX_max,
    EX_poison
} ExprKind;

enum { EXPR_MAX_DEPTH = 120, EXPR_MAX_SIZE = 1 << 16 };

struct Expr {
    ExprKind kind;
    uint32_t id;        /* order of creation in the pool; stable for one input, so output is deterministic */
    int64_t value;      /* EX_const: the value; EX_sum: the constant part */
    int64_t lo, hi;     /* bounds, inclusive; INT64_MIN / INT64_MAX = unknown on that side */
    int64_t div;        /* known divisor, >= 1; 0 for the constant 0 */
    uint32_t count;     /* of args */
    uint32_t depth;     /* 1 for leaves */
    uint32_t size;      /* nodes of the tree, shared ones counted each time */
    const Expr **args;
    const int64_t *coefs; /* EX_sum only */
    const char *name;     /* EX_sym only: for printing */
    const Expr *below;    /* EX_sym only: the symbol is less than this; NULL = only hi is known */
};

/* The pool of a job (made on first use). */
ExprPool *expr_pool(Cx *cx);

const Expr *expr_const(Cx *cx, int64_t value);
/* A new symbol with inclusive bounds and a known divisor (1 = none). */
const Expr *expr_sym(Cx *cx, const char *name, int64_t lo, int64_t hi, int64_t div);
/* The same with a limit that is an expression: lo <= symbol < below (an axis of symbolic extent). What is built from the
 * symbol is simplified under that promise. */
const Expr *expr_sym_below(Cx *cx, const char *name, int64_t lo, int64_t hi, const Expr *below);
const Expr *expr_poison(Cx *cx);
const Expr *expr_add(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_sub(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_mul(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_floordiv(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_ceildiv(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_mod(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_min(Cx *cx, const Expr *a, const Expr *b);
const Expr *expr_max(Cx *cx, const Expr *a, const Expr *b);
/* constant + sum of coefs[i] * args[i]: one pass, and only the bounds of the whole sum have to fit. */
const Expr *expr_sum(Cx *cx, int64_t constant, const int64_t *coefs, const Expr *const *args,
                     uint32_t count);
/* Shorthands with a constant on the right. */
const Expr *expr_addi(Cx *cx, const Expr *a, int64_t b);
const Expr *expr_muli(Cx *cx, const Expr *a, int64_t b);
const Expr *expr_divi(Cx *cx, const Expr *a, int64_t b); /* floordiv, b > 0 */
const Expr *expr_modi(Cx *cx, const Expr *a, int64_t b); /* b > 0 */

static inline bool expr_is_const(const Expr *e, int64_t value)
{
    return e->kind == EX_const && e->value == value;
}
static inline bool expr_is_poison(const Expr *e)
{
    return e->kind == EX_poison;
}
/* True when the bounds prove it for every assignment. */
bool expr_always_lt(Cx *cx, const Expr *a, const Expr *b);
bool expr_always_le(Cx *cx, const Expr *a, const Expr *b);

/* Linear view: e = coef * sym + rest, with sym not in rest. False when e is not linear in sym. */
bool expr_linear(Cx *cx, const Expr *e, const Expr *sym, int64_t *coef, const Expr **rest);
bool expr_uses(const Expr *e, const Expr *sym);
/* Replaces syms[i] by with[i], everywhere at once, and simplifies again. */
const Expr *expr_subst(Cx *cx, const Expr *e, const Expr *const *syms, const Expr *const *with, size_t count);
/* Calls visit(user, sym) once for each different symbol. */
void expr_symbols(Cx *cx, const Expr *e, void (*visit)(void *user, const Expr *sym), void *user);

/* Value under an assignment: lookup(user, sym, &value) returns false for an unknown symbol, which makes the result false.
 * Overflow and division by zero also return false. Never aborts: used on hostile plans too. */
typedef bool ExprLookup(void *user, const Expr *sym, int64_t *value);
bool expr_eval(const Expr *e, ExprLookup *lookup, void *user, int64_t *value);

/* Text: infix with + - * floordiv mod, min(a, b), max(a, b), parentheses; `print -> parse` gives the same pointer. */
void expr_print(Text *text, const Expr *e);
/* Names are looked up with find(user, name); NULL fails with "unknown name". */
typedef const Expr *ExprFind(void *user, const char *name, size_t length);
const Expr *expr_parse(Scan *scan, ExprFind *find, void *user);

/* A flat postfix program for the runtime: evaluated without a pool, serialised into plans. Symbols are slots. */
typedef struct ExprCode {
    uint32_t count;       /* of words: even */
    const int64_t *words; /* opcode, operand pairs; see expr_code.c */
} ExprCode;
/* slot(user, sym) gives the slot of a symbol, or -1 for an unknown one (fails with ST_internal). Poison fails
 * with ST_limit ("size overflows"), as does an expression that needs a stack deeper than 64. */
ExprCode expr_compile(Cx *cx, const Expr *e, int (*slot)(void *user, const Expr *sym), void *user);
/* Checks hostile code: opcodes, stack depth (<= 64), slots < slot_count. */
bool expr_code_valid(ExprCode code, uint32_t slot_count);
/* Calls visit(user, slot) for each use of a slot. Code must be valid. */
void expr_code_slots(ExprCode code, void (*visit)(void *user, uint32_t slot), void *user);
/* False on overflow or division by zero. Code must be valid. */
bool expr_code_run(ExprCode code, const int64_t *slots, int64_t *value);

#endif
