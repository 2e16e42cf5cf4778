/* Inputs come from files, or are filled once the session knows their shapes. */
#include "tools/bind.h"

#include <stdlib.h>

#include "tools/fill.h"
#include "tools/npy.h"

bool bind_begin(Binding *binding, Setup *setup, Fail *fail)
{
    qn_model_info info;
    *binding = (Binding){0};
    setup->status = qn_model_describe(setup->model, &info);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_model_message(setup->model));
    binding->inputs = calloc((size_t)info.inputs + 1, sizeof *binding->inputs);
    if (!binding->inputs)
        return fail_set(fail, "out of memory");
    binding->input_count = info.inputs;
    return true;
}

int32_t bind_find(Setup *setup, const char *name, size_t length)
{
    qn_tensor_info info;
    for (int32_t i = 0; qn_model_input(setup->model, i, &info) == QN_OK; i++) {
        if (info.name.length == length && !memcmp(info.name.data, name, length))
            return i;
    }
    return -1;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && !strcmp(text + a - b, end);
}

bool bind_read(Binding *binding, Setup *setup, int32_t index, const char *path, Fail *fail)
{
    qn_tensor_info info;
    Tensor *to = &binding->inputs[index];
    setup->status = qn_model_input(setup->model, index, &info);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_model_message(setup->model));
    setup->status = QN_BAD_FILE;
    tensor_free(to);
    if (ends_with(path, ".pb") ? !read_pb(path, to, fail) : !npy_read(path, info.dtype, to, fail))
        return false;
    setup->status = QN_BAD_ARGUMENT;
    if (to->dtype != info.dtype)
        return fail_set(fail, "input '%s' is %s; %s holds %s", info.name.data,
                        qn_dtype_name(info.dtype), path, qn_dtype_name(to->dtype));
    return setup_shape(setup, info.name.data, to, fail);
}

static bool is_small(const Tensor *t)
{
    static const qn_dtype integers[] = {QN_BOOL, QN_I8,  QN_I16, QN_I32, QN_I64,
                                        QN_U8,   QN_U16, QN_U32, QN_U64};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (t->dtype == integers[i])
            return t->count <= 256;
    bool number = t->dtype == QN_F16 || t->dtype == QN_F32 || t->dtype == QN_F64;
    return number && t->rank <= 1 && t->count <= 16;
}

static bool has_contents(const Setup *setup, qn_string name)
{
    for (size_t i = 0; i < setup->content_count; i++) {
        qn_string other = setup->contents[i].name;
        if (other.length == name.length && !memcmp(other.data, name.data, name.length))
            return true;
    }
    return false;
}

/* Gives the next compile the contents that the failed one asked for; false when there is nothing to
 * add. */
static bool add_contents(const Binding *binding, Setup *setup)
{
    qn_string wanted;
    bool added = false;
    for (int32_t i = 0; qn_program_wants(setup->program, i, &wanted) == QN_OK; i++) {
        const Tensor *t = bind_value(binding, setup, wanted);
        if (!t || !t->data || !is_small(t) || has_contents(setup, wanted) ||
            setup->content_count == SETUP_ITEMS)
            continue;
        setup->contents[setup->content_count++] =
            (qn_contents){.name = bind_name(binding, setup, wanted),
                          .dtype = t->dtype,
                          .rank = t->rank,
                          .dims = t->dims,
                          .data = t->data,
                          .bytes = t->bytes};
        added = true;
    }
    return added;
}

bool bind_compile(Binding *binding, Setup *setup, Fail *fail)
{
    setup->content_count = 0;
    while (!setup_compile(setup, fail)) {
        if (setup->status != QN_UNSUPPORTED || !add_contents(binding, setup))
            return false;
        qn_program_release(setup->program);
        setup->program = NULL;
    }
    return true;
}

static bool make_tensor(const qn_tensor_info *info, Tensor *tensor, Fail *fail)
{
    int64_t dims[QN_MAX_RANK] = {0};
    for (int32_t d = 0; d < info->rank && d < QN_MAX_RANK; d++)
        dims[d] = info->dims[d].value;
    if (!tensor_make(tensor, info->dtype, info->rank, dims, fail))
        return fail_prefix(fail, "'%s'", info->name.data);
    return true;
}

