/* Integer expressions and addresses in LLVM IR.
 *
 * Scalars are i64 and are computed at the outermost level that knows all their symbols. Sums are
 * split by level, so that an inner loop only adds what changes in it; addresses likewise: base +
 * outer terms, kept in a register outside, + inner terms + a constant that ends in the addressing
 * mode. Vectors (one value per lane) are i32 when bounds allow. */
#include "codegen/llvm_emit.h"

enum { TAG_expr = 1, TAG_address, TAG_guard, TAG_and, TAG_base, TAG_lanes };

int expr_level(Emit *e, const Expr *x)
{
    if (x->kind == EX_const)
        return 0;
    if (x->kind == EX_sym) {
        const SymDef *def = sym_find(e, x);
        if (!def)
            BUG("kernel %s: symbol %s is not defined here", e->prog->name, x->name);
        return def->level;
    }
    int level = 0;
    for (uint32_t i = 0; i < x->count; i++) {
        int l = expr_level(e, x->args[i]);
        level = l > level ? l : level;
    }
    return level;
}

static bool is_lane_sym(Emit *e, const Expr *x)
{
    for (int i = 0; i < 5; i++)
        if (x == e->lane_syms[i])
            return true;
    const SymDef *def = sym_find(e, x);
    return def && def->lanes;
}

bool expr_has_lanes(Emit *e, const Expr *x)
{
    if (x->kind == EX_sym)
        return is_lane_sym(e, x);
    for (uint32_t i = 0; i < x->count; i++)
        if (expr_has_lanes(e, x->args[i]))
            return true;
    return false;
}

/* outer: constant and the terms of levels <= level; inner: the rest. */
void expr_split(Emit *e, const Expr *x, int level, const Expr **outer, const Expr **inner)
{
    *outer = *inner = expr_const(e->cx, 0);
    if (x->kind != EX_sum) {
        *(expr_level(e, x) <= level ? outer : inner) = x;
        return;
    }
    *outer = expr_const(e->cx, x->value);
    for (uint32_t i = 0; i < x->count; i++) {
        const Expr *term = expr_muli(e->cx, x->args[i], x->coefs[i]);
        const Expr **to = expr_level(e, x->args[i]) <= level ? outer : inner;
        *to = expr_add(e->cx, *to, term);
    }
}

/* Division on i64, i32 or vectors of them; signs as known from bounds. */
static Ref build_div(Emit *e, const Expr *x, Ref a, Ref b, bool mod)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    const Expr *den = x->args[1];
    bool pow2 = den->kind == EX_const && den->value > 0 && (den->value & (den->value - 1)) == 0;
    if (pow2 && mod)
        return LLVMBuildAnd(e->b, a, const_int(type, den->value - 1), "");
    if (pow2)
        return LLVMBuildAShr(e->b, a, const_int(type, __builtin_ctzll((uint64_t)den->value)), "");
    if (x->args[0]->lo >= 0 && den->lo > 0)
        return mod ? LLVMBuildURem(e->b, a, b, "") : LLVMBuildUDiv(e->b, a, b, "");
    Ref q = LLVMBuildSDiv(e->b, a, b, "");
    Ref r = LLVMBuildSub(e->b, a, LLVMBuildMul(e->b, q, b, ""), "");
    Ref zero = LLVMConstNull(type);
    Ref signs = LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, r, b, ""), zero, "");
    Ref off = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntNE, r, zero, ""), signs, "");
    Ref fixed = mod ? LLVMBuildAdd(e->b, r, b, "") : LLVMBuildSub(e->b, q, const_int(type, 1), "");
    return LLVMBuildSelect(e->b, off, fixed, mod ? r : q, "");
}

static Ref build_node(Emit *e, const Expr *x, Ref a, Ref b)
{
    switch (x->kind) {
    case EX_mul: return LLVMBuildMul(e->b, a, b, "");
    case EX_floordiv: return build_div(e, x, a, b, false);
    case EX_mod: return build_div(e, x, a, b, true);
    case EX_min: return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, a, b, ""), a, b, "");
    case EX_max: return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, a, b, ""), a, b, "");
    case EX_const:
    case EX_sym:
    case EX_sum:
    case EX_poison: break;
    }
    BUG("kernel %s: expression of kind %d", e->prog->name, (int)x->kind);
}

