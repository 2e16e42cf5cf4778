/* Compiles a nest and the nests that pack its constants into one object, then runs them on caller's
 * memory. */
#include "jit/kernel.h"

#include <stdio.h>
#include <string.h>

#include "jit/kernel_data.h"

enum { MAX_PHASES = 8 };

/* One program of the object, bound to memory. */
typedef struct Bound {
    TileProg *prog;
    KernelEntry *entries[MAX_PHASES];
    int64_t tasks[MAX_PHASES];
    void **buffers;
} Bound;

struct Kernel {
    Nest *nest;
    Lowered lowered;
    Object *object;
    Bound main, packs[4];
    const int64_t *dims;
    const Executor *executor;
    char *scratch;
    int64_t scratch_bytes; /* of one worker */
    void *zeros;
    int32_t error;
};

static void close_object(void *object)
{
    object_close(object);
}

static bool find_entries(Cx *cx, const Kernel *kernel, Bound *bound)
{
    if (bound->prog->grid_count > MAX_PHASES) {
        cx_fail(cx, ST_internal, "kernel '%s' has more than %d phases", bound->prog->name,
                MAX_PHASES);
        return false;
    }
    for (uint32_t g = 0; g < bound->prog->grid_count; g++) {
        char name[300];
        snprintf(name, sizeof name, "%s_%u", bound->prog->name, g);
        bound->entries[g] = object_find(kernel->object, name);
        if (!bound->entries[g]) {
            cx_fail(cx, ST_internal, "the object has no function '%s'", name);
            return false;
        }
    }
    return true;
}

Kernel *kernel_compile(Cx *cx, Nest *nest, const Schedule *schedule, const Caps *caps,
                       const LlvmModule *llvm)
{
    Kernel *kernel = NEW(cx->arena, Kernel);
    kernel->nest = nest;
    Schedule chosen = schedule ? *schedule : schedule_choose(cx, nest, caps);
    if (!schedule_apply(cx, nest, &chosen, caps, &kernel->lowered))
        return NULL;
    TileProg *progs[5] = {kernel->lowered.prog};
    kernel->main.prog = progs[0];
    for (int i = 0; i < kernel->lowered.pack_count; i++) {
        Nest *pack = kernel->lowered.packs[i].nest;
        Schedule plain = schedule_choose(cx, pack, caps);
        Lowered lowered;
        if (!schedule_apply(cx, pack, &plain, caps, &lowered))
            return NULL;
        progs[1 + i] = kernel->packs[i].prog = lowered.prog;
    }
    ObjectBytes bytes;
    if (!llvm->api->emit(cx, progs, 1 + kernel->lowered.pack_count, caps, (LlvmOptions){0}, &bytes))
        return NULL;
    const char *why;
    kernel->object = object_load(bytes.data, bytes.size, &why);
    if (!kernel->object) {
        cx_fail(cx, ST_internal, "kernel '%s': %s", nest->name, why);
        return NULL;
    }
    cx_cleanup(cx, close_object, kernel->object);
    bool found = find_entries(cx, kernel, &kernel->main);
    for (int i = 0; i < kernel->lowered.pack_count; i++)
        found = found && find_entries(cx, kernel, &kernel->packs[i]);
    return found ? kernel : NULL;
}

const Lowered *kernel_lowered(const Kernel *kernel)
{
    return &kernel->lowered;
}

typedef struct DimLookup {
    const TileProg *prog;
    const int64_t *dims;
} DimLookup;

static bool lookup_dim(void *user, const Expr *sym, int64_t *value)
{
    const DimLookup *l = user;
    for (uint32_t i = 0; i < l->prog->dim_count; i++)
        if (l->prog->dims[i] == sym) {
            *value = l->dims[i];
            return true;
        }
    return false;
}

static bool eval(Cx *cx, const TileProg *prog, const int64_t *dims, const Expr *e, int64_t *value)
{
    DimLookup lookup = {prog, dims};
    if (expr_eval(e, lookup_dim, &lookup, value))
        return true;
    cx_fail(cx, ST_bad_argument, "kernel '%s': a size overflows", prog->name);
    return false;
}

