/* The graph: construction of tensors and nodes, and what is known of their sizes.
 *
 * graph_node is the one way in: it checks arity and attributes against graph.def, infers shape and
 * dtype (graph_infer.c), folds contents that are known as expressions (graph_elements.c), drops
 * operations that do nothing, and appends what remains. The builders of single operations are in
 * graph_build.c. Everything lives in the arena of graph->cx. */
#include "ir/graph.h"

#include <ctype.h>
#include <string.h>

#include "ir/graph_infer.h"

#define A(name) (1ull << AT_##name)
static const struct Row {
    const char *name;
    int least, most;
    uint64_t attrs;
} rows[OP_count] = {
    [OP_none] = {"none", 0, 0, 0},
    [OP_list] = {"list", 0, 0, 0},
    [OP_input] = {"input", 0, 0, 0},
#define GRAPH(name, least, most, attrs) [OP_##name] = {#name, least, most, attrs},
#include "ir/graph.def"
#undef GRAPH
};
#undef A

const char *graph_op_name(GraphOp op)
{
    return rows[op].name;
}

uint64_t graph_op_attrs(GraphOp op)
{
    return rows[op].attrs;
}

int graph_op_least(GraphOp op)
{
    return rows[op].least;
}

int graph_op_most(GraphOp op)
{
    return rows[op].most;
}

Graph *graph_new(Cx *cx, const char *name)
{
    Graph *graph = NEW(cx->arena, Graph);
    graph->cx = cx;
    char *word = arena_printf(cx->arena, "%s", name && *name ? name : "graph");
    for (char *p = word; *p; p++)
        if (!isalnum((unsigned char)*p) || (p == word && isdigit((unsigned char)*p)))
            *p = '_';
    graph->name = word;
    return graph;
}

/* ---- attributes */

Attr attr_int(int64_t value)
{
    return (Attr){.set = true, .i = value};
}

Attr attr_float(double value)
{
    return (Attr){.set = true, .f = value};
}

Attr attr_name(const char *name)
{
    return (Attr){.set = true, .name = name};
}

Attr attr_ints(Cx *cx, int count, const int64_t *values)
{
    return (Attr){.set = true,
                  .count = count,
                  .ints = arena_copy(cx->arena, values, (size_t)count * sizeof *values)};
}

Attr attr_exprs(Cx *cx, int count, const Expr *const *values)
{
    return (Attr){.set = true,
                  .count = count,
                  .exprs = arena_copy(cx->arena, values, (size_t)count * sizeof *values)};
}

/* ---- tensors and nodes */

Tensor *graph_poison(Graph *graph)
{
    GraphNode *node = NEW(graph->cx->arena, GraphNode);
    node->op = OP_none;
    node->graph = graph;
    node->output = NEW(graph->cx->arena, Tensor);
    node->output->producer = node;
    node->output->weight = -1;
    return node->output;
}

static GraphNode *new_node(Graph *graph, GraphOp op)
{
    Arena *arena = graph->cx->arena;
    GraphNode *node = NEW(arena, GraphNode);
    node->op = op;
    node->graph = graph;
    node->source = graph->source;
    node->output = NEW(arena, Tensor);
    node->output->producer = node;
    node->output->weight = -1;
    node->output->shape = NEW_ARRAY(arena, const Expr *, MAX_RANK);
    return node;
}

static Tensor *append(Graph *graph, GraphNode *node)
{
    node->id = graph->node_count;
    node->output->id = graph->tensor_count++;
    VEC_PUSH(graph->cx->arena, graph->nodes, graph->node_count, graph->node_cap, node);
    return node->output;
}

bool graph_rank_fits(Graph *graph, int rank)
{
    if (rank >= 0 && rank <= MAX_RANK)
        return true;
    cx_fail(graph->cx, ST_limit, "rank %d: tensors have at most %d dims", rank, MAX_RANK);
    return false;
}

Graph *graph_root(Graph *graph)
{
    while (graph->outer)
        graph = graph->outer;
    return graph;
}

void graph_use_dim(void *user, const Expr *sym)
{
    Graph *graph = user;
    for (uint32_t i = 0; i < graph->dim_count; i++)
        if (graph->dims[i] == sym)
            return;
    VEC_PUSH(graph->cx->arena, graph->dims, graph->dim_count, graph->dim_cap, sym);
}

Tensor *graph_input(Graph *graph, const char *name, Dtype dtype, int rank, const Expr *const *shape)
{
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    GraphNode *node = new_node(graph, OP_input);
    Tensor *out = node->output;
    out->name = name;
    out->dtype = dtype;
    out->rank = rank;
    for (int d = 0; d < rank; d++) {
        out->shape[d] = shape[d];
        expr_symbols(graph->cx, shape[d], graph_use_dim, graph);
    }
    VEC_PUSH(graph->cx->arena, graph->inputs, graph->input_count, graph->input_cap, out);
    return append(graph, node);
}

