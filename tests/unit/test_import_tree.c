/* Importers of ensembles of trees, run by the interpreter. */
#include <stdio.h>

#include "import_case.h"

TestSuite(import_tree, .init = wire_init, .fini = wire_finish);

static Wire with_tensor(Wire n, const char *name, int dtype, const void *data, size_t count)
{
    char dims[20];
    snprintf(dims, sizeof dims, "%zu", count);
    Wire a = attr(name, 4), t = tensor(NULL, dtype, dims);
    put_bytes(&t, 9, data, count * (dtype == DT_u8 ? 1 : 4));
    put_wire(&a, 5, t);
    put_wire(&n, 5, a);
    return n;
}

static Wire ml_model(Wire n, const Item *in, const Item *out)
{
    Wire g = {0}, m = {0};
    put_text(&n, 7, "ai.onnx.ml");
    put_text(&g, 2, "g");
    for (; in->name; in++)
        put_wire(&g, 11, info(in->name, (int)in->dtype, in->types ? in->types : in->dims));
    put_wire(&g, 1, n);
    for (; out->name; out++)
        put_wire(&g, 12, info(out->name, (int)out->dtype, out->dims));
    put_int(&m, 1, 8);
    put_wire(&m, 8, opset("ai.onnx.ml", 5));
    put_wire(&m, 8, opset("", 17));
    put_wire(&m, 7, g);
    return m;
}

static Cx *run(Wire n, const Item *in, const Item *out)
{
    static Cx cx;
    Case c = {ml_model(n, in, out), in, out, NULL};
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, case_body, &c);
    return &cx;
}

static void expect(Wire n, const Item *in, const Item *out)
{
    Cx *cx = run(n, in, out);
    cr_assert(cx->status == ST_ok, "%s", cx->message);
    cx_finish(cx);
}

static void refuse(Wire n, const Item *in, const char *text)
{
    Cx *cx = run(n, in, ITEMS(F32("y", "1", 0)));
    cr_assert(cx->status != ST_ok, "wanted '%s'", text);
    cr_expect(strstr(cx->message, text), "'%s' is not in: %s", text, cx->message);
    cx_finish(cx);
}

/* Tree 0: x0 <= 1 ? leaf 1 : (x1 < 2 ? leaf 3 : leaf 4). Tree 7: one leaf. */
static Wire nodes(const char *op, const char *outputs, const char *modes, const char *yes)
{
    Wire n = node(op, "x", outputs);
    n = with_ints(n, "nodes_treeids", "0,0,0,0,0,7");
    n = with_ints(n, "nodes_nodeids", "0,1,2,3,4,0");
    n = with_ints(n, "nodes_featureids", "0,0,1,0,0,0");
    n = with_texts(n, "nodes_modes", modes);
    n = with_ints(n, "nodes_truenodeids", yes);
    n = with_ints(n, "nodes_falsenodeids", "2,0,4,0,0,0");
    n = with_ints(n, "nodes_missing_value_tracks_true", "0,0,1,0,0,0");
    return with_numbers(n, "nodes_values", FLOATS(1, 0, 2, 0, 0, 0));
}

static Wire plain(const char *op, const char *outputs)
{
    return nodes(op, outputs, "BRANCH_LEQ,LEAF,BRANCH_LT,LEAF,LEAF,LEAF", "1,0,3,0,0,0");
}

static Wire votes(Wire n)
{
    n = with_ints(n, "target_treeids", "0,0,0,7");
    n = with_ints(n, "target_nodeids", "1,3,4,0");
    n = with_ints(n, "target_ids", "0,0,0,0");
    return with_numbers(n, "target_weights", FLOATS(10, 20, 30, 1));
}

#define ROWS F32("x", "5,2", 1, 0, 2, 1, 2, 2, NAN, 5, 3, NAN)

Test(import_tree, regressor)
{
    Wire n = votes(plain("TreeEnsembleRegressor", "y"));
    expect(n, ITEMS(ROWS), ITEMS(F32("y", "5,1", 11, 21, 31, 31, 21)));
    expect(with_text(n, "aggregate_function", "AVERAGE"), ITEMS(ROWS),
           ITEMS(F32("y", "5,1", 5.5, 10.5, 15.5, 15.5, 10.5)));
    expect(with_text(n, "aggregate_function", "MIN"), ITEMS(ROWS),
           ITEMS(F32("y", "5,1", 1, 1, 1, 1, 1)));
    n = with_text(n, "aggregate_function", "MAX");
    expect(with_numbers(n, "base_values", FLOATS(100)), ITEMS(ROWS),
           ITEMS(F32("y", "5,1", 110, 120, 130, 130, 120)));
}

Test(import_tree, every_comparison)
{
    static const char *const modes[] = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                        "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};
    static const double want[][4] = {{10, 10, 20, 20}, {10, 20, 20, 20}, {20, 10, 10, 20},
                                     {20, 20, 10, 20}, {20, 10, 20, 20}, {10, 20, 10, 10}};
    for (int i = 0; i < 6; i++) {
        char text[100];
        snprintf(text, sizeof text, "%s,LEAF,LEAF", modes[i]);
        Wire n = node("TreeEnsembleRegressor", "x", "y");
        n = with_ints(n, "nodes_treeids", "0,0,0");
        n = with_ints(n, "nodes_nodeids", "0,1,2");
        n = with_ints(n, "nodes_featureids", "0,0,0");
        n = with_texts(n, "nodes_modes", text);
        n = with_ints(n, "nodes_truenodeids", "1,0,0");
        n = with_ints(n, "nodes_falsenodeids", "2,0,0");
        n = with_numbers(n, "nodes_values", FLOATS(1, 0, 0));
        n = with_ints(n, "target_treeids", "0,0");
        n = with_ints(n, "target_nodeids", "1,2");
        n = with_ints(n, "target_ids", "0,0");
        n = with_numbers(n, "target_weights", FLOATS(10, 20));
        Item y = {"y", DT_f32, "4,1", want[i], false, NULL};
        expect(n, ITEMS(F32("x", "4,1", 0, 1, 2, NAN)),
               (const Item[]){y, {NULL, DT_none, NULL, NULL, false, NULL}});
    }
}

