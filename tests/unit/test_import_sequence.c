/* Sequences and optionals: lists while importing, of which only tensors are left. */
#include "import_case.h"

TestSuite(import_sequence, .init = wire_init, .fini = wire_finish);

#define TWO F32("a", "2", 1, 2), F32("b", "1", 3)

/* (a, b), with a in front of the last: (a, a, b), without the first: (a, b) */
Test(import_sequence, made_and_taken_apart)
{
    expect_nodes(11,
                 NODES(node("SequenceConstruct", "a,b", "s"), node("SequenceInsert", "s,a,p", "t"),
                       node("SequenceErase", "t,q", "u"), node("SequenceLength", "t", "n"),
                       with_int(node("ConcatFromSequence", "u", "y"), "axis", -1),
                       node("SequenceAt", "u,p", "z")),
                 ITEMS(TWO, W64("p", "", -1), W64("q", "", 0)),
                 ITEMS(F32("y", "3", 1, 2, 3), F32("z", "1", 3), I64("n", "", 3)));
    expect_nodes(11,
                 NODES(node("SequenceEmpty", "", "s"), node("SequenceInsert", "s,a", "t"),
                       node("SequenceInsert", "t,b", "u"), node("SequenceErase", "u", "v"),
                       node("SequenceLength", "s", "n"), node("SequenceLength", "v", "m")),
                 ITEMS(TWO), ITEMS(I64("n", "", 0), I64("m", "", 1)));
}

Test(import_sequence, split)
{
    const Item *in =
        ITEMS(F32("x", "3,1", 1, 2, 3), W64("l", "2", 1, 2), W64("k", "", 2), W64("i", "", 1));
    expect_nodes(11,
                 NODES(node("SplitToSequence", "x", "s"), node("SequenceAt", "s,i", "y"),
                       with_int(node("SplitToSequence", "x", "t"), "keepdims", 0),
                       node("SequenceAt", "t,i", "z")),
                 in, ITEMS(F32("y", "1,1", 2), F32("z", "1", 2)));
    expect_nodes(11,
                 NODES(node("SplitToSequence", "x,l", "s"), node("SequenceAt", "s,i", "y"),
                       node("SplitToSequence", "x,k", "t"), node("SequenceAt", "t,i", "z")),
                 in, ITEMS(F32("y", "2,1", 2, 3), F32("z", "1,1", 3)));
    expect_refused(11, node("SplitToSequence", "x,l", "y"),
                   ITEMS(F32("x", "2", 1, 2), W64("l", "1", 1)), "do not add up");
    expect_refused(11, node("SplitToSequence", "x,l", "y"),
                   ITEMS(F32("x", "2", 1, 2), I64("l", "", 1)), "must be known");
    expect_refused(11, node("SplitToSequence", "x", "y"), ITEMS(OPEN("x", "2", "N", 1, 2)),
                   "not known");
}

/* A new axis; a position that only the run knows. */
Test(import_sequence, stacked)
{
    const Item *in = ITEMS(F32("a", "2", 1, 2), F32("b", "2", 3, 4), I64("p", "", -1));
    Wire concat =
        with_int(with_int(node("ConcatFromSequence", "s", "y"), "axis", -1), "new_axis", 1);
    expect_nodes(
        11, NODES(node("SequenceConstruct", "a,b", "s"), concat, node("SequenceAt", "s,p", "z")),
        in, ITEMS(F32("y", "2,2", 1, 3, 2, 4), F32("z", "2", 3, 4)));
}

static Wire add_body(void)
{
    Wire body = {0};
    put_text(&body, 2, "add");
    put_wire(&body, 11, info("u", 0, NULL));
    put_wire(&body, 11, info("v", 0, NULL));
    put_node(&body, "Add", "u,v", "w");
    put_wire(&body, 12, info("w", 0, NULL));
    return body;
}

/* Over two sequences, and over a sequence and a tensor. */
Test(import_sequence, map)
{
    expect_nodes(17,
                 NODES(node("SequenceConstruct", "a,b", "s"),
                       with_graph(node("SequenceMap", "s,s", "t"), "body", add_body()),
                       with_graph(node("SequenceMap", "t,b", "u"), "body", add_body()),
                       with_int(node("ConcatFromSequence", "u", "y"), "axis", 0)),
                 ITEMS(TWO), ITEMS(F32("y", "3", 5, 7, 9)));
}

