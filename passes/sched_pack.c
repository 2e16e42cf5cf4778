/* How contractions store b, the operand that columns run over: in column blocks of one register
 * tile, so that the innermost loop reads it from end to end.
 *
 *   constant          packed at load, by a nest of its own
 *   pack=1            packed in a grid of its own: every block once, each core its share
 *   pack=2            every task packs the column block it works on into a panel in its scratch
 *                     memory, which stays in its L2; worth it when a task takes all rows
 *
 * Layout: [outer axes of b.., column block, k axes.., nr]; a panel is [all k, nr]. */
#include "passes/contraction.h"

#include <string.h>

enum {
    PACK_ROWS = 4,
    PANEL_BYTES = 1 << 19 /* half an L2 */
};

/* Axes of b in packed order: those before the column block, then K with the innermost last. */
static void packed_order(Shape *s)
{
    for (int i = 0; i < s->nest->axis_count; i++)
        if ((s->c.b->axes >> i & 1) && !(s->c.k >> i & 1) && i != s->n_axis)
            s->packed_axes[s->packed_count++] = i;
    s->packed_outer = s->packed_count;
    for (int i = 0; i < s->nest->axis_count; i++)
        if ((s->c.k >> i & 1) && i != s->k_axis)
            s->packed_axes[s->packed_count++] = i;
    s->packed_axes[s->packed_count++] = s->k_axis;
}

/* How far b goes along an axis. A constant's own size, which a symbolic extent only is equal to in a
 * run, is what it is packed by. */
static const Expr *extent_of_b(const Shape *s, int axis)
{
    const Value *load = s->c.b;
    bool constant = load->op == V_load && load->access->buffer->role == BUF_const;
    for (int d = 0; constant && d < load->access->rank; d++)
        if (load->access->index[d] == s->nest->axes[axis].sym)
            return load->access->buffer->shape[d];
    return s->nest->axes[axis].extent;
}

static Buffer *packed_buffer(Shape *s, const Value *load, Dtype dtype, BufferRole role)
{
    Cx *cx = s->cx;
    Buffer *buffer = NEW(cx->arena, Buffer);
    int rank = s->packed_count + 2, at = 0;
    const Expr **shape = NEW_ARRAY(cx->arena, const Expr *, rank);
    for (int i = 0; i < s->packed_count; i++) {
        if (i == s->packed_outer)
            shape[at++] = expr_ceildiv(cx, extent_of_b(s, s->n_axis), expr_const(cx, s->nr));
        shape[at++] = extent_of_b(s, s->packed_axes[i]);
    }
    shape[at] = expr_const(cx, s->nr);
    const Expr **strides = NEW_ARRAY(cx->arena, const Expr *, rank);
    strides[rank - 1] = expr_const(cx, 1);
    for (int d = rank - 2; d >= 0; d--)
        strides[d] = expr_mul(cx, strides[d + 1], shape[d + 1]);
    const char *stem = load->op == V_load ? load->access->buffer->name : "b";
    *buffer = (Buffer){.name = arena_printf(cx->arena, "%s_packed", stem),
                       .dtype = dtype,
                       .role = role,
                       .rank = rank,
                       .shape = shape,
                       .strides = strides,
                       .offset = expr_const(cx, 0),
                       .align = 64};
    return buffer;
}

/* Index of the packed buffer: axes by `axis(i)`, the column block and the column within it. */
static const Expr **packed_index(Shape *s, const Expr *const *axis, const Expr *block,
                                 const Expr *column)
{
    const Expr **index = NEW_ARRAY(s->cx->arena, const Expr *, s->packed_count + 2);
    int at = 0;
    for (int i = 0; i < s->packed_count; i++) {
        if (i == s->packed_outer)
            index[at++] = block;
        index[at++] = axis[s->packed_axes[i]];
    }
    index[at] = column;
    return index;
}

/* --- constants --- */

/* K dims that lie densely in a constant, outer first: dim[i] of the source is K axis axis[i]. */
typedef struct DenseK {
    int count, dim[MAX_RANK], axis[MAX_RANK];
    int64_t points;
} DenseK;

/* Weights [o][c][kh][kw] are contiguous along all K axes together, but hardly along one: a nest
 * that runs over them as one axis reads whole vectors. False when they are not like that. */
