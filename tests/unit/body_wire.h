/* If, Loop and their bodies, written by onnx_wire.h. */
#ifndef QUERN_TESTS_BODY_WIRE_H
#define QUERN_TESTS_BODY_WIRE_H

#include "import_case.h"

/* A graph of nodes; inputs and outputs without types, as subgraphs may have them. */
static inline Wire subgraph(const char *name, const char *inputs, const Wire *nodes,
                            const char *outputs)
{
    Wire g = {0};
    const char *const lists[] = {inputs, outputs};
    static const unsigned fields[] = {11, 12};
    put_text(&g, 2, name);
    for (; nodes->data; nodes++)
        put_wire(&g, 1, *nodes);
    for (int k = 0; k < 2; k++)
        for (const char *at = lists[k]; *at; at += strcspn(at, ",")) {
            char text[32] = "";
            at += *at == ',';
            memcpy(text, at, strcspn(at, ","));
            put_wire(&g, fields[k], info(text, 0, NULL));
        }
    return g;
}

static inline Wire with_name(Wire n, const char *name)
{
    put_text(&n, 3, name);
    return n;
}

static inline Wire if_node(const char *condition, Wire yes, Wire no, const char *outputs)
{
    Wire n = with_graph(node("If", condition, outputs), "then_branch", yes);
    return with_graph(n, "else_branch", no);
}

static inline Wire loop_node(const char *inputs, Wire body, const char *outputs)
{
    return with_graph(node("Loop", inputs, outputs), "body", body);
}

static inline Wire same(const char *from, const char *to)
{
    return node("Identity", from, to);
}

#endif
