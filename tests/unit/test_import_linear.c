/* Importers of matrix products, convolutions, pooling and Einsum: one node at a time, run by the
 * interpreter, against values computed by hand. */
#include "import_case.h"

TestSuite(import_linear, .init = wire_init, .fini = wire_finish);

Test(import_linear, matmul_of_lists)
{
    Wire n = node("MatMul", "a,b", "y");
    expect_node(13, n, ITEMS(F32("a", "2", 1, 2), F32("b", "2", 3, 4)), ITEMS(F32("y", "", 11)));
    expect_node(13, n, ITEMS(F32("a", "2", 1, 2), F32("b", "2,2", 1, 2, 3, 4)),
                ITEMS(F32("y", "2", 7, 10)));
    expect_node(13, n, ITEMS(F32("a", "2,2", 1, 2, 3, 4), F32("b", "2", 1, 1)),
                ITEMS(F32("y", "2", 3, 7)));
    expect_node(13, n, ITEMS(F32("a", "2,1,2", 1, 2, 3, 4), F32("b", "2,1", 1, 10)),
                ITEMS(F32("y", "2,1,1", 21, 43)));
    expect_refused(13, n, ITEMS(F32("a", "", 1), F32("b", "2", 1, 1)), "(MatMul)");
    expect_refused(13, n, ITEMS(F32("a", "3", 1, 1, 1), F32("b", "2", 1, 1)), "do not agree");
}

Test(import_linear, gemm)
{
    Wire n = with_int(with_int(node("Gemm", "a,b,c", "y"), "transA", 1), "transB", 1);
    n = with_float(with_float(n, "alpha", 2), "beta", 0.5f);
    expect_node(13, n,
                ITEMS(F32("a", "2,1", 1, 2), F32("b", "2,2", 3, 4, 5, 6), F32("c", "2", 10, 20)),
                ITEMS(F32("y", "1,2", 27, 44)));
    expect_node(11, node("Gemm", "a,b", "y"), ITEMS(F32("a", "1,1", 3), F32("b", "1,1", 5)),
                ITEMS(F32("y", "1,1", 15)));
    expect_node(11, with_float(node("Gemm", "a,b,c", "y"), "beta", 0),
                ITEMS(F32("a", "1,1", 3), F32("b", "1,1", 5), F32("c", "1", NAN)),
                ITEMS(F32("y", "1,1", 15)));
    expect_refused(13, node("Gemm", "a,b", "y"), ITEMS(F32("a", "1", 3), F32("b", "1,1", 5)),
                   "two matrices");
}

/* Before opset 7 the third operand broadcasts only on request. */
Test(import_linear, gemm_of_opset_6)
{
    Wire n = node("Gemm", "a,b,c", "y");
    const Item *in = ITEMS(F32("a", "2,1", 1, 2), F32("b", "1,2", 3, 4), F32("c", "2", 10, 20));
    expect_node(7, n, in, ITEMS(F32("y", "2,2", 13, 24, 16, 28)));
    expect_node(6, with_int(n, "broadcast", 1), in, ITEMS(F32("y", "2,2", 13, 24, 16, 28)));
    expect_refused(6, node("Gemm", "a,b,c", "y"), in, "does not fit");
}

Test(import_linear, gemm_of_integers)
{
    Wire n = with_float(node("Gemm", "a,b", "y"), "alpha", 0.5f);
    expect_node(13, n, ITEMS(ITEM(i32, "a", "1,1", 3), ITEM(i32, "b", "1,1", 5)),
                ITEMS(ITEM(i32, "y", "1,1", 7)));
}

#define NINE 1, 2, 3, 4, 5, 6, 7, 8, 9

