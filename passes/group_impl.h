/* What the files of fusion share (group.c). */
#ifndef QUERN_PASSES_GROUP_IMPL_H
#define QUERN_PASSES_GROUP_IMPL_H

#include "passes/group.h"

/* What a node is to fusion. */
typedef enum NodeKind {
    K_free,    /* costs nothing to compute again */
    K_view,    /* its operand at other indices */
    K_map,     /* each element from single ones of its operands */
    K_row,     /* reduces axes, which may be spread again */
    K_combine, /* combines elements in another way */
    K_contraction,
    K_step /* no kernel: the host, a loop, a branch, or a part of what they give */
} NodeKind;
NodeKind group_node_kind(const GraphNode *node);
/* Whether a constant is read from memory: its elements are not known, or so many without a formula
 * that picking one by position would be a long chain of selections. */
bool group_is_table(const GraphNode *node);

/* By tensor id: the matrix product whose attention kernel may compute the tensor, or NULL
 * (group_attention.c). `readers` by tensor id, NULL-terminated. */
const GraphNode **group_find_attention(Cx *cx, const Graph *graph, const Caps *caps,
                                       GraphNode *const *const *readers, uint32_t tensor_count);
/* From the attention's product to the group's root there are only maps of its shape, and views that
 * keep the last dim last and cut none. */
bool group_stores_attention(Cx *cx, GraphNode *const *const *readers, const GraphNode *product,
                            const GraphNode *root);
/* By tensor id, in the arena of cx; what has no strides is laid out row-major. Groups and
 * tensor_count of the grouping are there. */
const TensorLayout *group_layouts(Cx *cx, const Graph *graph, const Grouping *grouping);

#endif
