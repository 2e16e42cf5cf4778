/* Importing ONNX models: the graph's text for models built here and for the demo's model; problems
 * reported together. */
#include <stdio.h>

#include "frontend/import.h"
#include "body_wire.h"
#include "golden.h"

TestSuite(import, .init = wire_init, .fini = wire_finish);

typedef struct Job {
    Wire wire;
    const char *path;
    const ImportOptions *options;
    ImportProblems problems;
    char *text;
} Job;

static void import_body(Cx *cx, void *user)
{
    Job *job = user;
    const OnnxModel *model = job->path
                                 ? onnx_model_open(cx, job->path)
                                 : onnx_model_from_memory(cx, job->wire.data, job->wire.size, NULL);
    Graph *graph = model ? import_model(cx, model, job->options, &job->problems) : NULL;
    if (!graph || !graph_verify(graph))
        return;
    Text text;
    text_init(&text, cx->arena);
    graph_print(&text, graph);
    Graph *again = graph_parse(cx, "printed", text.data);
    if (!again)
        return;
    Text second;
    text_init(&second, cx->arena);
    graph_print(&second, again);
    cr_expect_str_eq(second.data, text.data, "the print does not print as itself");
    job->text = strdup(text.data);
}

static Job run_job(Cx *cx, Wire wire, const char *path, const ImportOptions *options)
{
    Job job = {.wire = wire, .path = path, .options = options};
    cx_init(cx, NULL, 256 << 20);
    cx_run(cx, import_body, &job);
    return job;
}

/* The text of the graph. */
static void expect_graph_with(Wire wire, const ImportOptions *options, const char *want)
{
    static Cx cx;
    Job job = run_job(&cx, wire, NULL, options);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cr_expect_str_eq(job.text, want);
    cx_finish(&cx);
    free(job.text);
}

static void expect_graph(Wire wire, const char *want)
{
    expect_graph_with(wire, NULL, want);
}

/* Failure with a message that holds every one of the texts, separated by '|'. */
static void expect_problems(Wire wire, unsigned count, const char *texts)
{
    static Cx cx;
    Job job = run_job(&cx, wire, NULL, NULL);
    cr_assert(cx.status != ST_ok, "wanted '%s', got %s", texts, job.text);
    cr_expect_eq(job.problems.count, count, "%s", cx.message);
    for (const char *at = texts; *at;) {
        char one[256] = {0};
        size_t length = strcspn(at, "|");
        memcpy(one, at, length);
        cr_expect(strstr(cx.message, one), "'%s' is not in: %s", one, cx.message);
        at += at[length] ? length + 1 : length;
    }
    cx_finish(&cx);
}

static Wire int_attr(const char *name, int64_t value)
{
    Wire a = attr(name, OA_int);
    put_int(&a, 3, value);
    return a;
}

static Wire ints_attr(const char *name, const char *list)
{
    Wire a = attr(name, OA_ints);
    put_dims(&a, 8, list);
    return a;
}

static Wire ints(const char *name, const char *dims, const char *list)
{
    Wire t = tensor(name, DT_i64, dims);
    put_dims(&t, 7, list);
    return t;
}

/* ---- */

/* The text of the graph is that of tests/golden/import/NAME.graph; QUERN_BLESS=1 rewrites it. */
static void expect_golden(Wire wire, const char *path, const char *name)
{
    static Cx cx;
    char golden[512];
    snprintf(golden, sizeof golden, QUERN_SOURCE_DIR "/tests/golden/import/%s.graph", name);
    Job job = run_job(&cx, wire, path, NULL);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    golden_expect(golden, 0, job.text);
    cx_finish(&cx);
    free(job.text);
}

Test(import, demo_model)
{
    expect_golden((Wire){0}, QUERN_SOURCE_DIR "/examples/digits/digits.onnx", "digits");
}

Test(import, composed_operator)
{
    Wire g = graph_xy();
    put_node(&g, "HardSwish", "x", "y");
    expect_golden(model(8, 14, g), NULL, "hardswish");
}

