/* reduce on a GPU, one routine for every layout: over the registers of the dim, then over the lane
 * parts of the dim, by shuffles inside a warp where the dialect has them, else through shared
 * memory. Replicas combine the same elements in the same order up to commutation, so their results
 * have equal bits. */
#include "codegen/c_impl.h"

static void put_combine(CPrint *cp, const TileOp *op, const char *value)
{
    Dtype dtype = dtype_compute(op->src->dtype);
    c_line(cp, "acc = %s;", c_scalar(cp, monoid_combine(op->monoid), dtype, "acc", value, ""));
}

static const Expr *register_at(CPrint *cp, const Layout *layout)
{
    const Expr *at = expr_const(cp->cx, 0);
    int64_t below = 1;
    for (int p = 0; p < layout->reg_count; p++) {
        at = expr_add(cp->cx, at, expr_muli(cp->cx, cp->digits[p], below));
        below *= layout->regs[p].extent;
    }
    return at;
}

/* acc of this thread: the registers along the dim. */
static void put_registers(CPrint *cp, const TileOp *op)
{
    const Tile *src = op->src;
    const Layout *layout = src->layout;
    Dtype dtype = dtype_compute(src->dtype);
    int opened = 0;
    c_line(cp, "%s acc = %s;", c_type(dtype),
           c_const(cp, dtype, monoid_identity(op->monoid, dtype)));
    for (int p = layout->reg_count - 1; p >= 0; p--)
        if (layout->regs[p].dim == op->dim)
            cp->digits[p] = c_unrolled(cp, layout->regs[p].extent, &opened);
    const Expr *coord = layout_coord(cp->cx, layout, op->dim, cp->tid, cp->digits);
    Guard guard = {coord, expr_const(cp->cx, 0), expr_const(cp->cx, src->shape[op->dim])};
    const char *inside = c_guards(cp, &guard, 1);
    c_open(cp, "%s%s%s", inside ? "if (" : "", inside ? inside : "", inside ? ") " : "");
    c_line(cp, "%s e = %s;", c_type(dtype),
           c_load_text(cp, src->dtype, c_tile_name(cp, src), c_expr(cp, register_at(cp, layout))));
    put_combine(cp, op, "e");
    for (int i = 0; i < opened + 1; i++)
        c_close(cp);
}

static void put_shuffles(CPrint *cp, const TileOp *op, int below, int extent)
{
    Dtype dtype = dtype_compute(op->src->dtype);
    const char *name = dtype_name(dtype == DT_bool ? DT_i32 : dtype);
    for (int mask = below; mask < below * extent; mask *= 2) {
        c_open(cp, "%s", "");
        c_line(cp, "%s e = q_shuffle_%s(acc, %d);", c_type(dtype), name, mask);
        put_combine(cp, op, "e");
        c_close(cp);
    }
}

/* The parts in `shared` (a mask) through memory: every thread writes, then folds its group in
 * ascending order. */
static void put_shared(CPrint *cp, const TileOp *op, unsigned shared, const int *below)
{
    const Layout *layout = op->src->layout;
    const char *type = c_type(op->src->dtype);
    const CSubst with[] = {
        {'n', "scr"},
        {'T', type},
        {'o', arena_printf(cp->cx->arena, "%lld", (long long)c_shared_offset(cp->grid, NULL))}};
    c_line(cp, "%s", c_fill(cp, cp->dialect->shared_tile, with, 3));
    c_line(cp, "%s", cp->dialect->barrier);
    c_line(cp, "scr[tid] = acc;");
    c_line(cp, "%s", cp->dialect->barrier);
    Text at;
    text_init(&at, cp->cx->arena);
    text_add(&at, "tid");
    for (int p = 0; p < layout->lane_count; p++)
        if (shared >> p & 1)
            text_add(&at, " - tid / %d %% %d * %d", below[p], layout->lanes[p].extent, below[p]);
    c_line(cp, "const i32 group = %s;", at.data);
    c_line(cp, "acc = scr[group];");
    int loops = 0;
    text_init(&at, cp->cx->arena);
    text_add(&at, "group");
    for (int p = layout->lane_count - 1; p >= 0; p--)
        if (shared >> p & 1) {
            c_open(cp, "for (i32 j%d = 0; j%d < %d; j%d++) ", p, p, layout->lanes[p].extent, p);
            text_add(&at, " + j%d*%d", p, below[p]);
            loops++;
        }
    c_line(cp, "const i32 other = %s;", at.data);
    c_open(cp, "if (other != group) ");
    c_line(cp, "%s e = scr[other];", type);
    put_combine(cp, op, "e");
    for (int i = 0; i < loops + 1; i++)
        c_close(cp);
}

static void put_lanes(CPrint *cp, const TileOp *op)
{
    const Layout *layout = op->src->layout;
    int below[MAX_PARTS], threads = 1;
    unsigned shared = 0;
    for (int p = 0; p < layout->lane_count; p++) {
        LayoutPart part = layout->lanes[p];
        below[p] = threads;
        threads *= part.extent;
        if (part.dim != op->dim)
            continue;
        if (cp->dialect->shuffles && threads <= 32 && cp->grid->threads >= 32)
            put_shuffles(cp, op, below[p], part.extent);
        else
            shared |= 1u << p;
    }
    if (shared)
        put_shared(cp, op, shared, below);
}

void c_gpu_reduce(CPrint *cp, const TileOp *op)
{
    const Layout *layout = op->src->layout;
    if (!layout || !op->dst->layout ||
        !layout_equal(op->dst->layout, layout_slice(cp->cx, layout, op->dim))) {
        cx_fail(cp->cx, ST_internal, "c_print: reduce %s <- %s: the layout is not the slice",
                op->dst->name, op->src->name);
        return;
    }
    int opened = 0;
    int64_t below = 1;
    const Expr *to = expr_const(cp->cx, 0);
    for (int p = 0; p < layout->reg_count; p++) {
        if (layout->regs[p].dim == op->dim)
            continue;
        cp->digits[p] = c_unrolled(cp, layout->regs[p].extent, &opened);
        to = expr_add(cp->cx, to, expr_muli(cp->cx, cp->digits[p], below));
        below *= layout->regs[p].extent;
    }
    put_registers(cp, op);
    put_lanes(cp, op);
    c_line(cp, "%s",
           c_store_text(cp, op->dst->dtype, c_tile_name(cp, op->dst), c_expr(cp, to), "acc", true));
    for (int i = 0; i < opened; i++)
        c_close(cp);
}
