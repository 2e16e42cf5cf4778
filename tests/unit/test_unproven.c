/* Indices that are in bounds and not proven to be: they get guards where they can, and where they
 * cannot the nest is made with another schedule. */
#include <criterion/criterion.h>
#include <string.h>

#include "ir/tile_sim.h"
#include "passes/place_gpu.h"
#include "passes/schedule.h"

static Cx cx;

static void start(void)
{
    cx_init(&cx, NULL, 0);
}

static void finish(void)
{
    cx_finish(&cx);
}

TestSuite(unproven, .init = start, .fini = finish);

/* J is K whenever it runs, and nothing here says so. */
static const char product[] = "nest product {"
                              "  dim J 1..64 dim K 1..64"
                              "  in x f32 [2, J] in w f32 [K, 3] out y f32 [2, 3]"
                              "  axis m 2 axis n 3 axis k K"
                              "  %0 = load x[m, k] %1 = load w[k, n] %2 = mul f32 %0, %1"
                              "  %3 = reduce sum f32 (k) %2"
                              "  store y[m, n] %3 }";
enum { SIZE = 20 };
static const int64_t dims[] = {SIZE, SIZE};

static Nest *product_nest(void)
{
    Nest *nest = nest_parse(&cx, "product", product);
    cr_assert(nest && nest_verify(nest), "%s", cx.message);
    return nest;
}

static void expect_product(const TileProg *prog)
{
    static float x[2][SIZE], w[SIZE][3], y[2][3];
    void *buffers[] = {x, w, y};
    NestRun run = {.buffers = buffers, .dims = dims};
    SimReport report;
    for (int k = 0; k < SIZE; k++)
        for (int i = 0; i < 3; i++) {
            x[i % 2][k] = (float)(k % 5 + i % 2);
            w[k][i] = (float)(k % 3 - i);
        }
    bool done = prog->placed ? tile_sim(&cx, prog, &run, &report) : tile_run(&cx, prog, &run);
    cr_assert(done, "%s", cx.message);
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 3; n++) {
            float sum = 0;
            for (int k = 0; k < SIZE; k++)
                sum += x[m][k] * w[k][n];
            cr_expect_eq(y[m][n], sum, "y[%d, %d] is %g for %g", m, n, (double)y[m][n],
                         (double)sum);
        }
}

/* Operands of register tiles have no guards: maps take their place. */
Test(unproven, product_becomes_maps)
{
    const Caps *caps = target_find("x86-64-v3");
    Nest *nest = product_nest();
    Lowered lowered;
    Schedule schedule = schedule_choose(&cx, nest, caps);
    cr_assert_eq(schedule.skeleton, SK_contraction);
    cr_assert_not(schedule_apply(&cx, nest, &schedule, caps, &lowered));
    cr_assert(lowered.prog->unproven, "%s", cx.message);
    cr_expect(strstr(cx.message, "'x', "), "%s", cx.message);
    cx_recover(&cx);
    schedule = schedule_plain(&cx, nest, caps);
    cr_assert_eq(schedule.skeleton, SK_general);
    cr_assert(schedule_apply(&cx, nest, &schedule, caps, &lowered), "%s", cx.message);
    cr_expect_not(lowered.prog->unproven);
    expect_product(lowered.prog);
}

/* Copies to shared memory have guards, so tiles stay, and stay asynchronous. */
Test(unproven, copy_gets_a_guard)
{
    const Caps *caps = target_find("sm_80");
    Nest *nest = product_nest();
    Lowered lowered;
    Text text;
    Schedule schedule = schedule_default(SK_tiles);
    schedule.field[SF_stages] = 2;
    cr_assert(schedule_apply(&cx, nest, &schedule, caps, &lowered), "%s", cx.message);
    cr_assert(place_gpu(lowered.prog), "%s", cx.message);
    cr_expect_not(lowered.prog->unproven);
    text_init(&text, cx.arena);
    tile_print(&text, lowered.prog);
    cr_expect(strstr(text.data, "copy async"), "%s", text.data);
    cr_expect(strstr(text.data, " < J"), "%s", text.data);
    expect_product(lowered.prog);
}

/* Row numbers are taken apart by an extent that may be 0, of which there are no rows then. */
Test(unproven, rows_that_may_be_none)
{
    const Caps *caps = target_find("sm_80");
    static float x[2][5][4], w[4][3], y[2][5][3];
    void *buffers[] = {x, w, y};
    Schedule schedule = schedule_default(SK_tiles);
    Nest *nest = nest_parse(&cx, "rows",
                            "nest rows { dim R 0..9"
                            "  in x f32 [2, R, 4] in w f32 [4, 3] out y f32 [2, R, 3]"
                            "  axis a 2 axis b R axis n 3 axis k 4"
                            "  %0 = load x[a, b, k] %1 = load w[k, n] %2 = mul f32 %0, %1"
                            "  %3 = reduce sum f32 (k) %2"
                            "  store y[a, b, n] %3 }");
    Lowered lowered;
    cr_assert(nest && nest_verify(nest), "%s", cx.message);
    cr_assert(schedule_apply(&cx, nest, &schedule, caps, &lowered), "%s", cx.message);
    cr_assert(place_gpu(lowered.prog), "%s", cx.message);
    for (int i = 0; i < 2 * 5; i++)
        x[i / 5][i % 5][i % 4] = (float)i;
    for (int k = 0; k < 4; k++)
        w[k][2] = 1;
    for (int64_t rows = 0; rows <= 5; rows += 5) {
        NestRun run = {.buffers = buffers, .dims = &rows};
        SimReport report;
        cr_assert(tile_sim(&cx, lowered.prog, &run, &report), "%s", cx.message);
        for (int i = 0; i < 2 * 5; i++)
            cr_expect_eq(y[i / 5][i % 5][2], (float)(rows ? i : 0));
    }
}

/* A ring copies for later steps than the loop's own. That k * n + r < K * n is seen for each step
 * k, and not for (k + 16) * n, which is no sum. */
Test(unproven, ring_is_verified)
{
    TileProg *prog = tile_parse(&cx, "ring",
                                "tile ring sm_80 {"
                                "  dim K 1..64 dim n 16..64"
                                "  in x f32 [16*K*n] out y f32 [16]"
                                "  grid (g 1) threads 32 {"
                                "    tile s f32 [16] shared"
                                "    for k 0..16*K step 16 stages 2 {"
                                "      copy (r 16) { %0 = load x[k*n + r] store s[r] %0 }"
                                "      map (r 16) { %0 = load s[r] store y[r] %0 }"
                                "    } } }");
    cr_assert(prog && tile_verify(prog), "%s", cx.message);
    cr_expect_not(prog->unproven);
    cr_assert_not(place_gpu(prog));
    cr_expect(prog->unproven, "%s", cx.message);
    cr_expect(strstr(cx.message, "copy async"), "%s", cx.message);
}
