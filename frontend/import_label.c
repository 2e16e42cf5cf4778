/* Importers: maps from values to values (LabelEncoder, CategoryMapper), n-gram counts, images. A
 * map is a look-up of positions among the keys, then a gather from the values with the default
 * behind them, as often as there is room. */
#include "frontend/import_ops.h"

#include <string.h>

/* A list of an attribute as a tensor [n]; with one more element behind. */
typedef struct List {
    Dtype dtype;
    int64_t count;
    const void *data;          /* of numbers */
    const OnnxString *strings; /* of DT_string */
} List;

/* The first of the attributes named so that is there; dtype none when none is. */
static List list_of(Import *im, const OnnxNode *n, const char *const *names)
{
    for (; *names; names++) {
        const OnnxAttr *found = attr(im, n, *names);
        if (!found)
            continue;
        if (found->type == OA_ints || found->type == OA_int)
            return (List){DT_i64, (int64_t)found->count, found->ints, NULL};
        if (found->type == OA_floats || found->type == OA_float)
            return (List){DT_f32, (int64_t)found->count, found->floats, NULL};
        if (found->type == OA_strings || found->type == OA_string)
            return (List){DT_string, (int64_t)found->count, NULL, found->strings};
        if (found->type == OA_tensor && found->tensors[0].rank <= 1) {
            const OnnxTensor *t = &found->tensors[0];
            return (List){t->dtype, t->count, t->data, t->strings};
        }
        fail(im, ST_bad_model, "attribute '%s' is not a list of numbers or strings", *names);
    }
    return (List){.dtype = DT_none};
}

static Tensor *list_tensor(Import *im, const List *list)
{
    if (list->dtype == DT_string)
        return text_constant(im, 1, &list->count, list->strings);
    return graph_constant(im->graph, NULL, list->dtype, 1, &list->count, list->data);
}

/* values[position of x among keys], or the value behind the last one. */
static Tensor *mapped(Import *im, Tensor *x, const List *keys, const List *values,
                      const List *other)
{
    if (tensor_is_poison(x) || cx_failed(im->cx))
        return graph_poison(im->graph);
    if (keys->count != values->count)
        return fail(im, ST_bad_model, "%lld keys for %lld values", (long long)keys->count,
                    (long long)values->count);
    if (x->dtype != keys->dtype || other->dtype != values->dtype || other->count != 1)
        return fail(im, ST_bad_model,
                    "keys are %s for an input of %s, values %s with a default of %s",
                    dtype_name(keys->dtype), dtype_name(x->dtype), dtype_name(values->dtype),
                    dtype_name(other->dtype));
    Tensor *inputs[] = {x, list_tensor(im, keys)};
    const HostResult result = {DT_i64, x->rank, x->shape, NULL};
    Tensor *positions = host(im, "look_up", 2, inputs, &result);
    if (values->dtype != DT_string) {
        const NumberList list = {values->dtype, values->count, values->data};
        Tensor *table = number_table(im, values->dtype, 1, &list, table_room(values->count + 1),
                                     dtype_load(other->dtype, other->data, 0));
        return graph_gather(im->graph, table, positions, 0);
    }
    List all = {DT_string, values->count + 1, NULL, NULL};
    OnnxString *strings = NEW_ARRAY(im->cx->arena, OnnxString, all.count);
    if (values->count)
        memcpy(strings, values->strings, (size_t)values->count * sizeof *strings);
    strings[values->count] = other->strings[0];
    all.strings = strings;
    return gather_axis(im, list_tensor(im, &all), positions, 0);
}

/* The default for values of a type; absent ones have a value of their own. */
static List default_of(Import *im, const OnnxNode *n, Dtype dtype, bool is_tensor)
{
    static const int64_t no_int[] = {-1};
    static const float no_float[] = {-0.0f};
    static const OnnxString no_string[] = {{"_Unused", 7}};
    const char *name = is_tensor         ? "default_tensor"
                       : dtype == DT_i64 ? "default_int64"
                       : dtype == DT_f32 ? "default_float"
                                         : "default_string";
    List given = list_of(im, n, (const char *const[]){name, NULL});
    if (given.dtype != DT_none)
        return given;
    if (dtype == DT_i64)
        return (List){DT_i64, 1, no_int, NULL};
    if (dtype == DT_f32)
        return (List){DT_f32, 1, no_float, NULL};
    if (dtype == DT_string)
        return (List){DT_string, 1, NULL, no_string};
    fail(im, ST_bad_model, "attribute '%s' is missing", name);
    return given;
}

/* 0, 1, 2 ... */
static List numbers(Import *im, int64_t count)
{
    int64_t *list = NEW_ARRAY(im->cx->arena, int64_t, count);
    for (int64_t i = 0; i < count; i++)
        list[i] = i;
    return (List){DT_i64, count, list, NULL};
}

