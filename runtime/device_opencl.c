/* The device `opencl`.
 *
 * Memory is cl_mem objects, one for each allocation. Shared virtual memory would give real
 * addresses, but is optional since OpenCL 3.0 and missing from drivers that have everything else
 * we need, so addresses are made up: every allocation gets a range of numbers of its own, and an
 * address is looked up in the list of allocations. Kernels get a sub-buffer for each tensor, made
 * when sizes and memory are set (opencl_bind.c), so that a run only enqueues.
 *
 * A stream is an in-order queue. Code is built from text when it is loaded, or taken as the driver
 * built it before from where that is kept. */
#include "runtime/device_opencl.h"

#include <stdio.h>
#include <string.h>

#include "runtime/memory.h"
#include "runtime/opencl_build.h"
#include "runtime/opencl_impl.h"

static const uintptr_t first_address = 1 << 16, address_gap = 1 << 12;

Status opencl_failed(Report *report, const char *what, cl_int code)
{
    if (code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY)
        return report_fail(report, ST_out_of_memory, "OpenCL: %s: out of memory (%d)", what,
                           (int)code);
    return report_fail(report, ST_device, "OpenCL: %s failed (%d)", what, (int)code);
}

/* --- opening --- */

typedef struct Choice {
    cl_platform_id platform;
    cl_device_id device;
    cl_device_type type;
    int rank; /* the lower the better */
} Choice;

static int rank_of(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU ? 0 : type & CL_DEVICE_TYPE_ACCELERATOR ? 1 : 2;
}

enum { MOST = 16 };

static void look_at_platform(const OpenclApi *api, cl_platform_id platform, Choice *best)
{
    cl_device_id devices[MOST];
    cl_uint count = 0;
    if (api->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MOST, devices, &count) != CL_SUCCESS)
        return;
    for (cl_uint i = 0; i < count && i < MOST; i++) {
        cl_device_type type = 0;
        cl_bool usable = CL_FALSE, little = CL_FALSE;
        api->clGetDeviceInfo(devices[i], CL_DEVICE_TYPE, sizeof type, &type, NULL);
        api->clGetDeviceInfo(devices[i], CL_DEVICE_AVAILABLE, sizeof usable, &usable, NULL);
        api->clGetDeviceInfo(devices[i], CL_DEVICE_ENDIAN_LITTLE, sizeof little, &little, NULL);
        if (usable && little && rank_of(type) < best->rank)
            *best = (Choice){platform, devices[i], type, rank_of(type)};
    }
}

static bool choose(const OpenclApi *api, Choice *best)
{
    cl_platform_id platforms[MOST];
    cl_uint count = 0;
    *best = (Choice){.rank = 3};
    if (api->clGetPlatformIDs(MOST, platforms, &count) != CL_SUCCESS)
        return false;
    for (cl_uint i = 0; i < count && i < MOST; i++)
        look_at_platform(api, platforms[i], best);
    return best->rank < 3;
}

static void set_limits(OpenclDevice *d, const Choice *choice)
{
    cl_uint align_bits = 0;
    cl_ulong largest = 0;
    size_t group = 0;
    char name[100] = "", platform[50] = "";
    d->api->clGetDeviceInfo(d->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof align_bits, &align_bits,
                            NULL);
    d->api->clGetDeviceInfo(d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof largest, &largest, NULL);
    d->api->clGetDeviceInfo(d->id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL);
    d->api->clGetDeviceInfo(d->id, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    d->api->clGetPlatformInfo(choice->platform, CL_PLATFORM_NAME, sizeof platform - 1, platform,
                              NULL);
    int64_t align = align_bits / 8;
    d->device.limits.align = memory_round(align > 0 ? align : 1);
    d->device.limits.largest = largest > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)largest;
    d->group_size = group;
    d->gpu = (choice->type & CL_DEVICE_TYPE_CPU) == 0;
    snprintf(d->name, sizeof d->name, "%s (%s)", name, platform);
}

Device *device_opencl_open(const Allocator *from, Report *report)
{
    const char *why = NULL;
    const OpenclApi *api = opencl_api(&why);
    Choice choice;
    cl_int code = CL_SUCCESS;
    if (!api) {
        report_fail(report, ST_missing, "%s", why);
        return NULL;
    }
    if (!choose(api, &choice)) {
        report_fail(report, ST_missing, "OpenCL is installed, but no driver offers a device");
        return NULL;
    }
    OpenclDevice *d = from->alloc(from->user, sizeof *d, MEMORY_ALIGN);
    if (!d) {
        device_no_memory(report);
        return NULL;
    }
    memset(d, 0, sizeof *d);
    d->device = (Device){.type = &opencl_type, .from = from};
    d->api = api;
    d->id = choice.device;
    d->next_address = first_address;
    set_limits(d, &choice);
    d->context = api->clCreateContext(NULL, 1, &d->id, NULL, NULL, &code);
    if (code != CL_SUCCESS || pthread_mutex_init(&d->lock, NULL) != 0) {
        opencl_failed(report, "clCreateContext", code);
        if (d->context)
            api->clReleaseContext(d->context);
        from->release(from->user, d, sizeof *d);
        return NULL;
    }
    return &d->device;
}

