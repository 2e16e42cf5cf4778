/* Damaged and hostile models: the reader refuses them with a message, and no damage crashes it. */
#include <stdio.h>

#include "onnx_models.h"
#include "onnx_reading.h"

TestSuite(onnx_damage, .init = wire_init, .fini = wire_finish);

static Reading reading;

Test(onnx_damage, bad_wire)
{
    static const struct {
        const char *bytes;
        size_t size;
        Status status;
        const char *text;
    } cases[] = {
        {"\x08", 1, ST_bad_model, "byte 0"},
        {"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 11, ST_bad_model, "too long"},
        {"\x80\x80\x80\x80\x80\x80\x01", 7, ST_bad_model, "tag is cut off or too long"},
        {"\x00\x01", 2, ST_bad_model, "field number 0"},
        {"\x0b\x0c", 2, ST_bad_model, "wire type 3"},
        {"\x0c", 1, ST_bad_model, "wire type 4"},
        {"\x0f", 1, ST_bad_model, "wire type 7"},
        {"\x0d\x01\x02\x03", 4, ST_bad_model, "cut off"},
        {"\x09\x01\x02\x03", 4, ST_bad_model, "cut off"},
        {"\x0d\x01\x02\x03\x04", 5, ST_bad_model, "'ir_version' of ModelProto has wire type 5"},
        {"\x3a\x05", 2, ST_bad_model, "5 bytes, but only 0 are left"},
        {"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, ST_bad_model, "are left"},
        {"\x3a\x00\x3a\x00", 4, ST_bad_model, "'graph' of ModelProto is given twice"},
        {"\x12\x02\xff\xfe", 4, ST_bad_model, "not UTF-8"},
        {"\x12\x02\xc0\x80", 4, ST_bad_model, "not UTF-8"},
        {"\x12\x03\xed\xa0\x80", 5, ST_bad_model, "not UTF-8"},
        {"\x12\x01\x00", 3, ST_bad_model, "not UTF-8"},
        {"\x12\x02\xe2\x82", 4, ST_bad_model, "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Wire w = {0};
        put_raw(&w, cases[i].bytes, cases[i].size);
        expect_fail(w, cases[i].status, cases[i].text);
    }
}

/* A payload position of ours, smuggled in by the file, is not believed. */
Test(onnx_damage, private_fields_are_dropped)
{
    Wire t = tensor("w", 1, "3"), g = graph_xy();
    put_int(&t, 60000, 5);
    put_int(&t, 60001, 1000000);
    put_node(&g, "Relu", "x", "y");
    put_wire(&g, 5, t);
    expect_fail(model(8, 17, g), ST_bad_model, "tensor 'w'|need 12 bytes, but no data");
}

Test(onnx_damage, nesting_is_bounded)
{
    Wire g = branch("leaf", "r");
    for (int i = 0; i < 1000; i++) {
        Wire n = node("If", "c", "y"), a = attr("then_branch", 5), outer = {0};
        put_wire(&a, 6, g);
        put_wire(&n, 5, a);
        put_wire(&outer, 1, n);
        put_text(&outer, 2, "g");
        g = outer;
    }
    expect_fail(model(8, 17, g), ST_limit, "nested deeper than 100");
    Wire type = {0};
    for (int i = 0; i < 1000; i++) {
        Wire sequence = {0}, outer = {0};
        put_wire(&sequence, 1, type);
        put_wire(&outer, 4, sequence);
        type = outer;
    }
    Wire a = attr("tp", 13);
    put_wire(&a, 14, type);
    expect_fail(attr_model(a), ST_limit, "nested deeper than 100");
}

static Wire rich_model(void)
{
    Wire t = tensor("w", 1, "2");
    Wire typed = tensor("v", 7, "3"), sparse = {0}, where = tensor("", 7, "2");
    put_float(&t, 4, 1);
    put_float(&t, 4, 2);
    put_bytes(&typed, 7, "\x01\x82\x01\x03", 4);
    put_bytes(&where, 7, "\x01\x03", 2);
    put_wire(&sparse, 1, floats("s", "2", 2));
    put_wire(&sparse, 2, where);
    put_dims(&sparse, 3, "2,3");
    Wire graph = graph_xy();
    put_wire(&graph, 11, info("c", 9, ""));
    put_wire(&graph, 1, if_node(branch("t", "r"), branch("e", "r")));
    put_wire(&graph, 5, t);
    put_wire(&graph, 5, typed);
    put_wire(&graph, 15, sparse);
    Wire m = model(8, 17, graph);
    put_wire(&m, 8, opset("f", 1));
    put_wire(&m, 25, function("f0", "f", "f1"));
    put_wire(&m, 25, function("f1", "", "Neg"));
    return m;
}

Test(onnx_damage, truncation_never_crashes)
{
    Wire whole = rich_model();
    read_good(&reading, whole);
    reading_finish(&reading);
    int accepted = 0;
    for (uint32_t size = 0; size < whole.size; size++) {
        Wire cut = {whole.data, size, size};
        accepted += read_wire(&reading, cut, NULL) == ST_ok;
        reading_finish(&reading);
    }
    cr_assert_leq(accepted, 4, "only a cut between fields of the model can leave a model");
}

Test(onnx_damage, flipped_bits_never_crash)
{
    Wire whole = rich_model();
    int refused = 0;
    for (uint32_t i = 0; i < whole.size * 8; i++) {
        whole.data[i / 8] ^= (uint8_t)(1 << i % 8);
        refused += read_wire(&reading, whole, NULL) != ST_ok;
        reading_finish(&reading);
        whole.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    cr_assert_gt(refused, (int)whole.size * 2);
}

/* Every allocation refused in turn: an error each time, never a crash, nothing leaked. */
typedef struct Grudging {
    int left;
    int out;
} Grudging;

static void *grudging_alloc(void *user, size_t size, size_t align)
{
    Grudging *g = user;
    if (g->left-- <= 0)
        return NULL;
    g->out++;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void grudging_release(void *user, void *ptr, size_t size)
{
    (void)size;
    ((Grudging *)user)->out--;
    free(ptr);
}

Test(onnx_damage, refused_memory)
{
    Wire g = graph_xy(); /* big enough for several blocks */
    put_node(&g, "Relu", "x", "y");
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "value_number_%d", i);
        put_node(&g, "Neg", "x", name);
    }
    Wire m = model(8, 17, g);
    for (int allowed = 0;; allowed++) {
        Grudging grudging = {allowed, 0};
        Allocator allocator = {&grudging, grudging_alloc, grudging_release};
        Reading r = {.data = m.data, .size = m.size};
        cx_init(&r.cx, &allocator, 0);
        Status status = cx_run(&r.cx, reading_body, &r);
        cx_finish(&r.cx);
        cr_assert_eq(grudging.out, 0);
        if (status == ST_ok) {
            cr_assert_gt(allowed, 4);
            break;
        }
        cr_assert_eq(status, ST_out_of_memory, "%s", r.cx.message);
        cr_assert_lt(allowed, 100);
    }
}
