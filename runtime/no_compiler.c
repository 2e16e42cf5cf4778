/* The public interface of the library without a compiler: the functions that would need one say so.
 * Models are handles that hold nothing but that message. Not part of the library that compiles,
 * which has these functions in jit/. */
#include "runtime/api.h"

struct qn_model {
    atomic_int refs;
    qn_context *context;
    Report report;
};

static const char refusal[] = "this library has no compiler: it runs programs that libquern "
                              "compiled; link with libquern to read ONNX models";

qn_status qn_context_create(const qn_context_options *options, qn_context **context)
{
    static const DeviceRow none[1];
    return api_context_create(options, none, context);
}

static qn_status refuse_model(qn_context *context, qn_model **model)
{
    if (!model)
        return QN_BAD_ARGUMENT;
    *model = NULL;
    if (!context)
        return QN_BAD_ARGUMENT;
    qn_model *m = *model = api_alloc(context, sizeof *m);
    if (!m)
        return QN_OUT_OF_MEMORY;
    atomic_init(&m->refs, 1);
    m->context = qn_context_retain(context);
    return (qn_status)report_fail(&m->report, ST_unsupported, "%s", refusal);
}

qn_status qn_model_open(qn_context *context, qn_string path, const qn_model_options *options,
                        qn_model **model)
{
    (void)path;
    (void)options;
    return refuse_model(context, model);
}

qn_status qn_model_from_memory(qn_context *context, const void *data, size_t bytes,
                               const qn_model_options *options, qn_model **model)
{
    (void)data;
    (void)bytes;
    (void)options;
    return refuse_model(context, model);
}

qn_model *qn_model_retain(qn_model *model)
{
    atomic_fetch_add(&model->refs, 1);
    return model;
}

void qn_model_release(qn_model *model)
{
    if (!model || atomic_fetch_sub(&model->refs, 1) != 1)
        return;
    qn_context *context = model->context;
    api_free(context, model, sizeof *model);
    qn_context_release(context);
}

const char *qn_model_message(const qn_model *model)
{
    return model ? model->report.text : status_text(ST_out_of_memory);
}

/* As every call on a handle that holds no model. */

qn_status qn_model_input(const qn_model *model, int32_t index, qn_tensor_info *info)
{
    (void)model;
    (void)index;
    (void)info;
    return QN_BAD_ARGUMENT;
}

qn_status qn_model_output(const qn_model *model, int32_t index, qn_tensor_info *info)
{
    (void)model;
    (void)index;
    (void)info;
    return QN_BAD_ARGUMENT;
}

qn_status qn_model_input_kind(const qn_model *model, int32_t index, qn_kind *kind)
{
    (void)model;
    (void)index;
    (void)kind;
    return QN_BAD_ARGUMENT;
}

qn_status qn_model_output_kind(const qn_model *model, int32_t index, qn_kind *kind)
{
    (void)model;
    (void)index;
    (void)kind;
    return QN_BAD_ARGUMENT;
}

qn_status qn_model_describe(const qn_model *model, qn_model_info *info)
{
    (void)model;
    (void)info;
    return QN_BAD_ARGUMENT;
}

qn_status qn_model_operator(const qn_model *model, int32_t index, qn_operator_info *info)
{
    (void)model;
    (void)index;
    (void)info;
    return QN_BAD_ARGUMENT;
}

qn_status qn_program_tune(qn_model *model, const qn_compile_options *options,
                          const qn_tune_options *tune)
{
    (void)model;
    (void)options;
    (void)tune;
    return QN_BAD_ARGUMENT;
}

qn_status qn_program_explain(qn_model *model, const qn_compile_options *options, qn_line *line,
                             void *user)
{
    (void)model;
    (void)options;
    (void)line;
    (void)user;
    return QN_BAD_ARGUMENT;
}

qn_status qn_program_compile(qn_model *model, const qn_compile_options *options,
                             qn_program **program)
{
    (void)options;
    if (!program)
        return QN_BAD_ARGUMENT;
    *program = NULL;
    if (!model)
        return QN_BAD_ARGUMENT;
    qn_program *p = *program = api_program_new(model->context);
    if (!p)
        return QN_OUT_OF_MEMORY;
    return (qn_status)report_fail(&p->report, ST_unsupported, "%s", refusal);
}
