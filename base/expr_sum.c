/* Sums of integer expressions. They are made in one place, expr_sum: lists are flattened, sorted by
 * id, merged, then the rules that look at several terms are applied and the list is built again
 * while one of them fires. */
#include <stdlib.h>

#include "base/expr_impl.h"

TermList expr_terms(const Expr *const *e)
{
    static const int64_t one = 1;
    const Expr *x = *e;
    if (x->kind == EX_const)
        return (TermList){.constant = x->value};
    if (x->kind == EX_sum)
        return (TermList){x->value, x->count, x->args, x->coefs};
    return (TermList){0, 1, e, &one};
}

typedef struct Terms {
    Wide constant;
    uint32_t count;
    const Expr **args;
    int64_t *coefs;
} Terms;

static bool terms_add(Cx *cx, Terms *t, const Expr *e, int64_t coef)
{
    if (expr_is_poison(e))
        return false;
    e = expr_known(cx, e);
    TermList list = expr_terms(&e);
    t->constant += (Wide)list.constant * coef;
    for (uint32_t i = 0; i < list.count; i++) {
        if (__builtin_mul_overflow(list.coefs[i], coef, &t->coefs[t->count]))
            return false;
        t->args[t->count++] = list.args[i];
    }
    return true;
}

typedef struct Term {
    const Expr *arg;
    int64_t coef;
} Term;

static int by_id(const void *a, const void *b)
{
    uint32_t x = ((const Term *)a)->arg->id, y = ((const Term *)b)->arg->id;
    return (x > y) - (x < y);
}

/* Sorts by id: few terms by insertion, of which nothing is left to do when they are in order, as
 * the sum of a sum and a later term is. */
static void terms_sort(Arena *scratch, Terms *t)
{
    enum { FEW = 16 };
    for (uint32_t i = 1; i < t->count && t->count <= FEW; i++) {
        const Term term = {t->args[i], t->coefs[i]};
        uint32_t at = i;
        for (; at && t->args[at - 1]->id > term.arg->id; at--) {
            t->args[at] = t->args[at - 1];
            t->coefs[at] = t->coefs[at - 1];
        }
        t->args[at] = term.arg;
        t->coefs[at] = term.coef;
    }
    if (t->count <= FEW)
        return;
    Term *list = NEW_ARRAY(scratch, Term, t->count);
    for (uint32_t i = 0; i < t->count; i++)
        list[i] = (Term){t->args[i], t->coefs[i]};
    qsort(list, t->count, sizeof *list, by_id);
    for (uint32_t i = 0; i < t->count; i++) {
        t->args[i] = list[i].arg;
        t->coefs[i] = list[i].coef;
    }
}

/* Adds up equal neighbours and drops zeros; false on overflow. */
static bool terms_merge(Terms *t)
{
    uint32_t out = 0;
    for (uint32_t i = 0; i < t->count;) {
        const Expr *arg = t->args[i];
        Wide coef = 0;
        for (; i < t->count && t->args[i] == arg; i++)
            coef += t->coefs[i];
        if (coef > INT64_MAX || coef < INT64_MIN)
            return false;
        t->args[out] = arg;
        t->coefs[out] = (int64_t)coef;
        out += coef != 0;
    }
    t->count = out;
    return true;
}

/* (x floordiv c) * k*c = k*x when c divides every value of x. */
static bool rewrite_exact(Terms *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const Expr *e = t->args[i];
        if (e->kind != EX_floordiv || e->args[1]->kind != EX_const)
            continue;
        int64_t c = e->args[1]->value;
        if (t->coefs[i] % c == 0 && e->args[0]->div % c == 0) {
            t->args[i] = e->args[0];
            t->coefs[i] /= c;
            return true;
        }
    }
    return false;
}

/* Is `whole`, with coefficient `coef`, k * c * (y floordiv c) where `part` = y mod c has
 * coefficient k? */
static bool is_partner(Cx *cx, const Expr *part, int64_t k, const Expr *whole, int64_t coef)
{
    const Expr *y = part->args[0], *c = part->args[1];
    if (c->kind == EX_const) {
        int64_t expected;
        return whole->kind == EX_floordiv && !__builtin_mul_overflow(k, c->value, &expected) &&
               coef == expected && expr_floordiv(cx, y, c) == whole;
    }
    return whole->kind == EX_mul && coef == k && expr_mul(cx, expr_floordiv(cx, y, c), c) == whole;
}

/* (y floordiv c) * k*c + (y mod c) * k = k*y */
static bool rewrite_pair(Cx *cx, Terms *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->args[i]->kind != EX_mod)
            continue;
        for (uint32_t j = 0; j < t->count; j++) {
            if (is_partner(cx, t->args[i], t->coefs[i], t->args[j], t->coefs[j])) {
                t->args[i] = t->args[i]->args[0];
                t->coefs[j] = 0;
                return true;
            }
        }
    }
    return false;
}

