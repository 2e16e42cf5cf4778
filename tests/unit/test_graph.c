/* The graph: golden texts (print and parse are inverse; errors say what is wrong), shape inference
 * over symbols, element lists. A golden file that begins with "; error: TEXT" must fail with a
 * message that holds TEXT. */
#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/graph.h"
#include "tests/unit/golden.h"

typedef struct Golden {
    const char *file;
    char *text;
    char *printed, *again;
} Golden;

static char *print(Cx *cx, const Graph *graph)
{
    Text text;
    text_init(&text, cx->arena);
    graph_print(&text, graph);
    return strdup(text.data);
}

static void round_trip(Cx *cx, void *user)
{
    Golden *g = user;
    Graph *graph = graph_parse(cx, "bad", g->text);
    if (!graph || !graph_verify(graph))
        return;
    g->printed = print(cx, graph);
    Graph *second = graph_parse(cx, g->file, g->printed);
    if (second)
        g->again = print(cx, second);
}

static void check_error(const Golden *g, const Cx *cx)
{
    const char *want = g->text + strlen("; error: ");
    char line[200] = {0};
    memcpy(line, want, strcspn(want, "\n") < 199 ? strcspn(want, "\n") : 199);
    cr_assert(cx->status != ST_ok, "%s: expected an error", g->file);
    cr_expect(strstr(cx->message, line), "%s: got '%s'", g->file, cx->message);
}

static void check_file(const char *file)
{
    Golden g = {.file = file, .text = golden_read(file)};
    Cx cx;
    cx_init(&cx, NULL, 0);
    cx_run(&cx, round_trip, &g);
    if (strncmp(g.text, "; error: ", 9) == 0) {
        check_error(&g, &cx);
    } else {
        cr_assert(cx.status == ST_ok, "%s: %s", file, cx.message);
        cr_expect_str_eq(g.printed, g.again, "%s: the print does not print as itself", file);
        golden_expect(file, 0, g.printed);
    }
    cx_finish(&cx);
    free(g.text);
    free(g.printed);
    free(g.again);
}

