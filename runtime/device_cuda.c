/* The device `cuda`. Addresses are the driver's. Every call makes the primary context current and
 * gives back what the calling thread had: threads are the caller's. Kernels are found when code is
 * loaded; a run only launches (cuda_bind.c). */
#include "runtime/device_cuda.h"

#include <stdio.h>
#include <string.h>

#include "runtime/cuda_impl.h"
#include "runtime/memory.h"

enum { CUDA_ALIGN = 256 }; /* what the driver aligns allocations to */

Status cuda_failed(const CudaDevice *d, Report *report, const char *what, int code)
{
    const char *text = NULL;
    d->api->error_text(code, &text);
    return report_fail(report, code == CUDA_OUT_OF_MEMORY ? ST_out_of_memory : ST_device,
                       "CUDA: %s: %s (%d)", what, text ? text : "unknown error", code);
}

bool cuda_enter(const CudaDevice *d)
{
    return d->api->push(d->context) == 0;
}

void cuda_leave(const CudaDevice *d)
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
        cuda_failed(d, report, "looking at the GPU", code);
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
        cuda_failed(d, report, "cuDevicePrimaryCtxRetain", code);
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
    if (!cuda_enter(d))
        return NULL;
    int code = d->api->alloc(&address, (size_t)bytes);
    cuda_leave(d);
    return code == 0 ? (void *)(uintptr_t)address : NULL;
}

void cuda_release_memory(Device *device, void *memory, int64_t bytes)
{
    const CudaDevice *d = (CudaDevice *)device;
    (void)bytes;
    if (!cuda_enter(d))
        return;
    d->api->free((uintptr_t)memory);
    cuda_leave(d);
}

/* --- code --- */

static void unload(DeviceCode *code)
{
    CudaDevice *d = code->device;
    if (cuda_enter(d)) {
        for (uint32_t i = 0; i < code->module_count; i++)
            d->api->module_free(code->modules[i]);
        cuda_leave(d);
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
            return cuda_failed(d, report, "cuModuleLoadData", result);
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
    return result == 0 ? ST_ok : cuda_failed(d, report, name, result);
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
    if (cuda_enter(d)) {
        status = load_modules(code, image, report);
        if (status == ST_ok)
            status = find_functions(code, plan, report);
        cuda_leave(d);
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
    s->stream = (Stream){device, &device_never};
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = d->api->stream(&s->handle, CUDA_STREAM_NON_BLOCKING);
        cuda_leave(d);
    }
    if (code != 0) {
        device_host_free(device, s, sizeof *s);
        return cuda_failed(d, report, "cuStreamCreate", code);
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
    if (cuda_enter(d)) {
        d->api->stream_wait(s->handle);
        d->api->stream_free(s->handle);
        cuda_leave(d);
    }
    device_host_free(stream->device, s, sizeof *s);
}

static Status write(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = d->api->write((uintptr_t)to, from, (size_t)bytes, ((CudaStream *)stream)->handle);
        cuda_leave(d);
    }
    return code == 0 ? ST_ok : cuda_failed(d, report, "cuMemcpyHtoDAsync", code);
}

static Status read(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = d->api->read(to, (uintptr_t)from, (size_t)bytes, ((CudaStream *)stream)->handle);
        cuda_leave(d);
    }
    return code == 0 ? ST_ok : cuda_failed(d, report, "cuMemcpyDtoHAsync", code);
}

static Status copy(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = d->api->copy((uintptr_t)to, (uintptr_t)from, (size_t)bytes,
                            ((CudaStream *)stream)->handle);
        cuda_leave(d);
    }
    return code == 0 ? ST_ok : cuda_failed(d, report, "cuMemcpyDtoDAsync", code);
}

/* --- lists --- */
static const DeviceType cuda_type = {
    .name = "cuda",
    .close = close_device,
    .alloc = alloc_memory,
    .release = cuda_release_memory,
    .load = load,
    .unload = unload,
    .open_stream = open_stream,
    .close_stream = close_stream,
    .stream_bytes = device_shared_stream_bytes,
    .write = write,
    .read = read,
    .copy = copy,
    .bind = cuda_bind,
    .unbind = cuda_unbind,
    .run = cuda_run,
    .wait = cuda_wait,
};
