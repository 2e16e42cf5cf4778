/* Calls a host operation by its name: operands from values written in the test, results compared
 * with values. */
#ifndef QUERN_TESTS_HOST_CASE_H
#define QUERN_TESTS_HOST_CASE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runtime/host.h"

enum { HOST_CASE_MOST = 16 };

typedef struct HostCase {
    HostCall call;
    Report report;
    HostTensor inputs[HOST_CASE_MOST], outputs[HOST_CASE_MOST];
    Dtype dtypes[HOST_CASE_MOST];
    int64_t dims[2 * HOST_CASE_MOST][8];
    Status status;
    int refuse; /* the how-manieth allocation fails; 0: none */
} HostCase;

/* Zeroed memory of exactly this size, kept until the test ends. */
static inline void *host_case_block(size_t bytes)
{
    static void **newest;
    void **block = calloc(1, 16 + bytes);
    cr_assert_not_null(block);
    *block = newest;
    newest = block;
    return (char *)block + 16;
}

static inline void *host_case_memory(HostCase *c, size_t bytes)
{
    if (c->refuse && !--c->refuse) {
        report_fail(&c->report, ST_out_of_memory, "refused");
        return NULL;
    }
    return host_case_block(bytes);
}

static inline void *host_case_output(HostCall *call, int index, int rank, const int64_t *dims)
{
    HostCase *c = call->user;
    cr_assert(index >= 0 && index < call->output_count && rank <= 8);
    cr_assert_null(c->outputs[index].dims, "output %d is asked for twice", index);
    size_t bytes = 1;
    for (int d = 0; d < rank; d++)
        bytes *= (size_t)(c->dims[HOST_CASE_MOST + index][d] = dims[d]);
    Dtype dtype = call->output_dtypes[index];
    bytes *= dtype == DT_string ? sizeof(HostString) : (size_t)dtype_bits(dtype) / 8;
    void *data = host_case_memory(c, bytes);
    c->outputs[index] = (HostTensor){dtype, rank, c->dims[HOST_CASE_MOST + index], data};
    return data;
}

static inline void *host_case_scratch(HostCall *call, size_t bytes)
{
    void *block = host_case_memory(call->user, bytes + 64);
    return block ? (void *)(((uintptr_t)block + 63) & ~(uintptr_t)63) : NULL;
}

static inline const char *host_case_keep(HostCall *call, const char *bytes, size_t length)
{
    char *copy = host_case_memory(call->user, length);
    return copy ? memcpy(copy, bytes, length) : NULL;
}

/* A call of no operands yet. */
static inline HostCase *host_case(void)
{
    HostCase *c = host_case_block(sizeof *c);
    c->call = (HostCall){.inputs = c->inputs,
                         .output_dtypes = c->dtypes,
                         .report = &c->report,
                         .output = host_case_output,
                         .scratch = host_case_scratch,
                         .keep = host_case_keep,
                         .user = c};
    return c;
}

/* Room for one more operand of shape "2,3"; its elements are in memory of exactly their size, so
 * that a sanitizer sees a read behind it. */
static inline void *host_case_add(HostCase *c, Dtype dtype, const char *dims, size_t *count)
{
    int i = c->call.input_count++, rank = 0;
    char *end;
    cr_assert(i < HOST_CASE_MOST);
    *count = 1;
    for (const char *at = dims; *at; at = *end ? end + 1 : end)
        *count *= (size_t)(c->dims[i][rank++] = strtoll(at, &end, 10));
    size_t size = dtype == DT_string ? sizeof(HostString) : (size_t)dtype_bits(dtype) / 8;
    void *data = host_case_block(*count * size);
    c->inputs[i] = (HostTensor){dtype, rank, c->dims[i], data};
    return data;
}

static inline void host_case_in(HostCase *c, Dtype dtype, const char *dims, const double *values)
{
    size_t count;
    void *data = host_case_add(c, dtype, dims, &count);
    for (size_t i = 0; i < count; i++)
        dtype_store(dtype, data, (int64_t)i,
                    dtype_convert(dtype_compute(dtype), DT_f64, (Scalar){.f = values[i]}));
}

static inline void host_case_texts(HostCase *c, const char *dims, const char *const *values)
{
    size_t count;
    HostString *data = host_case_add(c, DT_string, dims, &count);
    for (size_t i = 0; i < count; i++)
        data[i] = (HostString){values[i][0] ? values[i] : NULL, strlen(values[i])};
}

