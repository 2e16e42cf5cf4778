/* The public interface: why a program is taken from a pack or the cache, or not. */
#include <string.h>

#include "jit/api_options.h"
#include "runtime/explain.h"

typedef struct Explain {
    Compilation c;
    qn_line *line;
    void *user;
    bool found;
} Explain;

static void say_parts(const Explain *e, Cx *cx, const char *parts)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(entry_key(parts).whole, hex);
    e->line(e->user, arena_printf(cx->arena, "key %s, made of:", hex));
    while (*parts) {
        int length = (int)strcspn(parts, "\n");
        e->line(e->user, arena_printf(cx->arena, "  %.*s", length, parts));
        parts += length + (parts[length] == '\n');
    }
}

static void say_nearest(const Explain *e, Cx *cx, Storage *const *storages, uint32_t count)
{
    Explanation x = explain_program(cx, e->c.parts, storages, count);
    char hex[HASH_HEX_SIZE];
    hash_to_hex(x.key, hex);
    if (!x.storage)
        e->line(e->user, "there are no programs to compare with");
    else if (!x.count)
        e->line(e->user,
                arena_printf(cx->arena, "%s in %s is for it and damaged", hex, x.storage->name));
    else
        e->line(e->user, arena_printf(cx->arena, "the nearest of %u programs is %s in %s:",
                                      x.programs, hex, x.storage->name));
    for (uint32_t i = 0; i < x.count; i++)
        e->line(e->user, arena_printf(cx->arena, "  %s", x.lines[i]));
}

static void explain_job(Cx *cx, void *user)
{
    Explain *e = user;
    qn_context *context = e->c.model->context;
    Storage **storages;
    if (!api_options_read(cx, &e->c))
        return;
    uint32_t count = api_packs(context, cx, &storages);
    Cache cache = cache_in(context->cache_dir, context->cache_limit);
    if (context->cache_dir && !e->c.options.packs_only) {
        uint32_t all = e->c.records.count;
        storages[count++] = &cache.storage;
        if (!api_use_records(cx, &e->c, &cache.storage, false))
            return;
        if (all)
            e->line(e->user, arena_printf(cx->arena, "%u of %u tuning records are for its kernels",
                                          e->c.records.count, all));
    }
    say_parts(e, cx, e->c.parts);
    for (uint32_t i = 0; i < count && !e->found; i++) {
        Entry entry;
        e->found = storage_get(storages[i], cx, &executor_inline, entry_key(e->c.parts), &entry);
        if (cx_failed(cx))
            return;
        if (e->found)
            e->line(e->user, arena_printf(cx->arena, "it is in %s", storages[i]->name));
    }
    if (!e->found) {
        e->line(e->user, "it is not there: it would be compiled");
        say_nearest(e, cx, storages, count);
    }
}

qn_status qn_program_explain(qn_model *model, const qn_compile_options *options, qn_line *line,
                             void *user)
{
    Explain e = {.c.model = model, .line = line, .user = user};
    Cx cx;
    if (!model || !model->onnx || !line)
        return QN_BAD_ARGUMENT;
    api_options_copy(&e.c, options);
    cx_init(&cx, &model->context->from, 0);
    cx_run(&cx, explain_job, &e);
    qn_status status = api_status(&model->report, &cx);
    cx_finish(&cx);
    return status == QN_OK && !e.found ? QN_MISSING : status;
}
