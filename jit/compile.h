/* The compiler driver: from a graph to a plan and its code. */
#ifndef QUERN_JIT_COMPILE_H
#define QUERN_JIT_COMPILE_H

#include "jit/emit.h"
#include "jit/records.h"

enum CompileKeep {
    KEEP_graph = 1,
    KEEP_nest = 2,
    KEEP_tile = 4,
    KEEP_llvm = 8,
    KEEP_asm = 16,
    KEEP_placed = 32, /* of GPUs */
    KEEP_source = 64, /* in the target's language: C, OpenCL C, CUDA C */
    KEEP_count = 7
};

/* A distinct nest of a plan's run steps. */
typedef struct NestUse {
    const char *text; /* that nest_parse takes */
    const char *nodes;
    Hash128 key;   /* record_nest */
    uint32_t uses; /* steps */
} NestUse;

typedef struct NestList {
    NestUse *list;
    uint32_t count, capacity;
} NestList;

typedef struct CompileOptions {
    const Caps *caps;
    CodeKind kind;       /* emit_kind, or another that a device of the target takes */
    const LlvmApi *llvm; /* for CODE_object, KEEP_llvm and KEEP_asm; else NULL */
    uint32_t file_count; /* of the model: see FileRange */
    const FileRange *files;
    int threads;            /* for code; the rest is one thread's work */
    unsigned keep;          /* texts wanted: CompileKeep */
    const Records *records; /* schedules to be preferred; NULL = none */
    NestList *nests;        /* not NULL: only lists the nests here, and makes no code */
    /* Called between kernels; false cancels. NULL = none. Listing nests is no progress. */
    bool (*progress)(void *user, int64_t done, int64_t total, const char *what);
    void *progress_user;
} CompileOptions;

typedef struct Compiled {
    Plan *plan;
    CodeImage code;
    const char *texts[KEEP_count]; /* by bit of CompileKeep; NULL = not wanted */
    uint32_t refused;              /* records whose nest does not take them */
} Compiled;

/* Everything lives in the job's arena. False after cx_fail. */
bool compile_graph(Cx *cx, Graph *graph, const CompileOptions *options, Compiled *out);

#endif
