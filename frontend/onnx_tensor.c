/* Tensors: checks of type, shape and size, and where their elements are.
 *
 * A file may claim any shape, so the size that shape and type need is computed with overflow checks
 * and compared with what is really there before anything is allocated. raw_data, and packed
 * float_data and double_data, are already in the form we want and are used in place; the other
 * fields hold numbers of varying length, which are decoded into the arena (at most eight bytes for
 * each byte of the file). */
#include "frontend/onnx_read.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data is used as it lies in files");

enum {
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    INT64_DATA = 7,
    RAW_DATA = 9,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11
};

/* Numeric data of one tensor: the segments of one field. */
typedef struct Payload {
    const OnnxSegment *segments;
    uint32_t segment_count;
    uint32_t field;  /* 0 = no data */
    uint64_t values; /* bytes for raw_data */
} Payload;

static const char *field_name(uint32_t field)
{
    switch (field) {
    case FLOAT_DATA: return "float_data";
    case INT32_DATA: return "int32_data";
    case INT64_DATA: return "int64_data";
    case RAW_DATA: return "raw_data";
    case DOUBLE_DATA: return "double_data";
    case UINT64_DATA: return "uint64_data";
    default: return "no data";
    }
}

Dtype onnx_read_dtype(Reader *r, int32_t number)
{
    if (number > DT_none && number < DT_count)
        return (Dtype)number;
    if (number == DT_none)
        onnx_fail(r, ST_bad_model, "has no element type");
    else
        onnx_fail(r, ST_unsupported, "has the unknown element type %d; types 1 to %d are supported",
                  number, DT_count - 1);
    return DT_none;
}

bool onnx_read_dims(Reader *r, const int64_t *dims, size_t rank, OnnxTensor *to)
{
    if (rank > ONNX_RANK) {
        onnx_fail(r, ST_limit, "has %zu dims; at most %d are supported", rank, ONNX_RANK);
        return false;
    }
    int64_t count = 1;
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0) {
            onnx_fail(r, ST_bad_model, "dim %zu is negative (%lld)", i, (long long)dims[i]);
            return false;
        }
        if (dims[i] && count > INT64_MAX / dims[i]) {
            onnx_fail(r, ST_bad_model, "its dims overflow: more than 2^63 elements");
            return false;
        }
        count *= dims[i];
    }
    to->rank = (int)rank;
    to->dims = arena_copy(r->cx->arena, dims, rank * sizeof *dims);
    to->count = count;
    return true;
}

OnnxString *onnx_read_strings(Reader *r, const ProtobufCBinaryData *from, size_t count)
{
    OnnxString *strings = NEW_ARRAY(r->cx->arena, OnnxString, count);
    for (size_t i = 0; i < count; i++) {
        char *text = arena_alloc(r->cx->arena, from[i].len + 1);
        if (from[i].len)
            memcpy(text, from[i].data, from[i].len);
        strings[i] = (OnnxString){text, from[i].len};
    }
    return strings;
}

/* ---- numeric data ---- */

static bool find_payload(Reader *r, const PbTensor *from, Payload *payload)
{
    *payload = (Payload){0};
    if (!from->payload_count)
        return true;
    CHECK(from->payload_first <= r->skeleton.segment_count &&
          from->payload_count <= r->skeleton.segment_count - from->payload_first);
    const OnnxSegment *segments = r->skeleton.segments + from->payload_first;
    *payload = (Payload){segments, from->payload_count, segments[0].field, 0};
    for (uint32_t i = 0; i < from->payload_count; i++) {
        if (segments[i].field != payload->field) {
            onnx_fail(r, ST_bad_model, "holds both %s and %s", field_name(payload->field),
                      field_name(segments[i].field));
            return false;
        }
        payload->values += segments[i].count;
    }
    if (payload->field == RAW_DATA && from->payload_count > 1)
        onnx_fail(r, ST_bad_model, "holds raw_data twice");
    return !cx_failed(r->cx);
}

/* The field that holds elements of this type when raw_data does not. */
static uint32_t field_for(Dtype dtype)
{
    switch (dtype) {
    case DT_f32:
    case DT_c64: return FLOAT_DATA;
    case DT_f64:
    case DT_c128: return DOUBLE_DATA;
    case DT_i64: return INT64_DATA;
    case DT_u32:
    case DT_u64: return UINT64_DATA;
    case DT_none:
    case DT_string: return 0;
    case DT_u8:
    case DT_i8:
    case DT_u16:
    case DT_i16:
    case DT_i32:
    case DT_bool:
    case DT_f16:
    case DT_bf16:
    case DT_f8e4m3:
    case DT_f8e4m3fnuz:
    case DT_f8e5m2:
    case DT_f8e5m2fnuz:
    case DT_u4:
    case DT_i4:
    case DT_f4e2m1:
    case DT_e8m0:
    case DT_u2:
    case DT_i2:
    case DT_count: break;
    }
    return INT32_DATA;
}

/* Bytes that one value of the field gives: a value of int32_data holds one element, or one byte of
 * small ones. */
static size_t value_size(Dtype dtype)
{
    int bits = dtype_bits(dtype);
    if (dtype == DT_c64 || dtype == DT_c128)
        return (size_t)bits / 16;
    return bits < 8 ? 1 : (size_t)bits / 8;
}

