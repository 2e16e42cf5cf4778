/* ai.onnx.ml: columns of features, linear models, support vectors, by hand. */
#include "import_case.h"

TestSuite(import_ml, .init = wire_init, .fini = wire_finish);

static Wire ml(const char *op, const char *inputs, const char *outputs)
{
    return in_domain("ai.onnx.ml", node(op, inputs, outputs));
}

Test(import_ml, columns)
{
    Wire scaler = with_numbers(ml("Scaler", "x", "y"), "offset", FLOATS(1, 2));
    expect_node(17, with_numbers(scaler, "scale", FLOATS(10)),
                ITEMS(ITEM(i64, "x", "2,2", 1, 2, 3, 5)), ITEMS(F32("y", "2,2", 0, 0, 20, 30)));
    expect_refused(17, scaler, ITEMS(F32("x", "1,3", 1, 2, 3)), "2 numbers in 'offset'");
    const Item *in = ITEMS(F32("x", "2,2", 3, -4, 0, 0));
    expect_node(17, with_text(ml("Normalizer", "x", "y"), "norm", "L2"), in,
                ITEMS(F32("y", "2,2", 0.6, -0.8, 0, 0)));
    expect_node(17, with_text(ml("Normalizer", "x", "y"), "norm", "MAX"), in,
                ITEMS(F32("y", "2,2", 0.75, -1, 0, 0)));
    expect_node(17, with_text(ml("Normalizer", "x", "y"), "norm", "L1"),
                ITEMS(F32("x", "2", 1, -3)), ITEMS(F32("y", "2", 0.25, -0.75)));
    expect_node(17, with_float(ml("Binarizer", "x", "y"), "threshold", 3),
                ITEMS(ITEM(i32, "x", "3", 2, 3, 4)), ITEMS(ITEM(i32, "y", "3", 0, 0, 1)));
    expect_refused(17, with_text(ml("Normalizer", "x", "y"), "norm", "L3"), in, "norm 'L3'");
}

Test(import_ml, imputer)
{
    Wire n = with_numbers(ml("Imputer", "x", "y"), "imputed_value_floats", FLOATS(7, 8));
    expect_node(17, with_float(n, "replaced_value_float", NAN),
                ITEMS(F32("x", "2,2", 1, NAN, NAN, 0)), ITEMS(F32("y", "2,2", 1, 8, 7, 0)));
    Wire ints = with_ints(ml("Imputer", "x", "y"), "imputed_value_int64s", "9");
    expect_node(17, with_int(ints, "replaced_value_int64", -1), ITEMS(I64("x", "3", -1, 0, 1)),
                ITEMS(I64("y", "3", 9, 0, 1)));
    expect_refused(17, ml("Imputer", "x", "y"), ITEMS(F32("x", "1", 0)), "missing");
}

Test(import_ml, extraction_and_encoding)
{
    expect_node(17, ml("ArrayFeatureExtractor", "x,i", "y"),
                ITEMS(F32("x", "2,3", 1, 2, 3, 4, 5, 6), I64("i", "1,2", 2, 0)),
                ITEMS(F32("y", "2,2", 3, 1, 6, 4)));
    expect_node(17, ml("ArrayFeatureExtractor", "x,i", "y"),
                ITEMS(F32("x", "3", 1, 2, 3), I64("i", "1", 1)), ITEMS(F32("y", "1,1", 2)));
    expect_node(17, with_ints(ml("FeatureVectorizer", "a,b", "y"), "inputdimensions", "1,2"),
                ITEMS(ITEM(i32, "a", "2,2", 1, 2, 3, 4), ITEM(i32, "b", "2,1", 5, 6)),
                ITEMS(F32("y", "2,3", 1, 5, 0, 3, 6, 0)));
    expect_node(17, with_ints(ml("OneHotEncoder", "x", "y"), "cats_int64s", "4,7"),
                ITEMS(F32("x", "3", 7, 5, 4)), ITEMS(F32("y", "3,2", 0, 1, 0, 0, 1, 0)));
}

