/* The plan: what a program does at run time, for one target. Tensors, kernels, steps, and where
 * everything lies. Sizes are programs over the plan's dims (ExprCode), so one plan serves all
 * shapes.
 *
 *   init steps   once, at load: weights -> init tensors (packed and folded constants)
 *   run steps    every run: inputs, weights, init tensors -> slab tensors -> outputs
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

enum { PLAN_VERSION = 2, PLAN_RANK = 12 };

/* Offset of a place in no file: the bytes are in the plan. */
#define PLAN_INLINE UINT32_MAX

/* A symbol. Its value is dim `axis` of input `input`; other places with the same symbol are
 * compared with it. */
typedef struct PlanDim {
    const char *name; /* for messages */
    int64_t lo, hi;   /* inclusive */
    int64_t div;      /* the value is a multiple; >= 1 */
    uint32_t input, axis;
} PlanDim;

typedef enum PlanPlace {
    PP_input,  /* the caller's memory, number `index` */
    PP_output, /* likewise */
    PP_weight, /* weight `index`, where it lies: not aligned */
    PP_init, /* written by init steps, read by later init steps and run steps; the shape has no dims
              */
    PP_slab, /* intermediate, or a kernel's scratch buffer */
    PP_count
} PlanPlace;

typedef struct PlanTensor {
    Dtype dtype;
    PlanPlace place;
    uint32_t index; /* PP_input, PP_output, PP_weight: which; else 0 */
    int rank;
    ExprCode shape[PLAN_RANK]; /* extents over the plan's dims; it occupies their packed product */
} PlanTensor;

/* An input or output of the model. Exactly one tensor has place PP_input (PP_output) and its index.
 */
typedef struct PlanPort {
    const char *name;
    uint32_t tensor;
    /* by dim: name of its symbol when it is one, else "" or NULL */
    const char *symbols[PLAN_RANK];
} PlanPort;

/* What the model assumes of its dims: a and b are equal, or (or_one) one of them is 1. Over the
 * plan's dims. */
typedef struct PlanCheck {
    ExprCode a, b;
    uint32_t or_one;
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
    const PlanPhase *phases;
    int64_t scratch;   /* CPU: bytes per worker */
    uint32_t may_fail; /* 1: it reads indices from data, so it may set the error cell; else 0 */
} PlanKernel;

typedef enum PlanStepKind {
    PS_kernel,
    PS_copy, /* buffers[1] = buffers[0]: same dtype, same number of elements */
    PS_count
} PlanStepKind;

typedef struct PlanStep {
    PlanStepKind kind;
    uint32_t kernel;         /* PS_kernel */
    uint32_t buffer_count;   /* as the kernel's; 2 for copies */
    const uint32_t *buffers; /* tensors */
    uint32_t dim_count;      /* as the kernel's */
    const uint32_t *dims;    /* for each dim of the kernel: which of the plan */
    ExprCode flops;          /* scalar operations, over the plan's dims */
    const char *nodes;       /* the ONNX nodes inside, one per line: for messages and people */
    const char *why;         /* why the fusion stopped there */
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

/* Bytes of a tensor for these values of the plan's dims; -1 when they overflow. */
int64_t plan_tensor_bytes(const PlanTensor *tensor, const int64_t *dims);

#endif
