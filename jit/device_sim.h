/* The device `sim`: the simulator of placed GPU programs (ir/tile_sim.h) behind the device table.
 * It finds what a GPU may do wrong silently, and is some thousand times slower than one. */
#ifndef QUERN_JIT_DEVICE_SIM_H
#define QUERN_JIT_DEVICE_SIM_H

#include "runtime/device.h"

/* NULL when memory is refused. The allocator outlives the device. */
Device *device_sim_open(const Allocator *from);
/* The target it stands in for: the one whose programs use most of what the simulator checks. */
const char *device_sim_target(const Device *device);

#endif
