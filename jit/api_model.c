/* The public interface: models. What can be asked of a model is collected once, when it is opened.
 */
#include "jit/api.h"

#include <string.h>

#include "base/map.h"
#include "frontend/import.h"

/* --- what a model says --- */

static void set_port(Cx *cx, Port *port, const OnnxValueInfo *info)
{
    static const OnnxDim keys = {-1, ""};
    const OnnxType *type = &info->type;
    bool map = type->kind == OK_map, known = map || (type->kind == OK_tensor && type->rank >= 0);
    int rank = map ? 1 : known ? type->rank : 0;
    int64_t count = known ? 1 : -1;
    port->dims = NEW_ARRAY(cx->arena, qn_dim, rank);
    for (int d = 0; d < rank; d++) {
        const OnnxDim *dim = map ? &keys : &type->dims[d];
        port->dims[d] = (qn_dim){dim->value, api_string(dim->value < 0 ? dim->symbol : "")};
        if (count >= 0 && (dim->value < 0 || __builtin_mul_overflow(count, dim->value, &count)))
            count = -1;
    }
    Dtype dtype = type->kind == OK_tensor ? type->dtype : DT_none;
    port->info = (qn_tensor_info){api_string(info->name), (qn_dtype)dtype, known ? rank : -1,
                                  port->dims, count >= 0 ? dtype_bytes(dtype, count) : -1};
}

static bool is_supported(const qn_model *m, const OnnxNode *node)
{
    ImportRow row;
    if (customs_find(&m->context->customs, node->domain, node->op, node->opset))
        return true;
    for (uint32_t i = 0; import_row(i, &row); i++)
        if (row.since <= node->opset && strcmp(row.op, node->op) == 0 &&
            strcmp(row.domain, node->domain) == 0)
            return true;
    return false;
}

static void count_nodes(qn_model *m, Map *seen, const OnnxGraph *graph);

static void count_node(qn_model *m, Map *seen, const OnnxNode *node)
{
    Arena *arena = m->cx.arena;
    for (uint32_t a = 0; a < node->attr_count; a++)
        if (node->attrs[a].type == OA_graph || node->attrs[a].type == OA_graphs)
            for (uint32_t g = 0; g < node->attrs[a].count; g++)
                count_nodes(m, seen, node->attrs[a].graphs[g]);
    if (node->function)
        return;
    const char *key =
        arena_printf(arena, "%lld %s %s", (long long)node->opset, node->domain, node->op);
    uintptr_t at = (uintptr_t)map_find_text(seen, key);
    if (!at) {
        Operator new = {node->domain, node->op, node->opset, 0, is_supported(m, node)};
        VEC_PUSH(arena, m->operators, m->operator_count, m->operator_cap, new);
        at = m->operator_count;
        map_set_text(seen, key, (void *)at);
    }
    m->operators[at - 1].uses++;
}

static void count_nodes(qn_model *m, Map *seen, const OnnxGraph *graph)
{
    for (uint32_t i = 0; i < graph->node_count; i++)
        count_node(m, seen, &graph->nodes[i]);
}

static void describe(qn_model *m)
{
    const OnnxGraph *graph = &m->onnx->graph;
    Arena *arena = m->cx.arena;
    m->inputs = NEW_ARRAY(arena, Port, graph->input_count);
    m->outputs = NEW_ARRAY(arena, Port, graph->output_count);
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (!graph->inputs[i].initial)
            set_port(&m->cx, &m->inputs[m->input_count++], &graph->inputs[i]);
    for (uint32_t i = 0; i < graph->output_count; i++)
        set_port(&m->cx, &m->outputs[m->output_count++], &graph->outputs[i]);
    for (uint32_t i = 0; i < graph->init_count; i++) {
        m->parameters += graph->inits[i].count;
        m->weight_bytes += (int64_t)graph->inits[i].size;
    }
    Map seen;
    map_init(&seen, arena);
    count_nodes(m, &seen, graph);
    for (uint32_t i = 0; i < m->onnx->function_count; i++)
        count_nodes(m, &seen, &m->onnx->functions[i].body);
}

/* --- opening --- */

typedef struct Opening {
    qn_model *model;
    qn_string path, base_dir;
    const void *data;
    size_t bytes;
} Opening;

static void open_job(Cx *cx, void *user)
{
    const Opening *o = user;
    qn_model *m = o->model;
    if (o->data)
        m->onnx = onnx_model_from_memory(cx, o->data, o->bytes,
                                         o->base_dir.length ? api_text(cx, o->base_dir) : NULL);
    else
        m->onnx = onnx_model_open(cx, m->path = api_text(cx, o->path));
    if (cx_failed(cx))
        return;
    m->files = NEW_ARRAY(cx->arena, FileRange, m->onnx->map_count + 1);
    if (o->data)
        m->files[m->file_count++] = (FileRange){o->data, o->bytes, NULL};
    for (uint32_t i = 0; i < m->onnx->map_count; i++)
        m->files[m->file_count++] =
            (FileRange){m->onnx->maps[i]->data, m->onnx->maps[i]->size, &m->onnx->maps[i]->id};
    describe(m);
}

