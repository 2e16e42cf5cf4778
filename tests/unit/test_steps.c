/* Host steps, loops and branches from a graph's text to results: dims bound in a run, memory that
 * grows and then stays. Hostile plans are in test_steps_damage.c. */
#include "base/pool.h"
#include "runtime/device_cpu.h"
#include "runtime/session.h"
#include "tests/unit/counting.h"
#include "tests/unit/steps_plan.h"

static Report report;
static Device *device;
static DeviceCode *code;
static Program *program;
static Session *session;
static bool far; /* the device has memory of its own */

/* A session of the compiled plan, after a trip through its bytes. */
static void open_text(const char *text)
{
    job.text = text;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, compile, &job), ST_ok, "%s", cx.message);
    PlanBytes bytes = plan_write(&cx, job.compiled.plan);
    job.compiled.plan = plan_read(&cx, bytes.data, bytes.size);
    cr_assert_not_null(job.compiled.plan, "%s", cx.message);
    device = device_cpu_open(&counting, executor_inline);
    device->limits.host_memory = !far;
    cr_assert_eq(
        device->type->load(device, job.compiled.plan, &job.compiled.code, NULL, &code, &report),
        ST_ok, "%s", report.text);
    const void **weights = NEW_ARRAY(cx.arena, const void *, job.compiled.plan->weight_count);
    ProgramParts parts = {.plan = job.compiled.plan,
                          .weights = weights,
                          .device = device,
                          .code = code,
                          .from = &counting};
    cr_assert_eq(program_create(&parts, &program, &report), ST_ok, "%s", report.text);
    cr_assert_eq(session_create(program, NULL, &session, &report), ST_ok, "%s", report.text);
}

static void close_text(void)
{
    session_destroy(session);
    program_destroy(program);
    device->type->unload(code);
    device->type->close(device);
    llvm_module_close(&job.llvm);
    cx_finish(&cx);
    cr_expect_eq(live, 0);
}

/* What the run left of an output of the session's. */
static const float *owned(uint32_t output, int rank, int64_t d0, int64_t d1)
{
    int64_t dims[PLAN_RANK], bytes;
    const void *data;
    cr_assert(session_owns_output(session, output));
    cr_assert_eq(session_output(session, output, &data, &report), ST_ok, "%s", report.text);
    uint32_t tensor = job.compiled.plan->outputs[output].tensor;
    cr_assert_eq(session_tensor(session, tensor, dims, &bytes), rank);
    cr_expect_eq(dims[0], d0, "output %u: %lld, not %lld", output, (long long)dims[0],
                 (long long)d0);
    cr_expect(rank < 2 || dims[1] == d1);
    return data;
}

/* tests/golden/graph/steps.graph, in plain C. */
static void run_steps(int64_t n, int64_t trip, bool choice, int zeros)
{
    static float x[100], sum[100], grown[300], sums[200];
    int64_t found = 0, length, done = 0;
    for (int64_t i = 0; i < n; i++) {
        x[i] = i < zeros ? 0 : 0.25f;
        if (x[i] != 0)
            grown[found++] = x[i];
    }
    length = found;
    SessionShape shapes[] = {{1, &n}, {0, &n}, {0, &n}};
    cr_assert_eq(session_set_shapes(session, shapes, &report), ST_ok, "%s", report.text);
    void *outputs[6] = {[4] = sum};
    cr_assert_eq(session_run(session, (const void *[]){x, &trip, &choice}, outputs, &report), ST_ok,
                 "%s", report.text);
    for (bool go = choice; go && done < trip; done++) {
        float total = 0;
        grown[length++] = 1;
        for (int64_t i = 0; i < length; i++)
            total += grown[i];
        sums[done] = total;
        go = total < 6.5f;
    }
    const float *got = owned(1, 1, length, 0), *stacked = owned(2, 1, done, 0);
    const float *rows = owned(3, 2, done, n), *either = owned(5, 1, choice ? length : n, 0);
    owned(0, 1, found, 0);
    cr_expect(!length || memcmp(got, grown, (size_t)length * sizeof *grown) == 0);
    cr_expect(!done || memcmp(stacked, sums, (size_t)done * sizeof *sums) == 0);
    for (int64_t k = 0; k < done; k++)
        for (int64_t i = 0; i < n; i++)
            cr_assert_eq(rows[k * n + i], (x[i] + (float)k) * sums[k], "n %lld, row %lld, %lld: %g",
                         (long long)n, (long long)k, (long long)i, (double)rows[k * n + i]);
    for (int64_t i = 0; i < n; i++)
        cr_assert_eq(sum[i], choice ? 0 : x[i] + x[i]);
    cr_expect(memcmp(either, choice ? grown : x, (size_t)(choice ? length : n) * 4) == 0);
}

