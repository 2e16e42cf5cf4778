/* CUDA's driver interface, opened at run time, with prototypes of our own: neither the toolkit nor
 * its headers are needed to build. Handles are pointers to nothing known; addresses of the device
 * are 64-bit numbers. Functions are looked up by the names of the version whose signature stands
 * here (`_v2`). */
#ifndef QUERN_RUNTIME_CUDA_API_H
#define QUERN_RUNTIME_CUDA_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct CudaContext *CudaContext;
typedef struct CudaModule *CudaModule;
typedef struct CudaFunction *CudaFunction;
typedef struct CudaStreamHandle *CudaStreamHandle;
typedef uint64_t CudaAddress;

enum {
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_NO_DEVICE = 100,
    CUDA_NOT_FOUND = 500,
    CUDA_ATTRIBUTE_MAJOR = 75,
    CUDA_ATTRIBUTE_MINOR = 76,
    CUDA_FUNCTION_SHARED_BYTES = 8, /* most dynamic shared memory */
    CUDA_STREAM_NON_BLOCKING = 1
};

/* F(field, symbol, parameters) */
#define CUDA_FUNCTIONS(F)                                                                          \
    F(init, cuInit, (unsigned flags))                                                              \
    F(error_text, cuGetErrorString, (int code, const char **text))                                 \
    F(device_count, cuDeviceGetCount, (int *count))                                                \
    F(device, cuDeviceGet, (int *device, int number))                                              \
    F(device_name, cuDeviceGetName, (char *name, int size, int device))                            \
    F(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, int device))                            \
    F(attribute, cuDeviceGetAttribute, (int *value, int attribute, int device))                    \
    F(retain, cuDevicePrimaryCtxRetain, (CudaContext * context, int device))                       \
    F(release, cuDevicePrimaryCtxRelease_v2, (int device))                                         \
    F(push, cuCtxPushCurrent_v2, (CudaContext context))                                            \
    F(pop, cuCtxPopCurrent_v2, (CudaContext * context))                                            \
    F(alloc, cuMemAlloc_v2, (CudaAddress * address, size_t bytes))                                 \
    F(free, cuMemFree_v2, (CudaAddress address))                                                   \
    F(write, cuMemcpyHtoDAsync_v2,                                                                 \
      (CudaAddress to, const void *from, size_t bytes, CudaStreamHandle stream))                   \
    F(read, cuMemcpyDtoHAsync_v2,                                                                  \
      (void *to, CudaAddress from, size_t bytes, CudaStreamHandle stream))                         \
    F(copy, cuMemcpyDtoDAsync_v2,                                                                  \
      (CudaAddress to, CudaAddress from, size_t bytes, CudaStreamHandle stream))                   \
    F(fill, cuMemsetD32Async,                                                                      \
      (CudaAddress to, unsigned value, size_t count, CudaStreamHandle stream))                     \
    F(stream, cuStreamCreate, (CudaStreamHandle * stream, unsigned flags))                         \
    F(stream_free, cuStreamDestroy_v2, (CudaStreamHandle stream))                                  \
    F(stream_wait, cuStreamSynchronize, (CudaStreamHandle stream))                                 \
    F(module, cuModuleLoadData, (CudaModule * module, const void *image))                          \
    F(module_free, cuModuleUnload, (CudaModule module))                                            \
    F(function, cuModuleGetFunction,                                                               \
      (CudaFunction * function, CudaModule module, const char *name))                              \
    F(function_set, cuFuncSetAttribute, (CudaFunction function, int attribute, int value))         \
    F(launch, cuLaunchKernel,                                                                      \
      (CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, \
       unsigned block_y, unsigned block_z, unsigned shared_bytes, CudaStreamHandle stream,         \
       void **parameters, void **extra))

typedef struct CudaApi {
#define F(field, symbol, parameters) int(*field) parameters;
    CUDA_FUNCTIONS(F)
#undef F
} CudaApi;

/* The functions, opened and initialised once per process and kept. NULL when there is no driver or
 * it lacks one of them; *why (may be NULL) then says so. Any thread. */
const CudaApi *cuda_api(const char **why);

#endif
