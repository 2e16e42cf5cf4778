/* The public interface: packs of a context, and making packs. */
#include "runtime/api.h"

#include <errno.h>
#include <string.h>

#include "runtime/weights.h"

/* --- packs of a context --- */

static void open_job(Cx *cx, void *user)
{
    PackNode *node = user;
    pack_open(cx, node->path, &node->pack);
}

static PackNode *new_node(qn_context *context, qn_string path)
{
    PackNode *node = api_alloc(context, sizeof *node);
    char *copy = api_alloc(context, path.length + 1);
    if (node && copy) {
        memcpy(copy, path.data, path.length);
        node->path = copy;
        return node;
    }
    api_free(context, node, sizeof *node);
    api_free(context, copy, path.length + 1);
    return NULL;
}

static void free_node(qn_context *context, PackNode *node)
{
    pack_close(&node->pack);
    api_free(context, node->path, strlen(node->path) + 1);
    api_free(context, node, sizeof *node);
}

/* Opens a pack; NULL with the report set. */
static PackNode *open_pack(qn_context *context, qn_string path, Report *report)
{
    Cx cx;
    if (!path.length || memchr(path.data, 0, path.length)) {
        report_fail(report, ST_bad_argument, "a pack needs a path");
        return NULL;
    }
    PackNode *node = new_node(context, path);
    if (!node) {
        report_fail(report, ST_out_of_memory, "%s", API_NO_HANDLE);
        return NULL;
    }
    cx_init(&cx, &context->from, 0);
    cx_run(&cx, open_job, node);
    bool opened = api_status(report, &cx) == QN_OK;
    cx_finish(&cx);
    if (opened)
        return node;
    free_node(context, node);
    return NULL;
}

qn_status qn_context_add_pack(qn_context *context, qn_string path)
{
    if (!context)
        return QN_BAD_ARGUMENT;
    Report report = {0};
    PackNode *node = open_pack(context, path, &report);
    pthread_mutex_lock(&context->lock);
    PackNode **end = &context->packs;
    while (*end)
        end = &(*end)->next;
    *end = node;
    if (!node)
        context->report = report;
    pthread_mutex_unlock(&context->lock);
    return node ? QN_OK : (qn_status)report.status;
}

/* --- listing --- */

typedef struct Listing {
    const char *path;
    qn_entry *entry;
    void *user;
} Listing;

static bool list_item(void *user, const StorageItem *item)
{
    const Listing *l = user;
    char key[HASH_HEX_SIZE];
    hash_to_hex(item->key, key);
    const char *kind = item->whole ? entry_kind_name(item->entry.kind) : "";
    qn_entry_info info = {.name = api_string(*item->name ? item->name : key),
                          .kind = api_string(kind),
                          .parts = api_string(item->whole ? item->entry.parts : ""),
                          .bytes = item->size,
                          .used = item->used / 1000000000};
    l->entry(l->user, &info);
    return true;
}

static void close_pack(void *pack)
{
    pack_close(pack);
}

static void list_job(Cx *cx, void *user)
{
    const Listing *l = user;
    Cache cache = cache_in(l->path, 0);
    Storage *storage = &cache.storage;
    if (os_check_private_dir(l->path) == ENOTDIR) {
        Pack *pack = NEW(cx->arena, Pack);
        cx_cleanup(cx, close_pack, pack);
        if (!pack_open(cx, l->path, pack))
            return;
        storage = &pack->storage;
    }
    const char *why = storage->class->list(storage, cx, list_item, user);
    if (why)
        cx_fail(cx, ST_io, "%s", why);
}

