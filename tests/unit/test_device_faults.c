/* Devices that fail: a device around another one whose call number N gives an error, for every N of
 * compiling from the cache, making a session, and running it with two shapes, twice each
 * (faulty_device.h).
 *
 * Whoever made the call to the library is told, with a status and the device's words; whatever is
 * not told worked. The same call made again works as soon as the device does, in the same session
 * as in a new one, with the same results; and nothing is left in use at the end. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cpu.h"
#include "jit/device_sim.h"
#include "runtime/api.h"
#include "runtime/device_cpu.h"
#include "runtime/device_null.h"
#include "runtime/device_opencl.h"
#include "tests/unit/body_wire.h"
#include "tests/unit/counting.h"
#include "tests/unit/faulty_device.h"
#include "tests/unit/model_run.h"
#include "tests/unit/scratch_dir.h"

/* --- the device --- */

static Device *open_cpu(qn_context *context, Report *report)
{
    (void)report;
    return around(device_cpu_open(&context->from, context->executor));
}

static Device *open_null(qn_context *context, Report *report)
{
    (void)report;
    return around(device_null_open(&context->from));
}

static Device *open_sim(qn_context *context, Report *report)
{
    (void)report;
    return around(device_sim_open(&context->from));
}

static Device *open_opencl(qn_context *context, Report *report)
{
    return around(device_opencl_open(&context->from, report));
}

static const char *host_target(const Device *device)
{
    (void)device;
    return cpu_level();
}

static const char *opencl_target(const Device *device)
{
    (void)device;
    return device_opencl_target(faulty.inner);
}

static const char *sim_target(const Device *device)
{
    (void)device;
    return device_sim_target(faulty.inner);
}

static const DeviceRow rows[] = {
    {"faulty-cpu", "", CODE_object, open_cpu, host_target, NULL},
    {"faulty-null", "", CODE_none, open_null, host_target, NULL},
    {"faulty-sim", "", CODE_tile, open_sim, sim_target, NULL},
    {"faulty-opencl", "", CODE_opencl, open_opencl, opencl_target, NULL},
};

/* --- models --- */

/* Two sets of inputs, of different shapes. */
typedef struct Subject {
    Wire bytes;
    const Item *in[2];
} Subject;

static const Item *const dense_in =
    ITEMS(W32("w", "3,4", 1, -2, 3, 4, -5, 6, 7, 8, -9, 1, 2, 3), W32("b", "4", 1, 2, -3, 4),
          W32("v", "4,2", 1, 0, 2, -1, .5, 3, -2, 1), GIVES(f32, "x", "N,3"));
static const Item *const dense_1 = ITEMS(F32("x", "2,3", 1, 2, 3, 4, 5, 6));
static const Item *const dense_2 = ITEMS(F32("x", "1,3", -1, 2, .5));

static Subject dense(void)
{
    const Wire n[] = {node("MatMul", "x,w", "h"),
                      node("Add", "h,b", "i"),
                      node("Relu", "i", "j"),
                      node("MatMul", "j,v", "k"),
                      with_int(node("Softmax", "k", "y"), "axis", 1),
                      {0}};
    return (Subject){whole(n, dense_in, ITEMS(GIVES(f32, "y", "N,2"))), {dense_1, dense_2}};
}

static const Item *const image_in =
    ITEMS(W32("w", "2,1,3,3", 1, -1, 2, 0, 1, -2, 1, 0, 1, 2, 1, 0, -1, 1, 1, 0, 2, -1),
          W32("b", "2", .5, -1), GIVES(f32, "x", "N,1,4,4"));
static const Item *const image_1 =
    ITEMS(F32("x", "1,1,4,4", 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2));
static const Item *const image_2 =
    ITEMS(F32("x", "2,1,4,4", 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2, 0, 1, 0, 2, 0, 3, 0,
              4, 0, 5, 0, 6, 0, 7, 0, 8));

static Subject image(void)
{
    const Wire n[] = {with_ints(node("Conv", "x,w,b", "h"), "pads", "1,1,1,1"),
                      node("Relu", "h", "i"),
                      with_ints(node("MaxPool", "i", "j"), "kernel_shape", "2,2"),
                      node("GlobalAveragePool", "j", "y"),
                      {0}};
    return (Subject){whole(n, image_in, ITEMS(GIVES(f32, "y", "N,2,1,1"))), {image_1, image_2}};
}

