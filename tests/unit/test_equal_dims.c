/* Dims of different names that an operator makes equal: one program for all sizes, against the
 * interpreter on the model of these very sizes. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "import_run.h"
#include "include/quern.h"
#include "onnx_wire.h"
#include "passes/equal_dims.h"

TestSuite(equal_dims, .init = wire_init, .fini = wire_finish);

enum { INPUTS = 3, MOST = 4096 };

/* Inputs x, y, z of these dims; the result is r. A weight w is [4, 2]. */
typedef struct Case {
    Wire node;
    int inputs, rank;
    const char *dims[INPUTS];
} Case;

static float data[INPUTS][MOST];

static Wire model_of(const Case *c)
{
    static const char *const names[INPUTS] = {"x", "y", "z"};
    Wire g = {0}, n = c->node;
    put_text(&g, 2, "g");
    put_text(&n, 3, "made");
    put_wire(&g, 1, n);
    put_wire(&g, 5, floats("w", "4,2", 8));
    for (int i = 0; i < c->inputs; i++)
        put_wire(&g, 11, info(names[i], DT_f32, c->dims[i]));
    put_wire(&g, 12, info("r", DT_f32, &"p,q,s,t"[8 - 2 * c->rank]));
    return model(8, 23, g);
}

static int64_t read_sizes(const char *text, int64_t *sizes, int *rank)
{
    int64_t count = 1;
    *rank = 0;
    for (char *end; *text; text = *end ? end + 1 : end)
        count *= sizes[(*rank)++] = strtoll(text, &end, 10);
    return count;
}

typedef struct Oracle {
    const Case *c;
    Wire wire;
    const char *const *sizes;
    float *result;
} Oracle;

static void interpret(Cx *cx, void *user)
{
    Oracle *o = user;
    static const char *const names[INPUTS] = {"x", "y", "z"};
    ImportShape shapes[INPUTS];
    void *inputs[INPUTS];
    for (int i = 0; i < o->c->inputs; i++) {
        shapes[i] = (ImportShape){.input = names[i]};
        read_sizes(o->sizes[i], shapes[i].dims, &shapes[i].rank);
        inputs[i] = data[i];
    }
    const ImportOptions options = {.shape_count = (uint32_t)o->c->inputs, .shapes = shapes};
    const OnnxModel *onnx = onnx_model_from_memory(cx, o->wire.data, o->wire.size, NULL);
    ImportRun run = {.cx = cx, .graph = onnx ? import_model(cx, onnx, &options, NULL) : NULL};
    if (!run.graph || !import_run(&run, inputs))
        return;
    const Tensor *r = run.graph->outputs[0];
    memcpy(o->result, import_run_memory(&run, r),
           (size_t)import_run_size(&run, tensor_count(cx, r)) * sizeof(float));
}

typedef struct Made {
    qn_context *context;
    qn_model *model;
    qn_program *program;
    qn_session *session;
    Oracle oracle;
    qn_status status;
    char message[400];
    double rounds; /* by so much results may differ */
} Made;

static Made make(const Case *c)
{
    Made m = {.oracle = {.c = c, .wire = model_of(c)}};
    for (int i = 0; i < INPUTS; i++)
        for (int k = 0; k < MOST; k++)
            data[i][k] = (float)((k * 7 + i * 3) % 11 - 5);
    cr_assert_eq(qn_context_create(NULL, &m.context), QN_OK);
    cr_assert_eq(qn_model_from_memory(m.context, m.oracle.wire.data, m.oracle.wire.size,
                                      &(qn_model_options){.size = sizeof(qn_model_options)},
                                      &m.model),
                 QN_OK, "%s", qn_model_message(m.model));
    cr_assert_eq(qn_program_compile(m.model, NULL, &m.program), QN_OK, "%s",
                 qn_program_message(m.program));
    cr_assert_eq(qn_session_create(m.program, NULL, &m.session), QN_OK);
    return m;
}

