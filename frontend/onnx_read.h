/* Inside of the model reader: what its files share. Importers include onnx_model.h. */
#ifndef QUERN_FRONTEND_ONNX_READ_H
#define QUERN_FRONTEND_ONNX_READ_H

#include "frontend/onnx.pb-c.h"
#include "frontend/onnx_model.h"
#include "frontend/onnx_walk.h"

typedef Quern__Onnx__ModelProto PbModel;
typedef Quern__Onnx__GraphProto PbGraph;
typedef Quern__Onnx__NodeProto PbNode;
typedef Quern__Onnx__AttributeProto PbAttr;
typedef Quern__Onnx__FunctionProto PbFunction;
typedef Quern__Onnx__TensorProto PbTensor;
typedef Quern__Onnx__SparseTensorProto PbSparse;
typedef Quern__Onnx__TypeProto PbType;
typedef Quern__Onnx__TensorShapeProto PbShape;
typedef Quern__Onnx__ValueInfoProto PbValueInfo;
typedef Quern__Onnx__OperatorSetIdProto PbOpset;

typedef struct External {
    const char *location; /* interned */
    OsMap *map;
} External;

/* One reading. The fields from `function` on say where it is, for messages. */
typedef struct Reader {
    Cx *cx;
    Arena *scratch; /* skeleton's decoded form; released when reading ends */
    OnnxSource source;
    OnnxSkeleton skeleton;
    const OsMap *map;     /* of the source, if it is a file */
    const char *base_dir; /* for external data; NULL = none allowed */
    OnnxNames *names;
    OnnxModel *model; /* NULL for a stand-alone value */
    const OsMap **maps;
    uint32_t map_count, map_capacity;
    External *externals;
    uint32_t external_count, external_capacity;
    const OnnxOpset *opsets; /* in force */
    uint32_t opset_count;
    const OnnxFunction *function; /* being read or checked; NULL in the main graph */
    const OnnxNode *node;
    const char *attr, *tensor;
} Reader;

/* cx_fail with "file: function 'f': node 'n' (Op): attribute 'a': tensor 't': " before the text. */
void onnx_fail(Reader *r, Status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* `text`, from the file, in a form to print. */
const char *onnx_show(Reader *r, const char *text);

/* onnx_model.c: starts a reading (walk and decode); NULL after cx_fail. */
ProtobufCMessage *onnx_read_begin(Reader *r, const ProtobufCMessageDescriptor *type);
void onnx_read_end(Reader *r);

OnnxGraph onnx_read_graph(Reader *r, const PbGraph *from);

/* onnx_attr.c */
OnnxValueInfo *onnx_read_infos(Reader *r, PbValueInfo *const *from, size_t count);
OnnxAttr *onnx_read_attrs(Reader *r, PbAttr *const *from, size_t count);

/* onnx_tensor.c */
OnnxTensor onnx_read_tensor(Reader *r, const PbTensor *from);
/* Dims to the arena, with the number of elements; false after onnx_fail. */
bool onnx_read_dims(Reader *r, const int64_t *dims, size_t rank, OnnxTensor *to);
Dtype onnx_read_dtype(Reader *r, int32_t number);
OnnxString *onnx_read_strings(Reader *r, const ProtobufCBinaryData *from, size_t count);

/* onnx_external.c: the bytes of a tensor stored outside; false after onnx_fail. */
bool onnx_read_external(Reader *r, const PbTensor *from, uint64_t bytes, OnnxTensor *to);

/* onnx_sparse.c */
OnnxTensor onnx_read_sparse(Reader *r, const PbSparse *from);

/* onnx_check.c: opsets of the model or a function; then everything that needs the whole model. */
OnnxOpset *onnx_read_opsets(Reader *r, PbOpset *const *from, size_t count);
void onnx_resolve(Reader *r, OnnxModel *model);
/* onnx_scope.c: definitions and uses of values, duplicates. */
void onnx_check_scopes(Reader *r, OnnxModel *model);

#endif
