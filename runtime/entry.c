/* Entries as bytes. The data may be large (packed weights), so it is hashed on all workers and
 * never copied. */
#include "runtime/storage.h"

#include <string.h>

#include "base/hash_ranges.h"

static const char magic[8] = "QNENTRY";

typedef struct Head {
    char magic[8];
    uint64_t kind, parts, data;
    Hash128 hash;
    uint64_t zero[2];
} Head;
_Static_assert(sizeof(Head) == ENTRY_HEADER, "the header has no holes");

const char *entry_kind_name(EntryKind kind)
{
    static const char *const names[ENTRY_count] = {"program", "constants", "hashes", "saved",
                                                   "weight",  "binary",    "nests"};
    return names[kind];
}

EntryKey entry_key(const char *parts)
{
    size_t length = strlen(parts), base = length;
    const char *records = strstr(parts, "\nrecords ");
    if (records)
        base = (size_t)(records - parts) + 1;
    return (EntryKey){hash_bytes(parts, length), hash_bytes(parts, base)};
}

static size_t parts_room(size_t length)
{
    return (length + ENTRY_ALIGN) / ENTRY_ALIGN * ENTRY_ALIGN;
}

/* Of everything but the hash itself: `front` is the header and the parts, padded. */
static Hash128 hash_of(Arena *arena, const Executor *executor, const char *front, size_t room,
                       HashRange data)
{
    Hasher hasher;
    Head head;
    memcpy(&head, front, sizeof head);
    head.hash = (Hash128){0, 0};
    hash_ranges(arena, executor, &data, 1);
    hash_init(&hasher);
    hash_add(&hasher, &head, sizeof head);
    hash_add(&hasher, front + sizeof head, room - sizeof head);
    hash_add(&hasher, &data.hash, sizeof data.hash);
    return hash_finish(&hasher);
}

EntryBytes entry_write(Arena *arena, const Executor *executor, const Entry *entry)
{
    size_t length = strlen(entry->parts), room = ENTRY_HEADER + parts_room(length);
    char *front = arena_alloc(arena, room);
    Head head = {.kind = entry->kind, .parts = length, .data = entry->size};
    memcpy(head.magic, magic, sizeof magic);
    memcpy(front, &head, sizeof head);
    memcpy(front + ENTRY_HEADER, entry->parts, length);
    head.hash = hash_of(arena, executor, front, room,
                        (HashRange){.data = entry->data, .size = entry->size});
    memcpy(front, &head, sizeof head);
    return (EntryBytes){{{front, room}, {entry->data, entry->size}}, room + entry->size};
}

bool entry_peek(const void *bytes, size_t have, uint64_t size, Entry *entry)
{
    Head head;
    if (have < ENTRY_HEADER || size < have)
        return false;
    memcpy(&head, bytes, sizeof head);
    if (memcmp(head.magic, magic, sizeof magic) != 0 || head.kind >= ENTRY_count ||
        head.parts > ENTRY_PARTS)
        return false;
    size_t front = ENTRY_HEADER + parts_room(head.parts);
    const char *parts = (const char *)bytes + ENTRY_HEADER;
    if (front > have || head.data != size - front || strnlen(parts, head.parts + 1) != head.parts)
        return false;
    *entry = (Entry){(EntryKind)head.kind, parts, (const char *)bytes + front, head.data};
    return true;
}

bool entry_read(Arena *arena, const Executor *executor, const void *bytes, size_t size,
                Entry *entry)
{
    Head head;
    if (!entry_peek(bytes, size, size, entry))
        return false;
    memcpy(&head, bytes, sizeof head);
    return hash_equal(hash_of(arena, executor, bytes, size - entry->size,
                              (HashRange){.data = entry->data, .size = entry->size}),
                      head.hash);
}
