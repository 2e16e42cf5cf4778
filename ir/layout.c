/* Layout constructors and the arithmetic on them. See layout.h for the fragments drawn out; every
 * constructor lists parts from the fastest digit to the slowest and leaves out parts of extent 1,
 * so that equal layouts have equal lists. */
#include "ir/layout.h"

#include <string.h>

static void add_lane(Layout *layout, int dim, int extent, int stride)
{
    if (extent == 1)
        return;
    CHECK(layout->lane_count < MAX_PARTS);
    layout->lanes[layout->lane_count++] =
        (LayoutPart){.dim = dim, .extent = extent, .stride = dim < 0 ? 0 : stride};
}

static void add_reg(Layout *layout, int dim, int extent, int stride)
{
    if (extent == 1)
        return;
    CHECK(layout->reg_count < MAX_PARTS);
    layout->regs[layout->reg_count++] =
        (LayoutPart){.dim = dim, .extent = extent, .stride = stride};
}

static bool is_pow2(int n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

/* Threads given to `n` items when `spare` are free: all that are useful; a smaller power of two
 * when it divides n. */
static int threads_for(int n, int spare)
{
    int threads = 1;
    while (threads < n && threads < spare)
        threads *= 2;
    for (int smaller = threads, tries = 0; tries < 3 && smaller >= 1; tries++, smaller /= 2)
        if (n % smaller == 0)
            return smaller;
    return threads;
}

Layout *layout_blocked(Cx *cx, int rank, const int *shape, int threads, int vec)
{
    CHECK(is_pow2(threads) && is_pow2(vec));
    Layout *layout = NEW(cx->arena, Layout);
    int spare = threads;
    for (int d = rank - 1; d >= 0; d--) {
        int run = d == rank - 1 && shape[d] % vec == 0 ? vec : 1;
        int items = shape[d] / run;
        int lanes = threads_for(items, spare);
        add_reg(layout, d, run, 1);
        add_lane(layout, d, lanes, run);
        add_reg(layout, d, (items + lanes - 1) / lanes, run * lanes);
        spare /= lanes;
    }
    add_lane(layout, -1, spare, 0);
    return layout;
}

Layout *layout_fma(Cx *cx, int m, int n, int threads_m, int threads_n, int vec_m, int vec_n)
{
    CHECK(is_pow2(threads_m) && is_pow2(threads_n));
    Layout *layout = NEW(cx->arena, Layout);
    int step_m = threads_m * vec_m, step_n = threads_n * vec_n;
    add_lane(layout, 1, threads_n, vec_n);
    add_lane(layout, 0, threads_m, vec_m);
    add_reg(layout, 1, vec_n, 1);
    add_reg(layout, 1, (n + step_n - 1) / step_n, step_n);
    add_reg(layout, 0, vec_m, 1);
    add_reg(layout, 0, (m + step_m - 1) / step_m, step_m);
    return layout;
}

Layout *layout_mma_c(Cx *cx, int m, int n, int warps_m, int warps_n)
{
    CHECK(m % (16 * warps_m) == 0 && n % (8 * warps_n) == 0);
    Layout *layout = NEW(cx->arena, Layout);
    add_lane(layout, 1, 4, 2);
    add_lane(layout, 0, 8, 1);
    add_lane(layout, 1, warps_n, n / warps_n);
    add_lane(layout, 0, warps_m, m / warps_m);
    add_reg(layout, 1, 2, 1);
    add_reg(layout, 0, 2, 8);
    add_reg(layout, 1, n / warps_n / 8, 8);
    add_reg(layout, 0, m / warps_m / 16, 16);
    return layout;
}

Layout *layout_mma_a(Cx *cx, int m, int k, int warps_m, int warps_n, int atom_k)
{
    CHECK(m % (16 * warps_m) == 0 && k % atom_k == 0);
    Layout *layout = NEW(cx->arena, Layout);
    add_lane(layout, 1, 4, 2);
    add_lane(layout, 0, 8, 1);
    add_lane(layout, -1, warps_n, 0);
    add_lane(layout, 0, warps_m, m / warps_m);
    add_reg(layout, 1, 2, 1);
    add_reg(layout, 0, 2, 8);
    add_reg(layout, 1, k / 8, 8); /* halves of an atom, then atoms: one run */
    add_reg(layout, 0, m / warps_m / 16, 16);
    return layout;
}

Layout *layout_mma_b(Cx *cx, int k, int n, int warps_m, int warps_n, int atom_k)
{
    CHECK(n % (8 * warps_n) == 0 && k % atom_k == 0);
    Layout *layout = NEW(cx->arena, Layout);
    add_lane(layout, 0, 4, 2);
    add_lane(layout, 1, 8, 1);
    add_lane(layout, 1, warps_n, n / warps_n);
    add_lane(layout, -1, warps_m, 0);
    add_reg(layout, 0, 2, 1);
    add_reg(layout, 0, k / 8, 8);
    add_reg(layout, 1, n / warps_n / 8, 8);
    return layout;
}

Layout *layout_rename(Cx *cx, const Layout *from, const int *map)
{
    Layout *layout = NEW(cx->arena, Layout);
    for (int p = 0; p < from->lane_count; p++) {
        LayoutPart part = from->lanes[p];
        int dim = part.dim < 0 ? -1 : map[part.dim];
        add_lane(layout, dim, part.extent, part.stride);
    }
    for (int p = 0; p < from->reg_count; p++) {
        LayoutPart part = from->regs[p];
        if (map[part.dim] >= 0)
            add_reg(layout, map[part.dim], part.extent, part.stride);
    }
    return layout;
}

Layout *layout_slice(Cx *cx, const Layout *from, int dim)
{
    int map[MAX_BOX];
    for (int d = 0; d < MAX_BOX; d++)
        map[d] = d == dim ? -1 : d;
    return layout_rename(cx, from, map);
}

static bool parts_equal(const LayoutPart *a, const LayoutPart *b, int count)
{
    for (int p = 0; p < count; p++)
        if (a[p].dim != b[p].dim || a[p].extent != b[p].extent || a[p].stride != b[p].stride)
            return false;
    return true;
}

bool layout_equal(const Layout *a, const Layout *b)
{
    return a->lane_count == b->lane_count && a->reg_count == b->reg_count &&
           parts_equal(a->lanes, b->lanes, a->lane_count) &&
           parts_equal(a->regs, b->regs, a->reg_count);
}

int layout_threads(const Layout *layout)
{
    int threads = 1;
    for (int p = 0; p < layout->lane_count; p++)
        threads *= layout->lanes[p].extent;
    return threads;
}

int layout_regs(const Layout *layout)
{
    int regs = 1;
    for (int p = 0; p < layout->reg_count; p++)
        regs *= layout->regs[p].extent;
    return regs;
}

void layout_at(const Layout *layout, int rank, int thread, int reg, int *coord)
{
    memset(coord, 0, sizeof *coord * (size_t)rank);
    for (int p = 0; p < layout->lane_count; p++) {
        LayoutPart part = layout->lanes[p];
        if (part.dim >= 0)
            coord[part.dim] += thread % part.extent * part.stride;
        thread /= part.extent;
    }
    for (int p = 0; p < layout->reg_count; p++) {
        LayoutPart part = layout->regs[p];
        coord[part.dim] += reg % part.extent * part.stride;
        reg /= part.extent;
    }
}

bool layout_is_mma_c(const Layout *layout, int m, int n, int *warps_m, int *warps_n)
{
    int threads = layout_threads(layout);
    for (int wn = 1; wn * 32 <= threads && n % (8 * wn) == 0; wn *= 2) {
        int wm = threads / 32 / wn;
        if (wm * wn * 32 != threads || m % (16 * wm) != 0)
            continue;
        Layout want = {.lane_count = 0};
        add_lane(&want, 1, 4, 2);
        add_lane(&want, 0, 8, 1);
        add_lane(&want, 1, wn, n / wn);
        add_lane(&want, 0, wm, m / wm);
        add_reg(&want, 1, 2, 1);
        add_reg(&want, 0, 2, 8);
        add_reg(&want, 1, n / wn / 8, 8);
        add_reg(&want, 0, m / wm / 16, 16);
        if (layout_equal(layout, &want)) {
            *warps_m = wm;
            *warps_n = wn;
            return true;
        }
    }
    return false;
}

const Expr *layout_digit(Cx *cx, const Layout *layout, int part, const Expr *thread)
{
    int below = 1;
    for (int p = 0; p < part; p++)
        below *= layout->lanes[p].extent;
    return expr_modi(cx, expr_divi(cx, thread, below), layout->lanes[part].extent);
}

const Expr *layout_coord(Cx *cx, const Layout *layout, int dim, const Expr *thread,
                         const Expr *const *regs)
{
    const Expr *coord = expr_const(cx, 0);
    for (int p = 0; p < layout->lane_count; p++) {
        LayoutPart part = layout->lanes[p];
        if (part.dim == dim)
            coord = expr_add(cx, coord,
                             expr_muli(cx, layout_digit(cx, layout, p, thread), part.stride));
    }
    for (int p = 0; p < layout->reg_count; p++) {
        LayoutPart part = layout->regs[p];
        if (part.dim == dim)
            coord = expr_add(cx, coord, expr_muli(cx, regs[p], part.stride));
    }
    return coord;
}

bool layout_verify(Cx *cx, const Layout *layout, int rank, const int *shape, int threads)
{
    int64_t size = 1;
    for (int d = 0; d < rank; d++)
        size *= shape[d];
    for (int p = 0; p < layout->lane_count; p++)
        if (layout->lanes[p].dim >= rank || !is_pow2(layout->lanes[p].extent))
            return cx_fail(cx, ST_internal, "layout: bad lane part %d", p), false;
    for (int p = 0; p < layout->reg_count; p++)
        if (layout->regs[p].dim < 0 || layout->regs[p].dim >= rank || layout->regs[p].extent < 1)
            return cx_fail(cx, ST_internal, "layout: bad register part %d", p), false;
    if (layout_threads(layout) != threads || layout_regs(layout) > 4096)
        return cx_fail(cx, ST_internal, "layout: %d threads, %d registers for %d threads",
                       layout_threads(layout), layout_regs(layout), threads),
               false;
    ArenaMark mark = arena_mark(cx->arena);
    char *held = arena_array(cx->arena, (size_t)size, 1);
    int64_t missing = size;
    for (int t = 0; t < threads; t++)
        for (int r = 0; r < layout_regs(layout); r++) {
            int coord[MAX_BOX];
            layout_at(layout, rank, t, r, coord);
            int64_t at = 0;
            bool inside = true;
            for (int d = 0; d < rank; d++) {
                inside = inside && coord[d] < shape[d];
                at = at * shape[d] + coord[d];
            }
            if (inside && !held[at]) {
                held[at] = 1;
                missing--;
            }
        }
    arena_reset(cx->arena, mark);
    if (missing > 0)
        cx_fail(cx, ST_internal, "layout: %lld elements are held by no thread", (long long)missing);
    return missing == 0;
}
