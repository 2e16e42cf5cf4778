/* Element types and scalar operations through the LLVM emitter, against the interpreter: every type
 * from and to every other, every operation on every type it takes, with the values that hurt. */
#include "tests/unit/llvm_oracle.h"

static uint64_t random_state;

static uint64_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 32 | random_state << 32;
}

/* Special values first, then every pattern of short types, random patterns of long ones. */
static void hard_values(const Buffer *buffer, void *memory, int64_t count)
{
    static const double floats[] = {0,
                                    -0.0,
                                    1,
                                    -1,
                                    0.5,
                                    1.5,
                                    2.5,
                                    -2.5,
                                    3.7,
                                    -3.7,
                                    127,
                                    128,
                                    255,
                                    256,
                                    448,
                                    449,
                                    464,
                                    465,
                                    57344,
                                    61440,
                                    65504,
                                    65520,
                                    1e10,
                                    1e30,
                                    1e300,
                                    -1e10,
                                    1e-3,
                                    1e-8,
                                    6e-8,
                                    1e-40,
                                    1e-45,
                                    6.1e-5,
                                    0.00195,
                                    0.000976,
                                    2147483648.0,
                                    -2147483648.0,
                                    2147483520.0,
                                    4294967296.0,
                                    9.3e18,
                                    1.9e19,
                                    -9.3e18,
                                    (double)INFINITY,
                                    -(double)INFINITY,
                                    (double)NAN};
    static const int64_t ints[] = {
        0,     1,     -1,        2,         3,          -3,        7,         31,       32,
        33,    63,    64,        127,       -128,       128,       255,       32767,    -32768,
        65535, 65536, INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MAX, INT64_MIN, 16777217, -16777217};
    enum { F = sizeof floats / sizeof *floats, I = sizeof ints / sizeof *ints };
    random_state = (uint64_t)buffer->index * 77 + 5;
    int bits = dtype_bits(buffer->dtype);
    bool flt = dtype_is_float(buffer->dtype);
    int specials = flt ? F : I;
    for (int64_t i = 0; i < count; i++) {
        int64_t pick = buffer->index ? i * 13 / 7 + i : i; /* operands meet in all combinations */
        Scalar s = {.i = ints[pick % I]};
        if (flt)
            s.f = floats[pick % F];
        if (buffer->dtype == DT_bool)
            s.i = s.i & 1;
        if (i < specials * (int64_t)specials || bits < 8) {
            dtype_store(buffer->dtype, memory, i, s);
            continue;
        }
        uint64_t raw = bits <= 16 ? (uint64_t)i : random_bits();
        if (flt && bits == 32 && i & 1) {
            float f = (float)((int64_t)(raw % 200001) - 100000) / 64;
            memcpy((char *)memory + i * 4, &f, 4);
        } else if (buffer->dtype == DT_bool) {
            ((uint8_t *)memory)[i] = (uint8_t)(i & 1);
        } else {
            memcpy((char *)memory + i * bits / 8, &raw, (size_t)bits / 8);
        }
    }
}

static const char *const types[] = {
    "f32",        "f64",    "f16", "bf16", "i8",   "u8",     "i16",    "u16",
    "i32",        "u32",    "i64", "u64",  "bool", "f8e4m3", "f8e5m2", "f8e4m3fnuz",
    "f8e5m2fnuz", "f4e2m1", "i4",  "u4",   "i2",   "u2",     "e8m0"};
enum { TYPES = sizeof types / sizeof *types };

static void cast_between(const char *from, const char *to)
{
    char text[1024];
    const int n = 65533;
    snprintf(
        text, sizeof text,
        "tile t %%s {\n in x %s [%d]\n out y %s [%d]\n out z %s [%d]\n"
        "grid (t 1) { map (i %d) { %%%%0 = load x[i] %%%%1 = cast %s %%%%0 store y[i] %%%%1 }\n"
        "map (i %d) { %%%%0 = load x[i] %%%%1 = cast %s %%%%0 %%%%2 = cast %s %%%%1 store z[i] "
        "%%%%2 } } }\n",
        from, n, to, n, dtype_name(dtype_compute(dtype_find(to, strlen(to)))), n, n, to, n, to,
        dtype_name(dtype_compute(dtype_find(to, strlen(to)))));
    oracle_data = hard_values;
    oracle_check_all(text, NULL, 0);
}

static void casts_from(const char *from)
{
    for (int i = 0; i < TYPES; i++)
        cast_between(from, types[i]);
}

Test(llvm_dtype, from_f32)
{
    casts_from("f32");
}

Test(llvm_dtype, from_f64)
{
    casts_from("f64");
}

Test(llvm_dtype, from_integers)
{
    casts_from("i64");
    casts_from("u64");
    casts_from("i32");
    casts_from("u32");
}

Test(llvm_dtype, from_narrow)
{
    for (int i = 2; i < TYPES; i++) {
        cast_between(types[i], "f32");
        cast_between(types[i], types[i]);
        cast_between(types[i], "i32");
        cast_between(types[i], "bool");
    }
}

static void check_operation(ScalarOp op, const char *type)
{
    char text[2048], args[64] = "";
    const int n = 4099;
    int arity = scalar_arity(op);
    for (int i = 0; i < arity; i++)
        snprintf(args + strlen(args), sizeof args - strlen(args), "%s%%%%%d", i ? ", " : "", i);
    const char *result = scalar_gives_bool(op) ? "bool" : type;
    snprintf(text, sizeof text,
             "tile t %%s {\n in a %s [%d]\n in b %s [%d]\n in c %s [%d]\n out y %s [%d]\n"
             "grid (t 1) { map (i %d) { %%%%0 = load a[i] %s %s\n%%%%%d = %s %s %s store y[i] "
             "%%%%%d } } }\n",
             op == S_select ? "bool" : type, n, type, n, type, n, result, n, n,
             arity > 1 ? "%%1 = load b[i]" : "", arity > 2 ? "%%2 = load c[i]" : "", arity,
             scalar_name(op), result, args, arity);
    oracle_data = hard_values;
    oracle_check_all(text, NULL, 0);
}

static void operations_on(const char *type)
{
    Dtype dtype = dtype_find(type, strlen(type));
    for (int op = 0; op < S_count; op++) {
        if (!scalar_accepts((ScalarOp)op, dtype))
            continue;
        if (dtype == DT_f32 && scalar_flags((ScalarOp)op) & TRANS)
            continue; /* vector forms: test_llvm_math */
        check_operation((ScalarOp)op, type);
    }
}

Test(llvm_dtype, operations_on_f32)
{
    operations_on("f32");
}

Test(llvm_dtype, operations_on_f64)
{
    operations_on("f64");
}

Test(llvm_dtype, operations_on_32_bits)
{
    operations_on("i32");
    operations_on("u32");
}

Test(llvm_dtype, operations_on_64_bits)
{
    operations_on("i64");
    operations_on("u64");
}

Test(llvm_dtype, operations_on_bool)
{
    operations_on("bool");
}