static void run_all(void)
{
    char *text = golden_named("graph/steps.graph");
    open_text(text);
    cr_expect(plan_grows(job.compiled.plan));
    for (int64_t n = 1; n <= 100; n = 3 * n + 1)
        for (int choice = 0; choice < 2; choice++)
            for (int zeros = 0; zeros <= n; zeros += (int)(n + 2) / 3) {
                run_steps(n, 100, choice, zeros);
                run_steps(n, 3, choice, zeros);
                run_steps(n, 0, choice, zeros);
            }
    close_text();
    free(text);
}

Test(steps, run)
{
    run_all();
}

/* The same with everything copied to and from the device, as if its memory were elsewhere. */
Test(steps, run_elsewhere)
{
    far = true;
    run_all();
}

/* The second run with the same sizes takes no memory, nor does one with smaller ones. */
Test(steps, memory_stays)
{
    static float x[16], sum[16];
    int64_t n = 16, trip = 20;
    bool choice = true;
    char *text = golden_named("graph/steps.graph");
    open_text(text);
    SessionShape shapes[] = {{1, &n}, {0, &n}, {0, &n}};
    cr_assert_eq(session_set_shapes(session, shapes, &report), ST_ok, "%s", report.text);
    for (int i = 0; i < 16; i++)
        x[i] = 0.125f;
    int after_first = 0;
    for (int round = 0; round < 5; round++) {
        x[0] = round == 4 ? 0 : 0.125f;
        cr_assert_eq(session_run(session, (const void *[]){x, &trip, &choice},
                                 (void *[6]){[4] = sum}, &report),
                     ST_ok, "%s", report.text);
        if (!round)
            after_first = allocations;
    }
    cr_expect_eq(allocations, after_first, "%d more", allocations - after_first);
    close_text();
    free(text);
}

/* A loop whose sizes follow from the inputs takes all its memory in set_shapes. */
static const char fixed_text[] =
    "graph fixed {\n"
    "  dim N 1..100\n"
    "  in %0 f32 [N] \"x\"\n"
    "  const %1 i64 [] = [9]\n"
    "  const %2 bool [] = [1]\n"
    "  %3 = loop %1, %2, %0 dtypes=[f32, f32] ranks=[1, 2] carried=1 until=0 body {\n"
    "    in %0 i64 []\n"
    "    in %1 f32 [N]\n"
    "    %2 = map %1, %1 scalar=add : f32 [N]\n"
    "    out %2 \"\"\n"
    "    out %2 \"\"\n"
    "  } : bundle\n"
    "  %4 = part %3 shape=[N] dtype=f32 index=0 : f32 [N]\n"
    "  %5 = part %3 shape=[9, N] dtype=f32 index=1 : f32 [9, N]\n"
    "  out %4 \"last\"\n"
    "  out %5 \"all\"\n"
    "}\n";

Test(steps, fixed_sizes)
{
    static float x[100], last[100], all[900];
    open_text(fixed_text);
    cr_expect(!plan_grows(job.compiled.plan));
    for (int64_t n = 7; n <= 63; n *= 3) {
        SessionShape shape = {1, &n};
        cr_assert_eq(session_set_shapes(session, &shape, &report), ST_ok, "%s", report.text);
        int before = allocations;
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)i;
        cr_assert_eq(session_run(session, (const void *[]){x}, (void *[]){last, all}, &report),
                     ST_ok, "%s", report.text);
        cr_expect_eq(allocations, before, "running allocates");
        for (int64_t i = 0; i < n; i++) {
            cr_assert_eq(last[i], 512 * x[i]);
            cr_assert_eq(all[3 * n + i], 16 * x[i]);
        }
        cr_expect_eq(session_info(session).flops, 9.0 * (double)n, "%g",
                     session_info(session).flops);
    }
    close_text();
}

/* What a body captures lives until its loop ends: %3 of the first and %6 of the second one share
 * their memory. */
static const char lives_text[] = "graph lives {\n"
                                 "  dim N 1..1000000\n"
                                 "  in %0 f32 [N] \"x\"\n"
                                 "  const %1 i64 [] = [3]\n"
                                 "  const %2 bool [] = [1]\n"
                                 "  %3 = map %0, %0 scalar=add : f32 [N]\n"
                                 "  %4 = loop %1, %2, %0, %3 dtypes=[f32] ranks=[1] carried=1 "
                                 "until=0 body {\n"
                                 "    in %0 i64 []\n"
                                 "    in %1 f32 [N]\n"
                                 "    in %2 f32 [N]\n"
                                 "    %3 = map %1, %2 scalar=add : f32 [N]\n"
                                 "    out %3 \"\"\n"
                                 "  } : bundle\n"
                                 "  %5 = part %4 shape=[N] dtype=f32 index=0 : f32 [N]\n"
                                 "  %6 = map %5, %5 scalar=mul : f32 [N]\n"
                                 "  %7 = loop %1, %2, %5, %6 dtypes=[f32] ranks=[1] carried=1 "
                                 "until=0 body {\n"
                                 "    in %0 i64 []\n"
                                 "    in %1 f32 [N]\n"
                                 "    in %2 f32 [N]\n"
                                 "    %3 = map %1, %2 scalar=sub : f32 [N]\n"
                                 "    out %3 \"\"\n"
                                 "  } : bundle\n"
                                 "  %8 = part %7 shape=[N] dtype=f32 index=0 : f32 [N]\n"
                                 "  out %8 \"y\"\n"
                                 "}\n";

