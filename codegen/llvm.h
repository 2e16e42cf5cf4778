/* The LLVM code generator: tile programs to machine code of one relocatable ELF object.
 *
 * It lives in a module of its own (libquern_llvm.so), which is opened at a cache miss only
 * (jit/llvm_module.h); nothing but `quern_llvm_api` is exported from it. Every phase of a program
 * becomes a function `<name>_<phase>` with the signature of KernelEntry. The object refers to
 * nothing but the closed list of symbols in runtime/object.c, and the bytes are a pure function of
 * programs, caps and options.
 *
 * Calls are thread-safe as long as every thread has its own Cx. Results live in the job's arena. */
#ifndef QUERN_CODEGEN_LLVM_H
#define QUERN_CODEGEN_LLVM_H

#include "base/kernel_abi.h"
#include "ir/tile.h"

enum { LLVM_API = 1 };

typedef struct LlvmOptions {
    bool no_verify; /* leave out the IR verifier (1 % of the time) */
} LlvmOptions;

/* Programs of one batch must have names that differ. False (and the job failed) when something is
 * unsupported. */
bool llvm_emit(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
               ObjectBytes *out);
/* The same programs as LLVM IR, or as assembly: for people and tests. */
bool llvm_text(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
               Text *out);
bool llvm_asm(Cx *cx, TileProg *const *progs, int count, const Caps *caps, LlvmOptions options,
              Text *out);

/* What the module gives out. */
typedef struct LlvmApi {
    int version; /* LLVM_API */
    bool (*emit)(Cx *, TileProg *const *, int, const Caps *, LlvmOptions, ObjectBytes *);
    bool (*text)(Cx *, TileProg *const *, int, const Caps *, LlvmOptions, Text *);
    bool (*assembly)(Cx *, TileProg *const *, int, const Caps *, LlvmOptions, Text *);
    void (*shutdown)(void); /* before unloading, when no other thread is inside */
} LlvmApi;

#define LLVM_API_SYMBOL "quern_llvm_api"
typedef const LlvmApi *LlvmApiGet(void);

#endif
