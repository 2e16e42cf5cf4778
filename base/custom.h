/* Operators of the application: what importing and calling them have to agree on. The signature is
 * the text of qn_operator.signature (include/quern.h), taken apart. */
#ifndef QUERN_BASE_CUSTOM_H
#define QUERN_BASE_CUSTOM_H

#include <stdbool.h>

#include "base/cx.h"
#include "base/dtype.h"

enum { CUSTOM_PARAMS = 32, CUSTOM_NAME = 64, CUSTOM_RANK = 12 };

typedef enum CustomWord {
    CW_tensor,     /* "f32*": elements of the next input */
    CW_scalar,     /* "f32": the next input's only element */
    CW_attr,       /* "f32:alpha": an attribute */
    CW_attr_list,  /* "i64*:axes": elements of an attribute */
    CW_count,      /* "count:0": number of elements of input 0 */
    CW_attr_count, /* "count:axes": of an attribute */
    CW_rank,       /* "rank:0" */
    CW_dim,        /* "dim:0.1": extent of dim 1 of input 0 */
    CW_dims,       /* "dims:0": all extents */
    CW_user        /* "user" */
} CustomWord;

/* A parameter of the C function. */
typedef struct CustomParam {
    CustomWord word;
    Dtype dtype; /* CW_tensor to CW_attr_list */
    int operand; /* number of the input, or of the attribute */
    int axis;    /* CW_dim */
} CustomParam;

typedef struct CustomAttr {
    char name[CUSTOM_NAME];
    Dtype dtype;
    bool list, has_default;
    double value; /* the default, of one that is no list */
} CustomAttr;

typedef struct CustomResult {
    Dtype dtype;
    bool returned; /* what the function returns; else memory that it fills */
} CustomResult;

typedef struct CustomSignature {
    int param_count, input_count, attr_count, result_count;
    CustomParam params[CUSTOM_PARAMS]; /* memory of results comes after them */
    CustomAttr attrs[CUSTOM_PARAMS];
    CustomResult results[CUSTOM_PARAMS];
    bool status; /* the function returns an int that is 0 when it did what it should */
} CustomSignature;

/* False, with the reason in `why`, when the text (terminated) is no signature. */
bool custom_parse(CustomSignature *signature, const char *text, char *why, size_t capacity);

/* An input or attribute as shapes are asked for. */
typedef struct CustomOperand {
    Dtype dtype;
    int rank;
    const int64_t *dims; /* -1 = not known yet */
    const void *data;    /* NULL = not known yet */
} CustomOperand;

typedef struct CustomOperator CustomOperator;
struct CustomOperator {
    const char *domain, *name, *text; /* text: its signature */
    int64_t since;
    CustomSignature signature;
    /* Rank and extents (-1 = not known before it runs) of result `index`, for these inputs and,
     * behind them, attributes. NULL: results have the shape of the first input. */
    Status (*shape)(const CustomOperator *op, const CustomOperand *operands, int index, int *rank,
                    int64_t dims[CUSTOM_RANK]);
};

/* By what a plan names it: "domain name since". */
enum { CUSTOM_KEY = 512 };
void custom_key(const CustomOperator *op, char key[CUSTOM_KEY]);

#endif
