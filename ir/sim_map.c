/* Maps and copies: who executes which point (ir/tile.h, "Thread maps"), and executing them. The
 * assignment depends on layouts and coordinates only in all programs placement makes, so it is
 * computed once per operation. */
#include "ir/sim.h"

#include <string.h>

/* Keeps of `list` (ascending) the threads that hold `elem`. */
static int intersect(const SimTile *tile, int elem, int32_t *list, int count)
{
    uint32_t i = tile->first[elem], end = tile->first[elem + 1];
    int kept = 0;
    for (int k = 0; k < count; k++) {
        while (i < end && tile->holder[i] < list[k])
            i++;
        if (i < end && tile->holder[i] == list[k])
            list[kept++] = list[k];
    }
    return kept;
}

/* The threads of a point so far: count < 0 = nothing has decided yet. */
typedef struct Crew {
    int32_t *list;
    int count;
} Crew;

static void crew_meet(Crew *crew, const SimTile *tile, int elem)
{
    if (elem < 0) {
        crew->count = 0;
    } else if (crew->count >= 0) {
        crew->count = intersect(tile, elem, crew->list, crew->count);
    } else {
        crew->count = (int)(tile->first[elem + 1] - tile->first[elem]);
        memcpy(crew->list, tile->holder + tile->first[elem],
               sizeof *crew->list * (size_t)crew->count);
    }
}

static bool is_register(const SimAccess *access)
{
    return access->tile && access->tile->tile->scope == TS_register;
}

static PointState crew_of(Sim *sim, const SimOp *op, int point, Crew *crew)
{
    crew->count = -1;
    if (op->by)
        crew_meet(crew, op->by, point);
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i].value->op == V_tile)
            crew_meet(crew, op->values[i].access.tile, sim_reg_elem(sim, &op->values[i].access));
    for (uint32_t i = 0; i < op->store_count; i++)
        if (is_register(&op->stores[i].access))
            crew_meet(crew, op->stores[i].access.tile, sim_reg_elem(sim, &op->stores[i].access));
    if (crew->count < 0) {
        crew->list[0] = point % sim->threads;
        crew->count = 1;
    }
    for (uint32_t i = 0; i < op->store_count; i++) {
        const SimAccess *access = &op->stores[i].access;
        int elem = is_register(access) ? sim_reg_elem(sim, access) : -1;
        if (elem >= 0 && crew->count > 0 &&
            access->tile->first[elem + 1] - access->tile->first[elem] != (uint32_t)crew->count)
            return PS_stale;
    }
    return crew->count > 0 ? PS_ok : PS_nobody;
}

static void set_point(Sim *sim, const SimOp *op, int point)
{
    for (int d = op->op->box.rank - 1; d >= 0; d--) {
        sim->slots[op->coord[d]] = point % op->op->box.shape[d];
        point /= op->op->box.shape[d];
    }
}

static void make_map(Sim *sim, SimOp *op)
{
    PointMap *map = &op->map;
    int64_t points = 1;
    for (int d = 0; d < op->op->box.rank; d++)
        points *= op->op->box.shape[d];
    if (points <= 0 || points > 1 << 24) {
        sim_fail(sim, -1, "a box of %lld points", (long long)points);
        return;
    }
    map->points = (int)points;
    if (!map->start) {
        map->start = NEW_ARRAY(sim->arena, uint32_t, points + 1);
        map->state = NEW_ARRAY(sim->arena, uint8_t, points);
    }
    int *seq = NEW_ARRAY(sim->arena, int, sim->threads);
    Crew crew = {.list = NEW_ARRAY(sim->arena, int32_t, sim->threads)};
    uint32_t count = 0, cap = 0, seq_count = 0, seq_cap = 0;
    map->thread = map->seq = NULL;
    map->per_thread = 0;
    for (int p = 0; p < map->points; p++) {
        set_point(sim, op, p);
        map->state[p] = (uint8_t)crew_of(sim, op, p, &crew);
        map->start[p] = count;
        for (int k = 0; k < crew.count; k++) {
            int t = crew.list[k];
            VEC_PUSH(sim->arena, map->thread, count, cap, t);
            VEC_PUSH(sim->arena, map->seq, seq_count, seq_cap, seq[t]);
            if (++seq[t] > map->per_thread)
                map->per_thread = seq[t];
        }
    }
    map->start[map->points] = count;
    map->made = true;
}

static bool write_register(Sim *sim, SimOp *op, const SimStore *store, int thread)
{
    int elem = sim_reg_elem(sim, &store->access);
    if (elem < 0)
        return sim_fail(sim, thread, "register tile '%s' is written out of bounds",
                        store->access.tile->tile->name);
    SimVal *entry = sim_reg_entry(store->access.tile, elem, thread);
    if (!entry)
        return sim_fail(sim, thread, "writes element %d of tile '%s', which it does not hold", elem,
                        store->access.tile->tile->name);
    *entry = sim_reg_convert(store->access.tile->tile, op->values[store->value].value->dtype,
                             op->out[store->value]);
    return true;
}

