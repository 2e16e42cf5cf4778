/* CUDA C for NVRTC, without any header: what C lacks is a builtin or inline PTX. Built with
 * --fmad=false, so that only fma is fused. */
#include "codegen/dialect.h"

#define MATH1(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a) " #name "$s(a)\n"                                   \
    }
#define MATH2(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a, b) " #name "$s(a, b)\n"                             \
    }

#define PUTBITS                                                                                    \
    "(p, byte, shift, mask, v) do { u64 q_at = (u64)((p) + (byte)); u32 *q_word = (u32 *)(q_at & " \
    "~(u64)3); "                                                                                   \
    "u32 q_shift = (u32)(q_at & 3) * 8 + (u32)(shift); atomicAnd(q_word, ~((mask) << q_shift)); "  \
    "atomicOr(q_word, ((v) & (mask)) << q_shift); } while (0)\n"

static const CSnippet snippets[] = {
    {"f64", "", "typedef double q_f64;\n"},
    {"bits", "", "#define q_bits(v) __float_as_uint(v)\n"},
    {"float", "", "#define q_float(v) __uint_as_float(v)\n"},
    {"nan_f32", "", "#define q_nan_f32() __uint_as_float(0x7fc00000u)\n"},
    {"nan_f64", "", "#define q_nan_f64() __longlong_as_double(0x7ff8000000000000ll)\n"},
    {"inf_f32", "", "#define q_inf_f32() __uint_as_float(0x7f800000u)\n"},
    {"inf_f64", "", "#define q_inf_f64() __longlong_as_double(0x7ff0000000000000ll)\n"},
    {"f16_to", "",
     "Q_FN f32 q_f16_to(u32 h) { f32 v; asm(\"cvt.f32.f16 %0, %1;\" : \"=f\"(v) : \"h\"((u16)h)); "
     "return v; }\n"},
    {"f16_from", "",
     "Q_FN u16 q_f16_from(f32 v) { u16 h; asm(\"cvt.rn.f16.f32 %0, %1;\" : \"=h\"(h) : \"f\"(v)); "
     "return h; }\n"},
    {"fma", "f", "#define q_fma_$t(a, b, c) fma$s(a, b, c)\n"},
    {"abs", "f", "#define q_abs_$t(a) fabs$s(a)\n"},
    {"round", "f", "#define q_round_$t(a) rint$s(a)\n"},
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
    {"putbits", "", "#define q_putbits" PUTBITS},
    {"putbits_shared", "", "#define q_putbits_shared" PUTBITS},
    {0},
};

const Dialect dialect_cuda = {
    .name = "cuda",
    .gpu = true,
    .prologue = "typedef signed char i8;\ntypedef unsigned char u8;\ntypedef short i16;\ntypedef "
                "unsigned short u16;\n"
                "typedef int i32;\ntypedef unsigned u32;\ntypedef long long i64;\ntypedef unsigned "
                "long long u64;\n"
                "typedef float f32;\n#define Q_FN static __device__ __forceinline__\n",
    .kernel = "extern \"C\" __global__ void __launch_bounds__($t) $n(",
    .buffer = "$c$T *$n",
    .dim = "i64 $n",
    .error = "i32 *error",
    .task = "const i64 task = (i64)blockIdx.x;",
    .thread = "const i32 tid = (i32)threadIdx.x;",
    .shared = "extern __shared__ __align__(1024) u8 shared[]; /* $b bytes */",
    .shared_tile = "$T *const $n = ($T *)(shared + $o);",
    .barrier = "__syncthreads();",
    .unroll = "#pragma unroll",
    .commit = "asm volatile(\"cp.async.commit_group;\" ::: \"memory\");",
    .wait = "asm volatile(\"cp.async.wait_group $c;\" ::: \"memory\");",
    .snippets = snippets,
    .global = "",
    .local = "",
    .suffix32 = "f",
};
