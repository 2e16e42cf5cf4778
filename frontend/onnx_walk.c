/* The bounded walk (see onnx_walk.h).
 *
 * It is driven by the descriptors protoc-c made of onnx.proto, so there is no second table of
 * fields. For every record: read the tag; skip what the schema does not name; check that the wire
 * type fits the field, that lengths stay inside the enclosing message, that strings are UTF-8
 * without NUL and that packed numbers are whole; then write it to the skeleton in canonical form.
 * protobuf-c, which limits nothing and recurses, sees only that.
 *
 * An embedded message is written with a length of five bytes, filled in when its end is known. */
#include "frontend/onnx_walk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "frontend/onnx.pb-c.h"

enum {
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_32 = 5,
    LENGTH_BYTES = 5,
    FIRST_PRIVATE_FIELD = 60000,
    PAYLOAD_FIRST = 60000,
    PAYLOAD_COUNT = 60001,
    RAW_DATA = 9,
};

typedef struct Walk {
    Cx *cx;
    Arena *arena;
    OnnxSource source;
    uint8_t *out;
    size_t size, capacity;
    OnnxSegment *segments;
    uint32_t segment_count, segment_capacity;
    uint32_t items;
    int depth;
} Walk;

typedef struct Record {
    uint32_t number, wire;
    const uint8_t *start, *body, *end; /* tag, contents, behind */
    uint64_t value;                    /* of a varint */
} Record;

static bool walk_fail(Walk *w, Status status, const uint8_t *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static bool walk_fail(Walk *w, Status status, const uint8_t *at, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cx_fail(w->cx, status, "%s: byte %zu: %s", w->source.name, (size_t)(at - w->source.data), text);
    return false;
}

bool onnx_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; shift < 64 && p < end; shift += 7, p++) {
        uint64_t bits = *p & 0x7F;
        if (shift == 63 && bits > 1)
            return false;
        result |= bits << shift;
        if (*p < 0x80) {
            *at = p + 1;
            *value = result;
            return true;
        }
    }
    return false;
}

/* ---- writing the skeleton ---- */

static uint8_t *reserve(Walk *w, size_t size)
{
    if (size > WALK_SKELETON_BYTES - w->size) {
        walk_fail(w, ST_limit, w->source.data,
                  "the model holds more than %d MiB besides tensor data",
                  WALK_SKELETON_BYTES >> 20);
        return NULL;
    }
    if (size > w->capacity - w->size) {
        size_t capacity = (w->size + size) * 2 + 4096;
        uint8_t *bigger = arena_alloc(w->arena, capacity);
        if (w->size)
            memcpy(bigger, w->out, w->size);
        w->out = bigger;
        w->capacity = capacity;
    }
    uint8_t *at = w->out + w->size;
    w->size += size;
    return at;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        to[n++] = (uint8_t)(value | 0x80);
    to[n++] = (uint8_t)value;
    return n;
}

static bool write_varints(Walk *w, uint32_t tag, uint64_t value)
{
    uint8_t text[16];
    size_t n = put_varint(text, tag);
    n += put_varint(text + n, value);
    uint8_t *to = reserve(w, n);
    if (to)
        memcpy(to, text, n);
    return to;
}

static bool write_bytes(Walk *w, const uint8_t *from, size_t size)
{
    uint8_t *to = reserve(w, size);
    if (to && size)
        memcpy(to, from, size);
    return to;
}

static bool write_record(Walk *w, const Record *rec)
{
    uint32_t tag = rec->number << 3 | rec->wire;
    size_t size = (size_t)(rec->end - rec->body);
    if (rec->wire == WIRE_VARINT)
        return write_varints(w, tag, rec->value);
    if (rec->wire == WIRE_BYTES)
        return write_varints(w, tag, size) && write_bytes(w, rec->body, size);
    uint8_t text[8];
    return write_bytes(w, text, put_varint(text, tag)) && write_bytes(w, rec->body, size);
}

/* ---- reading records ---- */

