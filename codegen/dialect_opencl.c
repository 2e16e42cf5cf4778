/* OpenCL C 1.2: one dialect for CPU devices (the CPU schedule, one work item per task) and one for
 * GPUs (placed programs, one work group per task). Halves go through vload_half and vstore_half,
 * which need no extension; fp64 is enabled where used. */
#include "codegen/dialect.h"

#define MATH1(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a) " #name "(a)\n"                                     \
    }
#define MATH2(name)                                                                                \
    {                                                                                              \
#name, "f", "#define q_" #name "_$t(a, b) " #name "(a, b)\n"                               \
    }

#define PUTBITS(name, space)                                                                       \
    {                                                                                              \
        name, "",                                                                                  \
            "#define q_" name "(p, byte, shift, mask, v) do { volatile " space                     \
            " u8 *at_ = (p) + (byte); "                                                            \
            "volatile " space " u32 *word_ = (volatile " space                                     \
            " u32 *)((size_t)at_ & ~(size_t)3); "                                                  \
            "u32 shift_ = (u32)((size_t)at_ & 3) * 8 + (u32)(shift); "                             \
            "atomic_and(word_, ~((mask) << shift_)); atomic_or(word_, ((v) & (mask)) << "          \
            "shift_); } while (0)\n"                                                               \
    }

#define MOVE_TO(bytes, type, name, space)                                                          \
    {"load" #bytes "_" name, "",                                                                   \
     "#define q_load" #bytes "_" name "(to, from) (*(" type " *)(to) = *(const " space " " type    \
     " *)(from))\n"},                                                                              \
    {                                                                                              \
        "store" #bytes "_" name, "",                                                               \
            "#define q_store" #bytes "_" name "(to, from) (*(" space " " type                      \
            " *)(to) = *(const " type " *)(from))\n"                                               \
    }
#define MOVE(bytes, type)                                                                          \
    MOVE_TO(bytes, type, "global", "__global"), MOVE_TO(bytes, type, "shared", "__local")

static const CSnippet snippets[] = {
    {"f64", "", "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\ntypedef double q_f64;\n"},
    {"bits", "", "#define q_bits(v) as_uint(v)\n"},
    {"float", "", "#define q_float(v) as_float(v)\n"},
    {"nan", "f", "#define q_nan_$t() (($T)NAN)\n"},
    {"inf", "f", "#define q_inf_$t() (($T)INFINITY)\n"},
    {"f16_to", "", "Q_FN f32 q_f16_to(u16 h) { return vload_half(0, (const half *)&h); }\n"},
    {"f16_from", "",
     "Q_FN u16 q_f16_from(f32 v) { u16 h; vstore_half_rte(v, 0, (half *)&h); return h; }\n"},
    {"fma", "f", "#define q_fma_$t(a, b, c) fma(a, b, c)\n"},
    {"abs", "f", "#define q_abs_$t(a) fabs(a)\n"},
    {"round", "f", "#define q_round_$t(a) rint(a)\n"},
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
    PUTBITS("putbits", "__global"),
    PUTBITS("putbits_shared", "__local"),
    {"aligned", "", "#define q_aligned __attribute__((aligned(16)))\n"},
    MOVE(4, "u32"),
    MOVE(8, "uint2"),
    MOVE(16, "uint4"),
    {"vec_f32", "", "typedef float$w q_vec_f32;\n"},
    {"vec_f64", "", "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\ntypedef double$w q_vec_f64;\n"},
    {"vload", "f", "#define q_vload_$t(p) vload$w(0, p)\n"},
    {"vstore", "f", "#define q_vstore_$t(v, p) vstore$w(v, 0, p)\n"},
    {0},
};

#define PROLOGUE                                                                                   \
    "typedef char i8;\ntypedef uchar u8;\ntypedef short i16;\ntypedef ushort u16;\ntypedef int "   \
    "i32;\ntypedef uint u32;\n"                                                                    \
    "typedef long i64;\ntypedef ulong u64;\ntypedef float f32;\n#define Q_FN static inline\n"      \
    "#pragma OPENCL FP_CONTRACT OFF\n"
#define KERNEL "__kernel __attribute__((reqd_work_group_size($t, 1, 1))) void $n("
#define SHARED "__local u8 shared[$b] __attribute__((aligned(128)));"
#define SHARED_TILE "__local $T *const $n = (__local $T *)(shared + $o);"

const Dialect dialect_opencl_cpu = {
    .name = "opencl-cpu",
    .vectors = true,
    .prologue = PROLOGUE,
    .kernel = KERNEL,
    .buffer = "__global $c$T *$n",
    .dim = "i64 $n",
    .error = "__global i32 *error",
    .task = "const i64 task = (i64)get_global_id(0);",
    .shared = SHARED,
    .shared_tile = SHARED_TILE,
    .snippets = snippets,
    .suffix32 = "",
};

const Dialect dialect_opencl = {
    .name = "opencl",
    .gpu = true,
    .prologue = PROLOGUE,
    .kernel = KERNEL,
    .buffer = "__global $c$T *$n",
    .dim = "i64 $n",
    .error = "__global i32 *error",
    .task = "const i64 task = (i64)get_group_id(0);",
    .thread = "const i32 tid = (i32)get_local_id(0);",
    .shared = SHARED,
    .shared_tile = SHARED_TILE,
    .barrier = "barrier(CLK_LOCAL_MEM_FENCE);",
    .unroll = "#pragma unroll",
    .snippets = snippets,
    .suffix32 = "",
};
