/* The public interface: tuning records in compiles, and making them. */
#include "jit/api.h"

#include <pthread.h>
#include <string.h>

#include "base/cpu.h"
#include "jit/tune.h"

/* --- records in force --- */

void api_misread(qn_context *context, const char *what)
{
    api_warn_once(context, &context->misread, "tuning records are passed over: %s", what);
}

static void read_own(Cx *cx, const char *dir, Records *records)
{
    char *text;
    size_t size;
    const char *path = arena_printf(cx->arena, "%s/%s", dir, RECORDS_FILE);
    if (os_check_private_dir(dir) == 0 &&
        os_read_file(cx->arena, path, RECORDS_BYTES, &text, &size) == 0)
        records_read(cx, records, path, text);
}

void api_read_records(Cx *cx, qn_context *context, bool directory, Records *records)
{
    const RecordsNode **nodes;
    uint32_t count = api_records(context, cx, &nodes);
    records_init(records, cx->arena);
    if (directory && context->cache_dir)
        read_own(cx, context->cache_dir, records);
    for (uint32_t i = 0; i < count; i++)
        records_read(cx, records, nodes[i]->path, nodes[i]->text);
    if (records->bad)
        api_misread(context, arena_printf(cx->arena, "%u lines are none, the first is %s",
                                          records->bad, records->first_bad));
}

/* --- tuning --- */

typedef struct Tuning {
    Cx cx;
    qn_model *model;
    const qn_compile_options *compile;
    qn_tune_options options;
} Tuning;

static bool report_progress(void *user, int64_t done, int64_t total, const char *what)
{
    const Tuning *t = user;
    return t->options.progress(t->options.progress_user, done, total, what) != 0;
}

static void give_kernel(Cx *cx, const Tuning *t, const Tuned *tuned)
{
    Text schedule, record;
    const Record *r = &tuned->record;
    text_init(&schedule, cx->arena);
    text_init(&record, cx->arena);
    if (tuned->measured)
        schedule_print(&schedule, &r->schedule);
    if (tuned->better)
        record_print(&record, r);
    qn_tuned_kernel kernel = {.nodes = api_string(tuned->nest->nodes),
                              .uses = (int32_t)tuned->nest->uses,
                              .tried = (int32_t)tuned->tried,
                              .better = tuned->better,
                              .before_us = (double)r->before_ns / 1e3,
                              .after_us = (double)r->after_ns / 1e3,
                              .schedule = api_string(schedule.data),
                              .record = {record.data, record.length - (record.length > 0)}};
    if (record.length)
        record.data[record.length - 1] = 0; /* its end */
    t->options.kernel(t->options.user, &kernel);
}

static void tune_job(Cx *cx, void *user)
{
    const Tuning *t = user;
    TuneSource source = {0};
    if (!api_tune_source(cx, t->model, t->compile, &source))
        return;
    if (source.kind != CODE_object || !cpu_runs(source.caps->name)) {
        cx_fail(cx, ST_unsupported, "kernels for %s cannot be timed on this machine's CPU",
                source.caps->name);
        return;
    }
    TuneOptions options = {.caps = source.caps,
                           .llvm = source.llvm,
                           .executor = &t->model->context->executor,
                           .seconds = t->options.seconds > 0 ? t->options.seconds : 20,
                           .known = &source.records,
                           .progress = t->options.progress ? report_progress : NULL,
                           .progress_user = user};
    Tuned *tuned = NEW_ARRAY(cx->arena, Tuned, source.nests.count);
    if (!tune_nests(cx, &source.nests, &options, tuned))
        return;
    for (uint32_t i = 0; i < source.nests.count && t->options.kernel; i++)
        give_kernel(cx, t, &tuned[i]);
}

static void *tune_main(void *user)
{
    Tuning *t = user;
    cx_run(&t->cx, tune_job, t);
    return NULL;
}

/* On a thread of our own, since the code generator wants a large stack. */
static void run_on_large_stack(Tuning *t)
{
    enum { STACK_BYTES = 16 << 20 };
    pthread_attr_t attr;
    pthread_t thread;
    bool made = pthread_attr_init(&attr) == 0;
    bool started = made && pthread_attr_setstacksize(&attr, STACK_BYTES) == 0 &&
                   pthread_create(&thread, &attr, tune_main, t) == 0;
    if (made)
        pthread_attr_destroy(&attr);
    if (started)
        pthread_join(thread, NULL);
    else
        tune_main(t);
}

qn_status qn_program_tune(qn_model *model, const qn_compile_options *options,
                          const qn_tune_options *tune)
{
    if (!model || !model->onnx)
        return QN_BAD_ARGUMENT;
    Tuning *t = api_alloc(model->context, sizeof *t);
    if (!t) {
        report_fail(&model->report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
        return QN_OUT_OF_MEMORY;
    }
    t->model = model;
    t->compile = options;
    size_t size = tune && tune->size ? tune->size : sizeof *tune;
    if (tune)
        memcpy(&t->options, tune, size < sizeof *tune ? size : sizeof *tune);
    cx_init(&t->cx, &model->context->from, 0);
    run_on_large_stack(t);
    qn_status status = api_status(&model->report, &t->cx);
    cx_finish(&t->cx);
    api_free(model->context, t, sizeof *t);
    return status;
}
