/* What every device must do (runtime/device.h): one set of checks, run on each of them. A new
 * device gets a line in `kinds` (device_case.h) and one in EACH. */
#include <pthread.h>

#include "tests/cts/device_case.h"

/* --- memory --- */

static Stream *open_stream(void)
{
    Stream *stream = NULL;
    cr_assert_eq(job.type->open_stream(job.device, job.plan, &stream, &report), ST_ok, "%s",
                 report.text);
    cr_assert(stream && stream->device == job.device);
    cr_assert_geq(job.type->stream_bytes(stream), 0);
    return stream;
}

static void wait_for(Stream *stream)
{
    cr_assert_eq(job.type->wait(stream, NULL, &report), ST_ok, "%s", report.text);
}

enum { BIG = 1 << 20 };

static void memory_is_kept(void)
{
    Stream *stream = open_stream();
    int64_t align = job.device->limits.align;
    cr_assert(align >= 64 && align % 64 == 0);
    char *a = job.type->alloc(job.device, BIG), *b = job.type->alloc(job.device, align);
    unsigned char *host = malloc(BIG), *back = calloc(1, BIG);
    cr_assert(a && b && host && back);
    for (int i = 0; i < BIG; i++)
        host[i] = (unsigned char)(i * 7 + i / 251);
    cr_assert_eq(job.type->write(stream, a, host, BIG, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, back, a, BIG, &report), ST_ok, "%s", report.text);
    wait_for(stream);
    cr_assert_eq(memcmp(host, back, BIG), 0);
    /* parts, at any byte */
    cr_assert_eq(job.type->read(stream, back, a + 12345, 1001, &report), ST_ok);
    wait_for(stream);
    cr_assert_eq(memcmp(host + 12345, back, 1001), 0);
    job.type->release(job.device, b, align);
    job.type->release(job.device, a, BIG);
    job.type->close_stream(stream);
    free(host);
    free(back);
}
EACH(memory_is_kept)

static void work_is_in_order(void)
{
    Stream *stream = open_stream();
    char *a = job.type->alloc(job.device, 4096), *b = job.type->alloc(job.device, 8192);
    char first[4096], second[4096], from_a[4096], from_b[4096];
    memset(first, 1, sizeof first);
    memset(second, 2, sizeof second);
    cr_assert(a && b);
    cr_assert_eq(job.type->write(stream, a, first, 4096, &report), ST_ok);
    cr_assert_eq(job.type->copy(stream, b + 4096, a, 4096, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->write(stream, a, second, 4096, &report), ST_ok);
    cr_assert_eq(job.type->read(stream, from_b, b + 4096, 4096, &report), ST_ok);
    cr_assert_eq(job.type->read(stream, from_a, a, 4096, &report), ST_ok);
    wait_for(stream);
    cr_assert_eq(memcmp(from_b, first, 4096), 0);
    cr_assert_eq(memcmp(from_a, second, 4096), 0);
    job.type->release(job.device, a, 4096);
    job.type->release(job.device, b, 8192);
    job.type->close_stream(stream);
    job.type->close_stream(NULL);
}
EACH(work_is_in_order)

static void too_much_memory(void)
{
    cr_assert_null(job.type->alloc(job.device, INT64_C(1) << 55));
}
EACH(too_much_memory)

/* --- code --- */

static DeviceCode *load_code(void)
{
    DeviceCode *code = NULL;
    cr_assert_eq(job.type->load(job.device, job.plan, &job.compiled.code, NULL, &code, &report),
                 ST_ok, "%s", report.text);
    return code;
}

static void wrong_code(void)
{
    DeviceCode *code = NULL;
    static const char nonsense[] = "no code of any kind";
    CodePiece pieces[] = {{nonsense, sizeof nonsense - 1}};
    for (int kind = 0; kind < CODE_count; kind++) {
        CodeImage image = {(CodeKind)kind, 1, pieces};
        Status status = job.type->load(job.device, job.plan, &image, NULL, &code, &report);
        cr_assert(status == ST_bad_file || (status == ST_device && image.kind == job.kind->code),
                  "kind %d: %s", kind, report.text);
        cr_assert_gt(strlen(report.text), 10);
    }
    /* every kernel has to be there */
    CodeImage none = {job.kind->code, 0, NULL};
    cr_assert_eq(job.type->load(job.device, job.plan, &none, NULL, &code, &report), ST_bad_file);
}
COMPUTING(wrong_code)

/* --- launches --- */

static void create_program(DeviceCode *code, Program **program)
{
    ProgramParts parts = {.plan = job.plan,
                          .weights = job.weights,
                          .device = job.device,
                          .code = code,
                          .from = &counting};
    cr_assert_eq(program_create(&parts, program, &report), ST_ok, "%s", report.text);
}

static bool near(const float *got, const float *want, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f))
            return false;
    return true;
}

