/* The model reader on models built here: what good ones become, what bad ones are told, and that no
 * damage crashes it. Tensors have a file of their own, test_onnx_tensor.c. */
#include <stdio.h>

#include "onnx_wire.h"

TestSuite(onnx, .init = wire_init, .fini = wire_finish);

static Reading reading;

static Wire with_node(Wire n)
{
    Wire g = graph_xy();
    put_wire(&g, 1, n);
    return model(8, 17, g);
}

static Wire relu_model(void)
{
    return with_node(node("Relu", "x", "y"));
}

/* A node "Relu" called 'n' with one attribute. */
static Wire with_attr(Wire a)
{
    Wire n = node("Relu", "x", "y");
    put_text(&n, 3, "n");
    put_wire(&n, 5, a);
    return with_node(n);
}

/* If with two branches; x comes from around. */
static Wire branch(const char *name, const char *out)
{
    Wire g = {0};
    put_text(&g, 2, name);
    put_node(&g, "Neg", "x", out);
    put_wire(&g, 12, info(out, 0, NULL));
    return g;
}

static Wire if_node(Wire yes, Wire no)
{
    Wire n = node("If", "c", "y"), a = attr("then_branch", 5), b = attr("else_branch", 5);
    put_wire(&a, 6, yes);
    put_wire(&b, 6, no);
    put_wire(&n, 5, a);
    put_wire(&n, 5, b);
    return n;
}

static Wire if_model(Wire yes, Wire no)
{
    Wire g = graph_xy();
    put_wire(&g, 11, info("c", 9, ""));
    put_wire(&g, 1, if_node(yes, no));
    return model(8, 17, g);
}

/* Function `name` of domain "f": one node `op` (of `domain`) from a to b. */
static Wire function(const char *name, const char *domain, const char *op)
{
    Wire f = {0}, n = node(op, "a", "b");
    put_text(&f, 1, name);
    put_text(&f, 10, "f");
    put_text(&f, 4, "a");
    put_text(&f, 5, "b");
    put_text(&n, 7, domain);
    put_wire(&f, 7, n);
    put_wire(&f, 9, opset("", 13));
    put_wire(&f, 9, opset("f", 1));
    return f;
}

static Wire call_model(const char *op)
{
    Wire n = node(op, "x", "y");
    put_text(&n, 7, "f");
    Wire m = with_node(n);
    put_wire(&m, 8, opset("f", 1));
    return m;
}

Test(onnx, good_model)
{
    Wire g = {0}, n = node("Gemm", "x,w,", "h"), a = attr("alpha", 1);
    put_text(&g, 2, "net");
    put_text(&n, 3, "fc1");
    put_text(&n, 7, "ai.onnx");
    put_float(&a, 2, 2.5f);
    put_wire(&n, 5, a);
    put_wire(&g, 1, n);
    put_node(&g, "Relu", "h", "y");
    put_wire(&g, 5, floats("w", "3,40", 120));
    put_wire(&g, 11, info("x", 1, "N,3"));
    put_wire(&g, 12, info("y", 1, "N,40"));
    put_wire(&g, 13, info("h", 1, "N,-1"));
    Wire m = model(8, 17, g);
    put_text(&m, 2, "hand");
    put_text(&m, 99, "a field of the future");
    const OnnxModel *got = read_good(&reading, m);
    cr_assert_str_eq(got->producer, "hand");
    cr_assert_eq(got->graph.node_count, 2);
    const OnnxNode *gemm = &got->graph.nodes[0];
    cr_assert_str_eq(gemm->name, "fc1");
    cr_assert_str_eq(gemm->domain, "");
    cr_assert_eq(gemm->opset, 17);
    cr_assert_null(gemm->function);
    cr_assert_eq(gemm->input_count, 3);
    cr_assert_str_eq(gemm->inputs[2], "");
    cr_assert_eq(gemm->outputs[0], got->graph.nodes[1].inputs[0], "names are interned");
    cr_assert_eq(onnx_attr_find(gemm, "alpha")->floats[0], 2.5f);
    cr_assert_null(onnx_attr_find(gemm, "beta"));
    cr_assert_eq(got->graph.inputs[0].type.rank, 2);
    cr_assert_str_eq(got->graph.inputs[0].type.dims[0].symbol, "N");
    cr_assert_eq(got->graph.inputs[0].type.dims[1].value, 3);
    cr_assert_eq(got->graph.infos[0].type.dims[1].value, -1);
    const OnnxTensor *w = &got->graph.inits[0];
    cr_assert_eq(w->count, 120);
    cr_assert_eq(w->size, 480);
    cr_assert((const uint8_t *)w->data > reading.data &&
                  (const uint8_t *)w->data < reading.data + reading.size,
              "weights are not copied");
    cr_assert_lt(got->skeleton_size, reading.size - 240);
    reading_finish(&reading);
}

