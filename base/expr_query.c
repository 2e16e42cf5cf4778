/* Questions about expressions, substitution, and evaluation.
 *
 * Walks that may meet shared nodes keep a map of visited nodes in the pool's scratch arena;
 * expr_eval and expr_uses have no pool and are bounded by EXPR_MAX_SIZE instead. */
#include "base/expr_impl.h"

#include <string.h>

/* Expression by id, in the scratch arena; for walks over shared nodes. */
typedef struct ExprMap {
    Arena *arena;
    const Expr **keys, **values;
    uint32_t capacity, used;
} ExprMap;

static uint32_t map_slot(const ExprMap *map, const Expr *key)
{
    uint32_t at = (key->id * 0x9E3779B1u) & (map->capacity - 1);
    while (map->keys[at] && map->keys[at] != key)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

static const Expr *map_find_expr(const ExprMap *map, const Expr *key)
{
    if (!map->capacity)
        return NULL;
    uint32_t at = map_slot(map, key);
    return map->keys[at] ? map->values[at] : NULL;
}

/* `key` must be new. */
static void map_add_expr(ExprMap *map, const Expr *key, const Expr *value)
{
    if (map->used * 2 >= map->capacity) {
        ExprMap bigger = {.arena = map->arena, .capacity = map->capacity ? map->capacity * 2 : 16};
        bigger.keys = NEW_ARRAY(map->arena, const Expr *, bigger.capacity);
        bigger.values = NEW_ARRAY(map->arena, const Expr *, bigger.capacity);
        for (uint32_t i = 0; i < map->capacity; i++)
            if (map->keys[i])
                map_add_expr(&bigger, map->keys[i], map->values[i]);
        *map = bigger;
    }
    uint32_t at = map_slot(map, key);
    map->used += !map->keys[at];
    map->keys[at] = key;
    map->values[at] = value;
}

/* Is `part` an operand of the chain e of this kind? */
static bool is_operand(ExprKind kind, const Expr *e, const Expr *part)
{
    for (; e->kind == kind; e = e->args[0])
        if (e->args[1] == part)
            return true;
    return e == part;
}

bool expr_always_lt(Cx *cx, const Expr *a, const Expr *b)
{
    if (expr_is_poison(a) || expr_is_poison(b))
        return false;
    if (a->hi < b->lo)
        return true;
    if (a->kind == EX_mod && a->args[1] == b && b->lo > 0)
        return true;
    if (a->kind == EX_sym && a->below == b)
        return true;
    const Expr *gap = expr_sub(cx, b, a);
    return !expr_is_poison(gap) && gap->lo > 0;
}

bool expr_always_le(Cx *cx, const Expr *a, const Expr *b)
{
    if (expr_is_poison(a) || expr_is_poison(b))
        return false;
    if (a == b || (a->hi <= b->lo && a->hi != INT64_MAX && b->lo != INT64_MIN))
        return true;
    if (is_operand(EX_min, a, b) || is_operand(EX_max, b, a))
        return true;
    if (a->kind == EX_sym && a->below && b == expr_addi(cx, a->below, -1))
        return true;
    const Expr *gap = expr_sub(cx, b, a);
    return !expr_is_poison(gap) && gap->lo >= 0;
}

bool expr_uses(const Expr *e, const Expr *sym)
{
    if (e == sym)
        return true;
    if (e->id < sym->id) /* operands are older than what uses them */
        return false;
    for (uint32_t i = 0; i < e->count; i++)
        if (expr_uses(e->args[i], sym))
            return true;
    return false;
}

bool expr_linear(Cx *cx, const Expr *e, const Expr *sym, int64_t *coef, const Expr **rest)
{
    if (expr_is_poison(e))
        return false;
    TermList list = expr_terms(&e);
    *coef = 0;
    for (uint32_t i = 0; i < list.count; i++) {
        if (list.args[i] == sym)
            *coef = list.coefs[i];
        else if (expr_uses(list.args[i], sym))
            return false;
    }
    *rest = e;
    if (!*coef)
        return true;
    int64_t less;
    if (__builtin_mul_overflow(*coef, INT64_C(-1), &less))
        return false;
    *rest = expr_sum(cx, 0, (int64_t[]){1, less}, (const Expr *[]){e, sym}, 2);
    return !expr_is_poison(*rest);
}

static const Expr *rebuild(Cx *cx, const Expr *e, const Expr *const *args)
{
    switch (e->kind) {
    case EX_sum: return expr_sum(cx, e->value, e->coefs, args, e->count);
    case EX_mul: return expr_mul(cx, args[0], args[1]);
    case EX_floordiv: return expr_floordiv(cx, args[0], args[1]);
    case EX_mod: return expr_mod(cx, args[0], args[1]);
    case EX_min: return expr_min(cx, args[0], args[1]);
    case EX_max: return expr_max(cx, args[0], args[1]);
    case EX_const:
    case EX_sym:
    case EX_poison: break;
    }
    return e;
}

static const Expr *subst(Cx *cx, ExprMap *map, const Expr *e)
{
    const Expr *done = map_find_expr(map, e);
    if (done)
        return done;
    if (!e->count)
        return e;
    const Expr **args = NEW_ARRAY(map->arena, const Expr *, e->count);
    bool changed = false;
    for (uint32_t i = 0; i < e->count; i++) {
        args[i] = subst(cx, map, e->args[i]);
        changed |= args[i] != e->args[i];
    }
    done = changed ? rebuild(cx, e, args) : e;
    map_add_expr(map, e, done);
    return done;
}

const Expr *expr_subst(Cx *cx, const Expr *e, const Expr *const *syms, const Expr *const *with,
                       size_t count)
{
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    ExprMap map = {.arena = &pool->scratch};
    for (size_t i = 0; i < count; i++)
        map_add_expr(&map, syms[i], with[i]);
    e = subst(cx, &map, e);
    arena_reset(&pool->scratch, mark);
    return e;
}

typedef struct SymbolList {
    const Expr **items;
    uint32_t count, capacity;
} SymbolList;

static void collect(ExprMap *map, SymbolList *found, const Expr *e)
{
    if ((!e->count && e->kind != EX_sym) || map_find_expr(map, e))
        return;
    map_add_expr(map, e, e);
    if (e->kind == EX_sym)
        VEC_PUSH(map->arena, found->items, found->count, found->capacity, e);
    for (uint32_t i = 0; i < e->count; i++)
        collect(map, found, e->args[i]);
}

void expr_symbols(Cx *cx, const Expr *e, void (*visit)(void *user, const Expr *sym), void *user)
{
    ExprPool *pool = expr_pool(cx);
    ArenaMark mark = arena_mark(&pool->scratch);
    ExprMap map = {.arena = &pool->scratch};
    SymbolList found = {0};
    collect(&map, &found, e);
    for (uint32_t i = 0; i < found.count; i++)
        visit(user, found.items[i]);
    arena_reset(&pool->scratch, mark);
}

static bool eval_divide(const Expr *e, int64_t a, int64_t b, int64_t *value)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    int64_t remainder = a % b;
    bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
    *value = e->kind == EX_floordiv ? a / b - adjust : remainder + (adjust ? b : 0);
    return true;
}

