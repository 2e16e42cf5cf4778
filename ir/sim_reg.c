/* Register tiles: which threads hold an element, with a value for each of them, since replicas are
 * separate registers that must be kept equal; reductions over lanes and warps; conversion between
 * layouts through shared memory.
 *
 * A reduction is computed as the generated code does it: each thread combines its registers in
 * ascending order, then the bits of the lane number that lie on the reduced dim are exchanged from
 * the lowest up, then warps are combined in ascending order. Every thread of a row ends with the
 * result. */
#include "ir/sim.h"

#include <string.h>

#include "ir/layout.h"

static int element_at(const Tile *tile, const Layout *layout, int thread, int reg)
{
    int coord[MAX_BOX], elem = 0;
    layout_at(layout, tile->rank, thread, reg, coord);
    for (int d = 0; d < tile->rank; d++) {
        if (coord[d] >= tile->shape[d])
            return -1;
        elem = elem * tile->shape[d] + coord[d];
    }
    return elem;
}

static bool holds(const SimTile *tile, int elem, uint32_t count, int thread)
{
    return count > 0 && tile->holder[tile->first[elem] + count - 1] == thread;
}

/* Visits every (thread, register); with `fill` writes the holders, else counts them in first[elem +
 * 1]. */
static void visit_holders(SimTile *tile, const Layout *layout, int threads, uint32_t *count,
                          bool fill)
{
    int regs = layout_regs(layout);
    for (int t = 0; t < threads; t++)
        for (int r = 0; r < regs; r++) {
            int elem = element_at(tile->tile, layout, t, r);
            if (elem < 0)
                continue;
            if (fill && !holds(tile, elem, count[elem], t))
                tile->holder[tile->first[elem] + count[elem]++] = t;
            else if (!fill && count[elem] != (uint32_t)t + 1) {
                tile->first[elem + 1]++;
                count[elem] = (uint32_t)t + 1; /* the last thread seen */
            }
        }
}

bool sim_reg_init(Sim *sim, SimTile *tile, const Tile *of, const Layout *layout)
{
    int64_t elems = 1;
    for (int d = 0; d < of->rank; d++)
        elems *= of->shape[d];
    if (elems <= 0 || elems > 1 << 24)
        return sim_fail(sim, -1, "tile '%s': bad size", of->name);
    if (!layout)
        return sim_fail(sim, -1, "tile '%s' has no layout: is the program placed?", of->name);
    if (!layout_verify(sim->cx, layout, of->rank, of->shape, sim->threads))
        return false;
    tile->tile = of;
    tile->elems = (int)elems;
    tile->first = NEW_ARRAY(sim->arena, uint32_t, elems + 1);
    uint32_t *count = NEW_ARRAY(sim->arena, uint32_t, elems);
    visit_holders(tile, layout, sim->threads, count, false);
    for (int e = 0; e < tile->elems; e++)
        tile->first[e + 1] += tile->first[e];
    memset(count, 0, sizeof *count * (size_t)elems);
    tile->holder = NEW_ARRAY(sim->arena, int32_t, tile->first[elems]);
    tile->value = NEW_ARRAY(sim->arena, SimVal, tile->first[elems]);
    visit_holders(tile, layout, sim->threads, count, true);
    return true;
}

void sim_reg_clear(SimTile *tile)
{
    for (uint32_t i = 0; i < tile->first[tile->elems]; i++)
        tile->value[i] = (SimVal){.poison = true};
}

int sim_reg_elem(Sim *sim, const SimAccess *access)
{
    const Tile *tile = access->tile->tile;
    int64_t elem = 0;
    bool inside = true;
    for (int d = 0; d < access->rank; d++) {
        int64_t at = sim_eval(sim, &access->index[d]);
        sim->coord[d] = at;
        inside = inside && at >= 0 && at < tile->shape[d];
        if (inside)
            elem = elem * tile->shape[d] + at;
    }
    return inside ? (int)elem : -1;
}