Test(import_linear, conv_padding)
{
    const Item *in = ITEMS(F32("x", "1,1,3,3", NINE), W32("w", "1,1,2,2", 1, 1, 1, 1));
    expect_node(11, node("Conv", "x,w", "y"), in, ITEMS(F32("y", "1,1,2,2", 12, 16, 24, 28)));
    expect_node(11, with_text(node("Conv", "x,w", "y"), "auto_pad", "SAME_UPPER"), in,
                ITEMS(F32("y", "1,1,3,3", 12, 16, 9, 24, 28, 15, 15, 17, 9)));
    expect_node(11, with_text(node("Conv", "x,w", "y"), "auto_pad", "SAME_LOWER"), in,
                ITEMS(F32("y", "1,1,3,3", 1, 3, 5, 5, 12, 16, 11, 24, 28)));
    expect_node(11, with_text(node("Conv", "x,w", "y"), "auto_pad", "VALID"), in,
                ITEMS(F32("y", "1,1,2,2", 12, 16, 24, 28)));
    Wire n = with_ints(with_ints(node("Conv", "x,w", "y"), "pads", "1,0,0,0"), "strides", "2,1");
    expect_node(11, n, in, ITEMS(F32("y", "1,1,2,2", 3, 5, 24, 28)));
}

Test(import_linear, conv_groups_dilations_bias)
{
    Wire n = with_int(with_ints(node("Conv", "x,w,b", "y"), "dilations", "2"), "group", 2);
    expect_node(11, n,
                ITEMS(F32("x", "1,2,3", 1, 2, 3, 4, 5, 6), W32("w", "2,1,2", 1, 1, 1, -1),
                      W32("b", "2", 10, 20)),
                ITEMS(F32("y", "1,2,1", 14, 18)));
    expect_node(11, node("Conv", "x,w", "y"),
                ITEMS(F32("x", "1,1,2,2,2", 1, 2, 3, 4, 5, 6, 7, 8),
                      W32("w", "1,1,2,2,2", 1, 1, 1, 1, 1, 1, 1, 1)),
                ITEMS(F32("y", "1,1,1,1,1", 36)));
}

/* SAME with a stride over an open size: the padding is an expression. */
Test(import_linear, conv_of_open_size)
{
    Wire n =
        with_ints(with_text(node("Conv", "x,w", "y"), "auto_pad", "SAME_UPPER"), "strides", "2");
    expect_sized(11, n, ITEMS(OPEN("x", "1,1,5", "1,1,L", 1, 2, 3, 4, 5), W32("w", "1,1,2", 1, 1)),
                 ITEMS(F32("y", "1,1,3", 3, 7, 5)), (const int64_t[]){5});
    expect_sized(11, n, ITEMS(OPEN("x", "1,1,4", "1,1,L", 1, 2, 3, 4), W32("w", "1,1,2", 1, 1)),
                 ITEMS(F32("y", "1,1,2", 3, 7)), (const int64_t[]){4});
}

Test(import_linear, conv_refused)
{
    const Item *in = ITEMS(F32("x", "1,1,3,3", NINE), W32("w", "1,1,2,2", 1, 1, 1, 1));
    Wire n = node("Conv", "x,w", "y");
    expect_refused(11, with_ints(n, "kernel_shape", "3,3"), in, "kernel_shape");
    expect_refused(11, with_ints(node("Conv", "x,w", "y"), "strides", "1"), in, "strides");
    expect_refused(11, with_ints(node("Conv", "x,w", "y"), "strides", "0,1"), in, "stride 0");
    expect_refused(11, with_ints(node("Conv", "x,w", "y"), "pads", "1,1"), in, "pads");
    expect_refused(11, with_text(node("Conv", "x,w", "y"), "auto_pad", "SOME"), in, "auto_pad");
    expect_refused(11, with_int(node("Conv", "x,w", "y"), "group", 0), in, "groups 0");
    expect_refused(11, node("Conv", "x,w", "y"), ITEMS(F32("x", "3", 1, 2, 3), W32("w", "1", 1)),
                   "an image");
}

