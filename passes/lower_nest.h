/* From a group of graph nodes to one nest, by pulling: the value of a tensor at an index asks its
 * operands for theirs at indices of its own. Views, broadcasts, slices, pads and gathers are
 * nothing but other indices, so fusion is what remains when a group's inner tensors are pulled
 * instead of loaded. */
#ifndef QUERN_PASSES_LOWER_NEST_H
#define QUERN_PASSES_LOWER_NEST_H

#include "ir/graph.h"
#include "ir/nest.h"

/* A kernel to be. `inside` by tensor id: computed by this kernel (pulled), else loaded. */
typedef struct Group {
    const bool *inside;
    uint32_t root_count;
    Tensor **roots; /* results that are stored */
} Group;

/* How a tensor lies in memory: strides per dim in elements; NULL = row-major. */
typedef struct TensorLayout {
    const Expr **strides;
    int order[MAX_RANK]; /* dims from outermost to innermost */
} TensorLayout;

typedef struct LoweredGroup {
    Nest *nest;
    uint32_t tensor_count, bind_count;
    Tensor **tensors;         /* of nest->buffers, in order */
    struct BoundIndex *binds; /* indices read from data */
} LoweredGroup;

/* A symbol of the nest that stands for a loaded index, and the ONNX node that picks by it. */
typedef struct BoundIndex {
    const Expr *sym;
    const char *source;
} BoundIndex;

/* `layouts` by tensor id, or NULL when everything is row-major. */
bool lower_group(Cx *cx, const Graph *graph, const Group *group, const TensorLayout *layouts,
                 LoweredGroup *out);

/* Neighbouring dims of a reshape's operand and of its result with equally many elements. */
typedef struct DimSegment {
    int from, from_count, to, to_count;
} DimSegment;
/* The smallest segments, the last dims first; at most 2 * MAX_RANK. Their number. */
int lower_reshape_segments(Cx *cx, const GraphNode *node, DimSegment *segments);
/* Index into the operand of a reshape for an index into its result; false when it has no elements.
 */
bool lower_reshape_index(Cx *cx, const GraphNode *node, const Expr *const *index, const Expr **own);
/* The softmax over the last axis that gives the left operand of a product, through casts and
 * reshapes that keep rows and columns, all inside the group; NULL: none. */
const GraphNode *lower_softmax_inside(const Group *group, const GraphNode *product);
/* The last two dims are the same. */
bool lower_same_matrices(const Tensor *a, const Tensor *b);

/* ---- for lower_<op> only ---- */
typedef struct Pulled Pulled;

typedef struct Pull {
    Cx *cx;
    const Graph *graph;
    const Group *group;
    const TensorLayout *layouts;
    Nest *nest;
    Buffer **buffers; /* by tensor id */
    LoweredGroup *out;
    uint32_t tensor_cap, bind_cap;
    const GraphNode *node; /* whose value is asked for now */
    Pulled *memo;          /* what was pulled before, per context */
    int guard_count;       /* conditions under which the values asked for now are used */
    Guard guards[64];
} Pull;

/* The value of `tensor` at `index` (tensor->rank expressions), in its compute dtype. */
Value *pull(Pull *p, Tensor *tensor, const Expr *const *index);
/* Whether a node is a bitcast that is no conversion of integers: it has to be a root, and its
 * kernel stores the operand as what it is, for readers to load as the result's type. */
bool lower_gives_bits(const GraphNode *node);
/* The same where the guards hold, `fill` elsewhere; nothing is read there. */
Value *pull_guarded(Pull *p, Tensor *tensor, const Expr *const *index, const Guard *guards,
                    int count, Scalar fill);
/* A fresh reduction axis; extent 1 gives the constant 0 and no axis. Adds its bit to *axes. */
const Expr *pull_axis(Pull *p, const char *name, const Expr *extent, uint64_t *axes);
/* Reduces unless no axis is left. */
Value *pull_reduce(Pull *p, Monoid monoid, uint64_t axes, Value *value);
/* A computed integer as a symbol within lo..hi, which a run checks. */
const Expr *pull_bind(Pull *p, const char *stem, Value *value, const Expr *lo, const Expr *hi,
                      bool wraps);
/* A computed index as a symbol within 0..extent - 1, which a run checks; negative values count from
 * the end. */
const Expr *pull_bound_index(Pull *p, Value *value, const Expr *extent);
Value *pull_condition(Pull *p, const Guard *guards, int count);
/* Index of an operand that broadcasts to `rank` dims. */
void pull_broadcast(Pull *p, const Tensor *operand, int rank, const Expr *const *index,
                    const Expr **out);

/* One per canonical operation: the value of node->output at `index`. */
#define GRAPH(name, least, most, attrs)                                                            \
    Value *lower_##name(Pull *p, const GraphNode *node, const Expr *const *index);
#include "ir/graph.def"
#undef GRAPH

/* Whether the tensor's `count` known elements are first, first + step, first + 2 step ..., small
 * enough for their type: then one is a formula of its position. */
bool lower_progression(const Tensor *tensor, int64_t count, int64_t *step);

#endif
