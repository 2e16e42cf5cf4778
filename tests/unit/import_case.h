/* One ONNX node as a model, run by the interpreter, against values computed by hand. */
#ifndef QUERN_TESTS_IMPORT_CASE_H
#define QUERN_TESTS_IMPORT_CASE_H

#include <math.h>

#include "import_run.h"
#include "onnx_wire.h"

/* An input or a wanted output. Values are converted to the dtype. */
typedef struct Item {
    const char *name;
    Dtype dtype;
    const char *dims; /* "2,3" */
    const double *values;
    bool weight;       /* part of the model */
    const char *types; /* dims in the model, when some are symbols */
} Item;

#define VALUES(...) ((const double[]){__VA_ARGS__})
#define F32(name, dims, ...)                                                                       \
    {                                                                                              \
        name, DT_f32, dims, VALUES(__VA_ARGS__), false, NULL                                       \
    }
#define W32(name, dims, ...)                                                                       \
    {                                                                                              \
        name, DT_f32, dims, VALUES(__VA_ARGS__), true, NULL                                        \
    }
#define I64(name, dims, ...)                                                                       \
    {                                                                                              \
        name, DT_i64, dims, VALUES(__VA_ARGS__), false, NULL                                       \
    }
#define W64(name, dims, ...)                                                                       \
    {                                                                                              \
        name, DT_i64, dims, VALUES(__VA_ARGS__), true, NULL                                        \
    }
#define ITEM(dtype, name, dims, ...)                                                               \
    {                                                                                              \
        name, DT_##dtype, dims, VALUES(__VA_ARGS__), false, NULL                                   \
    }
#define OPEN(name, dims, types, ...)                                                               \
    {                                                                                              \
        name, DT_f32, dims, VALUES(__VA_ARGS__), false, types                                      \
    }
/* An output of a model, whose dims are no numbers. */
#define GIVES(dtype, name, types)                                                                  \
    {                                                                                              \
        name, DT_##dtype, types, NULL, false, NULL                                                 \
    }
#define ITEMS(...) ((const Item[]){__VA_ARGS__, {NULL, DT_none, NULL, NULL, false, NULL}})

typedef struct Case {
    Wire wire;
    const Item *in, *out;
    const int64_t *sizes; /* of the graph's symbols, in order */
} Case;

static inline int item_dims(const Item *item, int64_t *dims)
{
    int rank = 0;
    char *end;
    for (const char *at = item->dims; *at; at = *end ? end + 1 : end)
        dims[rank++] = strtoll(at, &end, 10);
    return rank;
}

static inline int64_t item_count(const Item *item)
{
    int64_t dims[MAX_RANK], count = 1;
    for (int d = item_dims(item, dims) - 1; d >= 0; d--)
        count *= dims[d];
    return count;
}

/* Packed, with room behind. */
static inline char *item_data(const Item *item)
{
    int64_t count = item_count(item);
    char *data = NEW_ARRAY(&wire_arena, char, (size_t)dtype_bytes(item->dtype, count) + 8);
    for (int64_t i = 0; i < count; i++) {
        Scalar value = {.f = item->values[i]};
        value = dtype_convert(dtype_compute(item->dtype), DT_f64, value);
        dtype_store(item->dtype, data, i, value);
    }
    return data;
}

static inline Wire case_graph(int64_t version, const Wire *nodes, int count, const Item *in,
                              const Item *out)
{
    Wire g = {0};
    put_text(&g, 2, "g");
    for (; in->name; in++) {
        if (in->weight) {
            Wire t = tensor(in->name, (int)in->dtype, in->dims);
            put_bytes(&t, 9, item_data(in), (size_t)dtype_bytes(in->dtype, item_count(in)));
            put_wire(&g, 5, t);
        } else {
            put_wire(&g, 11, info(in->name, (int)in->dtype, in->types ? in->types : in->dims));
        }
    }
    for (int i = 0; i < count; i++)
        put_wire(&g, 1, nodes[i]);
    for (; out->name; out++)
        put_wire(&g, 12, info(out->name, (int)out->dtype, out->dims));
    Wire m = model(8, version, g);
    put_wire(&m, 8, opset("ai.onnx.ml", 5));
    put_wire(&m, 8, opset("ai.onnx.preview", 1));
    put_wire(&m, 8, opset("ai.onnx.preview.training", 1));
    return m;
}