Test(import_linear, conv_transpose)
{
    const Item *in = ITEMS(F32("x", "1,1,2", 1, 2), W32("w", "1,1,3", 1, 1, 1));
#define TRANSPOSED with_ints(node("ConvTranspose", "x,w", "y"), "strides", "2")
    expect_node(11, TRANSPOSED, in, ITEMS(F32("y", "1,1,5", 1, 1, 3, 2, 2)));
    expect_node(11, with_ints(TRANSPOSED, "output_padding", "1"), in,
                ITEMS(F32("y", "1,1,6", 1, 1, 3, 2, 2, 0)));
    expect_node(11, with_ints(TRANSPOSED, "pads", "1,1"), in, ITEMS(F32("y", "1,1,3", 1, 3, 2)));
    expect_node(11, with_ints(TRANSPOSED, "output_shape", "4"), in,
                ITEMS(F32("y", "1,1,4", 1, 3, 2, 2)));
    expect_node(11, with_ints(TRANSPOSED, "output_shape", "7"), in,
                ITEMS(F32("y", "1,1,7", 1, 1, 3, 2, 2, 0, 0)));
    Wire upper = with_text(TRANSPOSED, "auto_pad", "SAME_UPPER");
    expect_node(11, upper, in, ITEMS(F32("y", "1,1,4", 1, 1, 3, 2)));
    Wire lower = with_text(TRANSPOSED, "auto_pad", "SAME_LOWER");
    expect_node(11, lower, in, ITEMS(F32("y", "1,1,4", 1, 3, 2, 2)));
    expect_refused(11, with_ints(TRANSPOSED, "output_shape", "4,4"), in, "output_shape");
}

Test(import_linear, conv_transpose_groups)
{
    Wire n = with_int(node("ConvTranspose", "x,w,b", "y"), "group", 2);
    expect_node(11, n,
                ITEMS(F32("x", "1,2,1", 2, 3), W32("w", "2,1,2", 1, 2, 3, 4), W32("b", "2", 0, 1)),
                ITEMS(F32("y", "1,2,2", 2, 4, 10, 13)));
}

#define POOL(op) with_ints(node(op, "x", "y"), "kernel_shape", "2")

Test(import_linear, max_pool_rounds_up)
{
    Wire n = with_int(with_ints(POOL("MaxPool"), "strides", "2"), "ceil_mode", 1);
    expect_node(12, n, ITEMS(F32("x", "1,1,5", 1, 2, 3, 4, 5)), ITEMS(F32("y", "1,1,3", 2, 4, 5)));
    expect_sized(12, n, ITEMS(OPEN("x", "1,1,5", "1,1,L", 1, 2, 3, 4, 5)),
                 ITEMS(F32("y", "1,1,3", 2, 4, 5)), (const int64_t[]){5});
    expect_node(12, with_ints(POOL("MaxPool"), "strides", "2"),
                ITEMS(F32("x", "1,1,5", -1, -2, -3, -4, -5)), ITEMS(F32("y", "1,1,2", -1, -3)));
}

/* A window that would start in the padding behind is left out. */
Test(import_linear, max_pool_windows_start_inside)
{
    Wire n = with_ints(with_ints(POOL("MaxPool"), "strides", "3"), "pads", "0,1");
    expect_node(12, with_int(n, "ceil_mode", 1), ITEMS(F32("x", "1,1,3", 1, 2, 3)),
                ITEMS(F32("y", "1,1,1", 2)));
}

Test(import_linear, max_pool_padding_is_no_value)
{
    Wire n = with_ints(POOL("MaxPool"), "pads", "1,1");
    expect_node(12, n, ITEMS(ITEM(i8, "x", "1,1,2", -5, -7)),
                ITEMS(ITEM(i8, "y", "1,1,3", -5, -5, -7)));
}

