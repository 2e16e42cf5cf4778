/* RNN, GRU and LSTM as loops, through the public interface: one model with a symbolic sequence
 * length, which makes a loop, and with that length fixed, which is unrolled; both against the
 * recurrence computed here in double. */
#include <stdio.h>

#include "model_run.h"

TestSuite(rnn_loop, .init = wire_init, .fini = wire_finish);

enum { BATCH = 2, SIZE = 3, HIDDEN = 4, MOST = 40, MOST_ROWS = 4 * HIDDEN };

typedef struct Net {
    const char *op;
    int gates, directions;
    bool reverse, batch_first, lengths, reset_later;
} Net;

static float x[MOST * BATCH * SIZE], w[2 * MOST_ROWS * SIZE], r[2 * MOST_ROWS * HIDDEN];
static float bias[2 * 2 * MOST_ROWS], peep[2 * 3 * HIDDEN];
static int32_t lengths[BATCH];

/* Values of no pattern in (-0.5, 0.5). */
static void fill(float *list, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        list[i] = (float)(seed >> 8) / (float)(1 << 24) - 0.5f;
    }
}

/* ---- the recurrence of the ONNX specification, element by element */

static double sigma(double v)
{
    return 1 / (1 + exp(-v));
}

/* Row `row` of one direction's products, without biases: with the input, with the state. */
static double of_input(const Net *n, int k, int row, const float *in)
{
    double sum = 0;
    for (int i = 0; i < SIZE; i++)
        sum += (double)w[(k * n->gates * HIDDEN + row) * SIZE + i] * (double)in[i];
    return sum + (double)bias[k * 2 * n->gates * HIDDEN + row];
}

static double of_state(const Net *n, int k, int row, const double *h)
{
    double sum = 0;
    for (int i = 0; i < HIDDEN; i++)
        sum += (double)r[(k * n->gates * HIDDEN + row) * HIDDEN + i] * h[i];
    return sum;
}

static double state_bias(const Net *n, int k, int row)
{
    return (double)bias[(k * 2 + 1) * n->gates * HIDDEN + row];
}

static double gate(const Net *n, int k, int row, const float *in, const double *h)
{
    return of_input(n, k, row, in) + of_state(n, k, row, h) + state_bias(n, k, row);
}

static void next_gru(const Net *n, int k, const float *in, double *h)
{
    double reset[HIDDEN], gated[HIDDEN], next[HIDDEN];
    for (int j = 0; j < HIDDEN; j++) {
        reset[j] = sigma(gate(n, k, HIDDEN + j, in, h));
        gated[j] = reset[j] * h[j];
    }
    for (int j = 0; j < HIDDEN; j++) {
        int row = 2 * HIDDEN + j;
        double z = sigma(gate(n, k, j, in, h)), late = state_bias(n, k, row);
        double inner = n->reset_later ? reset[j] * (of_state(n, k, row, h) + late)
                                      : of_state(n, k, row, gated) + late;
        next[j] = (1 - z) * tanh(of_input(n, k, row, in) + inner) + z * h[j];
    }
    memcpy(h, next, sizeof next);
}

static void next_lstm(const Net *n, int k, const float *in, double *h, double *c)
{
    double next[HIDDEN];
    const float *p = peep + k * 3 * HIDDEN;
    for (int j = 0; j < HIDDEN; j++) {
        double i = sigma(gate(n, k, j, in, h) + (double)p[j] * c[j]);
        double f = sigma(gate(n, k, 2 * HIDDEN + j, in, h) + (double)p[2 * HIDDEN + j] * c[j]);
        c[j] = f * c[j] + i * tanh(gate(n, k, 3 * HIDDEN + j, in, h));
        next[j] = sigma(gate(n, k, HIDDEN + j, in, h) + (double)p[HIDDEN + j] * c[j]) * tanh(c[j]);
    }
    memcpy(h, next, sizeof next);
}

static void next_rnn(const Net *n, int k, const float *in, double *h)
{
    double next[HIDDEN];
    for (int j = 0; j < HIDDEN; j++)
        next[j] = tanh(gate(n, k, j, in, h));
    memcpy(h, next, sizeof next);
}

