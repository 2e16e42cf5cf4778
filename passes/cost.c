/* The cost model's choice of a schedule: a pure function of nest and target.
 *
 * Contractions: cycles per step of k of a register tile of mr rows and nv vectors are the largest
 * of mr * nv / 2     two fused multiply-adds a cycle, (mr + nv) / 2   two loads a cycle (a
 * broadcast per row, nv vectors of b), 4               latency of a multiply-add (an accumulator is
 * reused every step), 2 * nv          b streams from L2 at 32 bytes a cycle, summed over full and
 * remainder tiles. The cheapest tile whose accumulators, one step of b and one broadcast fit the
 * registers wins; ties go to the larger tile (fewer loads). */
#include "passes/lower_value.h"

enum { ENOUGH = 16 }; /* tasks for all cores of most machines */

static int64_t at_most(int64_t x, int64_t most)
{
    return x < most ? x : most;
}

static int64_t tile_cycles(int64_t mr, int64_t nv, int64_t row_cost) /* in 1/64 cycles */
{
    int64_t cycles = 32 * mr * nv, loads = 32 * (mr + nv), stream = 128 * nv;
    if (cycles < loads)
        cycles = loads;
    if (cycles < stream)
        cycles = stream;
    return (cycles < 256 ? 256 : cycles) + mr * row_cost;
}

static int64_t contraction_cost(int64_t rows, int64_t vectors, int64_t mr, int64_t nv,
                                int64_t row_cost)
{
    int64_t full_m = rows / mr, rest_m = rows % mr, full_n = vectors / nv, rest_n = vectors % nv,
            cost = 0;
    cost += full_m * full_n * tile_cycles(mr, nv, row_cost);
    if (rest_m)
        cost += full_n * tile_cycles(rest_m, nv, row_cost);
    if (rest_n)
        cost += full_m * tile_cycles(mr, rest_n, row_cost);
    if (rest_m && rest_n)
        cost += tile_cycles(rest_m, rest_n, row_cost);
    return cost;
}

static int64_t likely(const Expr *extent)
{
    if (extent->kind == EX_const)
        return extent->value;
    return extent->hi < 256 ? extent->hi : 256;
}

/* Packing a run-time operand costs a pass over it: worth it from a few row tiles on. A task's own
 * panel stays in L2, so a task takes as many rows as leave work for every core. */
static void choose_packing(Cx *cx, const Nest *nest, const Contraction *c, int unit, Schedule *best,
                           int64_t tiles, int64_t blocks)
{
    enum { FEW = 4, PANEL_TILES = 16, MOST = 4096 };
    const Value *b = c->b;
    while (b->op == V_cast)
        b = b->args[0];
    bool constant = b->op == V_load && b->access->buffer->role == BUF_const;
    bool contiguous = b->op == V_load && access_unit_axis(cx, nest, b->access, c->n) == unit;
    if (constant) {
        best->field[SF_pack] = 1;
        return;
    }
    best->field[SF_pack] = !contiguous || tiles >= FEW ? 2 : 0;
    if (!best->field[SF_pack])
        return;
    int64_t mt = blocks >= ENOUGH ? tiles : tiles * blocks / ENOUGH;
    if (mt < PANEL_TILES)
        mt = tiles < PANEL_TILES ? tiles : PANEL_TILES;
    best->field[SF_mt] = (int32_t)at_most(mt < 1 ? 1 : mt, MOST);
}

