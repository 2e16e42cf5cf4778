/* Division, modulo, minimum and maximum of integer expressions.
 *
 * The divisor is made positive first. A dividend is split into what the divisor divides and a rest;
 * the rest is made small (constants and coefficients reduced, common divisors removed, nested
 * divisions merged), and when the bounds of what remains leave one quotient, nothing remains. Where
 * a reduced form would overflow the unreduced one is kept. */
#include "base/expr_impl.h"

/* The quotient of every value of e by c > 0, if it is the same for all. */
static bool one_quotient(const Expr *e, int64_t c, int64_t *quotient)
{
    if (expr_is_poison(e) || e->lo == INT64_MIN || e->hi == INT64_MAX)
        return false;
    *quotient = floor_div(e->lo, c);
    return *quotient == floor_div(e->hi, c);
}

/* Does c divide every value of coef * e? */
static bool divides(int64_t c, int64_t coef, const Expr *e)
{
    return (Wide)coef * e->div % c == 0;
}

static int64_t common_divisor(const Expr *e, int64_t c)
{
    TermList list = expr_terms(&e);
    for (uint32_t i = 0; i < list.count; i++)
        c = expr_gcd(c, list.coefs[i]);
    return c;
}

/* floor(e / g) for g that divides all coefficients. */
static const Expr *divide_coefs(Cx *cx, const Expr *e, int64_t g)
{
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    TermList list = expr_terms(&e);
    int64_t *coefs = NEW_ARRAY(&pool->scratch, int64_t, list.count);
    for (uint32_t i = 0; i < list.count; i++)
        coefs[i] = list.coefs[i] / g;
    e = expr_sum(cx, floor_div(list.constant, g), coefs, list.args, list.count);
    arena_reset(&pool->scratch, mark);
    return e;
}

static const Expr *floordiv_const(Cx *cx, const Expr *a, int64_t c);
static const Expr *mod_const(Cx *cx, const Expr *a, int64_t c);

/* ((y floordiv d) + k) floordiv c = (y + d*k) floordiv (d*c); NULL when x is not of that form or it
 * overflows. */
static const Expr *merge_nested(Cx *cx, const Expr *x, int64_t c)
{
    TermList list = expr_terms(&x);
    if (list.count != 1 || list.coefs[0] != 1)
        return NULL;
    const Expr *inner = list.args[0];
    int64_t both, shift;
    if (inner->kind != EX_floordiv || inner->args[1]->kind != EX_const ||
        __builtin_mul_overflow(inner->args[1]->value, c, &both) ||
        __builtin_mul_overflow(inner->args[1]->value, list.constant, &shift))
        return NULL;
    const Expr *y = expr_addi(cx, inner->args[0], shift);
    return expr_is_poison(y) ? NULL : floordiv_const(cx, y, both);
}

/* x floordiv c, where x is not split any more. */
static const Expr *floordiv_rest(Cx *cx, const Expr *x, int64_t c)
{
    int64_t quotient;
    if (c == 1)
        return x;
    if (one_quotient(x, c, &quotient))
        return expr_const(cx, quotient);
    const Expr *merged = merge_nested(cx, x, c);
    if (merged)
        return merged;
    if (x->kind == EX_mod && x->args[1]->kind == EX_const && x->args[1]->value % c == 0)
        return mod_const(cx, floordiv_const(cx, x->args[0], c), x->args[1]->value / c);
    return expr_binary(
        cx, EX_floordiv, x, expr_const(cx, c), x->lo == INT64_MIN ? INT64_MIN : floor_div(x->lo, c),
        x->hi == INT64_MAX ? INT64_MAX : floor_div(x->hi, c), x->div % c == 0 ? x->div / c : 1);
}

/* Splits a = c * quotient + rest by terms. The lists have room for a's terms and one more. */
typedef struct Split {
    int64_t constant; /* of the quotient */
    const Expr **quotient, **rest;
    int64_t *quotient_coefs, *rest_coefs;
    uint32_t quotients, rests;
} Split;

static Split split_new(Arena *scratch, uint32_t count)
{
    Split s = {0};
    s.quotient = NEW_ARRAY(scratch, const Expr *, count + 1);
    s.rest = NEW_ARRAY(scratch, const Expr *, count + 1);
    s.quotient_coefs = NEW_ARRAY(scratch, int64_t, count + 1);
    s.rest_coefs = NEW_ARRAY(scratch, int64_t, count + 1);
    return s;
}

