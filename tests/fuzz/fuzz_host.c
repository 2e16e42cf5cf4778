/* Host operations called as no plan would: any operation, types, shapes and contents. An input is
 *
 *   name '\n', number of results, their types,
 *   and for every operand: type, rank, extents (a byte each; 255 is larger than memory), elements
 *   (a string: length, bytes), which are zero where the input ends
 *
 * What an operation reads lies in memory of exactly its size; results must be there when it says
 * that they are. */
#include <stdlib.h>
#include <string.h>

#include "runtime/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 16, RANK = 5, MOST_BYTES = 1 << 14, MOST_MEMORY = 1 << 26 };

typedef struct Fuzz {
    const uint8_t *at, *end;
    HostCall call;
    Report report;
    HostTensor inputs[MOST];
    int64_t dims[MOST][RANK];
    Dtype dtypes[MOST];
    bool made[MOST];
    void *blocks; /* a list, by their first word */
    size_t used;
} Fuzz;

static uint8_t next(Fuzz *f)
{
    return f->at < f->end ? *f->at++ : 0;
}

static void *memory(Fuzz *f, size_t bytes)
{
    f->used = bytes > MOST_MEMORY - f->used ? MOST_MEMORY : f->used + bytes;
    void **block = f->used < MOST_MEMORY ? malloc(64 + bytes) : NULL;
    if (!block) {
        report_fail(&f->report, ST_out_of_memory, "refused");
        return NULL;
    }
    *block = f->blocks;
    f->blocks = block;
    return (char *)block + 64;
}

static size_t bytes_of(Dtype dtype, int64_t count)
{
    return dtype == DT_string ? (size_t)count * sizeof(HostString)
                              : ((size_t)count * (size_t)dtype_bits(dtype) + 7) / 8;
}

static void *output(HostCall *call, int index, int rank, const int64_t *dims)
{
    Fuzz *f = call->user;
    int64_t count = 1;
    if (index < 0 || index >= call->output_count || f->made[index] || rank < 0)
        abort();
    for (int d = 0; d < rank; d++)
        if (dims[d] < 0 || __builtin_mul_overflow(count, dims[d], &count) || count > MOST_MEMORY) {
            report_fail(&f->report, ST_limit, "too large");
            return NULL;
        }
    f->made[index] = true;
    return memory(f, bytes_of(call->output_dtypes[index], count));
}

static void *scratch(HostCall *call, size_t bytes)
{
    char *block = bytes < MOST_MEMORY ? memory(call->user, bytes + 64) : NULL;
    if (!block && !((Fuzz *)call->user)->report.text[0])
        report_fail(call->report, ST_out_of_memory, "refused");
    return block ? block + (64 - (uintptr_t)block % 64) % 64 : NULL;
}

static const char *keep(HostCall *call, const char *bytes, size_t length)
{
    char *copy = memory(call->user, length);
    return copy ? memcpy(copy, bytes, length) : NULL;
}

static void take_bytes(Fuzz *f, void *to, size_t bytes)
{
    size_t left = (size_t)(f->end - f->at), have = bytes < left ? bytes : left;
    if (!bytes)
        return;
    memset(to, 0, bytes);
    memcpy(to, f->at, have);
    f->at += have;
}

static const void *read_strings(Fuzz *f, int64_t count)
{
    HostString *texts = memory(f, (size_t)count * sizeof *texts);
    for (int64_t i = 0; texts && i < count; i++) {
        size_t length = next(f);
        char *text = length ? memory(f, length) : NULL;
        if (length && !text)
            return NULL;
        take_bytes(f, text, length);
        texts[i] = (HostString){text, length};
    }
    return texts;
}

/* An operand; false when it would be too large to have contents. */
static bool read_operand(Fuzz *f)
{
    int i = f->call.input_count;
    Dtype dtype = (Dtype)(next(f) % DT_count);
    int rank = next(f) % (RANK + 1);
    int64_t count = 1;
    for (int d = 0; d < rank; d++) {
        uint8_t extent = next(f);
        f->dims[i][d] = extent == 255 ? INT64_MAX / 2 : extent;
        if (__builtin_mul_overflow(count, f->dims[i][d], &count))
            count = INT64_MAX;
    }
    f->inputs[i] = (HostTensor){dtype, rank, f->dims[i], NULL};
    f->call.input_count++;
    if (count > MOST_BYTES) /* such operands have no memory */
        return true;
    if (dtype == DT_string)
        return (f->inputs[i].data = read_strings(f, count)) != NULL;
    size_t bytes = bytes_of(dtype, count);
    void *data = memory(f, bytes);
    f->inputs[i].data = data;
    if (!data)
        return false;
    take_bytes(f, data, bytes);
    return true;
}

static HostFn *read_name(Fuzz *f)
{
    char name[64];
    size_t length = 0;
    for (uint8_t c; length < sizeof name - 1 && (c = next(f)) != '\n' && c;)
        name[length++] = (char)c;
    name[length] = '\0';
    return strcmp(name, "custom") ? host_find(name) : NULL; /* calls the application's functions */
}

static void call(Fuzz *f, HostFn *fn)
{
    f->call = (HostCall){.output_count = next(f) % (MOST + 1),
                         .inputs = f->inputs,
                         .output_dtypes = f->dtypes,
                         .report = &f->report,
                         .output = output,
                         .scratch = scratch,
                         .keep = keep,
                         .user = f};
    for (int i = 0; i < f->call.output_count; i++)
        f->dtypes[i] = (Dtype)(next(f) % DT_count);
    bool good = true;
    while (good && f->at < f->end && f->call.input_count < MOST)
        good = read_operand(f);
    memset(&f->report, 0, sizeof f->report);
    if (!good)
        return;
    Status status = fn(&f->call);
    if (status != ST_ok && !f->report.text[0])
        abort(); /* a failure without a word */
    for (int i = 0; status == ST_ok && i < f->call.output_count; i++)
        if (!f->made[i])
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fuzz f = {.at = data, .end = data + size};
    HostFn *fn = read_name(&f);
    if (fn)
        call(&f, fn);
    while (f.blocks) {
        void *block = f.blocks;
        f.blocks = *(void **)block;
        free(block);
    }
    return 0;
}
