/* Importers: views of a tensor: other shapes, orders of axes, blocks of pixels, repetition. What a
 * shape input says must be known when compiling: a constant, or computed from shapes (element
 * lists). */
#include "frontend/import_ops.h"

#include <string.h>

/* ---- reshape and relatives */

/* numerator / denominator for a dim given as -1, after dims that occur on both sides are cancelled.
 */
static const Expr *remaining_dim(Import *im, const Tensor *x, int count, const Expr *const *list,
                                 int hole)
{
    Cx *cx = im->cx;
    bool used[2 * MAX_RANK] = {false};
    const Expr *above = expr_const(cx, 1), *below = expr_const(cx, 1);
    for (int d = 0; d < x->rank; d++) {
        int match = -1;
        for (int k = 0; k < count && match < 0; k++)
            if (k != hole && !used[k] && list[k] == x->shape[d] && !expr_is_const(list[k], 0))
                match = k;
        if (match >= 0)
            used[match] = true;
        else
            above = expr_mul(cx, above, x->shape[d]);
    }
    for (int k = 0; k < count; k++)
        if (k != hole && !used[k])
            below = expr_mul(cx, below, list[k]);
    if (below->lo >= 1)
        return expr_floordiv(cx, above, below);
    fail(im, ST_bad_model, "a dim of -1 beside a dim that may be 0");
    return expr_const(cx, 1);
}

Tensor *import_reshape(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *list[2 * MAX_RANK];
    const int64_t *ints;
    bool zeros = attr_i(im, n, "allowzero", 0);
    int count, hole = -1;
    if (n->opset >= 5 && is_open(arg_maybe(im, n, 1)))
        return bound_extents(im, arg(im, n, 1), x, zeros ? "reshape_zeros" : "reshape", &count,
                             list)
                   ? reshape(im, x, count, list)
                   : graph_poison(im->graph);
    if (n->opset < 5) {
        if (!attr_list(im, n, "shape", &count, &ints) || count > MAX_RANK)
            return fail(im, ST_bad_model, "attribute 'shape' is missing or too long");
        for (int d = 0; d < count; d++)
            list[d] = expr_const(im->cx, ints[d]);
    } else if (!known_list(im, arg(im, n, 1), "the shape", &count, list)) {
        return graph_poison(im->graph);
    }
    for (int d = 0; d < count; d++) {
        if (expr_is_const(list[d], 0) && !zeros)
            list[d] = dim(im, x, d);
        if (list[d]->hi < 0 && (hole >= 0 || !expr_is_const(list[d], -1)))
            return fail(im, ST_bad_model, "the shape has several dims below 0");
        if (expr_is_const(list[d], -1))
            hole = d;
    }
    if (hole >= 0)
        list[hole] = remaining_dim(im, x, count, list, hole);
    return reshape(im, x, count, list);
}

Tensor *import_flatten(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t axis = attr_i(im, n, "axis", 1);
    return flatten(im, x, axis == x->rank ? x->rank : axis_of(im, axis, x->rank));
}

Tensor *import_squeeze(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t list[2 * MAX_RANK], axes[MAX_RANK];
    const Expr *shape[MAX_RANK];
    bool gone[MAX_RANK] = {false};
    int count, rank = 0;
    if (!list_or_input(im, n, "axes", 1, &count, list))
        return graph_poison(im->graph);
    for (int d = 0; d < x->rank && count < 0; d++)
        gone[d] = expr_is_const(x->shape[d], 1);
    if (count > 0 && !axes_of(im, count, list, x->rank, axes))
        return graph_poison(im->graph);
    for (int i = 0; i < count; i++) {
        gone[axes[i]] = true;
        if (x->shape[axes[i]]->kind == EX_const && x->shape[axes[i]]->value != 1)
            return fail(im, ST_bad_model, "axis %d of %s is not 1", (int)axes[i],
                        tensor_shape_text(im->cx, x));
    }
    for (int d = 0; d < x->rank; d++)
        if (!gone[d])
            shape[rank++] = x->shape[d];
    return reshape(im, x, rank, shape);
}

