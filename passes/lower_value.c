/* Substituting axes in values and accesses, and the box loops that every schedule is made of. */
#include "passes/lower_value.h"

#include <string.h>

#include "ir/value_build.h"

void lower_init(Lower *lower, Cx *cx, Nest *nest, const Caps *caps, TileProg *prog)
{
    *lower = (Lower){.cx = cx, .nest = nest, .caps = caps, .prog = prog};
    lower->held = NEW_ARRAY(cx->arena, Held, nest->value_count);
    lower->memo = NEW_ARRAY(cx->arena, Value *, nest->value_count);
    lower->repacked = NEW_ARRAY(cx->arena, Repacked, nest->buffer_count);
}

const char *lower_name(Lower *lower, const char *stem)
{
    return arena_printf(lower->cx->arena, "%s%d", stem, lower->names++);
}

uint64_t expr_axes(const Nest *nest, const Expr *e)
{
    uint64_t axes = 0;
    for (int i = 0; i < nest->axis_count; i++)
        if (expr_uses(e, nest->axes[i].sym))
            axes |= 1ull << i;
    return axes;
}

uint64_t access_axes(const Nest *nest, const Access *access)
{
    uint64_t axes = 0;
    for (int d = 0; d < access->rank; d++)
        axes |= expr_axes(nest, access->index[d]);
    for (int g = 0; g < access->guard_count; g++)
        axes |= expr_axes(nest, access->guards[g].e);
    return axes;
}

const Expr *access_offset(Cx *cx, const Access *access)
{
    const Buffer *buffer = access->buffer;
    const Expr *offset = buffer->offset ? buffer->offset : expr_const(cx, 0);
    for (int d = 0; d < access->rank; d++)
        offset = expr_add(cx, offset, expr_mul(cx, access->index[d], buffer->strides[d]));
    return offset;
}

int access_unit_axis(Cx *cx, const Nest *nest, const Access *access, uint64_t among)
{
    const Expr *offset = access_offset(cx, access);
    for (int i = nest->axis_count - 1; i >= 0; i--) {
        int64_t coef;
        const Expr *rest;
        if ((among >> i & 1) && expr_linear(cx, offset, nest->axes[i].sym, &coef, &rest) &&
            coef == 1)
            return i;
    }
    return -1;
}

const Expr *lower_expr(Lower *lower, const Expr *e)
{
    const Expr *syms[MAX_AXES + 1], *with[MAX_AXES + 1];
    size_t count = 0;
    if (lower->known) {
        syms[count] = lower->known->sym;
        with[count++] = lower->known_as;
    }
    for (int i = 0; i < lower->nest->axis_count; i++)
        if (lower->at[i]) {
            syms[count] = lower->nest->axes[i].sym;
            with[count++] = lower->at[i];
        }
    return expr_subst(lower->cx, e, syms, with, count);
}

static bool is_assumed(const Lower *lower, const Guard *guard)
{
    for (int i = 0; i < lower->assumed_count; i++)
        if (lower->assumed[i] == guard)
            return true;
    return false;
}

Access *lower_access(Lower *lower, const Access *access)
{
    Arena *arena = lower->cx->arena;
    Access *out = NEW(arena, Access);
    *out = *access;
    const Expr **index = NEW_ARRAY(arena, const Expr *, access->rank);
    for (int d = 0; d < access->rank; d++)
        index[d] = lower_expr(lower, access->index[d]);
    Guard *guards = NEW_ARRAY(arena, Guard, access->guard_count);
    out->guard_count = 0;
    for (int g = 0; g < access->guard_count; g++)
        if (!is_assumed(lower, &access->guards[g]))
            guards[out->guard_count++] = (Guard){lower_expr(lower, access->guards[g].e),
                                                 lower_expr(lower, access->guards[g].lo),
                                                 lower_expr(lower, access->guards[g].hi)};
    out->index = index;
    out->guards = guards;
    return out;
}

