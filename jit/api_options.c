/* The public interface: options of a compile. Sizes come as values of symbols, bounds or shapes,
 * and are brought to one form, so that one program has one key. */
#include "jit/api_options.h"

#include <string.h>

#include "base/map.h"
#include "jit/api_contents.h"
#include "jit/program_key.h"
#include "jit/weight_note.h"

static bool find_target(Cx *cx, Compilation *c)
{
    const char *name = api_text(cx, c->options.device);
    c->caps = c->options.elsewhere ? target_find(name) : NULL;
    if (c->caps) {
        c->target = (Target){.name = c->caps->name, .kind = emit_kind(c->caps)};
        return true;
    }
    if (!api_find_target(cx, c->model->context, name, &c->target))
        return false;
    if (c->program)
        c->program->device = c->target.device;
    c->caps = target_find(c->target.name);
    CHECK(c->caps);
    return true;
}

/* Names of the symbols of a model's input dims, each once. */
static uint32_t list_symbols(Cx *cx, const qn_model *model, const char ***names)
{
    Map seen;
    map_init(&seen, cx->arena);
    for (uint32_t i = 0; i < model->input_count; i++) {
        const qn_tensor_info *info = &model->inputs[i].info;
        for (int d = 0; d < info->rank; d++) {
            if (info->dims[d].value < 0)
                map_set_text(&seen, api_dim_symbol(cx, info, d), &seen);
        }
    }
    *names = NEW_ARRAY(cx->arena, const char *, seen.count);
    for (uint32_t i = 0; i < seen.count; i++)
        (*names)[i] = seen.entries[i].key;
    return seen.count;
}

static void set_dim(Cx *cx, ImportDim *dims, uint32_t count, const qn_dim_value *given)
{
    const char *name = api_text(cx, given->symbol);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(dims[i].name, name) != 0)
            continue;
        if (given->min > 0)
            dims[i].lo = given->min;
        if (given->max > 0)
            dims[i].hi = given->max;
        if (given->value > 0)
            dims[i].lo = dims[i].hi = given->value;
        if (dims[i].lo > dims[i].hi)
            cx_fail(cx, ST_bad_argument, "dim '%s': the bounds %lld..%lld hold no number", name,
                    (long long)dims[i].lo, (long long)dims[i].hi);
        return;
    }
    Text known;
    text_init(&known, cx->arena);
    text_put(&known, "", 0);
    for (uint32_t i = 0; i < count && i < 10; i++)
        text_add(&known, "%s%s", i ? ", " : "; it has ", dims[i].name);
    cx_fail(cx, ST_bad_argument, "no input of the model has the dim '%s'%s", name,
            known.length ? known.data : "");
}

/* An entry without a name is for all dims that no other one names. */
static void set_others(Cx *cx, const Compilation *c, ImportDim *dims, uint32_t count,
                       const qn_dim_value *given)
{
    for (uint32_t i = 0; i < count; i++) {
        bool named = false;
        for (size_t k = 0; k < c->options.dim_count; k++)
            named |= strcmp(api_text(cx, c->options.dims[k].symbol), dims[i].name) == 0;
        qn_dim_value one = *given;
        one.symbol = qn_str(dims[i].name);
        if (!named)
            set_dim(cx, dims, count, &one);
    }
}

static void set_dims(Cx *cx, Compilation *c)
{
    const char **names;
    uint32_t count = list_symbols(cx, c->model, &names);
    ImportDim *dims = NEW_ARRAY(cx->arena, ImportDim, count);
    bool *unbounded = NEW_ARRAY(cx->arena, bool, count);
    c->bits = count <= 1 ? 20 : count <= 3 ? 16 : 12;
    for (uint32_t i = 0; i < count; i++)
        dims[i] = (ImportDim){names[i], 1, INT64_C(1) << c->bits, 1};
    for (size_t i = 0; i < c->options.dim_count; i++)
        if (c->options.dims[i].symbol.length)
            set_dim(cx, dims, count, &c->options.dims[i]);
        else
            set_others(cx, c, dims, count, &c->options.dims[i]);
    bool asked = false; /* for just this bound */
    for (size_t i = 0; i < c->options.dim_count; i++)
        asked |= c->options.dims[i].max == INT64_C(1) << c->bits;
    for (uint32_t i = 0; i < count; i++)
        unbounded[i] = !asked && dims[i].hi == INT64_C(1) << c->bits;
    c->unbounded = unbounded;
    c->import.dims = dims;
    c->import.dim_count = count;
}

static void set_shape(Cx *cx, const qn_model *model, size_t position, const qn_shape *given,
                      ImportShape *shape)
{
    const char *name = api_text(cx, given->name);
    if (!*name && position < model->input_count)
        name = model->inputs[position].info.name.data;
    if (!api_is_input(model, name))
        cx_fail(cx, ST_bad_argument, "the model has no input '%s'%s", name,
                weight_note(model, qn_str(name)));
    else if (given->rank < 0 || given->rank > QN_MAX_RANK || (given->rank && !given->dims))
        cx_fail(cx, ST_bad_argument, "the shape of input '%s' has rank %d", name, given->rank);
    if (cx_failed(cx))
        return;
    *shape = (ImportShape){.input = name, .rank = given->rank};
    for (int d = 0; d < given->rank; d++)
        shape->dims[d] = given->dims[d] < 0 ? -1 : given->dims[d];
}