Test(import_linear, max_pool_positions)
{
    const Item *in = ITEMS(F32("x", "1,2,2,3", 1, 2, 3, 4, 9, 5, 7, 0, 0, 0, 0, 8));
    Wire n = with_ints(node("MaxPool", "x", "y,i"), "kernel_shape", "2,2");
    expect_node(12, n, in,
                ITEMS(F32("y", "1,2,1,2", 9, 9, 7, 8), I64("i", "1,2,1,2", 4, 4, 6, 11)));
    expect_node(12, with_int(n, "storage_order", 1), in,
                ITEMS(F32("y", "1,2,1,2", 9, 9, 7, 8), I64("i", "1,2,1,2", 3, 3, 6, 11)));
}

#define FIVE F32("x", "1,1,5", 1, 2, 3, 4, 5)
#define POOL3(op) with_ints(with_ints(node(op, "x", "y"), "kernel_shape", "3"), "pads", "1,1")

Test(import_linear, average_pool_padding)
{
    Wire with = with_int(POOL3("AveragePool"), "count_include_pad", 1);
    expect_node(19, POOL3("AveragePool"), ITEMS(FIVE), ITEMS(F32("y", "1,1,5", 1.5, 2, 3, 4, 4.5)));
    expect_node(19, with, ITEMS(FIVE), ITEMS(F32("y", "1,1,5", 1, 2, 3, 4, 3)));
    expect_sized(19, POOL3("AveragePool"), ITEMS(OPEN("x", "1,1,5", "1,1,L", 1, 2, 3, 4, 5)),
                 ITEMS(F32("y", "1,1,5", 1.5, 2, 3, 4, 4.5)), (const int64_t[]){5});
    expect_sized(19, with, ITEMS(OPEN("x", "1,1,5", "1,1,L", 1, 2, 3, 4, 5)),
                 ITEMS(F32("y", "1,1,5", 1, 2, 3, 4, 3)), (const int64_t[]){5});
}

/* What lies behind the padding never counts. */
Test(import_linear, average_pool_rounds_up)
{
    Wire n = with_int(with_ints(POOL3("AveragePool"), "strides", "2"), "ceil_mode", 1);
    expect_node(19, n, ITEMS(F32("x", "1,1,4", 1, 2, 3, 4)), ITEMS(F32("y", "1,1,3", 1.5, 3, 4)));
    Wire with = with_int(n, "count_include_pad", 1);
    expect_node(19, with, ITEMS(F32("x", "1,1,4", 1, 2, 3, 4)), ITEMS(F32("y", "1,1,3", 1, 3, 2)));
    expect_sized(19, with, ITEMS(OPEN("x", "1,1,4", "1,1,L", 1, 2, 3, 4)),
                 ITEMS(F32("y", "1,1,3", 1, 3, 2)), (const int64_t[]){4});
}

Test(import_linear, average_pool_two_axes)
{
    Wire n = with_ints(node("AveragePool", "x", "y"), "kernel_shape", "2,2");
    n = with_ints(n, "pads", "0,1,0,0");
    expect_node(19, n, ITEMS(F32("x", "1,1,2,2", 1, 2, 3, 4)), ITEMS(F32("y", "1,1,1,2", 2, 2.5)));
}

Test(import_linear, lp_pool)
{
    expect_node(18, POOL("LpPool"), ITEMS(F32("x", "1,1,3", 3, -4, 0)),
                ITEMS(F32("y", "1,1,2", 5, 4)));
    expect_node(18, with_int(POOL("LpPool"), "p", 1), ITEMS(F32("x", "1,1,2", 3, -4)),
                ITEMS(F32("y", "1,1,1", 7)));
    expect_node(18, with_int(POOL("LpPool"), "p", 3), ITEMS(F32("x", "1,1,2", -3, 4)),
                ITEMS(F32("y", "1,1,1", cbrt(91))));
    expect_refused(18, with_int(POOL("LpPool"), "p", 0), ITEMS(F32("x", "1,1,2", 3, 4)), "p = 0");
}

