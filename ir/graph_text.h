/* What printer and parser of graphs share: how attributes are written. */
#ifndef QUERN_IR_GRAPH_TEXT_H
#define QUERN_IR_GRAPH_TEXT_H

#include "ir/graph.h"

/* The kinds of attrs.def. */
typedef enum AttrKind {
    KIND_INT,
    KIND_DTYPE,
    KIND_FLOAT,
    KIND_INTS,
    KIND_DTYPES,
    KIND_EXPRS,
    KIND_NAME
} AttrKind;

typedef struct AttrRow {
    const char *name;
    AttrKind kind;
} AttrRow;
extern const AttrRow graph_attr_rows[AT_count];

/* Most entries of a list, and elements of a constant, that stand in a text. */
enum { GRAPH_MAX_LIST = 4096 };

#endif
