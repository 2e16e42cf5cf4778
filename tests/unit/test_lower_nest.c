/* Grouping and lowering: small graphs as text, run by the interpreters of nests and of tile
 * programs, fused and one kernel a node, against values computed by hand. */
#include <stdio.h>

#include "tests/unit/graph_run.h"

/* ---- contractions and what follows them */

Test(lower, matmul_bias_relu)
{
    /* [1 2; 3 -4] by [1 0 2; -1 1 0] = [-1 2 2; 7 -4 6] */
    int groups = check_graph("graph g {"
                             "  in %0 f32 [2, 2]\n"
                             "  const %1 f32 [2, 3] = [1, 0, 2, -1, 1, 0]\n"
                             "  const %2 f32 [3] = [0.5, -3, 1]\n"
                             "  %3 = matmul %0, %1 : f32 [2, 3]\n"
                             "  %4 = map %3, %2 scalar=add : f32 [2, 3]\n"
                             "  const %5 f32 [] = [0]\n"
                             "  %6 = map %4, %5 scalar=max : f32 [2, 3]\n"
                             "  out %6 \"y\" }",
                             LIST(VALUES(1, 2, 3, -4)), NULL, LIST(VALUES(0, 0, 3, 7.5, 0, 7)));
    cr_expect(groups == 1);
}

/* Queries 0 weigh all allowed keys alike: rows are means of values. `reader` follows the product.
 */
static int attention_groups(const char *reader, const double *want, int64_t keys)
{
    char text[2000];
    snprintf(text, sizeof text,
             "graph g {"
             "  dim L 0..4\n"
             "  in %%0 f32 [2, 2, 3]\n"
             "  in %%1 f32 [2, 3, L]\n"
             "  in %%2 f32 [2, L, 2]\n"
             "  in %%3 f32 [L]\n"
             "  %%4 = matmul %%0, %%1 : f32 [2, 2, L]\n"
             "  %%5 = map %%4, %%3 scalar=add : f32 [2, 2, L]\n"
             "  %%6 = softmax %%5 axis=2 : f32 [2, 2, L]\n"
             "  %%7 = matmul %%6, %%2 : f32 [2, 2, 2]\n"
             "  %s"
             "  out %%8 \"y\" }",
             reader);
    static double q[12], k[24], v[] = {1, 2, 3, 4, 8, 12, 0, 0, 10, 20, 30, 40, 80, 120, 0, 0};
    static double mask[] = {0, 0, -INFINITY, 0};
    const double *const inputs[] = {q, k, v, mask};
    return check_graph(text, inputs, DIMS(keys), &want);
}

Test(lower, attention_is_one_kernel)
{
    static const char map[] = "%8 = map %7, %7 scalar=add : f32 [2, 2, 2]\n";
    static const char turn[] = "%8 = transpose %7 perm=[0, 2, 1] : f32 [2, 2, 2]\n";
    static const double none[8];
    /* values of two batches, two keys each: [1 2; 3 4], [8 12; 0 0] */
    static const double two[] = {4, 6, 4, 6, 8, 12, 8, 12};
    cr_expect(attention_groups(map, two, 2) == 1);
    cr_expect(attention_groups(map, none, 0) == 1);
    static const double turned[] = {2, 2, 3, 3, 4, 4, 6, 6};
    cr_expect(attention_groups(turn, turned, 2) == 3, "the result's rows lie across");
}

/* Two heads share keys; the result's heads are merged and lie side by side. The second row of the
 * mask allows nothing. */
Test(lower, attention_of_shared_keys)
{
    int groups =
        check_graph("graph g {"
                    "  in %0 f32 [2, 2, 3]\n"
                    "  in %1 f32 [1, 2, 3]\n"
                    "  in %2 f32 [1, 2, 2]\n"
                    "  in %3 bool [2, 2]\n"
                    "  %4 = reshape %0 shape=[1, 2, 2, 3] : f32 [1, 2, 2, 3]\n"
                    "  %5 = transpose %1 perm=[0, 2, 1] : f32 [1, 3, 2]\n"
                    "  %6 = reshape %5 shape=[1, 1, 3, 2] : f32 [1, 1, 3, 2]\n"
                    "  %7 = matmul %4, %6 : f32 [1, 2, 2, 2]\n"
                    "  %8 = reshape %7 shape=[2, 2, 2] : f32 [2, 2, 2]\n"
                    "  const %9 f32 [] = [-inf]\n"
                    "  %10 = map %3, %8, %9 scalar=select : f32 [2, 2, 2]\n"
                    "  %11 = softmax %10 axis=2 masked=1 : f32 [2, 2, 2]\n"
                    "  %12 = reshape %11 shape=[1, 2, 2, 2] : f32 [1, 2, 2, 2]\n"
                    "  %13 = reshape %2 shape=[1, 1, 2, 2] : f32 [1, 1, 2, 2]\n"
                    "  %14 = matmul %12, %13 : f32 [1, 2, 2, 2]\n"
                    "  %15 = transpose %14 perm=[0, 2, 1, 3] : f32 [1, 2, 2, 2]\n"
                    "  %16 = reshape %15 shape=[2, 4] : f32 [2, 4]\n"
                    "  out %16 \"y\" }",
                    LIST(VALUES(0, 0, 0, 9, 9, 9, 1.0986122886681098, 0, 0, 9, 9, 9),
                         VALUES(0, 0, 0, 1, 0, 0), VALUES(4, 8, 12, 0), VALUES(1, 1, 0, 0)),
                    NULL, LIST(VALUES(8, 4, 10, 2, 0, 0, 0, 0)));
    cr_expect(groups == 1);
}

/* Extents that are symbols stay apart: dims that a reshape leaves alone are not mixed up. */
Test(lower, reshape_of_symbols)
{
    check_graph("graph g {"
                "  dim S 1..4\n"
                "  dim T 1..4\n"
                "  in %0 f32 [2, 2, S, T]\n"
                "  %1 = reshape %0 shape=[1, 4, S, T] : f32 [1, 4, S, T]\n"
                "  %2 = transpose %1 perm=[0, 2, 1, 3] : f32 [1, S, 4, T]\n"
                "  %3 = reshape %2 shape=[S, 2, 2 * T] : f32 [S, 2, 2 * T]\n"
                "  out %3 \"y\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6, 7, 8)), DIMS(2, 1),
                LIST(VALUES(1, 3, 5, 7, 2, 4, 6, 8)));
}

