/* Steps on the host: one node whose results are parts. The number and the types of all results are
 * on the node, so that a result nobody reads needs no part. */
#include <string.h>

#include "ir/graph.h"

bool tensor_is_bundle(const Tensor *tensor)
{
    return tensor->producer->op == OP_host;
}

const Expr *graph_fresh_dim(Graph *graph, int64_t hi)
{
    const char *name = NULL;
    for (uint32_t number = graph->dim_count; !name; number++) {
        name = arena_printf(graph->cx->arena, "h%u", number);
        for (uint32_t i = 0; name && i < graph->dim_count; i++)
            if (strcmp(graph->dims[i]->name, name) == 0)
                name = NULL;
    }
    const Expr *dim = expr_sym(graph->cx, name, 0, hi, 1);
    VEC_PUSH(graph->cx->arena, graph->dims, graph->dim_count, graph->dim_cap, dim);
    return dim;
}

static Tensor *part(Graph *graph, Tensor *bundle, int index, const HostResult *result)
{
    const Expr *shape[MAX_RANK];
    for (int d = 0; d < result->rank; d++) {
        const Expr *most = result->most ? result->most[d] : NULL;
        shape[d] = result->shape ? result->shape[d] : NULL;
        if (!shape[d])
            shape[d] = graph_fresh_dim(graph, most && most->hi >= 0 ? most->hi : INT64_MAX);
    }
    Attr at[AT_count] = {[AT_index] = attr_int(index),
                         [AT_dtype] = attr_int(result->dtype),
                         [AT_shape] = attr_exprs(graph->cx, result->rank, shape)};
    return graph_node(graph, OP_part, 1, &bundle, at);
}

bool graph_host(Graph *graph, const char *name, int input_count, Tensor *const *inputs,
                int result_count, const HostResult *results, Tensor **outputs)
{
    Cx *cx = graph->cx;
    int64_t dtypes[GRAPH_MAX_RESULTS], ranks[GRAPH_MAX_RESULTS];
    CHECK(result_count >= 1 && result_count <= GRAPH_MAX_RESULTS);
    for (int i = 0; i < result_count; i++) {
        dtypes[i] = results[i].dtype;
        ranks[i] = results[i].rank;
        outputs[i] = graph_poison(graph);
    }
    Attr at[AT_count] = {[AT_host] = attr_name(name),
                         [AT_dtypes] = attr_ints(cx, result_count, dtypes),
                         [AT_ranks] = attr_ints(cx, result_count, ranks)};
    Tensor *bundle = graph_node(graph, OP_host, input_count, inputs, at);
    if (tensor_is_poison(bundle))
        return false;
    for (int i = 0; i < result_count; i++)
        outputs[i] = part(graph, bundle, i, &results[i]);
    return !cx_failed(cx);
}