Test(import_linear, global_pools)
{
    const Item *in = ITEMS(F32("x", "1,2,2,1", 3, -4, 6, 8));
    expect_node(1, node("GlobalAveragePool", "x", "y"), in, ITEMS(F32("y", "1,2,1,1", -0.5, 7)));
    expect_node(1, node("GlobalMaxPool", "x", "y"), in, ITEMS(F32("y", "1,2,1,1", 3, 8)));
    expect_node(2, node("GlobalLpPool", "x", "y"), in, ITEMS(F32("y", "1,2,1,1", 5, 10)));
}

Test(import_linear, max_unpool)
{
    Wire n = with_ints(node("MaxUnpool", "x,i", "y"), "kernel_shape", "2");
    Wire shaped = with_ints(node("MaxUnpool", "x,i,s", "y"), "kernel_shape", "2");
    n = with_ints(n, "strides", "2");
    shaped = with_ints(shaped, "strides", "2");
    expect_node(11, n, ITEMS(F32("x", "1,2,1", 5, -6), I64("i", "1,2,1", 1, 2)),
                ITEMS(F32("y", "1,2,2", 0, 5, -6, 0)));
    expect_node(11, shaped,
                ITEMS(F32("x", "1,1,1", 5), I64("i", "1,1,1", 1), W64("s", "3", 1, 1, 3)),
                ITEMS(F32("y", "1,1,3", 0, 5, 0)));
    /* windows that overlap name a position twice */
    n = with_ints(node("MaxUnpool", "x,i", "y"), "kernel_shape", "2");
    expect_node(11, n, ITEMS(F32("x", "1,1,2", 5, 5), I64("i", "1,1,2", 1, 1)),
                ITEMS(F32("y", "1,1,3", 0, 5, 0)));
}

static void einsum(const char *equation, const Item *in, const Item *out)
{
    const char *inputs = !in[1].name ? "a" : !in[2].name ? "a,b" : "a,b,c";
    expect_node(12, with_text(node("Einsum", inputs, "y"), "equation", equation), in, out);
}

#define A4 F32("a", "2,2", 1, 2, 3, 4)
#define B4 F32("b", "2,2", 5, 6, 7, 8)

Test(import_linear, einsum_products)
{
    einsum("ij,jk->ik", ITEMS(A4, B4), ITEMS(F32("y", "2,2", 19, 22, 43, 50)));
    einsum("ij, jk", ITEMS(A4, B4), ITEMS(F32("y", "2,2", 19, 22, 43, 50)));
    einsum("ij,kj->ki", ITEMS(A4, B4), ITEMS(F32("y", "2,2", 17, 39, 23, 53)));
    einsum("ij,ij->", ITEMS(A4, B4), ITEMS(F32("y", "", 70)));
    einsum("ij,ij->ij", ITEMS(A4, B4), ITEMS(F32("y", "2,2", 5, 12, 21, 32)));
    einsum("i,j->ij", ITEMS(F32("a", "2", 1, 2), F32("b", "2", 3, 4)),
           ITEMS(F32("y", "2,2", 3, 4, 6, 8)));
    einsum("i,ij,j->", ITEMS(F32("a", "2", 1, 2), F32("b", "2,2", 1, 2, 3, 4), F32("c", "2", 5, 6)),
           ITEMS(F32("y", "", 95)));
}

Test(import_linear, einsum_of_one_operand)
{
    einsum("ij->ji", ITEMS(A4), ITEMS(F32("y", "2,2", 1, 3, 2, 4)));
    einsum("ba", ITEMS(A4), ITEMS(F32("y", "2,2", 1, 3, 2, 4)));
    einsum("ij->i", ITEMS(A4), ITEMS(F32("y", "2", 3, 7)));
    einsum("ii->i", ITEMS(A4), ITEMS(F32("y", "2", 1, 4)));
    einsum("ii", ITEMS(F32("a", "2,2", 1, INFINITY, NAN, 4)), ITEMS(F32("y", "", 5)));
}

