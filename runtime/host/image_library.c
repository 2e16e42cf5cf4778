/* Image formats that libraries decode. Their few functions are declared here as their interfaces
 * (named by the file names in library.def) have them; none of their headers is needed to build.
 * Sizes are read and checked first, memory is ours. What a library says is damaged is IMAGE_bad. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/host/image.h"

/* Fills a struct of function pointers, in the order of the names. */
#define LOAD(image, library, functions, ...)                                                       \
    load(image, library, sizeof(functions), (const char *const[]){__VA_ARGS__},                    \
         (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)), &(functions))

enum { MOST_FUNCTIONS = 16 };

static bool load(Image *image, HostLibrary library, size_t size, const char *const *names,
                 int count, void *functions)
{
    void *found[MOST_FUNCTIONS];
    CHECK((size_t)count * sizeof *found == size && count <= MOST_FUNCTIONS);
    if (!library_functions(image->call, library, count, names, found))
        return false;
    memcpy(functions, found, size);
    return true;
}

/* ---- JPEG: libjpeg-turbo's own interface, version 2.x and 3.x. Its default is the accurate
 * inverse transform with smooth chroma upsampling. */

typedef struct Jpeg {
    void *(*init)(void);
    int (*header)(void *handle, const unsigned char *file, unsigned long size, int *width,
                  int *height, int *subsampling, int *colours);
    int (*decompress)(void *handle, const unsigned char *file, unsigned long size,
                      unsigned char *pixels, int width, int pitch, int height, int format,
                      int flags);
    int (*error_code)(void *handle);
    char *(*error_text)(void *handle);
    int (*destroy)(void *handle);
} Jpeg;
enum { TJ_rgb = 0, TJ_accurate = 4096, TJ_limit_scans = 32768, TJ_warning = 0 };

/* Much in circulation has bytes too many, of which the library warns; what ends early is damaged.
 */
static bool jpeg_good(const Jpeg *lib, void *handle, int result)
{
    return result == 0 || (lib->error_code(handle) == TJ_warning &&
                           !strstr(lib->error_text(handle), "remature end"));
}

ImageResult image_jpeg(Image *image)
{
    Jpeg lib;
    int width, height, subsampling, colours;
    if (!LOAD(image, HL_turbojpeg, lib, "tjInitDecompress", "tjDecompressHeader3", "tjDecompress2",
              "tjGetErrorCode", "tjGetErrorStr2", "tjDestroy"))
        return IMAGE_failed;
    void *handle = lib.init();
    ImageResult result = IMAGE_bad;
    if (handle && jpeg_good(&lib, handle,
                            lib.header(handle, image->bytes, image->size, &width, &height,
                                       &subsampling, &colours)))
        result = image_begin(image, width, height);
    if (result == IMAGE_good &&
        !jpeg_good(&lib, handle,
                   lib.decompress(handle, image->bytes, image->size, image->rgb, width, 0, height,
                                  TJ_rgb, TJ_accurate | TJ_limit_scans)))
        result = IMAGE_bad;
    if (handle)
        lib.destroy(handle);
    return result;
}

/* ---- PNG: libpng's simplified interface of 1.6 */

typedef struct PngImage {
    void *control;
    uint32_t version, width, height, format, flags, colours, problem;
    char message[64];
} PngImage;
typedef struct Png {
    int (*begin)(PngImage *png, const void *file, size_t size);
    int (*finish)(PngImage *png, const void *background, void *pixels, int32_t stride,
                  void *colours);
    void (*release)(PngImage *png);
} Png;
enum { PNG_version = 1, PNG_alpha = 1, PNG_rgb = 2, PNG_16_bits_srgb = 4 };

/* Opacity is dropped, not applied. */
static ImageResult png_pixels(Image *image, const Png *lib, PngImage *png)
{
    bool alpha = png->format & PNG_alpha;
    uint8_t *rgba = image->rgb;
    png->flags |= PNG_16_bits_srgb;
    png->format = PNG_rgb | (alpha ? PNG_alpha : 0);
    if (alpha)
        rgba = args_scratch(image->call, image->width * image->height, 4);
    if (!rgba)
        return IMAGE_failed;
    if (!lib->finish(png, NULL, rgba, 0, NULL))
        return IMAGE_bad;
    for (int64_t i = 0; alpha && i < image->width * image->height; i++)
        memcpy(image->rgb + 3 * i, rgba + 4 * i, 3);
    return IMAGE_good;
}