Test(import_ml, linear_models)
{
    Wire n = with_numbers(ml("LinearRegressor", "x", "y"), "coefficients", FLOATS(1, 2, 3, 4));
    n = with_numbers(with_int(n, "targets", 2), "intercepts", FLOATS(10, 20));
    expect_node(17, n, ITEMS(F32("x", "2,2", 1, 1, 0, 1)), ITEMS(F32("y", "2,2", 13, 27, 12, 24)));
    Wire two = with_numbers(ml("LinearClassifier", "x", "y,z"), "coefficients", FLOATS(1, 2));
    two = with_numbers(with_ints(two, "classlabels_ints", "3,9"), "intercepts", FLOATS(0));
    expect_node(17, two, ITEMS(F32("x", "2,2", 1, 1, -1, -1)),
                ITEMS(I64("y", "2", 9, 3), F32("z", "2,2", -3, 3, 3, -3)));
    expect_node(17, with_text(two, "post_transform", "SOFTMAX"), ITEMS(ITEM(f64, "x", "1,2", 0, 0)),
                ITEMS(I64("y", "1", 3), F32("z", "1,2", 0.5, 0.5)));
    expect_refused(17, with_int(n, "targets", 3), ITEMS(F32("x", "1,2", 1, 1)), "LinearRegressor");
}

/* exp(-0.5 |x - v|^2) with v = 0 and 2; then a line */
Test(import_ml, support_vector_regression)
{
    Wire n = with_numbers(ml("SVMRegressor", "x", "y"), "coefficients", FLOATS(1, 10));
    n = with_numbers(with_numbers(n, "support_vectors", FLOATS(0, 2)), "rho", FLOATS(5));
    n = with_numbers(with_int(n, "n_supports", 2), "kernel_params", FLOATS(0.5f, 0, 0));
    expect_node(17, with_text(n, "kernel_type", "RBF"), ITEMS(F32("x", "1,1", 0)),
                ITEMS(F32("y", "1,1", 6 + 10 * 0.1353352832366127)));
    Wire line = with_numbers(ml("SVMRegressor", "x", "y"), "coefficients", FLOATS(1, 10));
    line = with_numbers(line, "rho", FLOATS(-5));
    expect_node(17, with_int(line, "one_class", 1), ITEMS(F32("x", "2,2", 0, 1, 5, 0)),
                ITEMS(F32("y", "2,1", 1, -1)));
    expect_refused(17, with_text(n, "kernel_type", "OTHER"), ITEMS(F32("x", "1,1", 0)),
                   "kernel_type 'OTHER'");
}

/* One vector per class, a line for each pair: decisions x - 0.5, x and 0.5 - x, votes as they say.
 */
Test(import_ml, support_vector_classes)
{
    Wire n = with_numbers(ml("SVMClassifier", "x", "y,z"), "support_vectors", FLOATS(1, 0, -1));
    /* coefficients [2, 3]: row j - 1 of class i's vectors, row i of class j's */
    n = with_numbers(n, "coefficients", FLOATS(1, 0, 0, 1, 0, 1));
    n = with_numbers(n, "rho", FLOATS(-0.5f, 0, 0.5f));
    n = with_ints(with_ints(n, "vectors_per_class", "1,1,1"), "classlabels_ints", "10,20,30");
    /* pair (0, 1): x; (0, 2): x + 0 * -x; (1, 2): -x, each with its rho */
    expect_node(17, n, ITEMS(F32("x", "2,1", 1, -1)),
                ITEMS(I64("y", "2", 10, 20), F32("z", "2,3", 0.5, 1, -0.5, -1.5, -1, 1.5)));
    expect_refused(17, with_numbers(n, "prob_a", FLOATS(1)), ITEMS(F32("x", "1,1", 1)), "prob_b");
}
