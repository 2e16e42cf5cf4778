/* The nest's verifier: every rule of nest.h and value.h, in the order of the text form. The first
 * violation ends it.
 *
 * Bounds of indices are not proven here (that needs the guards' arithmetic): the interpreter checks
 * each access it makes. Likewise that different stores write different elements. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/nest.h"
#include "ir/value_build.h"
#include "ir/value_text.h"

#define OVERFLOW "an expression is poison (a size overflows, or a divisor may be 0)"

__attribute__((format(printf, 2, 3))) static bool fail(const Nest *nest, const char *fmt, ...)
{
    char text[700];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    bool overflow = strstr(text, OVERFLOW) != NULL;
    cx_fail(nest->cx, overflow ? ST_limit : ST_internal, "nest '%s': %s", nest->name, text);
    return false;
}

static const char *axis_name(const void *user, int number)
{
    const Nest *nest = user;
    return number >= 0 && number < nest->axis_count ? nest->axes[number].sym->name : "?";
}

static const char *tile_name(const void *user, const struct Tile *tile)
{
    (void)user;
    (void)tile;
    return "?";
}

static const char *value_name(const Nest *nest, const Value *value)
{
    Text text;
    text_init(&text, nest->cx->arena);
    ValueNames names = {nest, axis_name, tile_name};
    value_print(&text, value, &names);
    return text.data;
}

/* ---- symbols of an expression */

typedef struct Allowed {
    const Nest *nest;
    int axes;            /* axes of smaller number than this */
    uint32_t binds;      /* bound values of smaller id than this */
    const Expr *foreign; /* out: a symbol that may not be used */
} Allowed;

static void visit_allowed(void *user, const Expr *sym)
{
    Allowed *a = user;
    SymUse use = nest_sym(a->nest, sym);
    bool good = use.kind == SYM_dim || (use.kind == SYM_axis && use.axis < a->axes) ||
                (use.kind == SYM_bind && use.bind->id < a->binds);
    if (!good)
        a->foreign = sym;
}

/* NULL when the expression is fine, else what is wrong. */
static const char *expr_fault(const Nest *nest, const Expr *e, int axes, uint32_t binds)
{
    if (!e)
        return "an expression is missing";
    if (expr_is_poison(e))
        return OVERFLOW;
    Allowed allowed = {nest, axes, binds, NULL};
    expr_symbols(nest->cx, e, visit_allowed, &allowed);
    if (allowed.foreign)
        return arena_printf(nest->cx->arena, "symbol '%s' may not be used there",
                            allowed.foreign->name);
    return NULL;
}

/* ---- dims, buffers, axes */

static bool check_names(const Nest *nest)
{
    Cx *cx = nest->cx;
    size_t room = nest->dim_count + (size_t)nest->axis_count + nest->value_count, count = 0;
    const Expr **syms = NEW_ARRAY(cx->arena, const Expr *, room + 1);
    for (uint32_t i = 0; i < nest->dim_count; i++)
        syms[count++] = nest->dims[i];
    for (int i = 0; i < nest->axis_count; i++)
        syms[count++] = nest->axes[i].sym;
    for (uint32_t i = 0; i < nest->value_count; i++)
        if (nest->values[i]->op == V_bind)
            syms[count++] = nest->values[i]->sym;
    for (size_t i = 0; i < count; i++) {
        if (!syms[i] || syms[i]->kind != EX_sym || !name_is_legal(syms[i]->name))
            return fail(nest, "a dim, axis or bound value is no symbol with a legal name");
        for (size_t j = 0; j < i; j++)
            if (strcmp(syms[i]->name, syms[j]->name) == 0)
                return fail(nest, "the name '%s' is used twice", syms[i]->name);
    }
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const char *name = nest->buffers[i]->name;
        if (!name_is_legal(name))
            return fail(nest, "buffer %u has no legal name", i);
        for (uint32_t j = 0; j < i; j++)
            if (strcmp(name, nest->buffers[j]->name) == 0)
                return fail(nest, "the buffer name '%s' is used twice", name);
    }
    return true;
}

