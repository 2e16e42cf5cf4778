/* Products of integer expressions: content times factors, sorted by id. Products of sums are not
 * distributed. */
#include "base/expr_impl.h"

/* A sum without its content: the common divisor of its numbers, with the sign of the first
 * coefficient. */
static const Expr *primitive(Cx *cx, const Expr *e, int64_t *content)
{
    int64_t g = e->value;
    for (uint32_t i = 0; i < e->count; i++)
        g = expr_gcd(g, e->coefs[i]);
    *content = e->coefs[0] < 0 ? -g : g;
    if (*content == 1)
        return e;
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    int64_t *coefs = NEW_ARRAY(&pool->scratch, int64_t, e->count);
    bool ok = e->value != INT64_MIN;
    for (uint32_t i = 0; i < e->count; i++) {
        ok = ok && e->coefs[i] != INT64_MIN;
        coefs[i] = ok ? e->coefs[i] / *content : 0;
    }
    e = ok ? expr_sum(cx, e->value / *content, coefs, e->args, e->count) : pool->poison;
    arena_reset(&pool->scratch, mark);
    return e;
}

uint32_t expr_factors(Cx *cx, const Expr *e, int64_t *content, const Expr **factors)
{
    *content = 1;
    if (e->kind == EX_sum)
        e = primitive(cx, e, content);
    if (expr_is_poison(e))
        return 0;
    uint32_t count = 0;
    for (; e->kind == EX_mul; e = e->args[0])
        factors[count++] = e->args[1];
    factors[count++] = e;
    for (uint32_t i = 0; i < count / 2; i++) {
        const Expr *other = factors[i];
        factors[i] = factors[count - 1 - i];
        factors[count - 1 - i] = other;
    }
    return count;
}

static void widen(const Expr *a, bool a_high, const Expr *b, bool b_high, Wide *lo, Wide *hi)
{
    const Wide infinite = (Wide)1 << 126; /* more than any product of two int64 */
    int64_t x = a_high ? a->hi : a->lo, y = b_high ? b->hi : b->lo;
    bool x_infinite = a_high ? x == INT64_MAX : x == INT64_MIN;
    bool y_infinite = b_high ? y == INT64_MAX : y == INT64_MIN;
    Wide p = (Wide)x * y;
    if ((x_infinite || y_infinite) && p != 0)
        p = p > 0 ? infinite : -infinite;
    *lo = p < *lo ? p : *lo;
    *hi = p > *hi ? p : *hi;
}

/* The node a * b of two factors, without looking for constants. */
static const Expr *multiply(Cx *cx, const Expr *a, const Expr *b)
{
    const Wide infinite = (Wide)1 << 126;
    if (expr_is_poison(a))
        return a;
    Wide lo = infinite, hi = -infinite;
    for (int corner = 0; corner < 4; corner++)
        widen(a, corner & 1, b, corner & 2, &lo, &hi);
    if (a == b && lo < 0)
        lo = 0;
    int64_t div;
    if (__builtin_mul_overflow(a->div, b->div, &div))
        div = a->div;
    if ((lo != -infinite && (lo < INT64_MIN || lo > INT64_MAX)) ||
        (hi != infinite && (hi > INT64_MAX || hi < INT64_MIN)))
        return expr_poison(cx);
    return expr_binary(cx, EX_mul, a, b, lo == -infinite ? INT64_MIN : (int64_t)lo,
                       hi == infinite ? INT64_MAX : (int64_t)hi, div);
}

const Expr *expr_product(Cx *cx, int64_t content, const Expr **factors, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const Expr *e = factors[i];
        uint32_t at = i;
        for (; at && factors[at - 1]->id > e->id; at--)
            factors[at] = factors[at - 1];
        factors[at] = e;
    }
    if (!count)
        return expr_const(cx, content);
    const Expr *e = factors[0];
    for (uint32_t i = 1; i < count; i++)
        e = multiply(cx, e, factors[i]);
    return expr_muli(cx, e, content);
}

const Expr *expr_mul(Cx *cx, const Expr *a, const Expr *b)
{
    if (expr_is_poison(a) || expr_is_poison(b))
        return expr_poison(cx);
    a = expr_known(cx, a);
    b = expr_known(cx, b);
    if (a->kind == EX_const)
        return expr_muli(cx, b, a->value);
    if (b->kind == EX_const)
        return expr_muli(cx, a, b->value);
    const Expr *factors[2 * EXPR_MAX_DEPTH];
    int64_t content_a, content_b;
    uint32_t count_a = expr_factors(cx, a, &content_a, factors);
    uint32_t count_b = expr_factors(cx, b, &content_b, factors + count_a);
    if (!count_a || !count_b || __builtin_mul_overflow(content_a, content_b, &content_a))
        return expr_poison(cx);
    return expr_product(cx, content_a, factors, count_a + count_b);
}
