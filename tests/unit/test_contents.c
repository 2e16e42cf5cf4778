/* Inputs whose contents are known when compiling: asked for, taken, and compared in a run. */
#include "tests/unit/onnx_wire.h"

#include <stdio.h>
#include <unistd.h>

#include "base/dtype.h"
#include "include/quern.h"

typedef struct Road {
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
} Road;

/* y = ReduceSum(x [2, 3], axes), the axes an input. */
static Road open_sum(const qn_context_options *options)
{
    Road r = {0};
    wire_init();
    Wire g = {0};
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", DT_f32, "2,3"));
    put_wire(&g, 11, info("axes", DT_i64, "n"));
    put_wire(&g, 12, info("y", DT_f32, "a,b"));
    put_node(&g, "ReduceSum", "x,axes", "y");
    Wire m = model(8, 13, g);
    cr_assert_eq(qn_context_create(options, &r.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(r.context, m.data, m.size, NULL, &r.model), QN_OK, "%s",
                 qn_model_message(r.model));
    return r;
}

static void close_road(Road *r)
{
    qn_session_release(r->session);
    qn_program_release(r->program);
    qn_model_release(r->model);
    qn_context_release(r->context);
    wire_finish();
}

static qn_status compile(Road *r, const char *name, const int64_t *axes, int64_t count)
{
    qn_contents contents = {.name = qn_str(name),
                            .dtype = QN_I64,
                            .rank = 1,
                            .dims = &count,
                            .data = axes,
                            .bytes = (size_t)count * sizeof *axes};
    qn_compile_options options = {
        .size = sizeof options, .contents = &contents, .content_count = 1};
    qn_program_release(r->program);
    return qn_program_compile(r->model, &options, &r->program);
}

Test(contents, asked_for)
{
    Road r = open_sum(NULL);
    qn_string wanted;
    cr_assert_eq(qn_program_compile(r.model, NULL, &r.program), QN_UNSUPPORTED);
    cr_assert_eq(qn_program_wants(r.program, 0, &wanted), QN_OK);
    cr_expect_str_eq(wanted.data, "axes");
    cr_expect_eq(wanted.length, 4);
    cr_expect_eq(qn_program_wants(r.program, 1, &wanted), QN_MISSING);
    close_road(&r);
}

Test(contents, taken_and_compared)
{
    Road r = open_sum(NULL);
    const float x[] = {1, 2, 3, 10, 20, 30};
    float y[3] = {0};
    int64_t axes[] = {1};
    cr_assert_eq(compile(&r, "axes", axes, 1), QN_OK, "%s", qn_program_message(r.program));
    cr_assert_eq(qn_session_create(r.program, NULL, &r.session), QN_OK);
    qn_buffer in[] = {{.data = (void *)(uintptr_t)x, .bytes = sizeof x},
                      {.data = axes, .bytes = sizeof axes}};
    qn_buffer out = {.data = y, .bytes = 2 * sizeof *y};
    cr_assert_eq(qn_run(r.session, in, 2, &out, 1), QN_OK, "%s", qn_session_message(r.session));
    cr_expect_eq(y[0], 6.0f);
    cr_expect_eq(y[1], 60.0f);
    axes[0] = 0; /* the program has a copy of its own */
    cr_expect_eq(qn_run(r.session, in, 2, &out, 1), QN_BAD_ARGUMENT);
    cr_expect(strstr(qn_session_message(r.session), "'axes' holds other values"), "%s",
              qn_session_message(r.session));
    close_road(&r);
}

Test(contents, other_contents_other_result)
{
    Road r = open_sum(NULL);
    float x[] = {1, 2, 3, 10, 20, 30}, y[3] = {0};
    int64_t axes[] = {-2};
    cr_assert_eq(compile(&r, "axes", axes, 1), QN_OK, "%s", qn_program_message(r.program));
    cr_assert_eq(qn_session_create(r.program, NULL, &r.session), QN_OK);
    qn_buffer in[] = {{.data = x, .bytes = sizeof x}, {.data = axes, .bytes = sizeof axes}};
    qn_buffer out = {.data = y, .bytes = sizeof y};
    cr_assert_eq(qn_run(r.session, in, 2, &out, 1), QN_OK, "%s", qn_session_message(r.session));
    cr_expect_eq(y[0], 11.0f);
    cr_expect_eq(y[1], 22.0f);
    cr_expect_eq(y[2], 33.0f);
    close_road(&r);
}

Test(contents, that_are_wrong)
{
    Road r = open_sum(NULL);
    const int64_t axes[] = {1};
    cr_expect_eq(compile(&r, "shape", axes, 1), QN_BAD_ARGUMENT);
    cr_expect(strstr(qn_program_message(r.program), "no input 'shape'"), "%s",
              qn_program_message(r.program));
    cr_expect_neq(compile(&r, "x", axes, 1), QN_OK);
    cr_expect_eq(compile(&r, "axes", NULL, 1), QN_BAD_ARGUMENT);
    cr_expect_eq(compile(&r, "axes", axes, INT64_MAX / 4), QN_BAD_ARGUMENT);
    cr_expect_eq(compile(&r, "axes", axes, -1), QN_BAD_ARGUMENT);
    close_road(&r);
}

static int is_cached(Road *r, int64_t axis)
{
    qn_program_info info;
    cr_assert_eq(compile(r, "axes", &axis, 1), QN_OK, "%s", qn_program_message(r->program));
    cr_assert_eq(qn_program_describe(r->program, &info), QN_OK);
    return info.cached;
}

Test(contents, are_part_of_what_the_cache_looks_for)
{
    char dir[] = "/tmp/quern-contents-XXXXXX", command[64];
    cr_assert_not_null(mkdtemp(dir));
    Road r = open_sum(&(qn_context_options){.cache_dir = qn_str(dir)});
    cr_expect_eq(is_cached(&r, 1), 0);
    cr_expect_eq(is_cached(&r, 0), 0);
    cr_expect_eq(is_cached(&r, 1), 1);
    close_road(&r);
    snprintf(command, sizeof command, "rm -r %s", dir);
    cr_expect_eq(system(command), 0);
}

/* A saved program refuses other contents as the compiled one does. */
Test(contents, saved)
{
    Road r = open_sum(NULL);
    float x[] = {1, 2, 3, 10, 20, 30}, y[3] = {0};
    int64_t axes[] = {1};
    char path[] = "/tmp/quern-contents-XXXXXX";
    int file = mkstemp(path);
    cr_assert_eq(compile(&r, "axes", axes, 1), QN_OK, "%s", qn_program_message(r.program));
    cr_assert_eq(qn_program_save(r.program, qn_str(path)), QN_OK, "%s",
                 qn_program_message(r.program));
    qn_program_release(r.program);
    cr_assert_eq(qn_program_load(r.context, qn_str(path), &r.program), QN_OK, "%s",
                 qn_program_message(r.program));
    close(file);
    unlink(path);
    cr_assert_eq(qn_session_create(r.program, NULL, &r.session), QN_OK);
    qn_buffer in[] = {{.data = x, .bytes = sizeof x}, {.data = axes, .bytes = sizeof axes}};
    qn_buffer out = {.data = y, .bytes = 2 * sizeof *y};
    cr_assert_eq(qn_run(r.session, in, 2, &out, 1), QN_OK, "%s", qn_session_message(r.session));
    cr_expect_eq(y[1], 60.0f);
    axes[0] = 0;
    cr_expect_eq(qn_run(r.session, in, 2, &out, 1), QN_BAD_ARGUMENT);
    close_road(&r);
}