static bool find_dense_k(const Shape *s, const Access *from, DenseK *k)
{
    const Buffer *b = from->buffer;
    *k = (DenseK){.points = 1};
    for (int d = 0; d < from->rank; d++) {
        uint64_t axes = expr_axes(s->nest, from->index[d]);
        if (!(axes & s->c.k))
            continue;
        int axis = s->nest->axis_count - 1;
        while (!(axes >> axis & 1))
            axis--;
        if (from->index[d] != s->nest->axes[axis].sym || s->nest->axes[axis].extent != b->shape[d])
            return false;
        int at = k->count++;
        for (; at && b->strides[k->dim[at - 1]]->value < b->strides[d]->value; at--) {
            k->dim[at] = k->dim[at - 1];
            k->axis[at] = k->axis[at - 1];
        }
        k->dim[at] = d;
        k->axis[at] = axis;
    }
    for (int i = k->count - 1; i >= 0; i--) {
        if (!expr_is_const(b->strides[k->dim[i]], k->points))
            return false;
        k->points *= b->shape[k->dim[i]]->value;
    }
    return k->count == s->packed_count - s->packed_outer &&
           b->shape[k->dim[k->count - 1]]->value < s->width;
}

/* The source as the packing nest sees it: dense K dims are one. */
static Access *pack_source(Shape *s, Nest *nest, const Access *from, const DenseK *dense,
                           const Expr *merged)
{
    Cx *cx = s->cx;
    const Buffer *b = from->buffer;
    const Expr **shape = NEW_ARRAY(cx->arena, const Expr *, b->rank + 1);
    const Expr **strides = NEW_ARRAY(cx->arena, const Expr *, b->rank + 1);
    const Expr **index = NEW_ARRAY(cx->arena, const Expr *, b->rank + 1);
    int rank = 0;
    for (int d = 0; d < b->rank; d++) {
        if (merged && (expr_axes(s->nest, from->index[d]) & s->c.k))
            continue;
        shape[rank] = b->shape[d];
        strides[rank] = b->strides[d];
        index[rank++] = from->index[d];
    }
    if (merged) {
        shape[rank] = expr_const(cx, dense->points);
        strides[rank] = expr_const(cx, 1);
        index[rank++] = merged;
    }
    Buffer *source = nest_buffer(nest, b->name, b->dtype, BUF_in, rank, shape);
    source->strides = strides;
    source->offset = b->offset;
    source->align = b->align;
    Access *access = NEW(cx->arena, Access);
    *access = (Access){.buffer = source, .rank = rank, .index = index};
    return access;
}

/* Digits of the merged number, by axis. */
static const Expr *split_dense(Shape *s, Nest *nest, const DenseK *dense, const Expr **axis)
{
    const Expr *merged = nest_axis(nest, "k", expr_const(s->cx, dense->points))->sym;
    const Expr *rest = merged;
    for (int i = dense->count - 1; i >= 0; i--) {
        const Expr *extent = s->nest->axes[dense->axis[i]].extent;
        axis[dense->axis[i]] = i ? expr_mod(s->cx, rest, extent) : rest;
        rest = expr_floordiv(s->cx, rest, extent);
    }
    return merged;
}

/* The nest that packs a constant, run once at load. */
static Nest *pack_nest(Shape *s, const Access *from)
{
    Cx *cx = s->cx;
    Nest *nest = nest_new(cx, arena_printf(cx->arena, "%s_pack", s->nest->name));
    const Expr *axis[MAX_AXES] = {NULL}, *syms[MAX_AXES], *with[MAX_AXES];
    const Expr *block = NULL, *merged = NULL;
    DenseK dense;
    bool is_dense = find_dense_k(s, from, &dense);
    int count = 0;
    for (int i = 0; i < s->packed_count; i++) {
        if (i == s->packed_outer) {
            block = nest_axis(nest, "block", s->packed->shape[i])->sym;
            merged = is_dense ? split_dense(s, nest, &dense, axis) : NULL;
        }
        const Axis *old = &s->nest->axes[s->packed_axes[i]];
        if (!axis[old->number])
            axis[old->number] = nest_axis(nest, old->sym->name, extent_of_b(s, old->number))->sym;
        syms[count] = old->sym;
        with[count++] = axis[old->number];
    }
    const Expr *column = nest_axis(nest, "column", expr_const(cx, s->nr))->sym;
    const Expr *n = expr_add(cx, expr_muli(cx, block, s->nr), column);
    syms[count] = s->nest->axes[s->n_axis].sym;
    with[count++] = n;
    Access *source = pack_source(s, nest, from, &dense, merged);
    for (int d = 0; d < source->rank; d++)
        source->index[d] = expr_subst(cx, source->index[d], syms, with, (size_t)count);
    Guard inside = {n, expr_const(cx, 0), extent_of_b(s, s->n_axis)};
    Value *value = nest_load(nest, source->buffer, source->index, &inside, 1, (Scalar){0});
    Buffer *packed = nest_buffer(nest, s->packed->name, s->packed->dtype, BUF_out, s->packed->rank,
                                 s->packed->shape);
    nest_store(nest, packed, packed_index(s, axis, block, column), NULL, 0, value);
    return nest;
}

