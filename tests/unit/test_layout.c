/* Layouts: every constructor covers its tile, and the fragments are those of the instruction set.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "ir/layout.h"

static Cx cx;

static void start(void)
{
    cx_init(&cx, NULL, 0);
}

static void stop(void)
{
    cx_finish(&cx);
}

TestSuite(layout, .init = start, .fini = stop);

static void verify(const Layout *layout, int m, int n, int threads)
{
    const int shape[2] = {m, n};
    cr_assert(layout_verify(&cx, layout, 2, shape, threads), "%s", cx.message);
}

Test(layout, constructors_cover_their_tiles)
{
    static const int shapes[][2] = {{1, 1},  {1, 256}, {4, 70},   {64, 1},
                                    {7, 13}, {32, 48}, {128, 64}, {3, 1000}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int threads = 4; threads <= 256; threads *= 4)
            for (int vec = 1; vec <= 8; vec *= 2) {
                verify(layout_blocked(&cx, 2, shapes[i], threads, vec), shapes[i][0], shapes[i][1],
                       threads);
                if (threads >= 4)
                    verify(layout_fma(&cx, shapes[i][0], shapes[i][1], 4, threads / 4, 1, vec),
                           shapes[i][0], shapes[i][1], threads);
            }
    verify(layout_mma_c(&cx, 64, 96, 2, 2), 64, 96, 128);
    verify(layout_mma_a(&cx, 64, 48, 2, 2, 16), 64, 48, 128);
    verify(layout_mma_a(&cx, 64, 24, 4, 1, 8), 64, 24, 128);
    verify(layout_mma_b(&cx, 48, 64, 2, 2, 16), 48, 64, 128);
    verify(layout_slice(&cx, layout_mma_c(&cx, 64, 96, 2, 2), 1), 64, 1, 128);
    verify(layout_slice(&cx, layout_mma_c(&cx, 64, 96, 2, 2), 0), 1, 96, 128);
}

Test(layout, verify_refuses_holes)
{
    const int shape[2] = {4, 8};
    Layout layout = {.lane_count = 1, .lanes = {{1, 8, 1}}, .reg_count = 1, .regs = {{0, 3, 1}}};
    cr_assert_not(layout_verify(&cx, &layout, 2, shape, 8));
    cr_assert(strstr(cx.message, "8 elements are held by no thread"), "%s", cx.message);
}

static void expect(const Layout *layout, int thread, int reg, int row, int col)
{
    int coord[2];
    layout_at(layout, 2, thread, reg, coord);
    cr_assert(coord[0] == row && coord[1] == col, "thread %d register %d: (%d, %d), want (%d, %d)",
              thread, reg, coord[0], coord[1], row, col);
}

Test(layout, fragments)
{
    const Layout *c = layout_mma_c(&cx, 16, 8, 1, 1), *a = layout_mma_a(&cx, 16, 16, 1, 1, 16);
    const Layout *b = layout_mma_b(&cx, 16, 8, 1, 1, 16);
    for (int lane = 0; lane < 32; lane++)
        for (int half = 0; half < 2; half++) {
            int g = lane / 4, q = lane % 4;
            expect(c, lane, half, g, 2 * q + half);
            expect(c, lane, 2 + half, g + 8, 2 * q + half);
            expect(a, lane, half, g, 2 * q + half);
            expect(a, lane, 2 + half, g + 8, 2 * q + half);
            expect(a, lane, 4 + half, g, 2 * q + 8 + half);
            expect(a, lane, 6 + half, g + 8, 2 * q + 8 + half);
            expect(b, lane, half, 2 * q + half, g);
            expect(b, lane, 2 + half, 2 * q + 8 + half, g);
        }
    /* Four warps as 2 x 2 over 32 x 16: warp 3 has the last quarter. */
    expect(layout_mma_c(&cx, 32, 16, 2, 2), 96, 0, 16, 8);
    /* With the warps along m a result is an operand. */
    cr_assert(layout_equal(layout_mma_c(&cx, 64, 64, 4, 1), layout_mma_a(&cx, 64, 64, 4, 1, 16)));
    int wm = 0, wn = 0;
    cr_assert(layout_is_mma_c(layout_mma_c(&cx, 64, 96, 2, 4), 64, 96, &wm, &wn));
    cr_assert(wm == 2 && wn == 4);
    cr_assert_not(
        layout_is_mma_c(layout_blocked(&cx, 2, (int[]){64, 96}, 256, 2), 64, 96, &wm, &wn));
}

static bool lookup(void *user, const Expr *sym, int64_t *value)
{
    *value = ((const int64_t *)user)[sym->name[0] == 't' ? 0 : sym->name[0] - 'a' + 1];
    return true;
}

/* The expressions of coordinates agree with layout_at. */
Test(layout, coordinates_as_expressions)
{
    const Layout *layout = layout_mma_c(&cx, 64, 96, 2, 2);
    const Expr *thread = expr_sym(&cx, "t", 0, 127, 1), *digits[MAX_PARTS];
    static const char *const names[] = {"a", "b", "c", "d"};
    cr_assert_leq(layout->reg_count, 4);
    for (int p = 0; p < layout->reg_count; p++)
        digits[p] = expr_sym(&cx, names[p], 0, layout->regs[p].extent - 1, 1);
    for (int t = 0; t < 128; t++)
        for (int r = 0; r < layout_regs(layout); r++) {
            int64_t values[5] = {t}, rest = r;
            int coord[2];
            for (int p = 0; p < layout->reg_count; p++) {
                values[p + 1] = rest % layout->regs[p].extent;
                rest /= layout->regs[p].extent;
            }
            layout_at(layout, 2, t, r, coord);
            for (int d = 0; d < 2; d++) {
                int64_t value = -1;
                cr_assert(expr_eval(layout_coord(&cx, layout, d, thread, digits), lookup, values,
                                    &value));
                cr_assert_eq(value, coord[d]);
            }
        }
}