Tensor *import_unsqueeze(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t list[2 * MAX_RANK], axes[MAX_RANK];
    const Expr *shape[MAX_RANK];
    bool new[MAX_RANK] = {false};
    int count;
    if (!list_or_input(im, n, "axes", 1, &count, list))
        return graph_poison(im->graph);
    if (count < 0 || x->rank + count > MAX_RANK)
        return fail(im, ST_bad_model, "%d new axes for %s", count, tensor_shape_text(im->cx, x));
    int rank = x->rank + count;
    if (!axes_of(im, count, list, rank, axes))
        return graph_poison(im->graph);
    for (int i = 0; i < count; i++) {
        if (new[axes[i]])
            return fail(im, ST_bad_model, "axis %d twice", (int)axes[i]);
        new[axes[i]] = true;
    }
    for (int d = 0, from = 0; d < rank; d++)
        shape[d] = new[d] ? expr_const(im->cx, 1) : x->shape[from++];
    return reshape(im, x, rank, shape);
}

Tensor *import_transpose(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const int64_t *perm;
    int64_t reversed[MAX_RANK];
    int count;
    if (attr_list(im, n, "perm", &count, &perm)) {
        if (count != x->rank)
            return fail(im, ST_bad_model, "perm of %d axes for %s", count,
                        tensor_shape_text(im->cx, x));
        for (int d = 0; d < count; d++)
            reversed[d] = axis_of(im, perm[d], count);
    } else {
        for (int d = 0; d < x->rank; d++)
            reversed[d] = x->rank - 1 - d;
    }
    return graph_transpose(im->graph, x, reversed);
}

Tensor *import_expand(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *list[2 * MAX_RANK], *shape[2 * MAX_RANK];
    int count;
    if (is_open(arg_maybe(im, n, 1)))
        return bound_extents(im, arg(im, n, 1), x, "broadcast", &count, list)
                   ? graph_expand(im->graph, x, count, list)
                   : graph_poison(im->graph);
    if (!known_list(im, arg(im, n, 1), "the shape", &count, list))
        return graph_poison(im->graph);
    int rank = count > x->rank ? count : x->rank;
    for (int d = 0; d < rank; d++) {
        int a = d - (rank - x->rank), b = d - (rank - count);
        const Expr *one = expr_const(im->cx, 1);
        shape[d] = graph_broadcast(im->graph, a >= 0 ? x->shape[a] : one, b >= 0 ? list[b] : one);
        if (!shape[d])
            return fail(im, ST_bad_model, "%s does not expand to dim %d of the shape",
                        tensor_shape_text(im->cx, x), b);
    }
    return graph_expand(im->graph, x, rank, shape);
}

/* Opset 1: how often, and along which axis, as numbers of the type of x. */
static bool read_tiles(Import *im, const OnnxNode *n, const Tensor *x, int *count,
                       const Expr **repeats)
{
    double tiles, axis;
    if (n->opset >= 6)
        return sizes_of(im, arg(im, n, 1), "repeats", count, repeats);
    if (!known_number(im, arg(im, n, 1), "tiles", &tiles) ||
        !known_number(im, arg(im, n, 2), "axis", &axis))
        return false;
    if (!(tiles >= 0 && tiles <= INT32_MAX && axis >= 0 && axis < x->rank)) {
        fail(im, ST_bad_model, "%g tiles along axis %g", tiles, axis);
        return false;
    }
    *count = x->rank;
    for (int d = 0; d < x->rank; d++)
        repeats[d] = expr_const(im->cx, d == (int)axis ? (int64_t)tiles : 1);
    return true;
}

