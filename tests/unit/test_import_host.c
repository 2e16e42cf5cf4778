/* Operators of the host and moves of strings, as models of one node, through the public interface.
 */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/quern.h"
#include "onnx_wire.h"

TestSuite(import_host, .init = wire_init, .fini = wire_finish);

enum { MOST = 6, LARGEST = 4096 };

/* An input, a part of the model (`fixed`), or a wanted output: strings or numbers. */
typedef struct Value {
    Dtype dtype;
    const char *dims;
    const char *const *texts;
    const double *numbers;
    bool fixed;
} Value;

#define TEXTS(dims, ...)                                                                           \
    (Value)                                                                                        \
    {                                                                                              \
        DT_string, dims, (const char *const[]){__VA_ARGS__}, NULL, false                           \
    }
#define NUMBERS(dtype, dims, ...)                                                                  \
    (Value)                                                                                        \
    {                                                                                              \
        DT_##dtype, dims, NULL, (const double[]){__VA_ARGS__}, false                               \
    }
#define LIST(...) ((const Value[]){__VA_ARGS__, {.dims = NULL}})

static Value fixed(Value value)
{
    value.fixed = true;
    return value;
}

static int64_t count_of(const Value *v)
{
    int64_t count = 1;
    char *end;
    for (const char *at = v->dims; *at; at = *end ? end + 1 : end)
        count *= strtoll(at, &end, 10);
    return count;
}

/* Elements as a run takes them; the bytes. */
static size_t elements(const Value *v, void *to)
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

static Wire constant(const char *name, const Value *v)
{
    char data[LARGEST];
    Wire t = tensor(name, (int)v->dtype, v->dims);
    for (int64_t i = 0; v->texts && i < count_of(v); i++)
        put_text(&t, 6, v->texts[i]);
    if (!v->texts)
        put_bytes(&t, 9, data, elements(v, data));
    return t;
}