static bool is_described(const Tensor *tensor, const qn_tensor_info *info)
{
    bool same = tensor->dtype == info->dtype && tensor->rank == info->rank;
    for (int32_t d = 0; same && d < info->rank; d++)
        same = tensor->dims[d] == info->dims[d].value;
    return same;
}

static bool finish_input(Tensor *tensor, Setup *setup, int32_t index, Fill fill, Fail *fail)
{
    qn_tensor_info info;
    char text[TENSOR_TEXT];
    setup->status = qn_session_input(setup->session, index, &info);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_session_message(setup->session));
    setup->status = QN_BAD_ARGUMENT;
    if (tensor->data)
        return is_described(tensor, &info) ||
               fail_set(fail, "input '%s' does not take a value of %s", info.name.data,
                        tensor_text(tensor, text));
    if (fill == FILL_NONE)
        return fail_set(fail, "input '%s' has no value; give --input %s=FILE or --fill random",
                        info.name.data, info.name.data);
    if (!make_tensor(&info, tensor, fail))
        return false;
    return fill != FILL_RANDOM || fill_random(tensor, info.name.data, fail);
}

/* Whether the output is in memory of the session. Asked before a run. */
static bool is_sessions(const qn_tensor_info *info)
{
    return info->bytes < 0 || info->dtype == QN_STRING;
}

bool bind_collect(Binding *binding, Setup *setup, Fail *fail)
{
    for (int32_t i = 0; i < binding->output_count; i++) {
        qn_tensor_info info;
        const void *data;
        Tensor *to = &binding->outputs[i];
        if (binding->buffers[binding->input_count + i].data)
            continue;
        tensor_free(to);
        setup->status = qn_session_output(setup->session, i, &info);
        if (setup->status == QN_OK)
            setup->status = qn_session_output_data(setup->session, i, &data);
        if (setup->status != QN_OK)
            return fail_set(fail, "%s", qn_session_message(setup->session));
        if (!make_tensor(&info, to, fail))
            return false;
        if (info.dtype == QN_STRING && !tensor_set_strings(to, data, fail))
            return false;
        if (info.dtype != QN_STRING && to->bytes)
            memcpy(to->data, data, to->bytes);
    }
    return true;
}

bool bind_finish(Binding *binding, Setup *setup, Fill fill, Fail *fail)
{
    if (!bind_arrange(binding, setup, fail))
        return false;
    for (int32_t i = 0; i < binding->input_count; i++) {
        if (!finish_input(&binding->inputs[i], setup, i, fill, fail))
            return false;
    }
    qn_program_info program;
    setup->status = qn_program_describe(setup->program, &program);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_program_message(setup->program));
    size_t count = (size_t)program.outputs;
    binding->outputs = calloc(count + 1, sizeof *binding->outputs);
    binding->buffers = calloc((size_t)binding->input_count + count + 1, sizeof *binding->buffers);
    if (!binding->outputs || !binding->buffers)
        return fail_set(fail, "out of memory");
    binding->output_count = program.outputs;
    for (int32_t i = 0; i < binding->output_count; i++) {
        qn_tensor_info info;
        setup->status = qn_session_output(setup->session, i, &info);
        if (setup->status != QN_OK)
            return fail_set(fail, "%s", qn_session_message(setup->session));
        if (!is_sessions(&info) && !make_tensor(&info, &binding->outputs[i], fail))
            return false;
    }
    for (int32_t i = 0; i < binding->input_count + binding->output_count; i++) {
        const Tensor *t = i < binding->input_count ? &binding->inputs[i]
                                                   : &binding->outputs[i - binding->input_count];
        binding->buffers[i] = (qn_buffer){.data = t->data, .bytes = t->bytes};
    }
    return true;
}

qn_status bind_run(const Binding *binding, qn_session *session)
{
    return qn_run(session, binding->buffers, (size_t)binding->input_count,
                  binding->buffers + binding->input_count, (size_t)binding->output_count);
}

void bind_free(Binding *binding)
{
    for (int32_t i = 0; i < binding->input_count; i++)
        tensor_free(&binding->inputs[i]);
    for (int32_t i = 0; i < binding->output_count; i++)
        tensor_free(&binding->outputs[i]);
    bind_free_elements(binding);
    free(binding->inputs);
    free(binding->outputs);
    free(binding->buffers);
    *binding = (Binding){0};
}
