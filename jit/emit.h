/* Machine code for the kernels of a plan, on threads of our own. */
#ifndef QUERN_JIT_EMIT_H
#define QUERN_JIT_EMIT_H

#include "codegen/llvm.h"
#include "jit/plan_build.h"

/* Compiles the programs into at most `threads` objects, in the arena of cx. Every thread parses its
 * programs into a job of its own, so the bytes of a function follow from its text alone. */
bool emit_kernels(Cx *cx, const LlvmApi *api, const Caps *caps, const KernelText *texts,
                  uint32_t count, int threads, uint32_t *object_count, ObjectBytes **objects);

#endif
