/* The device `cpu`. Memory is the allocator's, work is done when `run` returns.
 *
 * A launch with one task, or on one worker, runs on the calling thread: waking others costs more
 * than most small kernels. */
#include "runtime/device_cpu.h"

#include <stdio.h>
#include <string.h>

#include "runtime/float_env.h"
#include "runtime/launch.h"
#include "runtime/memory.h"
#include "runtime/object.h"

typedef struct CpuDevice {
    Device device;
    Executor executor;
} CpuDevice;

struct DeviceCode {
    Device *device;
    KernelEntry **entries; /* entries[first[kernel] + phase] */
    uint32_t *first;
    void *zeros; /* the zero page */
    Object **objects;
    uint32_t object_count;
    size_t size; /* of this block, with the arrays */
};

typedef struct CpuStream {
    Stream stream;
    Executor executor;
    int workers;
    char *scratch; /* stride bytes for each worker */
    int64_t stride;
} CpuStream;

static void close_device(Device *device)
{
    device_host_free(device, device, sizeof(CpuDevice));
}

/* --- code --- */

static void unload(DeviceCode *code)
{
    for (uint32_t i = 0; i < code->object_count; i++)
        object_close(code->objects[i]);
    device_host_free(code->device, code, code->size);
}

static DeviceCode *new_code(Device *device, const Plan *plan, uint32_t objects)
{
    size_t entries = 0,
           head = (sizeof(DeviceCode) + MEMORY_ALIGN - 1) / MEMORY_ALIGN * MEMORY_ALIGN;
    for (uint32_t k = 0; k < plan->kernel_count; k++)
        entries += plan->kernels[k].phase_count;
    size_t size = head + ABI_ZERO_PAGE + (entries + objects) * sizeof(void *) +
                  plan->kernel_count * sizeof(uint32_t);
    char *at = device_host_alloc(device, size);
    if (!at)
        return NULL;
    DeviceCode *code = (DeviceCode *)(void *)at;
    *code = (DeviceCode){.device = device, .zeros = at + head, .size = size};
    code->entries = (KernelEntry **)(void *)(at + head + ABI_ZERO_PAGE);
    code->objects = (Object **)(void *)(code->entries + entries);
    code->first = (uint32_t *)(void *)(code->objects + objects);
    return code;
}

static Status find_entries(DeviceCode *code, const Plan *plan, KernelFind *find, void *user,
                           Report *report)
{
    uint32_t at = 0;
    for (uint32_t k = 0; k < plan->kernel_count; k++) {
        code->first[k] = at;
        for (uint32_t phase = 0; phase < plan->kernels[k].phase_count; phase++) {
            char name[300];
            snprintf(name, sizeof name, "%s_%u", plan->kernels[k].name, phase);
            code->entries[at] = find(user, name);
            if (!code->entries[at++])
                return report_fail(report, ST_bad_file, "the machine code of '%s' is missing",
                                   name);
        }
    }
    return ST_ok;
}

Status device_cpu_code(Device *device, const Plan *plan, KernelFind *find, void *user,
                       DeviceCode **out, Report *report)
{
    DeviceCode *code = new_code(device, plan, 0);
    if (!code)
        return device_no_memory(report);
    if (find_entries(code, plan, find, user, report) != ST_ok) {
        unload(code);
        return report->status;
    }
    *out = code;
    return ST_ok;
}

static KernelEntry *find_in_objects(void *user, const char *name)
{
    const DeviceCode *code = user;
    KernelEntry *entry = NULL;
    for (uint32_t i = 0; i < code->object_count && !entry; i++)
        entry = object_find(code->objects[i], name);
    return entry;
}

static Status load_objects(DeviceCode *code, const CodeImage *image, Report *report)
{
    for (uint32_t i = 0; i < image->count; i++) {
        const char *why;
        Object *object = object_load(image->pieces[i].data, image->pieces[i].size, &why);
        if (!object)
            return report_fail(report, ST_bad_file, "machine code: %s", why);
        code->objects[code->object_count++] = object;
    }
    return ST_ok;
}

static Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **out, Report *report)
{
    (void)kept;
    if (image->kind != CODE_object)
        return report_fail(report, ST_bad_file, "the image holds no machine code for a CPU");
    DeviceCode *code = new_code(device, plan, image->count);
    if (!code)
        return device_no_memory(report);
    if (load_objects(code, image, report) != ST_ok ||
        find_entries(code, plan, find_in_objects, code, report) != ST_ok) {
        unload(code);
        return report->status;
    }
    *out = code;
    return ST_ok;
}

/* --- streams --- */

/* Bytes for each worker that the kernels of a plan need. */
static int64_t scratch_bytes(const Plan *plan)
{
    int64_t most = 0;
    for (uint32_t i = 0; i < plan->kernel_count; i++)
        if (plan->kernels[i].scratch > most)
            most = plan->kernels[i].scratch;
    return memory_round(most);
}

