/* An ONNX model, read and checked: what the importers work on. No protobuf type appears here.
 *
 * Everything lives in the arena of the Cx it was read with, and is constant after reading. Names
 * (`const char *` unless said otherwise) are interned in model->names: compare pointers, index
 * arrays with onnx_name_id. A name that is absent is "", never NULL; as a node's input or output ""
 * means an omitted optional one. The domain "ai.onnx" is spelled "".
 *
 * Weights are not copied: a tensor's data points into the mapped file (or into the caller's
 * memory), where nothing is aligned, until cx_finish. Files below OS_COPY_BELOW are read instead of
 * mapped; os_file.h says what happens to a mapped file that shrinks: call onnx_model_check before
 * reading the weights.
 *
 * What has been checked when a model is returned: the form of the file; sizes and offsets of
 * tensors; external files (beneath the model's directory, no links); IR version and opset imports;
 * every value is defined once, before its use, in sight; types of attributes; calls of functions
 * are acyclic and their expansion is bounded. What has not: whether an operator exists in its
 * opset, its number of inputs, its attributes and types. */
#ifndef QUERN_FRONTEND_ONNX_MODEL_H
#define QUERN_FRONTEND_ONNX_MODEL_H

#include "base/cx.h"
#include "base/dtype.h"
#include "base/os_file.h"
#include "frontend/onnx_names.h"

enum {
    ONNX_IR_NEWEST = 14,
    ONNX_OPSET_NEWEST = 28, /* of ai.onnx; others in onnx_check.c */
    ONNX_RANK = 64,         /* dims of a tensor or a type */
    ONNX_OPSETS = 1000,     /* opset imports of a model or function */
    ONNX_ATTRIBUTES = 1000, /* of one node */
    ONNX_FUNCTIONS = 10000,
    ONNX_CALL_DEPTH = 100,          /* functions that call functions */
    ONNX_EXPANDED_NODES = 1 << 22,  /* once all functions are inlined */
    ONNX_DENSIFIED_BYTES = 1 << 28, /* of one sparse tensor made dense */
};

typedef struct OnnxFunction OnnxFunction;
typedef struct OnnxGraph OnnxGraph;
typedef struct OnnxType OnnxType;

/* Bytes, not interned, a NUL behind them; may hold NULs. */
typedef struct OnnxString {
    const char *data;
    size_t length;
} OnnxString;

/* A constant. Packed little-endian elements; 4-bit types two and 2-bit types four to a byte, low
 * bits first. A bool is false when its byte is 0. Data and strings are NULL when there is no
 * element. */
typedef struct OnnxTensor {
    const char *name;
    Dtype dtype;
    int rank;
    const int64_t *dims;
    int64_t count;             /* elements */
    const void *data;          /* unaligned; NULL for strings */
    size_t size;               /* bytes of `data` */
    const OnnxString *strings; /* `count` of them, for DT_string */
    const OsMap *map;          /* the file that `data` lies in, if any: identity and offset */
} OnnxTensor;

/* A dimension in a type: a number >= 0; or value -1 and a symbol ("" = unknown). */
typedef struct OnnxDim {
    int64_t value;
    const char *symbol;
} OnnxDim;

typedef enum OnnxKind {
    OK_none, /* no type given */
    OK_tensor,
    OK_sparse,
    OK_sequence,
    OK_map,
    OK_optional,
    OK_opaque
} OnnxKind;

struct OnnxType {
    OnnxKind kind;
    Dtype dtype;         /* element type of a tensor, key type of a map; DT_none = unknown */
    int rank;            /* of a tensor; -1 = unknown */
    const OnnxDim *dims; /* `rank` of them */
    const OnnxType *of;  /* element of a sequence or optional, value of a map; NULL = unknown */
};

typedef struct OnnxValueInfo {
    const char *name;
    OnnxType type;
    const OnnxTensor *initial; /* a graph input's default: the initializer of that name, or NULL */
} OnnxValueInfo;

/* Numbers are ONNX's. */
typedef enum OnnxAttrType {
    OA_none = 0,
    OA_float = 1,
    OA_int = 2,
    OA_string = 3,
    OA_tensor = 4,
    OA_graph = 5,
    OA_floats = 6,
    OA_ints = 7,
    OA_strings = 8,
    OA_tensors = 9,
    OA_graphs = 10,
    OA_sparse = 11,
    OA_sparses = 12,
    OA_type = 13,
    OA_types = 14
} OnnxAttrType;

const char *onnx_attr_type_name(OnnxAttrType type);

/* Single values are lists of one: attr->ints[0], attr->tensors[0]. Sparse tensors are made dense,
 * in `tensors`. */
