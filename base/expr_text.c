/* Text of integer expressions.
 *
 *   sum     = ["-"] product { ("+" | "-") product }
 *   product = primary { ("*" | "floordiv" | "mod") primary }         left to right
 *   primary = number | "-" primary | name | "(" sum ")" | ("min" | "max") "(" sum "," sum ")" |
 * "poison"
 *
 * The printer writes the canonical form: terms in order with their coefficients, the constant last.
 * The parser collects the terms of a sum, coefficients apart, and builds it at once, as expr_sum
 * did for the original; so it meets the same node. */
#include "base/expr_impl.h"

#include <inttypes.h>

static void print_operand(Text *text, const Expr *e)
{
    bool simple = e->kind == EX_sym || e->kind == EX_min || e->kind == EX_max ||
                  (e->kind == EX_const && e->value >= 0) || e->kind == EX_poison;
    if (!simple)
        text_put(text, "(", 1);
    expr_print(text, e);
    if (!simple)
        text_put(text, ")", 1);
}

static void print_sum(Text *text, const Expr *e)
{
    for (uint32_t i = 0; i < e->count; i++) {
        int64_t coef = e->coefs[i];
        uint64_t size = coef < 0 ? 0 - (uint64_t)coef : (uint64_t)coef;
        text_add(text, "%s", i == 0 ? (coef < 0 ? "-" : "") : (coef < 0 ? " - " : " + "));
        if (size != 1)
            text_add(text, "%" PRIu64 "*", size);
        if (e->args[i]->kind == EX_mul)
            expr_print(text, e->args[i]);
        else
            print_operand(text, e->args[i]);
    }
    if (e->value)
        text_add(text, " %c %" PRIu64, e->value < 0 ? '-' : '+',
                 e->value < 0 ? 0 - (uint64_t)e->value : (uint64_t)e->value);
}

static void print_infix(Text *text, const Expr *e, const char *op)
{
    if (e->kind == EX_mul && e->args[0]->kind == EX_mul)
        expr_print(text, e->args[0]);
    else
        print_operand(text, e->args[0]);
    text_add(text, "%s", op);
    print_operand(text, e->args[1]);
}

static void print_call(Text *text, const Expr *e, const char *name)
{
    text_add(text, "%s(", name);
    expr_print(text, e->args[0]);
    text_put(text, ", ", 2);
    expr_print(text, e->args[1]);
    text_put(text, ")", 1);
}

void expr_print(Text *text, const Expr *e)
{
    switch (e->kind) {
    case EX_const: text_add(text, "%" PRId64, e->value); break;
    case EX_sym: text_add(text, "%s", e->name); break;
    case EX_sum: print_sum(text, e); break;
    case EX_mul: print_infix(text, e, "*"); break;
    case EX_floordiv: print_infix(text, e, " floordiv "); break;
    case EX_mod: print_infix(text, e, " mod "); break;
    case EX_min: print_call(text, e, "min"); break;
    case EX_max: print_call(text, e, "max"); break;
    case EX_poison: text_add(text, "poison"); break;
    }
}

typedef struct Parse {
    Scan *scan;
    ExprFind *find;
    void *user;
} Parse;

static const Expr *parse_sum(Parse *p);

static const Expr *parse_call(Parse *p)
{
    Cx *cx = p->scan->cx;
    bool is_min = scan_is(p->scan, "min");
    scan_next(p->scan);
    scan_expect(p->scan, "(");
    const Expr *a = parse_sum(p);
    scan_expect(p->scan, ",");
    const Expr *b = parse_sum(p);
    scan_expect(p->scan, ")");
    return is_min ? expr_min(cx, a, b) : expr_max(cx, a, b);
}

static const Expr *parse_name(Parse *p)
{
    Scan *scan = p->scan;
    const Expr *e = p->find(p->user, scan->start, scan->length);
    if (!e) {
        scan_fail(scan, "unknown name '%.*s'", (int)(scan->length > 60 ? 60 : scan->length),
                  scan->start);
        return expr_poison(scan->cx);
    }
    scan_next(scan);
    return e;
}

