/* The device `opencl`: the first OpenCL device of the machine, GPUs before others. */
#ifndef QUERN_RUNTIME_DEVICE_OPENCL_H
#define QUERN_RUNTIME_DEVICE_OPENCL_H

#include "runtime/device.h"

/* NULL after report_fail: no OpenCL, no device (ST_missing), or the driver's error. The allocator
 * outlives the device. */
Device *device_opencl_open(const Allocator *from, Report *report);
/* The target whose code it runs: "opencl-cpu" or "opencl". */
const char *device_opencl_target(const Device *device);
/* What it is, for people. */
const char *device_opencl_name(const Device *device);

#endif