Test(lower, matmul_broadcasts_batches)
{
    /* a [2,1,1,2] by b [3,2,1]: every batch of a with every batch of b */
    check_graph("graph g {"
                "  in %0 f32 [2, 1, 1, 2]\n"
                "  in %1 f32 [3, 2, 1]\n"
                "  %2 = matmul %0, %1 : f32 [2, 3, 1, 1]\n"
                "  out %2 \"y\" }",
                LIST(VALUES(1, 2, 10, 20), VALUES(1, 1, 2, 0, 0, 3)), NULL,
                LIST(VALUES(3, 2, 6, 30, 20, 60)));
}

Test(lower, matmul_of_a_batch_that_may_be_one)
{
    static const char text[] = "graph g {"
                               "  dim N 1..3\n"
                               "  in %0 f32 [N, 1, 2]\n"
                               "  in %1 f32 [3, 2, 1]\n"
                               "  %2 = matmul %0, %1 : f32 [3, 1, 1]\n"
                               "  out %2 \"y\" }";
    check_graph(text, LIST(VALUES(1, 2, 10, 20, 100, 200), VALUES(1, 1, 2, 0, 0, 3)), DIMS(3),
                LIST(VALUES(3, 20, 600)));
    check_graph(text, LIST(VALUES(1, 2), VALUES(1, 1, 2, 0, 0, 3)), DIMS(1), LIST(VALUES(3, 2, 6)));
}

Test(lower, matmul_of_symbolic_sizes)
{
    /* K = 0 gives zeros */
    static const char text[] = "graph g {"
                               "  dim M 0..4\n"
                               "  dim K 0..4\n"
                               "  in %0 f32 [M, K]\n"
                               "  in %1 f32 [K, 2]\n"
                               "  %2 = matmul %0, %1 : f32 [M, 2]\n"
                               "  out %2 \"y\" }";
    check_graph(text, LIST(VALUES(1, 2, 3, 4, 5, 6), VALUES(1, 0, 0, 1, 1, 1)), DIMS(2, 3),
                LIST(VALUES(4, 5, 10, 11)));
    check_graph(text, LIST(VALUES(0), VALUES(0)), DIMS(2, 0), LIST(VALUES(0, 0, 0, 0)));
    check_graph(text, LIST(VALUES(0), VALUES(1, 2)), DIMS(0, 1), LIST(VALUES(0)));
}

Test(lower, matmul_of_int8_adds_in_32_bits)
{
    check_graph("graph g {"
                "  in %0 i8 [1, 3]\n"
                "  in %1 i8 [3, 1]\n"
                "  %2 = cast %0 dtype=i32 : i32 [1, 3]\n"
                "  %3 = cast %1 dtype=i32 : i32 [3, 1]\n"
                "  %4 = matmul %2, %3 : i32 [1, 1]\n"
                "  out %4 \"y\" }",
                LIST(VALUES(127, -128, 100), VALUES(127, -128, 3)), NULL, LIST(VALUES(32813)));
}

Test(lower, conv_with_padding_and_residual)
{
    /* 2x2 image, 3x3 kernel of ones with padding 1: every result is the sum of the image (10), then
     * of the second channel. w[0] = ones on channel 0; w[1] = the centre tap of channel 1 times 2.
     */
    int groups = check_graph(
        "graph g {"
        "  in %0 f32 [1, 2, 2, 2]\n"
        "  const %1 f32 [2, 2, 3, 3] = [1, 1, 1, 1, 1, 1, 1, 1, 1,  0, 0, 0, 0, 0, 0, 0, 0, 0,"
        "     0, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0, 0, 2, 0, 0, 0, 0]\n"
        "  %2 = conv %0, %1 strides=[1, 1] dilations=[1, 1] pads=[1, 1, 1, 1] groups=1 : f32 [1, "
        "2, 2, 2]\n"
        "  const %3 f32 [2, 1, 1] = [0.5, -1]\n"
        "  %4 = map %2, %3 scalar=add : f32 [1, 2, 2, 2]\n"
        "  %5 = map %4, %0 scalar=add : f32 [1, 2, 2, 2]\n"
        "  out %5 \"y\" }",
        LIST(VALUES(1, 2, 3, 4, 5, 6, 7, 8)), NULL,
        LIST(VALUES(11.5, 12.5, 13.5, 14.5, 14, 17, 20, 23)));
    cr_expect(groups == 1);
}

Test(lower, two_convs_are_laid_out_channels_last_between)
{
    /* The first doubles channel 0 and adds both channels; the second, a strided 2x2 sum, weighs its
     * channels by 1 and 10. */
    int groups =
        check_graph("graph g {"
                    "  in %0 f32 [1, 2, 2, 3]\n"
                    "  const %1 f32 [2, 2, 1, 1] = [2, 0, 1, 1]\n"
                    "  %2 = conv %0, %1 strides=[1, 1] dilations=[1, 1] pads=[0, 0, 0, 0] groups=1 "
                    ": f32 [1, 2, 2, 3]\n"
                    "  const %3 f32 [1, 2, 2, 2] = [1, 1, 1, 1, 10, 10, 10, 10]\n"
                    "  %4 = conv %2, %3 strides=[2, 2] dilations=[1, 1] pads=[0, 0, 0, 1] groups=1 "
                    ": f32 [1, 1, 1, 2]\n"
                    "  out %4 \"y\" }",
                    LIST(VALUES(1, 2, 3, 4, 5, 6, 0, 1, 0, 1, 0, 1)), NULL, LIST(VALUES(164, 118)));
    cr_expect(groups == 2);
}

