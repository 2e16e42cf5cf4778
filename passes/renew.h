/* Copies of graphs over other dims. */
#ifndef QUERN_PASSES_RENEW_H
#define QUERN_PASSES_RENEW_H

#include "passes/lower_nest.h"

/* dims[i] becomes with[i] in all shapes, known contents, attributes of nodes and checks. Nodes and
 * tensors keep their numbers, so what is known by number (inside, layouts, tensors of the plan)
 * holds for the copy. Bodies are not copied. */
typedef struct Renew {
    Cx *cx;
    const Graph *graph;
    const bool *inside; /* by tensor: only the nodes that make these; NULL = all */
    uint32_t count;
    const Expr *const *dims, *const *with;
    Tensor **tensors; /* by number: the copy, or NULL; made by renew_graph */
    uint32_t tensor_count;
    bool overflows; /* some expression became poison */
} Renew;

Graph *renew_graph(Renew *r);
/* A tensor of the copy. */
Tensor *renew_tensor(Renew *r, const Tensor *tensor);
TensorLayout *renew_layouts(Renew *r, const TensorLayout *layouts);

#endif
