/* Entries are files `<32 hexadecimal digits>.qnc` that hold exactly an entry (storage.h). What a
 * killed writer leaves (`*.tmp`) is never read, and removed when it is old. */
#include "runtime/cache.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NAME_LENGTH = HASH_HEX_SIZE - 1 + 4 };
static const char suffix[] = ".qnc", unfinished[] = ".tmp";
static const size_t max_entry = (size_t)1 << 30, peek_bytes = 16 << 10;
static const int64_t old_ns = INT64_C(3600) * 1000000000;

static const char *entry_path(Cx *cx, const Storage *storage, Hash128 key)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(key, hex);
    return arena_printf(cx->arena, "%s/%s%s", storage->name, hex, suffix);
}

static bool get(Storage *storage, Cx *cx, const Executor *executor, EntryKey key, Entry *entry)
{
    char *data;
    size_t size;
    if (os_check_private_dir(storage->name) != 0)
        return false;
    const char *path = entry_path(cx, storage, key.whole);
    if (os_read_file(cx->arena, path, max_entry, &data, &size) != 0 ||
        !entry_read(cx->arena, executor, data, size, entry) ||
        !hash_equal(entry_key(entry->parts).whole, key.whole))
        return false;
    os_touch(path);
    return true;
}

/* --- listing --- */

typedef struct Listing {
    Cx *cx;
    const Storage *storage;
    StorageEach *each;
    void *user;
} Listing;

/* Whether a file is an entry by its name. */
static bool name_key(const char *name, Hash128 *key)
{
    char hex[HASH_HEX_SIZE] = "";
    if (strlen(name) != NAME_LENGTH || strcmp(name + HASH_HEX_SIZE - 1, suffix) != 0)
        return false;
    memcpy(hex, name, HASH_HEX_SIZE - 1);
    return hash_from_hex(hex, key);
}

static bool list_entry(void *user, const char *name)
{
    const Listing *l = user;
    OsFileId id;
    char *data;
    size_t have;
    StorageItem item = {.name = name};
    if (!name_key(name, &item.key))
        return true;
    const char *path = entry_path(l->cx, l->storage, item.key);
    if (os_file_id(path, &id) != 0 ||
        os_read_start(l->cx->arena, path, peek_bytes, &data, &have) != 0)
        return true;
    item.size = (int64_t)id.size;
    item.used = id.modified;
    item.whole = entry_peek(data, have, id.size, &item.entry);
    item.entry.data = NULL;
    return l->each(l->user, &item);
}

static const char *list(Storage *storage, Cx *cx, StorageEach *each, void *user)
{
    Listing l = {cx, storage, each, user};
    int error = os_list_dir(storage->name, list_entry, &l);
    return error ? arena_printf(cx->arena, "%s: %s", storage->name, os_error_text(error)) : NULL;
}

static const char *remove_entry(Storage *storage, Cx *cx, Hash128 key)
{
    const char *path = entry_path(cx, storage, key);
    int error = os_remove(path);
    return error ? arena_printf(cx->arena, "%s: %s", path, os_error_text(error)) : NULL;
}

/* --- keeping the limit --- */

typedef struct File {
    const char *path;
    int64_t size, used;
} File;

typedef struct Limiting {
    Cx *cx;
    const char *dir;
    File *files;
    uint32_t count, capacity;
    int64_t total, now;
} Limiting;

static bool note_file(void *user, const char *name)
{
    Limiting *l = user;
    OsFileId id;
    Hash128 key;
    size_t length = strlen(name);
    bool left = length > NAME_LENGTH && strcmp(name + length - 4, unfinished) == 0;
    if (!left && !name_key(name, &key))
        return true;
    File file = {.path = arena_printf(l->cx->arena, "%s/%s", l->dir, name)};
    if (os_file_id(file.path, &id) != 0)
        return true;
    if (left) {
        if (l->now - id.modified > old_ns)
            os_remove(file.path);
        return true;
    }
    file.size = (int64_t)id.size;
    file.used = id.modified;
    l->total += file.size;
    VEC_PUSH(l->cx->arena, l->files, l->count, l->capacity, file);
    return true;
}

static int by_use(const void *a, const void *b)
{
    const File *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

static void keep_limit(Cx *cx, const Cache *cache)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    Limiting l = {.cx = cx,
                  .dir = cache->storage.name,
                  .now = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec};
    if (os_list_dir(l.dir, note_file, &l) != 0 || l.total <= cache->limit)
        return;
    qsort(l.files, l.count, sizeof *l.files, by_use);
    for (uint32_t i = 0; i < l.count && l.total > cache->limit; i++)
        if (os_remove(l.files[i].path) == 0)
            l.total -= l.files[i].size;
}

static const char *put(Storage *storage, Cx *cx, const Executor *executor, const Entry *entry)
{
    const Cache *cache = (const Cache *)storage;
    EntryBytes bytes = entry_write(cx->arena, executor, entry);
    int error = os_make_dirs(storage->name);
    if (!error)
        error = os_check_private_dir(storage->name);
    if (!error && (int64_t)bytes.size > cache->limit)
        return "the entry is larger than the cache may be";
    if (!error)
        error =
            os_write_file(entry_path(cx, storage, entry_key(entry->parts).whole), bytes.pieces, 2);
    if (error)
        return arena_printf(cx->arena, "%s: %s", storage->name, os_error_text(error));
    keep_limit(cx, cache);
    return NULL;
}

Cache cache_in(const char *dir, int64_t limit)
{
    static const StorageClass class = {get, put, list, remove_entry};
    return (Cache){{&class, dir}, limit};
}
