/* The model reader on any bytes: as a model, and as each kind of value. It may refuse; it may not
 * crash, hang, or take more memory than its limit. What it accepts is read through once, so that a
 * bad pointer shows. */
#include <stdlib.h>

#include "frontend/onnx_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
    const uint8_t *data;
    size_t size;
    OnnxKind kind;
    uint64_t sum; /* of all bytes of accepted tensors: makes them be read */
} Input;

static void read_tensor(Input *in, const OnnxTensor *tensor)
{
    for (size_t i = 0; tensor->data && i < tensor->size; i++)
        in->sum += ((const uint8_t *)tensor->data)[i];
    for (int64_t i = 0; tensor->strings && i < tensor->count; i++)
        in->sum += (uint8_t)tensor->strings[i].data[tensor->strings[i].length];
}

static void read_value(Input *in, const OnnxValue *value)
{
    if (value->kind == OK_tensor)
        read_tensor(in, &value->tensor);
    for (uint32_t i = 0; i < value->count; i++)
        read_value(in, &value->items[i]);
}

static void read_graph(Input *in, const OnnxGraph *graph)
{
    for (uint32_t i = 0; i < graph->init_count; i++)
        read_tensor(in, &graph->inits[i]);
    for (uint32_t i = 0; i < graph->node_count; i++) {
        for (uint32_t j = 0; j < graph->nodes[i].attr_count; j++) {
            const OnnxAttr *attr = &graph->nodes[i].attrs[j];
            if (attr->type == OA_tensor && !attr->ref[0])
                read_tensor(in, attr->tensors);
            if (attr->type == OA_graph && !attr->ref[0])
                read_graph(in, attr->graphs[0]);
        }
    }
}

static void read_input(Cx *cx, void *user)
{
    Input *in = user;
    if (in->kind == OK_none) {
        const OnnxModel *model = onnx_model_from_memory(cx, in->data, in->size, NULL);
        if (model)
            read_graph(in, &model->graph);
    } else {
        const OnnxValue *value = onnx_value_from_memory(cx, "value", in->data, in->size, in->kind);
        if (value)
            read_value(in, value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const OnnxKind kinds[] = {OK_none,     OK_tensor, OK_sparse,
                                     OK_sequence, OK_map,    OK_optional};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        Input in = {data, size, kinds[i], 0};
        Cx cx;
        cx_init(&cx, NULL, 64 << 20);
        Status status = cx_run(&cx, read_input, &in);
        if ((status == ST_ok) != (cx.message == NULL))
            abort();
        cx_finish(&cx);
    }
    return 0;
}
