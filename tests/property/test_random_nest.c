/* The generator of random nests keeps its promises: nests verify, their text is a fixed point, the
 * interpreter stays in bounds and gives the same bytes for a nest and its parsed text, and every
 * output element is stored, a small integer. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/property/random_nest.h"

enum { SEEDS = 60 };

typedef struct Case {
    uint64_t seed;
    RandomKind kind;
} Case;

static void check_seed(Cx *cx, void *user)
{
    const Case *c = user;
    Nest *nest = random_nest(cx, c->seed, c->kind);
    Text first, second;
    text_init(&first, cx->arena);
    text_init(&second, cx->arena);
    if (!nest_verify(nest))
        return;
    nest_print(&first, nest);
    Nest *parsed = nest_parse(cx, "random", first.data);
    if (!parsed || !nest_verify(parsed))
        return;
    nest_print(&second, parsed);
    cr_assert_str_eq(first.data, second.data);
    cr_expect_eq(nest->scalar_ops, parsed->scalar_ops);

    int64_t *dims = random_nest_dims(cx, nest, c->seed), bytes[64];
    void **a = random_nest_buffers(cx, nest, dims, c->seed, bytes);
    void **b = random_nest_buffers(cx, parsed, dims, c->seed, NULL);
    NestRun run = {.buffers = a, .dims = dims}, again = {.buffers = b, .dims = dims};
    if (!nest_run(cx, nest, &run) || !nest_run(cx, parsed, &again))
        return;
    cr_expect_eq(run.bad_index, 0);
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        cr_expect_arr_eq(a[i], b[i], (size_t)bytes[i]);
        if (buffer->role != BUF_out || buffer->dtype != DT_f32)
            continue;
        for (int64_t k = 0; k < bytes[i] / 4;
             k++) { /* every element is stored, as a small integer */
            double x = dtype_load(DT_f32, a[i], k).f;
            cr_assert(x == rint(x) && fabs(x) < 1 << 24, "%g in\n%s", x, first.data);
        }
    }
}

static void check_kind(RandomKind kind)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        Cx cx;
        Case c = {seed, kind};
        cx_init(&cx, NULL, 0);
        cx_run(&cx, check_seed, &c);
        cr_assert(cx.status == ST_ok, "kind %d seed %d: %s", (int)kind, (int)seed, cx.message);
        cx_finish(&cx);
    }
}

Test(random_nest, map)
{
    check_kind(RN_map);
}
Test(random_nest, chain)
{
    check_kind(RN_chain);
}
Test(random_nest, reduce)
{
    check_kind(RN_reduce);
}
Test(random_nest, rowwise)
{
    check_kind(RN_rowwise);
}
Test(random_nest, gemm)
{
    check_kind(RN_gemm);
}
Test(random_nest, conv)
{
    check_kind(RN_conv);
}
Test(random_nest, concat)
{
    check_kind(RN_concat);
}
Test(random_nest, gather)
{
    check_kind(RN_gather);
}
Test(random_nest, extent)
{
    check_kind(RN_extent);
}