static bool check_equal(const Nest *nest, const DimsEqual *equal)
{
    const char *fault = expr_fault(nest, equal->a, 0, 0);
    if (!fault)
        fault = expr_fault(nest, equal->b, 0, 0);
    return fault ? fail(nest, "equal dims: %s", fault) : true;
}

static bool check_buffer(const Nest *nest, const Buffer *b, uint32_t position)
{
    if (b->index != (int)position)
        return fail(nest, "buffer '%s' is at position %u but says %d", b->name, position, b->index);
    if (b->rank < 0 || b->rank > MAX_RANK)
        return fail(nest, "buffer '%s': rank %d", b->name, b->rank);
    if (dtype_compute(b->dtype) == DT_none)
        return fail(nest, "buffer '%s': type %s", b->name, dtype_name(b->dtype));
    if (b->align < buffer_min_align(b->dtype) || (b->align & (b->align - 1)))
        return fail(nest, "buffer '%s': alignment %d", b->name, b->align);
    const char *fault = expr_fault(nest, b->offset, 0, 0);
    for (int i = 0; i < b->rank && !fault; i++) {
        fault = expr_fault(nest, b->shape[i], 0, 0);
        if (!fault)
            fault = expr_fault(nest, b->strides[i], 0, 0);
        if (!fault && b->shape[i]->lo < 0)
            fault = "a size may be negative";
    }
    return fault ? fail(nest, "buffer '%s': %s", b->name, fault) : true;
}

static bool check_axis(const Nest *nest, int number)
{
    const Axis *axis = &nest->axes[number];
    if (axis->number != number)
        return fail(nest, "axis '%s' is at position %d but says %d", axis->sym->name, number,
                    axis->number);
    const char *fault = expr_fault(nest, axis->extent, number, 0);
    return fault ? fail(nest, "axis '%s': %s", axis->sym->name, fault) : true;
}

/* ---- values */

static const char *access_fault(const Nest *nest, const Access *a, uint32_t binds)
{
    if (!a || !a->buffer || a->tile)
        return "the access has no buffer";
    if (a->buffer->index < 0 || a->buffer->index >= (int)nest->buffer_count ||
        nest->buffers[a->buffer->index] != a->buffer)
        return "the buffer is not the nest's";
    if (a->rank != a->buffer->rank)
        return "the rank differs from the buffer's";
    const char *fault = NULL;
    for (int i = 0; i < a->rank && !fault; i++)
        fault = expr_fault(nest, a->index[i], MAX_AXES, binds);
    for (int i = 0; i < a->guard_count && !fault; i++) {
        fault = expr_fault(nest, a->guards[i].e, MAX_AXES, binds);
        if (!fault)
            fault = expr_fault(nest, a->guards[i].lo, MAX_AXES, binds);
        if (!fault)
            fault = expr_fault(nest, a->guards[i].hi, MAX_AXES, binds);
    }
    return fault;
}

static const char *load_fault(const Nest *nest, const Value *v)
{
    const char *fault = access_fault(nest, v->access, v->id);
    if (fault)
        return fault;
    if (v->access->buffer->role == BUF_out)
        return "an output is read";
    return v->dtype == dtype_compute(v->access->buffer->dtype)
               ? NULL
               : "the type is not the buffer's type of computation";
}

static const char *bind_fault(const Nest *nest, const Value *v)
{
    const char *fault = expr_fault(nest, v->lo, 0, 0);
    if (!fault)
        fault = expr_fault(nest, v->hi, 0, 0);
    if (fault)
        return fault;
    if (v->lo->lo < v->sym->lo || v->hi->hi > v->sym->hi)
        return "the symbol's bounds are narrower than the range";
    return NULL;
}

static const char *reduce_fault(const Nest *nest, const Value *v, uint64_t axes)
{
    if (!v->reduced || v->reduced >> nest->axis_count)
        return "the set of reduced axes is empty or has unknown axes";
    for (int i = 0; i < nest->axis_count; i++)
        if (axes >> i & 1 && nest_expr_axes(nest, nest->axes[i].extent) & v->reduced)
            return "the extent of an axis that stays depends on a reduced axis";
    return NULL;
}