Test(golden_graph, files_print_as_themselves)
{
    glob_t found;
    cr_assert(glob(QUERN_SOURCE_DIR "/tests/golden/graph/*.graph", 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(found.gl_pathv[i]);
    cr_expect(found.gl_pathc >= 10);
    globfree(&found);
}

/* ---- inside a job: each test is a function of a fresh graph */

typedef struct Job {
    void (*body)(Graph *graph);
    const char *error; /* expected in the message; NULL = none */
} Job;

static void run_job(Cx *cx, void *user)
{
    const Job *job = user;
    Graph *graph = graph_new(cx, "test");
    job->body(graph);
    if (!cx_failed(cx))
        graph_verify(graph);
}

static void run(void (*body)(Graph *graph), const char *error)
{
    static Cx cx;
    Job job = {body, error};
    cx_init(&cx, NULL, 0);
    cx_run(&cx, run_job, &job);
    if (error)
        cr_expect(cx.status != ST_ok && strstr(cx.message, error), "got '%s'", cx.message);
    else
        cr_expect(cx.status == ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

static void expect_shape(const Tensor *tensor, const char *want)
{
    static Cx names;
    (void)names;
    Text text;
    Cx cx;
    cx_init(&cx, NULL, 0);
    text_init(&text, cx.arena);
    tensor_print_type(&text, tensor);
    cr_expect_str_eq(text.data, want);
    cx_finish(&cx);
}

static Tensor *input(Graph *graph, int rank, const Expr *const *shape)
{
    return graph_input(graph, NULL, DT_f32, rank, shape);
}

static void broadcasts(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *n = expr_sym(cx, "N", 1, 64, 1), *m = expr_sym(cx, "M", 1, 64, 1);
    const Expr *z = expr_sym(cx, "Z", 0, 64, 1), *big = expr_sym(cx, "B", 2, 64, 1);
    const Expr *one = expr_const(cx, 1), *four = expr_const(cx, 4), *none = expr_const(cx, 0);
    cr_expect_eq(graph_broadcast(graph, n, n), n);
    cr_expect_eq(graph->check_count, 0, "equal dims need no check");
    cr_expect_eq(graph_broadcast(graph, n, one), n);
    cr_expect_eq(graph_broadcast(graph, one, four), four);
    cr_expect_eq(graph_broadcast(graph, n, four), four);
    cr_expect_eq(graph_broadcast(graph, none, n), none);
    cr_expect_eq(graph_broadcast(graph, big, n), big);
    cr_expect_eq(graph_broadcast(graph, n, m), expr_max(cx, n, m));
    cr_expect_eq(graph_broadcast(graph, z, m),
                 expr_min(cx, expr_max(cx, z, m), expr_mul(cx, z, m)));
    cr_expect_null(graph_broadcast(graph, four, none));
    cr_expect_null(graph_broadcast(graph, four, expr_const(cx, 3)));
    cr_expect_eq(graph->check_count, 5);
    Tensor *a = input(graph, 2, (const Expr *[]){n, four}),
           *b = input(graph, 3, (const Expr *[]){big, one, one});
    expect_shape(graph_map(graph, S_add, a, b, NULL), "f32 [B, N, 4]");
}

Test(graph, broadcasting_with_dims_that_may_be_one)
{
    run(broadcasts, NULL);
}

/* Shape -> Gather -> Concat -> Reshape, as exporters write it, vanishes. */
static void shapes_vanish(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *n = expr_sym(cx, "N", 1, 64, 1), *s = expr_sym(cx, "S", 1, 512, 1);
    Tensor *x = input(graph, 3, (const Expr *[]){n, s, expr_const(cx, 768)});
    Tensor *shape = graph_node(graph, OP_shape_value, 1, &x, NULL);
    static const int64_t zero[] = {0}, one[] = {1}, rest[] = {12, 64};
    static const int64_t length1[] = {1}, length2[] = {2};
    Tensor *parts[] = {
        graph_gather(graph, shape, graph_constant(graph, NULL, DT_i64, 1, length1, zero), 0),
        graph_gather(graph, shape, graph_constant(graph, NULL, DT_i64, 1, length1, one), 0),
        graph_constant(graph, NULL, DT_i64, 1, length2, rest)};
    Tensor *target = graph_concat(graph, 3, parts, 0);
    cr_assert(target->elements);
    cr_expect_eq(target->elements[0], n);
    cr_expect_eq(target->elements[1], s);
    cr_expect(expr_is_const(target->elements[3], 64));
    Tensor *y = graph_reshape(graph, x, 4, target->elements);
    expect_shape(y, "f32 [N, S, 12, 64]");
    expect_shape(graph_transpose(graph, y, (const int64_t[]){0, 2, 1, 3}), "f32 [N, 12, S, 64]");
    cr_expect_eq(graph_reshape(graph, y, 3, x->shape), x,
                 "back to the same shape is the tensor itself");
    graph_output(graph, y, "y");
    graph_sweep(graph);
    cr_expect_eq(graph->node_count, 2, "only the input and the reshape remain");
    cr_expect_eq(y->id, 1);
    cr_expect_eq(x->uses, 1);
}

Test(graph, shape_computations_vanish)
{
    run(shapes_vanish, NULL);
}

static void arithmetic(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *n = expr_sym(cx, "N", 1, 64, 1);
    static const int64_t length[] = {2};
    Tensor *list = graph_elements(graph, 1, length, (const Expr *[]){n, expr_const(cx, 10)});
    Tensor *three = graph_scalar(graph, DT_i64, 3);
    Tensor *sum = graph_map(graph, S_add, list, three, NULL);
    cr_expect_eq(sum->elements[0], expr_addi(cx, n, 3));
    Tensor *half = graph_map(graph, S_div, list, three, NULL);
    cr_expect_eq(half->elements[0], expr_divi(cx, n, 3));
    cr_expect(expr_is_const(half->elements[1], 3));
    Tensor *less = graph_map(graph, S_lt, graph_scalar(graph, DT_i64, 0), list, NULL);
    cr_expect(less->dtype == DT_bool && expr_is_const(less->elements[0], 1));
    cr_expect_null(graph_map(graph, S_lt, list, three, NULL)->elements, "N < 3 is open");
    Tensor *total = graph_reduce(graph, M_prod, list, 1, (const int64_t[]){0}, false);
    cr_expect_eq(total->elements[0], expr_muli(cx, n, 10));
    Tensor *narrow = graph_cast(graph, list, DT_i8);
    cr_expect_eq(narrow->elements[0], n);
    cr_expect_null(graph_map(graph, S_mul, narrow, narrow, NULL)->elements, "N*N may leave int8");
    Tensor *swapped = graph_slice(graph, list, (const Expr *[]){expr_const(cx, 1)},
                                  (const Expr *[]){expr_const(cx, 2)}, (const int64_t[]){-1});
    cr_expect(expr_is_const(swapped->elements[0], 10) && swapped->elements[1] == n);
    Tensor *minus = graph_map(graph, S_div, graph_scalar(graph, DT_i64, -7), three, NULL);
    cr_expect(expr_is_const(minus->elements[0], -2), "division truncates");
    Tensor *picked = graph_map(graph, S_select, less, list, sum);
    cr_expect_eq(picked->elements[0], n);
    static const uint8_t big[] = {200, 100};
    Tensor *bytes = graph_constant(graph, NULL, DT_u8, 1, length, big);
    Tensor *wrapped = graph_map(graph, S_add, bytes, bytes, NULL);
    cr_expect(expr_is_const(wrapped->elements[0], 144), "constants wrap as the type does");
    Tensor *padded =
        graph_pad(graph, list, graph_scalar(graph, DT_i64, 9), (const Expr *[]){expr_const(cx, 1)},
                  (const Expr *[]){expr_const(cx, 0)}, "constant");
    cr_expect(expr_is_const(padded->elements[0], 9) && padded->elements[1] == n);
}

Test(graph, elements_follow_integer_arithmetic)
{
    run(arithmetic, NULL);
}

static void windows(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *h = expr_sym(cx, "H", 8, 1024, 8);
    Tensor *x = input(graph, 4,
                      (const Expr *[]){expr_const(cx, 1), expr_const(cx, 3), h, expr_const(cx, 7)});
    static const int64_t shape[] = {8, 3, 3, 3}, two[] = {2, 2}, one[] = {1, 1},
                         pads[] = {1, 1, 1, 1};
    Tensor *w = graph_constant(graph, "w", DT_f32, 4, shape, NULL);
    Attr at[AT_count] = {[AT_strides] = attr_ints(cx, 2, two),
                         [AT_dilations] = attr_ints(cx, 2, one),
                         [AT_pads] = attr_ints(cx, 4, pads),
                         [AT_groups] = attr_int(1)};
    Tensor *y = graph_node(graph, OP_conv, 2, (Tensor *[]){x, w}, at);
    cr_expect_eq(y->shape[2], expr_divi(cx, h, 2), "(H + 2 - 3) floordiv 2 + 1 where 8 divides H");
    cr_expect(expr_is_const(y->shape[3], 4));
}

Test(graph, windows_over_symbolic_images)
{
    run(windows, NULL);
}

static void bad_conv(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *d = expr_const(cx, 5);
    Tensor *x = input(graph, 3, (const Expr *[]){d, d, d}),
           *w = input(graph, 3, (const Expr *[]){d, expr_const(cx, 4), d});
    Attr at[AT_count] = {[AT_groups] = attr_int(1)};
    Tensor *y = graph_node(graph, OP_conv, 2, (Tensor *[]){x, w}, at);
    cr_expect(tensor_is_poison(y));
    cr_expect(tensor_is_poison(graph_softmax(graph, y, 7, false)), "poison in, poison out");
}

Test(graph, errors_name_both_shapes)
{
    run(bad_conv, "image [5, 5, 5], kernel [5, 4, 5], groups 1");
}

/* An iota as long as what a host step found: no operand says so, the dim does. */
static void bound_dim(Graph *graph)
{
    Cx *cx = graph->cx;
    const Expr *five = expr_const(cx, 5), *shape[] = {expr_const(cx, 1), NULL};
    const Expr *most[] = {NULL, five};
    Tensor *x = input(graph, 1, &five), *found, *unread, *parts[2];
    const HostResult one = {DT_i64, 2, shape, most}, two[] = {one, {DT_f32, 1, NULL, NULL}};
    cr_assert(graph_host(graph, "nonzero", 1, &x, 1, &one, &found));
    cr_assert(graph_host(graph, "other", 1, &x, 2, two, parts));
    unread = parts[1];
    cr_expect_eq(found->shape[1]->lo, 0);
    cr_expect_eq(found->shape[1]->hi, 5);
    cr_expect_eq(unread->shape[0]->hi, INT64_MAX);
    cr_expect_eq(graph->dim_count, 3);
    graph_same_dim(graph, parts[0]->shape[1], five);
    Tensor *count = graph_iota(graph, DT_i32, 1, &found->shape[1], 0);
    graph_output(graph, count, "count");
    graph_sweep(graph);
    cr_expect_eq(graph->node_count, 4, "input, host, part, iota");
    cr_expect(graph->nodes[2] == found->producer && graph->nodes[3] == count->producer);
    cr_expect_eq(graph->dim_count, 1, "the dims of parts nobody needs go");
    cr_expect_eq(graph->check_count, 0, "and what was assumed of them");
    const DimSource *sources = graph_dim_sources(graph);
    cr_expect(sources[0].tensor == found && sources[0].axis == 1);
    cr_expect(graph_verify(graph));
    GraphNode *last = graph->nodes[3];
    graph->nodes[3] = graph->nodes[2];
    graph->nodes[2] = last;
    graph_verify(graph);
}

Test(graph, dims_bound_by_host_steps)
{
    run(bound_dim, "it uses a dim that is bound after it");
}
