/* Code for the kernels of a plan, of any target, on threads of our own. */
#ifndef QUERN_JIT_EMIT_H
#define QUERN_JIT_EMIT_H

#include "codegen/llvm.h"
#include "jit/plan_build.h"
#include "runtime/device.h"

typedef struct EmitOptions {
    const Caps *caps;
    CodeKind kind;
    const LlvmApi *llvm; /* for CODE_object; else NULL */
    int threads;
} EmitOptions;

/* What kind of code runs on the target's own device. No device and no driver is needed to make it;
 * CODE_cubin needs NVRTC. */
CodeKind emit_kind(const Caps *caps);
/* The target as part of a key: programs of equal name are interchangeable. */
const char *emit_target_name(Cx *cx, const Caps *caps, CodeKind kind);

/* Compiles the programs into at most `threads` pieces (CODE_tile: one for each kernel, in order),
 * in the arena of cx. Every thread parses its programs into a job of its own, so the bytes of a
 * function follow from its text alone. False after cx_fail. */
bool emit_code(Cx *cx, const EmitOptions *options, const KernelText *texts, uint32_t count,
               CodeImage *code);

#endif