/* Runs the one program with inputs of these sizes, like "3,4". */
static void run(Made *m, const char *const *sizes, float *result)
{
    int64_t dims[INPUTS][4];
    qn_shape shapes[INPUTS];
    qn_buffer in[INPUTS], out = {.data = result, .bytes = MOST * sizeof(float)};
    int count = m->oracle.c->inputs;
    for (int i = 0; i < count; i++) {
        int rank;
        int64_t elements = read_sizes(sizes[i], dims[i], &rank);
        shapes[i] = (qn_shape){.dims = dims[i], .rank = rank};
        in[i] = (qn_buffer){.data = data[i], .bytes = (size_t)elements * sizeof(float)};
    }
    m->status = qn_session_set_shapes(m->session, shapes, (size_t)count);
    if (m->status == QN_OK)
        m->status = qn_run(m->session, in, (size_t)count, &out, 1);
    snprintf(m->message, sizeof m->message, "%s", qn_session_message(m->session));
}

static void expect(Made *m, int64_t count, const char *x, const char *y, const char *z)
{
    static float got[MOST], want[MOST];
    const char *const sizes[] = {x, y, z};
    Cx cx;
    m->oracle.sizes = sizes;
    m->oracle.result = want;
    memset(got, 0xCC, sizeof got);
    memset(want, 0, sizeof want);
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, interpret, &m->oracle), ST_ok, "%s", cx.message);
    cx_finish(&cx);
    run(m, sizes, got);
    cr_assert_eq(m->status, QN_OK, "%s", m->message);
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)(got[i] - want[i])) <= m->rounds, "element %d of %s, %s: %g, not %g",
                  (int)i, x, y ? y : "", (double)got[i], (double)want[i]);
}

static void expect_refused(Made *m, const char *message, const char *x, const char *y,
                           const char *z)
{
    static float result[MOST];
    run(m, (const char *const[]){x, y, z}, result);
    cr_assert_eq(m->status, QN_BAD_ARGUMENT);
    cr_assert_str_eq(m->message, message);
}

static void finish(Made *m)
{
    qn_session_release(m->session);
    qn_program_release(m->program);
    qn_model_release(m->model);
    qn_context_release(m->context);
}

Test(equal_dims, matmul_with_a_weight)
{
    const Case c = {node("MatMul", "x,w", "r"), 1, 2, {"M,K"}};
    qn_tensor_info info;
    Made m = make(&c);
    cr_assert_eq(qn_model_input(m.model, 0, &info), QN_OK);
    cr_expect_str_eq(info.dims[1].symbol.data, "K");
    expect(&m, 6, "3,4", NULL, NULL);
    expect(&m, 34, "17,4", NULL, NULL);
    expect_refused(&m, "input 'x': dim 1, 'K', is 5; node 'made' (MatMul) needs 4", "3,5", NULL,
                   NULL);
    expect(&m, 6, "3,4", NULL, NULL);
    finish(&m);
}

Test(equal_dims, matmul)
{
    const Case c = {node("MatMul", "x,y", "r"), 2, 2, {"M,K", "J,N"}};
    Made m = make(&c);
    expect(&m, 18, "3,4", "4,6", NULL);
    expect(&m, 33 * 17, "33,20", "20,17", NULL);
    expect_refused(&m,
                   "input 'x': dim 1, 'K', is 4; node 'made' (MatMul) needs 5, as dim 0 of input "
                   "'y'",
                   "3,4", "5,6", NULL);
    finish(&m);
}

/* Both names are taken, and mean the same. */
Test(equal_dims, either_name_may_be_fixed)
{
    const Case c = {node("MatMul", "x,y", "r"), 2, 2, {"M,K", "J,N"}};
    static const char *const names[] = {"K", "J"};
    for (int i = 0; i < 2; i++) {
        Made m = make(&c);
        qn_program *general = m.program;
        const qn_dim_value dim = {.symbol = qn_str(names[i]), .value = 4};
        const qn_compile_options options = {.size = sizeof options, .dims = &dim, .dim_count = 1};
        qn_session_release(m.session);
        cr_assert_eq(qn_program_compile(m.model, &options, &m.program), QN_OK, "%s",
                     qn_program_message(m.program));
        qn_program_release(general);
        cr_assert_eq(qn_session_create(m.program, NULL, &m.session), QN_OK);
        expect(&m, 18, "3,4", "4,6", NULL);
        finish(&m);
    }
}

