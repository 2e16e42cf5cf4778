/* CUDA C text to a CUBIN by NVRTC, opened at run time. Needs no GPU and no driver. */
#ifndef QUERN_JIT_BUILD_NVRTC_H
#define QUERN_JIT_BUILD_NVRTC_H

#include "base/cx.h"
#include "ir/target.h"

typedef struct NvrtcBuild {
    const void *cubin; /* in the job's arena */
    size_t size;
    int registers;   /* most of any kernel; 0 when the log does not say */
    int spill_bytes; /* stores and loads, all kernels together */
    const char *log;
} NvrtcBuild;

/* Compiles for the target's SM. False after cx_fail: no NVRTC (ST_missing), or its error text. Any
 * thread. */
bool build_nvrtc(Cx *cx, const char *source, const Caps *caps, NvrtcBuild *out);
/* Version of the library; false when there is none, and *why (may be NULL) says so. */
bool build_nvrtc_version(int *major, int *minor, const char **why);

#endif
