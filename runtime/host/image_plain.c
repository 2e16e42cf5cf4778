/* Image formats without compression, read here: Windows bitmaps and the portable formats of Netpbm.
 * Every offset is computed from numbers in the file and compared with its size. */
#include <string.h>

#include "runtime/host/image.h"

/* ---- Windows bitmaps: 1, 4, 8 bits through a palette; 16, 24, 32 bits with masks. Not: run
 * lengths */

typedef struct Bmp {
    const uint8_t *palette; /* entries of blue, green, red (and one more) */
    size_t palette_size, entry;
    const uint8_t *pixels;
    size_t stride;
    unsigned bits;
    uint32_t masks[3]; /* red, green, blue */
} Bmp;

static uint32_t read_le(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

/* The bits of a mask as 8 bits. */
static uint8_t masked(uint32_t pixel, uint32_t mask)
{
    if (!mask)
        return 0;
    int shift = __builtin_ctz(mask);
    uint64_t most = mask >> shift;
    return (uint8_t)(((pixel & mask) >> shift) * UINT64_C(255) / most);
}

enum { HEAD = 14, CORE = 12, INFO = 40, RUN_LENGTHS_NONE = 0, BIT_FIELDS = 3 };

static bool bmp_masks(const uint8_t *info, uint32_t size, size_t left, uint32_t kind, Bmp *bmp)
{
    static const uint32_t masks16[] = {0x7C00, 0x3E0, 0x1F}, masks32[] = {0xFF0000, 0xFF00, 0xFF};
    memcpy(bmp->masks, bmp->bits == 16 ? masks16 : masks32, sizeof bmp->masks);
    if (kind == RUN_LENGTHS_NONE)
        return true;
    /* behind the first kind of header, or its fields when it is longer */
    if (kind != BIT_FIELDS || (bmp->bits != 16 && bmp->bits != 32) || left < INFO + 12 ||
        size < INFO)
        return false;
    for (int i = 0; i < 3; i++)
        bmp->masks[i] = read_le(info + INFO + 4 * i, 4);
    return true;
}

static bool bmp_header(const Image *image, Bmp *bmp, int64_t *width, int64_t *height)
{
    if (image->size < HEAD + CORE)
        return false;
    const uint8_t *file = image->bytes, *info = file + HEAD;
    size_t left = image->size - HEAD, pixels = read_le(file + 10, 4);
    uint32_t size = read_le(info, 4), kind = 0, colours = 0;
    bool core = size == CORE;
    if (size > left || (!core && size < INFO))
        return false;
    *width = core ? (int64_t)read_le(info + 4, 2) : (int32_t)read_le(info + 4, 4);
    *height = core ? (int64_t)read_le(info + 6, 2) : (int32_t)read_le(info + 8, 4);
    bmp->bits = read_le(info + (core ? 10 : 14), 2);
    if (!core) {
        kind = read_le(info + 16, 4);
        colours = read_le(info + 32, 4);
    }
    if (!bmp_masks(info, size, left, kind, bmp))
        return false;
    bmp->entry = core ? 3 : 4;
    bmp->palette = info + size;
    size_t most = bmp->bits <= 8 ? (size_t)1 << bmp->bits : 0, fit = (left - size) / bmp->entry;
    bmp->palette_size = colours && colours < most ? colours : most;
    bmp->palette_size = bmp->palette_size < fit ? bmp->palette_size : fit;
    bmp->pixels = pixels <= image->size ? file + pixels : NULL;
    return bmp->pixels;
}

static bool bmp_pixel(const Bmp *bmp, const uint8_t *row, size_t x, uint8_t *rgb)
{
    if (bmp->bits <= 8) {
        unsigned per = 8 / bmp->bits, shift = (per - 1 - (unsigned)(x % per)) * bmp->bits;
        size_t index = (unsigned)row[x / per] >> shift & ((1u << bmp->bits) - 1);
        if (index >= bmp->palette_size)
            return false;
        for (int c = 0; c < 3; c++)
            rgb[c] = bmp->palette[index * bmp->entry + 2 - (size_t)c];
        return true;
    }
    uint32_t pixel = read_le(row + x * (bmp->bits / 8), (int)bmp->bits / 8);
    for (int c = 0; c < 3; c++)
        rgb[c] = masked(pixel, bmp->masks[c]);
    return true;
}

ImageResult image_bmp(Image *image)
{
    Bmp bmp = {0};
    int64_t width, height;
    if (!bmp_header(image, &bmp, &width, &height))
        return IMAGE_bad;
    bool known = bmp.bits == 1 || bmp.bits == 4 || bmp.bits == 8 || bmp.bits == 16 ||
                 bmp.bits == 24 || bmp.bits == 32;
    bool down = height < 0; /* rows from the top */
    ImageResult result = known ? image_begin(image, width, down ? -height : height) : IMAGE_bad;
    if (result != IMAGE_good)
        return result;
    size_t rows = (size_t)image->height, columns = (size_t)image->width;
    bmp.stride = (columns * bmp.bits + 31) / 32 * 4;
    if (bmp.stride * rows > image->size - (size_t)(bmp.pixels - image->bytes))
        return IMAGE_bad;
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < columns; x++)
            if (!bmp_pixel(&bmp, bmp.pixels + bmp.stride * (down ? y : rows - 1 - y), x,
                           image->rgb + 3 * (y * columns + x)))
                return IMAGE_bad;
    return IMAGE_good;
}

