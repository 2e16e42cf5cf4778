/* Importers: RNN, GRU and LSTM, unrolled over a short sequence of known length, else as loops.
 *
 * The products with the inputs do not depend on time: one matmul for all steps, with both biases
 * added. A step then is one product with the last state and elementwise gates. Where a sequence of
 * the batch has ended the state stays and the output is 0; running backwards over t with the same
 * rule reverses just the part that is there. The step's formula is the same in both forms: in a
 * loop the cell's tensors are those of the body, and t is computed from the iteration's number. */
#include "frontend/import_ops.h"

#include <string.h>

enum { MOST_UNROLLED = 128, RNN = 1, GRU = 3, LSTM = 4 }; /* the cell's number of gates */

typedef struct Activation {
    const char *name;
    double alpha, beta;
} Activation;

typedef struct Cell {
    Import *im;
    int gates;
    const Expr *steps, *batch, *hidden;
    Activation f, g, h;
    double clip; /* 0 = none */
    bool reset_later, coupled;
    Tensor *inputs;    /* [steps, batch, gates * hidden]: products of all inputs, biases added */
    Tensor *recurrent; /* [hidden, gates * hidden] */
    Tensor *late_bias; /* GRU with reset_later: [hidden], added before the reset gate */
    Tensor *peephole;  /* [3 * hidden] (i, o, f) or NULL */
    Tensor *lengths;   /* [batch, 1] i64 or NULL */
    Tensor *state, *memory;
} Cell;

static Tensor *part(Cell *c, Tensor *x, int axis, int which)
{
    return slice_axis(c->im, x, axis, expr_muli(c->im->cx, c->hidden, which), c->hidden);
}

static Tensor *activate(Cell *c, const Activation *a, Tensor *x)
{
    Import *im = c->im;
    if (c->clip > 0)
        x = clamp(im, x, -c->clip, c->clip);
    Tensor *zero = scalar(im, x, 0), *one = scalar(im, x, 1), *alpha = scalar(im, x, a->alpha);
    Tensor *line = ew(im, S_add, ew(im, S_mul, x, alpha), scalar(im, x, a->beta));
    if (!strcmp(a->name, "Sigmoid"))
        return sigmoid(im, x);
    if (!strcmp(a->name, "Tanh"))
        return ew1(im, S_tanh, x);
    if (!strcmp(a->name, "Relu"))
        return ew(im, S_max, x, zero);
    if (!strcmp(a->name, "Affine"))
        return line;
    if (!strcmp(a->name, "HardSigmoid"))
        return clamp(im, line, 0, 1);
    if (!strcmp(a->name, "LeakyRelu"))
        return pick(im, ew(im, S_lt, x, zero), ew(im, S_mul, x, alpha), x);
    if (!strcmp(a->name, "ThresholdedRelu"))
        return pick(im, ew(im, S_lt, x, alpha), zero, x);
    if (!strcmp(a->name, "ScaledTanh"))
        return ew(im, S_mul, alpha, ew1(im, S_tanh, ew(im, S_mul, x, scalar(im, x, a->beta))));
    if (!strcmp(a->name, "Elu"))
        return pick(im, ew(im, S_lt, x, zero),
                    ew(im, S_mul, alpha, ew(im, S_sub, ew1(im, S_exp, x), one)), x);
    if (!strcmp(a->name, "Softsign"))
        return ew(im, S_div, x, ew(im, S_add, one, ew1(im, S_abs, x)));
    if (!strcmp(a->name, "Softplus")) {
        Tensor *small = ew1(im, S_exp, ew1(im, S_neg, ew1(im, S_abs, x)));
        return ew(im, S_add, ew(im, S_max, x, zero), ew1(im, S_log, ew(im, S_add, one, small)));
    }
    return fail(im, ST_unsupported, "activation '%s'", onnx_printable(im->cx->arena, a->name));
}