Test(equal_dims, gemm)
{
    Wire n = node("Gemm", "x,y,z", "r"), trans = attr("transB", 2);
    put_int(&trans, 3, 1);
    put_wire(&n, 5, trans);
    const Case c = {n, 3, 2, {"M,K", "N,J", "L"}};
    Made m = make(&c);
    expect(&m, 18, "3,4", "6,4", "6");
    expect(&m, 18, "3,4", "6,4", "1");
    expect(&m, 33 * 20, "33,9", "20,9", "20");
    finish(&m);
}

Test(equal_dims, concat)
{
    Wire n = node("Concat", "x,y", "r"), axis = attr("axis", 2);
    put_int(&axis, 3, 1);
    put_wire(&n, 5, axis);
    const Case c = {n, 2, 2, {"N,A", "M,B"}};
    Made m = make(&c);
    expect(&m, 21, "3,5", "3,2", NULL);
    expect(&m, 100, "20,1", "20,4", NULL);
    finish(&m);
}

Test(equal_dims, conv)
{
    const Case c = {node("Conv", "x,y", "r"), 2, 4, {"N,C,H,W", "O,I,3,3"}};
    Made m = make(&c);
    expect(&m, 5 * 4 * 5, "1,3,6,7", "5,3,3,3", NULL);
    expect(&m, 2 * 9 * 2 * 3, "2,17,4,5", "9,17,3,3", NULL);
    finish(&m);
}

Test(equal_dims, channels)
{
    const Case c = {node("BatchNormalization", "x,y,y,y,z", "r"), 3, 3, {"N,C,L", "D", "E"}};
    Made m = make(&c);
    for (int i = 0; i < MOST; i++)
        data[2][i] = 4;
    expect(&m, 30, "2,3,5", "3", "3");
    expect_refused(&m,
                   "input 'x': dim 1, 'C', is 1; node 'made' (BatchNormalization) needs 3, as dim "
                   "0 of input 'y'",
                   "2,1,5", "3", "3");
    finish(&m);
}

/* Dims that may also be 1 stay two. */
Test(equal_dims, broadcast)
{
    const Case c = {node("Add", "x,y", "r"), 2, 2, {"N,C", "M,C"}};
    Made m = make(&c);
    expect(&m, 15, "3,5", "3,5", NULL);
    expect(&m, 15, "3,5", "1,5", NULL);
    expect(&m, 20, "1,5", "4,5", NULL);
    expect_refused(&m,
                   "input 'x': dim 0, 'N', is 2; node 'made' (Add) needs 4 or 1, as dim 0 of input "
                   "'y'",
                   "2,5", "4,5", NULL);
    finish(&m);
}

Test(equal_dims, blocks_of_channels)
{
    const Case c = {with_int(node("DepthToSpace", "x", "r"), "blocksize", 2), 1, 4, {"N,C,H,W"}};
    Made m = make(&c);
    expect(&m, 2 * 8 * 3 * 5, "2,8,3,5", NULL, NULL);
    expect(&m, 36 * 33, "1,36,3,11", NULL, NULL);
    expect_refused(&m,
                   "input 'x': dim 1, 'C', is 6; node 'made' (DepthToSpace) needs a multiple of 4",
                   "1,6,3,5", NULL, NULL);
    finish(&m);
}

/* Heads of an open size, over hidden sizes of three names. */
Test(equal_dims, heads)
{
    Wire n = with_int(node("Attention", "x,y,z", "r"), "q_num_heads", 6);
    const Case c = {with_int(n, "kv_num_heads", 3), 3, 3, {"N,S,C", "M,T,D", "O,U,E"}};
    Made m = make(&c);
    m.rounds = 1e-5;
    expect(&m, 2 * 5 * 24, "2,5,24", "2,7,12", "2,7,12");
    expect(&m, 3 * 102, "1,3,12", "1,9,6", "1,9,51");
    expect_refused(&m,
                   "input 'x': dim 2, 'C', is 20; node 'made' (Attention) needs a multiple of 6",
                   "1,3,20", "1,9,6", "1,9,6");
    finish(&m);
}