/* ---- portable anymaps: P1..P3 as text, P4..P6 as bytes, P7 with a header of its own */

typedef struct Pnm {
    const uint8_t *at, *end;
    char kind;
    int64_t width, height, depth, most;
} Pnm;

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(Pnm *p)
{
    while (p->at < p->end && (is_space(*p->at) || *p->at == '#')) {
        if (*p->at == '#')
            while (p->at < p->end && *p->at != '\n')
                p->at++;
        else
            p->at++;
    }
}

static bool read_number(Pnm *p, int64_t *value)
{
    skip_space(p);
    *value = 0;
    const uint8_t *begin = p->at;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9' && *value < INT32_MAX; p->at++)
        *value = *value * 10 + (*p->at - '0');
    return p->at > begin;
}

static bool pam_header(Pnm *p)
{
    static const char *const words[] = {"WIDTH", "HEIGHT", "DEPTH", "MAXVAL"};
    int64_t *values[] = {&p->width, &p->height, &p->depth, &p->most};
    for (;;) {
        skip_space(p);
        size_t length = 0, left = (size_t)(p->end - p->at);
        while (length < left && !is_space(p->at[length]))
            length++;
        const char *word = (const char *)p->at;
        p->at += length;
        if (!length)
            return false;
        if (length == 6 && memcmp(word, "ENDHDR", 6) == 0)
            return true;
        int k = 0;
        while (k < 4 && (strlen(words[k]) != length || memcmp(word, words[k], length) != 0))
            k++;
        if (k < 4 && !read_number(p, values[k]))
            return false;
        while (k == 4 && p->at < p->end && *p->at != '\n') /* a line of no matter */
            p->at++;
    }
}

static bool pnm_header(Pnm *p)
{
    p->kind = (char)p->at[1];
    p->at += 2;
    p->most = 1;
    p->depth = p->kind == '3' || p->kind == '6' ? 3 : 1;
    if (p->kind == '7') {
        p->depth = 0;
        if (!pam_header(p))
            return false;
    } else if (!read_number(p, &p->width) || !read_number(p, &p->height)) {
        return false;
    } else if (p->kind != '1' && p->kind != '4' && !read_number(p, &p->most)) {
        return false;
    }
    if (p->kind > '3' && p->at < p->end) /* one white space, then the pixels */
        p->at++;
    return p->most >= 1 && p->most <= 65535 && p->depth >= 1 && p->depth <= 4;
}

/* One sample of text; the digits of bits need nothing between them. */
static bool text_sample(Pnm *p, int64_t *sample)
{
    if (p->kind != '1')
        return read_number(p, sample);
    skip_space(p);
    *sample = p->at < p->end ? *p->at++ - '0' : -1;
    return *sample == 0 || *sample == 1;
}

/* Sample c of pixel x in a row of bytes. */
static int64_t byte_sample(const Pnm *p, const uint8_t *row, int64_t x, int64_t c)
{
    if (p->kind == '4')
        return row[x / 8] >> (7 - x % 8) & 1;
    int64_t at = x * p->depth + c;
    return p->most > 255 ? row[2 * at] << 8 | row[2 * at + 1] : row[at];
}

static uint8_t scaled(const Pnm *p, int64_t sample)
{
    if (p->kind == '1' || p->kind == '4') /* 1 is black */
        return sample ? 0 : 255;
    sample = sample > p->most ? p->most : sample;
    return (uint8_t)((sample * 255 + p->most / 2) / p->most);
}

ImageResult image_pnm(Image *image)
{
    Pnm p = {.at = image->bytes, .end = image->bytes + image->size};
    if (!pnm_header(&p))
        return IMAGE_bad;
    ImageResult result = image_begin(image, p.width, p.height);
    if (result != IMAGE_good)
        return result;
    bool text = p.kind <= '3';
    int64_t stride = p.kind == '4' ? (p.width + 7) / 8 : p.width * p.depth * (p.most > 255 ? 2 : 1);
    if (!text && stride * p.height > p.end - p.at)
        return IMAGE_bad;
    for (int64_t i = 0; i < p.width * p.height; i++) {
        uint8_t samples[4];
        for (int64_t c = 0; c < p.depth; c++) {
            int64_t sample;
            if (!text)
                sample = byte_sample(&p, p.at + i / p.width * stride, i % p.width, c);
            else if (!text_sample(&p, &sample))
                return IMAGE_bad;
            samples[c] = scaled(&p, sample);
        }
        for (int64_t c = 0; c < 3; c++) /* one or two samples: grey (and opacity) */
            image->rgb[3 * i + c] = samples[p.depth >= 3 ? c : 0];
    }
    return IMAGE_good;
}
