/* Random nests for property tests: one seed, one nest, and data on which float arithmetic is exact.
 *
 * Inputs hold small integers and the generator keeps every value below 2^24 in magnitude (it tracks bounds), so that f32
 * sums give the same bits in any order. Division, roots and transcendental functions do not occur. */
#ifndef QUERN_TESTS_RANDOM_NEST_H
#define QUERN_TESTS_RANDOM_NEST_H

#include "ir/nest.h"

typedef enum RandomKind {
    RN_map,     /* elementwise tree: broadcasts, transposes, reversed, strided and guarded accesses */
    RN_chain,   /* a long elementwise chain with values of several uses */
    RN_reduce,  /* prologue, reduction over some axes, epilogue */
    RN_rowwise, /* two dependent reductions over one axis, as softmax and layer norm have them */
    RN_gemm,    /* batch, M, N, K; epilogue with bias and residual */
    RN_conv,    /* two-dimensional, strided, dilated, padded, channels-last; groups; epilogue */
    RN_concat,  /* up to three guarded segments with padding */
    RN_gather,  /* rows by index, sometimes summed */
    RN_extent,  /* a reduction whose extent depends on an outer axis */
    RN_count
} RandomKind;

/* The next number of a sequence; advances its state. */
uint64_t random_next(uint64_t *state);
/* A nest that verifies. `kind` RN_count = any. Some extents are dims. */
Nest *random_nest(Cx *cx, uint64_t seed, RandomKind kind);
/* Values for the nest's dims within their bounds (dim_count of them, in the job's arena). */
int64_t *random_nest_dims(Cx *cx, const Nest *nest, uint64_t seed);
/* Memory for every buffer, in the job's arena, 64 byte aligned: inputs small integers (those that a bind uses are legal
 * indices), outputs and scratch filled with 0x5A. bytes[i] (if not NULL) is the size of buffer i. */
void **random_nest_buffers(Cx *cx, const Nest *nest, const int64_t *dims, uint64_t seed, int64_t *bytes);
/* Elements from the base that a buffer's view reaches under `dims`; -1 when that cannot be evaluated. */
int64_t buffer_reach(const Nest *nest, const Buffer *buffer, const int64_t *dims);

#endif
