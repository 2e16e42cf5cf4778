/* The comparator. The tolerance test rounds after every operation as NumPy does in the type of the
 * elements, since one unit in the last place of f16 is about the tolerance itself. */
#include "tools/compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/dtype.h"

/* `value` rounded to the type. */
static double rounded(Dtype dtype, double value)
{
    if (dtype == DT_f64)
        return value;
    if (dtype == DT_f32)
        return (double)(float)value;
    return dtype_decode(dtype, dtype_encode(dtype, value, false, DR_nearest));
}

/* A double holds the sum, difference and product of two f32 or f16 values well enough for the
 * second rounding to be harmless (53 >= 2 * 24 + 2 bits). */
static bool is_close(Dtype dtype, double actual, double expected, Tolerance t)
{
    if (isnan(actual) || isnan(expected))
        return isnan(actual) && isnan(expected);
    if (actual == expected)
        return true;
    if (isinf(expected))
        return false;
    double difference = fabs(rounded(dtype, actual - expected));
    double part = rounded(dtype, rounded(dtype, t.rtol) * fabs(expected));
    return difference <= rounded(dtype, rounded(dtype, t.atol) + part);
}

static bool has_tolerance(Dtype dtype)
{
    return dtype == DT_f16 || dtype == DT_f32 || dtype == DT_f64;
}

static bool is_equal(Dtype dtype, Scalar actual, Scalar expected)
{
    if (!dtype_is_float(dtype))
        return actual.i == expected.i;
    return actual.f == expected.f || (isnan(actual.f) && isnan(expected.f));
}

/* "[1,2]" of a flat index. */
static void index_text(const Tensor *tensor, int64_t index, char text[TENSOR_TEXT])
{
    int64_t coords[QN_MAX_RANK] = {0};
    for (int32_t i = tensor->rank - 1; i >= 0; i--) {
        coords[i] = index % tensor->dims[i];
        index /= tensor->dims[i];
    }
    int at = snprintf(text, TENSOR_TEXT, "[");
    for (int32_t i = 0; i < tensor->rank; i++)
        at +=
            snprintf(text + at, (size_t)(TENSOR_TEXT - at), "%s%" PRId64, i ? "," : "", coords[i]);
    snprintf(text + at, (size_t)(TENSOR_TEXT - at), "]");
}

static void scalar_text(Dtype dtype, Scalar value, char text[32])
{
    if (dtype_is_float(dtype))
        snprintf(text, 32, "%.9g", value.f);
    else if (dtype == DT_u64)
        snprintf(text, 32, "%" PRIu64, (uint64_t)value.i);
    else
        snprintf(text, 32, "%" PRId64, value.i);
}

/* How bad a difference is, for picking the one to show; NaN where a number should be is worst. */
static double badness(Dtype dtype, Scalar actual, Scalar expected)
{
    if (!dtype_is_float(dtype))
        return fabs((double)actual.i - (double)expected.i);
    double difference = fabs(actual.f - expected.f);
    return isnan(difference) ? INFINITY : difference;
}

static bool compare_strings(const Tensor *actual, const Tensor *expected, Fail *fail)
{
    const qn_string *a = actual->data, *e = expected->data;
    char where[TENSOR_TEXT];
    for (int64_t i = 0; i < actual->count; i++) {
        if (a[i].length == e[i].length &&
            (!a[i].length || !memcmp(a[i].data, e[i].data, a[i].length)))
            continue;
        index_text(actual, i, where);
        return fail_set(fail, "element %s is '%.*s', expected '%.*s'", where,
                        a[i].length < 200 ? (int)a[i].length : 200, a[i].data,
                        e[i].length < 200 ? (int)e[i].length : 200, e[i].data);
    }
    return true;
}

bool compare_tensors(const Tensor *actual, const Tensor *expected, Tolerance tolerance, Fail *fail)
{
    char have[TENSOR_TEXT], want[TENSOR_TEXT];
    if (actual->dtype != expected->dtype)
        return fail_set(fail, "type %s, expected %s", dtype_name((Dtype)actual->dtype),
                        dtype_name((Dtype)expected->dtype));
    if (!tensor_same_shape(actual, expected))
        return fail_set(fail, "shape %s, expected %s", tensor_text(actual, have),
                        tensor_text(expected, want));
    if (actual->dtype == QN_STRING)
        return compare_strings(actual, expected, fail);
    bool is_complex = actual->dtype == QN_C64 || actual->dtype == QN_C128;
    Dtype dtype = actual->dtype == QN_C64    ? DT_f32
                  : actual->dtype == QN_C128 ? DT_f64
                                             : (Dtype)actual->dtype;
    int64_t parts = is_complex ? 2 : 1, wrong = 0, worst = 0;
    double most = -1;
    for (int64_t i = 0; i < actual->count * parts; i++) {
        Scalar a = dtype_load(dtype, actual->data, i), e = dtype_load(dtype, expected->data, i);
        if (has_tolerance(dtype) ? is_close(dtype, a.f, e.f, tolerance) : is_equal(dtype, a, e))
            continue;
        wrong++;
        double bad = badness(dtype, a, e);
        if (bad > most) {
            most = bad;
            worst = i;
        }
    }
    if (!wrong)
        return true;
    char where[TENSOR_TEXT], a[32], e[32];
    index_text(actual, worst / parts, where);
    scalar_text(dtype, dtype_load(dtype, actual->data, worst), a);
    scalar_text(dtype, dtype_load(dtype, expected->data, worst), e);
    return fail_set(fail,
                    "%" PRId64 " of %" PRId64 " elements differ, worst at %s: %s, expected %s",
                    wrong, actual->count * parts, where, a, e);
}
