/* Lines, templates, names in scope, and the spelling of index expressions.
 *
 * An expression prints in 32 bits when its bounds and those of every partial result fit, else in
 * 64: index arithmetic is what GPUs are slow at. Names are made here, never taken from the program.
 */
#include "codegen/c_impl.h"

#include <math.h>
#include <string.h>

void c_indent(CPrint *cp)
{
    text_indent(cp->out, cp->depth);
}

void c_line(CPrint *cp, const char *fmt, ...)
{
    va_list args;
    c_indent(cp);
    va_start(args, fmt);
    text_addv(cp->out, fmt, args);
    va_end(args);
    text_add(cp->out, "\n");
}

void c_open(CPrint *cp, const char *fmt, ...)
{
    va_list args;
    c_indent(cp);
    va_start(args, fmt);
    text_addv(cp->out, fmt, args);
    va_end(args);
    text_add(cp->out, "{\n");
    cp->depth++;
}

void c_close(CPrint *cp)
{
    cp->depth--;
    c_line(cp, "}");
}

void c_template(Text *out, const char *text, const CSubst *with, int count)
{
    for (const char *at = text; *at; at++) {
        const CSubst *found = NULL;
        for (int i = 0; *at == '$' && i < count; i++)
            if (with[i].key == at[1])
                found = &with[i];
        if (found) {
            text_add(out, "%s", found->value);
            at++;
        } else {
            text_put(out, at, 1);
        }
    }
}

const char *c_fill(CPrint *cp, const char *text, const CSubst *with, int count)
{
    Text made;
    text_init(&made, cp->cx->arena);
    c_template(&made, text, with, count);
    return made.data ? made.data : "";
}

const char *c_name(CPrint *cp, const Expr *sym, const char *prefix, bool wide)
{
    const char *text = arena_printf(cp->cx->arena, "%s%u", prefix, (unsigned)cp->fresh++);
    CName name = {.sym = sym, .text = text, .wide = wide};
    VEC_PUSH(cp->cx->arena, cp->names, cp->name_count, cp->name_cap, name);
    return text;
}

static const CName *find_name(const CPrint *cp, const Expr *sym)
{
    for (uint32_t i = cp->name_count; i-- > 0;)
        if (cp->names[i].sym == sym)
            return &cp->names[i];
    return NULL;
}

const Expr *c_subst(CPrint *cp, const Expr *e)
{
    if (!cp->box || !cp->coord[0])
        return e;
    return expr_subst(cp->cx, e, cp->box->coord, cp->coord, (size_t)cp->box->rank);
}

/* Largest absolute value by bounds; INFINITY when unknown. */
static double reach(const Expr *e)
{
    if (e->lo == INT64_MIN || e->hi == INT64_MAX)
        return INFINITY;
    return fmax(fabs((double)e->lo), fabs((double)e->hi));
}

static bool is_wide(CPrint *cp, const Expr *e)
{
    if (e->kind == EX_sym) {
        const CName *name = find_name(cp, e);
        return !name || name->wide;
    }
    double total = e->kind == EX_const || e->kind == EX_sum ? fabs((double)e->value) : 0;
    for (uint32_t i = 0; i < e->count; i++) {
        if (is_wide(cp, e->args[i]))
            return true;
        if (e->kind == EX_sum)
            total += reach(e->args[i]) * fabs((double)e->coefs[i]);
    }
    if (e->kind == EX_mul)
        total = reach(e->args[0]) * reach(e->args[1]);
    return !(total < 2147483647.0);
}

static void put_expr(CPrint *cp, Text *out, const Expr *e, bool wide);

static void put_int(Text *out, int64_t value, bool wide)
{
    if (value == INT64_MIN)
        text_add(out, "(-(i64)9223372036854775807 - 1)");
    else if (wide)
        text_add(out, "(i64)%lld", (long long)value);
    else
        text_add(out, "%lld", (long long)value);
}

static void put_sum(CPrint *cp, Text *out, const Expr *e, bool wide)
{
    text_add(out, "(");
    for (uint32_t i = 0; i < e->count; i++) {
        int64_t coef = e->coefs[i];
        bool minus = coef < 0 && coef != INT64_MIN;
        if (i > 0 || minus)
            text_add(out, minus ? " - " : " + ");
        coef = minus ? -coef : coef;
        if (coef != 1) {
            put_int(out, coef, wide);
            text_add(out, "*");
        }
        put_expr(cp, out, e->args[i], wide);
    }
    if (e->value) {
        text_add(out, e->value < 0 && e->value != INT64_MIN ? " - " : " + ");
        put_int(out, e->value < 0 && e->value != INT64_MIN ? -e->value : e->value, wide);
    }
    text_add(out, ")");
}

/* Division and remainder towards minus infinity: the machine's when nothing is negative, shifts for
 * powers of two. */
