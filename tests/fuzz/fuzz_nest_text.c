/* The parser of nests on any text. What it takes and the verifier accepts, its print gives again.
 */
#include <stdlib.h>
#include <string.h>

#include "ir/nest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_input(Cx *cx, void *user)
{
    Nest *nest = nest_parse(cx, "input", user);
    if (!nest || !nest_verify(nest))
        return;
    Text first, second;
    text_init(&first, cx->arena);
    text_init(&second, cx->arena);
    nest_print(&first, nest);
    Nest *again = nest_parse(cx, "printed", first.data);
    if (!again)
        BUG("a printed nest does not parse: %s\n%s", cx->message, first.data);
    if (!nest_verify(again))
        BUG("a printed nest does not verify: %s\n%s", cx->message, first.data);
    nest_print(&second, again);
    if (strcmp(first.data, second.data) != 0)
        BUG("printed:\n%s\nand printed again:\n%s", first.data, second.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    Cx cx;
    cx_init(&cx, NULL, 64 << 20);
    cx_run(&cx, parse_input, text);
    cx_finish(&cx);
    free(text);
    return 0;
}