/* Index of a held tile at the current point. */
static void held_index(const Lower *lower, const Held *held, const Expr *index[MAX_BOX])
{
    const Tile *tile = held->tile;
    for (int d = 0; d < tile->rank; d++) {
        int axis = held->axis[d];
        index[d] = expr_const(lower->cx, 0);
        if (axis >= BY_COORD)
            index[d] = lower->coord[axis - BY_COORD];
        else if (axis >= 0)
            index[d] = tile->scope == TS_shared ? lower->at[axis] : lower->coord[axis];
        CHECK(index[d]);
    }
}

Value *lower_read(Lower *lower, TileOp *op, const Held *held)
{
    const Expr *index[MAX_BOX];
    held_index(lower, held, index);
    if (held->tile->scope == TS_register)
        return tile_read(lower->prog, op, held->tile, index);
    Access access = {.tile = held->tile,
                     .rank = held->tile->rank,
                     .index = arena_copy(lower->cx->arena, index, sizeof index)};
    return tile_load(lower->prog, op, &access);
}

void lower_write(Lower *lower, TileOp *op, const Held *held, Value *value)
{
    const Expr *index[MAX_BOX];
    held_index(lower, held, index);
    if (held->tile->scope == TS_register) {
        tile_write(lower->prog, op, held->tile, index, value);
        return;
    }
    Access access = {.tile = held->tile,
                     .rank = held->tile->rank,
                     .index = arena_copy(lower->cx->arena, index, sizeof index)};
    tile_store(lower->prog, op, &access, value);
}

/* Bound values that a load or an index value uses must come before it. */
static void lower_binds(Lower *lower, TileOp *op, const Value *user)
{
    for (uint32_t i = 0; i < lower->nest->value_count; i++) {
        Value *bind = lower->nest->values[i];
        if (bind->op == V_bind && bind != lower->known && !lower->memo[i] &&
            value_uses_sym(user, bind->sym))
            lower_value(lower, op, bind);
    }
}

/* A box at the edge may lie outside a guard altogether. */
static bool never_holds(const Access *access)
{
    for (int g = 0; g < access->guard_count; g++) {
        const Guard *guard = &access->guards[g];
        if (guard->e->hi < guard->lo->lo || guard->e->lo >= guard->hi->hi)
            return true;
    }
    return false;
}

static void read_repacked(const Lower *lower, Access *access)
{
    const Repacked *repacked = &lower->repacked[access->buffer->index];
    if (!repacked->buffer)
        return;
    const Expr **index = NEW_ARRAY(lower->cx->arena, const Expr *, access->rank);
    for (int d = 0; d < access->rank; d++)
        index[d] = access->index[repacked->order[d]];
    access->buffer = repacked->buffer;
    access->index = index;
}

/* A position as an expression, or NULL. */
static const Expr *position_of(Cx *cx, const Value *v)
{
    if (v->dtype != DT_i64)
        return NULL;
    return v->op == V_index ? v->index : v->op == V_const ? expr_const(cx, v->constant.i) : NULL;
}

/* A comparison of positions that is the same all over the box; else NULL. */
static Value *decided(Lower *lower, TileOp *op, ScalarOp scalar, Value *const *args)
{
    if (scalar != S_lt && scalar != S_le)
        return NULL;
    Cx *cx = lower->cx;
    const Expr *a = position_of(cx, args[0]), *b = position_of(cx, args[1]);
    if (!a || !b)
        return NULL;
    bool strict = scalar == S_lt;
    if (strict ? expr_always_lt(cx, a, b) : expr_always_le(cx, a, b))
        return tile_const(lower->prog, op, DT_bool, (Scalar){.i = 1});
    if (strict ? expr_always_le(cx, b, a) : expr_always_lt(cx, b, a))
        return tile_const(lower->prog, op, DT_bool, (Scalar){.i = 0});
    return NULL;
}