static bool read_record(Walk *w, const uint8_t **at, const uint8_t *end, Record *rec)
{
    uint64_t tag, length;
    *rec = (Record){.start = *at};
    if (!onnx_varint(at, end, &tag) || tag > UINT32_MAX)
        return walk_fail(w, ST_bad_model, rec->start, "a field's tag is cut off or too long");
    rec->number = (uint32_t)tag >> 3;
    rec->wire = (uint32_t)tag & 7;
    rec->body = *at;
    if (rec->number == 0)
        return walk_fail(w, ST_bad_model, rec->start, "field number 0: this is not an ONNX file");
    size_t left = (size_t)(end - *at);
    switch (rec->wire) {
    case WIRE_VARINT:
        if (!onnx_varint(at, end, &rec->value))
            return walk_fail(w, ST_bad_model, rec->start, "a number is cut off or too long");
        break;
    case WIRE_64:
    case WIRE_32:
        length = rec->wire == WIRE_64 ? 8 : 4;
        if (length > left)
            return walk_fail(w, ST_bad_model, rec->start, "a number is cut off");
        *at += length;
        break;
    case WIRE_BYTES:
        if (!onnx_varint(at, end, &length))
            return walk_fail(w, ST_bad_model, rec->start, "a length is cut off or too long");
        if (length > (uint64_t)(end - *at))
            return walk_fail(w, ST_bad_model, rec->start,
                             "field %u says %llu bytes, but only %zu are left (truncated file?)",
                             rec->number, (unsigned long long)length, (size_t)(end - *at));
        rec->body = *at;
        *at += length;
        break;
    default:
        return walk_fail(w, ST_bad_model, rec->start, "wire type %u, which ONNX does not use: damaged, or no ONNX model",
                         rec->wire);
    }
    rec->end = *at;
    return true;
}

static uint32_t wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32: return WIRE_32;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64: return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_ENUM: break;
    }
    return WIRE_VARINT;
}

static bool check_text(Walk *w, const ProtobufCFieldDescriptor *field, const Record *rec)
{
    uint32_t code;
    for (const uint8_t *at = rec->body; at < rec->end;) {
        size_t length = utf8_read((const char *)at, (size_t)(rec->end - at), &code);
        if (!length || !code)
            return walk_fail(w, ST_bad_model, at, "field '%s' is not UTF-8 text", field->name);
        at += length;
    }
    return true;
}

/* Whether a packed record holds whole numbers, and how many. */
static bool count_packed(Walk *w, const ProtobufCFieldDescriptor *field, const Record *rec,
                         uint64_t *count)
{
    uint32_t wire = wire_of(field->type);
    size_t size = (size_t)(rec->end - rec->body), each = wire == WIRE_64 ? 8 : 4;
    if (wire != WIRE_VARINT) {
        *count = size / each;
        return size % each == 0 || walk_fail(w, ST_bad_model, rec->start,
                                             "field '%s' ends within a number", field->name);
    }
    uint64_t ignored;
    *count = 0;
    for (const uint8_t *at = rec->body; at < rec->end; ++*count)
        if (!onnx_varint(&at, rec->end, &ignored))
            return walk_fail(w, ST_bad_model, at, "a number in field '%s' is cut off or too long",
                             field->name);
    return true;
}

/* ---- tensor data ---- */

static bool is_payload(const ProtobufCMessageDescriptor *type, uint32_t number)
{
    if (type != &quern__onnx__tensor_proto__descriptor)
        return false;
    return number == 4 || number == 5 || number == 7 || number == RAW_DATA || number == 10 ||
           number == 11;
}

/* Records where the data is. Unpacked records that follow one another become one segment. */
static void cut(Walk *w, const Record *rec, uint32_t first, uint64_t count, bool tagged)
{
    const uint8_t *from = tagged ? rec->start : rec->body;
    uint64_t offset = (uint64_t)(from - w->source.data), length = (uint64_t)(rec->end - from);
    if (tagged && w->segment_count > first) {
        OnnxSegment *last = &w->segments[w->segment_count - 1];
        if (last->tagged && last->field == rec->number && last->offset + last->length == offset) {
            last->length += length;
            last->count += count;
            return;
        }
    }
    OnnxSegment segment = {offset, length, count, rec->number, tagged};
    VEC_PUSH(w->arena, w->segments, w->segment_count, w->segment_capacity, segment);
}

/* ---- messages ---- */

static bool walk_message(Walk *w, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                         const uint8_t *end);

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  uint32_t number)
{
    if (number >= FIRST_PRIVATE_FIELD)
        return NULL;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].id == number)
            return &type->fields[i];
    return NULL;
}

