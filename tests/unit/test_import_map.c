/* Maps: as outputs of ZipMap, and as inputs of CastMap and DictVectorizer, through the public
 * interface. */
#include "host_model.h"

TestSuite(import_map, .init = wire_init, .fini = wire_finish);

static void expect_ml(Wire n, const Value *in, const Value *out)
{
    expect_in("ai.onnx.ml", 1, n, in, out);
}

/* Values with a row for each map, and the keys of all; a list of scores is one map. */
Test(import_map, zip_map)
{
    expect_ml(with_texts(node("ZipMap", "a", "p"), "classlabels_strings", "x,y,z"),
              LIST(NUMBERS(f32, "2,3", 1, 2, 3, 4, 5, 6)),
              LIST(NUMBERS(f32, "2,3", 1, 2, 3, 4, 5, 6), keys(TEXTS("3", "x", "y", "z"))));
    expect_ml(with_ints(node("ZipMap", "a", "p"), "classlabels_int64s", "7,-1"),
              LIST(NUMBERS(f32, "2", 1, 2)),
              LIST(NUMBERS(f32, "1,2", 1, 2), keys(NUMBERS(i64, "2", 7, -1))));
}

/* In the order of the vocabulary, whatever that of the map; absent keys give 0. */
Test(import_map, dict_vectorizer)
{
    expect_ml(with_texts(node("DictVectorizer", "a", "p"), "string_vocabulary", "x,y,z"),
              LIST(NUMBERS(f32, "4", 1, 2, 3, 4), keys(TEXTS("4", "w", "z", "", "x"))),
              LIST(NUMBERS(f32, "1,3", 4, 0, 2)));
    Wire ints = with_ints(node("DictVectorizer", "a", "p"), "int64_vocabulary", "5,5,1");
    expect_ml(ints, LIST(NUMBERS(f64, "1", 2.5), keys(NUMBERS(i64, "1", 5))),
              LIST(NUMBERS(f64, "1,3", 2.5, 2.5, 0)));
    expect_ml(ints, LIST(TEXTS("2", "a", "b"), keys(NUMBERS(i64, "2", 1, 2))),
              LIST(TEXTS("1,3", "", "", "a")));
}

/* Dense: in the order of the keys. Sparse: each at its key. */
Test(import_map, cast_map)
{
    const Value *in = LIST(NUMBERS(f32, "3", 1.5, -2.5, 7), keys(NUMBERS(i64, "3", 4, 1, -3)));
    Wire n = node("CastMap", "a", "p");
    expect_ml(n, in, LIST(NUMBERS(f32, "1,3", 7, -2.5, 1.5)));
    expect_ml(with_text(n, "cast_to", "TO_INT64"), in, LIST(NUMBERS(i64, "1,3", 7, -2, 1)));
    expect_ml(with_text(n, "cast_to", "TO_STRING"), in, LIST(TEXTS("1,3", "7.0", "-2.5", "1.5")));
    n = with_int(with_text(n, "map_form", "SPARSE"), "max_map", 4);
    expect_ml(n, in, LIST(NUMBERS(f32, "1,4", 0, -2.5, 0, 0)));
    const Value *texts = LIST(TEXTS("2", "10", "-4"), keys(NUMBERS(i64, "2", 2, 0)));
    expect_ml(with_text(n, "cast_to", "TO_STRING"), texts, LIST(TEXTS("1,4", "-4", "", "10", "")));
    expect_ml(with_text(n, "cast_to", "TO_INT64"), texts, LIST(NUMBERS(i64, "1,4", -4, 0, 10, 0)));
}

/* The status and message of a model that is not compiled. */
static void expect_refused(Wire n, const Value *in, const Value *out, const char *text)
{
    qn_context *context;
    qn_model *model;
    qn_program *program;
    Wire wire = model_of(n, "ai.onnx.ml", 1, in, out);
    const qn_model_options options = {.size = sizeof options};
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_from_memory(context, wire.data, wire.size, &options, &model), QN_OK);
    cr_assert_neq(qn_program_compile(model, NULL, &program), QN_OK);
    cr_expect(strstr(qn_program_message(program), text), "%s", qn_program_message(program));
    qn_program_release(program);
    qn_model_release(model);
    qn_context_release(context);
}

Test(import_map, refused)
{
    const Value *map = LIST(NUMBERS(f32, "1", 1), keys(TEXTS("1", "a")));
    const Value *scores = LIST(NUMBERS(f32, "1,3", 1, 2, 3)), *out = LIST(NUMBERS(f32, "1,1", 0));
    expect_refused(node("CastMap", "a", "p"), map, out, "not int64");
    expect_refused(node("CastMap", "a", "p"), scores, out, "not a map");
    expect_refused(with_ints(node("DictVectorizer", "a", "p"), "int64_vocabulary", "1"), map, out,
                   "of type string");
    expect_refused(node("ZipMap", "a", "p"), scores, out, "labels are missing");
    expect_refused(with_ints(node("ZipMap", "a", "p"), "classlabels_int64s", "1,2"), scores, out,
                   "2 labels for scores");
    expect_refused(node("Scaler", "a", "p"), map, out, "is a sequence");
}

/* What a part of a map is called may be no other value's name. */
Test(import_map, names)
{
    Wire g = {0}, m = {0};
    qn_context *context;
    qn_model *read;
    qn_program *program;
    const qn_model_options options = {.size = sizeof options};
    put_text(&g, 2, "g");
    Wire n = with_ints(node("ZipMap", "a", "p"), "classlabels_int64s", "7,-1");
    put_text(&n, 7, "ai.onnx.ml");
    put_wire(&g, 1, n);
    put_node(&g, "Identity", "a", "p[keys]");
    put_wire(&g, 11, info("a", DT_f32, "2"));
    put_wire(&g, 12, map_info("p", DT_i64, DT_f32, true));
    put_wire(&g, 12, info("p[keys]", DT_f32, "2"));
    m = model(8, 20, g);
    put_wire(&m, 8, opset("ai.onnx.ml", 1));
    cr_assert_eq(qn_context_create(NULL, &context), QN_OK);
    cr_assert_eq(qn_model_from_memory(context, m.data, m.size, &options, &read), QN_OK);
    cr_assert_neq(qn_program_compile(read, NULL, &program), QN_OK);
    cr_expect(strstr(qn_program_message(program), "rename it"), "%s", qn_program_message(program));
    qn_program_release(program);
    qn_model_release(read);
    qn_context_release(context);
}
