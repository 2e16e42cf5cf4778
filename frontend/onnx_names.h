/* Interned names of one model. Equal names are one pointer, and every name has a small dense
 * number, so that importers and checks keep what they know of a value in a plain array indexed by
 * onnx_name_id. */
#ifndef QUERN_FRONTEND_ONNX_NAMES_H
#define QUERN_FRONTEND_ONNX_NAMES_H

#include "base/arena.h"

typedef struct OnnxNames OnnxNames;

OnnxNames *onnx_names_new(Arena *arena);
/* The interned form; NULL counts as "". The text must not hold NUL. Lives as long as the arena. */
const char *onnx_name(OnnxNames *names, const char *text);
/* Number of an interned name (of no other string!): 0 for "", then 1, 2, ... in the order of
 * interning. */
uint32_t onnx_name_id(const char *interned);
/* How many there are: ids are below this. */
uint32_t onnx_names_count(const OnnxNames *names);

#endif
