/* C text to machine code by the system's compiler: for the `c` device and for tests. */
#ifndef QUERN_JIT_BUILD_C_H
#define QUERN_JIT_BUILD_C_H

#include "base/cx.h"
#include "ir/target.h"

typedef struct CModule CModule;

/* Compiles and loads; NULL after cx_fail, with the first lines of what the compiler said. */
CModule *build_c(Cx *cx, const char *source, const Caps *caps);
void *build_c_find(CModule *module, const char *name); /* NULL when missing */
void build_c_free(CModule *module);                    /* NULL does nothing */

#endif
