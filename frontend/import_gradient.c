/* Importers: Gradient of ai.onnx.preview.training, in reverse over the graph imported so far.
 *
 * Every tensor between the variables and y gets the derivative of the sum of y with respect to it,
 * from the last node to the first: what its readers pass back, added up. Operations without a rule
 * here are refused by name. */
#include "frontend/import_ops.h"

#include <string.h>

#include "frontend/onnx_names.h"

typedef struct Reverse {
    Import *im;
    uint32_t tensors;  /* ids below this were there before */
    bool *depends;     /* by id: on a variable */
    Tensor **adjoints; /* by id; NULL = 0 */
} Reverse;

/* g, of a broadcast shape, summed to the shape of x. */
static Tensor *unbroadcast(Import *im, Tensor *g, const Tensor *x)
{
    int64_t axes[MAX_RANK];
    int count = 0;
    if (tensor_is_poison(g))
        return g;
    for (int d = 0; d < g->rank; d++) {
        int own = d - (g->rank - x->rank);
        if (own < 0 || (expr_is_const(x->shape[own], 1) && g->shape[d] != x->shape[own]))
            axes[count++] = d;
    }
    if (count)
        g = reduce(im, M_sum, g, count, axes, true);
    return reshape(im, g, x->rank, x->shape);
}

static void pass(Reverse *r, const Tensor *x, Tensor *g)
{
    Import *im = r->im;
    if (!r->depends[x->id])
        return;
    g = unbroadcast(im, to(im, g, x->dtype), x);
    r->adjoints[x->id] = r->adjoints[x->id] ? ew(im, S_add, r->adjoints[x->id], g) : g;
}

static void reverse_map(Reverse *r, const GraphNode *node, Tensor *g)
{
    Import *im = r->im;
    Tensor *y = node->output, *a = node->inputs[0];
    Tensor *b = node->input_count > 1 ? node->inputs[1] : NULL, *one = scalar(im, a, 1);
    ScalarOp op = (ScalarOp)node->attrs[AT_scalar].i;
    if (op == S_add || op == S_sub) {
        pass(r, a, g);
        pass(r, b, op == S_add ? g : ew1(im, S_neg, g));
    } else if (op == S_mul) {
        pass(r, a, ew(im, S_mul, g, b));
        pass(r, b, ew(im, S_mul, g, a));
    } else if (op == S_div) {
        pass(r, a, ew(im, S_div, g, b));
        pass(r, b, ew1(im, S_neg, ew(im, S_div, ew(im, S_mul, g, y), b)));
    } else if (op == S_pow && a->dtype == b->dtype) {
        pass(r, a, ew(im, S_mul, g, ew(im, S_mul, b, ew(im, S_pow, a, ew(im, S_sub, b, one)))));
        pass(r, b, ew(im, S_mul, g, ew(im, S_mul, y, ew1(im, S_log, a))));
    } else if (op == S_max || op == S_min) { /* equal ones: the first */
        Tensor *first = op == S_max ? ew(im, S_le, b, a) : ew(im, S_le, a, b),
               *zero = scalar(im, g, 0);
        pass(r, a, pick(im, first, g, zero));
        pass(r, b, pick(im, first, zero, g));
    } else if (op == S_select) {
        Tensor *zero = scalar(im, g, 0);
        pass(r, b, pick(im, a, g, zero));
        pass(r, node->inputs[2], pick(im, a, zero, g));
    } else if (op == S_neg) {
        pass(r, a, ew1(im, S_neg, g));
    } else if (op == S_exp) {
        pass(r, a, ew(im, S_mul, g, y));
    } else if (op == S_log) {
        pass(r, a, ew(im, S_div, g, a));
    } else if (op == S_sqrt) {
        pass(r, a, ew(im, S_div, g, ew(im, S_add, y, y)));
    } else if (op == S_tanh) {
        pass(r, a, ew(im, S_mul, g, ew(im, S_sub, one, ew(im, S_mul, y, y))));
    } else if (op == S_abs) {
        pass(r, a, ew(im, S_mul, g, ew1(im, S_sign, a)));
    } else if (op == S_sin) {
        pass(r, a, ew(im, S_mul, g, ew1(im, S_cos, a)));
    } else if (op == S_cos) {
        pass(r, a, ew1(im, S_neg, ew(im, S_mul, g, ew1(im, S_sin, a))));
    } else {
        fail(im, ST_unsupported, "the gradient of %s", scalar_name(op));
    }
}

static Tensor *swapped(Import *im, Tensor *x)
{
    int64_t perm[MAX_RANK];
    if (tensor_is_poison(x))
        return x;
    for (int d = 0; d < x->rank; d++)
        perm[d] = d < x->rank - 2 ? d : d == x->rank - 2 ? d + 1 : d - 1;
    return graph_transpose(im->graph, x, perm);
}