/* Next number of a varint segment, at *at. The walk has seen that they are whole. */
static uint64_t next_number(const OnnxSegment *segment, const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    bool whole = !segment->tagged || onnx_varint(at, end, &value);
    CHECK(whole && onnx_varint(at, end, &value));
    return value;
}

static void copy_numbers(const OnnxSegment *segment, const uint8_t *at, size_t each, uint8_t **to)
{
    const uint8_t *end = at + segment->length;
    bool is_fixed = segment->field == FLOAT_DATA || segment->field == DOUBLE_DATA;
    if (is_fixed && !segment->tagged) {
        memcpy(*to, at, segment->length);
        *to += segment->length;
        return;
    }
    for (uint64_t i = 0; i < segment->count; i++, *to += each) {
        uint64_t value;
        if (is_fixed) {
            CHECK(onnx_varint(&at, end, &value) && (size_t)(end - at) >= each);
            memcpy(*to, at, each);
            at += each;
        } else {
            value = next_number(segment, &at, end);
            memcpy(*to, &value, each);
        }
    }
}

static void normalise_bools(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = data[i] != 0;
}

static void read_typed(Reader *r, const Payload *payload, OnnxTensor *to)
{
    uint32_t field = payload->field;
    size_t each = value_size(to->dtype), bytes = to->size;
    if (field != field_for(to->dtype)) {
        onnx_fail(r, ST_bad_model, "elements of type %s cannot be in %s", dtype_name(to->dtype),
                  field_name(field));
        return;
    }
    if (payload->values != bytes / each) {
        onnx_fail(r, ST_bad_model, "its shape and type need %zu values, but %s holds %llu",
                  bytes / each, field_name(field), (unsigned long long)payload->values);
        return;
    }
    const uint8_t *file = r->skeleton.file;
    const OnnxSegment *first = payload->segments;
    if (payload->segment_count == 1 && !first->tagged &&
        (field == FLOAT_DATA || field == DOUBLE_DATA)) {
        to->data = file + first->offset;
        to->map = r->map;
        return;
    }
    uint8_t *data = arena_alloc(r->cx->arena, bytes), *at = data;
    for (uint32_t i = 0; i < payload->segment_count; i++)
        copy_numbers(&payload->segments[i], file + payload->segments[i].offset, each, &at);
    if (to->dtype == DT_bool)
        normalise_bools(data, bytes);
    to->data = data;
}

static void read_numbers(Reader *r, const PbTensor *from, const Payload *payload, OnnxTensor *to)
{
    int64_t bytes = dtype_bytes(to->dtype, to->count);
    if (bytes < 0 || (uint64_t)bytes > SIZE_MAX / 2) {
        onnx_fail(r, ST_bad_model, "its size overflows");
        return;
    }
    to->size = (size_t)bytes;
    if (from->n_string_data)
        onnx_fail(r, ST_bad_model, "elements of type %s cannot be in string_data",
                  dtype_name(to->dtype));
    else if (from->has_data_location && from->data_location == 1)
        onnx_read_external(r, from, (uint64_t)bytes, to);
    else if (payload->field && payload->field != RAW_DATA)
        read_typed(r, payload, to);
    else if (payload->values != to->size)
        onnx_fail(r, ST_bad_model,
                  "its shape and type need %zu bytes, but %s of %llu bytes is there", to->size,
                  field_name(payload->field), (unsigned long long)payload->values);
    else if (to->size) {
        to->data = r->skeleton.file + payload->segments[0].offset;
        to->map = r->map;
    }
}

static void read_texts(Reader *r, const PbTensor *from, const Payload *payload, OnnxTensor *to)
{
    if (from->has_data_location && from->data_location == 1)
        onnx_fail(r, ST_bad_model, "strings cannot be external data");
    else if (payload->field)
        onnx_fail(r, ST_bad_model, "strings cannot be in %s", field_name(payload->field));
    else if ((uint64_t)to->count != from->n_string_data)
        onnx_fail(r, ST_bad_model, "its shape needs %lld strings, but %zu are there",
                  (long long)to->count, from->n_string_data);
    else
        to->strings = onnx_read_strings(r, from->string_data, from->n_string_data);
}

OnnxTensor onnx_read_tensor(Reader *r, const PbTensor *from)
{
    OnnxTensor to = {.name = onnx_name(r->names, from->name)};
    Payload payload;
    r->tensor = to.name;
    to.dtype = onnx_read_dtype(r, from->data_type);
    if (from->has_segment)
        onnx_fail(r, ST_unsupported, "is stored in segments, which nothing supports");
    else if (from->has_data_location && (from->data_location < 0 || from->data_location > 1))
        onnx_fail(r, ST_bad_model, "has the unknown data_location %d", from->data_location);
    if (!cx_failed(r->cx) && onnx_read_dims(r, from->dims, from->n_dims, &to) &&
        find_payload(r, from, &payload)) {
        bool external = from->has_data_location && from->data_location == 1;
        if (external && (payload.field || from->n_string_data))
            onnx_fail(r, ST_bad_model, "is external, but also holds data itself");
        else if (to.dtype == DT_string)
            read_texts(r, from, &payload, &to);
        else
            read_numbers(r, from, &payload, &to);
    }
    r->tensor = NULL;
    return to;
}
