/* The device `cuda`. Addresses are the driver's. Every call makes the primary context current and
 * gives back what the calling thread had: threads are the caller's.
 *
 * Kernels are found when code is loaded; a run only launches, with lists of pointers to parameters
 * that point into the list of launches:
 *
 *   parameters of a launch: | buffer 0 .. | dim 0 .. | error cell |   each a pointer to the value
 *
 * Error cells are four bytes for each launch that may fail (launch.h), read when the list is waited
 * for. */
#include "runtime/device_cuda.h"

#include <stdio.h>
#include <string.h>

#include "runtime/cuda_api.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

enum { CUDA_ALIGN = 256 }; /* what the driver aligns allocations to */

typedef struct CudaDevice {
    Device device;
    const CudaApi *api;
    int id;
    CudaContext context;
    const char *target;
    char name[100];
} CudaDevice;

typedef struct CudaStream {
    Stream stream;
    CudaStreamHandle handle;
} CudaStream;

struct DeviceCode {
    CudaDevice *device;
    CudaFunction *functions; /* functions[first[kernel] + phase] */
    uint32_t *first;
    uint32_t module_count;
    size_t size; /* of this block, with the arrays */
    CudaModule modules[];
};

static Status failed(const CudaDevice *d, Report *report, const char *what, int code)
{
    const char *text = NULL;
    d->api->error_text(code, &text);
    return report_fail(report, code == CUDA_OUT_OF_MEMORY ? ST_out_of_memory : ST_device,
                       "CUDA: %s: %s (%d)", what, text ? text : "unknown error", code);
}

static bool enter(const CudaDevice *d)
{
    return d->api->push(d->context) == 0;
}

static void leave(const CudaDevice *d)
{
    CudaContext ours;
    d->api->pop(&ours);
}

/* --- opening --- */

/* Code of a target runs on GPUs of the same major number and an equal or higher minor one; what
 * ends with `a` runs on exactly its own. */
static const char *target_of(int major, int minor)
{
    if (major == 7 && minor >= 5)
        return "sm_75";
    if (major == 8)
        return "sm_80";
    return major == 9 && minor == 0 ? "sm_90a" : NULL;
}

static bool look_at_gpu(CudaDevice *d, Report *report)
{
    int count = 0, major = 0, minor = 0;
    size_t memory = 0;
    int code = d->api->device_count(&count);
    if (code == CUDA_NO_DEVICE || (code == 0 && count == 0)) {
        report_fail(report, ST_missing, "the NVIDIA driver finds no GPU");
        return false;
    }
    if (code == 0)
        code = d->api->device(&d->id, 0);
    if (code == 0)
        code = d->api->device_name(d->name, sizeof d->name, d->id);
    if (code == 0)
        code = d->api->device_memory(&memory, d->id);
    if (code == 0)
        code = d->api->attribute(&major, CUDA_ATTRIBUTE_MAJOR, d->id);
    if (code == 0)
        code = d->api->attribute(&minor, CUDA_ATTRIBUTE_MINOR, d->id);
    if (code != 0) {
        failed(d, report, "looking at the GPU", code);
        return false;
    }
    d->name[sizeof d->name - 1] = 0;
    d->target = target_of(major, minor);
    d->device.limits = (DeviceLimits){CUDA_ALIGN, (int64_t)memory, false};
    if (!d->target)
        report_fail(report, ST_unsupported,
                    "%s has compute capability %d.%d; targets are sm_75, "
                    "sm_80 and sm_90a",
                    d->name, major, minor);
    return d->target != NULL;
}

static const DeviceType cuda_type;

Device *device_cuda_open(const Allocator *from, Report *report)
{
    const char *why = NULL;
    const CudaApi *api = cuda_api(&why);
    if (!api) {
        report_fail(report, ST_missing, "%s", why);
        return NULL;
    }
    CudaDevice *d = from->alloc(from->user, sizeof *d, MEMORY_ALIGN);
    if (!d) {
        device_no_memory(report);
        return NULL;
    }
    *d = (CudaDevice){.device = {.type = &cuda_type, .from = from}, .api = api};
    bool found = look_at_gpu(d, report);
    int code = found ? api->retain(&d->context, d->id) : 0;
    if (found && code == 0)
        return &d->device;
    if (code != 0)
        failed(d, report, "cuDevicePrimaryCtxRetain", code);
    from->release(from->user, d, sizeof *d);
    return NULL;
}

static void close_device(Device *device)
{
    CudaDevice *d = (CudaDevice *)device;
    d->api->release(d->id);
    device_host_free(device, d, sizeof *d);
}

const char *device_cuda_target(const Device *device)
{
    return ((const CudaDevice *)device)->target;
}

