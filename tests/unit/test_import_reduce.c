/* Importers of reductions, cumulative sums, softmax and normalisations: one node at a time, run by
 * the interpreter, against values computed by hand. */
#include "import_case.h"

TestSuite(import_reduce, .init = wire_init, .fini = wire_finish);

#define SIX F32("x", "2,3", 1, 2, 3, 4, 5, 6)

static Wire reduce(const char *op, const char *axes)
{
    return with_ints(node(op, "x", "y"), "axes", axes);
}

static Wire flat(Wire n)
{
    return with_int(n, "keepdims", 0);
}

Test(import_reduce, axes)
{
    expect_node(11, reduce("ReduceSum", "1"), ITEMS(SIX), ITEMS(F32("y", "2,1", 6, 15)));
    expect_node(11, flat(reduce("ReduceSum", "-2")), ITEMS(SIX), ITEMS(F32("y", "3", 5, 7, 9)));
    expect_node(13, flat(node("ReduceSum", "x,a", "y")), ITEMS(SIX, W64("a", "1", 1)),
                ITEMS(F32("y", "2", 6, 15)));
    expect_node(11, flat(node("ReduceSum", "x", "y")), ITEMS(SIX), ITEMS(F32("y", "", 21)));
    expect_refused(11, reduce("ReduceSum", "2"), ITEMS(SIX), "axis 2");
    expect_refused(11, reduce("ReduceSum", "0,-2"), ITEMS(SIX), "axes must differ");
}

/* Without axes nothing is reduced on request; what else an operator does is done. */
Test(import_reduce, no_axes)
{
    Wire n = with_int(node("ReduceSum", "x", "y"), "noop_with_empty_axes", 1);
    expect_node(13, n, ITEMS(SIX), ITEMS(F32("y", "2,3", 1, 2, 3, 4, 5, 6)));
    n = with_int(node("ReduceSumSquare", "x", "y"), "noop_with_empty_axes", 1);
    expect_node(18, n, ITEMS(SIX), ITEMS(F32("y", "2,3", 1, 4, 9, 16, 25, 36)));
    n = with_int(node("ReduceL1", "x,a", "y"), "noop_with_empty_axes", 0);
    expect_node(18, n, ITEMS(SIX, {"a", DT_i64, "0", NULL, true, NULL}),
                ITEMS(F32("y", "1,1", 21)));
}

Test(import_reduce, kinds)
{
    const Item *in = ITEMS(F32("x", "2,2", -3, 4, 1, -1));
    expect_node(18, flat(node("ReduceL1", "x", "y")), in, ITEMS(F32("y", "", 9)));
    expect_node(11, flat(reduce("ReduceL2", "1")), in, ITEMS(F32("y", "2", 5, sqrt(2))));
    expect_node(11, flat(reduce("ReduceSumSquare", "1")), in, ITEMS(F32("y", "2", 25, 2)));
    expect_node(11, flat(reduce("ReduceProd", "0")), in, ITEMS(F32("y", "2", -3, -4)));
    expect_node(11, flat(reduce("ReduceMin", "0")), in, ITEMS(F32("y", "2", -3, -1)));
    expect_node(11, flat(reduce("ReduceMean", "0")), in, ITEMS(F32("y", "2", -1, 1.5)));
    expect_node(11, flat(reduce("ReduceLogSum", "0")), ITEMS(F32("x", "2,1", 1, 3)),
                ITEMS(F32("y", "1", log(4))));
}

Test(import_reduce, types)
{
    expect_node(13, flat(reduce("ReduceMean", "0")), ITEMS(ITEM(i32, "x", "2,2", 1, -3, 2, 0)),
                ITEMS(ITEM(i32, "y", "2", 1, -1)));
    expect_node(20, flat(node("ReduceMax", "x", "y")), ITEMS(ITEM(bool, "x", "3", 0, 1, 0)),
                ITEMS(ITEM(bool, "y", "", 1)));
    expect_node(20, flat(node("ReduceMin", "x", "y")), ITEMS(ITEM(bool, "x", "3", 1, 1, 0)),
                ITEMS(ITEM(bool, "y", "", 0)));
    expect_node(13, flat(node("ReduceMax", "x", "y")), ITEMS(ITEM(i8, "x", "3", -7, -3, -128)),
                ITEMS(ITEM(i8, "y", "", -3)));
    expect_node(13, flat(node("ReduceL2", "x", "y")), ITEMS(ITEM(i32, "x", "2", 3, 4)),
                ITEMS(ITEM(i32, "y", "", 5)));
    /* squares that float16 cannot hold, a mean that it can */
    expect_node(13, flat(node("ReduceL2", "x", "y")), ITEMS(ITEM(f16, "x", "2", 300, 400)),
                ITEMS(ITEM(f16, "y", "", 500)));
}

