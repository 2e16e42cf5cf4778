/* Compiles a placed program for the simulator: every expression to an evaluation over slots (an
 * array of int64 indexed by symbol), every access to the buffer or tile it names. What cannot run
 * is refused here, once, rather than at every point. */
#include "ir/sim.h"
#include "ir/value_build.h"

uint32_t sim_add_sym(Sim *sim, const Expr *sym)
{
    VEC_PUSH(sim->arena, sim->syms, sim->sym_count, sim->sym_cap, sym);
    if (sim->sym_count > sim->value_cap)
        sim->slots =
            arena_grow(sim->arena, sim->slots, &sim->value_cap, sizeof *sim->slots, sim->sym_count);
    return sim->sym_count - 1;
}

static int slot_of(void *user, const Expr *sym)
{
    Sim *sim = user;
    for (uint32_t i = sim->sym_count; i-- > 0;)
        if (sim->syms[i] == sym)
            return (int)i;
    return -1;
}

static bool all_symbols(const Expr *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (e->args[i]->kind != EX_sym)
            return false;
    return true;
}

static bool linear_code(Sim *sim, const Expr *e, SimCode *code)
{
    uint32_t count = e->kind == EX_sym ? 1 : e->count;
    int64_t *coefs = NEW_ARRAY(sim->arena, int64_t, count);
    uint32_t *slots = NEW_ARRAY(sim->arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++) {
        int slot = slot_of(sim, e->kind == EX_sym ? e : e->args[i]);
        if (slot < 0)
            return false;
        coefs[i] = e->kind == EX_sym ? 1 : e->coefs[i];
        slots[i] = (uint32_t)slot;
    }
    *code = (SimCode){.kind = SC_linear,
                      .value = e->kind == EX_sym ? 0 : e->value,
                      .count = count,
                      .coefs = coefs,
                      .slots = slots};
    return true;
}

SimCode sim_code(Sim *sim, const Expr *e)
{
    SimCode code = {.kind = SC_fixed};
    if (e->kind == EX_const)
        code.value = e->value;
    else if ((e->kind != EX_sym && (e->kind != EX_sum || !all_symbols(e))) ||
             !linear_code(sim, e, &code))
        code = (SimCode){.kind = SC_code, .code = expr_compile(sim->cx, e, slot_of, sim)};
    return code;
}

int64_t sim_eval(Sim *sim, const SimCode *code)
{
    int64_t value = code->value;
    switch (code->kind) {
    case SC_fixed: break;
    case SC_linear: {
        uint64_t sum = (uint64_t)value;
        for (uint32_t i = 0; i < code->count; i++)
            sum += (uint64_t)code->coefs[i] * (uint64_t)sim->slots[code->slots[i]];
        value = (int64_t)sum;
        break;
    }
    case SC_code:
        if (!expr_code_run(code->code, sim->slots, &value)) {
            sim_fail(sim, -1, "an index expression overflows or divides by zero");
            value = 0;
        }
        break;
    }
    return value;
}

static SimTile *find_tile(Sim *sim, const Tile *tile)
{
    for (uint32_t i = 0; i < sim->tile_count; i++)
        if (sim->tiles[i].tile == tile)
            return &sim->tiles[i];
    sim_fail(sim, -1, "tile '%s' is not of this grid", tile->name);
    return NULL;
}

static SimGuard *build_guards(Sim *sim, const Guard *guards, int count)
{
    SimGuard *out = NEW_ARRAY(sim->arena, SimGuard, count);
    for (int i = 0; i < count; i++)
        out[i] = (SimGuard){sim_code(sim, guards[i].e), sim_code(sim, guards[i].lo),
                            sim_code(sim, guards[i].hi)};
    return out;
}

static void build_access(Sim *sim, const Access *access, SimAccess *out)
{
    *out = (SimAccess){.access = access, .rank = access->rank, .guard_count = access->guard_count};
    if (access->tile)
        out->tile = find_tile(sim, access->tile);
    else
        for (uint32_t b = 0; b < sim->prog->buffer_count; b++)
            if (sim->prog->buffers[b] == access->buffer)
                out->buffer = &sim->buffers[b];
    int rank = access->tile ? access->tile->rank : access->buffer->rank;
    if (!out->tile && !out->buffer) {
        sim_fail(sim, -1, "'%s' is no buffer of the program", access->buffer->name);
        return;
    }
    if (rank != access->rank) {
        sim_fail(sim, -1, "access of rank %d to rank %d", access->rank, rank);
        return;
    }
    out->index = NEW_ARRAY(sim->arena, SimCode, rank);
    for (int d = 0; d < rank; d++)
        out->index[d] = sim_code(sim, access->index[d]);
    out->guards = build_guards(sim, access->guards, access->guard_count);
    if (!access->tile || access->tile->scope == TS_shared) {
        out->site = NEW(sim->arena, SimSite);
        out->site->shared = access->tile != NULL;
        Dtype dtype = access->tile ? access->tile->dtype : access->buffer->dtype;
        out->site->elem_bytes = (dtype_bits(dtype) + 7) / 8;
    }
}

