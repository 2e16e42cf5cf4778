/* Proofs of e >= 0 by elimination.
 *
 * When the bounds of e do not decide, a term t of e is cancelled with a fact: e = a*t + .. and f =
 * b*t + .. >= 0 with a and b of one sign give e*|b| - f*|a| without t, and if that is >= 0, so is
 * e. Terms that are no symbols bring facts of their own: c*(x floordiv c) <= x < c*(x floordiv c) +
 * c;  x mod d < d;  min(x, y) <= x, y <= max(x, y); a min from below and a max from above are
 * proven for both arguments;  x * y <= l * y when x <= l and y >= 0. The search looks for short
 * proofs first, since most are; depth and steps are limited. */
#include "ir/facts.h"

enum { PROOF_DEPTH = 6, PROOF_STEPS = 4000 };

void facts_init(Facts *facts, Cx *cx)
{
    *facts = (Facts){.cx = cx};
}

static int64_t magnitude(int64_t a)
{
    return a < 0 ? (a == INT64_MIN ? INT64_MAX : -a) : a;
}

/* Greatest common divisor of the coefficients of a sum, but of term `without`; 0 when there are
 * none. */
static int64_t common_factor(const Expr *e, uint32_t without)
{
    int64_t common = 0;
    for (uint32_t i = 0; e->kind == EX_sum && i < e->count; i++)
        for (int64_t b = i == without ? 0 : magnitude(e->coefs[i]); b;) {
            int64_t rest = common % b;
            common = b;
            b = rest;
        }
    return common;
}

/* c + g*(..) >= 0 exactly when c floordiv g + (..) >= 0: rounding now keeps what dividing by
 * quotients later would lose. */
static const Expr *divided(Cx *cx, const Expr *e)
{
    int64_t common = common_factor(e, UINT32_MAX);
    if (common < 2)
        return e;
    int64_t *coefs = NEW_ARRAY(cx->arena, int64_t, e->count);
    for (uint32_t i = 0; i < e->count; i++)
        coefs[i] = e->coefs[i] / common;
    int64_t down = e->value / common - (e->value % common < 0);
    return expr_sum(cx, down, coefs, e->args, e->count);
}

/* A symbol that moves e by less than the common factor of the other terms: its worst value stands
 * for it, and the rest can be divided. NULL when there is none. */
static const Expr *without_small(Cx *cx, const Expr *e)
{
    for (uint32_t i = 0; e->kind == EX_sum && i < e->count; i++) {
        const Expr *sym = e->args[i];
        int64_t range, move;
        if (sym->kind != EX_sym || __builtin_sub_overflow(sym->hi, sym->lo, &range) ||
            __builtin_mul_overflow(range, magnitude(e->coefs[i]), &move) ||
            move >= common_factor(e, i))
            continue;
        const Expr *worst = expr_const(cx, e->coefs[i] < 0 ? sym->hi : sym->lo);
        return divided(cx, expr_add(cx, e, expr_muli(cx, expr_sub(cx, worst, sym), e->coefs[i])));
    }
    return NULL;
}

void facts_add(Facts *facts, const Expr *e)
{
    e = divided(facts->cx, e);
    if (!expr_is_poison(e) && e->lo < 0)
        VEC_PUSH(facts->cx->arena, facts->items, facts->count, facts->cap, e);
}

/* b - 1 - a >= 0 */
static const Expr *less(Cx *cx, const Expr *a, const Expr *b)
{
    return expr_addi(cx, expr_sub(cx, b, a), -1);
}

void facts_add_lt(Facts *facts, const Expr *a, const Expr *b)
{
    facts_add(facts, less(facts->cx, a, b));
}

void facts_add_guard(Facts *facts, const Guard *guard)
{
    facts_add(facts, expr_sub(facts->cx, guard->e, guard->lo));
    facts_add_lt(facts, guard->e, guard->hi);
}

static uint32_t term_count(const Expr *e)
{
    return e->kind == EX_sum ? e->count : e->kind == EX_const ? 0 : 1;
}

static const Expr *term_at(const Expr *e, uint32_t i, int64_t *coef)
{
    *coef = e->kind == EX_sum ? e->coefs[i] : 1;
    return e->kind == EX_sum ? e->args[i] : e;
}

static int64_t coef_of(const Expr *e, const Expr *term)
{
    for (uint32_t i = 0; i < term_count(e); i++) {
        int64_t coef;
        if (term_at(e, i, &coef) == term)
            return coef;
    }
    return 0;
}

static bool prove(Facts *facts, const Expr *e, int depth);

/* Cancels `term`, whose coefficient in e is `a`, with the fact f >= 0. */
static bool cancel(Facts *facts, const Expr *e, const Expr *term, int64_t a, const Expr *f,
                   int depth)
{
    Cx *cx = facts->cx;
    int64_t b = coef_of(f, term);
    if (b == 0 || (a < 0) != (b < 0))
        return false;
    const Expr *rest = expr_sub(cx, expr_muli(cx, e, magnitude(b)), expr_muli(cx, f, magnitude(a)));
    rest = expr_addi(cx, rest, magnitude(b) - 1); /* e * |b| > -|b| is enough: e is an integer */
    return !expr_is_poison(rest) && prove(facts, rest, depth - 1);
}

