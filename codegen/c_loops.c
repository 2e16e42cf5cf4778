/* Operations as loops of one thread: what CPUs run.
 *
 * A bound ends its loop early when it depends on outer coordinates only, else it is tested inside.
 * An mma keeps a row of b in a local array; with a dialect that has vectors its full boxes go
 * through accumulators held in vector variables, loaded before and stored after the loop over r. */
#include "codegen/c_impl.h"

static bool uses_coord_from(const Box *box, const Expr *e, int from)
{
    for (int d = from; d < box->rank; d++)
        if (expr_uses(e, box->coord[d]))
            return true;
    return false;
}

/* Text of the loop's end: the extent, or the smaller of it and the bound. */
static const char *loop_end(CPrint *cp, const Box *box, int dim)
{
    const Expr *bound = box->bound[dim], *extent = expr_const(cp->cx, box->shape[dim]);
    if (!bound || expr_always_le(cp->cx, extent, bound) || uses_coord_from(box, bound, dim))
        return arena_printf(cp->cx->arena, "%d", box->shape[dim]);
    return arena_printf(cp->cx->arena, "(i32)%s", c_expr(cp, expr_min(cp->cx, bound, extent)));
}

static void open_loop(CPrint *cp, const Box *box, int dim, const char *end)
{
    const char *name = c_name(cp, box->coord[dim], "c", false);
    c_open(cp, "for (i32 %s = 0; %s < %s; %s++) ", name, name, end, name);
}

static void close_loops(CPrint *cp, int count)
{
    for (int i = 0; i < count; i++)
        c_close(cp);
}

/* Bounds that loops did not take, as a condition; NULL when there are none. */
static const char *inner_bounds(CPrint *cp, const Box *box, bool all)
{
    Guard guards[MAX_BOX];
    int count = 0;
    for (int d = 0; d < box->rank; d++)
        if (box->bound[d] && (all || uses_coord_from(box, box->bound[d], d)))
            guards[count++] = (Guard){box->coord[d], expr_const(cp->cx, 0), box->bound[d]};
    return c_guards(cp, guards, count);
}

static void put_map(CPrint *cp, const TileOp *op)
{
    const Box *box = &op->box;
    bool copy = op->kind == TO_copy; /* outside the bounds a copy writes fill */
    for (int d = 0; d < box->rank; d++) {
        const char *end =
            copy ? arena_printf(cp->cx->arena, "%d", box->shape[d]) : loop_end(cp, box, d);
        if (d == box->rank - 1 && cp->dialect->independent)
            c_line(cp, "%s", cp->dialect->independent);
        open_loop(cp, box, d, end);
    }
    const char *inside = inner_bounds(cp, box, copy);
    if (copy)
        cp->load_if = inside;
    else if (inside)
        c_open(cp, "if (%s) ", inside);
    c_values(cp, op, NULL);
    c_stores(cp, op);
    if (!copy && inside)
        c_close(cp);
    cp->load_if = NULL;
    close_loops(cp, box->rank);
}

/* dst[.., 0, ..] = combination of src[.., l, ..]; 16 partial results, so that the loop is one of
 * vectors. */
static void put_fold(CPrint *cp, const TileOp *op, const char *src, const char *dst, int64_t stride)
{
    enum { WIDTH = 16 };
    Dtype dtype = dtype_compute(op->src->dtype);
    int extent = op->src->shape[op->dim], width = extent >= 2 * WIDTH ? WIDTH : 1;
    const char *type = c_type(dtype);
    const char *combined = c_scalar(cp, monoid_combine(op->monoid), dtype, "p[l]", "e", "");
    const char *element =
        c_load_text(cp, op->src->dtype, c_tile_name(cp, op->src),
                    arena_printf(cp->cx->arena, "%s + (k + l)*%lld", src, (long long)stride));
    c_line(cp, "%s p[%d];", type, width);
    c_line(cp, "for (i32 l = 0; l < %d; l++)", width);
    c_line(cp, "    p[l] = %s;", c_const(cp, dtype, monoid_identity(op->monoid, dtype)));
    c_open(cp, "for (i32 k = 0; k < %d; k += %d) ", extent / width * width, width);
    c_open(cp, "for (i32 l = 0; l < %d; l++) ", width);
    c_line(cp, "%s e = %s;", type, element);
    c_line(cp, "p[l] = %s;", combined);
    close_loops(cp, 2);
    if (extent % width) {
        c_open(cp, "for (i32 l = 0, k = %d; l < %d; l++) ", extent / width * width, extent % width);
        c_line(cp, "%s e = %s;", type, element);
        c_line(cp, "p[l] = %s;", combined);
        c_close(cp);
    }
    for (int half = width / 2; half >= 1; half /= 2) {
        c_open(cp, "for (i32 l = 0; l < %d; l++) ", half);
        c_line(cp, "%s e = p[l + %d];", type, half);
        c_line(cp, "p[l] = %s;", combined);
        c_close(cp);
    }
    c_line(cp, "%s", c_store_text(cp, op->dst->dtype, c_tile_name(cp, op->dst), dst, "p[0]", true));
}

