/* Reading a model: walk, decode, and turn protobuf-c's messages into the structures of
 * onnx_model.h.
 *
 * The decoded messages live in a scratch arena that is released at the end; what is kept is copied.
 * Functions are read before the graph, with the opset imports each one states. Checks that need one
 * message only are made here; onnx_check.c and onnx_scope.c make the others. After every node and
 * tensor the reader looks at cx_failed. */
#include "frontend/onnx_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"

/* ---- messages ---- */

const char *onnx_printable(Arena *arena, const char *text)
{
    enum { SHOWN = 80 };
    size_t length = strlen(text);
    bool cut = length > SHOWN;
    if (cut)
        for (length = SHOWN; length && ((unsigned char)text[length] & 0xC0) == 0x80;)
            length--;
    char *copy = arena_printf(arena, "%.*s%s", (int)length, text, cut ? "..." : "");
    utf8_make_plain(copy, false);
    return copy;
}

const char *onnx_show(Reader *r, const char *text)
{
    return onnx_printable(r->cx->arena, text);
}

const char *onnx_node_text(Arena *arena, const OnnxNode *node)
{
    const char *op = onnx_printable(arena, node->op);
    const char *domain = onnx_printable(arena, node->domain), *dot = domain[0] ? "." : "";
    if (node->name[0])
        return arena_printf(arena, "node '%s' (%s%s%s)", onnx_printable(arena, node->name), domain,
                            dot, op);
    return arena_printf(arena, "node #%u (%s%s%s)", node->index, domain, dot, op);
}

void onnx_fail(Reader *r, Status status, const char *fmt, ...)
{
    if (cx_failed(r->cx))
        return;
    Arena *arena = r->cx->arena;
    const char *where = onnx_printable(arena, r->source.name);
    if (r->function)
        where = arena_printf(arena, "%s: function '%s'", where, onnx_show(r, r->function->name));
    if (r->node)
        where = arena_printf(arena, "%s: %s", where, onnx_node_text(arena, r->node));
    if (r->attr)
        where = arena_printf(arena, "%s: attribute '%s'", where, onnx_show(r, r->attr));
    if (r->tensor && r->tensor[0])
        where = arena_printf(arena, "%s: tensor '%s'", where, onnx_show(r, r->tensor));
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cx_fail(r->cx, status, "%s: %s", where, text);
}

/* ---- small things ---- */

static const char *read_name(Reader *r, const char *text)
{
    return onnx_name(r->names, text);
}

static const char **read_names(Reader *r, char *const *from, size_t count)
{
    const char **names = NEW_ARRAY(r->cx->arena, const char *, count);
    for (size_t i = 0; i < count; i++)
        names[i] = read_name(r, from[i]);
    return names;
}

static const char *read_domain(Reader *r, const char *text)
{
    return read_name(r, text && !strcmp(text, "ai.onnx") ? "" : text);
}

/* ---- nodes and graphs ---- */

static void read_node(Reader *r, const PbNode *from, uint32_t index, OnnxNode *node)
{
    *node = (OnnxNode){.name = read_name(r, from->name),
                       .op = read_name(r, from->op_type),
                       .domain = read_domain(r, from->domain),
                       .overload = read_name(r, from->overload),
                       .index = index};
    r->node = node;
    node->inputs = read_names(r, from->input, from->n_input);
    node->outputs = read_names(r, from->output, from->n_output);
    node->input_count = (uint32_t)from->n_input;
    node->output_count = (uint32_t)from->n_output;
    if (!node->op[0])
        onnx_fail(r, ST_bad_model, "the node has no operator");
    else if (!from->n_input && !from->n_output)
        onnx_fail(r, ST_bad_model, "has neither inputs nor outputs");
    const OnnxOpset *opset = r->opsets, *end = r->opsets + r->opset_count;
    while (opset < end && opset->domain != node->domain)
        opset++;
    if (opset < end)
        node->opset = opset->version;
    else
        onnx_fail(r, ST_bad_model, "uses the domain '%s', but the %s has no opset_import for it",
                  node->domain[0] ? onnx_show(r, node->domain) : "ai.onnx",
                  r->function ? "function" : "model");
    if (!cx_failed(r->cx))
        node->attrs = onnx_read_attrs(r, from->attribute, from->n_attribute);
    node->attr_count = (uint32_t)from->n_attribute;
    r->node = NULL;
}

static void read_nodes(Reader *r, PbNode *const *from, size_t count, OnnxGraph *to)
{
    to->nodes = NEW_ARRAY(r->cx->arena, OnnxNode, count);
    to->node_count = (uint32_t)count;
    for (uint32_t i = 0; i < count && !cx_failed(r->cx); i++)
        read_node(r, from[i], i, &to->nodes[i]);
}

