/* Lists of launches on the device `opencl`. Binding makes everything that the driver wants to have
 * made: a sub-buffer for each tensor, a kernel object with its arguments for each phase of each
 * launch (arguments belong to the object, so launches cannot share it), and error cells. Lists are
 * bound again when some memory moved, in loops often: what did not change is kept, and a launch
 * some of whose memory is not there yet waits for the next time.
 *
 *   cells:  | for kernels that cannot fail | launch 2 | launch 7 | ...    limits.align bytes apart
 *
 * Cells are read at the end of a run, all with one command; most lists have none to read. */
#include <string.h>

#include "runtime/memory.h"
#include "runtime/opencl_impl.h"

/* What stands for a tensor; mem NULL: it is empty, has no memory now, or is not used. */
typedef struct BoundTensor {
    cl_mem mem;
    const void *address;
    size_t size;
} BoundTensor;

typedef struct Bound {
    OpenclDevice *device;
    size_t size; /* of this block */
    uint32_t tensor_count, kernel_count, cell_count;
    BoundTensor *tensors; /* by tensor of the plan */
    cl_kernel *kernels;   /* of all launches, by phase */
    cl_mem cells;         /* the whole */
    cl_mem *cell_buffers; /* one for each cell; number 0 is the one nobody looks at */
    char *read;           /* the cells, on the host */
} Bound;

static size_t cell_bytes(const Bound *b)
{
    return b->cell_count * (size_t)b->device->device.limits.align;
}

static Bound *new_bound(OpenclDevice *d, const Launches *list)
{
    uint32_t tensors = list->plan->tensor_count, kernels = 0, cells = list->cell_count;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->launches[i].kernel)
            kernels += list->launches[i].kernel->phase_count;
    size_t read = cells * (size_t)d->device.limits.align;
    size_t size =
        sizeof(Bound) + tensors * sizeof(BoundTensor) + (kernels + cells) * sizeof(void *) + read;
    Bound *b = device_host_alloc(&d->device, size);
    if (!b)
        return NULL;
    *b = (Bound){.device = d, .size = size, .tensor_count = tensors, .kernel_count = kernels};
    b->cell_count = cells;
    b->tensors = (BoundTensor *)(void *)(b + 1);
    b->kernels = (cl_kernel *)(void *)(b->tensors + tensors);
    b->cell_buffers = (cl_mem *)(void *)(b->kernels + kernels);
    b->read = (char *)(b->cell_buffers + cells);
    return b;
}

void opencl_unbind(Launches *list)
{
    Bound *b = list->bound;
    if (!b)
        return;
    const OpenclApi *api = b->device->api;
    for (uint32_t i = 0; i < b->kernel_count; i++)
        if (b->kernels[i])
            api->clReleaseKernel(b->kernels[i]);
    for (uint32_t i = 0; i < b->tensor_count; i++)
        if (b->tensors[i].mem)
            api->clReleaseMemObject(b->tensors[i].mem);
    for (uint32_t i = 0; i < b->cell_count; i++)
        if (b->cell_buffers[i])
            api->clReleaseMemObject(b->cell_buffers[i]);
    if (b->cells)
        api->clReleaseMemObject(b->cells);
    device_host_free(&b->device->device, b, b->size);
    list->bound = NULL;
}

static Status sub_buffer(const OpenclDevice *d, OpenclPlace at, size_t size, cl_mem *out,
                         Report *report)
{
    cl_buffer_region region = {at.offset, size};
    cl_int code = CL_SUCCESS;
    *out = d->api->clCreateSubBuffer(at.mem, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
                                     &region, &code);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clCreateSubBuffer", code);
}

/* Brings what stands for buffer `i` of a launch up to date. It is whole units of alignment long
 * where the memory is: kernels that change part of a word touch all of it. False: it has no memory
 * yet. */
