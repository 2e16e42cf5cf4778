/* What the application's side may refuse: memory, at every single allocation from the context to
 * the first result, and the compiler. Nothing leaks, nothing crashes, messages say what it was. */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/quern.h"

#define MODEL QUERN_SOURCE_DIR "/examples/digits/digits.onnx"

/* --- an allocator that refuses one call, and knows what is out --- */

typedef struct Counting {
    long calls, refuse; /* the how-manieth is refused; 0 = none */
    long blocks;
    long long bytes;
    bool refused;
} Counting;

static void *count_alloc(void *user, size_t size, size_t align)
{
    Counting *c = user;
    if (++c->calls == c->refuse) {
        c->refused = true;
        return NULL;
    }
    c->blocks++;
    c->bytes += (long long)size;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void count_release(void *user, void *memory, size_t size)
{
    Counting *c = user;
    c->blocks--;
    c->bytes -= (long long)size;
    free(memory);
}

static float x[64 * 64], y[64 * 10];

/* From nothing to a result; the first status that is not QN_OK. One thread, so that counting needs
 * no lock. */
static qn_status whole_road(Counting *counting, const char *device)
{
    qn_allocator allocator = {counting, count_alloc, count_release};
    qn_context_options options = {.allocator = &allocator, .threads = 1};
    qn_context *context = NULL;
    qn_model *model = NULL;
    qn_program *program = NULL;
    qn_session *session = NULL;
    qn_dim_value one = {.symbol = qn_str("N"), .value = 1};
    qn_compile_options compile = {.dims = &one, .dim_count = 1, .device = qn_str(device)};
    qn_buffer in = {.data = x, .bytes = sizeof x}, out = {.data = y, .bytes = sizeof y};
    qn_status status = qn_context_create(&options, &context);
    if (status == QN_OK)
        status = qn_model_open(context, qn_str(MODEL), NULL, &model);
    if (status == QN_OK)
        status = qn_program_compile(model, &compile, &program);
    if (status == QN_OK)
        status = qn_session_create(program, NULL, &session);
    if (status == QN_OK)
        status = qn_run(session, &in, 1, &out, 1);
    if (status == QN_OUT_OF_MEMORY && model && *qn_model_message(model))
        cr_assert(strstr(qn_model_message(model), "memory"), "%s", qn_model_message(model));
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
    return status;
}

static void every_allocation(const char *device)
{
    Counting c = {0};
    cr_assert_eq(whole_road(&c, device), QN_OK);
    cr_assert_eq(c.blocks, 0);
    cr_assert_eq(c.bytes, 0);
    long total = c.calls;
    cr_assert_gt(total, 10);
    for (long n = 1; n <= total; n++) {
        c = (Counting){.refuse = n};
        qn_status status = whole_road(&c, device);
        cr_assert(c.refused, "allocation %ld of %ld was not asked for", n, total);
        cr_assert_eq(status, QN_OUT_OF_MEMORY, "allocation %ld of %ld: status %s", n, total,
                     qn_status_text(status));
        cr_assert_eq(c.blocks, 0, "allocation %ld: %ld blocks leak", n, c.blocks);
        cr_assert_eq(c.bytes, 0, "allocation %ld: %lld bytes leak", n, c.bytes);
    }
}

#ifdef __SANITIZE_ADDRESS__
int __lsan_do_recoverable_leak_check(void);
#else
static int __lsan_do_recoverable_leak_check(void)
{
    return 0;
}
#endif

Test(refused, every_allocation, .timeout = 300)
{
    every_allocation("cpu");
    /* What the code generator takes from malloc. */
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
}

/* --- the compiler --- */

Test(refused, no_code_generator)
{
    qn_context_options options = {.compiler_path = qn_str("/nonexistent/libquern_llvm.so")};
    qn_context *context;
    qn_model *model;
    qn_program *program;
    cr_assert_eq(qn_context_create(&options, &context), QN_OK);
    cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
    for (int i = 0; i < 2; i++) { /* and the context stays usable */
        cr_assert_eq(qn_program_compile(model, NULL, &program), QN_MISSING);
        cr_assert(strstr(qn_program_message(program), "/nonexistent/libquern_llvm.so"), "%s",
                  qn_program_message(program));
        qn_session *session;
        cr_assert_eq(qn_session_create(program, NULL, &session), QN_BAD_ARGUMENT);
        qn_program_release(program);
    }
    qn_model_release(model);
    qn_context_release(context);
}

/* A file that is a library, and not ours; one that is no library. */
Test(refused, another_library)
{
    static const char *const paths[] = {"libm.so.6", MODEL};
    for (int i = 0; i < 2; i++) {
        qn_context_options options = {.compiler_path = qn_str(paths[i])};
        qn_context *context;
        qn_model *model;
        qn_program *program;
        cr_assert_eq(qn_context_create(&options, &context), QN_OK);
        cr_assert_eq(qn_model_open(context, qn_str(MODEL), NULL, &model), QN_OK);
        cr_assert_eq(qn_program_compile(model, NULL, &program), QN_MISSING);
        cr_assert(strstr(qn_program_message(program), paths[i]), "%s", qn_program_message(program));
        qn_program_release(program);
        qn_model_release(model);
        qn_context_release(context);
    }
}
