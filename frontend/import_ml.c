/* Importers: operators of ai.onnx.ml on columns of features, and linear and support vector models.
 * What they compute is float32, or float64 for inputs of that type, unless said. */
#include "frontend/import_ops.h"

#include <math.h>
#include <string.h>

/* ---- helpers */

/* A list of floats of an attribute; *count 0 when it is absent. */
static const float *float_attr(Import *im, const OnnxNode *n, const char *name, int64_t *count)
{
    const OnnxAttr *found = attr(im, n, name);
    *count = 0;
    if (!found)
        return NULL;
    if (found->type != OA_floats) {
        fail(im, ST_bad_model, "attribute '%s' is not a list of floats", name);
        return NULL;
    }
    *count = (int64_t)found->count;
    return found->floats;
}

static Tensor *matrix(Import *im, int64_t rows, int64_t columns, const float *data)
{
    const int64_t dims[] = {rows, columns};
    return graph_constant(im->graph, NULL, DT_f32, 2, dims, data);
}

/* One number, or one per column of x, as [1] or [columns]; `other` when there is none. */
static Tensor *per_column(Import *im, const OnnxNode *n, const char *name, const Tensor *x,
                          double other)
{
    int64_t count;
    const float *list = float_attr(im, n, name, &count);
    if (!count)
        return graph_scalar(im->graph, DT_f32, other);
    if (count != 1 &&
        (!x->rank || !graph_same_dim(im->graph, dim(im, x, -1), expr_const(im->cx, count))))
        return fail(im, ST_bad_model, "%lld numbers in '%s' for %s", (long long)count, name,
                    tensor_shape_text(im->cx, x));
    return graph_constant(im->graph, NULL, DT_f32, 1, &count, list);
}

/* x as numbers to compute with, [c] as one row [1, c]. */
static Tensor *rows_of(Import *im, Tensor *x)
{
    if (tensor_is_poison(x))
        return x;
    if (x->rank < 1 || x->rank > 2 || x->dtype == DT_string)
        return fail(im, ST_bad_model, "features %s of type %s", tensor_shape_text(im->cx, x),
                    dtype_name(x->dtype));
    x = to(im, x, x->dtype == DT_f64 ? DT_f64 : DT_f32);
    return x->rank == 1 ? unsqueeze(im, x, 0) : x;
}

static Tensor *arg_largest(Import *im, Tensor *x)
{
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(M_argmax), [AT_axis] = attr_int(1), [AT_keep] = attr_int(0)};
    return graph_node(im->graph, OP_arg, 1, &x, at);
}

/* Labels of classes, from one of two attributes; NULL without a failure when there is none. */
static Tensor *labels_of(Import *im, const OnnxNode *n, int64_t *count)
{
    const OnnxAttr *ints = attr(im, n, "classlabels_ints"),
                   *texts = attr(im, n, "classlabels_strings");
    *count = 0;
    if (texts && texts->type == OA_strings && texts->count) {
        *count = (int64_t)texts->count;
        return text_constant(im, 1, count, texts->strings);
    }
    if (!ints || ints->type != OA_ints || !ints->count)
        return NULL;
    *count = (int64_t)ints->count;
    return graph_constant(im->graph, NULL, DT_i64, 1, count, ints->ints);
}

/* ---- columns */

Tensor *import_scaler(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Tensor *offset = per_column(im, n, "offset", x, 0), *scale = per_column(im, n, "scale", x, 1);
    Tensor *y = to(im, x, x->dtype == DT_f64 ? DT_f64 : DT_f32);
    y = ew(im, S_sub, y, to(im, offset, y->dtype));
    return to(im, ew(im, S_mul, y, to(im, scale, y->dtype)), DT_f32);
}

/* x / divisor over the last axis, x where that is 0. The text divides by max(x) and sum(x); the
 * reference implementation, and others, by those of |x|. */
Tensor *import_normalizer(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *size;
    const char *norm = attr_s(im, n, "norm", "MAX");
    if (tensor_is_poison(x) || x->rank < 1)
        return fail(im, ST_bad_model, "a single number");
    const int64_t last[] = {x->rank - 1};
    Tensor *w = to(im, x, x->dtype == DT_f64 ? DT_f64 : DT_f32), *a = ew1(im, S_abs, w);
    if (!strcmp(norm, "MAX"))
        size = reduce(im, M_max, a, 1, last, true);
    else if (!strcmp(norm, "L1"))
        size = reduce(im, M_sum, a, 1, last, true);
    else if (!strcmp(norm, "L2"))
        size = ew1(im, S_sqrt, reduce(im, M_sum, ew(im, S_mul, w, w), 1, last, true));
    else
        return fail(im, ST_bad_model, "norm '%s'", onnx_printable(im->cx->arena, norm));
    Tensor *none = ew(im, S_eq, size, scalar(im, size, 0));
    return to(im, ew(im, S_div, w, pick(im, none, scalar(im, size, 1), size)), DT_f32);
}

