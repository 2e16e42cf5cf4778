/* Operators of the application through the public interface: imported, compiled, run between
 * kernels, and what is said when model, signature and context do not fit. */
#include "tests/unit/onnx_wire.h"

#include <stdio.h>
#include <unistd.h>

#include "include/quern.h"

static qn_context *context;
static qn_model *model_handle;
static qn_program *program;

static void start(void)
{
    wire_init();
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
}

static void stop(void)
{
    qn_program_release(program);
    qn_model_release(model_handle);
    qn_context_release(context);
    wire_finish();
}

TestSuite(custom_run, .init = start, .fini = stop);

#define FUNCTION(f) ((void (*)(void))(f))

static qn_status add(const char *signature, void (*function)(void), qn_operator_shape *shape)
{
    qn_operator op = {.size = sizeof op,
                      .name = qn_str("Mine"),
                      .signature = qn_str(signature),
                      .function = function,
                      .shape = shape};
    return qn_custom_operator(context, &op);
}

/* z = Neg(Mine(Neg(x))), x f32 [n]. */
static qn_status compile(Dtype in, Dtype out)
{
    Wire g = {0};
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", (int)in, "n"));
    put_wire(&g, 12, info("z", (int)out, "m"));
    put_node(&g, "Neg", "x", "a");
    put_node(&g, "Mine", "a", "b");
    put_node(&g, "Neg", "b", "z");
    Wire m = model(8, 13, g);
    cr_assert_eq(qn_model_from_memory(context, m.data, m.size, NULL, &model_handle), QN_OK, "%s",
                 qn_model_message(model_handle));
    return qn_program_compile(model_handle, NULL, &program);
}

static qn_session *session_for(qn_program *p, int64_t n)
{
    qn_session *session;
    qn_shape shape = {.rank = 1, .dims = &n};
    cr_assert_eq(qn_session_create(p, NULL, &session), QN_OK, "%s", qn_session_message(session));
    cr_assert_eq(qn_session_set_shapes(session, &shape, 1), QN_OK, "%s",
                 qn_session_message(session));
    return session;
}

static void reverse(const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[n - 1 - i];
}

Test(custom_run, between_kernels)
{
    float x[] = {1, 2, 3, 4, 5}, z[5];
    cr_assert_eq(add("f32* count:0 -> f32*", FUNCTION(reverse), NULL), QN_OK, "%s",
                 qn_context_message(context));
    cr_assert_eq(compile(DT_f32, DT_f32), QN_OK, "%s", qn_program_message(program));
    for (int64_t n = 5; n >= 1; n--) {
        qn_session *session = session_for(program, n);
        qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = z, .bytes = sizeof z};
        cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(session));
        for (int64_t i = 0; i < n; i++)
            cr_expect_eq(z[i], x[n - 1 - i]);
        qn_session_release(session);
    }
}

/* Half the input: a size that is told for known sizes only. */
static qn_status shape_half(void *user, const qn_operand *operands, int32_t operand_count,
                            int32_t output, int32_t *rank, int64_t *dims)
{
    (void)user;
    (void)operand_count;
    (void)output;
    *rank = 1;
    dims[0] = operands[0].dims[0] < 0 ? -1 : operands[0].dims[0] / 2;
    return QN_OK;
}

static void halves(const float *x, const int64_t *dims, float *y)
{
    for (int64_t i = 0; i < dims[0] / 2; i++)
        y[i] = x[2 * i] + x[2 * i + 1];
}

Test(custom_run, size_known_in_the_run)
{
    float x[] = {1, 2, 3, 4, 5, 6};
    const void *data;
    qn_tensor_info output;
    cr_assert_eq(add("f32* dims:0 -> f32*", FUNCTION(halves), shape_half), QN_OK);
    cr_assert_eq(compile(DT_f32, DT_f32), QN_OK, "%s", qn_program_message(program));
    qn_session *session = session_for(program, 6);
    qn_buffer in = {.data = x, .bytes = sizeof x};
    cr_assert_eq(qn_run(session, &in, 1, NULL, 0), QN_OK, "%s", qn_session_message(session));
    cr_assert_eq(qn_session_output(session, 0, &output), QN_OK);
    cr_assert_eq(output.dims[0].value, 3);
    cr_assert_eq(qn_session_output_data(session, 0, &data), QN_OK);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(((const float *)data)[i], x[2 * i] + x[2 * i + 1]);
    qn_session_release(session);
}

