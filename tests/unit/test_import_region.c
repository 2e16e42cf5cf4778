/* Regions, deformable convolutions, folded blocks and determinants, by hand. */
#include "import_case.h"

TestSuite(import_region, .init = wire_init, .fini = wire_finish);

#define RAMP F32("x", "1,1,4,4", 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)
#define WHOLE F32("r", "1,4", 0, 0, 4, 4)

static Wire align(const char *mode, int ratio)
{
    Wire n = with_int(node("RoiAlign", "x,r,b", "y"), "sampling_ratio", ratio);
    return with_text(with_text(n, "mode", mode), "coordinate_transformation_mode",
                     "output_half_pixel");
}

/* Points at 1 and 3; at 0.5, 1.5, 2.5 and 3.5, of which the last is the border. */
Test(import_region, roi_align_average)
{
    const Item *in = ITEMS(RAMP, WHOLE, I64("b", "1", 0));
    expect_node(16, align("avg", 2), in, ITEMS(F32("y", "1,1,1,1", 2)));
    expect_node(16, align("avg", 0), in, ITEMS(F32("y", "1,1,1,1", 1.875)));
    expect_node(10, with_int(node("RoiAlign", "x,r,b", "y"), "output_width", 2), in,
                ITEMS(F32("y", "1,1,1,2", 1, 2.75)));
    /* half_pixel: from -0.5 to 3.5, so points at 0, 1, 2, 3 */
    expect_node(16, node("RoiAlign", "x,r,b", "y"), in, ITEMS(F32("y", "1,1,1,1", 1.5)));
}

Test(import_region, roi_align_places)
{
    /* outside; smaller than a pixel; the second image, in half precision */
    const Item *in = ITEMS(RAMP, F32("r", "2,4", 90, 90, 91, 91, 1, 1, 1, 1), I64("b", "2", 0, 0));
    expect_node(16, align("avg", 0), in, ITEMS(F32("y", "2,1,1,1", 0, 1.5)));
    expect_node(16, align("avg", 1), in, ITEMS(F32("y", "2,1,1,1", 0, 1.5)));
    expect_node(16, align("max", 0), in, ITEMS(F32("y", "2,1,1,1", 0, 0.5)));
    const Item *half =
        ITEMS(ITEM(f16, "x", "2,1,1,1", 5, 7), ITEM(f16, "r", "1,4", 0, 0, 1, 1), I64("b", "1", 1));
    expect_node(16, align("avg", 0), half, ITEMS(ITEM(f16, "y", "1,1,1,1", 7)));
    expect_node(16, align("avg", 0), ITEMS(RAMP, F32("r", "0,4", 0), I64("b", "0", 0)),
                ITEMS(F32("y", "0,1,1,1", 0)));
}

/* The largest weighted neighbour: at 2 it is the pixel itself; of negative pixels 0 at weight 0. */
Test(import_region, roi_align_max)
{
    const Item *in = ITEMS(RAMP, WHOLE, I64("b", "1", 0));
    expect_node(16, align("max", 1), in, ITEMS(F32("y", "1,1,1,1", 2)));
    expect_node(16, align("max", 0), in, ITEMS(F32("y", "1,1,1,1", 3))); /* on the border */
    const Item *below =
        ITEMS(F32("x", "1,1,2,2", -8, -8, -8, -8), F32("r", "1,4", 0, 0, 1, 1), I64("b", "1", 0));
    expect_node(16, align("max", 1), below, ITEMS(F32("y", "1,1,1,1", -2)));
    expect_node(16, align("max", 0), below, ITEMS(F32("y", "1,1,1,1", -2)));
}

Test(import_region, roi_align_refused)
{
    const Item *in = ITEMS(RAMP, WHOLE, I64("b", "1", 0));
    expect_refused(16, align("some", 1), in, "none of ONNX's");
    expect_refused(16, align("avg", -1), in, "points");
    expect_refused(16, align("avg", 1), ITEMS(RAMP, F32("r", "4", 0, 0, 4, 4), I64("b", "1", 0)),
                   "regions [4]");
}

/* Corners 0.5 and 2.5 round to 1 and 3: two bins of one and a half pixels share the middle one. */
Test(import_region, max_roi_pool)
{
    Wire n = with_ints(node("MaxRoiPool", "x,r", "y"), "pooled_shape", "1,2");
    expect_node(22, n, ITEMS(RAMP, F32("r", "2,5", 0, 0.5, 0, 2.5, 3, 0, 50, 50, 60, 60)),
                ITEMS(F32("y", "2,1,1,2", 2, 3, 0, 0)));
    expect_refused(22, node("MaxRoiPool", "x,r", "y"), ITEMS(RAMP, F32("r", "1,5", 0, 0, 0, 1, 1)),
                   "pooled_shape");
}

#define SQUARE F32("x", "1,1,2,2", 1, 2, 3, 4)

