/* C for the system's compiler (gcc or clang, no headers): the reference dialect, also what the `c`
 * device runs.
 *
 * A kernel is a KernelEntry (base/kernel_abi.h). Built with -ffp-contract=off and -fwrapv. */
#include "codegen/dialect.h"

#define MATH1(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a) __builtin_" #name "$s(a)\n"                         \
    }
#define MATH2(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a, b) __builtin_" #name "$s(a, b)\n"                   \
    }

static const CSnippet snippets[] = {
    {"f64", "", "typedef double q_f64;\n"},
    {"bits", "", "Q_FN u32 q_bits(f32 v) { union { f32 f; u32 u; } x = {v}; return x.u; }\n"},
    {"float", "", "Q_FN f32 q_float(u32 v) { union { u32 u; f32 f; } x = {v}; return x.f; }\n"},
    {"nan", "f", "#define q_nan_$t() __builtin_nan$s(\"\")\n"},
    {"inf", "f", "#define q_inf_$t() __builtin_inf$s()\n"},
    {"fma", "f", "#define q_fma_$t(a, b, c) __builtin_fma$s(a, b, c)\n"},
    {"abs", "f", "#define q_abs_$t(a) __builtin_fabs$s(a)\n"},
    {"round", "f", "#define q_round_$t(a) __builtin_rint$s(a)\n"},
    MATH1(floor),
    MATH1(ceil),
    MATH1(trunc),
    MATH1(sqrt),
    MATH1(exp),
    MATH1(log),
    MATH1(sin),
    MATH1(cos),
    MATH1(tan),
    MATH1(asin),
    MATH1(acos),
    MATH1(atan),
    MATH1(sinh),
    MATH1(cosh),
    MATH1(tanh),
    MATH1(asinh),
    MATH1(acosh),
    MATH1(atanh),
    MATH1(erf),
    MATH2(pow),
    MATH2(fmod),
    MATH2(copysign),
    {"putbits", "",
     "#define q_putbits(p, byte, shift, mask, v) do { __atomic_fetch_and(&(p)[byte], (u8)~((mask) "
     "<< (shift)), 0); "
     "__atomic_fetch_or(&(p)[byte], (u8)(((v) & (mask)) << (shift)), 0); } while (0)\n"},
    {"putbits_shared", "",
     "#define q_putbits_shared(p, byte, shift, mask, v) ((p)[byte] = (u8)(((p)[byte] & ~((mask) << "
     "(shift))) | "
     "((v) & (mask)) << (shift)))\n"},
    {0},
};

const Dialect dialect_c = {
    .name = "c",
    .args_struct = true,
    .prologue = "typedef signed char i8;\ntypedef unsigned char u8;\ntypedef short i16;\ntypedef "
                "unsigned short u16;\n"
                "typedef int i32;\ntypedef unsigned u32;\ntypedef long long i64;\ntypedef unsigned "
                "long long u64;\n"
                "typedef float f32;\n"
                "typedef struct { void *const *buffers; const i64 *dims; const void *zeros; i32 "
                "*error; } KernelArgs;\n"
                "#define Q_FN static inline __attribute__((always_inline, unused))\n"
                "#ifdef __clang__\n"
                "#define Q_INDEPENDENT _Pragma(\"clang loop vectorize(assume_safety)\")\n"
                "#else\n"
                "#define Q_INDEPENDENT _Pragma(\"GCC ivdep\")\n"
                "#endif\n",
    .kernel = "void $n(const KernelArgs *args, i64 begin, i64 end, void *scratch);\n"
              "void $n(const KernelArgs *args, i64 begin, i64 end, void *scratch)",
    .buffer = "$c$T *const $n = ($c$T *)args->buffers[$i];",
    .dim = "const i64 $n = args->dims[$i];",
    .error = "i32 *const error = args->error;\n    (void)error;\n    (void)scratch;",
    .task = "for (i64 task = begin; task < end; task++) {",
    .shared = "u8 *const shared = (u8 *)scratch; /* $b bytes */",
    .shared_tile = "$T *const $n = ($T *)(void *)(shared + $o);",
    .independent = "Q_INDEPENDENT",
    .snippets = snippets,
    .suffix32 = "f",
};
