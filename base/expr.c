/* The pool of integer expressions, and interning: every node but symbols is made by expr_intern,
 * which finds an equal node or copies the key into the pool. Sums are in expr_sum.c, products in
 * expr_mul.c; division, modulo, min and max in expr_div.c. */
#include "base/expr_impl.h"

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

const Expr *expr_intern(ExprPool *pool, Expr *key)
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
    return expr_intern(expr_pool(cx), &key);
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
    return expr_intern(expr_pool(cx), &key);
}
