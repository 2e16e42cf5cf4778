/* Cancelling through the public interface: runs, and sessions in the making. Who cancels knows that
 * the work has begun from a function that the work itself calls: an operator of the application, or
 * an executor. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "model_run.h"

static qn_session *session;

TestSuite(cancel, .init = wire_init, .fini = wire_finish, .timeout = 120);

static void expect_cancelled(qn_status status)
{
    cr_assert_eq(status, QN_CANCELLED, "%d: %s", (int)status, qn_session_message(session));
    cr_assert(strstr(qn_session_message(session), "cancelled"), "%s", qn_session_message(session));
}

/* --- an operator that tells what happens */

static sem_t begun;
static void (*told)(void);

static void tell(const float *x, float *y)
{
    *y = *x + 1;
    if (told)
        told();
}

/* n times, which is known in the run: x + 1, by the operator. */
static Wire loop_model(const Item *in)
{
    Wire g = {0}, loop = node("Loop", "n,,x", "y"), attr = {0};
    put_text(&g, 2, "body");
    put_wire(&g, 1, node("Identity", "c", "d"));
    put_wire(&g, 1, node("Mine", "v", "w"));
    put_wire(&g, 11, info("i", 0, NULL));
    put_wire(&g, 11, info("c", 0, NULL));
    put_wire(&g, 11, info("v", 0, NULL));
    put_wire(&g, 12, info("d", 0, NULL));
    put_wire(&g, 12, info("w", 0, NULL));
    put_text(&attr, 1, "body");
    put_wire(&attr, 6, g);
    put_int(&attr, 20, 5);
    put_wire(&loop, 5, attr);
    return case_graph(18, &loop, 1, in, (const Item[]){{"y", DT_f32, "1", NULL, false, NULL}, {0}});
}

static qn_context *context;
static qn_model *model_handle;
static qn_program *program;

static void open_loop(void)
{
    const Item in[] = {
        {"n", DT_i64, "", VALUES(1), false, NULL}, {"x", DT_f32, "1", VALUES(1), false, NULL}, {0}};
    qn_operator op = {.name = qn_str("Mine"),
                      .signature = qn_str("f32* -> f32*"),
                      .function = (void (*)(void))tell};
    Wire bytes = loop_model(in);
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_custom_operator(context, &op), QN_OK, "%s", qn_context_message(context));
    cr_assert_eq(qn_model_from_memory(context, bytes.data, bytes.size, NULL, &model_handle), QN_OK,
                 "%s", qn_model_message(model_handle));
    cr_assert_eq(qn_program_compile(model_handle, NULL, &program), QN_OK, "%s",
                 qn_program_message(program));
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK, "%s",
                 qn_session_message(session));
}

static void close_loop(void)
{
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model_handle);
    qn_context_release(context);
}

static qn_status run_loop(int64_t n, float *y)
{
    float x = 0;
    *y = -1;
    qn_buffer in[] = {{.data = &n, .bytes = sizeof n}, {.data = &x, .bytes = sizeof x}};
    return qn_run(session, in, 2, &(qn_buffer){.data = y, .bytes = sizeof *y}, 1);
}

static void expect_sound(void)
{
    float y;
    told = NULL;
    for (int64_t n = 3; n < 5; n++) {
        cr_assert_eq(run_loop(n, &y), QN_OK, "%s", qn_session_message(session));
        cr_assert_eq(y, (float)n);
    }
}

static void post(void)
{
    sem_post(&begun);
}

static void *cancel_when_begun(void *user)
{
    (void)user;
    sem_wait(&begun);
    qn_cancel(session, 1);
    return NULL;
}

Test(cancel, from_another_thread)
{
    float y;
    open_loop();
    sem_init(&begun, 0, 0);
    for (int again = 0; again < 2; again++) {
        pthread_t thread;
        told = post;
        cr_assert_eq(pthread_create(&thread, NULL, cancel_when_begun, NULL), 0);
        expect_cancelled(run_loop(INT64_C(1) << 60, &y));
        pthread_join(thread, NULL);
        expect_sound();
        while (sem_trywait(&begun) == 0)
            continue;
    }
    close_loop();
}

static void cancel_on_signal(int number)
{
    (void)number;
    qn_cancel(session, 1);
}

static void send_signal(void)
{
    raise(SIGUSR1);
}

Test(cancel, from_a_signal_handler)
{
    float y;
    open_loop();
    signal(SIGUSR1, cancel_on_signal);
    told = send_signal;
    expect_cancelled(run_loop(INT64_C(1) << 60, &y));
    expect_sound();
    close_loop();
}

static void cancel_now(void)
{
    qn_cancel(session, 1);
}

