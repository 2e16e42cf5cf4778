/* Values outside a model: the .pb files of test data. External data is refused: such a file has no
 * folder. */
#include "frontend/onnx_read.h"

typedef Quern__Onnx__SequenceProto PbSequence;
typedef Quern__Onnx__OptionalProto PbOptional;
typedef Quern__Onnx__MapProto PbMap;

/* SequenceProto.elem_type */
enum { OF_nothing, OF_tensor, OF_sparse, OF_sequence, OF_map, OF_optional };

static OnnxValue read_sequence(Reader *r, const PbSequence *from);
static OnnxValue read_optional(Reader *r, const PbOptional *from);

static OnnxValue tensor_value(OnnxTensor tensor)
{
    return (OnnxValue){.kind = OK_tensor, .name = tensor.name, .tensor = tensor};
}

static OnnxValue read_map(Reader *r, const PbMap *from)
{
    Arena *arena = r->cx->arena;
    OnnxValue map = {.kind = OK_map, .name = onnx_name(r->names, from->name)};
    size_t keys = from->n_keys + from->n_string_keys;
    map.key = onnx_read_dtype(r, from->key_type);
    bool is_text = map.key == DT_string;
    if (!is_text && !(dtype_is_int(map.key) && dtype_bits(map.key) >= 8))
        onnx_fail(r, ST_bad_model, "the keys of a map must be integers or strings");
    else if (is_text ? from->n_keys : from->n_string_keys)
        onnx_fail(r, ST_bad_model, "the keys of a map are not of the type it states");
    if (cx_failed(r->cx))
        return map;
    if (is_text)
        map.key_strings = onnx_read_strings(r, from->string_keys, keys);
    else
        map.key_ints = arena_copy(arena, from->keys, keys * sizeof *from->keys);
    if (from->values) {
        OnnxValue values = read_sequence(r, from->values);
        map.count = values.count;
        map.items = values.items;
    }
    if (map.count != keys)
        onnx_fail(r, ST_bad_model, "a map has %zu keys but %u values", keys, map.count);
    return map;
}

static OnnxValue read_item(Reader *r, const PbSequence *from, size_t i)
{
    switch (from->elem_type) {
    case OF_tensor: return tensor_value(onnx_read_tensor(r, from->tensor_values[i]));
    case OF_sparse: return tensor_value(onnx_read_sparse(r, from->sparse_tensor_values[i]));
    case OF_sequence: return read_sequence(r, from->sequence_values[i]);
    case OF_map: return read_map(r, from->map_values[i]);
    default: return read_optional(r, from->optional_values[i]);
    }
}

static OnnxValue read_sequence(Reader *r, const PbSequence *from)
{
    OnnxValue value = {.kind = OK_sequence, .name = onnx_name(r->names, from->name)};
    const size_t counts[] = {0,
                             from->n_tensor_values,
                             from->n_sparse_tensor_values,
                             from->n_sequence_values,
                             from->n_map_values,
                             from->n_optional_values};
    size_t count = 0, total = 0;
    for (int i = OF_nothing; i <= OF_optional; i++) {
        total += counts[i];
        if (from->elem_type == i)
            count = counts[i];
    }
    if (from->elem_type < 0 || from->elem_type > OF_optional)
        onnx_fail(r, ST_unsupported, "a sequence has the unknown element type %d", from->elem_type);
    else if (count != total)
        onnx_fail(r, ST_bad_model, "a sequence holds values that are not of the type it states");
    if (cx_failed(r->cx))
        return value;
    OnnxValue *items = NEW_ARRAY(r->cx->arena, OnnxValue, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++)
        items[i] = read_item(r, from, i);
    value.count = (uint32_t)count;
    value.items = items;
    return value;
}

static OnnxValue read_optional(Reader *r, const PbOptional *from)
{
    OnnxValue value = {.kind = OK_optional, .name = onnx_name(r->names, from->name)};
    OnnxValue *item = NEW(r->cx->arena, OnnxValue);
    const bool present[] = {
        false,           from->tensor_value,  from->sparse_tensor_value, from->sequence_value,
        from->map_value, from->optional_value};
    int held = OF_nothing;
    for (int i = OF_tensor; i <= OF_optional; i++) {
        if (present[i] && held)
            onnx_fail(r, ST_bad_model, "an optional holds more than one value");
        if (present[i])
            held = i;
    }
    if (held && from->elem_type != held)
        onnx_fail(r, ST_bad_model, "an optional holds a value that is not of the type it states");
    if (!held || cx_failed(r->cx))
        return value;
    if (from->tensor_value)
        *item = tensor_value(onnx_read_tensor(r, from->tensor_value));
    else if (from->sparse_tensor_value)
        *item = tensor_value(onnx_read_sparse(r, from->sparse_tensor_value));
    else if (from->sequence_value)
        *item = read_sequence(r, from->sequence_value);
    else if (from->map_value)
        *item = read_map(r, from->map_value);
    else
        *item = read_optional(r, from->optional_value);
    value.count = 1;
    value.items = item;
    return value;
}

static const ProtobufCMessageDescriptor *message_type(OnnxKind kind)
{
    switch (kind) {
    case OK_tensor: return &quern__onnx__tensor_proto__descriptor;
    case OK_sparse: return &quern__onnx__sparse_tensor_proto__descriptor;
    case OK_sequence: return &quern__onnx__sequence_proto__descriptor;
    case OK_map: return &quern__onnx__map_proto__descriptor;
    case OK_optional: return &quern__onnx__optional_proto__descriptor;
    case OK_none:
    case OK_opaque: break;
    }
    return NULL;
}

const OnnxValue *onnx_value_from_memory(Cx *cx, const char *name, const void *data, size_t size,
                                        OnnxKind kind)
{
    Reader r = {.cx = cx, .source = {name, data, size}};
    const ProtobufCMessageDescriptor *type = message_type(kind);
    if (!type) {
        cx_fail(cx, ST_unsupported, "%s: values of this kind have no file form", name);
        return NULL;
    }
    OnnxValue *value = NEW(cx->arena, OnnxValue);
    r.names = onnx_names_new(cx->arena);
    const ProtobufCMessage *message = onnx_read_begin(&r, type);
    if (message && kind == OK_tensor)
        *value = tensor_value(onnx_read_tensor(&r, (const PbTensor *)message));
    else if (message && kind == OK_sparse)
        *value = tensor_value(onnx_read_sparse(&r, (const PbSparse *)message));
    else if (message && kind == OK_sequence)
        *value = read_sequence(&r, (const PbSequence *)message);
    else if (message && kind == OK_map)
        *value = read_map(&r, (const PbMap *)message);
    else if (message)
        *value = read_optional(&r, (const PbOptional *)message);
    onnx_read_end(&r);
    return cx_failed(cx) ? NULL : value;
}