Test(import_sequence, optionals)
{
    expect_nodes(18,
                 NODES(node("Optional", "a", "s"), node("Optional", "", "none"),
                       node("OptionalHasElement", "s", "x"),
                       node("OptionalHasElement", "none", "y"),
                       node("OptionalHasElement", "b", "z"), node("OptionalHasElement", "", "w"),
                       node("OptionalGetElement", "s", "v")),
                 ITEMS(TWO),
                 ITEMS(ITEM(bool, "x", "", 1), ITEM(bool, "y", "", 0), ITEM(bool, "z", "", 1),
                       ITEM(bool, "w", "", 0), F32("v", "2", 1, 2)));
    expect_nodes(18, NODES(node("OptionalGetElement", "a", "y")), ITEMS(TWO),
                 ITEMS(F32("y", "2", 1, 2)));
}

Test(import_sequence, refused)
{
    expect_refused(11, node("SequenceAt", "a,p", "y"), ITEMS(TWO, W64("p", "", 0)),
                   "not a sequence");
    expect_refused(11, node("SequenceLength", "a", "y"), ITEMS(TWO), "not a sequence");
    expect_refused(11, node("SequenceErase", "a", "y"), ITEMS(TWO), "not a sequence");
}

typedef struct Typed {
    Wire wire;
    const ImportOptions *options;
    const char *inputs, *outputs; /* names, in order */
} Typed;

static void import_typed(Cx *cx, void *user)
{
    const Typed *t = user;
    char names[2][64] = {"", ""};
    const OnnxModel *m = onnx_model_from_memory(cx, t->wire.data, t->wire.size, NULL);
    Graph *graph = m ? import_model(cx, m, t->options, NULL) : NULL;
    if (!graph)
        return;
    for (uint32_t i = 0; i < graph->input_count; i++)
        strcat(strcat(names[0], graph->inputs[i]->name), " ");
    for (uint32_t i = 0; i < graph->output_count; i++)
        strcat(strcat(names[1], graph->output_names[i]), " ");
    cr_expect_str_eq(names[0], t->inputs);
    cr_expect_str_eq(names[1], t->outputs);
}

/* A model that takes a sequence (or an optional sequence) of f32 [2] and gives it back. */
static Wire typed_model(bool optional)
{
    Wire tensor_info = info("x", 1, "2"), value = {0}, list = {0}, type = {0}, g = {0};
    /* ValueInfoProto: the name, then field 2, the type */
    uint32_t skip = 2 + 1 + 2;
    put_bytes(&list, 1, tensor_info.data + skip, tensor_info.size - skip);
    put_wire(&type, 4, list);
    if (optional) {
        Wire inner = {0}, outer = {0};
        put_wire(&inner, 1, type);
        put_wire(&outer, 9, inner);
        type = outer;
    }
    put_text(&value, 1, "x");
    put_wire(&value, 2, type);
    Wire result = {0};
    put_text(&result, 1, "y");
    put_wire(&result, 2, type);
    put_text(&g, 2, "g");
    put_wire(&g, 11, value);
    put_wire(&g, 12, result);
    put_node(&g, "Identity", "x", "y");
    return model(8, 16, g);
}

static void check_typed(bool optional, const ImportShape *shapes, uint32_t count,
                        const char *inputs, const char *outputs)
{
    static Cx cx;
    ImportOptions options = {.shapes = shapes, .shape_count = count};
    Typed t = {typed_model(optional), &options, inputs, outputs};
    cx_init(&cx, NULL, 0);
    cx_run(&cx, import_typed, &t);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

/* Elements are inputs and outputs of their own. */
Test(import_sequence, of_a_model)
{
    check_typed(false, (ImportShape[]){{"x", 1, {2}}}, 1, "x[0] x[1] ", "y[0] y[1] ");
    check_typed(false, (ImportShape[]){{"x", 1, {0}}}, 1, "", "");
    check_typed(true, (ImportShape[]){{"x", 1, {0}}}, 1, "", "");
    check_typed(true, (ImportShape[]){{"x", 1, {1}}, {"x[0]", 1, {1}}}, 2, "x[0][0] ", "y[0][0] ");
}

Test(import_sequence, lengths_refused)
{
    static Cx cx;
    static const ImportShape bad[][1] = {{{"x", 1, {-1}}}, {{"x", 2, {1, 1}}}, {{"x", 1, {5000}}}};
    for (int i = 0; i < 4; i++) {
        ImportOptions options = {.shapes = i ? bad[i - 1] : NULL, .shape_count = i > 0};
        Typed t = {typed_model(false), &options, "", ""};
        cx_init(&cx, NULL, 0);
        cr_expect_neq(cx_run(&cx, import_typed, &t), ST_ok);
        cr_expect(strstr(cx.message, "length"), "%s", cx.message);
        cx_finish(&cx);
    }
}
