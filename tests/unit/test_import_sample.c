/* GridSample: positions, taps and paddings worked out by hand. Points of a grid are x first. */
#include "import_case.h"

TestSuite(import_sample, .init = wire_init, .fini = wire_finish);

static Wire sample(const char *mode, const char *padding, int corners)
{
    Wire n = with_text(node("GridSample", "x,g", "y"), "mode", mode);
    return with_int(with_text(n, "padding_mode", padding), "align_corners", corners);
}

#define IMAGE F32("x", "1,1,2,2", 1, 2, 3, 4)

Test(import_sample, linear_paddings)
{
    /* the centre; then 1.5 pixels left of the first column, in the middle of the rows */
    const Item *in = ITEMS(IMAGE, F32("g", "1,1,2,2", 0, 0, -2, 0));
    expect_node(16, sample("bilinear", "zeros", 0), in, ITEMS(F32("y", "1,1,1,2", 2.5, 0)));
    expect_node(20, sample("linear", "border", 0), in, ITEMS(F32("y", "1,1,1,2", 2.5, 2)));
    expect_node(20, sample("linear", "reflection", 0), in, ITEMS(F32("y", "1,1,1,2", 2.5, 2.5)));
    /* corners: position -0.5, half of column 0; reflected to 0.5 */
    expect_node(20, sample("linear", "zeros", 1), in, ITEMS(F32("y", "1,1,1,2", 2.5, 1)));
    expect_node(20, sample("linear", "reflection", 1), in, ITEMS(F32("y", "1,1,1,2", 2.5, 2.5)));
}

/* Halves round to even: -0.5 is pixel 0, 0.5 too, 1.5 is pixel 2, which is outside. */
Test(import_sample, nearest)
{
    const Item *in = ITEMS(IMAGE, F32("g", "1,1,3,2", -1, -1, 0, -1, 1, -1));
    expect_node(20, sample("nearest", "zeros", 0), in, ITEMS(F32("y", "1,1,1,3", 1, 1, 0)));
    expect_node(20, sample("nearest", "border", 0), in, ITEMS(F32("y", "1,1,1,3", 1, 1, 2)));
    const Item *whole = ITEMS(ITEM(i8, "x", "1,1,2,2", 1, 2, 3, -4), F32("g", "1,1,1,2", 0.5, 0.9));
    expect_node(20, sample("nearest", "zeros", 0), whole, ITEMS(ITEM(i8, "y", "1,1,1,1", -4)));
}

/* Keys' weights at t = 0.5 are -3/32, 19/32, 19/32, -3/32. */
Test(import_sample, cubic_of_a_line)
{
    const Item *in = ITEMS(F32("x", "1,1,3", 1, 2, 4), F32("g", "1,2,1", 0, 1.0 / 3));
    expect_node(20, sample("cubic", "zeros", 0), in, ITEMS(F32("y", "1,1,2", 2, 3.46875)));
    expect_node(20, sample("cubic", "border", 0), in, ITEMS(F32("y", "1,1,2", 2, 3.09375)));
    /* the tap behind the last pixel is the last one again without corners, the one before with */
    expect_node(20, sample("cubic", "reflection", 0), in, ITEMS(F32("y", "1,1,2", 2, 3.09375)));
    const Item *corners = ITEMS(F32("x", "1,1,3", 1, 2, 4), F32("g", "1,1,1", 0.5));
    expect_node(20, sample("cubic", "reflection", 1), corners, ITEMS(F32("y", "1,1,1", 3.28125)));
}

Test(import_sample, volume_in_half)
{
    const Item *in =
        ITEMS(ITEM(f16, "x", "1,2,1,1,2", 1, 3, 10, 30), F32("g", "1,1,1,1,3", 0, 0, 0));
    expect_node(20, sample("linear", "zeros", 0), in, ITEMS(ITEM(f16, "y", "1,2,1,1,1", 2, 20)));
}

/* One pixel reflects to itself; no batch gives nothing; what is no number harms nobody. */
Test(import_sample, edges)
{
    const Item *one = ITEMS(F32("x", "1,1,1", 7), F32("g", "1,2,1", 5, -3.25));
    expect_node(20, sample("linear", "reflection", 1), one, ITEMS(F32("y", "1,1,2", 7, 7)));
    expect_node(20, sample("linear", "zeros", 0),
                ITEMS(F32("x", "0,1,2,2", 0), F32("g", "0,1,1,2", 0)),
                ITEMS(F32("y", "0,1,1,1", 0)));
    const Item *odd = ITEMS(F32("x", "1,1,2", 5, 5), F32("g", "1,3,1", NAN, INFINITY, -INFINITY));
    expect_node(20, sample("nearest", "border", 0), odd, ITEMS(F32("y", "1,1,3", 5, 5, 5)));
    expect_node(20, sample("nearest", "reflection", 0), odd, ITEMS(F32("y", "1,1,3", 5, 5, 5)));
}

Test(import_sample, open_sizes)
{
    const Item *in =
        ITEMS(OPEN("x", "2,1,2", "N,1,W", 1, 2, 3, 5), OPEN("g", "2,1,1", "N,P,1", 0, 0));
    expect_sized(20, sample("linear", "zeros", 0), in, ITEMS(F32("y", "2,1,1", 1.5, 4)),
                 (const int64_t[]){2, 2, 1});
}

Test(import_sample, refused)
{
    const Item *in = ITEMS(IMAGE, F32("g", "1,1,1,3", 0, 0, 0));
    expect_refused(20, sample("linear", "zeros", 0), in, "a grid of");
    const Item *good = ITEMS(IMAGE, F32("g", "1,1,1,2", 0, 0));
    expect_refused(20, sample("some", "zeros", 0), good, "none of ONNX's");
}
