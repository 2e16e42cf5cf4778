/* Devices: where plans run. A device is a table of functions; programs and sessions know no other
 * way to memory, code and execution. device_null.c is the one to copy for a new device;
 * tests/cts/ is what every device has to pass.
 *
 *   Device        memory and code; shared by threads
 *   Stream        an order of work, with what only one run at a time may use; one thread at a time
 *   DeviceCode    the kernels of a plan, loaded
 *   Launches      a list of steps with sizes and memory filled in (runtime/launch.h)
 *
 * Addresses are pointers in form only: on devices with memory of their own they may not be
 * followed, but base + offset within one allocation is an address too. Work of a stream is done in
 * the order of the calls, as if each began when the one before has ended; `write`, `read`, `copy`
 * and `run` may return earlier, `wait` does not. Failures of a driver are ST_device with the
 * driver's words. */
#ifndef QUERN_RUNTIME_DEVICE_H
#define QUERN_RUNTIME_DEVICE_H

#include "base/arena.h"
#include "base/kernel_abi.h"
#include "runtime/plan.h"
#include "runtime/report.h"
#include "runtime/storage.h"

typedef struct DeviceType DeviceType;
typedef struct DeviceCode DeviceCode;
typedef struct Launches Launches;

/* What the code of an image is. */
typedef enum CodeKind {
    CODE_none,   /* nothing: the device executes nothing */
    CODE_object, /* relocatable machine code (runtime/object.h) */
    CODE_opencl, /* OpenCL C text */
    CODE_cubin,  /* CUDA device code */
    CODE_tile,   /* tile programs as text, for the simulator */
    CODE_count
} CodeKind;

typedef struct CodePiece {
    const void *data;
    size_t size;
} CodePiece;

/* Code of all kernels of a plan: each is in one of the pieces. */
typedef struct CodeImage {
    CodeKind kind;
    uint32_t count;
    const CodePiece *pieces;
} CodeImage;

typedef struct DeviceLimits {
    int64_t align;    /* of tensors within an allocation; a multiple of MEMORY_ALIGN */
    int64_t largest;  /* bytes of one allocation */
    bool host_memory; /* addresses are the process's own: callers' buffers are used in place */
} DeviceLimits;

typedef struct Device {
    const DeviceType *type;
    DeviceLimits limits;
    const Allocator *from; /* for host memory */
} Device;

typedef struct Stream {
    Device *device;
    /* Looked at by `run`. open_stream leaves a flag here that nobody sets; who has one may put it
     * in its place before anything is bound, and keeps it as long as the stream. */
    const CancelFlag *cancel;
} Stream;

struct DeviceType {
    const char *name;
    void (*close)(Device *device); /* nothing of the device is left in use */

    /* Memory; undefined content. NULL when it is refused. */
    void *(*alloc)(Device *device, int64_t bytes);
    void (*release)(Device *device, void *memory, int64_t bytes);

    /* Code of every kernel of the plan; plan and image stay until unload. What a driver makes of it
     * may be kept in `kept`; NULL = nowhere. */
    Status (*load)(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **code, Report *report);
    void (*unload)(DeviceCode *code);

    Status (*open_stream)(Device *device, const Plan *plan, Stream **stream, Report *report);
    void (*close_stream)(Stream *stream);          /* waits; NULL is allowed */
    int64_t (*stream_bytes)(const Stream *stream); /* memory it holds for kernels */
    /* Host to device, device to host, within the device. Host memory stays until `wait`. */
    Status (*write)(Stream *stream, void *to, const void *from, int64_t bytes, Report *report);
    Status (*read)(Stream *stream, void *to, const void *from, int64_t bytes, Report *report);
    Status (*copy)(Stream *stream, void *to, const void *from, int64_t bytes, Report *report);

    /* After a list got its sizes and memory: what the driver wants to know of it. Callers' buffers
     * in it may still change when limits.host_memory. Called again when sizes or memory changed;
     * launches that are not run until then may lack memory. Steps that are neither kernels nor
     * copies are not the device's. */
    Status (*bind)(Stream *stream, Launches *list, Report *report);
    void (*unbind)(Launches *list); /* also of a list never bound */
    /* The launches begin..end-1 of a bound list, none of it while list->error is set. Allocates
     * nothing. Looks at the stream's flag before each launch, and more often where it can: once it
     * is set nothing more is begun, and the status is report_cancelled. */
    Status (*run)(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report);
    /* Until all work is done. ST_bad_index, without a text, when a launch of `list` met a bad
     * index: list->failed says which, and list->error with what; who reports it resets that to 0.
     * `list` may be NULL. */
    Status (*wait)(Stream *stream, Launches *list, Report *report);
};

/* ---- for implementations ---- */

/* Memory of the device's allocator, zeroed; NULL when it is refused. */
void *device_host_alloc(const Device *device, size_t size);
void device_host_free(const Device *device, void *memory, size_t size);
/* alloc, release, write, read and copy of devices that share the process's memory. */
void *device_shared_alloc(Device *device, int64_t bytes);
void device_shared_release(Device *device, void *memory, int64_t bytes);
Status device_shared_copy(Stream *stream, void *to, const void *from, int64_t bytes,
                          Report *report);
/* open_stream and close_stream of devices whose streams hold nothing, stream_bytes of those whose
 * streams hold no memory for kernels; wait of those whose `run` returns when the work is done. */
Status device_shared_open_stream(Device *device, const Plan *plan, Stream **stream, Report *report);
void device_shared_close_stream(Stream *stream);
int64_t device_shared_stream_bytes(const Stream *stream);
Status device_shared_wait(Stream *stream, Launches *list, Report *report);
/* Out of memory, in words. */
Status device_no_memory(Report *report);

/* ---- cancelling ---- */

extern const CancelFlag device_never; /* that nobody sets */
static inline bool stream_cancelled(const Stream *stream)
{
    return atomic_load_explicit(stream->cancel, memory_order_relaxed) != 0;
}

#endif