SimVal *sim_reg_entry(SimTile *tile, int elem, int thread)
{
    uint32_t lo = tile->first[elem], hi = tile->first[elem + 1];
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (tile->holder[mid] == thread)
            return &tile->value[mid];
        if (tile->holder[mid] < thread)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

bool sim_reg_agree(Sim *sim, SimTile *tile, int elem)
{
    uint32_t first = tile->first[elem];
    for (uint32_t i = first + 1; i < tile->first[elem + 1]; i++)
        if (tile->value[i].poison != tile->value[first].poison ||
            (!tile->value[i].poison && tile->value[i].s.i != tile->value[first].s.i))
            return sim_fail(sim, tile->holder[i],
                            "replicas of element %d of tile '%s' differ between threads %d and %d",
                            elem, tile->tile->name, tile->holder[first], tile->holder[i]);
    return true;
}

SimVal sim_reg_convert(const Tile *tile, Dtype from, SimVal value)
{
    if (!value.poison)
        value.s = dtype_convert(tile->dtype, from, value.s);
    return value;
}

/* One row being reduced: a partial result per thread. */
typedef struct Row {
    SimVal *part;
    bool *has;
    int first, count; /* threads first .. first + count - 1 may take part */
    ScalarOp combine;
    Dtype dtype;
} Row;

static SimVal combine(const Row *row, SimVal a, SimVal b)
{
    SimVal out = {.poison = a.poison || b.poison};
    if (!out.poison)
        out.s = scalar_eval(row->combine, row->dtype, (Scalar[3]){a.s, b.s, {0}});
    return out;
}

/* Threads that differ in `bit` of their number exchange and combine; the lower one's value comes
 * first. */
static void exchange(Row *row, int bit)
{
    for (int t = 0; t < row->count; t++) {
        int u = t | bit;
        if (u == t || u >= row->count || (!row->has[t] && !row->has[u]))
            continue;
        if (row->has[t] && row->has[u])
            row->part[t] = combine(row, row->part[t], row->part[u]);
        else if (row->has[u])
            row->part[t] = row->part[u];
        row->part[u] = row->part[t];
        row->has[t] = row->has[u] = true;
    }
}

/* The same over a digit of warps: results are combined in ascending order, through shared memory.
 */
static void fold_warps(Row *row, int step, int extent)
{
    for (int t = 0; t < row->count; t++) {
        if (t / step % extent != 0)
            continue;
        SimVal sum = {.poison = true};
        bool any = false;
        for (int k = 0; k < extent && t + k * step < row->count; k++) {
            int u = t + k * step;
            if (row->has[u])
                sum = any ? combine(row, sum, row->part[u]) : row->part[u];
            any = any || row->has[u];
        }
        for (int k = 0; any && k < extent && t + k * step < row->count; k++) {
            row->part[t + k * step] = sum;
            row->has[t + k * step] = true;
        }
    }
}

static void reduce_lanes(Row *row, const Layout *layout, int dim)
{
    int below = 1;
    for (int p = 0; p < layout->lane_count; p++) {
        int extent = layout->lanes[p].extent, bit = 1;
        for (; layout->lanes[p].dim == dim && bit < extent && below * bit < SIM_WARP; bit *= 2)
            exchange(row, below * bit);
        if (layout->lanes[p].dim == dim && bit < extent)
            fold_warps(row, below * bit, extent / bit);
        below *= extent;
    }
}

/* Elements of the row that starts at `elem`: extent of them, `stride` apart. */
static void reduce_registers(Row *row, SimTile *src, int elem, int extent, int stride)
{
    for (int k = 0; k < extent; k++, elem += stride)
        for (uint32_t i = src->first[elem]; i < src->first[elem + 1]; i++) {
            int t = src->holder[i];
            row->part[t] = row->has[t] ? combine(row, row->part[t], src->value[i]) : src->value[i];
            row->has[t] = true;
        }
}

static bool reduce_store(Sim *sim, const Row *row, SimTile *dst, int elem)
{
    for (uint32_t i = dst->first[elem]; i < dst->first[elem + 1]; i++) {
        int t = dst->holder[i];
        if (!row->has[t])
            return sim_fail(sim, t, "holds element %d of '%s' but no part of what is reduced", elem,
                            dst->tile->name);
        dst->value[i] = sim_reg_convert(dst->tile, row->dtype, row->part[t]);
    }
    return sim_reg_agree(sim, dst, elem);
}

static bool reduce_shapes(Sim *sim, const SimOp *op)
{
    const Tile *dst = op->dst->tile, *src = op->src->tile;
    bool fits = dst->rank == src->rank && op->op->dim >= 0 && op->op->dim < src->rank &&
                dst->scope == TS_register && src->scope == TS_register;
    for (int d = 0; fits && d < src->rank; d++)
        fits = dst->shape[d] == (d == op->op->dim ? 1 : src->shape[d]);
    if (!fits || op->op->monoid == M_argmin || op->op->monoid == M_argmax)
        return sim_fail(sim, -1, "shapes, scopes or monoid do not fit");
    if (sim->active_count != sim->threads)
        return sim_fail(sim, -1, "deadlock: a reduction that not all threads reach");
    return true;
}

bool sim_reduce(Sim *sim, SimOp *op)
{
    if (!reduce_shapes(sim, op))
        return false;
    const Tile *tile = op->src->tile;
    ArenaMark mark = arena_mark(sim->arena);
    Row row = {.part = NEW_ARRAY(sim->arena, SimVal, sim->threads),
               .has = NEW_ARRAY(sim->arena, bool, sim->threads),
               .count = sim->threads,
               .combine = monoid_combine(op->op->monoid),
               .dtype = dtype_compute(tile->dtype)};
    int extent = tile->shape[op->op->dim], stride = 1;
    for (int d = op->op->dim + 1; d < tile->rank; d++)
        stride *= tile->shape[d];
    for (int e = 0; e < op->dst->elems && !cx_failed(sim->cx); e++) {
        memset(row.has, 0, sizeof *row.has * (size_t)sim->threads);
        reduce_registers(&row, op->src, e / stride * stride * extent + e % stride, extent, stride);
        reduce_lanes(&row, tile->layout, op->op->dim);
        reduce_store(sim, &row, op->dst, e);
    }
    arena_reset(sim->arena, mark);
    return !cx_failed(sim->cx);
}

static void set_coords(Sim *sim, const SimOp *op, int elem)
{
    const Tile *tile = op->src->tile;
    for (int d = tile->rank - 1; d >= 0; d--) {
        sim->slots[op->coord[d]] = elem % tile->shape[d];
        elem /= tile->shape[d];
    }
}

/* One half of a convert: every element between its threads and the staging tile. Replicas load, the
 * first one stores. */
static void staging(Sim *sim, SimOp *op, SimTile *tile, SimAccess *access, bool put, int *seq)
{
    memset(seq, 0, sizeof *seq * (size_t)sim->threads);
    sim_site_begin(sim, access->site, tile->elems);
    Dtype type = dtype_compute(tile->tile->dtype);
    for (int e = 0; e < tile->elems && !cx_failed(sim->cx); e++) {
        set_coords(sim, op, e);
        uint32_t end = put ? tile->first[e] + 1 : tile->first[e + 1];
        for (uint32_t i = tile->first[e]; i < end && !cx_failed(sim->cx); i++) {
            int t = tile->holder[i];
            if (put)
                sim_store(sim, access, type, tile->value[i], t, seq[t]++);
            else if (sim_load(sim, access, t, seq[t]++, &tile->value[i]))
                tile->value[i] = sim_reg_convert(tile->tile, dtype_compute(op->via->tile->dtype),
                                                 tile->value[i]);
        }
    }
    sim_site_count(sim, access->site);
}

bool sim_convert(Sim *sim, SimOp *op)
{
    if (sim->active_count != sim->threads)
        return sim_fail(sim, -1, "deadlock: a conversion that not all threads reach");
    sim_site_begin(sim, op->put.site, op->src->elems); /* grow before the mark: they outlive it */
    sim_site_begin(sim, op->get.site, op->dst->elems);
    ArenaMark mark = arena_mark(sim->arena);
    int *seq = NEW_ARRAY(sim->arena, int, sim->threads);
    staging(sim, op, op->src, &op->put, true, seq);
    sim->epoch++;
    sim->report->barriers++;
    staging(sim, op, op->dst, &op->get, false, seq);
    arena_reset(sim->arena, mark);
    return !cx_failed(sim->cx);
}