static void run_lives(void)
{
    enum { N = 100000 };
    static float x[N], y[N];
    int64_t n = N;
    open_text(lives_text);
    SessionShape shape = {1, &n};
    cr_assert_eq(session_set_shapes(session, &shape, &report), ST_ok, "%s", report.text);
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 10);
    cr_assert_eq(session_run(session, (const void *[]){x}, (void *[]){y}, &report), ST_ok, "%s",
                 report.text);
    for (int i = 0; i < N; i++) {
        float first = 7 * x[i];
        cr_assert_eq(y[i], first - 3 * (first * first));
    }
}

Test(steps, captures_end)
{
    run_lives();
    /* two memories of each carried value, one for what is captured */
    cr_expect_lt(session_info(session).memory_bytes, 55 * (int64_t)sizeof(float) * 10000);
    close_text();
}

Test(steps, captures_end_elsewhere)
{
    far = true;
    run_lives();
    close_text();
}

/* The number of iterations is not what the result's shape says: an error, no write behind it. */
Test(steps, too_many_iterations)
{
    static float x[4], last[4], all[36];
    char text[sizeof fixed_text + 40];
    int64_t n = 4, trip = 10;
    snprintf(text, sizeof text, "%s", fixed_text);
    char *at = strstr(text, "const %1 i64 [] = [9]");
    memcpy(at, "in %1 i64 [] \"trip\"  ", strlen("const %1 i64 [] = [9]"));
    open_text(text);
    SessionShape shapes[] = {{1, &n}, {0, &n}};
    cr_assert_eq(session_set_shapes(session, shapes, &report), ST_ok, "%s", report.text);
    cr_expect_eq(session_run(session, (const void *[]){x, &trip}, (void *[]){last, all}, &report),
                 ST_bad_argument);
    cr_expect(strstr(report.text, "more iterations"), "%s", report.text);
    trip = 8;
    cr_expect_eq(session_run(session, (const void *[]){x, &trip}, (void *[]){last, all}, &report),
                 ST_bad_argument);
    trip = 9;
    cr_expect_eq(session_run(session, (const void *[]){x, &trip}, (void *[]){last, all}, &report),
                 ST_ok);
    close_text();
}

/* What the inner body binds is no symbol of the outer one. */
static const char nested_text[] =
    "graph nested {\n"
    "  dim N 1..100\n"
    "  dim h0 0..1000000\n"
    "  in %0 f32 [N] \"x\"\n"
    "  in %1 i64 [] \"trip\"\n"
    "  const %2 bool [] = [1]\n"
    "  %3 = loop %1, %2, %0, %1 dtypes=[f32] ranks=[1] carried=1 until=0 body {\n"
    "    dim h1 0..1000000\n"
    "    dim h2 0..1000000\n"
    "    in %0 i64 []\n"
    "    in %1 f32 [h1]\n"
    "    in %2 i64 []\n"
    "    const %3 bool [] = [1]\n"
    "    %4 = loop %2, %3, %1 dtypes=[f32] ranks=[1] carried=1 until=0 body {\n"
    "      dim h3 0..1000000\n"
    "      in %0 i64 []\n"
    "      in %1 f32 [h3]\n"
    "      %2 = concat %1, %1 axis=0 : f32 [2*h3]\n"
    "      out %2 \"\"\n"
    "    } : bundle\n"
    "    %5 = part %4 shape=[h2] dtype=f32 index=0 : f32 [h2]\n"
    "    out %5 \"\"\n"
    "  } : bundle\n"
    "  %4 = part %3 shape=[h0] dtype=f32 index=0 : f32 [h0]\n"
    "  out %4 \"y\"\n"
    "}\n";

Test(steps, nested_loops)
{
    static const float x[3] = {1, 2, 3};
    int64_t n = 3;
    open_text(nested_text);
    SessionShape shapes[] = {{1, &n}, {0, &n}};
    cr_assert_eq(session_set_shapes(session, shapes, &report), ST_ok, "%s", report.text);
    for (int64_t trip = 0; trip < 4; trip++) {
        cr_assert_eq(session_run(session, (const void *[]){x, &trip}, (void *[]){NULL}, &report),
                     ST_ok, "%s", report.text);
        int64_t length = n << trip * trip;
        const float *y = owned(0, 1, length, 0);
        for (int64_t i = 0; i < length; i++)
            cr_assert_eq(y[i], x[i % n]);
    }
    close_text();
}
