/* Checks of operands. A plan is untrusted, so an operation states what it takes as a table
 * (HostForm), which is compared with the call before anything is read; values (an axis, a count)
 * are checked where they are read. */
#include "runtime/host/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

Status args_fail(HostCall *call, const HostForm *form, const char *fmt, ...)
{
    char text[800];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return report_fail(call->report, ST_bad_argument, "%s: %s", form->op, text);
}

Status args_status(const HostCall *call)
{
    return call->report->status == ST_ok ? ST_out_of_memory : call->report->status;
}

bool args_go_on(HostCall *call)
{
    if (!call->cancel || !atomic_load_explicit(call->cancel, memory_order_relaxed))
        return true;
    report_cancelled(call->report);
    return false;
}

bool args_omitted(const HostTensor *tensor)
{
    return tensor->dtype == DT_u8 && tensor->rank == 1 && tensor->dims[0] == 0;
}

int64_t args_product(const HostTensor *tensor, int from, int to)
{
    int64_t product = 1;
    for (int d = from; d < to; d++)
        product *= tensor->dims[d];
    return product;
}

int64_t args_count(const HostTensor *tensor)
{
    return args_product(tensor, 0, tensor->rank);
}

size_t args_size(Dtype dtype)
{
    return dtype == DT_string ? sizeof(HostString) : (size_t)dtype_bits(dtype) / 8;
}

/* The number of elements, also with extents of 0 left out (so that no partial product overflows),
 * can be addressed. */
static bool extents_fit(const HostTensor *tensor)
{
    int64_t bytes = 16; /* of the largest element */
    for (int d = 0; d < tensor->rank; d++)
        if (tensor->dims[d] < 0 ||
            (tensor->dims[d] && __builtin_mul_overflow(bytes, tensor->dims[d], &bytes)))
            return false;
    return true;
}

static bool has_type(Dtype dtype, uint32_t types)
{
    return (unsigned)dtype < 32 && types >> dtype & 1;
}

static bool input_fits(HostCall *call, const HostForm *form, int i, const HostParam *param)
{
    const HostTensor *tensor = &call->inputs[i];
    if (tensor->rank < 0 || tensor->rank > ARGS_RANK || !extents_fit(tensor) ||
        (!tensor->data && args_count(tensor)))
        args_fail(call, form, "input %d (%s) is no tensor", i, param->name);
    else if (param->optional && args_omitted(tensor))
        return true;
    else if (!has_type(tensor->dtype, param->types))
        args_fail(call, form, "input %d (%s) is of type %s", i, param->name,
                  dtype_name(tensor->dtype));
    else if (tensor->rank < param->least_rank || tensor->rank > param->most_rank)
        args_fail(call, form, "input %d (%s) is of rank %d", i, param->name, tensor->rank);
    else
        return true;
    return false;
}

bool args_check(HostCall *call, const HostForm *form)
{
    bool few = form->repeats ? call->input_count < form->input_count
                             : call->input_count != form->input_count;
    if (few || call->output_count != form->output_count) {
        args_fail(call, form, "%d inputs and %d outputs instead of %d and %d", call->input_count,
                  call->output_count, form->input_count, form->output_count);
        return false;
    }
    for (int i = 0; i < call->input_count; i++) {
        int last = form->input_count - 1;
        if (!input_fits(call, form, i, &form->inputs[i < last ? i : last]))
            return false;
    }
    for (int i = 0; i < call->output_count; i++)
        if (!has_type(call->output_dtypes[i], form->outputs[i].types)) {
            args_fail(call, form, "output %d (%s) is of type %s", i, form->outputs[i].name,
                      dtype_name(call->output_dtypes[i]));
            return false;
        }
    return true;
}

static const char *input_name(const HostForm *form, int input)
{
    return form->inputs[input < form->input_count ? input : form->input_count - 1].name;
}

bool args_int(HostCall *call, const HostForm *form, int input, int64_t lo, int64_t hi,
              int64_t *value)
{
    const HostTensor *tensor = &call->inputs[input];
    *value = lo;
    if (args_count(tensor) != 1) {
        args_fail(call, form, "%s has %lld elements instead of one", input_name(form, input),
                  (long long)args_count(tensor));
        return false;
    }
    *value = dtype_load(tensor->dtype, tensor->data, 0).i;
    if (*value < lo || *value > hi) {
        args_fail(call, form, "%s is %lld, which is not in %lld..%lld", input_name(form, input),
                  (long long)*value, (long long)lo, (long long)hi);
        return false;
    }
    return true;
}

bool args_axis(HostCall *call, const HostForm *form, int input, int rank, int *axis)
{
    int64_t value;
    bool good = args_int(call, form, input, -rank, rank - 1, &value);
    *axis = (int)(value < 0 ? value + rank : value);
    return good;
}

void *args_scratch(HostCall *call, int64_t count, size_t size)
{
    size_t bytes;
    if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes)) {
        report_fail(call->report, ST_limit, "scratch memory of a host operation overflows");
        return NULL;
    }
    return call->scratch(call, bytes ? bytes : 1);
}

bool args_keep(HostCall *call, HostString *out, const char *data, size_t length)
{
    *out = (HostString){NULL, 0};
    if (!length)
        return true;
    const char *copy = call->keep(call, data, length);
    if (!copy)
        return false;
    *out = (HostString){copy, length};
    return true;
}
