/* Host operations that compare: top k, distinct elements, suppression of boxes. */
#include "host_case.h"

#include "runtime/host/order.h"

#define NUMBERS DT_f32, DT_i64
#define THREE_LISTS DT_i64, DT_i64, DT_i64

TestSuite(host_order);

Test(host_order, topk_largest_along_last)
{
    HostCase *c = host_case();
    IN(c, f32, "2,5", 1, 5, 5, -2, 3, 0, -1, 7, 7, 7);
    IN(c, i64, "1", 3);
    IN_INT(c, -1);
    IN_INT(c, 1);
    RUN(c, "topk", NUMBERS);
    OUT(c, 0, "2,3", 5, 5, 3, 7, 7, 7);
    OUT(c, 1, "2,3", 1, 2, 4, 2, 3, 4);
}

Test(host_order, topk_smallest_along_first)
{
    HostCase *c = host_case();
    IN(c, i8, "3,2", -128, 4, 127, 4, 0, -4);
    IN_INT(c, 2);
    IN_INT(c, 0);
    IN_INT(c, 0);
    RUN(c, "topk", DT_i8, DT_i64);
    OUT(c, 0, "2,2", -128, -4, 0, 4);
    OUT(c, 1, "2,2", 0, 2, 2, 0);
}

Test(host_order, topk_special_numbers)
{
    HostCase *c = host_case();
    IN(c, f32, "6", -0.0, NAN, INFINITY, 0.0, -INFINITY, 1e-40);
    IN_INT(c, 6);
    IN_INT(c, 0);
    IN_INT(c, 1);
    RUN(c, "topk", NUMBERS);
    OUT(c, 1, "6", 1, 2, 5, 0, 3, 4);
    c = host_case();
    IN(c, f16, "4", 2, NAN, 1, -1);
    IN_INT(c, 4);
    IN_INT(c, 0);
    IN_INT(c, 0);
    RUN(c, "topk", DT_f16, DT_i64);
    OUT(c, 1, "4", 3, 2, 0, 1);
}

Test(host_order, topk_of_unsigned_64_bits)
{
    HostCase *c = host_case();
    IN(c, u64, "3", 1, 9e18, 1.8e19);
    IN_INT(c, 2);
    IN_INT(c, 0);
    IN_INT(c, 1);
    RUN(c, "topk", DT_u64, DT_i64);
    OUT(c, 1, "2", 2, 1);
}

Test(host_order, topk_of_nothing)
{
    HostCase *c = host_case();
    IN(c, f32, "0,4", 0);
    IN_INT(c, 0);
    IN_INT(c, 1);
    IN_INT(c, 1);
    RUN(c, "topk", NUMBERS);
    OUT(c, 0, "0,0", 0);
}

/* Against a full sort, of many lines with many equal elements. */
Test(host_order, topk_is_the_head_of_a_sort)
{
    enum { N = 3000 };
    double values[N];
    uint64_t keys[N];
    OrderItem items[N], spare[N];
    uint32_t seed = 1;
    for (int k = 1; k < N; k = 2 * k + 1) {
        for (int i = 0; i < N; i++)
            values[i] = (seed = seed * 1664525u + 1013904223u) >> 23;
        HostCase *c = host_case();
        host_case_in(c, DT_f32, "3000", values);
        IN_INT(c, k);
        IN_INT(c, 0);
        IN_INT(c, 1);
        cr_assert_eq(RUN(c, "topk", NUMBERS), ST_ok);
        order_keys(DT_f32, c->inputs[0].data, 0, 1, N, keys);
        for (int i = 0; i < N; i++)
            items[i] = (OrderItem){~keys[i], i};
        order_sort(items, spare, N, NULL, NULL);
        for (int i = 0; i < k; i++)
            cr_assert_eq(((const int64_t *)c->outputs[1].data)[i], items[i].index);
    }
}

