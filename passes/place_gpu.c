/* Placement for GPUs, in order: padding of shared tiles, layouts and thread maps, rings, barriers;
 * then the size of shared memory is checked, and the whole is verified again: a ring copies for
 * other steps than the loop does. Emitters and the simulator see the result only. */
#include "passes/place_impl.h"

#include <stdio.h>

void place_each(Place *place, TileBlock *block,
                void (*visit)(Place *place, TileBlock *block, TileOp *op))
{
    for (TileOp *op = block->first, *next; op; op = next) {
        next = op->next; /* a visitor may insert before and after */
        visit(place, block, op);
        if (op->body)
            place_each(place, op->body, visit);
        if (op->other)
            place_each(place, op->other, visit);
    }
}

uint32_t place_access_count(const TileOp *op)
{
    return op->value_count + op->store_count;
}

Access *place_access(const TileOp *op, uint32_t i)
{
    return i < op->value_count ? op->values[i]->access : op->stores[i - op->value_count].access;
}

void place_insert(TileBlock *block, TileOp *before, TileOp *op)
{
    TileOp **link = before ? &before->next : &block->first;
    op->next = *link;
    *link = op;
    if (!op->next)
        block->last = op;
}

Tile *place_tile(Place *place, const char *prefix, Dtype dtype, TileScope scope, int rank,
                 const int *shape)
{
    const char *name = arena_printf(place->cx->arena, "%s_%u", prefix, (unsigned)place->fresh++);
    return tile_new(place->prog, place->grid, name, dtype, scope, rank, shape);
}

/* Rows of 16-byte chunks: an odd number of them per row puts the rows of a fragment into different
 * banks. */
static void pad_operand(const Value *value)
{
    if (!value || value->op != V_load || !value->access->tile)
        return;
    Tile *tile = value->access->tile;
    int bytes = dtype_bits(tile->dtype) / 8;
    if (tile->pad || tile->swizzle || bytes == 0 || tile->rank < 2)
        return;
    int row = tile->shape[tile->rank - 1] * bytes;
    if (row % 16 == 0 && row / 16 % 2 == 0)
        tile->pad = 16 / bytes;
}

static void pad_mma(Place *place, TileBlock *block, TileOp *op)
{
    (void)place;
    (void)block;
    if (op->kind == TO_mma) {
        pad_operand(op->a);
        pad_operand(op->b);
    }
}

static void check_shared(Place *place)
{
    int64_t bytes = 8 * (int64_t)place->grid->threads;
    for (uint32_t i = 0; i < place->grid->tile_count; i++) {
        const Tile *tile = place->grid->tiles[i];
        if (tile->scope == TS_shared)
            bytes += (tile_bytes(tile) + 127) / 128 * 128 * (tile->slots > 1 ? tile->slots : 1);
    }
    if (bytes > place->prog->caps->shared_bytes)
        cx_fail(place->cx, ST_limit, "%s needs %lld bytes of shared memory, %s has %lld",
                place->prog->name, (long long)bytes, place->prog->caps->name,
                (long long)place->prog->caps->shared_bytes);
}

bool place_gpu(TileProg *prog)
{
    Place place = {.cx = prog->cx, .prog = prog};
    CHECK(!prog->placed);
    for (uint32_t i = 0; i < prog->grid_count && !cx_failed(prog->cx); i++) {
        place.grid = prog->grids[i];
        if (place.grid->threads == 1)
            place.grid->threads = PLACE_THREADS;
        if (place.grid->threads & (place.grid->threads - 1)) {
            cx_fail(prog->cx, ST_unsupported, "%s: %d threads are no power of two", prog->name,
                    place.grid->threads);
            break;
        }
        place_each(&place, &place.grid->body, pad_mma);
        place_layouts(&place);
        place_rings(&place);
        place_barriers(&place);
        check_shared(&place);
    }
    prog->placed = !cx_failed(prog->cx);
    return prog->placed && tile_verify(prog);
}