/* All work is done when the request is looked at, and the run is cancelled all the same. */
Test(cancel, in_the_last_step)
{
    float y;
    open_loop();
    told = cancel_now;
    expect_cancelled(run_loop(1, &y));
    expect_sound();
    close_loop();
}

Test(cancel, before_the_run)
{
    float y;
    open_loop();
    qn_cancel(session, 1);
    qn_cancel(session, 1);
    expect_cancelled(run_loop(INT64_C(1) << 60, &y));
    expect_sound();
    /* taken back */
    qn_cancel(session, 1);
    qn_cancel(session, 0);
    expect_sound();
    /* a call that is no run leaves it */
    qn_cancel(session, 1);
    cr_assert_eq(qn_run(session, NULL, 0, NULL, 1), QN_BAD_ARGUMENT);
    expect_cancelled(run_loop(INT64_C(1) << 60, &y));
    expect_sound();
    qn_cancel(NULL, 1);
    close_loop();
}

/* --- kernels: an executor that cancels between the first piece of the work and the others */

static qn_session **cancels; /* NULL = it does not */
static int64_t jobs, done_before;

static int two(void *user)
{
    (void)user;
    return 2;
}

static void serial(void *user, int64_t tasks, qn_tasks *body, void *arg)
{
    (void)user;
    jobs++;
    for (int64_t i = 0; i < tasks; i++) {
        body(arg, i, i + 1, (int)(i % 2));
        if (cancels && *cancels && i == 0)
            qn_cancel(*cancels, 1);
    }
}

#define DIGITS QUERN_SOURCE_DIR "/examples/digits/digits.onnx"
enum { BATCH = 64 };
static float images[BATCH * 64], logits[BATCH * 10], want[BATCH * 10];

static qn_status run_digits(float *to)
{
    qn_buffer in = {.data = images, .bytes = sizeof images},
              out = {.data = to, .bytes = sizeof want};
    return qn_run(session, &in, 1, &out, 1);
}

static qn_context *serial_context(void)
{
    static const qn_executor executor = {NULL, two, serial};
    qn_context *made;
    cr_assert_eq(qn_context_create(&(qn_context_options){.executor = &executor}, &made), QN_OK);
    return made;
}

Test(cancel, between_pieces_of_a_kernel)
{
    qn_dim_value batch = {.symbol = qn_str(""), .value = BATCH};
    qn_compile_options options = {.dims = &batch, .dim_count = 1};
    context = serial_context();
    cr_assert_eq(qn_session_open(context, qn_str(DIGITS), &options, &session), QN_OK, "%s",
                 qn_session_message(session));
    for (int i = 0; i < BATCH * 64; i++)
        images[i] = (float)(i * 7 % 17);
    jobs = 0;
    cr_assert_eq(run_digits(want), QN_OK, "%s", qn_session_message(session));
    done_before = jobs;
    cr_assert_gt(done_before, 1);
    cancels = &session;
    jobs = 0;
    expect_cancelled(run_digits(logits));
    cr_assert_eq(jobs, 1, "%d kernels began behind the one that was cancelled", (int)jobs - 1);
    cancels = NULL;
    cr_assert_eq(run_digits(logits), QN_OK, "%s", qn_session_message(session));
    cr_assert_eq(memcmp(logits, want, sizeof want), 0);
    qn_session_release(session);
    qn_context_release(context);
}

/* --- sessions in the making */

Test(cancel, while_constants_are_computed)
{
    context = serial_context();
    cancels = &session;
    jobs = 0;
    expect_cancelled(qn_session_open(context, qn_str(DIGITS), NULL, &session));
    cr_assert_eq(jobs, 1);
    cr_assert_eq(run_digits(logits), QN_BAD_ARGUMENT);
    qn_session_release(session);
    cancels = NULL;
    cr_assert_eq(qn_session_open(context, qn_str(DIGITS), NULL, &session), QN_OK, "%s",
                 qn_session_message(session));
    qn_session_release(session);
    qn_context_release(context);
}

static int32_t cancel_while_compiling(void *user, int64_t done, int64_t total, const char *what)
{
    (void)total;
    (void)what;
    ++*(int *)user;
    if (done == 1)
        qn_cancel(session, 1);
    return 1;
}

Test(cancel, while_compiling)
{
    int calls = 0;
    qn_compile_options options = {.progress = cancel_while_compiling, .progress_user = &calls};
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    expect_cancelled(qn_session_open(context, qn_str(DIGITS), &options, &session));
    cr_assert_eq(calls, 2);
    qn_session_release(session);
    /* options of a header that ends before the progress function */
    session = NULL;
    options.size = offsetof(qn_compile_options, progress);
    cr_assert_eq(qn_session_open(context, qn_str(DIGITS), &options, &session), QN_OK);
    cr_assert_eq(calls, 2);
    qn_session_release(session);
    qn_context_release(context);
}
