/* Printing and parsing of what nests and tile programs share: dims, buffers, accesses, values.
 *
 * Forms (nest.h has an example):
 *   dim N 1..512 mult 8
 *   equal 2*N, M + 1
 *   in x f32 [N, 56] strides [64, 1] offset 8 align 64        roles: in, out, const, scratch
 *   x[n, 2*h + 1] if 0 <= 2*h + 1 < 56, 0 <= n < N else 0     access, guards, fill
 *   %0 = load x[n, h] if 0 <= h < 56 else 0
 *   %1 = const f32 0            %2 = index i64 2*h            %3 = mul f32 %0, %1      %4 = cast
 * f16 %3 %5 = bind idx %4 in 0..N - 1 wrap     %6 = reduce sum f32 (k, c) %3     %7 = tile t[i, 0]
 *
 * The type after an operation is Value.dtype. Integer constants are signed decimal (u64: the bits),
 * bools 0 or 1. Printers do not end lines. Parsers report through the scanner and return false or
 * NULL; text is hostile. */
#ifndef QUERN_IR_VALUE_TEXT_H
#define QUERN_IR_VALUE_TEXT_H

#include "ir/names.h"

/* How printers find names that are not in the values themselves. */
typedef struct ValueNames {
    const void *user;
    const char *(*axis_name)(const void *user, int number);              /* nests */
    const char *(*tile_name)(const void *user, const struct Tile *tile); /* tile programs */
} ValueNames;

void scalar_print(Text *text, Dtype dtype, Scalar value);
Scalar scalar_parse(Scan *scan, Dtype dtype);

void dim_print(Text *text, const Expr *dim); /* dim N 1..64 mult 8 */
/* After "dim": makes the symbol and adds it to the names. NULL after a failure. */
const Expr *dim_parse(Scan *scan, Names *names);

void equal_print(Text *text, DimsEqual equal); /* equal 2*N, M + 1 */
bool equal_parse(Scan *scan, Names *names, DimsEqual *equal); /* after "equal" */

bool role_find(const Scan *scan,
               BufferRole *role); /* whether the current token is a role word; consumes nothing */
void buffer_print(Text *text, Cx *cx, const Buffer *buffer); /* with its role word */
/* At the role word: makes the buffer (index 0) and adds it to the names. NULL after a failure. */
Buffer *buffer_parse(Scan *scan, Names *names);
/* The row-major strides of a shape, and the least alignment of a type in bytes. */
const Expr **buffer_row_major(Cx *cx, int rank, const Expr *const *shape);
int buffer_min_align(Dtype dtype);

void access_print(Text *text, const Access *access, const ValueNames *names); /* x[n, h] */
void access_print_guards(Text *text, const Access *access); /* " if ..." or nothing */
/* x[n, h]: checks the rank. NULL after a failure. */
Access *access_parse(Scan *scan, Names *names);
/* Optional "if lo <= e < hi, ..."; with `fill` also "else FILL" when there are guards. */
bool access_parse_guards(Scan *scan, Names *names, Access *access, bool fill);

void value_print(Text *text, const Value *value, const ValueNames *names); /* %3 = mul f32 %0, %1 */

/* A value line as parsed; the owner's builder makes the value from it and calls names_set_value. */
typedef struct ParsedValue {
    uint32_t number;  /* of %number */
    const char *bind; /* V_bind: name of the symbol, which the owner makes and adds to the names */
    Value value;      /* id, sym, axes not set; types checked */
} ParsedValue;
/* At %number. */
bool value_parse(Scan *scan, Names *names, ParsedValue *parsed);

#endif
