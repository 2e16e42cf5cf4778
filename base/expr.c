/* Construction of integer expressions: the pool, interning, sums and products.
 *
 * Every node is made by intern(), which finds an equal node or copies the key into the pool. Sums
 * are made in one place, expr_sum: lists are flattened, sorted by id, merged, then the rules that
 * look at several terms are applied and the list is built again while one of them fires. Division,
 * modulo, min and max are in expr_div.c. */
#include "base/expr_impl.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

ExprPool *expr_pool(Cx *cx)
{
    if (cx->exprs)
        return cx->exprs;
    Arena arena;
    arena_init(&arena, cx->own.from, cx->own.limit, &cx->oom);
    ExprPool *pool = NEW(&arena, ExprPool);
    pool->arena = arena;
    cx->exprs = pool; /* from here on cx_finish releases it */
    arena_init(&pool->scratch, cx->own.from, cx->own.limit, &cx->oom);
    arena_alloc(&pool->scratch, 1); /* keeps the first block across resets */
    pool->capacity = FIRST_CAPACITY;
    pool->table = NEW_ARRAY(&pool->arena, const Expr *, pool->capacity);
    Expr *poison = NEW(&pool->arena, Expr);
    *poison = (Expr){
        .kind = EX_poison, .lo = INT64_MIN, .hi = INT64_MAX, .div = 1, .depth = 1, .size = 1};
    poison->id = pool->next_id++;
    pool->poison = poison;
    return pool;
}

void expr_pool_release(Cx *cx)
{
    if (!cx->exprs)
        return;
    Arena arena = cx->exprs->arena, scratch = cx->exprs->scratch;
    cx->exprs = NULL;
    if (scratch.from)
        arena_finish(&scratch);
    arena_finish(&arena);
}

static uint32_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> 32);
}

static uint32_t hash_node(const Expr *e)
{
    uint64_t h = (uint64_t)e->value * 31 + (uint64_t)e->kind * 0x100000001B3u + e->count;
    for (uint32_t i = 0; i < e->count; i++) {
        h = (h ^ e->args[i]->id) * 0x9E3779B97F4A7C15u;
        h ^= h >> 29;
        if (e->coefs)
            h += (uint64_t)e->coefs[i] * 0xC2B2AE3D27D4EB4Fu;
    }
    return mix(h);
}

static bool same_node(const Expr *a, const Expr *b)
{
    if (a->kind != b->kind || a->value != b->value || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->args[i] != b->args[i] || (a->coefs && a->coefs[i] != b->coefs[i]))
            return false;
    return true;
}

static void grow_table(ExprPool *pool)
{
    uint32_t capacity = pool->capacity * 2;
    const Expr **table = NEW_ARRAY(&pool->arena, const Expr *, capacity);
    for (uint32_t i = 0; i < pool->capacity; i++) {
        if (!pool->table[i])
            continue;
        uint32_t at = hash_node(pool->table[i]) & (capacity - 1);
        while (table[at])
            at = (at + 1) & (capacity - 1);
        table[at] = pool->table[i];
    }
    pool->table = table;
    pool->capacity = capacity;
}

static const Expr *intern(ExprPool *pool, Expr *key)
{
    uint32_t at = hash_node(key) & (pool->capacity - 1);
    for (; pool->table[at]; at = (at + 1) & (pool->capacity - 1))
        if (same_node(pool->table[at], key))
            return pool->table[at];
    key->depth = key->size = 1;
    for (uint32_t i = 0; i < key->count; i++) {
        if (key->depth <= key->args[i]->depth)
            key->depth = key->args[i]->depth + 1;
        key->size += key->args[i]->size;
        if (key->depth > EXPR_MAX_DEPTH || key->size > EXPR_MAX_SIZE)
            return pool->poison;
    }
    Expr *e = arena_copy(&pool->arena, key, sizeof *key);
    e->id = pool->next_id++;
    if (e->count)
        e->args = arena_copy(&pool->arena, key->args, e->count * sizeof *e->args);
    if (e->coefs)
        e->coefs = arena_copy(&pool->arena, key->coefs, e->count * sizeof *e->coefs);
    pool->table[at] = e;
    if (++pool->used * 2 > pool->capacity)
        grow_table(pool);
    return e;
}

int64_t expr_gcd(int64_t a, int64_t b)
{
    uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
    while (y) {
        uint64_t r = x % y;
        x = y;
        y = r;
    }
    return x > INT64_MAX ? INT64_C(1) << 62 : (int64_t)x;
}

const Expr *expr_const(Cx *cx, int64_t value)
{
    Expr key = {.kind = EX_const, .value = value, .lo = value, .hi = value};
    key.div = expr_gcd(value, 0);
    return intern(expr_pool(cx), &key);
}

const Expr *expr_poison(Cx *cx)
{
    return expr_pool(cx)->poison;
}

static Expr *new_sym(Cx *cx, const char *name, int64_t lo, int64_t hi, int64_t div)
{
    CHECK(lo <= hi && div >= 1);
    ExprPool *pool = expr_pool(cx);
    if (lo != INT64_MIN && lo % div && lo <= INT64_MAX - div)
        lo = (floor_div(lo, div) + 1) * div;
    if (hi != INT64_MAX && hi >= INT64_MIN + div)
        hi = floor_div(hi, div) * div;
    CHECK(lo <= hi);
    Expr *e = NEW(&pool->arena, Expr);
    *e = (Expr){.kind = EX_sym, .lo = lo, .hi = hi, .div = div, .depth = 1, .size = 1};
    e->id = pool->next_id++;
    e->name = arena_strdup(&pool->arena, name);
    return e;
}

const Expr *expr_sym(Cx *cx, const char *name, int64_t lo, int64_t hi, int64_t div)
{
    return new_sym(cx, name, lo, hi, div);
}

const Expr *expr_sym_below(Cx *cx, const char *name, int64_t lo, int64_t hi, const Expr *below)
{
    Expr *e = new_sym(cx, name, lo, hi, 1);
    e->below = below;
    return e;
}

const Expr *expr_known(Cx *cx, const Expr *e)
{
    return e->kind != EX_const && expr_has_one_value(e) ? expr_const(cx, e->lo) : e;
}

const Expr *expr_binary(Cx *cx, ExprKind kind, const Expr *a, const Expr *b, int64_t lo, int64_t hi,
                        int64_t div)
{
    if (lo == hi && lo != INT64_MIN && hi != INT64_MAX)
        return expr_const(cx, lo);
    const Expr *args[] = {a, b};
    Expr key = {.kind = kind, .lo = lo, .hi = hi, .div = div, .count = 2, .args = args};
    return intern(expr_pool(cx), &key);
}

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

/* --- sums --- */

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
    return intern(pool, &key);
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

/* --- products --- */

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
