/* Evaluates the values of an operation at the current point for one thread: what the thread would
 * compute, with the registers it holds and the memory it may touch. Poison (a register never
 * written) spreads through operations and is an error only where it reaches memory of the caller or
 * an index. */
#include "ir/sim.h"

static bool eval_tile(Sim *sim, SimAccess *access, int thread, SimVal *out)
{
    int elem = sim_reg_elem(sim, access);
    if (elem < 0)
        return sim_fail(sim, thread, "register tile '%s' is read out of bounds",
                        access->tile->tile->name);
    const SimVal *entry = sim_reg_entry(access->tile, elem, thread);
    if (!entry)
        return sim_fail(sim, thread, "reads element %d of tile '%s', which it does not hold", elem,
                        access->tile->tile->name);
    *out = *entry;
    return true;
}

static bool eval_bind(Sim *sim, const SimValue *v, SimVal arg, int thread, SimVal *out)
{
    if (arg.poison)
        return sim_fail(sim, thread, "value %%%u: an index from registers never written",
                        v->value->id);
    int64_t lo = sim_eval(sim, &v->lo), hi = sim_eval(sim, &v->hi), i = arg.s.i;
    if (v->value->wraps && i < 0)
        i += hi + 1;
    if (i < lo || i > hi) {
        if (!sim->run->bad_index)
            sim->run->bad_index = 1 + tile_bind_number(sim->prog, v->value->sym);
        i = i < lo ? lo : hi;
    }
    sim->slots[v->sym] = i;
    *out = (SimVal){.s = {.i = i}};
    return true;
}

static void eval_scalar(const Value *value, const SimVal *out, SimVal *result)
{
    Scalar args[3] = {{0}};
    bool poison = false;
    int arity = scalar_arity(value->scalar);
    for (int a = 0; a < arity; a++) {
        args[a] = out[value->args[a]->id].s;
        poison = poison || out[value->args[a]->id].poison;
    }
    const Value *typed = value->args[0];
    if (value->scalar == S_select) {
        const SimVal *cond = &out[value->args[0]->id];
        typed = value->args[1];
        poison = cond->poison || out[value->args[cond->s.i ? 1 : 2]->id].poison;
    }
    *result = (SimVal){.poison = poison};
    if (!poison)
        result->s = scalar_eval(value->scalar, dtype_compute(typed->dtype), args);
}

static bool eval_one(Sim *sim, SimOp *op, SimValue *v, int thread, int seq)
{
    const Value *value = v->value;
    SimVal *out = &op->out[value->id];
    const SimVal *arg = value->args[0] ? &op->out[value->args[0]->id] : NULL;
    switch (value->op) {
    case V_const: *out = (SimVal){.s = value->constant}; return true;
    case V_index:
        *out = (SimVal){
            .s = dtype_convert(value->dtype, DT_i64, (Scalar){.i = sim_eval(sim, &v->index)})};
        return !cx_failed(sim->cx);
    case V_load: return sim_load(sim, &v->access, thread, seq, out);
    case V_tile: return eval_tile(sim, &v->access, thread, out);
    case V_scalar: eval_scalar(value, op->out, out); return true;
    case V_cast:
        *out = *arg;
        if (!arg->poison)
            out->s = dtype_convert(value->dtype, value->args[0]->dtype, arg->s);
        return true;
    case V_bind: return eval_bind(sim, v, *arg, thread, out);
    case V_reduce: return false; /* refused by sim_build */
    }
    return false;
}

bool sim_values(Sim *sim, SimOp *op, unsigned needed, int thread, int seq)
{
    for (uint32_t i = 0; i < op->value_count; i++)
        if ((op->values[i].needed & needed) && !eval_one(sim, op, &op->values[i], thread, seq))
            return false;
    return true;
}
