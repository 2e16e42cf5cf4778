/* Memory with made-up contents for a nest on its own, to check and time kernels with. */
#ifndef QUERN_JIT_KERNEL_DATA_H
#define QUERN_JIT_KERNEL_DATA_H

#include "ir/nest.h"

enum { KERNEL_DATA_DIM = 128 }; /* what dims are set to, or their upper bound if that is less */

typedef struct KernelData {
    void **buffers; /* by buffer of the nest; given back by the job's clean-up */
    int64_t *bytes;
    int64_t *dims;
    double read,
        written; /* bytes at least: of a buffer no more than its loads have points (gathers) */
} KernelData;

/* Zeroed, a cache line aligned, on huge pages where it is long, as a session's memory is; given
 * back by the job's clean-up. NULL after cx_fail. */
void *kernel_memory(Cx *cx, int64_t bytes);
/* Floats are small multiples of 1/4, so that most sums are exact; integers 0..7, so that they are
 * legal positions of most tensors. Outputs are zero. The same nest gets the same contents. False
 * after cx_fail. */
bool kernel_data(Cx *cx, const Nest *nest, KernelData *data);
/* Largest difference of an output's elements from those of the other data, over the largest of
 * these. */
double kernel_data_difference(const Nest *nest, const KernelData *data, const KernelData *other);
/* For expr_eval: `user` is a KernelDims. */
typedef struct KernelDims {
    const Nest *nest;
    const int64_t *dims;
} KernelDims;
bool kernel_data_dim(void *user, const Expr *sym, int64_t *value);

#endif
