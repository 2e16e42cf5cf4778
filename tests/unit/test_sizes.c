/* What a caller says about sizes through the public interface: in several ways, all of which have
 * to agree. */
#include "tests/unit/onnx_wire.h"

#include "include/quern.h"

typedef struct Road {
    qn_context *context;
    qn_model *model;
    qn_program *program;
} Road;

/* y = Relu(a [N, 3]), z = Relu(b [N, M]). */
static Road open_two(void)
{
    Road r = {NULL, NULL, NULL};
    wire_init();
    Wire g = {0};
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("a", DT_f32, "N,3"));
    put_wire(&g, 11, info("b", DT_f32, "N,M"));
    put_wire(&g, 12, info("y", DT_f32, "N,3"));
    put_wire(&g, 12, info("z", DT_f32, "N,M"));
    put_node(&g, "Relu", "a", "y");
    put_node(&g, "Relu", "b", "z");
    Wire m = model(8, 13, g);
    cr_assert_eq(qn_context_create(NULL, &r.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(r.context, m.data, m.size, NULL, &r.model), QN_OK, "%s",
                 qn_model_message(r.model));
    return r;
}

static void close_road(Road *r)
{
    qn_program_release(r->program);
    qn_model_release(r->model);
    qn_context_release(r->context);
    wire_finish();
}

typedef struct Given {
    const char *symbol; /* of a dim; "" = of all others; NULL ends the list */
    int64_t value, min, max;
} Given;

typedef struct Shape {
    const char *input; /* NULL ends the list */
    int64_t dims[2];
} Shape;

typedef struct Case {
    const char *message; /* NULL: it compiles */
    Given given[3];
    Shape shapes[3];
} Case;

static void check(Road *r, const Case *c)
{
    qn_dim_value dims[3];
    qn_shape shapes[3];
    qn_compile_options options = {.size = sizeof options, .dims = dims, .shapes = shapes};
    for (const Given *g = c->given; options.dim_count < 3 && g->symbol; g++)
        dims[options.dim_count++] = (qn_dim_value){qn_str(g->symbol), g->value, g->min, g->max};
    for (const Shape *s = c->shapes; options.shape_count < 3 && s->input; s++)
        shapes[options.shape_count++] = (qn_shape){qn_str(s->input), 2, s->dims};
    qn_status status = qn_program_compile(r->model, &options, &r->program);
    cr_expect_eq(status, c->message ? QN_BAD_ARGUMENT : QN_OK, "%s",
                 qn_program_message(r->program));
    cr_expect_str_eq(qn_program_message(r->program), c->message ? c->message : "");
    qn_program_release(r->program);
    r->program = NULL;
}

Test(sizes, agree)
{
    static const Case cases[] = {
        {NULL, {{"N", 2, 0, 0}}, {{"a", {2, 3}}, {"b", {2, 5}}}},
        {NULL, {{"N", 0, 0, 0}, {"M", 0, 2, 8}}, {{"b", {0, 5}}}},
        {NULL, {{"", 4, 0, 0}, {"M", 5, 0, 0}}, {{"b", {4, -1}}}},
        {"dim 'N' is given twice, as 2 and as 3", {{"N", 2, 0, 0}, {"N", 3, 0, 0}}, {{0}}},
        {"dim 'N' is given twice, as 2..8 and as 4 or more",
         {{"N", 0, 2, 8}, {"M", 1, 0, 0}, {"N", 0, 4, 0}},
         {{0}}},
        {"dim 'N': -1 is no size", {{"N", -1, 0, 0}}, {{0}}},
        {"dim 'N': -2 is no size", {{"N", 0, -2, 8}}, {{0}}},
        {"dim 'N': -3 is no size", {{"N", 0, 1, -3}}, {{0}}},
        {"the shape of input 'a' is given twice, as [2,3] and as [9,9]",
         {{0}},
         {{"a", {2, 3}}, {"a", {9, 9}}}},
        {"the shape of input 'b' is given twice, as [2,4] and as [2,5]",
         {{0}},
         {{"b", {2, 4}}, {"", {2, 5}}}}, /* by its position */
        {"dim 'N' is 2 in the shape of input 'a', and 4 in that of input 'b'",
         {{0}},
         {{"a", {2, 3}}, {"b", {4, 3}}}},
        {"dim 'N' is 3 in the shape of input 'a', and given as 2",
         {{"N", 2, 0, 0}},
         {{"a", {3, 3}}}},
        {"dim 'M' is 9 in the shape of input 'b', and given as 2..8",
         {{"M", 0, 2, 8}},
         {{"b", {2, 9}}}},
        {"dim 'M' is 9 in the shape of input 'b', and given as 4",
         {{"", 4, 0, 0}, {"N", 2, 0, 0}},
         {{"b", {2, 9}}}},
    };
    Road r = open_two();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(&r, &cases[i]);
    close_road(&r);
}

Test(sizes, contents_agree)
{
    Road r = open_two();
    static const float six[6] = {1};
    qn_contents contents[2] = {{.name = qn_str("a"),
                                .dtype = QN_F32,
                                .rank = 2,
                                .dims = (int64_t[]){2, 3},
                                .data = six,
                                .bytes = sizeof six}};
    qn_dim_value n = {.symbol = qn_str("N"), .value = 3};
    qn_compile_options options = {.size = sizeof options, .contents = contents, .content_count = 1};
    contents[1] = contents[0];
    options.content_count = 2;
    cr_expect_eq(qn_program_compile(r.model, &options, &r.program), QN_BAD_ARGUMENT);
    cr_expect_str_eq(qn_program_message(r.program), "the contents of input 'a' are given twice");
    qn_program_release(r.program);
    options.content_count = 1;
    options.dims = &n;
    options.dim_count = 1;
    cr_expect_eq(qn_program_compile(r.model, &options, &r.program), QN_BAD_ARGUMENT);
    cr_expect_str_eq(qn_program_message(r.program),
                     "dim 'N' is 2 in the shape of input 'a', and given as 3");
    close_road(&r);
}

Test(sizes, of_a_session)
{
    Road r = open_two();
    qn_session *session;
    cr_assert_eq(qn_program_compile(r.model, NULL, &r.program), QN_OK);
    cr_assert_eq(qn_session_create(r.program, NULL, &session), QN_OK);
    qn_shape shapes[] = {{.name = qn_str("a"), .rank = 2, .dims = (int64_t[]){2, 3}},
                         {.name = qn_str("a"), .rank = 2, .dims = (int64_t[]){9, 3}}};
    cr_expect_eq(qn_session_set_shapes(session, shapes, 2), QN_BAD_ARGUMENT);
    cr_expect_str_eq(qn_session_message(session),
                     "the shape of input 'a' is given twice, as [2,3] and as [9,3]");
    shapes[1].name = qn_str("b");
    shapes[0].dims = shapes[1].dims = (int64_t[]){0, 3};
    cr_expect_eq(qn_session_set_shapes(session, shapes, 2), QN_BAD_ARGUMENT);
    cr_expect(strstr(qn_session_message(session), "is 0; a dim that was left open"), "%s",
              qn_session_message(session));
    shapes[0].dims = shapes[1].dims = (int64_t[]){1, 3};
    cr_assert_eq(qn_session_set_shapes(session, shapes, 2), QN_OK);
    qn_session_release(session);
    close_road(&r);
}
