/* Runs an imported graph in the nest interpreter: the oracle for importers. Every group of the
 * fusion is lowered and run in order, tensors row-major. */
#ifndef QUERN_TESTS_IMPORT_RUN_H
#define QUERN_TESTS_IMPORT_RUN_H

#include <string.h>

#include "frontend/import.h"
#include "passes/group.h"

typedef struct ImportRun {
    Cx *cx;
    Graph *graph;
    const int64_t *dims; /* of graph->dims */
    void **memory;       /* by tensor id */
} ImportRun;

static inline bool import_run_dim(void *user, const Expr *sym, int64_t *value)
{
    const ImportRun *run = user;
    for (uint32_t i = 0; i < run->graph->dim_count; i++)
        if (run->graph->dims[i] == sym) {
            *value = run->dims[i];
            return true;
        }
    return false;
}

static inline int64_t import_run_size(ImportRun *run, const Expr *e)
{
    int64_t value = 0;
    if (!expr_eval(e, import_run_dim, run, &value))
        cx_fail(run->cx, ST_internal, "a size that the inputs do not give");
    return value;
}

static inline void *import_run_memory(ImportRun *run, const Tensor *tensor)
{
    if (tensor->producer->op == OP_constant)
        return (void *)(uintptr_t)tensor->data;
    if (!run->memory[tensor->id]) {
        int64_t count = 1;
        for (int d = 0; d < tensor->rank; d++)
            count *= import_run_size(run, tensor->shape[d]);
        run->memory[tensor->id] =
            NEW_ARRAY(run->cx->arena, char, (size_t)dtype_bytes(tensor->dtype, count) + 16);
    }
    return run->memory[tensor->id];
}

static inline bool import_run_group(ImportRun *run, const Group *group)
{
    LoweredGroup lowered;
    if (!lower_group(run->cx, run->graph, group, NULL, &lowered))
        return false;
    Nest *nest = lowered.nest;
    void **buffers = NEW_ARRAY(run->cx->arena, void *, nest->buffer_count + 1);
    int64_t *dims = NEW_ARRAY(run->cx->arena, int64_t, nest->dim_count + 1);
    for (uint32_t i = 0; i < lowered.tensor_count; i++)
        buffers[i] = import_run_memory(run, lowered.tensors[i]);
    for (uint32_t i = 0; i < nest->dim_count; i++)
        dims[i] = import_run_size(run, nest->dims[i]);
    NestRun nest_one = {buffers, dims, 0};
    return nest_run(run->cx, nest, &nest_one);
}

/* Runs the graph; `inputs` by input of the graph. Results: run->memory, by import_run_memory. */
static inline bool import_run(ImportRun *run, void *const *inputs)
{
    const Grouping *grouping = group_graph(run->cx, run->graph, target_find("x86-64-v4"));
    if (cx_failed(run->cx))
        return false;
    run->memory = NEW_ARRAY(run->cx->arena, void *, grouping->tensor_count + 1);
    for (uint32_t i = 0; i < run->graph->input_count; i++)
        run->memory[run->graph->inputs[i]->id] = inputs[i];
    for (uint32_t i = 0; i < grouping->count; i++)
        if (!import_run_group(run, &grouping->groups[i].group))
            return false;
    return true;
}

#endif
