/* The simulator of placed GPU programs: what stands in for a GPU where there is none.
 *
 * Blocks run one after the other. Within a block every operation is executed by all threads before
 * the next one begins, with per-thread registers as the layouts say and shared memory modelled to
 * the byte (padding, swizzle, ring slots). What a GPU may do wrong silently is an error here, with
 * the operation, the block, the thread, the tile and the element:
 *   - a register element read or written by a thread that does not hold it; replicas that stop
 * agreeing;
 *   - two threads touching the same shared bytes, one of them writing, with no barrier between; the
 * same for global memory, between blocks with no remedy;
 *   - reading shared memory never written, and storing what was computed from registers never
 * written;
 *   - touching the destination of a cp.async before the thread that issued it has waited for its
 * group; another thread needs a barrier after that;
 *   - a cp.async that cannot be one: other than 4, 8 or 16 aligned neighbouring bytes, a fill that
 * is not 0;
 *   - a barrier, a conversion or a reduction between threads that not all threads reach;
 *   - indices and slots out of range; more shared memory than the target has.
 * Numbers: an mma adds its products in float32 in ascending order of r, as tile_run does; a
 * reduction combines the registers of a thread in ascending order, then lanes pairwise from the
 * nearest to the farthest, then warps in ascending order.
 * A convert is a store, a block barrier and a load, with no barrier before or after; the memory a
 * reduction exchanges through is its own and orders nothing else. */
#ifndef QUERN_IR_TILE_SIM_H
#define QUERN_IR_TILE_SIM_H

#include "ir/tile.h"

typedef struct SimReport {
    int64_t blocks, barriers;
    int64_t shared_bytes;    /* largest static need of a grid */
    int64_t shared_accesses; /* cycles shared memory would be busy without conflicts (32 banks of 4
                                bytes) */
    int64_t shared_extra;    /* cycles lost to bank conflicts */
    int64_t global_accesses; /* warp-wide instructions */
    int64_t global_sectors;  /* 32-byte sectors they touch, each instruction on its own */
    int64_t global_minimum;  /* sectors that the bytes they need would fill */
    int64_t async_bytes;     /* moved by cp.async */
    int64_t mma_warp_ops; /* m16n8k8 tensor-core operations, per warp (an m16n8k16 counts as two) */
    int64_t fma_ops;      /* multiply-adds of mma operations done by single threads */
    int64_t worst_extra;  /* conflicts of the operation that has most of them, and its text (NULL =
                             none) */
    const char *worst_op;
} SimReport;

/* Runs the program, which tile_verify has accepted, on host memory (conventions of nest_run).
 * `report` may be NULL. False when the job failed: every violation above is ST_internal, since
 * placement made it. */
bool tile_sim(Cx *cx, const TileProg *prog, NestRun *run, SimReport *report);

#endif
