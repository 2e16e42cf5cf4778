/* What names stand for while importing.
 *
 * A name is looked up in one array by its number; calls of functions and subgraphs save what their
 * names stood for and put it back (an undo list), so inlining costs what the body costs.
 *
 * The body of a loop or branch is a graph of its own. A name from around it gives a tensor of
 * another graph; looking it up makes a capture: an input of the body for what is computed, the same
 * constant or list of known elements for what is known. */
#include "frontend/import_ops.h"

enum { MOST_DEPTH = 200, MOST_NESTED = 7, MOST_BODIES = 4096 };

typedef struct Undo {
    uint32_t id;
    Tensor *value;
    const OnnxTensor *weight;
} Undo;

void bind(Import *im, const char *name, Tensor *tensor)
{
    uint32_t id = onnx_name_id(name);
    CHECK(id < im->value_count);
    Undo undo = {id, im->values[id], im->weights[id]};
    if (im->depth)
        VEC_PUSH(im->cx->arena, im->undo, im->undo_count, im->undo_capacity, undo);
    im->values[id] = tensor;
    im->weights[id] = NULL;
}

void bind_weight(Import *im, const OnnxTensor *tensor)
{
    bind(im, tensor->name, NULL);
    im->weights[onnx_name_id(tensor->name)] = tensor;
}

void leave_scope(Import *im, uint32_t mark)
{
    while (im->undo_count > mark) {
        const Undo *undo = &im->undo[--im->undo_count];
        im->values[undo->id] = undo->value;
        im->weights[undo->id] = undo->weight;
    }
}

Tensor *weight(Import *im, const OnnxTensor *tensor, const char *name)
{
    if (tensor->dtype == DT_string)
        return text_constant(im, tensor->rank, tensor->dims, tensor->strings);
    return graph_constant(im->graph, name, tensor->dtype, tensor->rank, tensor->dims, tensor->data);
}

/* The tensor of the graph around the body, as one of the body. */
static Tensor *capture(Import *im, Body *body, Tensor *tensor)
{
    Graph *graph = body->graph;
    if (tensor->producer->graph != body->outer)
        tensor = capture(im, body->up, tensor);
    Tensor *own = map_find(&body->captured, &tensor, sizeof tensor);
    if (own)
        return own;
    if (tensor->producer->op == OP_constant) {
        int64_t shape[MAX_RANK];
        for (int d = 0; d < tensor->rank; d++)
            shape[d] = tensor->shape[d]->value;
        own = graph_constant(graph, NULL, tensor->dtype, tensor->rank, shape, tensor->data);
        own->name = tensor->name;
        own->weight = tensor->weight;
    } else if (tensor->elements) {
        int64_t shape[MAX_RANK];
        for (int d = 0; d < tensor->rank; d++)
            shape[d] = tensor->shape[d]->value;
        own = graph_elements_of(graph, tensor->dtype, tensor->rank, shape,
                                (const Expr *const *)tensor->elements);
    } else {
        own = graph_input(graph, tensor->name, tensor->dtype, tensor->rank,
                          (const Expr *const *)tensor->shape);
        VEC_PUSH(im->cx->arena, body->captures, body->count, body->capacity, tensor);
    }
    map_set(&body->captured, &tensor, sizeof tensor, own);
    return own;
}

Tensor *import_visible(Import *im, Tensor *tensor)
{
    if (!tensor || !im->body || tensor_is_poison(tensor))
        return tensor;
    if (!is_list(tensor))
        return tensor->producer->graph == im->graph ? tensor : capture(im, im->body, tensor);
    int count = list_count(tensor);
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (int i = 0; i < count; i++)
        items[i] = import_visible(im, list_item(tensor, i));
    return list_make(im, list_kind(tensor), count, items);
}

Tensor *lookup(Import *im, const char *name)
{
    uint32_t id = onnx_name_id(name);
    if (!id)
        return NULL;
    if (im->weights[id]) {
        const char *source = im->graph->source;
        Undo undo = {id, im->values[id], im->weights[id]};
        if (im->body) /* what is made in a body is of no use around it */
            VEC_PUSH(im->cx->arena, im->undo, im->undo_count, im->undo_capacity, undo);
        im->graph->source = NULL;
        im->values[id] = weight(im, im->weights[id], name);
        im->graph->source = source;
        im->weights[id] = NULL;
    }
    return import_visible(im, im->values[id]);
}

bool body_begin(Import *im, Body *body, const char *name)
{
    int depth = 0;
    for (const Body *b = im->body; b; b = b->up)
        depth++;
    *body = (Body){.up = im->body, .outer = im->graph};
    if (depth >= MOST_NESTED || im->body_count >= MOST_BODIES) {
        fail(im, ST_limit, "loops and branches nest deeper than %d, or are more than %d",
             MOST_NESTED, MOST_BODIES);
        return false;
    }
    im->body_count++;
    map_init(&body->captured, im->cx->arena);
    body->graph = graph_body(im->graph, name);
    body->graph->source = im->graph->source;
    im->body = body;
    im->graph = body->graph;
    return true;
}

void body_end(Import *im, Body *body)
{
    im->graph = body->outer;
    im->body = body->up;
}

bool body_loop(Import *im, const Body *body, const BodyLoop *loop, Tensor **results)
{
    Arena *arena = im->cx->arena;
    uint32_t count = 0, capacity = 0;
    Tensor **inputs = NULL;
    if (cx_failed(im->cx))
        return false;
    graph_body_end(body->graph);
    VEC_PUSH(arena, inputs, count, capacity, loop->trip);
    VEC_PUSH(arena, inputs, count, capacity, loop->condition);
    for (uint32_t i = 0; i < loop->carried; i++)
        VEC_PUSH(arena, inputs, count, capacity, loop->initial[i]);
    for (uint32_t i = 0; i < body->count; i++)
        VEC_PUSH(arena, inputs, count, capacity, body->captures[i]);
    return graph_loop(im->graph, body->graph, (int)loop->carried, loop->until, (int)count, inputs,
                      results);
}

bool import_subgraph(Import *im, const OnnxGraph *graph, Tensor *const *inputs, Tensor **results,
                     uint32_t count)
{
    if (im->depth >= MOST_DEPTH) {
        fail(im, ST_limit, "subgraphs nest deeper than %d", MOST_DEPTH);
        return false;
    }
    uint32_t mark = im->undo_count;
    const char *where = im->cx->where, *source = im->graph->source;
    Tensor **outer = im->results;
    uint32_t outer_count = im->result_count;
    int64_t outer_arg = im->arg;
    im->depth++;
    for (uint32_t i = 0; inputs && i < graph->input_count; i++)
        bind(im, graph->inputs[i].name, inputs[i]);
    for (uint32_t i = 0; i < graph->init_count; i++)
        bind_weight(im, &graph->inits[i]);
    import_nodes(im, graph);
    for (uint32_t i = 0; i < count && i < graph->output_count; i++)
        results[i] = lookup(im, graph->outputs[i].name);
    im->depth--;
    leave_scope(im, mark);
    im->cx->where = where;
    im->graph->source = source;
    im->results = outer;
    im->result_count = outer_count;
    im->arg = outer_arg;
    return true;
}
