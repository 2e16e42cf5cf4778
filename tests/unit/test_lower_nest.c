/* Lowering of views, scatters, types and lists (graph_run.h). */
#include "tests/unit/graph_run.h"

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

/* ONNX leaves open what several updates of one place give; here the last of them, as elsewhere. */
Test(lower, the_last_of_several_updates_stays)
{
    check_graph("graph g {"
                "  dim N 1..6\n"
                "  in %0 f32 [3]\n"
                "  in %1 i64 [N]\n"
                "  in %2 f32 [N]\n"
                "  %3 = scatter_elements %0, %1, %2 axis=0 : f32 [3]\n"
                "  in %4 f32 [4, 2]\n"
                "  in %5 i64 [N, 3, 1]\n"
                "  in %6 f32 [N, 3, 2]\n"
                "  %7 = scatter_nd %4, %5, %6 : f32 [4, 2]\n"
                "  out %3 \"a\" out %7 \"b\" }",
                LIST(VALUES(1, 2, 3), VALUES(0, 2, 0, -1), VALUES(10, 20, 30, 40),
                     VALUES(1, 2, 3, 4, 5, 6, 7, 8), VALUES(0, 1, 0, 2, 2, 1, 0, 0, 0, 2, 2, 2),
                     VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                            21, 22, 23, 24)),
                DIMS(4), LIST(VALUES(30, 2, 40), VALUES(17, 18, 11, 12, 23, 24, 7, 8)));
}

Test(lower, scatter_of_one_update_of_infinities_and_of_negative_zero)
{
    check_graph("graph g {"
                "  in %0 f32 [2]\n"
                "  in %1 i64 [1]\n"
                "  in %2 f32 [1]\n"
                "  %3 = scatter_elements %0, %1, %2 axis=0 : f32 [2]\n"
                "  in %4 i64 [2]\n"
                "  in %5 f32 [2]\n"
                "  %6 = scatter_elements %0, %4, %5 axis=0 : f32 [2]\n"
                "  const %7 f32 [] = [1]\n"
                "  in %8 f32 [2]\n"
                "  %9 = scatter_elements %0, %4, %8 axis=0 : f32 [2]\n"
                "  %10 = map %7, %9 scalar=div : f32 [2]\n"
                "  in %11 f32 [3]\n"
                "  %12 = scatter_elements %11, %4, %8 axis=0 mode=reduce monoid=sum : f32 [3]\n"
                "  %13 = map %7, %12 scalar=div : f32 [3]\n"
                "  out %3 \"a\" out %6 \"b\" out %10 \"c\" out %13 \"d\" }",
                LIST(VALUES(1, 2), VALUES(-1), VALUES(9), VALUES(1, 0), VALUES(INFINITY, 3),
                     VALUES(-0.0, 4), VALUES(1, 2, -0.0)),
                NULL,
                LIST(VALUES(1, 9), VALUES(3, INFINITY), VALUES(0.25, -INFINITY),
                     VALUES(0.2, 0.5, -INFINITY)));
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