static void put_division(CPrint *cp, Text *out, const Expr *e, bool wide)
{
    const Expr *a = e->args[0], *b = e->args[1];
    bool pow2 = b->kind == EX_const && b->value > 0 && (b->value & (b->value - 1)) == 0;
    bool natural = a->lo >= 0 && b->lo > 0;
    if (pow2 && e->kind == EX_mod) {
        text_add(out, "(");
        put_expr(cp, out, a, wide);
        text_add(out, " & ");
        put_int(out, b->value - 1, wide);
    } else if (pow2) {
        int shift = 0;
        while ((int64_t)1 << shift < b->value)
            shift++;
        text_add(out, "(");
        put_expr(cp, out, a, wide);
        text_add(out, " >> %d", shift);
    } else {
        const char *helper = e->kind == EX_mod ? "q_mod" : "q_floordiv";
        if (natural)
            text_add(out, "(");
        else
            text_add(out, "%s_%s(", helper, wide ? "i64" : "i32");
        put_expr(cp, out, a, wide);
        text_add(out, natural ? (e->kind == EX_mod ? " %% " : " / ") : ", ");
        put_expr(cp, out, b, wide);
    }
    text_add(out, ")");
}

static void put_symbol(CPrint *cp, Text *out, const Expr *e, bool wide)
{
    const CName *name = find_name(cp, e);
    if (!name) {
        cx_fail(cp->cx, ST_internal, "c_print: symbol %s is not in scope", e->name);
        text_add(out, "0");
    } else {
        text_add(out, "%s%s", wide && !name->wide ? "(i64)" : "", name->text);
    }
}

static void put_expr(CPrint *cp, Text *out, const Expr *e, bool wide)
{
    switch (e->kind) {
    case EX_const: put_int(out, e->value, wide); return;
    case EX_sym: put_symbol(cp, out, e, wide); return;
    case EX_sum: put_sum(cp, out, e, wide); return;
    case EX_mul:
        text_add(out, "(");
        put_expr(cp, out, e->args[0], wide);
        text_add(out, "*");
        put_expr(cp, out, e->args[1], wide);
        text_add(out, ")");
        return;
    case EX_floordiv:
    case EX_mod: put_division(cp, out, e, wide); return;
    case EX_min:
    case EX_max:
        text_add(out, "%s_%s(", e->kind == EX_min ? "q_min" : "q_max", wide ? "i64" : "i32");
        put_expr(cp, out, e->args[0], wide);
        text_add(out, ", ");
        put_expr(cp, out, e->args[1], wide);
        text_add(out, ")");
        return;
    case EX_poison: break;
    }
    cx_fail(cp->cx, ST_internal, "c_print: a poison index expression");
    text_add(out, "0");
}

const char *c_expr(CPrint *cp, const Expr *e)
{
    Text out;
    text_init(&out, cp->cx->arena);
    e = c_subst(cp, e);
    put_expr(cp, &out, e, is_wide(cp, e));
    return out.data;
}

const char *c_guards(CPrint *cp, const Guard *guards, int count)
{
    Text out;
    text_init(&out, cp->cx->arena);
    for (int i = 0; i < count; i++) {
        const Expr *e = c_subst(cp, guards[i].e);
        const Expr *lo = c_subst(cp, guards[i].lo), *hi = c_subst(cp, guards[i].hi);
        if (!expr_always_le(cp->cx, lo, e))
            text_add(&out, "%s%s <= %s", out.length ? " && " : "", c_expr(cp, lo), c_expr(cp, e));
        if (!expr_always_lt(cp->cx, e, hi))
            text_add(&out, "%s%s < %s", out.length ? " && " : "", c_expr(cp, e), c_expr(cp, hi));
    }
    return out.length ? out.data : NULL;
}

const char *c_const(CPrint *cp, Dtype dtype, Scalar value)
{
    Arena *arena = cp->cx->arena;
    if (dtype_is_float(dtype)) {
        const char *type = dtype_name(dtype);
        if (isnan(value.f))
            return arena_printf(arena, "q_nan_%s()", type);
        if (isinf(value.f))
            return arena_printf(arena, "%sq_inf_%s()", value.f < 0 ? "-" : "", type);
        const char *minus = signbit(value.f) ? "-" : "";
        return arena_printf(arena, "(%s%a%s)", minus, fabs(value.f), dtype == DT_f64 ? "" : "f");
    }
    switch ((int)dtype) {
    case DT_i64:
        if (value.i == INT64_MIN)
            return "(-(i64)9223372036854775807 - 1)";
        return arena_printf(arena, "((i64)%lld)", (long long)value.i);
    case DT_u64: return arena_printf(arena, "((u64)%lluu)", (unsigned long long)value.i);
    case DT_u32: return arena_printf(arena, "((u32)%uu)", (unsigned)(uint32_t)value.i);
    default: break;
    }
    if (value.i == INT32_MIN)
        return "(-2147483647 - 1)";
    return arena_printf(arena, "(%d)", (int)value.i);
}

const char *c_type(Dtype dtype)
{
    switch ((int)dtype_compute(dtype)) {
    case DT_f32: return "f32";
    case DT_f64: return "q_f64";
    case DT_i64: return "i64";
    case DT_u64: return "u64";
    case DT_u32: return "u32";
    default: return "i32"; /* i32 and bool */
    }
}

const char *c_raw_type(Dtype dtype)
{
    if (dtype == dtype_compute(dtype) && dtype != DT_bool)
        return c_type(dtype);
    if (dtype == DT_i8 || dtype == DT_i16)
        return dtype_name(dtype);
    return dtype_bits(dtype) == 16 ? "u16" : "u8";
}
