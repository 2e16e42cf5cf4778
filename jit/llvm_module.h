/* Opens the LLVM code generator (libquern_llvm.so) when something has to be compiled, and closes it
 * again.
 *
 * Looked for in this order: `path` when given (a file; nothing else is tried then), the folder of
 * the library or program that holds this code, `quern` in it, where it is installed seen from the
 * tool, where it is in a build folder, and the system's search path. */
#ifndef QUERN_JIT_LLVM_MODULE_H
#define QUERN_JIT_LLVM_MODULE_H

#include "codegen/llvm.h"

typedef struct LlvmModule {
    const LlvmApi *api;
    void *handle;
} LlvmModule;

/* Fails with ST_missing and where it looked. */
bool llvm_module_open(Cx *cx, LlvmModule *module, const char *path);
/* Gives LLVM's memory back: no thread may be inside, and the process must not open it again at the
 * same time. */
void llvm_module_close(LlvmModule *module);

#endif