static void put_reduce(CPrint *cp, const TileOp *op)
{
    Text src, dst;
    int loops = 0;
    text_init(&src, cp->cx->arena);
    text_init(&dst, cp->cx->arena);
    for (int d = 0; d < op->src->rank; d++) {
        if (d == op->dim)
            continue;
        c_open(cp, "for (i32 i%d = 0; i%d < %d; i%d++) ", d, d, op->src->shape[d], d);
        text_add(&src, "%si%d*%lld", loops ? " + " : "", d, (long long)c_row_stride(op->src, d));
        text_add(&dst, "%si%d*%lld", loops ? " + " : "", d, (long long)c_row_stride(op->dst, d));
        loops++;
    }
    if (loops == 0) {
        text_add(&src, "0");
        text_add(&dst, "0");
        c_open(cp, " ");
    }
    int64_t stride = c_row_stride(op->src, op->dim);
    put_fold(cp, op, src.data, dst.data, stride);
    close_loops(cp, loops ? loops : 1);
}

/* The general mma: a row of b, then one row of the result after the other. */
static void put_mma_loops(CPrint *cp, const TileOp *op)
{
    const Box *box = &op->box;
    Dtype dtype = dtype_compute(op->dst->dtype);
    const char *type = c_type(dtype);
    uint32_t scope = cp->name_count;
    const char *end_j = loop_end(cp, box, 1), *end_i = loop_end(cp, box, 0);
    open_loop(cp, box, 2, loop_end(cp, box, 2));
    c_line(cp, "%s row[%d];", type, box->shape[1]);
    open_loop(cp, box, 1, end_j);
    c_values(cp, op, op->b);
    c_line(cp, "row[%s] = v%u;", c_expr(cp, box->coord[1]), (unsigned)op->b->id);
    c_close(cp);
    open_loop(cp, box, 0, end_i);
    c_values(cp, op, op->a);
    if (cp->dialect->independent)
        c_line(cp, "%s", cp->dialect->independent);
    c_open(cp, "for (i32 j = 0; j < %s; j++) ", end_j);
    const char *at = arena_printf(cp->cx->arena, "%s[%s*%d + j]", c_tile_name(cp, op->dst),
                                  c_expr(cp, box->coord[0]), op->dst->shape[1]);
    const char *a = arena_printf(cp->cx->arena, "v%u", (unsigned)op->a->id);
    const char *sum = dtype_is_float(dtype)
                          ? c_scalar(cp, S_fma, dtype, a, "row[j]", at)
                          : c_scalar(cp, S_add, dtype, at,
                                     arena_printf(cp->cx->arena, "(%s)",
                                                  c_scalar(cp, S_mul, dtype, a, "row[j]", "")),
                                     "");
    c_line(cp, "%s = %s;", at, sum);
    close_loops(cp, 3);
    cp->name_count = scope;
}

/* Where a row of b starts in memory when a vector of it can be loaded at once; NULL otherwise. */
static const char *row_of_b(CPrint *cp, const TileOp *op)
{
    const Value *b = op->b;
    int64_t coef;
    const Expr *rest;
    if (b->op != V_load || b->access->guard_count)
        return NULL;
    Dtype dtype = b->access->buffer ? b->access->buffer->dtype : b->access->tile->dtype;
    const Expr *j = op->box.coord[1];
    if (dtype != op->dst->dtype || !expr_linear(cp->cx, c_offset(cp, b->access), j, &coef, &rest) ||
        coef != 1)
        return NULL;
    return arena_printf(cp->cx->arena, "%s + %s", c_base(cp, b->access), c_expr(cp, rest));
}

