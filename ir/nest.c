/* The nest's builder: names, buffers, axes, and values that are hash-consed and folded on
 * construction.
 *
 * Every value goes through value_intern: equal values of one nest are one object, so that print ->
 * parse -> print is the identity and later passes compare pointers. Folding is exact only (rules
 * that hold for NaN, infinities and -0, and for every integer): constants, x*1, x/1, x-0, integer
 * x+0, double negation, equal branches, guards that bounds decide. A value's `axes` are those it
 * varies with; an axis whose extent depends on others does not drag these in, but a reduction over
 * it does.
 *
 * Misuse (types, ranks) is a bug of a lowering: it goes to cx_fail and gives a constant, so that
 * callers need no checks. */
#include "ir/nest.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/value_build.h"
#include "ir/value_text.h"

/* ---- names */

static bool sym_taken(const Nest *nest, const char *name)
{
    for (uint32_t i = 0; i < nest->dim_count; i++)
        if (strcmp(nest->dims[i]->name, name) == 0)
            return true;
    for (int i = 0; i < nest->axis_count; i++)
        if (strcmp(nest->axes[i].sym->name, name) == 0)
            return true;
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->sym && strcmp(nest->values[i]->sym->name, name) == 0)
            return true;
    return false;
}

static bool buffer_taken(const Nest *nest, const char *name)
{
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        if (strcmp(nest->buffers[i]->name, name) == 0)
            return true;
    return false;
}

static const char *legal_name(Nest *nest, const char *name)
{
    Arena *arena = nest->cx->arena;
    char *legal = arena_strdup(arena, name && *name ? name : "_");
    for (char *p = legal; *p; p++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *p))
            *p = '_';
    return name_is_legal(legal) ? legal : arena_printf(arena, "_%s", legal);
}

/* The name itself, or the name made legal and different from those that are taken. */
static const char *unique_name(Nest *nest, const char *name,
                               bool (*taken)(const Nest *nest, const char *name))
{
    const char *legal = legal_name(nest, name), *result = legal;
    for (int i = 1; taken(nest, result); i++)
        result = arena_printf(nest->cx->arena, "%s_%d", legal, i);
    return result;
}

/* ---- symbols, buffers, axes */

Nest *nest_new(Cx *cx, const char *name)
{
    Nest *nest = NEW(cx->arena, Nest);
    nest->cx = cx;
    nest->name = legal_name(nest, name);
    return nest;
}

const Expr *nest_dim(Nest *nest, const char *name, int64_t lo, int64_t hi, int64_t div)
{
    const Expr *dim = expr_sym(nest->cx, unique_name(nest, name, sym_taken), lo, hi, div);
    nest_use_dim(nest, dim);
    return dim;
}

void nest_use_dim(Nest *nest, const Expr *dim)
{
    if (nest_sym(nest, dim).kind != SYM_dim)
        VEC_PUSH(nest->cx->arena, nest->dims, nest->dim_count, nest->dim_cap, dim);
}

void nest_equal(Nest *nest, const Expr *a, const Expr *b)
{
    for (uint32_t i = 0; i < nest->equal_count; i++)
        if (nest->equals[i].a == a && nest->equals[i].b == b)
            return;
    VEC_PUSH(nest->cx->arena, nest->equals, nest->equal_count, nest->equal_cap,
             ((DimsEqual){a, b}));
}

Buffer *nest_buffer(Nest *nest, const char *name, Dtype dtype, BufferRole role, int rank,
                    const Expr *const *shape)
{
    Cx *cx = nest->cx;
    CHECK(rank >= 0 && rank <= MAX_RANK);
    Buffer *buffer = NEW(cx->arena, Buffer);
    *buffer = (Buffer){.name = unique_name(nest, name, buffer_taken),
                       .dtype = dtype,
                       .role = role,
                       .rank = rank,
                       .shape = NEW_ARRAY(cx->arena, const Expr *, rank + 1),
                       .strides = buffer_row_major(cx, rank, shape),
                       .offset = expr_const(cx, 0),
                       .index = (int)nest->buffer_count,
                       .align = buffer_min_align(dtype)};
    if (rank)
        memcpy(buffer->shape, shape, (size_t)rank * sizeof *shape);
    VEC_PUSH(cx->arena, nest->buffers, nest->buffer_count, nest->buffer_cap, buffer);
    return buffer;
}

