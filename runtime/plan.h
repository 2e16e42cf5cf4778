/* The plan: what a program does at run time, for one target. Tensors, kernels, steps, and where
 * everything lies. Sizes are programs over the plan's dims (ExprCode), so one plan serves all
 * shapes.
 *
 *   init steps   once, at load: weights -> init tensors (packed and folded constants)
 *   regions      every run: inputs, weights, init tensors -> slab tensors -> outputs
 *
 * Region 0 is the run; the others are bodies of loops and branches, each of one step. A region is a
 * list of blocks, a block a list of steps. All sizes in a block are known when it begins: dims that
 * a step binds (a host step by what it writes, a loop, a branch) are for the blocks after it, so
 * such a step is the last of its block.
 *
 *   region 0   block 0  kernel kernel host(nonzero)      binds h0
 *              block 1  kernel loop -> region 1          sizes may contain h0
 *   region 1   block 2  kernel kernel                    once an iteration
 *
 * A plan refers to machine code by name only: phase p of a kernel is the function `<kernel>_<p>`
 * (base/kernel_abi.h).
 *
 * As bytes: a header with magic, versions, size and a hash of what follows, then little-endian
 * integers and texts in the order of the fields below. plan_read trusts nothing: a plan it returns
 * satisfies every rule of this header. What it cannot check is that the kernels do what the plan
 * says. */
#ifndef QUERN_RUNTIME_PLAN_H
#define QUERN_RUNTIME_PLAN_H

#include "base/cx.h"
#include "base/dtype.h"
#include "base/expr.h"
#include "base/os_file.h"

enum { PLAN_VERSION = 8, PLAN_RANK = 12 };
enum { PLAN_DEPTH = 8 }; /* regions in regions */

/* No tensor: a result nobody reads, a carried value nobody uses. */
#define PLAN_NONE UINT32_MAX

/* Offset of a place in no file: the bytes are in the plan. */
#define PLAN_INLINE UINT32_MAX

/* A symbol. Its value is extent `axis` of `tensor`: an input, or one whose extents a step tells
 * when it has run (results of host steps, loops and branches) or an iteration when it begins
 * (carried values). Other places with the same symbol are compared with it. A share of the extent
 * is that divided by `by`, rounded down: a hidden size by its heads, as kernels see it. That
 * nothing is left over is a check's matter. */
typedef struct PlanDim {
    const char *name; /* for messages */
    int64_t lo, hi;   /* inclusive */
    int64_t div;      /* the value is a multiple; >= 1 */
    uint32_t tensor, axis;
    ExprCode by; /* over dims before this one */
} PlanDim;

typedef enum PlanPlace {
    PP_input,  /* the caller's memory, number `index` */
    PP_output, /* likewise */
    PP_weight, /* weight `index`, where it lies: not aligned */
    PP_init, /* written by init steps, read by later init steps and run steps; the shape has no dims
              */
    PP_slab, /* intermediate, or a kernel's scratch buffer: in the slab of the first block it is in
              */
    PP_own,  /* memory of its own in the session, which grows: of an extent that its step binds, or
                written again by each iteration */
    PP_alias, /* where another tensor lies, as its loop or branch says */
    PP_count
} PlanPlace;

typedef struct PlanTensor {
    Dtype dtype;
    PlanPlace place;
    uint32_t index; /* PP_input, PP_output, PP_weight: which; else 0 */
    int rank;
    ExprCode shape[PLAN_RANK]; /* extents over the plan's dims; it occupies their packed product */
} PlanTensor;

/* An input or output of the model. Exactly one tensor has place PP_input and its index. The tensor
 * of an output has place PP_output and its index when its extents follow from those of the inputs
 * and it holds no strings; else it is the session's, in any place but those of inputs and
 * constants. */
typedef struct PlanPort {
    const char *name;
    uint32_t tensor;
    /* by dim: name of its symbol when it is one, else "" or NULL */
    const char *symbols[PLAN_RANK];
    /* Of an input: what it has to hold in a run, of so many bytes, those of its tensor, whose shape
     * has no dims; NULL = anything. */
    const void *contents;
    int64_t content_bytes;
} PlanPort;

/* What the model assumes of its dims: a and b are equal, or what the rule says. Over the plan's
 * dims. */
typedef struct PlanCheck {
    ExprCode a, b;
    uint32_t rule;      /* a SizeRule */
    const char *source; /* for messages: the ONNX node */
} PlanCheck;

/* Memory of a file that constants may lie in: number 0 is the model, then its external data. */
typedef struct FileRange {
    const void *data;
    size_t size;
    const OsFileId *id; /* NULL: the caller's memory */
} FileRange;

/* A constant of the model: a range of a file of the model, or bytes that the plan carries. */
typedef struct PlanWeight {
    uint32_t
        file; /* 0 = the model, 1.. = its external data in order of appearance, or PLAN_INLINE */
    int64_t offset, bytes;
    const void *data; /* PLAN_INLINE: the bytes; else NULL */
} PlanWeight;

typedef struct PlanPhase {
    ExprCode tasks;   /* over the kernel's own dims; on a GPU: blocks */
    uint32_t threads; /* per block; 1 elsewhere */
    uint32_t shared;  /* bytes of memory shared by a block's threads, to be given at the launch */
} PlanPhase;

typedef struct PlanKernel {
    const char *name;
    uint32_t dim_count, buffer_count, phase_count;
    const uint32_t *least; /* by dim: below this there is nothing to do */
    const PlanPhase *phases;
    int64_t scratch;   /* CPU: bytes per worker */
    uint32_t may_fail; /* 1: it reads indices from data, so it may set the error cell; else 0 */
} PlanKernel;

