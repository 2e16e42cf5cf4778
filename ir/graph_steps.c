/* Steps that are no kernels: on the host, loops, branches. Each is one node whose results are
 * parts. The number and the types of all results are on the node, so that a result nobody reads
 * needs no part. Bodies are graphs of their own; they share the symbols of dims with the graphs
 * around them, so a shape means the same inside and outside. */
#include <string.h>

#include "ir/graph_infer.h"

bool tensor_is_bundle(const Tensor *tensor)
{
    GraphOp op = tensor->producer->op;
    return op == OP_host || op == OP_loop || op == OP_branch;
}

/* ---- dims */

static bool has_dim(const Graph *graph, const char *name)
{
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (strcmp(graph->dims[i]->name, name) == 0)
            return true;
    return false;
}

const Expr *graph_fresh_dim(Graph *graph, int64_t hi)
{
    Graph *root = graph_root(graph);
    const char *name;
    do
        name = arena_printf(graph->cx->arena, "h%u", root->fresh_count++);
    while (has_dim(root, name) || has_dim(graph, name));
    const Expr *dim = expr_sym(graph->cx, name, 0, hi, 1);
    graph_use_dim(graph, dim);
    return dim;
}

typedef struct Outer {
    const Graph *graph;
    bool all;
} Outer;

static void look_outside(void *user, const Expr *sym)
{
    Outer *outer = user;
    for (const Graph *g = outer->graph->outer; g; g = g->outer)
        for (uint32_t i = 0; i < g->dim_count; i++)
            if (g->dims[i] == sym)
                return;
    outer->all = false;
}

bool graph_is_outer(const Graph *graph, const Expr *e)
{
    Outer outer = {graph, true};
    expr_symbols(graph->cx, e, look_outside, &outer);
    return outer.all;
}

/* ---- results */

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

/* What graph_node takes, and the results. */
typedef struct Step {
    GraphOp op;
    Attr *attrs; /* but the results' */
    int input_count, body_count, result_count;
    Tensor *const *inputs;
    Graph *const *bodies;
    const HostResult *results;
} Step;

static bool add_step(Graph *graph, const Step *step, Tensor **outputs)
{
    Cx *cx = graph->cx;
    int64_t dtypes[GRAPH_MAX_RESULTS], ranks[GRAPH_MAX_RESULTS];
    for (int i = 0; i < step->result_count; i++) {
        dtypes[i] = step->results[i].dtype;
        ranks[i] = step->results[i].rank;
        outputs[i] = graph_poison(graph);
    }
    step->attrs[AT_dtypes] = attr_ints(cx, step->result_count, dtypes);
    step->attrs[AT_ranks] = attr_ints(cx, step->result_count, ranks);
    Tensor *bundle = graph_node_bodies(graph, step->op, step->input_count, step->inputs,
                                       step->attrs, step->body_count, step->bodies);
    if (tensor_is_poison(bundle))
        return false;
    for (int i = 0; i < step->result_count; i++)
        outputs[i] = part(graph, bundle, i, &step->results[i]);
    return !cx_failed(cx);
}

bool graph_host(Graph *graph, const char *name, int input_count, Tensor *const *inputs,
                int result_count, const HostResult *results, Tensor **outputs)
{
    Attr at[AT_count] = {[AT_host] = attr_name(name)};
    CHECK(result_count >= 1 && result_count <= GRAPH_MAX_RESULTS);
    const Step step = {OP_host, at, input_count, 0, result_count, inputs, NULL, results};
    return add_step(graph, &step, outputs);
}

/* ---- bodies */

Graph *graph_body(Graph *outer, const char *name)
{
    Graph *body = graph_new(outer->cx, name);
    body->outer = outer;
    return body;
}

void graph_body_end(Graph *body)
{
    graph_sweep(body);
    for (uint32_t i = 0; i < body->node_count; i++)
        graph_node_symbols(body->cx, body->nodes[i], graph_use_dim, body);
}

/* Whether a number of results can be; fails for too many. */
static bool enough(Graph *graph, int64_t count)
{
    if (count >= 0 && count <= GRAPH_MAX_RESULTS)
        return true;
    cx_fail(graph->cx, ST_limit, "%lld results: loops and branches have at most %d",
            (long long)count, GRAPH_MAX_RESULTS);
    return false;
}