const char *device_cuda_name(const Device *device)
{
    return ((const CudaDevice *)device)->name;
}

/* --- memory --- */

static void *alloc_memory(Device *device, int64_t bytes)
{
    const CudaDevice *d = (CudaDevice *)device;
    CudaAddress address = 0;
    if (!enter(d))
        return NULL;
    int code = d->api->alloc(&address, (size_t)bytes);
    leave(d);
    return code == 0 ? (void *)(uintptr_t)address : NULL;
}

static void release_memory(Device *device, void *memory, int64_t bytes)
{
    const CudaDevice *d = (CudaDevice *)device;
    (void)bytes;
    if (!enter(d))
        return;
    d->api->free((uintptr_t)memory);
    leave(d);
}

/* --- code --- */

static void unload(DeviceCode *code)
{
    CudaDevice *d = code->device;
    if (enter(d)) {
        for (uint32_t i = 0; i < code->module_count; i++)
            d->api->module_free(code->modules[i]);
        leave(d);
    }
    device_host_free(&d->device, code, code->size);
}

static DeviceCode *new_code(CudaDevice *d, const Plan *plan, uint32_t modules)
{
    size_t functions = 0;
    for (uint32_t k = 0; k < plan->kernel_count; k++)
        functions += plan->kernels[k].phase_count;
    size_t size = sizeof(DeviceCode) + (modules + functions) * sizeof(void *) +
                  plan->kernel_count * sizeof(uint32_t);
    DeviceCode *code = device_host_alloc(&d->device, size);
    if (!code)
        return NULL;
    *code = (DeviceCode){.device = d, .size = size};
    code->functions = (CudaFunction *)(void *)(code->modules + modules);
    code->first = (uint32_t *)(void *)(code->functions + functions);
    return code;
}

/* Device code says itself how long it is, and the driver believes it: a piece that is no ELF file
 * of 64 bits with its tables inside it does not get there. */
static bool is_whole(const CodePiece *piece)
{
    static const unsigned char magic[] = {0x7F, 'E', 'L', 'F', 2, 1};
    const char *data = piece->data;
    uint64_t programs, sections;
    uint16_t numbers[4]; /* sizes and counts of the two tables */
    if (piece->size < 64 || memcmp(data, magic, sizeof magic) != 0)
        return false;
    memcpy(&programs, data + 32, 8);
    memcpy(&sections, data + 40, 8);
    memcpy(numbers, data + 54, 8);
    return programs <= piece->size && sections <= piece->size &&
           (size_t)numbers[0] * numbers[1] <= piece->size - programs &&
           (size_t)numbers[2] * numbers[3] <= piece->size - sections;
}

static Status load_modules(DeviceCode *code, const CodeImage *image, Report *report)
{
    const CudaDevice *d = code->device;
    for (uint32_t i = 0; i < image->count; i++) {
        if (!is_whole(&image->pieces[i]))
            return report_fail(report, ST_bad_file, "CUDA: damaged device code");
        int result = d->api->module(&code->modules[i], image->pieces[i].data);
        if (result != 0)
            return failed(d, report, "cuModuleLoadData", result);
        code->module_count++;
    }
    return ST_ok;
}

static Status find_function(const DeviceCode *code, const PlanKernel *kernel, uint32_t phase,
                            CudaFunction *function, Report *report)
{
    const CudaDevice *d = code->device;
    char name[300];
    int result = CUDA_NOT_FOUND;
    snprintf(name, sizeof name, "%s_%u", kernel->name, phase);
    for (uint32_t i = 0; i < code->module_count && result == CUDA_NOT_FOUND; i++)
        result = d->api->function(function, code->modules[i], name);
    if (result == CUDA_NOT_FOUND)
        return report_fail(report, ST_bad_file, "the device code of '%s' is missing", name);
    if (result == 0)
        result = d->api->function_set(*function, CUDA_FUNCTION_SHARED_BYTES,
                                      (int)kernel->phases[phase].shared);
    return result == 0 ? ST_ok : failed(d, report, name, result);
}

static Status find_functions(DeviceCode *code, const Plan *plan, Report *report)
{
    uint32_t at = 0;
    for (uint32_t k = 0; k < plan->kernel_count; k++) {
        code->first[k] = at;
        for (uint32_t p = 0; p < plan->kernels[k].phase_count; p++, at++)
            if (find_function(code, &plan->kernels[k], p, &code->functions[at], report) != ST_ok)
                return report->status;
    }
    return ST_ok;
}

static Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **out, Report *report)
{
    (void)kept;
    CudaDevice *d = (CudaDevice *)device;
    if (image->kind != CODE_cubin)
        return report_fail(report, ST_bad_file, "the image holds no CUDA device code");
    DeviceCode *code = new_code(d, plan, image->count);
    if (!code)
        return device_no_memory(report);
    Status status = ST_device;
    if (enter(d)) {
        status = load_modules(code, image, report);
        if (status == ST_ok)
            status = find_functions(code, plan, report);
        leave(d);
    } else {
        report_fail(report, ST_device, "CUDA: the context is gone");
    }
    if (status != ST_ok)
        unload(code);
    else
        *out = code;
    return status;
}

/* --- streams --- */

static Status open_stream(Device *device, const Plan *plan, Stream **stream, Report *report)
{
    const CudaDevice *d = (CudaDevice *)device;
    (void)plan;
    CudaStream *s = device_host_alloc(device, sizeof *s);
    if (!s)
        return device_no_memory(report);
    s->stream.device = device;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = d->api->stream(&s->handle, CUDA_STREAM_NON_BLOCKING);
        leave(d);
    }
    if (code != 0) {
        device_host_free(device, s, sizeof *s);
        return failed(d, report, "cuStreamCreate", code);
    }
    *stream = &s->stream;
    return ST_ok;
}

static void close_stream(Stream *stream)
{
    CudaStream *s = (CudaStream *)stream;
    if (!s)
        return;
    const CudaDevice *d = (CudaDevice *)stream->device;
    if (enter(d)) {
        d->api->stream_wait(s->handle);
        d->api->stream_free(s->handle);
        leave(d);
    }
    device_host_free(stream->device, s, sizeof *s);
}

static int64_t stream_bytes(const Stream *stream)
{
    (void)stream;
    return 0;
}

static Status write(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = d->api->write((uintptr_t)to, from, (size_t)bytes, ((CudaStream *)stream)->handle);
        leave(d);
    }
    return code == 0 ? ST_ok : failed(d, report, "cuMemcpyHtoDAsync", code);
}

static Status read(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = d->api->read(to, (uintptr_t)from, (size_t)bytes, ((CudaStream *)stream)->handle);
        leave(d);
    }
    return code == 0 ? ST_ok : failed(d, report, "cuMemcpyDtoHAsync", code);
}

static Status copy(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = d->api->copy((uintptr_t)to, (uintptr_t)from, (size_t)bytes,
                            ((CudaStream *)stream)->handle);
        leave(d);
    }
    return code == 0 ? ST_ok : failed(d, report, "cuMemcpyDtoDAsync", code);
}

/* --- lists --- */

typedef struct Bound {
    CudaDevice *device;
    size_t size;        /* of this block, with the arrays */
    CudaAddress cells;  /* 0: none yet */
    CudaAddress *cell;  /* by launch: the address of its own */
    void ***parameters; /* by launch */
    char *read;         /* the cells, on the host */
} Bound;

static Bound *new_bound(CudaDevice *d, const Launches *list)
{
    size_t parameters = 0;
    for (uint32_t i = 0; i < list->count; i++)
        parameters += list->steps[i].buffer_count + list->steps[i].dim_count + 1;
    size_t size = sizeof(Bound) + list->count * (sizeof(CudaAddress) + sizeof(void **)) +
                  parameters * sizeof(void *) + list->cell_count * sizeof(int32_t);
    Bound *b = device_host_alloc(&d->device, size);
    if (!b)
        return NULL;
    *b = (Bound){.device = d, .size = size};
    b->cell = (CudaAddress *)(void *)(b + 1);
    b->parameters = (void ***)(void *)(b->cell + list->count);
    void **at = (void **)(void *)(b->parameters + list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        b->parameters[i] = at;
        at += list->steps[i].buffer_count + list->steps[i].dim_count + 1;
    }
    b->read = (char *)at;
    return b;
}

/* Where the values of a launch's parameters are. */
static void point(const Bound *b, const Launches *list, uint32_t i)
{
    const PlanStep *step = &list->steps[i];
    const Launch *launch = &list->launches[i];
    void **at = b->parameters[i];
    for (uint32_t k = 0; k < step->buffer_count; k++)
        *at++ = (void *)(uintptr_t)&launch->args.buffers[k];
    for (uint32_t k = 0; k < step->dim_count; k++)
        *at++ = (void *)(uintptr_t)&launch->args.dims[k];
    *at = &b->cell[i];
    b->cell[i] = b->cells + launch->cell * sizeof(int32_t);
}

static void unbind(Launches *list)
{
    Bound *b = list->bound;
    if (!b)
        return;
    if (b->cells)
        release_memory(&b->device->device, (void *)(uintptr_t)b->cells, 0);
    device_host_free(&b->device->device, b, b->size);
    list->bound = NULL;
}

