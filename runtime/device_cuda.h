/* The device `cuda`: the first NVIDIA GPU, through the driver, which is opened at run time. */
#ifndef QUERN_RUNTIME_DEVICE_CUDA_H
#define QUERN_RUNTIME_DEVICE_CUDA_H

#include "runtime/device.h"

/* NULL after report_fail: no driver or no GPU (ST_missing), a GPU no target is made for
 * (ST_unsupported), or the driver's error. The allocator outlives the device. */
Device *device_cuda_open(const Allocator *from, Report *report);
/* The target whose code it runs: "sm_75", "sm_80" or "sm_90a". */
const char *device_cuda_target(const Device *device);
/* What it is, for people. */
const char *device_cuda_name(const Device *device);

#endif
