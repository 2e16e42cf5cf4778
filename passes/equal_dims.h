/* Dims that an operator makes equal are one while kernels are made. */
#ifndef QUERN_PASSES_EQUAL_DIMS_H
#define QUERN_PASSES_EQUAL_DIMS_H

#include "ir/graph.h"

/* The graph over as few dims as its checks and those of the graphs around it leave: what kernels
 * are made of. Numbers of nodes and tensors stay. The graph itself keeps its dims, for what the
 * caller sees and for the checks of a run, which come before the kernels that rely on them. Without
 * such checks it is the graph that was given. */
const Graph *equal_dims(Cx *cx, const Graph *graph);

#endif
