/* Tensors of every form, sparse tensors, and values outside a model. External data is in
 * test_onnx_external.c. */
#include "onnx_models.h"
#include "onnx_reading.h"

TestSuite(onnx_tensor, .init = wire_init, .fini = wire_finish);

static Reading reading;

static const OnnxTensor *good_tensor(Wire t)
{
    return read_good(&reading, tensor_model(t))->graph.inits;
}

static Wire packed(const char *name, int dtype, const char *dims, unsigned field, const void *data,
                   size_t size)
{
    Wire t = tensor(name, dtype, dims);
    put_bytes(&t, field, data, size);
    return t;
}

Test(onnx_tensor, typed_data)
{
    Wire t = tensor("w", 1, "2");
    put_float(&t, 4, 1.5f);
    put_float(&t, 4, -2);
    const OnnxTensor *got = good_tensor(t);
    cr_assert_eq(got->size, 8);
    cr_assert_arr_eq(got->data, ((float[]){1.5f, -2}), 8);
    reading_finish(&reading);
    got = good_tensor(packed("w", 1, "2", 4, (float[]){3, 4}, 8));
    cr_assert_arr_eq(got->data, ((float[]){3, 4}), 8);
    cr_assert((const uint8_t *)got->data > reading.data, "packed floats stay in the file");
    cr_assert((const uint8_t *)got->data < reading.data + reading.size);
    reading_finish(&reading);
    got = good_tensor(packed("w", 14, "1", 4, (float[]){3, 4}, 8));
    cr_assert_arr_eq(got->data, ((float[]){3, 4}), 8, "complex: two values an element");
    reading_finish(&reading);
    t = packed("w", 7, "4", 7, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    put_int(&t, 7, 300);
    put_int(&t, 7, 0);
    got = good_tensor(t);
    cr_assert_arr_eq(got->data, ((int64_t[]){1, -1, 300, 0}), 32);
    reading_finish(&reading);
    got = good_tensor(packed("w", 3, "2", 5, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x07", 11));
    cr_assert_arr_eq(got->data, ((int8_t[]){-1, 7}), 2);
    reading_finish(&reading);
    got = good_tensor(packed("w", 10, "2", 5, "\x80\x78\x80\x40", 4));
    cr_assert_arr_eq(got->data, ((uint16_t[]){0x3c00, 0x2000}), 4);
    reading_finish(&reading);
    got = good_tensor(packed("w", 9, "3", 5, "\x00\x02\x01", 3));
    cr_assert_arr_eq(got->data, "\0\1\1", 3);
    reading_finish(&reading);
    got = good_tensor(packed("w", 12, "1", 11, "\xff\xff\xff\xff\x0f", 5));
    cr_assert_arr_eq(got->data, ((uint32_t[]){UINT32_MAX}), 4);
    reading_finish(&reading);
    got = good_tensor(packed("w", 11, "1", 10, (double[]){0.1}, 8));
    cr_assert_arr_eq(got->data, ((double[]){0.1}), 8);
    reading_finish(&reading);
}

/* The same records apart and interleaved with other fields are one list. */
Test(onnx_tensor, segments_join)
{
    Wire t = {0};
    put_int(&t, 7, 1);
    put_int(&t, 7, 2);
    put_int(&t, 1, 5);
    put_bytes(&t, 7, "\x03\x04", 2);
    put_text(&t, 8, "w");
    put_int(&t, 7, 500);
    put_int(&t, 2, 7);
    const OnnxTensor *got = good_tensor(t);
    cr_assert_arr_eq(got->data, ((int64_t[]){1, 2, 3, 4, 500}), 40);
    reading_finish(&reading);
}

Test(onnx_tensor, small_types_are_packed)
{
    const OnnxTensor *got = good_tensor(packed("w", 22, "5", 5, "\x21\x43\x05", 3));
    cr_assert_eq(got->size, 3);
    cr_assert_arr_eq(got->data, "\x21\x43\x05", 3);
    reading_finish(&reading);
    got = good_tensor(packed("w", 25, "5", 9, "\x1b\x02", 2));
    cr_assert_eq(got->size, 2);
    reading_finish(&reading);
    expect_fail(tensor_model(packed("w", 22, "5", 5, "\x21", 1)), ST_bad_model,
                "need 3 values, but int32_data holds 1");
    expect_fail(tensor_model(packed("w", 22, "5", 9, "abcd", 4)), ST_bad_model, "need 3 bytes");
    expect_fail(tensor_model(packed("w", 26, "5", 5, "\x01", 1)), ST_bad_model, "need 2 values");
}

Test(onnx_tensor, strings_scalars_and_empty)
{
    Wire t = tensor("s", 8, "2");
    put_bytes(&t, 6, "a\0b", 3);
    put_text(&t, 6, "");
    const OnnxTensor *got = good_tensor(t);
    cr_assert_eq(got->strings[0].length, 3);
    cr_assert_eq(got->strings[1].length, 0);
    cr_assert_null(got->data);
    reading_finish(&reading);
    put_text(&t, 6, "third");
    expect_fail(tensor_model(t), ST_bad_model, "tensor 's'|needs 2 strings, but 3");
    t = tensor("s", 8, "1");
    put_bytes(&t, 9, "x", 1);
    expect_fail(tensor_model(t), ST_bad_model, "strings cannot be in raw_data");
    got = good_tensor(packed("w", 1, "", 9, (float[]){7}, 4));
    cr_assert_eq(got->rank, 0);
    cr_assert_eq(got->count, 1);
    reading_finish(&reading);
    got = good_tensor(tensor("w", 1, "3,0"));
    cr_assert_eq(got->count, 0);
    cr_assert_null(got->data);
    reading_finish(&reading);
    expect_fail(tensor_model(packed("w", 1, "0", 9, "abcd", 4)), ST_bad_model, "need 0 bytes");
}

Test(onnx_tensor, wrong_sizes)
{
    expect_fail(tensor_model(floats("w", "3", 2)), ST_bad_model,
                "tensor 'w'|need 12 bytes, but raw_data of 8");
    expect_fail(tensor_model(floats("w", "3", 4)), ST_bad_model, "need 12 bytes");
    expect_fail(tensor_model(tensor("w", 1, "3")), ST_bad_model, "no data");
    expect_fail(tensor_model(floats("w", "-1", 4)), ST_bad_model, "dim 0 is negative");
    expect_fail(tensor_model(tensor("w", 1, "4294967296,4294967296,4")), ST_bad_model, "overflow");
    expect_fail(tensor_model(tensor("w", 1, "2305843009213693952")), ST_bad_model, "overflows");
    expect_fail(tensor_model(tensor("w", 1, "2684354560")), ST_bad_model, "need 10737418240 bytes");
    expect_fail(tensor_model(packed("w", 7, "1342177280", 7, "\x01", 1)), ST_bad_model,
                "need 1342177280 values, but int64_data holds 1");
    expect_fail(tensor_model(packed("w", 1, "1", 4, "abc", 3)), ST_bad_model, "within a number");
    expect_fail(tensor_model(packed("w", 7, "1", 7, "\x80", 1)), ST_bad_model, "cut off");
    Wire t = {0};
    for (int i = 0; i <= ONNX_RANK; i++)
        put_int(&t, 1, 1);
    put_int(&t, 2, 1);
    put_text(&t, 8, "w");
    expect_fail(tensor_model(t), ST_limit, "65 dims");
}

Test(onnx_tensor, wrong_fields)
{
    expect_fail(tensor_model(tensor("w", 0, "1")), ST_bad_model, "no element type");
    expect_fail(tensor_model(tensor("w", 27, "1")), ST_unsupported, "element type 27");
    expect_fail(tensor_model(tensor("w", -3, "1")), ST_unsupported, "element type -3");
    expect_fail(tensor_model(packed("w", 1, "1", 7, "\x01", 1)), ST_bad_model,
                "type f32 cannot be in int64_data");
    expect_fail(tensor_model(packed("w", 6, "1", 11, "\x01", 1)), ST_bad_model, "uint64_data");
    Wire t = floats("w", "1", 1);
    put_float(&t, 4, 1);
    expect_fail(tensor_model(t), ST_bad_model, "both raw_data and float_data");
    t = floats("w", "1", 1);
    put_bytes(&t, 9, "abcd", 4);
    expect_fail(tensor_model(t), ST_bad_model, "raw_data twice");
    t = floats("w", "1", 1);
    put_text(&t, 6, "text");
    expect_fail(tensor_model(t), ST_bad_model, "string_data");
    t = floats("w", "1", 1);
    put_bytes(&t, 3, "", 0);
    expect_fail(tensor_model(t), ST_unsupported, "segments");
    t = floats("w", "1", 1);
    put_int(&t, 14, 2);
    expect_fail(tensor_model(t), ST_bad_model, "data_location 2");
}

/* ---- external data ---- */
/* ---- sparse tensors ---- */

static Wire indices(const char *dims, const char *values)
{
    Wire t = tensor("", 7, dims);
    put_dims(&t, 7, values);
    return t;
}

static Wire sparse_model(Wire values, Wire where, const char *dims)
{
    Wire sparse = {0}, g = graph_xy();
    put_wire(&sparse, 1, values);
    put_wire(&sparse, 2, where);
    put_dims(&sparse, 3, dims);
    put_node(&g, "Relu", "x", "y");
    put_wire(&g, 15, sparse);
    return model(11, 25, g);
}

Test(onnx_tensor, sparse)
{
    Wire m = sparse_model(floats("s", "2", 2), indices("2", "1,5"), "2,3");
    const OnnxTensor *got = read_good(&reading, m)->graph.inits;
    cr_assert_str_eq(got->name, "s");
    cr_assert_eq(got->rank, 2);
    cr_assert_arr_eq(got->data, ((float[]){0, 0.5f, 0, 0, 0, 1.5f}), 24);
    reading_finish(&reading);
    m = sparse_model(floats("s", "2", 2), indices("2,2", "0,1,1,2"), "2,3");
    got = read_good(&reading, m)->graph.inits;
    cr_assert_arr_eq(got->data, ((float[]){0, 0.5f, 0, 0, 0, 1.5f}), 24);
    reading_finish(&reading);
    m = sparse_model(packed("s", 21, "3", 9, "\x21\x03", 2), indices("3", "0,3,4"), "5");
    got = read_good(&reading, m)->graph.inits;
    cr_assert_arr_eq(got->data, "\x01\x20\x03", 3);
    reading_finish(&reading);
}

Test(onnx_tensor, bad_sparse)
{
    static const struct {
        const char *index_dims, *index, *dims;
        Status status;
        const char *text;
    } cases[] = {
        {"2", "5,1", "2,3", ST_bad_model, "tensor 's'|index #1|out of order"},
        {"2", "1,1", "2,3", ST_bad_model, "index #1|double"},
        {"2", "1,6", "2,3", ST_bad_model, "index #1|out of range"},
        {"2", "-1,1", "2,3", ST_bad_model, "out of range"},
        {"2,2", "0,3,1,0", "2,3", ST_bad_model, "index #0|out of range"},
        {"2,2", "0,-1,1,0", "2,3", ST_bad_model, "out of range"},
        {"3", "1,2,3", "2,3", ST_bad_model, "shape [2] or [2,2]"},
        {"2,1", "1,2", "2,3", ST_bad_model, "shape [2] or [2,2]"},
        {"2", "1,2", "", ST_bad_model, "must have dims"},
        {"2", "1,2", "0", ST_bad_model, "greater than 0"},
        {"2", "1,2", "-4", ST_bad_model, "negative"},
        {"2", "1,2", "4294967296,4294967296", ST_bad_model, "overflow"},
        {"2", "1,2", "1073741824", ST_limit, "256 MiB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_fail(sparse_model(floats("s", "2", 2), indices(cases[i].index_dims, cases[i].index),
                                 cases[i].dims),
                    cases[i].status, cases[i].text);
    expect_fail(sparse_model(floats("s", "2,1", 2), indices("2", "0,1"), "4"), ST_bad_model,
                "one dim, not 2");
    expect_fail(sparse_model(floats("s", "2", 2), floats("", "2", 2), "4"), ST_bad_model,
                "must be i64, not f32");
    Wire g = graph_xy(), none = {0};
    put_wire(&none, 1, floats("s", "2", 2));
    put_wire(&g, 15, none);
    expect_fail(model(8, 17, g), ST_bad_model, "no indices");
}

/* ---- values outside a model ---- */

typedef struct ValueReading {
    Wire from;
    OnnxKind kind;
    const OnnxValue *value;
} ValueReading;

static void value_body(Cx *cx, void *user)
{
    ValueReading *v = user;
    v->value = onnx_value_from_memory(cx, "input_0.pb", v->from.data, v->from.size, v->kind);
}

static const OnnxValue *read_value(Cx *cx, Wire from, OnnxKind kind)
{
    ValueReading v = {from, kind, NULL};
    cx_init(cx, NULL, 64 << 20);
    cx_run(cx, value_body, &v);
    return v.value;
}

static void expect_bad_value(Wire from, OnnxKind kind, const char *text)
{
    Cx cx;
    cr_assert_null(read_value(&cx, from, kind));
    cr_assert(strstr(cx.message, text), "%s", cx.message);
    cr_assert(strstr(cx.message, "input_0.pb"));
    cx_finish(&cx);
}

Test(onnx_tensor, values)
{
    Cx cx;
    const OnnxValue *got = read_value(&cx, floats("x", "2", 2), OK_tensor);
    cr_assert_eq(got->kind, OK_tensor);
    cr_assert_str_eq(got->name, "x");
    cr_assert_eq(got->tensor.count, 2);
    cx_finish(&cx);
    Wire sequence = {0}, optional = {0}, empty = {0}, map = {0};
    put_int(&sequence, 2, 1);
    put_wire(&sequence, 3, floats("a", "1", 1));
    put_wire(&sequence, 3, floats("b", "2", 2));
    got = read_value(&cx, sequence, OK_sequence);
    cr_assert_eq(got->count, 2);
    cr_assert_eq(got->items[1].tensor.count, 2);
    cx_finish(&cx);
    put_int(&optional, 2, 3);
    put_wire(&optional, 5, sequence);
    got = read_value(&cx, optional, OK_optional);
    cr_assert_eq(got->count, 1);
    cr_assert_eq(got->items[0].kind, OK_sequence);
    cr_assert_eq(got->items[0].count, 2);
    cx_finish(&cx);
    got = read_value(&cx, empty, OK_optional);
    cr_assert_eq(got->count, 0);
    cx_finish(&cx);
    put_int(&map, 2, 7);
    put_int(&map, 3, -4);
    put_int(&map, 3, 9);
    put_wire(&map, 5, sequence);
    got = read_value(&cx, map, OK_map);
    cr_assert_eq(got->count, 2);
    cr_assert_eq(got->key_ints[0], -4);
    cx_finish(&cx);
}

Test(onnx_tensor, bad_values)
{
    Wire w = {0};
    put_int(&w, 2, 3);
    put_wire(&w, 3, floats("a", "1", 1));
    expect_bad_value(w, OK_sequence, "not of the type it states");
    expect_bad_value(w, OK_optional, "not of the type it states");
    put_wire(&w, 5, (Wire){0});
    expect_bad_value(w, OK_optional, "more than one value");
    w = (Wire){0};
    put_int(&w, 2, 9);
    expect_bad_value(w, OK_sequence, "element type 9");
    expect_bad_value(w, OK_map, "integers or strings");
    w = (Wire){0};
    put_int(&w, 2, 7);
    put_int(&w, 3, 1);
    expect_bad_value(w, OK_map, "1 keys but 0 values");
    put_text(&w, 4, "k");
    expect_bad_value(w, OK_map, "not of the type");
    w = (Wire){0};
    for (int i = 0; i < 200; i++) {
        Wire outer = {0};
        put_int(&outer, 2, 3);
        put_wire(&outer, 5, w);
        w = outer;
    }
    expect_bad_value(w, OK_sequence, "nested deeper");
    expect_bad_value(external("w.bin", NULL, NULL), OK_tensor, "has no folder");
    expect_bad_value((Wire){0}, OK_opaque, "no file form");
}
