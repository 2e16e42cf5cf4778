/* Importers: the optimizers of ai.onnx.preview.training, as the pseudo code of their definitions.
 *
 * Inputs are the learning rate, the count of updates, then k tensors each of the values, the
 * gradients and one or two kinds of state; outputs are k new values, then k of each state. */
#include "frontend/import_ops.h"

#include <string.h>

typedef struct Update {
    Import *im;
    const OnnxNode *node;
    Tensor *rate, *count;     /* rank 0: float of the values' type; int64 */
    Tensor *x, *g, *state[2]; /* of one tensor; the gradient with its regularization */
    Tensor *result;
} Update;

static Tensor *times(Import *im, Tensor *x, double factor)
{
    return ew(im, S_mul, x, scalar(im, x, factor));
}

/* r = R / (1 + T decay), H += g^2, x -= r g / (sqrt(H) + epsilon) */
static void adagrad(Update *u)
{
    Import *im = u->im;
    double decay = attr_f(im, u->node, "decay_factor", 0),
           epsilon = attr_f(im, u->node, "epsilon", 1e-6);
    Tensor *slow = times(im, to(im, u->count, dtype_compute(u->x->dtype)), decay);
    Tensor *r = ew(im, S_div, u->rate, ew(im, S_add, slow, scalar(im, slow, 1)));
    u->state[0] = ew(im, S_add, u->state[0], ew(im, S_mul, u->g, u->g));
    Tensor *size = ew1(im, S_sqrt, u->state[0]);
    size = ew(im, S_add, size, scalar(im, size, epsilon));
    u->result = ew(im, S_sub, u->x, ew(im, S_div, ew(im, S_mul, r, u->g), size));
}

/* 1 - base^T */
static Tensor *rest_of_power(Import *im, const Tensor *like, double base, Tensor *count)
{
    Tensor *power = ew(im, S_pow, scalar(im, like, base), to(im, count, like->dtype));
    return ew(im, S_sub, scalar(im, power, 1), power);
}

/* V = alpha V + (1 - alpha) g, H = beta H + (1 - beta) g^2, with the rate corrected from T = 1 on
 */
static void adam(Update *u)
{
    Import *im = u->im;
    double alpha = attr_f(im, u->node, "alpha", (double)0.9f);
    double beta = attr_f(im, u->node, "beta", (double)0.999f);
    double epsilon = attr_f(im, u->node, "epsilon", (double)1e-6f);
    double after = attr_f(im, u->node, "norm_coefficient_post", 0);
    Tensor *square = ew(im, S_mul, u->g, u->g);
    u->state[0] = ew(im, S_add, times(im, u->state[0], alpha), times(im, u->g, 1 - alpha));
    u->state[1] = ew(im, S_add, times(im, u->state[1], beta), times(im, square, 1 - beta));
    Tensor *size = ew1(im, S_sqrt, u->state[1]);
    size = ew(im, S_add, size, scalar(im, size, epsilon));
    Tensor *factor = ew(im, S_div, ew1(im, S_sqrt, rest_of_power(im, u->rate, beta, u->count)),
                        rest_of_power(im, u->rate, alpha, u->count));
    Tensor *started = ew(im, S_lt, scalar(im, u->count, 0), u->count);
    Tensor *rate = pick(im, started, ew(im, S_mul, u->rate, factor), u->rate);
    Tensor *y = ew(im, S_sub, u->x, ew(im, S_div, ew(im, S_mul, rate, u->state[0]), size));
    u->result = times(im, y, 1 - after);
}

/* V = alpha V + b g with b = beta from the second update on; x -= R V, or R (g + alpha V) */
static void momentum(Update *u)
{
    Import *im = u->im;
    double alpha = attr_f(im, u->node, "alpha", 0), beta = attr_f(im, u->node, "beta", 0);
    const char *mode = attr_s(im, u->node, "mode", "");
    bool nesterov = !strcmp(mode, "nesterov");
    if (!nesterov && strcmp(mode, "standard") != 0)
        fail(im, ST_bad_model, "mode '%s'", onnx_printable(im->cx->arena, mode));
    Tensor *started = ew(im, S_lt, scalar(im, u->count, 0), u->count);
    Tensor *b = pick(im, started, scalar(im, u->g, beta), scalar(im, u->g, 1));
    u->state[0] = ew(im, S_add, times(im, u->state[0], alpha), ew(im, S_mul, b, u->g));
    Tensor *step = nesterov ? ew(im, S_add, u->g, times(im, u->state[0], alpha)) : u->state[0];
    u->result = ew(im, S_sub, u->x, ew(im, S_mul, u->rate, step));
}

/* One number, whatever its rank. */
static Tensor *single(Import *im, Tensor *x)
{
    return tensor_is_poison(x) || !x->rank ? x : reshape(im, x, 0, NULL);
}

Tensor *import_optimizer(Import *im, const OnnxNode *n)
{
    static const struct {
        void (*update)(Update *u);
        uint32_t states;
    } rules[] = {{adagrad, 1}, {momentum, 1}, {adam, 2}};
    uint32_t states = rules[im->arg].states, each = states + 2;
    uint32_t count = n->input_count > 2 ? (n->input_count - 2) / each : 0;
    if (!count || n->input_count != 2 + count * each || n->output_count > count * (states + 1))
        return fail(im, ST_bad_model, "%u inputs and %u outputs", n->input_count, n->output_count);
    double norm = attr_f(im, n, "norm_coefficient", 0);
    for (uint32_t i = 0; i < count && !cx_failed(im->cx); i++) {
        Update u = {.im = im, .node = n, .count = single(im, to(im, arg(im, n, 1), DT_i64))};
        Tensor *x = arg(im, n, 2 + i);
        if (tensor_is_poison(x) || !dtype_is_float(x->dtype))
            return fail(im, ST_bad_model, "values of type %s", dtype_name(x->dtype));
        u.x = wide(im, x);
        u.rate = single(im, to(im, arg(im, n, 0), u.x->dtype));
        u.g = ew(im, S_add, times(im, u.x, norm), wide(im, arg(im, n, 2 + count + i)));
        for (uint32_t s = 0; s < states; s++)
            u.state[s] = wide(im, arg(im, n, 2 + (2 + s) * count + i));
        rules[im->arg].update(&u);
        set_result(im, i, to(im, u.result, x->dtype));
        for (uint32_t s = 0; s < states; s++)
            set_result(im, (1 + s) * count + i, to(im, u.state[s], x->dtype));
    }
    return cx_failed(im->cx) ? graph_poison(im->graph) : im->results[0];
}
