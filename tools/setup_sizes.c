/* Sizes: what --dim and --shape say, what the model says, and the shapes of the runs that follow.
 * Each size may be said more than once, and has one value. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "jit/weight_note.h"
#include "tools/setup.h"

enum { SETUP_NAME = 512 };

static bool is_same(qn_string a, qn_string b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static const qn_dim_value *find_dim(const Setup *setup, qn_string symbol)
{
    for (size_t i = 0; i < setup->dim_count; i++)
        if (is_same(setup->dims[i].symbol, symbol))
            return &setup->dims[i];
    return NULL;
}

static const qn_shape *find_shape(const Setup *setup, qn_string name)
{
    for (size_t i = 0; i < setup->shape_count; i++) {
        if (is_same(setup->shapes[i].name, name))
            return &setup->shapes[i];
    }
    return NULL;
}

static bool is_same_shape(const qn_shape *a, const qn_shape *b)
{
    return a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
}

/* The name stays the caller's, the dims are copied; false when there is no room. */
static bool push_shape(Setup *setup, const qn_shape *shape)
{
    size_t at = setup->shape_count;
    if (at == SETUP_ITEMS)
        return false;
    memcpy(setup->shape_dims[at], shape->dims, (size_t)shape->rank * sizeof *shape->dims);
    setup->shapes[at] = *shape;
    setup->shapes[at].dims = setup->shape_dims[at];
    setup->shape_count++;
    return true;
}

/* "NAME=rest": the length of NAME; 0 when it is not of this form. Names may hold '='. */
static size_t name_length(const char *text, const char **rest)
{
    const char *equals = strrchr(text, '=');
    if (!equals || equals == text)
        return 0;
    *rest = equals + 1;
    return (size_t)(equals - text);
}

bool setup_add_dim(Setup *setup, const char *text, Fail *fail)
{
    const char *rest;
    size_t length = name_length(text, &rest);
    qn_dim_value given = {.symbol = {text, length}};
    if (!length || !parse_int(rest, 0, INT64_MAX, &given.value))
        return fail_set(fail, "--dim takes SYMBOL=NUMBER, not '%s'", text);
    const qn_dim_value *other = setup->variants ? NULL : find_dim(setup, given.symbol);
    if (other)
        return other->value == given.value ||
               fail_set(fail, "--dim %s contradicts --dim %s", text, other->symbol.data);
    if (setup->dim_count == SETUP_ITEMS)
        return fail_set(fail, "more than %d times --dim", SETUP_ITEMS);
    setup->dims[setup->dim_count++] = given;
    return true;
}

/* "1x3x224x224"; "" is a scalar. */
static bool parse_shape(const char *text, int64_t dims[QN_MAX_RANK], int32_t *rank)
{
    char part[32];
    *rank = 0;
    while (*text) {
        size_t length = strcspn(text, "x,");
        if (*rank == QN_MAX_RANK || length >= sizeof part || length == 0)
            return false;
        memcpy(part, text, length);
        part[length] = 0;
        if (!parse_int(part, 0, INT64_MAX, &dims[(*rank)++]))
            return false;
        text += length;
        if (*text && !*++text)
            return false;
    }
    return true;
}

bool setup_add_shape(Setup *setup, const char *text, Fail *fail)
{
    const char *rest;
    int64_t dims[QN_MAX_RANK];
    size_t length = name_length(text, &rest);
    qn_shape shape = {.name = {text, length}, .dims = dims};
    if (!length || !parse_shape(rest, dims, &shape.rank))
        return fail_set(fail, "--shape takes INPUT=1x3x224x224, not '%s'", text);
    const qn_shape *other = setup->variants ? NULL : find_shape(setup, shape.name);
    if (other)
        return is_same_shape(other, &shape) ||
               fail_set(fail, "--shape %s contradicts --shape %s", text, other->name.data);
    return push_shape(setup, &shape) || fail_set(fail, "more than %d times --shape", SETUP_ITEMS);
}

/* How --dim names a dim: its symbol in the model (a program's are identifiers, made of these), or
 * "<input>_<position>" when it has none. */
static qn_string dim_name(const Setup *setup, const qn_tensor_info *info, int32_t d,
                          char text[SETUP_NAME])
{
    qn_tensor_info own;
    for (int32_t i = 0; qn_model_input(setup->model, i, &own) == QN_OK; i++)
        if (is_same(own.name, info->name) && own.rank > d && own.dims[d].symbol.length)
            return own.dims[d].symbol;
    if (info->dims[d].symbol.length)
        return info->dims[d].symbol;
    snprintf(text, SETUP_NAME, "%s_%d", info->name.data, d);
    return qn_str(text);
}

