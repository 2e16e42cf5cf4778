/* Operations of placed programs, printed for one thread of a block.
 *
 * A map runs over the registers of a layout: its `by`, else that of the register tile that covers
 * most of its box; box dims that no part covers become further registers. Coordinates are
 * expressions of the thread number and of the digits of unrolled loops. Runs of neighbouring
 * registers are one access where c_vector.c can prove it. */
#include "codegen/c_impl.h"

const Expr *c_counter(CPrint *cp, const char *prefix, int extent)
{
    const Expr *sym = expr_sym(cp->cx, prefix, 0, extent - 1, 1);
    c_name(cp, sym, prefix, false);
    return sym;
}

const Expr *c_unrolled(CPrint *cp, int extent, int *opened)
{
    if (extent == 1)
        return expr_const(cp->cx, 0);
    const Expr *digit = c_counter(cp, "r", extent);
    const char *name = cp->names[cp->name_count - 1].text;
    c_line(cp, "%s", cp->dialect->unroll);
    c_open(cp, "for (i32 %s = 0; %s < %d; %s++) ", name, name, extent, name);
    ++*opened;
    return digit;
}

/* Condition of what follows: coordinates inside the box (`bounds`: and its bounds), NULL when
 * always. */
static const char *box_condition(CPrint *cp, bool bounds, bool overshoot)
{
    const Box *box = cp->box;
    const Expr *zero = expr_const(cp->cx, 0);
    Guard guards[2 * MAX_BOX];
    int count = 0;
    for (int d = 0; d < box->rank; d++) {
        const Expr *extent = expr_const(cp->cx, box->shape[d]);
        if (overshoot)
            guards[count++] = (Guard){box->coord[d], zero, extent};
        if (bounds && box->bound[d])
            guards[count++] = (Guard){box->coord[d], zero, box->bound[d]};
    }
    return c_guards(cp, guards, count);
}

/* Condition that this thread is the first of those that hold the same elements, NULL when always.
 */
static const char *first_holder(CPrint *cp, const Layout *layout)
{
    Guard guards[MAX_PARTS];
    int count = 0;
    for (int p = 0; p < layout->lane_count; p++)
        if (layout->lanes[p].dim < 0)
            guards[count++] = (Guard){layout_digit(cp->cx, layout, p, cp->tid),
                                      expr_const(cp->cx, 0), expr_const(cp->cx, 1)};
    return c_guards(cp, guards, count);
}

/* The layout of a register tile's access as a layout of the box. */
static Layout *access_layout(CPrint *cp, const Box *box, const Access *access)
{
    int map[MAX_BOX];
    for (int k = 0; k < access->rank; k++) {
        map[k] = -1;
        for (int d = 0; d < box->rank; d++)
            if (access->index[k] == box->coord[d])
                map[k] = d;
    }
    if (!access->tile->layout) {
        cx_fail(cp->cx, ST_internal, "c_print: tile %s has no layout", access->tile->name);
        return NEW(cp->cx->arena, Layout);
    }
    return layout_rename(cp->cx, access->tile->layout, map);
}

/* Points of the box a layout tells apart. */
static int64_t covered(const Layout *layout)
{
    int64_t points = layout_regs(layout);
    for (int p = 0; p < layout->lane_count; p++)
        points *= layout->lanes[p].dim >= 0 ? layout->lanes[p].extent : 1;
    return points;
}

static const Layout *op_layout(CPrint *cp, const TileOp *op)
{
    const Layout *best = op->by;
    for (uint32_t i = 0; !op->by && i < op->value_count + op->store_count; i++) {
        bool is_value = i < op->value_count;
        const Access *access =
            is_value ? op->values[i]->access : op->stores[i - op->value_count].access;
        if (!access || !access->tile || access->tile->scope != TS_register)
            continue;
        const Layout *layout = access_layout(cp, &op->box, access);
        if (!best || covered(layout) > covered(best))
            best = layout;
    }
    if (!best)
        best = layout_blocked(cp->cx, op->box.rank, op->box.shape, cp->grid->threads, 1);
    Layout *whole = arena_copy(cp->cx->arena, best, sizeof *best);
    for (int d = 0; d < op->box.rank; d++) {
        bool has = op->box.shape[d] == 1;
        for (int p = 0; p < whole->lane_count; p++)
            has = has || whole->lanes[p].dim == d;
        for (int p = 0; p < whole->reg_count; p++)
            has = has || whole->regs[p].dim == d;
        if (!has && whole->reg_count < MAX_PARTS)
            whole->regs[whole->reg_count++] = (LayoutPart){d, op->box.shape[d], 1};
    }
    return whole;
}

void c_set_coords(CPrint *cp)
{
    for (int d = 0; d < cp->box->rank; d++)
        cp->coord[d] = layout_coord(cp->cx, cp->layout, d, cp->tid, cp->digits);
}

