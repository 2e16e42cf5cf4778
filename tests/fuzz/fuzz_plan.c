/* Plans from any bytes. The header is made right first (its hash would keep everything out), then a
 * plan that is taken has to come back the same from its own bytes, and to run with kernels that do
 * nothing: all sizes, places, copies and shape checks are then as in earnest. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/device_cpu.h"
#include "runtime/session.h"
#include "tests/fuzz/limited.h"
#include "tests/unit/hand_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FIXED = 24, HEADER = 48, MOST_BYTES = 1 << 20 };

typedef struct Input {
    uint8_t *data;
    size_t size;
    Plan *plan;
} Input;

/* magic and versions of this build, size and hash of what follows. */
static void fix_header(Cx *cx, Input *in)
{
    (void)hand_find;
    (void)hand_weight;
    uint64_t fields[3] = {in->size - HEADER};
    Hash128 hash = hash_bytes(in->data + HEADER, in->size - HEADER);
    fields[1] = hash.high;
    fields[2] = hash.low;
    memcpy(in->data, plan_write(cx, hand_plan(cx)).data, FIXED);
    memcpy(in->data + FIXED, fields, sizeof fields);
}

static void read_input(Cx *cx, void *user)
{
    Input *in = user;
    fix_header(cx, in);
    in->plan = plan_read(cx, in->data, in->size);
    if (!in->plan)
        return;
    PlanBytes first = plan_write(cx, in->plan);
    Plan *again = plan_read(cx, first.data, first.size);
    if (!again)
        BUG("a written plan is not read: %s", cx->message);
    PlanBytes second = plan_write(cx, again);
    if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
        BUG("a plan is not what was written");
}

static void do_nothing(const KernelArgs *args, int64_t begin, int64_t end, void *scratch)
{
    (void)args;
    (void)begin;
    (void)end;
    (void)scratch;
}

static KernelEntry *find_nothing(void *user, const char *name)
{
    (void)user;
    (void)name;
    return do_nothing;
}

/* Memory for every input and output, unless one is large. */
static bool give_ports(const Session *session, const PlanPort *ports, uint32_t count, void **memory)
{
    for (uint32_t i = 0; i < count; i++) {
        int64_t dims[PLAN_RANK], bytes;
        session_tensor(session, ports[i].tensor, dims, &bytes);
        if (bytes > MOST_BYTES || !(memory[i] = calloc(1, (size_t)bytes + 1)))
            return false;
    }
    return true;
}

/* Every symbol at its smallest value: those shapes the inputs' own dims may have. */
static void set_shapes(Cx *cx, const Plan *plan, SessionShape *shapes)
{
    int64_t *dims = NEW_ARRAY(cx->arena, int64_t, plan->dim_count);
    for (uint32_t i = 0; i < plan->dim_count; i++)
        dims[i] = plan->dims[i].lo;
    for (uint32_t i = 0; i < plan->input_count; i++) {
        const PlanTensor *t = &plan->tensors[plan->inputs[i].tensor];
        int64_t *shape = NEW_ARRAY(cx->arena, int64_t, PLAN_RANK);
        for (int d = 0; d < t->rank; d++)
            if (!expr_code_run(t->shape[d], dims, &shape[d]))
                shape[d] = -1;
        shapes[i] = (SessionShape){t->rank, shape};
    }
}

static void run_session(Cx *cx, const Plan *plan, Session *session)
{
    uint32_t count = plan->input_count + plan->output_count;
    void **memory = NEW_ARRAY(cx->arena, void *, count);
    SessionShape *shapes = NEW_ARRAY(cx->arena, SessionShape, plan->input_count);
    Report report;
    set_shapes(cx, plan, shapes);
    if (session_set_shapes(session, shapes, &report) == ST_ok &&
        give_ports(session, plan->inputs, plan->input_count, memory) &&
        give_ports(session, plan->outputs, plan->output_count, memory + plan->input_count))
        session_run(session, (const void *const *)memory, memory + plan->input_count, &report);
    for (uint32_t i = 0; i < count; i++)
        free(memory[i]);
}

static void run_program(Cx *cx, const ProgramParts *parts)
{
    Program *program;
    Session *session = NULL;
    Report report;
    if (program_create(parts, &program, &report) != ST_ok)
        return;
    if (session_create(program, NULL, &session, &report) == ST_ok)
        run_session(cx, parts->plan, session);
    session_destroy(session);
    program_destroy(program);
}

static void run_input(Cx *cx, void *user)
{
    const Plan *plan = ((const Input *)user)->plan;
    DeviceCode *code;
    Report report;
    for (uint32_t i = 0; i < plan->weight_count; i++)
        if (plan->weights[i].file != PLAN_INLINE) /* lies in a file that is not here */
            return;
    Device *device = device_cpu_open(&limited, executor_inline);
    if (!device)
        return;
    if (device_cpu_code(device, plan, find_nothing, NULL, &code, &report) == ST_ok) {
        ProgramParts parts = {.plan = plan,
                              .weights = NEW_ARRAY(cx->arena, const void *, plan->weight_count),
                              .device = device,
                              .code = code,
                              .from = &limited};
        run_program(cx, &parts);
        device->type->unload(code);
    }
    device->type->close(device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = {.size = size / 8 * 8};
    Cx cx;
    if (in.size < HEADER || !(in.data = malloc(in.size)))
        return 0;
    memcpy(in.data, data, in.size);
    cx_init(&cx, NULL, 64 << 20);
    if (cx_run(&cx, read_input, &in) == ST_ok && in.plan)
        cx_run(&cx, run_input, &in);
    cx_finish(&cx);
    free(in.data);
    return 0;
}
