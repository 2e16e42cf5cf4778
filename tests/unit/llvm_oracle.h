/* Runs a tile program compiled and interpreted (tile_run) on the same made-up data and compares all
 * outputs. */
#ifndef QUERN_TESTS_LLVM_ORACLE_H
#define QUERN_TESTS_LLVM_ORACLE_H

#include <math.h>

#include "tests/unit/llvm_run.h"

enum { MAX_BUFFERS = 16, GUARD_BYTES = 256 };

typedef struct Oracle {
    Kernel *k;
    const int64_t *dims;
    void *memory[2][MAX_BUFFERS]; /* compiled, interpreted */
    int64_t bytes[MAX_BUFFERS], count[MAX_BUFFERS];
    int64_t bad_index;
    bool failed;
} Oracle;

static inline bool oracle_dim(void *user, const Expr *sym, int64_t *value)
{
    const Oracle *o = user;
    for (uint32_t i = 0; i < o->k->prog->dim_count; i++) {
        if (o->k->prog->dims[i] == sym) {
            *value = o->dims[i];
            return true;
        }
    }
    return false;
}

static inline int64_t oracle_eval(Oracle *o, const Expr *x)
{
    int64_t v = 0;
    cr_assert(expr_eval(x, oracle_dim, o, &v));
    return v;
}

/* Other data than small integers: fills an input buffer of `count` elements. */
static void (*oracle_data)(const Buffer *buffer, void *memory, int64_t count);

/* Small integers, exact in every type and in every order of summation; positive for unsigned types.
 */
static inline void oracle_fill(Oracle *o, int b)
{
    const Buffer *buffer = o->k->prog->buffers[b];
    int64_t end = oracle_eval(o, buffer->offset) + 1;
    for (int d = 0; d < buffer->rank; d++)
        end += (oracle_eval(o, buffer->shape[d]) - 1) * oracle_eval(o, buffer->strides[d]);
    o->count[b] = end < 0 ? 0 : end;
    o->bytes[b] = dtype_bytes(buffer->dtype, o->count[b]);
    for (int side = 0; side < 2; side++) {
        o->memory[side][b] = aligned_alloc(64, ((size_t)o->bytes[b] + GUARD_BYTES + 63) / 64 * 64);
        memset(o->memory[side][b], 0x5a, (size_t)o->bytes[b] + GUARD_BYTES);
        if (oracle_data && buffer->role == BUF_in) {
            oracle_data(buffer, o->memory[side][b], o->count[b]);
            continue;
        }
        bool is_unsigned =
            dtype_class(buffer->dtype) == DC_UINT || dtype_class(buffer->dtype) == DC_BOOL;
        for (int64_t i = 0;
             i < o->count[b] && buffer->role != BUF_out && buffer->role != BUF_scratch; i++) {
            int64_t v = (i * 7 + i / 13 + b) % 11 - (is_unsigned ? 0 : 5);
            Scalar s = {.i = v};
            if (dtype_is_float(buffer->dtype))
                s.f = (double)v / 2;
            dtype_store(buffer->dtype, o->memory[side][b], i, s);
        }
    }
}

static inline void oracle_interpret(Cx *cx, void *user)
{
    Oracle *o = user;
    NestRun run = {.buffers = o->memory[1], .dims = o->dims};
    o->failed = !tile_run(cx, o->k->prog, &run);
    o->bad_index = run.bad_index;
}

static inline int64_t oracle_tasks(Oracle *o, const Grid *grid)
{
    int64_t tasks = 1;
    for (int d = 0; d < grid->rank; d++)
        tasks *= oracle_eval(o, grid->extents[d]);
    return tasks;
}

static inline void oracle_compare(Oracle *o, int b, double tolerance)
{
    const Buffer *buffer = o->k->prog->buffers[b];
    if (tolerance == 0) {
        for (int64_t i = 0; i < o->count[b]; i++) {
            Scalar got = dtype_load(buffer->dtype, o->memory[0][b], i),
                   want = dtype_load(buffer->dtype, o->memory[1][b], i);
            bool same = got.i == want.i || (dtype_is_float(buffer->dtype) &&
                                            (got.f == want.f || (isnan(got.f) && isnan(want.f))));
            cr_assert(same, "%s %s: %s[%lld] is %g (%lld), not %g (%lld)", o->k->target,
                      o->k->prog->name, buffer->name, (long long)i, got.f, (long long)got.i, want.f,
                      (long long)want.i);
        }
    } else {
        for (int64_t i = 0; i < o->count[b]; i++) {
            double got = dtype_load(buffer->dtype, o->memory[0][b], i).f,
                   want = dtype_load(buffer->dtype, o->memory[1][b], i).f;
            cr_assert(fabs(got - want) <= tolerance * (1 + fabs(want)) ||
                          (isnan(got) && isnan(want)),
                      "%s %s: %s[%lld] is %g, not %g", o->k->target, o->k->prog->name, buffer->name,
                      (long long)i, got, want);
        }
    }
    for (int64_t i = o->bytes[b]; i < o->bytes[b] + GUARD_BYTES; i++)
        cr_assert_eq(((uint8_t *)o->memory[0][b])[i], 0x5a, "%s: %s written past its end",
                     o->k->prog->name, buffer->name);
}

/* tolerance 0: bit for bit. Returns the error cell. */
static inline int oracle_check(const char *text, const char *target, const int64_t *dims,
                               double tolerance)
{
    Kernel k;
    if (!kernel_runs(target))
        return 0;
    cr_assert_eq(kernel_open(&k, text, target), ST_ok, "%s\n%s", k.cx.message, text);
    Oracle o = {.k = &k, .dims = dims};
    cr_assert(k.prog->buffer_count <= MAX_BUFFERS);
    for (uint32_t b = 0; b < k.prog->buffer_count; b++)
        oracle_fill(&o, (int)b);
    Status status = cx_run(&k.cx, oracle_interpret, &o);
    cr_assert(status == ST_ok && !o.failed, "%s", k.cx.message);
    for (uint32_t g = 0; g < k.prog->grid_count; g++) {
        int64_t tasks = oracle_tasks(&o, k.prog->grids[g]);
        for (int64_t from = 0; from < tasks; from += 3)
            kernel_run(&k, (int)g, o.memory[0], dims, from, from + 3 < tasks ? from + 3 : tasks);
    }
    for (uint32_t b = 0; b < k.prog->buffer_count; b++) {
        oracle_compare(&o, (int)b, k.prog->buffers[b]->role == BUF_out ? tolerance : 0);
        free(o.memory[0][b]);
        free(o.memory[1][b]);
    }
    cr_assert_eq(k.error != 0, o.bad_index != 0);
    int error = k.error;
    kernel_close(&k);
    return error;
}

/* On every level this machine has. `text` names its target as %s. */
static inline void oracle_check_all(const char *format, const int64_t *dims, double tolerance)
{
    static const char *const targets[] = {"x86-64-v3", "x86-64-v4"};
    char text[8192];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, format, targets[i]);
        oracle_check(text, targets[i], dims, tolerance);
    }
}

#endif
