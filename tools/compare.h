/* Whether a result is the expected one, by the rules of the official ONNX test runner.
 *
 * Type and shape must be equal. Elements of f16, f32, f64 and complex types may differ by
 * atol + rtol * |expected|, everything computed in their own type; NaN equals NaN, infinities must
 * match. All others (integers, bool, bf16, float8 and smaller) must be equal, NaNs again equal. */
#ifndef QUERN_TOOLS_COMPARE_H
#define QUERN_TOOLS_COMPARE_H

#include "tools/tensor.h"

#define COMPARE_RTOL 1e-3
#define COMPARE_ATOL 1e-7

typedef struct Tolerance {
    double rtol, atol;
} Tolerance;

/* False with a message: how many elements differ and where the worst one is. */
bool compare_tensors(const Tensor *actual, const Tensor *expected, Tolerance tolerance, Fail *fail);

#endif
