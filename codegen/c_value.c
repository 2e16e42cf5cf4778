/* Values of an operation as statements: each value defines a variable v<id> of its compute type, in
 * the order of the list, so arguments come before their users. Operators of C where they mean the
 * same, helpers (q_<scalar>_<type>) elsewhere; signed integers go through their unsigned twin,
 * because they wrap here. */
#include "codegen/c_impl.h"

#include <string.h>

static const char *infix(ScalarOp op)
{
    switch ((int)op) {
    case S_add: return "+";
    case S_sub: return "-";
    case S_mul: return "*";
    case S_eq: return "==";
    case S_ne: return "!=";
    case S_lt: return "<";
    case S_le: return "<=";
    case S_and: return "&";
    case S_or: return "|";
    case S_xor: return "^";
    default: return NULL;
    }
}

static const char *wrapping(CPrint *cp, ScalarOp op, Dtype dtype, const char *a, const char *b)
{
    const char *type = c_type(dtype), *twin = dtype == DT_i64 ? "u64" : "u32";
    if (op == S_neg)
        return arena_printf(cp->cx->arena, "(%s)(0 - (%s)%s)", type, twin, a);
    return arena_printf(cp->cx->arena, "(%s)((%s)%s %s (%s)%s)", type, twin, a, infix(op), twin, b);
}

const char *c_scalar(CPrint *cp, ScalarOp op, Dtype dtype, const char *a, const char *b,
                     const char *c)
{
    Arena *arena = cp->cx->arena;
    bool flt = dtype_is_float(dtype),
         wraps = op == S_add || op == S_sub || op == S_mul || op == S_neg;
    if (wraps && (dtype == DT_i32 || dtype == DT_i64))
        return wrapping(cp, op, dtype, a, b);
    if (infix(op))
        return arena_printf(arena, "(%s %s %s)", a, infix(op), b);
    if (op == S_select)
        return arena_printf(arena, "(%s ? %s : %s)", a, b, c);
    if (op == S_neg)
        return arena_printf(arena, flt ? "(-%s)" : "(0 - %s)", a);
    if (op == S_not)
        return arena_printf(arena, dtype == DT_bool ? "(!%s)" : "(~%s)", a);
    if (op == S_div && flt)
        return arena_printf(arena, "(%s / %s)", a, b);
    const char *name = scalar_name(op), *type = dtype_name(dtype);
    switch (scalar_arity(op)) {
    case 1: return arena_printf(arena, "q_%s_%s(%s)", name, type, a);
    case 2: return arena_printf(arena, "q_%s_%s(%s, %s)", name, type, a, b);
    default: return arena_printf(arena, "q_%s_%s(%s, %s, %s)", name, type, a, b, c);
    }
}

/* Rounds or wraps a value of the compute type of `to` to what `to` holds. */
static const char *narrow(CPrint *cp, Dtype to, const char *value)
{
    if (to == dtype_compute(to))
        return value;
    const char *raw = c_to_raw(cp, to, value);
    if (dtype_is_int(to) && dtype_bits(to) < 8)
        raw = arena_printf(cp->cx->arena, "(%s & %d)", raw, (1 << dtype_bits(to)) - 1);
    return c_from_raw(cp, to, raw);
}

const char *c_cast(CPrint *cp, Dtype to, Dtype from, const char *value)
{
    Arena *arena = cp->cx->arena;
    Dtype compute = dtype_compute(to);
    if (compute == from)
        return narrow(cp, to, value);
    if (to == DT_bool)
        return arena_printf(arena, "(i32)(%s != 0)", value);
    if (dtype_is_float(from) && !dtype_is_float(compute))
        value = arena_printf(arena, "q_to_%s_%s(%s)", dtype_name(compute), dtype_name(from), value);
    else
        value = arena_printf(arena, "(%s)%s", c_type(compute), value);
    return narrow(cp, to, value);
}

static const char *arg(CPrint *cp, const Value *value)
{
    return value ? arena_printf(cp->cx->arena, "v%u", (unsigned)value->id) : "";
}

static const char *scalar_text(CPrint *cp, const Value *value)
{
    Dtype dtype = dtype_compute(value->args[value->scalar == S_select ? 1 : 0]->dtype);
    return c_scalar(cp, value->scalar, dtype, arg(cp, value->args[0]), arg(cp, value->args[1]),
                    arg(cp, value->args[2]));
}

static Dtype place_dtype(const Access *access)
{
    return access->buffer ? access->buffer->dtype : access->tile->dtype;
}

static const char *joined(CPrint *cp, const char *a, const char *b)
{
    if (!a || !b)
        return a ? a : b;
    return arena_printf(cp->cx->arena, "%s && %s", a, b);
}

static void put_load(CPrint *cp, const Value *value)
{
    const Access *access = value->access;
    for (const CVector *v = cp->vectors; v; v = v->next)
        if (v->value == value) {
            const char *raw = arena_printf(cp->cx->arena, "%s[%s]", v->name, c_expr(cp, v->digit));
            c_line(cp, "%s v%u = %s;", c_type(value->dtype), (unsigned)value->id,
                   c_from_raw(cp, place_dtype(access), raw));
            return;
        }
    const char *load =
        c_load_text(cp, place_dtype(access), c_base(cp, access), c_element(cp, access));
    const char *guard = joined(cp, cp->load_if, c_guards(cp, access->guards, access->guard_count));
    if (!guard) {
        c_line(cp, "%s v%u = %s;", c_type(value->dtype), (unsigned)value->id, load);
        return;
    }
    c_line(cp, "%s v%u = %s;", c_type(value->dtype), (unsigned)value->id,
           c_const(cp, value->dtype, access->fill));
    c_line(cp, "if (%s)", guard);
    c_line(cp, "    v%u = %s;", (unsigned)value->id, load);
}