/* The activations of one direction; alpha and beta are lists for those that take them. */
static bool read_activations(Cell *c, const OnnxNode *n, int direction, int directions)
{
    static const char *const usual[3] = {"Sigmoid", "Tanh", "Tanh"};
    static const struct {
        const char *name;
        bool takes_alpha, takes_beta;
        double alpha, beta;
    } takers[] = {{"Affine", true, true, 1, 0},           {"LeakyRelu", true, false, 0.01, 0},
                  {"ThresholdedRelu", true, false, 1, 0}, {"ScaledTanh", true, true, 1, 1},
                  {"HardSigmoid", true, true, 0.2, 0.5},  {"Elu", true, false, 1, 0}};
    const OnnxAttr *names = attr(c->im, n, "activations"),
                   *alpha = attr(c->im, n, "activation_alpha");
    const OnnxAttr *beta = attr(c->im, n, "activation_beta");
    Activation *list[] = {&c->f, &c->g, &c->h};
    uint32_t each = c->gates == LSTM ? 3 : c->gates == GRU ? 2 : 1, alphas = 0, betas = 0;
    if (names && (names->type != OA_strings || names->count != each * (uint32_t)directions)) {
        fail(c->im, ST_bad_model, "activations are not %u for each direction", each);
        return false;
    }
    for (uint32_t i = 0; i < each * (uint32_t)(direction + 1); i++) {
        Activation a = {c->gates == RNN ? "Tanh" : usual[i % each], 0, 0};
        if (names)
            a.name = names->strings[i].data;
        for (size_t k = 0; k < sizeof takers / sizeof *takers; k++) {
            if (strcmp(a.name, takers[k].name) != 0)
                continue;
            a.alpha = takers[k].alpha, a.beta = takers[k].beta;
            if (takers[k].takes_alpha && alpha && alpha->type == OA_floats && alphas < alpha->count)
                a.alpha = (double)alpha->floats[alphas++];
            if (takers[k].takes_beta && beta && beta->type == OA_floats && betas < beta->count)
                a.beta = (double)beta->floats[betas++];
        }
        *list[i % each] = a;
    }
    return true;
}

/* Row `direction` of a parameter [directions, ..], without that axis. */
static Tensor *row(Import *im, Tensor *x, int direction)
{
    return squeeze(im, slice_axis(im, x, 0, expr_const(im->cx, direction), expr_const(im->cx, 1)),
                   0);
}

static Tensor *transposed(Import *im, Tensor *x)
{
    static const int64_t swap[] = {1, 0};
    if (!tensor_is_poison(x) && x->rank != 2)
        return fail(im, ST_bad_model, "weights of shape %s", tensor_shape_text(im->cx, x));
    return graph_transpose(im->graph, x, swap);
}

static Tensor *step_rnn(Cell *c, Tensor *x, Tensor *h)
{
    Import *im = c->im;
    return activate(c, &c->f, ew(im, S_add, x, graph_matmul(im->graph, h, c->recurrent)));
}

/* z, r, h: (1 - z) * new + z * old */
static Tensor *step_gru(Cell *c, Tensor *x, Tensor *h)
{
    Import *im = c->im;
    Tensor *rest = graph_matmul(im->graph, h, c->recurrent), *inner;
    Tensor *z = activate(c, &c->f, ew(im, S_add, part(c, x, 1, 0), part(c, rest, 1, 0)));
    Tensor *r = activate(c, &c->f, ew(im, S_add, part(c, x, 1, 1), part(c, rest, 1, 1)));
    if (c->reset_later) {
        inner = part(c, rest, 1, 2);
        inner = ew(im, S_mul, r, c->late_bias ? ew(im, S_add, inner, c->late_bias) : inner);
    } else {
        inner = graph_matmul(im->graph, ew(im, S_mul, r, h), part(c, c->recurrent, 1, 2));
    }
    Tensor *new = activate(c, &c->g, ew(im, S_add, part(c, x, 1, 2), inner));
    Tensor *kept = ew(im, S_mul, z, h);
    return ew(im, S_add, ew(im, S_mul, ew(im, S_sub, scalar(im, z, 1), z), new), kept);
}

static Tensor *peep(Cell *c, Tensor *gate, Tensor *memory, int which)
{
    if (!c->peephole)
        return gate;
    return ew(c->im, S_add, gate, ew(c->im, S_mul, memory, part(c, c->peephole, 0, which)));
}