static Ref build_term(Emit *e, Ref a, int64_t coef)
{
    LLVMTypeRef type = LLVMTypeOf(a);
    if (coef == 1)
        return a;
    if (coef > 0 && (coef & (coef - 1)) == 0)
        return LLVMBuildShl(e->b, a, const_int(type, __builtin_ctzll((uint64_t)coef)), "");
    return LLVMBuildMul(e->b, a, const_int(type, coef), "");
}

static Ref emit_sum(Emit *e, const Expr *x, int level)
{
    if (x->value) { /* sums that differ in their constant share the rest */
        Ref rest = emit_expr(e, expr_addi(e->cx, x, -x->value));
        level_at(e, level);
        return LLVMBuildAdd(e->b, rest, const_int(e->i64, x->value), "");
    }
    const Expr *outer, *inner;
    expr_split(e, x, level - 1, &outer, &inner);
    if (level > 0 && outer->kind == EX_sum && inner->kind != EX_const) {
        Ref a = emit_expr(e, outer), b = emit_expr(e, inner);
        level_at(e, level);
        return LLVMBuildAdd(e->b, a, b, "");
    }
    Ref sum = NULL;
    for (uint32_t i = 0; i < x->count; i++) {
        Ref a = emit_expr(e, x->args[i]);
        level_at(e, level);
        Ref term = build_term(e, a, x->coefs[i]);
        sum = sum ? LLVMBuildAdd(e->b, sum, term, "") : term;
    }
    return sum;
}

Ref emit_expr(Emit *e, const Expr *x)
{
    if (x->kind == EX_const)
        return const_int(e->i64, x->value);
    if (x->kind == EX_poison)
        emit_fail(e, ST_limit, "kernel %s: an address overflows", e->prog->name);
    if (x->kind == EX_sym) {
        const SymDef *def = sym_find(e, x);
        if (!def || def->lanes)
            BUG("kernel %s: symbol %s is not a scalar here", e->prog->name, x->name);
        return def->value;
    }
    int level = expr_level(e, x);
    Ref found = memo_find(e, level, TAG_expr, x, NULL, NULL, NULL);
    if (found)
        return found;
    if (x->kind == EX_sum) {
        found = emit_sum(e, x, level);
    } else {
        Ref a = emit_expr(e, x->args[0]), b = emit_expr(e, x->args[1]);
        level_at(e, level);
        found = build_node(e, x, a, b);
    }
    memo_add(e, level, TAG_expr, x, NULL, NULL, NULL, found);
    level_at(e, e->level);
    return found;
}

static bool fits32(const Expr *x)
{
    if (x->lo < INT32_MIN || x->hi > INT32_MAX)
        return false;
    for (uint32_t i = 0; i < x->count; i++)
        if (!fits32(x->args[i]))
            return false;
    return true;
}

static Ref vector_expr(Emit *e, const Expr *x, int width, LLVMTypeRef type)
{
    if (!expr_has_lanes(e, x)) {
        Ref scalar = emit_expr(e, x);
        return splat(e, type == e->i64 ? scalar : LLVMBuildTrunc(e->b, scalar, type, ""), width);
    }
    if (x->kind == EX_sym) {
        const SymDef *def = sym_find(e, x);
        if (!def)
            return const_iota(e, type, width);
        return type == e->i64 ? def->value : LLVMBuildTrunc(e->b, def->value, vec(type, width), "");
    }
    if (x->kind == EX_sum) {
        const Expr *rest = expr_const(e->cx, x->value);
        Ref sum = NULL;
        for (uint32_t i = 0; i < x->count; i++) {
            if (!expr_has_lanes(e, x->args[i])) {
                rest = expr_add(e->cx, rest, expr_muli(e->cx, x->args[i], x->coefs[i]));
                continue;
            }
            Ref term = build_term(e, vector_expr(e, x->args[i], width, type), x->coefs[i]);
            sum = sum ? LLVMBuildAdd(e->b, sum, term, "") : term;
        }
        return expr_is_const(rest, 0)
                   ? sum
                   : LLVMBuildAdd(e->b, sum, vector_expr(e, rest, width, type), "");
    }
    Ref a = vector_expr(e, x->args[0], width, type), b = vector_expr(e, x->args[1], width, type);
    return build_node(e, x, a, b);
}

