/* What the parser's files share. */
#ifndef QUERN_IR_TILE_PARSE_H
#define QUERN_IR_TILE_PARSE_H

#include "ir/tile.h"
#include "ir/value_text.h"

enum { TILE_MAX_EXTENT = 1 << 16 }; /* of what a program states: shapes, boxes, strides */

typedef struct TileParse {
    Cx *cx;
    Scan scan;
    Names names;
    TileProg *prog;
    Grid *grid;
} TileParse;

const Expr *tile_parse_expr(TileParse *p);
/* An integer in lo..hi; lo after a failure. */
int tile_parse_int(TileParse *p, int lo, int hi);
/* At `lanes`. */
Layout *tile_parse_layout(TileParse *p);
/* The tile that the next word names; NULL after a failure. */
Tile *tile_parse_name(TileParse *p);
/* An operation on a box, behind its first word: appended to the block. */
void tile_parse_box(TileParse *p, TileBlock *at, TileOpKind kind);

#endif
