/* Initializers that are listed as inputs are defaults in ONNX's words. Here they are weights: code
 * is made for their values, so a run gives no others. */
#include "jit/weight_note.h"

#include <string.h>

#include "jit/api.h"

const char *weight_note(const qn_model *model, qn_string name)
{
    const OnnxGraph *graph = &model->onnx->graph;
    for (uint32_t i = 0; i < graph->input_count; i++)
        if (graph->inputs[i].initial && strlen(graph->inputs[i].name) == name.length &&
            !memcmp(graph->inputs[i].name, name.data, name.length))
            return ": it is a weight, with a value of the model's own";
    return "";
}