Ref emit_expr_lanes(Emit *e, const Expr *x, int width, bool *is32)
{
    *is32 = fits32(x);
    level_at(e, e->level);
    return vector_expr(e, x, width, *is32 ? e->i32 : e->i64);
}

const Expr *point_subst(Emit *e, const Point *p, const Expr *x)
{
    const Expr *y = p->count ? expr_subst(e->cx, x, p->syms, p->with, (size_t)p->count) : x;
    if (expr_is_poison(y)) {
        emit_fail(e, ST_limit, "kernel %s: an index overflows", e->prog->name);
    }
    return y;
}

void guard_subst(Emit *e, const Point *p, const Guard *from, Guard *to)
{
    *to = (Guard){point_subst(e, p, from->e), point_subst(e, p, from->lo),
                  point_subst(e, p, from->hi)};
}

static Ref scalar_guard(Emit *e, const Guard *g, bool low, bool high, int *level)
{
    int l = expr_level(e, g->e), m = expr_level(e, g->lo), n = expr_level(e, g->hi);
    l = m > l ? m : l;
    l = n > l ? n : l;
    *level = l;
    Ref found = memo_find(e, l, TAG_guard, g->e, g->lo, g->hi, NULL);
    if (found)
        return found;
    if (high && !low && g->hi->kind == EX_const && g->e->kind == EX_sum && g->e->value) {
        /* x + c < h, for one x and many c: x < h - c */
        Guard bare = {expr_addi(e->cx, g->e, -g->e->value), g->lo,
                      expr_addi(e->cx, g->hi, -g->e->value)};
        return scalar_guard(e, &bare, low, high, level);
    }
    Ref x = emit_expr(e, g->e), lo = low ? emit_expr(e, g->lo) : NULL,
        hi = high ? emit_expr(e, g->hi) : NULL;
    level_at(e, l);
    if (low && high && expr_is_const(g->lo, 0) && g->hi->lo >= 0) {
        found = LLVMBuildICmp(e->b, LLVMIntULT, x, hi, "");
    } else {
        Ref a = low ? LLVMBuildICmp(e->b, LLVMIntSGE, x, lo, "") : NULL;
        Ref b = high ? LLVMBuildICmp(e->b, LLVMIntSLT, x, hi, "") : NULL;
        found = a && b ? LLVMBuildAnd(e->b, a, b, "") : a ? a : b;
    }
    memo_add(e, l, TAG_guard, g->e, g->lo, g->hi, NULL, found);
    level_at(e, e->level);
    return found;
}

static Ref lane_guard(Emit *e, const Guard *g, bool low, bool high, int width)
{
    Ref both = NULL;
    bool is32;
    if (low) {
        Ref d = emit_expr_lanes(e, expr_sub(e->cx, g->e, g->lo), width, &is32);
        both = LLVMBuildICmp(e->b, LLVMIntSGE, d, LLVMConstNull(LLVMTypeOf(d)), "");
    }
    if (high) {
        Ref d = emit_expr_lanes(e, expr_sub(e->cx, g->e, g->hi), width, &is32);
        Ref under = LLVMBuildICmp(e->b, LLVMIntSLT, d, LLVMConstNull(LLVMTypeOf(d)), "");
        both = both ? LLVMBuildAnd(e->b, both, under, "") : under;
    }
    return both;
}

/* The conjunction of guards, already substituted: as one i1 that is the same for all lanes (result,
 * at *level; NULL = true) and one vector (*lanes; NULL = true). What bounds prove costs nothing. */
Ref emit_guards(Emit *e, const Guard *guards, int count, const Expr *lane, int width, Ref *lanes,
                int *level)
{
    Ref all = NULL;
    *lanes = NULL;
    *level = 0;
    for (int i = 0; i < count; i++) {
        const Guard *g = &guards[i];
        bool low = !expr_always_le(e->cx, g->lo, g->e), high = !expr_always_lt(e->cx, g->e, g->hi);
        if (!low && !high)
            continue;
        if (lane &&
            (expr_has_lanes(e, g->e) || expr_has_lanes(e, g->lo) || expr_has_lanes(e, g->hi))) {
            Ref m = lane_guard(e, g, low, high, width);
            *lanes = *lanes ? LLVMBuildAnd(e->b, *lanes, m, "") : m;
            continue;
        }
        int l;
        Ref c = scalar_guard(e, g, low, high, &l);
        *level = l > *level ? l : *level;
        if (all) {
            Ref found = memo_find(e, *level, TAG_and, all, c, NULL, NULL);
            if (!found) {
                level_at(e, *level);
                found = LLVMBuildAnd(e->b, all, c, "");
                memo_add(e, *level, TAG_and, all, c, NULL, NULL, found);
                level_at(e, e->level);
            }
            c = found;
        }
        all = c;
    }
    return all;
}