static void set_sizes(Session *s, int64_t n, int64_t m)
{
    SessionShape shapes[] = {{2, (int64_t[]){n, IN}}, {1, (int64_t[]){m}}};
    cr_assert_eq(session_set_shapes(s, shapes, &report), ST_ok, "%s", report.text);
}

/* Results are the caller's own, so that sessions of several threads do not meet. */
static Status run(Session *s, int64_t n, int64_t m, int64_t last_index)
{
    float y[ROWS * OUT], sm[ROWS * OUT], z[PICKS * OUT], c[ROWS * IN];
    int64_t index[PICKS];
    Report own;
    for (int64_t i = 0; i < m; i++)
        index[i] = i == m - 1 ? last_index : i * 3 % n;
    memset(y, 0xFF, sizeof y);
    Status status = session_run(s, (const void *[]){x, index}, (void *[]){y, sm, z, c}, &own);
    if (status != ST_ok) {
        if (status == ST_bad_index)
            cr_assert(strstr(own.text, "node 'pick' (Gather): an index in the data"), "%s",
                      own.text);
        return status;
    }
    cr_assert(near(y, want_y, n * OUT) && near(sm, want_s, n * OUT));
    cr_assert_eq(memcmp(c, x, (size_t)n * IN * sizeof *x), 0);
    for (int64_t i = 0; i < m; i++)
        cr_assert_eq(memcmp(z + i * OUT, sm + index[i] * OUT, OUT * sizeof *z), 0);
    return status;
}

static void sessions_compute(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok, "%s", report.text);
    for (int64_t n = ROWS; n > 0; n -= 7) {
        set_sizes(s, n, n % 5 + 1);
        for (int again = 0; again < 2; again++)
            cr_assert_eq(run(s, n, n % 5 + 1, n - 1), ST_ok);
    }
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(sessions_compute)

static void empty_tensors(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, 0, 0);
    cr_assert_eq(
        session_run(s, (const void *[]){NULL, NULL}, (void *[]){NULL, NULL, NULL, NULL}, &report),
        ST_ok, "%s", report.text);
    set_sizes(s, 3, 0);
    cr_assert_eq(run(s, 3, 0, 0), ST_ok);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(empty_tensors)

static void bad_index(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    create_program(code, &program);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, 5, 2);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(run(s, 5, 2, 4), ST_ok);
        cr_assert_eq(run(s, 5, 2, 5), ST_bad_index);
        cr_assert_eq(run(s, 5, 2, INT64_MAX), ST_bad_index);
    }
    cr_assert_eq(run(s, 5, 2, 0), ST_ok);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(bad_index)

/* A request to stop ends the preparation and a run, and goes with it. */
static void cancelled(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    CancelFlag flag = 1;
    create_program(code, &program);
    cr_assert_eq(session_create(program, &flag, &s, &report), ST_cancelled);
    cr_assert_gt(strlen(report.text), 5);
    flag = 0;
    cr_assert_eq(session_create(program, &flag, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, 5, 2);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(run(s, 5, 2, 4), ST_ok);
        flag = 1;
        cr_assert_eq(run(s, 5, 2, 4), ST_cancelled);
        cr_assert_eq(flag, 0);
        flag = 1;
        cr_assert_eq(run(s, 5, 2, 5), ST_cancelled);
    }
    cr_assert_eq(run(s, 5, 2, 0), ST_ok);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(cancelled)

/* A list taken by hand, in two ranges, with a write and a read between them. It is bound before its
 * memory is known, and again. */
static void ranges(void)
{
    DeviceCode *code = load_code();
    Program *program;
    create_program(code, &program);
    cr_assert_eq(program_prepare(program, NULL, &report), ST_ok, "%s", report.text);
    const Plan *plan = job.plan;
    int64_t dims[2], align = job.device->limits.align, size = 0;
    Launches list;
    void **tensors = calloc(plan->tensor_count, sizeof *tensors);
    for (uint32_t d = 0; d < plan->dim_count; d++)
        dims[d] = plan->dims[d].name[0] == 'N' ? ROWS : 1;
    for (uint32_t t = 0; t < plan->tensor_count; t++)
        size += (plan_tensor_bytes(&plan->tensors[t], dims) + align - 1) / align * align;
    char *memory = job.type->alloc(job.device, size);
    size = 0;
    for (uint32_t t = 0; t < plan->tensor_count; t++) {
        void *fixed = program_tensors(program)[t];
        tensors[t] = fixed ? fixed : memory + size;
        size += (plan_tensor_bytes(&plan->tensors[t], dims) + align - 1) / align * align;
    }
    cr_assert(launches_init(&list, &counting, plan, plan->steps, plan->step_count, code));
    cr_assert(launches_set_dims(&list, dims));
    Stream *stream = open_stream();
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "%s", report.text);
    launches_set_memory(&list, tensors);
    int64_t index = 3;
    float y[ROWS * OUT], z[OUT];
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->bind(stream, &list, &report), ST_ok, "repeated: %s", report.text);
    job.type->write(stream, tensors[plan->inputs[0].tensor], x, sizeof x, &report);
    cr_assert_eq(job.type->run(stream, &list, 0, 1, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, y, tensors[plan->outputs[0].tensor], sizeof y, &report),
                 ST_ok);
    job.type->write(stream, tensors[plan->inputs[1].tensor], &index, sizeof index, &report);
    cr_assert_eq(job.type->run(stream, &list, 1, list.count, &report), ST_ok, "%s", report.text);
    cr_assert_eq(job.type->read(stream, z, tensors[plan->outputs[2].tensor], sizeof z, &report),
                 ST_ok);
    cr_assert_eq(job.type->wait(stream, &list, &report), ST_ok, "%s", report.text);
    cr_assert(near(y, want_y, ROWS * OUT));
    cr_assert(near(z, want_s + 3 * OUT, OUT));
    job.type->unbind(&list);
    job.type->unbind(&list);
    job.type->close_stream(stream);
    launches_finish(&list);
    job.type->release(job.device, memory, size);
    program_destroy(program);
    job.type->unload(code);
    free(tensors);
}
COMPUTING(ranges)

