/* The model reader on models built here: what good ones become, what bad ones are told. Tensors are
 * in test_onnx_tensor.c, damage in test_onnx_damage.c. */
#include <stdio.h>

#include "onnx_models.h"
#include "onnx_reading.h"

TestSuite(onnx, .init = wire_init, .fini = wire_finish);

static Reading reading;

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
    const OnnxNode *got = read_good(&reading, node_model(n))->graph.nodes;
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
    expect_fail(node_model(other), ST_bad_model, "(com.acme.Relu)|no opset_import");
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
    expect_fail(node_model(n), ST_bad_model, "no operator");
    expect_fail(node_model(node("Relu", "", "")), ST_bad_model, "neither inputs nor outputs");
    Wire a = attr("a", 1);
    put_int(&a, 3, 4);
    expect_fail(attr_model(a), ST_bad_model,
                "model in memory: node 'n' (Relu): attribute 'a'|type float but holds int");
    put_float(&a, 2, 1);
    expect_fail(attr_model(a), ST_bad_model, "more than one value");
    expect_fail(attr_model(attr("a", 0)), ST_bad_model, "has no type");
    expect_fail(attr_model(attr("a", 15)), ST_unsupported, "unknown attribute type 15");
    expect_fail(attr_model(attr("a", -1)), ST_unsupported, "unknown attribute type -1");
    expect_fail(attr_model(attr("a", 4)), ST_bad_model, "no value of its type (tensor)");
    expect_fail(attr_model(attr("a", 5)), ST_bad_model, "no value of its type (graph)");
    expect_fail(attr_model(attr("", 2)), ST_bad_model, "an attribute has no name");
    a = attr("a", 2);
    put_text(&a, 21, "k");
    expect_fail(attr_model(a), ST_bad_model, "refers to attribute 'k'|in functions");
    n = node("Relu", "x", "y");
    put_wire(&n, 5, attr("a", 2));
    put_wire(&n, 5, attr("a", 2));
    expect_fail(node_model(n), ST_bad_model, "attribute 'a' occurs twice");
    for (int i = 0; i < ONNX_ATTRIBUTES; i++)
        put_wire(&n, 5, attr("a", 2));
    expect_fail(node_model(n), ST_limit, "1002 attributes");
    n = node("Rel\x1b[31mu", "x", "q");
    expect_fail(node_model(n), ST_bad_model, "not computed");
    n = node("Rel\x1b[31mu", "q", "y");
    expect_fail(node_model(n), ST_bad_model, "Rel?[31mu");
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
