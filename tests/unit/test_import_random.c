/* Random numbers: the generator against its published vectors, distributions by their moments,
 * Dropout against the first numbers of the reference's generator. */
#include "import_case.h"

TestSuite(import_random, .init = wire_init, .fini = wire_finish);

typedef struct Draw {
    Wire wire;
    int64_t count;
    double *values; /* of the first output */
} Draw;

static void draw_body(Cx *cx, void *user)
{
    Draw *d = user;
    void *inputs[] = {NEW_ARRAY(cx->arena, char, 1 << 16)};
    const OnnxModel *m = onnx_model_from_memory(cx, d->wire.data, d->wire.size, NULL);
    Graph *graph = m ? import_model(cx, m, NULL, NULL) : NULL;
    if (!graph || !graph_verify(graph))
        return;
    ImportRun run = {.cx = cx, .graph = graph};
    if (!import_run(&run, inputs))
        return;
    const Tensor *y = graph->outputs[0];
    cr_assert_eq(tensor_count_const(cx, y), d->count);
    for (int64_t i = 0; i < d->count; i++)
        d->values[i] = dtype_convert(DT_f64, dtype_compute(y->dtype),
                                     dtype_load(y->dtype, import_run_memory(&run, y), i))
                           .f;
}

/* The node's numbers; its input x is all zeros. */
static double *draw(Wire n, int64_t count, Dtype dtype)
{
    static Cx cx;
    const Item in[] = {{"x", dtype, "1000", NULL, false, NULL},
                       {NULL, DT_none, NULL, NULL, false, NULL}};
    const Item out[] = {{"y", dtype, "1000", NULL, false, NULL},
                        {NULL, DT_none, NULL, NULL, false, NULL}};
    Draw d = {case_model(22, n, in, out), count, NEW_ARRAY(&wire_arena, double, (size_t)count)};
    cx_init(&cx, NULL, 256 << 20);
    cx_run(&cx, draw_body, &d);
    cr_assert(cx.status == ST_ok, "%s", cx.message);
    cx_finish(&cx);
    return d.values;
}

static Wire seeded(const char *op)
{
    return with_float(node(op, "x", "y"), "seed", 0);
}

/* Philox 4x32-10 with counter 0 and key 0 gives 6627e8d5 e169c58d bc57ac4c 9b00dbd8 (known answers
 * of the Random123 library). */
Test(import_random, known_answer)
{
    const double *x = draw(seeded("RandomUniformLike"), 1000, DT_f32);
    cr_expect_float_eq(x[0], (0x6627e8d5 >> 8) * 0x1p-24, 1e-9);
    x = draw(seeded("RandomUniformLike"), 1000, DT_f64);
    double want = (0x6627e8d5 >> 5) * 0x1p-27 + (0xe169c58d >> 6) * 0x1p-53;
    cr_expect_float_eq(x[0], want, 1e-15);
    x = draw(seeded("RandomNormalLike"), 1000, DT_f32);
    double u = ((0x6627e8d5 >> 8) + 0.5) * 0x1p-24, v = (0xbc57ac4c >> 8) * 0x1p-24;
    cr_expect_float_eq(x[0], sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v), 1e-5);
}

static void check_moments(const double *x, double mean, double deviation)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < 1000; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    sum /= 1000;
    cr_expect_float_eq(sum, mean, 4 * deviation / sqrt(1000)); /* four deviations of the mean */
    cr_expect_float_eq(sqrt(squares / 1000 - sum * sum), deviation, 0.1 * deviation);
}

Test(import_random, moments)
{
    Wire n = with_float(with_float(seeded("RandomUniformLike"), "low", -1), "high", 3);
    const double *x = draw(n, 1000, DT_f32);
    check_moments(x, 1, 4 / sqrt(12));
    for (int i = 0; i < 1000; i++)
        cr_assert(x[i] >= -1 && x[i] < 3);
    n = with_float(with_float(seeded("RandomNormalLike"), "mean", 5), "scale", 2);
    check_moments(draw(n, 1000, DT_f64), 5, 2);
}

/* Equal log-probabilities; log-probabilities of 3 : 1. */
Test(import_random, multinomial)
{
    Wire n = with_int(with_float(node("Multinomial", "x", "y"), "seed", 1), "sample_size", 1000);
    expect_node(22,
                with_int(with_float(node("Multinomial", "x", "y"), "seed", 1), "sample_size", 4),
                ITEMS(F32("x", "2,2", -1e9, 0, 0, -1e9)),
                ITEMS(ITEM(i32, "y", "2,4", 1, 1, 1, 1, 0, 0, 0, 0)));
    expect_refused(22, n, ITEMS(F32("x", "2", 0, 0)), "samples of [2]");
}

Test(import_random, certain_events)
{
    expect_node(22, with_int(seeded("Bernoulli"), "dtype", DT_i32),
                ITEMS(ITEM(f64, "x", "4", 0, 1, 1, 0)), ITEMS(ITEM(i32, "y", "4", 0, 1, 1, 0)));
    expect_node(22,
                with_float(with_ints(node("RandomUniform", "", "y"), "shape", "0,2"), "seed", 3),
                ITEMS(F32("x", "1", 0)), ITEMS(F32("y", "0,2", 0)));
    expect_refused(22, node("RandomUniform", "", "y"), ITEMS(F32("x", "1", 0)), "'shape'");
    expect_refused(22, with_int(node("RandomNormalLike", "x", "y"), "dtype", DT_i32),
                   ITEMS(F32("x", "1", 0)), "of type i32");
}

/* MT19937 of seed 0 starts with 0.5488, 0.7152, 0.6028, 0.5449, 0.4237 (numpy.random.seed(0)). */
Test(import_random, dropout)
{
    Wire n = with_int(node("Dropout", "x,r,t", "y,m"), "seed", 0);
    const Item *out = ITEMS(F32("y", "5", 0, 5, 7.5, 0, 0), ITEM(bool, "m", "5", 0, 1, 1, 0, 0));
    Item yes = {"t", DT_bool, "", VALUES(1), true, NULL},
         no = {"t", DT_bool, "", VALUES(0), true, NULL};
    Item open = {"t", DT_bool, "", VALUES(1), false, NULL},
         shut = {"t", DT_bool, "", VALUES(0), false, NULL};
    Item x = F32("x", "5", 1, 2, 3, 4, 5), r = F32("r", "", 0.6);
    const Item *same = ITEMS(F32("y", "5", 1, 2, 3, 4, 5), ITEM(bool, "m", "5", 1, 1, 1, 1, 1));
    expect_node(13, n, ITEMS(x, r, yes), out);
    expect_node(13, n, ITEMS(x, r, open), out);
    expect_node(13, n, ITEMS(x, r, no), same);
    expect_node(13, n, ITEMS(x, r, shut), same);
    expect_node(10, node("Dropout", "x", "y,m"), ITEMS(x), same);
    expect_node(6, with_int(node("Dropout", "x", "y,m"), "is_test", 1), ITEMS(x),
                ITEMS(F32("y", "5", 1, 2, 3, 4, 5), F32("m", "5", 1, 1, 1, 1, 1)));
}
