/* Building a plan: tensors of the graph get places, programs become kernels, launches become steps.
 */
#ifndef QUERN_JIT_PLAN_BUILD_H
#define QUERN_JIT_PLAN_BUILD_H

#include "base/map.h"
#include "ir/graph.h"
#include "ir/tile.h"
#include "runtime/plan.h"

/* A kernel to be compiled: its program as text, with the name `k`; and the name it gets. */
typedef struct KernelText {
    const char *name, *text;
    size_t length;
} KernelText;

typedef struct PlanBuild {
    Cx *cx;
    const Graph *graph;
    uint32_t file_count;
    const FileRange *files;
    Plan *plan;
    KernelText *texts; /* by kernel */
    uint32_t *tensors; /* by graph tensor: 1 + tensor of the plan */
    bool *init;        /* by graph tensor: computed at load */
    Map kernels, packs;
    uint32_t weight_cap, tensor_cap, kernel_cap, text_cap, init_cap, step_cap;
    uint32_t text_count;
} PlanBuild;

/* What is said about a step. */
typedef struct StepInfo {
    bool init;
    const char *nodes, *why, *schedule;
    const Expr *flops;
} StepInfo;

/* The plan with its dims, assumptions, inputs and outputs. */
PlanBuild *plan_build(Cx *cx, const Graph *graph, uint32_t file_count, const FileRange *files);
/* The plan's tensor of a graph's tensor, made on first use. */
uint32_t plan_build_tensor(PlanBuild *b, const Tensor *tensor);
/* A tensor that is no graph's: an init tensor or part of the slab. */
uint32_t plan_build_buffer(PlanBuild *b, const Buffer *buffer, bool init);
/* The kernel of a program; equal programs (names of buffers apart, which the caller made equal) are
 * one. `stem` starts its name. */
uint32_t plan_build_kernel(PlanBuild *b, TileProg *prog, const char *stem);
/* Launches a kernel on tensors of the plan. */
void plan_build_step(PlanBuild *b, uint32_t kernel, const TileProg *prog, const uint32_t *tensors,
                     const StepInfo *info);
/* Copies to outputs that are inputs, constants, or other outputs; then checks. NULL after cx_fail.
 */
Plan *plan_build_finish(PlanBuild *b);

#endif