/* An extent seen from around the body; NULL when only the body knows it. */
static const Expr *outside(const Graph *body, const Expr *extent)
{
    return graph_is_outer(body, extent) ? extent : NULL;
}

static const Expr *iterations(Graph *graph, const Tensor *trip, bool until)
{
    if (until || !trip->elements)
        return NULL;
    return expr_max(graph->cx, trip->elements[0], expr_const(graph->cx, 0));
}

bool graph_loop(Graph *graph, Graph *body, int carried, bool until, int input_count,
                Tensor *const *inputs, Tensor **outputs)
{
    const Expr *shapes[GRAPH_MAX_RESULTS][MAX_RANK];
    HostResult results[GRAPH_MAX_RESULTS];
    int count = (int)body->output_count - until;
    if (cx_failed(graph->cx) || !enough(graph, count))
        return false;
    CHECK(carried <= count && input_count >= 2 + carried && (int)body->input_count > carried);
    for (int i = 0; i < count; i++) {
        const Tensor *out = i < carried ? body->inputs[1 + i] : body->outputs[until + i];
        int extra = i >= carried;
        if (extra)
            shapes[i][0] = iterations(graph, inputs[0], until);
        for (int d = 0; d < out->rank && d + extra < MAX_RANK; d++)
            shapes[i][d + extra] = outside(body, out->shape[d]);
        results[i] = (HostResult){out->dtype, out->rank + extra, shapes[i], NULL};
    }
    Attr at[AT_count] = {[AT_carried] = attr_int(carried), [AT_until] = attr_int(until)};
    const Step step = {OP_loop, at, input_count, 1, count, inputs, &body, results};
    return add_step(graph, &step, outputs);
}

bool graph_branch(Graph *graph, Graph *const bodies[2], int input_count, Tensor *const *inputs,
                  Tensor **outputs)
{
    const Expr *shapes[GRAPH_MAX_RESULTS][MAX_RANK];
    HostResult results[GRAPH_MAX_RESULTS];
    int count = (int)bodies[0]->output_count;
    if (cx_failed(graph->cx) || !enough(graph, count))
        return false;
    CHECK((int)bodies[1]->output_count == count);
    for (int i = 0; i < count; i++) {
        const Tensor *yes = bodies[0]->outputs[i], *no = bodies[1]->outputs[i];
        for (int d = 0; d < yes->rank; d++)
            shapes[i][d] = d < no->rank && yes->shape[d] == no->shape[d]
                               ? outside(bodies[0], yes->shape[d])
                               : NULL;
        results[i] = (HostResult){yes->dtype, yes->rank, shapes[i], NULL};
    }
    Attr at[AT_count] = {{0}};
    const Step step = {OP_branch, at, input_count, 2, count, inputs, bodies, results};
    return add_step(graph, &step, outputs);
}

/* ---- inference: what the node promises is what its bodies do */

static bool bad(Graph *graph, const GraphNode *node, const char *what, int number)
{
    cx_fail(graph->cx, ST_bad_model, "%s: %s (number %d)", graph_op_name(node->op), what, number);
    return false;
}

static bool same_type(const Tensor *a, const Tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank;
}

static bool is_scalar(const Tensor *tensor, Dtype dtype)
{
    return tensor->dtype == dtype && tensor->rank == 0;
}

static bool results_fit(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Attr *dtypes = &node->attrs[AT_dtypes], *ranks = &node->attrs[AT_ranks];
    out->dtype = DT_none;
    if (dtypes->count > GRAPH_MAX_RESULTS || ranks->count != dtypes->count)
        return bad(graph, node, "as many types as ranks, and not too many", dtypes->count);
    for (int i = 0; i < ranks->count; i++)
        if (ranks->ints[i] < 0 || ranks->ints[i] > MAX_RANK)
            return bad(graph, node, "rank of a result", i);
    return true;
}

static bool result_is(const GraphNode *node, int i, const Tensor *tensor, int extra)
{
    return node->attrs[AT_dtypes].ints[i] == (int64_t)tensor->dtype &&
           node->attrs[AT_ranks].ints[i] == tensor->rank + extra;
}

void infer_host(Graph *graph, const GraphNode *node, Tensor *out)
{
    if (results_fit(graph, node, out) &&
        (!node->attrs[AT_host].set || node->attrs[AT_dtypes].count < 1 || node->body_count))
        bad(graph, node, "a name, results, and no body", node->attrs[AT_dtypes].count);
}

