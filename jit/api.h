/* Inside of the public interface: the handles, and what its files share. */
#ifndef QUERN_JIT_API_H
#define QUERN_JIT_API_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/pool.h"
#include "frontend/onnx_model.h"
#include "include/quern.h"
#include "jit/compile.h"
#include "jit/llvm_module.h"
#include "runtime/object.h"
#include "runtime/session.h"

struct qn_context {
    atomic_int refs;
    Allocator from;
    Executor executor;
    Pool *pool; /* NULL when the executor is the caller's */
    qn_log *log;
    void *log_user;
    char *cache_dir, *compiler_path; /* NULL = none given */
    int64_t cache_limit;
    atomic_bool warned;   /* that the cache cannot be written */
    pthread_mutex_t lock; /* of the module */
    LlvmModule llvm;
};

typedef struct Operator {
    const char *domain, *name;
    int64_t opset, uses;
    bool supported;
} Operator;

/* An input or output, as it is given out; dims in the arena of its handle. */
typedef struct Port {
    qn_tensor_info info;
    qn_dim *dims;
} Port;

struct qn_model {
    atomic_int refs;
    qn_context *context;
    Report report;
    Cx cx;
    const OnnxModel *onnx; /* NULL: opening failed */
    uint32_t file_count, input_count, output_count, operator_count, operator_cap;
    FileRange *files;
    Port *inputs, *outputs;
    Operator *operators;
    int64_t parameters, weight_bytes;
};

struct qn_program {
    atomic_int refs;
    qn_context *context;
    qn_model *model;
    Report report;
    Cx cx; /* of what follows */
    Plan *plan;
    Object **objects;
    uint32_t object_count;
    Program *program; /* NULL: compiling failed */
    Port *inputs, *outputs;
    int64_t plan_bytes, object_bytes;
    double compile_ms;
    bool cached;
    const char *texts[KEEP_count];
    const void **contents; /* by input: what it has to hold in a run; NULL = anything */
    uint32_t wanted_count; /* of a failed compile: inputs whose contents it asked for */
    const qn_string *wanted;
};

/* --- shared --- */

/* Zeroed memory of the context's allocator. */
void *api_alloc(const qn_context *context, size_t size);
void api_free(const qn_context *context, void *memory, size_t size);
/* The job's failure as the handle's. */
qn_status api_status(Report *report, const Cx *cx);
qn_string api_string(const char *text);
/* A terminated copy in the arena. Fails on NUL inside. */
const char *api_text(Cx *cx, qn_string string);
bool api_same(qn_string a, const char *b);
double api_now_ms(void);
/* The code generator, opened on first use; NULL after cx_fail. */
const LlvmApi *api_llvm(qn_context *context, Cx *cx);

/* Whether options of `size` have the field at `offset`, `bytes` long; 0 stands for all of this
 * header. */
static inline bool api_has(size_t size, size_t offset, size_t bytes)
{
    return size == 0 || size >= offset + bytes;
}

#endif