Test(lower, grouped_conv_with_stride_and_dilation)
{
    /* one dimension, two groups; taps at distance 2, stride 2, padding 1 before */
    check_graph(
        "graph g {"
        "  in %0 f32 [1, 2, 5]\n"
        "  const %1 f32 [4, 1, 2] = [1, 0, 0, 1, 1, 1, 2, -1]\n"
        "  %2 = conv %0, %1 strides=[2] dilations=[2] pads=[1, 0] groups=2 : f32 [1, 4, 2]\n"
        "  out %2 \"y\" }",
        LIST(VALUES(1, 2, 3, 4, 5, 10, 20, 30, 40, 50)), NULL,
        /* taps read -1, 1 and 1, 3 */
        LIST(VALUES(0, 2, 2, 4, 20, 60, -20, 0)));
}

Test(lower, depthwise_conv)
{
    check_graph(
        "graph g {"
        "  dim N 1..4\n"
        "  in %0 f32 [N, 3, 2]\n"
        "  const %1 f32 [3, 1, 2] = [1, 1, 2, 0, 0, 3]\n"
        "  %2 = conv %0, %1 strides=[1] dilations=[1] pads=[0, 0] groups=3 : f32 [N, 3, 1]\n"
        "  const %3 f32 [] = [1]\n"
        "  %4 = map %2, %3 scalar=sub : f32 [N, 3, 1]\n"
        "  out %4 \"y\" }",
        LIST(VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)), DIMS(2),
        LIST(VALUES(2, 5, 17, 14, 17, 35)));
}

Test(lower, conv_transpose)
{
    /* x [1,2] by the kernel [1 10 100], stride 2: 1 10 100+2 20 200, then cropped by one in front
     */
    check_graph("graph g {"
                "  in %0 f32 [1, 1, 2]\n"
                "  const %1 f32 [1, 1, 3] = [1, 10, 100]\n"
                "  %2 = conv_transpose %0, %1 sizes=[4] strides=[2] dilations=[1] pads=[1, 0] "
                "groups=1 : f32 [1, 1, 4]\n"
                "  out %2 \"y\" }",
                LIST(VALUES(1, 2)), NULL, LIST(VALUES(10, 102, 20, 200)));
}

Test(lower, grouped_conv_transpose)
{
    /* two groups, each one channel to two */
    check_graph("graph g {"
                "  in %0 f32 [1, 2, 2]\n"
                "  const %1 f32 [2, 2, 2] = [1, 0, 0, 1, 2, 3, 1, 1]\n"
                "  %2 = conv_transpose %0, %1 sizes=[3] strides=[1] dilations=[1] pads=[0, 0] "
                "groups=2 : f32 [1, 4, 3]\n"
                "  out %2 \"y\" }",
                LIST(VALUES(5, 7, 10, 20)), NULL,
                LIST(VALUES(5, 7, 0, 0, 5, 7, 20, 70, 60, 10, 30, 20)));
}

/* ---- rows */

Test(lower, softmax)
{
    double e = exp(-1), s = 1 + e + exp(-3);
    int groups = check_graph("graph g {"
                             "  in %0 f32 [2, 3]\n"
                             "  %1 = softmax %0 axis=1 : f32 [2, 3]\n"
                             "  out %1 \"y\" }",
                             LIST(VALUES(3, 2, 0, 1000, 1000, 1000)), NULL,
                             LIST(VALUES(1 / s, e / s, exp(-3) / s, 1.0 / 3, 1.0 / 3, 1.0 / 3)));
    cr_expect(groups == 1);
}

Test(lower, softmax_over_the_first_axis_of_a_scaled_sum)
{
    /* columns: (0, log 3) -> 1/4, 3/4; equal -> 1/2 */
    check_graph("graph g {"
                "  dim N 1..8\n"
                "  in %0 f32 [N, 2]\n"
                "  const %1 f32 [] = [2]\n"
                "  %2 = map %0, %1 scalar=mul : f32 [N, 2]\n"
                "  %3 = softmax %2 axis=0 : f32 [N, 2]\n"
                "  %4 = map %3, %1 scalar=mul : f32 [N, 2]\n"
                "  out %4 \"y\" }",
                LIST(VALUES(0, 5, 0.5493061443340549, 5)), DIMS(2), LIST(VALUES(0.5, 1, 1.5, 1)));
}

Test(lower, normalize_scale_shift)
{
    /* 1 3: mean 2, deviation 1; 10 10: zeros */
    int groups = check_graph("graph g {"
                             "  in %0 f32 [2, 2]\n"
                             "  const %1 f32 [2] = [2, 10]\n"
                             "  const %2 f32 [2] = [1, 0.5]\n"
                             "  %3 = normalize %0 axes=[1] epsilon=0 : f32 [2, 2]\n"
                             "  const %4 f32 [2, 2] = [1, 1, 1, 1]\n"
                             "  %5 = map %3, %1 scalar=mul : f32 [2, 2]\n"
                             "  %6 = map %5, %2 scalar=add : f32 [2, 2]\n"
                             "  out %6 \"y\" }",
                             LIST(VALUES(1, 3, -4, 4)), NULL, LIST(VALUES(-1, 10.5, -1, 10.5)));
    cr_expect(groups == 1);
}

Test(lower, normalize_over_two_axes)
{
    /* 1 2 3 6: mean 3, variance 3.5; epsilon 12.5 makes the deviation 4 */
    check_graph("graph g {"
                "  in %0 f32 [1, 2, 2]\n"
                "  %1 = normalize %0 axes=[1, 2] epsilon=12.5 : f32 [1, 2, 2]\n"
                "  out %1 \"y\" }",
                LIST(VALUES(1, 2, 3, 6)), NULL, LIST(VALUES(-0.5, -0.25, 0, 0.75)));
}

Test(lower, attention)
{
    /* two queries, two keys; scores 0 and log 3 in the first row, equal in the second */
    check_graph("graph g {"
                "  in %0 f32 [1, 2, 1]\n"
                "  in %1 f32 [1, 2, 1]\n"
                "  in %2 f32 [1, 2, 2]\n"
                "  %3 = transpose %1 perm=[0, 2, 1] : f32 [1, 1, 2]\n"
                "  %4 = matmul %0, %3 : f32 [1, 2, 2]\n"
                "  %5 = softmax %4 axis=2 : f32 [1, 2, 2]\n"
                "  %6 = matmul %5, %2 : f32 [1, 2, 2]\n"
                "  out %6 \"y\" }",
                LIST(VALUES(1.0986122886681098, 0), VALUES(0, 1), VALUES(4, 8, 12, 0)), NULL,
                LIST(VALUES(10, 2, 8, 4)));
}

