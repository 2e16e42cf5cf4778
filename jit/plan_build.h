/* Building a plan: tensors of the graph get places, programs become kernels, launches become steps.
 */
#ifndef QUERN_JIT_PLAN_BUILD_H
#define QUERN_JIT_PLAN_BUILD_H

#include "base/map.h"
#include "ir/graph.h"
#include "ir/tile.h"
#include "passes/equal_dims.h"
#include "runtime/plan.h"

/* A kernel to be compiled: its program as text, with the name `k`; and the name it gets. */
typedef struct KernelText {
    const char *name, *text;
    size_t length;
} KernelText;

/* A graph being compiled: the model's, or a body's inside the one around it. */
typedef struct PlanScope {
    struct PlanScope *around;
    const Graph *graph;
    uint32_t *tensors;      /* by graph tensor: 1 + tensor of the plan */
    uint8_t *claims;        /* by graph tensor: 1 + place it is to have */
    bool *init;             /* by graph tensor: computed at load */
    bool *assumed;          /* by check of the graph: it is in a block */
    const EqualDims *equal; /* made of it; NULL at first */
    uint32_t region;
    const Expr *times;  /* how often a run comes here; NULL: only a run tells */
    uint32_t dim_count; /* of the plan when it began: later ones are forgotten with it */
} PlanScope;

/* Steps of a region. A block ends where dims are bound. */
typedef struct RegionBuild {
    uint32_t block_count, block_cap, step_count, step_cap, check_count, check_cap;
    PlanBlock *blocks;
    PlanStep *steps;
    PlanCheck *checks;
    bool closed; /* the next step begins a block */
} RegionBuild;

typedef struct PlanBuild {
    Cx *cx;
    PlanScope *scope;
    uint32_t file_count;
    const FileRange *files;
    Plan *plan;
    KernelText *texts; /* by kernel */
    const Expr **dims; /* by dim of the plan: the symbol */
    bool *known;       /* by dim of the plan, at this point */
    uint32_t stand_in_count;
    const Expr *const *stood_for, *const *stand_ins;
    RegionBuild *regions;
    Map kernels, packs, weights, aligned;
    uint32_t dim_cap, sym_cap, known_cap, region_cap;
    uint32_t weight_cap, tensor_cap, kernel_cap, text_cap, init_cap;
    uint32_t host_cap, loop_cap, branch_cap;
    uint32_t text_count;
    bool slices; /* kernels may write at any multiple of an element's size: CPUs */
} PlanBuild;

/* What is said about a step. */
typedef struct StepInfo {
    bool init;
    const uint32_t *sizes; /* init: values of the kernel's dims */
    const char *picks; /* NULL: none */
    const char *nodes, *why, *schedule;
    const Expr *flops;
} StepInfo;

/* The plan with the inputs and outputs of the graph; `equal` is what equal_dims made of it. */
PlanBuild *plan_build(Cx *cx, const Graph *graph, const EqualDims *equal, uint32_t file_count,
                      const FileRange *files);
/* What equal_dims made of the graph of the present scope, a body: its shares get dims of the plan.
 */
void plan_build_shares(PlanBuild *b, const EqualDims *equal);
/* The plan's tensor of a graph's tensor, made on first use. */
uint32_t plan_build_tensor(PlanBuild *b, const Tensor *tensor);
/* A tensor that is no graph's: an init tensor or part of the slab. */
uint32_t plan_build_buffer(PlanBuild *b, const Buffer *buffer, bool init);
/* Symbols that stand for dims of the graph in the steps that follow. */
void plan_build_stand_in(PlanBuild *b, uint32_t count, const Expr *const *dims,
                         const Expr *const *with);
/* The kernel of a program; equal programs (names of buffers apart, which the caller made equal) are
 * one. `stem` starts its name. */
uint32_t plan_build_kernel(PlanBuild *b, TileProg *prog, const char *stem);
/* Launches a kernel on tensors of the plan. */
void plan_build_step(PlanBuild *b, uint32_t kernel, const TileProg *prog, const uint32_t *tensors,
                     const StepInfo *info);
/* Steps that are no kernels; parts of the node by result, NULL where nobody reads it. The body of a
 * loop or branch is compiled by `compile`, in a scope that is set up around the call. */
typedef bool CompileBody(void *user, Graph *body);
bool plan_build_host(PlanBuild *b, const GraphNode *node, Tensor *const *parts);
bool plan_build_loop(PlanBuild *b, const GraphNode *node, Tensor *const *parts,
                     CompileBody *compile, void *user);
bool plan_build_branch(PlanBuild *b, const GraphNode *node, Tensor *const *parts,
                       CompileBody *compile, void *user);
/* Copies to outputs that are inputs, constants, or other outputs; then checks. NULL after cx_fail.
 */
Plan *plan_build_finish(PlanBuild *b);

#endif