qn_status qn_cache_list(qn_context *context, qn_string path, qn_entry *entry, void *user)
{
    Cx cx;
    Report report = {0};
    if (!context || !entry || !path.length || memchr(path.data, 0, path.length))
        return QN_BAD_ARGUMENT;
    char *copy = api_alloc(context, path.length + 1);
    if (!copy)
        return QN_OUT_OF_MEMORY;
    memcpy(copy, path.data, path.length);
    Listing listing = {copy, entry, user};
    cx_init(&cx, &context->from, 0);
    cx_run(&cx, list_job, &listing);
    qn_status status = api_status(&report, &cx);
    cx_finish(&cx);
    api_free(context, copy, path.length + 1);
    if (status == QN_OK)
        return status;
    pthread_mutex_lock(&context->lock);
    context->report = report;
    pthread_mutex_unlock(&context->lock);
    return status;
}

void api_close_packs(qn_context *context)
{
    for (PackNode *node = context->packs, *next; node; node = next) {
        next = node->next;
        free_node(context, node);
    }
}

uint32_t api_packs(qn_context *context, Cx *cx, Storage ***storages)
{
    uint32_t count = 0, used = 0;
    pthread_mutex_lock(&context->lock);
    for (PackNode *node = context->packs; node; node = node->next)
        count++;
    pthread_mutex_unlock(&context->lock);
    *storages = NEW_ARRAY(cx->arena, Storage *, count + 1); /* room for a directory */
    pthread_mutex_lock(&context->lock);
    for (PackNode *node = context->packs; used < count; node = node->next)
        (*storages)[used++] = &node->pack.storage;
    pthread_mutex_unlock(&context->lock);
    return count;
}

/* --- making packs --- */

typedef struct Held {
    qn_program *program;
    PackNode *node;
} Held;

struct qn_pack {
    atomic_int refs;
    qn_context *context;
    Report report;
    Cx cx; /* of the lists */
    PackList list;
    Held *held; /* what the list's entries point into */
    uint32_t held_count, held_capacity;
};

qn_status qn_pack_create(qn_context *context, qn_pack **pack)
{
    if (!pack)
        return QN_BAD_ARGUMENT;
    *pack = NULL;
    if (!context)
        return QN_BAD_ARGUMENT;
    qn_pack *p = *pack = api_alloc(context, sizeof *p);
    if (!p)
        return QN_OUT_OF_MEMORY;
    atomic_init(&p->refs, 1);
    p->context = qn_context_retain(context);
    cx_init(&p->cx, &context->from, 0);
    return QN_OK;
}

qn_pack *qn_pack_retain(qn_pack *pack)
{
    atomic_fetch_add(&pack->refs, 1);
    return pack;
}

void qn_pack_release(qn_pack *pack)
{
    if (!pack || atomic_fetch_sub(&pack->refs, 1) != 1)
        return;
    qn_context *context = pack->context;
    for (uint32_t i = 0; i < pack->held_count; i++) {
        qn_program_release(pack->held[i].program);
        if (pack->held[i].node)
            free_node(context, pack->held[i].node);
    }
    cx_finish(&pack->cx);
    api_free(context, pack, sizeof *pack);
    qn_context_release(context);
}

const char *qn_pack_message(const qn_pack *pack)
{
    return pack ? pack->report.text : API_NO_HANDLE;
}

/* Runs a job of the pack's; a failure is told and then forgotten. */
static qn_status run_job(qn_pack *pack, void (*job)(Cx *cx, void *user), void *user)
{
    cx_run(&pack->cx, job, user);
    qn_status status = api_status(&pack->report, &pack->cx);
    pack->cx.status = ST_ok;
    pack->cx.message = NULL;
    return status;
}

typedef struct Adding {
    qn_pack *pack;
    qn_program *program;
    PackNode *node;
    bool weights;
    qn_string path;
} Adding;

/* Room for one more; what it is goes in afterwards, since this may jump. */
static Held *hold(Cx *cx, qn_pack *pack)
{
    Held none = {0};
    VEC_PUSH(cx->arena, pack->held, pack->held_count, pack->held_capacity, none);
    return &pack->held[pack->held_count - 1];
}

