/* The parser of graphs on any text. */
#include "ir/graph.h"
#include "text_target.h"

static bool print_again(Cx *cx, const char *name, const char *text, Text *out)
{
    Graph *graph = graph_parse(cx, name, text);
    if (!graph || !graph_verify(graph))
        return false;
    graph_sweep(graph);
    graph_print(out, graph);
    return true;
}
