/* Kernels that run only when there is something to compute. */
#ifndef QUERN_PASSES_NONEMPTY_H
#define QUERN_PASSES_NONEMPTY_H

#include "passes/lower_nest.h"

/* A group under the promise that some dims are 1 or more. */
typedef struct NonEmpty {
    const Graph *graph;
    Group group;
    const TensorLayout *layouts;
    uint32_t count; /* dims of the graph that may be 0, and what stands for them */
    const Expr **dims, **with;
} NonEmpty;

/* Dims bound during a run may be 0, and nothing divides by such a dim. Where a 0 leaves the group's
 * results without elements, the kernel need not run: in a copy of the group the dim is a symbol
 * that is at least 1. Without such dims `out` is what was given. */
void nonempty_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                    NonEmpty *out);

#endif
