/* The parser of nests on any text. */
#include "ir/nest.h"
#include "text_target.h"

static bool print_again(Cx *cx, const char *name, const char *text, Text *out)
{
    Nest *nest = nest_parse(cx, name, text);
    if (!nest || !nest_verify(nest))
        return false;
    nest_print(out, nest);
    return true;
}
