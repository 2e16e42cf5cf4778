/* A hash map from byte strings to pointers, in an arena. Entries stay in the order they were added,
 * so walking map.entries[0 .. map.count) is deterministic. Nothing is ever removed. */
#ifndef QUERN_BASE_MAP_H
#define QUERN_BASE_MAP_H

#include "base/arena.h"

typedef struct MapEntry {
    const char *key; /* a copy in the arena, with a terminating zero beyond `length` */
    size_t length;
    uint32_t hash;
    void *value;
} MapEntry;

typedef struct Map {
    Arena *arena;
    MapEntry *entries;
    uint32_t count, capacity;
    uint32_t *slots; /* index + 1 of an entry, 0 = free; a power of two, at most half full */
    uint32_t slot_count;
} Map;

void map_init(Map *map, Arena *arena);
/* The value, or NULL when the key is absent. */
void *map_find(const Map *map, const void *key, size_t length);
/* Adds the key or replaces its value; returns the value before, NULL when there was none. */
void *map_set(Map *map, const void *key, size_t length, void *value);
/* The same for terminated strings. */
void *map_find_text(const Map *map, const char *key);
void *map_set_text(Map *map, const char *key, void *value);

#endif