static bool update_tensor(Bound *b, const Launches *list, uint32_t launch, uint32_t i,
                          Report *report)
{
    uint32_t number = list->steps[launch].buffers[i];
    if (number == PLAN_NONE)
        return true;
    BoundTensor *t = &b->tensors[number];
    const void *address = list->launches[launch].args.buffers[i];
    int64_t bytes = launches_buffer_bytes(list, launch, i);
    OpenclPlace at;
    if (bytes > 0 && !opencl_find(b->device, address, bytes, &at))
        return false;
    size_t size = bytes > 0 ? opencl_round(b->device, &at, bytes) : 0;
    if (t->mem && t->address == address && t->size == size)
        return true;
    if (t->mem)
        b->device->api->clReleaseMemObject(t->mem);
    *t = (BoundTensor){NULL, address, size};
    return size == 0 || sub_buffer(b->device, at, size, &t->mem, report) == ST_ok;
}

static Status make_cells(Bound *b, OpenclStream *s, Report *report)
{
    const OpenclApi *api = b->device->api;
    size_t align = (size_t)b->device->device.limits.align;
    cl_int code = CL_SUCCESS;
    static const cl_int zero;
    b->cells =
        api->clCreateBuffer(b->device->context, CL_MEM_READ_WRITE, cell_bytes(b), NULL, &code);
    if (code != CL_SUCCESS)
        return opencl_failed(report, "clCreateBuffer", code);
    for (uint32_t i = 0; i < b->cell_count; i++)
        if (sub_buffer(b->device, (OpenclPlace){b->cells, i * align, align}, align,
                       &b->cell_buffers[i], report) != ST_ok)
            return report->status;
    code = api->clEnqueueFillBuffer(s->queue, b->cells, &zero, sizeof zero, 0, cell_bytes(b), 0,
                                    NULL, NULL);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clEnqueueFillBuffer", code);
}

static Status set_args(const Bound *b, const Launches *list, uint32_t launch, cl_kernel kernel,
                       cl_mem cell)
{
    const OpenclApi *api = b->device->api;
    const PlanStep *step = &list->steps[launch];
    cl_uint at = 0;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; i < step->buffer_count && code == CL_SUCCESS; i++) {
        cl_mem mem = step->buffers[i] == PLAN_NONE ? NULL : b->tensors[step->buffers[i]].mem;
        code = api->clSetKernelArg(kernel, at++, sizeof mem, mem ? &mem : NULL);
    }
    for (uint32_t d = 0; d < step->dim_count && code == CL_SUCCESS; d++) {
        cl_long dim = list->launches[launch].args.dims[d];
        code = api->clSetKernelArg(kernel, at++, sizeof dim, &dim);
    }
    if (code == CL_SUCCESS)
        code = api->clSetKernelArg(kernel, at, sizeof cell, &cell);
    return code == CL_SUCCESS ? ST_ok : ST_device;
}

static Status make_kernels(Bound *b, const Launches *list, Report *report)
{
    cl_kernel *at = b->kernels;
    for (uint32_t i = 0; i < list->count; i++) {
        const PlanKernel *kernel = list->launches[i].kernel;
        for (uint32_t p = 0; kernel && p < kernel->phase_count; p++, at++) {
            *at = opencl_kernel(list->code, kernel->name, p);
            if (!*at)
                return report_fail(report, ST_device, "OpenCL: kernel '%s' is not there",
                                   kernel->name);
        }
    }
    return ST_ok;
}

/* All that does not depend on memory and sizes. */
static Status make_bound(OpenclStream *s, Launches *list, Report *report)
{
    Bound *b = new_bound((OpenclDevice *)s->stream.device, list);
    if (!b)
        return device_no_memory(report);
    list->bound = b;
    if (make_cells(b, s, report) == ST_ok && make_kernels(b, list, report) == ST_ok)
        return ST_ok;
    opencl_unbind(list);
    return report->status;
}

/* Whether the device runs the step, and all of its memory is there. */
static bool update_launch(Bound *b, const Launches *list, uint32_t i, Report *report)
{
    const PlanStep *step = &list->steps[i];
    bool ready = step->kind == PS_kernel || step->kind == PS_copy;
    for (uint32_t k = 0; ready && k < step->buffer_count; k++)
        ready = update_tensor(b, list, i, k, report);
    return ready;
}

