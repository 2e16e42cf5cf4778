/* Sizes that only a run tells: of Reshape, Expand, Tile, ConstantOfShape, Pad and Slice, through
 * the public interface. They are a sum of two inputs, or an input. */
#include <criterion/criterion.h>

#include <string.h>

#include "host_case.h"
#include "include/quern.h"
#include "onnx_wire.h"

TestSuite(import_extents, .init = wire_init, .fini = wire_finish);

enum { MOST = 64 };

typedef struct Made {
    qn_status status;
    char message[300];
    int rank;
    int64_t dims[4];
    float data[MOST];
} Made;

/* y = op(x, sizes), or op(sizes), with x = 0, 1, 2 ...; each number of `rest` is put behind the
 * computed sizes by Concat. */
static Wire sized_model(Wire n, const char *x_dims, int count, const char *rest, const char *out)
{
    Wire g = {0}, m = {0}, axis = attr("axis", 2), join = node("Concat", "c,k", "s");
    char dims[2] = {(char)('0' + count), 0};
    put_int(&axis, 3, 0);
    put_wire(&join, 5, axis);
    put_text(&g, 2, "g");
    put_wire(&g, 1, node("Add", "a,b", rest ? "c" : "s"));
    if (rest) {
        Wire list = attr("value_ints", 7), constant = node("Constant", "", "k");
        put_dims(&list, 8, rest);
        put_wire(&constant, 5, list);
        put_wire(&g, 1, constant);
        put_wire(&g, 1, join);
    }
    put_text(&n, 3, "sized");
    put_wire(&g, 1, n);
    put_wire(&g, 11, info("x", DT_f32, x_dims));
    put_wire(&g, 11, info("a", DT_i64, dims));
    put_wire(&g, 11, info("b", DT_i64, dims));
    put_wire(&g, 12, info("y", DT_f32, out));
    put_int(&m, 1, 8);
    put_wire(&m, 8, opset("", 20));
    put_wire(&m, 7, g);
    return m;
}

static void run_model(qn_program *program, int x_count, int count, const int64_t *sizes, Made *made)
{
    qn_session *session;
    qn_tensor_info info;
    float x[MOST];
    int64_t zeros[4] = {0}, given[4];
    const void *data = NULL;
    for (int i = 0; i < MOST; i++)
        x[i] = (float)i;
    memcpy(given, sizes, (size_t)count * sizeof *sizes);
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK);
    qn_buffer in[] = {{.data = x, .bytes = (size_t)x_count * sizeof *x},
                      {.data = given, .bytes = (size_t)count * sizeof *given},
                      {.data = zeros, .bytes = (size_t)count * sizeof *zeros}};
    cr_assert_eq(qn_program_output(program, 0, &info), QN_OK);
    bool given_memory = info.bytes >= 0;
    qn_buffer out = {.data = given_memory ? made->data : NULL,
                     .bytes = given_memory ? sizeof made->data : 0};
    made->status = qn_run(session, in, 3, &out, 1);
    snprintf(made->message, sizeof made->message, "%s", qn_session_message(session));
    if (made->status == QN_OK) {
        int64_t elements = 1;
        cr_assert_eq(qn_session_output(session, 0, &info), QN_OK);
        made->rank = info.rank;
        for (int d = 0; d < info.rank; d++)
            elements *= made->dims[d] = info.dims[d].value;
        cr_assert(elements <= MOST);
        if (!given_memory) {
            cr_assert_eq(qn_session_output_data(session, 0, &data), QN_OK);
            memcpy(made->data, data, (size_t)elements * sizeof(float));
        }
    }
    qn_session_release(session);
}

static Made make(Wire n, const char *x_dims, int x_count, int count, const int64_t *sizes,
                 const char *rest, const char *out)
{
    Made made = {0};
    qn_context *context;
    qn_model *model;
    qn_program *program;
    Wire wire = sized_model(n, x_dims, count, rest, out);
    const qn_model_options options = {.size = sizeof options};
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_from_memory(context, wire.data, wire.size, &options, &model), QN_OK, "%s",
                 qn_model_message(model));
    cr_assert_eq(qn_program_compile(model, NULL, &program), QN_OK, "%s",
                 qn_program_message(program));
    run_model(program, x_count, count, sizes, &made);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return made;
}

