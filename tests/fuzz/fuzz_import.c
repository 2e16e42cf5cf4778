/* The importer on any bytes that the reader takes: it may refuse; it may not crash, hang, or make a
 * graph that the verifier refuses or whose text does not parse. */
#include <stdlib.h>

#include "frontend/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
    const uint8_t *data;
    size_t size;
} Input;

static void import_input(Cx *cx, void *user)
{
    const Input *in = user;
    const OnnxModel *model = onnx_model_from_memory(cx, in->data, in->size, NULL);
    Graph *graph = model ? import_model(cx, model, NULL, NULL) : NULL;
    if (!graph)
        return;
    if (!graph_verify(graph))
        BUG("an imported graph does not verify: %s", cx->message);
    Text text;
    text_init(&text, cx->arena);
    graph_print(&text, graph);
    if (text.length < 1 << 16 && !graph_parse(cx, "printed", text.data))
        BUG("an imported graph does not parse: %s", cx->message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = {data, size};
    Cx cx;
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, import_input, &in);
    cx_finish(&cx);
    return 0;
}
