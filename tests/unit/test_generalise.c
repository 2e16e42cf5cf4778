/* Nests that differ in sizes become one with dims, and stay apart where their code would differ. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "passes/generalise.h"

static Cx cx;

static void start(void)
{
    cx_init(&cx, NULL, 0);
}

static void stop(void)
{
    cx_finish(&cx);
}

TestSuite(generalise, .init = start, .fini = stop);

/* Packing of [columns, rows], column blocks of `wide`. */
static Nest *pack(int columns, int rows, int wide)
{
    char text[600];
    snprintf(text, sizeof text,
             "nest k {\n in b0 f32 [%d, %d]\n out b1 f32 [%d, %d, %d]\n axis block %d\n"
             " axis r %d\n axis column %d\n %%0 = load b0[%d*block + column, r]\n"
             " store b1[block, r, column] %%0\n}\n",
             columns, rows, columns / wide, rows, wide, columns / wide, rows, wide, wide);
    Nest *nest = nest_parse(&cx, "pack", text);
    cr_assert(nest && nest_verify(nest), "%s", cx.message);
    return nest;
}

/* Powers of a row, short when the size is no multiple of a box. */
static Nest *fold(int size, const char *factor)
{
    char text[400];
    snprintf(text, sizeof text,
             "nest k {\n in b0 f32 [%d]\n out b1 f32 [%d]\n axis i %d\n %%0 = load b0[i]\n"
             " %%1 = const f32 %s\n %%2 = mul f32 %%0, %%1\n store b1[i] %%2\n}\n",
             size, size, size, factor);
    Nest *nest = nest_parse(&cx, "fold", text);
    cr_assert(nest && nest_verify(nest), "%s", cx.message);
    return nest;
}

static const Caps *caps(void)
{
    return target_find("x86-64-v4");
}

/* The nest with dims does what its member does, as a nest and as a program. */
static void check_same(const Nest *member, const Generalised *general)
{
    enum { MOST = 1 << 16 };
    static float from[MOST], want[MOST], got[MOST];
    int64_t dims[8] = {0};
    int64_t bytes = sizeof(float);
    for (int d = 0; d < member->buffers[1]->rank; d++)
        bytes *= member->buffers[1]->shape[d]->value;
    cr_assert(bytes <= (int64_t)sizeof want);
    for (int i = 0; i < MOST; i++)
        from[i] = (float)i;
    for (uint32_t d = 0; d < general->nest->dim_count; d++)
        dims[d] = general->values[d];
    memset(want, -1, sizeof want);
    NestRun run = {(void *[]){from, want}, NULL, 0};
    cr_assert(nest_run(&cx, member, &run), "%s", cx.message);
    run = (NestRun){(void *[]){from, got}, dims, 0};
    memset(got, -1, sizeof got);
    cr_assert(nest_run(&cx, general->nest, &run), "%s", cx.message);
    cr_assert_eq(memcmp(want, got, sizeof want), 0);
    Lowered lowered;
    Schedule schedule = schedule_choose(&cx, general->nest, caps());
    cr_assert(schedule_apply(&cx, general->nest, &schedule, caps(), &lowered), "%s", cx.message);
    memset(got, -1, sizeof got);
    cr_assert(tile_run(&cx, lowered.prog, &run), "%s", cx.message);
    cr_assert_eq(memcmp(want, got, sizeof want), 0);
}

Test(generalise, packing)
{
    Nest *nests[] = {pack(64, 128, 32), pack(256, 64, 32), pack(64, 64, 32),   pack(64, 128, 32),
                     pack(192, 96, 48), pack(64, 24, 32),  pack(128, 256, 32), pack(128, 24, 32)};
    enum { COUNT = sizeof nests / sizeof *nests };
    Generalised out[COUNT];
    generalise(&cx, COUNT, nests, caps(), out);
    cr_assert_eq(cx.status, ST_ok);
    Text text;
    text_init(&text, cx.arena);
    nest_print(&text, out[0].nest);
    cr_assert_str_eq(text.data, "nest k {\n"
                                "  dim dim0 1..4\n"
                                "  dim dim1 1..4\n"
                                "  in b0 f32 [64*dim0, 64*dim1]\n"
                                "  out b1 f32 [2*dim0, 64*dim1, 32]\n"
                                "  axis block 2*dim0\n"
                                "  axis r 64*dim1\n"
                                "  axis column 32\n"
                                "  %0 = load b0[32*block + column, r]\n"
                                "  store b1[block, r, column] %0\n"
                                "}\n");
    for (int i = 0; i < COUNT; i++) {
        bool alike = i != 4 && i != 5 && i != 7;
        cr_assert_eq(out[i].nest == out[0].nest, alike, "nest %d", i);
        check_same(nests[i], &out[i]);
    }
    cr_assert_eq(out[1].values[0], 4);
    cr_assert_eq(out[1].values[1], 1);
    cr_assert_eq(out[4].nest, nests[4], "the layout is another one");
    cr_assert_eq(out[5].nest, out[7].nest, "a remainder of known size stays one");
    cr_assert_eq(out[5].nest->dim_count, 1);
}

Test(generalise, sizes_and_constants)
{
    Nest *nests[] = {fold(64, "2"), fold(640, "2"),   fold(96, "2"),   fold(64, "3"),
                     fold(64, "2"), fold(32768, "2"), fold(65536, "2")};
    enum { COUNT = sizeof nests / sizeof *nests };
    Generalised out[COUNT];
    generalise(&cx, COUNT, nests, caps(), out);
    cr_assert_eq(cx.status, ST_ok);
    cr_assert_eq(out[0].nest, out[1].nest);
    cr_assert_eq(out[0].values[0] * 10, out[1].values[0]);
    cr_assert_eq(out[2].nest, nests[2], "a remainder");
    cr_assert_eq(out[3].nest, nests[3], "another constant");
    cr_assert_eq(out[4].nest, out[0].nest);
    cr_assert_neq(out[5].nest, out[0].nest, "of one task and of many");
    cr_assert_eq(out[5].nest, out[6].nest);
    for (int i = 0; i < COUNT; i++)
        check_same(nests[i], &out[i]);
    Lowered lowered;
    Schedule schedule = schedule_choose(&cx, out[6].nest, caps());
    cr_assert(schedule_apply(&cx, out[6].nest, &schedule, caps(), &lowered));
    cr_assert_gt(lowered.prog->grids[0]->extents[0]->lo, 1);
}
