/* Tensors whose data is in files beside the model, and models that are files. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "onnx_models.h"
#include "onnx_reading.h"
#include "scratch_dir.h"

static Reading reading;

static void make_dir(void)
{
    wire_init();
    scratch_make();
}

static void drop_dir(void)
{
    scratch_drop();
    wire_finish();
}

TestSuite(onnx_external, .init = make_dir, .fini = drop_dir);

static void put_file(const char *name, const void *data, size_t size)
{
    char path[512];
    OsPart part = {data, size};
    snprintf(path, sizeof path, "%s/%s", scratch_dir, name);
    cr_assert_eq(os_write_file(path, &part, 1), 0);
}

Test(onnx_external, good)
{
    put_file("w.bin", (float[]){1, 2, 3, 4}, 16);
    Wire t = external("w.bin", "8", "8"), other = external("w.bin", NULL, NULL);
    put_entry(&t, "checksum", "ignored");
    put_entry(&t, "basepath", "/etc");
    put_text(&other, 8, "v");
    Wire g = graph_xy();
    put_node(&g, "Relu", "x", "y");
    put_wire(&g, 5, t);
    put_wire(&g, 5, other);
    Wire m = model(8, 17, g);
    cr_assert_eq(read_wire(&reading, m, scratch_dir), ST_ok, "%s", reading.cx.message);
    const OnnxTensor *inits = reading.model->graph.inits;
    cr_assert_arr_eq(inits[0].data, ((float[]){3, 4}), 8);
    cr_assert_arr_eq(inits[1].data, ((float[]){1, 2}), 8);
    cr_assert_eq(inits[0].map, inits[1].map, "one map for one file");
    cr_assert_eq(reading.model->map_count, 1);
    cr_assert(onnx_model_check(&reading.cx, reading.model));
    reading_finish(&reading);
}

Test(onnx_external, refused)
{
    put_file("w.bin", (float[]){1, 2, 3, 4}, 16);
    char path[512], to[512];
    snprintf(path, sizeof path, "%s/link", scratch_dir);
    cr_assert_eq(symlink("w.bin", path), 0);
    static const struct {
        const char *location, *offset, *length;
        Status status;
        const char *text;
    } cases[] = {
        {NULL, NULL, NULL, ST_bad_model, "no location"},
        {"", NULL, NULL, ST_bad_model, "no location"},
        {"/etc/passwd", NULL, NULL, ST_bad_model,
         "tensor 'w'|'/etc/passwd'|beneath the model's folder"},
        {"../w.bin", NULL, NULL, ST_bad_model, "without '..'"},
        {"a/../../w.bin", NULL, NULL, ST_io, "cannot be read"},
        {"./..", NULL, NULL, ST_bad_model, "without '..'"},
        {"link", NULL, NULL, ST_bad_model, "symbolic link"},
        {".", NULL, NULL, ST_bad_model, "not a regular file"},
        {"none.bin", NULL, NULL, ST_io, "'none.bin'|No such file"},
        {"w.bin", "12", NULL, ST_bad_model, "8 bytes at offset 12 of 'w.bin', which has 16"},
        {"w.bin", "17", NULL, ST_bad_model, "at offset 17"},
        {"w.bin", "9223372036854775807", NULL, ST_bad_model, "not a plain number"},
        {"w.bin", "-1", NULL, ST_bad_model, "not a plain number"},
        {"w.bin", "0x1", NULL, ST_bad_model, "not a plain number"},
        {"w.bin", " 1", NULL, ST_bad_model, "not a plain number"},
        {"w.bin", "", NULL, ST_bad_model, "not a plain number"},
        {"w.bin", "0", "4", ST_bad_model, "says 4"},
        {"w.bin", "0", "12", ST_bad_model, "says 12"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_fail_in(tensor_model(external(cases[i].location, cases[i].offset, cases[i].length)),
                       scratch_dir, cases[i].status, cases[i].text);
    expect_fail(tensor_model(external("w.bin", NULL, NULL)), ST_bad_model, "a model in memory");
    snprintf(path, sizeof path, "%s/w.bin", scratch_dir);
    snprintf(to, sizeof to, "%s/hard", scratch_dir);
    cr_assert_eq(link(path, to), 0);
    expect_fail_in(tensor_model(external("hard", NULL, NULL)), scratch_dir, ST_bad_model,
                   "hard link");
    Wire t = external("w.bin", "0", NULL);
    put_entry(&t, "offset", "0");
    expect_fail_in(tensor_model(t), scratch_dir, ST_bad_model, "offset twice");
    t = external("w.bin", NULL, NULL);
    put_bytes(&t, 9, "12345678", 8);
    expect_fail_in(tensor_model(t), scratch_dir, ST_bad_model, "also holds data itself");
    t = tensor("w", 8, "1");
    put_int(&t, 14, 1);
    put_entry(&t, "location", "w.bin");
    expect_fail_in(tensor_model(t), scratch_dir, ST_bad_model, "strings cannot be external");
}

static void open_body(Cx *cx, void *user)
{
    const OnnxModel **model = user;
    char path[512];
    snprintf(path, sizeof path, "%s/model.onnx", scratch_dir);
    *model = onnx_model_open(cx, path);
}

Test(onnx_external, opened_from_a_file)
{
    put_file("w.bin", (float[]){1, 2, 3, 4}, 16);
    Wire m = tensor_model(external("w.bin", "4", NULL));
    put_file("model.onnx", m.data, m.size);
    const OnnxModel *got;
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, open_body, &got), ST_ok, "%s", cx.message);
    cr_assert_eq(got->map_count, 2);
    cr_assert_arr_eq(got->graph.inits[0].data, ((float[]){2, 3}), 8);
    cx_finish(&cx);
    put_file("model.onnx", m.data, m.size - 1);
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, open_body, &got), ST_bad_model);
    cr_assert(strstr(cx.message, "model.onnx") && strstr(cx.message, "truncated"));
    cx_finish(&cx);
    scratch_remove_entry(scratch_dir, "model.onnx");
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, open_body, &got), ST_missing);
    cr_assert(strstr(cx.message, "No such file"));
    cx_finish(&cx);
}

/* A large file is mapped, its weights are used in place, and cutting it off is noticed. */
Test(onnx_external, large_files_are_mapped)
{
    enum { COUNT = 1 << 19 };
    float *weights = calloc(COUNT, sizeof *weights);
    weights[COUNT - 1] = 5;
    Wire t = tensor("w", 1, "524288");
    put_bytes(&t, 9, weights, COUNT * sizeof *weights);
    Wire m = tensor_model(t);
    put_file("model.onnx", m.data, m.size);
    const OnnxModel *got;
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, open_body, &got), ST_ok, "%s", cx.message);
    cr_assert_eq(got->graph.inits[0].map, got->maps[0]);
    cr_assert_arr_eq(got->graph.inits[0].data, weights, COUNT * sizeof *weights);
    cr_assert_lt(cx.own.used, 1 << 18, "weights are not copied");
    cr_assert(onnx_model_check(&cx, got));
    char path[512];
    snprintf(path, sizeof path, "%s/model.onnx", scratch_dir);
    cr_assert_eq(truncate(path, 1 << 20), 0);
    cr_assert_not(onnx_model_check(&cx, got));
    cr_assert(strstr(cx.message, "became shorter"));
    cx_finish(&cx);
    free(weights);
}
