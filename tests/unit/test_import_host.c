/* Operators of the host and moves of strings, as models of one node, through the public interface.
 */
#include "host_model.h"

TestSuite(import_host, .init = wire_init, .fini = wire_finish);

/* ---- strings are moved as numbers are */

#define X TEXTS("2,3", "a", "bb", "", "d", "e", "f")
#define Y TEXTS("1,3", "x", "y", "z")

Test(import_host, gather)
{
    Wire n = with_int(node("Gather", "a,b", "p"), "axis", 1);
    const Value *want = LIST(TEXTS("2,2", "", "a", "f", "d"));
    expect(n, LIST(X, NUMBERS(i64, "2", -1, 0)), want);
    expect(n, LIST(fixed(X), NUMBERS(i64, "2", -1, 0)), want);
    expect(n, LIST(X, fixed(NUMBERS(i64, "2", -1, 0))), want);
}

Test(import_host, several_operands)
{
    expect(with_int(node("Concat", "a,b,a", "p"), "axis", 0), LIST(X, Y),
           LIST(TEXTS("5,3", "a", "bb", "", "d", "e", "f", "x", "y", "z", "a", "bb", "", "d", "e",
                      "f")));
    expect(node("Where", "a,b,c", "p"), LIST(NUMBERS(bool, "1,3", 1, 0, 1), X, fixed(Y)),
           LIST(TEXTS("2,3", "a", "y", "", "d", "y", "f")));
    expect(with_int(node("ScatterElements", "a,b,c", "p"), "axis", 1),
           LIST(X, NUMBERS(i64, "1,2", 1, 0), TEXTS("1,2", "new", "old")),
           LIST(TEXTS("2,3", "old", "new", "", "d", "e", "f")));
}

Test(import_host, views)
{
    expect(with_ints(node("Transpose", "a", "p"), "perm", "1,0"), LIST(X),
           LIST(TEXTS("3,2", "a", "d", "bb", "e", "", "f")));
    expect(node("Reshape", "a,b", "p"), LIST(X, fixed(NUMBERS(i64, "2", -1, 2))),
           LIST(TEXTS("3,2", "a", "bb", "", "d", "e", "f")));
    expect(node("Identity", "a", "p"), LIST(X), LIST(X));
    expect(node("Tile", "a,b", "p"), LIST(Y, fixed(NUMBERS(i64, "2", 2, 1))),
           LIST(TEXTS("2,3", "x", "y", "z", "x", "y", "z")));
}

Test(import_host, several_results)
{
    expect(with_int(node("Split", "a,b", "p,q"), "axis", 1),
           LIST(X, fixed(NUMBERS(i64, "2", 1, 2))),
           LIST(TEXTS("2,1", "a", "d"), TEXTS("2,2", "bb", "", "e", "f")));
}

Test(import_host, constants)
{
    expect(with_texts(node("Constant", "", "p"), "value_strings", "one,two"),
           LIST(fixed(NUMBERS(i64, "1", 0))), LIST(TEXTS("2", "one", "two")));
}

Test(import_host, equal_and_concat)
{
    expect(node("Equal", "a,b", "p"), LIST(X, TEXTS("3", "a", "e", "")),
           LIST(NUMBERS(bool, "2,3", 1, 0, 1, 0, 1, 0)));
    expect(node("StringConcat", "a,b", "p"), LIST(X, TEXTS("3", "1", "2", "3")),
           LIST(TEXTS("2,3", "a1", "bb2", "3", "d1", "e2", "f3")));
}

Test(import_host, casts)
{
    expect(with_int(node("Cast", "a", "p"), "to", 8), LIST(NUMBERS(f32, "3", 1, 0.1f, NAN)),
           LIST(TEXTS("3", "1.0", "0.1", "NaN")));
    expect(with_int(node("Cast", "a", "p"), "to", 7), LIST(TEXTS("2", "15", " -2 ")),
           LIST(NUMBERS(i64, "2", 15, -2)));
}

/* ---- sizes that only a run tells */

Test(import_host, unique)
{
    expect(node("Unique", "a", "p,q,r,s"), LIST(TEXTS("5", "b", "a", "b", "c", "a")),
           LIST(TEXTS("3", "a", "b", "c"), NUMBERS(i64, "3", 1, 0, 3),
                NUMBERS(i64, "5", 1, 0, 1, 2, 0), NUMBERS(i64, "3", 2, 2, 1)));
    expect(with_int(with_int(node("Unique", "a", "p,,q"), "axis", -1), "sorted", 0),
           LIST(NUMBERS(f32, "2,3", 2, 1, 2, 5, 5, 5)),
           LIST(NUMBERS(f32, "2,2", 2, 1, 5, 5), NUMBERS(i64, "3", 0, 1, 0)));
}

Test(import_host, compress)
{
    Wire n = node("Compress", "a,b", "p");
    expect(with_int(n, "axis", 1), LIST(X, NUMBERS(bool, "2", 0, 1)),
           LIST(TEXTS("2,1", "bb", "e")));
    expect(n, LIST(NUMBERS(f16, "2,2", 1, 2, 3, 4), NUMBERS(bool, "4", 1, 0, 0, 1)),
           LIST(NUMBERS(f16, "2", 1, 4)));
    expect(n, LIST(NUMBERS(i8, "3", 1, 2, 3), NUMBERS(bool, "3", 0, 0, 0)),
           LIST(NUMBERS(i8, "0", 0)));
}