/* A carried value: an extent that the graph around knows is the same all the time. */
static bool carried_fits(const Graph *body, const Tensor *initial, const Tensor *in,
                         const Tensor *out)
{
    bool fits = same_type(initial, in) && same_type(in, out);
    for (int d = 0; fits && d < in->rank; d++)
        if (graph_is_outer(body, in->shape[d]))
            fits = in->shape[d] == initial->shape[d] && in->shape[d] == out->shape[d];
        else
            fits = in->shape[d]->kind == EX_sym;
    return fits;
}

void infer_loop(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Attr *at = node->attrs;
    int64_t carried = at[AT_carried].i, until = at[AT_until].i, count = at[AT_dtypes].count;
    if (!results_fit(graph, node, out))
        return;
    const Graph *body = node->body_count == 1 ? node->bodies[0] : NULL;
    if (!body || carried < 0 || carried > count || (until & ~INT64_C(1)) ||
        node->input_count < 2 + carried || node->input_count != (int)body->input_count + 1 ||
        (int64_t)body->output_count != until + count) {
        bad(graph, node, "inputs and outputs of its body", node->input_count);
        return;
    }
    if (!is_scalar(node->inputs[0], DT_i64) || !is_scalar(node->inputs[1], DT_bool) ||
        !is_scalar(body->inputs[0], DT_i64) || (until && !is_scalar(body->outputs[0], DT_bool))) {
        bad(graph, node, "type of trip, condition or counter", 0);
        return;
    }
    for (int i = 0; i < (int)carried; i++)
        if (!carried_fits(body, node->inputs[2 + i], body->inputs[1 + i],
                          body->outputs[until + i]) ||
            !result_is(node, i, body->inputs[1 + i], 0)) {
            bad(graph, node, "a carried value changes its type", i);
            return;
        }
    for (int i = (int)carried + 2; i < node->input_count; i++)
        if (!graph_same_shape(node->inputs[i], body->inputs[i - 1]))
            bad(graph, node, "a capture is of another type in the body", i);
    for (int i = (int)carried; i < (int)count; i++)
        if (!result_is(node, i, body->outputs[until + i], 1))
            bad(graph, node, "type of a stacked value", i);
}

void infer_branch(Graph *graph, const GraphNode *node, Tensor *out)
{
    int count = node->attrs[AT_dtypes].count;
    if (!results_fit(graph, node, out))
        return;
    if (node->body_count != 2 || !is_scalar(node->inputs[0], DT_bool)) {
        bad(graph, node, "two bodies and a condition", node->body_count);
        return;
    }
    for (int side = 0; side < 2; side++) {
        const Graph *body = node->bodies[side];
        if ((int)body->input_count != node->input_count - 1 || (int)body->output_count != count) {
            bad(graph, node, "inputs and outputs of its bodies", side);
            return;
        }
        for (int i = 1; i < node->input_count; i++)
            if (!graph_same_shape(node->inputs[i], body->inputs[i - 1]))
                bad(graph, node, "a capture is of another type in the body", i);
        for (int i = 0; i < count; i++)
            if (!result_is(node, i, body->outputs[i], 0))
                bad(graph, node, "the branches give different types or ranks", i);
    }
}

void infer_part(Graph *graph, const GraphNode *node, Tensor *out)
{
    const Attr *at = node->attrs;
    const GraphNode *from = node->inputs[0]->producer;
    int64_t index = at[AT_index].i;
    if (!tensor_is_bundle(node->inputs[0]) || !at[AT_index].set || index < 0 ||
        index >= from->attrs[AT_dtypes].count || at[AT_shape].count > MAX_RANK) {
        bad(graph, node, "there is no such result", (int)index);
        return;
    }
    out->dtype = (Dtype)at[AT_dtype].i;
    out->rank = at[AT_shape].count;
    if (out->dtype != (Dtype)from->attrs[AT_dtypes].ints[index] ||
        out->rank != from->attrs[AT_ranks].ints[index])
        bad(graph, node, "it is of another type or rank", (int)index);
    for (int d = 0; d < out->rank; d++)
        out->shape[d] = at[AT_shape].exprs[d];
}
