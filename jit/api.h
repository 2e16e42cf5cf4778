/* Inside of the public interface, the part that compiles: models, and what its files share. */
#ifndef QUERN_JIT_API_H
#define QUERN_JIT_API_H

#include "frontend/onnx_model.h"
#include "jit/compile.h"
#include "runtime/api.h"

typedef struct Operator {
    const char *domain, *name;
    int64_t opset, uses;
    bool supported;
} Operator;

struct qn_model {
    atomic_int refs;
    qn_context *context;
    Report report;
    Cx cx;
    const OnnxModel *onnx; /* NULL: opening failed */
    const char *path;      /* NULL: from memory */
    uint32_t file_count, input_count, output_count, operator_count, operator_cap;
    FileRange *files;
    Port *inputs, *outputs;
    Operator *operators;
    int64_t parameters, weight_bytes;
};

/* Whether the model has an input of this name, or one that it is an element of. */
bool api_is_input(const qn_model *model, const char *name);

#endif
