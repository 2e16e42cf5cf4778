/* Integer expressions: the listed simplifications, bounds, text, and random expressions whose value
 * must be the same written out naively, simplified, substituted, printed and parsed, and compiled.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "base/expr.h"

enum { SYMS = 5 };

static Cx cx;
static const Expr *n, *m, *i, *j,
    *k; /* n, m >= 1; i in [0, 7]; j in [0, 99]; k: any multiple of 8 */
static const Expr *syms[SYMS];

static void open_job(void)
{
    cx_init(&cx, NULL, 0);
    syms[0] = n = expr_sym(&cx, "n", 1, INT64_MAX, 1);
    syms[1] = m = expr_sym(&cx, "m", 1, 1000, 1);
    syms[2] = i = expr_sym(&cx, "i", 0, 7, 1);
    syms[3] = j = expr_sym(&cx, "j", 0, 99, 1);
    syms[4] = k = expr_sym(&cx, "k", INT64_MIN, INT64_MAX, 8);
}

static void close_job(void)
{
    cx_finish(&cx);
}

TestSuite(expr, .init = open_job, .fini = close_job);

static const Expr *find_sym(void *user, const char *name, size_t length)
{
    (void)user;
    for (int s = 0; s < SYMS; s++)
        if (strlen(syms[s]->name) == length && memcmp(syms[s]->name, name, length) == 0)
            return syms[s];
    return NULL;
}

static const Expr *parse(const char *text)
{
    Scan scan;
    scan_init(&scan, &cx, "test", text);
    const Expr *e = expr_parse(&scan, find_sym, NULL);
    cr_assert(cx_failed(&cx) || scan.kind == TOK_end, "left over in '%s'", text);
    return e;
}

static const char *print(const Expr *e)
{
    Text text;
    text_init(&text, cx.arena);
    expr_print(&text, e);
    return text.data;
}

Test(expr, simplifies)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"n + n", "2*n"},
        {"n - n", "0"},
        {"n + 3 + m - 1", "n + m + 2"},
        {"m + n", "n + m"},
        {"3*(n + 2) - 6", "3*n"},
        {"n*m - m*n", "0"},
        {"n*(m*j) - (j*n)*m", "0"},
        {"(2*n + 4)*m", "2*m*(n + 2)"},
        {"(n - m)*j + (m - n)*j", "0"},
        {"n floordiv 1", "n"},
        {"n mod 1", "0"},
        {"(8*n + i) floordiv 8", "n"},
        {"(8*n + i) mod 8", "i"},
        {"(8*n + i + 3) floordiv 8", "n + ((i + 3) floordiv 8)"},
        {"(n*m + i) floordiv n", "m + (i floordiv n)"},
        {"(n*m) floordiv m", "n"},
        {"(n*m) mod m", "0"},
        {"(4*n*m) floordiv (2*m)", "2*n"},
        {"(m + n)*j floordiv (n + m)", "j"},
        {"(j*n + (m mod n)) floordiv n", "j"},
        {"(j*n + (m mod n)) mod n", "m mod n"},
        {"n floordiv 4 floordiv 8", "n floordiv 32"},
        {"(n floordiv 4 + 3) floordiv 8", "(n + 12) floordiv 32"},
        {"(n + 1) floordiv 2 - ((n - 1) floordiv 2 + 1)", "0"},
        {"(6*n + 3) floordiv 4", "(3*n + 1) floordiv 2"},
        {"(n floordiv 8)*8 + n mod 8", "n"},
        {"(n floordiv m)*m + n mod m", "n"},
        {"3*(n floordiv m)*m + 3*(n mod m) - 2*n", "n"},
        {"12*(n floordiv 12) + 4*((n mod 12) floordiv 4) + n mod 4", "n"},
        {"(n mod 12) floordiv 4", "(n floordiv 4) mod 3"},
        {"(n mod 12) mod 4", "n mod 4"},
        {"(5*n + 9) mod 4", "(n + 1) mod 4"},
        {"(6*n + 1) mod 4", "2*(n mod 2) + 1"},
        {"k mod 8", "0"},
        {"8*(k floordiv 8)", "k"},
        {"(k + i) floordiv 8", "k floordiv 8"},
        {"(k + i) mod 8", "i"},
        {"i floordiv 8", "0"},
        {"(i + 8) floordiv 8", "1"},
        {"(i - 8) mod 8", "i"},
        {"-7 floordiv 2", "-3"}, /* the sign binds weaker */
        {"(-7) floordiv 2", "-4"},
        {"(-7) mod 2", "1"},
        {"7 mod (-2)", "-1"},
        {"7 floordiv (-2)", "-4"},
        {"min(i, 8)", "i"},
        {"max(i, 8)", "8"},
        {"min(n, n + 1)", "n"},
        {"max(n + 1, n)", "n + 1"},
        {"min(min(n, m), n)", "min(n, m)"},
        {"min(m, n)", "min(n, m)"},
        {"min(n, max(n, m))", "n"},
        {"min(min(n, 8), 4)", "min(n, 4)"},
        {"0*n", "0"},
        {"9223372036854775807 + 1", "poison"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"n floordiv (i - 3)", "poison"},
        {"n floordiv 0", "poison"},
        {"n mod j", "poison"},
        {"0*poison", "poison"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *got = print(parse(cases[c].from));
        cr_expect_str_eq(got, cases[c].to, "%s: got %s, expected %s", cases[c].from, got,
                         cases[c].to);
        cr_expect(parse(got) == parse(cases[c].from), "%s does not read back as itself", got);
    }
    cr_expect(!cx_failed(&cx));
}