Tensor *import_binarizer(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *w = wide(im, x);
    return to(im, ew(im, S_lt, scalar(im, w, attr_f(im, n, "threshold", 0)), w), x->dtype);
}

/* What equals a value (or is NaN, where that is NaN) becomes another one. */
Tensor *import_imputer(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *floats = attr(im, n, "imputed_value_floats"),
                   *ints = attr(im, n, "imputed_value_int64s");
    const OnnxAttr *values = floats && floats->count ? floats : ints;
    if (tensor_is_poison(x) || !values || !values->count || x->rank < 1 ||
        values->type != (values == ints ? OA_ints : OA_floats))
        return fail(im, ST_bad_model, "the imputed values are missing");
    int64_t count = (int64_t)values->count;
    if (count != 1 && !graph_same_dim(im->graph, dim(im, x, -1), expr_const(im->cx, count)))
        return fail(im, ST_bad_model, "%lld imputed values for %s", (long long)count,
                    tensor_shape_text(im->cx, x));
    Tensor *with = values == ints
                       ? graph_constant(im->graph, NULL, DT_i64, 1, &count, ints->ints)
                       : graph_constant(im->graph, NULL, DT_f32, 1, &count, floats->floats);
    double old = values == ints ? (double)attr_i(im, n, "replaced_value_int64", 0)
                                : attr_f(im, n, "replaced_value_float", 0);
    Tensor *missing = isnan(old) ? ew1(im, S_isnan, x) : ew(im, S_eq, x, scalar(im, x, old));
    return pick(im, missing, to(im, with, x->dtype), x);
}

/* Columns by number; a list gives one row. */
Tensor *import_feature_extractor(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *ids = arg(im, n, 1);
    if (cx_failed(im->cx) || x->rank < 1)
        return fail(im, ST_bad_model, "a single number");
    ids = reshape(im, ids, 1, (const Expr *[]){tensor_count(im->cx, ids)});
    Tensor *y = graph_gather(im->graph, x, ids, x->rank - 1);
    return x->rank == 1 ? unsqueeze(im, y, 0) : y;
}

/* Inputs side by side, each cut or filled up with zeros to the width that is given for it. */
Tensor *import_feature_vectorizer(Import *im, const OnnxNode *n)
{
    const int64_t *widths;
    int count;
    bool given = attr_list(im, n, "inputdimensions", &count, &widths);
    if (!n->input_count || (given && (uint32_t)count != n->input_count))
        return fail(im, ST_bad_model, "%d widths for %u inputs", count, n->input_count);
    Tensor **parts = NEW_ARRAY(im->cx->arena, Tensor *, n->input_count);
    for (uint32_t i = 0; i < n->input_count; i++) {
        Tensor *x = parts[i] = to(im, rows_of(im, arg(im, n, i)), DT_f32);
        if (tensor_is_poison(x) || !given)
            continue;
        const Expr *zero = expr_const(im->cx, 0), *before[] = {zero, zero};
        if (widths[i] < 0 || widths[i] > INT32_MAX)
            return fail(im, ST_bad_model, "a width of %lld", (long long)widths[i]);
        const Expr *after[] = {zero, expr_sub(im->cx, expr_const(im->cx, widths[i]), x->shape[1])};
        parts[i] = graph_pad(im->graph, x, scalar(im, x, 0), before, after, "constant");
    }
    return graph_concat(im->graph, (int)n->input_count, parts, 1);
}

/* Where x stands among `count` categories; `count` itself when it is not listed. */
static Tensor *category_of(Import *im, Tensor *x, Tensor *categories)
{
    Tensor *inputs[] = {x, categories};
    const HostResult result = {DT_i64, x->rank, x->shape, NULL};
    return host(im, "look_up", 2, inputs, &result);
}

/* A category that is not listed gives zeros, or stops the run where `zeros` is 0: then positions go
 * through a list that ends before theirs. Numbers need no positions if not for that. */