static bool is_register(const Access *access)
{
    return access->tile && access->tile->scope == TS_register;
}

typedef struct CoordCheck {
    const Box *box;
    bool only;
} CoordCheck;

static void check_coord(void *user, const Expr *sym)
{
    CoordCheck *check = user;
    for (int d = 0; d < check->box->rank; d++)
        if (check->box->coord[d] == sym)
            return;
    check->only = false;
}

static bool coords_only(Sim *sim, const Box *box, const Access *access)
{
    CoordCheck check = {box, true};
    for (int d = 0; is_register(access) && d < access->rank; d++)
        expr_symbols(sim->cx, access->index[d], check_coord, &check);
    return check.only;
}

static void mark_needed(const SimOp *op, const Value *value, unsigned bit)
{
    CHECK(value->id < op->value_count && op->op->values[value->id] == value);
    op->values[value->id].needed |= bit;
}

static void spread_needed(SimOp *op)
{
    for (uint32_t i = op->value_count; i-- > 0;) {
        const Value *value = op->values[i].value;
        for (int a = 0; a < 3; a++)
            if (value->args[a])
                op->values[value->args[a]->id].needed |= op->values[i].needed;
        for (uint32_t b = 0; b < i; b++)
            if (op->values[b].value->op == V_bind &&
                value_uses_sym(value, op->values[b].value->sym))
                op->values[b].needed |= op->values[i].needed;
    }
}

static void build_value(Sim *sim, SimOp *op, uint32_t i)
{
    const Value *value = op->op->values[i];
    SimValue *out = &op->values[i];
    out->value = value;
    out->needed = op->op->kind == TO_mma ? 0 : 1;
    switch (value->op) {
    case V_index: out->index = sim_code(sim, value->index); break;
    case V_load:
    case V_tile:
        build_access(sim, value->access, &out->access);
        if ((value->op == V_tile) != is_register(value->access))
            sim_fail(sim, -1, "value %%%u: wrong kind of tile", i);
        op->fixed_map = op->fixed_map && coords_only(sim, &op->op->box, value->access);
        break;
    case V_bind:
        out->lo = sim_code(sim, value->lo);
        out->hi = sim_code(sim, value->hi);
        out->sym = sim_add_sym(sim, value->sym);
        break;
    case V_reduce: sim_fail(sim, -1, "value %%%u: a reduce in a tile program", i); break;
    case V_const:
    case V_scalar:
    case V_cast: break;
    }
}

static void build_box(Sim *sim, SimOp *out)
{
    const TileOp *op = out->op;
    for (int d = 0; d < op->box.rank; d++) {
        out->bound[d] = op->box.bound[d] ? sim_code(sim, op->box.bound[d])
                                         : (SimCode){SC_fixed, .value = op->box.shape[d]};
        out->coord[d] = sim_add_sym(sim, op->box.coord[d]);
    }
    if (op->slot)
        out->slot = sim_code(sim, op->slot);
    out->fixed_map = true;
    out->value_count = op->value_count;
    out->values = NEW_ARRAY(sim->arena, SimValue, op->value_count);
    out->out = NEW_ARRAY(sim->arena, SimVal, op->value_count);
    for (uint32_t i = 0; i < op->value_count && !cx_failed(sim->cx); i++)
        build_value(sim, out, i);
    if (op->kind == TO_mma && !cx_failed(sim->cx)) {
        mark_needed(out, op->a, 1);
        mark_needed(out, op->b, 2);
        out->root_a = op->a->id;
        out->root_b = op->b->id;
    }
    out->store_count = op->store_count;
    out->stores = NEW_ARRAY(sim->arena, SimStore, op->store_count);
    out->stored = NEW_ARRAY(sim->arena, SimVal, op->store_count);
    for (uint32_t i = 0; i < op->store_count && !cx_failed(sim->cx); i++) {
        build_access(sim, op->stores[i].access, &out->stores[i].access);
        mark_needed(out, op->stores[i].value, 1);
        out->stores[i].value = op->stores[i].value->id;
        out->fixed_map = out->fixed_map && coords_only(sim, &op->box, op->stores[i].access);
    }
    if (!cx_failed(sim->cx))
        spread_needed(out);
    if (op->by && !cx_failed(sim->cx)) {
        Tile *box = NEW(sim->arena, Tile);
        *box = (Tile){.name = "thread map", .dtype = DT_f32, .rank = op->box.rank, .slots = 1};
        for (int d = 0; d < op->box.rank; d++)
            box->shape[d] = op->box.shape[d];
        out->by = NEW(sim->arena, SimTile);
        sim_reg_init(sim, out->by, box, op->by);
    }
}

