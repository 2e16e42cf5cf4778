/* For the tests of the model reader: small models and parts of them. */
#ifndef QUERN_TESTS_ONNX_MODELS_H
#define QUERN_TESTS_ONNX_MODELS_H

#include "onnx_wire.h"

/* A model with this node. */
static inline Wire node_model(Wire n)
{
    Wire g = graph_xy();
    put_wire(&g, 1, n);
    return model(8, 17, g);
}

static inline Wire relu_model(void)
{
    return node_model(node("Relu", "x", "y"));
}

/* A node "Relu" called 'n' with one attribute. */
static inline Wire attr_model(Wire a)
{
    Wire n = node("Relu", "x", "y");
    put_text(&n, 3, "n");
    put_wire(&n, 5, a);
    return node_model(n);
}

/* A branch of If; x comes from around. */
static inline Wire branch(const char *name, const char *out)
{
    Wire g = {0};
    put_text(&g, 2, name);
    put_node(&g, "Neg", "x", out);
    put_wire(&g, 12, info(out, 0, NULL));
    return g;
}

static inline Wire if_node(Wire yes, Wire no)
{
    return with_graph(with_graph(node("If", "c", "y"), "then_branch", yes), "else_branch", no);
}

static inline Wire if_model(Wire yes, Wire no)
{
    Wire g = graph_xy();
    put_wire(&g, 11, info("c", 9, ""));
    put_wire(&g, 1, if_node(yes, no));
    return model(8, 17, g);
}

/* Function `name` of domain "f": one node `op` (of `domain`) from a to b. */
static inline Wire function(const char *name, const char *domain, const char *op)
{
    Wire f = {0}, n = node(op, "a", "b");
    put_text(&f, 1, name);
    put_text(&f, 10, "f");
    put_text(&f, 4, "a");
    put_text(&f, 5, "b");
    put_text(&n, 7, domain);
    put_wire(&f, 7, n);
    put_wire(&f, 9, opset("", 13));
    put_wire(&f, 9, opset("f", 1));
    return f;
}

static inline Wire call_model(const char *op)
{
    Wire n = node(op, "x", "y");
    put_text(&n, 7, "f");
    Wire m = node_model(n);
    put_wire(&m, 8, opset("f", 1));
    return m;
}

/* A model whose only initializer is `t`. */
static inline Wire tensor_model(Wire t)
{
    Wire g = graph_xy();
    put_node(&g, "Relu", "x", "y");
    put_wire(&g, 5, t);
    return model(8, 25, g);
}

/* A word about external data. */
static inline void put_entry(Wire *t, const char *key, const char *value)
{
    Wire entry = {0};
    put_text(&entry, 1, key);
    put_text(&entry, 2, value);
    put_wire(t, 13, entry);
}

/* A tensor "w" of two floats in another file; what is NULL is left out. */
static inline Wire external(const char *location, const char *offset, const char *length)
{
    Wire t = tensor("w", 1, "2");
    put_int(&t, 14, 1);
    if (location)
        put_entry(&t, "location", location);
    if (offset)
        put_entry(&t, "offset", offset);
    if (length)
        put_entry(&t, "length", length);
    return t;
}

#endif
