/* Images as bytes: magic[8] size:8 hash:16 | plan size:8, kind of code:8, number of pieces:8, their
 * sizes:8 each, then plan and pieces, each padded to 8 bytes. */
#include "runtime/image.h"

#include <string.h>

#include "base/hash.h"

static const char magic[8] = "QNIMAG2";
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

PlanBytes image_write(Cx *cx, const Plan *plan, const CodeImage *code)
{
    static const char space[HEADER_BYTES];
    PlanBytes bytes = plan_write(cx, plan);
    Text out;
    text_init(&out, cx->arena);
    text_put(&out, space, HEADER_BYTES);
    put_int(&out, bytes.size);
    put_int(&out, code->kind);
    put_int(&out, code->count);
    for (uint32_t i = 0; i < code->count; i++)
        put_int(&out, code->pieces[i].size);
    put_padded(&out, bytes.data, bytes.size);
    for (uint32_t i = 0; i < code->count; i++)
        put_padded(&out, code->pieces[i].data, code->pieces[i].size);
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
    uint64_t numbers[3]; /* plan size, kind, pieces */
    const uint8_t *head = take(&at, end, sizeof numbers);
    if (!head)
        return false;
    memcpy(numbers, head, sizeof numbers);
    if (numbers[1] >= CODE_count || numbers[2] > (uint64_t)(end - at) / 8)
        return false;
    const uint8_t *lengths = take(&at, end, 8 * numbers[2]);
    uint32_t count = (uint32_t)numbers[2];
    CodePiece *pieces = NEW_ARRAY(cx->arena, CodePiece, count);
    image->code = (CodeImage){(CodeKind)numbers[1], count, pieces};
    image->plan_size = numbers[0];
    image->plan = take(&at, end, numbers[0]);
    for (uint32_t i = 0; image->plan && i < count; i++) {
        uint64_t length;
        memcpy(&length, lengths + 8 * (size_t)i, 8);
        pieces[i] = (CodePiece){take(&at, end, length), length};
        if (!pieces[i].data)
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
