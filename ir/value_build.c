/* Making values: checks, folding, hash-consing.
 *
 * A new value is described on the stack, checked, folded when its arguments are constants, then
 * looked up among the owner's values. The search compares with every value of the same hash: lists
 * hold tens of values, rarely hundreds, so a table would only add state to every owner. */
#include "ir/value_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t mix(uint32_t hash, uint64_t part)
{
    hash ^= (uint32_t)part ^ (uint32_t)(part >> 32);
    hash *= 0x9E3779B1u;
    return hash ^ hash >> 15;
}

static uint32_t mix_expr(uint32_t hash, const Expr *e)
{
    return mix(hash, e ? e->id + 1 : 0);
}

static uint32_t value_hash(const Value *v)
{
    uint32_t hash = mix(mix(mix(0, v->op), v->dtype), (uint64_t)v->scalar << 8 | v->monoid);
    hash = mix(mix(mix_expr(hash, v->index), (uint64_t)v->constant.i), v->reduced);
    hash = mix_expr(hash, v->sym);
    for (int i = 0; i < 3; i++)
        hash = mix(hash, v->args[i] ? v->args[i]->id + 1 : 0);
    for (int i = 0; v->access && i < v->access->rank; i++)
        hash = mix_expr(hash, v->access->index[i]);
    return hash;
}

/* Equal bits: NaN equals itself, 0 and -0 differ. */
static bool same_scalar(Scalar a, Scalar b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static bool same_guard(const Guard *a, const Guard *b)
{
    return a->e == b->e && a->lo == b->lo && a->hi == b->hi;
}

static bool same_access(const Access *a, const Access *b)
{
    if (!a || !b)
        return a == b;
    if (a->buffer != b->buffer || a->tile != b->tile || a->rank != b->rank ||
        a->guard_count != b->guard_count || !same_scalar(a->fill, b->fill))
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->index[i] != b->index[i])
            return false;
    for (int i = 0; i < a->guard_count; i++)
        if (!same_guard(&a->guards[i], &b->guards[i]))
            return false;
    return true;
}

Access *access_copy(Cx *cx, const Access *access)
{
    Access *copy = arena_copy(cx->arena, access, sizeof *access);
    if (access->rank > 0)
        copy->index =
            arena_copy(cx->arena, access->index, (size_t)access->rank * sizeof *access->index);
    if (access->guard_count > 0)
        copy->guards = arena_copy(cx->arena, access->guards,
                                  (size_t)access->guard_count * sizeof *access->guards);
    return copy;
}

bool access_settle(Cx *cx, Access *access)
{
    Guard *kept = NEW_ARRAY(cx->arena, Guard, access->guard_count + 1);
    int used = 0;
    for (int i = 0; i < access->guard_count; i++) {
        const Guard *g = &access->guards[i];
        if (expr_always_lt(cx, g->e, g->lo) || expr_always_le(cx, g->hi, g->e))
            return false;
        bool open = !expr_always_le(cx, g->lo, g->e) || !expr_always_lt(cx, g->e, g->hi);
        for (int j = 0; j < used; j++)
            open = open && !same_guard(&kept[j], g);
        if (open)
            kept[used++] = *g;
    }
    access->guards = kept;
    access->guard_count = used;
    return true;
}

static bool value_same(const Value *a, const Value *b)
{
    return a->op == b->op && a->dtype == b->dtype && a->scalar == b->scalar &&
           a->monoid == b->monoid && a->wraps == b->wraps &&
           same_scalar(a->constant, b->constant) && a->index == b->index && a->sym == b->sym &&
           a->lo == b->lo && a->hi == b->hi && a->args[0] == b->args[0] &&
           a->args[1] == b->args[1] && a->args[2] == b->args[2] && a->reduced == b->reduced &&
           same_access(a->access, b->access);
}

Value *value_intern(ValueList list, const Value *value)
{
    uint32_t hash = value_hash(value);
    for (uint32_t i = *list.count; i-- > 0;) {
        Value *old = (*list.values)[i];
        if (old->hash == hash && value_same(old, value))
            return old;
    }
    Value *made = arena_copy(list.cx->arena, value, sizeof *value);
    made->id = *list.count;
    made->hash = hash;
    VEC_PUSH(list.cx->arena, *list.values, *list.count, *list.cap, made);
    return made;
}

static Value *bad(ValueList list, const char *what, Dtype dtype)
{
    cx_fail(list.cx, ST_internal, "'%s': %s (type %s)", list.owner, what, dtype_name(dtype));
    return value_const(list, DT_f32, (Scalar){0});
}

Value *value_const(ValueList list, Dtype dtype, Scalar value)
{
    if (dtype_compute(dtype) != dtype || dtype == DT_none)
        return bad(list, "a constant needs a compute type", dtype);
    if (dtype_is_float(dtype) && isnan(value.f))
        value.f = (double)NAN; /* one NaN, so that text keeps it */
    return value_intern(list, &(Value){.op = V_const, .dtype = dtype, .constant = value});
}

