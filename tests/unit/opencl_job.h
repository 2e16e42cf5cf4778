/* Runs a printed program on the first OpenCL device, for tests. */
#ifndef QUERN_TESTS_OPENCL_JOB_H
#define QUERN_TESTS_OPENCL_JOB_H

#include <stdio.h>

#include "tile_programs.h"

#include "codegen/c_print.h"
#include "runtime/opencl_build.h"

typedef struct OpenclJob {
    const OpenclApi *api;
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
} OpenclJob;

/* False, with a printed reason, when the machine has no device. */
static inline bool opencl_open(OpenclJob *job)
{
    const char *why = "no OpenCL device";
    cl_platform_id platform;
    cl_int code = CL_SUCCESS;
    job->api = opencl_api(&why);
    if (!job->api || job->api->clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        job->api->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &job->device, NULL) !=
            CL_SUCCESS) {
        cr_skip_test("%s", why);
        return false;
    }
    job->context = job->api->clCreateContext(NULL, 1, &job->device, NULL, NULL, &code);
    cr_assert_eq(code, CL_SUCCESS);
    job->queue = job->api->clCreateCommandQueue(job->context, job->device, 0, &code);
    cr_assert_eq(code, CL_SUCCESS);
    return true;
}

static inline void opencl_close(OpenclJob *job)
{
    job->api->clReleaseCommandQueue(job->queue);
    job->api->clReleaseContext(job->context);
}

static inline void opencl_launch(OpenclJob *job, TestRun *run, cl_program program, cl_mem *memory,
                                 cl_mem error)
{
    const OpenclApi *api = job->api;
    cl_int code = CL_SUCCESS;
    for (uint32_t g = 0; g < run->prog->grid_count; g++) {
        const Grid *grid = run->prog->grids[g];
        char name[80];
        snprintf(name, sizeof name, "%s_%u", run->prog->name, (unsigned)g);
        cl_kernel kernel = api->clCreateKernel(program, name, &code);
        cr_assert_eq(code, CL_SUCCESS, "%s", name);
        cl_uint at = 0;
        for (uint32_t b = 0; b < run->prog->buffer_count; b++)
            cr_assert_eq(api->clSetKernelArg(kernel, at++, sizeof(cl_mem), &memory[b]), CL_SUCCESS);
        for (uint32_t d = 0; d < run->prog->dim_count; d++) {
            cl_long value = run->c->dims[d];
            cr_assert_eq(api->clSetKernelArg(kernel, at++, sizeof value, &value), CL_SUCCESS);
        }
        cr_assert_eq(api->clSetKernelArg(kernel, at++, sizeof error, &error), CL_SUCCESS);
        size_t local = (size_t)grid->threads, global = (size_t)test_tasks(run, grid) * local;
        code = api->clEnqueueNDRangeKernel(job->queue, kernel, 1, NULL, &global, &local, 0, NULL,
                                           NULL);
        cr_assert_eq(code, CL_SUCCESS, "launch of %s: %d", name, (int)code);
        api->clFinish(job->queue);
        api->clReleaseKernel(kernel);
    }
}

static inline void run_opencl(OpenclJob *job, Cx *cx, TestRun *run, int32_t *error)
{
    const OpenclApi *api = job->api;
    Text text;
    text_init(&text, cx->arena);
    cr_assert(c_print(cx, &text, run->prog, dialect_for(run->prog->caps)), "%s", cx->message);
    cl_program program = opencl_build(cx, job->context, job->device, text.data, text.length);
    cr_assert(program, "%s\n%s", cx->message, text.data);
    cl_mem memory[MAX_TEST_BUFFERS];
    cl_int code;
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        memory[b] = api->clCreateBuffer(job->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                        (size_t)run->bytes[b], run->got[b], &code);
        cr_assert_eq(code, CL_SUCCESS);
    }
    cl_mem cell = api->clCreateBuffer(job->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                      sizeof *error, error, &code);
    opencl_launch(job, run, program, memory, cell);
    for (uint32_t b = 0; b < run->prog->buffer_count; b++) {
        api->clEnqueueReadBuffer(job->queue, memory[b], CL_TRUE, 0, (size_t)run->bytes[b],
                                 run->got[b], 0, NULL, NULL);
        api->clReleaseMemObject(memory[b]);
    }
    api->clEnqueueReadBuffer(job->queue, cell, CL_TRUE, 0, sizeof *error, error, 0, NULL, NULL);
    api->clReleaseMemObject(cell);
    api->clReleaseProgram(program);
}

#endif
