/* A tensor in memory, as the tool's helpers pass it around, and why one of them failed. */
#ifndef QUERN_TOOLS_TENSOR_H
#define QUERN_TOOLS_TENSOR_H

#include <stdbool.h>

#include "quern.h"

/* A message; "" while nothing failed. */
typedef struct Fail {
    char text[1024];
} Fail;

/* Sets the message, made fit to be shown, and returns false. */
bool fail_set(Fail *fail, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "prefix: " before the message and returns false. */
bool fail_prefix(Fail *fail, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Row-major; types below 8 bits packed, low bits first; strings are qn_string. A zero Tensor holds
 * nothing. */
typedef struct Tensor {
    qn_dtype dtype;
    int32_t rank;
    int64_t dims[QN_MAX_RANK];
    int64_t count; /* elements */
    void *data;    /* aligned to 64, zeroed when made; never NULL in a tensor that was made */
    size_t bytes;
    char *texts; /* of strings, its own; or NULL */
} Tensor;

/* Allocates for a dtype and shape; false with a message when they are unusable or too large. */
bool tensor_make(Tensor *tensor, qn_dtype dtype, int64_t rank, const int64_t *dims, Fail *fail);
/* Copies elements of a tensor of strings, texts included; false without memory. */
bool tensor_set_strings(Tensor *tensor, const qn_string *from, Fail *fail);
void tensor_free(Tensor *tensor); /* may be called twice */

bool tensor_same_shape(const Tensor *a, const Tensor *b);
/* "f32[2,3]", always terminated. */
enum { TENSOR_TEXT = 320 };
const char *tensor_text(const Tensor *tensor, char text[TENSOR_TEXT]);

#endif
