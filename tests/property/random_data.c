/* Data for nests: sizes, small integers on which float arithmetic is exact, legal indices. */
#include <string.h>

#include "tests/property/random_nest.h"

int64_t *random_nest_dims(Cx *cx, const Nest *nest, uint64_t seed)
{
    int64_t *dims = NEW_ARRAY(cx->arena, int64_t, nest->dim_count + 1);
    uint64_t state = seed ^ 0x51ED270B;
    for (uint32_t i = 0; i < nest->dim_count; i++) {
        const Expr *dim = nest->dims[i];
        uint64_t steps = (uint64_t)((dim->hi - dim->lo) / (dim->div > 0 ? dim->div : 1)) + 1;
        dims[i] = dim->lo + (int64_t)(random_next(&state) % steps) * (dim->div > 0 ? dim->div : 1);
    }
    return dims;
}

typedef struct Lookup {
    const Nest *nest;
    const int64_t *dims;
} Lookup;

static bool lookup(void *user, const Expr *sym, int64_t *value)
{
    const Lookup *l = user;
    for (uint32_t i = 0; i < l->nest->dim_count; i++) {
        if (l->nest->dims[i] == sym) {
            *value = l->dims[i];
            return true;
        }
    }
    return false;
}

int64_t buffer_reach(const Nest *nest, const Buffer *buffer, const int64_t *dims)
{
    Lookup l = {nest, dims};
    int64_t last, size, stride;
    if (!expr_eval(buffer->offset, lookup, &l, &last))
        return -1;
    for (int i = 0; i < buffer->rank; i++) {
        if (!expr_eval(buffer->shape[i], lookup, &l, &size) ||
            !expr_eval(buffer->strides[i], lookup, &l, &stride))
            return -1;
        if (size == 0)
            return 0;
        last += (size - 1) * stride;
    }
    return last + 1;
}

/* The largest legal index when the buffer's elements are bound as indices, else -1; *least: the
 * least one. */
static int64_t index_limit(const Nest *nest, const Buffer *buffer, const int64_t *dims,
                           int64_t *least)
{
    Lookup l = {nest, dims};
    int64_t hi = -1;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op == V_bind && v->args[0]->op == V_load && v->args[0]->access->buffer == buffer &&
            expr_eval(v->hi, lookup, &l, &hi))
            *least = v->wraps ? -hi - 1 : 0;
    }
    return hi;
}

void **random_nest_buffers(Cx *cx, const Nest *nest, const int64_t *dims, uint64_t seed,
                           int64_t *bytes)
{
    void **buffers = NEW_ARRAY(cx->arena, void *, nest->buffer_count + 1);
    uint64_t state = seed ^ 0xB0FFE12;
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        int64_t count = buffer_reach(nest, buffer, dims);
        CHECK(count >= 0);
        int64_t size = dtype_bytes(buffer->dtype, count), least = -3;
        int64_t limit = index_limit(nest, buffer, dims, &least), most = limit >= 0 ? limit : 3;
        char *memory = arena_alloc(cx->arena, (size_t)size + 128);
        memory += (64 - (uintptr_t)memory % 64) % 64;
        buffers[i] = memory;
        if (bytes)
            bytes[i] = size;
        memset(memory, 0x5A, (size_t)size);
        if (buffer->role == BUF_out || buffer->role == BUF_scratch)
            continue;
        for (int64_t k = 0; k < count; k++) {
            int64_t value = least + (int64_t)(random_next(&state) % (uint64_t)(most - least + 1));
            bool flt = dtype_is_float(buffer->dtype);
            dtype_store(buffer->dtype, memory, k,
                        flt ? (Scalar){.f = (double)value} : (Scalar){.i = value});
        }
    }
    return buffers;
}
