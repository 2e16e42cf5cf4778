/* Packs: reading and writing. Writing lays out the entries in the order of their keys, so equal
 * contents are equal bytes. */
#include "runtime/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "QNPACK";
enum { MAX_COUNT = 1 << 20 };

typedef struct Head {
    char magic[8];
    uint64_t version, size, count;
    Hash128 hash;
    uint64_t zero[2];
} Head;
_Static_assert(sizeof(Head) == 64, "the header has no holes");

typedef struct Place {
    Hash128 key;
    uint64_t offset, size;
} Place;
_Static_assert(sizeof(Place) == 32, "the index has no holes");

static int compare_keys(Hash128 a, Hash128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static Hash128 hash_of(Head head, const Place *index)
{
    Hasher hasher;
    head.hash = (Hash128){0, 0};
    hash_init(&hasher);
    hash_add(&hasher, &head, sizeof head);
    hash_add(&hasher, index, head.count * sizeof *index);
    return hash_finish(&hasher);
}

/* --- reading --- */

/* The map is page-aligned and stays as it is. */
static const Place *places(const Pack *pack)
{
    return (const Place *)(const void *)(pack->data + sizeof(Head));
}

static int by_offset(const void *a, const void *b)
{
    const Place *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static const char *check_index(Cx *cx, const Pack *pack)
{
    const Place *index = places(pack);
    uint64_t size = pack->size, end = sizeof(Head) + pack->count * sizeof *index;
    for (uint32_t i = 0; i < pack->count; i++) {
        if (i && compare_keys(index[i - 1].key, index[i].key) >= 0)
            return "its index is not in order";
        if (index[i].offset % ENTRY_ALIGN || index[i].offset > size ||
            index[i].size > size - index[i].offset)
            return "an entry is outside the file";
    }
    Place *sorted = arena_copy(cx->arena, index, pack->count * sizeof *index);
    qsort(sorted, pack->count, sizeof *sorted, by_offset);
    for (uint32_t i = 0; i < pack->count; i++) {
        if (sorted[i].offset < end)
            return "entries overlap";
        end = sorted[i].offset + sorted[i].size;
    }
    return NULL;
}

/* NULL, or what is wrong. */
static const char *check(Cx *cx, Pack *pack)
{
    Head head;
    size_t size = pack->size;
    if (size < sizeof head || memcmp(pack->data, magic, sizeof magic) != 0)
        return "it is no pack";
    memcpy(&head, pack->data, sizeof head);
    if (head.version != PACK_VERSION)
        return "it was written by another version of Quern";
    if (head.size != size)
        return "it is cut short or has grown";
    if (head.count > MAX_COUNT || head.count * sizeof(Place) > size - sizeof head)
        return "its index is outside the file";
    pack->count = (uint32_t)head.count;
    if (!hash_equal(hash_of(head, places(pack)), head.hash))
        return "its index is damaged";
    return check_index(cx, pack);
}

bool pack_entry(Cx *cx, const Pack *pack, const Executor *executor, uint32_t index, Entry *entry)
{
    const Place *place = &places(pack)[index];
    if (os_map_check(&pack->map) == 0 &&
        entry_read(cx->arena, executor, pack->data + place->offset, place->size, entry) &&
        hash_equal(entry_key(entry->parts).base, place->key))
        return true;
    cx_fail(cx, ST_bad_file, "%s: the pack is damaged: an entry does not have its checksum",
            pack->storage.name);
    return false;
}

static int by_key(const void *key, const void *place)
{
    return compare_keys(*(const Hash128 *)key, ((const Place *)place)->key);
}

static bool get(Storage *storage, Cx *cx, const Executor *executor, EntryKey key, Entry *entry)
{
    const Pack *pack = (const Pack *)storage;
    if (!pack->count)
        return false;
    const Place *index = places(pack);
    const Place *place = bsearch(&key.base, index, pack->count, sizeof *place, by_key);
    return place && pack_entry(cx, pack, executor, (uint32_t)(place - index), entry);
}

static const char *list(Storage *storage, Cx *cx, StorageEach *each, void *user)
{
    const Pack *pack = (const Pack *)storage;
    (void)cx;
    for (uint32_t i = 0; i < pack->count; i++) {
        StorageItem item = {.name = "", .key = places(pack)[i].key};
        item.size = (int64_t)places(pack)[i].size;
        item.whole = entry_peek(pack->data + places(pack)[i].offset, places(pack)[i].size,
                                places(pack)[i].size, &item.entry);
        item.entry.data = NULL;
        if (!each(user, &item))
            break;
    }
    return NULL;
}

static const char *put(Storage *storage, Cx *cx, const Executor *executor, const Entry *entry)
{
    (void)storage, (void)cx, (void)executor, (void)entry;
    return "packs are not written to";
}

static const char *remove_entry(Storage *storage, Cx *cx, Hash128 key)
{
    (void)storage, (void)cx, (void)key;
    return "packs are not written to";
}

static bool open_data(Cx *cx, const char *name, const void *data, size_t size, Pack *pack)
{
    static const StorageClass class = {get, put, list, remove_entry};
    pack->storage = (Storage){&class, name};
    pack->data = data;
    pack->size = size;
    const char *why = check(cx, pack);
    if (!why)
        return true;
    cx_fail(cx, ST_bad_file, "%s: %s", name, why);
    pack_close(pack);
    return false;
}

bool pack_open(Cx *cx, const char *path, Pack *pack)
{
    *pack = (Pack){.map = OS_MAP_NONE};
    int error = os_map_file(path, &pack->map);
    if (!error)
        return open_data(cx, path, pack->map.data, pack->map.size, pack);
    cx_fail(cx, error == ENOENT ? ST_missing : ST_io, "%s: %s", path, os_error_text(error));
    return false;
}

bool pack_open_memory(Cx *cx, const void *data, size_t size, Pack *pack)
{
    *pack = (Pack){.map = OS_MAP_NONE};
    if ((uintptr_t)data % ENTRY_ALIGN) {
        char *room = arena_alloc(cx->arena, size + ENTRY_ALIGN);
        room += (ENTRY_ALIGN - (uintptr_t)room % ENTRY_ALIGN) % ENTRY_ALIGN;
        data = memcpy(room, data, size);
    }
    return open_data(cx, "memory", data, size, pack);
}

void pack_close(Pack *pack)
{
    if (pack->storage.class)
        os_unmap(&pack->map);
    *pack = (Pack){0};
}

/* --- writing --- */

void pack_list_add(Cx *cx, PackList *list, const Entry *entry)
{
    PackItem item = {entry_key(entry->parts).base, *entry};
    for (uint32_t i = 0; i < list->count; i++)
        if (hash_equal(list->items[i].key, item.key)) {
            list->items[i] = item;
            return;
        }
    VEC_PUSH(cx->arena, list->items, list->count, list->capacity, item);
}

static int by_item(const void *a, const void *b)
{
    return compare_keys(((const PackItem *)a)->key, ((const PackItem *)b)->key);
}

bool pack_write(Cx *cx, const Executor *executor, const char *path, const PackList *list)
{
    static const char zeros[ENTRY_ALIGN];
    PackItem *items = arena_copy(cx->arena, list->items, list->count * sizeof *items);
    Place *index = NEW_ARRAY(cx->arena, Place, list->count);
    OsPart *parts = NEW_ARRAY(cx->arena, OsPart, 3 + 3 * (size_t)list->count);
    uint64_t at = sizeof(Head) + list->count * sizeof *index;
    size_t used = 2;
    qsort(items, list->count, sizeof *items, by_item);
    for (uint32_t i = 0; i < list->count; i++) {
        /* what is before is padded here, since entries start at multiples */
        parts[used++] = (OsPart){zeros, (ENTRY_ALIGN - at % ENTRY_ALIGN) % ENTRY_ALIGN};
        at += parts[used - 1].size;
        EntryBytes bytes = entry_write(cx->arena, executor, &items[i].entry);
        index[i] = (Place){items[i].key, at, bytes.size};
        parts[used++] = bytes.pieces[0];
        parts[used++] = bytes.pieces[1];
        at += bytes.size;
    }
    parts[used++] = (OsPart){zeros, sizeof zeros};
    Head head = {.version = PACK_VERSION, .size = at + sizeof zeros, .count = list->count};
    memcpy(head.magic, magic, sizeof magic);
    head.hash = hash_of(head, index);
    parts[0] = (OsPart){&head, sizeof head};
    parts[1] = (OsPart){index, list->count * sizeof *index};
    int error = os_output_write(path, parts, used);
    if (error)
        cx_fail(cx, ST_io, "%s: %s", path, os_error_text(error));
    return !error;
}
