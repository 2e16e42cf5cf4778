/* An image: a plan and its machine code in one piece of bytes. What the cache keeps, and what every
 * program is loaded from, whether it was compiled just now or not. */
#ifndef QUERN_RUNTIME_IMAGE_H
#define QUERN_RUNTIME_IMAGE_H

#include "base/kernel_abi.h"
#include "runtime/plan.h"

typedef struct Image {
    const uint8_t *plan; /* aligned to 8 bytes */
    size_t plan_size;
    uint32_t object_count;
    ObjectBytes *objects;
} Image;

/* In the job's arena. */
PlanBytes image_write(Cx *cx, const Plan *plan, uint32_t object_count, const ObjectBytes *objects);
/* Checks form and checksum; `data`, aligned to 8 bytes, must stay. False after
 * cx_fail(ST_bad_file). */
bool image_read(Cx *cx, const void *data, size_t size, Image *image);

#endif
