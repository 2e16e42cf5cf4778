/* Machine code for the seeds of images and saved programs: what the loader has to understand, a
 * call into libm and read-only data among it; entries by the names that tests/unit/hand_plan.h
 * gives. */
#include <math.h>

#include "base/kernel_abi.h"

static const float table[8] = {1, 2, 3, 5, 8, 13, 21, 34};

KernelEntry twice_0, add_row_0, thrice_0, thrice_1, pick_0;

void twice_0(const KernelArgs *args, int64_t begin, int64_t end, void *scratch)
{
    const double *x = args->buffers[0];
    double *y = args->buffers[1];
    (void)scratch;
    for (int64_t i = begin; i < end; i++)
        y[i] = pow(x[i], (double)table[i & 7]);
}

#define NOTHING(name)                                                                              \
    void name(const KernelArgs *args, int64_t begin, int64_t end, void *scratch)                   \
    {                                                                                              \
        (void)args, (void)begin, (void)end, (void)scratch;                                         \
    }
NOTHING(add_row_0)
NOTHING(thrice_0)
NOTHING(thrice_1)
NOTHING(pick_0)
