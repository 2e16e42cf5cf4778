/* Grouping and lowering of what combines elements: softmax, norms, reductions, scans, pools
 * (graph_run.h). */
#include "tests/unit/graph_run.h"

/* ---- rows */

Test(lower_rows, softmax)
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

Test(lower_rows, softmax_over_the_first_axis_of_a_scaled_sum)
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

Test(lower_rows, normalize_scale_shift)
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

Test(lower_rows, normalize_over_two_axes)
{
    /* 1 2 3 6: mean 3, variance 3.5; epsilon 12.5 makes the deviation 4 */
    check_graph("graph g {"
                "  in %0 f32 [1, 2, 2]\n"
                "  %1 = normalize %0 axes=[1, 2] epsilon=12.5 : f32 [1, 2, 2]\n"
                "  out %1 \"y\" }",
                LIST(VALUES(1, 2, 3, 6)), NULL, LIST(VALUES(-0.5, -0.25, 0, 0.75)));
}

Test(lower_rows, attention)
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

Test(lower_rows, reduce_keeps_or_drops_axes)
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

Test(lower_rows, reductions_of_nothing_give_the_identity)
{
    check_graph("graph g {"
                "  dim N 0..3\n"
                "  in %0 f32 [2, N]\n"
                "  %1 = reduce %0 axes=[1] monoid=sum : f32 [2]\n"
                "  %2 = reduce %0 axes=[1] monoid=max : f32 [2]\n"
                "  out %1 \"a\" out %2 \"b\" }",
                LIST(VALUES(0)), DIMS(0), LIST(VALUES(0, 0), VALUES(-INFINITY, -INFINITY)));
}

Test(lower_rows, decomposed_norm_is_one_kernel)
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

Test(lower_rows, arg_first_and_last)
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

Test(lower_rows, arg_of_one_element_and_of_a_symbolic_axis)
{
    check_graph("graph g {"
                "  dim N 1..9\n"
                "  in %0 i32 [1, N]\n"
                "  %1 = arg %0 axis=0 monoid=argmax : i64 [N]\n"
                "  %2 = arg %0 axis=1 monoid=argmin last=1 : i64 [1]\n"
                "  out %1 \"a\" out %2 \"b\" }",
                LIST(VALUES(4, -2, 9, -2, 1)), DIMS(5), LIST(VALUES(0, 0, 0, 0, 0), VALUES(3)));
}

Test(lower_rows, scans)
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

Test(lower_rows, pool_with_padding)
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

Test(lower_rows, pool_positions_lie_in_the_image)
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

Test(lower_rows, pool_of_a_symbolic_image)
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
