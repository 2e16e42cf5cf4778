/* The public interface: inputs whose contents are known when compiling. The import takes them as
 * constants; the plan keeps a copy, and a run refuses anything else. */
#include <string.h>

#include "jit/api_contents.h"

#include "base/dtype.h"
#include "jit/weight_note.h"

/* Bytes of the contents; -1 when they are not well formed. */
static int64_t content_bytes(const qn_contents *given)
{
    int bits = qn_dtype_bits(given->dtype);
    int64_t count = 1;
    if (bits <= 0 || given->rank < 0 || given->rank > QN_MAX_RANK || (given->rank && !given->dims))
        return -1;
    for (int d = 0; d < given->rank; d++) {
        if (given->dims[d] < 0 || given->dims[d] > MOST_CONTENTS)
            return -1;
        count *= given->dims[d];
        if (count > MOST_CONTENTS)
            return -1;
    }
    return (count * bits + 7) / 8;
}

static const char *input_name(Cx *cx, const qn_model *model, const qn_contents *given,
                              size_t position)
{
    const char *name = api_text(cx, given->name);
    if (!*name && position < model->input_count)
        return model->inputs[position].info.name.data;
    if (api_is_input(model, name))
        return name;
    cx_fail(cx, ST_bad_argument, "the model has no input '%s'%s", name,
            weight_note(model, qn_str(name)));
    return NULL;
}

static bool has_shape(const ImportOptions *import, const char *input)
{
    for (uint32_t i = 0; i < import->shape_count; i++)
        if (strcmp(import->shapes[i].input, input) == 0)
            return true;
    return false;
}

static bool has_value(const ImportValue *values, size_t count, const char *input)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(values[i].input, input) == 0)
            return true;
    return false;
}

void api_set_contents(Cx *cx, const qn_model *model, const qn_contents *contents, size_t count,
                      ImportOptions *import)
{
    if (!count)
        return;
    ImportValue *values = NEW_ARRAY(cx->arena, ImportValue, count);
    ImportShape *shapes = NEW_ARRAY(cx->arena, ImportShape, import->shape_count + count);
    for (uint32_t i = 0; i < import->shape_count; i++)
        shapes[i] = import->shapes[i];
    import->shapes = shapes;
    for (size_t i = 0; i < count && !cx_failed(cx); i++) {
        const qn_contents *given = &contents[i];
        const char *name = input_name(cx, model, given, i);
        int64_t bytes = content_bytes(given);
        if (!name)
            return;
        if (has_value(values, i, name))
            cx_fail(cx, ST_bad_argument, "the contents of input '%s' are given twice", name);
        if (bytes < 0 || (size_t)bytes > given->bytes || (bytes && !given->data)) {
            cx_fail(cx, ST_bad_argument,
                    "the contents of input '%s' are not a tensor of at most %d elements, or not "
                    "all there",
                    name, MOST_CONTENTS);
            return;
        }
        values[i] = (ImportValue){name, (Dtype)given->dtype, given->rank, given->dims, given->data};
        if (has_shape(import, name))
            continue;
        ImportShape *shape = &shapes[import->shape_count++];
        *shape = (ImportShape){.input = name, .rank = given->rank};
        for (int d = 0; d < given->rank; d++)
            shape->dims[d] = given->dims[d];
    }
    import->values = values;
    import->value_count = (uint32_t)count;
}

void api_keep_contents(Plan *plan, const ImportOptions *import)
{
    for (uint32_t i = 0; i < plan->input_count; i++) {
        PlanPort *port = &plan->inputs[i];
        for (uint32_t k = 0; k < import->value_count; k++) {
            if (strcmp(import->values[k].input, port->name) != 0)
                continue;
            int64_t bytes = plan_fixed_bytes(&plan->tensors[port->tensor]);
            if (bytes > 0)
                port->contents = import->values[k].data;
            port->content_bytes = bytes;
        }
    }
}

void api_keep_wanted(Cx *cx, qn_program *p, const ImportProblems *problems)
{
    qn_string *wanted = NEW_ARRAY(cx->arena, qn_string, problems->wanted_count);
    for (uint32_t i = 0; i < problems->wanted_count; i++)
        wanted[i] = api_string(arena_strdup(cx->arena, problems->wanted[i]));
    p->wanted = wanted;
    p->wanted_count = problems->wanted_count;
}
