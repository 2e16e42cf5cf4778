/* From an ONNX model to a graph: every opset brought to the canonical operations of ir/graph.def.
 *
 * Functions of the model are inlined; an If whose condition is known takes that branch. Weights
 * become constants whose data stays where the reader found it. What cannot be imported is collected
 * over the whole model and reported at once. */
#ifndef QUERN_FRONTEND_IMPORT_H
#define QUERN_FRONTEND_IMPORT_H

#include "base/custom.h"
#include "frontend/onnx_model.h"
#include "ir/graph.h"

/* What the caller says about a symbolic dim: lo == hi fixes it. Dims not mentioned are 1 or more.
 */
typedef struct ImportDim {
    const char *name; /* as in the model */
    int64_t lo, hi;
    int64_t div; /* known divisor; 0 or 1 = none */
} ImportDim;

/* The shape of an input; needed where the model gives none. Of a sequence it is the length, as the one
 * dim, of an optional 1 when it is there, else 0: both must be given. What they hold are inputs of
 * the graph, called `x[0]`, `x[1]`, and may have shapes of their own; likewise for outputs. */
typedef struct ImportShape {
    const char *input;
    int rank;
    int64_t dims[MAX_RANK]; /* -1 = leave as the model says */
} ImportShape;

/* The contents of an input, known when compiling: axes, shapes, flags that a model takes as inputs.
 * The input stays in the graph; the result is right only for runs with these contents, which is for
 * the caller to check. */
typedef struct ImportValue {
    const char *input;
    Dtype dtype;
    int rank;
    const int64_t *dims;
    const void *data; /* packed; stays with the caller while the graph lives */
} ImportValue;

typedef struct ImportOptions {
    uint32_t dim_count, shape_count, value_count;
    const ImportDim *dims;
    const ImportShape *shapes;
    const ImportValue *values;
    /* The application's operator for a node, NULL when there is none; NULL = there are none at all.
     */
    const CustomOperator *(*find_custom)(const void *customs, const char *domain, const char *name,
                                         int64_t opset);
    const void *customs;
} ImportOptions;

/* One line each: "node 'fc1' (MatMul): shapes do not agree: [2, 3] by [4, 5]". */
typedef struct ImportProblems {
    Status status; /* of the first that is not ST_unsupported; else that */
    uint32_t count, capacity;
    const char **lines;
    uint32_t more; /* further ones, not kept */
    uint32_t wanted_count, wanted_capacity;
    const char **
        wanted; /* inputs whose contents had to be known: with them as ImportValue it may succeed */
} ImportProblems;

/* NULL after cx_fail, whose message holds the first problems and their number. `options` and
 * `problems` may be NULL; the lines live in the arena of cx. */
Graph *import_model(Cx *cx, const OnnxModel *model, const ImportOptions *options,
                    ImportProblems *problems);

/* The table of operators, for documentation: row i, or NULL past the end. */
typedef struct ImportRow {
    const char *domain, *op;
    int since;
} ImportRow;
const ImportRow *import_row(uint32_t i, ImportRow *row);

#endif
