/* Programs and sessions, on a plan whose kernels are C functions: results, shapes and their errors,
 * memory, threads. */
#include <criterion/criterion.h>

#include <fenv.h>
#include <stdlib.h>

#include "base/pool.h"
#include "runtime/device_cpu.h"
#include "runtime/session.h"
#include "tests/unit/counting.h"
#include "tests/unit/hand_plan.h"

static Cx cx;
static Plan *plan;
static Report report;

static void build(Cx *c, void *user)
{
    *(Plan **)user = hand_plan(c);
    CHECK(plan_check(c, *(Plan **)user));
}

static void start(void)
{
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, build, (void *)&plan), ST_ok, "%s", cx.message);
}

static void stop(void)
{
    cx_finish(&cx);
}

TestSuite(session, .init = start, .fini = stop);

static Device *device;
static DeviceCode *code;

/* Also takes what there is apart when something is refused. */
static void destroy(Program *program)
{
    program_destroy(program);
    if (code)
        device->type->unload(code);
    if (device)
        device->type->close(device);
    code = NULL;
    device = NULL;
}

static Status create(Executor executor, Program **program)
{
    device = device_cpu_open(&counting, executor);
    if (!device)
        return ST_out_of_memory;
    if (device_cpu_code(device, plan, hand_find, NULL, &code, &report) != ST_ok)
        return report.status;
    ProgramParts parts = {.plan = plan,
                          .weights = (const void *[]){NULL},
                          .device = device,
                          .code = code,
                          .from = &counting};
    return program_create(&parts, program, &report);
}

static Status shapes(Session *s, int64_t n, int64_t m, int64_t n2)
{
    SessionShape all[] = {{2, (int64_t[]){n, 4}}, {1, (int64_t[]){m}}, {2, (int64_t[]){n2, 4}}};
    return session_set_shapes(s, all, &report);
}

/* Runs with n rows and m picks, and compares. */
static void run_and_compare(Session *s, int64_t n, int64_t m)
{
    float *x = malloc((size_t)(n + 1) * 16), *y = malloc((size_t)(n + 1) * 16);
    float *z = malloc((size_t)m * 16), *c = malloc((size_t)(n + 1) * 16);
    int64_t *index = malloc((size_t)m * 8);
    for (int64_t i = 0; i < 4 * n; i++)
        x[i] = (float)(i % 1000);
    for (int64_t i = 0; i < m; i++)
        index[i] = (7 * i) % n;
    cr_assert_eq(session_run(s, (const void *[]){x, index, x}, (void *[]){y, z, c}, &report), ST_ok,
                 "%s", report.text);
    for (int64_t i = 0; i < 4 * n; i++) {
        cr_assert_eq(y[i], 3 * (x[i] + 2 * hand_weight[i % 4]), "element %lld", (long long)i);
        cr_assert_eq(c[i], x[i]);
    }
    for (int64_t i = 0; i < m; i++)
        cr_assert_eq(memcmp(z + 4 * i, y + 4 * index[i], 16), 0);
    free(x);
    free(y);
    free(z);
    free(c);
    free(index);
}

Test(session, runs)
{
    Program *program;
    Session *s;
    cr_assert_eq(create(executor_inline, &program), ST_ok, "%s", report.text);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok, "%s", report.text);
    cr_assert(!session_ready(s));
    cr_assert_eq(program_info(program).init_bytes, 64);
    for (int64_t n = 1; n < 40; n += 6) {
        cr_assert_eq(shapes(s, n, 4, n), ST_ok, "%s", report.text);
        int before = allocations;
        run_and_compare(s, n, 4);
        cr_assert_eq(allocations, before, "running allocates");
    }
    int64_t dims[PLAN_RANK], bytes;
    cr_assert_eq(session_tensor(s, T_z, dims, &bytes), 2);
    cr_assert_eq(dims[0], 4);
    cr_assert_eq(bytes, 64);
    cr_assert_eq(session_info(s).flops, 4.0 * 4 * 37);
    session_destroy(s);
    destroy(program);
    cr_assert_eq(live, 0);
}

Test(session, threads)
{
    Program *program;
    Session *s[2];
    Pool *pool = pool_create(NULL, 4);
    cr_assert_not_null(pool);
    cr_assert_eq(create(pool_executor(pool), &program), ST_ok);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(session_create(program, NULL, &s[i], &report), ST_ok, "%s", report.text);
        cr_assert_eq(shapes(s[i], 1000, 64, 1000), ST_ok);
    }
    for (int i = 0; i < 50; i++)
        run_and_compare(s[i % 2], 1000, 64);
    session_destroy(s[0]);
    session_destroy(s[1]);
    destroy(program);
    pool_destroy(pool);
    cr_assert_eq(live, 0);
}

