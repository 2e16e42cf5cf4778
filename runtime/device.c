/* What implementations of devices share. */
#include "runtime/device.h"

#include <string.h>

#include "runtime/launch.h"
#include "runtime/memory.h"

void *device_host_alloc(const Device *device, size_t size)
{
    void *memory = device->from->alloc(device->from->user, size, MEMORY_ALIGN);
    return memory ? memset(memory, 0, size) : NULL;
}

void device_host_free(const Device *device, void *memory, size_t size)
{
    if (memory)
        device->from->release(device->from->user, memory, size);
}

void *device_shared_alloc(Device *device, int64_t bytes)
{
    return device->from->alloc(device->from->user, (size_t)bytes, MEMORY_ALIGN);
}

void device_shared_release(Device *device, void *memory, int64_t bytes)
{
    device->from->release(device->from->user, memory, (size_t)bytes);
}

Status device_shared_copy(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    (void)stream;
    (void)report;
    if (bytes)
        memcpy(to, from, (size_t)bytes);
    return ST_ok;
}

Status device_shared_open_stream(Device *device, const Plan *plan, Stream **stream, Report *report)
{
    (void)plan;
    *stream = device_host_alloc(device, sizeof **stream);
    if (!*stream)
        return device_no_memory(report);
    **stream = (Stream){device, &device_never};
    return ST_ok;
}

void device_shared_close_stream(Stream *stream)
{
    if (stream)
        device_host_free(stream->device, stream, sizeof *stream);
}

int64_t device_shared_stream_bytes(const Stream *stream)
{
    (void)stream;
    return 0;
}

Status device_shared_wait(Stream *stream, Launches *list, Report *report)
{
    (void)stream;
    (void)report;
    return list && list->error ? ST_bad_index : ST_ok;
}

Status device_no_memory(Report *report)
{
    return report_fail(report, ST_out_of_memory, "%s", status_text(ST_out_of_memory));
}

const CancelFlag device_never = 0;
