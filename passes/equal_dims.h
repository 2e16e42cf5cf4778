/* Dims that an operator makes equal are one while kernels are made. */
#ifndef QUERN_PASSES_EQUAL_DIMS_H
#define QUERN_PASSES_EQUAL_DIMS_H

#include "ir/graph.h"

/* A symbol that is a dim divided by what it has to be a multiple of: a hidden size by its heads. */
typedef struct DimShare {
    const Expr *sym, *whole; /* whole: a dim of the graph, or of one around it */
    const Expr *by;          /* over dims known before it, and over earlier shares */
} DimShare;

/* The graph over as few dims as its checks and those of the graphs around it leave: what kernels
 * are made of. Numbers of nodes and tensors stay. The graph itself keeps its dims, for what the
 * caller sees and for the checks of a run, which come before the kernels that rely on them. Without
 * such checks it is the graph that was given. */
typedef struct EqualDims {
    const Graph *graph;
    uint32_t share_count;
    const DimShare *shares; /* dims of the new graph that the given one has not */
} EqualDims;
EqualDims equal_dims(Cx *cx, const Graph *graph);

#endif
