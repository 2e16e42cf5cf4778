/* The public interface: sessions and runs. All lists a run needs are made with the session. */
#include "runtime/api.h"

#include <stdio.h>
#include <string.h>

enum { SHAPE_TEXT = 200 };

struct qn_session {
    atomic_int refs;
    qn_context *context;
    qn_program *program;
    Report report;
    Cx cx;            /* of the lists below */
    Session *session; /* NULL: creation failed */
    SessionShape *shapes;
    Port *inputs, *outputs;
    const void **input_data;
    void **output_data;
    double init_ms;
    CancelFlag cancel;
    bool grows; /* outputs change their size from run to run */
};

static Port *make_ports(Cx *cx, const Port *from, uint32_t count)
{
    Port *ports = NEW_ARRAY(cx->arena, Port, count);
    for (uint32_t i = 0; i < count; i++) {
        int rank = from[i].info.rank;
        ports[i].info = from[i].info;
        ports[i].dims = arena_copy(cx->arena, from[i].dims, (size_t)rank * sizeof(qn_dim));
        ports[i].info.dims = ports[i].dims;
    }
    return ports;
}

static void make_lists(Cx *cx, void *user)
{
    qn_session *s = user;
    const qn_program *p = s->program;
    s->shapes = NEW_ARRAY(cx->arena, SessionShape, p->plan->input_count);
    s->inputs = make_ports(cx, p->inputs, p->plan->input_count);
    s->outputs = make_ports(cx, p->outputs, p->plan->output_count);
    s->input_data = NEW_ARRAY(cx->arena, const void *, p->plan->input_count);
    s->output_data = NEW_ARRAY(cx->arena, void *, p->plan->output_count);
}

/* The shapes in force, for what is given out. */
static void update_ports(qn_session *s, Port *ports, const PlanPort *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int64_t dims[PLAN_RANK];
        int rank = session_tensor(s->session, from[i].tensor, dims, &ports[i].info.bytes);
        for (int d = 0; d < rank; d++)
            ports[i].dims[d].value = dims[d];
    }
}

static void update(qn_session *s)
{
    const Plan *plan = s->program->plan;
    update_ports(s, s->inputs, plan->inputs, plan->input_count);
    update_ports(s, s->outputs, plan->outputs, plan->output_count);
}

/* A session that holds nothing yet; NULL without memory. The caller has it from here on, to be able
 * to cancel. */
static qn_session *session_new(qn_context *context, qn_session **session)
{
    qn_session *s = api_alloc(context, sizeof *s);
    if (s) {
        atomic_init(&s->refs, 1);
        atomic_init(&s->cancel, 0);
        s->context = qn_context_retain(context);
        cx_init(&s->cx, &context->from, 0);
    }
    __atomic_store_n(session, s, __ATOMIC_RELEASE);
    return s;
}

static qn_status session_fill(qn_session *s, qn_program *program)
{
    s->program = qn_program_retain(program);
    cx_run(&s->cx, make_lists, s);
    if (cx_failed(&s->cx))
        return api_status(&s->report, &s->cx);
    if (!program->program)
        return (qn_status)report_fail(&s->report, ST_bad_argument,
                                      "the program was compiled for another machine");
    double start = api_now_ms();
    if (session_create(program->program, &s->cancel, &s->session, &s->report) != ST_ok)
        return (qn_status)s->report.status;
    s->grows = plan_grows(program->plan);
    s->init_ms = program_info(program->program).init_ms;
    if (s->init_ms > api_now_ms() - start)
        s->init_ms = 0; /* another session had done it */
    if (session_ready(s->session))
        update(s);
    return QN_OK;
}

qn_status qn_session_create(qn_program *program, const qn_session_options *options,
                            qn_session **session)
{
    (void)options;
    if (!session)
        return QN_BAD_ARGUMENT;
    *session = NULL;
    if (!program)
        return QN_BAD_ARGUMENT;
    qn_session *s = session_new(program->context, session);
    if (!s)
        return QN_OUT_OF_MEMORY;
    if (!program->loaded)
        return (qn_status)report_fail(&s->report, ST_bad_argument, "there is no program: %s",
                                      program->report.text);
    return session_fill(s, program);
}