static qn_status open_model(qn_context *context, Opening *opening, qn_model **model)
{
    if (!model)
        return QN_BAD_ARGUMENT;
    *model = NULL;
    if (!context)
        return QN_BAD_ARGUMENT;
    qn_model *m = api_alloc(context, sizeof *m);
    if (!m)
        return QN_OUT_OF_MEMORY;
    atomic_init(&m->refs, 1);
    m->context = qn_context_retain(context);
    cx_init(&m->cx, &context->from, 0);
    opening->model = m;
    *model = m;
    cx_run(&m->cx, open_job, opening);
    if (cx_failed(&m->cx))
        m->onnx = NULL;
    return api_status(&m->report, &m->cx);
}

qn_status qn_model_open(qn_context *context, qn_string path, const qn_model_options *options,
                        qn_model **model)
{
    (void)options;
    return open_model(context, &(Opening){.path = path}, model);
}

qn_status qn_model_from_memory(qn_context *context, const void *data, size_t bytes,
                               const qn_model_options *options, qn_model **model)
{
    Opening opening = {.data = data ? data : "", .bytes = bytes};
    if (options &&
        api_has(options->size, offsetof(qn_model_options, base_dir), sizeof options->base_dir))
        opening.base_dir = options->base_dir;
    return open_model(context, &opening, model);
}

qn_model *qn_model_retain(qn_model *model)
{
    atomic_fetch_add(&model->refs, 1);
    return model;
}

void qn_model_release(qn_model *model)
{
    if (!model || atomic_fetch_sub(&model->refs, 1) != 1)
        return;
    qn_context *context = model->context;
    cx_finish(&model->cx);
    api_free(context, model, sizeof *model);
    qn_context_release(context);
}

const char *qn_model_message(const qn_model *model)
{
    return model ? model->report.text : API_NO_HANDLE;
}

/* --- asking --- */

qn_status qn_model_input(const qn_model *model, int32_t index, qn_tensor_info *info)
{
    if (!model || !model->onnx || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= model->input_count)
        return QN_MISSING;
    *info = model->inputs[index].info;
    return QN_OK;
}

qn_status qn_model_output(const qn_model *model, int32_t index, qn_tensor_info *info)
{
    if (!model || !model->onnx || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= model->output_count)
        return QN_MISSING;
    *info = model->outputs[index].info;
    return QN_OK;
}

static qn_kind kind_of(const OnnxType *type)
{
    return type->kind == OK_tensor     ? QN_TENSOR
           : type->kind == OK_sequence ? QN_SEQUENCE
           : type->kind == OK_optional ? QN_OPTIONAL
           : type->kind == OK_map      ? QN_MAP
                                       : QN_OTHER;
}

qn_status qn_model_input_kind(const qn_model *model, int32_t index, qn_kind *kind)
{
    if (!model || !model->onnx || !kind)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= model->input_count)
        return QN_MISSING;
    const OnnxGraph *graph = &model->onnx->graph;
    uint32_t at = 0;
    for (int32_t left = index; at < graph->input_count; at++)
        if (!graph->inputs[at].initial && !left--)
            break;
    *kind = kind_of(&graph->inputs[at].type);
    return QN_OK;
}

qn_status qn_model_output_kind(const qn_model *model, int32_t index, qn_kind *kind)
{
    if (!model || !model->onnx || !kind)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= model->output_count)
        return QN_MISSING;
    *kind = kind_of(&model->onnx->graph.outputs[index].type);
    return QN_OK;
}

bool api_is_input(const qn_model *model, const char *name)
{
    size_t length = strlen(name), stem = strcspn(name, "[");
    for (uint32_t i = 0; i < model->input_count; i++) {
        qn_string own = model->inputs[i].info.name;
        bool whole = own.length == length, part = own.length == stem && length > stem;
        if ((whole || part) && !memcmp(own.data, name, own.length))
            return true;
    }
    return false;
}

const qn_tensor_info *api_input_info(const qn_model *model, const char *name)
{
    for (uint32_t i = 0; i < model->input_count; i++)
        if (strcmp(model->inputs[i].info.name.data, name) == 0)
            return &model->inputs[i].info;
    return NULL;
}

qn_status qn_model_describe(const qn_model *model, qn_model_info *info)
{
    if (!model || !model->onnx || !info)
        return QN_BAD_ARGUMENT;
    const OnnxModel *onnx = model->onnx;
    *info = (qn_model_info){.ir_version = onnx->ir_version,
                            .producer = api_string(onnx->producer),
                            .producer_version = api_string(onnx->producer_version),
                            .graph_name = api_string(onnx->graph.name),
                            .inputs = (int32_t)model->input_count,
                            .outputs = (int32_t)model->output_count,
                            .nodes = onnx->graph.node_count,
                            .functions = onnx->function_count,
                            .parameters = model->parameters,
                            .weight_bytes = model->weight_bytes};
    return QN_OK;
}

qn_status qn_model_operator(const qn_model *model, int32_t index, qn_operator_info *info)
{
    if (!model || !model->onnx || !info)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= model->operator_count)
        return QN_MISSING;
    const Operator *o = &model->operators[index];
    *info = (qn_operator_info){api_string(o->domain), api_string(o->name), o->opset, o->uses,
                               o->supported};
    return QN_OK;
}