/* False when the bounds leave int64. */
static bool terms_bounds(const Terms *t, int64_t *lo, int64_t *hi)
{
    const Wide far = (Wide)1 << 100; /* keeps the additions of at most EXPR_MAX_SIZE terms exact */
    Wide low = t->constant, high = t->constant;
    bool low_unknown = false, high_unknown = false;
    for (uint32_t i = 0; i < t->count; i++) {
        const Expr *e = t->args[i];
        int64_t coef = t->coefs[i];
        bool no_lo = e->lo == INT64_MIN, no_hi = e->hi == INT64_MAX;
        Wide a = no_lo ? 0 : (Wide)e->lo * coef, b = no_hi ? 0 : (Wide)e->hi * coef;
        Wide small = coef > 0 ? a : b, large = coef > 0 ? b : a;
        low_unknown |= coef > 0 ? no_lo : no_hi;
        high_unknown |= coef > 0 ? no_hi : no_lo;
        if (small < -far || large > far || t->count > EXPR_MAX_SIZE)
            return false;
        low += small;
        high += large;
    }
    *lo = low_unknown ? INT64_MIN : (int64_t)low;
    *hi = high_unknown ? INT64_MAX : (int64_t)high;
    return (low_unknown || (low >= INT64_MIN && low <= INT64_MAX)) &&
           (high_unknown || (high >= INT64_MIN && high <= INT64_MAX));
}

static int64_t terms_div(const Terms *t)
{
    int64_t div = expr_gcd((int64_t)t->constant, 0);
    for (uint32_t i = 0; i < t->count; i++) {
        int64_t part;
        if (__builtin_mul_overflow(expr_gcd(t->coefs[i], 0), t->args[i]->div, &part))
            part = t->args[i]->div;
        div = expr_gcd(div, part);
    }
    return div;
}

static const Expr *terms_finish(Cx *cx, Terms *t)
{
    ExprPool *pool = expr_pool(cx);
    terms_sort(&pool->scratch, t);
    if (!terms_merge(t))
        return pool->poison;
    if (t->constant > INT64_MAX || t->constant < INT64_MIN)
        return pool->poison;
    if (rewrite_exact(t) || rewrite_pair(cx, t))
        return expr_sum(cx, (int64_t)t->constant, t->coefs, t->args, t->count);
    Expr key = {.kind = EX_sum, .value = (int64_t)t->constant, .count = t->count};
    if (!t->count)
        return expr_const(cx, key.value);
    if (t->count == 1 && t->coefs[0] == 1 && !key.value)
        return t->args[0];
    if (!terms_bounds(t, &key.lo, &key.hi))
        return pool->poison;
    key.args = t->args;
    key.coefs = t->coefs;
    key.div = terms_div(t);
    if (expr_has_one_value(&key))
        return expr_const(cx, key.lo);
    return expr_intern(pool, &key);
}

const Expr *expr_sum(Cx *cx, int64_t constant, const int64_t *coefs, const Expr *const *args,
                     uint32_t count)
{
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    size_t room = 0;
    for (uint32_t i = 0; i < count; i++)
        room += args[i]->kind == EX_sum ? args[i]->count : 1;
    Terms t = {.constant = constant};
    t.args = NEW_ARRAY(&pool->scratch, const Expr *, room);
    t.coefs = NEW_ARRAY(&pool->scratch, int64_t, room);
    bool ok = true;
    for (uint32_t i = 0; i < count && ok; i++)
        ok = coefs[i] == 0 ? !expr_is_poison(args[i]) : terms_add(cx, &t, args[i], coefs[i]);
    const Expr *e = ok ? terms_finish(cx, &t) : pool->poison;
    arena_reset(&pool->scratch, mark);
    return e;
}

const Expr *expr_add(Cx *cx, const Expr *a, const Expr *b)
{
    return expr_sum(cx, 0, (int64_t[]){1, 1}, (const Expr *[]){a, b}, 2);
}

const Expr *expr_sub(Cx *cx, const Expr *a, const Expr *b)
{
    return expr_sum(cx, 0, (int64_t[]){1, -1}, (const Expr *[]){a, b}, 2);
}

const Expr *expr_addi(Cx *cx, const Expr *a, int64_t b)
{
    return expr_sum(cx, b, (int64_t[]){1}, &a, 1);
}

const Expr *expr_muli(Cx *cx, const Expr *a, int64_t b)
{
    return expr_sum(cx, 0, &b, &a, 1);
}
