/* The device `null`: the smallest that satisfies runtime/device.h, to measure everything but the
 * kernels, and to copy for a new device. Every function of the table is here; a device with memory
 * of its own replaces the shared ones of device.c and clears limits.host_memory.
 *
 * A launch leaves zeros in the outputs of the model that it would write, and nothing elsewhere. */
#include "runtime/device_null.h"

#include <string.h>

#include "runtime/launch.h"
#include "runtime/memory.h"

/* A device that compiles or looks up code keeps it here. */
struct DeviceCode {
    Device *device;
};

static void close_device(Device *device)
{
    device_host_free(device, device, sizeof *device);
}

static Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **code, Report *report)
{
    (void)kept;
    (void)plan;
    (void)image;
    *code = device_host_alloc(device, sizeof **code);
    if (!*code)
        return device_no_memory(report);
    (*code)->device = device;
    return ST_ok;
}

static void unload(DeviceCode *code)
{
    device_host_free(code->device, code, sizeof *code);
}

static Status bind(Stream *stream, Launches *list, Report *report)
{
    (void)stream;
    (void)list;
    (void)report;
    return ST_ok;
}

static void unbind(Launches *list)
{
    (void)list;
}

static Status run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    for (uint32_t i = begin; i < end; i++) {
        if (stream_cancelled(stream))
            return report_cancelled(report);
        for (uint32_t b = 0; b < list->steps[i].buffer_count; b++) {
            const PlanTensor *tensor = &list->plan->tensors[list->steps[i].buffers[b]];
            if (tensor->place != PP_output)
                continue;
            int64_t bytes = launches_buffer_bytes(list, i, b);
            if (bytes > 0)
                memset(list->launches[i].args.buffers[b], 0, (size_t)bytes);
        }
    }
    return ST_ok;
}

static const DeviceType type = {
    .name = "null",
    .close = close_device,
    .alloc = device_shared_alloc,
    .release = device_shared_release,
    .load = load,
    .unload = unload,
    .open_stream = device_shared_open_stream,
    .close_stream = device_shared_close_stream,
    .stream_bytes = device_shared_stream_bytes,
    .write = device_shared_copy,
    .read = device_shared_copy,
    .copy = device_shared_copy,
    .bind = bind,
    .unbind = unbind,
    .run = run,
    .wait = device_shared_wait,
};

Device *device_null_open(const Allocator *from)
{
    Device *device = from->alloc(from->user, sizeof *device, MEMORY_ALIGN);
    if (device)
        *device = (Device){&type, {MEMORY_ALIGN, INT64_MAX, true}, from};
    return device;
}
