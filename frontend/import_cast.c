/* Importers: Cast, CastLike and BitCast, with the rules of narrow floats that plain casts do not
 * have. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

Dtype dtype_attr(Import *im, const OnnxNode *n, const char *name, Dtype other)
{
    const OnnxAttr *found = attr(im, n, name);
    if (found && found->type == OA_string &&
        n->opset < 6) { /* "FLOAT": names of TensorProto.DataType */
        static const char *const names[] = {"UNDEFINED", "FLOAT",  "UINT8",  "INT8",   "UINT16",
                                            "INT16",     "INT32",  "INT64",  "STRING", "BOOL",
                                            "FLOAT16",   "DOUBLE", "UINT32", "UINT64"};
        for (int i = 1; i < (int)(sizeof names / sizeof *names); i++)
            if (found->count && strcmp(found->strings[0].data, names[i]) == 0)
                return (Dtype)i;
    }
    int64_t number = attr_i(im, n, name, other);
    if (number > 0 && number < DT_count)
        return (Dtype)number;
    if (number || found)
        fail(im, ST_bad_model, "attribute '%s': no element type %lld", name, (long long)number);
    return other;
}

static Tensor *bits_as(Import *im, Tensor *x, Dtype dtype)
{
    Attr at[AT_count] = {[AT_dtype] = attr_int(dtype)};
    return graph_node(im->graph, OP_bitcast, 1, &x, at);
}

/* Infinities of float8e5m2 are made of bits: its casts saturate. 61440 lies halfway between the
 * largest number and what would follow, and rounds up, which is even. */
static Tensor *cast_e5m2(Import *im, Tensor *x)
{
    Tensor *over = ew(im, S_le, scalar(im, x, 61440), ew1(im, S_abs, x));
    Tensor *below = ew(im, S_lt, x, scalar(im, x, 0));
    Tensor *bits = bits_as(im, to(im, x, DT_f8e5m2), DT_u8);
    Tensor *infinity = pick(im, below, scalar(im, bits, 0xFC), scalar(im, bits, 0x7C));
    return bits_as(im, pick(im, over, infinity, bits), DT_f8e5m2);
}

/* A power of two is a float32's exponent. ONNX: `up` and `down` are away from and towards zero,
 * ties of `nearest` go up; the sign is dropped. Saturating, nothing finite becomes NaN (255). */
static Tensor *cast_e8m0(Import *im, Tensor *x, const char *round, bool saturate)
{
    Tensor *bits = bits_as(im, to(im, x, DT_f32), DT_u32);
    Tensor *exponent =
        ew(im, S_and, ew(im, S_shr, bits, scalar(im, bits, 23)), scalar(im, bits, 0xFF));
    Tensor *fraction = ew(im, S_and, bits, scalar(im, bits, 0x7FFFFF));
    Tensor *zero = scalar(im, bits, 0), *one = scalar(im, bits, 1), *up;
    if (!strcmp(round, "up"))
        up = ew(im, S_lt, zero, fraction);
    else if (!strcmp(round, "nearest")) /* of the smallest exponent ties go down */
        up = ew(im, S_le,
                ew(im, S_add, scalar(im, bits, 0x400000),
                   pick(im, ew(im, S_eq, exponent, zero), one, zero)),
                fraction);
    else if (!strcmp(round, "down"))
        up = ew(im, S_lt, one, zero);
    else
        return fail(im, ST_bad_model, "round_mode '%s'", onnx_printable(im->cx->arena, round));
    Tensor *most = scalar(im, bits, saturate ? 0xFE : 0xFF);
    up = ew(im, S_and, up, ew(im, S_lt, exponent, most));
    exponent = ew(im, S_add, exponent, pick(im, up, one, zero));
    return bits_as(im, to(im, exponent, DT_u8), DT_e8m0);
}

/* NaN for what a float8 without infinity cannot hold. The bounds lie halfway between the largest
 * value and the one that would follow, and round to the even of both. */
Tensor *cast_open(Import *im, Tensor *x, Dtype dtype)
{
    if (tensor_is_poison(x))
        return x;
    Tensor *y = wide(im, x);
    if (dtype == DT_f8e5m2)
        return cast_e5m2(im, y);
    if (dtype == DT_e8m0)
        return cast_e8m0(im, y, "up", false);
    if (dtype != DT_f8e4m3 && dtype != DT_f8e4m3fnuz && dtype != DT_f8e5m2fnuz)
        return to(im, x, dtype);
    double bound = dtype == DT_f8e4m3 ? 464 : dtype == DT_f8e4m3fnuz ? 248 : 61440;
    Tensor *size = ew1(im, S_abs, y), *limit = scalar(im, y, bound);
    Tensor *over = ew(im, dtype == DT_f8e4m3 ? S_lt : S_le, limit, size);
    return to(im, pick(im, over, scalar(im, y, NAN), y), dtype);
}

/* The default cast saturates. */
static Tensor *cast(Import *im, const OnnxNode *n, Tensor *x, Dtype dtype)
{
    bool saturate = attr_i(im, n, "saturate", 1) != 0;
    const char *round = attr_s(im, n, "round_mode", "up");
    if (!tensor_is_poison(x) && (x->dtype == DT_string || dtype == DT_string))
        return text_cast(im, x, dtype);
    if (dtype == DT_e8m0 && strcmp(round, "up") != 0)
        return cast_e8m0(im, wide(im, x), round, saturate);
    if (dtype_is_float(dtype) && dtype_bits(dtype) == 8 && !saturate)
        return cast_open(im, x, dtype);
    /* numpy's rule, which the reference follows: a float becomes an integer, then wraps */
    if (dtype_is_float(x->dtype) && dtype_is_int(dtype) && dtype_bits(dtype) < 32)
        x = to(im, x, DT_i32);
    return to(im, x, dtype);
}

Tensor *import_cast(Import *im, const OnnxNode *n)
{
    Dtype dtype = dtype_attr(im, n, "to", DT_none);
    if (dtype == DT_none)
        return fail(im, ST_bad_model, "attribute 'to' is missing");
    return cast(im, n, arg(im, n, 0), dtype);
}

Tensor *import_cast_like(Import *im, const OnnxNode *n)
{
    return cast(im, n, arg(im, n, 0), arg(im, n, 1)->dtype);
}

Tensor *import_bitcast(Import *im, const OnnxNode *n)
{
    Dtype dtype = dtype_attr(im, n, "to", DT_none);
    return cx_failed(im->cx) ? graph_poison(im->graph) : bits_as(im, arg(im, n, 0), dtype);
}