Value *value_index(ValueList list, Dtype dtype, const Expr *index)
{
    if (dtype != DT_i32 && dtype != DT_i64 && dtype != DT_f32 && dtype != DT_f64)
        return bad(list, "an index is i32, i64, f32 or f64", dtype);
    if (expr_is_poison(index))
        return bad(list, "index overflows", dtype);
    if (index->kind == EX_const)
        return value_const(list, dtype, dtype_convert(dtype, DT_i64, (Scalar){.i = index->value}));
    return value_intern(list, &(Value){.op = V_index, .dtype = dtype, .index = index});
}

Value *value_access(ValueList list, ValueOp op, Dtype dtype, const Access *access)
{
    Dtype compute = dtype_compute(dtype);
    if (compute == DT_none)
        return bad(list, "a load needs a type that can be computed with", dtype);
    Value value = {.op = op, .dtype = compute, .access = access_copy(list.cx, access)};
    return value_intern(list, &value);
}

static bool is_const(const Value *v, double f, int64_t i)
{
    if (v->op != V_const)
        return false;
    return dtype_is_float(v->dtype) ? v->constant.f == f && !signbit(v->constant.f)
                                    : v->constant.i == i;
}

/* Division by a power of two is multiplication by another, to the bit. NULL when it is none. */
static Value *divide_by_power(ValueList list, Value *a, const Value *b, Dtype dtype)
{
    int exponent;
    if ((dtype != DT_f32 && dtype != DT_f64) || b->op != V_const || b->constant.f == 0 ||
        !isfinite(b->constant.f) || fabs(frexp(b->constant.f, &exponent)) != 0.5 ||
        abs(exponent) > 100)
        return NULL;
    Value *inverse = value_const(list, dtype, (Scalar){.f = 1 / b->constant.f});
    return value_scalar(list, S_mul, a, inverse, NULL);
}

/* A 64-bit integer as an expression; NULL when it is none, or too large to reckon with. */
static const Expr *as_index(Cx *cx, const Value *v)
{
    const int64_t most = INT64_C(1) << 40;
    if (v->dtype != DT_i64)
        return NULL;
    if (v->op == V_const)
        return v->constant.i > -most && v->constant.i < most ? expr_const(cx, v->constant.i) : NULL;
    return v->op == V_index && v->index->lo > -most && v->index->hi < most ? v->index : NULL;
}

/* Sums, differences and comparisons of positions are positions, and known conditions. */
static Value *combine_indices(ValueList list, ScalarOp op, const Value *x, const Value *y)
{
    Cx *cx = list.cx;
    const Expr *a = as_index(cx, x), *b = a ? as_index(cx, y) : NULL;
    if (!b)
        return NULL;
    if (op == S_add || op == S_sub)
        return value_index(list, DT_i64, op == S_add ? expr_add(cx, a, b) : expr_sub(cx, a, b));
    bool always = op == S_le ? expr_always_le(cx, a, b) : expr_always_lt(cx, a, b);
    bool never = op == S_le ? expr_always_lt(cx, b, a) : expr_always_le(cx, b, a);
    return always || never ? value_const(list, DT_bool, (Scalar){.i = always}) : NULL;
}

/* Exact rules only. NULL when none fits. */
static Value *simplify(ValueList list, ScalarOp op, Value *const args[3], Dtype operand,
                       Dtype result)
{
    Value *a = args[0], *b = args[1], *c = args[2];
    bool constant = true;
    Scalar values[3] = {{0}, {0}, {0}};
    for (int i = 0; i < scalar_arity(op); i++) {
        constant = constant && args[i]->op == V_const;
        values[i] = args[i]->constant;
    }
    if (constant)
        return value_const(list, result, scalar_eval(op, operand, values));
    if (op == S_mul && (is_const(a, 1, 1) || is_const(b, 1, 1)))
        return is_const(a, 1, 1) ? b : a;
    if ((op == S_div && is_const(b, 1, 1)) || (op == S_sub && is_const(b, 0, 0)))
        return a;
    if (op == S_div && dtype_is_float(operand))
        return divide_by_power(list, a, b, operand);
    if (op == S_add && dtype_is_int(operand) && (is_const(a, 0, 0) || is_const(b, 0, 0)))
        return is_const(a, 0, 0) ? b : a;
    if (op == S_neg && a->op == V_scalar && a->scalar == S_neg)
        return a->args[0];
    if ((op == S_min || op == S_max || op == S_and || op == S_or) && a == b)
        return a;
    if ((op == S_and || op == S_or) && (a->op == V_const || b->op == V_const) &&
        operand == DT_bool) {
        bool known = a->op == V_const ? a->constant.i : b->constant.i;
        Value *other = a->op == V_const ? b : a;
        return known == (op == S_and) ? other : value_const(list, DT_bool, (Scalar){.i = known});
    }
    if (op == S_add || op == S_sub || op == S_le || op == S_lt)
        return combine_indices(list, op, a, b);
    if (op == S_select && b == c)
        return b;
    if (op == S_select && a->op == V_const)
        return a->constant.i ? b : c;
    return NULL;
}

