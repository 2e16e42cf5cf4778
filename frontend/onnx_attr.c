/* Types and attributes of a model. Types of attributes are checked against the values present;
 * writers may leave out a value that is the default (0 or ""). Dense tensors come from
 * onnx_tensor.c, sparse ones from onnx_sparse.c. */
#include "frontend/onnx_read.h"

#include <string.h>

/* ---- types ---- */

static bool read_shape(Reader *r, const PbShape *from, OnnxType *to)
{
    to->rank = -1;
    if (!from)
        return true;
    if (from->n_dim > ONNX_RANK) {
        onnx_fail(r, ST_limit, "a type has %zu dims; at most %d are supported", from->n_dim,
                  ONNX_RANK);
        return false;
    }
    OnnxDim *dims = NEW_ARRAY(r->cx->arena, OnnxDim, from->n_dim);
    for (size_t i = 0; i < from->n_dim; i++) {
        const Quern__Onnx__TensorShapeProto__Dimension *dim = from->dim[i];
        dims[i] = (OnnxDim){-1, onnx_name(r->names, NULL)};
        /* Some exporters write "?" or -1 where nothing is known. */
        if (dim->value_case == QUERN__ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
            strcmp(dim->dim_param, "?") != 0)
            dims[i].symbol = onnx_name(r->names, dim->dim_param);
        else if (dim->value_case == QUERN__ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
                 dim->dim_value >= 0)
            dims[i].value = dim->dim_value;
    }
    to->dims = dims;
    to->rank = (int)from->n_dim;
    return true;
}

static OnnxType read_type(Reader *r, const PbType *from);

static const OnnxType *read_inner_type(Reader *r, const PbType *from)
{
    if (!from)
        return NULL;
    OnnxType *type = NEW(r->cx->arena, OnnxType);
    *type = read_type(r, from);
    return type;
}

static OnnxType read_map_type(Reader *r, const Quern__Onnx__TypeProto__Map *from)
{
    OnnxType type = {.kind = OK_map, .rank = -1};
    type.dtype = onnx_read_dtype(r, from->key_type);
    if (type.dtype != DT_string && !(dtype_is_int(type.dtype) && dtype_bits(type.dtype) >= 8))
        onnx_fail(r, ST_bad_model, "the keys of a map must be integers or strings, not %s",
                  dtype_name(type.dtype));
    type.of = read_inner_type(r, from->value_type);
    return type;
}

static OnnxType read_type(Reader *r, const PbType *from)
{
    OnnxType type = {.rank = -1};
    if (!from)
        return type;
    switch (from->value_case) {
    case QUERN__ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
        type.kind = OK_tensor;
        if (from->tensor_type->elem_type)
            type.dtype = onnx_read_dtype(r, from->tensor_type->elem_type);
        read_shape(r, from->tensor_type->shape, &type);
        break;
    case QUERN__ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
        type.kind = OK_sparse;
        if (from->sparse_tensor_type->elem_type)
            type.dtype = onnx_read_dtype(r, from->sparse_tensor_type->elem_type);
        read_shape(r, from->sparse_tensor_type->shape, &type);
        break;
    case QUERN__ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        type.kind = OK_sequence;
        type.of = read_inner_type(r, from->sequence_type->elem_type);
        break;
    case QUERN__ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        type.kind = OK_optional;
        type.of = read_inner_type(r, from->optional_type->elem_type);
        break;
    case QUERN__ONNX__TYPE_PROTO__VALUE_MAP_TYPE: return read_map_type(r, from->map_type);
    case QUERN__ONNX__TYPE_PROTO__VALUE_OPAQUE_TYPE: type.kind = OK_opaque; break;
    case QUERN__ONNX__TYPE_PROTO__VALUE__NOT_SET:
    case _QUERN__ONNX__TYPE_PROTO__VALUE__CASE_IS_INT_SIZE: break;
    }
    return type;
}