/* How many heads share keys is open too. */
Test(equal_dims, numbers_of_heads)
{
    const Case c = {node("Attention", "x,y,z", "r"), 3, 4, {"N,H,S,C", "M,G,T,D", "O,F,U,E"}};
    Made m = make(&c);
    m.rounds = 1e-5;
    expect(&m, 2 * 6 * 3 * 4, "2,6,3,8", "2,3,5,8", "2,3,5,4");
    expect(&m, 5 * 3 * 17, "1,5,3,8", "1,5,20,8", "1,5,20,17");
    expect_refused(&m,
                   "input 'x': dim 1, 'H', is 4; node 'made' (Attention) needs a multiple of 3, as "
                   "dim 1 of input 'y'",
                   "2,4,3,8", "2,3,5,8", "2,3,5,4");
    finish(&m);
}

Test(equal_dims, groups_of_channels)
{
    const Case c = {with_int(node("GroupNormalization", "x,y,z", "r"), "num_groups", 3),
                    3,
                    3,
                    {"N,C,L", "D", "E"}};
    Made m = make(&c);
    m.rounds = 1e-5;
    expect(&m, 2 * 6 * 5, "2,6,5", "6", "6");
    expect(&m, 33 * 20, "1,33,20", "33", "33");
    finish(&m);
}

/* Pairs of an open size of heads; cosines and sines are half as many. */
Test(equal_dims, rotation)
{
    const Case c = {
        node("RotaryEmbedding", "x,y,z", "r"), 3, 4, {"N,H,S,D", "M,T,E", "O,U,F"}};
    Made m = make(&c);
    m.rounds = 1e-5;
    expect(&m, 3 * 5 * 8, "1,3,5,8", "1,5,4", "1,5,4");
    expect(&m, 2 * 7 * 34, "2,1,7,34", "2,7,17", "2,7,17");
    expect_refused(&m,
                   "input 'x': dim 3, 'D', is 7; node 'made' (RotaryEmbedding) needs a multiple of "
                   "2",
                   "1,3,5,7", "1,5,3", "1,5,3");
    finish(&m);
}

/* The first of parts that are as equal as they can be. */
Test(equal_dims, uneven_parts)
{
    const Case c = {with_int(node("Split", "x", "r,o"), "num_outputs", 2), 1, 2, {"N,C"}};
    Made m = make(&c);
    expect(&m, 3 * 2, "5,2", NULL, NULL);
    expect(&m, 3 * 33, "6,33", NULL, NULL);
    expect(&m, 4, "1,4", NULL, NULL);
    finish(&m);
}

Test(equal_dims, equal_parts)
{
    const Case c = {node("Split", "x", "r,o"), 1, 2, {"N,C"}};
    Made m = make(&c);
    expect(&m, 3 * 2, "6,2", NULL, NULL);
    finish(&m);
}

/* Channels of groups, both ways. */
Test(equal_dims, conv_groups)
{
    const Case c = {
        with_int(node("Conv", "x,y", "r"), "group", 2), 2, 4, {"N,C,H,W", "O,I,3,3"}};
    Made m = make(&c);
    expect(&m, 6 * 4 * 5, "1,6,6,7", "6,3,3,3", NULL);
    expect_refused(&m, "input 'y': dim 0, 'O', is 5; node 'made' (Conv) needs a multiple of 2",
                   "1,6,6,7", "5,3,3,3", NULL);
    finish(&m);
    const Case t = {
        with_int(node("ConvTranspose", "x,y", "r"), "group", 2), 2, 4, {"N,C,H,W", "D,I,3,3"}};
    m = make(&t);
    expect(&m, 6 * 8 * 9, "1,4,6,7", "4,3,3,3", NULL);
    finish(&m);
}

/* ---- the pass */

typedef struct Dims {
    Cx *cx;
    Graph *graph;
} Dims;

static Tensor *input(Dims *d, const char *name, const Expr *extent)
{
    return graph_input(d->graph, name, DT_f32, 2, (const Expr *[]){expr_const(d->cx, 2), extent});
}

static void number_everything(Dims *d, Tensor *result)
{
    graph_output(d->graph, result, "r");
    graph_sweep(d->graph);
}