Value *value_scalar(ValueList list, ScalarOp op, Value *a, Value *b, Value *c)
{
    int arity = scalar_arity(op);
    Value *args[3] = {a, arity > 1 ? b : NULL, arity > 2 ? c : NULL};
    Dtype types[3] = {DT_none, DT_none, DT_none};
    for (int i = 0; i < arity; i++) {
        if (!args[i])
            return bad(list, "missing operand", DT_none);
        types[i] = dtype_compute(args[i]->dtype);
    }
    Dtype result = scalar_result(op, types);
    if (result == DT_none)
        return bad(list,
                   arena_printf(list.cx->arena, "%s of %s, %s, %s: operands do not fit",
                                scalar_name(op), dtype_name(types[0]), dtype_name(types[1]),
                                dtype_name(types[2])),
                   types[0]);
    Value *simple = simplify(list, op, args, types[op == S_select ? 1 : 0], result);
    if (simple)
        return simple;
    Value value = {.op = V_scalar, .dtype = result, .scalar = op};
    memcpy(value.args, args, sizeof args);
    return value_intern(list, &value);
}

Value *value_cast(ValueList list, Dtype to, Value *a)
{
    if (!a)
        return bad(list, "missing operand", to);
    Dtype compute = dtype_compute(to);
    if (compute == DT_none)
        return bad(list, "cast to a type that cannot be computed with", to);
    if (to == a->dtype)
        return a;
    if (a->op == V_const)
        return value_const(list, compute, dtype_convert(to, a->dtype, a->constant));
    return value_intern(list, &(Value){.op = V_cast, .dtype = to, .args = {a}});
}

Value *value_bind(ValueList list, Value *a, const Expr *sym, const Expr *lo, const Expr *hi,
                  bool wraps)
{
    if (!a || !dtype_is_int(a->dtype) || expr_is_poison(lo) || expr_is_poison(hi))
        return bad(list, "a bound value is an integer with a range", a ? a->dtype : DT_none);
    return value_intern(list, &(Value){.op = V_bind,
                                       .dtype = dtype_compute(a->dtype),
                                       .args = {a},
                                       .sym = sym,
                                       .lo = lo,
                                       .hi = hi,
                                       .wraps = wraps});
}

static const char *scalar_fault(const Value *v)
{
    Dtype types[3] = {DT_none, DT_none, DT_none};
    for (int i = 0; i < 3; i++) {
        if ((i < scalar_arity(v->scalar)) != (v->args[i] != NULL))
            return "the number of operands is wrong";
        if (v->args[i])
            types[i] = dtype_compute(v->args[i]->dtype);
    }
    Dtype result = scalar_result(v->scalar, types);
    return result == DT_none || result != v->dtype ? "the types of the operands do not fit" : NULL;
}

static const char *reduce_fault(const Value *v)
{
    Dtype from = v->args[0] ? dtype_compute(v->args[0]->dtype) : DT_none;
    if (from == DT_none || !monoid_accepts(v->monoid, from))
        return "the types do not fit";
    bool arg = v->monoid == M_argmin || v->monoid == M_argmax;
    return v->dtype == (arg ? DT_i64 : from) ? NULL : "the types do not fit";
}

const char *value_fault(Value *const *values, const Value *v)
{
    for (int i = 0; i < 3; i++)
        if (v->args[i] && (v->args[i]->id >= v->id || values[v->args[i]->id] != v->args[i]))
            return "an operand does not come before it";
    switch (v->op) {
    case V_const: return dtype_compute(v->dtype) == v->dtype ? NULL : "the type does not fit";
    case V_index:
        return v->dtype == DT_i64 || v->dtype == DT_i32 || v->dtype == DT_f32 || v->dtype == DT_f64
                   ? NULL
                   : "an index is i64, i32, f32 or f64";
    case V_load:
    case V_tile: return v->access ? NULL : "there is no access";
    case V_scalar: return scalar_fault(v);
    case V_cast:
        return v->args[0] && dtype_compute(v->dtype) != DT_none ? NULL : "the type does not fit";
    case V_bind:
        return v->args[0] && dtype_is_int(v->dtype) &&
                       dtype_compute(v->args[0]->dtype) == v->dtype && v->sym
                   ? NULL
                   : "an integer is required";
    case V_reduce: return reduce_fault(v);
    }
    return "unknown kind of value";
}

bool value_uses_sym(const Value *value, const Expr *sym)
{
    if (value->op == V_index)
        return expr_uses(value->index, sym);
    if (value->op != V_load)
        return false;
    const Access *access = value->access;
    for (int d = 0; d < access->rank; d++)
        if (expr_uses(access->index[d], sym))
            return true;
    for (int g = 0; g < access->guard_count; g++)
        if (expr_uses(access->guards[g].e, sym) || expr_uses(access->guards[g].lo, sym) ||
            expr_uses(access->guards[g].hi, sym))
            return true;
    return false;
}
