/* Sequences, optionals and maps of a model's inputs: their elements are inputs of the program,
 * called x[0], x[1] and so on, and x and x[keys] of a map. Files are .pb; those of elements, of
 * values and of keys may be .npy. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/bind.h"
#include "tools/npy.h"

static const Element *find_element(const Binding *binding, qn_string name)
{
    for (int32_t i = 0; i < binding->element_count; i++)
        if (strlen(binding->elements[i].name) == name.length &&
            !memcmp(binding->elements[i].name, name.data, name.length))
            return &binding->elements[i];
    return NULL;
}

static Element *add_element(Binding *binding, const char *name, Fail *fail)
{
    size_t count = (size_t)binding->element_count;
    if (find_element(binding, qn_str(name))) {
        fail_set(fail, "two values for input '%s'", name);
        return NULL;
    }
    Element *elements = realloc(binding->elements, (count + 1) * sizeof *elements);
    char *copy = strdup(name);
    if (elements)
        binding->elements = elements;
    if (!elements || !copy) {
        free(copy);
        fail_set(fail, "out of memory");
        return NULL;
    }
    elements[count] = (Element){.name = copy};
    binding->element_count++;
    return &elements[count];
}

/* A tensor, which is moved, and its shape. */
static bool add_tensor(Binding *binding, Setup *setup, const char *name, Tensor *tensor, Fail *fail)
{
    Element *element = add_element(binding, name, fail);
    if (!element)
        return false;
    element->value = *tensor;
    *tensor = (Tensor){0};
    return setup_shape(setup, element->name, &element->value, fail);
}

/* The value and what it holds, with their shapes; takes the tensors out of `list`. */
static bool add_value(Binding *binding, Setup *setup, const char *name, PbValue *value, Fail *fail)
{
    char item[512];
    if (!value->is_list)
        return add_tensor(binding, setup, name, &value->tensor, fail);
    Element *element = value->is_map ? NULL : add_element(binding, name, fail);
    Tensor length = {.rank = 1, .dims = {value->count}};
    if (!value->is_map && (!element || !setup_shape(setup, element->name, &length, fail)))
        return false;
    for (int32_t i = 0; i < value->count; i++) {
        char part[16] = "";
        if (!value->is_map)
            snprintf(part, sizeof part, "[%d]", (int)i);
        else if (i)
            snprintf(part, sizeof part, "[keys]");
        if (snprintf(item, sizeof item, "%s%s", name, part) >= (int)sizeof item)
            return fail_set(fail, "'%s': the name is too long", name);
        if (!add_value(binding, setup, item, &value->items[i], fail))
            return false;
    }
    return true;
}

bool bind_read_list(Binding *binding, Setup *setup, int32_t index, const char *path, Fail *fail)
{
    qn_tensor_info info;
    qn_kind kind;
    PbValue value;
    setup->status = qn_model_input(setup->model, index, &info);
    if (setup->status == QN_OK)
        setup->status = qn_model_input_kind(setup->model, index, &kind);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_model_message(setup->model));
    setup->status = QN_BAD_FILE;
    if (!read_pb_value(path, kind, &value, fail))
        return false;
    setup->status = QN_BAD_ARGUMENT;
    bool done = add_value(binding, setup, info.name.data, &value, fail);
    pb_value_free(&value);
    return done;
}

static bool is_pb(const char *path)
{
    size_t length = strlen(path);
    return length >= 3 && !strcmp(path + length - 3, ".pb");
}

/* The input of the model that is named so, or whose element or keys are: "x" of "x[0]" and
 * "x[keys]". *part: the latter. */
static int32_t find_owner(Setup *setup, const char *name, size_t length, bool *part)
{
    int32_t index = bind_find(setup, name, length);
    *part = index < 0;
    for (size_t i = length; index < 0 && i-- > 1;)
        if (name[i] == '[')
            index = bind_find(setup, name, i);
    return index;
}

/* Whether the text behind an input's name is that of a part of it. */
static bool is_part(qn_kind kind, const char *text, size_t length)
{
    static const char keys[] = "[keys]";
    if (kind == QN_MAP)
        return length == sizeof keys - 1 && !memcmp(text, keys, length);
    return (kind == QN_SEQUENCE || kind == QN_OPTIONAL) && length > 2 && text[length - 1] == ']';
}

