/* Finds attention in a graph: a matrix product whose left operand is a softmax over its last axis,
 * of elementwise operations on another matrix product. As one kernel the scores never leave the
 * cache (sched_attention.c); group.c lets what is found here join that kernel.
 *
 *   matmul(., v)  <-  softmax  <-  map(.., bias, mask)*  <-  matmul(q, k)
 *
 * The scores and what is made of them have no other reader; k and v have the same batch dims.
 * Reshapes of the batch dims may stand anywhere between (heads that share keys), and casts between
 * floats: what is not stored is not rounded.
 *
 * What the nest must be for the skeleton to take it (nest_attention) is checked here: a group that
 * does not get there would compute scores again for every column of the result. */
#include "passes/group_impl.h"

#include <string.h>

/* Columns of v, depth of q and k. A block of threads keeps rows of all of them in shared memory and
 * registers (sched_flash.c), and has at least so many queries. */
enum { MOST_WIDE = 512, MOST_WIDE_GPU = 128, LEAST_ROWS_GPU = 16 };

typedef struct Find {
    const Graph *graph;
    const Caps *caps;
    GraphNode *const *const *readers;
    const GraphNode **member; /* by tensor id: the product it joins */
    const GraphNode *scores;  /* the first matrix product, when met */
} Find;

static bool is_output(const Graph *graph, const Tensor *tensor)
{
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (graph->outputs[i] == tensor)
            return true;
    return false;
}

/* Read by members only. */
static bool is_private(const Find *f, const Tensor *tensor, const GraphNode *product)
{
    for (GraphNode *const *r = f->readers[tensor->id]; *r; r++)
        if (*r != product && f->member[(*r)->output->id] != product)
            return false;
    return !is_output(f->graph, tensor);
}

/* What may stand between the two products and computes point by point, rows and columns as they
 * are. */
static bool is_between(const GraphNode *node)
{
    const Tensor *x = node->input_count ? node->inputs[0] : NULL;
    return node->op == OP_map || (node->op == OP_cast && dtype_is_float(x->dtype)) ||
           (node->op == OP_reshape && lower_same_matrices(x, node->output));
}

/* The operand of a node between the products that may hold scores. */
static bool may_be_scores(const GraphNode *node, int i)
{
    const Tensor *in = node->inputs[i];
    return node->op != OP_map || (graph_same_shape(in, node->output) && dtype_is_float(in->dtype));
}

static bool leads_to_product(const Tensor *tensor, int hops)
{
    const GraphNode *node = tensor->producer;
    if (node->op == OP_matmul)
        return true;
    for (int i = 0; hops > 0 && is_between(node) && i < node->input_count; i++)
        if (may_be_scores(node, i) && leads_to_product(node->inputs[i], hops - 1))
            return true;
    return false;
}

/* Takes in what leads from the scores to `tensor`; false when it cannot be one kernel. Operands
 * that come from no product (masks, biases) are no part of it. */
static bool take_scores(Find *f, Tensor *tensor, const GraphNode *product)
{
    enum { HOPS = 12 };
    const GraphNode *node = tensor->producer;
    if (f->member[tensor->id] == product)
        return true;
    if (dtype_compute(tensor->dtype) != dtype_compute(product->output->dtype) ||
        !is_private(f, tensor, product))
        return false;
    if (node->op == OP_matmul) {
        if (f->scores)
            return false;
        f->scores = node;
        f->member[tensor->id] = product;
        return true;
    }
    if (!is_between(node))
        return false;
    f->member[tensor->id] = product;
    bool found = false;
    for (int i = 0; i < node->input_count; i++) {
        if (!may_be_scores(node, i) || !leads_to_product(node->inputs[i], HOPS))
            continue;
        if (!take_scores(f, node->inputs[i], product))
            return false;
        found = true;
    }
    return found;
}