Tensor *graph_constant(Graph *graph, const char *name, Dtype dtype, int rank, const int64_t *shape,
                       const void *data)
{
    Cx *cx = graph->cx;
    if (!graph_rank_fits(graph, rank))
        return graph_poison(graph);
    GraphNode *node = new_node(graph, OP_constant);
    Tensor *out = node->output;
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        out->shape[d] = expr_const(cx, shape[d]);
        if (shape[d] < 0 || __builtin_mul_overflow(count, shape[d], &count)) {
            cx_fail(cx, ST_limit, "constant '%s' is too large", name ? name : "");
            return graph_poison(graph);
        }
    }
    out->name = name;
    out->dtype = dtype;
    out->rank = rank;
    out->data = data;
    out->bytes = dtype_bytes(dtype, count);
    out->weight = name ? (int)graph_root(graph)->weight_count++ : -1;
    out->elements = graph_data_elements(cx, dtype, count, data);
    return append(graph, node);
}

void graph_output(Graph *graph, Tensor *tensor, const char *name)
{
    uint32_t capacity = graph->output_cap, count = graph->output_count;
    VEC_PUSH(graph->cx->arena, graph->outputs, graph->output_count, graph->output_cap, tensor);
    VEC_PUSH(graph->cx->arena, graph->output_names, count, capacity, name);
}

static bool attrs_fit(Graph *graph, GraphOp op, const Attr attrs[AT_count])
{
    static const char *const names[AT_count] = {
#define ATTR(name, kind) [AT_##name] = #name,
#include "ir/attrs.def"
#undef ATTR
    };
    for (int i = 0; attrs && i < AT_count; i++)
        if (attrs[i].set && !(rows[op].attrs >> i & 1)) {
            cx_fail(graph->cx, ST_internal, "%s has no attribute '%s'", rows[op].name, names[i]);
            return false;
        }
    return true;
}

bool graph_same_shape(const Tensor *a, const Tensor *b)
{
    if (a->rank != b->rank)
        return false;
    for (int d = 0; d < a->rank; d++)
        if (a->shape[d] != b->shape[d])
            return false;
    return true;
}

static bool all_exprs(const Attr *attr, int64_t value)
{
    for (int i = 0; i < attr->count; i++)
        if (!expr_is_const(attr->exprs[i], value))
            return false;
    return true;
}

static bool all_ints(const Attr *attr, int64_t value)
{
    for (int i = 0; i < attr->count; i++)
        if (attr->ints[i] != value)
            return false;
    return true;
}

static bool is_identity(const Attr *perm)
{
    for (int i = 0; i < perm->count; i++)
        if (perm->ints[i] != i)
            return false;
    return true;
}

/* Whether the node gives its first input back. */
static bool does_nothing(const GraphNode *node)
{
    const Attr *at = node->attrs;
    if (!node->input_count || !graph_same_shape(node->inputs[0], node->output))
        return false;
    switch ((int)node->op) {
    case OP_cast:
    case OP_bitcast: return node->inputs[0]->dtype == node->output->dtype;
    case OP_reshape:
    case OP_expand: return true;
    case OP_transpose: return is_identity(&at[AT_perm]);
    case OP_slice: return all_exprs(&at[AT_starts], 0) && all_ints(&at[AT_steps], 1);
    case OP_pad: return all_exprs(&at[AT_before], 0) && all_exprs(&at[AT_after], 0);
    case OP_concat: return node->input_count == 1;
    case OP_reduce: return !at[AT_axes].count;
    default: return false;
    }
}

Tensor *graph_node(Graph *graph, GraphOp op, int input_count, Tensor *const *inputs,
                   const Attr attrs[AT_count])
{
    return graph_node_bodies(graph, op, input_count, inputs, attrs, 0, NULL);
}