Test(lower, reduce_keeps_or_drops_axes)
{
    check_graph("graph g {"
                "  in %0 f32 [2, 2, 2]\n"
                "  %1 = reduce %0 axes=[0, 2] monoid=sum : f32 [2]\n"
                "  %2 = reduce %0 axes=[1] keep=1 monoid=max : f32 [2, 1, 2]\n"
                "  %3 = reduce %0 axes=[0, 1, 2] monoid=min : f32 []\n"
                "  %4 = reduce %0 axes=[2] monoid=prod : f32 [2, 2]\n"
                "  %5 = map %0, %2 scalar=sub : f32 [2, 2, 2]\n"
                "  out %1 \"a\" out %2 \"b\" out %3 \"c\" out %4 \"d\" out %5 \"e\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6, -7, 8)), NULL,
                LIST(VALUES(14, 8), VALUES(3, 4, 5, 8), VALUES(-7), VALUES(2, 12, 30, -56),
                     VALUES(-2, -2, 0, 0, 0, -2, -12, 0)));
}

Test(lower, reductions_of_nothing_give_the_identity)
{
    check_graph("graph g {"
                "  dim N 0..3\n"
                "  in %0 f32 [2, N]\n"
                "  %1 = reduce %0 axes=[1] monoid=sum : f32 [2]\n"
                "  %2 = reduce %0 axes=[1] monoid=max : f32 [2]\n"
                "  out %1 \"a\" out %2 \"b\" }",
                LIST(VALUES(0)), DIMS(0), LIST(VALUES(0, 0), VALUES(-INFINITY, -INFINITY)));
}

Test(lower, decomposed_norm_is_one_kernel)
{
    /* x / sqrt(mean(x * x)): 3 4 -> mean square 12.5 */
    double d = sqrt(12.5);
    int groups = check_graph("graph g {"
                             "  in %0 f32 [2, 2]\n"
                             "  %1 = map %0, %0 scalar=mul : f32 [2, 2]\n"
                             "  %2 = reduce %1 axes=[1] keep=1 monoid=sum : f32 [2, 1]\n"
                             "  const %3 f32 [] = [2]\n"
                             "  %4 = map %2, %3 scalar=div : f32 [2, 1]\n"
                             "  %5 = map %4 scalar=sqrt : f32 [2, 1]\n"
                             "  %6 = map %0, %5 scalar=div : f32 [2, 2]\n"
                             "  out %6 \"y\" }",
                             LIST(VALUES(3, 4, -1, 1)), NULL, LIST(VALUES(3 / d, 4 / d, -1, 1)));
    cr_expect(groups == 1);
}

Test(lower, arg_first_and_last)
{
    check_graph("graph g {"
                "  in %0 f32 [2, 4]\n"
                "  %1 = arg %0 axis=1 monoid=argmax : i64 [2]\n"
                "  %2 = arg %0 axis=1 monoid=argmax last=1 : i64 [2]\n"
                "  %3 = arg %0 axis=1 monoid=argmin keep=1 last=1 : i64 [2, 1]\n"
                "  %4 = arg %0 axis=0 monoid=argmin : i64 [4]\n"
                "  out %1 \"a\" out %2 \"b\" out %3 \"c\" out %4 \"d\" }",
                LIST(VALUES(5, 1, 5, 1, 0, 0, 0, 7)), NULL,
                LIST(VALUES(0, 3), VALUES(2, 3), VALUES(3, 2), VALUES(1, 1, 1, 0)));
}

Test(lower, arg_of_one_element_and_of_a_symbolic_axis)
{
    check_graph("graph g {"
                "  dim N 1..9\n"
                "  in %0 i32 [1, N]\n"
                "  %1 = arg %0 axis=0 monoid=argmax : i64 [N]\n"
                "  %2 = arg %0 axis=1 monoid=argmin last=1 : i64 [1]\n"
                "  out %1 \"a\" out %2 \"b\" }",
                LIST(VALUES(4, -2, 9, -2, 1)), DIMS(5), LIST(VALUES(0, 0, 0, 0, 0), VALUES(3)));
}

Test(lower, scans)
{
    check_graph("graph g {"
                "  in %0 f32 [2, 3]\n"
                "  %1 = scan %0 axis=1 monoid=sum : f32 [2, 3]\n"
                "  %2 = scan %0 axis=1 monoid=sum exclusive=1 : f32 [2, 3]\n"
                "  %3 = scan %0 axis=1 monoid=sum reverse=1 : f32 [2, 3]\n"
                "  %4 = scan %0 axis=0 monoid=prod reverse=1 exclusive=1 : f32 [2, 3]\n"
                "  out %1 \"a\" out %2 \"b\" out %3 \"c\" out %4 \"d\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6)), NULL,
                LIST(VALUES(1, 3, 6, 4, 9, 15), VALUES(0, 1, 3, 0, 4, 9),
                     VALUES(6, 5, 3, 15, 11, 6), VALUES(4, 5, 6, 1, 1, 1)));
}

/* ---- windows */

Test(lower, pool_with_padding)
{
    /* 3x3 image, 2x2 windows, stride 2, padding 1 before: corners see one, two, two and four */
    check_graph("graph g {"
                "  in %0 f32 [1, 1, 3, 3]\n"
                "  %1 = window %0 strides=[2, 2] dilations=[1, 1] kernel=[2, 2] pads=[1, 1, 0, 0] "
                "monoid=max : f32 [1, 1, 2, 2]\n"
                "  %2 = window %0 strides=[2, 2] dilations=[1, 1] kernel=[2, 2] pads=[1, 1, 0, 0] "
                "monoid=sum : f32 [1, 1, 2, 2]\n"
                "  %3 = window_arg %0 strides=[2, 2] dilations=[1, 1] kernel=[2, 2] pads=[1, 1, 0, "
                "0] monoid=argmax : i64 [1, 1, 2, 2]\n"
                "  out %1 \"a\" out %2 \"b\" out %3 \"c\" }",
                LIST(VALUES(-1, -2, -3, -4, -5, -6, -7, -8, -9)), NULL,
                LIST(VALUES(-1, -2, -4, -5), VALUES(-1, -5, -11, -28), VALUES(0, 1, 3, 4)));
}