/* --- packing during a run --- */

typedef struct PackBox {
    Shape *s;
    const Expr *block, *bound; /* of the columns */
    int columns;
} PackBox;

/* Number of the current point of K. */
static const Expr *flat_k(const Shape *s)
{
    const Expr *flat = expr_const(s->cx, 0);
    for (int i = s->packed_outer; i < s->packed_count; i++) {
        const Axis *axis = &s->nest->axes[s->packed_axes[i]];
        flat = expr_add(s->cx, expr_mul(s->cx, flat, axis->extent), s->lower->at[axis->number]);
    }
    return flat;
}

/* Where column `column` of the current point of K is packed. */
static Access packed_access(Shape *s, const Expr *block, const Expr *column)
{
    if (s->packed)
        return (Access){.buffer = s->packed,
                        .rank = s->packed->rank,
                        .index = packed_index(s, s->lower->at, block, column)};
    const Expr **index = NEW_ARRAY(s->cx->arena, const Expr *, 2);
    index[0] = flat_k(s);
    index[1] = column;
    return (Access){.tile = s->panel, .rank = 2, .index = index};
}

/* Steps of k in a box: a square of vectors when b is contiguous along k, so that they are
 * transposed in registers. */
static int pack_rows(const Shape *s)
{
    const Value *load = through_casts(s->c.b);
    bool turned =
        load->op == V_load && access_unit_axis(s->cx, s->nest, load->access, s->c.k) == s->k_axis;
    return turned ? s->width : PACK_ROWS;
}

static void pack_box(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    static const char *const names[] = {"r", "j"};
    PackBox *p = user;
    Shape *s = p->s;
    Lower *lower = s->lower;
    TileOp *op = tile_op(lower->prog, block, TO_map, 2, names, (int[]){size, p->columns});
    op->box.bound[0] = bound;
    op->box.bound[1] = p->bound;
    const Expr *first = expr_muli(s->cx, p->block, s->nr);
    lower->at[s->k_axis] = expr_add(s->cx, base, op->box.coord[0]);
    lower->at[s->n_axis] = expr_add(s->cx, first, op->box.coord[1]);
    Access to = packed_access(s, p->block, op->box.coord[1]);
    tile_store(lower->prog, op, &to, lower_value(lower, op, s->c.b));
}

/* A task takes a few steps of k and walks over the column blocks, so that rows of b are read from
 * end to end. Columns beyond N are left as they are: the lanes that would see them are never
 * stored. */
static void pack_blocks(void *user, TileBlock *block, const Expr *base, int size, const Expr *bound)
{
    PackBox *p = user;
    Shape *s = p->s;
    TileBlock *inner =
        tile_for(s->lower->prog, block, lower_name(s->lower, "block"), expr_const(s->cx, 0),
                 s->packed->shape[s->packed_outer], 1, &p->block);
    const Expr *extent = s->nest->axes[s->n_axis].extent;
    bool whole = expr_is_const(expr_modi(s->cx, extent, s->nr), 0);
    p->bound = whole ? NULL : expr_sub(s->cx, extent, expr_muli(s->cx, p->block, s->nr));
    pack_box(p, inner, base, size, bound);
}