static const Item *const control_in =
    ITEMS(W32("w", "1", 2), GIVES(bool, "b", ""), GIVES(i64, "n", ""), GIVES(f32, "x", "N"));
static const Item *const control_1 =
    ITEMS(ITEM(bool, "b", "", 1), I64("n", "", 3), F32("x", "3", 1, 0, -3));
static const Item *const control_2 =
    ITEMS(ITEM(bool, "b", "", 0), I64("n", "", 2), F32("x", "2", 4, 4));

/* A loop with a stacked result and a branch, behind and before steps of the host whose results'
 * sizes only the run tells. */
static Subject control(void)
{
    Wire body = subgraph(
        "body", "i,c,v",
        NODES(node("Identity", "c", "d"), node("Add", "v,s", "o"), node("Identity", "v", "t")),
        "d,o,t");
    Wire yes = subgraph("body", "", NODES(node("NonZero", "z", "p1")), "p1");
    Wire no = subgraph("body", "", NODES(node("NonZero", "x", "p2")), "p2");
    Wire branch = with_graph(node("If", "b", "p"), "then_branch", yes);
    const Wire n[] = {node("Mul", "x,w", "s"),
                      with_graph(node("Loop", "n,,x", "z,all"), "body", body),
                      with_graph(branch, "else_branch", no),
                      node("Unique", "z", "u"),
                      node("Relu", "u", "y"),
                      {0}};
    const Item *out = ITEMS(GIVES(f32, "y", "K"), GIVES(f32, "all", "M,N"), GIVES(i64, "p", "1,L"));
    return (Subject){whole(n, control_in, out), {control_1, control_2}};
}

static const Item *const pick_in = ITEMS(GIVES(f32, "x", "4"), GIVES(i64, "i", "2"));

static Subject pick(void)
{
    const Wire n[] = {node("Gather", "x,i", "y"), {0}};
    return (Subject){whole(n, pick_in, ITEMS(GIVES(f32, "y", "2"))), {pick_in, pick_in}};
}

/* --- one use of the library --- */

enum { ROUNDS = 4, OUTPUT = 512 };

typedef struct Use {
    Subject subject;
    qn_context *context;
    qn_model *model;
    qn_compile_options options;
    int32_t count;
    qn_buffer outputs[MODEL_PORTS]; /* large enough for all rounds; without data: the session's */
    _Alignas(64) char room[MODEL_PORTS][OUTPUT];
    bool compare;
    size_t sizes[ROUNDS][MODEL_PORTS];
    char results[ROUNDS][MODEL_PORTS][OUTPUT];
} Use;

/* Whether to make the call again: it failed, as a call in which the device failed has to. A device
 * that is lost comes back behind the second failure. */
static bool again(int before, qn_status status, const char *message)
{
    cr_assert_eq(status != QN_OK, faulty.faults > before,
                 "call %ld of mode %d: the library says %d (%s), the device failed %d times",
                 faulty.at, faulty.mode, (int)status, message, faulty.faults - before);
    if (status == QN_OK)
        return false;
    cr_assert(status == QN_DEVICE || status == QN_OUT_OF_MEMORY, "call %ld: %d: %s", faulty.at,
              (int)status, message);
    cr_assert(strstr(message, "fell off") || strstr(message, "memory"), "%s", message);
    if (faulty.mode == LOST && before)
        faulty.at = 0;
    return true;
}

static qn_program *compile(Use *u)
{
    for (;;) {
        qn_program *program;
        int before = faulty.faults;
        qn_status status = qn_program_compile(u->model, &u->options, &program);
        if (!again(before, status, qn_program_message(program)))
            return program;
        qn_program_release(program);
    }
}

static qn_session *make_session(qn_program *program)
{
    for (;;) {
        qn_session *session;
        int before = faulty.faults;
        qn_status status = qn_session_create(program, NULL, &session);
        if (!again(before, status, qn_session_message(session)))
            return session;
        qn_session_release(session);
    }
}