Test(session, wrong_shapes)
{
    Program *program;
    Session *s;
    cr_assert_eq(create(executor_inline, &program), ST_ok);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok);
    void *none[3] = {NULL};
    cr_assert_eq(session_run(s, (const void **)none, none, &report), ST_bad_argument);
    cr_assert_eq(shapes(s, 5, 4, 5), ST_ok);
    cr_assert_eq(shapes(s, 5, 4, 6), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'x2': dim 0 is 6; it has to be 5, as 'N' elsewhere");
    cr_assert_eq(shapes(s, 1001, 4, 1001), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'x': dim 0, 'N', is 1001; it has to be in 0..1000");
    cr_assert_eq(shapes(s, 5, 3, 5), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'i': dim 0, 'M', is 3; it has to be a multiple of 2");
    cr_assert_eq(shapes(s, -1, 4, -1), ST_bad_argument);
    cr_assert_eq(shapes(s, 600, 4, 600), ST_bad_argument);
    cr_assert_str_eq(report.text,
                     "node 'wide' (Add): with these shapes two dims that have to agree "
                     "are 2 and 0");
    SessionShape bad[] = {{2, (int64_t[]){5, 3}}, {1, (int64_t[]){4}}, {2, (int64_t[]){5, 4}}};
    cr_assert_eq(session_set_shapes(s, bad, &report), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'x': dim 1 is 3; it has to be 4");
    bad[0].rank = 1;
    cr_assert_eq(session_set_shapes(s, bad, &report), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'x' has 2 dims, 1 are given");
    bad[0].dims = NULL;
    cr_assert_eq(session_set_shapes(s, bad, &report), ST_bad_argument);
    run_and_compare(s, 5, 4); /* what was set before is still in force */
    session_destroy(s);
    destroy(program);
    cr_assert_eq(live, 0);
}

Test(session, bad_index)
{
    Program *program;
    Session *s;
    cr_assert_eq(create(executor_inline, &program), ST_ok);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok);
    cr_assert_eq(shapes(s, 3, 2, 3), ST_ok);
    float x[12] = {0}, y[12], z[8], c[12];
    int64_t index[2] = {2, 3};
    const void *in[] = {x, index, x};
    void *out[] = {y, z, c};
    cr_assert_eq(session_run(s, in, out, &report), ST_bad_index);
    cr_assert_str_eq(report.text, "node 'pick' (Gather): an index in the data is out of range "
                                  "(kernel pick)");
    index[1] = 1;
    cr_assert_eq(session_run(s, in, out, &report), ST_ok);
    in[1] = NULL;
    cr_assert_eq(session_run(s, in, out, &report), ST_bad_argument);
    cr_assert_str_eq(report.text, "input 'i' has no memory");
    session_destroy(s);
    destroy(program);
}

Test(session, empty)
{
    Program *program;
    Session *s;
    cr_assert_eq(create(executor_inline, &program), ST_ok);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok);
    cr_assert_eq(shapes(s, 0, 2, 0), ST_ok, "%s", report.text);
    int64_t index[2] = {0, 0};
    float z[8];
    /* x and y are empty and may be NULL; there is no row that could be picked */
    const void *in[] = {NULL, index, NULL};
    void *out[] = {NULL, z, NULL};
    cr_assert_eq(session_run(s, in, out, &report), ST_bad_index, "%s", report.text);
    session_destroy(s);
    destroy(program);
}

/* Whichever allocation is refused, there is an error and nothing leaks. */
Test(session, memory_refused)
{
    int allowed = 0;
    for (;; allowed++) {
        Program *program = NULL;
        Session *s = NULL;
        refuse_after = allowed;
        Status status = create(executor_inline, &program);
        if (status == ST_ok)
            status = session_create(program, NULL, &s, &report);
        if (status == ST_ok)
            status = shapes(s, 5, 4, 5);
        if (status == ST_ok)
            run_and_compare(s, 5, 4);
        session_destroy(s);
        destroy(program);
        cr_assert_eq(live, 0);
        if (status == ST_ok)
            break;
        cr_assert_eq(status, ST_out_of_memory);
    }
    cr_assert_gt(allowed, 6);
}

Test(session, missing_code)
{
    Program *program = NULL;
    plan->kernels[2].name = "twice";
    cr_assert_eq(create(executor_inline, &program), ST_bad_file);
    cr_assert_str_eq(report.text, "the machine code of 'twice_1' is missing");
    destroy(program);
    cr_assert_eq(live, 0);
}

/* Kernels round to nearest, whatever the caller has set, and the caller finds what it had. */
Test(session, float_environment)
{
    Program *program;
    Session *s;
    cr_assert_eq(create(executor_inline, &program), ST_ok);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok);
    cr_assert_eq(shapes(s, 1, 2, 1), ST_ok);
    float x[4] = {1e-10f, 1e-10f, 1e-10f, 1e-10f}, y[4], z[8], c[4];
    int64_t index[2] = {0, 0};
    fesetround(FE_UPWARD);
    cr_assert_eq(session_run(s, (const void *[]){x, index, x}, (void *[]){y, z, c}, &report),
                 ST_ok);
    cr_assert_eq(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(y[i], 6 * hand_weight[i]);
    session_destroy(s);
    destroy(program);
}