static bool walk_embedded(Walk *w, const ProtobufCFieldDescriptor *field, const Record *rec)
{
    if (w->depth >= WALK_MESSAGE_DEPTH)
        return walk_fail(w, ST_limit, rec->start,
                         "messages (subgraphs, types) are nested deeper than %d levels; split the "
                         "model into functions",
                         WALK_MESSAGE_DEPTH);
    uint8_t tag[8];
    if (!write_bytes(w, tag, put_varint(tag, rec->number << 3 | WIRE_BYTES)))
        return false;
    size_t length_at = w->size;
    if (!reserve(w, LENGTH_BYTES))
        return false;
    w->depth++;
    if (!walk_message(w, field->descriptor, rec->body, rec->end))
        return false;
    w->depth--;
    size_t length = w->size - length_at - LENGTH_BYTES;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        w->out[length_at + i] =
            (uint8_t)((length >> 7 * i & 0x7F) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
    return true;
}

static bool walk_field(Walk *w, const ProtobufCMessageDescriptor *type,
                       const ProtobufCFieldDescriptor *field, const Record *rec,
                       uint32_t first_segment)
{
    uint32_t wire = wire_of(field->type);
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool packed = repeated && wire != WIRE_BYTES && rec->wire == WIRE_BYTES;
    uint64_t count = 1;
    if (rec->wire != wire && !packed)
        return walk_fail(w, ST_bad_model, rec->start, "field '%s' of %s has wire type %u",
                         field->name, type->short_name, rec->wire);
    if (packed && !count_packed(w, field, rec, &count))
        return false;
    if (is_payload(type, rec->number)) {
        if (rec->number == RAW_DATA)
            count = (uint64_t)(rec->end - rec->body);
        cut(w, rec, first_segment, count, rec->wire != WIRE_BYTES);
        return true;
    }
    if (wire == WIRE_BYTES && ++w->items > WALK_ITEMS)
        return walk_fail(w, ST_limit, rec->start, "more than %d messages and strings", WALK_ITEMS);
    if (field->type == PROTOBUF_C_TYPE_STRING && !check_text(w, field, rec))
        return false;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return walk_embedded(w, field, rec);
    return write_record(w, rec);
}

static bool walk_message(Walk *w, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                         const uint8_t *end)
{
    uint32_t first_segment = w->segment_count;
    uint32_t seen = 0; /* single messages met: a second one would be merged into the first */
    bool is_tensor = type == &quern__onnx__tensor_proto__descriptor;
    while (at < end) {
        Record rec;
        if (!read_record(w, &at, end, &rec))
            return false;
        const ProtobufCFieldDescriptor *field = find_field(type, rec.number);
        if (!field)
            continue;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED) {
            uint32_t bit = 1u << (field - type->fields);
            if (seen & bit)
                return walk_fail(w, ST_bad_model, rec.start, "field '%s' of %s is given twice",
                                 field->name, type->short_name);
            seen |= bit;
        }
        if (!walk_field(w, type, field, &rec, first_segment))
            return false;
    }
    if (!is_tensor || w->segment_count == first_segment)
        return true;
    return write_varints(w, PAYLOAD_FIRST << 3, first_segment) &&
           write_varints(w, PAYLOAD_COUNT << 3, w->segment_count - first_segment);
}

bool onnx_walk(Cx *cx, Arena *arena, OnnxSource source, const ProtobufCMessageDescriptor *type,
               OnnxSkeleton *skeleton)
{
    Walk w = {.cx = cx, .arena = arena, .source = source, .depth = 1};
    if (source.size > WALK_FILE_BYTES)
        return walk_fail(&w, ST_limit, source.data,
                         "the file has %zu bytes, over the 2 GiB a protobuf may have; save the "
                         "weights as external data",
                         source.size);
    if (source.size && !walk_message(&w, type, source.data, source.data + source.size))
        return false;
    *skeleton = (OnnxSkeleton){source.data, w.out, w.size, w.segments, w.segment_count};
    return true;
}

/* ---- decoding ---- */

typedef struct DecodeArena {
    Arena *arena;
    bool refused;
} DecodeArena;

static void *decode_alloc(void *user, size_t size)
{
    DecodeArena *from = user;
    void *ptr = arena_try_alloc(from->arena, size);
    from->refused |= !ptr;
    return ptr;
}

static void decode_free(void *user, void *ptr)
{
    (void)user;
    (void)ptr;
}

ProtobufCMessage *onnx_decode(Cx *cx, Arena *arena, OnnxSource source,
                              const ProtobufCMessageDescriptor *type, const OnnxSkeleton *skeleton)
{
    DecodeArena from = {arena, false};
    ProtobufCAllocator allocator = {decode_alloc, decode_free, &from};
    static const uint8_t nothing[1];
    ProtobufCMessage *message = protobuf_c_message_unpack(
        type, &allocator, skeleton->size, skeleton->data ? skeleton->data : nothing);
    if (!message && from.refused)
        cx_fail(cx, ST_out_of_memory, "%s: out of memory while decoding", source.name);
    else if (!message)
        cx_fail(cx, ST_bad_model, "%s: not a valid %s", source.name, type->short_name);
    return message;
}
