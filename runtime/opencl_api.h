/* OpenCL through the ICD loader, opened at run time. */
#ifndef QUERN_RUNTIME_OPENCL_API_H
#define QUERN_RUNTIME_OPENCL_API_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#define OPENCL_FUNCTIONS(F)                                                                        \
    F(clGetPlatformIDs)                                                                            \
    F(clGetPlatformInfo)                                                                           \
    F(clGetDeviceIDs)                                                                              \
    F(clGetDeviceInfo)                                                                             \
    F(clCreateContext)                                                                             \
    F(clRetainContext)                                                                             \
    F(clReleaseContext)                                                                            \
    F(clGetContextInfo)                                                                            \
    F(clCreateCommandQueue)                                                                        \
    F(clRetainCommandQueue)                                                                        \
    F(clReleaseCommandQueue)                                                                       \
    F(clGetCommandQueueInfo)                                                                       \
    F(clCreateBuffer)                                                                              \
    F(clCreateSubBuffer)                                                                           \
    F(clRetainMemObject)                                                                           \
    F(clReleaseMemObject)                                                                          \
    F(clGetMemObjectInfo)                                                                          \
    F(clCreateProgramWithSource)                                                                   \
    F(clCreateProgramWithBinary)                                                                   \
    F(clBuildProgram)                                                                              \
    F(clGetProgramInfo)                                                                            \
    F(clGetProgramBuildInfo)                                                                       \
    F(clReleaseProgram)                                                                            \
    F(clCreateKernel)                                                                              \
    F(clReleaseKernel)                                                                             \
    F(clSetKernelArg)                                                                              \
    F(clGetKernelWorkGroupInfo)                                                                    \
    F(clEnqueueNDRangeKernel)                                                                      \
    F(clEnqueueReadBuffer)                                                                         \
    F(clEnqueueWriteBuffer)                                                                        \
    F(clEnqueueCopyBuffer)                                                                         \
    F(clEnqueueFillBuffer)                                                                         \
    F(clEnqueueMapBuffer)                                                                          \
    F(clEnqueueUnmapMemObject)                                                                     \
    F(clEnqueueMarkerWithWaitList)                                                                 \
    F(clWaitForEvents)                                                                             \
    F(clGetEventInfo)                                                                              \
    F(clGetEventProfilingInfo)                                                                     \
    F(clReleaseEvent)                                                                              \
    F(clFlush)                                                                                     \
    F(clFinish)

typedef struct OpenclApi {
#define F(name) __typeof__(name) *name;
    OPENCL_FUNCTIONS(F)
#undef F
} OpenclApi;

/* The functions, opened once per process and kept. NULL when there is no loader or it lacks one of
 * them; *why (may be NULL) then says so. Any thread. */
const OpenclApi *opencl_api(const char **why);

#endif