static Schedule choose_contraction(Cx *cx, const Nest *nest, const Caps *caps, const Contraction *c)
{
    Schedule best = schedule_default(SK_contraction);
    int width = caps->vector_bits / dtype_bits(c->sum->dtype);
    int64_t rows = 1, columns = 1, inner = 1, outer = 1, best_cost = INT64_MAX;
    int unit = access_unit_axis(cx, nest, nest->stores[0].access, c->n);
    int loops = 0;
    for (int i = 0; i < nest->axis_count; i++) {
        if (c->m >> i & 1)
            rows *= likely(nest->axes[i].extent);
        if (i == unit)
            columns = likely(nest->axes[i].extent);
        else if (((c->batch | c->n) >> i & 1) && outer < ENOUGH)
            outer *= at_most(likely(nest->axes[i].extent), ENOUGH);
        loops += (int)(c->k >> i & 1);
        if (c->k >> i & 1)
            inner = likely(nest->axes[i].extent);
    }
    int64_t vectors = (columns + width - 1) / width;
    /* a row pointer and its guard cost about two cycles each time the outer loops over K move on */
    int64_t row_cost = loops > 1 ? 128 / (inner < 1 ? 1 : inner) : 0;
    for (int mr = 14; mr >= 1; mr--)
        for (int nv = 1; nv <= 4; nv++) {
            if (mr * nv + nv + 1 > caps->registers - 1 || nv > vectors || (mr > rows && mr > 1))
                continue;
            int64_t cost = contraction_cost(rows, vectors, mr, nv, row_cost);
            /* tiles of 14 and more rows alias in L1 at large strides (docs/performance.md) */
            cost += mr > 8 ? cost / 32 : 0;
            /* remainder tiles are code to generate */
            cost += (rows > mr && rows % mr ? cost / 64 : 0) +
                    (vectors > nv && vectors % nv ? cost / 64 : 0);
            if (cost < best_cost ||
                (cost == best_cost && mr * nv > best.field[SF_mr] * best.field[SF_nv])) {
                best_cost = cost;
                best.field[SF_mr] = mr;
                best.field[SF_nv] = nv;
            }
        }
    /* more steps in a turn are more code to generate, and no faster where a step is long and what
     * it reads is in caches */
    bool brief = best.field[SF_mr] * best.field[SF_nv] < 12;
    best.field[SF_ku] = loops <= 1 && (brief || inner > 1024) ? 4 : 2;
    if (inner < best.field[SF_ku])
        best.field[SF_ku] = (int32_t)(inner < 1 ? 1 : inner);
    int64_t tiles = rows / best.field[SF_mr];
    best.field[SF_mt] = tiles > 8 ? 8 : (int32_t)(tiles < 1 ? 1 : tiles);
    int64_t blocks = outer * ((vectors + best.field[SF_nv] - 1) / best.field[SF_nv]);
    choose_packing(cx, nest, c, unit, &best, tiles, blocks);
    return best;
}

/* Both products have the same register tile. A block of keys is 128 or so: its keys, its values and
 * a chunk's accumulators stay in L2, a row tile's scores in L1. */
static Schedule choose_attention(const Nest *nest, const Caps *caps, const Attention *a)
{
    Schedule best = schedule_default(SK_attention);
    int width = caps->vector_bits / dtype_bits(a->weighted->dtype);
    int64_t rows = 1, best_cost = INT64_MAX;
    for (int i = 0; i < nest->axis_count; i++)
        if (a->m >> i & 1)
            rows *= likely(nest->axes[i].extent);
    int64_t vectors = (nest->axes[a->n].extent->value + width - 1) / width;
    for (int mr = 8; mr >= 1; mr--)
        for (int nv = 4; nv >= 1; nv--) {
            if (mr * nv + nv + 1 > caps->registers - 1 || nv > vectors || (mr > rows && mr > 1))
                continue;
            int64_t cost = contraction_cost(rows, vectors, mr, nv, 0);
            if (cost < best_cost) {
                best_cost = cost;
                best.field[SF_mr] = mr;
                best.field[SF_nv] = nv;
            }
        }
    int64_t nr = (int64_t)best.field[SF_nv] * width, tiles = 128 / nr;
    int64_t keys = likely(nest->axes[a->l].extent);
    while (tiles > 1 && (tiles - 1) * nr >= keys)
        tiles--;
    best.field[SF_keys] = (int32_t)(tiles < 1 ? 1 : tiles);
    return best;
}

/* Vectors of a box: independent accumulators hide the latency of additions; sums over outer axes
 * (columns) also want long runs of every row. Many values alive at once leave registers for fewer.
 */