OnnxValueInfo *onnx_read_infos(Reader *r, PbValueInfo *const *from, size_t count)
{
    OnnxValueInfo *infos = NEW_ARRAY(r->cx->arena, OnnxValueInfo, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++) {
        infos[i].name = r->tensor = onnx_name(r->names, from[i]->name);
        infos[i].type = read_type(r, from[i]->type);
    }
    r->tensor = NULL;
    return infos;
}

/* ---- attributes ---- */

const char *onnx_attr_type_name(OnnxAttrType type)
{
    static const char *const names[] = {"none",           "float",   "int",    "string",
                                        "tensor",         "graph",   "floats", "ints",
                                        "strings",        "tensors", "graphs", "sparse tensor",
                                        "sparse tensors", "type",    "types"};
    return (unsigned)type < sizeof names / sizeof *names ? names[type] : "unknown";
}

/* The type that the values present imply; `*fields` counts kinds of value. */
static OnnxAttrType present_type(const PbAttr *from, int *fields)
{
    const bool present[] = {[OA_float] = from->has_f,
                            [OA_int] = from->has_i,
                            [OA_string] = from->has_s,
                            [OA_tensor] = from->t,
                            [OA_graph] = from->g,
                            [OA_floats] = from->n_floats,
                            [OA_ints] = from->n_ints,
                            [OA_strings] = from->n_strings,
                            [OA_tensors] = from->n_tensors,
                            [OA_graphs] = from->n_graphs,
                            [OA_sparse] = from->sparse_tensor,
                            [OA_sparses] = from->n_sparse_tensors,
                            [OA_type] = from->tp,
                            [OA_types] = from->n_type_protos};
    OnnxAttrType type = OA_none;
    *fields = 0;
    for (int i = OA_float; i <= OA_types; i++) {
        if (present[i]) {
            type = (OnnxAttrType)i;
            ++*fields;
        }
    }
    return type;
}

static OnnxTensor *read_tensors(Reader *r, PbTensor *const *from, size_t count)
{
    OnnxTensor *tensors = NEW_ARRAY(r->cx->arena, OnnxTensor, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++)
        tensors[i] = onnx_read_tensor(r, from[i]);
    return tensors;
}

static OnnxTensor *read_sparses(Reader *r, PbSparse *const *from, size_t count)
{
    OnnxTensor *tensors = NEW_ARRAY(r->cx->arena, OnnxTensor, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++)
        tensors[i] = onnx_read_sparse(r, from[i]);
    return tensors;
}

static const OnnxGraph *const *read_graphs(Reader *r, PbGraph *const *from, size_t count)
{
    const OnnxGraph **graphs = NEW_ARRAY(r->cx->arena, const OnnxGraph *, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++) {
        OnnxGraph *graph = NEW(r->cx->arena, OnnxGraph);
        const OnnxNode *node = r->node;
        const char *attr = r->attr;
        r->attr = NULL;
        *graph = onnx_read_graph(r, from[i]);
        r->node = node;
        r->attr = attr;
        graphs[i] = graph;
    }
    return graphs;
}

static OnnxType *read_types(Reader *r, PbType *const *from, size_t count)
{
    OnnxType *types = NEW_ARRAY(r->cx->arena, OnnxType, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++)
        types[i] = read_type(r, from[i]);
    return types;
}