Test(lower, pool_positions_lie_in_the_image)
{
    /* the corner window sees padding and one element as small as the padding; NaN is the extreme */
    check_graph("graph g {"
                "  in %0 f32 [1, 1, 3, 3]\n"
                "  %1 = window_arg %0 strides=[2, 2] dilations=[1, 1] kernel=[2, 2] pads=[1, 1, 0, "
                "0] monoid=argmax : i64 [1, 1, 2, 2]\n"
                "  out %1 \"c\" }",
                LIST(VALUES(-INFINITY, -INFINITY, -INFINITY, -INFINITY, 1, NAN, 3, NAN, 4)), NULL,
                LIST(VALUES(0, 1, 6, 5)));
}

Test(lower, pool_of_a_symbolic_image)
{
    static const char text[] = "graph g {"
                               "  dim W 2..9\n"
                               "  in %0 f32 [1, 2, W]\n"
                               "  %1 = window %0 strides=[1] dilations=[1] kernel=[2] pads=[0, 0] "
                               "monoid=max : f32 [1, 2, W - 1]\n"
                               "  %2 = map %1 scalar=neg : f32 [1, 2, W - 1]\n"
                               "  out %2 \"y\" }";
    check_graph(text, LIST(VALUES(1, 5, 2, 0, 3, 4)), DIMS(3), LIST(VALUES(-5, -5, -3, -4)));
    check_graph(text, LIST(VALUES(1, 5, 2, 0)), DIMS(2), LIST(VALUES(-5, -2)));
}

/* ---- views */

Test(lower, transpose_reshape_slice_chain)
{
    /* 0..11 as [3,4]; transposed [4,3]; as [2,6]; the second row backwards by 2; plus one */
    int groups =
        check_graph("graph g {"
                    "  in %0 f32 [3, 4]\n"
                    "  %1 = transpose %0 perm=[1, 0] : f32 [4, 3]\n"
                    "  %2 = reshape %1 shape=[2, 6] : f32 [2, 6]\n"
                    "  %3 = slice %2 starts=[1, 5] sizes=[1, 3] steps=[1, -2] : f32 [1, 3]\n"
                    "  const %4 f32 [] = [1]\n"
                    "  %5 = map %3, %4 scalar=add : f32 [1, 3]\n"
                    "  out %5 \"y\" }",
                    LIST(VALUES(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)), NULL,
                    /* transposed: 0 4 8 1 5 9 | 2 6 10 3 7 11 */
                    LIST(VALUES(12, 4, 7)));
    cr_expect(groups == 1);
}

Test(lower, heads_are_split_and_joined)
{
    /* [2, 4] as two heads of two, heads first, doubled, and back */
    check_graph("graph g {"
                "  dim S 1..8\n"
                "  in %0 f32 [S, 4]\n"
                "  %1 = reshape %0 shape=[S, 2, 2] : f32 [S, 2, 2]\n"
                "  %2 = transpose %1 perm=[1, 0, 2] : f32 [2, S, 2]\n"
                "  %3 = map %2, %2 scalar=add : f32 [2, S, 2]\n"
                "  %4 = transpose %3 perm=[1, 0, 2] : f32 [S, 2, 2]\n"
                "  %5 = reshape %4 shape=[4*S] : f32 [4*S]\n"
                "  out %3 \"heads\" out %5 \"y\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6, 7, 8)), DIMS(2),
                LIST(VALUES(2, 4, 10, 12, 6, 8, 14, 16), VALUES(2, 4, 6, 8, 10, 12, 14, 16)));
}

