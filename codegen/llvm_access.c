/* Loads and stores of buffers and shared tiles, by how the address moves with the lanes:
 *   not at all    one scalar load
 *   one by one    a vector load, masked where lanes may be outside
 *   otherwise     a gather
 * A guard that is the same for all lanes costs a pointer select: a load outside reads the zero page
 * instead. The select is made at the level of the guard, before the terms of inner loops are added,
 * when the page is long enough for them. */
#include "codegen/llvm_emit.h"

enum { TAG_safe = 20 };

typedef struct Place {
    const Expr *offset; /* in elements, substituted */
    const Expr *fixed;  /* part of it that is the same for all lanes */
    int64_t coef;       /* elements from lane to lane; -1: not constant */
    bool lanes;
    Ref cond, mask; /* guards: uniform, per lane; NULL = true */
    int cond_level;
    Ref base;
    int64_t size; /* bytes of an element; 1 below a byte */
    int bits;
} Place;

/* An access of an operation with the guards of the point added. */
static void find_place(Emit *e, Point *p, const Access *access, bool load, Place *at)
{
    Dtype dtype = access->buffer ? access->buffer->dtype : access->tile->dtype;
    int extra = load ? p->extra_count : 0, count = access->guard_count + extra;
    Guard *guards = NEW_ARRAY(e->arena, Guard, count + 1);
    for (int i = 0; i < access->guard_count; i++)
        guard_subst(e, p, &access->guards[i], &guards[i]);
    for (int i = 0; i < extra; i++)
        guard_subst(e, p, &p->extra[i], &guards[access->guard_count + i]);
    *at = (Place){.bits = dtype_bits(dtype), .coef = -1};
    at->size = at->bits < 8 ? 1 : at->bits / 8;
    at->offset = at->fixed = access_offset(e, p, access);
    at->base = emit_base(e, access);
    at->cond = emit_guards(e, guards, count, p->width > 1 ? p->lane : NULL, p->width, &at->mask,
                           &at->cond_level);
    at->lanes = p->width > 1 && expr_has_lanes(e, at->offset);
    const Expr *rest;
    int64_t coef;
    if (at->lanes && expr_linear(e->cx, at->offset, p->lane, &coef, &rest) &&
        !expr_has_lanes(e, rest)) {
        at->coef = coef;
        at->fixed = rest;
    }
}

/* Can the guarded address be selected before `inner` is added? All it may become must lie in the
 * zero page. */
static bool page_holds(const Expr *inner, int64_t size, int width)
{
    return inner->lo >= 0 && inner->hi < ABI_ZERO_PAGE &&
           (inner->hi + width) * size <= ABI_ZERO_PAGE;
}

static Ref select_page(Emit *e, const Place *at, const Expr *outer, int level)
{
    Ref found = memo_find(e, level, TAG_safe, at->base, outer, at->cond, NULL);
    if (found)
        return found;
    int current = e->level;
    e->level = level; /* the address stands there whole, its constant too */
    level_at(e, level);
    Ref p = emit_address(e, at->base, 0, outer, at->size), zeros = emit_zeros(e);
    e->level = current;
    level_at(e, level);
    found = LLVMBuildSelect(e->b, at->cond, p, zeros, "");
    memo_add(e, level, TAG_safe, at->base, outer, at->cond, NULL, found);
    level_at(e, e->level);
    return found;
}

/* Address of lane 0, safe to read even when the uniform guard fails. */
static Ref safe_address(Emit *e, Point *p, const Access *access, const Place *at)
{
    if (!at->cond)
        return emit_address(e, at->base, 0, at->fixed, at->size);
    const Expr *offset = at->fixed, *outer, *inner, *step = expr_const(e->cx, 0);
    if (p->seq) {
        Point first = *p;
        for (int i = 0; i < p->count; i++)
            if (p->syms[i] == p->seq)
                first.with[i] = step;
        const Expr *from = access_offset(e, &first, access);
        const Expr *moved = expr_sub(e->cx, at->offset, from);
        if (moved->kind == EX_const && moved->value >= 0) {
            step = moved;
            offset = expr_sub(e->cx, offset, moved);
        }
    }
    expr_split(e, offset, at->cond_level, &outer, &inner);
    inner = expr_add(e->cx, inner, step);
    if (!page_holds(inner, at->size, p->width)) {
        outer = expr_add(e->cx, outer, inner);
        inner = expr_const(e->cx, 0);
    }
    int level = expr_level(e, outer);
    level = level > at->cond_level ? level : at->cond_level;
    Ref base = select_page(e, at, outer, level);
    return emit_address(e, base, level, inner, at->size);
}

/* Lanes that may touch memory: the guards, the bounds, and the uniform guard too. NULL = all. */
static Ref whole_mask(Emit *e, Point *p, const Place *at, bool with_cond)
{
    Ref mask = at->mask;
    if (p->mask)
        mask = mask ? LLVMBuildAnd(e->b, mask, p->mask, "") : p->mask;
    if (with_cond && at->cond) {
        Ref all = splat(e, at->cond, p->width);
        mask = mask ? LLVMBuildAnd(e->b, mask, all, "") : all;
    }
    return mask;
}