Test(onnx, attributes_of_every_type)
{
    Wire n = node("Relu", "x", "y"), a;
    a = attr("i", 2), put_int(&a, 3, -7), put_wire(&n, 5, a);
    a = attr("absent", 2), put_wire(&n, 5, a);
    a = attr("s", 3), put_bytes(&a, 4, "a\0b", 3), put_wire(&n, 5, a);
    a = attr("t", 4), put_wire(&a, 5, floats("", "2", 2)), put_wire(&n, 5, a);
    a = attr("fs", 6), put_float(&a, 7, 1), put_float(&a, 7, 2), put_wire(&n, 5, a);
    a = attr("is", 7), put_bytes(&a, 8, "\x05\x06", 2), put_int(&a, 8, 7), put_wire(&n, 5, a);
    a = attr("none", 7), put_wire(&n, 5, a);
    a = attr("ss", 8), put_text(&a, 9, "p"), put_text(&a, 9, ""), put_wire(&n, 5, a);
    Wire type = {0}, sequence = {0}, element = {0}, tensor_type = {0};
    put_int(&tensor_type, 1, 7);
    put_wire(&element, 1, tensor_type);
    put_wire(&sequence, 1, element);
    put_wire(&type, 4, sequence);
    a = attr("tp", 13), put_wire(&a, 14, type), put_wire(&n, 5, a);
    const OnnxNode *got = read_good(&reading, with_node(n))->graph.nodes;
    cr_assert_eq(onnx_attr_find(got, "i")->ints[0], -7);
    cr_assert_eq(onnx_attr_find(got, "absent")->ints[0], 0);
    cr_assert_eq(onnx_attr_find(got, "s")->strings[0].length, 3);
    cr_assert_arr_eq(onnx_attr_find(got, "s")->strings[0].data, "a\0b", 4);
    cr_assert_eq(onnx_attr_find(got, "t")->tensors[0].count, 2);
    cr_assert_eq(onnx_attr_find(got, "fs")->count, 2);
    cr_assert_eq(onnx_attr_find(got, "fs")->floats[1], 2.0f);
    cr_assert_eq(onnx_attr_find(got, "is")->count, 3, "packed and unpacked are one list");
    cr_assert_eq(onnx_attr_find(got, "is")->ints[2], 7);
    cr_assert_eq(onnx_attr_find(got, "none")->count, 0);
    cr_assert_eq(onnx_attr_find(got, "ss")->strings[1].length, 0);
    const OnnxType *tp = onnx_attr_find(got, "tp")->types;
    cr_assert_eq(tp->kind, OK_sequence);
    cr_assert_eq(tp->of->kind, OK_tensor);
    cr_assert_eq(tp->of->dtype, DT_i64);
    cr_assert_eq(tp->of->rank, -1);
    reading_finish(&reading);
}

Test(onnx, subgraphs)
{
    const OnnxModel *got = read_good(&reading, if_model(branch("t", "r"), branch("e", "r")));
    const OnnxAttr *then = onnx_attr_find(got->graph.nodes, "then_branch");
    cr_assert_eq(then->graphs[0]->node_count, 1);
    cr_assert_eq(got->expanded, 3);
    reading_finish(&reading);
    /* an inner name may be one of the graph around, which it hides */
    read_good(&reading, if_model(branch("t", "r"), branch("e", "c")));
    reading_finish(&reading);
    Wire outer = {0};
    put_text(&outer, 2, "pass");
    put_wire(&outer, 12, info("x", 0, NULL));
    expect_fail(if_model(branch("t", "r"), outer), ST_bad_model,
                "graph 'pass': output 'x' is not computed in this graph");
    Wire missing = {0};
    put_text(&missing, 2, "m");
    put_node(&missing, "Neg", "nowhere", "r");
    put_wire(&missing, 12, info("r", 0, NULL));
    expect_fail(if_model(branch("t", "q"), missing), ST_bad_model, "(Neg)|'nowhere' is not there");
}

