/* Windows of convolutions and pooling: attributes, automatic padding, results rounded up. */
#include "frontend/import_window.h"

#include <string.h>

enum { WINDOW_MOST = 1 << 28 };

bool window_list(Import *im, const OnnxNode *n, const char *name, int count, int64_t other,
                 int64_t *list)
{
    const int64_t *from;
    int length;
    for (int i = 0; i < count; i++)
        list[i] = other;
    if (!attr_list(im, n, name, &length, &from) || !length)
        return !cx_failed(im->cx);
    if (length != count) {
        fail(im, ST_bad_model, "attribute '%s' lists %d numbers, not %d", name, length, count);
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (from[i] < -WINDOW_MOST || from[i] > WINDOW_MOST) {
            fail(im, ST_bad_model, "attribute '%s' holds %lld", name, (long long)from[i]);
            return false;
        }
        list[i] = from[i];
    }
    return true;
}

static bool read_kernel(Import *im, const OnnxNode *n, const Tensor *w, Window *window)
{
    int64_t kernel[MAX_RANK];
    if (!window_list(im, n, "kernel_shape", window->spatial, 0, kernel))
        return false;
    for (int s = 0; s < window->spatial; s++) {
        bool given = kernel[s] > 0;
        if (w && given &&
            !graph_same_dim(im->graph, w->shape[2 + s], expr_const(im->cx, kernel[s]))) {
            fail(im, ST_bad_model, "attribute 'kernel_shape' does not agree with weights %s",
                 tensor_shape_text(im->cx, w));
            return false;
        }
        if (!w && !given) {
            fail(im, ST_bad_model, "attribute 'kernel_shape' is missing or not positive");
            return false;
        }
        window->kernel[s] = given ? expr_const(im->cx, kernel[s]) : w->shape[2 + s];
    }
    return !cx_failed(im->cx);
}

/* SAME: as many results as in / stride rounded up; the padding this needs is shared, the odd one
 * behind or in front. */
static void pad_same(Import *im, const Tensor *x, Window *w, bool upper)
{
    Cx *cx = im->cx;
    for (int s = 0; s < w->spatial; s++) {
        const Expr *in = x->shape[2 + s];
        const Expr *most = expr_addi(cx, expr_ceildiv(cx, in, expr_const(cx, w->strides[s])), -1);
        const Expr *need = expr_add(cx, expr_muli(cx, most, w->strides[s]), w->reach[s]);
        const Expr *total = expr_max(cx, expr_sub(cx, need, in), expr_const(cx, 0));
        const Expr *half = expr_divi(cx, total, 2), *rest = expr_sub(cx, total, half);
        w->before[s] = upper ? half : rest;
        w->after[s] = w->last[s] = upper ? rest : half;
    }
}

/* ceil_mode: results rounded up, but the last window starts inside the image or the padding in
 * front. */
static void round_up(Import *im, const Tensor *x, Window *w)
{
    Cx *cx = im->cx;
    for (int s = 0; s < w->spatial; s++) {
        const Expr *stride = expr_const(cx, w->strides[s]),
                   *front = expr_add(cx, x->shape[2 + s], w->before[s]);
        const Expr *room = expr_sub(cx, expr_add(cx, front, w->after[s]), w->reach[s]);
        const Expr *most = expr_min(cx, expr_ceildiv(cx, room, stride),
                                    expr_floordiv(cx, expr_addi(cx, front, -1), stride));
        const Expr *need = expr_add(cx, expr_mul(cx, most, stride), w->reach[s]);
        w->last[s] = expr_sub(cx, need, front);
    }
}

static bool read_pads(Import *im, const OnnxNode *n, const Tensor *x, Window *w)
{
    const char *mode = attr_s(im, n, "auto_pad", "NOTSET");
    int64_t pads[2 * MAX_RANK];
    if (!window_list(im, n, "pads", 2 * w->spatial, 0, pads))
        return false;
    bool upper = strcmp(mode, "SAME_UPPER") == 0, lower = strcmp(mode, "SAME_LOWER") == 0;
    bool valid = strcmp(mode, "VALID") == 0;
    if (upper || lower) {
        pad_same(im, x, w, upper);
        return !cx_failed(im->cx);
    }
    if (!valid && strcmp(mode, "NOTSET") != 0) {
        fail(im, ST_bad_model, "auto_pad '%s' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER",
             onnx_printable(im->cx->arena, mode));
        return false;
    }
    for (int s = 0; s < w->spatial; s++) {
        w->before[s] = expr_const(im->cx, valid ? 0 : pads[s]);
        w->after[s] = w->last[s] = expr_const(im->cx, valid ? 0 : pads[w->spatial + s]);
    }
    if (!valid && attr_i(im, n, "ceil_mode", 0))
        round_up(im, x, w);
    return !cx_failed(im->cx);
}

bool window_read(Import *im, const OnnxNode *n, const Tensor *x, const Tensor *w, Window *window)
{
    Cx *cx = im->cx;
    window->spatial = x->rank - 2;
    if (x->rank < 2 || (w && w->rank != x->rank)) {
        fail(im, ST_bad_model, "expected an image [n, c, spatial..]%s, got %s%s%s",
             w ? " and weights of that rank" : "", tensor_shape_text(cx, x), w ? " and " : "",
             w ? tensor_shape_text(cx, w) : "");
        return false;
    }
    if (!read_kernel(im, n, w, window) ||
        !window_list(im, n, "strides", window->spatial, 1, window->strides) ||
        !window_list(im, n, "dilations", window->spatial, 1, window->dilations))
        return false;
    for (int s = 0; s < window->spatial; s++) {
        if (window->strides[s] < 1 || window->dilations[s] < 1) {
            fail(im, ST_bad_model, "stride %lld, dilation %lld", (long long)window->strides[s],
                 (long long)window->dilations[s]);
            return false;
        }
        window->reach[s] = expr_addi(
            cx, expr_muli(cx, expr_addi(cx, window->kernel[s], -1), window->dilations[s]), 1);
    }
    return read_pads(im, n, x, window);
}

Tensor *window_pad(Import *im, Tensor *x, const Window *w, double fill, Attr at[AT_count])
{
    Cx *cx = im->cx;
    int64_t pads[2 * MAX_RANK];
    const Expr *before[MAX_RANK], *after[MAX_RANK], *none = expr_const(cx, 0);
    bool known = true;
    before[0] = before[1] = after[0] = after[1] = none;
    for (int s = 0; s < w->spatial; s++) {
        before[2 + s] = w->before[s];
        after[2 + s] = w->last[s];
        known &= w->before[s]->kind == EX_const && w->last[s]->kind == EX_const;
        pads[s] = w->before[s]->kind == EX_const ? w->before[s]->value : 0;
        pads[w->spatial + s] = w->last[s]->kind == EX_const ? w->last[s]->value : 0;
    }
    if (!known) {
        memset(pads, 0, sizeof pads);
        x = graph_pad(im->graph, x, scalar(im, x, fill), before, after, "constant");
    }
    at[AT_strides] = attr_ints(cx, w->spatial, w->strides);
    at[AT_dilations] = attr_ints(cx, w->spatial, w->dilations);
    at[AT_pads] = attr_ints(cx, 2 * w->spatial, pads);
    return x;
}