Test(host_order, topk_refuses)
{
    HostCase *c = host_case();
    IN(c, f32, "3", 1, 2, 3);
    IN_INT(c, 4);
    IN_INT(c, 0);
    IN_INT(c, 1);
    RUN(c, "topk", NUMBERS);
    host_case_refused(c, "topk: k is 4, which is not in 0..3");
    c->inputs[1].data = &(int64_t){-1};
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "k is -1");
    c->inputs[1].data = &(int64_t){1};
    c->inputs[2].data = &(int64_t){1};
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "axis is 1");
    c->inputs[2].data = &(int64_t){0};
    c->inputs[0].dtype = DT_string;
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "input 0 (x) is of type string");
    c->inputs[0].dtype = DT_f32;
    c->call.input_count = 3;
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "3 inputs");
    c->call.input_count = 4;
    c->dtypes[0] = DT_f64;
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "not of the type of x");
    c->dtypes[0] = DT_f32;
    c->dims[0][0] = INT64_MAX;
    c->status = host_find("topk")(&c->call);
    host_case_refused(c, "is no tensor");
}

/* Every allocation in turn is refused. */
Test(host_order, memory_is_refused)
{
    for (int refuse = 1; refuse <= 3; refuse++) {
        HostCase *c = host_case();
        IN(c, f32, "3", 1, 2, 3);
        IN_INT(c, 2);
        IN_INT(c, 0);
        IN_INT(c, 1);
        c->refuse = refuse;
        cr_expect_eq(RUN(c, "topk", NUMBERS), ST_out_of_memory);
    }
    for (int refuse = 1; refuse <= 5; refuse++) {
        HostCase *c = host_case();
        IN(c, f32, "3", 1, 2, 3);
        IN_NONE(c);
        IN_INT(c, 1);
        c->refuse = refuse;
        cr_expect_eq(RUN(c, "unique", THREE_LISTS), ST_out_of_memory);
    }
}

static HostCase *unique(HostCase *c, int axis, int sorted)
{
    if (axis < 0)
        IN_NONE(c);
    else
        IN_INT(c, axis);
    IN_INT(c, sorted);
    RUN(c, "unique", THREE_LISTS);
    return c;
}

Test(host_order, unique_elements)
{
    HostCase *c = host_case();
    IN(c, f32, "2,3", 2, 1, 1, 3, 4, 3);
    unique(c, -1, 1);
    OUT(c, 0, "4", 1, 0, 3, 4);
    OUT(c, 1, "6", 1, 0, 0, 2, 3, 2);
    OUT(c, 2, "4", 2, 1, 2, 1);
    c = host_case();
    IN(c, i32, "6", 2, 1, 1, 3, 4, 3);
    unique(c, -1, 0);
    OUT(c, 0, "4", 0, 1, 3, 4);
    OUT(c, 1, "6", 0, 1, 1, 2, 3, 2);
    OUT(c, 2, "4", 1, 2, 2, 1);
}

Test(host_order, unique_special_numbers)
{
    HostCase *c = host_case();
    IN(c, f64, "5", NAN, 0.0, -0.0, NAN, -INFINITY);
    unique(c, -1, 1);
    OUT(c, 0, "3", 4, 1, 0);
    OUT(c, 2, "3", 1, 2, 2);
}

Test(host_order, unique_slices)
{
    HostCase *c = host_case();
    IN(c, f32, "2,4,2", 1, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1);
    unique(c, 1, 1);
    OUT(c, 0, "3", 1, 0, 2);
    OUT(c, 1, "4", 1, 0, 2, 0);
    OUT(c, 2, "3", 2, 1, 1);
    c = host_case(); /* slices without elements are equal */
    IN(c, f32, "0,3", 0);
    unique(c, 1, 1);
    OUT(c, 0, "1", 0);
    OUT(c, 1, "3", 0, 0, 0);
}

Test(host_order, unique_strings)
{
    HostCase *c = host_case();
    IN_TEXTS(c, "7", "banana", "", "banan", "banana tree", "a", "banana", "");
    unique(c, -1, 1);
    OUT(c, 0, "5", 1, 4, 2, 0, 3);
    OUT(c, 1, "7", 3, 0, 2, 4, 1, 3, 0);
    c = host_case(); /* equal in the first eight bytes */
    IN_TEXTS(c, "2,2", "longwordB", "x", "longwordA", "x");
    unique(c, 0, 1);
    OUT(c, 0, "2", 1, 0);
}

