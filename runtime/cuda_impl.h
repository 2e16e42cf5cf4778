/* What the files of the device `cuda` share. */
#ifndef QUERN_RUNTIME_CUDA_IMPL_H
#define QUERN_RUNTIME_CUDA_IMPL_H

#include "runtime/cuda_api.h"
#include "runtime/launch.h"

typedef struct CudaDevice {
    Device device;
    const CudaApi *api;
    int id;
    CudaContext context;
    const char *target;
    char name[100];
} CudaDevice;

typedef struct CudaStream {
    Stream stream;
    CudaStreamHandle handle;
} CudaStream;

struct DeviceCode {
    CudaDevice *device;
    CudaFunction *functions; /* functions[first[kernel] + phase] */
    uint32_t *first;
    uint32_t module_count;
    size_t size; /* of this block, with the arrays */
    CudaModule modules[];
};

/* Fails with what the driver says of `code`; its status. */
Status cuda_failed(const CudaDevice *d, Report *report, const char *what, int code);
/* Makes the device's context current, when it gives true; leave gives back what was. */
bool cuda_enter(const CudaDevice *d);
void cuda_leave(const CudaDevice *d);
void cuda_release_memory(Device *device, void *memory, int64_t bytes);

/* cuda_bind.c: of DeviceType. */
Status cuda_bind(Stream *stream, Launches *list, Report *report);
void cuda_unbind(Launches *list);
Status cuda_run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report);
Status cuda_wait(Stream *stream, Launches *list, Report *report);

#endif
