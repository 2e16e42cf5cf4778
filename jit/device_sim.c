/* The device `sim`. Memory is the process's own; work is done when `run` returns.
 *
 * Code is the text of the tile programs. Each launch parses its program into a job of its own,
 * verifies and simulates it: slow as it is, that is a small part of simulating, and launches of
 * several threads share nothing. Unlike other devices it allocates in a run. A violation that the
 * simulator finds is an error of this library and fails the run with its text. */
#include "jit/device_sim.h"

#include <string.h>

#include "ir/tile_sim.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

struct DeviceCode {
    Device *device;
    const CodePiece *pieces; /* by kernel */
};

static void close_device(Device *device)
{
    device_host_free(device, device, sizeof *device);
}

/* --- code --- */

/* The program of a kernel; NULL after cx_fail. It has to be what the plan says. */
static TileProg *read_program(Cx *cx, const CodePiece *piece, const PlanKernel *kernel)
{
    char *text = arena_alloc(cx->arena, piece->size + 1);
    memcpy(text, piece->data, piece->size);
    TileProg *prog = tile_parse(cx, kernel->name, text);
    if (cx_failed(cx))
        return NULL;
    if (!prog->placed || prog->dim_count != kernel->dim_count ||
        prog->buffer_count != kernel->buffer_count || prog->grid_count != kernel->phase_count) {
        cx_fail(cx, ST_bad_file, "the program of kernel '%s' is not the plan's", kernel->name);
        return NULL;
    }
    return tile_verify(prog) ? prog : NULL;
}

typedef struct Check {
    const CodePiece *piece;
    const PlanKernel *kernel;
} Check;

static void check_program(Cx *cx, void *user)
{
    const Check *check = user;
    read_program(cx, check->piece, check->kernel);
}

static Status load(Device *device, const Plan *plan, const CodeImage *image, Storage *kept,
                   DeviceCode **code, Report *report)
{
    (void)kept;
    if (image->kind != CODE_tile || image->count != plan->kernel_count)
        return report_fail(report, ST_bad_file, "the image holds no programs for the simulator");
    for (uint32_t k = 0; k < plan->kernel_count; k++) {
        Check check = {&image->pieces[k], &plan->kernels[k]};
        Cx cx;
        cx_init(&cx, device->from, 0);
        cx_run(&cx, check_program, &check);
        if (cx_failed(&cx))
            report_fail(report, ST_bad_file, "%s", cx.message);
        bool failed = cx_failed(&cx);
        cx_finish(&cx);
        if (failed)
            return ST_bad_file;
    }
    *code = device_host_alloc(device, sizeof **code);
    if (!*code)
        return device_no_memory(report);
    **code = (DeviceCode){device, image->pieces};
    return ST_ok;
}

static void unload(DeviceCode *code)
{
    device_host_free(code->device, code, sizeof *code);
}

/* --- running --- */

static Status bind(Stream *stream, Launches *list, Report *report)
{
    (void)stream;
    (void)report;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->launches[i].kernel)
            list->launches[i].code = &list->code->pieces[list->steps[i].kernel];
    return ST_ok;
}

static void unbind(Launches *list)
{
    (void)list;
}

typedef struct SimRun {
    const Launch *launch;
    int64_t bad_index;
} SimRun;

static void simulate(Cx *cx, void *user)
{
    SimRun *run = user;
    const Launch *launch = run->launch;
    TileProg *prog = read_program(cx, launch->code, launch->kernel);
    NestRun on = {.buffers = launch->args.buffers, .dims = launch->args.dims};
    if (prog && tile_sim(cx, prog, &on, NULL))
        run->bad_index = on.bad_index;
}

static Status run_kernel(const Device *device, Launches *list, uint32_t i, Report *report)
{
    SimRun run = {.launch = &list->launches[i]};
    Status status = ST_ok;
    Cx cx;
    cx_init(&cx, device->from, 0);
    cx_run(&cx, simulate, &run);
    if (cx_failed(&cx))
        status = report_fail(report, cx.status, "%s, simulated: %s", run.launch->kernel->name,
                             cx.message ? cx.message : "");
    cx_finish(&cx);
    if (run.bad_index) {
        list->failed = i;
        list->error = (int32_t)run.bad_index;
    }
    return status;
}

/* Without tasks its dims may be below what the program was made for. */
static bool has_tasks(const Launch *launch)
{
    int64_t most = 0;
    for (uint32_t p = 0; launch->kernel && p < launch->kernel->phase_count; p++)
        most = launch->tasks[p] > most ? launch->tasks[p] : most;
    return most > 0;
}

static Status run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report)
{
    for (uint32_t i = begin; i < end && !list->error; i++) {
        const Launch *launch = &list->launches[i];
        if (stream_cancelled(stream))
            return report_cancelled(report);
        if (has_tasks(launch) && run_kernel(stream->device, list, i, report) != ST_ok)
            return report->status;
        if (!launch->kernel && launch->bytes)
            memcpy(launch->args.buffers[1], launch->args.buffers[0], (size_t)launch->bytes);
    }
    return ST_ok;
}

static const DeviceType type = {
    .name = "sim",
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

Device *device_sim_open(const Allocator *from)
{
    Device *device = from->alloc(from->user, sizeof *device, MEMORY_ALIGN);
    if (device)
        *device = (Device){&type, {MEMORY_ALIGN, INT64_MAX, true}, from};
    return device;
}

const char *device_sim_target(const Device *device)
{
    (void)device;
    return "sm_80";
}