/* Y, Y_h and Y_c where the model has them. */
typedef struct Results {
    float y[MOST * 2 * BATCH * HIDDEN], h[2 * BATCH * HIDDEN], c[2 * BATCH * HIDDEN];
} Results;

static void recur(const Net *n, int steps, int k, int b, Results *out)
{
    double h[HIDDEN] = {0}, c[HIDDEN] = {0};
    int runs = n->lengths ? lengths[b] : steps, K = n->directions;
    bool back = n->reverse || k;
    for (int s = 0; s < runs; s++) {
        int t = back ? runs - 1 - s : s;
        const float *in = x + (n->batch_first ? b * steps + t : t * BATCH + b) * SIZE;
        if (n->gates == 4)
            next_lstm(n, k, in, h, c);
        else if (n->gates == 3)
            next_gru(n, k, in, h);
        else
            next_rnn(n, k, in, h);
        int at = n->batch_first ? (b * steps + t) * K + k : (t * K + k) * BATCH + b;
        for (int j = 0; j < HIDDEN; j++)
            out->y[at * HIDDEN + j] = (float)h[j];
    }
    int at = n->batch_first ? b * K + k : k * BATCH + b;
    for (int j = 0; j < HIDDEN; j++) {
        out->h[at * HIDDEN + j] = (float)h[j];
        out->c[at * HIDDEN + j] = (float)c[j];
    }
}

static void reference(const Net *n, int steps, Results *out)
{
    memset(out, 0, sizeof *out);
    for (int k = 0; k < n->directions; k++)
        for (int b = 0; b < BATCH; b++)
            recur(n, steps, k, b, out);
}

/* ---- the model */

static void put_weight(Wire *graph, const char *name, const char *dims, const float *data,
                       size_t count)
{
    Wire t = tensor(name, (int)DT_f32, dims);
    put_bytes(&t, 9, data, count * sizeof *data);
    put_wire(graph, 5, t);
}

static void put_weights(Wire *g, const Net *n)
{
    char dims[64];
    int rows = n->gates * HIDDEN, K = n->directions;
    snprintf(dims, sizeof dims, "%d,%d,%d", K, rows, SIZE);
    put_weight(g, "w", dims, w, (size_t)(K * rows * SIZE));
    snprintf(dims, sizeof dims, "%d,%d,%d", K, rows, HIDDEN);
    put_weight(g, "r", dims, r, (size_t)(K * rows * HIDDEN));
    snprintf(dims, sizeof dims, "%d,%d", K, 2 * rows);
    put_weight(g, "b", dims, bias, (size_t)(K * 2 * rows));
    snprintf(dims, sizeof dims, "%d,%d", K, 3 * HIDDEN);
    if (n->gates == 4)
        put_weight(g, "p", dims, peep, (size_t)(K * 3 * HIDDEN));
}

/* Inputs x, sequence_lens l; outputs y, h and, of LSTM, c. */
static Wire net_model(const Net *n)
{
    Wire g = {0};
    char inputs[32];
    snprintf(inputs, sizeof inputs, "x,w,r,b,%s%s", n->lengths ? "l" : "",
             n->gates == 4 ? ",,,p" : "");
    Wire op = with_int(node(n->op, inputs, n->gates == 4 ? "y,h,c" : "y,h"), "hidden_size", HIDDEN);
    op = with_int(op, "layout", n->batch_first);
    if (n->reset_later)
        op = with_int(op, "linear_before_reset", 1);
    op = with_text(op, "direction",
                   n->directions == 2 ? "bidirectional"
                   : n->reverse       ? "reverse"
                                      : "forward");
    put_text(&g, 2, "g");
    put_weights(&g, n);
    put_wire(&g, 11, info("x", (int)DT_f32, n->batch_first ? "2,S,3" : "S,2,3"));
    if (n->lengths)
        put_wire(&g, 11, info("l", (int)DT_i32, "2"));
    put_wire(&g, 1, op);
    char all[32], last[32];
    snprintf(all, sizeof all, n->batch_first ? "2,S,%d,4" : "S,%d,2,4", n->directions);
    snprintf(last, sizeof last, n->batch_first ? "2,%d,4" : "%d,2,4", n->directions);
    put_wire(&g, 12, info("y", (int)DT_f32, all));
    put_wire(&g, 12, info("h", (int)DT_f32, last));
    if (n->gates == 4)
        put_wire(&g, 12, info("c", (int)DT_f32, last));
    return model(8, 14, g);
}

