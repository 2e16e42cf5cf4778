/* The compiler driver: from a graph to a plan and its code. */
#ifndef QUERN_JIT_COMPILE_H
#define QUERN_JIT_COMPILE_H

#include "jit/emit.h"

enum CompileKeep {
    KEEP_graph = 1,
    KEEP_nest = 2,
    KEEP_tile = 4,
    KEEP_llvm = 8,
    KEEP_asm = 16,
    KEEP_count = 5
};

typedef struct CompileOptions {
    const Caps *caps;
    CodeKind kind;       /* emit_kind, or another that a device of the target takes */
    const LlvmApi *llvm; /* for CODE_object, KEEP_llvm and KEEP_asm; else NULL */
    uint32_t file_count; /* of the model: see FileRange */
    const FileRange *files;
    int threads;   /* for code; the rest is one thread's work */
    unsigned keep; /* texts wanted: CompileKeep */
    /* Called between kernels; false cancels. NULL = none. */
    bool (*progress)(void *user, int64_t done, int64_t total, const char *what);
    void *progress_user;
} CompileOptions;

typedef struct Compiled {
    Plan *plan;
    CodeImage code;
    const char *texts[KEEP_count]; /* by bit of CompileKeep; NULL = not wanted */
} Compiled;

/* Everything lives in the job's arena. False after cx_fail. */
bool compile_graph(Cx *cx, Graph *graph, const CompileOptions *options, Compiled *out);

#endif
