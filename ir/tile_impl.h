/* Shared by the files of tile programs only. */
#ifndef QUERN_IR_TILE_IMPL_H
#define QUERN_IR_TILE_IMPL_H

#include "ir/tile.h"
#include "ir/value_text.h"

extern const ValueNames tile_value_names;
/* The first line of an operation, for messages. */
void tile_print_head(Text *text, const TileOp *op);

#endif
