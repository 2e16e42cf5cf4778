/* What the verifier's files share. */
#ifndef QUERN_IR_TILE_VERIFY_H
#define QUERN_IR_TILE_VERIFY_H

#include "ir/facts.h"
#include "ir/tile.h"

enum { TILE_MAX_ELEMENTS = 1 << 24 }; /* of a tile, and points of a box */

/* A walk over a program. Checks give false after a failure. */
typedef struct TileCheck {
    TileProg *prog;
    Cx *cx;
    const Grid *grid;
    const TileOp *op; /* for messages; NULL outside operations */
    Facts facts;
    uint32_t sym_count, sym_cap;
    const Expr **syms; /* in scope */
    bool thread_too;   /* the symbol of the thread may be used */
    bool may_guard;    /* accesses of maps and copies that are not proven get guards */
    int depth;
} TileCheck;

/* Fails, naming the program and the operation; false. */
bool tile_wrong(TileCheck *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether the target is a CPU. */
bool tile_verify_on_cpu(const TileCheck *c);
/* Brings a symbol into scope: until sym_count is set back. */
bool tile_verify_sym(TileCheck *c, const Expr *sym);
/* There, no overflow, and of symbols in scope; `what` is for messages. */
bool tile_verify_expr(TileCheck *c, const Expr *e, const char *what);
bool tile_verify_guards(TileCheck *c, const Guard *guards, int count);
/* Whether the tile is one of the grid; `t` may be NULL. */
bool tile_verify_owns(const TileCheck *c, const Tile *t);
/* The operation at hand, one on a box (tile_verify_box.c). */
bool tile_verify_box(TileCheck *c);

#endif
