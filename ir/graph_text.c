/* The printer of the graph's text form (graph.h; the parser is graph_parse.c). Attributes are
 * printed by their kind (attrs.def), once for all operations. */
#include "ir/graph_text.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"
#include "ir/value_text.h"

const AttrRow graph_attr_rows[AT_count] = {
#define ATTR(name, kind) [AT_##name] = {#name, KIND_##kind},
#include "ir/attrs.def"
#undef ATTR
};

enum { INLINE_FLOATS = 16 };

/* Names are carried along as strings without escapes. */
static void print_string(Text *text, const char *string)
{
    char *plain = arena_strdup(text->arena, string);
    utf8_make_plain(plain, false);
    for (char *p = plain; (p = strchr(p, '"'));)
        *p = '?';
    text_add(text, "\"%s\"", plain);
}

static void print_exprs(Text *text, int count, const Expr *const *list)
{
    text_add(text, "[");
    for (int i = 0; i < count; i++) {
        text_add(text, i ? ", " : "");
        expr_print(text, list[i]);
    }
    text_add(text, "]");
}

static void print_attr(Text *text, AttrName name, const Attr *attr)
{
    text_add(text, " %s=", graph_attr_rows[name].name);
    if (name == AT_scalar || name == AT_monoid) {
        text_add(text, "%s",
                 name == AT_scalar ? scalar_name((ScalarOp)attr->i) : monoid_name((Monoid)attr->i));
        return;
    }
    switch (graph_attr_rows[name].kind) {
    case KIND_INT: text_add(text, "%" PRId64, attr->i); break;
    case KIND_DTYPE: text_add(text, "%s", dtype_name((Dtype)attr->i)); break;
    case KIND_FLOAT: text_add_float(text, attr->f); break;
    case KIND_NAME: text_add(text, "%s", attr->name); break;
    case KIND_EXPRS: print_exprs(text, attr->count, attr->exprs); break;
    case KIND_INTS:
        for (int i = 0; i < attr->count; i++)
            text_add(text, "%s%" PRId64, i ? ", " : "[", attr->ints[i]);
        text_add(text, attr->count ? "]" : "[]");
        break;
    case KIND_DTYPES:
        for (int i = 0; i < attr->count; i++)
            text_add(text, "%s%s", i ? ", " : "[", dtype_name((Dtype)attr->ints[i]));
        text_add(text, attr->count ? "]" : "[]");
        break;
    }
}

/* Whether a constant's data is part of the text: literals, and what shape inference looks at. */
static bool shows_data(const Tensor *tensor, int64_t count)
{
    if (!tensor->data || dtype_compute(tensor->dtype) == DT_none || count > GRAPH_MAX_LIST)
        return count == 0 && tensor->weight < 0;
    return tensor->weight < 0 || tensor->elements || count <= INLINE_FLOATS;
}

static void print_constant(Text *text, Cx *cx, const Tensor *tensor)
{
    int64_t count = tensor_count_const(cx, tensor);
    text_add(text, "const %%%u ", tensor->id);
    tensor_print_type(text, tensor);
    if (tensor->weight >= 0)
        text_add(text, " @%d", tensor->weight);
    if (shows_data(tensor, count)) {
        bool flt = dtype_is_float(tensor->dtype);
        text_add(text, " = [");
        for (int64_t i = 0; i < count; i++) {
            Scalar value = dtype_load(tensor->dtype, tensor->data, i);
            text_add(text, i ? ", " : "");
            if (flt)
                text_add_float(text, value.f);
            else
                text_add(text, "%" PRId64, value.i);
        }
        text_add(text, "]");
    }
    if (tensor->name) {
        text_put(text, " ", 1);
        print_string(text, tensor->name);
    }
}

static void print_inside(Text *text, const Graph *graph, int depth);

static void print_indent(Text *text, int depth)
{
    text_add(text, "%*s", 2 * depth, "");
}

static void print_node(Text *text, const Graph *graph, const GraphNode *node, int depth)
{
    const Tensor *out = node->output;
    if (node->op == OP_constant) {
        print_constant(text, graph->cx, out);
        return;
    }
    if (node->op == OP_input) {
        text_add(text, "in %%%u ", out->id);
        tensor_print_type(text, out);
        if (out->name) {
            text_put(text, " ", 1);
            print_string(text, out->name);
        }
        return;
    }
    text_add(text, "%%%u = %s", out->id, graph_op_name(node->op));
    for (int i = 0; i < node->input_count; i++)
        text_add(text, "%s%%%u", i ? ", " : " ", node->inputs[i]->id);
    for (int i = 0; i < AT_count; i++)
        if (node->attrs[i].set)
            print_attr(text, (AttrName)i, &node->attrs[i]);
    for (int i = 0; i < node->body_count; i++) {
        text_add(text, " body {\n");
        print_inside(text, node->bodies[i], depth + 1);
        print_indent(text, depth);
        text_add(text, "}");
    }
    text_add(text, " : ");
    tensor_print_type(text, out);
    if (node->source) {
        text_add(text, " from ");
        print_string(text, node->source);
    }
}

static void print_inside(Text *text, const Graph *graph, int depth)
{
    for (uint32_t i = 0; i < graph->dim_count; i++) {
        if (graph->outer && graph_is_outer(graph, graph->dims[i]))
            continue;
        print_indent(text, depth);
        dim_print(text, graph->dims[i]);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < graph->node_count; i++) {
        print_indent(text, depth);
        print_node(text, graph, graph->nodes[i], depth);
        text_add(text, "\n");
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        print_indent(text, depth);
        text_add(text, "out %%%u ", graph->outputs[i]->id);
        print_string(text, graph->output_names[i] ? graph->output_names[i] : "");
        text_add(text, "\n");
    }
}

void graph_print(Text *text, const Graph *graph)
{
    text_add(text, "graph %s {\n", graph->name);
    print_inside(text, graph, 1);
    text_add(text, "}\n");
}