Test(lower, slice_of_symbolic_length)
{
    /* the last two rows, reversed */
    check_graph("graph g {"
                "  dim N 2..9\n"
                "  in %0 i32 [N, 2]\n"
                "  %1 = slice %0 starts=[N - 1, 0] sizes=[2, 2] steps=[-1, 1] : i32 [2, 2]\n"
                "  out %1 \"y\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6)), DIMS(3), LIST(VALUES(5, 6, 3, 4)));
}

Test(lower, expand_and_broadcast)
{
    static const char text[] = "graph g {"
                               "  dim N 1..4\n"
                               "  in %0 f32 [N, 1]\n"
                               "  in %1 f32 [3]\n"
                               "  %2 = expand %0 shape=[2, N, 3] : f32 [2, N, 3]\n"
                               "  %3 = map %2, %1 scalar=sub : f32 [2, N, 3]\n"
                               "  out %3 \"y\" }";
    check_graph(text, LIST(VALUES(10, 20), VALUES(1, 2, 3)), DIMS(2),
                LIST(VALUES(9, 8, 7, 19, 18, 17, 9, 8, 7, 19, 18, 17)));
}

Test(lower, broadcast_of_a_dim_that_may_be_one)
{
    static const char text[] = "graph g {"
                               "  dim N 1..4\n"
                               "  in %0 f32 [N]\n"
                               "  in %1 f32 [4]\n"
                               "  %2 = map %0, %1 scalar=mul : f32 [4]\n"
                               "  out %2 \"y\" }";
    check_graph(text, LIST(VALUES(3), VALUES(1, 2, 3, 4)), DIMS(1), LIST(VALUES(3, 6, 9, 12)));
    check_graph(text, LIST(VALUES(3, 4, 5, 6), VALUES(1, 2, 3, 4)), DIMS(4),
                LIST(VALUES(3, 8, 15, 24)));
}

Test(lower, concat)
{
    int groups = check_graph("graph g {"
                             "  dim N 0..4\n"
                             "  in %0 f32 [2, 2]\n"
                             "  in %1 f32 [2, N]\n"
                             "  %2 = map %0 scalar=neg : f32 [2, 2]\n"
                             "  %3 = concat %2, %1, %0 axis=1 : f32 [2, N + 4]\n"
                             "  out %3 \"y\" }",
                             LIST(VALUES(1, 2, 3, 4), VALUES(9, 8)), DIMS(1),
                             LIST(VALUES(-1, -2, 9, 1, 2, -3, -4, 8, 3, 4)));
    cr_expect(groups == 1);
    check_graph("graph g {"
                "  in %0 f32 [1, 2]\n"
                "  in %1 f32 [2, 2]\n"
                "  %2 = concat %0, %1, %0, %1, %0 axis=0 : f32 [7, 2]\n"
                "  out %2 \"y\" }",
                LIST(VALUES(1, 2), VALUES(3, 4, 5, 6)), NULL,
                LIST(VALUES(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2)));
}

Test(lower, gathers)
{
    check_graph(
        "graph g {"
        "  in %0 f32 [3, 2]\n"
        "  in %1 i64 [2, 2]\n"
        "  in %2 i32 [1, 2]\n"
        "  in %3 i64 [2, 2]\n"
        "  %4 = gather %0, %1 axis=0 : f32 [2, 2, 2]\n"
        "  %5 = gather %0, %1 axis=1 : f32 [3, 2, 2]\n"
        "  %6 = gather_elements %0, %2 axis=0 : f32 [1, 2]\n"
        "  %7 = gather_nd %0, %3 axis=0 : f32 [2]\n"
        "  out %4 \"a\" out %5 \"b\" out %6 \"c\" out %7 \"d\" }",
        LIST(VALUES(1, 2, 3, 4, 5, 6), VALUES(0, 1, -1, 0), VALUES(2, -2), VALUES(2, 1, 0, -2)),
        NULL,
        LIST(VALUES(1, 2, 3, 4, 5, 6, 1, 2), VALUES(1, 2, 2, 1, 3, 4, 4, 3, 5, 6, 6, 5),
             VALUES(5, 4), VALUES(6, 1)));
}

/* Frames of a signal: indices that are sums of positions are no table and are not checked in the
 * run. */
Test(lower, gathers_at_positions)
{
    static const char text[] = "graph g {"
                               "  in %0 f32 [6]\n"
                               "  %1 = iota axis=0 dtype=i64 shape=[3, 1] : i64 [3, 1]\n"
                               "  const %2 i64 [] = [2]\n"
                               "  %3 = map %1, %2 scalar=mul : i64 [3, 1]\n"
                               "  %4 = iota axis=1 dtype=i64 shape=[1, 2] : i64 [1, 2]\n"
                               "  %5 = map %3, %4 scalar=add : i64 [3, 2]\n"
                               "  %6 = gather %0, %5 axis=0 : f32 [3, 2]\n"
                               "  out %6 \"y\" }";
    cr_expect_eq(
        check_graph(text, LIST(VALUES(1, 2, 3, 4, 5, 6)), NULL, LIST(VALUES(1, 2, 3, 4, 5, 6))), 1);
}

static void count_init(Cx *cx, void *user)
{
    Graph *graph = graph_parse(cx, "test",
                               "graph g {"
                               "  dim N 1..4\n"
                               "  in %0 f32 [N]\n"
                               "  %1 = dim_value shape=[2] elements=[N, 3] : i64 [2]\n"
                               "  %2 = cast %1 dtype=f32 : f32 [2]\n"
                               "  %3 = softmax %2 axis=0 : f32 [2]\n"
                               "  out %0 \"x\" out %3 \"y\" }");
    if (!graph)
        return;
    const Grouping *grouping = group_graph(cx, graph, target_find("x86-64-v4"));
    for (uint32_t g = 0; g < grouping->count; g++)
        *(int *)user += grouping->groups[g].init;
}

/* Contents that name a dim wait for the run, though they read no input. */
Test(lower, dims_are_no_weights)
{
    Cx cx;
    int init = 0;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, count_init, &init), ST_ok, "%s", cx.message);
    cr_expect_eq(init, 0);
    cx_finish(&cx);
}

Test(lower, gather_nd_with_batches_and_slices)
{
    check_graph("graph g {"
                "  in %0 f32 [2, 2, 2]\n"
                "  in %1 i64 [2, 1]\n"
                "  %2 = gather_nd %0, %1 axis=1 : f32 [2, 2]\n"
                "  %3 = gather_nd %0, %1 axis=0 : f32 [2, 2, 2]\n"
                "  out %2 \"a\" out %3 \"b\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6, 7, 8), VALUES(1, 0)), NULL,
                LIST(VALUES(3, 4, 5, 6), VALUES(5, 6, 7, 8, 1, 2, 3, 4)));
}

Test(lower, gathered_rows_go_into_a_matmul)
{
    check_graph("graph g {"
                "  const %0 f32 [3, 2] = [1, 2, 3, 4, 5, 6]\n"
                "  in %1 i64 [2]\n"
                "  const %2 f32 [2, 1] = [1, 10]\n"
                "  %3 = gather %0, %1 axis=0 : f32 [2, 2]\n"
                "  %4 = matmul %3, %2 : f32 [2, 1]\n"
                "  out %4 \"y\" }",
                LIST(VALUES(2, 0)), NULL, LIST(VALUES(65, 21)));
}

Test(lower, pad_modes)
{
    check_graph("graph g {"
                "  in %0 f32 [3]\n"
                "  const %1 f32 [] = [7]\n"
                "  %2 = pad %0, %1 before=[2] after=[1] mode=constant : f32 [6]\n"
                "  %3 = pad %0, %1 before=[2] after=[1] mode=edge : f32 [6]\n"
                "  %4 = pad %0, %1 before=[2] after=[2] mode=reflect : f32 [7]\n"
                "  %5 = pad %0, %1 before=[2] after=[4] mode=wrap : f32 [9]\n"
                "  %6 = pad %0, %1 before=[-1] after=[1] mode=constant : f32 [3]\n"
                "  out %2 \"a\" out %3 \"b\" out %4 \"c\" out %5 \"d\" out %6 \"e\" }",
                LIST(VALUES(1, 2, 3)), NULL,
                LIST(VALUES(7, 7, 1, 2, 3, 7), VALUES(1, 1, 1, 2, 3, 3),
                     VALUES(3, 2, 1, 2, 3, 2, 1), VALUES(2, 3, 1, 2, 3, 1, 2, 3, 1),
                     VALUES(2, 3, 7)));
}