/* Reshape to a shape computed from a symbolic one, with a dim left open. */
Test(import, shape_arithmetic_vanishes)
{
    Wire g = {0}, n = node("Concat", "b,rest", "target");
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", 1, "batch size,6,4"));
    put_wire(&g, 12, info("y", 1, "A,B"));
    put_wire(&g, 5, ints("zero", "1", "0"));
    put_wire(&g, 5, ints("rest", "2", "2,-1"));
    put_node(&g, "Shape", "x", "s");
    put_node(&g, "Gather", "s,zero", "b");
    put_wire(&n, 5, int_attr("axis", 0));
    put_wire(&g, 1, n);
    put_node(&g, "Reshape", "x,target", "y");
    expect_graph(model(8, 17, g),
                 "graph g {\n"
                 "  dim batch_size 1..9223372036854775807\n"
                 "  in %0 f32 [batch_size, 6, 4] \"x\"\n"
                 "  %1 = reshape %0 shape=[batch_size, 2, 12] : f32 [batch_size, 2, 12] from "
                 "\"node #3 (Reshape)\"\n"
                 "  out %1 \"y\"\n"
                 "}\n");
}

Test(import, dims_given_by_the_caller)
{
    static const ImportDim dims[] = {{"N", 4, 4, 1}};
    static const ImportShape shapes[] = {{"b", 2, {-1, 7}}};
    const ImportOptions options = {
        .dim_count = 1, .shape_count = 1, .dims = dims, .shapes = shapes};
    Wire g = {0};
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("a", 1, "N,M"));
    put_wire(&g, 11, info("b", 1, "N,M"));
    put_wire(&g, 12, info("y", 1, "A,B"));
    put_node(&g, "Add", "a,b", "y");
    expect_graph_with(model(8, 17, g), &options,
                      "graph g {\n"
                      "  dim M 1..9223372036854775807\n"
                      "  in %0 f32 [4, M] \"a\"\n"
                      "  in %1 f32 [4, 7] \"b\"\n"
                      "  %2 = map %0, %1 scalar=add : f32 [4, 7] from \"node #0 (Add)\"\n"
                      "  out %2 \"y\"\n"
                      "}\n");
}

/* The contents of an input that is used as axes. */
static Wire reduced_by_input(void)
{
    Wire g = graph_xy();
    put_wire(&g, 11, info("axes", DT_i64, "1"));
    put_node(&g, "ReduceSum", "x,axes", "y");
    return model(8, 13, g);
}

Test(import, contents_given_by_the_caller)
{
    static const int64_t one[] = {1}, axis[] = {-1};
    static const ImportValue values[] = {{"axes", DT_i64, 1, one, axis}};
    const ImportOptions options = {.value_count = 1, .values = values};
    expect_graph_with(
        reduced_by_input(), &options,
        "graph g {\n"
        "  in %0 f32 [2, 3] \"x\"\n"
        "  in %1 i64 [1] \"axes\"\n"
        "  %2 = reduce %0 axes=[1] keep=1 monoid=sum : f32 [2, 1] from \"node #0 (ReduceSum)\"\n"
        "  out %2 \"y\"\n"
        "}\n");
}

Test(import, contents_that_are_wanted)
{
    static Cx cx;
    Job job = run_job(&cx, reduced_by_input(), NULL, NULL);
    cr_expect(strstr(cx.message, "axes must be known when compiling"), "%s", cx.message);
    cr_assert_eq(job.problems.wanted_count, 1);
    cr_expect_str_eq(job.problems.wanted[0], "axes");
    cx_finish(&cx);
}

/* Before opset 7 operands broadcast from an axis on, when told to. */
Test(import, legacy_broadcast)
{
    Wire g = graph_xy(), n = node("Add", "x,b", "y");
    put_wire(&g, 5, floats("b", "2", 2));
    put_wire(&n, 5, int_attr("broadcast", 1));
    put_wire(&n, 5, int_attr("axis", 0));
    put_wire(&g, 1, n);
    expect_graph(model(8, 6, g),
                 "graph g {\n"
                 "  in %0 f32 [2, 3] \"x\"\n"
                 "  const %1 f32 [2] @0 = [0.5, 1.5] \"b\"\n"
                 "  %2 = reshape %1 shape=[2, 1] : f32 [2, 1] from \"node #0 (Add)\"\n"
                 "  %3 = map %0, %2 scalar=add : f32 [2, 3] from \"node #0 (Add)\"\n"
                 "  out %3 \"y\"\n"
                 "}\n");
}

