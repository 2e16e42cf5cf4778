/* Values of an operation at a point. What is the same for all lanes stays a scalar until a vector
 * needs it. */
#include "codegen/llvm_emit.h"
#include "ir/value_build.h"

Ref point_vector(Emit *e, Point *p, Val v)
{
    return v.lanes ? v.v : splat(e, v.v, p->width);
}

static Val emit_index(Emit *e, Point *p, const Value *v)
{
    const Expr *x = point_subst(e, p, v->index);
    bool is32 = false, lanes = p->lane && expr_has_lanes(e, x);
    Ref r = lanes ? emit_expr_lanes(e, x, p->width, &is32) : emit_expr(e, x);
    return (Val){emit_cast(e, v->dtype, is32 ? DT_i32 : DT_i64, r, lanes ? p->width : 1), lanes};
}

static Val emit_operation(Emit *e, Point *p, const Value *v)
{
    Val in[3] = {{0}};
    Ref args[3] = {NULL, NULL, NULL};
    int arity = scalar_arity(v->scalar);
    bool lanes = false;
    for (int i = 0; i < arity; i++) {
        in[i] = point_value(e, p, v->args[i]);
        lanes |= in[i].lanes;
    }
    for (int i = 0; i < arity; i++)
        args[i] = lanes ? point_vector(e, p, in[i]) : in[i].v;
    Dtype dtype = dtype_compute(v->args[v->scalar == S_select ? 1 : 0]->dtype);
    return (Val){emit_scalar(e, v->scalar, dtype, args, lanes ? p->width : 1), lanes};
}

/* Sets the run's error cell where `bad` holds. */
static void report_bad(Emit *e, Point *p, const Value *v, Ref bad, bool lanes)
{
    if (lanes) {
        if (p->mask)
            bad = LLVMBuildAnd(e->b, bad, p->mask, "");
        bad = intrinsic1(e, "llvm.vector.reduce.or", bad);
    } else if (p->mask) {
        bad = LLVMBuildAnd(e->b, bad, intrinsic1(e, "llvm.vector.reduce.or", p->mask), "");
    }
    Region r;
    region_begin(e, &r, bad);
    Ref at = LLVMConstInt(e->i64, offsetof(KernelArgs, error), false);
    Ref cell = LLVMBuildLoad2(e->b, e->ptr, LLVMBuildGEP2(e->b, e->i8, e->args, &at, 1, ""), "");
    LLVMBuildStore(
        e->b,
        LLVMConstInt(e->i32, 1 + (unsigned long long)tile_bind_number(e->prog, v->sym), false),
        cell);
    region_end(e, &r);
}

static Val emit_bind(Emit *e, Point *p, const Value *v)
{
    Val in = point_value(e, p, v->args[0]);
    int width = in.lanes ? p->width : 1;
    Ref x = emit_cast(e, DT_i64, v->args[0]->dtype, in.v, width);
    Ref lo = splat(e, emit_expr(e, point_subst(e, p, v->lo)), width);
    Ref hi = splat(e, emit_expr(e, point_subst(e, p, v->hi)), width);
    LLVMTypeRef type = LLVMTypeOf(x);
    if (v->wraps) {
        Ref up = LLVMBuildAdd(e->b, LLVMBuildAdd(e->b, x, hi, ""), const_int(type, 1), "");
        x = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, x, LLVMConstNull(type), ""), up,
                            x, "");
    }
    Ref under = LLVMBuildICmp(e->b, LLVMIntSLT, x, lo, ""),
        over = LLVMBuildICmp(e->b, LLVMIntSGT, x, hi, "");
    Ref bad = LLVMBuildOr(e->b, under, over, "");
    x = LLVMBuildSelect(e->b, under, lo, LLVMBuildSelect(e->b, over, hi, x, ""), "");
    report_bad(e, p, v, bad, in.lanes);
    sym_define(e, v->sym, x, in.lanes);
    return (Val){emit_cast(e, v->dtype, DT_i64, x, width), in.lanes};
}

/* Loads and index values may use symbols that V_bind values of the same operation define. */
static void emit_binds(Emit *e, Point *p, const Value *user)
{
    for (uint32_t i = 0; i < p->op->value_count; i++) {
        const Value *v = p->op->values[i];
        if (v->op == V_bind && !p->vals[v->id].v && value_uses_sym(user, v->sym))
            point_value(e, p, v);
    }
}

static Val compute(Emit *e, Point *p, const Value *v)
{
    switch (v->op) {
    case V_const: return (Val){emit_const(e, v->dtype, v->constant), false};
    case V_index: emit_binds(e, p, v); return emit_index(e, p, v);
    case V_load: emit_binds(e, p, v); return emit_load(e, p, v->access);
    case V_tile: return tile_get(e, p, v->access);
    case V_scalar: return emit_operation(e, p, v);
    case V_cast: {
        Val in = point_value(e, p, v->args[0]);
        return (Val){emit_cast(e, v->dtype, v->args[0]->dtype, in.v, in.lanes ? p->width : 1),
                     in.lanes};
    }
    case V_bind: return emit_bind(e, p, v);
    case V_reduce: break;
    }
    BUG("kernel %s: value %u cannot stand in a tile program", e->prog->name, v->id);
}

Val point_value(Emit *e, Point *p, const Value *v)
{
    if (!p->vals[v->id].v)
        p->vals[v->id] = compute(e, p, v);
    return p->vals[v->id];
}
