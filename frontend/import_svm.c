/* Importers: SVMRegressor and SVMClassifier, as libsvm computes them (Chang and Lin, ACM TIST 2(3),
 * 2011).
 *
 * Kernel values of x with all support vectors, [n, vectors], times weights give the decisions. Of k
 * classes there is one decision for each pair i < j, from the vectors of both; each is a vote.
 * Where the model has probabilities of pairs (Platt's), scores are those of classes, coupled by the
 * host; labels still follow the votes. */
#include "frontend/import_ops.h"

#include <string.h>

typedef struct Svm {
    Import *im;
    const OnnxNode *node;
    const float *coefficients, *vectors, *rho, *parameters;
    int64_t coefficient_count, vector_floats, rho_count, parameter_count;
} Svm;

static const float *list_of(Import *im, const OnnxNode *n, const char *name, int64_t *count)
{
    const OnnxAttr *found = attr(im, n, name);
    *count = found && found->type == OA_floats ? (int64_t)found->count : 0;
    return *count ? found->floats : NULL;
}

static void read_svm(Svm *s)
{
    s->coefficients = list_of(s->im, s->node, "coefficients", &s->coefficient_count);
    s->vectors = list_of(s->im, s->node, "support_vectors", &s->vector_floats);
    s->rho = list_of(s->im, s->node, "rho", &s->rho_count);
    s->parameters = list_of(s->im, s->node, "kernel_params", &s->parameter_count);
}

static Tensor *features(Import *im, Tensor *x)
{
    if (tensor_is_poison(x) || x->rank < 1 || x->rank > 2)
        return fail(im, ST_bad_model, "features %s", tensor_shape_text(im->cx, x));
    x = to(im, x, x->dtype == DT_f64 ? DT_f64 : DT_f32);
    return x->rank == 1 ? unsqueeze(im, x, 0) : x;
}

static Tensor *matrix(const Svm *s, int64_t rows, int64_t columns, const float *data, Dtype dtype)
{
    const int64_t dims[] = {rows, columns};
    return to(s->im, graph_constant(s->im->graph, NULL, DT_f32, 2, dims, data), dtype);
}

/* x [n, f] with vectors [v, f]: [n, v] */
static Tensor *kernel(const Svm *s, Tensor *x, Tensor *vectors)
{
    static const int64_t swap[] = {1, 0}, last[] = {2};
    Import *im = s->im;
    const char *type = s->vector_floats ? attr_s(im, s->node, "kernel_type", "LINEAR") : "LINEAR";
    double p[3] = {0, 0, 0};
    for (int i = 0; i < 3 && i < s->parameter_count; i++)
        p[i] = (double)s->parameters[i];
    if (tensor_is_poison(x) || tensor_is_poison(vectors))
        return graph_poison(im->graph);
    if (!strcmp(type, "RBF")) {
        Tensor *d = ew(im, S_sub, unsqueeze(im, x, 1), unsqueeze(im, vectors, 0));
        Tensor *square = reduce(im, M_sum, ew(im, S_mul, d, d), 1, last, false);
        return ew1(im, S_exp, ew(im, S_mul, square, scalar(im, square, -p[0])));
    }
    Tensor *dot = graph_matmul(im->graph, x, graph_transpose(im->graph, vectors, swap));
    if (!strcmp(type, "LINEAR"))
        return dot;
    dot = ew(im, S_add, ew(im, S_mul, dot, scalar(im, dot, p[0])), scalar(im, dot, p[1]));
    if (!strcmp(type, "POLY"))
        return ew(im, S_pow, dot, scalar(im, dot, (double)(int64_t)p[2]));
    if (!strcmp(type, "SIGMOID"))
        return ew1(im, S_tanh, dot);
    return fail(im, ST_bad_model, "kernel_type '%s'", onnx_printable(im->cx->arena, type));
}

