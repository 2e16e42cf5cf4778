/* Launches of the device `cuda`. A run only launches, with lists of pointers to parameters that
 * point into the list of launches:
 *
 *   parameters of a launch: | buffer 0 .. | dim 0 .. | error cell |   each a pointer to the value
 *
 * Error cells are four bytes for each launch that may fail (launch.h), read when the list is waited
 * for. */
#include "runtime/cuda_impl.h"

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

void cuda_unbind(Launches *list)
{
    Bound *b = list->bound;
    if (!b)
        return;
    if (b->cells)
        cuda_release_memory(&b->device->device, (void *)(uintptr_t)b->cells, 0);
    device_host_free(&b->device->device, b, b->size);
    list->bound = NULL;
}

static Status make_cells(const CudaDevice *d, CudaStreamHandle stream, Launches *list,
                         Report *report)
{
    Bound *b = list->bound;
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = d->api->alloc(&b->cells, list->cell_count * sizeof(int32_t));
        if (code == 0)
            code = d->api->fill(b->cells, 0, list->cell_count, stream);
        cuda_leave(d);
    }
    return code == 0 ? ST_ok : cuda_failed(d, report, "memory of error cells", code);
}

/* Parameters point at the list's own values, so a list is bound once. */
Status cuda_bind(Stream *stream, Launches *list, Report *report)
{
    CudaDevice *d = (CudaDevice *)stream->device;
    if (list->bound)
        return ST_ok;
    list->bound = new_bound(d, list);
    if (!list->bound)
        return device_no_memory(report);
    if (make_cells(d, ((CudaStream *)stream)->handle, list, report) != ST_ok) {
        cuda_unbind(list);
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
            return cuda_failed(d, report, launch->kernel->name, code);
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
    return code == 0 ? ST_ok : cuda_failed(d, report, "cuMemcpyDtoDAsync", code);
}

Status cuda_run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    CudaStreamHandle handle = ((CudaStream *)stream)->handle;
    const Bound *b = list->bound;
    Status status = ST_ok;
    if (!cuda_enter(d))
        return report_fail(report, ST_device, "CUDA: the context is gone");
    for (uint32_t i = begin; i < end && !list->error && status == ST_ok; i++) {
        const Launch *launch = &list->launches[i];
        if (stream_cancelled(stream))
            status = report_cancelled(report);
        else
            status = launch->kernel ? run_kernel(d, handle, launch, b->parameters[i], report)
                                    : run_copy(d, handle, launch, report);
    }
    cuda_leave(d);
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

Status cuda_wait(Stream *stream, Launches *list, Report *report)
{
    const CudaDevice *d = (CudaDevice *)stream->device;
    CudaStreamHandle handle = ((CudaStream *)stream)->handle;
    bool cells = list && list->bound && list->cell_count > 1;
    int code = CUDA_NO_DEVICE;
    if (cuda_enter(d)) {
        code = cells ? read_cells(d, handle, list) : d->api->stream_wait(handle);
        cuda_leave(d);
    }
    if (code != 0)
        return cuda_failed(d, report, "the GPU", code);
    return list && list->error ? ST_bad_index : ST_ok;
}
