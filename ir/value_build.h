/* Making values: type checks, constant folding and hash-consing, once for nests and tile operations.
 *
 * The owner keeps the array (Nest.values, TileOp.values); a ValueList points at it. Equal values of one list are the same
 * pointer, and ids are positions. Operands that do not fit go to cx_fail(ST_internal) and give a constant 0, and so does a
 * NULL operand in a job that has failed. `axes` is left to the owner, who may set it on what these return (it is a
 * function of the content). */
#ifndef QUERN_IR_VALUE_BUILD_H
#define QUERN_IR_VALUE_BUILD_H

#include "ir/value.h"

typedef struct ValueList {
    Cx *cx;
    const char *owner; /* its name, for messages */
    Value ***values;
    uint32_t *count, *cap;
} ValueList;

/* The value of the list equal to *value (id and axes apart), or a new copy of it. No checks, no folding; the access
 * is compared by content and kept by pointer: it must live as long as the list. */
Value *value_intern(ValueList list, const Value *value);

Value *value_const(ValueList list, Dtype dtype, Scalar value);
Value *value_index(ValueList list, Dtype dtype, const Expr *index); /* a constant index becomes V_const */
/* op is V_load or V_tile; dtype is what is stored at the place. Copies the access. */
Value *value_access(ValueList list, ValueOp op, Dtype dtype, const Access *access);
/* Folds by rules that are exact for every operand (NaN, infinities, -0, every integer): constants, x*1, x/1, x-0, integer
 * x+0, double negation, min(x, x) and its like, a select that is decided. */
Value *value_scalar(ValueList list, ScalarOp op, Value *a, Value *b, Value *c);
Value *value_cast(ValueList list, Dtype to, Value *a);
Value *value_bind(ValueList list, Value *a, const Expr *sym, const Expr *lo, const Expr *hi, bool wraps);

/* Checks operands and types of a value of any list (not its expressions and access): NULL, or what is wrong with it. */
const char *value_fault(Value *const *values, const Value *value);

/* Whether the value itself (not its operands) reads at a place or counts by an index that uses the symbol: for
 * V_bind, whose symbol has to be defined before. */
bool value_uses_sym(const Value *value, const Expr *sym);

/* A copy in the job's arena of an access with everything it points to (not buffer and tile). */
Access *access_copy(Cx *cx, const Access *access);
/* Drops guards that bounds decide, and repeated ones; false (nothing changed) when one never holds. */
bool access_settle(Cx *cx, Access *access);

#endif
