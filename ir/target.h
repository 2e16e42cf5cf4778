/* Targets are data: what schedules, placement and emitters may rely on. A named target is the same on every machine, so
 * that a machine without the device builds what the device's machine looks up; "cpu" names the level this CPU supports. */
#ifndef QUERN_IR_TARGET_H
#define QUERN_IR_TARGET_H

#include <stdbool.h>
#include <stdint.h>

typedef enum TargetKind { TK_cpu, TK_opencl_cpu, TK_opencl, TK_cuda } TargetKind;

typedef struct Caps {
    const char *name;       /* x86-64-v3, x86-64-v4, aarch64, opencl-cpu, opencl, sm_75, sm_80, sm_90a */
    TargetKind kind;
    const char *triple, *cpu, *features; /* for LLVM; "" elsewhere */
    int vector_bits;        /* CPU: register width; 0 on GPUs */
    int registers;          /* CPU: vector registers; GPU: 32-bit registers per thread */
    int64_t l1, l2, l3;     /* bytes per core (l3: share) */
    int64_t shared_bytes;   /* GPU: per block */
    int sm;                 /* CUDA: 75, 80, 90; 0 elsewhere */
    bool mma_sync, cp_async; /* CUDA */
} Caps;

/* Programs for it are placed: grid points are blocks of threads. */
static inline bool target_is_gpu(const Caps *caps)
{
    return caps->kind == TK_opencl || caps->kind == TK_cuda;
}

/* NULL when unknown. "cpu" is resolved by the host. */
const Caps *target_find(const char *name);
const Caps *target_host_cpu(void); /* the highest level this CPU has; NULL below x86-64-v3 */
const Caps *target_at(int index); /* NULL past the end */

#endif
