/* Importers: RNN, GRU and LSTM, as recurrences (import_recur.c).
 *
 * The products with the inputs do not depend on time: one matmul for all steps, with both biases
 * added. A step then is one product with the last state and elementwise gates. Where a sequence of
 * the batch has ended the state stays and the output is 0; running backwards over t with the same
 * rule reverses just the part that is there. The step's formula is the same in both forms: in a
 * loop the cell's tensors are those of the body, and t is computed from the iteration's number. */
#include "frontend/import_ops.h"

#include <string.h>

enum { RNN = 1, GRU = 3, LSTM = 4 }; /* the cell's number of gates */

typedef struct Activation {
    const char *name;
    double alpha, beta;
} Activation;

/* One direction of a node. */
typedef struct Way {
    const OnnxNode *node;
    int direction;
    bool reverse, batch_first;
} Way;

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
    Way way;
} Cell;

static Tensor *part(const Cell *c, Tensor *x, int axis, int which)
{
    return slice_axis(c->im, x, axis, expr_muli(c->im->cx, c->hidden, which), c->hidden);
}

static Tensor *activate(const Cell *c, const Activation *a, Tensor *x)
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

static Tensor *step_rnn(const Cell *c, Tensor *x, Tensor *h)
{
    Import *im = c->im;
    return activate(c, &c->f, ew(im, S_add, x, graph_matmul(im->graph, h, c->recurrent)));
}

/* z, r, h: (1 - z) * new + z * old */
static Tensor *step_gru(const Cell *c, Tensor *x, Tensor *h)
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

static Tensor *peep(const Cell *c, Tensor *gate, Tensor *memory, int which)
{
    if (!c->peephole)
        return gate;
    return ew(c->im, S_add, gate, ew(c->im, S_mul, memory, part(c, c->peephole, 0, which)));
}

/* i, o, f, c */
static Tensor *step_lstm(const Cell *c, Tensor *x, Tensor *h, Tensor **memory)
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
    Cell unclipped = *c; /* as the memory is */
    unclipped.clip = 0;
    return ew(im, S_mul, o, activate(&unclipped, &c->h, *memory));
}

/* The step at time t (i64 []): its output; values are the state and the memory. */
static Tensor *step(void *user, Tensor *t, Tensor **values)
{
    const Cell *c = user;
    Import *im = c->im;
    bool remembers = c->gates == LSTM; /* the others have no second value */
    Tensor *x = graph_gather(im->graph, c->inputs, t, 0), *memory = remembers ? values[1] : NULL;
    Tensor *h = c->gates == LSTM  ? step_lstm(c, x, values[0], &memory)
                : c->gates == GRU ? step_gru(c, x, values[0])
                                  : step_rnn(c, x, values[0]);
    Tensor *output = h;
    if (c->lengths) {
        Tensor *runs = ew(im, S_lt, t, c->lengths);
        output = pick(im, runs, h, scalar(im, h, 0));
        h = pick(im, runs, h, values[0]);
        memory = remembers ? pick(im, runs, memory, values[1]) : NULL;
    }
    values[0] = h;
    if (remembers)
        values[1] = memory;
    return output;
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
static void read_parameters(Cell *c)
{
    Import *im = c->im;
    const OnnxNode *n = c->way.node;
    int direction = c->way.direction;
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

static void enter(void *user)
{
    Cell *c = user;
    c->inputs = import_visible(c->im, c->inputs);
    read_parameters(c);
}

/* All outputs with the steps along axis 0, or along axis 1 with the batch first, from the inputs
 * [steps, batch, size]; values are the last state and memory. */
static Tensor *run(Cell *c, const Way *way, Tensor *x, int directions, Tensor *values[2])
{
    Import *im = c->im;
    const OnnxNode *n = way->node;
    const Recurrence r = {
        n->op, c->steps, way->reverse, wants(n, 0), c->gates == LSTM ? 2 : 1, enter, step, c};
    if (!read_activations(c, n, way->direction, directions))
        return NULL;
    c->way = *way;
    read_parameters(c);
    c->inputs = project(c, n, x, way->direction);
    values[0] = initial(c, way, 5, x);
    values[1] = c->gates == LSTM ? initial(c, way, 6, x) : NULL;
    Tensor *all = recur(im, &r, values);
    return all ? arrange(im, all, way->batch_first, false) : NULL;
}

/* Outputs: all states [steps, directions, batch, hidden], the last ones [directions, batch,
 * hidden], the last memories. With layout 1 the batch comes first: [batch, steps, directions,
 * hidden] and [batch, directions, hidden]. */
Tensor *import_rnn(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *all[2] = {NULL}, *last[2], *memories[2], *values[2];
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
        all[k] = run(c, &way, x, d.count, values);
        if (cx_failed(im->cx))
            return graph_poison(im->graph);
        last[k] = values[0];
        memories[k] = values[1];
    }
    int axis = batch_first ? 1 : 0;
    if (wants(n, 1))
        set_result(im, 1, stack(im, d.count, last, axis));
    if (wants(n, 2) && c->gates == LSTM)
        set_result(im, 2, stack(im, d.count, memories, axis));
    return all[0] ? stack(im, d.count, all, axis + 1) : graph_poison(im->graph);
}