/* Whether what --dim says agrees with the shape of an input, or of its value. */
static bool check_dims(const Setup *setup, const qn_shape *shape, const char *what, Fail *fail)
{
    qn_tensor_info info = {.rank = -1};
    char label[SETUP_NAME];
    bool found = false;
    for (int32_t i = 0; !found && qn_model_input(setup->model, i, &info) == QN_OK; i++)
        found = is_same(info.name, shape->name);
    for (int32_t d = 0; found && d < info.rank && info.rank == shape->rank; d++) {
        if (info.dims[d].value >= 0)
            continue;
        qn_string symbol = dim_name(setup, &info, d, label);
        const qn_dim_value *given = find_dim(setup, symbol);
        if (given && given->value != shape->dims[d])
            return fail_set(
                fail, "input '%s': dim %d of its %s, '%s', is %" PRId64 ", --dim says %" PRId64,
                info.name.data, d, what, symbol.data, shape->dims[d], given->value);
    }
    return true;
}

bool setup_shape(Setup *setup, const char *name, const Tensor *tensor, Fail *fail)
{
    qn_shape shape = {.name = qn_str(name), .rank = tensor->rank, .dims = tensor->dims};
    if (!check_dims(setup, &shape, "value", fail))
        return false;
    const qn_shape *given = find_shape(setup, shape.name);
    if (!given)
        return push_shape(setup, &shape) ||
               fail_set(fail, "more than %d inputs with a given shape", SETUP_ITEMS);
    char value[TENSOR_TEXT], said[TENSOR_TEXT];
    Tensor other = {.dtype = tensor->dtype, .rank = given->rank};
    memcpy(other.dims, given->dims, (size_t)given->rank * sizeof *given->dims);
    return is_same_shape(given, &shape) ||
           fail_set(fail, "input '%s': its value is %s, --shape says %s", name,
                    tensor_text(tensor, value), tensor_text(&other, said));
}

/* Whether this is an input, or an element of one: "x[0]" of the sequence "x". */
static bool is_input(const Setup *setup, int32_t index, qn_string own, qn_string name)
{
    qn_kind kind = QN_OTHER;
    if (is_same(own, name))
        return true;
    return qn_model_input_kind(setup->model, index, &kind) == QN_OK &&
           (kind == QN_SEQUENCE || kind == QN_OPTIONAL || kind == QN_MAP) &&
           name.length > own.length && name.data[own.length] == '[' &&
           name.data[name.length - 1] == ']' && !memcmp(own.data, name.data, own.length);
}

/* Whether some input has the name, or a dim with that symbol. Fails with the ones there are. */
static bool check_name(Setup *setup, qn_string name, bool of_dim, Fail *fail)
{
    qn_tensor_info info;
    char known[512] = "", text[SETUP_NAME];
    size_t at = 0;
    for (int32_t i = 0; qn_model_input(setup->model, i, &info) == QN_OK; i++) {
        for (int32_t d = 0; d < (of_dim ? info.rank : 1); d++) {
            if (of_dim && info.dims[d].value >= 0)
                continue;
            qn_string other = of_dim ? dim_name(setup, &info, d, text) : info.name;
            if (of_dim ? is_same(other, name) : is_input(setup, i, other, name))
                return true;
            if (at < sizeof known - 1)
                at += (size_t)snprintf(known + at, sizeof known - at, "%s%.*s", at ? ", " : "",
                                       (int)other.length, other.data);
        }
    }
    setup->status = QN_BAD_ARGUMENT;
    const char *note = of_dim ? "" : weight_note(setup->model, name);
    if (*note)
        return fail_set(fail, "the model has no input '%.*s'%s", (int)name.length, name.data, note);
    return fail_set(fail, "the model has no %s '%.*s'; it has: %s", of_dim ? "open dim" : "input",
                    (int)name.length, name.data, at ? known : "none");
}

bool setup_check_sizes(Setup *setup, Fail *fail)
{
    for (size_t i = 0; i < setup->dim_count; i++)
        if (!check_name(setup, setup->dims[i].symbol, true, fail))
            return false;
    for (size_t i = 0; i < setup->shape_count; i++)
        if (!check_name(setup, setup->shapes[i].name, false, fail) ||
            !check_dims(setup, &setup->shapes[i], "shape", fail))
            return false;
    return true;
}

