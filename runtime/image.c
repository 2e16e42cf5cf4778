/* Images as bytes: magic[8] size:8 hash:16 | plan size:8, object count:8, object sizes:8 each, then
 * plan and objects, each padded to 8 bytes. */
#include "runtime/image.h"

#include <string.h>

#include "base/hash.h"

static const char magic[8] = "QNIMAG1";
enum { HEADER_BYTES = 32 };

static void put_int(Text *out, uint64_t value)
{
    text_put(out, (const char *)&value, 8);
}

static void put_padded(Text *out, const void *data, size_t size)
{
    static const char zeros[8];
    text_put(out, data, size);
    text_put(out, zeros, (8 - size % 8) % 8);
}

static void make_header(uint8_t header[HEADER_BYTES], const uint8_t *body, size_t size)
{
    Hash128 hash = hash_bytes(body, size);
    const uint64_t fields[] = {size, hash.high, hash.low};
    memcpy(header, magic, sizeof magic);
    memcpy(header + sizeof magic, fields, sizeof fields);
}

PlanBytes image_write(Cx *cx, const Plan *plan, uint32_t object_count, const ObjectBytes *objects)
{
    static const char space[HEADER_BYTES];
    PlanBytes bytes = plan_write(cx, plan);
    Text out;
    text_init(&out, cx->arena);
    text_put(&out, space, HEADER_BYTES);
    put_int(&out, bytes.size);
    put_int(&out, object_count);
    for (uint32_t i = 0; i < object_count; i++)
        put_int(&out, objects[i].size);
    put_padded(&out, bytes.data, bytes.size);
    for (uint32_t i = 0; i < object_count; i++)
        put_padded(&out, objects[i].data, objects[i].size);
    uint8_t *data = (uint8_t *)out.data;
    make_header(data, data + HEADER_BYTES, out.length - HEADER_BYTES);
    return (PlanBytes){data, out.length};
}

/* The next piece; NULL when it does not fit. */
static const uint8_t *take(const uint8_t **at, const uint8_t *end, uint64_t size)
{
    const uint8_t *piece = *at;
    if (size > (uint64_t)(end - piece) || (size + 7) / 8 * 8 > (uint64_t)(end - piece))
        return NULL;
    *at += (size + 7) / 8 * 8;
    return piece;
}

static bool read_parts(Cx *cx, const uint8_t *at, const uint8_t *end, Image *image)
{
    uint64_t sizes[2];
    const uint8_t *head = take(&at, end, sizeof sizes);
    if (!head)
        return false;
    memcpy(sizes, head, sizeof sizes);
    if (sizes[1] > (uint64_t)(end - at) / 8)
        return false;
    const uint8_t *lengths = take(&at, end, 8 * sizes[1]);
    image->plan_size = sizes[0];
    image->object_count = (uint32_t)sizes[1];
    image->objects = NEW_ARRAY(cx->arena, ObjectBytes, image->object_count);
    image->plan = take(&at, end, sizes[0]);
    for (uint32_t i = 0; image->plan && i < image->object_count; i++) {
        uint64_t length;
        memcpy(&length, lengths + 8 * i, 8);
        image->objects[i] = (ObjectBytes){take(&at, end, length), length};
        if (!image->objects[i].data)
            return false;
    }
    return image->plan && at == end;
}

bool image_read(Cx *cx, const void *data, size_t size, Image *image)
{
    const uint8_t *bytes = data;
    uint8_t expected[HEADER_BYTES];
    CHECK((uintptr_t)data % 8 == 0);
    *image = (Image){0};
    if (size >= HEADER_BYTES && memcmp(bytes, magic, sizeof magic) == 0) {
        make_header(expected, bytes + HEADER_BYTES, size - HEADER_BYTES);
        if (memcmp(bytes, expected, HEADER_BYTES) == 0 &&
            read_parts(cx, bytes + HEADER_BYTES, bytes + size, image))
            return true;
    }
    cx_fail(cx, ST_bad_file, "damaged image of a compiled program");
    return false;
}
