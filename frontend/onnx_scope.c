/* Definitions and uses of values.
 *
 * Every name in sight has one definition: inputs, initializers and node outputs of a graph may not
 * repeat each other nor hide a value of a graph around it (an initializer of an input's name is
 * that input's default). A node uses what is in sight before it. `owner` says for every name which
 * graph defined it, 0 for none; leaving a graph takes its names back, so siblings may use the same
 * ones.
 *
 * Names are numbered densely, so all of this is one pass over arrays. */
#include "frontend/onnx_read.h"

#include <string.h>

typedef struct Scopes {
    Reader *r;
    OnnxModel *model;
    uint32_t *owner;       /* by name: serial of the graph that defined it */
    uint64_t *seen;        /* by name: last mark, for duplicates within one list */
    OnnxValueInfo **input; /* by name: input of the graph whose initializers are being defined */
    uint64_t mark;
    uint32_t serial;
    struct Owned {
        const char *name;
        uint32_t before; /* who owned the name around */
    } * owned;
    uint32_t owned_count, owned_cap;
} Scopes;

static bool is_again(Scopes *s, const char *name)
{
    uint32_t id = onnx_name_id(name);
    bool again = s->seen[id] == s->mark;
    s->seen[id] = s->mark;
    return again;
}

/* A name of the graph around may be taken again, as exporters do: it means the inner value then. */
static void define(Scopes *s, uint32_t graph, const char *name, const char *what)
{
    uint32_t *owner = &s->owner[onnx_name_id(name)];
    if (*owner == graph) {
        onnx_fail(s->r, ST_bad_model, "%s '%s' is already defined", what, onnx_show(s->r, name));
        return;
    }
    struct Owned owned = {name, *owner};
    VEC_PUSH(s->r->cx->arena, s->owned, s->owned_count, s->owned_cap, owned);
    *owner = graph;
}

/* ---- values used before they are there: which of the reasons? ---- */

/* Index of the node in `graph` that computes `name`; node_count when none does. */
static uint32_t producer(const OnnxGraph *graph, const char *name)
{
    for (uint32_t i = 0; i < graph->node_count; i++)
        for (uint32_t j = 0; j < graph->nodes[i].output_count; j++)
            if (graph->nodes[i].outputs[j] == name)
                return i;
    return graph->node_count;
}

/* Whether node `from` needs, directly or not, what node `to` computes. */
static bool depends_on(Scopes *s, const OnnxGraph *graph, uint32_t from, uint32_t to)
{
    Arena *arena = s->r->cx->arena;
    uint32_t *maker = NEW_ARRAY(arena, uint32_t, onnx_names_count(s->model->names)); /* index + 1 */
    bool *queued = NEW_ARRAY(arena, bool, graph->node_count);
    uint32_t *queue = NEW_ARRAY(arena, uint32_t, graph->node_count), count = 0;
    for (uint32_t i = 0; i < graph->node_count; i++)
        for (uint32_t j = 0; j < graph->nodes[i].output_count; j++)
            maker[onnx_name_id(graph->nodes[i].outputs[j])] = i + 1;
    maker[0] = 0;
    queue[count++] = from;
    queued[from] = true;
    for (uint32_t at = 0; at < count; at++) {
        const OnnxNode *node = &graph->nodes[queue[at]];
        if (queue[at] == to)
            return true;
        for (uint32_t j = 0; j < node->input_count; j++) {
            uint32_t next = maker[onnx_name_id(node->inputs[j])];
            if (next && !queued[next - 1]) {
                queued[next - 1] = true;
                queue[count++] = next - 1;
            }
        }
    }
    return false;
}

static void explain_missing(Scopes *s, const OnnxGraph *graph, const OnnxNode *node,
                            const char *name)
{
    const char *shown = onnx_show(s->r, name);
    uint32_t maker = producer(graph, name);
    if (maker == graph->node_count)
        onnx_fail(
            s->r, ST_bad_model,
            "input '%s' is not there: no input, initializer or node before it gives that value",
            shown);
    else if (depends_on(s, graph, maker, node->index))
        onnx_fail(s->r, ST_bad_model, "input '%s' depends on this node's own output: a cycle",
                  shown);
    else
        onnx_fail(s->r, ST_bad_model,
                  "input '%s' is computed later, by %s; nodes must be sorted so that values come "
                  "before their use",
                  shown, onnx_node_text(s->r->cx->arena, &graph->nodes[maker]));
}