/* Replaces a min (max) by each of its arguments. */
static bool split(Facts *facts, const Expr *e, const Expr *term, int64_t a, int depth)
{
    Cx *cx = facts->cx;
    for (int i = 0; i < 2; i++) {
        const Expr *rest = expr_add(cx, e, expr_muli(cx, expr_sub(cx, term->args[i], term), a));
        if (expr_is_poison(rest) || !prove(facts, rest, depth - 1))
            return false;
    }
    return true;
}

/* e = others + a * (x floordiv c). First what `others` leaves at worst for the quotient is turned
 * into a limit of x; then the quotient is replaced by x / c, where x - c + 1 <= c * (x floordiv c)
 * <= x, and what is proven of c * e may be as small as 1 - c, since e is an integer. */
static bool by_quotient(Facts *facts, const Expr *e, const Expr *term, int64_t a, int depth)
{
    Cx *cx = facts->cx;
    const int64_t far = (int64_t)1 << 30;
    const Expr *x = term->args[0], *others = expr_sub(cx, e, expr_muli(cx, term, a));
    int64_t c = term->args[1]->value, size = magnitude(a), worst = others->lo;
    if (worst > -far && worst < far && c < far) {
        int64_t room = (worst < 0 ? worst - size + 1 : worst) / size; /* rounded down */
        const Expr *gap =
            a < 0 ? expr_sub(cx, expr_const(cx, c * room + c - 1), x) : expr_addi(cx, x, c * room);
        if (!expr_is_poison(gap) && prove(facts, gap, depth - 1))
            return true;
    }
    const Expr *edge = expr_muli(cx, expr_addi(cx, x, a < 0 ? 0 : 1 - c), a);
    const Expr *rest = expr_addi(cx, expr_add(cx, expr_muli(cx, others, c), edge), c - 1);
    return !expr_is_poison(rest) && prove(facts, rest, depth - 1);
}

/* e * y, term by term: products of symbols are not distributed by themselves. */
static const Expr *times(Cx *cx, const Expr *e, const Expr *y)
{
    const Expr *all = expr_muli(cx, y, e->kind == EX_sum || e->kind == EX_const ? e->value : 0);
    for (uint32_t i = 0; i < term_count(e); i++) {
        int64_t coef;
        const Expr *term = term_at(e, i, &coef);
        all = expr_add(cx, all, expr_muli(cx, expr_mul(cx, term, y), coef));
    }
    return all;
}

/* e = others - (x floordiv y) >= 0 exactly when x < (others + 1) * y, and e = others + (x floordiv
 * y) >= 0 exactly when x >= -others * y. */
static bool by_open_quotient(Facts *facts, const Expr *e, const Expr *term, int64_t a, int depth)
{
    Cx *cx = facts->cx;
    const Expr *x = term->args[0], *y = term->args[1];
    if (a != 1 && a != -1)
        return false;
    const Expr *limit = times(cx, expr_sub(cx, e, expr_muli(cx, term, a)), y);
    const Expr *gap = a < 0 ? less(cx, x, expr_add(cx, limit, y)) : expr_add(cx, limit, x);
    return !expr_is_poison(gap) && prove(facts, gap, depth - 1);
}

/* e with a * (x * y) replaced by a * (limit * y), which is less where `limit` bounds x on the side
 * that counts and y is not below 0. */
static bool with_limit(Facts *facts, const Expr *e, const Expr *term, int64_t a, const Expr *limit,
                       const Expr *y, int depth)
{
    Cx *cx = facts->cx;
    const Expr *moved = expr_sub(cx, times(cx, limit, y), term);
    const Expr *rest = expr_add(cx, e, expr_muli(cx, moved, a));
    return !expr_is_poison(rest) && prove(facts, rest, depth - 1);
}

/* Limits of the factor x of the term, from above where the term is subtracted: its bounds, what it
 * is below, the arguments of a min or max, facts that hold it once. */
static bool by_factor(Facts *facts, const Expr *e, const Expr *term, int64_t a, const Expr *x,
                      const Expr *y, int depth)
{
    Cx *cx = facts->cx;
    int64_t edge = a < 0 ? x->hi : x->lo;
    if (edge != INT64_MIN && edge != INT64_MAX &&
        with_limit(facts, e, term, a, expr_const(cx, edge), y, depth))
        return true;
    if (a < 0 && x->kind == EX_sym && x->below &&
        with_limit(facts, e, term, a, expr_addi(cx, x->below, -1), y, depth))
        return true;
    for (uint32_t i = 0; i < 2 && x->kind == (a < 0 ? EX_min : EX_max); i++)
        if (with_limit(facts, e, term, a, x->args[i], y, depth))
            return true;
    for (uint32_t i = facts->count; i-- > 0;) {
        const Expr *fact = facts->items[i];
        int64_t b = coef_of(fact, x);
        if (b != (a < 0 ? -1 : 1)) /* fact = rest - x, or rest + x */
            continue;
        const Expr *rest = expr_sub(cx, fact, expr_muli(cx, x, b));
        if (with_limit(facts, e, term, a, expr_muli(cx, rest, -b), y, depth))
            return true;
    }
    return false;
}

