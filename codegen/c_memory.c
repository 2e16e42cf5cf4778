/* Elements of buffers and tiles: where they are and how they are read and written.
 *
 * Buffers and shared tiles hold elements as stored (c_raw_type; types below a byte are packed, low
 * bits first); register tiles too, so that a half in a register tile is rounded once. Narrow types
 * convert through helpers on raw values, which need no address space. */
#include "codegen/c_impl.h"

int64_t c_row_stride(const Tile *tile, int dim)
{
    int64_t stride = 1;
    for (int d = tile->rank - 1; d > dim; d--)
        stride *= d == tile->rank - 1 && tile->scope == TS_shared ? tile->shape[d] + tile->pad
                                                                  : tile->shape[d];
    return stride;
}

static int64_t slot_elements(const Tile *tile)
{
    return tile->rank == 0 ? 1
                           : c_row_stride(tile, 0) *
                                 (tile->rank == 1 ? tile->shape[0] + tile->pad : tile->shape[0]);
}

static int64_t slot_bytes(const Tile *tile)
{
    int64_t bytes = dtype_bytes(tile->dtype, slot_elements(tile));
    int64_t align = tile->swizzle ? 1024 : 128; /* swizzles count from a multiple of their period */
    return tile->slots > 1 || tile->swizzle ? (bytes + align - 1) / align * align : bytes;
}

static int64_t shared_place(const Grid *grid, const Tile *tile, int64_t align)
{
    int64_t at = 0;
    for (uint32_t i = 0; i < grid->tile_count; i++) {
        const Tile *t = grid->tiles[i];
        if (t->scope != TS_shared)
            continue;
        int64_t mine = t->swizzle ? 1024 : align;
        at = (at + mine - 1) / mine * mine;
        if (t == tile)
            return at;
        at += slot_bytes(t) * (t->slots > 1 ? t->slots : 1);
    }
    return (at + align - 1) / align * align;
}

int64_t c_shared_offset(const Grid *grid, const Tile *tile)
{
    return shared_place(grid, tile, 64);
}

/* Reductions across warps and conversions use one element of 8 bytes per thread behind
 * the tiles.
 */
static bool needs_scratch(const TileBlock *block)
{
    for (const TileOp *op = block->first; op; op = op->next)
        if (op->kind == TO_reduce || (op->body && needs_scratch(op->body)) ||
            (op->other && needs_scratch(op->other)))
            return true;
    return false;
}

int64_t c_shared_bytes(const TileProg *prog, const Grid *grid)
{
    (void)prog;
    int64_t bytes = c_shared_offset(grid, NULL);
    return grid->threads > 1 && needs_scratch(&grid->body) ? bytes + 8 * (int64_t)grid->threads
                                                           : bytes;
}

const char *c_tile_name(CPrint *cp, const Tile *tile)
{
    return arena_printf(cp->cx->arena, "t%u", (unsigned)tile->id);
}

const Expr *c_offset(CPrint *cp, const Access *access)
{
    Cx *cx = cp->cx;
    const Buffer *buffer = access->buffer;
    const Expr *at = buffer ? buffer->offset : expr_const(cx, 0);
    for (int d = 0; d < access->rank; d++) {
        const Expr *index = c_subst(cp, access->index[d]);
        at = expr_add(cx, at,
                      buffer ? expr_mul(cx, index, buffer->strides[d])
                             : expr_muli(cx, index, c_row_stride(access->tile, d)));
    }
    if (!buffer && cp->slot && access->tile->slots > 1) {
        int64_t elements = slot_bytes(access->tile) * 8 / dtype_bits(access->tile->dtype);
        at = expr_add(cx, at, expr_muli(cx, c_subst(cp, cp->slot), elements));
    }
    return at;
}

const char *c_base(CPrint *cp, const Access *access)
{
    if (access->buffer)
        return arena_printf(cp->cx->arena, "b%d", access->buffer->index);
    return c_tile_name(cp, access->tile);
}

