/* The graph: what a model means. SSA of canonical tensor operations (graph.def) on tensors whose dims are expressions.
 *
 * Text form (print -> parse -> print is the identity); tensors are numbered, names are only carried along:
 *   graph mlp {
 *     dim N 1..1024
 *     in %0 f32 [N, 784] "x"
 *     const %1 f32 [784, 10] @0 "w"        # @0: number of the weight, whose data is in the model
 *     const %2 f32 [10] = [0, 1, ...]      # small data inline
 *     %3 = matmul %0, %1 : f32 [N, 10] from "node 'fc1' (Gemm)"
 *     %4 = map %3, %2 scalar=add : f32 [N, 10]
 *     %5 = host %4 host=nonzero dtypes=[i64] ranks=[2] : bundle
 *     %6 = part %5 index=0 dtype=i64 shape=[2, h0] : i64 [2, h0]
 *     out %4 "y"
 *   }
 *
 * Builders infer shapes and fail through cx_fail with both shapes; given a poison value (op OP_none) they return poison.
 * A node has one output. What gives several results (host operations, loops, branches) gives a *bundle*, which has no type
 * and no storage; `part` nodes alone read it. Loops and branches have *bodies*, graphs of their own that see nothing of the
 * graph around them but what their inputs are given and the symbols of dims; a body's text stands behind the attributes. How large a part is may be known only once it was computed: such a dim is a symbol that the part
 * binds. Every node that uses the symbol, in a shape or an attribute, comes after it.
 *
 * Small integer tensors carry their elements as expressions (`elements`), which is how Shape -> Gather -> Concat -> Reshape
 * vanishes at compile time even when a dim is a symbol. */
#ifndef QUERN_IR_GRAPH_H
#define QUERN_IR_GRAPH_H

#include "ir/value.h"

typedef enum GraphOp {
    OP_none,
    OP_list, /* a list of tensors while a model is imported; never in a graph */
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

enum { GRAPH_MAX_ELEMENTS = 256 };

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
    struct Graph *graph;     /* it was made in */
    int body_count;
    struct Graph **bodies;
    Attr attrs[AT_count];
};

/* What shape inference assumed about symbolic dims: checked when the dims are known. */
typedef struct GraphCheck {
    const Expr *a, *b;
    SizeRule rule;
    const char *source;
} GraphCheck;

typedef struct Graph Graph;
struct Graph {
    Cx *cx;
    const char *name;
    Graph *outer;            /* of a body: the graph around it */
    uint32_t dim_count, dim_cap;
    const Expr **dims;       /* symbols of the inputs' dims, and those that parts bind; in a body also those it uses of the
                                graphs around it */
    uint32_t node_count, node_cap;
    GraphNode **nodes;       /* topological */
    uint32_t input_count, input_cap;
    Tensor **inputs;
    uint32_t output_count, output_cap;
    Tensor **outputs;
    const char **output_names;
    uint32_t weight_count;
    uint32_t tensor_count;   /* ids are below this */
    uint32_t check_count, check_cap;
    GraphCheck *checks;
    const char *source;      /* given to new nodes: the importer sets it per ONNX node */
    uint32_t fresh_count;    /* of dims bound during the run, those of bodies included */
};

Graph *graph_new(Cx *cx, const char *name);
const char *graph_op_name(GraphOp op);
Tensor *graph_input(Graph *graph, const char *name, Dtype dtype, int rank, const Expr *const *shape);
/* `data` stays where it is. With a name it is a weight of the model (gets the next number), without one a small literal. */
Tensor *graph_constant(Graph *graph, const char *name, Dtype dtype, int rank, const int64_t *shape, const void *data);
void graph_output(Graph *graph, Tensor *tensor, const char *name);
/* The one builder behind all of the following: checks arity and attributes against graph.def, infers, simplifies trivial cases
 * (reshape to the same shape, cast to the same dtype, transposes of constants' element lists, integer folding of `elements`). */
Tensor *graph_node(Graph *graph, GraphOp op, int input_count, Tensor *const *inputs, const Attr attrs[AT_count]);
/* What builders return after a failure; they return it again for any input that is poison. */
Tensor *graph_poison(Graph *graph);
static inline bool tensor_is_poison(const Tensor *tensor)
{
    return tensor->producer->op == OP_none;
}
/* Attributes for graph_node: lists are copied. */
Attr attr_int(int64_t value);
Attr attr_float(double value);
Attr attr_name(const char *name);
Attr attr_ints(Cx *cx, int count, const int64_t *values);
Attr attr_exprs(Cx *cx, int count, const Expr *const *values);
/* Number of elements, an expression; -1 from tensor_count_const when it is not a constant. */
const Expr *tensor_count(Cx *cx, const Tensor *tensor);
int64_t tensor_count_const(Cx *cx, const Tensor *tensor);
bool graph_same_shape(const Tensor *a, const Tensor *b);
/* Two dims that must agree, or broadcast: fails with `what` when they never do, notes a check when it is open.
 * graph_broadcast gives the dim of the result. */