/* Softmax of opset 11 is over all axes from `axis` on, that of opset 13 over one. */
static Wire softmax_model(int64_t version)
{
    Wire g = {0}, n = node("Softmax", "x", "y");
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", 1, "2,3,4"));
    put_wire(&g, 12, info("y", 1, "A,B"));
    put_wire(&n, 5, int_attr("axis", 1));
    put_wire(&g, 1, n);
    return model(8, version, g);
}

Test(import, opset_decides_the_meaning)
{
    expect_graph(softmax_model(13),
                 "graph g {\n"
                 "  in %0 f32 [2, 3, 4] \"x\"\n"
                 "  %1 = softmax %0 axis=1 : f32 [2, 3, 4] from \"node #0 (Softmax)\"\n"
                 "  out %1 \"y\"\n"
                 "}\n");
    expect_graph(softmax_model(11),
                 "graph g {\n"
                 "  in %0 f32 [2, 3, 4] \"x\"\n"
                 "  %1 = reshape %0 shape=[2, 12] : f32 [2, 12] from \"node #0 (Softmax)\"\n"
                 "  %2 = softmax %1 axis=1 : f32 [2, 12] from \"node #0 (Softmax)\"\n"
                 "  %3 = reshape %2 shape=[2, 3, 4] : f32 [2, 3, 4] from \"node #0 (Softmax)\"\n"
                 "  out %3 \"y\"\n"
                 "}\n");
}

/* Function "f.Twice" (a) -> b with an attribute that its node takes from the call. */
Test(import, functions_are_inlined)
{
    Wire g = graph_xy(), call = node("Leak", "x", "t"), again = node("Leak", "t", "y");
    Wire f = {0}, n = node("LeakyRelu", "a", "b"), ref = {0}, slope = attr("slope", OA_float);
    put_text(&ref, 1, "alpha");
    put_int(&ref, 20, OA_float);
    put_text(&ref, 21, "slope");
    put_wire(&n, 5, ref);
    put_text(&f, 1, "Leak");
    put_text(&f, 10, "f");
    put_text(&f, 4, "a");
    put_text(&f, 5, "b");
    put_text(&f, 6, "slope");
    put_wire(&f, 7, n);
    put_wire(&f, 9, opset("", 16));
    put_float(&slope, 2, 0.25f);
    put_text(&call, 7, "f");
    put_text(&again, 7, "f");
    put_wire(&call, 5, slope);
    put_wire(&g, 1, call);
    put_wire(&g, 1, again);
    Wire m = model(8, 17, g);
    put_wire(&m, 8, opset("f", 1));
    put_wire(&m, 25, f);
    expect_golden(m, NULL, "function");
}

/* If with a constant condition takes one branch, whose nodes see the names around it. */
Test(import, constant_condition)
{
    Wire g = graph_xy(), n = node("If", "c", "y"), yes = {0}, no = {0};
    Wire a = attr("then_branch", OA_graph), b = attr("else_branch", OA_graph),
         c = tensor("c", DT_bool, "");
    put_int(&c, 5, 0);
    put_text(&yes, 2, "yes");
    put_node(&yes, "Neg", "x", "p");
    put_wire(&yes, 12, info("p", 0, NULL));
    put_text(&no, 2, "no");
    put_node(&no, "Exp", "x", "p");
    put_wire(&no, 12, info("p", 0, NULL));
    put_wire(&a, 6, yes);
    put_wire(&b, 6, no);
    put_wire(&n, 5, a);
    put_wire(&n, 5, b);
    put_wire(&g, 5, c);
    put_wire(&g, 1, n);
    expect_graph(model(8, 17, g), "graph g {\n"
                                  "  in %0 f32 [2, 3] \"x\"\n"
                                  "  %1 = map %0 scalar=exp : f32 [2, 3] from \"node #0 (Exp)\"\n"
                                  "  out %1 \"y\"\n"
                                  "}\n");
}

