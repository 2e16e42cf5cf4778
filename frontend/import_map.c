/* Importers: ZipMap, CastMap, DictVectorizer. A map is values and keys (import_ops.h): numbers for
 * kernels and the host's look-up of keys. What is absent counts as 0, or as an empty text. */
#include "frontend/import_ops.h"

#include <string.h>

/* The labels for the columns of x; nothing is moved. */
Tensor *import_zip_map(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    const OnnxAttr *texts = attr(im, n, "classlabels_strings"),
                   *ints = attr(im, n, "classlabels_int64s");
    const OnnxAttr *labels = texts && texts->count ? texts : ints;
    if (tensor_is_poison(x) || !labels || labels->type != (labels == texts ? OA_strings : OA_ints))
        return fail(im, ST_bad_model, "the labels are missing");
    int64_t count = (int64_t)labels->count;
    x = x->rank == 1 ? unsqueeze(im, x, 0) : x;
    if (x->rank != 2 || !graph_same_dim(im->graph, x->shape[1], expr_const(im->cx, count)))
        return fail(im, ST_bad_model, "%lld labels for scores %s", (long long)count,
                    tensor_shape_text(im->cx, x));
    Tensor *keys = labels == texts ? text_constant(im, 1, &count, texts->strings)
                                   : graph_constant(im->graph, NULL, DT_i64, 1, &count, ints->ints);
    return list_make(im, LIST_map, 2, (Tensor *[]){x, keys});
}

/* Values and keys of input 0, a single map. False after a failure. */
static bool map_arg(Import *im, const OnnxNode *n, Tensor **values, Tensor **keys)
{
    const Tensor *x = arg_any(im, n, 0);
    if (!x || !is_list(x) || list_kind(x) != LIST_map || list_item(x, 0)->rank != 1) {
        fail(im, ST_bad_model, "the input is not a map");
        return false;
    }
    *values = list_item(x, 0);
    *keys = list_item(x, 1);
    return graph_same_dim(im->graph, (*values)->shape[0], (*keys)->shape[0]);
}

/* [1, wanted]: the values of the wanted keys. */
static Tensor *values_of(Import *im, Tensor *values, Tensor *keys, Tensor *wanted)
{
    static const OnnxString empty = {"", 0};
    const int64_t one = 1;
    if (tensor_is_poison(wanted) || wanted->dtype != keys->dtype)
        return fail(im, ST_bad_model, "the map's keys are of type %s", dtype_name(keys->dtype));
    Tensor *inputs[] = {wanted, keys};
    const HostResult result = {DT_i64, 1, wanted->shape, NULL};
    Tensor *positions = unsqueeze(im, host(im, "look_up", 2, inputs, &result), 0);
    if (values->dtype == DT_string)
        return text_take(im, positions, 2,
                         (Tensor *[]){values, text_constant(im, 1, &one, &empty)});
    const Expr *count = expr_const(im->cx, 1);
    Tensor *parts[] = {values, graph_fill(im->graph, scalar(im, values, 0), 1, &count)};
    return graph_gather(im->graph, graph_concat(im->graph, 2, parts, 0), positions, 0);
}

Tensor *import_dict_vectorizer(Import *im, const OnnxNode *n)
{
    Tensor *values, *keys;
    const OnnxAttr *ints = attr(im, n, "int64_vocabulary");
    if (!map_arg(im, n, &values, &keys))
        return graph_poison(im->graph);
    if (!ints || !ints->count)
        return values_of(im, values, keys, text_list(im, n, "string_vocabulary"));
    int64_t count = (int64_t)ints->count;
    if (ints->type != OA_ints)
        return fail(im, ST_bad_model, "attribute 'int64_vocabulary' is not a list of integers");
    return values_of(im, values, keys,
                     graph_constant(im->graph, NULL, DT_i64, 1, &count, ints->ints));
}

/* [1, keys]: the values in the order of their keys. */
static Tensor *sorted_values(Import *im, Tensor *values, Tensor *keys)
{
    const Expr *count = dim(im, keys, 0);
    const HostResult results[] = {{DT_i64, 1, &count, NULL}, {DT_i64, 1, &count, NULL}};
    Tensor *inputs[] = {keys, expr_scalar(im, DT_i64, count), host_int(im, 0), host_int(im, 0)};
    Tensor *outputs[2];
    if (!graph_host(im->graph, "topk", 4, inputs, 2, results, outputs))
        return graph_poison(im->graph);
    return gather_axis(im, values, unsqueeze(im, outputs[1], 0), 0);
}

/* By position: key k is element k of the result. */
static Tensor *placed_values(Import *im, const OnnxNode *n, Tensor *values, Tensor *keys)
{
    int64_t most = attr_i(im, n, "max_map", 1);
    if (most < 1 || most > INT32_MAX)
        return fail(im, ST_bad_model, "attribute 'max_map' is %lld", (long long)most);
    const Expr *count = expr_const(im->cx, most);
    return values_of(im, values, keys, graph_iota(im->graph, DT_i64, 1, &count, 0));
}

Tensor *import_cast_map(Import *im, const OnnxNode *n)
{
    static const char *const types[] = {"TO_FLOAT", "TO_STRING", "TO_INT64"};
    static const char *const forms[] = {"DENSE", "SPARSE"};
    static const Dtype dtypes[] = {DT_f32, DT_string, DT_i64};
    Tensor *values, *keys;
    Dtype dtype = dtypes[attr_word(im, n, "cast_to", types, 3, "TO_FLOAT")];
    bool sparse = attr_word(im, n, "map_form", forms, 2, "DENSE");
    if (cx_failed(im->cx) || !map_arg(im, n, &values, &keys))
        return graph_poison(im->graph);
    if (keys->dtype != DT_i64)
        return fail(im, ST_bad_model, "the map's keys are of type %s, not int64",
                    dtype_name(keys->dtype));
    values = values->dtype == DT_string || dtype == DT_string ? text_cast(im, values, dtype)
                                                              : to(im, values, dtype);
    return sparse ? placed_values(im, n, values, keys) : sorted_values(im, values, keys);
}
