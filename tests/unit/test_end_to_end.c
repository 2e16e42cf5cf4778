/* The public interface on a real model: handwritten digits, 500 test images of which the model as
 * trained gets 493 right. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/quern.h"

#define DIGITS QUERN_SOURCE_DIR "/examples/digits/"
enum { IMAGES = 500, RIGHT = 493, NPY_HEADER = 128 };

static float images[IMAGES][64], logits[IMAGES][10];
static int64_t labels[IMAGES];

static void read_npy(const char *path, void *data, size_t size)
{
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fseek(file, NPY_HEADER, SEEK_SET), 0);
    cr_assert_eq(fread(data, 1, size, file), size);
    fclose(file);
}

static void read_data(void)
{
    read_npy(DIGITS "images.npy", images, sizeof images);
    read_npy(DIGITS "labels.npy", labels, sizeof labels);
}

static int count_right(void)
{
    int right = 0;
    for (int i = 0; i < IMAGES; i++) {
        int best = 0;
        for (int c = 1; c < 10; c++)
            if (logits[i][c] > logits[i][best])
                best = c;
        right += best == labels[i];
    }
    return right;
}

typedef struct Road {
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
} Road;

static Road open_digits(const qn_context_options *context, const qn_compile_options *compile)
{
    Road r;
    cr_assert_eq(qn_context_create(context, &r.context), QN_OK);
    cr_assert_eq(qn_model_open(r.context, qn_str(DIGITS "digits.onnx"), NULL, &r.model), QN_OK,
                 "%s", qn_model_message(r.model));
    cr_assert_eq(qn_program_compile(r.model, compile, &r.program), QN_OK, "%s",
                 qn_program_message(r.program));
    cr_assert_eq(qn_session_create(r.program, NULL, &r.session), QN_OK, "%s",
                 qn_session_message(r.session));
    return r;
}

static void close_road(Road *r)
{
    /* any order */
    qn_context_release(r->context);
    qn_program_release(r->program);
    qn_model_release(r->model);
    qn_session_release(r->session);
}

