/* Placement of tile programs on GPUs: what unplaced programs leave open becomes printed attributes
 * and operations. */
#ifndef QUERN_PASSES_PLACE_GPU_H
#define QUERN_PASSES_PLACE_GPU_H

#include "ir/tile.h"

/* Threads per block of grids that do not say. */
enum { PLACE_THREADS = 128 };

/* Changes the program in place: layouts and conversions, thread maps, padding, rings with
 * asynchronous copies, barriers. What it gives is verified. False after cx_fail: more shared memory
 * than the target has, an operand no layout fits, an index of a ring that is not proven to be in
 * bounds (prog->unproven). */
bool place_gpu(TileProg *prog);

#endif