static Ref all_lanes(Emit *e, int width)
{
    return const_mask(e, width, width);
}

/* Addresses of all lanes; *shift: bit position inside the byte, for elements below a byte. */
static Ref lane_addresses(Emit *e, Point *p, const Place *at, Ref *shift)
{
    bool is32;
    if (at->bits < 8) {
        Ref bits;
        if (at->lanes) {
            bits = emit_expr_lanes(e, expr_muli(e->cx, at->offset, at->bits), p->width, &is32);
            if (is32)
                bits = LLVMBuildSExt(e->b, bits, vec(e->i64, p->width), "");
        } else {
            bits = splat(e, emit_expr(e, expr_muli(e->cx, at->fixed, at->bits)), p->width);
        }
        LLVMTypeRef type = LLVMTypeOf(bits);
        *shift = LLVMBuildTrunc(e->b, LLVMBuildAnd(e->b, bits, const_int(type, 7), ""),
                                vec(e->i8, p->width), "");
        Ref bytes = LLVMBuildAShr(e->b, bits, const_int(type, 3), "");
        return LLVMBuildGEP2(e->b, e->i8, at->base, &bytes, 1, "");
    }
    const Expr *moving = at->offset, *fixed = expr_const(e->cx, 0);
    for (uint32_t i = 0; at->offset->kind == EX_sum && i < at->offset->count; i++)
        if (!expr_has_lanes(e, at->offset->args[i]))
            fixed =
                expr_add(e->cx, fixed, expr_muli(e->cx, at->offset->args[i], at->offset->coefs[i]));
    moving = expr_sub(e->cx, at->offset, fixed);
    Ref base = emit_address(e, at->base, 0, fixed, at->size);
    Ref by = emit_expr_lanes(e, expr_muli(e->cx, moving, at->size), p->width, &is32);
    if (is32)
        by = LLVMBuildSExt(e->b, by, vec(e->i64, p->width), "");
    return LLVMBuildGEP2(e->b, e->i8, base, &by, 1, "");
}

static Ref align_arg(Emit *e, const Place *at)
{
    return LLVMConstInt(e->i32, (unsigned long long)at->size, false);
}

static Ref gather(Emit *e, Point *p, const Place *at, LLVMTypeRef type)
{
    Ref shift = NULL, ptrs = lane_addresses(e, p, at, &shift), mask = whole_mask(e, p, at, true),
        raw;
    if (!mask && at->size < 4) { /* no such instruction: plain loads */
        raw = LLVMGetPoison(type);
        for (int i = 0; i < p->width; i++) {
            Ref one =
                LLVMBuildLoad2(e->b, LLVMGetElementType(type), lane_of(e, ptrs, i, p->width), "");
            LLVMSetAlignment(one, (unsigned)at->size);
            raw = LLVMBuildInsertElement(e->b, raw, one,
                                         LLVMConstInt(e->i32, (unsigned long long)i, false), "");
        }
    } else {
        LLVMTypeRef over[2] = {type, LLVMTypeOf(ptrs)};
        Ref args[4] = {ptrs, align_arg(e, at), mask ? mask : all_lanes(e, p->width),
                       LLVMConstNull(type)};
        raw = call_intrinsic(e, "llvm.masked.gather", over, 2, args, 4);
    }
    return shift ? LLVMBuildLShr(e->b, raw, shift, "") : raw;
}

static Ref load_row(Emit *e, Point *p, const Access *access, const Place *at, LLVMTypeRef type)
{
    Ref from = safe_address(e, p, access, at), mask = whole_mask(e, p, at, false);
    if (mask) {
        LLVMTypeRef over[2] = {type, e->ptr};
        Ref args[4] = {from, align_arg(e, at), mask, LLVMConstNull(type)};
        return call_intrinsic(e, "llvm.masked.load", over, 2, args, 4);
    }
    Ref v = LLVMBuildLoad2(e->b, type, from, "");
    LLVMSetAlignment(v, (unsigned)at->size);
    return v;
}

static Ref load_one(Emit *e, Point *p, const Access *access, const Place *at, LLVMTypeRef type)
{
    if (at->bits >= 8) {
        Ref v = LLVMBuildLoad2(e->b, type, safe_address(e, p, access, at), "");
        LLVMSetAlignment(v, (unsigned)at->size);
        return v;
    }
    Point one = *p;
    one.width = 1;
    Ref shift, from = lane_addresses(e, &one, at, &shift);
    if (at->cond)
        from = LLVMBuildSelect(e->b, at->cond, from, emit_zeros(e), "");
    return LLVMBuildLShr(e->b, LLVMBuildLoad2(e->b, type, from, ""), shift, "");
}

/* A load that is the same for all lanes under a mask must not touch memory when no lane is inside.
 */
