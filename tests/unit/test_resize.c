/* Resize against values computed by hand: a row [1, 2] or [1, 2, 4, 8] brought to another length.
 */
#include "model_run.h"

#include "base/dtype.h"
#include "include/quern.h"

static void put_mode(Wire *n, const char *name, const char *value)
{
    Wire a = attr(name, OA_string);
    put_text(&a, 4, value);
    put_wire(n, 5, a);
}

/* Resizes x [1, from] to [1, until] and compares. */
static void expect_row(const char *mode, const char *coordinates, const float *x, int64_t from,
                       const float *expected, int64_t until)
{
    qn_context *context;
    qn_model *model_of;
    qn_program *program;
    qn_session *session;
    wire_init();
    Wire g = {0}, n = node("Resize", "x,,,sizes", "y");
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", DT_f32, "1,n"));
    put_wire(&g, 11, info("sizes", DT_i64, "2"));
    put_wire(&g, 12, info("y", DT_f32, "a,b"));
    put_mode(&n, "mode", mode);
    put_mode(&n, "coordinate_transformation_mode", coordinates);
    put_wire(&g, 1, n);
    Wire m = model(8, 13, g);
    const int64_t sizes[] = {1, until}, two = 2, dims[] = {1, from};
    qn_contents contents = {.name = qn_str("sizes"),
                            .dtype = QN_I64,
                            .rank = 1,
                            .dims = &two,
                            .data = sizes,
                            .bytes = sizeof sizes};
    qn_shape shape = {.name = qn_str("x"), .rank = 2, .dims = dims};
    qn_compile_options options = {
        .shapes = &shape, .shape_count = 1, .contents = &contents, .content_count = 1};
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_from_memory(context, m.data, m.size, NULL, &model_of), QN_OK, "%s",
                 qn_model_message(model_of));
    cr_assert_eq(qn_program_compile(model_of, &options, &program), QN_OK, "%s",
                 qn_program_message(program));
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK);
    float y[8] = {0};
    qn_buffer in[] = {{.data = (void *)(uintptr_t)x, .bytes = (size_t)from * sizeof *x},
                      {.data = (void *)(uintptr_t)sizes, .bytes = sizeof sizes}};
    qn_buffer out = {.data = y, .bytes = (size_t)until * sizeof *y};
    cr_assert_eq(qn_run(session, in, 2, &out, 1), QN_OK, "%s", qn_session_message(session));
    for (int64_t i = 0; i < until; i++)
        cr_expect_float_eq(y[i], expected[i], 1e-6f, "%s %s [%d]: %g, not %g", mode, coordinates,
                           (int)i, (double)y[i], (double)expected[i]);
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model_of);
    qn_context_release(context);
    wire_finish();
}

Test(resize, linear)
{
    const float x[] = {1, 2};
    expect_row("linear", "half_pixel", x, 2, (const float[]){1, 1.25f, 1.75f, 2}, 4);
    expect_row("linear", "align_corners", x, 2, (const float[]){1, 1.25f, 1.5f, 1.75f, 2}, 5);
    expect_row("linear", "asymmetric", x, 2, (const float[]){1, 1.5f, 2, 2}, 4);
}

Test(resize, nearest)
{
    const float x[] = {1, 2, 4, 8};
    expect_row("nearest", "half_pixel", x, 2, (const float[]){1, 1, 2, 2}, 4);
    /* 0.5 and 2.5 are as near to both sides: the floor is preferred */
    expect_row("nearest", "half_pixel", x, 4, (const float[]){1, 4}, 2);
    expect_row("nearest", "align_corners", x, 4, (const float[]){1, 8}, 2);
}

/* At 0.5: weights -0.09375, 0.59375, 0.59375, -0.09375 of elements, the edge repeated. */
Test(resize, cubic)
{
    const float x[] = {1, 2, 4, 8};
    expect_row(
        "cubic", "half_pixel", x, 4,
        (const float[]){-0.09375f + 0.59375f + 1.1875f - 0.375f, -0.1875f + 2.375f + 4.75f - 0.75f},
        2);
}

/* x [1, N] to the length of another input, [1, M], neither known when compiling. */
static ModelRun open_rows(const char *mode, const char *coordinates)
{
    Wire n = node("Resize", "x,,,sizes", "y");
    put_mode(&n, "mode", mode);
    put_mode(&n, "coordinate_transformation_mode", coordinates);
    return model_open(whole(NODES(node("Shape", "s", "sizes"), n),
                            ITEMS(OPEN("x", "1,2", "1,N", 1, 2), OPEN("s", "1,1", "1,M", 0)),
                            ITEMS(GIVES(f32, "y", "1,M"))));
}

/* The values of the tests above, from one program each. */
Test(resize, open, .init = wire_init, .fini = wire_finish)
{
    const Item *two = ITEMS(F32("x", "1,2", 1, 2), F32("s", "1,4", 0, 0, 0, 0));
    const Item *four = ITEMS(F32("x", "1,4", 1, 2, 4, 8), F32("s", "1,2", 0, 0));
    ModelRun r = open_rows("linear", "half_pixel");
    model_expect(&r, two, ITEMS(F32("y", "1,4", 1, 1.25, 1.75, 2)));
    model_expect(&r, four, ITEMS(F32("y", "1,2", 1.5, 6)));
    model_close(&r);
    r = open_rows("linear", "align_corners");
    model_expect(&r, ITEMS(F32("x", "1,2", 1, 2), F32("s", "1,5", 0, 0, 0, 0, 0)),
                 ITEMS(F32("y", "1,5", 1, 1.25, 1.5, 1.75, 2)));
    model_expect(&r, ITEMS(F32("x", "1,3", 5, 6, 7), F32("s", "1,1", 0)),
                 ITEMS(F32("y", "1,1", 5)));
    model_close(&r);
    r = open_rows("nearest", "half_pixel");
    model_expect(&r, two, ITEMS(F32("y", "1,4", 1, 1, 2, 2)));
    model_expect(&r, four, ITEMS(F32("y", "1,2", 1, 4)));
    model_close(&r);
    r = open_rows("cubic", "half_pixel");
    model_expect(&r, four, ITEMS(F32("y", "1,2", 1.3125, 6.1875)));
    model_close(&r);
}

