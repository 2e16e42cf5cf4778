/* The attribute post_transform of classifiers and regressors of ai.onnx.ml, on scores [n, k]. */
#include "frontend/import_ops.h"

#include <math.h>

/* The inverse error function by Winitzki's formula, a = 0.147, as the operators' reference has it.
 */
static Tensor *probit(Import *im, Tensor *p)
{
    Tensor *x = ew(im, S_sub, ew(im, S_mul, p, scalar(im, p, 2)), scalar(im, p, 1));
    Tensor *log = ew1(im, S_log, ew(im, S_sub, scalar(im, x, 1), ew(im, S_mul, x, x)));
    Tensor *half =
        ew(im, S_add, ew(im, S_mul, log, scalar(im, x, 0.5)), scalar(im, x, 2 / (M_PI * 0.147)));
    Tensor *square =
        ew(im, S_sub, ew(im, S_mul, half, half), ew(im, S_mul, log, scalar(im, x, 1 / 0.147)));
    Tensor *root = ew1(im, S_sqrt, ew(im, S_sub, ew1(im, S_sqrt, square), half));
    return ew(im, S_mul, ew(im, S_mul, ew1(im, S_sign, x), root), scalar(im, x, 1.41421356));
}

/* A softmax in which a score of 0 stays 0. */
static Tensor *softmax_zero(Import *im, Tensor *x)
{
    const int64_t axis[] = {1};
    Tensor *most = reduce(im, M_max, x, 1, axis, true);
    Tensor *zero = ew(im, S_le, ew1(im, S_abs, x), scalar(im, x, 1e-7));
    Tensor *some = ew1(im, S_exp, ew(im, S_sub, x, most));
    Tensor *none = ew(im, S_mul, x, ew1(im, S_exp, ew1(im, S_neg, most)));
    Tensor *e = pick(im, zero, none, some), *sum = reduce(im, M_sum, e, 1, axis, true);
    Tensor *nothing = ew(im, S_eq, sum, scalar(im, sum, 0));
    return pick(im, nothing, scalar(im, x, 0.5), ew(im, S_div, e, sum));
}

Tensor *post_apply(Import *im, PostTransform post, Tensor *x)
{
    switch (post) {
    case POST_softmax: return graph_softmax(im->graph, x, 1, false);
    case POST_logistic: return sigmoid(im, x);
    case POST_softmax_zero: return softmax_zero(im, x);
    case POST_probit: return probit(im, x);
    case POST_none:
    case POST_count: break;
    }
    return x;
}

PostTransform post_of(Import *im, const OnnxNode *n)
{
    static const char *const words[] = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
    return (PostTransform)attr_word(im, n, "post_transform", words, POST_count, "NONE");
}

Tensor *post_transform(Import *im, const OnnxNode *n, Tensor *x)
{
    return post_apply(im, post_of(im, n), x);
}
