/* The graph: what a model means. SSA of canonical tensor operations (graph.def) on tensors whose dims are expressions.
 *
 * Text form (print -> parse -> print is the identity):
 *   graph mlp {
 *     dim N 1..1024
 *     in %x f32 [N, 784]
 *     const %w f32 [784, 10] @0            # number of the weight; `= [1, 2]` shows small integer or float data inline
 *     %3 = matmul %x, %w : f32 [N, 10]     # "fc1"   <- the ONNX node it comes from
 *     %4 = map %3, %b scalar=add : f32 [N, 10]
 *     out %4 "y"
 *   }
 *
 * Builders infer shapes and fail through cx_fail with both shapes; given a poison value (op OP_none) they return poison.
 * Small integer tensors carry their elements as expressions (`elements`), which is how Shape -> Gather -> Concat -> Reshape
 * vanishes at compile time even when a dim is a symbol. */
#ifndef QUERN_IR_GRAPH_H
#define QUERN_IR_GRAPH_H

#include "ir/value.h"

typedef enum GraphOp {
    OP_none,
    OP_input,
#define GRAPH(name, least, most, attrs) OP_##name,
#include "ir/graph.def"
#undef GRAPH
    OP_count
} GraphOp;

typedef enum AttrName {
#define ATTR(name, kind) AT_##name,
#include "ir/attrs.def"
#undef ATTR
    AT_count
} AttrName;

typedef struct Attr {
    bool set;
    int64_t i;
    double f;
    const char *name;
    int count;
    const int64_t *ints;
    const Expr **exprs;
} Attr;

typedef struct GraphNode GraphNode;

/* A tensor. Constants: `data` points to `bytes` packed bytes (in the mapped model file: unaligned, not owned). */
typedef struct Tensor {
    const char *name;        /* ONNX name, for messages and API; may be NULL */
    Dtype dtype;
    int rank;
    const Expr **shape;
    GraphNode *producer;     /* never NULL: constants and inputs have nodes too */
    const void *data;
    int64_t bytes;
    int weight;              /* position among the model's weights, or -1 */
    const Expr **elements;   /* known integer contents (row-major), or NULL; at most 256 */
    uint32_t id, uses;       /* uses: filled by graph_count_uses */
} Tensor;

struct GraphNode {
    GraphOp op;
    const char *source;      /* "node 'fc1' (Gemm)": for messages */
    uint32_t id;
    int input_count;
    Tensor **inputs;
    Tensor *output;          /* one output each */
    Attr attrs[AT_count];
};

typedef struct Graph {
    Cx *cx;
    const char *name;
    uint32_t dim_count, dim_cap;
    const Expr **dims;       /* symbols of the inputs' dims */
    uint32_t node_count, node_cap;
    GraphNode **nodes;       /* topological */
    uint32_t input_count, input_cap;
    Tensor **inputs;
    uint32_t output_count, output_cap;
    Tensor **outputs;
    const char **output_names;
    uint32_t weight_count;
    const char *source;      /* given to new nodes: the importer sets it per ONNX node */
} Graph;

Graph *graph_new(Cx *cx, const char *name);
const char *graph_op_name(GraphOp op);
Tensor *graph_input(Graph *graph, const char *name, Dtype dtype, int rank, const Expr *const *shape);
Tensor *graph_constant(Graph *graph, const char *name, Dtype dtype, int rank, const int64_t *shape, const void *data);
void graph_output(Graph *graph, Tensor *tensor, const char *name);
/* The one builder behind all of the following: checks arity and attributes against graph.def, infers, simplifies trivial cases
 * (reshape to the same shape, cast to the same dtype, transposes of constants' element lists, integer folding of `elements`). */
Tensor *graph_node(Graph *graph, GraphOp op, int input_count, Tensor *const *inputs, const Attr attrs[AT_count]);

Tensor *graph_map(Graph *graph, ScalarOp op, Tensor *a, Tensor *b, Tensor *c); /* broadcasts; unused NULL */
Tensor *graph_scalar(Graph *graph, Dtype dtype, double value);                /* rank 0 constant */
Tensor *graph_cast(Graph *graph, Tensor *x, Dtype dtype);
Tensor *graph_reshape(Graph *graph, Tensor *x, int rank, const Expr *const *shape);
Tensor *graph_expand(Graph *graph, Tensor *x, int rank, const Expr *const *shape);
Tensor *graph_transpose(Graph *graph, Tensor *x, const int64_t *perm);
Tensor *graph_slice(Graph *graph, Tensor *x, const Expr *const *starts, const Expr *const *sizes, const int64_t *steps);
Tensor *graph_pad(Graph *graph, Tensor *x, Tensor *fill, const Expr *const *before, const Expr *const *after, const char *mode);
Tensor *graph_concat(Graph *graph, int count, Tensor *const *inputs, int axis);
Tensor *graph_gather(Graph *graph, Tensor *x, Tensor *indices, int axis);
Tensor *graph_reduce(Graph *graph, Monoid monoid, Tensor *x, int count, const int64_t *axes, bool keep);
Tensor *graph_matmul(Graph *graph, Tensor *a, Tensor *b);
Tensor *graph_softmax(Graph *graph, Tensor *x, int axis);
Tensor *graph_elements(Graph *graph, int rank, const int64_t *shape, const Expr *const *elements); /* OP_dim_value, i64 */

void graph_count_uses(Graph *graph);
bool graph_verify(Graph *graph);
void graph_print(Text *text, const Graph *graph);
Graph *graph_parse(Cx *cx, const char *file, const char *text);

#endif