static void add_constants(Cx *cx, const Adding *a)
{
    qn_program *p = a->program;
    Report report = {0};
    int64_t bytes;
    if (program_prepare(p->program, NULL, &report) != ST_ok) {
        cx_fail(cx, report.status, "%s", report.text);
        return;
    }
    const void *data = program_constants(p->program, &bytes);
    Cache cache;
    WeightSource source = {p->plan, p->file_count, p->files, api_directory(p, &cache),
                           &p->context->executor};
    Hash128 identity;
    if (!bytes || !weights_identity(cx, &source, &identity))
        return;
    Entry entry = {ENTRY_constants, api_constants_parts(cx, p->parts, identity), data,
                   (size_t)bytes};
    pack_list_add(cx, &a->pack->list, &entry);
}

static void add_job(Cx *cx, void *user)
{
    const Adding *a = user;
    qn_program *p = a->program;
    hold(cx, a->pack)->program = qn_program_retain(p);
    Entry entry = {ENTRY_program, p->parts, p->image.data, p->image.size};
    pack_list_add(cx, &a->pack->list, &entry);
    if (a->weights)
        add_constants(cx, a);
}

qn_status qn_pack_add(qn_pack *pack, qn_program *program, uint32_t flags)
{
    if (!pack)
        return QN_BAD_ARGUMENT;
    if (!program || !program->loaded)
        return (qn_status)report_fail(&pack->report, ST_bad_argument, "there is no program: %s",
                                      qn_program_message(program));
    if (!program->parts)
        return (qn_status)report_fail(&pack->report, ST_bad_argument,
                                      "the program was not made from a model");
    Adding a = {.pack = pack,
                .program = program,
                .weights = program->program && !(flags & QN_PACK_NO_WEIGHTS)};
    return run_job(pack, add_job, &a);
}

static void merge_job(Cx *cx, void *user)
{
    const Adding *a = user;
    const Pack *from = &a->node->pack;
    hold(cx, a->pack)->node = a->node;
    for (uint32_t i = 0; i < from->count; i++) {
        Entry entry;
        if (!pack_entry(cx, from, &a->pack->context->executor, i, &entry))
            return;
        pack_list_add(cx, &a->pack->list, &entry);
    }
}

qn_status qn_pack_add_file(qn_pack *pack, qn_string path)
{
    if (!pack)
        return QN_BAD_ARGUMENT;
    Adding a = {.pack = pack, .node = open_pack(pack->context, path, &pack->report)};
    if (!a.node)
        return (qn_status)pack->report.status;
    uint32_t held = pack->held_count;
    qn_status status = run_job(pack, merge_job, &a);
    if (pack->held_count == held)
        free_node(pack->context, a.node); /* no memory for the list */
    return status;
}

qn_status qn_pack_describe(const qn_pack *pack, qn_pack_info *info)
{
    if (!pack || !info)
        return QN_BAD_ARGUMENT;
    *info = (qn_pack_info){0};
    for (uint32_t i = 0; i < pack->list.count; i++) {
        const Entry *entry = &pack->list.items[i].entry;
        bool weights = entry->kind == ENTRY_constants;
        info->programs += entry->kind == ENTRY_program;
        info->weights += weights;
        info->bytes += (int64_t)entry->size;
        info->weight_bytes += weights ? (int64_t)entry->size : 0;
    }
    return QN_OK;
}

static void write_job(Cx *cx, void *user)
{
    const Adding *a = user;
    const char *path = api_text(cx, a->path);
    if (!*path)
        cx_fail(cx, ST_bad_argument, "a pack needs a path");
    if (!cx_failed(cx))
        pack_write(cx, &a->pack->context->executor, path, &a->pack->list);
}

qn_status qn_pack_write(qn_pack *pack, qn_string path)
{
    if (!pack)
        return QN_BAD_ARGUMENT;
    Adding a = {.pack = pack, .path = path};
    return run_job(pack, write_job, &a);
}
