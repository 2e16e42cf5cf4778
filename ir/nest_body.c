/* The bodies of the nest interpreter (nest_run.c says what they are), made from a nest. */
#include "ir/nest_body.h"

/* ---- expressions */

static int slot_of(const Nest *nest, const Expr *sym)
{
    SymUse use = nest_sym(nest, sym);
    switch (use.kind) {
    case SYM_axis: return nest_axis_slot(nest, use.axis);
    case SYM_bind: return (int)nest->dim_count + MAX_AXES + (int)use.bind->id;
    case SYM_dim:
        for (uint32_t i = 0; i < nest->dim_count; i++)
            if (nest->dims[i] == sym)
                return (int)i;
        break;
    case SYM_unknown: break;
    }
    return -1;
}

static int slot_for_code(void *user, const Expr *sym)
{
    const Nest *const *nest = user;
    return slot_of(*nest, sym);
}

NestIndex nest_body_index(Cx *cx, const Nest *nest, const Expr *e)
{
    Arena *arena = cx->arena;
    NestIndex index = {.linear = true};
    bool sum = e->kind == EX_sum;
    if (e->kind == EX_const || sum)
        index.constant = e->value;
    index.count = sum ? (int)e->count : e->kind == EX_sym ? 1 : 0;
    int *slots = NEW_ARRAY(arena, int, index.count + 1);
    int64_t *coefs = NEW_ARRAY(arena, int64_t, index.count + 1);
    index.linear = sum || e->kind == EX_sym || e->kind == EX_const;
    for (int i = 0; i < index.count && index.linear; i++) {
        const Expr *sym = sum ? e->args[i] : e;
        coefs[i] = sum ? e->coefs[i] : 1;
        index.linear = sym->kind == EX_sym;
        slots[i] = index.linear ? slot_of(nest, sym) : -1;
        if (index.linear && slots[i] < 0)
            cx_fail(cx, ST_internal, "unknown symbol '%s'", sym->name);
    }
    index.slots = slots;
    index.coefs = coefs;
    if (!index.linear)
        index.code = expr_compile(cx, e, slot_for_code, &nest);
    return index;
}

/* ---- bodies */

NestPlace nest_body_place(Cx *cx, const Nest *nest, const Access *access)
{
    NestIndex *index = NEW_ARRAY(cx->arena, NestIndex, access->rank + 1);
    NestIndex *guards = NEW_ARRAY(cx->arena, NestIndex, access->guard_count * 3 + 1);
    for (int i = 0; i < access->rank; i++)
        index[i] = nest_body_index(cx, nest, access->index[i]);
    for (int i = 0; i < access->guard_count; i++) {
        guards[3 * i] = nest_body_index(cx, nest, access->guards[i].lo);
        guards[3 * i + 1] = nest_body_index(cx, nest, access->guards[i].e);
        guards[3 * i + 2] = nest_body_index(cx, nest, access->guards[i].hi);
    }
    return (NestPlace){access, index, guards};
}

typedef struct Collect {
    Cx *cx;
    const Nest *nest;
    uint8_t *needed;       /* by value id */
    const uint32_t *local; /* second use: id -> result in the body */
    NestInstr *instr;      /* second use */
} Collect;

static void visit_needed(void *user, const Expr *sym)
{
    Collect *c = user;
    SymUse use = nest_sym(c->nest, sym);
    if (use.kind == SYM_bind)
        c->needed[use.bind->id] = 1;
}

static void visit_publish(void *user, const Expr *sym)
{
    Collect *c = user;
    SymUse use = nest_sym(c->nest, sym);
    if (use.kind != SYM_bind)
        return;
    NestPublish publish = {c->local[use.bind->id], slot_of(c->nest, sym)};
    VEC_PUSH(c->cx->arena, c->instr->publish, c->instr->publish_count, c->instr->publish_cap,
             publish);
}

static void visit_value(const Value *v, void (*visit)(void *user, const Expr *sym), Collect *c)
{
    Cx *cx = c->cx;
    if (v->op == V_index)
        expr_symbols(cx, v->index, visit, c);
    for (int i = 0; v->access && i < v->access->rank; i++)
        expr_symbols(cx, v->access->index[i], visit, c);
    for (int i = 0; v->access && i < v->access->guard_count; i++) {
        expr_symbols(cx, v->access->guards[i].lo, visit, c);
        expr_symbols(cx, v->access->guards[i].e, visit, c);
        expr_symbols(cx, v->access->guards[i].hi, visit, c);
    }
}

static void make_instr(Cx *cx, const Nest *nest, NestInstr *instr, const Value *v,
                       const uint32_t *local)
{
    instr->value = v;
    for (int i = 0; i < 3 && v->args[i] && v->op != V_reduce; i++)
        instr->args[i] = local[v->args[i]->id];
    if (v->op == V_load)
        instr->place = nest_body_place(cx, nest, v->access);
    if (v->op == V_index)
        instr->index = nest_body_index(cx, nest, v->index);
    if (v->op == V_bind) {
        instr->lo = nest_body_index(cx, nest, v->lo);
        instr->hi = nest_body_index(cx, nest, v->hi);
    }
    Collect c = {.cx = cx, .nest = nest, .local = local, .instr = instr};
    visit_value(v, visit_publish, &c);
}

void nest_body_make(Cx *cx, const Nest *nest, NestBody *body, const Value *root, uint64_t axes)
{
    Arena *arena = cx->arena;
    Collect c = {.cx = cx, .nest = nest, .needed = NEW_ARRAY(arena, uint8_t, nest->value_count)};
    uint32_t *local = NEW_ARRAY(arena, uint32_t, nest->value_count);
    for (int i = 0; i < nest->axis_count; i++)
        if (axes >> i & 1)
            body->axes[body->axis_count++] = i;
    c.needed[root->id] = 1;
    for (uint32_t i = root->id + 1; i-- > 0;) {
        const Value *v = nest->values[i];
        if (!c.needed[i] || v->op == V_reduce)
            continue;
        for (int k = 0; k < 3 && v->args[k]; k++)
            c.needed[v->args[k]->id] = 1;
        visit_value(v, visit_needed, &c);
    }
    const Value **order = NEW_ARRAY(arena, const Value *, nest->value_count);
    for (int pass = 0; pass < 4; pass++) { /* invariant: reductions, others; varying: the same */
        if (pass == 2)
            body->varying = body->count;
        for (uint32_t i = 0; i <= root->id; i++) {
            const Value *v = nest->values[i];
            bool varies = (v->axes & axes) != 0, reduce = v->op == V_reduce;
            if (c.needed[i] && varies == (pass >= 2) && reduce == (pass % 2 == 0)) {
                local[i] = body->count;
                order[body->count++] = v;
            }
        }
    }
    body->instrs = NEW_ARRAY(arena, NestInstr, body->count);
    body->results = NEW_ARRAY(arena, Scalar, body->count);
    body->root = local[root->id];
    for (uint32_t i = 0; i < body->count; i++)
        make_instr(cx, nest, &body->instrs[i], order[i], local);
}
