/* The public interface: what a caller says about sizes, in values of symbols, bounds, shapes and
 * contents of inputs. Each may be said in several ways, and all have to agree: "dims with equal
 * names are equal". */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "jit/api_options.h"

const char *api_dim_symbol(Cx *cx, const qn_tensor_info *info, int d)
{
    const char *own = info->dims[d].symbol.data;
    return *own ? own : arena_printf(cx->arena, "%s_%d", info->name.data, d);
}

static const char *size_text(Cx *cx, const qn_dim_value *given)
{
    if (given->value)
        return arena_printf(cx->arena, "%lld", (long long)given->value);
    return given->max
               ? arena_printf(cx->arena, "%lld..%lld", (long long)given->min, (long long)given->max)
               : arena_printf(cx->arena, "%lld or more", (long long)given->min);
}

static bool same_text(qn_string a, qn_string b)
{
    return a.length == b.length && (!a.length || !memcmp(a.data, b.data, a.length));
}

/* Each symbol once, and nothing negative. */
static void check_dims(Cx *cx, const qn_dim_value *dims, size_t count)
{
    for (size_t i = 0; i < count && !cx_failed(cx); i++) {
        const qn_dim_value *a = &dims[i];
        const char *name = a->symbol.length ? api_text(cx, a->symbol) : "(any other)";
        int64_t least = a->value < a->min ? a->value : a->min;
        least = least < a->max ? least : a->max;
        if (least < 0)
            cx_fail(cx, ST_bad_argument, "dim '%s': %lld is no size", name, (long long)least);
        for (size_t k = 0; k < i; k++)
            if (same_text(a->symbol, dims[k].symbol))
                cx_fail(cx, ST_bad_argument, "dim '%s' is given twice, as %s and as %s", name,
                        size_text(cx, &dims[k]), size_text(cx, a));
    }
}

static const char *shape_text(Cx *cx, const ImportShape *shape)
{
    Text text;
    text_init(&text, cx->arena);
    text_add(&text, "[");
    for (int d = 0; d < shape->rank; d++)
        text_add(&text, "%s%lld", d ? "," : "", (long long)shape->dims[d]);
    text_add(&text, "]");
    return text.data;
}

/* What was said about a symbol: by an entry of the list of dims, and by the shape of an input. */
typedef struct Said {
    const qn_dim_value *dim;
    const char *input;
    int64_t size;
} Said;

static Said *find_said(Cx *cx, Map *all, const Compilation *c, const char *symbol)
{
    Said *said = map_find_text(all, symbol);
    if (said)
        return said;
    said = NEW(cx->arena, Said);
    for (size_t i = 0; i < c->options.dim_count; i++) {
        const qn_dim_value *dim = &c->options.dims[i];
        bool others = !dim->symbol.length && !said->dim; /* for those that have no entry */
        if (others || same_text(dim->symbol, qn_str(symbol)))
            said->dim = dim;
    }
    map_set_text(all, symbol, said);
    return said;
}

static void check_size(Cx *cx, Said *said, const char *symbol, int64_t size, const char *input)
{
    const qn_dim_value *dim = said->dim;
    bool fits = !dim || ((!dim->value || size == dim->value) && (!dim->min || size >= dim->min) &&
                         (!dim->max || size <= dim->max));
    if (!fits)
        cx_fail(cx, ST_bad_argument, "dim '%s' is %lld in the shape of input '%s', and given as %s",
                symbol, (long long)size, input, size_text(cx, dim));
    else if (said->input && said->size != size)
        cx_fail(cx, ST_bad_argument,
                "dim '%s' is %lld in the shape of input '%s', and %lld in that of input '%s'",
                symbol, (long long)said->size, said->input, (long long)size, input);
    said->input = input;
    said->size = size;
}

/* The dims that have symbols, in the shape of an input. */
static void check_shape(Cx *cx, Map *all, const Compilation *c, const ImportShape *shape)
{
    const qn_tensor_info *info = api_input_info(c->model, shape->input);
    for (int d = 0; info && info->rank == shape->rank && d < shape->rank; d++) {
        if (info->dims[d].value >= 0 || shape->dims[d] < 0)
            continue;
        const char *symbol = api_dim_symbol(cx, info, d);
        check_size(cx, find_said(cx, all, c, symbol), symbol, shape->dims[d], shape->input);
    }
}

bool api_check_sizes(Cx *cx, const Compilation *c)
{
    Map sizes, shapes;
    map_init(&sizes, cx->arena);
    map_init(&shapes, cx->arena);
    check_dims(cx, c->options.dims, c->options.dim_count);
    for (uint32_t i = 0; i < c->import.shape_count && !cx_failed(cx); i++) {
        const ImportShape *shape = &c->import.shapes[i];
        const ImportShape *other = map_set_text(&shapes, shape->input, (void *)(uintptr_t)shape);
        if (other)
            cx_fail(cx, ST_bad_argument, "the shape of input '%s' is given twice, as %s and as %s",
                    shape->input, shape_text(cx, other), shape_text(cx, shape));
        check_shape(cx, &sizes, c, shape);
    }
    return !cx_failed(cx);
}