Tensor *import_label_encoder(Import *im, const OnnxNode *n)
{
    static const char *const key_names[] = {"keys_tensor", "keys_strings", "keys_int64s",
                                            "keys_floats", NULL};
    static const char *const value_names[] = {"values_tensor", "values_strings", "values_int64s",
                                              "values_floats", NULL};
    Tensor *x = arg(im, n, 0);
    List keys, values;
    if (n->opset < 2) { /* names of the classes 0, 1 ...; which way is the input's type */
        List names = list_of(im, n, (const char *const[]){"classes_strings", NULL});
        List classes = numbers(im, names.dtype == DT_none ? 0 : names.count);
        bool from_names = x->dtype == DT_string;
        keys = from_names ? names : classes;
        values = from_names ? classes : names;
    } else {
        keys = list_of(im, n, key_names);
        values = list_of(im, n, value_names);
    }
    if (keys.dtype == DT_none || values.dtype == DT_none)
        return fail(im, ST_bad_model, "there are no keys or no values");
    List other = default_of(im, n, values.dtype, n->opset >= 4 && attr(im, n, "values_tensor"));
    return mapped(im, x, &keys, &values, &other);
}

Tensor *import_category_mapper(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    List ints = list_of(im, n, (const char *const[]){"cats_int64s", NULL});
    List strings = list_of(im, n, (const char *const[]){"cats_strings", NULL});
    if (ints.dtype != DT_i64 || strings.dtype != DT_string)
        return fail(im, ST_bad_model, "attributes cats_int64s and cats_strings are needed");
    bool from_strings = !tensor_is_poison(x) && x->dtype == DT_string;
    List other = default_of(im, n, from_strings ? DT_i64 : DT_string, false);
    return mapped(im, x, from_strings ? &strings : &ints, from_strings ? &ints : &strings, &other);
}

/* ---- n-grams */

static bool read_limits(Import *im, const OnnxNode *n, int64_t limits[4])
{
    static const char *const names[] = {"min_gram_length", "max_gram_length", "max_skip_count"};
    static const char *const modes[] = {"TF", "IDF", "TFIDF"};
    const char *mode = attr_s(im, n, "mode", "");
    for (int i = 0; i < 3; i++)
        if ((limits[i] = attr_i(im, n, names[i], -1)) < 0)
            fail(im, ST_bad_model, "attribute '%s' is missing or below 0", names[i]);
    for (limits[3] = 0; limits[3] < 3 && strcmp(mode, modes[limits[3]]) != 0;)
        limits[3]++;
    if (limits[3] == 3)
        fail(im, ST_bad_model, "mode '%s'; there are TF, IDF and TFIDF",
             onnx_printable(im->cx->arena, mode));
    return !cx_failed(im->cx);
}

Tensor *import_tfidf(Import *im, const OnnxNode *n)
{
    Tensor *x = arg(im, n, 0);
    int64_t limits[4], columns = 0;
    List pool = list_of(im, n, (const char *const[]){"pool_strings", "pool_int64s", NULL});
    List starts = list_of(im, n, (const char *const[]){"ngram_counts", NULL});
    List indexes = list_of(im, n, (const char *const[]){"ngram_indexes", NULL});
    List weights = list_of(im, n, (const char *const[]){"weights", NULL});
    if (tensor_is_poison(x) || !read_limits(im, n, limits))
        return graph_poison(im->graph);
    if ((pool.dtype != DT_i64 && pool.dtype != DT_string) || starts.dtype != DT_i64 ||
        indexes.dtype != DT_i64)
        return fail(im, ST_bad_model, "the pool, ngram_counts or ngram_indexes are missing");
    if (x->rank < 1 || x->rank > 2)
        return fail(im, ST_bad_model, "an input of shape %s; [c] or [n, c] are defined",
                    tensor_shape_text(im->cx, x));
    for (int64_t i = 0; i < indexes.count; i++) {
        int64_t column = ((const int64_t *)indexes.data)[i];
        if (column < 0 || column == INT64_MAX)
            return fail(im, ST_bad_model, "ngram_indexes holds %lld", (long long)column);
        columns = column >= columns ? column + 1 : columns;
    }
    Tensor *inputs[] = {x,
                        list_tensor(im, &pool),
                        list_tensor(im, &starts),
                        list_tensor(im, &indexes),
                        weights.dtype == DT_f32 ? list_tensor(im, &weights) : host_arg(im, NULL),
                        host_ints(im, 4, limits)};
    const Expr *shape[] = {x->shape[0], expr_const(im->cx, columns)};
    const HostResult result = {DT_f32, x->rank, shape + 2 - x->rank, NULL};
    return host(im, "tfidf", 6, inputs, &result);
}

/* ---- images */

Tensor *import_image_decoder(Import *im, const OnnxNode *n)
{
    static const char *const formats[] = {"RGB", "BGR", "Grayscale"};
    Tensor *x = arg(im, n, 0);
    const char *name = attr_s(im, n, "pixel_format", "RGB");
    int format = 0;
    while (format < 3 && strcmp(name, formats[format]) != 0)
        format++;
    if (format == 3)
        return fail(im, ST_bad_model, "pixel_format '%s'; there are RGB, BGR and Grayscale",
                    onnx_printable(im->cx->arena, name));
    Tensor *inputs[] = {x, host_int(im, format)};
    const Expr *side = expr_const(im->cx, 1 << 16);
    const Expr *shape[] = {NULL, NULL, expr_const(im->cx, format == 2 ? 1 : 3)};
    const HostResult result = {DT_u8, 3, shape, (const Expr *[]){side, side, NULL}};
    return host(im, "image", 2, inputs, &result);
}