Test(lower, pad_of_symbolic_size_with_a_computed_fill)
{
    check_graph(
        "graph g {"
        "  dim N 1..5\n"
        "  dim P 0..3\n"
        "  in %0 f32 [2, N]\n"
        "  in %1 f32 []\n"
        "  %2 = map %1 scalar=neg : f32 []\n"
        "  %3 = map %0, %0 scalar=mul : f32 [2, N]\n"
        "  %4 = pad %3, %2 before=[0, P] after=[0, 1] mode=constant : f32 [2, N + P + 1]\n"
        "  %5 = pad %0, %1 before=[1, P] after=[0, P] mode=edge : f32 [3, N + 2*P]\n"
        "  out %4 \"a\" out %5 \"b\" }",
        LIST(VALUES(1, 2, 3, 4), VALUES(5)), DIMS(2, 1),
        LIST(VALUES(-5, 1, 4, -5, -5, 9, 16, -5), VALUES(1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4)));
}

Test(lower, padded_conv_input)
{
    /* the padding is folded into the convolution's reads; the fill is not its own zero */
    check_graph(
        "graph g {"
        "  in %0 f32 [1, 1, 2]\n"
        "  const %1 f32 [] = [100]\n"
        "  %2 = pad %0, %1 before=[0, 0, 1] after=[0, 0, 0] mode=constant : f32 [1, 1, 3]\n"
        "  const %3 f32 [1, 1, 2] = [1, 2]\n"
        "  %4 = conv %2, %3 strides=[1] dilations=[1] pads=[1, 1] groups=1 : f32 [1, 1, 4]\n"
        "  out %4 \"y\" }",
        LIST(VALUES(3, 5)), NULL, LIST(VALUES(200, 106, 13, 5)));
}

/* ---- scatters */

Test(lower, scatter_elements)
{
    check_graph(
        "graph g {"
        "  in %0 f32 [3, 3]\n"
        "  in %1 i64 [2, 2]\n"
        "  in %2 f32 [2, 2]\n"
        "  %3 = scatter_elements %0, %1, %2 axis=0 mode=none : f32 [3, 3]\n"
        "  %4 = scatter_elements %0, %1, %2 axis=1 mode=reduce monoid=sum : f32 [3, 3]\n"
        "  %5 = scatter_elements %0, %1, %2 axis=1 mode=reduce monoid=max : f32 [3, 3]\n"
        "  out %3 \"a\" out %4 \"b\" out %5 \"c\" }",
        LIST(VALUES(0, 1, 2, 3, 4, 5, 6, 7, 8), VALUES(0, 2, -1, 0), VALUES(10, 20, 30, 40)), NULL,
        /* axis 0: column 0 rows 0, 2; column 1 rows 2, 0. axis 1: row 0 columns 0, 2; row 1 columns
           2, 0 */
        LIST(VALUES(10, 40, 2, 3, 4, 5, 30, 20, 8), VALUES(10, 1, 22, 43, 4, 35, 6, 7, 8),
             VALUES(10, 1, 20, 40, 4, 30, 6, 7, 8)));
}

Test(lower, scatter_adds_duplicates)
{
    check_graph("graph g {"
                "  dim N 1..6\n"
                "  in %0 f32 [3]\n"
                "  in %1 i64 [N]\n"
                "  in %2 f32 [N]\n"
                "  %3 = scatter_elements %0, %1, %2 axis=0 mode=reduce monoid=sum : f32 [3]\n"
                "  %4 = scatter_elements %0, %1, %2 axis=0 mode=reduce monoid=prod : f32 [3]\n"
                "  out %3 \"a\" out %4 \"b\" }",
                LIST(VALUES(1, 2, 3), VALUES(0, 2, 0, -1), VALUES(10, 20, 30, 40)), DIMS(4),
                LIST(VALUES(41, 2, 63), VALUES(300, 2, 2400)));
}

Test(lower, scatter_nd)
{
    check_graph("graph g {"
                "  in %0 i32 [3, 2]\n"
                "  in %1 i64 [2, 1]\n"
                "  in %2 i32 [2, 2]\n"
                "  in %3 i64 [2, 2]\n"
                "  in %4 i32 [2]\n"
                "  %5 = scatter_nd %0, %1, %2 : i32 [3, 2]\n"
                "  %6 = scatter_nd %0, %3, %4 mode=reduce monoid=sum : i32 [3, 2]\n"
                "  out %5 \"a\" out %6 \"b\" }",
                LIST(VALUES(1, 2, 3, 4, 5, 6), VALUES(2, 0), VALUES(10, 20, 30, 40),
                     VALUES(1, 1, -1, 0), VALUES(100, 200)),
                NULL, LIST(VALUES(30, 40, 3, 4, 10, 20), VALUES(1, 2, 3, 104, 205, 6)));
}

Test(lower, scatter_of_one_update_and_of_infinities)
{
    check_graph("graph g {"
                "  in %0 f32 [2]\n"
                "  in %1 i64 [1]\n"
                "  in %2 f32 [1]\n"
                "  %3 = scatter_elements %0, %1, %2 axis=0 : f32 [2]\n"
                "  in %4 i64 [2]\n"
                "  in %5 f32 [2]\n"
                "  %6 = scatter_elements %0, %4, %5 axis=0 : f32 [2]\n"
                "  out %3 \"a\" out %6 \"b\" }",
                LIST(VALUES(1, 2), VALUES(-1), VALUES(9), VALUES(1, 0), VALUES(INFINITY, 3)), NULL,
                LIST(VALUES(1, 9), VALUES(3, INFINITY)));
}

/* ---- numbers, types, lists */

Test(lower, casts_round_and_wrap)
{
    check_graph("graph g {"
                "  in %0 f32 [4]\n"
                "  %1 = cast %0 dtype=i32 : i32 [4]\n"
                "  %2 = cast %1 dtype=u8 : u8 [4]\n"
                "  %3 = cast %2 dtype=f32 : f32 [4]\n"
                "  %4 = cast %0 dtype=bool : bool [4]\n"
                "  out %1 \"a\" out %3 \"b\" out %4 \"c\" }",
                LIST(VALUES(-1.75, 0, 300.5, 2)), NULL,
                LIST(VALUES(-1, 0, 300, 2), VALUES(255, 0, 44, 2), VALUES(1, 0, 1, 1)));
}