/* The axes a value must say it depends on. */
static uint64_t true_axes(const Nest *nest, const Value *v)
{
    uint64_t axes = v->op == V_index ? nest_expr_axes(nest, v->index) : 0;
    if (v->op == V_load)
        axes |= nest_access_axes(nest, v->access);
    for (int i = 0; i < 3 && v->args[i]; i++)
        axes |= v->args[i]->axes;
    for (int i = 0; i < nest->axis_count; i++)
        if (v->reduced >> i & 1)
            axes |= nest_expr_axes(nest, nest->axes[i].extent);
    return axes & ~v->reduced;
}

static const char *nest_value_fault(const Nest *nest, const Value *v)
{
    const char *fault = value_fault(nest->values, v);
    if (fault)
        return fault;
    switch (v->op) {
    case V_const:
    case V_scalar:
    case V_cast: break;
    case V_index: fault = expr_fault(nest, v->index, MAX_AXES, v->id); break;
    case V_load: fault = load_fault(nest, v); break;
    case V_bind: fault = bind_fault(nest, v); break;
    case V_reduce: fault = reduce_fault(nest, v, true_axes(nest, v)); break;
    case V_tile: fault = "a nest has no tiles"; break;
    }
    if (!fault && v->axes != true_axes(nest, v))
        fault = "the set of axes is wrong";
    return fault;
}

/* ---- stores */

static bool check_store(const Nest *nest, uint32_t position)
{
    const Store *s = &nest->stores[position];
    const char *fault =
        access_fault(nest, s->access, 0); /* no bound values: points are independent */
    if (fault)
        return fail(nest, "store %u: %s", position, fault);
    const char *name = s->access->buffer->name;
    if (s->access->buffer->role != BUF_out && s->access->buffer->role != BUF_scratch)
        return fail(nest, "store to '%s', which is an input", name);
    if (!s->value || s->value->id >= nest->value_count || nest->values[s->value->id] != s->value)
        return fail(nest, "store to '%s': the value is not the nest's", name);
    if (dtype_compute(s->value->dtype) != dtype_compute(s->access->buffer->dtype))
        return fail(nest, "store to '%s' of type %s", name, dtype_name(s->value->dtype));
    uint64_t axes = 0, needed = s->value->axes;
    for (int i = 0; i < s->access->rank; i++)
        axes |= nest_expr_axes(nest, s->access->index[i]);
    for (int i = 0; i < nest->axis_count; i++)
        if (axes >> i & 1)
            needed |= nest_expr_axes(nest, nest->axes[i].extent);
    needed |= nest_access_axes(nest, s->access);
    for (int i = 0; i < nest->axis_count; i++)
        if (needed >> i & 1 && !(axes >> i & 1))
            return fail(nest, "store to '%s' needs axis '%s', which its index does not use", name,
                        nest->axes[i].sym->name);
    return true;
}

bool nest_verify(Nest *nest)
{
    if (cx_failed(nest->cx))
        return false;
    for (uint32_t i = 0; i < nest->dim_count; i++)
        if (nest->dims[i]->kind != EX_sym || nest->dims[i]->lo < 0)
            return fail(nest, "dim %u is not a symbol of sizes", i);
    if (!check_names(nest))
        return false;
    for (uint32_t i = 0; i < nest->equal_count; i++)
        if (!check_equal(nest, &nest->equals[i]))
            return false;
    for (uint32_t i = 0; i < nest->buffer_count; i++)
        if (!check_buffer(nest, nest->buffers[i], i))
            return false;
    for (int i = 0; i < nest->axis_count; i++)
        if (!check_axis(nest, i))
            return false;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        const char *fault = v->id != i ? "its id is not its position" : nest_value_fault(nest, v);
        if (fault)
            return fail(nest, "%s: in '%s'", fault, value_name(nest, v));
    }
    for (uint32_t i = 0; i < nest->store_count; i++)
        if (!check_store(nest, i))
            return false;
    return nest->store_count ? true : fail(nest, "nothing is stored");
}