static void pack_phase(Shape *s)
{
    Lower *lower = s->lower;
    Cx *cx = s->cx;
    const char *names[MAX_GRID];
    const Expr *extents[MAX_GRID];
    int rank = s->packed_count, rows = pack_rows(s);
    for (int i = 0; i < rank; i++) {
        const Axis *axis = &s->nest->axes[s->packed_axes[i]];
        names[i] = lower_name(lower, axis->sym->name);
        extents[i] =
            i < rank - 1 ? axis->extent : expr_ceildiv(cx, axis->extent, expr_const(cx, rows));
    }
    Grid *grid = lower->grid = tile_grid(lower->prog, rank, names, extents);
    for (int i = 0; i < rank - 1; i++)
        lower->at[s->packed_axes[i]] = grid->ids[i];
    PackBox p = {.s = s, .columns = s->nr};
    const Expr *k = s->nest->axes[s->k_axis].extent;
    const Expr *lo = expr_muli(cx, grid->ids[rank - 1], rows);
    const Expr *hi = expr_min(cx, k, expr_addi(cx, lo, rows));
    lower_boxes(lower, &grid->body, "k", lo, hi, rows, pack_blocks, &p);
    memset(lower->at, 0, sizeof lower->at);
}

/* Points of K in a panel; 0 when its size is not known or it would not stay in the cache. */
static int64_t panel_rows(const Shape *s)
{
    int64_t rows = 1;
    for (int i = s->packed_outer; i < s->packed_count; i++) {
        const Expr *extent = s->nest->axes[s->packed_axes[i]].extent;
        if (extent->kind != EX_const || extent->value < 1 || extent->value > PANEL_BYTES ||
            rows > PANEL_BYTES)
            return 0;
        rows *= extent->value;
    }
    int64_t bytes = dtype_bits(s->c.b->dtype) / 8 * (int64_t)s->nr;
    return bytes && rows <= PANEL_BYTES / bytes ? rows : 0;
}

void contraction_fill_panel(Shape *s, TileBlock *block, int columns, const Expr *bound)
{
    Lower *lower = s->lower;
    const Expr *zero = expr_const(s->cx, 0), *var;
    if (!s->panel_rows)
        return;
    if (!s->panel) {
        int shape[2] = {(int)s->panel_rows, s->nr};
        s->panel = tile_new(lower->prog, lower->grid, lower_name(lower, "panel"), s->c.b->dtype,
                            TS_shared, 2, shape);
    }
    for (int i = s->packed_outer; i < s->packed_count - 1; i++) {
        const Axis *axis = &s->nest->axes[s->packed_axes[i]];
        block = tile_for(lower->prog, block, lower_name(lower, axis->sym->name), zero, axis->extent,
                         1, &var);
        lower->at[axis->number] = var;
    }
    PackBox p = {.s = s, .block = s->column_block, .columns = columns, .bound = bound};
    lower_boxes(lower, block, "k", zero, s->nest->axes[s->k_axis].extent, pack_rows(s), pack_box,
                &p);
}

/* --- choosing --- */

void contraction_pack(Shape *s, Lowered *out)
{
    Value *load = through_casts(s->c.b);
    int field = s->schedule->field[SF_pack];
    if (!field)
        return;
    packed_order(s);
    bool constant = load->op == V_load && lower_packable(s->nest, load->access->buffer);
    if (!constant && field == 2 && (s->panel_rows = panel_rows(s)) > 0)
        return;
    if (s->packed_count + 2 > MAX_RANK || s->packed_count > MAX_GRID)
        return;
    if (constant) {
        const Buffer *from = load->access->buffer;
        s->packed = packed_buffer(s, load, from->dtype, BUF_const);
        s->packed->index = from->index;
        Nest *nest = pack_nest(s, load->access);
        out->packs[out->pack_count++] = (PackedConst){from->index, nest};
        s->lower->prog->buffers[from->index] = s->packed;
        return;
    }
    TileProg *prog = s->lower->prog;
    s->packed = packed_buffer(s, load, s->c.b->dtype, BUF_scratch);
    s->packed->index = (int)prog->buffer_count;
    VEC_PUSH(s->cx->arena, prog->buffers, prog->buffer_count, prog->buffer_cap, s->packed);
    pack_phase(s);
}

bool contraction_is_packed(const Shape *s)
{
    return s->packed || s->panel;
}

/* Only casts stand between a packed constant and b. */
static Value *read_packed(Shape *s, TileOp *op, Value *value)
{
    if (value->op == V_cast && s->packed && s->packed->role == BUF_const)
        return tile_cast(s->lower->prog, op, value->dtype, read_packed(s, op, value->args[0]));
    Access from = packed_access(s, s->column_block, op->box.coord[1]);
    return tile_load(s->lower->prog, op, &from);
}

Value *contraction_packed_value(Shape *s, TileOp *op)
{
    return read_packed(s, op, s->c.b);
}