/* [d] repeated r times is [d] -> [1, d] -> [r, d] -> [r * d]. */
Tensor *import_tile(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    Cx *cx = im->cx;
    const Expr *repeats[2 * MAX_RANK], *apart[2 * MAX_RANK], *spread_out[2 * MAX_RANK],
        *joined[MAX_RANK];
    int count, rank = 0;
    if (tensor_is_poison(x) || !read_tiles(im, n, x, &count, repeats))
        return graph_poison(im->graph);
    if (count != x->rank)
        return fail(im, ST_bad_model, "%d repeats for %s", count, tensor_shape_text(cx, x));
    for (int d = 0; d < x->rank; d++) {
        bool splits = !expr_is_const(repeats[d], 1) && !expr_is_const(x->shape[d], 1);
        if (splits) {
            apart[rank] = expr_const(cx, 1);
            spread_out[rank++] = repeats[d];
        }
        apart[rank] = x->shape[d];
        spread_out[rank++] = expr_is_const(x->shape[d], 1) ? repeats[d] : x->shape[d];
        joined[d] = expr_mul(cx, x->shape[d], repeats[d]);
    }
    if (rank > MAX_RANK)
        return fail(im, ST_limit, "tile of more than %d axes in all", MAX_RANK);
    Tensor *y = graph_expand(im->graph, reshape(im, x, rank, apart), rank, spread_out);
    return reshape(im, y, x->rank, joined);
}

/* ---- blocks of pixels */

Tensor *import_depth_to_space(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t b = attr_i(im, n, "blocksize", 0);
    static const int64_t depth_first[] = {0, 3, 4, 1, 5, 2}, column_first[] = {0, 1, 4, 2, 5, 3};
    const char *mode = attr_s(im, n, "mode", "DCR");
    bool dcr = strcmp(mode, "DCR") == 0;
    Cx *cx = im->cx;
    bool fits = x->rank == 4 && b >= 1 && b <= 1 << 15 && (dcr || strcmp(mode, "CRD") == 0);
    const Expr *e = expr_const(cx, b),
               *c = fits ? graph_share(im->graph, x->shape[1], expr_muli(cx, e, b)) : NULL;
    if (!c)
        return fail(im, ST_bad_model, "blocks of %lld, mode %s, for %s", (long long)b,
                    onnx_printable(im->cx->arena, mode), tensor_shape_text(im->cx, x));
    const Expr *dcr_shape[] = {x->shape[0], e, e, c, x->shape[2], x->shape[3]};
    const Expr *crd_shape[] = {x->shape[0], c, e, e, x->shape[2], x->shape[3]};
    const Expr *result[] = {x->shape[0], c, expr_muli(cx, x->shape[2], b),
                            expr_muli(cx, x->shape[3], b)};
    Tensor *t = reshape(im, x, 6, dcr ? dcr_shape : crd_shape);
    if (tensor_is_poison(t))
        return t;
    return reshape(im, graph_transpose(im->graph, t, dcr ? depth_first : column_first), 4, result);
}

Tensor *import_space_to_depth(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t b = attr_i(im, n, "blocksize", 0);
    static const int64_t dcr[] = {0, 3, 5, 1, 2, 4}, crd[] = {0, 1, 3, 5, 2, 4};
    const int64_t *perm = strcmp(attr_s(im, n, "mode", "DCR"), "CRD") == 0 ? crd : dcr;
    Cx *cx = im->cx;
    bool fits = x->rank == 4 && b >= 1 && b <= 1 << 15;
    const Expr *e = expr_const(cx, b);
    const Expr *h = fits ? graph_share(im->graph, x->shape[2], e) : NULL;
    const Expr *w = fits ? graph_share(im->graph, x->shape[3], e) : NULL;
    if (!h || !w)
        return fail(im, ST_bad_model, "blocks of %lld for %s", (long long)b,
                    tensor_shape_text(cx, x));
    const Expr *apart[] = {x->shape[0], x->shape[1], h, e, w, e};
    const Expr *result[] = {x->shape[0], expr_muli(cx, x->shape[1], b * b), h, w};
    Tensor *t = reshape(im, x, 6, apart);
    return tensor_is_poison(t) ? t : reshape(im, graph_transpose(im->graph, t, perm), 4, result);
}
