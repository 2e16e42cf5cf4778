/* Kernels at sizes that leave little or nothing to do, and what they compute beside what they keep;
 * whole models, run. */
#include "model_run.h"

TestSuite(open_kernels, .init = wire_init, .fini = wire_finish);

/* The first column of the places, which is there when something is: a kernel is made for the case
 * that it is, and the result's size is that of the run all the same. */
static void check_zero_or_one(const char *device)
{
    const Wire nodes[] = {node("NonZero", "x", "n"), node("Slice", "n,s,e,a", "y"), {0}};
    const Item *model_in = ITEMS(OPEN("x", "2,3", "A,B", 0, 0, 0, 0, 0, 0), W64("s", "1", 0),
                                 W64("e", "1", 1), W64("a", "1", 1));
    const Item *model_out = ITEMS({"y", DT_i64, "2,1", VALUES(1, 2), false, "2,K"});
    const Item *in = ITEMS(F32("x", "2,3", 0, 0, 0, 0, 0, 5));
    const Item *none = ITEMS(I64("y", "2,0", 0));
    const qn_compile_options options = {.size = sizeof options, .device = qn_str(device)};
    ModelRun r = model_open_with(whole(nodes, model_in, model_out), &options);
    model_expect(&r, in, model_out);
    model_expect(&r, model_in, none);
    model_expect(&r, in, model_out);
    model_close(&r);
}

Test(open_kernels, size_is_zero_or_one)
{
    check_zero_or_one("cpu");
}

Test(open_kernels, size_is_zero_or_one_simulated)
{
    check_zero_or_one("sim");
}

/* Backwards from the fifth element and ending before the third: nothing of a single one. */
Test(open_kernels, nothing_to_write)
{
    const Wire nodes[] = {node("Slice", "x,s,e,a,t", "y"), {0}};
    const Item *model_in = ITEMS(OPEN("x", "4", "N", 1, 2, 3, 4), W64("s", "1", 4),
                                 W64("e", "1", 2), W64("a", "1", 0), W64("t", "1", -2));
    const Item *some = ITEMS(OPEN("y", "1", "K", 4));
    const Item *one = ITEMS(F32("x", "1", 7)), *none = ITEMS(F32("y", "0", 0));
    static const char *const devices[] = {"cpu", "sim"};
    for (int i = 0; i < 2; i++) {
        const qn_compile_options options = {.size = sizeof options, .device = qn_str(devices[i])};
        ModelRun r = model_open_with(whole(nodes, model_in, some), &options);
        model_expect(&r, model_in, some);
        model_expect(&r, one, none);
        model_close(&r);
    }
}

/* Each part of a joined result is computed for all of it. What a part picks by position, -2 and -1,
 * is out of range elsewhere, which is nobody's mistake. */
Test(open_kernels, index_computed_outside_its_part)
{
    const Wire nodes[] = {
        node("Gather", "x,i", "g"), with_int(node("Concat", "g,x,g", "y"), "axis", 0), {0}};
    const Item *in = ITEMS(F32("x", "2,2", 1, 2, 3, 4), W64("i", "2", -2, -1));
    const Item *out = ITEMS(F32("y", "6,2", 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4));
    ModelRun r = model_open(whole(nodes, in, out));
    model_expect(&r, in, out);
    model_close(&r);
}

/* H * W = 4 can be solved for neither, and proves the rows of the weight. */
Test(open_kernels, product_of_dims)
{
    const Wire nodes[] = {node("Flatten", "x", "f"), node("MatMul", "f,w", "y"), {0}};
    const Item *model_in =
        ITEMS(OPEN("x", "1,2,2", "N,H,W", 1, 2, 3, 4), W32("w", "4,1", 1, 10, 100, 1000));
    const Item *out = ITEMS(OPEN("y", "1,1", "N,1", 4321));
    const Item *wide = ITEMS(F32("x", "2,1,4", 1, 2, 3, 4, 5, 6, 7, 8));
    const Item *two = ITEMS(F32("y", "2,1", 4321, 8765));
    ModelRun r = model_open(whole(nodes, model_in, out));
    model_expect(&r, model_in, out);
    model_expect(&r, wide, two);
    const int64_t dims[] = {1, 2, 3};
    const qn_shape shape = {.rank = 3, .dims = dims};
    cr_expect_eq(qn_session_set_shapes(r.session, &shape, 1), QN_BAD_ARGUMENT);
    cr_expect(strstr(qn_session_message(r.session), "(MatMul)"), "%s",
              qn_session_message(r.session));
    model_close(&r);
}

/* Rows are A * B floordiv 2, which is 0 for no A or B alone. The other axis is not padded. */
Test(open_kernels, rows_padded_by_repeating)
{
    const Wire nodes[] = {
        node("Reshape", "x,s", "r"), with_text(node("Pad", "r,p", "y"), "mode", "wrap"), {0}};
    const Item *model_in = ITEMS(OPEN("x", "3,2", "A,B", 1, 2, 3, 4, 5, 6), W64("s", "2", -1, 2),
                                 W64("p", "4", 1, 0, 2, 0));
    const Item *out = ITEMS(OPEN("y", "6,2", "K,2", 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4));
    static const char *const devices[] = {"cpu", "sim"};
    for (int i = 0; i < 2; i++) {
        const qn_compile_options options = {.size = sizeof options, .device = qn_str(devices[i])};
        ModelRun r = model_open_with(whole(nodes, model_in, out), &options);
        model_expect(&r, model_in, out);
        model_expect(&r, ITEMS(F32("x", "1,2", 7, 8)),
                     ITEMS(F32("y", "4,2", 7, 8, 7, 8, 7, 8, 7, 8)));
        model_close(&r);
    }
}