static void *buffer_memory(Cx *cx, const TileProg *prog, const Buffer *buffer, const int64_t *dims)
{
    const Expr *count = expr_const(cx, 1);
    for (int d = 0; d < buffer->rank; d++)
        count = expr_mul(cx, count, buffer->shape[d]);
    int64_t elements;
    return eval(cx, prog, dims, count, &elements)
               ? kernel_memory(cx, dtype_bytes(buffer->dtype, elements))
               : NULL;
}

static bool bind_grids(Cx *cx, Bound *bound, const int64_t *dims)
{
    for (uint32_t g = 0; g < bound->prog->grid_count; g++) {
        const Grid *grid = bound->prog->grids[g];
        const Expr *tasks = expr_const(cx, 1);
        for (int d = 0; d < grid->rank; d++)
            tasks = expr_mul(cx, tasks, expr_max(cx, grid->extents[d], expr_const(cx, 0)));
        if (!eval(cx, bound->prog, dims, tasks, &bound->tasks[g]))
            return false;
    }
    return true;
}

typedef struct Launch {
    KernelEntry *entry;
    KernelArgs args;
    char *scratch;
    int64_t scratch_bytes;
} Launch;

static void launch_range(void *arg, int64_t begin, int64_t end, int worker)
{
    const Launch *launch = arg;
    launch->entry(&launch->args, begin, end, launch->scratch + worker * launch->scratch_bytes);
}

static void run_bound(Kernel *kernel, const Bound *bound)
{
    static const CancelFlag never;
    for (uint32_t g = 0; g < bound->prog->grid_count; g++) {
        Launch launch = {bound->entries[g],
                         {bound->buffers, kernel->dims, kernel->zeros, &kernel->error, &never},
                         kernel->scratch,
                         kernel->scratch_bytes};
        kernel->executor->parallel_for(kernel->executor->user, bound->tasks[g], launch_range,
                                       &launch);
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool bind_scratch(Cx *cx, Kernel *kernel, const Executor *executor)
{
    kernel->scratch_bytes = tile_scratch_bytes(kernel->main.prog);
    for (int i = 0; i < kernel->lowered.pack_count; i++)
        kernel->scratch_bytes =
            larger(kernel->scratch_bytes, tile_scratch_bytes(kernel->packs[i].prog));
    kernel->scratch_bytes = (kernel->scratch_bytes + 63) / 64 * 64;
    kernel->scratch =
        kernel_memory(cx, kernel->scratch_bytes * executor->worker_count(executor->user));
    kernel->zeros = kernel_memory(cx, ABI_ZERO_PAGE);
    return kernel->scratch && kernel->zeros;
}

bool kernel_bind(Cx *cx, Kernel *kernel, void *const *buffers, const int64_t *dims,
                 const Executor *executor)
{
    kernel->dims = dims;
    kernel->executor = executor;
    TileProg *prog = kernel->main.prog;
    void **bound = NEW_ARRAY(cx->arena, void *, prog->buffer_count);
    kernel->main.buffers = bound;
    memcpy(bound, buffers, kernel->nest->buffer_count * sizeof *bound);
    for (uint32_t i = kernel->nest->buffer_count; i < prog->buffer_count; i++)
        if (!(bound[i] = buffer_memory(cx, prog, prog->buffers[i], dims)))
            return false;
    if (!bind_scratch(cx, kernel, executor) || !bind_grids(cx, &kernel->main, dims))
        return false;
    for (int i = 0; i < kernel->lowered.pack_count; i++) {
        Bound *pack = &kernel->packs[i];
        int index = kernel->lowered.packs[i].index;
        pack->buffers = NEW_ARRAY(cx->arena, void *, pack->prog->buffer_count);
        pack->buffers[0] = bound[index];
        pack->buffers[1] = bound[index] = buffer_memory(cx, prog, prog->buffers[index], dims);
        for (uint32_t b = 2; b < pack->prog->buffer_count; b++)
            pack->buffers[b] = buffer_memory(cx, pack->prog, pack->prog->buffers[b], dims);
        if (cx_failed(cx) || !bind_grids(cx, pack, dims))
            return false;
        run_bound(kernel, pack);
    }
    return !cx_failed(cx);
}

int32_t kernel_run(Kernel *kernel)
{
    kernel->error = 0;
    run_bound(kernel, &kernel->main);
    return kernel->error;
}