Tensor *import_svm_regressor(Import *im, const OnnxNode *n)
{
    Svm s = {.im = im, .node = n};
    Tensor *x = features(im, arg(im, n, 0)), *y;
    int64_t count = attr_i(im, n, "n_supports", 0);
    read_svm(&s);
    if (tensor_is_poison(x) || s.rho_count < 1 || count < 0 ||
        (count && s.coefficient_count != count) ||
        (count ? s.vector_floats % count : !s.coefficient_count))
        return fail(im, ST_bad_model, "%lld coefficients for %lld support vectors of %lld numbers",
                    (long long)s.coefficient_count, (long long)count, (long long)s.vector_floats);
    if (count) {
        Tensor *k = kernel(&s, x, matrix(&s, count, s.vector_floats / count, s.vectors, x->dtype));
        y = graph_matmul(im->graph, k, matrix(&s, count, 1, s.coefficients, x->dtype));
    } else {
        y = kernel(&s, x, matrix(&s, 1, s.coefficient_count, s.coefficients, x->dtype));
    }
    y = ew(im, S_add, y, scalar(im, y, (double)s.rho[0]));
    if (attr_i(im, n, "one_class", 0))
        y = pick(im, ew(im, S_lt, scalar(im, y, 0), y), scalar(im, y, 1), scalar(im, y, -1));
    return to(im, post_transform(im, n, y), DT_f32);
}

/* Weights [vectors, pairs] of the decisions, and which class each sign votes for: [pairs, classes].
 */
static void pair_weights(const Svm *s, int64_t classes, const int64_t *sizes, int64_t total,
                         float *weights, float *votes[2])
{
    int64_t pairs = classes * (classes - 1) / 2, pair = 0;
    int64_t *first = NEW_ARRAY(s->im->cx->arena, int64_t, (size_t)classes + 1);
    for (int64_t c = 0; c < classes; c++)
        first[c + 1] = first[c] + sizes[c];
    for (int64_t i = 0; i < classes; i++)
        for (int64_t j = i + 1; j < classes; j++, pair++) {
            for (int64_t v = first[i]; v < first[i + 1]; v++)
                weights[v * pairs + pair] = s->coefficients[(j - 1) * total + v];
            for (int64_t v = first[j]; v < first[j + 1]; v++)
                weights[v * pairs + pair] = s->coefficients[i * total + v];
            votes[0][pair * classes + i] = 1;
            votes[1][pair * classes + j] = 1;
        }
}

/* Decisions [n, pairs] and votes [n, classes] of a model with support vectors. */
static Tensor *decisions(const Svm *s, Tensor *x, int64_t classes, Tensor **votes)
{
    enum { MOST = 1 << 24 };
    Import *im = s->im;
    const int64_t *sizes;
    int listed;
    int64_t total = 0, pairs = classes * (classes - 1) / 2;
    if (!attr_list(im, s->node, "vectors_per_class", &listed, &sizes) || listed != classes ||
        classes < 2)
        return fail(im, ST_bad_model, "vectors_per_class does not fit %lld classes",
                    (long long)classes);
    for (int i = 0; i < listed; i++) {
        if (sizes[i] < 0 || sizes[i] > MOST)
            return fail(im, ST_bad_model, "%lld vectors of a class", (long long)sizes[i]);
        total += sizes[i];
    }
    if (!total || total * pairs > MOST || s->coefficient_count != total * (classes - 1) ||
        s->vector_floats % total || s->rho_count != pairs)
        return fail(im, ST_bad_model, "%lld coefficients for %lld support vectors of %lld classes",
                    (long long)s->coefficient_count, (long long)total, (long long)classes);
    float *weights = NEW_ARRAY(im->cx->arena, float, (size_t)(total * pairs)), *ways[2];
    for (int w = 0; w < 2; w++)
        ways[w] = NEW_ARRAY(im->cx->arena, float, (size_t)(pairs * classes));
    pair_weights(s, classes, sizes, total, weights, ways);
    Tensor *k = kernel(s, x, matrix(s, total, s->vector_floats / total, s->vectors, x->dtype));
    Tensor *y = graph_matmul(im->graph, k, matrix(s, total, pairs, weights, x->dtype));
    y = ew(im, S_add, y, matrix(s, 1, pairs, s->rho, x->dtype));
    Tensor *ahead = ew(im, S_lt, scalar(im, y, 0), y);
    Tensor *for_first = to(im, ahead, DT_f32), *for_second = to(im, ew1(im, S_not, ahead), DT_f32);
    *votes = ew(im, S_add,
                graph_matmul(im->graph, for_first, matrix(s, pairs, classes, ways[0], DT_f32)),
                graph_matmul(im->graph, for_second, matrix(s, pairs, classes, ways[1], DT_f32)));
    return y;
}

static bool has_probabilities(const Svm *s)
{
    int64_t count;
    return s->vector_floats && list_of(s->im, s->node, "prob_a", &count);
}

