/* What the files of the device `opencl` share. */
#ifndef QUERN_RUNTIME_OPENCL_IMPL_H
#define QUERN_RUNTIME_OPENCL_IMPL_H

#include <pthread.h>

#include "runtime/launch.h"
#include "runtime/opencl_api.h"

/* An allocation. */
typedef struct OpenclBlock {
    struct OpenclBlock *next;
    cl_mem mem;
    uintptr_t address;
    size_t size;
} OpenclBlock;

typedef struct OpenclDevice {
    Device device;
    const OpenclApi *api;
    cl_device_id id;
    cl_context context;
    size_t group_size; /* most threads of a group */
    bool gpu;
    char name[160];
    pthread_mutex_t lock; /* of what follows */
    OpenclBlock *blocks;
    uintptr_t next_address;
} OpenclDevice;

typedef struct OpenclStream {
    Stream stream;
    cl_command_queue queue;
} OpenclStream;

struct DeviceCode {
    OpenclDevice *device;
    size_t size; /* of this block */
    uint32_t count;
    cl_program programs[];
};

extern const DeviceType opencl_type;

Status opencl_failed(Report *report, const char *what, cl_int code);

typedef struct OpenclPlace {
    cl_mem mem;
    size_t offset, left; /* left: bytes from there to the end of the allocation */
} OpenclPlace;
/* Where an address is; false when the bytes lie in no allocation. */
bool opencl_find(OpenclDevice *device, const void *address, int64_t bytes, OpenclPlace *place);
/* Bytes rounded up to the alignment, but not past the end of the allocation. */
size_t opencl_round(const OpenclDevice *device, const OpenclPlace *place, int64_t bytes);
/* The kernel of a phase, to be released; NULL when there is none. */
cl_kernel opencl_kernel(const DeviceCode *code, const char *kernel, uint32_t phase);

/* opencl_bind.c */
Status opencl_bind(Stream *stream, Launches *list, Report *report);
void opencl_unbind(Launches *list);
Status opencl_run(Stream *stream, Launches *list, uint32_t begin, uint32_t end, Report *report);
Status opencl_wait(Stream *stream, Launches *list, Report *report);

#endif