Test(onnx, versions)
{
    Wire g = graph_xy(), m = {0};
    put_node(&g, "Relu", "x", "y");
    expect_fail(model(15, 17, g), ST_unsupported, "IR version 15|up to 14|older");
    expect_fail(model(0, 17, g), ST_bad_model, "ir_version");
    expect_fail(model(8, 29, g), ST_unsupported, "opset 29|up to 28");
    expect_fail(model(8, 0, g), ST_bad_model, "opset 0");
    expect_fail(model(8, INT64_C(1) << 33, g), ST_bad_model, "opset 8589934592");
    expect_fail(model(2, 7, g), ST_bad_model, "IR version 2 has no opset_import");
    put_wire(&m, 7, g);
    expect_fail(m, ST_bad_model, "ir_version");
    put_int(&m, 1, 3);
    expect_fail(m, ST_bad_model, "needs an opset_import");
    Wire old = {0};
    put_int(&old, 1, 2);
    put_wire(&old, 7, g);
    cr_assert_eq(read_good(&reading, old)->graph.nodes[0].opset, 1);
    reading_finish(&reading);
    Wire twice = relu_model();
    put_wire(&twice, 8, opset("ai.onnx", 18));
    expect_fail(twice, ST_bad_model, "two opsets of domain 'ai.onnx'");
    Wire again = relu_model();
    put_wire(&again, 8, opset("ai.onnx", 17));
    cr_assert_eq(read_good(&reading, again)->graph.nodes[0].opset, 17);
    reading_finish(&reading);
    Wire other = node("Relu", "x", "y");
    put_text(&other, 7, "com.acme");
    expect_fail(with_node(other), ST_bad_model, "(com.acme.Relu)|no opset_import");
    expect_fail((Wire){0}, ST_bad_model, "not an ONNX model");
    read_good(&reading, model(14, 28, g));
    reading_finish(&reading);
}

Test(onnx, values_are_defined_once_and_before_use)
{
    Wire g = graph_xy();
    put_node(&g, "Relu", "z", "y");
    expect_fail(model(8, 17, g), ST_bad_model, "node #0 (Relu)|'z' is not there");
    put_node(&g, "Neg", "x", "z");
    expect_fail(model(8, 17, g), ST_bad_model, "'z' is computed later|node #1 (Neg)|sorted");
    g = graph_xy();
    put_node(&g, "Add", "x,b", "a");
    put_node(&g, "Neg", "a", "b");
    put_node(&g, "Neg", "a", "y");
    expect_fail(model(8, 17, g), ST_bad_model, "node #0 (Add)|'b'|a cycle");
    g = graph_xy();
    put_node(&g, "Add", "x,y", "y");
    expect_fail(model(8, 17, g), ST_bad_model, "a cycle");
    g = graph_xy();
    put_node(&g, "Relu", "x", "y");
    put_node(&g, "Neg", "x", "y");
    expect_fail(model(8, 17, g), ST_bad_model, "node #1 (Neg)|'y' is already defined");
    g = graph_xy();
    put_node(&g, "Neg", "x", "x");
    expect_fail(model(8, 17, g), ST_bad_model, "'x' is already defined");
    g = graph_xy();
    put_node(&g, "Split", "x", "y,y");
    expect_fail(model(8, 17, g), ST_bad_model, "'y' is already defined");
    expect_fail(model(8, 17, graph_xy()), ST_bad_model, "output 'y' is not computed");
}

