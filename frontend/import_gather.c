/* Importers: elements by their positions, read and written; positions of elements (NonZero). */
#include "frontend/import_ops.h"

#include <string.h>

/* A constant position that is surely inside is a slice; NULL when it is not. */
static Tensor *gather_one(Import *im, Tensor *x, const Tensor *ids, int axis)
{
    if (!ids->elements || ids->rank > 1 || tensor_count_const(im->cx, ids) != 1)
        return NULL;
    const Expr *at = ids->elements[0], *extent = x->shape[axis];
    if (at->hi < 0)
        at = expr_add(im->cx, at, extent);
    if (at->lo < 0 || !expr_always_lt(im->cx, at, extent))
        return NULL;
    Tensor *part = slice_axis(im, x, axis, at, expr_const(im->cx, 1));
    return ids->rank ? part : squeeze(im, part, axis);
}

Tensor *import_gather(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *ids = arg(im, n, 1);
    int axis = axis_of(im, attr_i(im, n, "axis", 0), x->rank);
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    Tensor *one = gather_one(im, x, ids, axis);
    return one ? one : graph_gather(im->graph, x, ids, axis);
}

Tensor *import_gather_elements(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1)};
    Attr at[AT_count] = {[AT_axis] =
                             attr_int(axis_of(im, attr_i(im, n, "axis", 0), inputs[0]->rank))};
    return graph_node(im->graph, OP_gather_elements, 2, inputs, at);
}

Tensor *import_gather_nd(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1)};
    Attr at[AT_count] = {[AT_axis] = attr_int(attr_i(im, n, "batch_dims", 0))};
    return graph_node(im->graph, OP_gather_nd, 2, inputs, at);
}

static void reduction(Import *im, const OnnxNode *n, Attr at[AT_count])
{
    static const struct {
        const char *name;
        Monoid monoid;
    } known[] = {{"add", M_sum}, {"mul", M_prod}, {"max", M_max}, {"min", M_min}};
    const char *name = attr_s(im, n, "reduction", "none");
    at[AT_mode] = attr_name("none");
    at[AT_monoid] = attr_int(M_sum);
    if (strcmp(name, "none") == 0)
        return;
    for (int i = 0; i < 4; i++)
        if (strcmp(name, known[i].name) == 0) {
            at[AT_mode] = attr_name("reduce");
            at[AT_monoid] = attr_int(known[i].monoid);
            return;
        }
    fail(im, ST_unsupported, "reduction '%s'", onnx_printable(im->cx->arena, name));
}

Tensor *import_scatter_elements(Import *im, const OnnxNode *n)
{
    Tensor *inputs[] = {arg(im, n, 0), arg(im, n, 1), arg(im, n, 2)};
    Attr at[AT_count] = {[AT_axis] =
                             attr_int(axis_of(im, attr_i(im, n, "axis", 0), inputs[0]->rank))};
    reduction(im, n, at);
    return graph_node(im->graph, OP_scatter_elements, 3, inputs, at);
}

Tensor *import_scatter_nd(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *tuples = arg(im, n, 1), *updates = arg(im, n, 2);
    Attr at[AT_count] = {{0}};
    if (cx_failed(im->cx))
        return graph_poison(im->graph);
    reduction(im, n, at);
    int length = x->rank + tuples->rank - 1 - updates->rank; /* as the ranks have it */
    if (length > 0 && tuples->rank > 0 && tuples->shape[tuples->rank - 1]->kind != EX_const)
        tuples = with_extent(im, tuples, tuples->rank - 1, expr_const(im->cx, length));
    return graph_node(im->graph, OP_scatter_nd, 3, (Tensor *[]){x, tuples, updates}, at);
}

/* Position t of batch b reads t when t >= length[b], else length[b] - 1 - t. */
Tensor *import_reverse_sequence(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0), *lengths = arg(im, n, 1);
    int time = axis_of(im, attr_i(im, n, "time_axis", 0), x->rank);
    int batch = axis_of(im, attr_i(im, n, "batch_axis", 1), x->rank);
    if (x->rank < 2 || time == batch)
        return fail(im, ST_bad_model, "one axis for time and batch of %s",
                    tensor_shape_text(im->cx, x));
    Tensor *length = along(im, to(im, lengths, DT_i64), batch, x->rank);
    Tensor *t = graph_iota(im->graph, DT_i64, x->rank, x->shape, time);
    Tensor *mirrored = ew(im, S_sub, ew(im, S_sub, length, scalar(im, length, 1)), t);
    Tensor *inputs[] = {x, pick(im, ew(im, S_lt, t, length), mirrored, t)};
    Attr at[AT_count] = {[AT_axis] = attr_int(time)};
    return graph_node(im->graph, OP_gather_elements, 2, inputs, at);
}

Tensor *import_nonzero(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const Expr *shape[] = {expr_const(im->cx, x->rank), NULL}, *most[] = {NULL, NULL};
    if (tensor_is_poison(x))
        return x;
    most[1] = tensor_count(im->cx, x);
    const HostResult result = {DT_i64, 2, shape, most};
    return host(im, "nonzero", 1, &x, &result);
}