static void add_any_lane(Emit *e, Place *at)
{
    Ref any = intrinsic1(e, "llvm.vector.reduce.or", at->mask);
    at->cond = at->cond ? LLVMBuildAnd(e->b, at->cond, any, "") : any;
    at->cond_level = e->level;
}

Val emit_load(Emit *e, Point *p, const Access *access)
{
    Dtype dtype = access->buffer ? access->buffer->dtype : access->tile->dtype;
    Place at;
    find_place(e, p, access, true, &at);
    int width = at.lanes ? p->width : 1;
    LLVMTypeRef type = vec(memory_type(e, dtype), width);
    Ref raw, guard = at.mask;
    if (!at.lanes && at.mask)
        add_any_lane(e, &at);
    if (!at.lanes)
        raw = load_one(e, p, access, &at, type);
    else if (at.coef == 1 && at.bits >= 8)
        raw = load_row(e, p, access, &at, type);
    else
        raw = gather(e, p, &at, type);
    Val v = {from_memory(e, dtype, raw, width), at.lanes};
    bool zero = dtype_is_float(dtype) ? access->fill.f == 0 && !(1 / access->fill.f < 0)
                                      : access->fill.i == 0;
    if ((!at.cond && !guard) || (zero && dtype != DT_e8m0 && (at.lanes || !guard)))
        return v;
    if (guard && !v.lanes)
        v = (Val){splat(e, v.v, p->width), true};
    width = v.lanes ? p->width : 1;
    Ref fill = splat(e, emit_const(e, dtype_compute(dtype), access->fill), width);
    Ref inside = guard;
    if (at.cond) {
        Ref all = splat(e, at.cond, width);
        inside = inside ? LLVMBuildAnd(e->b, inside, all, "") : all;
    }
    return (Val){LLVMBuildSelect(e->b, inside, v.v, fill, ""), v.lanes};
}

/* Elements below a byte, one after the other: neighbours share a byte. */
static void store_bits(Emit *e, Point *p, const Place *at, Ref raw, Ref mask)
{
    Ref shift, to = lane_addresses(e, p, at, &shift);
    Ref keep = const_int(vec(e->i8, p->width), (1 << at->bits) - 1);
    keep = LLVMBuildNot(e->b, LLVMBuildShl(e->b, keep, shift, ""), "");
    raw = LLVMBuildShl(e->b, raw, shift, "");
    for (int i = 0; i < p->width; i++) {
        Region r;
        if (mask)
            region_begin(e, &r, lane_of(e, mask, i, p->width));
        Ref ptr = lane_of(e, to, i, p->width);
        Ref old = LLVMBuildAnd(e->b, LLVMBuildLoad2(e->b, e->i8, ptr, ""),
                               lane_of(e, keep, i, p->width), "");
        LLVMBuildStore(e->b, LLVMBuildOr(e->b, old, lane_of(e, raw, i, p->width), ""), ptr);
        if (mask)
            region_end(e, &r);
    }
}

static void store_lanes(Emit *e, Point *p, const Place *at, Ref raw)
{
    Ref mask = whole_mask(e, p, at, false);
    if (at->bits < 8) {
        store_bits(e, p, at, raw, mask);
        return;
    }
    if (p->width == 1 || (at->coef == 1 && !mask)) {
        Ref to = emit_address(e, at->base, 0, at->fixed, at->size);
        LLVMSetAlignment(LLVMBuildStore(e->b, raw, to), (unsigned)at->size);
        return;
    }
    LLVMTypeRef type = LLVMTypeOf(raw);
    if (at->coef == 1) {
        LLVMTypeRef over[2] = {type, e->ptr};
        Ref args[4] = {raw, emit_address(e, at->base, 0, at->fixed, at->size), align_arg(e, at),
                       mask};
        call_intrinsic(e, "llvm.masked.store", over, 2, args, 4);
        return;
    }
    Ref shift, ptrs = lane_addresses(e, p, at, &shift);
    if (!mask) {
        for (int i = 0; i < p->width; i++) {
            Ref st =
                LLVMBuildStore(e->b, lane_of(e, raw, i, p->width), lane_of(e, ptrs, i, p->width));
            LLVMSetAlignment(st, (unsigned)at->size);
        }
        return;
    }
    LLVMTypeRef over[2] = {type, LLVMTypeOf(ptrs)};
    Ref args[4] = {raw, ptrs, align_arg(e, at), mask};
    call_intrinsic(e, "llvm.masked.scatter", over, 2, args, 4);
}

void emit_store(Emit *e, Point *p, const Access *access, Val value)
{
    Dtype dtype = access->buffer ? access->buffer->dtype : access->tile->dtype;
    Place at;
    Region r;
    find_place(e, p, access, false, &at);
    if (p->width > 1 && !at.lanes)
        emit_fail(e, ST_internal, "kernel %s: all points of a row store to one place",
                  e->prog->name);
    Ref raw = to_memory(e, dtype, point_vector(e, p, value), p->width);
    if (at.cond)
        region_begin(e, &r, at.cond);
    store_lanes(e, p, &at, raw);
    if (at.cond)
        region_end(e, &r);
}