static void put_point(CPrint *cp, const TileOp *op)
{
    bool copy = op->kind == TO_copy; /* outside its bounds a copy writes fill */
    const char *inside = box_condition(cp, !copy, true);
    if (inside)
        c_open(cp, "if (%s) ", inside);
    cp->load_if = copy ? box_condition(cp, true, false) : NULL;
    c_values(cp, op, NULL);
    c_stores(cp, op);
    cp->load_if = NULL;
    if (inside)
        c_close(cp);
}

static void put_map(CPrint *cp, const TileOp *op)
{
    const Layout *layout = op_layout(cp, op);
    int opened = 0;
    cp->layout = layout;
    cp->store_if = first_holder(cp, layout);
    int from = c_vector_width(cp, op) > 1 ? 1 : 0;
    for (int p = layout->reg_count - 1; p >= from; p--)
        cp->digits[p] = c_unrolled(cp, layout->regs[p].extent, &opened);
    if (from) {
        c_vector_point(cp, op);
    } else {
        c_set_coords(cp);
        put_point(cp, op);
    }
    for (int i = 0; i < opened; i++)
        c_close(cp);
    cp->store_if = NULL;
}

/* One side of a convert: registers of `tile` to or from shared memory. */
static void put_transfer(CPrint *cp, const Tile *tile, const Tile *via, bool out)
{
    Cx *cx = cp->cx;
    Box box = {.rank = tile->rank};
    const Expr *index[MAX_BOX];
    int opened = 0;
    for (int d = 0; d < tile->rank; d++) {
        box.shape[d] = tile->shape[d];
        box.coord[d] = index[d] = expr_sym(cx, "c", 0, tile->shape[d] - 1, 1);
    }
    Access reg = {.tile = (Tile *)(uintptr_t)tile, .rank = tile->rank, .index = index};
    Access mem = {.tile = (Tile *)(uintptr_t)via, .rank = tile->rank, .index = index};
    cp->box = &box;
    cp->layout = tile->layout;
    for (int p = tile->layout->reg_count - 1; p >= 0; p--)
        cp->digits[p] = c_unrolled(cp, tile->layout->regs[p].extent, &opened);
    c_set_coords(cp);
    const char *inside = box_condition(cp, false, true);
    const char *from =
        arena_printf(cx->arena, "%s[%s]", c_tile_name(cp, tile), c_tile_element(cp, &reg));
    const char *to = arena_printf(cx->arena, "%s[%s]", c_tile_name(cp, via), c_element(cp, &mem));
    if (inside)
        c_line(cp, "if (%s)", inside);
    c_line(cp, "%s = %s;", out ? to : from, out ? from : to);
    for (int i = 0; i < opened; i++)
        c_close(cp);
}

static void put_convert(CPrint *cp, const TileOp *op)
{
    const Tile *src = op->src, *dst = op->dst, *via = op->via;
    if (!src->layout || !dst->layout || src->dtype != dst->dtype || !via ||
        via->dtype != src->dtype) {
        cx_fail(cp->cx, ST_internal, "c_print: convert %s <- %s", dst->name, src->name);
        return;
    }
    put_transfer(cp, src, via, true);
    c_line(cp, "%s", cp->dialect->barrier);
    put_transfer(cp, dst, via, false);
}

static void put_sync(CPrint *cp, const char *text, int64_t count)
{
    const CSubst with[] = {{'c', arena_printf(cp->cx->arena, "%lld", (long long)count)}};
    if (text)
        c_line(cp, "%s", c_fill(cp, text, with, 1));
    else
        cx_fail(cp->cx, ST_internal, "dialect %s has no asynchronous copies", cp->dialect->name);
}

void c_gpu_op(CPrint *cp, const TileOp *op)
{
    uint32_t scope = cp->name_count;
    cp->box = &op->box;
    cp->slot = op->slot;
    switch (op->kind) {
    case TO_map:
    case TO_copy: put_map(cp, op); break;
    case TO_mma: c_gpu_mma(cp, op); break;
    case TO_reduce: c_gpu_reduce(cp, op); break;
    case TO_convert: put_convert(cp, op); break;
    case TO_prefetch: break; /* a hint */
    case TO_barrier: put_sync(cp, cp->dialect->barrier, 0); break;
    case TO_commit: put_sync(cp, cp->dialect->commit, 0); break;
    case TO_wait: put_sync(cp, cp->dialect->wait, op->count); break;
    case TO_for:
    case TO_if: break; /* c_print.c */
    }
    cp->name_count = scope;
    cp->box = NULL;
    cp->slot = NULL;
    cp->layout = NULL;
    cp->coord[0] = NULL;
}
