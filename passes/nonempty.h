/* Kernels that run only when there is something to compute. */
#ifndef QUERN_PASSES_NONEMPTY_H
#define QUERN_PASSES_NONEMPTY_H

#include "passes/lower_nest.h"

/* A group under the promise that some dims are not too small. */
typedef struct NonEmpty {
    const Graph *graph;
    Group group;
    const TensorLayout *layouts;
    uint32_t count; /* dims of the graph, and what stands for them */
    const Expr **dims, **with;
} NonEmpty;

/* Dims bound during a run may be 0, extents computed from dims may be 0 too, and nothing divides by
 * what may be 0. Where small values of a dim leave the group's results without elements, the kernel
 * need not run for them: in a copy of the group the dim is a symbol with a greater least value.
 * Without such dims `out` is what was given. */
void nonempty_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                    NonEmpty *out);

#endif