static inline Wire case_model(int64_t version, Wire n, const Item *in, const Item *out)
{
    return case_graph(version, &n, 1, in, out);
}

static inline void case_check(ImportRun *run, const Tensor *y, const Item *want)
{
    int64_t dims[MAX_RANK];
    int rank = item_dims(want, dims);
    cr_assert_eq(y->dtype, want->dtype, "%s is %s", want->name, dtype_name(y->dtype));
    cr_assert_eq(y->rank, rank, "%s is %s", want->name, tensor_shape_text(run->cx, y));
    for (int d = 0; d < rank; d++)
        cr_assert_eq(import_run_size(run, y->shape[d]), dims[d], "%s is %s", want->name,
                     tensor_shape_text(run->cx, y));
    for (int64_t i = 0; i < item_count(want); i++) {
        Scalar raw = dtype_load(y->dtype, import_run_memory(run, y), i);
        double got = dtype_convert(DT_f64, dtype_compute(y->dtype), raw).f, value = want->values[i];
        bool same = got == value || (isnan(got) && isnan(value)) ||
                    fabs(got - value) <= 1e-6 + 1e-5 * fabs(value);
        cr_expect(same, "%s[%lld] is %.9g, not %.9g", want->name, (long long)i, got, value);
    }
}

static inline void case_body(Cx *cx, void *user)
{
    const Case *c = user;
    void *inputs[16];
    int count = 0;
    const OnnxModel *m = onnx_model_from_memory(cx, c->wire.data, c->wire.size, NULL);
    Graph *graph = m ? import_model(cx, m, NULL, NULL) : NULL;
    if (!graph || !graph_verify(graph))
        return;
    for (const Item *in = c->in; in->name; in++)
        if (!in->weight && count < 16)
            inputs[count++] = item_data(in);
    ImportRun run = {.cx = cx, .graph = graph, .dims = c->sizes};
    if (!import_run(&run, inputs))
        return;
    for (uint32_t i = 0; i < graph->output_count; i++)
        case_check(&run, graph->outputs[i], &c->out[i]);
}

static inline void expect_sized(int64_t version, Wire n, const Item *in, const Item *out,
                                const int64_t *sizes)
{
    static Cx cx;
    Case c = {case_model(version, n, in, out), in, out, sizes};
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, case_body, &c);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

/* Several nodes. */
#define NODES(...) ((const Wire[]){__VA_ARGS__, {NULL, 0, 0}})
static inline void expect_nodes(int64_t version, const Wire *nodes, const Item *in, const Item *out)
{
    static Cx cx;
    int count = 0;
    while (nodes[count].data)
        count++;
    Case c = {case_graph(version, nodes, count, in, out), in, out, NULL};
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, case_body, &c);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

/* The node, in a model of this opset, makes `out` of `in`. */
static inline void expect_node(int64_t version, Wire n, const Item *in, const Item *out)
{
    expect_sized(version, n, in, out, NULL);
}

/* It is refused, with a message that holds `text`. */
static inline void expect_refused(int64_t version, Wire n, const Item *in, const char *text)
{
    static Cx cx;
    static const Item out[] = {{"y", DT_f32, "", NULL, false, NULL},
                               {NULL, DT_none, NULL, NULL, false, NULL}};
    Case c = {case_model(version, n, in, out), in, out, NULL};
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, case_body, &c);
    cr_assert(cx.status != ST_ok, "wanted '%s'", text);
    cr_expect(strstr(cx.message, text), "'%s' is not in: %s", text, cx.message);
    cx_finish(&cx);
}

#endif