static void run_batches(qn_session *session, int64_t batch)
{
    memset(logits, 0xFF, sizeof logits);
    qn_shape shape = {.rank = 4, .dims = (int64_t[]){batch, 1, 8, 8}};
    cr_assert_eq(qn_session_set_shapes(session, &shape, 1), QN_OK, "%s",
                 qn_session_message(session));
    for (int64_t i = 0; i < IMAGES; i += batch) {
        qn_buffer in = {.data = images[i], .bytes = (size_t)batch * sizeof images[0]};
        qn_buffer out = {.data = logits[i], .bytes = (size_t)batch * sizeof logits[0]};
        cr_assert_eq(qn_run(session, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(session));
    }
}

/* One generic program, at several batch sizes and numbers of threads: the accuracy is that of the
 * training script, and the bits depend neither on the threads nor on how the images are batched. */
Test(end_to_end, digits)
{
    static float first[IMAGES][10];
    read_data();
    for (int threads = 1; threads <= 3; threads++) {
        Road r = open_digits(&(qn_context_options){.threads = threads}, NULL);
        for (int64_t batch = 1; batch <= IMAGES; batch *= 5) {
            if (IMAGES % batch)
                continue;
            run_batches(r.session, batch);
            cr_assert_eq(count_right(), RIGHT, "%d right, batch %lld, %d threads", count_right(),
                         (long long)batch, threads);
            if (threads == 1 && batch == 1)
                memcpy(first, logits, sizeof first);
            cr_assert_eq(memcmp(first, logits, sizeof first), 0, "batch %lld, %d threads",
                         (long long)batch, threads);
        }
        close_road(&r);
    }
}

Test(end_to_end, fixed_batch)
{
    read_data();
    qn_dim_value n = {.symbol = qn_str("N"), .value = IMAGES};
    Road r = open_digits(NULL, &(qn_compile_options){.dims = &n, .dim_count = 1});
    qn_tensor_info info;
    cr_assert_eq(qn_program_input(r.program, 0, &info), QN_OK);
    cr_assert_eq(info.dims[0].value, IMAGES);
    cr_assert_eq(info.bytes, (int64_t)sizeof images);
    qn_buffer in = {.name = info.name, .data = images, .bytes = sizeof images};
    qn_buffer out = {.data = logits, .bytes = sizeof logits};
    cr_assert_eq(qn_run(r.session, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(r.session));
    cr_assert_eq(count_right(), RIGHT, "%d", count_right());
    close_road(&r);
}

Test(end_to_end, questions)
{
    Road r = open_digits(NULL, &(qn_compile_options){.keep_text = QN_TEXT_GRAPH | QN_TEXT_ASM});
    qn_model_info model;
    qn_tensor_info tensor;
    qn_program_info program;
    qn_operator_info op;
    qn_kernel_info kernel;
    qn_string text;
    cr_assert_eq(qn_model_describe(r.model, &model), QN_OK);
    cr_assert_eq(model.inputs, 1);
    cr_assert_eq(model.nodes, 9);
    cr_assert_gt(model.parameters, 1000);
    cr_assert_eq(qn_model_input(r.model, 0, &tensor), QN_OK);
    cr_assert_str_eq(tensor.name.data, "image");
    cr_assert_eq(tensor.rank, 4);
    cr_assert_eq(tensor.dims[0].value, -1);
    cr_assert_str_eq(tensor.dims[0].symbol.data, "N");
    cr_assert_eq(tensor.bytes, -1);
    cr_assert_eq(qn_model_input(r.model, 1, &tensor), QN_MISSING);
    cr_assert_eq(qn_model_operator(r.model, 0, &op), QN_OK);
    cr_assert_str_eq(op.name.data, "Conv");
    cr_assert_eq(op.uses, 2);
    cr_assert(op.supported);
    cr_assert_eq(qn_program_describe(r.program, &program), QN_OK);
    cr_assert(program.kernels >= 4 && program.kernels <= 9, "%d", program.kernels);
    cr_assert_gt(program.object_bytes, 0);
    for (int i = 0; i < program.kernels; i++) {
        cr_assert_eq(qn_program_kernel(r.program, 0, i, &kernel), QN_OK);
        cr_assert_gt(kernel.name.length, 10);
        cr_assert_not_null(strstr(kernel.nodes.data, "node"));
    }
    cr_assert_eq(qn_program_kernel(r.program, 0, program.kernels, &kernel), QN_MISSING);
    cr_assert_eq(qn_program_text(r.program, QN_TEXT_GRAPH, &text), QN_OK);
    cr_assert_not_null(strstr(text.data, "conv"));
    cr_assert_eq(qn_program_text(r.program, QN_TEXT_ASM, &text), QN_OK);
    cr_assert_eq(qn_program_text(r.program, QN_TEXT_LLVM, &text), QN_MISSING);
    close_road(&r);
}

static void expect(qn_status got, qn_status status, const char *message, const char *part)
{
    cr_assert_eq(got, status, "status %d: %s", got, message);
    cr_assert_not_null(strstr(message, part), "'%s' lacks '%s'", message, part);
}

Test(end_to_end, wrong_calls)
{
    Road r = open_digits(NULL, NULL);
    qn_session *s = r.session;
    qn_status got;
    qn_buffer in = {.data = images, .bytes = 64 * 4}, out = {.data = logits, .bytes = 10 * 4};
    got = qn_run(s, &in, 1, &out, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "not set");
    qn_shape shape = {.rank = 4, .dims = (int64_t[]){1, 1, 8, 9}};
    got = qn_session_set_shapes(s, &shape, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s),
           "input 'image': dim 3 is 9; it has to be 8");
    shape.dims = (int64_t[]){1, 1, 8, 8};
    shape.name = qn_str("picture");
    got = qn_session_set_shapes(s, &shape, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "no input 'picture'");
    shape.name = qn_str("image");
    cr_assert_eq(qn_session_set_shapes(s, &shape, 1), QN_OK);
    in.bytes--;
    got = qn_run(s, &in, 1, &out, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "takes 256 bytes, 255 are given");
    in.bytes++;
    got = qn_run(s, &in, 1, NULL, 0);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "has no memory");
    qn_buffer odd = {.data = (char *)images + 1, .bytes = 256};
    got = qn_run(s, &odd, 1, &out, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "not aligned");
    cr_assert_eq(qn_run(s, &in, 1, &out, 1), QN_OK);

    qn_program *p;
    qn_dim_value dim = {.symbol = qn_str("M"), .value = 2};
    got = qn_program_compile(r.model, &(qn_compile_options){.dims = &dim, .dim_count = 1}, &p);
    expect(got, QN_BAD_ARGUMENT, qn_program_message(p),
           "no input of the model has the dim 'M'; it has N");
    qn_program_release(p);
    got = qn_program_compile(r.model, &(qn_compile_options){.device = qn_str("abacus")}, &p);
    expect(got, QN_MISSING, qn_program_message(p), "abacus");
    qn_program_release(p);
    qn_model *m;
    got = qn_model_open(r.context, qn_str("/nowhere/x.onnx"), NULL, &m);
    expect(got, QN_MISSING, qn_model_message(m), "/nowhere/x.onnx");
    qn_model_release(m);
    got = qn_model_from_memory(r.context, "junk", 4, NULL, &m);
    expect(got, QN_BAD_MODEL, qn_model_message(m), "");
    qn_model_release(m);
    close_road(&r);
}