/* A product, by the limits of each of its factors in turn. */
static bool by_product(Facts *facts, const Expr *e, const Expr *term, int64_t a, int depth)
{
    const Expr *others = NULL; /* product of the factors passed */
    for (const Expr *left = term; left; left = left->kind == EX_mul ? left->args[0] : NULL) {
        const Expr *x = left->kind == EX_mul ? left->args[1] : left, *y = others;
        if (left->kind == EX_mul)
            y = y ? expr_mul(facts->cx, y, left->args[0]) : left->args[0];
        if (y && !expr_is_poison(y) && y->lo >= 0 && by_factor(facts, e, term, a, x, y, depth))
            return true;
        others = others ? expr_mul(facts->cx, others, x) : x;
    }
    return false;
}

/* 2 * max(x, y) >= x + y >= 2 * min(x, y): how |x| = max(x, -x) is seen to be >= 0. */
static const Expr *by_mean(Cx *cx, const Expr *term)
{
    const Expr *both = expr_add(cx, term->args[0], term->args[1]);
    const Expr *gap = expr_sub(cx, expr_muli(cx, term, 2), both);
    return term->kind == EX_max ? gap : expr_muli(cx, gap, -1);
}

/* The facts a term brings by what it is. */
static bool by_meaning(Facts *facts, const Expr *e, const Expr *term, int64_t a, int depth)
{
    Cx *cx = facts->cx;
    const Expr *x = term->count > 0 ? term->args[0] : NULL;
    const Expr *y = term->count > 1 ? term->args[1] : NULL;
    switch (term->kind) {
    case EX_floordiv: {
        if (y->lo <= 0)
            return false;
        if (y->kind == EX_const) /* x - c * term would become x mod c */
            return by_quotient(facts, e, term, a, depth);
        const Expr *rest = expr_sub(cx, x, expr_mul(cx, term, y)); /* 0 <= rest < y */
        if (expr_is_poison(rest))
            return false;
        const Expr *fact = a < 0 ? rest : less(cx, rest, y);
        return cancel(facts, e, term, a, fact, depth) || by_open_quotient(facts, e, term, a, depth);
    }
    case EX_mod: return y->lo > 0 && a < 0 && cancel(facts, e, term, a, less(cx, term, y), depth);
    case EX_min:
    case EX_max:
        if ((a < 0) == (term->kind == EX_max))
            return split(facts, e, term, a, depth);
        for (int i = 0; i < 2; i++) {
            const Expr *gap = expr_sub(cx, term->args[i], term);
            const Expr *fact = a < 0 ? gap : expr_muli(cx, gap, -1);
            if (cancel(facts, e, term, a, fact, depth))
                return true;
        }
        return cancel(facts, e, term, a, by_mean(cx, term), depth);
    case EX_mul: return by_product(facts, e, term, a, depth);
    case EX_const:
    case EX_sym:
    case EX_sum:
    case EX_poison: return false;
    }
    return false;
}

static bool prove(Facts *facts, const Expr *e, int depth)
{
    if (e->lo >= 0)
        return true;
    e = divided(facts->cx, e);
    if (e->hi < 0 || depth == 0 || facts->steps-- <= 0)
        return false;
    const Expr *coarse = without_small(facts->cx, e);
    if (coarse && !expr_is_poison(coarse) && prove(facts, coarse, depth - 1))
        return true;
    for (uint32_t t = 0; t < term_count(e); t++) {
        int64_t a;
        const Expr *term = term_at(e, t, &a);
        for (uint32_t i = facts->count; i-- > 0;)
            if (cancel(facts, e, term, a, facts->items[i], depth))
                return true;
        if (by_meaning(facts, e, term, a, depth))
            return true;
    }
    return false;
}

/* Whether a fact is refuted by the others: this place is never reached. So is a loop over nothing,
 * or a step of a pipeline that the size, known from an equation, does not have. */
static bool is_unreachable(Facts *facts, int depth)
{
    Cx *cx = facts->cx;
    for (uint32_t i = facts->count; i-- > 0;) {
        const Expr *below_zero = expr_addi(cx, expr_muli(cx, facts->items[i], -1), -1);
        if (!expr_is_poison(below_zero) && prove(facts, below_zero, depth))
            return true;
    }
    return false;
}

bool facts_prove(Facts *facts, const Expr *e)
{
    if (expr_is_poison(e))
        return false;
    facts->steps = PROOF_STEPS;
    for (int depth = 1; depth <= PROOF_DEPTH; depth++)
        if (prove(facts, e, depth))
            return true;
    facts->steps = PROOF_STEPS;
    for (int depth = 1; depth <= PROOF_DEPTH; depth++)
        if (is_unreachable(facts, depth))
            return true;
    return false;
}

bool facts_prove_lt(Facts *facts, const Expr *a, const Expr *b)
{
    return facts_prove(facts, less(facts->cx, a, b));
}