Test(onnx, interface)
{
    Wire g = graph_xy();
    put_node(&g, "Relu", "x", "y");
    Wire untyped = g, twice = g, unranked = g, outputs = g, weird = g;
    put_wire(&untyped, 11, info("u", 0, NULL));
    expect_fail(model(8, 17, untyped), ST_bad_model, "input 'u'|no type");
    put_wire(&unranked, 11, info("u", 1, NULL));
    expect_fail(model(8, 17, unranked), ST_bad_model, "input 'u'|no shape");
    put_wire(&twice, 11, info("x", 1, "1"));
    expect_fail(model(8, 17, twice), ST_bad_model, "'x' is already defined");
    put_wire(&outputs, 12, info("y", 1, "2,3"));
    expect_fail(model(8, 17, outputs), ST_bad_model, "output 'y'|twice");
    put_wire(&weird, 11, info("u", 99, "1"));
    expect_fail(model(8, 17, weird), ST_unsupported, "'u'|element type 99");
    Wire nameless = {0};
    put_wire(&nameless, 12, info("y", 1, ""));
    expect_fail(model(8, 17, nameless), ST_bad_model, "graph has no name");
}

Test(onnx, initializers)
{
    Wire g = graph_xy();
    put_node(&g, "Add", "x,w", "y");
    put_wire(&g, 5, floats("w", "3", 3));
    expect_fail(model(3, 7, g), ST_bad_model, "'w' must also be a graph input");
    Wire both = g;
    put_wire(&both, 11, info("w", 1, "3"));
    const OnnxModel *got = read_good(&reading, model(3, 7, both));
    cr_assert_eq(got->graph.inputs[1].initial, &got->graph.inits[0]);
    cr_assert_null(got->graph.inputs[0].initial);
    reading_finish(&reading);
    Wire other = g;
    put_wire(&other, 11, info("w", 7, "3"));
    expect_fail(model(8, 17, other), ST_bad_model, "'w' is f32|is i64");
    Wire twice = g;
    put_wire(&twice, 5, floats("w", "3", 3));
    expect_fail(model(8, 17, twice), ST_bad_model, "initializer 'w' occurs twice");
    Wire nameless = g;
    put_wire(&nameless, 5, floats(NULL, "3", 3));
    expect_fail(model(8, 17, nameless), ST_bad_model, "initializer #1 has no name");
}

Test(onnx, nodes_and_attributes)
{
    Wire n = {0};
    put_text(&n, 1, "x");
    put_text(&n, 2, "y");
    expect_fail(with_node(n), ST_bad_model, "no operator");
    expect_fail(with_node(node("Relu", "", "")), ST_bad_model, "neither inputs nor outputs");
    Wire a = attr("a", 1);
    put_int(&a, 3, 4);
    expect_fail(with_attr(a), ST_bad_model,
                "model in memory: node 'n' (Relu): attribute 'a'|type float but holds int");
    put_float(&a, 2, 1);
    expect_fail(with_attr(a), ST_bad_model, "more than one value");
    expect_fail(with_attr(attr("a", 0)), ST_bad_model, "has no type");
    expect_fail(with_attr(attr("a", 15)), ST_unsupported, "unknown attribute type 15");
    expect_fail(with_attr(attr("a", -1)), ST_unsupported, "unknown attribute type -1");
    expect_fail(with_attr(attr("a", 4)), ST_bad_model, "no value of its type (tensor)");
    expect_fail(with_attr(attr("a", 5)), ST_bad_model, "no value of its type (graph)");
    expect_fail(with_attr(attr("", 2)), ST_bad_model, "an attribute has no name");
    a = attr("a", 2);
    put_text(&a, 21, "k");
    expect_fail(with_attr(a), ST_bad_model, "refers to attribute 'k'|in functions");
    n = node("Relu", "x", "y");
    put_wire(&n, 5, attr("a", 2));
    put_wire(&n, 5, attr("a", 2));
    expect_fail(with_node(n), ST_bad_model, "attribute 'a' occurs twice");
    for (int i = 0; i < ONNX_ATTRIBUTES; i++)
        put_wire(&n, 5, attr("a", 2));
    expect_fail(with_node(n), ST_limit, "1002 attributes");
    n = node("Rel\x1b[31mu", "x", "q");
    expect_fail(with_node(n), ST_bad_model, "not computed");
    n = node("Rel\x1b[31mu", "q", "y");
    expect_fail(with_node(n), ST_bad_model, "Rel?[31mu");
}

