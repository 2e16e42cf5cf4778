/* Models of one node through the public interface, with strings and maps among the values. */
#ifndef QUERN_TESTS_HOST_MODEL_H
#define QUERN_TESTS_HOST_MODEL_H

#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/quern.h"
#include "onnx_wire.h"

enum { MOST = 6, LARGEST = 4096 };

/* An input, a part of the model (`fixed`), or a wanted output: strings or numbers. */
typedef struct Value {
    Dtype dtype;
    const char *dims;
    const char *const *texts;
    const double *numbers;
    bool fixed;
    bool keys; /* of the map whose values are in front */
} Value;

#define TEXTS(dims, ...)                                                                           \
    (Value)                                                                                        \
    {                                                                                              \
        DT_string, dims, (const char *const[]){__VA_ARGS__}, NULL, false, false                    \
    }
#define NUMBERS(dtype, dims, ...)                                                                  \
    (Value)                                                                                        \
    {                                                                                              \
        DT_##dtype, dims, NULL, (const double[]){__VA_ARGS__}, false, false                        \
    }
#define LIST(...) ((const Value[]){__VA_ARGS__, {.dims = NULL}})

static inline Value fixed(Value value)
{
    value.fixed = true;
    return value;
}

static inline Value keys(Value value)
{
    value.keys = true;
    return value;
}

static inline int64_t count_of(const Value *v)
{
    int64_t count = 1;
    char *end;
    for (const char *at = v->dims; *at; at = *end ? end + 1 : end)
        count *= strtoll(at, &end, 10);
    return count;
}

/* Elements as a run takes them; the bytes. */
static inline size_t elements(const Value *v, void *to)
{
    int64_t count = count_of(v);
    for (int64_t i = 0; i < count; i++) {
        if (v->texts)
            ((qn_string *)to)[i] = qn_str(v->texts[i]);
        else
            dtype_store(
                v->dtype, to, i,
                dtype_convert(dtype_compute(v->dtype), DT_f64, (Scalar){.f = v->numbers[i]}));
    }
    return (size_t)count * (v->texts ? sizeof(qn_string) : (size_t)dtype_bits(v->dtype) / 8);
}

static inline Wire constant(const char *name, const Value *v)
{
    char data[LARGEST];
    Wire t = tensor(name, (int)v->dtype, v->dims);
    for (int64_t i = 0; v->texts && i < count_of(v); i++)
        put_text(&t, 6, v->texts[i]);
    if (!v->texts)
        put_bytes(&t, 9, data, elements(v, data));
    return t;
}

/* A map, or a sequence of maps: ValueInfoProto. */
static inline Wire map_info(const char *name, Dtype key, Dtype value, bool sequence)
{
    Wire element = {0}, scalar = {0}, map = {0}, type = {0}, of = {0}, all = {0};
    put_int(&element, 1, (int64_t)value);
    put_wire(&scalar, 1, element);
    put_int(&map, 1, (int64_t)key);
    put_wire(&map, 2, scalar);
    put_wire(&type, 5, map);
    if (sequence) {
        put_wire(&of, 1, type);
        type = (Wire){0};
        put_wire(&type, 4, of);
    }
    put_text(&all, 1, name);
    put_wire(&all, 2, type);
    return all;
}

/* Inputs a, b, c ..., outputs p, q, r ... of sizes that the model leaves open. */
static inline Wire model_of(Wire n, const char *domain, int64_t version, const Value *in,
                            const Value *out)
{
    Wire g = {0}, m = {0};
    char name[] = "a";
    put_text(&g, 2, "g");
    put_text(&n, 7, domain);
    put_wire(&g, 1, n);
    for (; in->dims; in += 1 + in[1].keys, name[0]++) {
        if (in->fixed)
            put_wire(&g, 5, constant(name, in));
        else if (in[1].keys)
            put_wire(&g, 11, map_info(name, in[1].dtype, in->dtype, false));
        else
            put_wire(&g, 11, info(name, (int)in->dtype, in->dims));
    }
    for (name[0] = 'p'; out->dims; out += 1 + out[1].keys, name[0]++) {
        char dims[20] = ""; /* as many symbols as dims */
        if (out[1].keys) {
            put_wire(&g, 12, map_info(name, out[1].dtype, out->dtype, true));
            continue;
        }
        for (const char *at = out->dims; *at; at += strcspn(at, ",") + (strchr(at, ',') != NULL))
            snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%s%d", *dims ? "," : "",
                     name, (int)strlen(dims));
        put_wire(&g, 12, info(name, (int)out->dtype, dims));
    }
    put_int(&m, 1, 8);
    put_wire(&m, 8, opset(domain, version));
    put_wire(&m, 7, g);
    return m;
}