/* What follows an If with sides of different ranks goes into its bodies, as far as it depends on it
 * and until the sides have the same types. */
Test(import, forked_condition)
{
    Wire g = {0}, one = tensor("one", DT_i64, "1"), index = tensor("index", DT_i64, "");
    Wire yes = subgraph("yes", "", NODES(node("Squeeze", "t,one", "s")), "s");
    Wire no = subgraph("no", "", NODES(same("t", "i")), "i");
    put_int(&one, 7, 1);
    put_int(&index, 7, 1);
    put_text(&g, 2, "g");
    put_wire(&g, 11, info("x", DT_f32, "N,M"));
    put_wire(&g, 5, one);
    put_wire(&g, 5, index);
    put_node(&g, "Exp", "x", "t");
    put_node(&g, "Shape", "t", "shape");
    put_node(&g, "Gather", "shape,index", "last");
    put_node(&g, "Equal", "last,one", "c1");
    put_node(&g, "Squeeze", "c1", "c");
    put_wire(&g, 1, if_node("c", yes, no, "q"));
    put_node(&g, "Neg", "q", "p");
    put_node(&g, "Abs", "x", "apart");
    put_wire(&g, 1, with_int(node("ReduceSum", "p", "sum"), "keepdims", 0));
    put_node(&g, "Mul", "sum,apart", "y");
    put_wire(&g, 12, info("y", DT_f32, "N,M"));
    expect_golden(model(8, 18, g), NULL, "fork");
}

Test(import, all_problems_at_once)
{
    Wire g = graph_xy(), foreign = node("Fancy", "x", "p");
    put_text(&foreign, 7, "com.acme");
    put_text(&foreign, 3, "odd one");
    put_wire(&g, 1, foreign);
    put_node(&g, "NoSuchThing", "x", "q");
    put_wire(&g, 5, floats("w", "4,5", 20));
    put_node(&g, "MatMul", "x,w", "r");
    put_node(&g, "Add", "p,q", "s"); /* of what failed: no word about it */
    put_node(&g, "Add", "s,r", "y");
    Wire m = model(8, 17, g);
    put_wire(&m, 8, opset("com.acme", 3));
    expect_problems(m, 3,
                    "3 problems|node 'odd one' (com.acme.Fancy): no operator 'Fancy' in domain "
                    "com.acme (opset 3)|"
                    "no operator 'NoSuchThing' in domain ai.onnx (opset 17)|"
                    "(MatMul): shapes do not agree: [2, 3] by [4, 5]");
}

Test(import, operators_newer_than_the_opset)
{
    Wire g = graph_xy();
    put_node(&g, "Gelu", "x", "y");
    expect_problems(model(8, 17, g), 1,
                    "Gelu of opset 17 of domain ai.onnx: supported from opset 20 on");
}

Test(import, bad_attributes)
{
    Wire g = graph_xy(), n = node("Transpose", "x", "y");
    put_wire(&n, 5, ints_attr("perm", "0,0"));
    put_wire(&g, 1, n);
    expect_problems(model(8, 17, g), 1, "node #0 (Transpose): perm is no permutation of 2 axes");
    g = graph_xy(), n = node("Softmax", "x", "y");
    put_wire(&n, 5, ints_attr("axis", "1"));
    put_wire(&g, 1, n);
    expect_problems(model(8, 17, g), 1, "attribute 'axis' is of type");
}

Test(import, table_rows_are_sound)
{
    ImportRow row, other;
    uint32_t count = 0;
    for (; import_row(count, &row); count++) {
        cr_expect(row.since >= 1 && row.since <= ONNX_OPSET_NEWEST, "%s", row.op);
        for (uint32_t k = 0; k < count; k++)
            cr_expect(import_row(k, &other) &&
                          (strcmp(row.op, other.op) != 0 || strcmp(row.domain, other.domain) != 0 ||
                           row.since != other.since),
                      "%s is there twice", row.op);
    }
    cr_expect_geq(count, 140);
}