static Status make_cells(const CudaDevice *d, CudaStreamHandle stream, Launches *list,
                         Report *report)
{
    Bound *b = list->bound;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = d->api->alloc(&b->cells, list->cell_count * sizeof(int32_t));
        if (code == 0)
            code = d->api->fill(b->cells, 0, list->cell_count, stream);
        leave(d);
    }
    return code == 0 ? ST_ok : failed(d, report, "memory of error cells", code);
}

/* Parameters point at the list's own values, so a list is bound once. */
static Status bind(Stream *stream, Launches *list, Report *report)
{
    CudaDevice *d = (CudaDevice *)stream->device;
    if (list->bound)
        return ST_ok;
    list->bound = new_bound(d, list);
    if (!list->bound)
        return device_no_memory(report);
    if (make_cells(d, ((CudaStream *)stream)->handle, list, report) != ST_ok) {
        unbind(list);
        return report->status;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        Launch *launch = &list->launches[i];
        if (launch->kernel)
            launch->code = list->code->functions + list->code->first[list->steps[i].kernel];
        point(list->bound, list, i);
    }
    return ST_ok;
}

static Status run_kernel(const CudaDevice *d, CudaStreamHandle stream, const Launch *launch,
                         void **parameters, Report *report)
{
    const CudaFunction *functions = launch->code;
    for (uint32_t p = 0; p < launch->kernel->phase_count; p++) {
        const PlanPhase *phase = &launch->kernel->phases[p];
        int64_t blocks = launch->tasks[p];
        if (blocks <= 0)
            continue;
        if (blocks > INT32_MAX)
            return report_fail(report, ST_limit, "CUDA: kernel '%s' takes %lld blocks",
                               launch->kernel->name, (long long)blocks);
        int code = d->api->launch(functions[p], (unsigned)blocks, 1, 1, phase->threads, 1, 1,
                                  phase->shared, stream, parameters, NULL);
        if (code != 0)
            return failed(d, report, launch->kernel->name, code);
    }
    return ST_ok;
}

static Status run_copy(const CudaDevice *d, CudaStreamHandle stream, const Launch *launch,
                       Report *report)
{
    void *const *buffers = launch->args.buffers;
    if (launch->bytes <= 0 || buffers[0] == buffers[1])
        return ST_ok;
    int code =
        d->api->copy((uintptr_t)buffers[1], (uintptr_t)buffers[0], (size_t)launch->bytes, stream);
    return code == 0 ? ST_ok : failed(d, report, "cuMemcpyDtoDAsync", code);
}

static Status run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    CudaStreamHandle handle = ((CudaStream *)stream)->handle;
    const Bound *b = list->bound;
    Status status = ST_ok;
    if (!enter(d))
        return report_fail(report, ST_device, "CUDA: the context is gone");
    for (uint32_t i = begin; i < end && !list->error && status == ST_ok; i++) {
        const Launch *launch = &list->launches[i];
        status = launch->kernel ? run_kernel(d, handle, launch, b->parameters[i], report)
                                : run_copy(d, handle, launch, report);
    }
    leave(d);
    return status;
}

/* Brings the cells over, and makes them new when one was set. */
static int read_cells(const CudaDevice *d, CudaStreamHandle stream, Launches *list)
{
    const Bound *b = list->bound;
    int code = d->api->read(b->read, b->cells, list->cell_count * sizeof(int32_t), stream);
    if (code == 0)
        code = d->api->stream_wait(stream);
    if (code == 0 && launches_read_cells(list, b->read, sizeof(int32_t)))
        code = d->api->fill(b->cells, 0, list->cell_count, stream);
    return code;
}

static Status wait(Stream *stream, Launches *list, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    CudaStreamHandle handle = ((CudaStream *)stream)->handle;
    bool cells = list && list->bound && list->cell_count > 1;
    int code = CUDA_NO_DEVICE;
    if (enter(d)) {
        code = cells ? read_cells(d, handle, list) : d->api->stream_wait(handle);
        leave(d);
    }
    if (code != 0)
        return failed(d, report, "the GPU", code);
    return list && list->error ? ST_bad_index : ST_ok;
}

static const DeviceType cuda_type = {
    .name = "cuda",
    .close = close_device,
    .alloc = alloc_memory,
    .release = release_memory,
    .load = load,
    .unload = unload,
    .open_stream = open_stream,
    .close_stream = close_stream,
    .stream_bytes = stream_bytes,
    .write = write,
    .read = read,
    .copy = copy,
    .bind = bind,
    .unbind = unbind,
    .run = run,
    .wait = wait,
};