Ref load_field(Emit *e, LLVMTypeRef type, Ref base, int64_t offset)
{
    Ref at = const_int(e->i64, offset);
    Ref p = LLVMBuildGEP2(e->b, e->i8, base, &at, 1, "");
    return LLVMBuildLoad2(e->b, type, p, "");
}

Ref emit_zeros(Emit *e)
{
    Ref found = memo_find(e, 0, TAG_base, e, NULL, NULL, NULL);
    if (!found) {
        level_at(e, 0);
        found = load_field(e, e->ptr, e->args, offsetof(KernelArgs, zeros));
        memo_add(e, 0, TAG_base, e, NULL, NULL, NULL, found);
        level_at(e, e->level);
    }
    return found;
}

Ref emit_base(Emit *e, const Access *access)
{
    const void *key = access->buffer ? (const void *)access->buffer : access->tile;
    Ref found = memo_find(e, 0, TAG_base, key, NULL, NULL, NULL);
    if (found)
        return found;
    level_at(e, 0);
    if (access->buffer) {
        Ref list = load_field(e, e->ptr, e->args, offsetof(KernelArgs, buffers));
        found = load_field(e, e->ptr, list, (int64_t)sizeof(void *) * access->buffer->index);
    } else {
        Ref at = const_int(e->i64, tile_find(e, access->tile)->offset);
        found = LLVMBuildGEP2(e->b, e->i8, e->scratch, &at, 1, "");
    }
    memo_add(e, 0, TAG_base, key, NULL, NULL, NULL, found);
    level_at(e, e->level);
    return found;
}

const Expr *access_offset(Emit *e, const Point *p, const Access *access)
{
    Cx *cx = e->cx;
    const Expr *sum = access->buffer ? access->buffer->offset : expr_const(cx, 0);
    if (!sum)
        sum = expr_const(cx, 0);
    const Expr *stride = expr_const(cx, 1);
    for (int d = access->rank; d-- > 0;) {
        if (access->buffer)
            stride = access->buffer->strides[d];
        sum = expr_add(cx, sum, expr_mul(cx, access->index[d], stride));
        if (access->tile) {
            bool last = d == access->rank - 1;
            stride = expr_muli(cx, stride, access->tile->shape[d] + (last ? access->tile->pad : 0));
        }
    }
    if (access->tile && p->op->slot && access->tile->slots > 1)
        sum = expr_add(cx, sum, expr_mul(cx, p->op->slot, stride));
    return point_subst(e, p, sum);
}

/* base + offset * size, the parts of the offset added at their levels. */
Ref emit_address(Emit *e, Ref base, int base_level, const Expr *offset, int64_t size)
{
    int64_t constant = offset->kind == EX_const || offset->kind == EX_sum ? offset->value : 0;
    if (constant) {
        Ref p = emit_address(e, base, base_level, expr_addi(e->cx, offset, -constant), size);
        Ref at = const_int(e->i64, constant * size);
        return LLVMBuildGEP2(e->b, e->i8, p, &at, 1, "");
    }
    if (offset->kind == EX_const)
        return base;
    int level = expr_level(e, offset);
    level = level < base_level ? base_level : level;
    const void *bytes = (const void *)(intptr_t)size;
    Ref found = memo_find(e, level, TAG_address, base, offset, bytes, NULL);
    if (found)
        return found;
    const Expr *outer, *inner;
    expr_split(e, offset, level - 1, &outer, &inner);
    if (expr_is_const(inner, 0)) {
        inner = outer;
        outer = expr_const(e->cx, 0);
    }
    Ref p = emit_address(e, base, base_level, outer, size);
    Ref at = emit_expr(e, expr_muli(e->cx, inner, size));
    level_at(e, level);
    found = LLVMBuildGEP2(e->b, e->i8, p, &at, 1, "");
    memo_add(e, level, TAG_address, base, offset, bytes, NULL, found);
    level_at(e, e->level);
    return found;
}