/* The progress of a compile for a session: the caller's, which may be none, and the session's
 * request to stop. */
typedef struct Opening {
    const qn_session *session;
    qn_progress *progress;
    void *user;
} Opening;

static int32_t go_on(void *user, int64_t done, int64_t total, const char *what)
{
    const Opening *o = user;
    if (atomic_load_explicit(&o->session->cancel, memory_order_relaxed))
        return 0;
    return o->progress ? o->progress(o->user, done, total, what) : 1;
}

/* The options with that progress; those of another version of the header hold less or more. */
static qn_compile_options opening_options(const qn_compile_options *given, Opening *opening)
{
    qn_compile_options options = {0};
    size_t size = given && given->size ? given->size : sizeof options;
    if (given)
        memcpy(&options, given, size < sizeof options ? size : sizeof options);
    opening->progress = options.progress;
    opening->user = options.progress_user;
    options.size = sizeof options;
    options.progress = go_on;
    options.progress_user = opening;
    return options;
}

qn_status qn_session_open(qn_context *context, qn_string path, const qn_compile_options *options,
                          qn_session **session)
{
    if (!session)
        return QN_BAD_ARGUMENT;
    *session = NULL;
    if (!context)
        return QN_BAD_ARGUMENT;
    qn_session *s = session_new(context, session);
    if (!s)
        return QN_OUT_OF_MEMORY;
    qn_model *model = NULL;
    qn_program *program = NULL;
    Opening opening = {.session = s};
    qn_compile_options with_request = opening_options(options, &opening);
    qn_status status = qn_model_open(context, path, NULL, &model);
    const char *message = qn_model_message(model);
    if (status == QN_OK) {
        status = qn_program_compile(model, &with_request, &program);
        message = qn_program_message(program);
    }
    if (status == QN_OK)
        status = session_fill(s, program);
    else
        report_fail(&s->report, (Status)status, "%s", message);
    qn_program_release(program);
    qn_model_release(model);
    return status;
}

qn_session *qn_session_retain(qn_session *session)
{
    atomic_fetch_add(&session->refs, 1);
    return session;
}

void qn_session_release(qn_session *session)
{
    if (!session || atomic_fetch_sub(&session->refs, 1) != 1)
        return;
    qn_context *context = session->context;
    session_destroy(session->session);
    cx_finish(&session->cx);
    qn_program_release(session->program);
    api_free(context, session, sizeof *session);
    qn_context_release(context);
}

const char *qn_session_message(const qn_session *session)
{
    return session ? session->report.text : API_NO_HANDLE;
}

/* Whether a list can be one of so many ports. */
static bool is_list(qn_session *s, const void *list, size_t count, const char *what, uint32_t most)
{
    if (count > most)
        report_fail(&s->report, ST_bad_argument, "%zu %ss are given, the model has %u", count, what,
                    most);
    else if (count && !list)
        report_fail(&s->report, ST_bad_argument, "a list of %ss at NULL", what);
    else
        return true;
    return false;
}

/* Which port a name or a position means; -1 when none. */
static int64_t find_port(const Port *ports, uint32_t count, qn_string name, size_t position)
{
    if (!name.length)
        return position < count ? (int64_t)position : -1;
    for (uint32_t i = 0; i < count; i++)
        if (ports[i].info.name.length == name.length &&
            memcmp(ports[i].info.name.data, name.data, name.length) == 0)
            return i;
    return -1;
}

static qn_status no_port(qn_session *s, const char *what, qn_string name, size_t position)
{
    int length = name.length < 200 ? (int)name.length : 200;
    if (length)
        report_fail(&s->report, ST_bad_argument, "the model has no %s '%.*s'", what, length,
                    name.data);
    else
        report_fail(&s->report, ST_bad_argument, "the model has no %s number %zu", what, position);
    return QN_BAD_ARGUMENT;
}

/* "[2,3]", cut off where there is no room. */
static void put_shape(char text[SHAPE_TEXT], SessionShape shape)
{
    int at = snprintf(text, SHAPE_TEXT, "[");
    for (int d = 0; d < shape.rank && at < SHAPE_TEXT; d++)
        at += snprintf(text + at, (size_t)(SHAPE_TEXT - at), "%s%lld", d ? "," : "",
                       (long long)shape.dims[d]);
    if (at < SHAPE_TEXT - 1)
        strcat(text, "]");
}