static void close_device(Device *device)
{
    OpenclDevice *d = (OpenclDevice *)device;
    pthread_mutex_destroy(&d->lock);
    d->api->clReleaseContext(d->context);
    device_host_free(device, d, sizeof *d);
}

const char *device_opencl_target(const Device *device)
{
    return ((const OpenclDevice *)device)->gpu ? "opencl" : "opencl-cpu";
}

const char *device_opencl_name(const Device *device)
{
    return ((const OpenclDevice *)device)->name;
}

/* --- memory --- */

static void *alloc_memory(Device *device, int64_t bytes)
{
    OpenclDevice *d = (OpenclDevice *)device;
    cl_int code = CL_SUCCESS;
    OpenclBlock *block = device_host_alloc(device, sizeof *block);
    if (!block)
        return NULL;
    block->size = (size_t)bytes;
    block->mem = d->api->clCreateBuffer(d->context, CL_MEM_READ_WRITE, block->size, NULL, &code);
    if (code != CL_SUCCESS) {
        device_host_free(device, block, sizeof *block);
        return NULL;
    }
    pthread_mutex_lock(&d->lock);
    block->address = d->next_address;
    uintptr_t step = (block->size + address_gap) / address_gap * address_gap + address_gap;
    d->next_address += step;
    block->next = d->blocks;
    d->blocks = block;
    pthread_mutex_unlock(&d->lock);
    return (void *)block->address;
}

static void release_memory(Device *device, void *memory, int64_t bytes)
{
    OpenclDevice *d = (OpenclDevice *)device;
    (void)bytes;
    pthread_mutex_lock(&d->lock);
    OpenclBlock **at = &d->blocks, *block = NULL;
    while (*at && (*at)->address != (uintptr_t)memory)
        at = &(*at)->next;
    if (*at) {
        block = *at;
        *at = block->next;
    }
    pthread_mutex_unlock(&d->lock);
    CHECK(block);
    d->api->clReleaseMemObject(block->mem);
    device_host_free(device, block, sizeof *block);
}

bool opencl_find(OpenclDevice *d, const void *address, int64_t bytes, OpenclPlace *place)
{
    uintptr_t at = (uintptr_t)address;
    bool found = false;
    pthread_mutex_lock(&d->lock);
    for (const OpenclBlock *b = d->blocks; b && !found; b = b->next)
        if (at >= b->address && at - b->address <= b->size &&
            (size_t)bytes <= b->size - (at - b->address)) {
            *place = (OpenclPlace){b->mem, at - b->address, b->size - (at - b->address)};
            found = true;
        }
    pthread_mutex_unlock(&d->lock);
    return found;
}

size_t opencl_round(const OpenclDevice *d, const OpenclPlace *place, int64_t bytes)
{
    int64_t size = memory_round_to(bytes, d->device.limits.align);
    return size >= 0 && (size_t)size <= place->left ? (size_t)size : place->left;
}

/* --- code --- */

typedef struct Build {
    const OpenclDevice *d;
    const CodeImage *image;
    Storage *kept;
    DeviceCode *code;
} Build;

static void build_job(Cx *cx, void *user)
{
    const Build *b = user;
    for (uint32_t i = 0; i < b->image->count; i++) {
        const CodePiece *piece = &b->image->pieces[i];
        cl_program program =
            opencl_build_kept(cx, b->d->context, b->d->id, piece->data, piece->size, b->kept);
        if (!program)
            return;
        b->code->programs[b->code->count++] = program;
    }
}

static void unload(DeviceCode *code)
{
    OpenclDevice *d = code->device;
    for (uint32_t i = 0; i < code->count; i++)
        d->api->clReleaseProgram(code->programs[i]);
    device_host_free(&d->device, code, code->size);
}

cl_kernel opencl_kernel(const DeviceCode *code, const char *kernel, uint32_t phase)
{
    char name[300];
    snprintf(name, sizeof name, "%s_%u", kernel, phase);
    for (uint32_t i = 0; i < code->count; i++) {
        cl_int result = CL_SUCCESS;
        cl_kernel found = code->device->api->clCreateKernel(code->programs[i], name, &result);
        if (result == CL_SUCCESS)
            return found;
    }
    return NULL;
}