static bool same_value(SimVal a, SimVal b)
{
    return a.poison == b.poison && (a.poison || a.s.i == b.s.i);
}

/* op->stored keeps what the first thread of the point stored: the others must have computed the
 * same. */
static bool run_stores(Sim *sim, SimOp *op, int thread, int seq, bool first)
{
    for (uint32_t i = 0; i < op->store_count; i++) {
        SimStore *store = &op->stores[i];
        SimVal value = op->out[store->value];
        if (is_register(&store->access)) {
            if (!write_register(sim, op, store, thread))
                return false;
        } else if (first) {
            op->stored[i] = value;
            Dtype type = op->values[store->value].value->dtype;
            if (!sim_store(sim, &store->access, type, value, thread, seq))
                return false;
        } else if (!same_value(op->stored[i], value)) {
            return sim_fail(sim, thread, "replicas differ in what they would store");
        }
    }
    return true;
}

static bool run_point(Sim *sim, SimOp *op, int point)
{
    const PointMap *map = &op->map;
    if (map->state[point] == PS_nobody)
        return sim_fail(sim, -1, "no thread holds every register element of point %d", point);
    if (map->state[point] == PS_stale)
        return sim_fail(sim, -1, "point %d would not reach all replicas of what it writes", point);
    for (uint32_t k = map->start[point]; k < map->start[point + 1]; k++) {
        int thread = map->thread[k];
        if (sim->active[thread] &&
            (!sim_values(sim, op, 1, thread, map->seq[k]) ||
             !run_stores(sim, op, thread, map->seq[k], k == map->start[point])))
            return false;
    }
    for (uint32_t i = 0; i < op->store_count; i++)
        if (is_register(&op->stores[i].access) &&
            !sim_reg_agree(sim, op->stores[i].access.tile,
                           sim_reg_elem(sim, &op->stores[i].access)))
            return false;
    return true;
}

static bool is_outside(Sim *sim, const SimOp *op, const int64_t *bounds)
{
    for (int d = 0; d < op->op->box.rank; d++)
        if (sim->slots[op->coord[d]] >= bounds[d])
            return true;
    return false;
}

static void each_site(Sim *sim, SimOp *op, void (*visit)(Sim *sim, SimSite *site, int per_thread))
{
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i].value->op == V_load)
            visit(sim, op->values[i].access.site, op->map.per_thread);
    for (uint32_t i = 0; i < op->store_count; i++)
        if (op->stores[i].access.site)
            visit(sim, op->stores[i].access.site, op->map.per_thread);
}

static void count_site(Sim *sim, SimSite *site, int per_thread)
{
    (void)per_thread;
    sim_site_count(sim, site);
}

/* An asynchronous copy moves bytes as they are, from global to shared memory. */
static bool async_possible(Sim *sim, const SimOp *op)
{
    const Value *value = op->store_count == 1 ? op->op->stores[0].value : NULL;
    const Tile *to = op->store_count == 1 ? op->op->stores[0].access->tile : NULL;
    if (op->op->kind != TO_copy || !value || value->op != V_load || !value->access->buffer || !to)
        return sim_fail(sim, -1, "cp.async: not a copy of one load from global to shared memory");
    if (value->access->buffer->dtype != to->dtype)
        return sim_fail(sim, -1, "cp.async cannot convert");
    if (!sim->prog->caps->cp_async)
        return sim_fail(sim, -1, "the target has no cp.async");
    return true;
}

bool sim_map(Sim *sim, SimOp *op)
{
    if (op->op->kind == TO_prefetch)
        return true;
    if (op->op->async && !async_possible(sim, op))
        return false;
    if (!op->map.made || !op->fixed_map)
        make_map(sim, op);
    if (cx_failed(sim->cx))
        return false;
    int64_t bounds[MAX_BOX];
    for (int d = 0; d < op->op->box.rank; d++)
        bounds[d] = sim_eval(sim, &op->bound[d]);
    each_site(sim, op, sim_site_begin);
    bool ok = true;
    for (int p = 0; ok && p < op->map.points; p++) {
        set_point(sim, op, p);
        bool outside = is_outside(sim, op, bounds);
        if (outside && op->op->kind != TO_copy)
            continue;
        sim->outside = outside;
        ok = run_point(sim, op, p);
    }
    sim->outside = false;
    each_site(sim, op, count_site);
    if (ok && op->op->async)
        ok = sim_check_async(sim, op->values[op->stores[0].value].access.site,
                             op->stores[0].access.site, &sim->report->async_bytes);
    if (ok && op->op->async && op->op->stores[0].value->access->fill.i != 0)
        ok = sim_fail(sim, -1, "cp.async can only fill with 0");
    return ok && !cx_failed(sim->cx);
}