const Axis *nest_axis(Nest *nest, const char *name, const Expr *extent)
{
    if (nest->axis_count == MAX_AXES) {
        cx_fail(nest->cx, ST_limit, "nest '%s' has more than %d axes", nest->name, MAX_AXES);
        return &nest->axes[MAX_AXES - 1];
    }
    /* A symbol of one value is simplified away, which is right only when the extent is 1 for sure.
     */
    int64_t last = extent->hi == INT64_MAX ? INT64_MAX : extent->hi > 2 ? extent->hi - 1 : 1;
    if (expr_is_const(extent, 1))
        last = 0;
    Axis *axis = &nest->axes[nest->axis_count];
    axis->sym = expr_sym_below(nest->cx, unique_name(nest, name, sym_taken), 0, last, extent);
    axis->extent = extent;
    axis->number = nest->axis_count++;
    return axis;
}

SymUse nest_sym(const Nest *nest, const Expr *sym)
{
    for (int i = 0; i < nest->axis_count; i++)
        if (nest->axes[i].sym == sym)
            return (SymUse){SYM_axis, i, NULL};
    for (uint32_t i = 0; i < nest->dim_count; i++)
        if (nest->dims[i] == sym)
            return (SymUse){SYM_dim, -1, NULL};
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->op == V_bind && nest->values[i]->sym == sym)
            return (SymUse){SYM_bind, -1, nest->values[i]};
    return (SymUse){SYM_unknown, -1, NULL};
}

typedef struct AxesOf {
    const Nest *nest;
    uint64_t axes;
} AxesOf;

static void visit_axes(void *user, const Expr *sym)
{
    AxesOf *of = user;
    SymUse use = nest_sym(of->nest, sym);
    if (use.kind == SYM_axis)
        of->axes |= (uint64_t)1 << use.axis;
    else if (use.kind == SYM_bind)
        of->axes |= use.bind->axes;
}

uint64_t nest_expr_axes(const Nest *nest, const Expr *e)
{
    AxesOf of = {nest, 0};
    expr_symbols(nest->cx, e, visit_axes, &of);
    return of.axes;
}

uint64_t nest_access_axes(const Nest *nest, const Access *access)
{
    uint64_t axes = 0;
    for (int i = 0; i < access->rank; i++)
        axes |= nest_expr_axes(nest, access->index[i]);
    for (int i = 0; i < access->guard_count; i++) {
        const Guard *g = &access->guards[i];
        axes |=
            nest_expr_axes(nest, g->e) | nest_expr_axes(nest, g->lo) | nest_expr_axes(nest, g->hi);
    }
    return axes;
}

/* ---- values */

static ValueList list_of(Nest *nest)
{
    return (ValueList){nest->cx, nest->name, &nest->values, &nest->value_count, &nest->value_cap};
}

static Value *intern(Nest *nest, const Value *key)
{
    return value_intern(list_of(nest), key);
}

/* Sets the axes of a value the builder has made or found: they follow from its content. */
static Value *with_axes(Nest *nest, Value *v)
{
    if (v->op == V_index)
        v->axes = nest_expr_axes(nest, v->index);
    else if (v->op == V_load)
        v->axes = nest_access_axes(nest, v->access);
    for (int i = 0; i < 3 && v->args[i] && v->op != V_reduce; i++)
        v->axes |= v->args[i]->axes;
    return v;
}

__attribute__((format(printf, 2, 3))) static Value *misuse(Nest *nest, const char *fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cx_fail(nest->cx, ST_internal, "nest '%s': %s", nest->name, text);
    return nest_const(nest, DT_f32, (Scalar){0});
}

/* ---- leaves */

Value *nest_const(Nest *nest, Dtype dtype, Scalar value)
{
    return value_const(list_of(nest), dtype, value);
}

Value *nest_constf(Nest *nest, Dtype dtype, double value)
{
    return nest_const(nest, dtype, dtype_convert(dtype, DT_f64, (Scalar){.f = value}));
}

Value *nest_index(Nest *nest, Dtype dtype, const Expr *index)
{
    return with_axes(nest, value_index(list_of(nest), dtype, index));
}

/* A copy of an access without guards that bounds decide; false when one never holds. */
static bool settled_access(Nest *nest, const Buffer *buffer, const Expr *const *index,
                           const Guard *guards, int guard_count, Access *access)
{
    const Expr **copy = NEW_ARRAY(nest->cx->arena, const Expr *, buffer->rank + 1);
    for (int i = 0; i < buffer->rank; i++)
        copy[i] = index[i];
    *access = (Access){.buffer = buffer,
                       .rank = buffer->rank,
                       .index = copy,
                       .guard_count = guard_count,
                       .guards = guards};
    return access_settle(nest->cx, access);
}

