/* For the tests of the LLVM emitter: text to a running kernel. */
#ifndef QUERN_TESTS_LLVM_RUN_H
#define QUERN_TESTS_LLVM_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "jit/llvm_module.h"
#include "runtime/object.h"

typedef struct Kernel {
    Cx cx;
    LlvmModule llvm;
    TileProg *prog;
    Object *object;
    const char *text, *target;
    void *zeros, *scratch;
    int32_t error;
    CancelFlag cancel;
} Kernel;

static inline void kernel_body(Cx *cx, void *user)
{
    Kernel *k = user;
    ObjectBytes bytes;
    const char *why = "";
    k->prog = tile_parse(cx, "test", k->text);
    if (cx_failed(cx) || !tile_verify(k->prog) || !llvm_module_open(cx, &k->llvm, NULL))
        return;
    if (!k->llvm.api->emit(cx, &k->prog, 1, target_find(k->target), (LlvmOptions){0}, &bytes))
        return;
    k->object = object_load(bytes.data, bytes.size, &why);
    if (!k->object)
        cx_fail(cx, ST_bad_file, "%s", why);
}

/* Can this machine run code of the target? */
static inline bool kernel_runs(const char *target)
{
    const Caps *host = target_host_cpu(), *caps = target_find(target);
    return host && host->vector_bits >= caps->vector_bits;
}

static inline Status kernel_open(Kernel *k, const char *text, const char *target)
{
    memset(k, 0, sizeof *k);
    k->text = text;
    k->target = target;
    cx_init(&k->cx, NULL, 0);
    k->zeros = aligned_alloc(64, ABI_ZERO_PAGE);
    memset(k->zeros, 0, ABI_ZERO_PAGE);
    return cx_run(&k->cx, kernel_body, k);
}

static inline void kernel_run(Kernel *k, int phase, void *const *buffers, const int64_t *dims,
                              int64_t begin, int64_t end)
{
    char name[256];
    KernelArgs args = {.buffers = buffers,
                       .dims = dims,
                       .zeros = k->zeros,
                       .error = &k->error,
                       .cancel = &k->cancel};
    snprintf(name, sizeof name, "%s_%d", k->prog->name, phase);
    KernelEntry *entry = object_find(k->object, name);
    cr_assert(entry, "no %s", name);
    if (!k->scratch)
        k->scratch = aligned_alloc(64, ((size_t)tile_scratch_bytes(k->prog) + 127) / 64 * 64);
    entry(&args, begin, end, k->scratch);
}

static inline void kernel_close(Kernel *k)
{
    object_close(k->object);
    llvm_module_close(&k->llvm);
    free(k->zeros);
    free(k->scratch);
    cx_finish(&k->cx);
}

#endif