/* The softmax in front of a product, taken in with what stands between; NULL: none. */
static const GraphNode *take_softmax(Find *f, const GraphNode *product)
{
    Tensor *tensor = product->inputs[0];
    for (;;) {
        const GraphNode *node = tensor->producer;
        if (!is_private(f, tensor, product))
            return NULL;
        f->member[tensor->id] = product;
        if (node->op == OP_softmax)
            return node->attrs[AT_axis].i == tensor->rank - 1 ? node : NULL;
        if (node->op == OP_map || !is_between(node))
            return NULL;
        tensor = node->inputs[0];
    }
}

static bool small_dim(const Find *f, const Tensor *tensor, int from_end)
{
    int most = f->caps->kind == TK_cpu ? MOST_WIDE : MOST_WIDE_GPU;
    const Expr *extent = tensor->shape[tensor->rank - from_end];
    return extent->kind == EX_const && extent->value > 1 && extent->value <= most;
}

static bool same_batch(const Tensor *a, const Tensor *b)
{
    return a->rank == b->rank &&
           (a->rank == 2 ||
            memcmp(a->shape, b->shape, (size_t)(a->rank - 2) * sizeof *a->shape) == 0);
}

/* On a GPU: enough queries, single precision. */
static bool suits_target(const Find *f, const Tensor *product, Dtype dtype)
{
    return f->caps->kind == TK_cpu ||
           (target_is_gpu(f->caps) && dtype == DT_f32 && product->rank >= 2 &&
            product->shape[product->rank - 2]->hi >= LEAST_ROWS_GPU);
}

static bool is_attention(Find *f, const GraphNode *product)
{
    const Tensor *v = product->inputs[1];
    Dtype dtype = dtype_compute(product->output->dtype);
    f->scores = NULL;
    if ((dtype != DT_f32 && dtype != DT_f64) || !suits_target(f, product->output, dtype) ||
        !small_dim(f, v, 1))
        return false;
    const GraphNode *softmax = take_softmax(f, product);
    if (!softmax || !lower_same_matrices(softmax->output, product->inputs[0]) ||
        !take_scores(f, softmax->inputs[0], product))
        return false;
    const Tensor *q = f->scores->inputs[0], *k = f->scores->inputs[1];
    const Expr *keys = k->shape[k->rank - 1];
    return same_batch(k, v) && small_dim(f, q, 1) && !expr_is_const(keys, 1) &&
           lower_same_matrices(f->scores->output, softmax->output);
}

/* A view after which every element is where it was along the last dim, and no dim is cut: the
 * result of an attention may be stored through it. */
static bool keeps_columns(Cx *cx, const GraphNode *node)
{
    DimSegment segments[2 * MAX_RANK];
    int last = node->output->rank - 1;
    if (node->op == OP_transpose)
        return node->attrs[AT_perm].ints[last] == last;
    int count = node->op == OP_reshape ? lower_reshape_segments(cx, node, segments) : 0;
    for (int i = 0; i < count; i++)
        if (segments[i].to_count > 1)
            return false;
    return count > 0;
}

bool group_stores_attention(Cx *cx, GraphNode *const *const *readers, const GraphNode *product,
                            const GraphNode *root)
{
    const GraphNode *node = product;
    while (node != root) {
        const Tensor *x = node->output;
        node = readers[x->id][0];
        if (!node ||
            ((node->op == OP_map || node->op == OP_cast) ? !graph_same_shape(node->output, x)
                                                         : !keeps_columns(cx, node)))
            return false;
    }
    return true;
}

const GraphNode **group_find_attention(Cx *cx, const Graph *graph, const Caps *caps,
                                       GraphNode *const *const *readers, uint32_t tensor_count)
{
    Find f = {.graph = graph,
              .caps = caps,
              .readers = readers,
              .member = NEW_ARRAY(cx->arena, const GraphNode *, tensor_count)};
    for (uint32_t i = 0; i < graph->node_count; i++) {
        const GraphNode *product = graph->nodes[i];
        if (product->op != OP_matmul || is_attention(&f, product))
            continue;
        for (uint32_t t = 0; t < tensor_count; t++)
            if (f.member[t] == product)
                f.member[t] = NULL;
    }
    return f.member;
}