/* Before the first run outputs whose sizes only a run tells have none. */
static void give_room(Use *u, const qn_session *session)
{
    qn_tensor_info info;
    for (u->count = 0; qn_session_output(session, u->count, &info) == QN_OK; u->count++)
        u->outputs[u->count] =
            (qn_buffer){.data = info.bytes < 0 ? NULL : u->room[u->count], .bytes = OUTPUT};
}

/* Shapes, a run, results: each until it works. What was asked for before a fault stays valid, so
 * shapes are only set again when they were lost. */
static void round_of(Use *u, qn_session *session, int round)
{
    qn_buffer inputs[MODEL_PORTS] = {{.data = NULL}};
    int64_t dims[MODEL_PORTS][MAX_RANK];
    qn_shape shapes[MODEL_PORTS] = {{.rank = 0}};
    size_t fed = 0;
    char said[1000];
    qn_status status;
    int before;
    for (const Item *in = u->subject.in [round / 2]; in->name; in++) {
        shapes[fed] = (qn_shape){
            .name = qn_str(in->name), .rank = item_dims(in, dims[fed]), .dims = dims[fed]};
        inputs[fed++] = (qn_buffer){.name = qn_str(in->name),
                                    .data = item_data(in),
                                    .bytes = (size_t)dtype_bytes(in->dtype, item_count(in)) + 8};
    }
    const char *message = qn_session_message(session); /* where it always is */
    do {
        before = faulty.faults;
        status = round % 2 ? QN_OK : qn_session_set_shapes(session, shapes, fed);
    } while (again(before, status, message));
    if (!round)
        give_room(u, session);
    int32_t count = u->count;
    const qn_buffer *outputs = u->outputs;
    do {
        before = faulty.faults;
        status = qn_run(session, inputs, fed, outputs, (size_t)count);
        snprintf(said, sizeof said, "%s", message);
        for (int32_t i = 0; status != QN_OK && i < count; i++) {
            const void *data;
            cr_assert(outputs[i].data || qn_session_output_data(session, i, &data) != QN_OK,
                      "call %ld of mode %d: a run that failed has results", faulty.at, faulty.mode);
        }
    } while (again(before, status, said));
    for (int32_t i = 0; i < count; i++) {
        qn_tensor_info info;
        const void *data = outputs[i].data;
        cr_assert_eq(qn_session_output(session, i, &info), QN_OK);
        do {
            before = faulty.faults;
            status = data ? QN_OK : qn_session_output_data(session, i, &data);
        } while (again(before, status, message));
        size_t bytes = (size_t)info.bytes;
        cr_assert(info.bytes >= 0 && bytes <= OUTPUT);
        if (u->compare)
            cr_assert(bytes == u->sizes[round][i] &&
                          (!bytes || memcmp(data, u->results[round][i], bytes) == 0),
                      "call %ld of mode %d: output %d of round %d is wrong", faulty.at, faulty.mode,
                      (int)i, round);
        else if (bytes)
            memcpy(u->results[round][i], data, bytes);
        u->sizes[round][i] = bytes;
    }
}

static void use_all(Use *u)
{
    qn_program *program = compile(u);
    for (int fresh = 0; fresh < 2; fresh++) {
        qn_session *session = make_session(program);
        for (int round = 0; round < ROUNDS; round++)
            round_of(u, session, round);
        qn_session_release(session);
    }
    qn_program_release(program);
    cr_assert_eq(faulty.live, 0, "call %ld of mode %d: %d things are left on the device", faulty.at,
                 faulty.mode, faulty.live);
}

/* --- sweeps --- */