Test(onnx, functions)
{
    Wire m = call_model("twice"), f = function("twice", "", "Neg"), n = node("Neg", "b", "d");
    put_wire(&f, 7, n);
    put_wire(&m, 25, f);
    const OnnxModel *got = read_good(&reading, m);
    cr_assert_eq(got->graph.nodes[0].function, &got->functions[0]);
    cr_assert_eq(got->functions[0].body.nodes[0].opset, 13, "the function's own import counts");
    cr_assert_eq(got->expanded, 3);
    reading_finish(&reading);
    put_wire(&m, 25, f);
    expect_fail(m, ST_bad_model, "two functions");
    cr_assert_null(read_good(&reading, call_model("other"))->graph.nodes[0].function);
    reading_finish(&reading);
}

Test(onnx, function_attributes)
{
    Wire m = call_model("act"), f = function("act", "", "Neg"), n = node("Elu", "a", "e");
    Wire a = attr("alpha", 1), fallback = attr("beta", 1);
    put_text(&a, 21, "slope");
    put_wire(&n, 5, a);
    put_wire(&f, 7, n);
    Wire undeclared = m;
    put_wire(&undeclared, 25, f);
    expect_fail(undeclared, ST_bad_model, "function 'act'|'alpha' refers to 'slope'");
    put_text(&f, 6, "slope");
    put_float(&fallback, 2, 3);
    put_wire(&f, 11, fallback);
    Wire good = m;
    put_wire(&good, 25, f);
    const OnnxFunction *got = read_good(&reading, good)->functions;
    cr_assert_str_eq(got->attrs[0], "slope");
    cr_assert_eq(got->defaults[0].floats[0], 3.0f);
    cr_assert_str_eq(got->body.nodes[1].attrs[0].ref, "slope");
    reading_finish(&reading);
    put_text(&f, 6, "beta");
    put_wire(&m, 25, f);
    expect_fail(m, ST_bad_model, "'beta' is declared twice");
}

Test(onnx, function_calls_are_bounded)
{
    Wire m = call_model("f0");
    put_wire(&m, 25, function("f0", "f", "f1"));
    put_wire(&m, 25, function("f1", "f", "f0"));
    expect_fail(m, ST_bad_model, "function 'f1'|cannot recurse");
    m = call_model("f0");
    put_wire(&m, 25, function("f0", "f", "f0"));
    expect_fail(m, ST_bad_model, "function 'f0'|cannot recurse");
    for (int upwards = 0; upwards < 2; upwards++) { /* callees first, then callers first */
        Wire deep = call_model("f0");
        for (int i = 0; i <= ONNX_CALL_DEPTH; i++) {
            char name[16], next[16];
            int at = upwards ? i : ONNX_CALL_DEPTH - i;
            snprintf(name, sizeof name, "f%d", at);
            snprintf(next, sizeof next, "f%d", at + 1);
            put_wire(&deep, 25, function(name, "f", next));
        }
        expect_fail(deep, ST_limit, "more than 100 deep");
    }
    Wire wide = call_model("f0"); /* each calls the next twice: 2^40 nodes */
    for (int i = 0; i < 40; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        Wire f = function(name, "f", next), n = node(next, "a", "d");
        put_text(&n, 7, "f");
        put_wire(&f, 7, n);
        put_wire(&wide, 25, f);
    }
    expect_fail(wide, ST_limit, "more than 4194304 nodes");
}

Test(onnx, bad_wire)
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
Test(onnx, private_fields_are_dropped)
{
    Wire t = tensor("w", 1, "3"), g = graph_xy();
    put_int(&t, 60000, 5);
    put_int(&t, 60001, 1000000);
    put_node(&g, "Relu", "x", "y");
    put_wire(&g, 5, t);
    expect_fail(model(8, 17, g), ST_bad_model, "tensor 'w'|need 12 bytes, but no data");
}

Test(onnx, nesting_is_bounded)
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
    expect_fail(with_attr(a), ST_limit, "nested deeper than 100");
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

Test(onnx, truncation_never_crashes)
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

Test(onnx, flipped_bits_never_crash)
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

Test(onnx, refused_memory)
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