/* i, o, f, c */
static Tensor *step_lstm(Cell *c, Tensor *x, Tensor *h, Tensor **memory)
{
    Import *im = c->im;
    Tensor *all = ew(im, S_add, x, graph_matmul(im->graph, h, c->recurrent)), *old = *memory;
    Tensor *i = activate(c, &c->f, peep(c, part(c, all, 1, 0), old, 0));
    Tensor *f = c->coupled ? ew(im, S_sub, scalar(im, i, 1), i)
                           : activate(c, &c->f, peep(c, part(c, all, 1, 2), old, 2));
    Tensor *new = activate(c, &c->g, part(c, all, 1, 3));
    Tensor *kept = ew(im, S_mul, f, old);
    *memory = ew(im, S_add, kept, ew(im, S_mul, i, new));
    Tensor *o = activate(c, &c->f, peep(c, part(c, all, 1, 1), *memory, 1));
    double clip = c->clip; /* the memory is not clipped */
    c->clip = 0;
    Tensor *out = ew(im, S_mul, o, activate(c, &c->h, *memory));
    c->clip = clip;
    return out;
}

/* The step at time t (i64 []): its output; state and memory become those after it. */
static Tensor *step(Cell *c, Tensor *t)
{
    Import *im = c->im;
    Tensor *x = graph_gather(im->graph, c->inputs, t, 0), *memory = c->memory;
    Tensor *h = c->gates == LSTM  ? step_lstm(c, x, c->state, &memory)
                : c->gates == GRU ? step_gru(c, x, c->state)
                                  : step_rnn(c, x, c->state);
    Tensor *output = h;
    if (c->lengths) {
        Tensor *runs = ew(im, S_lt, t, c->lengths);
        output = pick(im, runs, h, scalar(im, h, 0));
        h = pick(im, runs, h, c->state);
        memory = memory ? pick(im, runs, memory, c->memory) : NULL;
    }
    c->state = h;
    c->memory = memory;
    return output;
}

/* One direction of a cell. */
typedef struct Way {
    const OnnxNode *node;
    int direction;
    bool reverse, batch_first;
} Way;

/* x with the extent `want` along an axis, which must be what it is; in a loop types do not change.
 */
static Tensor *with_extent(Import *im, Tensor *x, int axis, const Expr *want)
{
    if (tensor_is_poison(x) || x->shape[axis] == want)
        return x;
    if (!graph_same_dim(im->graph, x->shape[axis], want))
        return fail(im, ST_bad_model, "a state or sequence_lens of shape %s",
                    tensor_shape_text(im->cx, x));
    return slice_axis(im, x, axis, expr_const(im->cx, 0), want);
}

static Tensor *initial(Cell *c, const Way *way, uint32_t input, const Tensor *x)
{
    Import *im = c->im;
    const Expr *shape[] = {c->batch, c->hidden};
    Tensor *given = arg_maybe(im, way->node, input);
    if (!given)
        return graph_fill(im->graph, scalar(im, x, 0), 2, shape);
    if (given->rank != 3)
        return fail(im, ST_bad_model, "an initial state of shape %s",
                    tensor_shape_text(im->cx, given));
    const Expr *at = expr_const(im->cx, way->direction), *one = expr_const(im->cx, 1);
    int axis = way->batch_first ? 1 : 0;
    given = squeeze(im, slice_axis(im, given, axis, at, one), axis);
    return with_extent(im, with_extent(im, given, 0, c->batch), 1, c->hidden);
}

/* The parameters of a step in one direction, in the present graph: a loop's body makes them of the
 * weights again, so that they fold and pack there. */
static void read_parameters(Cell *c, const OnnxNode *n, int direction)
{
    Import *im = c->im;
    Tensor *bias = arg_maybe(im, n, 3), *lengths = arg_maybe(im, n, 4);
    Tensor *peephole = c->gates == LSTM ? arg_maybe(im, n, 7) : NULL;
    c->recurrent = transposed(im, row(im, arg(im, n, 2), direction));
    c->late_bias = NULL;
    if (bias && c->gates == GRU && c->reset_later)
        c->late_bias = part(c, row(im, bias, direction), 0, 2 * GRU - 1);
    c->peephole = peephole ? row(im, peephole, direction) : NULL;
    c->lengths = NULL;
    if (lengths && lengths->rank != 1)
        fail(im, ST_bad_model, "sequence_lens of shape %s", tensor_shape_text(im->cx, lengths));
    else if (lengths)
        c->lengths = unsqueeze(im, with_extent(im, to(im, lengths, DT_i64), 0, c->batch), 1);
}