#define SIZES(...)                                                                                 \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[])                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void expect_dims(const Made *made, int rank, const int64_t *dims)
{
    cr_assert_eq(made->status, QN_OK, "%s", made->message);
    cr_assert_eq(made->rank, rank);
    for (int d = 0; d < rank; d++)
        cr_expect_eq(made->dims[d], dims[d], "dim %d is %lld", d, (long long)made->dims[d]);
}

static void expect_refused(const Made *made, const char *text)
{
    cr_assert_eq(made->status, QN_BAD_ARGUMENT);
    cr_expect(strstr(made->message, "sized"), "no node in '%s'", made->message);
    cr_expect(strstr(made->message, text), "'%s' is not in '%s'", text, made->message);
}

Test(import_extents, reshape)
{
    Wire n = node("Reshape", "x,s", "y");
    Made made = make(n, "3,4", 12, SIZES(0, 2, -1), NULL, "p,q,r");
    expect_dims(&made, SIZES(3, 2, 2));
    for (int i = 0; i < 12; i++)
        cr_expect_eq(made.data[i], (float)i);
    made = make(n, "3,4", 12, SIZES(2), "2,-1", "p,q,r");
    expect_dims(&made, SIZES(2, 2, 3));
    made = make(n, "0,4", 0, SIZES(0, 8), NULL, "p,q");
    expect_dims(&made, SIZES(0, 8));
}

Test(import_extents, reshape_refused)
{
    Wire n = node("Reshape", "x,s", "y");
    Made made = make(n, "3,4", 12, SIZES(5, 3), NULL, "p,q");
    expect_refused(&made, "no shape of the tensor's elements");
    made = make(n, "3,4", 12, SIZES(-1, -1), NULL, "p,q");
    expect_refused(&made, "size 1 is -1");
    made = make(n, "0,4", 0, SIZES(0, -1), NULL, "p,q");
    expect_refused(&made, "no shape");
}

Test(import_extents, expand)
{
    Wire n = node("Expand", "x,s", "y");
    Made made = make(n, "1,3", 3, SIZES(2, 2, 1), NULL, "p,q,r");
    expect_dims(&made, SIZES(2, 2, 3));
    for (int i = 0; i < 12; i++)
        cr_expect_eq(made.data[i], (float)(i % 3));
    made = make(n, "3,1", 3, SIZES(0), NULL, "p,q");
    expect_dims(&made, SIZES(3, 0));
    made = make(n, "3,4", 12, SIZES(2, 4), NULL, "p,q");
    expect_refused(&made, "size 0 is 2, the tensor has 3 there");
    made = make(n, "1", 1, SIZES((int64_t)1 << 40, (int64_t)1 << 40), NULL, "p,q");
    expect_refused(&made, "more elements than can be counted");
}

Test(import_extents, tile)
{
    Wire n = node("Tile", "x,s", "y");
    Made made = make(n, "2,2", 4, SIZES(1, 3), NULL, "p,q");
    expect_dims(&made, SIZES(2, 6));
    for (int i = 0; i < 12; i++)
        cr_expect_eq(made.data[i], (float)(i / 6 * 2 + i % 2));
    made = make(n, "2,2", 4, SIZES(-1, 3), NULL, "p,q");
    expect_refused(&made, "size 0 is -1");
}

Test(import_extents, constant_of_shape)
{
    Wire n = node("ConstantOfShape", "s", "y");
    Made made = make(n, "1", 1, SIZES(2), "3", "p,q");
    expect_dims(&made, SIZES(2, 3));
    cr_expect_eq(made.data[5], 0.0f);
    made = make(n, "1", 1, SIZES(0, 5), NULL, "p,q");
    expect_dims(&made, SIZES(0, 5));
    made = make(n, "1", 1, SIZES(-2), NULL, "p");
    expect_refused(&made, "size 0 is -2");
}

/* ---- one program, sizes as an input of the model */

typedef struct Sized {
    qn_context *context;
    qn_model *model;
    qn_program *program;
} Sized;