static void split_quotient(Split *s, int64_t coef, const Expr *e)
{
    s->quotient[s->quotients] = e;
    s->quotient_coefs[s->quotients++] = coef;
}

static void split_rest(Split *s, int64_t coef, const Expr *e)
{
    s->rest[s->rests] = e;
    s->rest_coefs[s->rests++] = coef;
}

static const Expr *split_quotient_with(Cx *cx, Split *s, const Expr *last)
{
    split_quotient(s, 1, last);
    return expr_sum(cx, s->constant, s->quotient_coefs, s->quotient, s->quotients);
}

static const Expr *floordiv_split(Cx *cx, const Expr *a, int64_t c, Arena *scratch)
{
    TermList list = expr_terms(&a);
    Split s = split_new(scratch, list.count);
    for (uint32_t i = 0; i < list.count; i++) {
        int64_t coef = list.coefs[i], g = expr_gcd(coef, c);
        if (coef % c == 0)
            split_quotient(&s, coef / c, list.args[i]);
        else if (divides(c, coef, list.args[i]))
            split_quotient(&s, coef / g, floordiv_rest(cx, list.args[i], c / g));
        else
            split_rest(&s, coef, list.args[i]);
    }
    s.constant = floor_div(list.constant, c);
    const Expr *rest = expr_sum(cx, list.constant - s.constant * c, s.rest_coefs, s.rest, s.rests);
    if (expr_is_poison(rest))
        return floordiv_rest(cx, a, c);
    int64_t g = common_divisor(rest, c);
    if (rest == a && g == 1)
        return floordiv_rest(cx, a, c);
    return split_quotient_with(cx, &s, floordiv_const(cx, divide_coefs(cx, rest, g), c / g));
}

static const Expr *floordiv_const(Cx *cx, const Expr *a, int64_t c)
{
    int64_t quotient;
    if (expr_is_poison(a) || c == 1)
        return a;
    if (one_quotient(a, c, &quotient))
        return expr_const(cx, quotient);
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    const Expr *e = floordiv_split(cx, a, c, &pool->scratch);
    arena_reset(&pool->scratch, mark);
    return e;
}

/* r - c * (the one quotient of r), or NULL. */
static const Expr *mod_decided(Cx *cx, const Expr *r, int64_t c)
{
    int64_t quotient, shift;
    if (!one_quotient(r, c, &quotient) || __builtin_mul_overflow(quotient, -c, &shift))
        return NULL;
    return expr_addi(cx, r, shift);
}

/* Drops what c divides; `reduce` also makes coefficients smaller and takes off inner modulos. */
static const Expr *mod_reduce(Cx *cx, const Expr *a, int64_t c, bool reduce)
{
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    TermList list = expr_terms(&a);
    Split s = split_new(&pool->scratch, list.count);
    for (uint32_t i = 0; i < list.count; i++) {
        const Expr *e = list.args[i];
        if (divides(c, list.coefs[i], e))
            continue;
        if (reduce && e->kind == EX_mod && e->args[1]->kind == EX_const &&
            e->args[1]->value % c == 0)
            e = e->args[0];
        split_rest(&s, reduce ? list.coefs[i] % c : list.coefs[i], e);
    }
    int64_t constant = list.constant - floor_div(list.constant, c) * c;
    const Expr *r = expr_sum(cx, constant, s.rest_coefs, s.rest, s.rests);
    arena_reset(&pool->scratch, mark);
    return r;
}

static const Expr *mod_node(Cx *cx, const Expr *a, int64_t c)
{
    int64_t div = expr_gcd(a->div, c), hi = c - div;
    return expr_binary(cx, EX_mod, a, expr_const(cx, c), 0, a->lo >= 0 && a->hi < hi ? a->hi : hi,
                       div);
}

static const Expr *mod_const(Cx *cx, const Expr *a, int64_t c)
{
    if (expr_is_poison(a))
        return a;
    const Expr *r = mod_reduce(cx, a, c, false);
    const Expr *decided = mod_decided(cx, r, c);
    if (!decided)
        decided = mod_decided(cx, a, c);
    if (decided)
        return decided;
    const Expr *reduced = mod_reduce(cx, a, c, true);
    r = expr_is_poison(reduced) ? r : reduced;
    r = expr_is_poison(r) ? a : r;
    int64_t g = common_divisor(r, c);
    if (g > 1) { /* (g*y + k) mod (g*d) = g * ((y + k floordiv g) mod d) + k mod g */
        int64_t constant = expr_terms(&r).constant;
        const Expr *inner = mod_const(cx, divide_coefs(cx, r, g), c / g);
        return expr_sum(cx, constant - floor_div(constant, g) * g, &g, &inner, 1);
    }
    return r == a ? mod_node(cx, a, c) : mod_const(cx, r, c);
}

