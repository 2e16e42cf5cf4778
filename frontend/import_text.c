/* Importers: strings. Tensors of strings exist on the host only.
 *
 * Operators that only move elements (Reshape, Gather, Concat, Where ...) are imported once, for
 * numbers: given strings, the driver calls them with int64 positions in place of the strings, and
 * what comes out are positions of the results, by which one host operation takes the strings.
 * Positions of several operands count on from one to the next. */
#include "frontend/import_ops.h"

#include <string.h>

/* ---- constants and positions */

Tensor *text_constant(Import *im, int rank, const int64_t *dims, const OnnxString *texts)
{
    int64_t count = 1, bytes = 0;
    for (int d = 0; d < rank; d++)
        count *= dims[d];
    int64_t *lengths = NEW_ARRAY(im->cx->arena, int64_t, count);
    for (int64_t i = 0; i < count; i++)
        bytes += lengths[i] = (int64_t)texts[i].length;
    char *data = NEW_ARRAY(im->cx->arena, char, bytes), *at = data;
    for (int64_t i = 0; i < count; at += texts[i++].length)
        if (texts[i].length)
            memcpy(at, texts[i].data, texts[i].length);
    Tensor *inputs[] = {graph_constant(im->graph, NULL, DT_u8, 1, &bytes, data),
                        graph_constant(im->graph, NULL, DT_i64, rank, dims, lengths)};
    const HostResult result = {DT_string, rank, inputs[1]->shape, NULL};
    return host(im, "texts", 2, inputs, &result);
}

/* 0, 1, 2 ... in the shape of x, from `first` on. */
static Tensor *positions_of(Import *im, const Tensor *x, const Expr *first)
{
    const Expr *count = tensor_count(im->cx, x);
    Tensor *list = graph_iota(im->graph, DT_i64, 1, &count, 0);
    if (!expr_is_const(first, 0))
        list = ew(im, S_add, list, expr_scalar(im, DT_i64, first));
    return reshape(im, list, x->rank, x->shape);
}

Tensor *text_take(Import *im, Tensor *positions, int count, Tensor *const *texts)
{
    Tensor **inputs = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    inputs[0] = positions;
    memcpy(inputs + 1, texts, (size_t)count * sizeof *inputs);
    if (tensor_is_poison(positions))
        return positions;
    const HostResult result = {DT_string, positions->rank, positions->shape, NULL};
    return host(im, "take", count + 1, inputs, &result);
}

Tensor *gather_axis(Import *im, Tensor *x, Tensor *indices, int axis)
{
    if (tensor_is_poison(x) || x->dtype != DT_string)
        return graph_gather(im->graph, x, indices, axis);
    Tensor *positions = positions_of(im, x, expr_const(im->cx, 0));
    return text_take(im, graph_gather(im->graph, positions, indices, axis), 1, &x);
}

/* ---- operators that move */

static ImportOp *const movers[] = {
    import_identity,
    import_where,
    import_reshape,
    import_flatten,
    import_squeeze,
    import_unsqueeze,
    import_transpose,
    import_expand,
    import_tile,
    import_concat,
    import_split,
    import_slice,
    import_gather,
    import_gather_elements,
    import_gather_nd,
    import_scatter_elements,
    import_scatter_nd,
    import_depth_to_space,
    import_reverse_sequence,
    import_compress,
    import_space_to_depth,
    import_feature_extractor,
};

bool moves_texts(Import *im, const OnnxNode *n, ImportOp *op)
{
    bool any = false, moves = false;
    for (uint32_t i = 0; i < n->input_count && !any; i++) {
        const Tensor *x = arg_any(im, n, i);
        any = x && x->dtype == DT_string;
    }
    for (size_t i = 0; any && i < sizeof movers / sizeof *movers; i++)
        moves |= movers[i] == op;
    return moves;
}

Tensor *import_moved_texts(Import *im, const OnnxNode *n, ImportOp *op)
{
    int count = 0;
    const Expr *first = expr_const(im->cx, 0);
    Tensor **texts = NEW_ARRAY(im->cx->arena, Tensor *, n->input_count);
    uint32_t *ids = NEW_ARRAY(im->cx->arena, uint32_t, n->input_count);
    for (uint32_t i = 0; i < n->input_count; i++) {
        Tensor *x = arg_maybe(im, n, i);
        if (!x || x->dtype != DT_string) /* also an operand named twice */
            continue;
        ids[count] = onnx_name_id(n->inputs[i]);
        texts[count++] = x;
        im->values[onnx_name_id(n->inputs[i])] = positions_of(im, x, first);
        first = expr_add(im->cx, first, tensor_count(im->cx, x));
    }
    Tensor *result = op(im, n);
    for (int i = 0; i < count; i++)
        im->values[ids[i]] = texts[i];
    for (uint32_t i = 1; i < n->output_count; i++)
        if (im->results[i] && wants(n, i))
            im->results[i] = text_take(im, im->results[i], count, texts);
    return result ? text_take(im, result, count, texts) : NULL;
}

/* ---- host operations: an operand of bytes from an attribute, and checks */

static Tensor *bytes_of(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    if (!found || cx_failed(im->cx))
        return host_text(im, "");
    if (found->type != OA_string || !found->count)
        return fail(im, ST_bad_model, "attribute '%s' is not a string", name);
    int64_t length = (int64_t)found->strings[0].length;
    return graph_constant(im->graph, NULL, DT_u8, 1, &length, found->strings[0].data);
}

