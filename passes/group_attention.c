/* Finds attention in a graph: a matrix product whose left operand is a softmax over its last axis,
 * of elementwise operations on another matrix product. As one kernel the scores never leave the
 * cache (sched_attention.c); group.c lets what is found here join that kernel.
 *
 *   matmul  <- softmax <- map* <- matmul      the scores and what is made of them have no other
 * reader ^                   ^        ^   ^ v         bias, mask, ..     q   k     k and v have the
 * same batch dims
 *
 * What the nest must be for the skeleton to take it (nest_attention) is checked here: a group that
 * does not get there would compute scores again for every column of the result. */
#include "passes/group.h"

#include <string.h>

enum { MOST_WIDE = 512 }; /* columns of v, depth of q and k */

typedef struct Find {
    const Graph *graph;
    GraphNode *const *const *readers;
    const GraphNode **member; /* by tensor id: the product it joins */
    const GraphNode *scores;  /* the first matrix product, when met */
} Find;

static bool same_shape(const Tensor *a, const Tensor *b)
{
    return a->rank == b->rank &&
           (!a->rank || memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0);
}

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

/* Takes in what leads from the scores to `tensor`; false when it cannot be one kernel. */
static bool take_scores(Find *f, Tensor *tensor, const GraphNode *product)
{
    const GraphNode *node = tensor->producer;
    if (f->member[tensor->id] == product)
        return true;
    if (tensor->dtype != product->output->dtype || !is_private(f, tensor, product))
        return false;
    if (node->op == OP_matmul) {
        if (f->scores)
            return false;
        f->scores = node;
        f->member[tensor->id] = product;
        return true;
    }
    if (node->op != OP_map)
        return false;
    f->member[tensor->id] = product;
    bool found = false;
    for (int i = 0; i < node->input_count; i++) {
        Tensor *in = node->inputs[i];
        GraphOp op = in->producer->op;
        if (!same_shape(in, tensor) || (op != OP_map && op != OP_matmul) ||
            in->dtype != tensor->dtype)
            continue;
        /* A bias of full shape that was computed is told from the scores by being no part of them:
         * only one operand may be. */
        if (found || !take_scores(f, in, product))
            return false;
        found = true;
    }
    return found;
}

static bool small_dim(const Tensor *tensor, int from_end)
{
    const Expr *extent = tensor->shape[tensor->rank - from_end];
    return extent->kind == EX_const && extent->value > 1 && extent->value <= MOST_WIDE;
}

static bool same_batch(const Tensor *a, const Tensor *b)
{
    return a->rank == b->rank &&
           (a->rank == 2 ||
            memcmp(a->shape, b->shape, (size_t)(a->rank - 2) * sizeof *a->shape) == 0);
}

static bool is_attention(Find *f, const GraphNode *product)
{
    const GraphNode *softmax = product->inputs[0]->producer;
    const Tensor *v = product->inputs[1];
    Dtype dtype = product->output->dtype;
    f->scores = NULL;
    if (softmax->op != OP_softmax || softmax->attrs[AT_axis].i != softmax->output->rank - 1 ||
        (dtype != DT_f32 && dtype != DT_f64) || !small_dim(v, 1) ||
        !is_private(f, softmax->output, product))
        return false;
    f->member[softmax->output->id] = product;
    if (!take_scores(f, softmax->inputs[0], product))
        return false;
    const Tensor *q = f->scores->inputs[0], *k = f->scores->inputs[1];
    const Expr *keys = k->shape[k->rank - 1];
    return same_batch(k, v) && small_dim(q, 1) && !expr_is_const(keys, 1) &&
           same_shape(f->scores->output, softmax->output);
}

const GraphNode **group_find_attention(Cx *cx, const Graph *graph, GraphNode *const *const *readers,
                                       uint32_t tensor_count)
{
    Find f = {.graph = graph,
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