/* An absent number or string is 0 or "": writers may leave out what is the default. */
static void read_values(Reader *r, const PbAttr *from, OnnxAttr *to)
{
    Arena *arena = r->cx->arena;
    to->count = 1;
    switch (to->type) {
    case OA_float: to->floats = arena_copy(arena, &from->f, sizeof from->f); return;
    case OA_int: to->ints = arena_copy(arena, &from->i, sizeof from->i); return;
    case OA_string: to->strings = onnx_read_strings(r, &from->s, 1); return;
    case OA_tensor: to->tensors = from->t ? read_tensors(r, &from->t, 1) : NULL; break;
    case OA_graph: to->graphs = from->g ? read_graphs(r, &from->g, 1) : NULL; break;
    case OA_sparse:
        to->tensors = from->sparse_tensor ? read_sparses(r, &from->sparse_tensor, 1) : NULL;
        break;
    case OA_type: to->types = from->tp ? read_types(r, &from->tp, 1) : NULL; break;
    case OA_floats:
        to->count = (uint32_t)from->n_floats;
        to->floats = arena_copy(arena, from->floats, from->n_floats * sizeof *from->floats);
        return;
    case OA_ints:
        to->count = (uint32_t)from->n_ints;
        to->ints = arena_copy(arena, from->ints, from->n_ints * sizeof *from->ints);
        return;
    case OA_strings:
        to->count = (uint32_t)from->n_strings;
        to->strings = onnx_read_strings(r, from->strings, from->n_strings);
        return;
    case OA_tensors:
        to->count = (uint32_t)from->n_tensors;
        to->tensors = read_tensors(r, from->tensors, from->n_tensors);
        return;
    case OA_graphs:
        to->count = (uint32_t)from->n_graphs;
        to->graphs = read_graphs(r, from->graphs, from->n_graphs);
        return;
    case OA_sparses:
        to->count = (uint32_t)from->n_sparse_tensors;
        to->tensors = read_sparses(r, from->sparse_tensors, from->n_sparse_tensors);
        return;
    case OA_types:
        to->count = (uint32_t)from->n_type_protos;
        to->types = read_types(r, from->type_protos, from->n_type_protos);
        return;
    case OA_none: break;
    }
    if (!to->tensors)
        onnx_fail(r, ST_bad_model, "has no value of its type (%s)", onnx_attr_type_name(to->type));
}

static OnnxAttr read_attr(Reader *r, const PbAttr *from)
{
    OnnxAttr attr = {.name = onnx_name(r->names, from->name),
                     .ref = onnx_name(r->names, from->ref_attr_name)};
    r->attr = attr.name;
    int fields;
    OnnxAttrType present = present_type(from, &fields);
    if (!attr.name[0])
        onnx_fail(r, ST_bad_model, "an attribute has no name");
    else if (from->type < 0 || from->type > OA_types)
        onnx_fail(r, ST_unsupported, "has the unknown attribute type %d", from->type);
    else if (fields > (attr.ref[0] ? 0 : 1))
        onnx_fail(r, ST_bad_model, "has more than one value");
    else if (attr.ref[0] && !r->function)
        onnx_fail(r, ST_bad_model, "refers to attribute '%s', which only nodes in functions may",
                  onnx_show(r, attr.ref));
    else if (!from->type && (r->model->ir_version > 1 || !fields))
        onnx_fail(r, ST_bad_model, "has no type");
    else if (from->type && fields && (OnnxAttrType)from->type != present)
        onnx_fail(r, ST_bad_model, "is said to be of type %s but holds %s",
                  onnx_attr_type_name((OnnxAttrType)from->type), onnx_attr_type_name(present));
    else {
        attr.type = from->type ? (OnnxAttrType)from->type : present;
        if (!attr.ref[0])
            read_values(r, from, &attr);
    }
    r->attr = NULL;
    return attr;
}

OnnxAttr *onnx_read_attrs(Reader *r, PbAttr *const *from, size_t count)
{
    if (count > ONNX_ATTRIBUTES) {
        onnx_fail(r, ST_limit, "has %zu attributes; at most %d are supported", count,
                  ONNX_ATTRIBUTES);
        return NULL;
    }
    OnnxAttr *attrs = NEW_ARRAY(r->cx->arena, OnnxAttr, count);
    for (size_t i = 0; i < count && !cx_failed(r->cx); i++)
        attrs[i] = read_attr(r, from[i]);
    return attrs;
}

const OnnxAttr *onnx_attr_find(const OnnxNode *node, const char *name)
{
    for (uint32_t i = 0; i < node->attr_count; i++)
        if (!strcmp(node->attrs[i].name, name))
            return &node->attrs[i];
    return NULL;
}
