/* The device `cpu`: kernels are functions of this process (base/kernel_abi.h). */
#ifndef QUERN_RUNTIME_DEVICE_CPU_H
#define QUERN_RUNTIME_DEVICE_CPU_H

#include "base/kernel_abi.h"
#include "base/pool.h"
#include "runtime/device.h"

/* NULL when memory is refused. The allocator outlives the device. */
Device *device_cpu_open(const Allocator *from, Executor executor);

/* Code from functions of the caller's instead of an image: `find` gives `<kernel>_<phase>`. To be
 * unloaded as any other. */
typedef KernelEntry *KernelFind(void *user, const char *name);
Status device_cpu_code(Device *device, const Plan *plan, KernelFind *find, void *user,
                       DeviceCode **code, Report *report);

#endif