Tensor *text_list(Import *im, const OnnxNode *n, const char *name)
{
    const OnnxAttr *found = attr(im, n, name);
    int64_t count = found ? (int64_t)found->count : 0;
    if (found && found->type != OA_strings)
        return fail(im, ST_bad_model, "attribute '%s' is not a list of strings", name);
    return text_constant(im, 1, &count, found ? found->strings : NULL);
}

/* Input i, which must be of strings. */
static Tensor *text_arg(Import *im, const OnnxNode *n, uint32_t i)
{
    Tensor *x = arg(im, n, i);
    if (tensor_is_poison(x) || x->dtype == DT_string)
        return x;
    return fail(im, ST_bad_model, "input %u is of type %s, not strings", i, dtype_name(x->dtype));
}

/* ---- two operands, broadcast */

static Tensor *pairwise(Import *im, const char *name, Tensor *a, Tensor *b, Dtype dtype)
{
    if (tensor_is_poison(a) || tensor_is_poison(b))
        return graph_poison(im->graph);
    int rank = a->rank > b->rank ? a->rank : b->rank;
    const Expr *shape[MAX_RANK], *one = expr_const(im->cx, 1);
    for (int d = 1; d <= rank; d++) {
        shape[rank - d] = graph_broadcast(im->graph, d <= a->rank ? a->shape[a->rank - d] : one,
                                          d <= b->rank ? b->shape[b->rank - d] : one);
        if (!shape[rank - d])
            return graph_poison(im->graph);
    }
    Tensor *inputs[] = {a, b};
    const HostResult result = {dtype, rank, shape, NULL};
    return host(im, name, 2, inputs, &result);
}

Tensor *import_equal(Import *im, const OnnxNode *n)
{
    Tensor *a = arg(im, n, 0), *b = arg(im, n, 1);
    if (cx_failed(im->cx) || (a->dtype != DT_string && b->dtype != DT_string))
        return import_binary(im, n);
    return pairwise(im, "text_equal", text_arg(im, n, 0), text_arg(im, n, 1), DT_bool);
}

Tensor *import_string_concat(Import *im, const OnnxNode *n)
{
    return pairwise(im, "text_concat", text_arg(im, n, 0), text_arg(im, n, 1), DT_string);
}

/* ---- one operand */

Tensor *text_cast(Import *im, Tensor *x, Dtype dtype)
{
    const HostResult result = {dtype, x->rank, x->shape, NULL};
    if (x->dtype == dtype)
        return x;
    return host(im, x->dtype == DT_string ? "text_parse" : "text_format", 1, &x, &result);
}

Tensor *import_regex_full_match(Import *im, const OnnxNode *n)
{
    Tensor *x = text_arg(im, n, 0);
    const OnnxAttr *pattern = attr(im, n, "pattern");
    if (!pattern)
        return fail(im, ST_bad_model, "attribute 'pattern' is missing");
    Tensor *inputs[] = {x, bytes_of(im, n, "pattern")};
    const HostResult result = {DT_bool, x->rank, x->shape, NULL};
    return host(im, "text_match", 2, inputs, &result);
}

Tensor *import_string_split(Import *im, const OnnxNode *n)
{
    Tensor *x = text_arg(im, n, 0), *outputs[2];
    int64_t most = attr_i(im, n, "maxsplit", -1);
    Tensor *inputs[] = {x, bytes_of(im, n, "delimiter"), host_int(im, most < 0 ? -1 : most)};
    const Expr *shape[MAX_RANK] = {NULL};
    if (cx_failed(im->cx) || x->rank + 1 > MAX_RANK)
        return fail(im, ST_unsupported, "strings of rank %d", x->rank);
    memcpy(shape, x->shape, (size_t)x->rank * sizeof *shape);
    const HostResult results[] = {{DT_string, x->rank + 1, shape, NULL},
                                  {DT_i64, x->rank, x->shape, NULL}};
    graph_host(im->graph, "text_split", 3, inputs, 2, results, outputs);
    set_result(im, 1, outputs[1]);
    return outputs[0];
}

Tensor *import_string_normalizer(Import *im, const OnnxNode *n)
{
    static const char *const changes[] = {"NONE", "LOWER", "UPPER"};
    Tensor *x = text_arg(im, n, 0);
    const char *name = attr_s(im, n, "case_change_action", "NONE");
    int change = 0;
    while (change < 3 && strcmp(name, changes[change]) != 0)
        change++;
    if (change == 3)
        return fail(im, ST_bad_model, "case_change_action '%s'; there are NONE, LOWER and UPPER",
                    onnx_printable(im->cx->arena, name));
    Tensor *inputs[] = {x, text_list(im, n, "stopwords"), bytes_of(im, n, "locale"),
                        host_int(im, change),
                        host_int(im, attr_i(im, n, "is_case_sensitive", 0) != 0)};
    if (cx_failed(im->cx) || x->rank < 1 || x->rank > 2)
        return fail(im, ST_bad_model, "strings of shape %s; [c] or [1, c] are defined",
                    tensor_shape_text(im->cx, x));
    const Expr *shape[2] = {NULL}, *most[2] = {NULL};
    shape[0] = x->rank == 2 ? x->shape[0] : NULL;
    int64_t size = x->shape[x->rank - 1]->hi;
    most[x->rank - 1] = expr_const(im->cx, size > 1 ? size : 1);
    const HostResult result = {DT_string, x->rank, shape, most};
    return host(im, "text_normalize", 5, inputs, &result);
}