/* --- divisors that are not constant; b > 0 --- */

/* coef * e / b when b divides it by its factors, else NULL. */
static const Expr *exact_quotient(Cx *cx, int64_t coef, const Expr *e, const Expr *b)
{
    const Expr *have[EXPR_MAX_DEPTH], *need[EXPR_MAX_DEPTH];
    int64_t content, divisor;
    uint32_t count = expr_factors(cx, e, &content, have);
    uint32_t needed = expr_factors(cx, b, &divisor, need);
    if (!count || !needed || __builtin_mul_overflow(content, coef, &content) || content % divisor)
        return NULL;
    uint32_t left = 0, matched = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (matched < needed && have[i] == need[matched])
            matched++;
        else
            have[left++] = have[i];
    }
    return matched == needed ? expr_product(cx, content / divisor, have, left) : NULL;
}

/* rest >= 0 and rest < b */
static bool below_divisor(Cx *cx, const Expr *rest, const Expr *b)
{
    return !expr_is_poison(rest) && rest->lo >= 0 && expr_always_lt(cx, rest, b);
}

/* Takes from `a` the terms that b divides; returns the rest. */
static const Expr *split_expr(Cx *cx, const Expr *a, const Expr *b, Split *s, Arena *scratch)
{
    TermList list = expr_terms(&a);
    *s = split_new(scratch, list.count);
    for (uint32_t i = 0; i < list.count; i++) {
        const Expr *q = exact_quotient(cx, list.coefs[i], list.args[i], b);
        if (q && !expr_is_poison(q))
            split_quotient(s, 1, q);
        else
            split_rest(s, list.coefs[i], list.args[i]);
    }
    return expr_sum(cx, list.constant, s->rest_coefs, s->rest, s->rests);
}

static int64_t floor_div_bound(int64_t a, int64_t b)
{
    if (a == INT64_MIN || a == INT64_MAX)
        return a;
    if (b == INT64_MAX)
        return a < 0 ? -1 : 0;
    return floor_div(a, b);
}

static const Expr *floordiv_node(Cx *cx, const Expr *a, const Expr *b)
{
    int64_t lo = floor_div_bound(a->lo, a->lo < 0 ? b->lo : b->hi);
    int64_t hi = floor_div_bound(a->hi, a->hi < 0 ? b->hi : b->lo);
    return expr_binary(cx, EX_floordiv, a, b, lo, hi, 1);
}

static const Expr *floordiv_expr(Cx *cx, const Expr *a, const Expr *b)
{
    if (below_divisor(cx, a, b))
        return expr_const(cx, 0);
    const Expr *exact = a->kind == EX_const ? NULL : exact_quotient(cx, 1, a, b);
    if (exact && !expr_is_poison(exact))
        return exact;
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    Split s;
    const Expr *rest = split_expr(cx, a, b, &s, &pool->scratch);
    const Expr *e;
    if (rest == a || expr_is_poison(rest))
        e = floordiv_node(cx, a, b);
    else
        e = split_quotient_with(cx, &s, floordiv_expr(cx, rest, b));
    arena_reset(&pool->scratch, mark);
    return e;
}

static const Expr *mod_expr(Cx *cx, const Expr *a, const Expr *b)
{
    if (below_divisor(cx, a, b))
        return a;
    if (a->kind != EX_const && exact_quotient(cx, 1, a, b))
        return expr_const(cx, 0);
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    Split s;
    const Expr *rest = split_expr(cx, a, b, &s, &pool->scratch);
    arena_reset(&pool->scratch, mark);
    if (rest != a && !expr_is_poison(rest))
        return mod_expr(cx, rest, b);
    int64_t hi = b->hi == INT64_MAX ? INT64_MAX : b->hi - 1;
    if (a->lo >= 0 && a->hi < hi)
        hi = a->hi;
    return expr_binary(cx, EX_mod, a, b, 0, hi, expr_gcd(a->div, b->div));
}

/* --- the operations --- */

static bool bad_divisor(const Expr *a, const Expr *b)
{
    return expr_is_poison(a) || expr_is_poison(b) || (b->lo <= 0 && b->hi >= 0);
}

