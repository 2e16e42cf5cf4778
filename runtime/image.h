/* An image: a plan and its code, of whatever kind its target takes, in one piece of bytes. What the
 * cache keeps, and what every program is loaded from, whether it was compiled just now or not. */
#ifndef QUERN_RUNTIME_IMAGE_H
#define QUERN_RUNTIME_IMAGE_H

#include "runtime/device.h"

typedef struct Image {
    const uint8_t *plan; /* aligned to 8 bytes */
    size_t plan_size;
    CodeImage code;
} Image;

/* In the job's arena. */
PlanBytes image_write(Cx *cx, const Plan *plan, const CodeImage *code);
/* Checks form and checksum; `data`, aligned to 8 bytes, must stay. False after
 * cx_fail(ST_bad_file). */
bool image_read(Cx *cx, const void *data, size_t size, Image *image);

#endif