static qn_status shaped_twice(qn_session *s, const Port *port, SessionShape a, SessionShape b)
{
    char first[SHAPE_TEXT], second[SHAPE_TEXT];
    put_shape(first, a);
    put_shape(second, b);
    return (qn_status)report_fail(&s->report, ST_bad_argument,
                                  "the shape of input '%s' is given twice, as %s and as %s",
                                  port->info.name.data, first, second);
}

qn_status qn_session_set_shapes(qn_session *s, const qn_shape *shapes, size_t count)
{
    if (!s || !s->session)
        return QN_BAD_ARGUMENT;
    uint32_t inputs = s->program->plan->input_count;
    if (!is_list(s, shapes, count, "shape", inputs))
        return QN_BAD_ARGUMENT;
    for (uint32_t i = 0; i < inputs; i++)
        s->shapes[i] = (SessionShape){0};
    for (size_t i = 0; i < count; i++) {
        static const int64_t none[1];
        int64_t at = find_port(s->inputs, inputs, shapes[i].name, i);
        if (at < 0)
            return no_port(s, "input", shapes[i].name, i);
        if (shapes[i].rank < 0 || (shapes[i].rank && !shapes[i].dims))
            return (qn_status)report_fail(&s->report, ST_bad_argument, "shape %zu has no dims", i);
        SessionShape shape = {shapes[i].rank, shapes[i].rank ? shapes[i].dims : none};
        if (s->shapes[at].dims)
            return shaped_twice(s, &s->inputs[at], s->shapes[at], shape);
        s->shapes[at] = shape;
    }
    if (session_set_shapes(s->session, s->shapes, &s->report) != ST_ok)
        return (qn_status)s->report.status;
    update(s);
    return QN_OK;
}

static qn_status give_port(const Port *ports, uint32_t count, int32_t index, qn_tensor_info *info)
{
    if (index < 0 || (uint32_t)index >= count)
        return QN_MISSING;
    *info = ports[index].info;
    return QN_OK;
}

qn_status qn_session_input(const qn_session *s, int32_t index, qn_tensor_info *info)
{
    if (!s || !s->session || !info)
        return QN_BAD_ARGUMENT;
    return give_port(s->inputs, s->program->plan->input_count, index, info);
}

qn_status qn_session_output(const qn_session *s, int32_t index, qn_tensor_info *info)
{
    if (!s || !s->session || !info)
        return QN_BAD_ARGUMENT;
    return give_port(s->outputs, s->program->plan->output_count, index, info);
}

qn_status qn_session_output_data(qn_session *s, int32_t index, const void **data)
{
    if (!s || !s->session || !data)
        return QN_BAD_ARGUMENT;
    if (index < 0 || (uint32_t)index >= s->program->plan->output_count)
        return QN_MISSING;
    return (qn_status)session_output(s->session, (uint32_t)index, data, &s->report);
}

qn_status qn_session_describe(const qn_session *s, qn_session_info *info)
{
    if (!s || !s->session || !info)
        return QN_BAD_ARGUMENT;
    SessionInfo own = session_info(s->session);
    *info = (qn_session_info){.memory_bytes = own.memory_bytes,
                              .shared_bytes = program_info(s->program->program).init_bytes,
                              .init_ms = s->init_ms,
                              .packed = program_info(s->program->program).given,
                              .flops = own.flops,
                              .bytes = own.bytes};
    return QN_OK;
}

/* --- runs --- */

static bool is_aligned(const void *data, qn_dtype dtype)
{
    int bytes = dtype == QN_STRING ? 8 : dtype_bits((Dtype)dtype) / 8;
    return bytes <= 1 || (uintptr_t)data % (uintptr_t)(bytes < 8 ? bytes : 8) == 0;
}

