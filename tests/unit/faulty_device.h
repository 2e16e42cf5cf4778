/* A device around another one: its call number `at` fails, as its mode says. One at a time.
 *
 *   ONCE   that call, which then does nothing
 *   LATE   that call, after it did what it was asked for
 *   LOST   that call and all behind it, until the device is back */
#ifndef QUERN_TESTS_FAULTY_DEVICE_H
#define QUERN_TESTS_FAULTY_DEVICE_H

#include <stdlib.h>

#include "runtime/device.h"

enum { ONCE, LATE, LOST, MODES };

static struct {
    Device *inner;
    const DeviceType *type; /* of it */
    long calls, at;         /* at: 0 = no fault */
    int mode;
    int faults; /* so far */
    int live;   /* memory, code and streams */
} faulty;

static inline bool is_due(void)
{
    long number = ++faulty.calls;
    bool due = faulty.at && (number == faulty.at || (faulty.mode == LOST && number > faulty.at));
    faulty.faults += due;
    return due;
}

static inline Status fail_call(Report *report)
{
    return report_fail(report, ST_device, "the device fell off");
}

/* A call that is due fails, after its work when the fault is late. */
#define CALL(work)                                                                                 \
    do {                                                                                           \
        bool due = is_due();                                                                       \
        if (due && faulty.mode != LATE)                                                            \
            return fail_call(report);                                                              \
        Status status = (work);                                                                    \
        return due ? fail_call(report) : status;                                                   \
    } while (0)

static inline void close_faulty(Device *device)
{
    faulty.type->close(faulty.inner);
    free(device);
}

static inline void *alloc_memory(Device *device, int64_t bytes)
{
    (void)device;
    void *memory = is_due() ? NULL : faulty.type->alloc(faulty.inner, bytes);
    faulty.live += memory != NULL;
    return memory;
}

static inline void release_memory(Device *device, void *memory, int64_t bytes)
{
    (void)device;
    faulty.live--;
    faulty.type->release(faulty.inner, memory, bytes);
}

static inline Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                          DeviceCode **code, Report *report)
{
    (void)device;
    if (is_due())
        return fail_call(report);
    Status status = faulty.type->load(faulty.inner, plan, image, kept, code, report);
    faulty.live += status == ST_ok;
    return status;
}

static inline void unload(DeviceCode *code)
{
    faulty.live--;
    faulty.type->unload(code);
}

static inline Status open_stream(Device *device, const Plan *plan, Stream **stream, Report *report)
{
    (void)device;
    if (is_due())
        return fail_call(report);
    Status status = faulty.type->open_stream(faulty.inner, plan, stream, report);
    faulty.live += status == ST_ok;
    return status;
}

static inline void close_stream(Stream *stream)
{
    faulty.live -= stream != NULL;
    faulty.type->close_stream(stream);
}

static inline int64_t stream_bytes(const Stream *stream)
{
    return faulty.type->stream_bytes(stream);
}

static inline Status write_bytes(Stream *stream, void *to, const void *from, int64_t bytes,
                                 Report *report)
{
    CALL(faulty.type->write(stream, to, from, bytes, report));
}

static inline Status read_bytes(Stream *stream, void *to, const void *from, int64_t bytes,
                                Report *report)
{
    CALL(faulty.type->read(stream, to, from, bytes, report));
}

static inline Status copy_bytes(Stream *stream, void *to, const void *from, int64_t bytes,
                                Report *report)
{
    CALL(faulty.type->copy(stream, to, from, bytes, report));
}

static inline Status bind_list(Stream *stream, Launches *list, Report *report)
{
    CALL(faulty.type->bind(stream, list, report));
}

static inline void unbind_list(Launches *list)
{
    faulty.type->unbind(list);
}

static inline Status run_list(Stream *stream, Launches *list, uint32_t begin, uint32_t end,
                              Report *report)
{
    CALL(faulty.type->run(stream, list, begin, end, report));
}

static inline Status wait_list(Stream *stream, Launches *list, Report *report)
{
    CALL(faulty.type->wait(stream, list, report));
}

static const DeviceType faulty_type = {.name = "faulty",
                                       .close = close_faulty,
                                       .alloc = alloc_memory,
                                       .release = release_memory,
                                       .load = load,
                                       .unload = unload,
                                       .open_stream = open_stream,
                                       .close_stream = close_stream,
                                       .stream_bytes = stream_bytes,
                                       .write = write_bytes,
                                       .read = read_bytes,
                                       .copy = copy_bytes,
                                       .bind = bind_list,
                                       .unbind = unbind_list,
                                       .run = run_list,
                                       .wait = wait_list};

static inline Device *around(Device *inner)
{
    Device *device = inner ? malloc(sizeof *device) : NULL;
    if (!device)
        return NULL;
    faulty.inner = inner;
    faulty.type = inner->type;
    *device = *inner;
    device->type = &faulty_type;
    return device;
}

#endif
