/* A writer of the protobuf wire format, just enough to build small ONNX models in tests. Field
 * numbers are those of onnx.proto. Buffers live until the test's process ends. */
#ifndef QUERN_TESTS_ONNX_WIRE_H
#define QUERN_TESTS_ONNX_WIRE_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/onnx_model.h"

typedef struct Wire {
    uint8_t *data;
    uint32_t size, capacity;
} Wire;

static Arena wire_arena;

static inline void wire_init(void)
{
    arena_init(&wire_arena, NULL, 0, NULL);
}

static inline void wire_finish(void)
{
    arena_finish(&wire_arena);
}

static inline void put_byte(Wire *w, unsigned byte)
{
    VEC_PUSH(&wire_arena, w->data, w->size, w->capacity, (uint8_t)byte);
}

static inline void put_raw(Wire *w, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        put_byte(w, ((const uint8_t *)data)[i]);
}

static inline void put_varint(Wire *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(w, (unsigned)(value & 0x7F) | 0x80);
    put_byte(w, (unsigned)value);
}

static inline void put_int(Wire *w, unsigned field, int64_t value)
{
    put_varint(w, field << 3);
    put_varint(w, (uint64_t)value);
}

static inline void put_float(Wire *w, unsigned field, float value)
{
    put_varint(w, field << 3 | 5);
    put_raw(w, &value, 4);
}

static inline void put_bytes(Wire *w, unsigned field, const void *data, size_t size)
{
    put_varint(w, field << 3 | 2);
    put_varint(w, size);
    put_raw(w, data, size);
}

static inline void put_text(Wire *w, unsigned field, const char *text)
{
    put_bytes(w, field, text, strlen(text));
}

static inline void put_wire(Wire *w, unsigned field, Wire inner)
{
    put_bytes(w, field, inner.data, inner.size);
}

/* "a,b,,c" as one string field each; "" is none. */
static inline void put_list(Wire *w, unsigned field, const char *list)
{
    for (const char *at = list; *list; at += strcspn(at, ",") + 1) {
        put_bytes(w, field, at, strcspn(at, ","));
        if (!at[strcspn(at, ",")])
            break;
    }
}

static inline void put_dims(Wire *w, unsigned field, const char *dims)
{
    for (char *end; *dims; dims = *end ? end + 1 : end)
        put_int(w, field, strtoll(dims, &end, 10));
}

/* ValueInfoProto of a tensor; dims like "2,N,4"; dtype 0: no type; dims NULL: no shape. */
static inline Wire info(const char *name, int dtype, const char *dims)
{
    Wire value = {0}, type = {0}, tensor = {0}, shape = {0};
    put_text(&value, 1, name);
    if (!dtype)
        return value;
    put_int(&tensor, 1, dtype);
    while (dims && *dims) {
        Wire dim = {0};
        size_t length = strcspn(dims, ",");
        if ((*dims >= '0' && *dims <= '9') || *dims == '-')
            put_int(&dim, 1, strtoll(dims, NULL, 10));
        else
            put_bytes(&dim, 2, dims, length);
        put_wire(&shape, 1, dim);
        dims += dims[length] ? length + 1 : length;
    }
    if (dims)
        put_wire(&tensor, 2, shape);
    put_wire(&type, 1, tensor);
    put_wire(&value, 2, type);
    return value;
}

/* TensorProto without data. */
static inline Wire tensor(const char *name, int dtype, const char *dims)
{
    Wire t = {0};
    put_dims(&t, 1, dims);
    put_int(&t, 2, dtype);
    if (name)
        put_text(&t, 8, name);
    return t;
}

static inline Wire floats(const char *name, const char *dims, unsigned count)
{
    Wire t = tensor(name, 1, dims);
    Wire raw = {0};
    for (unsigned i = 0; i < count; i++) {
        float value = (float)i + 0.5f;
        put_raw(&raw, &value, 4);
    }
    put_wire(&t, 9, raw);
    return t;
}

static inline Wire node(const char *op, const char *inputs, const char *outputs)
{
    Wire n = {0};
    put_list(&n, 1, inputs);
    put_list(&n, 2, outputs);
    put_text(&n, 4, op);
    return n;
}

static inline void put_node(Wire *graph, const char *op, const char *inputs, const char *outputs)
{
    put_wire(graph, 1, node(op, inputs, outputs));
}

static inline Wire attr(const char *name, int type)
{
    Wire a = {0};
    put_text(&a, 1, name);
    put_int(&a, 20, type);
    return a;
}

/* A node with one more attribute. */
static inline Wire with_int(Wire n, const char *name, int64_t value)
{
    Wire a = attr(name, 2);
    put_int(&a, 3, value);
    put_wire(&n, 5, a);
    return n;
}

static inline Wire with_ints(Wire n, const char *name, const char *list)
{
    Wire a = attr(name, 7);
    put_dims(&a, 8, list);
    put_wire(&n, 5, a);
    return n;
}

static inline Wire with_float(Wire n, const char *name, float value)
{
    Wire a = attr(name, 1);
    put_float(&a, 2, value);
    put_wire(&n, 5, a);
    return n;
}

static inline Wire with_text(Wire n, const char *name, const char *value)
{
    Wire a = attr(name, 3);
    put_text(&a, 4, value);
    put_wire(&n, 5, a);
    return n;
}

static inline Wire with_numbers(Wire n, const char *name, int count, const float *list)
{
    Wire a = attr(name, 6);
    for (int i = 0; i < count; i++)
        put_float(&a, 7, list[i]);
    put_wire(&n, 5, a);
    return n;
}
#define FLOATS(...)                                                                                \
    (int)(sizeof((float[]){__VA_ARGS__}) / sizeof(float)), ((const float[]){__VA_ARGS__})

static inline Wire with_graph(Wire n, const char *name, Wire graph)
{
    Wire a = attr(name, 5);
    put_wire(&a, 6, graph);
    put_wire(&n, 5, a);
    return n;
}

static inline Wire with_texts(Wire n, const char *name, const char *list)
{
    Wire a = attr(name, 8);
    put_list(&a, 9, list);
    put_wire(&n, 5, a);
    return n;
}

/* A node of another domain. */
static inline Wire in_domain(const char *domain, Wire n)
{
    put_text(&n, 7, domain);
    return n;
}

static inline Wire opset(const char *domain, int64_t version)
{
    Wire o = {0};
    if (domain)
        put_text(&o, 1, domain);
    put_int(&o, 2, version);
    return o;
}

/* A graph "g" with input x and output y, both float [2,3]. */
static inline Wire graph_xy(void)
{
    Wire g = {0};
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", 1, "2,3"));
    put_wire(&g, 12, info("y", 1, "2,3"));
    return g;
}

static inline Wire model(int64_t ir, int64_t version, Wire graph)
{
    Wire m = {0};
    put_int(&m, 1, ir);
    put_wire(&m, 8, opset(NULL, version));
    put_wire(&m, 7, graph);
    return m;
}

#endif