ImageResult image_png(Image *image)
{
    Png lib;
    PngImage png = {.version = PNG_version};
    if (!LOAD(image, HL_png, lib, "png_image_begin_read_from_memory", "png_image_finish_read",
              "png_image_free"))
        return IMAGE_failed;
    ImageResult result = IMAGE_bad;
    if (lib.begin(&png, image->bytes, image->size))
        result = image_begin(image, png.width, png.height);
    if (result == IMAGE_good)
        result = png_pixels(image, &lib, &png);
    lib.release(&png);
    return result;
}

/* ---- WebP */

typedef struct Webp {
    int (*info)(const uint8_t *file, size_t size, int *width, int *height);
    uint8_t *(*decode)(const uint8_t *file, size_t size, uint8_t *pixels, size_t room, int stride);
} Webp;

ImageResult image_webp(Image *image)
{
    Webp lib;
    int width, height;
    if (!LOAD(image, HL_webp, lib, "WebPGetInfo", "WebPDecodeRGBInto"))
        return IMAGE_failed;
    if (!lib.info(image->bytes, image->size, &width, &height))
        return IMAGE_bad;
    ImageResult result = image_begin(image, width, height);
    if (result == IMAGE_good && !lib.decode(image->bytes, image->size, image->rgb,
                                            3 * (size_t)width * (size_t)height, 3 * width))
        result = IMAGE_bad;
    return result;
}

/* ---- a file in memory, for libraries that read through functions */

typedef struct Reader {
    const uint8_t *bytes;
    uint64_t size, at;
} Reader;

static size_t reader_read(Reader *r, void *to, size_t wanted)
{
    uint64_t left = r->at < r->size ? r->size - r->at : 0;
    size_t count = wanted < left ? wanted : (size_t)left;
    if (count)
        memcpy(to, r->bytes + r->at, count);
    r->at += count;
    return count;
}

/* ---- TIFF: libtiff 4.5 and later, whose handlers of messages are the file's, not the process's */

typedef struct Tiff {
    void *(*options)(void);
    void (*free_options)(void *options);
    void (*limit)(void *options, ptrdiff_t bytes);
    void (*on_error)(void *options,
                     int (*handler)(void *, void *, const char *, const char *, va_list),
                     void *user);
    void (*on_warning)(void *options,
                       int (*handler)(void *, void *, const char *, const char *, va_list),
                       void *user);
    void *(*open)(const char *name, const char *mode, void *user,
                  ptrdiff_t (*read)(void *, void *, ptrdiff_t),
                  ptrdiff_t (*write)(void *, void *, ptrdiff_t),
                  uint64_t (*seek)(void *, uint64_t, int), int (*close)(void *),
                  uint64_t (*size)(void *), int (*map)(void *, void **, uint64_t *),
                  void (*unmap)(void *, void *, uint64_t), void *options);
    int (*field)(void *tiff, uint32_t tag, ...);
    int (*pixels)(void *tiff, uint32_t width, uint32_t height, uint32_t *raster, int orientation,
                  int stop);
    void (*close)(void *tiff);
} Tiff;
enum { TIFF_width = 256, TIFF_height = 257, TIFF_top_left = 1, TIFF_most_memory = 1 << 30 };

static int tiff_silent(void *tiff, void *user, const char *module, const char *fmt, va_list args)
{
    (void)tiff, (void)user, (void)module, (void)fmt, (void)args;
    return 1;
}

static ptrdiff_t tiff_read(void *user, void *to, ptrdiff_t count)
{
    return count < 0 ? -1 : (ptrdiff_t)reader_read(user, to, (size_t)count);
}

static ptrdiff_t tiff_write(void *user, void *from, ptrdiff_t count)
{
    (void)user, (void)from, (void)count;
    return -1;
}

static uint64_t tiff_seek(void *user, uint64_t offset, int whence)
{
    Reader *r = user;
    uint64_t from = whence == SEEK_CUR ? r->at : whence == SEEK_END ? r->size : 0;
    return r->at = from + offset; /* offsets back are large numbers that wrap */
}

static int tiff_close(void *user)
{
    (void)user;
    return 0;
}