static Value *lower_fresh(Lower *lower, TileOp *op, Value *v)
{
    TileProg *prog = lower->prog;
    Value *args[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3 && v->op != V_reduce; i++)
        if (v->args[i])
            args[i] = lower_value(lower, op, v->args[i]);
    switch (v->op) {
    case V_const: return tile_const(prog, op, v->dtype, v->constant);
    case V_index:
        lower_binds(lower, op, v);
        return tile_index(prog, op, v->dtype, lower_expr(lower, v->index));
    case V_load: {
        lower_binds(lower, op, v);
        Access *access = lower_access(lower, v->access);
        if (never_holds(access))
            return tile_const(prog, op, v->dtype, access->fill);
        read_repacked(lower, access);
        return tile_load(prog, op, access);
    }
    case V_scalar: {
        Value *known = decided(lower, op, v->scalar, args);
        return known ? known : tile_scalar(prog, op, v->scalar, args[0], args[1], args[2]);
    }
    case V_cast: return tile_cast(prog, op, v->dtype, args[0]);
    case V_bind:
        return tile_bind(prog, op, args[0], v->sym, lower_expr(lower, v->lo),
                         lower_expr(lower, v->hi), v->wraps);
    case V_reduce: BUG("nest '%s': reduction %%%u is not computed yet", lower->nest->name, v->id);
    case V_tile: break;
    }
    BUG("nest '%s': value %%%u cannot be lowered", lower->nest->name, v->id);
}

Value *lower_value(Lower *lower, TileOp *op, Value *value)
{
    if (lower->memo_op != op) {
        memset(lower->memo, 0, lower->nest->value_count * sizeof *lower->memo);
        lower->memo_op = op;
    }
    Value **memo = &lower->memo[value->id];
    if (!*memo) {
        Held *held = &lower->held[value->id];
        *memo = held->tile ? lower_read(lower, op, held) : lower_fresh(lower, op, value);
    }
    return *memo;
}

void lower_stores(Lower *lower, TileOp *op, uint64_t axes)
{
    for (uint32_t i = 0; i < lower->nest->store_count; i++) {
        Store *store = &lower->nest->stores[i];
        if (access_axes(lower->nest, store->access) == axes)
            tile_store(lower->prog, op, lower_access(lower, store->access),
                       lower_value(lower, op, store->value));
    }
}

void lower_boxes(Lower *lower, TileBlock *block, const char *name, const Expr *lo, const Expr *hi,
                 int size, BoxBody *body, void *user)
{
    Cx *cx = lower->cx;
    const Expr *count = expr_sub(cx, hi, lo);
    const Expr *var;
    if (size == 1) {
        if (expr_is_const(count, 1)) {
            body(user, block, lo, 1, NULL);
            return;
        }
        TileBlock *inner = tile_for(lower->prog, block, lower_name(lower, name), lo, hi, 1, &var);
        body(user, inner, var, 1, NULL);
        return;
    }
    if (target_is_gpu(lower->caps) && expr_always_le(cx, count, expr_const(cx, size))) {
        body(user, block, lo, size, expr_is_const(count, size) ? NULL : count);
        return;
    }
    const Expr *full = expr_muli(cx, expr_divi(cx, count, size), size);
    const Expr *rest = expr_sub(cx, count, full);
    if (expr_is_const(full, size)) {
        body(user, block, lo, size, NULL);
    } else if (!expr_is_const(full, 0)) {
        TileBlock *inner = tile_for(lower->prog, block, lower_name(lower, name), lo,
                                    expr_add(cx, lo, full), size, &var);
        body(user, inner, var, size, NULL);
    }
    if (expr_is_const(rest, 0))
        return;
    const Expr *tail = expr_add(cx, lo, full);
    if (rest->kind == EX_const) {
        body(user, block, tail, size, rest);
        return;
    }
    Guard some = {rest, expr_const(cx, 1), expr_const(cx, size)};
    TileOp *guard = tile_if(lower->prog, block, &some, 1);
    body(user, guard->body, tail, size, rest);
}

bool lower_has_transcendental(const Value *value)
{
    if (value->op == V_reduce)
        return false;
    if (value->op == V_scalar && (scalar_flags(value->scalar) & TRANS))
        return true;
    for (int i = 0; i < 3; i++)
        if (value->args[i] && lower_has_transcendental(value->args[i]))
            return true;
    return false;
}

void lower_split(Lower *lower, const int *axes, int count, const Expr *number)
{
    for (int i = count - 1; i >= 0; i--) {
        /* an extent that is 0 leaves no numbers to split */
        const Expr *extent =
            expr_max(lower->cx, lower->nest->axes[axes[i]].extent, expr_const(lower->cx, 1));
        lower->at[axes[i]] = i ? expr_mod(lower->cx, number, extent) : number;
        number = expr_floordiv(lower->cx, number, extent);
    }
}

