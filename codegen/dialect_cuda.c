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
    "(p, byte, shift, mask, v) do { u64 at_ = (u64)((p) + (byte)); u32 *word_ = (u32 *)(at_ & "    \
    "~(u64)3); "                                                                                   \
    "u32 shift_ = (u32)(at_ & 3) * 8 + (u32)(shift); atomicAnd(word_, ~((mask) << shift_)); "      \
    "atomicOr(word_, ((v) & (mask)) << shift_); } while (0)\n"

#define MOVE(bytes, type)                                                                          \
    {"load" #bytes "_global", "",                                                                  \
     "#define q_load" #bytes "_global(to, from) (*(" type " *)(to) = *(const " type                \
     " *)(from))\n"},                                                                              \
        {"load" #bytes "_shared", "",                                                              \
         "#define q_load" #bytes "_shared(to, from) (*(" type " *)(to) = *(const " type            \
         " *)(from))\n"},                                                                          \
        {"store" #bytes "_global", "",                                                             \
         "#define q_store" #bytes "_global(to, from) (*(" type " *)(to) = *(const " type           \
         " *)(from))\n"},                                                                          \
    {                                                                                              \
        "store" #bytes "_shared", "",                                                              \
            "#define q_store" #bytes "_shared(to, from) (*(" type " *)(to) = *(const " type        \
            " *)(from))\n"                                                                         \
    }

/* Zeros arrive when the condition is false: the number of bytes read is an operand. */
#define CP_ASYNC(bytes, cache)                                                                     \
    {                                                                                              \
        "cp_async" #bytes, "",                                                                     \
            "Q_FN void q_cp_async" #bytes "(void *to, const void *from, bool inside)\n"            \
            "{\n"                                                                                  \
            "    asm volatile(\"cp.async." cache ".shared.global [%0], [%1], " #bytes ", %2;\"\n"  \
            "                 :: \"r\"(q_shared_address(to)), \"l\"(from), \"r\"(inside ? " #bytes \
            " : 0) : \"memory\");\n"                                                               \
            "}\n"                                                                                  \
    }

#define LDMATRIX(name, trans)                                                                      \
    {                                                                                              \
        name, "",                                                                                  \
            "Q_FN void q_" name "(u32 *f, const void *p)\n"                                        \
            "{\n"                                                                                  \
            "    asm volatile(\"ldmatrix.sync.aligned.m8n8.x4" trans                               \
            ".shared.b16 {%0, %1, %2, %3}, [%4];\"\n"                                              \
            "                 : \"=r\"(f[0]), \"=r\"(f[1]), \"=r\"(f[2]), \"=r\"(f[3]) : "         \
            "\"r\"(q_shared_address(p)) : \"memory\");\n"                                          \
            "}\n"                                                                                  \
    }

#define MMA_C "\"+f\"(c[0]), \"+f\"(c[1]), \"+f\"(c[2]), \"+f\"(c[3])"
#define MMA_AB "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"r\"(b[0]), \"r\"(b[1])"
#define MMA16(type)                                                                                \
    "    asm volatile(\"mma.sync.aligned.m16n8k16.row.col.f32." type "." type                      \
    ".f32 {%0, %1, %2, %3}, "                                                                      \
    "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\" : " MMA_C " : " MMA_AB ");\n"
#define MMA8(a, b)                                                                                 \
    "    asm volatile(\"mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {" a    \
    "}, {" b "}, "                                                                                 \
    "{%0, %1, %2, %3};\" : " MMA_C " : " MMA_AB ");\n"

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
    /* Values of other lanes; 64-bit ones in two halves. */
    {"shuffle_f32", "", "#define q_shuffle_f32(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    {"shuffle_i32", "", "#define q_shuffle_i32(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    {"shuffle_u32", "", "#define q_shuffle_u32(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    {"shuffle_i64", "", "#define q_shuffle_i64(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    {"shuffle_u64", "", "#define q_shuffle_u64(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    {"shuffle_f64", "", "#define q_shuffle_f64(v, mask) __shfl_xor_sync(0xffffffffu, v, mask)\n"},
    /* Runs of 4, 8 and 16 bytes. */
    {"aligned", "", "#define q_aligned __align__(16)\n"},
    MOVE(4, "u32"),
    MOVE(8, "uint2"),
    MOVE(16, "uint4"),
    CP_ASYNC(4, "ca"),
    CP_ASYNC(8, "ca"),
    CP_ASYNC(16, "cg"),
    /* Tensor cores. The four registers of a and c and the two of b are those of ir/layout.h. */
    {"shared_address", "",
     "Q_FN u32 q_shared_address(const void *p)\n"
     "{\n"
     "    u32 at;\n"
     "    asm(\"{ .reg .u64 a; cvta.to.shared.u64 a, %1; cvt.u32.u64 %0, a; }\" : \"=r\"(at) : "
     "\"l\"(p));\n"
     "    return at;\n"
     "}\n"},
    LDMATRIX("ldmatrix4", ""),
    LDMATRIX("ldmatrix4_trans", ".trans"),
    {"mma_f16", "",
     "Q_FN void q_mma_f16(f32 *c, const u32 *a, const u32 *b)\n"
     "{\n"
     "#if __CUDA_ARCH__ >= 800\n" MMA16("f16") "#else\n" MMA8("%4, %5", "%8")
         MMA8("%6, %7", "%9") "#endif\n"
                              "}\n"},
    {"mma_bf16", "",
     "Q_FN void q_mma_bf16(f32 *c, const u32 *a, const u32 *b)\n{\n" MMA16("bf16") "}\n"},
    {"putbits", "", "#define q_putbits" PUTBITS},
    {"putbits_shared", "", "#define q_putbits_shared" PUTBITS},
    {0},
};

const Dialect dialect_cuda = {
    .name = "cuda",
    .gpu = true,
    .shuffles = true,
    .ldmatrix = true,
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
    .suffix32 = "f",
};