/* The extreme of nothing is the weakest number of the type, also of a narrow one. */
Test(import_reduce, extremes_of_nothing)
{
    const struct {
        Dtype dtype;
        double least, most;
    } cases[] = {{DT_i8, -128, 127},
                 {DT_u8, 0, 255},
                 {DT_i16, -32768, 32767},
                 {DT_u16, 0, 65535},
                 {DT_i32, INT32_MIN, INT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double least[] = {cases[i].least, cases[i].least};
        const double most[] = {cases[i].most, cases[i].most};
        const Item none = {"x", cases[i].dtype, "2,0", NULL, false, NULL};
        expect_node(13, flat(reduce("ReduceMax", "1")), ITEMS(none),
                    ITEMS(((Item){"y", cases[i].dtype, "2", least, false, NULL})));
        expect_node(13, flat(reduce("ReduceMin", "1")), ITEMS(none),
                    ITEMS(((Item){"y", cases[i].dtype, "2", most, false, NULL})));
    }
    Wire pool = with_ints(node("MaxPool", "x", "y"), "kernel_shape", "2");
    pool = with_ints(with_ints(pool, "dilations", "2"), "pads", "1,1");
    expect_node(12, pool, ITEMS(ITEM(i8, "x", "1,1,1", 5)), ITEMS(ITEM(i8, "y", "1,1,1", -128)));
}

Test(import_reduce, empty_sets)
{
    const Item none = {"x", DT_f32, "2,0", NULL, false, NULL};
    expect_node(13, flat(reduce("ReduceProd", "1")), ITEMS(none), ITEMS(F32("y", "2", 1, 1)));
    expect_node(11, flat(reduce("ReduceMax", "1")), ITEMS(none),
                ITEMS(F32("y", "2", -INFINITY, -INFINITY)));
    expect_node(11, flat(reduce("ReduceMin", "1")), ITEMS(none),
                ITEMS(F32("y", "2", INFINITY, INFINITY)));
    expect_node(11, flat(reduce("ReduceMean", "1")), ITEMS(none), ITEMS(F32("y", "2", NAN, NAN)));
    expect_node(11, flat(reduce("ReduceLogSumExp", "1")), ITEMS(none),
                ITEMS(F32("y", "2", -INFINITY, -INFINITY)));
}

Test(import_reduce, log_sum_exp_does_not_overflow)
{
    expect_node(11, flat(reduce("ReduceLogSumExp", "1")),
                ITEMS(F32("x", "4,2", 1000, 1000, -1000, -1000, -INFINITY, -INFINITY, INFINITY, 0)),
                ITEMS(F32("y", "4", 1000 + log(2), -1000 + log(2), -INFINITY, INFINITY)));
}

Test(import_reduce, positions)
{
    const Item *in = ITEMS(F32("x", "2,3", 1, 3, 3, 2, 2, 5));
    Wire n = with_int(node("ArgMax", "x", "y"), "axis", 1);
    expect_node(13, n, in, ITEMS(I64("y", "2,1", 1, 2)));
    expect_node(13, with_int(n, "select_last_index", 1), in, ITEMS(I64("y", "2,1", 2, 2)));
    n = flat(with_int(node("ArgMin", "x", "y"), "axis", -1));
    expect_node(13, n, in, ITEMS(I64("y", "2", 0, 0)));
    expect_node(13, flat(node("ArgMin", "x", "y")), in, ITEMS(I64("y", "3", 0, 1, 0)));
}

Test(import_reduce, cumulative)
{
    const Item *in = ITEMS(F32("x", "3", 2, 3, 5), W64("a", "", 0));
#define CUM(op) node(op, "x,a", "y")
    expect_node(14, CUM("CumSum"), in, ITEMS(F32("y", "3", 2, 5, 10)));
    expect_node(14, with_int(CUM("CumSum"), "exclusive", 1), in, ITEMS(F32("y", "3", 0, 2, 5)));
    expect_node(14, with_int(CUM("CumSum"), "reverse", 1), in, ITEMS(F32("y", "3", 10, 8, 5)));
    Wire both = with_int(with_int(CUM("CumProd"), "reverse", 1), "exclusive", 1);
    expect_node(26, both, in, ITEMS(F32("y", "3", 15, 5, 1)));
    expect_node(14, CUM("CumSum"), ITEMS(SIX, W64("a", "1", -1)),
                ITEMS(F32("y", "2,3", 1, 3, 6, 4, 9, 15)));
}

/* Before opset 13 everything from `axis` on is one row. */
Test(import_reduce, softmax)
{
    double e = exp(1), a = 1 / (1 + e), b = e / (1 + e);
    const Item *in = ITEMS(F32("x", "1,2,2", 0, 1, 0, 1));
    expect_node(13, node("Softmax", "x", "y"), in, ITEMS(F32("y", "1,2,2", a, b, a, b)));
    expect_node(11, node("Softmax", "x", "y"), in,
                ITEMS(F32("y", "1,2,2", a / 2, b / 2, a / 2, b / 2)));
    expect_node(13, with_int(node("Softmax", "x", "y"), "axis", 1), in,
                ITEMS(F32("y", "1,2,2", 0.5, 0.5, 0.5, 0.5)));
    expect_node(13, node("LogSoftmax", "x", "y"), ITEMS(F32("x", "1,2", 1000, 1001)),
                ITEMS(F32("y", "1,2", log(a), log(b))));
    expect_node(13, node("Hardmax", "x", "y"), ITEMS(F32("x", "2,2", 3, 3, 1, 2)),
                ITEMS(F32("y", "2,2", 1, 0, 0, 1)));
    expect_node(11, node("Hardmax", "x", "y"), in, ITEMS(F32("y", "1,2,2", 0, 1, 0, 0)));
}

Test(import_reduce, layer_norm)
{
    Wire n = with_float(node("LayerNormalization", "x,s,b", "y,m,d"), "epsilon", 0);
    expect_node(
        17, n, ITEMS(F32("x", "2,2", 1, 3, 10, 2), W32("s", "2", 1, 2), W32("b", "2", 0, 5)),
        ITEMS(F32("y", "2,2", -1, 7, 1, 3), F32("m", "2,1", 2, 6), F32("d", "2,1", 1, 0.25)));
    n = with_int(with_float(node("LayerNormalization", "x,s", "y"), "epsilon", 0), "axis", 0);
    expect_node(17, n, ITEMS(F32("x", "2,1", 1, 3), W32("s", "2,1", 1, 3)),
                ITEMS(F32("y", "2,1", -1, 3)));
    /* statistics are float32 whatever the operands are */
    n = with_float(node("LayerNormalization", "x,s", "y,m"), "epsilon", 0);
    expect_node(17, n, ITEMS(ITEM(f64, "x", "1,2", 1, 3), ITEM(f64, "s", "2", 1, 1)),
                ITEMS(ITEM(f64, "y", "1,2", -1, 1), F32("m", "1,1", 2)));
}

Test(import_reduce, rms_norm)
{
    Wire n = with_float(node("RMSNormalization", "x,s", "y"), "epsilon", 0);
    expect_node(23, n, ITEMS(F32("x", "1,4", 2, -2, 2, 2), W32("s", "4", 1, 1, 3, 1)),
                ITEMS(F32("y", "1,4", 1, -1, 3, 1)));
}

/* Scales belong to groups in opset 18, to channels from 21 on. */
Test(import_reduce, group_norm)
{
    Wire n = with_int(with_float(node("GroupNormalization", "x,s,b", "y"), "epsilon", 0),
                      "num_groups", 2);
    const Item x = F32("x", "1,4,1", 1, 3, 6, 2);
    expect_node(18, n, ITEMS(x, W32("s", "2", 1, 2), W32("b", "2", 0, 5)),
                ITEMS(F32("y", "1,4,1", -1, 1, 7, 3)));
    expect_node(21, n, ITEMS(x, W32("s", "4", 1, 2, 3, 4), W32("b", "4", 0, 0, 0, 5)),
                ITEMS(F32("y", "1,4,1", -1, 2, 3, 1)));
    expect_refused(21, with_int(node("GroupNormalization", "x,s,b", "y"), "num_groups", 3),
                   ITEMS(x, W32("s", "4", 1, 2, 3, 4), W32("b", "4", 0, 0, 0, 5)), "3 groups");
}

Test(import_reduce, instance_norm)
{
    Wire n = with_float(node("InstanceNormalization", "x,s,b", "y"), "epsilon", 0);
    expect_node(6, n,
                ITEMS(F32("x", "1,2,2", 1, 3, 6, 2), W32("s", "2", 1, 2), W32("b", "2", 0, 5)),
                ITEMS(F32("y", "1,2,2", -1, 1, 7, 3)));
}

#define BATCH_NORM(outputs)                                                                        \
    with_float(node("BatchNormalization", "x,s,b,m,v", outputs), "epsilon", 1)

Test(import_reduce, batch_norm)
{
    const Item *in = ITEMS(F32("x", "1,2,2", 1, 3, 6, 2), W32("s", "2", 2, 4), W32("b", "2", 0, 5),
                           W32("m", "2", 1, 2), W32("v", "2", 3, 0));
    expect_node(15, BATCH_NORM("y"), in, ITEMS(F32("y", "1,2,2", 0, 2, 21, 5)));
    expect_node(9, BATCH_NORM("y"), in, ITEMS(F32("y", "1,2,2", 0, 2, 21, 5)));
    expect_refused(9, BATCH_NORM("y,p,q"), in, "inference");
    expect_refused(6, BATCH_NORM("y"), in, "inference");
    expect_node(6, with_int(BATCH_NORM("y"), "is_test", 1), in,
                ITEMS(F32("y", "1,2,2", 0, 2, 21, 5)));
}

/* Parameters may be of a wider type than the image. */
Test(import_reduce, batch_norm_types)
{
    expect_node(15, BATCH_NORM("y"),
                ITEMS(ITEM(f16, "x", "1,1,2", 1, 3), W32("s", "1", 2), W32("b", "1", 0),
                      W32("m", "1", 1), W32("v", "1", 3)),
                ITEMS(ITEM(f16, "y", "1,1,2", 0, 2)));
    expect_node(15, BATCH_NORM("y"),
                ITEMS(F32("x", "1,1,2", 1, 3), W32("s", "1", 2), W32("b", "1", 0),
                      ITEM(f64, "m", "1", 1), ITEM(f64, "v", "1", 3)),
                ITEMS(F32("y", "1,1,2", 0, 2)));
}

Test(import_reduce, batch_norm_training)
{
    Wire n = with_int(with_float(node("BatchNormalization", "x,s,b,m,v", "y,p,q"), "epsilon", 3),
                      "training_mode", 1);
    expect_node(14, with_float(n, "momentum", 0.5f),
                ITEMS(F32("x", "2,1,1", 1, 3), W32("s", "1", 2), W32("b", "1", 1), W32("m", "1", 4),
                      W32("v", "1", 5)),
                ITEMS(F32("y", "2,1,1", 0, 2), F32("p", "1", 3), F32("q", "1", 3)));
}

/* Three channels: squares 1, 4, 9, summed over the neighbours that are there. */
Test(import_reduce, lrn)
{
    Wire n = with_int(with_float(node("LRN", "x", "y"), "alpha", 3), "size", 3);
    n = with_float(with_float(n, "beta", 1), "bias", 1);
    expect_node(13, n, ITEMS(F32("x", "1,3,1,1", 1, 2, 3)),
                ITEMS(F32("y", "1,3,1,1", 1.0 / 6, 2.0 / 15, 3.0 / 14)));
    n = with_int(with_float(node("LRN", "x", "y"), "alpha", 2), "size", 2);
    n = with_float(n, "beta", 1); /* of an even number, one more behind */
    expect_node(13, n, ITEMS(F32("x", "1,3,1,1", 1, 2, 3)),
                ITEMS(F32("y", "1,3,1,1", 1.0 / 6, 2.0 / 14, 3.0 / 10)));
}

Test(import_reduce, lp_norm)
{
    const Item *in = ITEMS(F32("x", "2,2", 3, -4, 0, 0));
    expect_node(22, node("LpNormalization", "x", "y"), in, ITEMS(F32("y", "2,2", 0.6, -0.8, 0, 0)));
    expect_node(22, with_int(node("LpNormalization", "x", "y"), "p", 1), in,
                ITEMS(F32("y", "2,2", 3.0 / 7, -4.0 / 7, 0, 0)));
}

Test(import_reduce, mean_variance)
{
    expect_node(13, with_ints(node("MeanVarianceNormalization", "x", "y"), "axes", "1"),
                ITEMS(F32("x", "2,2", 1, 3, 10, 2)), ITEMS(F32("y", "2,2", -1, 1, 1, -1)));
}
