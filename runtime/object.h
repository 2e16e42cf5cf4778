/* Our own loader of the relocatable ELF objects that the LLVM module writes, for x86-64.
 *
 * An object is brought up in one mapping without any linker: kernels that come from the cache run
 * without a compiler in the process. The bytes may be hostile (a cache file): every offset, size
 * and index is checked, and a bad object is an error, never a crash. What its *code* does is not
 * checked: that is what the cache's digest is for. */
#ifndef QUERN_RUNTIME_OBJECT_H
#define QUERN_RUNTIME_OBJECT_H

#include "base/kernel_abi.h"
#include "base/cx.h"

typedef struct Object Object;

/* Copies what it needs: `bytes` may go away. On failure NULL, and *why says what is wrong (a static
 * text). */
Object *object_load(const void *bytes, size_t size, const char **why);
/* NULL when there is no such function. Valid until the object is closed. */
KernelEntry *object_find(const Object *object, const char *name);
void object_close(Object *object);

#endif