/* The size of a dim in the coming runs: a number, or what --dim says about it; -1. */
static int64_t dim_size(const Setup *setup, const qn_tensor_info *info, int32_t d)
{
    char text[SETUP_NAME];
    if (info->dims[d].value >= 0)
        return info->dims[d].value;
    const qn_dim_value *given = find_dim(setup, dim_name(setup, info, d, text));
    return given ? given->value : -1;
}

bool setup_shape_empty(Setup *setup, Fail *fail)
{
    qn_tensor_info info;
    for (int32_t i = 0; qn_model_input(setup->model, i, &info) == QN_OK; i++) {
        int64_t dims[QN_MAX_RANK];
        bool empty = false;
        for (int32_t d = 0; d < info.rank && d < QN_MAX_RANK; d++) {
            bool open = info.dims[d].value < 0;
            dims[d] = open && dim_size(setup, &info, d) == 0 ? 0 : -1;
            empty |= dims[d] == 0;
        }
        qn_shape shape = {.name = info.name, .rank = info.rank, .dims = dims};
        if (empty && info.rank <= QN_MAX_RANK && !find_shape(setup, info.name) &&
            !push_shape(setup, &shape))
            return fail_set(fail, "more than %d inputs with a given shape", SETUP_ITEMS);
    }
    return true;
}

/* Shape of one input for the session, from --shape, a value, or --dim. */
static bool resolve_shape(const Setup *setup, const qn_tensor_info *info, int64_t *dims,
                          qn_shape *shape, Fail *fail)
{
    const qn_shape *given = find_shape(setup, info->name);
    bool other_rank = given && given->rank != info->rank; /* for the session to tell */
    if (other_rank) {
        *shape = *given;
        return true;
    }
    if (info->rank < 0 || info->rank > QN_MAX_RANK)
        return fail_set(fail, "input '%s' has no known rank; give its shape with --shape",
                        info->name.data);
    *shape = (qn_shape){.name = info->name, .rank = info->rank, .dims = dims};
    for (int32_t d = 0; d < info->rank; d++) {
        dims[d] = given && given->dims[d] >= 0 ? given->dims[d] : dim_size(setup, info, d);
        if (dims[d] >= 0)
            continue;
        char text[SETUP_NAME];
        qn_string name = dim_name(setup, info, d, text);
        return fail_set(fail, "input '%s': the size of '%s' is not known; give --dim %s=N",
                        info->name.data, name.data, name.data);
    }
    return true;
}

bool setup_set_shapes(Setup *setup, Fail *fail)
{
    qn_tensor_info info;
    qn_shape *shapes = calloc(SETUP_ITEMS, sizeof *shapes);
    int64_t(*dims)[QN_MAX_RANK] = calloc(SETUP_ITEMS, sizeof *dims);
    size_t count = 0;
    bool done = shapes && dims;
    bool open = false; /* is there a dim that the program leaves open? */
    for (int32_t i = 0; done && qn_program_input(setup->program, i, &info) == QN_OK; i++) {
        open |= info.rank < 0;
        for (int32_t d = 0; d < info.rank; d++)
            open |= info.dims[d].value < 0;
        if (count == SETUP_ITEMS)
            done = fail_set(fail, "more than %d inputs", SETUP_ITEMS);
        else
            done = resolve_shape(setup, &info, dims[count], &shapes[count], fail);
        count++;
    }
    if (!done)
        setup->status = QN_BAD_ARGUMENT;
    if (done && open) {
        setup->status = qn_session_set_shapes(setup->session, shapes, count);
        done = setup->status == QN_OK || fail_set(fail, "%s", qn_session_message(setup->session));
    }
    free(shapes);
    free(dims);
    return done;
}

bool setup_default_sizes(Setup *setup, Fail *fail)
{
    qn_tensor_info info;
    for (int32_t i = 0; qn_model_input(setup->model, i, &info) == QN_OK; i++) {
        Tensor sizes = {.rank = info.rank};
        bool open = false;
        for (int32_t d = 0; d < info.rank && d < QN_MAX_RANK; d++) {
            int64_t size = dim_size(setup, &info, d);
            open |= size < 0;
            sizes.dims[d] = size < 0 ? 1 : size;
        }
        if (open && !find_shape(setup, info.name) &&
            !setup_shape(setup, info.name.data, &sizes, fail))
            return false;
    }
    return true;
}
