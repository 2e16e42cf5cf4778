/* Barriers around shared memory, conservatively: one goes before an operation that reads a tile
 * written since the last barrier, or writes a tile read or written since. A loop's body starts as
 * if one step had run. Ring tiles are synchronised by their pipeline (place_ring.c). */
#include "passes/place_impl.h"

/* Sets of shared tiles by id. */
typedef struct Use {
    uint64_t read[4], written[4];
} Use;

static void mark(uint64_t *set, const Tile *tile)
{
    if (tile && tile->scope == TS_shared && tile->slots < 2)
        set[tile->id / 64 % 4] |= UINT64_C(1) << tile->id % 64;
}

static void merge(Use *into, const Use *from)
{
    for (int i = 0; i < 4; i++) {
        into->read[i] |= from->read[i];
        into->written[i] |= from->written[i];
    }
}

static bool meets(const uint64_t *a, const uint64_t *b)
{
    return ((a[0] & b[0]) | (a[1] & b[1]) | (a[2] & b[2]) | (a[3] & b[3])) != 0;
}

static Use use_of(const TileOp *op)
{
    Use use = {{0}, {0}};
    for (uint32_t i = 0; i < op->value_count; i++)
        if (op->values[i]->access)
            mark(use.read, op->values[i]->access->tile);
    for (uint32_t i = 0; i < op->store_count; i++)
        mark(use.written, op->stores[i].access->tile);
    if (op->kind == TO_convert) {
        mark(use.written, op->via);
        mark(use.read, op->via);
    }
    return use;
}

static Use use_of_block(const TileBlock *block)
{
    Use use = {{0}, {0}};
    for (const TileOp *op = block ? block->first : NULL; op; op = op->next) {
        Use mine = use_of(op), body = use_of_block(op->body), other = use_of_block(op->other);
        merge(&use, &mine);
        merge(&use, &body);
        merge(&use, &other);
    }
    return use;
}

static void sync_block(Place *place, TileBlock *block, Use *state);

/* A tile counts as used by the whole operation when it holds others. */
static void sync_nested(Place *place, TileOp *op, Use *state)
{
    Use body = *state, other = *state;
    if (op->kind == TO_for) {
        Use all = use_of_block(op->body);
        merge(&body, &all);
    }
    sync_block(place, op->body, &body);
    if (op->other)
        sync_block(place, op->other, &other);
    merge(state, &body);
    merge(state, &other);
}

static void sync_block(Place *place, TileBlock *block, Use *state)
{
    TileOp *before = NULL;
    for (TileOp *op = block->first; op; before = op, op = op->next) {
        if (op->body) {
            sync_nested(place, op, state);
            continue;
        }
        if (op->kind == TO_barrier) {
            *state = (Use){{0}, {0}};
            continue;
        }
        Use use = use_of(op);
        if (meets(use.read, state->written) || meets(use.written, state->written) ||
            meets(use.written, state->read)) {
            TileBlock loose = {NULL, NULL};
            place_insert(block, before, tile_sync(place->prog, &loose, TO_barrier, 0));
            *state = (Use){{0}, {0}};
        }
        merge(state, &use);
    }
}

void place_barriers(Place *place)
{
    Use state = {{0}, {0}};
    if (cx_failed(place->cx))
        return;
    if (place->grid->tile_count > 256) {
        cx_fail(place->cx, ST_limit, "place: more than 256 tiles in a grid");
        return;
    }
    sync_block(place, &place->grid->body, &state);
}