/* y = op(x, s) with s of `count` numbers; y has `rank` dims. A constant e is [100, 100]. */
static Sized open_sized(Wire n, const char *x_dims, int count, int rank)
{
    Sized sized;
    Wire g = {0}, far = tensor("e", DT_i64, "2");
    char dims[2] = {(char)('0' + count), 0};
    put_bytes(&far, 9, (const int64_t[]){100, 100}, 16);
    put_text(&g, 2, "g");
    put_wire(&g, 5, far);
    put_text(&n, 3, "sized");
    put_wire(&g, 1, n);
    put_wire(&g, 11, info("x", DT_f32, x_dims));
    put_wire(&g, 11, info("s", DT_i64, dims));
    put_wire(&g, 12, info("y", DT_f32, &"p,q,r"[6 - 2 * rank]));
    Wire wire = model(8, 20, g);
    const qn_model_options options = {.size = sizeof options};
    cr_assert_eq(qn_context_create(NULL, &sized.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(sized.context, wire.data, wire.size, &options, &sized.model),
                 QN_OK, "%s", qn_model_message(sized.model));
    cr_assert_eq(qn_program_compile(sized.model, NULL, &sized.program), QN_OK, "%s",
                 qn_program_message(sized.program));
    return sized;
}

static void close_sized(Sized *sized)
{
    qn_program_release(sized->program);
    qn_model_release(sized->model);
    qn_context_release(sized->context);
}

static Made run_sized(const Sized *sized, const int64_t x_dims[2], int count, const int64_t *sizes)
{
    Made made = {0};
    qn_session *session;
    qn_tensor_info info;
    float x[MOST];
    const void *result = NULL;
    int64_t length = count, elements = 1;
    for (int i = 0; i < MOST; i++)
        x[i] = (float)i;
    cr_assert_eq(qn_session_create(sized->program, NULL, &session), QN_OK);
    const qn_shape shapes[] = {{.dims = x_dims, .rank = 2}, {.dims = &length, .rank = 1}};
    cr_assert_eq(qn_session_set_shapes(session, shapes, 2), QN_OK, "%s",
                 qn_session_message(session));
    const qn_buffer in[] = {{.data = x, .bytes = (size_t)(x_dims[0] * x_dims[1]) * sizeof *x},
                            {.data = (void *)(uintptr_t)sizes, .bytes = (size_t)count * 8}};
    qn_buffer out = {0};
    made.status = qn_run(session, in, 2, &out, 1);
    snprintf(made.message, sizeof made.message, "%s", qn_session_message(session));
    if (made.status == QN_OK) {
        cr_assert_eq(qn_session_output(session, 0, &info), QN_OK);
        cr_assert_eq(qn_session_output_data(session, 0, &result), QN_OK);
        made.rank = info.rank;
        for (int d = 0; d < info.rank; d++)
            elements *= made.dims[d] = info.dims[d].value;
        cr_assert(elements <= MOST);
        memcpy(made.data, result, (size_t)elements * sizeof(float));
    }
    qn_session_release(session);
    return made;
}

static const int64_t small[] = {3, 4}, large[] = {5, 6};

/* Element [i, j] of a result with two dims. */
static float at(const Made *made, int64_t i, int64_t j)
{
    return made->data[i * made->dims[1] + j];
}

Test(import_extents, reshape_by_input)
{
    Sized s = open_sized(node("Reshape", "x,s", "y"), "N,C", 3, 3);
    Made made = run_sized(&s, small, SIZES(2, 3, 2));
    expect_dims(&made, SIZES(2, 3, 2));
    for (int i = 0; i < 12; i++)
        cr_expect_eq(made.data[i], (float)i);
    made = run_sized(&s, large, SIZES(0, -1, 3));
    expect_dims(&made, SIZES(5, 2, 3));
    for (int i = 0; i < 30; i++)
        cr_expect_eq(made.data[i], (float)i);
    made = run_sized(&s, large, SIZES(0, 7, 3));
    expect_refused(&made, "no shape of the tensor's elements");
    made = run_sized(&s, large, SIZES(1, -1, -2));
    expect_refused(&made, "size 2 is -2");
    close_sized(&s);
}

Test(import_extents, expand_by_input)
{
    static const int64_t one[] = {3, 1}, other[] = {1, 1};
    Sized s = open_sized(node("Expand", "x,s", "y"), "N,1", 2, 2);
    Made made = run_sized(&s, one, SIZES(1, 5));
    expect_dims(&made, SIZES(3, 5));
    for (int i = 0; i < 15; i++)
        cr_expect_eq(made.data[i], (float)(i / 5));
    made = run_sized(&s, other, SIZES(7, 2));
    expect_dims(&made, SIZES(7, 2));
    for (int i = 0; i < 14; i++)
        cr_expect_eq(made.data[i], 0.0f);
    made = run_sized(&s, one, SIZES(2, 5));
    expect_refused(&made, "size 0 is 2");
    close_sized(&s);
}

Test(import_extents, tile_by_input)
{
    Sized s = open_sized(node("Tile", "x,s", "y"), "N,C", 2, 2);
    Made made = run_sized(&s, small, SIZES(1, 3));
    expect_dims(&made, SIZES(3, 12));
    for (int i = 0; i < 36; i++)
        cr_expect_eq(made.data[i], (float)(i / 12 * 4 + i % 12 % 4));
    made = run_sized(&s, large, SIZES(2, 1));
    expect_dims(&made, SIZES(10, 6));
    for (int i = 0; i < 60; i++)
        cr_expect_eq(made.data[i], (float)(i % 30));
    close_sized(&s);
}

static Wire pad_node(const char *mode)
{
    Wire n = node("Pad", "x,s", "y"), a = attr("mode", 3);
    put_text(&a, 4, mode);
    put_wire(&n, 5, a);
    return n;
}

Test(import_extents, pad_by_input)
{
    Sized s = open_sized(pad_node("constant"), "N,C", 4, 2);
    Made made = run_sized(&s, small, SIZES(1, -1, 0, 2));
    expect_dims(&made, SIZES(4, 5));
    for (int64_t i = 0; i < 4; i++)
        for (int64_t j = 0; j < 5; j++)
            cr_expect_eq(at(&made, i, j), i && j < 3 ? (float)((i - 1) * 4 + j + 1) : 0.0f);
    made = run_sized(&s, large, SIZES(0, 0, 1, 0));
    expect_dims(&made, SIZES(6, 6));
    for (int i = 0; i < 36; i++)
        cr_expect_eq(made.data[i], i < 30 ? (float)i : 0.0f);
    made = run_sized(&s, small, SIZES(-2, 0, -2, 0));
    expect_refused(&made, "pads of -2 and -2 for 3 elements");
    close_sized(&s);
}

Test(import_extents, pad_repeats_by_input)
{
    static const char *const modes[] = {"reflect", "edge", "wrap"};
    static const float rows[3][6] = {{1, 0, 1, 2, 1, 0}, {0, 0, 1, 2, 2, 2}, {2, 0, 1, 2, 0, 1}};
    for (int m = 0; m < 3; m++) {
        Sized s = open_sized(pad_node(modes[m]), "N,C", 4, 2);
        Made made = run_sized(&s, small, SIZES(1, 0, 2, 0));
        expect_dims(&made, SIZES(6, 4));
        for (int64_t i = 0; i < 6; i++)
            for (int64_t j = 0; j < 4; j++)
                cr_expect_eq(at(&made, i, j), rows[m][i] * 4 + (float)j, "%s", modes[m]);
        made = run_sized(&s, small, SIZES(0, 0, 0, -4));
        expect_dims(&made, SIZES(3, 0));
        made = run_sized(&s, small, SIZES(0, 1, 0, -4));
        expect_refused(&made, "pads of 1 and -4 for 4 elements");
        close_sized(&s);
    }
}

Test(import_extents, slice_by_input)
{
    Sized s = open_sized(node("Slice", "x,s,e", "y"), "N,C", 2, 2);
    Made made = run_sized(&s, small, SIZES(1, -3));
    expect_dims(&made, SIZES(2, 3));
    for (int64_t i = 0; i < 2; i++)
        for (int64_t j = 0; j < 3; j++)
            cr_expect_eq(at(&made, i, j), (float)((i + 1) * 4 + j + 1));
    made = run_sized(&s, large, SIZES(4, 9));
    expect_dims(&made, SIZES(1, 0));
    close_sized(&s);
}

/* What a plan may hold that no importer makes. */
Test(import_extents, operation_refuses)
{
    HostCase *c = host_case();
    IN(c, i64, "1", 2);
    IN(c, i64, "0", 0);
    host_case_text(c, "other");
    cr_expect_eq(RUN(c, "extents", DT_u8), ST_bad_argument);
    c = host_case();
    IN(c, i64, "1", 2);
    IN(c, i64, "1", -3);
    host_case_text(c, "broadcast");
    cr_expect_eq(RUN(c, "extents", DT_u8), ST_bad_argument);
    c = host_case();
    IN(c, f32, "1", 2);
    IN(c, i64, "0", 0);
    host_case_text(c, "plain");
    cr_expect_eq(RUN(c, "extents", DT_u8), ST_bad_argument);
}
