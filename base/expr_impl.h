/* What the expr_*.c files share: the pool, interning, and helpers on ranges and factors. Not for
 * other folders. */
#ifndef QUERN_BASE_EXPR_IMPL_H
#define QUERN_BASE_EXPR_IMPL_H

#include "base/expr.h"

/* Bounds of sums are added up in 128 bits: only the final bounds have to fit. */
__extension__ typedef __int128 Wide;

/* Nodes live in an arena of the pool, not in cx->arena, which passes mark, reset and exchange.
 * `scratch` holds the temporary lists of one operation, marked and reset in stack order. */
struct ExprPool {
    Arena arena, scratch;
    const Expr **table; /* open addressing, power of two */
    uint32_t capacity, used;
    uint32_t next_id;
    const Expr *poison;
};

void expr_pool_release(Cx *cx);
/* The node of the pool that equals `key`, or a copy of it with its lists; poison when it is too deep
 * or too large. Sets depth and size of `key`, which has everything else but the id. */
const Expr *expr_intern(ExprPool *pool, Expr *key);
/* The node args[0] kind args[1] with the given bounds and divisor, without simplification, except
 * that one possible value makes a constant. */
const Expr *expr_binary(Cx *cx, ExprKind kind, const Expr *a, const Expr *b, int64_t lo, int64_t hi,
                        int64_t div);
/* Splits e = content * product of factors (sorted by id); a sum factor has content 1 and a positive
 * first coefficient. `factors` has room for EXPR_MAX_DEPTH; returns their number, 0 when it cannot
 * be split (overflow). */
uint32_t expr_factors(Cx *cx, const Expr *e, int64_t *content, const Expr **factors);
/* content * product of factors; sorts `factors`. */
const Expr *expr_product(Cx *cx, int64_t content, const Expr **factors, uint32_t count);

/* Non-negative; gcd(0, b) = |b|. The one result that does not fit, 2^63, is given as 2^62. */
int64_t expr_gcd(int64_t a, int64_t b);
/* b > 0 */
static inline int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}
static inline bool expr_has_one_value(const Expr *e)
{
    return e->lo == e->hi && e->lo != INT64_MIN && e->hi != INT64_MAX;
}
/* e as a list of terms: a sum's own list, or e itself with coefficient 1. */
typedef struct TermList {
    int64_t constant;
    uint32_t count;
    const Expr *const *args;
    const int64_t *coefs;
} TermList;
TermList expr_terms(const Expr *const *e);
/* Replaces an expression of one possible value by that constant. */
const Expr *expr_known(Cx *cx, const Expr *e);

#endif
