/* Register tiles: SSA vectors along the last dim; reads, writes and reductions of them.
 *
 * A read or write that runs along a row of vectors is the vector itself; anything else (a column, a
 * broadcast of one element) goes lane by lane. */
#include "codegen/llvm_emit.h"

RegTile *tile_find(Emit *e, const Tile *tile)
{
    for (uint32_t i = 0; i < e->tile_count; i++)
        if (e->tiles[i].tile == tile)
            return &e->tiles[i];
    BUG("kernel %s: tile %s belongs to another grid", e->prog->name, tile->name);
}

int chunk_width(const Emit *e, int columns, int start)
{
    int left = columns - start, width = 1;
    while (width < left && width < e->lanes)
        width *= 2;
    return width;
}

/* An index of a register tile. Clamped rows of an mma are for memory only. */
static const Expr *tile_index_at(Emit *e, const Point *p, const Expr *x)
{
    Point plain = *p;
    if (p->row)
        plain.with[0] = p->row;
    return point_subst(e, &plain, x);
}

/* Where lane `lane` of the point finds its element: false when that is not known at compile time.
 */
static bool locate(Emit *e, Point *p, const Access *access, const RegTile *t, int lane,
                   int64_t *row, int64_t *column)
{
    *row = *column = 0;
    for (int d = 0; d < access->rank; d++) {
        const Expr *x = tile_index_at(e, p, access->index[d]);
        if (p->lane) {
            const Expr *at = expr_const(e->cx, lane);
            x = expr_subst(e->cx, x, &p->lane, &at, 1);
        }
        if (x->kind != EX_const || x->value < 0 || x->value >= t->tile->shape[d])
            return false;
        if (d == access->rank - 1)
            *column = x->value;
        else
            *row = *row * t->tile->shape[d] + x->value;
    }
    return true;
}

static Ref *part_at(Emit *e, const RegTile *t, int64_t row, int64_t column)
{
    return &e->parts[t->first + (uint32_t)(row * t->chunks + column / e->lanes)];
}

static Ref element(Emit *e, const RegTile *t, int64_t row, int64_t column)
{
    int start = (int)(column / e->lanes * e->lanes);
    return lane_of(e, *part_at(e, t, row, column), (int)column - start,
                   chunk_width(e, t->columns, start));
}

typedef enum Run { RUN_splat, RUN_row, RUN_other } Run;

/* How the lanes of a point meet the tile; row and column are of lane 0. */
static Run run_of(Emit *e, Point *p, const Access *access, const RegTile *t, int64_t *row,
                  int64_t *column)
{
    if (!locate(e, p, access, t, 0, row, column))
        emit_fail(e, ST_internal,
                  "kernel %s: tile %s is indexed by something else than coordinates", e->prog->name,
                  t->tile->name);
    if (!p->lane)
        return RUN_splat;
    bool moves = false;
    for (int d = 0; d < access->rank; d++) {
        int64_t coef = 0;
        const Expr *rest, *x = tile_index_at(e, p, access->index[d]);
        if (!expr_linear(e->cx, x, p->lane, &coef, &rest) ||
            (coef != 0 && (d != access->rank - 1 || coef != 1)))
            return RUN_other;
        moves |= coef != 0;
    }
    if (!moves)
        return RUN_splat;
    return *column % e->lanes == 0 && chunk_width(e, t->columns, (int)*column) == p->width
               ? RUN_row
               : RUN_other;
}

static int active_lanes(Emit *e, Point *p, const Access *access, const RegTile *t)
{
    int64_t row, column;
    int n = 0;
    while (n < p->width && locate(e, p, access, t, n, &row, &column))
        n++;
    return n;
}

Val tile_get(Emit *e, Point *p, const Access *access)
{
    RegTile *t = tile_find(e, access->tile);
    int64_t row, column;
    switch (run_of(e, p, access, t, &row, &column)) {
    case RUN_splat: return (Val){element(e, t, row, column), false};
    case RUN_row: return (Val){*part_at(e, t, row, column), true};
    case RUN_other: break;
    }
    int n = active_lanes(e, p, access, t);
    Ref v = LLVMConstNull(vec(compute_type(e, t->tile->dtype), p->width));
    for (int i = 0; i < n; i++) {
        locate(e, p, access, t, i, &row, &column);
        v = LLVMBuildInsertElement(e->b, v, element(e, t, row, column),
                                   LLVMConstInt(e->i32, (unsigned long long)i, false), "");
    }
    return (Val){v, true};
}

static void put_element(Emit *e, const RegTile *t, int64_t row, int64_t column, Ref v)
{
    int start = (int)(column / e->lanes * e->lanes);
    Ref *part = part_at(e, t, row, column);
    if (chunk_width(e, t->columns, start) == 1)
        *part = v;
    else
        *part = LLVMBuildInsertElement(
            e->b, *part, v, LLVMConstInt(e->i32, (unsigned long long)(column - start), false), "");
}

