/* One nest compiled for the CPU and run on its own: what `quern kernel`, the tuner and the property tests use. */
#ifndef QUERN_JIT_KERNEL_H
#define QUERN_JIT_KERNEL_H

#include "base/pool.h"
#include "jit/llvm_module.h"
#include "passes/schedule.h"
#include "runtime/object.h"

typedef struct Kernel Kernel;

/* `schedule` NULL: the cost model's choice. Lives in the job's arena; the machine code is unloaded by the job's clean-up.
 * NULL on failure. */
Kernel *kernel_compile(Cx *cx, Nest *nest, const Schedule *schedule, const Caps *caps, const LlvmModule *llvm);
const Lowered *kernel_lowered(const Kernel *kernel);
/* Binds memory for the nest's buffers (as nest_run takes them) and dims, allocates scratch and packs constants. */
bool kernel_bind(Cx *cx, Kernel *kernel, void *const *buffers, const int64_t *dims, const Executor *executor);
/* Runs once; kernel_bind came before. Returns the error cell: 0, or 1 + id of the value with a bad index. */
int32_t kernel_run(Kernel *kernel);

#endif
