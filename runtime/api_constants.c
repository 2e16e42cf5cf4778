/* Packed weights from packs. They are for a program and for the contents of the weights it reads,
 * so the weights' identity has to be known: that is the only reason to look at weights at a warm
 * start, and the cache directory remembers it. */
#include "runtime/api.h"

#include <stdio.h>
#include <string.h>

#include "runtime/weights.h"

Storage *api_directory(const qn_program *p, Cache *cache)
{
    const qn_context *context = p->context;
    if (!p->remembers || !context->cache_dir)
        return NULL;
    *cache = cache_in(context->cache_dir, context->cache_limit);
    return &cache->storage;
}

typedef struct Constants {
    qn_program *program;
    int64_t bytes;
    const void *data;
} Constants;

static const char *parts_head(Cx *cx, const char *program_parts)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(entry_key(program_parts).base, hex);
    return arena_printf(cx->arena, "kind constants\nprogram %s\n", hex);
}

const char *api_constants_parts(Cx *cx, const char *program_parts, Hash128 weights)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(weights, hex);
    return arena_printf(cx->arena, "%sweights %s\n", parts_head(cx, program_parts), hex);
}

typedef struct Having {
    const char *head;
    bool found;
} Having;

static bool look_at(void *user, const StorageItem *item)
{
    Having *h = user;
    h->found = item->whole && item->entry.kind == ENTRY_constants &&
               strncmp(item->entry.parts, h->head, strlen(h->head)) == 0;
    return !h->found;
}

/* Whether some pack has constants of the program, for whatever weights. */
static bool have_any(Cx *cx, const qn_program *p, Storage *const *storages, uint32_t count)
{
    Having having = {.head = parts_head(cx, p->parts)};
    for (uint32_t i = 0; i < count && !having.found; i++)
        storages[i]->class->list(storages[i], cx, look_at, &having);
    return having.found;
}

static void find_job(Cx *cx, void *user)
{
    Constants *c = user;
    qn_program *p = c->program;
    Storage **storages;
    uint32_t count = api_packs(p->context, cx, &storages);
    if (!count || !have_any(cx, p, storages, count))
        return;
    Cache cache;
    WeightSource source = {p->plan, p->file_count, p->files, api_directory(p, &cache),
                           &p->context->executor};
    Hash128 identity;
    if (!weights_identity(cx, &source, &identity))
        return;
    EntryKey key = entry_key(api_constants_parts(cx, p->parts, identity));
    for (uint32_t i = 0; i < count && !cx_failed(cx); i++) {
        Entry entry;
        if (!storage_get(storages[i], cx, &p->context->executor, key, &entry))
            continue;
        if (entry.kind == ENTRY_constants && entry.size == (uint64_t)c->bytes) {
            c->data = entry.data;
            return;
        }
        cx_fail(cx, ST_bad_file, "%s: the packed weights are not those of the program",
                storages[i]->name);
    }
    api_warn_once(p->context, &p->context->repacked,
                  "the weights in the pack are not this model's: they are packed again");
}

Status api_constants(void *program, int64_t bytes, const void **data, Report *report)
{
    Cx cx;
    Constants c = {program, bytes, NULL};
    cx_init(&cx, &c.program->context->from, 0);
    cx_run(&cx, find_job, &c);
    Status status = (Status)api_status(report, &cx);
    cx_finish(&cx);
    if (status == ST_ok && c.data)
        *data = c.data;
    return status;
}
