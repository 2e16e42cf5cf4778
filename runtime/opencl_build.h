/* OpenCL C text to a program of one device, and its binary for the cache. */
#ifndef QUERN_RUNTIME_OPENCL_BUILD_H
#define QUERN_RUNTIME_OPENCL_BUILD_H

#include "base/cx.h"
#include "runtime/opencl_api.h"
#include "runtime/storage.h"

/* Builds with the options the OpenCL dialects rely on. NULL after cx_fail, with the build log. The
 * caller releases it. */
cl_program opencl_build(Cx *cx, cl_context context, cl_device_id device, const char *source,
                        size_t length);
/* The device's binary of a built program, in the job's arena; NULL after cx_fail. */
const void *opencl_build_save(Cx *cx, cl_program program, size_t *size);
/* A program from such a binary. NULL without an error when the driver refuses it: build from source
 * then. */
cl_program opencl_build_load(cl_context context, cl_device_id device, const void *binary,
                             size_t size);
/* As opencl_build, through a storage: the binary that the same driver made of the same text for the
 * same device, unless it refuses it now; else what is built is put there. NULL = none. */
cl_program opencl_build_kept(Cx *cx, cl_context context, cl_device_id device, const char *source,
                             size_t length, Storage *kept);

#endif