/* A host operation as a step calls it. */
typedef struct PlanHost {
    const char *name;     /* in runtime/host.def */
    uint32_t input_count; /* first of the step's buffers; the rest are results, or PLAN_NONE */
    uint32_t result_count;
    const uint32_t *dtypes; /* of the results */
} PlanHost;

/* A value that an iteration hands to the next: `initial` is `in` of the first, `out` of one is `in`
 * of the next, and `result` is what is left (`initial`, when there was no iteration). */
typedef struct PlanCarried {
    uint32_t initial;
    uint32_t in;     /* PP_alias, or PLAN_NONE */
    uint32_t out;    /* PP_own */
    uint32_t result; /* PP_alias, or PLAN_NONE */
} PlanCarried;

/* Values of all iterations, one after another along a new first dim. */
typedef struct PlanStacked {
    uint32_t out;
    uint32_t in_place; /* 1: out is PP_alias, written in its place in the result; 0: copied there */
    uint32_t result;
} PlanStacked;

typedef struct PlanLoop {
    uint32_t region;
    uint32_t trip;      /* i64 []: at most so many iterations */
    uint32_t condition; /* bool []: whether there is a first one */
    uint32_t counter;   /* i64 [] of the body, PP_own: the number of the iteration; or PLAN_NONE */
    uint32_t again;     /* bool [] of the body: whether there is a next one; or PLAN_NONE: yes */
    uint32_t carried_count, stacked_count;
    PlanCarried *carried;
    PlanStacked *stacked;
} PlanLoop;

/* What a branch gives: its result stands for yes or no. */
typedef struct PlanMerge {
    uint32_t yes, no; /* of the regions' tensors */
    uint32_t result;  /* PP_alias */
} PlanMerge;

typedef struct PlanBranch {
    uint32_t condition; /* bool [] */
    uint32_t yes, no;   /* regions */
    uint32_t merge_count;
    PlanMerge *merges;
} PlanBranch;

typedef struct PlanBlock {
    uint32_t step_count;
    uint32_t check_count; /* assumptions whose dims are known from here on */
} PlanBlock;

typedef enum PlanStepKind {
    PS_kernel,
    PS_copy, /* buffers[1] = buffers[0]: same dtype, same number of elements */
    PS_host,
    PS_loop,   /* buffers: what the body reads of the regions around it, trip, condition, initial */
    PS_branch, /* buffers: likewise */
    PS_count
} PlanStepKind;

typedef struct PlanStep {
    PlanStepKind kind;
    uint32_t kernel;         /* of hosts, loops, branches for steps of these kinds; 0 for copies */
    uint32_t buffer_count;   /* as the kernel's; 2 for copies */
    const uint32_t *buffers; /* tensors */
    uint32_t dim_count;      /* as the kernel's */
    const uint32_t *dims;    /* for each dim of the kernel: which of the plan; in init steps, before
                                the plan's have values: its value, which leaves work */
    ExprCode flops;          /* scalar operations, over the plan's dims */
    ExprCode times;          /* how often a run does it: iterations of the loops around it, over the
                                plan's dims; negative when only a run tells */
    const char *picks; /* the ONNX nodes whose indices the kernel checks, by the number that its
                          error cell tells, one per line */
    const char *nodes; /* the ONNX nodes inside, one per line */
    const char *why;   /* why the fusion stopped there */
    const char *schedule;
} PlanStep;

typedef struct Plan {
    const char *target;
    uint32_t dim_count;
    PlanDim *dims;
    uint32_t check_count;
    PlanCheck *checks;
    uint32_t weight_count;
    PlanWeight *weights;
    uint32_t tensor_count;
    PlanTensor *tensors;
    uint32_t input_count, output_count;
    PlanPort *inputs, *outputs;
    uint32_t kernel_count;
    PlanKernel *kernels;
    uint32_t host_count, loop_count, branch_count;
    PlanHost *hosts;
    PlanLoop *loops;
    PlanBranch *branches;
    uint32_t region_count, block_count;
    uint32_t *regions; /* number of blocks of each; blocks, steps and checks are in their order */
    PlanBlock *blocks;
    uint32_t init_count, step_count;
    PlanStep *init, *steps;
} Plan;

/* The bytes, in the job's arena. */
typedef struct PlanBytes {
    const uint8_t *data;
    size_t size;
} PlanBytes;
PlanBytes plan_write(Cx *cx, const Plan *plan);
/* NULL after cx_fail(ST_bad_file). Texts, code and inline weights point into `data`, which must
 * stay; it has to be aligned to 8 bytes. */
Plan *plan_read(Cx *cx, const void *data, size_t size);
/* Checks the rules of this header that are not a matter of form: also good for a plan that was just
 * built. */
bool plan_check(Cx *cx, const Plan *plan);

/* Marks the tensors that the steps of a run use, in `used`, by tensor. */
void plan_run_uses(const Plan *plan, bool *used);
/* Whether some dim is bound during a run, so that memory may have to grow. */
bool plan_grows(const Plan *plan);
/* How often a run does a step for these values of the plan's dims; -1 when only a run tells. */
double plan_step_times(const PlanStep *step, const int64_t *dims);
/* Bytes of so many elements on the host: dtype_bytes, and a HostString for each string. */
int64_t plan_bytes(Dtype dtype, int64_t count);
/* Bytes of a tensor whose shape has no dims; -1 when it has, or they overflow. */
int64_t plan_fixed_bytes(const PlanTensor *tensor);
/* Bytes of a tensor for these values of the plan's dims; -1 when they overflow. */
int64_t plan_tensor_bytes(const PlanTensor *tensor, const int64_t *dims);

#endif