/* The dim of an access that is exactly `axis`, when every dim is exactly one axis or constant; else
 * -1. */
static int plain_dim(const Nest *nest, const Access *access, int axis)
{
    int dim = -1;
    for (int d = 0; d < access->rank; d++) {
        const Expr *e = access->index[d];
        if (e->kind != EX_const && e->kind != EX_sym)
            return -1;
        if (e == nest->axes[axis].sym)
            dim = d;
    }
    return dim;
}

const Access *lower_packable(const Nest *nest, const Buffer *buffer)
{
    const Access *found = NULL;
    if (buffer->role != BUF_const || buffer->offset->kind != EX_const)
        return NULL;
    for (int d = 0; d < buffer->rank; d++)
        if (buffer->shape[d]->kind != EX_const || buffer->strides[d]->kind != EX_const)
            return NULL;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_load || v->access->buffer != buffer)
            continue;
        if (found || v->access->guard_count)
            return NULL;
        found = v->access;
    }
    return found;
}

static Buffer *reordered(Cx *cx, const Buffer *from, const int *order)
{
    Buffer *buffer = NEW(cx->arena, Buffer);
    *buffer = *from;
    const Expr **shape = NEW_ARRAY(cx->arena, const Expr *, from->rank);
    const Expr **strides = NEW_ARRAY(cx->arena, const Expr *, from->rank);
    const Expr *stride = expr_const(cx, 1);
    for (int d = from->rank - 1; d >= 0; d--) {
        shape[d] = from->shape[order[d]];
        strides[d] = stride;
        stride = expr_mul(cx, stride, shape[d]);
    }
    buffer->name = arena_printf(cx->arena, "%s_packed", from->name);
    buffer->shape = shape;
    buffer->strides = strides;
    buffer->offset = expr_const(cx, 0);
    buffer->align = 64;
    return buffer;
}

static Nest *repack_nest(Lower *lower, const Buffer *from, const Buffer *to, const int *order)
{
    Nest *nest =
        nest_new(lower->cx, arena_printf(lower->cx->arena, "%s_%s", lower->nest->name, to->name));
    Buffer *source = nest_buffer(nest, from->name, from->dtype, BUF_in, from->rank, from->shape);
    source->strides = from->strides;
    source->offset = from->offset;
    source->align = from->align;
    Buffer *result = nest_buffer(nest, to->name, to->dtype, BUF_out, to->rank, to->shape);
    const Expr *in[MAX_RANK], *index[MAX_RANK];
    for (int d = 0; d < to->rank; d++)
        in[order[d]] = index[d] =
            nest_axis(nest, arena_printf(lower->cx->arena, "d%d", d), to->shape[d])->sym;
    nest_store(nest, result, index, NULL, 0, nest_load(nest, source, in, NULL, 0, (Scalar){0}));
    return nest;
}

void lower_repack(Lower *lower, int axis, Lowered *out)
{
    const int most = (int)(sizeof out->packs / sizeof *out->packs);
    for (uint32_t b = 0; b < lower->nest->buffer_count && out->pack_count < most; b++) {
        const Buffer *buffer = lower->nest->buffers[b];
        const Access *access = lower_packable(lower->nest, buffer);
        int dim = access && !lower->repacked[b].buffer ? plain_dim(lower->nest, access, axis) : -1;
        if (dim < 0 || expr_is_const(buffer->strides[dim], 1))
            continue;
        Repacked *repacked = &lower->repacked[b];
        for (int d = 0, at = 0; d < buffer->rank; d++)
            if (d != dim)
                repacked->order[at++] = d;
        repacked->order[buffer->rank - 1] = dim;
        repacked->buffer = reordered(lower->cx, buffer, repacked->order);
        Nest *nest = repack_nest(lower, buffer, repacked->buffer, repacked->order);
        out->packs[out->pack_count++] = (PackedConst){(int)b, nest};
        lower->prog->buffers[b] = repacked->buffer;
    }
}
