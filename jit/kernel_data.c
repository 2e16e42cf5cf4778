/* Memory for a nest: sizes from the buffers' shapes and strides at the dims chosen. */
#include "jit/kernel_data.h"

#include <string.h>

#include "base/dtype.h"

bool kernel_data_dim(void *user, const Expr *sym, int64_t *value)
{
    const KernelDims *d = user;
    for (uint32_t i = 0; i < d->nest->dim_count; i++)
        if (d->nest->dims[i] == sym) {
            *value = d->dims[i];
            return true;
        }
    return false;
}

static void fill(const Buffer *buffer, void *memory, int64_t count, uint64_t seed)
{
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        int64_t r = (int64_t)(seed >> 40);
        Scalar s = dtype_is_float(buffer->dtype) ? (Scalar){.f = (double)(r % 9 - 4) / 4}
                                                 : (Scalar){.i = r % 8};
        dtype_store(buffer->dtype, memory, i, s);
    }
}

/* Elements that the buffer spans; -1 when they have no number. */
static int64_t count_elements(Cx *cx, const Buffer *buffer, KernelDims *dims)
{
    const Expr *elements = expr_addi(cx, buffer->offset, 1);
    for (int d = 0; d < buffer->rank; d++)
        elements = expr_add(cx, elements,
                            expr_mul(cx, expr_addi(cx, buffer->shape[d], -1), buffer->strides[d]));
    int64_t count;
    bool known = expr_eval(elements, kernel_data_dim, dims, &count);
    return known && count >= 0 ? count : -1;
}

/* Bytes of a buffer that a run reads, of `bytes`. */
static double read_bytes(const Nest *nest, const Buffer *buffer, int64_t bytes, KernelDims *dims)
{
    double elements = 0, size = dtype_bits(buffer->dtype) / 8.0;
    for (uint32_t i = 0; i < nest->value_count; i++) {
        const Value *v = nest->values[i];
        if (v->op != V_load || v->access->buffer != buffer)
            continue;
        double points = 1;
        for (int a = 0; a < nest->axis_count; a++) {
            int64_t extent;
            if (!(v->axes >> a & 1))
                continue;
            if (!expr_eval(nest->axes[a].extent, kernel_data_dim, dims, &extent))
                return (double)bytes; /* it depends on another axis */
            points *= (double)extent;
        }
        elements += points;
    }
    return elements * size < (double)bytes ? elements * size : (double)bytes;
}

typedef struct Memory {
    void *ptr;
    size_t size;
} Memory;

static void release_memory(void *resource)
{
    Memory *memory = resource;
    if (memory->ptr)
        allocator_system.release(allocator_system.user, memory->ptr, memory->size);
}

enum { LINE = 64 };

/* With a line behind it, as vectors may read there. */
static int64_t padded(int64_t bytes)
{
    return (bytes + 2 * LINE - 1) / LINE * LINE;
}

void *kernel_memory(Cx *cx, int64_t bytes)
{
    if (bytes < 0 || bytes > (int64_t)1 << 40) {
        cx_fail(cx, ST_limit, "a buffer of %lld bytes", (long long)bytes);
        return NULL;
    }
    size_t size = (size_t)padded(bytes);
    Memory *memory = NEW(cx->arena, Memory);
    memory->size = size;
    cx_cleanup(cx, release_memory, memory);
    memory->ptr = allocator_system.alloc(allocator_system.user, size, LINE);
    if (!memory->ptr) {
        cx_fail(cx, ST_out_of_memory, "no memory for %zu bytes", size);
        return NULL;
    }
    return memset(memory->ptr, 0, size);
}

bool kernel_data(Cx *cx, const Nest *nest, KernelData *data)
{
    *data = (KernelData){.buffers = NEW_ARRAY(cx->arena, void *, nest->buffer_count),
                         .bytes = NEW_ARRAY(cx->arena, int64_t, nest->buffer_count),
                         .dims = NEW_ARRAY(cx->arena, int64_t, nest->dim_count + 1)};
    for (uint32_t i = 0; i < nest->dim_count; i++)
        data->dims[i] = nest->dims[i]->hi < KERNEL_DATA_DIM ? nest->dims[i]->hi : KERNEL_DATA_DIM;
    KernelDims dims = {nest, data->dims};
    int64_t all = 0;
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        int64_t count = count_elements(cx, buffer, &dims);
        data->bytes[i] = count < 0 ? -1 : dtype_bytes(buffer->dtype, count);
        if (data->bytes[i] < 0 || data->bytes[i] > INT64_MAX / 2 - all) {
            cx_fail(cx, ST_bad_argument, "buffer '%s' has no size", buffer->name);
            return false;
        }
        if (buffer->role == BUF_out)
            data->written += (double)data->bytes[i];
        else
            data->read += read_bytes(nest, buffer, data->bytes[i], &dims);
        all += padded(data->bytes[i]);
    }
    /* one piece, as the tensors of a session lie in */
    char *memory = kernel_memory(cx, all);
    for (uint32_t i = 0; i < nest->buffer_count && memory; i++) {
        const Buffer *buffer = nest->buffers[i];
        data->buffers[i] = memory;
        if (buffer->role != BUF_out)
            fill(buffer, memory, data->bytes[i] * 8 / dtype_bits(buffer->dtype), i + 1);
        memory += padded(data->bytes[i]);
    }
    return memory != NULL;
}

double kernel_data_difference(const Nest *nest, const KernelData *data, const KernelData *other)
{
    double worst = 0;
    for (uint32_t i = 0; i < nest->buffer_count; i++) {
        const Buffer *buffer = nest->buffers[i];
        if (buffer->role != BUF_out)
            continue;
        double largest = 1e-30, error = 0;
        int64_t count = data->bytes[i] * 8 / dtype_bits(buffer->dtype);
        for (int64_t k = 0; k < count; k++) {
            Scalar a = dtype_load(buffer->dtype, data->buffers[i], k),
                   b = dtype_load(buffer->dtype, other->buffers[i], k);
            double x = dtype_is_float(buffer->dtype) ? a.f : (double)a.i,
                   y = dtype_is_float(buffer->dtype) ? b.f : (double)b.i;
            double d = x > y ? x - y : y - x, size = y < 0 ? -y : y;
            bool same = x == y || (x != x && y != y); /* infinities and NaN have no difference */
            error = !same && (d > error || d != d) ? d : error;
            largest = size > largest ? size : largest;
        }
        worst = error / largest > worst || error != error ? error / largest : worst;
    }
    return worst;
}