Value *nest_load(Nest *nest, const Buffer *buffer, const Expr *const *index, const Guard *guards,
                 int guard_count, Scalar fill)
{
    Access access;
    if (!settled_access(nest, buffer, index, guards, guard_count, &access))
        return nest_const(nest, dtype_compute(buffer->dtype), fill);
    if (access.guard_count)
        access.fill = fill;
    return with_axes(nest, value_access(list_of(nest), V_load, buffer->dtype, &access));
}

/* ---- operations */

Value *nest_scalar(Nest *nest, ScalarOp op, Value *a, Value *b, Value *c)
{
    return with_axes(nest, value_scalar(list_of(nest), op, a, b, c));
}

Value *nest_cast(Nest *nest, Dtype to, Value *a)
{
    return with_axes(nest, value_cast(list_of(nest), to, a));
}

Value *nest_bind(Nest *nest, const char *name, Value *a, const Expr *lo, const Expr *hi, bool wraps)
{
    if (!a || !dtype_is_int(dtype_compute(a->dtype)))
        return misuse(nest, "bind '%s': an integer is required", name);
    for (uint32_t i = 0; i < nest->value_count; i++) { /* the symbol is no part of what it means */
        Value *old = nest->values[i];
        if (old->op == V_bind && old->args[0] == a && old->lo == lo && old->hi == hi &&
            old->wraps == wraps)
            return old;
    }
    int64_t high =
        hi->hi > lo->lo ? hi->hi : lo->lo + 1; /* two values, else it is simplified away */
    const Expr *sym = expr_sym(nest->cx, unique_name(nest, name, sym_taken), lo->lo, high, 1);
    return with_axes(nest, value_bind(list_of(nest), a, sym, lo, hi, wraps));
}

/* The axes that the extents of `axes` use. */
static uint64_t extent_axes(const Nest *nest, uint64_t axes)
{
    uint64_t used = 0;
    for (int i = 0; i < nest->axis_count; i++)
        if (axes >> i & 1)
            used |= nest_expr_axes(nest, nest->axes[i].extent);
    return used;
}

Value *nest_reduce(Nest *nest, Monoid monoid, uint64_t axes, Value *a)
{
    bool arg = monoid == M_argmin || monoid == M_argmax;
    if (!a || !monoid_accepts(monoid, dtype_compute(a->dtype)))
        return misuse(nest, "reduce %s: operand or type does not fit", monoid_name(monoid));
    if (axes >> nest->axis_count)
        return misuse(nest, "reduce %s over axes that do not exist", monoid_name(monoid));
    if (!axes && arg)
        return nest_const(nest, DT_i64, (Scalar){.i = 0});
    if (!axes)
        return a;
    Value key = {.op = V_reduce,
                 .dtype = arg ? DT_i64 : dtype_compute(a->dtype),
                 .monoid = monoid,
                 .args = {a},
                 .reduced = axes,
                 .axes = (a->axes | extent_axes(nest, axes)) & ~axes};
    return intern(nest, &key);
}

void nest_store(Nest *nest, const Buffer *buffer, const Expr *const *index, const Guard *guards,
                int guard_count, Value *value)
{
    if (!value || dtype_compute(value->dtype) != dtype_compute(buffer->dtype)) {
        misuse(nest, "store to '%s' (%s) of type %s", buffer->name, dtype_name(buffer->dtype),
               value ? dtype_name(value->dtype) : "none");
        return;
    }
    Access access;
    if (settled_access(nest, buffer, index, guards, guard_count, &access))
        VEC_PUSH(nest->cx->arena, nest->stores, nest->store_count, nest->store_cap,
                 ((Store){access_copy(nest->cx, &access), value}));
}

/* ---- totals */

/* Points of a set of axes; -1 when an extent is not constant or the product is too large. */
static int64_t points(const Nest *nest, uint64_t axes)
{
    int64_t count = 1;
    for (int i = 0; i < nest->axis_count; i++) {
        const Expr *extent = nest->axes[i].extent;
        if (!(axes >> i & 1))
            continue;
        if (extent->kind != EX_const)
            return -1;
        int64_t n = extent->value > 0 ? extent->value : 0;
        if (n && count > INT64_MAX / 4 / n)
            return -1;
        count *= n;
    }
    return count;
}

void nest_finish(Nest *nest)
{
    uint64_t total = 0;
    nest->scalar_ops = 0;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_scalar && v->op != V_reduce)
            continue;
        int64_t count = points(nest, v->axes | v->reduced);
        uint64_t each = v->op == V_scalar && v->scalar == S_fma ? 2 : 1;
        if (count < 0 || total > UINT64_MAX / 2)
            return;
        total += (uint64_t)count * each;
    }
    nest->scalar_ops = total;
}