static inline void host_case_bytes(HostCase *c, const void *bytes, size_t length)
{
    char dims[32];
    size_t count;
    snprintf(dims, sizeof dims, "%zu", length);
    memcpy(host_case_add(c, DT_u8, dims, &count), bytes, length);
}

static inline void host_case_text(HostCase *c, const char *text)
{
    host_case_bytes(c, text, strlen(text));
}

#define IN(c, dtype, dims, ...) host_case_in(c, DT_##dtype, dims, (const double[]){__VA_ARGS__})
#define IN_INT(c, value) IN(c, i64, "", value)
#define IN_NONE(c) IN(c, u8, "0", 0)
#define IN_TEXTS(c, dims, ...) host_case_texts(c, dims, (const char *const[]){__VA_ARGS__})

/* Runs it; results of these types. */
static inline Status host_case_run(HostCase *c, const char *name, int count, const Dtype *dtypes)
{
    HostFn *fn = host_find(name);
    cr_assert(fn, "there is no %s", name);
    c->call.output_count = count;
    memcpy(c->dtypes, dtypes, (size_t)count * sizeof *dtypes);
    c->status = fn(&c->call);
    if (c->status == ST_ok)
        for (int i = 0; i < count; i++)
            cr_assert_not_null(c->outputs[i].dims, "%s: no output %d", name, i);
    return c->status;
}
#define RUN(c, name, ...)                                                                          \
    host_case_run(c, name, (int)(sizeof((Dtype[]){__VA_ARGS__}) / sizeof(Dtype)),                  \
                  (const Dtype[]){__VA_ARGS__})

static inline void host_case_shape(const HostCase *c, int i, const char *dims)
{
    char got[200] = "";
    for (int d = 0; d < c->outputs[i].rank; d++)
        snprintf(got + strlen(got), sizeof got - strlen(got), d ? ",%lld" : "%lld",
                 (long long)c->outputs[i].dims[d]);
    cr_assert_str_eq(got, dims, "output %d is of shape [%s], not [%s]", i, got, dims);
}

static inline int64_t host_case_count(const HostCase *c, int i)
{
    int64_t count = 1;
    for (int d = 0; d < c->outputs[i].rank; d++)
        count *= c->outputs[i].dims[d];
    return count;
}

static inline void host_case_out(const HostCase *c, int i, const char *dims, const double *values)
{
    cr_assert_eq(c->status, ST_ok, "%s", c->report.text);
    host_case_shape(c, i, dims);
    Dtype dtype = c->outputs[i].dtype;
    for (int64_t k = 0; k < host_case_count(c, i); k++) {
        Scalar raw = dtype_load(dtype, c->outputs[i].data, k);
        double got = dtype_convert(DT_f64, dtype_compute(dtype), raw).f;
        cr_expect(got == values[k] || (isnan(got) && isnan(values[k])),
                  "output %d [%lld] is %.17g, not %.17g", i, (long long)k, got, values[k]);
    }
}
#define OUT(c, i, dims, ...) host_case_out(c, i, dims, (const double[]){__VA_ARGS__})

static inline void host_case_out_texts(const HostCase *c, int i, const char *dims,
                                       const char *const *values)
{
    cr_assert_eq(c->status, ST_ok, "%s", c->report.text);
    host_case_shape(c, i, dims);
    const HostString *data = c->outputs[i].data;
    for (int64_t k = 0; k < host_case_count(c, i); k++)
        cr_expect(data[k].length == strlen(values[k]) &&
                      (!data[k].length || memcmp(data[k].data, values[k], data[k].length) == 0),
                  "output %d [%lld] is '%.*s', not '%s'", i, (long long)k, (int)data[k].length,
                  data[k].data ? data[k].data : "", values[k]);
}
#define OUT_TEXTS(c, i, dims, ...)                                                                 \
    host_case_out_texts(c, i, dims, (const char *const[]){__VA_ARGS__})

/* It is refused, with a message that holds `text`. */
static inline void host_case_refused(const HostCase *c, const char *text)
{
    cr_assert_eq(c->status, ST_bad_argument, "wanted '%s', got %d: %s", text, (int)c->status,
                 c->report.text);
    cr_expect(strstr(c->report.text, text), "'%s' is not in: %s", text, c->report.text);
}

#endif
