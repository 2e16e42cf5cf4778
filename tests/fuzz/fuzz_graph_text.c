/* The graph's text parser on any text. What it takes verifies, and its print parses to the same
 * print. */
#include <stdlib.h>
#include <string.h>

#include "ir/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_input(Cx *cx, void *user)
{
    Graph *graph = graph_parse(cx, "input", user);
    if (!graph)
        return;
    if (!graph_verify(graph))
        BUG("a parsed graph does not verify: %s", cx->message);
    graph_sweep(graph);
    Text first, second;
    text_init(&first, cx->arena);
    text_init(&second, cx->arena);
    graph_print(&first, graph);
    Graph *again = graph_parse(cx, "printed", first.data);
    if (!again)
        BUG("a printed graph does not parse: %s", cx->message);
    graph_sweep(again);
    graph_print(&second, again);
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