static int32_t refuse(const float *x, float *y)
{
    (void)x;
    (void)y;
    return QN_BAD_INDEX;
}

Test(custom_run, failure_names_the_node)
{
    float x[] = {1, 2}, z[2];
    cr_assert_eq(add("f32* -> status f32*", FUNCTION(refuse), NULL), QN_OK);
    cr_assert_eq(compile(DT_f32, DT_f32), QN_OK, "%s", qn_program_message(program));
    qn_session *session = session_for(program, 2);
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = z, .bytes = sizeof z};
    cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_BAD_INDEX);
    cr_assert(strstr(qn_session_message(session), "(Mine)"), "%s", qn_session_message(session));
    qn_session_release(session);
}

/* A saved program holds the operator's name: another context has to know it. */
Test(custom_run, saved_program_without_the_operator)
{
    float x[] = {1, 2}, z[2];
    char path[] = "/tmp/quern-custom-XXXXXX";
    qn_context *other;
    qn_program *loaded;
    cr_assert_eq(add("f32* count:0 -> f32*", FUNCTION(reverse), NULL), QN_OK);
    cr_assert_eq(compile(DT_f32, DT_f32), QN_OK, "%s", qn_program_message(program));
    close(mkstemp(path));
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK);
    cr_assert_eq(qn_context_create(NULL, &other), QN_OK);
    cr_assert_eq(qn_program_load(other, qn_str(path), &loaded), QN_OK, "%s",
                 qn_program_message(loaded));
    qn_session *session = session_for(loaded, 2);
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = z, .bytes = sizeof z};
    cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_MISSING);
    cr_assert(strstr(qn_session_message(session), "qn_custom_operator"), "%s",
              qn_session_message(session));
    qn_session_release(session);
    qn_program_release(loaded);
    qn_context_release(other);
    unlink(path);
}

static void expect_refused(qn_status status, const char *words)
{
    cr_assert_eq(compile(DT_f32, DT_f32), status, "%s", qn_program_message(program));
    cr_assert(strstr(qn_program_message(program), "(Mine)"), "%s", qn_program_message(program));
    cr_assert(strstr(qn_program_message(program), words), "%s", qn_program_message(program));
}

Test(custom_run, not_registered)
{
    expect_refused(QN_UNSUPPORTED, "qn_custom_operator");
}

Test(custom_run, later_version)
{
    qn_operator op = {.name = qn_str("Mine"),
                      .since = 14,
                      .signature = qn_str("f32* -> f32*"),
                      .function = FUNCTION(reverse)};
    cr_assert_eq(qn_custom_operator(context, &op), QN_OK);
    expect_refused(QN_UNSUPPORTED, "no operator 'Mine'");
}

Test(custom_run, another_type)
{
    cr_assert_eq(add("f64* -> f32*", FUNCTION(reverse), NULL), QN_OK);
    expect_refused(QN_BAD_MODEL, "input 0 is f32; the registered signature says f64");
}

Test(custom_run, too_few_inputs)
{
    cr_assert_eq(add("f32* f32 -> f32*", FUNCTION(reverse), NULL), QN_OK);
    expect_refused(QN_BAD_MODEL, "input 1 is left out");
}

Test(custom_run, attribute_that_is_missing)
{
    cr_assert_eq(add("f32* i64:axis -> f32*", FUNCTION(reverse), NULL), QN_OK);
    expect_refused(QN_BAD_MODEL, "attribute 'axis'");
}

Test(custom_run, wrong_registrations)
{
    cr_assert_eq(add("f32*", FUNCTION(reverse), NULL), QN_BAD_ARGUMENT);
    cr_assert(strstr(qn_context_message(context), "results are missing"));
    cr_assert_eq(add("f32* -> f32*", NULL, NULL), QN_BAD_ARGUMENT);
    cr_assert_eq(qn_custom_operator(context, NULL), QN_BAD_ARGUMENT);
    cr_assert_eq(qn_custom_operator(NULL, NULL), QN_BAD_ARGUMENT);
    cr_assert_eq(add("f32* -> f32*", FUNCTION(reverse), NULL), QN_OK);
    cr_assert_eq(add("f32* -> f32*", FUNCTION(reverse), NULL), QN_BAD_ARGUMENT);
}
