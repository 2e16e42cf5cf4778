/* DFT, STFT, windows and the mel filter bank, against values known in closed form. */
#include "import_case.h"

#include <stdio.h>

TestSuite(import_signal, .init = wire_init, .fini = wire_finish);

Test(import_signal, four)
{
    const Item *in = ITEMS(F32("x", "1,4,1", 1, 2, 3, 4));
    expect_node(20, node("DFT", "x", "y"), in,
                ITEMS(F32("y", "1,4,2", 10, 0, -2, 2, -2, 0, -2, -2)));
    expect_node(17, with_int(node("DFT", "x", "y"), "onesided", 1), in,
                ITEMS(F32("y", "1,3,2", 10, 0, -2, 2, -2, 0)));
    const Item *back = ITEMS(F32("x", "1,4,2", 10, 0, -2, 2, -2, 0, -2, -2));
    expect_node(20, with_int(node("DFT", "x", "y"), "inverse", 1), back,
                ITEMS(F32("y", "1,4,2", 1, 0, 2, 0, 3, 0, 4, 0)));
    Wire real = with_int(with_int(node("DFT", "x", "y"), "inverse", 1), "onesided", 1);
    expect_node(20, real, ITEMS(F32("x", "1,3,2", 10, 0, -2, 2, -2, 0)),
                ITEMS(F32("y", "1,4,1", 1, 2, 3, 4)));
}

/* An axis in front, a length that cuts off and one that adds zeros. */
Test(import_signal, axis_and_length)
{
    Wire n = node("DFT", "x,l,a", "y");
    expect_node(20, n, ITEMS(F32("x", "2,2,1", 1, 2, 3, 5), W64("l", "", 2), W64("a", "", 0)),
                ITEMS(F32("y", "2,2,2", 4, 0, 7, 0, -2, 0, -3, 0)));
    expect_node(20, n, ITEMS(F32("x", "1,3,1", 1, 2, 9), W64("l", "", 2), W64("a", "", -2)),
                ITEMS(F32("y", "1,2,2", 3, 0, -1, 0)));
    expect_node(20, n, ITEMS(F32("x", "1,1,2", 1, 2), W64("l", "", 2), W64("a", "", 1)),
                ITEMS(F32("y", "1,2,2", 1, 2, 1, 2)));
    expect_node(17, with_int(node("DFT", "x", "y"), "axis", 0),
                ITEMS(ITEM(f16, "x", "1,2,1", 1, 2)), ITEMS(ITEM(f16, "y", "1,2,2", 1, 0, 2, 0)));
    expect_node(20, node("DFT", "x", "y"), ITEMS(F32("x", "0,2,1", 0)),
                ITEMS(F32("y", "0,2,2", 0)));
}

/* An impulse at 1 gives the roots of unity, whatever the way the length is split: one product, two
 * factors, many, a prime, a long prime. */
Test(import_signal, lengths)
{
    static const int lengths[] = {1, 2, 7, 8, 9, 12, 31, 64, 90, 257};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int n = lengths[i];
        static double x[257], y[2 * 257];
        static char in_dims[32], out_dims[32];
        snprintf(in_dims, sizeof in_dims, "1,%d,1", n);
        snprintf(out_dims, sizeof out_dims, "1,%d,2", n);
        for (int k = 0; k < n; k++) {
            x[k] = k == 1 % n;
            y[2 * k] = cos(2 * 3.14159265358979323846 * k / n);
            y[2 * k + 1] = 2 * k % n ? -sin(2 * 3.14159265358979323846 * k / n) : 0;
        }
        Item in[] = {{"x", DT_f32, in_dims, x, false, NULL},
                     {NULL, DT_none, NULL, NULL, false, NULL}};
        Item out[] = {{"y", DT_f32, out_dims, y, false, NULL},
                      {NULL, DT_none, NULL, NULL, false, NULL}};
        expect_node(20, node("DFT", "x", "y"), in, out);
    }
}

Test(import_signal, open_length)
{
    expect_sized(20, node("DFT", "x", "y"), ITEMS(OPEN("x", "1,4,1", "1,N,1", 1, 2, 3, 4)),
                 ITEMS(F32("y", "1,4,2", 10, 0, -2, 2, -2, 0, -2, -2)), (const int64_t[]){4});
}

/* Whether there are imaginary parts is known in the run only. */
Test(import_signal, open_parts)
{
    Wire n = node("DFT", "x", "y");
    expect_sized(20, n, ITEMS(OPEN("x", "1,4,1", "1,4,P", 1, 2, 3, 4)),
                 ITEMS(F32("y", "1,4,2", 10, 0, -2, 2, -2, 0, -2, -2)), (const int64_t[]){1});
    expect_sized(20, n, ITEMS(OPEN("x", "1,2,2", "1,2,P", 1, 2, 3, 4)),
                 ITEMS(F32("y", "1,2,2", 4, 6, -2, -2)), (const int64_t[]){2});
}