/* Of decisions [n, pairs], the probabilities [n, classes]: 1 / (1 + exp(a y + b)) for the first of
 * each pair, kept from 0 and 1. */
static Tensor *probabilities(const Svm *s, Tensor *y, int64_t classes)
{
    Import *im = s->im;
    int64_t a_count, b_count, pairs = classes * (classes - 1) / 2;
    const float *a = list_of(im, s->node, "prob_a", &a_count);
    const float *b = list_of(im, s->node, "prob_b", &b_count);
    if (a_count != pairs || b_count != pairs)
        return fail(im, ST_bad_model,
                    "%lld numbers in 'prob_a' and %lld in 'prob_b' for %lld pairs",
                    (long long)a_count, (long long)b_count, (long long)pairs);
    y = ew(im, S_add, ew(im, S_mul, y, matrix(s, 1, pairs, a, y->dtype)),
           matrix(s, 1, pairs, b, y->dtype));
    Tensor *r = to(im, clamp(im, sigmoid(im, ew1(im, S_neg, y)), 1e-7, 1 - 1e-7), DT_f32);
    const Expr *shape[] = {dim(im, r, 0), expr_const(im->cx, classes)};
    const HostResult result = {DT_f32, 2, shape, NULL};
    return host(im, "couple", 2, (Tensor *[]){r, host_int(im, classes)}, &result);
}

/* The class: most votes or the highest score. Of two classes, when no weight is negative and the
 * best reaches a half, the second, as ONNX's reference implementation has it; not with
 * probabilities. */
static Tensor *winner(const Svm *s, Tensor *x, int64_t classes)
{
    Import *im = s->im;
    bool positive = true;
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(M_argmax), [AT_axis] = attr_int(1), [AT_keep] = attr_int(0)};
    const int64_t axis[] = {1};
    for (int64_t i = 0; i < s->coefficient_count; i++)
        positive &= s->coefficients[i] >= 0;
    Tensor *best = graph_node(im->graph, OP_arg, 1, &x, at);
    if (!positive || classes != 2 || s->rho_count != 1 || has_probabilities(s))
        return best;
    Tensor *most = reduce(im, M_max, x, 1, axis, false);
    return pick(im, ew(im, S_le, scalar(im, most, 0.5), most), scalar(im, best, 1), best);
}

Tensor *import_svm_classifier(Import *im, const OnnxNode *n)
{
    Svm s = {.im = im, .node = n};
    Tensor *x = features(im, arg(im, n, 0)), *y, *votes = NULL;
    const OnnxAttr *texts = attr(im, n, "classlabels_strings"),
                   *numbers = attr(im, n, "classlabels_ints");
    const OnnxAttr *labels = texts && texts->count ? texts : numbers;
    read_svm(&s);
    if (tensor_is_poison(x) || !labels ||
        labels->type != (labels == texts ? OA_strings : OA_ints) || labels->count < 2 ||
        labels->count > 1000 || s.rho_count < 1)
        return fail(im, ST_bad_model, "labels or rho are missing, or fewer than two");
    int64_t classes = (int64_t)labels->count;
    if (s.vector_floats) {
        y = decisions(&s, x, classes, &votes);
    } else if (s.coefficient_count % classes) {
        return fail(im, ST_bad_model, "%lld coefficients for %lld classes",
                    (long long)s.coefficient_count, (long long)classes);
    } else {
        y = kernel(&s, x,
                   matrix(&s, classes, s.coefficient_count / classes, s.coefficients, x->dtype));
        votes = y = ew(im, S_add, y, scalar(im, y, (double)s.rho[0]));
    }
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    Tensor *best = winner(&s, votes, classes);
    if (has_probabilities(&s))
        y = probabilities(&s, y, classes);
    else if (s.vector_floats && classes == 2 &&
             strcmp(attr_s(im, n, "post_transform", "NONE"), "PROBIT") != 0)
        y = graph_concat(im->graph, 2, (Tensor *[]){ew1(im, S_neg, y), y}, 1);
    set_result(im, 1, to(im, post_transform(im, n, y), DT_f32));
    Tensor *names = labels == texts
                        ? text_constant(im, 1, &classes, texts->strings)
                        : graph_constant(im->graph, NULL, DT_i64, 1, &classes, numbers->ints);
    return gather_axis(im, names, best, 0);
}