bool graph_same_dim(Graph *graph, const Expr *a, const Expr *b);
const Expr *graph_broadcast(Graph *graph, const Expr *a, const Expr *b); /* NULL when they never agree */
/* whole / by, for a whole that has to be a multiple: notes a check when it is open. NULL when it never is, or `by` may be
 * 0. */
const Expr *graph_share(Graph *graph, const Expr *whole, const Expr *by);
void tensor_print_type(Text *text, const Tensor *tensor);                /* f32 [N, 10] */
const char *tensor_shape_text(Cx *cx, const Tensor *tensor);             /* [N, 10], for messages */

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
Tensor *graph_fill(Graph *graph, Tensor *scalar, int rank, const Expr *const *shape);
Tensor *graph_iota(Graph *graph, Dtype dtype, int rank, const Expr *const *shape, int axis);
Tensor *graph_reduce(Graph *graph, Monoid monoid, Tensor *x, int count, const int64_t *axes, bool keep);
Tensor *graph_matmul(Graph *graph, Tensor *a, Tensor *b);
Tensor *graph_softmax(Graph *graph, Tensor *x, int axis, bool masked);
Tensor *graph_elements(Graph *graph, int rank, const int64_t *shape, const Expr *const *elements); /* OP_dim_value, i64 */
/* The same of any integer type or bool. Elements that are all constant become a constant. */
Tensor *graph_elements_of(Graph *graph, Dtype dtype, int rank, const int64_t *shape, const Expr *const *elements);

/* One result of a host operation. shape[d] NULL (or shape NULL): known only when it has run, between 0 and the upper bound
 * of most[d] (most, or most[d], NULL: no limit). */
typedef struct HostResult {
    Dtype dtype;
    int rank;
    const Expr *const *shape;
    const Expr *const *most;
} HostResult;
enum { GRAPH_MAX_RESULTS = 64 };

/* A step on the host and its results: `name` is a row of runtime/host.def, whose function says what the inputs are (an
 * omitted one is a u8 constant of shape [0]). False after a failure or for poison; outputs are poison then. */
bool graph_host(Graph *graph, const char *name, int input_count, Tensor *const *inputs, int result_count,
                const HostResult *results, Tensor **outputs);
/* A body of a node to be made in `outer`. When it has its nodes and outputs, graph_body_end sweeps it and collects the
 * symbols it uses. */
Graph *graph_body(Graph *outer, const char *name);
void graph_body_end(Graph *body);
/* A loop: inputs are trip (i64 []: at most so many iterations), condition (bool []: whether there is a first one), the
 * carried values at the beginning, captures. Its body's inputs: number of the iteration (i64 []), carried values, captures;
 * its outputs: with `until` whether to go on (bool []), carried values, stacked values. Results: carried values at the end,
 * stacked values with the iterations along a new first dim. An extent of a carried value that changes is a symbol of the
 * body (graph_fresh_dim); the result's is a fresh one then. */
bool graph_loop(Graph *graph, Graph *body, int carried, bool until, int input_count, Tensor *const *inputs,
                Tensor **outputs);
/* A branch: inputs are the condition (bool []) and captures, which both bodies have as inputs; results are the outputs of
 * bodies[0] when it holds, else of bodies[1]. Extents on which they differ are fresh dims. */
bool graph_branch(Graph *graph, Graph *const bodies[2], int input_count, Tensor *const *inputs, Tensor **outputs);
/* Whether the graphs around this one have all symbols of the expression. */
bool graph_is_outer(const Graph *graph, const Expr *e);
/* A dim that is bound during the run: a symbol with a name of its own. */
const Expr *graph_fresh_dim(Graph *graph, int64_t hi);
bool tensor_is_bundle(const Tensor *tensor);
/* Where a dim of the graph gets its value, when the graphs around it do not have it: the first input, else the first part, that has the symbol itself as an extent.
 * tensor NULL: nowhere. By dim, in the job's arena. */
typedef struct DimSource {
    const Tensor *tensor;
    int axis;
} DimSource;
const DimSource *graph_dim_sources(const Graph *graph);
/* Calls visit for the symbols of the node's type and attributes, and for those that its bodies use of the graphs around
 * them; once or more each. */
void graph_node_symbols(Cx *cx, const GraphNode *node, void (*visit)(void *user, const Expr *sym), void *user);

void graph_count_uses(Graph *graph);
/* Removes what no output needs and numbers nodes and tensors anew: inputs first, then operands before their users, depth first
 * from the outputs. So the order is a matter of the graph alone, not of how it was built. Inputs stay. */
void graph_sweep(Graph *graph);
bool graph_verify(Graph *graph);
void graph_print(Text *text, const Graph *graph);
Graph *graph_parse(Cx *cx, const char *file, const char *text);

#endif
