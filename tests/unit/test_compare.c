/* The comparator: at the edges of the tolerance, and for what has none. */
#include <criterion/criterion.h>

#include <math.h>

#include "base/dtype.h"
#include "tools/compare.h"

static const Tolerance official = {COMPARE_RTOL, COMPARE_ATOL};

/* One element of each, given by value. */
static bool same(qn_dtype dtype, double actual, double expected)
{
    Tensor a, e;
    Fail fail = {""};
    cr_assert(tensor_make(&a, dtype, 0, NULL, &fail) && tensor_make(&e, dtype, 0, NULL, &fail));
    bool is_float = dtype_is_float((Dtype)dtype);
    dtype_store((Dtype)dtype, a.data, 0,
                is_float ? (Scalar){.f = actual} : (Scalar){.i = (int64_t)actual});
    dtype_store((Dtype)dtype, e.data, 0,
                is_float ? (Scalar){.f = expected} : (Scalar){.i = (int64_t)expected});
    bool result = compare_tensors(&a, &e, official, &fail);
    cr_assert_eq(result, fail.text[0] == 0);
    tensor_free(&a);
    tensor_free(&e);
    return result;
}

Test(compare, f32)
{
    cr_assert(same(QN_F32, 1.0, 1.0));
    cr_assert(same(QN_F32, 1.0009, 1.0));
    cr_assert_not(same(QN_F32, 1.0011, 1.0));
    cr_assert(same(QN_F32, -1000.9, -1000.0));
    cr_assert_not(same(QN_F32, -1001.1, -1000.0));
    cr_assert(same(QN_F32, 0.9e-7, 0.0));
    cr_assert_not(same(QN_F32, 1.1e-7, 0.0));
    /* Relative to the expected value, not to the actual one. */
    cr_assert_not(same(QN_F32, 0.0, 1e-6));
}

Test(compare, special_values)
{
    cr_assert(same(QN_F32, NAN, NAN));
    cr_assert_not(same(QN_F32, NAN, 1.0));
    cr_assert_not(same(QN_F32, 1.0, NAN));
    cr_assert(same(QN_F32, INFINITY, INFINITY));
    cr_assert_not(same(QN_F32, -INFINITY, INFINITY));
    cr_assert_not(same(QN_F32, INFINITY, 1.0));
    cr_assert_not(same(QN_F32, 1e30, INFINITY));
    cr_assert(same(QN_F32, -0.0, 0.0));
}

/* A unit in the last place of f16 at 1 is 0.00098 above and 0.00049 below; the tolerance, rounded
 * to f16 as NumPy does, is 0.0010004. */
Test(compare, f16)
{
    cr_assert(same(QN_F16, 1.0 + 1.0 / 1024, 1.0));
    cr_assert_not(same(QN_F16, 1.0 + 2.0 / 1024, 1.0));
    cr_assert(same(QN_F16, 1.0 - 2.0 / 2048, 1.0));
    cr_assert_not(same(QN_F16, 1.0 - 3.0 / 2048, 1.0));
    cr_assert(same(QN_F16, NAN, NAN));
    cr_assert(same(QN_F16, INFINITY, INFINITY));
    /* 2047 * 0.0010004 is 2.047 before rounding; the spacing there is 1. */
    cr_assert(same(QN_F16, 2045, 2047));
    cr_assert_not(same(QN_F16, 2044, 2047));
}

Test(compare, f64)
{
    cr_assert(same(QN_F64, 1.00099999, 1.0));
    cr_assert_not(same(QN_F64, 1.0010002, 1.0));
}

Test(compare, exact_types)
{
    cr_assert(same(QN_I32, 100000, 100000));
    cr_assert_not(same(QN_I32, 100001, 100000));
    cr_assert_not(same(QN_I64, 1LL << 40, (1LL << 40) + 1));
    cr_assert_not(same(QN_U8, 255, 254));
    cr_assert_not(same(QN_BOOL, 1, 0));
    cr_assert(same(QN_BF16, 1.0, 1.0));
    cr_assert_not(same(QN_BF16, 1.0078125, 1.0));
    cr_assert(same(QN_BF16, NAN, NAN));
    cr_assert(same(QN_F8E4M3, 1.5, 1.5));
    cr_assert_not(same(QN_F8E4M3, 1.625, 1.5));
    cr_assert_not(same(QN_I4, -1, -2));
}

/* What a double cannot tell apart. */
Test(compare, large_integers)
{
    Tensor a, e;
    Fail fail = {""};
    int64_t dims[1] = {1};
    cr_assert(tensor_make(&a, QN_I64, 1, dims, &fail) && tensor_make(&e, QN_I64, 1, dims, &fail));
    *(int64_t *)a.data = INT64_MAX;
    *(int64_t *)e.data = INT64_MAX - 1;
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert(strstr(fail.text, "9223372036854775807"), "%s", fail.text);
    tensor_free(&a);
    tensor_free(&e);
}

Test(compare, shapes_and_types)
{
    Tensor a, e;
    Fail fail = {""};
    cr_assert(tensor_make(&a, QN_F32, 2, (int64_t[]){2, 3}, &fail));
    cr_assert(tensor_make(&e, QN_F32, 2, (int64_t[]){3, 2}, &fail));
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert(strstr(fail.text, "f32[2,3], expected f32[3,2]"), "%s", fail.text);
    tensor_free(&e);
    cr_assert(tensor_make(&e, QN_I32, 2, (int64_t[]){2, 3}, &fail));
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert(strstr(fail.text, "type f32, expected i32"), "%s", fail.text);
    tensor_free(&e);
    cr_assert(tensor_make(&e, QN_F32, 1, (int64_t[]){6}, &fail));
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    tensor_free(&a);
    tensor_free(&e);
}

/* Counts what differs and shows the worst. */
Test(compare, message)
{
    Tensor a, e;
    Fail fail = {""};
    cr_assert(tensor_make(&a, QN_F32, 2, (int64_t[]){2, 3}, &fail));
    cr_assert(tensor_make(&e, QN_F32, 2, (int64_t[]){2, 3}, &fail));
    ((float *)a.data)[1] = 0.25F;
    ((float *)a.data)[5] = -4;
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert_str_eq(fail.text, "2 of 6 elements differ, worst at [1,2]: -4, expected 0");
    ((float *)a.data)[0] = NAN;
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert(strstr(fail.text, "3 of 6 elements differ, worst at [0,0]: "), "%s", fail.text);
    tensor_free(&a);
    tensor_free(&e);
}

Test(compare, empty_and_complex)
{
    Tensor a, e;
    Fail fail = {""};
    cr_assert(tensor_make(&a, QN_F32, 2, (int64_t[]){0, 3}, &fail));
    cr_assert(tensor_make(&e, QN_F32, 2, (int64_t[]){0, 3}, &fail));
    cr_assert(compare_tensors(&a, &e, official, &fail));
    tensor_free(&a);
    tensor_free(&e);
    cr_assert(tensor_make(&a, QN_C64, 1, (int64_t[]){2}, &fail));
    cr_assert(tensor_make(&e, QN_C64, 1, (int64_t[]){2}, &fail));
    ((float *)a.data)[3] = 1;
    cr_assert_not(compare_tensors(&a, &e, official, &fail));
    cr_assert(strstr(fail.text, "worst at [1]"), "%s", fail.text);
    ((float *)e.data)[3] = 1.0005F;
    cr_assert(compare_tensors(&a, &e, official, &fail));
    tensor_free(&a);
    tensor_free(&e);
}
