/* The bounded walk over the protobuf wire format of an ONNX file, and the decoding of what it
 * keeps.
 *
 * A file is hostile input and may hold gigabytes of weights. The walk checks the form of everything
 * it keeps and writes a *skeleton*: the same messages without the numeric tensor data, which stays
 * in the file and is described by segments, and without fields that onnx.proto does not name.
 * protobuf-c decodes the skeleton.
 *
 *     file:      [model [graph [tensor dims raw_data#######] [node ...]]]
 *     skeleton:  [model [graph [tensor dims payload(0, 1)] [node ...]]]      segments[0] = {9,
 * offset of #, ...}
 */
#ifndef QUERN_FRONTEND_ONNX_WALK_H
#define QUERN_FRONTEND_ONNX_WALK_H

#include <protobuf-c/protobuf-c.h>

#include "base/cx.h"

enum {
    WALK_MESSAGE_DEPTH = 100, /* messages within messages; a subgraph is three, so 33 subgraphs */
    WALK_ITEMS = 1 << 23,     /* messages and strings in the skeleton */
    WALK_FILE_BYTES = INT32_MAX,     /* what protobuf allows for one message */
    WALK_SKELETON_BYTES = 512 << 20, /* weights do not count */
};

/* Numeric data of one TensorProto field, left where it is. Data of one field may come in several
 * segments. */
typedef struct OnnxSegment {
    uint64_t offset, length; /* bytes in the file */
    uint64_t count;          /* values in it; bytes for raw_data */
    uint32_t field;          /* number in TensorProto */
    uint32_t tagged; /* 1: the range holds unpacked records, each with its tag; 0: values only */
} OnnxSegment;

typedef struct OnnxSkeleton {
    const uint8_t *file; /* the walked bytes */
    uint8_t *data;
    size_t size;
    OnnxSegment *segments; /* TensorProto.payload_first and payload_count point in here */
    uint32_t segment_count;
} OnnxSkeleton;

typedef struct OnnxSource {
    const char *name; /* for messages */
    const uint8_t *data;
    size_t size;
} OnnxSource;

/* Walks `source` as a message of the given type. The skeleton is allocated in `arena`. False after
 * cx_fail. */
bool onnx_walk(Cx *cx, Arena *arena, OnnxSource source, const ProtobufCMessageDescriptor *type,
               OnnxSkeleton *skeleton);

/* Decodes a walked skeleton; the message lives in `arena`. Memory refused by the arena never jumps
 * through protobuf-c. NULL after cx_fail. */
ProtobufCMessage *onnx_decode(Cx *cx, Arena *arena, OnnxSource source,
                              const ProtobufCMessageDescriptor *type, const OnnxSkeleton *skeleton);

/* Reads a varint at *at, not past `end`; advances *at. False when it is cut off or longer than 64
 * bits. */
bool onnx_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

#endif
