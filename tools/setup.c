/* Context, model, program, session: opened in that order, closed in the other. */
#include "tools/setup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/utf8.h"
#include "tools/interrupt.h"

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
    case OPT_DIM: return setup_add_dim(setup, value, fail);
    case OPT_SHAPE: return setup_add_shape(setup, value, fail);
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

bool setup_open(Setup *setup, const char *path, Fail *fail)
{
    if (!open_context(setup, fail))
        return false;
    setup->status = qn_model_open(setup->context, qn_str(path), NULL, &setup->model);
    bool done = setup->status == QN_OK ? setup_check_sizes(setup, fail)
                                       : fail_set(fail, "%s", qn_model_message(setup->model));
    char name[sizeof fail->text / 2]; /* as messages show it */
    snprintf(name, sizeof name, "%s", path);
    utf8_make_plain(name, false);
    return done || (strstr(fail->text, name) ? false : fail_prefix(fail, "%s", name));
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

bool setup_compile_options(Setup *setup, qn_compile_options *to, Fail *fail)
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
        if (!setup_shape_empty(setup, fail))
            return false;
        options.dims = setup->dims;
        options.dim_count = setup->dim_count;
        options.shapes = setup->shapes;
        options.shape_count = setup->shape_count;
    }
    *to = options;
    return true;
}

bool setup_compile(Setup *setup, Fail *fail)
{
    qn_compile_options options;
    if (!setup_compile_options(setup, &options, fail))
        return false;
    bool shows = !setup->quiet && isatty(STDERR_FILENO);
    options.progress = progress;
    options.progress_user = &shows;
    setup->status = qn_program_compile(setup->model, &options, &setup->program);
    if (shows)
        fputs("\r\033[K", stderr);
    return setup->status == QN_OK || fail_set(fail, "%s", qn_program_message(setup->program));
}

bool setup_session(Setup *setup, Fail *fail)
{
    setup->status = qn_session_create(setup->program, NULL, &setup->session);
    if (setup->status != QN_OK)
        return fail_set(fail, "%s", qn_session_message(setup->session));
    return setup_set_shapes(setup, fail);
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