/* A tensor that is an element, or the values or keys of a map. */
static bool read_part(Binding *binding, Setup *setup, const char *name, size_t length,
                      const char *path, Fail *fail)
{
    char own[512];
    Tensor tensor;
    if (snprintf(own, sizeof own, "%.*s", (int)length, name) >= (int)sizeof own)
        return fail_set(fail, "'%.*s': the name is too long", (int)length, name);
    setup->status = QN_BAD_FILE;
    if (is_pb(path) ? !read_pb(path, &tensor, fail) : !npy_read(path, QN_NONE, &tensor, fail))
        return false;
    setup->status = QN_BAD_ARGUMENT;
    bool done = add_tensor(binding, setup, own, &tensor, fail);
    tensor_free(&tensor);
    return done;
}

int bind_read_named(Binding *binding, Setup *setup, const char *name, size_t length,
                    const char *path, Fail *fail)
{
    qn_kind kind = QN_OTHER;
    qn_tensor_info info;
    bool part;
    int32_t index = find_owner(setup, name, length, &part);
    if (qn_model_input_kind(setup->model, index, &kind) != QN_OK ||
        qn_model_input(setup->model, index, &info) != QN_OK ||
        (part && !is_part(kind, name + info.name.length, length - info.name.length)))
        return -1;
    setup->status = QN_BAD_ARGUMENT;
    if (binding->inputs[index].data || find_element(binding, (qn_string){name, length}))
        return fail_set(fail, "two values for input '%.*s'", (int)length, name);
    if (part || (kind == QN_MAP && !is_pb(path)))
        return read_part(binding, setup, name, length, path, fail);
    return kind == QN_TENSOR || kind == QN_OTHER
               ? bind_read(binding, setup, index, path, fail)
               : bind_read_list(binding, setup, index, path, fail);
}

qn_string bind_name(const Binding *binding, Setup *setup, qn_string name)
{
    qn_tensor_info info;
    const Element *element = find_element(binding, name);
    if (element)
        return qn_str(element->name);
    int32_t at = bind_find(setup, name.data, name.length);
    return qn_model_input(setup->model, at, &info) == QN_OK ? info.name : qn_str("");
}

const Tensor *bind_value(const Binding *binding, Setup *setup, qn_string name)
{
    const Element *element = find_element(binding, name);
    if (element)
        return &element->value;
    int32_t at = bind_find(setup, name.data, name.length);
    return at >= 0 ? &binding->inputs[at] : NULL;
}

bool bind_arrange(Binding *binding, Setup *setup, Fail *fail)
{
    qn_program_info program;
    setup->status = qn_program_describe(setup->program, &program);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_program_message(setup->program));
    Tensor *inputs = calloc((size_t)program.inputs + 1, sizeof *inputs);
    if (!inputs)
        return fail_set(fail, "out of memory");
    for (int32_t i = 0; i < program.inputs; i++) {
        qn_tensor_info info;
        if (qn_program_input(setup->program, i, &info) != QN_OK)
            continue;
        Tensor *from = (Tensor *)(uintptr_t)bind_value(binding, setup, info.name);
        if (!from)
            continue;
        inputs[i] = *from; /* moves */
        *from = (Tensor){0};
    }
    for (int32_t i = 0; i < binding->input_count; i++)
        tensor_free(&binding->inputs[i]);
    free(binding->inputs);
    binding->inputs = inputs;
    binding->input_count = program.inputs;
    for (int32_t i = 0; i < binding->element_count; i++)
        if (binding->elements[i].value.data)
            return fail_set(fail, "there is a value for '%s', which with these lengths is no input",
                            binding->elements[i].name);
    return true;
}

void bind_free_elements(Binding *binding)
{
    for (int32_t i = 0; i < binding->element_count; i++) {
        tensor_free(&binding->elements[i].value);
        free(binding->elements[i].name);
    }
    free(binding->elements);
    binding->elements = NULL;
    binding->element_count = 0;
}
