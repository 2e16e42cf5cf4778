/* What fusion puts into one kernel, seen by the number of kernels and by results (graph_run.h). */
#include "tests/unit/graph_run.h"

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