static void put_b_vectors(CPrint *cp, const TileOp *op, const char *type, int lanes)
{
    const Box *box = &op->box;
    const char *row = row_of_b(cp, op);
    if (!row) {
        row = "row";
        c_line(cp, "%s row[%d];", c_type(op->dst->dtype), box->shape[1]);
        open_loop(cp, box, 1, arena_printf(cp->cx->arena, "%d", box->shape[1]));
        c_values(cp, op, op->b);
        c_line(cp, "row[%s] = v%u;", c_expr(cp, box->coord[1]), (unsigned)op->b->id);
        c_close(cp);
    }
    for (int v = 0; v < box->shape[1] / lanes; v++)
        c_line(cp, "q_vec_%s y%d = q_vload_%s(%s + %d);", type, v, type, row, v * lanes);
}

/* A full box with the accumulators in vector variables. */
static void put_mma_vectors(CPrint *cp, const TileOp *op, int lanes)
{
    const Box *box = &op->box;
    const char *type = dtype_name(op->dst->dtype), *tile = c_tile_name(cp, op->dst);
    int rows = box->shape[0], vectors = box->shape[1] / lanes;
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            c_line(cp, "q_vec_%s z%d_%d = q_vload_%s(%s + %d);", type, i, v, type, tile,
                   i * op->dst->shape[1] + v * lanes);
    open_loop(cp, box, 2, loop_end(cp, box, 2));
    put_b_vectors(cp, op, type, lanes);
    cp->coord[1] = expr_const(cp->cx, 0);
    cp->coord[2] = box->coord[2];
    for (int i = 0; i < rows; i++) {
        cp->coord[0] = expr_const(cp->cx, i);
        c_open(cp, "%s", "");
        c_values(cp, op, op->a);
        c_line(cp, "q_vec_%s x = (q_vec_%s)v%u;", type, type, (unsigned)op->a->id);
        for (int v = 0; v < vectors; v++)
            c_line(cp, "z%d_%d = q_fma_%s(x, y%d, z%d_%d);", i, v, type, v, i, v);
        c_close(cp);
    }
    cp->coord[0] = NULL;
    c_close(cp);
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            c_line(cp, "q_vstore_%s(z%d_%d, %s + %d);", type, i, v, tile,
                   i * op->dst->shape[1] + v * lanes);
}

static void put_mma(CPrint *cp, const TileOp *op)
{
    const Box *box = &op->box;
    int lanes = cp->prog->caps->vector_bits / dtype_bits(op->dst->dtype);
    bool vectors = cp->dialect->vectors && dtype_is_float(op->dst->dtype) && lanes > 1 &&
                   box->shape[1] % lanes == 0;
    const char *full = NULL;
    for (int d = 0; d < 2; d++)
        if (box->bound[d] &&
            !expr_always_le(cp->cx, expr_const(cp->cx, box->shape[d]), box->bound[d]))
            full = arena_printf(cp->cx->arena, "%s%s%s >= %d", full ? full : "", full ? " && " : "",
                                c_expr(cp, box->bound[d]), box->shape[d]);
    uint32_t scope = cp->name_count;
    if (vectors) {
        c_open(cp, "%s%s%s", full ? "if (" : "", full ? full : "", full ? ") " : "");
        put_mma_vectors(cp, op, lanes);
        c_close(cp);
        cp->name_count = scope;
    }
    if (vectors && full)
        c_open(cp, "else ");
    if (!vectors || full)
        put_mma_loops(cp, op);
    if (vectors && full)
        c_close(cp);
}

void c_cpu_op(CPrint *cp, const TileOp *op)
{
    uint32_t scope = cp->name_count;
    cp->box = &op->box;
    cp->slot = op->slot;
    switch (op->kind) {
    case TO_map:
    case TO_copy: put_map(cp, op); break;
    case TO_mma: put_mma(cp, op); break;
    case TO_reduce: put_reduce(cp, op); break;
    case TO_prefetch: break; /* a hint */
    case TO_convert:
    case TO_barrier:
    case TO_commit:
    case TO_wait:
    case TO_for:
    case TO_if:
        cx_fail(cp->cx, ST_internal, "c_print: operation %d on a CPU", (int)op->kind);
        break;
    }
    cp->name_count = scope;
    cp->box = NULL;
    cp->slot = NULL;
}