/* The accesses of a convert to its staging tile: the coordinates of the element, in slots of their
 * own. */
static void build_staging(Sim *sim, SimOp *op)
{
    const Tile *via = op->op->via, *src = op->op->src;
    bool fits = via && via->scope == TS_shared && via->rank == src->rank && via->slots == 1 &&
                op->op->dst->rank == src->rank;
    for (int d = 0; fits && d < src->rank; d++)
        fits = via->shape[d] >= src->shape[d] && op->op->dst->shape[d] == src->shape[d];
    if (!fits) {
        sim_fail(sim, -1, "the shapes of source, destination and staging tile do not agree");
        return;
    }
    Access *access = NEW(sim->arena, Access);
    const Expr **index = NEW_ARRAY(sim->arena, const Expr *, src->rank);
    for (int d = 0; d < src->rank; d++) {
        index[d] = expr_sym(sim->cx, "e", 0, via->shape[d] - 1, 1);
        op->coord[d] = sim_add_sym(sim, index[d]);
    }
    *access = (Access){.tile = op->op->via, .rank = via->rank, .index = index};
    build_access(sim, access, &op->put);
    build_access(sim, access, &op->get);
}

static bool uses_thread(Sim *sim, const TileOp *op)
{
    const Expr *thread = sim->grid->thread;
    for (int i = 0; thread && i < op->guard_count; i++)
        if (expr_uses(op->guards[i].e, thread) || expr_uses(op->guards[i].lo, thread) ||
            expr_uses(op->guards[i].hi, thread))
            return true;
    return false;
}

static void build_for(Sim *sim, SimOp *out)
{
    const TileOp *op = out->op;
    const Expr *thread = sim->grid->thread;
    if (op->step <= 0 || (thread && (expr_uses(op->lo, thread) || expr_uses(op->hi, thread)))) {
        sim_fail(sim, -1, "for: a step below 1, or bounds that differ between threads");
        return;
    }
    out->lo = sim_code(sim, op->lo);
    out->hi = sim_code(sim, op->hi);
    out->var = sim_add_sym(sim, op->var);
    out->body = sim_build(sim, op->body);
}

static void build_op(Sim *sim, SimOp *out)
{
    const TileOp *op = out->op;
    switch (op->kind) {
    case TO_for: build_for(sim, out); break;
    case TO_if:
        out->guards = build_guards(sim, op->guards, op->guard_count);
        out->divergent = uses_thread(sim, op);
        out->body = sim_build(sim, op->body);
        out->other = op->other ? sim_build(sim, op->other) : NULL;
        break;
    case TO_map:
    case TO_copy:
    case TO_prefetch: build_box(sim, out); break;
    case TO_mma:
        out->dst = find_tile(sim, op->dst);
        build_box(sim, out);
        break;
    case TO_reduce:
    case TO_convert:
        out->dst = find_tile(sim, op->dst);
        out->src = find_tile(sim, op->src);
        if (op->kind == TO_convert && !cx_failed(sim->cx)) {
            build_staging(sim, out);
            out->via = cx_failed(sim->cx) ? NULL : find_tile(sim, op->via);
        }
        break;
    case TO_barrier:
    case TO_commit:
    case TO_wait: break;
    }
}

SimOp *sim_build(Sim *sim, const TileBlock *block)
{
    SimOp *first = NULL, **end = &first;
    for (const TileOp *op = block->first; op && !cx_failed(sim->cx); op = op->next) {
        SimOp *out = NEW(sim->arena, SimOp);
        out->op = op;
        sim->op = out;
        build_op(sim, out);
        *end = out;
        end = &out->next;
    }
    sim->op = NULL;
    return first;
}
