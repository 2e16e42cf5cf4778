/* Decoders of image files: each gives 8-bit red, green and blue, rows from the top. */
#ifndef QUERN_RUNTIME_HOST_IMAGE_H
#define QUERN_RUNTIME_HOST_IMAGE_H

#include "runtime/host/library.h"

typedef struct Image {
    HostCall *call;
    const uint8_t *bytes; /* the file: anything at all */
    size_t size;
    int64_t width, height; /* of the result */
    uint8_t *rgb;          /* [height, width, 3] */
} Image;

/* What a decoder says. A file that is damaged, or of a kind it does not know, is IMAGE_bad: no
 * failure of the operation. */
typedef enum ImageResult {
    IMAGE_good,
    IMAGE_bad,
    IMAGE_failed /* after report_fail */
} ImageResult;

/* A decoder calls it once the size is known, before it decodes: checks the size, gets memory. */
ImageResult image_begin(Image *image, int64_t width, int64_t height);

typedef ImageResult ImageDecode(Image *image);
ImageDecode image_bmp, image_pnm, image_jpeg, image_png, image_webp, image_tiff, image_jpeg2000;

#endif