static void read_inits(Reader *r, const PbGraph *from, OnnxGraph *to)
{
    size_t dense = from->n_initializer, count = dense + from->n_sparse_initializer;
    OnnxTensor *inits = NEW_ARRAY(r->cx->arena, OnnxTensor, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++) {
        inits[i] = i < dense ? onnx_read_tensor(r, from->initializer[i])
                             : onnx_read_sparse(r, from->sparse_initializer[i - dense]);
        if (!inits[i].name || !inits[i].name[0])
            onnx_fail(r, ST_bad_model, "initializer #%zu has no name", i);
    }
    to->inits = inits;
    to->init_count = (uint32_t)count;
}

OnnxGraph onnx_read_graph(Reader *r, const PbGraph *from)
{
    OnnxGraph graph = {.name = read_name(r, from->name)};
    if (!graph.name[0])
        onnx_fail(r, ST_bad_model, "a graph has no name; the specification wants one (graph.name)");
    graph.inputs = onnx_read_infos(r, from->input, from->n_input);
    graph.input_count = (uint32_t)from->n_input;
    graph.outputs = onnx_read_infos(r, from->output, from->n_output);
    graph.output_count = (uint32_t)from->n_output;
    graph.infos = onnx_read_infos(r, from->value_info, from->n_value_info);
    graph.info_count = (uint32_t)from->n_value_info;
    if (!cx_failed(r->cx))
        read_inits(r, from, &graph);
    if (!cx_failed(r->cx))
        read_nodes(r, from->node, from->n_node, &graph);
    return graph;
}

/* ---- functions ---- */

static OnnxValueInfo *read_bare_infos(Reader *r, char *const *from, size_t count)
{
    OnnxValueInfo *infos = NEW_ARRAY(r->cx->arena, OnnxValueInfo, count);
    for (size_t i = 0; i < count; i++)
        infos[i] = (OnnxValueInfo){.name = read_name(r, from[i]), .type.rank = -1};
    return infos;
}

static void read_function(Reader *r, const PbFunction *from, OnnxFunction *f)
{
    f->name = f->body.name = read_name(r, from->name);
    f->domain = read_domain(r, from->domain);
    f->overload = read_name(r, from->overload);
    r->function = f;
    if (!f->name[0])
        onnx_fail(r, ST_bad_model, "a function has no name");
    if (from->n_attribute > ONNX_ATTRIBUTES)
        onnx_fail(r, ST_limit, "has %zu attributes; at most %d are supported", from->n_attribute,
                  ONNX_ATTRIBUTES);
    f->opsets = onnx_read_opsets(r, from->opset_import, from->n_opset_import);
    f->opset_count = (uint32_t)from->n_opset_import;
    r->opsets = f->opsets;
    r->opset_count = f->opset_count;
    f->attrs = read_names(r, from->attribute, from->n_attribute);
    f->attr_count = (uint32_t)from->n_attribute;
    f->body.inputs = read_bare_infos(r, from->input, from->n_input);
    f->body.input_count = (uint32_t)from->n_input;
    f->body.outputs = read_bare_infos(r, from->output, from->n_output);
    f->body.output_count = (uint32_t)from->n_output;
    if (!cx_failed(r->cx)) {
        f->defaults = onnx_read_attrs(r, from->attribute_proto, from->n_attribute_proto);
        f->default_count = (uint32_t)from->n_attribute_proto;
    }
    if (!cx_failed(r->cx))
        read_nodes(r, from->node, from->n_node, &f->body);
    r->function = NULL;
}

static void read_functions(Reader *r, const PbModel *from, OnnxModel *model)
{
    if (from->n_functions > ONNX_FUNCTIONS) {
        onnx_fail(r, ST_limit, "the model has %zu functions; at most %d are supported",
                  from->n_functions, ONNX_FUNCTIONS);
        return;
    }
    model->functions = NEW_ARRAY(r->cx->arena, OnnxFunction, from->n_functions);
    model->function_count = (uint32_t)from->n_functions;
    for (size_t i = 0; i < from->n_functions && !cx_failed(r->cx); i++)
        read_function(r, from->functions[i], &model->functions[i]);
}

/* ---- the model ---- */

static void check_versions(Reader *r, const PbModel *from)
{
    if (!from->graph)
        onnx_fail(r, ST_bad_model, "there is no graph in it: not an ONNX model");
    else if (!from->has_ir_version || from->ir_version < 1)
        onnx_fail(r, ST_bad_model, "has no valid ir_version");
    else if (from->ir_version > ONNX_IR_NEWEST)
        onnx_fail(
            r, ST_unsupported,
            "has IR version %lld; versions up to %d are supported: export it with an older one",
            (long long)from->ir_version, ONNX_IR_NEWEST);
    else if (from->ir_version >= 3 && !from->n_opset_import)
        onnx_fail(r, ST_bad_model, "IR version %lld needs an opset_import, and there is none",
                  (long long)from->ir_version);
    else if (from->ir_version < 3 && from->n_opset_import)
        onnx_fail(r, ST_bad_model, "IR version %lld has no opset_import, but one is there",
                  (long long)from->ir_version);
}