Test(lower, narrow_integers_wrap_after_every_operation)
{
    check_graph("graph g {"
                "  in %0 u8 [2]\n"
                "  %1 = map %0, %0 scalar=add : u8 [2]\n"
                "  const %2 u8 [] = [2]\n"
                "  %3 = map %1, %2 scalar=div : u8 [2]\n"
                "  out %3 \"y\" }",
                LIST(VALUES(200, 3)), NULL, LIST(VALUES(72, 3)));
}

Test(lower, lists_of_dims_and_positions)
{
    check_graph("graph g {"
                "  dim N 1..9\n"
                "  in %0 f32 [N, 2]\n"
                "  %1 = shape_value %0 : i64 [2]\n"
                "  %2 = dim_value shape=[3] elements=[N, 2*N, 7] : i64 [3]\n"
                "  %3 = iota axis=1 dtype=f32 shape=[N, 2] : f32 [N, 2]\n"
                "  %4 = map %0, %3 scalar=add : f32 [N, 2]\n"
                "  const %5 f32 [] = [4]\n"
                "  %6 = fill %5 shape=[N] : f32 [N]\n"
                "  out %1 \"a\" out %2 \"b\" out %4 \"c\" out %6 \"d\" }",
                LIST(VALUES(1, 1, 1, 1, 1, 1)), DIMS(3),
                LIST(VALUES(3, 2), VALUES(3, 6, 7), VALUES(1, 2, 1, 2, 1, 2), VALUES(4, 4, 4)));
}

Test(lower, select_and_compare)
{
    check_graph("graph g {"
                "  in %0 f32 [2, 2]\n"
                "  in %1 f32 [2, 1]\n"
                "  %2 = map %0, %1 scalar=lt : bool [2, 2]\n"
                "  const %3 f32 [] = [-1]\n"
                "  %4 = map %2, %3, %0 scalar=select : f32 [2, 2]\n"
                "  out %2 \"a\" out %4 \"b\" }",
                LIST(VALUES(1, 5, 3, 2), VALUES(2, 3)), NULL,
                LIST(VALUES(1, 0, 0, 1), VALUES(-1, 5, 3, -1)));
}

/* ---- groups */

Test(group, a_value_with_several_readers_is_a_result_of_its_own)
{
    int groups =
        check_graph("graph g {"
                    "  in %0 f32 [2, 2]\n"
                    "  in %1 f32 [2, 2]\n"
                    "  %2 = matmul %0, %1 : f32 [2, 2]\n"
                    "  %3 = matmul %2, %1 : f32 [2, 2]\n"
                    "  %4 = map %3, %2 scalar=add : f32 [2, 2]\n"
                    "  out %4 \"y\" }",
                    LIST(VALUES(1, 2, 3, 4), VALUES(0, 1, 1, 0)), NULL, LIST(VALUES(3, 3, 7, 7)));
    cr_expect(groups == 2);
}

Test(group, weights_are_transformed_apart)
{
    int groups = check_graph("graph g {"
                             "  in %0 f32 [1, 2]\n"
                             "  const %1 f32 [2, 2] = [1, 2, 3, 4]\n"
                             "  const %2 f32 [2] = [10, 100]\n"
                             "  %3 = map %1, %2 scalar=mul : f32 [2, 2]\n"
                             "  %4 = matmul %0, %3 : f32 [1, 2]\n"
                             "  out %4 \"y\" }",
                             LIST(VALUES(1, 1)), NULL, LIST(VALUES(40, 600)));
    cr_expect(groups == 2);
}

Test(group, results_that_are_read_again)
{
    int groups =
        check_graph("graph g {"
                    "  in %0 f32 [3]\n"
                    "  %1 = map %0 scalar=neg : f32 [3]\n"
                    "  %2 = map %1 scalar=abs : f32 [3]\n"
                    "  %3 = map %2, %1 scalar=sub : f32 [3]\n"
                    "  out %1 \"a\" out %3 \"b\" }",
                    LIST(VALUES(1, -2, 3)), NULL, LIST(VALUES(-1, 2, -3), VALUES(2, 0, 6)));
    cr_expect(groups == 2);
}

Test(group, residual_block_of_convolutions)
{
    /* two convolutions, relu between, the input added behind: 1x1 kernels, so plain sums. x has 2
     * channels of 2 pixels; w1 = [1 1; 1 -1], w2 = [1 0; 1 1]. */
    int groups = check_graph(
        "graph g {"
        "  in %0 f32 [1, 2, 1, 2]\n"
        "  const %1 f32 [2, 2, 1, 1] = [1, 1, 1, -1]\n"
        "  const %2 f32 [2, 2, 1, 1] = [1, 0, 1, 1]\n"
        "  const %3 f32 [] = [0]\n"
        "  %4 = conv %0, %1 strides=[1, 1] dilations=[1, 1] pads=[0, 0, 0, 0] groups=1 : f32 [1, "
        "2, 1, 2]\n"
        "  %5 = map %4, %3 scalar=max : f32 [1, 2, 1, 2]\n"
        "  %6 = conv %5, %2 strides=[1, 1] dilations=[1, 1] pads=[0, 0, 0, 0] groups=1 : f32 [1, "
        "2, 1, 2]\n"
        "  %7 = map %6, %0 scalar=add : f32 [1, 2, 1, 2]\n"
        "  %8 = map %7, %3 scalar=max : f32 [1, 2, 1, 2]\n"
        "  %9 = window %8 strides=[1, 1] dilations=[1, 1] kernel=[1, 2] pads=[0, 0, 0, 0] "
        "monoid=max : f32 [1, 2, 1, 1]\n"
        "  %10 = reshape %9 shape=[1, 2] : f32 [1, 2]\n"
        "  out %10 \"y\" }",
        LIST(VALUES(1, 2, 3, -5)), NULL,
        /* first: (4, -3) (-2, 7) -> (4, 0) (0, 7); second: (4, 0) (4, 7); sums: (5, 2) (7, 2) */
        LIST(VALUES(5, 7)));
    cr_expect(groups == 3);
}