/* Products of all inputs in one direction, biases added; `x` is [steps, batch, size]. */
static Tensor *project(Cell *c, const OnnxNode *n, Tensor *x, int direction)
{
    Import *im = c->im;
    Tensor *bias = arg_maybe(im, n, 3);
    Tensor *all = graph_matmul(im->graph, x, transposed(im, row(im, arg(im, n, 1), direction)));
    if (!bias)
        return all;
    bias = row(im, bias, direction);
    const Expr *half = expr_muli(im->cx, c->hidden, c->gates);
    Tensor *of_input = slice_axis(im, bias, 0, expr_const(im->cx, 0), half);
    Tensor *of_state = slice_axis(im, bias, 0, half, half);
    if (c->late_bias) { /* the last third of the state's bias stands inside the reset */
        Tensor *parts[] = {part(c, of_state, 0, 0), part(c, of_state, 0, 1), NULL};
        parts[2] = graph_fill(im->graph, scalar(im, x, 0), 1, &c->hidden);
        of_state = graph_concat(im->graph, 3, parts, 0);
    }
    return ew(im, S_add, all, ew(im, S_add, of_input, of_state));
}

typedef struct Directions {
    int count;
    bool reverse[2];
} Directions;

static bool read_directions(Import *im, const OnnxNode *n, Directions *d)
{
    const char *name = attr_s(im, n, "direction", "forward");
    bool both = !strcmp(name, "bidirectional"), back = !strcmp(name, "reverse");
    *d = (Directions){both ? 2 : 1, {back, true}};
    if (both || back || !strcmp(name, "forward"))
        return true;
    fail(im, ST_bad_model, "direction '%s'", onnx_printable(im->cx->arena, name));
    return false;
}

static bool read_cell(Import *im, const OnnxNode *n, const Tensor *x, bool batch_first, Cell *c)
{
    Tensor *r = arg(im, n, 2);
    *c = (Cell){.im = im,
                .gates = (int)im->arg,
                .steps = dim(im, x, batch_first ? 1 : 0),
                .batch = dim(im, x, batch_first ? 0 : 1),
                .hidden = dim(im, r, 2)};
    if (cx_failed(im->cx) || x->rank != 3 || r->rank != 3) {
        fail(im, ST_bad_model, "inputs that are not of rank 3");
        return false;
    }
    c->clip = attr_f(im, n, "clip", 0);
    c->reset_later = attr_i(im, n, "linear_before_reset", 0);
    c->coupled = attr_i(im, n, "input_forget", 0);
    return !cx_failed(im->cx);
}

/* [..] of all steps or directions along a new axis. */
static Tensor *stack(Import *im, int count, Tensor *const *list, int axis)
{
    Tensor **parts = NEW_ARRAY(im->cx->arena, Tensor *, count);
    for (int i = 0; i < count; i++)
        parts[i] = unsqueeze(im, list[i], axis);
    return graph_concat(im->graph, count, parts, axis);
}

/* All outputs with the steps along axis 0, or along axis 1 with the batch first. */
static Tensor *run_unrolled(Cell *c, const Way *way)
{
    Import *im = c->im;
    int64_t steps = c->steps->value;
    Tensor **outputs = NEW_ARRAY(im->cx->arena, Tensor *, steps);
    for (int64_t i = 0; i < steps; i++) {
        int64_t t = way->reverse ? steps - 1 - i : i;
        outputs[t] = step(c, expr_scalar(im, DT_i64, expr_const(im->cx, t)));
    }
    return wants(way->node, 0) ? stack(im, (int)steps, outputs, way->batch_first) : NULL;
}