Status opencl_bind(Stream *stream, Launches *list, Report *report)
{
    report->status = ST_ok;
    if (!list->bound && make_bound((OpenclStream *)stream, list, report) != ST_ok)
        return report->status;
    Bound *b = list->bound;
    const cl_kernel *at = b->kernels;
    for (uint32_t i = 0; i < list->count; i++) {
        Launch *launch = &list->launches[i];
        launch->code = update_launch(b, list, i, report) ? at : NULL;
        if (report->status != ST_ok)
            return report->status;
        for (uint32_t p = 0; launch->kernel && p < launch->kernel->phase_count; p++, at++)
            if (launch->code && set_args(b, list, i, *at, b->cell_buffers[launch->cell]) != ST_ok)
                return report_fail(report, ST_device, "OpenCL: kernel '%s' and the plan disagree",
                                   launch->kernel->name);
    }
    return ST_ok;
}

/* --- running --- */

static Status run_kernel(const OpenclApi *api, cl_command_queue queue, const Launch *launch,
                         Report *report)
{
    const cl_kernel *kernels = launch->code;
    for (uint32_t p = 0; p < launch->kernel->phase_count; p++) {
        size_t local = launch->kernel->phases[p].threads;
        if (launch->tasks[p] <= 0)
            continue;
        size_t global = (size_t)launch->tasks[p] * local;
        cl_int code =
            api->clEnqueueNDRangeKernel(queue, kernels[p], 1, NULL, &global, &local, 0, NULL, NULL);
        if (code != CL_SUCCESS)
            return report_fail(report, ST_device,
                               "OpenCL: clEnqueueNDRangeKernel failed (%d) for kernel '%s', %zu "
                               "threads in groups of %zu",
                               (int)code, launch->kernel->name, global, local);
    }
    return ST_ok;
}

static Status run_copy(const Bound *b, cl_command_queue queue, const PlanStep *step, int64_t bytes,
                       Report *report)
{
    cl_mem from = b->tensors[step->buffers[0]].mem, to = b->tensors[step->buffers[1]].mem;
    if (bytes <= 0 || from == to)
        return ST_ok;
    cl_int code =
        b->device->api->clEnqueueCopyBuffer(queue, from, to, 0, 0, (size_t)bytes, 0, NULL, NULL);
    return code == CL_SUCCESS ? ST_ok : opencl_failed(report, "clEnqueueCopyBuffer", code);
}

Status opencl_run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    cl_command_queue queue = ((OpenclStream *)stream)->queue;
    const Bound *b = list->bound;
    const OpenclApi *api = b->device->api;
    Status status = ST_ok;
    for (uint32_t i = begin; i < end && !list->error && status == ST_ok; i++) {
        const Launch *launch = &list->launches[i];
        if (stream_cancelled(stream))
            status = report_cancelled(report);
        else
            status = launch->kernel ? run_kernel(api, queue, launch, report)
                                    : run_copy(b, queue, &list->steps[i], launch->bytes, report);
    }
    /* What was begun may set cells, which the next run must not find. */
    if (b->cell_count == 1 || (status != ST_ok && status != ST_cancelled))
        return status;
    cl_int code = api->clEnqueueReadBuffer(queue, b->cells, CL_FALSE, 0, cell_bytes(b), b->read, 0,
                                           NULL, NULL);
    return code == CL_SUCCESS ? status : opencl_failed(report, "clEnqueueReadBuffer", code);
}

/* Afterwards all cells are as new. */
static Status look_at_cells(const Bound *b, cl_command_queue queue, Launches *list, Report *report)
{
    static const cl_int zero;
    if (!launches_read_cells(list, b->read, (size_t)b->device->device.limits.align))
        return ST_ok;
    memset(b->read, 0, cell_bytes(b));
    cl_int code = b->device->api->clEnqueueFillBuffer(queue, b->cells, &zero, sizeof zero, 0,
                                                      cell_bytes(b), 0, NULL, NULL);
    return code == CL_SUCCESS ? ST_bad_index : opencl_failed(report, "clEnqueueFillBuffer", code);
}

Status opencl_wait(Stream *stream, Launches *list, Report *report)
{
    const OpenclDevice *d = (OpenclDevice *)stream->device;
    cl_command_queue queue = ((OpenclStream *)stream)->queue;
    cl_int code = d->api->clFinish(queue);
    if (code != CL_SUCCESS)
        return opencl_failed(report, "clFinish", code);
    return list && list->bound ? look_at_cells(list->bound, queue, list, report) : ST_ok;
}