static bool eval_sum(const Expr *e, ExprLookup *lookup, void *user, int64_t *value)
{
    *value = e->value;
    for (uint32_t i = 0; i < e->count; i++) {
        int64_t term;
        if (!expr_eval(e->args[i], lookup, user, &term) ||
            __builtin_mul_overflow(term, e->coefs[i], &term) ||
            __builtin_add_overflow(*value, term, value))
            return false;
    }
    return true;
}

bool expr_eval(const Expr *e, ExprLookup *lookup, void *user, int64_t *value)
{
    int64_t a = 0, b = 0;
    if (e->kind == EX_sum)
        return eval_sum(e, lookup, user, value);
    if (e->count == 2 &&
        (!expr_eval(e->args[0], lookup, user, &a) || !expr_eval(e->args[1], lookup, user, &b)))
        return false;
    switch (e->kind) {
    case EX_const: *value = e->value; return true;
    case EX_sym: return lookup(user, e, value);
    case EX_mul: return !__builtin_mul_overflow(a, b, value);
    case EX_floordiv:
    case EX_mod: return eval_divide(e, a, b, value);
    case EX_min: *value = a < b ? a : b; return true;
    case EX_max: *value = a > b ? a : b; return true;
    case EX_sum:
    case EX_poison: break;
    }
    return false;
}
