/* One printer for all C-like text.
 *
 * c_print appends a complete translation unit: one kernel `<prog>_<grid>` per grid. Names from the
 * program do not occur in it except the program's own (letters, digits and _). Programs for GPU
 * dialects must be placed (passes/place_gpu.h).
 *
 * How kernels are called:
 *   args_struct dialects (C): KernelEntry of base/kernel_abi.h; scratch of tile_scratch_bytes.
 *   others: parameters are the buffers in order, then the dims as 64-bit integers by value, then a
 * pointer to the 32-bit error cell. A GPU launches c_grid_tasks blocks of Grid.threads threads in
 * one dimension, with c_shared_bytes of dynamic shared memory (CUDA; OpenCL declares its own).
 * OpenCL on a CPU: as many work items as tasks, groups of 1. */
#ifndef QUERN_CODEGEN_C_PRINT_H
#define QUERN_CODEGEN_C_PRINT_H

#include "codegen/dialect.h"

/* False after cx_fail (an operation this dialect cannot print). */
bool c_print(Cx *cx, Text *out, const TileProg *prog, const Dialect *dialect);
/* Several programs for the same target, with names that differ, as one unit. */
bool c_print_all(Cx *cx, Text *out, TileProg *const *progs, int count, const Dialect *dialect);

/* Bytes of shared memory of one block (all tiles with their ring slots, and the scratch of
 * reductions), and the offset of one tile in it. */
int64_t c_shared_bytes(const TileProg *prog, const Grid *grid);
int64_t c_shared_offset(const Grid *grid, const Tile *tile);

#endif
