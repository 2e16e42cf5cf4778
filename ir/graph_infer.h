/* Inside of the graph: shape inference, one function per row of graph.def, and element lists. */
#ifndef QUERN_IR_GRAPH_INFER_H
#define QUERN_IR_GRAPH_INFER_H

#include "ir/graph.h"

/* Sets rank, shape and dtype of `out` (shape has room for MAX_RANK). Inputs are no poison; arity
 * and the set of attributes fit graph.def. Failure goes through cx_fail. */
typedef void InferOp(Graph *graph, const GraphNode *node, Tensor *out);

#define GRAPH(name, least, most, attrs)                                                            \
    void infer_##name(Graph *graph, const GraphNode *node, Tensor *out);
#include "ir/graph.def"
#undef GRAPH

void graph_infer(Graph *graph, const GraphNode *node, Tensor *out);

/* What inference is written with; checks are false after a failure. */
void infer_fail(Graph *graph, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void infer_disagree(Graph *graph, const Tensor *a, const Tensor *b); /* fails: shapes */
void infer_copy_type(const Tensor *from, Tensor *out);
/* A list attribute of exactly `count` entries; AT_axis within a rank. */
bool infer_has_list(Graph *graph, const GraphNode *node, AttrName name, int count);
bool infer_has_axis(Graph *graph, const GraphNode *node, int rank);
bool infer_same_dtype(Graph *graph, const Tensor *a, const Tensor *b);
/* Sets the result's shape from a list of expressions. */
bool infer_set_shape(Graph *graph, const Attr *shape, Tensor *out);
/* Whether operands are of one type that products and sums are defined on. */
bool infer_multiplies(Graph *graph, const GraphNode *node);

/* Element lists: fills out->elements when the contents of `out` (shape known) follow from those of
 * the inputs. */
void graph_fold_elements(Graph *graph, const GraphNode *node, Tensor *out);
/* Integer or bool data as a list of constants; NULL when it is no such type or more than
 * GRAPH_MAX_ELEMENTS. */
const Expr **graph_data_elements(Cx *cx, Dtype dtype, int64_t count, const void *data);

/* graph_node with bodies; the outermost graph; adds a symbol to the dims of a graph (`user`). */
Tensor *graph_node_bodies(Graph *graph, GraphOp op, int input_count, Tensor *const *inputs,
                          const Attr attrs[AT_count], int body_count, Graph *const *bodies);
Graph *graph_root(Graph *graph);
void graph_use_dim(void *user, const Expr *sym);
/* Fails when a tensor cannot have the rank. */
bool graph_rank_fits(Graph *graph, int rank);

/* Attributes an operation may carry, as bits; arity. */
uint64_t graph_op_attrs(GraphOp op);
int graph_op_least(GraphOp op);
int graph_op_most(GraphOp op);

#endif
