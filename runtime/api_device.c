/* The public interface: devices. A name is a device, with its target, or a target whose code some
 * device of this machine runs.
 *
 * Devices that need parts of the compiler are the compiling library's: it gives further rows. */
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "runtime/api.h"
#include "runtime/device_cpu.h"
#include "runtime/device_cuda.h"
#include "runtime/device_null.h"
#include "runtime/device_opencl.h"

static Device *open_cpu(qn_context *context, Report *report)
{
    Device *device = device_cpu_open(&context->from, context->executor);
    if (!device)
        device_no_memory(report);
    return device;
}

static Device *open_null(qn_context *context, Report *report)
{
    Device *device = device_null_open(&context->from);
    if (!device)
        device_no_memory(report);
    return device;
}

static Device *open_opencl(qn_context *context, Report *report)
{
    return device_opencl_open(&context->from, report);
}

static Device *open_cuda(qn_context *context, Report *report)
{
    return device_cuda_open(&context->from, report);
}

static const char *host_target(const Device *device)
{
    (void)device;
    return cpu_level();
}

static const DeviceRow rows[] = {
    {"cpu", "this processor", CODE_object, open_cpu, host_target, NULL},
    {"cuda", NULL, CODE_cubin, open_cuda, device_cuda_target, device_cuda_name},
    {"opencl", NULL, CODE_opencl, open_opencl, device_opencl_target, device_opencl_name},
    {"null", "executes nothing, gives zeros: for measuring", CODE_none, open_null, host_target,
     NULL},
};
enum { OWN_ROWS = sizeof rows / sizeof *rows };

/* NULL past the end. */
static const DeviceRow *row_at(const qn_context *context, int index)
{
    if (index < OWN_ROWS)
        return &rows[index];
    const DeviceRow *row = context->more_devices;
    for (; row->name && index > OWN_ROWS; index--)
        row++;
    return row->name ? row : NULL;
}

/* The device of a row, opened on first use; NULL with a report. */
static Device *open_row(qn_context *context, int index, Report *report)
{
    CHECK(index < API_DEVICES);
    pthread_mutex_lock(&context->lock);
    Device **device = &context->devices[index];
    if (!*device)
        *device = row_at(context, index)->open(context, report);
    Device *opened = *device;
    pthread_mutex_unlock(&context->lock);
    return opened;
}

void api_close_devices(qn_context *context)
{
    for (int i = 0; i < API_DEVICES; i++)
        if (context->devices[i])
            context->devices[i]->type->close(context->devices[i]);
}

static bool take_row(Cx *cx, qn_context *context, int index, const char *level, Target *target)
{
    const DeviceRow *row = row_at(context, index);
    Report report;
    *target = (Target){.device = open_row(context, index, &report), .kind = row->kind};
    if (!target->device) {
        cx_fail(cx, report.status, "%s", report.text);
        return false;
    }
    target->name = level ? level : row->target(target->device);
    if (!target->name)
        cx_fail(cx, ST_unsupported, "this processor is below every supported level");
    return !cx_failed(cx);
}

/* Whether the row's device is there and of this target. */
static bool has_target(qn_context *context, int index, const char *name)
{
    Report report;
    const Device *device = open_row(context, index, &report);
    const char *target = device ? row_at(context, index)->target(device) : NULL;
    return target && strcmp(target, name) == 0;
}

bool api_find_target(Cx *cx, qn_context *context, const char *name, Target *target)
{
    if (!*name)
        name = rows[0].name;
    for (int i = 0; row_at(context, i); i++)
        if (strcmp(row_at(context, i)->name, name) == 0)
            return take_row(cx, context, i, NULL, target);
    for (int i = 0; cpu_level_at(i); i++)
        if (strcmp(cpu_level_at(i), name) == 0)
            return take_row(cx, context, 0, cpu_level_at(i), target);
    for (int i = 0; row_at(context, i); i++)
        if (has_target(context, i, name))
            return take_row(cx, context, i, NULL, target);
    char known[200] = "";
    for (int i = 0; row_at(context, i); i++) {
        size_t length = strlen(known);
        snprintf(known + length, sizeof known - length, "%s%s", i ? ", " : "",
                 row_at(context, i)->name);
    }
    cx_fail(cx, ST_missing,
            "no device or target '%s' on this machine; devices are %s (`quern devices` says more)",
            name, known);
    return false;
}

/* --- asking --- */

/* What is said of a device: its own name, what is generally known, or why it is not there. */
static qn_device_info describe(qn_context *context, int index)
{
    const DeviceRow *row = row_at(context, index);
    Report report;
    const Device *device = open_row(context, index, &report);
    const char *target = device ? row->target(device) : NULL, *what = row->what;
    if (!device)
        what = report.text;
    else if (!target)
        what = "needs at least x86-64-v3";
    else if (row->describe)
        what = row->describe(device);
    char *text = context->device_texts[index];
    pthread_mutex_lock(&context->lock);
    if (!*text)
        snprintf(text, API_DEVICE_TEXT, "%.150s%s%s", what, target ? ", target " : "",
                 target ? target : "");
    pthread_mutex_unlock(&context->lock);
    return (qn_device_info){api_string(row->name), api_string(text), target != NULL};
}

static qn_device_info describe_level(const char *level)
{
    bool usable = cpu_runs(level);
    const char *what = usable ? "machine code for any processor of this level"
                              : "this processor is of another kind or level";
    return (qn_device_info){api_string(level), api_string(what), usable};
}

/* This machine's processor, levels of processors, then what needs drivers: a search by name that
 * finds a processor opens none. */
qn_status qn_device_at(qn_context *context, int32_t index, qn_device_info *info)
{
    int levels = 0;
    if (!context || !info)
        return QN_BAD_ARGUMENT;
    while (cpu_level_at(levels))
        levels++;
    if (index < 0)
        return QN_MISSING;
    if (index > 0 && index <= levels)
        *info = describe_level(cpu_level_at(index - 1));
    else if (index < API_DEVICES + levels && row_at(context, index ? index - levels : 0))
        *info = describe(context, index ? index - levels : 0);
    else
        return QN_MISSING;
    return QN_OK;
}