static void close_stream(Stream *stream)
{
    CpuStream *s = (CpuStream *)stream;
    if (!s)
        return;
    device_host_free(stream->device, s->scratch, (size_t)s->workers * (size_t)s->stride);
    device_host_free(stream->device, s, sizeof *s);
}

static Status open_stream(Device *device, const Plan *plan, Stream **stream, Report *report)
{
    const CpuDevice *cpu = (const CpuDevice *)device;
    CpuStream *s = device_host_alloc(device, sizeof *s);
    if (!s)
        return device_no_memory(report);
    int workers = cpu->executor.worker_count(cpu->executor.user);
    *s = (CpuStream){.stream = {device, &device_never},
                     .executor = cpu->executor,
                     .workers = workers > 0 ? workers : 1,
                     .stride = scratch_bytes(plan)};
    size_t size = (size_t)s->workers * (size_t)s->stride;
    if (size && !(s->scratch = device_host_alloc(device, size))) {
        close_stream(&s->stream);
        return device_no_memory(report);
    }
    *stream = &s->stream;
    return ST_ok;
}

static int64_t stream_bytes(const Stream *stream)
{
    const CpuStream *s = (const CpuStream *)stream;
    return s->workers * s->stride;
}

/* --- running --- */

static Status bind(Stream *stream, Launches *list, Report *report)
{
    (void)report;
    for (uint32_t i = 0; i < list->count; i++) {
        Launch *launch = &list->launches[i];
        launch->args.zeros = list->code->zeros;
        launch->args.error = &list->error;
        launch->args.cancel = stream->cancel;
        if (launch->kernel)
            launch->code = list->code->entries + list->code->first[list->steps[i].kernel];
    }
    return ST_ok;
}

static void unbind(Launches *list)
{
    (void)list;
}

typedef struct Phase {
    KernelEntry *entry;
    const KernelArgs *args;
    const CpuStream *stream;
} Phase;

static void run_tasks(void *arg, int64_t begin, int64_t end, int worker)
{
    const Phase *phase = arg;
    if (stream_cancelled(&phase->stream->stream)) {
        __atomic_store_n(phase->args->error, ABI_CANCELLED, __ATOMIC_RELAXED);
        return;
    }
    uint64_t env = float_env_enter();
    phase->entry(phase->args, begin, end, phase->stream->scratch + worker * phase->stream->stride);
    float_env_leave(env);
}

static void run_phase(const Launch *launch, uint32_t p, const CpuStream *s)
{
    KernelEntry *const *entries = launch->code;
    int64_t tasks = launch->tasks[p];
    if (tasks <= 0)
        return;
    Phase phase = {entries[p], &launch->args, s};
    if (tasks == 1 || s->workers == 1)
        phase.entry(phase.args, 0, tasks, s->scratch);
    else
        s->executor.parallel_for(s->executor.user, tasks, run_tasks, &phase);
}

/* False when the error cell is set: nothing after it is to run. */
static bool run_kernel(Launches *list, uint32_t i, const CpuStream *s)
{
    const Launch *launch = &list->launches[i];
    list->failed = i;
    for (uint32_t p = 0; p < launch->kernel->phase_count; p++) {
        run_phase(launch, p, s);
        if (list->error)
            return false;
    }
    return true;
}

static Status run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    const CpuStream *s = (const CpuStream *)stream;
    uint64_t env = float_env_enter();
    bool good = !list->error;
    for (uint32_t i = begin; i < end && good; i++) {
        const Launch *launch = &list->launches[i];
        if (stream_cancelled(stream)) {
            list->error = ABI_CANCELLED;
            good = false;
        } else if (launch->kernel) {
            good = run_kernel(list, i, s);
        } else if (launch->bytes) {
            memcpy(launch->args.buffers[1], launch->args.buffers[0], (size_t)launch->bytes);
        }
    }
    float_env_leave(env);
    if (list->error != ABI_CANCELLED)
        return ST_ok;
    list->error = 0;
    return report_cancelled(report);
}

static const DeviceType type = {
    .name = "cpu",
    .close = close_device,
    .alloc = device_shared_alloc,
    .release = device_shared_release,
    .load = load,
    .unload = unload,
    .open_stream = open_stream,
    .close_stream = close_stream,
    .stream_bytes = stream_bytes,
    .write = device_shared_copy,
    .read = device_shared_copy,
    .copy = device_shared_copy,
    .bind = bind,
    .unbind = unbind,
    .run = run,
    .wait = device_shared_wait,
};

Device *device_cpu_open(const Allocator *from, Executor executor)
{
    CpuDevice *cpu = from->alloc(from->user, sizeof *cpu, MEMORY_ALIGN);
    if (cpu)
        *cpu = (CpuDevice){{&type, {MEMORY_ALIGN, INT64_MAX, true}, from}, executor};
    return cpu ? &cpu->device : NULL;
}