static void put_bind(CPrint *cp, const Value *value)
{
    const char *lo = c_expr(cp, value->lo), *hi = c_expr(cp, value->hi);
    const char *name = c_name(cp, value->sym, "x", true);
    c_line(cp, "i64 %s = (i64)%s;", name, arg(cp, value->args[0]));
    if (value->wraps) {
        c_line(cp, "if (%s < 0)", name);
        c_line(cp, "    %s += %s + (i64)1;", name, hi);
    }
    c_line(cp, "if (%s < %s || %s > %s) {", name, lo, name, hi);
    c_line(cp, "    *error = %d;", 1 + tile_bind_number(cp->prog, value->sym));
    c_line(cp, "    %s = %s < %s ? %s : %s;", name, name, lo, lo, hi);
    c_line(cp, "}");
    c_line(cp, "%s v%u = (%s)%s;", c_type(value->dtype), (unsigned)value->id, c_type(value->dtype),
           name);
}

static void put_value(CPrint *cp, const Value *value)
{
    const char *type = c_type(value->dtype), *text = NULL;
    switch (value->op) {
    case V_load: put_load(cp, value); return;
    case V_bind: put_bind(cp, value); return;
    case V_const: text = c_const(cp, value->dtype, value->constant); break;
    case V_index:
        text = arena_printf(cp->cx->arena, "(%s)%s", type, c_expr(cp, value->index));
        break;
    case V_tile:
        text = c_load_text(cp, value->access->tile->dtype, c_tile_name(cp, value->access->tile),
                           c_tile_element(cp, value->access));
        break;
    case V_scalar: text = scalar_text(cp, value); break;
    case V_cast:
        text =
            c_cast(cp, value->dtype, dtype_compute(value->args[0]->dtype), arg(cp, value->args[0]));
        break;
    case V_reduce:
        cx_fail(cp->cx, ST_internal, "c_print: a reduction among a tile operation's values");
        return;
    }
    c_line(cp, "%s v%u = %s;", type, (unsigned)value->id, text);
}

typedef struct Need {
    const TileOp *op;
    bool *needed;
} Need;

/* A bound value is needed when an index or guard of a needed load uses its symbol. */
static void need_expr(Need *need, const Expr *e)
{
    for (uint32_t i = 0; e && i < need->op->value_count; i++) {
        const Value *value = need->op->values[i];
        if (value->op == V_bind && expr_uses(e, value->sym))
            need->needed[value->id] = true;
    }
}

static void need_access(Need *need, const Access *access)
{
    for (int d = 0; d < access->rank; d++)
        need_expr(need, access->index[d]);
    for (int g = 0; g < access->guard_count; g++) {
        need_expr(need, access->guards[g].e);
        need_expr(need, access->guards[g].lo);
        need_expr(need, access->guards[g].hi);
    }
}

void c_values(CPrint *cp, const TileOp *op, const Value *root)
{
    Need need = {.op = op, .needed = NEW_ARRAY(cp->cx->arena, bool, op->value_count + 1)};
    if (root)
        need.needed[root->id] = true;
    for (uint32_t i = 0; !root && i < op->store_count; i++) {
        need.needed[op->stores[i].value->id] = true;
        need_access(&need, op->stores[i].access);
    }
    for (uint32_t i = op->value_count; i-- > 0;) {
        const Value *value = op->values[i];
        if (!need.needed[i])
            continue;
        for (int a = 0; a < 3; a++)
            if (value->args[a])
                need.needed[value->args[a]->id] = true;
        need_expr(&need, value->op == V_index ? value->index : NULL);
        if (value->access)
            need_access(&need, value->access);
    }
    for (uint32_t i = 0; i < op->value_count; i++)
        if (need.needed[i])
            put_value(cp, op->values[i]);
}

void c_stores(CPrint *cp, const TileOp *op)
{
    for (uint32_t i = 0; i < op->store_count; i++) {
        const Access *access = op->stores[i].access;
        const Value *value = op->stores[i].value;
        bool reg = access->tile && access->tile->scope == TS_register;
        Dtype dtype = place_dtype(access);
        const char *v = arg(cp, value);
        if (dtype_compute(value->dtype) != dtype_compute(dtype))
            v = arena_printf(cp->cx->arena, "(%s)",
                             c_cast(cp, dtype_compute(dtype), dtype_compute(value->dtype), v));
        const char *at = reg ? c_tile_element(cp, access) : c_element(cp, access);
        const char *store = c_store_text(cp, dtype, c_base(cp, access), at, v, !access->buffer);
        const char *guard = c_guards(cp, access->guards, access->guard_count);
        guard = reg ? guard : joined(cp, cp->store_if, guard);
        if (guard)
            c_line(cp, "if (%s)", guard);
        c_line(cp, "%s%s", guard ? "    " : "", store);
    }
}