/* The body: one step on the carried state and memory. What it gives: those, and the output. */
static bool loop_body(const Cell *outer, const Way *way, Body *body)
{
    Cell c = *outer;
    Import *im = c.im;
    const Expr *shape[] = {c.batch, c.hidden};
    if (!body_begin(im, body, way->node->op))
        return false;
    Tensor *t = graph_input(im->graph, "iteration", DT_i64, 0, NULL);
    c.state = graph_input(im->graph, "state", c.state->dtype, 2, shape);
    if (c.memory)
        c.memory = graph_input(im->graph, "memory", c.memory->dtype, 2, shape);
    c.inputs = import_visible(im, c.inputs);
    read_parameters(&c, way->node, way->direction);
    if (way->reverse)
        t = ew(im, S_sub, expr_scalar(im, DT_i64, expr_addi(im->cx, c.steps, -1)), t);
    Tensor *output = step(&c, t);
    graph_output(im->graph, c.state, NULL);
    if (c.memory)
        graph_output(im->graph, c.memory, NULL);
    if (wants(way->node, 0))
        graph_output(im->graph, output, NULL);
    body_end(im, body);
    if (cx_failed(im->cx))
        return false;
    graph_body_end(body->graph);
    return true;
}

/* As run_unrolled, for any number of steps. */
static Tensor *run_loop(Cell *c, const Way *way)
{
    static const bool yes[1] = {true};
    Import *im = c->im;
    Body body;
    Tensor *results[3], **inputs = NULL;
    uint32_t count = 0, capacity = 0;
    if (!loop_body(c, way, &body))
        return NULL;
    VEC_PUSH(im->cx->arena, inputs, count, capacity, expr_scalar(im, DT_i64, c->steps));
    VEC_PUSH(im->cx->arena, inputs, count, capacity,
             graph_constant(im->graph, NULL, DT_bool, 0, NULL, yes));
    VEC_PUSH(im->cx->arena, inputs, count, capacity, c->state);
    if (c->memory)
        VEC_PUSH(im->cx->arena, inputs, count, capacity, c->memory);
    int carried = c->memory ? 2 : 1;
    for (uint32_t i = 0; i < body.count; i++)
        VEC_PUSH(im->cx->arena, inputs, count, capacity, body.captures[i]);
    if (!graph_loop(im->graph, body.graph, carried, false, (int)count, inputs, results))
        return NULL;
    c->state = results[0];
    c->memory = c->memory ? results[1] : NULL;
    return wants(way->node, 0) ? arrange(im, results[carried], way->batch_first, way->reverse)
                               : NULL;
}

/* As run_unrolled, from the inputs [steps, batch, size]; the last state and memory are the cell's.
 */
static Tensor *run(Cell *c, Tensor *x, const Way *way, int directions)
{
    Import *im = c->im;
    const OnnxNode *n = way->node;
    if (!read_activations(c, n, way->direction, directions))
        return NULL;
    read_parameters(c, n, way->direction);
    c->inputs = project(c, n, x, way->direction);
    c->state = initial(c, way, 5, x);
    c->memory = c->gates == LSTM ? initial(c, way, 6, x) : NULL;
    if (cx_failed(im->cx))
        return NULL;
    bool few =
        c->steps->kind == EX_const && c->steps->value >= 1 && c->steps->value <= MOST_UNROLLED;
    return few ? run_unrolled(c, way) : run_loop(c, way);
}

/* Outputs: all states [steps, directions, batch, hidden], the last ones [directions, batch,
 * hidden], the last memories. With layout 1 the batch comes first: [batch, steps, directions,
 * hidden] and [batch, directions, hidden]. */
Tensor *import_rnn(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *all[2] = {NULL}, *last[2], *memories[2];
    static const int64_t to_steps[] = {1, 0, 2};
    bool batch_first = attr_i(im, n, "layout", 0);
    Directions d;
    Cell *c = NEW(im->cx->arena, Cell);
    if (!read_directions(im, n, &d) || !read_cell(im, n, x, batch_first, c))
        return graph_poison(im->graph);
    if (batch_first)
        x = graph_transpose(im->graph, x, to_steps);
    for (int k = 0; k < d.count; k++) {
        const Way way = {n, k, d.reverse[k], batch_first};
        all[k] = run(c, x, &way, d.count);
        if (cx_failed(im->cx))
            return graph_poison(im->graph);
        last[k] = c->state;
        memories[k] = c->memory;
    }
    int axis = batch_first ? 1 : 0;
    if (wants(n, 1))
        set_result(im, 1, stack(im, d.count, last, axis));
    if (wants(n, 2) && c->gates == LSTM)
        set_result(im, 2, stack(im, d.count, memories, axis));
    return all[0] ? stack(im, d.count, all, axis + 1) : graph_poison(im->graph);
}
