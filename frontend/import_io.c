/* Inputs and outputs of a model: types to tensors, names of dims to symbols.
 *
 * A sequence is known by its length when compiling and is no value of a run: its elements are
 * inputs (or outputs) `x[0]`, `x[1]` and so on of the graph. An optional is a sequence of one
 * element or none; what they hold may be sequences again: `x[0][1]`. A map is two tensors: its
 * values `x` and their keys `x[keys]`. */
#include "frontend/import_ops.h"

#include <ctype.h>
#include <string.h>

#include "base/map.h"
#include "ir/value_text.h"

enum { MOST_ITEMS = 1024, MOST_NESTED = 4 };

typedef struct Dims {
    Import *im;
    Map by_name; /* names of the model to symbols */
    Map taken;   /* names given to symbols */
} Dims;

/* An identifier like `name` that no symbol has yet. */
static const char *symbol_name(Dims *dims, const char *name)
{
    Arena *arena = dims->im->cx->arena;
    char *word = arena_printf(arena, "%s%.40s", isalpha((unsigned char)name[0]) ? "" : "d", name);
    for (char *p = word; *p; p++)
        if (!isalnum((unsigned char)*p))
            *p = '_';
    char *unique = word;
    for (int i = 2; map_find_text(&dims->taken, unique) || !name_is_legal(unique); i++)
        unique = arena_printf(arena, "%s_%d", word, i);
    map_set_text(&dims->taken, unique, dims);
    return unique;
}

static const Expr *symbolic_dim(Dims *dims, const char *name, const char *fallback)
{
    Import *im = dims->im;
    const Expr *e = name[0] ? map_find_text(&dims->by_name, name) : NULL;
    if (e)
        return e;
    ImportDim range = {name, 1, INT64_MAX, 1};
    for (uint32_t i = 0; im->options && i < im->options->dim_count; i++)
        if (strcmp(im->options->dims[i].name, name[0] ? name : fallback) == 0)
            range = im->options->dims[i];
    if (range.lo == range.hi)
        e = expr_const(im->cx, range.lo);
    else
        e = expr_sym(im->cx, symbol_name(dims, name[0] ? name : fallback), range.lo, range.hi,
                     range.div > 1 ? range.div : 1);
    if (name[0])
        map_set_text(&dims->by_name, name, (void *)(uintptr_t)e);
    return e;
}

static const ImportShape *given_shape(const Import *im, const char *name)
{
    for (uint32_t i = 0; im->options && i < im->options->shape_count; i++)
        if (strcmp(im->options->shapes[i].input, name) == 0)
            return &im->options->shapes[i];
    return NULL;
}

/* `name[part]`, which must be no other value's name: `others` are all inputs, or all outputs. */
static const char *part_name(Import *im, const OnnxValueInfo *others, uint32_t count,
                             const char *name, const char *part)
{
    const char *own = arena_printf(im->cx->arena, "%s[%s]", name, part);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(others[i].name, own) == 0)
            fail(im, ST_unsupported, "a tensor is called '%s', as a part of '%s' is: rename it",
                 onnx_printable(im->cx->arena, own), onnx_printable(im->cx->arena, name));
    return own;
}

static const char *input_part(Import *im, const char *name, const char *part)
{
    const OnnxGraph *graph = &im->model->graph;
    return part_name(im, graph->inputs, graph->input_count, name, part);
}

/* The contents given for an input stand for it; its type must fit. */
static Tensor *given_value(Import *im, const ImportValue *value, const Tensor *input)
{
    Tensor *tensor =
        graph_constant(im->graph, NULL, value->dtype, value->rank, value->dims, value->data);
    bool fits =
        !tensor_is_poison(tensor) && tensor->dtype == input->dtype && tensor->rank == input->rank;
    for (int d = 0; fits && d < tensor->rank; d++)
        fits = graph_same_dim(im->graph, tensor->shape[d], input->shape[d]);
    return fits ? tensor
                : fail(im, ST_bad_argument, "the contents given for input '%s' do not fit its type",
                       onnx_printable(im->cx->arena, value->input));
}

/* A tensor input of the graph, of this type. */
static Tensor *tensor_input(Dims *dims, const char *name, const OnnxType *type)
{
    Import *im = dims->im;
    Cx *cx = im->cx;
    const ImportShape *given = given_shape(im, name);
    const char *text = onnx_printable(cx->arena, name);
    int rank = given ? given->rank : type->rank;
    const Expr *shape[MAX_RANK];
    if (type->kind != OK_tensor || type->dtype == DT_none)
        return fail(im, ST_unsupported, "input '%s' is not a tensor", text);
    if (rank < 0)
        return fail(im, ST_bad_argument, "input '%s' has no shape in the model: give one", text);
    if (rank > MAX_RANK || (given && type->rank >= 0 && type->rank != rank))
        return fail(im, ST_bad_argument, "input '%s' is of rank %d, the model says %d (at most %d)",
                    text, rank, type->rank, MAX_RANK);
    for (int d = 0; d < rank; d++) {
        int64_t size = given ? given->dims[d] : -1;
        const OnnxDim *own = type->rank > d ? &type->dims[d] : NULL;
        if (size >= 0 && own && own->value >= 0 && own->value != size)
            return fail(im, ST_bad_argument, "input '%s': dim %d is %lld in the model, not %lld",
                        text, d, (long long)own->value, (long long)size);
        if (size >= 0 || (own && own->value >= 0))
            shape[d] = expr_const(cx, size >= 0 ? size : own->value);
        else
            shape[d] = symbolic_dim(dims, own ? own->symbol : "",
                                    arena_printf(cx->arena, "%s_%d", name, d));
    }
    Tensor *tensor = graph_input(im->graph, name, type->dtype, rank, shape);
    for (uint32_t i = 0; im->options && i < im->options->value_count; i++)
        if (strcmp(im->options->values[i].input, name) == 0)
            tensor = given_value(im, &im->options->values[i], tensor);
    return tensor;
}

