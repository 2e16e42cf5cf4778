/* Casts to narrow floats, and bits read as another type. */
#include "import_case.h"

TestSuite(import_cast, .init = wire_init, .fini = wire_finish);

static Wire cast(int to, int saturate, const char *round)
{
    Wire n = with_int(with_int(node("Cast", "x", "y"), "to", to), "saturate", saturate);
    return with_text(n, "round_mode", round);
}

/* 57344 is the largest number; 61440 lies between it and the next and rounds away. */
Test(import_cast, e5m2)
{
    const Item *in = ITEMS(F32("x", "7", 1.5, 57344, 61439, 61440, -1e9, INFINITY, NAN));
    expect_node(
        24, cast(DT_f8e5m2, 0, "up"), in,
        ITEMS(ITEM(f8e5m2, "y", "7", 1.5, 57344, 57344, INFINITY, -INFINITY, INFINITY, NAN)));
    expect_node(24, cast(DT_f8e5m2, 1, "up"), ITEMS(ITEM(i32, "x", "2", 100000, -3)),
                ITEMS(ITEM(f8e5m2, "y", "2", 57344, -3)));
    expect_node(24, cast(DT_f8e5m2, 0, "up"), ITEMS(ITEM(i32, "x", "2", 100000, -3)),
                ITEMS(ITEM(f8e5m2, "y", "2", INFINITY, -3)));
}

Test(import_cast, other_float8)
{
    const Item *in = ITEMS(F32("x", "4", 448, 464, 465, -1e9));
    expect_node(24, cast(DT_f8e4m3, 0, "up"), in,
                ITEMS(ITEM(f8e4m3, "y", "4", 448, 448, NAN, NAN)));
    expect_node(24, cast(DT_f8e4m3fnuz, 0, "up"), ITEMS(F32("x", "3", 240, 247, 248)),
                ITEMS(ITEM(f8e4m3fnuz, "y", "3", 240, 240, NAN)));
}

/* Powers of two; 1.5 is a tie. */
Test(import_cast, e8m0)
{
    const Item *in = ITEMS(F32("x", "5", 1, 1.25, 1.5, 1.75, 3e38));
    expect_node(24, cast(DT_e8m0, 1, "up"), in, ITEMS(ITEM(e8m0, "y", "5", 1, 2, 2, 2, 0x1p127)));
    expect_node(24, cast(DT_e8m0, 1, "down"), in, ITEMS(ITEM(e8m0, "y", "5", 1, 1, 1, 1, 0x1p127)));
    expect_node(24, cast(DT_e8m0, 1, "nearest"), in,
                ITEMS(ITEM(e8m0, "y", "5", 1, 1, 2, 2, 0x1p127)));
    expect_node(24, cast(DT_e8m0, 0, "nearest"), in, ITEMS(ITEM(e8m0, "y", "5", 1, 1, 2, 2, NAN)));
    expect_node(24, cast(DT_e8m0, 0, "up"), in, ITEMS(ITEM(e8m0, "y", "5", 1, 2, 2, 2, NAN)));
    expect_refused(24, cast(DT_e8m0, 1, "odd"), in, "round_mode 'odd'");
}

static Wire bits(int to)
{
    return with_int(node("BitCast", "x", "y"), "to", to);
}

Test(import_cast, bits)
{
    expect_node(26, bits(DT_i32), ITEMS(F32("x", "3", 1, -2, 0)),
                ITEMS(ITEM(i32, "y", "3", 0x3F800000, -0x40000000, 0)));
    expect_node(26, bits(DT_f16), ITEMS(ITEM(u16, "x", "2,1", 0x3C00, 0xFC00)),
                ITEMS(ITEM(f16, "y", "2,1", 1, -INFINITY)));
    expect_node(26, bits(DT_bf16), ITEMS(ITEM(i16, "x", "1", 0x4049)),
                ITEMS(ITEM(bf16, "y", "1", 3.140625)));
    expect_node(26, bits(DT_f64), ITEMS(I64("x", "", 0x4000000000000000)),
                ITEMS(ITEM(f64, "y", "", 2)));
    expect_node(26, bits(DT_u8), ITEMS(ITEM(bool, "x", "2", 1, 0)),
                ITEMS(ITEM(u8, "y", "2", 1, 0)));
    expect_node(26, bits(DT_u8), ITEMS(ITEM(i8, "x", "1", -1)), ITEMS(ITEM(u8, "y", "1", 255)));
    expect_node(26, bits(DT_u32), ITEMS(W32("x", "1", 1)), ITEMS(ITEM(u32, "y", "1", 0x3F800000)));
    expect_refused(26, bits(DT_i64), ITEMS(F32("x", "1", 1)), "another size");
    expect_refused(26, bits(99), ITEMS(F32("x", "1", 1)), "no element type 99");
}

/* Bits of what a kernel computes, computed with, and turned back: -|x + 1| */
Test(import_cast, bits_between_other_nodes)
{
    Wire there = with_int(node("BitCast", "a", "b"), "to", DT_u32);
    Wire back = with_int(node("BitCast", "c", "y"), "to", DT_f32);
    expect_nodes(
        26, NODES(node("Add", "x,one", "a"), there, node("BitwiseOr", "b,sign", "c"), back),
        ITEMS(F32("x", "3", 1, -5, 0), W32("one", "", 1), ITEM(u32, "sign", "", 0x80000000)),
        ITEMS(F32("y", "3", -2, -4, -1)));
}