const char *c_element(CPrint *cp, const Access *access)
{
    const char *at = c_expr(cp, c_offset(cp, access));
    const Tile *tile = access->tile;
    if (!tile || !tile->swizzle)
        return at;
    return arena_printf(cp->cx->arena, "q_swizzle%d(%s, %d)", tile->swizzle, at,
                        dtype_bits(tile->dtype) / 8);
}

const char *c_from_raw(CPrint *cp, Dtype dtype, const char *raw)
{
    Arena *arena = cp->cx->arena;
    if (dtype == DT_bool)
        return arena_printf(arena, "(i32)(%s != 0)", raw);
    if (dtype == dtype_compute(dtype))
        return raw;
    if (dtype_is_int(dtype) && dtype_bits(dtype) >= 8)
        return arena_printf(arena, "(%s)%s", c_type(dtype), raw);
    return arena_printf(arena, "q_%s_to(%s)", dtype_name(dtype), raw);
}

const char *c_to_raw(CPrint *cp, Dtype dtype, const char *value)
{
    Arena *arena = cp->cx->arena;
    if (dtype == dtype_compute(dtype) && dtype != DT_bool)
        return value;
    if (dtype == DT_bool)
        return arena_printf(arena, "(u8)(%s)", value);
    if (dtype_is_int(dtype) && dtype_bits(dtype) >= 8)
        return arena_printf(arena, "(%s)(%s)", c_raw_type(dtype), value);
    if (dtype_is_int(dtype))
        return arena_printf(arena, "(u32)(%s)", value);
    return arena_printf(arena, "q_%s_from(%s)", dtype_name(dtype), value);
}

const char *c_load_text(CPrint *cp, Dtype dtype, const char *base, const char *index)
{
    Arena *arena = cp->cx->arena;
    int bits = dtype_bits(dtype);
    const char *raw = bits < 8 ? arena_printf(arena, "q_get%d(%s, %s)", bits, base, index)
                               : arena_printf(arena, "%s[%s]", base, index);
    return c_from_raw(cp, dtype, raw);
}

const char *c_store_text(CPrint *cp, Dtype dtype, const char *base, const char *index,
                         const char *value, bool shared)
{
    Arena *arena = cp->cx->arena;
    int bits = dtype_bits(dtype);
    const char *raw = c_to_raw(cp, dtype, value);
    if (bits < 8)
        return arena_printf(arena, "q_put%d%s(%s, %s, %s);", bits, shared ? "_shared" : "", base,
                            index, raw);
    return arena_printf(arena, "%s[%s] = %s;", base, index, raw);
}

/* On a CPU the row-major element; on a GPU the register: the digits of the tile's parts, which must
 * be digits of the operation's own layout. */
static const Expr *register_number(CPrint *cp, const Access *access)
{
    Cx *cx = cp->cx;
    const Layout *mine = access->tile->layout;
    const Expr *at = expr_const(cx, 0);
    int64_t below = 1;
    for (int p = 0; p < mine->reg_count; p++) {
        LayoutPart part = mine->regs[p];
        const Expr *index = access->index[part.dim], *digit = NULL;
        int dim = -1;
        for (int d = 0; d < cp->box->rank; d++)
            if (cp->box->coord[d] == index)
                dim = d;
        for (int q = 0; q < cp->layout->reg_count; q++) {
            LayoutPart other = cp->layout->regs[q];
            if (other.dim == dim && other.stride == part.stride && other.extent == part.extent)
                digit = cp->digits[q];
        }
        if (expr_is_const(index, 0)) /* broadcast along a dim of several registers: element 0 */
            digit = expr_const(cx, 0);
        if (!digit)
            cx_fail(cx, ST_internal, "c_print: layouts of tile %s and its operation differ",
                    access->tile->name);
        else
            at = expr_add(cx, at, expr_muli(cx, digit, below));
        below *= part.extent;
    }
    return at;
}

const char *c_tile_element(CPrint *cp, const Access *access)
{
    if (cp->dialect->gpu)
        return c_expr(cp, register_number(cp, access));
    const Expr *at = expr_const(cp->cx, 0);
    for (int d = 0; d < access->rank; d++)
        at = expr_add(cp->cx, at,
                      expr_muli(cp->cx, access->index[d], c_row_stride(access->tile, d)));
    return c_expr(cp, at);
}