/* Values and keys, both of one dim, the symbol `x_0`; the shape given for either is that of both.
 */
static Tensor *map_input(Dims *dims, const char *name, const OnnxType *type)
{
    Import *im = dims->im;
    Arena *arena = im->cx->arena;
    const char *keys = input_part(im, name, "keys");
    const ImportShape *given =
        given_shape(im, name) ? given_shape(im, name) : given_shape(im, keys);
    if (!type->of || type->of->kind != OK_tensor || type->of->rank > 0)
        return fail(im, ST_unsupported, "input '%s' is a map to other values than numbers or texts",
                    onnx_printable(arena, name));
    OnnxDim count = {given && given->rank == 1 ? given->dims[0] : -1,
                     arena_printf(arena, "%s_0", name)};
    OnnxType values = {.kind = OK_tensor, .dtype = type->of->dtype, .rank = 1, .dims = &count};
    OnnxType key_type = values;
    key_type.dtype = type->dtype;
    Tensor *items[] = {tensor_input(dims, name, &values), tensor_input(dims, keys, &key_type)};
    return list_make(im, LIST_map, 2, items);
}

/* A sequence of as many inputs as its given length says, an optional of one or none. */
static Tensor *typed_input(Dims *dims, const char *name, const OnnxType *type, int depth)
{
    Import *im = dims->im;
    bool optional = type->kind == OK_optional;
    if (type->kind == OK_map && !depth)
        return map_input(dims, name, type);
    if ((type->kind != OK_sequence && !optional) || !type->of || depth > MOST_NESTED)
        return tensor_input(dims, name, type);
    const ImportShape *given = given_shape(im, name);
    const char *text = onnx_printable(im->cx->arena, name);
    if (!given) {
        want_input(im, name);
        return fail(im, ST_unsupported,
                    "input '%s' is %s: %s when compiling, as a shape of one dim", text,
                    optional ? "an optional" : "a sequence",
                    optional ? "say whether it is there (1 or 0)" : "give its length");
    }
    if (given->rank != 1 || given->dims[0] < 0 || given->dims[0] > (optional ? 1 : MOST_ITEMS))
        return fail(im, ST_bad_argument, "the length of input '%s' is not one number up to %d",
                    text, optional ? 1 : MOST_ITEMS);
    int count = (int)given->dims[0];
    Tensor **items = NEW_ARRAY(im->cx->arena, Tensor *, count + 1);
    for (int i = 0; i < count; i++) {
        const char *item = input_part(im, name, arena_printf(im->cx->arena, "%d", i));
        items[i] = typed_input(dims, item, type->of, depth + 1);
    }
    return list_make(im, optional ? LIST_optional : LIST_sequence, count, items);
}

void import_inputs(Import *im)
{
    const OnnxGraph *graph = &im->model->graph;
    Dims dims = {.im = im};
    map_init(&dims.by_name, im->cx->arena);
    map_init(&dims.taken, im->cx->arena);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const OnnxValueInfo *info = &graph->inputs[i];
        if (info->initial)
            continue;
        Tensor *tensor = typed_input(&dims, info->name, &info->type, 0);
        collect(im);
        bind(im, info->name, tensor);
    }
}

/* ---- outputs */

static const char *output_part(Import *im, const char *name, const char *part)
{
    const OnnxGraph *graph = &im->model->graph;
    return part_name(im, graph->outputs, graph->output_count, name, part);
}

static void output(Import *im, Tensor *tensor, const char *name)
{
    if (!is_list(tensor)) {
        graph_output(im->graph, tensor, name);
        return;
    }
    if (list_kind(tensor) == LIST_map) {
        output(im, list_item(tensor, 0), name);
        output(im, list_item(tensor, 1), output_part(im, name, "keys"));
        return;
    }
    for (int i = 0; i < list_count(tensor); i++)
        output(im, list_item(tensor, i),
               output_part(im, name, arena_printf(im->cx->arena, "%d", i)));
}

void import_outputs(Import *im)
{
    const OnnxGraph *graph = &im->model->graph;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        Tensor *tensor = lookup(im, graph->outputs[i].name);
        if (!tensor)
            fail(im, ST_bad_model, "output '%s' has no value",
                 onnx_printable(im->cx->arena, graph->outputs[i].name));
        else if (!tensor_is_poison(tensor))
            output(im, tensor, graph->outputs[i].name);
        collect(im);
    }
}