typedef struct OnnxAttr {
    const char *name;
    const char *ref; /* in functions: take the value of this attribute of the call; then there is
                        none here */
    OnnxAttrType type;
    uint32_t count;
    union {
        const float *floats;
        const int64_t *ints;
        const OnnxString *strings;
        const OnnxTensor *tensors;
        const OnnxGraph *const *graphs;
        const OnnxType *types;
    };
} OnnxAttr;

typedef struct OnnxNode {
    const char *name, *op, *domain, *overload;
    const char **inputs, **outputs;
    uint32_t input_count, output_count;
    const OnnxAttr *attrs;
    uint32_t attr_count;
    uint32_t index; /* in its graph */
    int64_t opset;  /* version imported for `domain`, by the model or the function around */
    const OnnxFunction *function; /* the model's function this node calls, else NULL: an operator */
} OnnxNode;

struct OnnxGraph {
    const char *name;
    OnnxNode *nodes; /* in topological order */
    OnnxValueInfo *inputs, *outputs, *infos;
    OnnxTensor *inits; /* initializers, sparse ones made dense behind the others */
    uint32_t node_count, input_count, output_count, info_count, init_count;
};

typedef struct OnnxOpset {
    const char *domain;
    int64_t version;
} OnnxOpset;

/* A function of the model. Its nodes carry the opset versions that it imports, not the model's. */
struct OnnxFunction {
    const char *name, *domain, *overload;
    OnnxGraph body;     /* inputs and outputs have no types; no initializers */
    const char **attrs; /* attributes without a default: names */
    OnnxAttr *defaults; /* attributes with one */
    OnnxOpset *opsets;
    uint32_t attr_count, default_count, opset_count;
    uint32_t height;             /* 1 + that of the highest function it calls */
    uint64_t expanded;           /* nodes once everything is inlined */
    const OnnxFunction *sibling; /* next with the same name */
};

typedef struct OnnxModel {
    const char *file; /* as given; for messages */
    OnnxNames *names;
    int64_t ir_version, model_version;
    const char *producer, *producer_version, *domain, *doc;
    OnnxGraph graph;
    OnnxOpset *opsets;
    OnnxFunction *functions;
    const char **metadata; /* key, value, key, value ... */
    uint32_t opset_count, function_count, metadata_count;
    uint64_t expanded;        /* nodes once functions are inlined, subgraphs included */
    const uint8_t *skeleton;  /* the file's messages without numeric tensor data: what identifies */
    size_t skeleton_size;     /* the model apart from its weights */
    const OsMap *const *maps; /* files in use: the model, then external data */
    uint32_t map_count;
} OnnxModel;

/* NULL after cx_fail. To be called inside cx_run. */
const OnnxModel *onnx_model_open(Cx *cx, const char *path);
/* `data` must stay until cx_finish. External data is looked for beneath `base_dir`; NULL refuses
 * it. */
const OnnxModel *onnx_model_from_memory(Cx *cx, const void *data, size_t size,
                                        const char *base_dir);
/* Fails when a mapped file has become shorter since. */
bool onnx_model_check(Cx *cx, const OnnxModel *model);

/* NULL when the node has no such attribute. `name` need not be interned. */
const OnnxAttr *onnx_attr_find(const OnnxNode *node, const char *name);
/* "node 'fc1' (MatMul)" or "node #7 (com.acme.Op)", made printable, for messages. */
const char *onnx_node_text(Arena *arena, const OnnxNode *node);
/* Any text from a model in printable form: control characters replaced, at most 80 bytes. */
const char *onnx_printable(Arena *arena, const char *text);

/* A value outside a model: a TensorProto, SequenceProto, OptionalProto or MapProto file, as test
 * data has them. */
typedef struct OnnxValue OnnxValue;
struct OnnxValue {
    OnnxKind kind; /* tensor, sequence, optional, map; OK_none only as an item: an absent value */
    const char *name;
    OnnxTensor tensor;
    uint32_t count; /* items: of a sequence; 0 or 1 of an optional; values of a map */
    const OnnxValue *items;
    Dtype key; /* a map's keys: DT_string in `key_strings`, an integer type in `key_ints` */
    const int64_t *key_ints;
    const OnnxString *key_strings;
};

/* `kind` says which message it is, since the bytes do not: take it from the type of the graph's
 * input or output. `name` is for messages. `data` must stay until cx_finish. NULL after cx_fail. */
const OnnxValue *onnx_value_from_memory(Cx *cx, const char *name, const void *data, size_t size,
                                        OnnxKind kind);

#endif
