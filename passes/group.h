/* Fusion: which graph nodes one kernel computes, and in which order kernels run. */
#ifndef QUERN_PASSES_GROUP_H
#define QUERN_PASSES_GROUP_H

#include "ir/target.h"
#include "passes/lower_nest.h"

typedef struct GroupInfo {
    Group group;
    bool init;       /* depends on weights only: runs once at load */
    const char *why; /* why the fusion stopped at its root: for inspect */
    uint32_t node_count;
    GraphNode **nodes; /* inside, topological: for inspect and messages */
} GroupInfo;

typedef struct Grouping {
    uint32_t count;
    GroupInfo *groups;           /* in order of execution */
    const TensorLayout *layouts; /* by tensor id */
    uint32_t tensor_count;
} Grouping;

/* Every graph output that is no input or constant is the root of a group or copied by one. `caps`:
 * the target, which decides what one kernel can do. */
Grouping *group_graph(Cx *cx, const Graph *graph, const Caps *caps);

#endif
