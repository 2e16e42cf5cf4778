/* Gradient, of small graphs with derivatives known in closed form. */
#include "import_case.h"

TestSuite(import_gradient, .init = wire_init, .fini = wire_finish);

/* Gradient of y with respect to a and b. */
static Wire gradient(const char *inputs, const char *outputs, const char *of)
{
    Wire n = in_domain("ai.onnx.preview.training", node("Gradient", inputs, outputs)),
         xs = attr("xs", 8);
    put_list(&xs, 9, inputs);
    put_wire(&n, 5, xs);
    return with_text(n, "y", of);
}

/* d = (a + b) a: 2 a + b and a; b is one number, so its derivative is a sum */
Test(import_gradient, products_and_broadcasts)
{
    expect_nodes(
        12, NODES(node("Add", "a,b", "c"), node("Mul", "c,a", "d"), gradient("a,b", "x,y", "d")),
        ITEMS(F32("a", "2", 1, 2), F32("b", "1", 10)),
        ITEMS(F32("x", "2", 12, 14), F32("y", "1", 3)));
}

/* The sum of exp(a b): b exp(a b) and a exp(a b), at a = 0; unused variables have 0 */
Test(import_gradient, functions)
{
    Wire sum = with_int(node("ReduceSum", "e", "s"), "keepdims", 0);
    expect_nodes(
        11,
        NODES(node("Mul", "a,b", "c"), node("Exp", "c", "e"), sum, gradient("a,b,u", "x,y,z", "s")),
        ITEMS(F32("a", "2", 0, 0), F32("b", "2", 3, 4), F32("u", "1", 7)),
        ITEMS(F32("x", "2", 3, 4), F32("y", "2", 0, 0), F32("z", "1", 0)));
    expect_nodes(13, NODES(node("Tanh", "a", "c"), gradient("a", "x", "c")),
                 ITEMS(F32("a", "1", 0)), ITEMS(F32("x", "1", 1)));
}

/* y = a' b: columns of ones times b' and a */
Test(import_gradient, matrices)
{
    expect_nodes(
        13,
        NODES(node("Transpose", "a", "t"), node("MatMul", "t,b", "c"), gradient("a,b", "x,y", "c")),
        ITEMS(F32("a", "2,1", 1, 2), F32("b", "2,2", 3, 4, 5, 6)),
        ITEMS(F32("x", "2,1", 7, 11), F32("y", "2,2", 1, 1, 2, 2)));
}

/* With respect to what another node gives, and of a gradient: (a^3)'' = 6 a */
Test(import_gradient, between_and_twice)
{
    expect_nodes(13, NODES(node("Neg", "a", "b"), node("Mul", "b,b", "c"), gradient("b", "x", "c")),
                 ITEMS(F32("a", "1", 5)), ITEMS(F32("x", "1", -10)));
    expect_nodes(13,
                 NODES(node("Mul", "a,a", "b"), node("Mul", "b,a", "c"), gradient("a", "d", "c"),
                       gradient("a", "x", "d")),
                 ITEMS(F32("a", "1", 5)), ITEMS(F32("x", "1", 30)));
}

Test(import_gradient, refused)
{
    expect_refused(13, gradient("x", "y", "none"), ITEMS(F32("x", "1", 5)), "no tensor 'none'");
}
