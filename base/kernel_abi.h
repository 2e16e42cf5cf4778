/* What a compiled CPU kernel looks like. Plans, packs and custom formulas freeze this: change it only with KERNEL_ABI.
 *
 * A kernel has one entry per phase, named `<kernel>_<phase>`. Its grid is flattened row-major (last grid dim fastest); the
 * caller splits [0, tasks) into ranges, in any order, on any threads, without promising that two ranges run at once.
 * Phases run one after the other, each complete before the next.
 *   buffers  base pointers in the order of Nest/TileProg.buffers, aligned as promised by Buffer.align
 *   dims     values of the program's dims, in order (by pointer: host steps may write them)
 *   scratch  this worker's private memory, TileProg.scratch_bytes long, 64-byte aligned, undefined content
 *   zeros    ABI_ZERO_PAGE bytes of zeros, 64-byte aligned: where guarded rows of a contraction point to
 *   error    shared cell; a kernel that meets a bad index stores 1 + the number of the bound symbol (tile.h) there (racing stores are fine)
 *   cancel   not NULL; a kernel may look at it between two pieces of work, and once it is set store ABI_CANCELLED in the error
 *            cell and return; what it should have written is then undefined
 * The caller sets the floating-point environment (round to nearest, denormals kept) and restores it. */
#ifndef QUERN_BASE_KERNEL_ABI_H
#define QUERN_BASE_KERNEL_ABI_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { KERNEL_ABI = 2, ABI_ZERO_PAGE = 65536, ABI_CANCELLED = -1 };

/* A request to stop, 0 = none: written by anyone at any time, looked at by who works. */
typedef _Atomic int32_t CancelFlag;

typedef struct KernelArgs {
    void *const *buffers;
    const int64_t *dims;
    const void *zeros;
    int32_t *error;
    const CancelFlag *cancel;
} KernelArgs;

typedef void KernelEntry(const KernelArgs *args, int64_t begin, int64_t end, void *scratch);

/* A relocatable object file with the entries of one or more kernels. */
typedef struct ObjectBytes {
    const uint8_t *data;
    size_t size;
} ObjectBytes;

#endif