/* Two classes of which one gets votes; labels of the larger score. */
Test(import_tree, classifier)
{
    Wire n = plain("TreeEnsembleClassifier", "l,y");
    n = with_ints(n, "class_treeids", "0,0,0,7");
    n = with_ints(n, "class_nodeids", "1,3,4,0");
    n = with_ints(n, "class_ids", "0,0,0,0");
    n = with_ints(n, "classlabels_int64s", "5,6");
    expect(with_numbers(n, "class_weights", FLOATS(0.125, 0.25, 0.5, 0.25)), ITEMS(ROWS),
           ITEMS(I64("l", "5", 5, 5, 6, 6, 5),
                 F32("y", "5,2", 0.625, 0.375, 0.5, 0.5, 0.25, 0.75, 0.25, 0.75, 0.5, 0.5)));
    expect(with_numbers(n, "class_weights", FLOATS(-1, 2, 0.5, 0.25)), ITEMS(ROWS),
           ITEMS(I64("l", "5", 5, 6, 6, 6, 6),
                 F32("y", "5,2", 0.75, -0.75, -2.25, 2.25, -0.75, 0.75, -0.75, 0.75, -2.25, 2.25)));
    n = with_numbers(n, "class_weights", FLOATS(-1, 2, 0.5, 0.25));
    expect(with_numbers(n, "base_values", FLOATS(-2)), ITEMS(ROWS),
           ITEMS(I64("l", "5", 5, 6, 5, 5, 6),
                 F32("y", "5,2", 2.75, -2.75, -0.25, 0.25, 1.25, -1.25, 1.25, -1.25, -0.25, 0.25)));
}

/* Nodes: 0 is x0 in {1, 3}, 1 is x1 <= 0. Leaves 0 and 1 for target 0, leaf 2 for target 1. */
static Wire five(const char *yes, const float *members, size_t count)
{
    static const uint8_t modes[] = {6, 0};
    static const float splits[] = {0, 0}, weights[] = {10, 20, 30};
    Wire n = node("TreeEnsemble", "x", "y");
    n = with_ints(n, "nodes_featureids", "0,1");
    n = with_ints(n, "nodes_trueleafs", "1,1");
    n = with_ints(n, "nodes_falseleafs", "0,1");
    n = with_ints(n, "nodes_truenodeids", yes);
    n = with_ints(n, "nodes_falsenodeids", "1,2");
    n = with_ints(n, "tree_roots", "0");
    n = with_ints(n, "leaf_targetids", "0,0,1");
    n = with_int(n, "n_targets", 2);
    n = with_tensor(n, "nodes_modes", DT_u8, modes, 2);
    n = with_tensor(n, "nodes_splits", DT_f32, splits, 2);
    n = with_tensor(n, "leaf_weights", DT_f32, weights, 3);
    return with_tensor(n, "membership_values", DT_f32, members, count);
}

Test(import_tree, sets)
{
    static const float members[] = {1, 3, NAN};
    expect(five("0,1", members, 3), ITEMS(F32("x", "4,2", 1, 5, 3, 5, 2, 0, 2, 1)),
           ITEMS(F32("y", "4,2", 10, 0, 10, 0, 20, 0, 0, 30)));
}

Test(import_tree, refuses)
{
    static const float none[] = {NAN};
    const Item *in = ITEMS(ROWS);
    refuse(five("0,1", none, 1), in, "node 0 tests membership in no set");
    refuse(five("0,3", (const float[]){1, NAN}, 2), in, "node 1 leads to leaf 3");
    Wire n = votes(nodes("TreeEnsembleRegressor", "y", "BRANCH_LEQ,LEAF,BRANCH_LT,LEAF,LEAF,LEAF",
                         "1,0,2,0,0,0"));
    refuse(n, in, "a tree has a cycle"); /* node 2 leads to itself */
    n = votes(nodes("TreeEnsembleRegressor", "y", "BRANCH_LEQ,LEAF,BRANCH_LT,BRANCH_LT,LEAF,LEAF",
                    "1,0,3,2,0,0"));
    refuse(n, in, "tree 0 has a cycle");
    n = votes(nodes("TreeEnsembleRegressor", "y", "BRANCH_LEQ,LEAF,BRANCH_LT,LEAF,LEAF,LEAF",
                    "1,0,9,0,0,0"));
    refuse(n, in, "tree 0 has no node 9");
    n = votes(nodes("TreeEnsembleRegressor", "y", "BRANCH_LEQ,LEAF,BRANCH,LEAF,LEAF,LEAF",
                    "1,0,3,0,0,0"));
    refuse(n, in, "mode 'BRANCH'");
    n = with_ints(votes(plain("TreeEnsembleRegressor", "y")), "n_targets", "1");
    refuse(n, in, "n_targets");
}