static void read_metadata(Reader *r, const PbModel *from, OnnxModel *model)
{
    const char **entries = NEW_ARRAY(r->cx->arena, const char *, from->n_metadata_props * 2);
    for (size_t i = 0; i < from->n_metadata_props; i++) {
        entries[2 * i] = read_name(r, from->metadata_props[i]->key);
        entries[2 * i + 1] = read_name(r, from->metadata_props[i]->value);
    }
    model->metadata = entries;
    model->metadata_count = (uint32_t)from->n_metadata_props;
}

static void read_model(Reader *r, const PbModel *from, OnnxModel *model)
{
    check_versions(r, from);
    if (cx_failed(r->cx))
        return;
    model->ir_version = from->ir_version;
    model->model_version = from->model_version;
    model->producer = read_name(r, from->producer_name);
    model->producer_version = read_name(r, from->producer_version);
    model->domain = read_name(r, from->domain);
    model->doc = read_name(r, from->doc_string);
    read_metadata(r, from, model);
    model->opsets = onnx_read_opsets(r, from->opset_import, from->n_opset_import);
    model->opset_count = (uint32_t)from->n_opset_import;
    if (from->ir_version < 3) { /* the time before opsets */
        model->opsets = NEW(r->cx->arena, OnnxOpset);
        model->opsets[0] = (OnnxOpset){read_name(r, NULL), 1};
        model->opset_count = 1;
    }
    if (!cx_failed(r->cx))
        read_functions(r, from, model);
    r->opsets = model->opsets;
    r->opset_count = model->opset_count;
    if (!cx_failed(r->cx))
        model->graph = onnx_read_graph(r, from->graph);
    if (!cx_failed(r->cx))
        onnx_resolve(r, model);
    if (!cx_failed(r->cx))
        onnx_check_scopes(r, model);
}

static void finish_arena(void *arena)
{
    arena_finish(arena);
}

ProtobufCMessage *onnx_read_begin(Reader *r, const ProtobufCMessageDescriptor *type)
{
    Arena *outer = r->cx->arena;
    r->scratch = NEW(outer, Arena);
    cx_cleanup(r->cx, finish_arena, r->scratch);
    size_t limit = outer->limit;
    if (limit)
        limit = limit > outer->used ? limit - outer->used : 1;
    arena_init(r->scratch, outer->from, limit, outer->on_oom);
    if (!onnx_walk(r->cx, r->scratch, r->source, type, &r->skeleton))
        return NULL;
    return onnx_decode(r->cx, r->scratch, r->source, type, &r->skeleton);
}

void onnx_read_end(Reader *r)
{
    arena_finish(r->scratch);
}

static const OnnxModel *read_all(Reader *r)
{
    Arena *arena = r->cx->arena;
    r->names = onnx_names_new(arena);
    r->model = NEW(arena, OnnxModel);
    r->model->file = r->source.name;
    r->model->names = r->names;
    const ProtobufCMessage *message = onnx_read_begin(r, &quern__onnx__model_proto__descriptor);
    if (message)
        read_model(r, (const PbModel *)message, r->model);
    r->model->maps = r->maps;
    r->model->map_count = r->map_count;
    r->model->skeleton = arena_copy(arena, r->skeleton.data, r->skeleton.size);
    r->model->skeleton_size = r->skeleton.size;
    onnx_read_end(r);
    return cx_failed(r->cx) ? NULL : r->model;
}

const OnnxModel *onnx_model_from_memory(Cx *cx, const void *data, size_t size, const char *base_dir)
{
    Reader r = {.cx = cx, .source = {"model in memory", data, size}, .base_dir = base_dir};
    return read_all(&r);
}

static void unmap(void *map)
{
    os_unmap(map);
}

/* The folder of a path: what external data is relative to. */
static const char *folder_of(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    return arena_printf(arena, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

const OnnxModel *onnx_model_open(Cx *cx, const char *path)
{
    OsMap *map = NEW(cx->arena, OsMap);
    *map = OS_MAP_NONE;
    Reader r = {.cx = cx, .map = map, .base_dir = folder_of(cx->arena, path)};
    r.source.name = arena_strdup(cx->arena, path);
    cx_cleanup(cx, unmap, map);
    int error = os_map_file(path, map);
    if (error) {
        cx_fail(cx, error == ENOENT ? ST_missing : ST_io, "%s: cannot be read: %s",
                onnx_show(&r, path), os_error_text(error));
        return NULL;
    }
    r.source.data = map->data;
    r.source.size = map->size;
    VEC_PUSH(cx->arena, r.maps, r.map_count, r.map_capacity, map);
    return read_all(&r);
}

bool onnx_model_check(Cx *cx, const OnnxModel *model)
{
    for (uint32_t i = 0; i < model->map_count; i++) {
        int error = os_map_check(model->maps[i]);
        if (error)
            cx_fail(cx, ST_io, "%s: %s", onnx_printable(cx->arena, model->file),
                    os_error_text(error));
    }
    return !cx_failed(cx);
}