Test(import_region, deform_conv)
{
    Wire n = node("DeformConv", "x,w,o", "y");
    expect_node(19, n,
                ITEMS(SQUARE, F32("w", "1,1,1,1", 10), F32("o", "1,2,2,2", 0, 0, 0, 0, 0, 0, 0, 0)),
                ITEMS(F32("y", "1,1,2,2", 10, 20, 30, 40)));
    /* half a pixel down: the last row sees half of itself; then half the mask and a bias */
    expect_node(19, node("DeformConv", "x,w,o,b,m", "y"),
                ITEMS(SQUARE, F32("w", "1,1,1,1", 10),
                      F32("o", "1,2,2,2", 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0), F32("b", "1", 100),
                      F32("m", "1,1,2,2", 1, 1, 0.5, 0.5)),
                ITEMS(F32("y", "1,1,2,2", 120, 130, 107.5, 110)));
}

/* Two groups of offsets: the first stays, the second looks one pixel to the right. */
Test(import_region, deform_conv_groups)
{
    Wire n = with_int(with_int(node("DeformConv", "x,w,o", "y"), "offset_group", 2), "group", 2);
    expect_node(19, n,
                ITEMS(ITEM(f16, "x", "1,2,2", 1, 2, 3, 4), ITEM(f16, "w", "2,1,1", 1, 10),
                      ITEM(f16, "o", "1,2,2", 0, 0, 1, 1)),
                ITEMS(ITEM(f16, "y", "1,2,2", 1, 2, 40, 0)));
    expect_refused(
        19, with_int(node("DeformConv", "x,w,o", "y"), "offset_group", 2),
        ITEMS(SQUARE, F32("w", "1,1,1,1", 10), F32("o", "1,2,2,2", 0, 0, 0, 0, 0, 0, 0, 0)),
        "groups of offsets");
}

Test(import_region, col2im_of_a_line)
{
    Wire n = node("Col2Im", "x,i,b", "y");
    const Item *two = ITEMS(F32("x", "1,2,2", 1, 2, 3, 4), W64("i", "1", 3), W64("b", "1", 2));
    expect_node(18, n, two, ITEMS(F32("y", "1,1,3", 1, 5, 4)));
    expect_node(18, with_ints(n, "pads", "1,1"),
                ITEMS(F32("x", "1,2,2", 1, 2, 3, 4), W64("i", "1", 1), W64("b", "1", 2)),
                ITEMS(F32("y", "1,1,1", 5)));
    expect_node(18, with_ints(n, "dilations", "2"),
                ITEMS(ITEM(i32, "x", "1,2,1", 1, 3), W64("i", "1", 3), W64("b", "1", 2)),
                ITEMS(ITEM(i32, "y", "1,1,3", 1, 0, 3)));
    expect_node(18, with_ints(n, "strides", "2"),
                ITEMS(F32("x", "1,1,2", 1, 3), W64("i", "1", 4), W64("b", "1", 1)),
                ITEMS(F32("y", "1,1,4", 1, 0, 3, 0)));
    expect_refused(18, with_ints(n, "strides", "2"), two, "are not 1 blocks");
    expect_refused(18, n, ITEMS(F32("x", "1,2,2", 1, 2, 3, 4), W64("i", "1", 1), W64("b", "1", 2)),
                   "blocks of 2");
    expect_refused(18, n, ITEMS(F32("x", "1,3,1", 1, 2, 3), W64("i", "1", 2), W64("b", "1", 2)),
                   "does not hold");
}

/* How many 2 x 2 blocks cover each pixel of a 3 x 3 image, for an open batch. */
Test(import_region, col2im_of_a_square)
{
    const Item *in =
        ITEMS(OPEN("x", "1,4,4", "N,4,4", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
              W64("i", "2", 3, 3), W64("b", "2", 2, 2));
    expect_sized(18, node("Col2Im", "x,i,b", "y"), in,
                 ITEMS(F32("y", "1,1,3,3", 1, 2, 1, 2, 4, 2, 1, 2, 1)), (const int64_t[]){1});
}

Test(import_region, determinants)
{
    Wire n = node("Det", "x", "y");
    expect_node(22, n, ITEMS(F32("x", "2,2", 0, 2, 3, 4)), ITEMS(F32("y", "", -6)));
    expect_node(22, n, ITEMS(F32("x", "3,3", 0, 2, 1, 1, 0, 0, 3, 1, 1)), ITEMS(F32("y", "", -1)));
    expect_node(22, n, ITEMS(ITEM(f64, "x", "2,1,2,2", 1, 2, 2, 4, 1, 2, 3, 4)),
                ITEMS(ITEM(f64, "y", "2,1", 0, -2)));
    expect_node(22, n, ITEMS(F32("x", "2,1,1", 5, -7)), ITEMS(F32("y", "2", 5, -7)));
    expect_node(22, n, ITEMS(F32("x", "2,0,0", 0)), ITEMS(F32("y", "2", 1, 1)));
    expect_node(22, n, ITEMS(F32("x", "0,2,2", 0)), ITEMS(F32("y", "0", 0)));
    expect_refused(22, n, ITEMS(F32("x", "1,2", 1, 2)), "no square");
}