static bool fits(qn_session *s, const qn_buffer *buffer, const Port *port, const char *what)
{
    if (buffer->bytes < (size_t)port->info.bytes)
        report_fail(&s->report, ST_bad_argument, "%s '%s' takes %lld bytes, %zu are given", what,
                    port->info.name.data, (long long)port->info.bytes, buffer->bytes);
    else if (!is_aligned(buffer->data, port->info.dtype))
        report_fail(&s->report, ST_bad_argument, "%s '%s' is not aligned to its element type", what,
                    port->info.name.data);
    else
        return true;
    return false;
}

/* An input whose contents were known when compiling holds them. */
static bool is_expected(qn_session *s, const qn_buffer *buffer, uint32_t input)
{
    const PlanPort *port = &s->program->plan->inputs[input];
    size_t bytes = port->contents ? (size_t)port->content_bytes : 0;
    if (bytes && !buffer->data)
        report_fail(&s->report, ST_bad_argument, "input '%s' has no memory", port->name);
    else if (bytes && memcmp(port->contents, buffer->data, bytes) != 0)
        report_fail(&s->report, ST_bad_argument,
                    "input '%s' holds other values than the contents the program was compiled for",
                    port->name);
    else
        return true;
    return false;
}

static qn_status twice(qn_session *s, const char *what, const Port *port)
{
    return (qn_status)report_fail(&s->report, ST_bad_argument, "%s '%s' is given twice", what,
                                  port->info.name.data);
}

/* The lists of a run; false with a report. */
static qn_status take_inputs(qn_session *s, const qn_buffer *inputs, size_t count)
{
    const Plan *plan = s->program->plan;
    for (uint32_t i = 0; i < plan->input_count; i++)
        s->input_data[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t at = find_port(s->inputs, plan->input_count, inputs[i].name, i);
        if (at < 0)
            return no_port(s, "input", inputs[i].name, i);
        if (!fits(s, &inputs[i], &s->inputs[at], "input"))
            return QN_BAD_ARGUMENT;
        if (!is_expected(s, &inputs[i], (uint32_t)at))
            return QN_BAD_ARGUMENT;
        if (s->input_data[at])
            return twice(s, "input", &s->inputs[at]);
        s->input_data[at] = inputs[i].data;
    }
    return QN_OK;
}

static qn_status take_outputs(qn_session *s, const qn_buffer *outputs, size_t count)
{
    const Plan *plan = s->program->plan;
    for (uint32_t i = 0; i < plan->output_count; i++)
        s->output_data[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t at = find_port(s->outputs, plan->output_count, outputs[i].name, i);
        if (at < 0)
            return no_port(s, "output", outputs[i].name, i);
        if (session_owns_output(s->session, (uint32_t)at)) {
            if (outputs[i].data)
                return (qn_status)report_fail(
                    &s->report, ST_bad_argument,
                    "output '%s' is in memory of the session: qn_session_output_data gives it",
                    s->outputs[at].info.name.data);
            continue;
        }
        if (!fits(s, &outputs[i], &s->outputs[at], "output"))
            return QN_BAD_ARGUMENT;
        if (s->output_data[at])
            return twice(s, "output", &s->outputs[at]);
        s->output_data[at] = outputs[i].data;
    }
    return QN_OK;
}

qn_status qn_run(qn_session *s, const qn_buffer *inputs, size_t input_count,
                 const qn_buffer *outputs, size_t output_count)
{
    if (!s || !s->session)
        return QN_BAD_ARGUMENT;
    const Plan *plan = s->program->plan;
    if (!is_list(s, inputs, input_count, "input", plan->input_count) ||
        !is_list(s, outputs, output_count, "output", plan->output_count))
        return QN_BAD_ARGUMENT;
    if (!session_ready(s->session))
        return (qn_status)report_fail(&s->report, ST_bad_argument,
                                      "the shapes of the inputs are not set");
    if (take_inputs(s, inputs, input_count) != QN_OK ||
        take_outputs(s, outputs, output_count) != QN_OK)
        return (qn_status)s->report.status;
    Status status = session_run(s->session, s->input_data, s->output_data, &s->report);
    if (s->grows)
        update_ports(s, s->outputs, plan->outputs, plan->output_count);
    return (qn_status)status;
}

void qn_cancel(qn_session *s, int32_t on)
{
    if (s)
        atomic_store(&s->cancel, on ? 1 : 0);
}
