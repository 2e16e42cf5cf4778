/* Entries are files `<32 hexadecimal digits>.qnc`: magic[8] 0[8] key:16 | image (which has its own
 * checksum). */
#include "jit/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/os_file.h"

static const char magic[16] = "QNCACHE1";
enum { HEADER_BYTES = 32, NAME_LENGTH = HASH_HEX_SIZE - 1 + 4 };
static const char suffix[] = ".qnc";
static const size_t max_entry = (size_t)1 << 30;

static const char *entry_path(Cx *cx, const Cache *cache, Hash128 key)
{
    char hex[HASH_HEX_SIZE];
    hash_to_hex(key, hex);
    return arena_printf(cx->arena, "%s/%s%s", cache->dir, hex, suffix);
}

static void make_header(char header[HEADER_BYTES], Hash128 key)
{
    memcpy(header, magic, sizeof magic);
    memcpy(header + sizeof magic, &key, sizeof key);
}

bool cache_get(Cx *cx, const Cache *cache, Hash128 key, PlanBytes *image)
{
    char header[HEADER_BYTES], *data;
    size_t size;
    if (!cache->dir || os_check_private_dir(cache->dir) != 0)
        return false;
    const char *path = entry_path(cx, cache, key);
    if (os_read_file(cx->arena, path, max_entry, &data, &size) != 0)
        return false;
    make_header(header, key);
    if (size < HEADER_BYTES || memcmp(data, header, HEADER_BYTES) != 0)
        return false;
    *image = (PlanBytes){(const uint8_t *)data + HEADER_BYTES, size - HEADER_BYTES};
    os_touch(path);
    return true;
}

/* --- keeping the limit --- */

typedef struct Entry {
    const char *path;
    int64_t size, used;
} Entry;

typedef struct Listing {
    Cx *cx;
    const Cache *cache;
    Entry *entries;
    uint32_t count, capacity;
    int64_t total;
} Listing;

static bool list_entry(void *user, const char *name)
{
    Listing *l = user;
    OsFileId id;
    size_t length = strlen(name);
    if (length != NAME_LENGTH || strcmp(name + length - 4, suffix) != 0)
        return true;
    Entry entry = {.path = arena_printf(l->cx->arena, "%s/%s", l->cache->dir, name)};
    if (os_file_id(entry.path, &id) != 0)
        return true;
    entry.size = (int64_t)id.size;
    entry.used = id.modified;
    l->total += entry.size;
    VEC_PUSH(l->cx->arena, l->entries, l->count, l->capacity, entry);
    return true;
}

static int by_use(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    return x->used < y->used ? -1 : x->used > y->used;
}

static void keep_limit(Cx *cx, const Cache *cache)
{
    Listing l = {.cx = cx, .cache = cache};
    if (os_list_dir(cache->dir, list_entry, &l) != 0 || l.total <= cache->limit)
        return;
    qsort(l.entries, l.count, sizeof *l.entries, by_use);
    for (uint32_t i = 0; i < l.count && l.total > cache->limit; i++)
        if (os_remove(l.entries[i].path) == 0)
            l.total -= l.entries[i].size;
}

const char *cache_put(Cx *cx, const Cache *cache, Hash128 key, PlanBytes image)
{
    char header[HEADER_BYTES];
    int error = os_make_dirs(cache->dir);
    if (!error)
        error = os_check_private_dir(cache->dir);
    make_header(header, key);
    const OsPart parts[] = {{header, sizeof header}, {image.data, image.size}};
    if (!error && (int64_t)(image.size + sizeof header) > cache->limit)
        return "the entry is larger than the cache may be";
    if (!error)
        error = os_write_file(entry_path(cx, cache, key), parts, 2);
    if (error)
        return arena_printf(cx->arena, "%s: %s", cache->dir, os_error_text(error));
    keep_limit(cx, cache);
    return NULL;
}