static uint64_t tiff_size(void *user)
{
    return ((const Reader *)user)->size;
}

static int tiff_map(void *user, void **base, uint64_t *size)
{
    (void)user, (void)base, (void)size;
    return 0;
}

static void tiff_unmap(void *user, void *base, uint64_t size)
{
    (void)user, (void)base, (void)size;
}

static ImageResult tiff_pixels(Image *image, const Tiff *lib, void *tiff)
{
    uint32_t width = 0, height = 0;
    if (!lib->field(tiff, TIFF_width, &width) || !lib->field(tiff, TIFF_height, &height))
        return IMAGE_bad;
    ImageResult result = image_begin(image, width, height);
    if (result != IMAGE_good)
        return result;
    int64_t count = image->width * image->height;
    uint32_t *raster = args_scratch(image->call, count, sizeof *raster);
    if (!raster)
        return IMAGE_failed;
    if (!lib->pixels(tiff, width, height, raster, TIFF_top_left, 1))
        return IMAGE_bad;
    for (int64_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            image->rgb[3 * i + c] = (uint8_t)(raster[i] >> (8 * c));
    return IMAGE_good;
}

ImageResult image_tiff(Image *image)
{
    Tiff lib;
    Reader reader = {image->bytes, image->size, 0};
    if (!LOAD(image, HL_tiff, lib, "TIFFOpenOptionsAlloc", "TIFFOpenOptionsFree",
              "TIFFOpenOptionsSetMaxSingleMemAlloc", "TIFFOpenOptionsSetErrorHandlerExtR",
              "TIFFOpenOptionsSetWarningHandlerExtR", "TIFFClientOpenExt", "TIFFGetField",
              "TIFFReadRGBAImageOriented", "TIFFClose"))
        return IMAGE_failed;
    void *options = lib.options();
    if (!options)
        return IMAGE_bad;
    lib.limit(options, TIFF_most_memory);
    lib.on_error(options, tiff_silent, NULL);
    lib.on_warning(options, tiff_silent, NULL);
    void *tiff = lib.open("image", "r", &reader, tiff_read, tiff_write, tiff_seek, tiff_close,
                          tiff_size, tiff_map, tiff_unmap, options);
    lib.free_options(options);
    ImageResult result = tiff ? tiff_pixels(image, &lib, tiff) : IMAGE_bad;
    if (tiff)
        lib.close(tiff);
    return result;
}

/* ---- JPEG 2000: OpenJPEG 2 */

typedef struct OpjComponent {
    uint32_t dx, dy, width, height, x0, y0, bits, unused, is_signed, resolution, factor;
    int32_t *data;
    uint16_t alpha;
} OpjComponent;
typedef struct OpjImage {
    uint32_t x0, y0, x1, y1, count;
    int colours;
    OpjComponent *components;
    uint8_t *profile;
    uint32_t profile_size;
} OpjImage;
typedef struct Opj {
    void *(*codec)(int format);
    void (*defaults)(void *parameters);
    int (*setup)(void *codec, void *parameters);
    void *(*stream)(size_t buffer, int is_input);
    void (*on_read)(void *stream, size_t (*read)(void *to, size_t count, void *user));
    void (*on_skip)(void *stream, int64_t (*skip)(int64_t count, void *user));
    void (*on_seek)(void *stream, int (*seek)(int64_t at, void *user));
    void (*user)(void *stream, void *user, void (*release)(void *user));
    void (*length)(void *stream, uint64_t length);
    int (*header)(void *stream, void *codec, OpjImage **image);
    int (*decode)(void *codec, void *stream, OpjImage *image);
    void (*free_codec)(void *codec);
    void (*free_stream)(void *stream);
    void (*free_image)(OpjImage *image);
} Opj;
enum {
    OPJ_codestream = 0,
    OPJ_jp2 = 2,
    OPJ_ycc = 3,
    OPJ_buffer = 1 << 16,
    OPJ_parameters = 1 << 14, /* bytes: more than the library's struct of parameters */
    OPJ_most_components = 16,
};

static size_t opj_read(void *to, size_t count, void *user)
{
    size_t got = reader_read(user, to, count);
    return got ? got : SIZE_MAX; /* the end */
}

static int64_t opj_skip(int64_t count, void *user)
{
    Reader *r = user;
    if (count < 0 || (uint64_t)count > r->size - r->at)
        return -1;
    r->at += (uint64_t)count;
    return count;
}

static int opj_seek(int64_t at, void *user)
{
    Reader *r = user;
    if (at < 0 || (uint64_t)at > r->size)
        return 0;
    r->at = (uint64_t)at;
    return 1;
}

static void opj_keep(void *user)
{
    (void)user;
}

static uint8_t clamp_byte(double value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value + 0.5);
}

