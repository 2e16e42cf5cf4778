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

/* For group.c only. By tensor id: the matrix product whose attention kernel may compute the tensor,
 * or NULL (group_attention.c). `readers` by tensor id, NULL-terminated. */
const GraphNode **group_find_attention(Cx *cx, const Graph *graph, const Caps *caps,
                                       GraphNode *const *const *readers, uint32_t tensor_count);
/* From the attention's product to the group's root there are only maps of its shape, and views that
 * keep the last dim last and cut none. */
bool group_stores_attention(Cx *cx, GraphNode *const *const *readers, const GraphNode *product,
                            const GraphNode *root);

#endif