/* What is made from a handle that failed fails with the same words. */
Test(end_to_end, made_from_failed)
{
    qn_context *context;
    qn_model *m;
    qn_program *p;
    qn_session *s;
    qn_pack *pack;
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_neq(qn_model_open(context, qn_str("/nowhere/x.onnx"), NULL, &m), QN_OK);
    qn_status got = qn_program_compile(m, NULL, &p);
    expect(got, QN_BAD_ARGUMENT, qn_program_message(p), "/nowhere/x.onnx");
    got = qn_session_create(p, NULL, &s);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "/nowhere/x.onnx");
    cr_assert_eq(qn_session_set_shapes(s, NULL, 0), QN_BAD_ARGUMENT);
    cr_assert_eq(qn_run(s, NULL, 0, NULL, 0), QN_BAD_ARGUMENT);
    cr_assert_eq(qn_pack_create(context, &pack), QN_OK);
    got = qn_pack_add(pack, p, 0);
    expect(got, QN_BAD_ARGUMENT, qn_pack_message(pack), "/nowhere/x.onnx");
    got = qn_pack_add(pack, NULL, 0);
    expect(got, QN_BAD_ARGUMENT, qn_pack_message(pack), "no program");
    qn_context_release(context);
    got = qn_context_create(&(qn_context_options){.threads = -5}, &context);
    expect(got, QN_BAD_ARGUMENT, qn_context_message(context), "no handle");
    qn_pack_release(pack);
    qn_session_release(s);
    qn_program_release(p);
    qn_model_release(m);
}

/* Lists that are not there, are too long, or name something twice. */
Test(end_to_end, wrong_lists)
{
    Road r = open_digits(NULL, NULL);
    qn_session *s = r.session;
    qn_shape shape = {.rank = 4, .dims = (int64_t[]){1, 1, 8, 8}};
    qn_buffer in = {.data = images, .bytes = 64 * 4}, out = {.data = logits, .bytes = 40};
    qn_status got = qn_session_set_shapes(s, NULL, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "shapes at NULL");
    cr_assert_eq(qn_session_set_shapes(s, &shape, 1), QN_OK);
    got = qn_run(s, NULL, 1, &out, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "inputs at NULL");
    got = qn_run(s, &in, 2, &out, 1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "2 inputs are given");
    got = qn_run(s, &in, 1, &out, (size_t)-1);
    expect(got, QN_BAD_ARGUMENT, qn_session_message(s), "the model has 1");
    const qn_compile_options wrong[] = {
        {.dim_count = 1}, {.shape_count = 1}, {.content_count = 1}, {.device = {NULL, 4}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        qn_program *p;
        got = qn_program_compile(r.model, &wrong[i], &p);
        expect(got, QN_BAD_ARGUMENT, qn_program_message(p), "at NULL");
        qn_program_release(p);
    }
    close_road(&r);
}

/* Everything in one call: the session is all that is left, and says what failed before it. */
Test(end_to_end, session_of_a_file)
{
    qn_context *context;
    qn_session *s;
    qn_tensor_info info;
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    qn_dim_value dims[] = {{.value = 2}, {.symbol = qn_str("N"), .value = 3}};
    qn_compile_options options = {.dims = dims, .dim_count = 1};
    cr_assert_eq(qn_session_open(context, qn_str(DIGITS "digits.onnx"), &options, &s), QN_OK);
    cr_assert_eq(qn_session_input(s, 0, &info), QN_OK);
    cr_assert_eq(info.dims[0].value, 2);
    qn_buffer in = {.data = images, .bytes = 2 * 64 * 4}, out = {.data = logits, .bytes = 80};
    cr_assert_eq(qn_run(s, &in, 1, &out, 1), QN_OK, "%s", qn_session_message(s));
    qn_session_release(s);

    options.dim_count = 2; /* what is named counts */
    cr_assert_eq(qn_session_open(context, qn_str(DIGITS "digits.onnx"), &options, &s), QN_OK);
    cr_assert_eq(qn_session_input(s, 0, &info), QN_OK);
    cr_assert_eq(info.dims[0].value, 3);
    qn_session_release(s);

    qn_status got = qn_session_open(context, qn_str("/nowhere/x.onnx"), NULL, &s);
    expect(got, QN_MISSING, qn_session_message(s), "/nowhere/x.onnx");
    cr_assert_neq(qn_run(s, &in, 1, &out, 1), QN_OK);
    cr_assert_neq(qn_session_input(s, 0, &info), QN_OK);
    qn_session_release(s);
    options.device = qn_str("abacus");
    got = qn_session_open(context, qn_str(DIGITS "digits.onnx"), &options, &s);
    expect(got, QN_MISSING, qn_session_message(s), "abacus");
    qn_session_release(s);
    cr_assert_eq(qn_session_open(NULL, qn_str(DIGITS "digits.onnx"), NULL, &s), QN_BAD_ARGUMENT);
    qn_context_release(context);
}

static int32_t cancel(void *user, int64_t done, int64_t total, const char *what)
{
    cr_assert(done <= total && what);
    return ++*(int *)user < 3;
}

Test(end_to_end, cancelled)
{
    Road r = open_digits(NULL, NULL);
    qn_program *p;
    int calls = 0;
    cr_assert_eq(
        qn_program_compile(r.model,
                           &(qn_compile_options){.progress = cancel, .progress_user = &calls}, &p),
        QN_CANCELLED);
    cr_assert_eq(calls, 3);
    qn_program_release(p);
    close_road(&r);
}