/* "?" names nothing: two of them need not be equal. */
Test(resize, unnamed_dims, .init = wire_init, .fini = wire_finish)
{
    ModelRun r =
        model_open(whole(NODES(node("Neg", "x", "y")), ITEMS(OPEN("x", "2,1", "?,?", 0, 0)),
                         ITEMS(GIVES(f32, "y", "?,?"))));
    model_expect(&r, ITEMS(F32("x", "2,1", 1, 2)), ITEMS(F32("y", "2,1", -1, -2)));
    model_close(&r);
}

/* A reflection needs as many elements: looked at when the shapes are given. */
Test(resize, open_reflection, .init = wire_init, .fini = wire_finish)
{
    Wire n = node("Pad", "x,pads", "y");
    put_mode(&n, "mode", "reflect");
    ModelRun r =
        model_open(whole(NODES(n), ITEMS(OPEN("x", "3", "N", 1, 2, 3), W64("pads", "2", 2, 1)),
                         ITEMS(GIVES(f32, "y", "M"))));
    model_expect(&r, ITEMS(F32("x", "3", 1, 2, 3)), ITEMS(F32("y", "6", 3, 2, 1, 2, 3, 2)));
    model_expect(&r, ITEMS(F32("x", "4", 1, 2, 3, 4)), ITEMS(F32("y", "7", 3, 2, 1, 2, 3, 4, 3)));
    qn_shape two = {.rank = 1, .dims = (int64_t[]){2}};
    cr_expect_eq(qn_session_set_shapes(r.session, &two, 1), QN_BAD_ARGUMENT);
    cr_expect(strstr(qn_session_message(r.session), "is 2; node #0 (Pad) needs 3"), "%s",
              qn_session_message(r.session));
    model_close(&r);
}

static Item pads_of(bool weight, const double *pads)
{
    return (Item){"pads", DT_i64, "2", pads, weight, NULL};
}

/* Amounts below 0 take elements away first, whether they are known when compiling or not. */
Test(resize, cropped_and_repeated, .init = wire_init, .fini = wire_finish)
{
    const struct {
        const char *mode, *size;
        double pads[2], want[8];
    } cases[] = {{"wrap", "6", {2, -1}, {3, 4, 1, 2, 3, 4}},
                 {"wrap", "6", {-1, 2}, {2, 3, 4, 5, 2, 3}},
                 {"reflect", "6", {2, -1}, {3, 2, 1, 2, 3, 4}},
                 {"edge", "6", {-3, 4}, {4, 5, 5, 5, 5, 5}},
                 {"constant", "3", {-3, 1}, {4, 5, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Wire n = with_text(node("Pad", "x,pads", "y"), "mode", cases[i].mode);
        for (int known = 0; known < 2; known++) {
            const Item *in =
                ITEMS(OPEN("x", "5", "N", 1, 2, 3, 4, 5), pads_of(known, cases[i].pads));
            ModelRun r = model_open(whole(NODES(n), in, ITEMS(GIVES(f32, "y", "M"))));
            model_expect(&r, in,
                         ITEMS(((Item){"y", DT_f32, cases[i].size, cases[i].want, false, NULL})));
            model_close(&r);
        }
    }
}

/* Of nothing: NonZero finds none, what is sliced or padded is. */
Test(resize, of_nothing, .init = wire_init, .fini = wire_finish)
{
    static const double pads[] = {0, 0, 0, 2};
    const Item *in = ITEMS(OPEN("x", "3", "N", 0, 0, 0), I64("start", "1", -1), I64("end", "1", -9),
                           ((Item){"pads", DT_i64, "4", pads, false, NULL}), W64("one", "1", 1),
                           W64("down", "1", -1), W64("fill", "", 7));
    Wire n[] = {node("NonZero", "x", "at"),
                node("Slice", "at,start,end,one,down", "none"),
                node("Pad", "at,pads,fill", "y"),
                {0}};
    ModelRun r = model_open(whole(n, in, ITEMS(GIVES(i64, "none", "1,K"), GIVES(i64, "y", "1,M"))));
    model_expect(&r, in, ITEMS(ITEM(i64, "none", "1,0", 0), ITEM(i64, "y", "1,2", 7, 7)));
    model_close(&r);
}

/* Of more than there is: the run fails, and says where once. */
Test(resize, of_too_much, .init = wire_init, .fini = wire_finish)
{
    const Item *in =
        ITEMS(I64("from", "", 0), I64("to", "", 4611686018427387904.0), I64("by", "", 1));
    ModelRun r =
        model_open(whole(NODES(node("Range", "from,to,by", "y")), in, ITEMS(GIVES(i64, "y", "N"))));
    model_fails(&r, in, "node #0 (Range): result 0 would be larger than any memory");
    model_expect(&r, ITEMS(I64("from", "", 0), I64("to", "", 3), I64("by", "", 2)),
                 ITEMS(ITEM(i64, "y", "2", 0, 2)));
    model_close(&r);
}