Tensor *import_one_hot_encoder(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *ints = attr(im, n, "cats_int64s"), *texts = attr(im, n, "cats_strings");
    const OnnxAttr *listed = texts && texts->count ? texts : ints;
    bool zeros = attr_i(im, n, "zeros", 1), of_texts = listed == texts;
    if (tensor_is_poison(x) || !listed || !listed->count || of_texts != (x->dtype == DT_string) ||
        listed->type != (of_texts ? OA_strings : OA_ints) || x->rank >= MAX_RANK)
        return fail(im, ST_bad_model,
                    "the categories are missing, or of another type than the input");
    int64_t count = (int64_t)listed->count;
    const Expr *size = expr_const(im->cx, count);
    Tensor *categories = of_texts
                             ? text_constant(im, 1, &count, listed->strings)
                             : graph_constant(im->graph, NULL, DT_i64, 1, &count, listed->ints);
    Tensor *at = of_texts ? x : to(im, x, DT_i64);
    if (of_texts || !zeros) {
        at = category_of(im, at, categories);
        categories = graph_iota(im->graph, DT_i64, 1, &size, 0);
    }
    if (!zeros)
        at = graph_gather(im->graph, categories, at, 0);
    return to(im, ew(im, S_eq, unsqueeze(im, at, x->rank), categories), DT_f32);
}

/* ---- linear models */

/* x by coefficients [targets, features], plus intercepts: [n, targets]. */
static Tensor *linear(Import *im, const OnnxNode *n, Tensor *x, int64_t targets,
                      const char *intercepts)
{
    static const int64_t swap[] = {1, 0};
    int64_t count, added;
    const float *list = float_attr(im, n, "coefficients", &count);
    const float *shifts = float_attr(im, n, intercepts, &added);
    if (tensor_is_poison(x))
        return x;
    if (targets < 1 || !count || count % targets || (added && added != targets && added != 1))
        return fail(im, ST_bad_model, "%lld coefficients and %lld intercepts for %lld targets",
                    (long long)count, (long long)added, (long long)targets);
    Tensor *w = to(im, matrix(im, targets, count / targets, list), x->dtype);
    Tensor *y = graph_matmul(im->graph, x, graph_transpose(im->graph, w, swap));
    if (!added)
        return y;
    return ew(im, S_add, y,
              to(im, graph_constant(im->graph, NULL, DT_f32, 1, &added, shifts), y->dtype));
}

Tensor *import_linear_regressor(Import *im, const OnnxNode *n)
{
    Tensor *x = rows_of(im, arg(im, n, 0));
    Tensor *y = linear(im, n, x, attr_i(im, n, "targets", 1), "intercepts");
    return to(im, post_transform(im, n, y), DT_f32);
}

/* One row of coefficients for two classes scores the second; the first has the negative. */
Tensor *import_linear_classifier(Import *im, const OnnxNode *n)
{
    Tensor *x = rows_of(im, arg(im, n, 0));
    int64_t classes, count, rows;
    Tensor *labels = labels_of(im, n, &classes);
    float_attr(im, n, "coefficients", &count);
    const Expr *features = dim(im, x, 1);
    if (cx_failed(im->cx) || features->kind != EX_const || features->value < 1)
        return fail(im, ST_unsupported, "a number of features that is not known");
    rows = count / features->value;
    Tensor *y = linear(im, n, x, rows, "intercepts");
    if (rows == 1 && classes == 2)
        y = graph_concat(im->graph, 2, (Tensor *[]){ew1(im, S_neg, y), y}, 1);
    y = post_transform(im, n, y);
    set_result(im, 1, to(im, y, DT_f32));
    if (cx_failed(im->cx) || (labels && classes != (rows == 1 && classes == 2 ? 2 : rows)))
        return fail(im, ST_bad_model, "%lld labels for %lld scores", (long long)classes,
                    (long long)rows);
    if (rows > 1 || classes == 2) {
        Tensor *best = arg_largest(im, y);
        return labels ? gather_axis(im, labels, best, 0) : best;
    }
    if (labels && labels->dtype == DT_string)
        return fail(im, ST_unsupported, "one class with a label of text");
    const char *post = attr_s(im, n, "post_transform", "NONE");
    Tensor *limit = scalar(im, y, strcmp(post, "NONE") ? 0.5 : 0);
    Tensor *above = squeeze(im, ew(im, S_le, limit, y), 1),
           *none = graph_scalar(im->graph, DT_i64, 0);
    return pick(im, above, labels ? labels : graph_scalar(im->graph, DT_i64, 1), none);
}