static void expect_range(const char *text, int64_t lo, int64_t hi, int64_t div)
{
    const Expr *e = parse(text);
    cr_expect(e->lo == lo && e->hi == hi && e->div == div, "%s: [%lld, %lld] div %lld", text,
              (long long)e->lo, (long long)e->hi, (long long)e->div);
}

Test(expr, bounds)
{
    expect_range("i + 2*j", 0, 205, 1);
    expect_range("4*i - 8*j", -792, 28, 4);
    expect_range("n + i", 1, INT64_MAX, 1);
    expect_range("-n", INT64_MIN, -1, 1);
    expect_range("n*m", 1, INT64_MAX, 1);
    expect_range("(i - 3)*(j - 50)", -200, 196, 1);
    expect_range("(i - 3)*(i - 3)", 0, 16, 1);
    expect_range("(j + 5) floordiv 10", 0, 10, 1);
    expect_range("m floordiv n", 0, 1000, 1);
    expect_range("j mod 10", 0, 9, 1);
    expect_range("j mod m", 0, 99, 1);
    expect_range("k + 4", INT64_MIN, INT64_MAX, 4);
    expect_range("min(i, j)", 0, 7, 1);
    expect_range("max(8*i, k)", 0, INT64_MAX, 8);
    expect_range("k floordiv 4", INT64_MIN, INT64_MAX, 2);
    expect_range("12", 12, 12, 12);
    const Expr *big = expr_sym(&cx, "big", 1, INT64_C(1) << 62, 1);
    cr_expect(expr_is_poison(expr_muli(&cx, big, 4)));
    cr_expect(expr_is_poison(expr_mul(&cx, big, big)));
    cr_expect(expr_is_poison(expr_add(&cx, expr_muli(&cx, big, 4), n)));
    cr_expect(!expr_is_poison(expr_muli(&cx, n, 4)), "an unknown bound stays unknown");
    const Expr *snug = expr_sym(&cx, "snug", 1, 100, 8);
    cr_expect(snug->lo == 8 && snug->hi == 96, "bounds are multiples of the divisor");
    const Expr *fixed = expr_sym(&cx, "fixed", 5, 5, 1);
    cr_expect(expr_addi(&cx, fixed, 1) == expr_const(&cx, 6));
    cr_expect(fixed->kind == EX_sym);
}

Test(expr, ceildiv)
{
    cr_expect(expr_ceildiv(&cx, expr_muli(&cx, n, 8), expr_const(&cx, 8)) == n);
    cr_expect(expr_is_const(expr_ceildiv(&cx, expr_const(&cx, -7), expr_const(&cx, 2)), -3));
    cr_expect(expr_is_const(expr_ceildiv(&cx, expr_const(&cx, -7), expr_const(&cx, -2)), 4));
    cr_expect(expr_is_const(expr_ceildiv(&cx, expr_const(&cx, INT64_MAX), expr_const(&cx, 2)),
                            INT64_C(1) << 62));
    cr_expect(expr_ceildiv(&cx, expr_mul(&cx, n, m), m) == n);
}

Test(expr, compares)
{
    cr_expect(expr_always_lt(&cx, i, expr_const(&cx, 8)));
    cr_expect(!expr_always_lt(&cx, i, expr_const(&cx, 7)));
    cr_expect(expr_always_le(&cx, i, expr_const(&cx, 7)));
    cr_expect(expr_always_lt(&cx, n, expr_addi(&cx, n, 1)));
    cr_expect(expr_always_lt(&cx, parse("j mod n"), n));
    cr_expect(expr_always_le(&cx, parse("min(n, m)"), m));
    cr_expect(!expr_always_le(&cx, n, m));
    cr_expect(!expr_always_le(&cx, expr_poison(&cx), n));
}

