/* Meanings of first opsets that later ones changed. */
#include "import_case.h"

TestSuite(import_opsets, .init = wire_init, .fini = wire_finish);

Test(import_opsets, tile_1)
{
    Wire n = node("Tile", "x,t,a", "y");
    expect_node(1, n, ITEMS(F32("x", "1,2", 1, 2), W32("t", "", 2), W32("a", "", 1)),
                ITEMS(F32("y", "1,4", 1, 2, 1, 2)));
    expect_refused(1, n, ITEMS(F32("x", "1,2", 1, 2), W32("t", "", 2), W32("a", "", 2)),
                   "along axis 2");
    expect_refused(1, n, ITEMS(F32("x", "1,2", 1, 2), F32("t", "", 2), W32("a", "", 1)),
                   "must be known");
}

Test(import_opsets, upsample_1)
{
    Wire n =
        with_float(with_float(node("Upsample", "x", "y"), "width_scale", 2), "height_scale", 1);
    const Item *in = ITEMS(F32("x", "1,1,1,2", 1, 3));
    expect_node(1, n, in, ITEMS(F32("y", "1,1,1,4", 1, 1, 3, 3)));
    expect_node(1, with_text(n, "mode", "bilinear"), in, ITEMS(F32("y", "1,1,1,4", 1, 2, 3, 3)));
}

/* One step with a state of 0: tanh(2 * 0.25) */
Test(import_opsets, rnn_1)
{
    expect_node(1, with_int(node("RNN", "x,w,r", "y"), "hidden_size", 1),
                ITEMS(F32("x", "1,1,1", 2), W32("w", "1,1,1", 0.25), W32("r", "1,1,1", 1)),
                ITEMS(F32("y", "1,1,1,1", 0.46211715726)));
}
