/* A dialect is data: how one C-like language spells what a tile program needs. The printer
 * (c_print.c) asks nothing else of a target. New dialect: copy dialect_c.c.
 *
 * Templates are text with $ and one letter; the letters a field knows are listed with it. Helpers
 * are snippets: the printed body calls q_NAME or q_NAME_TYPE, and the definitions of those that
 * occur, and of those they call, go before it. A dialect's own snippets are looked up before the
 * common ones (dialect_common.c), which are plain C.
 *
 * The language must offer, after `prologue`: types i8 u8 i16 u16 i32 u32 i64 u64 f32 (f64 is the
 * snippet q_f64, as not every device has it), and Q_FN, the qualifiers of a helper function. Bool
 * values are i32, 0 or 1. */
#ifndef QUERN_CODEGEN_DIALECT_H
#define QUERN_CODEGEN_DIALECT_H

#include "ir/tile.h"

/* `types`: "" = the name is complete; else the types it is made for, of f (f32, f64) and i (the
 * four integers). In the text: $t type name (f32), $T its C type, $s suffix of the maths functions
 * ("f" or ""), $u unsigned twin, $w lanes of a vector of it. */
typedef struct CSnippet {
    const char *name, *types, *text;
} CSnippet;

typedef struct Dialect {
    const char *name;
    bool gpu;      /* prints placed programs: layouts, threads, shared memory */
    bool vectors;  /* has q_vec_, q_vload_, q_vstore_TYPE and q_fma_TYPE of vectors, for mma on CPUs
                    */
    bool shuffles; /* has q_shuffle_TYPE(value, mask): the value of the lane whose number differs by
                      mask; warps of 32 */
    bool args_struct; /* arguments arrive in KernelArgs (base/kernel_abi.h), a range of tasks per
                         call */
    const char *prologue;
    const char *kernel; /* opening of a kernel up to its parameters; $n name, $t threads */
    const char *buffer; /* a buffer parameter or local; $n name, $T element type, $c "const " or "",
                           $i index */
    const char *dim;    /* $n name, $i index */
    const char *error;  /* the error cell, as pointer `error` */
    const char *task;   /* defines i64 `task`; with args_struct it opens the loop over the range */
    const char *thread; /* defines i32 `tid`; GPU */
    const char *shared; /* memory of the block: `shared`; $b bytes */
    const char *shared_tile; /* $n name, $T element type, $o byte offset in `shared` */
    const char *barrier;
    const char *independent; /* before a loop whose iterations are independent */
    const char *unroll;      /* before a loop to be unrolled fully */
    bool ldmatrix;           /* has q_ldmatrix4 and q_ldmatrix4_trans */
    const char *commit;
    const char *wait;         /* $c count */
    const CSnippet *snippets; /* ends with a NULL name */
    const char *suffix32;     /* $s for f32 */
} Dialect;

extern const Dialect dialect_c, dialect_opencl_cpu, dialect_opencl, dialect_cuda;
extern const CSnippet dialect_common[];
/* The dialect for a target's kind; CPUs print C. */
const Dialect *dialect_for(const Caps *caps);

#endif