Test(import_linear, einsum_dots)
{
    einsum("...i,...i->...", ITEMS(A4, F32("b", "2", 10, 1)), ITEMS(F32("y", "2", 12, 34)));
    einsum("...ij->...ji", ITEMS(F32("a", "1,2,2", 1, 2, 3, 4)),
           ITEMS(F32("y", "1,2,2", 1, 3, 2, 4)));
    einsum("b...,...->b...", ITEMS(A4, F32("b", "1", 3)), ITEMS(F32("y", "2,2", 3, 6, 9, 12)));
}

Test(import_linear, einsum_refused)
{
    Wire n = node("Einsum", "a,b", "y");
    const Item *in = ITEMS(A4, F32("b", "3", 1, 2, 3));
    expect_refused(12, with_text(n, "equation", "ij,k->q"), in, "label");
    expect_refused(12, with_text(node("Einsum", "a,b", "y"), "equation", "ij,j->i"), in, "agree");
    expect_refused(12, with_text(node("Einsum", "a,b", "y"), "equation", "ij->i"), in, "(Einsum)");
    expect_refused(12, with_text(node("Einsum", "a,b", "y"), "equation", "i,j->i"), in, "(Einsum)");
    expect_refused(12, with_text(node("Einsum", "a,b", "y"), "equation", "i1,j->i"), in,
                   "(Einsum)");
}

Test(import_linear, integer_products)
{
    expect_node(10, node("MatMulInteger", "a,b,p,q", "y"),
                ITEMS(ITEM(u8, "a", "2,2", 11, 7, 255, 0), ITEM(u8, "b", "2,1", 1, 2),
                      ITEM(u8, "p", "2", 12, 1), ITEM(u8, "q", "", 0)),
                ITEMS(ITEM(i32, "y", "2,1", -11, 252)));
    /* padding is the zero point */
    Wire n = with_ints(node("ConvInteger", "x,w,p", "y"), "pads", "1,0");
    expect_node(
        10, n,
        ITEMS(ITEM(u8, "x", "1,1,2", 3, 5), ITEM(u8, "w", "1,1,2", 1, 2), ITEM(u8, "p", "", 1)),
        ITEMS(ITEM(i32, "y", "1,1,2", 4, 10)));
}

/* 14 * 0.5 * 1 / 2 = 3.5 rounds to 4; 255 + 2 saturates. */
Test(import_linear, qlinear_matmul)
{
    expect_node(10, node("QLinearMatMul", "a,s,p,b,t,q,u,r", "y"),
                ITEMS(ITEM(u8, "a", "2,2", 2, 4, 255, 255), F32("s", "", 0.5), ITEM(u8, "p", "", 0),
                      ITEM(u8, "b", "2,1", 1, 3), F32("t", "1", 1), ITEM(u8, "q", "", 0),
                      F32("u", "", 2), ITEM(u8, "r", "", 2)),
                ITEMS(ITEM(u8, "y", "2,1", 6, 255)));
}

/* Per-channel scales; the bias is added before scaling. */
Test(import_linear, qlinear_conv)
{
    expect_node(10, node("QLinearConv", "x,s,p,w,t,q,u,r,b", "y"),
                ITEMS(ITEM(u8, "x", "1,1,3", 3, 4, 5), F32("s", "", 1), ITEM(u8, "p", "", 3),
                      ITEM(i8, "w", "2,1,2", 1, 1, 2, -1), F32("t", "2", 1, 0.5),
                      ITEM(i8, "q", "2", 0, 0), F32("u", "", 0.5), ITEM(u8, "r", "", 10),
                      ITEM(i32, "b", "2", 1, 0)),
                ITEMS(ITEM(u8, "y", "1,2,2", 14, 18, 9, 10)));
}