static void set_shapes(Cx *cx, Compilation *c)
{
    ImportShape *shapes = NEW_ARRAY(cx->arena, ImportShape, c->options.shape_count);
    for (size_t i = 0; i < c->options.shape_count; i++)
        set_shape(cx, c->model, i, &c->options.shapes[i], &shapes[i]);
    c->import.shapes = shapes;
    c->import.shape_count = (uint32_t)c->options.shape_count;
}

/* The symbol of an input's dim among these. */
static ImportDim *find_dim(Cx *cx, const Compilation *c, ImportDim *dims,
                           const qn_tensor_info *info, int d)
{
    const char *name = api_dim_symbol(cx, info, d);
    for (uint32_t i = 0; i < c->import.dim_count; i++)
        if (strcmp(dims[i].name, name) == 0)
            return &dims[i];
    return NULL;
}

/* Whether the first `count` shapes say nothing that values of symbols do not say too; these are set
 * in `dims`. */
static bool shapes_as_dims(Cx *cx, const Compilation *c, uint32_t count, ImportDim *dims)
{
    for (uint32_t s = 0; s < count; s++) {
        const ImportShape *shape = &c->import.shapes[s];
        const qn_tensor_info *info = api_input_info(c->model, shape->input);
        if (!info || info->rank != shape->rank)
            return false;
        for (int d = 0; d < shape->rank; d++) {
            int64_t size = shape->dims[d];
            ImportDim *dim = info->dims[d].value < 0 ? find_dim(cx, c, dims, info, d) : NULL;
            if (size < 0 || (!dim && info->dims[d].value == size))
                continue;
            if (!dim || size < dim->lo || size > dim->hi)
                return false;
            dim->lo = dim->hi = size;
        }
    }
    return true;
}

/* One program has one key: a shape that only gives values to symbols is the same as these values.
 * Those of contents stay. */
static void fold_shapes(Cx *cx, Compilation *c)
{
    uint32_t given = (uint32_t)c->options.shape_count;
    ImportDim *dims =
        arena_copy(cx->arena, c->import.dims, c->import.dim_count * sizeof *c->import.dims);
    if (!shapes_as_dims(cx, c, given, dims))
        return;
    c->import.dims = dims;
    c->import.shapes += given;
    c->import.shape_count -= given;
}

static const CustomOperator *find_custom(const void *customs, const char *domain, const char *name,
                                         int64_t opset)
{
    return customs_find(customs, domain, name, opset);
}

/* The options as the compiler takes them, and the parts of the key. */
static bool has_lists(Cx *cx, const qn_compile_options *o)
{
    if ((!o->dim_count || o->dims) && (!o->shape_count || o->shapes) &&
        (!o->content_count || o->contents))
        return true;
    cx_fail(cx, ST_bad_argument, "a list of dims, shapes or contents at NULL");
    return false;
}

bool api_options_read(Cx *cx, Compilation *c)
{
    if (!has_lists(cx, &c->options) || !find_target(cx, c))
        return false;
    c->import.find_custom = find_custom;
    c->import.customs = &c->model->context->customs;
    set_dims(cx, c);
    set_shapes(cx, c);
    if (!cx_failed(cx))
        api_set_contents(cx, c->model, c->options.contents, c->options.content_count, &c->import);
    if (!cx_failed(cx) && api_check_sizes(cx, c))
        fold_shapes(cx, c);
    if (cx_failed(cx) || !onnx_model_check(cx, c->model->onnx))
        return false;
    KeySource source = {.model = c->model->onnx,
                        .file_count = c->model->file_count,
                        .files = c->model->files,
                        .import = &c->import,
                        .target = emit_target_name(cx, c->caps, c->target.kind)};
    api_read_records(cx, c->model->context, !c->options.no_cache && !c->options.packs_only,
                     &c->records);
    c->parts = program_key_parts(cx, &source);
    return true;
}

void api_options_copy(Compilation *c, const qn_compile_options *options)
{
    size_t size = options && options->size ? options->size : sizeof c->options;
    if (options)
        memcpy(&c->options, options, size < sizeof c->options ? size : sizeof c->options);
}

bool api_options_narrow(Cx *cx, Compilation *c)
{
    enum { STEP = 2, LEAST = 6 };
    ImportDim *dims =
        arena_copy(cx->arena, c->import.dims, c->import.dim_count * sizeof *c->import.dims);
    bool lower = false;
    int64_t most = INT64_C(1) << (c->bits - STEP);
    for (uint32_t i = 0; i < c->import.dim_count; i++)
        if (c->unbounded[i] && dims[i].lo < most && dims[i].hi > most) {
            dims[i].hi = most;
            lower = true;
        }
    if (!lower || c->bits - STEP < LEAST)
        return false;
    c->bits -= STEP;
    c->import.dims = dims;
    return true;
}