Test(import_signal, dft_refused)
{
    const Item *in = ITEMS(F32("x", "1,4,3", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    expect_refused(20, node("DFT", "x", "y"), in, "real and imaginary");
    expect_refused(20, node("DFT", "x,l", "y"), ITEMS(F32("x", "1,1,1", 0), W64("l", "", 0)),
                   "length 0");
    expect_refused(20, node("DFT", "x,l", "y"), ITEMS(F32("x", "1,1,1", 0), I64("l", "", 2)),
                   "must be known");
    expect_refused(20, node("DFT", "x,,a", "y"), ITEMS(F32("x", "1,1,1", 0), W64("a", "", 2)),
                   "lists real and imaginary");
}

Test(import_signal, stft)
{
    const Item *in = ITEMS(F32("x", "1,4,1", 1, 2, 4, 8), W64("s", "", 1), W64("l", "", 2));
    expect_node(17, node("STFT", "x,s,,l", "y"), in,
                ITEMS(F32("y", "1,3,2,2", 3, 0, -1, 0, 6, 0, -2, 0, 12, 0, -4, 0)));
    Wire both = with_int(node("STFT", "x,s,w", "y"), "onesided", 0);
    expect_node(17, both,
                ITEMS(F32("x", "1,4,1", 1, 2, 4, 8), W64("s", "", 2), F32("w", "2", 1, 10)),
                ITEMS(F32("y", "1,2,2,2", 21, 0, -19, 0, 84, 0, -76, 0)));
    expect_sized(17, node("STFT", "x,s,,l", "y"),
                 ITEMS(OPEN("x", "1,4,1", "1,N,1", 1, 2, 4, 8), W64("s", "", 2), W64("l", "", 2)),
                 ITEMS(F32("y", "1,2,2,2", 3, 0, -1, 0, 12, 0, -4, 0)), (const int64_t[]){4});
    expect_refused(17, node("STFT", "x,s,,l", "y"),
                   ITEMS(F32("x", "1,1,1", 1), W64("s", "", 1), W64("l", "", 2)), "longer than");
    expect_refused(17, node("STFT", "x,s,,l", "y"),
                   ITEMS(F32("x", "1,2,1", 1, 2), W64("s", "", 0), W64("l", "", 2)), "above 0");
}

Test(import_signal, windows)
{
    expect_node(17, node("HannWindow", "n", "y"), ITEMS(W64("n", "", 4)),
                ITEMS(F32("y", "4", 0, 0.5, 1, 0.5)));
    expect_node(17, with_int(node("HannWindow", "n", "y"), "periodic", 0), ITEMS(W64("n", "", 3)),
                ITEMS(F32("y", "3", 0, 1, 0)));
    expect_node(17, with_int(node("HammingWindow", "n", "y"), "output_datatype", DT_f64),
                ITEMS(W64("n", "", 2)), ITEMS(ITEM(f64, "y", "2", 2.0 / 23, 1)));
    expect_node(17, with_int(node("BlackmanWindow", "n", "y"), "output_datatype", DT_f16),
                ITEMS(W64("n", "", 4)),
                ITEMS(ITEM(f16, "y", "4", 0, 0.340087890625, 1, 0.340087890625)));
    expect_node(17, node("HannWindow", "n", "y"), ITEMS(W64("n", "", 0)), ITEMS(F32("y", "0", 0)));
    expect_refused(17, node("HannWindow", "n", "y"), ITEMS(W64("n", "", -1)), "-1 elements");
    expect_refused(17, node("HannWindow", "n", "y"), ITEMS(I64("n", "", 4)), "must be known");
}

/* Edges at 0, 1.33 and 2.67 Hz or so lie in bins floor(5 f / 8) = 0, 0, 1. */
Test(import_signal, mel)
{
    Wire n = node("MelWeightMatrix", "b,n,r,lo,hi", "y");
    expect_node(17, n,
                ITEMS(W64("b", "", 1), W64("n", "", 4), W64("r", "", 8), W32("lo", "", 0),
                      W32("hi", "", 4)),
                ITEMS(F32("y", "3,1", 1, 0, 0)));
    expect_refused(17, n,
                   ITEMS(W64("b", "", 1), W64("n", "", 4), W64("r", "", 0), W32("lo", "", 0),
                         W32("hi", "", 4)),
                   "bands over");
}