/* ---- graphs ---- */

static void check_graph(Scopes *s, const OnnxGraph *graph);

static void define_inputs(Scopes *s, const OnnxGraph *graph, uint32_t serial)
{
    for (uint32_t i = 0; i < graph->input_count && !cx_failed(s->r->cx); i++) {
        const char *name = graph->inputs[i].name;
        if (!name[0])
            onnx_fail(s->r, ST_bad_model, "graph '%s': input #%u has no name",
                      onnx_show(s->r, graph->name), i);
        else
            define(s, serial, name, "graph input");
    }
}

/* Initializers may carry the name of an input of the same graph, but not each other's. */
static void define_inits(Scopes *s, const OnnxGraph *graph, uint32_t serial)
{
    Reader *r = s->r;
    s->mark++;
    for (uint32_t i = 0; i < graph->input_count; i++)
        s->input[onnx_name_id(graph->inputs[i].name)] = &graph->inputs[i];
    for (uint32_t i = 0; i < graph->init_count && !cx_failed(r->cx); i++) {
        const OnnxTensor *init = &graph->inits[i];
        OnnxValueInfo *of = s->input[onnx_name_id(init->name)];
        if (is_again(s, init->name))
            onnx_fail(r, ST_bad_model, "initializer '%s' occurs twice", onnx_show(r, init->name));
        else if (of && of->type.dtype && of->type.dtype != init->dtype)
            onnx_fail(r, ST_bad_model, "initializer '%s' is %s, but the input of that name is %s",
                      onnx_show(r, init->name), dtype_name(init->dtype),
                      dtype_name(of->type.dtype));
        else if (of)
            of->initial = init;
        else if (s->model->ir_version < 4)
            onnx_fail(r, ST_bad_model,
                      "initializer '%s' must also be a graph input in IR version %lld",
                      onnx_show(r, init->name), (long long)s->model->ir_version);
        else
            define(s, serial, init->name, "initializer");
    }
    for (uint32_t i = 0; i < graph->input_count; i++)
        s->input[onnx_name_id(graph->inputs[i].name)] = NULL;
}

static void check_node(Scopes *s, const OnnxGraph *graph, OnnxNode *node, uint32_t serial)
{
    Reader *r = s->r;
    r->node = node;
    for (uint32_t i = 0; i < node->input_count && !cx_failed(r->cx); i++)
        if (node->inputs[i][0] && !s->owner[onnx_name_id(node->inputs[i])])
            explain_missing(s, graph, node, node->inputs[i]);
    s->mark++;
    for (uint32_t i = 0; i < node->attr_count; i++)
        if (is_again(s, node->attrs[i].name))
            onnx_fail(r, ST_bad_model, "attribute '%s' occurs twice",
                      onnx_show(r, node->attrs[i].name));
    for (uint32_t i = 0; i < node->attr_count && !cx_failed(r->cx); i++) {
        const OnnxAttr *attr = &node->attrs[i];
        bool has_graphs = (attr->type == OA_graph || attr->type == OA_graphs) && !attr->ref[0];
        for (uint32_t j = 0; has_graphs && j < attr->count && !cx_failed(r->cx); j++)
            check_graph(s, attr->graphs[j]);
    }
    r->node = node;
    for (uint32_t i = 0; i < node->output_count && !cx_failed(r->cx); i++)
        if (node->outputs[i][0])
            define(s, serial, node->outputs[i], "output");
    r->node = NULL;
}

static void take_back(Scopes *s, uint32_t count)
{
    while (s->owned_count > count) {
        struct Owned owned = s->owned[--s->owned_count];
        s->owner[onnx_name_id(owned.name)] = owned.before;
    }
}

static void check_graph(Scopes *s, const OnnxGraph *graph)
{
    uint32_t serial = ++s->serial, owned = s->owned_count;
    const OnnxNode *around = s->r->node;
    define_inputs(s, graph, serial);
    if (!cx_failed(s->r->cx))
        define_inits(s, graph, serial);
    s->r->node = NULL;
    for (uint32_t i = 0; i < graph->node_count && !cx_failed(s->r->cx); i++)
        check_node(s, graph, &graph->nodes[i], serial);
    s->r->node = around;
    for (uint32_t i = 0; i < graph->output_count && !cx_failed(s->r->cx); i++) {
        const char *name = graph->outputs[i].name;
        if (s->owner[onnx_name_id(name)] != serial)
            onnx_fail(s->r, ST_bad_model, "graph '%s': output '%s' is not computed in this graph",
                      onnx_show(s->r, graph->name), onnx_show(s->r, name));
    }
    if (!cx_failed(s->r->cx))
        take_back(s, owned);
}

