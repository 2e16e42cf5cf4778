/* The hash map: a list of entries and a table of indices into it, probed linearly. */
#include "base/map.h"

#include <string.h>

#include "base/hash.h"

void map_init(Map *map, Arena *arena)
{
    *map = (Map){.arena = arena};
}

static uint32_t hash_key(const void *key, size_t length)
{
    return (uint32_t)hash_bytes64(key, length);
}

/* The slot that holds the key, or the free one where it belongs. There is a free one. */
static uint32_t find_slot(const Map *map, const void *key, size_t length, uint32_t hash)
{
    uint32_t at = hash & (map->slot_count - 1);
    for (; map->slots[at]; at = (at + 1) & (map->slot_count - 1)) {
        const MapEntry *e = &map->entries[map->slots[at] - 1];
        if (e->hash == hash && e->length == length && (!length || !memcmp(e->key, key, length)))
            break;
    }
    return at;
}

static void grow(Map *map)
{
    map->slot_count = map->slot_count ? map->slot_count * 2 : 16;
    map->slots = NEW_ARRAY(map->arena, uint32_t, map->slot_count);
    for (uint32_t i = 0; i < map->count; i++) {
        uint32_t at = map->entries[i].hash & (map->slot_count - 1);
        while (map->slots[at])
            at = (at + 1) & (map->slot_count - 1);
        map->slots[at] = i + 1;
    }
}

void *map_find(const Map *map, const void *key, size_t length)
{
    if (!map->count)
        return NULL;
    uint32_t index = map->slots[find_slot(map, key, length, hash_key(key, length))];
    return index ? map->entries[index - 1].value : NULL;
}

void *map_set(Map *map, const void *key, size_t length, void *value)
{
    if (map->count >= map->slot_count / 2)
        grow(map);
    uint32_t hash = hash_key(key, length), at = find_slot(map, key, length, hash);
    if (map->slots[at]) {
        MapEntry *e = &map->entries[map->slots[at] - 1];
        void *before = e->value;
        e->value = value;
        return before;
    }
    char *copy = arena_array(map->arena, length + 1, 1);
    if (length)
        memcpy(copy, key, length);
    MapEntry entry = {copy, length, hash, value};
    VEC_PUSH(map->arena, map->entries, map->count, map->capacity, entry);
    map->slots[at] = map->count;
    return NULL;
}

void *map_find_text(const Map *map, const char *key)
{
    return map_find(map, key, strlen(key));
}

void *map_set_text(Map *map, const char *key, void *value)
{
    return map_set(map, key, strlen(key), value);
}