static void reverse_reduce(Reverse *r, const GraphNode *node, Tensor *g)
{
    Import *im = r->im;
    Tensor *x = node->inputs[0];
    const Expr *kept[MAX_RANK];
    if (node->attrs[AT_monoid].i != M_sum) {
        fail(im, ST_unsupported, "the gradient of a %s",
             monoid_name((Monoid)node->attrs[AT_monoid].i));
        return;
    }
    for (int d = 0; d < x->rank; d++)
        kept[d] = x->shape[d];
    for (int i = 0; i < node->attrs[AT_axes].count; i++)
        kept[node->attrs[AT_axes].ints[i]] = expr_const(im->cx, 1);
    pass(r, x, graph_expand(im->graph, reshape(im, g, x->rank, kept), x->rank, x->shape));
}

static void reverse_node(Reverse *r, const GraphNode *node, Tensor *g)
{
    Import *im = r->im;
    Tensor *a = node->input_count ? node->inputs[0] : NULL;
    int64_t perm[MAX_RANK];
    if (node->op == OP_map) {
        reverse_map(r, node, g);
    } else if (node->op == OP_cast && dtype_is_float(a->dtype) &&
               dtype_is_float(node->output->dtype)) {
        pass(r, a, g);
    } else if (node->op == OP_reshape) {
        pass(r, a, reshape(im, g, a->rank, a->shape));
    } else if (node->op == OP_expand) {
        pass(r, a, g);
    } else if (node->op == OP_transpose) {
        for (int d = 0; d < a->rank; d++)
            perm[node->attrs[AT_perm].ints[d]] = d;
        pass(r, a, graph_transpose(im->graph, g, perm));
    } else if (node->op == OP_matmul) {
        pass(r, a, graph_matmul(im->graph, g, swapped(im, node->inputs[1])));
        pass(r, node->inputs[1], graph_matmul(im->graph, swapped(im, a), g));
    } else if (node->op == OP_reduce) {
        reverse_reduce(r, node, g);
    } else {
        fail(im, ST_unsupported, "the gradient of %s", graph_op_name(node->op));
    }
}

/* What the name in an attribute stands for; NULL after a failure. */
static Tensor *named(Import *im, const OnnxString *name)
{
    const char *found = onnx_name(im->model->names, name->data);
    bool known = onnx_name_id(found) < im->value_count; /* else it was new just now */
    Tensor *tensor = known ? lookup(im, found) : NULL;
    if (!tensor || is_list(tensor) || tensor_is_poison(tensor)) {
        fail(im, ST_bad_model, "there is no tensor '%s'",
             onnx_printable(im->cx->arena, name->data));
        return NULL;
    }
    return tensor;
}

/* Inputs are the values of the variables: those that have these names, since the graph is not
 * evaluated for others. */
static bool read_variables(Reverse *r, const OnnxNode *n, const OnnxAttr *xs)
{
    Import *im = r->im;
    for (uint32_t i = 0; i < xs->count; i++) {
        Tensor *x = named(im, &xs->strings[i]);
        if (!x || x != arg(im, n, i)) {
            fail(im, ST_unsupported, "a gradient at other values than those of the variables");
            return false;
        }
        r->depends[x->id] = true;
    }
    return true;
}

Tensor *import_gradient(Import *im, const OnnxNode *n)
{
    const OnnxAttr *xs = attr(im, n, "xs"), *of = attr(im, n, "y");
    Graph *graph = im->graph;
    if (!xs || xs->type != OA_strings || !of || of->type != OA_string || xs->count > n->input_count)
        return fail(im, ST_bad_model, "attributes 'xs' and 'y' do not name tensors");
    Tensor *y = named(im, &of->strings[0]);
    uint32_t nodes = graph->node_count;
    Reverse r = {.im = im, .tensors = graph->tensor_count};
    r.depends = NEW_ARRAY(im->cx->arena, bool, r.tensors);
    r.adjoints = NEW_ARRAY(im->cx->arena, Tensor *, r.tensors);
    if (!y || !dtype_is_float(y->dtype) || !read_variables(&r, n, xs))
        return fail(im, ST_bad_model, "no gradient of that");
    for (uint32_t i = 0; i < nodes; i++)
        for (int k = 0; k < graph->nodes[i]->input_count; k++)
            r.depends[graph->nodes[i]->output->id] |= r.depends[graph->nodes[i]->inputs[k]->id];
    r.adjoints[y->id] = graph_fill(graph, scalar(im, y, 1), y->rank, y->shape);
    for (uint32_t i = nodes; i-- > 0 && !cx_failed(im->cx);) {
        const GraphNode *node = graph->nodes[i];
        Tensor *g = r.adjoints[node->output->id];
        bool variable = false;
        for (uint32_t k = 0; k < xs->count; k++)
            variable |= node->output == arg(im, n, k);
        if (g && r.depends[node->output->id] && !variable)
            reverse_node(&r, node, g);
    }
    for (uint32_t i = 0; i < xs->count && !cx_failed(im->cx); i++) {
        Tensor *x = arg(im, n, i), *g = r.adjoints[x->id];
        set_result(im, i, g ? g : graph_fill(graph, scalar(im, x, 0), x->rank, x->shape));
    }
    return cx_failed(im->cx) ? graph_poison(graph) : im->results[0];
}