/* A sample as 8 bits. */
static int32_t opj_sample(const OpjComponent *c, int64_t i)
{
    int64_t most = (INT64_C(1) << c->bits) - 1;
    int64_t value = c->data[i] + (c->is_signed ? INT64_C(1) << (c->bits - 1) : 0);
    value = value < 0 ? 0 : value > most ? most : value;
    return (int32_t)(c->bits == 8 ? value : (value * 255 + most / 2) / most);
}

/* One or two components are grey (and opacity), three or more colour (and opacity), all of the
 * image's size. Before the pixels are decoded, so that no other size is. */
static bool opj_fits(const Image *image, const OpjImage *from)
{
    for (uint32_t c = 0; c < from->count; c++) {
        const OpjComponent *component = &from->components[c];
        if (component->width != image->width || component->height != image->height ||
            component->bits < 1 || component->bits > 31)
            return false;
    }
    return from->count <= OPJ_most_components;
}

static ImageResult opj_pixels(Image *image, const OpjImage *from)
{
    bool colour = from->count >= 3;
    for (int c = 0; c < (colour ? 3 : 1); c++)
        if (!from->components[c].data)
            return IMAGE_bad;
    for (int64_t i = 0; i < image->width * image->height; i++) {
        uint8_t *rgb = image->rgb + 3 * i;
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)opj_sample(&from->components[colour ? c : 0], i);
        if (!colour || from->colours != OPJ_ycc)
            continue;
        double y = rgb[0], cb = rgb[1] - 128, cr = rgb[2] - 128; /* ITU-R BT.601 */
        rgb[0] = clamp_byte(y + 1.402 * cr);
        rgb[1] = clamp_byte(y - 0.344136 * cb - 0.714136 * cr);
        rgb[2] = clamp_byte(y + 1.772 * cb);
    }
    return IMAGE_good;
}

static ImageResult opj_run(Image *image, const Opj *lib, void *codec, void *stream)
{
    uint64_t parameters[OPJ_parameters / sizeof(uint64_t)];
    OpjImage *from = NULL;
    ImageResult result = IMAGE_bad;
    lib->defaults(parameters);
    if (lib->setup(codec, parameters) && lib->header(stream, codec, &from) && from->count &&
        from->components)
        result = image_begin(image, from->components[0].width, from->components[0].height);
    if (result == IMAGE_good)
        result = opj_fits(image, from) && lib->decode(codec, stream, from) ? opj_pixels(image, from)
                                                                           : IMAGE_bad;
    if (from)
        lib->free_image(from);
    return result;
}

ImageResult image_jpeg2000(Image *image)
{
    Opj lib;
    Reader reader = {image->bytes, image->size, 0};
    if (!LOAD(image, HL_openjpeg, lib, "opj_create_decompress",
              "opj_set_default_decoder_parameters", "opj_setup_decoder", "opj_stream_create",
              "opj_stream_set_read_function", "opj_stream_set_skip_function",
              "opj_stream_set_seek_function", "opj_stream_set_user_data",
              "opj_stream_set_user_data_length", "opj_read_header", "opj_decode",
              "opj_destroy_codec", "opj_stream_destroy", "opj_image_destroy"))
        return IMAGE_failed;
    void *codec = lib.codec(image->bytes[0] == 0 ? OPJ_jp2 : OPJ_codestream);
    void *stream = codec ? lib.stream(OPJ_buffer, 1) : NULL;
    ImageResult result = IMAGE_bad;
    if (stream) {
        lib.on_read(stream, opj_read);
        lib.on_skip(stream, opj_skip);
        lib.on_seek(stream, opj_seek);
        lib.user(stream, &reader, opj_keep);
        lib.length(stream, image->size);
        result = opj_run(image, &lib, codec, stream);
        lib.free_stream(stream);
    }
    if (codec)
        lib.free_codec(codec);
    return result;
}
