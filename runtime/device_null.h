/* The device `null`: executes nothing and gives zeros. What remains of a run is Quern's own time.
 */
#ifndef QUERN_RUNTIME_DEVICE_NULL_H
#define QUERN_RUNTIME_DEVICE_NULL_H

#include "runtime/device.h"

/* NULL when memory is refused. The allocator outlives the device. */
Device *device_null_open(const Allocator *from);

#endif
