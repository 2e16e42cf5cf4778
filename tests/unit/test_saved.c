/* Saved programs: written, loaded from a file and from memory at any alignment, run without the
 * model; and refused when anything in the file is wrong. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/quern.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

enum { MOST = 1 << 20 };

static float x[64], y[10], expected[10];
static unsigned char bytes[MOST + 16];
static size_t size;
static qn_context *context;

static void run_on_ones(qn_program *program, float *result)
{
    qn_session *session;
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = result, .bytes = sizeof y};
    for (int i = 0; i < 64; i++)
        x[i] = 1;
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK, "%s",
                 qn_session_message(session));
    cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(session));
    qn_session_release(session);
}

/* Saves the demo for one image; `bytes` then holds the file. */
static void save(char *path)
{
    qn_model *model;
    qn_program *program;
    qn_context_options options = {.threads = 1};
    qn_dim_value one = {.symbol = qn_str("N"), .value = 1};
    qn_compile_options compile = {.dims = &one, .dim_count = 1};
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    close(file);
    cr_assert_eq(qn_context_create(&options, &context), QN_OK);
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    cr_assert_eq(qn_program_compile(model, &compile, &program), QN_OK, "%s",
                 qn_program_message(program));
    run_on_ones(program, expected);
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK, "%s", qn_program_message(program));
    qn_program_release(program);
    qn_model_release(model); /* what was saved does not need it */
    FILE *in = fopen(path, "rb");
    cr_assert_not_null(in);
    size = fread(bytes, 1, MOST, in);
    fclose(in);
    cr_assert(size > 1000 && size < MOST);
}

static void check_same(qn_program *program)
{
    memset(y, 0, sizeof y);
    run_on_ones(program, y);
    cr_assert_arr_eq(y, expected, sizeof y);
}

Test(saved, file_and_memory)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program, *again;
    qn_tensor_info input;
    qn_program_info info;
    save(path);
    cr_assert_eq(qn_program_load(context, qn_str(path), &program), QN_OK, "%s",
                 qn_program_message(program));
    cr_assert_eq(qn_program_input(program, 0, &input), QN_OK);
    cr_assert_eq(input.dims[0].value, 1);
    cr_assert_eq(qn_program_describe(program, &info), QN_OK);
    cr_assert_gt(info.weight_bytes, 100000);
    check_same(program);
    /* What was loaded can be saved, to the same bytes. */
    cr_assert_eq(qn_program_save(program, qn_str(path)), QN_OK);
    qn_program_release(program);
    static unsigned char other[MOST];
    FILE *in = fopen(path, "rb");
    cr_assert_eq(fread(other, 1, MOST, in), size);
    fclose(in);
    cr_assert_arr_eq(other, bytes, size);
    unlink(path);
    for (size_t shift = 0; shift < 16; shift += 5) {
        memmove(bytes + shift, shift ? bytes + shift - 5 : bytes, size);
        cr_assert_eq(qn_program_from_memory(context, bytes + shift, size, &again), QN_OK, "%s",
                     qn_program_message(again));
        check_same(again);
        qn_program_release(again);
    }
    qn_context_release(context);
}

static void refused(const void *data, size_t length)
{
    qn_program *program;
    cr_assert_eq(qn_program_from_memory(context, data, length, &program), QN_BAD_FILE);
    cr_assert(*qn_program_message(program));
    qn_session *session;
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_BAD_ARGUMENT);
    qn_program_release(program);
}

Test(saved, damage, .timeout = 300)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program;
    save(path);
    unlink(path);
    for (size_t length = 0; length < size; length += length < 200 ? 1 : 4999)
        refused(bytes, length);
    refused(bytes, size + 8);
    for (size_t at = 0; at < size; at += at < 400 ? 1 : 4999) {
        bytes[at] ^= 0x20;
        refused(bytes, size);
        bytes[at] ^= 0x20;
    }
    cr_assert_eq(qn_program_load(context, qn_str("/nonexistent/file"), &program), QN_IO);
    cr_assert(strstr(qn_program_message(program), "/nonexistent/file"));
    qn_program_release(program);
    cr_assert_eq(qn_program_load(context, qn_str("/"), &program), QN_IO);
    qn_program_release(program);
    cr_assert_eq(qn_program_load(context, (qn_string){"a\0b", 3}, &program), QN_BAD_ARGUMENT);
    qn_program_release(program);
    cr_assert_eq(qn_program_from_memory(context, NULL, 0, &program), QN_BAD_FILE);
    qn_program_release(program);
    qn_context_release(context);
}

Test(saved, cannot_write)
{
    char path[] = "/tmp/quern-saved-XXXXXX";
    qn_program *program;
    save(path);
    cr_assert_eq(qn_program_load(context, qn_str(path), &program), QN_OK);
    cr_assert_eq(qn_program_save(program, qn_str("/nonexistent/file")), QN_IO);
    cr_assert(strstr(qn_program_message(program), "/nonexistent/file"));
    check_same(program); /* it is as good as before */
    qn_program_release(program);
    unlink(path);
    qn_context_release(context);
}
