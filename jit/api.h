/* Inside of the public interface, the part that compiles: models, and what its files share. */
#ifndef QUERN_JIT_API_H
#define QUERN_JIT_API_H

#include "frontend/onnx_model.h"
#include "jit/compile.h"
#include "runtime/api.h"

/* What a compile is made of that a tuner starts from, in the job's arena. */
typedef struct TuneSource {
    const Caps *caps;
    CodeKind kind;
    const LlvmApi *llvm; /* for CODE_object */
    NestList nests;
    Records records; /* in force */
} TuneSource;
/* False after cx_fail. */
bool api_tune_source(Cx *cx, qn_model *model, const qn_compile_options *options,
                     TuneSource *source);

/* The records that a context's compiles use; with `directory`, those of its cache directory too.
 * Says once when a line is none. */
void api_read_records(Cx *cx, qn_context *context, bool directory, Records *records);
void api_misread(qn_context *context, const char *what);

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

/* What is known of the input of this name; NULL when there is none. */
const qn_tensor_info *api_input_info(const qn_model *model, const char *name);

#endif
