/* Nests that differ in sizes only, as one nest with dims.
 *
 * A kernel that runs once, at load, is not worth code for its sizes: packing the weights of a model
 * is the same work many times over. Sizes are extents of buffers and axes, strides, offsets and
 * limits of guards; those in which the nests differ become products of a number and a dim, a dim
 * for each way of varying (sizes that are proportional to one another share it, so that proofs see
 * how an axis and a buffer belong together). Numbers inside indices are the layout that somebody
 * relies on and stay. So do extents that leave a remainder in the boxes of the schedule: the code
 * of a nest with dims is to be that of its members, with other numbers. */
#ifndef QUERN_PASSES_GENERALISE_H
#define QUERN_PASSES_GENERALISE_H

#include "ir/target.h"
#include "passes/schedule.h"

typedef struct Generalised {
    Nest *nest;             /* shared by all nests that became it */
    const uint32_t *values; /* by dim of the nest */
} Generalised;

/* `nests` have no dims, and equal names where they are to be one. Nests that stay as they are, no
 * other being like them, are found in `out` too, equal ones as the first of them. Everything lives
 * in the job's arena. */
void generalise(Cx *cx, uint32_t count, Nest *const *nests, const Caps *caps, Generalised *out);

#endif