static const Expr *parse_primary(Parse *p)
{
    Scan *scan = p->scan;
    if (scan->kind == TOK_number)
        return expr_const(scan->cx, scan_int(scan));
    if (scan_is(scan, "min") || scan_is(scan, "max"))
        return parse_call(p);
    if (scan_accept(scan, "poison"))
        return expr_poison(scan->cx);
    if (scan->kind == TOK_name)
        return parse_name(p);
    if (scan_accept(scan, "(")) {
        const Expr *e = parse_sum(p);
        scan_expect(scan, ")");
        return e;
    }
    if (scan_is(scan, "-") && scan_enter(scan)) {
        scan_next(scan);
        const Expr *e = expr_muli(scan->cx, parse_primary(p), -1);
        scan_leave(scan);
        return e;
    }
    scan_fail(scan, "expected an expression");
    return expr_poison(scan->cx);
}

/* A number that may stand behind a minus sign: 2^63 is a value only there. */
static int64_t parse_number(Parse *p, bool minus)
{
    Scan *scan = p->scan;
    bool smallest = minus && scan_is(scan, "9223372036854775808");
    if (smallest)
        scan_next(scan);
    return smallest ? INT64_MIN : minus ? -scan_int(scan) : scan_int(scan);
}

/* A number, or primary, or number * primary: *coef * result, the sign included in *coef. */
static const Expr *parse_first(Parse *p, bool minus, int64_t *coef)
{
    *coef = minus ? -1 : 1;
    if (p->scan->kind != TOK_number)
        return parse_primary(p);
    *coef = parse_number(p, minus);
    return scan_accept(p->scan, "*") ? parse_primary(p) : expr_const(p->scan->cx, 1);
}

/* *coef * result. The minus sign binds weaker than the operators: -a floordiv b is -(a floordiv b).
 */
static const Expr *parse_product(Parse *p, bool minus, int64_t *coef)
{
    Scan *scan = p->scan;
    Cx *cx = scan->cx;
    const Expr *e = parse_first(p, minus, coef);
    for (;;) {
        bool divide = scan_is(scan, "floordiv"), multiply = scan_is(scan, "*");
        if (!divide && !multiply && !scan_is(scan, "mod"))
            return e;
        scan_next(scan);
        if (!multiply) {
            int64_t sign = minus ? -1 : 1;
            e = expr_muli(cx, expr_muli(cx, e, *coef), sign);
            *coef = sign;
        }
        const Expr *right = parse_primary(p);
        e = multiply ? expr_mul(cx, e, right) : (divide ? expr_floordiv : expr_mod)(cx, e, right);
    }
}

static const Expr *parse_sum(Parse *p)
{
    Scan *scan = p->scan;
    Cx *cx = scan->cx;
    if (!scan_enter(scan))
        return expr_poison(cx);
    const Expr **args = NULL;
    int64_t *coefs = NULL;
    uint32_t count = 0, args_capacity = 0, coefs_capacity = 0, coef_count = 0;
    bool minus = scan_accept(scan, "-");
    do {
        int64_t coef;
        const Expr *e = parse_product(p, minus, &coef);
        VEC_PUSH(cx->arena, args, count, args_capacity, e);
        VEC_PUSH(cx->arena, coefs, coef_count, coefs_capacity, coef);
        minus = scan_is(scan, "-");
    } while (scan_accept(scan, "+") || scan_accept(scan, "-"));
    scan_leave(scan);
    if (count == 1 && coefs[0] == 1)
        return args[0]; /* a symbol of one value stays a symbol while it stands alone */
    return expr_sum(cx, 0, coefs, args, count);
}

const Expr *expr_parse(Scan *scan, ExprFind *find, void *user)
{
    Parse p = {scan, find, user};
    const Expr *e = parse_sum(&p);
    return cx_failed(scan->cx) ? expr_poison(scan->cx) : e;
}