const Expr *expr_floordiv(Cx *cx, const Expr *a, const Expr *b)
{
    if (bad_divisor(a, b))
        return expr_poison(cx);
    a = expr_known(cx, a);
    b = expr_known(cx, b);
    if (b->hi < 0) {
        a = expr_muli(cx, a, -1);
        b = expr_muli(cx, b, -1);
        if (bad_divisor(a, b))
            return expr_poison(cx);
    }
    return b->kind == EX_const ? floordiv_const(cx, a, b->value) : floordiv_expr(cx, a, b);
}

const Expr *expr_ceildiv(Cx *cx, const Expr *a, const Expr *b)
{
    if (bad_divisor(a, b))
        return expr_poison(cx);
    int64_t coefs[] = {1, 1};
    const Expr *args[] = {a, b};
    const Expr *up = expr_sum(cx, b->lo > 0 ? -1 : 1, coefs, args, 2);
    if (!expr_is_poison(up))
        return expr_floordiv(cx, up, b);
    return expr_muli(cx, expr_floordiv(cx, expr_muli(cx, a, -1), b), -1);
}

const Expr *expr_mod(Cx *cx, const Expr *a, const Expr *b)
{
    if (bad_divisor(a, b))
        return expr_poison(cx);
    a = expr_known(cx, a);
    b = expr_known(cx, b);
    if (b->hi < 0) { /* a mod b = -((-a) mod (-b)) */
        a = expr_muli(cx, a, -1);
        b = expr_muli(cx, b, -1);
        return bad_divisor(a, b) ? expr_poison(cx) : expr_muli(cx, expr_mod(cx, a, b), -1);
    }
    return b->kind == EX_const ? mod_const(cx, a, b->value) : mod_expr(cx, a, b);
}

const Expr *expr_divi(Cx *cx, const Expr *a, int64_t b)
{
    return expr_floordiv(cx, a, expr_const(cx, b));
}

const Expr *expr_modi(Cx *cx, const Expr *a, int64_t b)
{
    return expr_mod(cx, a, expr_const(cx, b));
}

/* --- minimum and maximum: chains nested to the left, sorted by id, without what another operand
 * decides --- */

static bool first_wins(Cx *cx, ExprKind kind, const Expr *a, const Expr *b)
{
    return kind == EX_min ? expr_always_le(cx, a, b) : expr_always_le(cx, b, a);
}

/* Adds e to the operands unless one of them decides against it; drops those it decides against. */
static uint32_t add_operand(Cx *cx, ExprKind kind, const Expr **list, uint32_t count, const Expr *e)
{
    for (uint32_t i = 0; i < count; i++)
        if (first_wins(cx, kind, list[i], e))
            return count;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!first_wins(cx, kind, e, list[i]))
            list[kept++] = list[i];
    uint32_t at = kept;
    for (; at && list[at - 1]->id > e->id; at--)
        list[at] = list[at - 1];
    list[at] = e;
    return kept + 1;
}

static uint32_t add_operands(Cx *cx, ExprKind kind, const Expr **list, uint32_t count,
                             const Expr *e)
{
    for (; e->kind == kind; e = e->args[0])
        count = add_operand(cx, kind, list, count, e->args[1]);
    return add_operand(cx, kind, list, count, e);
}

static const Expr *min_or_max(Cx *cx, ExprKind kind, const Expr *a, const Expr *b)
{
    if (expr_is_poison(a) || expr_is_poison(b))
        return expr_poison(cx);
    const Expr *list[2 * EXPR_MAX_DEPTH];
    uint32_t count = add_operands(cx, kind, list, 0, expr_known(cx, a));
    count = add_operands(cx, kind, list, count, expr_known(cx, b));
    const Expr *e = list[0];
    for (uint32_t i = 1; i < count && !expr_is_poison(e); i++) {
        const Expr *x = list[i];
        bool low = kind == EX_min ? e->lo < x->lo : e->lo > x->lo;
        bool high = kind == EX_min ? e->hi < x->hi : e->hi > x->hi;
        e = expr_binary(cx, kind, e, x, low ? e->lo : x->lo, high ? e->hi : x->hi,
                        expr_gcd(e->div, x->div));
    }
    return e;
}

const Expr *expr_min(Cx *cx, const Expr *a, const Expr *b)
{
    return min_or_max(cx, EX_min, a, b);
}

const Expr *expr_max(Cx *cx, const Expr *a, const Expr *b)
{
    return min_or_max(cx, EX_max, a, b);
}