/* ---- the main graph and functions ---- */

static void check_interface(Scopes *s, const OnnxGraph *graph)
{
    Reader *r = s->r;
    for (uint32_t i = 0; i < graph->input_count + graph->output_count; i++) {
        bool is_input = i < graph->input_count;
        const OnnxValueInfo *info =
            is_input ? &graph->inputs[i] : &graph->outputs[i - graph->input_count];
        const char *what = is_input ? "input" : "output";
        bool dense = info->type.kind == OK_tensor || info->type.kind == OK_sparse;
        if (info->type.kind == OK_none || (dense && !info->type.dtype))
            onnx_fail(r, ST_bad_model, "%s '%s' of the model has no type", what,
                      onnx_show(r, info->name));
        else if (dense && info->type.rank < 0)
            onnx_fail(r, ST_bad_model,
                      "%s '%s' of the model has no shape; give it one, of unknown dims if need be",
                      what, onnx_show(r, info->name));
    }
    s->mark++;
    for (uint32_t i = 0; i < graph->output_count; i++)
        if (is_again(s, graph->outputs[i].name))
            onnx_fail(r, ST_bad_model, "output '%s' of the model occurs twice",
                      onnx_show(r, graph->outputs[i].name));
}

/* Attributes that nodes in a function refer to must be the function's. */
static void check_refs(Scopes *s, const OnnxGraph *graph)
{
    for (uint32_t i = 0; i < graph->node_count && !cx_failed(s->r->cx); i++) {
        const OnnxNode *node = &graph->nodes[i];
        for (uint32_t j = 0; j < node->attr_count; j++) {
            const OnnxAttr *attr = &node->attrs[j];
            s->r->node = node;
            if (attr->ref[0] && s->seen[onnx_name_id(attr->ref)] != s->mark)
                onnx_fail(s->r, ST_bad_model,
                          "attribute '%s' refers to '%s', which the function does not declare",
                          onnx_show(s->r, attr->name), onnx_show(s->r, attr->ref));
            bool has_graphs = (attr->type == OA_graph || attr->type == OA_graphs) && !attr->ref[0];
            for (uint32_t k = 0; has_graphs && k < attr->count; k++)
                check_refs(s, attr->graphs[k]);
        }
    }
    s->r->node = NULL;
}

static void check_function(Scopes *s, const OnnxFunction *f)
{
    Reader *r = s->r;
    r->function = f;
    s->mark++;
    for (uint32_t i = 0; i < f->body.output_count; i++)
        if (is_again(s, f->body.outputs[i].name))
            onnx_fail(r, ST_bad_model, "output '%s' occurs twice",
                      onnx_show(r, f->body.outputs[i].name));
    s->mark++;
    for (uint32_t i = 0; i < f->attr_count + f->default_count; i++) {
        const char *name = i < f->attr_count ? f->attrs[i] : f->defaults[i - f->attr_count].name;
        if (is_again(s, name))
            onnx_fail(r, ST_bad_model, "attribute '%s' is declared twice", onnx_show(r, name));
    }
    check_refs(s, &f->body);
    if (!cx_failed(r->cx))
        check_graph(s, &f->body);
    r->function = NULL;
}

void onnx_check_scopes(Reader *r, OnnxModel *model)
{
    uint32_t names = onnx_names_count(model->names);
    Scopes s = {.r = r, .model = model};
    s.owner = NEW_ARRAY(r->scratch, uint32_t, names);
    s.seen = NEW_ARRAY(r->scratch, uint64_t, names);
    s.input = NEW_ARRAY(r->scratch, OnnxValueInfo *, names);
    for (uint32_t i = 0; i < model->function_count && !cx_failed(r->cx); i++)
        check_function(&s, &model->functions[i]);
    if (!cx_failed(r->cx))
        check_interface(&s, &model->graph);
    if (!cx_failed(r->cx))
        check_graph(&s, &model->graph);
}