/* Every kernel is there and fits the device. */
static Status check_kernels(const DeviceCode *code, const Plan *plan, Report *report)
{
    const OpenclDevice *d = code->device;
    for (uint32_t k = 0; k < plan->kernel_count; k++)
        for (uint32_t p = 0; p < plan->kernels[k].phase_count; p++) {
            const char *name = plan->kernels[k].name;
            size_t most = 0, threads = plan->kernels[k].phases[p].threads;
            cl_kernel kernel = opencl_kernel(code, name, p);
            if (!kernel)
                return report_fail(report, ST_bad_file, "the OpenCL code of '%s_%u' is missing",
                                   name, p);
            d->api->clGetKernelWorkGroupInfo(kernel, d->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof most,
                                             &most, NULL);
            d->api->clReleaseKernel(kernel);
            if (threads > most || threads > d->group_size)
                return report_fail(report, ST_unsupported,
                                   "kernel '%s' takes groups of %zu threads; %s allows %zu", name,
                                   threads, d->name, most);
        }
    return ST_ok;
}

static Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **out, Report *report)
{
    OpenclDevice *d = (OpenclDevice *)device;
    Cx cx;
    if (image->kind != CODE_opencl)
        return report_fail(report, ST_bad_file, "the image holds no OpenCL code");
    size_t size = sizeof(DeviceCode) + image->count * sizeof(cl_program);
    DeviceCode *code = device_host_alloc(device, size);
    if (!code)
        return device_no_memory(report);
    *code = (DeviceCode){.device = d, .size = size};
    cx_init(&cx, device->from, 0);
    Build build = {d, image, kept, code};
    cx_run(&cx, build_job, &build);
    Status status = ST_ok;
    if (cx_failed(&cx))
        status = report_fail(report, cx.status, "%s", cx.message);
    cx_finish(&cx);
    if (status == ST_ok)
        status = check_kernels(code, plan, report);
    if (status != ST_ok)
        unload(code);
    else
        *out = code;
    return status;
}

/* --- streams --- */

static Status open_stream(Device *device, const Plan *plan, Stream **stream, Report *report)
{
    OpenclDevice *d = (OpenclDevice *)device;
    cl_int code = CL_SUCCESS;
    (void)plan;
    OpenclStream *s = device_host_alloc(device, sizeof *s);
    if (!s)
        return device_no_memory(report);
    s->stream = (Stream){device, &device_never};
    s->queue = d->api->clCreateCommandQueue(d->context, d->id, 0, &code);
    if (code != CL_SUCCESS) {
        device_host_free(device, s, sizeof *s);
        return opencl_failed(report, "clCreateCommandQueue", code);
    }
    *stream = &s->stream;
    return ST_ok;
}

static void close_stream(Stream *stream)
{
    OpenclStream *s = (OpenclStream *)stream;
    if (!s)
        return;
    const OpenclApi *api = ((OpenclDevice *)stream->device)->api;
    api->clFinish(s->queue);
    api->clReleaseCommandQueue(s->queue);
    device_host_free(stream->device, s, sizeof *s);
}

static Status no_memory_there(Report *report)
{
    return report_fail(report, ST_internal, "OpenCL: an address that is in no allocation");
}

static Status write(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    OpenclDevice *d = (OpenclDevice *)stream->device;
    OpenclPlace at;
    if (!opencl_find(d, to, bytes, &at))
        return no_memory_there(report);
    cl_int code = d->api->clEnqueueWriteBuffer(((OpenclStream *)stream)->queue, at.mem, CL_FALSE,
                                               at.offset, (size_t)bytes, from, 0, NULL, NULL);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clEnqueueWriteBuffer", code);
}

static Status read(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    OpenclDevice *d = (OpenclDevice *)stream->device;
    OpenclPlace at;
    if (!opencl_find(d, from, bytes, &at))
        return no_memory_there(report);
    cl_int code = d->api->clEnqueueReadBuffer(((OpenclStream *)stream)->queue, at.mem, CL_FALSE,
                                              at.offset, (size_t)bytes, to, 0, NULL, NULL);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clEnqueueReadBuffer", code);
}

static Status copy(Stream *stream, void *to, const void *from, int64_t bytes, Report *report)
{
    OpenclDevice *d = (OpenclDevice *)stream->device;
    OpenclPlace a, b;
    if (!opencl_find(d, from, bytes, &a) || !opencl_find(d, to, bytes, &b))
        return no_memory_there(report);
    cl_int code = d->api->clEnqueueCopyBuffer(((OpenclStream *)stream)->queue, a.mem, b.mem,
                                              a.offset, b.offset, (size_t)bytes, 0, NULL, NULL);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clEnqueueCopyBuffer", code);
}

const DeviceType opencl_type = {
    .name = "opencl",
    .close = close_device,
    .alloc = alloc_memory,
    .release = release_memory,
    .load = load,
    .unload = unload,
    .open_stream = open_stream,
    .close_stream = close_stream,
    .stream_bytes = device_shared_stream_bytes,
    .write = write,
    .read = read,
    .copy = copy,
    .bind = opencl_bind,
    .unbind = opencl_unbind,
    .run = opencl_run,
    .wait = opencl_wait,
};