static Use *begin(Subject (*make)(void), const DeviceRow *row)
{
    static const qn_allocator memory = {NULL, count_alloc, count_release};
    static DeviceRow list[2];
    static Use use;
    qn_context_options options = {.size = sizeof options,
                                  .allocator = &memory,
                                  .threads = 1,
                                  .cache_dir = qn_str(scratch_dir)};
    Report report;
    Device *there =
        row->kind == CODE_opencl ? device_opencl_open(&allocator_system, &report) : NULL;
    if (row->kind == CODE_opencl && !there)
        cr_skip_test("%s", report.text);
    if (there)
        there->type->close(there);
    list[0] = *row;
    cr_assert_eq(api_context_create(&options, list, &use.context), QN_OK);
    use.subject = make();
    use.options = (qn_compile_options){.size = sizeof use.options, .device = qn_str(row->name)};
    cr_assert_eq(qn_model_from_memory(use.context, use.subject.bytes.data, use.subject.bytes.size,
                                      NULL, &use.model),
                 QN_OK, "%s", qn_model_message(use.model));
    return &use;
}

static void end(Use *u)
{
    qn_model_release(u->model);
    qn_context_release(u->context);
    cr_assert_eq(live, 0, "%d pieces of memory are left", live);
}

/* Every call number `step`; with QUERN_LONG in the environment every one. */
static void sweep(Subject (*make)(void), const DeviceRow *row, long step)
{
    Use *u = begin(make, row);
    if (getenv("QUERN_LONG"))
        step = 1;
    use_all(u);
    u->compare = row->kind != CODE_none; /* whose kernels write nothing: results are anything */
    faulty.calls = 0;
    use_all(u);
    long calls = faulty.calls;
    cr_assert_gt(calls, 20);
    for (faulty.mode = 0; faulty.mode < MODES; faulty.mode++)
        for (long at = 1; at <= calls; at += step) {
            faulty.at = at;
            faulty.calls = faulty.faults = 0;
            use_all(u);
            cr_assert_gt(faulty.faults, 0);
        }
    end(u);
}

/* A run that met a bad index and a device that fails, in any order, leave nothing to the next. */
static void bad_index(const DeviceRow *row)
{
    Use *u = begin(pick, row);
    qn_program *program = compile(u);
    qn_session *session = make_session(program);
    float x[4] = {1, 2, 3, 4}, y[2];
    int64_t bad[2] = {0, 9}, good[2] = {3, 1};
    qn_buffer in[2] = {{.data = x, .bytes = sizeof x}, {.data = bad, .bytes = sizeof bad}};
    qn_buffer out = {.data = y, .bytes = sizeof y};
    faulty.calls = 0;
    cr_assert_eq(qn_run(session, in, 2, &out, 1), QN_BAD_INDEX);
    long calls = faulty.calls;
    cr_assert_gt(calls, 1);
    for (faulty.mode = ONCE; faulty.mode <= LATE; faulty.mode++)
        for (long at = 1; at <= calls; at++) {
            faulty.at = at;
            faulty.calls = 0;
            in[1].data = bad;
            qn_status status = qn_run(session, in, 2, &out, 1);
            cr_expect(status == QN_BAD_INDEX || status == QN_DEVICE);
            faulty.at = 0;
            in[1].data = good;
            status = qn_run(session, in, 2, &out, 1);
            cr_expect_eq(status, QN_OK, "call %ld of mode %d: %s", at, faulty.mode,
                         qn_session_message(session));
            cr_expect(y[0] == 4 && y[1] == 2, "call %ld of mode %d", at, faulty.mode);
        }
    qn_session_release(session);
    qn_program_release(program);
    end(u);
}

static void start(void)
{
    wire_init();
    scratch_make();
}

static void stop(void)
{
    scratch_drop();
    wire_finish();
}

TestSuite(device_faults, .init = start, .fini = stop);

#define SWEEP(device, model, number, step)                                                         \
    Test(device_faults, device##_##model)                                                          \
    {                                                                                              \
        sweep(model, &rows[number], step);                                                         \
    }
#define EACH(device, number, step)                                                                 \
    SWEEP(device, dense, number, step)                                                             \
    SWEEP(device, image, number, step)                                                             \
    SWEEP(device, control, number, step)
EACH(cpu, 0, 1)
EACH(null, 1, 1)
EACH(sim, 2, 5)
EACH(opencl, 3, 11)
#define INDEX(device, number)                                                                      \
    Test(device_faults, device##_bad_index)                                                        \
    {                                                                                              \
        bad_index(&rows[number]);                                                                  \
    }
INDEX(cpu, 0)
INDEX(sim, 2)
INDEX(opencl, 3)