Test(import_host, topk)
{
    Wire n = node("TopK", "a,b", "p,q");
    const Value x = NUMBERS(f32, "2,3", 1, 3, 3, 0, -1, NAN), k = NUMBERS(i64, "1", 2);
    const Value *want = LIST(NUMBERS(f32, "2,2", 3, 3, NAN, 0), NUMBERS(i64, "2,2", 1, 2, 2, 0));
    expect(n, LIST(x, k), want);
    expect(n, LIST(x, fixed(k)), want);
    expect_in("", 1, with_int(node("TopK", "a", "p,q"), "k", 2), LIST(x), want);
    expect(with_int(with_int(n, "axis", 0), "largest", 0), LIST(x, fixed(NUMBERS(i64, "1", 1))),
           LIST(NUMBERS(f32, "1,3", 0, -1, 3), NUMBERS(i64, "1,3", 1, 1, 0)));
}

/* ---- maps and n-grams */

Test(import_host, labels)
{
    Wire n = node("LabelEncoder", "a", "p");
    Wire names = with_texts(with_texts(n, "keys_strings", "a,b,a"), "values_strings", "A,B,C");
    expect_in("ai.onnx.ml", 4, names, LIST(TEXTS("3", "a", "z", "b")),
              LIST(TEXTS("3", "C", "_Unused", "B")));
    Wire numbers = with_ints(with_texts(n, "keys_strings", "a,b"), "values_int64s", "5,6");
    expect_in("ai.onnx.ml", 2, numbers, LIST(TEXTS("2,1", "b", "?")),
              LIST(NUMBERS(i64, "2,1", 6, -1)));
    Wire classes = with_texts(n, "classes_strings", "a,b");
    expect_in("ai.onnx.ml", 1, classes, LIST(TEXTS("2", "b", "?")), LIST(NUMBERS(i64, "2", 1, -1)));
    expect_in("ai.onnx.ml", 1, classes, LIST(NUMBERS(i64, "2", 1, 9)),
              LIST(TEXTS("2", "b", "_Unused")));
}

Test(import_host, categories)
{
    Wire n = node("CategoryMapper", "a", "p");
    n = with_ints(with_texts(n, "cats_strings", "a,b"), "cats_int64s", "5,6");
    expect_in("ai.onnx.ml", 1, n, LIST(TEXTS("2", "b", "?")), LIST(NUMBERS(i64, "2", 6, -1)));
    expect_in("ai.onnx.ml", 1, n, LIST(NUMBERS(i64, "2", 5, 9)), LIST(TEXTS("2", "a", "_Unused")));
}

/* Decisions of 0: even odds for the only pair, and a vote for the second. */
Test(import_host, support_vector_probabilities)
{
    Wire n = node("SVMClassifier", "a", "p,q"), rho = attr("rho", 6);
    static const char *const lists[] = {"coefficients", "support_vectors", "prob_a", "prob_b"};
    static const float values[4][2] = {{40, -40}, {1, 1}, {-1, 0}, {0, 0}};
    for (int i = 0; i < 4; i++) {
        Wire a = attr(lists[i], 6);
        for (int k = 0; k < (i < 2 ? 2 : 1); k++)
            put_float(&a, 7, values[i][k]);
        put_wire(&n, 5, a);
    }
    put_float(&rho, 7, 0);
    put_wire(&n, 5, rho);
    n = with_ints(with_ints(n, "vectors_per_class", "1,1"), "classlabels_ints", "10,20");
    expect_in("ai.onnx.ml", 1, n, LIST(NUMBERS(f32, "2,1", 0, 3)),
              LIST(NUMBERS(i64, "2", 20, 20), NUMBERS(f32, "2,2", 0.5, 0.5, 0.5, 0.5)));
}

/* Strings, and numbers that must be listed. */
Test(import_host, one_hot_encoder)
{
    Wire n = with_texts(node("OneHotEncoder", "a", "p"), "cats_strings", "x,y");
    expect_in("ai.onnx.ml", 1, n, LIST(TEXTS("3", "y", "z", "x")),
              LIST(NUMBERS(f32, "3,2", 0, 1, 0, 0, 1, 0)));
    n = with_int(with_ints(node("OneHotEncoder", "a", "p"), "cats_int64s", "4,-7,9"), "zeros", 0);
    expect_in("ai.onnx.ml", 1, n, LIST(NUMBERS(f32, "2,1", -7, 4)),
              LIST(NUMBERS(f32, "2,1,3", 0, 1, 0, 1, 0, 0)));
}

Test(import_host, array_feature_extractor)
{
    expect_in("ai.onnx.ml", 1, node("ArrayFeatureExtractor", "a,b", "p"),
              LIST(TEXTS("3", "x", "y", "z"), NUMBERS(i64, "1,2", 2, 0)),
              LIST(TEXTS("1,2", "z", "x")));
}
