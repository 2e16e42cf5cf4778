/* Machine code for the seed of images: what the loader has to understand, a call into libm and
 * read-only data among it. */
#include <math.h>

#include "base/kernel_abi.h"

static const float table[8] = {1, 2, 3, 5, 8, 13, 21, 34};

KernelEntry k_0;

void k_0(const KernelArgs *args, int64_t begin, int64_t end, void *scratch)
{
    const double *x = args->buffers[0];
    double *y = args->buffers[1];
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        y[i] = pow(x[i], (double)table[i & 7]);
}