static int general_vectors(const Nest *nest, const Caps *caps, int unit)
{
    int values = 0, sums = 0;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        values += nest->values[i]->op == V_scalar;
        sums += nest->values[i]->op == V_reduce && unit >= 0 && (nest->values[i]->axes >> unit & 1);
    }
    if (sums == 1 && values <= 2)
        return caps->registers / 2 < 16 ? caps->registers / 2 : 16;
    return values <= 24 ? 4 : 2;
}

/* Sums of products over windows that slide along an axis of the result (depthwise convolutions), of
 * known sizes: results that are neighbours share operands and weights. */
static bool slides_with_weights(const Nest *nest, uint64_t axes, int unit)
{
    bool slides = false, sums = false;
    for (int i = 0; i < nest->axis_count; i++)
        if (nest->axes[i].extent->kind != EX_const)
            return false;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op == V_reduce && v->monoid == M_sum && (v->axes >> unit & 1))
            sums |= v->args[0]->op == V_scalar && v->args[0]->scalar == S_mul;
        for (int d = 0; v->op == V_load && d < v->access->rank; d++) {
            uint64_t moves = expr_axes(nest, v->access->index[d]);
            slides |= (moves & axes & ~(1ull << unit)) && (moves & ~axes);
        }
    }
    return slides && sums;
}

/* Reductions whose result is spread over the contiguous axis again (softmax, norms): a row's
 * reductions end in chains of dependent operations, which a second row fills. Long rows need none.
 */
static bool spreads_short_rows(const Nest *nest, uint64_t axes, int unit)
{
    enum { LONG_ROW = 4096 };
    bool rows = false, found = false;
    for (int i = 0; i < nest->axis_count; i++)
        rows |= i != unit && (axes >> i & 1) && likely(nest->axes[i].extent) > 1;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        found |= v->op == V_reduce && !(v->axes >> unit & 1) && v->monoid != M_argmin &&
                 v->monoid != M_argmax && !(axes & ~(1ull << unit) & ~v->axes);
    }
    return rows && found && likely(nest->axes[unit].extent) <= LONG_ROW;
}

Schedule schedule_choose(Cx *cx, const Nest *nest, const Caps *caps)
{
    if (target_is_gpu(caps))
        return gpu_choose(cx, nest, caps);
    Contraction c = nest_contraction(cx, nest);
    if (c.has && caps->vector_bits)
        return choose_contraction(cx, nest, caps, &c);
    Attention attention = nest_attention(cx, nest);
    if (attention.has && caps->vector_bits)
        return choose_attention(nest, caps, &attention);
    if (nest_scan(cx, nest).has && caps->vector_bits)
        return schedule_default(SK_scan);
    if (caps->kind == TK_cpu && nest_scatter(nest).has)
        return schedule_default(SK_scatter);
    return schedule_plain(cx, nest, caps);
}

Schedule schedule_plain(Cx *cx, const Nest *nest, const Caps *caps)
{
    if (target_is_gpu(caps))
        return gpu_choose_plain(cx, nest, caps);
    Schedule general = schedule_default(SK_general);
    /* A load that is contiguous along another axis than the store: square boxes, transposed in
     * registers. */
    int width = caps->vector_bits ? caps->vector_bits / 32 : 4;
    const Store *store = &nest->stores[0];
    uint64_t axes = store->value->axes;
    int unit = access_unit_axis(cx, nest, store->access, axes);
    general.field[SF_vec] = general_vectors(nest, caps, unit);
    if (unit >= 0 && slides_with_weights(nest, axes, unit)) {
        general.field[SF_rows] = caps->registers >= 32 ? 8 : 4;
        general.field[SF_vec] = 1;
    } else if (unit >= 0 && spreads_short_rows(nest, axes, unit)) {
        general.field[SF_rows] = 2;
    }
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_load || !v->access->buffer || unit < 0)
            continue;
        int load = access_unit_axis(cx, nest, v->access, axes);
        if (load >= 0 && load != unit && !(v->axes & ~axes) && (v->axes >> unit & 1)) {
            general.field[SF_rows] = width;
            general.field[SF_vec] = 1;
        }
    }
    return general;
}
