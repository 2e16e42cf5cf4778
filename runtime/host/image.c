/* Decoding images. The signature chooses a decoder, which gives red, green, blue; what the model
 * asks for is made from these. A file that cannot be decoded gives an empty tensor, as the operator
 * states; a library that is not there is an error. */
#include "runtime/host/image.h"

#include <string.h>

/* host_image: file (bytes), format (0 RGB, 1 BGR, 2 grey) -> u8 [height, width, 3 or 1]. */
static const HostParam image_in[] = {
    {"file", TYPE(u8), 1, 1, false},
    {"format", TYPE(i64), 0, 1, false},
};
static const HostParam image_out[] = {{"pixels", TYPE(u8), 3, 3, false}};
static const HostForm form = {"image", image_in, image_out, 2, 1, false};

enum { FORMAT_rgb, FORMAT_bgr, FORMAT_grey };
enum { MOST_SIDE = 1 << 16, MOST_PIXELS = 1 << 28 };

typedef struct Row {
    ImageDecode *decode;
    size_t at, length;
    const char *signature;
} Row;

static const Row rows[] = {
#define IMAGE(format, at, signature) {image_##format, at, sizeof signature - 1, signature},
#include "runtime/host/image.def"
#undef IMAGE
};

ImageResult image_begin(Image *image, int64_t width, int64_t height)
{
    if (width < 1 || height < 1)
        return IMAGE_bad;
    if (width > MOST_SIDE || height > MOST_SIDE || width * height > MOST_PIXELS) {
        report_fail(image->call->report, ST_limit,
                    "%s: an image of %lld by %lld pixels; at most %d a side and %d in all", form.op,
                    (long long)width, (long long)height, MOST_SIDE, MOST_PIXELS);
        return IMAGE_failed;
    }
    image->width = width;
    image->height = height;
    image->rgb = args_scratch(image->call, width * height, 3);
    return image->rgb ? IMAGE_good : IMAGE_failed;
}

static ImageResult decode(Image *image)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const Row *row = &rows[i];
        if (row->at + row->length <= image->size &&
            memcmp(image->bytes + row->at, row->signature, row->length) == 0)
            return row->decode(image);
    }
    return IMAGE_bad;
}

/* Luma of ITU-R BT.601 (0.299, 0.587, 0.114) with weights of 16 bits, which sum to 1. */
static uint8_t grey(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

Status host_image(HostCall *call)
{
    int64_t format;
    if (!args_check(call, &form) || !args_int(call, &form, 1, FORMAT_rgb, FORMAT_grey, &format))
        return args_status(call);
    Image image = {
        .call = call, .bytes = call->inputs[0].data, .size = (size_t)call->inputs[0].dims[0]};
    ImageResult result = decode(&image);
    if (result == IMAGE_failed)
        return args_status(call);
    if (result == IMAGE_bad)
        image.width = image.height = 0;
    const int64_t dims[] = {image.height, image.width, format == FORMAT_grey ? 1 : 3};
    uint8_t *out = call->output(call, 0, 3, dims);
    if (!out)
        return args_status(call);
    for (int64_t i = 0; i < image.width * image.height; i++) {
        const uint8_t *rgb = image.rgb + 3 * i;
        if (format == FORMAT_grey)
            *out++ = grey(rgb);
        for (int c = 0; format != FORMAT_grey && c < 3; c++)
            *out++ = rgb[format == FORMAT_bgr ? 2 - c : c];
    }
    return ST_ok;
}
