/* What the files of placement share. Private to passes/place_*.c. */
#ifndef QUERN_PASSES_PLACE_IMPL_H
#define QUERN_PASSES_PLACE_IMPL_H

#include "ir/layout.h"
#include "passes/place_gpu.h"

typedef struct Place {
    Cx *cx;
    TileProg *prog;
    Grid *grid;
    bool register_a; /* some mma takes its operand a from registers: warps along m only, so that
                        results are operands */
    uint32_t fresh;  /* for names of tiles made here */
} Place;

/* Calls visit for every operation of the block, nested ones after their parent. */
void place_each(Place *place, TileBlock *block,
                void (*visit)(Place *place, TileBlock *block, TileOp *op));
/* Access number i of an operation: of its values, then of its stores; NULL where a value has none.
 */
Access *place_access(const TileOp *op, uint32_t i);
uint32_t place_access_count(const TileOp *op);
/* Puts `op` into the block after `before` (NULL = first). */
void place_insert(TileBlock *block, TileOp *before, TileOp *op);
Tile *place_tile(Place *place, const char *prefix, Dtype dtype, TileScope scope, int rank,
                 const int *shape);

/* Elements per vector that every memory access of a map without register tiles allows; 1 when none.
 * At most 16 bytes. */
int place_vector(Place *place, const TileOp *op);
/* Whether a copy can be asynchronous in runs of `vec`: no conversion, fill 0, provably aligned runs
 * of 4, 8 or 16 bytes. */
bool place_can_copy_async(Place *place, const TileOp *op, int vec);

void place_layouts(Place *place);  /* place_layout.c */
void place_rings(Place *place);    /* place_ring.c */
void place_barriers(Place *place); /* place_sync.c */

#endif
