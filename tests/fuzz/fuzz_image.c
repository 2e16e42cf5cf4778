/* Images from any bytes, their header made right first: the pieces are taken apart, the plan is
 * read and every object loaded. No code of theirs is run. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "runtime/image.h"
#include "runtime/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAGIC = 8, HEADER = 32 };

typedef struct Input {
    uint8_t *data;
    size_t size;
} Input;

static void fix_header(Cx *cx, const Input *in)
{
    Hash128 hash = hash_bytes(in->data + HEADER, in->size - HEADER);
    const uint64_t fields[] = {in->size - HEADER, hash.high, hash.low};
    memcpy(in->data, image_write(cx, &(Plan){.target = ""}, &(CodeImage){0}).data, MAGIC);
    memcpy(in->data + MAGIC, fields, sizeof fields);
}

static void read_input(Cx *cx, void *user)
{
    const Input *in = user;
    Image image;
    const char *why;
    fix_header(cx, in);
    if (!image_read(cx, in->data, in->size, &image))
        return;
    for (uint32_t i = 0; i < image.code.count; i++) {
        Object *object = object_load(image.code.pieces[i].data, image.code.pieces[i].size, &why);
        if (object)
            object_find(object, "twice_0");
        object_close(object);
    }
    plan_read(cx, image.plan, image.plan_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Input in = {.size = size};
    Cx cx;
    if (size < HEADER || !(in.data = malloc(size)))
        return 0;
    memcpy(in.data, data, size);
    cx_init(&cx, NULL, 64 << 20);
    cx_run(&cx, read_input, &in);
    cx_finish(&cx);
    free(in.data);
    return 0;
}