/* ---- runs */

/* steps 0: any number. */
static ModelRun open_net(const Net *n, int steps)
{
    qn_dim_value s = {.symbol = qn_str("S"), .value = steps};
    qn_compile_options options = {.dims = &s, .dim_count = steps != 0};
    return model_open_with(net_model(n), &options);
}

static void run_net(const ModelRun *o, const Net *n, int steps, Results *out)
{
    int64_t dims[] = {n->batch_first ? BATCH : steps, n->batch_first ? steps : BATCH, SIZE};
    const size_t values = (size_t)(n->directions * BATCH * HIDDEN) * sizeof(float);
    qn_shape shapes[] = {{.rank = 3, .dims = dims}, {.rank = 1, .dims = (int64_t[]){BATCH}}};
    qn_buffer in[] = {{.data = x, .bytes = (size_t)(steps * BATCH * SIZE) * sizeof *x},
                      {.data = lengths, .bytes = sizeof lengths}};
    qn_buffer results[] = {{.data = out->y, .bytes = (size_t)steps * values},
                           {.data = out->h, .bytes = values},
                           {.data = out->c, .bytes = values}};
    memset(out, 0, sizeof *out);
    cr_assert_eq(qn_session_set_shapes(o->session, shapes, n->lengths ? 2 : 1), QN_OK, "%s",
                 qn_session_message(o->session));
    cr_assert_eq(qn_run(o->session, in, n->lengths ? 2 : 1, results, n->gates == 4 ? 3 : 2), QN_OK,
                 "%s", qn_session_message(o->session));
}

static void expect_near(const float *got, const float *want, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(fabsf(got[i] - want[i]) <= 1e-5f, "%s[%zu] is %.8g, not %.8g", what, i,
                  (double)got[i], (double)want[i]);
}

static void expect_results(const Net *n, const Results *got, const Results *want)
{
    expect_near(got->y, want->y, sizeof got->y / sizeof *got->y, "y");
    expect_near(got->h, want->h, sizeof got->h / sizeof *got->h, "h");
    if (n->gates == 4)
        expect_near(got->c, want->c, sizeof got->c / sizeof *got->c, "c");
}

static const Net nets[] = {
    {"RNN", 1, 1, false, false, false, false}, {"RNN", 1, 2, false, true, true, false},
    {"GRU", 3, 1, true, true, false, false},   {"GRU", 3, 2, false, false, true, true},
    {"LSTM", 4, 1, true, false, true, false},  {"LSTM", 4, 2, false, true, false, false},
};

static void setup(int steps)
{
    lengths[0] = steps - steps / 4, lengths[1] = steps;
    fill(x, sizeof x / sizeof *x, 1);
    fill(w, sizeof w / sizeof *w, 2);
    fill(r, sizeof r / sizeof *r, 3);
    fill(bias, sizeof bias / sizeof *bias, 4);
    fill(peep, sizeof peep / sizeof *peep, 5);
}

static Results want, loop, unrolled;

/* One program for any length, at two lengths; at the first against the unrolled form too. */
Test(rnn_loop, symbolic_length)
{
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        const Net *n = &nets[i];
        setup(12);
        ModelRun open = open_net(n, 0), fixed = open_net(n, 12);
        run_net(&open, n, 12, &loop);
        run_net(&fixed, n, 12, &unrolled);
        reference(n, 12, &want);
        expect_results(n, &loop, &want);
        expect_results(n, &unrolled, &want);
        expect_results(n, &loop, &unrolled);
        setup(33);
        run_net(&open, n, 33, &loop);
        reference(n, 33, &want);
        expect_results(n, &loop, &want);
        model_close(&open);
        model_close(&fixed);
    }
}

/* A known length that is too long to be unrolled. */
Test(rnn_loop, many_steps)
{
    const Net *n = &nets[4];
    setup(MOST);
    ModelRun fixed = open_net(n, MOST);
    run_net(&fixed, n, MOST, &loop);
    reference(n, MOST, &want);
    expect_results(n, &loop, &want);
    model_close(&fixed);
}
