/* The parser of tile programs on any text. */
#include "ir/tile.h"
#include "text_target.h"

static bool print_again(Cx *cx, const char *name, const char *text, Text *out)
{
    TileProg *prog = tile_parse(cx, name, text);
    if (!prog || !tile_verify(prog))
        return false;
    tile_print(out, prog);
    return true;
}
