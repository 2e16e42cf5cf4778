/* Importers: Det, by elimination with row pivoting, unrolled over the rows.
 *
 * Per step, with a [.., m, m]: the row p with the largest |a[p, 0]| is taken out, the first row put
 * in its place (which flips the sign unless p = 0), and a[i, j] - a[i, 0] / a[p, 0] * a[p, j] of
 * the others is the next matrix. */
#include "frontend/import_ops.h"

enum { MOST_ROWS = 64 };

static Tensor *part(Import *im, Tensor *x, int axis, int64_t start)
{
    if (tensor_is_poison(x))
        return x;
    const Expr *from = expr_const(im->cx, start);
    return slice_axis(im, x, axis, from, expr_addi(im->cx, x->shape[axis], -start));
}

static Tensor *first(Import *im, Tensor *x, int axis)
{
    return slice_axis(im, x, axis, expr_const(im->cx, 0), expr_const(im->cx, 1));
}

/* One step on a [n, m, m], m > 1: the factor [n, 1, 1] of the determinant, and the next matrix. */
static Tensor *eliminate(Import *im, Tensor **matrix)
{
    Tensor *a = *matrix, *column = first(im, a, 2), *size = ew1(im, S_abs, column);
    if (tensor_is_poison(size))
        return size;
    Attr at[AT_count] = {
        [AT_monoid] = attr_int(M_argmax), [AT_axis] = attr_int(1), [AT_keep] = attr_int(1)};
    Tensor *p = graph_node(im->graph, OP_arg, 1, &size, at); /* [n, 1, 1] */
    const Expr *rows[] = {expr_const(im->cx, 1), a->shape[1], expr_const(im->cx, 1)};
    Tensor *chosen = ew(im, S_eq, graph_iota(im->graph, DT_i64, 3, rows, 1), p);
    const Expr *whole[] = {a->shape[0], expr_const(im->cx, 1), a->shape[2]};
    Attr along_rows[AT_count] = {[AT_axis] = attr_int(1)};
    Tensor *ids = graph_expand(im->graph, p, 3, whole);
    Tensor *row = graph_node(im->graph, OP_gather_elements, 2, (Tensor *[]){a, ids}, along_rows);
    Tensor *pivot = first(im, row, 2), *zero = scalar(im, a, 0);
    Tensor *rest = part(im, pick(im, chosen, first(im, a, 1), a), 1, 1);
    Tensor *singular = ew(im, S_eq, pivot, zero);
    Tensor *factor = pick(im, singular, zero, ew(im, S_div, first(im, rest, 2), pivot));
    *matrix = ew(im, S_sub, part(im, rest, 2, 1), ew(im, S_mul, factor, part(im, row, 2, 1)));
    return pick(im, ew(im, S_eq, p, scalar(im, p, 0)), pivot, ew1(im, S_neg, pivot));
}

Tensor *import_det(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *rows = dim(im, x, -1);
    if (cx_failed(im->cx) || x->rank < 2 || !graph_same_dim(im->graph, rows, x->shape[x->rank - 2]))
        return fail(im, ST_bad_model, "%s holds no square matrices", tensor_shape_text(im->cx, x));
    if (rows->kind != EX_const || rows->value > MOST_ROWS)
        return fail(im, ST_unsupported, "matrices of unknown size or of more than %d rows",
                    MOST_ROWS);
    const Expr *batch = product(im, x, 0, x->rank - 2);
    Tensor *a = wide(im, reshape(im, x, 3, (const Expr *[]){batch, rows, rows})), *y = NULL;
    if (!rows->value)
        return graph_fill(im->graph, scalar(im, x, 1), x->rank - 2, x->shape);
    for (int64_t m = rows->value; m > 1; m--) {
        Tensor *factor = eliminate(im, &a);
        y = y ? ew(im, S_mul, y, factor) : factor;
    }
    y = y ? ew(im, S_mul, y, a) : a;
    return to(im, reshape(im, y, x->rank - 2, x->shape), x->dtype);
}