/* Of two dims the narrower one stands for both; a number stands for any; numbers of nodes stay. */
static void check_pass(Cx *cx, void *user)
{
    (void)user;
    const Expr *n = expr_sym(cx, "N", 1, 100, 1), *m = expr_sym(cx, "M", 1, 50, 1),
               *k = expr_sym(cx, "K", 1, 100, 1);
    Dims d = {cx, graph_new(cx, "g")};
    Tensor *x = input(&d, "x", n), *y = input(&d, "y", m), *z = input(&d, "z", k);
    cr_assert(graph_same_dim(d.graph, n, m));
    cr_assert(graph_same_dim(d.graph, expr_const(cx, 7), k));
    Tensor *all[] = {x, y, z};
    number_everything(&d, graph_concat(d.graph, 3, all, 1));
    const Graph *equal = equal_dims(cx, d.graph).graph;
    cr_assert_neq(equal, d.graph);
    cr_expect_eq(equal->inputs[0]->shape[1], m);
    cr_expect_eq(equal->inputs[1]->shape[1], m);
    cr_expect(expr_is_const(equal->inputs[2]->shape[1], 7));
    cr_expect_eq(equal->outputs[0]->shape[1], expr_addi(cx, expr_muli(cx, m, 2), 7));
    cr_expect_eq(equal->outputs[0]->id, d.graph->outputs[0]->id);
    cr_expect_eq(equal->dim_count, 1);
    cr_expect_eq(d.graph->inputs[0]->shape[1], n, "the graph itself stays");
}

/* A number that the bounds of the symbol exclude, and "or one", replace nothing. */
static void check_refusals(Cx *cx, void *user)
{
    (void)user;
    const Expr *n = expr_sym(cx, "N", 1, 100, 1), *even = expr_sym(cx, "E", 2, 100, 2);
    Dims d = {cx, graph_new(cx, "g")};
    Tensor *x = input(&d, "x", n), *y = input(&d, "y", even);
    cr_assert_not_null(graph_broadcast(d.graph, n, expr_const(cx, 7)));
    cr_assert(graph_same_dim(d.graph, even, expr_const(cx, 7)));
    Tensor *all[] = {x, y};
    number_everything(&d, graph_concat(d.graph, 2, all, 1));
    cr_expect_eq(equal_dims(cx, d.graph).graph, d.graph);
}

/* A dim that has to be a multiple of 4, then of 6, is 12 times a symbol; two that are so many times
 * the same have one. */
static void check_shares(Cx *cx, void *user)
{
    (void)user;
    const Expr *n = expr_sym(cx, "N", 1, 100, 1), *m = expr_sym(cx, "M", 1, 100, 1);
    Dims d = {cx, graph_new(cx, "g")};
    Tensor *x = input(&d, "x", n), *y = input(&d, "y", m);
    cr_expect_null(graph_share(d.graph, expr_addi(cx, expr_muli(cx, n, 2), 1), expr_const(cx, 2)));
    const Expr *quarter = graph_share(d.graph, n, expr_const(cx, 4));
    cr_assert_not_null(graph_share(d.graph, n, expr_const(cx, 6)));
    const Expr *third = graph_share(d.graph, m, expr_const(cx, 3));
    cr_assert(quarter && third && graph_same_dim(d.graph, quarter, third));
    number_everything(&d, graph_concat(d.graph, 2, (Tensor *[]){x, y}, 1));
    EqualDims equal = equal_dims(cx, d.graph);
    cr_assert_eq(equal.share_count, 3);
    const DimShare *last = &equal.shares[1];
    cr_expect_eq(last->whole, n);
    cr_expect(expr_is_const(last->by, 12));
    cr_expect_eq(equal.graph->inputs[0]->shape[1], expr_muli(cx, last->sym, 12));
    cr_expect_eq(equal.graph->inputs[1]->shape[1], expr_muli(cx, last->sym, 9));
    cr_expect_eq(last->sym->lo, 1);
    cr_expect_eq(last->sym->hi, 8);
}

static void in_job(void (*body)(Cx *cx, void *user))
{
    Cx cx;
    cx_init(&cx, NULL, 0);
    cr_assert_eq(cx_run(&cx, body, NULL), ST_ok, "%s", cx.message);
    cx_finish(&cx);
}

Test(equal_dims, replaces)
{
    in_job(check_pass);
}

Test(equal_dims, shares)
{
    in_job(check_shares);
}

Test(equal_dims, keeps)
{
    in_job(check_refusals);
}