Tensor *graph_node_bodies(Graph *graph, GraphOp op, int input_count, Tensor *const *inputs,
                          const Attr attrs[AT_count], int body_count, Graph *const *bodies)
{
    Cx *cx = graph->cx;
    for (int i = 0; i < input_count; i++)
        if (tensor_is_poison(inputs[i]))
            return inputs[i];
    if (cx_failed(cx) || !attrs_fit(graph, op, attrs))
        return graph_poison(graph);
    if (op <= OP_input || op >= OP_count || input_count < rows[op].least ||
        (input_count > rows[op].most && rows[op].most != 99)) {
        cx_fail(cx, ST_internal, "%s with %d inputs", op < OP_count ? rows[op].name : "?",
                input_count);
        return graph_poison(graph);
    }
    for (int i = 0; i < input_count; i++)
        if (tensor_is_bundle(inputs[i]) && op != OP_part) {
            cx_fail(cx, ST_bad_model, "%s of a bundle", rows[op].name);
            return graph_poison(graph);
        }
    GraphNode *node = new_node(graph, op);
    node->input_count = input_count;
    node->inputs = arena_copy(cx->arena, inputs, (size_t)input_count * sizeof *inputs);
    node->body_count = body_count;
    node->bodies = arena_copy(cx->arena, bodies, (size_t)body_count * sizeof *bodies);
    if (attrs)
        memcpy(node->attrs, attrs, sizeof node->attrs);
    Tensor *out = node->output;
    graph_infer(graph, node, out);
    if (cx_failed(cx))
        return graph_poison(graph);
    if (does_nothing(node))
        return node->inputs[0];
    graph_fold_elements(graph, node, out);
    if (out->elements && op != OP_dim_value) {
        int64_t shape[MAX_RANK];
        for (int d = 0; d < out->rank; d++)
            shape[d] = out->shape[d]->value;
        return graph_elements_of(graph, out->dtype, out->rank, shape, out->elements);
    }
    return append(graph, node);
}

/* ---- sizes */

const Expr *tensor_count(Cx *cx, const Tensor *tensor)
{
    const Expr *count = expr_const(cx, 1);
    for (int d = 0; d < tensor->rank; d++)
        count = expr_mul(cx, count, tensor->shape[d]);
    return count;
}

int64_t tensor_count_const(Cx *cx, const Tensor *tensor)
{
    const Expr *count = tensor_count(cx, tensor);
    return count->kind == EX_const ? count->value : -1;
}

static void note_check(Graph *graph, const Expr *a, const Expr *b, SizeRule rule)
{
    for (uint32_t i = 0; i < graph->check_count; i++) {
        const GraphCheck *c = &graph->checks[i];
        if (c->a == a && c->b == b && c->rule == rule)
            return;
    }
    GraphCheck check = {a, b, rule, graph->source};
    VEC_PUSH(graph->cx->arena, graph->checks, graph->check_count, graph->check_cap, check);
}

static bool never_equal(Cx *cx, const Expr *a, const Expr *b)
{
    return expr_always_lt(cx, a, b) || expr_always_lt(cx, b, a);
}

bool graph_same_dim(Graph *graph, const Expr *a, const Expr *b)
{
    if (expr_is_poison(a) || expr_is_poison(b))
        cx_fail(graph->cx, ST_limit, "size overflows");
    if (a == b)
        return true;
    if (never_equal(graph->cx, a, b))
        return false;
    note_check(graph, a, b, SIZE_equal);
    return true;
}

static bool may_be_one(const Expr *e)
{
    return e->lo <= 1 && e->hi >= 1;
}

const Expr *graph_broadcast(Graph *graph, const Expr *a, const Expr *b)
{
    Cx *cx = graph->cx;
    if (expr_is_poison(a) || expr_is_poison(b))
        cx_fail(cx, ST_limit, "size overflows");
    if (a == b || expr_is_const(b, 1))
        return a;
    if (expr_is_const(a, 1))
        return b;
    bool one_a = may_be_one(a), one_b = may_be_one(b);
    if (never_equal(cx, a, b) && !one_a && !one_b)
        return NULL;
    note_check(graph, a, b, one_a || one_b ? SIZE_equal_or_one : SIZE_equal);
    if (!one_a)
        return a;
    if (!one_b)
        return b;
    /* Either may be 1: the larger one, except that 1 with 0 gives 0. */
    const Expr *most = expr_max(cx, a, b);
    if (a->lo >= 1 && b->lo >= 1)
        return most;
    return expr_min(cx, most, expr_mul(cx, a, b));
}

const Expr *graph_share(Graph *graph, const Expr *whole, const Expr *by)
{
    Cx *cx = graph->cx;
    if (expr_is_poison(whole) || expr_is_poison(by))
        cx_fail(cx, ST_limit, "size overflows");
    if (by->lo <= 0)
        return NULL;
    const Expr *rest = expr_mod(cx, whole, by), *zero = expr_const(cx, 0);
    if (rest == zero)
        return expr_floordiv(cx, whole, by);
    if (never_equal(cx, rest, zero) || (whole->lo > 0 && expr_always_lt(cx, whole, by)))
        return NULL;
    note_check(graph, whole, by, SIZE_multiple);
    return expr_floordiv(cx, whole, by);
}