Test(expr, linear)
{
    int64_t coef;
    const Expr *rest;
    cr_assert(expr_linear(&cx, parse("3*i + n*m - 4"), i, &coef, &rest));
    cr_expect(coef == 3 && rest == parse("n*m - 4"));
    cr_assert(expr_linear(&cx, i, i, &coef, &rest));
    cr_expect(coef == 1 && expr_is_const(rest, 0));
    cr_assert(expr_linear(&cx, parse("n*m"), i, &coef, &rest));
    cr_expect(coef == 0 && rest == parse("n*m"));
    cr_expect(!expr_linear(&cx, parse("i*n + i"), i, &coef, &rest));
    cr_expect(expr_uses(parse("(i*n) floordiv 3"), i));
    cr_expect(!expr_uses(parse("(i*n) floordiv 3"), j));
}

static void count_visit(void *user, const Expr *sym)
{
    (void)sym;
    ++*(int *)user;
}

Test(expr, shared_nodes_are_walked_once)
{
    const Expr *e = parse("n floordiv 3");
    for (int step = 0; step < 13; step++) /* doubles the tree each time */
        e = expr_floordiv(&cx, expr_mul(&cx, e, expr_add(&cx, e, i)), m);
    cr_assert(!expr_is_poison(e));
    int count = 0;
    expr_symbols(&cx, e, count_visit, &count);
    cr_expect_eq(count, 3);
    for (int step = 0; step < 200; step++)
        cr_assert_neq(expr_subst(&cx, e, &i, &j, 1), e);
    for (int step = 0; step < 200; step++)
        e = expr_floordiv(&cx, expr_mul(&cx, e, expr_add(&cx, e, i)), m);
    cr_expect(expr_is_poison(e), "too large is poison");
    e = n;
    for (int step = 0; step < 1000; step++)
        e = expr_min(&cx, expr_muli(&cx, e, 3), expr_mul(&cx, expr_addi(&cx, m, step), n));
    cr_expect(expr_is_poison(e), "too deep is poison");
}

Test(expr, substitutes_at_once)
{
    const Expr *from[] = {n, m}, *to[] = {m, n};
    cr_expect(expr_subst(&cx, parse("n - 2*m"), from, to, 2) == parse("m - 2*n"));
    const Expr *zero = expr_const(&cx, 0);
    cr_expect(expr_is_poison(expr_subst(&cx, parse("j floordiv m"), &m, &zero, 1)));
    const Expr *eight = expr_const(&cx, 8);
    cr_expect(expr_subst(&cx, parse("(n*m + i) floordiv m"), &m, &eight, 1) == n);
}

/* --- random expressions --- */

static uint64_t seed = 42;

