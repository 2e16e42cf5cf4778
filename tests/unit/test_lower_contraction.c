/* Grouping and lowering of matrix products and convolutions, with what follows them, and of
 * attention (graph_run.h). */
#include <stdio.h>

#include "tests/unit/graph_run.h"

Test(lower_contraction, matmul_bias_relu)
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

Test(lower_contraction, attention_is_one_kernel)
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
Test(lower_contraction, attention_of_shared_keys)
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
Test(lower_contraction, reshape_of_symbols)
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

Test(lower_contraction, matmul_broadcasts_batches)
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

Test(lower_contraction, matmul_of_a_batch_that_may_be_one)
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

Test(lower_contraction, matmul_of_symbolic_sizes)
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

Test(lower_contraction, matmul_of_int8_adds_in_32_bits)
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

Test(lower_contraction, conv_with_padding_and_residual)
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

Test(lower_contraction, two_convs_are_laid_out_channels_last_between)
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

Test(lower_contraction, grouped_conv_with_stride_and_dilation)
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

Test(lower_contraction, depthwise_conv)
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

Test(lower_contraction, conv_transpose)
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

Test(lower_contraction, grouped_conv_transpose)
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