static inline void check(const Value *want, const qn_tensor_info *got, const void *data, int index)
{
    char dims[100] = "";
    for (int d = 0; d < got->rank; d++)
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), d ? ",%lld" : "%lld",
                 (long long)got->dims[d].value);
    cr_assert_str_eq(dims, want->dims, "output %d is [%s], not [%s]", index, dims, want->dims);
    cr_assert_eq((int)got->dtype, (int)want->dtype);
    for (int64_t i = 0; i < count_of(want); i++) {
        if (want->texts) {
            qn_string text = ((const qn_string *)data)[i];
            cr_expect(text.length == strlen(want->texts[i]) &&
                          (!text.length || !memcmp(text.data, want->texts[i], text.length)),
                      "output %d [%d] is '%.*s', not '%s'", index, (int)i, (int)text.length,
                      text.data ? text.data : "", want->texts[i]);
            continue;
        }
        Scalar raw = dtype_load(want->dtype, data, i);
        double value = dtype_convert(DT_f64, dtype_compute(want->dtype), raw).f;
        cr_expect(value == want->numbers[i] || (isnan(value) && isnan(want->numbers[i])),
                  "output %d [%d] is %g, not %g", index, (int)i, value, want->numbers[i]);
    }
}

/* Whether an output's size is known before a run: then it goes to memory of ours. */
static inline bool is_ours(qn_session *session, int index)
{
    qn_tensor_info info;
    cr_assert_eq(qn_session_output(session, index, &info), QN_OK);
    return info.bytes >= 0 && info.dtype != QN_STRING;
}

static inline void run(qn_session *session, const Value *in, const Value *out, const bool *ours)
{
    static char memory[2 * MOST][LARGEST];
    qn_buffer inputs[MOST], outputs[MOST];
    size_t input_count = 0, output_count = 0;
    for (int k = 0; in[k].dims; k++)
        if (!in[k].fixed) {
            char *to = memory[input_count];
            inputs[input_count++] = (qn_buffer){qn_str(""), to, elements(&in[k], to)};
        }
    qn_tensor_info info;
    for (int k = 0; out[k].dims; k++) {
        outputs[output_count++] =
            (qn_buffer){qn_str(""), ours[k] ? memory[MOST + k] : NULL, ours[k] ? LARGEST : 0};
    }
    cr_assert_eq(qn_run(session, inputs, input_count, outputs, output_count), QN_OK, "%s",
                 qn_session_message(session));
    for (int k = 0; out[k].dims; k++) {
        const void *data = outputs[k].data;
        cr_assert_eq(qn_session_output(session, k, &info), QN_OK);
        if (!data)
            cr_assert_eq(qn_session_output_data(session, k, &data), QN_OK);
        check(&out[k], &info, data, k);
    }
}

static inline void expect_in(const char *domain, int64_t version, Wire n, const Value *in,
                             const Value *out)
{
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
    Wire wire = model_of(n, domain, version, in, out);
    const qn_model_options options = {.size = sizeof options};
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_from_memory(context, wire.data, wire.size, &options, &model), QN_OK, "%s",
                 qn_model_message(model));
    int64_t sizes[MOST];
    qn_shape shapes[MOST];
    qn_compile_options compile = {.size = sizeof compile, .shapes = shapes};
    for (int k = 0, i = 0; in[k].dims; k += 1 + in[k + 1].keys, i++) {
        qn_tensor_info info;
        if (!in[k + 1].keys)
            continue;
        cr_assert_eq(qn_model_input(model, i, &info), QN_OK);
        sizes[compile.shape_count] = count_of(&in[k]);
        shapes[compile.shape_count] = (qn_shape){info.name, 1, &sizes[compile.shape_count]};
        compile.shape_count++;
    }
    cr_assert_eq(qn_program_compile(model, &compile, &program), QN_OK, "%s",
                 qn_program_message(program));
    cr_assert_eq(qn_session_create(program, NULL, &session), QN_OK, "%s",
                 qn_session_message(session));
    bool ours[MOST];
    for (int k = 0; out[k].dims; k++)
        ours[k] = is_ours(session, k);
    for (int i = 0; i < 2; i++) /* and again */
        run(session, in, out, ours);
    qn_session_release(session);
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
}

static inline void expect(Wire n, const Value *in, const Value *out)
{
    expect_in("", 20, n, in, out);
}

#endif