void tile_put(Emit *e, Point *p, const Access *access, Val value)
{
    RegTile *t = tile_find(e, access->tile);
    int64_t row, column;
    Run run = run_of(e, p, access, t, &row, &column);
    if (run == RUN_row) {
        Ref *part = part_at(e, t, row, column), v = point_vector(e, p, value);
        *part = p->mask ? LLVMBuildSelect(e->b, p->mask, v, *part, "") : v;
        return;
    }
    int n = p->lane ? active_lanes(e, p, access, t) : 1;
    for (int i = 0; i < n; i++) {
        Ref v = value.lanes ? lane_of(e, value.v, i, p->width) : value.v;
        locate(e, p, access, t, i, &row, &column);
        if (p->mask)
            v = LLVMBuildSelect(e->b, lane_of(e, p->mask, i, p->width), v,
                                element(e, t, row, column), "");
        put_element(e, t, row, column, v);
    }
}

static Ref combine(Emit *e, const TileOp *op, Ref a, Ref b, int width)
{
    return emit_scalar(e, monoid_combine(op->monoid), op->src->dtype, (Ref[]){a, b, NULL}, width);
}

/* A balanced tree over neighbours, in place. */
static Ref combine_tree(Emit *e, const TileOp *op, Ref *list, int count, int width)
{
    for (int gap = 1; gap < count; gap *= 2)
        for (int i = 0; i + gap < count; i += 2 * gap)
            list[i] = combine(e, op, list[i], list[i + gap], width);
    return list[0];
}

static Ref upper_half(Emit *e, Ref v, int width, int half)
{
    Ref lanes[MAX_LANES];
    for (int i = 0; i < half; i++)
        lanes[i] = LLVMConstInt(e->i32, (unsigned long long)(half + i), false);
    (void)width;
    return LLVMBuildShuffleVector(
        e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
        half == 1 ? LLVMConstVector(lanes, 1) : LLVMConstVector(lanes, (unsigned)half), "");
}

static Ref lower_half(Emit *e, Ref v, int half)
{
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  const_iota(e, e->i32, half), "");
}

/* Lanes to one: halves onto each other, always in the same order. */
static Ref combine_lanes(Emit *e, const TileOp *op, Ref v, int width)
{
    while (width > 2) {
        int half = width / 2;
        v = combine(e, op, lower_half(e, v, half), upper_half(e, v, width, half), half);
        width = half;
    }
    return width == 1 ? v : combine(e, op, lane_of(e, v, 0, 2), lane_of(e, v, 1, 2), 1);
}

static Ref reduce_row(Emit *e, const TileOp *op, const RegTile *s, int64_t row)
{
    Ref *list = NEW_ARRAY(e->arena, Ref, s->chunks);
    int full = s->columns / e->lanes, count = 0;
    Scalar identity = monoid_identity(op->monoid, op->src->dtype);
    for (int c = 0; c < full; c++)
        list[count++] = *part_at(e, s, row, (int64_t)c * e->lanes);
    int start = full * e->lanes, left = s->columns - start;
    Ref tail = NULL;
    int width = left ? chunk_width(e, s->columns, start) : 0;
    if (left) {
        tail = *part_at(e, s, row, start);
        if (left < width)
            tail = LLVMBuildSelect(e->b, const_mask(e, left, width), tail,
                                   splat(e, emit_const(e, op->src->dtype, identity), width), "");
        if (width == e->lanes)
            list[count++] = tail;
    }
    Ref all =
        count ? combine_lanes(e, op, combine_tree(e, op, list, count, e->lanes), e->lanes) : NULL;
    if (!left || width == e->lanes)
        return all;
    tail = combine_lanes(e, op, tail, width);
    return all ? combine(e, op, all, tail, 1) : tail;
}

void emit_reduce(Emit *e, const TileOp *op)
{
    RegTile *s = tile_find(e, op->src), *d = tile_find(e, op->dst);
    const Tile *from = op->src;
    if (op->monoid == M_argmin || op->monoid == M_argmax)
        emit_fail(e, ST_unsupported, "kernel %s: reduce %s of a tile", e->prog->name,
                  monoid_name(op->monoid));
    if (op->dim == from->rank - 1) {
        for (int row = 0; row < s->rows; row++)
            put_element(e, d, row, 0, reduce_row(e, op, s, row));
        return;
    }
    int inner = 1, extent = from->shape[op->dim];
    for (int k = op->dim + 1; k < from->rank - 1; k++)
        inner *= from->shape[k];
    Ref *list = NEW_ARRAY(e->arena, Ref, extent);
    for (int row = 0; row < s->rows / extent; row++) {
        for (int c = 0; c < s->chunks; c++) {
            for (int k = 0; k < extent; k++)
                list[k] =
                    *part_at(e, s, ((int64_t)(row / inner) * extent + k) * inner + row % inner,
                             (int64_t)c * e->lanes);
            int width = chunk_width(e, s->columns, c * e->lanes);
            *part_at(e, d, row, (int64_t)c * e->lanes) = combine_tree(e, op, list, extent, width);
        }
    }
}
