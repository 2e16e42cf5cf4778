/* Names while a text of a nest or a tile program is parsed: symbols, places, numbered values. */
#ifndef QUERN_IR_NAMES_H
#define QUERN_IR_NAMES_H

#include "ir/value.h"

/* One name of a text being parsed. Symbols (dims, axes, loop variables, coordinates, bound values)
 * and places (buffers, tiles) are separate name spaces. */
typedef struct Named {
    const char *name;
    const Expr *sym;      /* symbols: what the name stands for in expressions; NULL for places */
    int axis;             /* symbols: axis number for reduce, or -1 */
    const Buffer *buffer; /* places: exactly one of buffer, tile */
    struct Tile *tile;
    Dtype dtype; /* places */
    int rank;    /* places */
} Named;

/* The table of names of a text. Later entries hide nothing: a taken name is an error. A scope is
 * left by restoring `count`. */
typedef struct Names {
    Cx *cx;
    uint32_t count, cap;
    Named *items;
    uint32_t value_count, value_cap; /* values by the number in the text; NULL = not defined */
    Value **values;
} Names;

void names_init(Names *names, Cx *cx);
/* Adds an entry; fails through the scanner for a taken or reserved name. */
bool names_add(Names *names, Scan *scan, Named named);
bool names_add_sym(Names *names, Scan *scan, const char *name, const Expr *sym, int axis);
bool names_add_buffer(Names *names, Scan *scan, const Buffer *buffer);
const Named *names_find_sym(const Names *names, const char *name, size_t length);
const Named *names_find_place(const Names *names, const char *name, size_t length);
/* Defines %number. Fails through the scanner when it is defined already. */
bool names_set_value(Names *names, Scan *scan, uint32_t number, Value *value);
/* Parses %number and looks it up; NULL after a failure. */
Value *names_parse_value(Names *names, Scan *scan);
/* Parses %number alone; false after a failure. */
bool names_parse_number(Scan *scan, uint32_t *number);
/* An element type that can be computed with; DT_none after a failure. */
Dtype names_parse_dtype(Scan *scan);
/* Whether a name may be used for a symbol or place (an identifier that is no word of the text
 * forms). */
bool name_is_legal(const char *name);

/* An expression over the table's symbols (the canonical poison after a failure). */
const Expr *names_parse_expr(Names *names, Scan *scan);

#endif
