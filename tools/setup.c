/* Context, model, program, session: opened in that order, closed in the other. */
#include "tools/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/interrupt.h"

enum { SETUP_NAME = 512 };

static bool is_same(qn_string a, qn_string b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
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

static bool add_dim(Setup *setup, const char *text, Fail *fail)
{
    const char *rest;
    size_t length = name_length(text, &rest);
    int64_t value;
    if (!length || !parse_int(rest, 0, INT64_MAX, &value))
        return fail_set(fail, "--dim takes SYMBOL=NUMBER, not '%s'", text);
    if (setup->dim_count == SETUP_ITEMS)
        return fail_set(fail, "more than %d times --dim", SETUP_ITEMS);
    setup->dims[setup->dim_count++] = (qn_dim_value){.symbol = {text, length}, .value = value};
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

static bool add_shape(Setup *setup, const char *text, Fail *fail)
{
    const char *rest;
    size_t length = name_length(text, &rest), at = setup->shape_count;
    if (at == SETUP_ITEMS)
        return fail_set(fail, "more than %d times --shape", SETUP_ITEMS);
    qn_shape shape = {.name = {text, length}, .dims = setup->shape_dims[at]};
    if (!length || !parse_shape(rest, setup->shape_dims[at], &shape.rank))
        return fail_set(fail, "--shape takes INPUT=1x3x224x224, not '%s'", text);
    setup->shapes[setup->shape_count++] = shape;
    return true;
}

bool setup_option(Setup *setup, int id, const char *value, Fail *fail)
{
    int64_t number;
    switch (id) {
    case OPT_DEVICE: setup->device = value; return true;
    case OPT_THREADS:
        if (!option_int("threads", value, 1, SETUP_THREADS, &number, fail))
            return false;
        setup->threads = (int32_t)number;
        return true;
    case OPT_DIM: return add_dim(setup, value, fail);
    case OPT_SHAPE: return add_shape(setup, value, fail);
    case OPT_GENERIC: setup->generic = true; return true;
    case OPT_CACHE_DIR: setup->cache_dir = value; return true;
    case OPT_NO_CACHE: setup->no_cache = true; return true;
    case OPT_PACK:
        if (setup->pack_count == SETUP_PACKS)
            return fail_set(fail, "more than %d packs", SETUP_PACKS);
        setup->packs[setup->pack_count++] = value;
        return true;
    case OPT_RECORDS:
        if (setup->record_count == SETUP_PACKS)
            return fail_set(fail, "more than %d files of records", SETUP_PACKS);
        setup->records[setup->record_count++] = value;
        return true;
    default: return fail_set(fail, "option %d is not for this verb", id);
    }
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

/* Whether what --dim says agrees with a value's shape. */
static bool check_dims(const Setup *setup, const char *name, const Tensor *tensor, Fail *fail)
{
    qn_tensor_info info;
    char label[SETUP_NAME];
    int32_t index = 0;
    while (qn_model_input(setup->model, index, &info) == QN_OK && strcmp(info.name.data, name) != 0)
        index++;
    for (int32_t d = 0; d < info.rank && info.rank == tensor->rank; d++) {
        if (info.dims[d].value >= 0)
            continue;
        qn_string symbol = dim_name(setup, &info, d, label);
        for (size_t i = 0; i < setup->dim_count; i++)
            if (is_same(setup->dims[i].symbol, symbol) && setup->dims[i].value != tensor->dims[d])
                return fail_set(fail,
                                "input '%s': dim %d of its value, '%s', is %" PRId64
                                ", --dim says %" PRId64,
                                name, d, symbol.data, tensor->dims[d], setup->dims[i].value);
    }
    return true;
}

bool setup_shape(Setup *setup, const char *name, const Tensor *tensor, Fail *fail)
{
    if (!check_dims(setup, name, tensor, fail))
        return false;
    for (size_t i = 0; i < setup->shape_count; i++) {
        const qn_shape *given = &setup->shapes[i];
        if (!is_same(given->name, qn_str(name)))
            continue;
        bool same = given->rank == tensor->rank;
        for (int32_t d = 0; same && d < given->rank; d++)
            same = given->dims[d] == tensor->dims[d];
        char text[TENSOR_TEXT];
        return same || fail_set(fail, "input '%s': its value is %s, which is not the shape given",
                                name, tensor_text(tensor, text));
    }
    if (setup->shape_count == SETUP_ITEMS)
        return fail_set(fail, "more than %d inputs with a given shape", SETUP_ITEMS);
    size_t at = setup->shape_count++;
    memcpy(setup->shape_dims[at], tensor->dims, sizeof tensor->dims);
    setup->shapes[at] =
        (qn_shape){.name = qn_str(name), .rank = tensor->rank, .dims = setup->shape_dims[at]};
    return true;
}

static void log_text(void *user, qn_log_level level, const char *text)
{
    (void)user;
    if (level == QN_LOG_WARNING)
        fprintf(stderr, "quern: warning: %s\n", text);
}

bool setup_cache_dir(const Setup *setup, char *path, size_t room, Fail *fail)
{
    if (setup->cache_dir)
        return snprintf(path, room, "%s", setup->cache_dir) < (int)room ||
               fail_set(fail, "the name of the cache directory is too long");
    qn_status status = qn_cache_default_dir(path, room);
    if (status == QN_LIMIT)
        return fail_set(fail, "the path in XDG_CACHE_HOME or HOME is too long");
    return status == QN_OK ||
           fail_set(fail, "neither XDG_CACHE_HOME nor HOME is set to an absolute path");
}

/* The directory, or "" with a warning. */
static void find_cache(const Setup *setup, char *path, size_t room)
{
    static bool warned;
    Fail fail;
    if (setup_cache_dir(setup, path, room, &fail))
        return;
    *path = 0;
    if (!setup->quiet && !warned)
        fprintf(stderr, "quern: warning: compiled programs are not kept: %s\n", fail.text);
    warned = true;
}

static bool open_context(Setup *setup, Fail *fail)
{
    char path[4096] = "";
    qn_context_options options = {.size = sizeof options, .threads = setup->threads};
    if (!setup->quiet)
        options.log = log_text;
    if (!setup->no_cache)
        find_cache(setup, path, sizeof path);
    options.cache_dir = qn_str(path);
    setup->status = qn_context_create(&options, &setup->context);
    if (setup->status != QN_OK)
        return fail_set(fail, "cannot start: %s", qn_status_text(setup->status));
    for (size_t i = 0; i < setup->pack_count && setup->status == QN_OK; i++)
        setup->status = qn_context_add_pack(setup->context, qn_str(setup->packs[i]));
    for (size_t i = 0; i < setup->record_count && setup->status == QN_OK; i++)
        setup->status = qn_context_add_records(setup->context, qn_str(setup->records[i]));
    return setup->status == QN_OK || fail_set(fail, "%s", qn_context_message(setup->context));
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
            if (is_same(other, name))
                return true;
            if (at < sizeof known - 1)
                at += (size_t)snprintf(known + at, sizeof known - at, "%s%.*s", at ? ", " : "",
                                       (int)other.length, other.data);
        }
    }
    setup->status = QN_BAD_ARGUMENT;
    return fail_set(fail, "the model has no %s '%.*s'; it has: %s", of_dim ? "open dim" : "input",
                    (int)name.length, name.data, at ? known : "none");
}

bool setup_open(Setup *setup, const char *path, Fail *fail)
{
    if (!open_context(setup, fail))
        return false;
    setup->status = qn_model_open(setup->context, qn_str(path), NULL, &setup->model);
    if (setup->status != QN_OK) {
        const char *message = qn_model_message(setup->model);
        fail_set(fail, "%s", message);
        return strstr(message, path) ? false : fail_prefix(fail, "%s", path);
    }
    for (size_t i = 0; i < setup->dim_count; i++) {
        if (!check_name(setup, setup->dims[i].symbol, true, fail))
            return fail_prefix(fail, "%s", path);
    }
    for (size_t i = 0; i < setup->shape_count; i++) {
        if (!check_name(setup, setup->shapes[i].name, false, fail))
            return fail_prefix(fail, "%s", path);
    }
    return true;
}

/* user: whether to show it */
static int32_t progress(void *user, int64_t done, int64_t total, const char *what)
{
    if (*(const bool *)user) {
        if (done < total)
            fprintf(stderr, "\r\033[Kcompiling %" PRId64 "/%" PRId64 " %.50s", done, total, what);
        else
            fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    return !interrupt_status();
}

qn_compile_options setup_compile_options(const Setup *setup)
{
    qn_compile_options options = {.size = sizeof options,
                                  .device = qn_str(setup->device),
                                  .keep_text = setup->keep_text,
                                  .no_cache = setup->no_cache,
                                  .contents = setup->contents,
                                  .content_count = setup->content_count,
                                  .packs_only = setup->pack_count > 0,
                                  .elsewhere = setup->elsewhere};
    if (!setup->generic) {
        options.dims = setup->dims;
        options.dim_count = setup->dim_count;
        options.shapes = setup->shapes;
        options.shape_count = setup->shape_count;
    }
    return options;
}

bool setup_compile(Setup *setup, Fail *fail)
{
    qn_compile_options options = setup_compile_options(setup);
    bool shows = !setup->quiet && isatty(STDERR_FILENO);
    options.progress = progress;
    options.progress_user = &shows;
    setup->status = qn_program_compile(setup->model, &options, &setup->program);
    if (shows)
        fputs("\r\033[K", stderr);
    return setup->status == QN_OK || fail_set(fail, "%s", qn_program_message(setup->program));
}

/* The size of a dim in the coming runs: a number, or what --dim says about it; -1. */
static int64_t dim_size(const Setup *setup, const qn_tensor_info *info, int32_t d)
{
    char text[SETUP_NAME];
    if (info->dims[d].value >= 0)
        return info->dims[d].value;
    qn_string name = dim_name(setup, info, d, text);
    for (size_t i = 0; i < setup->dim_count; i++) {
        if (is_same(setup->dims[i].symbol, name))
            return setup->dims[i].value;
    }
    return -1;
}

static const qn_shape *find_shape(const Setup *setup, qn_string name)
{
    for (size_t i = 0; i < setup->shape_count; i++) {
        if (is_same(setup->shapes[i].name, name))
            return &setup->shapes[i];
    }
    return NULL;
}

/* Shape of one input for the session, from --shape, a value, or --dim. */
static bool resolve_shape(const Setup *setup, const qn_tensor_info *info, int64_t *dims,
                          qn_shape *shape, Fail *fail)
{
    const qn_shape *given = find_shape(setup, info->name);
    if (given) {
        *shape = *given;
        return true;
    }
    if (info->rank < 0 || info->rank > QN_MAX_RANK)
        return fail_set(fail, "input '%s' has no known rank; give its shape with --shape",
                        info->name.data);
    *shape = (qn_shape){.name = info->name, .rank = info->rank, .dims = dims};
    for (int32_t d = 0; d < info->rank; d++) {
        dims[d] = dim_size(setup, info, d);
        if (dims[d] >= 0)
            continue;
        char text[SETUP_NAME];
        qn_string name = dim_name(setup, info, d, text);
        return fail_set(fail, "input '%s': the size of '%s' is not known; give --dim %s=N",
                        info->name.data, name.data, name.data);
    }
    return true;
}

static bool set_shapes(Setup *setup, Fail *fail)
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

bool setup_session(Setup *setup, Fail *fail)
{
    setup->status = qn_session_create(setup->program, NULL, &setup->session);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_session_message(setup->session));
    return set_shapes(setup, fail);
}

void setup_close(Setup *setup)
{
    qn_session_release(setup->session);
    qn_program_release(setup->program);
    qn_model_release(setup->model);
    qn_context_release(setup->context);
    setup->session = NULL;
    setup->program = NULL;
    setup->model = NULL;
    setup->context = NULL;
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