/* Inputs a, b, c ..., outputs p, q, r ... of sizes that the model leaves open. */
static Wire model_of(Wire n, const char *domain, int64_t version, const Value *in, const Value *out)
{
    Wire g = {0}, m = {0};
    char name[] = "a";
    put_text(&g, 2, "g");
    put_text(&n, 7, domain);
    put_wire(&g, 1, n);
    for (; in->dims; in++, name[0]++) {
        if (in->fixed)
            put_wire(&g, 5, constant(name, in));
        else
            put_wire(&g, 11, info(name, (int)in->dtype, in->dims));
    }
    for (name[0] = 'p'; out->dims; out++, name[0]++) {
        char dims[20] = ""; /* as many symbols as dims */
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

static void check(const Value *want, const qn_tensor_info *got, const void *data, int index)
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
static bool is_ours(qn_session *session, int index)
{
    qn_tensor_info info;
    cr_assert_eq(qn_session_output(session, index, &info), QN_OK);
    return info.bytes >= 0 && info.dtype != QN_STRING;
}

static void run(qn_session *session, const Value *in, const Value *out, const bool *ours)
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

static void expect_in(const char *domain, int64_t version, Wire n, const Value *in,
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
    cr_assert_eq(qn_program_compile(model, NULL, &program), QN_OK, "%s",
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

static void expect(Wire n, const Value *in, const Value *out)
{
    expect_in("", 20, n, in, out);
}

static Wire with_int(Wire n, const char *name, int64_t value)
{
    Wire a = attr(name, 2);
    put_int(&a, 3, value);
    put_wire(&n, 5, a);
    return n;
}

static Wire with_ints(Wire n, const char *name, const char *list)
{
    Wire a = attr(name, 7);
    put_dims(&a, 8, list);
    put_wire(&n, 5, a);
    return n;
}

static Wire with_texts(Wire n, const char *name, const char *list)
{
    Wire a = attr(name, 8);
    put_list(&a, 9, list);
    put_wire(&n, 5, a);
    return n;
}

/* ---- strings are moved as numbers are */

#define X TEXTS("2,3", "a", "bb", "", "d", "e", "f")
#define Y TEXTS("1,3", "x", "y", "z")

Test(import_host, gather)
{
    Wire n = with_int(node("Gather", "a,b", "p"), "axis", 1);
    const Value *want = LIST(TEXTS("2,2", "", "a", "f", "d"));
    expect(n, LIST(X, NUMBERS(i64, "2", -1, 0)), want);
    expect(n, LIST(fixed(X), NUMBERS(i64, "2", -1, 0)), want);
    expect(n, LIST(X, fixed(NUMBERS(i64, "2", -1, 0))), want);
}

Test(import_host, several_operands)
{
    expect(with_int(node("Concat", "a,b,a", "p"), "axis", 0), LIST(X, Y),
           LIST(TEXTS("5,3", "a", "bb", "", "d", "e", "f", "x", "y", "z", "a", "bb", "", "d", "e",
                      "f")));
    expect(node("Where", "a,b,c", "p"), LIST(NUMBERS(bool, "1,3", 1, 0, 1), X, fixed(Y)),
           LIST(TEXTS("2,3", "a", "y", "", "d", "y", "f")));
    expect(with_int(node("ScatterElements", "a,b,c", "p"), "axis", 1),
           LIST(X, NUMBERS(i64, "1,2", 1, 0), TEXTS("1,2", "new", "old")),
           LIST(TEXTS("2,3", "old", "new", "", "d", "e", "f")));
}

Test(import_host, views)
{
    expect(with_ints(node("Transpose", "a", "p"), "perm", "1,0"), LIST(X),
           LIST(TEXTS("3,2", "a", "d", "bb", "e", "", "f")));
    expect(node("Reshape", "a,b", "p"), LIST(X, fixed(NUMBERS(i64, "2", -1, 2))),
           LIST(TEXTS("3,2", "a", "bb", "", "d", "e", "f")));
    expect(node("Identity", "a", "p"), LIST(X), LIST(X));
    expect(node("Tile", "a,b", "p"), LIST(Y, fixed(NUMBERS(i64, "2", 2, 1))),
           LIST(TEXTS("2,3", "x", "y", "z", "x", "y", "z")));
}

Test(import_host, several_results)
{
    expect(with_int(node("Split", "a,b", "p,q"), "axis", 1),
           LIST(X, fixed(NUMBERS(i64, "2", 1, 2))),
           LIST(TEXTS("2,1", "a", "d"), TEXTS("2,2", "bb", "", "e", "f")));
}

Test(import_host, constants)
{
    expect(with_texts(node("Constant", "", "p"), "value_strings", "one,two"),
           LIST(fixed(NUMBERS(i64, "1", 0))), LIST(TEXTS("2", "one", "two")));
}

Test(import_host, equal_and_concat)
{
    expect(node("Equal", "a,b", "p"), LIST(X, TEXTS("3", "a", "e", "")),
           LIST(NUMBERS(bool, "2,3", 1, 0, 1, 0, 1, 0)));
    expect(node("StringConcat", "a,b", "p"), LIST(X, TEXTS("3", "1", "2", "3")),
           LIST(TEXTS("2,3", "a1", "bb2", "3", "d1", "e2", "f3")));
}

Test(import_host, casts)
{
    expect(with_int(node("Cast", "a", "p"), "to", 8), LIST(NUMBERS(f32, "3", 1, 0.1f, NAN)),
           LIST(TEXTS("3", "1.0", "0.1", "NaN")));
    expect(with_int(node("Cast", "a", "p"), "to", 7), LIST(TEXTS("2", "15", " -2 ")),
           LIST(NUMBERS(i64, "2", 15, -2)));
}

/* ---- sizes that only a run tells */

Test(import_host, unique)
{
    expect(node("Unique", "a", "p,q,r,s"), LIST(TEXTS("5", "b", "a", "b", "c", "a")),
           LIST(TEXTS("3", "a", "b", "c"), NUMBERS(i64, "3", 1, 0, 3),
                NUMBERS(i64, "5", 1, 0, 1, 2, 0), NUMBERS(i64, "3", 2, 2, 1)));
    expect(with_int(with_int(node("Unique", "a", "p,,q"), "axis", -1), "sorted", 0),
           LIST(NUMBERS(f32, "2,3", 2, 1, 2, 5, 5, 5)),
           LIST(NUMBERS(f32, "2,2", 2, 1, 5, 5), NUMBERS(i64, "3", 0, 1, 0)));
}

Test(import_host, compress)
{
    Wire n = node("Compress", "a,b", "p");
    expect(with_int(n, "axis", 1), LIST(X, NUMBERS(bool, "2", 0, 1)),
           LIST(TEXTS("2,1", "bb", "e")));
    expect(n, LIST(NUMBERS(f16, "2,2", 1, 2, 3, 4), NUMBERS(bool, "4", 1, 0, 0, 1)),
           LIST(NUMBERS(f16, "2", 1, 4)));
    expect(n, LIST(NUMBERS(i8, "3", 1, 2, 3), NUMBERS(bool, "3", 0, 0, 0)),
           LIST(NUMBERS(i8, "0", 0)));
}

Test(import_host, topk)
{
    Wire n = node("TopK", "a,b", "p,q");
    const Value x = NUMBERS(f32, "2,3", 1, 3, 3, 0, -1, NAN), k = NUMBERS(i64, "1", 2);
    const Value *want = LIST(NUMBERS(f32, "2,2", 3, 3, NAN, 0), NUMBERS(i64, "2,2", 1, 2, 2, 0));
    expect(n, LIST(x, k), want);
    expect(n, LIST(x, fixed(k)), want);
    expect_in("", 1, with_int(node("TopK", "a", "p,q"), "k", 2), LIST(x), want);
    expect(with_int(with_int(n, "axis", 0), "largest", 0), LIST(x, fixed(NUMBERS(i64, "1", 1))),
           LIST(NUMBERS(f32, "1,3", 0, -1, 3), NUMBERS(i64, "1,3", 1, 1, 0)));
}

/* ---- maps and n-grams */

Test(import_host, labels)
{
    Wire n = node("LabelEncoder", "a", "p");
    Wire names = with_texts(with_texts(n, "keys_strings", "a,b,a"), "values_strings", "A,B,C");
    expect_in("ai.onnx.ml", 4, names, LIST(TEXTS("3", "a", "z", "b")),
              LIST(TEXTS("3", "C", "_Unused", "B")));
    Wire numbers = with_ints(with_texts(n, "keys_strings", "a,b"), "values_int64s", "5,6");
    expect_in("ai.onnx.ml", 2, numbers, LIST(TEXTS("2,1", "b", "?")),
              LIST(NUMBERS(i64, "2,1", 6, -1)));
    Wire classes = with_texts(n, "classes_strings", "a,b");
    expect_in("ai.onnx.ml", 1, classes, LIST(TEXTS("2", "b", "?")), LIST(NUMBERS(i64, "2", 1, -1)));
    expect_in("ai.onnx.ml", 1, classes, LIST(NUMBERS(i64, "2", 1, 9)),
              LIST(TEXTS("2", "b", "_Unused")));
}

Test(import_host, categories)
{
    Wire n = node("CategoryMapper", "a", "p");
    n = with_ints(with_texts(n, "cats_strings", "a,b"), "cats_int64s", "5,6");
    expect_in("ai.onnx.ml", 1, n, LIST(TEXTS("2", "b", "?")), LIST(NUMBERS(i64, "2", 6, -1)));
    expect_in("ai.onnx.ml", 1, n, LIST(NUMBERS(i64, "2", 5, 9)), LIST(TEXTS("2", "a", "_Unused")));
}