Test(host_order, unique_complex)
{
    size_t count;
    HostCase *c = host_case();
    const float values[] = {1, 2, 1, 1, 0, 5, 1, 2};
    memcpy(host_case_add(c, DT_c64, "4", &count), values, sizeof values);
    unique(c, -1, 1);
    OUT(c, 0, "3", 2, 1, 0);
}

Test(host_order, unique_refuses)
{
    HostCase *c = host_case();
    IN(c, f32, "2", 1, 2);
    unique(c, 1, 1);
    host_case_refused(c, "unique: axis is 1");
    c = host_case();
    IN(c, f32, "2", 1, 2);
    unique(c, -1, 2);
    host_case_refused(c, "sorted is 2");
}

static HostCase *nms(double most, double overlap, double least)
{
    HostCase *c = host_case();
    IN(c, f32, "1,4,4", 0, 0, 1, 1, 0, 0.1, 1, 1.1, 1, 1.1, 0, 0.1, 0, 10, 1, 11);
    IN(c, f32, "1,2,4", 0.9, 0.75, 0.6, 0.95, 0.1, 0.2, 0.3, NAN);
    IN(c, i64, "1", most);
    IN(c, f32, "1", overlap);
    IN(c, f32, "1", least);
    IN_INT(c, 0);
    RUN(c, "nms", DT_i64);
    return c;
}

Test(host_order, nms_by_falling_score)
{
    OUT(nms(4, 0.5, 0), 0, "3,3", 0, 0, 3, 0, 0, 0, 0, 1, 2);
    OUT(nms(1, 0.5, 0.3), 0, "1,3", 0, 0, 3);
    OUT(nms(-1, 0.5, 0.3), 0, "0,3", 0);
    OUT(nms(INFINITY, 1, 0.7), 0, "3,3", 0, 0, 3, 0, 0, 0, 0, 0, 1);
}

Test(host_order, cancelled)
{
    static const CancelFlag set = 1;
    HostCase *c = nms(4, 0.5, 0);
    c->call.cancel = &set;
    memset(c->outputs, 0, sizeof c->outputs);
    cr_assert_eq(host_find("nms")(&c->call), ST_cancelled);
    c = host_case();
    c->call.cancel = &set;
    IN(c, f32, "2,2", 1, 2, 3, 4);
    IN(c, i64, "1", 1);
    IN_INT(c, 1);
    IN_INT(c, 1);
    RUN(c, "topk", DT_f32, DT_i64);
    cr_assert_eq(c->status, ST_cancelled);
}

Test(host_order, nms_defaults)
{
    HostCase *c = host_case();
    IN(c, f32, "1,2,4", 0.5, 0.5, 1, 1, 1.2, 0.5, 1, 1);
    IN(c, f32, "1,1,2", 0.5, 0.7);
    IN(c, i64, "", 5);
    IN_NONE(c);
    IN_NONE(c);
    IN_INT(c, 1);
    RUN(c, "nms", DT_i64);
    OUT(c, 0, "1,3", 0, 0, 1);
    c = host_case();
    IN(c, f32, "1,1,4", 0, 0, 1, 1);
    IN(c, f32, "1,1,1", 0.5);
    IN_NONE(c);
    IN_NONE(c);
    IN_NONE(c);
    IN_INT(c, 0);
    RUN(c, "nms", DT_i64);
    OUT(c, 0, "0,3", 0);
}

Test(host_order, nms_refuses)
{
    HostCase *c = nms(1, 0, 0);
    c->dims[1][2] = 3;
    c->status = host_find("nms")(&c->call);
    host_case_refused(c, "nms: boxes [1, 4, 4] do not agree with scores [1, 2, 3]");
}

/* Keys are below 2^32 and another one each time. */
Test(host_order, entropy)
{
    HostCase *a = host_case(), *b = host_case();
    IN_INT(a, 7);
    RUN(a, "entropy", DT_u64);
    IN_INT(b, 7);
    RUN(b, "entropy", DT_u64);
    const uint64_t *x = a->outputs[0].data, *y = b->outputs[0].data;
    cr_expect(x[0] >> 32 == 0 && x[1] >> 32 == 0);
    cr_expect(x[0] != y[0] || x[1] != y[1]);
    cr_expect_eq(RUN(host_case(), "entropy", DT_u64), ST_bad_argument);
}
