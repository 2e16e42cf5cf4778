/* Element types: one table (dtype.def), whose index is the ONNX element type number.
 *
 * A value is stored in its dtype and computed in dtype_compute(dtype): half and smaller floats compute in float32 and
 * round once when stored; narrow integers compute in 32 bits and wrap when stored. */
#ifndef QUERN_BASE_DTYPE_H
#define QUERN_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Dtype {
#define DTYPE(name, onnx, bits, class, compute) DT_##name = onnx,
#include "base/dtype.def"
#undef DTYPE
    DT_count
} Dtype;

typedef enum DtypeClass { DC_NONE, DC_FLOAT, DC_INT, DC_UINT, DC_BOOL, DC_OTHER } DtypeClass;

const char *dtype_name(Dtype dtype);
/* By name ("f32"); DT_none when unknown. */
Dtype dtype_find(const char *name, size_t length);
int dtype_bits(Dtype dtype);
DtypeClass dtype_class(Dtype dtype);
Dtype dtype_compute(Dtype dtype);
static inline bool dtype_is_float(Dtype dtype)
{
    return dtype_class(dtype) == DC_FLOAT;
}
static inline bool dtype_is_int(Dtype dtype)
{
    return dtype_class(dtype) == DC_INT || dtype_class(dtype) == DC_UINT;
}
/* Bytes of `count` packed elements; -1 when it overflows int64 or the dtype has no size. */
int64_t dtype_bytes(Dtype dtype, int64_t count);

/* One scalar in its compute type. `f` for floats (f32 values are exact in it), `i` for the rest (u64 as bits). */
typedef union Scalar {
    double f;
    int64_t i;
} Scalar;

/* Reads or writes element `index` of a packed array; memory may be unaligned. Writing rounds to nearest even;
 * float8 and float4 saturate as ONNX Cast with saturate=1 does. */
Scalar dtype_load(Dtype dtype, const void *base, int64_t index);
void dtype_store(Dtype dtype, void *base, int64_t index, Scalar value);
/* The bit pattern of a float type and back. Casts that are not the default say so here: `saturate` matters for float8
 * and e8m0 only (without it, what is too large becomes infinity, or NaN where there is none), `round` for e8m0 only, whose
 * default is up. An e8m0 of a negative value is that of its magnitude; float4 has neither infinity nor NaN (NaN becomes
 * -0). */
typedef enum DtypeRound { DR_up, DR_down, DR_nearest } DtypeRound;
uint64_t dtype_encode(Dtype dtype, double value, bool saturate, DtypeRound round);
double dtype_decode(Dtype dtype, uint64_t bits);

/* Conversion between compute types as C does it; float to integer truncates and saturates; NaN becomes 0.
 * Narrow targets (i8, f16, ...) are then rounded or wrapped to what they can hold. To bool: not zero (NaN is true). */
Scalar dtype_convert(Dtype to, Dtype from, Scalar value);

#endif