/* --- threads --- */

static void *use_program(void *program)
{
    Session *s;
    Report own;
    cr_assert_eq(session_create(program, NULL, &s, &own), ST_ok, "%s", own.text);
    for (int64_t n = 1; n < ROWS; n += 12) {
        SessionShape shapes[] = {{2, (int64_t[]){n, IN}}, {1, (int64_t[]){2}}};
        cr_assert_eq(session_set_shapes(s, shapes, &own), ST_ok, "%s", own.text);
        cr_assert_eq(run(s, n, 2, 0), ST_ok);
        cr_assert_eq(run(s, n, 2, n), ST_bad_index);
    }
    session_destroy(s);
    return NULL;
}

static void threads(void)
{
    DeviceCode *code = load_code();
    Program *program;
    pthread_t all[2];
    create_program(code, &program);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&all[i], NULL, use_program, program), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(all[i], NULL);
    program_destroy(program);
    job.type->unload(code);
}
COMPUTING(threads)

/* --- refused memory --- */

/* Whichever allocation is refused, there is an error, what was taken is given back, and the device
 * goes on. */
static void refused_memory(void)
{
    DeviceCode *code = load_code();
    int before = live, refused = 0;
    for (Status status = ST_out_of_memory; status != ST_ok; refused++) {
        Program *program = NULL;
        Session *s = NULL;
        SessionShape shapes[] = {{2, (int64_t[]){4, IN}}, {1, (int64_t[]){2}}};
        ProgramParts parts = {.plan = job.plan,
                              .weights = job.weights,
                              .device = job.device,
                              .code = code,
                              .from = &counting};
        refuse_after = refused;
        status = program_create(&parts, &program, &report);
        if (status == ST_ok)
            status = session_create(program, NULL, &s, &report);
        if (status == ST_ok)
            status = session_set_shapes(s, shapes, &report);
        refuse_after = INT32_MAX;
        if (status == ST_ok)
            cr_assert_eq(run(s, 4, 2, 1), ST_ok);
        session_destroy(s);
        program_destroy(program);
        cr_assert_eq(live, before, "%d refused: %d, not %d", refused, live, before);
        cr_assert(status == ST_ok || status == ST_out_of_memory, "%s", report.text);
    }
    cr_assert_gt(refused, 6);
    job.type->unload(code);
}
COMPUTING(refused_memory)

/* --- null --- */

static void gives_zeros(void)
{
    DeviceCode *code = load_code();
    Program *program;
    Session *s;
    float y[ROWS * OUT], sm[ROWS * OUT], z[OUT], c[ROWS * IN];
    int64_t index = 1 << 30;
    create_program(code, &program);
    cr_assert_eq(session_create(program, NULL, &s, &report), ST_ok, "%s", report.text);
    set_sizes(s, ROWS, 1);
    memset(y, 0xFF, sizeof y);
    cr_assert_eq(session_run(s, (const void *[]){x, &index}, (void *[]){y, sm, z, c}, &report),
                 ST_ok, "%s", report.text);
    for (int i = 0; i < ROWS * OUT; i++)
        cr_assert_eq(y[i], 0);
    session_destroy(s);
    program_destroy(program);
    job.type->unload(code);
}
ON(null, gives_zeros)
