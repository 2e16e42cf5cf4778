/* Optimizers, one step by hand. */
#include "import_case.h"

TestSuite(import_training, .init = wire_init, .fini = wire_finish);

static Wire step(const char *op, const char *inputs, const char *outputs)
{
    return in_domain("ai.onnx.preview.training", node(op, inputs, outputs));
}

/* g = 0.5 * 2 + 1 = 2, H = 5 + 4 = 9, r = 3 / (1 + 2 * 1) = 1, x = 2 - 2 / 3 */
Test(import_training, adagrad)
{
    Wire n = with_float(step("Adagrad", "r,t,x,g,h", "y,z"), "norm_coefficient", 0.5f);
    n = with_float(with_float(n, "decay_factor", 1), "epsilon", 0);
    expect_node(8, n,
                ITEMS(F32("r", "", 3), I64("t", "", 2), F32("x", "1", 2), F32("g", "1", 1),
                      F32("h", "1", 5)),
                ITEMS(F32("y", "1", 4.0 / 3), F32("z", "1", 9)));
}

/* V = 0.5 * 4 + b * 3; two tensors, of which the second is empty */
Test(import_training, momentum)
{
    Wire n = with_float(with_float(step("Momentum", "r,t,x,e,g,e,v,e", "y,a,z,b"), "alpha", 0.5f),
                        "beta", 2);
    n = with_float(n, "norm_coefficient", 0);
    const Item *first = ITEMS(F32("r", "1", 0.1), I64("t", "1", 0), F32("x", "1", 10),
                              F32("e", "0", 0), F32("g", "1", 3), F32("v", "1", 4));
    const Item *later = ITEMS(F32("r", "1", 0.1), I64("t", "1", 1), F32("x", "1", 10),
                              F32("e", "0", 0), F32("g", "1", 3), F32("v", "1", 4));
    expect_node(8, with_text(n, "mode", "standard"), first,
                ITEMS(F32("y", "1", 9.5), F32("a", "0", 0), F32("z", "1", 5), F32("b", "0", 0)));
    expect_node(8, with_text(n, "mode", "standard"), later,
                ITEMS(F32("y", "1", 9.2), F32("a", "0", 0), F32("z", "1", 8), F32("b", "0", 0)));
    expect_node(8, with_text(n, "mode", "nesterov"), later,
                ITEMS(F32("y", "1", 9.3), F32("a", "0", 0), F32("z", "1", 8), F32("b", "0", 0)));
    expect_refused(8, with_text(n, "mode", "other"), later, "mode 'other'");
}

/* V = 0.5 * 2 + 0.5 * 4 = 3, H = 0.75 * 0 + 0.25 * 16 = 4; at T = 1 the rate is R sqrt(0.25) / 0.5
 */
Test(import_training, adam)
{
    Wire n =
        with_float(with_float(step("Adam", "r,t,x,g,v,h", "y,z,w"), "alpha", 0.5f), "beta", 0.75f);
    n = with_float(n, "epsilon", 0);
    const Item *in = ITEMS(F32("r", "", 2), I64("t", "", 1), ITEM(f64, "x", "", 10),
                           ITEM(f64, "g", "", 4), ITEM(f64, "v", "", 2), ITEM(f64, "h", "", 0));
    expect_node(8, n, in,
                ITEMS(ITEM(f64, "y", "", 7), ITEM(f64, "z", "", 3), ITEM(f64, "w", "", 4)));
    expect_node(8, with_float(n, "norm_coefficient_post", 0.5f), in,
                ITEMS(ITEM(f64, "y", "", 3.5), ITEM(f64, "z", "", 3), ITEM(f64, "w", "", 4)));
    expect_refused(
        8, step("Adam", "r,t,x,g,v", "y"),
        ITEMS(F32("r", "", 2), I64("t", "", 1), F32("x", "", 1), F32("g", "", 1), F32("v", "", 1)),
        "5 inputs");
}
