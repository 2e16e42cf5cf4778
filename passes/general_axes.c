/* General skeleton: the roles of axes. v is the axis along which the stores are contiguous (or
 * none, when the reductions' operands are contiguous along reduced axes only), u a second one;
 * boxes of u x v points, and how many of them a task takes. */
#include "passes/sched_general.h"

static void mark_direct(General *g, const Value *value)
{
    if (g->direct[value->id])
        return;
    g->direct[value->id] = true;
    if (value->op != V_reduce)
        for (int i = 0; i < 3; i++)
            if (value->args[i])
                mark_direct(g, value->args[i]);
}

static int find_lane_axis(const General *g, const Value *value, uint64_t among, bool *seen)
{
    if (seen[value->id])
        return -1;
    seen[value->id] = true;
    if (value->op == V_load && value->access->buffer)
        return access_unit_axis(g->cx, g->nest, value->access, among);
    for (int i = 0; i < 3 && value->op != V_reduce; i++) {
        int axis = value->args[i] ? find_lane_axis(g, value->args[i], among, seen) : -1;
        if (axis >= 0)
            return axis;
    }
    return -1;
}

int general_lane_axis(const General *g, const Value *value, uint64_t among)
{
    return find_lane_axis(g, value, among, general_unseen(g));
}

bool general_has_rows(const General *g)
{
    for (uint32_t i = 0; i < g->nest->value_count; i++)
        if (g->nest->values[i]->op == V_reduce && g->direct[i] && g->v >= 0 &&
            !(g->nest->values[i]->axes >> g->v & 1))
            return true;
    return false;
}

/* At least 1. */
static int64_t extent_guess(const Axis *axis)
{
    const Expr *e = axis->extent;
    int64_t extent = e->kind == EX_const ? e->value : e->hi < 64 ? e->hi : 64;
    extent = e->lo > extent ? e->lo : extent;
    return extent > 1 ? extent : 1;
}

/* A load that moves along a reduced axis and is contiguous along v: lanes of v read it well. */
static bool streams_along(const General *g, const Value *value, uint64_t reduced)
{
    if (value->op == V_reduce)
        return false;
    if (value->op == V_load && value->access->buffer && (value->axes & reduced) &&
        access_unit_axis(g->cx, g->nest, value->access, reduced | 1ull << g->v) == g->v)
        return true;
    for (int i = 0; i < 3; i++)
        if (value->args[i] && streams_along(g, value->args[i], reduced))
            return true;
    return false;
}

/* A result along which the reduced operands are not contiguous, while they are along a reduced axis
 * (sums of rows): lanes belong to the reduced axis. */
static bool lanes_in_reduction(const General *g)
{
    for (uint32_t i = 0; i < g->nest->value_count; i++) {
        const Value *r = g->nest->values[i];
        if (r->op != V_reduce || !g->direct[i] || !(r->axes >> g->v & 1) ||
            streams_along(g, r->args[0], r->reduced))
            continue;
        int lane = general_lane_axis(g, r->args[0], r->reduced | r->axes);
        if (lane >= 0 && (r->reduced >> lane & 1) && r->monoid != M_argmin && r->monoid != M_argmax)
            return true;
    }
    return false;
}

void general_choose_axes(General *g)
{
    const Store *store = NULL; /* the first */
    for (uint32_t i = g->nest->store_count; i-- > 0;)
        if (access_axes(g->nest, g->nest->stores[i].access) == g->axes) {
            store = &g->nest->stores[i];
            mark_direct(g, store->value);
        }
    g->v = access_unit_axis(g->cx, g->nest, store->access, g->axes);
    g->u = -1;
    if (g->v >= 0 && lanes_in_reduction(g))
        g->v = -1;
    for (uint32_t i = 0; i < g->nest->value_count && g->v >= 0; i++) {
        const Value *r = g->nest->values[i];
        if (r->op == V_reduce && g->direct[i] && (r->axes >> g->v & 1) && (r->reduced & g->axes)) {
            for (g->u = 0; !((r->reduced & g->axes) >> g->u & 1);)
                g->u++;
            g->v_outer = true;
            return;
        }
    }
    uint64_t others = g->v >= 0 ? g->axes & ~(1ull << g->v) : g->axes;
    int load = general_lane_axis(g, store->value, g->axes);
    if (load >= 0 && (others >> load & 1))
        g->u = load;
    for (int i = g->nest->axis_count - 1; i >= 0 && g->u < 0; i--)
        if (others >> i & 1)
            g->u = i;
}

void general_unbox(General *g, int *rows)
{
    uint64_t used = 0;
    for (int i = 0; i < g->nest->axis_count; i++)
        used |= expr_axes(g->nest, g->nest->axes[i].extent);
    if (g->v >= 0 && (used >> g->v & 1)) {
        g->u = g->v;
        g->v = -1;
        g->v_outer = false;
    }
    if (g->u >= 0 && (used >> g->u & 1))
        *rows = 1;
}

/* Points that a reduction goes through for one result, beside the axes of the results. */
static int64_t reduced_points(const General *g)
{
    int64_t most = 1;
    for (uint32_t i = 0; i < g->nest->value_count; i++) {
        const Value *r = g->nest->values[i];
        int64_t points = 1;
        for (int a = 0; a < g->nest->axis_count && r->op == V_reduce && g->direct[i]; a++)
            if ((r->reduced & ~g->axes) >> a & 1 && points < INT32_MAX)
                points *= extent_guess(&g->nest->axes[a]);
        most = points > most ? points : most;
    }
    return most;
}

Boxes general_cpu_boxes(const General *g, int rows)
{
    int width = g->lower->caps->vector_bits ? g->lower->caps->vector_bits / 32 : 4;
    int64_t grain = g->schedule->field[SF_grain] / reduced_points(g);
    grain = grain < 1 ? 1 : grain;
    int64_t v_extent = g->v >= 0 ? extent_guess(&g->nest->axes[g->v]) : 1;
    int lanes = g->v >= 0 || rows == 1 ? width * g->schedule->field[SF_vec] : 1;
    while (lanes > width && g->v >= 0 && lanes / 2 >= v_extent)
        lanes /= 2;
    bool split_v = g->v >= 0 && v_extent > grain && !general_has_rows(g);
    Boxes boxes = {.rows = rows, .lanes = lanes};
    boxes.v_chunk = split_v ? (grain + lanes - 1) / lanes * lanes : 0;
    boxes.u_chunk = split_v ? rows : (grain / v_extent + rows - 1) / rows * rows;
    if (boxes.u_chunk < rows)
        boxes.u_chunk = rows;
    return boxes;
}

const Expr *general_wide(const General *g)
{
    const Expr *wide = g->v >= 0 ? g->nest->axes[g->v].extent : NULL;
    for (uint32_t i = 0; i < g->nest->value_count && g->v < 0; i++) {
        const Value *r = g->nest->values[i];
        if (r->op != V_reduce || r->monoid == M_argmin || r->monoid == M_argmax)
            continue;
        int lane = general_lane_axis(g, r->args[0], r->reduced);
        if (lane >= 0 && (!wide || g->nest->axes[lane].extent->hi > wide->hi))
            wide = g->nest->axes[lane].extent;
    }
    return wide;
}
