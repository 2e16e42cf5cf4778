/* An open-addressing hash table of names. The hash starts from an address, which differs from run
 * to run, so that a file cannot be made of names that collide; ids follow the order of interning
 * and do not depend on it. */
#include "frontend/onnx_names.h"

#include <string.h>

typedef struct Entry {
    uint64_t hash;
    uint32_t id;
    char text[];
} Entry;

struct OnnxNames {
    Arena *arena;
    Entry **slots;
    uint32_t count, slot_count; /* slot_count is a power of two, at most half full */
};

static uint64_t hash_text(uint64_t seed, const char *text, size_t length)
{
    uint64_t hash = seed ^ length * UINT64_C(0x9E3779B97F4A7C15);
    while (length) {
        uint64_t word = 0;
        size_t n = length < 8 ? length : 8;
        memcpy(&word, text, n);
        text += n;
        length -= n;
        hash = (hash ^ word) * UINT64_C(0xD6E8FEB86659FD93);
        hash ^= hash >> 32;
    }
    hash *= UINT64_C(0xD6E8FEB86659FD93);
    return hash ^ hash >> 29;
}

static Entry **find_slot(OnnxNames *names, uint64_t hash, const char *text)
{
    uint32_t mask = names->slot_count - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        Entry *entry = names->slots[i];
        if (!entry || (entry->hash == hash && !strcmp(entry->text, text)))
            return &names->slots[i];
    }
}

static void grow(OnnxNames *names)
{
    Entry **old = names->slots;
    uint32_t old_count = names->slot_count;
    names->slot_count = old_count ? old_count * 2 : 256;
    names->slots = NEW_ARRAY(names->arena, Entry *, names->slot_count);
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i])
            *find_slot(names, old[i]->hash, old[i]->text) = old[i];
}

OnnxNames *onnx_names_new(Arena *arena)
{
    OnnxNames *names = NEW(arena, OnnxNames);
    names->arena = arena;
    grow(names);
    onnx_name(names, "");
    return names;
}

const char *onnx_name(OnnxNames *names, const char *text)
{
    if (!text)
        text = "";
    size_t length = strlen(text);
    uint64_t hash = hash_text((uint64_t)(uintptr_t)names >> 4, text, length);
    Entry **slot = find_slot(names, hash, text);
    if (*slot)
        return (*slot)->text;
    if ((names->count + 1) * 2 > names->slot_count) {
        grow(names);
        slot = find_slot(names, hash, text);
    }
    Entry *entry = arena_alloc(names->arena, sizeof(Entry) + length + 1);
    entry->hash = hash;
    entry->id = names->count++;
    memcpy(entry->text, text, length + 1);
    *slot = entry;
    return entry->text;
}

uint32_t onnx_name_id(const char *interned)
{
    return ((const Entry *)(const void *)(interned - offsetof(Entry, text)))->id;
}

uint32_t onnx_names_count(const OnnxNames *names)
{
    return names->count;
}