static uint32_t pick(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

/* A value computed step by step in 64 bits beside the expression; not `ok` after an overflow. */
typedef struct Sample {
    int64_t value;
    bool ok;
} Sample;

enum { SAMPLES = 6 };
static int64_t inputs[SAMPLES][SYMS];

typedef struct Made {
    const Expr *e;
    Sample at[SAMPLES];
} Made;

static void pick_inputs(void)
{
    for (int s = 0; s < SAMPLES; s++) {
        inputs[s][0] = 1 + pick(50);
        inputs[s][1] = 1 + pick(s ? 1000 : 1);
        inputs[s][2] = pick(8);
        inputs[s][3] = pick(100);
        inputs[s][4] = 8 * ((int64_t)pick(50) - 25);
    }
}

static int64_t floor_of(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}

static Sample combine(uint32_t op, Sample a, Sample b)
{
    Sample r = {0, a.ok && b.ok};
    bool divides = op == 3 || op == 4 || op == 7;
    if (divides && (b.value == 0 || a.value == INT64_MIN))
        r.ok = false;
    if (!r.ok)
        return r;
    switch (op) {
    case 0: r.ok = !__builtin_add_overflow(a.value, b.value, &r.value); break;
    case 1: r.ok = !__builtin_sub_overflow(a.value, b.value, &r.value); break;
    case 2: r.ok = !__builtin_mul_overflow(a.value, b.value, &r.value); break;
    case 3: r.value = floor_of(a.value, b.value); break;
    case 4: r.value = a.value - b.value * floor_of(a.value, b.value); break;
    case 5: r.value = a.value < b.value ? a.value : b.value; break;
    case 6: r.value = a.value > b.value ? a.value : b.value; break;
    default: r.value = -floor_of(-a.value, b.value); break;
    }
    return r;
}

static const Expr *combine_expr(uint32_t op, const Expr *a, const Expr *b)
{
    switch (op) {
    case 0: return expr_add(&cx, a, b);
    case 1: return expr_sub(&cx, a, b);
    case 2: return expr_mul(&cx, a, b);
    case 3: return expr_floordiv(&cx, a, b);
    case 4: return expr_mod(&cx, a, b);
    case 5: return expr_min(&cx, a, b);
    case 6: return expr_max(&cx, a, b);
    default: return expr_ceildiv(&cx, a, b);
    }
}

static Made leaf(void)
{
    Made r;
    uint32_t which = pick(SYMS + 4);
    int64_t value = pick(4) ? (int64_t)pick(13) - 4 : INT64_C(1) << pick(6);
    r.e = which < SYMS ? syms[which] : expr_const(&cx, value);
    for (int s = 0; s < SAMPLES; s++)
        r.at[s] = (Sample){which < SYMS ? inputs[s][which] : value, true};
    return r;
}

static Made grow(int depth)
{
    if (depth == 0 || pick(8) == 0)
        return leaf();
    uint32_t op = pick(12);
    op = op < 8 ? op : op % 3;
    Made a = grow(depth - 1), b = op >= 3 && pick(3) ? leaf() : grow(depth - 1);
    Made r = {.e = combine_expr(op, a.e, b.e)};
    for (int s = 0; s < SAMPLES; s++)
        r.at[s] = combine(op, a.at[s], b.at[s]);
    return r;
}

static bool lookup(void *user, const Expr *sym, int64_t *value)
{
    const int64_t *row = user;
    for (int s = 0; s < SYMS; s++)
        if (syms[s] == sym) {
            *value = row[s];
            return true;
        }
    return false;
}

static int slot_of(void *user, const Expr *sym)
{
    (void)user;
    for (int s = 0; s < SYMS; s++)
        if (syms[s] == sym)
            return s;
    return -1;
}

static int evaluated, moved_evaluated;

static void check_sample(const Expr *e, const Expr *moved, ExprCode code, Sample want, int s)
{
    int64_t row[SYMS], got;
    memcpy(row, inputs[s], sizeof row);
    if (!expr_eval(e, lookup, row, &got))
        return; /* an overflow that the naive order did not meet */
    evaluated++;
    cr_assert_eq(got, want.value, "%s: %lld, not %lld", print(e), (long long)got,
                 (long long)want.value);
    cr_assert(e->lo <= got && got <= e->hi, "%s leaves its bounds", print(e));
    cr_assert(e->div ? got % e->div == 0 : got == 0, "%s leaves its divisor", print(e));
    cr_assert(expr_code_run(code, row, &got));
    cr_assert_eq(got, want.value, "%s: compiled", print(e));
    row[0] -= row[2] + 1; /* `moved` has n + i + 1 for n */
    if (row[0] < 1 || expr_is_poison(moved) || !expr_eval(moved, lookup, row, &got))
        return;
    moved_evaluated++;
    cr_assert_eq(got, want.value, "%s substituted: %s", print(e), print(moved));
}

static void check_random(int depth)
{
    Made r = grow(depth);
    if (expr_is_poison(r.e))
        return;
    cr_assert(parse(print(r.e)) == r.e, "%s reads back as %s", print(r.e),
              print(parse(print(r.e))));
    const Expr *more = expr_sum(&cx, 1, (int64_t[]){1, 1}, (const Expr *[]){n, i}, 2);
    const Expr *moved = expr_subst(&cx, r.e, &n, &more, 1);
    cr_assert(expr_subst(&cx, r.e, &j, &j, 1) == r.e, "the identity changes %s", print(r.e));
    ExprCode code = expr_compile(&cx, r.e, slot_of, NULL);
    cr_assert(!cx_failed(&cx));
    cr_assert(expr_code_valid(code, SYMS));
    for (int s = 0; s < SAMPLES; s++)
        if (r.at[s].ok)
            check_sample(r.e, moved, code, r.at[s], s);
}

Test(expr, random)
{
    for (int round = 0; round < 200; round++) {
        close_job();
        open_job();
        pick_inputs();
        for (int c = 0; c < 150; c++)
            check_random(1 + c % 5);
    }
    cr_expect(evaluated > 50000 && moved_evaluated > 30000, "%d, %d", evaluated, moved_evaluated);
}

Test(expr, parser_rejects)
{
    static const char *const bad[] = {"",    "n +",     "(n",       "foo",      "min(n)", "n mod",
                                      "3.5", "n * * 2", "min n, m", "\"text\"", "--"};
    for (size_t c = 0; c < sizeof bad / sizeof *bad; c++) {
        cx.status = ST_ok;
        cr_expect(expr_is_poison(parse(bad[c])), "'%s' was accepted", bad[c]);
        cr_expect(cx_failed(&cx), "'%s' was accepted", bad[c]);
    }
    for (const char *c = "(-"; *c; c++) {
        char *deep = arena_alloc(cx.arena, 5001);
        memset(deep, *c, 5000);
        cx.status = ST_ok;
        parse(deep);
        cr_expect(cx_failed(&cx));
    }
}

Test(expr, hostile_code_is_rejected)
{
    enum { CONST, SLOT, MADD, MUL };
    static const int64_t good[] = {CONST, 5, SLOT, 1, MADD, 2};
    int64_t value, slots[] = {3, 4};
    cr_assert(expr_code_valid((ExprCode){6, good}, 2));
    cr_assert(expr_code_run((ExprCode){6, good}, slots, &value));
    cr_expect_eq(value, 13);
    cr_expect(!expr_code_valid((ExprCode){6, good}, 1), "slot out of range");
    cr_expect(!expr_code_valid((ExprCode){5, good}, 2), "odd length");
    cr_expect(!expr_code_valid((ExprCode){4, good}, 2), "two values left");
    cr_expect(!expr_code_valid((ExprCode){0, good}, 2), "no value");
    cr_expect(!expr_code_valid((ExprCode){2, NULL}, 2), "no words");
    static const int64_t bad[][4] = {{MUL, 0, CONST, 1}, {SLOT, -1, MUL, 0}, {99, 0, CONST, 1},
                                     {-1, 0, CONST, 1},  {CONST, 1, MUL, 0}, {SLOT, INT64_MAX}};
    for (size_t c = 0; c < sizeof bad / sizeof *bad; c++)
        cr_expect(!expr_code_valid((ExprCode){4, bad[c]}, 2), "case %zu", c);
    static const int64_t operand[] = {CONST, 1, CONST, 2, MUL, 7};
    cr_expect(!expr_code_valid((ExprCode){6, operand}, 0), "operand where none belongs");
    int64_t tall[4 * 65];
    for (int d = 0; d < 65; d++) {
        tall[2 * d] = CONST;
        tall[2 * d + 1] = 1;
        tall[130 + 2 * d] = MUL;
        tall[131 + 2 * d] = 0;
    }
    cr_expect(!expr_code_valid((ExprCode){2 * 65 + 2 * 64, tall}, 0), "stack of 65");
    cr_expect(expr_code_valid((ExprCode){2 * 64 + 2 * 63, tall + 2}, 0), "stack of 64");
}

Test(expr, code_reports_overflow)
{
    int64_t value, slots[] = {INT64_MAX, 0, 0, 0, 0};
    ExprCode twice = expr_compile(&cx, parse("2*n"), slot_of, NULL);
    cr_expect(!expr_code_run(twice, slots, &value));
    ExprCode divide = expr_compile(&cx, parse("n floordiv m"), slot_of, NULL);
    cr_expect(!expr_code_run(divide, slots, &value), "the divisor is 0");
    ExprCode least = expr_compile(&cx, parse("k floordiv m"), slot_of, NULL);
    slots[4] = INT64_MIN;
    slots[1] = -1;
    cr_expect(!expr_code_run(least, slots, &value));
    const Expr *other = expr_sym(&cx, "other", 0, 9, 1);
    expr_compile(&cx, other, slot_of, NULL);
    cr_expect_eq(cx.status, ST_internal);
    cx.status = ST_ok;
    expr_compile(&cx, expr_poison(&cx), slot_of, NULL);
    cr_expect_eq(cx.status, ST_limit);
}

Test(expr, symbols_below_an_expression)
{
    const Expr *a = expr_sym_below(&cx, "a", 0, 999, m),
               *row = expr_add(&cx, expr_mul(&cx, n, m), a);
    cr_assert(expr_always_lt(&cx, a, m) && expr_always_le(&cx, a, expr_addi(&cx, m, -1)));
    cr_assert_not(expr_always_lt(&cx, a, n));
    cr_assert(expr_is_const(expr_floordiv(&cx, a, m), 0));
    cr_assert_eq(expr_mod(&cx, a, m), a);
    cr_assert_eq(expr_floordiv(&cx, row, m), n);
    cr_assert_eq(expr_mod(&cx, row, m), a);
    cr_assert_eq(expr_min(&cx, a, expr_addi(&cx, m, -1)), a);
}
